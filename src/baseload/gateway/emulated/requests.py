"""What an emulated engine reads of a request: how long, how much thinking, what shape.

Bodies of the four end-points become one record, ``Wanted``. Fields that an engine would obey but
that leave length, timing and shape alone (temperature, penalties, ...) are not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from baseload.gateway.config import EFFORTS

Endpoint = Literal["chat", "completions", "responses", "embeddings"]

BYTES_PER_TOKEN = 4
"""Of text, about."""
MESSAGE_TOKENS = 4
"""What a chat template adds to a message."""
PICTURE_TOKENS = 576
"""Of an image or a sound."""


class RefusedError(Exception):
    """A request that the engine does not take: status, message, the offending field."""

    def __init__(self, status: int, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param = status, message, param


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A function that a request offers, and the JSON schema of its arguments."""

    name: str
    parameters: Any = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A request as an emulated engine sees it.

    ``prompts``: what each sequence starts from, as bytes that name its content; ``prompt_tokens``
    of each. ``choices`` answers to each prompt. ``exact``: give ``max_tokens`` tokens, no fewer.
    ``thinking``: as asked, ``None`` where nothing was said; ``effort`` a rung of the ladder;
    ``budget_tokens`` for thinking. ``must_call``: answer with a call of one of ``calls``, ``False``
    never, ``None`` as the engine likes; ``named``: it was asked for by name. ``schema``: the answer
    is JSON of this schema (``True``: any JSON object). ``numbers``: of an embedding.
    """

    endpoint: Endpoint
    model: str | None
    prompts: tuple[bytes, ...]
    prompt_tokens: tuple[int, ...]
    choices: int = 1
    stream: bool = False
    include_usage: bool = False
    max_tokens: int | None = None
    min_tokens: int = 0
    exact: bool = False
    stop: tuple[str, ...] = ()
    seed: int | None = None
    thinking: bool | None = None
    effort: str | None = None
    budget_tokens: int | None = None
    show_thinking: bool = True
    calls: tuple[Call, ...] = ()
    must_call: bool | None = None
    named: bool = False
    schema: Any = None
    numbers: int | None = None
    as_text: bool = True


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Function(msgspec.Struct):
    name: str
    parameters: Any = None


class _Tool(msgspec.Struct):
    type: str = "function"
    function: _Function | None = None
    name: str | None = None
    parameters: Any = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: msgspec.Raw = msgspec.Raw(b"")


class _Sampling(msgspec.Struct):
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: int | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    thinking_token_budget: int | None = None


class _Chat(_Sampling):
    messages: list[_Message] = msgspec.field(default_factory=list)
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None
    include_reasoning: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: dict[str, Any] | None = None


class _Completion(_Sampling):
    prompt: str | list[int | str | list[int]] = ""


class _Reasoning(msgspec.Struct):
    effort: str | None = None


class _Responses(_Sampling):
    input: str | list[dict[str, Any]] = ""
    instructions: str | None = None
    max_output_tokens: int | None = None
    reasoning: _Reasoning | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class _Embedding(msgspec.Struct):
    model: str | None = None
    input: str | list[int | str | list[int]] = ""
    dimensions: int | None = None
    encoding_format: str | None = None


_DECODERS: dict[Endpoint, msgspec.json.Decoder[Any]] = {
    "chat": msgspec.json.Decoder(_Chat),
    "completions": msgspec.json.Decoder(_Completion),
    "responses": msgspec.json.Decoder(_Responses),
    "embeddings": msgspec.json.Decoder(_Embedding),
}


def read_wanted(endpoint: Endpoint, body: bytes) -> Wanted:
    """What ``body`` asks of ``endpoint``. Raises ``RefusedError`` (400) for what it cannot be."""
    try:
        asked = _DECODERS[endpoint].decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message, _, path = str(error).partition(" - at `$")
        param = path.rstrip("`").lstrip(".") or None
        raise RefusedError(400, message, param=param) from error
    except RecursionError as error:
        raise RefusedError(400, "JSON is nested too deep") from error
    wanted: Wanted = _READERS[endpoint](asked)
    return wanted


def _tokens_of(size_bytes: int) -> int:
    return max(1, -(-size_bytes // BYTES_PER_TOKEN))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _parts(content: str | Sequence[dict[str, Any]] | None) -> tuple[bytes, int]:
    """Bytes that name the content of a message, and its tokens."""
    if content is None:
        return b"", 0
    if isinstance(content, str):
        text = _encoded(content)
        return text, -(-len(text) // BYTES_PER_TOKEN)
    named: list[bytes] = []
    tokens = 0
    for part in content:
        said = part.get("text")
        if isinstance(said, str):
            named.append(_encoded(said))
            tokens += -(-len(named[-1]) // BYTES_PER_TOKEN)
        else:
            named.append(msgspec.json.encode(part))
            tokens += PICTURE_TOKENS
    return b"\x1e".join(named), tokens


def _chat_prompt(messages: Sequence[_Message]) -> tuple[bytes, int]:
    named, tokens = [], 0
    for message in messages:
        text, size = _parts(message.content)
        calls = bytes(message.tool_calls)
        named += [_encoded(message.role), text, calls]
        tokens += MESSAGE_TOKENS + size + -(-len(calls) // BYTES_PER_TOKEN)
    return b"\x1f".join(named), tokens


def _prompts(given: Any, field: str) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    """Of a text, texts, token ids, or several of these."""
    if isinstance(given, str):
        text = _encoded(given)
        return (text,), (_tokens_of(len(text)),)
    if not given or not all(part != [] for part in given):
        raise RefusedError(400, f"{field} must not be empty", param=field)
    if len({type(part) for part in given}) > 1:
        raise RefusedError(400, f"{field} mixes texts and token ids", param=field)
    if isinstance(given[0], int):
        return (msgspec.json.encode(given),), (len(given),)
    if isinstance(given[0], str):
        texts = tuple(_encoded(text) for text in given)
        return texts, tuple(_tokens_of(len(text)) for text in texts)
    return tuple(msgspec.json.encode(ids) for ids in given), tuple(map(len, given))


def _sampling(asked: _Sampling, max_tokens: int | None, field: str) -> dict[str, Any]:
    """The fields that all ways to ask for text share."""
    if max_tokens is not None and max_tokens < 1:
        raise RefusedError(400, f"{field} must be at least 1, got {max_tokens}.", param=field)
    choices = 1 if asked.n is None else asked.n
    if not 1 <= choices <= 128:
        raise RefusedError(400, f"n must be from 1 to 128, got {choices}.", param="n")
    least = asked.min_tokens or 0
    if least < 0 or (max_tokens is not None and least > max_tokens):
        raise RefusedError(
            400, f"min_tokens must be from 0 to {field}, got {least}.", param="min_tokens"
        )
    stop = asked.stop or ()
    options = asked.stream_options
    return {
        "model": asked.model,
        "choices": choices,
        "stream": bool(asked.stream),
        "include_usage": bool(options and options.include_usage),
        "max_tokens": max_tokens,
        "min_tokens": least,
        "exact": max_tokens is not None and (bool(asked.ignore_eos) or least == max_tokens),
        "stop": tuple(word for word in ((stop,) if isinstance(stop, str) else stop) if word),
        "seed": asked.seed,
        "budget_tokens": asked.thinking_token_budget,
    }


def _effort(effort: str | None, template: dict[str, Any] | None, param: str) -> dict[str, Any]:
    """Thinking as asked by effort or by what the chat template is told."""
    if effort is not None and effort not in EFFORTS:
        raise RefusedError(
            400, f"{param}: found {effort!r}; allowed: {', '.join(EFFORTS)}", param=param
        )
    told = template or {}
    switch = told.get("enable_thinking", told.get("thinking"))
    thinking = switch if isinstance(switch, bool) else None
    if effort == "none":
        thinking = False
    return {"thinking": thinking, "effort": effort}


def _tools(tools: list[_Tool] | None, choice: Any) -> dict[str, Any]:
    """The calls a request offers, and whether one must be made."""
    calls = []
    for tool in tools or ():
        if tool.function is not None:
            calls.append(Call(name=tool.function.name, parameters=tool.function.parameters))
        elif tool.name is not None:
            calls.append(Call(name=tool.name, parameters=tool.parameters))
    if not calls or choice == "none":
        return {}
    if isinstance(choice, dict):
        inner = choice.get("function")
        name = inner.get("name") if isinstance(inner, dict) else choice.get("name")
        named = tuple(call for call in calls if call.name == name)
        if not named:
            message = f"tool_choice names {name!r}, which is not among the tools"
            raise RefusedError(400, message, param="tool_choice")
        return {"calls": named, "must_call": True, "named": True}
    must = True if choice == "required" else None
    return {"calls": tuple(calls), "must_call": must}


def _schema(wanted: dict[str, Any] | None) -> Any:
    """The schema of an answer, from ``response_format`` or ``text.format``."""
    kind = (wanted or {}).get("type")
    if kind == "json_object":
        return True
    if wanted is None or kind != "json_schema":
        return None
    inner = wanted.get("json_schema", wanted)
    schema = inner.get("schema") if isinstance(inner, dict) else None
    return schema if isinstance(schema, dict) else True


def _tools_tokens(tools: list[_Tool] | None) -> int:
    return -(-len(msgspec.json.encode(tools)) // BYTES_PER_TOKEN) if tools else 0


def _read_chat(asked: _Chat) -> Wanted:
    if not asked.messages:
        raise RefusedError(400, "messages must not be empty", param="messages")
    field = "max_tokens" if asked.max_completion_tokens is None else "max_completion_tokens"
    most = asked.max_tokens if field == "max_tokens" else asked.max_completion_tokens
    named, tokens = _chat_prompt(asked.messages)
    return Wanted(
        endpoint="chat",
        prompts=(named,),
        prompt_tokens=(tokens + _tools_tokens(asked.tools),),
        show_thinking=asked.include_reasoning is not False,
        schema=_schema(asked.response_format),
        **_sampling(asked, most, field),
        **_effort(asked.reasoning_effort, asked.chat_template_kwargs, "reasoning_effort"),
        **_tools(asked.tools, asked.tool_choice),
    )


def _read_completion(asked: _Completion) -> Wanted:
    prompts, tokens = _prompts(asked.prompt, "prompt")
    # OpenAI's default for this end-point, which vLLM keeps
    most = 16 if asked.max_tokens is None else asked.max_tokens
    return Wanted(
        endpoint="completions",
        prompts=prompts,
        prompt_tokens=tokens,
        thinking=False,
        **_sampling(asked, most, "max_tokens"),
    )


def _read_responses(asked: _Responses) -> Wanted:
    named, tokens = [_encoded(asked.instructions or "")], 0
    if isinstance(asked.input, str):
        text, tokens = _parts(asked.input)
        named.append(text)
    else:
        for item in asked.input:
            content = item.get("content")
            known = isinstance(content, str | list) and all(
                isinstance(part, dict) for part in content if not isinstance(content, str)
            )
            text, size = _parts(content) if known else (msgspec.json.encode(item), 0)
            named.append(text)
            tokens += MESSAGE_TOKENS + (size or -(-len(text) // BYTES_PER_TOKEN))
    tokens += -(-len(named[0]) // BYTES_PER_TOKEN)
    asked.n = 1
    effort = asked.reasoning.effort if asked.reasoning is not None else None
    wanted_format = (asked.text or {}).get("format")
    return Wanted(
        endpoint="responses",
        prompts=(b"\x1f".join(named),),
        prompt_tokens=(max(1, tokens) + _tools_tokens(asked.tools),),
        schema=_schema(wanted_format if isinstance(wanted_format, dict) else None),
        **_sampling(asked, asked.max_output_tokens, "max_output_tokens"),
        **_effort(effort, asked.chat_template_kwargs, "reasoning.effort"),
        **_tools(asked.tools, asked.tool_choice),
    )


def _read_embeddings(asked: _Embedding) -> Wanted:
    prompts, tokens = _prompts(asked.input, "input")
    if asked.dimensions is not None and asked.dimensions < 1:
        raise RefusedError(400, "dimensions must be at least 1", param="dimensions")
    if asked.encoding_format not in (None, "float", "base64"):
        raise RefusedError(400, "encoding_format must be float or base64", param="encoding_format")
    return Wanted(
        endpoint="embeddings",
        model=asked.model,
        prompts=prompts,
        prompt_tokens=tokens,
        max_tokens=1,
        exact=True,
        thinking=False,
        numbers=asked.dimensions,
        as_text=asked.encoding_format != "base64",
    )


_READERS: dict[Endpoint, Any] = {
    "chat": _read_chat,
    "completions": _read_completion,
    "responses": _read_responses,
    "embeddings": _read_embeddings,
}
