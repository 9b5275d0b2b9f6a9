"""What a routing costs over a cycle, exactly within the slot model.

A routing with the store makes one affine map from the values at the end of a cycle to those at its
start; average cost and relative values solve one set of linear equations, and the law of the level
at the start of a cycle is the stationary law of its matrix (docs/explanation/
variance-aware-routing.md, 5.10).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory import cycle_step
from baseload.theory.cycle_problem import CycleProblem, model_of
from baseload.theory.cycle_step import Model, Plans
from baseload.theory.inputs import Floats, finite_result, shares, whole
from baseload.theory.routing_instance import Ints

_RESTART = 1e-12
_SEARCH_NODES = 97
_PROBES = 9


class CycleCost(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a routing costs in the long run.

    ``average_cost`` [$/s] is the sum of ``auxiliary_cost``, ``waste_cost``, ``other_cost``;
    ``auxiliary_w``, ``waste_w``, ``demand_w`` [W] and ``mean_level`` [J] (at the starts of slots)
    are long-run means. ``by_slot`` [slots, 5]: level at the start [J], demand, auxiliary, waste [W]
    and other cost [$/s] of each slot; ``law`` [nodes]: stationary law of the level at the start of
    a cycle.
    """

    average_cost: float
    auxiliary_cost: float
    waste_cost: float
    other_cost: float
    auxiliary_w: float
    waste_w: float
    demand_w: float
    mean_level: float
    by_slot: Floats
    law: Floats


class StaticPrice(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The best routing that asks the same ``price`` [$/J] at every level and hour: its ``choice``
    [classes], one option a class, and what it ``costs``.
    """

    price: float
    choice: Ints
    cost: CycleCost


class Average(NamedTuple):
    """Cost of a cycle [$], and relative value at its start [nodes] $ (0 at the empty store)."""

    cost: float
    value: Floats


def empty_plans(slots: int, nodes: int) -> Plans:
    """Room for plans."""
    demand, var, cost, mixed = np.zeros((4, slots, nodes))
    one, other = np.zeros((2, slots, nodes), dtype=np.int64)
    return Plans(demand, var, cost, mixed, one, other)


def cycle_map(model: Model, plans: Plans) -> tuple[Floats, Floats]:
    """The matrix of a cycle [nodes, nodes] under ``plans``, and its expected cost [nodes] $."""
    nodes = plans.demand.shape[1]
    work = np.empty((2, nodes, nodes + 1))
    at = cycle_step.compose(model, plans, work, np.zeros(nodes))
    return work[at, :, :nodes], work[at, :, nodes]


def average_of(model: Model, plans: Plans) -> Average:
    """Average cost and relative values of ``plans``.

    The equations get a restart with probability 1e-12 a cycle at a level drawn evenly, so that they
    can be solved where levels do not communicate.
    """
    matrix, charge = cycle_map(model, plans)
    nodes = len(matrix)
    bordered = np.empty((nodes + 1, nodes + 1))
    bordered[:nodes, :nodes] = -(1 - _RESTART) * matrix
    bordered[:nodes, :nodes].flat[:: nodes + 1] += 1.0
    bordered[:nodes, nodes] = 1.0
    bordered[nodes] = 1.0 / nodes
    bordered[nodes, nodes] = 0.0
    found = np.linalg.solve(bordered, np.append(charge, 0.0))
    return Average(float(found[nodes]), found[:nodes] - found[0])


def stationary_law(matrix: Floats) -> Floats:
    """The stationary law [nodes] of a cycle's ``matrix``, with the restart of ``average_of``."""
    nodes = len(matrix)
    left = np.eye(nodes) - (1 - _RESTART) * matrix.T
    law = np.maximum(np.linalg.solve(left, np.full(nodes, _RESTART / nodes)), 0.0)
    found: Floats = law / law.sum()
    return found


def cost_of(problem: CycleProblem, model: Model, plans: Plans) -> CycleCost:
    """Long-run rates of ``plans`` from the stationary law of the level."""
    slots, nodes = plans.demand.shape
    law = np.zeros((slots + 1, nodes))
    law[0] = stationary_law(cycle_map(model, plans)[0])
    flows = np.zeros((slots, 5))
    cycle_step.forward(model, plans, law, flows, np.zeros(nodes))
    rates = flows.copy()
    rates[:, 1:] /= problem.slot_s
    auxiliary = float(np.mean(problem.Cu * rates[:, 2]))
    waste = float(np.mean(problem.Cw * rates[:, 3]))
    level, demand, bought, wasted, other = (float(x) for x in rates.mean(axis=0))
    return CycleCost(
        average_cost=finite_result("evaluate_cycle", auxiliary + waste + other, B=problem.B),
        auxiliary_cost=auxiliary,
        waste_cost=waste,
        other_cost=other,
        auxiliary_w=bought,
        waste_w=wasted,
        demand_w=demand,
        mean_level=level,
        by_slot=rates,
        law=law[0],
    )


def plans_of_shares(problem: CycleProblem, given: ArrayLike, nodes: int) -> Plans:
    """Plans that do not look at the level: ``given`` [classes, options] or [slots, classes,
    options] probabilities.
    """
    slots, classes, options = problem.shape
    table = np.asarray(given, dtype=np.float64)
    if table.shape not in ((classes, options), (slots, classes, options)):
        raise ArgumentError(
            "shares",
            found=f"shape {table.shape}",
            allowed=f"({classes}, {options}) or ({slots}, {classes}, {options})",
        )
    table = np.broadcast_to(table, (slots, classes, options))
    busy = problem.lam > 0
    closed = np.argwhere((table > 0) & ~problem.available & busy[..., None])
    if closed.size:
        raise ArgumentError(
            f"shares{closed[0].tolist()}", found="above 0", allowed="0: not to be had"
        )
    table = np.where(problem.available, table, 0.0)
    table[busy] = shares("shares", table[busy])
    load = problem.lam * problem.slot_s
    plans = empty_plans(slots, nodes)
    for into, what in zip(plans, (problem.mean, problem.second, problem.other_cost), strict=False):
        each = np.where(problem.available, what, 0.0)
        into[:] = np.einsum("hk,hkj,kj->h", load, table, each)[:, None]
    return plans


def plans_of_choice(
    problem: CycleProblem, choice: Any, other: Any = None, mixed: Any = None
) -> Plans:
    """Plans that take option ``choice`` [slots, nodes, classes], ``other`` with share ``mixed``
    [slots, nodes].
    """
    slots, classes, options = problem.shape
    picks = [np.asarray(one, dtype=np.int64) for one in (choice, other) if one is not None]
    for pick in picks:
        if pick.ndim != 3 or (pick.shape[0], pick.shape[2]) != (slots, classes):
            raise ArgumentError(
                "choice", found=f"shape {pick.shape}", allowed=f"({slots}, nodes, {classes})"
            )
        if pick.min() < 0 or pick.max() >= options:
            raise ArgumentError("choice", found="no such option", allowed=f"0 to {options - 1}")
    rows = np.arange(classes)
    busy = (problem.lam > 0)[:, None, :]
    parts = [(picks[0], 1.0)] if mixed is None else [(picks[0], 1.0 - mixed), (picks[1], mixed)]
    plans = empty_plans(slots, picks[0].shape[1])
    load = problem.lam * problem.slot_s
    for pick, part in parts:
        used = busy & (np.broadcast_to(part, pick.shape[:2]) > 0)[..., None]
        if np.any(used & ~problem.available[rows, pick]):
            raise ArgumentError("choice", found="an option not to be had", allowed="available ones")
        tables = (problem.mean, problem.second, problem.other_cost)
        for into, what in zip(plans, tables, strict=False):
            each = np.where(problem.available, what, 0.0)[rows, pick]
            into += part * np.einsum("hk,hik->hi", load, each)
    return plans


def evaluate_cycle(
    problem: CycleProblem,
    routing: ArrayLike,
    *,
    other: ArrayLike | None = None,
    mixed: ArrayLike | None = None,
    nodes: int = 257,
) -> CycleCost:
    """Long-run cost of a routing over the cycle, exact for the slot model on its grid.

    ``routing``: whole numbers [slots, nodes, classes], an option for each slot, level and class
    (with ``other`` and its share ``mixed`` [slots, nodes], as in ``CycleRouting``); or
    probabilities [classes, options] or [slots, classes, options] that do not look at the level, for
    which ``nodes`` levels are used. Raises ``ArgumentError`` for shapes, options that do not exist
    or are not to be had, and probabilities that do not add up to 1.
    """
    given = np.asarray(routing)
    if np.issubdtype(given.dtype, np.integer) and given.ndim == 3:
        if (other is None) != (mixed is None):
            raise ArgumentError("other and mixed", found="one of them", allowed="both or none")
        part = None if mixed is None else np.asarray(mixed, dtype=np.float64)
        plans = plans_of_choice(problem, given, other, part)
    else:
        plans = plans_of_shares(problem, given, whole("nodes", nodes, least=3))
    return cost_of(problem, model_of(problem, plans.demand.shape[1]), plans)


def _prices_between(problem: CycleProblem) -> Floats:
    """One price in each interval in which no class changes its option; all that can be optimal."""
    low, high = float(-problem.Cw.max()), float(problem.Cu.max())
    switches = [low, high]
    for k in np.flatnonzero(problem.lam.max(axis=0) > 0):
        open_ = problem.available[k]
        mean, cost = problem.mean[k, open_], problem.other_cost[k, open_]
        with np.errstate(divide="ignore", invalid="ignore"):
            at = (cost[:, None] - cost[None, :]) / (mean[None, :] - mean[:, None])
        at = np.unique(at[np.isfinite(at) & (at > low) & (at < high)])
        edges = np.concatenate([[low], at, [high]])
        pick = np.argmin(cost + mean * (0.5 * (edges[1:] + edges[:-1]))[:, None], axis=1)
        switches += at[pick[1:] != pick[:-1]].tolist()
    edges = np.unique(switches)
    return 0.5 * (edges[1:] + edges[:-1]) if len(edges) > 1 else edges


def static_price(problem: CycleProblem, *, nodes: int = 257) -> StaticPrice:
    """The best constant price of energy: every class always takes the option with the least
    price x mean + other cost.

    Candidates are one price between any two at which an option changes; they are compared on a
    coarser grid by a search that takes the cost to have one valley in the price (heuristic where
    prices vary over the cycle), the winner is evaluated on ``nodes`` levels. Raises what
    ``evaluate_cycle`` raises.
    """
    prices = _prices_between(problem)
    model = model_of(problem, min(nodes, _SEARCH_NODES))
    known: dict[int, float] = {}

    def cost(at: int) -> float:
        if at not in known:
            plans = _at_price(problem, prices[at], min(nodes, _SEARCH_NODES))
            known[at] = average_of(model, plans).cost
        return known[at]

    low, high = 0, len(prices) - 1
    while True:
        tried = np.unique(np.linspace(low, high, _PROBES).astype(np.int64))
        best = min(tried, key=lambda at: cost(int(at)))
        if high - low < _PROBES:
            break
        place = int(np.searchsorted(tried, best))
        low = int(tried[max(place - 1, 0)])
        high = int(tried[min(place + 1, len(tried) - 1)])
    choice = _choice_at(problem, prices[best])
    plans = _at_price(problem, prices[best], nodes)
    return StaticPrice(
        price=float(prices[best]),
        choice=choice,
        cost=cost_of(problem, model_of(problem, nodes), plans),
    )


def _choice_at(problem: CycleProblem, price: float) -> Ints:
    """The cheapest option of each class [classes] at ``price``."""
    score = problem.mean * price + problem.other_cost
    order = problem.order()
    first = np.argmin(np.take_along_axis(score, order, axis=1), axis=1)
    choice: Ints = np.take_along_axis(order, first[:, None], axis=1)[:, 0]
    return choice


def _at_price(problem: CycleProblem, price: float, nodes: int) -> Plans:
    """Plans of a constant price."""
    table = np.zeros(problem.mean.shape)
    table[np.arange(len(table)), _choice_at(problem, price)] = 1.0
    return plans_of_shares(problem, table, nodes)
