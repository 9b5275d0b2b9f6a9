"""One run on its way: the engine, whoever drives it, and slow controllers' ticks in between."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baseload.fleet.step import Cost
from baseload.routing.fleet_state import FleetState
from baseload.routing.price import request_row
from baseload.simulator import jump, metered, orders
from baseload.simulator.drivers import Driver
from baseload.simulator.plant import Hand
from baseload.simulator.records import Engine, with_more_held, with_more_slots
from baseload.simulator.truth import arrivals
from baseload.workload.forecasts import Forecast
from baseload.workload.trace import Trace

_FOREVER_S = 1e300
_ENDED = ("completed", "missed", "refused", "input_tokens", "output_tokens")


def _keep_nothing(engine: Engine) -> None:
    """Forget the log of ended requests."""
    engine.total.view(np.ndarray)["logged"][0] = 0


class Course:
    """One run on its way: the engine, and whoever drives it. To its plant it is a
    ``plant.Machine``.
    """

    def __init__(
        self,
        engine: Engine,
        fleet: FleetState,
        driver: Driver,
        hands: Sequence[Hand],
        *,
        forecast: Forecast,
        seed: int,
        empty_log: Callable[[Engine], None] = _keep_nothing,
    ) -> None:
        self.engine, self._fleet, self._driver, self._hands = engine, fleet, driver, hands
        self._empty_log = empty_log
        self._forecast, self._seed = forecast, seed
        self.scratch = request_row(input_tokens=1, output_tokens=1)
        # Nothing happens at instant 0, but what was not compiled or loaded yet is now.
        self._none = arrivals(_nothing())
        self._drive(self._none, 0, 0, 0, -math.inf)
        jump.settle(self.engine, 0.0)

    def feed(self, piece: Trace, first_number: int) -> None:
        """Replay one piece of the trace, with the slow controller's ticks in between."""
        rows = arrivals(piece, forecast=self._forecast, seed=self._seed, first_number=first_number)
        at = 0
        while (hand := self._first_hand()) and rows.arrival_s[-1] > hand.next_s:
            tick_s = hand.next_s
            end = int(np.searchsorted(rows.arrival_s, tick_s, side="right"))
            self._drive(rows, at, end, first_number, tick_s)
            hand.act(self)
            at = end
        self._drive(rows, at, len(rows), first_number, -math.inf)

    def drain(self, count: int, span_s: float) -> None:
        """Run until the last answer is complete, and book what rests up to the end of the trace."""
        total = self.engine.total[0]
        total["horizon_s"] = span_s
        while (hand := self._first_hand()) and (total.in_flight or total.held):
            self._drive(self._none, 0, 0, count, hand.next_s)
            hand.act(self)
            total = self.engine.total[0]
        self._drive(self._none, 0, 0, count, _FOREVER_S)
        jump.settle(self.engine, span_s)

    def _first_hand(self) -> Hand | None:
        """The controller that is due first; none where nobody will be due."""
        waiting = [hand for hand in self._hands if hand.next_s < math.inf]
        return min(waiting, key=lambda hand: hand.next_s, default=None)

    def drawn_j(self, now_s: float) -> float:
        """As ``plant.Machine`` says."""
        return float(metered.drawn_j(self.engine, now_s))

    def in_flight(self) -> int:
        """As ``plant.Machine`` says."""
        return int(self.engine.total[0].in_flight)

    def counts(self) -> NDArray[np.float64]:
        """As ``plant.Machine`` says."""
        engine = self.engine
        tally = engine.tally.view(np.ndarray)  # a plain array: its fields are found faster
        ended = [tally[name].sum(axis=1) for name in _ENDED]
        return np.array([engine.arrived, engine.arrived_tokens, *ended], dtype=np.float64)

    def held(self) -> tuple[NDArray[np.int64], float]:
        """As ``plant.Machine`` says."""
        engine = self.engine
        count = int(engine.total.view(np.ndarray)["held"][0])
        if count == 0:
            return np.zeros(len(engine.arrived), dtype=np.int64), math.inf
        tiers = engine.tier_of_class[engine.held.class_code[:count]]
        return np.bincount(tiers, minlength=len(engine.tiers)), float(engine.held[0].due_s)

    def wake(self, replica: int, now_s: float) -> float:
        """As ``plant.Machine`` says."""
        return float(orders.wake(self.engine, self._fleet, replica, now_s))

    def close(self, replica: int, now_s: float, park_after_s: float, off_after_s: float) -> None:
        """As ``plant.Machine`` says."""
        orders.close(self.engine, self._fleet, replica, now_s, park_after_s, off_after_s)

    def set_level(self, kind: int, row: int, now_s: float) -> Cost:
        """As ``plant.Machine`` says."""
        orders.set_level(self.engine, self._fleet, kind, row, now_s)
        return self.engine.cost[row]

    def release(self, count: int, now_s: float) -> None:
        """As ``plant.Machine`` says. A replica that one release has set to work begins at once,
        before the next release.
        """
        self.engine.total[0]["to_release"] = count
        self._drive(self._none, 0, 0, 0, now_s)

    def _drive(
        self, rows: np.recarray[Any, Any], begin: int, end: int, first: int, until_s: float
    ) -> None:
        """Drive to the end of ``rows[begin:end]`` and on to ``until_s``, making room on the way."""
        at = begin
        while True:
            at = self._driver.drive(
                self.engine, self._fleet, rows, max(at, begin), end, first, until_s, self.scratch
            )
            self._empty_log(self.engine)
            if at == end:
                return
            at = end if at < 0 else at
            total = self.engine.total[0]
            if total.free_slots == 0:
                self.engine = with_more_slots(self.engine)
            if total.held == len(self.engine.held):
                self.engine = with_more_held(self.engine)


def _nothing() -> Trace:
    """A trace without requests."""
    ints = np.zeros(0, dtype=np.int32)
    return Trace(
        name="",
        t_us=ints.astype(np.int64),
        input_tokens=ints,
        output_tokens=ints,
        class_code=ints.astype(np.int16),
        classes=(),
    )
