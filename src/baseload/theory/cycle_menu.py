"""The routings among which the best of a slot is sought.

Within a slot the best routing takes, for every class, the option with the least price x mean +
om / 2 x mean square + other cost, at the price of a joule and the steepness om that it brings about
itself (first-order condition on a polytope; docs/explanation/variance-aware-routing.md, 5.10). But
more than one pair of prices may fulfil that: cost is convex in the energy asked for where the store
is worth less the fuller it is, yet where a price ends in a step it grows as the root of the
variance, which is concave. So all routings that any pair of prices can bring about are listed once,
and compared by what they cost.
"""

from __future__ import annotations

import numpy as np

from baseload.theory.cycle_problem import CycleProblem
from baseload.theory.cycle_step import Menu
from baseload.theory.inputs import Floats
from baseload.theory.routing_instance import Ints

_ROWS = 48
_RATIO = 1.35
_NEGLIGIBLE = 1e-3
_SAME = 1e-9
_MARGIN = 0.05


def menu_of(problem: CycleProblem, value: Floats) -> tuple[Menu, Ints]:
    """The menu of ``problem``, and its ``picks`` [plans, classes] of options, the caller's numbers.

    All routings that are best at some price and some om on 2 to 48 values of om, as far as prices
    can go when what is left at the end is worth ``value`` [nodes] $ by even levels; pairs are
    neighbours at one om. What lies between two values of om, and is best nowhere on them, is
    missed: it differs from what is there in classes that are all but indifferent.
    """
    low, high = _prices_within(problem, value)
    busy = np.flatnonzero(problem.lam.max(axis=0) > 0)
    om = _steepness(problem, busy, high - low)
    cuts = [_switches(problem, int(k), om, low, high) for k in busy]
    edges = np.sort(np.concatenate([np.empty((len(om), 0)), *cuts], axis=1), axis=1)
    ends = np.full((len(om), 1), low), np.full((len(om), 1), high)
    edges = np.concatenate([ends[0], edges, ends[1]], axis=1)
    price = 0.5 * (edges[:, 1:] + edges[:, :-1])
    picks = np.zeros((price.size, problem.shape[1]), dtype=np.int64)
    code = np.zeros(price.size, dtype=np.int64)
    for k in busy:
        picks[:, k] = cheapest(problem, int(k), price, om).ravel()
        code = np.unique(code * problem.shape[2] + picks[:, k], return_inverse=True)[1].ravel()
    _, first, code = np.unique(code, return_index=True, return_inverse=True)
    rows = code.reshape(price.shape)
    pairs = np.column_stack([rows[:, :-1].ravel(), rows[:, 1:].ravel()])
    pairs = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    return _menu(problem, picks[first], pairs), picks[first]


def _prices_within(problem: CycleProblem, value: Floats) -> tuple[float, float]:
    """Between which prices a joule at the bus can lie [$/J], with a little to spare."""
    slope = -np.diff(value) * (len(value) - 1) / problem.B
    seen = np.concatenate([problem.Cu, -problem.Cw, slope])
    losses = problem.eta_c * problem.eta_d
    seen = np.concatenate([seen, seen * losses, seen / losses])
    low, high = float(seen.min()), float(seen.max())
    spare = _MARGIN * (high - low)
    return low - spare, high + spare


def _steepness(problem: CycleProblem, busy: Ints, span: float) -> Floats:
    """The om to look at [rows] $/J^2, 0 first: to where prices that differ by ``span`` $/J can be
    no steeper in a slot as quiet as any, or to where only the mean squares count.
    """
    open_ = problem.available[busy]
    second = np.where(open_, problem.second[busy], np.nan)
    gaps = np.diff(np.sort(second, axis=1), axis=1)
    gaps = gaps[gaps > _SAME * problem.second[busy].max(initial=0.0)]
    if not gaps.size:
        return np.zeros(1)
    dearest = span * float(problem.mean[busy][open_].max())
    cost = np.where(open_, problem.other_cost[busy], np.nan)
    dearest += float(np.max(np.nanmax(cost, axis=1) - np.nanmin(cost, axis=1)))
    most = 2.0 * dearest / float(gaps.min())
    load = problem.lam[:, busy]
    rate = (problem.v0 + load @ np.nanmin(second, axis=1))[load.max(axis=1) > 0]
    sd = float(np.sqrt(problem.slot_s * rate.min()))
    if 0.5 * span < most * sd:  # a price that falls by ``span`` is no steeper than a step
        most = 0.5 * span / sd
    least = _NEGLIGIBLE * dearest / float(np.nanmax(second))
    count = 2 + int(np.log(max(most / least, 1.0)) / np.log(_RATIO))
    return np.concatenate([[0.0], np.geomspace(min(least, most), most, min(count, _ROWS - 1))])


def cheapest(problem: CycleProblem, k: int, price: Floats, om: Floats) -> Ints:
    """The cheapest option of class ``k`` at ``price`` [rows, any] and ``om`` [rows]; ties as in
    ``CycleProblem.order``.
    """
    order = problem.order()[k]
    order = order[problem.available[k, order]]
    mean, cost = problem.mean[k, order], problem.other_cost[k, order]
    fixed = cost + 0.5 * om[:, None] * problem.second[k, order]
    best: Ints = order[np.argmin(price[..., None] * mean + fixed[:, None, :], axis=2)]
    return best


def _switches(problem: CycleProblem, k: int, om: Floats, low: float, high: float) -> Floats:
    """Prices [rows, options - 1] at which class ``k`` changes its option, for each ``om``; filled
    up with ``high``.
    """
    options = np.flatnonzero(problem.available[k])
    i, j = np.triu_indices(len(options), 1)
    i, j = options[i], options[j]
    apart = problem.mean[k, i] != problem.mean[k, j]
    i, j = i[apart], j[apart]
    rise = problem.other_cost[k, j] - problem.other_cost[k, i]
    bend = problem.second[k, j] - problem.second[k, i]
    at = (rise + 0.5 * om[:, None] * bend) / (problem.mean[k, i] - problem.mean[k, j])
    at = np.sort(np.where((at > low) & (at < high), at, high), axis=1)
    edges = np.concatenate([np.full((len(om), 1), low), at, np.full((len(om), 1), high)], axis=1)
    pick = cheapest(problem, k, 0.5 * (edges[:, 1:] + edges[:, :-1]), om)
    kept = np.sort(np.where(pick[:, 1:] != pick[:, :-1], at, high), axis=1)
    return kept[:, : max(len(options) - 1, 0)]


def _menu(problem: CycleProblem, picks: Ints, pairs: Ints) -> Menu:
    """The menu of ``picks`` [plans, classes]."""
    load = problem.lam * problem.slot_s
    rows = np.arange(problem.shape[1])
    idle = problem.lam.max(axis=0) == 0
    demand, var, cost = (
        np.ascontiguousarray(load @ np.where(idle, 0.0, table[rows, picks]).T)
        for table in (problem.mean, problem.second, problem.other_cost)
    )
    space = (np.empty(len(picks)) for _ in range(3))
    left, right = (np.ascontiguousarray(side) for side in pairs.T)
    return Menu(demand, var, cost, left, right, *space)
