"""Parts of the gateway benches that can be judged without running them."""

from __future__ import annotations

import json
import os
import time

import msgspec
import pytest

from _gateway_load import cpu_s_of, request, rss_mb_of, tree
from _gateway_mock import METRICS, WHOLE, _number
from _gateway_subjects import REPLICAS, gateway_config
from baseload.gateway.config import GatewayConfig
from common import rss_mb
from live_vs_simulated import FLEET, Meters, gateway_file, scenario_file


def test_the_gateway_is_measured_with_keys_and_320_replicas() -> None:
    config = msgspec.convert(gateway_config(8080, 9000), GatewayConfig)
    urls = [url for entry in config.replicas for url in entry.urls]
    assert len(urls) == len(set(urls)) == sum(count for _, count in REPLICAS) == 320
    assert all(url.startswith("http://127.0.0.1:9000/r/") for url in urls)
    assert config.keys


def test_the_load_sends_whole_requests() -> None:
    head, _, body = request(80, key="k", stream=True, tokens=7).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    asked = json.loads(body)
    assert (asked["stream"], asked["max_tokens"]) == (True, 7)
    assert 1000 < len(body) < 1500


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"max_tokens":17,"x":1}', 17),
        (b'{"max_tokens": 5}', 5),
        (b'{"max_tokens":null,"max_completion_tokens":33}', 33),
        (b'{"x":1}', 10),
    ],
)
def test_the_mock_engine_writes_as_many_chunks_as_asked(body: bytes, tokens: int) -> None:
    """Once, a peer that renames the field got ten chunks, and its CPU per chunk was 0."""
    assert _number(body) == tokens


def test_the_mock_engine_answers_like_vllm() -> None:
    head, _, body = WHOLE.partition(b"\r\n\r\n")
    assert int(head.lower().rpartition(b"content-length: ")[2]) == len(body)
    assert json.loads(body)["usage"]["completion_tokens"] == 30
    assert b"vllm:num_requests_running" in METRICS


def test_cpu_and_memory_of_a_process_are_those_it_has() -> None:
    before = cpu_s_of(os.getpid())
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    assert cpu_s_of(os.getpid()) - before >= 0.07
    assert os.getpid() in tree(os.getpid())
    assert rss_mb_of(os.getpid()) >= 0.9 * rss_mb()


def test_work_counts_to_the_end_and_rest_to_the_last_arrival() -> None:
    meters = Meters([])
    # each second 10 J of work and 1 J of rest, until 20 s
    meters.samples = [(n * 10**9, 10.0 * n, 1.0 * n) for n in range(21)]
    assert meters.over_trace(5 * 10**9, 10.0) == pytest.approx(10.0 * 15 + 1.0 * 10)


def test_live_and_simulated_have_the_same_fleet_and_promises(tmp_path) -> None:  # type: ignore[no-untyped-def]
    ports = list(range(9000, 9000 + sum(count for *_, count in FLEET)))
    live = msgspec.convert(gateway_file(8080, ports), GatewayConfig)
    scenario = scenario_file(tmp_path / "trace.parquet")
    assert [(entry.device, len(entry.urls)) for entry in live.replicas] == [
        (entry["device"], entry["replicas"]) for entry in scenario["fleet"]
    ]
    assert {entry.weights for entry in live.replicas} == {
        entry["model"] for entry in scenario["fleet"]
    }
    (tier,) = live.tiers
    (same,) = scenario["tiers"]
    assert (tier.name, tier.ttft_s, tier.tpot_s) == (same["name"], same["ttft_s"], same["tpot_s"])
    assert scenario["forecast"] == "online"
    assert {entry.max_queue for entry in live.replicas} == {scenario["max_queue"]}
