"""Spans and histograms under OpenTelemetry's names, read back from memory."""

from __future__ import annotations

import builtins
import http.server
import subprocess
import sys
import threading

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from baseload.base.errors import BadInputError
from baseload.gateway.config import TelemetryEntry
from baseload.gateway.events import Close
from baseload.gateway.spans import Spans, open_spans

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ENDED = Close(
    request=1,
    reason="answered",
    replica=0,
    status=200,
    attempts=1,
    energy_j=20.0,
    queued_s=0.1,
    ttft_s=0.5,
    total_s=2.5,
)
WHO = {"endpoint": "chat", "tier": "bulk", "model": "small"}


@pytest.fixture
def memory():
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    spans = Spans(SimpleSpanProcessor(exporter), reader)
    yield spans, exporter, reader
    spans.close()


def points(reader):
    """Every data point as (metric, attributes) -> point."""
    data = reader.get_metrics_data()
    return {
        (metric.name, frozenset(point.attributes.items())): point
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


def test_a_request_is_one_span_with_the_names_of_the_convention(memory):
    spans, exporter, _ = memory
    span = spans.begin(
        endpoint="chat", model="auto", now_ns=1_000, traceparent=PARENT, tracestate="a=b"
    )
    spans.end(
        span,
        ENDED,
        now_ns=5_000,
        **WHO,
        effort="low",
        replica="small-0",
        address="engine",
        port=8000,
        response_id="chatcmpl-1",
        finish="stop",
        max_tokens=100,
        stream=True,
        service_tier="flex",
        input_tokens=9,
        output_tokens=5,
        reasoning_tokens=2,
        cached_tokens=4,
    )
    (done,) = exporter.get_finished_spans()
    assert (done.name, done.kind) == ("chat auto", SpanKind.SERVER)
    assert (done.start_time, done.end_time) == (1_000, 5_000)
    assert done.context.trace_id == int(PARENT.split("-")[1], 16)
    assert done.parent.span_id == int(PARENT.split("-")[2], 16)
    assert done.context.trace_state.to_header() == "a=b"
    assert dict(done.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "baseload",
        "gen_ai.request.model": "auto",
        "gen_ai.response.model": "small",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.stream": True,
        "gen_ai.openai.request.service_tier": "flex",
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.reasoning.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.server.time_to_first_token": 0.5,
        "gen_ai.infrastructure.energy": 20.0,
        "gen_ai.infrastructure.energy.per_token": 4.0,
        "server.address": "engine",
        "server.port": 8000,
        "http.response.status_code": 200,
        "baseload.tier": "bulk",
        "baseload.effort": "low",
        "baseload.replica": "small-0",
        "baseload.attempts": 1,
        "baseload.queue.duration": 0.1,
        "baseload.energy.method": "modelled",
    }
    assert done.status.status_code is StatusCode.UNSET
    assert done.resource.attributes["service.name"] == "baseload"


def test_a_failure_has_its_type_and_no_energy_that_was_not_spent(memory):
    spans, exporter, _ = memory
    span = spans.begin(endpoint="embeddings", model="small", now_ns=1)
    spans.end(span, Close(request=1, reason="saturated", status=429), now_ns=2, **WHO)
    (done,) = exporter.get_finished_spans()
    assert done.parent is None
    assert done.status.status_code is StatusCode.ERROR
    assert done.attributes["error.type"] == "saturated"
    assert done.attributes["gen_ai.operation.name"] == "embeddings"
    assert "gen_ai.response.model" not in done.attributes
    assert not [name for name in done.attributes if "energy" in name]


def test_tokens_nobody_saw_give_energy_but_none_a_token(memory):
    spans, exporter, _ = memory
    spans.end(
        spans.begin(endpoint="chat", model="small", now_ns=1),
        Close(request=1, reason="cancelled", attempts=1, energy_j=3.0, wasted_j=3.0),
        now_ns=2,
        **WHO,
        output_tokens=0,
    )
    (done,) = exporter.get_finished_spans()
    assert done.attributes["gen_ai.infrastructure.energy"] == 3.0
    assert "gen_ai.infrastructure.energy.per_token" not in done.attributes
    assert done.status.status_code is StatusCode.UNSET


def test_the_engine_is_told_of_this_span(memory):
    spans, _, _ = memory
    span = spans.begin(endpoint="chat", model="m", now_ns=1, traceparent=PARENT, tracestate="a=b")
    sent = spans.headers(span)
    version, trace, parent, flags = sent["traceparent"].split("-")
    assert (version, trace, flags) == ("00", PARENT.split("-")[1], "01")
    assert int(parent, 16) == span.get_span_context().span_id
    assert sent["tracestate"] == "a=b"
    assert spans.headers(None) == {}


@pytest.mark.parametrize("bad", ["junk", "00-0-0-01", "", "ff" * 40, "00-" + "0" * 32 + "-1-01"])
def test_a_bad_parent_begins_a_trace_of_its_own(memory, bad):
    spans, exporter, _ = memory
    span = spans.begin(endpoint="chat", model="m", now_ns=1, traceparent=bad)
    spans.end(span, ENDED, now_ns=2, **WHO)
    assert exporter.get_finished_spans()[0].parent is None


def test_a_parent_that_is_not_sampled_is_passed_on_and_not_written(memory):
    spans, exporter, _ = memory
    span = spans.begin(endpoint="chat", model="m", now_ns=1, traceparent=PARENT[:-2] + "00")
    assert spans.headers(span)["traceparent"].endswith("-00")
    spans.end(span, ENDED, now_ns=2, **WHO)
    assert exporter.get_finished_spans() == ()


def test_histograms_have_the_names_and_bounds_of_the_convention(memory):
    spans, _, reader = memory
    spans.end(None, ENDED, now_ns=2, **WHO, input_tokens=9, output_tokens=5)
    spans.end(None, Close(request=2, reason="expired", total_s=9.0), now_ns=3, **WHO)
    who = frozenset(
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "baseload",
            "gen_ai.request.model": "small",
        }.items()
    )
    found = points(reader)
    duration = found[("gen_ai.server.request.duration", who)]
    assert (duration.count, duration.sum) == (1, 2.5)
    assert duration.explicit_bounds[0] == 0.01
    assert duration.explicit_bounds[-1] == 81.92
    assert ("gen_ai.server.request.duration", who | {("error.type", "expired")}) in found
    assert found[("gen_ai.server.time_to_first_token", who)].sum == 0.5
    assert found[("gen_ai.server.time_per_output_token", who)].sum == 0.5
    output = found[("gen_ai.client.token.usage", who | {("gen_ai.token.type", "output")})]
    assert (output.sum, output.explicit_bounds[-1]) == (5, 67108864)
    assert found[("gen_ai.infrastructure.energy", who)].value == 20.0


def test_off_costs_no_import():
    program = (
        "import sys\n"
        "from baseload.gateway.config import TelemetryEntry\n"
        "from baseload.gateway.spans import open_spans\n"
        "assert open_spans(TelemetryEntry()) is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_asked_for_and_not_installed_is_told(monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **words):
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *rest, **words)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(BadInputError, match=r"pip install 'baseload\[otel\]'"):
        open_spans(TelemetryEntry(spans=True))


@pytest.mark.parametrize("url", ["collector:4318", "grpc://collector", "", "http:/x"])
def test_an_end_point_that_is_no_url_is_told(url):
    with pytest.raises(BadInputError, match="otlp_endpoint"):
        open_spans(TelemetryEntry(otlp_endpoint=url))


@pytest.mark.e2e
def test_spans_and_histograms_reach_a_collector():
    got = {}

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.setdefault(self.path, []).append((self.headers["Content-Type"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    spans = open_spans(TelemetryEntry(spans=True, otlp_endpoint=url))
    spans.end(spans.begin(endpoint="chat", model="m", now_ns=1), ENDED, now_ns=2, **WHO)
    spans.close()
    server.shutdown()
    thread.join()
    server.server_close()
    assert set(got) == {"/v1/traces", "/v1/metrics"}
    ((kind, body),) = got["/v1/traces"]
    assert kind == "application/x-protobuf"
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    assert [span.name for span in resource.scope_spans[0].spans] == ["chat m"]
