"""uvicorn's protocol with the bounds that it lacks: size and time of a request's head."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from baseload.gateway.errors import RequestError
from baseload.gateway.http_cycle import GatewayCycle

HEAD_S = 30.0
_CLOSE = b"connection: close\r\ncontent-type: application/json\r\n"
_REASONS = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class GatewayProtocol(HttpToolsProtocol):
    """One connection of a client. A head of more than ``head_bytes`` ends it with 431, one that is
    not whole within ``HEAD_S`` with 408, what is not HTTP with 400, all in OpenAI's error shape.
    """

    head_bytes = 64 * 1024

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_open = False
        self._between = True  # two requests, or before the first
        self._head_size = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come: it has so long to say what it wants."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        self._forget_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._head_open, self._between = True, False

    def on_headers_complete(self) -> None:
        """A head is here; of one that wishes for another protocol more in ``_without_upgrade``."""
        if self.parser.should_upgrade():
            return
        self._head_open = False
        self._head_size = 0
        self._forget_head()
        super().on_headers_complete()
        # uvicorn makes the cycle itself, and knows one class; the other has the same state
        self.cycle.__class__ = GatewayCycle

    def on_message_complete(self) -> None:
        """A request is here whole."""
        if self.parser.should_upgrade():
            return
        self._between = True
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        all_of_head = self._head_open or self._between
        self._unset_keepalive_if_required()
        self._feed(data)
        if not self._awaits_head() or self.transport.is_closing():
            return
        if all_of_head:
            self._head_size += len(data)
        if self._head_size > self.head_bytes:
            self._end(431, f"a head of more than {self.head_bytes} bytes")
        elif self._head_timer is None:
            self._await_head()

    def _feed(self, data: bytes) -> None:
        """Have bytes parsed."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as wish:
            self._without_upgrade(data[wish.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("what came is not HTTP")

    def _without_upgrade(self, rest: bytes) -> None:
        """Go on with a request as if it did not wish for another protocol (Java's client does, for
        HTTP/2): a server may pass that over (RFC 9110, 7.8), the parser does not.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("CONNECT: this is no proxy")
            return
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self._feed(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _awaits_head(self) -> bool:
        """Whether the client owes the rest of a head: one that has begun, or will."""
        return self._head_open or (
            self._between and (self.cycle is None or self.cycle.response_complete)
        )

    def send_400_response(self, msg: str) -> None:
        """What came is not HTTP."""
        self._end(400, msg)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self._late_head)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late_head(self) -> None:
        self._head_timer = None
        if self._awaits_head() and not self.transport.is_closing():
            self._end(408, f"no request came within {HEAD_S:g} s")

    def _end(self, status: int, message: str) -> None:
        """Say what is wrong and end the connection."""
        body = RequestError(status, message).body()
        self.transport.write(
            b"HTTP/1.1 %d %b\r\n%bcontent-length: %d\r\n\r\n%b"
            % (status, _REASONS[status], _CLOSE, len(body), body)
        )
        self.transport.close()
