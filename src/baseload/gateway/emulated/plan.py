"""How an emulated engine will answer: how many tokens, how many of them thinking, what they say.

Lengths are lognormal around what answers of the default workload have (``workload.lengths``), and
thinking is scaled by effort as the gateway itself expects it (``config.TOKENS_FACTOR``).
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from baseload.gateway.config import TOKENS_FACTOR, Effort
from baseload.gateway.emulated.requests import RefusedError, Wanted
from baseload.gateway.emulated.text import Draws, Pieces, Prose, Text, instance_of, json_pieces
from baseload.gateway.emulated.text import stopped as stopped_text
from baseload.workload.lengths import PRIOR_TOKENS

LOG_SPREAD = 0.8
"""Standard deviation of the logarithm of a length."""
MOST_SEQUENCES = 4096
"""Of one request: prompts times choices."""
CALL_FRAC = 0.3
"""How often tools that may be called are called."""

Thinking = Literal["never", "switched", "always"]
"""Whether a model thinks: never, unless it is told not to, or whatever it is told."""

_ALWAYS = re.compile(r"qwq|-r1(\b|-)|gpt-oss|reasoning|thinking", re.IGNORECASE)
_SWITCHED = re.compile(r"qwen3(?!-coder)|glm-4\.5|deepseek-v3\.1|nemotron", re.IGNORECASE)


def thinking_of(model: str) -> Thinking:
    """Whether a model of this name thinks."""
    if _ALWAYS.search(model):
        return "always"
    return "switched" if _SWITCHED.search(model) else "never"


class Manner(msgspec.Struct, frozen=True, kw_only=True):
    """How an engine answers: whether it thinks, and at which effort where nobody says."""

    thinking: Thinking = "never"
    effort: Effort = "high"
    seed: int = 0
    longest_tokens: int = 131_072


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: ``tokens`` in all, the first ``thinking_tokens`` of them ``thoughts``, the others
    ``text``, or the arguments of a ``call`` after one token for its name. ``finish``: as OpenAI
    says why it ended.
    """

    tokens: int
    thinking_tokens: int
    thoughts: Text
    text: Text
    finish: str
    call: str | None = None

    @property
    def shown_tokens(self) -> int:
        """Tokens after the thinking."""
        return self.tokens - self.thinking_tokens


def plans_of(wanted: Wanted, manner: Manner) -> list[Plan]:
    """Answers to ``wanted``, one for each sequence: those of the first prompt, then of the next.

    Raises ``RefusedError`` (400) for what the context cannot hold.
    """
    count = len(wanted.prompts) * wanted.choices
    if count > MOST_SEQUENCES:
        raise RefusedError(400, f"{count} sequences in one request; allowed: {MOST_SEQUENCES}")
    found = []
    for prompt, tokens in zip(wanted.prompts, wanted.prompt_tokens, strict=True):
        most = _room(wanted, tokens, manner.longest_tokens)
        for choice in range(wanted.choices):
            draws = Draws(manner.seed, wanted.seed, choice, prompt)
            found.append(_plan(wanted, manner, draws, most))
    return found


def _room(wanted: Wanted, prompt_tokens: int, longest_tokens: int) -> int:
    """The most tokens of an answer; raises as vLLM does where the context is too short."""
    asked = wanted.max_tokens or 0
    if prompt_tokens + max(asked, 1) <= longest_tokens:
        return asked or longest_tokens - prompt_tokens
    param = "input" if wanted.endpoint in ("responses", "embeddings") else "messages"
    raise RefusedError(
        400,
        f"This model's maximum context length is {longest_tokens} tokens. However, you requested "
        f"{prompt_tokens + asked} tokens ({prompt_tokens} in the {param}, {asked} in the "
        f"completion). Please reduce the length of the {param} or completion.",
        param="prompt" if wanted.endpoint == "completions" else param,
    )


def _plan(wanted: Wanted, manner: Manner, draws: Draws, most: int) -> Plan:
    thoughts, prose = Prose(draws), Prose(draws)
    thinking, answer = _lengths(wanted, manner, draws)
    if wanted.budget_tokens is not None and wanted.budget_tokens >= 0:
        thinking = min(thinking, wanted.budget_tokens)
    call = _call(wanted, draws)
    text: Text = prose
    finish = "stop"
    if call is not None:
        arguments = json_pieces(instance_of(call.parameters or {"type": "object"}, draws))
        text, answer = arguments, 1 + len(arguments.pieces)
        finish = "stop" if wanted.named else "tool_calls"
    elif wanted.schema is not None:
        body = json_pieces(instance_of(wanted.schema, draws))
        text, answer = body, len(body.pieces)
    if wanted.exact:
        if thinking:
            answer_frac = answer / (thinking + answer)
            kept = min(most, answer) if isinstance(text, Pieces) else 1
            thinking = min(thinking, most - max(kept, round(most * answer_frac)))
        tokens, finish = most, "length"
    else:
        tokens = max(thinking + answer, wanted.min_tokens)
        if tokens > most:
            tokens, finish, thinking = most, "length", min(thinking, most)
    if wanted.stop and not wanted.exact and call is None:
        cut = stopped_text(text, tokens - thinking, wanted.stop)
        if cut is not None:
            text, tokens, finish = cut[0], thinking + cut[1], "stop"
    return Plan(
        tokens=tokens,
        thinking_tokens=thinking,
        thoughts=thoughts,
        text=text,
        finish=finish,
        call=None if call is None else call.name,
    )


def _lengths(wanted: Wanted, manner: Manner, draws: Draws) -> tuple[int, int]:
    """Tokens of thinking and of the answer, as drawn."""
    thinks = manner.thinking == "always" or (
        manner.thinking == "switched" and wanted.thinking is not False
    )
    if not thinks or wanted.endpoint in ("completions", "embeddings"):
        return 0, max(1, round(draws.lognormal(PRIOR_TOKENS["chat"], LOG_SPREAD)))
    effort: Any = wanted.effort or manner.effort
    if effort == "none" or wanted.thinking is False:
        effort = "minimal"  # the least that a model which always thinks can do
    whole, bare = PRIOR_TOKENS["reasoning"], TOKENS_FACTOR["none"]
    thinking = draws.lognormal(whole * (TOKENS_FACTOR[effort] - bare), LOG_SPREAD)
    answer = draws.lognormal(whole * bare, LOG_SPREAD)
    return max(1, round(thinking)), max(1, round(answer))


def _call(wanted: Wanted, draws: Draws) -> Any:
    """The function that the answer calls, if any."""
    if not wanted.calls:
        return None
    if wanted.must_call is None and draws.share() >= CALL_FRAC:
        return None
    return wanted.calls[draws.below(len(wanted.calls))]
