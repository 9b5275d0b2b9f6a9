"""Ends that the surface's fuzz found to go wrong."""

from __future__ import annotations

import asyncio

import pytest
from fake_gateway import FakeCore, FakeUpstream, chat
from test_driver import Setup, drive

from baseload.gateway.events import Arrived, Left, Send, Timer


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
