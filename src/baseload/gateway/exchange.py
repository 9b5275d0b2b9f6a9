"""Requests to engines, over connections that stay open in between.

An HTTP client takes care of cookies, proxies, redirects, encodings and bodies of any kind, and that
is most of what it costs. What a gateway sends is a head that is known but for a few lines, and a
body that is here whole: small ones go out in one write. Nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from baseload.gateway.engine_connection import EngineConnection, Exchange

_CONTROLS = bytes([*range(9), *range(10, 32), 127])
_TOO_OLD = "idle for too long"


class Place:
    """Where an engine listens: the connections there, and those of them that nobody uses, the
    newest last.
    """

    __slots__ = ("host", "idle", "open", "port", "tls")

    def __init__(self, url: SplitResult) -> None:
        self.tls = url.scheme == "https"
        self.host = url.hostname or ""
        self.port = url.port or (443 if self.tls else 80)
        self.open: set[EngineConnection] = set()
        self.idle: list[EngineConnection] = []

    def rested(self, connection: EngineConnection) -> None:
        """A connection can take another request."""
        self.idle.append(connection)

    def lost(self, connection: EngineConnection) -> None:
        """A connection is gone."""
        self.open.discard(connection)

    def free(self, since_s: float) -> EngineConnection | None:
        """A connection that is free, since ``since_s`` at the earliest."""
        while self.idle:
            connection = self.idle.pop()
            if connection.is_open() and connection.rested_s >= since_s:
                return connection
            connection.end(ConnectionAbortedError(_TOO_OLD))
        return None

    def tidy(self, since_s: float) -> None:
        """Close what has been free for longer."""
        found, self.idle = self.idle, []
        for connection in found:
            if connection.is_open() and connection.rested_s >= since_s:
                self.idle.append(connection)
            else:
                connection.end(ConnectionAbortedError(_TOO_OLD))


class Exchanges:
    """Sends requests to engines. A connection that has been free for ``keep_s`` is closed. Make it
    inside a running loop.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._loop = asyncio.get_running_loop()
        self._places: dict[tuple[str, str], Place] = {}
        self._ways: dict[tuple[str, str], tuple[Place, str]] = {}
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None

    async def send(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, connect_s: float
    ) -> Exchange:
        """Send a request, and wait for the head of the answer. Raises ``TimeoutError`` without a
        connection within ``connect_s``, ``OSError`` and ``httptools.HttpParserError`` for what
        happens on it, ``ValueError`` for a header that would break the head.
        """
        way = self._ways.get((method, url))
        if way is None:
            way = self._ways[method, url] = self._way(method, url)
        place, begin = way
        size = None if method == "GET" else len(body)
        request = head_of(begin, headers, size) + body
        connection = place.free(self._loop.time() - self._keep_s)
        if connection is None:
            connection = await self._connect(place, connect_s)
        return await connection.ask(request)

    def close(self) -> None:
        """End all connections."""
        if self._sweep is not None:
            self._sweep.cancel()
        for place in self._places.values():
            for connection in list(place.open):
                connection.end(ConnectionAbortedError("closed by us"))

    def open(self) -> int:
        """Connections that are open."""
        return sum(len(place.open) for place in self._places.values())

    async def _connect(self, place: Place, within_s: float) -> EngineConnection:
        """A new connection."""
        async with asyncio.timeout(within_s):
            _, connection = await self._loop.create_connection(
                lambda: EngineConnection(self._loop, place),
                place.host,
                place.port,
                ssl=self._context() if place.tls else None,
            )
        if connection.is_open():  # the engine may have closed it since
            place.open.add(connection)
        if self._sweep is None:
            self._sweep = self._loop.call_later(self._keep_s, self._tidy)
        return connection

    def _tidy(self) -> None:
        """Close connections that nobody has used for a while."""
        since_s = self._loop.time() - self._keep_s
        for place in self._places.values():
            place.tidy(since_s)
        any_open = any(place.open for place in self._places.values())
        self._sweep = self._loop.call_later(self._keep_s, self._tidy) if any_open else None

    def _context(self) -> ssl.SSLContext:
        """How engines' certificates are checked: as the system does."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def _way(self, method: str, text: str) -> tuple[Place, str]:
        """Where a URL leads, and how the head of a request there begins."""
        url = urlsplit(text)
        key = (url.scheme, url.netloc)
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = Place(url)
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return place, f"{method} {path} HTTP/1.1\r\nHost: {url.netloc}\r\n"


def head_of(begin: str, headers: Mapping[str, str], size: int | None) -> bytes:
    """The head of a request with a body of ``size`` bytes, ``None`` for none; ``begin``: its first
    two lines. Raises ``ValueError`` for a header with a control character: it could end the head,
    or begin another one.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    if size is not None:
        lines.append(f"Content-Length: {size}\r\n")
    head = f"{begin}{''.join(lines)}\r\n".encode()
    if len(head.translate(None, _CONTROLS)) != len(head) - 2 * len(lines) - 6:
        raise ValueError("a header holds a control character")
    return head
