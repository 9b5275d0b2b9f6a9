"""How numbers and words look wherever a result is shown: one place, so that table, plots and page
agree.
"""

from __future__ import annotations

import math

MISSING = "–"
"""Shown where a figure is ``None``: not measured, or nothing to measure."""

MINUS = "−"

GLOSSARY = (
    ("policy", "The rule that picks the replica (a running copy of a model) that answers a "
     "request."),
    ("baseline", "The policy that the others are compared with. It is named in the table."),
    ("joule (J), megajoule (MJ)", "Units of energy. 3.6 MJ are one kilowatt-hour (kWh)."),
    ("MJ/h", "Megajoules per hour: the power of the whole fleet. 3.6 MJ/h are one kilowatt (kW)."),
    ("idle share", "Part of the energy that was drawn by replicas that had no work and waited."),
    ("parked, off, waking", "A parked replica sleeps and draws less; an off one draws nothing or "
     "little; "
     "waking is the energy of coming back. A request that finds a sleeping replica must wait for "
     "it."),
    ("TTFT", "Time to first token: from the arrival of a request until its first word-piece is "
     "out."),
    ("TPOT", "Time per output token after the first one: how fast the answer is written."),
    ("end to end (E2E)", "From the arrival of a request until the last token of its answer."),
    ("p50, p95, p99", "The value that 50, 95 or 99 of 100 requests stay at or below. p99 shows "
     "the slow end."),
    ("missed", "Requests that broke a promised deadline, counting refused ones."),
    ("refused", "Requests that the fleet did not take, for instance because no replica could "
     "hold them."),
    ("utilisation", "Part of the time in which a replica had work."),
    ("mean batch", "How many requests a working replica handled at once. Large batches share the "
     "cost of "
     "reading the model, so energy per token falls."),
    ("bulk share", "Part of the requests on a device that may wait (the bulk tier)."),
    ("95 % interval", "Where the figure lies in 95 of 100 repetitions with other random numbers. "
     "It covers "
     "chance only, not the error of the energy model."),
    ("measured, modelled, assumed", "How a number came about: read from a meter; computed from a "
     "model that "
     "was fitted to measurements; or taken as plausible."),
)  # fmt: skip
"""Words of the page with their meaning, in plain language."""


def number(value: float | None, digits: int = 3, *, missing: str = MISSING) -> str:
    """``value`` with ``digits`` significant digits and a comma between thousands, never in
    exponents.
    """
    if value is None or not math.isfinite(value):
        return missing
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    decimals = max(0, digits - 1 - size)
    return f"{value:,.{min(decimals, 12)}f}"


def count(value: int) -> str:
    """A whole number with a comma between thousands."""
    return f"{value:,d}"


def percent(
    frac: float | None, digits: int = 3, *, unit: str = " %", missing: str = MISSING
) -> str:
    """A fraction as a percentage, at least one decimal below 100."""
    if frac is None or not math.isfinite(frac):
        return missing
    hundredths = frac * 100.0
    if hundredths == 0:
        return f"0{unit}"
    if abs(hundredths) < 0.01:
        return f"<0.01{unit}" if hundredths > 0 else f">{MINUS}0.01{unit}"
    if abs(hundredths) < 1:
        return f"{hundredths:.2f}{unit}".replace("-", MINUS)
    text = f"{hundredths:,.1f}" if abs(hundredths) < 1000 else f"{hundredths:,.0f}"
    if digits <= 2 and text.endswith(".0"):
        text = text[:-2]
    return f"{text}{unit}".replace("-", MINUS)


def change(
    frac: float | None, *, unit: str = " %", minus: str = MINUS, missing: str = MISSING
) -> str:
    """A relative change with its sign: ``-0.234`` gives ``−23.4 %``."""
    if frac is None or not math.isfinite(frac):
        return missing
    tenths = round(frac * 100.0, 1)
    sign = minus if tenths < 0 else "+" if tenths > 0 else ""
    return f"{sign}{abs(tenths):,.1f}{unit}"


def duration(value_s: float | None) -> str:
    """Seconds in the unit that a reader would choose: ms, s, min or h."""
    if value_s is None or not math.isfinite(value_s):
        return MISSING
    if value_s < 1:
        return f"{number(value_s * 1000.0)} ms"
    if value_s < 600:
        return f"{number(value_s)} s"
    if value_s < 7200:
        return f"{number(value_s / 60.0)} min"
    return f"{number(value_s / 3600.0)} h"


def power(value_w: float | None) -> str:
    """Watts as W, kW or MW."""
    if value_w is None or not math.isfinite(value_w):
        return MISSING
    if abs(value_w) < 1000:
        return f"{number(value_w)} W"
    if abs(value_w) < 1e6:
        return f"{number(value_w / 1e3)} kW"
    return f"{number(value_w / 1e6)} MW"


def listing(words: list[str], *, last: str = "and") -> str:
    """``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
