"""The driver against a machine that does as it is told, and scripted engines: who hears what, what
reaches the client, and that nothing is ever left behind.
"""

from __future__ import annotations

import asyncio
import json
import math

import pytest
from fake_gateway import (
    DONE,
    GOOD,
    GOOD_STREAM,
    Client,
    FakeCore,
    FakeFleet,
    FakeStream,
    FakeUpstream,
    chat,
    chunk_of,
    config_of,
)

from baseload.gateway.bodies import Asked
from baseload.gateway.config import TelemetryEntry
from baseload.gateway.driver import Driver
from baseload.gateway.errors import RequestError
from baseload.gateway.events import (
    Arrived,
    Began,
    Broke,
    Drain,
    Ended,
    LaneAdded,
    Left,
    Probe,
    Progressed,
    Refuse,
    Send,
    Timer,
)
from baseload.gateway.fellows import place_of
from baseload.gateway.gate import Gate
from baseload.gateway.surface import Surface
from baseload.gateway.upstream import UpstreamError


class Noted:
    """A listener that keeps what it hears."""

    def __init__(self):
        self.closes, self.faults, self.breaks, self.lives = [], [], [], []
        self.decisions_s = []

    def arrived(self, live):
        self.lives.append(live)

    def decided(self, took_s):
        self.decisions_s.append(took_s)

    def broke(self, live, cause, *, again):
        self.breaks.append((cause, again))

    def closed(self, live, close):
        self.closes.append(close)

    def failed(self, where, error):
        self.faults.append((where, type(error)))


class Setup:
    """A driver under a surface, and a client."""

    def __init__(self, core, upstream, *, config=None, watch_s=0.0):
        self.core, self.upstream, self.noted = core, upstream, Noted()
        config = config_of() if config is None else config
        self.driver = Driver(
            core,
            FakeFleet(config),
            upstreams=lambda replica: upstream,
            listeners=(self.noted,),
            watch_s=watch_s,
        )
        self.surface = Surface(
            self.driver,
            Gate(config, environ={}),
            ready=lambda: True,
            metrics=lambda accept: (b"text/plain", b""),
        )
        self.client = Client(self.surface)

    def settled(self):
        """Nothing is left of any request."""
        assert self.driver.lives == {}
        assert self.core.live == {}
        assert len(self.core.closed) == len(self.core.of(Arrived))
        assert len(self.noted.decisions_s) == len(self.core.of(Arrived))
        assert not self.driver._unwatched
        self.surface.close()
        self.driver.close()


def drive(test):
    """Run a test's coroutine, and see that no task is left."""

    def run():
        async def whole():
            await test()
            await asyncio.sleep(0)
            left = [one for one in asyncio.all_tasks() if one is not asyncio.current_task()]
            assert left == []

        asyncio.run(whole())

    run.__name__ = test.__name__
    return run


@drive
async def test_a_whole_answer_is_passed_on_with_its_energy():
    setup = Setup(FakeCore(), FakeUpstream(GOOD))
    await setup.client.call("/v1/chat/completions", chat())
    assert setup.client.status == 200
    answer = setup.client.json
    energy = answer.pop("energy")
    assert answer == json.loads(GOOD[2])
    assert energy["energy_joules"] == 7.5
    assert energy["method"] == "modelled"
    assert [type(event) for event in setup.core.told] == [LaneAdded, Arrived, Ended]
    assert setup.core.told[-1].output_tokens == 2
    headers = setup.client.headers
    assert headers[b"x-baseload-model"] == b"m"
    assert headers[b"x-baseload-replica"] == b"a:1"
    assert headers[b"x-baseload-attempts"] == b"1"
    assert headers[b"x-baseload-price-usd"] == b"0.25"
    assert headers[b"x-baseload-price-parts"] == b"energy_usd=0.125, energy_j=7.5"
    assert int(headers[b"content-length"]) == len(setup.client.body)
    setup.settled()


@drive
async def test_bytes_go_to_the_engine_as_they_came():
    setup = Setup(FakeCore(), FakeUpstream(GOOD))
    body = b'{ "model":"m", "messages":[{"role":"user","content":"x"}], "unknown" : 1.50 }'
    await setup.client.call("/v1/chat/completions", body)
    url, sent, headers = setup.upstream.asked[0]
    assert url == "http://a:1/v1/chat/completions"
    assert sent is body or sent == body
    assert headers["accept-encoding"] == "identity"
    setup.settled()


@drive
async def test_a_client_s_secrets_stay_here_and_its_traces_go_on():
    trace = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    setup = Setup(FakeCore(), FakeUpstream(GOOD))
    given = [
        (b"authorization", b"Bearer mine"),
        (b"cookie", b"a=b"),
        (b"x-request-id", b"abc-1"),
        (b"traceparent", trace),
        (b"tracestate", b"a=1"),
    ]
    await setup.client.call("/v1/chat/completions", chat(), headers=given)
    headers = setup.upstream.asked[0][2]
    assert "authorization" not in headers
    assert "cookie" not in headers
    assert headers["x-request-id"] == "abc-1"
    assert headers["traceparent"] == trace.decode()
    assert headers["tracestate"] == "a=1"
    assert setup.client.headers[b"x-request-id"] == b"abc-1"
    setup.settled()


@drive
async def test_a_stream_goes_on_chunk_by_chunk():
    gates = [asyncio.Event() for _ in range(2)]
    chunks = (chunk_of("a"), gates[0], chunk_of("b", finish="stop"), gates[1], DONE)
    stream = FakeStream(chunks)
    setup = Setup(FakeCore(), FakeUpstream(stream))
    task = asyncio.create_task(setup.client.call("/v1/chat/completions", chat(stream=True)))
    while len(setup.client.messages) < 2:
        await asyncio.sleep(0)
    assert setup.client.body == chunk_of("a")
    first = setup.core.of(Progressed)[0]
    assert first.tokens == 1
    assert first.sent
    gates[0].set()
    while len(setup.client.messages) < 3:
        await asyncio.sleep(0)
    assert setup.client.body.endswith(chunk_of("b", finish="stop"))
    gates[1].set()
    await task
    assert setup.client.body.endswith(b"\n\ndata: [DONE]\n\n")
    assert b'\n: energy {"energy_joules":7.5' in setup.client.body
    assert setup.client.messages[-1].get("more_body", False) is False
    assert stream.closed
    setup.settled()


@drive
async def test_usage_is_asked_of_the_engine_and_given_to_who_wants_it():
    for wanted in (False, True):
        setup = Setup(FakeCore(), FakeUpstream(FakeStream(GOOD_STREAM)))
        options = {"stream_options": {"include_usage": wanted, "other": 1}}
        await setup.client.call("/v1/chat/completions", chat(stream=True, **options))
        sent = json.loads(setup.upstream.asked[0][1])
        assert sent["stream_options"] == {"include_usage": True, "other": 1}
        assert (b'"usage"' in setup.client.body) is wanted
        ended = setup.core.of(Ended)[0]
        assert (ended.input_tokens, ended.output_tokens, ended.finish) == (3, 2, "stop")
        setup.settled()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        UpstreamError("connect"),
        (503, {}, b"no"),
        (429, {"retry-after": "7"}, b""),
        (401, {}, b'{"error": {"message": "whose key is that"}}'),
    ],
)
def test_what_fails_before_anything_was_sent_is_tried_again(stream, failure):
    @drive
    async def run():
        broken, good = failure, GOOD
        if stream:
            good = FakeStream(GOOD_STREAM)
            if isinstance(failure, tuple):
                broken = FakeStream([failure[2]], status=failure[0], headers=failure[1])
        setup = Setup(FakeCore(), FakeUpstream(broken, good))
        await setup.client.call("/v1/chat/completions", chat(stream=stream))
        assert setup.client.status == 200
        assert [url for url, *_ in setup.upstream.asked] == [
            "http://a:1/v1/chat/completions",
            "http://b:2/v1/chat/completions",
        ]
        assert setup.client.headers[b"x-baseload-attempts"] == b"2"
        broke = setup.core.of(Broke)[0]
        if isinstance(failure, tuple):
            assert (broke.cause, broke.status) == ("status", failure[0])
            wait = failure[1].get("retry-after")
            assert broke.retry_after_s == 7.0 if wait else math.isnan(broke.retry_after_s)
        assert setup.noted.breaks == [(broke.cause, True)]
        setup.settled()

    run()


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [b": ping\n\n", UpstreamError("closed")],
        [b"<html>"],
        [b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'],
        [b": ping\n\n"],
    ],
    ids=["nothing", "ping, then cut", "not events", "an error", "ping, then end"],
)
def test_nothing_of_a_stream_that_fails_before_its_first_event_reaches_the_client(chunks):
    @drive
    async def run():
        good = FakeStream(GOOD_STREAM)
        setup = Setup(FakeCore(), FakeUpstream(FakeStream(chunks), good))
        await setup.client.call("/v1/chat/completions", chat(stream=True))
        assert setup.client.body.startswith(chunk_of("a"))
        assert len(setup.upstream.asked) == 2
        assert all(stream.closed for stream in setup.upstream.streams)
        setup.settled()

    run()


@pytest.mark.parametrize("end", [UpstreamError("idle"), UpstreamError("closed"), b"junk\n\n", None])
def test_what_fails_after_it_has_begun_ends_with_an_error_in_the_stream(end):
    @drive
    async def run():
        chunks = [chunk_of("a"), *([] if end is None else [end])]
        setup = Setup(FakeCore(), FakeUpstream(FakeStream(chunks)))
        await setup.client.call("/v1/chat/completions", chat(stream=True))
        assert len(setup.upstream.asked) == 1
        first, last = setup.client.body.split(b"\n\n")[:2]
        assert first + b"\n\n" == chunk_of("a")
        error = json.loads(last.removeprefix(b"data: "))["error"]
        assert error["code"] == "upstream"
        assert b"[DONE]" not in setup.client.body
        assert setup.client.messages[-1]["more_body"] is False
        setup.settled()

    run()


@drive
async def test_words_of_one_attempt_are_not_those_of_the_next():
    """What another engine said of itself stood in the refusal of the one that was asked last."""
    first = (200, {}, b'{"error":{"message":"CUDA error at /secret","code":500}}')
    setup = Setup(FakeCore(), FakeUpstream(first, (400, {}, b"plain text")))
    await setup.client.call("/v1/chat/completions", chat())
    assert setup.client.status == 400
    assert b"CUDA" not in setup.client.body
    setup.settled()


@drive
async def test_an_engine_s_refusal_is_passed_on_in_its_own_words():
    words = b'{"error":{"message":"context too long","type":"BadRequestError","code":400}}'
    setup = Setup(FakeCore(), FakeUpstream((400, {}, words)))
    await setup.client.call("/v1/chat/completions", chat())
    assert setup.client.status == 400
    assert setup.client.body == words
    assert len(setup.upstream.asked) == 1
    setup.settled()


@drive
async def test_a_refusal_of_the_machine_says_when_to_come_back_and_why_it_was_dropped():
    refuse = Refuse(request=0, status=429, reason="saturated", message="full", retry_after_s=2.2)
    setup = Setup(FakeCore(refuse=refuse), FakeUpstream(GOOD))
    await setup.client.call("/v1/chat/completions", chat())
    assert setup.client.status == 429
    assert setup.client.headers[b"retry-after"] == b"3"
    assert setup.client.headers[b"x-llm-d-request-dropped-reason"] == b"rejected-saturated"
    assert setup.client.json["error"]["code"] == "saturated"
    assert setup.upstream.asked == []
    setup.settled()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_cancels_its_upstream(stream):
    @drive
    async def run():
        hang = asyncio.Event()
        engine = FakeStream([chunk_of("a"), hang]) if stream else hang
        setup = Setup(FakeCore(), FakeUpstream(engine))
        task = asyncio.create_task(setup.client.call("/v1/chat/completions", chat(stream=stream)))
        while not setup.upstream.asked or (stream and not setup.client.messages):
            await asyncio.sleep(0)
        setup.client.gone.set()
        await task
        assert len(setup.core.of(Left)) == 1
        if stream:
            assert engine.closed
        assert setup.noted.closes[0].reason == "cancelled"
        assert setup.noted.closes[0].energy_j == 7.5
        setup.settled()

    run()


@drive
async def test_a_client_that_leaves_the_queue_is_forgotten():
    setup = Setup(FakeCore(hold=True), FakeUpstream(GOOD))
    task = asyncio.create_task(setup.client.call("/v1/chat/completions", chat()))
    while not setup.core.live:
        await asyncio.sleep(0)
    setup.client.gone.set()
    await task
    assert setup.upstream.asked == []
    setup.settled()


@drive
async def test_a_request_in_the_queue_goes_when_the_machine_says_so():
    core = FakeCore(hold=True)
    setup = Setup(core, FakeUpstream(GOOD))
    task = asyncio.create_task(setup.client.call("/v1/chat/completions", chat()))
    while not core.live:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    setup.driver._carry_out(Send(request=1, attempt=0, replica=1, option=0))
    await task
    assert setup.client.status == 200
    assert setup.upstream.asked[0][0].startswith("http://b:2/")
    setup.settled()


@drive
async def test_a_cancel_of_the_machine_goes_on_to_the_next_attempt():
    """The machine's own clock gives an attempt up: its answer is broken off, the next is sent."""
    hang = asyncio.Event()
    setup = Setup(FakeCore(), FakeUpstream(hang, GOOD))

    class GivesUp(FakeCore):
        def _answers(self, event):
            if isinstance(event, Timer):
                from baseload.gateway.events import Cancel

                self.live[1][0] = 1
                yield Cancel(request=1, attempt=0)
                yield Send(request=1, attempt=1, replica=1, option=0)
            else:
                yield from super()._answers(event)

    setup = Setup(GivesUp(), FakeUpstream(hang, GOOD))
    task = asyncio.create_task(setup.client.call("/v1/chat/completions", chat()))
    while not setup.upstream.asked:
        await asyncio.sleep(0)
    setup.driver.tell(Timer())
    await task
    assert task.cancelling() == 0
    assert setup.client.status == 200
    assert setup.client.headers[b"x-baseload-attempts"] == b"2"
    assert setup.core.of(Broke) == []
    setup.settled()


@pytest.mark.parametrize("begun", [False, True])
def test_a_fault_of_our_own_ends_the_request_and_is_counted(begun):
    @drive
    async def run():
        fault = ValueError("the words of a prompt")
        engine = FakeStream([chunk_of("a"), fault]) if begun else fault
        setup = Setup(FakeCore(), FakeUpstream(engine))
        await setup.client.call("/v1/chat/completions", chat(stream=begun))
        assert setup.noted.faults == [("request", ValueError)]
        assert b"prompt" not in setup.client.body
        assert b"server_error" in setup.client.body
        assert setup.client.status == (200 if begun else 500)
        assert [left.fault for left in setup.core.of(Left)] == [True]
        setup.settled()

    run()


@drive
async def test_a_machine_that_fails_costs_its_request_only():
    class Fails(FakeCore):
        def _answers(self, event):
            if isinstance(event, Ended) and event.request == 1:
                raise ZeroDivisionError
            yield from super()._answers(event)

    setup = Setup(Fails(), FakeUpstream(GOOD))
    await setup.client.call("/v1/chat/completions", chat())
    assert setup.client.status == 500
    again = Client(setup.surface)
    await again.call("/v1/chat/completions", chat())
    assert again.status == 200
    setup.settled()


@drive
async def test_draining_ends_what_runs_and_then_gives_up():
    hang = asyncio.Event()
    stream = FakeStream([chunk_of("a"), hang])
    setup = Setup(FakeCore(), FakeUpstream(stream))
    task = asyncio.create_task(setup.client.call("/v1/chat/completions", chat(stream=True)))
    while not setup.client.messages:
        await asyncio.sleep(0)
    setup.driver.drain()
    setup.driver.drain()
    assert len(setup.core.of(Drain)) == 1
    await asyncio.sleep(0)
    assert not task.done()
    setup.driver.give_up()
    await task
    assert task.cancelling() == 0
    assert b'"code":"draining"' in setup.client.body
    assert stream.closed
    setup.settled()


@drive
async def test_a_server_that_cancels_a_request_leaves_nothing_behind():
    hang = asyncio.Event()
    setup = Setup(FakeCore(), FakeUpstream(hang))
    task = asyncio.create_task(setup.client.call("/v1/chat/completions", chat()))
    while not setup.upstream.asked:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    setup.settled()


@drive
async def test_the_machine_is_told_of_progress_a_few_times_a_second_only():
    chunks = [chunk_of("a") for _ in range(500)]
    setup = Setup(
        FakeCore(), FakeUpstream(FakeStream([*chunks, chunk_of("z", finish="stop"), DONE]))
    )
    await setup.client.call("/v1/chat/completions", chat(stream=True))
    progressed = setup.core.of(Progressed)
    assert sum(one.tokens for one in progressed) == 501
    assert progressed[0].tokens == 1
    assert len(progressed) < 20
    assert len(setup.core.of(Began)) == 1
    setup.settled()


@drive
async def test_the_timer_is_told_when_the_machine_wants_it():
    core = FakeCore()
    setup = Setup(core, FakeUpstream(GOOD))
    now_ns = setup.driver._clock_ns()
    core.next_ns = now_ns + 1_000_000
    setup.driver.start()
    told = len(core.of(Timer))
    while len(core.of(Timer)) == told:
        await asyncio.sleep(0.001)
    core.next_ns = 1 << 62
    setup.settled()


@drive
async def test_commands_about_replicas_go_to_the_hands():
    class Probes(FakeCore):
        def _answers(self, event):
            yield Probe(replica=1)

    handed = []
    setup = Setup(Probes(), FakeUpstream(GOOD))
    setup.driver.hand = handed.append
    setup.driver.tell(Timer())
    assert handed == [Probe(replica=1)]
    setup.driver.close()
    setup.surface.close()


@drive
async def test_receipts_are_kept_up_to_a_number_and_sums_for_ever():
    config = config_of(telemetry=TelemetryEntry(decisions_kept=2))
    setup = Setup(FakeCore(), FakeUpstream(GOOD), config=config)
    ids = []
    for _ in range(3):
        client = Client(setup.surface)
        await client.call("/v1/chat/completions", chat())
        ids.append(client.headers[b"x-baseload-decision"].decode())
    marks, numbers = zip(*map(place_of, ids), strict=True)
    assert set(marks) == {setup.driver.mark}
    assert [setup.driver.receipts.get(one) is not None for one in numbers] == [False, True, True]
    assert setup.driver.receipts.summary()["requests"] == 3
    assert setup.driver.receipts.summary()["energy_joules"] == 22.5
    setup.settled()


@drive
async def test_another_fleet_is_taken_over_in_one_go():
    class Takes(FakeCore):
        def reconfigure(self, live, now_ns):
            return ()

    setup = Setup(Takes(), FakeUpstream(GOOD))
    await setup.client.call("/v1/chat/completions", chat())
    other = config_of(
        replicas=(config_of().replicas[0].__class__(model="m", urls=("http://c:3",)),)
    )
    setup.driver.reconfigure(FakeFleet(other))
    again = Client(setup.surface)
    await again.call("/v1/chat/completions", chat())
    assert setup.upstream.asked[-1][0].startswith("http://c:3/")
    assert len(setup.core.of(LaneAdded)) == 2
    setup.settled()


@drive
async def test_what_is_not_served_is_refused_before_anything_is_told():
    setup = Setup(FakeCore(), FakeUpstream(GOOD))
    with pytest.raises(RequestError):
        setup.driver.fleet.lane(Asked(endpoint="chat", model="x"), 0)
    await setup.client.call("/v1/chat/completions", chat(model="x"))
    assert setup.client.status == 404
    assert setup.core.told == []
    setup.settled()
