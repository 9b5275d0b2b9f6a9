"""What a replay sends and when: windows, rates, speeds, tiers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_loads import EACH_SECOND, a_trace

from baseload.base.errors import BadInputError
from baseload.gateway.load.plan import NO_TIER, planned, text_offsets, window
from baseload.workload.chunks import source_of
from baseload.workload.tiers import DEFAULT_TIERS
from baseload.workload.trace import TraceSource


def plan_of(trace, **asked):
    return planned(source_of(trace), tiers=DEFAULT_TIERS, **asked)


def test_as_recorded_every_request_goes_out_when_it_came():
    plan = plan_of(EACH_SECOND, start_s=10.0, seconds=20.0)
    assert [each.due_ns for each in plan.requests] == [n * 1_000_000_000 for n in range(20)]
    assert [each.input_tokens for each in plan.requests] == list(range(11, 31))
    assert {each.output_tokens for each in plan.requests} == {7}
    assert [each.number for each in plan.requests] == list(range(20))
    assert plan.notes == ()


@given(
    rate=st.floats(0.2, 50.0), seconds=st.floats(5.0, 60.0), speed=st.sampled_from([0.5, 1.0, 1.5])
)
def test_the_mean_rate_is_the_one_asked_for(rate, seconds, speed):
    plan = plan_of(EACH_SECOND, seconds=seconds, rate_per_s=rate, speed=speed, seed=3)
    due = [each.due_ns for each in plan.requests]
    assert len(due) == max(1, round(rate * seconds))
    assert due == sorted(due)
    assert due[0] >= 0
    assert due[-1] <= seconds * 1e9 + 1e3
    assert len(plan.trace) == len(due)


def test_a_speed_sends_the_same_requests_in_less_time():
    slow, quick = plan_of(EACH_SECOND, seconds=40.0), plan_of(EACH_SECOND, seconds=10.0, speed=4.0)
    assert [each.input_tokens for each in slow.requests] == [
        each.input_tokens for each in quick.requests
    ]
    assert [each.due_ns for each in quick.requests] == [each.due_ns // 4 for each in slow.requests]


def test_the_same_seed_gives_the_same_plan_and_another_one_another():
    plans = [plan_of(EACH_SECOND, rate_per_s=2.5, seed=seed) for seed in (1, 1, 2)]
    assert plans[0].requests == plans[1].requests
    assert plans[0].requests != plans[2].requests
    assert text_offsets(plans[0], 1, 1000) == text_offsets(plans[1], 1, 1000)
    assert text_offsets(plans[0], 1, 1000) != text_offsets(plans[0], 2, 1000)


def test_classes_get_the_tiers_that_list_them_unless_told():
    trace = a_trace([0.0, 1.0, 2.0], classes=("chat", "batch", "odd"), code=[0, 1, 2])
    tiers = lambda **more: [each.tier for each in plan_of(trace, **more).requests]  # noqa: E731
    assert tiers() == ["interactive", "bulk", NO_TIER]
    assert tiers(tier_names="gold") == ["gold"] * 3
    assert tiers(tier_names={"odd": "bulk"}) == ["interactive", "bulk", "bulk"]
    with pytest.raises(BadInputError, match="no requests of class 'chats'"):
        tiers(tier_names={"chats": "bulk"})


def test_sessions_stay_and_a_limit_cuts():
    trace = a_trace([0.0, 1.0, 2.0], session=[4, -1, 4])
    assert [each.session for each in plan_of(trace).requests] == [4, -1, 4]
    assert len(plan_of(trace, most_requests=2).requests) == 2


def test_a_trace_that_is_too_short_is_sent_whole_and_told():
    plan = plan_of(EACH_SECOND, start_s=90.0, seconds=60.0)
    assert len(plan.requests) == 10
    assert "ends after 9 s of the 60 s" in plan.notes[0]


def test_a_long_source_is_read_no_further_than_the_window():
    def chunks():
        yield EACH_SECOND
        raise AssertionError("read on")

    source = TraceSource(name="long", classes=("chat",), chunks=chunks, requests=10**9, span_s=1e9)
    assert len(window(source, 5.0, 10.0)) == 10


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"start_s": 500.0}, "none"),
        ({"start_s": -1.0}, "--start"),
        ({"seconds": 0.0}, "--seconds"),
        ({"seconds": float("nan")}, "--seconds"),
        ({"speed": 0.0}, "--speed"),
        ({"rate_per_s": float("inf")}, "--rate"),
        ({"rate_per_s": 0.001}, "about 0.1"),
        ({"most_requests": 0}, "--max-requests"),
    ],
)
def test_what_cannot_be_sent_is_refused(asked, words):
    with pytest.raises(BadInputError, match=words):
        plan_of(EACH_SECOND, **asked)
