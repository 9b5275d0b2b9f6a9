"""Why a request went where it went."""

from __future__ import annotations

import pytest
from made_fleets import NS, Told, config_of, fleet_of, one

from baseload.gateway import events
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
