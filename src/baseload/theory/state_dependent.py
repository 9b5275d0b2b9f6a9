"""What a policy that looks at the store costs: drift and variance that depend on the level.

Derived in docs/explanation/variance-aware-routing.md, 5.4 and 5.5. The stationary density of a
diffusion with reflecting ends is pi(S) = c 2 / v(S) exp(integral of 2 theta / v): textbook (Karlin
and Taylor, *A Second Course in Stochastic Processes*, 15). Exact for the diffusion.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from baseload.base.errors import ArgumentError
from baseload.theory.dynamic_routing import DynamicRouting
from baseload.theory.inputs import Floats, finite_result, not_negative, number, numbers, positive
from baseload.theory.routing_instance import RoutingInstance, check_prices


class StateDependentRates(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Long-run rates: auxiliary ``u`` [W], waste ``w`` [W], mean running cost ``running`` [$/s],
    mean net drift ``drift`` [W] (w - u = drift), and the probability ``share`` [pieces] of finding
    the store in each piece.
    """

    u: float
    w: float
    running: float
    drift: float
    share: Floats


def state_dependent_rates(
    *,
    breaks: ArrayLike,
    theta: ArrayLike,
    var: ArrayLike,
    cost: ArrayLike | None = None,
) -> StateDependentRates:
    """Rates of a store whose net drift, variance and running cost are constant between ``breaks``.

    ``breaks`` [n + 1] J from 0 to B, rising; ``theta`` [n] W; ``var`` [n] J^2/s, above 0; ``cost``
    [n] $/s. The last break may be infinite: then nothing is wasted, and with ``theta`` >= 0 in the
    last piece the store grows without end (u = w = 0). One piece without variance gives the fluid
    rates. Computed in logarithms, so that no density overflows.
    """
    ends = _breaks(breaks)
    count = len(ends) - 1
    drift = numbers("theta", theta, shape=(count,))
    variance = numbers("var", var, least=0.0, shape=(count,))
    charge = np.zeros(count) if cost is None else numbers("cost", cost, shape=(count,))
    if np.any(variance == 0):
        return _fluid(drift, variance, charge, endless=math.isinf(ends[-1]))
    width = np.diff(ends)
    x = 2 * drift / variance * np.where(np.isinf(width), 0.0, width)
    start = _from_the_top(x)
    high = np.maximum(start[:-1], start[1:])
    log_share = high + np.log(2 / variance) + _log_filled(np.abs(x), width)
    if math.isinf(ends[-1]):
        if drift[-1] >= 0:
            share = np.append(np.zeros(count - 1), 1.0)
            return _rates(0.0, 0.0, share, drift, charge)
        log_share[-1] = start[-1] - math.log(-drift[-1])
    total = float(logsumexp(log_share))
    w = 0.0 if math.isinf(ends[-1]) else math.exp(float(start[-1]) - total)
    return _rates(math.exp(float(start[0]) - total), w, np.exp(log_share - total), drift, charge)


def _rates(u: float, w: float, share: Floats, drift: Floats, charge: Floats) -> StateDependentRates:
    finite_result("state_dependent_rates", u + w, theta=drift.tolist())
    return StateDependentRates(
        u=u, w=w, running=float(share @ charge), drift=float(share @ drift), share=share
    )


def _breaks(breaks: ArrayLike) -> Floats:
    """Levels from 0, rising; only the last may be infinite."""
    found = np.asarray(breaks, dtype=np.float64)
    if found.ndim != 1 or len(found) < 2:
        raise ArgumentError("breaks", found=f"shape {found.shape}", allowed="two levels or more")
    numbers("breaks", found[:-1], least=0.0)
    number("breaks", float(found[-1]), infinite=True)
    if found[0] != 0 or np.any(np.diff(found) <= 0):
        raise ArgumentError("breaks", found=repr(found.tolist())[:80], allowed="0, then rising")
    return found


def _from_the_top(x: Floats) -> Floats:
    """Exponents of the density at the breaks, from their rises ``x`` over the pieces, with 0 at the
    highest break: summed from there outwards, so that large exponents cancel nothing that counts.
    """
    top = int(np.argmax(np.concatenate([[0.0], np.cumsum(x)])))
    left = -np.cumsum(x[:top][::-1])[::-1]
    return np.concatenate([left, [0.0], np.cumsum(x[top:])])


def _log_filled(size: Floats, width: Floats) -> Floats:
    """log of width * (1 - exp(-size)) / size, for any size >= 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(size < 1e-8, 1 - size / 2, -np.expm1(-size) / size)
    found: Floats = np.log(width) + np.log(share)
    return found


def _fluid(
    drift: Floats, variance: Floats, charge: Floats, *, endless: bool
) -> StateDependentRates:
    """One piece without variance: the fluid rates."""
    if len(drift) > 1:
        raise ArgumentError(
            f"var[{int(np.argmin(variance))}]",
            found="0",
            allowed="above 0 in every piece, or one piece only",
        )
    u, w = max(0.0, -float(drift[0])), max(float(drift[0]), 0.0)
    return _rates(u, 0.0 if endless else w, np.ones(1), drift, charge)


def bang_bang_cost(*, d: float, var: float, B: float, Cu: float = 1.0, Cw: float = 1.0) -> float:
    """Least average cost [$/s] when the drift may be +``d`` or -``d`` W at any level, at the same
    variance ``var`` [J^2/s]: charge while a stored joule is worth having, drain while it is not.

    The length of store between the prices Cu and -Cw is var / (2 d) [ln(1 + d Cu / gam) +
    ln(1 + d Cw / gam)], which gives a quadratic in gam; where both prices have one sign (Cw < 0 is
    a reward for waste) one drift serves all levels. Equal prices: d C / expm1(d B / var). ``B``
    infinite: the cost without end walls. Exact for the diffusion.
    """
    d, var = not_negative("d", d), not_negative("var", var)
    B, Cu, Cw = positive("B", B, infinite=True), number("Cu", Cu), number("Cw", Cw)
    check_prices(Cu, Cw)
    if var == 0 or (math.isinf(B) and d > 0):
        return -d * max(0.0, -Cw) - d * max(0.0, -Cu) if math.isfinite(B) else d * min(Cu, 0.0)
    if math.isinf(B):
        return 0.0
    if d == 0:
        return var * (Cu + Cw) / (2 * B)
    far = math.exp(-2 * d * B / var)
    rest = -math.expm1(-2 * d * B / var)
    if Cw < 0:  # always charge
        return d * (Cu * far + Cw) / rest
    if Cu < 0:  # always drain
        return d * (Cw * far + Cu) / rest
    half = 0.5 * (Cu + Cw) * far
    cost = d * (half + math.sqrt(half * half + far * rest * Cu * Cw)) / rest
    return finite_result("bang_bang_cost", cost, d=d, var=var, B=B)


def cost_of_bands(instance: RoutingInstance, solution: DynamicRouting) -> dict[str, float]:
    """Average cost [$/s] of the bands of ``solution``, with its parts: ``cost``, ``auxiliary`` and
    ``waste`` [$/s], ``other`` [$/s], ``u``, ``w`` [W]. By the stationary law, not by the optimality
    equation: an independent check of ``solution.gam``.
    """
    bands = solution.bands
    rows: list[Any] = [instance.rates(instance.shares_of(choice)) for choice in bands.choice]
    long_enough = np.append(np.diff(bands.start) > 0, bands.start[-1] < solution.B)
    kept = [row for row, keep in zip(rows, long_enough, strict=True) if keep]
    found = state_dependent_rates(
        breaks=np.append(bands.start[long_enough], solution.B),
        theta=[instance.b - row.mean for row in kept],
        var=[row.variance for row in kept],
        cost=[row.other_cost for row in kept],
    )
    auxiliary, waste = instance.Cu * found.u, instance.Cw * found.w
    return {
        "cost": auxiliary + waste + found.running,
        "auxiliary": auxiliary,
        "waste": waste,
        "other": found.running,
        "u": found.u,
        "w": found.w,
    }
