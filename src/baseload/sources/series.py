"""A signal from values in order of time: the core of files, shipped series and live services.

Between two values nothing is invented: until the next value comes, the last one counts, and grows
old. A gap is thus a value that was too old for a while. That is how it looks to whoever lives
through it, because the value after the gap is not known yet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import BadInputError, StaleSignalError
from baseload.base.units import NS_PER_S, S_PER_DAY, ns_from_s, s_from_ns
from baseload.sources.signals import (
    Forecast,
    Kind,
    Point,
    Reading,
    StaleRule,
    Unit,
    aged,
    forecast_of,
    horizon,
    instant,
    show,
)

_CENTRAL_95 = (0.025, 0.975)
_MOST_STEPS = 1_000_000


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """A time without a value: from ``start_ns`` until ``end_ns`` (not included)."""

    start_ns: int
    end_ns: int

    @property
    def length_s(self) -> float:
        """How long it is [s]."""
        return s_from_ns(self.end_ns - self.start_ns)


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """A signal in equal slots, for a run: ``values`` are means over each slot.

    Slot i lasts from ``start_ns + i step_s`` for ``step_s`` seconds. ``estimated``: some part of
    the slot is estimated or filled. All arrays have one entry a slot.
    """

    unit: Unit
    kind: Kind
    source: str
    start_ns: int
    step_s: float
    values: NDArray[np.float64]
    estimated: NDArray[np.bool_]


class SeriesSignal:
    """A signal whose value i holds from ``start_ns[i]`` until ``end_ns[i]``.

    Arrays of one length, in order of time, without overlap; ``values`` must be finite: what is
    missing is left out. ``spread`` is half of the central 95 % of the values, or the rule's.
    ``forecast`` never looks ahead: it says what held at the same time of the last day that is
    known. Raises ``BadInputError`` naming the first row that breaks this.
    """

    def __init__(
        self,
        *,
        start_ns: ArrayLike,
        end_ns: ArrayLike,
        values: ArrayLike,
        estimated: ArrayLike | bool = False,
        unit: Unit,
        kind: Kind,
        source: str,
        rule: StaleRule | None = None,
    ) -> None:
        self.unit: Unit = unit
        self.kind: Kind = kind
        self.source = source
        self.rule = StaleRule() if rule is None else rule
        self.start_ns: NDArray[np.int64] = np.asarray(start_ns, np.int64)
        self.end_ns: NDArray[np.int64] = np.asarray(end_ns, np.int64)
        self.values: NDArray[np.float64] = np.asarray(values, np.float64)
        self.estimated: NDArray[np.bool_] = np.broadcast_to(
            np.asarray(estimated, np.bool_), self.values.shape
        )
        self._check()
        if self.rule.spread is not None:
            self.spread = self.rule.spread
        else:
            low, high = np.quantile(self.values, _CENTRAL_95)
            self.spread = float(high - low) / 2.0

    @classmethod
    def from_points(
        cls,
        points: Iterable[Point],
        *,
        unit: Unit,
        kind: Kind,
        source: str,
        rule: StaleRule | None = None,
    ) -> SeriesSignal:
        """The signal of ``points``, in any order. Raises as the constructor does."""
        ordered = sorted(points, key=lambda point: point.start_ns)
        return cls(
            start_ns=[point.start_ns for point in ordered],
            end_ns=[point.end_ns for point in ordered],
            values=[point.value for point in ordered],
            estimated=[point.estimated for point in ordered],
            unit=unit,
            kind=kind,
            source=source,
            rule=rule,
        )

    def _check(self) -> None:
        """Raise ``BadInputError`` for empty, unequal, disordered or unusable columns."""
        if not len(self.values):
            raise BadInputError(f"{self.source}: values", found="none", allowed="one or more")
        if not self.start_ns.shape == self.end_ns.shape == self.values.shape:
            raise BadInputError(f"{self.source}: columns", found="unequal lengths")
        bad = np.flatnonzero(~np.isfinite(self.values))
        if len(bad):
            self._refuse(int(bad[0]), f"the value {self.values[bad[0]]}", "finite values")
        bad = np.flatnonzero(self.end_ns <= self.start_ns)
        if len(bad):
            self._refuse(int(bad[0]), "an end at or before the start", "ends after starts")
        bad = np.flatnonzero(self.start_ns[1:] < self.end_ns[:-1])
        if len(bad):
            self._refuse(int(bad[0]) + 1, "a start before the last end", "times in order")

    def _refuse(self, row: int, found: str, allowed: str) -> None:
        """Raise ``BadInputError`` for the value in ``row`` (0-based)."""
        where = f" at {show(int(self.start_ns[row]))}"
        raise BadInputError(f"{self.source}: value {row + 1}", found=found + where, allowed=allowed)

    @property
    def first_ns(self) -> int:
        """First instant with a value [ns since 1970, UTC]."""
        return int(self.start_ns[0])

    @property
    def last_ns(self) -> int:
        """Where the last value ends [ns since 1970, UTC]."""
        return int(self.end_ns[-1])

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The times without a value between the first and the last one, in order."""
        places = np.flatnonzero(self.start_ns[1:] > self.end_ns[:-1])
        return tuple(
            Gap(start_ns=int(self.end_ns[place]), end_ns=int(self.start_ns[place + 1]))
            for place in places
        )

    def at(self, t_ns: int) -> Reading:
        """The last value that began at or before ``t_ns``, aged by the stale rule.

        Raises ``StaleSignalError`` before the first value and when the last one is too old.
        """
        t_ns = instant("t_ns", t_ns)
        place = int(np.searchsorted(self.start_ns, t_ns, side="right")) - 1
        if place < 0:
            raise StaleSignalError(
                f"{self.source}: no value for {show(t_ns)}",
                found=f"values from {show(self.first_ns)} to {show(self.last_ns)}",
                todo="ask for a time that it covers",
            )
        value = float(self.values[place])
        reading = Reading(
            value=value,
            unit=self.unit,
            kind=self.kind,
            estimated=bool(self.estimated[place]),
            source=self.source,
            at_ns=int(self.start_ns[place]),
            age_s=0.0,
            low=value,
            high=value,
        )
        age_s = max(0.0, s_from_ns(t_ns - int(self.end_ns[place])))
        try:
            return aged(reading, age_s=age_s, rule=self.rule, spread=self.spread)
        except StaleSignalError as error:
            raise StaleSignalError(
                f"{self.source}: no value for {show(t_ns)}",
                found=f"values from {show(self.first_ns)} to {show(self.last_ns)}; {error.found}",
                allowed=error.allowed,
                todo=error.todo,
            ) from None

    def forecast(self, t0_ns: int, horizon_s: float) -> Forecast:
        """What held at the same time of the last day that is known at ``t0_ns``, in its own steps.

        Before a whole day is known, what holds at ``t0_ns``. The interval grows as the root of the
        lead, to ``spread`` after a day. Heuristic ("same time yesterday"). Raises
        ``StaleSignalError`` where ``at`` would.
        """
        t0_ns, horizon_s = instant("t0_ns", t0_ns), horizon(horizon_s)
        now = self.at(t0_ns)
        step_ns = int(np.median(self.end_ns - self.start_ns))
        day_ns = ns_from_s(S_PER_DAY)
        start_ns = now.at_ns + (t0_ns - now.at_ns) // step_ns * step_ns
        count = -((start_ns - t0_ns - ns_from_s(horizon_s)) // step_ns)
        if count > _MOST_STEPS:
            raise BadInputError("horizon_s", found=f"{count} steps", allowed=f"{_MOST_STEPS}")
        points = []
        for place in range(max(1, count)):
            begin_ns = start_ns + place * step_ns
            ahead_ns = max(0, begin_ns - t0_ns)
            known_ns = begin_ns - -(-ahead_ns // day_ns) * day_ns
            value = now.value if known_ns < self.first_ns else self.at(min(known_ns, t0_ns)).value
            point = Point(start_ns=begin_ns, end_ns=begin_ns + step_ns, value=value, estimated=True)
            points.append(point)
        return forecast_of(
            points,
            t0_ns=t0_ns,
            horizon_s=horizon_s,
            issued_ns=t0_ns,
            signal=self,
            spread=self.spread,
        )

    def check_covers(self, start_ns: int, end_ns: int, *, what: str = "run") -> None:
        """Raise ``BadInputError`` that names both unless values reach from ``start_ns`` to
        ``end_ns``.
        """
        if start_ns < self.first_ns or end_ns > self.last_ns:
            raise BadInputError(
                f"{self.source}: does not cover the {what}",
                found=f"values from {show(self.first_ns)} to {show(self.last_ns)} "
                f"({s_from_ns(self.last_ns - self.first_ns):.0f} s)",
                allowed=f"the {what}, {show(start_ns)} to {show(end_ns)} "
                f"({s_from_ns(end_ns - start_ns):.0f} s)",
                todo=f"give a longer series, or a shorter {what}",
            )

    def sample(self, start_ns: int, *, step_s: float, count: int) -> Samples:
        """Means over ``count`` slots of ``step_s`` seconds from ``start_ns``.

        A gap of at most ``refuse_s`` is filled with the value before it and marked. Raises
        ``BadInputError`` that names both when the series is shorter than the slots together, and
        ``StaleSignalError`` that names the gap when one is longer than ``refuse_s``.
        """
        start_ns = instant("start_ns", start_ns)
        step_ns = ns_from_s(horizon(step_s))
        if step_ns < 1 or count < 1:
            raise BadInputError(
                "sample", found=f"{count} slots of {step_s} s", allowed="1 or more, of 1 ns or more"
            )
        edges = start_ns + np.arange(count + 1, dtype=np.int64) * step_ns
        self.check_covers(start_ns, int(edges[-1]))
        for gap in self.gaps:
            inside = gap.start_ns < int(edges[-1]) and gap.end_ns > start_ns
            if inside and gap.length_s > self.rule.refuse_s:
                raise StaleSignalError(
                    f"{self.source}: gap too long to fill",
                    found=f"{show(gap.start_ns)} to {show(gap.end_ns)} ({gap.length_s:.0f} s)",
                    allowed=f"at most {self.rule.refuse_s:.0f} s",
                    todo="fill the series, or raise refuse_s if an older value will do",
                )
        return self._sampled(edges, step_ns)

    def _sampled(self, edges: NDArray[np.int64], step_ns: int) -> Samples:
        """Means between the ``edges``: exact where one value holds, else the integral over time."""
        first = np.searchsorted(self.start_ns, edges[:-1], side="right") - 1
        last = np.searchsorted(self.start_ns, edges[1:] - 1, side="right") - 1
        values = self.values[first]
        many = np.flatnonzero(last > first)
        if len(many):
            knots = (self.start_ns - self.start_ns[0]) / NS_PER_S
            until = (max(self.last_ns, int(edges[-1])) - self.first_ns) / NS_PER_S
            knots = np.append(knots, until)
            area = np.concatenate([[0.0], np.cumsum(self.values * np.diff(knots))])
            begin = np.interp((edges[:-1][many] - self.first_ns) / NS_PER_S, knots, area)
            end = np.interp((edges[1:][many] - self.first_ns) / NS_PER_S, knots, area)
            values[many] = (end - begin) / (step_ns / NS_PER_S)
        doubtful = np.concatenate([[0], np.cumsum(self.estimated)])
        filled = self.end_ns[last] < edges[1:]
        gap_after = np.append(self.start_ns[1:] > self.end_ns[:-1], False)
        holes = np.concatenate([[0], np.cumsum(gap_after)])
        marked = (doubtful[last + 1] > doubtful[first]) | filled | (holes[last] > holes[first])
        return Samples(
            unit=self.unit,
            kind=self.kind,
            source=self.source,
            start_ns=int(edges[0]),
            step_s=step_ns / NS_PER_S,
            values=values,
            estimated=marked,
        )

    def points(self) -> list[Point]:
        """Its values as points, in order."""
        return [
            Point(start_ns=start, end_ns=end, value=value, estimated=flag)
            for start, end, value, flag in zip(
                self.start_ns.tolist(),
                self.end_ns.tolist(),
                self.values.tolist(),
                self.estimated.tolist(),
                strict=True,
            )
        ]

    def remarks(self) -> list[str]:
        """One sentence for each thing a user should know about the values; empty when complete."""
        gaps = self.gaps
        if not gaps:
            return []
        longest = max(gaps, key=lambda gap: gap.length_s)
        together = math.fsum(gap.length_s for gap in gaps)
        return [
            f"{len(gaps)} gaps, {together:.0f} s together; the longest from "
            f"{show(longest.start_ns)} to {show(longest.end_ns)} ({longest.length_s:.0f} s)"
        ]


def points_of(
    starts_ns: Sequence[int],
    values: Sequence[float | None],
    *,
    step_ns: int | None = None,
    estimated: Sequence[bool] | bool = False,
) -> list[Point]:
    """Points that hold until the next start, at most ``step_ns`` (by default the usual distance of
    starts). Values that are missing are left out; starts may come in any order, the last of equal
    ones counts.
    """
    flags = [estimated] * len(values) if isinstance(estimated, bool) else list(estimated)
    rows = {
        start: (value, flag) for start, value, flag in zip(starts_ns, values, flags, strict=True)
    }
    starts = sorted(rows)
    if step_ns is None:
        usual = np.diff(starts)
        step_ns = int(np.median(usual)) if len(usual) else ns_from_s(3600.0)
    points = []
    for place, start in enumerate(starts):
        value, flag = rows[start]
        if value is None or not math.isfinite(value):
            continue
        end = start + step_ns
        if place + 1 < len(starts):
            end = min(end, starts[place + 1])
        points.append(Point(start_ns=start, end_ns=end, value=float(value), estimated=flag))
    return points
