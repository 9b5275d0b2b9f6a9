"""Reads a stream of server-sent events on its way through: what goes by is counted, not changed.

Pure: bytes in, bytes out. Each event is decoded as far as it is read (cheaper than searching for
its words, and what is no JSON is noticed); its bytes are handed on as they came. Only what must
come last is held back until ``end``: the usage chunk, a Responses stream's last event, ``[DONE]``.
"""

from __future__ import annotations

import msgspec

from . import answer_fields as fields
from .answer_splice import energy_comment, with_energy, with_response_energy
from .config import Endpoint, Engine
from .events import Cause

DONE = b"data: [DONE]\n\n"

LINE_BYTES = 4 * 1024 * 1024
"""Longest event, where none is given; what is longer is no answer."""

FIRST_BYTES = b"deir:\n\r\xef"
"""What a line of a stream can start with: data, event, id, retry, a comment, an empty line."""

FIELDS = (b"data", b"event", b"id", b"retry")
REPLY = msgspec.json.Decoder(fields.Reply)
EVENT = msgspec.json.Decoder(fields.ResponseEvent)

ANSWER_DELTAS = frozenset({"response.output_text.delta", "response.refusal.delta"})
TOOL_DELTAS = frozenset(
    {
        "response.function_call_arguments.delta",
        "response.custom_tool_call_input.delta",
        "response.mcp_call_arguments.delta",
    }
)
THINKING_DELTAS = frozenset(
    {"response.reasoning_text.delta", "response.reasoning_summary_text.delta"}
)
LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class StreamReader:
    """One stream of ``engine`` at ``endpoint``.

    ``keep_usage``: the client asked for the usage chunk; else it is left out (the gateway itself
    always asks for it). ``choices``: how many are to come. ``line_bytes``: longest event.

    To read at any time: ``tokens`` seen going by, ``usage``, ``finish`` (chat's words, also for
    Responses), ``answered`` (something of the answer has come, not only thinking), ``tool_calls``,
    ``reasoned``, ``done`` (all has come: call ``end`` now), ``broken`` (why it is no answer, or
    ``None``) with its ``detail``, ``error`` (the engine's own error object, as JSON), ``doubts``
    (what it said that cannot be).
    """

    def __init__(
        self,
        engine: Engine,
        endpoint: Endpoint,
        *,
        keep_usage: bool,
        choices: int = 1,
        line_bytes: int = LINE_BYTES,
    ) -> None:
        self.engine = engine
        self.endpoint = endpoint
        self.keep_usage = keep_usage
        self.tokens = 0
        self.usage = fields.NO_USAGE
        self.finish = ""
        self.answered = False
        self.tool_calls = False
        self.reasoned = False
        self.exhausted = False
        self.done = False
        self.broken: Cause | None = None
        self.detail = ""
        self.error = b""
        self.doubts: list[str] = []
        self._choices = choices
        self._line_bytes = line_bytes
        self._responses = endpoint == "responses"
        self._pending = bytearray()
        self._begun = False
        self._spoke: set[int] = set()
        self._finished: dict[int, str] = {}
        self._usage_event = b""
        self._usage_payload = b""
        self._last = b""
        self._tail = b""
        self._ended = False

    def feed(self, chunk: bytes) -> tuple[bytes, int]:
        """Read ``chunk``: the bytes to hand on now, and how many tokens are in them (one for each
        event with text; engines may put several into one). After ``done`` or ``broken`` nothing is
        handed on.
        """
        if self.done or self.broken is not None or self._ended:
            return b"", 0
        pending = self._pending
        if pending:
            searched = max(0, len(pending) - 3)
            pending += chunk
            if event_end(pending, searched) < 0:
                self._check_pending()
                return b"", 0
            chunk = bytes(pending)
            pending.clear()
        before = self.tokens
        one_line = chunk.find(b"\n") == len(chunk) - 2 > 0 and chunk.endswith(b"\n")
        if one_line and not self._usage_event:  # the usual case: exactly one event
            held = self._event(chunk)
            return b"" if held else chunk, self.tokens - before
        return self._events(chunk), self.tokens - before

    def _events(self, chunk: bytes) -> bytes:
        """Read all whole events of ``chunk``, keep the rest; what to hand on of them."""
        out: list[bytes] = []
        start = run = 0
        size = len(chunk)
        while start < size:
            end = event_end(chunk, start)
            if end < 0:
                self._pending += chunk[start:]
                self._check_pending()
                break
            waiting = self._usage_event
            held = self._event(chunk[start:end])
            if held or waiting:
                out.append(chunk[run:start])
                run = end if held else start
                if waiting and not self.done and not (held and self._usage_event is waiting):
                    out.append(waiting)  # it was not the last one
                    self._usage_event = b"" if not held else self._usage_event
            start = end
            if self.done or self.broken is not None:
                break
        if not out and start == size:
            return chunk
        out.append(chunk[run:start])
        return b"".join(out)

    def _check_pending(self) -> None:
        """Notice early what will never be an event."""
        pending = self._pending
        if pending[0] not in FIRST_BYTES:
            self._fail("garbage", "what came is not a stream of events")
        elif len(pending) > self._line_bytes:
            self._fail("garbage", f"an event is longer than {self._line_bytes} bytes")

    def _fail(self, cause: Cause, detail: str) -> None:
        if self.broken is None:
            self.broken = cause
            self.detail = detail
            self._pending.clear()

    def _event(self, event: bytes) -> bool:
        """Read one event; whether its bytes are held back (or dropped)."""
        if event.startswith(b"data: ") and event.find(b"\n") >= len(event) - 3:  # one line
            payload = event[6:]
        else:
            found = self._payload(event)
            if found is None:
                return self.broken is not None
            payload = found
        if payload.startswith(b"[DONE]") and payload.strip() == b"[DONE]":
            self._last += event
            self.done = True
            return True
        if len(event) > self._line_bytes:
            self._fail("garbage", f"an event is longer than {self._line_bytes} bytes")
            return True
        if not fields.is_text(event):  # clients would fail at it
            self._fail("garbage", "an event is not UTF-8")
            return True
        self._begun = True
        if self._responses:
            return self._response_event(event, payload)
        return self._reply(event, payload)

    def _payload(self, event: bytes) -> bytes | None:
        """The data of an event of any form; ``None`` where it has none."""
        data: list[bytes] = []
        for line in event.split(b"\n"):
            line = line.rstrip(b"\r").removeprefix(b"" if self._begun else b"\xef\xbb\xbf")
            if not line or line.startswith(b":"):
                continue
            name, _, value = line.partition(b":")
            if name not in FIELDS:
                self._fail("garbage", "a line is not one of a stream of events")
                return None
            if name == b"data":
                data.append(value.removeprefix(b" "))
        return b"\n".join(data) if data else None

    def _reply(self, event: bytes, payload: bytes) -> bool:
        """A chunk of chat or completions."""
        try:
            reply: fields.Reply | None = REPLY.decode(payload)
        except (msgspec.DecodeError, ValueError, RecursionError):
            reply = fields.read_loosely(payload, fields.Reply, self.doubts)
        if reply is None:
            self._fail("garbage", "the data of an event is not a JSON object")
            return True
        if reply.error and fields.is_there(reply.error):
            return self._refused(bytes(reply.error))
        counted = False
        for choice in reply.choices or ():
            counted |= self._choice(choice)
        self.tokens += counted
        if reply.usage is None:
            return False
        self.usage = fields.usage_of(reply.usage, self.doubts)
        del self.doubts[fields.MOST_STRANGE :]
        if reply.choices and not (self.keep_usage and self._complete()):
            return False
        return self._hold_usage(event, payload)

    def _choice(self, choice: fields.Choice) -> bool:
        """Read one choice of a chunk; whether it holds something that was generated."""
        said = choice.delta or choice.message
        index = choice.index or 0
        new = bool(choice.text)
        if said is not None:
            new = new or bool(said.content)
            if said.reasoning_content or said.reasoning:
                self.reasoned = new = True
            if said.tool_calls or fields.is_there(said.function_call):
                self.tool_calls = new = True
            if index not in self._spoke and fields.has_answer(said):
                self._spoke.add(index)
                self.answered = True
        if choice.text and index not in self._spoke and not choice.text.isspace():
            self._spoke.add(index)
            self.answered = True
        if choice.finish_reason:
            self.finish = choice.finish_reason
            self._finished[index] = choice.finish_reason
            self.exhausted |= choice.finish_reason == "length" and index not in self._spoke
        return new

    def _hold_usage(self, event: bytes, payload: bytes) -> bool:
        """Keep the chunk with the usage until the energy is known; drop it where the client did not
        ask for it. Of several the last holds.
        """
        if self.keep_usage:
            self._usage_event, self._usage_payload = event, payload
        return True

    def _complete(self) -> bool:
        """Whether every choice has finished."""
        return len(self._finished) >= self._choices

    def _refused(self, error: bytes) -> bool:
        """The engine's own error instead of more of an answer."""
        self.error = error
        cause, words = fields.cause_of(error)
        self._fail(cause, words or "the engine sent an error without a message")
        return True

    def _response_event(self, event: bytes, payload: bytes) -> bool:
        """An event of the Responses API."""
        try:
            read: fields.ResponseEvent | None = EVENT.decode(payload)
        except (msgspec.DecodeError, ValueError, RecursionError):
            read = fields.read_loosely(payload, fields.ResponseEvent, self.doubts)
        if read is None:
            self._fail("garbage", "the data of an event is not a JSON object")
            return True
        if read.type == "error" or (not read.type and fields.is_there(read.error)):
            return self._refused(bytes(read.error) if fields.is_there(read.error) else payload)
        if read.type in LAST_EVENTS:
            return self._last_event(event, payload, read)
        if read.delta:
            self._delta(read)
        return False

    def _delta(self, read: fields.ResponseEvent) -> None:
        """Something generated, of whichever kind."""
        kind = read.type
        if kind in ANSWER_DELTAS:
            self.answered = self.answered or not (read.delta or "").isspace()
        elif kind in TOOL_DELTAS:
            self.tool_calls = self.answered = True
        elif kind in THINKING_DELTAS:
            self.reasoned = True
        else:
            return
        self.tokens += 1

    def _last_event(self, event: bytes, payload: bytes, read: fields.ResponseEvent) -> bool:
        """The event that ends a Responses stream; held back for the energy."""
        response = read.response or fields.Response()
        if read.type == "response.failed":
            error = bytes(response.error) if fields.is_there(response.error) else payload
            return self._refused(error)
        if response.usage is not None:
            self.usage = fields.usage_of(response.usage, self.doubts)
        answered, called = fields.outputs_of(response)
        self.answered |= answered or called
        self.tool_calls |= called
        self.finish = fields.finish_of(response, called=self.tool_calls)
        self.exhausted = self.finish == "length" and not self.answered
        self._finished[0] = self.finish
        self._usage_event, self._usage_payload = event, payload
        self.done = True
        return True

    def settle(self) -> None:
        """Nothing more comes: read an event that lacks its empty line, and find an answer that is
        not whole ``broken``. ``usage``, ``finish`` and ``exhausted`` hold from here on, before
        ``end``.
        """
        if self._pending and not self.done and self.broken is None:
            self._rest()
        if self.broken is None and not self.done and not self._complete():
            self._fail("closed", "the stream ended before the answer did")

    def end(self, energy: bytes | None) -> bytes:
        """The stream is over: by ``done``, or because its connection ended. What is left to hand
        on: the usage chunk with the ``energy`` object (JSON) in it, the comment ``: energy {...}``,
        ``[DONE]``; nothing where it is ``broken``, which it also is when it ended too soon.
        """
        if self._ended:
            return b""
        self.settle()
        self._ended = True
        if self.broken is not None:
            return b""
        comment = b"" if energy is None else energy_comment(energy)
        if self._responses:
            return comment + self._usage_with(energy) + self._last
        return self._usage_with(energy) + self._tail + comment + (self._last or DONE)

    def _rest(self) -> None:
        """The last event may lack its empty line."""
        rest = bytes(self._pending).rstrip(b"\r\n") + b"\n\n"
        self._pending.clear()
        whole = self._complete()
        if not self._event(rest) and self.broken is None:
            self._tail = rest
        elif self.broken == "garbage":
            self.doubts.append("the stream ended inside an event")
            self.broken, self.detail = (None, "") if whole else ("closed", self.doubts[-1])

    def _usage_with(self, energy: bytes | None) -> bytes:
        """The held chunk, the energy beside its usage."""
        event, payload = self._usage_event, self._usage_payload
        if not event or energy is None:
            return event
        splice = with_response_energy if self._responses else with_energy
        trimmed = payload.rstrip()
        return event.replace(trimmed, splice(trimmed, energy), 1)


def event_end(data: bytes | bytearray, start: int) -> int:
    """Where the first event of ``data`` from ``start`` on ends, its empty line included; -1 where
    it does not. Lines may end in ``\\n`` or ``\\r\\n``.
    """
    plain = data.find(b"\n\n", start)
    if data.find(b"\r", start) < 0:
        return plain + 2 if plain >= 0 else -1
    carried = data.find(b"\n\r\n", start)
    if carried < 0 or 0 <= plain < carried:
        return plain + 2 if plain >= 0 else -1
    return carried + 3
