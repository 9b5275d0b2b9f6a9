"""What a request says about thinking, whichever of the known spellings it uses.

Where a client says a thing several times, the least thinking holds: off before on, the lowest
budget.
"""

from __future__ import annotations

import msgspec

from .body_fields import ThinkingFields
from .config import EFFORTS
from .errors import RequestError, bad_field, shown

ASKED_EFFORTS = ("auto", *EFFORTS)
"""What a client may say: a rung of the ladder, or ``auto``: the gateway chooses."""

MOST_TOKENS = 2**31 - 1
"""The largest number of tokens that engines can read."""

BUDGETS = (
    "thinking_token_budget",
    "thinking_budget_tokens",
    "reasoning_budget_tokens",
    "thinking_budget",
    "chat_template_kwargs.thinking_budget",
    "custom_params.thinking_budget",
    "reasoning.max_tokens",
    "thinking.budget_tokens",
)
"""Fields that hold a budget of thinking tokens."""

SWITCHES = (
    "chat_template_kwargs.enable_thinking",
    "chat_template_kwargs.thinking",
    "enable_thinking",
    "reasoning.enabled",
    "think",
    "thinking.type",
)
"""Fields that turn thinking on or off."""

LEVELS = ("reasoning_effort", "reasoning.effort", "chat_template_kwargs.reasoning_effort", "think")
"""Fields that hold an effort."""

OBJECTS = ("reasoning", "thinking", "chat_template_kwargs", "custom_params")
"""Fields that are objects: what is said there is changed in place, their other fields stay."""


class AskedThinking(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a body says about thinking beside its effort.

    ``fields``: every field that says something, dotted (``chat_template_kwargs.enable_thinking``).
    ``budget_tokens``: the explicit budget, -1 for "no limit", ``None`` where none is given; said
    in ``budget_field``. ``enabled``: the switch. ``objects``: bytes of the object fields that are
    there, by name.
    """

    fields: tuple[str, ...] = ()
    budget_tokens: int | None = None
    budget_field: str = ""
    enabled: bool | None = None
    objects: dict[str, bytes] = {}


def said(body: ThinkingFields, path: str) -> object:
    """What ``body`` holds at a dotted ``path``; ``None`` where nothing is."""
    top, _, inner = path.partition(".")
    value = getattr(body, top)
    return getattr(value, inner) if inner and value is not None else value


def is_silent(body: ThinkingFields) -> bool:
    """Whether a body says nothing about thinking but its top-level effort (the usual case)."""
    return (
        body.chat_template_kwargs is None
        and body.reasoning is None
        and body.thinking_token_budget is None
        and body.thinking_budget_tokens is None
        and body.custom_params is None
        and body.thinking is None
        and body.think is None
        and body.enable_thinking is None
        and body.thinking_budget is None
        and body.reasoning_budget_tokens is None
    )


def checked_effort(value: str, param: str) -> str:
    """``value``, a known effort. Raises ``RequestError`` 400 with the list."""
    if value not in ASKED_EFFORTS:
        raise bad_field(param, found=repr(shown(value)), allowed=", ".join(ASKED_EFFORTS))
    return value


def asked_effort(body: ThinkingFields) -> tuple[str | None, str]:
    """The effort that a body asks for and the field that says it; ``(None, "")`` for none. A
    switch that is off is the effort ``none``. Raises ``RequestError`` 400 for unknown values and
    for two fields that contradict each other.
    """
    if is_silent(body):
        plain = body.reasoning_effort
        return (None, "") if plain is None else (checked_effort(plain, LEVELS[0]), LEVELS[0])
    effort, param = None, ""
    for path in LEVELS:
        value = said(body, path)
        if not isinstance(value, str):
            continue
        checked_effort(value, path)
        if effort is not None and value != effort:
            message = f"{param} says {effort!r} and {path} says {value!r}; send one of them"
            raise RequestError(400, message, param=path)
        effort, param = value, path
    if (off := switched_off(body)) and effort != "none":
        return "none", off
    return effort, param


def switched_off(body: ThinkingFields) -> str:
    """The field that turns thinking off; empty where none does."""
    for path in SWITCHES:
        value = said(body, path)
        if value is False or (path == "thinking.type" and value == "disabled"):
            return path
    return ""


def switched_on(body: ThinkingFields) -> bool:
    """Whether a field turns thinking on."""
    return any(
        value is True or (path == "thinking.type" and value in ("enabled", "adaptive"))
        for path in SWITCHES
        if (value := said(body, path)) is not None
    )


def asked_budget(body: ThinkingFields) -> tuple[int | None, str]:
    """The lowest explicit budget ``[tokens]`` and its field; -1: explicitly no limit. Raises
    ``RequestError`` 400 for a number that is no budget.
    """
    lowest, field = None, ""
    for path in BUDGETS:
        value = said(body, path)
        if value is None:
            continue
        assert isinstance(value, int)
        if not -1 <= value <= MOST_TOKENS:
            allowed = f"an integer from 0 to {MOST_TOKENS}, or -1 for no limit"
            raise bad_field(path, found=shown(value), allowed=allowed)
        if lowest is None or lowest == -1 or 0 <= value < lowest:
            lowest, field = value, path
    return lowest, field


def read_thinking(body: ThinkingFields, raw: bytes) -> AskedThinking | None:
    """What ``body``, decoded from ``raw``, says about thinking beside a plain top-level effort;
    ``None`` for nothing. Raises ``RequestError`` 400 where it is nonsense.
    """
    if is_silent(body):
        return None
    budget, field = asked_budget(body)
    paths = dict.fromkeys((*BUDGETS, *SWITCHES, *LEVELS))
    present = tuple(path for path in paths if said(body, path) is not None)
    off = switched_off(body)
    return AskedThinking(
        fields=present,
        budget_tokens=budget,
        budget_field=field,
        enabled=False if off else (True if switched_on(body) else None),
        objects=read_objects(raw),
    )


def read_objects(raw: bytes) -> dict[str, bytes]:
    """The bytes of those ``OBJECTS`` that a body holds."""
    top = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    found = {name: bytes(top[name]) for name in OBJECTS if name in top}
    return {name: value for name, value in found.items() if value != b"null"}
