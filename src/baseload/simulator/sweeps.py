"""What a sweep over load gives: the records behind ``baseload sweep --json``, its table and its
plots.

The schema is versioned by ``SCHEMA``; fields are documented in docs/reference/sweep.md. Missing is
``None``, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from baseload.base.errors import BadInputError
from baseload.simulator.results import FleetRow, PolicyResult, Simulation

SCHEMA = "baseload-sweep/1"

_INTERVALS = {
    "energy_j_per_request": "energy_j_per_request",
    "energy_mj_per_hour": "energy_mj_per_hour",
    "energy_change_frac": "energy_change_frac",
    "miss_frac": "miss_frac",
    "ttft_s.p99": "ttft_s_p99",
    "tpot_s.p99": "tpot_s_p99",
    "e2e_s.p99": "e2e_s_p99",
}
"""Intervals of a policy's result that a point keeps, and what they are called there."""


class SweepPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One policy at one load, mean over seeds (percentiles pool the requests of all seeds).

    ``load_frac`` is the load asked for, ``offered_load_frac`` what the trace offered in its
    busiest minutes, both as shares of what the fleet completes. ``energy_change_frac``: energy
    relative to the first policy at the same load, minus one; ``None`` for that policy itself.
    ``keeps_targets``: whether each tier's share of misses stays at or below its target; ``None``
    where no target is known. ``bound_energy_j_per_request``: energy that no schedule could
    undercut, ``energy_over_bound`` how many times as much was used; ``None`` where no bound was
    computed. ``interval`` maps a field's name to its 95 % confidence interval over seeds,
    ``[low, high]``; empty with one seed.
    """

    load_frac: float
    offered_load_frac: float | None
    requests: int
    policy: str
    energy_j_per_request: float | None
    energy_mj_per_hour: float
    energy_change_frac: float | None
    miss_frac: float | None
    miss_frac_by_tier: dict[str, float | None]
    keeps_targets: bool | None
    completed: int
    refused: int
    ttft_s_p99: float | None
    tpot_s_p99: float | None
    e2e_s_p99: float | None
    bound_energy_j_per_request: float | None
    energy_over_bound: float | None
    interval: dict[str, list[float]]


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario at several loads under several policies: what ``baseload sweep --json`` writes.

    ``points`` are ordered by load, then by policy as in ``policies``.
    """

    schema: str
    version: str
    scenario: str
    seeds: list[int]
    trace: str
    loads: list[float]
    policies: list[str]
    fleet: list[FleetRow]
    tiers: dict[str, dict[str, float | None]]
    points: list[SweepPoint]
    notes: list[str]


def sweep_of(simulations: Mapping[float, Simulation]) -> Sweep:
    """The sweep that ``simulations`` (of one scenario and the same policies, by load) make.

    Raises ``BadInputError`` for none, and for simulations of different policies or seeds.
    """
    loads = sorted(simulations)
    each = [simulations[load_frac] for load_frac in loads]
    _check_alike(each)
    first = each[0]
    points = [
        _point(load_frac, simulations[load_frac], result)
        for load_frac in loads
        for result in simulations[load_frac].policies
    ]
    return Sweep(
        schema=SCHEMA,
        version=first.version,
        scenario=first.scenario,
        seeds=first.seeds,
        trace=_common_name([one.trace.name for one in each]),
        loads=loads,
        policies=[result.policy for result in first.policies],
        fleet=first.fleet,
        tiers=first.tiers,
        points=points,
        notes=[
            *_overload_notes(points),
            *_common_notes(each),
            *_refusal_notes(points),
            *_cut_notes(each),
        ],
    )


def keeps_targets(
    miss_frac_by_tier: Mapping[str, float | None],
    tiers: Mapping[str, Mapping[str, float | None]],
) -> bool | None:
    """Whether each tier's share of misses stays at or below its ``target_miss_frac``; ``None``
    where no target is known.
    """
    pairs = [
        (missed, tiers[tier].get("target_miss_frac"))
        for tier, missed in miss_frac_by_tier.items()
        if tier in tiers and missed is not None
    ]
    kept = [missed <= target for missed, target in pairs if target is not None]
    return all(kept) if kept else None


def overloads(points: Sequence[SweepPoint]) -> list[float]:
    """The loads that are more than the fleet completes, asked for or found in the trace."""
    return sorted({p.load_frac for p in points if max(p.load_frac, p.offered_load_frac or 0) > 1})


def _point(load_frac: float, simulation: Simulation, result: PolicyResult) -> SweepPoint:
    """The point of one policy's result."""
    base, bound_j = simulation.policies[0], simulation.bound_energy_j
    is_first = result is base
    change_frac = None if is_first or base.energy_j <= 0 else result.energy_j / base.energy_j - 1.0
    requests = simulation.trace.requests
    interval = {
        name: result.interval[key]
        for key, name in _INTERVALS.items()
        if key in result.interval and not (is_first and name == "energy_change_frac")
    }
    return SweepPoint(
        load_frac=load_frac,
        offered_load_frac=simulation.offered_load_frac,
        requests=requests,
        policy=result.policy,
        energy_j_per_request=result.energy_j_per_request,
        energy_mj_per_hour=result.energy_mj_per_hour,
        energy_change_frac=change_frac,
        miss_frac=result.miss_frac,
        miss_frac_by_tier=result.miss_frac_by_tier,
        keeps_targets=keeps_targets(result.miss_frac_by_tier, simulation.tiers),
        completed=result.completed,
        refused=result.refused,
        ttft_s_p99=result.ttft_s.p99,
        tpot_s_p99=result.tpot_s.p99,
        e2e_s_p99=result.e2e_s.p99,
        bound_energy_j_per_request=None if bound_j is None or not requests else bound_j / requests,
        energy_over_bound=None if not bound_j else result.energy_j / bound_j,
        interval=interval,
    )


def _check_alike(simulations: Sequence[Simulation]) -> None:
    """Refuse simulations that do not belong side by side."""
    kinds = {
        (one.scenario, tuple(one.seeds), tuple(result.policy for result in one.policies))
        for one in simulations
    }
    if len(kinds) != 1:
        raise BadInputError(
            "sweep over load",
            found=f"{len(kinds)} different lists of scenario, seeds and policies",
            allowed="simulations that differ in load only",
        )


def _common_name(names: Sequence[str]) -> str:
    """The trace's name without what was done to it at each load, where that differs."""
    return names[0] if len(set(names)) == 1 else names[0].partition(" x")[0]


def _overload_notes(points: Sequence[SweepPoint]) -> list[str]:
    """The warning about loads that the fleet cannot carry."""
    over = overloads(points)
    if not over:
        return []
    said = ", ".join(f"{load_frac:g}" for load_frac in over)
    return [
        f"Overload at load {said}: the busiest minutes bring more than the fleet completes with "
        "all seats taken; requests wait, and are refused where a replica's queue is full. Energy "
        "per request is no longer comparable where answers are missing."
    ]


def _common_notes(simulations: Sequence[Simulation]) -> list[str]:
    """What is true at every load: the remarks of the scenario itself."""
    return [
        note
        for note in simulations[0].notes
        if len(simulations) > 1 and all(note in other.notes for other in simulations[1:])
    ]


def _refusal_notes(points: Sequence[SweepPoint]) -> list[str]:
    """Who refused requests, and from which load on."""
    least: dict[str, float] = {}
    for point in points:
        if point.refused:
            least.setdefault(point.policy, point.load_frac)
    if not least:
        return []
    said = ", ".join(f"{policy} from load {load_frac:g}" for policy, load_frac in least.items())
    return [f"Refused requests (counted as missed): {said}."]


def _cut_notes(simulations: Sequence[Simulation]) -> list[str]:
    """How many answers were cut, where any was."""
    cut = max(result.cut_short for one in simulations for result in one.policies)
    if not cut:
        return []
    return [
        f"Up to {cut:,} answers at a load were cut at the longest context that their replica holds."
    ]
