"""What the catalogue says of one formula."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from baseload.theory.checked_call import by_keyword

Standing = Literal["exact", "asymptotic", "heuristic"]
"""``exact``: a theorem of the stated model. ``asymptotic``: its error goes to zero in a limit, and
is stated. ``heuristic``: checked by simulation only, or not at all.
"""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One formula of the catalogue.

    ``call`` takes the formula's inputs as keywords, in SI units, and gives a number or a mapping of
    named numbers. ``gives`` says what comes out, with its unit; ``topic`` groups the list;
    ``section`` names the part of the theory page; ``example`` holds inputs that work. ``validity``
    takes the same inputs and gives the record of the accuracy ladder (rung, error, ratios), where
    the formula is a rate of a store. ``typed`` is the function behind it, with its docstring; None
    where ``call`` is that function.
    """

    name: str
    call: Callable[..., Any]
    gives: str
    topic: str
    section: str
    standing: Standing
    example: dict[str, Any]
    validity: Callable[..., Any] | None = None
    typed: Callable[..., Any] | None = None

    @property
    def explanation(self) -> str:
        """Docstring of the function behind the formula."""
        return inspect.getdoc(self.typed or self.call) or ""

    @property
    def inputs(self) -> Mapping[str, inspect.Parameter]:
        """Inputs by name, in order, with their defaults; those that stand for any others left
        out.
        """
        found = inspect.signature(self.call).parameters
        loose = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        return {name: each for name, each in found.items() if each.kind not in loose}


def entry_of(
    call: Callable[..., Any],
    section: str,
    gives: str,
    example: dict[str, Any],
    *,
    topic: str,
    standing: Standing = "exact",
    also: Mapping[str, str] | None = None,
    typed: Callable[..., Any] | None = None,
    name: str = "",
) -> Entry:
    """The entry of ``call``, which from then on refuses unknown, doubled and missing inputs.

    ``also``: further spellings of its inputs. ``typed``: the function behind it, where that is
    another. ``name``: where it is not the call's own.
    """
    title = name or call.__name__
    return Entry(
        name=title,
        call=by_keyword(call, name=title, also=also),
        gives=gives,
        topic=topic,
        section=section,
        standing=standing,
        example=example,
        typed=typed or call,
    )
