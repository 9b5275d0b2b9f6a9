"""What routing by the store buys: every policy at one store, evaluated alike.

Small stores are evaluated with whole jumps on a lattice, larger ones by the stationary law of the
diffusion. Two choices make a coarse lattice good. Jobs are split between neighbouring levels, so
that their mean is exact. And jobs are spread to 1 - e and 1 + e times their size, so that the
variance m^2 x slot, which is lost because a slot has at most one arrival, is there again. Derived
in docs/explanation/variance-aware-routing.md, 5.5, 5.6 and 5.9; a test holds the two choices
against finer lattices. Standing: heuristic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from baseload.base.errors import ArgumentError
from baseload.planner.routing_records import DynamicGain, Method, Policy, PolicyCost
from baseload.theory import lattice as jumps
from baseload.theory.dynamic_routing import DynamicRouting, prices_at, solve_hjb
from baseload.theory.inputs import Floats
from baseload.theory.job_cells import JobCells, quantile_laws
from baseload.theory.routing_instance import Ints, RoutingInstance, deterministic_routings
from baseload.theory.routing_tables import full_jump_tables, taylor_tables
from baseload.theory.state_dependent import state_dependent_rates
from baseload.theory.static_routing import StaticRouting
from baseload.theory.store_cost import two_sided_cost

LATTICE_JOBS = 40.0
"""Stores up to this many mean jobs are evaluated on the lattice."""

STEPS_PER_JOB = 8.0
_LEAST_LEVELS, _MOST_LEVELS, _MOST_POINTS = 64, 400, 8000
_MOST_STATIC, _QUICK_LEVELS, _MOST_SLOW = 64, 100, 8
_TABLE_LEVELS = 513
_LEAST_STEPS_OF_SUPPLY = 8
_REAL = 1e-9
_FORECAST_ERRORS = ((3.0, 0.11), (10.0, 0.04), (30.0, 0.01), (90.0, 0.007))
"""Mean jobs of storage, and how far off the optimality equation's cost was in random problems."""


class Cost(NamedTuple):
    """Total cost [$/s], auxiliary energy and waste [W], other cost [$/s]."""

    total: float
    auxiliary_w: float
    waste_w: float
    other: float


class GainTables(NamedTuple):
    """What was compared: levels [n] J, each policy's options [n, classes], the best static shares
    [classes, options], the solution of the optimality equation, and the record.
    """

    level: Floats
    choice: dict[Policy, Ints]
    static: Floats
    solution: DynamicRouting
    gain: DynamicGain


def gain_at(
    instance: RoutingInstance,
    store_j: float,
    static: StaticRouting,
    *,
    dist: str = "lognormal",
    present: Floats | None = None,
) -> GainTables:
    """Best static, mean-only, Taylor and full-jump routing and the optimum with a store of
    ``store_j``, and what the guard keeps.

    ``instance`` has Poisson arrivals, ``static`` is its ``static_optimum``; ``dist`` the family of
    job energies. Raises what ``solve_hjb`` raises.
    """
    solution = solve_hjb(instance, store_j)
    mean_job = static.mean / float(instance.lam.sum())
    laws = quantile_laws(instance.mean, instance.second, dist=dist)
    lattice = lattice_for(instance, store_j, static, laws)
    level = np.linspace(0.0, store_j, _TABLE_LEVELS) if lattice is None else lattice.level
    levels = 0 if lattice is None else len(level)
    cost_of = _evaluator(instance, store_j, level, lattice)
    routing, fixed = _best_static(instance, static, solution, cost_of, levels)
    choice = _tables(instance, solution, laws, level)
    costs: dict[Policy, Cost] = {"best_static": fixed}
    if present is not None:
        costs["present"] = cost_of(present)
    costs |= {name: cost_of(table) for name, table in choice.items()}
    if lattice is None:
        choice["optimal"] = solution_choice(solution, level)
        costs["optimal"] = _of_solution(instance, solution)
    else:
        best = jumps.optimal_policy(lattice, start=choice["full_jump"])
        choice["optimal"], costs["optimal"] = best.choice, _cost(best.cost)
    method, ours = _method(store_j, mean_job, on_lattice=lattice is not None)
    kept = costs[ours].total < fixed.total - _REAL * abs(fixed.total)
    costs["guarded"] = costs[ours] if kept else fixed
    choice["guarded"] = choice[ours]
    record = DynamicGain(
        store_j=store_j,
        store_jobs=store_j / mean_job,
        method=method if kept else "best_static",
        evaluated_by="diffusion" if lattice is None else "lattice",
        step_j=None if lattice is None else lattice.delta,
        levels=levels or None,
        standing="asymptotic" if lattice is None else "heuristic",
        policies=_policies(costs, solution.gam_fluid),
        forecast_usd_per_s=solution.gam,
        forecast_error_frac=forecast_error(store_j / mean_job),
        fluid_usd_per_s=solution.gam_fluid,
        guard_kept=bool(kept),
    )
    return GainTables(level, choice, routing, solution, record)


def _method(store_j: float, mean_job: float, *, on_lattice: bool) -> tuple[Method, Policy]:
    """The method to route by, and the policy that stands for it. Where no lattice fits, scores by
    whole jumps do; the Taylor table is the diffusion's optimum.
    """
    method = jumps.method_for(store_j, mean_job)
    if method == "lattice":
        return ("lattice", "optimal") if on_lattice else ("full_jump", "full_jump")
    if method == "taylor" and not on_lattice:
        return "taylor", "optimal"
    return method, method


def forecast_error(jobs: float) -> float | None:
    """Relative error of the optimality equation's cost with a store of so many mean jobs, between
    the stores that were studied; ``None`` below the smallest of them.
    """
    if jobs < _FORECAST_ERRORS[0][0]:
        return None
    known = np.log(np.array(_FORECAST_ERRORS))
    return float(np.exp(np.interp(math.log(jobs), known[:, 0], known[:, 1])))


def _policies(costs: dict[Policy, Cost], fluid: float) -> tuple[PolicyCost, ...]:
    """The records, with savings against the best static routing; ``fluid``: cost without chance."""
    static, best = costs["best_static"].total, costs["optimal"].total
    gap, chance = static - best, static - fluid
    real = gap > _REAL * max(abs(static), abs(best))
    return tuple(
        PolicyCost(
            name=name,
            cost_usd_per_s=cost.total,
            auxiliary_w=cost.auxiliary_w,
            waste_w=cost.waste_w,
            other_usd_per_s=cost.other,
            saving_frac=(static - cost.total) / static if static > 0 else None,
            chance_saving_frac=(
                (static - cost.total) / chance
                if chance > _REAL * max(abs(static), abs(fluid))
                else None
            ),
            gap_left_frac=(cost.total - best) / gap if real else None,
        )
        for name, cost in costs.items()
    )


def _tables(
    instance: RoutingInstance, solution: DynamicRouting, laws: JobCells, level: Floats
) -> dict[Policy, Ints]:
    """The options that each score takes at each level."""
    prices = prices_at(solution, level)
    steep, flat = prices.om, np.zeros_like(prices.om)
    full = full_jump_tables(
        instance, laws, level=level, worth=lambda at: prices_at(solution, at).value
    )
    return {
        "mean_only": taylor_tables(instance, level=level, lamS=prices.lamS, om=flat).choice,
        "taylor": taylor_tables(instance, level=level, lamS=prices.lamS, om=steep).choice,
        "full_jump": full.choice,
    }


def solution_choice(solution: DynamicRouting, level: Floats) -> Ints:
    """The options [levels, classes] that the exact bands take at each level."""
    bands = solution.bands
    found: Ints = bands.choice[
        np.clip(np.searchsorted(bands.start, level, side="right") - 1, 0, None)
    ]
    return found


def lattice_for(
    instance: RoutingInstance, store_j: float, static: StaticRouting, laws: JobCells
) -> jumps.JumpLattice | None:
    """The lattice on which policies with a store of ``store_j`` are evaluated; ``None`` where it
    would need more than 400 levels, or where supply moves more than an eighth of the store at once.

    The variance of demand is right at the routing ``static``.
    """
    total, mean_w = float(instance.lam.sum()), static.mean
    if instance.b <= 0 or mean_w <= 0:
        return None
    jobs = store_j * total / mean_w
    least = max(STEPS_PER_JOB * jobs, store_j * total / instance.b, _LEAST_LEVELS)
    if jobs > LATTICE_JOBS or least > _MOST_LEVELS:
        return None
    delta = store_j / math.ceil(least)
    supply = step_law(instance.v0 / (instance.b * delta)) if instance.v0 > 0 else None
    if supply is not None and len(supply) * _LEAST_STEPS_OF_SUPPLY > math.ceil(least):
        return None
    lost = mean_w**2 * delta / instance.b
    spread = math.sqrt(lost / (static.variance - instance.v0))
    job = split_jobs(spread_jobs(laws, spread), delta)
    return jumps.jump_lattice(instance, store_j, delta=delta, job=job, supply=supply)


def spread_jobs(laws: JobCells, spread: float) -> JobCells:
    """Every job at 1 - ``spread`` or 1 + ``spread`` times its size, with equal chances: the mean
    stays, the mean square grows by 1 + spread^2.
    """
    values = np.concatenate([laws.values * (1 - spread), laws.values * (1 + spread)], axis=-1)
    return JobCells(values, np.concatenate([laws.weights, laws.weights], axis=-1) / 2)


def split_jobs(laws: JobCells, delta: float) -> Floats:
    """Probabilities [classes, options, points] of 0, delta, 2 delta, ...: every value is split
    between its two neighbours so that the mean stays. Beyond 8,000 points it is lumped there.
    """
    at = np.minimum(laws.values / delta, float(_MOST_POINTS))
    low = np.floor(at).astype(np.int64)
    above = at - low
    found = np.zeros((*at.shape[:2], int(low.max(initial=0)) + 2))
    k, a = np.indices(at.shape)[:2]
    np.add.at(found, (k, a, low), laws.weights * (1 - above))
    np.add.at(found, (k, a, low + 1), laws.weights * above)
    return found


def step_law(var: float) -> Floats:
    """Chances of 0, 1, 2, ... steps with mean 1 and variance ``var`` >= 0: none, or one of the two
    whole numbers around 1 + var.
    """
    many = math.floor(1 + var)
    upper = 1 + var - many
    found = np.zeros(many + 2)
    found[many] = (1 - upper) / many
    found[many + 1] = upper / (many + 1)
    found[0] += 1 - found[many] - found[many + 1]
    return found


def _evaluator(
    instance: RoutingInstance, store_j: float, level: Floats, lattice: jumps.JumpLattice | None
) -> Callable[[Floats | Ints], Cost]:
    """The long-run cost of a table of options by level, or of shares [classes, options]."""
    if lattice is not None:
        return lambda policy: _cost(jumps.evaluate_policy(lattice, policy))
    return lambda policy: diffusion_cost(instance, store_j, level, policy)


def diffusion_cost(
    instance: RoutingInstance, store_j: float, level: Floats, policy: Floats | Ints
) -> Cost:
    """Long-run cost of a table of options [levels, classes], which change half-way between two
    levels, or of shares [classes, options], for the diffusion.
    """
    if np.issubdtype(policy.dtype, np.integer):
        new = np.flatnonzero(np.any(policy[1:] != policy[:-1], axis=1))
        inner = 0.5 * (level[new] + level[new + 1])
        rows = [instance.shares_of(policy[at]) for at in (0, *(new + 1))]
    else:
        inner, rows = np.zeros(0), [np.asarray(policy, dtype=np.float64)]
    rates = [instance.rates(row) for row in rows]
    found = state_dependent_rates(
        breaks=np.concatenate([[0.0], inner, [store_j]]),
        theta=[instance.b - one.mean for one in rates],
        var=[one.variance for one in rates],
        cost=[one.other_cost for one in rates],
    )
    total = instance.Cu * found.u + instance.Cw * found.w + found.running
    return Cost(total, found.u, found.w, found.running)


def _of_solution(instance: RoutingInstance, solution: DynamicRouting) -> Cost:
    """Cost of the exact bands."""
    bands = solution.bands
    real = np.append(np.diff(bands.start) > 0, bands.start[-1] < solution.B)
    rates = [instance.rates(instance.shares_of(row)) for row in bands.choice[real]]
    found = state_dependent_rates(
        breaks=np.append(bands.start[real], solution.B),
        theta=[instance.b - one.mean for one in rates],
        var=[one.variance for one in rates],
        cost=[one.other_cost for one in rates],
    )
    return Cost(solution.gam, found.u, found.w, found.running)


def _cost(found: jumps.LatticeCost) -> Cost:
    return Cost(found.cost, found.u, found.w, found.other)


def _best_static(
    instance: RoutingInstance,
    static: StaticRouting,
    solution: DynamicRouting,
    cost_of: Callable[[Floats | Ints], Cost],
    levels: int,
) -> tuple[Floats, Cost]:
    """The best of the diffusion's mixture and of routings without mixing: all of them where there
    are at most 64 (the 8 that are best for the diffusion when an evaluation is slow), otherwise
    those of the optimal bands and single options.
    """
    try:
        choices = list(deterministic_routings(instance, most=_MOST_STATIC))
    except ArgumentError:
        choices = list(np.unique(solution.bands.choice, axis=0))
        everywhere = np.flatnonzero(instance.available[instance.lam > 0].all(axis=0))
        first = np.argmax(instance.available, axis=1)
        choices += [np.where(instance.lam > 0, a, first) for a in everywhere]
    plain = [instance.shares_of(one) for one in choices]
    if levels > _QUICK_LEVELS:
        plain.sort(key=lambda one: _diffusion_total(instance, one, solution.B))
        plain = plain[:_MOST_SLOW]
    shares = [np.asarray(static.shares), *plain]
    costs = [cost_of(one) for one in shares]
    best = min(range(len(costs)), key=lambda at: costs[at].total)
    return shares[best], costs[best]


def _diffusion_total(instance: RoutingInstance, shares: Floats, store_j: float) -> float:
    """Cost [$/s] of fixed shares for the diffusion."""
    mean, variance, other = instance.rates(shares)
    return other + two_sided_cost(instance.b - mean, variance, store_j, instance.Cu, instance.Cw)
