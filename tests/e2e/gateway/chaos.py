"""Many requests through real sockets while engines are killed, hung and broken: none is lost, none
answered twice, every end has a reason that client and gateway agree on.

    python -m tests.e2e.gateway.chaos --requests 100000

Prints what happened as JSON; leaves with 1 where something is wrong. ``--seed`` repeats the order
of requests and faults (not their timing).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
from tests.e2e.gateway.outcomes import Ask, Seen, asked, same_words, verdict
from tests.e2e.gateway.parts import Emulated, Gateway, eventually

QUESTIONS = 16
WARM_FRAC = 0.2
"""Of the requests, before memory is held against."""
MOST_GROWTH_MB = 10.0
HOLD_S = 4.0
"""Most between two disturbances of one engine; half of it on average."""

MOST_SPOILED, MOST_HANGING = 60, 8
"""Requests that one disturbance spoils; those that hang cost seconds each."""

COUNTED = ("error500", "error429", "garbage", "half_close", "drop_after", "hang")


def config_of(engines: list[Emulated]) -> dict[str, Any]:
    """One model at all engines, with little patience."""
    return {
        "models": [{"name": "m"}],
        "replicas": [{"model": "m", "engine": "vllm", "urls": [one.urls[0] for one in engines]}],
        "tiers": [
            {"name": "interactive", "ttft_s": 5, "service_tiers": ["default"]},
            {"name": "bulk", "bulk": True, "priority": 1, "e2e_s": 4, "service_tiers": ["flex"]},
        ],
        "limits": {"connect_s": 1, "first_byte_s": 1, "idle_s": 1, "total_s": 20},
        "health": {"period_s": 0.5, "timeout_s": 0.5, "metrics_s": 0.5},
        "retries": {"attempts": 2, "backoff_s": 0.02},
        "breaker": {"open_s": 0.3, "open_most_s": 2},
    }


def question(rng: random.Random, number: int) -> tuple[Ask, str]:
    """A request, and what its answer depends on."""
    which = rng.randrange(QUESTIONS)
    tokens = 2 + which
    body: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "user", "content": f"Question {which}?"}],
        "max_tokens": tokens,
        "ignore_eos": True,
    }
    if rng.random() < 0.2:
        body["service_tier"] = "flex"
    if rng.random() < 0.5:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    leaves_s = leaves_chunks = None
    if rng.random() < 0.04:
        if body.get("stream") and rng.random() < 0.5:
            leaves_chunks = 1
        else:
            leaves_s = rng.uniform(0.001, 0.05)
    ask = Ask(
        id=f"chaos-{number}",
        body=body,
        leaves_after_s=leaves_s,
        leaves_after_chunks=leaves_chunks,
    )
    return ask, f"{which}"


class Disturber:
    """Lets one thing after the other go wrong with each engine, all of them at once."""

    def __init__(self, engines: list[Emulated], seed: int, hold_s: float) -> None:
        self.engines, self.seed, self.hold_s = engines, seed, hold_s
        self.counts: Counter[str] = Counter()
        self.ended = False

    def run(self) -> None:
        """Disturb until told to end; then all is well again."""
        with ThreadPoolExecutor(len(self.engines)) as pool:
            list(pool.map(self._one, range(len(self.engines))))

    def _one(self, at: int) -> None:
        """What happens to one engine."""
        engine, rng = self.engines[at], random.Random(f"{self.seed} {at}")
        while not self.ended:
            kind = rng.choice(("kill", "stop", "slow", *COUNTED, *COUNTED))
            self.counts[kind] += 1
            self._disturb(engine, kind, rng)
            time.sleep(rng.uniform(0.0, self.hold_s))
        engine.fault("none")

    def _disturb(self, engine: Emulated, kind: str, rng: random.Random) -> None:
        if kind == "kill":
            engine.kill()
            time.sleep(rng.uniform(0.0, 0.5))
            engine.begin_again()
        elif kind == "stop":
            engine.signal(signal.SIGSTOP)
            time.sleep(rng.uniform(0.2, 3.0))
            engine.signal(signal.SIGCONT)
        elif kind == "slow":
            engine.fault("slow", factor=rng.uniform(5, 50))
            time.sleep(rng.uniform(0.2, 1.0))
            engine.fault("none")
        else:
            after = rng.choice((None, 0, 1, 3))
            most = MOST_HANGING if kind == "hang" else MOST_SPOILED
            engine.fault(kind, count=rng.randrange(1, most), after_tokens=after)


async def load(
    gateway: Gateway, *, requests: int, at_once: int, seed: int, memory_mb: list[float]
) -> tuple[list[Seen], dict[str, str]]:
    """Send all requests, ``at_once`` of them under way; gives what their clients saw."""
    rng = random.Random(seed)
    numbers = iter(range(requests))
    seen: list[Seen] = []
    words_of: dict[str, str] = {}
    steps = {int(requests * part / 10) for part in range(1, 11)}

    async def client(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            ask, depends_on = question(rng, number)
            words_of[ask.id] = depends_on
            seen.append(await asked(session, gateway.url, ask))
            if len(seen) in steps:
                memory_mb.append(round(gateway.memory_mb(), 1))

    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        await asyncio.gather(*[client(session) for _ in range(at_once)])
    return seen, words_of


async def disturbed_load(
    gateway: Gateway, disturber: Disturber, **flags: Any
) -> tuple[list[Seen], dict[str, str]]:
    """The load, while engines are disturbed."""
    disturbing = asyncio.create_task(asyncio.to_thread(disturber.run))
    try:
        return await load(gateway, **flags)
    finally:
        disturber.ended = True
        await disturbing


def run(
    folder: Path,
    *,
    requests: int,
    at_once: int,
    engines: int,
    seed: int,
    hold_s: float = HOLD_S,
) -> dict[str, Any]:
    """The whole trial; ``faults`` of what it gives is empty where all is well."""
    memory_mb: list[float] = []
    with ExitStack() as stack:
        started = [
            stack.enter_context(Emulated(folder, "m", seed=1, speed=200.0, label=f"chaos-{at}"))
            for at in range(engines)
        ]
        gateway = stack.enter_context(Gateway(folder, config_of(started), name="chaos"))
        disturber = Disturber(started, seed, hold_s)
        begun_s = time.monotonic()
        seen, words_of = asyncio.run(
            disturbed_load(
                gateway,
                disturber,
                requests=requests,
                at_once=at_once,
                seed=seed,
                memory_mb=memory_mb,
            )
        )
        took_s = time.monotonic() - begun_s
        eventually(
            lambda: gateway.total("baseload_requests_in_flight") == 0,
            within_s=30,
            what="nothing is under way any more",
        )
        counted = gateway.total("baseload_requests_total")
        own_errors = gateway.total("baseload_own_errors_total")
        code = gateway.stop()
    found = verdict(seen, gateway.log())
    found.faults += same_words(seen, words_of)
    found.hold(len(seen) == requests, f"{requests} sent, {len(seen)} seen")
    ended = sum(found.reasons.values())
    found.hold(counted == ended, f"metrics count {counted:.0f} ends, the log {ended}")
    found.hold(own_errors == 0, f"{own_errors:.0f} faults of the gateway's own")
    found.hold(code == 0, f"the gateway left with {code}")
    found.hold("Traceback" not in gateway.said(), "a traceback in the gateway's output")
    if requests >= 10_000:
        growth_mb = memory_mb[-1] - memory_mb[int(len(memory_mb) * WARM_FRAC)]
        found.hold(growth_mb <= MOST_GROWTH_MB, f"memory grew by {growth_mb:.0f} MB")
    return {
        "requests": requests,
        "seed": seed,
        "seconds": round(took_s, 1),
        "requests_per_s": round(requests / took_s, 1),
        "clients_saw": dict(found.kinds),
        "gateway_says": dict(found.reasons),
        "disturbances": dict(disturber.counts),
        "memory_mb": memory_mb,
        "faults": found.faults,
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--at-once", type=int, default=256)
    parser.add_argument("--engines", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hold-s", type=float, default=HOLD_S, help="most between disturbances")
    parser.add_argument("--folder", type=Path, help="keep what the processes write here")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = flags.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(
            folder,
            requests=flags.requests,
            at_once=flags.at_once,
            engines=flags.engines,
            seed=flags.seed,
            hold_s=flags.hold_s,
        )
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
