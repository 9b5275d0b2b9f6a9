"""A net drift theta(t) [W], from a function, a text, pieces or one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from baseload.base.errors import ArgumentError
from baseload.theory.expression import TimeExpression
from baseload.theory.inputs import Floats, numbers

_LOOK = 512


class Drift:
    """theta(t) on (0, ``span``] [s]: means over steps [W].

    ``pieces`` is the number of equal pieces it is constant on, 0 for a function; ``largest`` its
    largest size [W] (of a function: as sampled).
    """

    def __init__(self, span: float, *, values: Floats | None, function: Any) -> None:
        self.span = span
        self._function = function
        self.pieces = 0 if values is None else values.size
        if values is None:
            values = self.means(np.linspace(0.0, span, _LOOK + 1))
        self._times = np.linspace(0.0, span, values.size + 1)
        self._cumulative = np.concatenate(([0.0], np.cumsum(values * (span / values.size))))
        self.largest = float(np.abs(values).max())

    def means(self, ends: Floats) -> Floats:
        """Mean drift between neighbouring ``ends`` [s]: exact for pieces, else at the middle."""
        if self.pieces == 0:
            middles = (ends[1:] + ends[:-1]) / 2
            found: Floats = self._function(middles)
            return found
        energy = np.interp(ends, self._times, self._cumulative)
        return np.diff(energy) / np.diff(ends)

    def aligned(self, steps: int) -> int:
        """The next number of steps from ``steps`` on that splits every piece evenly."""
        return math.ceil(steps / self.pieces) * self.pieces if self.pieces else steps


def drift_of(theta: Any, span: float) -> Drift:
    """The drift that ``theta`` stands for over ``span`` [s].

    A text is read as a ``TimeExpression``, a callable is called with one time in seconds, an array
    [pieces] is constant on equal pieces, a number is constant. Raises ArgumentError (``theta``).
    """
    if isinstance(theta, str):
        return Drift(span, values=None, function=TimeExpression(theta))
    if isinstance(theta, TimeExpression):
        return Drift(span, values=None, function=theta)
    if callable(theta):
        return Drift(span, values=None, function=_sampled(theta))
    values = np.atleast_1d(numbers("theta", theta))
    if values.ndim != 1 or values.size == 0:
        raise ArgumentError(
            "theta", found=f"shape {values.shape}", allowed="one number, a row of numbers, a text"
        )
    return Drift(span, values=values, function=None)


def _sampled(theta: Callable[[float], float]) -> Callable[[Floats], Floats]:
    """``theta`` for arrays of times, with its answers checked."""

    def values(times: Floats) -> Floats:
        found = [theta(time) for time in times.tolist()]
        return numbers("theta", found, shape=times.shape)

    return values
