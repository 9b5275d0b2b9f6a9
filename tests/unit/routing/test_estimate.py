from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.kernels import plain
from baseload.fleet.step import cost_table, step
from baseload.routing import estimate
from baseload.routing.estimate import (
    capacity_per_s,
    expected_s,
    marginal_energy_j,
    seats,
    step_s,
)
from baseload.testing import strategies
from baseload.testing.fleets import Fleet, replica_type


def seen(kind, *, input_tokens=1000.0, output_tokens=250.0):
    """Cost, limits and traffic of a type after so much has been learnt."""
    state = Fleet(types=(kind,), replicas=(1,)).state()
    traffic = state.traffic[0]
    traffic["input_tokens"], traffic["output_tokens"] = input_tokens, output_tokens
    return state.cost[0], state.limits[0], traffic


LENGTHS = st.floats(1, 4000)
ROOMY = replica_type(max_batch=64, kv_tokens=10**6, power_w_cap=5000.0)


def test_seats_are_what_the_memory_holds_of_mean_requests():
    kind = replica_type(kv_tokens=4000, max_batch=8)
    _, limits, traffic = seen(kind, input_tokens=900, output_tokens=200)
    assert seats(limits, traffic) == 4.0
    _, limits, traffic = seen(kind, input_tokens=10, output_tokens=20)
    assert seats(limits, traffic) == 8.0
    _, limits, traffic = seen(kind, input_tokens=9e9, output_tokens=1)
    assert seats(limits, traffic) == 1.0


@given(kind=strategies.replica_types(), input_tokens=LENGTHS, output_tokens=LENGTHS)
@settings(max_examples=80, deadline=None)
def test_seats_are_whole_and_within_the_batch_limit(kind, input_tokens, output_tokens):
    _, limits, traffic = seen(kind, input_tokens=input_tokens, output_tokens=output_tokens)
    found = seats(limits, traffic)
    assert found == int(found)
    assert 1 <= found <= kind.max_batch


def test_one_more_sequence_costs_less_than_the_average_when_dense_and_loaded():
    """The fact that consolidation lives on: the weights are read anyway."""
    kind = replica_type(max_batch=64, kv_tokens=1_000_000, power_w_cap=5000.0)
    cost, limits, traffic = seen(kind)
    for in_flight in (1, 4, 16, 63):
        one_more = marginal_energy_j(cost, limits, traffic, in_flight, 1000.0, 250.0)
        context = in_flight * (traffic.input_tokens + 0.5 * traffic.output_tokens)
        token_j = step(cost, float(in_flight), context, 0.0)[1] / in_flight
        prefill_j = step(cost, float(in_flight), context, 1000.0)[1]
        prefill_j -= step(cost, float(in_flight), context, 0.0)[1]
        assert one_more < 250.0 * token_j + prefill_j
    alone = marginal_energy_j(cost, limits, traffic, 0, 1000.0, 250.0)
    assert alone > 2 * marginal_energy_j(cost, limits, traffic, 1, 1000.0, 250.0)


def test_below_the_cap_a_dense_replica_asks_the_same_at_every_batch():
    """Equal prices must compare equal, so that ties go to the lowest number."""
    cost, limits, traffic = seen(replica_type(max_batch=64, kv_tokens=10**6, power_w_cap=5000.0))
    prices = {marginal_energy_j(cost, limits, traffic, n, 0.0, 250.0) for n in range(1, 60)}
    assert len(prices) == 1


@given(
    kind=strategies.replica_types(),
    traffic=st.tuples(LENGTHS, LENGTHS),
    request=st.tuples(LENGTHS, LENGTHS),
    in_flight=st.integers(0, 30),
)
@settings(max_examples=150, deadline=None)
def test_estimates_are_numbers_and_the_plain_twins_agree(kind, traffic, request, in_flight):
    cost, limits, means = seen(kind, input_tokens=traffic[0], output_tokens=traffic[1])
    arguments = (cost, limits, means, in_flight, *request)
    for estimate_of in (expected_s, marginal_energy_j):
        value = estimate_of(*arguments)
        assert math.isfinite(value)
        assert math.isclose(value, plain(estimate_of)(*arguments), rel_tol=1e-9, abs_tol=1e-9)
    running = float(in_flight + 1)
    assert step_s(cost, running, means) == pytest.approx(plain(step_s)(cost, running, means))
    assert capacity_per_s(cost, limits, means) > 0
    assert expected_s(*arguments) > 0


@given(kind=strategies.replica_types(), request=st.tuples(LENGTHS, LENGTHS))
@settings(max_examples=80, deadline=None)
def test_longer_outputs_cost_more_seconds(kind, request):
    cost, limits, traffic = seen(kind)
    prompt, output = request
    for in_flight in (0, 3):
        short = expected_s(cost, limits, traffic, in_flight, prompt, output)
        assert expected_s(cost, limits, traffic, in_flight, prompt, output + 50) > short
        assert expected_s(cost, limits, traffic, in_flight, prompt + 500, output) >= short * (
            1 - 1e-12
        )


def test_load_never_shortens_the_wait():
    """What ``rising`` of ``least_latency`` promises, on a type whose prompts draw more power than
    its decodes.
    """
    kind = replica_type(max_batch=8)
    cost, limits, traffic = seen(kind)
    waits = [expected_s(cost, limits, traffic, n, 500.0, 250.0) for n in range(100)]
    assert (np.diff(waits) >= 0).all()
    assert waits[-1] > 5 * waits[0], "beyond the seats a request waits for others to end"


@given(
    kind=strategies.replica_types(),
    traffic=st.tuples(LENGTHS, LENGTHS),
    request=st.tuples(LENGTHS, LENGTHS),
)
@settings(max_examples=100, deadline=None)
def test_load_never_hurries_an_answer_on_any_type(kind, traffic, request):
    """``rising`` of ``least_latency`` is a theorem. A prompt of little power once joined a step at
    the power cap for less than one below it, and a very short answer came sooner from a busier
    replica.
    """
    found = seen(kind, input_tokens=traffic[0], output_tokens=traffic[1])
    answers = np.array([expected_s(*found, in_flight, *request) for in_flight in range(40)])
    assert (np.diff(answers) >= -1e-12 * answers[1:]).all()


def test_the_seconds_of_an_answer_by_hand():
    """Two others: a step of 10 + 3 x 0.5 + 3.375 ms; with the own prompt 20 ms more; two prompts in
    250 steps; 100 tokens.
    """
    found = seen(ROOMY)
    step_0_s = 0.01 + 3 * 0.0005 + 3 * 1125 * 1e-6
    mean_s = step_0_s + 2 / 250 * 0.02
    expected = step_0_s + 0.02 + 99 * mean_s
    assert expected_s(*found, 2, 1000.0, 100.0) == pytest.approx(expected)
    assert expected_s(*found, 2, 1000.0, 1.0) == pytest.approx(step_0_s + 0.02)


def test_capacity_counts_all_seats():
    cost, limits, traffic = seen(replica_type(max_batch=4), input_tokens=10, output_tokens=100)
    expected = 4.0 / (100.0 * step_s(cost, 4.0, traffic))
    assert capacity_per_s(cost, limits, traffic) == pytest.approx(expected)


@pytest.mark.parametrize(
    "kind",
    [
        replica_type(expert_hit_frac=0.1, energy_j_all_experts=5.0, time_s_all_experts=0.01),
        replica_type(power_w_cap=150.0),
        replica_type(power_w_cap=5000.0),
    ],
    ids=("experts", "capped", "free"),
)
def test_what_is_added_to_a_step_is_the_difference_of_two_steps(kind):
    cost = cost_table([kind])[0]
    before = np.array(step(cost, 4.0, 4000.0, 0.0))
    for sequences, tokens, prefill in ((1.0, 1000.0, 0.0), (0.0, 0.0, 800.0), (1.0, 10.0, 10.0)):
        after = np.array(step(cost, 4.0 + sequences, 4000.0 + tokens, prefill))
        added = estimate._added(cost, 4.0, 4000.0, sequences, tokens, prefill)
        assert added == pytest.approx(after - before, rel=1e-9)


@pytest.mark.parametrize("cap_w", [110.0, 5000.0], ids=("capped", "free"))
def test_equal_prices_are_equal_to_the_bit_at_every_batch(cap_w):
    """The joules of a prompt were the difference of two steps, whose last bit varied with the
    batch: a price that never falls seemed to, and the bisection of the pick went astray.
    """
    cost = cost_table([replica_type(power_w_cap=cap_w)])[0]
    batches = np.arange(2.0, 60.0)
    assert len({estimate._added(cost, b, 311.7 * b, 0.0, 0.0, 173.0) for b in batches}) == 1
    assert len({estimate._added(cost, b, 311.7 * b, 1.0, 211.3, 0.0) for b in batches}) == 1


def test_a_replica_that_is_about_to_fill_asks_for_the_joules_of_a_full_one():
    """With the batch that its controller forecasts, an idle replica costs no more than a busy one:
    its weight stream is paid for by the others.
    """
    cost, limits, traffic = seen(replica_type(max_batch=64, kv_tokens=10**6, power_w_cap=5000.0))
    idle = marginal_energy_j(cost, limits, traffic, 0, 1000.0, 250.0)
    busy = marginal_energy_j(cost, limits, traffic, 8, 1000.0, 250.0)
    limits["forecast_batch"] = 8.0
    assert marginal_energy_j(cost, limits, traffic, 0, 1000.0, 250.0) == busy < idle
    limits["forecast_batch"] = 0.5
    part = marginal_energy_j(cost, limits, traffic, 0, 1000.0, 250.0)
    assert part == pytest.approx(busy), "somebody is there now and then"


def test_the_forecast_batch_counts_where_there_is_one():
    """Joules that depend on the batch: experts, of which a larger batch has read more already. Then
    the price does not change with the load: lateness alone decides between equal replicas.
    """
    kind = replica_type(
        max_batch=64,
        kv_tokens=10**6,
        power_w_cap=5000.0,
        expert_hit_frac=0.05,
        energy_j_all_experts=6.0,
        time_s_all_experts=0.02,
    )
    cost, limits, traffic = seen(kind)
    alone = [marginal_energy_j(cost, limits, traffic, n, 10.0, 250.0) for n in range(60)]
    limits["forecast_batch"] = 20.0
    forecast = [marginal_energy_j(cost, limits, traffic, n, 10.0, 250.0) for n in range(60)]
    assert forecast == [alone[20]] * 60
    limits["forecast_batch"] = 0.0
    opened = [marginal_energy_j(cost, limits, traffic, n, 10.0, 250.0) for n in range(60)]
    assert opened == [alone[0]] + [alone[1]] * 59, "nobody is meant to work: opening costs"
    limits["forecast_batch"] = 1000.0
    limits["max_batch"] = 40
    full = marginal_energy_j(cost, limits, traffic, 0, 10.0, 250.0)
    assert full == alone[39], "no more than the other seats"


@given(kind=strategies.replica_types(most_batch=40), lengths=st.tuples(LENGTHS, LENGTHS))
@settings(max_examples=150, deadline=None)
def test_a_step_never_gets_shorter_with_the_batch(kind, lengths):
    """It once did under a binding power cap, when more than one prompt joined each step: the price
    of ``least_latency`` then fell with the load, and the pick by index was not that of the scan.
    """
    cost, _, traffic = seen(kind, input_tokens=lengths[0], output_tokens=lengths[1])
    steps = np.array([step_s(cost, running, traffic) for running in np.arange(1.0, 60.0)])
    assert (np.diff(steps) >= -1e-12 * steps[1:]).all()


def test_where_more_than_a_prompt_joins_each_step_every_step_carries_so_many():
    """Eleven running answers of 5 tokens: two prompts of 100 tokens a step."""
    cost, _, traffic = seen(ROOMY, input_tokens=100.0, output_tokens=5.0)
    expected = 0.01 + 11 * 0.0005 + 11 * 102.5 * 1e-6 + 200 * 2e-5
    assert step_s(cost, 11.0, traffic) == pytest.approx(expected)
