"""Joins the driver to OpenTelemetry's spans: one for each request, passed on to its engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from baseload.gateway.events import Cause, Close
from baseload.gateway.live_request import LiveRequest
from baseload.gateway.spans import Spans

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Tracing:
    """A listener of the driver. ``clock_ns``: Unix time."""

    def __init__(self, spans: Spans, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._spans, self._clock_ns = spans, clock_ns
        self._open: dict[int, Span] = {}

    def arrived(self, live: LiveRequest) -> None:
        """Begin its span, and have the engine told of it."""
        wishes, asked = live.wishes, live.asked
        span = self._spans.begin(
            endpoint=asked.endpoint,
            model=asked.model,
            now_ns=self._clock_ns(),
            traceparent=wishes.traceparent or None,
            tracestate=wishes.tracestate or None,
        )
        if span is None:
            return
        self._open[live.number] = span
        sent = self._spans.headers(span)
        live.wishes = msgspec.structs.replace(
            wishes,
            traceparent=sent.get("traceparent", ""),
            tracestate=sent.get("tracestate", ""),
        )

    def closed(self, live: LiveRequest, close: Close) -> None:
        """End its span."""
        option, usage, asked = live.option, live.usage, live.asked
        replica, applied = live.replica, live.applied.get("effort")
        where = None if replica is None else urlsplit(replica.url)
        self._spans.end(
            self._open.pop(live.number, None),
            close,
            now_ns=self._clock_ns(),
            endpoint=asked.endpoint,
            tier=live.tier,
            model=asked.model if option is None else option.model.name,
            effort=None if applied is None else str(applied),
            replica=None if replica is None else replica.name,
            address=None if where is None else where.hostname,
            port=None if where is None else where.port,
            max_tokens=asked.max_tokens,
            stream=asked.stream,
            service_tier=asked.service_tier,
            input_tokens=-1 if usage is None else usage.input_tokens,
            output_tokens=-1 if usage is None else usage.output_tokens,
            reasoning_tokens=-1 if usage is None else usage.reasoning_tokens,
            cached_tokens=-1 if usage is None else usage.cached_tokens,
        )

    def decided(self, took_s: float) -> None:
        """Not a matter of spans."""

    def broke(self, live: LiveRequest, cause: Cause, *, again: bool) -> None:
        """The attempts of a request are counted in its span."""

    def failed(self, where: str, error: BaseException) -> None:
        """Faults of our own are logged."""

    def close(self) -> None:
        """Send what is left."""
        self._spans.close()
