"""An answer is the same however it is cut up; what is not HTTP is an error."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import httptools
import pytest
from fake_transport import FakeTransport
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.gateway.engine_connection import (
    HEAD_BYTES,
    HELD_BYTES,
    PIECE_BYTES,
    EngineConnection,
)

OK = b"HTTP/1.1 200 OK\r\n"


class Kept:
    """Who looks after the connection."""

    def __init__(self):
        self.free, self.gone = 0, 0

    def rested(self, _):
        self.free += 1

    def lost(self, _):
        self.gone += 1


class Line(FakeTransport):
    """A transport that knows whether it reads."""

    def __init__(self):
        super().__init__()
        self.reads = True

    def pause_reading(self):
        self.reads = False

    def resume_reading(self):
        self.reads = True

    def abort(self):
        self.closing = True


def connected():
    """A connection, its transport and its keeper."""
    kept, line = Kept(), Line()
    connection = EngineConnection(asyncio.get_running_loop(), kept)
    connection.connection_made(line)
    return connection, line, kept


async def asking(request=b"request"):
    """The same, and the task of a request that has begun."""
    connection, line, kept = connected()
    ask = asyncio.ensure_future(connection.ask(request))
    await asyncio.sleep(0)
    return connection, line, kept, ask


async def all_of(ask):
    """The body of an answer that is being waited for."""
    answer, body = await ask, b""
    while piece := await answer.read():
        body += piece
    assert answer.ended
    return body


async def heard(parts, *, ends=False):
    """Status, headers and body of an answer that comes in ``parts``; whether the connection can be
    used again.
    """
    connection, _, kept, ask = await asking()
    for part in parts:
        connection.data_received(part)
    if ends:
        connection.connection_lost(None)
    body = await all_of(ask)
    answer = ask.result()
    assert kept.free + kept.gone == 1
    return answer.status, answer.headers, body, bool(kept.free)


def cut(data, places):
    """``data`` in pieces."""
    ends = sorted({place % (len(data) + 1) for place in places})
    edges = [0, *ends, len(data)]
    return [data[a:b] for a, b in pairwise(edges) if b > a]


BODY = b'{"a": "b"}' * 3
FRAMED = {
    "length": (OK + b"Content-Length: 30\r\nX-Empty:\r\nX-A: 1\r\n\r\n" + BODY, False, True),
    "chunks": (
        OK + b"transfer-encoding: chunked\r\nx-a: 1\r\nx-empty:\r\n\r\n"
        b"a\r\n" + BODY[:10] + b"\r\n14;x=y\r\n" + BODY[10:] + b"\r\n0\r\nx-trailer: 1\r\n\r\n",
        False,
        True,
    ),
    "until its end": (OK + b"X-A: 0\r\nX-Empty: \r\nX-A: 1\r\n\r\n" + BODY, True, False),
    "closing": (
        OK + b"x-a: 1\r\nx-empty:\r\nConnection: close\r\nContent-Length: 30\r\n\r\n" + BODY,
        False,
        False,
    ),
    "HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nx-empty:\r\nx-a: 1\r\ncontent-length: 30\r\n\r\n" + BODY,
        False,
        False,
    ),
    "after hints": (
        b"HTTP/1.1 100 Continue\r\nx-b: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK
        + b"x-a: 1\r\nx-empty:\r\ncontent-length: 30\r\n\r\n" + BODY,
        False,
        True,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "ends", "again"), FRAMED.values(), ids=FRAMED)
@given(places=st.lists(st.integers(0, 400), max_size=12))
@settings(max_examples=40)
def test_an_answer_is_the_same_however_it_is_cut(data, ends, again, places):
    status, headers, body, free = asyncio.run(heard(cut(data, places), ends=ends))
    assert (status, body, free) == (200, BODY, again)
    assert headers["x-a"] == "1"
    assert headers["x-empty"] == ""
    assert "x-b" not in headers


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body(status):
    found = asyncio.run(heard([b"HTTP/1.1 %d X\r\nx-a: 1\r\n\r\n" % status]))
    assert found == (status, {"x-a": "1"}, b"", True)


WHOLE = OK + b"content-length: 2\r\n\r\nok"
BAD = {
    "no HTTP": b"nonsense\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 X\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "two lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
    "length and chunks": OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
    "a head without end": OK + b"x: " + b"a" * HEAD_BYTES,
    "headers without end": OK + b"x: 1\r\n" * (HEAD_BYTES // 5),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_is_no_answer(data):
    async def run():
        connection, line, kept, ask = await asking()
        connection.data_received(data)
        with pytest.raises(httptools.HttpParserError):
            await ask
        assert line.closing
        assert (kept.free, kept.gone) == (0, 1)

    asyncio.run(run())


@pytest.mark.parametrize("cut_at", [0, 10, len(WHOLE) - 1])
def test_an_engine_that_hangs_up(cut_at):
    async def run():
        connection, _, kept, ask = await asking()
        connection.data_received(WHOLE[:cut_at])
        connection.connection_lost(None)
        with pytest.raises(ConnectionResetError):
            await all_of(ask)
        assert (kept.free, kept.gone) == (0, 1)

    asyncio.run(run())


@pytest.mark.parametrize("more", [WHOLE, b"x", OK])
@pytest.mark.parametrize("at_once", [True, False])
def test_an_engine_that_says_more_than_it_was_asked(more, at_once):
    """Nobody is given an answer to what another has asked."""

    async def run():
        connection, line, _, ask = await asking()
        if at_once:
            connection.data_received(WHOLE + more)
        else:
            connection.data_received(WHOLE)
            connection.data_received(more)
        assert await all_of(ask) == b"ok"
        assert not connection.is_open()
        assert line.closing

    asyncio.run(run())


def test_who_reads_slowly_holds_the_engine_up():
    async def run():
        connection, line, kept, ask = await asking()
        size = HELD_BYTES + 10
        connection.data_received(OK + b"content-length: %d\r\n\r\n" % size)
        answer = await ask
        connection.data_received(b"a" * HELD_BYTES)
        assert line.reads
        connection.data_received(b"a")
        assert not line.reads
        assert len(await answer.read()) == HELD_BYTES + 1
        assert line.reads
        connection.data_received(b"a" * 9)
        assert len(await answer.read()) == 9
        assert await answer.read() == b""
        assert kept.free == 1

    asyncio.run(run())


def test_a_connection_is_free_to_read_again_when_all_of_a_long_answer_has_come():
    async def run():
        connection, line, kept, ask = await asking()
        body = b"a" * (HELD_BYTES + 10)
        connection.data_received(OK + b"content-length: %d\r\n\r\n" % len(body) + body)
        assert line.reads
        assert kept.free == 1
        assert await (await ask).read() == body

    asyncio.run(run())


@pytest.mark.parametrize("answered", [True, False])
def test_a_long_request_waits_for_an_engine_that_reads_slowly(answered):
    """An engine that answers before it has read all of it is not sent the rest."""

    async def run():
        connection, line, kept, ask = await asking(b"r" * (5 * PIECE_BYTES))
        connection.pause_writing()
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(line.written) == 2 * PIECE_BYTES
        if answered:
            connection.data_received(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\nno")
        else:
            connection.resume_writing()
            for _ in range(9):
                await asyncio.sleep(0)
            assert len(line.written) == 5 * PIECE_BYTES
            connection.data_received(WHOLE)
        answer = await ask
        assert answer.status == (413 if answered else 200)
        assert await answer.read() == (b"no" if answered else b"ok")
        assert len(line.written) == (2 if answered else 5) * PIECE_BYTES
        assert (kept.free, kept.gone) == ((0, 1) if answered else (1, 0))

    asyncio.run(run())


def test_a_long_request_ends_with_its_connection():
    async def run():
        connection, _, _, ask = await asking(b"r" * (5 * PIECE_BYTES))
        connection.pause_writing()
        for _ in range(3):
            await asyncio.sleep(0)
        connection.connection_lost(ConnectionResetError("reset"))
        with pytest.raises(ConnectionResetError):
            await ask

    asyncio.run(run())


def test_an_answer_that_is_left_ends_by_itself():
    """What nobody reads any more is dropped; the connection is free at the answer's end."""

    async def run():
        connection, line, kept, ask = await asking()
        connection.data_received(OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        answer = await ask
        assert await answer.read() == b"abc"
        answer.leave(60.0)
        connection.data_received(b"80000\r\n" + b"x" * 0x80000 + b"\r\n")
        assert line.reads
        assert (kept.free, kept.gone) == (0, 0)
        connection.data_received(b"0\r\n\r\n")
        answer.close()
        assert (kept.free, kept.gone) == (1, 0)
        assert answer.ended
        again = asyncio.ensure_future(connection.ask(b"request"))
        await asyncio.sleep(0)
        connection.data_received(OK + b"content-length: 2\r\n\r\nok")
        assert await all_of(again) == b"ok"

    asyncio.run(run())


def test_an_answer_that_is_left_and_does_not_end_is_given_up():
    async def run():
        connection, line, kept, ask = await asking()
        connection.data_received(OK + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
        (await ask).leave(0.0)
        while not line.closing:
            await asyncio.sleep(0)
        assert (kept.free, kept.gone) == (0, 1)

    asyncio.run(run())


def test_what_is_given_up_says_so_to_who_reads():
    async def run():
        connection, line, kept, ask = await asking()
        connection.data_received(OK + b"content-length: 9\r\n\r\n")
        answer = await ask
        read = asyncio.ensure_future(answer.read())
        await asyncio.sleep(0)
        answer.close()
        with pytest.raises(ConnectionAbortedError):
            await read
        assert line.closing
        assert kept.gone == 1
        with pytest.raises(ConnectionResetError):
            await connection.ask(b"request")

    asyncio.run(run())


@given(
    data=st.lists(st.sampled_from([WHOLE, *(one[0] for one in FRAMED.values()), *BAD.values()])),
    places=st.lists(st.integers(0, 2000), max_size=8),
    spoiled=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4),
)
def test_whatever_an_engine_says_ends_in_an_answer_or_an_error(data, places, spoiled):
    said = bytearray(b"".join(one[:500] for one in data))
    for place, byte in spoiled:
        if said:
            said[place % len(said)] = byte

    async def run():
        connection, _, kept, ask = await asking()
        for part in cut(bytes(said), places):
            connection.data_received(part)
        connection.connection_lost(None)
        try:
            await all_of(ask)
            assert 200 <= ask.result().status <= 999
        except (OSError, httptools.HttpParserError):
            pass
        assert kept.gone == 1

    asyncio.run(run())
