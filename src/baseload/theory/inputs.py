"""Arguments of the theory, checked once at the door of every public function.

Each check gives the value as float or array, or raises ``ArgumentError`` (a ``ValueError``) that
names the field, what was found and what is allowed. The plain ones are those of ``base.inputs``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.base.inputs import (
    Floats,
    efficiency,
    not_negative,
    number,
    numbers,
    positive,
    whole,
)

__all__ = [
    "Floats",
    "efficiency",
    "finite_result",
    "not_negative",
    "number",
    "numbers",
    "positive",
    "second_moments",
    "shares",
    "whole",
]

_ROW_SUM_ERROR = 1e-9
_NEGATIVE_SHARE = -1e-12


def shares(field: str, values: ArrayLike, *, axes: int = 1) -> Floats:
    """Probabilities whose sums over the last ``axes`` axes are 1 within 1e-9; made to sum to 1
    exactly. Entries may be as low as -1e-12, which counts as 0.
    """
    found = numbers(field, values, least=_NEGATIVE_SHARE)
    found = np.maximum(found, 0.0)
    over = tuple(range(found.ndim - axes, found.ndim))
    sums = found.sum(axis=over, keepdims=True)
    if np.any(np.abs(sums - 1.0) > _ROW_SUM_ERROR):
        worst = float(sums.flat[int(np.argmax(np.abs(sums - 1.0)))])
        raise ArgumentError(field, found=f"a sum of {worst:.12g}", allowed="sums of 1 within 1e-9")
    given: Floats = found / sums
    return given


def second_moments(field: str, second: ArrayLike, mean: Floats) -> Floats:
    """Second moments that are at least the square of ``mean`` (within 1e-12)."""
    found = numbers(field, second, least=0.0, shape=mean.shape)
    wrong = found < mean**2 * (1 - 1e-12)
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise ArgumentError(
            f"{field}{list(place) if place else ''}",
            found=f"{found[place]:g} with mean {mean[place]:g}",
            allowed="at least the square of the mean",
        )
    return np.maximum(found, mean**2)


def finite_result(name: str, value: float, **inputs: Any) -> float:
    """``value``, or ``ArithmeticError`` with the inputs where it is NaN or infinite: our bug."""
    if not math.isfinite(value):
        raise ArithmeticError(f"{name} gave {value} for {inputs}")
    return value


def start_level(S0: float, B: float) -> float:
    """The level ``S0`` [J] of a store of ``B`` [J] (infinite allowed), clamped within [0, B].

    Raises ArgumentError where it lies outside by more than 1e-9 of ``B``.
    """
    capacity = not_negative("B", B, infinite=True)
    found = number("S0", S0)
    room = 1e-9 * capacity if math.isfinite(capacity) else 0.0
    if found < -room or found > capacity + room:
        raise ArgumentError("S0", found=repr(S0), allowed=f"from 0 to B = {capacity:g} J")
    return min(max(found, 0.0), capacity)


def storage(B: float) -> float:
    """``B`` > 0 [J], infinite allowed; without storage a slot length is asked for."""
    capacity = not_negative("B", B, infinite=True)
    if capacity == 0:
        raise ArgumentError(
            "B", found="0", allowed="above 0 J", todo="without storage a slot length is required"
        )
    return capacity
