"""What a routing costs over a cycle: conservation, simulation, static routings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.theory.cycle_evaluation import (
    cost_of,
    evaluate_cycle,
    plans_of_choice,
    static_price,
)
from baseload.theory.cycle_problem import model_of
from baseload.theory.cycle_routing import solve_cycle

from .cycle_cases import day, random_problem


def fixed(problem, options):
    """The static routing that gives each class its option."""
    table = np.zeros(problem.mean.shape)
    table[np.arange(len(options)), options] = 1.0
    return table


def test_energy_is_conserved():
    """Supply and auxiliary energy are demand and waste; losses come on top where there are any."""
    for eta in (1.0, 0.9):
        problem = day(eta_c=eta, eta_d=eta, Cw=0.05)
        found = evaluate_cycle(problem, fixed(problem, [0, 1, 1]), nodes=65)
        in_w = problem.b.mean() + found.auxiliary_w
        out_w = found.demand_w + found.waste_w
        if eta == 1.0:
            assert in_w == pytest.approx(out_w, rel=1e-12)
        else:
            assert in_w > 1.01 * out_w
        parts = found.auxiliary_cost + found.waste_cost + found.other_cost
        assert found.average_cost == parts
        assert found.auxiliary_cost == pytest.approx(found.auxiliary_w)
        assert found.waste_cost == pytest.approx(0.05 * found.waste_w)
        assert found.demand_w == pytest.approx(problem.lam[0] @ problem.mean[[0, 1, 2], [0, 1, 1]])
        assert found.law.sum() == pytest.approx(1.0)
        assert found.by_slot[:, 2].mean() == pytest.approx(found.auxiliary_w)


def test_shares_and_choices_are_two_ways_to_say_the_same():
    problem = day()
    choice = np.broadcast_to(np.array([0, 1, 2]), (24, 33, 3))
    one = evaluate_cycle(problem, choice)
    other = evaluate_cycle(problem, fixed(problem, [0, 1, 2]), nodes=33)
    assert one.average_cost == pytest.approx(other.average_cost, rel=1e-12)
    half = (fixed(problem, [0, 1, 2]) + fixed(problem, [1, 1, 2])) / 2
    mixture = evaluate_cycle(
        problem,
        choice,
        other=np.broadcast_to(np.array([1, 1, 2]), (24, 33, 3)),
        mixed=np.full((24, 33), 0.5),
    )
    static = evaluate_cycle(problem, np.broadcast_to(half, (24, 3, 3)), nodes=33)
    assert mixture.average_cost == pytest.approx(static.average_cost, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["static", "dynamic"])
def test_a_simulation_of_the_slots_costs_as_much(name):
    """Levels are not rounded in the simulation: 4 standard errors, with a fine grid."""
    problem, nodes = day(Cw=0.1, v0=2e4), 513
    if name == "static":
        choice = np.broadcast_to(np.array([0, 1, 1]), (24, nodes, 3))
        expected = evaluate_cycle(problem, choice).average_cost
        plans = plans_of_choice(problem, choice)
    else:
        found = solve_cycle(problem, nodes=nodes)
        expected = found.average_cost
        plans = plans_of_choice(problem, found.choice, found.other, found.mixed)
    draw = np.random.default_rng(20)
    paths, cycles, warm = 500, 24, 4
    level, spacing, dt = np.full(paths, problem.B / 2), problem.B / (nodes - 1), problem.slot_s
    paid = np.zeros(paths)
    for cycle in range(cycles):
        for h in range(24):
            node = np.clip((level / spacing + draw.random(paths)).astype(int), 0, nodes - 1)
            sd = np.sqrt(plans.var[h, node] + problem.v0[h] * dt)
            net = problem.b[h] * dt - plans.demand[h, node] - sd * draw.standard_normal(paths)
            room, there = (problem.B - level) / 0.95, level * 0.95
            charged, given_ = np.clip(net, 0, room), np.clip(-net, 0, there)
            level = np.clip(level + 0.95 * charged - given_ / 0.95, 0, problem.B)
            rest = net - charged + given_
            if cycle >= warm:
                paid += np.maximum(-rest, 0) + 0.1 * np.maximum(rest, 0) + plans.cost[h, node]
    rate = paid / ((cycles - warm) * problem.cycle_s)
    error = rate.std(ddof=1) / np.sqrt(paths)
    assert error < 2e-3 * expected
    assert abs(rate.mean() - expected) < 4 * error


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_best_constant_price_is_no_worse_than_others(seed):
    problem = random_problem(seed)
    best = static_price(problem, nodes=65)
    assert -problem.Cw.max() <= best.price <= problem.Cu.max()
    for price in np.linspace(0, problem.Cu.max(), 5):
        choice = np.argmin(price * problem.mean + problem.other_cost, axis=1)
        cost = evaluate_cycle(problem, fixed(problem, choice), nodes=65).average_cost
        assert best.cost.average_cost <= cost * (1 + 1e-3)
    again = evaluate_cycle(problem, fixed(problem, best.choice), nodes=65)
    assert best.cost.average_cost == pytest.approx(again.average_cost, rel=1e-12)


def test_many_options_are_searched():
    draw = np.random.default_rng(3)
    mean = draw.uniform(50, 700, (3, 30))
    problem = day(mean=mean, second=2 * mean**2, other_cost=4e4 / mean)
    best = static_price(problem, nodes=33)
    costs = [
        evaluate_cycle(
            problem, fixed(problem, np.argmin(p * mean + problem.other_cost, axis=1)), nodes=33
        ).average_cost
        for p in np.linspace(0.01, 0.99, 60)
    ]
    assert best.cost.average_cost <= min(costs) * (1 + 1e-4)


def test_levels_that_do_not_communicate_have_a_cost():
    """Neither noise nor drift: every level stays where it is."""
    problem = day(lam=np.zeros(3), b=np.zeros(24))
    still = evaluate_cycle(problem, fixed(problem, [0, 0, 0]), nodes=9)
    assert still.average_cost == pytest.approx(0.0, abs=1e-6)
    short = day(lam=np.zeros(3), b=np.full(24, -2.0))
    found = evaluate_cycle(short, fixed(short, [0, 0, 0]), nodes=9)
    assert found.average_cost == pytest.approx(2.0, rel=1e-9)
    assert found.mean_level == pytest.approx(0.0, abs=1e-6)


def test_power_limits_bind():
    problem = day()
    still = day(P_c=0.0, P_d=0.0)
    table = fixed(problem, [0, 1, 1])
    assert evaluate_cycle(problem, table).average_cost < evaluate_cycle(still, table).average_cost
    found = cost_of(still, model_of(still, 9), plans_of_choice(still, np.ones((24, 9, 3), int)))
    short = np.maximum(found.by_slot[:, 1] - still.b, 0.0)
    assert np.all(found.by_slot[:, 2] >= short - 1e-9)


@pytest.mark.parametrize(
    ("routing", "more", "field"),
    [
        (np.ones((2, 3)), {}, "shares"),
        (np.ones((3, 3)), {}, "shares"),
        (np.full((3, 3), 1 / 3), {"nodes": 2}, "nodes"),
        (np.zeros((24, 9, 2), dtype=int), {}, "choice"),
        (np.full((24, 9, 3), 3), {}, "choice"),
        (np.full((24, 9, 3), 2), {}, "choice"),
        (np.zeros((24, 9, 3), dtype=int), {"mixed": np.zeros((24, 9))}, "other and mixed"),
        (np.array([[0.5, 0.0, 0.5]] * 3), {}, r"shares\[0, 0, 2\]"),
    ],
)
def test_bad_input(routing, more, field):
    available = [[True, True, False]] + [[True, True, True]] * 2
    problem = day(available=available)
    with pytest.raises(BadInputError, match=f"^{field}"):
        evaluate_cycle(problem, routing, **more)
