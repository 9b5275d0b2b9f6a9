"""Carbon Intensity API of the British system operator (NESO): half-hourly, no key, CC BY 4.0.

Operational emissions with imports, so not comparable with life-cycle figures of other sources.
"""

from __future__ import annotations

import msgspec

from baseload.base.errors import StaleSignalError
from baseload.base.units import S_PER_DAY, ns_from_s
from baseload.sources.http_client import Connection
from baseload.sources.live import LiveSignal, Prediction
from baseload.sources.signals import Point, StaleRule, show

ADDRESS = "https://api.carbonintensity.org.uk"
_HALF_HOUR_NS = ns_from_s(1800.0)
_REACH_NS = ns_from_s(2 * S_PER_DAY)


class _Intensity(msgspec.Struct):
    """Forecast and, once the half-hour is over, actual intensity."""

    forecast: float | None = None
    actual: float | None = None


class _Value(msgspec.Struct):
    """One half-hour of an answer."""

    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    intensity: _Intensity


class _Answer(msgspec.Struct):
    """The answer of every national endpoint."""

    data: list[_Value]


class GbCarbonSignal(LiveSignal):
    """Average carbon intensity of Great Britain [g_per_kwh], half-hourly.

    A half-hour that is not over has no actual value: then the operator's forecast of it counts,
    marked estimated.
    """

    default_rule = StaleRule(fresh_s=1800.0)

    def __init__(
        self,
        *,
        rule: StaleRule | None = None,
        refresh_s: float = 300.0,
        connection: Connection | None = None,
        address: str = ADDRESS,
    ) -> None:
        self._address = address.rstrip("/")
        super().__init__(
            service="GB Carbon Intensity",
            source="NESO Carbon Intensity API, Great Britain, average",
            unit="g_per_kwh",
            kind="average",
            rule=rule,
            refresh_s=refresh_s,
            connection=connection,
        )

    def _observe(self, t_ns: int) -> list[Point]:
        """The day up to the half-hour of ``t_ns``."""
        end_ns = (t_ns // _HALF_HOUR_NS + 1) * _HALF_HOUR_NS
        begin_ns = end_ns - ns_from_s(S_PER_DAY)
        return self._points_of(self._ask(f"{_minute(begin_ns)}/{_minute(end_ns)}"))

    def _predict(self, t0_ns: int, horizon_s: float) -> Prediction | None:
        """The forecasts of 48 hours from now; they carry no time of issue, so it is now."""
        now_ns = self.connection.clock_ns()
        from_ns = min(t0_ns, now_ns) // _HALF_HOUR_NS * _HALF_HOUR_NS
        until_ns = t0_ns + ns_from_s(horizon_s)
        if until_ns > from_ns + _REACH_NS:
            raise StaleSignalError(
                f"{self.source}: forecast to {show(until_ns)}",
                found=f"{(until_ns - from_ns) / 3.6e12:.1f} h from {show(from_ns)}",
                allowed="at most 48 h",
                todo="ask for a shorter horizon",
            )
        points = [
            Point(
                start_ns=self._date_ns(each.start),
                end_ns=self._date_ns(each.end),
                value=each.intensity.forecast,
                estimated=True,
            )
            for each in self._ask(f"{_minute(from_ns)}/fw48h")
            if each.intensity.forecast is not None
        ]
        if not points:
            raise self._unexpected("a forecast without values")
        return Prediction(issued_ns=now_ns, points=tuple(sorted(points, key=_start)))

    def _ask(self, what: str) -> list[_Value]:
        """The half-hours of one request."""
        return self._decode(self.client.get(f"{self._address}/intensity/{what}"), _Answer).data

    def _points_of(self, values: list[_Value]) -> list[Point]:
        """Actual values, or forecasts marked estimated where there is none yet."""
        points = []
        for each in values:
            actual, guess = each.intensity.actual, each.intensity.forecast
            value = guess if actual is None else actual
            if value is not None:
                points.append(
                    Point(
                        start_ns=self._date_ns(each.start),
                        end_ns=self._date_ns(each.end),
                        value=value,
                        estimated=actual is None,
                    )
                )
        return points


def _start(point: Point) -> int:
    """What points are ordered by."""
    return point.start_ns


def _minute(t_ns: int) -> str:
    """The instant to the minute, as the addresses want it."""
    return show(t_ns)[:16] + "Z"
