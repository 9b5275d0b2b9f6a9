"""Inputs of a formula as words of the command line: ``theta=0.5``, ``lam=[0.5,0.3]``,
``B=1:100:10``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from baseload.base.errors import BadInputError

MOST_POINTS = 1000
_SPACING = ("linear", "log")
_WORDS = {"true": True, "false": False, "none": None, "null": None}


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """One input that runs through several values."""

    name: str
    values: tuple[float, ...]


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """What the words say: inputs by name, and the one that is swept, if any."""

    given: dict[str, Any]
    sweep: Sweep | None


def read_inputs(words: Sequence[str]) -> Inputs:
    """The inputs that ``words`` say. Raises BadInputError for a word that is not NAME=VALUE, a name
    that stands twice, a list that is not YAML, and a second sweep.
    """
    given: dict[str, Any] = {}
    sweep: Sweep | None = None
    for word in words:
        name, equals, text = word.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name or not text:
            raise BadInputError(
                f"{word!r} is not an input",
                found=word,
                allowed='NAME=VALUE, such as theta=0.5, lam=[0.5,0.3], dist="logn s=1"',
            )
        if name in given or (sweep is not None and sweep.name == name):
            raise BadInputError(f"{name} stands twice", found=word, allowed="each input once")
        values = _swept(name, text)
        if values is None:
            given[name] = read_value(name, text)
        elif sweep is None:
            sweep = Sweep(name=name, values=values)
        else:
            raise BadInputError(
                f"{name}: a second sweep", found=f"{sweep.name} and {name}", allowed="one input"
            )
    return Inputs(given=given, sweep=sweep)


def read_value(name: str, text: str) -> Any:
    """A number (1e6, inf), truth value, list or matrix in JSON or YAML, or else the text itself."""
    number = _number(text)
    if number is not None:
        return number
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text[0] in "[{":
        return _structure(name, text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _structure(name: str, text: str) -> Any:
    """A list or mapping; numbers as in YAML 1.2, with inf."""
    from baseload.cli.strict_yaml import load_yaml

    readable = re.sub(r"(?<![\w.])([-+]?)inf(?![\w.])", r"\1.inf", text)
    return load_yaml(
        readable, where=name, todo="write a list as [1, 2], a matrix as [[1, 2], [3, 4]]"
    )


def _swept(name: str, text: str) -> tuple[float, ...] | None:
    """The values of a sweep: FROM:TO:COUNT, FROM:TO:COUNT:log, or numbers with commas."""
    if "," in text and text[0] not in "[{":
        items = [_number(item) for item in text.split(",")]
        numbers = tuple(item for item in items if item is not None)
        return numbers if len(numbers) == len(items) else None
    parts = text.split(":")
    ends = [_number(part) for part in parts[:2]]
    if len(parts) not in (3, 4) or None in ends:
        return None
    spacing = parts[3] if len(parts) == 4 else _SPACING[0]
    count = _number(parts[2])
    low, high = float(ends[0] or 0.0), float(ends[1] or 0.0)
    whole = count is not None and 2 <= count <= MOST_POINTS and count == int(count)
    finite = abs(low) < float("inf") and abs(high) < float("inf")
    if not whole or spacing not in _SPACING or not finite or (spacing == "log" and low * high <= 0):
        raise BadInputError(
            f"{name}: not a sweep",
            found=text,
            allowed=f"FROM:TO:COUNT with 2 to {MOST_POINTS} points, :log behind it for equal "
            "ratios of numbers of one sign",
        )
    return _spaced(low, high, int(count or 2), spacing)


def _spaced(low: float, high: float, count: int, spacing: str) -> tuple[float, ...]:
    """``count`` values from ``low`` to ``high``, both included."""
    shares = [place / (count - 1) for place in range(count)]
    if spacing == "log":
        middle = [low * (high / low) ** share for share in shares[1:-1]]
    else:
        middle = [low + (high - low) * share for share in shares[1:-1]]
    return (low, *middle, high)
