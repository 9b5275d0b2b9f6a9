"""A supply that switches between two states: exact rates of a finite store.

The level rises at ``r_plus`` [W] for exponential times of mean 1 / q12 and falls at ``r_minus`` [W]
for mean 1 / q21. Textbook (two-state Markov-modulated fluid queue with a finite buffer).
docs/explanation/critical-regime.md, 3.5 (v).
"""

from __future__ import annotations

import math

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import finite_result, not_negative
from baseload.theory.two_sided import Rates, fluid_rates


def markov_fluid_drift(r_plus: float, r_minus: float, *, q12: float, q21: float) -> float:
    """Mean net rate theta [W] of the two states."""
    total = q12 + q21
    return (q21 * r_plus - q12 * r_minus) / total


def markov_fluid_variance(r_plus: float, r_minus: float, *, q12: float, q21: float) -> float:
    """Long-run variance rate [J^2/s]: 2 p1 p2 (r_plus + r_minus)^2 / (q12 + q21). Exact."""
    total = q12 + q21
    return 2 * q12 * q21 / total**2 * (r_plus + r_minus) ** 2 / total


def markov_fluid_rates(r_plus: float, r_minus: float, *, q12: float, q21: float, B: float) -> Rates:
    """Long-run rates of a store of ``B`` [J] that rises at ``r_plus`` [W], left at rate ``q12``
    [1/s], and falls at ``r_minus`` [W], left at rate ``q21``. Exact at every B >= 0 and drift.

    Raises ArgumentError for negative rates and where both switching rates are 0.
    """
    up, down = not_negative("r_plus", r_plus), not_negative("r_minus", r_minus)
    q12, q21 = not_negative("q12", q12), not_negative("q21", q21)
    B = not_negative("B", B, infinite=True)
    if q12 + q21 == 0:
        raise ArgumentError("q12", found="0 with q21 = 0", allowed="at least one rate above 0")
    theta = markov_fluid_drift(up, down, q12=q12, q21=q21)
    if math.isinf(B) or min(up, down, q12, q21) == 0:
        return fluid_rates(theta, B)
    if theta >= 0:
        small = _wrong_side(up, down, q12=q12, q21=q21, B=B)
    else:
        small = _wrong_side(down, up, q12=q21, q21=q12, B=B)
    finite_result("markov_fluid_rates", small, r_plus=up, r_minus=down, q12=q12, q21=q21, B=B)
    if theta >= 0:
        return Rates(u_w=small, w_w=small + theta)
    return Rates(u_w=small - theta, w_w=small)


def _wrong_side(up: float, down: float, *, q12: float, q21: float, B: float) -> float:
    """The auxiliary rate where the drift is not negative; the waste rate is it of the mirror."""
    z = q21 / down - q12 / up
    p_up = q21 / (q12 + q21)
    # rounding may leave z a hair below 0 at theta = 0
    fall = math.exp(-z * B) if z * B < 745 else 0.0
    mass = -math.expm1(-z * B) / z if abs(z) * B > 1e-14 else B
    return down * up * p_up * fall / (q21 * (mass + up / q12))
