"""Prometheus and the gateway's page of metrics: a real server scrapes it where one is installed,
and its official parser reads it everywhere.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.parse
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text
from tests.e2e.gateway.parts import eventually, get, post

from baseload.gateway import metric_names
from baseload.gateway.metric_names import Metric

pytestmark = pytest.mark.e2e

DEPLOY = Path(__file__).parents[3] / "deploy"
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


@pytest.fixture
def prometheus(asked, tmp_path):
    """A real Prometheus with the shipped files, at the address that this gives; its target and its
    pace are the test's.
    """
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
    config["global"]["scrape_interval"] = config["global"]["evaluation_interval"] = "1s"
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [asked.url.removeprefix("http://")]}]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    shutil.copy(DEPLOY / "prometheus" / "alerts.yaml", tmp_path)
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path}/prometheus.yaml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address={url.removeprefix('http://')}",
            ],
            stdout=log,
            stderr=log,
        )
    yield url
    process.terminate()
    process.wait(20)


def api(url: str, path: str, **asked: str) -> dict:
    """The data of an answer of Prometheus; nothing where it does not answer yet."""
    try:
        page = json.loads(get(f"{url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"))
    except OSError:
        return {}
    assert page["status"] == "success", page
    return page["data"]


@pytest.mark.skipif(
    shutil.which("prometheus") is None,
    reason="no `prometheus` on PATH; the official parser above has read the page",
)
def test_a_real_prometheus_scrapes_it_and_knows_what_board_and_alerts_ask_for(prometheus):
    def answered() -> float:
        query = 'sum(baseload_requests_total{reason="answered"})'
        found = api(prometheus, "query", query=query).get("result")
        return float(found[0]["value"][1]) if found else 0.0

    eventually(lambda: answered() >= 3, within_s=30, what="Prometheus has the count")

    def rules() -> list[dict]:
        groups = api(prometheus, "rules").get("groups", [])
        found = [rule for group in groups for rule in group["rules"]]
        return found if found and all(rule["health"] == "ok" for rule in found) else []

    eventually(rules, within_s=30, what="all alerts are evaluated")
    board = json.loads((DEPLOY / "grafana" / "baseload.json").read_text())
    queries = set(expressions(board)) | {rule["query"] for rule in rules()}
    assert len(queries) > 10
    known = set(api(prometheus, "label/__name__/values"))
    # and what nothing has counted yet
    known |= {one.name for one in vars(metric_names).values() if isinstance(one, Metric)}
    unknown: set[str] = set()
    for query in queries:
        names = set(re.findall(r"\b(?:baseload|gen_ai|process)_[a-z0-9_]+", query))
        names = {name for name in names if not re.search(rf"\b{name}\s*=", query)}
        labels = set(re.findall(r"by \(([^)]*)\)", query))
        names -= {label.strip() for group in labels for label in group.split(",")}
        unknown |= names - known
    assert unknown == set()


def expressions(board: object):
    """Every query of a Grafana board."""
    if isinstance(board, dict):
        if isinstance(board.get("expr"), str):
            yield board["expr"]
        board = list(board.values())
    if isinstance(board, list):
        for part in board:
            yield from expressions(part)
