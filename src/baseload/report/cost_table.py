"""The terminal table of what a site with values pays under each policy, part by part."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import RenderableType
from rich.text import Text

from baseload.report import wording
from baseload.report.columns import PIPE_WIDTH, Column, fitting, set_table, widths
from baseload.report.costs import cost_sentence, difference, has_values, with_cost
from baseload.report.figures import Comparison, Row
from baseload.report.supply_figures import kwh

PART_HEADS = {
    "baseline_usd": "base-\nline",
    "energy_usd": "energy\nbought",
    "demand_usd": "peak\ndemand",
    "fixed_usd": "fixed\nfee",
    "carbon_usd": "\ncarbon",
    "wear_usd": "\nwear",
    "waste_usd": "\nwaste",
    "unserved_usd": "un-\nserved",
    "wrong_usd": "\nwrong",
    "miss_usd": "\nmisses",
}
"""Headings of the parts, in the order of the table."""

LEGEND = (
    "total: dollars of the run, the sum of the parts. wrong, misses: what wrong answers and broken "
    "promises cost by the values of their tiers."
)


def cost_parts(comparison: Comparison, width: int) -> list[RenderableType]:
    """Table, legend and who cost least; empty where no tier says what answers are worth."""
    if not has_values(comparison):
        return []
    rows, width = with_cost(comparison), min(width, PIPE_WIDTH)
    groups = _groups(rows, cost_columns(comparison), width)
    found: list[RenderableType] = []
    for group in groups:
        gap = 2 if sum(widths(rows, group)) + 2 * len(group) <= width else 1
        found += [Text(""), set_table(rows, group, gap=gap, name="cost")]
    words = remark(comparison)
    found += [Text(""), *(Text(line, style="dim") for line in words)]
    sentence = cost_sentence(comparison)
    return [*found, Text(sentence)] if sentence else found


def cost_columns(comparison: Comparison) -> tuple[Column, ...]:
    """The columns of the table: those that any policy has."""
    rows = with_cost(comparison)
    return tuple(column for column in _columns(comparison) if any(map(column.present, rows)))


def _groups(rows: list[Row], columns: tuple[Column, ...], width: int) -> list[tuple[Column, ...]]:
    """All columns in one table where they fit, else in as few as needed."""
    if sum(widths(rows, columns)) + len(columns) <= width:
        return [columns]
    return fitting(rows, columns, width)


def _columns(comparison: Comparison) -> tuple[Column, ...]:
    def change(row: Row) -> str:
        if row is comparison.baseline:
            return "base"
        found = difference(row.result, comparison.baseline.result)
        if found is None:
            return "-"
        text = wording.change(found.frac, unit="", minus="-", missing="-")
        if found.interval_frac is None:
            return text
        low, high = found.interval_frac
        return f"{text} ±{abs(high - low) / 2.0 * 100.0:.1f}"

    return (
        Column(
            heading="total\n$",
            text=lambda row: _usd(row.result.total_cost_usd),
            least=lambda row: row.result.total_cost_usd,
        ),
        Column(heading="change\n%", text=change),
        *(_part(part, heading) for part, heading in PART_HEADS.items()),
        Column(heading="bought\nkWh", text=_kwh("auxiliary_j"), least=_least("auxiliary_j")),
        Column(heading="wasted\nkWh", text=_kwh("waste_j"), least=_least("waste_j")),
        Column(
            heading="right\n%",
            text=lambda row: wording.percent(row.result.quality_frac, unit="", missing="-"),
            least=lambda row: None if row.result.quality_frac is None else -row.result.quality_frac,
            present=lambda row: row.result.quality_frac is not None,
        ),
    )


def _part(part: str, heading: str) -> Column:
    """A part of the cost, where any policy has it."""
    return Column(
        heading=heading,
        text=lambda row: _usd(row.result.cost_usd.get(part)),
        least=lambda row: row.result.cost_usd.get(part),
        present=lambda row: bool(row.result.cost_usd.get(part)),
    )


def _usd(value: float | None) -> str:
    return wording.number(value, missing="-")


def _kwh(field: str) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        value = getattr(row.result, field)
        return wording.number(None if value is None else kwh(value), missing="-")

    return text


def _least(field: str) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        found: float | None = getattr(row.result, field)
        return found

    return value


def remark(comparison: Comparison) -> list[str]:
    """What the columns are."""
    if len(with_cost(comparison)) < 2:
        return [LEGEND]
    words = f"change: of the total against {comparison.baseline.label}"
    seeds = len(comparison.simulation.seeds)
    if seeds > 1:
        words += f", ± half the 95 % interval of the paired differences over {seeds} seeds"
    return [LEGEND, f"{words}."]
