"""What caps on the tokens of an answer do: one row a policy and cap, for terminal and page."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import msgspec
from rich.table import Table
from rich.text import Text

from baseload.report import plots, wording
from baseload.report.figures import Comparison, Row
from baseload.report.markup import swatch
from baseload.report.markup import table as html_table
from baseload.report.supply_figures import kwh
from baseload.simulator.results import SupplyResult

LEGEND = (
    "sigma2: variance rate of the demand, answers a second x mean square of their joules; a cap "
    "acts on it before it acts on the mean. A cut answer counts as wrong (assumed). right: of all "
    "requests."
)


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One figure: its heading, its value and interval in a row, and how a number is written."""

    heading: str
    value: Callable[[Row], float | None]
    known: Callable[[Row], list[float] | None]
    text: Callable[[float], str] = wording.number


def _of_result(heading: str, name: str, text: Callable[[float], str] = wording.number) -> Column:
    """A figure of the policy."""
    return Column(
        heading=heading,
        value=lambda row: getattr(row.result, name),
        known=lambda row: row.result.interval.get(name),
        text=text,
    )


def _of_supply(heading: str, name: str, text: Callable[[float], str] = wording.number) -> Column:
    """A figure of the site, at the scale nearest to 1."""

    def known(row: Row) -> list[float] | None:
        main = _main(row)
        return None if main is None else main.interval.get(name)

    return Column(
        heading=heading, value=lambda row: getattr(row.result, name), known=known, text=text
    )


def _main(row: Row) -> SupplyResult | None:
    """The supply at the scale nearest to 1: the one with a course."""
    return next((one for one in row.result.supply if one.series is not None), None)


def _percent(frac: float) -> str:
    return wording.percent(frac, unit="").replace(wording.MINUS, "-")


COLUMNS = (
    _of_result("sigma2\nJ2/s", "demand_variance_j2_per_s"),
    _of_result("per\nreq J", "energy_j_per_request"),
    _of_supply("bought\nkWh", "auxiliary_j", lambda energy_j: wording.number(kwh(energy_j))),
    _of_result("cut\n%", "capped_frac", _percent),
    _of_result("right\n%", "quality_frac", _percent),
    _of_supply("cost\n$", "total_cost_usd"),
)


def capped_rows(comparison: Comparison) -> list[Row]:
    """The rows that ran under a cap that was asked for, or under none beside such."""
    return [row for row in comparison.rows if "cap_tokens" in row.result.parameters]


def caps_parts(comparison: Comparison) -> list[Table | Text]:
    """Table and legend; empty where no caps were asked for."""
    rows = capped_rows(comparison)
    if not rows:
        return []
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
    table.add_column(Text("caps\npolicy"), overflow="fold")
    columns = _shown(rows)
    for column in columns:
        table.add_column(Text(column.heading, justify="right"), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(Text(row.label), *(Text(cell(column, row)) for column in columns))
    return [table, Text(""), Text(LEGEND, style="dim")]


def caps_section(comparison: Comparison) -> str:
    """The same as HTML."""
    rows = capped_rows(comparison)
    if not rows:
        return ""
    columns, body = _shown(rows), []
    places = {
        id(row): at for row, at in zip(comparison.rows, plots.places_of(comparison), strict=True)
    }
    for row in rows:
        name = f"{swatch(places[id(row)])}{escape(row.label)}"
        numbers = "".join(f"<td>{escape(cell(column, row))}</td>" for column in columns)
        body.append(f'<tr><th scope="row">{name}</th>{numbers}</tr>')
    heads = ["policy", *(column.heading.replace("J2", "J²") for column in columns)]
    rows_html = html_table(LEGEND, heads, body, wide=True)
    return f"<section><h2>Caps on the tokens of an answer</h2>{rows_html}</section>"


def cell(column: Column, row: Row) -> str:
    """A figure, with half its 95 % interval over seeds where there is one; ``-`` for none."""
    value, known = column.value(row), column.known(row)
    if value is None:
        return "-"
    text = column.text(value)
    return text if known is None else f"{text} ±{column.text((known[1] - known[0]) / 2.0)}"


def _shown(rows: list[Row]) -> list[Column]:
    """The columns that any row has a figure for."""
    return [column for column in COLUMNS if any(column.value(row) is not None for row in rows)]
