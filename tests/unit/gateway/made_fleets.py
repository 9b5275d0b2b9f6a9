"""Small fleets for tests of the state machine, and a driver of it that keeps the time."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from baseload.gateway import events
from baseload.gateway.bodies import Asked
from baseload.gateway.config import (
    BreakerEntry,
    GatewayConfig,
    HealthEntry,
    LimitsEntry,
    LiveTierEntry,
    ModelEntry,
    ReplicasEntry,
    RetriesEntry,
)
from baseload.gateway.core import Core
from baseload.gateway.live_fleet import LiveFleet
from baseload.testing.fleets import replica_type

NS = 1_000_000_000

TIERS = (
    LiveTierEntry(name="interactive", ttft_s=2.0, tpot_s=0.1),
    LiveTierEntry(name="bulk", priority=1, bulk=True, e2e_s=900.0, max_queue=4),
)


def config_of(count: int = 2, *, max_queue: int = 64, **changes: Any) -> GatewayConfig:
    """A model at so many equal replicas; ``changes`` replace fields."""
    urls = tuple(f"http://r{number}" for number in range(count))
    made = GatewayConfig(
        models=(ModelEntry(name="m", efforts=("low", "high")),),
        replicas=(ReplicasEntry(model="m", urls=urls, max_queue=max_queue),),
        tiers=TIERS,
        policy="least_loaded",
        limits=LimitsEntry(first_byte_s=20.0, idle_s=5.0, total_s=60.0),
        retries=RetriesEntry(attempts=2, backoff_s=0.1, backoff_most_s=1.0),
        breaker=BreakerEntry(failures=3, open_s=1.0, open_most_s=8.0),
        health=HealthEntry(period_s=8.0, failures=2),
    )
    return msgspec.structs.replace(made, **changes)


def fleet_of(config: GatewayConfig | None = None, **kind: Any) -> LiveFleet:
    """The fleet of a configuration; all replicas are of round numbers, ``kind`` changes them."""
    config = config_of() if config is None else config
    return LiveFleet(config, [replica_type(**kind) for _ in config.replicas])


class Told:
    """A machine and its clock, in seconds; every command is kept in ``said``."""

    def __init__(self, live: LiveFleet | None = None, **kind: Any) -> None:
        self.live = fleet_of(**kind) if live is None else live
        self.core = Core(self.live, 0, kept=16)
        self.now_s = 0.0
        self.said: list[Any] = []
        self._lanes = 0
        self._last = 0

    def tell(self, event: events.AnyEvent, at_s: float | None = None) -> list[Any]:
        """What the machine answers to an event, at ``at_s`` or now."""
        self.now_s = self.now_s if at_s is None else at_s
        found = self.core.handle(event, round(self.now_s * NS))
        self.said += found
        return found

    def until(self, at_s: float) -> list[Any]:
        """What the machine says by itself until ``at_s``."""
        found = []
        while self.core.next_ns <= at_s * NS:
            found += self.tell(events.Timer(), self.core.next_ns / NS)
        self.now_s = at_s
        return found

    def lane(self, tier: int = 0, **asked: Any) -> int:
        """The lane of a kind of request, which the machine is told of."""
        found = self.live.lane(Asked(endpoint="chat", **{"model": "m", **asked}), tier)
        while self._lanes <= found:
            one = self.live.lanes[self._lanes]
            self.tell(events.LaneAdded(lane=self._lanes, tier=one.tier, allowed=list(one.allowed)))
            self._lanes += 1
        return found

    def arrive(self, tier: int = 0, *, at_s: float | None = None, **fields: Any) -> list[Any]:
        """A request comes; what the machine answers. ``last`` is its number."""
        lane = self.lane(tier)
        self._last += 1
        fields = {"input_tokens": 100.0, **fields}
        return self.tell(events.Arrived(request=self._last, lane=lane, **fields), at_s)

    @property
    def last(self) -> int:
        """The number of the request that came last."""
        return self._last

    def end(self, request: int, *, attempt: int = 0, **fields: Any) -> list[Any]:
        """An attempt's answer is complete."""
        return self.tell(events.Ended(request=request, attempt=attempt, **fields))

    def fail(self, request: int, *, attempt: int = 0, **fields: Any) -> list[Any]:
        """An attempt fails."""
        fields = {"cause": "connect", **fields}
        return self.tell(events.Broke(request=request, attempt=attempt, **fields))

    def fill(self, seats: int) -> list[int]:
        """So many requests come; their numbers."""
        numbers = []
        for _ in range(seats):
            assert one(self.arrive(), events.Send)
            numbers.append(self.last)
        return numbers


def one(commands: list[Any], kind: type) -> Any:
    """The only command of a kind; ``None`` without any."""
    found = [command for command in commands if type(command) is kind]
    assert len(found) <= 1, found
    return found[0] if found else None


def close(commands: list[Any]) -> events.Close:
    """The end of a request, which must be there."""
    found = one(commands, events.Close)
    assert found is not None, commands
    return found


def same(left: float, right: float) -> bool:
    """Whether two sums of joules are one."""
    return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-9)
