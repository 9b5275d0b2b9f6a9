"""What the catalogue says of one formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

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
    the formula is a rate of a store.
    """

    name: str
    call: Callable[..., Any]
    gives: str
    topic: str
    section: str
    standing: Standing
    example: dict[str, Any]
    validity: Callable[..., Any] | None = None
