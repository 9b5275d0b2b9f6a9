"""How long a plan takes: `baseload plan` for every built-in scenario, a process each, over the
command that only lists policies; once with all code compiled by that process, and with a
simulation. Writes bench/results/plan.json.

`solar-site` has a year of hourly supply; `synthetic-day` and `reasoning-day` a day of trace.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import Bench, measure, run_command

SCENARIOS = ("azure-chat", "azure-320", "synthetic-day", "reasoning-day", "solar-site")
WITHOUT_S, WITH_S = 3.0, 10.0


def baseload(*arguments: str) -> list[str]:
    """The command line of ``baseload`` in this interpreter's environment."""
    script = Path(sys.executable).with_name("baseload")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "baseload"]
    return [*start, *arguments]


def planned(*arguments: str, **environment: str) -> dict[str, Any]:
    """One plan; that it is one is checked."""
    done = run_command(baseload("plan", *arguments, "-q", "--json", "-"), **environment)
    assert json.loads(done["stdout"])["critical"]["lossless"]["value"] > 0
    return done


def main() -> None:
    """Measure and write the result."""
    bench = Bench("plan", __doc__ or "", one_core=False)
    few = bench.repeats(3)
    bench.inputs = {"plan": "baseload plan SCENARIO -q --json -"}
    run_command(baseload("policies"))
    start = [run_command(baseload("policies"))["wall_s"] for _ in range(few)]
    middle = sorted(start)[len(start) // 2]
    bench.add(measure("baseload policies, wall", "s", start))
    for name in SCENARIOS:
        planned(name)
        rows = [planned(name) for _ in range(few)]
        walls = [row["wall_s"] for row in rows]
        bench.add(
            measure(f"plan {name}, wall", "s", walls, at_most=WITHOUT_S),
            measure(f"plan {name}, CPU", "s", [row["cpu_s"] for row in rows]),
            measure(f"plan {name} over policies, wall", "ratio", [one / middle for one in walls]),
        )
        bench.say(f"{name}: {sorted(walls)[len(walls) // 2]:.2f} s")
    for name in ("azure-chat", "solar-site"):
        planned(name, "--simulate")
        walls = [planned(name, "--simulate")["wall_s"] for _ in range(few)]
        bench.add(measure(f"plan {name} --simulate, wall", "s", walls, at_most=WITH_S))
        bench.say(f"{name} --simulate: {sorted(walls)[len(walls) // 2]:.2f} s")
    with tempfile.TemporaryDirectory() as cache:
        cold = planned("solar-site", NUMBA_CACHE_DIR=cache)["wall_s"]
    bench.add(measure("plan solar-site, compiles first, wall", "s", [cold]))
    bench.notes.append("Not pinned to a core: a user's processes are not.")
    bench.write()


if __name__ == "__main__":
    main()
