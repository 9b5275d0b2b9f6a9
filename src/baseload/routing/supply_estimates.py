"""What a site's supply and demand are like, learned online from its meters: the day's shape, what
the fleet draws whatever is decided, and how much chance there is.

All of it looks back only. A *day* is a table of hours by the site's clock (UTC); an hour that was
not seen yet has the mean of those that were.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.units import S_PER_DAY, S_PER_HOUR

HOURS = 24
_MEMORY_DAYS = 10.0
_PERSISTENCE = 0.9  # of the last hours' deviation from the usual day, an hour later

Floats = NDArray[np.float64]


class SupplySignals(msgspec.Struct, frozen=True, kw_only=True):
    """What a controller of joule prices is shown when a slot of ``slot_s`` [s] has ended at
    ``now_s``.

    ``level_j``: usable energy in the store now; ``baseline_j``, ``demand_j``: of the slot, at the
    bus; ``in_flight``: requests. ``auxiliary_usd_per_j``, ``waste_usd_per_j``: prices of the slot,
    carbon included. ``promised_j``: joules of the answers picked in the slot, as expected then;
    ``picked`` ``[classes]``: how many.
    """

    now_s: float
    slot_s: float
    level_j: float
    baseline_j: float
    demand_j: float
    in_flight: int
    auxiliary_usd_per_j: float
    waste_usd_per_j: float
    promised_j: float
    picked: Floats


class Day:
    """A quantity by hour of the day, remembered over some days: ``mean`` [24, ...]."""

    def __init__(self, shape: tuple[int, ...] = ()) -> None:
        self.mean = np.zeros((HOURS, *shape))
        self._weight = np.zeros(HOURS)

    def add(self, hour: int, value: float | Floats, share: float) -> None:
        """Take in the mean ``value`` over a ``share`` of an hour."""
        self._weight[hour] = min(_MEMORY_DAYS, self._weight[hour] + share)
        self.mean[hour] += share / max(share, self._weight[hour]) * (value - self.mean[hour])

    @property
    def known(self) -> bool:
        """Whether every hour was seen."""
        return bool((self._weight > 0).all())

    def filled(self) -> Floats:
        """The day, hours that were never seen at the mean of the others."""
        seen = self._weight > 0
        found = self.mean.copy()
        if seen.any() and not seen.all():
            found[~seen] = self.mean[seen].mean(axis=0)
        return found


class SupplyEstimates:
    """Estimates that follow the meters: see the attributes.

    ``baseline_w``, ``floor_w`` (demand beyond what answers were expected to draw),
    ``rate_per_s`` ``[24, classes]``, ``auxiliary_usd_per_j``, ``waste_usd_per_j``: by hour.
    ``ratio``: of the last hours' baseline to the usual day's.
    """

    def __init__(self, *, classes: int, start_unix_s: float) -> None:
        self.baseline_w, self.floor_w = Day(), Day()
        self.rate_per_s = Day((classes,))
        self.auxiliary_usd_per_j, self.waste_usd_per_j = Day(), Day()
        self.ratio = 1.0
        self._start_s = start_unix_s
        self._residual_j, self._residual_day = 0.0, -1
        self._variance_j2 = math.nan  # of a day's net energy about the usual day
        self._days = 0.0
        self._slot_j2 = 0.0  # the same of a slot, before a day has passed
        self._slots = 0.0

    def hour(self, now_s: float) -> int:
        """Hour of the site's day at ``now_s``."""
        return int((self._start_s + now_s) % S_PER_DAY // S_PER_HOUR)

    def hours_passed(self, now_s: float) -> int:
        """Whole hours of the site's clock up to ``now_s``."""
        return int((self._start_s + now_s) // S_PER_HOUR)

    def add(self, signals: SupplySignals) -> None:
        """Take in the slot that has ended."""
        slot_s = signals.slot_s
        hours = self._hours(signals.now_s, slot_s)
        share = min(1.0, slot_s / len(hours) / S_PER_HOUR)
        baseline_w = signals.baseline_j / slot_s
        floor_w = (signals.demand_j - signals.promised_j) / slot_s
        self._deviate(hours, baseline_w - floor_w, signals)
        self._follow(hours, baseline_w, share)
        for hour in hours:
            self.baseline_w.add(hour, baseline_w, share)
            self.floor_w.add(hour, floor_w, share)
            self.rate_per_s.add(hour, signals.picked / slot_s, share)
            self.auxiliary_usd_per_j.add(hour, signals.auxiliary_usd_per_j, share)
            self.waste_usd_per_j.add(hour, signals.waste_usd_per_j, share)

    def _hours(self, end_s: float, slot_s: float) -> list[int]:
        """The hours that a slot is about: the one of its middle, or each one of a longer slot."""
        parts = min(HOURS, math.ceil(slot_s / S_PER_HOUR))
        return [self.hour(end_s - (part + 0.5) * slot_s / parts) for part in range(parts)]

    def variance_j2_per_s(self) -> float:
        """Long-run variance rate [J^2/s] of what no decision moves, about the usual day."""
        if self._days > 0:
            return self._variance_j2 / S_PER_DAY
        return self._slot_j2 / self._slots if self._slots else 0.0

    def ahead_w(self, now_s: float) -> Floats:
        """Baseline expected in this hour and the 23 after it [W]: the usual day, with the last
        hours' deviation dying out.
        """
        order = (self.hour(now_s) + np.arange(HOURS)) % HOURS
        fade = _PERSISTENCE ** np.arange(HOURS)
        expected: Floats = self.baseline_w.filled()[order] * (1.0 + (self.ratio - 1.0) * fade)
        return expected

    def _follow(self, hours: list[int], baseline_w: float, share: float) -> None:
        """Follow the ratio of the baseline to its usual day, where that has any."""
        usual = float(self.baseline_w.mean[hours].mean())
        if not self.baseline_w.known:
            return
        weight = usual / max(1e-9, float(self.baseline_w.mean.max()))
        if weight > 0.05:
            gain = min(1.0, 0.5 * share * (0.5 + weight))
            self.ratio += gain * (min(3.0, baseline_w / usual) - self.ratio)

    def _deviate(self, hours: list[int], net_w: float, signals: SupplySignals) -> None:
        """Collect the day's net energy beyond the usual; at midnight it becomes variance."""
        usual = float((self.baseline_w.mean[hours] - self.floor_w.mean[hours]).mean())
        if not self.baseline_w.known:
            mean = float((self.baseline_w.filled() - self.floor_w.filled()).mean())
            if self._slots:
                self._slot_j2 += (net_w - mean) ** 2 * signals.slot_s**2
            self._slots += signals.slot_s
            return
        day = int((self._start_s + signals.now_s) // S_PER_DAY)
        if day != self._residual_day and self._residual_day >= 0:
            self._days = min(_MEMORY_DAYS * 3, self._days + 1)
            before = 0.0 if math.isnan(self._variance_j2) else self._variance_j2
            self._variance_j2 = before + (self._residual_j**2 - before) / self._days
            self._residual_j = 0.0
        self._residual_day = day
        self._residual_j += (net_w - usual) * signals.slot_s
