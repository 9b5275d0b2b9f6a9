"""An unlimited store: expected auxiliary energy over a horizon, from a given start.

The level starts at S0 [J] and never falls below 0; nothing is wasted. What must be bought by time T
is how far the net energy has fallen below -S0. The Brownian formulas are textbook (running extremum
of a Brownian motion with drift); the slotted one rests on Spitzer's identity.
docs/explanation/critical-regime.md, 3.3.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx, ndtr

from baseload.theory.inputs import Floats, finite_result, not_negative, number, whole
from baseload.theory.normal import (
    BETA_0,
    cdf,
    expected_shortfall,
    log_cdf,
    mills_ratio,
    pdf,
)
from baseload.theory.numerics import sparse_rows

_SMALL_DRIFT = 1e-3
_SUMMED_SLOTS = 20_000
_STEPPED_SLOTS = 1_000
_WIDEST_GRID = 600.0


def expected_aux_one_sided(theta: float, var: float, *, T: float, S0: float = 0.0) -> float:
    """E[auxiliary energy] [J] in ``T`` seconds of an unlimited store that starts at ``S0`` [J].

    ``theta`` [W] drift of the net energy, ``var`` [J^2/s] its variance rate. Exact for Brownian net
    energy. ``var`` = 0 gives the fluid (-theta T - S0)+, ``T`` = 0 gives 0. At theta = 0 and S0 = 0
    it is sqrt(2 var T / pi): the square-root law. Raises ArgumentError for NaN or negative inputs.
    """
    theta, var = number("theta", theta), not_negative("var", var)
    T, level = not_negative("T", T), not_negative("S0", S0)
    if T == 0:
        return 0.0
    spread = math.sqrt(var) * math.sqrt(T)
    if spread == 0:
        return max(0.0, -theta * T - level)
    drift, start = theta * T / spread, level / spread
    if abs(drift) > 1e12:  # no noise to speak of
        return max(0.0, -theta * T - level)
    value = spread * (expected_shortfall(start + drift) + _reflected_part(start, -drift))
    return finite_result("expected_aux_one_sided", value, theta=theta, var=var, T=T, S0=S0)


def _reflected_part(start: float, h: float) -> float:
    """(Phi(-zm) - exp(2 h start) Phi(-zp)) / (2 h) with zm = start - h, zp = start + h."""
    low, high = start - h, start + h
    if abs(h) < _SMALL_DRIFT:
        ratio = mills_ratio(start)
        first = start * ratio - 1
        second = ratio + start * first
        third = 2 * first + start * second
        return pdf(low) * (-first - h * h / 6 * third)
    if low > -5 and high > -5:
        return pdf(low) * (mills_ratio(low) - mills_ratio(high)) / (2 * h)
    return (cdf(-low) - math.exp(2 * h * start + log_cdf(-high))) / (2 * h)


def aux_variance_critical(var: float, T: float) -> float:
    """Variance [J^2] of the auxiliary energy in ``T`` seconds at theta = 0 and S0 = 0, unlimited
    store: var T (1 - 2 / pi). Exact for Brownian net energy.
    """
    return not_negative("var", var) * not_negative("T", T) * (1 - 2 / math.pi)


def expected_aux_with_bias(sigma: float, eps: float, *, T: float) -> float:
    """E[auxiliary energy] [J] in ``T`` seconds when the supply is set ``eps`` [W] below the mean.

    ``sigma`` [J/s^0.5] is the root of the variance rate. Grows as sqrt(T) until about
    (sigma / eps)^2 seconds and then linearly. Exact for Brownian net energy; unlimited store that
    starts empty. docs/explanation/critical-regime.md, 7.5.
    """
    sigma, eps = not_negative("sigma", sigma), number("eps", eps)
    return expected_aux_one_sided(-eps, sigma * sigma, T=T, S0=0.0)


def expected_aux_slotted_zero_drift(sigma_slot: float, n_slots: float) -> float:
    """E[auxiliary energy] [J] after ``n_slots`` slots of critical supply, unlimited store, empty
    start; net energy of a slot normal with mean 0 and deviation ``sigma_slot`` [J].

    Spitzer's identity: sigma_slot / sqrt(2 pi) sum n^-1/2. Exact.
    """
    return expected_aux_slotted(0.0, sigma_slot, n_slots=n_slots, S0=0.0)


def expected_aux_slotted(
    theta: float, sigma_slot: float, *, n_slots: float, S0: float = 0.0
) -> float:
    """E[auxiliary energy] [J] after ``n_slots`` slots; net energy of a slot normal with mean
    ``theta`` [J per slot] and deviation ``sigma_slot`` [J]; unlimited store from ``S0`` [J].

    From an empty start Spitzer's sum, exact. From ``S0`` > 0 the recursion over slots by
    quadrature, exact to 1e-9, up to 1,000 slots; beyond, the continuous formula with the start
    raised by 0.5826 sigma_slot (asymptotic, error below 0.01 sigma_slot).
    """
    theta, sigma = number("theta", theta), not_negative("sigma_slot", sigma_slot)
    slots, level = whole("n_slots", n_slots), not_negative("S0", S0)
    if slots == 0:
        return 0.0
    if sigma == 0 or abs(theta) > 1e12 * sigma:
        return max(0.0, -theta * slots - level)
    if level == 0:
        return sigma * _spitzer_sum(theta / sigma, slots)
    reach = 9 * math.sqrt(slots)
    if level / sigma > reach + max(0.0, -theta / sigma) * slots:
        return 0.0
    top = reach + min(max(0.0, -theta / sigma) * slots, level / sigma)
    if slots <= _STEPPED_SLOTS and top <= _WIDEST_GRID:
        return sigma * _stepped(theta / sigma, slots, level=level / sigma, top=top)
    return sigma * _raised_start(theta / sigma, slots, level / sigma)


def _raised_start(drift: float, slots: int, level: float) -> float:
    """The continuous formula with the start raised by 0.5826, plus what it misses from an empty
    start times the chance that the store empties at all.
    """
    horizon, raised = float(slots), level + BETA_0
    missed = _spitzer_sum(drift, slots) - expected_aux_one_sided(drift, 1.0, T=horizon, S0=BETA_0)
    spread = math.sqrt(horizon)
    low, high = -(raised + drift * horizon) / spread, (drift * horizon - raised) / spread
    empties = cdf(low) + math.exp(min(-2 * drift * raised + log_cdf(high), 0.0))
    return expected_aux_one_sided(drift, 1.0, T=horizon, S0=raised) + missed * empties


def _spitzer_sum(drift: float, slots: int) -> float:
    """sum over n <= slots of L(drift sqrt n) / sqrt n; the far part by Euler and Maclaurin."""
    direct = min(slots, _SUMMED_SLOTS)
    n = np.arange(1, direct + 1, dtype=np.float64)
    total = float(np.sum(_shortfalls(drift * np.sqrt(n)) / np.sqrt(n)))
    if slots == direct:
        return total
    first, last = float(direct), float(slots)
    area = expected_aux_one_sided(drift, 1.0, T=last) - expected_aux_one_sided(drift, 1.0, T=first)

    def term(at: float) -> float:
        return expected_shortfall(drift * math.sqrt(at)) / math.sqrt(at)

    def slope(at: float) -> float:
        z = drift * math.sqrt(at)
        return float(-(expected_shortfall(z) + z * cdf(-z)) / (2 * at**1.5))

    return total + area + (term(last) - term(first)) / 2 + (slope(last) - slope(first)) / 12


def _shortfalls(z: Floats) -> Floats:
    """``expected_shortfall`` of an array."""
    with np.errstate(under="ignore", over="ignore"):
        density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        near = density - z * ndtr(-z)
        far = density * (1 - z * math.sqrt(math.pi / 2) * erfcx(np.maximum(z, 0) / math.sqrt(2)))
    return np.where(z > 5, np.where(z > 50, 0.0, far), near)


def _stepped(drift: float, slots: int, *, level: float, top: float) -> float:
    """E[auxiliary] from ``level`` after ``slots`` slots of unit deviation: the recursion
    G'(x) = L(x + d) + Phi(-x - d) G(0) + int_0^top G(v) phi(v - x - d) dv on Gauss panels.
    """
    edges = np.linspace(0.0, top, max(math.ceil(top / 1.5), 2) + 1)
    nodes, shares = np.polynomial.legendre.leggauss(10)
    half = np.diff(edges)[:, None] / 2
    at = (edges[:-1, None] + half * (1 + nodes)).ravel()
    weight = (half * shares).ravel()
    starts = np.concatenate([at, [0.0, level]])
    gap = at[None, :] - starts[:, None] - drift
    kernel = np.where(np.abs(gap) < 9.5, np.exp(-0.5 * np.minimum(gap * gap, 100.0)), 0.0)
    step = sparse_rows(kernel * (weight / math.sqrt(2 * math.pi)))
    bought, emptied = _shortfalls(starts + drift), ndtr(-(starts + drift))
    value = np.zeros(starts.size)
    for _ in range(slots):
        value = bought + emptied * value[-2] + step @ value[:-2]
    return float(value[-1])
