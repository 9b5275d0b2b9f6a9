"""Variance-aware routing: how fast its solvers are, how exact, and how much of the gap they close.

Run: python bench/routing.py [--quick] [--out FILE]. Writes bench/results/routing.json.

Problems are drawn, seed by seed, as `problem` says: options of each class trade energy against
failures (a dearer one fails less), a failure costs as much as 0.15 to 0.6 of the energy that it
takes to avoid it is worth at the price of auxiliary energy, job energies are lognormal with squared
coefficients of variation from 0.2 to 2.5, and the supply lies between the demand that is best when
every joule is bought and the demand that is best when joules are wasted: static routing has to mix,
or to miss the balance. The gap is that between the
best static routing (the better of the diffusion's optimal mixture and the best deterministic one)
and the exact optimum of the jump model on a lattice; a policy's share of it that is left is above 1
where the policy is worse than static. All costs in the gap study are exact for the lattice, whose
own job laws the policies are given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np

from baseload.theory.dynamic_routing import DynamicRouting, prices_at, solve_hjb
from baseload.theory.job_cells import JobCells, quantile_laws
from baseload.theory.lattice import (
    JumpLattice,
    best_static,
    evaluate_policy,
    guarded,
    jump_lattice,
    optimal_policy,
)
from baseload.theory.routing_grid import grid_routing
from baseload.theory.routing_instance import CapacityRow, RoutingInstance
from baseload.theory.routing_tables import (
    ScoreTables,
    full_jump_tables,
    rollout_prices,
    taylor_tables,
)
from baseload.theory.static_routing import min_variance_given_mean, static_optimum
from common import Bench, measure, timed

TABLES_GOAL_S, STATIC_GOAL_S = 1.0, 2.0
GAP_LEFT_GOAL = 0.10
COST_GOAL, PRICE_GOAL = 1e-6, 1e-4
STEPS_A_JOB = {3: 32, 10: 16, 30: 16, 90: 8}
"""Lattice steps in a mean job, by mean jobs of storage."""
SMALLEST_GAP = 1e-3
"""Gaps below this share of the static cost are counted, not divided by."""
EITHER = ("full_jump", "guarded")


def problem(seed: int, classes: int = 3, options: int = 3) -> RoutingInstance:
    """A random problem (see the head of this file); one query a second in all."""
    draw = np.random.default_rng([8, seed])
    lam = draw.dirichlet(np.full(classes, 2.0))
    size = draw.lognormal(0.0, 0.5, (classes, 1))
    ratio = np.sort(draw.uniform(0.4, 4.0, (1, options)))
    mean = size * ratio * draw.uniform(0.8, 1.25, (classes, options))
    scv = draw.uniform(0.2, 2.5, (classes, options))
    hard = draw.uniform(0.05, 0.8, (classes, 1))
    power = 1 + 2 * np.arange(options) / (options - 1)
    fail = hard**power * draw.uniform(0.7, 1.0, (classes, options))
    saved = float(lam @ np.ptp(mean, axis=1)) / float(lam @ np.ptp(fail, axis=1))
    loss = draw.uniform(0.15, 0.6) * saved * fail
    Cu, Cw = 1.0, draw.uniform(0.0, 0.3)
    low, high = (
        float(lam @ np.take_along_axis(mean, np.argmin(score, axis=1)[:, None], axis=1)[:, 0])
        for score in (Cu * mean + loss, -Cw * mean + loss)
    )
    return RoutingInstance(
        lam=lam,
        mean=mean,
        second=mean**2 * (1 + scv),
        other_cost=loss,
        Cu=Cu,
        Cw=Cw,
        b=low + draw.uniform(0.2, 0.8) * (high - low),
    )


def limited(instance: RoutingInstance, seed: int) -> RoutingInstance:
    """The problem with ten groups of options short of capacity, and a limit on failures."""
    draw = np.random.default_rng([9, seed])
    shape, groups = instance.shape, 10
    wide = shape[1] // groups
    rows = []
    for group in range(groups):
        work = np.zeros(shape)
        work[:, group * wide : (group + 1) * wide] = draw.uniform(0.5, 2.0, (shape[0], wide))
        rows.append(CapacityRow(name=f"group {group}", work=work, capacity=0.16))
    fail = draw.uniform(0.01, 0.5, shape)
    return msgspec.structs.replace(instance, rows=tuple(rows), fail=fail, fail_limit=0.15)


def main() -> None:
    """Run and write."""
    bench = Bench("routing", __doc__ or "", packages=("scipy",))
    few = 3 if bench.quick else 9
    tables(bench, few)
    static(bench, few)
    exactness(bench, 3 if bench.quick else 12)
    counts = dict.fromkeys(STEPS_A_JOB, 4) if bench.quick else {3: 40, 10: 40, 30: 40, 90: 24}
    for jobs, count in counts.items():
        gaps(bench, jobs, count)
    bench.notes.append(
        "The problems are drawn so that static routing must mix or miss the balance: gains are "
        "larger than where the supply is far from the demand, and there is none where one option "
        "is best at every price."
    )
    bench.notes.append(
        f"Shares of a gap leave out problems whose gap is below {SMALLEST_GAP:g} of the static "
        "cost; counts of tables worse than static are over all problems."
    )
    bench.inputs = {
        "instances_of_tables_and_static": few,
        "instances_by_mean_jobs_of_storage": counts,
        "lattice_steps_a_mean_job": STEPS_A_JOB,
    }
    bench.write()


def jumps(found: DynamicRouting, instance: RoutingInstance, laws: JobCells, level: Any) -> Any:
    """Full-jump score tables of a solution."""
    return full_jump_tables(instance, laws, level=level, worth=lambda s: prices_at(found, s).value)


def tables(bench: Bench, count: int) -> None:
    """Solver and score tables, 20 classes of 12 options on 512 levels."""

    def work(instance: RoutingInstance, B: float) -> ScoreTables:
        found = solve_hjb(instance, B)
        laws = quantile_laws(instance.mean, instance.second)
        made: ScoreTables = jumps(found, instance, laws, np.linspace(0.0, B, 512))
        return made

    work(problem(0, 20, 12), 30.0)
    spent: list[float] = []
    solver: list[float] = []
    for seed in range(count):
        for B_jobs in (10, 30, 90):
            instance = problem(seed, 20, 12)
            solver.append(timed(partial(solve_hjb, instance, B_jobs * instance.b))[0])
            spent.append(timed(partial(work, instance, B_jobs * instance.b))[0])
    size = "20 classes x 12 options x 512 levels"
    bench.add(
        measure(f"solver and full-jump tables, {size}", "s", spent, at_most=TABLES_GOAL_S),
        measure(f"worst of it, {size}", "s", [max(spent)], at_most=TABLES_GOAL_S),
        measure("the solver alone", "s", solver),
    )


def static(bench: Bench, count: int) -> None:
    """Static programs of 1,000 classes and 50 options, without and with side rows."""
    static_optimum(problem(0, 10, 50), 30.0)
    for name, limits in (("", False), (", 10 capacities and a limit on failures", True)):
        subjects: dict[str, Callable[[RoutingInstance], Any]] = {
            "least variance at a given mean": lambda one: min_variance_given_mean(one, one.b),
            "best static routing": lambda one: static_optimum(one, 30.0 * one.b),
        }
        for subject, work in subjects.items():
            spent: list[float] = []
            gap = 0.0
            for seed in range(count if not limits else max(count // 2, 2)):
                instance = problem(seed, 1000, 50)
                instance = limited(instance, seed) if limits else instance
                took, found = timed(partial(work, instance))
                assert found.status == "optimal", seed
                spent.append(took)
                gap = max(gap, found.gap / abs(found.objective))
            title = f"{subject}, 1,000 classes x 50 options{name}"
            bench.add(
                measure(title, "s", spent, at_most=STATIC_GOAL_S, worst_relative_gap=gap),
                measure(f"worst: {title}", "s", [max(spent)], at_most=STATIC_GOAL_S),
            )


def exactness(bench: Bench, count: int) -> None:
    """Semi-closed solution against finite differences, extrapolated to a spacing of zero."""
    costs, prices = [], []
    for seed in range(count):
        instance = problem(seed)
        B = (10.0, 30.0, 60.0)[seed % 3] * instance.b
        found = solve_hjb(instance, B)
        fine, coarse = (grid_routing(instance, B, intervals=n) for n in (3200, 1600))
        gam = fine.gam + (fine.gam - coarse.gam) / 3
        at_fine, at_coarse = fine.lamS[0, 1600], coarse.lamS[0, 800]
        middle = float(at_fine + (at_fine - at_coarse) / 3)
        costs.append(abs(found.gam - gam) / abs(gam))
        prices.append(abs(float(prices_at(found, B / 2).lamS) - middle))
    bench.add(
        measure(
            "average cost, semi-closed against finite differences, worst",
            "fraction",
            [max(costs)],
            at_most=COST_GOAL,
            problems=count,
            intervals=3200,
        ),
        measure(
            "price of a joule at half a store, the same, worst",
            "$/J (Cu = 1)",
            [max(prices)],
            at_most=PRICE_GOAL,
        ),
    )


def gaps(bench: Bench, jobs: int, count: int) -> None:
    """What each index leaves of the gap between static and optimal, at one size of the store."""
    rows = [study(seed, jobs) for seed in range(count)]
    usable = [row for row in rows if row["gain"] >= SMALLEST_GAP]
    store = f"store of {jobs} mean jobs"
    for name in ("full_jump", "taylor", "rollout", "mean_only", "guarded"):
        left = [row[name] for row in usable]
        goal = GAP_LEFT_GOAL if name in ("full_jump", "guarded") else None
        bench.add(
            measure(
                f"share of the gap left, {name}, {store}",
                "fraction",
                left,
                at_most=goal,
                worse_than_static_of_all=sum(row[f"{name}_over_static"] > 1e-12 for row in rows),
                problems=count,
                ninth_decile=_rounded(float(np.quantile(left, 0.9))),
                problems_with_a_smaller_gap=count - len(usable),
            )
        )
    worse = [sum(row[f"{name}_over_static"] > 1e-12 for row in rows) for name in EITHER]
    bench.add(
        measure(f"full_jump tables worse than static, unguarded, {store}", "problems", worse[:1]),
        measure(
            f"full_jump tables worse than static, guarded, {store}",
            "problems",
            worse[1:],
            at_most=0,
        ),
        measure(f"tables that the guard replaced, {store}", "problems", [_fallbacks(rows)]),
        measure(
            f"gain of the optimum over static, {store}",
            "% of total cost",
            [100 * row["gain"] for row in rows],
        ),
        measure(
            f"cost forecast of the diffusion off by, {store}",
            "%",
            [100 * abs(row["forecast"]) for row in rows],
            median_signed_percent=_rounded(
                100 * float(np.median([row["forecast"] for row in rows]))
            ),
        ),
    )
    bench.say(f"{store}: {len(usable)} of {count} problems with a gap")


def _fallbacks(rows: Sequence[dict[str, float]]) -> int:
    return sum(not row["kept"] for row in rows)


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def own_laws(instance: RoutingInstance, lattice: JumpLattice) -> tuple[RoutingInstance, JobCells]:
    """The problem with the moments that jobs have on the lattice, and their laws."""
    values = lattice.delta * np.arange(lattice.job.shape[-1])
    mean, second = lattice.job @ values, lattice.job @ values**2
    cells = JobCells(np.broadcast_to(values, lattice.job.shape), lattice.job)
    return msgspec.structs.replace(instance, mean=mean, second=second), cells


def study(seed: int, jobs: int) -> dict[str, float]:
    """One problem: exact costs on the lattice as shares of the gap."""
    drawn = problem(seed)
    mean_job = static_optimum(drawn, 1e3 * drawn.b).mean / float(drawn.lam.sum())
    delta = mean_job / STEPS_A_JOB[jobs]
    B = jobs * STEPS_A_JOB[jobs] * delta
    instance, laws = own_laws(drawn, jump_lattice(drawn, B, delta=delta, cap=40 * mean_job))
    lattice = jump_lattice(instance, B, delta=delta, job=laws.weights)
    level = lattice.level
    found = solve_hjb(instance, B)
    prices = prices_at(found, level)
    fixed = static_optimum(instance, B)
    start = rollout_prices(
        S=level,
        theta=instance.b - fixed.mean,
        var=fixed.variance,
        B=B,
        Cu=instance.Cu,
        Cw=instance.Cw,
    )
    scored = {
        "full_jump": jumps(found, instance, laws, level),
        "taylor": taylor_tables(instance, level=level, lamS=prices.lamS, om=prices.om),
        "rollout": taylor_tables(instance, level=level, lamS=start.lamS, om=start.om),
        "mean_only": taylor_tables(
            instance, level=level, lamS=prices.lamS, om=np.zeros_like(level)
        ),
    }
    best = optimal_policy(lattice, start=scored["full_jump"].choice).cost.cost
    _, held = best_static(lattice)
    _, safe, kept = guarded(lattice, scored["full_jump"].choice)
    gap = held.cost - best
    costs = {name: evaluate_policy(lattice, table.choice).cost for name, table in scored.items()}
    costs["guarded"] = safe.cost
    shares = {name: (cost - best) / gap if gap > 0 else math.nan for name, cost in costs.items()}
    over = {f"{name}_over_static": cost / held.cost - 1 for name, cost in costs.items()}
    return (
        shares
        | over
        | {
            "kept": kept,
            "gain": gap / abs(held.cost),
            "forecast": found.gam / best - 1,
        }
    )


if __name__ == "__main__":
    main()
