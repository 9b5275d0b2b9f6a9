"""An emulated engine behind HTTP: a bare ASGI application with vLLM's API, and its server."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import uvicorn

from baseload.base.errors import BadInputError
from baseload.gateway.emulated.engine import DroppedError, EmulatedEngine, Reply, error_reply

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MOST_BODY_BYTES = 64 * 1024 * 1024
GRACE_S = 1
"""How long answers under way may go on once the server was told to stop."""


class EmulatedHttp:
    """The ASGI application of one engine. A client that leaves frees its seats."""

    def __init__(self, engine: EmulatedEngine) -> None:
        self.engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        # what breaks off returns without the end of an answer, and the server closes the connection
        with contextlib.suppress(DroppedError):
            if scope["method"] in ("GET", "HEAD"):
                await _send_body(self.engine.get(scope["path"]), send)
            elif scope["method"] == "POST":
                await self._post(scope, receive, send)
            else:
                await _send_body(error_reply(405, "Method Not Allowed"), send)

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            await _send_body(error_reply(413, "the body is too large"), send)
            return
        request_id = next((v for k, v in scope["headers"] if k == b"x-request-id"), None)
        said = None if request_id is None else request_id.decode("latin-1")
        answer = asyncio.ensure_future(self.engine.post(scope["path"], body, request_id=said))
        gone = asyncio.ensure_future(_gone(receive))
        gone.add_done_callback(lambda _: answer.cancel())
        try:
            reply = await answer
            if reply.pipe is None:
                await _send_body(reply, send)
                return
            pipe = reply.pipe
            gone.add_done_callback(lambda _: pipe.abandon())
            await send({"type": "http.response.start", "status": 200, "headers": reply.headers})
            while (part := await pipe.get()) is not None:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            if not gone.done():
                raise
        finally:
            gone.cancel()


async def _body(receive: Receive) -> bytes | None:
    """The whole body; ``None``: it is too large."""
    message = await receive()
    if not message.get("more_body"):
        return bytes(message.get("body", b""))
    parts, size = [message.get("body", b"")], 0
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY_BYTES:
            return None
    return b"".join(parts)


async def _gone(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_body(reply: Reply, send: Send) -> None:
    length = (b"content-length", str(len(reply.body)).encode())
    headers = (*reply.headers, length)
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if reply.cut:
        part = reply.body[: len(reply.body) // 2]
        await send({"type": "http.response.body", "body": part, "more_body": True})
        raise DroppedError
    await send({"type": "http.response.body", "body": reply.body})


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine listens."""

    host: str
    port: int
    engine: EmulatedEngine

    @property
    def url(self) -> str:
        """Its address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers: several of them run in one loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the loop."""
        yield


async def serve_engines(
    engines: Sequence[EmulatedEngine],
    *,
    host: str,
    port: int,
    stop: asyncio.Event,
    ready: Callable[[Sequence[Served]], None],
) -> None:
    """Serve each engine on a port of its own, from ``port`` up (0: any that are free), until
    ``stop`` is set; ``ready`` is told where once all listen. Raises ``BadInputError`` for an
    address that cannot be had.
    """
    with contextlib.ExitStack() as stack:
        served, servers = [], []
        for number, engine in enumerate(engines):
            listener = stack.enter_context(_listener(host, port + number if port else 0))
            where = listener.getsockname()
            served.append(Served(host=where[0], port=where[1], engine=engine))
            config = uvicorn.Config(
                EmulatedHttp(engine),
                http="httptools",
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="critical",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE_S,
            )
            server = _Server(config)
            servers.append((server, asyncio.ensure_future(server.serve(sockets=[listener]))))
        while not all(server.started or task.done() for server, task in servers):
            await asyncio.sleep(0.01)
        ready(served)
        await stop.wait()
        for engine in engines:
            engine.close()
        for server, _ in servers:
            server.should_exit = True
        await asyncio.gather(*(task for _, task in servers))


def _listener(host: str, port: int) -> socket.socket:
    """A socket that is bound; raises ``BadInputError``."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        raise BadInputError(
            f"listen on {host} port {port}",
            found=str(error),
            allowed="an address of this machine and a port that is free",
            todo="choose another --port",
        ) from error
    return listener
