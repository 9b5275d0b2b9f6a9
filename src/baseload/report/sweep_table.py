"""The terminal table of a sweep: one row a load, the policies side by side, readable at 100 columns
and in a pipe.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from baseload.report import wording
from baseload.report.columns import BEST_STYLE, PIPE_WIDTH
from baseload.report.figures import DISTINGUISHABLE_FRAC
from baseload.report.sweep_figures import has_bound, headline, points_at, points_of, thriftiest
from baseload.simulator.sweeps import Sweep, SweepPoint

BROKEN = " !"
"""Stands behind a share of misses that is more than was promised."""

BROKEN_STYLE = "red"
_GAP = "   "


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """The columns of one policy: its name, headings, and one row of texts for each load."""

    name: str
    headings: list[str]
    rows: list[list[str]]
    widths: list[int]

    @property
    def width(self) -> int:
        """Columns of text that the block takes."""
        return sum(self.widths) + 2 * (len(self.widths) - 1)


def print_sweep(sweep: Sweep, *, console: Console | None = None) -> None:
    """Print header, table, legend, notes and the headline of ``sweep`` to ``console`` (standard
    output). Numbers are never cut: policies that do not fit beside each other stand below.
    """
    console = console or Console()
    width = console.width if console.is_terminal else max(console.width, PIPE_WIDTH)
    console.width = width
    console.print(_header(sweep))
    for group in _fitting(sweep, width):
        console.print()
        for line in _lines(sweep, group):
            console.print(line, crop=False, no_wrap=True, overflow="ignore")
    console.print()
    for words in _legend(sweep):
        console.print(Text(words, style="dim"))
    for note in sweep.notes:
        console.print(Text(f"note: {note}", style="bold"))
    console.print()
    console.print(Text(headline(sweep)))


def sweep_text(sweep: Sweep, *, width: int = PIPE_WIDTH) -> str:
    """What ``print_sweep`` prints, without colour, ``width`` columns wide."""
    out = io.StringIO()
    print_sweep(
        sweep, console=Console(file=out, width=width, color_system=None, force_terminal=True)
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _header(sweep: Sweep) -> Text:
    seeds = len(sweep.seeds)
    text = Text(sweep.scenario, style="bold")
    text.append(
        f"  {sweep.trace} at {len(sweep.loads)} loads, {seeds} seed{'s' if seeds != 1 else ''}",
        style="not bold",
    )
    for row in sweep.fleet:
        error = "" if row.error_frac is None else f", energy ±{wording.percent(row.error_frac, 2)}"
        what = f"{row.replicas} x {row.type}  {row.model} on {row.gpus} {row.device}"
        text.append(f"\n  {what} ({row.method}{error})", style="not bold")
    return text


def _fitting(sweep: Sweep, width: int) -> list[list[Block]]:
    """The policies' blocks in groups that fit ``width``, at least one each."""
    groups: list[list[Block]] = [[]]
    for place, policy in enumerate(sweep.policies):
        block = _block(sweep, policy, is_first=place == 0)
        grown = [*groups[-1], block]
        if groups[-1] and _load_width(sweep) + sum(len(_GAP) + b.width for b in grown) > width:
            groups.append([block])
        else:
            groups[-1] = grown
    return groups


def _block(sweep: Sweep, policy: str, *, is_first: bool) -> Block:
    headings = ["J/req"]
    headings += [] if is_first else ["change %"]
    headings += ["/bound"] if has_bound(sweep) else []
    headings += ["miss %"]
    rows = [
        _cells(point, is_first=is_first, bound=has_bound(sweep))
        for point in points_of(sweep, policy)
    ]
    headings[-1] += " " * len(BROKEN)
    widths = [max(map(cell_len, column)) for column in zip(headings, *rows, strict=True)]
    return Block(name=policy, headings=headings, rows=rows, widths=widths)


def _cells(point: SweepPoint, *, is_first: bool, bound: bool) -> list[str]:
    """The texts of one point."""
    cells = [wording.number(point.energy_j_per_request, missing="-")]
    if not is_first:
        cells.append(_change(point))
    if bound:
        cells.append(wording.number(point.energy_over_bound, missing="-"))
    missed = wording.percent(point.miss_frac, unit="", missing="-")
    mark = BROKEN if point.keeps_targets is False else " " * len(BROKEN)
    return [*cells, missed.replace(wording.MINUS, "-") + mark]


def _change(point: SweepPoint) -> str:
    text = wording.change(point.energy_change_frac, unit="", minus="-", missing="-")
    known = point.interval.get("energy_change_frac")
    return text if known is None else f"{text} ±{(known[1] - known[0]) / 2.0 * 100.0:.1f}"


def _load_width(sweep: Sweep) -> int:
    return max(len("load"), *(len(f"{load_frac:g}") for load_frac in sweep.loads))


def _lines(sweep: Sweep, blocks: Sequence[Block]) -> list[Text]:
    """Heading and rows of some policies' blocks."""
    margin = _load_width(sweep)
    names = [_folded(block.name, block.width) for block in blocks]
    height = max(map(len, names))
    lines = []
    for at in range(height):
        line = Text(" " * margin, style="bold")
        for block, parts in zip(blocks, names, strict=True):
            part = parts[at] if at < len(parts) else ""
            line.append(_GAP + part + " " * (block.width - cell_len(part)))
        lines.append(line)
    heading = Text("load".rjust(margin), style="bold")
    for block in blocks:
        heading.append(_GAP + _joined(block.headings, block.widths))
    lines.append(heading)
    for at, load_frac in enumerate(sweep.loads):
        best = thriftiest(points_at(sweep, load_frac))
        line = Text(f"{load_frac:g}".rjust(margin))
        for block in blocks:
            line.append(_GAP)
            cells = _joined(block.rows[at], block.widths)
            broken = block.rows[at][-1].endswith(BROKEN)
            is_best = best is not None and block.name == best.policy and len(sweep.policies) > 1
            line.append(cells, style=BROKEN_STYLE if broken else BEST_STYLE if is_best else "")
        lines.append(line)
    return lines


def _folded(name: str, width: int) -> list[str]:
    """A name in lines of ``width`` columns at most."""
    parts = [""]
    for character in name:
        if cell_len(parts[-1] + character) > width:
            parts.append("")
        parts[-1] += character
    return parts


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells set flush right."""
    padded = (
        " " * (width - cell_len(cell)) + cell for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(padded)


def _legend(sweep: Sweep) -> list[str]:
    lines = [
        "load: what the busiest minutes ask for, as a share of what the fleet completes.",
        "J/req: energy of GPUs, idle too, per answer.",
    ]
    if len(sweep.policies) > 1:
        words = f"change: energy against {sweep.policies[0]} at the same load"
        if len(sweep.seeds) > 1:
            words += f", ± half the 95 % interval over {len(sweep.seeds)} seeds"
        limit = wording.percent(DISTINGUISHABLE_FRAC, 2)
        lines.append(f"{words}; below about {limit} it is within the model's error.")
        lines.append("Bold: the fewest joules among the policies that keep the targets.")
    if has_bound(sweep):
        lines.append("/bound: times the energy that no schedule could undercut.")
    if any(point.keeps_targets is False for point in sweep.points):
        lines.append("miss: broke a deadline; ! marks more than a tier's target allows.")
    else:
        lines.append("miss: broke a deadline.")
    return lines
