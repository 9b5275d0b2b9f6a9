"""A connection to an engine: one request at a time, and its answer as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol, cast

import httptools

HEAD_BYTES = 64 * 1024
"""The head of an answer may be so long."""
PIECE_BYTES = 64 * 1024
"""A request up to this is written at once; of a longer one, so much at a time."""
HELD_BYTES = 256 * 1024
"""So much of an answer waits here for who reads it; then the engine has to wait."""

_BODILESS = (204, 304)


class Keeper(Protocol):
    """Who looks after a connection."""

    def rested(self, connection: EngineConnection) -> None:
        """It can take another request."""

    def lost(self, connection: EngineConnection) -> None:
        """It is gone."""


class Exchange:
    """An answer whose head is here. Names of ``headers`` are lower case; of several values it is
    the last.
    """

    __slots__ = (
        "_connection",
        "_error",
        "_held_bytes",
        "_left",
        "_parts",
        "_waiter",
        "headers",
        "status",
    )

    def __init__(
        self, connection: EngineConnection, status: int, headers: Mapping[str, str]
    ) -> None:
        self.status = status
        self.headers = headers
        self._connection: EngineConnection | None = connection
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._left: asyncio.TimerHandle | None = None

    @property
    def ended(self) -> bool:
        """Whether ``read`` has nothing more to give."""
        return self._connection is None and not self._parts and self._error is None

    async def read(self) -> bytes:
        """What has come since the last time, at least a byte; nothing at the end of the answer.
        Raises ``OSError`` for a connection that broke off, ``httptools.HttpParserError`` for what
        is not HTTP.
        """
        while not self._parts:
            connection = self._connection
            if connection is None:
                if self._error is not None:
                    raise self._error
                return b""
            self._waiter = connection.loop.create_future()
            await self._waiter
        parts, self._parts = self._parts, []
        if self._connection is not None and self._held_bytes > HELD_BYTES:
            self._connection.flow()
        self._held_bytes = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        """Give up what has not come; who waits for it is told."""
        if self._connection is not None:
            self._connection.end(ConnectionAbortedError("closed by us"))

    def leave(self, within_s: float) -> None:
        """Nobody reads on: what is left is dropped, and where it has not ended within ``within_s``
        the connection is closed.
        """
        if self._connection is not None and self._left is None:
            self._left = self._connection.loop.call_later(within_s, self.close)
            self._connection.flow()

    def feed(self, data: bytes) -> bool:
        """Take a piece of the body; says whether there is room for more."""
        if self._left is not None:
            return True
        self._parts.append(data)
        self._held_bytes += len(data)
        self._wake()
        return self._held_bytes <= HELD_BYTES

    def finish(self, error: Exception | None = None) -> None:
        """All has come, or with an ``error`` nothing more will."""
        self._connection, self._error = None, error
        if self._left is not None:
            self._left.cancel()
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class EngineConnection(asyncio.Protocol):
    """One connection, looked after by ``keeper``. ``rested_s``: when it last became free, by the
    loop's clock.
    """

    __slots__ = (
        "_answer",
        "_by_end",
        "_head",
        "_head_bytes",
        "_headers",
        "_keeper",
        "_parser",
        "_paused",
        "_room",
        "_sending",
        "loop",
        "rested_s",
        "transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, keeper: Keeper) -> None:
        self.loop = loop
        self.transport: asyncio.Transport | None = None
        self.rested_s = 0.0
        self._keeper = keeper
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._head: asyncio.Future[Exchange] | None = None  # who waits for one
        self._room: asyncio.Future[None] | None = None  # until more can be written
        self._answer: Exchange | None = None
        self._by_end = False  # only the connection's end tells where the answer ends
        self._sending = False  # a long request is not written whole
        self._paused = False

    # What a request does

    async def ask(self, request: bytes) -> Exchange:
        """Write a request; the head of its answer. Raises as ``Exchange.read``; the connection is
        then closed.
        """
        transport = self.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection has just been closed")
        self._head = head = self.loop.create_future()
        try:
            if len(request) <= PIECE_BYTES:
                transport.write(request)
            else:
                await self._write(transport, request, head)
            answer: Exchange = await head
            return answer
        except BaseException:
            self.end(ConnectionAbortedError("closed by us"))
            raise
        finally:
            del head  # an error in it holds this frame

    async def _write(
        self, transport: asyncio.Transport, request: bytes, head: asyncio.Future[Exchange]
    ) -> None:
        """Write a long request as fast as the engine reads it, until it answers: what is left then
        is never sent, and the connection not used again.
        """
        whole = memoryview(request)
        self._sending = True
        for begin in range(0, len(whole), PIECE_BYTES):
            transport.write(whole[begin : begin + PIECE_BYTES])
            if self._room is not None:
                await self._room
            await asyncio.sleep(0)  # others have their turn
            if head.done():
                return
        self._sending = False

    def is_open(self) -> bool:
        """Whether it could take a request."""
        return self.transport is not None and not self.transport.is_closing()

    def flow(self) -> None:
        """Let the engine go on."""
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()

    def end(self, error: Exception) -> None:
        """Close at once; who waits for something is told the ``error``."""
        transport, self.transport = self.transport, None
        self._parser = None  # it holds this
        if transport is not None:
            self._keeper.lost(self)
            transport.abort()
        self.resume_writing()
        head, self._head = self._head, None
        if head is not None and not head.done():
            head.set_exception(error)
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.finish(error)

    # What the transport says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        parser = self._parser
        if parser is None:
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.end(httptools.HttpParserError("another protocol"))
        except httptools.HttpParserError as error:
            error.__context__ = error.__traceback__ = None
            self.end(error)
        if self._head is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self.end(httptools.HttpParserError(f"a head of more than {HEAD_BYTES} bytes"))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        answer = self._answer
        if answer is not None and self._by_end and exc is None:
            self._answer = None
            answer.finish()
        self.end(exc or ConnectionResetError("the engine closed the connection"))

    def pause_writing(self) -> None:
        """The engine does not read as fast as it is written to."""
        self._room = self.loop.create_future()

    def resume_writing(self) -> None:
        """It has caught up."""
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)

    # What the parser says

    def on_message_begin(self) -> None:
        """An answer begins; one that nobody waits for could be taken for the next one's."""
        if self._head is None:
            raise httptools.HttpParserError("an answer that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """A head is here; one that says to wait for another is passed over."""
        found, self._headers = self._headers, []
        parser, head = self._parser, self._head
        assert parser is not None
        status = parser.get_status_code()
        if 100 <= status <= 199:
            return
        if head is None or head.done():  # who waited has gone
            raise httptools.HttpParserError("an answer that nobody asked for")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in found}
        self._by_end = not (
            "content-length" in headers or "transfer-encoding" in headers or status in _BODILESS
        )
        self._answer = answer = Exchange(self, status, headers)
        self._head, self._head_bytes = None, 0
        head.set_result(answer)
        if self._room is not None:
            self.resume_writing()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        answer, transport = self._answer, self.transport
        if answer is not None and not answer.feed(data) and transport is not None:
            self._paused = True
            transport.pause_reading()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        answer, self._answer = self._answer, None
        parser = self._parser
        if answer is None or parser is None:
            return
        answer.finish()
        if parser.should_keep_alive() and not self._sending:
            self.flow()
            self.rested_s = self.loop.time()
            self._keeper.rested(self)
        else:
            self.end(ConnectionAbortedError("the engine takes no more on this connection"))
