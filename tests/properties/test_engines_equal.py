"""The jump engine equals the step engine. BASELOAD_TEST_SCALE=100 tries a hundred times as many
instances.
"""

from __future__ import annotations

import os

import capped_instances
import engine_instances as instances
import numpy as np
import pytest
import site_instances
import slow_instances

from baseload.routing.policies import POLICIES
from baseload.simulator.scenario import Group
from baseload.testing.fleets import replica_type
from baseload.workload.forecasts import text_of_forecast

SCALE = float(os.environ.get("BASELOAD_TEST_SCALE", "1"))
PARTS = 8
EACH = max(1, round(40 * SCALE))
EVERY = [part if part < 2 else pytest.param(part, marks=pytest.mark.slow) for part in range(PARTS)]


@pytest.mark.parametrize("part", EVERY)
def test_jump_equals_steps_on_random_small_instances(part):
    seen = instances.compare_many(part * EACH, EACH)
    assert seen["requests"] > 10 * EACH


@pytest.mark.parametrize("part", EVERY)
def test_jump_equals_steps_under_slow_control(part):
    """Under random orders and under the real controllers, parking or not, whatever the forecast."""
    seen = slow_instances.compare_many(part * EACH, EACH)
    assert seen["requests"] > 10 * EACH


@pytest.mark.parametrize("part", EVERY)
def test_jump_equals_steps_under_caps(part):
    """Caps on answers that stand and caps that change on the way; the lengths learned too."""
    seen = capped_instances.compare_many(part * EACH, EACH)
    assert seen["requests"] > 10 * EACH


def test_the_capped_instances_cover_what_they_should():
    """Answers cut and whole; caps that change; options under caps."""
    cut = moved = 0
    with_options = set()
    for seed in range(40):
        made = capped_instances.case(seed)
        with capped_instances.watched(made) as seen:
            run, _ = instances.by_jumps(made)
        cut += int(run.tally.capped.sum())
        moved += len(seen.caps[0]) > 1
        with_options.add((bool(made.scenario.choices), made.scenario.cap_tokens is None))
    assert cut > 50
    assert moved >= 10
    assert len(with_options) == 4


@pytest.mark.parametrize("rule", ["variance_aware", "best_static", "lyapunov"])
def test_jump_equals_steps_under_the_stop_rule(rule):
    """A site that buys its joules dear: caps are set each hour by what both engines learned."""
    made = capped_instances.at_a_dear_site(rule)
    with capped_instances.watched(made):
        run, _ = instances.by_jumps(made)
    assert 0.02 < run.tally.capped.sum() / len(made.trace) < 0.9
    seen = capped_instances.compare(made)
    assert max(seen.errors.values()) <= instances.TOLERANCE


@pytest.mark.parametrize("part", EVERY)
def test_jump_equals_steps_at_a_site(part):
    """Under policies that look at the supply: the same decisions, and the same to look at."""
    count = max(1, EACH // 2)
    seen = site_instances.compare_many(part * count, count)
    assert seen["requests"] > 10 * count


@pytest.mark.parametrize("seed", [88, 1132])
def test_a_price_of_nothing_has_no_sign(seed):
    """The last digits of a price of zero, in which the engines differ, decided who answers."""
    site_instances.compare_many(seed, 1)


def test_the_site_instances_cover_what_they_should():
    """Every policy that looks, stores of every size, days that are learned or not."""
    made = [site_instances.case(seed) for seed in range(PARTS * 20)]
    assert {one.policy.name for one in made} == set(site_instances.LOOKING)
    sites = [one.scenario.supplied.site for one in made]
    stores = {round(np.log10(max(1.0, min(1e9, one.store.usable_j)))) for one in sites}
    assert stores >= {0, 3, 6, 7, 9}
    assert {one.slot_s > 3600.0 for one in sites} == {True, False}
    assert sum(one.trace.span_s > 86_400.0 for one in made) > 20
    assert any(one.auxiliary_limit_w == 0.0 for one in sites)
    assert any(one.carbon_usd_per_g for one in sites)
    solved = 0
    for one in made[:40]:
        with site_instances.noting() as controllers:
            instances.by_jumps(one)
        solved += controllers[0].estimates.baseline_w.known
    assert solved > 3


def test_the_slow_instances_cover_what_they_should():
    """Replicas closed, woken, at another clock; requests held; preemptions and refusals."""
    made = [slow_instances.case(seed) for seed in range(PARTS * 40)]
    assert {one.policy.slow.rule for one in made} == {"fixed", "pi", "log"}
    assert len({text_of_forecast(one.scenario.forecast) for one in made}) == 4
    assert {one.policy.queue for one in made} == {"fifo", "laxity"}
    assert {one.policy.pending_unit for one in made} > {0, 16}
    woken = held = shrunk = 0
    for one in made[1:100:2]:
        run, _ = instances.by_jumps(one)
        woken += run.wakes > 0
        held += run.control is not None and max(run.control.held, default=0) > 0
        shrunk += run.control is not None and any(
            len(set(opened)) > 1 for opened in run.control.open_by_type.values()
        )
    assert min(woken, held, shrunk) > 10
    waking = changed = 0
    for one in made[:100:2]:
        with slow_instances.scripted(one.seed) as controllers:
            instances.by_jumps(one)
        waking += any(signals.waking.any() for signals in controllers[0].seen)
        changed += any(level.any() for level in controllers[0].levels)
    assert min(waking, changed) > 10
    seen = slow_instances.compare_many(0, 40)
    for name in ("preempted", "refused"):
        assert seen[name] > 0, name


def test_the_instances_cover_what_they_should():
    """Every policy, timeouts, experts, preemptions, refusals, cut answers, equal instants."""
    made = [instances.case(seed) for seed in range(PARTS * 40)]
    assert {one.policy.name for one in made} >= set(POLICIES) | {"mix"}
    groups = [group for one in made for group in one.scenario.groups]
    assert any(group.park_after_s is not None for group in groups)
    assert any(group.off_after_s is not None and group.park_after_s is None for group in groups)
    assert any(group.kind.costs.expert_hit_frac > 0 for group in groups)
    assert any(len({tier.priority for tier in one.scenario.tiers}) == 3 for one in made)
    assert sum((np.diff(one.trace.t_us) == 0).any() for one in made) > 30
    seen = instances.compare_many(0, 40)
    for name in ("preempted", "refused", "cut_short"):
        assert seen[name] > 0, name


@pytest.mark.parametrize("seed", [377, 554, 785, 945, 1312])
def test_a_timeout_at_the_instant_of_an_arrival_comes_first(seed):
    """The jump engine let an arrival at the very instant of parking find the replica awake, where
    the step engine made it wait for the wake time.
    """
    instances.compare_many(seed, 1)


def test_a_fleet_that_parks_at_once_wakes_for_the_first_request():
    """``park_after_s=0``: a request at time 0 finds a parked replica."""
    made = instances.case(0)
    kind = replica_type(wake_s_from_parked=2.0, wake_j_from_parked=100.0)
    scenario = _with_groups(made, (Group(kind=kind, replicas=1, park_after_s=0.0),))
    run, log = instances.by_jumps(scenario)
    assert run.account_j[0].tolist()[4] == 100.0
    assert log.first_s[0] > 2.0


def _with_groups(made, groups):
    import msgspec

    trace = msgspec.structs.replace(
        made.trace,
        t_us=np.zeros(1, np.int64),
        input_tokens=np.array([10], np.int32),
        output_tokens=np.array([5], np.int32),
        class_code=np.zeros(1, np.int16),
        deadline_us=None,
        model_code=None,
    )
    scenario = msgspec.structs.replace(made.scenario, groups=groups)
    return made._replace(scenario=scenario, trace=trace)
