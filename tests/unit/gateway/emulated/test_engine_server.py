"""The emulated engine behind HTTP: the ASGI application, and its server."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from emulated_engines import chat, engine_on, events_of
from emulated_time import FakeTime

from baseload.base.errors import BadInputError
from baseload.gateway.emulated.engine import Fault
from baseload.gateway.emulated.engine_server import EmulatedHttp, serve_engines


class Client:
    """What a server tells the application, and what it hears."""

    def __init__(self, body=b"", *, parts=1):
        size = max(1, -(-len(body) // parts))
        cuts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
        self.messages = [
            {"type": "http.request", "body": cut, "more_body": number < len(cuts) - 1}
            for number, cut in enumerate(cuts)
        ]
        self.heard = []
        self.left = asyncio.Event()
        self.hears = asyncio.Event()

    async def receive(self):
        if self.messages:
            return self.messages.pop(0)
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.heard.append(message)
        self.hears.set()

    @property
    def status(self):
        return self.heard[0]["status"]

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.heard[1:])

    @property
    def ended(self):
        return not self.heard[-1].get("more_body", self.heard[-1]["type"] == "http.response.start")


def scope(path="/v1/chat/completions", method="POST", headers=()):
    return {"type": "http", "method": method, "path": path, "headers": headers}


def run(go, **settings):
    async def inside():
        time = FakeTime()
        engine = engine_on(time, **settings)
        return await go(time, engine, EmulatedHttp(engine))

    return asyncio.run(inside())


def test_answers_in_one_piece_and_streamed():
    async def go(time, engine, app):
        client = Client(chat(max_tokens=4, ignore_eos=True), parts=3)
        named = scope(headers=[(b"x-request-id", b"mine")])
        await time.drive(app(named, client.receive, client.send))
        assert client.status == 200
        assert dict(client.heard[0]["headers"])[b"content-length"] == str(len(client.body)).encode()
        assert json.loads(client.body)["id"] == "chatcmpl-mine"
        client = Client(chat(max_tokens=4, ignore_eos=True, stream=True))
        await time.drive(app(scope(), client.receive, client.send))
        assert client.ended
        assert len(client.heard) == 1 + 4 + 1
        assert len(events_of(client.body)) == 5

    run(go)


def test_gets_and_what_is_not_there():
    async def go(time, engine, app):
        for path, method, status in (
            ("/health", "GET", 200),
            ("/metrics", "GET", 200),
            ("/nowhere", "GET", 404),
            ("/nowhere", "POST", 404),
            ("/health", "PUT", 405),
        ):
            client = Client()
            await app(scope(path, method), client.receive, client.send)
            assert (client.status, client.ended) == (status, True)
        await app({"type": "lifespan"}, None, None)

    run(go)


def test_a_client_that_leaves_frees_its_seat():
    async def go(time, engine, app):
        for stream in (True, False):
            client = Client(chat(max_tokens=500, ignore_eos=True, stream=stream))
            task = asyncio.ensure_future(app(scope(), client.receive, client.send))
            for _ in range(5):
                await asyncio.sleep(0)
            time.run_until(time.now + 0.1)
            client.left.set()
            await task
            time.run_until(time.now + 0.1)
            assert engine.running.replica.running == 0
        assert engine.meters().left == 2

    run(go)


def test_what_breaks_off_has_no_end():
    async def go(time, engine, app):
        for stream in (True, False):
            engine.set_fault(Fault(kind="drop_after", after_tokens=2))
            client = Client(chat(max_tokens=9, ignore_eos=True, stream=stream))
            await time.drive(app(scope(), client.receive, client.send))
            assert client.status == 200
            assert not client.ended
        engine.set_fault(Fault(kind="die"))
        client = Client()
        await app(scope("/health", "GET"), client.receive, client.send)
        assert client.heard == []

    run(go)


def test_a_body_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("baseload.gateway.emulated.engine_server.MOST_BODY_BYTES", 100)

    async def go(time, engine, app):
        client = Client(b"x" * 500, parts=50)
        await app(scope(), client.receive, client.send)
        assert client.status == 413

    run(go)


def test_each_engine_has_a_port_and_an_address_that_is_taken_is_an_error():
    async def go(time, engine, app):
        stop, where = asyncio.Event(), []

        def ready(served):
            where.extend(served)
            stop.set()

        engines = [engine, engine_on(time, number=1)]
        await serve_engines(engines, host="127.0.0.1", port=0, stop=stop, ready=ready)
        assert [one.engine for one in where] == engines
        assert where[0].url == f"http://127.0.0.1:{where[0].port}"
        assert len({one.port for one in where} - {0}) == 2
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(BadInputError, match=f"port {port}"):
                await serve_engines(engines, host="127.0.0.1", port=port, stop=stop, ready=ready)

    run(go)
