"""One self-contained HTML page about a simulation, for a person who has read no paper.

No script, no request to anywhere: style and drawings are in the page. Every text that a user could
have chosen is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

from baseload.report import course_plots, inline_svg, palette, plots, readings, why, wording
from baseload.report.caps_table import caps_section
from baseload.report.cost_section import cost_section
from baseload.report.diary_section import diary_section
from baseload.report.figures import (
    Comparison,
    Row,
    bound_mj_per_hour,
    compare,
    headline,
)
from baseload.report.joulesched import joulesched_section
from baseload.report.markup import (
    document,
    facts,
    figure_section,
    footer,
    lines,
    notes,
    policy_legend,
    swatch,
    table,
)
from baseload.report.supply_section import supply_section
from baseload.simulator.results import FleetRow, Simulation

Panels = tuple[str, str, str, Sequence[plots.Draw], Sequence[str]]
"""A section of drawings: title, reading, legend (HTML), panels, and what each shows."""

Cell = tuple[str, Callable[[Row], str], Callable[[Row], float | None] | None]

UNCERTAINTY = (
    ("GPU power meters", "±5 %", "common to all policies; does not average out"),
    ("power model, H100", "±6 %", "dense models; mixtures of experts ±11 %"),
    (
        "power model, A100",
        "±9 to ±20 %",
        "rows of an older engine, or carried over to the 80 GB board",
    ),
    ("power model, L4 and H200", "±35 %", "assumed from data sheets, no measured rows"),
    ("time of a step", "±5 %", "one engine version; another version may differ by a factor of two"),
)
"""What the error of an energy figure is made of (docs/explanation/energy-accounting.md)."""


def page_html(
    simulation: Simulation, *, baseline: str | None = None, beside: Sequence[str] = ()
) -> str:
    """The whole page. ``beside`` names files that lie in the same folder, to be linked at the foot.

    Raises ``UnknownNameError`` for a ``baseline`` that was not simulated.
    """
    comparison = compare(simulation, baseline=baseline)
    body = "\n".join(
        [
            _header(comparison),
            "<main>",
            notes(simulation.notes),
            _results(comparison),
            supply_section(comparison),
            cost_section(comparison),
            diary_section(comparison),
            caps_section(comparison),
            _why(comparison),
            _figures(comparison),
            _devices(comparison),
            joulesched_section(simulation),
            provenance(simulation.fleet, _ledger(comparison)),
            _scenario(comparison),
            facts("Words", wording.GLOSSARY),
            "</main>",
            footer(simulation.version, beside),
        ]
    )
    return document(f"Baseload: {simulation.scenario}", body)


def _header(comparison: Comparison) -> str:
    simulation = comparison.simulation
    trace, seeds = simulation.trace, len(simulation.seeds)
    gpus = sum(row.gpus for row in simulation.fleet)
    sub = (
        f"{wording.count(trace.requests)} requests of {trace.name} in "
        f"{wording.duration(trace.span_s)}, "
        f"replayed on a simulated fleet of {wording.count(gpus)} GPUs"
    )
    if seeds > 1:
        sub += f", {seeds} times with different random numbers"
    return (
        f'<header><h1>{escape(simulation.scenario)}</h1><p class="sub">{escape(sub)}</p>'
        f'<p class="headline">{escape(headline(comparison))}</p></header>'
    )


def _ms(value_s: float | None) -> str:
    return wording.number(None if value_s is None else value_s * 1000.0)


def _change(row: Row) -> str:
    if row.is_baseline:
        return "baseline"
    text = wording.change(row.change_frac)
    if row.change_interval is not None:
        low, high = row.change_interval
        low_text, high_text = wording.change(low, unit=""), wording.change(high, unit="")
        text += f"\n({low_text} to {high_text})"
    return text


RESULT_CELLS: tuple[Cell, ...] = (
    (
        "energy\n[MJ/h]",
        lambda row: wording.number(row.result.energy_mj_per_hour),
        lambda row: row.result.energy_mj_per_hour,
    ),
    ("change of\nenergy", _change, None),
    (
        "per\nrequest\n[J]",
        lambda row: wording.number(row.result.energy_j_per_request),
        lambda row: row.result.energy_j_per_request,
    ),
    (
        "per output\ntoken\n[J]",
        lambda row: wording.number(row.result.energy_j_per_output_token),
        lambda row: row.result.energy_j_per_output_token,
    ),
    ("idle\nshare", lambda row: wording.percent(row.idle_frac), lambda row: row.idle_frac),
    (
        "TTFT\np50\n[ms]",
        lambda row: _ms(row.result.ttft_s.p50),
        lambda row: row.result.ttft_s.p50,
    ),
    (
        "TTFT\np99\n[ms]",
        lambda row: _ms(row.result.ttft_s.p99),
        lambda row: row.result.ttft_s.p99,
    ),
    (
        "TPOT\np50\n[ms]",
        lambda row: _ms(row.result.tpot_s.p50),
        lambda row: row.result.tpot_s.p50,
    ),
    (
        "TPOT\np99\n[ms]",
        lambda row: _ms(row.result.tpot_s.p99),
        lambda row: row.result.tpot_s.p99,
    ),
    (
        "E2E\np99\n[s]",
        lambda row: wording.number(row.result.e2e_s.p99),
        lambda row: row.result.e2e_s.p99,
    ),
    (
        "missed",
        lambda row: wording.percent(row.result.miss_frac),
        lambda row: row.result.miss_frac,
    ),
    ("refused", lambda row: wording.count(row.result.refused), None),
    ("utili-\nsation", lambda row: wording.percent(row.utilization_frac), None),
)


BOUND_CELL: Cell = (
    "times the\nbound",
    lambda row: wording.number(row.result.energy_over_bound),
    lambda row: row.result.energy_over_bound,
)
SLEEP_CELLS: tuple[Cell, ...] = (
    ("asleep\n[replica-h]", lambda row: wording.number(row.result.parked_hours), None),
    ("wakes", lambda row: wording.count(row.result.wakes), None),
)


def _cells(comparison: Comparison) -> tuple[Cell, ...]:
    """The columns of the table of results: bound and sleep where any policy has them."""
    cells = RESULT_CELLS
    if any(row.result.energy_over_bound is not None for row in comparison.rows):
        cells = (*cells, BOUND_CELL)
    if any(row.result.parked_hours > 0 for row in comparison.rows):
        cells = (*cells, *SLEEP_CELLS)
    return cells


def _results(comparison: Comparison) -> str:
    cells_shown = _cells(comparison)
    heads = [head for head, _, _ in cells_shown]
    marks = [_best(comparison.rows, text, value) for _, text, value in cells_shown]
    body = []
    for row, place in zip(comparison.rows, plots.places_of(comparison), strict=True):
        cells = []
        for (_, text, _), best in zip(cells_shown, marks, strict=True):
            style = ' class="best"' if text(row) == best else ""
            cells.append(f"<td{style}>{lines(text(row))}</td>")
        name = f"{swatch(place)}{escape(row.label)}"
        body.append(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>')
    caption = (
        "Energy is that of the GPUs, waiting included. Shaded: the best value of a column. "
        "The words are explained at the end of the page."
    )
    bound = bound_mj_per_hour(comparison.simulation)
    if bound is not None:
        caption += (
            f" No schedule could use less than {wording.number(bound)} MJ/h for these requests."
        )
    rows = table(caption, ["policy", *heads], body, wide=True)
    return f"<section><h2>What each policy cost</h2>{rows}</section>"


def _best(
    rows: list[Row], text: Callable[[Row], str], value: Callable[[Row], float | None] | None
) -> str | None:
    if value is None:
        return None
    known = [(found, text(row)) for row in rows if (found := value(row)) is not None]
    return min(known)[1] if len({words for _, words in known}) > 1 else None


def _figures(comparison: Comparison) -> str:
    policies, states = _policy_legend(comparison), _state_legend(plots.states_in_use(comparison))
    one = [f"power over time under {row.label}" for row in comparison.rows]
    latency = readings.latency(comparison)
    energy, trade = readings.energy(comparison), readings.trade(comparison)
    power = readings.power(comparison)
    panels = [
        ("Latency", latency, policies, plots.latency_panels(comparison), [latency] * 2),
        ("Power over time", power, states, plots.power_panels(comparison), one),
        ("Energy per request", energy, states, [plots.energy_panel(comparison)], [energy]),
        ("Energy against latency", trade, "", plots.trade_off_panels(comparison), _trade_alts()),
        *_course(comparison),
    ]
    parts = []
    for place, (title, reading, legend, draws, alts) in enumerate(panels):
        svgs = inline_svg.panel_svgs(draws, prefix=f"f{place}", alt=alts)
        parts.append(figure_section(title, reading, legend, svgs))
    return "\n".join(parts)


def _trade_alts() -> list[str]:
    """What the two scatter plots show."""
    return [
        "energy per request against the 99th percentile of the time per token, one dot a policy",
        "energy per request against the 99th percentile of the whole answer, one dot a policy",
    ]


def _course(comparison: Comparison) -> list[Panels]:
    """Replicas by state, misses and the price of lateness over time, where they were recorded."""
    rows = course_plots.of_interest(comparison)
    found: list[Panels] = []
    if course_plots.has_replicas(comparison):
        legend = _state_legend(course_plots.replica_states(comparison))
        alts = [f"replicas by power state over time under {row.label}" for row in rows]
        reading = readings.replicas(comparison, rows)
        draws = course_plots.replica_panels(comparison)
        found.append(("Replicas over time", reading, legend, draws, alts))
    if course_plots.has_course(comparison):
        places = {
            id(row): at
            for row, at in zip(comparison.rows, plots.places_of(comparison), strict=True)
        }
        legend = policy_legend(
            [plots.short(row.label) for row in rows], [places[id(row)] for row in rows]
        )
        reading = readings.course(rows)
        draws = course_plots.course_panels(comparison)
        alts = course_plots.course_alts(comparison)
        found.append(("Missed deadlines and their price over time", reading, legend, draws, alts))
    return found


def _why(comparison: Comparison) -> str:
    """Where the difference to the baseline comes from: by cause, then by who pays."""
    found = why.changes(comparison)
    if not found:
        return ""
    places = {
        id(row): at for row, at in zip(comparison.rows, plots.places_of(comparison), strict=True)
    }
    tiers = list(dict.fromkeys(tier for change in found for tier in change.by_tier))
    heads = ["policy", "change of\nenergy", *(f"from\n{words}" for words in why.CAUSES.values())]
    heads += [f"paid by\n{tier}" for tier in tiers]
    body = []
    for change in found:
        fracs = [
            change.total_frac,
            *(change.by_cause.get(cause, 0.0) for cause in why.CAUSES),
            *(change.by_tier.get(tier, 0.0) for tier in tiers),
        ]
        cells = "".join(f"<td>{wording.change(frac)}</td>" for frac in fracs)
        name = f"{swatch(places[id(change.row)])}{escape(change.row.label)}"
        body.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    caption = (
        f"All in per cent of the energy of {comparison.baseline.label}; the three causes add up to "
        "the change, and so do those who pay. Fuller batches: the weights are read once a step, "
        "whatever it carries. Placement and work: the rest of the steps, which depends on the "
        "boards that run them. Waiting and sleep: idle, parked, off and waking replicas, which no "
        "request pays for."
    )
    rows = table(caption, heads, body, wide=True)
    words = escape(why.cause_words(found, comparison))
    return f"<section><h2>Where the difference comes from</h2>{rows}<p>{words}</p></section>"


def _policy_legend(comparison: Comparison) -> str:
    names = [plots.short(row.label) for row in comparison.rows]
    return policy_legend(names, plots.places_of(comparison))


def _state_legend(states: Sequence[str]) -> str:
    items = (
        f'<li><span class="block" style="background:var(--s-{state})" aria-hidden="true"></span>'
        f"{escape(palette.STATE_WORDS[state])}</li>"
        for state in states
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def _devices(comparison: Comparison) -> str:
    heads = [
        "policy",
        "device",
        "utilisation",
        "mean batch",
        "bulk share",
        "energy [MJ]",
        "share of\nenergy",
    ]
    body = []
    for row in comparison.rows:
        result = row.result
        devices = sorted({*result.utilization_by_device, *result.energy_j_by_device})
        for device in devices:
            energy_j = result.energy_j_by_device.get(device)
            share = (
                energy_j / result.energy_j if energy_j is not None and result.energy_j > 0 else None
            )
            cells = (
                wording.percent(result.utilization_by_device.get(device)),
                wording.number(result.mean_batch_by_device.get(device)),
                wording.percent(result.bulk_share_by_device.get(device)),
                wording.number(None if energy_j is None else energy_j / 1e6),
                wording.percent(share),
            )
            body.append(
                f'<tr><th scope="row">{escape(row.label)}</th><td '
                f'class="words">{escape(device)}</td>'
                f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
            )
    if not body:
        return ""
    return f"<section><h2>By device</h2>{table('', heads, body)}</section>"


def provenance(fleet: Sequence[FleetRow], books: str = "") -> str:
    """How the numbers of a page came about, of which error; ``books``: what the check of the sums
    gave.
    """
    rows = [
        f'<tr><th scope="row">{escape(row.type)}</th><td class="words">{escape(row.device)}</td>'
        f'<td class="words">{escape(row.model)}</td><td>{row.replicas}</td><td>{row.gpus}</td>'
        f'<td class="words">{escape(row.method)}</td>'
        f"<td>{'' if row.error_frac is None else '±'}{wording.percent(row.error_frac)}</td></tr>"
        for row in fleet
    ]
    heads = [
        "replica type",
        "device",
        "model",
        "replicas",
        "GPUs",
        "numbers are",
        "error of\nstep energy",
    ]
    budget = [
        f'<tr><th scope="row">{escape(what)}</th><td>{escape(error)}</td><td '
        f'class="words">{escape(why)}</td></tr>'
        for what, error, why in UNCERTAINTY
    ]
    return (
        "<section><h2>How these numbers were obtained</h2>"
        "<p>Nothing on this page was read from a meter while it ran: the requests were replayed "
        "on a "
        "simulated fleet. Each kind of replica is described by eight numbers, which say how long "
        "one step of "
        "its engine takes and how many joules it draws. The table says where those numbers come "
        "from: "
        "<em>measured</em> on that very setting, <em>modelled</em> from measurements of similar "
        "ones, or "
        "<em>assumed</em>. “–” means that a figure is not known; it does not mean zero.</p>"
        f"{table('', heads, rows) if rows else ''}"
        "<p><strong>A difference below about 5 % of GPU energy cannot be told apart from the "
        "error of the "
        "model</strong>, however many seeds are run: an interval over seeds covers chance only. "
        "Errors that "
        "all policies share, such as that of the meters, change the joules but hardly the "
        "ratios.</p>"
        f"{table('', ['source of error', 'size', 'remark'], budget)}"
        "<p>Not counted: host processors, network, cooling and losses of the power supply. The "
        "joules of idle "
        "replicas are counted until the last arrival, so that a policy is not charged for a "
        "fleet that "
        "waits while the last answers finish.</p>"
        f"<p>{escape(books)}</p></section>"
    )


def _ledger(comparison: Comparison) -> str:
    worst = max(abs(row.result.ledger_residual_j) for row in comparison.rows)
    size = "0" if worst == 0 else f"{worst:.1g}"
    return (
        "Check of the books: energy of the fleet minus the sum of all accounts (requests, idle, "
        "parked, off, "
        f"waking) is at most {size} J under any policy."
    )


_PARKING = {
    True: "all: under every policy replicas sleep when the load does not need them",
    False: "none: replicas sleep only where scenario or policy say so",
}


def _scenario(comparison: Comparison) -> str:
    simulation = comparison.simulation
    trace = simulation.trace
    rows: list[tuple[str, str]] = [
        ("scenario", simulation.scenario),
        ("trace", f"{trace.name}, {wording.count(trace.requests)} requests"),
        ("length of the trace", wording.duration(trace.span_s)),
        ("fingerprint of the trace (SHA-256 of its columns)", trace.sha256 or wording.MISSING),
        ("seeds", ", ".join(map(str, simulation.seeds))),
        ("offered load", wording.percent(simulation.offered_load_frac)),
        ("parking", _PARKING[simulation.parking]),
        ("length forecast", simulation.forecast),
        ("baseload version", simulation.version),
        ("schema of result.json", simulation.schema),
    ]
    for tier, promise in simulation.tiers.items():
        rows.append((f"tier {tier}", promise_words(promise)))
    for row in comparison.rows:
        if row.result.parameters:
            said = ", ".join(f"{name} = {value}" for name, value in row.result.parameters.items())
            rows.append((f"parameters of {row.label}", said))
    return facts("Scenario", rows)


def promise_words(promise: Mapping[str, float | None]) -> str:
    """What a tier promises, in words."""
    words = {
        "ttft_s": "first token within",
        "tpot_s": "each further token within",
        "e2e_s": "whole answer within",
    }
    said = [
        f"{words[name]} {wording.duration(value)}"
        for name, value in promise.items()
        if name in words and value is not None
    ]
    target = promise.get("target_miss_frac")
    if said and target is not None:
        said.append(f"at most {wording.percent(target)} may miss")
    return "; ".join(said) or "nothing promised"
