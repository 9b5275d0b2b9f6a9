"""How long a store carries the site: time to the first auxiliary joule, and its distribution.

Net energy is a Brownian motion with drift ``theta`` [W] and variance rate ``var`` [J^2/s]; the
level starts at ``S0`` [J], is reflected at ``B`` [J], and auxiliary energy is first used when it
reaches 0. Derived in docs/explanation/provisioning.md, 3.6. With settlement slots pass
``start_with_slots``: the walk overshoots both ends by 0.5826 standard deviations of a slot.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import hyp1f1

from baseload.theory.inputs import (
    Floats,
    finite_result,
    not_negative,
    number,
    start_level,
    storage,
)
from baseload.theory.normal import BETA_0, cdf, log_cdf, mills_ratio, pdf
from baseload.theory.numerics import brentq

_OVERFLOW_Y = 700.0
_CLEAR = 0.4  # least distance of the contour from a pole, in units of sigma / sqrt(T)
_REACH = 8.8  # exp(-_REACH**2 / 2) is round-off
_WIDEST = 4.0
_ALMOST_0 = 1e-8
_COINCIDE = 1e-280
_LOG_FOREVER = 650.0
_DIGITS = 38.0  # exp(-_DIGITS) is round-off


def start_with_slots(*, S0: float, B: float, sd: float) -> tuple[float, float]:
    """Level and capacity [J] that make the formulas of this module hold for slotted settlement.

    ``sd`` is the standard deviation of one slot's net energy [J]; the start moves up by 0.5826 sd,
    the capacity by twice that. Asymptotic for B >> sd (Siegmund's correction;
    docs/explanation/provisioning.md, 3.6).
    """
    level = start_level(S0, B)
    step = BETA_0 * not_negative("sd", sd)
    return level + step, not_negative("B", B, infinite=True) + 2 * step


def mean_ride_through(*, S0: float, theta: float, var: float, B: float = math.inf) -> float:
    """Mean time [s] until auxiliary energy is first used.

    0 from an empty store; infinite where theta >= 0 and B or 2 theta B / var (above 700) is too
    large for the store ever to run dry: use ``log_mean_ride_through`` there. Exact for the
    diffusion (docs/explanation/provisioning.md, 3.6). Raises ArgumentError.
    """
    level, net, spread = _start(S0, theta, var, B)
    if spread == 0 or math.isinf(B):
        if net < 0:
            return level / -net
        return 0.0 if level == 0 and spread > 0 else math.inf
    if level == 0:
        return 0.0
    y = 2 * net * B / spread
    if y > _OVERFLOW_Y:
        return math.inf
    return finite_result(
        "mean_ride_through",
        2 / spread * _unit_time(level, B, y),
        S0=S0,
        theta=theta,
        var=var,
        B=B,
    )


def log_mean_ride_through(*, S0: float, theta: float, var: float, B: float) -> float:
    """Natural logarithm of ``mean_ride_through`` [log s], also where that overflows.

    -inf from an empty store. Exact for the diffusion. Raises ArgumentError.
    """
    level, net, spread = _start(S0, theta, var, B)
    if level > 0 and spread > 0 and math.isfinite(B) and 2 * net * B / spread > _OVERFLOW_Y:
        alpha = 2 * net / spread
        return alpha * B + math.log(-math.expm1(-alpha * level)) - math.log(alpha * net)
    mean = mean_ride_through(S0=S0, theta=theta, var=var, B=B)
    return math.log(mean) if mean > 0 else -math.inf


def _unit_time(x: float, B: float, y: float) -> float:
    """int_0^x int_v^B exp(alpha (z - v)) dz dv with alpha = y / B [J^2]."""
    share = x / B
    a = y * share
    if abs(y) < 1:  # no cancellation: the 1F1 are series around 1 and 1/2
        rise, fall = float(hyp1f1(1, 2, y)), float(hyp1f1(1, 2, -a))
        return B * B * share * (rise * fall - share * float(hyp1f1(1, 3, -a)) / 2)
    if y > 0:
        return (math.exp(y) * -math.expm1(-a) - a) * (B / y) ** 2
    return (-a - (math.exp(y - a) - math.exp(y))) * (B / y) ** 2


def p_any_aux(*, S0: float, theta: float, var: float, T: float, B: float = math.inf) -> float:
    """Probability that auxiliary energy is used within ``T`` [s]; ``B`` may be infinite.

    See ``p_any_aux_infinite_store`` and ``p_any_aux_finite_store``.
    """
    if math.isinf(not_negative("B", B, infinite=True)):
        return p_any_aux_infinite_store(S0=S0, theta=theta, var=var, T=T)
    return p_any_aux_finite_store(S0=S0, theta=theta, var=var, B=B, T=T)


def p_any_aux_infinite_store(*, S0: float, theta: float, var: float, T: float) -> float:
    """Probability that auxiliary energy is used within ``T`` [s] when nothing is ever wasted.

    1 from an empty store. A lower bound for every finite store. Exact for the diffusion
    (first-passage law of Brownian motion, inverse Gaussian; docs/explanation/provisioning.md, 3.6).
    Raises ArgumentError.
    """
    level, net, spread = _start(S0, theta, var, math.inf)
    horizon = not_negative("T", T)
    if (known := _without_chance(level, net, spread, horizon)) is not None:
        return known
    s = math.sqrt(spread) * math.sqrt(horizon)
    ahead, behind = (level + net * horizon) / s, (level - net * horizon) / s
    if behind > 0:
        image = pdf(ahead) * mills_ratio(behind)
    else:
        image = math.exp(-2 * net * level / spread + log_cdf(-behind))
    return min(cdf(-ahead) + image, 1.0)


def p_any_aux_finite_store(*, S0: float, theta: float, var: float, B: float, T: float) -> float:
    """Probability that auxiliary energy is used within ``T`` [s] with a store of ``B`` [J].

    1 from an empty store. Exact for the diffusion: numerical inversion of the Laplace transform of
    the time to empty, on a vertical line in w = sqrt(theta^2 + 2 q var), where the integrand falls
    like a Gaussian and the trapezoidal rule converges to round-off for any T and drift
    (docs/explanation/provisioning.md, 3.6). Raises ArgumentError.
    """
    level, net, spread = _start(S0, theta, var, B)
    capacity, horizon = storage(B), not_negative("T", T)
    if math.isinf(capacity):
        return p_any_aux_infinite_store(S0=S0, theta=theta, var=var, T=T)
    if (known := _without_chance(level, net, spread, horizon)) is not None:
        return known
    least = p_any_aux_infinite_store(S0=level, theta=net, var=spread, T=horizon)
    s = math.sqrt(spread) * math.sqrt(horizon)
    found = _inverted(level / s, net * (horizon / s), capacity / s)
    found = finite_result("p_any_aux_finite_store", found, S0=S0, theta=theta, var=var, B=B, T=T)
    return min(max(found, least), 1.0)


def _start(S0: float, theta: float, var: float, B: float) -> tuple[float, float, float]:
    """Checked start, drift and variance rate."""
    return start_level(S0, B), number("theta", theta), not_negative("var", var)


def _without_chance(level: float, theta: float, var: float, T: float) -> float | None:
    """The probability where no integral is needed: no noise, an empty store, no time."""
    if var == 0:
        return float(theta < 0 and level <= -theta * T)
    if level == 0:
        return 1.0
    return 0.0 if T == 0 else None


def _inverted(x: float, theta: float, B: float) -> float:
    """P(level reaches 0 by time 1) for unit variance: start ``x``, drift, capacity ``B``.

    With w = sqrt(theta^2 + 2 q) the inverse transform is the integral over Re w = c of
    exp((w - x)^2 / 2 - (x + theta)^2 / 2) L(w) 2 w / (w^2 - theta^2), divided by 2 pi i. Poles
    right of the line are added: w = |theta| (q = 0, residue 1) and, for theta B > 1, the slowest
    decay of the survival probability, at a real w just left of it.
    """
    drift = abs(theta)
    gap = _slowest(theta, B)
    slow = drift - gap
    line = _line(x, [drift] if gap <= 0 else [drift, slow])
    room = min([_WIDEST, line, abs(line - drift)] + ([abs(line - slow)] if gap > 0 else []))
    step = 2 * math.pi * room / (_DIGITS + room * room / 2 + 2.5 * room)
    w = line + 1j * step * np.arange(math.ceil(_REACH / step) + 1)
    with np.errstate(over="ignore", invalid="ignore"):
        # (w - theta) + (w + theta) exp(-2 w d), for the distances to B and of the whole store
        top = w * (1 + np.exp(-2 * w * (B - x))) + theta * np.expm1(-2 * w * (B - x))
        whole = w * (1 + np.exp(-2 * w * B)) + theta * np.expm1(-2 * w * B)
        size = np.exp(((w - x) ** 2 - (x + theta) * (x + theta)) / 2)
        values = (size * top / whole * 2 * w / (w * w - theta * theta)).real
    total = float(values.sum() - values[0] / 2) * step / math.pi
    if line < drift:
        total += 1 + (_slow_residue(x, theta, B, gap) if line < slow and gap > 0 else 0.0)
        if gap == 0 and theta * B > 1:  # both poles to round-off at the same place: they cancel
            total -= 1
    return total


def _line(x: float, poles: list[float]) -> float:
    """Where the contour crosses the real axis: near the saddle ``x``, away from 0 and poles."""
    places = [max(x, 0.0) + shift for shift in (0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, 2.5)]

    def clear(place: float) -> float:
        return min([place, *(abs(place - pole) for pole in poles)])

    return next((place for place in places if clear(place) >= _CLEAR), max(places, key=clear))


def _slowest(theta: float, B: float) -> float:
    """theta - w at the real root w in (0, theta) of tanh(w B) = w / theta; -1 where there is
    none, 0 where it is too small to tell the two poles apart.
    """
    if theta * B <= 1:
        return -1.0
    target = 1 / (theta * B)
    if math.tanh(_ALMOST_0) / _ALMOST_0 <= target:
        return theta
    t = brentq(lambda t: math.tanh(t) / t - target, _ALMOST_0, 1 / target, xtol=1e-300, rtol=1e-15)
    far = math.exp(-2 * t)
    if far < _COINCIDE:
        return 0.0
    return 2 * theta * far / (1 + far)


def _slow_residue(x: float, theta: float, B: float, gap: float) -> float:
    """Residue at w = theta - gap: minus the survival probability of its exponential phase."""
    w = theta - gap
    far = math.exp(-2 * w * B)
    top = -gap + (2 * theta - gap) * math.exp(-2 * w * (B - x))
    slope = 1 + far * (1 - 2 * B * (2 * theta - gap))
    rate = gap * (2 * theta - gap)  # theta^2 - w^2, without cancellation
    size = math.exp(-rate / 2 - (2 * theta - gap) * x)
    return -size * top / slope * 2 * w / rate


def p_no_aux_stationary_zero_drift(*, var: float, B: float, T: float) -> float:
    """Probability that a store found at a random time needs no auxiliary energy within ``T`` [s].

    For theta = 0, where the level is uniform on [0, B]. Exact for the diffusion: a Fourier series,
    and for sigma sqrt(T) < B / 10 its other end, 1 - sqrt(2 / pi) sigma sqrt(T) / B, which is then
    exact to round-off (docs/explanation/provisioning.md, 3.6). Raises ArgumentError.
    """
    spread = not_negative("var", var)
    capacity, horizon = not_negative("B", B, infinite=True), not_negative("T", T)
    if spread == 0 or horizon == 0 or math.isinf(capacity):
        return 1.0
    if capacity == 0:
        return 0.0
    ratio = math.sqrt(spread) * math.sqrt(horizon) / capacity
    if ratio < 0.1:
        return 1 - math.sqrt(2 / math.pi) * ratio
    if ratio > 50:
        return 0.0
    rates: Floats = ((2.0 * np.arange(40.0) + 1.0) * math.pi) ** 2
    return float((8 / rates * np.exp(-rates * (ratio * ratio / 8))).sum())


def autonomy_time(
    *, S0: float, theta: float, var: float, risk: float, B: float = math.inf
) -> float:
    """Longest time [s] that the store carries the site with probability at least 1 - ``risk``.

    ``risk`` in (0, 1) is the probability of any auxiliary use. 0 from an empty store; infinite
    where the risk is never reached. Exact for the diffusion, by bisection in T
    (docs/explanation/provisioning.md, 3.6). Raises ArgumentError.
    """
    level, net, spread = _start(S0, theta, var, B)
    target = number("risk", risk, least=0.0, most=1.0, open_least=True, open_most=True)
    if spread == 0 or level == 0:
        return mean_ride_through(S0=level, theta=net, var=spread, B=B)

    def excess(log_time: float) -> float:
        time = math.exp(log_time)
        return p_any_aux(S0=level, theta=net, var=spread, B=B, T=time) - target

    low = high = math.log(level) + math.log(level) - math.log(spread)
    while excess(low) > 0:
        low -= 2
    while excess(high) < 0:
        high += 2
        if high > _LOG_FOREVER:
            return math.inf
    return math.exp(float(brentq(excess, low, high, xtol=1e-12)))
