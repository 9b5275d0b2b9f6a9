"""Least cost at a given mean demand when nothing else binds, by a search along one price.

A linear program with one coupling row (the multiple-choice knapsack: Sinha and Zoltners 1979, "The
multiple-choice knapsack problem") needs no simplex. At a price nu of mean energy every class takes
its option of least cost + nu mean; the total is a concave, piecewise linear function of nu, and the
program's answer mixes the two routings that meet where it is largest. They are found by crossing
the lines of one routing at either side until no routing lies below a crossing: finitely many steps,
all of them exact. Derived in docs/explanation/variance-aware-routing.md, 5.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from baseload.theory.inputs import Floats
from baseload.theory.routing_instance import Ints, RoutingInstance

_STEPS = 1000
_OUTSIDE = 1e-9
_ROUNDING = 4e-16


class PinnedRouting(NamedTuple):
    """The routing ``shares`` [classes, options] at the mean asked for, and the change of the least
    cost per watt of that mean (one-sided at the ends of what can be had).
    """

    shares: Floats
    mean_price: float


class _Line(NamedTuple):
    """A routing ``choice`` [classes]: its cost at price nu is ``cost`` + nu ``mean`` a second."""

    mean: float
    cost: float
    choice: Ints


class _Options:
    """Costs and means of the options, infinite where they are not to be had."""

    def __init__(self, instance: RoutingInstance, prices: Floats) -> None:
        self.order = instance.order()
        self.lam = instance.lam
        take = np.take_along_axis
        self.open = take(instance.available, self.order, axis=1)
        self.mean = np.where(self.open, take(instance.mean, self.order, axis=1), 0.0)
        self.cost = np.where(self.open, take(prices, self.order, axis=1), np.inf)
        self.rows = np.arange(len(self.lam))
        self.idle = (self.lam <= 0) | ~self.open.any(axis=1)

    def line(self, choice: Ints) -> _Line:
        """The line of a routing."""
        cost = np.where(self.idle, 0.0, self.cost[self.rows, choice])
        mean = self.mean[self.rows, choice]
        return _Line(float(self.lam @ mean), float(self.lam @ cost), choice)

    def at(self, price: float) -> _Line:
        """The least line at ``price``; ties to the option that comes first in order."""
        return self.line(np.argmin(self.cost + price * self.mean, axis=1))

    def end(self, sign: float) -> _Line:
        """The routing of the least ``sign`` x mean, and of the least cost among those."""
        reach = np.where(self.open, sign * self.mean, np.inf)
        best = np.where(reach == reach.min(axis=1, keepdims=True), self.cost, np.inf)
        return self.line(np.argmin(best, axis=1))

    def edge_price(self, end: _Line, sign: float) -> float:
        """One-sided slope of the least cost at an end of the frontier."""
        run = sign * (self.mean - self.mean[self.rows, end.choice][:, None])
        cost = np.where(self.open, self.cost, 0.0)
        rise = cost - cost[self.rows, end.choice][:, None]
        usable = self.open & (run > 0) & ~self.idle[:, None]
        return sign * float(np.min(rise[usable] / run[usable])) if usable.any() else 0.0


def mean_range(instance: RoutingInstance) -> tuple[float, float]:
    """Least and largest mean demand [W] that the options allow."""
    options = _Options(instance, np.zeros(instance.shape))
    return options.end(1.0).mean, options.end(-1.0).mean


def least_at_mean(instance: RoutingInstance, prices: Floats, target: float) -> PinnedRouting | None:
    """The routing of least sum of lam p ``prices`` [classes, options] $ with mean demand ``target``
    W; side rows of ``instance`` are not looked at. None where the options do not reach the target
    (1e-9 of the nearest mean is allowed for). At most one class is mixed. Exact but for rounding.
    """
    options = _Options(instance, prices)
    low, high = options.end(1.0), options.end(-1.0)
    near = _OUTSIDE * max(abs(low.mean), abs(high.mean))
    if not low.mean - near <= target <= high.mean + near:
        return None
    if target <= low.mean:
        return PinnedRouting(_shares(instance, options, low.choice), options.edge_price(low, 1.0))
    if target >= high.mean:
        return PinnedRouting(
            _shares(instance, options, high.choice), options.edge_price(high, -1.0)
        )
    price = 0.0
    for _ in range(_STEPS):
        price = (low.cost - high.cost) / (high.mean - low.mean)
        here = options.at(price)
        crossing = low.cost + price * low.mean
        size = abs(low.cost) + abs(here.cost) + abs(price) * (low.mean + here.mean)
        if here.cost + price * here.mean >= crossing - _ROUNDING * size:
            break
        if here.mean in (low.mean, high.mean):
            break  # no line between the two that rounding can tell apart
        if here.mean > target:
            high = here
        else:
            low = here
    return PinnedRouting(_mixed(instance, options, low, high, target), -price)


def _shares(instance: RoutingInstance, options: _Options, choice: Ints) -> Floats:
    """Probabilities in the caller's order of options."""
    return instance.shares_of(options.order[options.rows, choice])


def _mixed(
    instance: RoutingInstance, options: _Options, low: _Line, high: _Line, target: float
) -> Floats:
    """From ``low`` to ``high``, class by class, until the mean is reached within a class."""
    gain = options.lam * (
        options.mean[options.rows, high.choice] - options.mean[options.rows, low.choice]
    )
    reached = low.mean + np.cumsum(gain)
    beyond = reached >= target
    last = int(np.argmax(beyond)) if beyond.any() else len(gain) - 1
    before = float(reached[last] - gain[last])
    share = min(max((target - before) / gain[last], 0.0), 1.0) if gain[last] > 0 else 0.0
    under, over = low.choice.copy(), low.choice.copy()
    under[:last], over[: last + 1] = high.choice[:last], high.choice[: last + 1]
    one, two = _shares(instance, options, under), _shares(instance, options, over)
    return (1 - share) * one + share * two
