"""One ladder of effort, said to each engine in its own fields.

Pure. Facts of the engines: docs/reference/effort.md. A budget is clamped so that the answer keeps
room below ``max_tokens``; an explicit budget of the client goes before that of its effort; what was
really sent is told back.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from .bodies import Asked
from .config import EFFORTS, Effort, Endpoint, Engine, ModelEntry
from .errors import RequestError
from .thinking import BUDGETS, LEVELS, SWITCHES, AskedThinking

BUDGET_TOKENS: Mapping[str, int] = MappingProxyType(
    {"minimal": 1024, "low": 4096, "medium": 16384, "high": 32768, "xhigh": 65536}
)
"""Thinking tokens of an effort where a model's own ``budgets`` say nothing; ``max`` has no limit
but the room below ``max_tokens``.
"""

NO_BUDGET = -1
"""In a model's ``budgets``: send no budget for this effort. From a client: think without limit."""

ANSWER_FRAC = 0.25
ANSWER_TOKENS = 4096
"""What of ``max_tokens`` stays for the answer: a quarter, at most so many tokens."""

SWITCH_BYTES = {True: b"true", False: b"false"}
SAME: Mapping[str, str] = MappingProxyType({})


class Spelling(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine is told. Paths are dotted; ``None`` or empty: it has no such field. ``words``:
    its own words for rungs it lacks. ``switch_on``: whether the switch is sent for thinking too, or
    only to turn it off. ``off_budget``: whether off also sends a budget of 0.
    """

    effort: str
    switch: str | None = None
    budgets: tuple[str, ...] = ()
    words: Mapping[str, str] = SAME
    switch_on: bool = True
    off_budget: bool = False
    effort_off: bool = True


ENABLE = "chat_template_kwargs.enable_thinking"
VLLM = Spelling(effort="reasoning_effort", switch=ENABLE, budgets=("thinking_token_budget",))
THREE_RUNGS = MappingProxyType({"minimal": "low", "xhigh": "high", "max": "high"})
OLLAMA_RUNGS = MappingProxyType({"minimal": "low", "xhigh": "high"})

CHAT: Mapping[Engine, Spelling] = {
    "vllm": VLLM,
    "emulated": VLLM,
    "sglang": Spelling(
        effort="reasoning_effort",
        switch=ENABLE,
        budgets=("chat_template_kwargs.thinking_budget", "custom_params.thinking_budget"),
    ),
    "tensorrt-llm": Spelling(
        effort="reasoning_effort",
        switch=ENABLE,
        budgets=("thinking_token_budget",),
        words=THREE_RUNGS,
        switch_on=False,
        effort_off=False,
    ),
    "llama.cpp": Spelling(
        effort="reasoning_effort",
        switch=ENABLE,
        budgets=("thinking_budget_tokens",),
        off_budget=True,
    ),
    "ollama": Spelling(effort="reasoning_effort", words=OLLAMA_RUNGS),
    "openai": Spelling(effort="reasoning_effort"),
}
"""Spellings for ``/v1/chat/completions``."""

RESPONSES: Mapping[Engine, Spelling] = {
    "vllm": Spelling(effort="reasoning.effort", budgets=("thinking_token_budget",)),
    "emulated": Spelling(effort="reasoning.effort", budgets=("thinking_token_budget",)),
    "sglang": Spelling(effort="reasoning.effort"),
    "tensorrt-llm": Spelling(effort="reasoning.effort", budgets=("thinking_token_budget",)),
    "llama.cpp": Spelling(
        effort="reasoning.effort",
        switch=ENABLE,
        budgets=("thinking_budget_tokens",),
        off_budget=True,
    ),
    "ollama": Spelling(effort="reasoning.effort", words=OLLAMA_RUNGS),
    "openai": Spelling(effort="reasoning.effort"),
}
"""Spellings for ``/v1/responses``."""


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """What to change in a body (``bodies.rewritten`` takes ``changes`` and ``removed``).

    ``applied``: what was sent, for headers and the energy object: ``effort`` (the rung), ``sent``
    (the engine's word, where it differs), ``budget_tokens``, ``clamped_from_tokens`` (the budget
    before it was cut to make room). ``budget_tokens``: the budget that holds; ``None`` for none.
    """

    changes: dict[str, object] = {}
    removed: tuple[str, ...] = ()
    applied: dict[str, str | int] = {}
    budget_tokens: int | None = None


NOTHING = Translation()


def room_tokens(max_tokens: int) -> int:
    """The largest budget of thinking below a ``max_tokens`` of at least 1: what is left when the
    answer keeps a quarter, at least one token and at most ``ANSWER_TOKENS``.
    """
    return max_tokens - min(ANSWER_TOKENS, max(1, -int(-max_tokens * ANSWER_FRAC // 1)))


def check_effort(model: ModelEntry, effort: str, *, field: str = "") -> Effort:
    """``effort`` as a rung that ``model`` has. Raises ``RequestError`` 400 with the list of those
    it has; ``field`` is where the client said it.
    """
    for rung in model.efforts:
        if rung == effort:
            return rung
    allowed = ", ".join([*model.efforts, "auto"]) if model.efforts else "no effort"
    param = field or "reasoning_effort"
    message = f"{param}: found {effort!r}; allowed for the model {model.name!r}: {allowed}"
    raise RequestError(400, message, param=param, code="unsupported_effort")


def budget_of(model: ModelEntry, effort: Effort) -> int | None:
    """Thinking tokens of an effort: the model's own number, else the default; ``None``: send no
    budget; ``NO_BUDGET``: as much as there is room for.
    """
    if effort == "none":
        return None
    own = model.budgets.get(effort)
    if own is not None:
        return None if own < 0 else own
    return BUDGET_TOKENS.get(effort, NO_BUDGET)


def clamped(budget: int | None, max_tokens: int | None) -> int | None:
    """``budget`` cut so that the answer keeps room; ``NO_BUDGET`` becomes all the room there is,
    and ``None`` (nothing to send) where there is no limit at all.
    """
    if budget is None:
        return None
    if max_tokens is None:
        return None if budget < 0 else budget
    room = room_tokens(max_tokens)
    return room if budget < 0 else min(budget, room)


def translated(
    engine: Engine,
    model: ModelEntry,
    effort: Effort | None,
    *,
    asked: Asked,
    max_tokens: int | None = None,
) -> Translation:
    """How ``engine`` is told to answer ``asked`` by ``model`` with ``effort`` (``None``: as the
    client asked). ``max_tokens``: a limit below the client's own, where one holds. Raises
    ``RequestError`` 400 for a rung that the model does not have.
    """
    spelling = spelling_of(engine, asked.endpoint)
    if spelling is None:
        return NOTHING
    limit = asked.max_tokens if max_tokens is None else max_tokens
    if effort is None and asked.thinking is None and asked.effort != "auto":
        return NOTHING if asked.effort is None else Translation(applied={"effort": asked.effort})
    if effort is not None and (model.efforts or effort not in EFFORTS):
        check_effort(model, effort, field=asked.effort_field)
    edits = Edits(asked.thinking)
    applied: dict[str, str | int] = {}
    if effort is not None:
        say_effort(edits, spelling, effort, applied)
    elif asked.effort == "auto":
        edits.remove_all(LEVELS)
    elif asked.effort is not None:
        applied["effort"] = asked.effort
    budget = say_budget(edits, spelling, wanted(model, effort, asked.thinking), limit, applied)
    if effort == "none" and spelling.off_budget:
        edits.set(spelling.budgets[0], 0)
    changes, removed = edits.done()
    return Translation(changes=changes, removed=removed, applied=applied, budget_tokens=budget)


def spelling_of(engine: Engine, endpoint: Endpoint) -> Spelling | None:
    """How ``engine`` spells effort at ``endpoint``; ``None`` where there is no such thing."""
    if endpoint == "chat":
        return CHAT[engine]
    return RESPONSES[engine] if endpoint == "responses" else None


def wanted(
    model: ModelEntry, effort: Effort | None, thinking: AskedThinking | None
) -> tuple[int | None, bool]:
    """The budget before it is clamped, and whether the client gave it."""
    if effort == "none":
        return None, False
    if thinking is not None and thinking.budget_tokens is not None:
        return thinking.budget_tokens, True
    return (None if effort is None else budget_of(model, effort)), False


def say_effort(
    edits: Edits, spelling: Spelling, effort: Effort, applied: dict[str, str | int]
) -> None:
    """Put an effort into the engine's fields, and the client's other ways to say it out."""
    word = spelling.words.get(effort, effort)
    applied["effort"] = effort
    if word != effort:
        applied["sent"] = word
    inner, thinks = "chat_template_kwargs.reasoning_effort", "chat_template_kwargs.thinking"
    said_inside, thinks_inside = inner in edits.fields, thinks in edits.fields
    edits.remove_all((*LEVELS, *SWITCHES))
    if effort != "none" or spelling.effort_off:
        edits.set(spelling.effort, word)
    if said_inside and effort != "none":
        edits.set(inner, word)
    if thinks_inside:  # what the templates of DeepSeek, Kimi and Granite read
        edits.set(thinks, effort != "none")
    if spelling.switch is not None and (effort == "none" or spelling.switch_on):
        edits.set(spelling.switch, effort != "none")


def say_budget(
    edits: Edits,
    spelling: Spelling,
    asked: tuple[int | None, bool],
    max_tokens: int | None,
    applied: dict[str, str | int],
) -> int | None:
    """Put a budget into the engine's fields. An engine without such a field gets the client's own
    spelling, if the client gave one. Gives the budget that holds.
    """
    budget, explicit = asked
    own = edits.budget_field if explicit else ""
    paths = spelling.budgets or ((own,) if own else ())
    edits.remove_all(BUDGETS)
    final = clamped(budget, max_tokens) if paths else None
    if final is None or budget is None:
        return None
    for path in paths:
        edits.set(path, final)
    applied["budget_tokens"] = final
    if budget > final:
        applied["clamped_from_tokens"] = budget
    return final


class Edits:
    """Changes of a body by dotted paths. An object that the client sent keeps its other fields,
    byte for byte.
    """

    def __init__(self, thinking: AskedThinking | None) -> None:
        self.fields = frozenset(thinking.fields if thinking else ())
        self.budget_field = thinking.budget_field if thinking else ""
        self._sent = thinking.objects if thinking else {}
        self._objects: dict[str, dict[str, msgspec.Raw]] = {}
        self._values: dict[str, object] = {}
        self._gone: dict[str, None] = {}

    def _object(self, name: str) -> dict[str, msgspec.Raw]:
        if name not in self._objects:
            sent = self._sent.get(name)
            self._objects[name] = (
                msgspec.json.decode(sent, type=dict[str, msgspec.Raw]) if sent else {}
            )
        return self._objects[name]

    def set(self, path: str, value: object) -> None:
        """Set the field at ``path``."""
        top, _, inner = path.partition(".")
        if inner:
            raw = SWITCH_BYTES[value] if isinstance(value, bool) else msgspec.json.encode(value)
            self._object(top)[inner] = msgspec.Raw(raw)
        else:
            self._gone.pop(top, None)
            self._values[top] = value

    def remove_all(self, paths: tuple[str, ...]) -> None:
        """Take those of ``paths`` out that the client sent."""
        if not self.fields:  # the usual case: at most the one plain field is there
            if LEVELS[0] in paths:
                self._gone[LEVELS[0]] = None
            return
        for path in paths:
            top, _, inner = path.partition(".")
            if inner:
                if path in self.fields:
                    self._object(top).pop(inner, None)
            else:
                self._values.pop(top, None)
                if path in self.fields or path == LEVELS[0]:
                    self._gone[top] = None

    def done(self) -> tuple[dict[str, object], tuple[str, ...]]:
        """The changes and the removals, top level. An object that is left empty goes."""
        changes = dict(self._values)
        gone = dict(self._gone)
        for name, inner in self._objects.items():
            if name == "thinking" and "budget_tokens" not in inner:
                inner.pop("type", None)  # it means nothing without a budget
            if inner:
                changes[name] = msgspec.Raw(msgspec.json.encode(inner))
            elif name in self._sent:
                gone[name] = None
        return changes, tuple(gone)
