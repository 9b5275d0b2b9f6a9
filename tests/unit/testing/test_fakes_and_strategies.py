from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings

from baseload.base.errors import BadInputError
from baseload.testing import FakeFleet, FirstFree, Fleet, fleets, replica_type, request, strategies
from baseload.testing.fleets import READY
from baseload.workload.trace import check_trace


@pytest.mark.parametrize("name", READY)
def test_ready_fleets_are_ready(name):
    fleet = READY[name]()
    state = fleet.state()
    assert len(state.type_of) == sum(fleet.replicas)
    assert all(kind.method == "assumed" for kind in fleet.types)
    assert len({kind.name for kind in fleet.types}) == len(fleet.types)
    assert FirstFree().choose(request(), FakeFleet(fleet).view) == 0


def test_a_replica_type_takes_fields_of_all_its_parts():
    kind = replica_type("mine", time_s_per_step=0.5, power_w_cap=999.0, max_batch=3)
    assert kind.costs.time_s_per_step == 0.5
    assert kind.power.power_w_cap == 999.0
    assert (kind.name, kind.max_batch) == ("mine", 3)
    with pytest.raises(TypeError, match="max_badge"):
        replica_type(max_badge=3)


def test_a_fake_fleet_counts_what_it_is_sent():
    fake = FakeFleet(fleets.equal_replicas(2), max_queue=0)
    asked = request(input_tokens=100, output_tokens_forecast=50.0)
    tokens = [fake.send(asked, 1) for _ in range(8)]
    assert tokens == [150] * 8
    assert fake.view.in_flight.tolist() == [0, 8]
    assert fake.free_for(asked) == [0]
    assert FirstFree().choose(asked, fake.view) == 0
    fake.finish(1, 150, input_tokens=100, output_tokens=1000)
    assert fake.view.tokens.tolist() == [0, 7 * 150]
    assert fake.view.traffic.output_tokens[0] > 250
    assert fake.free_for(asked) == [0, 1]


def test_a_fake_fleet_counts_prompts_until_their_first_token():
    fake = FakeFleet(fleets.equal_replicas(2))
    fake.state.pending_unit[0] = 100
    tokens = fake.send(request(input_tokens=250), 1)
    fake.send(request(input_tokens=90), 1)
    assert fake.state.level.tolist() == [0, 6]
    fake.first_token(1, input_tokens=250)
    assert fake.state.level.tolist() == [0, 3]
    fake.first_token(1, input_tokens=250)
    assert fake.state.level.tolist() == [0, 3], "there is no such request any more"
    fake.finish(1, tokens, input_tokens=250, output_tokens=10)
    assert fake.state.level.tolist() == [0, 2]
    fake.finish(1, 340, input_tokens=90, output_tokens=10)
    assert fake.state.level.tolist() == [0, 0], "a first token that nobody told of came at the end"
    assert fake.state.pending.tolist() == [0, 0]


def test_a_closed_replica_of_a_fake_fleet_takes_nothing():
    fake = FakeFleet(fleets.equal_replicas(3))
    fake.close(0)
    assert fake.view.open.tolist() == [0, 1, 1]
    assert fake.free_for(request()) == [1, 2]
    assert FirstFree().choose(request(), fake.view) == 1
    for replica in (1, 2):
        fake.close(replica)
    assert fake.free_for(request()) == []
    assert FirstFree().choose(request(), fake.view) is None
    fake.open(2)
    assert fake.free_for(request()) == [2]


def test_a_request_for_a_model_is_free_where_it_is_served():
    fake = FakeFleet(fleets.two_models())
    assert fake.free_for(request(model="model-b")) == [3, 4]
    assert fake.free_for(request(model="nobody's")) == []
    assert FirstFree().choose(request(model="model-b"), fake.view) == 3
    assert FirstFree().choose(request(model="nobody's"), fake.view) is None
    assert fake.free_for(request(input_tokens=2001)) == []


def test_the_deadline_of_the_row_is_the_earlier_one():
    fake = FakeFleet(fleets.one_replica())
    tight = request(deadline_ttft_s=2.0, deadline_tpot_s=0.1, output_tokens_forecast=100.0)
    assert fake.row(tight).deadline_s[0] == pytest.approx(12.0)
    assert fake.row(request(deadline_e2e_s=5.0)).deadline_s[0] == 5.0
    assert fake.row(request()).deadline_s[0] == float("inf")


def test_the_row_carries_the_promises_by_themselves():
    fake = FakeFleet(fleets.one_replica())
    asked = request(deadline_ttft_s=2.0, deadline_e2e_s=9.0)
    row = fake.row(asked, output_spread=30.0, lateness_weight=7.0, grid_g_per_j=1e-4)[0]
    assert (row.ttft_s, row.tpot_s, row.e2e_s) == (2.0, float("inf"), 9.0)
    assert (row.output_spread, row.lateness_weight, row.grid_g_per_j) == (30.0, 7.0, 1e-4)


@given(kind=strategies.replica_types(name="x", model="m", most_batch=4))
@settings(max_examples=30, deadline=None)
def test_drawn_types_are_valid(kind):
    assert (kind.name, kind.model) == ("x", "m")
    assert kind.max_batch <= 4
    costs = kind.costs
    assert (
        costs.energy_j_per_step >= 0.999 * costs.time_s_per_step * kind.power.power_w_active_static
    )


@given(fleet=strategies.fleets(most_types=2, most_replicas=3), asked=strategies.requests())
@settings(max_examples=30, deadline=None)
def test_drawn_fleets_and_requests_fit_together(fleet, asked):
    assert isinstance(fleet, Fleet)
    assert 1 <= len(fleet.types) <= 2
    assert max(fleet.replicas) <= 3
    fake = FakeFleet(fleet)
    chosen = FirstFree().choose(asked, fake.view)
    free = fake.free_for(asked)
    assert chosen == (free[0] if free else None)


@given(trace=strategies.traces(most_requests=10))
@settings(max_examples=30, deadline=None)
def test_drawn_traces_keep_their_own_rules(trace):
    check_trace(trace)
    assert 1 <= len(trace) <= 10


def test_without_hypothesis_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis.strategies", None)
    with pytest.raises(BadInputError, match="pip install hypothesis"):
        strategies.fleets()
