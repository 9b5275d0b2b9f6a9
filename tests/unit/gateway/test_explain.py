"""An explained decision says the price that was paid, whom else there was, and how old the news."""

from __future__ import annotations

import math
import random

import pytest
from made_fleets import NS, Told, config_of, one
from tests.faults.fleets import ASKED, random_fleet

from baseload.gateway import events
from baseload.gateway.core import Core
from baseload.gateway.explain import PARTS, decisions_of, price_parts


def explained(told, request=1):
    return told.core.explain(request, round(told.now_s * NS))


@pytest.mark.parametrize("seed", range(30))
def test_the_price_is_its_parts_and_nobody_cheaper_was_passed_over(seed):
    draw = random.Random(seed)
    live = random_fleet(draw)
    able = [asked for asked in ASKED if asked.model in live.models]
    told = Told(live)
    told.core = core = Core(live, 0, kept=64)
    for request in range(1, 20):
        lane = live.lane(draw.choice(able), draw.randrange(len(live.tiers)))
        while told._lanes <= lane:
            met = live.lanes[told._lanes]
            added = events.LaneAdded(lane=told._lanes, tier=met.tier, allowed=list(met.allowed))
            told.tell(added)
            told._lanes += 1
        arrived = events.Arrived(request=request, lane=lane, input_tokens=draw.choice((9.0, 400.0)))
        sends = [
            command
            for command in told.tell(arrived, request / 10)
            if isinstance(command, events.Send) and command.request == request
        ]
        found = explained(told, request)
        assert len(found) == len(sends) <= 1
        for said, sent in zip(found, sends, strict=True):
            assert said.replica == live.replicas[sent.replica].name
            assert said.option == live.options[sent.option].name
            total = math.fsum(said.parts.values()) + said.other_usd
            assert math.isclose(total, said.price_usd, rel_tol=1e-9, abs_tol=1e-15)
            prices = [other.price_usd for other in said.candidates]
            assert prices == sorted(prices)
            assert (said.option, said.type) in [(c.option, c.type) for c in said.candidates]
            if said.runner_up is not None:
                assert (said.runner_up.option, said.runner_up.type) != (said.option, said.type)
                assert said.margin_usd == said.runner_up.price_usd - said.price_usd
            parts = price_parts(core.replicas, core.lives[request].slot)
            assert parts["price_usd"] == said.price_usd
            assert {name: parts[name] for name in PARTS} == said.parts


def test_each_attempt_has_its_own_and_says_whom_it_left_out():
    told = Told()
    told.arrive()
    first = told.said[-1].replica
    told.tell(events.Broke(request=1, attempt=0, cause="connect"), 2.0)
    found = explained(told)
    assert [said.attempt for said in found] == [0, 1]
    assert found[0].excluded == []
    assert found[1].excluded == [told.live.replicas[first].name]
    assert found[0].replica != found[1].replica
    assert [said.age_s for said in found] == [2.0, 0.0]


def test_ages_are_those_of_the_moment_of_the_decision():
    told = Told()
    told.arrive()
    said = explained(told)[0]
    assert said.signals == {"own_counts_s": 0.0, "heard_s": None, "engine_metrics_s": None}
    for replica in (0, 1):
        told.tell(events.Probed(replica=replica, healthy=True), 1.0)
    for replica in (0, 1):
        told.tell(events.Sampled(replica=replica, running=0.0, waiting=0.0), 3.0)
    told.arrive(at_s=4.0)
    said = explained(told, 2)[0]
    assert said.signals == {"own_counts_s": 0.0, "heard_s": 3.0, "engine_metrics_s": 1.0}
    told.now_s = 9.0
    assert explained(told, 2)[0].signals == said.signals
    assert explained(told, 2)[0].age_s == 5.0


def test_old_decisions_are_forgotten_and_others_never_were():
    told = Told()
    told.core = Core(told.live, 0, kept=2)
    for _ in range(3):
        told.arrive()
    assert explained(told, 1) == []
    assert [len(explained(told, request)) for request in (2, 3)] == [1, 1]
    assert decisions_of(told.core.replicas, 99, 0) == []


def test_a_request_that_nobody_takes_leaves_no_decision():
    told = Told()
    for replica in (0, 1):
        for _ in range(2):
            told.tell(events.Probed(replica=replica, healthy=False))
    told.arrive()
    assert explained(told) == []


def test_a_session_that_is_followed_is_said_to_be():
    told = Told()
    told.arrive(session=7)
    first = one(told.said, events.Send).replica
    told.end(1, output_tokens=5)
    told.arrive(session=7)
    said = explained(told, 2)[0]
    assert said.replica == told.live.replicas[first].name
    assert said.followed_session
    assert config_of().replicas[0].urls[first].endswith(said.replica)
