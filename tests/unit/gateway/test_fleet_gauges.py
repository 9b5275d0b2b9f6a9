"""The fleet in the metrics: right, read only, and energy that only grows."""

from __future__ import annotations

import math
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from baseload.fleet.physics import replica_type
from baseload.gateway.config import GatewayConfig
from baseload.gateway.core import Core
from baseload.gateway.engine_metrics import Readings
from baseload.gateway.events import Arrived, Ended, LaneAdded, Probed, Progressed, Sampled, Send
from baseload.gateway.fleet_gauges import (
    FleetGauges,
    idle_energy_j,
    reference_usd_per_j,
    replica_states,
)
from baseload.gateway.live_fleet import LiveFleet
from baseload.gateway.metrics import GatewayMetrics

S = 1_000_000_000
KIND = replica_type(device="L4-24GB", model="meta-llama/Llama-3.1-8B")
SAID = {
    "models": [{"name": "m"}],
    "replicas": [{"model": "m", "urls": ["http://a:1", "http://b:1"]}],
    "policy": "least_loaded",
}


@pytest.fixture
def core():
    core = Core(LiveFleet(msgspec.convert(SAID, GatewayConfig), [KIND]), 0)
    asked = SimpleNamespace(
        model="m", effort=None, endpoint="chat", images=0, audios=0, tools=False
    )
    core.live.lane(asked, 0)
    core.handle(LaneAdded(lane=0, tier=0, allowed=list(core.live.lanes[0].allowed)), 1)
    return core


def send(core, now_ns):
    commands = core.handle(Arrived(request=7, lane=0, input_tokens=100.0), now_ns)
    return next(one for one in commands if isinstance(one, Send))


def idle_power_w(core):
    """Of one replica."""
    return float(core.replicas.book.base_cost[0].power_w_idle)


def value(metrics, name, *labels):
    return metrics.sums().get((name, labels), [math.nan])[0]


def test_a_fleet_with_nothing_to_do_draws_idle_power(core):
    metrics = GatewayMetrics(core.live.config)
    gauges = FleetGauges(metrics)
    for second in (0, 10, 20):
        gauges.refresh(core, {}, second * S)
    idle_w = 2 * idle_power_w(core)
    assert value(metrics, "baseload_energy_joules_total", "idle", "m") == pytest.approx(20 * idle_w)
    assert value(metrics, "baseload_power_watts") == pytest.approx(idle_w)
    assert value(metrics, "baseload_requests_in_flight") == 0.0
    assert math.isnan(value(metrics, "baseload_joule_price_usd")), "nothing has been decided"


def test_a_replica_at_work_is_not_idle_and_its_request_is_shown(core):
    metrics = GatewayMetrics(core.live.config)
    gauges = FleetGauges(metrics)
    gauges.refresh(core, {}, 0)
    sent = send(core, 0)
    gauges.refresh(core, {}, 2 * S)
    name = core.live.replicas[sent.replica].name
    assert idle_energy_j(core, 2 * S)[name] < 1e-3
    assert value(metrics, "baseload_replica_in_flight", name, "m") == 1.0
    assert value(metrics, "baseload_requests_in_flight") == 1.0
    price = value(metrics, "baseload_joule_price_usd")
    assert price == pytest.approx(reference_usd_per_j(core.live)) == 0.12 / 3.6e6
    core.handle(Progressed(request=7, attempt=sent.attempt, tokens=1), 3 * S)
    core.handle(Ended(request=7, attempt=sent.attempt, output_tokens=10), 4 * S)
    gauges.refresh(core, {}, 4 * S)
    drawn_w = value(metrics, "baseload_power_watts")
    assert idle_power_w(core) < drawn_w < 10 * idle_power_w(core)
    assert value(metrics, "baseload_replica_in_flight", name, "m") == 0.0


def test_looking_changes_nothing_in_the_machine(core):
    """A log of events must replay to the same commands, however often somebody looked."""
    sent = send(core, 0)
    books = [np.copy(part) for part in core.replicas.book if isinstance(part, np.ndarray)]
    gauges = FleetGauges(GatewayMetrics(core.live.config))
    for second in range(5):
        gauges.refresh(core, {sent.replica: Readings(running=1.0)}, second * S)
    after = [part for part in core.replicas.book if isinstance(part, np.ndarray)]
    for old, new in zip(books, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_follower_leaves_idle_energy_to_the_one_that_leads(core):
    metrics = GatewayMetrics(core.live.config)
    gauges = FleetGauges(metrics, leads=False)
    for second in (0, 10):
        gauges.refresh(core, {}, second * S)
    assert math.isnan(value(metrics, "baseload_energy_joules_total", "idle", "m"))
    assert value(metrics, "baseload_power_watts") == 0.0


def test_another_fleet_in_its_place_adds_and_never_takes_away(core):
    metrics = GatewayMetrics(core.live.config)
    gauges = FleetGauges(metrics)
    for second in (0, 10):
        gauges.refresh(core, {}, second * S)
    core.reconfigure(LiveFleet(core.live.config, [KIND]), 10 * S)
    gauges.refresh(core, {}, 11 * S)
    gauges.refresh(core, {}, 20 * S)
    idle_w = 2 * idle_power_w(core)
    told_j = value(metrics, "baseload_energy_joules_total", "idle", "m")
    assert told_j == pytest.approx(20 * idle_w, rel=1e-6)
    assert value(metrics, "baseload_power_watts") == pytest.approx(idle_w)


def test_replicas_as_the_machine_sees_them(core):
    core.handle(Probed(replica=1, healthy=False), 1 * S)
    core.handle(Probed(replica=1, healthy=False), 2 * S)
    core.handle(Sampled(replica=0, running=2.0, waiting=1.0, kv_frac=0.5), 3 * S)
    reading = Readings(running=2.0, waiting=1.0, kv_frac=0.5, energy_j=9.0)
    good, sick = replica_states(core, {0: reading}, 5 * S)
    assert (good.open, good.healthy, good.breaker, good.parked) == (True, True, 0, False)
    assert (good.running, good.waiting, good.kv_frac, good.engine_energy_j) == (2.0, 1.0, 0.5, 9.0)
    assert good.signal_age_s == 2.0
    assert (sick.open, sick.healthy) == (False, False)
    assert math.isnan(sick.signal_age_s)
    assert sick.running == -1.0
