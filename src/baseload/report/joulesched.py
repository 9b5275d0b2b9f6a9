"""The JouleSched note beside its own model and beside measured physics: table, page section, plot.

Everything here reads ``Simulation.joulesched``; a simulation without it has no such table, and the
functions give nothing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from html import escape
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from baseload.report import inline_svg, palette, wording
from baseload.simulator.joulesched_records import ImpossibleClaim, JouleSchedStudy, StudyFigure
from baseload.simulator.results import PolicyResult, Simulation

Axes = Any

TITLE = "The JouleSched note: published, its own model, and physics"
LEGEND = (
    "published: clawrxiv 2604.02034. own model: its formulas (constant speed, joules per token),",
    "all constants chosen by search. physics: the fleet above, with batches and idle power.",
)


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A figure: its words, how a value looks, and where a measured result has it."""

    words: str
    text: Callable[[float | None], str]
    measured: Callable[[PolicyResult], float | None]


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table, as text; ``first`` begins a new scheduler."""

    scheduler: str
    figure: str
    published: str
    obtained: str
    measured: str
    first: bool


def _ms(value_s: float | None) -> str:
    return wording.number(None if value_s is None else 1000.0 * value_s, 3)


def _mj(value: float | None) -> str:
    return wording.number(value, 4)


def _of_device(values: dict[str, float], start: str) -> float | None:
    """The value of the first device whose name begins with ``start``."""
    return next((value for name, value in values.items() if name.startswith(start)), None)


KINDS: dict[str, Kind] = {
    "energy_mj_per_hour": Kind(
        words="energy [MJ/h]", text=_mj, measured=lambda one: one.energy_mj_per_hour
    ),
    "latency_s_p50": Kind(words="latency p50 [ms]", text=_ms, measured=lambda one: one.e2e_s.p50),
    "latency_s_p99": Kind(words="latency p99 [ms]", text=_ms, measured=lambda one: one.e2e_s.p99),
    "miss_frac": Kind(
        words="deadlines missed", text=wording.percent, measured=lambda one: one.miss_frac
    ),
    "utilization_frac_h100": Kind(
        words="H100 utilisation",
        text=wording.percent,
        measured=lambda one: _of_device(one.utilization_by_device, "H100"),
    ),
    "bulk_share_frac_l4": Kind(
        words="bulk that runs on L4",
        text=wording.percent,
        measured=lambda one: _of_device(one.bulk_share_by_device, "L4"),
    ),
}


def lines_of(simulation: Simulation) -> list[Line]:
    """The table: each figure of each scheduler, published, obtained, and under measured physics
    where a policy of that name was simulated.
    """
    study = simulation.joulesched
    if study is None:
        return []
    ran = {one.policy: one for one in simulation.policies}
    lines: list[Line] = []
    for figure in study.figures:
        kind, one = KINDS[figure.figure], ran.get(figure.scheduler)
        lines.append(
            Line(
                scheduler=figure.scheduler,
                figure=kind.words,
                published=kind.text(figure.published),
                obtained=_with_interval(kind, figure),
                measured=kind.text(None if one is None else kind.measured(one)),
                first=not lines or lines[-1].scheduler != figure.scheduler,
            )
        )
    return lines


def _with_interval(kind: Kind, figure: StudyFigure) -> str:
    if figure.interval is None:
        return kind.text(figure.obtained)
    low, high = figure.interval
    if kind.text(low) == kind.text(high):
        return kind.text(figure.obtained)
    return f"{kind.text(figure.obtained)} ({kind.text(max(0.0, low))} to {kind.text(high)})"


def claim_text(claim: ImpossibleClaim) -> str:
    """One statement that cannot hold, in one sentence."""
    bound = {"most": "at most", "least": "at least", "exact": "it is"}[claim.bound]
    unit = "" if claim.unit == "ratio" else f" {claim.unit}"
    times = wording.number(claim.ratio, 3)
    return (
        f"{claim.claim}: {wording.number(claim.claimed, 4)}{unit}; "
        f"{bound} {wording.number(claim.possible, 4)}{unit} "
        f"({times} times). {claim.reason} [{claim.source}]."
    )


def findings(simulation: Simulation) -> list[str]:
    """The study in words: the saving, its bound, and what measured physics leave of it."""
    study = simulation.joulesched
    if study is None:
        return []
    saving = study.saving
    said = [
        f"Saving against round robin: published {wording.percent(saving.published_frac)}, in its "
        f"own model {wording.percent(saving.obtained_frac)}{_range(saving.interval)} at "
        f"{_misses(study)}; against "
        f"least loaded {wording.percent(saving.published_against_least_loaded_frac)} and "
        f"{wording.percent(saving.obtained_against_least_loaded_frac)}. With idle power in the "
        f"same proportion as measured boards: {wording.percent(saving.idle_frac)}.",
        "Of that, routing by the earliest end, which knows nothing of joules, saves "
        f"{wording.percent(saving.least_eta_frac)} with the same constants.",
        "Its statements together allow at most "
        f"{wording.percent(study.largest_saving.saving_frac)} "
        f"({wording.percent(study.largest_saving_without_l4.saving_frac)} without what it says of "
        "bulk on L4): energy is shares of tokens times joules per token, and H100 utilisation of "
        f"72 to 89 % moves few tokens.{_needed(study)}",
    ]
    return [*said, *_measured_saving(simulation)]


def _misses(study: JouleSchedStudy) -> str:
    """How often deadlines were missed in the model, with and without the saving."""
    missed = {one.scheduler: one.obtained for one in study.figures if one.figure == "miss_frac"}
    ours, base = (wording.percent(missed[name]) for name in ("joulesched", "round_robin"))
    return f"{ours} missed deadlines (round robin {base})"


def _needed(study: JouleSchedStudy) -> str:
    if study.needed_energy_ratio is None:
        return ""
    ratio = wording.number(study.needed_energy_ratio)
    return f" Joules per token would have to differ {ratio} times, where the note says 2 to 4."


def _range(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return ""
    return f" ({wording.percent(interval[0])} to {wording.percent(interval[1])})"


def _measured_saving(simulation: Simulation) -> list[str]:
    """What the policies save under measured physics against round robin."""
    ran = {one.policy: one for one in simulation.policies}
    base = ran.get("round_robin")
    if base is None or base.energy_j <= 0:
        return []
    saved = [
        f"{name} {wording.change(one.energy_j / base.energy_j - 1)}"
        for name, one in ran.items()
        if one is not base
    ]
    return (
        [f"Energy under measured physics against round robin: {wording.listing(saved)}."]
        if saved
        else []
    )


def carbon_text(study: JouleSchedStudy) -> str:
    """The carbon line with the right arithmetic."""
    carbon = study.carbon
    return (
        f"Carbon: {wording.number(carbon.saving_mj_per_hour)} MJ/h / 3.6 x 8,760 h x 0.42 kg/kWh = "
        f"{wording.number(carbon.mass_kg / 1e3)} t a year; the note says "
        f"{wording.number(carbon.published_kg / 1e3, 4)} t, which is what comes out without "
        "dividing by 3.6."
    )


def constants_text(study: JouleSchedStudy) -> list[str]:
    """The chosen constants, a line a device and one for the rest."""
    fleet, chosen = study.constants.fleet, study.constants
    rows = [
        f"{group.devices} x {group.device}: {wording.number(group.tokens_per_s)} tokens/s, "
        f"{wording.number(group.energy_j_per_token)} J/token "
        f"({wording.power(group.tokens_per_s * group.energy_j_per_token)} when busy)"
        for group in fleet.groups
    ]
    interactive, bulk = (wording.duration(value) for value in fleet.deadline_s)
    control = fleet.control
    rest = (
        f"{wording.number(chosen.requests_per_s)} requests/s of "
        f"{wording.number(chosen.mean_tokens)} tokens; deadlines {interactive}, bulk {bulk}; "
        f"PI every {wording.duration(control.interval_s)}, "
        f"Kp {wording.number(control.kp_j_per_s)} J/s, "
        f"Ki {wording.number(control.ki_j_per_s)} J/s; token estimate off by "
        f"{wording.percent(fleet.forecast_mae_frac)}"
    )
    return [f"chosen: {'; '.join(rows)}.", f"chosen: {rest}."]


def print_joulesched(simulation: Simulation, *, console: Console | None = None) -> None:
    """Print table, findings, carbon line and what cannot be true; nothing without a study."""
    study = simulation.joulesched
    if study is None:
        return
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, 100)
    console.print(Text(f"\n{TITLE}", style="bold"))
    console.print(Text(_scope(study), style="dim"))
    console.print(_table(lines_of(simulation)), crop=False)
    for line in (*LEGEND, *constants_text(study)):
        console.print(Text(line, style="dim"))
    console.print()
    for line in (*findings(simulation), carbon_text(study)):
        console.print(Text(line))
    console.print(Text("\nWhat cannot be true:"))
    for claim in study.impossible:
        console.print(Text(f"- {claim_text(claim)}"))


def joulesched_text(simulation: Simulation, *, width: int = 100) -> str:
    """What ``print_joulesched`` prints, without colour, ``width`` columns wide."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=True)
    print_joulesched(simulation, console=console)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _scope(study: JouleSchedStudy) -> str:
    seeds = len(study.seeds)
    text = f"own model: {wording.count(round(study.requests))} requests a seed, "
    text += f"{seeds} seed{'s' if seeds != 1 else ''}"
    if study.time_lapse > 1:
        text += f", a day in time lapse (1:{wording.number(study.time_lapse)})"
    return text


def _table(lines: list[Line]) -> Table:
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=False, header_style="bold")
    table.add_column("scheduler")
    table.add_column("figure")
    for head in ("published", "own model (95 %)", "physics"):
        table.add_column(head, justify="right", no_wrap=True)
    for line in lines:
        name = line.scheduler if line.first else ""
        cells = (name, line.figure, line.published, line.obtained, line.measured)
        table.add_row(*map(Text, cells))
    return table


def joulesched_section(simulation: Simulation) -> str:
    """The section of the page; empty without a study."""
    study = simulation.joulesched
    if study is None:
        return ""
    body = "".join(
        f'<tr><th scope="row">{escape(line.scheduler if line.first else "")}</th>'
        f'<td class="words">{escape(line.figure)}</td><td>{escape(line.published)}</td>'
        f"<td>{escape(line.obtained)}</td><td>{escape(line.measured)}</td></tr>"
        for line in lines_of(simulation)
    )
    heads = "".join(
        f'<th scope="col"{side}>{escape(head)}</th>'
        for head, side in (
            ("scheduler", ' class="words"'),
            ("figure", ' class="words"'),
            ("published", ""),
            ("own model (95 % interval)", ""),
            ("physics", ""),
        )
    )
    said = "".join(f"<p>{escape(text)}</p>" for text in findings(simulation))
    claims = "".join(f"<li>{escape(claim_text(claim))}</li>" for claim in study.impossible)
    chosen = "".join(f'<p class="small">{escape(text)}</p>' for text in constants_text(study))
    reading = "Energy relative to round robin: what the note says and what comes out."
    svg = inline_svg.panel_svgs([energy_panel(simulation)], prefix="js", alt=[reading])[0]
    return (
        f"<section><h2>{escape(TITLE)}</h2>"
        f'<p class="small">{escape(" ".join(LEGEND))} {escape(_scope(study))}.</p>'
        '<div class="scroll wide" tabindex="0" role="region" aria-label="table"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>{said}"
        f"<figure><figcaption>{escape(reading)}</figcaption>"
        f'<div class="panels">{svg}</div></figure>'
        f"<p>{escape(carbon_text(study))}</p><h3>What cannot be true</h3><ul>{claims}</ul>"
        f"{chosen}</section>"
    )


def energy_panel(simulation: Simulation) -> Callable[[Axes], None]:
    """Energy of each scheduler over that of round robin: published, own model, measured physics."""
    series = _ratios(simulation)

    def draw(axes: Axes) -> None:
        schedulers = list(dict.fromkeys(name for _, values in series for name in values))
        high = 0.8 / max(1, len(series))
        for place, (words, values) in enumerate(series):
            for at, name in enumerate(schedulers):
                if name not in values:
                    continue
                height = at + (place - (len(series) - 1) / 2) * high
                color = palette.policy_color(place)
                label = words if at == 0 else None
                axes.barh(height, values[name], height=high * 0.9, color=color, label=label)
                axes.annotate(
                    f"{words} {values[name]:.3f}",
                    (values[name], height),
                    xytext=(-4, 0),
                    textcoords="offset points",
                    ha="right",
                    va="center",
                    fontsize=7.5,
                    color="white",
                )
        axes.set_yticks(range(len(schedulers)), schedulers)
        axes.set_ylim(len(schedulers) - 0.5, -0.5)
        axes.set_xlim(0, 1.05 * max(1.0, *(max(values.values()) for _, values in series)))
        axes.grid(False, axis="y")
        axes.set_xlabel("energy relative to round robin")

    return draw


def _ratios(simulation: Simulation) -> list[tuple[str, dict[str, float]]]:
    """Energy over round robin's by scheduler, for the published, the obtained and the measured."""
    study = simulation.joulesched
    assert study is not None
    energies = [figure for figure in study.figures if figure.figure == "energy_mj_per_hour"]
    said = {one.scheduler: one.published for one in energies if one.published is not None}
    made = {one.scheduler: one.obtained for one in energies}
    real = {one.policy: one.energy_mj_per_hour for one in simulation.policies if one.policy in made}
    found = []
    for words, values in (("published", said), ("own model", made), ("physics", real)):
        base = values.get("round_robin")
        if base:
            found.append((words, {name: value / base for name, value in values.items()}))
    return found
