"""The four plots of a simulation, drawn once: as PNG files for papers and slides, and as panels for
the page.

matplotlib is imported when something is drawn, never before: the table must not wait for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from baseload.report import palette, wording
from baseload.report.figures import (
    Comparison,
    Latency,
    Row,
    bound_j_per_request,
    compare,
    energy_by_state,
    front,
    trade_off,
)
from baseload.simulator.results import POWER_STATES, Curve, Series, Simulation

PANEL_INCHES = (4.4, 3.0)
PNG_DPI = 200
MOST_POINTS = 240
"""Points of a curve or bins of a series that a plot can show; more only makes the page heavier."""

LABEL_LENGTH = 26
_LEGEND_LETTERS_PER_INCH, _LEGEND_LINE_LETTERS = 16.0, 8
RC: Any = {
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": palette.MUTED,
    "axes.labelcolor": palette.INK,
    "axes.titlecolor": palette.INK,
    "text.color": palette.INK,
    "xtick.color": palette.MUTED,
    "ytick.color": palette.MUTED,
    "grid.color": palette.GRID,
    "grid.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "baseload",
}

Axes = Any
"""A matplotlib Axes; the library has no types that mypy could use."""

Draw = Callable[[Axes], None]


def draw_plots(simulation: Simulation, folder: Path, *, baseline: str | None = None) -> list[Path]:
    """Write ``latency.png``, ``power.png``, ``energy-per-request.png`` and ``trade-off.png`` into
    the existing ``folder``.

    Gives the paths of the files. A plot whose data is missing says so in words instead.
    """
    comparison = compare(simulation, baseline=baseline)
    places = places_of(comparison)
    power = [_power_draw(comparison, row) for row in comparison.rows]
    sheets: dict[str, tuple[list[Draw], list[tuple[str, dict[str, Any]]]]] = {
        "latency": (latency_panels(comparison), policy_handles(comparison.rows, places)),
        "power": (power, state_handles(comparison)),
        "energy-per-request": ([energy_panel(comparison)], state_handles(comparison)),
        "trade-off": (trade_off_panels(comparison), []),
    }
    paths = []
    for name, (draws, handles) in sheets.items():
        path = folder / f"{name}.png"
        write_png(path, draws, handles)
        paths.append(path)
    return paths


@contextmanager
def drawing() -> Iterator[None]:
    """Our style, and no warning about a glyph that the plot font lacks (a name may be in any
    script).
    """
    import matplotlib

    with matplotlib.rc_context(RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def places_of(comparison: Comparison) -> list[int]:
    """The palette place of each row: the baseline has place 0, the others follow in order."""
    others = iter(range(1, len(comparison.rows)))
    return [0 if row.is_baseline else next(others) for row in comparison.rows]


def short(label: str) -> str:
    """``label``, cut to what fits in a plot."""
    label = " ".join(label.split())
    return label if len(label) <= LABEL_LENGTH else f"{label[: LABEL_LENGTH - 1]}…"


def latency_panels(comparison: Comparison) -> list[Draw]:
    """Two panels: distribution of the time to the first token, and of the whole answer."""
    deadlines = comparison.simulation.tiers

    def draw(axes: Axes, field: str, promise: str, title: str) -> None:
        curves = [(row, place, getattr(row.result, field)) for row, place in _placed(comparison)]
        _draw_cdf(axes, curves, [tier.get(promise) for tier in deadlines.values()])
        axes.set_title(title, loc="left")

    return [
        lambda axes: draw(axes, "ttft_curve", "ttft_s", "Wait for the first token"),
        lambda axes: draw(axes, "e2e_curve", "e2e_s", "Whole answer"),
    ]


def _placed(comparison: Comparison) -> list[tuple[Row, int]]:
    return list(zip(comparison.rows, places_of(comparison), strict=True))


def _draw_cdf(
    axes: Axes, curves: Sequence[tuple[Row, int, Curve]], deadlines: Sequence[float | None]
) -> None:
    drawn = [(place, curve) for _, place, curve in curves if len(curve.x) > 0]
    if not drawn:
        say(axes, "No request was answered")
        return
    low, high = np.inf, 0.0
    for place, curve in sorted(drawn, key=lambda item: item[0]):
        keep = np.unique(np.linspace(0, len(curve.x) - 1, MOST_POINTS).astype(int))
        x = np.maximum(np.asarray(curve.x)[keep], 1e-4)
        frac = np.asarray(curve.frac)[keep]
        low = min(low, float(x[np.searchsorted(frac, 0.005, side="left").clip(0, len(x) - 1)]))
        high = max(high, float(x[-1]))
        style = palette.policy_dash(place)
        axes.plot(
            x, frac * 100.0, color=palette.policy_color(place), linestyle=style, linewidth=1.6
        )
    axes.set_xscale("log")
    axes.set_xlim(low * 0.9, max(high * 1.1, low * 2))
    _mark_deadlines(axes, deadlines)
    axes.set_ylim(0, 101)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(_sparse_minor(high / low))
    axes.set_xlabel("seconds from arrival (log scale)")
    axes.set_ylabel("requests done by then [%]")


def _sparse_minor(ratio: float) -> Callable[[float, int], str]:
    """Names 2 and 5 between powers of ten when the axis spans less than about two decades."""

    def text(value: float, _: int) -> str:
        leading = f"{value:.1e}"[0]
        return f"{value:g}" if ratio < 150 and leading in "25" else ""

    return text


def _mark_deadlines(axes: Axes, deadlines: Sequence[float | None]) -> None:
    """A dotted line for each promised deadline; the axis grows to show one that is a little beyond
    the data.
    """
    low, high = axes.get_xlim()
    for deadline in sorted({value for value in deadlines if value is not None}):
        if not low <= deadline <= high * 10:
            continue
        axes.set_xlim(low, max(axes.get_xlim()[1], deadline * 1.3))
        axes.axvline(deadline, color=palette.MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        words = f"deadline {deadline:g} s "
        axes.text(deadline, 3, words, ha="right", va="bottom", fontsize=7.5, color=palette.MUTED)


def power_panels(comparison: Comparison) -> list[Draw]:
    """One panel a policy: fleet power over time, stacked by power state, on a common scale."""
    return [_power_draw(comparison, row) for row in comparison.rows]


def _power_draw(comparison: Comparison, row: Row) -> Draw:
    series = [other.result.series for other in comparison.rows]
    top_w = max((_top_w(item) for item in series if item is not None), default=0.0)

    def draw(axes: Axes) -> None:
        axes.set_title(short(row.label), loc="left")
        if row.result.series is None or not row.result.series.t_s or top_w <= 0:
            say(axes, "No power over time recorded")
            return
        _draw_power(axes, row.result.series, top_w)

    return draw


def _top_w(series: Series) -> float:
    stack = [values for values in series.power_w.values() if values]
    return float(np.sum(coarse(np.asarray(stack)), axis=0).max()) if stack else 0.0


def coarse(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Means of neighbouring bins (last axis), so that at most ``MOST_POINTS`` remain; energy is
    kept but for the last.
    """
    group = -(-values.shape[-1] // MOST_POINTS)
    count = values.shape[-1] // group
    return np.asarray(
        values[..., : count * group].reshape(*values.shape[:-1], count, group).mean(-1)
    )


def _draw_power(axes: Axes, series: Series, top_w: float) -> None:
    states = [state for state in POWER_STATES if any(series.power_w.get(state, ()))]
    unit_w, unit = (1e6, "MW") if top_w >= 1e6 else (1e3, "kW") if top_w >= 1e3 else (1.0, "W")
    stack = coarse(np.asarray([series.power_w[state] for state in states])) / unit_w
    bin_s = series.bin_s * len(series.t_s) / stack.shape[-1]
    edges_s = series.t_s[0] + bin_s * np.arange(stack.shape[-1] + 1)
    span_s = float(edges_s[-1])
    unit_s, time_unit = (3600.0, "hours") if span_s > 3 * 3600 else (60.0, "minutes")
    base = np.zeros(stack.shape[-1])
    for state, values in zip(states, stack, strict=True):
        color = palette.STATE_LIGHT[state]
        axes.stairs(
            base + values, edges_s / unit_s, baseline=base, fill=True, color=color, linewidth=0
        )
        base = base + values
    axes.set_xlim(0, span_s / unit_s)
    axes.set_ylim(0, top_w / unit_w * 1.05)
    axes.set_xlabel(f"time in the trace [{time_unit}]")
    axes.set_ylabel(f"GPU power of the fleet [{unit}]")


def energy_panel(comparison: Comparison) -> Draw:
    """Energy per answered request by policy, split by power state."""

    def draw(axes: Axes) -> None:
        rows = [row for row in comparison.rows if row.result.completed > 0]
        if not rows:
            say(axes, "No request was answered")
            return
        for height, row in enumerate(rows):
            left = 0.0
            for state, energy_j in energy_by_state(row.result).items():
                width = energy_j / row.result.completed
                color = palette.STATE_LIGHT[state]
                axes.barh(height, width, left=left, color=color, height=0.66)
                left += width
            axes.annotate(
                wording.number(left),
                (left, height),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        axes.set_yticks(range(len(rows)), [short(row.label) for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor=palette.INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.margins(x=0.16)
        axes.grid(False, axis="y")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.set_xlabel("energy per answered request [J]")

    return draw


def trade_off_panels(comparison: Comparison) -> list[Draw]:
    """Two panels: energy per request against the 99th percentile of the time per further token,
    and of the whole answer. A line joins the policies that none beats in both; a dotted one is what
    no schedule could undercut.
    """
    return [
        _trade_off_draw(comparison, "tpot_s", 1e3, "99 of 100 take at most, per further token [ms"),
        _trade_off_draw(comparison, "e2e_s", 1.0, "99 of 100 answers complete within [s"),
    ]


def _trade_off_draw(comparison: Comparison, latency: Latency, scale_to: float, words: str) -> Draw:
    def draw(axes: Axes) -> None:
        points = [(row, x * scale_to, y) for row, x, y in trade_off(comparison, latency)]
        if not points:
            say(axes, "No request was answered")
            return
        place = {id(row): place for row, place in _placed(comparison)}
        best = front([(x, y) for _, x, y in points])
        xs, ys = [points[i][1] for i in best], [points[i][2] for i in best]
        axes.step(xs, ys, where="post", color=palette.GRID, linewidth=2, zorder=1)
        for row, x, y in points:
            color = palette.policy_color(place[id(row)])
            axes.scatter([x], [y], s=42, color=color, zorder=3)
        axes.margins(x=0.3, y=0.2)
        scale = _scale_seconds(axes, [x for _, x, _ in points])
        _mark_bound(axes, comparison)
        _label_points(axes, points)
        axes.set_xlabel(f"{words}{scale}]")
        axes.set_ylabel("energy per answered request [J]")

    return draw


def _scale_seconds(axes: Axes, seconds: Sequence[float]) -> str:
    """A logarithmic axis where the slowest policy would squeeze the others into a corner, else one
    that does not go below 0; gives what to add to the unit.
    """
    low, high = min(seconds), max(seconds)
    if low <= 0 or high < 8 * low:
        axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))
        return ""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.set_xlim(low / 1.6, high * (high / low) ** 0.25)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return ", log scale"


def _mark_bound(axes: Axes, comparison: Comparison) -> None:
    bound = bound_j_per_request(comparison.simulation)
    if bound is None:
        return
    axes.axhline(bound, color=palette.MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
    words = "no schedule can use less"
    at = (0.99, bound)
    where = axes.get_yaxis_transform()
    axes.text(
        *at, words, transform=where, ha="right", va="bottom", fontsize=7.5, color=palette.MUTED
    )


def _label_points(axes: Axes, points: Sequence[tuple[Row, float, float]]) -> None:
    """Names above their points, where a falling front leaves room; raised where they would overlap
    another name.
    """
    axes.autoscale_view()
    scale = 72.0 / axes.figure.dpi
    right = axes.transAxes.transform((1, 1))[0] * scale
    spots = [axes.transData.transform((x, y)) * scale for _, x, y in points]
    placed = [(float(px) - 5, float(px) + 5, float(py)) for px, py in spots]
    for row, x, y in sorted(points, key=lambda point: point[2]):
        px, py = axes.transData.transform((x, y)) * scale
        label = short(row.label)
        width = 4.9 * len(label)
        start = min(px + 4, right - width)
        height = py + 8
        for other_start, other_end, other_height in sorted(placed, key=lambda box: box[2]):
            if start < other_end and other_start < start + width and abs(height - other_height) < 9:
                height = other_height + 9
        placed.append((start, start + width, height))
        line = {"arrowstyle": "-", "color": palette.MUTED, "linewidth": 0.6, "shrinkB": 3}
        axes.annotate(
            label, (x, y), xytext=(start - px, height - py), textcoords="offset points",
            ha="left", va="center", fontsize=8, arrowprops=line if height - py > 12 else None,
        )  # fmt: skip


def say(axes: Axes, words: str) -> None:
    """Words in place of a drawing."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center")


def policy_handles(rows: Sequence[Row], places: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
    """Names and lines of policies in these places of the palette, for a legend."""
    return [
        (
            short(row.label),
            {"color": palette.policy_color(place), "linestyle": palette.policy_dash(place)},
        )
        for row, place in zip(rows, places, strict=True)
    ]


def states_in_use(comparison: Comparison) -> list[str]:
    """The power states in which any policy spent energy, in the order in which they are stacked."""
    used = {state for row in comparison.rows for state in energy_by_state(row.result)}
    return [state for state in POWER_STATES if state in used]


def state_handles(comparison: Comparison) -> list[tuple[str, dict[str, Any]]]:
    """Names and colours of the power states in use, for a legend."""
    return [
        (palette.STATE_WORDS[state], {"color": palette.STATE_LIGHT[state], "linewidth": 6})
        for state in states_in_use(comparison)
    ]


def write_png(
    path: Path,
    draws: Sequence[Draw],
    handles: Sequence[tuple[str, dict[str, Any]]],
    *,
    title: str = "",
    columns: int = 2,
) -> None:
    """Write panels as one PNG file; ``handles``: names and line styles of the legend below,
    ``title``: words above all panels, ``columns``: panels a row, at most.
    """
    with drawing():
        from matplotlib.lines import Line2D

        figure, grid = panel_grid(len(draws), columns=columns)
        for axes, draw in zip(grid, draws, strict=False):
            draw(axes)
        if handles:
            lines = [Line2D([], [], **style) for _, style in handles]
            names = [name for name, _ in handles]
            most = 5 if len(draws) > 1 else 2
            beside = _legend_columns(names, most, inches=figure.get_figwidth())
            figure.legend(lines, names, loc="outside lower center", ncols=beside)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
        figure.savefig(path, dpi=PNG_DPI, facecolor="white")


def _legend_columns(names: Sequence[str], most: int, *, inches: float) -> int:
    """As many columns of names as fit beside each other, at most ``most``."""
    room = inches * _LEGEND_LETTERS_PER_INCH
    for columns in range(min(most, len(names)), 1, -1):
        rows = -(-len(names) // columns)
        parts = [names[start : start + rows] for start in range(0, len(names), rows)]
        if sum(max(map(len, part)) + _LEGEND_LINE_LETTERS for part in parts) <= room:
            return columns
    return 1


def panel_grid(count: int, *, columns: int = 2) -> tuple[Any, list[Axes]]:
    """A figure of ``count`` panels, at most ``columns`` a row, and its axes. No window, no pyplot
    state.
    """
    from matplotlib.figure import Figure

    columns = min(count, columns)
    rows = -(-count // columns)
    width, height = PANEL_INCHES
    if count > 4:
        height *= 0.75
    figure = Figure(figsize=(width * columns, height * rows + 0.35), layout="constrained")
    grid = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    return figure, grid
