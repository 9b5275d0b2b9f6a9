"""The fields of engines' answers that the gateway reads, streamed or whole, and what they say.

Engines are not trusted: a number that cannot be is dropped and told as a doubt, a field of another
type than the API's is read as absent.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from .events import Cause
from .thinking import MOST_TOKENS

ABSENT = msgspec.Raw()
NULL = b"null"
CUT = object()

MOST_STRANGE = 32
"""Most fields of a wrong type that are left out of one answer before it is read as empty."""

Record = TypeVar("Record", bound=msgspec.Struct)


class OutputPart(msgspec.Struct, frozen=True, gc=False):
    """One part of an answer that comes in parts."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None


class Said(msgspec.Struct, frozen=True, gc=False):
    """A message or a delta: the answer, the thinking in both spellings, calls of tools."""

    content: str | list[OutputPart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[msgspec.Raw] | None = None
    function_call: msgspec.Raw = ABSENT
    audio: msgspec.Raw = ABSENT


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One choice of a chunk (``delta``), an answer (``message``) or a completion (``text``)."""

    index: int | None = 0
    delta: Said | None = None
    message: Said | None = None
    text: str | None = None
    finish_reason: str | None = None


class Details(msgspec.Struct, frozen=True, gc=False):
    """Parts of a count."""

    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class UsageFields(msgspec.Struct, frozen=True, gc=False):
    """``usage``, as chat or as the Responses API spells it."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None
    reasoning_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: Details | None = None
    output_tokens_details: Details | None = None


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A chunk of a stream or a whole answer of chat and completions; ``data`` of embeddings."""

    choices: list[Choice] | None = None
    usage: UsageFields | None = None
    error: msgspec.Raw = ABSENT
    data: msgspec.Raw = ABSENT


class OutputItem(msgspec.Struct, frozen=True, gc=False):
    """One item of a response's output: ``message``, ``reasoning``, a call of a tool."""

    type: str = ""
    content: list[OutputPart] | None = None


class Incomplete(msgspec.Struct, frozen=True, gc=False):
    """Why a response is not complete."""

    reason: str | None = None


class Response(msgspec.Struct, frozen=True, gc=False):
    """The response object of the Responses API."""

    status: str | None = None
    output: list[OutputItem] | None = None
    usage: UsageFields | None = None
    incomplete_details: Incomplete | None = None
    error: msgspec.Raw = ABSENT


class ResponseEvent(msgspec.Struct, frozen=True, gc=False):
    """One event of a Responses stream."""

    type: str = ""
    delta: str | None = None
    response: Response | None = None
    error: msgspec.Raw = ABSENT
    message: str | None = None
    code: str | int | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens that an engine says it read and wrote; -1 where it says nothing or nonsense.
    Reasoning tokens are part of the output, cached ones of the input.
    """

    input_tokens: int = -1
    output_tokens: int = -1
    reasoning_tokens: int = -1
    cached_tokens: int = -1


NO_USAGE = Usage()


def usage_of(said: UsageFields, doubts: list[str]) -> Usage:
    """The counts of ``said``. What cannot be is -1 and named in ``doubts``."""
    inputs = first(said.prompt_tokens, said.input_tokens)
    outputs = first(said.completion_tokens, said.output_tokens)
    read = said.prompt_tokens_details or said.input_tokens_details or Details()
    wrote = said.completion_tokens_details or said.output_tokens_details or Details()
    thought = first(wrote.reasoning_tokens, said.reasoning_tokens)
    usage = Usage(
        input_tokens=counted(inputs, "input", doubts),
        output_tokens=counted(outputs, "output", doubts),
        reasoning_tokens=counted(thought, "reasoning", doubts),
        cached_tokens=counted(read.cached_tokens, "cached", doubts),
    )
    if usage.reasoning_tokens > usage.output_tokens >= 0:
        doubts.append("usage: more reasoning tokens than output tokens")
    if usage.cached_tokens > usage.input_tokens >= 0:
        doubts.append("usage: more cached tokens than input tokens")
    return usage


def first(one: int | None, other: int | None) -> int | None:
    """The first of two that is there."""
    return other if one is None else one


def counted(value: int | None, name: str, doubts: list[str]) -> int:
    """A count of tokens, -1 for none; nonsense goes to ``doubts``."""
    if value is None:
        return -1
    if 0 <= value <= MOST_TOKENS:
        return value
    doubts.append(f"usage: {name} tokens out of range")
    return -1


def is_text(body: bytes) -> bool:
    """Whether ``body`` is UTF-8."""
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def is_there(raw: msgspec.Raw) -> bool:
    """Whether a raw field holds something."""
    return len(raw) > 0 and bytes(raw) != NULL


def has_answer(said: Said) -> bool:
    """Whether a message or delta holds something of the answer itself: text, a refusal, a call of a
    tool, sound; blanks are none.
    """
    content = said.content
    text = content_text(content) if isinstance(content, list) else content
    return bool(
        (text and not text.isspace())
        or said.tool_calls
        or said.refusal
        or is_there(said.function_call)
        or is_there(said.audio)
    )


def content_text(parts: list[OutputPart]) -> str:
    """The text of an answer that comes in parts; thinking is none of it."""
    return "".join(
        (part.text or "") + (part.refusal or "")
        for part in parts
        if part.type in ("text", "output_text", "refusal")
    )


class ErrorFields(msgspec.Struct, frozen=True, gc=False):
    """An engine's error object."""

    message: str = ""
    code: str | int | None = None


_OF_THE_REQUEST = (
    "invalid_",
    "image_",
    "unsupported_",
    "empty_image_",
    "failed_to_download_image",
    "context_length_exceeded",
)
"""How error codes begin that blame the request: https://platform.openai.com/docs/api-reference."""


def cause_of(error: bytes) -> tuple[Cause, str]:
    """What kind of failure an engine's error object is, and its words: ``rejected`` where its code
    says that the request is at fault (400 to 499 but 408 and 429, or one of the Responses API's
    words for that), else ``status``.
    """
    try:
        read = msgspec.json.decode(error, type=ErrorFields, strict=False)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return "status", error[:200].decode("utf-8", "replace")
    code = read.code
    if isinstance(code, int):
        fault = 400 <= code < 500 and code not in (408, 429)
    else:
        fault = code is not None and code.startswith(_OF_THE_REQUEST)
    return ("rejected" if fault else "status"), read.message[:500]


def read_loosely(payload: bytes, kind: type[Record], doubts: list[str]) -> Record | None:
    """A record of ``kind`` from JSON whose fields may have other types than the API's: such a field
    is left out and named in ``doubts``. ``None`` where ``payload`` is no JSON object.
    """
    try:
        read = msgspec.json.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    if not isinstance(read, dict):
        return None
    try:
        return without_strange(read, kind, doubts)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError):
        doubts.append("fields of another type than the API's")
        return kind()


def without_strange(read: dict[str, object], kind: type[Record], doubts: list[str]) -> Record:
    """A record of ``kind`` from a decoded object, whose fields of a wrong type are cut out. Raises
    as the decoder and the encoder do.
    """
    for _ in range(MOST_STRANGE):
        try:
            return msgspec.json.decode(msgspec.json.encode(read), type=kind)
        except msgspec.ValidationError as error:
            path = str(error).partition(" - at `$")[2].rstrip("`")
            if len(doubts) < MOST_STRANGE:
                doubts.append(f"{path.removeprefix('.')}: another type than the API's")
            if not cut_out(read, path):
                break
    return kind()


def cut_out(read: object, path: str) -> bool:
    """Take what is at a decoder's ``path`` (``.choices[0].delta``) out of a decoded object; whether
    it was found.
    """
    parent, last = None, ""
    for step in path.replace("[", ".[").split(".")[1:]:
        if parent is not None:
            read = inside(parent, last)
        parent, last = read, step
    if isinstance(parent, dict):
        return parent.pop(last, CUT) is not CUT
    if isinstance(parent, list) and last.startswith("["):
        del parent[int(last[1:-1])]
        return True
    return False


def inside(value: object, step: str) -> object:
    """The field or element of ``value`` that a step of a path names; ``None`` for none."""
    if isinstance(value, list) and step.startswith("["):
        return value[int(step[1:-1])]
    return value.get(step) if isinstance(value, dict) else None


def outputs_of(response: Response) -> tuple[bool, bool]:
    """Whether a response holds text (or a refusal) of an answer, and whether a call of a tool."""
    answered = called = False
    for item in response.output or ():
        if item.type == "message":
            text = content_text(item.content or [])
            answered |= bool(text and not text.isspace())
        elif item.type.endswith("_call"):
            called = True
    return answered, called


def finish_of(response: Response, *, called: bool) -> str:
    """Why a response ended, in chat's words: ``stop``, ``length``, ``tool_calls``,
    ``content_filter``.
    """
    if response.status == "incomplete" or response.incomplete_details is not None:
        reason = response.incomplete_details.reason if response.incomplete_details else None
        return "content_filter" if reason == "content_filter" else "length"
    return "tool_calls" if called else "stop"
