"""Answers are spelled as vLLM spells them, streamed or not, and say the same both ways."""

from __future__ import annotations

import asyncio
import base64
import json

import msgspec
import numpy as np
import pytest
from emulated_engines import ask, chat, engine_on, events_of, joined
from emulated_time import FakeTime
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.emulated.answers import thinking_fields, unit_vector

SCHEMA = {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}


def both_ways(path="/v1/chat/completions", settings=None, **fields):
    """The events of a streamed answer, and the body of the same one in a piece."""

    async def go():
        time = FakeTime()
        engine = engine_on(time, **(settings or {}))
        usage = {"stream": True, "stream_options": {"include_usage": True}}
        _, stream = await ask(time, engine, path, chat(**fields, **usage))
        _, body = await ask(time, engine, path, chat(**fields))
        return events_of(stream), json.loads(body)

    return asyncio.run(go())


@given(
    text=st.text(max_size=6),
    thinking=st.sampled_from(["never", "switched", "always"]),
    most=st.integers(1, 60),
    choices=st.integers(1, 3),
    how=st.sampled_from(["prose", "tool", "json"]),
    field=st.sampled_from(["reasoning_content", "reasoning"]),
)
def test_a_stream_says_what_the_whole_says(text, thinking, most, choices, how, field):
    more = {"tool": {"tools": [TOOL], "tool_choice": "required"}, "json": {}, "prose": {}}[how]
    if how == "json":
        more = {"response_format": {"type": "json_object"}}
    settings = {"thinking": thinking, "reasoning_field": field}
    events, body = both_ways(settings=settings, text=text, max_tokens=most, n=choices, **more)
    *chunks, last = events
    assert last["choices"] == []
    assert last["usage"] == body["usage"]
    assert last["usage"]["total_tokens"] == sum(
        last["usage"][name] for name in ("prompt_tokens", "completion_tokens")
    )
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    for number, choice in enumerate(body["choices"]):
        message = choice["message"]
        assert joined(chunks, "content", number) == (message["content"] or "")
        assert joined(chunks, field, number) == (message[field] or "")
        assert joined(chunks, "role", number) == "assistant"
        ends = [
            one["finish_reason"]
            for chunk in chunks
            for one in chunk["choices"]
            if one["index"] == number and one["finish_reason"]
        ]
        assert ends == [choice["finish_reason"]]
        parts = [
            call
            for chunk in chunks
            for one in chunk["choices"]
            if one["index"] == number
            for call in one["delta"].get("tool_calls", [])
        ]
        if message["tool_calls"]:
            call = message["tool_calls"][0]
            assert [part.get("id") for part in parts] == [f"call_0-1-{number}"] + [None] * (
                len(parts) - 1
            )
            assert parts[0]["function"]["name"] == "weather" == call["function"]["name"]
            said = "".join(part["function"]["arguments"] for part in parts)
            assert said == call["function"]["arguments"]
            if choice["finish_reason"] == "tool_calls":
                assert list(json.loads(said)) == ["where"]
        else:
            assert parts == []


def test_each_token_is_a_chunk():
    """The first also brings the role; the last the reason it ended for."""
    events, body = both_ways(max_tokens=7, ignore_eos=True)
    assert len(events) == 1 + 7 + 1
    assert body["usage"]["completion_tokens"] == 7
    assert body["choices"][0]["finish_reason"] == "length"


def test_thinking_goes_first_and_is_counted_apart():
    events, body = both_ways(settings={"thinking": "always"}, max_tokens=50, ignore_eos=True)
    kinds = [
        "reasoning_content" if "reasoning_content" in one["delta"] else "content"
        for event in events[1:-1]
        for one in event["choices"]
    ]
    thinking = body["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert kinds == ["reasoning_content"] * thinking + ["content"] * (50 - thinking)
    assert 0 < thinking < 50


def test_hidden_thinking_is_counted_but_not_said():
    events, body = both_ways(
        settings={"thinking": "always"}, max_tokens=50, ignore_eos=True, include_reasoning=False
    )
    assert joined(events, "reasoning_content") == ""
    assert body["choices"][0]["message"]["reasoning_content"] is None
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


def test_exhausted_thinking_has_no_content():
    _, body = both_ways(settings={"thinking": "always"}, max_tokens=3)
    choice = body["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", None)


def test_both_names_of_thinking():
    assert thinking_fields("both", b"null") == b'"reasoning":null,"reasoning_content":null'
    events, body = both_ways(settings={"thinking": "always", "reasoning_field": "both"}, n=2)
    message = body["choices"][1]["message"]
    assert message["reasoning"] == message["reasoning_content"] == joined(events, "reasoning", 1)


def test_completions_stream_what_they_say():
    events, body = both_ways(
        path="/v1/completions", prompt=["a", "b"], max_tokens=9, ignore_eos=True
    )
    for number, choice in enumerate(body["choices"]):
        pieces = [
            one["text"] for event in events for one in event["choices"] if one["index"] == number
        ]
        assert len(pieces) == 9
        assert "".join(pieces) == choice["text"]
    assert events[-1]["usage"] == body["usage"]
    assert body["usage"]["completion_tokens"] == 18


def test_embeddings_are_unit_vectors_that_the_text_decides():
    async def go(**fields):
        time = FakeTime()
        body = msgspec.json.encode({"input": ["a", "b", "a"], **fields})
        return json.loads((await ask(time, engine_on(time), "/v1/embeddings", body))[1])

    rows = asyncio.run(go(dimensions=64))["data"]
    vectors = np.array([row["embedding"] for row in rows])
    assert vectors.shape == (3, 64)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, rel=1e-6)
    assert (vectors[0] == vectors[2]).all()
    assert abs(vectors[0] @ vectors[1]) < 0.6
    packed = asyncio.run(go(dimensions=64, encoding_format="base64"))
    again = np.frombuffer(base64.b64decode(packed["data"][1]["embedding"]), dtype="<f4")
    assert again == pytest.approx(vectors[1], rel=1e-6)
    assert packed["usage"]["prompt_tokens"] == 3
    assert (unit_vector(1, b"a", 8) != unit_vector(0, b"a", 8)).any()
