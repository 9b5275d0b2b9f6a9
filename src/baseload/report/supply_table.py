"""The terminal table of a site's supply: one row a policy and scale."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from baseload.report import wording
from baseload.report.figures import Comparison
from baseload.report.supply_figures import has_supply, kwh, missing_words, regime, with_supply
from baseload.simulator.results import SupplyResult

HEADS = (
    "supply\npolicy",
    "\nscale",
    "base/\ndemand",
    "bought\nkWh",
    "wasted\nkWh",
    "un-\nserved",
    "lost\nkWh",
    "\ncycles",
    "kg\nCO2e",
    "cost\n$",
    "\nregime",
)
LEGEND = (
    "scale: factor on the baseline. base/demand: 1 is critical without losses. bought: auxiliary "
    "energy. lost: conversion and leakage of the store. regime: by 2 theta B / sigma2 of this run."
)


def supply_parts(comparison: Comparison) -> list[Table | Text]:
    """Table, legend and what is missing; empty without a site."""
    if not has_supply(comparison):
        return []
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
    for place, head in enumerate(HEADS):
        words = place in (0, len(HEADS) - 1)
        table.add_column(
            Text(head, justify="left" if words else "right"),
            justify="left" if words else "right",
            no_wrap=not words,
            overflow="fold",
        )
    for row in with_supply(comparison):
        for place, found in enumerate(row.result.supply):
            name = row.label if place == 0 else ""
            table.add_row(*(Text(cell) for cell in (name, *cells(found))))
    lines = [LEGEND, *missing_words(comparison)]
    least = dispatch_words(comparison)
    if least:
        return [table, Text(""), Text(least), *(Text(line, style="dim") for line in lines)]
    return [table, Text(""), *(Text(line, style="dim") for line in lines)]


def dispatch_words(comparison: Comparison) -> str:
    """The clairvoyant dispatch in a line; empty where nobody asked for it."""
    found = comparison.simulation.dispatch
    if found is None:
        return ""
    multiples = [
        f"{row.label} {_number(row.result.cost_over_dispatch)} x"
        for row in comparison.rows
        if row.result.cost_over_dispatch is not None
    ]
    least = _number(found.proven.total_cost_usd)
    words = (
        f"clairvoyant dispatch: no schedule costs less than ${least} (misses not counted)"
        f"{': ' if multiples else ''}{', '.join(multiples)}."
    )
    if found.as_run is None:
        return words
    timed = _number(found.as_run.total_cost_usd)
    return f"{words} With the joules an answer of {found.policy}: ${timed}."


def cells(found: SupplyResult) -> tuple[str, ...]:
    """The figures of one scale."""
    total = _number(found.total_cost_usd)
    if found.cost_missing and found.total_cost_usd is not None:
        total += "*"
    return (
        f"{found.scale:g}",
        _number(found.baseline_over_demand),
        _number(kwh(found.auxiliary_j)),
        _number(kwh(found.waste_j)),
        _number(kwh(found.unserved_j)),
        _number(kwh(found.leak_j + found.loss_j)),
        _number(found.equivalent_cycles),
        _number(found.carbon_kg) + ("*" if found.carbon_missing and found.carbon_kg else ""),
        total,
        regime(found).replace(wording.MISSING, "-"),
    )


def _number(value: float | None) -> str:
    return wording.number(value, missing="-")
