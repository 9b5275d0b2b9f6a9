"""Write a trace to a file: our Parquet, and the formats with which a peer runs the very same trace.

Files are written beside their target and renamed, so that a reader never sees half of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from baseload.base.errors import BadInputError, unknown_name
from baseload.base.units import US_PER_S
from baseload.sources.files import replacing
from baseload.workload.chunks import collect, source_of
from baseload.workload.trace import Trace, TraceSource

MOONCAKE_BLOCK_TOKENS = 512


def write_parquet(trace: Trace | TraceSource, path: str | Path) -> None:
    """Write our own Parquet (zstd): every column the trace has; see docs/reference/traces.md.

    A source is collected in memory first. Raises ``OutputError`` for a place that cannot be
    written.
    """
    import polars as pl

    whole = trace if isinstance(trace, Trace) else collect(trace)
    columns: dict[str, Any] = {
        "t_us": whole.t_us,
        "input_tokens": whole.input_tokens,
        "output_tokens": whole.output_tokens,
        "class": _names(whole.class_code, whole.classes),
    }
    for name in ("session", "reason_tokens", "deadline_us"):
        if getattr(whole, name) is not None:
            columns[name] = getattr(whole, name)
    if whole.session is not None:
        columns["session"] = pl.Series(whole.session).replace(-1, None)
    if whole.model_code is not None:
        columns["model"] = _names(whole.model_code, whole.models)
    with replacing(Path(path)) as file:
        pl.DataFrame(columns).write_parquet(file, compression="zstd", compression_level=10)


def write_mooncake(trace: Trace | TraceSource, path: str | Path) -> None:
    """Write Mooncake JSONL: times in whole milliseconds, lengths, and block numbers that no other
    request has.

    Classes, sessions, reasoning, deadlines and models are not in this format. Raises
    ``OutputError`` for a place that cannot be written.
    """
    with replacing(Path(path)) as file:
        next_block = 0
        for piece in _pieces(trace):
            t_ms = np.rint(piece.t_us / 1000).astype(np.int64).tolist()
            blocks = (-(-piece.input_tokens // MOONCAKE_BLOCK_TOKENS)).tolist()
            lines = []
            rows = zip(
                t_ms, piece.input_tokens.tolist(), piece.output_tokens.tolist(), blocks, strict=True
            )
            for time, given, made, count in rows:
                ids = ", ".join(map(str, range(next_block, next_block + count)))
                next_block += count
                lines.append(
                    f'{{"timestamp": {time}, "input_length": {given}, "output_length": {made}, '
                    f'"hash_ids": [{ids}]}}\n'
                )
            file.write("".join(lines).encode())


def write_vidur(trace: Trace | TraceSource, path: str | Path) -> None:
    """Write Vidur CSV: ``arrived_at`` [s, six decimals], ``num_prefill_tokens``,
    ``num_decode_tokens``.

    Classes, sessions, reasoning, deadlines and models are not in this format. Raises
    ``OutputError`` for a place that cannot be written.
    """
    import polars as pl

    with replacing(Path(path)) as file:
        header = True
        for piece in _pieces(trace):
            frame = pl.DataFrame(
                {
                    "arrived_at": piece.t_us / US_PER_S,
                    "num_prefill_tokens": piece.input_tokens,
                    "num_decode_tokens": piece.output_tokens,
                }
            )
            frame.write_csv(file, float_precision=6, float_scientific=False, include_header=header)
            header = False


WRITERS: dict[str, Callable[[Trace | TraceSource, str | Path], None]] = {
    "parquet": write_parquet,
    "mooncake": write_mooncake,
    "vidur": write_vidur,
}
_BY_SUFFIX = {".parquet": "parquet", ".pq": "parquet", ".jsonl": "mooncake", ".csv": "vidur"}


def write_trace(trace: Trace | TraceSource, path: str | Path, *, format: str | None = None) -> None:  # noqa: A002
    """Write the trace as ``format`` (``parquet``, ``mooncake``, ``vidur``), by default as the
    ending of ``path`` says.

    Endings: ``.parquet`` our own, ``.jsonl`` Mooncake, ``.csv`` Vidur. Raises ``UnknownNameError``
    or ``BadInputError`` for other formats and endings, ``OutputError`` for a place that cannot be
    written.
    """
    name = format if format is not None else _BY_SUFFIX.get(Path(path).suffix.lower())
    if name is None:
        raise BadInputError(
            f"format of {path}",
            found=f"ending {Path(path).suffix!r}",
            allowed=", ".join(f"{suffix} ({each})" for suffix, each in _BY_SUFFIX.items()),
            todo="choose one of these endings, or give the format by name",
        )
    if name not in WRITERS:
        raise unknown_name("trace format to write", name, WRITERS)
    WRITERS[name](trace, path)


def _pieces(trace: Trace | TraceSource) -> Iterator[Trace]:
    """The trace in pieces; one empty piece for a trace without requests."""
    source = source_of(trace) if isinstance(trace, Trace) else trace
    empty = True
    for piece in source.chunks():
        empty = False
        yield piece
    if empty:
        yield collect(source)


def _names(code: Any, labels: tuple[str, ...]) -> Any:
    """The column of names behind ``code`` (missing where it is -1), dictionary-encoded."""
    import polars as pl

    table = pl.Series("name", [*labels, None], dtype=pl.Enum(labels))
    return table.gather(np.where(code < 0, len(labels), code).astype(np.uint32))
