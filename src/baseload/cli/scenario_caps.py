"""Caps on the tokens of an answer, from a flag and from a scenario file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from baseload.base.errors import BadInputError

MOST_TOKENS = 1_000_000_000
NO_CAP = "none"

CapsEntry: TypeAlias = int | Literal["none"] | list[int | Literal["none"]] | None
"""``cap_tokens`` of a scenario file: one cap, or a list of them; ``none`` stands for no cap."""

_ALLOWED = f"whole numbers of tokens from 1 to {MOST_TOKENS:,}, or none for no cap: 4096,8192,none"


def caps_of_text(text: str) -> tuple[int | None, ...]:
    """The caps of ``--cap-tokens``: ``4096,8192,none``. Raises ``BadInputError``."""
    caps: list[int | None] = []
    for part in (word.strip() for word in text.split(",")):
        if part.lower() == NO_CAP:
            caps.append(None)
        elif part.isascii() and part.isdigit() and len(part) <= len(str(MOST_TOKENS)):
            caps.append(int(part))
        else:
            raise BadInputError("--cap-tokens", found=repr(part), allowed=_ALLOWED)
    return _checked(caps, "--cap-tokens")


def caps_of_entry(entry: CapsEntry) -> tuple[int | None, ...]:
    """The caps of the field ``cap_tokens``; empty where there is none. Raises ``BadInputError``."""
    if entry is None:
        return ()
    listed = entry if isinstance(entry, list) else [entry]
    if not listed:
        raise BadInputError(
            "cap_tokens", found="an empty list", allowed="one or more, or no field at all"
        )
    return _checked([None if isinstance(cap, str) else cap for cap in listed], "cap_tokens")


def _checked(caps: Sequence[int | None], field: str) -> tuple[int | None, ...]:
    """The caps, each of them one and each once."""
    for cap in caps:
        if cap is not None and not 1 <= cap <= MOST_TOKENS:
            raise BadInputError(field, found=str(cap), allowed=_ALLOWED)
        if caps.count(cap) > 1:
            found = f"{NO_CAP if cap is None else cap} twice"
            raise BadInputError(field, found=found, allowed="each cap once")
    return tuple(caps)
