"""When a configuration file is taken anew: the decision, apart from clock and loop.

Who watches calls ``Watch.look`` each second, and with ``forced`` on SIGHUP. A file is loaded when
its content is new and was the same in two looks, so one that is being written is left alone, even
where its half is good YAML. Content that could not be used is told of once, and the old
configuration stays until the content changes again.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Generic, Literal, TypeVar

import msgspec

from baseload.base.errors import BadInputError, BaseloadError

T = TypeVar("T")

Verdict = Literal["same", "wait", "load"]


class Judge:
    """Decides whether content is to be loaded. ``loaded``: hash of the content in use."""

    def __init__(self, loaded: str) -> None:
        self.loaded = loaded
        self._last = loaded
        self._refused: str | None = None

    def judge(self, content_hash: str, *, forced: bool = False) -> Verdict:
        """``load`` what is new and settled, or whatever is there when ``forced``; ``wait`` for what
        differs from the last look; ``same`` where there is nothing to do.
        """
        settled = content_hash == self._last
        self._last = content_hash
        if forced:
            return "load"
        if content_hash == self.loaded:
            self._refused = None  # the same mistake later is news again
            return "same"
        if content_hash == self._refused:
            return "same"
        return "load" if settled else "wait"

    def took(self, content_hash: str) -> None:
        """The content is in use now."""
        self.loaded, self._refused = content_hash, None

    def refused(self, content_hash: str) -> None:
        """The content could not be used; it is not tried again until it changes."""
        self._refused = content_hash


class Reloaded(msgspec.Struct, Generic[T], frozen=True, kw_only=True, eq=False):
    """What a look gave: a new ``value``, or an ``error`` with which the old one stays, or neither
    (nothing to do).
    """

    value: T | None = None
    error: BaseloadError | None = None


class Watch(Generic[T]):
    """Looks at one file. ``load`` turns its bytes into a configuration and raises
    ``BaseloadError`` where it cannot; it is called in the look, so call that beside the loop.
    """

    def __init__(self, path: Path, load: Callable[[bytes], T], *, loaded: str) -> None:
        """``loaded``: SHA-256 in hex of the content in use."""
        self._path, self._load = path, load
        self._judge = Judge(loaded)
        self._state: tuple[int, int, int] | None = None
        self._pending = True
        self._gone = False

    def look(self, *, forced: bool = False) -> Reloaded[T]:
        """Load the file if it is time to. Reads it only when its state has changed, or when the
        last look was not sure. Never raises for what is in the file, or that there is none.
        """
        try:
            stat = self._path.stat()
            state = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if state == self._state and not self._pending and not forced:
                return Reloaded()
            content = self._path.read_bytes()
        except (OSError, ValueError) as error:
            return self._missing(error, forced=forced)
        self._gone = False
        self._state = state
        content_hash = sha256(content).hexdigest()
        verdict = self._judge.judge(content_hash, forced=forced)
        self._pending = verdict == "wait"
        if verdict != "load":
            return Reloaded()
        try:
            value = self._load(content)
        except BaseloadError as error:
            self._judge.refused(content_hash)
            return Reloaded(error=error)
        self._judge.took(content_hash)
        return Reloaded(value=value)

    def _missing(self, error: OSError | ValueError, *, forced: bool) -> Reloaded[T]:
        """A file that is not there: told at the second look in a row (it may be being replaced), or
        at once when forced; then not again.
        """
        first, self._pending = self._state is not None, True
        self._state = None
        if not forced and (first or self._gone):
            return Reloaded()
        self._gone = True
        found = getattr(error, "strerror", None) or str(error)
        return Reloaded(
            error=BadInputError(
                f"gateway file {self._path}",
                found=found,
                allowed="a YAML file that can be read",
                todo="put it back, or stop the gateway; until then the old configuration stays",
            )
        )
