"""Numbers of the metrics in one block of memory, shared by file where there are several workers.

A series is a place in an array of floats; to count is to add to a cell (0.1 us), with no lock: one
process writes, on one thread. With a folder, the array is a mapped file ``NAME.cells`` beside
``NAME.index`` (which series lies where, one JSON line each), so that whichever worker is asked for
the page reads what all have. The file is locked as long as its worker lives: what a dead one
counted stays counted, what it showed as a gauge goes.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from baseload.base.errors import BadInputError
from baseload.gateway.metric_names import BY_NAME, METRICS, Metric

CAPACITY = 1 << 20
"""Cells a worker may have: 8 MB of address space, of which only what is touched takes memory."""

SCRATCH = max(metric.width for metric in METRICS)
"""Cells at the beginning that belong to no series."""

VERSION = 1
Labels = tuple[str, ...]
Sums = dict[tuple[str, Labels], list[float]]


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """One line of an index: where the series of a metric with these labels begins."""

    metric: str
    labels: Labels
    at: int


UNREADABLE = (OSError, ValueError, KeyError, msgspec.MsgspecError)
_DECODE = msgspec.json.Decoder(_Row)


class Cells:
    """The series of this process. ``folder`` None: for itself alone. ``name``: unique in the
    folder. Raises ``BadInputError`` where the folder cannot be written.
    """

    def __init__(self, folder: Path | None = None, *, name: str = "", capacity: int = CAPACITY):
        self._rows: dict[tuple[str, Labels], int] = {}
        self._capacity = capacity
        self._next = SCRATCH
        self.refused = 0
        self._index: int | None = None
        self._file: int | None = None
        self.name = name or f"worker-{os.getpid()}"
        if folder is None:
            self._map = mmap.mmap(-1, capacity * 8)
        else:
            self._map = self._open(folder)
        self.values: memoryview[float] = memoryview(self._map).cast("d")

    def _open(self, folder: Path) -> mmap.mmap:
        path = folder / f"{self.name}.cells"
        try:
            with _locked(folder, fcntl.LOCK_EX):  # nobody tries our lock before we hold it
                self._create(path)
        except OSError as error:
            raise BadInputError(
                "the folder that the workers' metrics share cannot be used",
                found=f"{folder}: {error.strerror or error}",
                todo="give a folder that this user may write, on a local disk",
            ) from None
        assert self._file is not None
        return mmap.mmap(self._file, self._capacity * 8)

    def _create(self, path: Path) -> None:
        flags = os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.open(path, flags | os.O_RDWR, 0o600)
        os.ftruncate(self._file, self._capacity * 8)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        flags |= os.O_WRONLY | os.O_APPEND
        self._index = os.open(path.with_suffix(".index"), flags, 0o600)
        os.write(self._index, _line(_head()))

    def at(self, metric: Metric, labels: Labels = ()) -> int:
        """Where the series begins, made if it is new. Where there is no room for it, a place that
        nobody reads, counted in ``refused``.
        """
        key = (metric.name, labels)
        found = self._rows.get(key)
        if found is not None:
            return found
        assert len(labels) == len(metric.labels), key
        at = self._next
        if at + metric.width > self._capacity:
            self.refused += 1
            return 0
        self._next = at + metric.width
        self._rows[key] = at
        if self._index is not None:
            os.write(self._index, _line(_Row(metric.name, labels, at)))
        return at

    def sums(self) -> Sums:
        """Every series with a copy of its cells."""
        return {key: _floats(self.values, at, key[0]) for key, at in self._rows.items()}

    def close(self) -> None:
        """Give the memory and the lock back; the numbers stay in the folder."""
        self.values.release()
        self._map.close()
        for handle in (self._file, self._index):
            if handle is not None:
                os.close(handle)
        self._file = self._index = None


def _head() -> list[object]:
    """What a reader must agree on: the format, and the width of every metric."""
    return [VERSION, {metric.name: metric.width for metric in METRICS}]


def _line(value: object) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def _floats(cells: memoryview[float], at: int, name: str) -> list[float]:
    """A copy of one series of the metric ``name``."""
    return list(cells[at : at + BY_NAME[name].width])


def read_folder(folder: Path, *, own: Cells | None = None) -> list[tuple[bool, Sums]]:
    """What each worker of the folder has: whether it lives, and its series. Files of another
    version, or half written, are left out. ``own``: read from memory.
    """
    with _locked(folder, fcntl.LOCK_SH):
        found: list[tuple[bool, Sums]] = [] if own is None else [(True, own.sums())]
        for path in sorted(folder.glob("*.index")):
            if own is not None and path.stem == own.name:
                continue
            with contextlib.suppress(*UNREADABLE):
                found.append((_lives(path.with_suffix(".cells")), _read(path)))
        return found


def _read(path: Path) -> Sums:
    head, _, rest = path.read_bytes().partition(b"\n")
    if msgspec.json.decode(head) != _head():
        return {}
    rows = [  # what follows the last line's end is half written
        _DECODE.decode(line) for line in rest.split(b"\n")[:-1]
    ]
    used = max((row.at + BY_NAME[row.metric].width for row in rows), default=0)
    with path.with_suffix(".cells").open("rb") as file:
        cells: memoryview[float] = memoryview(file.read(used * 8)).cast("d")
    return {(row.metric, row.labels): _floats(cells, row.at, row.metric) for row in rows}


def _lives(path: Path) -> bool:
    """Whether a worker still holds the lock of its file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextlib.contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, kind)
        yield
    finally:
        os.close(handle)


def clear_folder(folder: Path) -> None:
    """Make the folder if it is not there, and forget what an earlier run left in it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in folder.iterdir():
        if path.suffix in (".cells", ".index"):
            path.unlink(missing_ok=True)


def retire_dead(folder: Path) -> int:
    """Put what dead workers counted into one place and remove their files, so that restarts do not
    pile up; gives how many there were. For the process that starts the workers.
    """
    with _locked(folder, fcntl.LOCK_EX):
        dead = [
            path
            for path in sorted(folder.glob("*.index"))
            if path.stem != "retired" and not _lives(path.with_suffix(".cells"))
        ]
        if not dead:
            return 0
        before = folder / "retired.index"
        total = _read(before) if before.exists() else {}
        for path in dead:
            with contextlib.suppress(*UNREADABLE):
                add_counters(total, _read(path))
        _keep(folder, total)
        for path in dead:
            path.unlink(missing_ok=True)
            path.with_suffix(".cells").unlink(missing_ok=True)
        return len(dead)


def _keep(folder: Path, total: Sums) -> None:
    """Write the series as those of a worker called "retired"."""
    lines, numbers = [_line(_head())], array("d")
    for (name, labels), values in total.items():
        lines.append(_line(_Row(name, labels, len(numbers))))
        numbers.extend(values)
    (folder / "retired.cells").write_bytes(numbers.tobytes())
    (folder / "retired.index").write_bytes(b"".join(lines))


def add_counters(total: Sums, more: Sums) -> None:
    """Add counters and histograms of ``more`` into ``total``."""
    for key, values in more.items():
        if BY_NAME[key[0]].kind == "gauge":
            continue
        old = total.get(key)
        total[key] = values if old is None else [a + b for a, b in zip(old, values, strict=True)]


def together(workers: list[tuple[bool, Sums]]) -> Sums:
    """One number for all workers: counters added up, gauges of the living by their metric's rule.
    A gauge that is nan is not set.
    """
    total: Sums = {}
    seen: dict[tuple[str, Labels], list[float]] = {}
    for lives, sums in workers:
        add_counters(total, sums)
        if lives:
            for key, values in sums.items():
                if BY_NAME[key[0]].kind == "gauge" and not math.isnan(values[0]):
                    seen.setdefault(key, []).append(values[0])
    for key, values in seen.items():
        total[key] = [_RULES[BY_NAME[key[0]].together](values)]
    return total


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


_RULES: dict[str, Callable[[list[float]], float]] = {
    "sum": math.fsum,
    "min": min,
    "max": max,
    "mean": _mean,
}
