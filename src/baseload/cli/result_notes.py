"""Remarks that only a finished simulation allows: where its comparison with the bound is unfair."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from baseload.simulator.results import PolicyResult, Simulation
from baseload.simulator.sweeps import Sweep

_NOBODY_COULD = ("prompt_too_long", "model_not_served")
"""Reasons to refuse that cost the bound nothing either (docs/explanation/bound.md)."""


def with_remarks(simulation: Simulation) -> Simulation:
    """The simulation with a remark on policies whose energy lacks work that the bound counts."""
    said = _shirkers(simulation)
    if simulation.bound_energy_j is None or not said:
        return simulation
    note = (
        "Refused requests are work that the bound counts and the policy did not do, so its "
        f"multiple of the bound is too low: {', '.join(said)}."
    )
    return msgspec.structs.replace(simulation, notes=[*simulation.notes, note])


def with_sweep_remarks(sweep: Sweep, simulations: Mapping[float, Simulation]) -> Sweep:
    """The sweep of ``simulations`` with the same remark, by load."""
    said = [
        f"load {load_frac:g}: {', '.join(_shirkers(simulation))}"
        for load_frac, simulation in simulations.items()
        if simulation.bound_energy_j is not None and _shirkers(simulation)
    ]
    if not said:
        return sweep
    note = (
        "Refused requests are work that the bound counts and the policy did not do, so its "
        f"multiple of the bound is too low: {'; '.join(said)}."
    )
    return msgspec.structs.replace(sweep, notes=[*sweep.notes, note])


def _shirkers(simulation: Simulation) -> list[str]:
    """Who refused which share of requests that some replica type could have served."""
    said = []
    for result in simulation.policies:
        count = _refused(result)
        if count:
            share = count / (result.completed + result.refused)
            said.append(f"{result.policy} {max(share, 0.0001):.2%}".replace("%", " %"))
    return said


def _refused(result: PolicyResult) -> int:
    return sum(n for why, n in result.refused_by_reason.items() if why not in _NOBODY_COULD)
