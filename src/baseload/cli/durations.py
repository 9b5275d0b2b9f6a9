"""Durations as people write them on a command line: 90s, 30d, 1y."""

from __future__ import annotations

import math
import re

from baseload.base.errors import BadInputError
from baseload.base.units import S_PER_DAY, S_PER_HOUR

_SECONDS = {
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": S_PER_HOUR,
    "d": S_PER_DAY,
    "w": 7.0 * S_PER_DAY,
    "y": 365.0 * S_PER_DAY,
}
_FORM = re.compile(r"([0-9.eE+-]+?)\s*([a-z]+)")


def duration_s(text: str, *, flag: str) -> float:
    """The seconds of a number with a unit: s, min, h, d, w, y (365 days).

    Raises ``BadInputError`` naming ``flag`` for anything else, and for what is not above 0.
    """
    allowed = "a number with a unit: 90s, 15min, 12h, 30d, 1y"
    found = _FORM.fullmatch(text.strip())
    if found is None or found[2] not in _SECONDS:
        raise BadInputError(flag, found=repr(text), allowed=allowed)
    try:
        seconds = float(found[1]) * _SECONDS[found[2]]
    except ValueError:
        raise BadInputError(flag, found=repr(text), allowed=allowed) from None
    if not 0 < seconds < math.inf:
        raise BadInputError(flag, found=repr(text), allowed="a duration above 0")
    return seconds
