"""Checks of single fields of a scenario file, and errors that name the field they are about."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from baseload.base.errors import BadInputError, BaseloadError


@contextmanager
def within(field: str) -> Iterator[None]:
    """Name the field of the scenario that an error comes from, and say what to do in its words."""
    try:
        yield
    except BaseloadError as error:
        if error.asked.startswith("scenario field "):  # a field within this one has named itself
            raise
        todo = error.todo
        for python, yaml in _WORDS_OF_THE_FILE:
            todo = todo.replace(python, yaml)
        raise type(error)(
            f"scenario field {field}: {error.asked}",
            found=error.found,
            allowed=error.allowed,
            todo=todo,
        ) from error
    except OSError as error:
        raise BadInputError(
            f"scenario field {field}", found=str(error), todo="check the path"
        ) from error


_WORDS_OF_THE_FILE = (
    ("--tensor-parallel ", "tensor_parallel: "),
    ("read it with sort=True", "say sort: true"),
    ("read the file with zero_tokens='drop' or 'one'", "say zero_tokens: drop (or one)"),
)


def require(holds: bool, field: str, found: object, allowed: str, todo: str = "") -> None:
    """Raise ``BadInputError`` for a field that is not as it must be."""
    if not holds:
        raise BadInputError(
            f"scenario field {field}", found=repr(found), allowed=allowed, todo=todo
        )


def number(
    value: float | None, field: str, *, low: float, high: float, above: bool = False
) -> None:
    """Refuse a number that is not between ``low`` (or above it) and ``high``."""
    if value is None:
        return
    holds = (low < value if above else low <= value) and value <= high
    allowed = f"a number above {low:,g}" if above else f"a number from {low:,g}"
    allowed += f" to {high:,.12g}" if high < math.inf else " up"
    require(holds, field, value, allowed)
