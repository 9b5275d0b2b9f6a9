"""The law of a store's level, moved through time: kernels (docs/explanation/provisioning.md, 3.10).

The level's density obeys a Fokker-Planck equation. In space: finite volumes with
Scharfetter-Gummel rates, which keep mass and sign and have the exact stationary law. In time:
TR-BDF2, a trapezoidal stage (as Crank-Nicolson) closed by a backward one: second order as
Crank-Nicolson, without its ringing when a step is long or the drift jumps.
"""

from __future__ import annotations

import math

from baseload.base.kernels import kernel
from baseload.theory.inputs import Floats

STAGE = 2 - math.sqrt(2)
"""Share of a step that the trapezoidal stage covers."""

EARLY, LATE = 1 / (2 * math.sqrt(2)), 1 - 1 / math.sqrt(2)
"""Weights of a rate at start and stage, and at the end, in its integral over a step."""

_OLD = (math.sqrt(2) - 1) / 2
_STAGE_WEIGHT = (math.sqrt(2) + 1) / 2


@kernel
def factor(rise: float, fall: float, inverse: Floats) -> None:
    """Inverse pivots of 1 - A, for the chain of cells that moves up at ``rise`` and down at
    ``fall`` (both times the step); no subtraction, so they stay positive for steps of any length.
    """
    last = inverse.shape[0] - 1
    rest = 1.0
    for i in range(last + 1):
        pivot = rest + (rise if i < last else 0.0)
        inverse[i] = 1.0 / pivot
        rest = 1.0 + fall * rest * inverse[i]


@kernel
def solve(rise: float, fall: float, inverse: Floats, right: Floats) -> None:
    """Solve (1 - A) p = ``right`` in place, with the pivots of ``factor``."""
    n = right.shape[0]
    right[0] *= inverse[0]
    for i in range(1, n):
        right[i] = (right[i] + rise * right[i - 1]) * inverse[i]
    for i in range(n - 2, -1, -1):
        right[i] += fall * inverse[i] * right[i + 1]


@kernel
def march(
    mass: Floats,
    rises: Floats,
    falls: Floats,
    steps_s: Floats,
    old: Floats,
    inverse: Floats,
    rates: Floats,
) -> None:
    """Move ``mass`` [cells] through steps of ``steps_s`` [s], in place.

    ``rises``, ``falls`` [1/s]: rates between neighbouring cells in each step. ``old`` and
    ``inverse`` are scratch [cells]. Writes to ``rates`` [steps, 3]: mean auxiliary use and mean
    waste over each step in cells per second, mean level at its end in cells. The rates at the walls
    are those of the stationary profile, fall * first and rise * last cell: with them the mean level
    obeys d/dt E[S] = theta + u - w exactly, also from step to step.
    """
    n = mass.shape[0]
    for k in range(rises.shape[0]):
        share = LATE * steps_s[k]  # both stages' own step
        rise, fall = share * rises[k], share * falls[k]
        u, w = EARLY * mass[0], EARLY * mass[n - 1]
        below = 0.0
        for i in range(n):
            old[i] = mass[i]
            above = rise * mass[i] - fall * mass[i + 1] if i < n - 1 else 0.0
            mass[i] += below - above
            below = above
        factor(rise, fall, inverse)
        solve(rise, fall, inverse, mass)
        u += EARLY * mass[0]
        w += EARLY * mass[n - 1]
        for i in range(n):
            mass[i] = _STAGE_WEIGHT * mass[i] - _OLD * old[i]
        solve(rise, fall, inverse, mass)
        rates[k, 0] = falls[k] * (u + LATE * mass[0])
        rates[k, 1] = rises[k] * (w + LATE * mass[n - 1])
        mean = 0.0
        for i in range(n):
            mean += (i + 0.5) * mass[i]
        rates[k, 2] = mean
