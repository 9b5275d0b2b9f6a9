"""Who is told of requests: metrics, and the log. Joins the driver to them."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from baseload.gateway.core import Core
from baseload.gateway.driver import Driver
from baseload.gateway.engine_metrics import Readings, read_metrics
from baseload.gateway.events import Cause, Close, Sampled
from baseload.gateway.live_fleet import LiveFleet
from baseload.gateway.live_request import LiveRequest
from baseload.gateway.metrics import GatewayMetrics, ReplicaState


class Metering:
    """Metrics of one serving process. The log of requests joins here."""

    def __init__(self, fleet: LiveFleet) -> None:
        self.metrics = GatewayMetrics(fleet.config)
        self._readings: dict[int, Readings] = {}

    def configured(self, fleet: LiveFleet) -> None:
        """Count by another configuration's names from now on."""
        self.metrics.configured(fleet.config)
        self._readings.clear()

    def reloaded(self, *, ok: bool) -> None:
        """Count a reload."""
        self.metrics.reloaded(ok)

    def arrived(self, live: LiveRequest) -> None:
        """A request has come."""

    def closed(self, live: LiveRequest, close: Close, decision: Any) -> None:
        """A request has ended."""
        option, usage = live.option, live.usage
        effort = live.applied.get("effort")
        model = live.asked.model if option is None else option.model.name
        told = None if effort is None else str(effort)
        if usage is None:
            self.metrics.closed(
                close, tier=live.tier, model=model, effort=told, endpoint=live.asked.endpoint
            )
            return
        self.metrics.closed(
            close,
            tier=live.tier,
            model=model,
            effort=told,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cached_tokens=usage.cached_tokens,
            exhausted=live.exhausted,
            endpoint=live.asked.endpoint,
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
        """Something of our own went wrong: its kind and place, without its words, which may hold a
        prompt's.
        """
        self.metrics.own_error(where)
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        places = " < ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno}" for f in reversed(frames))
        sys.stderr.write(f"baseload serve: fault in {where}: {type(error).__name__} at {places}\n")

    def engine_page(self, engine: str, page: bytes, replica: int) -> Sampled | None:
        """What an engine's metrics page says."""
        found = self._readings[replica] = read_metrics(page)
        if found.running < 0 and found.waiting < 0 and found.kv_frac < 0:
            return None
        return Sampled(
            replica=replica, running=found.running, waiting=found.waiting, kv_frac=found.kv_frac
        )

    def page(self, accept: str, core: Core, driver: Driver) -> tuple[bytes, bytes]:
        """The page of ``/metrics``."""
        self.metrics.replicas(self._states(core))
        self.metrics.fleet(in_flight=len(driver.lives))
        kind, page = self.metrics.metrics_page(accept)
        return kind.encode(), page

    def _states(self, core: Core) -> list[ReplicaState]:
        """The replicas as the machine sees them."""
        fleet = core.live
        found = []
        for replica in fleet.replicas:
            number = replica.number
            reading = self._readings.get(number)
            found.append(
                ReplicaState(
                    name=replica.name,
                    model=replica.model.name,
                    in_flight=int(core.book.own[number]),
                    open=bool(core.wanted[number]),
                    healthy=core.health[number].probe_failures == 0,
                    parked=not core.health[number].awake,
                    running=-1.0 if reading is None else reading.running,
                    waiting=-1.0 if reading is None else reading.waiting,
                    kv_frac=-1.0 if reading is None else reading.kv_frac,
                )
            )
        return found
