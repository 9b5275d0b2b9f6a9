from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_scenarios import made_scenario, made_trace

from baseload.base.errors import BadInputError
from baseload.routing.policies import POLICIES
from baseload.simulator.run import simulate
from baseload.simulator.sweeps import SCHEMA, Sweep, keeps_targets, overloads, sweep_of

TWO = [POLICIES["least_loaded"], POLICIES["round_robin"]]
GAPS_S = {0.4: 0.1, 0.8: 0.05}


def simulations(policies=TWO, seeds=1, **changes):
    found = {}
    for load_frac, gap_s in GAPS_S.items():
        made = simulate(made_scenario(made_trace(gap_s=gap_s)), policies, seeds=seeds)
        found[load_frac] = msgspec.structs.replace(made, **changes)
    return found


def test_a_sweep_has_a_point_for_each_load_and_policy_in_order():
    by_load = simulations()
    sweep = sweep_of(dict(reversed(by_load.items())))
    assert sweep.schema == SCHEMA
    assert sweep.loads == [0.4, 0.8]
    wanted = [(load, policy) for load in (0.4, 0.8) for policy in sweep.policies]
    assert [(point.load_frac, point.policy) for point in sweep.points] == wanted
    assert msgspec.json.decode(msgspec.json.encode(sweep), type=Sweep) == sweep


def test_points_say_what_the_policies_results_say():
    by_load = simulations(seeds=3)
    for point in sweep_of(by_load).points:
        simulation = by_load[point.load_frac]
        first = simulation.policies[0]
        result = next(one for one in simulation.policies if one.policy == point.policy)
        assert point.energy_j_per_request == result.energy_j_per_request
        assert point.miss_frac == result.miss_frac
        assert (point.completed, point.refused) == (result.completed, result.refused)
        assert point.e2e_s_p99 == result.e2e_s.p99
        assert point.interval["ttft_s_p99"] == result.interval["ttft_s.p99"]
        if result is first:
            assert point.energy_change_frac is None
            assert "energy_change_frac" not in point.interval
        else:
            assert point.energy_change_frac == result.energy_j / first.energy_j - 1
            low, high = point.interval["energy_change_frac"]
            assert low <= high


def test_a_bound_becomes_joules_per_request_and_a_ratio():
    by_load = simulations(bound_energy_j=600.0)
    for point in sweep_of(by_load).points:
        simulation = by_load[point.load_frac]
        result = next(one for one in simulation.policies if one.policy == point.policy)
        assert point.bound_energy_j_per_request == pytest.approx(600.0 / point.requests)
        assert point.energy_over_bound == pytest.approx(result.energy_j / 600.0)


def test_without_a_bound_both_are_missing_not_zero():
    for point in sweep_of(simulations(bound_energy_j=None)).points:
        assert point.bound_energy_j_per_request is None
        assert point.energy_over_bound is None


def test_loads_beyond_the_fleet_are_named():
    by_load = simulations()
    over = {1.2: by_load[0.8], 0.4: by_load[0.4]}
    sweep = sweep_of(over)
    assert 1.2 in overloads(sweep.points)
    assert any(note.startswith("Overload at load 1.2") for note in sweep.notes)
    calm = simulations(offered_load_frac=0.5)
    assert sweep_of(calm).notes == []


def test_a_remark_of_every_load_is_kept_once():
    sweep = sweep_of(simulations(notes=["a remark"], offered_load_frac=0.5))
    assert sweep.notes == ["a remark"]


def test_simulations_that_do_not_belong_together_are_refused():
    by_load = simulations()
    with pytest.raises(BadInputError, match="sweep"):
        sweep_of({})
    with pytest.raises(BadInputError, match="sweep"):
        sweep_of(by_load | {0.9: msgspec.structs.replace(by_load[0.8], seeds=[0, 1])})


shares = st.dictionaries(st.sampled_from("abc"), st.none() | st.floats(0, 1))
promises = st.dictionaries(
    st.sampled_from("abc"),
    st.fixed_dictionaries({"target_miss_frac": st.none() | st.floats(0, 1)}),
)


@given(shares, promises)
def test_targets_are_kept_when_no_tier_misses_more_than_it_may(missed, tiers):
    pairs = [
        (missed[name], tiers[name]["target_miss_frac"])
        for name in missed.keys() & tiers.keys()
        if missed[name] is not None and tiers[name]["target_miss_frac"] is not None
    ]
    kept = keeps_targets(missed, tiers)
    assert (kept is None) == (not pairs)
    if pairs:
        assert kept == all(one <= other for one, other in pairs)
