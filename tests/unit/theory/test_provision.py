"""Best supply and storage: laws, tables, numerical minimisation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from baseload.base.errors import BadInputError
from baseload.theory.normal import BETA_0
from baseload.theory.prices import Prices
from baseload.theory.provision import (
    cost_factor,
    horizon_slope,
    newsvendor_z,
    optimal_beta_horizon,
    optimal_criticality_index,
    optimal_provision_and_storage,
    optimal_supply,
    price_of_variance,
)
from baseload.theory.regulator import g, g_slope

ratios = st.floats(1e-9, 1 - 1e-9)
TABLE = {
    0.01: 6.27165,
    0.02: 5.40473,
    0.05: 4.19140,
    0.1: 3.18878,
    0.2: 2.04910,
    0.25: 1.63231,
    0.3: 1.26361,
    0.4: 0.60737,
    0.5: 0.0,
}


@st.composite
def prices(draw):
    """Prices with a ratio inside (0, 1), feed-in revenue included."""
    Cb = draw(st.floats(0.1, 2))
    Cw = draw(st.floats(-0.9 * Cb, 2))
    return Prices(Cb=Cb, Cu=Cb + draw(st.floats(0.05, 20)), Cw=Cw)


@pytest.mark.parametrize(("r", "y"), TABLE.items())
def test_the_index_table(r, y):
    assert optimal_criticality_index(r=r) == pytest.approx(y, abs=1e-5)


@given(ratios)
def test_the_index_is_odd_around_one_half_and_solves_its_equation(r):
    y = optimal_criticality_index(r=r)
    assert optimal_criticality_index(r=1 - r) == pytest.approx(-y, rel=1e-7, abs=1e-9)
    assert -g_slope(y) == pytest.approx(r, rel=1e-9)
    assert (y > 0) == (r < 0.5)


def test_exactly_critical_is_best_iff_auxiliary_costs_twice_the_baseline():
    assert optimal_criticality_index(r=0.5) == 0
    assert Prices(Cb=1.0, Cu=2.3, Cw=0.3).advice == "exactly critical supply is best"
    assert optimal_supply(prices=Prices(Cb=1.0, Cu=2.0), var=4.0, B=5.0).theta == 0
    assert optimal_supply(prices=Prices(Cb=1.0, Cu=2.01), var=4.0, B=5.0).theta > 0
    assert optimal_supply(prices=Prices(Cb=1.0, Cu=1.99), var=4.0, B=5.0).theta < 0
    near = [optimal_criticality_index(r=0.5 + e) for e in (-1e-9, 1e-9)]
    assert near == pytest.approx([6e-9, -6e-9], rel=1e-5)


@pytest.mark.parametrize("r", [5e-324, 1e-300, 1e-17, 1 - 1e-16])
def test_the_index_at_extreme_ratios_is_finite(r):
    assert 30 < abs(optimal_criticality_index(r=r)) < 760


@given(prices(), st.floats(0.1, 100), st.floats(0.1, 100))
def test_theta_minimises_the_cost(tariff, var, B):
    def cost(theta):
        y = 2 * theta * B / var
        scale = var / (2 * B)
        return tariff.excess(theta=theta, u=scale * g(y), w=scale * g(-y))

    found = optimal_supply(prices=tariff, var=var, B=B)
    assert found.excess_cost == pytest.approx(cost(found.theta), rel=1e-9)
    assert found.w - found.u == pytest.approx(found.theta, abs=1e-9 * var / B)
    for shift in (-0.05, 0.05):
        assert cost(found.theta + shift * var / B) >= found.excess_cost * (1 - 1e-12)


@given(prices(), st.floats(0.1, 10), st.floats(1, 50))
def test_the_price_of_variance_is_the_slope_of_the_cost(tariff, var, B):
    step = 1e-4 * var
    up, down = (
        optimal_supply(prices=tariff, var=var + shift, B=B).excess_cost for shift in (step, -step)
    )
    price = price_of_variance(prices=tariff, B=B)
    assert (up - down) / (2 * step) == pytest.approx(price, rel=1e-6)
    assert price_of_variance(prices=tariff, B=math.inf) == 0


@given(prices(), st.floats(0.1, 10), st.floats(0.1, 10))
def test_without_storage_the_newsvendor_minimises(tariff, var, slot):
    found = optimal_supply(prices=tariff, var=var, B=0.0, slot=slot)
    assert found.rung == "no storage"
    assert found.w - found.u == pytest.approx(found.theta, rel=1e-12)
    total = tariff.excess(theta=found.theta, u=found.u, w=found.w)
    assert found.excess_cost == pytest.approx(total, rel=1e-9, abs=1e-12)
    assert found.theta == pytest.approx(newsvendor_z(prices=tariff) * math.sqrt(var / slot))


def test_bounds_are_values_not_errors():
    dear = Prices(Cb=2.0, Cu=1.0)
    assert dear.advice == "auxiliary is cheaper than baseline"
    assert newsvendor_z(prices=dear) == -math.inf
    none = optimal_supply(prices=dear, var=4.0, B=3.0, mean=10.0)
    assert (none.theta, none.u, none.w, none.excess_cost) == (-10.0, 10.0, 0.0, -10.0)
    assert none.rung == "bound"
    assert optimal_supply(prices=dear, var=4.0, B=3.0).theta == -math.inf
    assert optimal_supply(prices=Prices(Cb=1.0, Cu=1.0), var=4.0, B=3.0).excess_cost == 0
    paid = Prices(Cb=1.0, Cu=3.0, Cw=-1.0)
    assert "as much as is allowed" in paid.advice
    assert newsvendor_z(prices=paid) == math.inf
    much = optimal_supply(prices=paid, var=4.0, B=3.0, mean=10.0, most=25.0)
    assert (much.theta, much.excess_cost) == (15.0, 0.0)
    little = optimal_supply(prices=paid, var=4.0, B=3.0, mean=10.0, most=5.0)
    assert little.excess_cost == pytest.approx(10.0)
    joint = optimal_provision_and_storage(prices=dear, h=0.1, var=4.0, mean=10.0)
    assert (joint.B, joint.theta, joint.rung) == (0.0, -10.0, "bound")
    assert optimal_provision_and_storage(prices=paid, h=0.1, var=4.0).theta == math.inf
    assert cost_factor(dear) == cost_factor(paid) == 0


@pytest.mark.parametrize("r", [0.0, 1.0, -0.1, 1.2, math.nan])
def test_a_finite_optimum_needs_a_ratio_inside(r):
    for function in (optimal_criticality_index, optimal_beta_horizon):
        with pytest.raises(BadInputError, match="r"):
            function(r=r)


@pytest.mark.parametrize(
    ("given_", "field"),
    [
        ({"Cb": 1.0, "Cu": 1.0, "Cw": -1.0}, "Cu"),
        ({"Cb": 0.5, "Cu": 3.0, "Cw": -0.6}, "Cw"),
        ({"Cb": math.nan, "Cu": 3.0}, "Cb"),
        ({"Cb": 1.0, "Cu": math.inf}, "Cu"),
    ],
)
def test_unbounded_prices_are_refused_by_name(given_, field):
    with pytest.raises(BadInputError) as caught:
        Prices(**given_)
    assert caught.value.asked == field


def horizon_cost(d):
    """H(d) = phi(d) + d Phi(d) + (2 Phi(d) - 1) / (2 d)."""
    if abs(d) < 1e-3:
        return math.sqrt(2 / math.pi) + d / 2 + d * d / math.sqrt(2 * math.pi) / 3
    density = math.exp(-d * d / 2) / math.sqrt(2 * math.pi)
    below = 0.5 * math.erfc(-d / math.sqrt(2))
    return density + d * below + math.erf(d / math.sqrt(2)) / (2 * d)


@pytest.mark.parametrize("r", [0.02, 0.3, 0.5, 0.75, 0.98])
def test_the_horizon_optimum_minimises(r):
    found = minimize_scalar(lambda d: horizon_cost(d) - r * d, bounds=(-30, 30), method="bounded")
    assert optimal_beta_horizon(r=r) == pytest.approx(-found.x, abs=1e-4)


@given(st.floats(-8, 8))
def test_the_horizon_slope_is_the_derivative(d):
    step = 1e-4
    slope = (horizon_cost(d + step) - horizon_cost(d - step)) / (2 * step)
    assert horizon_slope(d) == pytest.approx(slope, abs=3e-6)
    assert horizon_slope(d) + horizon_slope(-d) == pytest.approx(1, abs=1e-12)


def test_the_horizon_slope_is_continuous_at_its_series():
    for d in (1e-2, -1e-2):
        inside, outside = horizon_slope(d * (1 - 1e-12)), horizon_slope(d * (1 + 1e-12))
        assert inside == pytest.approx(outside, abs=1e-9)
    assert optimal_beta_horizon(r=1e-12) == pytest.approx(math.sqrt(1 / 2e-12), rel=1e-6)


@given(prices(), st.floats(0.001, 1), st.floats(0.1, 50))
def test_the_joint_optimum(tariff, h, var):
    found = optimal_provision_and_storage(prices=tariff, h=h, var=var)
    alone = optimal_supply(prices=tariff, var=var, B=found.B)
    assert found.theta == pytest.approx(alone.theta, rel=1e-9, abs=1e-12)
    assert found.excess_cost == pytest.approx(alone.excess_cost + h * found.B, rel=1e-9)
    assert found.beta == pytest.approx(found.theta / math.sqrt(var))
    for factor in (0.9, 1.1):
        other = optimal_supply(prices=tariff, var=var, B=found.B * factor)
        assert other.excess_cost + h * found.B * factor > found.excess_cost
    twice = optimal_provision_and_storage(prices=tariff, h=h, var=4 * var)
    assert twice.excess_cost == pytest.approx(2 * found.excess_cost, rel=1e-9)  # linear in sigma


def test_the_joint_optimum_at_its_ends():
    tariff = Prices(Cb=1.0, Cu=3.0)
    free = optimal_provision_and_storage(prices=tariff, h=0.0, var=4.0)
    assert (free.B, free.theta, free.excess_cost) == (math.inf, 0.0, 0.0)
    calm = optimal_provision_and_storage(prices=tariff, h=0.1, var=0.0)
    assert (calm.B, calm.theta, calm.excess_cost) == (0.0, 0.0, 0.0)
    with pytest.raises(BadInputError, match="h"):
        optimal_provision_and_storage(prices=tariff, h=-0.1, var=1.0)
    with pytest.raises(BadInputError, match="slot length"):
        optimal_supply(prices=tariff, var=1.0, B=0.0)


def test_a_slot_brings_its_correction_and_the_choice_without_storage():
    tariff = Prices(Cb=1.0, Cu=3.0, Cw=0.2)
    plain = optimal_provision_and_storage(prices=tariff, h=0.01, var=4.0)
    slotted = optimal_provision_and_storage(prices=tariff, h=0.01, var=4.0, slot=1.0)
    assert pytest.approx(plain.B - 2 * BETA_0 * 2.0) == slotted.B
    assert slotted.rung == "slot-corrected"
    assert slotted.cost_without_storage > slotted.excess_cost
    dear = optimal_provision_and_storage(prices=tariff, h=5.0, var=4.0, slot=1.0)
    assert (dear.B, dear.rung) == (0.0, "no storage")
    assert dear.excess_cost == dear.cost_without_storage


def test_a_small_store_is_optimised_again_on_better_rates():
    """The better rates are those of B + 2 step: their optimum is known."""
    tariff, step = Prices(Cb=1.0, Cu=3.0, Cw=0.2), 2 * BETA_0
    calls = []

    def rates(theta, B):
        calls.append(B)
        size = B + 2 * step
        return 2 / size * g(theta * size / 2), 2 / size * g(-theta * size / 2)

    found = optimal_provision_and_storage(prices=tariff, h=0.3, var=4.0, kx=step, rates=rates)
    plain = optimal_provision_and_storage(prices=tariff, h=0.3, var=4.0)
    assert found.rung == "re-optimised"
    assert pytest.approx(plain.B - 2 * step, rel=1e-4) == found.B
    assert found.theta == pytest.approx(plain.theta, rel=1e-4)
    calls.clear()
    large = optimal_provision_and_storage(prices=tariff, h=0.0001, var=4.0, kx=step, rates=rates)
    assert large.rung == "two-sided diffusion"
    assert calls == []
