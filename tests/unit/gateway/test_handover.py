"""From one configuration to the next: nothing is dropped, nothing is mixed."""

from __future__ import annotations

import msgspec
import pytest
from made_fleets import NS, TIERS, Told, close, config_of, fleet_of, one, same
from tests.faults.books import check_core

from baseload.gateway import events
from baseload.gateway.config import GatewayConfig, ModelEntry, ReplicasEntry
from baseload.gateway.handover import hand_over
from baseload.gateway.replicas import Replicas

OTHER = ModelEntry(name="other")


def reload(told: Told, config: GatewayConfig) -> list[events.AnyCommand]:
    """The machine takes over another configuration."""
    told.live = fleet_of(config)
    found = told.core.reconfigure(told.live, round(told.now_s * NS))
    told.said += found
    told._lanes = len(told.live.lanes)
    check_core(told.core)
    return found


def at(*urls: str, model: str = "m") -> ReplicasEntry:
    """Replicas of a model."""
    return ReplicasEntry(model=model, urls=urls)


def test_what_runs_goes_on_at_the_same_engine_under_its_new_number() -> None:
    told = Told()
    told.fill(2)
    assert reload(told, config_of(replicas=(at("http://new", "http://r1", "http://r0"),))) == []
    assert told.core.replicas.state.in_flight.tolist() == [0, 1, 1]
    told.now_s = 1.0
    ends = [close(told.end(number, output_tokens=10)) for number in (1, 2)]
    assert sorted(end.replica for end in ends) == [1, 2]
    receipts_j = sum(end.energy_j for end in ends)
    replicas = told.core.replicas
    assert same(replicas.drawn_j(2 * NS), receipts_j + replicas.idle_j(2 * NS))


def test_what_runs_at_an_engine_that_is_gone_ends_there() -> None:
    told = Told()
    told.fill(2)
    reload(told, config_of(replicas=(at("http://r1", "http://new"),)))
    told.now_s = 1.0
    gone = close(told.end(1, output_tokens=10))
    kept = close(told.end(2, output_tokens=10))
    assert {gone.replica, kept.replica} == {-1, 0}
    assert gone.reason == kept.reason == "answered"
    replicas = told.core.replicas
    receipts_j = gone.energy_j + kept.energy_j
    assert same(replicas.drawn_j(2 * NS), receipts_j + replicas.idle_j(2 * NS))


def test_a_failure_at_an_engine_that_is_gone_is_tried_at_one_that_is_there() -> None:
    """The old number of its replica was shut out of the new fleet, or was none of it."""
    told = Told(fleet_of(config_of(8)))
    told.fill(8)
    reload(told, config_of(replicas=(at("http://new"),)))
    assert one(told.fail(8), events.Send).replica == 0
    assert one(told.fail(1), events.Send).replica == 0


def test_tiers_are_found_again_by_their_names() -> None:
    """What ran had its tier looked up twice, the second time by a number of the new file."""
    told = Told()
    told.arrive(0)
    told.arrive(1)
    reload(told, config_of(tiers=TIERS[::-1]))
    assert [told.core.lives[number].tier for number in (1, 2)] == [1, 0]
    told.end(1)
    assert told.core.counts[2].tolist() == [0.0, 1.0]


def test_options_are_found_again_by_their_names() -> None:
    told = Told()
    told.arrive(0)
    models = (OTHER, msgspec.structs.replace(config_of().models[0], efforts=()))
    reload(told, config_of(models=models, replicas=(at("http://r0", "http://r1"),)))
    end = close(told.end(1, output_tokens=3))
    assert told.live.options[end.option].name == "m"


def test_what_waits_is_sent_where_there_is_room_now() -> None:
    told = Told(fleet_of(config_of(1)))
    told.fill(3)
    told.arrive(1)
    told.arrive(1)
    said = reload(told, config_of(2))
    assert [command.request for command in said if type(command) is events.Send] == [4, 5]


def test_what_asked_for_a_model_that_is_gone_is_refused() -> None:
    told = Told(fleet_of(config_of(1)))
    told.fill(3)
    told.arrive(1)
    said = reload(told, config_of(models=(OTHER,), replicas=(at("http://r0", model="other"),)))
    assert close(said).reason == "no_replica"
    assert close(told.end(1)).reason == "answered"
    failed = told.fail(2)
    assert one(failed, events.Send) is None, "nobody could try it again"
    assert close(failed).reason == "upstream"


def test_what_was_learned_goes_along() -> None:
    told = Told()
    for number in range(1, 40):
        told.arrive(session=1)
        told.end(number, output_tokens=700)
    for _ in range(3):
        told.core.replicas.health[0].failed(99, config_of().breaker, 0)
    before = told.core.replicas
    here = before.live.replicas[before.sessions[1][0]].url
    reload(told, config_of(replicas=(at("http://r1", "http://r0"),)))
    after = told.core.replicas
    assert after.live.replicas[after.sessions[1][0]].url == here
    assert after.state.forecast[0]["mean_tokens"].max() > 500.0
    assert after.state.traffic[0] == before.state.traffic[0]
    assert after.health[1].breaker == "open"
    assert after.state.open.tolist() == [1, 0]


@pytest.mark.parametrize("times", [2, 3])
def test_requests_live_through_several_reloads(times: int) -> None:
    told = Told()
    told.fill(2)
    for number in range(times):
        told.now_s += 1.0
        urls = ("http://r1", f"http://new{number}")
        reload(told, config_of(replicas=(at(*urls),), tiers=TIERS[:: (-1) ** number]))
    ends = [close(told.end(number, output_tokens=10)) for number in (1, 2)]
    at_ns = round((told.now_s + 1.0) * NS)
    replicas = told.core.replicas
    receipts_j = sum(end.energy_j for end in ends)
    assert same(replicas.drawn_j(at_ns), receipts_j + replicas.idle_j(at_ns))


def test_a_lane_too_many_is_lost_not_an_error() -> None:
    told = Told()
    told.lane(0)
    new = Replicas(fleet_of(), 0, kept=1)
    new.live.most_lanes = 0
    assert hand_over(told.core.replicas, new, [], 0) == []
