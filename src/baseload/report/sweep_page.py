"""The page of a sweep, for a person who has read no paper, and the folder it lies in."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from baseload.report import inline_svg, plots, sweep_plots, wording
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
from baseload.report.page import promise_words, provenance
from baseload.report.sweep_figures import has_bound, headline, points_at, targets, thriftiest
from baseload.report.write import write_page
from baseload.simulator.sweeps import Sweep, SweepPoint

RESULT = "sweep.json"
_WORDS = (
    (
        "load",
        "What the busiest minutes of the trace ask for, as a share of what the fleet completes "
        "with all seats taken. The trace is multiplied to reach it.",
    ),
)


def write_sweep_report(sweep: Sweep, folder: Path | str) -> Path:
    """Write page, plots and ``sweep.json`` into ``folder`` (made if absent); gives the path of the
    page. Raises ``OutputError``.
    """
    return write_page(
        sweep,
        folder,
        result=RESULT,
        draw=sweep_plots.draw_sweep,
        html=lambda sweep, beside: sweep_html(sweep, beside=beside),
    )


def sweep_html(sweep: Sweep, *, beside: Sequence[str] = ()) -> str:
    """The whole page. ``beside`` names files that lie in the same folder, to be linked at the
    foot.
    """
    body = "\n".join(
        [
            _header(sweep),
            "<main>",
            notes(sweep.notes),
            _figures(sweep),
            _results(sweep),
            provenance(sweep.fleet),
            _scenario(sweep),
            facts("Words", (*_WORDS, *wording.GLOSSARY)),
            "</main>",
            footer(sweep.version, beside),
        ]
    )
    return document(f"Baseload: {sweep.scenario} over load", body)


def _header(sweep: Sweep) -> str:
    gpus = sum(row.gpus for row in sweep.fleet)
    low, high = sweep.loads[0], sweep.loads[-1]
    sub = (
        f"{sweep.trace} at {len(sweep.loads)} loads from {low:g} to {high:g}, "
        f"replayed on a simulated fleet of {wording.count(gpus)} GPUs"
    )
    if len(sweep.seeds) > 1:
        sub += f", {len(sweep.seeds)} times with different random numbers"
    return (
        f'<header><h1>{escape(sweep.scenario)} over load</h1><p class="sub">{escape(sub)}</p>'
        f'<p class="headline">{escape(headline(sweep))}</p></header>'
    )


def _figures(sweep: Sweep) -> str:
    names = [plots.short(policy) for policy in sweep.policies]
    legend = policy_legend(names, range(len(names)))
    hollow = "" if not targets(sweep) else " Hollow marks: more misses than a target allows."
    panels = (
        (
            "Energy and misses against load",
            "Left: lower is thriftier. Right: the dotted line is what a tier's target allows; the "
            f"scale stretches small shares.{hollow}",
            sweep_plots.load_panels(sweep),
            ["energy per answered request against load, one curve a policy",
             "share of requests that missed a deadline against load, one curve a policy"],
        ),
        (
            "Energy against latency",
            "Lower left is better. A curve joins the loads of one policy; the numbers at its ends "
            f"are the lowest and the highest load.{hollow}",
            sweep_plots.pareto_panels(sweep),
            ["energy per request against the 99th percentile of the whole answer",
             "energy per request against the 99th percentile of the time per token"],
        ),
    )  # fmt: skip
    parts = []
    for place, (title, reading, draws, alts) in enumerate(panels):
        svgs = inline_svg.panel_svgs(draws, prefix=f"f{place}", alt=alts)
        parts.append(figure_section(title, reading, legend, svgs))
    return "\n".join(parts)


def _results(sweep: Sweep) -> str:
    bound = ["over the\nbound"] if has_bound(sweep) else []
    heads = [
        "load", "policy", "per\nrequest\n[J]", "change of\nenergy", *bound, "missed", "refused",
        "TTFT\np99\n[ms]", "TPOT\np99\n[ms]", "E2E\np99\n[s]",
    ]  # fmt: skip
    body = []
    for load_frac in sweep.loads:
        points = points_at(sweep, load_frac)
        best = thriftiest(points) if len(points) > 1 else None
        body += [
            _result_row(sweep, place, point, is_best=point is best)
            for place, point in enumerate(points)
        ]
    caption = (
        "Energy is that of the GPUs, waiting included; the change is against the first policy at "
        "the same load. Shaded: the fewest joules among the policies that keep the targets. ! "
        "marks more misses than a tier's target allows. The words are explained at the end of the "
        "page."
    )
    rows = table(caption, heads, body, wide=True)
    return f"<section><h2>At each load</h2>{rows}</section>"


def _result_row(sweep: Sweep, place: int, point: SweepPoint, *, is_best: bool) -> str:
    energy = wording.number(point.energy_j_per_request)
    missed = wording.percent(point.miss_frac)
    broken = point.keeps_targets is False
    cells = [
        f'<td class="words">{swatch(place)}{escape(point.policy)}</td>',
        f'<td class="best">{energy}</td>' if is_best else f"<td>{energy}</td>",
        f"<td>{lines(_change(point, is_first=place == 0))}</td>",
    ]
    if has_bound(sweep):
        cells.append(f"<td>{wording.number(point.energy_over_bound)}</td>")
    cells.append(f'<td class="broken">{missed} !</td>' if broken else f"<td>{missed}</td>")
    for text in (
        wording.count(point.refused),
        _ms(point.ttft_s_p99),
        _ms(point.tpot_s_p99),
        wording.number(point.e2e_s_p99),
    ):
        cells.append(f"<td>{text}</td>")
    return f'<tr><th scope="row">{point.load_frac:g}</th>{"".join(cells)}</tr>'


def _change(point: SweepPoint, *, is_first: bool) -> str:
    if is_first:
        return "first"
    text = wording.change(point.energy_change_frac)
    known = point.interval.get("energy_change_frac")
    if known is None:
        return text
    low, high = (wording.change(value, unit="") for value in known)
    return f"{text}\n({low} to {high})"


def _ms(value_s: float | None) -> str:
    return wording.number(None if value_s is None else value_s * 1000.0)


def _scenario(sweep: Sweep) -> str:
    rows = [
        ("scenario", sweep.scenario),
        ("trace", sweep.trace),
        ("requests", _requests(sweep)),
        ("seeds", ", ".join(map(str, sweep.seeds))),
        ("baseload version", sweep.version),
        ("schema of sweep.json", sweep.schema),
        *((f"tier {tier}", promise_words(promise)) for tier, promise in sweep.tiers.items()),
    ]
    return facts("Scenario", rows)


def _requests(sweep: Sweep) -> str:
    """How many requests the least and the most load had."""
    counts = [point.requests for point in sweep.points]
    return f"{wording.count(min(counts))} to {wording.count(max(counts))}"
