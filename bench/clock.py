"""What the assumed clock response gives at the points that others published, and where the fewest
joules per token lie.

Run: python bench/clock.py. Writes bench/results/clock.json and the tables of
docs/explanation/clocks.md. It computes and times nothing, so it gives the same on any machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baseload.fleet.clock import ClockResponse, at_clock, clock_response
from baseload.fleet.devices import find_device
from baseload.fleet.engines import MODERN_ENGINE, find_constants
from baseload.fleet.ladder import clock_for_cap, clock_ladder, least_energy_clock
from baseload.fleet.models import find_model
from baseload.fleet.physics import replica_type
from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import cost_table, step

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "explanation" / "clocks.md"
MODEL = "Llama-3.1-8B"
CONTEXT = 1000.0
TPOT_S = 0.060
FRACS = tuple(round(1.0 - 0.05 * at, 2) for at in range(15))


def stepped(kind: ReplicaType, batch: float, context: float) -> tuple[float, float]:
    """Seconds and joules of a decode step of ``batch`` sequences of mean ``context``."""
    time_s, energy_j = step(cost_table([kind])[0], batch, batch * context, 0.0)
    return float(time_s), float(energy_j)


def light_job_w(device_name: str, clock_frac: float, full_w: float) -> float:
    """Watts of a job that draws ``full_w`` at full clock and whose time does not change: the whole
    model, all work beyond static power taken as bytes.
    """
    device = find_device(device_name)
    full = find_constants(MODERN_ENGINE, device, find_model(MODEL))
    slow = at_clock(full, device, clock_frac)
    work_w = full_w - full.power.static_w
    return slow.power.static_w + work_w * slow.power.weight_j / full.power.weight_j


def exponent_only_w(device_name: str, clock_frac: float, full_w: float) -> float:
    """The same with everything above the context power taken as static: how the exponent was
    set.
    """
    device = find_device(device_name)
    idle_w = device.power_w_idle_context
    return idle_w + (full_w - idle_w) * clock_frac ** clock_response(device).static_exponent


def published_points() -> list[dict[str, Any]]:
    """Each point: what was reported and what the model gives, as changes (fractions)."""
    slow_w, full_w = (
        energy_j / time_s
        for time_s, energy_j in (
            stepped(replica_type(model=MODEL, device="H100", clock_frac=frac), 8, 600)
            for frac in (0.6, 1.0)
        )
    )
    points = [
        {
            "point": "8B decode on H100, batch 8, 60 % clock: power",
            "source": "the plain form of this response",
            "clock_frac": 0.6,
            "reported": -0.15,
            "model": slow_w / full_w - 1,
        }
    ]
    for name, mhz, watts in (
        ("A100-40GB", (1410, 810), (134.0, 86.0)),
        ("H100", (1785, 840), (164.0, 139.0)),
    ):
        frac = mhz[1] / mhz[0]
        for how, power_of in (("", light_job_w), (", all as static", exponent_only_w)):
            points.append(
                {
                    "point": f"lightly loaded job on {name}, {mhz[0]} to {mhz[1]} MHz: power{how}",
                    "source": "mertside/ai-inference-energy, measured",
                    "clock_frac": frac,
                    "reported": watts[1] / watts[0] - 1,
                    "model": power_of(name, frac, watts[0]) / watts[0] - 1,
                    "set_by_it": bool(how),
                }
            )
    return [*points, _h200_point(), *_cap_points(), _bottom_point()]


def _h200_point() -> dict[str, Any]:
    """The largest saving of decode joules by the clock alone on H200."""
    ladder = clock_ladder(MODEL, "H200", fracs=FRACS)
    savings = []
    for batch in (1, 8, 32, 128):
        joules = [stepped(kind, batch, CONTEXT)[1] for kind in ladder]
        savings.append((min(joules) / joules[0] - 1, FRACS[joules.index(min(joules))]))
    best, frac = min(savings)
    return {
        "point": "decode on H200, locked clock: energy, at best",
        "source": "arXiv 2605.11999, reported in its abstract",
        "clock_frac": frac,
        "reported": -0.32,
        "model": best,
    }


def _cap_points() -> list[dict[str, Any]]:
    """A cap lowered from 250 to 175 W on A100, read as a clock and as a stretched step; for a job
    that draws about 250 W uncapped.
    """
    job = {"model": "Llama-3.1-70B", "device": "A100-40GB", "tensor_parallel": 8}
    work = {"sequences": 8.0, "context": 8 * 500.0}
    cost = []
    for cap_w in (250.0, 175.0):
        frac = clock_for_cap(**job, **work, power_cap_w=cap_w)
        by_clock = stepped(replica_type(**job, clock_frac=frac), 8, 500)
        cost.append((frac, by_clock, stepped(replica_type(**job, power_cap_w=cap_w), 8, 500)))
    (_, high, high_stretched), (frac, low, low_stretched) = cost
    points = []
    for at, quantity, reported in ((1, "energy", -0.23), (0, "time", 0.065)):
        for how, change in (
            ("clock", low[at] / high[at] - 1),
            ("stretched step", low_stretched[at] / high_stretched[at] - 1),
        ):
            points.append(
                {
                    "point": f"70B on 8 x A100, cap 250 to 175 W as a {how}: {quantity}",
                    "source": "Samsi et al. 2023 (LLaMA-65B), reported second-hand",
                    "clock_frac": frac if how == "clock" else 1.0,
                    "reported": reported,
                    "model": change,
                }
            )
    return points


def _bottom_point() -> dict[str, Any]:
    """The bottom of the U of energy over clock on A100."""
    ladder = clock_ladder(MODEL, "A100-40GB", fracs=FRACS)
    joules = [stepped(kind, 1, CONTEXT)[1] for kind in ladder]
    return {
        "point": "clock with the fewest joules on A100, as a share",
        "source": "U-shaped, near 1005 of 1410 MHz, reported second-hand",
        "reported": 1005 / 1410,
        "model": FRACS[joules.index(min(joules))],
    }


def optima(knee: float | None = None) -> list[dict[str, Any]]:
    """The clock with the fewest joules per token of decode under a TPOT of 60 ms, by device, batch
    and what the replica draws when it rests; with another ``knee`` of byte times to see how much
    hangs on it.
    """
    found = []
    for name in ("H100", "A100-80GB"):
        law: ClockResponse | None = None
        if knee is not None:
            exponent = clock_response(find_device(name)).static_exponent
            law = ClockResponse(static_exponent=exponent, byte_knee_frac=knee)
        ladder = clock_ladder(MODEL, name, fracs=FRACS, clock_response=law)
        for batch in (32, 64, 128):
            for rest in ("nothing", "idle"):
                rest_w = ladder[0].power.power_w_idle if rest == "idle" else 0.0
                at = least_energy_clock(
                    ladder, batch, batch * CONTEXT, 0.0, TPOT_S, power_w_rest=rest_w
                )
                (full_s, full_j), (best_s, best_j) = (
                    stepped(kind, batch, CONTEXT) for kind in (ladder[0], ladder[at])
                )
                above = [joules - rest_w * s for s, joules in ((full_s, full_j), (best_s, best_j))]
                found.append(
                    {
                        "device": ladder[0].device,
                        "batch": batch,
                        "rest": rest,
                        "clock_frac": FRACS[at],
                        "full_step_s": full_s,
                        "best_step_s": best_s,
                        "full_j_per_token": full_j / batch,
                        "best_j_per_token": best_j / batch,
                        "saved_frac": 1 - above[1] / above[0],
                    }
                )
    return found


def figures() -> dict[str, Any]:
    """Everything of the result file."""
    return {
        "schema": "baseload-bench-clock/1",
        "quantity": "changes and savings as fractions; every model figure is assumed",
        "model": MODEL,
        "context_tokens": CONTEXT,
        "tpot_s": TPOT_S,
        "points": published_points(),
        "optima": optima(),
        "optima_with_knee_at_0.7": optima(0.7),
    }


def percent(value: float) -> str:
    """A change as a signed percentage."""
    return f"{100 * value:+.0f} %"


def tables(result: Mapping[str, Any]) -> str:
    """Both tables of the page."""
    lines = ["| point | reported | model | source |", "|---|---:|---:|---|"]
    for row in result["points"]:
        share = row["point"].endswith("share")
        cells = [f"{row[k]:.2f}" if share else percent(row[k]) for k in ("reported", "model")]
        lines.append("| " + " | ".join([row["point"], *cells, row["source"]]) + " |")
    lines += [
        "",
        "| device | batch | counted above | best clock | J/token, full clock | J/token, best | "
        "saved of what counts | step, full | step, best | best clock, knee at 0.7 |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    both: Sequence[Any] = list(
        zip(result["optima"], result["optima_with_knee_at_0.7"], strict=True)
    )
    for row, other in both:
        cells = [
            row["device"],
            str(row["batch"]),
            row["rest"],
            f"{100 * row['clock_frac']:.0f} %",
            f"{row['full_j_per_token']:.3f}",
            f"{row['best_j_per_token']:.3f}",
            f"{100 * row['saved_frac']:.0f} %",
            f"{row['full_step_s'] * 1e3:.1f} ms",
            f"{row['best_step_s'] * 1e3:.1f} ms",
            f"{100 * other['clock_frac']:.0f} %",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(["", "", *lines, "", ""])


def on_page(text: str, result: Mapping[str, Any]) -> str:
    """The page with the tables between its marks."""
    begin, end = "<!-- begin clock -->", "<!-- end clock -->"
    head, rest = text.split(begin)
    return head + begin + tables(result) + end + rest.split(end)[1]


def main() -> int:
    """Compute, write both files and say so."""
    result = figures()
    target = ROOT / "bench" / "results" / "clock.json"
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(on_page(PAGE.read_text(encoding="utf-8"), result), encoding="utf-8")
    print(f"clock: {len(result['points'])} points, {len(result['optima'])} optima")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
