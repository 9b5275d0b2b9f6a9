"""Who used which joule, how long it took, and the end of a request: the books of the jump
engine.
"""

from __future__ import annotations

import math

from baseload.base.kernels import kernel, outline_kernel
from baseload.fleet.step import Cost
from baseload.routing.fleet_state import FleetState, learn, learn_cut, leave
from baseload.simulator.closed_forms import series_sum
from baseload.simulator.records import (
    BIN_RATIO,
    BINS,
    E2E,
    ENERGY,
    HISTOGRAM_LOW,
    IDLE,
    OFF,
    PARKED,
    TPOT,
    TTFT,
    Engine,
    Row,
)

_INVERSE_LOG_RATIO = 1.0 / math.log(BIN_RATIO)
_LOG_LOW = tuple(math.log(low) for low in HISTOGRAM_LOW)


@kernel
def charge(
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
        engine.state_s[at, account] += end_s - start_s
        return
    power_w = energy_j / (end_s - start_s)
    while at < end:
        edge = (at + 1) * width
        engine.power_j[at, replica.kind, account] += power_w * (edge - start_s)
        engine.state_s[at, account] += edge - start_s
        start_s = edge
        at += 1
    engine.power_j[at, replica.kind, account] += power_w * (end_s - start_s)
    engine.state_s[at, account] += end_s - start_s


@kernel
def crowd(engine: Engine, now_s: float, change: int) -> None:
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


@outline_kernel
def charge_idle(engine: Engine, cost: Cost, replica: Row, end_s: float) -> int:
    """Book the idleness up to ``end_s``, or the end of the trace, as idle, parked and off; gives
    the account in force at ``end_s``.
    """
    park, off = replica.park_after_s, replica.off_after_s
    start = replica.idle_from_s
    if end_s < start:
        return IDLE
    off_at = start + off
    parked_at = min(start + park, off_at)
    account = IDLE if end_s < parked_at else PARKED if end_s < off_at else OFF
    booked = max(start, min(end_s, engine.total[0].horizon_s))
    replica.still_s += booked - start
    replica.after_s += end_s - booked
    idle_end = min(booked, parked_at)
    parked_end = min(booked, off_at)
    charge(engine, replica, IDLE, cost.power_w_idle * (idle_end - start), start, idle_end)
    if booked > parked_at:
        parked_j = cost.power_w_parked * (parked_end - idle_end)
        charge(engine, replica, PARKED, parked_j, idle_end, parked_end)
    if booked > off_at:
        charge(engine, replica, OFF, cost.power_w_off * (booked - parked_end), parked_end, booked)
    return account


@kernel
def _count(engine: Engine, measure: int, tier: int, value: float) -> None:
    """Count a value in its measure's histogram."""
    place = 0
    if value > 0.0:
        place = int((math.log(value) - _LOG_LOW[measure]) * _INVERSE_LOG_RATIO)
    engine.histogram[measure, tier, min(BINS - 1, max(0, place))] += 1


@kernel
def decode_energy_j(cost: Cost, slot: Row, tokens: int) -> float:
    """A decoder's own part of its first ``tokens`` steps, less those that are paid: its seat in
    the batch and the context it has read.
    """
    steps = tokens - slot.paid
    context = series_sum(float(slot.prompt + slot.paid), 1.0, steps)
    return steps * cost.energy_j_per_sequence + context * cost.energy_j_per_context_token


@kernel
def finish(engine: Engine, fleet: FleetState, replica: Row, place: int, now_s: float) -> None:
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
    last = engine.ended.shape[0] - 1
    at = min(last, int(now_s / engine.bin_s[0]))
    engine.ended[at] += 1
    engine.missed[at] += missed
    tally = engine.tally[tier, kind]
    tally.completed += 1
    tally.missed += missed
    tally.input_tokens += slot.input
    tally.output_tokens += slot.output
    tally.energy_j += slot.energy_j
    tally.energy_j2 += slot.energy_j * slot.energy_j
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
    option = engine.options[slot.class_code if engine.options.shape[0] > 1 else 0, slot.option]
    right = 0.0 if slot.capped else 1.0 - option.wrong_frac
    tally.right += right
    tally.wrong_usd += (1.0 - right) * option.right_usd
    tally.capped += slot.capped
    engine.chosen[slot.class_code, slot.option] += 1
    engine.chosen_j[slot.class_code, slot.option] += slot.energy_j
    leave(fleet, slot.replica, slot.tokens)
    learned = slot.output / option.output_factor
    if slot.capped:
        learn_cut(fleet, slot.class_code, float(slot.input), learned)
    else:
        learn(fleet, slot.class_code, float(slot.input), learned)
    crowd(engine, now_s, -1)
    total.last_s = max(total.last_s, now_s)
    engine.free[total.free_slots] = place
    total.free_slots += 1
