"""What every signal of the grid or the sky has in common: the record of a reading, of a forecast,
the protocol, and the one rule for old values.

A reading never comes without its age. A value that is still current counts as it is; an older one
widens, by a stated formula; one that is too old is refused. Average and marginal intensities answer
different questions and are never put together.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal, Protocol, get_args, runtime_checkable

import msgspec

from baseload.base.errors import BadInputError, StaleSignalError
from baseload.base.units import NS_PER_S, S_PER_DAY, S_PER_HOUR, ns_from_s, s_from_ns

Unit = Literal[
    "g_per_kwh",
    "usd_per_kwh",
    "eur_per_kwh",
    "gbp_per_kwh",
    "usd_per_mwh",
    "eur_per_mwh",
    "gbp_per_mwh",
    "frac",
    "degc",
    "w",
    "kw",
]
Kind = Literal["average", "marginal", "price", "capacity_factor", "temperature", "power"]
UNITS: tuple[str, ...] = get_args(Unit)
KINDS: tuple[str, ...] = get_args(Kind)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_NS = 9_200_000_000 * NS_PER_S


class StaleRule(msgspec.Struct, frozen=True, kw_only=True):
    """When a value counts as old, and when it is refused.

    ``fresh_s``: up to this age [s] a value counts as it is. ``refuse_s``: beyond this age [s] it is
    refused. ``spread``: half the width that the interval has reached at ``refuse_s``, in the unit
    of the signal; ``None`` takes the series' own, half of its central 95 %. Raises
    ``BadInputError`` unless 0 <= fresh_s <= refuse_s < infinity and spread >= 0.
    """

    fresh_s: float = 0.0
    refuse_s: float = 6 * S_PER_HOUR
    spread: float | None = None

    def __post_init__(self) -> None:
        """Refuse ages that are not in order."""
        if not 0.0 <= self.fresh_s <= self.refuse_s < math.inf:
            raise BadInputError(
                "stale rule",
                found=f"fresh_s {self.fresh_s:g}, refuse_s {self.refuse_s:g}",
                allowed="0 <= fresh_s <= refuse_s, finite",
            )
        if self.spread is not None and not 0.0 <= self.spread < math.inf:
            raise BadInputError("stale rule: spread", found=repr(self.spread), allowed="from 0")


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a signal, with everything one must know to use it.

    ``at_ns``: start of the interval that the value stands for [ns since 1970, UTC]. ``age_s``: how
    long before the instant asked the value had ceased to be current [s]; 0 inside its interval.
    ``low``, ``high``: interval around ``value``, same unit; as wide as the source and the age make
    it. ``estimated``: modelled, filled, forecast or old, not measured for that instant.
    """

    value: float
    unit: Unit
    kind: Kind
    estimated: bool
    source: str
    at_ns: int
    age_s: float
    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse values that are not finite and intervals that do not contain the value."""
        if not (math.isfinite(self.value) and math.isfinite(self.age_s) and self.age_s >= 0.0):
            raise BadInputError(
                f"reading of {self.source}", found=f"{self.value} aged {self.age_s} s"
            )
        if not self.low <= self.value <= self.high:
            raise BadInputError(
                f"reading of {self.source}: interval",
                found=f"{self.value} in [{self.low}, {self.high}]",
                allowed="low <= value <= high",
            )


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A value that holds from ``start_ns`` until ``end_ns`` (not included) [ns since 1970, UTC]."""

    start_ns: int
    end_ns: int
    value: float
    estimated: bool = False


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Values of a signal ahead of an instant: steps without holes, in order.

    ``issued_ns``: when the forecast was made [ns since 1970, UTC]. ``low`` and ``high`` go with
    ``points``, one each.
    """

    unit: Unit
    kind: Kind
    source: str
    issued_ns: int
    points: tuple[Point, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def start_ns(self) -> int:
        """First instant it covers [ns since 1970, UTC]."""
        return self.points[0].start_ns

    @property
    def end_ns(self) -> int:
        """First instant it does not cover [ns since 1970, UTC]."""
        return self.points[-1].end_ns

    def at(self, t_ns: int) -> Reading:
        """The forecast value for the instant ``t_ns``; its age is the time since the issue.

        Raises ``StaleSignalError`` outside of what it covers.
        """
        t_ns = instant("t_ns", t_ns)
        if not self.start_ns <= t_ns < self.end_ns:
            raise StaleSignalError(
                f"forecast of {self.source} for {show(t_ns)}",
                found=f"issued {show(self.issued_ns)}, "
                f"covers {show(self.start_ns)} to {show(self.end_ns)}",
                todo="ask for a new forecast",
            )
        place = bisect_right(self.points, t_ns, key=lambda point: point.start_ns) - 1
        return Reading(
            value=self.points[place].value,
            unit=self.unit,
            kind=self.kind,
            estimated=self.points[place].estimated,
            source=self.source,
            at_ns=self.points[place].start_ns,
            age_s=max(0.0, s_from_ns(t_ns - self.issued_ns)),
            low=self.low[place],
            high=self.high[place],
        )


@runtime_checkable
class Signal(Protocol):
    """Anything that can be read at an instant and looked ahead.

    Instants are whole nanoseconds since 1970, UTC; ``horizon_s`` is in seconds.
    """

    @property
    def unit(self) -> Unit:
        """Unit of every value."""

    @property
    def kind(self) -> Kind:
        """What the value means."""

    @property
    def source(self) -> str:
        """Where the values come from, in words."""

    def at(self, t_ns: int) -> Reading:
        """The reading that is known for ``t_ns``. Raises ``StaleSignalError``."""

    def forecast(self, t0_ns: int, horizon_s: float) -> Forecast:
        """Steps that cover ``t0_ns`` to ``t0_ns + horizon_s``. Raises ``StaleSignalError``."""


def aged(reading: Reading, *, age_s: float, rule: StaleRule, spread: float) -> Reading:
    """``reading`` as it counts ``age_s`` seconds after it ceased to be current.

    Up to ``fresh_s`` as it is. Then the interval reaches at least ::

        value +- spread * sqrt((age_s - fresh_s) / (refuse_s - fresh_s))

    (``rule.spread`` wins over ``spread``), and the reading is marked estimated. Heuristic: the
    error of a random walk grows with the root of time, and at ``refuse_s`` it is as wide as the
    signal itself, when the value says no more than the climate. Continuous, and wider with age.
    Shares stay in 0 to 1 and average intensities do not fall below 0. Raises ``StaleSignalError``
    beyond ``refuse_s``, ``BadInputError`` for an age that is negative or not a number.
    """
    if not age_s >= 0.0:
        raise BadInputError("age_s", found=repr(age_s), allowed="a number from 0")
    if age_s > rule.refuse_s:
        raise StaleSignalError(
            f"{reading.source}: reading too old",
            found=f"the value of {show(reading.at_ns)}, out of date for {age_s:.0f} s",
            allowed=f"at most {rule.refuse_s:.0f} s",
            todo="check the source, or raise refuse_s if an older value will do",
        )
    if age_s <= rule.fresh_s:
        return msgspec.structs.replace(reading, age_s=age_s)
    share = math.sqrt((age_s - rule.fresh_s) / (rule.refuse_s - rule.fresh_s))
    half = share * (spread if rule.spread is None else rule.spread)
    low, high = interval(reading.value, half, unit=reading.unit, kind=reading.kind)
    return msgspec.structs.replace(
        reading,
        age_s=age_s,
        estimated=True,
        low=min(low, reading.low),
        high=max(high, reading.high),
    )


def interval(value: float, half: float, *, unit: Unit, kind: Kind) -> tuple[float, float]:
    """``value +- half``, cut where the quantity cannot go (shares 0 to 1, average intensity 0)."""
    low, high = value - half, value + half
    if unit == "frac":
        low, high = max(low, 0.0), min(high, 1.0)
    elif kind == "average":
        low = max(low, 0.0)
    return min(low, value), max(high, value)


def forecast_half_width(lead_s: float, spread: float) -> float:
    """Half width of a forecast ``lead_s`` seconds after its issue, for sources that give none.

    spread * sqrt(lead / one day), at most ``spread``. Heuristic, the same law as for old values.
    """
    return spread * math.sqrt(min(1.0, max(0.0, lead_s) / S_PER_DAY))


def combine(readings: Sequence[Reading], weights: Sequence[float] | None = None) -> Reading:
    """The weighted mean of readings of one kind and unit, for example of two feeds of a site.

    As old as the oldest, estimated if one is, with an interval as wide as if all erred together.
    Raises ``BadInputError`` for none, for weights that are negative or sum to 0, and for readings
    of different kinds or units: an average and a marginal intensity have no mean.
    """
    if not readings:
        raise BadInputError("combine: readings", found="none", allowed="one or more")
    for field in ("kind", "unit"):
        found = sorted({getattr(reading, field) for reading in readings})
        if len(found) > 1:
            raise BadInputError(
                f"combine: readings of different {field}s",
                found=", ".join(f"{each.source}: {getattr(each, field)}" for each in readings),
                allowed=f"one {field}; average and marginal intensities are never mixed",
                todo="choose the signals of one kind",
            )
    share = [1.0] * len(readings) if weights is None else [float(each) for each in weights]
    total = math.fsum(share)
    fits = len(share) == len(readings) and all(each >= 0.0 for each in share)
    if not (fits and 0.0 < total < math.inf):
        raise BadInputError(
            "combine: weights",
            found=repr(share),
            allowed="one for each reading, none negative, with a positive sum",
        )
    mean = _mean([each.value for each in readings], share, total)
    low = _mean([each.low for each in readings], share, total)
    high = _mean([each.high for each in readings], share, total)
    return Reading(
        value=mean,
        unit=readings[0].unit,
        kind=readings[0].kind,
        estimated=any(each.estimated for each in readings),
        source=" + ".join(dict.fromkeys(each.source for each in readings)),
        at_ns=min(each.at_ns for each in readings),
        age_s=max(each.age_s for each in readings),
        low=min(low, mean),
        high=max(high, mean),
    )


def _mean(values: Sequence[float], share: Sequence[float], total: float) -> float:
    """The weighted mean."""
    return math.fsum(map(operator.mul, values, share)) / total


def forecast_of(
    points: Sequence[Point],
    *,
    t0_ns: int,
    horizon_s: float,
    issued_ns: int,
    signal: Signal,
    spread: float,
) -> Forecast:
    """The ``points`` that cover ``t0_ns`` to ``t0_ns + horizon_s``, as a forecast of ``signal``.

    ``spread`` 0 means that the values are settled (published prices). Raises ``StaleSignalError``
    that names what was asked and what there is when they do not reach or have a hole.
    """
    t0_ns, horizon_s = instant("t0_ns", t0_ns), horizon(horizon_s)
    until_ns = t0_ns + max(1, ns_from_s(horizon_s))
    used = tuple(point for point in points if point.end_ns > t0_ns and point.start_ns < until_ns)
    if found := _lacking(points, used, t0_ns, until_ns):
        raise StaleSignalError(
            f"forecast of {signal.source} from {show(t0_ns)} to {show(until_ns)} "
            f"({horizon_s / S_PER_HOUR:g} h)",
            found=f"{found}, issued {show(issued_ns)}",
            allowed="a forecast that covers all of it",
            todo="ask for a shorter horizon or a newer forecast",
        )
    bounds = [
        interval(
            point.value,
            forecast_half_width(s_from_ns(point.end_ns - issued_ns), spread),
            unit=signal.unit,
            kind=signal.kind,
        )
        for point in used
    ]
    return Forecast(
        unit=signal.unit,
        kind=signal.kind,
        source=signal.source,
        issued_ns=issued_ns,
        points=used,
        low=tuple(low for low, _ in bounds),
        high=tuple(high for _, high in bounds),
    )


def _lacking(points: Sequence[Point], used: Sequence[Point], t0_ns: int, until_ns: int) -> str:
    """What keeps ``used`` from covering the time asked, in words; nothing when it does."""
    if not points:
        return "no values"
    if not used or used[0].start_ns > t0_ns or used[-1].end_ns < until_ns:
        return f"values from {show(points[0].start_ns)} to {show(points[-1].end_ns)}"
    for early, late in pairwise(used):
        if early.end_ns != late.start_ns:
            return f"a hole from {show(early.end_ns)} to {show(late.start_ns)}"
    return ""


def instant(field: str, t_ns: int) -> int:
    """``t_ns`` as a plain int. Raises ``BadInputError`` for anything but a whole number that 64
    bits hold (the years 1678 to 2261).
    """
    try:
        found = None if isinstance(t_ns, bool) else operator.index(t_ns)
    except TypeError:
        found = None
    if found is None or not -_MOST_NS <= found <= _MOST_NS:
        raise BadInputError(
            field,
            found=repr(t_ns),
            allowed="a whole number of nanoseconds since 1970, UTC, between 1678 and 2261",
            todo="use ns_of for a date",
        )
    return found


def horizon(horizon_s: float) -> float:
    """``horizon_s`` as a float. Raises ``BadInputError`` unless positive and finite."""
    try:
        found = float(horizon_s)
    except (TypeError, ValueError):
        found = math.nan
    if not 0.0 < found < math.inf:
        raise BadInputError("horizon_s", found=repr(horizon_s), allowed="a finite number above 0")
    return found


def ns_of(date: str | datetime) -> int:
    """Nanoseconds since 1970, UTC, of a date such as ``2022-01-01T00:00Z``.

    Raises ``BadInputError`` for anything that is not a date, and for one without a UTC offset.
    """
    try:
        moment = date if isinstance(date, datetime) else datetime.fromisoformat(date.strip())
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() is None:
        raise BadInputError(
            "date",
            found=str(date),
            allowed="ISO 8601 with a UTC offset, such as 2022-01-01T00:00Z",
            todo="add Z or an offset: which hour a date without one means cannot be known",
        )
    return (moment - _EPOCH) // timedelta(microseconds=1) * (NS_PER_S // 1_000_000)


def show(t_ns: int) -> str:
    """The instant as a date in UTC, to the second."""
    try:
        moment = _EPOCH + timedelta(seconds=t_ns // NS_PER_S)
    except OverflowError:
        return f"{t_ns} ns"
    return moment.replace(tzinfo=None).isoformat() + "Z"
