"""An answer as its client sees it come: first token, last token, usage, energy, how it ended. Pure:
each piece is handed in with the instant at which it came.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class _Delta(msgspec.Struct, frozen=True, gc=False):
    content: object = None
    reasoning_content: object = None
    reasoning: object = None
    tool_calls: object = None


class _Choice(msgspec.Struct, frozen=True, gc=False):
    delta: _Delta | None = None
    text: object = None
    finish_reason: str | None = None


class _Details(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    completion_tokens_details: _Details | None = None


class AnswerEnergy(msgspec.Struct, frozen=True, gc=False):
    """The ``energy`` object of an answer, as far as it is summed up: joules, emissions [gCO2e], how
    the joules came about.
    """

    energy_j: float | None = msgspec.field(name="energy_joules", default=None)
    carbon_g_co2eq: float | None = None
    method: str | None = None


class _Chunk(msgspec.Struct, frozen=True, gc=False):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    energy: AnswerEnergy | None = None
    error: object = None


_CHUNK = msgspec.json.Decoder(_Chunk)
_ENERGY = msgspec.json.Decoder(AnswerEnergy)
_MOST_DETAIL = 300


class Reading:
    """One answer while it comes. ``first_ns``, ``last_ns``: when its first and last tokens came
    (-1: none has); ``kind``: how it failed, empty for a good answer (after ``end``).
    """

    __slots__ = (
        "_done",
        "_held",
        "_stream",
        "detail",
        "energy",
        "finish",
        "first_ns",
        "headers",
        "kind",
        "last_ns",
        "pieces",
        "status",
        "usage",
    )

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream
        self._held = b""
        self._done = False
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.kind = self.detail = ""
        self.first_ns = self.last_ns = -1
        self.pieces = 0
        self.finish: str | None = None
        self.usage: _Usage | None = None
        self.energy: AnswerEnergy | None = None

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The answer has begun, with these headers (names in lower case)."""
        self.status, self.headers = status, headers
        if status >= 400 or "event-stream" not in headers.get("content-type", ""):
            self._stream = False

    def feed(self, data: bytes, now_ns: int) -> None:
        """``data`` has come at ``now_ns``."""
        data = self._held + data if self._held else data
        if not self._stream:
            self._held = data
            return
        lines = data.split(b"\n")
        self._held = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                self._event(line[5:].strip(), now_ns)
            elif line.startswith(b": energy"):
                self._comment(line[8:])

    def fail(self, kind: str, detail: str) -> None:
        """The exchange broke off; the first failure counts."""
        if not self.kind:
            self.kind, self.detail = kind, detail[:_MOST_DETAIL]

    def end(self, now_ns: int) -> None:
        """Nothing more comes: judge what has."""
        if self._stream:
            if not self._done:
                self.fail("closed", "the stream ended without [DONE]")
            return
        if self.kind:
            return
        if self.status >= 400:
            reason = self.headers.get("x-llm-d-request-dropped-reason", "")
            self.fail(f"status {self.status}" + (f" ({reason})" if reason else ""), self._words())
            return
        try:
            whole = _CHUNK.decode(self._held)
        except msgspec.DecodeError as error:
            self.fail("garbage", f"{error}: {self._words()}")
            return
        self._take(whole)
        self.last_ns = now_ns
        if not whole.choices and not self.kind:
            self.fail("garbage", f"no choices: {self._words()}")

    def _event(self, payload: bytes, now_ns: int) -> None:
        """One event of a stream."""
        if payload == b"[DONE]":
            self._done = True
            return
        try:
            chunk = _CHUNK.decode(payload)
        except msgspec.DecodeError as error:
            self.fail("garbage", f"{error}: {payload[:200].decode(errors='replace')}")
            return
        self._take(chunk)
        for choice in chunk.choices:
            made = choice.delta
            if choice.text or (
                made is not None
                and (made.content or made.reasoning_content or made.reasoning or made.tool_calls)
            ):
                self.pieces += 1
                self.last_ns = now_ns
                if self.first_ns < 0:
                    self.first_ns = now_ns

    def _take(self, chunk: _Chunk) -> None:
        """What a chunk, or a whole answer, says beside its text."""
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.energy is not None:
            self.energy = chunk.energy
        if chunk.error is not None:
            self.fail("error", str(chunk.error))
        for choice in chunk.choices:
            self.finish = choice.finish_reason or self.finish

    def _comment(self, text: bytes) -> None:
        """The energy object, in a comment of the stream."""
        try:
            self.energy = _ENERGY.decode(text.strip())
        except msgspec.DecodeError as error:
            self.fail("garbage", f"energy comment: {error}")

    def _words(self) -> str:
        """The error's own message, else the beginning of the body."""
        try:
            said = msgspec.json.decode(self._held)["error"]
            return str(said["message"])
        except (msgspec.DecodeError, KeyError, TypeError, IndexError):
            return self._held[:200].decode(errors="replace")
