"""Errors as the official client sees them: keys, limits, engines that fail; and its own retries."""

from __future__ import annotations

import hashlib
import time

import openai
import pytest
from tests.e2e.gateway.parts import Emulated, Gateway, eventually

pytestmark = pytest.mark.e2e

HELLO = [{"role": "user", "content": "Hello"}]
KEYS = {name: f"sk-test-{name * 8}" for name in ("full", "slow", "thin", "bare")}


def key_entry(name: str, **limits) -> dict:
    digest = hashlib.sha256(KEYS[name].encode()).hexdigest()
    return {"name": name, "hash": f"sha256:{digest}", **limits}


@pytest.fixture(scope="module")
def engine(folder):
    made = Emulated(folder, "one", seed=7)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def guarded(folder, engine):
    config = {
        "models": [{"name": "one"}, {"name": "other"}],
        "replicas": [
            {"model": "one", "engine": "vllm", "urls": engine.urls},
            {"model": "other", "engine": "vllm", "urls": ["http://127.0.0.1:9"]},
        ],
        "keys": [
            key_entry("full"),
            key_entry("slow", requests_per_min=2),
            key_entry("thin", max_streams=1),
            key_entry("bare", models=["one"], scopes=["infer"]),
        ],
        "limits": {"body_bytes": 100_000},
        "health": {"period_s": 0.5, "timeout_s": 1.0},
        "retries": {"attempts": 2, "backoff_s": 0.01},
    }
    made = Gateway(folder, config, name="guarded")
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.said()


def client(guarded: Gateway, key: str = "full", *, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{guarded.url}/v1", api_key=KEYS.get(key, key), max_retries=retries
    )


def ask(caller: openai.OpenAI, model: str = "one", **more):
    return caller.chat.completions.create(model=model, messages=HELLO, max_tokens=4, **more)


def recover(guarded: Gateway) -> None:
    """Wait until the breaker has closed: it takes a trial to close it."""

    def answers() -> bool:
        try:
            return bool(ask(caller).choices)
        except openai.InternalServerError:
            return False

    with client(guarded) as caller:
        eventually(answers, what="the engine is tried again")


def test_a_good_key_is_let_in(guarded):
    with client(guarded) as caller:
        assert ask(caller).choices


def test_no_key_and_a_wrong_one_are_told_apart_from_nothing(guarded):
    with client(guarded, "sk-wrong") as caller, pytest.raises(openai.AuthenticationError) as caught:
        ask(caller)
    assert caught.value.type == "authentication_error"
    assert "sk-wrong" not in caught.value.message


def test_what_a_key_may_not_ask_for(guarded):
    with client(guarded, "bare") as caller:
        assert ask(caller).choices
        with pytest.raises(openai.PermissionDeniedError):
            ask(caller, "other")
        assert [model.id for model in caller.models.list()] == ["one"]
        with pytest.raises(openai.PermissionDeniedError):
            caller.get("/energy/summary", cast_to=object)


def test_over_its_rate_a_key_is_told_when_to_come_back(guarded):
    with client(guarded, "slow") as caller:
        raw = caller.chat.completions.with_raw_response.create(
            model="one", messages=HELLO, max_tokens=4
        )
        assert raw.headers["x-ratelimit-limit-requests"] == "2"
        ask(caller)
        with pytest.raises(openai.RateLimitError) as caught:
            ask(caller)
    assert caught.value.type == "rate_limit_error"
    assert 0 < float(caught.value.response.headers["retry-after"]) <= 60


def test_one_stream_at_a_time(guarded):
    with client(guarded, "thin") as caller:
        first = caller.chat.completions.create(
            model="one",
            messages=HELLO,
            max_tokens=8000,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        next(iter(first))
        with pytest.raises(openai.RateLimitError):
            ask(caller, stream=True)
        first.close()

        def again() -> bool:
            try:
                return bool(list(ask(caller, stream=True)))
            except openai.RateLimitError:
                return False

        eventually(again, what="its place is free again")


def test_a_body_over_the_limit(guarded):
    with client(guarded) as caller, pytest.raises(openai.APIStatusError) as caught:
        caller.chat.completions.create(
            model="one", messages=[{"role": "user", "content": "x" * 200_000}]
        )
    assert caught.value.status_code == 413


def test_a_model_without_a_live_engine_is_a_503_with_a_time(guarded):
    eventually(lambda: guarded.total("baseload_replica_healthy", model="other") == 0)
    with client(guarded) as caller, pytest.raises(openai.InternalServerError) as caught:
        ask(caller, "other")
    assert caught.value.status_code == 503
    assert float(caught.value.response.headers["retry-after"]) > 0


def test_an_engine_that_fails_every_time_is_a_gateway_s_error(guarded, engine):
    engine.fault("error500", count=3)
    with client(guarded) as caller, pytest.raises(openai.InternalServerError) as caught:
        ask(caller)
    assert caught.value.status_code in (502, 503)
    assert caught.value.type


def test_the_client_s_own_retries_wait_as_told_and_get_through(guarded, engine):
    """Three failures open the breaker: the next answer is a 503 with Retry-After, which the client
    obeys; after it there is an answer.
    """
    recover(guarded)
    engine.fault("error500", count=3)
    with client(guarded, retries=6) as caller:
        begun_s = time.monotonic()
        assert ask(caller).choices
        assert time.monotonic() - begun_s > 0.4
    assert guarded.total("baseload_requests_total", model="one", reason="upstream") >= 1


def test_a_stream_that_breaks_ends_with_an_error_event(guarded, engine):
    recover(guarded)
    engine.fault("drop_after", count=1, after_tokens=3)
    got = []
    with client(guarded) as caller, pytest.raises(openai.APIError) as caught:  # noqa: PT012
        for chunk in caller.chat.completions.create(
            model="one",
            messages=HELLO,
            max_tokens=50,
            stream=True,
            extra_body={"ignore_eos": True},
        ):
            got.append(chunk)
    assert got
    assert not isinstance(caught.value, openai.APIConnectionError)


def test_one_failure_before_the_first_byte_is_not_seen_at_all(guarded, engine):
    recover(guarded)
    before = guarded.total("baseload_retries_total")
    engine.fault("error500", count=1)
    with client(guarded) as caller:
        assert ask(caller).choices
    assert guarded.total("baseload_retries_total") == before + 1


def test_keys_and_words_are_not_in_the_log(guarded):
    with client(guarded) as caller:
        caller.chat.completions.create(
            model="one", messages=[{"role": "user", "content": "xyzzyplugh"}], max_tokens=4
        )
    eventually(lambda: any(line["key"] == "full" for line in guarded.log()))
    said = guarded.said()
    assert "xyzzyplugh" not in said
    assert not any(key in said for key in KEYS.values())
