"""What goes to an engine: one write, the headers that were given, nothing that could end a line."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.engine_connection import PIECE_BYTES
from baseload.gateway.exchange import Exchanges, head_of

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@contextlib.asynccontextmanager
async def engine(talk, **options):
    """The address of an engine that does what ``talk`` says on each connection; waits for it."""
    talks = []

    async def serve(reader, writer):
        talks.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError):
            await talk(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*talks), 5.0)


async def answering(reader, writer):
    """An engine that answers whatever comes."""
    while await reader.read(1 << 16):
        writer.write(ANSWER)


async def by_exchanges(url, body, headers, times):
    """Answers to requests sent by ``Exchanges``."""
    exchanges = Exchanges(4.0)
    for _ in range(times):
        answer = await exchanges.send("POST", url, body, headers, connect_s=5.0)
        yield await answer.read()
    exchanges.close()
    assert exchanges.open() == 0


async def by_session(url, body, headers, times):
    """Answers to requests sent by aiohttp's session."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        for _ in range(times):
            async with session.post(url, data=body, headers=headers) as answer:
                yield await answer.read()


def asked(send, body, *, headers=None, times=1):
    """The bytes of requests that an engine gets, its address, and how many connections came."""

    async def run():
        parts, connections = [], []

        async def talk(reader, writer):
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

        async with engine(talk) as address:
            async for answer in send(f"http://{address}/v1/x?a=b", body, headers or {}, times):
                assert answer == b"ok"
        return parts, address.encode(), len(connections)

    return asyncio.run(run())


def fields(head):
    """The head's first line, and its headers in any order."""
    first, *lines = head.split(b"\r\n")
    return first, sorted(line.split(b":")[0].lower() + line.partition(b":")[2] for line in lines)


OWN = {"user-agent": "baseload", "accept": "*/*", "accept-encoding": "identity"}


def test_the_engine_gets_what_aiohttp_would_send():
    headers = {**OWN, "content-type": "application/json", "x-request-id": "r-1"}
    ours, address, _ = asked(by_exchanges, b'{"a":1}', headers=headers)
    theirs, other, _ = asked(by_session, b'{"a":1}', headers=headers)
    ours, theirs = b"".join(ours), b"".join(theirs).replace(other, address)
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
    assert connections == 1
    assert b"".join(parts).count(b"POST /v1/x?a=b HTTP/1.1\r\n") == 3


@pytest.mark.parametrize("size", [PIECE_BYTES - 200, PIECE_BYTES + 1, 40 * PIECE_BYTES + 7])
def test_a_body_of_any_size_arrives_whole(size):
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    parts, _, connections = asked(by_exchanges, body, times=2)
    assert connections == 1
    head, _, rest = b"".join(parts).partition(b"\r\n\r\n")
    assert rest == body + head + b"\r\n\r\n" + body


def test_connections_that_nobody_uses_are_closed():
    async def run():
        async with engine(answering) as address:
            exchanges = Exchanges(0.02)
            answer = await exchanges.send("POST", f"http://{address}/", b"", {}, connect_s=5.0)
            assert await answer.read() == b"ok"
            assert exchanges.open() == 1
        assert exchanges.open() == 0  # the engine has seen it close
        exchanges.close()

    asyncio.run(run())


def test_an_engine_that_closes_at_once_leaves_nothing():
    async def run():
        async def talk(reader, writer):
            writer.transport.abort()

        async with engine(talk) as address:
            exchanges = Exchanges(4.0)
            with pytest.raises(ConnectionError):
                await exchanges.send("POST", f"http://{address}/", b"", {}, connect_s=5.0)
            assert exchanges.open() == 0
            exchanges.close()

    asyncio.run(run())


def test_a_connection_that_lay_too_long_is_not_used():
    """Its engine may be closing it at this moment."""

    async def run():
        came = []

        async def talk(reader, writer):
            came.append(writer)
            await answering(reader, writer)

        async with engine(talk) as address:
            exchanges = Exchanges(4.0)
            for _ in range(2):
                answer = await exchanges.send("POST", f"http://{address}/", b"", {}, connect_s=5.0)
                assert await answer.read() == b"ok"
                for place in exchanges._places.values():
                    for connection in place.idle:
                        connection.rested_s -= 5.0
            assert len(came) == 2
            exchanges.close()

    asyncio.run(run())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 and its key, signed by nobody."""
    folder = tmp_path_factory.mktemp("tls")
    made = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1"]
    files = ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *made, *files],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is not here to make a certificate")
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("trusted", [True, False])
def test_the_certificate_of_an_engine_is_checked(certificate, monkeypatch, trusted):
    cert, key = certificate
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))

    async def run():
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        async with engine(answering, ssl=context) as address:
            exchanges = Exchanges(4.0)
            ask = exchanges.send("POST", f"https://{address}/", b"", {}, connect_s=5.0)
            if trusted:
                assert await (await ask).read() == b"ok"
            else:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await ask
            exchanges.close()

    asyncio.run(run())


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
