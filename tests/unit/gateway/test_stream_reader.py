"""Streams on their way through: what is counted, what is held back, what is no stream."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.gateway.config import Endpoint
from baseload.gateway.stream_reader import DONE, LAST_EVENTS, StreamReader, event_end

ENERGY = b'{"energy_joules":1.5}'
COMMENT = b": energy " + ENERGY + b"\n\n"


def event(value: object) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def chunk(finish: str | None = None, *, index: int = 0, **delta: object) -> bytes:
    return event(
        {"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}
    )


USAGE = event(
    {
        "id": "c",
        "choices": [],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 4,
            "prompt_tokens_details": {"cached_tokens": 8},
            "completion_tokens_details": {"reasoning_tokens": 2},
        },
    }
)
ROLE = chunk(role="assistant", content="")


def run(
    *pieces: bytes,
    keep: bool = True,
    energy: bytes | None = None,
    endpoint: Endpoint = "chat",
    **options: int,
) -> tuple[bytes, StreamReader]:
    reader = StreamReader("vllm", endpoint, keep_usage=keep, **options)
    out = b"".join(reader.feed(piece)[0] for piece in pieces)
    return out + reader.end(energy), reader


def test_a_chunk_is_handed_on_as_the_very_same_object() -> None:
    reader = StreamReader("vllm", "chat", keep_usage=False)
    piece = chunk(content=" hello")
    handed, tokens = reader.feed(piece)
    assert handed is piece
    assert tokens == 1


def test_the_first_token_is_not_the_chunk_with_the_role() -> None:
    reader = StreamReader("vllm", "chat", keep_usage=False)
    assert reader.feed(ROLE) == (ROLE, 0)
    assert reader.feed(b": ping\n\n") == (b": ping\n\n", 0)
    assert reader.feed(chunk(reasoning="hm"))[1] == 1
    assert (reader.reasoned, reader.answered) == (True, False)
    assert reader.feed(chunk(reasoning_content="hm"))[1] == 1
    assert reader.feed(chunk(content="\n\n"))[1] == 1
    assert not reader.answered
    assert reader.feed(chunk(content="yes"))[1] == 1
    assert reader.answered
    assert reader.feed(chunk("stop"))[1] == 0


@pytest.mark.parametrize("ending", [b"\n\n", b"\r\n\r\n"])
@pytest.mark.parametrize("lead", [b"data: ", b"data:"])
def test_a_whole_stream_comes_out_as_it_went_in(ending: bytes, lead: bytes) -> None:
    whole = ROLE + chunk(content="a") + chunk("stop") + USAGE + DONE
    whole = whole.replace(b"\n\n", ending).replace(b"data: ", lead)
    out, reader = run(whole)
    assert out == whole
    assert (reader.broken, reader.finish, reader.tokens) == (None, "stop", 1)
    assert (reader.usage.input_tokens, reader.usage.output_tokens) == (9, 4)
    assert (reader.usage.cached_tokens, reader.usage.reasoning_tokens) == (8, 2)


def test_the_usage_chunk_is_dropped_where_the_client_did_not_ask() -> None:
    whole = ROLE + chunk(content="a") + chunk("stop") + USAGE + DONE
    out, reader = run(whole, keep=False)
    assert out == whole.replace(USAGE, b"")
    assert reader.usage.output_tokens == 4


def test_energy_goes_into_the_usage_chunk_and_a_comment_before_done() -> None:
    whole = chunk(content="a") + chunk("stop") + USAGE + DONE
    out, _ = run(whole, energy=ENERGY)
    with_energy = USAGE[:-3] + b',"energy":' + ENERGY + b"}\n\n"
    assert out == whole.replace(USAGE, with_energy).replace(DONE, COMMENT + DONE)
    out, _ = run(whole, keep=False, energy=ENERGY)
    assert out == whole.replace(USAGE, b"").replace(DONE, COMMENT + DONE)


def test_what_comes_last_waits_for_the_energy() -> None:
    reader = StreamReader("vllm", "chat", keep_usage=True)
    assert reader.feed(chunk("stop") + USAGE + DONE)[0] == chunk("stop")
    assert reader.done
    assert reader.feed(b"anything after") == (b"", 0)
    assert reader.end(None) == USAGE + DONE
    assert reader.end(None) == b""


def test_usage_in_the_last_chunk_and_in_every_chunk() -> None:
    """llama.cpp puts usage beside the finish, vLLM can put it into each chunk."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    middle = event({"choices": [{"delta": {"content": "a"}}], "usage": usage})
    last = event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage})
    out, reader = run(middle + middle + last + DONE)
    assert out == middle + middle + last + DONE
    assert reader.usage.output_tokens == 2
    out, _ = run(middle, last + USAGE, DONE)
    assert out == middle + last + USAGE + DONE
    out, _ = run(middle + last + DONE, energy=ENERGY)
    assert out.count(ENERGY) == 2
    out, _ = run(middle + last + DONE, keep=False)
    assert out == middle + last + DONE


@pytest.mark.parametrize(
    ("pieces", "exhausted"),
    [
        ([chunk(reasoning="hm"), chunk("length")], True),
        ([chunk(reasoning_content="hm"), chunk(content=" \n"), chunk("length")], True),
        ([chunk("length", content="")], True),
        ([chunk(reasoning="hm"), chunk("stop")], False),
        ([chunk(reasoning="hm"), chunk("length", content="x")], False),
        ([chunk(tool_calls=[{"index": 0}]), chunk("length")], False),
        ([chunk(content="a"), chunk("length")], False),
        ([chunk(content="a"), chunk("stop"), chunk("length", index=1)], True),
        ([chunk(content=[{"type": "text", "text": "a"}]), chunk("length")], False),
        ([chunk(content=[{"type": "thinking", "text": "a"}]), chunk("length")], True),
        ([event({"choices": [{"text": "a", "finish_reason": "length"}]})], False),
    ],
)
def test_thinking_that_takes_all_tokens(pieces: list[bytes], exhausted: bool) -> None:
    _, reader = run(*pieces, DONE)
    assert reader.broken is None
    assert reader.exhausted is exhausted


@pytest.mark.parametrize(
    ("pieces", "cause"),
    [
        ([b"<html><body>502 Bad Gateway"], "garbage"),
        ([b"\x00\x01\x02\xff\xfe"], "garbage"),
        ([b'{"choices":[]}\n\n'], "garbage"),
        ([b"data: hello\n\n"], "garbage"),
        ([b'data: {"choices":\n\n'], "garbage"),
        ([b'data: {"choices":[NaN]}\n\n'], "garbage"),
        ([b"data: [1]\n\n"], "garbage"),
        ([b"data: " + b"[" * 5000 + b"\n\n"], "garbage"),
        ([b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n'], "garbage"),
        ([b'data: {"choices":[],"more":"\xff"}\n\n'], "garbage"),
        ([b"data: " + b"x" * 2000], "garbage"),
        ([b"data: {" + b" " * 2000 + b"}\n\n"], "garbage"),
        ([], "closed"),
        ([ROLE], "closed"),
        ([ROLE, chunk(content="a")], "closed"),
        ([ROLE, b'data: {"choices":[{"del'], "closed"),
        ([event({"error": {"message": "boom", "code": 500}})], "status"),
        ([event({"error": {"message": "too long", "code": 400}})], "rejected"),
        ([event({"error": {"message": "busy", "code": 429}})], "status"),
        ([event({"error": "boom"})], "status"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_answer_says_why_and_hands_nothing_more_on(
    pieces: list[bytes], cause: str
) -> None:
    reader = StreamReader("vllm", "chat", keep_usage=True, line_bytes=1000)
    for piece in pieces:
        reader.feed(piece)
    assert reader.end(ENERGY) == b""
    assert reader.broken == cause
    assert reader.detail


def test_before_an_error_all_is_handed_on_and_its_words_are_kept() -> None:
    error = {"message": "out of memory", "type": "x", "param": None, "code": 500}
    out, reader = run(ROLE + chunk(content="a") + event({"error": error}) + DONE)
    assert out == ROLE + chunk(content="a")
    assert msgspec.json.decode(reader.error) == error
    assert reader.detail == "out of memory"


def test_an_end_without_done_is_whole_once_every_choice_has_finished() -> None:
    out, reader = run(chunk(content="a"), chunk("stop"), energy=ENERGY)
    assert (reader.broken, out) == (None, chunk(content="a") + chunk("stop") + COMMENT + DONE)
    _, reader = run(chunk(content="a"), chunk("stop"), choices=2)
    assert reader.broken == "closed"


def test_the_last_event_may_lack_its_empty_line() -> None:
    out, reader = run(chunk("stop"), b"data: [DONE]")
    assert (reader.broken, out) == (None, chunk("stop") + DONE)
    out, reader = run(chunk(content="a"), chunk("stop")[:-1])
    assert (reader.broken, out) == (None, chunk(content="a") + chunk("stop") + DONE)
    out, reader = run(chunk("stop"), b'data: {"usa')
    assert (reader.broken, out) == (None, chunk("stop") + DONE)
    assert reader.doubts == ["the stream ended inside an event"]


def test_how_it_ended_is_known_before_the_energy_is() -> None:
    reader = StreamReader("vllm", "chat", keep_usage=True)
    assert reader.feed(chunk("stop") + USAGE[:-2]) == (chunk("stop"), 0)
    assert reader.usage.output_tokens == -1
    reader.settle()
    assert (reader.broken, reader.usage.output_tokens) == (None, 4)
    reader.settle()
    assert reader.end(None) == USAGE + DONE
    cut = StreamReader("vllm", "chat", keep_usage=True, choices=2)
    cut.feed(chunk("stop"))
    cut.settle()
    assert cut.broken == "closed"


def test_lies_about_usage_are_doubts() -> None:
    usage = {"prompt_tokens": -5, "completion_tokens": 3, "reasoning_tokens": 9}
    out, reader = run(chunk("stop") + event({"choices": [], "usage": usage}) + DONE)
    assert reader.usage.input_tokens == -1
    assert reader.usage.output_tokens == 3
    assert reader.doubts == [
        "usage: input tokens out of range",
        "usage: more reasoning tokens than output tokens",
    ]
    strange = event({"choices": [], "usage": {"prompt_tokens": "9", "completion_tokens": 3}})
    out, reader = run(chunk("stop") + strange + DONE)
    assert out == chunk("stop") + strange + DONE
    assert reader.usage.output_tokens == 3
    assert reader.doubts == ["usage.prompt_tokens: another type than the API's"]


def test_a_stream_of_strange_chunks_does_not_fill_the_memory() -> None:
    reader = StreamReader("vllm", "chat", keep_usage=True)
    for _ in range(200):
        reader.feed(event({"choices": [{"delta": {"content": "a"}, "index": "x"}]}))
    assert reader.tokens == 200
    assert len(reader.doubts) <= 32


def responses(name: str, **fields: object) -> bytes:
    return f"event: {name}\n".encode() + event({"type": name} | fields)


def test_a_responses_stream() -> None:
    usage = {
        "input_tokens": 5,
        "output_tokens": 3,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 1},
    }
    last = responses(
        "response.completed",
        response={"status": "completed", "output": [], "usage": usage},
        sequence_number=9,
    )
    whole = (
        responses("response.created", response={"status": "in_progress", "usage": None})
        + responses("response.reasoning_text.delta", delta="hm")
        + responses("response.output_text.delta", delta="a")
        + responses("response.output_text.done", text="a")
    )
    out, reader = run(whole, last, endpoint="responses")
    assert out == whole + last
    assert (reader.tokens, reader.finish, reader.answered) == (2, "stop", True)
    assert (reader.usage.output_tokens, reader.usage.cached_tokens) == (3, 4)
    out, _ = run(whole, last, endpoint="responses", energy=ENERGY)
    told = last.replace(b'},"sequence_number"', b',"energy":' + ENERGY + b'},"sequence_number"')
    assert out == whole + COMMENT + told


@pytest.mark.parametrize("name", sorted(LAST_EVENTS))
def test_how_a_responses_stream_ends(name: str) -> None:
    response = {"status": name.partition(".")[2], "error": {"message": "oh"}, "output": []}
    _, reader = run(
        responses("response.reasoning_text.delta", delta="hm"),
        responses(name, response=response),
        endpoint="responses",
    )
    failed = name == "response.failed"
    assert reader.broken == ("status" if failed else None)
    assert reader.exhausted is (name == "response.incomplete")
    _, reader = run(responses("error", message="no", code="server_error"), endpoint="responses")
    assert (reader.broken, reader.detail) == ("status", "no")
    _, reader = run(responses("response.output_text.delta", delta="a"), endpoint="responses")
    assert reader.broken == "closed"


@pytest.mark.parametrize(
    ("data", "start", "end"),
    [
        (b"a\n\nb", 0, 3),
        (b"a\r\n\r\nb", 0, 5),
        (b"a\n\r\nb\n\n", 0, 4),
        (b"a\n", 0, -1),
        (b"a\n\nb\n\n", 3, 6),
        (b"a\n\nb\r\n\r\n", 0, 3),
        (b"", 0, -1),
    ],
)
def test_where_an_event_ends(data: bytes, start: int, end: int) -> None:
    assert event_end(data, start) == end


pieces = st.lists(
    st.sampled_from(
        [
            ROLE,
            chunk(content="ü\n"),
            chunk(reasoning="hm"),
            chunk("stop"),
            chunk("length"),
            USAGE,
            DONE,
            b": ping\r\n\r\n",
            b"event: x\r\ndata: {}\r\n\r\n",
            event({"error": {"message": "x"}}),
            b"\n",
        ]
    ),
    max_size=8,
)


@settings(max_examples=300)
@given(pieces, st.lists(st.integers(0, 2000), max_size=8), st.booleans(), st.booleans())
def test_where_chunks_are_cut_makes_no_difference(
    events: list[bytes], cuts: list[int], keep: bool, tells: bool
) -> None:
    data = b"".join(events)
    energy = ENERGY if tells else None
    ends = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    parts = [data[a:b] for a, b in pairwise(ends)]
    whole, one = run(data, keep=keep, energy=energy)
    cut, many = run(*parts, keep=keep, energy=energy)
    for name in ("tokens", "usage", "finish", "exhausted", "answered", "broken", "done", "doubts"):
        assert getattr(one, name) == getattr(many, name)
    assert whole == cut


@given(st.lists(st.binary(max_size=40), max_size=6), st.sampled_from(["chat", "responses"]))
def test_any_bytes_are_read_without_an_error(parts: list[bytes], endpoint: Endpoint) -> None:
    out, reader = run(*parts, endpoint=endpoint)
    assert reader.broken is not None or out
