"""A reference in place of arrays: the same arrays, kept alive, and the same answers."""

from __future__ import annotations

import gc

import msgspec
import numpy as np

from baseload.fleet.physics import replica_type
from baseload.gateway import decision, live_kernels
from baseload.gateway.config import GatewayConfig
from baseload.gateway.live_fleet import Lane, LiveFleet
from baseload.routing.price import request_row

SAID = {
    "models": [{"name": "m"}],
    "replicas": [{"model": "m", "urls": ["http://a:1", "http://b:1", "http://c:1"]}],
}
KIND = replica_type(device="L4-24GB", model="meta-llama/Llama-3.1-8B")
WISHES = (0, 0, 100.0, np.inf, 2.0, 0.5, np.inf, 0.0, 10.0, -1, 0.0)


def arrays():
    """State, policy, book and scratch of a small fleet."""
    live = LiveFleet(msgspec.convert(SAID, GatewayConfig), [KIND])
    state = live.state()
    policy = live.policy_state(state)
    live.lanes.append(Lane(tier=0, allowed=(0,)))
    live.fill(policy, 0)
    book = decision.book(state, options=len(live.options), kept=4)
    return state, policy, book, request_row(input_tokens=1, output_tokens=1)


def test_a_reference_decides_as_the_arrays_do():
    """Whole requests through both: the same replicas, joules and books, to the last bit."""
    state, policy, book, scratch = arrays()
    theirs = arrays()
    live = live_kernels.live_state(*theirs)
    for turn in range(20):
        now_s = 1.0 + turn
        one = decision.route(state, policy, book, scratch, turn % 4, *WISHES, now_s)
        other = live_kernels.route(live, turn % 4, *WISHES, now_s)
        assert one == other
        replica = one[1]
        said = book.said[turn % 4]
        tokens, pending = int(said[decision.TOKENS]), int(said[decision.PENDING])
        steps = decision.begin(state, book, replica, pending, now_s + 0.1)
        assert live_kernels.begin(live, replica, pending, now_s + 0.1) == steps
        if turn % 3:
            learnt = (0, 30.0, turn % 2 == 0)
            rest = (tokens, 0, 100.0, 90.0, 80.0, 30.0, said[decision.SHARED_J], 0.0, *learnt)
            joules = decision.end(state, book, replica, *rest, now_s + 0.5)
            assert live_kernels.end(live, replica, *rest, now_s + 0.5) == joules
    for mine, other in zip((*state, *book), (*theirs[0], *theirs[2]), strict=True):
        assert np.asarray(mine).tobytes() == np.asarray(other).tobytes()


def test_what_is_written_to_the_arrays_is_seen_through_the_reference():
    state, policy, book, scratch = arrays()
    live = live_kernels.live_state(state, policy, book, scratch)
    state.open[:] = False
    state.open[2] = True
    now = live_kernels.route(live, 0, *WISHES, 1.0)
    assert now[1] == decision.route(state, policy, book, scratch, 1, *WISHES, 1.0)[1]


def test_a_reference_keeps_its_arrays():
    """The arrays of a fleet that only its reference knows are not freed under it."""
    live = live_kernels.live_state(*arrays())
    gc.collect()
    filler = [np.full(1000, np.nan) for _ in range(100)]
    assert live_kernels.route(live, 0, *WISHES, 1.0)[1] >= 0
    del filler
