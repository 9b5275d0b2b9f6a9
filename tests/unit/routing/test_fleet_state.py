"""The index against a plain recount and against brute force, over random lives of a fleet: requests
enter, get their first token and leave, replicas open and close. Sizes around 64-bit word borders.
"""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.kernels import plain
from baseload.routing import fleet_state as room
from baseload.routing.fleet_state import (
    close_replica,
    enter,
    fewest_tokens,
    first_token,
    first_with_few_tokens,
    keep_index,
    learn,
    leave,
    lowest_at_level,
    open_replica,
    pending_levels,
    take_in,
)
from baseload.testing.fleets import Fleet, replica_type
from baseload.workload.lengths import WHOLE_CLASS, bucket_of, forecast_length

BORDERS = [1, 2, 3, 5, 8, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200]
CHANGES = ("enter", "first_token", "leave", "open", "close")


def state_of(sizes, *, max_batch=3, max_queue=2):
    kind = replica_type(max_batch=max_batch)
    fleet = Fleet(types=tuple([kind] * len(sizes)), replicas=tuple(sizes))
    return fleet.state(max_queue=max_queue)


class Life:
    """A fleet in a random life, and the books of it in plain Python: who holds which requests, who
    is open. ``hands`` are the functions that change the fleet, compiled or plain.
    """

    def __init__(self, state, seed, *, few_tokens=False, unit=100, plainly=False):
        self.state, self.few = state, few_tokens
        self.rng = np.random.default_rng(seed)
        self.held = [[] for _ in state.type_of]  # [tokens, levels of the prompt]
        self.open = [True] * len(state.type_of)
        hands = (enter, first_token, leave, open_replica, close_replica)
        self.hands = dict(zip(CHANGES, map(plain, hands) if plainly else hands, strict=True))
        state.pending_unit[0] = unit

    def live(self, steps, *, doors=True):
        for _ in range(steps):
            self.change(doors=doors)
        return self

    def change(self, *, doors):
        """One random change, if it is possible."""
        what = str(self.rng.choice(CHANGES, p=[0.45, 0.15, 0.2, 0.1, 0.1]))
        replica = int(self.rng.integers(len(self.held)))
        state, held = self.state, self.held[replica]
        if what == "enter" and len(held) < state.limits.max_in_flight[state.type_of[replica]]:
            prompt = int(self.rng.integers(1, 400))
            levels = pending_levels(state, prompt)
            tokens = int(self.rng.integers(1, 3 if self.few else 5000))
            held.append([tokens, levels])
            self.hands[what](state, replica, tokens, levels)
        elif what == "first_token" and any(levels for _, levels in held):
            request = next(request for request in held if request[1])
            self.hands[what](state, replica, request[1])
            request[1] = 0
        elif what == "leave" and held:
            tokens, levels = held.pop(int(self.rng.integers(len(held))))
            self.hands["first_token"](state, replica, levels)
            self.hands[what](state, replica, tokens)
        elif doors and what in ("open", "close"):
            self.open[replica] = what == "open"
            self.hands[what](state, replica)

    def level(self, replica):
        """What a replica's level should be: requests and prompts, full only by requests."""
        held = self.held[replica]
        most = int(self.state.limits.max_in_flight[self.state.type_of[replica]])
        if len(held) == most:
            return most
        return min(len(held) + sum(levels for _, levels in held), most - 1)

    def end_all(self):
        for replica, held in enumerate(self.held):
            for tokens, levels in held:
                self.hands["first_token"](self.state, replica, levels)
                self.hands["leave"](self.state, replica, tokens)
            held.clear()
            self.hands["open"](self.state, replica)


def assert_books_agree(life):
    """Every field that changes says what the books say, counted anew."""
    state = life.state
    count = len(life.held)
    levels = [life.level(replica) for replica in range(count)]
    tokens = [sum(tokens for tokens, _ in held) for held in life.held]
    assert state.in_flight.tolist() == [len(held) for held in life.held]
    assert state.tokens.tolist() == tokens
    assert state.pending.tolist() == [sum(levels for _, levels in held) for held in life.held]
    assert state.level.tolist() == levels
    assert state.open.tolist() == life.open
    for kind in range(len(state.first) - 1):
        own = range(int(state.first[kind]), int(state.first[kind + 1]))
        here = [replica for replica in own if life.open[replica]]
        assert state.open_count[kind] == len(here)
        assert_levels_agree(state, kind, here, levels)
        assert_tokens_agree(state, kind, here, tokens)


def assert_levels_agree(state, kind, here, levels):
    """The level index of a type: counts, bitmaps, bounds, and what it answers."""
    first, size = int(state.first[kind]), int(state.first[kind + 1] - state.first[kind])
    words = -(-size // 64)
    for level in range(int(state.limits[kind].max_in_flight) + 1):
        at_level = [replica for replica in here if levels[replica] == level]
        assert state.level_count[state.level_start[kind] + level] == len(at_level)
        start = int(state.bit_start[kind]) + level * words
        bitmap = sum(
            int(word) << 64 * at for at, word in enumerate(state.bits[start : start + words])
        )
        assert bitmap == sum(1 << (replica - first) for replica in at_level)
        assert lowest_at_level(state, kind, level) == min(at_level, default=-1)
    if here:
        low, high = state.level_range[kind]
        assert low <= min(levels[replica] for replica in here)
        assert high >= max(levels[replica] for replica in here)


def assert_tokens_agree(state, kind, here, tokens):
    """The token index of a type answers as a look at everyone would."""
    best = min(here, key=lambda replica: (tokens[replica], replica), default=-1)
    assert fewest_tokens(state, kind) == best
    for most in {
        -1.0,
        0.0,
        1.5,
        700.0,
        math.inf,
        *(float(tokens[replica]) for replica in here[:5]),
    }:
        few = (replica for replica in here if tokens[replica] <= most)
        assert first_with_few_tokens(state, kind, most) == next(few, -1), most


def assert_index_is_fresh(state):
    """The index is the one that would be built now (the bounds may be wider)."""
    fresh = copy.deepcopy(state)
    room._fill_index(fresh)
    for name in ("level_count", "bits", "tree"):
        assert (getattr(state, name) == getattr(fresh, name)).all(), name


@given(
    sizes=st.lists(st.integers(1, 140), min_size=1, max_size=3),
    seed=st.integers(0, 10**6),
    steps=st.integers(0, 150),
    few=st.booleans(),
    unit=st.sampled_from([0, 1, 100, 399]),
)
@settings(max_examples=60, deadline=None)
def test_any_life_keeps_the_index_true(sizes, seed, steps, few, unit):
    life = Life(state_of(sizes), seed, few_tokens=few, unit=unit).live(steps)
    assert_books_agree(life)
    assert_index_is_fresh(life.state)


@given(seed=st.integers(0, 10**6), max_batch=st.integers(1, 3), max_queue=st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_small_fleets_at_every_change(seed, max_batch, max_queue):
    """One to four replicas, so that all are often closed, or full, or empty at once."""
    rng = np.random.default_rng(seed)
    state = state_of([int(rng.integers(1, 5))], max_batch=max_batch, max_queue=max_queue)
    life = Life(state, seed, few_tokens=True)
    for _ in range(40):
        life.live(1)
        assert_books_agree(life)
    assert_index_is_fresh(state)


@pytest.mark.parametrize("size", BORDERS)
def test_word_borders(size):
    """Fill up every replica and empty them in another order: true at every tenth change."""
    state = state_of([size], max_batch=1, max_queue=1)
    life = Life(state, size)
    for round_ in range(2):
        for at, replica in enumerate(life.rng.permutation(size).tolist()):
            enter(state, replica, 10 + round_, 0)
            life.held[replica].append([10 + round_, 0])
            if at % 10 == 0:
                assert_books_agree(life)
    for replica in life.rng.permutation(size).tolist():
        close_replica(state, replica)
        life.open[replica] = False
    assert_books_agree(life)
    life.end_all()
    life.open = [True] * size
    assert_books_agree(life)
    assert_index_is_fresh(state)


def test_a_full_life_comes_back_to_idle():
    state, fresh = state_of([65, 3, 130]), state_of([65, 3, 130])
    fresh.pending_unit[0] = 100
    Life(state, 0).live(500).end_all()
    for name in state._fields:
        assert getattr(state, name).tobytes() == getattr(fresh, name).tobytes(), name


def test_opening_the_open_and_closing_the_closed_does_nothing():
    state = state_of([3])
    before = copy.deepcopy(state)
    open_replica(state, 1)
    assert all((ours == theirs).all() for ours, theirs in zip(state, before, strict=True))
    close_replica(state, 1)
    closed = copy.deepcopy(state)
    close_replica(state, 1)
    assert all((ours == theirs).all() for ours, theirs in zip(state, closed, strict=True))


def test_with_all_closed_there_is_nobody():
    state = state_of([70])
    for replica in range(70):
        close_replica(state, replica)
    assert state.open_count.tolist() == [0]
    assert fewest_tokens(state, 0) == -1
    assert first_with_few_tokens(state, 0, math.inf) == -1
    assert lowest_at_level(state, 0, 0) == -1
    open_replica(state, 66)
    assert (fewest_tokens(state, 0), lowest_at_level(state, 0, 0)) == (66, 66)


def test_what_a_closed_replica_holds_runs_to_its_end():
    state = state_of([2])
    enter(state, 0, 50, 2)
    close_replica(state, 0)
    assert (state.in_flight[0], state.tokens[0], state.level[0]) == (1, 50, 3)
    assert lowest_at_level(state, 0, 3) == -1
    first_token(state, 0, 2)
    assert state.level[0] == 1
    open_replica(state, 0)
    assert lowest_at_level(state, 0, 1) == 0, "it comes back at its present level"
    leave(state, 0, 50)
    assert lowest_at_level(state, 0, 0) == 0


def test_prompts_load_a_replica_until_their_first_token():
    state = state_of([1], max_batch=8, max_queue=0)
    assert pending_levels(state, 1000) == 0, "a policy that does not ask for it"
    state.pending_unit[0] = 256
    assert [pending_levels(state, n) for n in (0, 1, 256, 257, 1000)] == [0, 1, 1, 2, 4]
    enter(state, 0, 1250, 4)
    assert (state.in_flight[0], state.pending[0], state.level[0]) == (1, 4, 5)
    first_token(state, 0, 4)
    assert (state.in_flight[0], state.pending[0], state.level[0]) == (1, 0, 1)


def test_prompts_alone_do_not_fill_a_replica():
    """A replica of 8 seats with one long prompt once counted as full: with all of them so, requests
    were refused that had room.
    """
    state = state_of([1], max_batch=8, max_queue=0)
    enter(state, 0, 10, 20)
    assert state.level[0] == 7
    for _ in range(6):
        enter(state, 0, 10, 0)
        assert state.level[0] == 7
    enter(state, 0, 10, 0)
    assert (state.in_flight[0], state.level[0]) == (8, 8), "full by requests"
    leave(state, 0, 10)
    assert state.level[0] == 7
    first_token(state, 0, 20)
    assert state.level[0] == 7


def test_a_type_without_replicas_has_nobody():
    state = state_of([0, 2])
    assert fewest_tokens(state, 0) == -1
    assert first_with_few_tokens(state, 0, math.inf) == -1
    assert lowest_at_level(state, 0, 0) == -1
    assert fewest_tokens(state, 1) == 0


@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize("tokens", [False, True])
def test_an_index_switched_on_is_built_anew(levels, tokens):
    """What happens while an index is off is not lost: requests, first tokens, doors."""
    state = state_of([70, 3])
    keep_index(state, levels=levels, tokens=tokens)
    life = Life(state, 5).live(200)
    keep_index(state, levels=True, tokens=True)
    assert_books_agree(life)
    life.live(50)
    assert_books_agree(life)


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_plain_twins_keep_the_same_index():
    compiled, written = state_of([5, 70]), state_of([5, 70])
    Life(compiled, 4, unit=50).live(400)
    Life(written, 4, unit=50, plainly=True).live(400)
    for name in compiled._fields:
        assert (getattr(compiled, name) == getattr(written, name)).all(), name
    for kind in range(2):
        assert fewest_tokens(compiled, kind) == plain(fewest_tokens)(written, kind)
        for most in (0.0, 900.0, 1e9):
            found = plain(first_with_few_tokens)(written, kind, most)
            assert first_with_few_tokens(compiled, kind, most) == found
        for level in range(5):
            found = plain(lowest_at_level)(written, kind, level)
            assert lowest_at_level(compiled, kind, level) == found


def test_what_is_learnt_moves_by_a_hundredth():
    state = state_of([1])
    learn(state, 0, 2000.0, 350.0)
    assert state.traffic[0].input_tokens == pytest.approx(1010.0)
    assert state.traffic[0].output_tokens == pytest.approx(251.0)
    for _ in range(2000):
        learn(state, 0, 40.0, 7.0)
    assert state.traffic[0].input_tokens == pytest.approx(40.0, rel=1e-6)
    assert state.traffic[0].output_tokens == pytest.approx(7.0, rel=1e-6)


def test_what_is_learnt_of_a_class_and_bucket_is_forecast():
    """The table of ``workload.lengths``, in the row of the class and the bucket of the prompt."""
    fleet = Fleet(types=(replica_type(),), replicas=(1,))
    state = fleet.state(classes=2)
    prior = forecast_length(state.forecast, 0, bucket_of(100))
    for _ in range(500):
        learn(state, 1, 100.0, 30.0)
    assert forecast_length(state.forecast, 0, bucket_of(100)) == prior, "another class"
    mean, spread, _ = forecast_length(state.forecast, 1, bucket_of(100))
    assert mean == pytest.approx(30.0, rel=0.05)
    assert spread < 60.0
    assert state.forecast[1, WHOLE_CLASS].count == pytest.approx(520.0)


def test_the_rate_of_prompts_is_a_mean_over_two_seconds():
    """Prompts of 100 tokens every 10 ms to one of two busy replicas: 5,000 tokens a second each."""
    state = state_of([3, 1])
    enter(state, 0, 10, 0)
    enter(state, 1, 10, 0)
    for at in range(2000):
        take_in(state, 0, 100.0, 0.01 * at)
    assert state.limits[0].prompt_tokens_per_s == pytest.approx(5000.0, rel=0.01)
    assert state.limits[1].prompt_tokens_per_s == 0.0
    assert state.clock[0] == pytest.approx(19.99)
    before = state.limits[0].prompt_tokens_per_s
    take_in(state, 1, 100.0, 21.99)
    assert state.limits[0].prompt_tokens_per_s == pytest.approx(before * math.exp(-1.0))
    assert state.limits[1].prompt_tokens_per_s == pytest.approx(50.0)


def test_the_clock_of_prompts_never_goes_back():
    state = state_of([1])
    take_in(state, 0, 100.0, 5.0)
    take_in(state, 0, 100.0, 4.0)
    assert state.clock[0] == 5.0
    assert state.limits[0].prompt_tokens_per_s == pytest.approx(100.0)


def test_limits_say_what_a_type_takes():
    fleet = Fleet(types=(replica_type(kv_tokens=500, max_batch=4),), replicas=(1,))
    state = fleet.state(max_queue=3)
    assert state.limits[0].max_in_flight == 7
    assert state.limits[0].max_input_tokens == 500
    assert state.limits[0].model == 0


def test_the_frugal_type_is_the_one_with_the_lowest_cap():
    kinds = tuple(replica_type(f"t{cap}", power_w_cap=float(cap)) for cap in (300, 200, 200, 700))
    state = Fleet(types=kinds, replicas=(1, 1, 1, 1)).state()
    assert state.limits.frugal.tolist() == [0, 1, 1, 0]
