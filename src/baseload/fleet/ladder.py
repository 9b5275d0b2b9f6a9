"""The core clock as a choice: one replica type at several clocks, the clock that meets a power cap,
and the clock with the fewest joules that still keeps a step time.

Everything below full clock is assumed (docs/explanation/clocks.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from baseload.base.errors import BadInputError
from baseload.base.kernels import kernel
from baseload.fleet.clock import CLOCK_FRAC_MIN, check_clock_frac, clock_suffix
from baseload.fleet.physics import replica_type
from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import cost_table, free_step, step

CLOCK_FRACS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""The usual rungs of a ladder: shares of the highest core clock, highest first."""

_HALVINGS = 30


def clock_ladder(
    model: str,
    device: str,
    *,
    fracs: Sequence[float] = CLOCK_FRACS,
    name: str | None = None,
    **settings: Any,
) -> tuple[ReplicaType, ...]:
    """The replica type of ``model`` on ``device`` at each clock of ``fracs``, highest first.

    ``settings`` are the other parameters of ``physics.replica_type``; ``name`` is the name at full
    clock, to which each rung adds its own (``@60%``). The rungs differ in their costs, their static
    power and their mark only: limits, cap and powers at rest are those of full clock. Raises
    ``BadInputError`` for clocks outside (0, 1] or not falling, and what ``replica_type`` raises.
    """
    if not fracs or any(low >= high for high, low in pairwise(fracs)):
        raise BadInputError(
            "the clocks of a ladder",
            found=repr(tuple(fracs)),
            allowed="one or more shares of the highest clock, each below the one before",
        )
    return tuple(
        replica_type(
            model=model,
            device=device,
            clock_frac=frac,
            name=None if name is None else name + clock_suffix(frac),
            **settings,
        )
        for frac in fracs
    )


def clock_for_cap(
    model: str,
    device: str,
    *,
    power_cap_w: float,
    sequences: float,
    context: float,
    prefill: float = 0.0,
    clock_frac_min: float = CLOCK_FRAC_MIN,
    **settings: Any,
) -> float:
    """The highest clock, as a share, at which a reference step draws at most ``power_cap_w`` [W per
    GPU]; 1 where the cap does not bind.

    The step runs ``sequences`` with ``context`` tokens in total and ``prefill`` prompt tokens, as
    in ``step.step``. This is how a board's own limiter acts; ``replica_type(power_cap_w=...)``
    without a clock stretches the step at constant dynamic energy instead. Give both to hold heavier
    steps to the cap too. ``settings`` are the other parameters of ``replica_type``. Raises
    ``BadInputError`` where even ``clock_frac_min`` draws more.
    """
    check_clock_frac(clock_frac_min)
    _check_work(sequences, context, prefill)
    if not (math.isfinite(power_cap_w) and power_cap_w > 0):
        raise BadInputError(
            "power cap", found=f"{power_cap_w!r} W", allowed="a finite number of watts per GPU > 0"
        )

    def power_w(clock_frac: float) -> float:
        """Watts of one GPU in the reference step."""
        kind = replica_type(model=model, device=device, clock_frac=clock_frac, **settings)
        time_s, energy_j = free_step(cost_table([kind])[0], sequences, context, prefill)
        return energy_j / time_s / kind.num_gpus

    if power_w(1.0) <= power_cap_w:
        return 1.0
    low, high = clock_frac_min, 1.0
    least_w = power_w(low)
    if least_w > power_cap_w:
        raise BadInputError(
            f"power cap of {power_cap_w:g} W per GPU by the clock",
            found=f"{least_w:.0f} W at {100 * low:.4g} % of the highest clock",
            allowed=f"{least_w:.0f} W or more for this step",
            todo="raise the cap, or take a smaller step as reference",
        )
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if power_w(middle) <= power_cap_w:
            low = middle
        else:
            high = middle
    return low


def least_energy_clock(
    ladder: Sequence[ReplicaType],
    sequences: float,
    context: float,
    prefill_per_step: float,
    step_s_limit: float,
    *,
    power_w_rest: float = 0.0,
) -> int:
    """The rung with the fewest joules per step among those whose step takes at most
    ``step_s_limit`` [s]: an index into ``ladder``.

    The step runs ``sequences`` with ``context`` tokens in total and ``prefill_per_step`` prompt
    tokens under each rung's power cap; every rung does the same work in it, so joules per step are
    joules per unit of work. Counted are joules above ``power_w_rest`` [W, whole replica]: what the
    replica would draw anyway in the seconds that a faster rung leaves it at rest. 0 counts
    everything: right for a replica that always has work, or goes off when it has none. Where no
    rung keeps the limit the fastest is given; of equals, the first. Raises ``BadInputError`` for
    an empty ladder and for work, limit or power that cannot be.
    """
    _check_work(sequences, context, prefill_per_step)
    if not step_s_limit > 0:
        raise BadInputError(
            "limit of the step time", found=f"{step_s_limit!r} s", allowed="seconds > 0"
        )
    if not 0 <= power_w_rest < math.inf:
        raise BadInputError(
            "power at rest", found=f"{power_w_rest!r} W", allowed="a finite number of watts >= 0"
        )
    if not ladder:
        raise BadInputError(
            "the clock with the fewest joules",
            found="a ladder without rungs",
            allowed="one replica type or more",
        )
    table = cost_table(ladder)
    return least_energy_row(table, sequences, context, prefill_per_step, step_s_limit, power_w_rest)


@kernel
def least_energy_row(
    table: Any,
    sequences: float,
    context: float,
    prefill: float,
    step_s_limit: float,
    power_w_rest: float,
) -> int:
    """``least_energy_clock`` over the rows of a cost table, without its checks: the index of the
    row; -1 for a table without rows.
    """
    best, best_j = -1, math.inf
    fastest, fastest_s = -1, math.inf
    for row in range(len(table)):
        time_s, energy_j = step(table[row], sequences, context, prefill)
        if time_s < fastest_s:
            fastest, fastest_s = row, time_s
        above_j = energy_j - power_w_rest * time_s
        if time_s <= step_s_limit and above_j < best_j:
            best, best_j = row, above_j
    return best if best >= 0 else fastest


def _check_work(sequences: float, context: float, prefill: float) -> None:
    """Refuse the work of a step that no step can have."""
    work = {"sequences": sequences, "context": context, "prefill": prefill}
    for name, value in work.items():
        if not 0 <= value < math.inf:
            raise BadInputError(
                f"work of a step: {name}", found=repr(value), allowed="a finite number >= 0"
            )
    if sequences + prefill <= 0:
        raise BadInputError(
            "work of a step",
            found="no sequences and no prefill",
            allowed="a running sequence or a prompt token",
        )
