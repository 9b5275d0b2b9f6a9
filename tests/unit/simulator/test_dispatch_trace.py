"""The clairvoyant dispatch of a trace: below every run of the engine, and made of its pieces."""

from __future__ import annotations

import math

import bound_instances as instances
import msgspec
import numpy as np
import pytest
from made_scenarios import groups_of, made_scenario, made_trace

from baseload.base.errors import ArgumentError, BadInputError
from baseload.base.kernels import plain
from baseload.base.streams import stream
from baseload.routing.policies import policy
from baseload.simulator import bound_terms as terms
from baseload.simulator import dispatch_joules
from baseload.simulator.choices import Choice
from baseload.simulator.dispatch_trace import dispatch_of
from baseload.simulator.jump import option_tokens
from baseload.simulator.run import run_once
from baseload.simulator.supplied import Supplied
from baseload.supply.baseline import Constant, OrnsteinUhlenbeck
from baseload.supply.carbon import carbon_signal
from baseload.supply.site import Site
from baseload.supply.store import Store, lithium_battery
from baseload.supply.tariff import FlatPrice, SpotPrice, Tariff
from baseload.workload.chunks import source_of

CHOICES = (
    Choice(name="careful", right_frac={"": 0.9, "batch": 0.95}, fee_usd=1e-5),
    Choice(name="brief", tokens_factor={"": 0.3, "batch": 0.55}, right_frac={"": 0.6}),
    Choice(name="blunt", tokens_factor={"": 0.01}, right_frac={"": 0.2, "batch": 0.4}),
)
RIGHT_USD = {"chat": 0.002, "batch": 0.004}
CLOSE = 1e-6


def made_site(**changes):
    fields = {
        "baseline": OrnsteinUhlenbeck(level_w=250.0, deviation_w=100.0, time_s=5.0),
        "store": lithium_battery(0.0005, replacement_usd_per_kwh=300.0),
        "tariff": Tariff(energy=FlatPrice(usd_per_j=2e-5), fixed_usd_per_month=3.0),
        "pue": 1.2,
        "overhead_w": 20.0,
        "baseline_usd_per_j": 1e-6,
        "carbon_usd_per_g": 1e-4,
        "auxiliary_carbon": carbon_signal("average", 400.0),
        "slot_s": 1.0,
    }
    return Site(**(fields | changes))


def pricing(quality):
    """The greedy policy with a price on wrong answers [J each]."""
    made = policy("energy_greedy")
    rates = made.rates | {"quality": float(quality)}
    return msgspec.structs.replace(made, name="priced", rates=rates, free_seats=False)


def cost_of(scenario, source, router, *, seed=0, right_usd=RIGHT_USD):
    """What a run cost at its site, wrong answers included and the demand charge left out; when it
    ended; how many it refused that could be served; the books.
    """
    run = run_once(scenario, router, source, seed=seed, check=False)
    account = run.supply[0].account
    worth = np.array([right_usd.get(name, 0.0) for name in source.classes])
    choices = scenario.choices or (Choice(name="plain"),)
    right = np.array([[one.right(name) for one in choices] for name in source.classes])
    fees = np.array([one.fee_usd for one in choices])
    come = np.zeros(len(source.classes))
    for piece in source.chunks():
        come += np.bincount(piece.class_code, minlength=len(source.classes))
    chosen = run.chosen if scenario.choices else (come - 0.0)[:, None]
    usd = account.costs.total_usd - (account.costs.demand_usd or 0.0)
    usd += float(worth @ (come - (chosen * right).sum(axis=1)) + (chosen * fees).sum())
    return usd, account.span_s, int(run.refused[0]), account


def test_no_run_costs_less_than_the_proven_dispatch():
    """Policies that think much or little, awake and parking, at sites with all there is."""
    ratios = []
    for seed in range(12):
        rng = stream(seed, "tests", "dispatch", "run")
        low, high = (-4e-5, 0.0) if seed % 4 == 3 else (-5e-6, 4e-5)
        prices = rng.uniform(low, high, 400)
        site = made_site(
            store=made_site().store if seed % 3 else Store(),
            waste_usd_per_j=float(rng.choice([0.0, 1e-6, -1e-6])),
            tariff=Tariff(energy=SpotPrice(usd_per_j=prices, step_s=1.0)),
        )
        scenario = made_scenario(
            choices=CHOICES,
            supplied=Supplied(site=site),
            groups=groups_of(1, 1, power_w_parked=5.0),
            parking=bool(seed % 2),
        )
        source = source_of(made_trace(120, seed=seed, gap_s=float(rng.choice([0.05, 0.3]))))
        for router in (pricing(1e-9), pricing(40), pricing(1e9), policy("least_loaded")):
            usd, end_s, refused, _ = cost_of(scenario, source, router, seed=seed)
            assert refused == 0
            common = {"seed": seed, "right_usd": RIGHT_USD, "end_s": end_s}
            for more in ({"delay_s": {"": 1e6}}, {"delay_s": {"": 1e6}, "most_blocks": 3}):
                found = dispatch_of(scenario, source, **common, **more)
                assert usd >= found.total_cost_usd - CLOSE * abs(usd), (seed, router.name, more)
            if low > -1e-5:
                ratios.append(usd / dispatch_of(scenario, source, **common).total_cost_usd)
    assert min(ratios) < 2.0, "the bound is of some use"


def test_no_run_of_odd_instances_costs_less():
    """Requests that no type can take, preemptions, tight memory, work that draws less than rest."""
    held = unservable = 0
    for seed in range(150):
        made = instances.case(seed)
        rng = stream(seed, "tests", "dispatch", "odd")
        site = made_site(
            baseline=Constant(value_w=float(rng.uniform(0, 400))),
            store=Store(capacity_j=float(rng.uniform(0, 500))),
            slot_s=float(rng.choice([0.1, 0.7, 5.0])),
        )
        scenario = msgspec.structs.replace(
            made.scenario, supplied=Supplied(site=site), choices=CHOICES
        )
        source = source_of(made.trace)
        usd, end_s, refused, _ = cost_of(scenario, source, pricing(10.0 ** rng.uniform(-2, 4)))
        if refused:
            continue
        found = dispatch_of(scenario, source, right_usd=RIGHT_USD, end_s=end_s, delay_s={"": end_s})
        assert usd >= found.total_cost_usd - CLOSE * abs(usd), seed
        held += 1
        unservable += found.cost_usd["wrong_usd"] > 0 and not any(map(any, found.choice_frac))
    assert held > 100


def test_one_option_and_its_own_joules_give_the_cost_of_the_run():
    """A fleet that draws the same always, with nothing to store: there is nothing to choose."""
    site = made_site(store=Store(), baseline=Constant(value_w=100.0), slot_s=1000.0)
    scenario = made_scenario(supplied=Supplied(site=site))
    source = source_of(made_trace(200, seed=4))
    usd, end_s, _, account = cost_of(scenario, source, policy("least_loaded"), right_usd={})
    found = dispatch_of(
        scenario,
        source,
        right_usd={},
        joules=np.full((2, 1), account.fleet_j / 200),
        end_s=end_s,
    )
    assert found.total_cost_usd == pytest.approx(usd, rel=1e-6)
    assert found.demand_j == pytest.approx(account.demand_j)
    assert found.auxiliary_j == pytest.approx(account.auxiliary_j)


def test_as_run_counts_every_request_where_it_came():
    site = made_site(slot_s=2.0)
    scenario = made_scenario(supplied=Supplied(site=site), choices=CHOICES)
    source = source_of(made_trace(300, seed=1), chunk_requests=70)
    counted = dispatch_joules.requests_of(
        scenario, source, CHOICES, slot_s=2.0, slots=4, proven=False
    )
    trace = made_trace(300, seed=1)
    slot = np.minimum(trace.t_us // 2_000_000, 4)
    for at in range(5):
        expected = np.bincount(trace.class_code[slot == at], minlength=2)
        assert (counted.arrivals[at] == expected).all()
    assert counted.last_s == trace.span_s
    assert counted.longest.tolist() == [
        trace.output_tokens[trace.class_code == code].max() for code in (0, 1)
    ]


def test_the_most_that_a_fleet_draws_is_its_cap_or_a_wake():
    groups = groups_of(1, 2, power_w_cap=300.0, wake_j_from_off=4e4, wake_s_from_off=100.0)
    assert [dispatch_joules.most_power_w(group) for group in groups] == [400.0, 400.0]
    capped = groups_of(1, 2, power_w_cap=500.0)
    assert dispatch_joules.most_power_w(capped[0]) == 500.0
    source = source_of(made_trace(20))
    scenario = made_scenario(supplied=Supplied(site=made_site()), groups=groups)
    counted = dispatch_joules.requests_of(
        scenario, source, CHOICES, slot_s=1.0, slots=1, proven=False
    )
    assert counted.most_w == 1200.0


def test_scale_multiplies_the_baseline():
    scenario = made_scenario(supplied=Supplied(site=made_site()), choices=CHOICES)
    source = source_of(made_trace(200))
    one, two = (
        dispatch_of(scenario, source, right_usd=RIGHT_USD, scale=scale) for scale in (1.0, 2.0)
    )
    assert two.cost_usd["baseline_usd"] == pytest.approx(2 * one.cost_usd["baseline_usd"])
    assert two.auxiliary_j < one.auxiliary_j


def test_choosing_by_request_never_costs_more_than_by_class():
    scenario = made_scenario(supplied=Supplied(site=made_site()), choices=CHOICES)
    source = source_of(made_trace(200, seed=2))
    found = dispatch_of(scenario, source, right_usd={"": 6e-5})
    assert found.cost_usd["by_request_usd"] < -1e-3 * found.cost_usd["wrong_usd"]
    equal = made_trace(200, seed=2, most_input=2, most_output=2)  # all requests alike
    alike = dispatch_of(scenario, source_of(equal), right_usd={"": 6e-5})
    assert abs(alike.cost_usd.get("by_request_usd", 0.0)) < 1e-9 * alike.total_cost_usd
    assert found.total_cost_usd == pytest.approx(math.fsum(found.cost_usd.values()))


def test_the_kernel_and_its_plain_twin_agree():
    scenario = made_scenario(supplied=Supplied(site=made_site()), choices=CHOICES)
    source = source_of(made_trace(50))
    problem = dispatch_joules.floor_problem(scenario, source, sleep=False, models=())
    rows = dispatch_joules.arrivals(next(source.chunks()))
    fast, slow = np.empty(50), np.empty(50)
    terms.least_j(problem, rows, -1, fast)
    plain(terms.least_j)(problem, rows, -1, slow)
    assert slow == pytest.approx(fast, rel=1e-12)
    terms.least_j(problem, rows, 3, fast)
    assert np.isinf(fast).all(), "nobody serves that model"


def test_an_option_writes_as_many_tokens_as_in_the_engine(monkeypatch):
    source = source_of(made_trace(80, most_output=200))
    scenario = made_scenario(supplied=Supplied(site=made_site()), choices=CHOICES)
    seen = []
    monkeypatch.setattr(
        terms, "least_j", lambda _p, rows, _m, out: seen.append(rows.output_tokens.copy())
    )
    piece = next(source.chunks())
    problem = dispatch_joules.floor_problem(scenario, source, sleep=False, models=())
    dispatch_joules._joules(problem, piece, source.classes, CHOICES, ())
    for choice, tokens in zip(CHOICES, seen, strict=True):
        factors = [choice.tokens(source.classes[code]) for code in piece.class_code]
        expected = map(option_tokens, piece.output_tokens.tolist(), factors)
        assert tokens.tolist() == list(expected)


def test_bad_input_is_named():
    trace = source_of(made_trace(20))
    with pytest.raises(BadInputError, match="without a supply"):
        dispatch_of(made_scenario(), trace, right_usd={})
    fed = made_scenario(supplied=Supplied(site=made_site()))
    with pytest.raises(BadInputError, match="'talk'"):
        dispatch_of(fed, trace, right_usd={"talk": 1.0})
    with pytest.raises(ArgumentError, match="end_s"):
        dispatch_of(fed, trace, right_usd={}, end_s=0.0)
