"""The plot of a monitored log: index with interval over regime bands, and the charts with alarms.

matplotlib is imported when something is drawn, never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baseload.report import palette
from baseload.report.plots import PNG_DPI, Axes, drawing, say
from baseload.theory.monitor import Alarm
from baseload.theory.watch import Course

REGIME_COLOURS = {
    "under-supplied": "#f6d5c3",
    "near-critical": "#f3ecc8",
    "critical": "#d3ead9",
    "over-supplied": "#cfe2f3",
}
"""Background of a stretch with this label, where it is likelier than not."""

_SIZE_INCHES = (7.2, 5.2)
_MOST_Y = 12.0
_LEAST_CONFIDENCE = 0.5


def draw_monitor(
    path: Path,
    course: Course,
    *,
    alarms: Sequence[Alarm] = (),
    threshold: float | None = None,
    title: str,
) -> None:
    """Write ``path`` (PNG): above the criticality index with its interval (the drift where there is
    no index), coloured by regime; below both charts, their threshold and the alarms.
    """
    with drawing():
        from matplotlib.figure import Figure

        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        unit_s, unit = _time_unit(course.time_s[-1])
        times = np.asarray(course.time_s) / unit_s
        upper.set_title(title, loc="left")
        if any(y is not None for y in course.y):
            _draw_index(upper, times, course)
        else:
            _draw_drift(upper, times, course)
        _draw_charts(lower, times, course, threshold)
        for alarm in alarms:
            for axes in (upper, lower):
                axes.axvline(alarm.time_s / unit_s, color="#d55e00", linewidth=0.8, alpha=0.6)
        upper.set_xlim(0, times[-1])
        lower.set_xlabel(f"time in the log [{unit}]")
        figure.savefig(path, dpi=PNG_DPI, facecolor="white")


def _time_unit(span_s: float) -> tuple[float, str]:
    for unit_s, name in ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if span_s > 3 * unit_s:
            return unit_s, name
    return 1.0, "seconds"


def _floats(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _draw_index(axes: Axes, times: np.ndarray[Any, Any], course: Course) -> None:
    """The index; beyond 12 the axis is cut."""
    y, low, high = (_floats(values) for values in (course.y, course.y_low, course.y_high))
    starts = np.concatenate([[0.0], times[:-1]])
    labels = zip(starts, times, course.regime, course.confidence_frac, strict=True)
    for start, end, label, sure in labels:
        if label is not None and (sure or 0.0) >= _LEAST_CONFIDENCE:
            axes.axvspan(start, end, color=REGIME_COLOURS[label], linewidth=0)
    top = min(float(np.nanmax(np.abs(np.concatenate([y, [4.0]])), initial=4.0)) * 1.2, _MOST_Y)
    shown = np.clip(y, -2 * top, 2 * top)
    axes.fill_between(
        times,
        np.clip(low, -2 * top, 2 * top),
        np.clip(high, -2 * top, 2 * top),
        color=palette.POLICY_LIGHT[1],
        alpha=0.25,
        linewidth=0,
    )
    axes.plot(times, shown, color=palette.POLICY_LIGHT[1], linewidth=1.4)
    axes.axhline(0, color=palette.INK, linewidth=1.0)
    for cut, dashes in ((1.0, (0, (1, 2))), (3.0, (0, (4, 2)))):
        for sign in (-1, 1):
            axes.axhline(sign * cut, color=palette.MUTED, linewidth=0.9, linestyle=dashes)
    axes.set_ylim(-top, top)
    axes.set_ylabel("criticality index y")
    _legend(axes, [label for label in REGIME_COLOURS if label in course.regime])


def _legend(axes: Axes, labels: Sequence[str]) -> None:
    """What the colours stand for."""
    from matplotlib.patches import Patch

    if labels:
        patches = [
            Patch(facecolor=REGIME_COLOURS[label], edgecolor=palette.MUTED, label=label)
            for label in labels
        ]
        axes.legend(handles=patches, loc="upper left", ncols=len(patches))


def _draw_drift(axes: Axes, times: np.ndarray[Any, Any], course: Course) -> None:
    """The drift with its interval, where no index is known."""
    theta = _floats(course.theta_w)
    if np.isnan(theta).all():
        say(axes, "Nothing is known yet")
        return
    low, high = _floats(course.theta_w_low), _floats(course.theta_w_high)
    axes.fill_between(times, low, high, color=palette.POLICY_LIGHT[1], alpha=0.25, linewidth=0)
    axes.plot(times, theta, color=palette.POLICY_LIGHT[1], linewidth=1.4)
    axes.axhline(0, color=palette.INK, linewidth=1.0)
    axes.set_ylabel("supply less demand [W]")


def _draw_charts(
    axes: Axes, times: np.ndarray[Any, Any], course: Course, threshold: float | None
) -> None:
    """Both charts of sums, the one of deficits downward."""
    up, down = _floats(course.cusum_up), _floats(course.cusum_down)
    if threshold is None or np.isnan(up).all():
        say(axes, "No charts: too few blocks, or meters only")
        return
    axes.plot(times, up, color=palette.POLICY_LIGHT[1], linewidth=1.2)
    axes.plot(times, -down, color=palette.POLICY_LIGHT[2], linewidth=1.2)
    for sign, words in ((1, "surplus"), (-1, "deficit")):
        axes.axhline(sign * threshold, color=palette.MUTED, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.text(
            0.01, 0.5 + 0.46 * sign, words, transform=axes.transAxes, va="center", fontsize=7.5,
            color=palette.MUTED,
        )  # fmt: skip
    axes.axhline(0, color=palette.INK, linewidth=1.0)
    axes.set_ylim(-1.4 * threshold, 1.4 * threshold)
    axes.set_ylabel("charts of sums [sd of a block]")
