"""The planner's rates against simulation on five sites, and the square-root law.

Run: python bench/critical.py [--quick] [--out FILE]. Writes bench/results/critical.json. The sites
are those of the unit tests, run longer: Poisson requests (exact dam, two poles), a bursty rate (the
widened diffusion), a demand with a profile over the day and a photovoltaic year (periodic
diffusion), conversion losses. Each rate must lie within the stated error of its rung plus 3
standard errors. The cost of randomness per request over 1, 10, 100 and 1,000 times the traffic
must fall with a slope within 0.02 of -1/2.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from baseload.cli.scenario_file import load_scenario
from baseload.planner.demand import demand_of_trace
from baseload.planner.net import MILNE
from baseload.planner.response import Sharing
from baseload.routing.policies import POLICIES
from baseload.simulator.run import run_once
from common import ROOT, Bench, measure, timed

sys.path.insert(0, str(ROOT / "tests" / "unit" / "planner"))  # the sites that the tests try
import critical_sites as sites

TRAFFICS = (1, 10, 100, 1000)
SLOPE_GOAL = 0.02
SIMULATED: dict[Sharing, tuple[str, ...]] = {
    "even": ("least_loaded",),
    "packed": ("slo_packing", "baseload"),
}


def main() -> None:
    """Run and write."""
    bench = Bench("critical", __doc__)
    scale = 10 if bench.quick else 1
    years = 4 if bench.quick else 24
    runs: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "poisson": lambda: sites.poisson(20_000_000 // scale),
        "poisson, capped lognormal": lambda: sites.poisson(20_000_000 // scale, "lognormal"),
        "bursty": lambda: sites.bursty(10_000_000 // scale),
        "diurnal": lambda: sites.seasonal("diurnal", years),
        "pv": lambda: sites.seasonal("pv", years),
        "lossy": lambda: sites.lossy(10_000_000 // scale),
    }
    for name, run in runs.items():
        spent_s, rows = timed(run)
        worst = max(row["gap_over_allowed"] for row in rows)
        bench.add(
            measure(
                f"{name}: worst gap over (stated error + 3 standard errors)",
                "ratio",
                [worst],
                at_most=1.0,
                comparisons=2 * len(rows),
                rows=[_rounded(row) for row in rows],
                cpu_s=round(spent_s, 2),
            )
        )
    widening(bench, scale)
    law(bench, scale)
    demand(bench)
    bench.inputs = {"quick_divides_runs_by": scale, "years": years}
    bench.write()


def widening(bench: Bench, scale: int) -> None:
    """How far the ends of a store seem to lie further out under slow noise alone."""
    for episodes in (2.0, 5.0):
        wider, error = sites.apparent_widening(20_000_000 // scale, episodes=episodes)
        bench.add(
            measure(
                f"apparent widening under slow noise, store of {episodes:g} episodes",
                "episodes",
                [wider],
                standard_error=round(error, 4),
                limit=round(2 * MILNE, 4),
            )
        )


def demand(bench: Bench) -> None:
    """The modelled demand of the shipped trace beside simulations of its scenario."""
    scenario = load_scenario("azure-chat")
    source = scenario.requests(0)
    groups = [(group.kind, group.replicas) for group in scenario.groups]
    for sharing, policies in SIMULATED.items():
        modelled = demand_of_trace(groups, source, sharing=sharing)
        rows = []
        for policy in policies:
            run = run_once(scenario, POLICIES[policy], source)
            rows.append(
                {
                    "policy": policy,
                    "simulated_mean_w": round(math.fsum(run.account_j.ravel()) / source.span_s, 1),
                }
            )
        away = [abs(modelled.mean_w / row["simulated_mean_w"] - 1) for row in rows]
        bench.add(
            measure(
                f"modelled mean power, {sharing}: distance from simulation",
                "1",
                [max(away)],
                at_most=0.05,
                modelled_mean_w=round(modelled.mean_w, 1),
                modelled_var_j2_per_s=float(f"{modelled.var_j2_per_s:.4g}"),
                rows=rows,
            )
        )


def law(bench: Bench, scale: int) -> None:
    """The square-root law, with the standard error of its slope."""
    points = [
        sites.cost_per_request(n, int(max(4e6, 4e5 * n)) // scale)
        for n in TRAFFICS[: 4 if scale == 1 else 3]
    ]
    traffics = TRAFFICS[: len(points)]
    slope = sites.slope_of(traffics, [cost for cost, _ in points])
    middle = sum(math.log(n) for n in traffics) / len(traffics)
    spread = sum((math.log(n) - middle) ** 2 for n in traffics)
    error = (
        math.sqrt(
            sum(
                ((math.log(n) - middle) * wrong / cost) ** 2
                for n, (cost, wrong) in zip(traffics, points, strict=True)
            )
        )
        / spread
    )
    bench.add(
        measure(
            "square-root law: distance of the slope from -1/2",
            "1",
            [abs(slope + 0.5)],
            at_most=SLOPE_GOAL,
            slope=round(slope, 4),
            slope_standard_error=round(error, 4),
            points=[
                {"traffic": n, "usd_per_request": cost, "standard_error": wrong}
                for n, (cost, wrong) in zip(traffics, points, strict=True)
            ],
        )
    )


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """The row with numbers to five digits."""
    return {
        key: float(f"{value:.5g}") if isinstance(value, float) else value
        for key, value in row.items()
    }


if __name__ == "__main__":
    main()
