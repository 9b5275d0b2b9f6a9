"""How long a user waits: ``baseload --help``, and the first result with and without compiled code.

Each run is a process of its own. Waiting is wall time, so it counts what other programs take from
the machine; CPU time stands beside it. Writes bench/results/startup.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Bench, measure, run_command

HEAVY = ("numba", "scipy", "polars", "matplotlib")
FIRST = ("simulate", "azure-chat", "-p", "least_loaded", "-q", "--json", "-")
_LOADED = f"""
import contextlib, io, json, sys
from baseload.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main(["--help"])
print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""


def baseload(*arguments: str) -> list[str]:
    """The command line of ``baseload`` in this interpreter's environment."""
    script = Path(sys.executable).with_name("baseload")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "baseload"]
    return [*start, *arguments]


def first_result(cache: str) -> dict[str, Any]:
    """One first result with its compiled code kept in ``cache``; that it is one is checked."""
    done = run_command(baseload(*FIRST), NUMBA_CACHE_DIR=cache)
    assert json.loads(done["stdout"])["policies"][0]["completed"] > 0
    return done


def both(bench: Bench, name: str, rows: list[dict[str, Any]], goal: float) -> None:
    """Wall time against the goal, and CPU time beside it."""
    bench.add(
        measure(f"{name}, wall", "s", [row["wall_s"] for row in rows], at_most=goal),
        measure(f"{name}, CPU", "s", [row["cpu_s"] for row in rows]),
    )


def main() -> None:
    """Measure and write the result."""
    bench = Bench("startup", __doc__ or "", one_core=False)
    few, many = bench.repeats(3), bench.repeats(5)
    bench.inputs = {"first result": "baseload " + " ".join(FIRST)}
    loaded = json.loads(run_command([sys.executable, "-c", _LOADED])["stdout"])
    run_command(baseload("--help"))  # writes Python's own byte code
    helps = [run_command(baseload("--help")) for _ in range(many)]
    both(bench, "baseload --help", helps, 0.3)
    bench.add(
        measure(
            f"of {', '.join(HEAVY)}: loaded by --help",
            "modules",
            [len(loaded)],
            at_most=0,
            loaded=loaded,
        )
    )
    cold, warm = [], []
    for turn in range(few):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(first_result(cache))
            bench.say(f"round {turn + 1} of {few}: cold {cold[-1]['wall_s']:.1f} s")
            warm += [first_result(cache) for _ in range(2)]
            bench.say(f"round {turn + 1} of {few}: warm {warm[-1]['wall_s']:.2f} s")
    both(bench, "first result, compiled before", warm, 2.0)
    both(bench, "first result, compiles first", cold, 30.0)
    bench.notes.append("Not pinned to a core: a user's processes are not.")
    bench.write()


if __name__ == "__main__":
    main()
