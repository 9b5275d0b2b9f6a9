"""What an emulated engine reads of a request."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.emulated.requests import PICTURE_TOKENS, RefusedError, read_wanted


def chat(**fields):
    body = {"messages": [{"role": "user", "content": "How warm is it?"}], **fields}
    return read_wanted("chat", msgspec.json.encode(body))


FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def test_a_token_is_about_four_bytes_of_text_or_one_id():
    assert chat().prompt_tokens == (4 + 4,)
    picture = [{"type": "text", "text": "abcd"}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert chat(messages=[{"role": "user", "content": picture}]).prompt_tokens == (
        4 + 1 + PICTURE_TOKENS,
    )
    for given_ids, tokens in (([1, 2, 3], (3,)), ([[1, 2], [3]], (2, 1)), (["abcde", ""], (2, 1))):
        body = msgspec.json.encode({"prompt": given_ids})
        assert read_wanted("completions", body).prompt_tokens == tokens


def test_prompts_that_differ_have_different_names():
    names = {
        chat(messages=[{"role": role, "content": text}]).prompts
        for role in ("user", "system")
        for text in ("a", "b", None)
    }
    assert len(names) == 6


def test_exact_lengths_as_benchmarks_ask_for_them():
    assert chat(max_tokens=9, ignore_eos=True).exact
    assert chat(max_completion_tokens=9, min_tokens=9).exact
    assert not chat(max_tokens=9, min_tokens=3).exact
    assert not chat(ignore_eos=True).exact


def test_thinking_is_asked_for_in_several_ways():
    assert chat().thinking is None
    assert chat(reasoning_effort="none").thinking is False
    assert chat(chat_template_kwargs={"enable_thinking": False}).thinking is False
    assert chat(chat_template_kwargs={"thinking": True}).thinking is True
    asked = chat(reasoning_effort="low", thinking_token_budget=64, include_reasoning=False)
    assert (asked.effort, asked.budget_tokens, asked.show_thinking) == ("low", 64, False)
    body = b'{"input":"hi","reasoning":{"effort":"high"},"max_output_tokens":7,"n":3}'
    asked = read_wanted("responses", body)
    assert (asked.effort, asked.max_tokens, asked.choices) == ("high", 7, 1)


def test_tools_may_must_and_must_not_be_called():
    assert chat(tools=[FUNCTION]).must_call is None
    assert chat(tools=[FUNCTION], tool_choice="required").must_call is True
    assert chat(tools=[FUNCTION], tool_choice="none").calls == ()
    chosen = {"type": "function", "function": {"name": "look"}}
    assert chat(tools=[FUNCTION], tool_choice=chosen).named
    flat = {"type": "function", "name": "look", "parameters": {}}
    body = {"input": "hi", "tools": [flat], "tool_choice": {"type": "function", "name": "look"}}
    asked = read_wanted("responses", msgspec.json.encode(body))
    assert [call.name for call in asked.calls] == ["look"]


def test_json_answers():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wrapped = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert chat(response_format=wrapped).schema == schema
    assert chat(response_format={"type": "json_object"}).schema is True
    assert chat(response_format={"type": "text"}).schema is None
    body = {"input": "hi", "text": {"format": {"type": "json_schema", "schema": schema}}}
    assert read_wanted("responses", msgspec.json.encode(body)).schema == schema


def test_inputs_of_the_responses_end_point():
    items = [
        {"role": "user", "content": "abcd"},
        {"role": "user", "content": [{"type": "input_text", "text": "abcdefgh"}]},
        {"type": "function_call_output", "call_id": "c", "output": "x"},
    ]
    body = msgspec.json.encode({"input": items, "instructions": "abcd"})
    assert read_wanted("responses", body).prompt_tokens[0] > 4 + 1 + 4 + 2 + 1


@pytest.mark.parametrize(
    ("endpoint", "body", "param", "words"),
    [
        ("chat", b"{", None, "truncated"),
        ("chat", b"[]", None, "object"),
        ("chat", b"\xff", None, "malformed"),
        ("chat", b'{"messages":[]}', "messages", "empty"),
        ("chat", b'{"messages":[{"role":1}]}', "messages[0].role", "str"),
        ("chat", b'{"messages":[{"role":"user"}],"n":0}', "n", "128"),
        ("chat", b'{"messages":[{"role":"user"}],"max_tokens":0}', "max_tokens", "at least 1"),
        ("chat", b'{"messages":[{"role":"user"}],"max_tokens":2,"min_tokens":3}', "min_tokens",
         "got 3"),
        ("chat", b'{"messages":[{"role":"user"}],"reasoning_effort":"lots"}', "reasoning_effort",
         "minimal"),
        ("chat", b'{"messages":[{"role":"user"}],"tools":[{"function":{"name":"f"}}],'
         b'"tool_choice":{"function":{"name":"g"}}}', "tool_choice", "'g'"),
        ("completions", b'{"prompt":[]}', "prompt", "empty"),
        ("completions", b'{"prompt":[1,"a"]}', "prompt", "mixes"),
        ("embeddings", b'{"input":[[]]}', "input", "empty"),
        ("embeddings", b'{"input":"a","dimensions":0}', "dimensions", "1"),
        ("embeddings", b'{"input":"a","encoding_format":"hex"}', "encoding_format", "base64"),
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_with_its_field(endpoint, body, param, words):
    with pytest.raises(RefusedError, match=words) as caught:
        read_wanted(endpoint, body)
    assert caught.value.status == 400
    assert caught.value.param == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["model", "messages", "prompt", "input", "tools", "tool_choice", "response_format", "n", "stop",
     "max_tokens", "stream_options", "text", "reasoning", "chat_template_kwargs", "dimensions"]
)  # fmt: skip


@given(
    endpoint=st.sampled_from(["chat", "completions", "responses", "embeddings"]),
    body=st.dictionaries(FIELDS, JSON, max_size=5),
    messages=st.booleans(),
)
def test_any_json_is_read_or_refused(endpoint, body, messages):
    if messages:
        body["messages"] = [{"role": "user", "content": "x"}]
    try:
        wanted = read_wanted(endpoint, msgspec.json.encode(body))
    except RefusedError:
        return
    assert all(tokens >= 1 for tokens in wanted.prompt_tokens)
    assert len(wanted.prompts) == len(wanted.prompt_tokens) >= 1
