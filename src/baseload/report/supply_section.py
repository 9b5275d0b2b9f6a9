"""The supply of a site on the page of a simulation: its table and its drawings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from baseload.report import inline_svg, palette, plots, supply_plots, wording
from baseload.report.figures import Comparison
from baseload.report.markup import figure_section, policy_legend, swatch, table
from baseload.report.supply_figures import (
    COST_WORDS,
    has_supply,
    kwh,
    missing_words,
    regime,
    shown,
    supply_sentence,
    with_supply,
)

_HEADS = (
    "policy",
    "scale of\nbaseline",
    "baseline /\ndemand",
    "bought\n[kWh]",
    "wasted\n[kWh]",
    "unserved\n[kWh]",
    "lost\n[kWh]",
    "cycles",
    "carbon\n[kg CO2e]",
    "cost\n[$]",
    "regime",
)


def supply_section(comparison: Comparison) -> str:
    """Table and drawings as HTML; empty without a site."""
    if not has_supply(comparison):
        return ""
    return "\n".join([_table(comparison), *_figures(comparison)])


def _table(comparison: Comparison) -> str:
    places = {
        id(row): at for row, at in zip(comparison.rows, plots.places_of(comparison), strict=True)
    }
    body = []
    for row in with_supply(comparison):
        for found in row.result.supply:
            cells = (
                f"{found.scale:g}",
                wording.number(found.baseline_over_demand),
                wording.number(kwh(found.auxiliary_j)),
                wording.number(kwh(found.waste_j)),
                wording.number(kwh(found.unserved_j)),
                wording.number(kwh(found.leak_j + found.loss_j)),
                wording.number(found.equivalent_cycles),
                wording.number(found.carbon_kg),
                wording.number(found.total_cost_usd),
            )
            name = f"{swatch(places[id(row)])}{escape(row.label)}"
            numbers = "".join(f"<td>{cell}</td>" for cell in cells)
            body.append(
                f'<tr><th scope="row">{name}</th>{numbers}'
                f'<td class="words">{escape(regime(found))}</td></tr>'
            )
    caption = (
        "Energy at the bus of the site. Bought: auxiliary energy beyond baseline and store. Lost: "
        "conversion and leakage of the store. A baseline equal to the demand is critical in a store"
        " without losses. " + " ".join(missing_words(comparison))
    )
    rows = table(caption.strip(), _HEADS, body, wide=True)
    sentence = escape(supply_sentence(comparison))
    return f"<section><h2>What the site's supply did</h2><p>{sentence}</p>{rows}</section>"


def _figures(comparison: Comparison) -> list[str]:
    names = wording.listing([row.label for row in shown(comparison)])
    flows = _legend(supply_plots.flow_places(store=True))
    found: list[tuple[str, str, str, Sequence[plots.Draw], str]] = []
    if supply_plots.has_scales(comparison):
        places = [(name, supply_plots.FLOWS[name]) for name in supply_plots.v_names()]
        reading = (
            "Left of the dotted line too little is supplied and the rest is bought, right of it too"
            " much and the rest is wasted; at the line only fluctuation is left."
        )
        title = supply_plots.TITLES["supply-v"]
        found.append((title, reading, _legend(places), supply_plots.v_panels(comparison), reading))
    if supply_plots.has_day(comparison):
        reading = f"Means over all days of the run, under {names}."
        draws = supply_plots.day_panels(comparison)
        found.append((supply_plots.TITLES["supply-day"], reading, flows, draws, reading))
    reading = f"Means over equal stretches of the run, under {names}."
    draws = supply_plots.run_panels(comparison)
    found.append((supply_plots.TITLES["supply-run"], reading, flows, draws, reading))
    if supply_plots.has_bill(comparison):
        reading = " ".join(["What the site pays for the run, by part.", *missing_words(comparison)])
        draws = [supply_plots.bill_panel(comparison)]
        found.append(
            (supply_plots.TITLES["supply-cost"], reading, _bill_legend(comparison), draws, reading)
        )
    return [
        figure_section(
            title,
            said,
            legend,
            inline_svg.panel_svgs(panels, prefix=f"s{place}", alt=[alt] * len(panels)),
        )
        for place, (title, said, legend, panels, alt) in enumerate(found)
    ]


def _legend(places: Sequence[tuple[str, int]]) -> str:
    return policy_legend([name for name, _ in places], [place for _, place in places])


def _bill_legend(comparison: Comparison) -> str:
    items = "".join(
        f'<li><span class="block" style="background:var({palette.css_names()[color]})" '
        f'aria-hidden="true"></span>{escape(COST_WORDS[part])}</li>'
        for place, part in enumerate(supply_plots.bill_parts(comparison), start=1)
        if (color := palette.policy_color(place))
    )
    return f'<ul class="legend">{items}</ul>'
