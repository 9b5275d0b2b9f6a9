"""How much baseline supply and storage: where the slope of auxiliary use meets the price ratio.

With r = (Cb + Cw) / (Cu + Cw), any model has -du/dtheta = r at its best supply. Derived in
docs/explanation/provisioning.md, 3.8 and 3.9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import msgspec
from scipy.special import erf

from baseload.theory.inputs import finite_result, not_negative, number, positive, storage
from baseload.theory.normal import BETA_0, PHI_0, cdf, expected_shortfall, pdf, quantile
from baseload.theory.numerics import brentq, minimize
from baseload.theory.prices import Prices
from baseload.theory.regulator import g, g_slope

Rates = Callable[[float, float], tuple[float, float]]
"""(theta [W], B [J]) -> (u, w) [W]: any model of auxiliary use and waste."""

Rung = Literal["two-sided diffusion", "slot-corrected", "re-optimised", "no storage", "bound"]
"""How an optimum was found; ``bound``: it lies at the end of what is allowed."""

_STEEPEST_Y = 760.0
_ROOM = 5.0  # the plain diffusion is used for B from 5 corrections on


class SupplyChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The best supply for given storage.

    ``theta`` supply minus mean demand [W] (infinite where a bound is best and none was given),
    ``u``, ``w`` the rates there [W], ``excess_cost`` over mean demand at baseline price [$/s],
    ``ratio`` r, ``advice`` in words, ``rung`` how it was found.
    """

    theta: float
    u: float
    w: float
    excess_cost: float
    ratio: float
    advice: str
    rung: Rung


class ProvisionChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The best supply and storage together.

    ``B`` storage [J]; ``theta`` supply minus mean demand [W]; ``beta`` = theta / sigma [s^-1/2];
    ``excess_cost`` over mean demand at baseline price, with storage [$/s]; ``ratio``, ``advice``,
    ``rung`` as in ``SupplyChoice``; ``cost_without_storage`` [$/s] of the newsvendor where a slot
    length was given; ``validity`` B over its largest correction (kx, 0.58 sd of a slot), infinite
    where none was given: the diffusion wants 5 or more.
    """

    B: float
    theta: float
    beta: float
    excess_cost: float
    ratio: float
    advice: str
    rung: Rung
    cost_without_storage: float | None = None
    validity: float = math.inf


def optimal_criticality_index(*, r: float) -> float:
    """y* = 2 theta* B / var of the best supply for price ratio ``r`` in (0, 1): -g'(y*) = r.

    0 at r = 1/2, and y*(1 - r) = -y*(r). Exact for the two-sided diffusion
    (docs/explanation/provisioning.md, 3.8). Raises ArgumentError outside (0, 1), where no finite
    optimum exists.
    """
    ratio = number("r", r, least=0.0, most=1.0, open_least=True, open_most=True)
    if ratio == 0.5:
        return 0.0
    if ratio > 0.5:
        return -_positive_index(1 - ratio)
    return _positive_index(ratio)


def _positive_index(r: float) -> float:
    """y* for r < 1/2."""
    return float(brentq(lambda y: -g_slope(y) - r, 0.0, _STEEPEST_Y, xtol=1e-15, rtol=1e-14))


def cost_factor(prices: Prices) -> float:
    """Psi [$/J]: the excess cost of the best supply is var / (2 B) Psi [$/s].

    0 at price ratios outside (0, 1). Exact for the two-sided diffusion
    (docs/explanation/provisioning.md, 3.8).
    """
    if not 0 < prices.ratio < 1:
        return 0.0
    y = abs(optimal_criticality_index(r=prices.ratio))
    return (prices.Cu + prices.Cw) * (g(y) - y * g_slope(y))  # even in y


def price_of_variance(*, prices: Prices, B: float) -> float:
    """dK/dsigma2 = Psi / (2 B): cost of one J^2/s of variance at the best supply [$/s per J^2/s].

    Exact for the two-sided diffusion (docs/explanation/provisioning.md, 3.8). 0 for B = inf. Raises
    ArgumentError for B = 0.
    """
    return cost_factor(prices) / (2 * storage(B))


def optimal_supply(
    *,
    prices: Prices,
    var: float,
    B: float,
    slot: float | None = None,
    mean: float | None = None,
    most: float | None = None,
) -> SupplyChoice:
    """The best supply for storage ``B`` [J].

    ``var`` [J^2/s]; B = 0 needs a settlement ``slot`` [s] and gives the newsvendor; with B > 0 a
    slot adds 2 * 0.5826 sd(slot) to B. ``mean`` demand and the ``most`` supply [W] make bounds
    finite: a ratio of 1 or more gives theta = -mean (no baseline), 0 or less gives most - mean.
    Exact for the diffusion, and for normal slots at B = 0 (docs/explanation/provisioning.md, 3.8).
    Raises ArgumentError.
    """
    spread, capacity = not_negative("var", var), not_negative("B", B, infinite=True)
    length = None if slot is None else positive("slot", slot)
    if not 0 < prices.ratio < 1:
        return _bound(prices, mean, most)
    if length is not None and capacity == 0:
        return _newsvendor(prices, spread, length)
    size, rung = storage(B), _rung(length)
    if length is not None:
        size += 2 * BETA_0 * math.sqrt(spread * length)
    y = optimal_criticality_index(r=prices.ratio)
    scale = spread / (2 * size)
    return SupplyChoice(
        theta=finite_result("optimal_supply", scale * y, prices=prices, var=var, B=B),
        u=scale * g(y),
        w=scale * g(-y),
        excess_cost=scale * cost_factor(prices),
        ratio=prices.ratio,
        advice=prices.advice,
        rung=rung,
    )


def _rung(slot: float | None) -> Rung:
    return "two-sided diffusion" if slot is None else "slot-corrected"


def _bound(prices: Prices, mean: float | None, most: float | None) -> SupplyChoice:
    """All auxiliary (ratio >= 1), or as much supply as is allowed (ratio <= 0)."""
    demand = math.inf if mean is None else not_negative("mean", mean)
    if prices.ratio >= 1:
        theta, u, w = -demand, demand, 0.0
        saved = prices.Cu - prices.Cb
        cost = saved * demand if saved != 0 else 0.0
    else:
        limit = math.inf if most is None else not_negative("most", most)
        theta = limit - demand if math.isfinite(limit) and math.isfinite(demand) else math.inf
        u, w = max(0.0, -theta), max(theta, 0.0)
        cost = prices.excess(theta=theta, u=u, w=w) if theta < 0 else 0.0
    return SupplyChoice(
        theta=theta,
        u=u,
        w=w,
        excess_cost=cost,
        ratio=prices.ratio,
        advice=prices.advice,
        rung="bound",
    )


def newsvendor_z(*, prices: Prices) -> float:
    """Best supply without storage, in standard deviations of a slot above its mean demand.

    -Phi^-1(r); -inf where auxiliary is cheaper than baseline (r >= 1: no baseline), +inf where
    waste pays it back (r <= 0). Exact for normal slots (newsvendor;
    docs/explanation/provisioning.md, 3.8).
    """
    z = -quantile(min(max(prices.ratio, 0.0), 1.0))
    return z if z != 0 else 0.0


def _newsvendor(prices: Prices, var: float, slot: float) -> SupplyChoice:
    """The best supply without storage, ratio inside (0, 1)."""
    z, scale = newsvendor_z(prices=prices), math.sqrt(var / slot)
    u = scale * expected_shortfall(z)
    return SupplyChoice(
        theta=scale * z,
        u=u,
        w=u + scale * z,
        excess_cost=scale * (prices.Cu + prices.Cw) * pdf(z),
        ratio=prices.ratio,
        advice=prices.advice,
        rung="no storage",
    )


def horizon_slope(d: float) -> float:
    """H'(d): slope of E[U_T] / (sigma sqrt(T)) in d = -theta sqrt(T) / sigma, from 0 to 1.

    For an infinite store that starts empty (docs/explanation/provisioning.md, 3.8).
    """
    if abs(d) < 1e-2:
        return 0.5 + 2 * PHI_0 * d / 3 - PHI_0 * d**3 / 15
    if d > 0:
        return 1 - horizon_slope(-d)
    return cdf(d) + pdf(d) / d - float(erf(d / math.sqrt(2))) / (2 * d * d)


def optimal_beta_horizon(*, r: float) -> float:
    """beta of the best supply over a horizon: theta* = beta sigma / sqrt(T) [pure number].

    ``r`` = Cb / Cu in (0, 1); infinite store, empty at the start, horizon T; waste has no part.
    Root of H'(-beta) = r. Exact for the diffusion (docs/explanation/provisioning.md, 3.8). Raises
    ArgumentError outside (0, 1).
    """
    ratio = number("r", r, least=0.0, most=1.0, open_least=True, open_most=True)
    if ratio == 0.5:
        return 0.0
    low = min(ratio, 1 - ratio)
    deepest = -1 / math.sqrt(low) - 1
    d = float(brentq(lambda d: horizon_slope(d) - low, deepest, 0.0, xtol=1e-15, rtol=1e-14))
    return -d if ratio < 0.5 else d


def optimal_provision_and_storage(
    *,
    prices: Prices,
    h: float,
    var: float,
    kx: float = 0.0,
    slot: float | None = None,
    rates: Rates | None = None,
    mean: float | None = None,
    most: float | None = None,
) -> ProvisionChoice:
    """The best supply and the best storage together.

    ``h`` price of capacity [$/(J s)], ``var`` [J^2/s], ``kx`` mean overshoot of a job
    E[X^3] / (3 E[X^2]) [J], ``slot`` settlement window [s] (its correction is then part of the
    model, and the newsvendor without storage is tried too), ``rates`` a better model: where the
    diffusion's B is below 5 max(kx, 0.58 sd(slot)), supply and storage are optimised anew on it.
    ``mean``, ``most`` [W] as in ``optimal_supply``. The closed form, B = sigma sqrt(Psi / (2 h)) at
    cost sigma sqrt(2 h Psi), is exact for the diffusion; a re-optimised one is as good as
    ``rates`` (docs/explanation/provisioning.md, 3.9). Raises ArgumentError.
    """
    price, spread = not_negative("h", h), not_negative("var", var)
    overshoot = not_negative("kx", kx)
    length = None if slot is None else positive("slot", slot)
    if not 0 < prices.ratio < 1:
        bound = _bound(prices, mean, most)
        return _provision(prices, 0.0, bound.theta, spread, bound.excess_cost, "bound")
    step = 0.0 if length is None else BETA_0 * math.sqrt(spread * length)
    choice = _closed_form(prices, price, spread, step, _rung(length))
    correction = max(overshoot, step)
    validity = choice.B / correction if correction > 0 else math.inf
    if rates is not None and spread > 0 and validity < _ROOM:
        choice = _reoptimised(prices, price, spread, rates, choice, correction)
        validity = choice.B / correction
    choice = msgspec.structs.replace(choice, validity=validity)
    if length is None:
        return choice
    without = _newsvendor(prices, spread, length)
    if choice.B == 0 or without.excess_cost <= choice.excess_cost:
        choice = _provision(
            prices, 0.0, without.theta, spread, without.excess_cost, "no storage", validity=0.0
        )
    return msgspec.structs.replace(choice, cost_without_storage=without.excess_cost)


def _provision(
    prices: Prices,
    B: float,
    theta: float,
    var: float,
    cost: float,
    rung: Rung,
    validity: float = math.inf,
) -> ProvisionChoice:
    return ProvisionChoice(
        B=B,
        theta=theta,
        beta=theta / math.sqrt(var) if var > 0 else math.copysign(0.0, theta),
        excess_cost=cost,
        ratio=prices.ratio,
        advice=prices.advice,
        rung=rung,
        validity=validity,
    )


def _closed_form(prices: Prices, h: float, var: float, step: float, rung: Rung) -> ProvisionChoice:
    """Best (B, theta) of the diffusion on B + 2 ``step``; ``step`` = 0 is the plain one."""
    psi, sigma = cost_factor(prices), math.sqrt(var)
    y = optimal_criticality_index(r=prices.ratio)
    if sigma == 0:
        return _provision(prices, 0.0, 0.0, 0.0, 0.0, rung)
    if h == 0:
        return _provision(prices, math.inf, 0.0, var, 0.0, rung)
    B = max(sigma * math.sqrt(psi / (2 * h)) - 2 * step, 0.0)
    scale = var / (2 * (B + 2 * step))
    return _provision(prices, B, scale * y, var, scale * psi + h * B, rung)


def _reoptimised(
    prices: Prices, h: float, var: float, rates: Rates, start: ProvisionChoice, unit: float
) -> ProvisionChoice:
    """The best (B, theta) on ``rates``, from the diffusion's (Nelder-Mead on log B and theta)."""
    size = max(start.B, unit)
    drift = math.sqrt(var) * math.sqrt(h / cost_factor(prices)) if h > 0 else var / size

    def cost(point: tuple[float, float]) -> float:
        B, theta = size * math.exp(point[0]), drift * point[1]
        u, w = rates(theta, B)
        found = prices.excess(theta=theta, u=u, w=w) + h * B
        return found if math.isfinite(found) else math.inf

    first = start.theta / drift
    best = minimize(
        cost,
        (0.0, first),
        method="Nelder-Mead",
        bounds=[(-12.0, 12.0), (first - 50.0, first + 50.0)],
        options={
            "initial_simplex": [(0.0, first), (0.7, first), (0.0, first + 0.7)],
            "xatol": 1e-6,
            "fatol": 1e-10 * abs(start.excess_cost),
            "maxfev": 400,
        },
    )
    return _provision(
        prices,
        size * math.exp(best.x[0]),
        drift * float(best.x[1]),
        var,
        finite_result("optimal_provision_and_storage", float(best.fun), var=var, h=h),
        "re-optimised",
    )
