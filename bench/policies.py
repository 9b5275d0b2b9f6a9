"""What each policy costs the 320-GPU fleet of the README: energy, latency, misses, with intervals.

Run: python bench/policies.py [--quick]. Simulates ``azure-320`` (and ``azure-chat``) under every
built-in policy; writes bench/results/policies.json, the plots of docs/images, and the table between
the markers of README.md. With --quick: one seed of azure-chat only, and nothing outside out/bench.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from baseload.cli.scenario_file import load_scenario
from baseload.report.plots import draw_plots
from baseload.routing.policies import POLICIES
from baseload.simulator.results import PolicyResult, Simulation
from baseload.simulator.run import simulate
from common import QUICK_RESULTS, RESULTS, ROOT, machine, versions, write_json, write_text

SEEDS = 3
BASELINE = "round_robin"
BEGIN, END = "<!-- policies: begin -->", "<!-- policies: end -->"


def main() -> None:
    """Run and write."""
    quick = "--quick" in sys.argv
    names = ["azure-chat"] if quick else ["azure-chat", "azure-320"]
    runs = {name: run(name, 1 if quick else SEEDS) for name in names}
    content = {
        "schema": "baseload-bench-policies/1",
        "machine": machine(),
        "versions": versions(),
        "scenarios": {name: scenario_row(simulation) for name, simulation in runs.items()},
    }
    write_json(content, (QUICK_RESULTS if quick else RESULTS) / "policies.json")
    if not quick:
        write_plots(runs["azure-320"])
        write_readme(content)


def run(name: str, seeds: int) -> Simulation:
    """All built-in policies over one built-in scenario, held against the laws."""
    print(f"{name}: {len(POLICIES)} policies, {seeds} seeds")
    return simulate(
        load_scenario(name),
        list(POLICIES.values()),
        seeds=seeds,
        check=True,
        done=lambda one: print(f"  {one.policy}: {one.energy_j_per_request:.1f} J per request"),
    )


def scenario_row(simulation: Simulation) -> dict[str, Any]:
    """One scenario: its inputs and a row for each policy."""
    by_name = {one.policy: one for one in simulation.policies}
    return {
        "trace": {
            "name": simulation.trace.name,
            "sha256": simulation.trace.sha256,
            "requests": simulation.trace.requests,
        },
        "seeds": len(simulation.seeds),
        "offered_load_frac": simulation.offered_load_frac,
        "fleet": [f"{row.replicas} x {row.type}" for row in simulation.fleet],
        "policies": [policy_row(one, by_name[BASELINE]) for one in simulation.policies],
    }


def policy_row(one: PolicyResult, baseline: PolicyResult) -> dict[str, Any]:
    """One policy: its figures, and its energy as a ratio to the baseline of the same run."""
    return {
        "policy": one.policy,
        "energy_j_per_request": one.energy_j_per_request,
        "energy_j_per_request_interval": one.interval.get("energy_j_per_request"),
        "energy_ratio": one.energy_j / baseline.energy_j,
        "ttft_s_p99": one.ttft_s.p99,
        "tpot_s_p99": one.tpot_s.p99,
        "e2e_s_p99": one.e2e_s.p99,
        "miss_frac": one.miss_frac,
        "refused": one.refused,
    }


def write_plots(simulation: Simulation) -> None:
    """The plots that the README shows."""
    with tempfile.TemporaryDirectory() as folder:
        for plot in draw_plots(simulation, Path(folder)):
            if plot.name in ("trade-off.png", "energy-per-request.png"):
                shutil.copy(plot, ROOT / "docs" / "images" / plot.name)


def readme_table(content: dict[str, Any]) -> str:
    """The table of the README, from the result file's content."""
    scenario = content["scenarios"]["azure-320"]
    lines = [
        f"{scenario['trace']['requests']:,} requests in 58 minutes over "
        f"{', '.join(scenario['fleet'])}; mean of {scenario['seeds']} seeds:",
        "",
        "| policy | J per request (95 % interval) | energy against round robin | TTFT p99 "
        "| TPOT p99 | answer p99 | missed |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in scenario["policies"]:
        low, high = row["energy_j_per_request_interval"]
        lines.append(
            f"| `{row['policy']}` | {row['energy_j_per_request']:.1f} ({low:.1f} to {high:.1f}) "
            f"| {row['energy_ratio']:.3f} | {row['ttft_s_p99']:,.2f} s "
            f"| {1000 * row['tpot_s_p99']:.0f} ms | {row['e2e_s_p99']:,.1f} s "
            f"| {100 * row['miss_frac']:.2f} % |"
        )
    return "\n".join(lines)


def write_readme(content: dict[str, Any]) -> None:
    """Put the table between the README's markers."""
    path = ROOT / "README.md"
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    write_text(f"{before}{BEGIN}\n{readme_table(content)}\n{END}{after}", path)


if __name__ == "__main__":
    main()
