"""The real transport against servers of a few lines, and counters of joules."""

from __future__ import annotations

import asyncio
import socket

import pytest
from made_loads import GOOD

from baseload.base.errors import ServiceError
from baseload.gateway.load.client import HttpTransport, RealClock, joules_of
from baseload.gateway.load.run import ExchangeError, Head

METRICS = """\
# HELP baseload_energy_joules_total Modelled joules.
# TYPE baseload_energy_joules_total counter
baseload_energy_joules_total{model="a, {b}"} 10.5
baseload_energy_joules_total{model="c"} 2 1700000000
emulated_energy_joules_total 7.25
emulated_energy_joules_created 1.7e9
baseload_requests_total 9
bad_joules_total{x="y"} many
"""


def test_counters_of_joules_are_summed_over_their_labels():
    assert joules_of(METRICS) == {
        "baseload_energy_joules_total": 12.5,
        "emulated_energy_joules_total": 7.25,
    }
    assert joules_of("") == {}


def answering(answers):
    """A server whose connections get the bytes that ``answers`` has for the path, once."""

    async def serve(reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.lower().split("\r\n")
            length = next((int(one[15:]) for one in lines if one.startswith("content-length:")), 0)
            await reader.readexactly(length)
            answer = answers[head.split(" ")[1]]
            writer.write(answer(head) if callable(answer) else answer)
        finally:
            writer.close()

    return asyncio.start_server(serve, "127.0.0.1", 0)


def page(body, *, status="200 OK", kind="text/event-stream", length=None):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n"
    head += f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    return head.encode() + body


def with_server(answers, work, **options):
    async def whole():
        server = await answering(answers)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with server, HttpTransport(url, **options) as transport:
            return await work(transport)

    return asyncio.run(whole())


async def exchanged(transport):
    return [piece async for piece in transport.exchange(b"{}", {"x-one": "1"})]


def test_an_exchange_gives_the_head_then_the_bytes():
    seen = []

    def answer(head):
        seen.append(head.lower())
        return page(GOOD)

    pieces = with_server({"/v1/chat/completions": answer}, exchanged, key="sk-1")
    assert isinstance(pieces[0], Head)
    assert pieces[0].status == 200
    assert pieces[0].headers["content-type"] == "text/event-stream"
    assert b"".join(pieces[1:]) == GOOD
    assert "authorization: bearer sk-1" in seen[0]
    assert "x-one: 1" in seen[0]


def test_a_connection_that_breaks_off_is_told_as_closed():
    with pytest.raises(ExchangeError) as caught:
        with_server({"/v1/chat/completions": page(GOOD, length=10**6)}, exchanged)
    assert caught.value.kind == "closed"


def test_nobody_there_is_told_as_connect():
    async def whole():
        # bound and not listening: nobody else can answer there
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            return await asked(f"http://127.0.0.1:{taken.getsockname()[1]}")

    async def asked(url):
        async with HttpTransport(url) as transport:
            with pytest.raises(ServiceError, match="an OpenAI-compatible server"):
                await transport.check()
            assert await transport.metrics() is None
            return await exchanged(transport)

    with pytest.raises(ExchangeError) as caught:
        asyncio.run(whole())
    assert caught.value.kind == "connect"


def test_no_answer_in_time_is_told_as_timeout():
    async def silent(reader, writer):
        try:
            await reader.read()
        finally:
            writer.close()

    async def whole():
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            async with HttpTransport(url, timeout_s=0.05) as transport:
                with pytest.raises(ExchangeError) as caught:
                    await exchanged(transport)
            for _ in range(10):
                await asyncio.sleep(0)  # the server sees the end of the connection
        return caught

    assert asyncio.run(whole()).value.kind == "timeout"


def test_a_key_that_is_refused_is_told_before_the_run():
    refusal = page(b'{"error": {"message": "who are you"}}', status="401 Unauthorized")
    with pytest.raises(ServiceError, match="who are you"):
        with_server({"/v1/models": refusal}, lambda transport: transport.check())


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (b'{"object": "list", "data": [{"id": "a"}, {"id": "b"}]}', ("a", "b")),
        (b'{"data": []}', ()),
        (b"{}", ()),
        (b"not JSON", ()),
    ],
)
def test_the_models_that_a_server_lists(body, models):
    found = with_server({"/v1/models": page(body)}, lambda transport: transport.check())
    assert found == models


def test_meters_are_read_where_there_are_any():
    def read(body, status="200 OK"):
        answers = {"/metrics": page(body, status=status, kind="text/plain")}
        return with_server(answers, lambda transport: transport.metrics())

    assert read(METRICS.encode())["emulated_energy_joules_total"] == 7.25
    assert read(b"up 1\n") is None
    assert read(METRICS.encode(), "404 Not Found") is None


def test_the_clock_does_not_come_back_early():
    async def whole():
        clock = RealClock()
        due = clock.now_ns() + 2_000_000
        await clock.sleep_until(due)
        return clock.now_ns() - due

    assert asyncio.run(whole()) >= 0
