"""A request to an engine, as aiohttp sends it, with less of a browser in it.

aiohttp's request class takes care of cookies, proxies, encodings, redirects and bodies of any kind,
and writes a body from a task of its own. What a gateway sends is a head that is known but for a few
lines and a body that is here whole: both go out in one write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import aiohttp
from aiohttp import hdrs
from aiohttp.client_reqrep import ClientResponse
from aiohttp.connector import Connection
from aiohttp.http import StreamWriter
from multidict import CIMultiDict

AT_ONCE_BYTES = 64 * 1024
"""A body up to this is written with its head; a longer one is left to aiohttp, which waits for the
engine to read it.
"""
_CONTROLS = bytes([*range(9), *range(10, 32), 127])


_KNOWN = "3.14."


def request_class() -> type[aiohttp.ClientRequest]:
    """The class to give to aiohttp: ours for the version whose inside it knows; else aiohttp's own,
    which sends the same more slowly.
    """
    return EngineRequest if aiohttp.__version__.startswith(_KNOWN) else aiohttp.ClientRequest


class EngineRequest(aiohttp.ClientRequest):
    """A request whose headers are those that it is given, and ``Host`` and ``Content-Length``."""

    at_once: bytes | None = None

    def update_headers(self, headers: Any) -> None:
        """Those that are given, after ``Host``."""
        self.headers = CIMultiDict(((hdrs.HOST, self.url.host_port_subcomponent or ""),))
        if headers:
            self.headers.update(headers)

    def update_auto_headers(self, skip_auto_headers: Iterable[str] | None) -> None:
        """None: the caller says all that is to be said."""

    def update_cookies(self, cookies: Any) -> None:
        """None: engines have no sessions."""

    def update_body_from_data(self, body: Any, _stacklevel: int = 3) -> None:
        """Keep a small body as it is."""
        if type(body) is bytes and len(body) <= AT_ONCE_BYTES:
            self.at_once = body
        else:
            super().update_body_from_data(body, _stacklevel)

    async def send(self, conn: Connection) -> ClientResponse:
        """Write head and body."""
        body, protocol = self.at_once, conn.protocol
        if body is None:
            return await super().send(conn)
        assert protocol is not None
        if protocol.writing_paused:  # something is still on its way: wait for it as aiohttp does
            super().update_body_from_data(body)
            return await super().send(conn)
        transport = protocol.transport
        if transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("Cannot write to closing transport")
        transport.write(head_of(self.method, self.url.raw_path_qs, self.headers, len(body)) + body)
        protocol.start_timeout()
        response: ClientResponse = self.response_class(
            self.method,
            self.original_url,
            writer=None,
            continue100=None,
            timer=self._timer,
            request_info=self.request_info,
            traces=[],
            loop=self.loop,
            session=self._session,
            stream_writer=StreamWriter(protocol, self.loop),
        )
        self.response = response
        return response


def head_of(method: str, target: str, headers: Mapping[str, str], size: int) -> bytes:
    """The head of a request with a body of ``size`` bytes. Raises ``ValueError`` for a header with
    a control character: it could end the head, or begin another one.
    """
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines.append(f"{hdrs.CONTENT_LENGTH}: {size}\r\n\r\n")
    head = "\r\n".join(lines).encode()
    if len(head.translate(None, _CONTROLS)) != len(head) - 2 * len(lines) - 2:
        raise ValueError("a header holds a control character")
    return head
