"""The plots of a sweep: energy and misses against load, and energy against latency, one curve a
policy.

Hollow marks: more missed deadlines than a tier's target allows. matplotlib is imported when
something is drawn, never before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from baseload.report import palette
from baseload.report.plots import Axes, Draw, say, short, write_png
from baseload.report.sweep_figures import points_at, points_of, targets
from baseload.simulator.sweeps import Sweep, SweepPoint

_LEAST_MISS_PERCENT = 0.1
"""Below this the axis of misses is linear, so that no misses at all has a place on it."""

Value = Callable[[SweepPoint], float | None]


def draw_sweep(sweep: Sweep, folder: Path) -> list[Path]:
    """Write ``load.png`` (energy and misses) and ``pareto.png`` (energy against latency) into the
    existing ``folder``; gives their paths. A plot whose data is missing says so in words instead.
    """
    sheets = {"load": load_panels(sweep), "pareto": pareto_panels(sweep)}
    paths = []
    for name, draws in sheets.items():
        path = folder / f"{name}.png"
        write_png(path, draws, handles(sweep))
        paths.append(path)
    return paths


def handles(sweep: Sweep) -> list[tuple[str, dict[str, Any]]]:
    """Names and lines of the policies, for a legend."""
    return [(short(policy), _line(place)) for place, policy in enumerate(sweep.policies)]


def load_panels(sweep: Sweep) -> list[Draw]:
    """Two panels: energy per request and share of misses, both against load."""
    return [lambda axes: _draw_energy(axes, sweep), lambda axes: _draw_misses(axes, sweep)]


def pareto_panels(sweep: Sweep) -> list[Draw]:
    """Two panels: energy per request against the 99th percentile of the whole answer, and of the
    time per token; a curve joins the loads of a policy.
    """
    return [
        lambda axes: _draw_pareto(axes, sweep, lambda p: p.e2e_s_p99, 1.0, "whole answer [s"),
        lambda axes: _draw_pareto(
            axes, sweep, lambda p: p.tpot_s_p99, 1e3, "token after token [ms"
        ),
    ]


def _line(place: int) -> dict[str, Any]:
    return {"color": palette.policy_color(place), "linestyle": palette.policy_dash(place)}


def _energy(point: SweepPoint) -> float | None:
    return point.energy_j_per_request


def _curve(axes: Axes, place: int, points: Sequence[SweepPoint], x: Value, y: Value) -> int:
    """One policy's curve with its marks; gives how many points it has."""
    known = [
        (at, height, point)
        for point in points
        if (at := x(point)) is not None and (height := y(point)) is not None
    ]
    xs, ys = [at for at, _, _ in known], [height for _, height, _ in known]
    axes.plot(xs, ys, linewidth=1.6, zorder=2, **_line(place))
    color = palette.policy_color(place)
    for at, height, point in known:
        face = "none" if point.keeps_targets is False else color
        axes.scatter([at], [height], s=26, facecolors=face, edgecolors=color, zorder=3)
    return len(known)


def _curves(axes: Axes, sweep: Sweep, x: Value, y: Value) -> int:
    """The curves of all policies, the first one below the others."""
    return sum(
        _curve(axes, place, points_of(sweep, policy), x, y)
        for place, policy in enumerate(sweep.policies)
    )


def _draw_energy(axes: Axes, sweep: Sweep) -> None:
    axes.set_title("Energy per answered request", loc="left")
    if not _curves(axes, sweep, lambda point: point.load_frac, _energy):
        say(axes, "No request was answered")
        return
    for place, policy in enumerate(sweep.policies):
        _whiskers(axes, place, points_of(sweep, policy))
    _draw_bound_curve(axes, sweep)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("energy per request [J]")
    _load_axis(axes, sweep)


def _whiskers(axes: Axes, place: int, points: Sequence[SweepPoint]) -> None:
    """The 95 % intervals over seeds, where there are any."""
    for point in points:
        known = point.interval.get("energy_j_per_request")
        if known is not None:
            axes.vlines(point.load_frac, *known, color=palette.policy_color(place), linewidth=1)


def _draw_bound_curve(axes: Axes, sweep: Sweep) -> None:
    """The energy that no schedule can undercut, where it is known."""
    known = _bounds(sweep)
    if not known:
        return
    xs, ys = zip(*known, strict=True)
    axes.plot(xs, ys, color=palette.MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
    axes.annotate(
        "no schedule can use less", (xs[-1], ys[-1]), xytext=(0, 4), textcoords="offset points",
        ha="right", fontsize=7.5, color=palette.MUTED,
    )  # fmt: skip


def _bounds(sweep: Sweep) -> list[tuple[float, float]]:
    """Load and bound [J per request] where a bound is known."""
    return [
        (load_frac, bound)
        for load_frac in sweep.loads
        for point in points_at(sweep, load_frac)[:1]
        if (bound := point.bound_energy_j_per_request) is not None
    ]


def _draw_misses(axes: Axes, sweep: Sweep) -> None:
    axes.set_title("Missed deadlines", loc="left")
    if not _curves(axes, sweep, lambda point: point.load_frac, _missed):
        say(axes, "No deadline was promised")
        return
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set_yscale("symlog", linthresh=_LEAST_MISS_PERCENT)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    marks = targets(sweep)
    for target in marks:
        axes.axhline(target * 100.0, color=palette.MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        axes.text(
            0.01, target * 100.0, f"target {target * 100.0:g} %", ha="left", va="bottom",
            transform=axes.get_yaxis_transform(), fontsize=7.5, color=palette.MUTED,
        )  # fmt: skip
    top = max([axes.get_ylim()[1], *(target * 200.0 for target in marks)])
    axes.set_ylim(0, min(150.0, max(top, 2 * _LEAST_MISS_PERCENT)))
    axes.set_ylabel("requests that missed a deadline [%]")
    _load_axis(axes, sweep)


def _missed(point: SweepPoint) -> float | None:
    return None if point.miss_frac is None else point.miss_frac * 100.0


def _load_axis(axes: Axes, sweep: Sweep) -> None:
    """Load from the left; where the fleet is full there is a line."""
    low, high = sweep.loads[0], sweep.loads[-1]
    margin = (high - low) * 0.05
    axes.set_xlim(low - margin, high + margin)
    if low < 1 < high:
        axes.axvline(1.0, color=palette.MUTED, linewidth=0.8)
    axes.set_xlabel("load [share of what the fleet completes]")


def _draw_pareto(axes: Axes, sweep: Sweep, value: Value, scale: float, words: str) -> None:
    def at(point: SweepPoint) -> float | None:
        found = value(point)
        return None if found is None else found * scale

    if not _curves(axes, sweep, at, _energy):
        say(axes, "No request was answered")
        return
    axes.margins(x=0.12, y=0.12)
    unit = _scale_latency(axes, [x for point in sweep.points if (x := at(point)) is not None])
    _name_ends(axes, sweep, at)
    bounds = _bounds(sweep)
    if bounds:
        load_frac, least = min(bounds, key=lambda pair: pair[1])
        axes.axhline(least, color=palette.MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        axes.text(
            0.99, least, f"no schedule can use less at load {load_frac:g}",
            transform=axes.get_yaxis_transform(), ha="right", va="bottom", fontsize=7.5,
            color=palette.MUTED,
        )  # fmt: skip
    axes.set_xlabel(f"99 of 100 within: {words}{unit}]")
    axes.set_ylabel("energy per request [J]")


def _scale_latency(axes: Axes, values: Sequence[float]) -> str:
    """A logarithmic axis where the slowest would squeeze the others; gives what to add to the
    unit.
    """
    if min(values) <= 0 or max(values) < 8 * min(values):
        axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))
        return ""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return ", log scale"


def _name_ends(axes: Axes, sweep: Sweep, at: Value) -> None:
    """Write the lowest and the highest load beside each curve, where no other name stands yet."""
    axes.autoscale_view()
    scale = 72.0 / axes.figure.dpi
    taken: list[tuple[float, float]] = []
    for policy in sweep.policies:
        known = [
            (x, y, point)
            for point in points_of(sweep, policy)
            if (x := at(point)) is not None and (y := _energy(point)) is not None
        ]
        for x, y, point in (known[0], known[-1])[: len(known)] if known else ():
            across, up = (float(value) * scale for value in axes.transData.transform((x, y)))
            if any(abs(across - other) < 16 and abs(up - high) < 9 for other, high in taken):
                continue
            taken.append((across, up))
            axes.annotate(
                f"{point.load_frac:g}", (x, y), xytext=(4, 3), textcoords="offset points",
                fontsize=7, color=palette.MUTED,
            )  # fmt: skip
