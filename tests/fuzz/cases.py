"""The command line of a fuzz: cases by number, progress, and the command that replays a failure."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable

_SHOWN_EVERY_S = 5.0


def run_all(
    arguments: list[str] | None,
    *,
    module: str,
    about: str | None,
    run_case: Callable[[int, int], Iterable[str]],
) -> int:
    """Run what the command line asks for: ``run_case(seed, case)`` names what a case met, which is
    counted, or raises what must not be raised. Gives 0; 1 where a case failed, after the command
    that replays it.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cases", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of all cases (%(default)s)")
    parser.add_argument("--only", type=int, help="run this case alone")
    given = parser.parse_args(arguments)
    cases = range(given.cases) if given.only is None else [given.only]
    met: Counter[str] = Counter()
    began_s = shown_s = time.monotonic()
    for done, case in enumerate(cases, start=1):
        try:
            met.update(run_case(given.seed, case))
        except BaseException:
            traceback.print_exc()
            command = f"python -m {module} --seed {given.seed} --only {case}"
            _say(f"case {case} of seed {given.seed} failed; replay: {command}")
            return 1
        now_s = time.monotonic()
        if now_s - shown_s > _SHOWN_EVERY_S:
            shown_s = now_s
            left_s = (now_s - began_s) / done * (len(cases) - done)
            sys.stderr.write(f"{done:,} of {len(cases):,} cases, about {left_s:.0f} s to go\n")
            sys.stderr.flush()
    took_s = time.monotonic() - began_s
    counted = ", ".join(f"{count:,} {end}" for end, count in sorted(met.items()))
    _say(f"{len(cases):,} cases of seed {given.seed}: all well, {took_s:.1f} s\n{counted}")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
