"""Electricity Maps, API v3: carbon intensity of a zone, life-cycle and flow-traced by default.

Needs a token. Latest value and the last 24 hours are free for one zone; forecasts are paid. The
values may be used, not passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from baseload.base.errors import BadInputError, ServiceError, StaleSignalError
from baseload.base.units import S_PER_HOUR, ns_from_s
from baseload.sources.http_client import Connection, Secret
from baseload.sources.live import LiveSignal, Prediction
from baseload.sources.series import points_of
from baseload.sources.signals import Point, StaleRule, show

ADDRESS = "https://api.electricitymaps.com"
HORIZONS_H = (6, 24, 48, 72)
"""Forecast horizons that the service offers [h]."""

_HOUR_NS = ns_from_s(S_PER_HOUR)


class _Value(msgspec.Struct):
    """One hour of an answer."""

    datetime: str
    carbon_intensity: float | None = msgspec.field(name="carbonIntensity", default=None)
    is_estimated: bool | None = msgspec.field(name="isEstimated", default=False)


class _Latest(_Value):
    """The answer of ``latest``."""

    zone: str = ""


class _Answer(msgspec.Struct):
    """The answer of ``history`` and ``forecast``: ``data`` is the newer name of the list."""

    zone: str = ""
    history: list[_Value] = []
    forecast: list[_Value] = []
    data: list[_Value] = []
    updated_at: str = msgspec.field(name="updatedAt", default="")


class ElectricityMapsSignal(LiveSignal):
    """Average carbon intensity of ``zone`` [g_per_kwh], hourly.

    ``token``: ``env:NAME``. ``factors``: ``lifecycle`` (default) or ``direct`` emissions of the
    power plants.
    """

    default_rule = StaleRule(fresh_s=S_PER_HOUR)

    def __init__(
        self,
        zone: str,
        *,
        token: str,
        factors: Literal["lifecycle", "direct"] = "lifecycle",
        rule: StaleRule | None = None,
        refresh_s: float = 300.0,
        connection: Connection | None = None,
        address: str = ADDRESS,
    ) -> None:
        if not zone:
            raise BadInputError("electricity-maps: zone", found="''", allowed="such as DE")
        if factors not in ("lifecycle", "direct"):
            raise BadInputError(
                "electricity-maps: factors", found=repr(factors), allowed="lifecycle, direct"
            )
        self.zone = zone
        self._token = Secret(token, field="electricity-maps: token")
        self._factors = factors
        self._address = address.rstrip("/")
        super().__init__(
            service="Electricity Maps",
            source=f"Electricity Maps, {zone}, {factors} average",
            unit="g_per_kwh",
            kind="average",
            rule=rule,
            refresh_s=refresh_s,
            connection=connection,
        )

    def _observe(self, t_ns: int) -> list[Point]:
        """The latest hour; the last 24 hours too when they are not known yet."""
        points = []
        if self._series is None or t_ns < self._series.first_ns:
            answer = self._decode(self._get("history"), _Answer)
            self._check_zone(answer.zone)
            points = self._points_of(answer.history or answer.data)
        latest = self._decode(self._get("latest"), _Latest)
        self._check_zone(latest.zone)
        return [*points, *self._points_of([latest])]

    def _predict(self, t0_ns: int, horizon_s: float) -> Prediction | None:
        """The forecast of the shortest horizon that reaches."""
        until_ns = t0_ns + ns_from_s(horizon_s)
        ahead_h = (until_ns - self.connection.clock_ns()) / _HOUR_NS
        horizon_h = next((each for each in HORIZONS_H if each >= ahead_h), None)
        if horizon_h is None:
            raise StaleSignalError(
                f"{self.source}: forecast to {show(until_ns)}",
                found=f"{ahead_h:.1f} h ahead",
                allowed=f"at most {HORIZONS_H[-1]} h",
                todo="ask for a shorter horizon",
            )
        body = self._get("forecast", horizonHours=str(horizon_h))
        answer = self._decode(body, _Answer)
        self._check_zone(answer.zone)
        points = self._points_of(answer.forecast or answer.data)
        if not points:
            raise self._unexpected("a forecast without values")
        issued = self._date_ns(answer.updated_at) if answer.updated_at else points[0].start_ns
        ahead = [msgspec.structs.replace(point, estimated=True) for point in points]
        return Prediction(issued_ns=issued, points=tuple(ahead))

    def _get(self, what: str, **params: str) -> bytes:
        """The answer of one endpoint."""
        token = self._token.reveal()
        return self.client.get(
            f"{self._address}/v3/carbon-intensity/{what}",
            params={"zone": self.zone, "emissionFactorType": self._factors, **params},
            headers={"auth-token": token},
            secrets=(token,),
        )

    def _check_zone(self, zone: str) -> None:
        """Refuse values of another zone: the service may fall back to where the caller is."""
        if zone != self.zone:
            raise ServiceError(
                f"Electricity Maps: zone {self.zone}",
                found=f"values of zone {zone!r}",
                todo="check the zone key at https://api.electricitymaps.com/v3/zones",
            )

    def _points_of(self, values: Sequence[_Value]) -> list[Point]:
        """Points of hours; hours without a value are left out."""
        return points_of(
            [self._date_ns(each.datetime) for each in values],
            [each.carbon_intensity for each in values],
            step_ns=_HOUR_NS,
            estimated=[bool(each.is_estimated) for each in values],
        )
