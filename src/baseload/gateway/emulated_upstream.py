"""The way to emulated engines in this process: URLs ``emulated://NAME/...``, no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from baseload.gateway.config import LimitsEntry
from baseload.gateway.emulated_engine import DroppedError, EmulatedEngine, Pipe, Reply
from baseload.gateway.events import Cause
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
        self, url: str, body: bytes, headers: Mapping[str, str], *, limits: LimitsEntry
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send ``body`` and wait for the whole answer. Raises ``UpstreamError``: ``connect``,
        ``first_byte``, ``closed``.
        """
        reply = await self._reply(url, body, headers, limits)
        if reply.cut:
            raise UpstreamError("closed", "the engine broke off")
        if reply.pipe is None:
            return reply.status, _headers(reply), reply.body
        answer = EmulatedStream(reply, limits)
        try:
            return reply.status, answer.headers, b"".join([part async for part in answer])
        finally:
            answer.close()

    async def stream(
        self, url: str, body: bytes, headers: Mapping[str, str], *, limits: LimitsEntry
    ) -> EmulatedStream:
        """Send ``body`` and wait for the head of the answer. Raises ``UpstreamError``: ``connect``,
        ``first_byte``.
        """
        return EmulatedStream(await self._reply(url, body, headers, limits), limits)

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
        limits = LimitsEntry(first_byte_s=timeout_s)
        status, _, body = await self.post(url, b"", headers, limits=limits)
        return status, body

    async def close(self) -> None:
        """Stop all engines."""
        for engine in self._engines.values():
            engine.close()

    async def _reply(
        self, url: str, body: bytes, headers: Mapping[str, str], limits: LimitsEntry
    ) -> Reply:
        engine, path = self._found(url)
        try:
            async with asyncio.timeout(limits.first_byte_s):
                return await engine.post(path, body, request_id=headers.get("x-request-id"))
        except DroppedError as error:
            raise UpstreamError("connect", "the engine is gone") from error
        except TimeoutError as error:
            raise UpstreamError("first_byte", "no answer in time") from error

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
    its body as one chunk.

    The iteration raises ``UpstreamError``: ``first_byte`` and ``idle`` by one timer that is looked
    at when it runs out, not set anew for each chunk.
    """

    __slots__ = ("_any", "_heard", "_limits", "_loop", "_pipe", "_timer", "headers", "status")

    def __init__(self, reply: Reply, limits: LimitsEntry) -> None:
        self.status = reply.status
        self.headers: Mapping[str, str] = _headers(reply)
        pipe = reply.pipe
        if pipe is None:
            pipe = Pipe(_nothing)
            if reply.body:
                pipe.put(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
            pipe.close(DroppedError() if reply.cut else None)
        self._pipe, self._limits, self._any = pipe, limits, False
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._timer = self._loop.call_later(limits.first_byte_s, self._look)

    def __aiter__(self) -> EmulatedStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            part = await self._pipe.get()
        except DroppedError as error:
            self.close()
            raise UpstreamError("closed", "the engine broke off") from error
        if part is None:
            self.close()
            raise StopAsyncIteration
        self._heard = self._loop.time()
        if not self._any:
            self._any = True
            self._timer.cancel()
            self._timer = self._loop.call_later(self._limits.idle_s, self._look)
        return part

    def close(self) -> None:
        """Done with it: an answer that is not complete is given up."""
        self._timer.cancel()
        self._pipe.abandon()

    def _look(self) -> None:
        """Time may be up."""
        cause: Cause = "idle" if self._any else "first_byte"
        limit_s = self._limits.idle_s if self._any else self._limits.first_byte_s
        left_s = self._heard + limit_s - self._loop.time()
        if left_s > 1e-3:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._pipe.close(UpstreamError(cause, "nothing came in time"))
            self._pipe.leave()


def _headers(reply: Reply) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in reply.headers}


def _nothing() -> None:
    """Nobody is told."""
