"""The log: one line a request, as text or JSON. Never the words of a prompt or an answer, never a
key's secret; what a client chose (its request id) is escaped and cut.

A line is made where the request ends (a few microseconds) and handed to a thread, which writes
many at once: a reader of the log that is slow or gone neither holds up the service nor ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from baseload.gateway import events

MOST_WAITING = 100_000
"""Lines that may wait to be written; more are dropped and counted."""

MOST_ID = 128
"""Characters of a request id that are logged."""

HOLD_S = 0.2
"""How long lines are collected before they are written."""


class _Line(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """A request as its line in JSON says it; what is not known is left out."""

    at: str
    event: str
    id: str
    endpoint: str
    key: str | None = None
    tier: str
    model: str
    effort: str | None = None
    replica: str | None = None
    stream: bool = False
    status: int
    reason: str
    attempts: int
    input_tokens: int = -1
    output_tokens: int = -1
    reasoning_tokens: int = -1
    cached_tokens: int = -1
    exhausted: bool = False
    queued_s: float
    ttft_s: float | None = None
    total_s: float
    energy_j: float
    wasted_j: float = 0.0
    missed: bool = False


_ENCODER = msgspec.json.Encoder()


class RequestLog:
    """Writes lines by ``write`` (to standard error unless told), each ending in a new line.
    ``form``: as in ``TelemetryEntry.log``. ``clock_s``: Unix time.
    """

    def __init__(
        self,
        form: Literal["text", "json", "off"],
        *,
        write: Callable[[bytes], object] | None = None,
        clock_s: Callable[[], float] = time.time,
    ) -> None:
        self.form = form
        self.dropped = 0
        self.broken = False
        self._write = write or _to_stderr
        self._clock_s = clock_s
        self._second = -1
        self._stamp = ""
        self._lines: list[bytes] = []
        self._some = threading.Event()
        self._closed = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    def closed(
        self,
        command: events.Close,
        *,
        request_id: str,
        endpoint: str,
        tier: str,
        model: str,
        effort: str | None,
        key: str | None = None,
        replica: str | None = None,
        stream: bool = False,
        input_tokens: int = -1,
        output_tokens: int = -1,
        reasoning_tokens: int = -1,
        cached_tokens: int = -1,
        exhausted: bool = False,
    ) -> None:
        """Log a request that has ended. ``key``: the name of the caller's key. ``model``: that
        answered, else that was asked for. Tokens below 0 are not known.
        """
        if self.form == "off":
            return
        if self.form == "text":
            ttft = "-" if command.ttft_s != command.ttft_s else f"{command.ttft_s:.4f}s"
            known = (input_tokens, output_tokens, reasoning_tokens, cached_tokens)
            tokens = "/".join([str(count) if count >= 0 else "-" for count in known])
            self._put(
                f"{self._now()} request {_word(request_id[:MOST_ID])} {endpoint}"
                f"{'+stream' if stream else ''} key={_word(key)} tier={_word(tier)}"
                f" model={_word(model)} effort={_word(effort)} replica={_word(replica)}"
                f" {command.reason} {command.status} attempts={command.attempts} tokens={tokens}"
                f" queued={command.queued_s:.4f}s ttft={ttft}"
                f" total={command.total_s:.4f}s energy={command.energy_j:.4g}J"
                f" wasted={command.wasted_j:.4g}J{' exhausted' if exhausted else ''}"
                f"{' missed' if command.missed else ''}\n".encode()
            )
            return
        ttft_s = command.ttft_s
        line = _Line(
            at=self._now(),
            event="request",
            id=request_id[:MOST_ID],
            endpoint=endpoint,
            key=key,
            tier=tier,
            model=model,
            effort=effort,
            replica=replica,
            stream=stream,
            status=command.status,
            reason=command.reason,
            attempts=command.attempts,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            reasoning_tokens=reasoning_tokens,
            cached_tokens=cached_tokens,
            exhausted=exhausted,
            queued_s=round(command.queued_s, 6),
            ttft_s=round(ttft_s, 6) if ttft_s == ttft_s else None,
            total_s=round(command.total_s, 6),
            energy_j=round(command.energy_j, 6),
            wasted_j=round(command.wasted_j, 6),
            missed=command.missed,
        )
        self._put(_json(line))

    def event(self, event: str, **fields: str | float | bool | None) -> None:
        """Log something that is not a request: a start, a reload, a fault of our own."""
        if self.form == "off":
            return
        said: dict[str, object] = {"at": self._now(), "event": event, **fields}
        self._put(_json(said) if self.form == "json" else _text(said))

    def flush(self) -> None:
        """Write what waits, on this thread."""
        with self._writing:
            lines, self._lines = self._lines, []
            if not lines or self.broken:
                return
            try:
                self._write(b"".join(lines))
            except (OSError, ValueError):  # the reader has gone, or the stream is closed
                self.broken = True

    def close(self, *, within_s: float = 2.0) -> None:
        """Write what waits and end the thread; a reader that does not read is given up."""
        self._closed.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join(within_s)
            self._thread = None

    def _put(self, line: bytes) -> None:
        if self.broken:
            return
        lines = self._lines
        if len(lines) >= MOST_WAITING:
            self.dropped += 1
            return
        lines.append(line)
        if self._thread is None:
            self._begin()
        if len(lines) == 1:
            self._some.set()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="baseload-log", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._some.wait()
            self._closed.wait(HOLD_S)
            self._some.clear()
            self.flush()
            if self._closed.is_set():
                return

    def _now(self) -> str:
        """The time in UTC to the millisecond; what belongs to a second is made once in it."""
        now_s = self._clock_s()
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return f"{self._stamp}{int((now_s - second) * 1000):03d}Z"


def _json(line: object) -> bytes:
    """The line in JSON and in ASCII: some readers of logs end a line at U+0085 or U+2028."""
    with contextlib.suppress(UnicodeEncodeError):  # half a character, as JSON can name it
        encoded = _ENCODER.encode(line)
        if encoded.isascii():
            return encoded + b"\n"
    return json.dumps(msgspec.to_builtins(line)).encode() + b"\n"


def _text(fields: dict[str, object]) -> bytes:
    """``at event name=value ...``; what is None is left out."""
    at, event, *rest = (
        str(value) if number < 2 else f"{name}={_word(value)}"
        for number, (name, value) in enumerate(fields.items())
        if value is not None
    )
    return f"{' '.join([at, event, *rest])}\n".encode()


def _word(value: object) -> str:
    """A value as one word: - for None, a JSON string where it has spaces, quotes, or characters
    that are not to be seen.
    """
    if value is None:
        return "-"
    word = str(value)
    if word.isascii() and word.isprintable() and word and " " not in word and '"' not in word:
        return word
    return json.dumps(word).replace("\x7f", "\\u007f")


def _to_stderr(lines: bytes) -> None:
    """Write all bytes to standard error."""
    rest = memoryview(lines)
    while rest:
        with contextlib.suppress(InterruptedError):
            rest = rest[os.write(2, rest) :]
