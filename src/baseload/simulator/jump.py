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

from baseload.base.kernels import kernel
from baseload.fleet.step import Cost, free_step
from baseload.routing.fleet_state import FleetState, enter, learn, leave
from baseload.routing.pick import PolicyState, admits, pick
from baseload.simulator.records import (
    ACTIVE,
    BIN_RATIO,
    BINS,
    E2E,
    ENERGY,
    HISTOGRAM_LOW,
    IDLE,
    MAX_PRIORITIES,
    NO_MODEL,
    NOBODY,
    OFF,
    PARKED,
    QUEUE_FULL,
    TOO_LONG,
    TPOT,
    TTFT,
    WAKING,
    Engine,
    Row,
)

_WATERMARK_PARTS = 100  # an admission leaves one part in a hundred of the KV cache free
# Low bits of a heap key: the order of admission, so that equal last iterations leave in that order.
_TURN_BITS = 24
_TURN_MASK = (1 << _TURN_BITS) - 1
_INVERSE_LOG_RATIO = 1.0 / math.log(BIN_RATIO)
_LOG_LOW = tuple(math.log(low) for low in HISTOGRAM_LOW)


# --- segments -----------------------------------------------------------------------------------


@kernel
def series_sum(first: float, rise: float, count: int) -> float:
    """``first + (first + rise) + ...`` over ``count`` terms."""
    return count * first + 0.5 * count * (count - 1.0) * rise


@kernel
def steps_until(first: float, rise: float, count: int, elapsed: float) -> int:
    """The smallest number of steps, at most ``count``, that last longer than ``elapsed``."""
    slope = first - 0.5 * rise
    guess = 2.0 * elapsed / (slope + math.sqrt(slope * slope + 2.0 * rise * elapsed))
    steps = max(1, min(count, int(guess) + 1))
    while steps > 1 and series_sum(first, rise, steps - 1) > elapsed:
        steps -= 1
    while steps < count and series_sum(first, rise, steps) <= elapsed:
        steps += 1
    return steps


# --- tournament of events -----------------------------------------------------------------------


@kernel
def schedule(engine: Engine, replica: int, at_s: float) -> None:
    """Set when the replica's segment ends; of two at the same instant the lower number goes
    first.
    """
    event_s, tree = engine.event_s, engine.tree
    event_s[replica] = at_s
    node = (event_s.shape[0] + replica) >> 1
    while node >= 1:
        left, right = tree[2 * node], tree[2 * node + 1]
        winner = left if event_s[left] <= event_s[right] else right
        if winner == tree[node] and winner != replica:
            return
        tree[node] = winner
        node >>= 1


# --- heap of decoders ---------------------------------------------------------------------------


@kernel
def _sift_up(heap: Row, base: int, place: int) -> None:
    """Move the entry at ``place`` of the heap at ``base`` up to where it belongs."""
    key, slot = heap[base + place].key, heap[base + place].slot
    while place > 0:
        parent = (place - 1) >> 1
        if heap[base + parent].key <= key:
            break
        heap[base + place].key = heap[base + parent].key
        heap[base + place].slot = heap[base + parent].slot
        place = parent
    heap[base + place].key, heap[base + place].slot = key, slot


@kernel
def _sift_down(heap: Row, base: int, place: int, size: int) -> None:
    """Move the entry at ``place`` of the heap at ``base`` down to where it belongs."""
    key, slot = heap[base + place].key, heap[base + place].slot
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[base + child + 1].key < heap[base + child].key:
            child += 1
        if heap[base + child].key >= key:
            break
        heap[base + place].key = heap[base + child].key
        heap[base + place].slot = heap[base + child].slot
        place = child
    heap[base + place].key, heap[base + place].slot = key, slot


@kernel
def _drop(engine: Engine, replica: Row, place: int) -> None:
    """Take the entry at ``place`` out of the replica's heap."""
    base = replica.heap
    replica.decoders -= 1
    last = replica.decoders
    if place == last:
        return
    engine.heap[base + place].key = engine.heap[base + last].key
    engine.heap[base + place].slot = engine.heap[base + last].slot
    _sift_down(engine.heap, base, place, last)
    _sift_up(engine.heap, base, place)


# --- accounts -----------------------------------------------------------------------------------


@kernel
def _charge(
    engine: Engine, replica: Row, account: int, energy_j: float, start_s: float, end_s: float
) -> None:
    """Book joules drawn evenly from ``start_s`` to ``end_s`` to an account of the replica and to
    the time bins.
    """
    replica.account_j[account] += energy_j
    width, last = engine.bin_s[0], engine.power_j.shape[0] - 1
    at = min(last, int(start_s / width))
    end = min(last, int(end_s / width))
    if at == end or end_s <= start_s:
        engine.power_j[at, replica.kind, account] += energy_j
        return
    power_w = energy_j / (end_s - start_s)
    while at < end:
        edge = (at + 1) * width
        engine.power_j[at, replica.kind, account] += power_w * (edge - start_s)
        start_s = edge
        at += 1
    engine.power_j[at, replica.kind, account] += power_w * (end_s - start_s)


@kernel
def _crowd(engine: Engine, now_s: float, change: int) -> None:
    """Integrate the number of requests in flight up to now, then change it."""
    total = engine.total[0]
    width, last = engine.bin_s[0], engine.crowd_s.shape[0] - 1
    start = total.in_flight_at_s
    at = min(last, int(start / width))
    end = min(last, int(now_s / width))
    while at < end:
        edge = (at + 1) * width
        engine.crowd_s[at] += total.in_flight * (edge - start)
        start = edge
        at += 1
    engine.crowd_s[at] += total.in_flight * (now_s - start)
    total.in_flight_at_s = now_s
    total.in_flight += change


@kernel
def charge_idle(engine: Engine, cost: Cost, replica: Row, end_s: float) -> int:
    """Book the idleness up to ``end_s`` as idle, parked and off; gives the account in force at
    the end.
    """
    park = engine.park_after_s[replica.kind]
    off = engine.off_after_s[replica.kind]
    start = replica.idle_from_s
    if end_s < start:
        return IDLE
    replica.still_s += end_s - start
    off_at = start + off
    parked_at = min(start + park, off_at)
    idle_end = min(end_s, parked_at)
    parked_end = min(end_s, off_at)
    _charge(engine, replica, IDLE, cost.power_w_idle * (idle_end - start), start, idle_end)
    if end_s < parked_at:
        return IDLE
    _charge(
        engine, replica, PARKED, cost.power_w_parked * (parked_end - idle_end), idle_end, parked_end
    )
    if end_s < off_at:
        return PARKED
    _charge(engine, replica, OFF, cost.power_w_off * (end_s - parked_end), parked_end, end_s)
    return OFF


@kernel
def _count(engine: Engine, measure: int, tier: int, value: float) -> None:
    """Count a value in its measure's histogram."""
    place = 0
    if value > 0.0:
        place = int((math.log(value) - _LOG_LOW[measure]) * _INVERSE_LOG_RATIO)
    engine.histogram[measure, tier, min(BINS - 1, max(0, place))] += 1


# --- the end of a request -----------------------------------------------------------------------


@kernel
def _decode_energy_j(cost: Cost, slot: Row, tokens: int) -> float:
    """A decoder's own part of ``tokens`` steps: its seat in the batch and the context it has
    read.
    """
    context = series_sum(float(slot.prompt), 1.0, tokens)
    return tokens * cost.energy_j_per_sequence + context * cost.energy_j_per_context_token


@kernel
def _finish(engine: Engine, fleet: FleetState, replica: Row, place: int, now_s: float) -> None:
    """The request in slot ``place`` has its last token: settle, measure, forget."""
    slot = engine.slots[place]
    total = engine.total[0]
    slot.energy_j += replica.seat_j - slot.seat_j
    kind, tier = replica.kind, slot.tier
    promise = engine.tiers[tier]
    ttft_s, e2e_s = slot.first_s - slot.arrival_s, now_s - slot.arrival_s
    missed = ttft_s > promise.ttft_s or e2e_s > min(promise.e2e_s, slot.deadline_s)
    _count(engine, TTFT, tier, ttft_s)
    _count(engine, E2E, tier, e2e_s)
    _count(engine, ENERGY, tier, slot.energy_j)
    if slot.output > 1:
        tpot_s = (now_s - slot.first_s) / (slot.output - 1)
        missed = missed or tpot_s > promise.tpot_s
        _count(engine, TPOT, tier, tpot_s)
    tally = engine.tally[tier, kind]
    tally.completed += 1
    tally.missed += missed
    tally.input_tokens += slot.input
    tally.output_tokens += slot.output
    tally.energy_j += slot.energy_j
    if engine.log.shape[0] > 0:
        row = engine.log[total.logged]
        row.number, row.arrival_s, row.first_s, row.finish_s = (
            slot.number,
            slot.arrival_s,
            slot.first_s,
            now_s,
        )
        row.energy_j, row.input_tokens, row.output_tokens = slot.energy_j, slot.input, slot.output
        row.replica, row.class_code, row.tier = slot.replica, slot.class_code, tier
        row.preemptions, row.missed = slot.preemptions, missed
        total.logged += 1
    leave(fleet, slot.replica, slot.tokens)
    learn(fleet, slot.class_code, float(slot.input), float(slot.output))
    _crowd(engine, now_s, -1)
    total.last_s = max(total.last_s, now_s)
    engine.free[total.free_slots] = place
    total.free_slots += 1


# --- a boundary: close, preempt, admit, plan ----------------------------------------------------


@kernel
def _close(engine: Engine, fleet: FleetState, replica: Row, now_s: float) -> None:
    """The planned steps are done: book them, let the finished leave, and those whose prompt is
    processed decode.
    """
    cost = fleet.cost[replica.kind]
    steps, seats = replica.steps, replica.decoders + replica.prefills
    energy_j = series_sum(replica.energy_j, replica.energy_rise_j, steps)
    read = series_sum(float(replica.read_tokens), float(replica.growth_tokens), steps)
    own_j = (
        steps * seats * cost.energy_j_per_sequence
        + read * cost.energy_j_per_context_token
        + steps * replica.prefill_tokens * cost.energy_j_per_prefill_token
    )
    replica.seat_j += (energy_j - own_j) / seats
    replica.busy_s += now_s - replica.start_s
    replica.batch_s += seats * (now_s - replica.start_s)
    _charge(engine, replica, ACTIVE, energy_j, replica.start_s, now_s)
    replica.iteration += steps
    replica.context += replica.decoders * steps
    replica.kv += replica.decoders * steps
    replica.steps = 0
    while replica.decoders > 0 and engine.heap[replica.heap].key >> _TURN_BITS == replica.iteration:
        place = engine.heap[replica.heap].slot
        slot = engine.slots[place]
        tokens = replica.iteration - slot.joined
        slot.energy_j += _decode_energy_j(cost, slot, tokens)
        replica.context -= slot.prompt + tokens
        replica.kv -= slot.prompt + tokens
        _drop(engine, replica, 0)
        _finish(engine, fleet, replica, place, now_s)
    if replica.prefills > 0:
        _process(engine, fleet, replica, cost, steps, now_s)


@kernel
def _process(
    engine: Engine, fleet: FleetState, replica: Row, cost: Cost, steps: int, now_s: float
) -> None:
    """Hand the prefill tokens of the closed steps to the prefill list; those with all of theirs
    begin to decode.
    """
    left = replica.prefill_tokens * steps
    while left > 0:
        place = replica.prefill_head
        slot = engine.slots[place]
        given = min(left, slot.prompt - slot.processed)
        read = series_sum(float(slot.processed), float(replica.prefill_tokens), steps)
        slot.energy_j += (
            steps * cost.energy_j_per_sequence
            + read * cost.energy_j_per_context_token
            + given * cost.energy_j_per_prefill_token
        )
        slot.processed += given
        left -= given
        if slot.processed < slot.prompt:
            return
        replica.prefill_head = slot.next
        replica.prefills -= 1
        _emit_first(engine, fleet, replica, place, now_s)


@kernel
def _emit_first(engine: Engine, fleet: FleetState, replica: Row, place: int, now_s: float) -> None:
    """A request's prompt is processed: it emits a token and joins the decoders, or leaves if
    that was all.
    """
    slot = engine.slots[place]
    slot.emitted += 1
    if slot.emitted == 1:
        slot.first_s = now_s
    if slot.emitted == slot.output:
        replica.kv -= slot.prompt
        _finish(engine, fleet, replica, place, now_s)
        return
    slot.joined = replica.iteration
    replica.context += slot.prompt
    entry = engine.heap[replica.heap + replica.decoders]
    last = replica.iteration + slot.output - slot.emitted
    entry.key = (last << _TURN_BITS) | (slot.admission & _TURN_MASK)
    entry.slot = place
    _sift_up(engine.heap, replica.heap, replica.decoders)
    replica.decoders += 1


@kernel
def _to_front(engine: Engine, replica: Row, number: int, place: int) -> None:
    """Put a preempted request back at the front of its queue, its prefill progress lost."""
    slot = engine.slots[place]
    slot.energy_j += replica.seat_j - slot.seat_j
    slot.processed = 0
    slot.preemptions += 1
    slot.next = engine.queue_head[number, slot.priority]
    engine.queue_head[number, slot.priority] = place
    if engine.queue_tail[number, slot.priority] == NOBODY:
        engine.queue_tail[number, slot.priority] = place
    replica.waiting += 1
    engine.total[0].preempted += 1


@kernel
def _after(engine: Engine, place: int, other: int) -> bool:
    """Whether slot ``place`` is preempted before ``other``: larger (priority, admission)."""
    if other == NOBODY:
        return True
    one, two = engine.slots[place], engine.slots[other]
    if one.priority != two.priority:
        return one.priority > two.priority
    return one.admission > two.admission


@kernel
def _preempt_one(engine: Engine, cost: Cost, replica: Row, number: int) -> None:
    """Take the request with the largest (priority, admission number) out of the batch or the
    prefill list.
    """
    victim, heap_place = NOBODY, -1
    for place in range(replica.decoders):
        slot = engine.heap[replica.heap + place].slot
        if _after(engine, slot, victim):
            victim, heap_place = slot, place
    before, before_victim, in_list = NOBODY, NOBODY, False
    slot = replica.prefill_head
    for _ in range(replica.prefills):
        if _after(engine, slot, victim):
            victim, before_victim, in_list = slot, before, True
        before = slot
        slot = engine.slots[slot].next
    chosen = engine.slots[victim]
    if in_list:
        replica.kv -= chosen.prompt
        if before_victim == NOBODY:
            replica.prefill_head = chosen.next
        else:
            engine.slots[before_victim].next = chosen.next
        if replica.prefill_tail == victim:
            replica.prefill_tail = before_victim
        replica.prefills -= 1
    else:
        tokens = replica.iteration - chosen.joined
        chosen.energy_j += _decode_energy_j(cost, chosen, tokens)
        replica.context -= chosen.prompt + tokens
        replica.kv -= chosen.prompt + tokens
        chosen.emitted += tokens
        chosen.prompt = chosen.input + chosen.emitted
        _drop(engine, replica, heap_place)
    _to_front(engine, replica, number, victim)


@kernel
def _head(engine: Engine, number: int) -> int:
    """The priority of the first request in the queue, or MAX_PRIORITIES when nobody waits."""
    for priority in range(MAX_PRIORITIES):
        if engine.queue_head[number, priority] != NOBODY:
            return priority
    return MAX_PRIORITIES


@kernel
def _has_room(fleet: FleetState, replica: Row, prompt: int, kv: int) -> bool:
    """Whether a prompt may be admitted beside ``kv`` held tokens."""
    if kv == 0:
        return True
    capacity = fleet.limits[replica.kind].kv_tokens
    watermark = (capacity + _WATERMARK_PARTS - 1) // _WATERMARK_PARTS
    return kv + prompt + replica.decoders <= capacity - watermark


@kernel
def _admit(engine: Engine, fleet: FleetState, replica: Row, number: int) -> None:
    """Move waiting requests to the prefill list while tokens, seats and KV cache last."""
    budget = engine.step_tokens[replica.kind] - replica.decoders
    place = replica.prefill_head
    for _ in range(replica.prefills):
        slot = engine.slots[place]
        budget -= slot.prompt - slot.processed
        place = slot.next
    most = fleet.limits[replica.kind].max_batch
    while replica.waiting > 0 and budget > 0 and replica.decoders + replica.prefills < most:
        priority = _head(engine, number)
        place = engine.queue_head[number, priority]
        slot = engine.slots[place]
        if not _has_room(fleet, replica, slot.prompt, replica.kv):
            return
        engine.queue_head[number, priority] = slot.next
        if slot.next == NOBODY:
            engine.queue_tail[number, priority] = NOBODY
        replica.waiting -= 1
        slot.seat_j = replica.seat_j
        slot.admission = replica.admissions
        replica.admissions += 1
        replica.kv += slot.prompt
        slot.next = NOBODY
        if replica.prefills == 0:
            replica.prefill_head = place
        else:
            engine.slots[replica.prefill_tail].next = place
        replica.prefill_tail = place
        replica.prefills += 1
        budget -= slot.prompt


@kernel
def _compose(engine: Engine, fleet: FleetState, replica: Row) -> int:
    """Set what the next steps process and read; gives how many steps can be alike, before the
    power cap is looked at.
    """
    decoders = replica.decoders
    chunk = engine.step_tokens[replica.kind] - decoders
    replica.read_tokens = replica.context
    replica.prefill_tokens = 0
    most = 1 << 40
    if replica.prefills > 0:
        slot = engine.slots[replica.prefill_head]
        replica.read_tokens += slot.processed
        left = slot.prompt - slot.processed
        if left <= chunk:
            for _ in range(replica.prefills - 1):
                slot = engine.slots[slot.next]
                left += slot.prompt
            replica.prefill_tokens = min(chunk, left)
            return 1
        replica.prefill_tokens = chunk
        most = (left - 1) // chunk
    replica.growth_tokens = decoders + replica.prefill_tokens
    if decoders > 0:
        most = min(most, (engine.heap[replica.heap].key >> _TURN_BITS) - replica.iteration)
        most = min(most, (fleet.limits[replica.kind].kv_tokens - replica.kv) // decoders)
    return most


@kernel
def _plan(
    engine: Engine, fleet: FleetState, replica: Row, number: int, now_s: float, preempted: bool
) -> None:
    """Plan the next segment, or go idle. After a preemption it is one step, as admission pauses
    for one boundary only.
    """
    if replica.decoders + replica.prefills == 0:
        replica.idle = 1
        replica.idle_from_s = now_s
        schedule(engine, number, math.inf)
        return
    most = _compose(engine, fleet, replica)
    if preempted:
        most = 1
    cost = fleet.cost[replica.kind]
    seats = float(replica.decoders + replica.prefills)
    time_s, energy_j = free_step(
        cost, seats, float(replica.read_tokens), float(replica.prefill_tokens)
    )
    time_rise_s = replica.growth_tokens * cost.time_s_per_context_token
    energy_rise_j = replica.growth_tokens * cost.energy_j_per_context_token
    cap, static = cost.power_w_cap, cost.power_w_active_static
    over_j = energy_j - cap * time_s
    over_rise_j = energy_rise_j - cap * time_rise_s
    if over_j > 0.0:
        if over_rise_j < 0.0:  # the cap lets go within the segment: end it there
            most = min(most, math.ceil(over_j / -over_rise_j))
        time_s = (energy_j - static * time_s) / (cap - static)
        time_rise_s = (energy_rise_j - static * time_rise_s) / (cap - static)
        energy_j, energy_rise_j = cap * time_s, cap * time_rise_s
    elif over_rise_j > 0.0:  # the cap takes hold within the segment: end it there
        most = int(min(float(most), math.floor(-over_j / over_rise_j) + 1.0))
    replica.steps = most
    replica.start_s = now_s
    replica.time_s, replica.time_rise_s = time_s, time_rise_s
    replica.energy_j, replica.energy_rise_j = energy_j, energy_rise_j
    schedule(engine, number, now_s + series_sum(time_s, time_rise_s, most))


@kernel
def boundary(engine: Engine, fleet: FleetState, number: int, now_s: float) -> None:
    """A step of replica ``number`` has ended, or its first request has come: go through the
    rules of a boundary.
    """
    replica = engine.replicas[number]
    engine.total[0].events += 1
    if replica.steps > 0:
        _close(engine, fleet, replica, now_s)
    preempted = False
    while replica.kv + replica.decoders > fleet.limits[replica.kind].kv_tokens:
        _preempt_one(engine, fleet.cost[replica.kind], replica, number)
        preempted = True
    if replica.waiting > 0 and not preempted:
        _admit(engine, fleet, replica, number)
    _plan(engine, fleet, replica, number, now_s, preempted)


# --- arrivals -----------------------------------------------------------------------------------


@kernel
def _wake(engine: Engine, fleet: FleetState, replica: Row, number: int, now_s: float) -> None:
    """The first request has come to an idle replica: start at once, or after it has woken."""
    cost = fleet.cost[replica.kind]
    account = charge_idle(engine, cost, replica, now_s)
    replica.idle = 0
    if account == IDLE:
        boundary(engine, fleet, number, now_s)
        return
    wake_s = cost.wake_s_from_parked if account == PARKED else cost.wake_s_from_off
    wake_j = cost.wake_j_from_parked if account == PARKED else cost.wake_j_from_off
    replica.still_s += wake_s
    _charge(engine, replica, WAKING, wake_j, now_s, now_s + wake_s)
    schedule(engine, number, now_s + wake_s)


@kernel
def _cut(
    engine: Engine, fleet: FleetState, replica: Row, number: int, place: int, now_s: float
) -> None:
    """End a running segment with its present step, if the request just queued would be admitted
    then.
    """
    slot = engine.slots[place]
    if _head(engine, number) != slot.priority or engine.queue_head[number, slot.priority] != place:
        return
    if replica.decoders >= fleet.limits[replica.kind].max_batch:
        return
    steps = steps_until(replica.time_s, replica.time_rise_s, replica.steps, now_s - replica.start_s)
    if not _has_room(fleet, replica, slot.prompt, replica.kv + replica.decoders * steps):
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


@kernel
def settle(engine: Engine, fleet: FleetState, end_s: float) -> None:
    """Book the idleness of all idle replicas up to the end of the trace. Once, after the last
    event.
    """
    for number in range(engine.replicas.shape[0]):
        replica = engine.replicas[number]
        if replica.idle:
            charge_idle(engine, fleet.cost[replica.kind], replica, end_s)


@kernel
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
    _crowd(engine, now_s, 0)


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
    _crowd(engine, now_s, 1)
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


def _drive(
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


drive = kernel(_drive)
