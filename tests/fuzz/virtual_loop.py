"""A loop of asyncio whose time is made up: it never waits, it leaps to what is due next."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class HungError(AssertionError):
    """Nothing is left that could ever go on."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Never waits: tells the loop how long it would have."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        found: list[Any] = super().select(0)
        if found or (timeout is not None and timeout <= 0):
            return found
        if timeout is None:
            raise HungError("everybody waits for somebody else")
        self.loop.now_s += timeout
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock stands at ``now_s`` [s] and leaps."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.now_s = 1000.0
        super().__init__(selector)

    def time(self) -> float:
        """As of a loop."""
        return self.now_s

    def time_ns(self) -> int:
        """The same in nanoseconds."""
        return int(self.now_s * 1e9)
