"""The summary: totals, rates of the last minute, percentiles, and what state a replica is in."""

from __future__ import annotations

import math
from bisect import bisect_left

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway import metric_names as names
from baseload.gateway.config import GatewayConfig, ModelEntry
from baseload.gateway.events import Close
from baseload.gateway.metrics import GatewayMetrics, ReplicaState, TierState
from baseload.gateway.summary import (
    RecentDecision,
    Summary,
    SummaryWindow,
    by_metric,
    quantile,
    summarise,
)

CONFIG = GatewayConfig(models=(ModelEntry(name="small"), ModelEntry(name="big")), replicas=())


def close(metrics, count=1, *, model="small", tier="interactive", **fields):
    command = Close(
        request=1,
        **{
            "reason": "answered",
            "attempts": 1,
            "energy_j": 30.0,
            "wasted_j": 10.0,
            "ttft_s": 0.5,
            "total_s": 2.5,
            **fields,
        },
    )
    for _ in range(count):
        metrics.closed(
            command, tier=tier, model=model, effort=None, input_tokens=7, output_tokens=11
        )


def test_without_any_data_it_is_whole():
    found = SummaryWindow().summary({}, CONFIG, at_s=5.0, clock_s=0.0)
    assert found.totals.requests == 0
    assert found.recent.requests_per_s is None
    assert [tier.name for tier in found.tiers] == ["interactive", "bulk"]
    assert found.tiers[0].ttft_s_p95 is None
    assert [model.name for model in found.models] == ["small", "big"]
    assert found.replicas == found.decisions == []
    said = msgspec.json.decode(msgspec.json.encode(found))
    assert (said["schema"], said["object"]) == ("baseload-summary/1", "energy.summary")
    assert msgspec.convert(said, Summary) == found


def test_totals_and_rates():
    metrics, window = GatewayMetrics(CONFIG), SummaryWindow()
    close(metrics, 100)
    window.summary(metrics.sums(), CONFIG, at_s=0.0, clock_s=1000.0)
    close(metrics, 20)
    close(metrics, 5, model="big", tier="bulk", missed=True)
    close(metrics, 1, reason="saturated", attempts=0, energy_j=0.0, wasted_j=0.0)
    metrics.refused(401)
    metrics.fleet(in_flight=3, power_w=500.0, joule_price_usd=1e-8)
    metrics.tiers([TierState(name="bulk", queued=4, lateness_weight=2.0)])
    found = window.summary(
        metrics.sums(),
        CONFIG,
        at_s=7.0,
        clock_s=1010.0,
        decisions=[RecentDecision(id="req-1", tier="bulk", model="big", reason="answered")],
    )
    assert found.totals.requests == 126
    assert found.totals.reasons == {"answered": 125, "saturated": 1}
    assert (found.totals.refused, found.totals.missed) == (1, 5)
    assert (found.totals.served_j, found.totals.wasted_j) == (2500.0, 1250.0)
    assert (found.totals.input_tokens, found.totals.output_tokens) == (882, 1386)
    recent = found.recent
    assert recent.window_s == 10.0
    assert recent.requests_per_s == pytest.approx(2.6)
    assert recent.request_power_w == pytest.approx(75.0)
    assert recent.fleet_power_w == 500.0
    assert recent.energy_j_per_request == pytest.approx(750.0 / 26)
    assert recent.miss_frac == pytest.approx(5 / 26)
    assert (recent.in_flight, recent.queued) == (3, 4)
    interactive, bulk = found.tiers
    assert (interactive.requests, bulk.requests) == (121, 5)
    assert (bulk.missed, bulk.queued, bulk.lateness_weight) == (5, 4, 2.0)
    assert bulk.requests_per_s == pytest.approx(0.5)
    assert 0.25 < bulk.ttft_s_p50 <= 0.5
    assert [model.energy_j for model in found.models] == [3600.0, 150.0]
    assert found.price_usd_per_j == 1e-8
    assert [one.id for one in found.decisions] == ["req-1"]


def test_rates_look_back_a_minute_and_no_further():
    metrics, window = GatewayMetrics(CONFIG), SummaryWindow()
    close(metrics, 1000)
    found = None
    for second in range(0, 301, 2):
        found = window.summary(metrics.sums(), CONFIG, at_s=0.0, clock_s=float(second))
        close(metrics, 2)
    assert found.recent.requests_per_s == pytest.approx(1.0)
    assert 60.0 <= found.recent.window_s <= 66.0


def test_the_first_answer_looks_back_to_the_start():
    metrics, window = GatewayMetrics(CONFIG), SummaryWindow(begun_s=100.0)
    close(metrics, 10)
    found = window.summary(metrics.sums(), CONFIG, at_s=0.0, clock_s=120.0)
    assert found.recent.requests_per_s == 0.5
    assert found.recent.window_s == 20.0


def test_counters_that_began_anew_give_no_rate_below_zero():
    window, metrics = SummaryWindow(), GatewayMetrics(CONFIG)
    close(metrics, 50)
    window.summary(metrics.sums(), CONFIG, at_s=0.0, clock_s=0.0)
    again = GatewayMetrics(CONFIG)
    close(again, 10)
    found = window.summary(again.sums(), CONFIG, at_s=0.0, clock_s=10.0)
    assert found.recent.requests_per_s == 1.0


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "open"),
        ({"open": False}, "closed"),
        ({"open": False, "breaker": 2}, "broken"),
        ({"breaker": 1}, "trial"),
        ({"healthy": False, "open": False, "breaker": 2}, "sick"),
        ({"parked": True, "open": False, "healthy": False}, "parked"),
    ],
)
def test_the_state_of_a_replica(fields, state):
    metrics = GatewayMetrics(CONFIG)
    metrics.replicas([ReplicaState(name="a", model="small", in_flight=2, kv_frac=0.5, **fields)])
    (found,) = SummaryWindow().summary(metrics.sums(), CONFIG, at_s=0.0, clock_s=0.0).replicas
    assert (found.name, found.model, found.state, found.in_flight) == ("a", "small", state, 2)
    assert found.kv_frac == 0.5
    assert found.running is found.signal_age_s is None


def test_many_pages_cost_one_answer():
    window, asked = SummaryWindow(), []

    def sums():
        asked.append(1)
        return {}

    answers = {window.answer(sums, CONFIG, at_s=0.0, clock_s=1.0 + i / 100) for i in range(50)}
    assert len(asked) == len(answers) == 1
    mine = [RecentDecision(id="mine", tier="bulk", model="big", reason="answered")]
    said = window.answer(sums, CONFIG, at_s=0.0, clock_s=1.5, decisions=mine)
    assert [one["id"] for one in msgspec.json.decode(said)["decisions"]] == ["mine"]
    assert len(asked) == 1
    assert window.answer(sums, CONFIG, at_s=0.0, clock_s=1.5) in answers, "kept for nobody else"
    window.answer(sums, CONFIG, at_s=0.0, clock_s=2.5)
    assert len(asked) == 2


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=50), st.floats(0.01, 1.0))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(values, frac):
    metrics = GatewayMetrics(CONFIG)
    for value in values:
        close(metrics, ttft_s=value)
    found = quantile(by_metric(metrics.sums()), names.FIRST_TOKEN, frac, tier="interactive")
    true = sorted(values)[math.ceil(frac * len(values)) - 1]
    bounds = [0.0, *names.FIRST_TOKENS_S]
    above = max(1, bisect_left(bounds, true))
    assert bounds[above - 1] - 1e-9 <= found <= bounds[above] + 1e-9


def test_beyond_the_last_bound_a_percentile_is_the_bound():
    metrics = GatewayMetrics(CONFIG)
    close(metrics, ttft_s=1e6)
    table = by_metric(metrics.sums())
    assert quantile(table, names.FIRST_TOKEN, 0.5) == names.FIRST_TOKENS_S[-1]
    assert quantile(table, names.FIRST_TOKEN, 0.5, tier="bulk") is None


def test_the_whole_is_pure():
    metrics = GatewayMetrics(CONFIG)
    close(metrics, 3)
    sums = metrics.sums()
    made = [summarise(sums, {}, CONFIG, span_s=2.0, at_s=1.0, decisions=[]) for _ in range(2)]
    assert made[0] == made[1]
    assert made[0].recent.requests_per_s == 1.5
