"""Seeded fuzz of the whole gateway but its sockets: hostile clients in front, hostile engines
behind, the real machine between, time made up.

    python -m tests.fuzz.surface --cases 100000 --seed 1

Case ``i`` of seed ``s`` is the same everywhere. A failing one is printed with the command that
replays it alone (``--only``).
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter

from tests.fuzz.calls import Call, call_of
from tests.fuzz.cases import run_all
from tests.fuzz.scripted import ScriptedUpstream
from tests.fuzz.virtual_loop import VirtualLoop

from baseload.gateway import events
from baseload.gateway.config import (
    GatewayConfig,
    KeyEntry,
    LimitsEntry,
    LiveTierEntry,
    ModelEntry,
    ReplicasEntry,
    RetriesEntry,
)
from baseload.gateway.core import Core
from baseload.gateway.driver import Driver
from baseload.gateway.gate import Gate
from baseload.gateway.listeners import Metering
from baseload.gateway.live_fleet import LiveFleet
from baseload.gateway.request_log import RequestLog
from baseload.gateway.surface import Surface
from baseload.testing.fleets import replica_type

LIMITS = LimitsEntry(
    body_bytes=20_000,
    header_bytes=8_000,
    body_s=1.0,
    first_byte_s=2.0,
    idle_s=1.0,
    total_s=8.0,
    line_bytes=20_000,
)
ENDS_S = 30.0
"""Until when every call must have ended: body, answer, retries and what drains after it."""

MODELS = (
    ModelEntry(name="m", efforts=("none", "low", "high"), budgets={"low": 100, "high": -1}),
    ModelEntry(name="seer", upstream_name="up/seer", inputs=("text", "image"), tools=False),
    ModelEntry(name="vectors", endpoints=("embeddings",)),
)
KEYS = (
    KeyEntry(name="all", value="env:ALL", scopes=("infer", "energy", "admin")),
    KeyEntry(name="few", value="env:FEW", models=("m",), requests_per_min=1, max_streams=1),
    KeyEntry(name="look", value="env:LOOK", scopes=("energy",)),
)
ENVIRON = {"ALL": "key-all", "FEW": "key-few", "LOOK": "key-look"}


def config_of(*, keys: bool) -> GatewayConfig:
    """Three models at four replicas behind tight limits."""
    return GatewayConfig(
        models=MODELS,
        replicas=(
            ReplicasEntry(model="m", urls=("http://a:1", "http://b:1")),
            ReplicasEntry(model="seer", engine="llama.cpp", urls=("http://c:1",), max_queue=1),
            ReplicasEntry(model="vectors", engine="openai", urls=("http://d:1",)),
        ),
        aliases={"any": ("m", "seer")},
        tiers=(
            LiveTierEntry(name="fast", ttft_s=2.0, tpot_s=0.2, service_tiers=("default",)),
            LiveTierEntry(name="bulk", bulk=True, e2e_s=5.0, max_queue=2, service_tiers=("flex",)),
        ),
        keys=KEYS if keys else (),
        limits=LIMITS,
        retries=RetriesEntry(attempts=2, backoff_s=0.01, backoff_most_s=0.05),
    )


class Watched(Core):
    """A machine whose arrivals and ends are counted."""

    def begin(self) -> None:
        """Nothing has happened."""
        self.arrivals: Counter[int] = Counter()
        self.ends: Counter[int] = Counter()

    def handle(self, event: events.AnyEvent, now_ns: int) -> list[events.AnyCommand]:
        """As ``Core`` does."""
        commands = super().handle(event, now_ns)
        if isinstance(event, events.Arrived):
            self.arrivals[event.request] += 1
        self.ends.update(one.request for one in commands if isinstance(one, events.Close))
        return commands


class Bench:
    """One configuration with what can be kept from case to case. Make it inside a running loop."""

    def __init__(self, loop: VirtualLoop, *, keys: bool) -> None:
        config = config_of(keys=keys)
        kinds = [
            replica_type("toy"),
            replica_type("small", max_batch=1),
            replica_type("tiny", kv_tokens=900, max_context_tokens=800),
        ]
        self.loop, self.fleet = loop, LiveFleet(config, kinds)
        self.metering = Metering(self.fleet)
        self.metering.log = RequestLog("off")

    async def run(self, call: Call, draw: random.Random) -> Counter[str]:
        """One call to a fresh gateway; raises ``AssertionError``. Gives what became of it."""
        loop = self.loop
        core = Watched(self.fleet, loop.time_ns(), kept=4)
        core.begin()
        upstream = ScriptedUpstream(draw, line_bytes=LIMITS.line_bytes)
        driver = Driver(
            core,
            self.fleet,
            upstreams=lambda _: upstream,
            clock_ns=loop.time_ns,
            listeners=(self.metering,),
            watch_s=0.2,
        )
        faults: list[BaseException] = []
        told = driver.trouble
        driver.trouble = lambda where, error: (faults.append(error), told(where, error))  # type: ignore[method-assign, assignment, func-returns-value]
        surface = Surface(
            driver,
            Gate(self.fleet.config, environ=ENVIRON, clock_ns=loop.time_ns),
            ready=lambda: core.ready(loop.time_ns()),
            metrics=lambda accept: self.metering.page(accept, core, loop.time_ns()),
            explain=lambda request: core.explain(request, loop.time_ns()),
            refused=self.metering.refused,
            summary=lambda last: self.metering.summary(core, last, loop.time_ns()),
        )
        driver.start()
        try:
            for one in (call, *call.next):
                async with asyncio.timeout(ENDS_S):
                    await one.made(surface)
                if faults:
                    raise faults[0]
                one.check()
        finally:
            surface.close()
            driver.close()
        assert driver.troubles == 0
        assert driver.lives == {}, "a request is left with the driver"
        assert core.lives == {}, "a request is left with the machine"
        assert core.arrivals == core.ends, (core.arrivals, core.ends)
        assert all(one.closed for one in upstream.streams), "an engine's stream is left open"
        left = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.sleep(0)
        assert not [task for task in left if not task.done()], left
        return Counter(
            [f"status {call.status}", *(f"end {one}" for one in driver.receipts.reasons)]
        )

    def close(self) -> None:
        """Done."""
        self.metering.close()


class Benches:
    """A loop with two gateways, one with keys."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()

        async def made() -> list[Bench]:
            return [Bench(self.loop, keys=False), Bench(self.loop, keys=True)]

        self.benches = self.loop.run_until_complete(made())

    def run_case(self, seed: int, case: int) -> Counter[str]:
        """One case; gives what the call got, and how its request ended. Raises ``AssertionError``,
        or whatever must not be raised.
        """
        draw = random.Random(f"{seed}/{case}")
        bench = self.benches[draw.random() < 0.3]
        call = call_of(draw, keyed=bool(bench.fleet.config.keys))
        return self.loop.run_until_complete(bench.run(call, draw))

    def close(self) -> None:
        """Done."""
        for bench in self.benches:
            bench.close()
        self.loop.close()


def main(arguments: list[str] | None = None) -> int:
    """Run cases; 1 and the command that replays the failing one, if one does."""
    benches = Benches()
    try:
        return run_all(
            arguments, module="tests.fuzz.surface", about=__doc__, run_case=benches.run_case
        )
    finally:
        benches.close()


if __name__ == "__main__":
    sys.exit(main())
