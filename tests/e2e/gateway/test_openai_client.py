"""OpenAI's official client, unchanged, through the gateway at emulated engines behind HTTP."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest
from tests.e2e.gateway.parts import Gateway, eventually, get

pytestmark = pytest.mark.e2e

HELLO = [{"role": "user", "content": "Hello, how are you today?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def client(gateway: Gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_chat_says_what_it_used_and_what_it_cost(client):
    answer = client.chat.completions.create(model="small", messages=HELLO, max_tokens=12)
    assert answer.choices[0].message.content
    assert 0 < answer.usage.completion_tokens <= 12
    energy = answer.model_extra["energy"]
    assert energy["energy_joules"] > 0
    assert energy["method"] == "modelled"
    assert energy["model"] == "small"


def test_headers_say_who_answered_and_why(client, gateway):
    raw = client.chat.completions.with_raw_response.create(
        model="any", messages=HELLO, max_tokens=4, extra_headers={"x-request-id": "mine-1"}
    )
    assert raw.headers["x-request-id"] == "mine-1"
    assert raw.headers["x-baseload-model"] in ("small", "large")
    assert float(raw.headers["x-baseload-price-usd"]) > 0
    assert "energy" in raw.headers["x-baseload-price-parts"]
    assert raw.parse().usage.completion_tokens <= 4
    decision = gateway.page(f"/v1/energy/decisions/{raw.headers['x-baseload-decision']}")
    (told,) = decision["decisions"]
    assert {one["option"] for one in told["candidates"]} == {"small", "large"}
    assert told["runner_up"]["price_usd"] >= told["price_usd"]


def test_a_stream_comes_in_pieces_with_usage_and_energy_at_its_end(client):
    chunks = list(
        client.chat.completions.create(
            model="small",
            messages=HELLO,
            max_tokens=20,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    words = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert sum(bool(word) for word in words) > 5
    usage = chunks[-1]
    assert not usage.choices
    assert usage.usage.completion_tokens <= 20
    assert usage.model_extra["energy"]["energy_joules"] > 0
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")


def test_who_did_not_ask_for_usage_gets_none_and_energy_as_a_comment(client):
    with client.chat.completions.with_streaming_response.create(
        model="small", messages=HELLO, max_tokens=6, stream=True
    ) as raw:
        lines = [line for line in raw.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    comment = next(line for line in lines if line.startswith(": energy "))
    assert json.loads(comment.removeprefix(": energy "))["energy_joules"] > 0
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert all(chunk["choices"] and not chunk.get("usage") for chunk in data)


def test_completions(client):
    answer = client.completions.create(model="small", prompt="Once upon a time", max_tokens=8)
    assert answer.choices[0].text
    streamed = client.completions.create(
        model="small", prompt="Once upon a time", max_tokens=8, stream=True
    )
    assert "".join(chunk.choices[0].text for chunk in streamed if chunk.choices)


def test_responses(client):
    answer = client.responses.create(model="large", input="Hello", max_output_tokens=60)
    assert answer.usage.output_tokens <= 60
    events = list(
        client.responses.create(
            model="large",
            input="Hello",
            max_output_tokens=60,
            reasoning={"effort": "low"},
            stream=True,
        )
    )
    assert events[0].type == "response.created"
    assert events[-1].type in ("response.completed", "response.incomplete")
    assert any(event.type == "response.output_text.delta" for event in events)


def test_embeddings_and_only_where_there_are_some(client):
    got = client.embeddings.create(model="embed", input=["one", "two"], dimensions=16)
    assert [len(item.embedding) for item in got.data] == [16, 16]
    assert got.data[0].embedding != got.data[1].embedding
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="small", input="one")


def test_models_and_the_virtual_ones(client):
    names = {model.id for model in client.models.list()}
    assert {"auto", "any", "small", "large", "embed"} <= names
    assert client.models.retrieve("large").id == "large"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("huge")


def test_tools_are_called_and_their_result_is_taken(client):
    asked = [{"role": "user", "content": "Weather in Paris?"}]
    answer = client.chat.completions.create(
        model="small", messages=asked, tools=[WEATHER], tool_choice="required", max_tokens=200
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert "city" in json.loads(call.function.arguments)
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    said = [*asked, answer.choices[0].message.model_dump(exclude_none=True), result]
    again = client.chat.completions.create(
        model="small", messages=said, tools=[WEATHER], tool_choice="none", max_tokens=20
    )
    assert again.choices[0].message.content
    streamed = client.chat.completions.create(
        model="small",
        messages=asked,
        tools=[WEATHER],
        tool_choice="required",
        max_tokens=200,
        stream=True,
    )
    parts = [
        call.function.arguments or ""
        for chunk in streamed
        if chunk.choices
        for call in chunk.choices[0].delta.tool_calls or []
    ]
    assert "city" in json.loads("".join(parts))


@pytest.mark.parametrize(("effort", "budget"), [("low", 16), ("medium", 48), ("high", 96)])
def test_an_effort_becomes_the_engine_s_budget(client, effort, budget):
    raw = client.chat.completions.with_raw_response.create(
        model="large", messages=HELLO, reasoning_effort=effort, max_tokens=400
    )
    assert raw.headers["x-baseload-effort"] == effort
    assert int(raw.headers["x-baseload-budget-tokens"]) == budget
    answer = raw.parse()
    message = answer.choices[0].message
    assert message.content
    assert message.model_extra["reasoning_content"]
    assert 0 < answer.usage.completion_tokens_details.reasoning_tokens <= budget


def test_no_effort_is_no_thinking(client):
    answer = client.chat.completions.create(
        model="large", messages=HELLO, reasoning_effort="none", max_tokens=50
    )
    assert answer.choices[0].message.content
    assert not (answer.choices[0].message.model_extra or {}).get("reasoning_content")


def test_auto_effort_is_the_gateway_s_choice_and_it_says_which(client):
    raw = client.chat.completions.with_raw_response.create(
        model="large", messages=HELLO, extra_body={"reasoning_effort": "auto"}, max_tokens=200
    )
    assert raw.headers["x-baseload-effort"] in ("none", "low", "medium", "high")


def test_a_budget_leaves_room_for_the_answer(client):
    raw = client.chat.completions.with_raw_response.create(
        model="large", messages=HELLO, reasoning_effort="high", max_tokens=40
    )
    assert int(raw.headers["x-baseload-budget-tokens"]) <= 30
    assert raw.parse().choices[0].message.content


def test_thinking_and_answer_stream_apart_and_in_order(client):
    chunks = client.chat.completions.create(
        model="large", messages=HELLO, reasoning_effort="low", max_tokens=200, stream=True
    )
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    kinds = [
        "thinking" if (delta.model_extra or {}).get("reasoning_content") else "answer"
        for delta in deltas
        if delta.content or (delta.model_extra or {}).get("reasoning_content")
    ]
    assert set(kinds) == {"thinking", "answer"}
    assert kinds == sorted(kinds, reverse=True)


def test_nonsense_effort_is_refused_with_the_list(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="large", messages=HELLO, extra_body={"reasoning_effort": "lots"}
        )
    assert caught.value.param == "reasoning_effort"
    assert "medium" in caught.value.message


def test_unknown_fields_reach_the_engine(client):
    """``ignore_eos`` and ``min_tokens`` are vLLM's own: only if they pass is the answer so long."""
    answer = client.chat.completions.create(
        model="small",
        messages=HELLO,
        max_tokens=37,
        extra_body={"ignore_eos": True, "min_tokens": 37, "nobody_knows": {"a": [1]}},
    )
    assert answer.usage.completion_tokens == 37


def test_an_unknown_model_is_a_404_with_those_there_are(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="smal", messages=HELLO)
    assert caught.value.code == "model_not_found"
    assert "small" in caught.value.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages"),
        ({"messages": HELLO, "max_tokens": -1}, "max_tokens"),
        ({"messages": HELLO, "stream": "yes"}, "stream"),
        ({"messages": HELLO, "n": 0}, "n"),
    ],
)
def test_a_malformed_body_names_its_field(client, body, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.post("/chat/completions", body={"model": "small", **body}, cast_to=object)
    assert caught.value.param.startswith(param)
    assert caught.value.type == "invalid_request_error"


def test_an_image_for_models_without_eyes_is_refused(client):
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model="small", messages=[{"role": "user", "content": [picture]}]
        )


def test_what_the_engine_refuses_is_passed_on_in_its_words(client):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model="small", messages=HELLO, max_tokens=5, extra_body={"n": 100_000}
        )


def test_a_client_that_leaves_frees_its_seat(client, gateway, plain):
    def running() -> float:
        pages = [get(f"{url}/metrics").decode() for url in plain.urls]
        lines = [line for page in pages for line in page.splitlines()]
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith("vllm:num_requests_running{")
        )

    before = gateway.total("baseload_requests_total", reason="cancelled")
    stream = client.chat.completions.create(
        model="small",
        messages=HELLO,
        max_tokens=8000,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    eventually(lambda: running() == 1, what="the engine works at it")
    stream.close()
    eventually(lambda: running() == 0, what="the engine has stopped")
    eventually(
        lambda: gateway.total("baseload_requests_total", reason="cancelled") == before + 1,
        what="the gateway has counted it",
    )
    assert gateway.total("baseload_requests_in_flight") == 0


def test_fifty_streams_at_once(gateway):
    async def one(client: openai.AsyncOpenAI, at: int) -> int:
        stream = await client.chat.completions.create(
            model="any" if at % 2 else "small",
            messages=[{"role": "user", "content": f"{at}: count"}],
            max_tokens=30 + at,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
        used = None
        async for chunk in stream:
            used = chunk.usage or used
        assert used.completion_tokens == 30 + at
        return used.completion_tokens

    async def all_of_them() -> list[int]:
        async with openai.AsyncOpenAI(
            base_url=f"{gateway.url}/v1", api_key="none", max_retries=0
        ) as client:
            return await asyncio.gather(*[one(client, at) for at in range(50)])

    assert asyncio.run(all_of_them()) == [30 + at for at in range(50)]
    assert gateway.total("baseload_requests_in_flight") == 0
