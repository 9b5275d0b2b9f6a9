"""The kernels of a live decision: plain twins, the simulator's own pick, meters that add up."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_fleets import Told, config_of, fleet_of, same
from tests.faults.books import check_index

from baseload.base.kernels import plain
from baseload.fleet.step import step
from baseload.gateway import decision, events
from baseload.gateway.config import ReplicasEntry
from baseload.gateway.decision import NOBODY, PENDING, SATURATED, TOKENS, WAIT_S
from baseload.gateway.live_fleet import LiveFleet
from baseload.gateway.replicas import Replicas
from baseload.routing.estimate import seats
from baseload.routing.pick import pick, pick_scan
from baseload.routing.price import request_row
from baseload.testing.fleets import replica_type

POLICIES = ("baseload:rate_quality=1", "least_loaded", "least_tokens", "energy_greedy")


def replicas_of(policy: str = "baseload:rate_quality=1", *, count: int = 3) -> Replicas:
    """A fleet of two types, an interactive lane 0 and a bulk lane 1."""
    entries = (
        ReplicasEntry(model="m", urls=tuple(f"http://a{n}" for n in range(count)), max_queue=8),
        ReplicasEntry(model="m", urls=tuple(f"http://b{n}" for n in range(count)), max_queue=8),
    )
    kinds = [
        replica_type("a"),
        replica_type("b", time_s_per_step=0.03, energy_j_per_step=1.5, max_batch=4),
    ]
    live = LiveFleet(config_of(policy=policy, replicas=entries), kinds)
    told = Told(live)
    told.lane(0)
    told.lane(1)
    return told.core.replicas


def route(replicas: Replicas, *, using: object = decision.route, **changes: object) -> tuple:
    """A decision, by the kernel or its twin."""
    given = {
        "slot": 0,
        "lane": 0,
        "tier": 0,
        "input_tokens": 100.0,
        "cap_tokens": math.inf,
        "ttft_s": 2.0,
        "tpot_s": 0.1,
        "e2e_s": math.inf,
        "waited_s": 0.0,
        "most_wait_s": 2.0,
        "favourite": -1,
        "known_tokens": 0.0,
        "now_s": 0.0,
    } | changes
    scratch = request_row(input_tokens=1, output_tokens=1)
    return using(replicas.state, replicas.policy, replicas.book, scratch, *given.values())


def twin_of(replicas: Replicas) -> Replicas:
    """The same fleet once more."""
    found = copy.copy(replicas)
    found.state = copy.deepcopy(replicas.state)
    found.policy = copy.deepcopy(replicas.policy)
    found.book = copy.deepcopy(replicas.book)
    return found


def equal(left: object, right: object) -> bool:
    """Whether two structs of arrays are the same, to rounding."""
    if isinstance(left, tuple):
        return all(equal(a, b) for a, b in zip(left, right, strict=True))
    if left.dtype.names:
        return all(equal(left[name], right[name]) for name in left.dtype.names)
    return bool(np.allclose(left, right, rtol=1e-12, atol=1e-12, equal_nan=True))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_plain_decision_is_the_compiled_one(policy: str) -> None:
    replicas, draw = replicas_of(policy), random.Random(5)
    for number in range(24):
        asked = {
            "lane": draw.randrange(2),
            "tier": draw.randrange(2),
            "input_tokens": draw.choice((10.0, 100.0, 900.0)),
            "cap_tokens": draw.choice((math.inf, 64.0)),
            "most_wait_s": draw.choice((0.0, 2.0, math.inf)),
            "favourite": draw.choice((-1, 0, 4)),
            "known_tokens": 50.0,
            "now_s": 0.1 * number,
        }
        other = twin_of(replicas)
        assert route(replicas, **asked) == route(other, using=plain(decision.route), **asked)
        assert equal(replicas.state, other.state)
        assert equal(replicas.book, other.book)
        check_index(replicas)


@pytest.mark.parametrize(("lane", "cut"), [(-1, False), (0, False), (1, True)])
def test_plain_ends_are_the_compiled_ones(lane: int, cut: bool) -> None:
    replicas = replicas_of()
    _, replica = route(replicas)
    said = replicas.book.said[0]
    other = twin_of(replicas)
    for fleet, using in ((replicas, lambda f: f), (other, plain)):
        state, book = fleet.state, fleet.book
        using(decision.begin)(state, book, replica, int(said[PENDING]), 0.5)
        using(decision.load)(state, book, replica, 5, 900, 0.7)
        using(decision.end)(
            state, book, replica, int(said[TOKENS]), 0, 100.0, 90.0, 40.0, 30.0, 0.0, 0.0,
            lane, 25.0, cut, 1.5,
        )  # fmt: skip
        book.pace[:] = 1.3
        using(decision.correct)(state, book, 0)
        fleet.total_j = using(decision.read)(state, book, 2.5)
    assert replicas.total_j == pytest.approx(other.total_j, rel=1e-12)
    assert equal(replicas.state, other.state)
    assert equal(replicas.book, other.book)


@pytest.mark.parametrize("policy", POLICIES)
def test_it_goes_where_routing_would_send_it(policy: str) -> None:
    """The same pick as in the simulator, for the same state."""
    replicas, draw = replicas_of(policy), random.Random(9)
    for number in range(40):
        tokens = draw.choice((10.0, 100.0, 900.0))
        tier = draw.randrange(2)
        row = request_row(input_tokens=1, output_tokens=1)
        plain(decision._describe)(
            replicas.state, replicas.policy, row[0], tier, tier, tokens, math.inf,
            2.0, 0.1, math.inf, 0.0,
        )  # fmt: skip
        before = twin_of(replicas)
        expected = pick(before.state, before.policy, row[0])
        assert expected == pick_scan(before.state, before.policy, row[0])
        found = route(
            replicas, lane=tier, tier=tier, input_tokens=tokens, most_wait_s=math.inf,
            now_s=0.01 * number,
        )  # fmt: skip
        assert found == expected


def test_one_that_is_not_taken_changes_nothing() -> None:
    replicas = replicas_of("energy_greedy", count=1)
    while route(replicas, most_wait_s=0.0)[1] >= 0:
        pass
    before = twin_of(replicas)
    assert route(replicas, most_wait_s=0.0)[1] == SATURATED
    assert route(replicas, most_wait_s=1e-9)[1] == SATURATED
    assert route(replicas, input_tokens=1e6)[1] == NOBODY
    before.book.said[:] = replicas.book.said
    before.book.tried[:] = replicas.book.tried
    assert equal(before.state, replicas.state)
    assert equal(before.book, replicas.book)


def test_where_the_cheapest_is_full_the_next_is_taken_unless_it_may_wait() -> None:
    """A policy that does not look at waiting would refuse people while others are idle."""
    replicas = replicas_of("baseload:rate_lateness=0")
    full = -1
    while full < 0:
        before = twin_of(replicas)
        _, replica = route(replicas, most_wait_s=math.inf)
        pending = int(replicas.book.said[0, PENDING])
        decision.begin(replicas.state, replicas.book, replica, pending, 0.0)
        if replicas.book.said[0, WAIT_S] > 2.0:
            full = replica
    replicas = before
    assert replicas.state.in_flight.min() == 0, "others are idle"
    kept = replicas.state.limits.max_in_flight.copy()
    assert route(replicas, most_wait_s=0.0)[1] == SATURATED
    assert route(replicas, most_wait_s=2.0)[1] not in (full, NOBODY, SATURATED)
    assert replicas.book.said[0, WAIT_S] <= 2.0
    assert (replicas.state.limits.max_in_flight == kept).all()


@given(
    sequences=st.integers(1, 60),
    inputs=st.floats(1.0, 3000.0),
    outputs=st.floats(1.0, 3000.0),
)
def test_flows_are_the_power_of_the_steps(sequences: int, inputs: float, outputs: float) -> None:
    """What all requests draw together is a step's joules over its seconds: at most the cap."""
    replicas = replicas_of()
    state = replicas.state
    state.traffic[0] = (inputs, outputs)
    cost, limits, traffic = state.cost[0], state.limits[0], state.traffic[0]
    shared_w, own_w, pace = decision.flows(cost, limits, traffic, sequences)
    assert shared_w >= 0.0
    assert own_w > 0.0
    running = min(float(sequences), seats(limits, traffic))
    time_s, energy_j = step(cost, running, running * (inputs + 0.5 * outputs), 0.0)
    assert pace * sequences <= running / time_s * (1 + 1e-9)
    assert (shared_w + own_w) * sequences <= energy_j / time_s * (1 + 1e-9)
    assert (shared_w + own_w) / pace * running == pytest.approx(energy_j, rel=1e-9)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["arrive", "arrive", "first", "end", "left", "others", "sampled", "sleep"]),
        st.integers(0, 40),
        st.floats(0.0, 3.0),
        st.integers(0, 400),
    ),
    max_size=50,
)


@settings(max_examples=60)
@given(STEPS)
def test_receipts_and_idle_power_are_what_was_drawn(
    steps: list[tuple[str, int, float, int]],
) -> None:
    """Law 2, over any history: nothing is drawn that nobody is charged with, but idle power."""
    told = Told(fleet_of(config_of(3, policy="baseload:rate_quality=1")))
    receipts_j, now_s = 0.0, 0.0
    for what, which, after_s, count in steps:
        now_s += after_s
        here = [one.request for one in told.core.lives.values() if one.running]
        request = here[which % len(here)] if here else -1
        attempt = told.core.lives[request].attempt if here else 0
        said = []
        if what == "arrive":
            said = told.arrive(which % 2, at_s=now_s, input_tokens=1.0 + 4 * count, stream=True)
        elif what == "others":
            numbers = [which % 5, which % 3, which]
            said = told.tell(events.Others(in_flight=numbers, tokens=[9 * n for n in numbers]))
        elif what == "sampled":
            for _ in range(2):
                said += told.tell(events.Sampled(replica=which % 3, running=float(count)), now_s)
        elif what == "sleep":
            said = told.tell(events.Woken(replica=which % 3, awake=bool(count % 2)), now_s)
        elif here and what == "first":
            progressed = events.Progressed(request=request, attempt=attempt, tokens=1 + count)
            said = told.tell(progressed, now_s)
        elif here and what == "end":
            ended = events.Ended(
                request=request,
                attempt=attempt,
                input_tokens=count * 3,
                output_tokens=count,
                cached_tokens=count,
            )
            said = told.tell(ended, now_s)
        elif here:
            said = told.tell(events.Left(request=request), now_s)
        receipts_j += sum(one.energy_j for one in said if isinstance(one, events.Close))
    for life in list(told.core.lives.values()):
        for one in told.tell(events.Left(request=life.request), now_s + 1.0):
            if isinstance(one, events.Close):
                assert one.energy_j >= 0.0
                receipts_j += one.energy_j
    at_ns = round((now_s + 2.0) * 1e9)
    replicas = told.core.replicas
    assert same(replicas.drawn_j(at_ns), receipts_j + replicas.idle_j(at_ns))


def test_a_corrected_cost_keeps_its_dynamic_joules() -> None:
    replicas = replicas_of()
    state, book = replicas.state, replicas.book
    base = book.base_cost[0].copy()
    book.pace[0] = 1.6
    decision.correct(state, book, 0)
    cost = state.cost[0]
    for term in ("step", "sequence", "context_token", "prefill_token"):
        time_s, energy_j = cost[f"time_s_per_{term}"], cost[f"energy_j_per_{term}"]
        assert time_s == pytest.approx(1.6 * base[f"time_s_per_{term}"])
        dynamic_j = energy_j - base.power_w_active_static * time_s
        before_j = base[f"energy_j_per_{term}"]
        before_j -= base.power_w_active_static * base[f"time_s_per_{term}"]
        assert dynamic_j == pytest.approx(before_j)
    book.pace[0] = 1.0
    decision.correct(state, book, 0)
    assert equal(state.cost[0:1], book.base_cost[0:1])
