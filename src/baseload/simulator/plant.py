"""The simulated fleet under slow control: what a controller is shown of the engine, and how its
orders are carried out.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baseload.fleet.step import cost_table
from baseload.routing.control import Control
from baseload.routing.fleet_state import FleetState
from baseload.routing.slow import FleetFacts, Orders, Promise, Signals, Slow
from baseload.routing.working_set import off_pays_after_s
from baseload.simulator import orders
from baseload.simulator.drivers import Driver
from baseload.simulator.records import Engine
from baseload.simulator.scenario import Scenario

WORKING, AWAKE, DRAINING, WAKING, ASLEEP = range(5)
"""What a replica is for its controller. One that is awake is open too, and idle until a burst makes
its price worth paying; once it has worked it drains, so that the working ones stay full.
"""


class Tick:
    """One entry of the controller's diary: when, lambda by tier, open replicas by type, held."""

    __slots__ = ("at_s", "held", "opened", "weight")

    def __init__(self, at_s: float, weight: Any, opened: Any, held: int) -> None:
        self.at_s, self.weight, self.opened, self.held = at_s, weight, opened, held


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
    """Carries out a controller's orders on one engine. ``next_s`` is when it wants to be called."""

    def __init__(
        self,
        scenario: Scenario,
        fleet: FleetState,
        driver: Driver,
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
        self.diary: list[Tick] = []
        self._fleet, self._driver, self._park = fleet, driver, park
        self._mode = np.full(len(fleet.type_of), WORKING)
        self._ready: list[tuple[float, int]] = []  # replicas that are waking, and until when
        self._tick_s = self._last_s = 0.0
        self._seen = np.zeros((7, len(scenario.tiers)))
        self._off_after_s = [off_pays_after_s(cost) for cost in fleet.cost]
        self._tick_s = self.control.period_s

    @property
    def next_s(self) -> float:
        """The next instant at which something is to be done."""
        return min(self._tick_s, self._ready[0][0]) if self._ready else self._tick_s

    def act(self, engine: Engine, scratch: np.recarray[Any, Any]) -> None:
        """Do what is due at ``next_s``; the engine has run up to it."""
        now_s = self.next_s
        while self._ready and self._ready[0][0] <= now_s:
            _, replica = self._ready.pop(0)
            orders.wake(engine, self._fleet, replica, now_s)
            self._mode[replica] = WORKING
        if now_s < self._tick_s:
            return
        self._tick_s = now_s + self.control.period_s
        signals = self._signals(engine, now_s)
        self.carry_out(engine, self.control.tick(signals), now_s, scratch)
        self._last_s = now_s
        total = engine.total[0]
        opened = self._fleet.open_count.copy()
        self.diary.append(
            Tick(now_s, self._driver.state.lateness_weight.copy(), opened, int(total.held))
        )

    def _signals(self, engine: Engine, now_s: float) -> Signals:
        """What happened since the last tick, and how things stand."""
        tally, fleet = engine.tally, self._fleet
        columns = ("completed", "missed", "refused", "input_tokens", "output_tokens")
        sums = np.array(
            [engine.arrived, engine.arrived_tokens, *(tally[name].sum(axis=1) for name in columns)],
            float,
        )
        new = sums - self._seen
        self._seen = sums
        kinds = len(fleet.first) - 1
        total = engine.total[0]
        held = np.zeros(len(engine.arrived), dtype=np.int64)
        if total.held:
            codes = engine.held.class_code[: total.held]
            np.add.at(held, engine.tier_of_class[codes], 1)
        waking = np.bincount(fleet.type_of[self._mode == WAKING], minlength=kinds)
        return Signals(
            now_s=now_s,
            window_s=now_s - self._last_s,
            arrived=new[0],
            prompt_tokens=new[1],
            completed=new[2],
            missed=new[3],
            refused=new[4],
            input_tokens=new[5],
            output_tokens=new[6],
            held=held,
            in_flight=np.add.reduceat(fleet.in_flight, fleet.first[:-1]),
            open=fleet.open_count.copy(),
            waking=waking,
            oldest_due_s=float(engine.held[0].due_s) if total.held else math.inf,
        )

    def carry_out(
        self, engine: Engine, wanted: Orders, now_s: float, scratch: np.recarray[Any, Any]
    ) -> None:
        """Carry out orders at ``now_s``."""
        policy, fleet = self._driver.state, self._fleet
        if wanted.weight is not None:
            policy.lateness_weight[:] = wanted.weight
        if wanted.promise_frac is not None:
            policy.promise_frac[0] = wanted.promise_frac
        if wanted.hold is not None:
            policy.hold[:] = wanted.hold
        if wanted.open is not None:
            for kind in range(len(wanted.open)):
                reserve = 0 if wanted.reserve is None else int(wanted.reserve[kind])
                self._set_open(engine, kind, int(wanted.open[kind]), reserve, now_s)
        if wanted.forecast_batch is not None:
            fleet.limits.forecast_batch[:] = wanted.forecast_batch
        if wanted.level is not None:
            self._set_levels(engine, wanted.level, now_s)
        for _ in range(min(wanted.release, int(engine.total[0].held))):
            if engine.total[0].free_slots == 0:
                return
            self._driver.release(engine, fleet, scratch, now_s)

    def _set_open(self, engine: Engine, kind: int, wanted: int, reserve: int, now_s: float) -> None:
        """Give each replica of a type its part: the first ``wanted`` work, the next ``reserve`` stay
        awake for a burst, the rest are not needed.
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
            self._open(engine, first + place, int(goal[place]), now_s)
        for place in np.flatnonzero(drain).tolist():
            never = math.inf
            orders.close(engine, self._fleet, first + place, now_s, never, never)
            mode[place] = DRAINING
        off_s = self._off_after_s[kind]
        for place in np.flatnonzero(sleep & (mode != WAKING)).tolist():
            orders.close(engine, self._fleet, first + place, now_s, 0.0, off_s)
            mode[place] = ASLEEP

    def _open(self, engine: Engine, replica: int, mode: int, now_s: float) -> None:
        """Open a replica, or wake it first."""
        ready_s = float(orders.wake(engine, self._fleet, replica, now_s))
        if ready_s <= now_s:
            self._mode[replica] = mode
            return
        self._mode[replica] = WAKING
        self._ready.append((ready_s, replica))
        self._ready.sort()

    def _set_levels(self, engine: Engine, level: NDArray[np.int64], now_s: float) -> None:
        """Put each type's replicas to their level of the clock ladder."""
        for kind, row in enumerate(level):
            orders.set_level(engine, self._fleet, kind, int(row), now_s)
            self._fleet.cost[kind] = engine.cost[int(row)]
