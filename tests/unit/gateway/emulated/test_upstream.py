"""Emulated engines in this process, as the gateway's upstream."""

from __future__ import annotations

import asyncio
import json

import pytest
from emulated_engines import chat, engine_on, events_of
from emulated_time import FakeTime

from baseload.gateway.config import LimitsEntry
from baseload.gateway.emulated.engine import Fault
from baseload.gateway.emulated.upstream import EmulatedUpstream
from baseload.gateway.upstream import Upstream, UpstreamError

URL = "emulated://a/v1/chat/completions"
LIMITS = LimitsEntry()


def run(go):
    """Run ``go(time, upstream)`` with the engines a and b."""

    async def inside():
        time = FakeTime()
        upstream = EmulatedUpstream({"a": engine_on(time), "b": engine_on(time, number=1)})
        return await go(time, upstream)

    return asyncio.run(inside())


def test_answers_streams_and_probes():
    async def go(time, upstream: Upstream):
        body = chat(max_tokens=5, ignore_eos=True)
        status, headers, answer = await time.drive(upstream.post(URL, body, {}, limits=LIMITS))
        assert (status, headers["content-type"]) == (200, "application/json")
        assert json.loads(answer)["usage"]["completion_tokens"] == 5
        body = chat(max_tokens=5, ignore_eos=True, stream=True)
        stream = await upstream.stream(URL, body, {"x-request-id": "mine"}, limits=LIMITS)
        assert (stream.status, stream.headers["content-type"][:17]) == (200, "text/event-stream")

        async def read():
            return [part async for part in stream]

        parts = await time.drive(read())
        assert len(parts) == 5  # the last brings the end with it
        assert events_of(b"".join(parts))[0]["id"] == "chatcmpl-mine"
        whole = await time.drive(upstream.post(URL, body, {}, limits=LIMITS))
        assert len(events_of(whole[2])) == 6
        assert (await upstream.get("emulated://b/health", {}, 1.0))[0] == 200
        assert (await upstream.send_empty("emulated://b/sleep?level=1", {}, 1.0))[0] == 200
        assert upstream.engine("b").running.replica.asleep
        refused = await upstream.stream(URL, b"{", {}, limits=LIMITS)
        assert refused.status == 400
        assert [json.loads(part)["error"]["code"] async for part in refused] == [400]
        await upstream.close()

    run(go)


def test_a_stream_that_is_closed_frees_its_seat():
    async def go(time, upstream):
        body = chat(max_tokens=500, ignore_eos=True, stream=True)
        stream = await upstream.stream(URL, body, {}, limits=LIMITS)
        await time.drive(anext(stream))
        stream.close()
        time.run_until(time.now + 5.0)
        assert upstream.engine("a").meters().left == 1
        assert [part async for part in stream] == []

    run(go)


def cause_of(caught):
    return caught.value.cause


def test_failures_have_their_causes():
    async def go(time, upstream):
        engine, body = upstream.engine("a"), chat(max_tokens=9, ignore_eos=True)
        streaming = chat(max_tokens=9, ignore_eos=True, stream=True)
        with pytest.raises(UpstreamError) as caught:
            await upstream.post("emulated://nobody/health", b"", {}, limits=LIMITS)
        assert cause_of(caught) == "connect"
        engine.set_fault(Fault(kind="drop_after", after_tokens=3))
        with pytest.raises(UpstreamError) as caught:
            await time.drive(upstream.post(URL, body, {}, limits=LIMITS))
        assert cause_of(caught) == "closed"
        stream = await upstream.stream(URL, streaming, {}, limits=LIMITS)

        async def read():
            return [part async for part in stream]

        with pytest.raises(UpstreamError) as caught:
            await time.drive(read())
        assert cause_of(caught) == "closed"
        stream = await time.drive(upstream.stream(URL, body, {}, limits=LIMITS))
        assert len(await anext(stream)) > 100
        with pytest.raises(UpstreamError):
            await anext(stream)
        engine.set_fault(Fault(kind="die"))
        for attempt in (
            upstream.post(URL, body, {}, limits=LIMITS),
            upstream.stream(URL, body, {}, limits=LIMITS),
            upstream.get("emulated://a/health", {}, 1.0),
        ):
            with pytest.raises(UpstreamError) as caught:
                await attempt
            assert cause_of(caught) == "connect"

    run(go)


def test_who_is_cancelled_while_the_engine_is_silent_frees_its_seat():
    async def go(time, upstream):
        engine = upstream.engine("a")
        engine.set_fault(Fault(kind="hang"))
        for stream in (False, True):
            send = upstream.stream if stream else upstream.post
            body = chat(max_tokens=900, ignore_eos=True, stream=stream)
            waiting = asyncio.ensure_future(send(URL, body, {}, limits=LIMITS))
            for _ in range(3):
                await asyncio.sleep(0)
            time.run_until(time.now + 1.0)
            assert not waiting.done()
            assert engine.running.replica.running == 1
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            time.run_until(time.now + 1.0)
            assert engine.running.replica.running == 0
        assert engine.meters().left == 2

    run(go)


def test_a_wake_that_takes_too_long_is_given_up():
    async def go(time, upstream):
        await upstream.send_empty("emulated://a/sleep", {}, 1.0)
        with pytest.raises(UpstreamError) as caught:
            await upstream.send_empty("emulated://a/wake_up", {}, 0.0)
        assert cause_of(caught) == "connect"

    run(go)
