"""How the numbers of a plan look: value, unit and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Callable

from baseload.base.units import J_PER_KWH, S_PER_DAY
from baseload.planner.figures import Figure
from baseload.report import wording

STANDINGS = (
    ("exact", "a theorem of the stated model, given the demand"),
    ("asymptotic", "right up to the error that stands beside it"),
    ("heuristic", "checked against simulations only"),
    ("modelled", "from the eight numbers of each replica type and the trace"),
    ("simulated", "counted in a run"),
    ("assumed", "given by you or by a default"),
)
"""Marks of numbers with their meaning."""

REGIMES = {
    "critical": "critical: waste and auxiliary energy are of one size, and only chance makes them",
    "near-critical": "near critical: chance still makes a good part of auxiliary energy and waste",
    "over-supplied": "over-supplied: most of what is too much is wasted",
    "under-supplied": "under-supplied: what is missing is bought",
}

_YEAR_DAYS = 365.0


def energy(value_j: float | None) -> str:
    """Joules as Wh, kWh or MWh."""
    if value_j is None or not math.isfinite(value_j):
        return wording.MISSING
    kwh = value_j / J_PER_KWH
    if abs(kwh) >= 1000:
        return f"{wording.number(kwh / 1000)} MWh"
    if abs(kwh) >= 0.1 or kwh == 0:
        return f"{wording.number(kwh)} kWh"
    return f"{wording.number(kwh * 1000)} Wh"


def duration(value_s: float | None) -> str:
    """Seconds up to years."""
    if value_s is None or not math.isfinite(value_s):
        return wording.MISSING
    if value_s < 3 * S_PER_DAY:
        return wording.duration(value_s)
    days = value_s / S_PER_DAY
    if days < 2 * _YEAR_DAYS:
        return f"{wording.number(days)} days"
    years = days / _YEAR_DAYS
    return f"{wording.number(years)} years" if years < 1e6 else "more than a million years"


def money(value_usd: float | None, per: str = "") -> str:
    """Dollars: cents where they matter."""
    if value_usd is None or not math.isfinite(value_usd):
        return wording.MISSING
    size = abs(value_usd)
    if size >= 1000:
        text = f"{size:,.0f}"
    elif size >= 0.1 or size == 0:
        text = f"{size:.2f}".removesuffix(".00")
    else:
        text = wording.number(size, 2).rstrip("0")
    sign = wording.MINUS if value_usd < 0 else ""
    return f"{sign}${text}{per}"


def scientific(value: float | None) -> str:
    """Three digits, with a power of ten where the number is far from 1."""
    if value is None or not math.isfinite(value):
        return wording.MISSING
    if value == 0 or 0.01 <= abs(value) < 1e5:
        return wording.number(value).replace("-", wording.MINUS)
    digits, _, power = f"{value:.2e}".partition("e")
    return f"{digits} x 10^{int(power)}".replace("-", wording.MINUS)


def value(figure: Figure | None) -> str:
    """The value of a figure in the unit that a reader would choose."""
    if figure is None:
        return wording.MISSING
    if figure.value is None:
        return "without limit" if "without limit" in figure.note else wording.MISSING
    return _WAYS.get(figure.unit, _plain)(figure.value, figure.unit)


def _plain(number: float, unit: str) -> str:
    text = wording.number(number).replace("-", wording.MINUS)
    return f"{text} {unit}".rstrip()


def _power(number: float, _: str) -> str:
    return wording.power(number).replace("-", wording.MINUS)


_WAYS: dict[str, Callable[[float, str], str]] = {
    "W": _power,
    "J": lambda number, _: energy(number),
    "s": lambda number, _: duration(number),
    "$/year": lambda number, _: money(number, " a year"),
    "$/h": lambda number, _: money(number, " an hour"),
    "$ per 1,000 requests": lambda number, _: money(number, " per 1,000 requests"),
    "J^2/s": lambda number, unit: f"{scientific(number)} {unit}",
    "logits": lambda number, unit: f"{wording.number(number)} {unit}",
}


def trust(figure: Figure | None) -> str:
    """How far to trust a figure: standing, error, rung, interval."""
    if figure is None:
        return ""
    text: str = figure.standing
    if figure.error_frac is not None and figure.standing != "exact":
        text += f" ±{wording.percent(figure.error_frac, 2)}"
    if figure.rung is not None:
        text += f" ({figure.rung.replace('_', ' ')})"
    if figure.low is not None and figure.high is not None:
        low, high = (value(_with(figure, bound)) for bound in (figure.low, figure.high))
        text += f", {low} to {high}"
    return text


def _with(figure: Figure, number: float) -> Figure:
    """Another number in the same unit."""
    return Figure(value=number, unit=figure.unit, standing=figure.standing)
