"""One slow controller from its parts: lambda of each tier, the working set, what waits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from baseload.routing.clock_choice import ClockChoice
from baseload.routing.lateness_rules import RULES
from baseload.routing.slow import FleetFacts, Orders, Promise, Signals, Slow
from baseload.routing.working_set import WorkingSet

_FEWEST_ARRIVALS = 5.0  # between two ticks: fewer tell nothing
_LONGEST_S = 60.0  # between two ticks, were there no arrivals at all
_RATE_MEMORY_S = 60.0
_PRICE_ROOM = 1.6  # the price may use up more of a promise than the working set is sized for


class QuietHours:
    """Lets bulk requests wait, and go when the fleet has room: when interactive requests arrive at
    less than the mean rate of all requests over the time that bulk may wait (valley filling).
    """

    def __init__(self, promises: Sequence[Promise]) -> None:
        self.waits = np.array(
            [promise.bulk and math.isfinite(promise.e2e_s) for promise in promises]
        )
        deadlines = [promise.e2e_s for promise in promises if promise.bulk]
        self._memory_s = 0.5 * min(deadlines, default=math.inf)
        self._mean = math.nan

    def release_per_s(self, signals: Signals) -> float:
        """Held requests per second that should go now."""
        rate = float(signals.arrived.sum()) / signals.window_s
        interactive = float(signals.arrived[~self.waits].sum()) / signals.window_s
        if math.isnan(self._mean):
            self._mean = rate
        self._mean += (1.0 - math.exp(-signals.window_s / self._memory_s)) * (rate - self._mean)
        held = float(signals.held.sum())
        return min(held / signals.window_s, max(0.0, self._mean - interactive))


class Control:
    """What a policy's slow part does at each tick. ``sleep``: closed replicas sleep (parking);
    ``park``: replicas are closed even if the policy itself has no working set.

    ``period_s`` [s] is how long to wait for the next tick: the policy's own period, or longer, up
    to a minute, where requests are so few that nothing would have been learned.
    """

    def __init__(
        self, slow: Slow, facts: FleetFacts, promises: Sequence[Promise], *, park: bool
    ) -> None:
        self.period_s = self._shortest_s = slow.period_s
        self._rate_per_s = math.nan
        self._rules = [RULES[slow.rule](slow, promise.target_miss_frac) for promise in promises]
        self._quiet = QuietHours(promises) if slow.holds_bulk else None
        self._set, self._own = None, slow.working_set
        if slow.working_set or park:
            waits = None if self._quiet is None else self._quiet.waits
            self._set = WorkingSet(
                facts, promises, sleep=park, reserve=slow.working_set, waits=waits
            )
        self._clocks = None
        if slow.clocks and any(len(rows) > 1 for rows in facts.rungs):
            self._clocks = ClockChoice(facts, promises)

    @property
    def working_set(self) -> WorkingSet | None:
        """The working set's controller, where there is one."""
        return self._set

    def _pace(self, signals: Signals) -> None:
        """Set ``period_s`` by the rate of arrivals of the last minute."""
        rate = float(signals.arrived.sum()) / signals.window_s
        if math.isnan(self._rate_per_s):
            self._rate_per_s = rate
        follow = 1.0 - math.exp(-signals.window_s / _RATE_MEMORY_S)
        self._rate_per_s += follow * (rate - self._rate_per_s)
        wanted = _FEWEST_ARRIVALS / max(1e-9, self._rate_per_s)
        self.period_s = max(self._shortest_s, min(_LONGEST_S, wanted))

    def tick(self, signals: Signals) -> Orders:
        """The orders for the time until the next tick."""
        self._pace(signals)
        extra_per_s, hold, release = 0.0, None, 0
        if self._quiet is not None:
            extra_per_s = self._quiet.release_per_s(signals)
            hold = self._quiet.waits.astype(np.uint8)
            release = math.ceil(extra_per_s * signals.window_s)
        orders = Orders()
        if self._set is not None:
            orders = self._set.orders(signals, extra_per_s=extra_per_s)
            if self._own:
                orders.promise_frac = min(1.0, _PRICE_ROOM * self._set.fill)
        orders.hold, orders.release = hold, release
        if self._clocks is not None:
            batch = orders.forecast_batch
            none = np.zeros(len(signals.open))
            orders.level = self._clocks.rows(signals, none if batch is None else batch)
        orders.weight = np.array(
            [
                rule.step(float(completed), float(missed), signals.window_s)
                for rule, completed, missed in zip(
                    self._rules, signals.completed, signals.missed, strict=True
                )
            ]
        )
        return orders
