"""First order and scale: mean demand, critical supply, the regime label, the square-root rule.

docs/explanation/critical-regime.md, 2.1, 2.3, 2.5 and 3.1. The cuts of the label are a convention
of this product; the rest is exact.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import not_negative, number, numbers, positive, shares
from baseload.theory.two_sided import criticality_index

RegimeLabel = Literal["under-supplied", "near-critical", "critical", "over-supplied"]
"""Near-critical is on either side; the sign of the index tells which."""


class Regime(msgspec.Struct, frozen=True, kw_only=True):
    """The regime label and the ``index`` that it rests on: y = 2 theta B / var for a finite store,
    theta sqrt(T) / sigma for a horizon.
    """

    label: RegimeLabel
    index: float


class ScaledSite(msgspec.Struct, frozen=True, kw_only=True):
    """A site of ``n`` times the traffic: supply ``b_w``, drift ``theta`` [W], variance rate ``var``
    [J^2/s], capacity ``B`` [J], and its demand ``demand_w``.
    """

    n: float
    demand_w: float
    b_w: float
    theta: float
    var: float
    B: float


def label_of(index: float) -> RegimeLabel:
    """The label of an index: up to 1 critical, up to 3 near-critical, beyond over or under."""
    if math.isnan(index):
        raise ArgumentError("index", found="NaN", allowed="a number")
    if abs(index) <= 1:
        return "critical"
    if abs(index) <= 3:
        return "near-critical"
    return "over-supplied" if index > 0 else "under-supplied"


def regime(theta: float, var: float, *, B: float | None = None, T: float | None = None) -> Regime:
    """Regime of a store of ``B`` [J], or, for an unlimited store or none, of a horizon (or
    settlement window) of ``T`` seconds.

    Raises ArgumentError where neither a finite ``B`` above 0 nor ``T`` is given.
    """
    theta, var = number("theta", theta), not_negative("var", var)
    if B is not None:
        B = not_negative("B", B, infinite=True)
        if 0 < B < math.inf:
            index = criticality_index(theta, var, B)
            return Regime(label=label_of(index), index=index)
    if T is None:
        raise ArgumentError(
            "T",
            found="nothing",
            allowed="a horizon or settlement window in seconds, or a finite store B above 0",
        )
    T = positive("T", T)
    if theta == 0:
        index = 0.0
    elif var == 0:
        index = math.copysign(math.inf, theta)
    else:
        index = theta * math.sqrt(T) / math.sqrt(var)
    return Regime(label=label_of(index), index=index)


def mean_demand_w(lam: ArrayLike, mean_j: ArrayLike, *, p: ArrayLike | None = None) -> float:
    """Mean demand m [W]: sum over classes k of lam[k] times the mean energy of its requests.

    ``lam`` [1/s] of shape (classes,). Without ``p``, ``mean_j`` [J] is one per class; with routing
    probabilities ``p`` (classes, options...) it has the shape of ``p``, whose entries sum to 1 for
    each class within 1e-9.
    """
    rates = numbers("lam", lam, least=0.0, shape=(-1,))
    if p is None:
        means = numbers("mean_j", mean_j, least=0.0, shape=rates.shape)
        return float(rates @ means)
    routed = np.asarray(p, dtype=np.float64)
    if routed.ndim < 2 or routed.shape[0] != rates.size:
        raise ArgumentError(
            "p", found=f"shape {routed.shape}", allowed=f"({rates.size} classes, options...)"
        )
    routed = shares("p", routed, axes=routed.ndim - 1)
    means = numbers("mean_j", mean_j, least=0.0, shape=routed.shape)
    return float(rates @ (routed * means).reshape(rates.size, -1).sum(axis=1))


def critical_supply_w(demand_w: float, *, leak_per_s: float = 0.0, B: float = 0.0) -> float:
    """The supply b* [W] at which waste and auxiliary use are equal: the mean demand, plus half of
    what a full store of ``B`` [J] leaks at the rate ``leak_per_s``.

    Exact without leakage for every model; with leakage for the diffusion.
    """
    demand, leak = not_negative("demand_w", demand_w), not_negative("leak_per_s", leak_per_s)
    return demand + (leak * not_negative("B", B) / 2 if leak else 0.0)


def square_root_scaling(
    n: float, *, demand_w: float, var: float, beta_per_root_s: float, B: float
) -> ScaledSite:
    """A site scaled to ``n`` times the traffic of one unit: ``demand_w`` [W] and ``var`` [J^2/s] of
    the unit grow as n, its store ``B`` [J] and its supply margin as sqrt(n).

    The margin is ``beta_per_root_s`` (beta, in s^-1/2) times sigma. Every auxiliary and waste rate
    then is sqrt(n) times that of n = 1, and the cost of randomness per request falls as n^-1/2.
    Exact for Brownian net energy (Halfin and Whitt 1981 for the regime).
    """
    n, demand = positive("n", n), not_negative("demand_w", demand_w)
    var, beta = not_negative("var", var), number("beta_per_root_s", beta_per_root_s)
    theta = beta * math.sqrt(var) * math.sqrt(n)
    return ScaledSite(
        n=n,
        demand_w=n * demand,
        b_w=n * demand + theta,
        theta=theta,
        var=n * var,
        B=not_negative("B", B, infinite=True) * math.sqrt(n),
    )
