"""A store of finite capacity under Brownian net energy: rates, level, transient, error bars.

Net energy has drift ``theta`` [W] and variance rate ``var`` [J^2/s]; the level stays in [0, B] [J].
y = 2 theta B / var is the criticality index. All of it is exact for Brownian motion (Harrison,
*Brownian Motion and Stochastic Flow Systems*; Williams 1992 for the variances of the regulators);
how far Brownian motion is from requests is said by ``baseload.theory.ladder``.
docs/explanation/critical-regime.md, 3.4.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import Floats, finite_result, not_negative, number, numbers, positive
from baseload.theory.laplace import Complexes, talbot
from baseload.theory.one_sided import expected_aux_one_sided

_SMALL_Y = 1e-4


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Long-run rates: auxiliary ``u_w`` [W] and waste ``w_w`` [W], with w - u = theta."""

    u_w: float
    w_w: float


class RateErrors(msgspec.Struct, frozen=True, kw_only=True):
    """Long-run variance rates of auxiliary and waste energy [J^2/s], their covariance rate, and,
    for a run of ``T`` seconds, the standard errors of the rates measured in it [W].
    """

    var_u: float
    var_w: float
    cov_uw: float
    u_error_w: float
    w_error_w: float


def criticality_index(theta: float, var: float, B: float) -> float:
    """y = 2 theta B / var; +-inf for ``var`` = 0 (0 at theta = 0) and for an infinite store."""
    theta, var = number("theta", theta), not_negative("var", var)
    B = not_negative("B", B, infinite=True)
    if theta == 0 or B == 0:
        return 0.0
    if var == 0 or math.isinf(B):
        return math.copysign(math.inf, theta)
    return 2 * theta / var * B


def fluid_rates(theta: float, B: float) -> Rates:
    """First order: u = (-theta)+ and w = theta+, but w = 0 in an infinite store, which keeps it."""
    theta, B = number("theta", theta), not_negative("B", B, infinite=True)
    wasted = max(theta, 0.0) if math.isfinite(B) else 0.0
    return Rates(u_w=max(0.0, -theta), w_w=wasted)


def rates_from_ratio(theta: float, log_z: float) -> Rates:
    """The rates with w - u = ``theta`` (not 0) and ln(u / w) = ``log_z`` (of the other sign).

    The smaller rate is computed without cancellation and the larger is it plus abs(theta).
    """
    assert (theta > 0) == (log_z < 0) or math.isinf(log_z), (theta, log_z)
    gap = abs(theta)
    fall = abs(log_z)
    small = gap * math.exp(-fall) / -math.expm1(-fall) if fall < 745 else 0.0
    if theta > 0:
        return Rates(u_w=small, w_w=small + gap)
    return Rates(u_w=small + gap, w_w=small)


def two_sided_rates(theta: float, var: float, B: float) -> Rates:
    """Long-run auxiliary and waste rates of a store of capacity ``B`` [J]: u = var / (2 B) g(y),
    w = u + theta, where g(y) = y / expm1(y).

    ``B`` may be infinite (fluid rates, nothing wasted) and ``var`` 0 (fluid). ``B`` = 0 with noise
    raises ArgumentError: what is settled when must be said (``baseload.theory.slots``).
    """
    theta, var = number("theta", theta), not_negative("var", var)
    B = not_negative("B", B, infinite=True)
    if math.isinf(B) or var == 0:
        return fluid_rates(theta, B)
    if B == 0:
        raise ArgumentError(
            "B",
            found="0",
            allowed="a capacity above 0; noise without a store has no finite rate",
            todo="give the length of a settlement slot: slotted_two_sided_u",
        )
    y = criticality_index(theta, var, B)
    if abs(y) >= _SMALL_Y:
        return rates_from_ratio(theta, -y)
    middle = var / (2 * B) * (1 + y * y / 12)
    finite_result("two_sided_rates", middle, theta=theta, var=var, B=B)
    return Rates(u_w=middle - theta / 2, w_w=middle + theta / 2)


def level_density(levels_j: ArrayLike, *, theta: float, var: float, B: float) -> Floats:
    """Stationary density [1/J] of the level at ``levels_j`` in [0, B], shape of ``levels_j``.

    Exponential with exponent 2 theta / var, uniform at theta = 0. ``var`` and ``B`` above 0.
    """
    theta, var, B = number("theta", theta), positive("var", var), positive("B", B)
    levels = numbers("levels_j", levels_j, least=0.0)
    if np.any(levels > B):
        raise ArgumentError("levels_j", found=f"{levels.max():g}", allowed=f"0 to B = {B:g}")
    y = criticality_index(theta, var, B)
    if abs(y) < 1e-8:
        return (1 + y * (levels / B - 0.5)) / B
    depth = (B - levels) / B if y > 0 else levels / B
    with np.errstate(under="ignore"):
        density: Floats = abs(y) / B * np.exp(-abs(y) * depth) / -math.expm1(-abs(y))
    return density


def mean_level(theta: float, var: float, B: float) -> float:
    """Stationary mean level [J]: B (1 / (1 - exp(-y)) - 1 / y).

    Infinite store: var / (2 abs(theta)) for theta < 0, else infinite. Without noise: B, B / 2 (by
    continuity) or 0 as theta is positive, 0 or negative.
    """
    theta, var = number("theta", theta), not_negative("var", var)
    B = not_negative("B", B, infinite=True)
    if math.isinf(B):
        return var / (2 * -theta) if theta < 0 else math.inf
    y = criticality_index(theta, var, B)
    if abs(y) < 0.03:
        return B * (0.5 + y / 12 - y**3 / 720 + y**5 / 30240)
    return B * (1 - _low_share(y) if y > 0 else _low_share(-y))


def _low_share(size: float) -> float:
    """Mean level as a share of the store at y = -``size``: 1 / size - 1 / expm1(size)."""
    return 1 / size - (math.exp(-size) / -math.expm1(-size) if size < 745 else 0.0)


def relaxation_rate(theta: float, var: float, B: float) -> float:
    """Rate [1/s] at which the start is forgotten: pi^2 var / (2 B^2) + theta^2 / (2 var)."""
    theta, var, B = number("theta", theta), positive("var", var), positive("B", B, infinite=True)
    return math.pi**2 * var / (2 * B * B) + theta**2 / (2 * var)


def level_within(S0: float, B: float) -> float:
    """``S0`` as a level in [0, B]; outside by more than 1e-9 B it raises ArgumentError."""
    level = number("S0", S0)
    room = 1e-9 * B if math.isfinite(B) else 0.0
    if level < -room or level > B + room:
        raise ArgumentError("S0", found=f"{level:g}", allowed=f"0 to B = {B:g}")
    return min(max(level, 0.0), B)


def expected_aux_finite_B(theta: float, var: float, *, B: float, T: float, S0: float) -> float:
    """E[auxiliary energy] [J] over ``T`` seconds of a store of ``B`` [J] that starts at ``S0`` [J].

    Exact for Brownian net energy at every horizon: the transform over time solves
    var/2 h'' + theta h' = q h with h'(0) = -1 and h'(B) = 0; Talbot inversion, relative error below
    1e-8. An infinite ``B`` gives the one-sided formula; ``T`` = 0 gives 0.
    """
    theta, var = number("theta", theta), not_negative("var", var)
    B, T = not_negative("B", B, infinite=True), not_negative("T", T)
    level = level_within(S0, B)
    if T == 0:
        return 0.0
    if math.isinf(B):
        return expected_aux_one_sided(theta, var, T=T, S0=level)
    if var == 0:
        return max(0.0, -theta * T - level)
    if B == 0:
        raise ArgumentError("B", found="0", allowed="a capacity above 0")
    reach = (2 * B - level - abs(theta) * T) / math.sqrt(var * T)
    steep = abs(criticality_index(theta, var, B)) > 1e8
    if reach > 9 or steep:  # the upper end is out of reach, or changes nothing
        return expected_aux_one_sided(theta, var, T=T, S0=level)
    value = _transient(theta, var, B=B, T=T, level=level)
    return max(finite_result("expected_aux_finite_B", value, theta=theta, var=var, B=B, T=T), 0.0)


def _transient(theta: float, var: float, *, B: float, T: float, level: float) -> float:
    """Inverse transform of h / q at ``T``."""

    def transform(q: Complexes) -> Complexes:
        root = np.sqrt(theta * theta + 2 * q * var)
        if theta >= 0:
            low = -(theta + root) / var
            high = 2 * q / (theta + root)
        else:
            high = (root - theta) / var
            low = -2 * q / (root - theta)
        with np.errstate(under="ignore"):
            near = -np.exp(low * level) / low
            far = np.exp(low * B - high * (B - level)) / high
            return (near + far) / -np.expm1((low - high) * B) / q

    return talbot(transform, T)


def expected_aux_settled(theta: float, var: float, *, B: float, T: float, S0: float) -> float:
    """``expected_aux_finite_B`` for T far beyond the relaxation time: u T + M - f(S0) [J].

    f(S) is what a start at level S saves against a start at 0, M its stationary mean; the error
    falls as exp(-relaxation_rate T). ``var`` above 0, ``B`` finite and above 0.
    """
    theta, var, B = number("theta", theta), positive("var", var), positive("B", B)
    T, level = not_negative("T", T), level_within(S0, B)
    u = two_sided_rates(theta, var, B).u_w
    return u * T + saved_by_start_mean(theta, var, B) - saved_by_start(theta, var, B=B, S0=level)


def saved_by_start(theta: float, var: float, *, B: float, S0: float) -> float:
    """f(S0) [J]: auxiliary energy that a start at ``S0`` saves, in the long run, against 0."""
    theta, var, B = number("theta", theta), positive("var", var), positive("B", B)
    level = level_within(S0, B)
    y = criticality_index(theta, var, B)
    x = level / B
    if abs(y) < 1e-5:
        return B * (x - x * x / 2 + y * (x**3 / 6 - x * x / 4))
    if y > 0:
        q = math.exp(-y) if y < 745 else 0.0
        return B * (-math.expm1(-y * x) / y - x * q) / -math.expm1(-y)
    rise = math.exp(y * (1 - x)) * math.expm1(y * x) / y  # e^y (1 - e^{-yx}) / y
    return B * (rise - x) / math.expm1(y)


def saved_by_start_mean(theta: float, var: float, B: float) -> float:
    """M [J]: stationary mean of ``saved_by_start``; B / 3 at theta = 0."""
    theta, var, B = number("theta", theta), positive("var", var), positive("B", B)
    y = criticality_index(theta, var, B)
    if abs(y) < 1e-2:  # even in y
        return B / 3 * (1 - y * y / 30)
    level = mean_level(theta, var, B)
    if y > 0:
        q = math.exp(-y) if y < 745 else 0.0
        share = -math.expm1(-y)
        return (B / y * (1 - y * q / share) - level * q) / share
    e = math.exp(y) if y > -745 else 0.0
    return (B / y * (e - y * e / math.expm1(y)) - level) / math.expm1(y)


def rate_errors(theta: float, var: float, *, B: float, T: float) -> RateErrors:
    """Variance rates of auxiliary and waste energy and the standard errors after ``T`` seconds.

    var_u = var exp(-y/2) (sinh y - y) / (4 sinh(y/2)^3), var_w the same at -y, and
    Var(W - U) = var T gives the covariance. For measured rates over T far beyond the relaxation
    time.
    """
    theta, var, B = number("theta", theta), not_negative("var", var), positive("B", B)
    T = positive("T", T)
    y = criticality_index(theta, var, B)
    if var == 0:
        return RateErrors(var_u=0.0, var_w=0.0, cov_uw=0.0, u_error_w=0.0, w_error_w=0.0)
    var_u, var_w = var * auxiliary_variance_share(y), var * auxiliary_variance_share(-y)
    return RateErrors(
        var_u=var_u,
        var_w=var_w,
        cov_uw=(var_u + var_w - var) / 2,
        u_error_w=math.sqrt(var_u / T),
        w_error_w=math.sqrt(var_w / T),
    )


def auxiliary_variance_share(y: float) -> float:
    """Var(U_T) / (var T) for large T: exp(-y/2) (sinh y - y) / (4 sinh(y/2)^3). 1/3 at 0, 1 far
    below, 0 far above; of waste at -y.
    """
    size = abs(y)
    if size < 0.1:
        top = 1 + y**2 / 20 + y**4 / 840 + y**6 / 60480
        half = 1 + y**2 / 24 + y**4 / 1920 + y**6 / 322560
        return math.exp(-y / 2) / 3 * top / half**3
    if y > 740:
        return 0.0
    q = math.exp(-size) if size < 745 else 0.0
    share = (1 - q * q - 2 * size * q) / (1 - q) ** 3
    return share * (q if y > 0 else 1.0)
