"""An engine that answers anything: good answers, mutated ones, errors, silence, half of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping

import msgspec
from tests.fuzz.bodies import chat_events, mutated, pieces_of, response_events, top_level

from baseload.gateway.config import LimitsEntry
from baseload.gateway.events import Cause
from baseload.gateway.upstream import Answer, UpstreamError

LONG_S = 1e6
STATUSES = (200,) * 14 + (
    101, 103, 201, 202, 204, 206, 301, 302, 304, 307, 400, 400, 401, 403, 404, 404, 408, 409, 413,
    422, 429, 429, 451, 499, 500, 501, 502, 503, 503, 504, 520, 599, 600, 999, 0,
)  # fmt: skip
KINDS = (
    "application/json", "application/json; charset=utf-8", "text/html", "text/event-stream", "",
    "text/plain", "APPLICATION/JSON", "multipart/form-data", "application/json\x00", "ü",
)  # fmt: skip
USAGES: tuple[object, ...] = (
    {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    {"input_tokens": 5, "output_tokens": 3},
    {"prompt_tokens": -1, "completion_tokens": 10**15},
    {"completion_tokens": 1e300, "prompt_tokens": "many"},
    {"completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 9**9}},
    None,
    [],
    "no",
    {},
)
ERRORS: tuple[object, ...] = (
    {"error": {"message": "no", "type": "BadRequest", "param": None, "code": 400}},
    {"error": {"message": "no", "code": 429}},
    {"error": "no"},
    {"object": "error", "message": "no", "code": 400},
    {"detail": [{"loc": ["body"], "msg": "field required"}]},
    {"error": None},
    {},
    [],
    "no",
)
RETRY_AFTER = ("1", "0", "-5", "soon", "1e9", "99999999999999999999", "Wed, 21 Oct 2026 07:28:00")
CAUSES: tuple[Cause, ...] = ("connect", "closed", "garbage")


class ScriptedStream:
    """A streamed answer: pieces of bytes, waits, and errors."""

    def __init__(self, status: int, headers: Mapping[str, str], steps: list[object]) -> None:
        self.status, self.headers, self.closed = status, headers, False
        self._steps = steps
        self._gone = asyncio.Event()

    def __aiter__(self) -> ScriptedStream:
        return self

    async def __anext__(self) -> bytes:
        while self._steps and not self.closed:
            step = self._steps.pop(0)
            if isinstance(step, bytes):
                if step:
                    return step
            elif isinstance(step, float):
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._gone.wait(), step)
            elif isinstance(step, UpstreamError):
                raise step
        if self.closed:
            raise UpstreamError("closed", "given up")
        raise StopAsyncIteration

    def leave(self) -> None:
        """What is left may come, or not."""
        self.closed = True

    def close(self) -> None:
        """Given up, or done."""
        self.closed = True
        self._gone.set()


class ScriptedUpstream:
    """All engines. What they answer is drawn anew for each attempt."""

    def __init__(self, draw: random.Random, *, line_bytes: int) -> None:
        self.draw, self.line_bytes = draw, line_bytes
        self.streams: list[ScriptedStream] = []
        self.asked: list[bytes] = []

    async def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        limits: LimitsEntry,
    ) -> Answer:
        """As ``Upstream.post``."""
        await self._come(body, headers)
        draw = self.draw
        status = draw.choice(STATUSES)
        answer = self._error() if status >= 400 else self._answer(url)
        return (
            status,
            self._headers(draw.choice(KINDS) if draw.random() < 0.2 else KINDS[0]),
            answer,
        )

    async def stream(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        limits: LimitsEntry,
    ) -> ScriptedStream:
        """As ``Upstream.stream``."""
        await self._come(body, headers)
        draw = self.draw
        status = draw.choice(STATUSES)
        kind = draw.choice(KINDS) if draw.random() < 0.1 else "text/event-stream; charset=utf-8"
        data = self._error() if status >= 400 else self._events(url)
        steps: list[object] = []
        for piece in pieces_of(draw, data):
            if draw.random() < 0.1:
                steps.append(draw.choice((0.0, 0.1, 0.9, 0.9, LONG_S)))
            steps.append(piece)
        if draw.random() < 0.15:
            cut = draw.randrange(len(steps) + 1)
            steps[cut:] = [UpstreamError(draw.choice(CAUSES), "broken")]
        elif draw.random() < 0.05:
            steps.append(LONG_S)
        found = ScriptedStream(status, self._headers(kind), steps)
        self.streams.append(found)
        return found

    async def close(self) -> None:
        """As ``Upstream.close``."""

    async def _come(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Take a request, or not. What the gateway sends must be whole."""
        assert "model" in top_level(body), body[:200]
        for name, value in headers.items():
            assert value.isascii(), (name, value)
            assert value.isprintable(), (name, value)
        self.asked.append(body)
        draw = self.draw
        if draw.random() < 0.2:
            await asyncio.sleep(draw.choice((0.0, 0.05, 1.0, LONG_S)))
        if draw.random() < 0.06:
            raise UpstreamError(draw.choice(CAUSES), "refused")

    def _headers(self, kind: str) -> dict[str, str]:
        draw = self.draw
        found = {"content-type": kind} if kind else {}
        if draw.random() < 0.3:
            found["retry-after"] = draw.choice(RETRY_AFTER)
        if draw.random() < 0.03:
            found["content-encoding"] = "gzip"
        if draw.random() < 0.1:
            found |= {"content-length": "7", "set-cookie": "a=b", "connection": "close"}
        return found

    def _error(self) -> bytes:
        draw = self.draw
        body = msgspec.json.encode(draw.choice(ERRORS))
        how = draw.random()
        if how < 0.2:
            return mutated(draw, body)
        if how < 0.3:
            return draw.choice((b"<html>no</html>", b"", b"{", b"\xff\xfe", b"{" * 400_000))
        return body

    def _answer(self, url: str) -> bytes:
        draw = self.draw
        usage = draw.choice(USAGES)
        if url.endswith("/responses"):
            found: dict[str, object] = {
                "object": "response",
                "status": draw.choice(["completed", "incomplete", "failed", 7, None]),
                "output": draw.choice([[], [{"type": "message", "content": [{"text": "a"}]}], 3]),
                "error": draw.choice([None, None, None, {"message": "no"}, "no"]),
                "usage": usage,
            }
        elif url.endswith("/embeddings"):
            data = draw.choice([[{"embedding": [0.1], "index": 0}], [], "x", None, {}])
            found = {"object": "list", "data": data, "usage": usage}
        else:
            message = {"role": "assistant", "content": draw.choice(["hi", "", None, 3, ["x"]])}
            choice = {"index": 0, "message": message, "text": "hi", "finish_reason": "stop"}
            choices = draw.choice([[choice], [choice], [choice, choice], [], None, "x", [None]])
            found = {"choices": choices, "usage": usage}
        body = msgspec.json.encode(found)
        if draw.random() < 0.25:
            body = mutated(draw, body)
        if draw.random() < 0.03:
            body = draw.choice((b"", b"null", b"[]", b"\xef\xbb\xbf{}", b'{"a":' * 3000, b" " * 9))
        return body

    def _events(self, url: str) -> bytes:
        draw = self.draw
        found = response_events(draw) if url.endswith("/responses") else chat_events(draw)
        if draw.random() < 0.1:
            at = draw.randrange(len(found) + 1)
            odd = (
                b"data: " + b"x" * (self.line_bytes + 5) + b"\n\n",
                b"y" * (self.line_bytes * 2),
                b'data: {"error": {"message": "no", "code": 500}}\n\n',
                b'data: {"error": "no"}\n\n',
                b"data: null\n\n",
                b"event: ping\n\n",
                b"data: {}\n\ndata: {}\n\n",
                b"<html>\n\n",
                b"\n\n\n\n",
                b"\r\n\r\n",
                b"data: [DONE]\n\n",
                b": energy {}\n\n",
                b'data: {"choices": [], "usage": {"completion_tokens": 1e400}}\n\n',
            )
            found.insert(at, draw.choice(odd))
        data = b"".join(found)
        return mutated(draw, data) if draw.random() < 0.3 else data
