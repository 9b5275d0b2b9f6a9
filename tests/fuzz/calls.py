"""Clients that send anything, and what every one of them must get: ``call_of``, ``Call.check``."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from tests.fuzz.bodies import (
    ENDPOINTS,
    NAMES,
    ODD,
    body_case,
    good_body,
    mutated,
    too_big,
    top_level,
)

PATHS = {
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "responses": "/v1/responses",
    "embeddings": "/v1/embeddings",
}
PAGES = (
    "/", "/health", "/ready", "/metrics", "/v1/models", "/v1/models/m", "/v1/models/", "/v1",
    "/v1/models/\x00\ud800", "/v1/energy/summary", "/v1/energy/decisions/",
    "/v1/energy/decisions/x-1",
    "/v1/energy/decisions/" + "f" * 3000, "", "*", "//", "/ü\U0001f600", "/../etc/passwd", "/%00",
    "/v1/chat/completions/", "/V1/chat/completions", "http://a/v1/models", "/v1/models/auto",
)  # fmt: skip
METHODS = ("POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "X" * 300, "pöst")
VALUES = (
    b"", b" ", b"0", b"-1", b"1", b"250", b"1e9", b"1e-9", b"nan", b"inf", b"-inf", b"0x10", b"1_0",
    b"9" * 400, b"auto", b"AUTO ", b"fast", b"bulk", b"nobody", b"\x00", b"\xff\xfe", b"\r\nx: y",
    "ü".encode(), b"x" * 5000, b"a b", b"Bearer ", b"Bearer key-all", b"key-all", b"key-few",
    b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
)  # fmt: skip
HEADERS = (
    b"x-slo-ttft-ms", b"x-llm-d-slo-ttft-ms", b"x-slo-tpot-ms", b"x-llm-d-slo-tpot-ms",
    b"x-gateway-inference-objective", b"x-llm-d-inference-objective", b"x-session-token",
    b"x-gateway-inference-fairness-id", b"x-llm-d-inference-fairness-id", b"x-session-id",
    b"authorization", b"api-key", b"x-api-key", b"content-length", b"x-request-id", b"traceparent",
    b"tracestate", b"x-omniroute-effort", b"accept", b"content-type", b"expect", b"host", b"\xff",
    b"", b"transfer-encoding", b"x" * 300,
)  # fmt: skip
KEYS = (b"Bearer key-all", b"Bearer key-all", b"Bearer key-few", b"Bearer key-look", b"Bearer no")
SHAPE = {"message", "type", "param", "code"}

App = Callable[[Any, Any, Any], Awaitable[None]]


class Call:
    """One client: what it sends, when it leaves, and what it was answered. ``next``: calls that it
    makes after this one.
    """

    def __init__(
        self,
        *,
        path: str,
        method: str = "POST",
        headers: list[tuple[bytes, bytes]],
        parts: list[bytes | float | None],
        leaves_s: float | None = None,
        slow_s: float = 0.0,
        kind: str = "http",
    ) -> None:
        self.path, self.method, self.headers, self.kind = path, method, headers, kind
        self.parts, self.leaves_s, self.slow_s = parts, leaves_s, slow_s
        self.left = False
        self.said: list[MutableMapping[str, Any]] = []
        self.next: list[Call] = []

    async def made(self, app: App) -> None:
        """Make the call."""
        gone = asyncio.Event()
        parts = list(self.parts)
        if self.leaves_s is not None:
            asyncio.get_running_loop().call_later(self.leaves_s, gone.set)

        async def hear() -> dict[str, Any]:
            while parts:
                part = parts.pop(0)
                if isinstance(part, float):
                    await asyncio.sleep(part)
                elif part is None:
                    self.left = True
                    return {"type": "http.disconnect"}
                else:
                    more = any(isinstance(one, bytes) or one is None for one in parts)
                    return {"type": "http.request", "body": part, "more_body": more}
            await gone.wait()
            self.left = True
            return {"type": "http.disconnect"}

        async def say(message: MutableMapping[str, Any]) -> None:
            self.said.append(message)
            if self.slow_s:
                await asyncio.sleep(self.slow_s)

        scope = {
            "type": self.kind,
            "method": self.method,
            "path": self.path,
            "headers": self.headers,
            "query_string": b"",
        }
        await app(scope, hear, say)

    @property
    def status(self) -> int:
        """What it was answered; 0 for nothing."""
        return int(self.said[0]["status"]) if self.said and "status" in self.said[0] else 0

    def check(self) -> None:
        """Raises ``AssertionError`` where the answer is not one that a client understands."""
        if self.kind != "http":
            assert self.status == 0
            return
        if not self.said:
            assert self.left, "no answer, and the client is still there"
            return
        start, *rest = self.said
        assert start["type"] == "http.response.start", start
        status, headers = self.status, dict(start["headers"])
        assert status == 200 or 400 <= status < 600, status
        assert status != 500, "a fault of ours"
        for name, value in start["headers"]:
            assert name.islower() or not name.isalpha(), name
            assert not set(name + value) & set(b"\r\n\x00"), (name, value)
        assert all(one["type"] == "http.response.body" for one in rest)
        ends = [not one.get("more_body", False) for one in rest]
        assert self.left or (ends and ends[-1]), "the answer does not end"
        assert not any(ends[:-1]), "something comes after the end"
        body = b"".join(one.get("body", b"") for one in rest)
        if b"content-length" in headers and ends and ends[-1] and self.method != "HEAD":
            assert int(headers[b"content-length"]) == len(body)
        if self.method != "HEAD" and ends and ends[-1]:
            self._check_body(status, headers, body)

    def _check_body(self, status: int, headers: dict[bytes, bytes], body: bytes) -> None:
        kind = headers[b"content-type"]
        if status >= 400:
            assert kind == b"application/json", kind
            found = json.loads(body.decode())
            assert isinstance(found, dict), found
            assert b"retry-after" not in headers or headers[b"retry-after"].isdigit()
            if b"x-request-id" in headers and "error" in found and status in (429, 502, 503, 504):
                assert set(found["error"]) == SHAPE, found
                assert found["error"]["message"], found
        elif kind.startswith(b"text/event-stream"):
            self._check_stream(body)
        elif kind == b"application/json":
            found = json.loads(body.decode())
            assert isinstance(found, dict), found
            if self.path in PATHS.values():
                assert found["energy"]["method"] == "modelled", found

    def _check_stream(self, body: bytes) -> None:
        """Events of JSON; the last one says that it was, or an error."""
        events = [one for one in body.replace(b"\r\n", b"\n").split(b"\n\n") if one.strip()]
        assert body.replace(b"\r\n", b"\n").endswith(b"\n\n"), body[-80:]
        data = []
        for event in events:
            lines = [line for line in event.split(b"\n") if line]
            said = [line[5:].lstrip() for line in lines if line.startswith(b"data:")]
            if said:
                data.append(b"\n".join(said))
        assert data, "a stream of nothing"
        for one in data:
            if one.strip() != b"[DONE]":
                assert one.decode()
                top_level(one)
        assert sum(one.strip() == b"[DONE]" for one in data) <= 1
        if data[-1].strip() != b"[DONE]":
            last = json.loads(data[-1])
            kind = str(last.get("type"))
            assert "error" in last or kind.startswith("response."), last


def call_of(draw: random.Random, *, keyed: bool) -> Call:
    """A client. ``keyed``: the gateway wants keys; most then have one."""
    headers: list[tuple[bytes, bytes]] = []
    if keyed and draw.random() < 0.9:
        headers.append((b"authorization", draw.choice(KEYS)))
    path, raw = _asked(draw)
    method = "POST" if draw.random() < 0.97 else draw.choice(METHODS)
    if draw.random() < 0.1:
        path, raw = draw.choice(PAGES), b""
        method = "GET" if draw.random() < 0.8 else draw.choice(METHODS)
    if draw.random() < 0.01:
        path = path + draw.choice(("/", "\x00", "?x", " ", "ü"))
    if draw.random() < 0.8:
        headers.append((b"content-length", b"%d" % len(raw)))
    while draw.random() < 0.35:
        headers.append((draw.choice(HEADERS), draw.choice(VALUES)))
    if draw.random() < 0.01:
        headers += [(b"x-a", b"b")] * 300
    draw.shuffle(headers)
    call = Call(
        path=path,
        method=method,
        headers=headers,
        parts=_parts(draw, raw),
        leaves_s=draw.choice((0.0, 0.1, 1.0, 3.0)) if draw.random() < 0.1 else None,
        slow_s=0.5 if draw.random() < 0.02 else 0.0,
        kind="websocket" if draw.random() < 0.003 else "http",
    )
    if draw.random() < 0.1:
        last = Call(path="/v1/energy/summary", method="GET", headers=headers, parts=[b""])
        call.next = [call_of(draw, keyed=keyed), last]
    return call


def _asked(draw: random.Random) -> tuple[str, bytes]:
    """Path and body: mostly what is answered, so that engines are asked."""
    if draw.random() < 0.3:
        endpoint, raw = body_case(draw)
        return PATHS[endpoint], raw
    endpoint = draw.choice(ENDPOINTS)
    body = good_body(draw, endpoint)
    models = ("vectors",) if endpoint == "embeddings" else ("m", "m", "auto", "any", "seer")
    body["model"] = draw.choice(models) if draw.random() < 0.95 else draw.choice(ODD)
    if draw.random() < 0.5 and endpoint != "embeddings":
        body["stream"] = True
    for _ in range(draw.choice((0, 0, 1))):
        body[draw.choice(NAMES)] = draw.choice(ODD)
    raw = msgspec.json.encode({k: v for k, v in body.items() if not too_big(v)})
    return PATHS[endpoint], mutated(draw, raw) if draw.random() < 0.05 else raw


def _parts(draw: random.Random, raw: bytes) -> list[bytes | float | None]:
    """How the body comes: whole, in pieces, slowly, too much of it, or not to its end."""
    parts: list[bytes | float | None] = [raw]
    if draw.random() < 0.1:
        cut = draw.randrange(len(raw) + 1)
        parts = [raw[:cut], draw.choice((0.0, 0.1, 5.0)), raw[cut:]]
    if draw.random() < 0.02:
        parts.append(None)
    if draw.random() < 0.01:
        parts += [b" " * 9000] * 3
    return parts
