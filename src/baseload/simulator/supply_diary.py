"""What a policy did with the price of a joule, hour by hour of a run, and what is kept of it.

The keeper holds one row an hour while a run lasts (a trace has at most 366 days) and sums it up in
a record of bounded size when the run has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baseload.base.units import S_PER_DAY, S_PER_HOUR
from baseload.routing.position import NODES
from baseload.simulator.results import DiaryDays, DiaryStretch, SupplyDiary

HOURS = 24
CURVE_LEVELS = 17
STRETCH_HOURS = 240
_DARK_DAYS = 3
_FEWEST_DAYS = 6
_START = "rollout"
_NODES = np.linspace(0, NODES - 1, CURVE_LEVELS).astype(int)

Floats = NDArray[np.float64]


class SlotNote(NamedTuple):
    """One slot that has ended: ``level_j`` and ``price_usd_per_j`` (at the energy position), the
    ``curve_usd_per_j`` ``[NODES]`` and the ``method`` that held when it began; joules of the slot;
    ``picked`` ``[classes, options]`` in it, and the joules these were expected to draw.
    """

    start_s: float
    slot_s: float
    level_j: float
    price_usd_per_j: float
    curve_usd_per_j: Floats
    method: str
    baseline_j: float
    demand_j: float
    promised_j: float
    picked: Floats


class _Hours(NamedTuple):
    """All hours of a run as columns; ``price`` and ``level_j`` are means over ``seconds``."""

    start_s: Floats
    seconds: Floats
    level_j: Floats
    price: Floats
    baseline_j: Floats
    demand_j: Floats
    promised_j: Floats
    picked: Floats


class DiaryKeeper:
    """Takes notes of slots, gives the diary. ``start_unix_s``: when the run begins; ``capacity_j``:
    of the store, as the tables cover it.
    """

    def __init__(self, *, start_unix_s: float, capacity_j: float) -> None:
        self._start_s, self._capacity_j = start_unix_s, capacity_j
        self._rows: list[tuple[float, float, Floats, Floats]] = []
        self._hour = -1
        self._by_level = np.zeros((2, 3, HOURS))  # seconds, $ s/J
        self._curve = np.zeros((HOURS, CURVE_LEVELS))
        self._curve_s = np.zeros(HOURS)
        self._started = False
        self._methods: dict[str, float] = {}

    def add(self, note: SlotNote) -> None:
        """Take in the next slot."""
        unix_s = self._start_s + note.start_s + 0.5 * note.slot_s
        hour = int(unix_s % S_PER_DAY // S_PER_HOUR)
        slot_s = note.slot_s
        self._methods[note.method] = self._methods.get(note.method, 0.0) + slot_s / S_PER_HOUR
        third = min(2, int(3.0 * self._fill(note.level_j)))
        self._by_level[:, third, hour] += slot_s, slot_s * note.price_usd_per_j
        self._add_curve(hour, note)
        sums = np.array(
            [
                slot_s * note.level_j,
                slot_s * note.price_usd_per_j,
                note.baseline_j,
                note.demand_j,
                note.promised_j,
            ]
        )
        row = int(unix_s // S_PER_HOUR)
        if row == self._hour:
            start_s, seconds, before, picked = self._rows[-1]
            self._rows[-1] = (start_s, seconds + slot_s, before + sums, picked + note.picked)
        else:
            self._rows.append((note.start_s, slot_s, sums, note.picked.copy()))
        self._hour = row

    def _fill(self, level_j: float) -> float:
        """Share of the store that is full; 0 without a store."""
        if self._capacity_j <= 0.0:
            return 0.0
        return min(1.0, max(0.0, level_j / self._capacity_j))

    def _add_curve(self, hour: int, note: SlotNote) -> None:
        """Take in the prices over the level; those of the start count only where no others came."""
        started = note.method != _START
        if started and not self._started:
            self._curve[:], self._curve_s[:] = 0.0, 0.0
            self._started = True
        if started or not self._started:
            self._curve[hour] += note.slot_s * note.curve_usd_per_j[_NODES]
            self._curve_s[hour] += note.slot_s

    def diary(
        self,
        rule: str,
        *,
        classes: Sequence[str],
        options: Sequence[str],
        solved: int,
        guarded_away: int,
    ) -> SupplyDiary | None:
        """The record of a run under a ``rule``; ``classes`` and ``options`` name the rows and
        columns of what was picked. ``None`` where no slot ended.
        """
        if not self._rows:
            return None
        hours = self._columns()
        of_day = self._hours_of_day(hours)
        names = _names(hours.picked.shape, classes, options)
        picked = np.zeros((HOURS, *hours.picked.shape[1:]))
        np.add.at(picked, of_day, hours.picked)
        return SupplyDiary(
            rule=rule,
            methods={name: round(spent, 6) for name, spent in self._methods.items()},
            solved=solved,
            guarded_away=guarded_away,
            baseline_w=_by_hour(of_day, hours.baseline_j, hours.seconds),
            price_usd_per_j=_by_hour(of_day, hours.price * hours.seconds, hours.seconds),
            price_usd_per_j_by_level=[
                _ratios(self._by_level[1, third], self._by_level[0, third]) for third in range(3)
            ],
            curve_level_frac=(_NODES / (NODES - 1)).tolist(),
            curve_usd_per_j=[
                _ratios(row, np.full(CURVE_LEVELS, spent_s))
                for row, spent_s in zip(self._curve, self._curve_s, strict=True)
            ],
            choice_frac=_shares_by_hour(picked, names),
            joules_per_answer=_by_hour(of_day, hours.promised_j, hours.picked.sum(axis=(1, 2))),
            **self._days(hours, names),
        )

    def _columns(self) -> _Hours:
        """The rows as columns."""
        starts, seconds, sums, picked = zip(*self._rows, strict=True)
        spent_s, table = np.array(seconds), np.array(sums)
        return _Hours(
            start_s=np.array(starts),
            seconds=spent_s,
            level_j=table[:, 0] / spent_s,
            price=table[:, 1] / spent_s,
            baseline_j=table[:, 2],
            demand_j=table[:, 3],
            promised_j=table[:, 4],
            picked=np.array(picked),
        )

    def _hours_of_day(self, hours: _Hours) -> NDArray[np.int64]:
        """The hour of UTC of each row."""
        middle_s = self._start_s + hours.start_s + 0.5 * hours.seconds
        return (middle_s % S_PER_DAY // S_PER_HOUR).astype(np.int64)

    def _days(self, hours: _Hours, names: _Names) -> dict[str, Any]:
        """What the record says of single days, once a day is known; a day begins when it is
        darkest, half a day from the middle of the supply, so that no day of sun is cut in two.
        """
        middle_s = self._start_s + hours.start_s + 0.5 * hours.seconds
        begin_s = _darkest_s(middle_s % S_PER_DAY, hours.baseline_j)
        number = np.floor((middle_s - begin_s) / S_PER_DAY).astype(np.int64)
        number -= number[0]
        length_s = np.bincount(number, weights=hours.seconds)
        whole = np.flatnonzero(length_s > S_PER_DAY - S_PER_HOUR)
        learned_s = self._methods.get(_START, 0.0) * S_PER_HOUR
        begun_s = hours.start_s[np.searchsorted(number, whole)]
        whole = whole[begun_s >= learned_s]
        if len(whole) < _FEWEST_DAYS:
            return {}
        supply_j = np.bincount(number, weights=hours.baseline_j)

        def over(days: NDArray[np.int64]) -> DiaryDays:
            return self._means(hours, np.isin(number, days), len(days), names)

        order = whole[np.argsort(supply_j[whole], kind="stable")]
        fifth = max(1, len(whole) // 5)
        rows = np.lib.stride_tricks.sliding_window_view(supply_j[whole], _DARK_DAYS).sum(axis=1)
        first = 1 + int(np.argmin(rows[1:]))  # the day before it is there
        dark = whole[first : first + _DARK_DAYS]
        return {
            "lowest": over(order[:fifth]),
            "highest": over(order[-fifth:]),
            "dark": over(dark),
            "before": over(whole[first - 1 : first]),
            "stretch": _stretch(hours, np.isin(number, dark)),
        }

    def _means(self, hours: _Hours, here: NDArray[np.bool_], days: int, names: _Names) -> DiaryDays:
        """Means over the rows that are ``here``."""
        seconds = hours.seconds[here]
        total_s = float(seconds.sum())
        picked = hours.picked[here].sum(axis=0)
        count = float(picked.sum())
        level_j = float(seconds @ hours.level_j[here]) / total_s
        return DiaryDays(
            days=days,
            baseline_j=float(hours.baseline_j[here].sum()) / days,
            level_frac=level_j / self._capacity_j if self._capacity_j > 0.0 else None,
            price_usd_per_j=float(seconds @ hours.price[here]) / total_s,
            joules_per_answer=float(hours.promised_j[here].sum()) / count if count else None,
            choice_frac={
                label: dict(zip(names.options, (row / row.sum()).tolist(), strict=True))
                for label, row in zip(names.classes, picked, strict=True)
                if row.sum() > 0
            },
        )


class _Names(NamedTuple):
    """What rows and columns of picks are called."""

    classes: list[str]
    options: list[str]


def _names(shape: tuple[int, ...], classes: Sequence[str], options: Sequence[str]) -> _Names:
    """Names for picks of a ``shape`` (rows, classes, options); a table of one row stands for all
    classes, and without options there is one, ``any``.
    """
    rows = list(classes) if shape[1] == len(classes) else ["all"]
    columns = list(options[: shape[2]]) if options else ["any"]
    return _Names(rows, columns)


def _ratios(above: Floats, below: Floats) -> list[float | None]:
    """Ratios, ``None`` over 0."""
    pairs = zip(above.tolist(), below.tolist(), strict=True)
    return [one / other if other else None for one, other in pairs]


def _by_hour(of_day: NDArray[np.int64], above: Floats, below: Floats) -> list[float | None]:
    """Ratio of two sums over each hour of the day."""
    return _ratios(
        np.bincount(of_day, weights=above, minlength=HOURS).astype(np.float64),
        np.bincount(of_day, weights=below, minlength=HOURS).astype(np.float64),
    )


def _shares_by_hour(picked: Floats, names: _Names) -> dict[str, dict[str, list[float | None]]]:
    """Shares of picks ``[24, classes, options]`` within each class and hour, for classes that had
    any.
    """
    return {
        label: {
            option: _ratios(picked[:, row, column], picked[:, row].sum(axis=1))
            for column, option in enumerate(names.options)
        }
        for row, label in enumerate(names.classes)
        if picked[:, row].sum() > 0
    }


def _darkest_s(time_s: Floats, baseline_j: Floats) -> float:
    """Time of the day that lies half a day from the middle of the supply; 0 where that has none."""
    turn = 2j * np.pi / S_PER_DAY
    middle = complex(np.sum(baseline_j * np.exp(turn * time_s)))
    if abs(middle) <= 0.05 * float(np.sum(np.abs(baseline_j))):
        return 0.0
    noon_s = float(np.angle(middle)) / (2.0 * np.pi) * S_PER_DAY
    return (noon_s + 0.5 * S_PER_DAY) % S_PER_DAY


def _stretch(hours: _Hours, dark: NDArray[np.bool_]) -> DiaryStretch:
    """The rows around the ``dark`` ones, at most ``STRETCH_HOURS``."""
    at = np.flatnonzero(dark)
    first = max(0, int(at[0]) - (STRETCH_HOURS - len(at)) // 2)
    kept = slice(first, first + STRETCH_HOURS)
    seconds = hours.seconds[kept]
    return DiaryStretch(
        t_s=hours.start_s[kept].tolist(),
        baseline_w=(hours.baseline_j[kept] / seconds).tolist(),
        demand_w=(hours.demand_j[kept] / seconds).tolist(),
        level_j=hours.level_j[kept].tolist(),
        price_usd_per_j=hours.price[kept].tolist(),
        dark_from_s=float(hours.start_s[at[0]]),
        dark_to_s=float(hours.start_s[at[-1]] + hours.seconds[at[-1]]),
    )
