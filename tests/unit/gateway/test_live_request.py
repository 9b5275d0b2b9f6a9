"""What a live request is told of, and the ways to engines."""

from __future__ import annotations

from fake_gateway import GOOD, FakeFleet, FakeUpstream, config_of

from baseload.gateway.bodies import Asked
from baseload.gateway.config import ReplicasEntry
from baseload.gateway.driver import estimated_tokens
from baseload.gateway.live_request import ways_of


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
