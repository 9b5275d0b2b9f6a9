"""A mock engine for the gateway bench, as cheap as Python gets: others are what is measured.

One process, uvloop, a parser that looks for three byte strings. Whole answers are one constant;
streams (``"stream":true``) write their first chunk at once and one each 10 ms, as many as
``max_tokens`` says. Any path will do; GET gives what engines' health and metrics give.

Run: python bench/_gateway_mock.py PORT CORE
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import cast

import uvloop

PACE_S = 0.01
MODEL = "mock"
METRICS = (
    b'vllm:num_requests_running{model_name="mock",engine="0"} 1.0\n'
    b'vllm:num_requests_waiting{model_name="mock",engine="0"} 0.0\n'
    b'vllm:kv_cache_usage_perc{model_name="mock",engine="0"} 0.01\n'
)
HEALTH = (
    b'{"status":"ok","object":"list","model_path":"mock","data":[{"id":"mock","object":"model"}]}'
)
ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"mock","choices":'
    b'[{"index":0,"message":{"role":"assistant","content":"An answer of the mock engine, as long as'
    b' a sentence or two, so that its body is like that of a short chat answer."},"logprobs":null,'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":300,"total_tokens":330,'
    b'"completion_tokens":30,"prompt_tokens_details":null}}'
)
_HEAD = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"mock",'
)
CHUNK = _HEAD + (
    b'"choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}\n\n'
)
LAST = _HEAD + (
    b'"choices":[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":"stop"}]}\n\n'
)
USAGE = _HEAD + (
    b'"choices":[],"usage":{"prompt_tokens":300,"total_tokens":310,"completion_tokens":%d}}\n\n'
)
DONE = b"data: [DONE]\n\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nserver: mock\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def whole(body: bytes, kind: bytes = b"application/json") -> bytes:
    """An answer with its head."""
    head = b"HTTP/1.1 200 OK\r\nserver: mock\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n"
    return head % (kind, len(body)) + body


def framed(data: bytes) -> bytes:
    """``data`` as one piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


WHOLE = whole(ANSWER)
GETS = {b"/metrics": whole(METRICS, b"text/plain; version=0.0.4")}
GET_ANY = whole(HEALTH)
FRAMED_CHUNK = framed(CHUNK)


class Engine(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.held = b""
        self.left = self.made = 0
        self.due_s = 0.0
        self.usage = False
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            head = self.held[:end]
            lower = head.lower()
            at = lower.find(b"content-length:")
            if at >= 0:
                length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
                if len(self.held) < end + 4 + length:
                    return
                body = self.held[end + 4 : end + 4 + length]
                self.held = self.held[end + 4 + length :]
            elif b"transfer-encoding: chunked" in lower:
                stop = self.held.find(b"0\r\n\r\n", end + 4)
                if stop < 0:
                    return
                body, self.held = self.held[end + 4 : stop], self.held[stop + 5 :]
            else:
                body, self.held = b"", self.held[end + 4 :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            path = head.split(b" ", 2)[1]
            self.transport.write(GETS.get(path[path.rfind(b"/") :], GET_ANY))
        elif b'"stream":true' in body or b'"stream": true' in body:
            self.left, self.made = _number(body), 0
            self.usage = b"include_usage" in body
            self.due_s = self.loop.time()
            self.transport.write(STREAM_HEAD + FRAMED_CHUNK)
            self.next()
        else:
            self.transport.write(WHOLE)

    def next(self) -> None:
        """Count a chunk that has been written, and set the clock for the next one."""
        self.made += 1
        self.due_s += PACE_S
        again = self.chunk if self.made < self.left else self.end
        self.timer = self.loop.call_at(self.due_s, again)

    def chunk(self) -> None:
        self.transport.write(FRAMED_CHUNK)
        self.next()

    def end(self) -> None:
        last = LAST + (USAGE % self.made if self.usage else b"") + DONE
        self.transport.write(framed(last) + b"0\r\n\r\n")


def _number(body: bytes) -> int:
    """Tokens that a body asks for (some peers rename the field), 10 where it does not say."""
    for name in (b'"max_tokens":', b'"max_completion_tokens":'):
        at = body.find(name)
        if at >= 0:
            digits = body[at + len(name) : at + len(name) + 12].lstrip()
            end = next((i for i, c in enumerate(digits) if not 48 <= c <= 57), len(digits))
            if end:
                return int(digits[:end])
    return 10


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Engine, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(main(int(sys.argv[1])))
