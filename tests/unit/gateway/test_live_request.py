"""A live request as the driver keeps it, and the ways to engines."""

from __future__ import annotations

from fake_gateway import GOOD, FakeFleet, FakeUpstream, config_of

from baseload.gateway.bodies import Asked
from baseload.gateway.config import ReplicasEntry
from baseload.gateway.driver import estimated_tokens
from baseload.gateway.events import Refuse, Send
from baseload.gateway.live_request import LiveRequest, ways_of
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


def test_the_prompt_s_length_is_estimated_from_what_is_there():
    def asked(**fields):
        return Asked(endpoint="chat", model="m", **fields)

    assert estimated_tokens(asked()) == 1.0
    assert estimated_tokens(asked(characters=400)) == 100.0
    assert estimated_tokens(asked(prompt_tokens=7)) == 7.0
    assert estimated_tokens(asked(images=1, characters=400)) > 100.0


def test_a_secret_of_a_replica_goes_to_it(monkeypatch):
    entry = ReplicasEntry(
        model="m", urls=("http://a:1",), api_key="env:KEY", headers={"X-Org": "env:ORG"}
    )
    fleet = FakeFleet(config_of(replicas=(entry,)))
    monkeypatch.setenv("KEY", "secret")
    monkeypatch.setenv("ORG", "us")
    way = ways_of(fleet, lambda replica: FakeUpstream(GOOD))[0]
    assert way.headers["authorization"] == "Bearer secret"
    assert way.headers["x-org"] == "us"
