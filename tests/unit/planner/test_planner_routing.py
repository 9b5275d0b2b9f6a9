"""The routing plan: order of policies, shape of frontier, prices and bands, limits, words."""

from __future__ import annotations

import itertools
import math
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import ArgumentError
from baseload.planner.records import Prices
from baseload.planner.routing import PRICE_LEVELS, gain_over_stores, plan_routing
from baseload.planner.routing_charts import routing_charts_of
from baseload.planner.routing_gain import (
    LATTICE_JOBS,
    diffusion_cost,
    lattice_for,
    split_jobs,
    spread_jobs,
    step_law,
)
from baseload.planner.routing_problem import option_tables, routing_problem
from baseload.planner.routing_records import RoutingPlan
from baseload.planner.routing_wording import STUDY
from baseload.theory import lattice as jumps
from baseload.theory.dynamic_routing import solve_hjb
from baseload.theory.job_cells import quantile_laws
from baseload.theory.options import OptionModel
from baseload.theory.routing_instance import CapacityRow, RoutingInstance
from baseload.theory.state_dependent import cost_of_bands
from baseload.theory.static_routing import static_optimum


def problem(seed=0, *, classes=3, options=3, **changes):
    """Options that trade joules against wrong answers; supply near the middle."""
    draw = np.random.default_rng(seed)
    lam = draw.dirichlet(np.ones(classes))
    size = draw.lognormal(0, 0.5, (classes, 1))
    mean = size * np.sort(draw.uniform(0.3, 4.0, (1, options)))
    scv = draw.uniform(0.2, 2.5, (classes, options))
    fail = draw.uniform(0.05, 0.5, (classes, 1)) ** (1 + np.arange(options))
    low, high = lam @ mean.min(axis=1), lam @ mean.max(axis=1)
    fields = {
        "lam": lam,
        "mean": mean,
        "second": mean**2 * (1 + scv),
        "other_cost": draw.uniform(2, 8) * fail * mean.mean(),
        "Cu": 1.0,
        "Cw": 0.1,
        "b": low + (high - low) * draw.uniform(0.3, 0.5),
    }
    return RoutingInstance(**fields | changes)


def cost(plan, name):
    return plan.gain.policy(name).cost_usd_per_s


def mean_job(instance, store_j):
    return static_optimum(instance, store_j).mean / instance.lam.sum()


@given(
    seed=st.integers(0, 10_000),
    jobs=st.sampled_from([0.4, 3.0, 12.0, 60.0, 300.0]),
    v0=st.sampled_from([0.0, 0.3]),
)
@settings(max_examples=25, deadline=None)
def test_the_plan_is_in_order(seed, jobs, v0):
    instance = problem(seed, v0=v0)
    plan = plan_routing(instance, store_j=jobs * mean_job(instance, 10.0))
    size = 1e-9 * abs(cost(plan, "best_static"))
    assert cost(plan, "best_static") + size >= cost(plan, "guarded")
    assert cost(plan, "guarded") + size >= cost(plan, "optimal")
    for policy in plan.gain.policies:
        assert policy.cost_usd_per_s + size >= cost(plan, "optimal")
        parts = instance.Cu * policy.auxiliary_w + instance.Cw * policy.waste_w
        assert policy.cost_usd_per_s == pytest.approx(parts + policy.other_usd_per_s, rel=1e-8)
    assert cost(plan, "optimal") >= plan.gain.fluid_usd_per_s * (1 - 1e-6)
    rising = np.diff(plan.frontier.slope_j2_per_s_w)
    assert np.all(rising >= -1e-9 * np.abs(plan.frontier.slope_j2_per_s_w[1:]))
    assert np.all(np.diff(plan.frontier.mean_w) > 0)
    prices_end_where_they_should(plan, instance)
    bands_fill_the_store(plan)
    assert msgspec.json.decode(msgspec.json.encode(plan), type=RoutingPlan) == plan


def prices_end_where_they_should(plan, instance):
    price = plan.shadow_price
    assert len(price.level_j) == PRICE_LEVELS <= 200
    assert price.usd_per_j[0] == pytest.approx(instance.Cu, abs=1e-9)
    assert price.usd_per_j[-1] == pytest.approx(-instance.Cw, abs=1e-9)
    assert np.all(np.diff(price.usd_per_j) <= 1e-12)
    assert min(price.half_steepness_usd_per_j2) >= 0


def bands_fill_the_store(plan):
    for name in plan.classes:
        bands = [band for band in plan.bands if band.class_name == name]
        if any(band.share_frac < 1 for band in bands):
            assert sum(band.share_frac for band in bands) == pytest.approx(1.0)
            continue
        assert bands[0].from_j == 0.0
        assert bands[-1].to_j == plan.store_j
        for low, high in itertools.pairwise(bands):
            assert low.to_j == high.from_j > low.from_j
            assert low.option != high.option
            assert high.from_j in plan.switch_levels_j


@pytest.mark.parametrize("jobs", [0.5, 8.0, 100.0])
def test_one_option_gains_nothing(jobs):
    instance = problem(3, options=1)
    plan = plan_routing(instance, store_j=jobs * mean_job(instance, 1.0))
    costs = [policy.cost_usd_per_s for policy in plan.gain.policies]
    assert costs == pytest.approx([costs[0]] * len(costs), rel=1e-9)
    assert plan.choosing == ()
    assert plan.gain.method == "best_static"
    assert plan.switch_levels_j == ()
    assert "buys nothing here: no class has a second option" in plan.statements[0]


def test_the_static_part_is_the_static_optimum():
    instance = problem(1)
    plan = plan_routing(instance, store_j=20.0)
    found = static_optimum(instance, 20.0)
    static = plan.static
    parts = static.auxiliary_usd_per_s + static.waste_usd_per_s + static.other_usd_per_s
    assert static.cost_usd_per_s == found.objective == pytest.approx(parts)
    assert np.array(static.shares) == pytest.approx(found.shares)
    assert static.waste_w - static.auxiliary_w == pytest.approx(instance.b - static.mean_w)
    on_line = np.interp(static.mean_w, plan.frontier.mean_w, plan.frontier.var_j2_per_s)
    assert static.var_j2_per_s >= on_line * (1 - 1e-9)
    for single in plan.frontier.singles:
        least = np.interp(single.mean_w, plan.frontier.mean_w, plan.frontier.var_j2_per_s)
        assert single.var_j2_per_s >= least * (1 - 1e-9)


def test_large_stores_use_the_exact_bands_of_the_diffusion():
    instance = problem(2)
    store = 200.0 * mean_job(instance, 100.0)
    plan = plan_routing(instance, store_j=store)
    assert plan.gain.evaluated_by == "diffusion"
    solution = solve_hjb(instance, store)
    assert cost(plan, "optimal") == solution.gam == plan.gain.forecast_usd_per_s
    assert cost(plan, "optimal") == pytest.approx(cost_of_bands(instance, solution)["cost"])
    assert cost(plan, "full_jump") == pytest.approx(solution.gam, rel=1e-2)
    if plan.gain.guard_kept:
        assert plan.gain.method == "taylor"
        starts = solution.bands.start
        assert set(plan.switch_levels_j) <= {float(one) for one in starts}


def test_a_table_of_one_row_costs_what_its_shares_cost():
    instance = problem(4)
    level = np.linspace(0.0, 30.0, 11)
    choice = np.ones((11, 3), dtype=np.int64)
    table = diffusion_cost(instance, 30.0, level, choice)
    fixed = diffusion_cost(instance, 30.0, level, instance.shares_of(choice[0]))
    assert table == pytest.approx(fixed)


@pytest.mark.parametrize("jobs", [4.0, 12.0, 30.0])
@pytest.mark.parametrize("seed", [2, 5])
def test_the_coarse_lattice_agrees_with_a_fine_one(seed, jobs):
    """Eight steps a job, with jobs split and spread, against 32 steps of the plain lattice."""
    instance = problem(seed)
    store = jobs * mean_job(instance, 10.0)
    static = static_optimum(instance, store)
    laws = quantile_laws(instance.mean, instance.second)
    coarse = lattice_for(instance, store, static, laws)
    delta = store / round(32 * jobs)
    fine = jumps.jump_lattice(instance, store, delta=delta, job=split_jobs(laws, delta))
    found, plain = (jumps.evaluate_policy(one, static.shares).cost for one in (coarse, fine))
    assert found == pytest.approx(plain, rel=1.5e-2)


@given(spread=st.floats(0.0, 0.9), delta=st.floats(0.2, 2.0))
@settings(max_examples=30, deadline=None)
def test_split_and_spread_jobs_keep_their_mean(spread, delta):
    instance = problem(6)
    laws = quantile_laws(instance.mean, instance.second)
    wide = spread_jobs(laws, spread)
    job = split_jobs(wide, delta)
    points = delta * np.arange(job.shape[-1])
    assert job.sum(axis=-1) == pytest.approx(np.ones((3, 3)))
    assert job @ points == pytest.approx(instance.mean, rel=1e-6)
    squares = [np.einsum("kap,kap->ka", one.weights, one.values**2) for one in (laws, wide)]
    assert squares[1] == pytest.approx(squares[0] * (1 + spread**2))


@given(var=st.floats(0.0, 50.0))
def test_the_steps_of_supply_have_mean_one_and_the_variance_asked_for(var):
    law = step_law(var)
    steps = np.arange(len(law))
    assert law.min() >= 0
    assert law.sum() == pytest.approx(1.0)
    assert law @ steps == pytest.approx(1.0)
    assert law @ (steps - 1.0) ** 2 == pytest.approx(var, abs=1e-9)


def test_small_stores_name_their_method():
    instance = problem(2)
    job = mean_job(instance, 1.0)
    tiny = plan_routing(instance, store_j=0.5 * job)
    assert tiny.gain.evaluated_by == "lattice"
    assert any("less than one" in words for words in tiny.statements)
    small = plan_routing(instance, store_j=3.0 * job)
    assert small.gain.method in ("lattice", "best_static")
    if small.gain.method == "lattice":
        assert cost(small, "guarded") == cost(small, "optimal")
        assert any("exact optimum on a lattice" in words for words in small.statements)


def test_a_plan_says_what_it_buys_and_no_more():
    gains = []
    for seed in range(12):
        instance = problem(seed)
        plan = plan_routing(instance, store_j=10.0 * mean_job(instance, 10.0))
        ours = plan.gain.policy("guarded")
        gains.append(ours.saving_frac)
        assert STUDY in plan.statements[0]
        assert ("saves" in plan.statements[0]) == (ours.saving_frac >= 1e-3)
        room = 1 - plan.gain.fluid_usd_per_s / cost(plan, "best_static")
        assert ours.saving_frac <= room + 1e-6
    assert max(gains) > 0.01


def test_the_present_routing_stands_beside_the_plan():
    instance = problem(2)
    present = np.full(instance.shape, 1 / 3)
    plan = plan_routing(instance, store_j=15.0, present=present)
    assert plan.frontier.present.mean_w == pytest.approx(instance.rates(present).mean)
    assert cost(plan, "present") >= cost(plan, "best_static") - 1e-9
    assert any("Against the routing of today" in words for words in plan.statements)
    closed = problem(2, available=[[True, True, False]] * 3)
    with pytest.raises(ArgumentError, match=r"present\[0, 2\]"):
        plan_routing(closed, store_j=15.0, present=present)


def test_a_limit_that_cannot_be_kept_is_named():
    row = CapacityRow(name="seconds of the large model", work=np.ones((3, 3)), capacity=0.5)
    plan = plan_routing(problem(1, rows=(row,)), store_j=10.0)
    assert plan.static.broken.name == "seconds of the large model"
    assert plan.static.broken.possible > 0.5
    assert plan.static.cost_usd_per_s is None
    assert plan.gain is None
    assert plan.bands == ()
    assert "No routing keeps every limit: seconds of the large model" in plan.statements[0]
    assert msgspec.json.encode(plan)


def test_limits_that_hold_leave_a_static_plan():
    work = np.zeros((3, 3))
    work[:, 2] = 1.0
    row = CapacityRow(name="large model", work=work, capacity=0.1)
    plan = plan_routing(problem(1, rows=(row,)), store_j=10.0)
    assert plan.static.broken is None
    assert plan.gain is None
    assert "no price per query keeps them" in plan.why_static
    assert [point.allowed for point in plan.frontier.singles] == [True, True, False]
    shares = {}
    for band in plan.bands:
        shares[band.class_name] = shares.get(band.class_name, 0.0) + band.share_frac
    assert list(shares.values()) == pytest.approx([1.0] * 3)


def test_where_no_level_tells_anything_the_plan_is_static():
    endless = plan_routing(problem(1), store_j=math.inf)
    assert endless.store_j is None
    assert "endless store" in endless.why_static
    assert {band.to_j for band in endless.bands} == {None}
    dry = plan_routing(problem(1, b=-1.0), store_j=5.0)
    assert "stays empty" in dry.why_static
    still = problem(1, second=problem(1).mean ** 2)
    free = msgspec.structs.replace(
        still, mean=still.mean * [0, 1, 1], second=still.second * [0, 1, 1]
    )
    assert "no variance at all" in plan_routing(free, store_j=5.0).why_static


def test_arrivals_that_are_not_poisson_are_counted():
    clumped = plan_routing(problem(2, arrival_scv=3.0), store_j=20.0)
    plain = plan_routing(problem(2), store_j=20.0)
    assert cost(clumped, "guarded") > cost(plain, "guarded")
    assert any("not Poisson" in note for note in clumped.notes)
    regular = plan_routing(problem(2, arrival_scv=0.2), store_j=20.0)
    assert any("more regular" in note for note in regular.notes)


def test_rough_supply_costs_and_leaves_the_lattice_when_too_rough():
    calm, rough, wild = (plan_routing(problem(2, v0=v0), store_j=20.0) for v0 in (0.0, 1.0, 500.0))
    assert rough.gain.evaluated_by == "lattice"
    assert cost(rough, "optimal") > cost(calm, "optimal")
    assert wild.gain.evaluated_by == "diffusion"
    assert any("rough" in words for words in wild.warnings)


def test_negative_price_of_waste_is_warned_of():
    plan = plan_routing(problem(2, Cw=-0.1), store_j=20.0)
    assert plan.shadow_price.usd_per_j[-1] == pytest.approx(0.1)
    assert any("waste earns" in words for words in plan.warnings)


def test_bad_input():
    with pytest.raises(ArgumentError, match="store_j"):
        plan_routing(problem(), store_j=0.0)
    with pytest.raises(ArgumentError, match="classes"):
        plan_routing(problem(), store_j=1.0, classes=["a", "a", "b"])
    with pytest.raises(ArgumentError, match="dist"):
        plan_routing(problem(), store_j=1.0, dist="cauchy")
    with pytest.raises(ArgumentError, match="no arrivals"):
        plan_routing(problem(lam=np.zeros(3)), store_j=1.0)
    with pytest.raises(ArgumentError, match=r"Cu \+ Cw"):
        problem(Cw=-1.0)


PRICES = Prices(baseline_usd_per_j=1e-8, auxiliary_usd_per_j=5e-8)


def told(**changes):
    given = {
        "arrivals_per_s": [1.0, 0.5],
        "mean_j": [[100.0, 300.0], [200.0, 900.0]],
        "second_j2": [[2e4, 2e5], [8e4, 1.6e6]],
        "success_frac": [[0.7, 0.9], [0.4, 0.8]],
        "wrong_usd": [1e-5, 2e-5],
        "prices": PRICES,
        "baseline_w": 350.0,
        "classes": ["chat", "maths"],
        "options": ["small", "large"],
    }
    return routing_problem(**given | changes)


def test_a_problem_from_tables():
    instance = told()
    assert instance.other_cost == pytest.approx(np.array([[3e-6, 1e-6], [12e-6, 4e-6]]))
    assert (instance.Cu, instance.Cw, instance.b) == (5e-8, 0.0, 350.0)
    assert told(least_success_frac=[0.0, 0.5]).available.tolist() == [[True, True], [False, True]]
    plan = plan_routing(
        instance, store_j=5e3, classes=["chat", "maths"], options=["small", "large"]
    )
    assert plan.static.failing_frac is not None
    assert {band.option for band in plan.bands} <= {"small", "large"}


def test_bad_tables_are_refused_in_words():
    with pytest.raises(ArgumentError, match="second_j2 of large for maths") as caught:
        told(second_j2=[[2e4, 2e5], [8e4, math.inf]])
    assert "cap its tokens" in str(caught.value)
    with pytest.raises(ArgumentError, match="least_success_frac of maths") as caught:
        told(least_success_frac=[0.5, 0.95])
    assert "0.8, that of large" in str(caught.value)
    with pytest.raises(ArgumentError, match="success_frac"):
        told(success_frac=[[0.7, 1.2], [0.4, 0.8]])
    with pytest.raises(ArgumentError, match="price of auxiliary"):
        told(
            prices=Prices(baseline_usd_per_j=1e-8, auxiliary_usd_per_j=1e-8, waste_usd_per_j=-1e-8)
        )


def test_tables_from_scaling_laws():
    models = [
        OptionModel(
            name=name,
            ability=a,
            kappa=1.0,
            energy_j_per_token=e,
            tokens_per_step=20.0,
            cap_tokens=4000.0,
        )
        for name, a, e in (("small", 0.0, 0.1), ("large", 2.0, 0.6))
    ]
    tables = option_tables(models, [-1.0, 1.0])
    assert np.all(np.diff(tables.success_frac, axis=1) >= 0)
    assert np.all(tables.second_j2 >= tables.mean_j**2 * (1 - 1e-12))


def test_gain_over_stores_falls_faster_with_a_look_at_the_store():
    instance = problem(2)
    stores = [float(one) for one in np.geomspace(10, 80, 4) * mean_job(instance, 10.0)]
    found = gain_over_stores(instance, stores)
    excess = {
        name: [one.policy(name).cost_usd_per_s - one.fluid_usd_per_s for one in found]
        for name in ("best_static", "optimal")
    }
    for values in excess.values():
        assert np.all(np.diff(values) < 0)
    assert excess["optimal"][-1] / excess["optimal"][0] <= (
        excess["best_static"][-1] / excess["best_static"][0]
    )
    assert found[-1].store_jobs > LATTICE_JOBS
    assert gain_over_stores(problem(1, b=-1.0), [1.0]) == ()


def test_charts():
    instance = problem(2)
    plan = plan_routing(instance, store_j=15.0, present=np.full((3, 3), 1 / 3))
    charts = {chart.name: chart for chart in routing_charts_of(plan, instance)}
    assert list(charts) == ["frontier", "shadow_price", "dynamic_gain"]
    assert len(charts["shadow_price"].marks) == sum(band.from_j > 0 for band in plan.bands)
    assert all(0 < at < 1 for at in charts["shadow_price"].marks.values())
    lines = {line.label: line.y for line in charts["dynamic_gain"].lines}
    assert list(lines) == ["best static", "mean only", "Taylor", "full jump", "optimal"]
    for at, least in enumerate(lines["optimal"]):
        if least is not None:
            assert all(values[at] >= least * (1 - 1e-6) for values in lines.values())
    assert {dots.label for dots in charts["frontier"].dots} >= {"present routing", "best static"}
    static = plan_routing(problem(1), store_j=math.inf)
    assert [chart.name for chart in routing_charts_of(static, problem(1))] == ["frontier"]


def test_four_classes_of_six_options_are_quick():
    instance = problem(7, classes=4, options=6)
    store = 20.0 * mean_job(instance, 10.0)
    plan_routing(instance, store_j=store)
    best = math.inf
    for _ in range(3):
        start = time.process_time()
        plan_routing(instance, store_j=store)
        best = min(best, time.process_time() - start)
    assert best < 2.0
