"""A recorded or generated trace: when requests came and how long they turned out to be.

``output_tokens`` is what only the end of a request reveals. Routing may not import this module (a
contract of import-linter): the simulator hands policies the visible columns only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """Requests in order of arrival, as parallel arrays of length ``n``.

    ``t_us`` int64, microseconds from 0, not decreasing; ``input_tokens`` int32 >= 1;
    ``output_tokens`` int32 >= 1; ``class_code`` int16, index into ``classes``. Optional columns
    (``None`` when the source has none): ``session`` int32 (-1: no session), ``reason_tokens`` int32
    (the part of the output that is reasoning), ``deadline_us`` int64 (end to end, from arrival),
    ``model_code`` int16, index into ``models`` (-1: any model will do).
    """

    name: str
    t_us: NDArray[np.int64]
    input_tokens: NDArray[np.int32]
    output_tokens: NDArray[np.int32]
    class_code: NDArray[np.int16]
    classes: tuple[str, ...]
    session: NDArray[np.int32] | None = None
    reason_tokens: NDArray[np.int32] | None = None
    deadline_us: NDArray[np.int64] | None = None
    model_code: NDArray[np.int16] | None = None
    models: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of requests."""
        return len(self.t_us)

    @property
    def span_s(self) -> float:
        """Seconds from the trace's start (0) to its last arrival."""
        return float(self.t_us[-1]) / 1e6 if len(self.t_us) else 0.0


class TraceSource(msgspec.Struct, frozen=True, kw_only=True):
    """A trace that comes in pieces, so that memory does not grow with its length.

    ``chunks()`` starts the trace anew and gives ``Trace`` pieces in order of time (the same
    ``classes`` and ``models`` in each; times run on across pieces). ``requests`` is exact where it
    is known, else an expectation (``requests_exact``).
    """

    name: str
    classes: tuple[str, ...]
    chunks: Callable[[], Iterator[Trace]]
    requests: int
    span_s: float
    requests_exact: bool = True
    models: tuple[str, ...] = ()


def check_trace(trace: Trace) -> None:
    """Raise ``BadInputError`` naming the first bad row (counted from 1) of a trace that breaks
    its own rules.
    """
    count = len(trace.t_us)
    optional = ("session", "reason_tokens", "deadline_us", "model_code")
    present = [name for name in optional if getattr(trace, name) is not None]
    for name in ("input_tokens", "output_tokens", "class_code", *present):
        if len(getattr(trace, name)) != count:
            raise BadInputError(
                f"trace {trace.name!r}: columns differ in length",
                found=f"{len(getattr(trace, name))} values of {name}, {count} of t_us",
                allowed="equal lengths",
            )
    for name, low in (("t_us", 0), ("input_tokens", 1), ("output_tokens", 1)):
        values = getattr(trace, name)
        bad = np.flatnonzero(values < low)
        if len(bad):
            raise BadInputError(
                f"trace {trace.name!r}: {name} out of range",
                found=f"{values[bad[0]]} in row {bad[0] + 1} ({len(bad)} rows in all)",
                allowed=f">= {low}",
                todo="correct or drop these rows",
            )
    codes = trace.class_code
    beyond = np.flatnonzero((codes < 0) | (codes >= len(trace.classes)))
    if len(beyond):
        raise BadInputError(
            f"trace {trace.name!r}: class_code out of range",
            found=f"{codes[beyond[0]]} in row {beyond[0] + 1} ({len(beyond)} rows in all)",
            allowed=f"0 to {len(trace.classes) - 1}, an index into {trace.classes}",
        )
    late = np.flatnonzero(np.diff(trace.t_us) < 0)
    if len(late):
        row, t_us = int(late[0]) + 1, trace.t_us
        raise BadInputError(
            f"trace {trace.name!r}: not sorted by time",
            found=f"row {row + 1} at {t_us[row]} us after row {row} at {t_us[row - 1]} us",
            allowed="times that do not decrease",
            todo="sort the file by time",
        )
