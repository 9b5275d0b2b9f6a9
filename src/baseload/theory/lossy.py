"""Stores that lose energy: conversion losses and self-discharge.

Derived in docs/explanation/provisioning.md, 2.4 and 3.7.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from baseload.theory.inputs import (
    efficiency,
    finite_result,
    not_negative,
    number,
    positive,
    storage,
)
from baseload.theory.normal import BETA_0, expected_shortfall
from baseload.theory.numerics import brentq
from baseload.theory.regulator import g

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)
_CERTAIN_Z = 39.0  # beyond, a normal slot has one sign to the last bit


class LossyRates(msgspec.Struct, frozen=True, kw_only=True):
    """Long-run rates [W] at the bus with conversion losses, without power limits.

    ``u`` auxiliary, ``w`` waste, ``loss`` what conversion eats: w - u = theta - loss. Power limits
    can only raise ``u``: it is a lower bound for a store that has them. ``theta_stored`` [W] and
    ``var_stored`` [J^2/s] drive the store itself; ``effective_B`` [J] is its size with the slot
    correction; ``validity`` is B over 0.58 standard deviations of one slot's stored increment (the
    formula wants it well above 1).
    """

    u: float
    w: float
    loss: float
    theta_stored: float
    var_stored: float
    effective_B: float
    validity: float


class LeakRates(msgspec.Struct, frozen=True, kw_only=True):
    """Long-run rates [W] of a store with self-discharge: w - u = theta - leak.

    ``u`` auxiliary, ``w`` waste, ``leak`` self-discharge; ``mean_level`` [J].
    """

    u: float
    w: float
    leak: float
    mean_level: float


def critical_z_lossy(*, eta_c: float, eta_d: float) -> float:
    """Net energy of a slot, in its standard deviations, at which a lossy store neither fills nor
    empties on average.

    Critical supply is then mean demand + z * sd / slot. Root of eta_c E[N+] = E[N-] / eta_d for a
    normal slot N; 0 without losses, never negative. Exact for normal slots
    (docs/explanation/provisioning.md, 2.4). Raises ArgumentError for efficiencies outside (0, 1].
    """
    eta = efficiency("eta_c", eta_c) * efficiency("eta_d", eta_d)
    if eta == 1:
        return 0.0

    def drift(z: float) -> float:
        # log of eta E[N+] / E[N-], with E[N+] = E[N-] + z
        short = expected_shortfall(z)
        return math.log(eta) + math.log1p(z / short) if short > 0 else math.inf

    high = 1.0
    while drift(high) < 0:
        high *= 2
    return float(brentq(drift, 0.0, high, xtol=1e-15, rtol=1e-14))


def stored_increment(
    *, mean: float, sd: float, eta_c: float, eta_d: float
) -> tuple[float, float, float, float]:
    """Mean [J] and variance [J^2] of what a normal slot moves inside the store, then the mean
    surplus E[N+] and the mean shortfall E[N-] at the bus [J].

    N ~ normal(``mean``, ``sd``) [J]; the store moves by M = eta_c N+ - N- / eta_d. Exact; central
    moments, so that a large mean does not cancel. docs/explanation/provisioning.md, 3.7.
    """
    lean = abs(mean)
    z = lean / sd if sd > 0 else math.inf
    if z > _CERTAIN_Z:
        less, less_square = 0.0, 0.0  # mean and second moment of the rarer sign, in sd and sd^2
    else:
        less = expected_shortfall(z)
        less_square = _tail_second_moment(z)
    rare = sd * less
    # M = near N + gap (rare part), with ``near`` the factor of the common sign
    near = eta_c if mean >= 0 else 1 / eta_d
    gap = eta_c - 1 / eta_d if mean >= 0 else 1 / eta_d - eta_c
    spread = sd * sd * (less_square - less * less)
    shared = -(sd * sd) * (less_square + (z * less if less > 0 else 0.0))  # Cov(N, N-) at N > 0
    variance = near * near * sd * sd + gap * gap * spread + 2 * near * gap * shared
    common = lean + rare
    if mean >= 0:
        return eta_c * common - rare / eta_d, max(variance, 0.0), common, rare
    return eta_c * rare - common / eta_d, max(variance, 0.0), rare, common


def _tail_second_moment(z: float) -> float:
    """E[((Z - z)+)^2] of a standard normal, z >= 0: (1 + z^2) Phi(-z) - z phi(z)."""
    # = Phi(-z) - z L(z): L comes without cancellation, what is left is O(phi / z^3)
    return max(0.5 * math.erfc(z / math.sqrt(2)) - z * expected_shortfall(z), 0.0)


def two_sided_lossy(
    *, theta: float, sd: float, slot: float, B: float, eta_c: float = 1.0, eta_d: float = 1.0
) -> LossyRates:
    """Auxiliary and waste rates [W] of a store with conversion losses, settled in slots.

    ``theta`` mean net supply [W], ``sd`` standard deviation of a slot's net energy [J], ``slot``
    its length [s], ``B`` usable capacity [J] (0 and infinite allowed), ``eta_c`` bus -> store,
    ``eta_d`` store -> bus. The stored side is a lossless store driven by M = eta_c N+ - N- / eta_d
    (that step is exact); its rates are those of the reflected diffusion on B + 2 * 0.5826 sd(M),
    mapped back. Asymptotic: 0.8-2.8 % against simulation for B >= 20 sd. Losses are paid on every
    swing, so the result depends on the slot length. Power limits are NOT covered: ``u`` is then a
    lower bound. docs/explanation/provisioning.md, 3.7. Raises ArgumentError.
    """
    mean = number("theta", theta) * positive("slot", slot)
    spread = not_negative("sd", sd)
    capacity = not_negative("B", B, infinite=True)
    charge, discharge = efficiency("eta_c", eta_c), efficiency("eta_d", eta_d)
    moved, variance, surplus, shortfall = stored_increment(
        mean=mean, sd=spread, eta_c=charge, eta_d=discharge
    )
    theta_stored, var_stored = moved / slot, variance / slot
    step = BETA_0 * math.sqrt(variance)
    size = capacity + 2 * step
    y = 2 * theta_stored * size / var_stored if var_stored > 0 else math.inf
    if capacity == 0:  # nothing is stored, nothing is lost in conversion
        u, w = shortfall / slot, surplus / slot
    elif math.isinf(y) or math.isinf(size):  # as good as no noise
        u, w = discharge * max(0.0, -theta_stored), max(theta_stored, 0.0) / charge
        if math.isinf(size):
            w = 0.0
    else:
        u = discharge * var_stored / (2 * size) * g(y)
        w = var_stored / (2 * size) * g(-y) / charge
        if u >= shortfall / slot:  # the correction is too large for so small a store
            u, w = shortfall / slot, surplus / slot
    u = finite_result("two_sided_lossy", u, theta=theta, sd=sd, slot=slot, B=B)
    w = finite_result("two_sided_lossy", w, theta=theta, sd=sd, slot=slot, B=B)
    return LossyRates(
        u=u,
        w=w,
        loss=_conversion_loss(surplus, shortfall, u, w, slot, charge, discharge),
        theta_stored=theta_stored,
        var_stored=var_stored,
        effective_B=size,
        validity=capacity / step if step > 0 else math.inf,
    )


def _conversion_loss(
    surplus: float,
    shortfall: float,
    u: float,
    w: float,
    slot: float,
    eta_c: float,
    eta_d: float,
) -> float:
    """What conversion eats [W]: (1 - eta_c) of what goes in, (1 - eta_d) of what leaves."""
    charged = surplus / slot - w
    drawn = (shortfall / slot - u) / eta_d
    return (1 - eta_c) * charged + (1 - eta_d) * drawn


def two_sided_with_leak(*, theta: float, var: float, kappa: float, B: float) -> LeakRates:
    """Auxiliary, waste and self-discharge rates [W] of dS = (theta - kappa S) dt + sigma dB on
    [0, B].

    ``theta`` net supply before self-discharge [W], ``var`` = sigma^2 [J^2/s], ``kappa`` [1/s],
    ``B`` > 0 [J] (infinite allowed). The level has a normal density cut to [0, B]; u and w are
    var / 2 times that density at the ends. Exact for the diffusion
    (docs/explanation/provisioning.md, 3.7; regulated Ornstein-Uhlenbeck process). The integrals are
    taken over the part of [0, B] that carries mass, so kappa = 0 and any |theta| B / var are no
    special cases. Raises ArgumentError, also for B = 0 (give a slot length to a rule without
    storage instead).
    """
    net, spread = number("theta", theta), not_negative("var", var)
    rate, capacity = not_negative("kappa", kappa), storage(B)
    if spread == 0:
        return _leak_without_noise(net, rate, capacity)
    if math.isinf(capacity):
        if rate == 0:
            if net >= 0:
                return LeakRates(u=0.0, w=0.0, leak=0.0, mean_level=math.inf)
            return LeakRates(u=-net, w=0.0, leak=0.0, mean_level=spread / (-2 * net))
        wide = math.sqrt(spread / (2 * rate))
        found = two_sided_with_leak(
            theta=net, var=spread, kappa=rate, B=max(net / rate, 0.0) + 40 * wide
        )
        return msgspec.structs.replace(found, w=0.0)
    slope, bend = 2 * net / spread * capacity, rate / spread * capacity * capacity
    lower, upper, mean = _cut_normal(slope, bend)
    scale = spread / (2 * capacity)
    inputs = {"theta": theta, "var": var, "kappa": kappa, "B": B}
    return LeakRates(
        u=finite_result("two_sided_with_leak", scale * lower, **inputs),
        w=finite_result("two_sided_with_leak", scale * upper, **inputs),
        leak=finite_result("two_sided_with_leak", rate * capacity * mean, **inputs),
        mean_level=capacity * mean,
    )


def _leak_without_noise(theta: float, kappa: float, B: float) -> LeakRates:
    """The fluid: the level rests where supply equals self-discharge, or at an end."""
    if theta <= 0:
        return LeakRates(u=-theta, w=0.0, leak=0.0, mean_level=0.0)
    level = min(theta / kappa if kappa > 0 else math.inf, B)
    leak = kappa * level if kappa > 0 else 0.0
    return LeakRates(
        u=0.0,
        w=max(theta - leak, 0.0) if math.isfinite(B) else 0.0,
        leak=leak,
        mean_level=level,
    )


def _cut_normal(slope: float, bend: float) -> tuple[float, float, float]:
    """Densities at 0 and 1 and mean of the law proportional to exp(slope v - bend v^2) on [0, 1].

    Gauss-Legendre over the stretch that holds the mass to e^-40 or so: the integrand falls by no
    more than that over the stretch, which 96 nodes integrate to round-off.
    """
    mode = slope / (2 * bend) if 0 < slope < 2 * bend else float(slope > 0)
    wide = 9 / math.sqrt(2 * bend) if bend > 0 else math.inf
    if 0 < mode < 1:
        low, high = max(mode - wide, 0.0), min(mode + wide, 1.0)
    else:
        steep = abs(slope if mode == 0 else slope - 2 * bend)
        reach = min(1.0, wide, 40 / steep if steep > 0 else math.inf)
        low, high = (0.0, reach) if mode == 0 else (1 - reach, 1.0)
    half = (high - low) / 2
    away = low - mode + half * (1 + _NODES)
    tilt = 0.0 if 0 < mode < 1 else (slope if mode == 0 else slope - 2 * bend)
    weights = _WEIGHTS * half * np.exp(tilt * away - bend * away * away)
    total = float(weights.sum())
    at_0 = math.exp(-tilt * mode - bend * mode * mode) / total
    rest = 1 - mode
    at_1 = math.exp(tilt * rest - bend * rest * rest) / total
    return at_0, at_1, mode + float((weights * away).sum()) / total
