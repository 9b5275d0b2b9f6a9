"""uvicorn's answer to one request, written at once: its head goes out together with the first piece
of its body, and headers are checked all in one pass.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_CONTROLS = bytes([*range(9), *range(10, 32), 127])
_BODILESS = (204, 304)
_JOINED_BYTES = 64 * 1024  # a longer body is not copied to stand behind its head


class GatewayCycle(RequestResponseCycle):
    """One request and its answer. What it writes is what uvicorn's own writes, in fewer pieces: the
    head waits for the first piece of the body, which this application always has at hand.

    Header names are lower case, as ASGI wants them.
    """

    head = b""
    until_closed = False

    async def send(self, message: Any) -> None:
        """Take a message of ASGI. Raises ``RuntimeError`` for one that is out of turn, for a header
        with a control character, and for a body of another length than its header said.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if not self.response_started:
            if kind != "http.response.start":
                raise RuntimeError(f"expected http.response.start, got {kind}")
            self._begin(message["status"], message.get("headers", ()))
        elif self.response_complete:
            raise RuntimeError(f"got {kind} after the end of the answer")
        elif kind != "http.response.body":
            raise RuntimeError(f"expected http.response.body, got {kind}")
        else:
            self._write(message.get("body", b""), more=message.get("more_body", False))

    def _begin(self, status: int, headers: Any) -> None:
        """Make the head."""
        self.response_started = True
        self.waiting_for_100_continue = False
        fields = dict(headers)
        lines = [STATUS_LINE[status][:-2]]
        lines += map(b": ".join, self.default_headers)
        lines += map(b": ".join, headers)
        if b"close" in fields.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close")
        length = fields.get(b"content-length")
        if length is not None:
            self.expected_content_length = int(length)
            self.chunked_encoding = False
        elif fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            self.chunked_encoding = True
        elif self.scope["http_version"] == "1.0":  # knows no pieces; the connection's end is its
            self.until_closed = True
        elif status not in _BODILESS and self.scope["method"] != "HEAD":
            self.chunked_encoding = True
            lines.append(b"transfer-encoding: chunked")
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        if len(head.translate(None, _CONTROLS)) != len(head) - 2 * (len(lines) + 1):
            raise RuntimeError("a header holds a control character")
        self.head = head

    def _write(self, body: bytes, *, more: bool) -> None:
        """Write a piece of the body, the head before the first."""
        head, self.head = self.head, b""
        if self.scope["method"] == "HEAD":
            self.expected_content_length = 0
            body = b""
        elif self.chunked_encoding:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += b"0\r\n\r\n"
        elif not self.until_closed:
            if len(body) > self.expected_content_length:
                raise RuntimeError("the body is longer than its content-length")
            self.expected_content_length -= len(body)
        if head and len(body) <= _JOINED_BYTES:
            self.transport.write(head + body)
        else:
            if head:
                self.transport.write(head)
            if body:
                self.transport.write(body)
        if not more:
            self._complete()

    def _complete(self) -> None:
        """The answer is whole."""
        if self.expected_content_length != 0:
            raise RuntimeError("the body is shorter than its content-length")
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
