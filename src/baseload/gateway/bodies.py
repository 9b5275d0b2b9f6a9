"""What routing needs of a request's body, and the body with a few top-level fields changed.

Pure. A body is decoded once, typed, only as far as routing reads it; the bytes that go to an engine
are the client's own, or those with exactly the fields replaced that had to be. Of a top-level field
that is there twice the last one holds, as in Python's and most engines' readers; a rewritten body
has it once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from . import body_fields as fields
from .config import Endpoint
from .errors import RequestError, bad_field, shown
from .thinking import MOST_TOKENS, AskedThinking, asked_effort, read_thinking

MOST_CHOICES = 128
"""The largest ``n``, as OpenAI's."""

LARGE_BYTES = 1_000_000
MOST_ELEMENTS = 500_000
"""A body over ``LARGE_BYTES`` with more objects and strings than this is refused: decoded, it would
take many times its size.
"""

WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
}
"""The decoder's names of types, in words."""

DIGITS = b"0123456789,[]"
SPACES = b" \t\n\r"


class Asked(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What routing knows of a request.

    ``include_usage``: the client wants the usage of a stream. ``effort``: a rung of the ladder,
    ``auto``, or ``None`` for nothing said; ``effort_field``: where. ``max_tokens``: the limit on
    the output, thinking included. ``characters``: of the prompt's text, with definitions and calls
    of tools as JSON. ``prompt_tokens``: how many token ids the prompt holds; ``None`` where it is
    text. ``images``, ``audios``: parts of that kind. ``choices``: answers that are made (``n``
    times the number of prompts). ``previous``: id of the response that this one goes on from.
    ``thinking``: what is said about thinking beside the effort.
    """

    endpoint: Endpoint
    model: str
    stream: bool = False
    include_usage: bool = False
    effort: str | None = None
    effort_field: str = ""
    max_tokens: int | None = None
    characters: int = 0
    prompt_tokens: int | None = None
    images: int = 0
    audios: int = 0
    tools: bool = False
    service_tier: str | None = None
    choices: int = 1
    user: str | None = None
    previous: str | None = None
    thinking: AskedThinking | None = None


CHAT = msgspec.json.Decoder(fields.ChatBody)
RESPONSES = msgspec.json.Decoder(fields.ResponsesBody)
COMPLETIONS = msgspec.json.Decoder(fields.CompletionsBody)
EMBEDDINGS = msgspec.json.Decoder(fields.EmbeddingsBody)
TOP_LEVEL = msgspec.json.Decoder(dict[str, msgspec.Raw])
TEXTS = msgspec.json.Decoder(str | list[str | int | list[int] | fields.Part])


def read_body(endpoint: Endpoint, body: bytes) -> Asked:
    """What routing needs of ``body``, sent to ``endpoint``. Raises ``RequestError`` 400 that names
    the field, what was found there and what is allowed; never anything else.
    """
    check_bytes(body)
    try:
        return READERS[endpoint](body)
    except msgspec.ValidationError as error:
        raise wrong_type(str(error)) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise malformed(str(error)) from None
    except RecursionError:
        raise malformed("it is nested too deep") from None


def check_bytes(body: bytes) -> None:
    """Raises ``RequestError`` 400 for what is not UTF-8 or would swell when decoded."""
    if not body:
        raise malformed("it is empty")
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise malformed(f"byte {error.start} is not UTF-8") from None
    if len(body) > LARGE_BYTES and body.count(b"{") + body.count(b'",') > MOST_ELEMENTS:
        raise RequestError(400, f"the body holds more than {MOST_ELEMENTS} objects and strings")


def malformed(detail: str) -> RequestError:
    """400 for a body that is no JSON."""
    detail = detail.removeprefix("JSON is malformed: ")
    if "truncated" in detail:
        detail = "it ends too early, or holds half of a surrogate pair"
    return RequestError(
        400, f"the body is not valid JSON: {detail}; allowed: one JSON object in UTF-8"
    )


def wrong_type(said: str) -> RequestError:
    """400 from what the decoder said: "Expected `int | null`, got `str` - at `$.n`"."""
    what, _, path = said.partition(" - at `$")
    param = path.rstrip("`").removeprefix(".")
    expected, _, found = what.replace("`", "").removeprefix("Expected ").partition(", got ")
    expected = " or ".join(WORDS.get(word, word) for word in expected.split(" | "))
    found = WORDS.get(found, found)
    if not param:
        return RequestError(400, f"the body: found {found or said}; allowed: one JSON object")
    return bad_field(
        param, found=found or what.lower(), allowed=expected if found else "64-bit numbers"
    )


def read_chat(body: bytes) -> Asked:
    """``/v1/chat/completions``."""
    read = CHAT.decode(body)
    model = need_model(read.model)
    if not read.messages:
        raise bad_field("messages", found=nothing(read.messages), allowed="at least one message")
    count = Counted()
    for message in read.messages:
        count.content(message.content)
        if message.tool_calls:
            count.characters += sum(map(len, message.tool_calls))
    effort, effort_field = asked_effort(read)
    stream = bool(read.stream)
    return Asked(
        endpoint="chat",
        model=model,
        stream=stream,
        include_usage=stream and wants_usage(read.stream_options),
        effort=effort,
        effort_field=effort_field,
        max_tokens=least(
            within(read.max_tokens, "max_tokens"),
            within(read.max_completion_tokens, "max_completion_tokens"),
        ),
        characters=count.characters + json_characters(read.tools, read.functions),
        images=count.images,
        audios=count.audios,
        tools=bool(read.tools or read.functions),
        service_tier=read.service_tier,
        choices=within(read.n, "n", most=MOST_CHOICES) or 1,
        user=read.user,
        thinking=read_thinking(read, body),
    )


def read_responses(body: bytes) -> Asked:
    """``/v1/responses``; its streams always tell their usage."""
    read = RESPONSES.decode(body)
    model = need_model(read.model)
    if read.input is None and read.previous_response_id is None:
        raise bad_field("input", found="nothing", allowed="a string or a list of items")
    count = Counted(characters=len(read.instructions or ""))
    if isinstance(read.input, str):
        count.characters += len(read.input)
    for item in read.input if isinstance(read.input, list) else ():
        count.content(item.content)
        count.content([item.output] if isinstance(item.output, fields.Part) else item.output)
        count.characters += len(item.arguments or "")
        count.part_type(item.type)
    effort, effort_field = asked_effort(read)
    return Asked(
        endpoint="responses",
        model=model,
        stream=bool(read.stream),
        include_usage=True,
        effort=effort,
        effort_field=effort_field,
        max_tokens=within(read.max_output_tokens, "max_output_tokens"),
        characters=count.characters + json_characters(read.tools),
        images=count.images,
        audios=count.audios,
        tools=bool(read.tools),
        service_tier=read.service_tier,
        user=read.user,
        previous=read.previous_response_id,
        thinking=read_thinking(read, body),
    )


def read_completions(body: bytes) -> Asked:
    """``/v1/completions``."""
    read = COMPLETIONS.decode(body)
    model = need_model(read.model)
    count = Counted(characters=len(read.suffix or ""))
    if is_there(read.prompt):
        count.prompt(read.prompt, "prompt")
    elif not is_there(read.prompt_embeds):
        raise bad_field("prompt", found="nothing", allowed=PROMPTS)
    stream = bool(read.stream)
    choices = within(read.n, "n", most=MOST_CHOICES) or 1
    best_of = within(read.best_of, "best_of", most=MOST_CHOICES) or 1
    return Asked(
        endpoint="completions",
        model=model,
        stream=stream,
        include_usage=stream and wants_usage(read.stream_options),
        max_tokens=within(read.max_tokens, "max_tokens", low=0),  # 0: echo and score the prompt
        characters=count.characters,
        prompt_tokens=count.tokens,
        service_tier=read.service_tier,
        choices=max(choices, best_of) * count.prompts,
        user=read.user,
    )


def read_embeddings(body: bytes) -> Asked:
    """``/v1/embeddings``."""
    read = EMBEDDINGS.decode(body)
    model = need_model(read.model)
    count = Counted()
    if is_there(read.input):
        count.prompt(read.input, "input")
    elif read.messages:
        for message in read.messages:
            count.content(message.content)
    else:
        raise bad_field("input", found="nothing", allowed=PROMPTS)
    return Asked(
        endpoint="embeddings",
        model=model,
        characters=count.characters,
        prompt_tokens=count.tokens,
        images=count.images,
        audios=count.audios,
        user=read.user,
    )


READERS = {
    "chat": read_chat,
    "completions": read_completions,
    "responses": read_responses,
    "embeddings": read_embeddings,
}
PROMPTS = "a string, a list of strings, a list of token ids, or a list of such lists"


class Counted:
    """Counts of a prompt: ``characters`` of text, ``tokens`` given as ids (``None``: no ids),
    ``images``, ``audios``, and how many ``prompts`` there are.
    """

    __slots__ = ("audios", "characters", "images", "prompts", "tokens")

    def __init__(self, *, characters: int = 0) -> None:
        self.characters = characters
        self.tokens: int | None = None
        self.images = 0
        self.audios = 0
        self.prompts = 1

    def content(self, content: fields.Content) -> None:
        """Add a message's content."""
        if content is None:
            return
        if isinstance(content, str):
            self.characters += len(content)
            return
        for part in content:
            if isinstance(part, str):
                self.characters += len(part)
                continue
            self.characters += len(part.text or "")
            self.part_type(part.type)

    def part_type(self, type_: str) -> None:
        """Add what the type of a part says."""
        if type_ in fields.IMAGES:
            self.images += 1
        elif type_ in fields.AUDIOS:
            self.audios += 1

    def prompt(self, raw: msgspec.Raw, param: str) -> None:
        """Add a prompt of text or of token ids. Ids are counted, not decoded: there may be
        millions. Raises ``RequestError`` 400, or as the decoder does.
        """
        view = bytes(raw)
        if view.startswith(b"[") and b'"' not in view and b"{" not in view:
            return self.ids(view.translate(None, SPACES), param)
        try:
            read = TEXTS.decode(view)
        except msgspec.ValidationError as error:
            inner = str(error).partition(" - at `$")[2].rstrip("`")
            raise bad_field(param + inner, found="another type", allowed=PROMPTS) from None
        if isinstance(read, str):
            self.characters += len(read)
            return None
        self.prompts = len(read)
        for one in read:
            if isinstance(one, int | list):
                self.tokens = (self.tokens or 0) + (1 if isinstance(one, int) else len(one))
            else:
                self.content([one])
        return None

    def ids(self, view: bytes, param: str) -> None:
        """Add a prompt of token ids: ``[1,2]`` or ``[[1,2],[3]]``, without spaces."""
        strange = view.translate(None, DIGITS)
        if strange or view == b"[]" or b"[]" in view or view.find(b"[[", 1) != -1:
            found = "a list that is empty, nested too deep, or of something else"
            raise bad_field(param, found=found, allowed=PROMPTS)
        self.tokens = view.count(b",") + 1  # one comma between any two ids, at either depth
        self.prompts = max(1, view.count(b"[") - 1)


def need_model(model: str | None) -> str:
    """The model's name. Raises ``RequestError`` 400 where there is none."""
    if not model:
        found = "nothing" if model is None else "an empty string"
        raise bad_field("model", found=found, allowed="the name of a model (GET /v1/models)")
    return model


def within(value: int | None, param: str, *, low: int = 1, most: int = MOST_TOKENS) -> int | None:
    """``value``, an integer from ``low`` to ``most``, or ``None``. Raises ``RequestError`` 400."""
    if value is not None and not low <= value <= most:
        found = str(value) if abs(value) < 10**20 else "a number with more than 20 digits"
        raise bad_field(param, found=found, allowed=f"an integer from {low} to {most}")
    return value


def least(one: int | None, other: int | None) -> int | None:
    """The smaller of two limits, either of which may be absent."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def wants_usage(options: fields.StreamOptions | None) -> bool:
    """Whether the client asked for the usage chunk of a stream."""
    return options is not None and options.include_usage is True


def is_there(raw: msgspec.Raw) -> bool:
    """Whether a field holds something."""
    return len(raw) > 0 and bytes(raw) != b"null"


def nothing(value: object) -> str:
    """Words for a field that holds nothing of use."""
    return "nothing" if value is None else shown(value)


def json_characters(*lists: list[msgspec.Raw] | None) -> int:
    """Characters of JSON in lists of raw values."""
    return sum(sum(map(len, raws)) for raws in lists if raws)


def rewritten(body: bytes, changes: Mapping[str, object], removed: Collection[str] = ()) -> bytes:
    """``body`` with top-level fields set to ``changes`` and those of ``removed`` gone; the bytes of
    every other field's value, and the order of fields, stay. The same object where that changes
    nothing. ``body`` is one that ``read_body`` took.
    """
    if not changes and not removed:
        return body
    top = TOP_LEVEL.decode(body)
    different = False
    for name in removed:
        different |= top.pop(name, None) is not None
    for name, value in changes.items():
        raw = value if isinstance(value, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(value))
        if name not in top or bytes(top[name]) != bytes(raw):
            top[name] = raw
            different = True
    return msgspec.json.encode(top) if different else body
