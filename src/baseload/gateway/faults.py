"""Mistakes of a configuration: each with the path of its field, what was found, what is allowed
and what to do; collected, so that one run tells of all of them.

Nothing here shows a value that may be a secret: who adds a fault says in words what was found.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from baseload.base.errors import BadInputError, BaseloadError, nearest_names

MOST_SHOWN = 20
_SHOWN_CHARACTERS = 80


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One mistake. ``path``: of its field, as ``replicas[1].urls[0]``. ``says``: what is wrong in
    words, where field, ``found`` and ``allowed`` do not say it all.
    """

    path: str
    says: str = ""
    found: str = ""
    allowed: str = ""
    todo: str = ""


class ConfigError(BadInputError):
    """A configuration that cannot be used: ``faults`` are its mistakes; the message shows
    at most 20 of them. The first one is in ``asked``, ``found``, ``allowed`` and ``todo``.
    """

    def __init__(self, where: str, faults: Sequence[Fault]) -> None:
        assert faults, "no mistake, no error"
        self.faults = tuple(faults)
        first = faults[0]
        super().__init__(
            _head(where, first), found=first.found, allowed=first.allowed, todo=first.todo
        )
        blocks = [
            str(
                BaseloadError(
                    _head(where, fault), found=fault.found, allowed=fault.allowed, todo=fault.todo
                )
            )
            for fault in faults[:MOST_SHOWN]
        ]
        if len(faults) > MOST_SHOWN:
            blocks.append(f"and at least {len(faults) - MOST_SHOWN} more")
        self.args = ("\n".join(blocks),)


def _head(where: str, fault: Fault) -> str:
    """The first line of a fault."""
    return ": ".join(part for part in (where, fault.path, fault.says) if part)


def shown(value: object) -> str:
    """A value as a message shows it: short and in one line."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


class Faults:
    """Collects faults: ``found``, in the order they were met."""

    def __init__(self) -> None:
        self.found: list[Fault] = []

    def add(
        self, path: str, *, found: str = "", allowed: str = "", todo: str = "", says: str = ""
    ) -> None:
        """Note a mistake."""
        self.found.append(Fault(path=path, says=says, found=found, allowed=allowed, todo=todo))

    def require(
        self, holds: bool, path: str, *, found: str = "", allowed: str = "", todo: str = ""
    ) -> bool:
        """Note a mistake unless ``holds``, which it gives back."""
        if not holds:
            self.add(path, found=found, allowed=allowed, todo=todo)
        return holds

    def number(
        self, path: str, value: float | None, *, low: float, high: float, above: bool = False
    ) -> None:
        """Note a number that is not between ``low`` (or above it) and ``high``; ``None`` may be."""
        if value is None:
            return
        holds = (low < value if above else low <= value) and value <= high
        allowed = f"a number above {low:,.12g}" if above else f"a number from {low:,.12g}"
        allowed += f" to {high:,.12g}" if high < math.inf else " up"
        self.require(holds, path, found=shown(value), allowed=allowed)

    def name(self, path: str, text: str, *, most: int = 200) -> bool:
        """Note a name that cannot stand in a header or a label; gives whether it can."""
        return self.require(
            bool(text) and text.isascii() and text.isprintable() and text == text.strip()
            and len(text) <= most,
            path,
            found=shown(text),
            allowed=f"1 to {most} printable ASCII characters, no space at the ends",
        )  # fmt: skip

    def known(self, path: str, name: str, names: Sequence[str], kind: str) -> bool:
        """Note a ``name`` that is not among ``names`` of a ``kind``, with the nearest; gives
        whether it is.
        """
        if name in names:
            return True
        near = nearest_names(name[:200], names)
        allowed = f"nearest: {', '.join(near)}" if near else ", ".join(names[:20])
        self.add(
            path, says=f"no such {kind}", found=shown(name), allowed=allowed or "none is there"
        )
        return False

    def once(self, path: str, values: Sequence[object]) -> None:
        """Note values that stand twice in one list."""
        twice = list(dict.fromkeys(shown(one) for one in values if values.count(one) > 1))
        self.require(
            not twice, path, found=f"{', '.join(twice)} more than once", allowed="each once"
        )

    @contextmanager
    def within(self, path: str) -> Iterator[None]:
        """Note an error of the block as a fault at ``path``; one whose ``asked`` begins with a
        field of its own (``device: ...``) is noted below it when ``path`` ends in a dot.
        """
        try:
            yield
        except BaseloadError as error:
            says, place = error.asked, path
            if path.endswith("."):
                field, _, says = error.asked.partition(": ")
                place = path + field
            self.add(place, says=says, found=error.found, allowed=error.allowed, todo=error.todo)
