"""The simulated fleet under slow control: what a controller is shown of it, and how its orders are
carried out. Both engines are a ``Machine``, so both are controlled by the same code.

Rules: docs/explanation/engine.md, "What a slow controller can do".
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from baseload.fleet.step import Cost, cost_table
from baseload.routing.control import Control
from baseload.routing.fleet_state import FleetState
from baseload.routing.pick import PolicyState
from baseload.routing.slow import FleetFacts, Orders, Promise, Signals, Slow
from baseload.routing.working_set import off_pays_after_s
from baseload.simulator.scenario import Scenario

WORKING, AWAKE, DRAINING, WAKING, ASLEEP = range(5)
"""What a replica is for its controller. One that is awake is open too, and idle until a burst makes
its price worth paying; once it has worked it drains, so that the working ones stay full.
"""


COUNTED = (
    "arrived",
    "prompt_tokens",
    "completed",
    "missed",
    "refused",
    "input_tokens",
    "output_tokens",
)
"""Rows of ``Machine.counts``: the fields of ``Signals`` that count since the last tick."""


class Machine(Protocol):
    """An engine as its controller sees it. All calls are about the present instant ``now_s`` [s],
    up to which it has run.
    """

    def counts(self) -> NDArray[np.float64]:
        """What happened since the start, ``[len(COUNTED), tiers]``, in the order of ``COUNTED``."""

    def held(self) -> tuple[NDArray[np.int64], float]:
        """Requests of each tier that wait outside the fleet, ``[tiers]``, and when the first of
        them must go [s] (inf: there is none).
        """

    def wake(self, replica: int, now_s: float) -> float:
        """Open a replica, or wake it first; gives when it may be opened [s]: it is open if that is
        now, else it wants to be asked again then.
        """

    def close(self, replica: int, now_s: float, park_after_s: float, off_after_s: float) -> None:
        """Send a replica no more requests; once idle it rests by these timeouts [s]."""

    def set_level(self, kind: int, row: int, now_s: float) -> Cost:
        """Run replicas of a type by a row of the table of costs, from their next step on; gives
        the row.
        """

    def release(self, count: int, now_s: float) -> None:
        """Send the ``count`` held requests that are due first, one after another."""

    def drawn_j(self, now_s: float) -> float:
        """Joules that the fleet has drawn since the start; a wake counts when it begins."""

    def in_flight(self) -> int:
        """Requests in flight."""


class Hand(Protocol):
    """A slow controller with its hands on a machine."""

    @property
    def next_s(self) -> float:
        """When it wants to be called next [s]."""

    def act(self, machine: Machine) -> None:
        """Do what is due at ``next_s``; the machine has run up to it."""


MOST_TICKS = 4096
"""Entries that a diary keeps; plots show fewer."""


class Tick:
    """One entry of the controller's diary: when, lambda by tier, open replicas by type, held."""

    __slots__ = ("at_s", "held", "opened", "weight")

    def __init__(self, at_s: float, weight: Any, opened: Any, held: int) -> None:
        self.at_s, self.weight, self.opened, self.held = at_s, weight, opened, held


class Diary:
    """Ticks of a run, at most ``MOST_TICKS`` of them: a long run keeps every second, fourth, ...
    ``mean_weight`` is over all.
    """

    def __init__(self, *, tiers: int) -> None:
        self.ticks: list[Tick] = []
        self._weight_sum = np.zeros(tiers)
        self._seen, self._stride = 0, 1

    def add(self, tick: Tick) -> None:
        """Take in the next tick."""
        self._weight_sum += tick.weight
        if self._seen % self._stride == 0:
            self.ticks.append(tick)
        self._seen += 1
        if len(self.ticks) > MOST_TICKS:
            self.ticks = self.ticks[::2]
            self._stride *= 2

    @property
    def mean_weight(self) -> tuple[float, ...]:
        """Lambda of each tier, mean over the ticks; empty without any."""
        return tuple((self._weight_sum / self._seen).tolist()) if self._seen else ()


def promises_of(scenario: Scenario) -> list[Promise]:
    """The scenario's tiers as a controller knows them."""
    lowest = min(tier.priority for tier in scenario.tiers)
    return [
        Promise(
            name=tier.name,
            ttft_s=math.inf if tier.ttft_s is None else tier.ttft_s,
            tpot_s=math.inf if tier.tpot_s is None else tier.tpot_s,
            e2e_s=math.inf if tier.e2e_s is None else tier.e2e_s,
            target_miss_frac=tier.target_miss_frac,
            bulk=tier.name == "bulk" or tier.priority > lowest,
        )
        for tier in scenario.tiers
    ]


def ladder_rows(
    scenario: Scenario,
) -> tuple[np.recarray[Any, Any], tuple[tuple[int, ...], ...]]:
    """The cost rows of all types at full clock, then of their other clocks; and, for each type, the
    rows that it may run by.
    """
    kinds = [group.kind for group in scenario.groups]
    rungs = []
    for place, group in enumerate(scenario.groups):
        rungs.append((place, *range(len(kinds), len(kinds) + len(group.slower))))
        kinds += group.slower
    return cost_table(kinds), tuple(rungs)


class Plant:
    """Carries out a controller's orders on a machine. ``next_s`` is when it wants to be called."""

    def __init__(
        self,
        scenario: Scenario,
        fleet: FleetState,
        policy: PolicyState,
        slow: Slow,
        *,
        park: bool,
    ) -> None:
        replicas = np.diff(fleet.first)
        all_cost, rungs = ladder_rows(scenario)
        facts = FleetFacts(
            replicas=replicas,
            cost=fleet.cost.copy(),
            limits=fleet.limits,
            all_cost=all_cost,
            rungs=rungs,
        )
        self.control = Control(slow, facts, promises_of(scenario), park=park)
        self.diary = Diary(tiers=len(scenario.tiers))
        self._fleet, self._policy = fleet, policy
        self._mode = np.full(len(fleet.type_of), WORKING)
        self._ready: list[tuple[float, int]] = []  # replicas that are waking, and until when
        self._last_s = 0.0
        self._seen = np.zeros((len(COUNTED), len(scenario.tiers)))
        self._off_after_s = [off_pays_after_s(cost) for cost in fleet.cost]
        self._tick_s = self.control.period_s

    @property
    def next_s(self) -> float:
        """The next instant at which something is to be done."""
        return min(self._tick_s, self._ready[0][0]) if self._ready else self._tick_s

    def act(self, machine: Machine) -> None:
        """Do what is due at ``next_s``; the machine has run up to it."""
        now_s = self.next_s
        while self._ready and self._ready[0][0] <= now_s:
            _, replica = self._ready.pop(0)
            machine.wake(replica, now_s)
            self._mode[replica] = WORKING
        if now_s < self._tick_s:
            return
        self._tick_s = now_s + self.control.period_s
        signals = self._signals(machine, now_s)
        self.carry_out(machine, self.control.tick(signals), now_s)
        self._last_s = now_s
        opened = self._fleet.open_count.copy()
        held = int(machine.held()[0].sum())
        self.diary.add(Tick(now_s, self._policy.lateness_weight.copy(), opened, held))

    def _signals(self, machine: Machine, now_s: float) -> Signals:
        """What happened since the last tick, and how things stand."""
        fleet = self._fleet
        sums = machine.counts()
        new = sums - self._seen
        self._seen = sums
        held, oldest_due_s = machine.held()
        kinds = len(fleet.first) - 1
        return Signals(
            now_s=now_s,
            window_s=now_s - self._last_s,
            **dict(zip(COUNTED, new, strict=True)),
            held=held,
            in_flight=np.add.reduceat(fleet.in_flight, fleet.first[:-1]),
            open=fleet.open_count.copy(),
            waking=np.bincount(fleet.type_of[self._mode == WAKING], minlength=kinds),
            oldest_due_s=oldest_due_s,
        )

    def carry_out(self, machine: Machine, wanted: Orders, now_s: float) -> None:
        """Carry out orders at ``now_s``."""
        policy, fleet = self._policy, self._fleet
        if wanted.weight is not None:
            policy.lateness_weight[:] = wanted.weight
        if wanted.promise_frac is not None:
            policy.promise_frac[0] = wanted.promise_frac
        if wanted.hold is not None:
            policy.hold[:] = wanted.hold
        if wanted.open is not None:
            for kind in range(len(wanted.open)):
                reserve = 0 if wanted.reserve is None else int(wanted.reserve[kind])
                self._set_open(machine, kind, int(wanted.open[kind]), reserve, now_s)
        if wanted.forecast_batch is not None:
            fleet.limits.forecast_batch[:] = wanted.forecast_batch
        if wanted.level is not None:
            for kind, row in enumerate(wanted.level):
                fleet.cost[kind] = machine.set_level(kind, int(row), now_s)
        count = min(wanted.release, int(machine.held()[0].sum()))
        if count > 0:
            machine.release(count, now_s)

    def _set_open(
        self, machine: Machine, kind: int, wanted: int, reserve: int, now_s: float
    ) -> None:
        """Give each replica of a type its part: the first ``wanted`` work, the next ``reserve``
        stay awake for a burst, the rest are not needed.
        """
        first, last = int(self._fleet.first[kind]), int(self._fleet.first[kind + 1])
        goal = np.full(last - first, ASLEEP)
        goal[: wanted + reserve] = AWAKE
        goal[:wanted] = WORKING
        mode, level = self._mode[first:last], self._fleet.level[first:last]
        idle = level == 0
        wake = (goal == WORKING) & (mode != WORKING)
        wake |= (goal == AWAKE) & ((mode == ASLEEP) | ((mode == DRAINING) & idle))
        drain = (goal == AWAKE) & ((mode == WORKING) | ((mode == AWAKE) & ~idle))
        sleep = (goal == ASLEEP) & (mode != ASLEEP)
        for place in np.flatnonzero(wake & (mode != WAKING)).tolist():
            self._open(machine, first + place, int(goal[place]), now_s)
        for place in np.flatnonzero(drain).tolist():
            never = math.inf
            machine.close(first + place, now_s, never, never)
            mode[place] = DRAINING
        off_s = self._off_after_s[kind]
        for place in np.flatnonzero(sleep & (mode != WAKING)).tolist():
            machine.close(first + place, now_s, 0.0, off_s)
            mode[place] = ASLEEP

    def _open(self, machine: Machine, replica: int, mode: int, now_s: float) -> None:
        """Open a replica, or wake it first."""
        ready_s = machine.wake(replica, now_s)
        if ready_s <= now_s:
            self._mode[replica] = mode
            return
        self._mode[replica] = WAKING
        self._ready.append((ready_s, replica))
        self._ready.sort()
