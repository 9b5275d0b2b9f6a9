"""What a site with values pays under each policy, on the page of a simulation."""

from __future__ import annotations

from html import escape

from baseload.report import plots
from baseload.report.cost_table import cost_columns, remark
from baseload.report.costs import cost_sentence, has_values, with_cost
from baseload.report.figures import Comparison
from baseload.report.markup import swatch, table


def cost_section(comparison: Comparison) -> str:
    """Who cost least, and the table of the parts, as HTML; empty where no tier says what answers
    are worth.
    """
    if not has_values(comparison):
        return ""
    places = {
        id(row): at for row, at in zip(comparison.rows, plots.places_of(comparison), strict=True)
    }
    columns = cost_columns(comparison)
    heads = ["policy", *(column.heading.replace("-\n", "").lstrip("\n") for column in columns)]
    body = []
    for row in with_cost(comparison):
        cells = "".join(f"<td>{escape(column.text(row))}</td>" for column in columns)
        name = f"{swatch(places[id(row)])}{escape(row.label)}"
        body.append(f'<tr><th scope="row">{name}</th>{cells}</tr>')
    caption = " ".join(remark(comparison))
    sentence = cost_sentence(comparison)
    said = f"<p>{escape(sentence)}</p>" if sentence else ""
    rows = table(caption, heads, body, wide=True)
    return f"<section><h2>What each policy cost the site</h2>{said}{rows}</section>"
