"""How a slow controller's orders reach the engine: replicas open, close, sleep and wake; clocks
change.

Rules: docs/explanation/engine.md, "What a slow controller can do".
"""

from __future__ import annotations

import math

from baseload.base.kernels import kernel, outline_kernel
from baseload.routing.fleet_state import FleetState, close_replica, open_replica
from baseload.simulator.accounts import charge, charge_idle
from baseload.simulator.closed_forms import series_sum, steps_until
from baseload.simulator.events import schedule
from baseload.simulator.records import IDLE, OFF, PARKED, WAKING, Engine, Row


@kernel
def _rest_until(engine: Engine, replica: Row, now_s: float) -> int:
    """Book the rest of an idle replica up to now; gives its power state. The rest goes on."""
    account = charge_idle(engine, engine.cost[replica.cost], replica, now_s)
    replica.idle_from_s = max(now_s, replica.idle_from_s)
    return account


@outline_kernel
def wake(engine: Engine, fleet: FleetState, number: int, now_s: float) -> float:
    """A closed replica is to be opened: at once when it is busy or idle, or wakes in no time (then
    it is open on return), else when it has woken. Gives the instant from which it may be opened.
    """
    replica = engine.replicas[number]
    if replica.idle and replica.idle_from_s > now_s:
        woken_s: float = replica.idle_from_s
        return woken_s
    account = IDLE
    if replica.idle:
        account = _rest_until(engine, replica, now_s)
    replica.park_after_s = replica.off_after_s = math.inf
    if account == IDLE:
        open_replica(fleet, number)
        return now_s
    cost = engine.cost[replica.cost]
    wake_s = cost.wake_s_from_parked if account == PARKED else cost.wake_s_from_off
    wake_j = cost.wake_j_from_parked if account == PARKED else cost.wake_j_from_off
    engine.total[0].wakes += 1
    replica.still_s += wake_s
    charge(engine, replica, WAKING, wake_j, now_s, now_s + wake_s)
    ready_s: float = now_s + wake_s
    replica.idle_from_s = ready_s
    if wake_s == 0.0:
        open_replica(fleet, number)
    return ready_s


@outline_kernel
def close(
    engine: Engine,
    fleet: FleetState,
    number: int,
    now_s: float,
    park_after_s: float,
    off_after_s: float,
) -> None:
    """The replica takes no more requests; once idle it parks after ``park_after_s`` and is off
    after ``off_after_s``, counted from now or from the end of its work. One that sleeps by its own
    timeouts sleeps on: only a wake ends that.
    """
    close_replica(fleet, number)
    replica = engine.replicas[number]
    account = IDLE
    if replica.idle:
        account = _rest_until(engine, replica, now_s)
    if account == OFF:
        off_after_s = 0.0
    if account != IDLE:
        park_after_s = 0.0
    replica.park_after_s, replica.off_after_s = park_after_s, off_after_s


@outline_kernel
def set_level(engine: Engine, fleet: FleetState, kind: int, row: int, now_s: float) -> None:
    """Replicas of a type run by another row of ``engine.cost``, each from its next step on."""
    if engine.cost_wanted[kind] == row:
        return
    engine.cost_wanted[kind] = row
    for number in range(fleet.first[kind], fleet.first[kind + 1]):
        replica = engine.replicas[number]
        if replica.idle or replica.steps <= 1:
            continue
        steps = steps_until(
            replica.time_s, replica.time_rise_s, replica.steps, now_s - replica.start_s
        )
        if steps < replica.steps:
            replica.steps = steps
            end_s = replica.start_s + series_sum(replica.time_s, replica.time_rise_s, steps)
            schedule(engine, number, end_s)
