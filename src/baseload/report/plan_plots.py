"""The plots of a plan: one drawing a chart, as PNG and as panels for the page.

The title says what to see. What has a unit of its own has a panel of its own; curves of the same
place in the legend have the same colour in all panels. matplotlib is imported when something is
drawn, never before.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from baseload.planner.curves import Chart, Dots, Line
from baseload.report import palette
from baseload.report.plots import Axes, Draw, say, write_png

_LABEL_WIDTH = 34
_TITLE_WIDTHS = {1: 48, 2: 104, 3: 156}
_REFERENCES = ("without chance", "lower bound", "plain diffusion")
_LEAST_DECADES = 0.35
_MOST_HOURS = 8_760.0 * 100
_TIMES = {"hour": 3600.0, "day": 86_400.0, "month": 2.6e6, "year": 31_536_000.0}
_SPREADS = 2.0
_ROUNDED, _NARROW = 6.0, 0.4


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """One panel of a chart: its label, its curves with their places in the palette, its dots."""

    label: str
    lines: tuple[tuple[int, Line], ...]
    dots: tuple[tuple[int, Dots], ...] = ()
    log: bool = False


def file_name(chart: Chart) -> str:
    """The PNG of a chart."""
    return f"{chart.name.replace('_', '-')}.png"


def draw_charts(charts: Sequence[Chart], folder: Path) -> list[Path]:
    """Write a PNG for each chart into the existing ``folder``; gives their paths."""
    paths = []
    for chart in charts:
        path = folder / file_name(chart)
        draws = chart_draws(chart)
        title = textwrap.fill(chart.title, _TITLE_WIDTHS[min(3, len(draws))])
        write_png(path, draws, handles(chart), title=title, columns=3)
        paths.append(path)
    return paths


def chart_draws(chart: Chart) -> list[Draw]:
    """The panels of a chart: the main one, then one for each unit of its second axis."""
    panels = panels_of(chart)
    if chart.ticks:
        return [_bars(chart, panel) for panel in panels]
    draws = [_curves(chart, panel, first=place == 0) for place, panel in enumerate(panels)]
    near = _near_least(panels[0]) if chart.name == "v_shape" else None
    return draws if near is None else [*draws, _zoomed(chart, panels[0], near)]


def panels_of(chart: Chart) -> list[Panel]:
    """Main panel, then those of the second axis: curves that name units of their own apart."""
    places = _places(chart)
    main = Panel(
        label=chart.y_label,
        lines=tuple((places[line.label], line) for line in chart.lines),
        dots=tuple((_place_of_dots(chart, dots, places), dots) for dots in chart.dots),
        log=chart.y_log,
    )
    groups: dict[str, list[Line]] = {}
    for line in chart.right:
        own_unit = "[" in line.label
        groups.setdefault(line.label if own_unit else chart.right_label or "", []).append(line)
    rest = [
        Panel(label=label, lines=tuple((places[line.label], line) for line in lines))
        for label, lines in groups.items()
    ]
    return [main, *rest]


def legend_places(chart: Chart) -> list[tuple[str, int]]:
    """Names of curves with their places in the palette; empty where axes say it all."""
    if chart.ticks:
        return []
    panels = panels_of(chart)
    if all(len(panel.lines) == 1 for panel in panels) and not chart.dots:
        return []
    places = _places(chart)
    known = [dots for dots in chart.dots if not any(dots.error)]
    points = [(dots.label, _place_of_dots(chart, dots, places)) for dots in known]
    return [*places.items(), *points]


def handles(chart: Chart) -> list[tuple[str, dict[str, Any]]]:
    """Names and styles for the legend of a PNG."""
    found: list[tuple[str, dict[str, Any]]] = [
        (name, _line(place)) for name, place in legend_places(chart) if name in _places(chart)
    ]
    places = _places(chart)
    for dots in chart.dots:
        color = palette.policy_color(_place_of_dots(chart, dots, places))
        style = {"color": color, "marker": "o", "markersize": 4, "linestyle": "none"}
        known = " (±2 standard errors)" if any(dots.error) else ""
        found.append((f"{dots.label}{known}", style))
    return found


def _places(chart: Chart) -> dict[str, int]:
    """A place in the palette for each curve: grey for the first that is a reference."""
    places: dict[str, int] = {}
    others = 1
    for line in (*chart.lines, *chart.right):
        if line.label in places:
            continue
        if any(word in line.label for word in _REFERENCES) and 0 not in places.values():
            places[line.label] = 0
        else:
            places[line.label] = others
            others += 1
    return places


def _place_of_dots(chart: Chart, dots: Dots, places: dict[str, int]) -> int:
    """The place of the curve that the dots stand beside: that of the same first word; otherwise
    one of their own.
    """
    word = dots.label.partition(" ")[0].rstrip(",")
    for line in chart.lines:
        if line.label.startswith(word):
            return places[line.label]
    return len(places) + 1 + chart.dots.index(dots)


def _line(place: int) -> dict[str, Any]:
    style = "dashed" if place == 0 else palette.policy_dash(place)
    return {"color": palette.policy_color(place), "linestyle": style}


def _values(line: Line, *, log: bool) -> tuple[Any, Any]:
    """The curve with gaps where it is not defined, or not above 0 on a log axis."""
    y = np.array([np.nan if value is None else value for value in line.y], dtype=np.float64)
    if log:
        y = np.where(y > 0, y, np.nan)
    return np.asarray(line.x, dtype=np.float64), y


def _curves(chart: Chart, panel: Panel, *, first: bool) -> Draw:
    def draw(axes: Axes) -> None:
        log = panel.log and _spans(panel)
        drawn = 0
        if first and chart.name == "ride_through" and _lasts(panel):
            say(axes, "More than 100 years, however full")
            return
        for place, line in panel.lines:
            x, y = _values(line, log=log)
            if chart.name == "ride_through" and first:
                y = np.where(y <= _MOST_HOURS, y, np.nan)
            if np.isfinite(y).any():
                style = _line(place)
                few = len(x) <= 10
                axes.plot(x, y, linewidth=1.6, marker="o" if few else "", markersize=3, **style)
                drawn += 1
        if not drawn:
            say(axes, "Nothing to draw: see the notes")
            return
        for place, dots in panel.dots:
            _dots(axes, place, dots)
        _scales(axes, chart, log=log)
        if chart.name == "growth":
            _slopes(axes, panel)
        if chart.name == "v_shape":
            _least(axes, panel)
        if chart.name == "year":
            axes.set_xlim(0, 24)
            axes.set_xticks(range(0, 25, 4))
        _marks(axes, chart, words=first)
        axes.set_xlabel(chart.x_label + (", log scale" if chart.x_log else ""))
        label = panel.label + (", log scale" if log else "")
        axes.set_ylabel(textwrap.fill(label, _LABEL_WIDTH))

    return draw


def _lasts(panel: Panel) -> bool:
    """Whether no time of a ride-through is one to plan for."""
    values = [value for _, line in panel.lines for value in line.y[1:] if value is not None]
    return not values or min(values) > _MOST_HOURS


def _spans(panel: Panel) -> bool:
    """Whether a logarithmic axis has anything to stretch."""
    values = np.concatenate([_values(line, log=True)[1] for _, line in panel.lines])
    values = values[np.isfinite(values)]
    return len(values) > 0 and float(np.log10(values.max() / values.min())) > _LEAST_DECADES


def _dots(axes: Axes, place: int, dots: Dots) -> None:
    axes.errorbar(
        dots.x,
        dots.y,
        yerr=[_SPREADS * error for error in dots.error],
        fmt="o",
        markersize=3.5,
        elinewidth=1,
        capsize=2,
        color=palette.policy_color(place),
        zorder=4,
    )


def _scales(axes: Axes, chart: Chart, *, log: bool) -> None:
    if chart.x_log:
        axes.set_xscale("log")
        _plain_ticks(axes.xaxis, axes.get_xlim())
    if log:
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis, axes.get_ylim())
    else:
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        low, high = axes.get_ylim()
        if low >= -0.1 * (high - low):
            axes.set_ylim(bottom=min(0.0, low))
    if not chart.x_log:
        span = [x for line in chart.lines for x in line.x]
        margin = 0.02 * (max(span) - min(span)) if chart.dots else 0.0
        axes.set_xlim(min(span) - margin, max(span) + margin)


def _plain_ticks(axis: Any, limits: tuple[float, float]) -> None:
    """Powers of ten in plain numbers; 2 and 5 between them where the axis is short."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    decades = np.log10(limits[1] / limits[0])
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.2 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(_plain))
    axis.set_minor_formatter(NullFormatter())


def _plain(value: float, _: int) -> str:
    if 1e-4 <= value < 1e6:
        return f"{value:,.10g}"
    return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e−").replace("e+", "e")


def _slopes(axes: Axes, panel: Panel) -> None:
    """The slope of each curve at its end, on logarithmic axes."""
    spots: list[float] = []
    for place, line in panel.lines:
        x, y = _values(line, log=True)
        known = np.flatnonzero(np.isfinite(y))
        if len(known) < 8:
            continue
        last, before = known[-1], known[-6]
        slope = np.log(y[last] / y[before]) / np.log(x[last] / x[before])
        height = float(axes.transData.transform((x[last], y[last]))[1])
        while any(abs(height - other) < 11 * axes.figure.dpi / 72 for other in spots):
            height -= 11 * axes.figure.dpi / 72
        spots.append(height)
        at = float(axes.transAxes.inverted().transform((0, height))[1])
        color = palette.policy_color(place)
        axes.annotate(
            f"slope {abs(slope):.2f}", (1.0, at), xycoords="axes fraction", xytext=(3, 0),
            textcoords="offset points", fontsize=7.5, va="center", color=color,
        )  # fmt: skip


def _near_least(panel: Panel) -> tuple[float, float] | None:
    """The values of x around the least sum within which chance rounds the V; ``None`` where the
    whole panel shows it.
    """
    for _, line in panel.lines:
        if line.label == "u + w":
            x, y = _values(line, log=False)
            least = float(np.nanmin(y))
            near = x[y <= _ROUNDED * least]
            if least > 0 and len(near) > 4 and np.ptp(near) < _NARROW * np.ptp(x):
                return float(near[0]), float(near[-1])
    return None


def _zoomed(chart: Chart, panel: Panel, near: tuple[float, float]) -> Draw:
    """The panel around its least value."""

    def draw(axes: Axes) -> None:
        top = 0.0
        for place, line in panel.lines:
            x, y = _values(line, log=False)
            inside = (x >= near[0]) & (x <= near[1])
            if inside.sum() > 1:
                axes.plot(x[inside], y[inside], linewidth=1.6, **_line(place))
                top = max(top, float(np.nanmax(y[inside])))
        for place, dots in panel.dots:
            _dots(axes, place, dots)
        axes.set_xlim(*near)
        axes.set_ylim(0.0, 1.05 * top)
        axes.ticklabel_format(axis="x", useOffset=False)
        axes.xaxis.set_major_locator(_few_ticks())
        _marks(axes, chart, words=True)
        axes.set_xlabel(f"{chart.x_label}: around the critical point")
        axes.set_ylabel(panel.label)

    return draw


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=4)


def _least(axes: Axes, panel: Panel) -> None:
    """The least sum of auxiliary energy and waste: what chance alone costs."""
    for place, line in panel.lines:
        if line.label != "u + w":
            continue
        x, y = _values(line, log=False)
        at = int(np.nanargmin(y))
        color = palette.policy_color(place)
        axes.annotate(
            f"least u + w:\n{y[at]:.3g} kW at {x[at]:.2f}", (x[at], y[at]),
            xytext=(0.53, 0.8), textcoords="axes fraction", ha="left", fontsize=7.5, color=color,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.7},
        )  # fmt: skip


def _marks(axes: Axes, chart: Chart, *, words: bool) -> None:
    """Dotted lines at the values of x to be marked, named above the panel in as many rows as keep
    the names apart.
    """
    low, high = axes.get_xlim()
    rows: list[float] = []
    scale = 72.0 / axes.figure.dpi
    marks = chart.marks | (_TIMES if chart.x_label == "time [s]" else {})
    for name, x in sorted(marks.items(), key=lambda item: item[1]):
        if not low <= x <= high:
            continue
        axes.axvline(x, color=palette.MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        if not words:
            continue
        middle = float(axes.transData.transform((x, 0 if axes.get_yscale() != "log" else 1))[0])
        half = 2.2 * len(name)
        start = middle * scale - half
        row = next((at for at, end in enumerate(rows) if start > end + 4), len(rows))
        if row == len(rows):
            rows.append(0.0)
        rows[row] = middle * scale + half
        axes.annotate(
            name, (x, 1.0), xycoords=axes.get_xaxis_transform(), xytext=(0, 2 + 9 * row),
            textcoords="offset points", ha="center", va="bottom", fontsize=7.5,
            color=palette.MUTED, annotation_clip=False,
        )  # fmt: skip


def _bars(chart: Chart, panel: Panel) -> Draw:
    def draw(axes: Axes) -> None:
        (place, line), *_ = panel.lines
        values = np.array([0.0 if value is None else value for value in line.y])
        heights = np.arange(len(values))
        axes.barh(heights, values, color=palette.policy_color(place), height=0.66)
        for height, value in zip(heights, values, strict=True):
            text = f"{100 * value:.3g} %" if place == 1 else f"${value:,.3g}"
            axes.annotate(
                text, (max(value, 0.0), height), xytext=(4, 0), textcoords="offset points",
                va="center", fontsize=8,
            )  # fmt: skip
        axes.set_yticks(heights, list(chart.ticks))
        axes.tick_params(axis="y", length=0, labelcolor=palette.INK)
        axes.set_ylim(len(values) - 0.4, -0.6)
        axes.margins(x=0.2)
        axes.set_xlim(left=min(0.0, float(values.min())))
        axes.grid(False, axis="y")
        axes.set_xlabel(panel.label)

    return draw
