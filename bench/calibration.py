"""How well a fitted replica predicts the rest of a measured run: writes
bench/results/calibration.json.

For each measured run: fit the first share of the requests, predict the others, with the engine's
settings known (meta file) and without. Run from the repository: ``python bench/calibration.py
[folder with vllm_measured_*.parquet]``.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

from baseload.profiler.calibration import Options, calibrate_run
from baseload.profiler.measured import MeasuredRun, RunMeta, read_run
from baseload.profiler.validation import validate_run

SPLITS = (0.3, 0.4, 0.5, 0.6, 0.7)
RESULT = Path(__file__).parent / "results" / "calibration.json"


def judge(run: MeasuredRun, seen: MeasuredRun, fit_frac: float, from_frac: float) -> dict[str, Any]:
    """Errors of one fit [fractions], and its CPU time [s]."""
    begin = process_time()
    file = calibrate_run(seen, Options(fit_frac=fit_frac))
    fit_cpu_s = process_time() - begin
    result = validate_run(run, file, from_frac=from_frac)
    return {
        "ttft_error_frac": result.ttft_error_frac,
        "tpot_error_frac": result.tpot_error_frac,
        "makespan_error_frac": result.makespan_error_frac,
        "ttft_request_error_frac_median": result.ttft.request_error_frac_median,
        "tpot_request_error_frac_median": result.tpot.request_error_frac_median,
        "e2e_error_frac": result.e2e.error_frac,
        "fit_cpu_s": round(fit_cpu_s, 2),
        "replicas": file.replicas,
        "limits": {limit.name: [limit.value, limit.how] for limit in file.fit.limits},
        "numbers": {number.name: number.value for number in file.fit.numbers},
    }


def main(folder: Path) -> None:
    """Every run, split and degree of knowledge."""
    rows = []
    places = sorted(folder.glob("vllm_measured_*.parquet"))
    for place in [place for place in places if not place.stem.endswith("_timeseries")]:
        run = read_run(place)
        for known in (True, False):
            given = run if known else replace(run, meta=RunMeta())
            for split in SPLITS if known else SPLITS[::2]:
                about = {"run": run.name, "settings_known": known, "fitted_frac": split}
                rows.append(about | judge(given, given, split, split))
                show(rows[-1])
        blind = run.head(len(run) // 2)
        about = {
            "run": run.name,
            "settings_known": True,
            "fitted_frac": 0.5,
            "later_load": "unseen",
        }
        rows.append(about | judge(run, blind, 1.0, 0.5))
        show(rows[-1])
    content = {
        "schema": "baseload-bench-calibration/1",
        "machine": platform.processor() or platform.machine(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(content | {"rows": rows}, indent=1) + "\n")


def show(row: dict[str, Any]) -> None:
    """One line a fit."""
    errors = [f"{row[f'{name}_error_frac']:6.1%}" for name in ("ttft", "tpot", "makespan")]
    what = (
        row.get("later_load", "") or f"settings {'known' if row['settings_known'] else 'unknown'}"
    )
    print(
        f"{row['run'][:40]:40} {row['fitted_frac']:.1f} {what:17}", *errors, f"{row['fit_cpu_s']} s"
    )


if __name__ == "__main__":
    default = Path(__file__).parent.parent.parent / "shared" / "data" / "traces"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
