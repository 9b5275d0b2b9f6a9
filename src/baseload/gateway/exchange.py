"""A small request to an engine and its answer, over aiohttp's connections and by its parser.

aiohttp's session takes care of cookies, proxies, redirects, encodings and bodies of any kind, and
that is most of what it costs. What a gateway sends nearly always is a head that is known but for a
few lines and a body that is here whole: both go out in one write on a connection of aiohttp's pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp
from aiohttp import hdrs
from aiohttp.streams import StreamReader
from multidict import CIMultiDictProxy
from yarl import URL

AT_ONCE_BYTES = 64 * 1024
"""A body up to this is written with its head; a longer one is the session's matter, which waits for
the engine to read it.
"""
LINE_BYTES = 64 * 1024
"""An answer's header may be so long."""
_CONTROLS = bytes([*range(9), *range(10, 32), 127])
_KNOWN = "3.14."


def known() -> bool:
    """Whether this version of aiohttp is the one whose connections are used here; with another the
    session sends the same, more slowly.
    """
    return aiohttp.__version__.startswith(_KNOWN)


class Exchange:
    """An answer whose head is here. Its connection goes back to the pool with the last byte of
    ``content``; ``close`` ends it before.
    """

    __slots__ = ("connection", "content", "headers", "status")

    def __init__(
        self,
        connection: aiohttp.connector.Connection,
        status: int,
        headers: CIMultiDictProxy[str],
        content: StreamReader,
    ) -> None:
        self.connection: aiohttp.connector.Connection | None = connection
        self.status = status
        self.headers = headers
        self.content = content
        content.on_eof(self._whole)

    def _whole(self) -> None:
        """All of the answer is here."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.release()

    def close(self) -> None:
        """Give up what has not come; who waits for it is told."""
        connection, self.connection = self.connection, None
        if connection is not None:
            self.content.set_exception(aiohttp.ClientConnectionError("closed by us"))
            connection.close()


class Exchanges:
    """Sends small requests over the connections of a connector. Make it inside a running loop."""

    def __init__(self, connector: aiohttp.BaseConnector) -> None:
        self._connector = connector
        self._loop = asyncio.get_running_loop()
        self._ways: dict[URL, tuple[aiohttp.ClientRequest, str]] = {}

    async def post(
        self, url: URL, body: bytes, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout
    ) -> Exchange:
        """Send ``body``, and wait for the head of the answer. Raises aiohttp's errors,
        ``ConnectionTimeoutError`` among them, and ``ValueError`` for a header that would break the
        head.
        """
        way = self._ways.get(url)
        if way is None:
            way = self._ways[url] = self._way(url)
        request, begin = way
        sent = head_of(begin, headers, len(body)) + body
        try:
            connection = await self._connector.connect(request, [], timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("no connection in time") from error
        try:
            return await self._ask(connection, sent)
        except BaseException:
            connection.close()
            raise

    async def _ask(self, connection: aiohttp.connector.Connection, sent: bytes) -> Exchange:
        """Write a request; its answer, which is not one of those that say to wait."""
        protocol, transport = connection.protocol, connection.transport
        if protocol is None or transport is None or transport.is_closing():
            raise aiohttp.ClientConnectionResetError("the connection has just been closed")
        protocol.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
        )
        transport.write(sent)
        while True:
            message, content = await protocol.read()
            if not 100 <= message.code <= 199 or message.code == 101:
                return Exchange(connection, message.code, message.headers, content)

    def _way(self, url: URL) -> tuple[aiohttp.ClientRequest, str]:
        """What names the connections to an engine, and how a head begins there."""
        request = aiohttp.ClientRequest(hdrs.METH_POST, url, loop=self._loop)
        host = url.host_port_subcomponent or ""
        return request, f"POST {url.raw_path_qs} HTTP/1.1\r\nHost: {host}\r\n"


def head_of(begin: str, headers: Mapping[str, str], size: int) -> bytes:
    """The head of a request with a body of ``size`` bytes; ``begin``: its first two lines. Raises
    ``ValueError`` for a header with a control character: it could end the head, or begin another
    one.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    head = f"{begin}{lines}Content-Length: {size}\r\n\r\n".encode()
    if len(head.translate(None, _CONTROLS)) != len(head) - 2 * len(headers) - 8:
        raise ValueError("a header holds a control character")
    return head
