"""All parts of one serving process, put together; takes another configuration whole."""

from __future__ import annotations

import time
from pathlib import Path

from baseload.gateway.core import Core
from baseload.gateway.driver import Driver
from baseload.gateway.emulated_fleet import EmulatedFleet, is_emulated
from baseload.gateway.event_log import EventLog
from baseload.gateway.gate import Gate
from baseload.gateway.hands import Hands
from baseload.gateway.listeners import Metering
from baseload.gateway.live_fleet import LiveFleet, LiveReplica
from baseload.gateway.live_request import ways_of
from baseload.gateway.surface import Surface
from baseload.gateway.upstream import AiohttpUpstream, Upstream


class Service:
    """The gateway without its sockets. Make it inside a running loop.

    ``record``: file for the log of events. ``workers``: processes that share keys' limits. Raises
    ``OutputError`` where the file cannot be written, ``BadInputError`` for a secret that is not
    set.
    """

    def __init__(self, fleet: LiveFleet, *, record: Path | None = None, workers: int = 1) -> None:
        config, now_ns = fleet.config, time.monotonic_ns()
        self.gate = Gate(config, workers=workers)
        kept = max(1, config.telemetry.decisions_kept)
        log = None if record is None else EventLog(record, fleet, now_ns, kept=kept)
        self._http = AiohttpUpstream()
        self.emulated = EmulatedFleet(fleet)
        self.core = Core(fleet, now_ns, kept=max(1, config.telemetry.decisions_kept))
        self.metering = Metering(fleet)
        self.driver = Driver(
            self.core,
            fleet,
            upstreams=self._upstream,
            listeners=(self.metering,),
            log=log,
        )
        self.hands = Hands(
            self.driver.tell, read=self.metering.engine_page, trouble=self.driver.trouble
        )
        self.driver.hand = self.hands
        self.surface = Surface(
            self.driver,
            self.gate,
            ready=lambda: self.core.ready(time.monotonic_ns()),
            metrics=lambda accept: self.metering.page(accept, self.core, time.monotonic_ns()),
            explain=lambda request: self.core.explain(request, time.monotonic_ns()),
            refused=self.metering.refused,
        )

    def _upstream(self, replica: LiveReplica) -> Upstream:
        """The way to a replica."""
        return self.emulated.upstream if is_emulated(replica) else self._http

    def start(self) -> None:
        """Begin to look after the fleet."""
        self.hands.configured(self.driver.ways, self.driver.config.health)
        self.driver.start()

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
        self.hands.configured(self.driver.ways, fleet.config.health)

    async def close(self) -> None:
        """End everything that is still open."""
        self.surface.close()
        await self.hands.close()
        self.driver.close()
        await self.emulated.close()
        await self._http.close()
        self.metering.close()
