"""How long an emulated engine answers, and with what."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.config import EFFORTS, TOKENS_FACTOR
from baseload.gateway.emulated.plan import LOG_SPREAD, Manner, plans_of, thinking_of
from baseload.gateway.emulated.requests import RefusedError, read_wanted
from baseload.workload.lengths import PRIOR_TOKENS

THINKER = Manner(thinking="switched")


def wanted_of(text="hello", **fields):
    body = {"messages": [{"role": "user", "content": text}], **fields}
    return read_wanted("chat", msgspec.json.encode(body))


def plan_of(manner, text="hello", **fields):
    return plans_of(wanted_of(text, **fields), manner)[0]


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("meta-llama/Llama-3.1-8B", "never"),
        ("Qwen/Qwen3-8B", "switched"),
        ("Qwen/Qwen3-Coder-30B-A3B", "never"),
        ("Qwen/QwQ-32B", "always"),
        ("openai/gpt-oss-20b", "always"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "always"),
        ("deepseek-ai/DeepSeek-V3", "never"),
        ("deepseek-ai/DeepSeek-V3.1", "switched"),
    ],
)
def test_who_thinks_is_told_by_the_name(model, thinking):
    assert thinking_of(model) == thinking


@given(
    most=st.integers(1, 3000),
    budget=st.none() | st.integers(0, 500),
    effort=st.none() | st.sampled_from(EFFORTS),
    exact=st.booleans(),
    thinking=st.sampled_from(["never", "switched", "always"]),
    text=st.text(max_size=5),
)
def test_lengths_stay_within_what_was_asked(most, budget, effort, exact, thinking, text):
    fields = {"max_tokens": most, "ignore_eos": exact}
    fields |= {} if budget is None else {"thinking_token_budget": budget}
    fields |= {} if effort is None else {"reasoning_effort": effort}
    plan = plan_of(Manner(thinking=thinking), text, **fields)
    assert 1 <= plan.tokens <= most
    assert 0 <= plan.thinking_tokens <= plan.tokens
    assert budget is None or plan.thinking_tokens <= budget
    if exact:
        assert (plan.tokens, plan.finish) == (most, "length")
        assert plan.shown_tokens >= 1
    if plan.finish == "stop":
        assert plan.shown_tokens >= 1
    if thinking == "never" or (thinking == "switched" and effort == "none"):
        assert plan.thinking_tokens == 0
    elif budget is None and not exact:
        assert plan.thinking_tokens >= 1


def mean_of(manner, **fields):
    plans = [plan_of(manner, f"request {n}", **fields) for n in range(1500)]
    thinking = sum(plan.thinking_tokens for plan in plans) / len(plans)
    return thinking, sum(plan.shown_tokens for plan in plans) / len(plans)


def test_mean_lengths_are_those_of_the_default_workload():
    slack = 4 * math.sqrt((math.exp(LOG_SPREAD**2) - 1) / 1500)
    assert mean_of(Manner())[1] == pytest.approx(PRIOR_TOKENS["chat"], rel=slack)
    for effort in ("low", "high"):
        thinking, answer = mean_of(THINKER, reasoning_effort=effort)
        whole = PRIOR_TOKENS["reasoning"] * TOKENS_FACTOR[effort]
        assert thinking + answer == pytest.approx(whole, rel=slack)


def test_same_seed_same_request_same_words():
    first, again = plan_of(THINKER), plan_of(THINKER)
    assert first.tokens == again.tokens
    assert first.text.whole(50) == again.text.whole(50)
    streamed = plan_of(THINKER, stream=True, temperature=0.3)
    assert streamed.text.whole(50) == first.text.whole(50)
    others = [
        plan_of(Manner(thinking="switched", seed=1)),
        plan_of(THINKER, "hello!"),
        plan_of(THINKER, seed=5),
        plans_of(wanted_of(n=2), THINKER)[1],
    ]
    assert all(other.text.whole(50) != first.text.whole(50) for other in others)


def test_thinking_can_take_all_there_is():
    plan = plan_of(Manner(thinking="always"), max_tokens=5)
    assert (plan.thinking_tokens, plan.shown_tokens, plan.finish) == (5, 0, "length")


def test_one_that_always_thinks_does_so_at_the_least_when_told_not_to():
    asked = {"reasoning_effort": "none"}
    thinking, _ = mean_of(Manner(thinking="always"), **asked)
    assert 0 < thinking < 0.2 * PRIOR_TOKENS["reasoning"]


SCHEMA = {"type": "object", "properties": {"celsius": {"type": "number"}}, "required": ["celsius"]}
TOOL = {"type": "function", "function": {"name": "warm", "parameters": SCHEMA}}


def test_a_call_that_must_be_made_has_arguments_that_fit():
    plan = plan_of(Manner(), tools=[TOOL], tool_choice="required")
    arguments = json.loads(json.loads(b'"' + plan.text.whole(plan.shown_tokens - 1) + b'"'))
    assert (plan.call, plan.finish) == ("warm", "tool_calls")
    assert list(arguments) == ["celsius"]
    named = {"type": "function", "function": {"name": "warm"}}
    assert plan_of(Manner(), tools=[TOOL], tool_choice=named).finish == "stop"


def test_tools_that_may_be_called_sometimes_are():
    calls = [plan_of(Manner(), f"r{n}", tools=[TOOL]).call for n in range(200)]
    assert 30 < calls.count("warm") < 90
    assert not any(
        plan_of(Manner(), f"r{n}", tools=[TOOL], tool_choice="none").call for n in range(50)
    )


def test_json_is_whole_and_exact_lengths_are_filled_with_blanks():
    asked = {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}
    for more in ({}, {"max_tokens": 90, "ignore_eos": True}):
        for manner in (Manner(), THINKER):
            plan = plan_of(manner, **asked, **more)
            text = json.loads(b'"' + plan.text.whole(plan.shown_tokens) + b'"')
            assert list(json.loads(text)) == ["celsius"]


def test_a_stop_word_ends_the_answer():
    whole = plan_of(Manner(), reasoning_effort="none")
    word = whole.text.piece(5).decode()
    plan = plan_of(Manner(), stop=word)
    assert plan.finish == "stop"
    assert plan.tokens <= 6
    assert word not in plan.text.whole(plan.tokens).decode()


def test_the_context_has_an_end():
    short = Manner(longest_tokens=100)
    assert plan_of(short, "x" * 360, ignore_eos=True).tokens <= 100 - 94
    with pytest.raises(RefusedError, match="maximum context length is 100 tokens") as caught:
        plan_of(short, "x" * 360, max_tokens=50)
    assert (caught.value.status, caught.value.param) == (400, "messages")
    with pytest.raises(RefusedError, match="requested 104 tokens"):
        plan_of(short, "x" * 400)


def test_each_prompt_and_choice_has_an_answer():
    body = b'{"prompt":["a","b","c"],"n":2,"max_tokens":3}'
    plans = plans_of(read_wanted("completions", body), THINKER)
    assert len(plans) == 6
    assert len({plan.text.whole(3) for plan in plans}) == 6
    assert all(plan.thinking_tokens == 0 for plan in plans)
    many = msgspec.json.encode({"prompt": ["a"] * 4097})
    with pytest.raises(RefusedError, match="4097 sequences"):
        plans_of(read_wanted("completions", many), THINKER)
