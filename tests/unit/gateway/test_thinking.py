"""What clients say about thinking, in every known spelling."""

from __future__ import annotations

import msgspec
import pytest

from baseload.gateway.bodies import Asked, read_body
from baseload.gateway.errors import RequestError
from baseload.gateway.thinking import BUDGETS, LEVELS, SWITCHES


def asked(**fields: object) -> Asked:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | fields
    return read_body("chat", msgspec.json.encode(body))


def at(path: str, value: object) -> dict[str, object]:
    top, _, inner = path.partition(".")
    return {top: {inner: value} if inner else value}


def test_a_plain_effort_needs_no_more() -> None:
    assert asked(reasoning_effort="auto").thinking is None
    assert asked(reasoning_effort=None).effort is None


@pytest.mark.parametrize("path", LEVELS)
def test_every_spelling_of_an_effort(path: str) -> None:
    read = asked(**at(path, "high"))
    assert (read.effort, read.effort_field) == ("high", path)


@pytest.mark.parametrize("path", BUDGETS)
def test_every_spelling_of_a_budget(path: str) -> None:
    thinking = asked(**at(path, 77)).thinking
    assert thinking is not None
    assert (thinking.budget_tokens, thinking.budget_field) == (77, path)
    assert thinking.fields == (path,)
    with pytest.raises(RequestError, match="or -1 for no limit") as caught:
        asked(**at(path, -2))
    assert caught.value.param == path


@pytest.mark.parametrize("path", SWITCHES)
def test_every_spelling_of_the_switch(path: str) -> None:
    off = asked(**at(path, "disabled" if path == "thinking.type" else False))
    assert (off.effort, off.effort_field) == ("none", path)
    assert off.thinking is not None
    assert off.thinking.enabled is False
    on = asked(**at(path, "enabled" if path == "thinking.type" else True))
    assert on.effort is None
    assert on.thinking is not None
    assert on.thinking.enabled is True


def test_said_twice_the_least_thinking_holds() -> None:
    both = asked(thinking_token_budget=500, custom_params={"thinking_budget": 80}, think=True)
    assert both.thinking is not None
    assert both.thinking.budget_tokens == 80
    assert both.thinking.budget_field == "custom_params.thinking_budget"
    unlimited = asked(thinking_token_budget=-1, thinking_budget=0).thinking
    assert unlimited is not None
    assert unlimited.budget_tokens == 0
    off = asked(reasoning_effort="high", chat_template_kwargs={"enable_thinking": False})
    assert off.effort == "none"


def test_two_efforts_that_contradict_are_refused() -> None:
    with pytest.raises(RequestError, match="send one of them"):
        asked(reasoning_effort="high", reasoning={"effort": "low"})
    assert asked(reasoning_effort="high", reasoning={"effort": "high"}).effort == "high"


def test_objects_keep_their_bytes() -> None:
    body = b'{"model":"m","messages":[{"content":"x"}],"chat_template_kwargs":{ "a" : 1.0 }}'
    thinking = read_body("chat", body).thinking
    assert thinking is not None
    assert thinking.objects == {"chat_template_kwargs": b'{ "a" : 1.0 }'}
