"""Mean and long-run variance of a measured series: weighted recent mean, Newey-West, batch means.

Derived in docs/explanation/monitoring.md, 7.1-7.3. Textbook: Newey and West 1987; Andrews 1991
(plug-in lag); Law and Kelton, *Simulation Modeling and Analysis* (batch means).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtri, stdtrit

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import Floats, finite_result, number, numbers, positive, whole


class Ewma(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and variance with weights that fade, unbiased for independent samples.

    Fields are sums over the samples so far: ``weight`` of w, ``weight2`` of w^2, ``pairs`` of
    w_i w_j over pairs, the ``centre`` (mean) and ``spread`` of w (x - mean)^2. ``missing`` counts
    samples that were None or NaN; they change nothing else.
    """

    weight: float = 0.0
    weight2: float = 0.0
    pairs: float = 0.0
    centre: float = 0.0
    spread: float = 0.0
    samples: int = 0
    missing: int = 0
    time_s: float | None = None

    def updated(self, value: float | None, *, decay: float) -> Ewma:
        """The state after ``value``, all earlier weights times ``decay`` in [0, 1] (1 - alpha).

        None and NaN count as missing; infinity raises ArgumentError.
        """
        kept = number("decay", decay, least=0.0, most=1.0)
        if value is None or math.isnan(value):
            return msgspec.structs.replace(self, missing=self.missing + 1)
        x = number("value", value)
        weight = kept * self.weight + 1
        off = x - self.centre
        centre = self.centre + off / weight
        return Ewma(
            weight=weight,
            weight2=kept * kept * self.weight2 + 1,
            pairs=kept * kept * self.pairs + kept * self.weight,
            centre=centre,
            spread=kept * self.spread + off * off * (kept * self.weight / weight),
            samples=self.samples + 1,
            missing=self.missing,
            time_s=self.time_s,
        )

    def updated_at(self, value: float | None, *, time_s: float, tau_s: float) -> Ewma:
        """The state after ``value`` at ``time_s``: weights fade as exp(-time / tau_s). Time that
        goes back raises ArgumentError. A missing value leaves weights and time where they are.
        """
        now, tau = number("time_s", time_s), positive("tau_s", tau_s)
        if self.time_s is not None and now < self.time_s:
            raise ArgumentError(
                "time_s",
                found=f"{now:g} after {self.time_s:g}",
                allowed="times that do not go back",
            )
        gap = 0.0 if self.time_s is None else now - self.time_s
        after = self.updated(value, decay=math.exp(-gap / tau))
        if after.samples == self.samples:
            return after
        return msgspec.structs.replace(after, time_s=now)

    @property
    def mean(self) -> float | None:
        """Weighted mean; None before the first sample."""
        return self.centre if self.samples else None

    @property
    def var(self) -> float | None:
        """Unbiased variance of a sample; None while fewer than two samples have weight."""
        if self.pairs <= 0:
            return None
        return self.spread * self.weight / (2 * self.pairs)

    @property
    def n_eff(self) -> float:
        """How many equal weights would know as much: (sum w)^2 / sum w^2, at most (2-a)/a."""
        return self.weight**2 / self.weight2 if self.samples else 0.0


def ewma_moments(
    *,
    x: ArrayLike,
    alpha: float | None = None,
    times: ArrayLike | None = None,
    tau: float | None = None,
) -> dict[str, float | None]:
    """``mean``, ``var`` (None below two samples) and ``n_eff`` of the series ``x`` with weights
    (1 - alpha)^age, or exp(-age / tau) when ``times`` and ``tau`` [s] are given instead.

    ``alpha`` in (0, 1]. Unbiased for independent samples. docs/explanation/monitoring.md, 7.1.
    """
    series = numbers("x", x, shape=(-1,))
    if series.size == 0:
        raise ArgumentError("x", found="no samples", allowed="at least one")
    state = Ewma()
    if times is None and tau is None and alpha is not None:
        decay = 1 - number("alpha", alpha, least=0.0, most=1.0, open_least=True)
        for value in series:
            state = state.updated(float(value), decay=decay)
    elif times is not None and tau is not None and alpha is None:
        at = numbers("times", times, shape=series.shape)
        for value, time_s in zip(series, at, strict=True):
            state = state.updated_at(float(value), time_s=float(time_s), tau_s=tau)
    else:
        raise ArgumentError(
            "alpha", found="not one rule for the weights", allowed="alpha, or times with tau"
        )
    return {"mean": state.mean, "var": state.var, "n_eff": state.n_eff}


def autocorrelation(x: ArrayLike) -> float:
    """Lag-1 autocorrelation of a series; 0 for a constant one or a single sample."""
    series = numbers("x", x, shape=(-1,))
    if series.size < 2:
        return 0.0
    off = _centred(series)
    total = float(off @ off)
    return float(off[1:] @ off[:-1]) / total if total > 0 else 0.0


def _centred(series: Floats) -> Floats:
    """Deviations from the mean; exactly 0 for a constant series."""
    shifted = series - series[0]
    deviations: Floats = shifted - shifted.mean()
    return deviations


def newey_west_lag(*, n: float, autocorrelation: float) -> int:
    """The lag ceil(1.1447 (a1 n)^(1/3)), a1 = 4 f^2 / ((1-f)^2 (1+f)^2), with the lag-1
    autocorrelation f clipped to [-0.97, 0.97]: the plug-in for an AR(1) series, below n.
    """
    count = whole("n", n, least=1)
    f = min(max(number("autocorrelation", autocorrelation, least=-1.0, most=1.0), -0.97), 0.97)
    a1: float = 4 * f * f / ((1 - f) * (1 + f)) ** 2
    return min(math.ceil(1.1447 * math.cbrt(a1 * count)), count - 1)


def newey_west(*, x: ArrayLike, lag: float | None = None, slot: float = 1.0) -> float:
    """Long-run variance of the series ``x``, per ``slot`` seconds: gamma_0 + 2 sum_h
    (1 - h/(lag+1)) gamma_h with divisor n, over the slot length.

    ``lag`` None takes ``newey_west_lag``. Relative standard deviation about
    sqrt(4 (lag+1) / (3 n)); biased low for strong correlation (-8 % at f = 0.7 and 4,096 samples).
    docs/explanation/monitoring.md, 7.2.
    """
    series = numbers("x", x, shape=(-1,))
    if series.size == 0:
        raise ArgumentError("x", found="no samples", allowed="at least one")
    length = positive("slot", slot)
    n = series.size
    if lag is None:
        reach = newey_west_lag(n=n, autocorrelation=autocorrelation(series))
        weight_of = reach
    else:
        weight_of = whole("lag", lag)
        reach = min(weight_of, n - 1)
    off = _centred(series)
    total = float(off @ off)
    for h in range(1, reach + 1):
        total += 2 * (1 - h / (weight_of + 1)) * float(off[h:] @ off[:-h])
    # a Bartlett sum is never negative; rounding may be
    return finite_result("newey_west", max(total / n / length, 0.0), n=n, lag=reach)


def variance_about_season(*, x: ArrayLike, window: int = 31, slot: float = 1.0) -> float:
    """Long-run variance of ``x``, per ``slot`` seconds, about a season: a centred running mean of
    ``window`` samples (an odd number), the series starting over after its end.

    ``newey_west`` of what remains, over what taking out the running mean leaves of independent
    samples, 1 - 1/window. Heuristic: what is slower than the window counts as season and adds
    nothing. Raises ArgumentError for less than two windows. docs/explanation/monitoring.md, 7.2.
    """
    series = numbers("x", x, shape=(-1,))
    width = whole("window", window, least=3)
    if width % 2 == 0:
        raise ArgumentError("window", found=str(width), allowed="an odd number")
    if series.size < 2 * width:
        raise ArgumentError(
            "x", found=f"{series.size} samples", allowed=f"two windows: {2 * width} or more"
        )
    half = width // 2
    around = np.concatenate([series[-half:], series, series[:half]])
    season = np.convolve(around, np.full(width, 1.0 / width), mode="valid")
    return newey_west(x=series - season, slot=slot) / (1.0 - 1.0 / width)


class MeanAndVariance(msgspec.Struct, frozen=True, kw_only=True):
    """Drift and variance rate of a series of energies by batch means.

    ``theta`` [W] with its interval, ``sigma2`` [J^2/s] with its own (None below two batches), from
    ``batches`` of ``batch_slots`` slots over ``time_s``. ``correlation_slots``: (1+f)/(1-f) of the
    slots. ``enough``: at least 20 batches, each of 10 correlation times; ``says`` why not.
    """

    theta: float | None
    theta_low: float | None
    theta_high: float | None
    sigma2: float | None
    sigma2_low: float | None
    sigma2_high: float | None
    batches: int
    batch_slots: int
    correlation_slots: float | None
    time_s: float
    enough: bool
    says: str


LEAST_BATCHES = 20
LEAST_CORRELATION_TIMES = 10


class BatchMeans:
    """Drift and variance rate of a series in constant memory.

    Keeps at most 2 ``batches`` sums: when they are full, neighbours are added up and batches are
    twice as long from then on. Feed it with ``update``, read it with ``estimate``.
    docs/explanation/monitoring.md, 7.3.
    """

    __slots__ = (
        "_count", "_energy", "_energy_j", "_first", "_last", "_length", "_most", "_rates",
        "_rates2", "_rates_next", "_slots", "_time", "_time_s", "_total_j", "_total_s",
    )  # fmt: skip

    def __init__(self, *, batches: int = 32) -> None:
        self._most = 2 * whole("batches", batches, least=LEAST_BATCHES)
        self._energy: list[float] = []
        self._time: list[float] = []
        self._length, self._count, self._slots = 1, 0, 0
        self._energy_j = self._time_s = self._total_j = self._total_s = 0.0
        self._first = self._last = self._rates = self._rates2 = self._rates_next = 0.0

    def update(self, energy_j: float, duration_s: float = 1.0) -> None:
        """Add a slot with net energy ``energy_j`` over ``duration_s`` seconds. Raises ArgumentError
        for what is not finite or a duration that is not above 0.
        """
        if not (0.0 < duration_s < math.inf and -math.inf < energy_j < math.inf):
            positive("duration_s", duration_s)
            number("energy_j", energy_j)
        rate = energy_j / duration_s
        if self._slots == 0:
            self._first = rate
        rate -= self._first  # sums around the first value do not cancel
        self._rates += rate
        self._rates2 += rate * rate
        if self._slots:
            self._rates_next += rate * self._last
        self._last = rate
        self._slots += 1
        self._energy_j += energy_j
        self._time_s += duration_s
        self._count += 1
        if self._count == self._length:
            self._close_batch()

    def _close_batch(self) -> None:
        """Keep the running batch; when all places are taken, add neighbours up."""
        self._energy.append(self._energy_j)
        self._time.append(self._time_s)
        self._total_j += self._energy_j
        self._total_s += self._time_s
        self._energy_j = self._time_s = 0.0
        self._count = 0
        if len(self._energy) == self._most:
            self._energy = [a + b for a, b in zip(self._energy[::2], self._energy[1::2])]  # noqa: B905
            self._time = [a + b for a, b in zip(self._time[::2], self._time[1::2])]  # noqa: B905
            self._length *= 2

    def correlation(self) -> float | None:
        """Lag-1 autocorrelation of the slots' mean power; None below three slots, 0 for a constant
        series.
        """
        n = self._slots
        if n < 3:
            return None
        mean = self._rates / n
        spread = self._rates2 - n * mean * mean
        if spread <= 1e-13 * self._rates2:
            return 0.0
        ends = 2 * self._rates - self._last  # the first rate is 0 by its shift
        joint = self._rates_next - mean * ends + (n - 1) * mean * mean
        return min(max(joint / spread, -1.0), 1.0)

    @property
    def slots(self) -> int:
        """Slots so far."""
        return self._slots

    def estimate(self, *, confidence: float = 0.95) -> MeanAndVariance:
        """Drift and variance rate with intervals of this ``confidence``.

        Unbiased for independent slots; for AR(1) slots with coefficient f and batches of b the
        variance is low by 2 f / ((1-f^2) b). Student and chi-squared intervals: asymptotic in the
        length of a batch.
        """
        tail = 0.5 * (1 - number("confidence", confidence, least=0.0, most=1.0, open_most=True))
        return _of_batches(
            np.array(self._energy), np.array(self._time), self._length, self.correlation(), tail,
            total=(self._total_j + self._energy_j, self._total_s + self._time_s),
        )  # fmt: skip


def _of_batches(
    energy: Floats,
    time: Floats,
    length: int,
    correlation: float | None,
    tail: float,
    *,
    total: tuple[float, float],
) -> MeanAndVariance:
    """The estimate from sums of batches and of everything."""
    n = energy.size
    theta = total[0] / total[1] if total[1] > 0 else None
    f = None if correlation is None else min(correlation, 1 - 1e-9)
    slots = None if f is None else max((1 + f) / (1 - f), 1.0)
    sigma2 = low = high = theta_low = theta_high = None
    if n >= 2 and theta is not None:
        off = energy - energy.sum() / time.sum() * time
        if float(np.max(np.abs(off))) <= 1e-12 * float(np.max(np.abs(energy))):
            off = np.zeros_like(off)  # a constant series, up to rounding
        sigma2 = float(np.sum(off * off / time)) / (n - 1)
        low = (n - 1) * sigma2 / float(chdtri(n - 1, tail))
        high = (n - 1) * sigma2 / float(chdtri(n - 1, 1 - tail)) if tail > 0 else math.inf
        half = float(stdtrit(n - 1, 1 - tail)) * math.sqrt(sigma2 / total[1])
        theta_low, theta_high = theta - half, theta + half
    why = _not_enough(n, length, slots)
    return MeanAndVariance(
        theta=theta,
        theta_low=theta_low,
        theta_high=theta_high,
        sigma2=sigma2,
        sigma2_low=low,
        sigma2_high=high,
        batches=n,
        batch_slots=length,
        correlation_slots=slots,
        time_s=total[1],
        enough=not why,
        says=why or f"{n} batches of {length} slots",
    )


def _not_enough(batches: int, length: int, correlation_slots: float | None) -> str:
    """Why an estimate is not to be trusted yet; empty where it is."""
    if batches < LEAST_BATCHES:
        return f"{batches} batches, {LEAST_BATCHES} are needed"
    if correlation_slots is None:
        return "too few slots to see their correlation"
    need = LEAST_CORRELATION_TIMES * correlation_slots
    if correlation_slots > 1.5 and length < need:  # less is no different from independent slots
        return f"batches of {length} slots, {math.ceil(need)} are needed for their correlation"
    return ""


def batch_means(
    *, x: ArrayLike, batch: float | None = None, slot: ArrayLike = 1.0, confidence: float = 0.95
) -> MeanAndVariance:
    """``MeanAndVariance`` of a whole series of slot energies ``x`` [J], slots of ``slot`` seconds
    (one number, or one a slot), batches of ``batch`` slots (None: by doubling, as ``BatchMeans``
    does).

    A rest that fills no batch counts in theta only. docs/explanation/monitoring.md, 7.3.
    """
    series = numbers("x", x, shape=(-1,))
    length_s = _lengths(slot, series.size)
    tail = 0.5 * (1 - number("confidence", confidence, least=0.0, most=1.0, open_most=True))
    if batch is None:
        online = BatchMeans()
        for value, duration_s in zip(series.tolist(), length_s.tolist(), strict=True):
            online.update(value, duration_s)
        return online.estimate(confidence=confidence)
    size = whole("batch", batch, least=1)
    kept = series.size // size
    sums = series[: kept * size].reshape(kept, -1).sum(axis=1) if kept else np.zeros(0)
    return _of_batches(
        sums,
        length_s[: kept * size].reshape(kept, -1).sum(axis=1) if kept else np.zeros(0),
        size,
        autocorrelation(series) if series.size >= 3 else None,
        tail,
        total=(float(series.sum()), float(length_s.sum())),
    )


def _lengths(slot: ArrayLike, count: int) -> Floats:
    """One slot length above 0 for each of ``count`` slots."""
    found = numbers("slot", slot)
    if found.ndim > 1 or found.size not in (1, count):
        raise ArgumentError(
            "slot", found=f"shape {found.shape}", allowed=f"one number, or {count} of them"
        )
    if found.size and float(found.min()) <= 0:
        raise ArgumentError("slot", found=f"{found.min():g}", allowed="finite numbers above 0")
    return np.array(np.broadcast_to(found, (count,)))
