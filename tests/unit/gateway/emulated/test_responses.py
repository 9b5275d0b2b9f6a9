"""``/v1/responses``: the events of a stream put together are the response."""

from __future__ import annotations

import asyncio
import json

import msgspec
from emulated_engines import ask, engine_on
from emulated_time import FakeTime
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.emulated.responses import ResponsesAnswer

TOOL = {"type": "function", "name": "weather", "parameters": {"properties": {"n": {"const": 3}}}}


def both_ways(thinking="never", **fields):
    async def go():
        time = FakeTime()
        engine = engine_on(time, thinking=thinking)
        body = {"input": "how warm is it?", **fields}
        streamed = msgspec.json.encode({**body, "stream": True})
        _, stream = await ask(time, engine, "/v1/responses", streamed)
        _, whole = await ask(time, engine, "/v1/responses", msgspec.json.encode(body))
        return stream, json.loads(whole)

    stream, whole = asyncio.run(go())
    events = []
    *parts, rest = stream.split(b"\n\n")
    assert rest == b""
    for part in parts:
        name, data = part.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        events.append(event)
    return events, whole


def without_ids(response):
    return json.loads(json.dumps(response).replace("0-1", "N").replace("0-2", "N"))


def text_of(events, kind):
    return "".join(event["delta"] for event in events if event["type"] == kind)


@given(
    thinking=st.sampled_from(["never", "always"]),
    most=st.none() | st.integers(1, 40),
    calls=st.booleans(),
)
def test_the_events_make_up_the_response(thinking, most, calls):
    fields = {} if most is None else {"max_output_tokens": most}
    if calls:
        fields |= {"tools": [TOOL], "tool_choice": "required"}
    events, whole = both_ways(thinking, **fields)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert events[-1]["type"] == "response.completed"
    response = without_ids(events[-1]["response"])
    assert response | {"created_at": 0} == without_ids(whole) | {"created_at": 0}
    kinds = {item["type"]: item for item in whole["output"]}
    added = [e["item"]["type"] for e in events if e["type"] == "response.output_item.added"]
    done = [e["item"]["type"] for e in events if e["type"] == "response.output_item.done"]
    assert added == done == [item["type"] for item in whole["output"]]
    if "reasoning" in kinds:
        thoughts = kinds["reasoning"]["content"][0]["text"]
        assert text_of(events, "response.reasoning_text.delta") == thoughts
    if "message" in kinds:
        said = kinds["message"]["content"][0]["text"]
        assert text_of(events, "response.output_text.delta") == said
    if "function_call" in kinds:
        arguments = kinds["function_call"]["arguments"]
        assert text_of(events, "response.function_call_arguments.delta") == arguments
        if whole["status"] == "completed":
            assert json.loads(arguments) == {"n": 3}
    usage = whole["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    if most is not None:
        assert usage["output_tokens"] <= most


def test_an_answer_that_was_cut_is_incomplete():
    _, whole = both_ways(max_output_tokens=2)
    assert whole["status"] == "incomplete"
    assert whole["incomplete_details"] == {"reason": "max_output_tokens"}
    assert ResponsesAnswer.whole.__doc__
