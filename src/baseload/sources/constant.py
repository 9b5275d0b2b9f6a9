"""A signal that never changes: a fixed tariff, a yearly mean, a contract."""

from __future__ import annotations

import math

import msgspec

from baseload.base.errors import BadInputError
from baseload.base.units import ns_from_s
from baseload.sources.signals import (
    Forecast,
    Kind,
    Point,
    Reading,
    Unit,
    forecast_of,
    horizon,
    instant,
)


class ConstantSignal(msgspec.Struct, frozen=True, kw_only=True):
    """The same ``value`` at every instant, of age 0. Raises ``BadInputError`` unless finite."""

    value: float
    unit: Unit = "g_per_kwh"
    kind: Kind = "average"
    source: str = "constant"

    def __post_init__(self) -> None:
        """Refuse values that are not finite."""
        if not math.isfinite(self.value):
            raise BadInputError(
                "constant signal", found=repr(self.value), allowed="a finite number"
            )

    def at(self, t_ns: int) -> Reading:
        """The constant, as a reading for ``t_ns``."""
        return Reading(
            value=self.value,
            unit=self.unit,
            kind=self.kind,
            estimated=False,
            source=self.source,
            at_ns=instant("t_ns", t_ns),
            age_s=0.0,
            low=self.value,
            high=self.value,
        )

    def forecast(self, t0_ns: int, horizon_s: float) -> Forecast:
        """The constant, as one step from ``t0_ns`` over ``horizon_s``."""
        start_ns = instant("t0_ns", t0_ns)
        end_ns = start_ns + max(1, ns_from_s(horizon(horizon_s)))
        return forecast_of(
            [Point(start_ns=start_ns, end_ns=end_ns, value=self.value)],
            t0_ns=start_ns,
            horizon_s=horizon_s,
            issued_ns=start_ns,
            signal=self,
            spread=0.0,
        )
