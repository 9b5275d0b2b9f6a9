"""Pieces of our pages: one self-contained HTML document, its notes, tables and signs.

Every text that a user could have chosen is escaped here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources

from baseload.report import palette

WORD_COLUMNS = frozenset({"policy", "device", "model", "numbers are", "remark"})
"""Headings of columns that hold words, not numbers: set flush left."""


def document(title: str, body: str) -> str:
    """The whole page with its style; ``body`` is HTML, ``title`` text."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_style()}</style></head>\n<body>{body}</body></html>\n"
    )


def _style() -> str:
    css = resources.files("baseload.report").joinpath("page.css").read_text(encoding="utf-8")
    css = css.replace("LIGHT_VARIABLES", palette.css_variables(dark=False))
    return css.replace("DARK_VARIABLES", palette.css_variables(dark=True))


def notes(remarks: Iterable[str]) -> str:
    """Each remark in a box of its own."""
    return "".join(f'<p class="note">{escape(remark)}</p>' for remark in remarks)


def swatch(place: int) -> str:
    """The line that stands for the policy in ``place`` of the palette."""
    color = palette.css_names()[palette.policy_color(place)]
    style = f"border-top-color:var({color});border-top-style:{palette.policy_dash(place)}"
    return f'<span class="swatch" style="{style}" aria-hidden="true"></span>'


def policy_legend(names: Sequence[str], places: Sequence[int]) -> str:
    """Which line stands for which policy."""
    items = (
        f"<li>{swatch(place)}{escape(name)}</li>" for name, place in zip(names, places, strict=True)
    )
    return f'<ul class="legend">{"".join(items)}</ul>'


def figure_section(title: str, reading: str, legend: str, svgs: Sequence[str]) -> str:
    """Drawings under a heading, with a sentence that says what they show."""
    return (
        f"<section><h2>{escape(title)}</h2><figure><figcaption>{escape(reading)}</figcaption>{legend}"
        f'<div class="panels">{"".join(svgs)}</div></figure></section>'
    )


def table(caption: str, heads: Sequence[str], body: Sequence[str], *, wide: bool = False) -> str:
    """A table of the rows ``body`` (HTML); a ``wide`` one keeps its first column in sight."""
    cells = (_head(head) for head in heads)
    words = f'<p class="small">{escape(caption)}</p>' if caption else ""
    wide_class = " wide" if wide else ""
    return (
        f'{words}<div class="scroll{wide_class}" tabindex="0" role="region" '
        f'aria-label="table"><table>'
        f"<thead><tr>{''.join(cells)}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _head(words: str) -> str:
    side = ' class="words"' if words in WORD_COLUMNS else ""
    return f'<th scope="col"{side}>{lines(words)}</th>'


def lines(text: str) -> str:
    """Text whose line breaks are kept."""
    return escape(text).replace("\n", "<br>")


def facts(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Names with their values."""
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<section><h2>{escape(title)}</h2><dl>{items}</dl></section>"


def footer(version: str, beside: Sequence[str]) -> str:
    """Who wrote the page, and links to the files ``beside`` it."""
    links = ", ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in beside)
    files = f" Files beside this page: {links}." if beside else ""
    return f"<footer>Written by baseload {escape(version)}.{files}</footer>"
