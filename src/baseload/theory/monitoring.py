"""Has the site left its critical point? Charts of sums, and what two meters alone can tell.

Derived in docs/explanation/monitoring.md, 7.4 and 7.5. Textbook: Siegmund, *Sequential Analysis*
(run length of a chart of cumulated sums).
"""

from __future__ import annotations

import math

import msgspec
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import finite_result, not_negative, number, numbers, positive
from baseload.theory.numerics import brentq
from baseload.theory.regime import RegimeLabel, label_of
from baseload.theory.two_sided import auxiliary_variance_share

OVERSHOOT = 1.166
"""Twice 0.5826: what a discrete chart adds to its threshold (Siegmund)."""


def cusum_arl(*, mu: float, k: float, h: float, two_sided: bool = False) -> float:
    """Mean number of blocks until a chart max(0, S + z - k) of standardised blocks z ~ N(mu, 1)
    passes ``h``; with ``two_sided`` until it or its mirror image does.

    (e^(-2Db) + 2Db - 1) / (2D^2) with D = mu - k, b = h + 1.166; b^2 at D = 0. Asymptotic: about
    2 % against simulation for h from 4 on. Infinite where the length exceeds 1e300 blocks.
    docs/explanation/monitoring.md, 7.4.
    """
    shift, slack = number("mu", mu), not_negative("k", k)
    threshold = not_negative("h", h) + OVERSHOOT
    up = _one_sided_arl(shift - slack, threshold)
    if not two_sided:
        return up
    return 1 / (1 / up + 1 / _one_sided_arl(-shift - slack, threshold))


def _one_sided_arl(drift: float, b: float) -> float:
    """The run length for drift D and corrected threshold b; a series where D b is near 0."""
    x = 2 * drift * b
    if abs(x) < 0.02:
        return b * b * (1 - x / 3 + x * x / 12 - x**3 / 60 + x**4 / 360)
    if x < -700:
        return math.inf
    if x > 700:
        return b / drift - 0.5 / drift / drift
    return (math.expm1(-x) + x) / (2 * drift * drift)


def smallest_visible_drift(
    *, var: float, T: float, false_alarm: float = 0.05, power: float = 0.8
) -> float:
    """The drift [W] that a test at level ``false_alarm`` (two-sided) sees with probability
    ``power`` after ``T`` seconds: (z_{1-false_alarm/2} + z_power) sqrt(var / T).

    ``var`` is the variance rate [J^2/s]. Asymptotic (normal mean of many blocks).
    docs/explanation/monitoring.md, 7.4.
    """
    level = number("false_alarm", false_alarm, least=0, most=1, open_least=True, open_most=True)
    seen = number("power", power, least=0, most=1, open_least=True, open_most=True)
    quantiles = float(ndtri(1 - level / 2)) + float(ndtri(seen))
    return max(quantiles, 0.0) * math.sqrt(not_negative("var", var) / positive("T", T))


def regime_confidence(*, y: float, sd: float) -> float:
    """Probability that the label of ``y`` is right when the true index is normal around it with
    standard deviation ``sd``. Heuristic: a flat prior.
    """
    label, spread = label_of(y), not_negative("sd", sd, infinite=True)
    if math.isinf(y) or spread == 0:
        return 1.0
    bands: dict[RegimeLabel, tuple[tuple[float, float], ...]] = {
        "critical": ((-1.0, 1.0),),
        "near-critical": ((-3.0, -1.0), (1.0, 3.0)),
        "over-supplied": ((3.0, math.inf),),
        "under-supplied": ((-math.inf, -3.0),),
    }
    if math.isinf(spread):
        return 0.0 if label in ("critical", "near-critical") else 0.5
    return sum(
        float(ndtr((high - y) / spread)) - float(ndtr((low - y) / spread))
        for low, high in bands[label]
    )


class MeterReading(msgspec.Struct, frozen=True, kw_only=True):
    """What the meters of auxiliary use and waste say.

    ``y``: criticality index (infinite where one meter stood still, None where both did), with its
    interval (None: not known); ``sigma2`` [J^2/s] with its interval, None where y is not finite.
    ``says``: what the interval rests on.
    """

    y: float | None
    y_low: float | None
    y_high: float | None
    sigma2: float | None
    sigma2_low: float | None
    sigma2_high: float | None
    theta: float
    regime: RegimeLabel | None
    confidence_frac: float | None
    says: str


def meters_only(
    *, U: float, W: float, B: float, T: float, confidence: float = 0.95, var: float | None = None
) -> MeterReading:
    """Criticality index and variance rate from auxiliary energy ``U`` and waste ``W`` [J] metered
    over ``T`` seconds at a lossless storage of ``B`` joules.

    y = ln(W/U); sigma2 = B (u+w) tanh(y/2)/(y/2). Standard deviation of y: at the critical point
    2B/sqrt(sigma2 T), elsewhere from the variances of both meters. Asymptotic in T against the
    relaxation time B^2/sigma2. Relative standard deviation of sigma2 B/sqrt(3 sigma2 T), at the
    critical point only. One meter at 0: y infinite, one-sided bound, which needs ``var`` [J^2/s]
    from elsewhere (heuristic). docs/explanation/monitoring.md, 7.5.
    """
    used, lost = not_negative("U", U), not_negative("W", W)
    storage, time_s = positive("B", B), positive("T", T)
    level = number("confidence", confidence, least=0, most=1, open_least=True, open_most=True)
    known = None if var is None else positive("var", var)
    if used == 0 or lost == 0:
        return _silent_meter(used, lost, storage, time_s, level, known)
    y = math.log(lost) - math.log(used)
    sigma2 = storage * (used + lost) / time_s * _tanh_ratio(0.5 * y)
    finite_result("meters_only", 1 / sigma2 if sigma2 else math.inf, U=U, W=W, B=B, T=T)
    z = float(ndtri(0.5 + 0.5 * level))
    sd = math.sqrt(index_variance(y=y, var=sigma2, B=storage, T=time_s))
    factor = math.exp(min(z * storage / math.sqrt(3 * sigma2 * time_s), 700.0))
    return MeterReading(
        y=y,
        y_low=y - z * sd,
        y_high=y + z * sd,
        sigma2=sigma2,
        sigma2_low=sigma2 / factor,
        sigma2_high=sigma2 * factor,
        theta=(lost - used) / time_s,
        regime=label_of(y),
        confidence_frac=regime_confidence(y=y, sd=sd),
        says="both meters moved: normal interval for long windows",
    )


def _tanh_ratio(x: float) -> float:
    """tanh(x) / x."""
    return 1 - x * x / 3 + 2 * x**4 / 15 if abs(x) < 1e-3 else math.tanh(x) / x


def index_variance(*, y: float, var: float, B: float, T: float) -> float:
    """Variance of ln(W/U) after ``T`` seconds, by the delta method from Var U, Var W and their
    covariance: 4 B^2 / (var T) at y = 0. Asymptotic in T. docs/explanation/monitoring.md, 7.5.
    """
    index = number("y", y)
    store, spread_rate = positive("B", B), positive("var", var)
    size = abs(index)
    if size > 1400:
        raise ArithmeticError(f"index_variance leaves the range of floats at y={y}")
    # with the rarer meter r, the other o = r + theta T: U and W per sigma2 T have variances
    # v(y), v(-y) and covariance (v(y) + v(-y) - 1) / 2, since W - U is the net energy
    rare, other = auxiliary_variance_share(size), auxiliary_variance_share(-size)
    joint = 0.5 * (rare + other - 1)
    fall = size / math.expm1(size) if 0 < size < 700 else (1.0 if size == 0 else 0.0)
    if fall == 0 or rare == 0:
        return math.inf
    rise = fall + size
    spread = rare / fall / fall + other / rise**2 - 2 * joint / fall / rise
    return spread * (2 * store / spread_rate) * (2 * store / positive("T", T))


def _silent_meter(
    used: float, lost: float, storage: float, time_s: float, level: float, var: float | None
) -> MeterReading:
    """One meter, or both, at 0."""
    both = used == 0 and lost == 0
    sign = 1.0 if lost > 0 else -1.0
    bound = None
    if both:
        says = "neither meter moved: nothing is known of y"
    elif var is None:
        says = "one meter stood still: give var for a one-sided bound"
    else:
        bound = sign * _silent_bound(var * time_s / (storage * storage), 1 - level)
        says = "one meter stood still: one-sided bound by the chance of no use (heuristic)"
    return MeterReading(
        y=None if both else sign * math.inf,
        y_low=bound if sign > 0 else (None if both else -math.inf),
        y_high=(None if both else math.inf) if sign > 0 else bound,
        sigma2=None,
        sigma2_low=None,
        sigma2_high=None,
        theta=(lost - used) / time_s,
        regime=None,
        confidence_frac=None,
        says=says,
    )


def _silent_bound(turns: float, tail: float) -> float:
    """The y at which no use in the window has probability ``tail``, if the time to the first use
    from full storage is exponential with its mean 2 (B^2/sigma2) (e^y - 1 - y) / y^2.
    """
    need = math.log(0.5 * turns / -math.log(tail))

    def gap(y: float) -> float:
        return _log_mean_time(y) - need

    low = -1.0
    while gap(low) > 0:
        low *= 2
    high = 1.0
    while gap(high) < 0:
        high *= 2
    return float(brentq(gap, low, high, xtol=1e-12))


def _log_mean_time(y: float) -> float:
    """ln((e^y - 1 - y) / y^2)."""
    if abs(y) < 1e-2:
        return math.log(0.5 + y / 6 + y * y / 24 + y**3 / 120)
    if y > 30:
        return y - 2 * math.log(y) + math.log1p(-(1 + y) * math.exp(-y))
    return math.log((math.expm1(y) - y) / (y * y))


def meter_use(readings: ArrayLike, times_s: ArrayLike) -> tuple[float, float]:
    """Energy [J] and seconds between the first and the last of a counter's ``readings``.

    Raises ArgumentError that names the place for a reading that is negative or falls, or a time
    that does not rise.
    """
    times = numbers("times_s", times_s, shape=(-1,))
    counts = numbers("readings", readings, least=0.0, shape=times.shape)
    if times.size < 2:
        raise ArgumentError("readings", found=f"{times.size}", allowed="two or more")
    for at in range(1, times.size):
        if times[at] <= times[at - 1]:
            raise ArgumentError(
                f"times_s[{at}]", found=f"{times[at]:g} after {times[at - 1]:g}", allowed="rising"
            )
        if counts[at] < counts[at - 1]:
            raise ArgumentError(
                f"readings[{at}]",
                found=f"{counts[at]:g} after {counts[at - 1]:g}",
                allowed="a counter that does not fall",
                todo="split the window where the meter was reset",
            )
    return float(counts[-1] - counts[0]), float(times[-1] - times[0])


BIAS_WINDOWS = (0.1, 0.5, 1.0, 2.0, 10.0)
"""Horizon over estimation window, for a table of ``bias_inflation``."""


def bias_inflation(*, T: float, T0: float) -> float:
    """E[U_T] when the supply was set from a window of ``T0`` seconds, over E[U_T] at the true
    critical supply: (sqrt(1+s^2) + asinh(s)/s)/2, s^2 = T/T0.

    The error of the mean demand is normal with variance sigma2/T0; averaged over it, sqrt(T)
    growth turns linear for T above T0. Exact for Brownian net energy, infinite storage that starts
    empty. docs/explanation/monitoring.md, 7.5.
    """
    ratio = not_negative("T", T) / positive("T0", T0)
    s = math.sqrt(finite_result("bias_inflation", ratio, T=T, T0=T0))
    tail = 1 - s * s / 6 if s < 1e-4 else math.asinh(s) / s
    return 0.5 * (math.sqrt(1 + s * s) + tail)
