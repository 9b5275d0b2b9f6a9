"""OpenTelemetry: a ``gen_ai.*`` span a request, and its histograms, sent by OTLP over HTTP.

OpenTelemetry is imported only where the configuration asks for it (the extra ``baseload[otel]``);
off, ``open_spans`` gives None and a request pays one comparison. Names are those of the GenAI
conventions; energy has no agreed name yet and goes by the draft ``gen_ai.infrastructure.energy``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from baseload.base.errors import BadInputError
from baseload.base.version import VERSION
from baseload.gateway import events
from baseload.gateway import metric_names as names
from baseload.gateway.config import TelemetryEntry

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span

PROVIDER = "baseload"
_ATTRIBUTES = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
    "cached_tokens": "gen_ai.usage.cache_read.input_tokens",
}


def open_spans(telemetry: TelemetryEntry) -> Spans | None:
    """What the configuration asks for: None where it wants neither spans nor an OTLP end-point.
    Raises ``BadInputError`` where OpenTelemetry is not installed or the end-point is no URL.
    """
    if not telemetry.spans and telemetry.otlp_endpoint is None:
        return None
    base = telemetry.otlp_endpoint
    if base is not None and (urlsplit(base).scheme not in ("http", "https") or "//" not in base):
        raise BadInputError(
            "telemetry.otlp_endpoint is no URL that can be used",
            found=base,
            allowed="http://HOST:4318 or https://...",
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise BadInputError(
            "telemetry asks for OpenTelemetry, which is not installed",
            found=f"no module {error.name}",
            todo="pip install 'baseload[otel]', or take spans and otlp_endpoint out",
        ) from None
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=_path(base, "metrics")))
    if not telemetry.spans:
        return Spans(None, reader)
    return Spans(BatchSpanProcessor(OTLPSpanExporter(endpoint=_path(base, "traces"))), reader)


def _path(base: str | None, signal: str) -> str | None:
    """The end-point of one signal; None leaves it to OpenTelemetry's environment variables."""
    return None if base is None else f"{base.rstrip('/')}/v1/{signal}"


class Spans:
    """Writes spans through ``processor`` (None: no spans) and histograms to ``reader``."""

    def __init__(self, processor: SpanProcessor | None, reader: MetricReader) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create({"service.name": "baseload", "service.version": VERSION})
        self._context = TraceContextTextMapPropagator()
        self._in_context = set_span_in_context
        self._kind = SpanKind.SERVER
        self._bad = Status(StatusCode.ERROR)
        self._meters = MeterProvider([reader], resource=resource)
        self._tracers = self._tracer = None
        if processor is not None:
            self._tracers = TracerProvider(resource=resource)
            self._tracers.add_span_processor(processor)
            self._tracer = self._tracers.get_tracer("baseload.gateway", VERSION)
        meter = self._meters.get_meter("baseload.gateway", VERSION)

        def histogram(name: str, unit: str, bounds: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(
                name, unit=unit, explicit_bucket_boundaries_advisory=bounds
            )

        self._duration = histogram("gen_ai.server.request.duration", "s", names.GEN_AI_DURATIONS_S)
        self._first = histogram(
            "gen_ai.server.time_to_first_token", "s", names.GEN_AI_FIRST_TOKENS_S
        )
        self._gap = histogram("gen_ai.server.time_per_output_token", "s", names.GEN_AI_TOKEN_GAPS_S)
        self._tokens = histogram("gen_ai.client.token.usage", "{token}", names.TOKENS)
        self._energy = meter.create_counter("gen_ai.infrastructure.energy", unit="J")

    def begin(
        self,
        *,
        endpoint: str,
        model: str,
        now_ns: int,
        traceparent: str | None = None,
        tracestate: str | None = None,
    ) -> Span | None:
        """Begin the span of a request, as a child of the client's if it told of one. ``now_ns``:
        Unix time. None without spans.
        """
        if self._tracer is None:
            return None
        carrier = {}
        if traceparent:
            carrier["traceparent"] = traceparent
            if tracestate:
                carrier["tracestate"] = tracestate
        operation = names.OPERATIONS.get(endpoint, "chat")
        return self._tracer.start_span(
            f"{operation} {model}",
            context=self._context.extract(carrier),
            kind=self._kind,
            start_time=now_ns,
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.provider.name": PROVIDER,
                "gen_ai.request.model": model,
            },
        )

    def headers(self, span: Span | None) -> dict[str, str]:
        """What to send upstream so that the engine's spans are children of this one."""
        carried: dict[str, str] = {}
        if span is not None:
            self._context.inject(carried, self._in_context(span))
        return carried

    def end(
        self,
        span: Span | None,
        command: events.Close,
        *,
        now_ns: int,
        endpoint: str,
        tier: str,
        model: str,
        effort: str | None = None,
        replica: str | None = None,
        address: str | None = None,
        port: int | None = None,
        response_id: str | None = None,
        finish: str = "",
        max_tokens: int | None = None,
        stream: bool = False,
        service_tier: str | None = None,
        conversation: str | None = None,
        input_tokens: int = -1,
        output_tokens: int = -1,
        reasoning_tokens: int = -1,
        cached_tokens: int = -1,
    ) -> None:
        """End a request's span, if it has one, and count the request. ``model``: that answered,
        else that was asked for. Tokens below 0 are not known.
        """
        self._count(command, endpoint, model, input_tokens, output_tokens)
        if span is None or not span.is_recording():
            return
        counts = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "reasoning_tokens": reasoning_tokens,
            "cached_tokens": cached_tokens,
        }
        said: dict[str, str | int | float | bool | tuple[str, ...] | None] = {
            "gen_ai.response.model": model if command.replica >= 0 else None,
            "gen_ai.response.id": response_id,
            "gen_ai.response.finish_reasons": (finish,) if finish else None,
            "gen_ai.request.max_tokens": max_tokens,
            "gen_ai.request.stream": stream,
            "gen_ai.openai.request.service_tier": service_tier,
            "gen_ai.conversation.id": conversation,
            "server.address": address,
            "server.port": port,
            "error.type": None if command.reason == "answered" else command.reason,
            "baseload.tier": tier,
            "baseload.effort": effort,
            "baseload.replica": replica,
            "baseload.attempts": command.attempts,
            "baseload.queue.duration": command.queued_s,
            "http.response.status_code": command.status or None,
        }
        said |= {_ATTRIBUTES[name]: count for name, count in counts.items() if count >= 0}
        if command.attempts:
            said["gen_ai.infrastructure.energy"] = command.energy_j
            said["baseload.energy.method"] = "modelled"
            if output_tokens > 0:
                said["gen_ai.infrastructure.energy.per_token"] = command.energy_j / output_tokens
        if command.ttft_s == command.ttft_s:
            said["gen_ai.server.time_to_first_token"] = command.ttft_s
        span.set_attributes({name: value for name, value in said.items() if value is not None})
        if command.reason not in ("answered", "cancelled"):
            span.set_status(self._bad)
        span.end(end_time=now_ns)

    def _count(
        self,
        command: events.Close,
        endpoint: str,
        model: str,
        input_tokens: int,
        output_tokens: int,
    ) -> None:
        """The histograms of one request."""
        who = {
            "gen_ai.operation.name": names.OPERATIONS.get(endpoint, "chat"),
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": model,
        }
        answered = command.reason == "answered"
        first_known = command.ttft_s == command.ttft_s
        ended = who if answered else {**who, "error.type": command.reason}
        self._duration.record(command.total_s, ended)
        if first_known:
            self._first.record(command.ttft_s, who)
        if first_known and answered and output_tokens > 1:
            gap_s = max(0.0, command.total_s - command.ttft_s) / (output_tokens - 1)
            self._gap.record(gap_s, who)
        for kind, count in (("input", input_tokens), ("output", output_tokens)):
            if count >= 0:
                self._tokens.record(count, {**who, "gen_ai.token.type": kind})
        if command.energy_j > 0.0:
            self._energy.add(command.energy_j, who)

    def close(self) -> None:
        """Send what is left and stop; takes a few seconds where nobody listens."""
        if self._tracers is not None:
            self._tracers.shutdown()
        self._meters.shutdown()
