"""Metrics under vLLM's names, in a format that Prometheus' own parser reads."""

from __future__ import annotations

import asyncio

import pytest
from emulated_engines import ask, chat, engine_on
from emulated_time import FakeTime
from prometheus_client.parser import text_string_to_metric_families

from baseload.gateway.emulated.engine_page import Histogram


def read(text):
    """Samples by name and the labels beside model and engine."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert sample.labels.pop("model_name") == 'a"b'
            assert sample.labels.pop("engine") == "3"
            found[sample.name, *sample.labels.values()] = sample.value
    return found


def test_counts_times_and_joules():
    async def go():
        time = FakeTime()
        engine = engine_on(time, model_name='a"b', number=3)
        for tokens in (5, 9):
            body = chat(max_tokens=tokens, ignore_eos=True)
            await ask(time, engine, "/v1/chat/completions", body)
        leaver = asyncio.ensure_future(engine.post("/v1/chat/completions", chat(max_tokens=9)))
        await asyncio.sleep(0)
        running = read(engine.get("/metrics").body.decode())
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        time.run_until(time.now + 10.0)
        return running, read(engine.get("/metrics").body.decode()), engine.meters()

    running, found, meters = asyncio.run(go())
    assert running["vllm:num_requests_running",] == 1.0
    assert running["vllm:kv_cache_usage_perc",] > 0.0
    assert found["vllm:num_requests_running",] == 0.0
    assert found["vllm:num_requests_waiting",] == 0.0
    assert found["vllm:generation_tokens_total",] >= 14
    assert found["vllm:request_success_total", "length"] == 2
    assert found["vllm:request_success_total", "abort"] == 1
    assert found["vllm:time_to_first_token_seconds_count",] == 2
    assert found["vllm:inter_token_latency_seconds_count",] == 12
    assert found["vllm:e2e_request_latency_seconds_count",] == 2
    assert found["vllm:request_generation_tokens_sum",] == 14
    assert found["vllm:cache_config_info", "16", "250"] == 1.0
    spent_s = found["vllm:request_decode_time_seconds_sum",]
    assert spent_s == pytest.approx(found["vllm:inter_token_latency_seconds_sum",])
    states = ("active", "idle", "asleep", "waking")
    joules = [found["baseload_emulated_energy_joules_total", state] for state in states]
    assert sum(joules) == pytest.approx(meters.total_j)
    assert joules[0] > 0 < joules[1]


def test_buckets_hold_what_is_at_most_their_bound():
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.observe(value)
    lines = dict(line.rsplit(" ", 1) for line in histogram.lines("x", 'a="b"'))
    assert lines == {
        'x_bucket{a="b",le="1.0"}': "2",
        'x_bucket{a="b",le="2.0"}': "3",
        'x_bucket{a="b",le="+Inf"}': "4",
        'x_count{a="b"}': "4",
        'x_sum{a="b"}': "12.0",
    }
