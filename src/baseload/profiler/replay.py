"""The step engine once more, compiled, for fitting: thousands of replays of one measured run.

It follows docs/explanation/engine.md for equal replicas (*ranks*) behind one front end that sends
each request to the rank with the fewest requests in it, lowest index first, with one priority and
no power states. A test holds it equal to ``simulator.steps``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel
from baseload.fleet.step import Cost, step

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_BATCH, MAX_STEP_TOKENS, KV_TOKENS = 0, 1, 2
"""Columns of the ``limits`` that ``replay`` takes."""

# Columns of the state of a rank.
QUEUE_HEAD, QUEUE_TAIL, DECODERS, PREFILLS = 0, 1, 2, 3
ADMISSIONS, KV, DECODER_KV, LOAD = 4, 5, 6, 7
STATE_COLUMNS = 8
# Columns of the state of a request.
INPUT, OUTPUT, EMITTED, PROCESSED, ADMISSION, CHUNK, PREEMPTIONS = 0, 1, 2, 3, 4, 5, 6
REQUEST_COLUMNS = 7


@kernel
def _preempt_one(state: Ints, queue: Ints, decoders: Ints, prefills: Ints, requests: Ints) -> None:
    """Drop the request admitted last, decoding or prefilling, to the front of the queue."""
    worst, place, decodes = -1, -1, False
    for i in range(state[DECODERS]):
        if requests[decoders[i], ADMISSION] > worst:
            worst, place, decodes = requests[decoders[i], ADMISSION], i, True
    for i in range(state[PREFILLS]):
        if requests[prefills[i], ADMISSION] > worst:
            worst, place, decodes = requests[prefills[i], ADMISSION], i, False
    if decodes:
        row = decoders[place]
        held = requests[row, INPUT] + requests[row, EMITTED] - 1
        state[DECODERS] -= 1
        state[DECODER_KV] -= held
        for i in range(place, state[DECODERS]):
            decoders[i] = decoders[i + 1]
    else:
        row = prefills[place]
        held = requests[row, INPUT] + requests[row, EMITTED]
        state[PREFILLS] -= 1
        for i in range(place, state[PREFILLS]):
            prefills[i] = prefills[i + 1]
    state[KV] -= held
    requests[row, PROCESSED] = 0
    requests[row, PREEMPTIONS] += 1
    state[QUEUE_HEAD] -= 1  # it was popped before, so the place in front of the head is free
    queue[state[QUEUE_HEAD]] = row


@kernel
def _admit(state: Ints, queue: Ints, prefills: Ints, requests: Ints, limits: Ints) -> None:
    """Rule 2 of a step boundary."""
    budget = limits[MAX_STEP_TOKENS] - state[DECODERS]
    for i in range(state[PREFILLS]):
        row = prefills[i]
        budget -= requests[row, INPUT] + requests[row, EMITTED] - requests[row, PROCESSED]
    room = limits[KV_TOKENS] - (limits[KV_TOKENS] + 99) // 100
    while state[QUEUE_HEAD] < state[QUEUE_TAIL] and budget > 0:
        if state[DECODERS] + state[PREFILLS] >= limits[MAX_BATCH]:
            return
        row = queue[state[QUEUE_HEAD]]
        prompt = requests[row, INPUT] + requests[row, EMITTED]
        if state[KV] > 0 and state[KV] + prompt + state[DECODERS] > room:
            return
        state[QUEUE_HEAD] += 1
        state[ADMISSIONS] += 1
        requests[row, ADMISSION] = state[ADMISSIONS]
        prefills[state[PREFILLS]] = row
        state[PREFILLS] += 1
        state[KV] += prompt
        budget -= prompt


@kernel
def _begin_step(
    state: Ints,
    queue: Ints,
    decoders: Ints,
    prefills: Ints,
    requests: Ints,
    limits: Ints,
    cost: Cost,
) -> float:
    """Preempt, admit, compose, run. Seconds of the step, or -1 when the rank is idle."""
    preempted = False
    while state[KV] + state[DECODERS] > limits[KV_TOKENS]:
        _preempt_one(state, queue, decoders, prefills, requests)
        preempted = True
    if not preempted:
        _admit(state, queue, prefills, requests, limits)
    batch = state[DECODERS] + state[PREFILLS]
    if batch == 0:
        return -1.0
    budget = limits[MAX_STEP_TOKENS] - state[DECODERS]
    context, prefill = state[DECODER_KV], 0
    for i in range(state[PREFILLS]):
        row = prefills[i]
        chunk = min(
            budget, requests[row, INPUT] + requests[row, EMITTED] - requests[row, PROCESSED]
        )
        requests[row, CHUNK] = chunk
        if chunk > 0:
            context += requests[row, PROCESSED]
        prefill += chunk
        budget -= chunk
    return float(step(cost, float(batch), float(context), float(prefill))[0])


@kernel
def _end_step(
    state: Ints,
    decoders: Ints,
    prefills: Ints,
    requests: Ints,
    now_s: float,
    first_s: Floats,
    last_s: Floats,
) -> None:
    """Hand out the tokens of the step that ends at ``now_s``."""
    kept = 0
    for i in range(state[DECODERS]):
        row = decoders[i]
        requests[row, EMITTED] += 1
        if requests[row, EMITTED] == requests[row, OUTPUT]:
            last_s[row] = now_s
            held = requests[row, INPUT] + requests[row, EMITTED] - 2
            state[KV] -= held
            state[DECODER_KV] -= held
            state[LOAD] -= 1
        else:
            state[KV] += 1
            state[DECODER_KV] += 1
            decoders[kept] = row
            kept += 1
    state[DECODERS] = kept
    kept = 0
    for i in range(state[PREFILLS]):
        row = prefills[i]
        requests[row, PROCESSED] += requests[row, CHUNK]
        prompt = requests[row, INPUT] + requests[row, EMITTED]
        if requests[row, PROCESSED] < prompt:
            prefills[kept] = row
            kept += 1
            continue
        if requests[row, EMITTED] == 0:
            first_s[row] = now_s
        requests[row, EMITTED] += 1
        if requests[row, EMITTED] == requests[row, OUTPUT]:
            last_s[row] = now_s
            state[KV] -= prompt
            state[LOAD] -= 1
        else:
            decoders[state[DECODERS]] = row
            state[DECODERS] += 1
            state[DECODER_KV] += prompt
    state[PREFILLS] = kept


@kernel
def _run(
    cost: Cost,
    limits: Ints,
    arrival_s: Floats,
    requests: Ints,
    state: Ints,
    queue: Ints,
    decoders: Ints,
    prefills: Ints,
    boundary_s: Floats,
    first_s: Floats,
    last_s: Floats,
) -> None:
    """The event loop: before each arrival, every rank's boundaries up to it; then all others."""
    count, ranks = len(arrival_s), len(boundary_s)
    for i in range(count + 1):
        now_s = arrival_s[i] if i < count else np.inf
        for r in range(ranks):
            while boundary_s[r] <= now_s and boundary_s[r] < np.inf:
                _end_step(
                    state[r], decoders[r], prefills[r], requests, boundary_s[r], first_s, last_s
                )
                time_s = _begin_step(
                    state[r], queue[r], decoders[r], prefills[r], requests, limits, cost
                )
                boundary_s[r] = boundary_s[r] + time_s if time_s >= 0.0 else np.inf
        if i == count:
            break
        rank = 0
        for r in range(1, ranks):
            if state[r, LOAD] < state[rank, LOAD]:
                rank = r
        queue[rank, state[rank, QUEUE_TAIL]] = i
        state[rank, QUEUE_TAIL] += 1
        state[rank, LOAD] += 1
        if boundary_s[rank] == np.inf:
            boundary_s[rank] = now_s + _begin_step(
                state[rank], queue[rank], decoders[rank], prefills[rank], requests, limits, cost
            )


def replay(
    cost: Cost,
    limits: Ints,
    ranks: int,
    arrival_s: Floats,
    input_tokens: Ints,
    output_tokens: Ints,
) -> tuple[Floats, Floats, Ints]:
    """First- and last-token times [s] and preemptions of each request, each ``[n]``.

    ``cost`` is one record of ``fleet.step.cost_table``; ``limits`` are ``[max_batch,
    max_step_tokens, kv_tokens]`` of each rank. ``arrival_s`` [s] must not decrease, and
    ``input + output - 1 <= kv_tokens`` for each request.
    """
    count = len(arrival_s)
    first_s, last_s = np.full(count, np.nan), np.full(count, np.nan)
    requests = np.zeros((count, REQUEST_COLUMNS), dtype=np.int64)
    requests[:, INPUT], requests[:, OUTPUT] = input_tokens, output_tokens
    most = min(count, int(limits[MAX_BATCH]))
    _run(
        cost,
        limits,
        arrival_s,
        requests,
        np.zeros((ranks, STATE_COLUMNS), dtype=np.int64),
        np.zeros((ranks, count), dtype=np.int64),
        np.zeros((ranks, most + 1), dtype=np.int64),
        np.zeros((ranks, most + 1), dtype=np.int64),
        np.full(ranks, np.inf),
        first_s,
        last_s,
    )
    return first_s, last_s, requests[:, PREEMPTIONS].copy()
