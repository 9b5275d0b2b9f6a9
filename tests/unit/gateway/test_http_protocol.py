"""uvicorn's protocol with bounds: a head may be so large and take so long."""

from __future__ import annotations

import asyncio
import json

import pytest
import uvicorn
from fake_transport import FakeTransport
from uvicorn.server import ServerState

from baseload.gateway import http_protocol
from baseload.gateway.http_protocol import GatewayProtocol

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def app(scope, receive, send):
    await receive()
    await answer(send)


async def answer(send):
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


def fed(*parts, head_bytes=200, wait_s=0.0, app=app):
    """What a client that sends ``parts`` gets, and whether its connection is ended."""

    async def run():
        config = uvicorn.Config(
            app, http=GatewayProtocol, lifespan="off", log_config=None, ws="none", date_header=False
        )
        config.load()
        kind = type("Small", (GatewayProtocol,), {"head_bytes": head_bytes})
        protocol = kind(config=config, server_state=ServerState(), app_state={})
        transport = FakeTransport()
        protocol.connection_made(transport)
        for part in parts:
            if not transport.closing:
                protocol.data_received(part)
            for _ in range(3):
                await asyncio.sleep(0)
        if wait_s:
            await asyncio.sleep(wait_s)
        written, closing = transport.written, transport.closing
        protocol.connection_lost(None)
        if protocol.timeout_keep_alive_task is not None:
            protocol.timeout_keep_alive_task.cancel()
        return written, closing

    return asyncio.run(run())


def test_requests_are_answered_as_ever():
    written, closing = fed(GET, GET[:10], GET[10:], GET)
    assert written.count(b"200 OK") == 3
    assert not closing


H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAI\r\n"


@pytest.mark.parametrize("cut", [0, 10, 60, 150, 190, 205])
def test_a_wish_for_another_protocol_is_passed_over(cut):
    """Java's client wishes for HTTP/2 with every request; its body was lost."""
    asked = b"POST /x HTTP/1.1\r\nhost: x\r\n" + H2C + b"content-length: 5\r\n\r\nhello"
    told = []

    async def echo(scope, receive, send):
        found, more = b"", True
        while more:
            message = await receive()
            found, more = found + message["body"], message["more_body"]
        told.append((scope["method"], scope["path"], found))
        await answer(send)

    written, closing = fed(
        *filter(None, (asked[:cut], asked[cut:])), asked, app=echo, head_bytes=1000
    )
    assert written.count(b"200 OK") == 2
    assert not closing
    assert told == [("POST", "/x", b"hello")] * 2


def test_this_is_no_proxy():
    written, closing = fed(b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n")
    assert b"400 Bad Request" in written
    assert closing


def test_a_large_body_is_not_a_large_head():
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n"
    written, closing = fed(head + b"x" * 300, b"x" * 200, GET)
    assert written.count(b"200 OK") == 2
    assert not closing


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\nx: " + b"y" * 300],
        [b"GET / HTTP/1.1\r\nx: ", *[b"y" * 50] * 6],
        [b"GET /" + b"y" * 300],
        [GET, b"GET / HTTP/1.1\r\nx: " + b"y" * 300],
    ],
    ids=["at once", "bit by bit", "path", "second request"],
)
def test_a_head_may_have_so_many_bytes(parts):
    written, closing = fed(*parts)
    assert b"431 Request Header Fields Too Large" in written
    assert closing


def test_what_is_not_http_gets_an_error_of_the_usual_shape():
    written, closing = fed(b"\x00\x01\x02\r\n\r\n")
    head, _, body = written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
    assert closing


@pytest.mark.parametrize("parts", [[], [b"GET / HT"], [GET, b"GET"]])
def test_a_head_may_take_so_long(parts, monkeypatch):
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.001)
    written, closing = fed(*parts, wait_s=0.02)
    assert b"408 Request Timeout" in written
    assert closing


def test_a_connection_that_rests_between_requests_is_left_alone(monkeypatch):
    monkeypatch.setattr(http_protocol, "HEAD_S", 0.001)
    _, closing = fed(GET, wait_s=0.02)
    assert not closing
