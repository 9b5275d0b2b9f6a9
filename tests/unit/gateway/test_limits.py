"""What keys may take: laws of the buckets under any order of requests and times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.config import KeyEntry
from baseload.gateway.errors import RequestError
from baseload.gateway.keys import ANYBODY, Caller
from baseload.gateway.limits import Limiter, span_text

S = 1_000_000_000
KEY = Caller(name="team", number=0, scopes=("infer",))


def limiter(**limits):
    return Limiter([KeyEntry(name="team", value="env:X", **limits)])


def refused(limits, *, tokens=1, stream=False, now_ns=0):
    with pytest.raises(RequestError) as caught:
        limits.admit(KEY, tokens=tokens, stream=stream, now_ns=now_ns)
    return caught.value


def test_a_full_bucket_goes_out_at_once_and_comes_back_evenly():
    limits = limiter(requests_per_min=60)
    for _ in range(60):
        limits.admit(KEY, tokens=1, stream=False, now_ns=5 * S)
    error = refused(limits, now_ns=5 * S)
    assert (error.status, error.code) == (429, "rate_limit_requests_per_min")
    assert (b"retry-after", b"1") in error.headers
    assert error.retry_after_s == 1.0
    assert refused(limits, now_ns=6 * S - 1).retry_after_s == pytest.approx(1e-9)
    limits.admit(KEY, tokens=1, stream=False, now_ns=6 * S)
    refused(limits, now_ns=6 * S)


def test_the_headers_say_what_is_left_and_when_it_is_whole_again():
    limits = limiter(requests_per_min=60, tokens_per_min=6000)
    limits.admit(KEY, tokens=1500, stream=False, now_ns=0)
    assert dict(limits.headers(KEY, 0)) == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"6000",
        b"x-ratelimit-remaining-tokens": b"4500",
        b"x-ratelimit-reset-tokens": b"15s",
    }
    limits = limiter(tokens_per_min=6000)
    assert [name for name, _ in limits.headers(KEY, 0)] == [
        b"x-ratelimit-limit-tokens",
        b"x-ratelimit-remaining-tokens",
        b"x-ratelimit-reset-tokens",
    ]


def test_a_refused_request_takes_nothing_and_carries_the_headers():
    limits = limiter(requests_per_min=60, tokens_per_min=100)
    limits.admit(KEY, tokens=80, stream=False, now_ns=0)
    before = limits.headers(KEY, 0)
    error = refused(limits, tokens=30)
    assert error.code == "rate_limit_tokens_per_min"
    assert set(before) < set(error.headers)
    assert limits.headers(KEY, 0) == before


def test_what_was_not_used_comes_back_and_what_was_used_beyond_is_owed():
    limits = limiter(tokens_per_min=600)
    grant = limits.admit(KEY, tokens=500, stream=False, now_ns=0)
    limits.settle(grant, used_tokens=100, now_ns=0)
    assert dict(limits.headers(KEY, 0))[b"x-ratelimit-remaining-tokens"] == b"500"
    grant = limits.admit(KEY, tokens=500, stream=False, now_ns=0)
    limits.settle(grant, used_tokens=1100, now_ns=0)
    assert dict(limits.headers(KEY, 0))[b"x-ratelimit-remaining-tokens"] == b"0"
    assert refused(limits, tokens=10).retry_after_s == pytest.approx(61.0)
    limits.admit(KEY, tokens=10, stream=False, now_ns=61 * S)


def test_a_request_that_asks_for_more_than_a_bucket_waits_for_a_full_one():
    limits = limiter(tokens_per_min=100)
    grant = limits.admit(KEY, tokens=10_000, stream=False, now_ns=0)
    assert grant.tokens == 100
    assert refused(limits, tokens=10_000).retry_after_s == 60.0


def test_an_end_nobody_measured_leaves_the_estimate_and_a_second_end_does_nothing():
    limits = limiter(tokens_per_min=100)
    grant = limits.admit(KEY, tokens=40, stream=False, now_ns=0)
    limits.settle(grant, used_tokens=-1, now_ns=0)
    limits.settle(grant, used_tokens=0, now_ns=0)
    assert dict(limits.headers(KEY, 0))[b"x-ratelimit-remaining-tokens"] == b"60"


def test_streams_are_counted_while_they_run_and_others_are_not():
    limits = limiter(max_streams=2)
    first = limits.admit(KEY, tokens=1, stream=True, now_ns=0)
    limits.admit(KEY, tokens=1, stream=True, now_ns=0)
    assert refused(limits, stream=True).code == "rate_limit_max_streams"
    limits.admit(KEY, tokens=1, stream=False, now_ns=0)
    limits.settle(first, used_tokens=5, now_ns=0)
    limits.settle(first, used_tokens=5, now_ns=0)
    limits.admit(KEY, tokens=1, stream=True, now_ns=0)
    refused(limits, stream=True)


def test_who_has_no_limits_is_not_counted():
    limits = limiter()
    assert limits.admit(KEY, tokens=1, stream=True, now_ns=0) is None
    assert limits.admit(ANYBODY, tokens=1, stream=True, now_ns=0) is None
    limits.settle(None, used_tokens=9, now_ns=0)
    assert limits.headers(KEY, 0) == limits.headers(ANYBODY, 0) == []


def test_a_new_configuration_goes_on_where_the_old_one_was():
    limits = limiter(requests_per_min=10, max_streams=1)
    grant = limits.admit(KEY, tokens=1, stream=True, now_ns=0)
    for _ in range(4):
        limits.admit(KEY, tokens=1, stream=False, now_ns=0)
    other = KeyEntry(name="other", value="env:Y", requests_per_min=1)
    moved = Caller(name="team", number=1, scopes=("infer",))
    limits.reconfigure(
        [other, KeyEntry(name="team", value="env:X", requests_per_min=20, max_streams=1)]
    )
    assert dict(limits.headers(moved, 0))[b"x-ratelimit-remaining-requests"] == b"10"
    with pytest.raises(RequestError):
        limits.admit(moved, tokens=1, stream=True, now_ns=0)
    limits.settle(grant, used_tokens=0, now_ns=0)
    limits.admit(moved, tokens=1, stream=True, now_ns=0)


def test_workers_share_a_limit_but_each_may_do_something():
    entry = KeyEntry(name="team", value="env:X", requests_per_min=100, max_streams=2)
    limits = Limiter([entry], workers=4)
    assert dict(limits.headers(KEY, 0))[b"x-ratelimit-limit-requests"] == b"25"
    limits.admit(KEY, tokens=1, stream=True, now_ns=0)
    refused(limits, stream=True)


@pytest.mark.parametrize(
    ("span_ns", "text"),
    [
        (0, b"0s"),
        (1, b"1ms"),
        (20_000_000, b"20ms"),
        (999_000_001, b"1s"),
        (1_500_000_000, b"1.5s"),
        (360 * S, b"6m0s"),
        (90 * S + 250_000_000, b"1m30.25s"),
        (59_999_999_999, b"1m0s"),
    ],
)
def test_times_are_written_as_openai_does(span_ns, text):
    assert span_text(span_ns) == text


steps = st.lists(
    st.tuples(
        st.integers(-2 * S, 90 * S),  # passing of time; clocks may step back
        st.integers(0, 3000),  # estimate
        st.integers(0, 4000),  # actual use
    ),
    max_size=60,
)


@given(steps=steps, per_min=st.integers(1, 2000), requests=st.integers(1, 50))
def test_over_any_time_a_key_gets_its_bucket_and_what_flowed_in(steps, per_min, requests):
    """Requests: never more than bucket + inflow. Tokens reserved: the same, after what came back.
    And whoever waits as long as it was told gets in.
    """
    limits = limiter(tokens_per_min=per_min, requests_per_min=requests)
    now = taken = net = 0
    seen = []
    for passed, estimate, used in steps:
        now += passed
        seen.append(now)
        try:
            grant = limits.admit(KEY, tokens=estimate, stream=False, now_ns=now)
        except RequestError as error:
            wait_ns = round(error.retry_after_s * S)
            assert wait_ns > 0
            continue
        taken += 1
        net += grant.tokens
        span = max(seen) - seen[0]
        assert taken * 60 * S <= requests * (60 * S + span)
        assert net * 60 * S <= per_min * (60 * S + span)
        limits.settle(grant, used_tokens=used, now_ns=now)
        net += used - grant.tokens


@given(steps=steps, per_min=st.integers(1, 2000), requests=st.integers(1, 50))
def test_who_waits_as_long_as_it_was_told_gets_in(steps, per_min, requests):
    limits = limiter(tokens_per_min=per_min, requests_per_min=requests)
    now = 0
    for passed, estimate, used in steps:
        now += abs(passed)
        for _ in range(3):
            try:
                grant = limits.admit(KEY, tokens=estimate, stream=False, now_ns=now)
                break
            except RequestError as error:
                now += round(error.retry_after_s * S) + 1
        else:
            pytest.fail("told to wait three times: once for requests, once for tokens is enough")
        limits.settle(grant, used_tokens=used, now_ns=now)
