"""The plots of a site's supply: the V over scales, the mean day, the run, the bill.

matplotlib is imported when something is drawn, never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baseload.report import palette
from baseload.report.figures import Comparison, Row
from baseload.report.plots import Axes, Draw, say, short, write_png
from baseload.report.supply_figures import (
    COST_WORDS,
    kwh,
    main_of,
    scales_of,
    shown,
    with_supply,
)

MOST_PANELS = 4
FLOWS = {"demand": 0, "auxiliary": 1, "waste": 2, "auxiliary + waste": 3, "baseline": 4}
"""Places of the palette, the same in all plots of a supply."""
STORE = {"store level": 5}
TITLES = {
    "supply-v": "Too little supply is bought, too much is wasted",
    "supply-day": "The mean day: when energy is bought and wasted",
    "supply-run": "The supply over the run",
    "supply-cost": "The bill of the site",
}
"""What to see in each plot."""
_KW = 1000.0


def has_scales(comparison: Comparison) -> bool:
    """Whether several scales of the baseline were settled."""
    return len(scales_of(comparison)) > 1


def has_day(comparison: Comparison) -> bool:
    """Whether a mean day was recorded."""
    return any(main_of(row).day is not None for row in shown(comparison))


def has_bill(comparison: Comparison) -> bool:
    """Whether anything has a price."""
    return any(any(main_of(row).cost_usd.values()) for row in with_supply(comparison))


def v_panels(comparison: Comparison) -> list[Draw]:
    """One panel a policy: auxiliary energy, waste and their sum over baseline / demand."""
    return [_v_draw(row) for row in with_supply(comparison)[:MOST_PANELS]]


def v_names() -> list[str]:
    """Curves of the V."""
    return ["auxiliary", "waste", "auxiliary + waste"]


def _v_draw(row: Row) -> Draw:
    def draw(axes: Axes) -> None:
        axes.set_title(short(row.label), loc="left")
        points = sorted(
            (one for one in row.result.supply if one.baseline_over_demand is not None),
            key=lambda one: one.scale,
        )
        if not points:
            say(axes, "No demand to hold the baseline against")
            return
        x = [one.baseline_over_demand for one in points]
        rows = {
            "auxiliary": [kwh(one.auxiliary_j) for one in points],
            "waste": [kwh(one.waste_j) for one in points],
            "auxiliary + waste": [kwh(one.auxiliary_j + one.waste_j) for one in points],
        }
        for name, values in rows.items():
            axes.plot(x, values, marker="o", markersize=4, linewidth=1.6, **line(FLOWS[name]))
        _intervals(axes, x, points)
        low, high = axes.get_xlim()
        if low < 1 < high:
            axes.axvline(1.0, color=palette.MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
            axes.annotate(
                "critical", (1.0, 0.98), xycoords=axes.get_xaxis_transform(), xytext=(3, 0),
                textcoords="offset points", ha="left", va="top", fontsize=7.5,
                color=palette.MUTED,
            )  # fmt: skip
        axes.set_ylim(bottom=0)
        axes.set_xlabel("baseline over demand")
        axes.set_ylabel("energy over the run [kWh]")

    return draw


def _intervals(axes: Axes, x: Sequence[float | None], points: Sequence[Any]) -> None:
    """95 % intervals over seeds, where there are several."""
    for name, field in (("auxiliary", "auxiliary_j"), ("waste", "waste_j")):
        for at, one in zip(x, points, strict=True):
            if field in one.interval:
                low, high = (kwh(value) for value in one.interval[field])
                axes.vlines(at, low, high, color=palette.policy_color(FLOWS[name]), linewidth=1)


def day_panels(comparison: Comparison) -> list[Draw]:
    """Two panels a policy shown: powers by the hour of UTC, and the level of the store."""
    draws: list[Draw] = []
    for row in shown(comparison):
        draws += [_day_draw(row), _level_draw(row, day=True)]
    return draws


def _day_draw(row: Row) -> Draw:
    def draw(axes: Axes) -> None:
        axes.set_title(short(row.label), loc="left")
        day = main_of(row).day
        if day is None:
            say(axes, "The run is shorter than a day")
            return
        edges = np.arange(25)
        for name in ("baseline", "demand", "auxiliary", "waste"):
            values = np.asarray(getattr(day, f"{name}_w")) / _KW
            axes.stairs(values, edges, baseline=None, linewidth=1.6, **line(FLOWS[name]))
        axes.set_xlim(0, 24)
        axes.set_xticks(range(0, 25, 4))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("hour of the day [UTC]")
        axes.set_ylabel("mean power [kW]")

    return draw


def _level_draw(row: Row, *, day: bool) -> Draw:
    def draw(axes: Axes) -> None:
        axes.set_title(short(row.label), loc="left")
        found = main_of(row)
        record = found.day if day else found.series
        if record is None or not any(record.level_j):
            say(axes, "No store" if record is not None else "Not recorded")
            return
        levels = kwh(1.0) * np.asarray(record.level_j)
        if day:
            axes.stairs(levels, np.arange(25), baseline=None, linewidth=1.6, **line(5))
            axes.set_xlim(0, 24)
            axes.set_xticks(range(0, 25, 4))
            axes.set_xlabel("hour of the day [UTC]")
        else:
            assert found.series is not None
            times, unit = _times(found.series.t_s)
            axes.plot(times, levels, linewidth=1.0, **line(5))
            axes.set_xlim(times[0], times[-1])
            axes.set_xlabel(f"time in the run [{unit}]")
        axes.set_ylim(bottom=0)
        axes.set_ylabel("energy in the store [kWh]")

    return draw


def run_panels(comparison: Comparison) -> list[Draw]:
    """Two panels a policy shown: powers over the run, and the level of the store."""
    draws: list[Draw] = []
    for row in shown(comparison):
        draws += [_run_draw(row), _level_draw(row, day=False)]
    return draws


def _run_draw(row: Row) -> Draw:
    def draw(axes: Axes) -> None:
        axes.set_title(short(row.label), loc="left")
        series = main_of(row).series
        if series is None or not series.t_s:
            say(axes, "Not recorded")
            return
        times, unit = _times(series.t_s)
        for name in ("baseline", "demand", "auxiliary", "waste"):
            values = np.asarray(getattr(series, f"{name}_w")) / _KW
            width = 0.8 if name == "baseline" else 1.2
            axes.plot(times, values, linewidth=width, **line(FLOWS[name]))
        axes.set_xlim(times[0], times[-1])
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"time in the run [{unit}]")
        axes.set_ylabel("mean power [kW]")

    return draw


def _times(t_s: Sequence[float]) -> tuple[Any, str]:
    """Times in the unit that fits their span."""
    span_s = t_s[-1]
    unit_s, unit = (60.0, "minutes")
    if span_s > 3 * 86_400:
        unit_s, unit = 86_400.0, "days"
    elif span_s > 3 * 3600:
        unit_s, unit = 3600.0, "hours"
    return np.asarray(t_s) / unit_s, unit


def bill_parts(comparison: Comparison) -> list[str]:
    """The parts that cost anything under any policy, in the order of the bill."""
    rows = [main_of(row).cost_usd for row in with_supply(comparison)]
    return [part for part in COST_WORDS if any(costs.get(part) for costs in rows)]


def bill_panel(comparison: Comparison) -> Draw:
    """The cost of each policy, in parts, and the total's interval; what earns lies left of 0."""

    def draw(axes: Axes) -> None:
        rows, parts = with_supply(comparison), bill_parts(comparison)
        for height, row in enumerate(rows):
            costs = main_of(row).cost_usd
            right, left = 0.0, 0.0
            for place, part in enumerate(parts, start=1):
                value = costs.get(part) or 0.0
                start = right if value >= 0 else left
                color = palette.policy_color(place)
                axes.barh(height, value, left=start, color=color, height=0.66)
                right, left = right + max(value, 0.0), left + min(value, 0.0)
            total = main_of(row).total_cost_usd
            words = "" if total is None else f"${total:,.4g}"
            span = main_of(row).interval.get("total_cost_usd")
            if span is not None:
                axes.plot(span, (height, height), color=palette.INK, linewidth=1.4)
                right = max(right, span[1])
            axes.annotate(
                words, (right, height), xytext=(4, 0), textcoords="offset points", va="center",
                fontsize=8,
            )  # fmt: skip
        axes.set_yticks(range(len(rows)), [short(row.label) for row in rows])
        axes.tick_params(axis="y", length=0, labelcolor=palette.INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.margins(x=0.16)
        axes.grid(False, axis="y")
        axes.set_xlabel("cost of the run [$]")

    return draw


def line(place: int) -> dict[str, Any]:
    """The line of a place in the palette; the demand, place 0, is dashed."""
    return {
        "color": palette.policy_color(place),
        "linestyle": "dashed" if place == 0 else palette.policy_dash(place),
    }


def flow_places(*, store: bool) -> list[tuple[str, int]]:
    """Names and places of the curves of a day or a run."""
    found = [(name, FLOWS[name]) for name in ("baseline", "demand", "auxiliary", "waste")]
    return [*found, *STORE.items()] if store else found


def draw_supply(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``supply-v.png``, ``supply-day.png``, ``supply-run.png`` and ``supply-cost.png`` into
    the existing ``folder``, each where there is something to draw; gives their paths.
    """
    if not with_supply(comparison):
        return []
    flows = [(name, line(place)) for name, place in flow_places(store=True)]
    sheets: dict[str, tuple[list[Draw], list[tuple[str, dict[str, Any]]]]] = {}
    if has_scales(comparison):
        handles = [(name, line(FLOWS[name])) for name in v_names()]
        sheets["supply-v"] = (v_panels(comparison), handles)
    if has_day(comparison):
        sheets["supply-day"] = (day_panels(comparison), flows)
    sheets["supply-run"] = (run_panels(comparison), flows)
    if has_bill(comparison):
        parts = [
            (COST_WORDS[part], {"color": palette.policy_color(place), "linewidth": 6})
            for place, part in enumerate(bill_parts(comparison), start=1)
        ]
        sheets["supply-cost"] = ([bill_panel(comparison)], parts)
    paths = []
    for name, (draws, handles) in sheets.items():
        path = folder / f"{name}.png"
        write_png(path, draws, handles, title=TITLES[name])
        paths.append(path)
    return paths
