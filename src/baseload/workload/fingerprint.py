"""A hash of what a trace says, whatever file it came from and in whatever pieces it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.workload.chunks import columns_of
from baseload.workload.trace import Trace, TraceSource

_LABELLED = {"class_code": "classes", "model_code": "models"}
_STORED_AS = {"t_us": "<i8", "deadline_us": "<i8"}


class TraceHasher:
    """SHA-256 of a trace, piece by piece.

    Covered: every column that is there, row by row, classes and models by name. Not covered: the
    trace's name, the numbering of classes and models, labels that no row uses, the size of the
    pieces.
    """

    def __init__(self) -> None:
        self._columns: dict[str, Any] = {}
        self._requests = 0

    def update(self, piece: Trace) -> None:
        """Take in the next piece.

        Raises ``BadInputError`` when its optional columns differ from the first one's.
        """
        columns = columns_of(piece)
        if not self._columns:
            self._columns = {name: hashlib.sha256() for name in columns}
        if set(columns) != set(self._columns):
            raise BadInputError(
                f"hash of trace {piece.name!r}",
                found=f"columns {sorted(columns)} after {sorted(self._columns)}",
                allowed="the same columns in every piece",
            )
        for name, values in columns.items():
            if name in _LABELLED:
                values = _label_numbers(getattr(piece, _LABELLED[name]))[values]
            self._columns[name].update(np.ascontiguousarray(values, _STORED_AS.get(name, "<i4")))
        self._requests += len(piece)

    def over(self, pieces: Iterable[Trace]) -> Iterator[Trace]:
        """The pieces unchanged, each taken into the hash on its way."""
        for piece in pieces:
            self.update(piece)
            yield piece

    def hexdigest(self) -> str:
        """The hash of all pieces so far, 64 hexadecimal digits."""
        whole = hashlib.sha256(f"baseload trace 1: {self._requests}".encode())
        for name in sorted(self._columns):
            whole.update(f"{name}={self._columns[name].hexdigest()}".encode())
        return whole.hexdigest()


def sha256_of(trace: Trace | TraceSource) -> str:
    """The content hash of a trace (a source is read once), 64 hexadecimal digits.

    See ``TraceHasher``.
    """
    hasher = TraceHasher()
    for piece in [trace] if isinstance(trace, Trace) else trace.chunks():
        if len(piece):
            hasher.update(piece)
    return hasher.hexdigest()


def _label_numbers(labels: tuple[str, ...]) -> NDArray[np.int32]:
    """Four bytes of each label's own hash; the last entry (index -1) stands for no label."""
    texts = [*(f"label {label}" for label in labels), "no label"]
    return np.array(
        [np.frombuffer(hashlib.sha256(t.encode()).digest(), "<i4", 1)[0] for t in texts]
    )
