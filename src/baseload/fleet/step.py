"""Seconds and joules of engine steps: the one place where the eight numbers become time and energy.

Routing prices with these functions and the simulator integrates them, so that both see the same physics. The functions are
numba kernels over one row of a cost table (``cost_table``); ``f.py_func`` is the plain twin of each ``f``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from baseload.fleet.replica_type import ReplicaType

# Columns of a cost table, one row a replica type.
T_STEP, T_SEQ, T_CTX, T_PRE, T_EXP = 0, 1, 2, 3, 4
E_STEP, E_SEQ, E_CTX, E_PRE, E_EXP = 5, 6, 7, 8, 9
EXPERT_MISS = 10  # 1 - top_k / experts; 1 for a dense model
P_STATIC, P_CAP, P_IDLE, P_PARKED, P_OFF = 11, 12, 13, 14, 15
WAKE_S_PARKED, WAKE_J_PARKED, WAKE_S_OFF, WAKE_J_OFF = 16, 17, 18, 19
COST_COLUMNS = 20


def cost_table(types: Sequence[ReplicaType]) -> NDArray[np.float64]:
    """The cost table of ``types``: float64 ``[len(types), COST_COLUMNS]``, SI units, columns as named above."""
    table = np.zeros((len(types), COST_COLUMNS))
    for row, kind in zip(table, types, strict=True):
        costs, power = kind.costs, kind.power
        row[T_STEP], row[T_SEQ] = costs.time_s_per_step, costs.time_s_per_sequence
        row[T_CTX], row[T_PRE] = costs.time_s_per_context_token, costs.time_s_per_prefill_token
        row[E_STEP], row[E_SEQ] = costs.energy_j_per_step, costs.energy_j_per_sequence
        row[E_CTX], row[E_PRE] = costs.energy_j_per_context_token, costs.energy_j_per_prefill_token
        row[T_EXP], row[E_EXP] = costs.time_s_all_experts, costs.energy_j_all_experts
        row[EXPERT_MISS] = 1.0 - costs.expert_hit_frac
        row[P_STATIC], row[P_CAP] = power.power_w_active_static, power.power_w_cap
        row[P_IDLE], row[P_PARKED], row[P_OFF] = power.power_w_idle, power.power_w_parked, power.power_w_off
        row[WAKE_S_PARKED], row[WAKE_J_PARKED] = power.wake_s_from_parked, power.wake_j_from_parked
        row[WAKE_S_OFF], row[WAKE_J_OFF] = power.wake_s_from_off, power.wake_j_from_off
    return table


@njit(cache=True)  # type: ignore[misc]
def free_step(cost: NDArray[np.float64], sequences: float, context: float, prefill: float) -> tuple[float, float]:
    """Seconds and joules of one step before the power cap: ``(time_s, energy_j)``."""
    time_s = cost[T_STEP] + sequences * cost[T_SEQ] + context * cost[T_CTX] + prefill * cost[T_PRE]
    energy_j = cost[E_STEP] + sequences * cost[E_SEQ] + context * cost[E_CTX] + prefill * cost[E_PRE]
    if cost[E_EXP] > 0.0 or cost[T_EXP] > 0.0:
        hit_frac = 1.0 - cost[EXPERT_MISS] ** (sequences + prefill)
        time_s += hit_frac * cost[T_EXP]
        energy_j += hit_frac * cost[E_EXP]
    return time_s, energy_j


@njit(cache=True)  # type: ignore[misc]
def step(cost: NDArray[np.float64], sequences: float, context: float, prefill: float) -> tuple[float, float]:
    """Seconds and joules of one step under the power cap: ``(time_s, energy_j)``.

    Above the cap the dynamic energy stays and the time stretches, so the step's mean power is exactly the cap
    (spec ENERGY.md 2.1).
    """
    time_s, energy_j = free_step(cost, sequences, context, prefill)
    if energy_j > cost[P_CAP] * time_s:
        time_s = (energy_j - cost[P_STATIC] * time_s) / (cost[P_CAP] - cost[P_STATIC])
        energy_j = cost[P_CAP] * time_s
    return time_s, energy_j
