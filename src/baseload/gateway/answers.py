"""What an engine's whole answer says: tokens, why it ended, whether it is an answer at all.

Pure; never raises: an engine that answers nonsense is told of in ``Answered.broken`` and
``doubts``. Streams are read by ``StreamReader``.
"""

from __future__ import annotations

import msgspec

from . import answer_fields as fields
from .answer_fields import NO_USAGE, Usage
from .answer_splice import energy_comment, with_energy
from .config import Endpoint, Engine
from .events import Cause
from .stream_reader import StreamReader

__all__ = ["Answered", "StreamReader", "Usage", "energy_comment", "read_answer", "with_energy"]

REPLY = msgspec.json.Decoder(fields.Reply)
RESPONSE = msgspec.json.Decoder(fields.Response)


class Answered(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a whole answer says. ``finish``: in chat's words, empty where it says nothing.
    ``exhausted``: the limit on tokens was reached inside thinking, there is no answer. ``broken``:
    why it is no answer, with ``detail`` and the engine's ``error`` object (JSON). ``doubts``: what
    it says that cannot be.
    """

    usage: Usage = NO_USAGE
    finish: str = ""
    exhausted: bool = False
    answered: bool = False
    tool_calls: bool = False
    reasoned: bool = False
    broken: Cause | None = None
    detail: str = ""
    error: bytes = b""
    doubts: tuple[str, ...] = ()


def read_answer(
    engine: Engine, endpoint: Endpoint, body: bytes, *, content_type: str = ""
) -> Answered:
    """What ``body``, the good answer (status 200) of ``engine`` at ``endpoint``, says.
    ``content_type``: as the engine told it; another than JSON is a doubt, not a fault.
    """
    doubts: list[str] = []
    if content_type and "json" not in content_type.lower():
        doubts.append(f"content type {content_type[:80]!r}")
    if not fields.is_text(body):
        return garbage(f"{engine} answered with what is not UTF-8", doubts)
    if endpoint == "responses":
        return read_response(body, doubts)
    try:
        reply: fields.Reply | None = REPLY.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        reply = fields.read_loosely(body, fields.Reply, doubts)
    if reply is None:
        return garbage(f"{engine} answered with what is not a JSON object", doubts)
    if fields.is_there(reply.error):
        return refused(bytes(reply.error), doubts)
    usage = NO_USAGE if reply.usage is None else fields.usage_of(reply.usage, doubts)
    if endpoint == "embeddings":
        if not bytes(reply.data).startswith(b"["):
            return garbage(f"{engine} answered without a list of embeddings", doubts)
        return Answered(usage=usage, answered=True, finish="stop", doubts=tuple(doubts))
    if not reply.choices:
        return garbage(f"{engine} answered without choices", doubts)
    return of_choices(reply.choices, usage, doubts)


def garbage(detail: str, doubts: list[str]) -> Answered:
    """What came is no answer."""
    return Answered(broken="garbage", detail=detail, doubts=tuple(doubts))


def refused(error: bytes, doubts: list[str]) -> Answered:
    """The engine's own error under a good status."""
    cause, words = fields.cause_of(error)
    detail = words or "the engine sent an error without a message"
    return Answered(broken=cause, detail=detail, error=error, doubts=tuple(doubts))


def of_choices(choices: list[fields.Choice], usage: Usage, doubts: list[str]) -> Answered:
    """Chat's and completions' answers. ``exhausted`` where any of several choices is."""
    answered = called = reasoned = exhausted = False
    for choice in choices:
        said = choice.message or choice.delta or fields.Said()
        spoke = fields.has_answer(said) or bool(choice.text and not choice.text.isspace())
        answered |= spoke
        called |= bool(said.tool_calls) or fields.is_there(said.function_call)
        reasoned |= bool(said.reasoning_content or said.reasoning)
        exhausted |= choice.finish_reason == "length" and not spoke
    if usage.output_tokens < 0:
        doubts.append("usage: no count of output tokens")
    return Answered(
        usage=usage,
        finish=choices[-1].finish_reason or "",
        exhausted=exhausted,
        answered=answered,
        tool_calls=called,
        reasoned=reasoned,
        doubts=tuple(doubts),
    )


def read_response(body: bytes, doubts: list[str]) -> Answered:
    """An answer of the Responses API."""
    try:
        response: fields.Response | None = RESPONSE.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        response = fields.read_loosely(body, fields.Response, doubts)
    if response is None:
        return garbage("the engine answered with what is not a JSON object", doubts)
    if fields.is_there(response.error):
        return refused(bytes(response.error), doubts)
    if response.status is None and response.output is None:
        return garbage("the engine answered without a status and without output", doubts)
    answered, called = fields.outputs_of(response)
    finish = fields.finish_of(response, called=called)
    if response.usage is None:
        doubts.append("usage: none")
    return Answered(
        usage=NO_USAGE if response.usage is None else fields.usage_of(response.usage, doubts),
        finish=finish,
        exhausted=finish == "length" and not (answered or called),
        answered=answered or called,
        tool_calls=called,
        reasoned=any(item.type == "reasoning" for item in response.output or ()),
        doubts=tuple(doubts),
    )
