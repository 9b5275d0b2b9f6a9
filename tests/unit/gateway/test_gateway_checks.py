"""What is held against each other in a configuration (the table of mistakes is in
tests/unit/cli/test_gateway_file.py).
"""

from __future__ import annotations

import msgspec

from baseload.gateway.config import (
    GatewayConfig,
    KeyEntry,
    ListenEntry,
    LiveTierEntry,
    ModelEntry,
    ReplicasEntry,
)
from baseload.gateway.gateway_checks import MOST_ENGINES, faults_of, notes_of

GOOD = GatewayConfig(
    models=(ModelEntry(name="a"),), replicas=(ReplicasEntry(model="a", urls=("http://a",)),)
)
KEY = KeyEntry(name="k", value="env:K")


def with_fields(**fields):
    return msgspec.structs.replace(GOOD, **fields)


def paths(config):
    return [fault.path for fault in faults_of(config).found]


def test_a_good_one_has_no_faults_and_no_notes():
    assert paths(GOOD) == []
    assert notes_of(GOOD) == []


def test_beyond_this_machine_only_with_keys():
    listen = ListenEntry(host="::")
    assert paths(with_fields(listen=listen)) == ["listen.host"]
    assert paths(with_fields(listen=listen, keys=(KEY,))) == []


def test_an_alias_may_be_called_auto_a_model_may_not():
    assert paths(with_fields(aliases={"auto": ("a",)})) == []
    model = ModelEntry(name="auto")
    entry = ReplicasEntry(model="auto", urls=("http://b",))
    config = with_fields(models=(*GOOD.models, model), replicas=(*GOOD.replicas, entry))
    assert paths(config) == ["models[1].name"]


def test_a_fleet_has_a_size():
    entry = ReplicasEntry(model="a", engine="emulated", count=MOST_ENGINES)
    assert paths(with_fields(replicas=(entry,))) == []
    assert paths(with_fields(replicas=(entry, *GOOD.replicas))) == ["replicas"]


def test_only_engines_that_can_sleep_may():
    for engine, good in (("vllm", True), ("sglang", True), ("ollama", False), ("openai", False)):
        entry = ReplicasEntry(model="a", urls=("http://a",), engine=engine, sleep=True)
        assert (paths(with_fields(replicas=(entry,))) == []) == good


def test_a_tier_means_its_own_name_and_may_say_so():
    tier = LiveTierEntry(name="people", objectives=("people", "chat"))
    assert paths(with_fields(tiers=(tier,))) == []


def test_notes_tell_what_is_allowed_but_worth_a_look():
    sleeper = ReplicasEntry(model="a", urls=("http://a",), sleep=True)
    for config, words in (
        (with_fields(keys=(KEY,)), "no limit"),
        (with_fields(parking=True), "nobody will sleep"),
        (with_fields(replicas=(sleeper,)), "parking is off"),
        (with_fields(listen=ListenEntry(host="0.0.0.0"), keys=(KEY,)), "without TLS"),
        (with_fields(tiers=(LiveTierEntry(name="x", e2e_s=7200.0),)), "limits.total_s"),
        (
            with_fields(
                models=(ModelEntry(name="a", efforts=("low", "high"), budgets={"low": 5}),)
            ),
            "none for high",
        ),
    ):
        assert any(words in note for note in notes_of(config)), words
