"""A hundred reloads under load: no stream is dropped, and no request sees half of a configuration.

    python -m tests.e2e.gateway.reloads --reloads 100

Two configurations take turns. Both serve the model ``m``, each by engines of its own that go by a
name of their own and refuse any other; each has its own ladder of efforts, its own alias and its
own tier. A request that met a mixture would reach an engine by the other's name (404) or lack what
goes with its model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
from tests.e2e.gateway.outcomes import WHOLE, Ask, Seen, asked, verdict
from tests.e2e.gateway.parts import Emulated, Gateway, eventually

NAMES = ("even", "odd")
LONG_TOKENS, SHORT_TOKENS = 300, 4
BAD_EACH = 10
"""Each so many reloads, one of a file that cannot be used: the old configuration stays."""


def config_of(name: str, engine: Emulated) -> dict[str, Any]:
    """One of the two configurations."""
    return {
        "models": [
            {
                "name": "m",
                "upstream_name": name,
                "efforts": ["none", "low"] if name == "even" else ["none", "high"],
            }
        ],
        "aliases": {f"only-{name}": ["m"]},
        "replicas": [{"model": "m", "engine": "vllm", "urls": engine.urls}],
        "tiers": [
            {"name": f"tier-{name}", "ttft_s": 20, "service_tiers": ["default"]},
            {"name": "bulk", "bulk": True, "priority": 1, "service_tiers": ["flex"]},
        ],
        "limits": {"drain_s": 5},
    }


class Load:
    """Streams, long and short, one after the other, until told to end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.seen: list[Seen] = []
        self.ended = False
        self._count = 0

    def _ask(self, tokens: int) -> Ask:
        self._count += 1
        body = {
            "model": "m",
            "messages": [{"role": "user", "content": "Hi"}],
            "max_tokens": tokens,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return Ask(id=f"{tokens}-{self._count}", body=body)

    async def _client(self, session: aiohttp.ClientSession, tokens: int) -> None:
        while not self.ended:
            self.seen.append(await asked(session, self.url, self._ask(tokens)))

    async def run(self, *, long: int, short: int) -> None:
        """So many long streams and so many short ones at once."""
        timeout = aiohttp.ClientTimeout(total=120)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            kinds = [LONG_TOKENS] * long + [SHORT_TOKENS] * short
            await asyncio.gather(*[self._client(session, tokens) for tokens in kinds])


def reload_often(
    gateway: Gateway, configs: list[dict[str, Any]], *, reloads: int, moments_s: list[float]
) -> Counter[str]:
    """Replace the file and have it loaded, again and again; gives how often which was in use."""
    counts: Counter[str] = Counter()
    total = "baseload_config_reload_total"
    for turn in range(reloads):
        bad = turn % BAD_EACH == BAD_EACH - 1
        before = gateway.total(total)
        if bad:
            gateway.config_path.write_text("models: [{name: m, efforts: [lots]}]\n")
        else:
            gateway.write(configs[(turn + 1) % 2])
        gateway.signal(signal.SIGHUP)
        eventually(
            lambda before=before: gateway.total(total) > before,
            within_s=20,
            what=f"reload {turn} is done",
        )
        moments_s.append(time.monotonic())
        counts["bad" if bad else f"{(turn + 1) % 2}"] += 1
    return counts


async def reloads_under_load(
    gateway: Gateway, load: Load, configs: list[dict[str, Any]], **flags: Any
) -> Counter[str]:
    """The load, while the file changes."""
    clients = asyncio.create_task(load.run(long=6, short=4))
    try:
        return await asyncio.to_thread(reload_often, gateway, configs, **flags)
    finally:
        load.ended = True
        await clients


def run(folder: Path, *, reloads: int) -> dict[str, Any]:
    """The whole trial; ``faults`` of what it gives is empty where all is well."""
    moments_s: list[float] = []
    with ExitStack() as stack:
        engines = [
            stack.enter_context(Emulated(folder, name, speed=4.0, seed=at))
            for at, name in enumerate(NAMES)
        ]
        configs = [config_of(name, engine) for name, engine in zip(NAMES, engines, strict=True)]
        gateway = stack.enter_context(Gateway(folder, configs[0], name="reloads"))
        load = Load(gateway.url)
        before_mb, begun_s = gateway.memory_mb(), time.monotonic()
        counts = asyncio.run(
            reloads_under_load(gateway, load, configs, reloads=reloads, moments_s=moments_s)
        )
        took_s, after_mb = time.monotonic() - begun_s, gateway.memory_mb()
        refused = gateway.total("baseload_refused_total")
        own_errors = gateway.total("baseload_own_errors_total")
        code = gateway.stop()
    log = gateway.log()
    found = verdict(load.seen, log)
    for one in load.seen:
        found.hold(one.kind == WHOLE, f"{one.id}: {one.kind} {one.status} {one.why}")
        tokens = int(one.id.partition("-")[0])
        found.hold(one.tokens == tokens, f"{one.id}: {one.tokens} tokens")
    urls = [engine.urls[0].removeprefix("http://") for engine in engines]
    by_url = dict(zip(urls, NAMES, strict=True))
    served = Counter(by_url.get(line["replica"], "nobody") for line in log)
    for line in log:
        name = by_url.get(line["replica"], "nobody")
        found.hold(line["tier"] == f"tier-{name}", f"{line['id']}: {line['tier']} at {name}")
    spanning = sum(
        any(one.begun_s < moment_s < one.ended_s for moment_s in moments_s) for one in load.seen
    )
    found.hold(spanning >= min(reloads, 20), f"only {spanning} streams lasted over a reload")
    found.hold(min(served["even"], served["odd"]) > 0, f"served by {dict(served)}")
    found.hold(refused == 0, f"{refused:.0f} refused")
    found.hold(own_errors == 0, f"{own_errors:.0f} faults of the gateway's own")
    found.hold(code == 0, f"the gateway left with {code}")
    found.hold("Traceback" not in gateway.said(), "a traceback in the gateway's output")
    return {
        "reloads": reloads,
        "of_them_bad": counts["bad"],
        "seconds": round(took_s, 1),
        "streams": len(load.seen),
        "streams_over_a_reload": spanning,
        "served_by": dict(served),
        "memory_mb": [round(before_mb, 1), round(after_mb, 1)],
        "faults": found.faults,
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reloads", type=int, default=100)
    parser.add_argument("--folder", type=Path, help="keep what the processes write here")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = flags.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(folder, reloads=flags.reloads)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 1 if found["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
