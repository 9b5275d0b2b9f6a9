"""Whole answers of engines that are honest, that lie, and that are no answers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.answers import Answered, read_answer, with_energy
from baseload.gateway.config import Endpoint

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def chat(finish: str | None = "stop", *, usage: object = USAGE, **message: object) -> Answered:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    body = msgspec.json.encode({"id": "c", "choices": [choice], "usage": usage})
    return read_answer("vllm", "chat", body, content_type="application/json")


def test_an_honest_answer() -> None:
    read = chat(content="hi", reasoning="hm")
    assert (read.usage.input_tokens, read.usage.output_tokens) == (9, 4)
    assert (read.finish, read.answered, read.reasoned, read.tool_calls) == (
        "stop",
        True,
        True,
        False,
    )
    assert (read.broken, read.doubts) == (None, ())


@pytest.mark.parametrize(
    ("message", "finish", "exhausted"),
    [
        ({"content": None, "reasoning_content": "hm"}, "length", True),
        ({"content": "\n\n"}, "length", True),
        ({"content": ""}, "stop", False),
        ({"content": "a"}, "length", False),
        ({"content": None, "tool_calls": [{"id": "x"}]}, "length", False),
        ({"content": None, "function_call": {"name": "f"}}, "length", False),
        ({"content": None, "refusal": "no"}, "length", False),
    ],
)
def test_thinking_that_takes_all_tokens(
    message: dict[str, object], finish: str, exhausted: bool
) -> None:
    assert chat(finish, **message).exhausted is exhausted


@pytest.mark.parametrize(
    ("usage", "tokens", "doubt"),
    [
        (None, -1, "no count of output tokens"),
        ({"completion_tokens": -4}, -1, "output tokens out of range"),
        ({"completion_tokens": 2**40}, -1, "output tokens out of range"),
        ({"completion_tokens": "4"}, -1, "completion_tokens: another type"),
        ({"completion_tokens": 4.5}, -1, "completion_tokens: another type"),
        ("lots", -1, "usage: another type"),
        (
            {"completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 5}},
            4,
            "more reasoning tokens",
        ),
        (
            {
                "completion_tokens": 4,
                "prompt_tokens": 1,
                "prompt_tokens_details": {"cached_tokens": 5},
            },
            4,
            "more cached tokens",
        ),
    ],
)
def test_an_engine_that_lies_about_usage(usage: object, tokens: int, doubt: str) -> None:
    read = chat(content="hi", usage=usage)
    assert read.broken is None
    assert read.answered
    assert read.usage.output_tokens == tokens
    assert any(doubt in said for said in read.doubts)


@pytest.mark.parametrize(
    ("endpoint", "body", "cause"),
    [
        ("chat", b"", "garbage"),
        ("chat", b"<html>", "garbage"),
        ("chat", b"[]", "garbage"),
        ("chat", b"{}", "garbage"),
        ("chat", b'{"choices":[]}', "garbage"),
        ("chat", b'{"choices":5}', "garbage"),
        ("chat", b'{"choices":[{"message":{"content":"\xff"}}]}', "garbage"),
        ("chat", b'{"x":' + b"[" * 5000, "garbage"),
        ("chat", b'{"error":{"message":"no","code":400}}', "rejected"),
        ("chat", b'{"error":{"message":"no","code":"503"}}', "status"),
        ("embeddings", b'{"data":{}}', "garbage"),
        ("responses", b"{}", "garbage"),
        ("responses", b"x", "garbage"),
        ("responses", b'{"status":"failed","error":{"message":"no"}}', "status"),
    ],
)
def test_what_is_no_answer(endpoint: Endpoint, body: bytes, cause: str) -> None:
    read = read_answer("sglang", endpoint, body)
    assert read.broken == cause
    assert read.detail


def test_a_wrong_content_type_is_a_doubt() -> None:
    body = b'{"data":[],"usage":{"prompt_tokens":3}}'
    read = read_answer("ollama", "embeddings", body, content_type="text/html")
    assert (read.broken, read.usage.input_tokens) == (None, 3)
    assert read.doubts == ("content type 'text/html'",)


def test_answers_of_the_responses_api() -> None:
    text = {"type": "message", "content": [{"type": "output_text", "text": "hi"}]}
    call = {"type": "function_call", "name": "f"}
    thought = {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]}
    usage = {"input_tokens": 5, "output_tokens": 3}

    def read(status: str, *output: object, **more: object) -> Answered:
        body = {"status": status, "output": output, "usage": usage} | more
        return read_answer("openai", "responses", msgspec.json.encode(body))

    assert read("completed", thought, text).finish == "stop"
    assert read("completed", call).finish == "tool_calls"
    cut = read("incomplete", thought, incomplete_details={"reason": "max_output_tokens"})
    assert (cut.finish, cut.exhausted, cut.reasoned) == ("length", True, True)
    assert not read("incomplete", thought, text).exhausted
    assert read("incomplete", incomplete_details={"reason": "content_filter"}).finish == (
        "content_filter"
    )
    assert cut.usage.output_tokens == 3


@given(st.binary(max_size=80), st.sampled_from(["chat", "responses", "embeddings", "completions"]))
def test_no_bytes_make_it_raise(body: bytes, endpoint: Endpoint) -> None:
    assert read_answer("vllm", endpoint, body).broken is not None
    assert with_energy(body, b"{}") is not None
