"""Emulated engines on a fake clock, and what their streams say."""

from __future__ import annotations

import json

import msgspec
from emulated_time import FakeTime, small_type

from baseload.gateway.emulated.engine import EmulatedEngine


def engine_on(time: FakeTime, **settings) -> EmulatedEngine:
    return EmulatedEngine(
        settings.pop("kind", None) or small_type(kv_tokens=4000),
        clock=time.clock,
        call_later=time.call_later,
        wall_clock=lambda: 1.7e9 + time.now,
        **{"model_name": "small", **settings},
    )


def chat(**fields) -> bytes:
    messages = [{"role": "user", "content": fields.pop("text", "hello")}]
    return msgspec.json.encode({"messages": messages, **fields})


async def read(pipe) -> list[bytes]:
    parts = []
    while (part := await pipe.get()) is not None:
        parts.append(part)
    return parts


async def ask(time: FakeTime, engine: EmulatedEngine, path: str, body: bytes):
    """The reply to a POST, whose pipe is read to the end: status, body."""

    async def whole():
        reply = await engine.post(path, body)
        if reply.pipe is None:
            return reply.status, reply.body
        return reply.status, b"".join(await read(reply.pipe))

    return await time.drive(whole())


def events_of(stream: bytes) -> list[dict]:
    """The JSON of each event; the stream must end as it should."""
    *events, done, rest = stream.split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    assert all(event.startswith(b"data: ") for event in events)
    return [json.loads(event[6:]) for event in events]


def joined(events: list[dict], field: str, choice: int = 0) -> str:
    """What the deltas of a choice say together."""
    deltas = [
        one["delta"] for event in events for one in event["choices"] if one["index"] == choice
    ]
    return "".join(delta.get(field) or "" for delta in deltas)
