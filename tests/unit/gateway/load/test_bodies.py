"""The bodies that a replay sends."""

from __future__ import annotations

import json

import pytest
from made_loads import EACH_SECOND

from baseload.gateway.load.bodies import BYTES_PER_TOKEN, Bodies, Style
from baseload.gateway.load.plan import LoadPlan, Planned
from baseload.workload.tiers import DEFAULT_TIERS


def plan_with(*lengths):
    requests = tuple(
        Planned(number=number, due_ns=0, input_tokens=given, output_tokens=made, tier="bulk")
        for number, (given, made) in enumerate(lengths)
    )
    return LoadPlan(trace=EACH_SECOND, requests=requests, promises=DEFAULT_TIERS)


def bodies(*lengths, seed=0, **style):
    plan = plan_with(*lengths)
    maker = Bodies(plan, Style(**style), seed=seed)
    return [maker.body(request) for request in plan.requests]


@pytest.mark.parametrize("tokens", [1, 3, 1000, 400_000])
def test_a_prompt_is_as_long_as_recorded(tokens):
    body = json.loads(bodies((tokens, 5))[0])
    (message,) = body["messages"]
    assert message["role"] == "user"
    assert len(message["content"].encode()) == BYTES_PER_TOKEN * tokens


def test_words_are_about_one_token_each():
    """Common words with their blank are a token in most vocabularies: as many as asked for."""
    text = json.loads(bodies((10_000, 5))[0])["messages"][0]["content"]
    assert len(text.split()) == pytest.approx(10_000, rel=0.1)


def test_the_length_of_the_answer_is_fixed_unless_left_free():
    fixed, free = (json.loads(bodies((9, 77), fixed_lengths=each)[0]) for each in (True, False))
    assert (fixed["max_tokens"], fixed["min_tokens"], fixed["ignore_eos"]) == (77, 77, True)
    assert free["max_tokens"] == 77
    assert not {"min_tokens", "ignore_eos"} & set(free)


def test_streams_ask_for_usage_and_effort_is_handed_on():
    body = json.loads(bodies((9, 7), effort="low", model='a "model"')[0])
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["reasoning_effort"] == "low"
    assert body["model"] == 'a "model"'
    whole = json.loads(bodies((9, 7), stream=False)[0])
    assert whole["stream"] is False
    assert not {"stream_options", "reasoning_effort"} & set(whole)


def test_the_same_seed_gives_the_same_bytes_and_prompts_differ():
    same = bodies((50, 5), (50, 5), seed=4)
    assert same == bodies((50, 5), (50, 5), seed=4)
    assert same != bodies((50, 5), (50, 5), seed=5)
    assert same[0] != same[1]
