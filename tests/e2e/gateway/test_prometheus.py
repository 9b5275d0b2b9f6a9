"""Prometheus and the gateway's page of metrics: a real server scrapes it where one is installed,
and its official parser reads it everywhere.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.parse

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text
from tests.e2e.gateway.parts import eventually, get, post

pytestmark = pytest.mark.e2e

CHAT = {"model": "small", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}


@pytest.fixture
def asked(gateway):
    for _ in range(3):
        post(f"{gateway.url}/v1/chat/completions", CHAT)
    return gateway


def test_the_official_parsers_read_both_forms_of_the_page(asked):
    url = f"{asked.url}/metrics"
    plain = {one.name: one for one in read_text(get(url).decode())}
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    opened = {one.name: one for one in read_open(get(url, headers=accept).decode())}
    for families in (plain, opened):
        family = families["baseload_requests"]
        assert family.type == "counter"
        assert family.documentation
        assert sum(one.value for one in family.samples if one.name.endswith("_total")) >= 3
        assert families["baseload_request_duration_seconds"].type == "histogram"
        assert families["baseload_replica_healthy"].type == "gauge"
    assert {name for name in plain if name.startswith("baseload")} == {
        name for name in opened if name.startswith("baseload")
    }


def test_buckets_grow_to_the_count(asked):
    families = {one.name: one for one in read_text(get(f"{asked.url}/metrics").decode())}
    histograms = [one for one in families.values() if one.type == "histogram"]
    assert histograms
    for family in histograms:
        series: dict[str, list[float]] = {}
        counts: dict[str, float] = {}
        for sample in family.samples:
            labels = json.dumps({k: v for k, v in sample.labels.items() if k != "le"})
            if sample.name.endswith("_bucket"):
                series.setdefault(labels, []).append(sample.value)
            elif sample.name.endswith("_count"):
                counts[labels] = sample.value
        assert series.keys() == counts.keys()
        for labels, values in series.items():
            assert values == sorted(values)
            assert values[-1] == counts[labels]


@pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="no `prometheus` on PATH; the official parser above has read the page",
)
def test_a_real_prometheus_scrapes_it(asked, tmp_path):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    target = asked.url.removeprefix("http://")
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {"job_name": "baseload", "static_configs": [{"targets": [target]}]},
        ],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    query = urllib.parse.quote('sum(baseload_requests_total{reason="answered"})')

    def answered() -> float:
        try:
            page = json.loads(get(f"http://127.0.0.1:{port}/api/v1/query?query={query}"))
        except OSError:
            return 0.0
        found = page["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0

    try:
        eventually(lambda: answered() >= 3, within_s=30, what="Prometheus has the count")
    finally:
        process.terminate()
        process.wait(20)
