"""The bodies that a replay sends: chat requests with prompts of a given length. Pure."""

from __future__ import annotations

import msgspec

from baseload.base.streams import stream
from baseload.gateway.load.plan import LoadPlan, Planned, text_offsets

BYTES_PER_TOKEN = 4
"""What English text takes in the vocabularies of today, about."""

_POOL_BYTES = 1 << 20
_COMMON = (
    "the of and to in is you it he was for on are as his they be at one had by we can out do how"
    " if up an so her but not all what were when your said use each she which their time will way"
    " about many then them some like him into has look two more see go no way could my than been"
    " who its now long get come may part sun sea ice oil day old new low hot run set cut let put"
    " far few red top own try ask men read need land here must big high such why act off play end"
    " air line found own still know half song rain door map night late air rest"
)
_WORDS = _COMMON.split()
"""Short common words, one token each in most vocabularies: with its blank about four bytes."""


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """What all requests of a run have in common. ``fixed_lengths``: engines write exactly the
    recorded number of tokens (``ignore_eos``, ``min_tokens``); otherwise at most that many.
    """

    model: str = "auto"
    stream: bool = True
    fixed_lengths: bool = True
    effort: str | None = None


class Bodies:
    """Makes the body of each request of a plan; the same seed gives the same bytes."""

    def __init__(self, plan: LoadPlan, style: Style, *, seed: int) -> None:
        self._text = _text(seed)
        self._offsets = text_offsets(plan, seed, len(self._text))
        model = msgspec.json.encode(style.model)
        self._head = b'{"model":' + model + b',"messages":[{"role":"user","content":"'
        self._tail = self._fields(style)
        self._fixed = style.fixed_lengths

    def body(self, request: Planned) -> bytes:
        """The request as JSON: a prompt of its input tokens, a limit of its output tokens."""
        wanted = BYTES_PER_TOKEN * request.input_tokens
        made = request.output_tokens
        least = b',"min_tokens":%d' % made if self._fixed else b""
        middle = b'"}],"max_tokens":%d' % made
        prompt = self._prompt(self._offsets[request.number], wanted)
        return b"".join((self._head, prompt, middle, least, self._tail))

    def _prompt(self, offset: int, wanted: int) -> bytes:
        """``wanted`` bytes of the text from ``offset`` on, which begins anew where it ends."""
        text = self._text
        found = text[offset : offset + wanted]
        while len(found) < wanted:
            found += text[: wanted - len(found)]
        return found

    @staticmethod
    def _fields(style: Style) -> bytes:
        """What follows the limit, the same in each body."""
        fields: dict[str, object] = {}
        if style.fixed_lengths:
            fields["ignore_eos"] = True
        if style.effort is not None:
            fields["reasoning_effort"] = style.effort
        fields["stream"] = style.stream
        if style.stream:
            fields["stream_options"] = {"include_usage": True}
        return b"," + msgspec.json.encode(fields)[1:]


def _text(seed: int) -> bytes:
    """A text of random words that needs no escapes in JSON."""
    rng = stream(seed, "gateway.load", "text")
    picks = rng.integers(0, len(_WORDS), size=_POOL_BYTES // BYTES_PER_TOKEN).tolist()
    return " ".join([_WORDS[pick] for pick in picks]).encode()[:_POOL_BYTES]
