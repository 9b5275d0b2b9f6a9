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
from baseload.routing.estimate import laxity_s
from baseload.routing.fleet_state import FleetState, enter, pending_levels, take_in
from baseload.routing.pick import PolicyState, admits, pick
from baseload.routing.price import option_row
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
from baseload.workload.lengths import bucket_of, expected_length

WAIT_FRAC = 0.5  # of its time to its first deadline a held request may wait


@kernel
def _wake(engine: Engine, replica: Row, number: int, now_s: float) -> None:
    """The first request has come to an idle replica: a boundary at once, or when it has woken.

    At once is an event of this instant: it comes before the next arrival, were that simultaneous.
    """
    cost = engine.cost[replica.cost]
    account = charge_idle(engine, cost, replica, now_s)
    replica.idle = 0
    if account == IDLE:
        schedule(engine, number, now_s)
        return
    engine.total[0].wakes += 1
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
def _join_queue(engine: Engine, number: int, place: int) -> None:
    """Queue a request behind those of its priority, or before the first with more laxity."""
    slot = engine.slots[place]
    before, after = engine.queue_tail[number, slot.priority], NOBODY
    if engine.total[0].laxity_queue:
        before, after = NOBODY, engine.queue_head[number, slot.priority]
        while after != NOBODY and engine.slots[after].laxity_s <= slot.laxity_s:
            before, after = after, engine.slots[after].next
    slot.next = after
    if before == NOBODY:
        engine.queue_head[number, slot.priority] = place
    else:
        engine.slots[before].next = place
    if after == NOBODY:
        engine.queue_tail[number, slot.priority] = place


@kernel
def arrive(engine: Engine, fleet: FleetState, number: int, place: int, now_s: float) -> None:
    """The request in slot ``place`` joins the queue of replica ``number``."""
    replica = engine.replicas[number]
    _join_queue(engine, number, place)
    replica.waiting += 1
    if replica.idle:
        _wake(engine, replica, number, now_s)
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
def settle(engine: Engine, end_s: float) -> None:
    """Book the idleness of all idle replicas up to the end of the trace. Once, after the last
    event.
    """
    for number in range(engine.replicas.shape[0]):
        replica = engine.replicas[number]
        if replica.idle:
            charge_idle(engine, engine.cost[replica.cost], replica, end_s)


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
    tally = engine.tally[engine.tier_of_class[class_code], 0]
    tally.refused += 1
    tally.wrong_usd += engine.options[option_row(engine.options, request), 0].right_usd
    crowd(engine, now_s, 0)


@kernel
def option_tokens(output_tokens: int, factor: float) -> int:
    """Tokens of an answer by an option that writes ``factor`` times those of the trace, at least
    one, before any cap.
    """
    return max(1, math.floor(output_tokens * factor + 0.5))


@kernel
def place_request(
    engine: Engine,
    fleet: FleetState,
    replica: int,
    option: int,
    cap_tokens: float,
    number: int,
    now_s: float,
    row: Row,
    request: Row,
) -> None:
    """Send request ``number`` to ``replica``, to be answered by ``option``, cut at ``cap_tokens``
    (inf: nowhere; an answer that is cut counts as wrong). ``row`` (of
    ``truth.ARRIVAL`` or ``records.HELD``) is the truth: its output goes into the engine, not to
    routing. ``request``: what routing saw.
    """
    total = engine.total[0]
    total.free_slots -= 1
    place = engine.free[total.free_slots]
    slot = engine.slots[place]
    input_tokens = int(row.input_tokens)
    longest = fleet.limits[fleet.type_of[replica]].max_input_tokens
    factor = engine.options[option_row(engine.options, request), option].output_factor
    asked = option_tokens(int(row.output_tokens), factor)
    slot.capped = asked > cap_tokens
    if slot.capped:
        asked = max(1, int(cap_tokens))
    output = min(asked, longest - input_tokens + 1)
    total.cut_short += output < asked
    tier = engine.tier_of_class[row.class_code]
    slot.arrival_s, slot.deadline_s, slot.first_s = row.arrival_s, row.deadline_s, math.nan
    slot.energy_j, slot.number, slot.replica = 0.0, number, replica
    slot.tokens = input_tokens + int(min(request.output_tokens * factor, cap_tokens))
    slot.option = option
    slot.input, slot.prompt, slot.output = input_tokens, input_tokens, output
    slot.emitted, slot.processed, slot.preemptions, slot.next = 0, 0, 0, NOBODY
    slot.class_code, slot.tier, slot.priority = row.class_code, tier, engine.tiers[tier].priority
    if total.laxity_queue:
        kind = fleet.type_of[replica]
        slot.laxity_s = now_s + laxity_s(
            fleet.cost[kind], fleet.limits[kind], fleet.traffic[0], request
        )
    slot.pending = pending_levels(fleet, input_tokens)
    enter(fleet, replica, slot.tokens, slot.pending)
    take_in(fleet, fleet.type_of[replica], float(input_tokens), now_s)
    crowd(engine, now_s, 1)
    arrive(engine, fleet, replica, place, now_s)


@kernel
def describe(
    engine: Engine, fleet: FleetState, policy: PolicyState, request: Row, row: Row, now_s: float
) -> None:
    """Fill in the visible request: what the pick may know of ``row`` at ``now_s``. Promises run
    from its arrival, so one that was held has less left of them.
    """
    tier = engine.tier_of_class[row.class_code]
    promise = engine.tiers[tier]
    bucket = bucket_of(row.input_tokens)
    mean, spread = expected_length(
        fleet.forecast, row.class_code, bucket, row.forecast_tokens, row.forecast_spread
    )
    request.output_tokens, request.output_spread = max(1.0, mean), spread
    request.input_tokens = float(row.input_tokens)
    share, waited_s = policy.promise_frac[0], now_s - row.arrival_s
    request.ttft_s = share * promise.ttft_s - waited_s
    request.tpot_s = share * promise.tpot_s
    request.e2e_s = share * min(row.deadline_s, promise.e2e_s) - waited_s
    request.deadline_s = min(request.e2e_s, request.ttft_s + request.tpot_s * request.output_tokens)
    request.lateness_weight = policy.lateness_weight[tier]
    request.model, request.class_code, request.now_s = row.model, row.class_code, now_s


@kernel
def _route(
    engine: Engine,
    fleet: FleetState,
    policy: PolicyState,
    request: Row,
    row: Row,
    number: int,
    now_s: float,
) -> None:
    """Decide on a request and send it, or refuse it."""
    describe(engine, fleet, policy, request, row, now_s)
    option, replica = pick(fleet, policy, request)
    if replica < 0:
        refuse(engine, fleet, request, row.class_code, now_s)
    else:
        cap_tokens = policy.options[option_row(policy.options, request), option].cap_tokens
        place_request(engine, fleet, replica, option, cap_tokens, number, now_s, row, request)


@kernel
def _due_before(due_s: float, number: int, held: Row) -> bool:
    """Whether request ``number``, due at ``due_s``, goes before ``held``: of two due at the same
    instant the one that came first.
    """
    return due_s < held.due_s or (due_s == held.due_s and number < held.number)


@kernel
def _hold(engine: Engine, row: Row, number: int, now_s: float) -> bool:
    """Let a request wait outside the fleet, if its deadline leaves time for it; says whether.

    It goes when half of its time to the first of its deadlines is gone, at the latest: the other
    half is for serving it.
    """
    promise = engine.tiers[engine.tier_of_class[row.class_code]]
    due_s = now_s + WAIT_FRAC * min(row.deadline_s, promise.e2e_s, promise.ttft_s)
    if due_s == math.inf:
        return False
    total = engine.total[0]
    place = total.held
    total.held += 1
    while place > 0 and _due_before(due_s, number, engine.held[(place - 1) >> 1]):
        _copy_held(engine.held[place], engine.held[(place - 1) >> 1])
        place = (place - 1) >> 1
    kept = engine.held[place]
    kept.due_s, kept.arrival_s, kept.deadline_s = due_s, row.arrival_s, row.deadline_s
    kept.forecast_tokens, kept.forecast_spread = row.forecast_tokens, row.forecast_spread
    kept.number, kept.model, kept.class_code = number, row.model, row.class_code
    kept.input_tokens, kept.output_tokens = row.input_tokens, row.output_tokens
    return True


@kernel
def _copy_held(to: Row, held: Row) -> None:
    """Copy one held request over another."""
    to.due_s, to.arrival_s, to.deadline_s = held.due_s, held.arrival_s, held.deadline_s
    to.forecast_tokens, to.forecast_spread = held.forecast_tokens, held.forecast_spread
    to.number, to.model, to.class_code = held.number, held.model, held.class_code
    to.input_tokens, to.output_tokens = held.input_tokens, held.output_tokens


@kernel
def _drop_first_held(engine: Engine) -> None:
    """Take the held request that is due first out of the heap."""
    total = engine.total[0]
    total.held -= 1
    size, place = total.held, 0
    last = engine.held[size]
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        right = engine.held[child + 1]
        if child + 1 < size and _due_before(right.due_s, right.number, engine.held[child]):
            child += 1
        if _due_before(last.due_s, last.number, engine.held[child]):
            break
        _copy_held(engine.held[place], engine.held[child])
        place = child
    _copy_held(engine.held[place], last)


@outline_kernel
def release_first(
    engine: Engine,
    fleet: FleetState,
    policy: PolicyState,
    scratch: np.recarray[Any, Any],
    now_s: float,
) -> None:
    """Send the held request that is due first. The caller has run the engine up to ``now_s``."""
    row = engine.held[0]
    _route(engine, fleet, policy, scratch[0], row, row.number, now_s)
    _drop_first_held(engine)


@kernel
def drive(
    engine: Engine,
    fleet: FleetState,
    policy: PolicyState,
    requests: np.recarray[Any, Any],
    begin: int,
    end: int,
    first_number: int,
    until_s: float,
    scratch: np.recarray[Any, Any],
) -> int:
    """Replay ``requests[begin:end]`` (of ``truth.ARRIVAL``), then run on to ``until_s`` and send
    ``total.to_release`` held requests there, one after another.

    ``scratch``: one row of ``price.REQUEST``, the visible part of the request at hand. Gives the
    number of requests done; fewer than ``end`` when slots, log or held requests want more room, and
    -1 when only the run to ``until_s`` is left to do.
    """
    total = engine.total[0]
    request = scratch[0]
    for at in range(begin, end + 1):
        last = at == end
        if last and until_s == -math.inf:
            return end
        if not last and (total.free_slots == 0 or total.held == engine.held.shape[0]):
            return at
        goal_s = until_s if last else requests[at].arrival_s
        while True:  # the engine runs up to the goal, held requests go on the way when they are due
            due = total.held > 0 and engine.held[0].due_s <= goal_s
            stop_s = engine.held[0].due_s if due else goal_s
            if not advance(engine, fleet, stop_s):
                return -1 if last else at
            if not due and not (last and total.to_release > 0 and total.held > 0):
                break
            if total.free_slots == 0:
                return -1 if last else at
            release_first(engine, fleet, policy, scratch, stop_s)
            if not due:
                total.to_release -= 1
        if last:
            total.to_release = 0
            return end
        if total.free_slots == 0:
            return at
        row = requests[at]
        now_s = row.arrival_s
        engine.arrivals[min(engine.arrivals.shape[0] - 1, int(now_s / engine.bin_s[0]))] += 1
        tier = engine.tier_of_class[row.class_code]
        engine.arrived[tier] += 1
        engine.arrived_tokens[tier] += row.input_tokens
        if policy.hold[tier] and _hold(engine, row, first_number + at, now_s):
            continue
        _route(engine, fleet, policy, request, row, first_number + at, now_s)
    return end
