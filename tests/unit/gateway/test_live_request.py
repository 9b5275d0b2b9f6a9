"""A live request as the driver keeps it."""

from __future__ import annotations

from baseload.gateway.bodies import Asked
from baseload.gateway.events import Refuse, Send
from baseload.gateway.live_request import LiveRequest
from baseload.gateway.wishes import Wishes


def live() -> LiveRequest:
    async def say(_: object) -> None:
        raise AssertionError("nothing is to be said")

    return LiveRequest(
        1,
        Asked(endpoint="chat", model="m"),
        b"{}",
        wishes=Wishes(),
        request_id="r",
        tier="interactive",
        client="me",
        say=say,
        hear=None,
        arrived_ns=0,
        answer_headers=[],
    )


def test_a_sending_that_is_given_up_before_it_began_never_begins() -> None:
    """A client left between the machine's order and the request's own task: the engine was still
    asked, for nobody, and its joules were on no receipt.
    """
    request = live()
    request.order = Send(request=1, attempt=0, replica=0, option=0)
    request.interrupt()
    assert request.order is None
    assert not request.interrupted


def test_an_error_for_the_client_is_not_given_up_with_an_attempt() -> None:
    request = live()
    request.order = Refuse(request=1, status=503, reason="expired", message="it waited")
    request.interrupt()
    assert request.order is not None
