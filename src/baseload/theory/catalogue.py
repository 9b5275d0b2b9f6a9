"""Every formula of the theory by name: ``catalogue["two_sided_u"](theta=0.5, var=4, B=100)``.

The module is itself the mapping from a name to its function: ``catalogue[name]``, iteration,
``len`` and ``catalogue.two_sided_u`` all work. ``ENTRIES`` adds what each formula gives, where it
is derived and how far to trust it.

>>> from baseload.theory import catalogue
>>> round(catalogue["newsvendor_z"](Cb=1.0, Cu=4.0, Cw=0.5), 6)
0.430727
"""

from __future__ import annotations

import sys
from collections.abc import Callable, ItemsView, Iterator, KeysView
from types import ModuleType
from typing import Any

from baseload.base.errors import unknown_name
from baseload.theory import (
    entries_diffusions,
    entries_estimation,
    entries_provisioning,
    entries_routing,
    entries_scaling,
)
from baseload.theory.entry import Entry

ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entries in (
        entries_diffusions.ENTRIES,
        entries_provisioning.ENTRIES,
        entries_routing.ENTRIES,
        entries_scaling.ENTRIES,
        entries_estimation.ENTRIES,
    )
    for entry in entries
}
"""Name -> entry, in the order of the theory page."""

CATALOGUE: dict[str, Callable[..., Any]] = {name: entry.call for name, entry in ENTRIES.items()}
"""Name -> callable that takes its inputs as keywords."""


def find(name: str) -> Entry:
    """The entry called ``name``; raises UnknownNameError with the nearest names."""
    if name not in ENTRIES:
        raise unknown_name("formula", name, ENTRIES, todo="baseload theory lists them")
    return ENTRIES[name]


class _Catalogue(ModuleType):
    """A module that is also the mapping ``CATALOGUE``."""

    def __getitem__(self, name: str) -> Callable[..., Any]:
        return find(name).call

    def __contains__(self, name: object) -> bool:
        return name in CATALOGUE

    def __iter__(self) -> Iterator[str]:
        return iter(CATALOGUE)

    def __len__(self) -> int:
        return len(CATALOGUE)

    def keys(self) -> KeysView[str]:
        """The names."""
        return CATALOGUE.keys()

    def items(self) -> ItemsView[str, Callable[..., Any]]:
        """Names and functions."""
        return CATALOGUE.items()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name in CATALOGUE:
            return CATALOGUE[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


sys.modules[__name__].__class__ = _Catalogue
