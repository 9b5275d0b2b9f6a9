"""Probes, metrics, sleep and wake: asked of engines, told to the machine."""

from __future__ import annotations

import asyncio

import pytest
from fake_gateway import FakeFleet, config_of

from baseload.gateway import hands as hands_module
from baseload.gateway.config import HealthEntry, ReplicasEntry
from baseload.gateway.engine_metrics import ENERGY_PATHS, METRICS_PATHS
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


def told(answers, *commands, health=QUIET, sleep=False, wait=None):
    """What the machine is told; ``wait``: until so many replicas have been asked twice."""
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
        for _ in range(30):
            await asyncio.sleep(0)
        while wait is not None and len(asking.asked) < 2 * wait:
            await asyncio.sleep(0.001)
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


@pytest.fixture
def often(monkeypatch):
    """Metrics are read without a pause."""
    monkeypatch.setattr(hands_module, "POLL_S", 0.001)
    monkeypatch.setattr(hands_module, "READS_PER_S", 1e4)
    return HealthEntry(metrics_s=0.001)


def test_metrics_are_read_of_all_in_turn(often):
    events, _, asking = told({"metrics": (200, b"3")}, health=often, wait=2)
    assert {event.replica for event in events} == {0, 1}
    assert {event.running for event in events} == {3.0}
    assert [url.partition("//")[2][0] for url in asking.asked[:4]] in (list("baba"), list("abab"))
    for silent in ((404, b""), UpstreamError("connect")):
        assert told({"metrics": silent}, health=often, wait=2)[0] == []


def test_an_engine_that_tells_its_joules_apart_is_asked_there_until_it_does_not(monkeypatch):
    monkeypatch.setitem(ENERGY_PATHS, "vllm", "/energy_metrics")
    monkeypatch.setitem(METRICS_PATHS, "vllm", "/prometheus/metrics")
    heard = []

    async def run(answers, rounds):
        hands = Hands(
            lambda event: None,
            read=lambda page, replica: None,
            energy=lambda body, replica: heard.append((body, replica)),
            trouble=lambda where, error: heard.append(error),
        )
        asking = Asking(answers)
        hands.ways = ways_of(FakeFleet(config_of()), lambda replica: asking)
        for _ in range(rounds):
            await hands._sample(hands.ways[1])
        return [url.partition("2/")[2] for url in asking.asked]

    pages = {"prometheus/metrics": (200, b""), "energy_metrics": (200, b"joules")}
    assert asyncio.run(run(pages, 2)) == ["prometheus/metrics", "energy_metrics"] * 2
    assert heard == [(b"joules", 1)] * 2
    pages["energy_metrics"] = (503, b"")
    asked = asyncio.run(run(pages, 3))
    assert asked == ["prometheus/metrics", "energy_metrics", *["prometheus/metrics"] * 2]
    assert len(heard) == 2
    pages["energy_metrics"] = UpstreamError("connect")  # may be back the next time
    assert asyncio.run(run(pages, 2)) == ["prometheus/metrics", "energy_metrics"] * 2


def test_a_fault_at_one_replica_is_told_and_stops_nothing(often):
    events, troubles, _ = told({"metrics": (200, b"junk")}, health=often, wait=2)
    assert events == []
    assert len(troubles) >= 3
    assert {type(one) for one in troubles} == {ValueError}


def test_a_command_for_a_replica_that_is_gone_is_dropped():
    assert told({}, Probe(replica=9))[0] == []
