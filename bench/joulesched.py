"""The JouleSched note: published, its own model over whole days, measured physics of its fleet.

Run: python bench/joulesched.py [--quick]. Writes bench/results/joulesched.json (with --quick: fewer
requests, to out/bench, and no page) and the part between the markers of
docs/explanation/joulesched.md. The constants are those of bench/joulesched_constants.py.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec

from baseload.cli.policy_specs import policy_of
from baseload.cli.scenario_file import load_scenario
from baseload.report.joulesched import (
    KINDS,
    carbon_text,
    claim_text,
    constants_text,
    findings,
    joulesched_text,
    lines_of,
)
from baseload.simulator.joulesched import joulesched_study
from baseload.simulator.results import PolicyResult, Simulation
from baseload.simulator.run import simulate
from common import QUICK_RESULTS, RESULTS, ROOT, machine, timed, versions, write_json, write_text

SEEDS = 3
PAGE = ROOT / "docs" / "explanation" / "joulesched.md"
BEGIN, END = "<!-- joulesched: begin -->", "<!-- joulesched: end -->"


def main() -> None:
    """Run and write."""
    quick = "--quick" in sys.argv
    cpu_s, study = timed(
        lambda: joulesched_study(
            seeds=1 if quick else SEEDS,
            requests=200_000 if quick else None,
        )
    )
    print(f"own model: {study.requests * len(study.seeds):,.0f} requests in {cpu_s:.0f} CPU s")
    scenario = load_scenario("joulesched", load_frac=0.001 if quick else None)
    result = simulate(scenario, [policy_of(spec) for spec in scenario.policies])
    result = msgspec.structs.replace(result, joulesched=study)
    content = {
        "schema": "baseload-bench-joulesched/1",
        "machine": machine(),
        "versions": versions("scipy"),
        "cpu_s_own_model": cpu_s,
        "study": msgspec.to_builtins(study),
        "measured": {
            "trace": {"requests": result.trace.requests, "sha256": result.trace.sha256},
            "offered_load_frac": result.offered_load_frac,
            "policies": [row(one) for one in result.policies],
        },
    }
    write_json(content, (QUICK_RESULTS if quick else RESULTS) / "joulesched.json")
    print(joulesched_text(result))
    if not quick:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        write_text(f"{before}{BEGIN}\n{page_part(result)}\n{END}{after}", PAGE)


def page_part(result: Simulation) -> str:
    """Tables and findings in Markdown, from the result."""
    study = result.joulesched
    assert study is not None
    lines = [
        f"Own model: {study.requests:,.0f} requests a day, {len(study.seeds)} days. Physics: "
        f"{result.trace.requests:,} requests, offered load "
        f"{100 * (result.offered_load_frac or 0):.0f} %.",
        "",
        "| scheduler | figure | published | own model (95 % interval) | physics |",
        "|---|---|---:|---:|---:|",
    ]
    for line in lines_of(result):
        name = f"`{line.scheduler}`" if line.first else ""
        lines.append(
            f"| {name} | {line.figure} | {line.published} | {line.obtained} | {line.measured} |"
        )
    lines += ["", *(f"* {text}" for text in findings(result)), f"* {carbon_text(study)}", ""]
    lines += [f"* {text}" for text in constants_text(study)]
    lines += ["", "Other readings of its words, in its own model, first seed:", ""]
    lines += ["| scheduler | " + " | ".join(kind.words for kind in KINDS.values()) + " |"]
    lines += ["|---|" + "---:|" * len(KINDS)]
    for name in dict.fromkeys(one.scheduler for one in study.other_readings):
        cells = [
            KINDS[one.figure].text(one.obtained)
            for one in study.other_readings
            if one.scheduler == name
        ]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    lines += ["", "What cannot be true:", "", *(f"* {claim_text(one)}" for one in study.impossible)]
    return "\n".join(lines)


def row(one: PolicyResult) -> dict[str, Any]:
    """One policy under measured physics: the figures that the note has."""
    return {
        "policy": one.policy,
        "energy_mj_per_hour": one.energy_mj_per_hour,
        "idle_energy_frac": one.idle_energy_j / one.energy_j,
        "e2e_s_p50": one.e2e_s.p50,
        "e2e_s_p99": one.e2e_s.p99,
        "miss_frac": one.miss_frac,
        "utilization_by_device": one.utilization_by_device,
        "bulk_share_by_device": one.bulk_share_by_device,
        "mean_batch_by_device": one.mean_batch_by_device,
        "refused": one.refused,
        "carbon_kg": one.carbon_kg,
    }


if __name__ == "__main__":
    main()
