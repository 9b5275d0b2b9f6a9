"""The gateway's counters: right numbers, few series, one page for several workers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parsed_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parsed

from baseload.base.errors import BadInputError
from baseload.base.version import VERSION
from baseload.gateway import metric_names as names
from baseload.gateway.cells import clear_folder
from baseload.gateway.config import GatewayConfig, ModelEntry
from baseload.gateway.events import Close
from baseload.gateway.metrics import GatewayMetrics, ReplicaState, TierState

CONFIG = GatewayConfig(
    models=(ModelEntry(name="small"), ModelEntry(name='odd "name"\\')),
    replicas=(),
    aliases={"fast": ("small",)},
)
ANSWERED = Close(
    request=1,
    reason="answered",
    attempts=1,
    energy_j=30.0,
    wasted_j=10.0,
    queued_s=0.0,
    ttft_s=0.5,
    total_s=2.5,
    output_tokens=11,
)
SMALL = {"tier": "interactive", "model": "small", "effort": "default"}


def samples(metrics, accept=""):
    """The page as another program reads it."""
    kind, page = metrics.metrics_page(accept)
    read = parsed_openmetrics if "openmetrics" in kind else parsed
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in read(page.decode())
        for sample in family.samples
    }


def value(metrics, name, **labels):
    return samples(metrics).get((name, frozenset(labels.items())))


def close(metrics, command=ANSWERED, **words):
    asked = {"tier": "interactive", "model": "small", "effort": None, "input_tokens": 100, **words}
    metrics.closed(command, **asked)


def test_one_request_is_counted_in_every_metric_of_a_request():
    metrics = GatewayMetrics(CONFIG)
    close(metrics, reasoning_tokens=4, cached_tokens=7, exhausted=True)
    found = samples(metrics)

    def of(name, **labels):
        return found[(name, frozenset((SMALL | labels).items()))]

    assert of("baseload_requests_total", reason="answered") == 1.0
    assert of("baseload_requests_total", reason="expired") == 0.0
    assert of("baseload_request_duration_seconds_sum") == 2.5
    assert of("baseload_request_duration_seconds_bucket", le="1.28") == 0.0
    assert of("baseload_request_duration_seconds_bucket", le="2.56") == 1.0
    assert of("baseload_time_to_first_token_seconds_sum") == 0.5
    assert of("baseload_time_to_first_token_seconds_bucket", le="0.5") == 1.0
    assert of("baseload_time_per_output_token_seconds_sum") == pytest.approx(0.2)
    assert of("baseload_queue_seconds_count") == 1.0
    tokens = {kind: of("baseload_tokens_total", type=kind) for kind in names.TOKEN_TYPES}
    assert tokens == {"input": 100.0, "output": 11.0, "reasoning": 4.0, "cached": 7.0}
    assert of("baseload_request_energy_joules_sum") == 30.0
    assert of("baseload_thinking_exhausted_total") == 1.0
    assert of("baseload_slo_misses_total") == 0.0
    for kind, joules in (("served", 20.0), ("wasted", 10.0)):
        labels = frozenset({"kind": kind, "model": "small"}.items())
        assert found[("baseload_energy_joules_total", labels)] == joules


def test_the_names_of_opentelemetry_say_the_same():
    metrics = GatewayMetrics(CONFIG)
    close(metrics, endpoint="completions")
    close(metrics, Close(request=2, reason="saturated", total_s=0.001), endpoint="completions")
    who = {
        "gen_ai_operation_name": "text_completion",
        "gen_ai_provider_name": "baseload",
        "gen_ai_request_model": "small",
    }
    duration = "gen_ai_server_request_duration_seconds_count"
    assert value(metrics, duration, **who, error_type="") == 1.0
    assert value(metrics, duration, **who, error_type="saturated") == 1.0
    assert value(metrics, "gen_ai_server_time_to_first_token_seconds_sum", **who) == 0.5
    assert value(metrics, "gen_ai_client_token_usage_sum", **who, gen_ai_token_type="output") == 11


def test_what_is_not_known_is_not_counted():
    metrics = GatewayMetrics(CONFIG)
    close(metrics, Close(request=1, reason="cancelled", total_s=1.0), input_tokens=-1)
    assert value(metrics, "baseload_time_to_first_token_seconds_count", **SMALL) == 0.0
    assert value(metrics, "baseload_time_per_output_token_seconds_count", **SMALL) == 0.0
    assert value(metrics, "baseload_tokens_total", **SMALL, type="input") == 0.0
    assert value(metrics, "baseload_request_energy_joules_count", **SMALL) == 0.0


@given(st.lists(st.tuples(st.text(), st.text(), st.none() | st.text()), max_size=30))
def test_no_word_of_a_client_becomes_a_label(asked):
    metrics = GatewayMetrics(CONFIG)
    for tier, model, effort in asked:
        close(metrics, tier=tier, model=model, effort=effort)
    labels = {pair for _, pairs in samples(metrics) for pair in pairs}
    allowed = {"interactive", "bulk", "small", 'odd "name"\\', "fast", "auto", "other"}
    allowed |= set(names.REASONS) | set(names.TOKEN_TYPES) | {"default", "", "chat", "baseload"}
    allowed |= {"none", "minimal", "low", "medium", "high", "xhigh", "max", "ok", "failed"}
    allowed |= {"served", "wasted", "metrics_full", VERSION}
    assert {word for name, word in labels if name != "le"} <= allowed


@given(
    st.lists(
        st.builds(
            Close,
            request=st.just(1),
            reason=st.sampled_from(names.REASONS),
            attempts=st.integers(0, 3),
            energy_j=st.floats(0, 1e6),
            queued_s=st.floats(0, 1e4),
            ttft_s=st.just(math.nan) | st.floats(0, 1e4),
            total_s=st.floats(0, 1e5),
            output_tokens=st.integers(0, 10**6),
            missed=st.booleans(),
        ),
        max_size=20,
    )
)
def test_every_end_is_counted_once_and_buckets_only_grow(commands):
    metrics = GatewayMetrics(CONFIG)
    for command in commands:
        close(metrics, command)
    found = samples(metrics)
    ends = [number for (name, _), number in found.items() if name == "baseload_requests_total"]
    assert sum(ends) == len(commands)
    counts = {}
    for (name, pairs), number in found.items():
        if name.endswith("_bucket"):
            bound = float(dict(pairs)["le"])
            rest = (name, frozenset(pair for pair in pairs if pair[0] != "le"))
            counts.setdefault(rest, []).append((bound, number))
    for (name, pairs), buckets in counts.items():
        in_order = [number for _, number in sorted(buckets)]
        assert in_order == sorted(in_order)
        assert in_order[-1] == found[(name.replace("_bucket", "_count"), pairs)]


def test_both_formats_say_the_same_and_the_content_type_fits():
    metrics = GatewayMetrics(CONFIG)
    close(metrics)
    close(metrics, model='odd "name"\\')
    moving = ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds")
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    still = {key: n for key, n in samples(metrics).items() if key[0] not in moving}
    other = {key: n for key, n in samples(metrics, accept).items() if key[0] not in moving}
    assert still == other
    assert metrics.metrics_page()[0].startswith("text/plain; version=0.0.4")
    assert metrics.metrics_page(accept)[0].startswith("application/openmetrics-text")
    assert 'model="odd \\"name\\"\\\\"' in metrics.metrics_page()[1].decode()


def test_replicas_and_tiers_show_what_is_and_forget_what_is_gone():
    metrics = GatewayMetrics(CONFIG)
    here = ReplicaState(name="a", model="small", in_flight=3, breaker=2, open=False, kv_frac=0.5)
    metrics.replicas([here, ReplicaState(name="b", model="small")])
    metrics.tiers([TierState(name="bulk", queued=4, lateness_weight=2.0), TierState(name="?")])
    metrics.fleet(in_flight=7, power_w=1200.0)
    assert value(metrics, "baseload_replica_in_flight", replica="a", model="small") == 3.0
    assert value(metrics, "baseload_replica_open", replica="a", model="small") == 0.0
    assert value(metrics, "baseload_replica_kv_cache_ratio", replica="a", model="small") == 0.5
    assert value(metrics, "baseload_replica_engine_running", replica="a", model="small") is None
    assert value(metrics, "baseload_queued_requests", tier="bulk") == 4.0
    assert value(metrics, "baseload_queued_requests", tier="?") is None
    assert value(metrics, "baseload_requests_in_flight") == 7.0
    assert value(metrics, "baseload_power_watts") == 1200.0
    assert value(metrics, "baseload_joule_price_usd") is None
    metrics.replicas([ReplicaState(name="b", model="small")])
    assert value(metrics, "baseload_replica_open", replica="a", model="small") is None
    assert value(metrics, "baseload_replica_open", replica="b", model="small") == 1.0


def test_the_rest_is_counted():
    metrics = GatewayMetrics(CONFIG)
    metrics.refused(401)
    metrics.refused(99999)
    metrics.retried("connect")
    metrics.failed("a", "small", "idle")
    metrics.decided(1.5e-5)
    metrics.reloaded(True)
    metrics.reloaded(False)
    metrics.idle("small", 5.0)
    metrics.idle("nobody", 1.0)
    assert value(metrics, "baseload_refused_total", status="401") == 1.0
    assert value(metrics, "baseload_refused_total", status="other") == 1.0
    assert value(metrics, "baseload_retries_total", cause="connect") == 1.0
    failures = "baseload_attempt_failures_total"
    assert value(metrics, failures, replica="a", model="small", cause="idle") == 1.0
    assert value(metrics, "baseload_decision_seconds_bucket", le="2e-05") == 1.0
    assert value(metrics, "baseload_config_reload_total", result="ok") == 1.0
    assert value(metrics, "baseload_config_reload_total", result="failed") == 1.0
    assert value(metrics, "baseload_config_generation") == 2.0
    assert value(metrics, "baseload_energy_joules_total", kind="idle", model="small") == 5.0
    assert value(metrics, "baseload_energy_joules_total", kind="idle", model="other") == 1.0
    assert value(metrics, "baseload_build_info", version=VERSION) == 1.0
    assert value(metrics, "process_resident_memory_bytes") > 1e6


def test_kinds_of_own_errors_are_few():
    metrics = GatewayMetrics(CONFIG)
    for number in range(200):
        metrics.own_error(f"kind {number}")
    kinds = [pairs for name, pairs in samples(metrics) if name == "baseload_own_errors_total"]
    assert len(kinds) == 65
    assert value(metrics, "baseload_own_errors_total", kind="other") == 136.0


def test_a_reload_lets_new_names_in_and_keeps_what_was_counted():
    metrics = GatewayMetrics(CONFIG)
    close(metrics, model="new")
    close(metrics)
    metrics.configured(GatewayConfig(models=(ModelEntry(name="new"),), replicas=()))
    close(metrics, model="new")
    for model, count in (("other", 1.0), ("new", 1.0), ("small", 1.0)):
        labels = SMALL | {"model": model, "reason": "answered"}
        assert value(metrics, "baseload_requests_total", **labels) == count


def test_workers_answer_for_each_other(tmp_path, monkeypatch):
    clear_folder(tmp_path)
    workers = []
    for pid in (11, 12):
        monkeypatch.setattr("baseload.gateway.cells.os.getpid", lambda pid=pid: pid)
        workers.append(GatewayMetrics(CONFIG, multiprocess_dir=tmp_path))
    one, two = workers
    for metrics, count in ((one, 2), (two, 3)):
        for _ in range(count):
            close(metrics)
        metrics.fleet(in_flight=count)
        metrics.tiers([TierState(name="bulk", lateness_weight=float(count))])
    one.reloaded(True)
    for metrics in workers:
        answered = value(metrics, "baseload_requests_total", **SMALL, reason="answered")
        assert answered == 5.0
        assert value(metrics, "baseload_requests_in_flight") == 5.0
        assert value(metrics, "baseload_lateness_weight", tier="bulk") == 2.5
        assert value(metrics, "baseload_workers") == 2.0
        assert value(metrics, "baseload_config_generation") == 1.0
    two.close()
    assert value(one, "baseload_requests_total", **SMALL, reason="answered") == 5.0
    assert value(one, "baseload_requests_in_flight") == 2.0
    assert value(one, "baseload_workers") == 1.0
    one.close()


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    with pytest.raises(BadInputError, match="the folder that the workers' metrics share"):
        GatewayMetrics(CONFIG, multiprocess_dir=tmp_path / "absent")
