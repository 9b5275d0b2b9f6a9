"""The plot of a formula over one of its inputs, as a PNG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baseload.report import palette
from baseload.report.plots import Axes, say, write_png

_MOST_DECADES = 1.5


def draw_sweep(
    path: Path,
    *,
    title: str,
    x: Sequence[float],
    x_label: str,
    lines: Mapping[str, Sequence[float | None]],
) -> None:
    """Write ``path``: each of ``lines`` (label with unit -> values) over ``x``.

    An axis is logarithmic where its values are positive and span more than one and a half decades.
    Values that are missing or not finite leave a gap.
    """
    data = {
        label: np.array([np.nan if v is None or not np.isfinite(v) else v for v in values])
        for label, values in lines.items()
    }
    seen = np.concatenate([values[~np.isnan(values)] for values in data.values()] or [np.zeros(0)])

    def draw(axes: Axes) -> None:
        axes.set_title(title, loc="left")
        if seen.size == 0:
            say(axes, "No finite value")
            return
        for place, (_, values) in enumerate(data.items(), start=1):
            style = {"color": palette.policy_color(place), "linestyle": palette.policy_dash(place)}
            axes.plot(x, values, marker="o", markersize=2.5, linewidth=1.5, **style)
        if _spreads(np.asarray(x, dtype=np.float64)):
            axes.set_xscale("log")
            _plain_numbers(axes.xaxis)
        if _spreads(seen):
            axes.set_yscale("log")
            _plain_numbers(axes.yaxis)
        axes.set_xlabel(x_label)
        if len(data) == 1:
            axes.set_ylabel(next(iter(data)))

    handles = [
        (label, {"color": palette.policy_color(place), "linestyle": palette.policy_dash(place)})
        for place, label in enumerate(data, start=1)
    ]
    write_png(path, [draw], handles if len(data) > 1 else [])


def _plain_numbers(axis: Any) -> None:
    """Powers of ten as numbers."""
    from matplotlib.ticker import NullFormatter

    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _spreads(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bool:
    """Whether positive values span more than an axis shows well on a linear scale."""
    low = float(values.min())
    return low > 0 and float(np.log10(values.max() / low)) > _MOST_DECADES
