"""The store in steps of delta joules and slots: exact optimum, and exact cost of any policy.

Levels are 0, delta, ..., B; a slot lasts delta / b seconds. In a slot at most one query arrives
(class k with probability lam_k x slot), is given an option, and draws its energy, a multiple of
delta; what the store lacks is bought at Cu a joule. Then the supply adds its delta; what does not
fit is wasted at Cw a joule. Nothing is approximated within this model: jumps are jumps. Derived in
docs/explanation/variance-aware-routing.md, 5.9; policy iteration is textbook (Puterman, *Markov
Decision Processes*, 8.6). Take delta at most an eighth of a mean job; 1,500 levels are still quick.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import Floats, finite_result, positive, shares
from baseload.theory.job_cells import lattice_laws
from baseload.theory.markov_chain import relative_values, stationary_law
from baseload.theory.routing_instance import Ints, RoutingInstance, deterministic_routings
from baseload.theory.static_routing import static_optimum
from baseload.theory.store_cost import static_index_prices

_ROUNDS = 100
_MOST_LEVELS = 4000


class JumpLattice(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The lattice of an instance: ``delta`` J, ``slot_s``, ``level`` [n + 1] J; ``job`` [classes,
    options, points]: probabilities of 0, delta, 2 delta, ...; ``supply`` [steps]: chance that
    a slot adds 0, delta, 2 delta, ...; ``overdraw`` [classes, options, n + 1]: mean energy [J] that
    a query lacks at each level.
    """

    instance: RoutingInstance
    B: float
    delta: float
    slot_s: float
    level: Floats
    arrival: Floats
    job: Floats
    supply: Floats
    overdraw: Floats


class LatticeCost(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a policy costs in the long run: ``cost`` [$/s] = Cu ``u`` + Cw ``w`` + ``other``; ``u``
    and ``w`` [W]; ``mean_level`` [J]; ``law`` [n + 1], probability of each level.
    """

    cost: float
    u: float
    w: float
    other: float
    mean_level: float
    law: Floats


class LatticeOptimum(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The best policy: ``choice`` [n + 1, classes] by level, its ``cost``, and relative values
    ``value`` [n + 1] $ (their falls are the exact worth of energy).
    """

    choice: Ints
    cost: LatticeCost
    value: Floats
    rounds: int


def jump_lattice(
    instance: RoutingInstance,
    B: float,
    *,
    delta: float,
    dist: str = "lognormal",
    cap: float | None = None,
    job: ArrayLike | None = None,
    supply: ArrayLike | None = None,
) -> JumpLattice:
    """The lattice of ``instance`` with a store of ``B`` J, a multiple of ``delta`` J.

    Jobs follow ``dist`` with the given moments (see ``job_laws.lattice_laws``), or ``job``
    [classes, options, points] itself. ``supply`` [steps] replaces the sure step of one delta a
    slot. Raises ``ArgumentError`` when ``B`` is no multiple, when more than one query a slot would
    be expected, for ``b`` <= 0, or for side rows.
    """
    B, delta = positive("B", B), positive("delta", delta)
    steps = round(B / delta)
    if steps < 1 or abs(steps * delta - B) > 1e-9 * B or steps > _MOST_LEVELS:
        raise ArgumentError(
            "B",
            found=f"{B / delta:.12g} steps of delta",
            allowed=f"a whole number to {_MOST_LEVELS}",
        )
    slot = delta / positive("b", instance.b)
    arrival = instance.lam * slot
    if arrival.sum() > 1 + 1e-12:
        raise ArgumentError(
            "delta",
            found=f"{arrival.sum():.3g} queries a slot",
            allowed="at most 1",
            todo="halve it",
        )
    pmf = _job_table(instance, delta, dist, cap, job)
    beyond = np.cumsum(pmf[..., ::-1], axis=-1)[..., ::-1]
    missing = np.cumsum(beyond[..., ::-1], axis=-1)[..., ::-1]  # at j: sum over i >= j of P(X >= i)
    overdraw = np.zeros((*instance.shape, steps + 1))
    count = min(steps + 1, missing.shape[-1] - 1)
    overdraw[..., :count] = delta * missing[..., 1 : count + 1]
    step_law = np.array([0.0, 1.0]) if supply is None else shares("supply", supply)
    return JumpLattice(
        instance=instance,
        B=B,
        delta=delta,
        slot_s=slot,
        level=np.arange(steps + 1, dtype=np.float64) * delta,
        arrival=arrival,
        job=pmf,
        supply=step_law,
        overdraw=overdraw,
    )


def _job_table(
    instance: RoutingInstance, delta: float, dist: str, cap: float | None, job: ArrayLike | None
) -> Floats:
    """Job probabilities [classes, options, points]; 0 J for unavailable options."""
    if job is None:
        return lattice_laws(instance.mean, instance.second, delta=delta, dist=dist, cap=cap)
    given = np.asarray(job, dtype=np.float64)
    if given.ndim != 3 or given.shape[:2] != instance.shape:
        raise ArgumentError(
            "job", found=f"shape {given.shape}", allowed=f"{instance.shape} x points"
        )
    idle = np.zeros(given.shape[2])
    idle[0] = 1.0
    return shares("job", np.where(instance.available[..., None], given, idle))


def evaluate_policy(lattice: JumpLattice, policy: ArrayLike) -> LatticeCost:
    """Exact long-run cost of a policy.

    ``policy`` is a table of options [n + 1, classes] (whole numbers), or probabilities [n + 1,
    classes, options]; one [classes] or [classes, options] is used at every level.
    """
    weights = _as_shares(lattice, policy)
    law = stationary_law(_add_supply(lattice, _landing(lattice, weights)))
    return _cost(lattice, weights, law)


def _as_shares(lattice: JumpLattice, policy: ArrayLike) -> Floats:
    """A policy as probabilities [n + 1, classes, options]."""
    given = np.asarray(policy)
    instance, nodes = lattice.instance, len(lattice.level)
    if np.issubdtype(given.dtype, np.integer):
        full = np.broadcast_to(given, (nodes, instance.shape[0]))
        if np.any(full < 0) or np.any(full >= instance.shape[1]):
            raise ArgumentError(
                "policy", found="an option outside the list", allowed="0 .. options-1"
            )
        weights = np.zeros((nodes, *instance.shape))
        np.put_along_axis(weights, full[..., None], 1.0, axis=2)
    else:
        weights = np.broadcast_to(np.asarray(given, dtype=np.float64), (nodes, *instance.shape))
    busy = instance.lam > 0
    used = np.where(instance.available, weights, 0.0)
    if np.any(np.abs(used[:, busy].sum(axis=2) - 1) > 1e-9) or np.any(used < -1e-12):
        raise ArgumentError(
            "policy",
            found="probabilities of available options that do not sum to 1",
            allowed="sums of 1",
        )
    return used


def _landing(lattice: JumpLattice, weights: Floats) -> Floats:
    """Law [n + 1, n + 1] of the level after the query of a slot and before its supply."""
    nodes = len(lattice.level)
    fall = np.arange(nodes)[:, None] - np.arange(nodes)[None, :]
    below = np.maximum(fall, 0)
    reach = min(nodes, lattice.job.shape[-1])
    law = np.zeros((nodes, nodes))
    for k in np.flatnonzero(lattice.arrival > 0):
        law[:, :reach] += lattice.arrival[k] * (weights[:, k] @ lattice.job[k, :, :reach])
    found = np.where(fall >= 0, np.take_along_axis(law, below, axis=1), 0.0)
    arrives = float(lattice.arrival.sum())
    found[:, 0] = np.maximum(arrives - found[:, 1:].sum(axis=1), 0.0)
    found[np.arange(nodes), np.arange(nodes)] += 1 - arrives
    return found


def _add_supply(lattice: JumpLattice, after: Floats) -> Floats:
    """Levels after the supply of the slot, from the law ``after`` [..., n + 1] before it."""
    nodes = after.shape[-1]
    found = np.zeros_like(after)
    for step, probability in enumerate(lattice.supply):
        kept = max(nodes - 1 - step, 0)
        found[..., min(step, nodes - 1) : nodes - 1] += probability * after[..., :kept]
        found[..., -1] += probability * after[..., kept:].sum(axis=-1)
    return found


def _spill(lattice: JumpLattice) -> Floats:
    """Mean energy [J] that overflows in a slot, by the level before the supply [n + 1]."""
    room = np.arange(len(lattice.level))[::-1]
    steps = np.arange(len(lattice.supply))
    over = np.maximum(steps[None, :] - room[:, None], 0)
    found: Floats = lattice.delta * (over @ lattice.supply)
    return found


def _cost(lattice: JumpLattice, weights: Floats, law: Floats) -> LatticeCost:
    """Cost of a policy whose levels follow ``law``; waste by the identity w - u = supply - demand,
    which no small difference of large numbers enters.
    """
    instance = lattice.instance
    rate = law[:, None, None] * weights * instance.lam[:, None]
    u = float(np.einsum("nka,kan->", rate, lattice.overdraw))
    job_mean = lattice.job @ (lattice.delta * np.arange(lattice.job.shape[-1]))
    demand = float(np.einsum("nka,ka->", rate, job_mean))
    supply = lattice.delta * float(lattice.supply @ np.arange(len(lattice.supply))) / lattice.slot_s
    w = max(supply - demand + u, 0.0)
    charge = np.where(instance.available, instance.other_cost, 0.0)
    other = float(np.einsum("nka,ka->", rate, charge))
    cost = instance.Cu * u + instance.Cw * w + other
    return LatticeCost(
        cost=finite_result("lattice cost", cost, B=lattice.B, delta=lattice.delta),
        u=u,
        w=w,
        other=other,
        mean_level=float(law @ lattice.level),
        law=law,
    )


def option_values(lattice: JumpLattice, value: ArrayLike) -> Floats:
    """Cost to go [n + 1, classes, options] $ of giving a query each option at each level, for
    relative values ``value`` [n + 1] at the start of a slot; infinite where unavailable.
    """
    after = waiting_values(lattice, np.asarray(value, dtype=np.float64))
    nodes = len(after)
    reach = min(nodes, lattice.job.shape[-1])
    fall = np.arange(nodes)[:, None] - np.arange(reach)[None, :]
    landed = after[np.maximum(fall, 0)]
    instance = lattice.instance
    kept = lattice.job[..., :reach] @ landed.T  # [classes, options, n + 1]
    kept += (1 - lattice.job[..., :reach].sum(axis=-1, keepdims=True)) * after[0]
    found = kept + instance.Cu * lattice.overdraw + instance.other_cost[..., None]
    return np.moveaxis(np.where(instance.available[..., None], found, np.inf), -1, 0)


def waiting_values(lattice: JumpLattice, value: Floats) -> Floats:
    """Cost to go [n + 1] $ at each level when no query comes: what ``option_values`` less the other
    cost is above it is the worth of the joules that an option draws.
    """
    nodes = len(value)
    landing = np.minimum(np.arange(nodes)[:, None] + np.arange(len(lattice.supply)), nodes - 1)
    found: Floats = value[landing] @ lattice.supply + lattice.instance.Cw * _spill(lattice)
    return found


def optimal_policy(lattice: JumpLattice, *, start: ArrayLike | None = None) -> LatticeOptimum:
    """The policy of least long-run cost, by policy iteration from ``start`` [n + 1, classes].

    Ends when no option improves on the present one by more than rounding. Exact for the lattice.
    """
    instance, nodes = lattice.instance, len(lattice.level)
    if instance.rows or instance.fail_limit is not None:
        raise ArgumentError("rows and fail_limit", found="side constraints", allowed="none here")
    slope = np.linspace(instance.Cu, -instance.Cw, nodes)
    value = -lattice.delta * np.cumsum(slope)
    choice = instance.cheapest(option_values(lattice, value))
    if start is not None:
        choice = np.broadcast_to(np.asarray(start, dtype=np.int64), choice.shape).copy()
    best = np.inf
    rounds = 0
    while rounds < _ROUNDS:
        rounds += 1
        weights = _as_shares(lattice, choice)
        landing = _landing(lattice, weights)
        transitions = _add_supply(lattice, landing)
        slot_cost = _slot_cost(lattice, weights, landing)
        gam, value = relative_values(transitions, slot_cost)
        scores = option_values(lattice, value)
        better = instance.cheapest(scores)
        now = np.take_along_axis(scores, choice[..., None], axis=2)[..., 0]
        then = np.take_along_axis(scores, better[..., None], axis=2)[..., 0]
        size = 1e-12 * (np.abs(value).max() + np.abs(now[np.isfinite(now)]).max(initial=0.0))
        if np.all(then >= now - size) or gam >= best:
            break
        choice, best = np.where(then < now - size, better, choice), gam
    law = stationary_law(transitions)
    cost = _cost(lattice, weights, law)
    return LatticeOptimum(choice=choice, cost=cost, value=value - value[0], rounds=rounds)


def _slot_cost(lattice: JumpLattice, weights: Floats, landing: Floats) -> Floats:
    """Mean cost [n + 1] $ of one slot from each level."""
    instance = lattice.instance
    charge = np.where(instance.available, instance.other_cost, 0.0)[..., None]
    query = (instance.Cu * lattice.overdraw + charge) * lattice.arrival[:, None, None]
    found: Floats = np.einsum("nka,kan->n", weights, query)
    return found + instance.Cw * (landing @ _spill(lattice))


def best_static(lattice: JumpLattice) -> tuple[Floats, LatticeCost]:
    """The best static routing [classes, options] that is known for the lattice: of the diffusion's
    optimal mixture and all deterministic routings (when there are more than 512: those that are
    cheapest at 65 prices of energy), each evaluated exactly.
    """
    instance = lattice.instance
    mixture = static_optimum(instance, lattice.B)
    candidates: list[Any] = [] if mixture.shares is None else [mixture.shares]
    candidates += [instance.shares_of(choice) for choice in _static_candidates(lattice)]
    costs = [evaluate_policy(lattice, _fill(instance, shares)) for shares in candidates]
    best = min(range(len(costs)), key=lambda index: costs[index].cost)
    return candidates[best], costs[best]


def _fill(instance: RoutingInstance, weights: Floats) -> Floats:
    """``weights`` as floats, so that they are read as probabilities."""
    return np.asarray(weights, dtype=np.float64).reshape(instance.shape)


def _static_candidates(lattice: JumpLattice) -> Iterable[Ints]:
    instance = lattice.instance
    try:
        return deterministic_routings(instance, most=512)
    except ArgumentError:
        found: dict[bytes, Ints] = {}
        spread = instance.v0 + float(instance.lam @ np.max(instance.second, axis=1))
        for y in np.linspace(-12.0, 12.0, 65):
            theta = y * spread / (2 * lattice.B)
            price = static_index_prices(theta, spread, lattice.B, instance.Cu, instance.Cw)
            score = (
                price.mean_price * instance.mean
                + price.variance_price * instance.second
                + instance.other_cost
            )
            choice = instance.cheapest(score)
            found[choice.tobytes()] = choice
        return list(found.values())


def guarded(lattice: JumpLattice, choice: ArrayLike) -> tuple[Floats, LatticeCost, bool]:
    """The table ``choice`` [n + 1, classes] when it costs less than the best static routing, that
    routing otherwise: probabilities [n + 1, classes, options], their exact cost, and whether the
    table was kept.
    """
    table = _as_shares(lattice, np.asarray(choice, dtype=np.int64))
    cost = evaluate_policy(lattice, table)
    routing, static = best_static(lattice)
    if cost.cost < static.cost:
        return table, cost, True
    return _as_shares(lattice, _fill(lattice.instance, routing)), static, False


def method_for(B: float, mean_job: float) -> Literal["lattice", "full_jump", "taylor"]:
    """The method to route by with a store of ``B`` J and queries of ``mean_job`` J: the lattice
    below 5 mean jobs, full-jump scores below 90, from there on Taylor scores do as well. Heuristic:
    the cuts are from random instances, and a guard should check every table.
    """
    jobs = positive("B", B) / positive("mean_job", mean_job)
    if jobs < 5:
        return "lattice"
    return "full_jump" if jobs < 90 else "taylor"
