"""The terminal table of a simulation: one row a policy, readable at 100 columns and in a pipe."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from baseload.report import wording
from baseload.report.caps_table import caps_parts
from baseload.report.columns import PIPE_WIDTH, Column, fitting, set_table, widths
from baseload.report.cost_table import cost_parts
from baseload.report.figures import (
    DISTINGUISHABLE_FRAC,
    Comparison,
    Row,
    bound_mj_per_hour,
    compare,
    headline,
)
from baseload.report.supply_table import supply_parts
from baseload.simulator.results import Simulation


def _number(value: float | None, digits: int = 3) -> str:
    return wording.number(value, digits, missing="-")


def _ms(value_s: float | None) -> str:
    return _number(None if value_s is None else value_s * 1000.0)


def _percent(frac: float | None) -> str:
    return wording.percent(frac, unit="", missing="-").replace(wording.MINUS, "-")


def _change(row: Row) -> str:
    if row.is_baseline:
        return "base"
    text = wording.change(row.change_frac, unit="", minus="-", missing="-")
    if row.change_interval is None:
        return text
    low, high = row.change_interval
    return f"{text} ±{(high - low) / 2.0 * 100.0:.1f}"


ENERGY_COLUMNS = (
    Column(
        heading="energy\nMJ/h",
        text=lambda row: _number(row.result.energy_mj_per_hour),
        least=lambda row: row.result.energy_mj_per_hour,
    ),
    Column(heading="change\n%", text=_change),
    Column(
        heading="per\nreq J",
        text=lambda row: _number(row.result.energy_j_per_request),
        least=lambda row: row.result.energy_j_per_request,
    ),
    Column(
        heading="per\ntok J",
        text=lambda row: _number(row.result.energy_j_per_output_token),
        least=lambda row: row.result.energy_j_per_output_token,
    ),
    Column(
        heading="idle\n%", text=lambda row: _percent(row.idle_frac), least=lambda row: row.idle_frac
    ),
    Column(
        heading="x\nbound",
        text=lambda row: _number(row.result.energy_over_bound),
        least=lambda row: row.result.energy_over_bound,
        present=lambda row: row.result.energy_over_bound is not None,
    ),
    Column(
        heading="asleep\nhours",
        text=lambda row: _number(row.result.parked_hours),
        present=lambda row: row.result.parked_hours > 0,
    ),
    Column(
        heading="\nwakes",
        text=lambda row: wording.count(row.result.wakes),
        present=lambda row: row.result.parked_hours > 0,
    ),
)
SERVICE_COLUMNS = (
    Column(
        heading="TTFT\np50",
        text=lambda row: _ms(row.result.ttft_s.p50),
        least=lambda row: row.result.ttft_s.p50,
    ),
    Column(
        heading="[ms]\np99",
        text=lambda row: _ms(row.result.ttft_s.p99),
        least=lambda row: row.result.ttft_s.p99,
    ),
    Column(
        heading="TPOT\np50",
        text=lambda row: _ms(row.result.tpot_s.p50),
        least=lambda row: row.result.tpot_s.p50,
    ),
    Column(
        heading="[ms]\np99",
        text=lambda row: _ms(row.result.tpot_s.p99),
        least=lambda row: row.result.tpot_s.p99,
    ),
    Column(
        heading="E2E\np99 s",
        text=lambda row: _number(row.result.e2e_s.p99),
        least=lambda row: row.result.e2e_s.p99,
    ),
    Column(
        heading="miss\n%",
        text=lambda row: _percent(row.result.miss_frac),
        least=lambda row: row.result.miss_frac,
    ),
    Column(
        heading="right\n%",
        text=lambda row: _percent(row.result.quality_frac),
        least=lambda row: None if row.result.quality_frac is None else -row.result.quality_frac,
        present=lambda row: row.result.quality_frac is not None,
    ),
    Column(
        heading="re-\nfused",
        text=lambda row: wording.count(row.result.refused),
        present=lambda row: row.result.refused > 0,
    ),
    Column(heading="used\n%", text=lambda row: _percent(row.utilization_frac)),
)

LEGEND = (
    "Energy of GPUs, idle too. TTFT: until the first token, TPOT: per further token, E2E: whole "
    "answer.",
    "p99: 99 of 100 did at least as well. miss: broke a deadline. used: time with work. Best "
    "in bold.",
)


def print_table(
    simulation: Simulation, *, console: Console | None = None, baseline: str | None = None
) -> None:
    """Print header, table, legend, notes and the headline of ``simulation`` to ``console``
    (standard output).

    Raises ``UnknownNameError`` for a ``baseline`` that was not simulated. Numbers are never cut:
    where the table is wider than the console it is printed in two parts.
    """
    console = console or Console()
    width = console.width if console.is_terminal else max(console.width, PIPE_WIDTH)
    comparison = compare(simulation, baseline=baseline)
    console.width = width
    for part in _parts(comparison, width):
        console.print(part, crop=False)


def table_text(
    simulation: Simulation, *, width: int = PIPE_WIDTH, baseline: str | None = None
) -> str:
    """What ``print_table`` prints, without colour, ``width`` columns wide."""
    out = io.StringIO()
    print_table(
        simulation,
        console=Console(file=out, width=width, color_system=None, force_terminal=True),
        baseline=baseline,
    )
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _parts(comparison: Comparison, width: int) -> list[RenderableType]:
    texts = [Text(line, style="dim") for line in (*LEGEND, *_notes(comparison))]
    return [
        _header(comparison),
        *_tables(comparison, width),
        *_below(supply_parts(comparison)),
        *cost_parts(comparison, width),
        *_below(caps_parts(comparison)),
        Text(""),
        Group(*texts),
        Text(""),
        Text(headline(comparison)),
    ]


def _below(found: Sequence[RenderableType]) -> list[RenderableType]:
    """A further table with an empty line before it, where there is one."""
    return [Text(""), *found] if found else []


def _tables(comparison: Comparison, width: int) -> list[RenderableType]:
    """One table, as loosely set as the width allows; two where even the tightest is too wide."""
    energy, service = (
        tuple(column for column in columns if any(map(column.present, comparison.rows)))
        for columns in (ENERGY_COLUMNS, SERVICE_COLUMNS)
    )
    every = (*energy, *service)
    for gap in (3, 2, 1):
        if sum(widths(comparison.rows, every)) + gap * len(every) <= width:
            return [Text(""), set_table(comparison.rows, every, gap=gap)]
    groups = [
        *fitting(comparison.rows, energy, width),
        *fitting(comparison.rows, service, width),
    ]
    tables = (set_table(comparison.rows, group, gap=2) for group in groups)
    return [part for table in tables for part in (Text(""), table)]


def _header(comparison: Comparison) -> Text:
    simulation = comparison.simulation
    trace, seeds = simulation.trace, len(simulation.seeds)
    text = Text()
    text.append(simulation.scenario, style="bold")
    text.append(f"  {trace.name}: {wording.count(trace.requests)} requests in ")
    text.append(f"{wording.duration(trace.span_s)}, {seeds} seed{'s' if seeds != 1 else ''}")
    if simulation.offered_load_frac is not None:
        text.append(f", offered load {wording.percent(simulation.offered_load_frac)}")
    if simulation.parking:
        text.append(", replicas may sleep under every policy")
    if simulation.forecast != "online":
        text.append(f", length forecast {simulation.forecast}")
    for row in simulation.fleet:
        error = "" if row.error_frac is None else f", energy ±{wording.percent(row.error_frac, 2)}"
        replicas = f"{row.replicas} x {row.type}"
        text.append(f"\n  {replicas}  {row.model} on {row.gpus} {row.device} ({row.method}{error})")
    return text


def _notes(comparison: Comparison) -> list[str]:
    """Words below the table: what its columns are, then the remarks of the simulation."""
    simulation = comparison.simulation
    lines = []
    if len(comparison.rows) > 1:
        words = f"change: energy against {comparison.baseline.label}"
        if len(simulation.seeds) > 1:
            words += f", ± half the 95 % interval over {len(simulation.seeds)} seeds"
        limit = wording.percent(DISTINGUISHABLE_FRAC, 2)
        lines.append(f"{words}; below about {limit} it is within the model's error.")
    bound = bound_mj_per_hour(simulation)
    if bound is not None:
        lines.append(
            f"x bound: times the least that any schedule could use for these requests, "
            f"{wording.number(bound)} MJ/h."
        )
    if any(row.result.parked_hours > 0 for row in comparison.rows):
        lines.append("asleep: replica-hours asleep or off. wakes: how often one came back.")
    return [*lines, *(f"note: {note}" for note in simulation.notes)]
