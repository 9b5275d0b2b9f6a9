"""Sums over steps that change by the same amount from one to the next."""

from __future__ import annotations

import math

from baseload.base.kernels import kernel


@kernel
def series_sum(first: float, rise: float, count: int) -> float:
    """``first + (first + rise) + ...`` over ``count`` terms."""
    return count * first + 0.5 * count * (count - 1.0) * rise


@kernel
def steps_until(first: float, rise: float, count: int, elapsed: float) -> int:
    """The smallest number of steps, at most ``count``, that last longer than ``elapsed``."""
    slope = first - 0.5 * rise
    guess = 2.0 * elapsed / (slope + math.sqrt(slope * slope + 2.0 * rise * elapsed))
    steps = max(1, min(count, int(guess) + 1))
    while steps > 1 and series_sum(first, rise, steps - 1) > elapsed:
        steps -= 1
    while steps < count and series_sum(first, rise, steps) <= elapsed:
        steps += 1
    return steps
