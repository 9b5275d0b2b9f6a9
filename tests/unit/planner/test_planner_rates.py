"""Rates of a site by rung: limits, laws, and simulation on five sites."""

from __future__ import annotations

import math

import critical_sites as sites
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.base.kernels import plain
from baseload.planner.demand_records import Demand
from baseload.planner.net import Net, net_of
from baseload.planner.rates import rates_of, rates_record
from baseload.planner.records import Supply
from baseload.planner.simulated import (
    draw_demand,
    draw_supply,
    impulse_run,
    simulate_requests,
    simulate_slots,
    simulate_v,
)


def net(**fields):
    given = {"mean_w": 500.0, "moving_w": 300.0, "fast": 1e4, "slow": 0.0, "slow_s": 0.0}
    return Net(**given | fields)


@given(
    theta=st.floats(-50, 50),
    store=st.floats(1e4, 1e7),
    slow=st.sampled_from([0.0, 1e5]),
    exact=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_waste_less_auxiliary_is_the_drift(theta, store, slow, exact):
    site = net(slow=slow, slow_s=120.0 if slow else 0.0, supply=Supply(store_j=store))
    found = rates_of(site, theta, exact=exact)
    assert found.w_w - found.u_w == pytest.approx(theta, abs=1e-6)
    assert min(found.u_w, found.w_w) >= 0


@pytest.mark.parametrize("slow", [0.0, 1e5])
def test_the_v_is_least_at_the_critical_point(slow):
    site = net(slow=slow, slow_s=120.0 if slow else 0.0, supply=Supply(store_j=2e5))
    sums = [
        rates_of(site, theta).u_w + rates_of(site, theta).w_w for theta in np.linspace(-5, 5, 101)
    ]
    assert int(np.argmin(sums)) == 50


def test_no_noise_is_the_fluid_and_no_store_is_slot_by_slot():
    assert rates_of(net(fast=0.0, supply=Supply(store_j=1.0)), 3.0).w_w == 3.0
    bare = rates_of(net(supply=Supply(slot_s=60.0)), 0.0)
    assert bare.rung == "slots"
    assert bare.u_w == pytest.approx(math.sqrt(1e4 / 60.0) * 0.39894, rel=1e-3)


def test_slow_noise_shows_in_a_slot_only_as_far_as_it_moves_there():
    site = net(fast=0.0, slow=1e4, slow_s=1000.0, supply=Supply(slot_s=1.0))
    # the slow power has a standard deviation of sqrt(1e4 / 2000) W, whatever the slot
    assert rates_of(site, 0.0).u_w == pytest.approx(math.sqrt(5.0) * 0.39894, rel=1e-3)


def test_leak_and_losses_move_the_critical_point_up():
    for fields in ({"leak_per_s": 1e-5}, {"charge_efficiency": 0.9}):
        found = rates_of(net(supply=Supply(store_j=1e5, **fields)), 0.0)
        assert found.u_w > found.w_w


def test_the_widening_has_both_limits():
    fast = net(supply=Supply(store_j=1.0, slot_s=9.0))
    assert fast.widening_j(1.0) == pytest.approx(2 * 0.58259716 * math.sqrt(9e4))
    slow = net(fast=0.0, slow=1e4, slow_s=50.0, supply=Supply(store_j=1.0))
    assert slow.widening_j(1.0) == pytest.approx(2 * 1.46035451 * math.sqrt(1e4 * 50 / 2))
    assert net(overshoot_j=1e9, supply=Supply()).widening_j(1.0) == pytest.approx(1e9)


def test_slow_demand_under_long_slots_counts_as_fast():
    one = sites.demand(slow=1e4, slow_s=60.0)
    assert net_of(one, Supply(slot_s=1.0)).slow == pytest.approx(1e4)
    long = net_of(one, Supply(slot_s=900.0))
    assert long.slow == 0.0
    assert long.var == pytest.approx(one.var_j2_per_s)


def test_supply_noise_joins_the_part_that_it_belongs_to():
    one = sites.demand()
    quick = net_of(one, Supply(var_j2_per_s=5e3))
    assert quick.fast == pytest.approx(one.var_j2_per_s + 5e3)
    slow = net_of(one, Supply(var_j2_per_s=5e3, correlation_s=600.0))
    assert (slow.slow, slow.slow_s) == (pytest.approx(5e3), pytest.approx(600.0))


def test_shared_movement_does_not_pool():
    site = net_of(sites.demand(slow=1e4, slow_s=60.0), Supply(store_j=1e5))
    alone, shared = site.scaled(100.0), site.scaled(100.0, shared=True)
    assert alone.var == pytest.approx(100 * site.var)
    assert shared.fast == pytest.approx(100 * site.fast)
    assert shared.slow == pytest.approx(1e4 * site.slow)


def test_a_record_names_rung_error_and_ratios():
    supply = Supply(store_j=500.0, baseline_w=410.0)
    record = rates_record(net_of(sites.demand(), supply), 410.0)
    assert record.auxiliary.rung == "exact_dam"
    assert record.auxiliary.standing == "exact"
    assert record.validity.store_over_job == pytest.approx(500.0 / 25.0, rel=0.4)
    assert record.fluid_waste_w == pytest.approx(10.0)
    episodes = rates_record(net_of(sites.demand(slow=1e4, slow_s=60.0), Supply(store_j=5e3)), 410.0)
    assert episodes.auxiliary.rung == "episode_widened"
    assert episodes.validity.store_over_episode == pytest.approx(5e3 / math.sqrt(3e5))


@pytest.mark.parametrize(
    "rows",
    [
        lambda: sites.poisson(300_000),
        lambda: sites.poisson(300_000, "lognormal"),
        lambda: sites.bursty(300_000),
        lambda: sites.seasonal("diurnal", 3),
        lambda: sites.seasonal("pv", 4),
        lambda: sites.lossy(300_000),
    ],
    ids=["poisson", "poisson_lognormal", "bursty", "diurnal", "pv", "lossy"],
)
def test_rates_against_simulation(rows):
    """Inside the rung's stated error plus 3 standard errors (longer runs: bench/critical.py)."""
    found = rows()
    assert found
    for row in found:
        assert row["met"], row


def test_cost_of_randomness_falls_as_the_root_of_the_traffic():
    traffics = (1, 10, 100)
    costs = [sites.cost_per_request(n, int(4e5 * n**0.75))[0] for n in traffics]
    assert sites.slope_of(traffics, costs) == pytest.approx(-0.5, abs=0.04)


def test_the_impulse_kernel_equals_its_plain_twin_and_balances():
    rng = np.random.default_rng(1)
    gaps, jobs = rng.exponential(1.0, 640), rng.exponential(10.0, 640)
    sums, again = np.zeros((4, 3)), np.zeros((4, 3))
    level = impulse_run(gaps, jobs, 10.0, 50.0, 25.0, sums)
    assert plain(impulse_run)(gaps, jobs, 10.0, 50.0, 25.0, again) == level
    np.testing.assert_array_equal(sums, again)
    balance = 25.0 + 10.0 * gaps.sum() + sums[:, 0].sum() - jobs.sum() - sums[:, 1].sum()
    assert balance == pytest.approx(level, abs=1e-9)


def test_simulate_v_picks_requests_or_slots():
    supply = Supply(store_j=500.0)
    b = [390.0, 400.0, 410.0]
    told = []
    one = simulate_v(sites.demand(), supply, baseline_w=b, on_progress=told.append)
    assert "one by one" in one.how
    assert told[-1] == 1.0
    assert one.auxiliary_w[0] > one.auxiliary_w[1] > one.auxiliary_w[2]
    assert simulate_v(sites.demand(), supply, baseline_w=b) == one  # same seed, same numbers
    slow = simulate_v(sites.demand(slow=1e4, slow_s=60.0), supply, baseline_w=b)
    assert "slots" in slow.how


def test_simulate_v_of_a_run_repeats_its_slots():
    slots = np.random.default_rng(2).gamma(4.0, 100.0, 2000)
    run = simulate_v(
        sites.demand(), Supply(store_j=1e4), baseline_w=[400.0], slot_j=slots, slot_s=1.0
    )
    assert "of a run" in run.how
    drift = run.waste_w[0] - run.auxiliary_w[0]
    assert drift == pytest.approx(400.0 - sites.demand().mean_w, abs=3.0)  # about that mean


def test_drawn_demand_has_the_moments_asked_for():
    one = sites.demand(slow=2e4, slow_s=60.0)
    drawn = draw_demand(one, 200_000, slot_s=5.0, seed=1)
    assert drawn.mean() / 5.0 == pytest.approx(one.mean_w, rel=0.01)
    blocks = drawn.reshape(-1, 2000).sum(axis=1)
    assert blocks.var() / 1e4 == pytest.approx(one.var_j2_per_s, rel=0.5)
    moved = draw_supply(Supply(series_w=(0.0, 2.0), series_step_s=5.0), 10, slot_s=5.0, seed=1)
    assert moved.tolist() == [-5.0, 5.0] * 5


def test_errors_name_the_field():
    supply = Supply(store_j=1.0)
    with pytest.raises(BadInputError, match="demand_j"):
        simulate_slots(supply_j=[0.0], demand_j=[1.0], slot_s=1.0, baseline_w=[1.0], supply=supply)
    with pytest.raises(BadInputError, match="requests_per_s"):
        simulate_requests(baseline_w=[1.0], store_j=1.0, requests_per_s=0.0, sample_j=[1.0])
    for field, wrong in (
        ("charge_efficiency", 0.0),
        ("store_j", math.nan),
        ("slot_s", 0.0),
        ("series_w", (-1.0,)),
        ("start_frac", 1.5),
    ):
        with pytest.raises(BadInputError, match=field):
            Supply(**{field: wrong})


def test_a_demand_without_terms_is_slow_where_it_is_correlated():
    whole = Demand(
        name="meter",
        mean_w=400.0,
        base_w=0.0,
        var_j2_per_s=1e4,
        requests_per_s=0.0,
        ca2=1.0,
        span_s=1e5,
        obtained="simulated",
        correlation_s=100.0,
    )
    assert net_of(whole, Supply()).slow == pytest.approx(1e4)
