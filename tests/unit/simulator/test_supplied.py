"""Runs at a site: the fleet's energy meets its supply slot by slot."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_scenarios import made_scenario, made_trace

from baseload.base.errors import BadInputError
from baseload.routing.policies import policy
from baseload.simulator import supplied as supplying
from baseload.simulator.run import simulate
from baseload.simulator.supplied import Supplied, slots_of, supply_balances
from baseload.supply.baseline import Constant, OrnsteinUhlenbeck
from baseload.supply.carbon import carbon_signal
from baseload.supply.site import Site
from baseload.supply.store import Store, lithium_battery
from baseload.supply.tariff import FlatPrice, Tariff


def made_site(**changes):
    fields = {
        "baseline": Constant(value_w=300.0),
        "store": Store(capacity_j=20_000.0),
        "slot_s": 7.0,
        "tariff": Tariff(energy=FlatPrice(usd_per_j=1e-6)),
    }
    return Site(**(fields | changes))


def at_site(site, *, scales=(1.0,), seeds=1, books=None, **changes):
    """The result of one policy at a site; ``books`` collects its slots."""
    scenario = made_scenario(supplied=Supplied(site=site, scales=scales), **changes)
    return simulate(
        scenario,
        [policy("least_loaded")],
        seeds=seeds,
        check=True,
        slots=None if books is None else lambda *one: books.append(one),
    ).policies[0]


def test_the_site_sees_what_the_fleet_drew():
    books = []
    result = at_site(made_site(pue=1.25, overhead_w=40.0), books=books)
    account = books[0][3]
    assert account.fleet_j == pytest.approx(result.energy_j, rel=1e-9)
    demand_j = 1.25 * result.energy_j + 40.0 * account.span_s
    assert result.supply[0].demand_j == pytest.approx(demand_j, rel=1e-9)
    assert result.supply[0].balance_residual_frac <= 1e-12


def test_the_books_cover_the_run_to_its_last_answer():
    books = []
    result = at_site(made_site(slot_s=3.0), books=books)
    _, _, _, account = books[0]
    lengths = np.diff(account.edges_s)
    assert account.edges_s[-1] >= result.series.t_s[-1]
    assert (lengths > 0).all()
    assert np.allclose(lengths[:-2], 3.0)


def test_a_supply_does_not_change_the_run():
    trace = made_trace(seed=3)
    alone = simulate(made_scenario(trace), [policy("least_loaded")]).policies[0]
    fed = at_site(made_site(), trace=trace)
    for name in ("energy_j", "e2e_s", "miss_frac", "energy_j_by_state", "completed"):
        assert getattr(fed, name) == getattr(alone, name), name
    assert len(fed.supply) == 1
    assert alone.supply == []


def test_slots_change_no_sum():
    """Shorter slots see the same demand; with a store that never fills or empties, the same
    flows.
    """
    big = Store(capacity_j=1e9, soc_start_frac=0.5)
    coarse, fine = (
        at_site(made_site(slot_s=slot_s, store=big)).supply[0] for slot_s in (11.0, 0.5)
    )
    for name in ("demand_j", "baseline_j", "auxiliary_j", "waste_j", "store_change_j"):
        assert getattr(coarse, name) == pytest.approx(getattr(fine, name), rel=1e-6, abs=1e-3)


@pytest.mark.slow
@given(
    watts=st.floats(0, 3000),
    capacity=st.floats(0, 1e6),
    efficiency=st.floats(0.5, 1),
    limit=st.floats(0, 2000),
    slot_s=st.floats(0.3, 40),
)
def test_every_run_balances(watts, capacity, efficiency, limit, slot_s):
    """Law 1, held by ``check`` within the run, for any site."""
    site = made_site(
        baseline=Constant(value_w=watts),
        store=Store(
            capacity_j=capacity,
            charge_efficiency=efficiency,
            discharge_efficiency=efficiency,
            leak_per_s=1e-4,
        ),
        auxiliary_limit_w=limit,
        slot_s=slot_s,
    )
    found = at_site(site, trace=made_trace(60)).supply[0]
    assert found.baseline_used_j + found.waste_j == pytest.approx(found.baseline_j, abs=1e-6)
    assert found.unserved_j >= 0.0


def test_a_broken_balance_is_found():
    books = []
    site = made_site(slot_s=1.0)
    at_site(site, books=books)
    account = books[0][3]
    fleet_j = account.fleet_j
    supply_balances(site, account, fleet_j=fleet_j)
    for name, change in (("auxiliary_j", 1.0), ("waste_j", 5.0)):
        column = getattr(account.columns, name).copy()
        column[3] += change
        broken = account.columns._replace(**{name: column})
        with pytest.raises(AssertionError, match="a slot is out of balance"):
            supply_balances(site, msgspec.structs.replace(account, columns=broken), fleet_j=fleet_j)
    off = msgspec.structs.replace(account, balance_residual_frac=1e-11)
    with pytest.raises(AssertionError, match="out of balance by"):
        supply_balances(site, off, fleet_j=fleet_j)
    with pytest.raises(AssertionError, match="J of demand"):
        supply_balances(site, account, fleet_j=1.001 * fleet_j)


def test_scales_settle_one_run_again():
    result = at_site(made_site(), scales=(0.5, 1.0, 2.0))
    low, middle, high = result.supply
    assert (low.baseline_j, high.baseline_j) == pytest.approx(
        (0.5 * middle.baseline_j, 2 * middle.baseline_j)
    )
    assert low.demand_j == middle.demand_j == high.demand_j
    assert low.auxiliary_j >= middle.auxiliary_j >= high.auxiliary_j
    assert low.waste_j <= middle.waste_j <= high.waste_j
    assert middle.series is not None
    assert low.series is None
    assert low.baseline_over_demand == pytest.approx(low.baseline_j / low.demand_j)


def test_policies_of_a_seed_meet_the_same_supply():
    site = made_site(baseline=OrnsteinUhlenbeck(level_w=300, deviation_w=80, time_s=20), slot_s=0.5)
    scenario = made_scenario(supplied=Supplied(site=site))
    books = {}
    simulate(
        scenario,
        [policy(name) for name in ("least_loaded", "round_robin")],
        seeds=2,
        slots=lambda name, seed, scale, account: books.update({(name, seed): account}),
    )
    watts = {key: one.columns.supply_j / np.diff(one.edges_s) for key, one in books.items()}
    for seed in (0, 1):
        one, two = watts["least_loaded", seed], watts["round_robin", seed]
        whole = min(len(one), len(two)) - 1
        assert whole > 20
        assert np.allclose(one[:whole], two[:whole], rtol=1e-12)
    assert not np.allclose(watts["round_robin", 0][:20], watts["round_robin", 1][:20])


def test_what_has_no_price_is_missing_and_not_zero():
    result = at_site(made_site(tariff=None)).supply[0]
    assert {"baseline_usd", "energy_usd"} <= set(result.cost_missing)
    assert "energy_usd" not in result.cost_usd
    assert result.carbon_kg is None
    assert "auxiliary" in result.carbon_missing


def test_dollars_and_grams_of_a_site():
    site = made_site(
        baseline_usd_per_j=2e-8,
        auxiliary_carbon=carbon_signal("average", 360.0),
        carbon_usd_per_g=1e-4,
        store=lithium_battery(0.01, replacement_usd_per_kwh=300),
    )
    found = at_site(site).supply[0]
    assert found.carbon_kg == pytest.approx(found.auxiliary_j * 360.0 / 3.6e6 / 1000.0)
    assert found.total_cost_usd == pytest.approx(math.fsum(found.cost_usd.values()))
    assert found.cost_usd["energy_usd"] == pytest.approx(1e-6 * found.auxiliary_j)
    assert found.cost_usd["baseline_usd"] == pytest.approx(2e-8 * found.baseline_j)
    assert found.cost_usd["wear_usd"] > 0


def test_a_day_shows_its_hours_and_its_regime(monkeypatch):
    """A run of many days has a mean day; the label goes by the net energy of whole days."""
    monkeypatch.setattr(supplying, "S_PER_DAY", 1.2)
    monkeypatch.setattr(supplying, "S_PER_HOUR", 0.05)
    store = Store(capacity_j=3_000.0)
    rich = at_site(made_site(slot_s=0.05, baseline=Constant(value_w=1500.0), store=store))
    poor = at_site(made_site(slot_s=0.05, baseline=Constant(value_w=10.0), store=store))
    assert len(rich.supply[0].day.demand_w) == 24
    assert rich.supply[0].regime == "over-supplied"
    assert poor.supply[0].regime == "under-supplied"
    assert rich.supply[0].criticality > 3 > -3 > poor.supply[0].criticality


def test_no_store_has_no_index():
    assert at_site(made_site(store=Store())).supply[0].regime is None


@pytest.mark.parametrize("scales", [(), (1.0, 1.0), (-0.1,), (math.nan,), (1e9,)])
def test_scales_that_are_none(scales):
    with pytest.raises(BadInputError, match="supply scale"):
        Supplied(site=made_site(), scales=scales)


def test_too_many_slots_are_refused():
    assert slots_of(0.0, 900.0) == 1
    with pytest.raises(BadInputError, match="longer slots"):
        slots_of(3e7, 1.0)
