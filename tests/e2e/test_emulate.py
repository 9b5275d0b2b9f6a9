"""`baseload emulate` as a process of its own, asked by the official client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import openai
import pytest

pytestmark = pytest.mark.e2e

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city", "days"],
        },
    },
}
ASK = [{"role": "user", "content": "How warm is it?"}]


class Emulated:
    """The command, running; ``urls`` of its replicas."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "baseload", "emulate", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.urls: list[str] = []
        self.clients: dict[int, openai.OpenAI] = {}
        for line in self.process.stdout:
            if line.startswith("ready: "):
                break
            self.urls.append(line.split()[0])
        else:
            raise AssertionError(self.process.stderr.read())

    def client(self, number: int = 0) -> openai.OpenAI:
        if number not in self.clients:
            url = self.urls[number]
            self.clients[number] = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        return self.clients[number]

    def get(self, path: str, number: int = 0) -> bytes:
        root = self.urls[number].removesuffix("/v1")
        with urllib.request.urlopen(root + path, timeout=30) as answer:
            return answer.read()

    def post(self, path: str, body: bytes = b"", number: int = 0) -> bytes:
        root = self.urls[number].removesuffix("/v1")
        request = urllib.request.Request(root + path, data=body, method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> tuple[int, str]:
        _, said = self.process.communicate(timeout=30)
        for client in self.clients.values():
            client.close()
        return self.process.returncode, said


@pytest.fixture(scope="module")
def emulated():
    """A model that thinks unless told not to."""
    wanted = ("--type", "h100-qwen3-8b", "--model-name", "qwen", "--replicas", "2", "--speed", "5")
    running = Emulated(*wanted)
    yield running
    code, said = running.end()
    assert (code, said) == (0, "")


def test_the_official_client_chats(emulated):
    client = emulated.client()
    assert [model.id for model in client.models.list()] == ["qwen"]
    answer = client.chat.completions.create(
        model="qwen", messages=ASK, max_tokens=40, reasoning_effort="none", seed=1
    )
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens <= 40
    again = emulated.client(1).chat.completions.create(
        model="qwen", messages=ASK, max_tokens=40, reasoning_effort="none", seed=1
    )
    assert again.choices[0].message.content == answer.choices[0].message.content


def test_it_streams_thinking_then_text_then_usage(emulated):
    stream = emulated.client().chat.completions.create(
        model="qwen",
        messages=ASK,
        max_tokens=60,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"thinking_token_budget": 20, "ignore_eos": True},
    )
    thoughts, text, usage = [], [], None
    for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            thought = getattr(choice.delta, "reasoning_content", None)
            assert not (thought and text)
            thoughts += [thought] if thought else []
            text += [choice.delta.content] if choice.delta.content else []
    assert usage.completion_tokens == 60 == len(thoughts) + len(text)
    assert usage.completion_tokens_details.reasoning_tokens == len(thoughts) <= 20


def test_it_calls_tools_streamed_or_not(emulated):
    asked = {
        "model": "qwen",
        "messages": ASK,
        "tools": [WEATHER],
        "tool_choice": "required",
        "reasoning_effort": "none",
    }
    answer = emulated.client().chat.completions.create(**asked).choices[0]
    assert answer.finish_reason == "tool_calls"
    arguments = json.loads(answer.message.tool_calls[0].function.arguments)
    assert arguments["days"] >= 1
    said, name = "", None
    for chunk in emulated.client().chat.completions.create(**asked, stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            name = name or call.function.name
            said += call.function.arguments or ""
    assert (name, json.loads(said)) == ("weather", arguments)


def test_responses_completions_and_embeddings(emulated):
    client = emulated.client()
    response = client.responses.create(
        model="qwen", input="How warm is it?", reasoning={"effort": "none"}, max_output_tokens=30
    )
    assert response.output_text
    kinds = []
    with client.responses.stream(model="qwen", input="hi", max_output_tokens=900) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.usage.output_tokens == sum(kind.endswith("_text.delta") for kind in kinds)
    text = client.completions.create(model="qwen", prompt="one two", max_tokens=8)
    assert text.choices[0].text
    rows = client.embeddings.create(model="qwen", input=["a", "b"], dimensions=16).data
    assert len(rows[1].embedding) == 16


def test_errors_are_those_the_client_knows(emulated):
    client = emulated.client()
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.chat.completions.create(model="other", messages=ASK)
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.chat.completions.create(model="qwen", messages=ASK, max_tokens=10**6)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        emulated.post("/emulated/fault", b'{"kind":"die"}')


def test_a_client_that_leaves_stops_its_answer(emulated):
    meters = json.loads(emulated.get("/emulated/meters", 1))
    with emulated.client(1).chat.completions.create(
        model="qwen", messages=ASK, max_tokens=30_000, stream=True, extra_body={"ignore_eos": True}
    ) as stream:
        next(iter(stream))
    for _ in range(1000):
        now = json.loads(emulated.get("/emulated/meters", 1))
        if now["left"] > meters["left"]:
            break
    assert now["left"] == meters["left"] + 1
    assert b"vllm:num_requests_running" in emulated.get("/metrics", 1)


def test_many_at_once_share_the_steps(emulated):
    """Twenty together take little longer than one alone: they are one batch."""

    async def go(count):
        async with openai.AsyncOpenAI(base_url=emulated.urls[0], api_key="none") as client:
            calls = (
                client.chat.completions.create(
                    model="qwen",
                    messages=ASK,
                    max_tokens=400,
                    reasoning_effort="none",
                    extra_body={"ignore_eos": True},
                )
                for _ in range(count)
            )
            before = json.loads(emulated.get("/emulated/meters"))["busy_s"]
            await asyncio.gather(*calls)
            return json.loads(emulated.get("/emulated/meters"))["busy_s"] - before

    alone_s, together_s = asyncio.run(go(1)), asyncio.run(go(20))
    assert together_s < 3.0 * alone_s


def test_sleep_and_wake(emulated):
    emulated.post("/sleep?level=1", number=1)
    assert emulated.get("/is_sleeping", 1) == b'{"is_sleeping":true}'
    emulated.post("/wake_up", number=1)
    assert emulated.get("/is_sleeping", 1) == b'{"is_sleeping":false}'
    assert b'state="waking"} 0.0' not in emulated.get("/metrics", 1)


def test_ctrl_c_ends_it_with_130_even_while_it_answers():
    running = Emulated("--speed", "0.01", "--seed", "3")
    with running.client().chat.completions.create(
        model="meta-llama/Llama-3.1-8B", messages=ASK, max_tokens=500, stream=True
    ):
        code, said = running.end(signal.SIGINT)
    assert (code, said) == (130, "baseload: interrupted\n")


def test_faults_when_allowed_and_an_engine_that_dies():
    running = Emulated("--faults", "--speed", "5")
    running.post("/emulated/fault", b'{"kind":"error429","count":1}')
    asked = {"model": "meta-llama/Llama-3.1-8B", "messages": ASK, "max_tokens": 20}
    with pytest.raises(openai.RateLimitError) as caught:
        running.client().chat.completions.create(**asked)
    assert caught.value.response.headers["retry-after"] == "1"
    running.post("/emulated/fault", b'{"kind":"drop_after","after_tokens":5,"count":2}')
    with pytest.raises(openai.APIError):
        running.client().chat.completions.create(**asked)
    with pytest.raises(openai.APIError):
        list(running.client().chat.completions.create(**asked, stream=True))
    with pytest.raises(OSError, match=r"closed|reset"):
        running.post("/emulated/fault", b'{"kind":"die"}')
    assert running.ended() == (70, "")


def test_a_port_that_is_taken_is_one_clear_message(emulated):
    port = emulated.urls[0].removesuffix("/v1").rsplit(":", 1)[1]
    command = [sys.executable, "-m", "baseload", "emulate", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert "Traceback" not in done.stderr
