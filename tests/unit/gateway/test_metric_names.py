"""The rules of names and labels, over every metric."""

from __future__ import annotations

import re

import pytest

from baseload.gateway import metric_names as names

UNITS = ("_seconds", "_joules", "_watts", "_bytes", "_ratio", "_usd", "_info")
BOUNDED = {
    *("tier", "model", "effort", "reason", "replica", "type", "kind", "cause", "status", "result"),
    *("version", "error_type"),
    *("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"),
    "gen_ai_token_type",
}


@pytest.mark.parametrize("metric", names.METRICS, ids=lambda metric: metric.name)
def test_a_metric_keeps_the_rules(metric):
    assert re.fullmatch(r"(baseload|process|gen_ai)_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert set(metric.labels) <= BOUNDED
    assert metric.help.endswith(".")
    assert "\n" not in metric.help
    assert not re.search(r"_(ms|kwh|percent|milli\w+)(_|$)", metric.name)
    if metric.kind == "histogram":
        assert list(metric.bounds) == sorted(set(metric.bounds))
        assert metric.name.endswith(UNITS) or metric.name == "gen_ai_client_token_usage"
        assert metric.width == len(metric.bounds) + 2
    else:
        assert metric.bounds == ()
        assert metric.width == 1


def test_names_are_unique():
    assert len(names.BY_NAME) == len(names.METRICS)


def test_the_bounds_of_opentelemetry_are_met():
    """Of its conventions for GenAI: durations 0.01 doubling to 81.92, tokens 4^0 to 4^13."""
    assert names.GEN_AI_DURATIONS_S[0] == 0.01
    assert names.GEN_AI_DURATIONS_S[-1] == 81.92
    assert names.TOKENS[0] == 1.0
    assert names.TOKENS[-1] == 67108864.0
    assert names.GEN_AI_FIRST_TOKENS_S[-1] == 10.0
    assert (
        *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
    ) == names.GEN_AI_TOKEN_GAPS_S
