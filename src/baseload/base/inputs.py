"""Arguments of public functions, checked once at the door.

Each check gives the value as float or array, or raises ``ArgumentError`` (a ``ValueError``) that
names the field, what was found and what is allowed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import ArgumentError

Floats = NDArray[np.float64]


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
        raise ArgumentError(
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
        raise ArgumentError(field, found=repr(value), allowed=f"a whole number from {least}")
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
        raise ArgumentError(field, found=repr(values)[:80], allowed="numbers in rows") from error
    fits = shape is None or (
        found.ndim == len(shape)
        and all(want in (-1, have) for want, have in zip(shape, found.shape, strict=True))
    )
    if not fits:
        raise ArgumentError(field, found=f"shape {found.shape}", allowed=f"shape {shape}")
    wrong = ~np.isfinite(found) | (found < least)
    if wrong.any():
        place = tuple(int(index) for index in np.argwhere(wrong)[0])
        limit = "" if least == -math.inf else f" from {least:g}"
        raise ArgumentError(
            f"{field}{list(place) if place else ''}",
            found=repr(float(found[place])),
            allowed=f"finite numbers{limit}",
        )
    return found
