"""Caps on the tokens of an answer: what is cut, what that costs, what is learned."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from made_scenarios import finished, groups_of, made_scenario, made_trace

from baseload.base.errors import BadInputError
from baseload.base.streams import stream
from baseload.routing.policies import policy
from baseload.simulator.caps import cases_of, cut_at, listed_name
from baseload.simulator.choices import Choice
from baseload.simulator.run import run_once, simulate
from baseload.simulator.supplied import Supplied
from baseload.supply.baseline import Constant
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, Tariff
from baseload.workload.chunks import source_of
from baseload.workload.lengths import WHOLE_CLASS

LEAST = policy("least_loaded")


class Refuses:
    """Takes nobody."""

    name = "refuses"

    def choose(self, request, fleet):
        """As the protocol says."""
        del request, fleet


def test_every_policy_runs_under_every_cap_in_order():
    scenario = made_scenario(caps=(30, None, 80))
    found = simulate(scenario, [LEAST, policy("round_robin")], seeds=2, check=True)
    names = [result.policy for result in found.policies]
    assert names == [
        f"{name} {cap}" for name in ("least_loaded", "round_robin")
        for cap in ("cap 30", "uncapped", "cap 80")
    ]  # fmt: skip
    assert [one.parameters["cap_tokens"] for one in found.policies[:3]] == [30, None, 80]
    assert found.bound_energy_j is None  # each cap has its own
    for result in found.policies:
        assert result.energy_over_bound is not None
        assert result.energy_over_bound >= 1
        for name in ("capped_frac", "quality_frac", "demand_variance_j2_per_s"):
            low, high = result.interval[name]
            assert low <= getattr(result, name) <= high
    assert any("cut count as wrong" in note for note in found.notes)


def test_a_cap_alone_changes_nothing_else():
    """The uncapped case is the run without caps; one cap is the run with ``cap_tokens``."""
    trace = made_trace(seed=5)
    free = simulate(made_scenario(trace), [LEAST]).policies[0]
    both = simulate(made_scenario(trace, caps=(None, 40)), [LEAST]).policies
    one = simulate(made_scenario(trace, cap_tokens=40), [LEAST]).policies[0]
    assert one.policy == "least_loaded"
    for name in ("energy_j", "e2e_s", "output_tokens", "demand_variance_j2_per_s", "miss_frac"):
        assert getattr(both[0], name) == getattr(free, name)
        assert getattr(both[1], name) == getattr(one, name)
    assert (free.capped_frac, free.quality_frac) == (None, None)
    assert (both[0].capped_frac, both[0].quality_frac) == (0.0, 1.0)


def test_cut_answers_are_short_and_wrong():
    trace = made_trace(400, seed=2)
    choices = (Choice(name="only", right_frac={"": 0.8}),)
    cap = 70
    cut_frac = float((trace.output_tokens > cap).mean())
    assert 0.2 < cut_frac < 0.6
    found = simulate(made_scenario(trace, caps=(cap,), choices=choices), [LEAST]).policies[0]
    assert found.capped_frac == pytest.approx(cut_frac)
    assert found.quality_frac == pytest.approx(0.8 * (1 - cut_frac))
    assert found.output_tokens == int(np.minimum(trace.output_tokens, cap).sum())
    plain = simulate(made_scenario(trace, caps=(cap,)), [LEAST]).policies[0]
    assert plain.quality_frac == pytest.approx(1 - cut_frac)


def test_refused_requests_are_not_right():
    found = simulate(made_scenario(caps=(10,)), [Refuses()]).policies[0]
    assert found.policy == "refuses cap 10"
    assert (found.quality_frac, found.capped_frac) == (0.0, None)
    assert found.demand_variance_j2_per_s == 0.0


def test_the_variance_rate_is_the_rate_times_the_mean_square():
    rows = []
    trace = made_trace(500, gap_s=1.0)
    scenario = made_scenario(trace)
    found = simulate(scenario, [LEAST], log=lambda *ended: rows.append(ended[2])).policies[0]
    energy_j = np.concatenate(rows)["energy_j"]
    rate = len(energy_j) / trace.span_s
    assert found.demand_variance_j2_per_s == pytest.approx(rate * np.mean(energy_j**2))


def test_tighter_caps_mean_less_variance_and_less_quality():
    found = simulate(made_scenario(caps=(10, 40, 100, None)), [LEAST]).policies
    for name in ("demand_variance_j2_per_s", "quality_frac", "output_tokens"):
        values = [getattr(one, name) for one in found]
        assert values == sorted(values)
        assert values[0] < values[-1]


def test_a_source_cut_at_a_cap():
    trace = made_trace()
    source = source_of(trace, chunk_requests=50)
    assert cut_at(source, None) is source
    cut = np.concatenate([piece.output_tokens for piece in cut_at(source, 25).chunks()])
    assert (cut == np.minimum(trace.output_tokens, 25)).all()
    assert cut.dtype == trace.output_tokens.dtype


@pytest.mark.parametrize("caps", [(0,), (5, -1), (5, 5), (None, None)])
def test_caps_that_are_none_are_refused(caps):
    with pytest.raises(BadInputError, match="cap_tokens"):
        made_scenario(caps=caps)


def test_without_caps_a_policy_is_one_case_under_its_name():
    (case,) = cases_of(made_scenario(), [LEAST])
    assert case.bounded
    assert listed_name(case.scenario, LEAST) == "least_loaded"


def test_lengths_are_learned_as_if_nothing_were_cut(monkeypatch):
    """In a run: what the fleet knows of lengths in the end is the law of the trace."""
    rng = stream(3, "tests", "caps", "law")
    count, s = 6000, 0.8
    tokens = np.ceil(rng.lognormal(math.log(150.0) - s * s / 2, s, count)).astype(np.int32)
    trace = msgspec.structs.replace(
        made_trace(count, gap_s=0.1),
        output_tokens=tokens,
        class_code=np.zeros(count, np.int16),
        input_tokens=np.full(count, 100, np.int32),
    )
    scenario = made_scenario(trace, groups=groups_of(4), cap_tokens=200)
    run, _, fleet = finished(scenario, LEAST, monkeypatch)
    cut = run.tally.capped.sum() / count
    assert 0.15 < cut < 0.35
    known = fleet.forecast[0, WHOLE_CLASS]
    assert known.mean_tokens == pytest.approx(tokens.mean(), rel=0.08)
    assert math.sqrt(known.variance_tokens2) == pytest.approx(tokens.std(), rel=0.2)
    assert fleet.traffic[0].output_tokens == pytest.approx(tokens.mean(), rel=0.5)


# the stop rule


def site_of(usd_per_j, **changes):
    """A dark site that buys every joule."""
    fields = {
        "baseline": Constant(value_w=0.0),
        "store": Store(capacity_j=5e4),
        "slot_s": 20.0,
        "tariff": Tariff(energy=FlatPrice(usd_per_j=usd_per_j)),
    }
    return Site(**(fields | changes))


def under_stop_rule(usd_per_j, *, stop_rule=1, span_s=4 * 3600.0, rule="variance_aware", **changes):
    """A run whose right answers are worth a dollar."""
    tiers = tuple(msgspec.structs.replace(tier, right_usd=1.0) for tier in made_scenario().tiers)
    count = 700
    rng = stream(1, "tests", "caps", "stop rule")
    tokens = np.ceil(rng.lognormal(math.log(100.0) - 0.5, 1.0, count)).astype(np.int32)
    trace = made_trace(count, gap_s=span_s / count, output_tokens=tokens)
    scenario = made_scenario(
        trace,
        supplied=Supplied(site=site_of(usd_per_j), scales=(1.0,)),
        tiers=tiers,
        choices=(Choice(name="only", right_frac={"": 0.9}),),
        **changes,
    )
    asked = policy(rule).with_parameters({"stop_rule": str(stop_rule)})
    return simulate(scenario, [asked], check=True).policies[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "rule", ["variance_aware", "taylor", "mean_only", "best_static", "lyapunov"]
)
def test_dear_joules_cut_answers_and_cheap_ones_do_not(rule):
    """Joules at a price beside which some tokens, and not all, are worth it."""
    dear, cheap, off = (
        under_stop_rule(1e-2, rule=rule),
        under_stop_rule(1e-9, rule=rule),
        under_stop_rule(1e-2, stop_rule=0, rule=rule),
    )
    assert dear.capped_frac > 0.01
    assert dear.quality_frac < off.quality_frac
    assert dear.energy_j < off.energy_j
    assert cheap.capped_frac in (None, 0.0)
    assert off.capped_frac is None
    assert dear.parameters["stop_rule"] == 1.0


def test_the_stop_rule_stays_below_the_cap_of_the_scenario():
    """Joules for nothing lift no cap that was asked for."""
    capped = under_stop_rule(1e-9, cap_tokens=40)
    without = under_stop_rule(1e-9, stop_rule=0, cap_tokens=40)
    assert capped.capped_frac == without.capped_frac > 0.1
    assert capped.output_tokens == without.output_tokens


def test_answers_without_a_value_are_not_cut():
    tiers = made_scenario().tiers
    valued = (msgspec.structs.replace(tiers[0], right_usd=1.0), tiers[1])
    scenario = made_scenario(
        made_trace(900, gap_s=10.0),
        tiers=valued,
        supplied=Supplied(site=site_of(1.0), scales=(1.0,)),
    )
    asked = policy("variance_aware").with_parameters({"stop_rule": "1"})
    run = run_once(scenario, asked, scenario.requests(0))
    assert run.tally.capped[0].sum() > 0
    assert run.tally.capped[1].sum() == 0


def test_the_switch_takes_no_other_number():
    with pytest.raises(BadInputError, match="stop_rule"):
        policy("variance_aware").with_parameters({"stop_rule": "0.5"})
    with pytest.raises(BadInputError, match="no parameter stop_rule"):
        policy("greedy_green").with_parameters({"stop_rule": "1"})
