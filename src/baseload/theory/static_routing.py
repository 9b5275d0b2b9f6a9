"""Routing that does not look at the store: least variance at a given mean, least cost.

Derived in docs/explanation/variance-aware-routing.md, 5.1 and 5.2. Poisson arrivals make mean
demand and its variance linear in the routing probabilities, so the least variance at a given mean
is a linear program, and the diffusion's cost is convex. With other renewal arrivals the variance
gains (ca2 - 1) mean^2 / lam: convex for ca2 >= 1; for ca2 < 1 the mean is swept.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec
import numpy as np

from baseload.theory.frank_wolfe import Convex, Minimum, minimise
from baseload.theory.inputs import Floats, finite_result, not_negative, positive
from baseload.theory.numerics import minimize_scalar
from baseload.theory.routing_instance import RoutingInstance
from baseload.theory.routing_polytope import Breach, Polytope
from baseload.theory.store_cost import least_cost, static_index_prices, two_sided_cost

_SWEEP = 33


class StaticRouting(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A routing with fixed probabilities, or the constraint that forbids any.

    ``shares`` [classes, options]; ``mean`` [W]; ``variance`` [J^2/s]; ``objective``: the variance
    [J^2/s] or the cost [$/s] that was minimised, not more than ``gap`` above the least value;
    ``mean_price``: change of the objective per watt of the given mean. With ``status``
    "infeasible" only ``breach`` is set: the constraint that is cheapest to relax.
    """

    status: Literal["optimal", "infeasible"]
    shares: Any = None
    mean: float = math.nan
    variance: float = math.nan
    other_cost: float = math.nan
    objective: float = math.nan
    mean_price: float = math.nan
    gap: float = math.nan
    breach: Breach | None = None


def min_variance_given_mean(instance: RoutingInstance, mean_target: float) -> StaticRouting:
    """The routing of least variance whose mean demand is ``mean_target`` [W].

    A linear program for every renewal arrival stream, because the mean is pinned. An optimum mixes
    at most as many classes as there are binding side constraints (the mean is one). Standing: exact
    for the long-run variance rate.
    """
    target = not_negative("mean_target", mean_target)
    found = Polytope(instance, target).best(instance.second)
    if found.shares is None:
        return StaticRouting(status="infeasible", breach=found.breach)
    rates = instance.rates(found.shares)
    total = float(instance.lam.sum())
    slope = 2 * (instance.arrival_scv - 1) * target / total if total > 0 else 0.0
    return _optimal(instance, found.shares, rates.variance, 0.0, found.mean_price + slope)


def static_optimum(instance: RoutingInstance, B: float) -> StaticRouting:
    """The static routing of least cost Cu u + Cw w + other cost [$/s] with a store of ``B`` J.

    ``B`` infinite, or no supply at all: nothing is wasted, the cost is Cu (m - b)+ and other cost,
    a linear program.
    ``B`` = 0 is refused: a settlement slot is needed and the cost is not convex. Arrivals that are
    not Poisson: the mean is swept over 33 values and refined between them. Standing: exact for the
    diffusion with ``arrival_scv`` >= 1; below 1 the sweep can miss a narrow optimum.
    """
    positive("B", B, infinite=True)
    if math.isinf(B) or (instance.b <= 0 and instance.v0 == 0):  # nothing overflows
        return _least_cost_endless(instance)
    if instance.arrival_scv == 1:
        return _from_minimum(instance, least_cost(Polytope(instance), B))
    return _swept(instance, lambda mean: _least_cost(instance, B, mean))


def least_variance(instance: RoutingInstance) -> StaticRouting:
    """The routing of least variance, whatever its mean [J^2/s]; quadratic in the probabilities for
    arrivals that are not Poisson.
    """
    if instance.arrival_scv < 1:
        return _swept(instance, lambda mean: min_variance_given_mean(instance, mean))
    tables = np.stack([instance.mean, instance.second])
    total = float(instance.lam.sum()) or 1.0
    clump = (instance.arrival_scv - 1) / total

    def value(z: Floats) -> float:
        return instance.v0 + float(z[1]) + clump * float(z[0]) ** 2

    def gradient(z: Floats) -> Floats:
        return np.array([2 * clump * z[0], 1.0])

    found = minimise(Polytope(instance), tables, Convex(value, gradient))
    return _from_minimum(instance, found)


def _least_cost(instance: RoutingInstance, B: float, mean: float) -> StaticRouting:
    """Least cost at mean demand ``mean`` [W]."""
    charge = np.where(instance.available, instance.other_cost, 0.0)
    tables = np.stack([instance.mean, instance.second, charge])
    total = float(instance.lam.sum())
    clump = (instance.arrival_scv - 1) / total if total > 0 else 0.0

    def variance(z: Floats) -> float:
        return instance.v0 + float(z[1]) + clump * float(z[0]) ** 2

    def value(z: Floats) -> float:
        theta = instance.b - float(z[0])
        return two_sided_cost(theta, variance(z), B, instance.Cu, instance.Cw) + float(z[2])

    def gradient(z: Floats) -> Floats:
        prices = static_index_prices(
            instance.b - float(z[0]), variance(z), B, instance.Cu, instance.Cw
        )
        own = prices.mean_price + 2 * clump * float(z[0]) * prices.variance_price
        return np.array([own, prices.variance_price, 1.0])

    found = minimise(Polytope(instance, mean), tables, Convex(value, gradient))
    return _from_minimum(instance, found)


def _least_cost_endless(instance: RoutingInstance) -> StaticRouting:
    """Least Cu (m - b)+ + other cost. Convex with one kink, so the optimum is best without
    auxiliary energy's price, best at its full price, or has mean demand b.
    """
    charge = np.where(instance.available, instance.other_cost, 0.0)
    slopes = (0.0, instance.Cu)
    found = [Polytope(instance).best(slope * instance.mean + charge) for slope in slopes]
    found.append(Polytope(instance, instance.b).best(charge))
    options = []
    for one in found:
        if one.shares is not None:
            rates = instance.rates(one.shares)
            cost = instance.Cu * max(rates.mean - instance.b, 0.0) + rates.other_cost
            options.append((cost, one.shares))
    if not options:
        return StaticRouting(status="infeasible", breach=found[0].breach)
    cost, shares = min(options, key=lambda option: option[0])
    return _optimal(instance, shares, cost, 0.0, math.nan)


def _swept(instance: RoutingInstance, solve: Any) -> StaticRouting:
    """The best of ``solve(mean)`` over the means that can be had: 33 values, then a bounded search
    around the best.
    """
    polytope = Polytope(instance)
    low, high = (polytope.best(sign * instance.mean) for sign in (1.0, -1.0))
    if low.shares is None or high.shares is None:
        return StaticRouting(status="infeasible", breach=low.breach)
    means = np.linspace(low.objective, -high.objective, _SWEEP)
    solved = {float(mean): solve(float(mean)) for mean in means}

    def objective(mean: float) -> float:
        if float(mean) not in solved:
            solved[float(mean)] = solve(float(mean))
        found = solved[float(mean)]
        return found.objective if found.status == "optimal" else math.inf

    best = min(solved, key=objective)
    step = float(means[1] - means[0])
    if step > 0:
        bounds = (max(best - step, float(means[0])), min(best + step, float(means[-1])))
        minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-9 * step})
    found: StaticRouting = solved[min(solved, key=objective)]
    return found


def _from_minimum(instance: RoutingInstance, found: Minimum) -> StaticRouting:
    if found.shares is None:
        return StaticRouting(status="infeasible", breach=found.breach)
    return _optimal(instance, found.shares, found.value, found.gap, math.nan)


def _optimal(
    instance: RoutingInstance, shares: Floats, objective: float, gap: float, price: float
) -> StaticRouting:
    rates = instance.rates(shares)
    return StaticRouting(
        status="optimal",
        shares=shares,
        mean=rates.mean,
        variance=rates.variance,
        other_cost=rates.other_cost,
        objective=finite_result("static routing", objective, mean=rates.mean, b=instance.b),
        mean_price=price,
        gap=gap,
    )
