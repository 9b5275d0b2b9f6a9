"""All parts of one serving process, put together; takes another configuration whole."""

from __future__ import annotations

import time
from pathlib import Path

from baseload.base.errors import OutputError
from baseload.gateway.core import Core
from baseload.gateway.driver import Driver, Listener
from baseload.gateway.gate import Gate
from baseload.gateway.hands import Hands
from baseload.gateway.listeners import Metering
from baseload.gateway.live_fleet import LiveFleet, LiveReplica
from baseload.gateway.recorder import Recorder
from baseload.gateway.surface import Surface
from baseload.gateway.upstream import AiohttpUpstream, Upstream


class Service:
    """The gateway without its sockets. Make it inside a running loop.

    ``record``: file for the log of events. Raises ``OutputError`` where it cannot be written.
    """

    def __init__(self, fleet: LiveFleet, *, record: Path | None = None) -> None:
        config, now_ns = fleet.config, time.monotonic_ns()
        self._http = AiohttpUpstream()
        recorder = None
        if record is not None:
            try:
                recorder = Recorder(record.open("wb"), config, now_ns=now_ns)
            except OSError as error:
                raise OutputError(
                    f"record events in {record}", found=str(error.strerror)
                ) from error
        self.core = Core(fleet, now_ns, kept=max(1, config.telemetry.decisions_kept))
        self.metering = Metering(fleet)
        listeners: list[Listener] = [self.metering]
        self.driver = Driver(
            self.core,
            fleet,
            upstreams=self._upstream,
            listeners=listeners,
            recorder=recorder,
        )
        self.hands = Hands(
            self.driver.tell, read=self.metering.engine_page, trouble=self.driver.trouble
        )
        self.driver.hand = self.hands
        self.gate = Gate(config)
        self.surface = Surface(
            self.driver,
            self.gate,
            ready=lambda: self.core.ready(time.monotonic_ns()),
            metrics=self._metrics,
        )
        self._configured(fleet)

    def _upstream(self, replica: LiveReplica) -> Upstream:
        """The way to a replica."""
        return self._http

    def _metrics(self, accept: str) -> tuple[bytes, bytes]:
        return self.metering.page(accept, self.core, self.driver)

    def _configured(self, fleet: LiveFleet) -> None:
        self.hands.configured(self.driver.ways, fleet.config.health)

    async def start(self) -> None:
        """Begin to look after the fleet."""
        self.driver.start()

    def reconfigure(self, fleet: LiveFleet) -> None:
        """Take over another fleet in one go: no request sees half of it."""
        self.driver.reconfigure(fleet)
        self.gate.configured(fleet.config)
        self.surface.configured(fleet.config)
        self.metering.configured(fleet)
        self._configured(fleet)

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload."""
        self.metering.reloaded(ok=ok)

    async def close(self) -> None:
        """End everything that is still open."""
        self.surface.close()
        await self.hands.close()
        self.driver.close()
        await self._http.close()
