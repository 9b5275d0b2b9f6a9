"""Seeded fuzz of what the gateway reads: mutated bodies, streams and answers of engines.

    python -m tests.fuzz.bodies --cases 100000 --seed 1

Case ``i`` of seed ``s`` is the same everywhere. A failing one is printed with the command that
replays it alone (``--only``).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

import msgspec
from tests.fuzz.cases import run_all

from baseload.gateway.answers import StreamReader, read_answer, with_energy
from baseload.gateway.bodies import read_body, rewritten
from baseload.gateway.config import EFFORTS, Endpoint, Engine, ModelEntry
from baseload.gateway.effort import clamped, room_tokens, translated
from baseload.gateway.errors import RequestError

ENDPOINTS: tuple[Endpoint, ...] = ("chat", "completions", "responses", "embeddings")
ENGINES: tuple[Engine, ...] = (
    "vllm",
    "sglang",
    "tensorrt-llm",
    "llama.cpp",
    "ollama",
    "openai",
    "emulated",
)
MODEL = ModelEntry(name="m", efforts=EFFORTS, budgets={"low": 100, "high": -1})
ENERGY = b'{"energy_joules":12.5}'

ODD: tuple[object, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31 - 1,
    2**63,
    10**30,
    1.5,
    1e300,
    "",
    "yes",
    "low",
    "auto",
    "ünï \U0001f600 \n",
    [],
    [1, 2, 3],
    [[1], [2, 3]],
    ["a", "b"],
    {},
    {"type": "text", "text": "hi"},
    {"enable_thinking": False, "other": [1, {"x": 2}]},
    {"thinking_budget": 77},
    {"effort": "high", "summary": "auto"},
    {"type": "enabled", "budget_tokens": 50},
    {"include_usage": True},
)
NAMES = (
    "model",
    "messages",
    "prompt",
    "input",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "n",
    "best_of",
    "tools",
    "reasoning_effort",
    "reasoning",
    "thinking_token_budget",
    "thinking_budget_tokens",
    "chat_template_kwargs",
    "custom_params",
    "thinking",
    "think",
    "enable_thinking",
    "service_tier",
    "user",
    "instructions",
    "temperature",
)
RAW = (
    b"NaN",
    b"1e999",
    b"-0",
    b'"\\ud800"',
    b'"\xff"',
    b"[" * 3000 + b"]" * 3000,
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
    b"1" * 5000,
    b"01",
    b"nul",
    b"",
)


def good_body(draw: random.Random, endpoint: Endpoint) -> dict[str, object]:
    """A body that a client might send."""
    body: dict[str, object] = {"model": "m"}
    if endpoint == "chat":
        part = {"type": draw.choice(["text", "image_url", "input_audio"]), "text": "hm"}
        body["messages"] = [{"role": "user", "content": draw.choice(["hi", [part, part], None])}]
    elif endpoint == "responses":
        item = {"role": "user", "content": [{"type": "input_text", "text": "hi"}]}
        body["input"] = draw.choice(
            ["hi", [item], [{"type": "function_call_output", "output": "x"}]]
        )
    else:
        name = "prompt" if endpoint == "completions" else "input"
        body[name] = draw.choice(["hi", ["a", "b"], [1, 2], [[1], [2]]])
    return body


def body_case(draw: random.Random) -> tuple[Endpoint, bytes]:
    """An endpoint and the bytes that are sent to it."""
    endpoint = draw.choice(ENDPOINTS)
    body = good_body(draw, endpoint)
    for _ in range(draw.randrange(5)):
        body[draw.choice(NAMES)] = draw.choice(ODD)
    raw = msgspec.json.encode({k: v for k, v in body.items() if not too_big(v)})
    if draw.random() < 0.3:
        field = f',"{draw.choice(NAMES)}":'.encode() + draw.choice(RAW)
        raw = raw[:-1] + field + b"}"
    return endpoint, mutated(draw, raw) if draw.random() < 0.4 else raw


def too_big(value: object) -> bool:
    """What the encoder cannot write as a number."""
    return isinstance(value, int) and value >= 2**64


def mutated(draw: random.Random, raw: bytes) -> bytes:
    """``raw`` with bytes cut, doubled, flipped, put in."""
    data = bytearray(raw)
    for _ in range(1 + draw.randrange(4)):
        at = draw.randrange(len(data) + 1)
        how = draw.randrange(5)
        if how == 0:
            del data[at : at + draw.randrange(20)]
        elif how == 1 and at < len(data):
            data[at] = draw.randrange(256)
        elif how == 2:
            data[at:at] = data[at : at + draw.randrange(30)]
        elif how == 3:
            data[at:at] = draw.choice(
                [b"\x00", b"\xff", b'"', b"}", b"\n\n", b"\r\n", b"null", b"-"]
            )
        else:
            del data[at:]
    return bytes(data)


def check_body(draw: random.Random) -> None:
    """A body is read or refused with 400; what is changed is changed, the rest stays."""
    endpoint, raw = body_case(draw)
    engine, effort = draw.choice(ENGINES), draw.choice((None, *EFFORTS))
    try:
        asked = read_body(endpoint, raw)
        told = translated(engine, MODEL, effort, asked=asked)
    except RequestError as error:
        check_refusal(error)
        return
    if asked.max_tokens is not None and told.budget_tokens is not None:
        assert told.budget_tokens <= room_tokens(asked.max_tokens) < asked.max_tokens
        assert told.budget_tokens == clamped(told.budget_tokens, asked.max_tokens)
    new = rewritten(raw, told.changes, told.removed)
    before, after = top_level(raw), top_level(new)
    for name, value in before.items():
        if name not in told.changes and name not in told.removed:
            assert after[name] == value, name
    assert set(after) <= set(before) | set(told.changes)
    assert effort is None or not after.keys() & set(told.removed)
    assert rewritten(new, told.changes, told.removed) is new
    read_body(endpoint, new)


def check_refusal(refusal: RequestError) -> None:
    """A refusal is the client's fault and says something."""
    assert refusal.status == 400, refusal
    assert msgspec.json.decode(refusal.body())["error"]["message"], refusal


def top_level(raw: bytes) -> dict[str, bytes]:
    """The fields of a JSON object, as bytes."""
    read = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    return {name: bytes(value) for name, value in read.items()}


def chat_events(draw: random.Random) -> list[bytes]:
    """The events of a stream of chat, all sane."""
    events: list[dict[str, object]] = [{"role": "assistant", "content": ""}]
    thinking = draw.choice(["reasoning", "reasoning_content"])
    events += [{thinking: "hm"}] * draw.randrange(4)
    events += [{"content": draw.choice([" a", "\n", "ü", '"usage": {'])}] * draw.randrange(5)
    if draw.random() < 0.2:
        events.append({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]})
    chunks: list[object] = [chunk(delta, None) for delta in events]
    chunks.append(chunk({}, draw.choice(["stop", "length", "tool_calls"])))
    if draw.random() < 0.7:
        usage = {"prompt_tokens": 5, "completion_tokens": draw.choice([len(events), -3, None])}
        chunks.append({"choices": [], "usage": usage})
    ending = draw.choice([b"\n\n", b"\r\n\r\n"])
    lead = draw.choice([b"data: ", b"data:"])
    out = [lead + msgspec.json.encode(one) + ending for one in chunks]
    if draw.random() < 0.2:
        out.insert(draw.randrange(len(out)), b": ping" + ending)
    if draw.random() < 0.8:
        out.append(lead + b"[DONE]" + ending)
    return out


def chunk(delta: dict[str, object], finish: str | None) -> dict[str, object]:
    """One chunk of chat."""
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def response_events(draw: random.Random) -> list[bytes]:
    """The events of a Responses stream, all sane."""
    types = ["response.reasoning_text.delta"] * draw.randrange(3)
    types += ["response.output_text.delta"] * draw.randrange(4)
    events: list[dict[str, object]] = [{"type": "response.created", "response": {"status": "x"}}]
    events += [{"type": one, "delta": "a"} for one in types]
    last = draw.choice(["completed", "incomplete", "failed"])
    usage = {"input_tokens": 3, "output_tokens": len(types)}
    response = {"status": last, "output": [], "usage": usage}
    events.append({"type": f"response.{last}", "response": response})
    return [
        f"event: {one['type']}\n".encode() + b"data: " + msgspec.json.encode(one) + b"\n\n"
        for one in events
    ]


def read_all(
    engine: Engine, endpoint: Endpoint, pieces: list[bytes], *, keep: bool, energy: bytes | None
) -> tuple[bytes, tuple[object, ...]]:
    """What a reader hands on of a stream in ``pieces``, and all it says of it."""
    reader = StreamReader(engine, endpoint, keep_usage=keep, line_bytes=20_000)
    out, tokens = bytearray(), 0
    for piece in pieces:
        handed, seen = reader.feed(piece)
        out += handed
        tokens += seen
    out += reader.end(energy)
    assert reader.end(energy) == b""
    assert tokens <= reader.tokens
    said = (
        reader.tokens,
        reader.usage,
        reader.finish,
        reader.exhausted,
        reader.answered,
        reader.tool_calls,
        reader.broken,
        reader.error,
    )
    return bytes(out), said


def pieces_of(draw: random.Random, data: bytes) -> list[bytes]:
    """``data`` cut anywhere."""
    if not data:
        return []
    cuts = sorted(draw.randrange(len(data) + 1) for _ in range(draw.randrange(12)))
    ends = [*cuts, len(data)]
    return [data[start:end] for start, end in zip([0, *cuts], ends, strict=True)]


def check_stream(draw: random.Random) -> None:
    """Any stream, cut anywhere, is read the same; a sane one comes out as it went in."""
    endpoint: Endpoint = draw.choice(["chat", "responses"])
    events = chat_events(draw) if endpoint == "chat" else response_events(draw)
    data = b"".join(events)
    sane = draw.random() < 0.4
    if not sane:
        data = mutated(draw, data)
    keep = draw.random() < 0.5
    energy = draw.choice([None, ENERGY])
    engine = draw.choice(ENGINES)
    whole, said = read_all(engine, endpoint, [data], keep=keep, energy=energy)
    cut, said_cut = read_all(engine, endpoint, pieces_of(draw, data), keep=keep, energy=energy)
    assert said == said_cut, (said, said_cut)
    assert said[6] is not None or whole == cut
    if sane and said[6] is None and keep and energy is None and b"[DONE]" in data:
        assert whole == data
    if said[6] is None and energy is not None:
        assert whole.count(b": energy ") == 1


def check_answer(draw: random.Random) -> None:
    """Any whole answer is read without an error of ours; energy goes in beside all else."""
    finish = draw.choice(["stop", "length", None, 5])
    message = {"content": draw.choice(["hi", "", None, [], 3]), "reasoning": "hm"}
    answer: dict[str, object] = {
        "choices": draw.choice([[], [{"message": message, "finish_reason": finish}], None, "x"]),
        "usage": draw.choice([None, {"prompt_tokens": -1, "completion_tokens": 1.5}, {}, 7]),
    }
    for _ in range(draw.randrange(3)):
        answer[draw.choice(["error", "data", "output", "status", "usage"])] = draw.choice(ODD[:8])
    body = msgspec.json.encode(answer)
    if draw.random() < 0.5:
        body = mutated(draw, body)
    read = read_answer(draw.choice(ENGINES), draw.choice(ENDPOINTS), body)
    assert read.usage.output_tokens >= -1
    new = with_energy(body, ENERGY)
    if read.broken is None:
        before, after = top_level(body), top_level(new)
        assert after.pop("energy") == ENERGY
        assert after == before or before.pop("energy", None) is not None


CHECKS: tuple[Callable[[random.Random], None], ...] = (
    check_body,
    check_body,
    check_stream,
    check_answer,
)


def run_case(seed: int, case: int) -> list[str]:
    """One case. Raises ``AssertionError``, or whatever must not be raised."""
    draw = random.Random(f"{seed}/{case}")
    check = CHECKS[case % len(CHECKS)]
    check(draw)
    return [check.__name__]


def main(arguments: list[str] | None = None) -> int:
    """Run cases; 1 and the command that replays the failing one, if one does."""
    return run_all(arguments, module="tests.fuzz.bodies", about=__doc__, run_case=run_case)


if __name__ == "__main__":
    sys.exit(main())
