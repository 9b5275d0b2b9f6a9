"""Variance-aware routing of a store over a known cycle: day and night, by dynamic programming.

In each slot, from each level, a routing sets the mean and the variance of what the slot draws. The
cost of its settlement and of what follows falls with net energy; the slope is the price of a joule
at the bus in that slot, and twice the slope in the variance is the price's steepness. Every class
takes the option with the least price x mean + steepness / 2 x mean square + other cost, and the
prices that this brings about must be those that were assumed. More than one routing may do that, so
all that some prices can bring about are compared (``cycle_menu``). Over a cycle that repeats,
Howard's policy iteration: one backward pass through the slots finds the best routing for given
values, one set of linear equations the values of that routing (Puterman, *Markov Decision
Processes*, 8.6).
Derived in docs/explanation/variance-aware-routing.md, 5.10.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory import cycle_step
from baseload.theory.cycle_evaluation import average_of, empty_plans
from baseload.theory.cycle_menu import cheapest, menu_of
from baseload.theory.cycle_problem import CycleProblem, model_of
from baseload.theory.cycle_step import Tables
from baseload.theory.inputs import Floats, finite_result, numbers, positive, whole
from baseload.theory.routing_instance import Ints

_COARSE = 65
_FINE_ENOUGH = 2 * _COARSE
_IDLE = 3  # rounds of policy iteration without a gain: rounding is all that is left
_ROUNDING = 1e-13


class LookAhead(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The best routing by slot and level of the store at the start of the slot.

    ``levels`` [nodes] J; ``price`` [slots, nodes] of a joule at the bus [$/J];
    ``price_of_variance`` [slots, nodes] its steepness om [$/J^2]: the score of an option is price x
    mean + om / 2 x mean square + other cost. ``value`` [slots, nodes] $: expected cost from the
    start of the slot on. ``choice`` [slots, nodes, classes] options; a share ``mixed`` [slots,
    nodes] of the slot's arrivals takes ``other`` [slots, nodes, classes] instead, where the best is
    to change option within the slot. ``demand_w`` [slots, nodes]: what this draws on average [W].
    """

    levels: Floats
    price: Floats
    price_of_variance: Floats
    value: Floats
    choice: Ints
    other: Ints
    mixed: Floats
    demand_w: Floats


class CycleRouting(LookAhead, frozen=True, kw_only=True, eq=False):
    """The best routing over a cycle that repeats: tables as in ``LookAhead``, with ``value`` less
    the average cost of the time gone by, 0 at the empty store in the first slot.

    ``average_cost`` [$/s] of this routing in the long run; no routing on the same grid and noise
    costs less than ``at_least`` [$/s], as far as plans are the best of their slot. ``cycles``:
    backward passes on the full grid; ``converged``: cost and bound are within the tolerance.
    """

    average_cost: float
    at_least: float
    cycles: int
    converged: bool


def _tables(slots: int, nodes: int) -> Tables:
    price = np.empty((slots, nodes))
    return Tables(np.empty((slots + 1, nodes)), price, np.empty_like(price), np.empty(nodes))


def _value(field: str, values: ArrayLike, nodes: int) -> Floats:
    found = numbers(field, values, shape=(-1,))
    if len(found) != nodes:
        raise ArgumentError(field, found=f"{len(found)} levels", allowed=f"{nodes} levels")
    return found


class _Round:
    """A problem on one grid: passes backwards, and policy iteration."""

    def __init__(self, problem: CycleProblem, start: Floats) -> None:
        nodes, self.slots = len(start), problem.shape[0]
        self.problem, self.start = problem, start
        self.model = model_of(problem, nodes)
        self.menu, self.picks = menu_of(problem, start)
        self.tables = _tables(self.slots, nodes)
        self.plans = empty_plans(self.slots, nodes)
        self.cost, self.cycles = np.inf, 0
        self.low, self.high = -np.inf, np.inf

    def back(self) -> None:
        """One backward pass from ``start``."""
        self.tables.value[self.slots] = self.start
        cycle_step.improve(self.model, self.menu, self.tables, self.plans, self.cycles > 0)
        self.cycles += 1

    def run(self, tolerance: float, most_cycles: int) -> bool:
        """Iterate until the bounds of the cost of a cycle meet within ``tolerance`` of it."""
        done, idle, scale = False, 0, _turnover(self.problem)
        while not done and self.cycles < most_cycles and idle < _IDLE:
            self.back()
            rise = self.tables.value[0] - self.start
            self.low, self.high = float(rise.min()), float(rise.max())
            size = max(abs(self.low), abs(self.high), 1e-6 * scale)
            done = self.high - self.low <= tolerance * size
            before = self.cost
            self.cost, self.start = average_of(self.model, self.plans)
            idle = 0 if self.cost < before - _ROUNDING * size else idle + 1
        return done

    def found(self) -> dict[str, Any]:
        """The fields of ``LookAhead``."""
        tables, plans, problem = self.tables, self.plans, self.problem
        nodes = len(self.start)
        finite_result("cycle routing", float(tables.value.sum()), B=problem.B, nodes=nodes)
        return {
            "levels": problem.levels(nodes),
            "price": tables.price,
            "price_of_variance": tables.om,
            "value": tables.value[: self.slots],
            "choice": self._options(plans.one),
            "other": self._options(plans.other),
            "mixed": plans.mixed,
            "demand_w": plans.demand / problem.slot_s,
        }

    def _options(self, plans: Ints) -> Ints:
        """The options [slots, nodes, classes] of ``plans`` [slots, nodes] of the menu; of a class
        without arrivals in a slot, those that its prices would choose.
        """
        problem, choice = self.problem, self.picks[plans]
        for h, k in np.argwhere(problem.lam == 0):
            choice[h, :, k] = cheapest(
                problem, int(k), self.tables.price[h][:, None], self.tables.om[h]
            )[:, 0]
        return choice


def look_ahead(problem: CycleProblem, terminal: ArrayLike) -> LookAhead:
    """The best routing of the slots of ``problem``, taken once, when energy left at their end is
    worth what ``terminal`` [nodes] $ says, a cost by even levels from 0 to B that falls with the
    level: one row of ``CycleRouting.value`` where a forecast returns to the usual cycle, zeros
    where nothing follows.

    One backward pass, on as many levels as ``terminal`` has. Raises ``ArgumentError`` for fewer
    than 3 levels or values that are not finite. Standing as of ``solve_cycle``.
    """
    end = numbers("terminal", terminal, shape=(-1,))
    whole("levels of terminal", len(end), least=3)
    once = _Round(problem, end)
    once.back()
    return LookAhead(**once.found())


def _turnover(problem: CycleProblem) -> float:
    """What moves through a cycle [$], for a cost near 0 to be measured by."""
    power = np.abs(problem.b) + problem.lam @ problem.mean.max(axis=1)
    return float(
        np.sum(problem.slot_s * power * np.maximum(np.abs(problem.Cu), np.abs(problem.Cw)))
    )


def solve_cycle(
    problem: CycleProblem,
    *,
    nodes: int = 257,
    start: ArrayLike | None = None,
    tolerance: float = 1e-4,
    most_cycles: int = 400,
) -> CycleRouting:
    """The routing by slot and level with the least average cost over the cycle, for ever.

    ``nodes`` levels; ``start`` [nodes] $: relative value at the start of a cycle to begin with
    (``value[0]`` of an earlier solution); ``tolerance``: how far average cost and its lower bound
    may lie apart, as a share of it; ``most_cycles``: passes after which to stop unconverged.

    Standing: the level's law is exact for normal slots but for the grid (as if every slot had up to
    spacing^2 / 4 more variance) and the points of noise (``normal_points``); within a slot the
    routing is fixed, so slots should be short against the time in which the store fills. A slot's
    plan is the best of all routings that some price and om >= 0 bring about, and of mixtures of
    neighbours; spread for its own sake, which a tariff can make pay, is left out (heuristic: 0.08 %
    of cost at most in 550 small random problems). Raises ``ArgumentError`` naming the field.
    """
    nodes = whole("nodes", nodes, least=3)
    positive("tolerance", tolerance)
    whole("most_cycles", most_cycles, least=1)
    levels = problem.levels(nodes)
    if start is None:
        value = (problem.Cw.mean() - problem.Cu.mean()) / 2 * levels
        if nodes > _FINE_ENOUGH:
            coarse = _Round(problem, np.interp(problem.levels(_COARSE), levels, value))
            coarse.run(tolerance, most_cycles)
            value = np.interp(levels, problem.levels(_COARSE), coarse.start)
    else:
        value = _value("start", start, nodes)
    found = _Round(problem, value)
    converged = found.run(tolerance, most_cycles)
    cycle_s = problem.cycle_s
    gone = found.cost * np.arange(found.slots + 1) / found.slots
    found.tables.value[:] += (gone - found.tables.value[0, 0])[:, None]
    return CycleRouting(
        average_cost=finite_result("solve_cycle", found.cost / cycle_s, B=problem.B),
        at_least=min(found.low, found.cost) / cycle_s,
        cycles=found.cycles,
        converged=converged,
        **found.found(),
    )
