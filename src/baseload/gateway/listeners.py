"""Who is told of requests: metrics and the log."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from pathlib import Path

import msgspec

from baseload.gateway.cells import Sums
from baseload.gateway.core import Core
from baseload.gateway.engine_metrics import Readings, read_energy, read_metrics
from baseload.gateway.events import Cause, Close, Sampled
from baseload.gateway.fleet_gauges import FleetGauges
from baseload.gateway.live_fleet import LiveFleet
from baseload.gateway.live_request import LiveRequest
from baseload.gateway.metrics import GatewayMetrics
from baseload.gateway.request_log import RequestLog
from baseload.gateway.summary import RecentDecision, SummaryWindow

_NOTHING: dict[str, int] = {}


class Metering:
    """Metrics and log of one serving process. ``folder``: where all workers' metrics are, if there
    are several; ``leads``: whether this one tells what is told once for all.
    """

    def __init__(self, fleet: LiveFleet, *, folder: Path | None = None, leads: bool = True) -> None:
        self.metrics = GatewayMetrics(fleet.config, multiprocess_dir=folder)
        self.log = RequestLog(fleet.config.telemetry.log)
        self._gauges = FleetGauges(self.metrics, leads=leads)
        self._window = SummaryWindow(begun_s=time.monotonic())
        self._readings: dict[int, Readings] = {}

    def configured(self, fleet: LiveFleet) -> None:
        """Count by another configuration's names from now on."""
        self.metrics.configured(fleet.config)
        self.log.form = fleet.config.telemetry.log
        self._readings.clear()

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload."""
        self.metrics.reloaded(ok)

    def close(self) -> None:
        """Write what is left of the log."""
        self.log.close()
        self.metrics.close()

    def arrived(self, live: LiveRequest) -> None:
        """A request has come."""

    def decided(self, took_s: float) -> None:
        """The machine has taken a request in."""
        self.metrics.decided(took_s)

    def closed(self, live: LiveRequest, close: Close) -> None:
        """A request has ended."""
        option, usage = live.option, live.usage
        applied = live.applied.get("effort")
        effort = None if applied is None else str(applied)
        model = live.asked.model if option is None else option.model.name
        tokens = (
            _NOTHING
            if usage is None
            else {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
                "cached_tokens": usage.cached_tokens,
            }
        )
        asked = live.asked
        self.metrics.closed(
            close,
            tier=live.tier,
            model=model,
            effort=effort,
            exhausted=live.exhausted,
            endpoint=asked.endpoint,
            **tokens,
        )
        if self.log.form == "off":
            return
        self.log.closed(
            close,
            request_id=live.request_id,
            endpoint=asked.endpoint,
            tier=live.tier,
            model=model,
            effort=effort,
            key=live.client or None,
            replica=None if live.replica is None else live.replica.name,
            stream=asked.stream,
            exhausted=live.exhausted,
            **tokens,
        )

    def broke(self, live: LiveRequest, cause: Cause, *, again: bool) -> None:
        """An attempt has failed; ``again``: the request goes on."""
        replica = live.replica
        if replica is not None:
            self.metrics.failed(replica.name, replica.model.name, cause)
        if again:
            self.metrics.retried(cause)

    def refused(self, status: int) -> None:
        """A call was answered with an error before it reached routing."""
        self.metrics.refused(status)

    def failed(self, where: str, error: BaseException) -> None:
        """Something of our own went wrong: its kind and place are kept, but not its words, which
        may hold those of a prompt.
        """
        self.metrics.own_error(where)
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        places = " < ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in reversed(frames))
        self.log.event("fault", where=where, kind=type(error).__name__, at_code=places)

    def engine_page(self, page: bytes, replica: int) -> Sampled | None:
        """What an engine's metrics page says."""
        found = read_metrics(page)
        if found.energy_j < 0 and replica in self._readings:  # told apart, if at all
            energy_j = self._readings[replica].energy_j
            found = msgspec.structs.replace(found, energy_j=energy_j)
        self._readings[replica] = found
        if found.running < 0 and found.waiting < 0 and found.kv_frac < 0:
            return None
        return Sampled(
            replica=replica, running=found.running, waiting=found.waiting, kv_frac=found.kv_frac
        )

    def engine_energy(self, body: bytes, replica: int) -> None:
        """What an engine says of its joules, apart from its page."""
        energy_j = read_energy(body)
        if energy_j >= 0.0:
            before = self._readings.get(replica, Readings())
            self._readings[replica] = msgspec.structs.replace(before, energy_j=energy_j)

    def refresh(self, core: Core, now_ns: int) -> None:
        """Show the fleet as it is now; with several workers, call it now and then."""
        self._gauges.refresh(core, self._readings, now_ns)

    def page(self, accept: str, core: Core, now_ns: int) -> tuple[bytes, bytes]:
        """The page of ``/metrics``."""
        self.refresh(core, now_ns)
        kind, page = self.metrics.metrics_page(accept)
        return kind.encode(), page

    def summary(self, core: Core, decisions: Sequence[RecentDecision], now_ns: int) -> bytes:
        """What ``/v1/energy/summary`` says."""

        def sums() -> Sums:
            self.refresh(core, now_ns)
            return self.metrics.sums()

        return self._window.answer(
            sums, core.live.config, at_s=time.time(), clock_s=now_ns / 1e9, decisions=decisions
        )
