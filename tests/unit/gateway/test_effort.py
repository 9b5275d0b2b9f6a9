"""One ladder, every engine's own fields, and room for the answer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.bodies import Asked, read_body, rewritten
from baseload.gateway.config import EFFORTS, Effort, Engine, ModelEntry
from baseload.gateway.effort import (
    ANSWER_TOKENS,
    BUDGET_TOKENS,
    CHAT,
    RESPONSES,
    Translation,
    check_effort,
    room_tokens,
    translated,
)
from baseload.gateway.errors import RequestError
from baseload.gateway.thinking import BUDGETS

MODEL = ModelEntry(name="m", efforts=EFFORTS)


def body_of(**fields: object) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"content": "hi"}]} | fields)


def sent(
    engine: Engine, effort: Effort | None, body: bytes, *, model: ModelEntry = MODEL
) -> tuple[dict[str, object], Translation]:
    """The fields that reach the engine beside model and messages, and the translation."""
    told = translated(engine, model, effort, asked=read_body("chat", body))
    new = msgspec.json.decode(rewritten(body, told.changes, told.removed))
    return {k: v for k, v in new.items() if k not in ("model", "messages", "max_tokens")}, told


ON = {"enable_thinking": True}
OFF = {"enable_thinking": False}


@pytest.mark.parametrize(
    ("engine", "low", "none"),
    [
        (
            "vllm",
            {"reasoning_effort": "low", "thinking_token_budget": 4096, "chat_template_kwargs": ON},
            {"reasoning_effort": "none", "chat_template_kwargs": OFF},
        ),
        (
            "emulated",
            {"reasoning_effort": "low", "thinking_token_budget": 4096, "chat_template_kwargs": ON},
            {"reasoning_effort": "none", "chat_template_kwargs": OFF},
        ),
        (
            "sglang",
            {
                "reasoning_effort": "low",
                "chat_template_kwargs": {"enable_thinking": True, "thinking_budget": 4096},
                "custom_params": {"thinking_budget": 4096},
            },
            {"reasoning_effort": "none", "chat_template_kwargs": OFF},
        ),
        (
            "tensorrt-llm",
            {"reasoning_effort": "low", "thinking_token_budget": 4096},
            {"chat_template_kwargs": OFF},
        ),
        (
            "llama.cpp",
            {"reasoning_effort": "low", "thinking_budget_tokens": 4096, "chat_template_kwargs": ON},
            {"reasoning_effort": "none", "thinking_budget_tokens": 0, "chat_template_kwargs": OFF},
        ),
        ("ollama", {"reasoning_effort": "low"}, {"reasoning_effort": "none"}),
        ("openai", {"reasoning_effort": "low"}, {"reasoning_effort": "none"}),
    ],
)
def test_the_fields_of_every_engine(
    engine: Engine, low: dict[str, object], none: dict[str, object]
) -> None:
    for asked in ({"reasoning_effort": "auto"}, {}, {"reasoning_effort": "high"}):
        assert sent(engine, "low", body_of(**asked))[0] == low
        assert sent(engine, "none", body_of(**asked))[0] == none


@pytest.mark.parametrize("engine", list(RESPONSES))
def test_responses_say_it_in_the_reasoning_object(engine: Engine) -> None:
    body = b'{"model":"m","input":"hi","reasoning":{ "summary" : "auto" ,"effort":"auto"}}'
    told = translated(engine, MODEL, "high", asked=read_body("responses", body))
    new = msgspec.json.decode(rewritten(body, told.changes, told.removed))
    assert new["reasoning"] == {"summary": "auto", "effort": "high"}
    assert "reasoning_effort" not in new
    assert told.applied["effort"] == "high"


@pytest.mark.parametrize(
    ("engine", "effort", "word"),
    [("ollama", "minimal", "low"), ("ollama", "xhigh", "high"), ("tensorrt-llm", "max", "high")],
)
def test_what_was_really_sent_is_told(engine: Engine, effort: Effort, word: str) -> None:
    fields, told = sent(engine, effort, body_of())
    assert fields["reasoning_effort"] == word
    assert told.applied["effort"] == effort
    assert told.applied["sent"] == word


@pytest.mark.parametrize(
    ("effort", "budget"),
    [("minimal", 1024), ("low", 4096), ("medium", 16384), ("high", 32768), ("xhigh", 65536)],
)
def test_budgets_of_efforts(effort: Effort, budget: int) -> None:
    assert sent("vllm", effort, body_of())[1].budget_tokens == budget
    own = ModelEntry(name="m", efforts=EFFORTS, budgets={effort: 7})
    assert sent("vllm", effort, body_of(), model=own)[1].budget_tokens == 7


def test_max_has_no_budget_but_the_room_there_is() -> None:
    assert "thinking_token_budget" not in sent("vllm", "max", body_of())[0]
    assert sent("vllm", "max", body_of(max_tokens=1000))[0]["thinking_token_budget"] == 750


def test_an_operator_can_do_without_budgets() -> None:
    """vLLM answers 400 to a budget where no reasoning parser is configured."""
    model = ModelEntry(name="m", efforts=EFFORTS, budgets={"low": -1})
    assert "thinking_token_budget" not in sent("vllm", "low", body_of(max_tokens=9), model=model)[0]


@given(st.integers(1, 2**31 - 1))
def test_the_answer_keeps_room(max_tokens: int) -> None:
    room = room_tokens(max_tokens)
    assert 0 <= room < max_tokens
    assert max_tokens - room <= ANSWER_TOKENS
    assert max_tokens - room >= min(ANSWER_TOKENS, max_tokens / 4)
    if max_tokens > 1:
        assert room >= room_tokens(max_tokens - 1)


def test_a_clamped_budget_says_so() -> None:
    fields, told = sent("vllm", "high", body_of(max_tokens=20_000))
    assert fields["thinking_token_budget"] == 20_000 - 4096
    assert told.applied == {
        "effort": "high",
        "budget_tokens": 15_904,
        "clamped_from_tokens": 32_768,
    }


def test_a_limit_below_the_clients_own_goes_before() -> None:
    asked = read_body("chat", body_of(max_tokens=20_000))
    assert translated("vllm", MODEL, "high", asked=asked, max_tokens=100).budget_tokens == 75


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm", "llama.cpp"])
@pytest.mark.parametrize(
    "field",
    [
        {"thinking_token_budget": 300},
        {"thinking_budget_tokens": 300},
        {"custom_params": {"thinking_budget": 300}},
        {"thinking": {"type": "enabled", "budget_tokens": 300}},
        {"reasoning": {"max_tokens": 300}},
    ],
    ids=str,
)
@pytest.mark.parametrize("effort", ["high", None])
def test_an_explicit_budget_wins_in_the_engines_own_spelling(
    engine: Engine, field: dict[str, object], effort: Effort | None
) -> None:
    fields, told = sent(engine, effort, body_of(**field))
    assert told.budget_tokens == 300
    flat = {
        path if inner is None else f"{path}.{inner}": value
        for path, top in fields.items()
        for inner, value in (top.items() if isinstance(top, dict) else [(None, top)])
    }
    held = {path for path, value in flat.items() if value == 300}
    assert held == set(CHAT[engine].budgets)
    cut = sent(engine, effort, body_of(max_tokens=100, **field))[1]
    assert cut.budget_tokens == 75
    assert cut.applied["clamped_from_tokens"] == 300


def test_an_engine_without_budgets_gets_the_clients_own_spelling_clamped() -> None:
    body = body_of(thinking={"type": "enabled", "budget_tokens": 300}, max_tokens=100)
    assert sent("openai", None, body)[0] == {"thinking": {"type": "enabled", "budget_tokens": 75}}
    assert "thinking" not in sent("vllm", None, body)[0]


def test_without_limit_means_all_the_room_or_nothing_sent() -> None:
    assert sent("vllm", "low", body_of(thinking_token_budget=-1))[1].budget_tokens is None
    body = body_of(thinking_token_budget=-1, max_tokens=100)
    assert sent("vllm", "low", body)[1].budget_tokens == 75


def test_other_fields_of_an_object_keep_their_bytes() -> None:
    body = (
        b'{"model":"m","messages":[{"content":"x"}],"chat_template_kwargs":'
        b'{"a": 1.50, "enable_thinking": false, "b" :[ 1 ]},"reasoning_effort":"none"}'
    )
    told = translated("vllm", MODEL, "none", asked=read_body("chat", body))
    new = rewritten(body, told.changes, told.removed)
    assert b'"chat_template_kwargs":{"a":1.50,"b":[ 1 ],"enable_thinking":false}' in new


def test_as_asked_nothing_is_touched() -> None:
    body = body_of(reasoning_effort="low", chat_template_kwargs={"enable_thinking": True})
    asked = read_body("chat", body)
    told = translated("vllm", MODEL, None, asked=asked)
    assert rewritten(body, told.changes, told.removed) is body
    assert told.applied == {"effort": "low"}
    assert sent("vllm", None, body_of(reasoning_effort="auto"))[0] == {}
    assert sent("vllm", None, body_of(reasoning={"effort": "auto"}))[0] == {}


@pytest.mark.parametrize("endpoint", ["completions", "embeddings"])
def test_surfaces_without_effort_are_left_alone(endpoint: str) -> None:
    asked = Asked(endpoint=endpoint, model="m")  # type: ignore[arg-type]
    assert translated("vllm", MODEL, "high", asked=asked) == Translation()


def test_an_effort_that_the_model_does_not_have() -> None:
    model = ModelEntry(name="m", efforts=("low", "high"))
    body = body_of(reasoning={"effort": "max"})
    with pytest.raises(RequestError, match="low, high, auto") as caught:
        translated("vllm", model, "max", asked=read_body("chat", body))
    assert caught.value.status == 400
    assert caught.value.param == "reasoning.effort"
    with pytest.raises(RequestError, match="no effort"):
        check_effort(ModelEntry(name="m"), "low")
    assert check_effort(model, "low") == "low"


@pytest.mark.parametrize("engine", list(CHAT))
@pytest.mark.parametrize(("effort", "thinks"), [("none", False), ("high", True)])
@pytest.mark.parametrize("said", [True, False])
def test_the_switch_that_a_template_reads_says_what_holds(
    engine: Engine, effort: Effort, thinks: bool, said: bool
) -> None:
    """Taken out, explicit thinking of DeepSeek's and Kimi's templates was off, or could not be."""
    body = body_of(chat_template_kwargs={"thinking": said})
    kwargs = sent(engine, effort, body)[0]["chat_template_kwargs"]
    assert isinstance(kwargs, dict)
    assert kwargs["thinking"] is thinks


@given(
    st.sampled_from(list(CHAT)),
    st.sampled_from([None, *EFFORTS]),
    st.dictionaries(
        st.sampled_from(["thinking_token_budget", "thinking_budget", "max_tokens"]),
        st.integers(1, 100_000),
    ),
    st.dictionaries(st.sampled_from(["enable_thinking", "thinking"]), st.booleans()),
)
def test_translating_what_was_translated_changes_nothing(
    engine: Engine, effort: Effort | None, numbers: dict[str, int], kwargs: dict[str, bool]
) -> None:
    body = body_of(**numbers, chat_template_kwargs={"other": 1} | kwargs)
    told = translated(engine, MODEL, effort, asked=read_body("chat", body))
    once = rewritten(body, told.changes, told.removed)
    again = translated(engine, MODEL, effort, asked=read_body("chat", once))
    assert rewritten(once, again.changes, again.removed) is once
    assert again.budget_tokens == told.budget_tokens
    if told.budget_tokens is not None and "max_tokens" in numbers:
        assert told.budget_tokens < numbers["max_tokens"]


def test_the_page_names_every_field_and_number() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "effort.md").read_text("utf-8")
    for spelling in (*CHAT.values(), *RESPONSES.values()):
        for path in (spelling.effort, spelling.switch or "", *spelling.budgets):
            assert path in page
    for path in (*BUDGETS, *EFFORTS):
        assert f"`{path}`" in page
    for tokens in (*BUDGET_TOKENS.values(), ANSWER_TOKENS, room_tokens(20_000)):
        assert f"{tokens:,}" in page
