"""What the gateway asks of an engine: ``post``, ``stream``, ``close``; aiohttp behind it.

A request is sent at most once a call: trying again is the state machine's matter, never the
client library's (aiohttp repeats idempotent methods only, and redirects are not followed). Of the
time limits only that for connecting is kept here; the machine's own clock has the others, and whose
time is up is cancelled: a timer for each chunk would cost more than handing it on.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Protocol

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from baseload.gateway.config import LimitsEntry
from baseload.gateway.events import Cause
from baseload.gateway.exchange import AT_ONCE_BYTES, LINE_BYTES, Exchange, Exchanges, known

KEEP_ALIVE_S = 4.0
"""How long an idle connection is kept: less than the 5 s after which vLLM's and SGLang's servers
close theirs, so that no request goes into a connection that is being closed.
"""
DNS_S = 30
ANSWER_BYTES = 64 * 1024 * 1024
"""An answer that is not streamed and longer than this is no answer."""
WHOLE_BYTES = 1024 * 1024
"""A request's body up to this goes out in one piece; longer ones let others have the loop between
their pieces.
"""
PROBE_BYTES = 8 * 1024 * 1024

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


class AiohttpUpstream:
    """Engines behind HTTP. Make it inside a running loop.

    Connections stay open between requests; how many there are is the admission's matter, so there
    is no limit here that requests could wait at unseen.
    """

    def __init__(self) -> None:
        connector = aiohttp.TCPConnector(
            limit=0, limit_per_host=0, keepalive_timeout=KEEP_ALIVE_S, ttl_dns_cache=DNS_S
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=LINE_BYTES,
            max_field_size=LINE_BYTES,
        )
        self._small = Exchanges(connector) if known() else None
        self._urls: dict[str, URL] = {}
        self._limits: LimitsEntry | None = None
        self._timeout = aiohttp.ClientTimeout()

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, limits: LimitsEntry
    ) -> Answer:
        """Send ``body`` and wait for the whole answer. Raises ``UpstreamError``: ``connect``,
        ``closed``, ``garbage``.
        """
        response = await self._send(url, body, headers, limits)
        try:
            return response.status, response.headers, await _whole(response, ANSWER_BYTES)
        except BaseException as error:
            response.close()
            if isinstance(error, aiohttp.ClientError | OSError | TimeoutError):
                raise UpstreamError("closed", _said(error)) from without_frames(error)
            raise

    async def stream(
        self, url: str, body: bytes, headers: Mapping[str, str], *, limits: LimitsEntry
    ) -> AiohttpStream:
        """Send ``body`` and wait for the head of the answer. Raises ``UpstreamError``: ``connect``,
        ``garbage``.
        """
        return AiohttpStream(await self._send(url, body, headers, limits))

    async def get(
        self, url: str, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of a GET, for probes and metrics. Raises ``UpstreamError``."""
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.get(
                self._url(url), headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return response.status, await _whole(response, PROBE_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise UpstreamError("connect", _said(error)) from without_frames(error)

    async def send_empty(
        self, url: str, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of a POST without a body: engines' sleep and wake end-points. Raises
        ``UpstreamError``.
        """
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._session.post(
                self._url(url), headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                return response.status, await _whole(response, PROBE_BYTES)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise UpstreamError("connect", _said(error)) from without_frames(error)

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    def _url(self, url: str) -> URL:
        """``url`` parsed, once: there are as many as engines have end-points."""
        found = self._urls.get(url)
        if found is None:
            found = self._urls[url] = URL(url)
        return found

    async def _send(
        self, url: str, body: bytes, headers: Mapping[str, str], limits: LimitsEntry
    ) -> Exchange | aiohttp.ClientResponse:
        if limits is not self._limits:
            self._limits = limits
            self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_s)
        try:
            if self._small is not None and len(body) <= AT_ONCE_BYTES:
                return await self._small.post(self._url(url), body, headers, self._timeout)
            return await self._session.post(
                self._url(url),
                data=body if len(body) <= WHOLE_BYTES else io.BytesIO(body),
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            raise _before_head(error) from without_frames(error)


class AiohttpStream:
    """A streamed answer of ``AiohttpUpstream``: chunks as the socket gives them."""

    __slots__ = ("_content", "_response", "headers", "status")

    def __init__(self, response: Exchange | aiohttp.ClientResponse) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._content = response.content

    def __aiter__(self) -> AiohttpStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self._response.close()
            raise UpstreamError("closed", _said(error)) from without_frames(error)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    def close(self) -> None:
        """Give the answer up where it is not complete."""
        self._response.close()


async def _whole(response: Exchange | aiohttp.ClientResponse, most_bytes: int) -> bytes:
    """The body of an answer, which may have ``most_bytes``; raises ``UpstreamError``."""
    first = await response.content.readany()
    if response.content.at_eof():
        return first
    parts = [first]
    size = len(first)
    while part := await response.content.readany():
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            raise UpstreamError("garbage", f"an answer of more than {most_bytes} bytes")
    return b"".join(parts)


def _before_head(error: Exception) -> UpstreamError:
    """Why there is no answer."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return UpstreamError("connect", "no connection in time")
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
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
