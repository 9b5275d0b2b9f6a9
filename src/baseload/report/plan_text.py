"""A plan in the terminal: the answer, tables of at most 100 columns, marks, notes."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table
from rich.text import Text

from baseload.report.columns import PIPE_WIDTH
from baseload.report.plan_result import PlanResult
from baseload.report.plan_sections import (
    all_notes,
    all_warnings,
    demand_words,
    headline,
    price_words,
    sections_of,
)
from baseload.report.plan_wording import STANDINGS
from baseload.report.routing_sections import routing_sections
from baseload.report.section import Section

_LEAST_WORDS = 18


def print_plan(plan: PlanResult, *, console: Console | None = None) -> None:
    """Print the plan to ``console`` (standard output). Numbers are never cut; words are folded."""
    console = console or Console()
    width = console.width if console.is_terminal else max(console.width, PIPE_WIDTH)
    console.width = width
    for part in _parts(plan):
        console.print(part, crop=False, highlight=False, markup=False, soft_wrap=False)


def plan_text(plan: PlanResult, *, width: int = PIPE_WIDTH) -> str:
    """What ``print_plan`` prints, without colour, ``width`` columns wide."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=True)
    print_plan(plan, console=console)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _parts(plan: PlanResult) -> list[Text | Table]:
    """Everything in reading order."""
    head = Text()
    head.append(plan.name, style="bold")
    head.append(f"  {demand_words(plan)}\n  prices: {price_words(plan.prices)}")
    parts: list[Text | Table] = [head, Text(""), Text(headline(plan), style="bold")]
    routed = [] if plan.routing is None else routing_sections(plan.routing)
    for section in (*sections_of(plan), *routed):
        parts.append(Text(f"\n{section.title}", style="bold cyan"))
        if section.words:
            parts.append(Text(section.words, style="dim"))
        parts.append(_table(section))
    parts.append(Text(""))
    parts += [Text(f"warning: {warning}", style="yellow") for warning in all_warnings(plan)]
    parts += [Text(f"note: {note}", style="dim") for note in all_notes(plan)]
    marks = "; ".join(f"{mark}: {meaning}" for mark, meaning in STANDINGS)
    parts.append(Text(f"{marks}. ± is the error of the formula, given the demand.", style="dim"))
    return parts


def _table(section: Section) -> Table:
    """Numbers flush right and whole, the words of the first and the last column folded."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    last = len(section.heads) - 1
    for place, head in enumerate(section.heads):
        words = place in (0, last) and not _is_number_column(section, place)
        table.add_column(
            Text(head, justify="left" if words else "right"),
            justify="left" if words else "right",
            no_wrap=not words,
            overflow="fold",
            min_width=_LEAST_WORDS if words and place else None,
        )
    for row in section.rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _is_number_column(section: Section, place: int) -> bool:
    """Whether the last column is one of numbers: its cells are short."""
    return place > 0 and all(len(row[place]) <= 12 for row in section.rows)
