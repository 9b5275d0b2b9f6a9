"""``python -m tests.faults``: many worlds, or one with what happened in it."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
import traceback
from pathlib import Path

from tests.faults.world import World


def main(arguments: list[str] | None = None) -> int:
    """Run worlds; gives 0, or 1 where one broke a law."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--seeds", type=_range, default="0:100", help="first:last, last excluded (%(default)s)"
    )
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--requests", type=int, default=100, help="in each world")
    parser.add_argument("--trace", action="store_true", help="show the last events of a failure")
    parser.add_argument("--all", action="store_true", help="go on after a failure")
    parser.add_argument("--json", type=Path, help="write what was counted to this file")
    asked = parser.parse_args(arguments)
    first, last = (asked.seed, asked.seed + 1) if asked.seed is not None else asked.seeds
    gc.freeze()
    began_s, cpu_s = time.monotonic(), time.process_time()
    ends: dict[str, int] = {}
    told = requests = failed = 0
    shown_s = began_s
    for seed in range(first, last):
        world = World(seed, requests=asked.requests)
        try:
            tally = world.run()
        except Exception:
            failed += 1
            _explain(world, trace=asked.trace)
            if not asked.all:
                return 1
            continue
        requests, told = requests + tally.requests, told + tally.events
        for reason, count in tally.ended.items():
            ends[reason] = ends.get(reason, 0) + count
        if time.monotonic() - shown_s > 5.0:
            shown_s = time.monotonic()
            _say(f"seed {seed}: {requests} requests, {told} events, {shown_s - began_s:.0f} s")
    cpu_s = time.process_time() - cpu_s
    found = {
        "seeds": [first, last],
        "requests": requests,
        "events": told,
        "failed": failed,
        "wall_s": round(time.monotonic() - began_s, 1),
        "cpu_us_per_event": round(1e6 * cpu_s / max(1, told), 1),
        "ends": dict(sorted(ends.items())),
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    if asked.json is not None:
        asked.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        message = f"expected first:last, like 0:10000, found {text!r}"
        raise argparse.ArgumentTypeError(message)
    return int(first), int(last)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _explain(world: World, *, trace: bool) -> None:
    """What went wrong, and with ``trace`` what came before."""
    if trace:
        for now_ns, event, commands in world.recent:
            _say(f"{(now_ns - world.start_ns) / 1e9:12.6f} s  {event}")
            for command in commands:
                _say(f"{'':16}-> {command}")
    _say(traceback.format_exc(limit=None if trace else -2))
    _say(f"again: {world.replay_with()}")


if __name__ == "__main__":
    sys.exit(main())
