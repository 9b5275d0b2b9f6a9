"""A web that tests hold in their hands: answers by the start of the address, a clock that moves
only when told, and a waiter that takes note and does not wait.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from baseload.sources.http_client import Connection
from baseload.sources.signals import ns_of

NOW = "2026-03-10T12:20:00Z"
HOUR_NS = 3_600_000_000_000


class FakeWeb:
    """``answers``: start of the path -> body, (status, headers, body), an exception, or a function
    of the address that gives one of these.
    """

    def __init__(self, now: str = NOW) -> None:
        self.now_ns = ns_of(now)
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.waited_s: list[float] = []

    def connection(self, cache_dir: Path | None = None) -> Connection:
        return Connection(
            fetch=self.fetch,
            wait=self.wait,
            clock_ns=lambda: self.now_ns,
            cache_dir=cache_dir,
        )

    def wait(self, pause_s: float) -> None:
        self.waited_s.append(pause_s)
        self.now_ns += round(pause_s * 1e9)

    def pass_time(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)

    def fetch(self, url: str, headers, timeout_s: float):
        assert timeout_s > 0
        self.asked.append((url, dict(headers)))
        path = url.partition("://")[2].partition("/")[2]
        for start, answer in self.answers.items():
            if path.startswith(start):
                return self._give(answer, url)
        return 404, {}, b"nothing here"

    def _give(self, answer: Any, url: str):
        if isinstance(answer, Callable):
            answer = answer(url)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, tuple):
            return answer
        if isinstance(answer, str):
            return 200, {}, answer.encode()
        return 200, {}, json.dumps(answer).encode()
