"""The plan of a site: optima against closed forms, laws, seasons, worths, and the whole record."""

from __future__ import annotations

import math

import critical_sites as sites
import msgspec
import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.fleet.physics import replica_type
from baseload.planner.charts import charts_of
from baseload.planner.curves import Chart
from baseload.planner.figures import figure, weakest
from baseload.planner.fleet_case import fleet_case
from baseload.planner.net import Net, net_of
from baseload.planner.optimum import (
    best_drift,
    best_drift_and_store,
    square_root_law,
    variance_price,
)
from baseload.planner.plan import critical_of, plan_site
from baseload.planner.records import SCHEMA, Plan, Prices, Supply, prices_per_kwh, summary
from baseload.planner.simulated import simulate_v
from baseload.planner.site_supply import prices_of_site, supply_of_site
from baseload.planner.worths import options_of, switches_of, worths_of
from baseload.planner.year import best_scale, fluid_balance, seasons_of
from baseload.sources import builtin_trace
from baseload.supply.baseline import Constant, Diurnal, MarkovStates, OrnsteinUhlenbeck, Sum, Trace
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, Tariff
from baseload.theory.lossy import critical_z_lossy
from baseload.theory.provision import optimal_criticality_index

PRICES = prices_per_kwh(baseline_usd=0.08, auxiliary_usd=0.30, storage_usd_per_year=40.0)
SMALL = replica_type(device="L4-24GB", model="meta-llama/Llama-3.1-8B-Instruct")
LARGE = replica_type(device="H100-SXM-80GB", model="Qwen/Qwen3-14B")


@pytest.fixture(scope="module")
def case():
    return fleet_case([(LARGE, 2), (SMALL, 2)], builtin_trace(), sharing="even")


def brownian(store_j=1e6, **fields):
    """A site whose widening is nothing beside its store."""
    return Net(
        mean_w=500.0,
        moving_w=300.0,
        fast=1e5,
        slow=0.0,
        slow_s=0.0,
        supply=Supply(store_j=store_j, slot_s=1e-9, **fields),
    )


@pytest.mark.parametrize("auxiliary", [0.1, 0.16, 0.3, 1.0])
def test_the_best_drift_is_the_closed_form(auxiliary):
    prices = prices_per_kwh(baseline_usd=0.08, auxiliary_usd=auxiliary)
    net = brownian()
    found = best_drift(net, prices, 1e6)
    y = 2 * found.theta * 1e6 / net.var
    assert y == pytest.approx(optimal_criticality_index(r=prices.ratio), abs=1e-3)


def test_exactly_critical_is_best_at_half():
    found = best_drift(brownian(), prices_per_kwh(baseline_usd=0.1, auxiliary_usd=0.2), 1e6)
    assert found.theta == pytest.approx(0.0, abs=1e-4)


def test_auxiliary_no_dearer_than_baseline_means_no_baseline():
    prices = prices_per_kwh(baseline_usd=0.1, auxiliary_usd=0.1, storage_usd_per_year=10.0)
    assert best_drift(brownian(), prices, 1e6).theta == -500.0
    assert best_drift_and_store(brownian(), prices).store_j == 0.0


def test_the_best_store_is_the_closed_form():
    net = brownian(store_j=0.0)
    found = best_drift_and_store(net, PRICES)
    psi = 2 * found.store_j**2 * PRICES.storage_usd_per_j_s / net.var
    # cost = sigma sqrt(2 h Psi), half of it for the store
    assert found.excess_usd_per_s == pytest.approx(
        math.sqrt(2 * net.var * PRICES.storage_usd_per_j_s * psi), rel=1e-3
    )
    assert found.excess_usd_per_s == pytest.approx(
        2 * found.store_j * PRICES.storage_usd_per_j_s, rel=1e-3
    )
    assert best_drift_and_store(net, prices_per_kwh(baseline_usd=0.1, auxiliary_usd=0.3)) is None


def test_dear_storage_is_not_bought():
    net = brownian(store_j=0.0)
    net = msgspec.structs.replace(net, supply=Supply(slot_s=900.0))
    dear = prices_per_kwh(baseline_usd=0.08, auxiliary_usd=0.3, storage_usd_per_year=1e7)
    assert best_drift_and_store(net, dear).store_j == 0.0


def test_price_of_variance_is_psi_over_2b():
    net = brownian()
    best = best_drift(net, PRICES, 1e6)
    own = best.excess_usd_per_s - PRICES.storage_usd_per_j_s * 1e6
    assert variance_price(net, PRICES, 1e6) == pytest.approx(own / net.var, rel=1e-3)


def test_square_root_law_pools_unless_the_movement_is_shared():
    net = net_of(sites.demand(slow=1e5, slow_s=60.0), Supply(store_j=1e5))
    law = square_root_law(net, PRICES, 2.0, 1e5)
    slope = sites.slope_of([p.traffic for p in law], [p.usd_per_request for p in law])
    assert slope == pytest.approx(-0.5, abs=0.01)
    assert law[-1].shared_usd_per_request > 10 * law[-1].usd_per_request


def test_critical_supply_with_leak_and_losses():
    leaky = critical_of(brownian(leak_per_s=1e-6))
    assert leaky.with_leak.value == pytest.approx(500.5)
    assert leaky.here.value == pytest.approx(500.5, rel=1e-5)
    net = msgspec.structs.replace(
        brownian(),
        supply=Supply(store_j=1e7, slot_s=10.0, charge_efficiency=0.95, discharge_efficiency=0.95),
    )
    lossy = critical_of(net)
    z = critical_z_lossy(eta_c=0.95, eta_d=0.95)
    assert lossy.here.value == pytest.approx(500.0 + z * math.sqrt(1e5 / 10.0), abs=0.2)
    assert lossy.lossless.value == 500.0


def test_prices_are_refused_where_no_supply_is_best():
    with pytest.raises(BadInputError, match="baseline"):
        Prices(baseline_usd_per_j=1.0, auxiliary_usd_per_j=3.0, waste_usd_per_j=-2.0)
    with pytest.raises(BadInputError, match="auxiliary"):
        Prices(baseline_usd_per_j=0.0, auxiliary_usd_per_j=0.0)


def test_figures_hide_infinity_and_refuse_nan():
    assert figure(math.inf, "s", "exact").value is None
    assert figure(math.inf, "s", "exact").note == "without limit"
    with pytest.raises(ArithmeticError):
        figure(math.nan, "s", "exact")
    assert weakest("exact", "modelled", "asymptotic") == "modelled"


def test_a_whole_plan(case):
    demand = case.demand()
    supply = Supply(baseline_w=demand.mean_w + 5.0, store_j=1e6, name="here")
    told = []
    plan = plan_site(demand, supply, PRICES, case=case, on_progress=lambda *said: told.append(said))
    assert plan.schema == SCHEMA
    again = msgspec.json.decode(msgspec.json.encode(plan), type=msgspec.Raw)
    assert again
    assert plan.critical.here.value == pytest.approx(demand.mean_w)
    assert plan.regime.theta.value == pytest.approx(5.0)
    assert sum(term.share_frac for term in plan.variance_budget) == pytest.approx(1.0)
    kinds = [worth.kind for worth in plan.worths]
    assert kinds == ["storage", "baseline", "replica", "replica", "token_cap"]
    assert plan.worths[2].usd_per_year.value < 0  # an idle GPU costs, the load being what it is
    assert plan.worths[4].effects["cut_frac"] > 0
    assert len(plan.switch_points) == 1
    assert plan.ride_through.any_in_hour.value <= plan.ride_through.any_in_week.value
    assert told[-1] == (1.0, "done")
    assert any("short" in warning for warning in plan.warnings)
    standings = {plan.at_site.auxiliary.standing, plan.provisioning.given_store.cost.standing}
    assert standings <= {"exact", "asymptotic", "heuristic", "modelled", "simulated", "assumed"}


def test_charts_are_complete_and_finite(case):
    demand = case.demand()
    supply = Supply(baseline_w=demand.mean_w, store_j=1e6)
    plan = plan_site(demand, supply, PRICES, case=case)
    dots = simulate_v(demand, supply, baseline_w=[0.95 * demand.mean_w, demand.mean_w])
    charts = {chart.name: chart for chart in charts_of(plan, demand, case=case, simulated=dots)}
    assert set(charts) == {
        "v_shape",
        "growth",
        "storage",
        "provisioning",
        "variance_budget",
        "ride_through",
        "tails",
        "switch_points",
    }
    for chart in charts.values():
        assert isinstance(chart, Chart)
        assert chart.title
        for line in (*chart.lines, *chart.right):
            assert len(line.x) == len(line.y) > 0
            assert all(y is None or math.isfinite(y) for y in line.y), (chart.name, line.label)
    v = charts["v_shape"]
    sums = dict(zip(v.lines[2].x, v.lines[2].y, strict=True))
    assert min(sums, key=sums.get) == 1.0
    assert len(v.dots) == 2
    assert msgspec.json.encode(list(charts.values()))


def test_a_plan_without_a_baseline_is_about_the_best_one():
    demand = sites.demand()
    plan = plan_site(demand, Supply(store_j=1e4), PRICES)
    assert plan.at_site is None
    assert plan.regime is None
    assert "No baseline" in " ".join(plan.notes)
    assert plan.provisioning.given_store.excess.value > 0
    bare = plan_site(demand, Supply(slot_s=900.0), PRICES)
    assert bare.provisioning.given_store is None
    assert bare.ride_through is None


def test_a_plan_without_requests_or_law():
    demand = sites.demand()
    meter = sites.replaced(demand, job=None, terms=None, requests_per_s=0.0)
    plan = plan_site(meter, Supply(baseline_w=400.0, store_j=1e5), PRICES)
    assert plan.randomness.second_order_per_1000 is None
    assert [term.name for term in plan.variance_budget] == ["demand"]
    assert summary(meter).job_cv2 is None


def test_first_and_second_order_add_up_to_the_excess():
    demand = sites.demand()
    plan = plan_site(demand, Supply(baseline_w=395.0, store_j=1e4), PRICES)
    cost = plan.randomness
    u, w = plan.at_site.auxiliary.value, plan.at_site.waste.value
    whole = PRICES.baseline_usd_per_j * -5.0 + PRICES.auxiliary_usd_per_j * u
    whole += PRICES.waste_usd_per_j * w
    got = cost.first_order.value + cost.second_order.value
    assert got == pytest.approx(whole * 3600.0, rel=1e-3)


def test_more_of_a_tiny_store_is_worth_its_price():
    demand = sites.demand()
    supply = Supply(baseline_w=400.0, store_j=200.0)
    storage = worths_of(demand, supply, PRICES)[0]
    assert storage.effects["auxiliary_w"] < 0
    cheap = prices_per_kwh(baseline_usd=0.08, auxiliary_usd=30.0, storage_usd_per_year=1.0)
    assert worths_of(demand, supply, cheap)[0].usd_per_year.value > 0


def test_switch_points_order_models_by_joules(case):
    options = options_of(case)
    assert {option.name for option in options} == {LARGE.model, SMALL.model}
    (point,) = switches_of(options)
    assert point.difficulty.standing == "assumed"
    assert switches_of(options[:1]) == ()


def sun(mean_w, days=30):
    return tuple(sites.pv_shape_w(mean_w, days).tolist())


@pytest.mark.parametrize("efficiency", [1.0, 0.95])
def test_a_solar_site_needs_auxiliary_even_without_chance(efficiency):
    demand = sites.demand()
    supply = Supply(
        series_w=sun(1.1 * demand.mean_w),
        store_j=3 * 3600.0 * demand.mean_w,
        slot_s=900.0,
        charge_efficiency=efficiency,
    )
    plan = plan_site(demand, supply, PRICES)
    seasons = plan.seasons
    assert seasons.daily_swing.value > supply.store_j
    assert seasons.fluid_auxiliary.value > 0
    assert plan.supply.baseline_w == pytest.approx(1.1 * demand.mean_w)
    assert plan.at_site.auxiliary.value == pytest.approx(seasons.chance_auxiliary.value)
    assert seasons.chance_auxiliary.value >= 0.99 * seasons.fluid_auxiliary.value
    assert plan.at_site.auxiliary.rung == (
        "periodic_diffusion" if efficiency == 1.0 else "slots_simulated"
    )
    assert any("even without chance" in warning for warning in plan.warnings)
    best, given = plan.provisioning.joint, plan.provisioning.given_store
    assert best.cost.value <= given.cost.value * (1 + 1e-3)
    names = [chart.name for chart in charts_of(plan, demand)]
    assert "year" in names
    assert plan.worths[0].effects["auxiliary_w"] < 0  # a solar site wants storage
    assert "without chance" in plan.worths[0].obtained


def test_the_best_scale_is_least():
    demand = sites.demand()
    supply = Supply(series_w=sun(demand.mean_w), store_j=1e6)
    best = best_scale(demand, supply, PRICES, store_j=1e6)
    shape = np.asarray(supply.series_w)
    for factor in (0.95, 1.05):
        moved = shape * (factor * best.mean_w / shape.mean())
        found = fluid_balance(
            moved, np.full(len(moved), demand.mean_w), 3600.0, supply, store_j=1e6
        )
        cost = PRICES.baseline_usd_per_j * moved.mean()
        cost += PRICES.auxiliary_usd_per_j * found.auxiliary_w
        cost += PRICES.storage_usd_per_j_s * 1e6
        assert cost >= best.cost_usd_per_s


def test_nothing_seasonal_gives_no_seasons():
    demand, supply = sites.demand(), Supply(baseline_w=400.0, store_j=1e5)
    assert seasons_of(demand, supply, net_of(demand, supply)) is None


def test_a_site_becomes_a_supply():
    store = Store(capacity_j=1e6, soc_min_frac=0.1, soc_max_frac=0.9, charge_efficiency=0.95)
    site = Site(baseline=Constant(value_w=500.0), store=store, slot_s=60.0, name="here")
    supply = supply_of_site(site)
    assert (supply.baseline_w, supply.series_w) == (500.0, ())
    assert supply.store_j == pytest.approx(0.8e6)
    assert supply.start_frac == pytest.approx(0.5)
    assert supply.charge_efficiency == 0.95
    waves = OrnsteinUhlenbeck(level_w=100.0, deviation_w=10.0, time_s=60.0)
    both = supply_of_site(Site(baseline=Sum(sources=(Constant(value_w=50.0), waves))))
    assert both.baseline_w == 150.0
    assert both.var_j2_per_s == pytest.approx(2 * 100.0 * 60.0)
    assert both.correlation_s == pytest.approx(60.0)
    chain = MarkovStates(
        states_w=np.array([0.0, 10.0]), generator=np.array([[-0.1, 0.1], [0.1, -0.1]])
    )
    assert supply_of_site(Site(baseline=chain)).correlation_s == pytest.approx(5.0)
    year = Trace(values_w=np.arange(8760.0), step_s=3600.0)
    assert len(supply_of_site(Site(baseline=year)).series_w) == 8760
    day = Diurnal(profile_w=np.array([0.0, 100.0]), clearness_deviation_frac=0.1)
    drawn = supply_of_site(Site(baseline=day))
    assert drawn.baseline_w == pytest.approx(np.mean(drawn.series_w), rel=0.05)


def test_prices_of_a_site():
    site = Site(
        baseline=Constant(value_w=500.0),
        baseline_usd_per_j=2e-8,
        tariff=Tariff(energy=FlatPrice(usd_per_j=8e-8)),
    )
    assert prices_of_site(site).auxiliary_usd_per_j == 8e-8
    with pytest.raises(BadInputError, match="tariff"):
        prices_of_site(msgspec.structs.replace(site, tariff=None))


def test_the_schema_is_named():
    assert SCHEMA == "baseload-plan/1"
    assert "schema" in Plan.__struct_fields__
