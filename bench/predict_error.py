"""Cross-validated errors of ``predict``, by group of rows and by the way an answer is obtained.

Run: python bench/predict_error.py. Writes bench/results/predict_error.json (with errors of step
time and the machine) and the small table src/baseload/fleet/data/errors.json that the package
reads.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from baseload.fleet.engines import find_constants
from baseload.fleet.fit import (
    Miss,
    grouped,
    kind_of,
    leave_fifth_out,
    leave_one_model_out,
    misses,
)
from baseload.fleet.predict import GroupError, predict_setting
from baseload.fleet.profiles import Measured, shape_of, shipped_rows

ROOT = Path(__file__).parents[1]


def curve_of(row: Measured) -> object:
    """What rows of one curve share."""
    setting = row.setting
    return (
        shape_of(setting.model),
        setting.device.name,
        setting.engine,
        setting.layout,
        setting.task,
    )


def interpolation_misses(
    rows: Sequence[Measured], held: Callable[[Measured, Measured], bool]
) -> list[float]:
    """Relative errors of the automatic answer on each row, the rows that ``held`` names hidden."""
    found = []
    for row in rows:
        rest = [other for other in rows if not held(row, other)]
        answer = predict_setting(row.setting, rows=rest)
        found.append(answer.energy_j_per_token / row.energy_j_per_token - 1.0)
    return found


def mean_abs(values: Sequence[float]) -> float:
    """Mean absolute value, four digits."""
    return round(sum(abs(value) for value in values) / len(values), 4)


def same_row(row: Measured, other: Measured) -> bool:
    """Whether ``other`` is the row itself."""
    return row.row_id == other.row_id


def same_curve(row: Measured, other: Measured) -> bool:
    """Whether ``other`` lies on the curve of ``row``."""
    return curve_of(row) == curve_of(other)


def write_page(details: Sequence[dict[str, object]]) -> None:
    """Put the table of errors between the marks of the explanation page."""
    lines = [
        "| engine | device | family | rows | fit | rows out | models out | interpolated |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group in details:
        if group["weights"] == "all":
            numbers = [
                f"{100 * float(str(group[way])):.1f} %"
                for way in ("modelled_fit", "modelled_rows", "modelled_models", "measured_rows")
            ]
            names = [str(group[name]) for name in ("engine", "device", "family", "rows")]
            lines.append("| " + " | ".join([*names, *numbers]) + " |")
    page = ROOT / "docs" / "explanation" / "fleet-physics.md"
    text = page.read_text(encoding="utf-8")
    begin, end = "<!-- begin predict_error -->", "<!-- end predict_error -->"
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    table = "\n".join(["", "", *lines, "", ""])
    page.write_text(head + begin + table + end + tail, encoding="utf-8")


def main() -> int:
    """Compute and write both files."""
    table, details = [], []
    dense = {}
    for (engine, device, family), rows in grouped(shipped_rows()).items():
        base = dense.get((engine, device))
        kinds = sorted({kind_of(row) for row in rows})
        first = rows[0].setting
        fits = {kind: find_constants(engine, first.device, first.model, kind) for kind in kinds}
        if family == "dense":
            dense[engine, device] = fits["bf16"]
        ways: dict[str, list[Miss]] = {
            "modelled_fit": misses(rows, fits),
            "modelled_rows": leave_fifth_out(rows, dense=base),
            "modelled_models": leave_one_model_out(rows, dense=base),
        }
        automatic = {
            "measured_rows": interpolation_misses(rows, same_row),
            "anchored_curves": interpolation_misses(rows, same_curve),
        }
        for kind in [*kinds, "all"]:

            def chosen(row: Measured, kind: str = kind) -> bool:
                return kind in ("all", kind_of(row))

            errors = {
                way: mean_abs([miss.energy_frac for miss in found if chosen(miss.row)])
                for way, found in ways.items()
            }
            errors |= {
                way: mean_abs([e for e, row in zip(found, rows, strict=True) if chosen(row)])
                for way, found in automatic.items()
            }
            group = {"engine": engine, "device": device, "family": family, "weights": kind}
            count = sum(chosen(row) for row in rows)
            times = {
                f"time_{way}": mean_abs([miss.time_frac for miss in found if chosen(miss.row)])
                for way, found in ways.items()
            }
            details.append({**group, "rows": count, **errors, **times})
            if kind != "all":
                table.append(GroupError(**group, rows=count, **errors))
            else:
                print(f"{engine:12} {device:15} {family:7} {count:4}", errors)
    write_page(details)
    shipped = ROOT / "src" / "baseload" / "fleet" / "data" / "errors.json"
    shipped.write_bytes(msgspec.json.format(msgspec.json.encode(table), indent=1) + b"\n")
    result = {
        "schema": "baseload-bench-predict-error/1",
        "quantity": "mean absolute relative error of J/token (time_*: of step time)",
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "groups": details,
    }
    target = ROOT / "bench" / "results" / "predict_error.json"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
