"""What goes to an engine: one write, the headers that were given, nothing that could end a line."""

from __future__ import annotations

import asyncio

import aiohttp
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from baseload.gateway.exchange import AT_ONCE_BYTES, Exchanges, head_of

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def by_exchanges(url, body, headers, times):
    """Answers to requests sent by ``Exchanges``."""
    async with aiohttp.TCPConnector() as connector:
        exchanges = Exchanges(connector)
        for _ in range(times):
            answer = await exchanges.post(URL(url), body, headers, aiohttp.ClientTimeout())
            yield await answer.content.read()


async def by_session(url, body, headers, times):
    """Answers to requests sent by aiohttp's session."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        for _ in range(times):
            async with session.post(url, data=body, headers=headers) as answer:
                yield await answer.read()


def asked(send, body, *, headers=None, times=1):
    """The bytes of requests that an engine gets on one connection, part by part, and its port."""

    async def run():
        parts = []

        async def engine(reader, writer):
            connections.append(writer)
            rest = b""
            while data := await reader.read(1 << 22):
                parts.append(data)
                rest += data
                head, end, tail = rest.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                if end and len(tail) >= length:
                    rest = tail[length:]
                    writer.write(ANSWER)
            writer.close()

        connections = []
        async with await asyncio.start_server(engine, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}/v1/x?a=b"
            async for answer in send(url, body, headers or {}, times):
                assert answer == b"ok"
        return parts, port, connections

    return asyncio.run(run())


def fields(head):
    """The head's first line, and its headers in any order."""
    first, *lines = head.split(b"\r\n")
    return first, sorted(line.split(b":")[0].lower() + line.partition(b":")[2] for line in lines)


OWN = {"user-agent": "baseload", "accept": "*/*", "accept-encoding": "identity"}


def test_the_engine_gets_what_aiohttp_would_send():
    headers = {**OWN, "content-type": "application/json", "x-request-id": "r-1"}
    ours, port, _ = asked(by_exchanges, b'{"a":1}', headers=headers)
    theirs, other, _ = asked(by_session, b'{"a":1}', headers=headers)
    ours, theirs = b"".join(ours), b"".join(theirs).replace(b"%d" % other, b"%d" % port)
    our_head, _, our_body = ours.partition(b"\r\n\r\n")
    their_head, _, their_body = theirs.partition(b"\r\n\r\n")
    assert our_body == their_body
    assert fields(our_head) == fields(their_head)


def test_nothing_is_added():
    head = b"".join(asked(by_exchanges, b"{}", headers={"x-a": "1"})[0]).partition(b"\r\n\r\n")[0]
    names = [line.split(b":")[0].lower() for line in head.split(b"\r\n")[1:]]
    assert names == [b"host", b"x-a", b"content-length"]


def test_a_connection_is_used_again():
    parts, _, connections = asked(by_exchanges, b"{}", times=3)
    assert len(connections) == 1
    assert b"".join(parts).count(b"POST /v1/x?a=b HTTP/1.1\r\n") == 3


def test_the_largest_body_arrives_whole():
    body = b"x" * AT_ONCE_BYTES
    parts, _, _ = asked(by_exchanges, body, headers={"content-type": "application/json"})
    assert b"".join(parts).partition(b"\r\n\r\n")[2] == body


@given(st.dictionaries(st.from_regex(r"[a-z-]{1,9}", fullmatch=True), st.text(max_size=9)))
def test_no_header_ends_its_line(headers):
    """A head has the lines that were asked for, or there is none."""
    try:
        head = head_of("POST /x HTTP/1.1\r\nHost: h\r\n", headers, 7)
    except (ValueError, UnicodeEncodeError):
        assert any(not value.isprintable() for value in headers.values())
        return
    assert head.endswith(b"\r\n\r\n")
    assert len(head.split(b"\r\n")) == len(headers) + 5
