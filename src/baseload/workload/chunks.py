"""Traces in pieces: cut, join, and hand on in pieces of one size.

Every maker of a long trace (``transform.multiply``, ``generator.generate``) works in blocks of its
own choosing and passes them through ``rechunk``. So the requests never depend on the size of the
pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.workload.trace import Trace, TraceSource

CHUNK_REQUESTS = 262_144
REQUIRED_COLUMNS = ("t_us", "input_tokens", "output_tokens", "class_code")
OPTIONAL_COLUMNS = ("session", "reason_tokens", "deadline_us", "model_code")


def columns_of(trace: Trace) -> dict[str, NDArray[Any]]:
    """The columns that the trace has, by name, in the order of the fields of ``Trace``."""
    columns = {name: getattr(trace, name) for name in REQUIRED_COLUMNS}
    for name in OPTIONAL_COLUMNS:
        values = getattr(trace, name)
        if values is not None:
            columns[name] = values
    return columns


def take(trace: Trace, rows: slice | NDArray[Any], *, name: str | None = None) -> Trace:
    """The trace's ``rows`` (a slice, indices or a mask), times untouched."""
    picked = {key: values[rows] for key, values in columns_of(trace).items()}
    if name is not None:
        picked["name"] = name  # type: ignore[assignment]
    return msgspec.structs.replace(trace, **picked)


def concatenate(pieces: Sequence[Trace], *, name: str | None = None) -> Trace:
    """One trace of the pieces one after the other, times untouched.

    All pieces must have the same ``classes``, ``models`` and optional columns; raises
    ``BadInputError`` when they do not or when there is no piece.
    """
    if not pieces:
        raise BadInputError("join the pieces of a trace", found="no pieces", allowed="one or more")
    first = pieces[0]
    for piece in pieces[1:]:
        same = (piece.classes, piece.models, list(columns_of(piece)))
        if same != (first.classes, first.models, list(columns_of(first))):
            raise BadInputError(
                f"join the pieces of trace {first.name!r}",
                found=f"classes {piece.classes}, models {piece.models}, {list(columns_of(piece))}",
                allowed=f"the same in each: {first.classes}, {first.models}",
                todo="use merge(), which brings classes and columns together",
            )
    if len(pieces) == 1:
        return first if name is None else msgspec.structs.replace(first, name=name)
    joined: dict[str, Any] = {
        key: np.concatenate([getattr(piece, key) for piece in pieces]) for key in columns_of(first)
    }
    return msgspec.structs.replace(first, name=first.name if name is None else name, **joined)


def rechunk(pieces: Iterable[Trace], chunk_requests: int = CHUNK_REQUESTS) -> Iterator[Trace]:
    """The same requests in pieces of exactly ``chunk_requests`` (the last one may be shorter).

    Empty pieces are passed over. Memory: one incoming piece plus one outgoing.
    """
    if chunk_requests < 1:
        raise BadInputError("chunk size", found=str(chunk_requests), allowed="an integer >= 1")
    waiting: list[Trace] = []
    count = 0
    for piece in pieces:
        start = 0
        while len(piece) - start >= chunk_requests - count:
            stop = start + chunk_requests - count
            yield concatenate([*waiting, take(piece, slice(start, stop))])
            waiting, count, start = [], 0, stop
        if start < len(piece):
            waiting.append(take(piece, slice(start, None)) if start else piece)
            count += len(piece) - start
    if waiting:
        yield concatenate(waiting)


def source_of(trace: Trace, *, chunk_requests: int = CHUNK_REQUESTS) -> TraceSource:
    """A trace in memory seen as a source (views, no copies)."""
    return TraceSource(
        name=trace.name,
        classes=trace.classes,
        chunks=lambda: rechunk([trace], chunk_requests),
        requests=len(trace),
        span_s=trace.span_s,
        models=trace.models,
    )


def collect(source: TraceSource) -> Trace:
    """The whole source as one trace in memory (about 18 bytes a request)."""
    pieces = list(source.chunks())
    if not pieces:
        return Trace(
            name=source.name,
            t_us=np.zeros(0, np.int64),
            input_tokens=np.zeros(0, np.int32),
            output_tokens=np.zeros(0, np.int32),
            class_code=np.zeros(0, np.int16),
            classes=source.classes,
            models=source.models,
        )
    return concatenate(pieces, name=source.name)
