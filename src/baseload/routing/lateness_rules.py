"""How lambda of a tier follows its miss rate: JouleSched's PI rule as stated, and a better one.

Lambda is the exchange rate between a second past the deadline and a joule. Both rules look at the
share of missed requests among those that ended since the last look.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from baseload.routing.slow import Lambda, Slow

_LOWEST, _HIGHEST = 1e-3, 1e3  # of the first weight: where the log rule stops
_MEMORY_S = 30.0
_RISE_PER_S, _FALL_PER_S = 0.08, 0.01
_PRIOR_REQUESTS = 50.0


class LatenessRule(Protocol):
    """Moves lambda of one tier: made of the policy's ``Slow`` and the tier's target."""

    weight: float

    def step(self, completed: float, missed: float, window_s: float) -> float:
        """Lambda after a window of ``window_s`` in which ``completed`` requests ended, ``missed``
        of them late.
        """
        ...


class PiRule:
    """JouleSched's rule: ``lambda += kp (rho - target) + ki sum(rho - target)``, clamped at zero.

    Source: clawrxiv 2604.02034, section 3.2, to the letter: the second term is the sum of *all*
    past errors, so a minute of misses goes on raising lambda until as much time was spent below the
    target. The gains and the interval are not given there: reconstruction. With ``anti_windup`` the
    sum stands still while lambda rests at zero and the error would push it lower.
    """

    def __init__(self, slow: Slow, target_miss_frac: float) -> None:
        self._slow, self._target = slow, target_miss_frac
        self.weight = slow.weight
        self.error_sum = 0.0

    def step(self, completed: float, missed: float, window_s: float) -> float:  # noqa: ARG002
        """Lambda after a window in which ``completed`` requests ended, ``missed`` of them late."""
        if completed <= 0:
            return self.weight
        error = missed / completed - self._target
        if not (self._slow.anti_windup and self.weight == 0.0 and error < 0.0):
            self.error_sum += error
        change = self._slow.kp * error + self._slow.ki * self.error_sum
        self.weight = max(0.0, self.weight + change)
        return self.weight


class LogRule:
    """Ours: lambda moves by a factor, faster up than down, on a smoothed miss rate.

    ``log lambda`` rises with ``log(rho / target)`` and falls slowly below the target; it is kept
    between a thousandth and a thousand times its start, so there is nothing to wind up. A prior of
    fifty requests at the target keeps a handful of misses at night from moving it.
    """

    def __init__(self, slow: Slow, target_miss_frac: float) -> None:
        self._target = max(1e-6, target_miss_frac)
        self._bounds = slow.weight * _LOWEST, slow.weight * _HIGHEST
        self.weight = slow.weight
        self._completed = _PRIOR_REQUESTS
        self._missed = _PRIOR_REQUESTS * self._target

    def step(self, completed: float, missed: float, window_s: float) -> float:
        """Lambda after a window in which ``completed`` requests ended, ``missed`` of them late."""
        keep = math.exp(-window_s / _MEMORY_S)
        prior = (1.0 - keep) * _PRIOR_REQUESTS
        self._completed = keep * self._completed + completed + prior
        self._missed = keep * self._missed + missed + prior * self._target
        ratio = max(0.1, self._missed / self._completed / self._target)
        speed = _RISE_PER_S if ratio > 1.0 else _FALL_PER_S
        self.weight *= math.exp(min(2.0, math.log(ratio)) * speed * window_s)
        self.weight = min(self._bounds[1], max(self._bounds[0], self.weight))
        return self.weight


class FixedRule:
    """Lambda that never changes."""

    def __init__(self, slow: Slow, target_miss_frac: float) -> None:  # noqa: ARG002
        self.weight = slow.weight

    def step(self, completed: float, missed: float, window_s: float) -> float:  # noqa: ARG002
        """Lambda, as it was."""
        return self.weight


RULES: dict[Lambda, Callable[[Slow, float], LatenessRule]] = {
    "fixed": FixedRule,
    "pi": PiRule,
    "log": LogRule,
}
"""The rules by the name that ``Slow.rule`` gives them."""
