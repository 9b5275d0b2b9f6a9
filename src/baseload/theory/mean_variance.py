"""The exchange rate between mean demand and its variance, and variance in a Markov environment.

Derived in docs/explanation/variance-aware-routing.md, 5.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.frank_wolfe import Convex, minimise
from baseload.theory.inputs import Floats, numbers
from baseload.theory.routing_instance import RoutingInstance
from baseload.theory.routing_polytope import Breach, Polytope
from baseload.theory.static_routing import StaticRouting

_GENERATOR_ERROR = 1e-9


class Frontier(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Least variance by mean demand: ``mean`` [n] W rising, ``variance`` [n] J^2/s at the corners,
    ``slope`` [n - 1] J^2/(s W) between them, rising. ``breach`` is set, and the arrays are empty,
    where no routing meets all limits.

    Between corners the variance is a straight line for Poisson arrivals; for other renewal
    arrivals ``(ca2 - 1) mean^2 / lam`` comes on top of a line.
    """

    mean: Floats
    variance: Floats
    slope: Floats
    breach: Breach | None = None


class _Corner(NamedTuple):
    mean: float
    second: float


def mean_variance_frontier(instance: RoutingInstance) -> Frontier:
    """The frontier of variance against mean demand, from the least to the largest mean that the
    limits allow. Its corners are found exactly, by asking between every two known corners for a
    routing below their line. Standing: exact.
    """
    polytope = Polytope(instance)
    left, right = _corner(polytope, 1.0, 0.0), _corner(polytope, -1.0, 0.0)
    if isinstance(left, Breach) or isinstance(right, Breach):
        empty = np.zeros(0)
        breach = left if isinstance(left, Breach) else None
        return Frontier(mean=empty, variance=empty, slope=empty, breach=breach)
    low, high = _least_second_at(instance, left), _least_second_at(instance, right)
    corners = _between(polytope, low, high) if low.mean < high.mean else [low]
    mean = np.array([corner.mean for corner in corners])
    second = np.array([corner.second for corner in corners])
    clump = np.array([instance.clumping(float(value)) for value in mean])
    with np.errstate(invalid="ignore"):
        slope = np.diff(second) / np.diff(mean)
    return Frontier(mean=mean, variance=instance.v0 + second + clump, slope=slope)


def _corner(polytope: Polytope, mean_price: float, second_price: float) -> _Corner | Breach:
    """Mean and second-moment rate of the routing that is best at these prices."""
    instance = polytope.instance
    found = polytope.best(mean_price * instance.mean + second_price * instance.second)
    if found.shares is None:
        assert found.breach is not None
        return found.breach
    weights = instance.lam[:, None] * found.shares
    return _Corner(float(np.sum(weights * instance.mean)), float(np.sum(weights * instance.second)))


def _least_second_at(instance: RoutingInstance, end: _Corner) -> _Corner:
    """The corner of least variance at the mean of ``end``."""
    found = Polytope(instance, end.mean).best(instance.second)
    return end if found.shares is None else _Corner(end.mean, min(end.second, found.objective))


def _between(polytope: Polytope, low: _Corner, high: _Corner) -> list[_Corner]:
    """``low``, ``high`` and all corners of the frontier between them."""
    found = [low]
    waiting = [high]
    while waiting:
        right, left = waiting[-1], found[-1]
        run, rise = right.mean - left.mean, right.second - left.second
        middle = _corner(polytope, -rise, run)
        assert isinstance(middle, _Corner)
        below = run * (left.second - middle.second) - rise * (left.mean - middle.mean)
        size = abs(run) * max(left.second, right.second) + abs(rise) * max(left.mean, right.mean)
        if below > 1e-12 * size and left.mean < middle.mean < right.mean:
            waiting.append(middle)
        else:
            found.append(waiting.pop())
    return found


def deviation_matrix(generator: ArrayLike) -> tuple[Floats, Floats]:
    """Stationary law [n] and deviation matrix [n, n] (s) of a Markov chain with ``generator``
    [n, n] 1/s. Raises ``ArgumentError`` where rows do not sum to 0 within 1e-9 of the largest
    rate, rates are negative, or the chain has no unique stationary law.
    """
    rates = numbers("generator", generator, shape=(-1, -1))
    size = rates.shape[0]
    numbers("generator", rates, shape=(size, size))
    largest = float(np.max(np.abs(rates), initial=0.0))
    off = rates - np.diag(np.diag(rates))
    if np.any(np.abs(rates.sum(axis=1)) > _GENERATOR_ERROR * largest):
        raise ArgumentError(
            "generator", found=repr(rates.tolist())[:80], allowed="rows that sum to 0"
        )
    if np.any(off < 0):
        raise ArgumentError("generator", found=f"{off.min():g}", allowed="rates from 0")
    system = np.vstack([rates.T / (largest or 1.0), np.ones(size)])
    if np.linalg.matrix_rank(system[:-1]) < size - 1:
        raise ArgumentError("generator", found="several closed sets of states", allowed="one chain")
    law = np.linalg.lstsq(system, np.append(np.zeros(size), 1.0), rcond=None)[0]
    limit = np.tile(law, (size, 1))
    return law, np.linalg.inv(limit - rates) - limit


def min_modulated_variance(
    instance: RoutingInstance,
    *,
    lam: ArrayLike,
    generator: ArrayLike,
    supply: ArrayLike,
    mean_target: float | None = None,
) -> StaticRouting:
    """Least long-run variance when arrivals and supply follow a Markov environment.

    ``lam`` [states, classes] 1/s, ``supply`` [states] W, ``generator`` [states, states] 1/s; one
    routing serves every state. ``instance.lam`` must be the stationary mean of ``lam`` (relative
    1e-6). Variance is sum pi lam second + 2 (pi r) D r with net rates r and the deviation matrix D:
    a convex quadratic of the probabilities, because it is a variance. Standing: exact.
    """
    rates = numbers("lam", lam, least=0.0, shape=(-1, instance.shape[0]))
    law, deviation = deviation_matrix(generator)
    power = numbers("supply", supply, shape=(rates.shape[0],))
    if law.shape[0] != rates.shape[0]:
        raise ArgumentError("generator", found=f"{law.shape[0]} states", allowed=f"{len(rates)}")
    if not np.allclose(law @ rates, instance.lam, rtol=1e-6, atol=1e-12):
        raise ArgumentError("lam", found=f"mean {law @ rates}", allowed=f"mean {instance.lam}")
    share = rates / np.where(instance.lam > 0, instance.lam, 1.0)
    tables = np.concatenate([share[:, :, None] * instance.mean, instance.second[None]])
    half = law[:, None] * deviation
    symmetric = half + half.T

    def value(z: Floats) -> float:
        net = power - z[:-1]
        return instance.v0 + float(z[-1]) + float(net @ symmetric @ net)

    def gradient(z: Floats) -> Floats:
        return np.append(-2 * symmetric @ (power - z[:-1]), 1.0)

    found = minimise(Polytope(instance, mean_target), tables, Convex(value, gradient))
    if found.shares is None:
        return StaticRouting(status="infeasible", breach=found.breach)
    rates_found = instance.rates(found.shares)
    return StaticRouting(
        status="optimal",
        shares=found.shares,
        mean=rates_found.mean,
        variance=found.value,
        other_cost=rates_found.other_cost,
        objective=found.value,
        gap=found.gap,
    )


def as_lists(frontier: Frontier) -> dict[str, Any]:
    """The corners as plain lists, for tables and JSON."""
    return {
        "mean": frontier.mean.tolist(),
        "variance": frontier.variance.tolist(),
        "slope": frontier.slope.tolist(),
    }
