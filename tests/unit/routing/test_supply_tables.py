"""Tables of joule prices: when they are made again, what they agree with, small stores."""

from __future__ import annotations

import numpy as np
import pytest
from outlooks import outlook

from baseload.routing import supply_tables as tables
from baseload.routing.position import NODES
from baseload.routing.supply_tables import (
    AverageDay,
    DayStates,
    Refresh,
    best_price,
    cycle_of,
    energy_scores,
    key_numbers,
    moved_by_day,
    start_scores,
    static_price,
)
from baseload.theory.dynamic_routing import Prices, prices_at, solve_hjb


def test_numbers_that_move_by_more_than_a_tenth_are_due():
    refresh = Refresh()
    numbers = np.array([100.0, -5.0, 0.0])
    assert refresh.due(numbers)
    assert not refresh.due(numbers * 1.09)
    assert refresh.due(numbers * 1.12)
    assert not refresh.due(numbers * 1.12 * 1.1)
    assert refresh.due(np.array([112.0, -5.6, 1.0]))
    assert refresh.times == 3


def test_supply_demand_variance_prices_and_values_make_a_table_stale():
    refresh, shown = Refresh(), outlook()
    assert refresh.due(key_numbers(shown))
    answers = shown.answers
    for change in (
        {"usual_net_w": 1.5 * shown.usual_net_w},
        {"rate_per_s": 1.5 * shown.rate_per_s},
        {"variance_j2_per_s": 30.0 * shown.variance_j2_per_s},
        {"auxiliary_usd_per_j": 1.5 * shown.auxiliary_usd_per_j},
        {"answers": answers._replace(cost_usd=1.5 * answers.cost_usd)},
    ):
        assert refresh.due(key_numbers(shown._replace(**change))), change
        refresh.due(key_numbers(shown))
    assert not refresh.due(key_numbers(shown._replace(level_j=0.0, hour=3)))


def test_a_table_is_solved_once_while_nothing_moves():
    average = AverageDay()
    one = average.scores(outlook())
    two = average.scores(outlook(level_j=0.0))
    assert one is two
    assert average.solved == 1
    day = DayStates()
    sunny = outlook(sun=1.0, net_w=outlook(sun=1.0).net_w)
    first = day.scores(sunny)
    assert day.scores(sunny).tobytes() == first.tobytes()
    assert day.solved == 1


@pytest.mark.parametrize("jobs", [3.0, 30.0, 3000.0])
def test_full_jumps_are_the_mean_worth_of_the_jumps(jobs):
    """Against a Monte Carlo of the answers' joules in the solved value function."""
    shown = outlook(capacity_j=jobs * 1000.0)
    instance = shown.average()
    solution = solve_hjb(instance, shown.capacity_j)
    scores = energy_scores(instance, shown.capacity_j, lambda level: prices_at(solution, level))
    rng = np.random.default_rng(4)
    mean, square = instance.mean[0, 0], instance.second[0, 0]
    shape = mean**2 / (square - mean**2)
    joules = rng.lognormal(size=1)  # the law of cells has the two moments; gamma has them too
    joules = rng.gamma(shape, mean / shape, 40_000)
    for node in (100, 256, 500):
        level = node / (NODES - 1) * shown.capacity_j
        worth = prices_at(solution, np.array([level])).value - np.array(
            prices_at(solution, level - joules).value
        )
        error = 4.0 * worth.std() / np.sqrt(len(joules))
        assert scores[0, 0, node] == pytest.approx(
            worth.mean(), abs=error + 0.03 * abs(mean * 1e-6)
        )


def test_a_price_by_cells_is_read_between_its_levels():
    """The worth of a store was a straight line within a cell of the day's table: its price came in
    steps.
    """
    shown = outlook(sun=1.0, hour=18, capacity_j=2e7)
    net = np.roll(shown.net_w, 12)
    scores = DayStates().scores(shown._replace(net_w=net, usual_net_w=net))
    price = scores[0, 2] / 80.0
    inside = (price > -0.9e-7) & (price < 0.99e-6)
    falls = -np.diff(price[inside])
    assert len(falls) > 100
    steep = falls > 1e-11
    alone = steep[1:-1] & ~steep[:-2] & ~steep[2:]
    assert steep.mean() > 0.4  # half of the store has one price, that of two options' tie
    assert not alone.any()


def test_small_stores_have_the_lattice(monkeypatch):
    called = []
    kept = tables.jump_lattice
    monkeypatch.setattr(
        tables, "jump_lattice", lambda *args, **kwargs: called.append(args) or kept(*args, **kwargs)
    )
    for capacity_j, expected in ((1000.0, 1), (9000.0, 1), (2e6, 0)):
        called.clear()
        scores = AverageDay().scores(outlook(capacity_j=capacity_j))
        assert len(called) == expected
        assert np.isfinite(scores).all()
        price = scores / outlook().answers.mean_j[..., None]
        assert price.max() <= 1e-6 * (1 + 1e-9)
        assert price.min() >= -1e-7 * (1 + 1e-9)


@pytest.mark.parametrize("capacity_j", [1000.0, 9000.0])
def test_only_the_ratio_of_joules_and_their_price_counts(capacity_j):
    """Answers of kilojoules once had lattice laws that ended at 80 J, the unit of the reference
    study: all policies looked alike and the guard replaced every table.
    """
    small = outlook(capacity_j=capacity_j)
    for factor in (0.01, 100.0):
        answers = small.answers
        shown = outlook(capacity_j=factor * capacity_j)._replace(
            answers=answers._replace(
                mean_j=factor * answers.mean_j, square_j2=factor**2 * answers.square_j2
            ),
            net_w=factor * small.net_w,
            usual_net_w=factor * small.usual_net_w,
            variance_j2_per_s=factor**2 * small.variance_j2_per_s,
            auxiliary_usd_per_j=small.auxiliary_usd_per_j / factor,
            waste_usd_per_j=small.waste_usd_per_j / factor,
        )
        average, other = AverageDay(), AverageDay()
        expected = average.scores(small)
        assert other.scores(shown) == pytest.approx(expected, rel=1e-6, abs=1e-12)
        assert average.guarded_away == other.guarded_away == 0


def test_the_guard_takes_the_static_price(monkeypatch):
    monkeypatch.setattr(tables, "guarded", lambda *_: (None, None, False))
    average, shown = AverageDay(), outlook(capacity_j=9000.0)
    scores = average.scores(shown)
    assert average.guarded_away == 1
    price = static_price(shown.average(), shown.capacity_j)[1]
    assert np.allclose(scores, price * shown.answers.mean_j[..., None])


def test_the_first_day_falls_evenly():
    shown = outlook(seen_day=False)
    price = start_scores(shown)[0, 2] / 80.0
    middle = slice(10, -10)
    straight = np.linspace(1e-6, -1e-7, NODES)
    assert np.allclose(price[middle], straight[middle], atol=5e-9)


def test_a_day_that_moves_the_store_is_told_by_its_swing():
    assert not moved_by_day(outlook())
    assert moved_by_day(outlook(sun=1.0))
    assert not moved_by_day(outlook(sun=1.0, capacity_j=1e9))
    assert not moved_by_day(outlook(sun=1.0, seen_day=False))


def test_the_best_constant_price_lies_between_the_prices():
    shown = outlook(sun=1.0)
    assert -1e-7 <= best_price(shown) <= 1e-6


def test_the_cycle_is_the_outlook():
    shown = outlook(sun=1.0)
    cycle = cycle_of(shown, shown.net_w, hours=12)
    assert np.array_equal(cycle.b, shown.net_w[:12])
    assert len(cycle.Cu) == 12
    assert shown.capacity_j == cycle.B


def test_prices_beyond_the_ends_are_those_of_the_ends():
    shown = outlook(capacity_j=5000.0)
    scores = energy_scores(
        shown.average(),
        5000.0,
        lambda level: Prices(np.full_like(level, 2.0), np.zeros_like(level), 2.0 * level),
    )
    assert np.allclose(scores, 2.0 * shown.answers.mean_j[..., None])
