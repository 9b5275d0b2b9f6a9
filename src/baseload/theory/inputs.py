"""Arguments of the theory, checked once at the door of every public function.

Each check gives the value as float or array, or raises ``BadInputError`` (a ``ValueError``) that
names the field, what was found and what is allowed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import BadInputError

Floats = NDArray[np.float64]

_ROW_SUM_ERROR = 1e-9
_NEGATIVE_SHARE = -1e-12


def number(
    field: str,
    value: float,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    open_least: bool = False,
    open_most: bool = False,
    infinite: bool = False,
) -> float:
    """``value`` as a float between ``least`` and ``most`` (exclusive where open).

    Infinity is refused unless ``infinite``; NaN always.
    """
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    below = found < least or (open_least and found == least)
    above = found > most or (open_most and found == most)
    if math.isnan(found) or below or above or (math.isinf(found) and not infinite):
        raise BadInputError(
            field, found=repr(value), allowed=_allowed(least, most, open_least, open_most, infinite)
        )
    return found


def _allowed(least: float, most: float, open_least: bool, open_most: bool, infinite: bool) -> str:
    """The rule in words."""
    kind = "a number" if infinite else "a finite number"
    parts = []
    if least > -math.inf:
        parts.append(f"{'above' if open_least else 'from'} {least:g}")
    if most < math.inf:
        parts.append(f"{'below' if open_most else 'up to'} {most:g}")
    return " ".join([kind, *parts])


def not_negative(field: str, value: float, *, infinite: bool = False) -> float:
    """``value`` as a float >= 0; infinity only where ``infinite``."""
    return number(field, value, least=0.0, infinite=infinite)


def positive(field: str, value: float, *, infinite: bool = False) -> float:
    """``value`` as a float > 0; infinity only where ``infinite``."""
    return number(field, value, least=0.0, open_least=True, infinite=infinite)


def efficiency(field: str, value: float) -> float:
    """``value`` as an efficiency in (0, 1]."""
    return number(field, value, least=0.0, most=1.0, open_least=True)


def whole(field: str, value: float, *, least: int = 0) -> int:
    """``value`` as an integer >= ``least``; 3.0 is an integer, 3.5 is not."""
    found = number(field, value, least=least)
    if found != int(found):
        raise BadInputError(field, found=repr(value), allowed=f"a whole number from {least}")
    return int(found)


def numbers(
    field: str, values: ArrayLike, *, least: float = -math.inf, shape: tuple[int, ...] | None = None
) -> Floats:
    """``values`` as a float array of finite numbers >= ``least``, of ``shape`` where one is given
    (-1 for any length).
    """
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInputError(field, found=repr(values)[:80], allowed="numbers in rows") from error
    fits = shape is None or (
        found.ndim == len(shape)
        and all(want in (-1, have) for want, have in zip(shape, found.shape, strict=True))
    )
    if not fits:
        raise BadInputError(field, found=f"shape {found.shape}", allowed=f"shape {shape}")
    wrong = ~np.isfinite(found) | (found < least)
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        limit = "" if least == -math.inf else f" from {least:g}"
        raise BadInputError(
            f"{field}{list(place) if place else ''}",
            found=repr(float(found[place])),
            allowed=f"finite numbers{limit}",
        )
    return found


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
        raise BadInputError(field, found=f"a sum of {worst:.12g}", allowed="sums of 1 within 1e-9")
    given: Floats = found / sums
    return given


def second_moments(field: str, second: ArrayLike, mean: Floats) -> Floats:
    """Second moments that are at least the square of ``mean`` (within 1e-12)."""
    found = numbers(field, second, least=0.0, shape=mean.shape)
    wrong = found < mean**2 * (1 - 1e-12)
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        raise BadInputError(
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

    Raises BadInputError where it lies outside by more than 1e-9 of ``B``.
    """
    capacity = not_negative("B", B, infinite=True)
    found = number("S0", S0)
    room = 1e-9 * capacity if math.isfinite(capacity) else 0.0
    if found < -room or found > capacity + room:
        raise BadInputError("S0", found=repr(S0), allowed=f"from 0 to B = {capacity:g} J")
    return min(max(found, 0.0), capacity)


def storage(B: float) -> float:
    """``B`` > 0 [J], infinite allowed; without storage a slot length is asked for."""
    capacity = not_negative("B", B, infinite=True)
    if capacity == 0:
        raise BadInputError(
            "B", found="0", allowed="above 0 J", todo="without storage a slot length is required"
        )
    return capacity
