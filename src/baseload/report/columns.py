"""Tables of policies in the terminal: columns of fixed width, so that no number is ever cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from baseload.report.figures import Row

PIPE_WIDTH = 100
"""Columns assumed where there is no terminal to ask."""

NAME_WIDTH = 20
BEST_STYLE = "bold green"


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a policy: its heading, its text, its value when the least one is to be
    highlighted, and where it is shown at all: where any policy has it.
    """

    heading: str
    text: Callable[[Row], str]
    least: Callable[[Row], float | None] | None = None
    present: Callable[[Row], bool] = lambda _: True


def fitting(rows: Sequence[Row], columns: Sequence[Column], width: int) -> list[tuple[Column, ...]]:
    """``columns`` in groups that fit ``width`` beside the name, at least one column each."""
    groups: list[tuple[Column, ...]] = [()]
    for column in columns:
        grown = (*groups[-1], column)
        if groups[-1] and sum(widths(rows, grown)) + 2 * len(grown) > width:
            groups.append((column,))
        else:
            groups[-1] = grown
    return groups


def widths(rows: Sequence[Row], columns: Sequence[Column]) -> list[int]:
    """Columns of text that the name and each figure need: fixed, so that nothing is ever cut."""
    longest = max(cell_len(row.label) for row in rows)
    found = [max(len("policy"), min(longest, NAME_WIDTH))]
    for column in columns:
        texts = [*column.heading.split("\n"), *(column.text(row) for row in rows)]
        found.append(max(map(cell_len, texts)))
    return found


def set_table(
    rows: Sequence[Row], columns: Sequence[Column], *, gap: int, name: str = "policy"
) -> Table:
    """The table of ``columns``, ``gap`` apart, under ``name`` the policies; the best of a column is
    marked.
    """
    name_width, *each = widths(rows, columns)
    table = Table(box=None, padding=(0, 0, 0, gap), pad_edge=False, header_style="bold")
    table.add_column(Text(f"\n{name}"), overflow="fold", width=name_width)
    for column, width in zip(columns, each, strict=True):
        heading = Text(column.heading, justify="right")
        table.add_column(heading, justify="right", no_wrap=True, width=width)
    best = [_best(column, rows) for column in columns]
    for row in rows:
        cells = [
            Text(column.text(row), style=BEST_STYLE if column.text(row) == least else "")
            for column, least in zip(columns, best, strict=True)
        ]
        table.add_row(Text(row.label), *cells)
    return table


def _best(column: Column, rows: Sequence[Row]) -> str | None:
    """The text of the least value, so that values that look equal are highlighted alike; ``None``:
    highlight nothing.
    """
    if column.least is None:
        return None
    values = [(column.least(row), column.text(row)) for row in rows]
    known = [(value, text) for value, text in values if value is not None]
    if len({text for _, text in known}) < 2:
        return None
    return min(known)[1]
