"""The life of requests: admission, retries, time-outs, breakers, one end each."""

from __future__ import annotations

import math

import msgspec
import pytest
from made_fleets import NS, TIERS, Told, close, config_of, fleet_of, one, same
from tests.faults.books import check_core, check_idle

from baseload.gateway import events
from baseload.gateway.config import LimitsEntry, LiveTierEntry
from baseload.gateway.core import Core

SEND, CLOSE, CANCEL, REFUSE, ABORT = (
    events.Send,
    events.Close,
    events.Cancel,
    events.Refuse,
    events.Abort,
)


def one_replica(**changes: object) -> Told:
    """A machine of a single replica."""
    return Told(fleet_of(config_of(1, **changes)))


# An answer


def test_an_answer_has_one_end_and_a_receipt() -> None:
    told = Told()
    sent = one(told.arrive(stream=True), SEND)
    assert (sent.request, sent.attempt) == (1, 0)
    told.tell(events.Began(request=1, attempt=0), 0.1)
    told.tell(events.Progressed(request=1, attempt=0, tokens=1), 0.2)
    told.tell(events.Progressed(request=1, attempt=0, tokens=9), 0.9)
    end = close(told.tell(events.Ended(request=1, attempt=0, output_tokens=10), 1.0))
    assert end.reason == "answered"
    assert (end.status, end.attempts, end.output_tokens) == (200, 1, 10)
    assert end.replica == sent.replica
    assert end.ttft_s == pytest.approx(0.2)
    assert end.total_s == pytest.approx(1.0)
    assert end.energy_j > 0.0
    assert end.wasted_j == 0.0
    assert not end.missed
    check_idle(told.core, end.energy_j, NS)


def test_what_comes_after_the_end_is_ignored() -> None:
    told = Told()
    told.arrive()
    told.end(1)
    for event in (
        events.Began(request=1, attempt=0),
        events.Progressed(request=1, attempt=0, tokens=4),
        events.Ended(request=1, attempt=0),
        events.Broke(request=1, attempt=0, cause="closed"),
        events.Left(request=1),
        events.Left(request=77),
    ):
        assert told.tell(event) == []


@pytest.mark.parametrize(
    ("fields", "at_s", "missed"),
    [
        ({}, 1.0, False),
        ({"ttft_s": 0.1}, 1.0, True),
        ({"tpot_s": 0.001}, 1.0, True),
        ({"e2e_s": 0.9}, 1.0, True),
        ({"ttft_s": 5.0}, 3.5, False),
        ({"ttft_s": 0.1, "stream": False}, 1.0, False),
    ],
)
def test_a_promise_of_its_own_goes_before_its_tiers(
    fields: dict[str, float], at_s: float, missed: bool
) -> None:
    told = Told()
    told.arrive(**{"stream": True, **fields})
    told.tell(events.Progressed(request=1, attempt=0, tokens=1), at_s - 0.5)
    told.tell(events.Progressed(request=1, attempt=0, tokens=19), at_s)
    assert close(told.end(1, output_tokens=20)).missed is missed


def test_time_never_runs_backwards() -> None:
    told = Told()
    told.arrive(at_s=10.0)
    told.tell(events.Progressed(request=1, attempt=0, tokens=1), 3.0)
    end = close(told.tell(events.Ended(request=1, attempt=0), 9.0))
    assert end.total_s == 0.0
    assert end.energy_j >= 0.0


# Admission


def test_interactive_is_refused_early_and_told_when_to_come_back() -> None:
    told = one_replica()
    told.fill(4)
    refused = told.arrive()
    said = one(refused, REFUSE)
    assert (said.status, said.reason) == (429, "saturated")
    assert "interactive" in said.message
    assert 1.0 <= said.retry_after_s <= 60.0
    assert close(refused).reason == "saturated"
    told.end(1)
    assert one(told.arrive(), SEND)


def test_bulk_waits_for_a_free_seat_and_its_queue_has_an_end() -> None:
    told = one_replica()
    told.fill(3)
    for _ in range(4):
        assert told.arrive(1) == []
    assert one(told.arrive(1), REFUSE).reason == "saturated"
    assert told.core.waiting == [0, 4]
    check_core(told.core)
    sent = one(told.end(1), SEND)
    assert sent.request == 4
    assert told.core.waiting == [0, 3]
    assert one(told.end(2), SEND).request == 5


def test_bulk_that_finds_no_place_to_wait_takes_any_seat_that_is_free() -> None:
    """Four that waited for quieter minutes filled the queue; the fifth was refused by idle
    replicas.
    """
    told = one_replica()
    told.core.replicas.policy.hold[1] = 1
    for _ in range(4):
        assert told.arrive(1) == []
    for _ in range(3):
        assert one(told.arrive(1), SEND)
    assert one(told.arrive(1), REFUSE).reason == "saturated"
    assert told.core.waiting == [0, 4]
    check_core(told.core)


def test_bulk_that_finds_no_place_to_wait_need_not_have_the_cheapest() -> None:
    """Replica 0 is next in turn and full, replica 1 is idle."""
    tiers = (TIERS[0], msgspec.structs.replace(TIERS[1], max_queue=0))
    told = Told(fleet_of(config_of(2, policy="round_robin", tiers=tiers)))
    told.fill(6)
    for number in (2, 4, 6):
        told.end(number)
    assert one(told.arrive(1), SEND).replica == 1


def test_bulk_takes_no_seat_before_those_that_wait() -> None:
    told = one_replica()
    told.fill(3)
    told.arrive(1)
    told.arrive(1, priority=-1)
    assert one(told.end(1), SEND).request == 5
    assert one(told.end(2), SEND).request == 4


def test_who_waits_too_long_is_told_so() -> None:
    tiers = (TIERS[0], msgspec.structs.replace(TIERS[1], max_wait_s=3.0))
    told = one_replica(tiers=tiers)
    told.fill(3)
    told.arrive(1, at_s=1.0)
    said = told.until(3.9)
    assert one(said, REFUSE) is None
    said = told.until(4.1)
    assert (one(said, REFUSE).status, close(said).reason) == (503, "expired")
    assert close(said).queued_s == pytest.approx(3.0, abs=0.06)


def test_a_prompt_that_nobody_can_hold_is_refused_with_its_length() -> None:
    said = one(Told().arrive(input_tokens=2001.0), REFUSE)
    assert (said.status, said.reason) == (400, "too_long")
    assert "2001" in said.message


def test_an_interactive_request_is_only_refused_where_no_replica_has_room() -> None:
    """A policy blind to waiting filled the cheapest replica, and refused the next request while
    the others had nothing to do.
    """
    told = Told(fleet_of(config_of(3, policy="baseload:rate_lateness=0")))
    for number in range(1, 13):
        assert one(told.arrive(), SEND)
        told.tell(events.Progressed(request=number, attempt=0, tokens=1))
    assert one(told.arrive(), REFUSE).reason == "saturated"
    assert sorted(told.core.replicas.state.in_flight.tolist()) == [4, 4, 4]
    check_core(told.core)


def test_urgent_tiers_are_sent_first_of_those_that_wait() -> None:
    tiers = (
        LiveTierEntry(name="late", priority=5, bulk=True),
        LiveTierEntry(name="soon", priority=1, bulk=True),
    )
    told = one_replica(tiers=tiers)
    for _ in range(3):
        told.arrive(0)
    told.arrive(0)
    told.arrive(1)
    assert one(told.end(1), SEND).request == 5


# Failures


def test_a_failure_is_tried_at_once_elsewhere() -> None:
    told = Told()
    first = one(told.arrive(), SEND)
    second = one(told.fail(1), SEND)
    assert second.attempt == 1
    assert second.replica != first.replica
    end = close(told.end(1, attempt=1))
    assert (end.reason, end.attempts) == ("answered", 2)
    assert 0.0 <= end.wasted_j < end.energy_j


def test_it_is_tried_as_often_as_allowed_then_the_client_is_told() -> None:
    told = Told()
    told.arrive()
    told.fail(1)
    told.fail(1, attempt=1)
    said = told.until(5.0)
    assert one(said, SEND).attempt == 2
    said = told.fail(1, attempt=2, cause="status", status=503)
    assert one(said, REFUSE).status == 502
    assert close(said).reason == "upstream"
    assert close(said).attempts == 3


def test_engines_that_take_no_more_are_told_as_a_full_fleet() -> None:
    """The client was told 502, which says that something is broken."""
    told = Told()
    told.arrive()
    told.fail(1, cause="status", status=429)
    told.fail(1, attempt=1, cause="status", status=429)
    assert one(told.until(5.0), SEND).attempt == 2
    said = told.fail(1, attempt=2, cause="status", status=429, retry_after_s=7.5)
    refusal = one(said, events.Refuse)
    assert (refusal.status, refusal.reason, refusal.retry_after_s) == (429, "saturated", 7.5)
    assert (close(said).reason, close(said).attempts) == ("saturated", 3)
    check_core(told.core)


def test_an_engine_that_takes_no_more_in_the_middle_of_an_answer_ends_the_stream() -> None:
    told = Told()
    told.arrive(stream=True)
    told.tell(events.Progressed(request=1, attempt=0, tokens=1, sent=True))
    said = told.fail(1, cause="status", status=429)
    assert one(said, events.Abort).reason == close(said).reason == "upstream"


def test_nothing_is_tried_again_once_something_was_handed_on() -> None:
    told = Told()
    told.arrive(stream=True)
    told.tell(events.Progressed(request=1, attempt=0, tokens=1, sent=True))
    said = told.fail(1, cause="closed")
    assert [type(command) for command in said] == [ABORT, CLOSE]
    assert close(said).wasted_j == close(said).energy_j > 0.0


def test_what_was_only_held_back_can_be_tried_again() -> None:
    told = Told()
    told.arrive(stream=True)
    told.tell(events.Progressed(request=1, attempt=0, tokens=5, sent=False), 0.5)
    assert one(told.fail(1, cause="closed"), SEND)
    end = close(told.end(1, attempt=1, output_tokens=3))
    assert end.output_tokens == 3
    assert math.isnan(end.ttft_s), "its first token was of an answer that nobody got"


def test_an_event_of_the_attempt_before_changes_nothing() -> None:
    told = Told()
    told.arrive()
    told.fail(1)
    assert told.end(1, attempt=0) == []
    assert told.fail(1, attempt=0) == []
    assert close(told.end(1, attempt=1)).attempts == 2


def test_what_the_engine_refuses_is_passed_on_and_not_held_against_it() -> None:
    told = one_replica()
    for number in range(1, 8):
        assert one(told.arrive(), SEND)
        said = told.fail(number, cause="rejected", status=422)
        refusal, end = one(said, events.Refuse), close(said)
        assert (refusal.reason, refusal.status) == ("rejected", 422)
        assert (end.reason, end.status) == ("rejected", 422)
    assert told.core.replicas.health[0].breaker == "closed"


def test_a_refusal_after_something_was_handed_on_ends_the_stream() -> None:
    """The client of a request that its engine refused was told nothing at all."""
    told = one_replica()
    told.arrive(stream=True)
    told.tell(events.Progressed(request=1, attempt=0, tokens=1))
    said = told.fail(1, cause="rejected", status=200)
    assert one(said, events.Abort).reason == "rejected"
    assert close(said).status == 400


def test_a_fault_of_ours_is_not_counted_as_a_client_that_left() -> None:
    told = one_replica()
    told.arrive()
    said = told.tell(events.Left(request=1, fault=True))
    assert one(said, events.Cancel)
    assert (close(said).reason, close(said).status) == ("internal", 500)
    told.arrive()
    assert close(told.tell(events.Left(request=2))).reason == "cancelled"


def test_what_nobody_read_is_not_charged() -> None:
    """A connection that was refused was charged with a prompt that no engine ever saw."""
    told = Told(fleet_of(config_of(3)))
    told.arrive(input_tokens=1900.0)
    for attempt, cause in enumerate(("connect", "status", "connect")):
        told.fail(1, attempt=attempt, cause=cause)
    end = close(told.said)
    assert end.attempts == 3
    assert end.energy_j == 0.0


def test_a_breaker_opens_and_one_request_is_the_trial() -> None:
    told = one_replica(retries=msgspec.structs.replace(config_of().retries, attempts=0))
    for number in range(1, 4):
        assert one(told.arrive(), SEND)
        told.fail(number)
    assert one(told.arrive(), REFUSE).reason == "no_replica"
    assert not told.core.ready(round(0.5 * NS))
    told.until(1.1)
    assert told.core.ready(round(1.1 * NS))
    assert one(told.arrive(), SEND)
    assert one(told.arrive(), REFUSE).reason == "no_replica"
    told.tell(events.Progressed(request=5, attempt=0, tokens=1))
    assert one(told.arrive(), SEND), "its answer has begun"


def test_a_request_that_comes_just_before_the_clock_s_tick_is_the_trial() -> None:
    """A breaker's time was up and its tick had not come: an idle replica was called full, a 429."""
    told = one_replica(retries=msgspec.structs.replace(config_of().retries, attempts=0))
    for number in range(1, 4):
        told.arrive()
        told.fail(number)
    told.now_s = told.core.replicas.next_ns / NS
    assert one(told.arrive(), SEND)
    assert told.core.replicas.health[0].breaker == "trial"


# Time


def test_an_engine_that_says_nothing_is_given_up_and_another_asked() -> None:
    told = Told()
    told.arrive(stream=True)
    said = told.until(19.9)
    assert one(said, CANCEL) is None
    said = told.until(20.1)
    assert one(said, CANCEL) == CANCEL(request=1, attempt=0)
    assert one(said, SEND).attempt == 1


def test_an_answer_that_stops_is_broken_off() -> None:
    told = Told()
    told.arrive(stream=True)
    told.tell(events.Progressed(request=1, attempt=0, tokens=1), 18.0)
    said = told.until(22.9)
    assert one(said, CANCEL) is None
    said = told.until(23.1)
    assert one(said, CANCEL)
    assert one(said, ABORT)
    assert close(said).status == 504


def test_no_answer_takes_longer_than_any_may() -> None:
    told = Told()
    told.arrive(stream=True)
    for second in range(1, 60):
        told.until(second)
        told.tell(events.Progressed(request=1, attempt=0, tokens=1), second)
    said = told.until(60.1)
    assert one(said, CANCEL)
    assert "total" in one(said, ABORT).message


def test_waiting_for_a_first_byte_does_not_wake_the_machine_all_the_time() -> None:
    """From its idle time-out on, a request without a first byte set its timer twenty times a
    second.
    """
    limits = LimitsEntry(first_byte_s=500.0, idle_s=1.0, total_s=900.0)
    told = Told(fleet_of(config_of(limits=limits)))
    told.core.replicas._probe_ns = told.core.replicas._correct_ns = 10**18
    told.arrive()
    timers = 0
    while told.core.next_ns < 499 * NS:
        told.tell(events.Timer(), told.core.next_ns / NS)
        timers += 1
    assert timers < 10


def test_a_first_token_after_the_idle_time_begins_an_idle_time_of_its_own() -> None:
    told = Told()
    told.arrive(stream=True)
    told.until(10.0)
    told.tell(events.Progressed(request=1, attempt=0, tokens=1), 10.0)
    assert one(told.until(14.9), CANCEL) is None
    assert one(told.until(15.1), CANCEL)


def test_what_waited_through_a_leap_of_the_clock_is_not_sent() -> None:
    told = one_replica()
    told.core.replicas.policy.hold[1] = 1
    assert told.arrive(1, e2e_s=10.0) == []
    said = told.tell(events.Timer(), 600.0)
    assert one(said, SEND) is None
    assert close(said).reason == "expired"


def test_a_failure_that_is_heard_of_too_late_is_not_tried_again() -> None:
    told = Told()
    told.arrive()
    said = told.tell(events.Broke(request=1, attempt=0, cause="connect"), 61.0)
    assert one(said, SEND) is None
    assert close(said).reason == "upstream"


# Leaving and stopping


def test_a_client_that_leaves_stops_its_engine_and_its_joules_stay_counted() -> None:
    told = Told()
    told.arrive()
    said = told.tell(events.Left(request=1), 2.0)
    assert [type(command) for command in said] == [CANCEL, CLOSE]
    end = close(said)
    assert end.reason == "cancelled"
    assert end.wasted_j == end.energy_j > 0.0
    check_idle(told.core, end.energy_j, 2 * NS)


def test_a_client_that_leaves_the_queue_is_gone_from_it() -> None:
    told = one_replica()
    told.fill(3)
    told.arrive(1)
    told.arrive(1)
    assert close(told.tell(events.Left(request=4))).attempts == 0
    assert one(told.end(1), SEND).request == 5


def test_draining_lets_run_what_runs_and_takes_nothing_more() -> None:
    told = one_replica()
    told.fill(3)
    told.arrive(1)
    said = told.tell(events.Drain())
    assert (one(said, REFUSE).status, close(said).reason) == (503, "draining")
    assert close(told.arrive()).reason == "draining"
    assert not told.core.ready(0)
    assert close(told.end(1)).reason == "answered"
    assert close(told.fail(2)).reason == "upstream"


def test_held_requests_that_went_leave_no_entry_behind() -> None:
    """Only ``release`` dropped them: where nobody released, the list grew for ever."""
    told = one_replica()
    told.core.replicas.policy.hold[1] = 1
    for _ in range(3):
        told.arrive(1)
    for number in (2, 1, 3):
        told.tell(events.Left(request=number))
    assert told.core.held == []


def test_held_requests_are_released_in_the_order_they_are_due() -> None:
    told = one_replica()
    told.core.replicas.policy.hold[1] = 1
    for e2e_s in (50.0, 20.0, 30.0):
        assert told.arrive(1, e2e_s=e2e_s) == []
    told.core._out = []
    told.core.release(2)
    assert [command.request for command in told.core._out] == [2, 3]
    assert told.core.waiting == [0, 1]


# Lies


@pytest.mark.parametrize("count", [0, 10**12, 2**62, -7, -(2**60)])
def test_an_engine_that_miscounts_is_not_believed(count: int) -> None:
    told = Told()
    told.arrive(stream=True)
    told.tell(events.Progressed(request=1, attempt=0, tokens=50), 1.0)
    end = close(told.end(1, input_tokens=count, output_tokens=count, cached_tokens=count))
    assert 50 <= end.output_tokens <= 4000
    assert 0.0 < end.energy_j < 1e6
    told.arrive()
    check_core(told.core)


@pytest.mark.parametrize("said", [math.nan, math.inf, -math.inf, 1e18, 1e300, -5.0])
def test_metrics_that_are_nonsense_do_no_harm(said: float) -> None:
    told = Told()
    for _ in range(3):
        told.tell(events.Sampled(replica=0, running=said, waiting=said))
        told.tell(events.Sampled(replica=1, running=3.0, waiting=said))
        told.tell(events.Sampled(replica=99, running=3.0))
    check_core(told.core)
    assert one(told.arrive(), SEND)


# Laws


def joules(factor: float) -> list[tuple[object, ...]]:
    """What a machine says where all joules are ``factor`` times as many and as cheap."""
    terms = ("step", "sequence", "context_token", "prefill_token")
    costs = dict(zip(terms, (2.0, 0.05, 1e-4, 0.005), strict=True))
    kind = {f"energy_j_per_{term}": factor * cost for term, cost in costs.items()}
    powers = {"cap": 500.0, "idle": 50.0, "parked": 10.0, "active_static": 100.0}
    kind |= {f"power_w_{name}": factor * power for name, power in powers.items()}
    config = config_of(4, policy="baseload:rate_quality=1", energy_usd_per_kwh=0.12 / factor)
    told = Told(fleet_of(config, **kind))
    for number in range(1, 41):
        told.arrive(number % 2, at_s=0.05 * number, stream=number % 3 == 0)
        if number % 4 == 0:
            told.end(number // 2, output_tokens=number)
        if number % 7 == 0:
            told.fail(number - 1)
    found = []
    for command in told.said:
        if type(command) is CLOSE:
            energy_j = command.energy_j / factor
            command = (command.request, command.replica, command.reason, round(energy_j, 6))
        found.append(command)
    return found


def test_joules_doubled_and_their_price_halved_change_no_decision() -> None:
    """Law 7: exchange."""
    assert joules(1.0) == joules(2.0)


def test_a_machine_is_deterministic() -> None:
    assert joules(1.0) == joules(1.0)


def test_every_arrival_is_counted_under_one_end() -> None:
    told = one_replica()
    told.fill(4)
    told.arrive()
    for number in range(1, 5):
        told.end(number)
    counts = told.core.counts
    assert counts[:, 0].tolist()[0] == 5
    assert counts[2, 0] == 4
    assert counts[4, 0] == 1
    drawn_j = told.core.replicas.drawn_j(NS)
    receipts_j = sum(command.energy_j for command in told.said if type(command) is CLOSE)
    assert same(drawn_j, receipts_j + told.core.replicas.idle_j(NS))


def test_none_kept_is_one_kept() -> None:
    core = Core(fleet_of(), 0, kept=0)
    assert core.kept == 1
