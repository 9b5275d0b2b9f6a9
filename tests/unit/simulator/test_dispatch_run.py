"""A run beside its clairvoyant dispatch: what is compared, and what each side is made of."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from made_scenarios import groups_of, made_scenario, made_trace

from baseload.base.errors import BadInputError
from baseload.routing.policies import policy
from baseload.simulator.choices import Choice
from baseload.simulator.dispatch_run import (
    check_dispatch,
    comparable_usd,
    dispatch_of_run,
    dispatch_result,
)
from baseload.simulator.records import ACTIVE
from baseload.simulator.run import policy_result, run_once, run_policy, simulate
from baseload.simulator.supplied import Supplied
from baseload.supply.baseline import Constant
from baseload.supply.site import Site
from baseload.supply.store import Store, lithium_battery
from baseload.supply.tariff import FlatPrice, Tariff, demand_charge_per_kw
from baseload.workload.chunks import source_of
from baseload.workload.tiers import Tier

CHOICES = (
    Choice(name="careful", right_frac={"": 0.9}, fee_usd=1e-5),
    Choice(name="brief", tokens_factor={"": 0.3}, right_frac={"": 0.7}),
)
TIERS = (
    Tier(name="interactive", classes=("chat",), ttft_s=0.5, right_usd=0.004, miss_usd=0.001),
    Tier(name="bulk", classes=("batch",), priority=1, e2e_s=60.0, right_usd=0.002),
)


def made_site(**changes):
    fields = {
        "baseline": Constant(value_w=300.0),
        "store": lithium_battery(0.0005, replacement_usd_per_kwh=300.0),
        "tariff": Tariff(energy=FlatPrice(usd_per_j=2e-5), demand=demand_charge_per_kw(10.0)),
        "pue": 1.2,
        "baseline_usd_per_j": 1e-6,
        "slot_s": 1.0,
    }
    return Site(**(fields | changes))


def scenario_at(site, **changes):
    given = {"choices": CHOICES, "tiers": TIERS, "supplied": Supplied(site=site)}
    return made_scenario(**(given | changes))


def test_joules_of_answers_add_up_to_what_the_requests_drew():
    """By class they are those of the log, in all the active energy of the fleet."""
    scenario = scenario_at(made_site())
    rows = []
    run = run_once(
        scenario,
        policy("variance_aware"),
        scenario.requests(0),
        log=lambda *ended: rows.append(ended[2]),
    )
    log = np.concatenate(rows)
    assert (run.chosen > 0).sum() > 2, "several options were taken"
    assert run.chosen_j.sum() == pytest.approx(run.account_j[:, ACTIVE].sum(), rel=1e-12)
    by_class = np.bincount(log["class_code"], weights=log["energy_j"])
    assert run.chosen_j.sum(axis=1) == pytest.approx(by_class, rel=1e-12)
    result = policy_result(scenario, policy("variance_aware"), [run, run], baseline=[run, run])
    names = [choice.name for choice in CHOICES]
    for row, label in enumerate(("chat", "batch")):
        for at, name in enumerate(names):
            if run.chosen[row, at]:
                mean_j = run.chosen_j[row, at] / run.chosen[row, at]
                assert result.answer_energy_j[label][name] == pytest.approx(mean_j)
            else:
                assert name not in result.answer_energy_j.get(label, {})


def test_without_freedom_the_dispatch_as_run_is_the_run():
    """One option, one slot, no store: the same joules at the same price, to round-off."""
    site = made_site(store=Store(), slot_s=1000.0, baseline=Constant(value_w=50.0))
    scenario = scenario_at(site, choices=CHOICES[:1], groups=groups_of(1, 1))
    source = source_of(made_trace(150))
    run = run_once(scenario, policy("least_loaded"), source)
    found = dispatch_of_run(scenario, source, run, seed=0)
    account = run.supply[0].account
    assert found.run_cost_usd == pytest.approx(found.as_run.total_cost_usd, rel=1e-7)
    assert found.as_run.demand_j == pytest.approx(account.demand_j, rel=1e-9)
    assert found.as_run.cost_usd["fee_usd"] == pytest.approx(150 * 1e-5)
    assert found.proven.total_cost_usd < found.as_run.total_cost_usd


def test_what_is_compared_has_fees_and_wrong_answers_but_no_demand_charge_and_no_misses():
    scenario = scenario_at(made_site())
    run = run_once(scenario, policy("variance_aware"), scenario.requests(0))
    books = run.supply[0]
    assert books.account.costs.demand_usd > 0
    assert "miss_usd" in books.service_usd
    total = books.account.costs.total_usd + sum(books.service_usd.values())
    left_out = books.account.costs.demand_usd + books.service_usd["miss_usd"]
    fees = 1e-5 * float(run.chosen[:, 0].sum())
    assert fees > 0
    assert comparable_usd(scenario, run) == pytest.approx(total - left_out + fees, rel=1e-12)


@pytest.mark.parametrize("name", ["variance_aware", "energy_greedy", "greedy_green"])
def test_no_run_is_below_the_proven_dispatch(name):
    scenario = scenario_at(made_site())
    runs, _ = run_policy(
        scenario, policy(name), {seed: scenario.requests(seed) for seed in range(3)}, dispatch=True
    )
    for run in runs:
        found = run.dispatch
        assert found.run_cost_usd >= found.proven.total_cost_usd * (1 - 1e-6)
        assert found.proven.total_cost_usd > 0


def test_simulate_reports_means_over_seeds_and_the_policy_that_looks_at_the_supply():
    scenario = scenario_at(made_site())
    chosen = [policy("variance_aware"), policy("energy_greedy:rate_quality=0")]
    result = simulate(scenario, chosen, seeds=2, dispatch=True)
    ours, plain = result.policies
    assert result.dispatch == ours.dispatch
    assert ours.dispatch.policy == "variance_aware"
    assert plain.dispatch.never_used == {"chat": ["brief"], "batch": ["brief"]}
    assert plain.dispatch.as_run.choice_frac["chat"] == {"careful": 1.0, "brief": 0.0}
    assert ours.cost_over_dispatch >= 1.0
    low, high = ours.interval["cost_over_dispatch"]
    assert low <= ours.cost_over_dispatch <= high
    assert msgspec.json.decode(msgspec.json.encode(result), type=type(result)) == result
    assert simulate(scenario, chosen, seeds=2).dispatch is None


def test_the_policy_that_is_named_is_the_last_without_any_that_looks():
    scenario = scenario_at(made_site())
    chosen = [policy("least_loaded"), policy("energy_greedy")]
    assert simulate(scenario, chosen, dispatch=True).dispatch.policy == "energy_greedy"


def test_lower_clocks_are_not_bounded():
    scenario = scenario_at(made_site())
    made = policy("baseload:clocks=1")
    runs, _ = run_policy(scenario, made, {0: scenario.requests(0)}, dispatch=True)
    assert runs[0].dispatch is None
    assert dispatch_result(scenario, "baseload", runs) is None


def test_scenarios_without_a_dispatch_are_refused():
    with pytest.raises(BadInputError, match="without a supply"):
        check_dispatch(made_scenario())
    with pytest.raises(BadInputError, match="cap on answers"):
        simulate(scenario_at(made_site(), cap_tokens=50), [policy("variance_aware")], dispatch=True)
