"""How a run went, over time: replicas by power state, missed deadlines, the price of lateness.

matplotlib is imported when something is drawn, never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from baseload.report import palette, wording
from baseload.report.figures import Comparison, Row, keeps_promises, thriftiest
from baseload.report.plots import (
    Axes,
    Draw,
    coarse,
    places_of,
    policy_handles,
    say,
    short,
    write_png,
)
from baseload.simulator.results import POWER_STATES, ControlSeries, Series

MOST_POLICIES = 4
_MISS_POINTS = 80
_LEAST_MISS_PERCENT = 0.1


def of_interest(comparison: Comparison) -> list[Row]:
    """The policies whose course is worth a look, at most ``MOST_POLICIES``: the baseline, the
    thriftiest, the thriftiest that keeps its promises, then those that sleep or are controlled; in
    the order of the comparison.
    """
    keeping = [row for row in comparison.rows if keeps_promises(row, comparison.simulation)]
    moved = [r for r in comparison.rows if r.result.control is not None or r.result.wakes > 0]
    wanted = [comparison.baseline, thriftiest(comparison.rows)]
    wanted += [thriftiest(keeping)] if keeping else []
    chosen: list[Row] = []
    for row in (*wanted, *moved):
        if not any(row is other for other in chosen) and len(chosen) < MOST_POLICIES:
            chosen.append(row)
    return [row for row in comparison.rows if any(row is other for other in chosen)]


def has_replicas(comparison: Comparison) -> bool:
    """Whether any policy recorded replicas by power state."""
    return any(_counts(row) for row in of_interest(comparison))


def _counts(row: Row) -> dict[str, list[float]]:
    series = row.result.series
    return {} if series is None or not series.t_s else series.replicas


def replica_panels(comparison: Comparison) -> list[Draw]:
    """One panel a policy of interest: replicas over time, stacked by power state."""
    return [_replica_draw(row) for row in of_interest(comparison)]


def replica_states(comparison: Comparison) -> list[str]:
    """The power states that any replica of interest was in, in the order of stacking."""
    return [
        state
        for state in POWER_STATES
        if any(any(_counts(row).get(state, ())) for row in of_interest(comparison))
    ]


def _replica_draw(row: Row) -> Draw:
    def draw(axes: Axes) -> None:
        axes.set_title(short(row.label), loc="left")
        series = row.result.series
        if series is None or not _counts(row):
            say(axes, "No replicas over time recorded")
            return
        states = [state for state in POWER_STATES if any(series.replicas.get(state, ()))]
        stack = coarse(np.asarray([series.replicas[state] for state in states]))
        edges, unit = _edges(series, stack.shape[-1])
        base = np.zeros(stack.shape[-1])
        for state, values in zip(states, stack, strict=True):
            color = palette.STATE_LIGHT[state]
            axes.stairs(base + values, edges, baseline=base, fill=True, color=color, linewidth=0)
            base = base + values
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(0, float(base.max()) * 1.02 or 1.0)
        axes.set_xlabel(f"time in the trace [{unit}]")
        axes.set_ylabel("replicas")

    return draw


def _edges(series: Series, bins: int) -> tuple[Any, str]:
    """Edges of ``bins`` equal parts of the series, in the unit that fits it."""
    bin_s = series.bin_s * len(series.t_s) / bins
    edges_s = series.t_s[0] + bin_s * np.arange(bins + 1)
    unit_s, unit = time_unit(float(edges_s[-1]))
    return edges_s / unit_s, unit


def time_unit(span_s: float) -> tuple[float, str]:
    """Seconds of the unit in which to draw a run of ``span_s`` seconds, and its name."""
    return (3600.0, "hours") if span_s > 3 * 3600 else (60.0, "minutes")


def has_course(comparison: Comparison) -> bool:
    """Whether there are misses over time, or a price of lateness that moves."""
    missed = any(_misses(row) for row in of_interest(comparison))
    return missed or bool(_controlled(comparison))


def course_panels(comparison: Comparison) -> list[Draw]:
    """Missed deadlines over time, one curve a policy of interest; then the price of lateness
    (lambda) of each tier, one panel for each policy that moves it.
    """
    draws: list[Draw] = [lambda axes: _draw_misses(axes, comparison)]
    return draws + [_lambda_draw(row.label, found) for row, found in _controlled(comparison)]


def course_alts(comparison: Comparison) -> list[str]:
    """What each of ``course_panels`` shows, for people who do not see it."""
    names = wording.listing([row.label for row in of_interest(comparison)])
    alts = [f"share of requests that missed a deadline over time under {names}"]
    for row, found in _controlled(comparison):
        said = [
            f"{tier} between {wording.number(min(values))} and {wording.number(max(values))}"
            for tier, values in found.lambda_by_tier.items()
        ]
        alts.append(f"price of lateness over time under {row.label}: {wording.listing(said)}")
    return alts


def _controlled(comparison: Comparison) -> list[tuple[Row, ControlSeries]]:
    """The policies of interest whose price of lateness moves, with their diaries."""
    return [
        (row, found)
        for row in of_interest(comparison)
        if (found := row.result.control) is not None
        and any(len(set(values)) > 1 for values in found.lambda_by_tier.values())
    ]


def _misses(row: Row) -> list[float | None]:
    series = row.result.series
    return [] if series is None else series.miss_frac


def _draw_misses(axes: Axes, comparison: Comparison) -> None:
    axes.set_title("Missed deadlines", loc="left")
    places = {id(row): at for row, at in zip(comparison.rows, places_of(comparison), strict=True)}
    unit, highest = "minutes", 0.0
    for row in of_interest(comparison):
        series = row.result.series
        if series is None or not series.miss_frac:
            continue
        unit_s, unit = time_unit(series.t_s[-1] + series.bin_s)
        at_s, missed = _thinned(series)
        place = places[id(row)]
        highest = max(highest, float(np.nanmax(missed, initial=0.0)))
        style = {"color": palette.policy_color(place), "linestyle": palette.policy_dash(place)}
        axes.plot(at_s / unit_s, missed * 100.0, linewidth=1.3, **style)
    if not axes.lines:
        say(axes, "No misses over time recorded")
        return
    for target in _targets(comparison):
        axes.axhline(target * 100.0, color=palette.MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        words = f"target {wording.percent(target)}"
        where = axes.get_yaxis_transform()
        axes.text(
            0.99, target * 100.0, words, transform=where, ha="right", va="bottom", fontsize=7.5,
            color=palette.MUTED,
        )  # fmt: skip
    axes.set_yscale("symlog", linthresh=_LEAST_MISS_PERCENT)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylim(0, max(2.0, highest * 130.0))
    axes.set_xlabel(f"time in the trace [{unit}]")
    axes.set_ylabel("of the requests that ended [%]")


def _targets(comparison: Comparison) -> list[float]:
    known = {promise.get("target_miss_frac") for promise in comparison.simulation.tiers.values()}
    return sorted(target for target in known if target)


def _thinned(series: Series) -> tuple[Any, Any]:
    """Times [s] and shares of misses in at most ``_MISS_POINTS`` bins; where nobody ended there is
    a gap.
    """
    values = np.array([np.nan if one is None else one for one in series.miss_frac])
    group = -(-len(values) // _MISS_POINTS)
    count = len(values) // group
    parts = values[: count * group].reshape(count, group)
    known = ~np.isnan(parts)
    sums = np.where(known, parts, 0.0).sum(1)
    means = np.divide(sums, known.sum(1), out=np.full(count, np.nan), where=known.any(1))
    times = np.asarray(series.t_s)[: count * group : group] + 0.5 * group * series.bin_s
    return times, means


def _lambda_draw(label: str, found: ControlSeries) -> Draw:
    def draw(axes: Axes) -> None:
        axes.set_title(f"Price of lateness: {short(label)}", loc="left")
        unit_s, unit = time_unit(found.t_s[-1])
        times = np.asarray(found.t_s) / unit_s
        everything = [value for values in found.lambda_by_tier.values() for value in values]
        for place, (tier, values) in enumerate(found.lambda_by_tier.items(), start=1):
            color = palette.policy_color(place)
            style = palette.DASHES[(place - 1) % len(palette.DASHES)]
            axes.step(times, values, where="post", color=color, linestyle=style, linewidth=1.3)
            axes.annotate(
                short(tier), (times[-1], values[-1]), xytext=(-3, 3), textcoords="offset points",
                ha="right", va="bottom", fontsize=7.5, color=color,
            )  # fmt: skip
        low, high = min(everything), max(everything)
        if low > 0 and high > 20 * low:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.margins(y=0.15)
        axes.set_xlabel(f"time in the trace [{unit}]")
        axes.set_ylabel("price units per second late")

    return draw


def draw_course(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``replicas.png`` and ``course.png`` into the existing ``folder``, each where a run
    recorded it; gives their paths.
    """
    sheets: dict[str, tuple[list[Draw], list[tuple[str, dict[str, Any]]]]] = {}
    if has_replicas(comparison):
        states = _state_handles(replica_states(comparison))
        sheets["replicas"] = (replica_panels(comparison), states)
    if has_course(comparison):
        rows = of_interest(comparison)
        places = [
            place
            for row, place in zip(comparison.rows, places_of(comparison), strict=True)
            if any(row is one for one in rows)
        ]
        sheets["course"] = (course_panels(comparison), policy_handles(rows, places))
    paths = []
    for name, (draws, handles) in sheets.items():
        path = folder / f"{name}.png"
        write_png(path, draws, handles)
        paths.append(path)
    return paths


def _state_handles(states: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Names and colours of power states, for a legend."""
    return [
        (palette.STATE_WORDS[state], {"color": palette.STATE_LIGHT[state], "linewidth": 6})
        for state in states
    ]
