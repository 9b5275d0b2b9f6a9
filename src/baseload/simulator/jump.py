"""The jump engine: a replica's next change, not its next token, is an event.

The rules are those of docs/explanation/engine.md; ``steps`` is the plain oracle that a test holds
equal to this. Between two changes of a replica's batch every step has the same decoders and reads a
context that grows by the same number of tokens, so ``k`` steps last ``k * time_s + k * (k - 1) / 2
* time_rise_s``; energy has the same form. One event a replica stands in a tournament tree; a
request in a batch is known by the iteration that will emit its last token, which never changes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baseload.base.kernels import kernel, outline_kernel
from baseload.routing.fleet_state import FleetState, enter
from baseload.routing.pick import PolicyState, admits, pick
from baseload.simulator.accounts import charge, charge_idle, crowd
from baseload.simulator.boundary import boundary, first_priority, has_room
from baseload.simulator.closed_forms import series_sum, steps_until
from baseload.simulator.events import schedule
from baseload.simulator.records import (
    IDLE,
    NO_MODEL,
    NOBODY,
    PARKED,
    QUEUE_FULL,
    TOO_LONG,
    WAKING,
    Engine,
    Row,
)


@kernel
def _wake(engine: Engine, fleet: FleetState, replica: Row, number: int, now_s: float) -> None:
    """The first request has come to an idle replica: a boundary at once, or when it has woken.

    At once is an event of this instant: it comes before the next arrival, were that simultaneous.
    """
    cost = fleet.cost[replica.kind]
    account = charge_idle(engine, cost, replica, now_s)
    replica.idle = 0
    if account == IDLE:
        schedule(engine, number, now_s)
        return
    wake_s = cost.wake_s_from_parked if account == PARKED else cost.wake_s_from_off
    wake_j = cost.wake_j_from_parked if account == PARKED else cost.wake_j_from_off
    replica.still_s += wake_s
    charge(engine, replica, WAKING, wake_j, now_s, now_s + wake_s)
    schedule(engine, number, now_s + wake_s)


@kernel
def _cut(
    engine: Engine, fleet: FleetState, replica: Row, number: int, place: int, now_s: float
) -> None:
    """End a running segment with its present step, if the request just queued would be admitted
    then.
    """
    slot = engine.slots[place]
    if (
        first_priority(engine, number) != slot.priority
        or engine.queue_head[number, slot.priority] != place
    ):
        return
    if replica.decoders >= fleet.limits[replica.kind].max_batch:
        return
    steps = steps_until(replica.time_s, replica.time_rise_s, replica.steps, now_s - replica.start_s)
    if not has_room(fleet, replica, slot.prompt, replica.kv + replica.decoders * steps):
        return
    if steps < replica.steps:
        replica.steps = steps
        schedule(
            engine, number, replica.start_s + series_sum(replica.time_s, replica.time_rise_s, steps)
        )


@kernel
def arrive(engine: Engine, fleet: FleetState, number: int, place: int, now_s: float) -> None:
    """The request in slot ``place`` joins the queue of replica ``number``."""
    replica = engine.replicas[number]
    slot = engine.slots[place]
    tail = engine.queue_tail[number, slot.priority]
    if tail == NOBODY:
        engine.queue_head[number, slot.priority] = place
    else:
        engine.slots[tail].next = place
    engine.queue_tail[number, slot.priority] = place
    replica.waiting += 1
    if replica.idle:
        _wake(engine, fleet, replica, number, now_s)
    elif replica.steps > 1 and replica.prefill_tokens == 0:
        _cut(engine, fleet, replica, number, place, now_s)


@kernel
def advance(engine: Engine, fleet: FleetState, until_s: float) -> bool:
    """Run all events up to and at ``until_s``; False when the log is full and wants to be
    emptied first.
    """
    total = engine.total[0]
    room = engine.log.shape[0]
    while True:
        number = engine.tree[1]
        now_s = engine.event_s[number]
        if now_s > until_s or now_s == math.inf:
            return True
        if room > 0:
            replica = engine.replicas[number]
            if total.logged + replica.decoders + replica.prefills > room:
                return False
        boundary(engine, fleet, number, now_s)


@outline_kernel
def settle(engine: Engine, fleet: FleetState, end_s: float) -> None:
    """Book the idleness of all idle replicas up to the end of the trace. Once, after the last
    event.
    """
    for number in range(engine.replicas.shape[0]):
        replica = engine.replicas[number]
        if replica.idle:
            charge_idle(engine, fleet.cost[replica.kind], replica, end_s)


@outline_kernel
def refuse(engine: Engine, fleet: FleetState, request: Row, class_code: int, now_s: float) -> None:
    """Count a request that no replica can take, by reason."""
    total = engine.total[0]
    reason = NO_MODEL
    for kind in range(fleet.limits.shape[0]):
        if admits(fleet, kind, request):
            reason = QUEUE_FULL
        elif reason == NO_MODEL and (
            request.model < 0 or request.model == fleet.limits[kind].model
        ):
            reason = TOO_LONG
    total.refused[reason] += 1
    engine.tally[engine.tier_of_class[class_code], 0].refused += 1
    crowd(engine, now_s, 0)


@kernel
def place_request(
    engine: Engine,
    fleet: FleetState,
    replica: int,
    number: int,
    now_s: float,
    input_tokens: int,
    output_tokens: int,
    class_code: int,
    deadline_s: float,
) -> None:
    """Send request ``number`` to ``replica``. ``output_tokens`` is the truth: it goes into the
    engine, not to routing.
    """
    total = engine.total[0]
    total.free_slots -= 1
    place = engine.free[total.free_slots]
    slot = engine.slots[place]
    longest = fleet.limits[fleet.type_of[replica]].max_input_tokens
    output = min(output_tokens, longest - input_tokens + 1)
    total.cut_short += output < output_tokens
    tier = engine.tier_of_class[class_code]
    slot.arrival_s, slot.deadline_s, slot.first_s = now_s, deadline_s, math.nan
    slot.energy_j, slot.number, slot.replica = 0.0, number, replica
    slot.tokens = input_tokens + int(fleet.forecast[class_code])
    slot.input, slot.prompt, slot.output = input_tokens, input_tokens, output
    slot.emitted, slot.processed, slot.preemptions, slot.next = 0, 0, 0, NOBODY
    slot.class_code, slot.tier, slot.priority = class_code, tier, engine.tiers[tier].priority
    enter(fleet, replica, slot.tokens)
    crowd(engine, now_s, 1)
    arrive(engine, fleet, replica, place, now_s)


@kernel
def describe(
    engine: Engine,
    fleet: FleetState,
    request: Row,
    class_code: int,
    input_tokens: int,
    deadline_s: float,
    model: int,
) -> None:
    """Fill in the visible request: what the pick may know."""
    promise = engine.tiers[engine.tier_of_class[class_code]]
    forecast = fleet.forecast[class_code]
    request.input_tokens = float(input_tokens)
    request.output_tokens = forecast
    request.deadline_s = min(deadline_s, promise.e2e_s, promise.ttft_s + promise.tpot_s * forecast)
    request.model = model


@kernel
def drive(
    engine: Engine,
    fleet: FleetState,
    policy: PolicyState,
    requests: np.recarray[Any, Any],
    begin: int,
    first_number: int,
    until_s: float,
    scratch: np.recarray[Any, Any],
) -> int:
    """Replay ``requests[begin:]`` (of ``truth.ARRIVAL``), then run on to ``until_s``.

    ``scratch``: one row of ``price.REQUEST``, the visible part of the request at hand. Gives the
    number of requests done; fewer than all when slots or log want more room, and -1 when only the
    run to ``until_s`` is left to do.
    """
    total = engine.total[0]
    request = scratch[0]
    count = requests.shape[0]
    for at in range(begin, count):
        if total.free_slots == 0:
            return at
        row = requests[at]
        now_s = row.arrival_s
        if not advance(engine, fleet, now_s):
            return at
        engine.arrivals[min(engine.arrivals.shape[0] - 1, int(now_s / engine.bin_s[0]))] += 1
        describe(
            engine, fleet, request, row.class_code, row.input_tokens, row.deadline_s, row.model
        )
        _, replica = pick(fleet, policy, request)
        if replica < 0:
            refuse(engine, fleet, request, row.class_code, now_s)
            continue
        place_request(
            engine,
            fleet,
            replica,
            first_number + at,
            now_s,
            row.input_tokens,
            row.output_tokens,
            row.class_code,
            row.deadline_s,
        )
    if until_s > -math.inf and not advance(engine, fleet, until_s):
        return -1
    return count
