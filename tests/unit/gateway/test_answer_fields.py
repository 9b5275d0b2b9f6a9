"""Fields of answers with other types than the API's."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.answer_fields import Reply, cause_of, cut_out, read_loosely

FINE = {"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}


def test_only_what_is_strange_is_left_out() -> None:
    doubts: list[str] = []
    strange = {"index": "0", "message": {"content": "hi", "reasoning": 5}, "finish_reason": "stop"}
    body = msgspec.json.encode({"choices": [strange, None, FINE], "usage": {"prompt_tokens": []}})
    read = read_loosely(body, Reply, doubts)
    assert read is not None
    assert read.choices is not None
    assert [choice.finish_reason for choice in read.choices] == ["stop", "stop"]
    assert read.choices[0].message is not None
    assert read.choices[0].message.content == "hi"
    assert [doubt.partition(":")[0] for doubt in doubts] == [
        "choices[0].index",
        "choices[0].message.reasoning",
        "choices[1]",
        "usage.prompt_tokens",
    ]


def test_numbers_that_nobody_can_write_are_no_error() -> None:
    doubts: list[str] = []
    body = b'{"created":' + b"9" * 30 + b',"choices":"x"}'
    assert read_loosely(body, Reply, doubts) == Reply()
    assert doubts


def test_a_path_that_is_not_there_is_not_cut() -> None:
    assert not cut_out({"a": 1}, ".b")
    assert not cut_out({"a": 1}, "")


def test_causes_of_an_engines_own_error() -> None:
    assert cause_of(b'{"message":"m","code":404}') == ("rejected", "m")
    for word in ("context_length_exceeded", "invalid_prompt", "image_too_large"):
        assert cause_of(b'{"message":"m","code":"%b"}' % word.encode()) == ("rejected", "m")
    for word in ("server_error", "rate_limit_exceeded", "oh_no"):
        assert cause_of(b'{"message":"m","code":"%b"}' % word.encode()) == ("status", "m")
    assert cause_of(b'"oh no"') == ("status", '"oh no"')


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["index", "message", "content", "usage"]), inner)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["choices", "usage", "error", "data", "x"]), values))
def test_any_object_is_read(body: dict[str, object]) -> None:
    try:
        raw = msgspec.json.encode(body)
    except OverflowError:
        return
    assert read_loosely(raw, Reply, []) is not None
