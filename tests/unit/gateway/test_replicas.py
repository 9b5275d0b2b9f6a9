"""The replicas of the state machine: what is known of them, from whom, and how fast they are."""

from __future__ import annotations

import math

import msgspec
import pytest
from made_fleets import NS, Told, close, config_of, fleet_of, one
from tests.faults.books import check_core

from baseload.gateway import events
from baseload.gateway.config import ReplicasEntry, TelemetryEntry
from baseload.gateway.replicas import Replicas


def counts(told: Told) -> list[int]:
    return told.core.replicas.state.in_flight.tolist()


# Others


def test_what_engines_say_is_believed_when_two_samples_agree() -> None:
    told = Told()
    told.fill(2)
    busy = events.Sampled(replica=0, running=3.0, waiting=1.0)
    told.tell(busy)
    assert counts(told) == [1, 1]
    told.tell(busy)
    assert counts(told) == [4, 1]
    told.tell(events.Sampled(replica=0, running=2.0, waiting=0.0))
    assert counts(told) == [2, 1]
    told.tell(events.Sampled(replica=0, running=-1.0))
    assert counts(told) == [2, 1], "it did not say"
    check_core(told.core)


def test_load_from_elsewhere_drives_requests_away_and_is_forgotten() -> None:
    told = Told()
    for _ in range(2):
        told.tell(events.Sampled(replica=0, running=3.0))
    assert [one(told.arrive(), events.Send).replica for _ in range(3)] == [1, 1, 1]
    told.until(15.0)
    assert counts(told) == [0, 3]
    check_core(told.core)


def test_other_workers_requests_count_whole_however_many_they_are() -> None:
    """Counts were cut at what a replica may hold; when own requests ended, the rest looked like
    less than it was.
    """
    told = Told()
    told.fill(4)
    told.tell(events.Others(in_flight=[300, 0], tokens=[9000, 0]))
    assert counts(told) == [302, 2]
    for number in range(1, 5):
        told.end(number)
    assert counts(told) == [300, 0]
    told.tell(events.Others(in_flight=[0, 0], tokens=[0, 0]))
    assert counts(told) == [0, 0]
    assert told.core.replicas.state.tokens.tolist() == [0, 0]
    check_core(told.core)


def test_what_is_about_another_fleet_is_left_alone() -> None:
    told = Told()
    before = told.core.replicas.policy.lateness_weight.tolist()
    told.tell(events.Others(in_flight=[1, 2, 3], tokens=[1, 2, 3], counts=[[1.0]]))
    told.tell(events.Probed(replica=9, healthy=False))
    told.tell(events.Woken(replica=9, awake=False))
    led = told.core.replicas.leading()
    told.tell(msgspec.structs.replace(led, weight=[1.0] * 7))
    told.tell(msgspec.structs.replace(led, wanted=[0]))
    assert counts(told) == [0, 0]
    assert told.core.replicas.policy.lateness_weight.tolist() == before
    assert told.core.others_counts.shape == told.core.counts.shape


def test_who_follows_does_as_the_leader_says() -> None:
    leader, follower = Told(), Told()
    for _ in range(2):
        leader.tell(events.Probed(replica=0, healthy=False))
        leader.tell(events.Sampled(replica=1, running=2.0))
    leader.core.replicas.policy.lateness_weight[:] = (7.0, 3.0)
    follower.tell(leader.core.replicas.leading())
    assert follower.core.replicas.policy.lateness_weight.tolist() == [7.0, 3.0]
    assert follower.core.replicas.state.open.tolist() == [0, 1]
    assert counts(follower) == [0, 2]
    check_core(follower.core)


# Probes


def test_all_are_probed_at_once_then_in_turn_and_not_those_just_heard_of() -> None:
    told = Told(fleet_of(config_of(16)))
    told.tell(events.Timer())
    asked = [command.replica for command in told.said if isinstance(command, events.Probe)]
    assert asked == [*range(16)]
    told.said.clear()
    told.tell(events.Probed(replica=3, healthy=True), 0.4)
    told.until(8.4)
    asked = [command.replica for command in told.said if isinstance(command, events.Probe)]
    assert sorted(asked) == sorted(set(range(16)) - {3})


def test_a_probe_that_cannot_tell_sleep_wakes_nobody() -> None:
    """Engines without an end-point for it were taken to be awake by the next probe."""
    told = Told()
    told.tell(events.Woken(replica=0, awake=False))
    told.tell(events.Probed(replica=0, healthy=True))
    assert not told.core.replicas.health[0].awake
    told.tell(events.Probed(replica=0, healthy=True, asleep=False))
    assert told.core.replicas.health[0].awake


# Sessions


def test_a_session_goes_back_to_where_its_words_are() -> None:
    told = Told(fleet_of(config_of(4, policy="baseload:rate_quality=1")))
    told.arrive(session=5)
    told.arrive()
    told.end(1, output_tokens=50)
    here = told.core.replicas.sessions[5]
    assert here == (told.said[0].replica, 150.0)
    sent = one(told.arrive(session=5, input_tokens=200.0), events.Send)
    assert sent.replica == here[0]


# What is believed


@pytest.mark.parametrize(
    ("seen", "told_tokens", "believed"),
    [
        (0, 40, 40),
        (40, 42, 42),
        (40, -1, 40),
        (40, 0, 40),
        (40, 19, 40),
        (40, 20, 20),
        (0, 0, 0),
        (0, 10**9, 4000),
        (10, -(2**60), 10),
        (5000, 6000, 5000),
    ],
)
def test_counts_of_tokens_are_believed_as_far_as_they_can_be_true(
    seen: int, told_tokens: int, believed: int
) -> None:
    told = Told()
    told.arrive(stream=True)
    if seen:
        told.tell(events.Progressed(request=1, attempt=0, tokens=seen))
    assert close(told.end(1, output_tokens=told_tokens)).output_tokens == believed


def test_what_the_engine_had_cached_is_not_charged() -> None:
    found = []
    for cached in (-1, 0, 60, 100, 10**9):
        told = Told()
        told.arrive()
        end = close(told.end(1, input_tokens=100, output_tokens=5, cached_tokens=cached))
        found.append(end.energy_j)
    assert found[0] == found[1] > found[2] > found[3] == found[4] > 0.0


# Pace


def streams(told: Told, *, slower: float, seconds: float) -> float:
    """The pace that is learned from streams that take ``slower`` times as long as the model says,
    many at once.
    """
    state = told.core.replicas.state
    base = told.core.replicas.book.base_cost[0]
    at_s, running = told.now_s, 3
    each_s = base.time_s_per_step + running * (
        base.time_s_per_sequence + 1125.0 * base.time_s_per_context_token
    )
    while told.now_s < at_s + seconds:
        first = told.last + 1
        begun_s = told.now_s
        for _ in range(running * len(state.in_flight)):
            told.arrive(stream=True)
            told.tell(events.Progressed(request=told.last, attempt=0, tokens=1))
        told.until(begun_s + 40 * each_s * slower)
        for number in range(first, told.last + 1):
            told.end(number, input_tokens=1000, output_tokens=41)
    return float(told.core.replicas.book.pace[0])


@pytest.mark.parametrize("slower", [0.8, 1.0, 1.5])
def test_the_pace_that_is_learned_is_the_one_that_was(slower: float) -> None:
    """It settles: measured by costs that were not in use yet, it had run away to a bound."""
    told = Told(fleet_of(config_of(8)))
    streams(told, slower=slower, seconds=30.0)
    settled = [streams(told, slower=slower, seconds=6.0) for _ in range(3)]
    assert max(settled) / min(settled) < 1.05
    fast = Told(fleet_of(config_of(8)))
    base = streams(fast, slower=1.0, seconds=40.0)
    assert settled[-1] / base == pytest.approx(slower, rel=0.08)


# Bounds


def test_very_many_candidates_leave_fewer_decisions_remembered() -> None:
    live = fleet_of(config_of(2))
    assert Replicas(live, 0, kept=100).kept == 100
    assert Replicas(live, 0, kept=10**7).kept * 16 * len(live.options) <= 16 * 1024 * 1024


def test_a_decision_that_was_written_over_is_nobodys() -> None:
    config = config_of(1, telemetry=TelemetryEntry(decisions_kept=1))
    told = Told(fleet_of(config))
    told.core = type(told.core)(told.live, 0, kept=1)
    told._lanes = 0
    told.fill(4)
    assert told.core.explain(4, NS)
    told.arrive()
    assert told.core.explain(4, NS) == []


def test_joules_of_a_wake_are_counted() -> None:
    told = Told()
    told.tell(events.Woken(replica=0, awake=False), 0.0)
    told.tell(events.Woken(replica=0, awake=True), 10.0)
    idle_j = told.core.replicas.idle_j(10 * NS)
    assert idle_j == pytest.approx(10.0 * 50.0 + 10.0 * 10.0 + 100.0)


def test_a_prompt_fits_by_its_own_models_replicas() -> None:
    entries = (
        ReplicasEntry(model="m", urls=("http://a",)),
        ReplicasEntry(model="m", urls=("http://b",)),
    )
    told = Told(fleet_of(config_of(replicas=entries)))
    assert one(told.arrive(input_tokens=2000.0), events.Send)
    assert one(told.arrive(input_tokens=math.nextafter(2000.0, 3000.0)), events.Refuse)
