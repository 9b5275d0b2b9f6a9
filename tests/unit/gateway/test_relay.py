"""What goes to an engine: the client's bytes, but for the model's name, effort and usage."""

from __future__ import annotations

import json

import pytest
from fake_gateway import FakeFleet, FakeUpstream, chat, config_of

from baseload.gateway.bodies import read_body
from baseload.gateway.config import ModelEntry
from baseload.gateway.live_fleet import LiveOption
from baseload.gateway.live_request import LiveRequest, header_bytes, ways_of
from baseload.gateway.relay import engine_body, engine_words, refusal_of, stream_options
from baseload.gateway.wishes import Wishes


def sent(body, *, effort=None, endpoint="chat", **model):
    """What the engine gets of ``body``, and the live request."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    entry = ModelEntry(name="m", efforts=("low", "high"), **model)
    way = ways_of(FakeFleet(config_of(models=(entry,))), lambda replica: FakeUpstream(None))[0]
    option = LiveOption(name="m", model=entry, effort=effort, tokens_factor=1.0, right_frac=None)
    live = LiveRequest(
        1,
        read_body(endpoint, body),
        body,
        wishes=Wishes(),
        request_id="r",
        tier="fast",
        client="",
        say=None,
        hear=None,
        arrived_ns=0,
        answer_headers=[],
    )
    return engine_body(live, way, option), live


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"object":"error","message":"too long","code":400}', "too long"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"detail":[{"loc":["body","n"],"msg":"bad"}]}', '[{"loc":["body","n"],"msg":"bad"}]'),
        (b'{"error":"no such model"}', "no such model"),
        (b'{"code":1}', '{"code":1}'),
        (b'{"message":"\\ud83d\\ude00"}', "\U0001f600"),
    ],
)
def test_an_engine_s_refusal_is_said_in_openai_s_shape(answer, message):
    error = json.loads(refusal_of(400, answer))["error"]
    assert error == {
        "message": message, "type": "invalid_request_error", "param": None, "code": None,
    }  # fmt: skip


def test_a_refusal_that_has_that_shape_is_passed_on_as_it_is():
    answer = b'{"error": {"message": "m", "code": 400},  "more": 1.0e2}'
    assert refusal_of(400, answer) is answer
    assert [refusal_of(400, one) for one in (b"[]", b"no", b"", b'{"a":')] == [b""] * 4


def test_what_needs_no_change_is_the_very_same_object():
    body = json.dumps(chat()).encode()
    assert sent(body)[0] is body


def test_the_model_is_called_as_the_engine_calls_it():
    body = b'{"model":"m","messages":[{"role":"user","content":"m"}],"x": 1.0e2}'
    found = sent(body, upstream_name="org/up")[0]
    assert json.loads(found) == json.loads(body) | {"model": "org/up"}
    assert b"1.0e2" in found


def test_a_stream_is_asked_for_its_usage():
    assert json.loads(sent(chat(stream=True))[0])["stream_options"] == {"include_usage": True}
    body = chat(stream=True, stream_options={"include_usage": True})
    assert json.loads(sent(body)[0]) == body
    assert "stream_options" not in json.loads(sent(chat())[0])
    responses = {"model": "m", "input": "x", "stream": True}
    assert json.loads(sent(responses, endpoint="responses")[0]) == responses


def test_an_effort_is_said_in_the_engine_s_words_and_kept_for_the_answer():
    found, live = sent(chat(), effort="low")
    assert json.loads(found)["reasoning_effort"] == "low"
    assert live.applied["effort"] == "low"
    assert live.applied["budget_tokens"] > 0


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (b"{}", {"include_usage": True}),
        (b'{"stream_options":null}', {"include_usage": True}),
        (b'{"stream_options":{"include_usage":false}}', {"include_usage": True}),
    ],
)
def test_stream_options_are_added_to(body, options):
    assert stream_options(body) == options


def test_other_stream_options_stay():
    found = stream_options(b'{"stream_options":{"include_obfuscation":false}}')
    assert set(found) == {"include_obfuscation", "include_usage"}


def test_an_engine_s_error_under_a_good_status_is_passed_on_as_an_error():
    assert engine_words(b'{"message":"no"}') == (
        400,
        b"application/json",
        b'{"error":{"message":"no"}}',
    )
    assert engine_words(b"") is None
    assert engine_words(b'"no"') is None


def test_names_are_made_fit_for_headers():
    assert header_bytes("Qwen/Qwen3-32B") == b"Qwen/Qwen3-32B"
    assert header_bytes("a\r\nb: ä") == b"a??b: ?"
    assert len(header_bytes("x" * 999)) == 200
