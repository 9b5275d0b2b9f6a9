"""Keeps a worker and its board in step: now and then it tells the others what it has, and its own
machine what they have.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import msgspec

from baseload.gateway.core import Core
from baseload.gateway.events import AnyEvent
from baseload.gateway.shared_fleet import SharedFleet
from baseload.gateway.workers import Place

BUSY_S, QUIET_S = 0.002, 0.02
"""Between two looks, while anything changes and while nothing does."""
LEAD_EVERY = 10
"""The leader writes what it decided at each tenth look."""


class BoardKeeper:
    """A worker's ``place`` at the board of its present configuration. Make it in a running loop."""

    def __init__(self, place: Place, core: Core, tell: Callable[[AnyEvent], None]) -> None:
        self._place, self._core, self._tell = place, core, tell
        self._timer: asyncio.TimerHandle | None = None
        self._looks, self._had = 0, -1
        self._shared = self._made()

    def _made(self) -> SharedFleet:
        place = self._place
        said = msgspec.json.encode(self._core.live.config)
        return SharedFleet(
            place.folder,
            hashlib.sha256(said).hexdigest(),
            self._core,
            worker=place.worker,
            workers=place.workers,
        )

    def start(self) -> None:
        """Begin to look."""
        self._look()

    def configured(self) -> None:
        """The machine serves another configuration: it meets the others there."""
        self._shared.clear()
        self._shared = self._made()
        self._shared.tell(self._core)

    def close(self) -> None:
        """This worker has nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._shared.clear()

    def _look(self) -> None:
        """Tell, listen, and say when to look again."""
        core, shared = self._core, self._shared
        shared.tell(core)
        others = shared.others(core)
        if others is not None:
            self._tell(others)
        if not core.leads:
            led = shared.led()
            if led is not None:
                self._tell(led)
        elif self._looks % LEAD_EVERY == 0:
            shared.lead(core)
        self._looks += 1
        has = int(core.replicas.decisions) + len(core.lives)
        busy = others is not None or has != self._had
        self._had = has
        self._timer = asyncio.get_running_loop().call_later(BUSY_S if busy else QUIET_S, self._look)
