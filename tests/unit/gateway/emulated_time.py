"""A clock for tests of the emulator: stands still until it is told to go on, and never sleeps."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math

from baseload.fleet.replica_type import PowerStates, ReplicaType, StepCosts


def small_type(**changes):
    """A replica whose steps take 10 ms and a little, with little room."""
    fields = {
        "name": "small",
        "device": "H100-SXM-80GB",
        "model": "Qwen/Qwen3-8B",
        "costs": StepCosts(
            time_s_per_step=0.01,
            time_s_per_sequence=1e-4,
            time_s_per_context_token=1e-7,
            time_s_per_prefill_token=5e-5,
            energy_j_per_step=3.0,
            energy_j_per_sequence=0.05,
            energy_j_per_context_token=1e-4,
            energy_j_per_prefill_token=0.03,
        ),
        "power": PowerStates(
            power_w_active_static=150.0,
            power_w_cap=700.0,
            power_w_idle=100.0,
            power_w_parked=40.0,
            wake_s_from_parked=2.0,
            wake_j_from_parked=300.0,
        ),
        "max_batch": 8,
        "max_step_tokens": 128,
        "kv_tokens": 2000,
        "max_context_tokens": 1500,
    }
    return ReplicaType(**{**fields, **changes})


class FakeTime:
    """``clock`` and ``call_later`` of a loop whose time passes only here [s]. Timers may be late:
    ``late_s`` after they were due.
    """

    def __init__(self, *, late_s: float = 0.0) -> None:
        self.now = 1000.0
        self.late_s = late_s
        self._timers: list[tuple[float, int, Handle]] = []
        self._count = itertools.count()

    def clock(self):
        return self.now

    def call_later(self, wait_s, call):
        handle = Handle(call)
        when = self.now + wait_s + self.late_s
        heapq.heappush(self._timers, (when, next(self._count), handle))
        return handle

    def run_until(self, until):
        """Fire every timer up to ``until`` (``inf``: until there are none), in order."""
        while self.next() <= until and self._timers:
            self.fire()
        self.now = max(self.now, until) if math.isfinite(until) else self.now

    def next(self):
        while self._timers and self._timers[0][2].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else math.inf

    def fire(self):
        when, _, handle = heapq.heappop(self._timers)
        self.now = max(self.now, when)
        handle.call()

    async def drive(self, task):
        """Await ``task``; whenever nothing else can go on, the next timer fires."""
        task = asyncio.ensure_future(task)
        while not task.done():
            for _ in range(4):
                await asyncio.sleep(0)
            if not task.done() and self.next() < math.inf:
                self.fire()
        return task.result()


class Handle:
    """A timer."""

    def __init__(self, call):
        self.call, self.cancelled = call, False

    def cancel(self):
        self.cancelled = True
