"""What the gateway asks of an engine: ``post``, ``stream``, ``close``; and HTTP behind it.

A request is sent at most once a call: trying again is the state machine's matter, and redirects are
not followed. Of the time limits only that for connecting is kept here; the machine's own clock has
the others, and whose time is up is cancelled: a timer for each chunk would cost more than handing
it on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import httptools

from baseload.gateway.config import LimitsEntry
from baseload.gateway.engine_connection import Exchange
from baseload.gateway.events import Cause
from baseload.gateway.exchange import Exchanges

KEEP_ALIVE_S = 4.0
"""How long an idle connection is kept: less than the 5 s after which vLLM's and SGLang's servers
close theirs, so that no request goes into a connection that is being closed.
"""
ANSWER_BYTES = 64 * 1024 * 1024
"""An answer that is not streamed and longer than this is no answer."""
PROBE_BYTES = 8 * 1024 * 1024
LEFT_S = 1.0
"""So long after its last event the end of a streamed answer may come."""

Answer = tuple[int, Mapping[str, str], bytes]
"""Status, headers (look them up in lower case), body."""


class UpstreamError(Exception):
    """An attempt that failed without an answer of the engine's own. ``cause``: as the state machine
    calls it; ``detail``: for the log, without anything of the request.
    """

    def __init__(self, cause: Cause, detail: str = "") -> None:
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause: Cause = cause
        self.detail = detail


class UpstreamStream(Protocol):
    """An answer whose head is here and whose body is coming: iterate for its chunks, as they come,
    none empty. The iteration raises ``UpstreamError``.
    """

    @property
    def status(self) -> int:
        """HTTP's status."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers; look them up in lower case."""

    def __aiter__(self) -> UpstreamStream:
        """Itself."""

    async def __anext__(self) -> bytes:
        """The next bytes."""

    def leave(self) -> None:
        """All that matters has come: the answer's end, where it comes soon, is not waited for."""

    def close(self) -> None:
        """Done with it: an answer that is not complete is given up, which tells the engine."""


class Upstream(Protocol):
    """A way to engines."""

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, limits: LimitsEntry
    ) -> Answer:
        """Send ``body`` and wait for the whole answer. Raises ``UpstreamError``."""

    async def stream(
        self, url: str, body: bytes, headers: Mapping[str, str], *, limits: LimitsEntry
    ) -> UpstreamStream:
        """Send ``body`` and wait for the head of the answer. Raises ``UpstreamError``."""

    async def close(self) -> None:
        """End all connections."""


class HttpUpstream:
    """Engines behind HTTP. Make it inside a running loop.

    Connections stay open between requests; how many there are is the admission's matter, so there
    is no limit here that requests could wait at unseen.
    """

    def __init__(self) -> None:
        self._exchanges = Exchanges(KEEP_ALIVE_S)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, limits: LimitsEntry
    ) -> Answer:
        """Send ``body`` and wait for the whole answer. Raises ``UpstreamError``: ``connect``,
        ``closed``, ``garbage``.
        """
        answer = await self._send(url, body, headers, limits)
        try:
            return answer.status, answer.headers, await _whole(answer, ANSWER_BYTES)
        except BaseException as error:
            answer.close()
            if isinstance(error, OSError | httptools.HttpParserError):
                raise UpstreamError("closed", _said(error)) from without_frames(error)
            raise

    async def stream(
        self, url: str, body: bytes, headers: Mapping[str, str], *, limits: LimitsEntry
    ) -> HttpStream:
        """Send ``body`` and wait for the head of the answer. Raises ``UpstreamError``: ``connect``,
        ``garbage``.
        """
        return HttpStream(await self._send(url, body, headers, limits))

    async def get(
        self, url: str, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of a GET, for probes and metrics. Raises ``UpstreamError``."""
        return await self._probe("GET", url, headers, timeout_s)

    async def send_empty(
        self, url: str, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of a POST without a body: engines' sleep and wake end-points. Raises
        ``UpstreamError``.
        """
        return await self._probe("POST", url, headers, timeout_s)

    async def close(self) -> None:
        """End all connections."""
        self._exchanges.close()

    async def _send(
        self, url: str, body: bytes, headers: Mapping[str, str], limits: LimitsEntry
    ) -> Exchange:
        try:
            return await self._exchanges.send(
                "POST", url, body, headers, connect_s=limits.connect_s
            )
        except (OSError, httptools.HttpParserError, ValueError) as error:
            raise _before_head(error) from without_frames(error)

    async def _probe(
        self, method: str, url: str, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of an answer that has to come soon and be short."""
        answer = None
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._exchanges.send(method, url, b"", headers, connect_s=timeout_s)
                return answer.status, await _whole(answer, PROBE_BYTES)
        except (OSError, httptools.HttpParserError, ValueError) as error:
            raise UpstreamError("connect", _said(error)) from without_frames(error)
        finally:
            if answer is not None:
                answer.close()


class HttpStream:
    """A streamed answer of ``HttpUpstream``: chunks as the socket gives them."""

    __slots__ = ("_answer", "headers", "status")

    def __init__(self, answer: Exchange) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer

    def __aiter__(self) -> HttpStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._answer.read()
        except (OSError, httptools.HttpParserError) as error:
            raise UpstreamError("closed", _said(error)) from without_frames(error)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def leave(self) -> None:
        """Let the answer end by itself, so that its connection can be used again."""
        self._answer.leave(LEFT_S)

    def close(self) -> None:
        """Give the answer up where it is not complete."""
        self._answer.close()


async def _whole(answer: Exchange, most_bytes: int) -> bytes:
    """The body of an answer, which may have ``most_bytes``; raises ``UpstreamError``."""
    first = await answer.read()
    if answer.ended:
        return first
    parts = [first]
    size = len(first)
    while part := await answer.read():
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            raise UpstreamError("garbage", f"an answer of more than {most_bytes} bytes")
    return b"".join(parts)


def _before_head(error: Exception) -> UpstreamError:
    """Why there is no answer."""
    if isinstance(error, TimeoutError):
        return UpstreamError("connect", "no connection in time")
    if isinstance(error, httptools.HttpParserError):
        return UpstreamError("garbage", "what came is not HTTP")
    return UpstreamError("connect", _said(error))


def without_frames(error: BaseException) -> BaseException:
    """``error`` and what led to it, without the frames that they came through.

    Those hold the request with its body, the connection, and the future that gave the error, which
    holds the error: all of it would stay until the collector of cycles comes round.
    """
    one: BaseException | None = error
    while one is not None and one.__traceback__ is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


def _said(error: BaseException) -> str:
    """The kind of error and the system's word for it, nothing that a request held."""
    word = getattr(error, "strerror", None)
    return f"{type(error).__name__}: {word}" if word else type(error).__name__
