"""The plots of a routing that looks at the supply: what a joule costs over the level of the store,
which option answers at which hour, level and price around the darkest days.

matplotlib is imported when something is drawn, never before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from baseload.base.units import J_PER_KWH, S_PER_DAY
from baseload.report import palette
from baseload.report.diaries import curves, diarists, diary_of, parts_of
from baseload.report.figures import Comparison, Row
from baseload.report.plots import Axes, Draw, say, short, write_png

MOST_CLASSES = 4
MOST_OPTIONS = 9
TITLES = {
    "joule-price": "What a joule costs over the level of the store",
    "choice-hours": "Which option answers, by the hour of the day",
    "joule-days": "Level of the store and price of a joule around the darkest days",
}
"""What to see in each plot."""
_KW = 1000.0
_LEVEL, _PRICE, _SUPPLY = 5, 1, 4


def price_panels(comparison: Comparison) -> list[Draw]:
    """One panel a policy shown: price of a joule over the level, a curve a time of day."""
    return [_price_draw(row) for row in diarists(comparison)]


def price_names(comparison: Comparison) -> list[str]:
    """The times of day that have a curve, in the order of their places."""
    names = [name for row in diarists(comparison) for name in curves(diary_of(row))]
    return list(dict.fromkeys(names))


def line(place: int) -> dict[str, Any]:
    """The line of a place in the palette."""
    return {"color": palette.policy_color(place), "linestyle": palette.policy_dash(place)}


def _price_draw(row: Row) -> Draw:
    def draw(axes: Axes) -> None:
        axes.set_title(short(row.label), loc="left")
        diary = diary_of(row)
        levels = 100.0 * np.asarray(diary.curve_level_frac)
        found = curves(diary)
        if not found:
            say(axes, "The run is shorter than a day")
            return
        for place, values in enumerate(found.values(), start=1):
            axes.plot(levels, J_PER_KWH * np.asarray(values), linewidth=1.6, **line(place))
        axes.set_xlim(0, 100)
        axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        axes.set_xlabel("energy position in the store [%]")
        axes.set_ylabel("price of a joule [$/kWh]")

    return draw


def band_panels(comparison: Comparison) -> list[Draw]:
    """One panel a policy shown and class: shares of the options, stacked, by the hour of UTC."""
    place = {name: at for at, name in enumerate(band_options(comparison), start=1)}
    return [
        _band_draw(row, label, place)
        for row in diarists(comparison)
        for label in list(diary_of(row).choice_frac)[:MOST_CLASSES]
    ]


def band_options(comparison: Comparison) -> list[str]:
    """The options that have a colour, in the order of their places."""
    names = [
        option
        for row in diarists(comparison)
        for shares in diary_of(row).choice_frac.values()
        for option in shares
    ]
    return list(dict.fromkeys(names))


def has_bands(comparison: Comparison) -> bool:
    """Whether any policy shown had a choice."""
    return 1 < len(band_options(comparison)) <= MOST_OPTIONS


def _band_draw(row: Row, label: str, place: dict[str, int]) -> Draw:
    def draw(axes: Axes) -> None:
        axes.set_title(short(f"{row.label}: {label}"), loc="left")
        base = np.zeros(24)
        for option, shares in diary_of(row).choice_frac[label].items():
            values = np.array([100.0 * (share or 0.0) for share in shares])
            axes.stairs(
                base + values,
                np.arange(25),
                baseline=base,
                fill=True,
                color=palette.policy_color(place[option]),
                linewidth=0,
            )
            base = base + values
        _mark_night(axes, row)
        axes.set_xlim(0, 24)
        axes.set_xticks(range(0, 25, 4))
        axes.set_ylim(0, 100)
        axes.set_xlabel("hour of the day [UTC]")
        axes.set_ylabel("share of the answers [%]")

    return draw


def _mark_night(axes: Axes, row: Row) -> None:
    """Dotted lines where the night begins and ends."""
    night = parts_of(diary_of(row)).night
    if not night:
        return
    for hour in (night[0], (night[-1] + 1) % 24):
        axes.axvline(hour, color=palette.INK, linestyle=(0, (1, 2)), linewidth=1.2)


def has_days(comparison: Comparison) -> bool:
    """Whether the darkest days were recorded."""
    return any(diary_of(row).stretch is not None for row in diarists(comparison))


def day_panels(comparison: Comparison) -> list[Draw]:
    """Two panels a policy shown: supply and store, and price, over the days around the darkest."""
    draws: list[Draw] = []
    for row in diarists(comparison):
        draws += [_store_draw(row), _course_draw(row)]
    return draws


def _store_draw(row: Row) -> Draw:
    def draw(axes: Axes) -> None:
        _frame(axes, row)
        stretch = diary_of(row).stretch
        if stretch is None:
            return
        days = np.asarray(stretch.t_s) / S_PER_DAY
        levels = np.asarray(stretch.level_j) / J_PER_KWH
        axes.plot(days, levels, linewidth=1.4, **line(_LEVEL))
        supply = np.asarray(stretch.baseline_w) / _KW
        axes.plot(days, supply, linewidth=0.9, **line(_SUPPLY))
        axes.set_ylim(bottom=0)
        axes.set_ylabel("store [kWh], baseline [kW]")

    return draw


def _course_draw(row: Row) -> Draw:
    def draw(axes: Axes) -> None:
        _frame(axes, row)
        stretch = diary_of(row).stretch
        if stretch is None:
            return
        days = np.asarray(stretch.t_s) / S_PER_DAY
        price = J_PER_KWH * np.asarray(stretch.price_usd_per_j)
        axes.plot(days, price, linewidth=1.2, **line(_PRICE))
        axes.set_ylabel("price of a joule [$/kWh]")

    return draw


def _frame(axes: Axes, row: Row) -> None:
    """Title, time and the darkest days of a panel."""
    axes.set_title(short(row.label), loc="left")
    stretch = diary_of(row).stretch
    if stretch is None:
        say(axes, "The run has too few days")
        return
    for edge_s in (stretch.dark_from_s, stretch.dark_to_s):
        at = edge_s / S_PER_DAY
        axes.axvline(at, color=palette.MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
    axes.set_xlim(stretch.t_s[0] / S_PER_DAY, stretch.t_s[-1] / S_PER_DAY)
    axes.set_xlabel("time in the run [days]")


def day_places() -> list[tuple[str, int]]:
    """Names and places of the curves around the darkest days."""
    return [("store", _LEVEL), ("baseline", _SUPPLY), ("price", _PRICE)]


def draw_diaries(comparison: Comparison, folder: Path) -> list[Path]:
    """Write ``joule-price.png``, ``choice-hours.png`` and ``joule-days.png`` into the existing
    ``folder``, each where there is something to draw; gives their paths.
    """
    if not diarists(comparison):
        return []
    sheets: dict[str, tuple[list[Draw], list[tuple[str, dict[str, Any]]]]] = {}
    handles = [(name, line(place)) for place, name in enumerate(price_names(comparison), start=1)]
    sheets["joule-price"] = (price_panels(comparison), handles)
    if has_bands(comparison):
        blocks = [
            (short(name), {"color": palette.policy_color(place), "linewidth": 6})
            for place, name in enumerate(band_options(comparison), start=1)
        ]
        sheets["choice-hours"] = (band_panels(comparison), blocks)
    if has_days(comparison):
        sheets["joule-days"] = (
            day_panels(comparison),
            [(name, line(place)) for name, place in day_places()],
        )
    paths = []
    for name, (draws, handles) in sheets.items():
        path = folder / f"{name}.png"
        write_png(path, draws, handles, title=TITLES[name])
        paths.append(path)
    return paths
