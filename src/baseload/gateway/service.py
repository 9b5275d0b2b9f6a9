"""All parts of one serving process, put together; takes another configuration whole."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from baseload.base.errors import OutputError
from baseload.gateway.core import Core
from baseload.gateway.driver import Driver
from baseload.gateway.emulated_fleet import EmulatedFleet, is_emulated
from baseload.gateway.gate import Gate
from baseload.gateway.hands import Hands
from baseload.gateway.listeners import Metering
from baseload.gateway.live_fleet import LiveFleet, LiveReplica
from baseload.gateway.live_request import ways_of
from baseload.gateway.recorder import Recorder
from baseload.gateway.spans import open_spans
from baseload.gateway.surface import Surface
from baseload.gateway.tracing import Tracing
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
        recorder = None if record is None else _recorder(record, fleet, now_ns)
        self._http = AiohttpUpstream()
        self.emulated = EmulatedFleet(fleet)
        self.core = Core(fleet, now_ns, kept=max(1, config.telemetry.decisions_kept))
        self.metering = Metering(fleet)
        spans = open_spans(config.telemetry)
        self.tracing = None if spans is None else Tracing(spans)
        self.driver = Driver(
            self.core,
            fleet,
            upstreams=self._upstream,
            listeners=(self.metering, *(() if self.tracing is None else (self.tracing,))),
            recorder=recorder,
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
            summary=lambda last: self.metering.summary(self.core, last, time.monotonic_ns()),
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
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)


def _recorder(path: Path, fleet: LiveFleet, now_ns: int) -> Recorder:
    try:
        return Recorder(path.open("wb"), fleet.config, now_ns=now_ns)
    except OSError as error:
        raise OutputError(
            f"record events in {path}",
            found=error.strerror or str(error),
            allowed="a file that can be written",
        ) from error
