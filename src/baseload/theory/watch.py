"""A recorded log through the monitor: blocks chosen from the log, charts with few false alarms.

Pure: takes arrays, knows no files. docs/explanation/monitoring.md, 7.3 and 7.4.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from baseload.base.errors import ArgumentError
from baseload.base.units import S_PER_DAY
from baseload.theory.daily import LEAST_DAYS, DailyCycle, daily_cycle, rebinned
from baseload.theory.estimation import (
    LEAST_BATCHES,
    LEAST_CORRELATION_TIMES,
    MeanAndVariance,
    batch_means,
    variance_about_season,
)
from baseload.theory.inputs import Floats, not_negative, numbers, positive
from baseload.theory.monitor import Alarm, Monitor, MonitorState
from baseload.theory.monitoring import MeterReading, cusum_arl, meters_only

SEASON_DAYS = 31
"""Days of the running mean that counts as season."""

FALSE_ALARMS = 0.05
"""Expected number of false alarms in a log, where no threshold is given."""

NO_STORAGE = "No index and regime: the usable capacity of the storage is not given."
"""What ``missing`` says of a log without storage."""

_POINTS = 300


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the monitor at up to 300 instants, one item each; None: not known then."""

    time_s: tuple[float, ...]
    theta_w: tuple[float | None, ...]
    theta_w_low: tuple[float | None, ...]
    theta_w_high: tuple[float | None, ...]
    y: tuple[float | None, ...]
    y_low: tuple[float | None, ...]
    y_high: tuple[float | None, ...]
    regime: tuple[str | None, ...]
    confidence_frac: tuple[float | None, ...]
    cusum_up: tuple[float | None, ...]
    cusum_down: tuple[float | None, ...]


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What a log says.

    ``whole``: drift and variance rate over the whole log. ``state``: of the monitor at its end,
    measured since the last change. ``alarms``: all of them. ``block_s``: length of a chart's block
    (None: no charts), ``blocks`` their number, ``threshold`` of the charts. ``cycle``: of the day;
    ``profile_w``: the mean day [W] since the last change (of the whole log where that is less than
    six days ago), empty without a daily cycle.
    ``seasonal``: the variance rate is that of days about their season.
    ``how``: how the estimate was made, in whole sentences. ``missing``: what is not known, and why.
    """

    whole: MeanAndVariance
    state: MonitorState
    alarms: tuple[Alarm, ...]
    course: Course
    cycle: DailyCycle
    profile_w: tuple[float, ...]
    block_s: float | None
    blocks: int
    threshold: float | None
    how: tuple[str, ...]
    missing: tuple[str, ...]
    seasonal: bool = False


class _Series(msgspec.Struct, frozen=True, kw_only=True):
    """What the monitor is fed with: slots, or whole days or blocks made of them."""

    energy_j: Floats
    length_s: Floats
    block: int
    words: str


def watch(
    net_j: ArrayLike,
    length_s: ArrayLike,
    *,
    storage_j: float | None = None,
    target_w: float = 0.0,
    var: float | None = None,
    block_s: float | None = None,
    slack: float = 0.25,
    threshold: float | None = None,
    confidence: float = 0.95,
) -> Watched:
    """The log of net energies ``net_j`` [J] in slots of ``length_s`` [s] (one number or one a
    slot) through a ``Monitor``.

    Blocks are ``block_s`` seconds where that is given, whole days where the net power follows the
    day, and ten correlation times otherwise. Days that hang together over weeks follow the season:
    their variance rate is then that about a running mean of ``SEASON_DAYS``. Without ``threshold``
    (in standard deviations of a block) the charts have one that gives 0.05 false alarms in a log of
    this length. ``var``: the variance rate [J^2/s], if known beforehand. Raises ArgumentError for
    an empty log, numbers that are not finite and lengths that are not above 0.
    """
    energy = numbers("net_j", net_j, shape=(-1,))
    length = np.array(np.broadcast_to(numbers("length_s", length_s), energy.shape))
    if energy.size == 0:
        raise ArgumentError("net_j", found="no slots", allowed="one or more")
    if float(length.min()) <= 0:
        raise ArgumentError("length_s", found=f"{length.min():g}", allowed="lengths above 0 s")
    cycle = daily_cycle(energy, length)
    series = _series(energy, length, cycle, block_s)
    whole = _whole(series, confidence)
    blocks = series.energy_j.size // series.block
    known = None if var is None else positive("var", var)
    seasonal = None
    if known is None and whole.enough and whole.sigma2:
        known = _between_blocks(series)
    elif known is None and cycle.found and series.energy_j.size >= 2 * SEASON_DAYS:
        known = seasonal = variance_about_season(
            x=series.energy_j, window=SEASON_DAYS, slot=S_PER_DAY
        )
    chart = None
    if known is not None and blocks >= LEAST_BATCHES:
        chart = positive("threshold", threshold or threshold_for(blocks=blocks, slack=slack))
    monitor = Monitor(
        storage_j=storage_j,
        target_w=target_w,
        var=known if chart is not None or var is not None or seasonal is not None else None,
        block_slots=series.block,
        slack=slack,
        threshold=chart or 8.0,
        confidence=confidence,
    )
    alarms, course = _run(monitor, series)
    state = monitor.state()
    return Watched(
        whole=whole,
        state=state,
        alarms=tuple(alarms),
        course=course,
        cycle=cycle,
        profile_w=_recent_profile(energy, length, cycle, state.segment_s),
        block_s=float(series.length_s[: series.block].sum()) if chart is not None else None,
        blocks=blocks,
        threshold=chart,
        how=_how(series, whole, cycle, chart, slack, blocks, block_s, seasonal),
        missing=_missing(whole, state, storage_j, chart, blocks),
        seasonal=seasonal is not None,
    )


def threshold_for(*, blocks: int, slack: float, false_alarms: float = FALSE_ALARMS) -> float:
    """The threshold at which two charts of ``blocks`` blocks raise ``false_alarms`` in the mean,
    by bisection of ``cusum_arl``; at least 4.
    """
    wanted = positive("blocks", blocks) / positive("false_alarms", false_alarms)
    k = not_negative("slack", slack)

    def enough(h: float) -> bool:
        return cusum_arl(mu=0.0, k=k, h=h, two_sided=True) >= wanted

    low, high = 4.0, 4.0
    while not enough(high):
        low, high = high, 2 * high
    if high == 4.0:
        return 4.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _series(energy: Floats, length: Floats, cycle: DailyCycle, block_s: float | None) -> _Series:
    """Slots, or the blocks that must stay whole."""
    unit_s = S_PER_DAY if cycle.found else None
    words = "days"
    if block_s is not None:
        unit_s, words = positive("block_s", block_s), f"blocks of {block_s:g} s"
    if unit_s is not None:
        units = rebinned(energy, length, unit_s)
        if units.size == 0:
            raise ArgumentError(
                "block_s", found=f"{unit_s:g} s", allowed=f"up to the log's {length.sum():g} s"
            )
        return _Series(energy_j=units, length_s=np.full(units.size, unit_s), block=1, words=words)
    rough = _batched(energy, length, 0.95)
    slots = rough.correlation_slots or 1.0
    block = max(math.ceil(LEAST_CORRELATION_TIMES * slots), 1)
    return _Series(energy_j=energy, length_s=length, block=block, words="slots")


def _recent_profile(
    energy: Floats, length: Floats, cycle: DailyCycle, segment_s: float
) -> tuple[float, ...]:
    """The mean day [W] of the last ``segment_s`` seconds, or of everything."""
    bins, days = len(cycle.profile_w), math.floor(segment_s / S_PER_DAY)
    if bins == 0 or days < LEAST_DAYS or days >= cycle.days:
        return cycle.profile_w
    parts = rebinned(energy, length, S_PER_DAY / bins)[: cycle.days * bins].reshape(-1, bins)
    found: Floats = parts[-days:].mean(axis=0) * (bins / S_PER_DAY)
    return tuple(found.tolist())


def _whole(series: _Series, confidence: float) -> MeanAndVariance:
    """Drift and variance rate over everything."""
    return _batched(series.energy_j, series.length_s, confidence)


def _batched(energy: Floats, length: Floats, confidence: float) -> MeanAndVariance:
    """Batch means with the shortest power of two that leaves fewer than 64 batches."""
    batch = 1
    while energy.size // batch >= 64:
        batch *= 2
    return batch_means(x=energy, batch=batch, slot=length, confidence=confidence)


def _between_blocks(series: _Series) -> float | None:
    """Variance rate [J^2/s] from differences of neighbouring blocks, which a few shifts of the
    drift hardly change; None where it is 0.
    """
    kept = series.energy_j.size // series.block * series.block
    energy = series.energy_j[:kept].reshape(-1, series.block).sum(axis=1)
    length = series.length_s[:kept].reshape(-1, series.block).sum(axis=1)
    if energy.size < 2:
        return None
    drift = float(energy.sum() / length.sum())
    steps = np.diff(energy - drift * length)
    found = float(np.sum(steps**2 / (length[1:] + length[:-1]))) / steps.size
    return found if found > 0 else None


def _run(monitor: Monitor, series: _Series) -> tuple[list[Alarm], Course]:
    """Feed everything; the alarms and the states on the way."""
    count = series.energy_j.size
    energy, length = series.energy_j.tolist(), series.length_s.tolist()
    stops = np.unique(np.linspace(0, count, min(_POINTS, count) + 1).round().astype(int))
    alarms: list[Alarm] = []
    states: list[MonitorState] = []
    for start, stop in zip(stops[:-1].tolist(), stops[1:].tolist(), strict=True):
        for duration_s, net in zip(length[start:stop], energy[start:stop], strict=True):
            alarm = monitor.update(duration_s, net)
            if alarm is not None:
                alarms.append(alarm)
        states.append(monitor.state())
    columns: dict[str, Any] = {
        name: tuple(getattr(state, name) for state in states) for name in Course.__struct_fields__
    }
    return alarms, Course(**columns)


def _how(
    series: _Series,
    whole: MeanAndVariance,
    cycle: DailyCycle,
    chart: float | None,
    slack: float,
    blocks: int,
    block_s: float | None,
    seasonal: float | None,
) -> tuple[str, ...]:
    """How the estimate was made."""
    said = []
    if block_s is not None:
        said.append(f"Estimated from {series.energy_j.size} {series.words}, as asked.")
    elif cycle.found:
        said.append(
            f"The net power follows the day (it moves {cycle.swing_j / 3.6e6:.4g} kWh a day): "
            f"estimated from {series.energy_j.size} whole days."
        )
    elif cycle.found is None:
        said.append(
            "Too short, or slots too long, to see whether the net power follows the day: if it "
            "does, give a block of one day."
        )
    else:
        said.append("The net power does not follow the day.")
    said.append(f"Variance rate from {whole.batches} batches of {whole.batch_slots} {series.words}")
    if whole.correlation_slots is not None:
        said[-1] += f"; they hang together over {whole.correlation_slots:.3g}"
    said[-1] += "."
    if seasonal is not None:
        said[-1] = (
            f"The days follow the season: variance rate from their scatter about a running mean of "
            f"{SEASON_DAYS} days (heuristic, without an interval)."
        )
    if chart is not None:
        said.append(
            f"Charts of {blocks} blocks of {series.block} {series.words}, slack {slack:g}, "
            f"threshold {chart:.3g} standard deviations of a block."
        )
    return tuple(said)


def _missing(
    whole: MeanAndVariance,
    state: MonitorState,
    storage_j: float | None,
    chart: float | None,
    blocks: int,
) -> tuple[str, ...]:
    """What is not known, and why."""
    said = []
    if state.sigma2 is None:
        said.append(f"No variance rate, index and regime: {whole.says}.")
    if storage_j is None:
        said.append(NO_STORAGE)
    if chart is None and state.sigma2 != 0:
        said.append(f"No charts: {blocks} blocks, {LEAST_BATCHES} and a variance rate are needed.")
    return tuple(said)


class WatchedMeters(msgspec.Struct, frozen=True, kw_only=True):
    """What two meters say: over the whole log, and up to each of at most 300 instants."""

    reading: MeterReading
    course: Course


def watch_meters(
    auxiliary_j: ArrayLike,
    waste_j: ArrayLike,
    length_s: ArrayLike,
    *,
    storage_j: float,
    var: float | None = None,
    confidence: float = 0.95,
) -> WatchedMeters:
    """Index and variance rate from the auxiliary energy and the waste [J] of intervals of
    ``length_s`` [s], from the start of the log on. There are no charts without the net energy.

    ``var`` [J^2/s], if known, gives a bound where one meter stands still. Raises ArgumentError.
    """
    used = np.cumsum(numbers("auxiliary_j", auxiliary_j, least=0.0, shape=(-1,)))
    lost = np.cumsum(numbers("waste_j", waste_j, least=0.0, shape=used.shape))
    lengths = np.broadcast_to(numbers("length_s", length_s, least=0.0), used.shape)
    if used.size == 0:
        raise ArgumentError("auxiliary_j", found="no intervals", allowed="one or more")
    at = np.cumsum(lengths)
    places = np.unique(np.linspace(0, used.size - 1, min(_POINTS, used.size)).round().astype(int))
    readings = [
        meters_only(
            U=float(used[i]), W=float(lost[i]), B=storage_j, T=float(at[i]), var=var,
            confidence=confidence,
        )
        for i in places.tolist()
    ]  # fmt: skip
    z = float(ndtri(0.5 + 0.5 * confidence))

    def theta(sign: int) -> tuple[float | None, ...]:
        return tuple(
            None if each.sigma2 is None else each.theta + sign * z * math.sqrt(each.sigma2 / at[i])
            for each, i in zip(readings, places.tolist(), strict=True)
        )

    nothing = (None,) * len(readings)
    course = Course(
        time_s=tuple(at[places].tolist()),
        theta_w=theta(0),
        theta_w_low=theta(-1),
        theta_w_high=theta(1),
        y=tuple(each.y for each in readings),
        y_low=tuple(each.y_low for each in readings),
        y_high=tuple(each.y_high for each in readings),
        regime=tuple(each.regime for each in readings),
        confidence_frac=tuple(each.confidence_frac for each in readings),
        cusum_up=nothing,
        cusum_down=nothing,
    )
    return WatchedMeters(reading=readings[-1], course=course)
