"""How far the clairvoyant bound lies below the best built-in policy, and what it costs to compute.

Run: python bench/bound.py [--quick]. Writes bench/results/bound.json: the built-in scenarios, and
the random small instances of the tests. With --quick: azure-chat and a few instances, and nothing
outside out/bench.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import msgspec
import numpy as np

from baseload.cli.scenario_file import load_scenario
from baseload.routing.policies import POLICIES
from baseload.simulator.bound import Bound, bound
from baseload.simulator.run import run_once
from baseload.simulator.scenario import Scenario
from baseload.workload.tiers import Tier
from baseload.workload.trace import TraceSource
from common import QUICK_RESULTS, RESULTS, ROOT, machine, peak_rss_mb, versions, write_json

sys.path.insert(0, str(ROOT / "tests" / "unit" / "simulator"))  # the instances that the tests try
import bound_instances as instances

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
MAY_MISS_FRAC = 0.01
PACE = (
    Tier(name="interactive", classes=("chat", "rag", "reasoning"), ttft_s=1.0, tpot_s=0.06),
    Tier(name="bulk", classes=("batch",), priority=1),
)


def main() -> None:
    """Run and write."""
    quick = "--quick" in sys.argv
    names = ["azure-chat"] if quick else ["azure-chat", "azure-320", "synthetic-day"]
    rows = {name: scenario_row(name, policies=name != "synthetic-day") for name in names}
    content = {
        "schema": "baseload-bench-bound/1",
        "machine": machine(),
        "versions": versions(),
        "scenarios": rows,
        "peak_rss_mb": peak_rss_mb(),
        "random_small_instances": small(30 if quick else 400),
    }
    write_json(content, (QUICK_RESULTS if quick else RESULTS) / "bound.json")


def scenario_row(name: str, *, policies: bool) -> dict[str, Any]:
    """The bounds of one scenario at seed 0, and its least built-in policy."""
    scenario = load_scenario(name)
    source = scenario.requests(0)
    bound(scenario, msgspec.structs.replace(source, chunks=lambda: iter(())), sleep=False)
    paced = msgspec.structs.replace(scenario, tiers=PACE)
    kept = {"deadlines": True, "may_miss_frac": MAY_MISS_FRAC}
    row: dict[str, Any] = {
        "awake": bound_row(bound(scenario, source, sleep=False)),
        "asleep": bound_row(bound(scenario, source, sleep=True)),
        "awake_ttft_1_s_tpot_0.06_s": bound_row(bound(paced, source, sleep=False, **kept)),
        "asleep_ttft_1_s_tpot_0.06_s": bound_row(bound(paced, source, sleep=True, **kept)),
    }
    if policies:
        row |= best_row(scenario, source, row["awake"])
    print(f"{name}: {row}")
    return row


def bound_row(found: Bound) -> dict[str, float]:
    """A bound by request, and its cost."""
    return {
        "requests": found.requests,
        "energy_j_per_request": round(found.energy_j / found.requests, 3),
        "rest_energy_j_per_request": round(found.rest_energy_j / found.requests, 3),
        "cpu_s": round(found.cpu_s, 3),
    }


def best_row(scenario: Scenario, source: TraceSource, awake: dict[str, float]) -> dict[str, Any]:
    """The built-in policy with the least energy, and its ratio to the bound."""
    energies = {}
    for name, policy in POLICIES.items():
        run = run_once(scenario, policy, source)
        energies[name] = math.fsum(run.account_j.ravel()) / run.requests
    best = min(energies, key=lambda name: energies[name])
    return {
        "best_policy": best,
        "best_policy_energy_j_per_request": round(energies[best], 3),
        "best_policy_over_bound": round(energies[best] / awake["energy_j_per_request"], 3),
    }


def small(count: int) -> dict[str, Any]:
    """Quantiles of best policy over bound: all instances, and those whose replicas never sleep."""
    every, awake_only = [], []
    for seed in range(count):
        made = instances.case(seed)
        energy_j = instances.bounds(made)[0].energy_j
        runs = [instances.policy_run(made, policy) for policy in POLICIES]
        served = [joules for joules, refused, _ in runs if not refused]
        if not served or energy_j <= 0:
            continue
        every.append(min(served) / energy_j)
        timeouts = [(one.park_after_s, one.off_after_s) for one in made.scenario.groups]
        if all(pair == (None, None) for pair in timeouts):
            awake_only.append(every[-1])
    return {
        "quantile_fracs": list(QUANTILES),
        "best_policy_over_bound": quantiles(every),
        "best_policy_over_bound_never_asleep": quantiles(awake_only),
        "instances": len(every),
        "instances_never_asleep": len(awake_only),
    }


def quantiles(values: list[float]) -> list[float]:
    """The quantiles of ``QUANTILES``."""
    return [round(float(value), 3) for value in np.quantile(values, QUANTILES)]


if __name__ == "__main__":
    main()
