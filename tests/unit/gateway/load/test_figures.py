"""The figures of a replay."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_loads import MS, a_plan

from baseload.gateway.load.figures import (
    SCHEMA,
    Asked,
    metered,
    missed,
    result_of,
    spread,
    tpot_ns,
)
from baseload.gateway.load.run import Outcome
from baseload.workload.tiers import INTERACTIVE

ASKED = Asked(
    url="http://127.0.0.1:1",
    model="auto",
    effort=None,
    stream=True,
    fixed_lengths=True,
    rate_per_s=None,
    speed=1.0,
    start_s=0.0,
    duration_s=1.0,
    seed=0,
)


def outcome(number=0, **fields):
    usual = {
        "tier": "interactive",
        "due_ns": 0,
        "sent_ns": 0,
        "first_ns": 100 * MS,
        "last_ns": 300 * MS,
        "end_ns": 310 * MS,
        "output_tokens": 11,
        "asked_tokens": 11,
        "input_tokens": 40,
    }
    return Outcome(number=number, **(usual | fields))


def result(*outcomes, **more):
    return result_of(outcomes, a_plan(*range(len(outcomes) or 1)), ASKED, **more)


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=50))
def test_percentiles_are_values_that_occurred_in_order(durations):
    found = spread(durations)
    seen = [one / 1e9 for one in durations]
    assert found.p50 in seen
    assert found.p99 in seen
    assert found.p50 <= found.p90 <= found.p99 <= found.most == max(seen)
    assert found.mean == pytest.approx(np.mean(seen))
    assert np.mean(np.array(seen) <= found.p90) >= 0.9


def test_nothing_measured_is_none_never_zero():
    assert spread([]).p50 is None
    nothing = result()
    assert nothing.total.miss_frac is None
    assert nothing.energy.energy_j is None
    assert nothing.late_s.p99 is None


def test_latencies_count_from_when_a_request_was_due():
    """Coordinated omission: a client held up by 50 ms must not hide them."""
    late = outcome(due_ns=0, sent_ns=50 * MS)
    found = result(late)
    assert found.total.ttft_s.p50 == 0.1
    assert found.ttft_from_sending_s.p50 == 0.05
    assert found.total.e2e_s.p50 == 0.31
    assert found.e2e_from_sending_s.p50 == 0.26
    assert found.late_s.p50 == 0.05
    assert found.late_frac == 1.0
    assert any("late" in note for note in found.notes)


def test_time_per_token_is_that_of_the_tokens_after_the_first():
    assert tpot_ns(outcome()) == 20 * MS
    assert tpot_ns(outcome(output_tokens=-1, pieces=5)) == 50 * MS
    assert tpot_ns(outcome(output_tokens=1)) is None
    assert tpot_ns(outcome(first_ns=-1)) is None


def test_promises_are_broken_by_any_part():
    assert not missed(outcome(), INTERACTIVE)
    assert missed(outcome(first_ns=3000 * MS, last_ns=3000 * MS), INTERACTIVE)
    assert missed(outcome(last_ns=1200 * MS), INTERACTIVE)
    assert missed(outcome(kind="connect"), INTERACTIVE)


def test_tiers_apart_and_together():
    found = result(
        outcome(0),
        outcome(1, tier="bulk", kind="status 503", detail="full"),
        outcome(2, kind="status 503", detail="later"),
        outcome(3, kind="unfinished", end_ns=-1),
        interrupted=True,
    )
    assert [(row.name, row.sent) for row in found.tiers] == [("bulk", 1), ("interactive", 3)]
    total = found.total
    assert (total.sent, total.answered, total.failed, total.unfinished) == (4, 1, 2, 1)
    assert total.miss_frac == pytest.approx(2 / 3)
    (failure,) = found.failures
    assert (failure.kind, failure.count, failure.example) == ("status 503", 2, "full")
    assert found.interrupted
    assert any("interrupted" in note for note in found.notes)


def test_a_tier_that_promises_nothing_known_has_no_misses():
    assert result(outcome(tier="none")).total.miss_frac is None


def test_energy_of_those_answers_that_tell_it():
    found = result(
        outcome(0, energy_j=10.0, energy_method="modelled", carbon_g=2.0),
        outcome(1, energy_j=30.0, energy_method="measured"),
        outcome(2),
        outcome(3, energy_j=5.0, kind="closed"),
        metered_j={"baseload_energy_joules_total": 50.0},
    )
    energy = found.energy
    assert (energy.answers_with, energy.energy_j, energy.carbon_g) == (2, 40.0, 2.0)
    assert energy.energy_j_per_request == 20.0
    assert energy.energy_j_per_output_token == pytest.approx(40 / 22)
    assert energy.methods == ["measured", "modelled"]
    assert energy.metered_j == {"baseload_energy_joules_total": 50.0}


def test_meters_are_differences():
    assert metered({"a": 1.0}, {"a": 3.5, "b": 2.0}) == {"a": 2.5, "b": 2.0}
    assert metered({"a": 10.0}, {"a": 3.0}) == {"a": 3.0}
    assert metered({"a": 1.0}, None) == {}
    assert metered(None, {"a": 1.0}) == {"a": 1.0}


def test_who_answered_and_lengths_that_differ():
    found = result(
        outcome(0, model="m", effort="low", replica="r1"),
        outcome(1, model="m", effort="low", replica="r2", output_tokens=4),
        outcome(2, model="n", replica="r2", output_tokens=-1),
    )
    assert found.models == {"m@low": 2, "n": 1}
    assert found.replicas == {"r2": 2, "r1": 1}
    assert found.other_lengths == 1
    assert any("not as long as asked" in note for note in found.notes)


def test_a_client_at_its_limit_is_told():
    found = result(outcome(), cpu_s=0.3)
    assert found.client_cpu_frac == pytest.approx(0.3 / 0.31)
    assert any("of a CPU" in note for note in found.notes)


def test_the_json_has_its_schema_and_can_be_read_back():
    found = result(outcome())
    assert found.schema == SCHEMA
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found
