"""Slow controllers with their hands on a live fleet."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from made_fleets import NS, Told, config_of, fleet_of, one

from baseload.gateway import events
from baseload.gateway.config import ReplicasEntry
from baseload.gateway.core import Core
from baseload.gateway.fleet_hands import FleetHands
from baseload.simulator.plant import COUNTED

REST, ROUSE = events.Rest, events.Rouse


def sleepy(count: int = 2, *, sleep: bool = True, **changes: Any) -> Told:
    """Replicas that may be put to sleep, and no controller that does it by itself."""
    urls = tuple(f"http://r{number}" for number in range(count))
    entry = ReplicasEntry(model="m", urls=urls, sleep=sleep)
    return Told(fleet_of(config_of(replicas=(entry,), **changes)))


def hands(told: Told) -> FleetHands:
    """The hands, at the present time."""
    told.core.hands.now_ns = round(told.now_s * NS)
    told.core.hands.commands = []
    return told.core.hands


def close(told: Told, replica: int, rest_s: float) -> None:
    """A replica is closed, and may rest after so long."""
    hands(told).close(replica, told.now_s, rest_s, 500.0)
    told.core.hands._look_ahead()


def asleep(told: Told, replica: int) -> None:
    """A replica is closed, told to rest, and sleeps."""
    close(told, replica, 0.0)
    assert one(told.tell(events.Timer()), REST) == REST(replica=replica)
    told.tell(events.Woken(replica=replica, awake=False))


def test_a_closed_replica_rests_once_it_is_idle_and_only_where_it_may() -> None:
    for sleep in (True, False):
        told = sleepy(sleep=sleep)
        told.fill(2)
        close(told, 0, 1.0)
        assert one(told.until(6.0), REST) is None
        told.end(1)
        told.end(2)
        said = told.until(20.0)
        assert (one(said, REST) == REST(replica=0)) is sleep
        told.arrive()
        assert told.core.lives[3].replica == 1


def test_a_wake_takes_the_time_of_its_type_and_opens_it() -> None:
    told = sleepy()
    asleep(told, 0)
    now_s = told.now_s
    assert hands(told).wake(0, now_s) == now_s + 2.0
    assert told.core.hands.commands == [ROUSE(replica=0)]
    assert told.core.replicas.state.open.tolist() == [0, 1]
    told.tell(events.Woken(replica=0, awake=True), now_s + 2.0)
    assert told.core.replicas.state.open.tolist() == [1, 1]
    assert hands(told).wake(0, told.now_s) == told.now_s


def test_a_wake_that_failed_is_tried_again_not_all_the_time() -> None:
    """It was told once: a replica whose engine did not wake slept for ever."""
    told = sleepy()
    asleep(told, 0)
    hands(told).wake(0, told.now_s)
    assert one(told.tell(events.Woken(replica=0, awake=True, done=False), 1.0), ROUSE) is None
    said = []
    for second in range(2, 30):
        said += told.tell(events.Probed(replica=0, healthy=True, asleep=True), float(second))
    roused = [command for command in said if type(command) is ROUSE]
    assert 3 <= len(roused) <= 5


def test_who_was_wanted_again_while_it_fell_asleep_is_woken() -> None:
    told = sleepy()
    close(told, 0, 0.0)
    assert one(told.tell(events.Timer()), REST)
    assert hands(told).wake(0, 0.5) == 0.5, "it is still awake"
    assert one(told.tell(events.Woken(replica=0, awake=False), 1.0), ROUSE) == ROUSE(replica=0)


def test_an_engine_found_asleep_is_woken_if_it_is_ours_to_wake() -> None:
    """After a restart or a reload everybody is wanted, and some sleep."""
    for sleep in (True, False):
        told = sleepy(sleep=sleep)
        said = told.tell(events.Probed(replica=1, healthy=True, asleep=True))
        assert (one(said, ROUSE) == ROUSE(replica=1)) is sleep
        assert told.core.replicas.state.open.tolist() == [1, 0]


def test_where_all_sleep_a_request_wakes_one() -> None:
    """Bulk waits for it, people are told to come back."""
    told = sleepy()
    for replica in (0, 1):
        asleep(told, replica)
    said = told.arrive()
    assert one(said, ROUSE) == ROUSE(replica=0)
    assert one(said, events.Refuse).reason == "no_replica"
    assert one(told.arrive(1), events.Refuse) is None
    assert told.core.waiting == [0, 1]
    said = told.tell(events.Woken(replica=0, awake=True), told.now_s + 2.0)
    assert one(said, events.Send).request == 2


def test_a_replica_that_the_working_set_closed_is_opened_where_no_other_would_do() -> None:
    told = sleepy()
    for replica in (0, 1):
        close(told, replica, 500.0)
    assert one(told.arrive(), events.Send)


def test_who_follows_has_no_hands() -> None:
    told = sleepy(parking=True)
    follower = Core(told.live, 0, leads=False)
    assert follower.hands.hands == []
    said = follower.handle(events.Probed(replica=0, healthy=True, asleep=True), 0)
    assert one(said, ROUSE) is None
    assert told.core.hands.hands != []


def test_counts_of_other_workers_are_added() -> None:
    told = Told()
    told.arrive()
    others = [[float(row + tier) for tier in range(2)] for row in range(len(COUNTED))]
    told.tell(events.Others(in_flight=[0, 0], tokens=[0, 0], counts=others))
    counts = told.core.hands.counts()
    assert counts[0, 0] == 1.0 + others[0][0]
    assert counts[3, 1] == others[3][1]


def test_held_requests_are_counted_with_the_first_that_must_go() -> None:
    told = sleepy()
    told.core.replicas.policy.hold[1] = 1
    for e2e_s in (50.0, 20.0):
        told.arrive(1, e2e_s=e2e_s)
    found, first_s = told.core.hands.held()
    assert found.tolist() == [0, 2]
    assert first_s == pytest.approx(10.0)
    told.core._out = []
    hands(told).release(1, 0.0)
    assert told.core.hands.held()[0].tolist() == [0, 1]
    assert told.core.hands.in_flight() == 1


def test_the_working_set_follows_the_load_and_parks_the_rest() -> None:
    """The simulator's own controller, at work on a live fleet."""
    tiers = config_of().tiers
    config = config_of(8, policy="baseload:rate_quality=1", parking=True)
    entry = msgspec.structs.replace(config.replicas[0], sleep=True)
    told = Told(fleet_of(msgspec.structs.replace(config, replicas=(entry,), tiers=tiers)))
    for number in range(1, 61):
        told.until(2.0 * number)
        for command in told.arrive(at_s=2.0 * number):
            if isinstance(command, events.Send):
                told.end(command.request, output_tokens=5)
    said = told.until(900.0)
    rested = {command.replica for command in told.said if type(command) is REST}
    assert 4 <= len(rested) < 8
    assert not any(type(command) is events.Close for command in said)
