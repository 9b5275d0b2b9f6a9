"""What a routing that looks at the supply did, on the page of a simulation."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from baseload.report import diary_plots, inline_svg, palette, plots, wording
from baseload.report.diaries import diarists
from baseload.report.diary_words import words
from baseload.report.figures import Comparison
from baseload.report.markup import figure_section, policy_legend


def diary_section(comparison: Comparison) -> str:
    """Words and drawings as HTML; empty where no policy looked at the supply."""
    if not diarists(comparison):
        return ""
    return "\n".join([_words(comparison), *_figures(comparison)])


def _words(comparison: Comparison) -> str:
    parts = []
    for row in diarists(comparison):
        items = "".join(
            f"<dt>{escape(head)}</dt><dd>{escape(said)}</dd>" for head, said in words(row)
        )
        parts.append(f"<h3>{escape(row.label)}</h3><dl>{items}</dl>")
    return f"<section><h2>In words: what the routing did</h2>{''.join(parts)}</section>"


def _figures(comparison: Comparison) -> list[str]:
    names = wording.listing([row.label for row in diarists(comparison)])
    reading = (
        f"Mean price under {names}, first seed, at the energy position: the level of the store "
        "less what answers under way will still draw. It falls from an empty to a full store where "
        "a policy looks at the level; the curves lie apart where it looks at the hour."
    )
    prices = list(enumerate(diary_plots.price_names(comparison), start=1))
    found: list[tuple[str, str, str, Sequence[plots.Draw]]] = [
        (
            "joule-price",
            reading,
            policy_legend([name for _, name in prices], [place for place, _ in prices]),
            diary_plots.price_panels(comparison),
        )
    ]
    if diary_plots.has_bands(comparison):
        reading = "Shares of the options in the picks of each hour, over all days of the run."
        reading += " The dotted lines are dusk and dawn."
        draws = diary_plots.band_panels(comparison)
        found.append(("choice-hours", reading, _option_legend(comparison), draws))
    if diary_plots.has_days(comparison):
        reading = "Hourly means. The darkest days in a row lie between the dotted lines."
        places = diary_plots.day_places()
        legend = policy_legend([name for name, _ in places], [place for _, place in places])
        found.append(("joule-days", reading, legend, diary_plots.day_panels(comparison)))
    return [
        figure_section(
            diary_plots.TITLES[name],
            said,
            legend,
            inline_svg.panel_svgs(draws, prefix=f"d{place}", alt=[said] * len(draws)),
        )
        for place, (name, said, legend, draws) in enumerate(found)
    ]


def _option_legend(comparison: Comparison) -> str:
    """Which block stands for which option."""
    items = []
    for place, name in enumerate(diary_plots.band_options(comparison), start=1):
        color = palette.css_names()[palette.policy_color(place)]
        items.append(
            f'<li><span class="block" style="background:var({color})" aria-hidden="true"></span>'
            f"{escape(plots.short(name))}</li>"
        )
    return f'<ul class="legend">{"".join(items)}</ul>'
