"""Probes, metrics, sleep and wake: asked of engines, told to the machine."""

from __future__ import annotations

import asyncio

import pytest
from fake_gateway import FakeFleet, config_of

from baseload.gateway.config import HealthEntry, ReplicasEntry
from baseload.gateway.events import Probe, Probed, Rest, Rouse, Sampled, Woken
from baseload.gateway.hands import Hands
from baseload.gateway.live_request import ways_of
from baseload.gateway.upstream import UpstreamError

QUIET = HealthEntry(metrics_s=0.0)


class Asking:
    """Answers by path; an exception is raised."""

    def __init__(self, answers):
        self.answers, self.asked = answers, []

    async def get(self, url, headers, timeout_s):
        self.asked.append(url)
        found = self.answers[url.partition("://")[2].partition("/")[2]]
        if isinstance(found, Exception):
            raise found
        return found

    send_empty = get


def told(answers, *commands, health=QUIET, sleep=False, rounds=30):
    """What the machine is told."""
    events, troubles = [], []

    async def run():
        entry = ReplicasEntry(model="m", urls=("http://a:1", "http://b:2"), sleep=sleep)
        asking = Asking(answers)
        hands = Hands(
            events.append,
            read=lambda page, replica: Sampled(replica=replica, running=float(page)),
            trouble=lambda where, error: troubles.append(error),
        )
        fleet = FakeFleet(config_of(replicas=(entry,)))
        hands.configured(ways_of(fleet, lambda replica: asking), health)
        for command in commands:
            hands(command)
        for _ in range(rounds):
            await asyncio.sleep(0)
        await hands.close()
        return asking

    asking = asyncio.run(run())
    return events, troubles, asking


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [((200, b""), True), ((503, b""), False), (UpstreamError("connect"), False)],
)
def test_a_probe_says_whether_a_replica_is_well(answer, healthy):
    events, _, asking = told({"health": answer}, Probe(replica=1))
    assert events == [Probed(replica=1, healthy=healthy)]
    assert asking.asked == ["http://b:2/health"]


@pytest.mark.parametrize(("body", "asleep"), [(b'{"is_sleeping": true}', True), (b"{}", False)])
def test_where_engines_may_sleep_a_probe_asks_whether_they_do(body, asleep):
    answers = {"health": (200, b""), "is_sleeping": (200, body)}
    events, _, _ = told(answers, Probe(replica=0), sleep=True)
    assert events == [Probed(replica=0, healthy=True, asleep=asleep)]


def test_a_probe_that_is_still_out_is_not_sent_again():
    events, _, asking = told({"health": (200, b"")}, Probe(replica=0), Probe(replica=0))
    assert len(asking.asked) == len(events) == 1


@pytest.mark.parametrize(
    ("command", "path", "awake"),
    [(Rest(replica=0), "sleep?level=1", False), (Rouse(replica=0), "wake_up", True)],
)
def test_sleep_and_wake_go_through_the_engine(command, path, awake):
    events, _, asking = told({path: (200, b"")}, command)
    assert events == [Woken(replica=0, awake=awake, done=True)]
    assert asking.asked == [f"http://a:1/{path}"]
    events, _, _ = told({path: UpstreamError("connect")}, command)
    assert events == [Woken(replica=0, awake=awake, done=False)]


def test_metrics_are_read_of_all():
    health = HealthEntry(metrics_s=1.0)
    events, _, _ = told({"metrics": (200, b"3")}, health=health)
    assert events == [Sampled(replica=0, running=3.0), Sampled(replica=1, running=3.0)]
    for silent in ((404, b""), UpstreamError("connect")):
        assert told({"metrics": silent}, health=health)[0] == []


def test_a_fault_at_one_replica_is_told_and_stops_nothing():
    events, troubles, _ = told({"metrics": (200, b"junk")}, health=HealthEntry(metrics_s=1.0))
    assert events == []
    assert [type(one) for one in troubles] == [ValueError, ValueError]


def test_a_command_for_a_replica_that_is_gone_is_dropped():
    assert told({}, Probe(replica=9))[0] == []
