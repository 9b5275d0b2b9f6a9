"""All parts of one serving process, put together; takes another configuration whole."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from baseload.gateway.core import Core
from baseload.gateway.driver import Driver
from baseload.gateway.emulated.fleet import EmulatedFleet, is_emulated
from baseload.gateway.event_log import EventLog
from baseload.gateway.fellows import Fellows, Told
from baseload.gateway.gate import Gate
from baseload.gateway.hands import Hands
from baseload.gateway.listeners import Metering
from baseload.gateway.live_fleet import LiveFleet, LiveReplica
from baseload.gateway.live_request import ways_of
from baseload.gateway.spans import open_spans
from baseload.gateway.surface import Surface
from baseload.gateway.tracing import Tracing
from baseload.gateway.upstream import HttpUpstream, Upstream
from baseload.gateway.worker_board import BoardKeeper
from baseload.gateway.workers import Place

SHOW_S = 2.0
"""How often a worker among several shows what it has."""


class Service:
    """The gateway without its sockets. Make it inside a running loop.

    ``record``: file for the log of events. ``place``: among several worker processes. Raises
    ``OutputError`` where the file cannot be written, ``BadInputError`` for a secret that is not
    set.
    """

    def __init__(
        self, fleet: LiveFleet, *, record: Path | None = None, place: Place | None = None
    ) -> None:
        config, now_ns = fleet.config, time.monotonic_ns()
        self.gate = Gate(config, workers=1 if place is None else place.workers)
        kept, leads = max(1, config.telemetry.decisions_kept), place is None or place.leads
        log = None if record is None else EventLog(record, fleet, now_ns, kept=kept, leads=leads)
        self._http = HttpUpstream()
        self.emulated = EmulatedFleet(fleet)
        self.core = Core(fleet, now_ns, kept=kept, leads=leads)
        self.metering = Metering(fleet, folder=None if place is None else place.folder, leads=leads)
        spans = open_spans(config.telemetry)
        self.tracing = None if spans is None else Tracing(spans)
        self.driver = Driver(
            self.core,
            fleet,
            upstreams=self._upstream,
            listeners=(self.metering, *(() if self.tracing is None else (self.tracing,))),
            log=log,
        )
        self._shown: asyncio.TimerHandle | None = None
        self.board = None if place is None else BoardKeeper(place, self.core, self.driver.tell)
        self.hands = Hands(
            self.driver.tell,
            read=self.metering.engine_page,
            energy=self.metering.engine_energy,
            trouble=self.driver.trouble,
        )
        self.driver.hand = self.hands
        self.surface = Surface(
            self.driver,
            self.gate,
            ready=lambda: self.core.ready(time.monotonic_ns()),
            metrics=lambda accept: self.metering.page(accept, self.core, time.monotonic_ns()),
            explain=lambda request: self.core.explain(request, time.monotonic_ns()),
            refused=self.metering.refused,
            summary=lambda last: self.metering.summary(self.core, last, time.monotonic_ns()),
            elsewhere=self._elsewhere,
        )
        self.fellows = (
            None
            if place is None
            else Fellows(place.folder, self.driver.mark, self.surface.decision)
        )

    def _upstream(self, replica: LiveReplica) -> Upstream:
        """The way to a replica."""
        return self.emulated.upstream if is_emulated(replica) else self._http

    async def _elsewhere(self, mark: str, number: int) -> Told | None:
        """A decision that another worker took."""
        return None if self.fellows is None else await self.fellows.ask(mark, number)

    def start(self) -> None:
        """Begin to look after the fleet."""
        if self.core.leads:
            self.hands.configured(self.driver.ways, self.driver.config.health)
        if self.board is not None:
            self.board.start()
            self._show()
        if self.fellows is not None:
            try:
                self.fellows.start()
            except OSError as error:  # others serve no less without its decisions
                self.driver.trouble("fellows", error)
        self.driver.start()

    def _show(self) -> None:
        """Show the fleet in the metrics now and then, so that another worker's page has it."""
        self.metering.refresh(self.core, time.monotonic_ns())
        self.metering.metrics.sample_process()
        self._shown = asyncio.get_running_loop().call_later(SHOW_S, self._show)

    def reconfigure(self, fleet: LiveFleet) -> None:
        """Take over another fleet in one go: no request sees half of it. Raises ``BadInputError``
        for a secret that is not set, and then changes nothing.
        """
        ring = self.gate.ring_of(fleet.config)
        ways_of(fleet, self._upstream)  # its secrets are there
        self.emulated.configured(fleet)
        self.driver.reconfigure(fleet)
        self.gate.configured(fleet.config, ring)
        self.surface.configured(fleet.config)
        self.metering.configured(fleet)
        if self.core.leads:
            self.hands.configured(self.driver.ways, fleet.config.health)
        if self.board is not None:
            self.board.configured()

    async def close(self) -> None:
        """End everything that is still open."""
        self.surface.close()
        if self._shown is not None:
            self._shown.cancel()
        if self.board is not None:
            self.board.close()
        if self.fellows is not None:
            await self.fellows.close()
        await self.hands.close()
        self.driver.close()
        await self.emulated.close()
        await self._http.close()
        self.metering.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)
