"""What routing knows of the fleet: a struct of arrays, and an index that answers without looking at
every replica.

The gateway and the simulator keep the same state with the same two calls: ``enter`` when a request
is sent to a replica and ``leave`` when it ends. Replicas are numbered so that equal ones (of one
replica type) stand together.

A replica is **open** when it may be sent new requests. A slow controller closes replicas that the
load does not need (``close_replica``); what they hold runs to its end.

A replica's **level** is how loaded it is: its requests in flight, and, for a policy that wants it,
one more for every ``pending_unit`` tokens of prompts whose first token is not out. Without those a
replica that has just been opened would look empty until it drowned in prompts. Prompts alone never
make it full: its level is ``max_in_flight`` only when as many requests are in flight.

The **level index** keeps, for each type, which open replicas are at which level, as one bitmap a
level; the **token index** keeps, for each type, a tournament tree on outstanding
tokens, the closed behind the open. With them the pick looks at one replica per (type, level) or per
type, and still finds the lowest-numbered of the cheapest (``pick.pick_scan`` is the plain oracle).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel, outline_kernel
from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import cost_table
from baseload.workload.lengths import (
    LengthTable,
    bucket_of,
    forecast_length,
    learn_cut_length,
    learn_length,
    length_table,
    remaining_tokens,
)

LIMITS = np.dtype(
    [
        ("max_batch", np.int64),
        ("kv_tokens", np.int64),
        ("max_in_flight", np.int64),
        ("max_input_tokens", np.int64),
        ("model", np.int64),
        ("forecast_batch", np.float64),
        ("prompt_tokens_per_s", np.float64),
        ("profiled_tokens_per_s", np.float64),
        ("profiled_j_per_token", np.float64),
        ("frugal", np.int64),
        ("wake_s", np.float64),
    ]
)
"""What a replica of a type can hold. ``max_in_flight``: requests at which it is no candidate any
more; ``model``: its code; ``forecast_batch``: requests that each open replica of the type is about
to run, by the controller that opens them (0: none works now, -1: nobody says);
``prompt_tokens_per_s``: prompt tokens that each busy replica of the type has lately been sent, a
mean over about two seconds. ``profiled_*``: tokens (input and output) per second, and average
joules per token, with all seats taken by requests of the prior mean lengths: the constants mu and
epsilon that published schedulers profile offline. ``frugal``: 1 for the type with the lowest power
cap. ``wake_s``: seconds until an idle replica begins, where it may have fallen asleep by itself.
"""

TRAFFIC = np.dtype([("input_tokens", np.float64), ("output_tokens", np.float64)])
"""What the fleet has learnt of its requests: exponential means over the ended ones."""

Limits: TypeAlias = Any
"""One row of ``LIMITS``: a numpy record, a numba record inside kernels."""
Traffic: TypeAlias = Any
"""One row of ``TRAFFIC``."""

LEVELS, TOKENS = 0, 1
"""Entries of ``FleetState.indexed``."""

PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS = 1000.0, 250.0
"""What a request is taken to be before any has ended."""
_LEARNING_FRAC = 0.01
_INTAKE_MEMORY_S = 2.0

_WORD = 64
_ONE = np.uint64(1)
_DEBRUIJN = np.uint64(0x03F79D71B4CB0A89)
_SHIFT = np.uint64(58)


def _bit_positions() -> NDArray[np.int64]:
    """For a 64-bit word with one bit set: its position, by the six top bits of its product with
    a de Bruijn sequence.
    """
    table = np.zeros(64, dtype=np.int64)
    for position in range(64):
        table[((1 << position) * int(_DEBRUIJN) & 0xFFFFFFFFFFFFFFFF) >> 58] = position
    return table


_POSITION = _bit_positions()


class FleetState(NamedTuple):
    """Struct of arrays over ``n`` replicas of ``k`` types. Changed only by the functions of this
    module, and by controllers: ``limits.forecast_batch``, ``cost`` when clocks change.
    """

    type_of: NDArray[np.int64]  # [n]
    in_flight: NDArray[np.int64]  # [n] requests sent and not ended, queued or running
    tokens: NDArray[np.int64]  # [n] input + forecast output tokens of those
    first: NDArray[np.int64]  # [k + 1] replicas of type t are first[t] .. first[t + 1] - 1
    cost: np.recarray[Any, Any]  # [k] of fleet.step.COST
    limits: np.recarray[Any, Any]  # [k] of LIMITS
    traffic: np.recarray[Any, Any]  # [1] of TRAFFIC
    forecast: (
        LengthTable  # [classes, buckets + 1] of lengths.LENGTHS: outputs learned from the ended
    )
    level_start: NDArray[np.int64]  # [k + 1] offset of a type's levels in level_count
    level_count: NDArray[np.int64]  # replicas at each level
    level_range: NDArray[np.int64]  # [k, 2] no open replica is below the first or above the last
    bit_start: NDArray[np.int64]  # [k] offset of a type's bitmaps in bits
    bits: NDArray[np.uint64]  # bitmaps, levels x words
    indexed: NDArray[np.uint8]  # [2] whether the level index and the token index are kept
    tree_start: NDArray[np.int64]  # [k + 1] offset of a type's tournament tree
    tree: NDArray[np.int64]  # winners: replica with the fewest tokens, lowest number first
    open: NDArray[np.uint8]  # [n] whether it may be sent new requests
    open_count: NDArray[np.int64]  # [k] how many of a type may
    clock: NDArray[np.float64]  # [1] when a prompt was sent last [s]
    pending: NDArray[np.int64]  # [n] levels of prompts whose first token is not out
    level: NDArray[np.int64]  # [n] in_flight + pending, full only by requests: what is indexed
    pending_unit: NDArray[np.int64]  # [1] prompt tokens a level; 0: prompts that wait do not count


def fleet_state(
    types: Sequence[ReplicaType],
    replicas: Sequence[int],
    *,
    classes: int | Sequence[str] = 1,
    max_queue: int = 1024,
    models: Sequence[str] = (),
) -> FleetState:
    """The state of an idle fleet of ``replicas[i]`` replicas of ``types[i]``.

    ``classes``: the request classes that the length forecast tells apart, or how many.
    ``max_queue``: how many requests may wait in one replica beyond its ``max_batch``; a replica
    with more is not a candidate. ``models`` gives the codes that requests use to ask for a model (a
    type whose model is not listed gets -2, which none asks for).
    """
    count, kinds = int(sum(replicas)), len(types)
    first = np.concatenate(([0], np.cumsum(replicas))).astype(np.int64)
    limits = np.zeros(kinds, dtype=LIMITS).view(np.recarray)
    traffic = np.zeros(1, dtype=TRAFFIC).view(np.recarray)
    traffic[0] = (PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS)
    code = {name: index for index, name in enumerate(models)}
    lowest_w = min(kind.power.power_w_cap for kind in types)
    for index, kind in enumerate(types):
        longest = min(kind.max_context_tokens, kind.kv_tokens)
        most = kind.max_batch + max_queue
        row = (kind.max_batch, kind.kv_tokens, most, longest, code.get(kind.model, -2))
        limits[index] = (*row, -1.0, 0.0, 0.0, 0.0, kind.power.power_w_cap == lowest_w, 0.0)
    levels = limits.max_in_flight + 1
    words = -(-np.asarray(replicas, dtype=np.int64) // _WORD)
    leaves = np.array([1 << max(0, int(n) - 1).bit_length() for n in replicas], dtype=np.int64)
    state = FleetState(
        type_of=np.repeat(np.arange(kinds, dtype=np.int64), replicas),
        in_flight=np.zeros(count, dtype=np.int64),
        tokens=np.zeros(count, dtype=np.int64),
        first=first,
        cost=cost_table(types),
        limits=limits,
        traffic=traffic,
        forecast=length_table([""] * max(1, classes) if isinstance(classes, int) else classes),
        level_start=np.concatenate(([0], np.cumsum(levels))),
        level_count=np.zeros(int(levels.sum()), dtype=np.int64),
        level_range=np.zeros((kinds, 2), dtype=np.int64),
        bit_start=np.concatenate(([0], np.cumsum(levels * words)))[:-1],
        bits=np.zeros(int((levels * words).sum()), dtype=np.uint64),
        indexed=np.ones(2, dtype=np.uint8),
        tree_start=np.concatenate(([0], np.cumsum(2 * leaves))),
        tree=np.full(int(2 * leaves.sum()), -1, dtype=np.int64),
        open=np.ones(count, dtype=np.uint8),
        open_count=np.asarray(replicas, dtype=np.int64).copy(),
        clock=np.zeros(1),
        pending=np.zeros(count, dtype=np.int64),
        level=np.zeros(count, dtype=np.int64),
        pending_unit=np.zeros(1, dtype=np.int64),
    )
    _fill_index(state)
    return state


def _fill_index(state: FleetState) -> None:
    """Build both indexes from ``in_flight`` and ``tokens``."""
    state.bits[:] = 0
    state.level_count[:] = 0
    for kind in range(len(state.first) - 1):
        low, high = int(state.first[kind]), int(state.first[kind + 1])
        levels = state.level[low:high]
        words = -(-(high - low) // _WORD)
        state.level_range[kind] = (levels.min(), levels.max()) if high > low else (0, 0)
        for offset, level in enumerate(levels):
            if not state.open[low + offset]:
                continue
            state.level_count[state.level_start[kind] + level] += 1
            word = state.bit_start[kind] + int(level) * words + offset // _WORD
            state.bits[word] |= np.uint64(1 << (offset % _WORD))
        base = int(state.tree_start[kind])
        leaves = (int(state.tree_start[kind + 1]) - base) // 2
        state.tree[base + leaves : base + leaves + (high - low)] = np.arange(low, high)
        for node in range(leaves - 1, 0, -1):
            left, right = state.tree[base + 2 * node], state.tree[base + 2 * node + 1]
            state.tree[base + node] = _fewer_tokens(state, left, right)


def keep_index(state: FleetState, *, levels: bool, tokens: bool) -> None:
    """Keep only the indexes that the policy in charge asks for; an index switched on is built
    anew.
    """
    state.indexed[LEVELS], state.indexed[TOKENS] = levels, tokens
    _fill_index(state)


@kernel
def _fewer_tokens(state: FleetState, left: int, right: int) -> int:
    """The open replica, or of two alike the one with fewer tokens; the left (lower-numbered) one
    on a tie; -1 is nobody.
    """
    if right < 0 or left < 0:
        return max(left, right)
    if state.open[left] != state.open[right]:
        return left if state.open[left] else right
    return left if state.tokens[left] <= state.tokens[right] else right


@kernel
def _relevel(state: FleetState, replica: int) -> None:
    """Bring a replica's level, and its place in the index, in line with what it holds."""
    kind = state.type_of[replica]
    count, most = state.in_flight[replica], state.limits[kind].max_in_flight
    after = min(count + state.pending[replica], most if count >= most else most - 1)
    level = state.level[replica]
    if level == after:
        return
    state.level[replica] = after
    if not (state.indexed[LEVELS] and state.open[replica]):
        return
    offset = replica - state.first[kind]
    words = (state.first[kind + 1] - state.first[kind] + 63) >> 6
    mask = _ONE << np.uint64(offset & 63)
    at = state.bit_start[kind] + (offset >> 6)
    state.bits[at + level * words] &= ~mask
    state.bits[at + after * words] |= mask
    base = state.level_start[kind]
    state.level_count[base + level] -= 1
    state.level_count[base + after] += 1
    low = min(state.level_range[kind, 0], after)
    high = max(state.level_range[kind, 1], after)
    while state.level_count[base + low] == 0:
        low += 1
    while state.level_count[base + high] == 0:
        high -= 1
    state.level_range[kind, 0], state.level_range[kind, 1] = low, high


@kernel
def _replay_tree(state: FleetState, replica: int) -> None:
    """Play the matches of a replica whose tokens have changed."""
    kind = state.type_of[replica]
    base = state.tree_start[kind]
    leaves = (state.tree_start[kind + 1] - base) >> 1
    node = (leaves + replica - state.first[kind]) >> 1
    while node >= 1:
        winner = _fewer_tokens(state, state.tree[base + 2 * node], state.tree[base + 2 * node + 1])
        if winner == state.tree[base + node] and winner != replica:
            return
        state.tree[base + node] = winner
        node >>= 1


@kernel
def pending_levels(state: FleetState, input_tokens: int) -> int:
    """By how many levels a prompt of ``input_tokens`` loads a replica until its first token."""
    unit = state.pending_unit[0]
    return 0 if unit == 0 else (input_tokens + unit - 1) // unit


@kernel
def enter(state: FleetState, replica: int, tokens: int, pending: int) -> None:
    """A request of ``tokens`` (input + forecast output) is sent to ``replica``; ``pending``: its
    ``pending_levels``.
    """
    state.in_flight[replica] += 1
    state.pending[replica] += pending
    _relevel(state, replica)
    state.tokens[replica] += tokens
    if state.indexed[TOKENS]:
        _replay_tree(state, replica)


@kernel
def first_token(state: FleetState, replica: int, pending: int) -> None:
    """A request at ``replica`` has its first token; ``pending`` as given to ``enter``."""
    if pending:
        state.pending[replica] -= pending
        _relevel(state, replica)


@kernel
def leave(state: FleetState, replica: int, tokens: int) -> None:
    """A request ends at ``replica``; ``tokens`` as given to ``enter``."""
    state.in_flight[replica] -= 1
    _relevel(state, replica)
    state.tokens[replica] -= tokens
    if state.indexed[TOKENS]:
        _replay_tree(state, replica)


@outline_kernel
def open_replica(state: FleetState, replica: int) -> None:
    """The replica may be sent requests from now on. Does nothing to one that is open."""
    if state.open[replica]:
        return
    state.open[replica] = 1
    kind, level = state.type_of[replica], state.level[replica]
    state.open_count[kind] += 1
    if state.indexed[LEVELS]:
        _flip_bit(state, replica, kind, level)
        state.level_count[state.level_start[kind] + level] += 1
        if state.open_count[kind] == 1:
            state.level_range[kind, 0] = state.level_range[kind, 1] = level
        state.level_range[kind, 0] = min(state.level_range[kind, 0], level)
        state.level_range[kind, 1] = max(state.level_range[kind, 1], level)
    if state.indexed[TOKENS]:
        _replay_tree(state, replica)


@outline_kernel
def close_replica(state: FleetState, replica: int) -> None:
    """The replica is sent no more requests; those that it has run to their end. Does nothing to
    one that is closed.
    """
    if not state.open[replica]:
        return
    state.open[replica] = 0
    kind, level = state.type_of[replica], state.level[replica]
    state.open_count[kind] -= 1
    if state.indexed[LEVELS]:
        _flip_bit(state, replica, kind, level)
        base = state.level_start[kind]
        state.level_count[base + level] -= 1
        low, high = state.level_range[kind, 0], state.level_range[kind, 1]
        while low < high and state.level_count[base + low] == 0:
            low += 1
        while low < high and state.level_count[base + high] == 0:
            high -= 1
        state.level_range[kind, 0], state.level_range[kind, 1] = low, high
    if state.indexed[TOKENS]:
        _replay_tree(state, replica)


@kernel
def _flip_bit(state: FleetState, replica: int, kind: int, level: int) -> None:
    """Put a replica into the bitmap of its level, or take it out."""
    offset = replica - state.first[kind]
    words = (state.first[kind + 1] - state.first[kind] + 63) >> 6
    at = state.bit_start[kind] + level * words + (offset >> 6)
    state.bits[at] ^= _ONE << np.uint64(offset & 63)


@kernel
def take_in(state: FleetState, kind: int, input_tokens: float, now_s: float) -> None:
    """A prompt is sent to a replica of the type: exponential means over about two seconds of what
    an open replica of each type is sent.
    """
    keep = math.exp(-max(0.0, now_s - state.clock[0]) / _INTAKE_MEMORY_S)
    state.clock[0] = max(now_s, state.clock[0])
    for other in range(state.limits.shape[0]):
        state.limits[other].prompt_tokens_per_s *= keep
    idle = state.level_count[state.level_start[kind]] if state.indexed[LEVELS] else 0
    per_replica = input_tokens / max(1, state.open_count[kind] - idle)
    state.limits[kind].prompt_tokens_per_s += per_replica / _INTAKE_MEMORY_S


@kernel
def learn(state: FleetState, class_code: int, input_tokens: float, output_tokens: float) -> None:
    """Take in the lengths of an ended request: exponential means of traffic over about the last
    hundred, and the output of its class and prompt bucket.
    """
    traffic = state.traffic[0]
    traffic.input_tokens += _LEARNING_FRAC * (input_tokens - traffic.input_tokens)
    traffic.output_tokens += _LEARNING_FRAC * (output_tokens - traffic.output_tokens)
    bucket = bucket_of(int(input_tokens))
    learn_length(state.forecast, class_code, bucket, output_tokens)


@kernel
def learn_cut(state: FleetState, class_code: int, input_tokens: float, seen_tokens: float) -> None:
    """As ``learn``, of an answer that a cap ended after ``seen_tokens``: it would have been longer
    by what is known of its class.
    """
    bucket = bucket_of(int(input_tokens))
    mean_tokens, spread_tokens, _ = forecast_length(state.forecast, class_code, bucket)
    rest_tokens = remaining_tokens(mean_tokens, spread_tokens, seen_tokens)
    traffic = state.traffic[0]
    traffic.input_tokens += _LEARNING_FRAC * (input_tokens - traffic.input_tokens)
    traffic.output_tokens += _LEARNING_FRAC * (seen_tokens + rest_tokens - traffic.output_tokens)
    learn_cut_length(state.forecast, class_code, bucket, seen_tokens)


@kernel
def lowest_at_level(state: FleetState, kind: int, level: int) -> int:
    """The lowest-numbered open replica of a type at ``level``, or -1."""
    words = (state.first[kind + 1] - state.first[kind] + 63) >> 6
    at = state.bit_start[kind] + level * words
    for word in range(words):
        bits = state.bits[at + word]
        if bits != 0:
            lowest = bits & (~bits + _ONE)
            return state.first[kind] + 64 * word + _POSITION[(lowest * _DEBRUIJN) >> _SHIFT]
    return -1


@kernel
def lowest_between(state: FleetState, kind: int, low: int, high: int) -> int:
    """The lowest-numbered open replica of a type at a level from ``low`` to ``high``, or -1."""
    words = (state.first[kind + 1] - state.first[kind] + 63) >> 6
    at, counted = state.bit_start[kind], state.level_start[kind]
    for word in range(words):
        bits = np.uint64(0)
        for level in range(low, high + 1):
            if state.level_count[counted + level] > 0:
                bits |= state.bits[at + level * words + word]
        if bits != 0:
            lowest = bits & (~bits + _ONE)
            return state.first[kind] + 64 * word + _POSITION[(lowest * _DEBRUIJN) >> _SHIFT]
    return -1


@kernel
def fewest_tokens(state: FleetState, kind: int) -> int:
    """The open replica of a type with the fewest outstanding tokens, the lowest-numbered on a
    tie; -1 when none is open.
    """
    replica = state.tree[state.tree_start[kind] + 1]
    return replica if replica >= 0 and state.open[replica] else -1


@kernel
def first_with_few_tokens(state: FleetState, kind: int, most: float) -> int:
    """The lowest-numbered open replica of a type with at most ``most`` outstanding tokens, or -1:
    down the tournament, left wherever the left half has one.
    """
    base = state.tree_start[kind]
    leaves = (state.tree_start[kind + 1] - base) >> 1
    winner = fewest_tokens(state, kind)
    if winner < 0 or state.tokens[winner] > most:
        return -1
    node = 1
    while node < leaves:
        node *= 2
        winner = state.tree[base + node]
        if winner < 0 or not state.open[winner] or state.tokens[winner] > most:
            node += 1
    return state.tree[base + node]
