"""The way to engines over real loopback sockets: bytes as they come, each request sent once, what
goes wrong named as the machine names it.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import weakref

import pytest

from baseload.gateway.config import LimitsEntry
from baseload.gateway.upstream import PROBE_BYTES, HttpUpstream, UpstreamError

LIMITS = LimitsEntry(connect_s=5.0)
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


class Engine:
    """A scripted engine: what it writes for each request, connection by connection."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.connections = 0
        self.gone = asyncio.Event()

    async def serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                _, told, length = head.lower().partition(b"content-length:")
                length = int(length.split(b"\r\n")[0]) if told else 0
                self.requests.append((head, await reader.readexactly(length)))
                for part in self.answers.pop(0):
                    if isinstance(part, asyncio.Event):
                        await part.wait()
                    elif part is None:
                        writer.close()
                        return
                    else:
                        writer.write(part)
                        await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
            writer.close()


def drive(test, *answers):
    async def run():
        engine = Engine(*answers)
        server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        upstream = HttpUpstream()
        try:
            await test(upstream, f"http://127.0.0.1:{port}/v1", engine)
        finally:
            await upstream.close()
            server.close()
            await asyncio.sleep(0.01)

    asyncio.run(run())


def test_a_body_is_posted_once_and_its_answer_given():
    async def test(upstream, url, engine):
        status, headers, body = await upstream.post(url, b"abc", {"x-a": "1"}, limits=LIMITS)
        assert (status, headers.get("content-type"), body) == (200, "application/json", b"{}")
        head, sent = engine.requests[0]
        assert sent == b"abc"
        lower = head.lower()
        assert b"x-a: 1" in lower
        assert b"user-agent" not in lower
        assert b"accept-encoding" not in lower
        await upstream.post(url, b"abc", {}, limits=LIMITS)
        assert engine.connections == 1

    drive(test, [OK], [OK])


def test_a_large_body_arrives_whole():
    body = bytes(range(256)) * 12_000

    async def test(upstream, url, engine):
        status, _, _ = await upstream.post(url, body, {}, limits=LIMITS)
        assert status == 200
        assert engine.requests[0][1] == body

    drive(test, [OK])


def test_chunks_come_as_they_are_written():
    async def test(upstream, url, engine):
        stream = await upstream.stream(url, b"", {}, limits=LIMITS)
        assert stream.status == 200
        assert stream.headers.get("content-type") == "text/event-stream"
        assert await anext(stream) == b"data: 1\n\n"
        gate.set()
        assert await anext(stream) == b"data: 2\n\n"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        stream.close()

    gate = asyncio.Event()
    drive(test, [HEAD, chunk(b"data: 1\n\n"), gate, chunk(b"data: 2\n\n"), b"0\r\n\r\n"])


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ([None], "connect"),
        ([b"nonsense\r\n\r\n"], "garbage"),
        ([OK[:-1], None], "closed"),
        ([HEAD + chunk(b"x"), None], "closed"),
    ],
    ids=["hung up", "not HTTP", "half a body", "half a stream"],
)
def test_what_goes_wrong_has_a_name_and_is_not_tried_again(answer, cause):
    async def test(upstream, url, engine):
        with pytest.raises(UpstreamError) as found:
            await upstream.post(url, b"abc", {}, limits=LIMITS)
        assert found.value.cause == cause
        assert len(engine.requests) == 1

    drive(test, answer, answer)


def test_a_stream_that_breaks_off_says_so():
    async def test(upstream, url, engine):
        stream = await upstream.stream(url, b"", {}, limits=LIMITS)
        assert await anext(stream) == b"x"
        with pytest.raises(UpstreamError) as found:
            await anext(stream)
        assert found.value.cause == "closed"

    drive(test, [HEAD + chunk(b"x"), None])


def test_a_stale_connection_is_not_used_twice():
    """The engine closes an idle connection just as we send: the request fails, and is not sent a
    second time by the library, which cannot know whether the first had been read.
    """

    async def test(upstream, url, engine):
        await upstream.post(url, b"1", {}, limits=LIMITS)
        with pytest.raises(UpstreamError) as found:
            await upstream.post(url, b"2", {}, limits=LIMITS)
        assert found.value.cause == "connect"
        assert [sent for _, sent in engine.requests] == [b"1", b"2"]

    drive(test, [OK], [None], [OK])


def test_nobody_there():
    async def run():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        upstream = HttpUpstream()
        for ask in (
            upstream.post(f"http://127.0.0.1:{port}/", b"", {}, limits=LIMITS),
            upstream.stream(f"http://127.0.0.1:{port}/", b"", {}, limits=LIMITS),
            upstream.get(f"http://127.0.0.1:{port}/", {}, 5.0),
        ):
            with pytest.raises(UpstreamError) as found:
                await ask
            assert found.value.cause == "connect"
        await upstream.close()

    asyncio.run(run())


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_probes_have_no_body_and_use_the_connections_of_requests(method):
    async def test(upstream, url, engine):
        ask = upstream.get if method == "GET" else upstream.send_empty
        await upstream.post(url, b"abc", {}, limits=LIMITS)
        assert await ask(url, {"x-a": "1"}, 5.0) == (200, b"{}")
        head, sent = engine.requests[1]
        assert head.startswith(method.encode() + b" /v1 HTTP/1.1\r\n")
        assert b"x-a: 1\r\n" in head
        assert (b"ontent-" in head, sent) == (method == "POST", b"")
        assert engine.connections == 1

    drive(test, [OK], [OK])


LONG = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (PROBE_BYTES + 2)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ([b""], "connect"),
        ([OK[:-1]], "connect"),
        ([None], "connect"),
        ([b"nonsense\r\n\r\n"], "connect"),
        ([LONG, b"a" * PROBE_BYTES, b"a"], "garbage"),
    ],
    ids=["silent", "half", "gone", "no HTTP", "long"],
)
def test_a_probe_that_comes_to_nothing(answer, cause):
    async def test(upstream, url, engine):
        with pytest.raises(UpstreamError) as found:
            await upstream.get(url, {}, 0.05 if cause == "connect" else 5.0)
        assert found.value.cause == cause
        assert upstream._exchanges.open() == 0

    drive(test, answer)


class Weak(dict):
    """Headers of a request that can be looked after."""


@contextlib.contextmanager
def uncollected():
    """The collector of cycles does not come."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


BROKEN = {
    "hung up": [None],
    "half a head": [OK[:20], None],
    "not HTTP": [b"nonsense\r\n\r\n"],
    "half a body": [OK[:-1], None],
    "half a stream": [HEAD + chunk(b"x"), None],
    "a stream that is cut": [HEAD + chunk(b"data: 1\n\n"), HEAD, None],
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("size", [3, 100_000])
@pytest.mark.parametrize("way", ["post", "stream"])
def test_a_request_that_failed_is_gone_with_its_connection(way, size, answer):
    """An error's frames held the request with its body, and the future that gave the error, which
    held the error: all of it waited for the collector of cycles.
    """

    async def test(upstream, url, engine):
        headers = Weak()
        seen = weakref.ref(headers)
        ask = upstream.post if way == "post" else upstream.stream
        failed = False
        try:
            found = await ask(url, b"a" * size, headers, limits=LIMITS)
            if way == "stream":
                try:
                    async for _ in found:
                        pass
                finally:
                    found.close()
                    del found
        except UpstreamError:
            failed = True
        del headers
        assert failed
        assert upstream._exchanges.open() == 0
        await asyncio.sleep(0)
        assert seen() is None

    with uncollected():
        drive(test, answer)


def test_a_request_that_nobody_takes_is_gone():
    async def run():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        upstream = HttpUpstream()
        headers = Weak()
        seen = weakref.ref(headers)
        for ask in (
            lambda headers: upstream.post(url, b"", headers, limits=LIMITS),
            lambda headers: upstream.get(url, headers, 5.0),
        ):
            with contextlib.suppress(UpstreamError):
                await ask(headers)
        del headers
        assert upstream._exchanges.open() == 0
        assert seen() is None
        await upstream.close()

    with uncollected():
        asyncio.run(run())


@pytest.mark.parametrize("begun", [b"", HEAD + chunk(b"x")], ids=["before its head", "mid-body"])
@pytest.mark.parametrize("way", ["post", "stream"])
def test_a_request_that_is_cancelled_closes_its_connection(way, begun):
    async def test(upstream, url, engine):
        async def ask():
            if way == "post":
                await upstream.post(url, b"abc", {}, limits=LIMITS)
                return
            stream = await upstream.stream(url, b"abc", {}, limits=LIMITS)
            try:
                async for _ in stream:
                    pass
            finally:
                stream.close()

        task = asyncio.create_task(ask())
        while not engine.requests:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)
        assert upstream._exchanges.open() == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert upstream._exchanges.open() == 0
        hang.set()
        await asyncio.wait_for(engine.gone.wait(), 5.0)

    hang = asyncio.Event()
    drive(test, [begun, hang])


def test_redirects_are_not_followed():
    answer = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"

    async def test(upstream, url, engine):
        status, _, _ = await upstream.post(url, b"", {}, limits=LIMITS)
        assert status == 302

    drive(test, [answer])


def test_closing_a_stream_tells_the_engine():
    async def test(upstream, url, engine):
        stream = await upstream.stream(url, b"", {}, limits=LIMITS)
        assert await anext(stream) == b"x"
        stream.close()
        await asyncio.wait_for(engine.gone.wait(), 5.0)

    drive(test, [HEAD + chunk(b"x")])


def test_no_delay_is_set_on_the_way_to_engines():
    async def test(upstream, url, engine):
        stream = await upstream.stream(url, b"", {}, limits=LIMITS)
        await anext(stream)
        transport = stream._answer._connection.transport
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        stream.close()

    drive(test, [HEAD + chunk(b"x")])
