from __future__ import annotations

import functools

import msgspec
import numpy as np
import pytest
from made_scenarios import (
    all_at_once,
    groups_of,
    made_scenario,
    made_trace,
    on_its_own,
    same,
)

from baseload.base.errors import BadInputError
from baseload.routing.policies import POLICIES
from baseload.simulator import records
from baseload.simulator import run as running
from baseload.simulator.results import POWER_STATES
from baseload.simulator.run import run_once, simulate
from baseload.simulator.scenario import Group
from baseload.testing.fleets import replica_type
from baseload.workload.tiers import Tier

ALL = list(POLICIES.values())
LEAST_LOADED = POLICIES["least_loaded"]


def once(scenario, policy=LEAST_LOADED, *, seed=0, **how):
    return run_once(scenario, policy, scenario.requests(seed), seed=seed, check=True, **how)


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.name)
def test_the_same_seed_gives_the_same_run_to_the_bit(policy):
    scenario = made_scenario()
    assert same(once(scenario, policy), once(scenario, policy))


def test_another_seed_gives_another_run():
    random = POLICIES["random"]
    scenario = made_scenario(made_trace())
    assert not same(once(scenario, random, seed=0), once(scenario, random, seed=1))


@pytest.mark.parametrize("chunk_requests", [1, 7, 299, 300])
def test_the_size_of_the_pieces_changes_nothing(chunk_requests):
    trace = made_trace()
    whole = once(made_scenario(trace))
    assert same(whole, once(made_scenario(trace, chunk_requests=chunk_requests)))


def test_a_further_policy_changes_nothing_for_the_others():
    """Common random numbers, and random streams of one's own."""
    scenario = made_scenario()
    few = simulate(scenario, [POLICIES["random"]], seeds=2)
    all_of_them = simulate(scenario, ALL, seeds=2)
    alone = {result.policy: result for result in few.policies}
    beside = {result.policy: result for result in all_of_them.policies}
    assert on_its_own(alone["random"]) == on_its_own(beside["random"])
    assert few.trace == all_of_them.trace


def test_a_log_changes_nothing_and_holds_every_answer():
    scenario = made_scenario()
    rows = []
    logged = once(scenario, log=lambda name, seed, ended: rows.append((name, seed, ended)))
    assert same(logged, once(scenario))
    assert {(name, seed) for name, seed, _ in rows} == {("least_loaded", 0)}
    log = np.concatenate([ended for _, _, ended in rows])
    assert sorted(log["number"]) == list(range(300))
    assert log["energy_j"].sum() == pytest.approx(logged.tally.energy_j.sum())
    assert int(log["missed"].sum()) == int(logged.tally.missed.sum())
    assert (log["finish_s"] >= log["first_s"]).all()
    assert (log["first_s"] > log["arrival_s"]).all()


def test_a_small_log_is_emptied_whenever_it_is_full(monkeypatch):
    scenario = made_scenario(made_trace(gap_s=0.001))
    large, small = [], []
    one = once(scenario, log=lambda _name, _seed, ended: large.append(ended))
    monkeypatch.setattr(running, "_LOG_ROWS", 1)
    two = once(scenario, log=lambda _name, _seed, ended: small.append(ended))
    assert same(one, two)
    assert len(small) > len(large)
    assert (np.concatenate(small) == np.concatenate(large)).all()


def test_room_for_requests_in_flight_grows(monkeypatch):
    """5,000 at once need more slots than the engine starts with."""
    made_by = running.new_engine.__globals__
    scenario = made_scenario(all_at_once(5000, output_tokens=3), max_queue=10_000)
    grown = once(scenario)
    assert int(grown.tally.completed.sum()) == 5000
    monkeypatch.setitem(made_by, "engine", functools.partial(records.engine, slots=8192))
    assert same(grown, once(scenario))
    monkeypatch.setitem(made_by, "engine", functools.partial(records.engine, slots=1))
    assert same(grown, once(scenario))


def test_several_seeds_give_intervals_around_the_mean():
    result = simulate(made_scenario(), [LEAST_LOADED], seeds=4)
    assert result.seeds == [0, 1, 2, 3]
    policy = result.policies[0]
    for name in ("energy_j", "miss_frac", "goodput_per_s", "utilization.fast", "mean_batch.slow"):
        low, high = policy.interval[name]
        assert low <= high, name
    low, high = policy.interval["energy_j"]
    assert low < policy.energy_j < high
    assert {"ttft_s.p50", "tpot_s.p95", "e2e_s.p99"} <= set(policy.interval)
    assert simulate(made_scenario(), [LEAST_LOADED]).policies[0].interval == {}


def test_equal_seeds_give_an_interval_of_no_width():
    trace = made_trace()
    policy = simulate(made_scenario(trace), [LEAST_LOADED], seeds=3).policies[0]
    low, high = policy.interval["energy_j"]
    assert low == pytest.approx(high)
    assert policy.completed == 300


def test_every_refusal_has_a_reason_and_is_a_miss():
    """One request too long for every replica, one for a model nobody serves, and more than the
    queues hold.
    """
    count = 40
    trace = all_at_once(count, output_tokens=30)
    lengths, models = trace.input_tokens.copy(), np.full(count, -1, np.int16)
    lengths[0], models[1] = 2001, 1
    trace = msgspec.structs.replace(
        trace, input_tokens=lengths, model_code=models, models=("model-a", "model-z")
    )
    scenario = made_scenario(trace, groups=groups_of(1), max_queue=2)
    result = simulate(scenario, [LEAST_LOADED], check=True)
    policy = result.policies[0]
    assert policy.refused_by_reason == {
        "queue_full": count - 2 - 10,
        "prompt_too_long": 1,
        "model_not_served": 1,
    }
    assert (policy.completed, policy.refused) == (10, count - 10)
    assert policy.miss_frac == pytest.approx((count - 10) / count)
    assert policy.miss_frac_by_tier["bulk"] == policy.miss_frac
    assert policy.miss_frac_by_tier["interactive"] is None
    assert any("Refused" in note for note in result.notes)


def test_a_long_answer_is_cut_and_counted():
    trace = all_at_once(3, input_tokens=1999, output_tokens=50)
    result = simulate(made_scenario(trace), [LEAST_LOADED], check=True)
    policy = result.policies[0]
    assert policy.cut_short == 3
    assert policy.output_tokens == 3 * 2
    assert any("cut" in note for note in result.notes)


@pytest.mark.parametrize("policy", ALL, ids=lambda policy: policy.name)
def test_figures_sum_up(policy):
    result = simulate(made_scenario(), [policy], check=True)
    found, span_s = result.policies[0], result.trace.span_s
    assert found.completed + found.refused == result.trace.requests == 300
    assert sum(found.energy_j_by_state.values()) == pytest.approx(found.energy_j)
    assert sum(found.energy_j_by_device.values()) == pytest.approx(found.energy_j)
    assert sum(found.energy_j_by_model.values()) == pytest.approx(found.energy_j)
    assert found.active_energy_j + found.idle_energy_j == pytest.approx(found.energy_j)
    assert abs(found.ledger_residual_j) < 1e-9 * found.energy_j
    assert found.energy_j_per_request == pytest.approx(found.energy_j / found.completed)
    assert found.energy_j_per_output_token == pytest.approx(found.energy_j / found.output_tokens)
    # a trace of less than a minute has no rate of its own: the whole run is its length
    hours = found.energy_j / 1e6 / found.energy_mj_per_hour
    assert span_s < 60
    assert span_s < hours * 3600 < 10 * span_s
    assert found.carbon_kg == pytest.approx(found.energy_j / 3.6e6 * 0.4)
    kept = 300 * (1 - found.miss_frac)
    assert found.goodput_per_s == pytest.approx(kept / (hours * 3600))
    assert sum(found.bulk_share_by_device.values()) == pytest.approx(1)
    for device, share in found.utilization_by_device.items():
        batch = found.mean_batch_by_device[device]
        assert 0 < share <= 1 if batch else share == 0
        assert 1 <= batch <= 8 if batch else found.bulk_share_by_device[device] == 0
    assert any(found.mean_batch_by_device.values())


def test_the_time_series_holds_all_energy_and_arrivals_within_the_trace():
    """What is left over is work after the last arrival."""
    trace = made_trace()
    scenario = made_scenario(trace)
    found = simulate(scenario, [LEAST_LOADED]).policies[0]
    series = found.series
    assert series is not None
    assert len(series.t_s) == len(series.in_flight) == 240
    assert series.bin_s * 240 == pytest.approx(trace.span_s)
    within_j = {state: sum(power) * series.bin_s for state, power in series.power_w.items()}
    assert set(within_j) == set(POWER_STATES)
    assert within_j["idle"] == pytest.approx(found.energy_j_by_state["idle"])
    assert within_j["active"] < found.energy_j_by_state["active"]
    assert within_j["active"] > 0.9 * found.energy_j_by_state["active"]
    assert sum(series.arrivals_per_s) * series.bin_s == pytest.approx(300, abs=1.5)
    assert max(sum(power) for power in zip(*series.power_w.values(), strict=True)) <= 3 * 500


def test_little_s_law():
    """Mean requests in flight = arrivals per second x mean seconds in the system; the series says
    all three.
    """
    rows = []
    trace = made_trace(2000)
    run = once(made_scenario(trace), log=lambda _name, _seed, ended: rows.append(ended))
    log = np.concatenate(rows)
    within = np.minimum(log["finish_s"], trace.span_s) - log["arrival_s"]
    crowd = sum(run.series.in_flight) * run.series.bin_s
    assert crowd == pytest.approx(within.sum(), rel=1e-9)


def test_parked_replicas_save_energy_and_cost_seconds():
    trace = made_trace(60, gap_s=5.0)
    awake = simulate(made_scenario(trace, groups=groups_of(2)), [LEAST_LOADED], check=True)
    kind = groups_of(2)[0].kind
    parking = (Group(kind=kind, replicas=2, park_after_s=1.0),)
    parked = simulate(made_scenario(trace, groups=parking), [LEAST_LOADED], check=True)
    one, two = awake.policies[0], parked.policies[0]
    assert two.energy_j < one.energy_j
    assert two.energy_j_by_state["parked"] > 0
    assert two.energy_j_by_state["waking"] > 0
    assert one.energy_j_by_state["waking"] == one.energy_j_by_state["parked"] == 0
    assert two.ttft_s.p95 > one.ttft_s.p95 + 1.5


def test_bulk_waits_behind_interactive():
    trace = made_trace(400, gap_s=0.004)
    found = simulate(made_scenario(trace, groups=groups_of(1)), [LEAST_LOADED]).policies[0]
    assert found.ttft_s_by_tier["interactive"].p50 < found.ttft_s_by_tier["bulk"].p50


@pytest.mark.parametrize("parking", [False, True])
def test_the_check_against_the_step_engine_sees_a_few_ticks(parking, monkeypatch):
    """A controller closes nothing in the first sixty requests of a busy trace, so that nothing it
    does was checked.
    """
    heads = []
    agree = running.engines_agree
    monkeypatch.setattr(
        running,
        "engines_agree",
        lambda *given, seed: (heads.append(given[2]), agree(*given, seed=seed)),
    )
    trace = made_trace(6000, gap_s=0.02)
    scenario = made_scenario(trace, groups=groups_of(3, 3), parking=parking)
    simulate(scenario, [LEAST_LOADED, POLICIES["baseload"]], check=True)
    of_least_loaded, of_baseload = heads
    assert max(len(head) for head in heads) <= 60
    assert of_baseload.span_s > 60
    assert (of_least_loaded.span_s > 60) == parking


def test_progress_and_done_are_told():
    seen, done = [], []
    simulate(
        made_scenario(made_trace(), chunk_requests=100),
        ALL[:2],
        seeds=2,
        progress=lambda *told: seen.append(told),
        done=lambda result: done.append(result.policy),
    )
    assert seen[:3] == [(ALL[0].name, 0, n, 300) for n in (100, 200, 300)]
    assert len(seen) == 2 * 2 * 3
    assert done == [policy.name for policy in ALL[:2]]


def test_an_overloaded_fleet_is_said_to_be():
    trace = made_trace(400, gap_s=0.001)
    result = simulate(made_scenario(trace, groups=groups_of(1)), [LEAST_LOADED])
    assert result.offered_load_frac > 1
    assert any("cannot carry the load" in note for note in result.notes)


@pytest.mark.parametrize(
    ("policies", "seeds", "said"),
    [
        ([], 1, "none"),
        ([LEAST_LOADED, LEAST_LOADED], 1, "least_loaded twice"),
        ([LEAST_LOADED], 0, "0"),
    ],
)
def test_what_cannot_be_run_is_refused(policies, seeds, said):
    with pytest.raises(BadInputError) as error:
        simulate(made_scenario(), policies, seeds=seeds)
    assert said in str(error.value)


def test_a_class_that_no_tier_lists_is_refused():
    scenario = made_scenario(tiers=(Tier(name="interactive", classes=("chat",)),))
    with pytest.raises(BadInputError, match="batch"):
        simulate(scenario, [LEAST_LOADED])


def test_too_many_priorities_are_refused():
    tiers = [Tier(name=f"t{n}", classes=(f"c{n}",), priority=n) for n in range(5)]
    tiers[0] = msgspec.structs.replace(tiers[0], classes=("chat", "batch"))
    with pytest.raises(BadInputError, match="priorities"):
        simulate(made_scenario(tiers=tuple(tiers)), [LEAST_LOADED])


def test_bad_groups_are_refused():
    kind = replica_type()
    for fields in ({"replicas": 0}, {"replicas": 1, "park_after_s": -1.0}):
        with pytest.raises(BadInputError):
            Group(kind=kind, **fields)
    with pytest.raises(BadInputError, match="no replicas"):
        made_scenario(groups=())
