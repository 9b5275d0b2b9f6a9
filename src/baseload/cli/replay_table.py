"""The figures of a replay in the terminal, and its requests as Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from baseload.report.columns import PIPE_WIDTH
from baseload.report.wording import count, duration, number, percent

if TYPE_CHECKING:
    from baseload.gateway.load.figures import ReplayResult, Spread, TierFigures
    from baseload.gateway.load.run import Outcome


def print_replay(result: ReplayResult, *, console: Console | None = None) -> None:
    """Print header, table by tier, tokens, energy, failures and remarks to ``console`` (standard
    output).
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PIPE_WIDTH)
    console.print(_header(result), crop=False, soft_wrap=True)
    console.print("")
    console.print(_table(result), crop=False)
    console.print("")
    for line in [*_tokens(result), *_energy(result), *_shares(result), *_failures(result)]:
        console.print(Text(line), crop=False, soft_wrap=True)
    for note in [
        "Latencies count from when a request was due. TTFT: until the first token, TPOT: per"
        " further token, E2E: whole answer; p99: 99 of 100 did at least as well.",
        *(f"note: {note}" for note in result.notes),
    ]:
        console.print(Text(note, style="dim"), crop=False, soft_wrap=True)


def _header(result: ReplayResult) -> Text:
    trace, asked = result.trace, result.asked
    text = Text()
    text.append(trace.name, style="bold")
    text.append(f"  {count(trace.requests)} requests in {duration(trace.span_s)}")
    text.append(f" ({number(trace.rate_per_s)} a second) to {asked.url}, model {asked.model}")
    if asked.effort is not None:
        text.append(f", effort {asked.effort}")
    if not asked.stream:
        text.append(", not streamed")
    return text


def _table(result: ReplayResult) -> Table:
    """One row a tier, and one for all where there are several."""
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
    heads = ("\ntier", "\nsent", "\nfailed", "miss\n%")
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", no_wrap=True)
    for name, unit in (("TTFT", "ms"), ("TPOT", "ms"), ("E2E", "s")):
        for place, column in enumerate(("p50", "p90", "p99")):
            above = f"{name} {unit}" if not place else ""
            table.add_column(f"{above}\n{column}", justify="right", no_wrap=True)
    rows = result.tiers if len(result.tiers) == 1 else [*result.tiers, result.total]
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: TierFigures) -> list[str]:
    cells = [row.name, count(row.sent), count(row.failed)]
    cells.append(percent(row.miss_frac, unit="", missing="-"))
    for spread, factor in ((row.ttft_s, 1000.0), (row.tpot_s, 1000.0), (row.e2e_s, 1.0)):
        cells += [_scaled(value, factor) for value in _three(spread)]
    return cells


def _three(spread: Spread) -> tuple[float | None, float | None, float | None]:
    return spread.p50, spread.p90, spread.p99


def _scaled(value: float | None, factor: float) -> str:
    return number(None if value is None else value * factor, missing="-")


def _tokens(result: ReplayResult) -> list[str]:
    words = (
        f"{count(result.total.answered)} answers in {duration(result.wall_s)}:"
        f" {number(result.requests_per_s)} a second,"
        f" {number(result.output_tokens_per_s)} tokens a second;"
        f" {count(result.input_tokens)} tokens in, {count(result.output_tokens)} out"
    )
    if result.reasoning_tokens:
        words += f", {count(result.reasoning_tokens)} of them thinking"
    late = f"sent late: p99 {_scaled(result.late_s.p99, 1000.0)} ms"
    return [words + ".", f"The client itself: {late}, {percent(result.client_cpu_frac)} of a CPU."]


def _energy(result: ReplayResult) -> list[str]:
    energy, lines = result.energy, []
    if energy.energy_j is not None:
        how = f" ({', '.join(energy.methods)})" if energy.methods else ""
        words = (
            f"Energy told in {count(energy.answers_with)} answers{how}: {number(energy.energy_j)}"
            f" J, {number(energy.energy_j_per_request)} J a request,"
            f" {number(energy.energy_j_per_output_token)} J an output token"
        )
        if energy.carbon_g is not None:
            words += f", {number(energy.carbon_g)} gCO2e"
        lines.append(words + ".")
    for name, joules in energy.metered_j.items():
        lines.append(f"Metered over the run: {name} {number(joules)} J.")
    return lines


def _shares(result: ReplayResult) -> list[str]:
    """Who answered, where the answers say it."""
    whole = max(1, result.total.answered)
    words = [f"{name} {percent(n / whole)}" for name, n in list(result.models.items())[:8]]
    return [f"Answered by: {', '.join(words)}."] if words else []


def _failures(result: ReplayResult) -> list[str]:
    return [
        f"failed: {row.kind}, {count(row.count)} times; the first: {row.example}"
        for row in result.failures
    ]


def write_requests(outcomes: Sequence[Outcome], path: Path) -> None:
    """One row for each request that was sent, as Parquet; columns as in docs/reference/replay.md.
    Raises ``OutputError``.
    """
    import polars as pl

    from baseload.base.units import NS_PER_S
    from baseload.sources.files import write_whole

    instants = ("due", "sent", "first", "last", "end")
    columns: dict[str, list[object]] = {"number": [each.number for each in outcomes]}
    for name in instants:
        values = [getattr(each, f"{name}_ns") for each in outcomes]
        columns[f"{name}_s"] = [None if value == -1 else value / NS_PER_S for value in values]
    for name in ("input_tokens", "output_tokens", "reasoning_tokens"):
        values = [getattr(each, name) for each in outcomes]
        columns[name] = [None if value < 0 else value for value in values]
    for name in ("asked_tokens", "energy_j", "kind", "tier", "model", "effort", "replica"):
        columns[name] = [getattr(each, name) for each in outcomes]
    schema = {"energy_j": pl.Float64} | {f"{name}_s": pl.Float64 for name in instants}
    buffer = io.BytesIO()
    pl.DataFrame(columns, schema_overrides=schema).write_parquet(buffer, compression="zstd")
    write_whole(path, buffer.getvalue())
