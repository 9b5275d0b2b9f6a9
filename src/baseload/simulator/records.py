"""What the jump engine keeps, as flat arrays of records: replicas, requests in flight, tallies, and
logs.

Kernels read and write these records by field name; nothing here is seen by routing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Row: TypeAlias = Any
"""One row of a record array: a numpy record, a numba record inside kernels."""

MAX_PRIORITIES = 4
_LAST_INSTANT = 1.0 + 1e-9  # time bins reach just past the last arrival
SERIES_BINS = 240
"""Time bins of a run's series."""
NOBODY = -1

# Accounts of energy, in the order of results.POWER_STATES.
ACTIVE, IDLE, PARKED, OFF, WAKING = range(5)
ACCOUNTS = 5

# Measures with a histogram for each tier.
TTFT, TPOT, E2E, ENERGY = range(4)
MEASURES = 4
BINS = 2400
HISTOGRAM_LOW = (1e-4, 1e-5, 1e-4, 1e-2)
"""Lower edge of the first bin of each measure [s, s, s, J]."""
BIN_RATIO = 1.009
"""Upper over lower edge of a bin, so a percentile is good to half a per cent."""

# Why a request was refused.
QUEUE_FULL, TOO_LONG, NO_MODEL = range(3)
REFUSALS = ("queue_full", "prompt_too_long", "model_not_served")

REPLICA = np.dtype(
    [
        # the segment that runs: ``steps`` steps from ``start_s``, each longer than the last by
        # ``time_rise_s``
        ("start_s", np.float64),
        ("time_s", np.float64),
        ("time_rise_s", np.float64),
        ("energy_j", np.float64),
        ("energy_rise_j", np.float64),
        ("steps", np.int64),
        ("read_tokens", np.int64),  # context that the first step reads
        ("growth_tokens", np.int64),  # by how much it grows a step
        ("prefill_tokens", np.int64),  # prefill tokens in each step
        # what the replica holds
        ("iteration", np.int64),  # steps done
        ("context", np.int64),  # tokens held by decoders
        ("kv", np.int64),  # tokens held by all
        ("admissions", np.int64),
        ("heap", np.int64),  # offset of its heap of decoders
        ("decoders", np.int64),
        ("prefills", np.int64),
        ("waiting", np.int64),
        ("prefill_head", np.int64),
        ("prefill_tail", np.int64),
        ("kind", np.int64),
        ("cost", np.int64),  # row of Engine.cost in force
        ("idle", np.int64),
        ("idle_from_s", np.float64),
        ("park_after_s", np.float64),  # after idle_from_s
        ("off_after_s", np.float64),
        # accounts
        (
            "seat_j",
            np.float64,
        ),  # joules of one seat since the start: what each request of each step has shared
        ("stream_j", np.float64),  # constants of its steps: what a larger batch would have shared
        ("busy_s", np.float64),
        ("still_s", np.float64),  # idle, parked, off or waking, within the trace
        ("after_s", np.float64),  # the same after its end: not counted
        ("batch_s", np.float64),  # integral of running requests over time
        ("account_j", np.float64, (ACCOUNTS,)),
    ],
    align=True,
)
"""One replica: the planned segment in closed form, what it holds, its energy accounts."""

SLOT = np.dtype(
    [
        ("arrival_s", np.float64),
        ("deadline_s", np.float64),  # end to end, from arrival; inf: none of its own
        ("first_s", np.float64),  # instant of the first token; nan before
        ("energy_j", np.float64),
        ("seat_j", np.float64),  # the replica's seat_j when this was admitted
        ("joined", np.int64),  # iteration at which it began to decode
        ("paid", np.int64),  # tokens since then that its own energy is booked for
        ("number", np.int64),  # which request of the run
        ("admission", np.int64),
        ("option", np.int64),  # which the request was given
        ("tokens", np.int64),  # as given to routing
        ("pending", np.int64),  # as given to routing
        ("input", np.int64),
        ("output", np.int64),
        ("emitted", np.int64),
        ("prompt", np.int64),
        ("processed", np.int64),
        ("next", np.int64),
        ("replica", np.int64),
        ("laxity_s", np.float64),  # when it had to begin, were it alone; orders a laxity queue
        ("class_code", np.int32),
        ("tier", np.int32),
        ("priority", np.int32),
        ("preemptions", np.int32),
        ("capped", np.int32),  # whether its answer is cut by a cap
    ],
    align=True,
)
"""One request in flight."""

DECODER = np.dtype([("key", np.int64), ("slot", np.int64)])
"""One decoder in its replica's heap: when it ends (``jump`` packs iteration and turn), and its
slot.
"""

TIER = np.dtype(
    [
        ("ttft_s", np.float64),
        ("tpot_s", np.float64),
        ("e2e_s", np.float64),
        ("priority", np.int64),
        ("bulk", np.int64),
    ]
)
"""A tier's promises, ``inf`` where there is none."""

TALLY = np.dtype(
    [
        ("completed", np.int64),
        ("missed", np.int64),
        ("refused", np.int64),
        ("input_tokens", np.int64),
        ("output_tokens", np.int64),
        ("energy_j", np.float64),
        ("energy_j2", np.float64),  # of their squares
        ("right", np.float64),  # expected right answers
        ("wrong_usd", np.float64),  # what right ones in place of wrong and refused ones were worth
        ("capped", np.int64),  # answers cut by a cap
    ]
)
"""Sums over ended requests, one row for each (tier, replica type)."""

TOTAL = np.dtype(
    [
        ("in_flight", np.int64),
        ("in_flight_at_s", np.float64),
        ("free_slots", np.int64),
        ("logged", np.int64),
        ("preempted", np.int64),
        ("cut_short", np.int64),
        ("events", np.int64),
        ("wakes", np.int64),
        ("held", np.int64),
        ("to_release", np.int64),  # held requests that a controller wants to go now
        ("laxity_queue", np.int64),  # whether queues are ordered by laxity
        ("horizon_s", np.float64),  # end of the trace, once it is known: rest is booked up to it
        ("last_s", np.float64),
        ("refused", np.int64, (len(REFUSALS),)),
    ],
    align=True,
)
"""Counts of the whole run, one row."""

LOG = np.dtype(
    [
        ("number", np.int64),
        ("arrival_s", np.float64),
        ("first_s", np.float64),
        ("finish_s", np.float64),
        ("energy_j", np.float64),
        ("input_tokens", np.int32),
        ("output_tokens", np.int32),
        ("replica", np.int32),
        ("class_code", np.int16),
        ("tier", np.int16),
        ("preemptions", np.int16),
        ("missed", np.int8),
    ],
    align=True,
)
"""One ended request, for per-request output."""


HELD = np.dtype(
    [
        ("due_s", np.float64),
        ("arrival_s", np.float64),
        ("deadline_s", np.float64),
        ("forecast_tokens", np.float64),
        ("forecast_spread", np.float64),
        ("number", np.int64),
        ("input_tokens", np.int64),
        ("output_tokens", np.int64),
        ("class_code", np.int64),
        ("model", np.int64),
    ],
    align=True,
)
"""A request that waits outside the fleet: it goes at ``due_s`` at the latest."""


class Engine(NamedTuple):
    """Everything that the jump engine changes as it runs, beside the routing state."""

    replicas: np.recarray[Any, Any]  # [n] of REPLICA
    slots: np.recarray[Any, Any]  # [room] of SLOT
    free: NDArray[np.int64]  # stack of free slots
    heap: np.recarray[
        Any, Any
    ]  # of DECODER: each replica's heap, by the iteration of the last token
    queue_head: NDArray[np.int64]  # [n, MAX_PRIORITIES]
    queue_tail: NDArray[np.int64]
    event_s: NDArray[np.float64]  # [leaves] when each replica's segment ends; inf when it idles
    tree: NDArray[np.int64]  # tournament over event_s
    step_tokens: NDArray[np.int64]  # [types] max_step_tokens
    cost: np.recarray[Any, Any]  # of fleet.step.COST, one row a type and clock level
    cost_wanted: NDArray[np.int64]  # [types] row of cost that replicas take up with their next step
    tiers: np.recarray[Any, Any]  # [tiers] of TIER
    tier_of_class: NDArray[np.int16]
    histogram: NDArray[np.int64]  # [MEASURES, tiers, BINS]
    tally: np.recarray[Any, Any]  # [tiers, types] of TALLY
    total: np.recarray[Any, Any]  # [1] of TOTAL
    bin_s: NDArray[np.float64]  # [1] width of a time bin
    power_j: NDArray[np.float64]  # [bins, types, ACCOUNTS]
    crowd_s: NDArray[np.float64]  # [bins] integral of requests in flight
    arrivals: NDArray[np.int64]  # [bins]
    missed: NDArray[np.int64]  # [bins] of the ended
    ended: NDArray[np.int64]  # [bins]
    state_s: NDArray[np.float64]  # [bins, ACCOUNTS] replica-seconds in each power state
    options: np.recarray[Any, Any]  # [classes or 1, options] of price.OPTION: what they truly do
    chosen: NDArray[np.int64]  # [classes, options] completed requests
    chosen_j: NDArray[np.float64]  # [classes, options] their energy
    arrived: NDArray[np.int64]  # [tiers]
    arrived_tokens: NDArray[np.int64]  # [tiers] their prompts
    held: np.recarray[Any, Any]  # of HELD, by due_s: requests that wait outside the fleet
    log: np.recarray[Any, Any]  # [room or 0] of LOG


def records(dtype: np.dtype[Any], *shape: int) -> np.recarray[Any, Any]:
    """A record array of zeros."""
    return np.zeros(shape, dtype=dtype).view(np.recarray)


def engine(
    *,
    type_of: NDArray[np.int64],
    max_batch: Sequence[int],
    max_step_tokens: Sequence[int],
    park_after_s: Sequence[float],
    off_after_s: Sequence[float],
    cost: np.recarray[Any, Any],
    tiers: np.recarray[Any, Any],
    tier_of_class: NDArray[np.int16],
    options: np.recarray[Any, Any],
    span_s: float,
    bin_s: float | None = None,
    log_rows: int = 0,
    slots: int = 4096,
    held: int = 1024,
) -> Engine:
    """An idle engine. ``span_s``: expected length of the trace, split in bins of ``bin_s``, or in
    ``SERIES_BINS`` equal ones, with one more for what comes after.
    """
    count, kinds = len(type_of), len(max_batch)
    if bin_s is None:
        bins, bin_s = SERIES_BINS, max(span_s, 1e-6) / SERIES_BINS * _LAST_INSTANT
    else:
        bins = max(1, math.ceil(span_s / bin_s))
    leaves = 1 << max(1, count - 1).bit_length()
    replicas = records(REPLICA, count)
    batches = np.asarray(max_batch, dtype=np.int64)[type_of]
    replicas.kind = replicas.cost = type_of
    replicas.park_after_s = np.asarray(park_after_s, dtype=np.float64)[type_of]
    replicas.off_after_s = np.asarray(off_after_s, dtype=np.float64)[type_of]
    replicas.heap = np.concatenate(([0], np.cumsum(batches)))[:-1]
    replicas.idle = 1
    replicas.prefill_head = replicas.prefill_tail = NOBODY
    tree = np.zeros(2 * leaves, dtype=np.int64)
    tree[leaves:] = np.arange(leaves)
    total = records(TOTAL, 1)
    total[0].free_slots = slots
    total[0].horizon_s = np.inf
    tree[:leaves] = 0
    for node in range(leaves - 1, 0, -1):
        tree[node] = tree[2 * node]
    return Engine(
        replicas=replicas,
        slots=records(SLOT, slots),
        free=np.arange(slots - 1, -1, -1, dtype=np.int64),
        heap=records(DECODER, int(batches.sum())),
        queue_head=np.full((count, MAX_PRIORITIES), NOBODY, dtype=np.int64),
        queue_tail=np.full((count, MAX_PRIORITIES), NOBODY, dtype=np.int64),
        event_s=np.full(leaves, np.inf),
        tree=tree,
        step_tokens=np.asarray(max_step_tokens, dtype=np.int64),
        cost=cost,
        cost_wanted=np.arange(kinds, dtype=np.int64),
        tiers=tiers,
        tier_of_class=tier_of_class,
        histogram=np.zeros((MEASURES, len(tiers), BINS), dtype=np.int64),
        tally=records(TALLY, len(tiers), kinds),
        total=total,
        bin_s=np.array([bin_s]),
        power_j=np.zeros((bins + 1, kinds, ACCOUNTS)),
        crowd_s=np.zeros(bins + 1),
        arrivals=np.zeros(bins + 1, dtype=np.int64),
        missed=np.zeros(bins + 1, dtype=np.int64),
        ended=np.zeros(bins + 1, dtype=np.int64),
        state_s=np.zeros((bins + 1, ACCOUNTS)),
        options=options,
        chosen=np.zeros((len(tier_of_class), options.shape[1]), dtype=np.int64),
        chosen_j=np.zeros((len(tier_of_class), options.shape[1])),
        arrived=np.zeros(len(tiers), dtype=np.int64),
        arrived_tokens=np.zeros(len(tiers), dtype=np.int64),
        held=records(HELD, held),
        log=records(LOG, log_rows),
    )


def with_more_slots(state: Engine) -> Engine:
    """The same engine with room for twice the requests in flight."""
    room = len(state.slots)
    slots = records(SLOT, 2 * room)
    slots[:room] = state.slots
    free = np.zeros(2 * room, dtype=np.int64)
    count = int(state.total[0].free_slots)
    free[:count] = state.free[:count]
    free[count : count + room] = np.arange(2 * room - 1, room - 1, -1)
    state.total[0].free_slots = count + room
    return state._replace(slots=slots, free=free)


def with_more_held(state: Engine) -> Engine:
    """The same engine with room for twice the requests outside the fleet."""
    held = records(HELD, 2 * len(state.held))
    held[: len(state.held)] = state.held
    return state._replace(held=held)
