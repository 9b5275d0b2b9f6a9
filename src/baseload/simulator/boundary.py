"""A step boundary in the jump engine: close what has run, preempt, admit, plan what runs next.

Rules: docs/explanation/engine.md, "What happens at a step boundary".
"""

from __future__ import annotations

import math

from baseload.base.kernels import kernel, outline_kernel
from baseload.fleet.step import Cost, free_step
from baseload.routing.fleet_state import FleetState, first_token
from baseload.simulator.accounts import charge, decode_energy_j, finish
from baseload.simulator.closed_forms import series_sum
from baseload.simulator.events import drop, heap_key, last_iteration, push, schedule
from baseload.simulator.records import ACTIVE, MAX_PRIORITIES, NOBODY, Engine, Row

_WATERMARK_PARTS = 100  # an admission leaves one part in a hundred of the KV cache free


@kernel
def _close(engine: Engine, fleet: FleetState, replica: Row, now_s: float) -> None:
    """The planned steps are done: book them, let the finished leave, and those whose prompt is
    processed decode.
    """
    cost = engine.cost[replica.cost]
    steps, seats = replica.steps, replica.decoders + replica.prefills
    energy_j = series_sum(replica.energy_j, replica.energy_rise_j, steps)
    read = series_sum(float(replica.read_tokens), float(replica.growth_tokens), steps)
    own_j = (
        steps * seats * cost.energy_j_per_sequence
        + read * cost.energy_j_per_context_token
        + steps * replica.prefill_tokens * cost.energy_j_per_prefill_token
    )
    replica.seat_j += (energy_j - own_j) / seats
    replica.stream_j += steps * cost.energy_j_per_step
    replica.busy_s += now_s - replica.start_s
    replica.batch_s += seats * (now_s - replica.start_s)
    charge(engine, replica, ACTIVE, energy_j, replica.start_s, now_s)
    replica.iteration += steps
    replica.context += replica.decoders * steps
    replica.kv += replica.decoders * steps
    replica.steps = 0
    while replica.decoders > 0 and last_iteration(engine, replica) == replica.iteration:
        place = engine.heap[replica.heap].slot
        slot = engine.slots[place]
        tokens = replica.iteration - slot.joined
        slot.energy_j += decode_energy_j(cost, slot, tokens)
        replica.context -= slot.prompt + tokens
        replica.kv -= slot.prompt + tokens
        drop(engine, replica, 0)
        finish(engine, fleet, replica, place, now_s)
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
        first_token(fleet, slot.replica, slot.pending)
    if slot.emitted == slot.output:
        replica.kv -= slot.prompt
        finish(engine, fleet, replica, place, now_s)
        return
    slot.joined = replica.iteration
    slot.paid = 0
    replica.context += slot.prompt
    last = replica.iteration + slot.output - slot.emitted
    push(engine, replica, heap_key(last, slot.admission), place)


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


@outline_kernel
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
        chosen.energy_j += decode_energy_j(cost, chosen, tokens)
        replica.context -= chosen.prompt + tokens
        replica.kv -= chosen.prompt + tokens
        chosen.emitted += tokens
        chosen.prompt = chosen.input + chosen.emitted
        drop(engine, replica, heap_place)
    _to_front(engine, replica, number, victim)


@kernel
def first_priority(engine: Engine, number: int) -> int:
    """The priority of the first request in the queue, or MAX_PRIORITIES when nobody waits."""
    for priority in range(MAX_PRIORITIES):
        if engine.queue_head[number, priority] != NOBODY:
            return priority
    return MAX_PRIORITIES


@kernel
def has_room(fleet: FleetState, replica: Row, prompt: int, kv: int) -> bool:
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
        priority = first_priority(engine, number)
        place = engine.queue_head[number, priority]
        slot = engine.slots[place]
        if not has_room(fleet, replica, slot.prompt, replica.kv):
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
        most = min(most, last_iteration(engine, replica) - replica.iteration)
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
    cost = engine.cost[replica.cost]
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


@outline_kernel
def _change_cost(engine: Engine, replica: Row, wanted: int) -> None:
    """Steps cost by row ``wanted`` from now on: decoders pay for what they have had by the old."""
    cost = engine.cost[replica.cost]
    for place in range(replica.decoders):
        slot = engine.slots[engine.heap[replica.heap + place].slot]
        tokens = replica.iteration - slot.joined
        slot.energy_j += decode_energy_j(cost, slot, tokens)
        slot.paid = tokens
    replica.cost = wanted


@kernel
def boundary(engine: Engine, fleet: FleetState, number: int, now_s: float) -> None:
    """A step of replica ``number`` has ended, or its first request has come: go through the
    rules of a boundary.
    """
    replica = engine.replicas[number]
    engine.total[0].events += 1
    if replica.steps > 0:
        _close(engine, fleet, replica, now_s)
    if replica.cost != engine.cost_wanted[replica.kind]:
        _change_cost(engine, replica, engine.cost_wanted[replica.kind])
    preempted = False
    while replica.kv + replica.decoders > fleet.limits[replica.kind].kv_tokens:
        _preempt_one(engine, engine.cost[replica.cost], replica, number)
        preempted = True
    if replica.waiting > 0 and not preempted:
        _admit(engine, fleet, replica, number)
    _plan(engine, fleet, replica, number, now_s, preempted)
