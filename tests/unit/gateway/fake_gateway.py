"""A gateway without sockets for tests: a machine that does as it is told, scripted engines, and a
client that speaks ASGI.
"""

from __future__ import annotations

import asyncio
import json

import msgspec

from baseload.gateway.config import GatewayConfig, ModelEntry, ReplicasEntry
from baseload.gateway.events import (
    Abort,
    Arrived,
    Broke,
    Cancel,
    Close,
    Drain,
    Ended,
    LaneAdded,
    Left,
    Progressed,
    Refuse,
    Send,
)
from baseload.gateway.upstream import UpstreamError

NEVER_NS = 1 << 62


def config_of(**changes):
    """Two replicas of one model."""
    made = GatewayConfig(
        models=(ModelEntry(name="m", efforts=("low", "high")),),
        replicas=(ReplicasEntry(model="m", urls=("http://a:1", "http://b:2")),),
    )
    return msgspec.structs.replace(made, **changes)


class FakeFleet:
    """What of a ``LiveFleet`` driver and surface read, without routing's arrays."""

    def __init__(self, config):
        from baseload.gateway.errors import unknown_model
        from baseload.gateway.live_fleet import Lane, LiveOption, LiveReplica

        self.config = config
        model = config.models[0]
        self.replicas = tuple(
            LiveReplica(
                number=number,
                name=url.split("//")[1],
                url=url,
                kind=0,
                engine="vllm",
                model=model,
                entry=config.replicas[0],
            )
            for number, url in enumerate(config.replicas[0].urls)
        )
        self.options = (
            LiveOption(name="m", model=model, effort=None, tokens_factor=1.0, right_frac=None),
        )
        self.lanes = []
        self._lane, self._unknown = Lane, unknown_model

    def names(self):
        return ["auto", *(model.name for model in self.config.models)]

    def lane(self, asked, tier):
        if asked.model not in self.names():
            raise self._unknown(asked.model, self.names())
        wanted = self._lane(tier=tier, allowed=(0,))
        if wanted not in self.lanes:
            self.lanes.append(wanted)
        return self.lanes.index(wanted)


class FakeCore:
    """Sends each request to replica ``attempt % 2``; tries again ``tries`` times; refuses where
    ``refuse`` says so. Notes everything that it is told.
    """

    def __init__(self, *, tries=2, refuse=None, hold=False):
        self.told = []
        self.tries, self.refuse, self.hold = tries, refuse, hold
        self.next_ns = NEVER_NS
        self.live = {}
        self.closed = []

    def handle(self, event, now_ns):
        self.told.append(event)
        made = list(self._answers(event))
        self.closed += [one for one in made if isinstance(one, Close)]
        return made

    def _answers(self, event):
        if isinstance(event, Drain | LaneAdded):
            return
        request = getattr(event, "request", None)
        if isinstance(event, Arrived):
            self.live[request] = [0, False]
            if self.refuse is not None:
                yield msgspec.structs.replace(self.refuse, request=request)
                yield self.close(request, self.refuse.reason)
            elif not self.hold:
                yield Send(request=request, attempt=0, replica=0, option=0)
            return
        if request not in self.live:
            return
        state = self.live[request]
        if isinstance(event, Left):
            yield Cancel(request=request, attempt=state[0])
            yield self.close(request, "cancelled")
        elif event.attempt != state[0]:
            return
        elif isinstance(event, Progressed):
            state[1] = state[1] or event.sent
        elif isinstance(event, Ended):
            yield self.close(request, "answered", 200)
        elif isinstance(event, Broke):
            yield from self.broke(request, state, event)

    def broke(self, request, state, event):
        if event.cause == "rejected":
            yield Refuse(request=request, status=event.status, reason="rejected", message="no")
            yield self.close(request, "rejected", event.status)
        elif state[1]:
            yield Abort(request=request, reason="upstream", message=f"failed ({event.cause})")
            yield self.close(request, "upstream", 502)
        elif state[0] < self.tries:
            state[0] += 1
            yield Send(request=request, attempt=state[0], replica=state[0] % 2, option=0)
        else:
            yield Refuse(request=request, status=502, reason="upstream", message=event.cause)
            yield self.close(request, "upstream", 502)

    def close(self, request, reason, status=0):
        attempts = self.live.pop(request)[0] + 1
        return Close(
            request=request,
            reason=reason,
            replica=0,
            option=0,
            attempts=attempts,
            status=status,
            energy_j=7.5,
            total_s=1.5,
        )

    def price_parts(self, request):
        return {"price_usd": 0.25, "energy_usd": 0.125, "energy_j": 7.5}

    def of(self, kind):
        return [event for event in self.told if isinstance(event, kind)]


class FakeStream:
    """Chunks; an ``Exception`` among them is raised, a ``Future`` or coroutine waited for."""

    def __init__(self, chunks, status=200, headers=None):
        self.status = status
        self.headers = {"content-type": "text/event-stream"} if headers is None else headers
        self._chunks = list(chunks)
        self.closed = False

    def __aiter__(self):
        return self

    async def __anext__(self):
        while self._chunks:
            chunk = self._chunks.pop(0)
            if isinstance(chunk, Exception):
                raise chunk
            if isinstance(chunk, asyncio.Event):
                await chunk.wait()
                continue
            return chunk
        raise StopAsyncIteration

    def leave(self):
        self.closed = True

    def close(self):
        self.closed = True


class FakeUpstream:
    """Answers attempts in order as its script says, and keeps what it was asked."""

    def __init__(self, *script):
        self.script = list(script)
        self.asked = []
        self.streams = []

    async def _next(self, url, body, headers):
        self.asked.append((url, body, headers))
        found = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(found, asyncio.Event):
            await found.wait()
            raise UpstreamError("closed")
        if isinstance(found, Exception):
            raise found
        return found

    async def post(self, url, body, headers, *, limits):
        return await self._next(url, body, headers)

    async def stream(self, url, body, headers, *, limits):
        found = await self._next(url, body, headers)
        self.streams.append(found)
        return found

    async def close(self):
        pass


class Client:
    """Calls an ASGI application and keeps what it says."""

    def __init__(self, app):
        self.app = app
        self.messages = []
        self.gone = asyncio.Event()
        self.said = asyncio.Event()
        self.status = None
        self.headers = {}

    async def call(
        self, path, body=None, *, method=None, headers=(), parts=None, http_type="http", wait=None
    ):
        """Sends a request; gives the whole body of the answer."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        left = [body or b""] if parts is None else list(parts)
        announced = [(b"content-length", b"%d" % len(body))] if body is not None else []
        scope = {
            "type": http_type,
            "method": method or ("POST" if body is not None or parts is not None else "GET"),
            "path": path,
            "headers": [*announced, *headers],
        }

        async def hear():
            if left:
                return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}
            if wait is not None:
                await wait.wait()
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def say(message):
            self.messages.append(message)
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = dict(message["headers"])
            self.said.set()

        await self.app(scope, hear, say)
        return self.body

    @property
    def body(self):
        return b"".join(one.get("body", b"") for one in self.messages)

    @property
    def json(self):
        return json.loads(self.body)


def chunk_of(text=None, *, finish=None, usage=None):
    """An event of a chat stream."""
    delta = {} if text is None else {"content": text}
    said = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    if usage is not None:
        said = {"choices": [], "usage": usage}
    return b"data: " + json.dumps(said).encode() + b"\n\n"


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
DONE = b"data: [DONE]\n\n"
GOOD_STREAM = (chunk_of("a"), chunk_of("b", finish="stop"), chunk_of(usage=USAGE), DONE)
GOOD_ANSWER = json.dumps(
    {
        "id": "x",
        "choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()
GOOD = (200, {"content-type": "application/json"}, GOOD_ANSWER)


def chat(**fields):
    return {"model": "m", "messages": [{"role": "user", "content": "hello there"}], **fields}
