"""A finite store settled in slots with normal net energy: exact rates at any capacity.

Small stores: the stationary law by Gauss-Legendre collocation. Larger ones: the two ends no longer
feel each other and the ratio u / w is nu(2 mu)^2 exp(-2 mu B / s), with mu the drift of a slot over
its deviation s and nu Siegmund's overshoot constant, by the zeta series of Chang and Peres (1997);
what it leaves out falls as exp(-2.5 B / s). To first order this is the plain diffusion with B
replaced by B + 2 * 0.5826 s. docs/explanation/critical-regime.md, 3.5 (iii).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import gamma, ndtr, zeta

from baseload.theory.inputs import not_negative, number, positive
from baseload.theory.normal import BETA_0, PHI_0, expected_shortfall
from baseload.theory.slots import normal_slot_rates
from baseload.theory.two_sided import Rates, fluid_rates, rates_from_ratio, two_sided_rates

_COLLOCATED = 12.0
_SERIES_DRIFT = 1.0


def _zeta_terms() -> tuple[float, ...]:
    """zeta(1/2 - r) / (r! (2 r + 1)) for r = 1, 2, ... by the reflection of zeta."""
    found = []
    for r in range(1, 26):
        s = 0.5 - r
        reflected = 2**s * math.pi ** (s - 1) * math.sin(math.pi * s / 2)
        value = reflected * float(gamma(1 - s)) * float(zeta(1 - s, 1))
        found.append(value / (math.factorial(r) * (2 * r + 1)))
    return tuple(found)


_ZETA_TERMS = _zeta_terms()


def log_overshoot_factor(mu: float) -> float:
    """ln nu(2 mu) for a normal walk of drift ``mu`` > 0 and unit deviation: the mean of
    exp(-2 mu overshoot) in the limit of a high level; about -2 * 0.5826 mu for small mu.
    """
    if mu < _SERIES_DRIFT:
        square = -mu * mu / 2
        series = sum(term * square**r for r, term in enumerate(_ZETA_TERMS, start=1))
        return 2 * mu * (PHI_0 * series - BETA_0)
    n = np.arange(1, math.ceil(1500 / (mu * mu)) + 2)
    return -math.log(2 * mu * mu) - 2 * float(np.sum(ndtr(-mu * np.sqrt(n)) / n))


def slotted_two_sided_rates(theta: float, var: float, *, slot: float, B: float) -> Rates:
    """Long-run rates [W] of a store of ``B`` [J] settled every ``slot`` seconds, with independent
    normal net energies of mean ``theta`` [W] times the slot and variance ``var`` [J^2 per slot].

    Exact for normal slots at every B >= 0 (relative error below 1e-8); ``B`` = 0 is the newsvendor
    formula, an infinite ``B`` the fluid.
    """
    theta, var = number("theta", theta), not_negative("var", var)
    slot, B = positive("slot", slot), not_negative("B", B, infinite=True)
    if var == 0 or math.isinf(B):
        return fluid_rates(theta, B)
    if B == 0:
        return normal_slot_rates(theta, var / slot, slot)
    spread = math.sqrt(var)
    drift, size = theta * slot / spread, B / spread
    if abs(drift) > 30:
        return fluid_rates(theta, B)
    if size <= _COLLOCATED:
        return _collocated(theta, drift, size, spread / slot)
    if drift == 0:
        level = spread / slot / (2 * (size + 2 * BETA_0))
        return Rates(u_w=level, w_w=level)
    log_z = 2 * log_overshoot_factor(abs(drift)) - 2 * abs(drift) * size
    return rates_from_ratio(theta, math.copysign(log_z, -theta))


def _collocated(theta: float, drift: float, size: float, unit_w: float) -> Rates:
    """Stationary law on [0, size] with atoms at both ends, at Gauss-Legendre nodes."""
    d = abs(drift)
    nodes, shares = np.polynomial.legendre.leggauss(28 + 7 * math.ceil(size))
    at, weight = size * (1 + nodes) / 2, size * shares / 2
    starts = np.concatenate([[0.0], at, [size]])
    jump = np.empty((starts.size, starts.size))  # from row to column
    jump[:, 0] = ndtr(-(starts + d))
    jump[:, -1] = ndtr(starts + d - size)
    gap = at[None, :] - starts[:, None] - d
    jump[:, 1:-1] = np.exp(-0.5 * gap * gap) * PHI_0 * weight
    system = jump.T - np.eye(starts.size)
    system[-1] = 1.0
    target = np.zeros(starts.size)
    target[-1] = 1.0
    chance = np.linalg.solve(system, target)
    short = np.array([expected_shortfall(start + d) for start in starts])
    small = max(float(chance @ short), 0.0) * unit_w
    if theta >= 0:
        return Rates(u_w=small, w_w=small + abs(theta))
    return Rates(u_w=small + abs(theta), w_w=small)


def slotted_corrected_rates(theta: float, var: float, *, slot: float, B: float) -> Rates:
    """The plain diffusion with ``B`` replaced by B + 2 * 0.5826 s (``var`` = s^2 [J^2 per slot]).

    Asymptotic: 0.01 to 0.25 % for B >= s, 7.6 % high at B = 0.
    """
    var, slot = not_negative("var", var), positive("slot", slot)
    widened = not_negative("B", B, infinite=True) + 2 * BETA_0 * math.sqrt(var)
    return two_sided_rates(theta, var / slot, widened)
