"""Errors that a user can act on.

Every message answers four questions: what was asked, what was found, what is allowed, what to do
next. The command line prints such an error as it is, without a traceback, and leaves with exit code
2. Our own bugs are ``assert``s and stay loud.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BaseloadError(Exception):
    """Base of every error that is the input's fault, not ours. The command line exits with 2.

    ``asked``, ``found``, ``allowed`` and ``todo`` are kept as fields, so that a caller can show
    them its own way.
    """

    def __init__(self, asked: str, *, found: str = "", allowed: str = "", todo: str = "") -> None:
        self.asked = asked
        self.found = found
        self.allowed = allowed
        self.todo = todo
        lines = [asked]
        if found:
            lines.append(f"  found:   {found}")
        if allowed:
            lines.append(f"  allowed: {allowed}")
        if todo:
            lines.append(f"  to do:   {todo}")
        super().__init__("\n".join(lines))


class UnknownNameError(BaseloadError):
    """A name that is in no table: a policy, model, device, scenario. Carries the nearest known
    names.
    """


class BadInputError(BaseloadError):
    """A file, flag or field whose content cannot be used. Names the place (row, field) and the
    rule it breaks.
    """


class ArgumentError(BadInputError, ValueError):
    """An argument that a plain function cannot use. Also a ``ValueError``, as callers from Python
    expect; names the argument.
    """


class StaleSignalError(BadInputError):
    """A reading or forecast that is too old, or does not reach, for the instant it was asked for.
    Says what was asked and what there is.
    """


class ServiceError(BaseloadError):
    """A service outside that did not answer, refused, or answered what cannot be read. Never
    contains a secret. ``status`` is that of HTTP, 0 where there was none.
    """

    def __init__(
        self, asked: str, *, found: str = "", allowed: str = "", todo: str = "", status: int = 0
    ) -> None:
        super().__init__(asked, found=found, allowed=allowed, todo=todo)
        self.status = status


class DoesNotFitError(BaseloadError):
    """A model that does not fit the memory of the GPUs it was given. Says how many would do."""


class OutputError(BaseloadError):
    """A result that cannot be written where it was asked to go."""


def nearest_names(name: str, known: Iterable[str], *, most: int = 3) -> list[str]:
    """The at most ``most`` known names that look most like ``name``, best first; case does not
    count.
    """
    names = list(known)
    by_folded: dict[str, str] = {}
    for candidate in names:
        by_folded.setdefault(candidate.casefold(), candidate)
        by_folded.setdefault(candidate.casefold().rsplit("/", 1)[-1], candidate)
    found = difflib.get_close_matches(name.casefold(), list(by_folded), n=most * 2, cutoff=0.4)
    contains = [key for key in by_folded if name.casefold() in key]
    ordered = dict.fromkeys(by_folded[key] for key in [*found, *contains])
    return list(ordered)[:most]


def unknown_name(kind: str, name: str, known: Iterable[str], *, todo: str = "") -> UnknownNameError:
    """The error for a ``kind`` (say, "policy") that is called ``name`` but not in ``known``."""
    names = sorted(known)
    near = nearest_names(name, names)
    shown = ", ".join(near) if near else ", ".join(names[:20])
    allowed = f"nearest: {shown}" if near else shown
    return UnknownNameError(f"unknown {kind} {name!r}", found=name, allowed=allowed, todo=todo)
