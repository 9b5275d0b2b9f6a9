"""The way to emulated engines in this process: URLs ``emulated://NAME/...``, no sockets.

As in ``upstream``, the state machine's clock has the time limits: whose time is up is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from baseload.gateway.config import LimitsEntry
from baseload.gateway.emulated.engine import DroppedError, EmulatedEngine, Pipe, Reply
from baseload.gateway.upstream import UpstreamError

SCHEME = "emulated://"


class EmulatedUpstream:
    """Engines by name, as ``upstream.Upstream`` wants them."""

    def __init__(self, engines: Mapping[str, EmulatedEngine]) -> None:
        self._engines = dict(engines)
        self._paths: dict[str, tuple[str, str]] = {}

    def engine(self, name: str) -> EmulatedEngine:
        """The engine of that name; raises ``KeyError``."""
        return self._engines[name]

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        limits: LimitsEntry,  # noqa: ARG002
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send ``body`` and wait for the whole answer. Raises ``UpstreamError``: ``connect``,
        ``closed``.
        """
        reply = await self._reply(url, body, headers)
        if reply.cut:
            raise UpstreamError("closed", "the engine broke off")
        if reply.pipe is None:
            return reply.status, _headers(reply), reply.body
        answer = EmulatedStream(reply)
        try:
            return reply.status, answer.headers, b"".join([part async for part in answer])
        finally:
            answer.close()

    async def stream(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        limits: LimitsEntry,  # noqa: ARG002
    ) -> EmulatedStream:
        """Send ``body`` and wait for the head of the answer. Raises ``UpstreamError``:
        ``connect``.
        """
        return EmulatedStream(await self._reply(url, body, headers))

    async def get(
        self,
        url: str,
        headers: Mapping[str, str],  # noqa: ARG002
        timeout_s: float,  # noqa: ARG002
    ) -> tuple[int, bytes]:
        """Status and body of a GET. Raises ``UpstreamError``."""
        engine, path = self._found(url)
        try:
            reply = engine.get(path)
        except DroppedError as error:
            raise UpstreamError("connect", "the engine is gone") from error
        return reply.status, reply.body

    async def send_empty(
        self, url: str, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of a POST without a body: sleep and wake. Raises ``UpstreamError``."""
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._reply(url, b"", headers)
        except TimeoutError as error:
            raise UpstreamError("connect", "no answer in time") from error
        return reply.status, reply.body

    async def close(self) -> None:
        """Stop all engines."""
        for engine in self._engines.values():
            engine.close()

    async def _reply(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        engine, path = self._found(url)
        try:
            return await engine.post(path, body, request_id=headers.get("x-request-id"))
        except DroppedError as error:
            raise UpstreamError("connect", "the engine is gone") from error

    def _found(self, url: str) -> tuple[EmulatedEngine, str]:
        """The engine and the path of ``url``."""
        parts = self._paths.get(url)
        if parts is None:
            name, slash, path = url.removeprefix(SCHEME).partition("/")
            parts = self._paths[url] = (name, (slash + path).partition("?")[0])
        engine = self._engines.get(parts[0])
        if engine is None:
            raise UpstreamError("connect", f"no emulated engine is called {parts[0]!r}")
        return engine, parts[1]


class EmulatedStream:
    """A streamed answer of an emulated engine: chunks as its steps end. One that is no stream gives
    its body as one chunk. The iteration raises ``UpstreamError``: ``closed``.
    """

    __slots__ = ("_pipe", "headers", "status")

    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.headers: Mapping[str, str] = _headers(reply)
        pipe = reply.pipe
        if pipe is None:
            pipe = Pipe(_nothing)
            if reply.body:
                pipe.put(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
            pipe.close(DroppedError() if reply.cut else None)
        self._pipe = pipe

    def __aiter__(self) -> EmulatedStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            part = await self._pipe.get()
        except DroppedError as error:
            raise UpstreamError("closed", "the engine broke off") from error
        if part is None:
            raise StopAsyncIteration
        return part

    def leave(self) -> None:
        """All that matters has come."""

    def close(self) -> None:
        """Done with it: an answer that is not complete is given up."""
        self._pipe.abandon()


def _headers(reply: Reply) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in reply.headers}


def _nothing() -> None:
    """Nobody is told."""
