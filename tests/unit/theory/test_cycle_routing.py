"""Routing over a cycle: against the diffusion, exhaustive search, static routings, and laws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.base.kernels import plain
from baseload.theory import cycle_step
from baseload.theory.cycle_evaluation import average_of, empty_plans, evaluate_cycle
from baseload.theory.cycle_problem import model_of
from baseload.theory.cycle_routing import look_ahead, solve_cycle
from baseload.theory.dynamic_routing import prices_at, solve_hjb
from baseload.theory.normal import BETA_0

from .cycle_cases import day, of_instance, random_problem
from .routing_cases import reference


def test_many_small_slots_are_the_diffusion():
    """Error of the square root of a slot; with the store longer by an overshoot at both ends, as
    for every sum of normal slots, it is smaller than that by far.
    """
    exact = solve_hjb(reference(), 60.0)
    errors = []
    for slot_s in (1.0, 0.25, 0.0625):
        found = solve_cycle(of_instance(reference(), 60.0, slot_s), nodes=513, tolerance=1e-6)
        assert found.converged
        errors.append(exact.gam - found.average_cost)
        law = evaluate_cycle(
            of_instance(reference(), 60.0, slot_s),
            found.choice,
            other=found.other,
            mixed=found.mixed,
        ).law
        second = reference().second[np.arange(3), found.choice[0]]
        sd = np.sqrt(slot_s * law @ (second @ reference().lam))
        longer = solve_hjb(reference(), 60.0 + 2 * BETA_0 * sd).gam
        assert found.average_cost == pytest.approx(longer, rel=5e-3 if slot_s == 1.0 else 1.2e-3)
    assert errors[0] > 1.4 * errors[1] > 1.4**2 * errors[2] > 0
    middle = prices_at(exact, [30.0])
    assert found.price[0, 256] == pytest.approx(middle.lamS[0], rel=2e-2)
    assert found.price_of_variance[0, 256] == pytest.approx(middle.om[0], rel=3e-2)


def every_plan(problem, steps):
    """Demand, variance and other cost [slots, any] of every routing of one option a class, and of
    the mixtures of any two of them in ``steps`` steps.
    """
    _, classes, options = problem.shape
    every = np.array(list(itertools.product(range(options), repeat=classes)))
    load, rows = problem.lam * problem.slot_s, np.arange(classes)
    tables = (problem.mean, problem.second, problem.other_cost)
    pure = np.stack([load @ table[rows, every].T for table in tables])
    i, j = np.array(list(itertools.combinations(range(len(every)), 2))).T
    shares = np.arange(1, steps) / steps
    return np.concatenate([pure, *(pure[..., i] * (1 - x) + pure[..., j] * x for x in shares)], 2)


def exhaustive(problem, nodes, steps):
    """Least average cost, by trying ``every_plan`` at every level."""
    slots, model = problem.shape[0], model_of(problem, nodes)
    menu, level = every_plan(problem, steps), np.arange(nodes) * model.spacing
    settled = np.vectorize(plain(cycle_step.settle), excluded=[0])
    moves = []
    for h in range(slots):
        sd = np.maximum(np.sqrt(menu[1, h] + model.noise[h]), 1e-8 * model.spacing)
        net = model.supply[h] - menu[0, h] + sd * model.points[:, None]
        moves.append(settled(model, level[:, None, None], net))
    plans, value, before = empty_plans(slots, nodes), np.zeros(nodes), np.inf
    while True:
        after = value
        for h in range(slots - 1, -1, -1):
            to, bought, wasted = moves[h]
            cost = model.Cu[h] * bought + model.Cw[h] * wasted + np.interp(to, level, after)
            total = np.einsum("q,iqm->im", model.weights, cost) + menu[2, h]
            best = total.argmin(axis=1)
            after = total[np.arange(nodes), best]
            plans.demand[h], plans.var[h], plans.cost[h] = menu[:, h, best]
        average, value = average_of(model, plans)
        if average >= before - 1e-12 * abs(before):
            return before / problem.cycle_s
        before = average


@pytest.mark.parametrize("seed", [1, 2, 3, 7, 16, 25, 42, 74, 92, 101])
@pytest.mark.parametrize("tariff", [False, True])
def test_as_good_as_an_exhaustive_search(seed, tariff):
    """A share of ``LookAhead.mixed`` may be any, so it is better than mixtures in steps; what it
    leaves out is a larger spread for its own sake.
    """
    problem = random_problem(seed, tariff=tariff)
    found = solve_cycle(problem, nodes=33, tolerance=1e-6)
    assert found.average_cost <= exhaustive(problem, 33, 4) * (1 + 1e-3)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), tariff=st.booleans())
@example(seed=3157, tariff=True)
@example(seed=42, tariff=False)
def test_never_dearer_than_a_static_routing(seed, tariff):
    """Within the tolerance of the solution; nor is the bound.

    In seed 3157 the search stopped at the first routing that brings about the prices it needs, at
    the empty store one of small spread, where another, of large spread, costs less by the same
    account: 0.41 % more than a static routing. And five points of a Gauss rule put the cost of the
    static one 1.9 % too low, by a Monte Carlo; it is the dearer by 0.2 %. In seed 42 the search was
    2.2 % from the best on this grid, 6.7 % on 257 levels.
    """
    problem = random_problem(seed, tariff=tariff)
    found = solve_cycle(problem, nodes=65)
    assert found.converged
    assert found.at_least <= found.average_cost
    draw = np.random.default_rng(seed)
    routings = [np.eye(3)[list(pick)] for pick in itertools.product(range(3), repeat=2)]
    routings += list(draw.dirichlet(np.ones(3), (3, 2)))
    for routing in routings:
        cost = evaluate_cycle(problem, routing, nodes=65).average_cost
        assert found.average_cost <= cost + 1e-4 * abs(cost)
        assert found.at_least <= cost + 1e-6 * abs(cost)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_tables_cost_what_is_said(seed):
    problem = random_problem(seed, tariff=seed % 2 == 0)
    found = solve_cycle(problem, nodes=65)
    again = evaluate_cycle(problem, found.choice, other=found.other, mixed=found.mixed)
    assert again.average_cost == pytest.approx(found.average_cost, rel=1e-7)
    drawn = again.law @ found.demand_w[0]
    assert drawn == pytest.approx(again.by_slot[0, 1], rel=1e-9)


def test_repeating_the_cycle_changes_nothing():
    one = of_instance(reference(), 60.0, 2.0)
    four = of_instance(reference(), 60.0, 2.0, b=[reference().b] * 4)
    first, second = (solve_cycle(p, nodes=65, tolerance=1e-8) for p in (one, four))
    assert second.average_cost == pytest.approx(first.average_cost, rel=1e-5)
    assert second.price == pytest.approx(np.repeat(first.price, 4, axis=0), abs=1e-3)
    today = day()
    double = day(b=np.tile(today.b, 2))
    first, second = solve_cycle(today, nodes=65), solve_cycle(double, nodes=65)
    assert second.average_cost == pytest.approx(first.average_cost, rel=1e-4)


def test_prices_at_the_ends_are_those_of_auxiliary_energy_and_waste():
    found = solve_cycle(day(Cu=2.0, Cw=0.5, eta_c=1.0, eta_d=1.0))
    assert found.price[0, 0] == pytest.approx(2.0)  # empty at midnight
    full = solve_cycle(day(Cu=2.0, Cw=0.5, eta_c=1.0, eta_d=1.0, b=np.full(24, 200.0)))
    assert full.price[:, -1] == pytest.approx(np.full(24, -0.5))
    assert full.average_cost == pytest.approx(
        0.5 * (200.0 - full.demand_w[0, -1])
        + day().lam[0] @ day().other_cost[[0, 1, 2], full.choice[0, -1]]
    )
    assert found.price.max() <= 2.0 + 1e-9
    assert found.price.min() >= -0.5 - 1e-9


@pytest.mark.parametrize("change", [{}, {"v0": 5e4}, {"Cw": 0.1, "eta_c": 1.0, "eta_d": 1.0}])
def test_a_joule_is_worth_less_the_fuller_the_store(change):
    found = solve_cycle(day(**change))
    assert np.diff(found.price, axis=1).max() < 3e-2  # the noise has nine points
    assert np.all(found.price_of_variance >= 0)
    stored = -np.diff(found.value, axis=1) / found.levels[1]
    assert np.diff(stored, axis=1).max() < 1e-2
    assert stored.min() > -1e-9 or "Cw" in change
    assert stored.max() < 1 + 1e-9


def test_what_is_kept_for_the_night_is_dearer_by_the_losses():
    """At night the price at the bus is that of stored energy over the discharge efficiency, by day
    times the charge efficiency.
    """
    lossy = solve_cycle(day(eta_c=0.9, eta_d=0.9))
    level = 128
    assert lossy.price[20, level] > lossy.price[9, level] * 1.15
    cost = [solve_cycle(day(eta_c=eta, eta_d=eta)).average_cost for eta in (1.0, 0.95, 0.9)]
    assert cost[0] < cost[1] < cost[2]


def test_a_start_from_the_solution_needs_one_pass():
    found = solve_cycle(day())
    assert found.converged
    assert found.cycles <= 4
    again = solve_cycle(day(), start=found.value[0])
    assert again.cycles == 1
    assert again.average_cost == pytest.approx(found.average_cost, rel=1e-9)
    late = solve_cycle(day(), tolerance=1e-12, most_cycles=1)
    assert not late.converged


def test_a_finer_grid_agrees():
    costs = [solve_cycle(day(), nodes=nodes).average_cost for nodes in (129, 257, 1025)]
    assert costs == pytest.approx([costs[-1]] * 3, rel=2e-3)
    assert abs(costs[1] - costs[2]) < abs(costs[0] - costs[2])


def test_looking_ahead_along_the_usual_cycle_gives_the_usual_prices():
    found = solve_cycle(day())
    ahead = look_ahead(day(), found.value[0])
    assert ahead.price == pytest.approx(found.price, abs=2e-3)
    gone = found.average_cost * 3600 * np.arange(24)
    later = ahead.value + gone[:, None]
    assert later - later[0, 0] == pytest.approx(found.value, abs=1e-3 * np.ptp(found.value))


def test_a_cloudy_day_makes_energy_dearer():
    found = solve_cycle(day())
    cloudy = day(b=0.4 * day().b)
    ahead = look_ahead(cloudy, found.value[0])
    assert np.all(ahead.price[8, :-40] >= found.price[8, :-40] - 1e-3)
    assert ahead.price[8, 128] > 1.05 * found.price[8, 128]
    assert ahead.demand_w[8].mean() < found.demand_w[8].mean()
    end = look_ahead(day(), np.zeros(65))
    assert end.price[-1, -1] == 0.0  # what is left at the end is worth nothing


def test_nothing_to_route():
    idle = solve_cycle(day(lam=np.zeros(3), b=np.zeros(24)), nodes=9)
    assert idle.average_cost == pytest.approx(0.0, abs=1e-6)
    short = solve_cycle(day(b=np.zeros(24)), nodes=33)
    assert short.price[:, 0] == pytest.approx(np.ones(24))
    cheap = np.argmin(day().mean + day().other_cost, axis=1)
    assert np.array_equal(short.choice[:, 0], np.tile(cheap, (24, 1)))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"nodes": 2}, "nodes"),
        ({"start": np.zeros(5)}, "start"),
        ({"start": np.full(257, np.nan)}, "start"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"most_cycles": 0}, "most_cycles"),
    ],
)
def test_bad_input(more, field):
    with pytest.raises(BadInputError, match=f"^{field}"):
        solve_cycle(day(), **more)
    with pytest.raises(BadInputError, match=r"^levels of terminal"):
        look_ahead(day(), [0.0, 1.0])
