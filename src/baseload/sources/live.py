"""What the live services share: values kept in memory and on disk, asked for again when needed.

A service that fails is not an end: the values that are there grow older, their intervals widen, and
only when they are too old is the signal refused, with both reasons. ``failure`` holds the last
error as long as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

import msgspec

from baseload.base.errors import BadInputError, OutputError, ServiceError, StaleSignalError
from baseload.base.units import S_PER_DAY, ns_from_s
from baseload.sources.files import write_whole
from baseload.sources.http_client import Connection, HttpClient
from baseload.sources.series import SeriesSignal
from baseload.sources.signals import (
    Forecast,
    Kind,
    Point,
    Reading,
    StaleRule,
    Unit,
    forecast_of,
    horizon,
    instant,
    ns_of,
)

CACHE_SCHEMA = "baseload-signal-cache/1"
_KEEP_S = 40 * S_PER_DAY
_DAY_NS = ns_from_s(S_PER_DAY)
_GUESSED_SPREAD_FRAC = 0.25
_FEW_VALUES = 12
_Shape = TypeVar("_Shape")


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What a service says of the time ahead. ``settled``: published, not guessed (prices)."""

    issued_ns: int
    points: tuple[Point, ...]
    settled: bool = False


class CacheFile(msgspec.Struct, frozen=True, kw_only=True):
    """What lies on disk between runs: values with their times, never a secret."""

    schema: str
    source: str
    unit: str
    kind: str
    written_ns: int
    points: list[Point]
    prediction: Prediction | None


class LiveSignal:
    """A signal of a service. A subclass says how to ask: ``_observe`` and ``_predict``.

    ``rule``: by default the class's ``default_rule``. ``refresh_s``: at least so long between two
    requests for news [s]. Not for several threads at once.
    """

    default_rule: ClassVar[StaleRule] = StaleRule()

    def __init__(
        self,
        *,
        service: str,
        source: str,
        unit: Unit,
        kind: Kind,
        rule: StaleRule | None,
        refresh_s: float,
        connection: Connection | None,
    ) -> None:
        self.unit: Unit = unit
        self.kind: Kind = kind
        self.source = source
        self.rule = self.default_rule if rule is None else rule
        self.connection = Connection() if connection is None else connection
        self.client = HttpClient(service, self.connection)
        self._failure: ServiceError | None = None
        self._ahead_failure: ServiceError | None = None
        self._refresh_ns = ns_from_s(refresh_s)
        self._asked_ns: int | None = None
        self._earliest_ns = 0
        self._ahead_ns: int | None = None
        self._ahead_until_ns = 0
        self._points: dict[int, Point] = {}
        self._series: SeriesSignal | None = None
        self._prediction: Prediction | None = None
        self._load()

    @property
    def failure(self) -> ServiceError | None:
        """Why the last request for values, or else for a forecast, failed; ``None`` when it did
        not.
        """
        return self._failure or self._ahead_failure

    def _observe(self, t_ns: int) -> list[Point]:
        """Ask the service for the values up to ``t_ns``, if it can a day of them."""
        raise NotImplementedError

    def _predict(self, t0_ns: int, horizon_s: float) -> Prediction | None:
        """Ask the service for the values ahead; ``None``: it has no forecasts."""
        raise NotImplementedError

    def at(self, t_ns: int) -> Reading:
        """The latest known value for ``t_ns``, aged by the stale rule.

        Raises ``StaleSignalError`` when there is none or it is too old, ``ServiceError`` when the
        service has never answered.
        """
        t_ns = instant("t_ns", t_ns)
        if not self._knows(t_ns):
            self._refresh(t_ns)
        if self._series is None:
            raise self._nothing()
        try:
            return self._series.at(t_ns)
        except StaleSignalError as error:
            raise _because(error, self._failure) from None

    def forecast(self, t0_ns: int, horizon_s: float) -> Forecast:
        """What the service says of the time from ``t0_ns`` over ``horizon_s``.

        An earlier forecast is used as long as it is younger than ``refresh_s``, or the service
        fails and it still covers what is asked. A service without forecasts gives the same time
        of the last known day. Raises ``StaleSignalError`` when nothing covers it,
        ``ServiceError`` when the service has never given one.
        """
        t0_ns, horizon_s = instant("t0_ns", t0_ns), horizon(horizon_s)
        if not self._asked_ahead(t0_ns, horizon_s):
            self._look_ahead(t0_ns, horizon_s)
        if self._prediction is None:
            if self._ahead_failure is not None:
                raise self._ahead_failure
            return self._naive(t0_ns, horizon_s)
        try:
            return self._as_forecast(self._prediction, t0_ns, horizon_s)
        except StaleSignalError as error:
            raise _because(error, self._ahead_failure) from None

    def _look_ahead(self, t0_ns: int, horizon_s: float) -> None:
        """Ask the service for a forecast; keep the earlier one when it fails."""
        try:
            news = self._predict(t0_ns, horizon_s)
        except ServiceError as error:
            self._ahead_failure = error
        else:
            self._ahead_failure = None
            if news is not None:
                self._prediction = news
                self._store()
        self._ahead_ns = self.connection.clock_ns()
        self._ahead_until_ns = t0_ns + ns_from_s(horizon_s)

    def _asked_ahead(self, t0_ns: int, horizon_s: float) -> bool:
        """Whether the service was asked a moment ago for as much as this."""
        if self._ahead_ns is None or t0_ns + ns_from_s(horizon_s) > self._ahead_until_ns:
            return False
        return self.connection.clock_ns() - self._ahead_ns < self._refresh_ns

    def _naive(self, t0_ns: int, horizon_s: float) -> Forecast:
        """The same time of the last known day."""
        if not self._knows(t0_ns) or not self._knows(t0_ns - _DAY_NS):
            self._refresh(t0_ns)
        if self._series is None:
            raise self._nothing()
        try:
            return self._series.forecast(t0_ns, horizon_s)
        except StaleSignalError as error:
            raise _because(error, self._failure) from None

    def _knows(self, t_ns: int) -> bool:
        """Whether a value holds at ``t_ns``."""
        if self._series is None or t_ns < self._series.first_ns:
            return False
        place = int(self._series.start_ns.searchsorted(t_ns, side="right")) - 1
        return t_ns < int(self._series.end_ns[place])

    def _refresh(self, t_ns: int) -> None:
        """Ask for news, unless that was done a moment ago for this time or an earlier one."""
        now_ns = self.connection.clock_ns()
        recent = self._asked_ns is not None and now_ns - self._asked_ns < self._refresh_ns
        if recent and t_ns >= self._earliest_ns:
            return
        self._earliest_ns = min(t_ns, self._earliest_ns) if recent else t_ns
        if self._series is not None:
            self._earliest_ns = min(self._earliest_ns, self._series.first_ns)
        self._asked_ns = now_ns
        try:
            self._merge(self._observe(t_ns))
        except ServiceError as error:
            self._failure = error
        else:
            self._failure = None
            self._store()

    def _merge(self, points: Iterable[Point]) -> None:
        """Take in values; a newer one for the same start wins, what is long past goes."""
        fresh = {point.start_ns: point for point in points}
        if any(point.end_ns <= point.start_ns for point in fresh.values()):
            raise self._unexpected("an interval that ends before it starts")
        self._points.update(fresh)
        if not self._points:
            return
        oldest_ns = max(self._points) - ns_from_s(_KEEP_S)
        ordered = [self._points[start] for start in sorted(self._points) if start >= oldest_ns]
        for place in range(len(ordered) - 1):
            point, after = ordered[place], ordered[place + 1]
            if point.end_ns > after.start_ns:
                ordered[place] = msgspec.structs.replace(point, end_ns=after.start_ns)
        self._points = {point.start_ns: point for point in ordered}
        self._series = SeriesSignal.from_points(
            ordered, unit=self.unit, kind=self.kind, source=self.source, rule=self._rule(ordered)
        )

    def _rule(self, points: list[Point]) -> StaleRule:
        """The stale rule; with few values their own spread says little."""
        if len(points) >= _FEW_VALUES:
            return self.rule
        return msgspec.structs.replace(self.rule, spread=self._guessed_spread(points))

    def _guessed_spread(self, points: Sequence[Point]) -> float:
        """The rule's spread, or a quarter of the largest value: too little is known for better."""
        if self.rule.spread is not None:
            return self.rule.spread
        return _GUESSED_SPREAD_FRAC * max(abs(point.value) for point in points)

    def _as_forecast(self, prediction: Prediction, t0_ns: int, horizon_s: float) -> Forecast:
        """The prediction as a forecast; its width is the spread of what is known."""
        if prediction.settled or not prediction.points:
            spread = 0.0
        elif self._series is not None:
            spread = self._series.spread
        else:
            spread = self._guessed_spread(prediction.points)
        return forecast_of(
            prediction.points,
            t0_ns=t0_ns,
            horizon_s=horizon_s,
            issued_ns=prediction.issued_ns,
            signal=self,
            spread=spread,
        )

    def _decode(self, body: bytes, shape: type[_Shape]) -> _Shape:
        """The JSON answer in its documented shape; fields that are not used may be anything.

        Raises ``ServiceError`` that says which field is wrong.
        """
        try:
            return msgspec.json.decode(body, type=shape)
        except (msgspec.DecodeError, ValueError) as error:
            raise self._unexpected(str(error)) from None

    def _unexpected(self, found: str) -> ServiceError:
        """The error for an answer that is not what the service documents."""
        return ServiceError(
            f"{self.client.service}: an answer that cannot be used",
            found=found,
            allowed="the documented shape",
            todo="check that the service has not changed",
        )

    def _date_ns(self, text: str) -> int:
        """A date of an answer. Raises ``ServiceError``."""
        try:
            return ns_of(text)
        except BadInputError as error:
            raise self._unexpected(f"the date {error.found!r}") from None

    def _nothing(self) -> ServiceError | StaleSignalError:
        """The error when no value is known at all."""
        if self._failure is not None:
            return self._failure
        return StaleSignalError(f"{self.source}: no values", found="an answer without values")

    def _place(self) -> Path | None:
        """Where the values lie between runs."""
        if self.connection.cache_dir is None:
            return None
        name = re.sub(r"[^A-Za-z0-9]+", "-", f"{self.source}-{self.unit}").strip("-").lower()
        return self.connection.cache_dir / f"{name}.json"

    def _load(self) -> None:
        """Take the values of an earlier run; a file that cannot be read counts as none."""
        place = self._place()
        if place is None or not place.is_file():
            return
        try:
            kept = msgspec.json.decode(place.read_bytes(), type=CacheFile)
        except (OSError, msgspec.DecodeError):
            return
        same = (kept.schema, kept.source, kept.unit, kept.kind) == (
            CACHE_SCHEMA,
            self.source,
            self.unit,
            self.kind,
        )
        if same:
            self._merge(kept.points)
            self._prediction = kept.prediction

    def _store(self) -> None:
        """Keep the values for the next run. A folder that cannot be written is an error."""
        place = self._place()
        if place is None:
            return
        content = CacheFile(
            schema=CACHE_SCHEMA,
            source=self.source,
            unit=self.unit,
            kind=self.kind,
            written_ns=self.connection.clock_ns(),
            points=list(self._points.values()),
            prediction=self._prediction,
        )
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {place}", found=str(error.strerror)) from error
        write_whole(place, msgspec.json.encode(content))


def _because(error: StaleSignalError, failure: ServiceError | None) -> StaleSignalError:
    """The error with the reason why there is nothing newer."""
    if failure is None:
        return error
    return StaleSignalError(
        error.asked,
        found=f"{error.found}; no news because {failure.found}",
        allowed=error.allowed,
        todo=failure.todo or error.todo,
    )
