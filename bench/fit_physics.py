"""Refit the physics constants from the shipped rows and write them where the package reads them.

Run: python bench/fit_physics.py [--check]. With --check nothing is written; the exit code is 1 when
the shipped constants differ from the refit by more than rounding.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from baseload.fleet.engines import shipped_constants
from baseload.fleet.fit import fit_all
from baseload.fleet.profiles import shipped_rows

TARGET = Path(__file__).parents[1] / "src" / "baseload" / "fleet" / "data" / "constants.json"


def main() -> int:
    """Fit, compare or write, and say so."""
    fits = fit_all(shipped_rows())
    shipped = shipped_constants()
    if "--check" in sys.argv:
        same = msgspec.json.encode(fits) == msgspec.json.encode(shipped.fits)
        print("shipped constants", "are reproduced" if same else "differ from the refit")
        return 0 if same else 1
    text = msgspec.json.encode(msgspec.structs.replace(shipped, fits=fits))
    TARGET.write_bytes(msgspec.json.format(text, indent=1) + b"\n")
    for fit in fits:
        print(
            f"{fit.engine:12} {fit.device:15} {fit.family:7} {fit.weight_class:12} "
            f"J/token error, model held out: {fit.error_frac:.3f}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
