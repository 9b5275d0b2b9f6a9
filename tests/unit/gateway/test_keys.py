"""Who calls: keys are found by digest, refused without a word of them."""

from __future__ import annotations

import hashlib
import time

import pytest

from baseload.base.errors import BadInputError
from baseload.gateway.config import GatewayConfig, KeyEntry, ModelEntry, ReplicasEntry
from baseload.gateway.errors import RequestError
from baseload.gateway.keys import ANYBODY, KeyRing, hash_of_key, key_ring

KEY, OTHER = "bl-" + "a" * 43, "bl-" + "b" * 43
ENVIRON = {"TEAM_KEY": OTHER}


def ring(*entries, models=("small", "large"), **fields):
    config = GatewayConfig(
        models=tuple(ModelEntry(name=name) for name in models),
        replicas=tuple(ReplicasEntry(model=name, urls=("http://a",)) for name in models),
        keys=entries,
        **fields,
    )
    return key_ring(config, ENVIRON)


def refusal(keys, *headers):
    with pytest.raises(RequestError) as caught:
        keys.caller(*headers)
    return caught.value


def test_without_keys_anybody_may_do_everything():
    keys = ring()
    assert keys.open
    assert keys.caller(None) is ANYBODY
    assert keys.caller(b"Bearer whatever") is ANYBODY
    ANYBODY.require("admin")
    ANYBODY.require_model("small")


def test_a_key_is_found_by_its_hash_or_by_its_variable():
    keys = ring(
        KeyEntry(name="ci", hash=hash_of_key(KEY), scopes=("infer",), tier="bulk"),
        KeyEntry(name="team", value="env:TEAM_KEY"),
    )
    assert not keys.open
    ci = keys.caller(b"Bearer " + KEY.encode())
    assert (ci.name, ci.number, ci.scopes, ci.tier) == ("ci", 0, ("infer",), "bulk")
    assert keys.caller(f"bearer  {OTHER} ".encode()).name == "team"
    assert keys.caller(None, KEY.encode()) is ci


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ((None,), "missing_api_key"),
        ((None, b" "), "missing_api_key"),
        ((b"",), "malformed_api_key"),
        ((b"Bearer",), "malformed_api_key"),
        ((b"Bearer  ",), "malformed_api_key"),
        ((b"Basic " + KEY.encode(),), "malformed_api_key"),
        ((KEY.encode(),), "malformed_api_key"),
        ((b"Bearer " + KEY.encode()[:-1],), "invalid_api_key"),
        ((b"Bearer " + KEY.encode() + b"x",), "invalid_api_key"),
        ((b"Bearer " + KEY.upper().encode(),), "invalid_api_key"),
        ((b"Bearer " + hash_of_key(KEY).encode(),), "invalid_api_key"),
        ((b"Bearer " + b"x" * 100_000,), "invalid_api_key"),
        ((b"Bearer \xff\x00",), "invalid_api_key"),
        ((None, OTHER.encode()), "invalid_api_key"),
    ],
)
def test_any_other_key_is_refused_without_a_word_of_it(headers, code):
    error = refusal(ring(KeyEntry(name="ci", hash=hash_of_key(KEY))), *headers)
    assert (error.status, error.code) == (401, code)
    assert (b"www-authenticate", b"Bearer") in error.headers
    assert KEY[3:10] not in error.message
    assert b"authentication_error" in error.body()


def test_nothing_of_a_key_is_kept():
    keys = ring(KeyEntry(name="team", value="env:TEAM_KEY"))
    keys.caller(f"Bearer {OTHER}".encode())
    held = repr(vars(keys)).encode("unicode_escape")
    assert OTHER.encode() not in held
    assert repr(hashlib.sha256(OTHER.encode()).digest()) in repr(vars(keys))


def test_scopes_are_asked_for():
    caller = ring(KeyEntry(name="ci", hash=hash_of_key(KEY), scopes=("energy",))).caller(
        b"Bearer " + KEY.encode()
    )
    caller.require("energy")
    with pytest.raises(RequestError, match="'infer'; it has: energy") as caught:
        caller.require("infer")
    assert (caught.value.status, caught.value.code) == (403, "insufficient_scope")


def may(*models, aliases=None):
    keys = ring(KeyEntry(name="ci", hash=hash_of_key(KEY), models=models), aliases=aliases or {})
    return keys.caller(b"Bearer " + KEY.encode()).models


def test_a_key_never_reaches_a_model_that_it_may_not_call():
    """An alias over several models is open to a key that names it, or that names all of them."""
    assert may("small") == {"small"}
    assert may("small", "large") == {"small", "large", "auto"}
    assert may("auto") == {"auto"}
    aliases = {"auto": ("small",), "big": ("large",), "both": ("small", "large")}
    assert may("small", aliases=aliases) == {"small", "auto"}
    assert may("both", aliases=aliases) == {"both"}
    caller = ring(KeyEntry(name="ci", hash=hash_of_key(KEY), models=("small",))).caller(
        b"Bearer " + KEY.encode()
    )
    caller.require_model("small")
    with pytest.raises(RequestError, match="it may ask for: small") as caught:
        caller.require_model("large")
    assert (caught.value.status, caught.value.param) == (403, "model")


def test_a_variable_that_is_not_set_and_a_key_that_stands_twice_are_refused():
    with pytest.raises(BadInputError, match="environment variable NO_KEY"):
        ring(KeyEntry(name="ci", value="env:NO_KEY"))
    with pytest.raises(BadInputError, match=r"the key of 'a' once more") as caught:
        ring(KeyEntry(name="a", value="env:TEAM_KEY"), KeyEntry(name="b", hash=hash_of_key(OTHER)))
    assert OTHER not in str(caught.value)


def test_a_look_up_costs_microseconds():
    """The goal is 3 us a request; ten times that fails only when something is wrong."""
    keys = KeyRing({hashlib.sha256(b"%d" % n).digest(): ANYBODY for n in range(1000)})
    header = b"Bearer 7"
    best_s = min(_time_s(keys, header) for _ in range(5))
    assert best_s < 30e-6


def _time_s(keys, header, rounds=2000):
    begun_s = time.perf_counter()
    for _ in range(rounds):
        keys.caller(header)
    return (time.perf_counter() - begun_s) / rounds
