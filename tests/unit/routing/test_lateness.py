"""Expected lateness and what it is made of: normal excesses against integration, laws, numbers by
hand.

A part of ``routing.estimate``; joules and plain seconds are in ``test_estimate``.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from baseload.base.kernels import plain
from baseload.routing.estimate import (
    expected_excess,
    expected_lateness_s,
    expected_s,
    headroom_frac,
    late_frac,
    laxity_s,
    loaded_step_s,
    prefill_s,
    rate_per_s,
    seats,
    step_s,
    step_spread_s,
    wait_s,
)
from baseload.routing.price import request_row
from baseload.testing import strategies
from baseload.testing.fleets import Fleet, replica_type

LENGTHS = st.floats(1, 4000)
ROOMY = replica_type(max_batch=32, kv_tokens=10**6, power_w_cap=1e6)


def seen(kind=ROOMY, *, input_tokens=1000.0, output_tokens=250.0):
    """Cost, limits and traffic of a type after so much has been learnt."""
    state = Fleet(types=(kind,), replicas=(1,)).state()
    traffic = state.traffic[0]
    traffic["input_tokens"], traffic["output_tokens"] = input_tokens, output_tokens
    return state.cost[0], state.limits[0], traffic


def lateness(kind_seen, in_flight, request):
    return expected_lateness_s(
        *kind_seen, in_flight, request, request.output_tokens, request.output_spread
    )


promises = st.fixed_dictionaries(
    {
        "input_tokens": LENGTHS,
        "output_tokens": LENGTHS,
        "output_spread": st.floats(0, 4000),
        "ttft_s": st.one_of(st.just(math.inf), st.floats(1e-3, 5)),
        "tpot_s": st.one_of(st.just(math.inf), st.floats(1e-3, 0.5)),
        "e2e_s": st.one_of(st.just(math.inf), st.floats(1e-2, 600)),
    }
)


# --- a normal past a limit ------------------------------------------------------------------------


@given(mean=st.floats(-5, 5), spread=st.floats(1e-3, 3), limit=st.floats(-5, 5))
@settings(max_examples=60, deadline=None)
def test_the_excess_is_the_integral_over_the_tail(mean, spread, limit):
    tail = stats.norm(mean, spread)
    low, high = max(limit, mean - 10 * spread), max(limit, mean) + 10 * spread
    expected, _ = integrate.quad(lambda x: (x - limit) * tail.pdf(x), low, high, limit=200)
    assert expected_excess(mean, spread, limit) == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert late_frac(mean, spread, limit) == pytest.approx(tail.sf(limit), abs=2e-9)


@pytest.mark.parametrize(
    ("mean", "spread", "limit", "excess", "late"),
    [
        (2.0, 0.0, 1.5, 0.5, 1.0),
        (1.5, 0.0, 1.5, 0.0, 0.0),
        (1.0, 0.0, 1.5, 0.0, 0.0),
        (1.0, 2.0, math.inf, 0.0, 0.0),
        (100.0, 1.0, 0.0, 100.0, 1.0),
        (0.0, 1.0, 0.0, 1 / math.sqrt(2 * math.pi), 0.5),
    ],
)
def test_the_excess_at_its_edges(mean, spread, limit, excess, late):
    assert expected_excess(mean, spread, limit) == pytest.approx(excess)
    assert late_frac(mean, spread, limit) == pytest.approx(late)


@given(mean=st.floats(0, 10), spread=st.floats(0, 5), limit=st.floats(0, 10), more=st.floats(0, 5))
@settings(max_examples=100, deadline=None)
def test_the_excess_rises_with_mean_and_spread_and_falls_with_the_limit(mean, spread, limit, more):
    found, slack = expected_excess(mean, spread, limit), 1e-8 * (1 + spread + more)
    assert found >= max(0.0, mean - limit) - slack, "no less than without spread"
    assert expected_excess(mean + more, spread, limit) >= found - slack
    assert expected_excess(mean, spread + more, limit) >= found - slack
    assert expected_excess(mean, spread, limit + more) <= found + slack
    assert 0.0 <= late_frac(mean, spread, limit) <= 1.0


# --- steps under prompts --------------------------------------------------------------------------


@given(
    kind=strategies.replica_types(),
    lengths=st.tuples(LENGTHS, LENGTHS),
    running=st.integers(1, 12),
    prompts=st.floats(0, 1e5),
)
@settings(max_examples=80, deadline=None)
def test_prompts_beyond_the_steady_state_only_lengthen_steps(kind, lengths, running, prompts):
    cost, limits, traffic = seen(kind, input_tokens=lengths[0], output_tokens=lengths[1])
    limits["prompt_tokens_per_s"] = prompts
    loaded = loaded_step_s(cost, limits, float(running), traffic)
    assert loaded >= step_s(cost, float(running), traffic) * (1 - 1e-12)
    limits["prompt_tokens_per_s"] = 2 * prompts
    assert loaded_step_s(cost, limits, float(running), traffic) >= loaded


def test_a_replica_half_busy_with_prompts_decodes_at_half_speed():
    """25,000 prompt tokens a second at 20 us each are half of the time; two sequences of 1,125
    tokens take 10 + 1 + 2.25 ms.
    """
    cost, limits, traffic = seen()
    limits["prompt_tokens_per_s"] = 25_000.0
    assert loaded_step_s(cost, limits, 2.0, traffic) == pytest.approx(2 * 0.01325)
    limits["prompt_tokens_per_s"] = 1e9
    assert loaded_step_s(cost, limits, 2.0, traffic) == pytest.approx(20 * 0.01325)


def test_the_spread_of_a_step_by_hand():
    """Five running, 250 tokens each: 4 / 250 prompts a step of 20 ms, spread out as much as their
    mean; over 100 steps the mean spreads a tenth of that.
    """
    cost, _, traffic = seen()
    one = math.sqrt(2 * 4 / 250) * 0.02
    assert step_spread_s(cost, 5.0, traffic, 1.0) == pytest.approx(one)
    assert step_spread_s(cost, 5.0, traffic, 100.0) == pytest.approx(one / 10)
    assert step_spread_s(cost, 1.0, traffic, 1.0) == 0.0


def test_the_spread_of_a_step_is_that_of_poisson_prompts():
    """A simulation of what the formula says: Poisson prompts, exponential lengths."""
    cost, _, traffic = seen()
    rng = np.random.default_rng(3)
    counts = rng.poisson(4 / 250, size=(20_000, 50))
    joined_s = rng.gamma(np.maximum(counts, 1e-12), 0.02).mean(axis=1)
    assert step_spread_s(cost, 5.0, traffic, 50.0) == pytest.approx(joined_s.std(), rel=0.05)


# --- expected lateness ----------------------------------------------------------------------------


def test_without_promises_nothing_is_late():
    request = request_row(input_tokens=4000.0, output_tokens=4000.0, output_spread=4000.0)[0]
    for in_flight in (0, 1, 31, 500):
        assert lateness(seen(), in_flight, request) == 0.0


@given(kind=strategies.replica_types(), lengths=st.tuples(LENGTHS, LENGTHS), promised=promises)
@settings(max_examples=100, deadline=None)
def test_lateness_is_a_number_of_seconds_and_its_plain_twin_agrees(kind, lengths, promised):
    found = seen(kind, input_tokens=lengths[0], output_tokens=lengths[1])
    request = request_row(**promised)[0]
    arguments = (request, request.output_tokens, request.output_spread)
    for in_flight in (0, 3, 40):
        late_s = expected_lateness_s(*found, in_flight, *arguments)
        assert math.isfinite(late_s)
        assert late_s >= 0.0
        written = plain(expected_lateness_s)(*found, in_flight, *arguments)
        assert late_s == pytest.approx(written, rel=1e-9, abs=1e-12)


@given(promised=promises, prompts=st.sampled_from([0.0, 2e4]))
@settings(max_examples=80, deadline=None)
def test_lateness_rises_with_the_load(promised, prompts):
    """On a dense type below its cap, whatever is promised."""
    found = seen()
    found[1]["prompt_tokens_per_s"] = prompts
    request = request_row(**promised)[0]
    late_s = [lateness(found, in_flight, request) for in_flight in range(80)]
    assert (np.diff(late_s) >= -1e-8 * np.array(late_s[1:]) - 1e-9).all()


@given(promised=promises, in_flight=st.integers(0, 60), factor=st.floats(1, 10))
@settings(max_examples=80, deadline=None)
def test_looser_promises_are_broken_less(promised, in_flight, factor):
    names = ("ttft_s", "tpot_s", "e2e_s")
    looser = promised | {name: factor * promised[name] for name in names}
    tight, loose = (
        lateness(seen(), in_flight, request_row(**fields)[0]) for fields in (promised, looser)
    )
    assert loose <= tight * (1 + 1e-9) + 1e-8 * 4000


def test_late_tokens_count_each():
    """Alone in the replica nothing spreads: 10.5 ms and 1.125 ms of context a token, promised 5 ms,
    the own prompt of 20 ms spread over a mean answer of 250; 100 tokens are late by that.
    """
    request = request_row(input_tokens=1000.0, output_tokens=100.0, tpot_s=0.005)[0]
    token_s = 0.011625 + 0.02 / 250
    assert lateness(seen(), 0, request) == pytest.approx(100 * (token_s - 0.005))


def test_neighbours_are_held_up_by_the_prompt():
    """Ten neighbours, all late: each waits for the prompt once more."""
    found = seen()
    short, long = (
        request_row(input_tokens=tokens, output_tokens=1.0, tpot_s=1e-4)[0]
        for tokens in (1000.0, 2000.0)
    )
    more_s = lateness(found, 10, long) - lateness(found, 10, short)
    own_s = 0.02 / 250  # its own token is later too
    assert more_s == pytest.approx(10 * 0.02 + own_s)


def test_neighbours_that_are_in_time_do_not_mind():
    found = seen()
    request = request_row(input_tokens=2000.0, output_tokens=1.0, tpot_s=10.0)[0]
    assert lateness(found, 10, request) == 0.0


def test_a_first_token_is_late_by_wait_step_and_prompt():
    """Beyond the seats a request waits for others to end; the spread hardly counts so far out."""
    cost, limits, traffic = found = seen()
    request = request_row(input_tokens=1000.0, output_tokens=10.0, ttft_s=0.5)[0]
    wait = wait_s(cost, limits, traffic, 60)
    assert wait > 2.0
    first_s = wait + step_s(cost, 32.0, traffic) + 0.02
    assert lateness(found, 60, request) == pytest.approx(first_s - 0.5)


def test_a_whole_answer_is_late_by_its_mean_and_spread():
    """Half a mean answer is allowed; with an uncertain length more is expected past the limit."""
    cost, limits, traffic = found = seen()
    lengths = {"input_tokens": 1000.0, "output_tokens": 1000.0}
    whole_s = lengths["output_tokens"] * step_s(cost, 1.0, traffic)
    sure = request_row(**lengths, e2e_s=0.5 * whole_s)[0]
    first_s = step_s(cost, 1.0, traffic) + prefill_s(cost, limits, traffic, 0, 1000.0)
    assert lateness(found, 0, sure) == pytest.approx(first_s + 0.5 * whole_s)
    unsure = request_row(**lengths, output_spread=800.0, e2e_s=0.5 * whole_s)[0]
    assert lateness(found, 0, unsure) > lateness(found, 0, sure)
    easy = request_row(**lengths, e2e_s=2 * whole_s)[0]
    assert lateness(found, 0, easy) == 0.0


# --- headroom and laxity --------------------------------------------------------------------------


def test_the_headroom_by_hand():
    """Alone: a step of 11.625 ms, a prompt of 20 ms: 31.625 of 63.25 ms, 11.625 of 46.5 ms left."""
    found = seen()
    assert headroom_frac(*found, 0, 1000.0, 0.06325, 0.0465, 0.8, 0.0) == pytest.approx(
        0.8 * 0.5 + 0.2 * 0.75
    )
    assert headroom_frac(*found, 0, 1000.0, math.inf, 0.0465, 0.8, 0.0) == pytest.approx(0.95)
    assert headroom_frac(*found, 0, 1000.0, math.inf, math.inf, 0.8, 0.0) == 1.0
    assert headroom_frac(*found, 0, 1000.0, 0.031625 / 2, 0.0465, 0.8, 0.0) == pytest.approx(-1.0)
    assert headroom_frac(*found, 0, 1000.0, 0.06325, 0.011625 / 3, 0.8, 0.0) == pytest.approx(-2.0)
    kept_free = headroom_frac(*found, 0, 1000.0, 0.06325, 0.0465, 0.8, 0.6)
    assert kept_free == pytest.approx(0.5 - 0.6), "half of the first token's is left, not 0.6"


@given(ttft_s=st.floats(1e-3, 5), tpot_s=st.floats(1e-3, 1), weight=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_headroom_falls_with_the_load_and_is_kept_or_broken(ttft_s, tpot_s, weight):
    cost, limits, traffic = found = seen()
    left = [headroom_frac(*found, n, 500.0, ttft_s, tpot_s, weight, 0.0) for n in range(60)]
    assert max(left) <= 1.0
    assert (np.diff(left) <= 1e-12).all()
    for in_flight in (0, 20, 59):
        running = min(in_flight + 1.0, seats(limits, traffic))
        token_s = step_s(cost, running, traffic)
        first_s = wait_s(cost, limits, traffic, in_flight) + token_s + 0.01
        kept = first_s <= ttft_s * (1 - 1e-9) and token_s <= tpot_s * (1 - 1e-9)
        broken = first_s >= ttft_s * (1 + 1e-9) or token_s >= tpot_s * (1 + 1e-9)
        assert (left[in_flight] >= 0.0) if kept else (not broken or left[in_flight] < 0.0)


def test_laxity_is_what_the_deadline_leaves_beside_the_service_alone():
    cost, limits, traffic = found = seen()
    request = request_row(input_tokens=1000.0, output_tokens=100.0, deadline_s=5.0)[0]
    alone_s = expected_s(cost, limits, traffic, 0, 1000.0, 100.0)
    assert laxity_s(*found, request) == pytest.approx(5.0 - alone_s)
    assert alone_s == pytest.approx(0.02 + 100 * 0.011625)
    never = request_row(input_tokens=1000.0, output_tokens=100.0)[0]
    assert laxity_s(*found, never) == math.inf


@given(
    kind=strategies.replica_types(),
    lengths=st.tuples(LENGTHS, LENGTHS),
    promised=promises,
    in_flight=st.integers(0, 40),
)
@settings(max_examples=60, deadline=None)
def test_kernels_are_their_plain_twins(kind, lengths, promised, in_flight):
    cost, limits, traffic = seen(kind, input_tokens=lengths[0], output_tokens=lengths[1])
    limits["prompt_tokens_per_s"] = 3000.0
    request = request_row(**promised)[0]
    running, prompt = in_flight + 1.0, promised["input_tokens"]
    for kernel, arguments in (
        (loaded_step_s, (cost, limits, running, traffic)),
        (step_spread_s, (cost, running, traffic, prompt)),
        (expected_excess, (0.3, 0.1, 0.25)),
        (expected_excess, (promised["output_tokens"], 3.0, prompt)),
        (late_frac, (0.3, 0.1, 0.25)),
        (rate_per_s, (cost, running, traffic)),
        (wait_s, (cost, limits, traffic, in_flight)),
        (prefill_s, (cost, limits, traffic, in_flight, prompt)),
        (laxity_s, (cost, limits, traffic, request)),
        (headroom_frac, (cost, limits, traffic, in_flight, prompt, 2.0, 0.1, 0.8, 0.1)),
    ):
        ours, theirs = kernel(*arguments), plain(kernel)(*arguments)
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12), kernel
