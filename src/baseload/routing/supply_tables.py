"""Tables of what an answer's joules are worth at each level of the store: one for the average of a
day (the HJB equation), one for each of its hours (a store that fills by day).

Tables are solved again when supply, demand, variance or prices have moved by more than a tenth.
Derivations: docs/explanation/variance-aware-routing.md.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from baseload.base.units import S_PER_HOUR
from baseload.routing.position import NODES
from baseload.routing.supply_outlook import Outlook
from baseload.theory.cycle_evaluation import static_price as cycle_static_price
from baseload.theory.cycle_problem import CycleProblem
from baseload.theory.cycle_routing import CycleRouting, look_ahead, solve_cycle
from baseload.theory.dynamic_routing import DynamicRouting, Prices, prices_at, solve_hjb
from baseload.theory.inputs import Floats
from baseload.theory.job_cells import quantile_laws
from baseload.theory.lattice import (
    JumpLattice,
    guarded,
    jump_lattice,
    optimal_policy,
    option_values,
    waiting_values,
)
from baseload.theory.routing_instance import RoutingInstance
from baseload.theory.routing_tables import full_jump_tables, rollout_prices
from baseload.theory.static_routing import static_optimum
from baseload.theory.store_cost import static_index_prices

MOVED_FRAC = 0.1
_SWING_FRAC = 0.05  # of the store: from here on the hour of the day is a state of its own
_JOBS_TAYLOR = 1e6  # beyond it an answer is lost in the last digits of the store's worth
_JOBS_GUARDED = 90.0
_JOBS_LATTICE = 5.0
_STEPS_PER_JOB = 8.0
_CYCLE_NODES = 129
_AHEAD_HOURS = 12  # by then the deviation from the usual day has died out
_SAME_FRAC = 0.002  # of the store: a deviation that is none
_LAW_CELLS = 12


class Refresh:
    """Says whether numbers have moved by more than a tenth since it last said so."""

    def __init__(self) -> None:
        self._last: Floats | None = None
        self.times = 0

    def due(self, numbers: Floats) -> bool:
        """Whether to solve again for ``numbers``, on one scale each."""
        if self._last is not None and len(self._last) == len(numbers):
            scale = np.maximum(np.abs(self._last), np.abs(numbers))
            if (np.abs(numbers - self._last) <= MOVED_FRAC * scale).all():
                return False
        self._last = numbers.copy()
        self.times += 1
        return True


def key_numbers(outlook: Outlook) -> Floats:
    """What makes a table stale: supply beside demand, demand, variance, prices, value of
    answers.
    """
    demand_w = outlook.reference_w()
    variance = outlook.variance_j2_per_s + float(
        outlook.rate_per_s.mean(axis=0) @ outlook.reference(outlook.answers.square_j2)
    )
    finite = outlook.answers.cost_usd[np.isfinite(outlook.answers.cost_usd)]
    return np.array(
        [
            float(outlook.usual_net_w.mean()) + demand_w,
            demand_w,
            variance,
            float(outlook.auxiliary_usd_per_j.mean()),
            float(outlook.auxiliary_usd_per_j.max()),
            float(finite.mean()) if len(finite) else 0.0,
        ]
    )


def levels_of(outlook: Outlook) -> Floats:
    """The levels of a table [J]."""
    return np.linspace(0.0, outlook.capacity_j, NODES)


def energy_scores(
    instance: RoutingInstance, capacity_j: float, worth: Callable[[Floats], Prices]
) -> Floats:
    """Worth of the joules of each answer ``[classes, options, NODES]`` [$]: full jumps, or, where
    answers are nothing against the store, their expansion to second order, within the prices of
    auxiliary energy and of waste. (An expansion alone goes far beyond them at the ends of a store
    that would soon leave them by itself, however large it is: the price falls within less than an
    answer there.)
    """
    levels = np.linspace(0.0, capacity_j, NODES)
    at = worth(levels)
    if _expands(instance, capacity_j):
        mean_j = instance.mean[..., None]
        worth_usd = mean_j * at.lamS + 0.5 * instance.second[..., None] * at.om
        found: Floats = np.clip(worth_usd, -instance.Cw * mean_j, instance.Cu * mean_j)
        return found
    laws = quantile_laws(instance.mean, instance.second, cells=_LAW_CELLS)
    tables = full_jump_tables(instance, laws, level=levels, worth=lambda level: worth(level).value)
    return _joules_only(instance, tables.score)


def _expands(instance: RoutingInstance, capacity_j: float) -> bool:
    """Whether every answer is small against the store."""
    return capacity_j > _JOBS_TAYLOR * float(instance.mean[instance.available].max(initial=0.0))


def _joules_only(instance: RoutingInstance, score: Floats) -> Floats:
    """Scores less what is not energy; 0 where an option is not to be had."""
    cost = np.where(instance.available, instance.other_cost, 0.0)[..., None]
    return np.where(instance.available[..., None], score - cost, 0.0)


def start_scores(outlook: Outlook) -> Floats:
    """Without a day's knowledge: the rollout of a routing at criticality, whose price falls
    evenly from that of auxiliary energy at an empty store to that of waste at a full one.
    """
    instance = outlook.average()

    def worth(level: Floats) -> Prices:
        return rollout_prices(
            S=level,
            theta=0.0,
            var=max(instance.v0, 1.0),
            B=outlook.capacity_j,
            Cu=instance.Cu,
            Cw=instance.Cw,
        )

    return energy_scores(instance, outlook.capacity_j, worth)


def moved_by_day(outlook: Outlook) -> bool:
    """Whether the usual day by itself moves the store."""
    return outlook.seen_day and outlook.day_swing_j() > _SWING_FRAC * outlook.capacity_j


def best_price(outlook: Outlook) -> float:
    """The best constant price of a joule over the cycle of the usual day [$/J]."""
    found = cycle_static_price(cycle_of(outlook, outlook.usual_net_w), nodes=_CYCLE_NODES)
    return float(found.price)


def static_price(instance: RoutingInstance, capacity_j: float) -> tuple[Floats, float]:
    """The best static routing ``[classes, options]`` for the diffusion, and what a joule of mean
    demand costs it [$/J].
    """
    found = static_optimum(instance, capacity_j)
    price = static_index_prices(
        instance.b - found.mean, found.variance, capacity_j, instance.Cu, instance.Cw
    )
    return np.asarray(found.shares), price.mean_price


def _lattice(instance: RoutingInstance, outlook: Outlook) -> JumpLattice | None:
    """The store as a lattice of at least eight steps an answer; ``None`` where the supply does not
    fill it.
    """
    total = float(instance.lam.sum())
    if instance.b <= 0 or total <= 0:
        return None
    step_j = min(outlook.mean_job_j() / _STEPS_PER_JOB, 0.9 * instance.b / total)
    steps = int(np.ceil(outlook.capacity_j / step_j))
    return jump_lattice(instance, outlook.capacity_j, delta=outlook.capacity_j / steps)


class AverageDay:
    """Tables for a supply without a shape over the day, or as if it had none."""

    def __init__(self) -> None:
        self._refresh = Refresh()
        self._instance: RoutingInstance | None = None
        self._solution: DynamicRouting | None = None
        self._scores: Floats | None = None
        self.guarded_away = 0
        self.method = "steady"

    @property
    def solved(self) -> int:
        """How often it was solved."""
        return self._refresh.times

    def solve(self, outlook: Outlook) -> tuple[RoutingInstance, DynamicRouting]:
        """The average day and its optimal routing, solved again where it is stale."""
        stale = self._refresh.due(key_numbers(outlook))
        if stale or self._solution is None or self._instance is None:
            self._instance = outlook.average()
            self._solution = solve_hjb(self._instance, outlook.capacity_j)
            self._scores = None
        return self._instance, self._solution

    def scores(self, outlook: Outlook) -> Floats:
        """Full-jump scores ``[classes, options, NODES]`` [$]; those of the lattice where the store
        holds less than five answers; those of the best static price where the exact evaluation of
        the table on the lattice is not better than static.
        """
        instance, solution = self.solve(outlook)
        if self._scores is None:
            self._scores = self._new_scores(instance, solution, outlook)
        return self._scores

    def _new_scores(
        self, instance: RoutingInstance, solution: DynamicRouting, outlook: Outlook
    ) -> Floats:
        jobs = outlook.holds_answers()
        lattice = _lattice(instance, outlook) if jobs < _JOBS_GUARDED else None
        self.method = "taylor" if _expands(instance, outlook.capacity_j) else "steady"
        if lattice is not None and jobs < _JOBS_LATTICE:
            self.method = "lattice"
            return _lattice_scores(lattice)
        scores = energy_scores(
            instance, outlook.capacity_j, lambda level: prices_at(solution, level)
        )
        if lattice is None:
            return scores
        at = np.round(np.linspace(0.0, NODES - 1.0, len(lattice.level))).astype(int)
        total = scores[..., at] + instance.other_cost[..., None]
        if guarded(lattice, instance.cheapest(np.moveaxis(total, -1, 0)))[2]:
            return scores
        self.guarded_away += 1
        self.method = "guarded"
        price = static_price(instance, outlook.capacity_j)[1]
        return np.repeat(price * instance.mean[..., None], NODES, axis=-1)


def _lattice_scores(lattice: JumpLattice) -> Floats:
    """Worth of the joules of each answer in the optimal policy of a lattice, at even levels."""
    instance = lattice.instance
    value = optimal_policy(lattice).value
    dear = option_values(lattice, value) - waiting_values(lattice, value)[:, None, None]
    cost = np.where(instance.available, instance.other_cost, 0.0)
    worth = np.where(instance.available, dear - cost, 0.0)
    at = np.linspace(0.0, len(worth) - 1.0, NODES)
    left = np.minimum(at.astype(int), len(worth) - 2)
    share = (at - left)[:, None, None]
    return np.moveaxis(worth[left] + share * (worth[left + 1] - worth[left]), 0, -1)


class DayStates:
    """Tables for each hour of a day: the store is expected to fill and empty with it."""

    def __init__(self) -> None:
        self._refresh = Refresh()
        self._cycle: CycleRouting | None = None
        self._hour = 0

    @property
    def solved(self) -> int:
        """How often the usual day was solved."""
        return self._refresh.times

    def scores(self, outlook: Outlook) -> Floats:
        """Scores ``[classes, options, NODES]`` [$] of the present hour: the next day as it is
        expected now, after it the usual one.
        """
        if self._refresh.due(key_numbers(outlook)) or self._cycle is None:
            start = None if self._cycle is None else self._value_at(outlook.hour)
            usual = cycle_of(outlook, outlook.usual_net_w)
            self._cycle = solve_cycle(usual, nodes=_CYCLE_NODES, start=start)
            self._hour = outlook.hour
        levels, price, steep = self._prices(outlook)

        def worth(level: Floats) -> Prices:
            value = np.concatenate(([0.0], np.cumsum(0.5 * (price[1:] + price[:-1]) * levels[1])))
            inside = np.clip(level, 0.0, levels[-1])
            cell = np.minimum((inside / levels[1]).astype(int), len(levels) - 2)
            here = np.interp(inside, levels, price)
            worth = value[cell] + 0.5 * (price[cell] + here) * (inside - levels[cell])
            below = np.minimum(level, 0.0) * float(price[0])
            return Prices(here, np.interp(inside, levels, steep), worth + below)

        return energy_scores(outlook.average(), outlook.capacity_j, worth)

    def _prices(self, outlook: Outlook) -> tuple[Floats, Floats, Floats]:
        """Levels, price of a joule and of variance in the present hour."""
        assert self._cycle is not None
        at = (outlook.hour - self._hour) % len(self._cycle.value)
        away = (outlook.net_w - outlook.usual_net_w)[:_AHEAD_HOURS] * S_PER_HOUR
        if np.abs(np.cumsum(away)).max() <= _SAME_FRAC * outlook.capacity_j:
            cycle = self._cycle
            return cycle.levels, cycle.price[at], cycle.price_of_variance[at]
        end = self._value_at(outlook.hour + _AHEAD_HOURS)
        ahead = look_ahead(cycle_of(outlook, outlook.net_w, hours=_AHEAD_HOURS), end)
        return ahead.levels, ahead.price[0], ahead.price_of_variance[0]

    def _value_at(self, hour: int) -> Floats:
        """Relative value of the levels when the usual day has come to an hour."""
        assert self._cycle is not None
        found: Floats = self._cycle.value[(hour - self._hour) % len(self._cycle.value)]
        return found


def cycle_of(outlook: Outlook, net_w: Floats, *, hours: int = 24) -> CycleProblem:
    """The hours to come as a cycle, chance spread over them evenly."""
    store, answers = outlook.store, outlook.answers
    return CycleProblem(
        slot_s=S_PER_HOUR,
        b=net_w[:hours],
        v0=outlook.variance_j2_per_s,
        lam=outlook.rate_per_s[:hours],
        mean=answers.mean_j,
        second=answers.square_j2,
        other_cost=answers.cost_usd,
        Cu=outlook.auxiliary_usd_per_j[:hours],
        Cw=outlook.waste_usd_per_j[:hours],
        B=outlook.capacity_j,
        eta_c=store.charge_efficiency,
        eta_d=store.discharge_efficiency,
        P_c=store.charge_limit_w,
        P_d=store.discharge_limit_w,
    )
