"""Seconds and joules of engine steps: the one place where the eight numbers become time and energy.

Routing prices with these functions and the simulator integrates them, so that both see the same
physics. The functions are numba kernels over one row of a cost table (``cost_table``);
``f.py_func`` is the plain twin of each ``f``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from baseload.base.kernels import kernel
from baseload.fleet.replica_type import ReplicaType

Cost: TypeAlias = Any
"""One row of a cost table: a numpy record of ``COST``, a numba record inside kernels."""

COST = np.dtype(
    [
        (name, np.float64)
        for name in (
            "time_s_per_step",
            "time_s_per_sequence",
            "time_s_per_context_token",
            "time_s_per_prefill_token",
            "time_s_all_experts",
            "energy_j_per_step",
            "energy_j_per_sequence",
            "energy_j_per_context_token",
            "energy_j_per_prefill_token",
            "energy_j_all_experts",
            "expert_miss_frac",
            "power_w_active_static",
            "power_w_cap",
            "power_w_idle",
            "power_w_parked",
            "power_w_off",
            "wake_s_from_parked",
            "wake_j_from_parked",
            "wake_s_from_off",
            "wake_j_from_off",
        )
    ]
)
"""One replica type as kernels see it: the fields of ``StepCosts`` and ``PowerStates`` under their
own names.

``expert_miss_frac`` is ``1 - expert_hit_frac``: the share of experts that one token leaves unread
(1 for a dense model).
"""


def cost_table(types: Sequence[ReplicaType]) -> np.recarray[Any, Any]:
    """The numbers of ``types`` as a record array of ``COST``, one row a type, SI units."""
    table = np.zeros(len(types), dtype=COST).view(np.recarray)
    for row, kind in zip(table, types, strict=True):
        for part in (kind.costs, kind.power):
            for name in part.__struct_fields__:
                if name != "expert_hit_frac":
                    row[name] = getattr(part, name)
        row["expert_miss_frac"] = 1.0 - kind.costs.expert_hit_frac
    return table


@kernel
def free_step(cost: Cost, sequences: float, context: float, prefill: float) -> tuple[float, float]:
    """Seconds and joules of one step before the power cap: ``(time_s, energy_j)``."""
    time_s = (
        cost.time_s_per_step
        + sequences * cost.time_s_per_sequence
        + context * cost.time_s_per_context_token
        + prefill * cost.time_s_per_prefill_token
    )
    energy_j = (
        cost.energy_j_per_step
        + sequences * cost.energy_j_per_sequence
        + context * cost.energy_j_per_context_token
        + prefill * cost.energy_j_per_prefill_token
    )
    if cost.expert_miss_frac < 1.0:
        hit_frac = 1.0 - cost.expert_miss_frac ** (sequences + prefill)
        time_s += hit_frac * cost.time_s_all_experts
        energy_j += hit_frac * cost.energy_j_all_experts
    return time_s, energy_j


@kernel
def step(cost: Cost, sequences: float, context: float, prefill: float) -> tuple[float, float]:
    """Seconds and joules of one step under the power cap: ``(time_s, energy_j)``.

    Above the cap the dynamic energy stays and the time stretches, so the step's mean power is
    exactly the cap (docs/explanation/fleet-physics.md).
    """
    time_s, energy_j = free_step(cost, sequences, context, prefill)
    if energy_j > cost.power_w_cap * time_s:
        dynamic_j = energy_j - cost.power_w_active_static * time_s
        time_s = dynamic_j / (cost.power_w_cap - cost.power_w_active_static)
        energy_j = cost.power_w_cap * time_s
    return time_s, energy_j
