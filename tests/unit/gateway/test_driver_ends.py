"""Ends that fuzz and long runs found to go wrong."""

from __future__ import annotations

import asyncio
import gc

import pytest
from fake_gateway import DONE, FakeCore, FakeStream, FakeUpstream, chat, chunk_of
from test_driver import Setup, drive

from baseload.gateway.events import Arrived, Left, Send, Timer
from baseload.gateway.live_request import LiveRequest


@pytest.mark.parametrize("words", [b'{"error": "no', b'{"a": "\xff"}', b"[1]", b"{" * 5000, b"no"])
def test_words_of_an_engine_that_are_no_json_are_not_passed_on(words):
    """They went out as application/json, and clients failed at them."""

    @drive
    async def run():
        setup = Setup(FakeCore(), FakeUpstream((422, {}, words)))
        await setup.client.call("/v1/chat/completions", chat())
        assert setup.client.status == 422
        assert setup.client.json["error"]["code"] == "rejected"
        setup.settled()

    run()


@drive
async def test_what_is_given_up_before_its_task_has_its_turn_is_not_sent():
    """A client left just as its request was to be tried again: the engine was asked all the same,
    for nobody, and if it hung the request was never given up.
    """

    class Late(FakeCore):
        def _answers(self, event):
            if isinstance(event, Timer) and self.live:
                yield Send(request=1, attempt=0, replica=0, option=0)
            elif not isinstance(event, Timer):
                yield from super()._answers(event)

    setup = Setup(Late(hold=True), FakeUpstream(asyncio.Event()))
    task = asyncio.create_task(setup.client.call("/v1/chat/completions", chat()))
    while not setup.core.of(Arrived):
        await asyncio.sleep(0)
    setup.driver.tell(Timer())
    setup.driver.tell(Left(request=1))
    await task
    assert setup.upstream.asked == []
    assert [close.reason for close in setup.noted.closes] == ["cancelled"]
    setup.settled()


@pytest.mark.parametrize("end", ["whole", "broken", "left"])
def test_a_request_that_took_long_is_gone_when_it_has_ended(end):
    """The task that listened for its client was cancelled, and kept its error, whose frames held
    the request, which held the task: each request of more than 0.2 s stayed, with its body, until
    the collector of cycles came, and a gateway whose engines were slow grew by 20 MB.
    """

    @drive
    async def run():
        gate = asyncio.Event()
        rest = b"junk\n\n" if end == "broken" else chunk_of("b", finish="stop")
        engine = FakeStream([chunk_of("a"), gate, rest, DONE])
        setup = Setup(FakeCore(), FakeUpstream(engine))
        task = asyncio.create_task(setup.client.call("/v1/chat/completions", chat(stream=True)))
        while not (setup.noted.lives and setup.noted.lives[0].watcher and setup.client.messages):
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # it listens now
        (setup.client.gone if end == "left" else gate).set()
        await task
        setup.settled()
        setup.noted.lives.clear()

    def lives():
        return [one for one in gc.get_objects() if type(one) is LiveRequest]

    gc.collect()
    gc.disable()
    try:
        before = lives()
        run()
        assert len(lives()) == len(before)
    finally:
        gc.enable()
