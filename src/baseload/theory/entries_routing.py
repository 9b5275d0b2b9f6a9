"""Catalogue entries of routing, under the names and inputs of the reference vectors."""

from __future__ import annotations

from baseload.theory.entry import Entry

ENTRIES: tuple[Entry, ...] = ()
