"""Sizes against brute force, and by their laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from baseload.base.kernels import plain
from baseload.fleet.step import step
from baseload.routing.estimate import rate_per_s, seats, step_s, step_spread_s
from baseload.routing.fleet_state import PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS
from baseload.routing.sizing import (
    batch_at_rate,
    batch_within,
    profile,
    rate_within,
    request_energy_j,
)
from baseload.testing import strategies
from baseload.testing.fleets import READY, Fleet, fast_and_slow, replica_type

LENGTHS = st.floats(1, 4000)
LIMITS_S = st.floats(1e-3, 20)
ROOMY = replica_type(max_batch=64, kv_tokens=200_000, power_w_cap=5000.0)


def seen(kind, *, input_tokens=1000.0, output_tokens=250.0):
    """Cost, limits and traffic of a type after so much has been learnt."""
    state = Fleet(types=(kind,), replicas=(1,)).state()
    traffic = state.traffic[0]
    traffic["input_tokens"], traffic["output_tokens"] = input_tokens, output_tokens
    return state.cost[0], state.limits[0], traffic


def keeps(cost, traffic, running, ttft_s, tpot_s, spreads):
    """The two promises at a batch, from the definition."""
    token_s = step_s(cost, running, traffic)
    late_s = spreads * step_spread_s(cost, running, traffic, traffic.output_tokens)
    prompt_s = traffic.input_tokens * cost.time_s_per_prefill_token
    first_s = 1.5 * token_s + prompt_s * (1 + spreads)
    first_s += spreads * step_spread_s(cost, running, traffic, 1.0)
    return token_s + late_s <= tpot_s and first_s <= ttft_s


@given(
    kind=strategies.replica_types(most_batch=40),
    lengths=st.tuples(LENGTHS, LENGTHS),
    ttft_s=LIMITS_S,
    tpot_s=st.floats(1e-3, 0.5),
    spreads=st.floats(0, 4),
)
@settings(max_examples=150, deadline=None)
def test_the_bisection_finds_what_a_scan_finds(kind, lengths, ttft_s, tpot_s, spreads):
    cost, limits, traffic = seen(kind, input_tokens=lengths[0], output_tokens=lengths[1])
    batches = range(1, int(seats(limits, traffic)) + 1)
    kept = [keeps(cost, traffic, float(b), ttft_s, tpot_s, spreads) for b in batches]
    assume(kept == sorted(kept, reverse=True))  # a cap can make a larger batch a little faster
    assert batch_within(cost, limits, traffic, ttft_s, tpot_s, spreads) == sum(kept)


def test_the_steps_of_ordinary_types_rise_with_the_batch():
    """What the bisection stands on, for every ready type at ordinary lengths."""
    for make in READY.values():
        for kind in make().types:
            cost, limits, traffic = seen(kind, input_tokens=200.0, output_tokens=100.0)
            batches = np.arange(1.0, seats(limits, traffic) + 1)
            assert (np.diff([step_s(cost, b, traffic) for b in batches]) >= 0).all()


@given(
    lengths=st.tuples(LENGTHS, LENGTHS),
    limits_s=st.tuples(LIMITS_S, LIMITS_S),
    more=st.floats(1, 10),
)
@settings(max_examples=80, deadline=None)
def test_looser_promises_allow_larger_batches(lengths, limits_s, more):
    cost, limits, traffic = seen(ROOMY, input_tokens=lengths[0], output_tokens=lengths[1])
    ttft_s, tpot_s = limits_s[0], limits_s[1] / 20
    batch = batch_within(cost, limits, traffic, ttft_s, tpot_s, 2.0)
    assert batch <= batch_within(cost, limits, traffic, more * ttft_s, tpot_s, 2.0)
    assert batch <= batch_within(cost, limits, traffic, ttft_s, more * tpot_s, 2.0)
    assert batch >= batch_within(cost, limits, traffic, ttft_s, tpot_s, 2.0 + more)


def test_without_promises_all_seats_are_taken():
    cost, limits, traffic = seen(ROOMY)
    free = batch_within(cost, limits, traffic, math.inf, math.inf, 2.33)
    assert free == seats(limits, traffic) == 64


def test_a_promise_that_one_request_alone_breaks_allows_none():
    cost, limits, traffic = seen(ROOMY)
    assert batch_within(cost, limits, traffic, math.inf, 0.009, 0.0) == 0
    assert batch_within(cost, limits, traffic, 0.02, math.inf, 0.0) == 0


def test_the_batch_within_a_time_per_token_by_hand():
    """Step of b sequences with no prompts to speak of: 10 ms + 0.5 ms b + 1 us x b x 600 = 10 ms
    + 1.1 ms b; 21 ms allow ten.
    """
    kind = replica_type(
        max_batch=64, kv_tokens=10**6, time_s_per_prefill_token=0.0, power_w_cap=1e6
    )
    cost, limits, traffic = seen(kind, input_tokens=500.0, output_tokens=200.0)
    assert batch_within(cost, limits, traffic, math.inf, 0.0210001, 0.0) == 10
    assert batch_within(cost, limits, traffic, math.inf, 0.0209999, 0.0) == 9


@given(
    kind=strategies.replica_types(most_batch=40),
    lengths=st.tuples(LENGTHS, LENGTHS),
    running=st.floats(1, 40),
    request_per_s=st.floats(0, 100),
)
@settings(max_examples=100, deadline=None)
def test_kernels_are_their_plain_twins(kind, lengths, running, request_per_s):
    cost, limits, traffic = seen(kind, input_tokens=lengths[0], output_tokens=lengths[1])
    for kernel, arguments in (
        (batch_within, (cost, limits, traffic, 2.0, 0.05, 2.33)),
        (request_energy_j, (cost, traffic, running, 20.0)),
        (rate_within, (cost, traffic, running)),
        (rate_within, (cost, traffic, 0.0)),
        (batch_at_rate, (cost, limits, traffic, request_per_s)),
    ):
        assert kernel(*arguments) == pytest.approx(plain(kernel)(*arguments), rel=1e-9), kernel


@given(
    kind=strategies.replica_types(most_batch=40),
    lengths=st.tuples(LENGTHS, LENGTHS),
    load=st.floats(0, 1.2),
)
@settings(max_examples=150, deadline=None)
def test_the_batch_at_a_rate_is_a_fixed_point(kind, lengths, load):
    """As many requests run as arrive while one is served, within a hundredth; at least one, at most
    the seats.
    """
    cost, limits, traffic = seen(kind, input_tokens=lengths[0], output_tokens=lengths[1])
    most = seats(limits, traffic)
    request_per_s = load * rate_per_s(cost, most, traffic)
    batch = batch_at_rate(cost, limits, traffic, request_per_s)
    assert 1.0 <= batch <= most
    present = request_per_s * max(1.0, traffic.output_tokens) * step_s(cost, batch, traffic)
    assert min(most, max(1.0, present)) == pytest.approx(batch, rel=0.011)


def test_the_batch_at_a_rate_by_hand():
    """b = r x 100 x (10 ms + 1 ms b) with r = 5 a second: b = 5 + b / 2, ten requests."""
    kind = replica_type(
        max_batch=64,
        kv_tokens=10**6,
        time_s_per_sequence=1e-3,
        time_s_per_context_token=0.0,
        time_s_per_prefill_token=0.0,
        power_w_cap=1e6,
    )
    cost, limits, traffic = seen(kind, input_tokens=500.0, output_tokens=100.0)
    assert batch_at_rate(cost, limits, traffic, 5.0) == pytest.approx(10.0, rel=0.02)
    assert batch_at_rate(cost, limits, traffic, 9.0) == pytest.approx(64.0), "no steady state"
    assert batch_at_rate(cost, limits, traffic, 0.0) == 1.0


def test_more_requests_make_larger_batches():
    cost, limits, traffic = seen(ROOMY)
    batches = [batch_at_rate(cost, limits, traffic, rate) for rate in np.linspace(0, 12, 60)]
    assert (np.diff(batches) >= -0.01 * np.array(batches[1:])).all()
    assert batches[-1] == 64.0


def test_the_energy_of_a_request_by_hand():
    """Ten running, 1,000 in and 250 out: a step of 2 + 10 x 0.05 + 11,250 x 1e-4 = 3.625 J and
    10 / 250 prompts of 5 J. 25 steps are a request's share: 95.625 J; less 50 W over them.
    """
    cost, _, traffic = seen(ROOMY)
    context = 10 * 1125.0
    step_j = 2.0 + 10 * 0.05 + context * 1e-4 + 10 / 250 * 5.0
    assert step(cost, 10.0, context, 0.0)[1] == pytest.approx(step_j - 0.2)
    assert request_energy_j(cost, traffic, 10.0, 0.0) == pytest.approx(25 * step_j)
    rest_j = 25 * 50.0 * step_s(cost, 10.0, traffic)
    assert request_energy_j(cost, traffic, 10.0, 50.0) == pytest.approx(25 * step_j - rest_j)


def test_a_fuller_dense_replica_serves_a_request_for_less():
    cost, _, traffic = seen(ROOMY)
    joules = [request_energy_j(cost, traffic, float(b), 10.0) for b in range(1, 65)]
    assert (np.diff(joules) < 0).all()


def test_the_rate_is_the_batch_over_the_time_of_an_answer():
    cost, _, traffic = seen(ROOMY)
    assert rate_within(cost, traffic, 0.0) == 0.0
    expected = 8.0 / (250.0 * step_s(cost, 8.0, traffic))
    assert rate_within(cost, traffic, 8.0) == pytest.approx(expected)
    rates = [rate_within(cost, traffic, float(b)) for b in range(1, 65)]
    assert (np.diff(rates) > 0).all()


def test_the_profile_is_that_of_the_prior_lengths_with_all_seats_taken():
    """Whatever has been learnt since: published schedulers profile once, offline."""
    fleet = fast_and_slow().state()
    fleet.traffic[0] = (7.0, 7.0)
    profile(fleet)
    for cost, limits in zip(fleet.cost, fleet.limits, strict=True):
        _, _, prior = seen(
            ROOMY, input_tokens=PRIOR_INPUT_TOKENS, output_tokens=PRIOR_OUTPUT_TOKENS
        )
        running, tokens = seats(limits, prior), PRIOR_INPUT_TOKENS + PRIOR_OUTPUT_TOKENS
        assert limits.profiled_tokens_per_s == pytest.approx(
            tokens * rate_per_s(cost, running, prior)
        )
        assert limits.profiled_j_per_token == pytest.approx(
            request_energy_j(cost, prior, running, 0.0) / tokens
        )
    assert fleet.traffic[0].input_tokens == 7.0
