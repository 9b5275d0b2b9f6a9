"""What routing knows of the fleet: a struct of arrays, and an index that answers without looking at
every replica.

The gateway and the simulator keep the same state with the same two calls: ``enter`` when a request
is sent to a replica and ``leave`` when it ends. Replicas are numbered so that equal ones (of one
replica type) stand together.

The **level index** keeps, for each type, which replicas have how many requests in flight, as one
bitmap a level; the **token index** keeps, for each type, a tournament tree on outstanding tokens.
With them the pick looks at one replica per (type, level) or per type, and still finds the
lowest-numbered of the cheapest (``pick.pick_scan`` is the plain oracle).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel
from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import cost_table

LIMITS = np.dtype(
    [
        ("max_batch", np.int64),
        ("kv_tokens", np.int64),
        ("max_in_flight", np.int64),
        ("max_input_tokens", np.int64),
        ("model", np.int64),
    ]
)
"""What a replica of a type can hold. ``max_in_flight``: requests at which it is no candidate any
more; ``model``: its code.
"""

TRAFFIC = np.dtype([("input_tokens", np.float64), ("output_tokens", np.float64)])
"""What the fleet has learnt of its requests: exponential means over the ended ones."""

Limits: TypeAlias = Any
"""One row of ``LIMITS``: a numpy record, a numba record inside kernels."""
Traffic: TypeAlias = Any
"""One row of ``TRAFFIC``."""

LEVELS, TOKENS = 0, 1
"""Entries of ``FleetState.indexed``."""

_PRIOR_INPUT_TOKENS, _PRIOR_OUTPUT_TOKENS = 1000.0, 250.0
_LEARNING_FRAC = 0.01

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
    """Struct of arrays over ``n`` replicas of ``k`` types. Changed only by ``enter``, ``leave``
    and ``learn``.
    """

    type_of: NDArray[np.int64]  # [n]
    in_flight: NDArray[np.int64]  # [n] requests sent and not ended, queued or running
    tokens: NDArray[np.int64]  # [n] input + forecast output tokens of those
    first: NDArray[np.int64]  # [k + 1] replicas of type t are first[t] .. first[t + 1] - 1
    cost: np.recarray[Any, Any]  # [k] of fleet.step.COST
    limits: np.recarray[Any, Any]  # [k] of LIMITS
    traffic: np.recarray[Any, Any]  # [1] of TRAFFIC
    forecast: NDArray[np.float64]  # [classes] mean output tokens of ended requests of a class
    level_start: NDArray[np.int64]  # [k + 1] offset of a type's levels in level_count
    level_count: NDArray[np.int64]  # replicas at each level
    level_range: NDArray[np.int64]  # [k, 2] lowest and highest level in use
    bit_start: NDArray[np.int64]  # [k] offset of a type's bitmaps in bits
    bits: NDArray[np.uint64]  # bitmaps, levels x words
    indexed: NDArray[np.uint8]  # [2] whether the level index and the token index are kept
    tree_start: NDArray[np.int64]  # [k + 1] offset of a type's tournament tree
    tree: NDArray[np.int64]  # winners: replica with the fewest tokens, lowest number first


def fleet_state(
    types: Sequence[ReplicaType],
    replicas: Sequence[int],
    *,
    classes: int = 1,
    max_queue: int = 1024,
    models: Sequence[str] = (),
) -> FleetState:
    """The state of an idle fleet of ``replicas[i]`` replicas of ``types[i]``.

    ``classes``: how many request classes the length forecast tells apart. ``max_queue``: how many
    requests may wait in one replica beyond its ``max_batch``; a replica with more is not a
    candidate. ``models`` gives the codes that requests use to ask for a model (a type whose model
    is not listed gets -2, which none asks for).
    """
    count, kinds = int(sum(replicas)), len(types)
    first = np.concatenate(([0], np.cumsum(replicas))).astype(np.int64)
    limits = np.zeros(kinds, dtype=LIMITS).view(np.recarray)
    traffic = np.zeros(1, dtype=TRAFFIC).view(np.recarray)
    traffic[0] = (_PRIOR_INPUT_TOKENS, _PRIOR_OUTPUT_TOKENS)
    code = {name: index for index, name in enumerate(models)}
    for index, kind in enumerate(types):
        longest = min(kind.max_context_tokens, kind.kv_tokens)
        most = kind.max_batch + max_queue
        limits[index] = (kind.max_batch, kind.kv_tokens, most, longest, code.get(kind.model, -2))
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
        forecast=np.full(max(1, classes), _PRIOR_OUTPUT_TOKENS),
        level_start=np.concatenate(([0], np.cumsum(levels))),
        level_count=np.zeros(int(levels.sum()), dtype=np.int64),
        level_range=np.zeros((kinds, 2), dtype=np.int64),
        bit_start=np.concatenate(([0], np.cumsum(levels * words)))[:-1],
        bits=np.zeros(int((levels * words).sum()), dtype=np.uint64),
        indexed=np.ones(2, dtype=np.uint8),
        tree_start=np.concatenate(([0], np.cumsum(2 * leaves))),
        tree=np.full(int(2 * leaves.sum()), -1, dtype=np.int64),
    )
    _fill_index(state)
    return state


def _fill_index(state: FleetState) -> None:
    """Build both indexes from ``in_flight`` and ``tokens``."""
    state.bits[:] = 0
    state.level_count[:] = 0
    for kind in range(len(state.first) - 1):
        low, high = int(state.first[kind]), int(state.first[kind + 1])
        levels = state.in_flight[low:high]
        words = -(-(high - low) // _WORD)
        state.level_range[kind] = (levels.min(), levels.max()) if high > low else (0, 0)
        for offset, level in enumerate(levels):
            state.level_count[state.level_start[kind] + level] += 1
            word = state.bit_start[kind] + int(level) * words + offset // _WORD
            state.bits[word] |= np.uint64(1 << (offset % _WORD))
        base = int(state.tree_start[kind])
        leaves = (int(state.tree_start[kind + 1]) - base) // 2
        state.tree[base + leaves : base + leaves + (high - low)] = np.arange(low, high)
        for node in range(leaves - 1, 0, -1):
            left, right = state.tree[base + 2 * node], state.tree[base + 2 * node + 1]
            state.tree[base + node] = _fewer_tokens(state.tokens, left, right)


def keep_index(state: FleetState, *, levels: bool, tokens: bool) -> None:
    """Keep only the indexes that the policy in charge asks for; an index switched on is built
    anew.
    """
    state.indexed[LEVELS], state.indexed[TOKENS] = levels, tokens
    _fill_index(state)


@kernel
def _fewer_tokens(tokens: NDArray[np.int64], left: int, right: int) -> int:
    """The replica with fewer tokens; the left (lower-numbered) one on a tie; -1 is nobody."""
    if right < 0 or (left >= 0 and tokens[left] <= tokens[right]):
        return left
    return right


@kernel
def _move_level(state: FleetState, replica: int, change: int) -> None:
    """Move a replica up or down one level in the index."""
    kind = state.type_of[replica]
    level = state.in_flight[replica]
    offset = replica - state.first[kind]
    words = (state.first[kind + 1] - state.first[kind] + 63) >> 6
    mask = _ONE << np.uint64(offset & 63)
    at = state.bit_start[kind] + level * words + (offset >> 6)
    state.bits[at] &= ~mask
    state.bits[at + change * words] |= mask
    base = state.level_start[kind]
    state.level_count[base + level] -= 1
    state.level_count[base + level + change] += 1
    lowest, highest = state.level_range[kind, 0], state.level_range[kind, 1]
    if level + change < lowest:
        state.level_range[kind, 0] = level + change
    elif level == lowest and state.level_count[base + level] == 0:
        state.level_range[kind, 0] = level + 1
    if level + change > highest:
        state.level_range[kind, 1] = level + change
    elif level == highest and state.level_count[base + level] == 0:
        state.level_range[kind, 1] = level - 1


@kernel
def _replay_tree(state: FleetState, replica: int) -> None:
    """Play the matches of a replica whose tokens have changed."""
    kind = state.type_of[replica]
    base = state.tree_start[kind]
    leaves = (state.tree_start[kind + 1] - base) >> 1
    node = (leaves + replica - state.first[kind]) >> 1
    while node >= 1:
        winner = _fewer_tokens(
            state.tokens, state.tree[base + 2 * node], state.tree[base + 2 * node + 1]
        )
        if winner == state.tree[base + node] and winner != replica:
            return
        state.tree[base + node] = winner
        node >>= 1


@kernel
def enter(state: FleetState, replica: int, tokens: int) -> None:
    """A request of ``tokens`` (input + forecast output) is sent to ``replica``."""
    if state.indexed[LEVELS]:
        _move_level(state, replica, 1)
    state.in_flight[replica] += 1
    state.tokens[replica] += tokens
    if state.indexed[TOKENS]:
        _replay_tree(state, replica)


@kernel
def leave(state: FleetState, replica: int, tokens: int) -> None:
    """A request ends at ``replica``; ``tokens`` as given to ``enter``."""
    if state.indexed[LEVELS]:
        _move_level(state, replica, -1)
    state.in_flight[replica] -= 1
    state.tokens[replica] -= tokens
    if state.indexed[TOKENS]:
        _replay_tree(state, replica)


@kernel
def learn(state: FleetState, class_code: int, input_tokens: float, output_tokens: float) -> None:
    """Take in the lengths of an ended request: exponential means over about the last hundred of
    a class.
    """
    traffic = state.traffic[0]
    traffic.input_tokens += _LEARNING_FRAC * (input_tokens - traffic.input_tokens)
    traffic.output_tokens += _LEARNING_FRAC * (output_tokens - traffic.output_tokens)
    state.forecast[class_code] += _LEARNING_FRAC * (output_tokens - state.forecast[class_code])


@kernel
def lowest_at_level(state: FleetState, kind: int, level: int) -> int:
    """The lowest-numbered replica of a type with ``level`` requests in flight, or -1."""
    words = (state.first[kind + 1] - state.first[kind] + 63) >> 6
    at = state.bit_start[kind] + level * words
    for word in range(words):
        bits = state.bits[at + word]
        if bits != 0:
            lowest = bits & (~bits + _ONE)
            return state.first[kind] + 64 * word + _POSITION[(lowest * _DEBRUIJN) >> _SHIFT]
    return -1


@kernel
def fewest_tokens(state: FleetState, kind: int) -> int:
    """The replica of a type with the fewest outstanding tokens, the lowest-numbered on a tie, or
    -1.
    """
    return state.tree[state.tree_start[kind] + 1]
