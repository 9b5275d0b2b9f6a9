"""Diaries of policies that look at the supply, as plots and words read them: whose are shown, and
which hours are night and noon.
"""

from __future__ import annotations

from typing import NamedTuple

from baseload.report.costs import with_cost
from baseload.report.figures import Comparison, Row
from baseload.simulator.results import SupplyDiary

MOST_SHOWN = 2
_DARK_FRAC, _BRIGHT_FRAC = 0.05, 0.8
_HOURS = 24


class Parts(NamedTuple):
    """Hours of the day in UTC: ``night`` without supply, ``evening`` its first quarter,
    ``late`` its last, ``noon`` within a fifth of the most supply. A supply without a night has
    none of the first three.
    """

    night: tuple[int, ...]
    evening: tuple[int, ...]
    late: tuple[int, ...]
    noon: tuple[int, ...]


def with_diary(comparison: Comparison) -> list[Row]:
    """The policies that look at the supply, those with the least cost first."""
    rows = [row for row in comparison.rows if row.result.joule_prices is not None]
    known = [row for row in with_cost(comparison) if row.result.joule_prices is not None]
    known.sort(key=lambda row: row.result.total_cost_usd or 0.0)
    return [*known, *(row for row in rows if row not in known)]


def diarists(comparison: Comparison) -> list[Row]:
    """Those whose diaries are drawn: the cheapest, and the next that chose otherwise."""
    return with_diary(comparison)[:MOST_SHOWN]


def diary_of(row: Row) -> SupplyDiary:
    """The diary of a policy that has one."""
    assert row.result.joule_prices is not None
    return row.result.joule_prices


def parts_of(diary: SupplyDiary) -> Parts:
    """Night and noon by the mean day of the baseline."""
    supply = [value or 0.0 for value in diary.baseline_w]
    peak = max(supply)
    if peak <= 0.0:
        return Parts((), (), (), ())
    noon = tuple(hour for hour in range(_HOURS) if supply[hour] >= _BRIGHT_FRAC * peak)
    dark = {hour for hour in range(_HOURS) if supply[hour] < _DARK_FRAC * peak}
    if not dark:
        return Parts((), (), (), noon)
    top = supply.index(peak)
    night = tuple(hour % _HOURS for hour in range(top, top + _HOURS) if hour % _HOURS in dark)
    quarter = max(1, len(night) // 4)
    return Parts(night, night[:quarter], night[-quarter:], noon)


def mean_over(values: list[float | None], hours: tuple[int, ...]) -> float | None:
    """Mean of the values of some hours that are there."""
    known = [value for hour in hours if (value := values[hour]) is not None]
    return sum(known) / len(known) if known else None


def curves(diary: SupplyDiary) -> dict[str, list[float]]:
    """Mean price of a joule over the level of the store [$/J] at some times of the day."""
    parts = parts_of(diary)
    family = {"evening": parts.evening, "end of the night": parts.late, "noon": parts.noon}
    if not parts.night:
        family = {f"{hour:02d} UTC": (hour,) for hour in range(0, _HOURS, 6)}
    found = {}
    for name, hours in family.items():
        columns = zip(*(diary.curve_usd_per_j[hour] for hour in hours), strict=True)
        means = [mean_over(list(column), tuple(range(len(column)))) for column in columns]
        known = [value for value in means if value is not None]
        if known and len(known) == len(means):
            found[name] = known
    return found
