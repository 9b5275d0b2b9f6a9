"""Least value of a convex function of a few totals of a routing, by fully corrective Frank-Wolfe.

The function sees a routing only through D totals (mean demand, variance, cost, ...), each linear in
the probabilities. Every round asks the polytope for the routing that is best at the present prices
of the totals (for a routing problem: an index per class), adds it to a short list, and then
re-mixes the list by pairwise steps with exact line search. Plain Frank-Wolfe zigzags where the
optimum lies on a face; re-mixing ends that. The Frank-Wolfe gap bounds the distance to the optimum,
whatever the path. Textbook: Lacoste-Julien and Jaggi 2015, "On the global linear convergence of
Frank-Wolfe optimization variants".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from baseload.theory.inputs import Floats
from baseload.theory.numerics import brentq
from baseload.theory.routing_polytope import Breach, Polytope

_GAP_SHARE = 1e-12
_ROUNDS = 400
_MIXING_STEPS = 400


class Convex(NamedTuple):
    """A convex function of the totals: ``value(z)`` and ``gradient(z)``, z of shape [D]."""

    value: Callable[[Floats], float]
    gradient: Callable[[Floats], Floats]


class Minimum(NamedTuple):
    """A routing [classes, options] with its totals [D] and value; ``gap`` bounds how far the value
    lies above the least one. ``shares`` is None where no routing meets all limits.
    """

    shares: Floats | None
    totals: Floats
    value: float
    gap: float
    rounds: int
    breach: Breach | None


class _Mix:
    """A short list of routings and their weights."""

    def __init__(self, tables: Floats, lam: Floats) -> None:
        self._rates = tables * lam[:, None]
        self.routings: list[Floats] = []
        self.columns = np.zeros((0, len(tables)))
        self.weights = np.zeros(0)

    def add(self, shares: Floats) -> Floats:
        """Append a routing at weight 0 (1 when it is the first); its totals."""
        totals = np.array([np.sum(shares * rate) for rate in self._rates])
        self.routings.append(shares)
        self.columns = np.vstack([self.columns, totals])
        self.weights = np.append(self.weights, 0.0 if self.weights.size else 1.0)
        return totals

    def totals(self) -> Floats:
        """Totals of the mixture."""
        found: Floats = self.weights @ self.columns
        return found

    def drop_unused(self) -> None:
        """Forget routings of weight 0."""
        used = np.flatnonzero(self.weights > 0)
        self.routings = [self.routings[int(index)] for index in used]
        self.columns, self.weights = self.columns[used], self.weights[used]
        self.weights = self.weights / self.weights.sum()

    def shares(self) -> Floats:
        """The mixture as one routing."""
        pairs = zip(self.weights, self.routings, strict=True)
        return np.asarray(sum(weight * routing for weight, routing in pairs))

    def remix(self, convex: Convex) -> None:
        """Pairwise steps: weight from the dearest used routing to the cheapest, until no pair
        promises anything.
        """
        for _ in range(_MIXING_STEPS):
            totals = self.totals()
            prices = convex.gradient(totals)
            scores = self.columns @ prices
            to = int(np.argmin(scores))
            away = int(np.argmax(np.where(self.weights > 0, scores, -np.inf)))
            promise = scores[away] - scores[to]
            if promise <= 1e-15 * float(np.abs(totals) @ np.abs(prices)):
                return
            step = line_search(
                convex, totals, self.columns[to] - self.columns[away], self.weights[away]
            )
            self.weights[to] += step
            self.weights[away] = 0.0 if step >= self.weights[away] else self.weights[away] - step
            if step == 0:
                return


def minimise(polytope: Polytope, tables: Floats, convex: Convex) -> Minimum:
    """The routing of ``polytope`` with the least ``convex`` value of its totals.

    ``tables`` [D, classes, options]: what a query adds to each total. ``convex`` must be convex on
    the totals that can be reached and differentiable there. Stops when the gap is below 1e-12 of
    the sizes that make up the value, or no step gains any more.
    """
    mix = _Mix(tables, polytope.instance.lam)
    start = polytope.best(tables[0])
    if start.shares is None:
        nothing = np.full(len(tables), np.nan)
        return Minimum(None, nothing, np.nan, np.nan, 0, start.breach)
    mix.add(start.shares)
    gap, best = np.inf, np.inf
    rounds = 0
    while rounds < _ROUNDS:
        rounds += 1
        totals = mix.totals()
        prices = convex.gradient(totals)
        found = polytope.best(np.tensordot(prices, tables, axes=1))
        assert found.shares is not None
        corner = mix.add(found.shares)
        gap = float(prices @ (totals - corner))
        value = convex.value(totals)
        size = float(np.abs(prices) @ np.maximum(np.abs(totals), np.abs(corner)))
        if gap <= _GAP_SHARE * size or value >= best:
            break
        best = value
        mix.remix(convex)
        mix.drop_unused()
    mix.drop_unused()
    totals = mix.totals()
    return Minimum(mix.shares(), totals, convex.value(totals), max(gap, 0.0), rounds, None)


def line_search(convex: Convex, start: Floats, direction: Floats, most: float) -> float:
    """The step in [0, ``most``] with the least value: where the slope along it turns."""

    def slope(step: float) -> float:
        return float(convex.gradient(start + step * direction) @ direction)

    if slope(most) <= 0:
        return most
    if slope(0.0) >= 0:
        return 0.0
    return float(brentq(slope, 0.0, most, xtol=1e-300, rtol=1e-14, maxiter=200))
