"""Intervals of means over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

# 97.5 % points of Student's t for 1, 2, ... degrees of freedom (standard table), then the normal's.
_T_975 = (
    12.706,
    4.303,
    3.182,
    2.776,
    2.571,
    2.447,
    2.365,
    2.306,
    2.262,
    2.228,
    2.201,
    2.179,
    2.160,
    2.145,
    2.131,
)
_T_975_FROM_16 = ((20, 2.086), (30, 2.042), (60, 2.0), (10**9, 1.96))


def t_975(degrees: int) -> float:
    """The 97.5 % point of Student's t, rounded up between tabulated degrees of freedom."""
    if degrees <= len(_T_975):
        return _T_975[degrees - 1]
    below = _T_975[-1]
    for upper, value in _T_975_FROM_16:
        if degrees < upper:
            return below
        below = value
    return below


def interval(values: Sequence[float]) -> list[float]:
    """The 95 % confidence interval of the mean of independent values (Student's t), ``[low,
    high]``; two values or more.
    """
    mean = math.fsum(values) / len(values)
    spread = math.sqrt(
        math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
    )
    reach = t_975(len(values) - 1) * spread
    return [mean - reach, mean + reach]
