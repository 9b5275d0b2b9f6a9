"""Panels as SVG inside the page: small, in the page's own font, and in colours that follow light
and dark.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import Any

from baseload.report import palette
from baseload.report.plots import Draw, drawing, panel_grid

_PROLOGUE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_PATH = re.compile(r' d="[^"]*"')
_DECIMALS = re.compile(r"(\d+\.\d)\d+")
_FONT = re.compile(r"font:\s*(?:[a-z0-9]+\s+)*?([\d.]+)px[^;\"]*")
_FAMILY = re.compile(r"font-family:[^;\"]*;?")
_IDENTITY = re.compile(r'\bid="([^"]+)"')
_SIZE = re.compile(r'(<svg\b[^>]*?) width="[^"]*"([^>]*?)>', re.DOTALL)
_HEIGHT = re.compile(r'(<svg\b[^>]*?) height="[^"]*"', re.DOTALL)


def panel_svgs(draws: Sequence[Draw], *, prefix: str, alt: Sequence[str]) -> list[str]:
    """Each panel as an ``<svg>`` element with ``alt`` as its description; ids begin with
    ``prefix``, unique in the page.
    """
    panels = []
    with drawing():
        for place, (draw, words) in enumerate(zip(draws, alt, strict=True)):
            figure, grid = panel_grid(1)
            draw(grid[0])
            panels.append(_themed(_svg(figure), prefix=f"{prefix}{place}", alt=words))
    return panels


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    return out.getvalue()


def _themed(svg: str, *, prefix: str, alt: str) -> str:
    for pattern in (_PROLOGUE, _METADATA, _COMMENT, _FAMILY):
        svg = pattern.sub("", svg)
    svg = _FONT.sub(r"font-size: \1px", svg)
    svg = _PATH.sub(lambda match: _DECIMALS.sub(r"\1", match[0]), svg)
    for color, name in palette.css_names().items():
        svg = svg.replace(color, f"var({name})")
    svg = svg.replace("\n", " ")
    svg = _own_identities(svg, prefix)
    svg = _HEIGHT.sub(r"\1", _SIZE.sub(r"\1\2>", svg, count=1), count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{html.escape(alt)}"', 1)


def _own_identities(svg: str, prefix: str) -> str:
    """Ids that something refers to get the prefix; the others go."""

    def renamed(match: re.Match[str]) -> str:
        name = match[1]
        referred = f"#{name})" in svg or f'#{name}"' in svg
        return f'id="{prefix}-{name}"' if referred else ""

    renamed_svg = _IDENTITY.sub(renamed, svg)
    renamed_svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", renamed_svg)
    return re.sub(r'xlink:href="#([^"]+)"', rf'xlink:href="#{prefix}-\1"', renamed_svg)
