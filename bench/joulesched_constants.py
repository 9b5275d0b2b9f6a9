"""Search the constants that the JouleSched note leaves open, and how near they come to its figures.

Run: python bench/joulesched_constants.py [--quick | --ship]. Writes
bench/results/joulesched_constants.json; with --ship also the package's own copy, with --quick a
short search to out/bench. Takes some minutes on one core.
"""

from __future__ import annotations

import sys

import msgspec

from baseload.simulator.joulesched_fit import (
    RANGES,
    UNITS,
    at_rate,
    errors,
    fit_constants,
    run_all,
    sample,
    shipped_constants,
)
from common import QUICK_RESULTS, RESULTS, ROOT, machine, versions, write_json

TARGET = ROOT / "src" / "baseload" / "simulator" / "data" / "joulesched_constants.json"


def main() -> None:
    """Search, compare with the shipped constants, write."""
    quick = "--quick" in sys.argv
    found = fit_constants(
        rounds=2 if quick else 40,
        progress=lambda turn, least: print(f"  round {turn}: {least:.2f}", flush=True),
    )
    text = msgspec.json.encode(found)
    if "--ship" in sys.argv:
        TARGET.write_bytes(msgspec.json.format(text, indent=1) + b"\n")
        shipped_constants.cache_clear()
    missed = errors(run_all(found.fleet, at_rate(sample(), found.requests_per_s)))
    content = {
        "schema": "baseload-bench-joulesched-constants/1",
        "machine": machine(),
        "versions": versions("scipy"),
        "searched": RANGES,
        "units_of_distance": UNITS,
        "errors_in_units": missed,
        "constants": msgspec.to_builtins(found),
    }
    write_json(content, (QUICK_RESULTS if quick else RESULTS) / "joulesched_constants.json")
    for name, error in missed.items():
        print(f"  {name:32} {error:+7.2f} units")
    same = found == shipped_constants()
    print(f"distance {found.distance:.2f}; shipped constants", "are these" if same else "differ")


if __name__ == "__main__":
    main()
