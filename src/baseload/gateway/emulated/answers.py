"""Answers of an emulated engine as vLLM spells them: chat, completions, embeddings.

An answer gives the bytes of one chunk for each token; what does not change from token to token is
put together once.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.streams import stream
from baseload.gateway.emulated.plan import Plan
from baseload.gateway.emulated.requests import Wanted

ReasoningField = Literal["reasoning_content", "reasoning", "both"]
"""How thinking is called in a message: by older engines, by newer vLLM, or both ways."""

DONE = b"data: [DONE]\n\n"
EMBEDDING_NUMBERS = 1024


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What every part of an answer repeats. ``number``: of the request, unique in its engine."""

    number: str
    created: int
    model: str
    reasoning_field: ReasoningField = "reasoning_content"


class Answer(Protocol):
    """What is sent for a request."""

    def token(self, choice: int, number: int) -> bytes:
        """What a stream sends when sequence ``choice`` gets its token ``number``, from 1 on."""

    def closing(self) -> bytes:
        """What a stream sends after the last token of the last sequence."""

    def whole(self) -> bytes:
        """The body where nothing is streamed."""


def quoted(text: str) -> bytes:
    """``text`` as a JSON string."""
    return msgspec.json.encode(text)


def thinking_fields(field: ReasoningField, value: bytes) -> bytes:
    """The member, or members, of a message that hold thinking; ``value`` is JSON."""
    names = ("reasoning", "reasoning_content") if field == "both" else (field,)
    return b",".join(b'"%s":%s' % (name.encode(), value) for name in names)


def usage_of(wanted: Wanted, plans: Sequence[Plan]) -> bytes:
    """``usage`` as chat and completions spell it."""
    prompt = sum(wanted.prompt_tokens)
    output = sum(plan.tokens for plan in plans)
    thinking = sum(plan.thinking_tokens for plan in plans)
    details = b',"completion_tokens_details":{"reasoning_tokens":%d}' % thinking
    return b'{"prompt_tokens":%d,"total_tokens":%d,"completion_tokens":%d,%s%s}' % (
        prompt,
        prompt + output,
        output,
        b'"prompt_tokens_details":null',
        details if thinking else b"",
    )


class ChatAnswer:
    """An answer of ``/v1/chat/completions``."""

    def __init__(self, wanted: Wanted, plans: Sequence[Plan], head: Head) -> None:
        self._wanted, self._plans, self._head = wanted, plans, head
        model = quoted(head.model)
        self._stem = b'{"id":"chatcmpl-%s","object":"chat.completion%%s","created":%d,' % (
            head.number.encode(),
            head.created,
        )
        self._stem += b'"model":%s,' % model.replace(b"%", b"%%")
        chunk = b"data: " + self._stem % b".chunk"
        self._before = [
            chunk + b'"choices":[{"index":%d,"delta":{' % choice for choice in range(len(plans))
        ]
        self._chunk = chunk
        self._thinking = thinking_fields(head.reasoning_field, b'"%s"')

    def token(self, choice: int, number: int) -> bytes:
        """As ``Answer`` says."""
        plan, before = self._plans[choice], self._before[choice]
        delta = self._delta(plan, choice, number - 1)
        if number < plan.tokens:
            if number > 1:
                return before + delta + _GOES_ON if delta else b""
            first = before + b'"role":"assistant","content":""' + _GOES_ON
            return first + before + delta + _GOES_ON if delta else first
        last = before + (delta or b'"content":""') + b'},"logprobs":null,"finish_reason":"'
        last += plan.finish.encode() + b'","stop_reason":null}]}\n\n'
        return last if number > 1 else before + b'"role":"assistant","content":""' + _GOES_ON + last

    def _delta(self, plan: Plan, choice: int, place: int) -> bytes:
        """What token ``place``, from 0 on, adds to the message; nothing where it is hidden."""
        if place < plan.thinking_tokens:
            if not self._wanted.show_thinking:
                return b""
            piece = plan.thoughts.piece(place)
            if self._head.reasoning_field == "both":
                return self._thinking % (piece, piece)
            return self._thinking % piece
        place -= plan.thinking_tokens
        if plan.call is None:
            return b'"content":"%s"' % plan.text.piece(place)
        if place:
            piece = plan.text.piece(place - 1)
            return b'"tool_calls":[{"index":0,"function":{"arguments":"%s"}}]' % piece
        return (
            b'"tool_calls":[{"id":"%s","type":"function","index":0,"function":{"name":%s,'
            b'"arguments":""}}]' % (self._call_id(choice), quoted(plan.call))
        )

    def _call_id(self, choice: int) -> bytes:
        return b"call_%s-%d" % (self._head.number.encode(), choice)

    def closing(self) -> bytes:
        """As ``Answer`` says."""
        if not self._wanted.include_usage:
            return DONE
        usage = usage_of(self._wanted, self._plans)
        return self._chunk + b'"choices":[],"usage":%s}\n\n' % usage + DONE

    def whole(self) -> bytes:
        """As ``Answer`` says."""
        choices = b",".join(self._choice(number) for number in range(len(self._plans)))
        usage = usage_of(self._wanted, self._plans)
        return (
            self._stem % b""
            + b'"choices":[%s],"service_tier":null,"system_fingerprint":null,' % choices
            + b'"usage":%s,"prompt_logprobs":null}' % usage
        )

    def _choice(self, choice: int) -> bytes:
        plan = self._plans[choice]
        thoughts = b"null"
        if plan.thinking_tokens and self._wanted.show_thinking:
            thoughts = b'"%s"' % plan.thoughts.whole(plan.thinking_tokens)
        content, calls, shown = b"null", b"", plan.shown_tokens
        if plan.call is not None and shown > 0:
            calls = b'{"id":"%s","type":"function","function":{"name":%s,"arguments":"%s"}}' % (
                self._call_id(choice),
                quoted(plan.call),
                plan.text.whole(shown - 1),
            )
        elif shown > 0:
            content = b'"%s"' % plan.text.whole(shown)
        return (
            b'{"index":%d,"message":{"role":"assistant","content":%s,"refusal":null,'
            b'"tool_calls":[%s],%s},"logprobs":null,"finish_reason":"%s","stop_reason":null}'
            % (
                choice,
                content,
                calls,
                thinking_fields(self._head.reasoning_field, thoughts),
                plan.finish.encode(),
            )
        )


_GOES_ON = b'},"logprobs":null,"finish_reason":null}]}\n\n'


class CompletionAnswer:
    """An answer of ``/v1/completions``."""

    def __init__(self, wanted: Wanted, plans: Sequence[Plan], head: Head) -> None:
        self._wanted, self._plans = wanted, plans
        self._stem = b'{"id":"cmpl-%s","object":"text_completion","created":%d,"model":%s,' % (
            head.number.encode(),
            head.created,
            quoted(head.model),
        )

    def token(self, choice: int, number: int) -> bytes:
        """As ``Answer`` says."""
        plan = self._plans[choice]
        finish = b"null" if number < plan.tokens else quoted(plan.finish)
        text = plan.text.piece(number - 1)
        return b"data: " + self._stem + _CHOICE % (choice, text, finish) + b"]}\n\n"

    def closing(self) -> bytes:
        """As ``Answer`` says."""
        if not self._wanted.include_usage:
            return DONE
        usage = usage_of(self._wanted, self._plans)
        return b'data: %s"choices":[],"usage":%s}\n\n' % (self._stem, usage) + DONE

    def whole(self) -> bytes:
        """As ``Answer`` says."""
        choices = b",".join(
            _CHOICE[len(b'"choices":[') :]
            % (choice, plan.text.whole(plan.tokens), quoted(plan.finish))
            for choice, plan in enumerate(self._plans)
        )
        usage = usage_of(self._wanted, self._plans)
        return self._stem + b'"choices":[%s],"usage":%s}' % (choices, usage)


_CHOICE = (
    b'"choices":[{"index":%d,"text":"%s","logprobs":null,"finish_reason":%s,"stop_reason":null}'
)


class EmbeddingAnswer:
    """An answer of ``/v1/embeddings``: unit vectors that the seed and the texts decide."""

    def __init__(self, wanted: Wanted, head: Head, *, seed: int) -> None:
        self._wanted, self._head, self._seed = wanted, head, seed

    def token(self, choice: int, number: int) -> bytes:  # noqa: ARG002
        """Nothing: embeddings are not streamed."""
        return b""

    def closing(self) -> bytes:
        """Nothing: embeddings are not streamed."""
        return b""

    def whole(self) -> bytes:
        """As ``Answer`` says."""
        wanted, head = self._wanted, self._head
        numbers = wanted.numbers or EMBEDDING_NUMBERS
        rows = []
        for index, prompt in enumerate(wanted.prompts):
            vector = unit_vector(self._seed, prompt, numbers)
            packed = base64.b64encode(vector.astype("<f4").tobytes()).decode()
            value = vector.tolist() if wanted.as_text else packed
            rows.append({"index": index, "object": "embedding", "embedding": value})
        prompt_tokens = sum(wanted.prompt_tokens)
        return msgspec.json.encode(
            {
                "id": f"embd-{head.number}",
                "object": "list",
                "created": head.created,
                "model": head.model,
                "data": rows,
                "usage": {
                    "prompt_tokens": prompt_tokens,
                    "total_tokens": prompt_tokens,
                    "completion_tokens": 0,
                    "prompt_tokens_details": None,
                },
            }
        )


def unit_vector(seed: int, text: bytes, numbers: int) -> NDArray[np.float32]:
    """A vector of length 1 with so many numbers."""
    vector = stream(seed, "embedding", text.hex()).standard_normal(numbers)
    return (vector / np.linalg.norm(vector)).astype(np.float32)
