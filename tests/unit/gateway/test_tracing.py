"""The driver's requests as spans, and the engine told of them."""

from __future__ import annotations

import itertools

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from baseload.gateway.answers import Usage
from baseload.gateway.bodies import Asked
from baseload.gateway.config import ModelEntry, ReplicasEntry
from baseload.gateway.events import Close
from baseload.gateway.live_fleet import LiveReplica
from baseload.gateway.live_request import LiveRequest, Way
from baseload.gateway.spans import Spans
from baseload.gateway.tracing import Tracing
from baseload.gateway.wishes import Wishes

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
REPLICA = LiveReplica(
    number=0,
    name="small-0",
    url="http://engine:8000",
    kind=0,
    engine="vllm",
    model=ModelEntry(name="small"),
    entry=ReplicasEntry(model="small"),
)


def live_request(wishes):
    return LiveRequest(
        1,
        Asked(endpoint="chat", model="auto", stream=True, max_tokens=50),
        b"{}",
        wishes=wishes,
        request_id="req-1",
        tier="bulk",
        client="",
        say=None,
        hear=None,
        arrived_ns=0,
        answer_headers=[],
    )


@pytest.fixture
def traced():
    exporter, clock = InMemorySpanExporter(), itertools.count(1000, 500)
    spans = Spans(SimpleSpanProcessor(exporter), InMemoryMetricReader())
    tracing = Tracing(spans, clock_ns=lambda: next(clock))
    yield tracing, exporter
    tracing.close()


def test_a_request_is_a_span_between_the_clients_and_the_engines(traced):
    tracing, exporter = traced
    live = live_request(Wishes(traceparent=PARENT, tracestate="a=b"))
    tracing.arrived(live)
    sent = Way(REPLICA, None, {}).request_headers(live)
    live.replica, live.applied = REPLICA, {"effort": "low"}
    live.usage = Usage(input_tokens=9, output_tokens=5, reasoning_tokens=2, cached_tokens=0)
    tracing.decided(0.1)
    tracing.broke(live, "connect", again=True)
    tracing.closed(live, Close(request=1, reason="answered", replica=0, attempts=2, energy_j=10.0))
    tracing.failed("x", ValueError())
    (done,) = exporter.get_finished_spans()
    assert (done.start_time, done.end_time) == (1000, 1500)
    assert done.parent.span_id == int(PARENT.split("-")[2], 16)
    assert int(sent["traceparent"].split("-")[2], 16) == done.context.span_id
    assert sent["tracestate"] == "a=b"
    said = done.attributes
    assert said["gen_ai.request.model"] == "auto"
    assert (said["server.address"], said["server.port"]) == ("engine", 8000)
    assert said["gen_ai.usage.reasoning.output_tokens"] == 2
    assert (said["baseload.effort"], said["baseload.attempts"]) == ("low", 2)
    assert said["gen_ai.infrastructure.energy.per_token"] == 2.0


def test_a_request_that_reached_nobody_ends_its_span_too(traced):
    tracing, exporter = traced
    live = live_request(Wishes())
    tracing.arrived(live)
    assert live.wishes.traceparent, "a new trace begins here"
    tracing.closed(live, Close(request=1, reason="no_replica", status=503))
    (done,) = exporter.get_finished_spans()
    assert done.attributes["error.type"] == "no_replica"
    assert "server.address" not in done.attributes
    assert tracing._open == {}


def test_histograms_alone_leave_the_clients_trace_as_it_is():
    tracing = Tracing(Spans(None, InMemoryMetricReader()))
    live = live_request(Wishes(traceparent=PARENT))
    tracing.arrived(live)
    assert live.wishes.traceparent == PARENT
    tracing.closed(live, Close(request=1, reason="answered"))
    tracing.close()
