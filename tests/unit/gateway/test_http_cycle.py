"""Our answer to a request is uvicorn's own, byte for byte, in fewer writes."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from fake_transport import FakeTransport
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from baseload.gateway.http_cycle import GatewayCycle
from baseload.gateway.http_protocol import GatewayProtocol


def start(*headers, status=200):
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data=b"", *, more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


def served(kind, messages, request, *, default=((b"date", b"today"),)):
    """Writes, whether the connection is ended, and what went wrong, of an answer of ``messages``
    through the protocol ``kind``.
    """
    wrong = []

    async def app(scope, receive, send):
        await receive()
        try:
            for message in messages:
                await send(message)
        except RuntimeError as error:
            wrong.append(error)
            raise

    async def run():
        config = uvicorn.Config(app, http=kind, lifespan="off", log_config=None, ws="none")
        config.load()
        state = ServerState()
        state.default_headers = list(default)
        protocol = kind(config=config, server_state=state, app_state={})
        transport = FakeTransport()
        protocol.connection_made(transport)
        protocol.data_received(request)
        for _ in range(4):
            await asyncio.sleep(0)
        assert kind is HttpToolsProtocol or type(protocol.cycle) is GatewayCycle
        writes, closing = transport.writes, transport.closing
        protocol.connection_lost(None)
        if protocol.timeout_keep_alive_task is not None:
            protocol.timeout_keep_alive_task.cancel()
        return writes, closing, bool(wrong)

    return asyncio.run(run())


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LENGTH = (b"content-length", b"2")
ANSWERS = [
    [start(LENGTH), body(b"ok")],
    [start((b"x", b"y"), LENGTH), body(b"o", more=True), body(b"k")],
    [start(), body(b"ok")],
    [start(), body(b"o", more=True), body(b"", more=True), body(b"k")],
    [start((b"transfer-encoding", b"chunked")), body(b"o", more=True), body()],
    [start((b"content-length", b"0")), body()],
    [start((b"connection", b"close"), LENGTH), body(b"ok")],
    [start((b"connection", b"keep-alive"), LENGTH), body(b"ok")],
    [start(status=204), body()],
    [start(status=304), body()],
    [start(LENGTH, status=429), body(b"no")],
    [start(LENGTH), body(b"longer")],
    [start(LENGTH), body(b"s")],
    [start(LENGTH)],
    [body(b"before the head")],
    [start(LENGTH), start(LENGTH)],
    [start(LENGTH), body(b"ok"), body(b"again")],
    [start((b"x", b"a\r\nset-cookie: b"), LENGTH), body(b"ok")],
    [start((b"x", b"a\x00b"), LENGTH), body(b"ok")],
    [start((b"x", b"a\tb"), LENGTH), body(b"ok")],
]
REQUESTS = [
    GET,
    b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.0\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n{",
]


@pytest.mark.parametrize("request_bytes", REQUESTS)
@pytest.mark.parametrize("messages", ANSWERS)
def test_what_is_written_is_what_uvicorn_writes(messages, request_bytes):
    """But for a head without a body: ours was never begun when it turns out that something is
    wrong, so the client gets nothing rather than half.
    """
    theirs, their_end, their_fault = served(HttpToolsProtocol, messages, request_bytes)
    if b"HTTP/1.0" in request_bytes and not any(messages[0].get("headers", ())):
        theirs = [without_pieces(b"".join(theirs))]
    ours, our_end, our_fault = served(GatewayProtocol, messages, request_bytes)
    assert (our_end, our_fault) == (their_end, their_fault)
    if b"".join(ours) != b"".join(theirs):
        assert our_end
        assert their_fault or len(messages) == 1
        assert b"".join(theirs).endswith(b"\r\n\r\n")
        assert b"HTTP/1.1 200" not in b"".join(ours)


def without_pieces(answer):
    """A chunked answer as HTTP/1.0 has it, which uvicorn does not know."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head:
        return answer
    found = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        found += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return head.replace(b"\r\ntransfer-encoding: chunked", b"") + b"\r\n\r\n" + found


def test_a_client_of_http_1_0_gets_no_pieces():
    streamed = [start(), body(b"o", more=True), body(b"", more=True), body(b"k")]
    writes, closing, _ = served(GatewayProtocol, streamed, b"GET / HTTP/1.0\r\n\r\n")
    assert b"".join(writes).endswith(b"\r\nconnection: close\r\n\r\nok")
    assert closing


def test_a_head_may_have_no_headers():
    messages = [start(status=304), body()]
    ours = served(GatewayProtocol, messages, GET, default=())
    assert b"".join(ours[0]) == b"".join(served(HttpToolsProtocol, messages, GET, default=())[0])


def test_head_and_body_go_out_in_one_write():
    assert len(served(GatewayProtocol, [start(LENGTH), body(b"ok")], GET)[0]) == 1
    streamed = [start(), body(b"o", more=True), body(b"k")]
    assert len(served(GatewayProtocol, streamed, GET)[0]) == 2


def test_a_large_body_is_not_copied():
    large = b"x" * 100_000
    answer = [start((b"content-length", b"100000")), body(large)]
    assert served(GatewayProtocol, answer, GET)[0][1] == large


NAMES = st.from_regex(rb"[a-z][a-z-]{0,20}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=20)), max_size=4), st.binary(max_size=50))
def test_no_header_ends_its_line(headers, data):
    """Whatever a value holds: the head has the lines that were asked for, or there is none."""
    framing = {b"content-length", b"transfer-encoding", b"connection"}
    headers = [pair for pair in headers if pair[0] not in framing]
    length = (b"content-length", b"%d" % len(data))
    writes, ended, fault = served(GatewayProtocol, [start(*headers, length), body(data)], GET)
    if fault:
        assert ended
        assert b"".join(writes) == b""
        return
    head, _, rest = b"".join(writes).partition(b"\r\n\r\n")
    assert rest == data
    assert len(head.split(b"\r\n")) == 3 + len(headers)
