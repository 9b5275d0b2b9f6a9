"""Who is told of requests: metrics and the log."""

from __future__ import annotations

import math
import traceback

from baseload.gateway.core import Core
from baseload.gateway.engine_metrics import Readings, read_metrics
from baseload.gateway.events import Cause, Close, Sampled
from baseload.gateway.live_fleet import LiveFleet
from baseload.gateway.live_request import LiveRequest
from baseload.gateway.metrics import GatewayMetrics, ReplicaState, TierState
from baseload.gateway.request_log import RequestLog

_BREAKER = {"closed": 0, "trial": 1, "open": 2}
_NOTHING: dict[str, int] = {}


class Metering:
    """Metrics and log of one serving process."""

    def __init__(self, fleet: LiveFleet) -> None:
        self.metrics = GatewayMetrics(fleet.config)
        self.log = RequestLog(fleet.config.telemetry.log)
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
        found = self._readings[replica] = read_metrics(page)
        if found.running < 0 and found.waiting < 0 and found.kv_frac < 0:
            return None
        return Sampled(
            replica=replica, running=found.running, waiting=found.waiting, kv_frac=found.kv_frac
        )

    def page(self, accept: str, core: Core, now_ns: int) -> tuple[bytes, bytes]:
        """The page of ``/metrics``."""
        self.metrics.replicas(self._states(core, now_ns))
        self.metrics.tiers(
            TierState(name=tier.name, queued=core.waiting[place])
            for place, tier in enumerate(core.live.tiers)
        )
        self.metrics.fleet(in_flight=len(core.lives))
        kind, page = self.metrics.metrics_page(accept)
        return kind.encode(), page

    def _states(self, core: Core, now_ns: int) -> list[ReplicaState]:
        """The replicas as the machine sees them."""
        replicas, found = core.replicas, []
        for replica in core.live.replicas:
            number = replica.number
            health = replicas.health[number]
            reading = self._readings.get(number, _UNREAD)
            sampled_ns = health.sampled_ns
            found.append(
                ReplicaState(
                    name=replica.name,
                    model=replica.model.name,
                    in_flight=int(replicas.book.own[number]),
                    open=bool(replicas.wanted[number]) and replicas.able(number, now_ns),
                    healthy=health.healthy(core.live.config.health),
                    breaker=_BREAKER[health.breaker],
                    parked=not health.awake,
                    signal_age_s=math.nan if sampled_ns < 0 else (now_ns - sampled_ns) / 1e9,
                    running=reading.running,
                    waiting=reading.waiting,
                    kv_frac=reading.kv_frac,
                    engine_energy_j=reading.energy_j,
                )
            )
        return found


_UNREAD = Readings()
