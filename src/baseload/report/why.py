"""Where a policy's saving comes from: its energy against the baseline's, part by part, so that the
parts add up to the whole change.

Two ways to cut it: by cause (reading weights once a step, which fuller batches share; the rest of
the steps, which follows from where requests run; waiting and sleeping) and by who pays (the
requests of each tier; nobody).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from baseload.report import wording
from baseload.report.figures import Comparison, Row, leading

CAUSES = {
    "weight_stream": "fuller batches",
    "tokens": "placement and work",
    "rest": "waiting and sleep",
}
"""The accounts of ``energy_j_by_cause`` and what moves them."""

NOBODY = "no request"
_PER_POINT = 10
"""Shares are shown in tenths of a per cent of the baseline's energy."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One policy's change in energy, as fractions of the baseline's energy; negative is saved.
    ``by_cause`` and ``by_tier`` each add up to ``total_frac``, in the last digit shown too.
    """

    row: Row
    total_frac: float
    by_cause: dict[str, float]
    by_tier: dict[str, float]


def changes(comparison: Comparison) -> list[Change]:
    """The change of each policy but the baseline; empty where no causes were recorded."""
    base = comparison.baseline.result
    if not base.energy_j_by_cause or base.energy_j <= 0:
        return []
    found = []
    for row in comparison.rows:
        if row.is_baseline or not row.result.energy_j_by_cause:
            continue
        causes = _differences(row.result.energy_j_by_cause, base.energy_j_by_cause)
        tiers = _differences(row.result.energy_j_by_tier, base.energy_j_by_tier)
        causes, tiers = ({k: j / base.energy_j for k, j in p.items()} for p in (causes, tiers))
        total = math.fsum(causes.values())
        by_cause = parts_of(causes, total)
        waiting = by_cause.get("rest", 0.0)
        by_tier = parts_of(tiers, _rounded(total) - waiting) | {NOBODY: waiting}
        found.append(
            Change(row=row, total_frac=_rounded(total), by_cause=by_cause, by_tier=by_tier)
        )
    return found


def _differences(mine: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {key: mine.get(key, 0.0) - other.get(key, 0.0) for key in {**other, **mine}}


def _rounded(frac: float) -> float:
    return round(frac * 100 * _PER_POINT) / (100 * _PER_POINT)


def parts_of(parts: Mapping[str, float], total: float) -> dict[str, float]:
    """``parts`` rounded to the digits shown so that they add up to the rounded ``total``: those
    whose rounding was the largest give way (largest remainders).
    """
    scale = 100 * _PER_POINT
    exact = {key: value * scale for key, value in parts.items()}
    down = {key: math.floor(value) for key, value in exact.items()}
    missing = round(total * scale) - sum(down.values())
    order = sorted(exact, key=lambda key: down[key] - exact[key])
    for step in range(abs(missing)):
        down[order[step % len(order)]] += 1 if missing > 0 else -1
    return {key: value / scale for key, value in down.items()}


def cause_words(found: Sequence[Change], comparison: Comparison) -> str:
    """A sentence on the leading policy: what its change is made of."""
    best = leading(comparison)
    lead = next((change for change in found if change.row is best), None)
    base = comparison.baseline.label
    if lead is None:
        return f"The others are compared with {best.label}, which leads."
    said = [
        f"{wording.change(frac)} {_said(cause, frac)}"
        for cause, frac in lead.by_cause.items()
        if frac != 0
    ]
    if not said:
        return f"{best.label} used the same as {base}."
    return (
        f"The energy of {best.label} changes by {wording.change(lead.total_frac)} against {base}: "
        f"{wording.listing(said)}."
    )


def _said(cause: str, frac: float) -> str:
    """What a change of an account means."""
    less = frac < 0
    return {
        "weight_stream": f"from {'fuller' if less else 'emptier'} batches, in which "
        f"{'more' if less else 'fewer'} requests share the reading of the weights",
        "tokens": f"from where requests run and how, at {'fewer' if less else 'more'} joules for "
        "the same tokens",
        "rest": f"from {'less' if less else 'more'} waiting, sleep and waking",
    }[cause]
