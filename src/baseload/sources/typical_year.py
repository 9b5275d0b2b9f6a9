"""A year that stands for every year: hour by hour of a calendar without a year.

Weather files of a typical year, and recorded years that are to be repeated, answer for any date:
the value of the same month, day and hour. Such values are always estimates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import BadInputError, StaleSignalError
from baseload.base.units import NS_PER_S, S_PER_HOUR, ns_from_s
from baseload.sources.series import Samples, SeriesSignal
from baseload.sources.signals import (
    Forecast,
    Kind,
    Reading,
    StaleRule,
    Unit,
    horizon,
    instant,
    show,
)

_HOUR_NS = ns_from_s(S_PER_HOUR)
_DAY_NS = 24 * _HOUR_NS
_FEB_29 = 59
"""Days before the 29th of February."""


class TypicalYear:
    """Hourly ``values`` from the 1st of January, 00:00 at ``utc_offset_s``, for every year.

    8,760 values, or 8,784 for a leap year. In a year that has a 29th of February and the values
    have not, it repeats the 28th; the other way round it is left out. Missing values are NaN and
    count as gaps, see ``SeriesSignal``. Raises ``BadInputError`` for another number of values.
    """

    def __init__(
        self,
        values: ArrayLike,
        *,
        unit: Unit,
        kind: Kind,
        source: str,
        utc_offset_s: float = 0.0,
        rule: StaleRule | None = None,
    ) -> None:
        self.values: NDArray[np.float64] = np.asarray(values, np.float64)
        if self.values.shape not in ((8760,), (8784,)) or not np.isfinite(self.values).any():
            raise BadInputError(
                f"{source}: typical year",
                found=f"values of shape {self.values.shape}",
                allowed="8760 or 8784 hourly values",
            )
        if np.isinf(self.values).any() or not abs(utc_offset_s) <= 14 * S_PER_HOUR:
            raise BadInputError(
                f"{source}: typical year", found="an infinite value or an offset beyond 14 h"
            )
        self.unit: Unit = unit
        self.kind: Kind = kind
        self.source = source
        self.rule = StaleRule() if rule is None else rule
        self._offset_ns = ns_from_s(utc_offset_s)
        low, high = np.nanquantile(self.values, (0.025, 0.975))
        self.spread = float(high - low) / 2.0 if self.rule.spread is None else self.rule.spread

    def unrolled(self, start_ns: int, end_ns: int) -> SeriesSignal:
        """The dated series that reaches at least from ``start_ns`` to ``end_ns``.

        It begins up to the stale limit earlier, so that a gap at the start is filled. Raises
        ``StaleSignalError`` when there is no value in all that time.
        """
        before_ns = ns_from_s(self.rule.refuse_s) + _HOUR_NS
        begin = (start_ns + self._offset_ns - before_ns) // _HOUR_NS
        count = -(-(end_ns + self._offset_ns) // _HOUR_NS) - begin
        local_ns = (begin + np.arange(max(1, count), dtype=np.int64)) * _HOUR_NS
        values = self.values[self._hour_of_year(local_ns)]
        known = np.isfinite(values)
        if not known.any():
            raise StaleSignalError(
                f"{self.source}: no value for {show(start_ns)}",
                found=f"a gap of more than {self.rule.refuse_s:.0f} s",
                allowed=f"at most {self.rule.refuse_s:.0f} s",
                todo="raise refuse_s if an older value will do",
            )
        starts_ns = local_ns[known] - self._offset_ns
        return SeriesSignal(
            start_ns=starts_ns,
            end_ns=starts_ns + _HOUR_NS,
            values=values[known],
            estimated=True,
            unit=self.unit,
            kind=self.kind,
            source=self.source,
            rule=StaleRule(
                fresh_s=self.rule.fresh_s, refuse_s=self.rule.refuse_s, spread=self.spread
            ),
        )

    def _hour_of_year(self, local_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which value stands for each local hour."""
        dates = local_ns.astype("datetime64[ns]")
        years = dates.astype("datetime64[Y]")
        year_ns = years.astype("datetime64[ns]").astype(np.int64)
        next_ns = (years + np.timedelta64(1, "Y")).astype("datetime64[ns]").astype(np.int64)
        leap = next_ns - year_ns == 366 * _DAY_NS
        day, hour = np.divmod((local_ns - year_ns) // _HOUR_NS, 24)
        if len(self.values) == 8784:
            day = np.where(~leap & (day >= _FEB_29), day + 1, day)
        else:
            day = np.where(leap & (day >= _FEB_29), day - 1, day)
        found: NDArray[np.int64] = day * 24 + hour
        return found

    def at(self, t_ns: int) -> Reading:
        """The value of this hour of the year. Raises ``StaleSignalError`` in a long gap."""
        t_ns = instant("t_ns", t_ns)
        return self.unrolled(t_ns, t_ns + 1).at(t_ns)

    def forecast(self, t0_ns: int, horizon_s: float) -> Forecast:
        """The same time of the day before, as ``SeriesSignal.forecast`` gives it.

        Not the hours ahead: in a run that lives in this year they are the truth, which a policy
        must not see. Raises ``StaleSignalError`` in a long gap.
        """
        t0_ns, horizon_s = instant("t0_ns", t0_ns), horizon(horizon_s)
        known = self.unrolled(t0_ns - 2 * _DAY_NS, t0_ns + 1)
        return known.forecast(t0_ns, horizon_s)

    def sample(self, start_ns: int, *, step_s: float, count: int) -> Samples:
        """Means over ``count`` slots of ``step_s`` from ``start_ns``; see ``SeriesSignal.sample``.

        Raises ``StaleSignalError`` for a gap longer than the stale rule allows.
        """
        start_ns = instant("start_ns", start_ns)
        end_ns = start_ns + round(horizon(step_s) * count * NS_PER_S)
        return self.unrolled(start_ns, end_ns).sample(start_ns, step_s=step_s, count=count)

    def remarks(self) -> list[str]:
        """That it is a typical year, and how many of its hours are missing."""
        missing = int(np.isnan(self.values).sum())
        said = ["the same values for every year: estimates, not tied to the weather of a date"]
        return said + ([f"{missing} hours without a value"] if missing else [])
