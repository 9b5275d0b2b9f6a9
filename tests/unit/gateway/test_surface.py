"""The HTTP surface without sockets: routes, errors in OpenAI's shape, who may call, tiers."""

from __future__ import annotations

import asyncio
import json

import pytest
from fake_gateway import (
    GOOD,
    GOOD_STREAM,
    Client,
    FakeCore,
    FakeFleet,
    FakeStream,
    FakeUpstream,
    chat,
    config_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.gateway.config import KeyEntry, LimitsEntry, LiveTierEntry
from baseload.gateway.driver import Driver
from baseload.gateway.events import Arrived, LaneAdded
from baseload.gateway.gate import Gate
from baseload.gateway.live_request import PATHS as ENDPOINTS
from baseload.gateway.surface import Surface, tiers_of_objectives
from baseload.gateway.wishes import stable_hash

TIERS = (
    LiveTierEntry(name="fast", ttft_s=1.0, service_tiers=("auto", "priority"), objectives=("hi",)),
    LiveTierEntry(name="bulk", bulk=True, priority=1, service_tiers=("flex",)),
)


class Setup:
    def __init__(self, *script, environ=None, ready=True, **changes):
        self.config = config_of(tiers=TIERS, **changes)
        self.core, self.upstream = FakeCore(), FakeUpstream(*(script or (GOOD,)))
        self.driver = Driver(
            self.core, FakeFleet(self.config), upstreams=lambda replica: self.upstream
        )
        self.refused = []
        self.surface = Surface(
            self.driver,
            Gate(self.config, environ=environ or {}),
            ready=lambda: ready,
            metrics=lambda accept: (b"text/plain", b"metrics " + accept.encode()),
            explain=lambda request: [{"of": request}],
            refused=self.refused.append,
        )

    async def call(self, *args, **options):
        client = Client(self.surface)
        await client.call(*args, **options)
        return client

    def close(self):
        assert self.driver.lives == {}
        self.surface.close()
        self.driver.close()


def ask(*args, setup=None, script=(), environ=None, ready=True, changes=None, **options):
    """One call to a fresh gateway; gives the client and the setup."""

    async def run():
        made = Setup(*script, environ=environ, ready=ready, **(changes or {}))
        client = await made.call(*args, **options)
        made.close()
        return client, made

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", chat(), 200),
        ("/v1/completions", {"model": "m", "prompt": "x"}, 200),
        ("/v1/responses", {"model": "m", "input": "x"}, 200),
        ("/v1/embeddings", {"model": "m", "input": "x"}, 200),
        ("/chat/completions", chat(), 404),
        ("/v1/chat/completions/", chat(), 404),
        ("/v1/chat/completions", b"{", 400),
        ("/v1/chat/completions", b"", 400),
        ("/v1/chat/completions", b"[]", 400),
        ("/v1/chat/completions", {"messages": []}, 400),
        ("/v1/chat/completions", chat(model="nobody"), 404),
    ],
)
def test_routes(path, body, status):
    answers = {
        "/v1/responses": b'{"object":"response","status":"completed","output":[]}',
        "/v1/embeddings": b'{"data":[],"usage":{"prompt_tokens":1}}',
        "/v1/completions": b'{"choices":[{"index":0,"text":"x","finish_reason":"stop"}]}',
    }
    good = (200, {}, answers[path]) if path in answers else GOOD
    client, made = ask(path, body, script=(good,))
    assert client.status == status
    if status >= 400:
        assert set(client.json["error"]) == {"message", "type", "param", "code"}
        assert made.refused == [status]
        assert made.core.of(Arrived) == []
    else:
        assert made.upstream.asked[0][0] == "http://a:1" + path


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/v1/chat/completions", "GET", b"POST"),
        ("/v1/models", "POST", b"GET"),
        ("/health", "DELETE", b"GET"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(path, method, allowed):
    client, _ = ask(path, method=method)
    assert client.status == 405
    assert client.headers[b"allow"] == allowed
    assert client.json["error"]["type"] == "invalid_request_error"


def test_pages_that_need_nothing():
    assert ask("/health")[0].json == {"status": "ok"}
    assert ask("/ready")[0].status == 200
    not_ready = ask("/ready", ready=False)[0]
    assert not_ready.status == 503
    assert not_ready.headers[b"retry-after"] == b"1"
    assert ask("/metrics", headers=[(b"accept", b"text")])[0].body == b"metrics text"
    assert ask("/")[0].status == 200
    head = ask("/health", method="HEAD")[0]
    assert head.body == b""
    assert int(head.headers[b"content-length"]) > 0


def test_models_are_listed_as_openai_lists_them():
    listed = ask("/v1/models")[0].json
    assert listed["object"] == "list"
    assert [one["id"] for one in listed["data"]] == ["auto", "m"]
    assert ask("/v1/models/m")[0].json["id"] == "m"
    missing = ask("/v1/models/n")[0]
    assert missing.status == 404
    assert missing.json["error"]["code"] == "model_not_found"


KEYS = (
    KeyEntry(name="a", value="env:A", scopes=("infer",), models=("m",), requests_per_min=2),
    KeyEntry(name="b", value="env:B", scopes=("energy",), tier="bulk"),
    KeyEntry(name="c", value="env:C", tier="bulk"),
)
ENVIRON = {"A": "key-a", "B": "key-b", "C": "key-c"}


def bearer(key):
    return [(b"authorization", b"Bearer " + key.encode())]


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/v1/chat/completions", None, 401),
        ("/v1/chat/completions", "wrong", 401),
        ("/v1/chat/completions", "key-a", 200),
        ("/v1/chat/completions", "key-b", 403),
        ("/v1/models", None, 401),
        ("/v1/models", "key-a", 200),
        ("/v1/energy/summary", "key-a", 403),
        ("/v1/energy/summary", "key-b", 200),
        ("/health", None, 200),
        ("/metrics", None, 200),
    ],
)
def test_keys_open_what_their_scopes_say(path, key, status):
    body = chat() if "chat" in path else None
    headers = [] if key is None else bearer(key)
    client, _ = ask(path, body, headers=headers, environ=ENVIRON, changes={"keys": KEYS})
    assert client.status == status
    if status == 401:
        assert client.json["error"]["type"] == "authentication_error"


def test_a_key_s_models_are_those_it_sees_and_may_ask_for():
    keys = (KeyEntry(name="a", value="env:A", models=("auto",)),)
    options = {"headers": bearer("key-a"), "environ": ENVIRON, "changes": {"keys": keys}}
    assert [one["id"] for one in ask("/v1/models", **options)[0].json["data"]] == ["auto"]
    assert ask("/v1/models/m", **options)[0].status == 404
    assert ask("/v1/chat/completions", chat(model="auto"), **options)[0].status == 200
    client, made = ask("/v1/chat/completions", chat(), **options)
    assert client.status == 403
    assert made.upstream.asked == []


def test_what_a_request_held_of_its_key_s_limits_is_given_back():
    async def run():
        keys = (KeyEntry(name="a", value="env:A", max_streams=1, tokens_per_min=1000),)
        setup = Setup(keys=keys, environ=ENVIRON)
        for _ in range(3):
            setup.upstream.script = [FakeStream(GOOD_STREAM)]
            body = chat(stream=True, max_tokens=900)
            found = await setup.call("/v1/chat/completions", body, headers=bearer("key-a"))
            assert found.status == 200
        setup.close()

    asyncio.run(run())


def test_a_stream_is_over_for_its_key_with_its_last_event():
    """An engine that ends its answer a little later held the key's one place until then."""

    async def run():
        keys = (KeyEntry(name="a", value="env:A", max_streams=1),)
        never = asyncio.Event()
        setup = Setup(keys=keys, environ=ENVIRON)
        for _ in range(3):
            setup.upstream.script = [FakeStream((*GOOD_STREAM, never))]
            call = setup.call("/v1/chat/completions", chat(stream=True), headers=bearer("key-a"))
            assert (await asyncio.wait_for(call, 1.0)).status == 200
        setup.close()

    asyncio.run(run())


def reloaded_while_a_body_comes(*, keys):
    """A request of key c, whose configuration has changed to ``keys`` before its body is here."""

    async def run():
        before = (
            KeyEntry(name="a", value="env:A", requests_per_min=5),
            KeyEntry(name="c", value="env:C", requests_per_min=1000, tier="bulk"),
        )
        setup = Setup(keys=before, environ=ENVIRON)
        body, client = json.dumps(chat()).encode(), Client(setup.surface)
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def hear():
            begun.set()
            await go_on.wait()
            return {"type": "http.request", "body": body, "more_body": False}

        async def say(message):
            client.messages.append(message)
            if message["type"] == "http.response.start":
                client.status, client.headers = message["status"], dict(message["headers"])

        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions"}
        call = asyncio.ensure_future(
            setup.surface(scope | {"headers": list(bearer("key-c"))}, hear, say)
        )
        await begun.wait()
        config = config_of(tiers=TIERS[:1], keys=keys)
        setup.surface.gate.configured(config, setup.surface.gate.ring_of(config))
        setup.surface.configured(config)
        go_on.set()
        await call
        setup.close()
        return client

    return asyncio.run(run())


def test_a_reload_while_a_body_comes_charges_the_key_that_sent_it():
    """By its number in the old file it was another one's, or nobody's."""
    c = KeyEntry(name="c", value="env:C", requests_per_min=7)
    a = KeyEntry(name="a", value="env:A", requests_per_min=5)
    for keys in ((c, a), (a, c), (c,)):
        found = reloaded_while_a_body_comes(keys=keys)
        assert (found.status, found.headers[b"x-ratelimit-limit-requests"]) == (200, b"7")
    assert reloaded_while_a_body_comes(keys=(a,)).status == 401


def test_limits_of_a_key_are_told_and_held():
    async def run():
        setup = Setup(keys=KEYS, environ=ENVIRON)
        headers = bearer("key-a")
        seen = [await setup.call("/v1/chat/completions", chat(), headers=headers) for _ in range(3)]
        assert [one.status for one in seen] == [200, 200, 429]
        assert seen[0].headers[b"x-ratelimit-limit-requests"] == b"2"
        assert int(seen[2].headers[b"retry-after"]) >= 1
        assert len(setup.upstream.asked) == 2
        setup.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("headers", "body", "tier"),
    [
        ([], {}, "fast"),
        ([], {"service_tier": "flex"}, "bulk"),
        ([], {"service_tier": "auto"}, "fast"),
        ([(b"x-llm-d-inference-objective", b"bulk")], {}, "bulk"),
        ([(b"x-gateway-inference-objective", b"hi")], {"service_tier": "flex"}, "fast"),
    ],
)
def test_the_tier_is_what_header_and_body_say(headers, body, tier):
    _, made = ask("/v1/chat/completions", chat(**body), headers=headers)
    assert made.config.tiers[made.core.of(LaneAdded)[0].tier].name == tier


def test_a_key_s_tier_goes_before_everything():
    headers = [*bearer("key-c"), (b"x-llm-d-inference-objective", b"fast")]
    options = {"environ": ENVIRON, "changes": {"keys": KEYS}}
    _, made = ask("/v1/chat/completions", chat(), headers=headers, **options)
    assert made.core.of(LaneAdded)[0].tier == 1
    assert made.core.of(Arrived)[0].fairness == stable_hash(b"c")


def test_an_unknown_objective_is_refused_with_those_there_are():
    headers = [(b"x-llm-d-inference-objective", b"nope")]
    client, _ = ask("/v1/chat/completions", chat(), headers=headers)
    assert client.status == 400
    assert client.json["error"]["param"] == "x-llm-d-inference-objective"
    assert "fast, bulk, hi" in client.json["error"]["message"]


def test_promises_and_sessions_of_headers_reach_the_machine():
    headers = [
        (b"x-slo-ttft-ms", b"300"),
        (b"x-llm-d-slo-tpot-ms", b"20"),
        (b"x-session-token", b"s"),
        (b"x-llm-d-inference-fairness-id", b"team"),
    ]
    _, made = ask("/v1/chat/completions", chat(max_tokens=9), headers=headers)
    arrived = made.core.of(Arrived)[0]
    assert (arrived.ttft_s, arrived.tpot_s, arrived.cap_tokens) == (0.3, 0.02, 9)
    assert arrived.session == stable_hash(b"s")
    assert arrived.fairness == stable_hash(b"team")


def test_ids_are_echoed_or_made():
    client, _ = ask("/v1/chat/completions", chat(), headers=[(b"x-request-id", b"mine")])
    assert client.headers[b"x-request-id"] == b"mine"
    client, _ = ask("/health", headers=[(b"x-request-id", b"not safe\x00")])
    assert client.headers[b"x-request-id"].startswith(b"req-")
    client, _ = ask("/nowhere")
    assert b"x-request-id" in client.headers


def test_limits_of_size_and_number():
    changes = {"limits": LimitsEntry(body_bytes=10, header_bytes=200, concurrent_requests=0)}
    assert ask("/v1/chat/completions", chat(), changes=changes)[0].status == 413
    client, _ = ask("/health", headers=[(b"x", b"y" * 300)], changes=changes)
    assert client.status == 431
    changes = {"limits": LimitsEntry(concurrent_requests=0)}
    client, _ = ask("/v1/chat/completions", chat(), changes=changes)
    assert client.status == 429
    assert client.headers[b"x-llm-d-request-dropped-reason"] == b"rejected-saturated"


def test_a_decision_can_be_asked_for_afterwards():
    async def run():
        setup = Setup()
        first = await setup.call("/v1/chat/completions", chat())
        name = first.headers[b"x-baseload-decision"].decode()
        found = await setup.call(f"/v1/energy/decisions/{name}")
        said = found.json
        assert said["id"] == name
        assert said["outcome"]["energy_j"] == 7.5
        assert said["outcome"]["reason"] == "answered"
        assert said["decisions"] == [{"of": 1}]
        assert said["chosen"] == {"model": "m", "effort": "", "replica": "a:1"}
        missing = await setup.call("/v1/energy/decisions/ffffffff-1")
        assert missing.status == 404
        summary = (await setup.call("/v1/energy/summary")).json
        assert summary["requests"] == 1
        setup.close()

    asyncio.run(run())


def test_a_decision_belongs_to_the_key_that_asked():
    async def run():
        keys = (KeyEntry(name="a", value="env:A"), KeyEntry(name="c", value="env:C"))
        setup = Setup(keys=keys, environ=ENVIRON)
        first = await setup.call("/v1/chat/completions", chat(), headers=bearer("key-a"))
        path = "/v1/energy/decisions/" + first.headers[b"x-baseload-decision"].decode()
        assert (await setup.call(path, headers=bearer("key-a"))).status == 200
        assert (await setup.call(path, headers=bearer("key-c"))).status == 404
        setup.close()

    asyncio.run(run())


def test_a_fault_of_our_own_is_a_500_without_its_words():
    async def run():
        setup = Setup()
        setup.driver.fleet.names = lambda: 1 / 0
        client = await setup.call("/v1/models")
        assert client.status == 500
        assert "division" not in client.body.decode()
        assert setup.driver.troubles == 1
        setup.close()

    asyncio.run(run())


def test_what_is_not_http_is_not_answered():
    async def run():
        setup = Setup()
        client = Client(setup.surface)
        await client.call("/", http_type="lifespan")
        assert client.messages == []
        await client.call("/", http_type="websocket")
        assert client.messages == [{"type": "websocket.close", "code": 1003}]
        setup.close()

    asyncio.run(run())


def test_a_client_that_leaves_while_it_sends_is_answered_nothing():
    async def run():
        setup = Setup()
        client = Client(setup.surface)
        client.gone.set()
        await client.call("/v1/chat/completions", parts=[])
        assert client.messages == []
        setup.close()

    asyncio.run(run())


def test_names_of_tiers_go_before_other_tiers_objectives():
    tiers = (
        LiveTierEntry(name="a", objectives=("b", "x")),
        LiveTierEntry(name="b", objectives=("x",)),
    )
    assert tiers_of_objectives(tiers) == {"a": 0, "b": 1, "x": 0}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
PATHS = st.sampled_from(sorted(ENDPOINTS.values()))
FIELDS = st.sampled_from(
    ["model", "messages", "input", "prompt", "stream", "n", "max_tokens", "reasoning_effort",
     "tools", "stream_options", "service_tier", "user"]
)  # fmt: skip


@settings(max_examples=200)
@given(
    PATHS, st.binary(max_size=50) | st.dictionaries(FIELDS, JSON).map(lambda d: {"model": "m", **d})
)
def test_no_body_is_a_fault_of_ours(path, body):
    if isinstance(body, dict):
        body = json.dumps(body, allow_nan=True).encode()
    client, made = ask(path, body)
    assert client.status is not None
    assert client.status != 500
    assert made.driver.troubles == 0
