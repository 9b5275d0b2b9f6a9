"""Why a request went where it went."""

from __future__ import annotations

import math
import random

import pytest
from made_fleets import NS, Told, config_of, fleet_of, one
from tests.faults.fleets import ASKED, random_fleet

from baseload.gateway import events
from baseload.gateway.core import Core
from baseload.gateway.explain import PARTS, decisions_of, price_parts


def told_of(**changes: object) -> Told:
    """A machine that decides by price."""
    return Told(fleet_of(config_of(3, policy="baseload:rate_quality=1", **changes)))


def test_the_parts_of_a_price_are_the_price() -> None:
    told = told_of(carbon_g_per_kwh=300.0)
    sent = one(told.arrive(), events.Send)
    (found,) = told.core.explain(1, NS)
    assert found.replica == told.live.replicas[sent.replica].name
    assert found.option == told.live.options[sent.option].name
    assert set(found.parts) == set(PARTS)
    assert found.price_usd == pytest.approx(sum(found.parts.values()) + found.other_usd)
    assert found.other_usd == pytest.approx(0.0, abs=1e-12)
    assert found.parts["energy_usd"] == pytest.approx(found.expected["energy_j"] * 0.12 / 3.6e6)
    assert found.candidates[0].price_usd == pytest.approx(found.price_usd)
    assert price_parts(told.core.replicas, 0)["price_usd"] == found.price_usd


def test_each_attempt_is_told_with_who_was_left_out() -> None:
    told = told_of()
    first = one(told.arrive(), events.Send)
    second = one(told.fail(1), events.Send)
    found = told.core.explain(1, 2 * NS)
    assert [one.attempt for one in found] == [0, 1]
    names = [told.live.replicas[send.replica].name for send in (first, second)]
    assert [one.replica for one in found] == names
    assert [one.excluded for one in found] == [[], names[:1]]
    assert [one.age_s for one in found] == [2.0, 2.0]


def test_signals_have_their_ages_and_none_where_nobody_was_heard() -> None:
    told = told_of()
    told.tell(events.Probed(replica=0, healthy=True), 1.0)
    told.tell(events.Sampled(replica=0, running=0.0), 2.0)
    told.arrive(at_s=4.0)
    (found,) = told.core.explain(1, 9 * NS)
    assert found.replica == told.live.replicas[0].name
    assert found.signals == {"own_counts_s": 0.0, "heard_s": 3.0, "engine_metrics_s": 2.0}
    other = told_of()
    other.arrive()
    assert other.core.explain(1, NS)[0].signals["engine_metrics_s"] is None


def test_what_is_forgotten_has_no_decision() -> None:
    told = told_of()
    for _ in range(3 * 16):
        told.arrive()
        told.end(told.last)
    assert told.core.explain(1, NS) == []
    assert decisions_of(told.core.replicas, 48, NS)
    assert told.core.explain(10**6, NS) == []


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
        found = core.explain(request, round(told.now_s * NS))
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


def test_a_session_that_is_followed_is_said_to_be():
    told = Told()
    told.arrive(session=7)
    first = one(told.said, events.Send).replica
    told.end(1, output_tokens=5)
    told.arrive(session=7)
    said = told.core.explain(2, NS)[0]
    assert said.replica == told.live.replicas[first].name
    assert said.followed_session
    assert config_of().replicas[0].urls[first].endswith(said.replica)
