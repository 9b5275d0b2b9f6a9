"""An answer as its client sees it come."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_loads import ENERGY, GOOD, STREAM, delta, event

from baseload.gateway.load.answers import Reading


def read(*pieces, headers=STREAM, status=200, stream=True):
    """The reading of pieces that come at 10, 20, ... ns."""
    reading = Reading(stream=stream)
    reading.head(status, headers)
    for number, piece in enumerate(pieces, start=1):
        reading.feed(piece, 10 * number)
    reading.end(10 * len(pieces) + 5)
    return reading


@given(st.lists(st.integers(0, len(GOOD)), max_size=12))
def test_a_stream_says_the_same_however_it_is_cut(cuts):
    edges = [0, *sorted(cuts), len(GOOD)]
    reading = read(*(GOOD[low:high] for low, high in itertools.pairwise(edges)))
    assert reading.kind == ""
    assert reading.pieces == 3
    assert reading.usage.completion_tokens == 3
    assert reading.usage.completion_tokens_details.reasoning_tokens == 1
    assert reading.energy.energy_j == 12.5
    assert reading.energy.method == "modelled"


def test_the_first_token_is_the_first_text_not_the_role():
    reading = read(
        delta(role="assistant", content=""),
        delta(content="a"),
        delta(content="b"),
        b"data: [DONE]\n",
    )
    assert (reading.first_ns, reading.last_ns) == (20, 30)


@pytest.mark.parametrize("made", [{"reasoning": "x"}, {"tool_calls": [{"index": 0}]}])
def test_thinking_and_calls_are_tokens_too(made):
    assert read(delta(**made), b"data: [DONE]\n\n").first_ns == 10


def test_completions_have_their_text_beside_the_choice():
    assert read(event(choices=[{"text": "x"}]), b"data: [DONE]\n\n").first_ns == 10


def test_energy_in_the_usage_chunk_counts_as_well():
    reading = read(event(choices=[], usage={}, energy={"energy_joules": 3}), b"data: [DONE]\n\n")
    assert reading.energy.energy_j == 3
    assert reading.kind == ""


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ((delta(content="a"),), "closed"),
        ((), "closed"),
        ((b"data: {nonsense\n\n", b"data: [DONE]\n\n"), "garbage"),
        ((b": energy {nonsense\n\n", b"data: [DONE]\n\n"), "garbage"),
        ((event(error={"message": "engine died"}), b"data: [DONE]\n\n"), "error"),
    ],
)
def test_a_stream_that_breaks_says_how(pieces, kind):
    assert read(*pieces).kind == kind


def test_other_comments_and_fields_of_a_stream_are_nothing():
    assert read(b": ping\n\nevent: x\nid: 7\n", GOOD).kind == ""


def test_a_whole_answer_has_no_first_token_but_all_else():
    body = {"choices": [{"message": {"content": "x"}, "finish_reason": "length"}], "energy": ENERGY}
    body["usage"] = {"prompt_tokens": 1, "completion_tokens": 2}
    data = json.dumps(body).encode()
    reading = read(data[:20], data[20:], headers={"content-type": "application/json"}, stream=False)
    assert (reading.kind, reading.first_ns, reading.last_ns) == ("", -1, 25)
    assert reading.usage.completion_tokens == 2
    assert reading.energy.carbon_g_co2eq == 0.5
    assert reading.finish == "length"


def test_a_whole_answer_to_a_question_for_a_stream_is_taken_as_such():
    reading = read(b'{"choices":[{"finish_reason":"stop"}]}', headers={})
    assert reading.kind == ""


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"hello": 1}', b"[]"])
def test_a_whole_answer_that_is_none_is_garbage(body):
    assert read(body, headers={}, stream=False).kind == "garbage"


def test_an_error_has_its_status_its_reason_and_its_words():
    body = json.dumps({"error": {"message": "the fleet is full", "type": "x"}}).encode()
    assert read(body, status=503, headers={}).kind == "status 503"
    dropped = {"x-llm-d-request-dropped-reason": "rejected-saturated"}
    reading = read(body, status=429, headers=dropped)
    assert reading.kind == "status 429 (rejected-saturated)"
    assert reading.detail == "the fleet is full"
    assert read(b"<html>no", status=502, headers={}).detail == "<html>no"
    assert read(b'{"error": "no"}', status=500, headers={}).detail == '{"error": "no"}'


def test_the_first_failure_counts():
    reading = Reading(stream=True)
    reading.head(200, STREAM)
    reading.fail("timeout", "x" * 1000)
    reading.end(5)
    assert (reading.kind, len(reading.detail)) == ("timeout", 300)
