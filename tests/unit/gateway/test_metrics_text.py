"""The text of the page, byte for byte where it is short, and as another program reads it."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from baseload.gateway import metric_names as names
from baseload.gateway.metrics_text import MetricsText, wants_openmetrics


def test_a_counter_and_a_gauge():
    sums = {("baseload_refused_total", ("401",)): [3.0], ("baseload_workers", ()): [2.0]}
    assert MetricsText().page(sums).decode().splitlines() == [
        "# HELP baseload_refused_total Calls answered with an error before routing.",
        "# TYPE baseload_refused_total counter",
        'baseload_refused_total{status="401"} 3.0',
        "# HELP baseload_workers Worker processes alive.",
        "# TYPE baseload_workers gauge",
        "baseload_workers 2.0",
    ]
    opened = MetricsText().page(sums, openmetrics=True).decode().splitlines()
    assert opened[1] == "# TYPE baseload_refused counter"
    assert opened[2] == 'baseload_refused_total{status="401"} 3.0'
    assert opened[-1] == "# EOF"


def test_a_histogram_counts_all_below_its_bounds():
    values = [1.0] * (names.DECISION.width - 1) + [0.25]
    page = MetricsText().page({("baseload_decision_seconds", ()): values}).decode().splitlines()
    buckets = len(names.DECISIONS_S) + 1
    assert page[2] == 'baseload_decision_seconds_bucket{le="5e-06"} 1.0'
    assert page[1 + buckets] == f'baseload_decision_seconds_bucket{{le="+Inf"}} {buckets}.0'
    assert page[-2:] == [
        f"baseload_decision_seconds_count {buckets}.0",
        "baseload_decision_seconds_sum 0.25",
    ]


@pytest.mark.parametrize("label", ['a"b', "a\\b", "a\nb", "ä", "", "{}", ",="])
def test_any_label_comes_back(label):
    text = MetricsText()
    sums = {("baseload_build_info", (label,)): [1.0]}
    for _ in range(2):  # the second time from what it keeps
        (family,) = parsed(text.page(sums).decode())
        assert family.samples[0].labels == {"version": label}


def test_infinite_and_missing_numbers_are_spelled_as_prometheus_does():
    page = MetricsText().page({("baseload_workers", ()): [math.inf]}).decode()
    assert page.endswith("baseload_workers +Inf\n")
    assert MetricsText().page({}) == b""
    assert MetricsText().page({}, openmetrics=True) == b"# EOF\n"


def test_openmetrics_only_where_it_is_asked_for():
    assert wants_openmetrics("application/openmetrics-text; version=1.0.0,text/plain;q=0.5")
    assert not wants_openmetrics("text/plain;version=0.0.4;q=0.3,*/*;q=0.2")
    assert not wants_openmetrics("application/openmetrics-text; version=0.0.1")
    assert wants_openmetrics(
        "application/openmetrics-text;version=0.0.1;q=0.75,"
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4"
    )
    assert not wants_openmetrics("")
