"""No storage: supply and demand are settled slot by slot, and only their balance in a slot counts.

u = E[(demand - supply)+] / slot and w = u + theta. Four laws of the demand of a slot: normal, gamma
(two moments), the exact compound Poisson law, and ``no_storage_rates``, which picks. Textbook
(newsvendor; stop-loss premium of a compound Poisson law). docs/explanation/critical-regime.md, 3.2.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from scipy.special import gammaincc, gammaln, pdtr

from baseload.theory.inputs import finite_result, not_negative, number, positive
from baseload.theory.job_laws import JobLaw
from baseload.theory.normal import expected_shortfall
from baseload.theory.numerics import quad
from baseload.theory.two_sided import Rates

FEW_REQUESTS = 20.0
"""Mean requests per slot below which the exact compound law is used."""

MUCH_SKEWNESS = 0.3
"""Skewness of the demand of a slot above which a gamma law replaces the normal one."""

_CELLS = 4096


class SlotRates(msgspec.Struct, frozen=True, kw_only=True):
    """Rates without storage [W], and the law of the demand of a slot that they rest on."""

    u_w: float
    w_w: float
    law: Literal["normal", "gamma", "compound", "fluid"]


def _with_drift(short_w: float, theta: float) -> Rates:
    """Rates whose difference is ``theta``, from the auxiliary rate."""
    return Rates(u_w=short_w, w_w=max(short_w + theta, 0.0))


def normal_slot_rates(theta: float, var: float, slot: float) -> Rates:
    """Rates of normal slots of ``slot`` seconds: u = sigma / sqrt(slot) L(z), with z = theta
    sqrt(slot) / sigma and L(z) = phi(z) - z Phi(-z). Exact for normal net energy; ``var`` [J^2/s]
    may be 0.
    """
    theta, var, slot = number("theta", theta), not_negative("var", var), positive("slot", slot)
    if var == 0:
        return Rates(u_w=max(0.0, -theta), w_w=max(theta, 0.0))
    spread = math.sqrt(var) / math.sqrt(slot)  # [W]
    z = theta / spread
    if abs(z) > 1e12:
        return Rates(u_w=max(0.0, -theta), w_w=max(theta, 0.0))
    small = spread * expected_shortfall(abs(z))
    if theta >= 0:
        return Rates(u_w=small, w_w=small + theta)
    return Rates(u_w=small - theta, w_w=small)


def gamma_loss(shape: float, scale: float, *, b: float) -> float:
    """E[(D - b)+] [J] of gamma demand D with ``shape`` and ``scale`` [J] and supply ``b`` [J].

    shape scale Q(shape + 1, b / scale) - b Q(shape, b / scale); far in the tail, where the two
    terms cancel, the integral of Q. Exact.
    """
    shape, scale = positive("shape", shape), positive("scale", scale)
    x = not_negative("b", b) / scale
    value = float(shape * gammaincc(shape + 1, x) - x * gammaincc(shape, x))
    if value < 1e-9 * shape:
        value = _gamma_tail(shape, x)
    return finite_result("gamma_loss", scale * value, shape=shape, scale=scale, b=b)


def _gamma_tail(shape: float, x: float) -> float:
    """int_x^inf Q(shape, v) dv far in the tail, where it falls about as exp(-v (1 - shape / x))."""
    if float(gammaincc(shape, x)) == 0:
        return 0.0
    fall = max(1 - (shape - 1) / x, 1 / math.sqrt(shape + 1))
    value, _ = quad(lambda t: float(gammaincc(shape, x + t / fall)) / fall, 0, 60, epsabs=0)
    return float(value)


def gamma_slot_rates(theta: float, var: float, *, slot: float, demand_w: float) -> Rates:
    """Rates with gamma demand of mean ``demand_w`` [W] and variance rate ``var`` [J^2/s], slots of
    ``slot`` seconds, and constant supply ``demand_w + theta``. A match of two moments.
    """
    theta, var = number("theta", theta), positive("var", var)
    slot, demand = positive("slot", slot), positive("demand_w", demand_w)
    supply_j = (demand + theta) * slot
    if supply_j <= 0:
        return Rates(u_w=-theta, w_w=0.0)
    shape, scale = demand * demand * slot / var, var / demand
    return _with_drift(gamma_loss(shape, scale, b=supply_j) / slot, theta)


def compound_loss(requests: float, law: JobLaw, *, supply_j: float) -> float:
    """E[(D - c)+] [J] of the energy D of a Poisson number (mean ``requests``) of ``law`` requests
    against the supply c = ``supply_j`` [J]. Exact for equal jobs; otherwise a lattice whose
    cells keep the mean, by FFT, twice, extrapolated (relative error about 1e-7).
    """
    requests, supply = not_negative("requests", requests), number("supply_j", supply_j)
    mean = requests * law.mean_j
    if supply <= 0:
        return mean - supply
    if requests == 0:
        return 0.0
    if law.kind == "deterministic":
        return equal_jobs_loss(requests, law.mean_j, supply_j=supply)
    coarse, fine = (
        _lattice_surplus(requests, law, supply, cells) for cells in (_CELLS, 2 * _CELLS)
    )
    surplus = fine + (fine - coarse) / 3
    return max(mean - supply + surplus, 0.0)


def equal_jobs_loss(requests: float, job_j: float, *, supply_j: float) -> float:
    """E[(N a - c)+] [J] for Poisson N of mean ``requests`` and jobs of ``job_j`` [J]. Exact."""
    whole = math.floor(supply_j / job_j)
    if supply_j < 0:
        return requests * job_j - supply_j
    below = float(pdtr(whole, requests))
    last = math.exp(whole * math.log(requests) - requests - float(gammaln(whole + 1)))
    # E[(c - N a)+] = (c - a requests) P(N <= k) + a requests P(N = k), k = floor(c / a)
    surplus = (supply_j - job_j * requests) * below + job_j * requests * last
    return max(job_j * requests - supply_j + surplus, 0.0)


def _lattice_surplus(requests: float, law: JobLaw, supply: float, cells: int) -> float:
    """E[(supply - D)+] with jobs on multiples of supply / cells."""
    h = supply / cells
    limited = law.limited(h * np.arange(cells + 1, dtype=np.float64))
    gained = np.diff(limited) / h  # mean of P(X > .) in each cell
    mass = np.concatenate([[1 - gained[0]], gained[:-1] - gained[1:]])
    size = 2 * cells
    tilt = 30.0 / size
    steps = np.arange(cells)
    image = np.fft.rfft(mass * np.exp(-tilt * steps), size)
    tilted = np.fft.irfft(np.exp(requests * (image - 1)), size)[:cells]
    return float((supply - h * steps) @ (tilted * np.exp(tilt * steps)))


def compound_slot_rates(lam: float, law: JobLaw, *, b: float, slot: float) -> Rates:
    """Rates of Poisson requests (``lam`` [1/s], energies of ``law``) against the constant supply
    ``b`` [W], settled every ``slot`` seconds. Exact up to the lattice of ``compound_loss``.
    """
    lam, b, slot = not_negative("lam", lam), not_negative("b", b), positive("slot", slot)
    short_j = compound_loss(lam * slot, law, supply_j=b * slot)
    return _with_drift(short_j / slot, b - lam * law.mean_j)


def no_storage_rates(
    theta: float,
    var: float,
    *,
    slot: float,
    lam: float | None = None,
    law: JobLaw | None = None,
    demand_w: float | None = None,
    skewness: float | None = None,
) -> SlotRates:
    """Rates without storage with the best law that the inputs allow, and its name.

    The exact compound law when ``lam`` and ``law`` are all the noise there is (``var`` = lam E X^2)
    and a slot has fewer than 20 requests; a gamma law when the skewness of the demand of a slot
    (given, or from the job law) exceeds 0.3 and its mean ``demand_w`` is known; otherwise normal.
    """
    theta, var, slot = number("theta", theta), not_negative("var", var), positive("slot", slot)
    if var == 0:
        return SlotRates(u_w=max(0.0, -theta), w_w=max(theta, 0.0), law="fluid")
    if lam is not None and law is not None:
        demand_w = lam * law.mean_j
        alone = abs(lam * law.second_j2 - var) <= 1e-6 * var
        if alone and lam * slot < FEW_REQUESTS and demand_w + theta >= -1e-12 * demand_w:
            exact = compound_slot_rates(lam, law, b=max(demand_w + theta, 0.0), slot=slot)
            return SlotRates(u_w=exact.u_w, w_w=exact.w_w, law="compound")
        if skewness is None and math.isfinite(law.third_j3):
            skewness = lam * law.third_j3 * slot / (var * slot) ** 1.5
    if skewness is not None and skewness > MUCH_SKEWNESS and demand_w:
        gamma = gamma_slot_rates(theta, var, slot=slot, demand_w=demand_w)
        return SlotRates(u_w=gamma.u_w, w_w=gamma.w_w, law="gamma")
    normal = normal_slot_rates(theta, var, slot)
    return SlotRates(u_w=normal.u_w, w_w=normal.w_w, law="normal")
