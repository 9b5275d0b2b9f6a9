"""What a report says of the supply of a site, shared by table, plots and page."""

from __future__ import annotations

from collections.abc import Sequence

from baseload.base.units import J_PER_KWH
from baseload.report import wording
from baseload.report.figures import Comparison, Row
from baseload.report.plan_wording import money
from baseload.simulator.results import SupplyResult

COST_WORDS = {
    "baseline_usd": "baseline",
    "energy_usd": "auxiliary energy",
    "demand_usd": "peak demand",
    "fixed_usd": "fixed fee",
    "waste_usd": "waste",
    "carbon_usd": "carbon",
    "unserved_usd": "unserved demand",
    "wear_usd": "wear of the store",
    "wrong_usd": "wrong answers",
    "miss_usd": "missed promises",
}
"""Parts of the cost of a site, by field."""


def has_supply(comparison: Comparison) -> bool:
    """Whether the runs were fed by a site."""
    return any(row.result.supply for row in comparison.rows)


def with_supply(comparison: Comparison) -> list[Row]:
    """The policies that were fed by a site, in the order of the comparison."""
    return [row for row in comparison.rows if row.result.supply]


def scales_of(comparison: Comparison) -> list[float]:
    """The scales of the baseline, rising."""
    return sorted({one.scale for row in comparison.rows for one in row.result.supply})


def main_of(row: Row) -> SupplyResult:
    """The books at the scale nearest to 1."""
    return min(row.result.supply, key=lambda one: abs(one.scale - 1.0))


def shown(comparison: Comparison) -> list[Row]:
    """The policies whose day and course are drawn: the baseline, and the cheapest other one."""
    rows = with_supply(comparison)
    first = next((row for row in rows if row.is_baseline), rows[0])
    others = [row for row in rows if row is not first]
    cheapest = min(others, key=_cost, default=None)
    return [first] if cheapest is None else [first, cheapest]


def _cost(row: Row) -> float:
    found = main_of(row)
    return found.auxiliary_j if found.total_cost_usd is None else found.total_cost_usd


def kwh(energy_j: float) -> float:
    """Joules in the unit of bills."""
    return energy_j / J_PER_KWH


def regime(found: SupplyResult) -> str:
    """Which side of the critical point, in one word."""
    return wording.MISSING if found.regime is None else found.regime


def missing_words(comparison: Comparison) -> list[str]:
    """What the totals leave out because nobody said a price or an intensity."""
    rows = with_supply(comparison)
    costs = _named([part for row in rows for one in row.result.supply for part in one.cost_missing])
    carbon = sorted(
        {part for row in rows for one in row.result.supply for part in one.carbon_missing}
    )
    found = []
    if costs:
        found.append(f"The total cost leaves out what has no price: {wording.listing(costs)}.")
    if carbon:
        words = [part.replace("_", " ") for part in carbon]
        found.append(f"The carbon leaves out what has no intensity: {wording.listing(words)}.")
    return found


def _named(parts: Sequence[str]) -> list[str]:
    """Parts of a cost in words, each once, in the order of the bill."""
    known = [*COST_WORDS, *(part for part in parts if part not in COST_WORDS)]
    return [
        COST_WORDS.get(part, part.replace("_", " "))
        for part in dict.fromkeys(known)
        if part in parts
    ]


def supply_sentence(comparison: Comparison) -> str:
    """What the site costs under the policies, and where its supply stands."""
    said = []
    for row in shown(comparison):
        found = main_of(row)
        text = f"{wording.number(kwh(found.auxiliary_j))} kWh bought and "
        text += f"{wording.number(kwh(found.waste_j))} kWh wasted under {row.label}"
        if found.total_cost_usd is not None:
            text += f", {money(found.total_cost_usd)} in all"
        said.append(text)
    scale = main_of(shown(comparison)[0]).scale
    at = "" if scale == 1.0 else f" (baseline times {scale:g})"
    return f"In this run{at}: {'; '.join(said)}."
