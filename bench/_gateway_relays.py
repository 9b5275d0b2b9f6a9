"""Two relays that route nothing, for the gateway bench to compare with.

``floor``: raw asyncio protocols and httptools on both legs, its own pool of connections: about the
least that a relay in Python can take; a reference, no product. ``plain``: uvicorn with a bare ASGI
application and an aiohttp client, as one would write it.

Run: python bench/_gateway_relays.py floor|plain PORT BACKEND_PORT
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import aiohttp
import httptools
import uvicorn
import uvloop

BACKEND = ("127.0.0.1", 0)
IDLE: deque[Upstream] = deque()


class Upstream(asyncio.Protocol):
    """A connection to the backend, of one client at a time."""

    def __init__(self) -> None:
        self.client: Client | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        client = self.client
        self.parser.feed_data(data)  # where the answer ends
        if client is not None and client.transport is not None:
            client.transport.write(data)

    def on_message_complete(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.client = None
        IDLE.append(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self in IDLE:
            IDLE.remove(self)
        if self.client is not None and self.client.transport is not None:
            self.client.transport.close()


class Client(asyncio.Protocol):
    """A connection of a client; its requests go on as they came, once each is whole."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        whole, self.parts = b"".join(self.parts), []
        if IDLE:
            self.send(IDLE.pop(), whole)
        else:
            opened = asyncio.ensure_future(
                asyncio.get_running_loop().create_connection(Upstream, *BACKEND)
            )
            opened.add_done_callback(lambda done: self.send(done.result()[1], whole))

    def send(self, upstream: Upstream, whole: bytes) -> None:
        upstream.client = self
        upstream.transport.write(whole)


async def floor(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Client, "127.0.0.1", port)
    await server.serve_forever()


class Plain:
    """Bare ASGI: the body in, on to the backend by aiohttp, the answer out as it comes."""

    def __init__(self) -> None:
        self.session: aiohttp.ClientSession | None = None

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            return
        if self.session is None:
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), auto_decompress=False
            )
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        target = f"http://{BACKEND[0]}:{BACKEND[1]}{scope['path']}"
        headers = {"content-type": "application/json"}
        async with self.session.post(target, data=b"".join(parts), headers=headers) as answer:
            kind = answer.headers["content-type"].encode()
            head: dict[str, Any] = {"type": "http.response.start", "status": answer.status}
            if kind.startswith(b"text/event-stream"):
                await send(head | {"headers": [(b"content-type", kind)]})
                async for data in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": data, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            else:
                body = await answer.read()
                length = str(len(body)).encode()
                fields = [(b"content-type", kind), (b"content-length", length)]
                await send(head | {"headers": fields})
                await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    BACKEND = ("127.0.0.1", int(sys.argv[3]))
    if sys.argv[1] == "floor":
        asyncio.Runner(loop_factory=uvloop.new_event_loop).run(floor(int(sys.argv[2])))
    else:
        uvicorn.run(
            cast(Any, Plain()),
            host="127.0.0.1",
            port=int(sys.argv[2]),
            loop="uvloop",
            http="httptools",
            lifespan="off",
            access_log=False,
            log_level="warning",
        )
