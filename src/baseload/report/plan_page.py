"""The page of a plan, for a person who has read no paper, and the folder it lies in."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from baseload.planner.curves import Chart
from baseload.report import inline_svg
from baseload.report.markup import (
    document,
    facts,
    figure_section,
    footer,
    lines,
    notes,
    policy_legend,
    table,
)
from baseload.report.plan_plots import chart_draws, draw_charts, legend_places
from baseload.report.plan_result import PlanResult
from baseload.report.plan_sections import (
    all_notes,
    all_warnings,
    demand_words,
    headline,
    price_words,
    sections_of,
)
from baseload.report.plan_wording import STANDINGS, duration
from baseload.report.routing_sections import CHARTS, routing_sections
from baseload.report.section import Section
from baseload.report.write import RESULT, write_page

WORDS = (
    ("baseline", "Power that is paid for or produced whether it is used or not."),
    ("auxiliary energy", "What must be bought beyond baseline and store."),
    ("waste", "Baseline energy that nothing could use or store."),
    (
        "critical supply b*",
        "The baseline at which waste and auxiliary energy are equal: the mean demand, a little more"
        " where the store loses. There neither grows by its mean, only by fluctuation.",
    ),
    ("drift theta", "Baseline less mean demand."),
    (
        "variance rate sigma2",
        "How fast the uncertainty of cumulative net energy grows: its variance after a long time,"
        " over that time.",
    ),
    (
        "criticality index y",
        "2 theta B / sigma2 with the store B: between -1 and 1 chance decides, beyond -3 and 3 the"
        " drift does.",
    ),
    ("first and second order", "What the drift costs without chance, and what chance adds to it."),
    *STANDINGS,
)
ROUTING_WORDS = (
    (
        "routing by the store",
        "Which model, at which effort, answers a request depends on how full the store is. Static:"
        " it does not.",
    ),
    (
        "worth of a joule",
        "What one more joule in the store saves in the long run: the price of auxiliary energy when"
        " it is empty, minus that of waste when it is full.",
    ),
)


def write_plan_report(plan: PlanResult, folder: Path | str) -> Path:
    """Write page, plots and ``result.json`` into ``folder`` (made if absent); gives the path of
    the page. Raises ``OutputError``.
    """
    return write_page(
        plan,
        folder,
        result=RESULT,
        draw=lambda plan, draft: draw_charts(plan.charts, draft),
        html=lambda plan, beside: plan_html(plan, beside=beside),
    )


def plan_html(plan: PlanResult, *, beside: Sequence[str] = ()) -> str:
    """The whole page. ``beside`` names files that lie in the same folder, to be linked at the
    foot.
    """
    figures = [(chart, _figure(place, chart)) for place, chart in enumerate(plan.charts)]
    body = "\n".join(
        [
            _header(plan),
            "<main>",
            notes(all_warnings(plan)),
            *(figure for chart, figure in figures if chart.name not in CHARTS),
            *(_section(section) for section in sections_of(plan)),
            *_routing(plan, [figure for chart, figure in figures if chart.name in CHARTS]),
            _facts(plan),
            facts("Words", WORDS if plan.routing is None else (*ROUTING_WORDS, *WORDS)),
            "</main>",
            footer(plan.version, beside),
        ]
    )
    return document(f"Baseload: plan of {plan.name}", body)


def _header(plan: PlanResult) -> str:
    sub = f"{demand_words(plan)}. Prices: {price_words(plan.prices)}."
    sub = sub[0].upper() + sub[1:]
    return (
        f'<header><h1>Plan of {escape(plan.name)}</h1><p class="sub">{escape(sub)}</p>'
        f'<p class="headline">{escape(headline(plan))}</p></header>'
    )


def _figure(place: int, chart: Chart) -> str:
    """A chart under what there is to see in it."""
    draws = chart_draws(chart)
    svgs = inline_svg.panel_svgs(draws, prefix=f"f{place}", alt=[chart.title] * len(draws))
    names = legend_places(chart)
    legend = policy_legend([name for name, _ in names], [at for _, at in names]) if names else ""
    reading = chart.note[:1].upper() + chart.note[1:] + "." if chart.note else ""
    if any(any(dots.error) for dots in chart.dots):
        reading += " Dots: simulated, with two standard errors to each side."
    return figure_section(chart.title, reading.strip(), legend, svgs)


def _routing(plan: PlanResult, figures: Sequence[str]) -> list[str]:
    """The part on routing: its first table with what it says in words, its charts, the others."""
    if plan.routing is None:
        return []
    tables = [_section(section) for section in routing_sections(plan.routing)]
    return [*tables[:1], *figures, *tables[1:]]


def _section(section: Section) -> str:
    """A table of the plan."""
    body = []
    last = len(section.heads) - 1
    for row in section.rows:
        cells = [
            f'<td class="words">{lines(cell)}</td>' if at == last else f"<td>{lines(cell)}</td>"
            for at, cell in enumerate(row)
            if at
        ]
        body.append(f'<tr><th scope="row">{escape(row[0].strip())}</th>{"".join(cells)}</tr>')
    rows = table(section.words, list(section.heads), body, wide=True)
    return f"<section><h2>{escape(section.title)}</h2>{rows}</section>"


def _facts(plan: PlanResult) -> str:
    """What the plan rests on."""
    rows = [
        ("plan of", plan.name),
        ("horizon", duration(plan.horizon_s)),
        ("trace", f"{plan.demand.name}, {duration(plan.demand.span_s)}"),
        ("prices", price_words(plan.prices)),
        ("baseload version", plan.version),
        ("schema of result.json", plan.schema),
        *((f"note {place}", note) for place, note in enumerate(all_notes(plan), start=1)),
    ]
    return facts("What this rests on", rows)
