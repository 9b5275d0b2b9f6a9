"""Variance-aware routing of a store over a known cycle: day and night, by dynamic programming.

In each slot, from each level, a routing sets the mean and the variance of what the slot draws. The
cost of its settlement and of what follows falls with net energy; the slope is the price of a joule
at the bus in that slot, and twice the slope in the variance is the price's steepness. Every class
takes the option with the least price x mean + steepness / 2 x mean square + other cost, and the
prices that this brings about must be those that were assumed. Over a cycle that repeats, Howard's
policy iteration: one backward pass through the slots finds the best routing for given values, one
set of linear equations the values of that routing (Puterman, *Markov Decision Processes*, 8.6).
Derived in docs/explanation/variance-aware-routing.md, 5.10.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory import cycle_step
from baseload.theory.cycle_evaluation import average_of, empty_plans
from baseload.theory.cycle_problem import CycleProblem, model_of
from baseload.theory.cycle_step import Model, Plans, Tables
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

    ``average_cost`` [$/s] of this routing in the long run; no routing within the slot model costs
    less than ``at_least`` [$/s], as far as the plans found are the best of their slot. ``cycles``:
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


def _found(problem: CycleProblem, model: Model, tables: Tables, plans: Plans) -> dict[str, object]:
    """The fields of ``LookAhead``."""
    slots, nodes = tables.price.shape
    choice = np.empty((slots, nodes, problem.shape[1]), dtype=np.int64)
    other = np.empty_like(choice)
    cycle_step.options(model, plans, problem.order(), choice, other)
    finite_result("cycle routing", float(tables.value.sum()), B=problem.B, nodes=nodes)
    return {
        "levels": problem.levels(nodes),
        "price": tables.price,
        "price_of_variance": tables.om,
        "value": tables.value[:slots],
        "choice": choice,
        "other": other,
        "mixed": plans.mixed,
        "demand_w": plans.demand / problem.slot_s,
    }


def look_ahead(problem: CycleProblem, terminal: ArrayLike) -> LookAhead:
    """The best routing of the slots of ``problem``, taken once, when energy left at their end is
    worth what ``terminal`` [nodes] $ says, a cost by even levels from 0 to B that falls with the
    level: one row of ``CycleRouting.value`` where a forecast returns to the usual cycle, zeros
    where nothing follows.

    One backward pass, on as many levels as ``terminal`` has. Raises ``ArgumentError`` for fewer
    than 3 levels or values that are not finite. Standing as of ``solve_cycle``.
    """
    end = numbers("terminal", terminal, shape=(-1,))
    nodes = whole("levels of terminal", len(end), least=3)
    model, slots = model_of(problem, nodes), problem.shape[0]
    tables, plans = _tables(slots, nodes), empty_plans(slots, nodes)
    tables.value[slots] = end
    cycle_step.improve(model, tables, plans, False)
    return LookAhead(**_found(problem, model, tables, plans))  # type: ignore[arg-type]


class _Round:
    """Policy iteration on one grid."""

    def __init__(self, problem: CycleProblem, nodes: int, start: Floats) -> None:
        self.model, self.slots = model_of(problem, nodes), problem.shape[0]
        self.tables = _tables(self.slots, nodes)
        self.plans = empty_plans(self.slots, nodes)
        self.start, self.cost, self.cycles = start, np.inf, 0
        self.low, self.high = -np.inf, np.inf
        self.scale = _turnover(problem)

    def run(self, tolerance: float, most_cycles: int) -> bool:
        """Iterate until the bounds of the cost of a cycle meet within ``tolerance`` of it."""
        done, idle = False, 0
        while not done and self.cycles < most_cycles and idle < _IDLE:
            self.tables.value[self.slots] = self.start
            cycle_step.improve(self.model, self.tables, self.plans, self.cycles > 0)
            self.cycles += 1
            rise = self.tables.value[0] - self.start
            self.low, self.high = float(rise.min()), float(rise.max())
            size = max(abs(self.low), abs(self.high), 1e-6 * self.scale)
            done = self.high - self.low <= tolerance * size
            before = self.cost
            self.cost, self.start = average_of(self.model, self.plans)
            idle = 0 if self.cost < before - _ROUNDING * size else idle + 1
        return done


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
    spacing^2 / 4 more variance) and the quadrature; within a slot the routing is fixed, so slots
    should be short against the time in which the store fills. Plans are optimal where price falls
    with level; where tariffs make a joule worth more later than now, the best of several local
    optima (heuristic). Raises ``ArgumentError`` naming the field.
    """
    nodes = whole("nodes", nodes, least=3)
    positive("tolerance", tolerance)
    whole("most_cycles", most_cycles, least=1)
    levels = problem.levels(nodes)
    if start is None:
        value = (problem.Cw.mean() - problem.Cu.mean()) / 2 * levels
        if nodes > _FINE_ENOUGH:
            coarse = _Round(problem, _COARSE, np.interp(problem.levels(_COARSE), levels, value))
            coarse.run(tolerance, most_cycles)
            value = np.interp(levels, problem.levels(_COARSE), coarse.start)
    else:
        value = _value("start", start, nodes)
    found = _Round(problem, nodes, value)
    converged = found.run(tolerance, most_cycles)
    cycle_s = problem.cycle_s
    gone = found.cost * np.arange(found.slots + 1) / found.slots
    found.tables.value[:] += (gone - found.tables.value[0, 0])[:, None]
    return CycleRouting(
        average_cost=finite_result("solve_cycle", found.cost / cycle_s, B=problem.B),
        at_least=min(found.low, found.cost) / cycle_s,
        cycles=found.cycles,
        converged=converged,
        **_found(problem, found.model, found.tables, found.plans),  # type: ignore[arg-type]
    )
