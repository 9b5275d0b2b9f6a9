"""A table of words: what terminal and page both show."""

from __future__ import annotations

import msgspec

HOW = "how it is known"
"""Heading of the column that says how far to trust a row."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One table: its title, a sentence above it, column heads (the first and the last column hold
    words) and rows of text.
    """

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: str = ""
