"""A number of a plan with what a reader must know to trust it."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

Standing = Literal["exact", "asymptotic", "heuristic", "modelled", "simulated", "assumed"]
"""How far a number may be trusted.

``exact``: a theorem of the stated model. ``asymptotic``: right up to an error that is stated.
``heuristic``: checked by simulation only. ``modelled``: from the eight numbers of a replica and a
trace, with the error of that model. ``simulated``: counted in a run, with a standard error.
``assumed``: given by the user or by a default.
"""

WEAKEST: tuple[Standing, ...] = (
    "exact",
    "asymptotic",
    "simulated",
    "heuristic",
    "modelled",
    "assumed",
)
"""Standings from the strongest to the weakest."""


def weakest(*standings: Standing) -> Standing:
    """The weakest of some standings: what a number made of several may claim."""
    return max(standings, key=WEAKEST.index)


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One number: ``value`` in ``unit`` (``None``: unbounded or not defined, and ``note`` says
    which).

    ``standing`` is that of the formula, given the demand; ``error_frac`` the relative error of the
    rung (``None``: not known); ``rung`` the step of the accuracy ladder that gave it; ``low`` and
    ``high`` an interval of 95 % where one was made.
    """

    value: float | None
    unit: str
    standing: Standing
    rung: str | None = None
    error_frac: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""


def figure(
    value: float,
    unit: str,
    standing: Standing,
    *,
    rung: str | None = None,
    error_frac: float | None = None,
    low: float | None = None,
    high: float | None = None,
    note: str = "",
) -> Figure:
    """The record of ``value``; an infinite value becomes ``None`` and is named in ``note``.

    Raises ``ArithmeticError`` for NaN.
    """
    if math.isnan(value):
        raise ArithmeticError(f"a figure in {unit} is not a number ({note or rung or standing})")
    if math.isinf(value):
        return Figure(
            value=None,
            unit=unit,
            standing=standing,
            rung=rung,
            error_frac=error_frac,
            note=note or ("without limit" if value > 0 else "without limit below"),
        )
    return Figure(
        value=float(value),
        unit=unit,
        standing=standing,
        rung=rung,
        error_frac=error_frac,
        low=low,
        high=high,
        note=note,
    )
