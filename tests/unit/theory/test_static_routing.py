"""Static routing: the linear program, the frontier, least cost."""

from __future__ import annotations

import itertools
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from baseload.base.errors import BadInputError
from baseload.theory import entries_routing, frank_wolfe, routing_polytope
from baseload.theory.mean_variance import (
    deviation_matrix,
    mean_variance_frontier,
    min_modulated_variance,
)
from baseload.theory.routing_instance import CapacityRow, RoutingInstance, deterministic_routings
from baseload.theory.static_routing import (
    least_variance,
    min_variance_given_mean,
    static_optimum,
)
from baseload.theory.store_cost import static_index_prices, two_sided_cost

from .routing_cases import padded, random_instance, reference


def cost(instance, shares, B):
    mean, variance, other = instance.rates(shares)
    return two_sided_cost(instance.b - mean, variance, B, instance.Cu, instance.Cw) + other


def slsqp(instance, B, starts=4):
    """The same program by another method."""
    rows, options = instance.shape
    draw = np.random.default_rng(1)
    found = [
        minimize(
            lambda p: cost(instance, p.reshape(rows, options), B),
            draw.dirichlet(np.ones(options), rows).ravel(),
            method="SLSQP",
            bounds=[(0, 1)] * (rows * options),
            constraints={
                "type": "eq",
                "fun": lambda p: p.reshape(rows, options).sum(axis=1) - 1,
            },
            options={"ftol": 1e-14, "maxiter": 500},
        ).fun
        for _ in range(starts)
    ]
    return min(found)


@pytest.mark.parametrize("target", [2.1, 2.35, 3.0, 3.7, 4.4, 5.5, 5.9])
def test_least_variance_at_a_mean_is_the_best_pair_of_deterministic_routings(target):
    instance = reference()
    points = [instance.rates(instance.shares_of(c)) for c in deterministic_routings(instance)]
    best = np.inf
    for one, two in itertools.product(points, points):
        if one.mean <= target <= two.mean:
            run = two.mean - one.mean
            share = (target - one.mean) / run if run else 0.0
            best = min(best, (1 - share) * one.variance + share * two.variance)
    found = min_variance_given_mean(instance, target)
    assert found.objective == pytest.approx(best, rel=1e-9)
    assert found.mean == pytest.approx(target, rel=1e-9)
    assert np.sum((found.shares > 0).sum(axis=1) > 1) <= 1  # one binding side constraint


def test_the_frontier_is_convex_and_the_linear_program_lies_on_it():
    instance = random_instance(3, 6, 5)
    frontier = mean_variance_frontier(instance)
    assert np.all(np.diff(frontier.mean) > 0)
    assert np.all(np.diff(frontier.slope) > 0)
    for mean in np.linspace(frontier.mean[0], frontier.mean[-1], 9):
        found = min_variance_given_mean(instance, float(mean))
        line = np.interp(mean, frontier.mean, frontier.variance)
        assert found.objective == pytest.approx(line, rel=1e-8)
    inner = float(frontier.mean[1] + 0.3 * (frontier.mean[2] - frontier.mean[1]))
    found = min_variance_given_mean(instance, inner)
    assert found.mean_price == pytest.approx(frontier.slope[1], rel=1e-8)


def test_one_model_only_makes_the_frontier_a_point():
    one = RoutingInstance(lam=[1, 2], mean=[[1], [2]], second=[[2], [5]], v0=3)
    frontier = mean_variance_frontier(one)
    assert frontier.mean.tolist() == [5.0]
    assert frontier.variance.tolist() == [15.0]
    assert frontier.slope.size == 0


@pytest.mark.parametrize(
    ("change", "target", "name"),
    [
        ({}, 9.0, routing_polytope.MEAN_DEMAND),
        ({"fail_limit": 0.05}, 2.5, routing_polytope.FAILURES),
        ({"work": np.ones((3, 3)), "capacity": [0.5]}, 3.0, r"capacity[0]"),
    ],
)
def test_what_cannot_be_had_names_the_constraint(change, target, name):
    found = min_variance_given_mean(reference(**change), target)
    assert found.status == "infeasible"
    assert found.shares is None
    assert found.breach.name == name
    told = entries_routing.min_variance_given_mean(
        **entries_routing.REFERENCE, **change, mean_target=target
    )
    assert told["status"] == "infeasible"
    assert told["constraint"] == name


def test_a_breach_says_what_could_be_had():
    found = min_variance_given_mean(reference(), 9.0)
    assert found.breach.possible == pytest.approx(5.9)


def test_side_constraints_hold_and_cost_something():
    free = static_optimum(reference(), 20.0)
    base = reference(fail_limit=0.2)
    used = float(np.sum(base.lam * free.shares[:, 1]))
    work = np.zeros((3, 3))
    work[:, 1] = 1.0
    row = CapacityRow(name="middle model", work=work, capacity=used / 2)
    held = static_optimum(msgspec.structs.replace(base, rows=(row,)), 20.0)
    assert held.objective > free.objective
    assert np.sum(base.lam * held.shares[:, 1]) <= used / 2 + 1e-9
    assert np.sum(base.lam[:, None] * held.shares * base.fail) <= 0.2 + 1e-9


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("B", [1.0, 20.0, 60.0])
def test_the_static_optimum_equals_another_method(seed, B):
    instance = reference() if seed == 0 else random_instance(seed)
    found = static_optimum(instance, B)
    assert found.objective == pytest.approx(slsqp(instance, B), rel=1e-8)
    assert found.gap <= 1e-10 * abs(found.objective)
    assert cost(instance, found.shares, B) == pytest.approx(found.objective, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), B=st.floats(0.01, 1e4))
def test_the_static_optimum_costs_no_more_than_any_routing_and_never_rises_with_the_store(seed, B):
    instance = random_instance(seed)
    found = static_optimum(instance, B)
    for choice in deterministic_routings(instance):
        assert found.objective <= cost(instance, instance.shares_of(choice), B) * (1 + 1e-10)
    assert static_optimum(instance, 2 * B).objective <= found.objective * (1 + 1e-10)
    assert static_optimum(padded(instance), B).objective == pytest.approx(found.objective)


def test_renewal_arrivals():
    bursty = reference(arrival_scv=3.0)
    assert static_optimum(bursty, 20.0).objective == pytest.approx(slsqp(bursty, 20.0), rel=1e-8)
    regular = reference(arrival_scv=0.0)
    found = static_optimum(regular, 20.0)
    assert found.objective <= slsqp(regular, 20.0, starts=6) * (1 + 1e-6)
    assert least_variance(bursty).objective == pytest.approx(2 * 2.1**2 + 12.15)
    assert least_variance(regular).objective <= min_variance_given_mean(regular, 3.0).objective


def test_an_endless_store_and_no_supply():
    instance = reference(Cw=0.0)
    endless = static_optimum(instance, float("inf")).objective
    assert endless == pytest.approx(static_optimum(instance, 1e8).objective, rel=1e-4)
    nothing = reference(b=0.0)
    full = np.min(nothing.mean + nothing.other_cost, axis=1) @ nothing.lam
    assert static_optimum(nothing, 20.0).objective == pytest.approx(full)
    with pytest.raises(BadInputError, match=r"^B"):
        static_optimum(instance, 0.0)


def test_prices_are_the_slopes_of_the_cost():
    for theta, var, B in [(0.3, 9.0, 20.0), (-0.4, 9.0, 20.0), (1e-5, 9.0, 20.0), (5.0, 2.0, 90.0)]:
        found = static_index_prices(theta, var, B, 1.0, 0.1)
        step = 1e-5
        up, down = (two_sided_cost(theta - s, var, B, 1.0, 0.1) for s in (step, -step))
        assert found.mean_price == pytest.approx((up - down) / (2 * step), abs=1e-8)
        up, down = (two_sided_cost(theta, var + s, B, 1.0, 0.1) for s in (step, -step))
        assert found.variance_price == pytest.approx((up - down) / (2 * step), abs=1e-9)


def test_prices_are_continuous_at_their_branches_and_finite_far_out():
    for y in (1e-4, 0.02, 700.0):
        for sign in (1, -1):
            sides = [
                static_index_prices(sign * y * f, 2.0, 1.0, 1.0, 0.1)
                for f in (1 - 1e-12, 1 + 1e-12)
            ]
            assert sides[0] == pytest.approx(sides[1], abs=1e-9)
    assert static_index_prices(1e6, 1e-300, 1e9, 1.0, 0.1) == (-0.1, 0.0)
    assert static_index_prices(-1.0, 0.0, 1.0, 1.0, 0.1) == (1.0, 0.0)
    assert two_sided_cost(-1e6, 1e-300, 1e9, 1.0, 0.1) == 1e6
    assert two_sided_cost(2.0, 0.0, 1.0, 1.0, 0.1) == pytest.approx(0.2)


def test_units_do_not_matter():
    base = static_optimum(random_instance(5), 20.0).objective
    small = random_instance(5)
    joules, dollars = 1e4, 1e-8
    scaled = RoutingInstance(
        lam=small.lam,
        mean=small.mean * joules,
        second=small.second * joules**2,
        other_cost=small.other_cost * joules * dollars,
        Cu=small.Cu * dollars,
        Cw=small.Cw * dollars,
        b=small.b * joules,
    )
    found = static_optimum(scaled, 20.0 * joules).objective
    assert found == pytest.approx(base * joules * dollars, rel=1e-10)


def test_a_thousand_classes_of_fifty_options_are_quick():
    instance = random_instance(4, 1000, 50)
    started = time.perf_counter()
    found = static_optimum(instance, 3.0)
    assert time.perf_counter() - started < 2.0
    assert found.gap <= 1e-9 * found.objective


def test_a_minimum_over_totals_of_one_corner_needs_one_round():
    instance = reference()
    flat = frank_wolfe.Convex(lambda z: float(z[0]), lambda z: np.ones(1))
    found = frank_wolfe.minimise(routing_polytope.Polytope(instance), instance.mean[None], flat)
    assert found.value == pytest.approx(2.1)
    assert found.gap == 0


GENERATOR = np.array([[-0.2, 0.2], [0.3, -0.3]])


def test_variance_in_a_markov_environment():
    lam = np.array([[1.0, 0.2, 0.1], [0.2, 0.6, 0.4]])
    law, deviation = deviation_matrix(GENERATOR)
    assert law == pytest.approx([0.6, 0.4])
    assert deviation.sum(axis=1) == pytest.approx([0, 0], abs=1e-12)
    base = reference()
    instance = RoutingInstance(lam=law @ lam, mean=base.mean, second=base.second, b=3.0)
    supply = np.array([4.0, 2.0])

    def variance(shares):
        demand = (lam[:, :, None] * shares * base.mean).sum(axis=(1, 2))
        net = supply - demand
        spread = (instance.lam[:, None] * shares * base.second).sum()
        return spread + 2 * 0.6 * 0.4 * (net[0] - net[1]) ** 2 / 0.5  # two states, closed form

    found = min_modulated_variance(instance, lam=lam, generator=GENERATOR, supply=supply)
    assert found.objective == pytest.approx(variance(found.shares), rel=1e-9)
    for choice in deterministic_routings(instance):
        assert found.objective <= variance(instance.shares_of(choice)) * (1 + 1e-9)
    pinned = min_modulated_variance(
        instance, lam=lam, generator=GENERATOR, supply=supply, mean_target=3.0
    )
    assert pinned.mean == pytest.approx(3.0)
    assert pinned.objective >= found.objective * (1 - 1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        [[-1.0, 0.5], [1.0, -1.0]],
        [[1.0, -1.0], [1.0, -1.0]],
        np.zeros((2, 2)),
        np.zeros((2, 3)),
    ],
)
def test_a_generator_is_checked(wrong):
    with pytest.raises(BadInputError, match="generator"):
        deviation_matrix(wrong)
