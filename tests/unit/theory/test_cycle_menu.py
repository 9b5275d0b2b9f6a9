"""The menu of routings: complete, without repeats, neighbours side by side."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.theory.cycle_menu import cheapest, menu_of

from .cycle_cases import day, random_problem


def falling(problem, share=0.5):
    """Values by level that fall at ``share`` of the price of auxiliary energy."""
    return -share * problem.Cu.max() * problem.levels(33)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), tariff=st.booleans())
def test_what_any_prices_bring_about_is_on_the_menu(seed, tariff):
    """Up to classes that are all but indifferent: a routing that is missing is best by little."""
    problem = random_problem(seed, tariff=tariff)
    _, picks = menu_of(problem, falling(problem))
    assert len(np.unique(picks, axis=0)) == len(picks)
    draw = np.random.default_rng(seed)
    price = draw.uniform(-problem.Cw.max(), problem.Cu.max(), 300)
    sd = np.sqrt(problem.slot_s * (problem.v0.min() + (problem.lam @ problem.second.min(1)).min()))
    om = draw.choice([0.0, 0.01, 0.1, 0.5], 300) * price.max() / sd
    score = price[:, None, None] * problem.mean + 0.5 * om[:, None, None] * problem.second
    score += problem.other_cost
    best = score.min(axis=2).sum(axis=1)
    rows = np.arange(problem.shape[1])
    listed = score[:, rows, picks].sum(axis=2).min(axis=1)
    assert listed == pytest.approx(best, rel=2e-2)
    assert np.mean(listed > best + 1e-9) < 0.02


def test_plans_are_what_the_picks_draw():
    problem = day(lam=np.outer(1.0 + np.arange(24) % 3, [0.1, 0.0, 0.04]))
    menu, picks = menu_of(problem, falling(problem))
    assert picks.shape == (len(menu.total), 3)
    for h, m in itertools.product((0, 7), range(len(picks))):
        arrivals = problem.lam[h] * problem.slot_s
        rows = np.arange(3)
        assert menu.demand[h, m] == pytest.approx(arrivals @ problem.mean[rows, picks[m]])
        assert menu.var[h, m] == pytest.approx(arrivals @ problem.second[rows, picks[m]])
        assert menu.cost[h, m] == pytest.approx(arrivals @ problem.other_cost[rows, picks[m]])


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_neighbours_and_the_left_asks_for_more(seed):
    problem = random_problem(seed)
    menu, picks = menu_of(problem, falling(problem))
    assert np.all(menu.demand[0, menu.left] > menu.demand[0, menu.right])
    changed = (picks[menu.left] != picks[menu.right]).sum(axis=1)
    assert changed.tolist() == [1] * len(menu.left)
    assert len(menu.left) >= len(picks) - 1


def test_options_not_to_be_had_and_idle_classes_do_not_count():
    problem = day(
        other_cost=np.where(np.arange(3) == 1, np.inf, day().other_cost), lam=[0.1, 0.0, 0.04]
    )
    menu, picks = menu_of(problem, falling(problem))
    assert not np.any(picks == 1)
    assert np.isfinite(menu.cost).all()
    none = menu_of(day(lam=np.zeros(3)), np.zeros(5))
    assert none[1].shape == (1, 3)
    assert none[0].left.size == 0
    assert none[0].demand.tolist() == [[0.0]] * 24


def test_options_without_spread_bound_nothing():
    """A dropped query draws nothing: no noise, so a price may fall in a step."""
    nothing = day(
        mean=np.c_[np.zeros(3), day().mean],
        second=np.c_[np.zeros(3), day().second],
        other_cost=np.c_[np.full(3, 520.0), day().other_cost],
    )
    menu, picks = menu_of(nothing, falling(nothing))
    assert np.isfinite(menu.var).all()
    assert (picks == 0).all(axis=1).sum() <= 1
    quiet = day(second=np.zeros((3, 3)), mean=np.zeros((3, 3)))
    assert len(menu_of(quiet, falling(quiet))[1]) == 1


def test_ties_go_to_the_smaller_mean():
    even = day(other_cost=-day().mean)
    assert cheapest(even, 0, np.array([[1.0]]), np.zeros(1)).tolist() == [[0]]
