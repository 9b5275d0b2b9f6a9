"""State-dependent routing: the semi-closed solution against laws and independent routes."""

from __future__ import annotations

import time

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.theory.dynamic_routing import hjb_average_cost, prices_at, solve_hjb
from baseload.theory.routing_grid import grid_routing, richardson_gam
from baseload.theory.routing_instance import RoutingInstance
from baseload.theory.state_dependent import cost_of_bands
from baseload.theory.static_routing import static_optimum
from baseload.theory.store_cost import two_sided_cost

from .routing_cases import padded, random_instance, reference


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), size=st.floats(-2, 6), shape=st.tuples(*[st.integers(1, 6)] * 2)
)
def test_laws_of_the_solution(seed, size, shape):
    instance, B = random_instance(seed, *shape), 10.0**size
    found = solve_hjb(instance, B)
    assert found.lamS[0] == pytest.approx(instance.Cu, abs=1e-9)
    assert found.lamS[-1] == pytest.approx(-instance.Cw, abs=1e-9)
    assert np.all(np.diff(found.lamS) <= 1e-9)
    assert np.all(found.om >= 0)
    assert found.gam >= found.gam_fluid
    assert found.gam <= static_optimum(instance, B).objective * (1 + 1e-10)
    assert solve_hjb(instance, 1.5 * B).gam <= found.gam * (1 + 1e-12)
    assert cost_of_bands(instance, found)["cost"] == pytest.approx(found.gam, rel=1e-8)


def test_the_cost_falls_to_the_fluid_cost():
    found = [solve_hjb(reference(), B) for B in (1e2, 1e4, 1e6)]
    excess = [one.gam - one.gam_fluid for one in found]
    assert excess[0] > 50 * excess[1] > 2500 * excess[2] > 0
    assert found[0].gam_fluid == pytest.approx(0.455)


@pytest.mark.parametrize("B", [5.0, 20.0, 60.0, 150.0])
def test_finite_differences_agree(B):
    instance = reference()
    found = solve_hjb(instance, B)
    assert richardson_gam(instance, B, intervals=800) == pytest.approx(found.gam, rel=1e-6)
    grid = grid_routing(instance, B, intervals=800)
    exact = prices_at(found, grid.level)
    assert grid.lamS[0, 400] == pytest.approx(float(exact.lamS[400]), abs=1e-4)
    assert np.abs(grid.lamS[0] - exact.lamS).max() < 1e-4
    assert cost_of_bands(instance, found)["cost"] == pytest.approx(found.gam, rel=1e-12)


def test_one_option_only_costs_what_the_two_sided_diffusion_costs():
    for b in (2.0, 5.0, 5.0001, 9.0):
        one = RoutingInstance(
            lam=[1, 2],
            mean=[[1], [2]],
            second=[[2], [5]],
            other_cost=[[3], [0.5]],
            Cw=0.2,
            b=b,
            v0=1,
        )
        for B in (0.5, 10.0, 100.0):
            expected = 4.0 + two_sided_cost(b - 5.0, 13.0, B, 1.0, 0.2)
            assert solve_hjb(one, B).gam == pytest.approx(expected, rel=1e-12)
            assert static_optimum(one, B).objective == pytest.approx(expected, rel=1e-12)


def test_the_worth_is_the_integral_of_the_price():
    found = solve_hjb(random_instance(8, 4, 5), 12.0)
    level = np.linspace(0, 12, 20_001)
    prices = prices_at(found, level)
    steps = 0.5 * (prices.lamS[1:] + prices.lamS[:-1]) * np.diff(level)
    np.testing.assert_allclose(prices.value[1:], np.cumsum(steps), atol=1e-7)
    slope = np.gradient(prices.lamS, level)
    inner = np.abs(np.gradient(prices.om)) < 1e-3
    np.testing.assert_allclose(-slope[inner], prices.om[inner], rtol=1e-2, atol=1e-6)


def test_prices_outside_the_store():
    found = solve_hjb(reference(), 20.0)
    prices = prices_at(found, [-3.0, 0.0, 20.0, 25.0])
    assert prices.lamS == pytest.approx([1.0, 1.0, -0.1, -0.1])
    assert prices.value[0] == pytest.approx(-3.0)
    assert prices.om[0] == prices.om[1] == pytest.approx(found.om[0])
    assert prices.om[3] == prices.om[2]


def test_the_equation_holds_at_every_level():
    instance = random_instance(11, 4, 4, v0=0.7)
    found = solve_hjb(instance, 8.0)
    least = (
        instance.mean * found.lamS[:, None, None] + 0.5 * instance.second * found.om[:, None, None]
    )
    total = (least + instance.other_cost).min(axis=2) @ instance.lam
    left = total + 0.5 * instance.v0 * found.om - instance.b * found.lamS
    assert left == pytest.approx(np.full(len(left), found.gam), rel=1e-10)


def test_bands_follow_the_prices():
    instance = random_instance(11, 4, 4)
    bands = solve_hjb(instance, 30.0).bands
    taken = np.array([instance.rates(instance.shares_of(c)).mean for c in bands.choice])
    assert np.all(np.diff(bands.start) > 0)
    assert taken[-1] >= taken[0]  # a full store spends more


def test_padding_changes_nothing():
    plain = solve_hjb(random_instance(2), 10.0)
    wide = solve_hjb(padded(random_instance(2)), 10.0)
    assert wide.gam == pytest.approx(plain.gam, rel=1e-13)
    assert np.array_equal(wide.bands.choice[:, :3], plain.bands.choice)


def test_a_large_store_of_one_sided_drift_is_flat():
    instance = random_instance(1)
    scarce = msgspec.structs.replace(instance, b=0.2 * instance.b)
    found = solve_hjb(scarce, 1e5)
    assert found.flat
    assert found.gam == found.gam_fluid
    assert found.lamS[256] == pytest.approx(found.price_fluid)
    assert found.price_fluid == pytest.approx(scarce.Cu)
    assert cost_of_bands(scarce, found)["cost"] == pytest.approx(found.gam, rel=1e-9)


def test_the_flat_rule_is_continuous():
    instance = msgspec.structs.replace(random_instance(1), b=0.6 * random_instance(1).b)
    low, high = 1.0, 1e6
    while high / low > 1 + 1e-9:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if solve_hjb(instance, middle).flat else (middle, high)
    one, other = solve_hjb(instance, low), solve_hjb(instance, high)
    assert (one.flat, other.flat) == (False, True)
    assert one.gam == pytest.approx(other.gam, rel=1e-12)
    assert np.abs(one.lamS - other.lamS).max() < 1e-6


def test_without_supply_every_joule_is_bought():
    found = solve_hjb(reference(b=0.0), 20.0)
    assert np.all(found.lamS[:-1] == 1.0)
    assert np.all(found.om == 0)
    assert found.gam == pytest.approx(static_optimum(reference(b=0.0), 20.0).objective)


def test_no_arrivals_leave_only_the_supply():
    idle = reference(lam=[0.0, 0.0, 0.0], v0=4.0, b=0.5)
    assert hjb_average_cost(idle, 10.0) == pytest.approx(two_sided_cost(0.5, 4.0, 10.0, 1.0, 0.1))


def test_a_reward_for_waste():
    paid = reference(Cw=-0.5)
    found = solve_hjb(paid, 20.0)
    assert found.lamS[-1] == pytest.approx(0.5)
    assert cost_of_bands(paid, found)["cost"] == pytest.approx(found.gam, rel=1e-12)


@pytest.mark.parametrize(
    ("change", "B", "field"),
    [
        ({}, 0.0, "B"),
        ({}, float("inf"), "B"),
        ({}, float("nan"), "B"),
        ({"arrival_scv": 2.0}, 20.0, "arrival_scv"),
        ({"fail_limit": 0.2}, 20.0, "rows and fail_limit"),
        ({"mean": np.zeros((3, 3)), "second": np.zeros((3, 3))}, 20.0, "second"),
    ],
)
def test_what_it_refuses(change, B, field):
    with pytest.raises(BadInputError, match=f"^{field}"):
        solve_hjb(reference(**change), B)


def test_twenty_classes_of_twelve_options_are_quick():
    instance = random_instance(3, 20, 12)
    started = time.perf_counter()
    solve_hjb(instance, 20.0)
    assert time.perf_counter() - started < 1.0
