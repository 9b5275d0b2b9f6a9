"""What Baseload's policy saves on the 320-GPU fleet, at which misses, and how far it is from the
bound; what a wrong forecast of lengths costs.

Run: python bench/savings.py [--quick]. Writes bench/results/savings.json. Rivals with a knob for
safety are tuned first: the setting that misses at most 1 % with the fewest joules, on seed 0 at
half load, parking on. Then every policy runs over the same seeds (ten at half load, two at the
others: time), with and without parking for all. With
--quick: one load of azure-chat, one seed, and nothing outside out/bench. With --table: only the
tables of the README and of docs/explanation/forecasts.md, from the file that is there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from baseload.cli.jobs import JobResult, gathered, jobs_of, run_jobs, usable_cpus
from baseload.cli.policy_specs import policy_of
from baseload.cli.scenario_file import Overrides, load_scenario
from baseload.simulator.results import PolicyResult, Simulation
from common import QUICK_RESULTS, RESULTS, ROOT, machine, versions, write_json, write_text

TARGET = 0.01
FIXED = ("least_loaded", "baseload")
KNOBS = {
    "slo_packing": ("margin_frac", (0.5, 0.6)),
    "joulesched": ("deadline_factor", (0.1, 0.15)),
}
FORECASTS = (
    "online",
    "perfect",
    "perfect:error=0.5",
    "perfect:bias=0.5",
    "perfect:bias=-0.5",
    "class_quantile",
)
DEPENDENT = ("baseload", "joulesched:deadline_factor=0.15")
SEEDS = {0.5: 10, 0.3: 2, 0.7: 2}


BEGIN, END = "<!-- savings: begin -->", "<!-- savings: end -->"


def main() -> None:
    """Run and write."""
    if "--table" in sys.argv:
        found = json.loads((RESULTS / "savings.json").read_text())
        write_between(ROOT / "README.md", readme_table(found))
        write_between(ROOT / "docs" / "explanation" / "forecasts.md", forecast_table(found))
        return
    quick = "--quick" in sys.argv
    name = "azure-chat" if quick else "azure-320"
    loads = (0.5,) if quick else tuple(SEEDS)
    content: dict[str, Any] = {
        "schema": "baseload-bench-savings/1",
        "scenario": name,
        "machine": machine(),
        "versions": versions(),
        "loads": {},
    }
    rivals = tuned(name, Overrides(load_frac=0.5, parking="all"))
    for load in loads:
        content["loads"][f"{load:g}"] = {
            parking: compared(name, load, parking, rivals, seeds=1 if quick else SEEDS[load])
            for parking in ("none", "all")
        }
        write_json(content, (QUICK_RESULTS if quick else RESULTS) / "savings.json")
    content["forecasts"] = forecasts(name)
    write_json(content, (QUICK_RESULTS if quick else RESULTS) / "savings.json")
    if not quick:
        write_between(ROOT / "README.md", readme_table(content))
        write_between(ROOT / "docs" / "explanation" / "forecasts.md", forecast_table(content))


def readme_table(content: dict[str, Any]) -> str:
    """The table of the README, from the result file's content."""
    lines = [
        "| load | parking | policy | J per request | against `least_loaded`, same parking (95 %) "
        "| x bound | missed |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for load, found in sorted(content["loads"].items()):
        for parking, part in found.items():
            for name, row in part["policies"].items():
                low, high = row["change_from_least_loaded_frac_interval"]
                change = "" if name == "least_loaded" else f"{low:+.1%} to {high:+.1%}"
                cells = [
                    f"{float(load):.0%}",
                    parking,
                    f"`{name}`",
                    f"{row['energy_j_per_request']:.1f}",
                    change,
                    f"{row['energy_over_bound']:.2f}",
                    f"{row['miss_frac']:.2%}",
                ]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def forecast_table(content: dict[str, Any]) -> str:
    """The table of the page on forecasts, from the result file's content."""
    lines = ["| forecaster | policy | J per request | missed |", "|---|---|---:|---:|"]
    for forecast, rows in content["forecasts"].items():
        for name, row in rows.items():
            cells = [f"`{forecast}`", f"`{name}`"]
            cells += [f"{row['energy_j_per_request']:.1f}", f"{row['miss_frac']:.2%}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_between(path: Path, table: str) -> None:
    """Put a table between the markers of a page."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", path)


def run(name: str, specs: list[str], seeds: int, overrides: Overrides) -> Simulation:
    """A simulation in as many processes as there are CPUs."""
    jobs = jobs_of(name, specs, seeds=seeds, overrides=overrides)
    results: list[JobResult] = run_jobs(jobs, at_once=usable_cpus())
    scenario = load_scenario(name, overrides=overrides)
    return gathered(scenario, [policy_of(spec) for spec in specs], results)


def tuned(name: str, overrides: Overrides) -> list[str]:
    """Each rival with the setting that keeps the target on seed 0 with the fewest joules; the one
    with the fewest misses where none keeps it.
    """
    specs = [
        f"{policy}:{knob}={value:g}" for policy, (knob, values) in KNOBS.items() for value in values
    ]
    found = {row.policy: row for row in run(name, specs, 1, overrides).policies}
    chosen = []
    for policy in KNOBS:
        rows = [row for spec, row in found.items() if spec.startswith(policy)]
        keeps = [row for row in rows if (row.miss_frac or 0.0) <= TARGET]
        best = (
            min(keeps, key=lambda row: row.energy_j)
            if keeps
            else min(rows, key=lambda row: row.miss_frac or 0.0)
        )
        chosen.append(best.policy)
    return chosen


def compared(
    name: str, load: float, parking: str, rivals: list[str], *, seeds: int
) -> dict[str, Any]:
    """All policies at one load, over the same seeds: energy against least_loaded, misses, bound."""
    overrides = Overrides(load_frac=load, parking=parking)
    specs = [*FIXED, *rivals]
    simulation = run(name, specs, seeds, overrides)
    return {
        "seeds": seeds,
        "bound_energy_j": simulation.bound_energy_j,
        "offered_load_frac": simulation.offered_load_frac,
        "policies": {row.policy: figures(row) for row in simulation.policies},
    }


def figures(row: PolicyResult) -> dict[str, Any]:
    """What the tables state of a policy, with 95 % intervals over seeds."""
    change = row.interval.get("energy_change_frac")
    return {
        "energy_j_per_request": row.energy_j_per_request,
        "energy_j_per_request_interval": row.interval.get("energy_j_per_request"),
        "change_from_least_loaded_frac_interval": change,
        "energy_over_bound": row.energy_over_bound,
        "energy_over_bound_interval": row.interval.get("energy_over_bound"),
        "miss_frac": row.miss_frac,
        "miss_frac_interval": row.interval.get("miss_frac"),
        "ttft_p99_s": row.ttft_s.p99,
        "tpot_p99_s": row.tpot_s.p99,
        "requests_per_cpu_s": row.requests_per_cpu_s,
    }


def forecasts(name: str) -> dict[str, Any]:
    """Energy and misses of policies that look at lengths, under each forecaster, on seed 0."""
    found: dict[str, Any] = {}
    for forecast in FORECASTS:
        simulation = run(name, list(DEPENDENT), 1, Overrides(forecast=forecast))
        found[forecast] = {row.policy: figures(row) for row in simulation.policies}
    return found


if __name__ == "__main__":
    main()
