"""WattTime, API v3: marginal emissions of a region, every five minutes.

Needs an account; without a subscription only CAISO_NORTH. What one more kilowatt-hour causes, not
what the mix emits: never put together with an average.
"""

from __future__ import annotations

import base64
import math
from typing import Literal

import msgspec

from baseload.base.errors import BadInputError, ServiceError, StaleSignalError
from baseload.base.units import (
    S_PER_DAY,
    S_PER_HOUR,
    g_per_kwh_from_lb_per_mwh,
    ns_from_s,
)
from baseload.sources.http_client import Connection, Secret
from baseload.sources.live import LiveSignal, Prediction
from baseload.sources.series import SeriesSignal, points_of
from baseload.sources.signals import Kind, Point, Reading, StaleRule, instant, show

ADDRESS = "https://api.watttime.org"
MOST_HORIZON_H = 72
"""Longest forecast that the service offers [h]."""

_STEP_NS = ns_from_s(300.0)
_TOKEN_NS = ns_from_s(25 * 60.0)
_UNITS = "lbs_co2_per_mwh"
_KINDS: dict[str, Kind] = {"co2_moer": "marginal", "co2_aoer": "average"}


class _Login(msgspec.Struct):
    """The answer of ``login``."""

    token: str


class _Meta(msgspec.Struct):
    """What an answer says of itself."""

    region: str = ""
    signal_type: str = ""
    units: str = ""
    generated_at: str = ""


class _Value(msgspec.Struct):
    """One point of an answer."""

    point_time: str
    value: float | None = None


class _Answer(msgspec.Struct):
    """The answer of ``historical``, ``forecast`` and ``signal-index``."""

    data: list[_Value]
    meta: _Meta


class WattTimeSignal(LiveSignal):
    """Emissions of ``region`` [g_per_kwh], in steps of five minutes.

    ``signal_type``: ``co2_moer`` (default; kind ``marginal``) or ``co2_aoer`` (kind ``average``).
    ``user``, ``password``: ``env:NAME``.
    """

    default_rule = StaleRule(fresh_s=900.0, refuse_s=3 * S_PER_HOUR)

    def __init__(
        self,
        region: str,
        *,
        user: str,
        password: str,
        signal_type: Literal["co2_moer", "co2_aoer"] = "co2_moer",
        rule: StaleRule | None = None,
        refresh_s: float = 150.0,
        connection: Connection | None = None,
        address: str = ADDRESS,
    ) -> None:
        if not region:
            raise BadInputError("watttime: region", found="''", allowed="such as CAISO_NORTH")
        if signal_type not in _KINDS:
            raise BadInputError(
                "watttime: signal_type", found=repr(signal_type), allowed=", ".join(_KINDS)
            )
        self.region = region
        self._signal_type = signal_type
        self._user = Secret(user, field="watttime: user")
        self._password = Secret(password, field="watttime: password")
        self._address = address.rstrip("/")
        self._token: tuple[str, int] | None = None
        super().__init__(
            service="WattTime",
            source=f"WattTime, {region}, {signal_type}",
            unit="g_per_kwh",
            kind=_KINDS[signal_type],
            rule=rule,
            refresh_s=refresh_s,
            connection=connection,
        )

    def signal_index(self, t_ns: int) -> Reading:
        """Where the region stands in its own month now: 0 clean to 1 dirty [frac].

        A rank and no intensity: joules cannot be priced with it. Not kept; one request each.
        Raises ``ServiceError``, ``StaleSignalError``.
        """
        t_ns = instant("t_ns", t_ns)
        answer = self._ask("signal-index", units="percentile")
        points = self._points_of(answer)
        if not points or not all(0.0 <= point.value <= 100.0 for point in points):
            raise self._unexpected("an index without a value from 0 to 100")
        return SeriesSignal.from_points(
            [msgspec.structs.replace(each, value=each.value / 100.0) for each in points],
            unit="frac",
            kind=self.kind,
            source=f"{self.source}, rank within the month",
            rule=msgspec.structs.replace(self.rule, spread=0.5),
        ).at(t_ns)

    def _observe(self, t_ns: int) -> list[Point]:
        """The day up to ``t_ns``."""
        end_ns = -(-(t_ns + 1) // _STEP_NS) * _STEP_NS
        answer = self._ask(
            "historical", start=show(end_ns - ns_from_s(S_PER_DAY)), end=show(end_ns)
        )
        return [point for point in self._points_of(answer, grams=True) if point.start_ns <= t_ns]

    def _predict(self, t0_ns: int, horizon_s: float) -> Prediction | None:
        """The newest forecast that reaches."""
        until_ns = t0_ns + ns_from_s(horizon_s)
        ahead_h = (until_ns - self.connection.clock_ns()) / ns_from_s(S_PER_HOUR)
        if ahead_h > MOST_HORIZON_H:
            raise StaleSignalError(
                f"{self.source}: forecast to {show(until_ns)}",
                found=f"{ahead_h:.1f} h ahead",
                allowed=f"at most {MOST_HORIZON_H} h",
                todo="ask for a shorter horizon",
            )
        hours = max(1, min(MOST_HORIZON_H, math.ceil(ahead_h + 0.25)))
        answer = self._ask("forecast", horizon_hours=str(hours))
        points = self._points_of(answer, grams=True)
        if not points:
            raise self._unexpected("a forecast without values")
        issued = points[0].start_ns
        if answer.meta.generated_at:
            issued = self._date_ns(answer.meta.generated_at)
        ahead = [msgspec.structs.replace(point, estimated=True) for point in points]
        return Prediction(issued_ns=issued, points=tuple(ahead))

    def _ask(self, what: str, *, units: str = _UNITS, **params: str) -> _Answer:
        """One endpoint's answer, of our region and in the unit expected; logs in when needed."""
        try:
            body = self._get(what, params)
        except ServiceError as error:
            if self._token is None or error.status != 401:
                raise
            self._token = None
            body = self._get(what, params)
        answer = self._decode(body, _Answer)
        found = answer.meta
        if found.region != self.region or found.signal_type != self._signal_type:
            raise self._unexpected(f"values of {found.region!r}, {found.signal_type!r}")
        if found.units != units:
            raise self._unexpected(f"the unit {found.units!r} in place of {units!r}")
        return answer

    def _get(self, what: str, params: dict[str, str]) -> bytes:
        """One endpoint's answer as it came."""
        token = self._login()
        return self.client.get(
            f"{self._address}/v3/{what}",
            params={"region": self.region, "signal_type": self._signal_type, **params},
            headers={"Authorization": f"Bearer {token}"},
            secrets=(token,),
        )

    def _login(self) -> str:
        """The token; a new one when the last is older than 25 minutes (it holds for 30)."""
        now_ns = self.connection.clock_ns()
        if self._token is None or now_ns - self._token[1] > _TOKEN_NS:
            user, password = self._user.reveal(), self._password.reveal()
            basic = base64.b64encode(f"{user}:{password}".encode()).decode()
            body = self.client.get(
                f"{self._address}/login",
                headers={"Authorization": f"Basic {basic}"},
                secrets=(password, basic),
            )
            self._token = (self._decode(body, _Login).token, now_ns)
        return self._token[0]

    def _points_of(self, answer: _Answer, *, grams: bool = False) -> list[Point]:
        """The points of an answer; in grams when asked."""
        values = [each.value for each in answer.data]
        if grams:
            values = [None if v is None else g_per_kwh_from_lb_per_mwh(v) for v in values]
        starts = [self._date_ns(each.point_time) for each in answer.data]
        return points_of(starts, values, step_ns=_STEP_NS)
