"""What a store costs at fixed drift and variance, and the static routing that makes it least.

Derived in docs/explanation/variance-aware-routing.md, 5.2. The cost of the diffusion is convex and
grows in proportion when drift and variance do, so its slopes depend on one number only, the
criticality index y = 2 theta B / var. The least cost over all routings is therefore the largest
value over y of the cost that every query at its cheapest option would have at the prices of y: a
search along a line, with the present best mixture of two routings as upper bound.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from baseload.theory.frank_wolfe import Convex, Minimum, line_search
from baseload.theory.inputs import Floats
from baseload.theory.regulator import g, g_slope
from baseload.theory.routing_polytope import Breach, Polytope

_LARGEST = 1e6
_FAR = 750.0
_GAP_SHARE = 1e-12
_ROUNDS = 300


class IndexPrices(NamedTuple):
    """What a joule of mean [$/J] and a unit of variance [$/J^2] cost a static routing."""

    mean_price: float
    variance_price: float


def two_sided_cost(theta: float, var: float, B: float, Cu: float, Cw: float) -> float:
    """Cu u + Cw w of the two-sided diffusion with drift ``theta`` [W] and variance ``var``
    [J^2/s] in a store of ``B`` J [$/s]; ``var`` 0 gives the fluid cost.
    """
    if var <= 0:
        return Cu * max(0.0, -theta) + Cw * max(theta, 0.0)
    y = max(min(2 * theta * B / var, _LARGEST), -_LARGEST)
    lower = var / (2 * B) * g(abs(y))  # the smaller of u and w; the other is |theta| more
    return (Cu + Cw) * lower + (Cw * theta if theta > 0 else -Cu * theta)


def static_index_prices(theta: float, var: float, B: float, Cu: float, Cw: float) -> IndexPrices:
    """Slopes of ``two_sided_cost`` in mean demand and in variance, at drift ``theta`` = b - m.

    The best static routing minimises mean_price * mean + variance_price * second + other cost for
    each query. Derived in docs/explanation/variance-aware-routing.md, 5.2. Exact for the diffusion.
    """
    if var <= 0:
        return IndexPrices(Cu if theta < 0 else -Cw, 0.0)
    y = max(min(2 * theta * B / var, _LARGEST), -_LARGEST)
    steep = g_slope(y)
    return IndexPrices(-(Cu + Cw) * steep - Cw, (Cu + Cw) * _vertical(y) / (2 * B))


def _vertical(y: float) -> float:
    """g(y) - y g'(y), an even function: 1 - y^2/12 near 0, falls to 0 as y^2 exp(-y)."""
    size = abs(y)
    if size < 0.02:
        return 1 - y * y / 12 + y**4 / 240
    if size > 700:
        return 0.0
    return g(size) - size * g_slope(size)


class _Columns:
    """Routings known so far, and their drift, variance and other cost."""

    def __init__(self, polytope: Polytope, B: float) -> None:
        self.polytope, self.instance, self.B = polytope, polytope.instance, B
        self.routings: list[Floats] = []
        self.rates = np.zeros((0, 3))
        self.charge = np.where(self.instance.available, self.instance.other_cost, 0.0)
        self.breach = self.ask(0.0)

    def ask(self, y: float) -> Breach | None:
        """Add the routing that is best at the prices of ``y``; what forbids any, if so."""
        price = self.prices(y)
        found = self.polytope.best(
            price.mean_price * self.instance.mean
            + price.variance_price * self.instance.second
            + self.charge
        )
        if found.shares is None:
            return found.breach
        mean, variance, other = self.instance.rates(found.shares)
        self.routings.append(found.shares)
        self.rates = np.vstack([self.rates, [self.instance.b - mean, variance, other]])
        return None

    def prices(self, y: float) -> IndexPrices:
        """Slopes of the cost at criticality index ``y``."""
        return static_index_prices(
            y / (2 * self.B), 1.0, self.B, self.instance.Cu, self.instance.Cw
        )

    def bounds(self, y: float) -> Floats:
        """The tangent at ``y`` of every routing: at most its cost."""
        price = self.prices(y)
        found: Floats = self.rates @ np.array([-price.mean_price, price.variance_price, 1.0])
        return found

    def turn(self) -> tuple[float, int, int]:
        """The ``y`` at which the least tangent is largest, and the routings that are least just
        below and just above it.
        """

        def side(y: float) -> tuple[int, bool]:
            least = int(np.argmin(self.bounds(y)))
            return least, bool(self.rates[least, 0] > y * self.rates[least, 1] / (2 * self.B))

        low, high = -_FAR, _FAR
        (under, rises), (over, still) = side(low), side(high)
        if not rises:
            return low, under, under
        if still:
            return high, over, over
        while high - low > 1e-15 * max(abs(low), abs(high)):
            middle = 0.5 * (low + high)
            if middle in (low, high):
                break
            least, rises = side(middle)
            if rises:
                low, under = middle, least
            else:
                high, over = middle, least
        return 0.5 * (low + high), under, over


def least_cost(polytope: Polytope, B: float) -> Minimum:
    """The routing of ``polytope`` with the least cost in a store of ``B`` J, for Poisson arrivals.

    A mixture of at most two of the polytope's corners. Stops when the gap is below 1e-12 of the
    sizes that make up the cost.
    """
    known = _Columns(polytope, B)
    nothing = np.zeros(0)
    if known.breach is not None:
        return Minimum(None, nothing, np.nan, np.nan, 0, known.breach)
    instance, rounds = polytope.instance, 0

    def value(z: Floats) -> float:
        return two_sided_cost(float(z[0]), float(z[1]), B, instance.Cu, instance.Cw) + float(z[2])

    def gradient(z: Floats) -> Floats:
        price = static_index_prices(float(z[0]), float(z[1]), B, instance.Cu, instance.Cw)
        return np.array([-price.mean_price, price.variance_price, 1.0])

    convex = Convex(value, gradient)
    while rounds < _ROUNDS:
        rounds += 1
        y, under, over = known.turn()
        towards = known.rates[over] - known.rates[under]
        step = line_search(convex, known.rates[under], towards, 1.0)
        totals = known.rates[under] + step * towards
        known.ask(y)
        gap = value(totals) - float(known.bounds(y)[-1])
        if gap <= _GAP_SHARE * float(np.abs(gradient(totals)) @ np.abs(totals)):
            break
        if np.any(np.all(known.rates[:-1] == known.rates[-1], axis=1)):
            break
    shares = (1 - step) * known.routings[under] + step * known.routings[over]
    return Minimum(shares, totals, value(totals), max(gap, 0.0), rounds, None)
