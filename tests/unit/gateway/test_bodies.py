"""What is read of bodies, what is refused, and bodies with fields changed."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway import body_fields
from baseload.gateway.bodies import LARGE_BYTES, MOST_ELEMENTS, Asked, read_body, rewritten
from baseload.gateway.errors import RequestError
from baseload.gateway.thinking import MOST_TOKENS

HI = [{"role": "user", "content": "hi"}]


def chat(**fields: object) -> Asked:
    return read_body("chat", msgspec.json.encode({"model": "m", "messages": HI} | fields))


def refused(endpoint: str, body: bytes | dict[str, object]) -> RequestError:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    with pytest.raises(RequestError) as caught:
        read_body(endpoint, raw)  # type: ignore[arg-type]
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value


def test_what_routing_needs_of_a_chat() -> None:
    part = {"type": "text", "text": "five!"}
    asked = chat(
        messages=[
            {"role": "system", "content": "four"},
            {"role": "user", "content": [part, {"type": "image_url", "image_url": {"url": "x"}}]},
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "y"}}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]},
        ],
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=100,
        max_completion_tokens=70,
        n=2,
        tools=[{"type": "function"}],
        service_tier="flex",
        user="u",
        reasoning_effort="low",
        temperature=0.5,
        something_new={"deep": [1, 2]},
    )
    assert asked == Asked(
        endpoint="chat",
        model="m",
        stream=True,
        include_usage=True,
        effort="low",
        effort_field="reasoning_effort",
        max_tokens=70,
        characters=4 + 5 + len('{"id":1}') + len('{"type":"function"}'),
        images=1,
        audios=1,
        tools=True,
        service_tier="flex",
        choices=2,
        user="u",
    )


def test_what_routing_needs_of_a_response() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "abc"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": "x" * 50}]},
        {"type": "function_call", "arguments": "{}", "name": "f"},
        {"type": "function_call_output", "output": "four"},
        {"type": "computer_call_output", "output": {"type": "input_image", "image_url": "x"}},
        {"type": "reasoning", "summary": []},
    ]
    body = {
        "model": "m",
        "input": items,
        "instructions": "be",
        "reasoning": {"effort": "high", "summary": "auto"},
        "max_output_tokens": 9,
        "previous_response_id": "r1",
    }
    asked = read_body("responses", msgspec.json.encode(body))
    assert (asked.characters, asked.images, asked.max_tokens) == (2 + 3 + 2 + 4, 2, 9)
    assert (asked.effort, asked.effort_field) == ("high", "reasoning.effort")
    assert asked.previous == "r1"
    assert asked.thinking is not None
    assert asked.thinking.objects == {"reasoning": b'{"effort":"high","summary":"auto"}'}


@pytest.mark.parametrize(
    ("prompt", "characters", "tokens", "choices"),
    [
        ('"abc"', 3, None, 1),
        ('["a", "bc"]', 3, None, 2),
        ("[1, 2, 30]", 0, 3, 1),
        ("[[1,2],[3]]", 0, 3, 2),
        ('[1,"ab",[2,3]]', 2, 3, 3),
        ('"\\u00e4"', 1, None, 1),
    ],
)
def test_prompts_of_every_form(
    prompt: str, characters: int, tokens: int | None, choices: int
) -> None:
    body = f'{{"model":"m","prompt":{prompt}}}'.encode()
    asked = read_body("completions", body)
    assert (asked.characters, asked.prompt_tokens) == (characters, tokens)
    assert asked.choices == choices
    same = read_body("embeddings", body.replace(b"prompt", b"input"))
    assert (same.characters, same.prompt_tokens, same.choices) == (characters, tokens, 1)


def test_a_prompt_may_be_scored_without_an_answer() -> None:
    body = b'{"model":"m","prompt":"x","max_tokens":0,"echo":true,"logprobs":1}'
    assert read_body("completions", body).max_tokens == 0


@pytest.mark.parametrize("prompt", ["[]", "[[]]", "[1.5]", "[-1]", "[[[1]]]", "[true]", "{}", "5"])
def test_prompts_that_are_none(prompt: str) -> None:
    error = refused("completions", f'{{"model":"m","prompt":{prompt}}}'.encode())
    assert error.param == "prompt"
    assert "a list of token ids" in error.message


@pytest.mark.parametrize(
    ("field", "value", "found"),
    [
        ("max_tokens", 0, "0"),
        ("max_tokens", -1, "-1"),
        ("max_tokens", 1e300, "a number"),
        ("max_tokens", 1.0, "a number"),
        ("max_tokens", "5", "a string"),
        ("max_tokens", MOST_TOKENS + 1, str(MOST_TOKENS + 1)),
        ("max_completion_tokens", 0, "0"),
        ("n", 0, "0"),
        ("n", 129, "129"),
        ("n", True, "true or false"),
        ("stream", "yes", "a string"),
        ("stream", 1, "an integer"),
        ("model", 5, "an integer"),
        ("messages", [], "[]"),
        ("messages", "hi", "a string"),
        ("tools", {}, "an object"),
        ("reasoning_effort", "hgih", "'hgih'"),
        ("reasoning_effort", 0.5, "a number"),
        ("thinking_token_budget", -2, "-2"),
        ("chat_template_kwargs", [], "an array"),
    ],
)
def test_nonsense_names_field_found_and_allowed(field: str, value: object, found: str) -> None:
    error = refused("chat", {"model": "m", "messages": HI, field: value})
    assert error.param == field
    assert f"{field}: found {found}; allowed: " in error.message


def test_a_wrong_type_deep_inside_is_named_by_its_path() -> None:
    error = refused("chat", {"model": "m", "messages": [*HI, {"content": [{"type": 5}]}]})
    assert error.param == "messages[1].content[0].type"
    assert error.message == ("messages[1].content[0].type: found an integer; allowed: a string")


def test_unknown_efforts_get_the_list() -> None:
    error = refused("chat", {"model": "m", "messages": HI, "reasoning_effort": "hgih"})
    assert "auto, none, minimal, low, medium, high, xhigh, max" in error.message


@pytest.mark.parametrize("endpoint", ["chat", "completions", "responses", "embeddings"])
def test_a_body_without_model_or_prompt(endpoint: str) -> None:
    assert refused(endpoint, {}).param == "model"
    assert refused(endpoint, {"model": ""}).param == "model"
    names = {"chat": "messages", "completions": "prompt"}
    assert refused(endpoint, {"model": "m"}).param == names.get(endpoint, "input")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"null",
        b'{"model":"m","x":NaN}',
        b'{"model":"m","x":"\xff"}',
        b'{"model":"m"} x',
        b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"m","messages":' + b"[" * 100_000,
        b'{"model":"m","messages":[{"content":"a"}],"n":' + b"1" * 6000 + b"}",
        b'{"model":"m","messages":[{"content":"a"}],"x":"\\ud800"}',
    ],
    ids=lambda body: repr(body[:30]),
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert len(refused("chat", body).message) < 300


def test_a_body_that_would_swell_is_refused() -> None:
    """Five million empty objects are 15 MB of body and half a gigabyte of memory."""
    body = b'{"model":"m","messages":[' + b"{}," * MOST_ELEMENTS + b"{}]}"
    assert len(body) > LARGE_BYTES
    assert "objects" in refused("chat", body).message
    text = b'{"model":"m","prompt":"' + b"word " * 400_000 + b'"}'
    assert read_body("completions", text).characters == 2_000_000


def test_a_million_token_ids_are_counted_not_decoded() -> None:
    body = b'{"model":"m","prompt":[' + b"12345, " * 1_000_000 + b"7]}"
    assert read_body("completions", body).prompt_tokens == 1_000_001


def test_of_a_field_that_is_there_twice_the_last_holds_for_reading_and_rewriting() -> None:
    body = b'{"model":"a","messages":[{"content":"x"}],"n":2,"model":"b","n":3}'
    asked = read_body("chat", body)
    assert (asked.model, asked.choices) == ("b", 3)
    assert rewritten(body, {"user": "u"}) == (
        b'{"model":"b","messages":[{"content":"x"}],"n":3,"user":"u"}'
    )


def test_a_rewritten_body_keeps_all_other_bytes() -> None:
    body = b'{ "model" : "a", "x": {"b" : 1.50, "a":[ 1,2 ]}, "y": "\\u00e4\\/", "z": 1e2 }'
    new = rewritten(body, {"model": "b", "new": [1]}, ["z"])
    assert new == b'{"model":"b","x":{"b" : 1.50, "a":[ 1,2 ]},"y":"\\u00e4\\/","new":[1]}'


def test_nothing_to_change_gives_the_same_object() -> None:
    body = b'{ "model" : "a" }'
    assert rewritten(body, {}) is body
    assert rewritten(body, {"model": "a"}, ["not", "there"]) is body


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(
    st.dictionaries(st.text(), json_values, max_size=6),
    st.dictionaries(st.text(), json_values, max_size=3),
    st.sets(st.text(max_size=2)),
)
def test_rewriting_changes_what_it_should_and_nothing_else(
    body: dict[str, object], changes: dict[str, object], removed: set[str]
) -> None:
    raw = msgspec.json.encode(body)
    new = rewritten(raw, changes, removed)
    expected = {name: value for name, value in body.items() if name not in removed} | changes
    assert msgspec.json.decode(new) == msgspec.json.decode(msgspec.json.encode(expected))
    order = [name for name in body if name not in removed or name in changes]
    if not removed & changes.keys():
        assert list(msgspec.json.decode(new))[: len(order)] == order


@given(
    st.sampled_from(["chat", "completions", "responses", "embeddings"]),
    st.binary(max_size=60)
    | json_values.map(msgspec.json.encode)
    | st.dictionaries(
        st.sampled_from([*body_fields.ChatBody.__struct_fields__, "input", "prompt"]), json_values
    ).map(msgspec.json.encode),
)
def test_any_bytes_are_read_or_refused(endpoint: str, body: bytes) -> None:
    try:
        asked = read_body(endpoint, body)  # type: ignore[arg-type]
    except RequestError as error:
        refusal = error
    else:
        assert asked.model
        assert asked.choices >= 1
        assert asked.characters >= 0
        assert math.isfinite(asked.max_tokens or 0)
        return
    assert refusal.status == 400
    msgspec.json.decode(refusal.body())
