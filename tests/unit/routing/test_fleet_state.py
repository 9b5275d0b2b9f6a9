"""The index against an index rebuilt from scratch and against brute force, with sizes around 64-bit
word borders.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.kernels import plain
from baseload.routing import fleet_state as room
from baseload.routing.fleet_state import enter, fewest_tokens, learn, leave, lowest_at_level
from baseload.testing.fleets import Fleet, replica_type

BORDERS = [1, 2, 3, 5, 8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200]


def state_of(sizes, *, max_batch=3, max_queue=2):
    kind = replica_type(max_batch=max_batch)
    fleet = Fleet(types=tuple([kind] * len(sizes)), replicas=tuple(sizes))
    return fleet.state(max_queue=max_queue)


def lowest_by_looking(state, kind, level):
    low, high = state.first[kind], state.first[kind + 1]
    found = np.flatnonzero(state.in_flight[low:high] == level)
    return int(low + found[0]) if len(found) else -1


def fewest_by_looking(state, kind):
    low, high = state.first[kind], state.first[kind + 1]
    return int(low + np.argmin(state.tokens[low:high])) if high > low else -1


def assert_index_is_true(state):
    """The index is the one that would be built now, and answers as a look at everyone would."""
    fresh = copy.deepcopy(state)
    room._fill_index(fresh)
    for name in ("level_count", "level_range", "bits", "tree"):
        assert (getattr(state, name) == getattr(fresh, name)).all(), name
    for kind in range(len(state.first) - 1):
        for level in range(int(state.limits[kind].max_in_flight) + 1):
            assert lowest_at_level(state, kind, level) == lowest_by_looking(state, kind, level)
        assert fewest_tokens(state, kind) == fewest_by_looking(state, kind)


def walk(state, rng, steps, *, few_tokens=False):
    """Random enters and leaves; few different token counts make ties."""
    running = []
    most = state.limits.max_in_flight[state.type_of]
    for _ in range(steps):
        free = np.flatnonzero(state.in_flight < most)
        if len(free) and (not running or rng.random() < 0.6):
            replica = int(rng.choice(free))
            tokens = int(rng.integers(1, 3 if few_tokens else 5000))
            enter(state, replica, tokens)
            running.append((replica, tokens))
        else:
            replica, tokens = running.pop(int(rng.integers(len(running))))
            leave(state, replica, tokens)
    return running


@given(
    sizes=st.lists(st.integers(1, 140), min_size=1, max_size=3),
    seed=st.integers(0, 10**6),
    steps=st.integers(0, 120),
    few=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_any_sequence_keeps_the_index_true(sizes, seed, steps, few):
    state = state_of(sizes)
    walk(state, np.random.default_rng(seed), steps, few_tokens=few)
    assert_index_is_true(state)


@pytest.mark.parametrize("size", BORDERS)
def test_word_borders(size):
    """Fill up every replica and empty them in another order: true at every tenth change."""
    state = state_of([size], max_batch=1, max_queue=1)
    rng = np.random.default_rng(size)
    for round_ in range(2):
        for at, replica in enumerate(rng.permutation(size)):
            enter(state, int(replica), 10 + round_)
            if at % 10 == 0:
                assert_index_is_true(state)
    assert_index_is_true(state)
    for round_ in range(2):
        for replica in rng.permutation(size):
            leave(state, int(replica), 10 + round_)
    assert_index_is_true(state)
    assert (state.in_flight == 0).all()
    assert (state.tokens == 0).all()


def test_a_full_walk_comes_back_to_idle():
    state, fresh = state_of([65, 3, 130]), state_of([65, 3, 130])
    for replica, tokens in walk(state, np.random.default_rng(0), 500):
        leave(state, replica, tokens)
    for name in state._fields:
        assert getattr(state, name).tobytes() == getattr(fresh, name).tobytes(), name


def test_a_type_without_replicas_has_nobody():
    state = state_of([0, 2])
    assert fewest_tokens(state, 0) == -1
    assert lowest_at_level(state, 0, 0) == -1
    assert fewest_tokens(state, 1) == 0


def test_plain_twins_keep_the_same_index():
    compiled, written = state_of([5, 70]), state_of([5, 70])
    rng = np.random.default_rng(4)
    running = []
    with np.errstate(over="ignore"):
        for _ in range(150):
            if running and rng.random() < 0.4:
                replica, tokens = running.pop()
                leave(compiled, replica, tokens)
                plain(leave)(written, replica, tokens)
                continue
            replica, tokens = int(rng.integers(75)), int(rng.integers(1, 99))
            if compiled.in_flight[replica] < 5:
                enter(compiled, replica, tokens)
                plain(enter)(written, replica, tokens)
                running.append((replica, tokens))
        for kind in range(2):
            for level in range(4):
                found = plain(lowest_at_level)(written, kind, level)
                assert lowest_at_level(compiled, kind, level) == found
    for name in compiled._fields:
        assert (getattr(compiled, name) == getattr(written, name)).all(), name


def test_what_is_learnt_moves_by_a_hundredth():
    state = state_of([1])
    learn(state, 0, 2000.0, 350.0)
    assert state.traffic[0].input_tokens == pytest.approx(1010.0)
    assert state.traffic[0].output_tokens == pytest.approx(251.0)
    assert state.forecast[0] == pytest.approx(251.0)
    for _ in range(2000):
        learn(state, 0, 40.0, 7.0)
    assert state.forecast[0] == pytest.approx(7.0, rel=1e-6)


def test_limits_say_what_a_type_takes():
    fleet = Fleet(types=(replica_type(kv_tokens=500, max_batch=4),), replicas=(1,))
    state = fleet.state(max_queue=3)
    assert state.limits[0].max_in_flight == 7
    assert state.limits[0].max_input_tokens == 500
    assert state.limits[0].model == 0
