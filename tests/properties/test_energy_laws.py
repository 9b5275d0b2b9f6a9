"""What physics and bookkeeping say of every run: consolidation saves, power stays within bounds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.routing.policies import POLICIES
from baseload.simulator.records import ACTIVE
from baseload.simulator.run import run_once
from baseload.simulator.scenario import Group, Scenario
from baseload.testing import strategies
from baseload.testing.fleets import replica_type
from baseload.workload.chunks import source_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import Trace

TIERS = (Tier(name="one", classes=("chat", "batch")),)


def scenario_of(trace, *groups, **fields):
    return Scenario(
        name="laws",
        groups=groups,
        requests=lambda _seed: source_of(trace),
        tiers=TIERS,
        max_queue=10_000,
        **fields,
    )


def run_of(trace, *groups, policy="round_robin"):
    scenario = scenario_of(trace, *groups)
    return run_once(scenario, POLICIES[policy], source_of(trace), check=True)


def at_once(count, *, input_tokens=50, output_tokens=60):
    return Trace(
        name="at once",
        t_us=np.zeros(count, np.int64),
        input_tokens=np.full(count, input_tokens, np.int32),
        output_tokens=np.full(count, output_tokens, np.int32),
        class_code=np.zeros(count, np.int16),
        classes=("chat", "batch"),
    )


def roomy(**changes):
    """A type that preempts nobody: only the batch limit shapes what it does."""
    fields = {"kv_tokens": 10**6, "max_context_tokens": 10**6, "max_step_tokens": 512}
    return replica_type(**(fields | changes))


def test_energy_falls_when_the_batch_rises_at_fixed_work():
    trace = at_once(64)
    joules = [
        run_of(trace, Group(kind=roomy(max_batch=batch), replicas=1)).account_j[0, ACTIVE]
        for batch in (1, 2, 4, 8, 16, 32, 64)
    ]
    assert (np.diff(joules) < 0).all()
    assert joules[-1] < joules[0] / 5


@given(kind=strategies.replica_types(), count=st.integers(1, 24))
@settings(max_examples=40, deadline=None)
def test_the_same_work_on_more_replicas_never_costs_less(kind, count):
    """Equal requests at once, on any type with room for all of them."""
    wide = roomy(
        **{name: getattr(kind.costs, name) for name in kind.costs.__struct_fields__},
        **{name: getattr(kind.power, name) for name in kind.power.__struct_fields__},
        max_batch=64,
        max_step_tokens=10_000,
    )
    trace = at_once(count, input_tokens=20, output_tokens=15)
    joules = [
        run_of(trace, Group(kind=wide, replicas=replicas)).account_j[0, ACTIVE]
        for replicas in (1, 2, 4)
    ]
    assert joules[0] <= joules[1] * (1 + 1e-9)
    assert joules[1] <= joules[2] * (1 + 1e-9)


@given(
    fleet=strategies.fleets(models=("model-a",)),
    trace=strategies.traces(),
    policy=st.sampled_from(sorted(POLICIES)),
    park=st.one_of(st.none(), st.floats(0, 5)),
)
@settings(max_examples=60, deadline=None)
def test_power_and_energy_stay_within_bounds(fleet, trace, policy, park):
    """Law 3: at least the floor of a fleet at rest, at most all caps; law 2 is checked inside."""
    groups = [
        Group(kind=kind, replicas=count, park_after_s=park)
        for kind, count in zip(fleet.types, fleet.replicas, strict=True)
    ]
    run = run_of(trace, *groups, policy=policy)
    assert int(run.tally.completed.sum()) + int(run.refused.sum()) == len(trace)
    for index, group in enumerate(groups):
        power = group.kind.power
        work_s = run.busy_s[index]
        assert run.account_j[index, ACTIVE] <= power.power_w_cap * work_s * (1 + 1e-9) + 1e-9
        rest_j = run.account_j[index, 1:4].sum()
        assert rest_j <= power.power_w_idle * run.still_s[index] * (1 + 1e-9) + 1e-9
        floor_w = power.power_w_parked if park is not None else power.power_w_idle
        awake = run.account_j[index, 4] == 0
        if awake:
            assert rest_j >= floor_w * run.still_s[index] * (1 - 1e-9) - 1e-9


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_an_idle_fleet_draws_idle_power(policy):
    """One short request at the start and one at the end: in between, idle power only."""
    trace = Trace(
        name="two",
        t_us=np.array([0, 3_600_000_000]),
        input_tokens=np.array([1, 1], np.int32),
        output_tokens=np.array([1, 1], np.int32),
        class_code=np.zeros(2, np.int16),
        classes=("chat", "batch"),
    )
    run = run_of(trace, Group(kind=roomy(), replicas=3), policy=policy)
    assert run.account_j[0, 1] == pytest.approx(3 * 50.0 * 3600, rel=1e-4)
    assert run.account_j[0, 2:].sum() == 0
