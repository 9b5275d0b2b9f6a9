"""A replica's breaker and probes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.config import BreakerEntry, HealthEntry
from baseload.gateway.replica_health import ReplicaHealth
from baseload.gateway.waiting import NEVER_NS

NS = 1_000_000_000
BREAKER = BreakerEntry(failures=3, open_s=1.0, open_most_s=8.0)
HEALTH = HealthEntry(failures=2)


def opened(now_ns: int = 0) -> ReplicaHealth:
    """A breaker that has just opened."""
    found = ReplicaHealth()
    for request in range(BREAKER.failures):
        found.failed(request, BREAKER, now_ns)
    return found


def test_a_breaker_opens_after_failures_in_a_row_only() -> None:
    health = ReplicaHealth()
    for request in range(20):
        health.failed(request, BREAKER, 0)
        health.failed(request, BREAKER, 0)
        health.worked(99, 0)
        assert health.breaker == "closed"
    for request in range(3):
        assert health.able(HEALTH, 0)
        health.failed(request, BREAKER, 0)
    assert health.breaker == "open"
    assert not health.able(HEALTH, NS - 1)
    assert health.next_ns(0) == NS
    assert health.able(HEALTH, NS)
    assert health.next_ns(NS) == NEVER_NS


def test_one_request_is_on_trial_at_a_time() -> None:
    health = opened()
    health.sent(50)
    assert health.breaker == "trial"
    assert not health.able(HEALTH, 100 * NS)
    health.gave_up(49)
    assert not health.able(HEALTH, 100 * NS), "another that was given up says nothing of the trial"
    health.gave_up(50)
    assert health.able(HEALTH, 100 * NS)


def test_its_pause_doubles_each_time_the_trial_fails_up_to_a_bound() -> None:
    health, now_ns, pauses = opened(), 0, []
    for request in range(10, 16):
        pauses.append((health.until_ns - now_ns) / NS)
        now_ns = health.until_ns
        health.sent(request)
        health.failed(request, BREAKER, now_ns)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_what_breaks_along_with_it_does_not_double_its_pause() -> None:
    """Thirty requests were under way when an engine died: it was left alone for a minute."""
    health = opened()
    for request in range(30):
        health.failed(request, BREAKER, 1000)
    assert health.until_ns == NS
    assert health.opens == 1


def test_it_closes_on_probation_at_the_first_sign_of_an_answer() -> None:
    """An engine that begins every answer and ends none was never found out: each beginning wiped
    out the failure before.
    """
    health = opened()
    health.sent(9)
    health.began(9, NS)
    assert health.breaker == "closed"
    assert health.able(HEALTH, NS)
    health.failed(9, BREAKER, 2 * NS)
    assert health.breaker == "open"
    assert health.until_ns == 4 * NS, "it is the same trouble: the pause doubles"


def test_an_answer_that_comes_to_its_end_forgives_everything() -> None:
    health = opened()
    health.sent(9)
    health.worked(9, NS)
    for request in range(2):
        health.failed(request, BREAKER, NS)
    assert health.breaker == "closed"
    health.failed(2, BREAKER, NS)
    assert health.until_ns == 2 * NS


def test_what_was_sent_before_it_opened_does_not_close_it() -> None:
    """An engine asked to be left alone for half a minute, and the answers that it still finished
    sent it the next request at once.
    """
    health = ReplicaHealth()
    health.failed(1, BREAKER, 0, again_s=5.0)
    health.worked(2, 1000)
    health.began(3, 1000)
    assert health.until_ns == 5 * NS
    assert health.heard_ns == 1000


def test_an_engine_is_left_alone_as_long_as_it_asks_within_bounds() -> None:
    for asked_s, pause_s in ((3.0, 3.0), (0.2, 1.0), (1e9, 8.0), (float("inf"), 8.0)):
        health = ReplicaHealth()
        health.failed(1, BREAKER, 0, again_s=asked_s)
        assert health.until_ns == pause_s * NS
    for none_s in (0.0, -5.0, float("nan")):
        health = ReplicaHealth()
        health.failed(1, BREAKER, 0, again_s=none_s)
        assert health.breaker == "closed"


def test_probes_take_it_out_and_bring_it_back() -> None:
    health = ReplicaHealth()
    health.probed(False, 0)
    assert health.able(HEALTH, 0)
    health.probed(False, 0)
    assert not health.healthy(HEALTH)
    assert not health.able(HEALTH, 0)
    health.probed(True, 5)
    assert health.able(HEALTH, 5)
    assert health.heard_ns == 5


def test_who_sleeps_is_not_able() -> None:
    health = ReplicaHealth()
    health.awake = False
    assert not health.able(HEALTH, 0)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["send", "fail", "began", "worked", "gave_up"]),
        st.integers(0, 5),
        st.floats(0.0, 3.0),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_it_is_tried_again_in_the_end(
    steps: list[tuple[str, int, float]],
) -> None:
    """And never is more than one request under way that was sent while it was open."""
    health, now_ns = ReplicaHealth(), 0
    under_way: set[int] = set()
    for what, request, after_s in steps:
        now_ns += int(after_s * NS)
        if what == "send":
            if health.able(HEALTH, now_ns) and request not in under_way:
                health.sent(request)
                under_way.add(request)
        elif request in under_way:
            if what == "fail":
                health.failed(request, BREAKER, now_ns)
            elif what == "worked":
                health.worked(request, now_ns)
            elif what == "began":
                health.began(request, now_ns)
                continue
            else:
                health.gave_up(request)
            under_way.discard(request)
        assert health.trial < 0 or health.trial in under_way
        assert health.until_ns <= now_ns + BREAKER.open_most_s * NS
        if health.trial < 0:
            assert health.able(HEALTH, now_ns + int(BREAKER.open_most_s * NS))
