"""The formats a trace may come in: how each is recognised and read.

A reader gives a ``RawTrace``: columns in our units, every value a number in range, but not yet
judged for order, zeros or failures; ``traces.load_trace`` does that once for all formats.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.sources.columns import codes, instants_from_dates, token_counts, whole_numbers

if TYPE_CHECKING:
    import polars as pl


Kind = Literal["parquet", "csv", "jsonl"]
KIND_OF_SUFFIX: dict[str, Kind] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


class RawTrace(msgspec.Struct, frozen=True, kw_only=True):
    """Columns as the file has them, in our units.

    ``failed`` marks requests that were never answered.
    """

    t_us: NDArray[np.int64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    failed: NDArray[np.bool_] | None = None
    class_code: NDArray[np.int32] | None = None
    classes: tuple[str, ...] = ()
    session: NDArray[np.int64] | None = None
    reason_tokens: NDArray[np.int64] | None = None
    deadline_us: NDArray[np.int64] | None = None
    model_code: NDArray[np.int32] | None = None
    models: tuple[str, ...] = ()


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """One format: its name, kind of file, the columns it is known by, and its reader.

    ``zero_tokens`` is what happens by default to a request without input or output tokens:
    ``error``, ``drop`` or ``one`` (read as one token). ``models_are_records`` says that the model
    column tells who answered, not what was asked for.
    """

    name: str
    kind: Kind
    columns: tuple[str, ...]
    read: Callable[[Path], RawTrace]
    zero_tokens: str = "error"
    models_are_records: bool = False


def _own(frame: pl.DataFrame, path: Path) -> RawTrace:
    """Our own columns, from Parquet or CSV; times in ``t_us`` or else ``t_ms``."""
    names = set(frame.columns)
    time = ("t_us", 1) if "t_us" in names else ("t_ms", 1000)
    extra: dict[str, Any] = {}
    if "class" in names:
        extra["class_code"], extra["classes"] = codes(frame["class"], path)
    if "model" in names:
        extra["model_code"], extra["models"] = codes(frame["model"], None)
    if "session" in names:
        extra["session"] = _session_numbers(frame["session"], path)
    if "reason_tokens" in names:
        extra["reason_tokens"] = token_counts(frame["reason_tokens"], path)
    if "deadline_us" in names:
        extra["deadline_us"] = whole_numbers(frame["deadline_us"], path)
    return RawTrace(
        t_us=whole_numbers(frame[time[0]], path, unit=time[1]),
        input_tokens=token_counts(frame["input_tokens"], path),
        output_tokens=token_counts(frame["output_tokens"], path),
        **extra,
    )


def _session_numbers(series: pl.Series, path: Path) -> NDArray[np.int64]:
    """Session numbers; -1 where the value is missing or -1."""
    is_text = not series.dtype.is_numeric()
    none, some = ("-1", "0") if is_text else (-1, 0)
    with_session = series.replace(none, None)
    numbers = whole_numbers(with_session.fill_null(some), path)
    return np.where(with_session.is_null().to_numpy(), -1, numbers)


def _read_parquet(path: Path) -> RawTrace:
    import polars as pl

    wanted = set(OWN_COLUMNS)
    columns = [name for name in parquet_header(path) if name in wanted]
    try:
        frame = pl.read_parquet(path, columns=columns)
    except pl.exceptions.PolarsError as error:
        raise _unreadable(path, error) from error
    return _own(frame, path)


def _read_own_csv(path: Path) -> RawTrace:
    import polars as pl

    numbers = {name: pl.Int64 for name in OWN_COLUMNS if name not in ("class", "model")}
    return _own(_csv(path, {**numbers, "class": pl.String, "model": pl.String}), path)


def _read_azure(path: Path) -> RawTrace:
    import polars as pl

    typed = {"TIMESTAMP": pl.String, "ContextTokens": pl.Int64, "GeneratedTokens": pl.Int64}
    frame = _csv(path, typed)
    return RawTrace(
        t_us=instants_from_dates(frame["TIMESTAMP"], path),
        input_tokens=token_counts(frame["ContextTokens"], path),
        output_tokens=token_counts(frame["GeneratedTokens"], path),
    )


def _read_burstgpt(path: Path) -> RawTrace:
    import polars as pl

    frame = _csv(
        path,
        {
            "Timestamp": pl.Float64,
            "Request tokens": pl.Int64,
            "Response tokens": pl.Int64,
            "Model": pl.String,
            "Session ID": pl.String,
        },
    )
    output = token_counts(frame["Response tokens"], path)
    extra: dict[str, Any] = {}
    if "Model" in frame.columns:
        extra["model_code"], extra["models"] = codes(frame["Model"], None)
    if "Session ID" in frame.columns:
        extra["session"] = codes(frame["Session ID"], None)[0].astype(np.int64)
    return RawTrace(
        t_us=whole_numbers(frame["Timestamp"], path, unit=1_000_000, what="seconds >= 0"),
        input_tokens=token_counts(frame["Request tokens"], path),
        output_tokens=output,
        failed=output == 0,
        **extra,
    )


def _read_vidur(path: Path) -> RawTrace:
    import polars as pl

    typed = {
        "arrived_at": pl.Float64,
        "num_prefill_tokens": pl.Int64,
        "num_decode_tokens": pl.Int64,
    }
    frame = _csv(path, typed)
    return RawTrace(
        t_us=whole_numbers(frame["arrived_at"], path, unit=1_000_000, what="seconds >= 0"),
        input_tokens=token_counts(frame["num_prefill_tokens"], path),
        output_tokens=token_counts(frame["num_decode_tokens"], path),
    )


def _read_blis(path: Path) -> RawTrace:
    import polars as pl

    frame = _csv(
        path,
        {
            "arrival_time_us": pl.Int64,
            "input_tokens": pl.Int64,
            "output_tokens": pl.Int64,
            "slo_class": pl.String,
            "session_id": pl.String,
            "model": pl.String,
            "reason_ratio": pl.Float64,
            "status": pl.String,
        },
    )
    output = token_counts(frame["output_tokens"], path)
    extra: dict[str, Any] = {}
    columns = set(frame.columns)
    if "slo_class" in columns:
        extra["class_code"], extra["classes"] = codes(frame["slo_class"], None)
    if "session_id" in columns:
        session, labels = codes(frame["session_id"], None)
        extra["session"] = session.astype(np.int64) if labels else None
    if "model" in columns:
        extra["model_code"], extra["models"] = codes(frame["model"], None)
    if "status" in columns:
        failed = frame["status"].fill_null("").is_in(["", "ok"], nulls_equal=True)
        extra["failed"] = ~failed.to_numpy()
    if "reason_ratio" in columns:
        ratio = whole_numbers(frame["reason_ratio"], path, unit=1e9, what="0 to 1") / 1e9
        if ratio.any():
            extra["reason_tokens"] = np.rint(np.minimum(ratio, 1.0) * output).astype(np.int64)
    return RawTrace(
        t_us=whole_numbers(frame["arrival_time_us"], path),
        input_tokens=token_counts(frame["input_tokens"], path),
        output_tokens=output,
        **extra,
    )


class _MooncakeLine(msgspec.Struct):
    """One line of a Mooncake file, without what we do not use."""

    timestamp: float
    input_length: float
    output_length: float


def _read_mooncake(path: Path) -> RawTrace:
    import polars as pl

    decoder = msgspec.json.Decoder(_MooncakeLine)
    rows: list[tuple[float, float, float]] = []
    with path.open("rb") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                row = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BadInputError(
                    f"trace file {path}: line of JSON",
                    found=f"{error} in data row {len(rows) + 1}: {line[:80]!r}",
                    allowed='{"timestamp": ms, "input_length": tokens, "output_length": tokens}',
                    todo="correct or remove this line",
                ) from error
            rows.append((row.timestamp, row.input_length, row.output_length))
    names = ("timestamp", "input_length", "output_length")
    table = np.array(rows, np.float64).reshape(-1, 3)
    frame = pl.DataFrame({name: table[:, k] for k, name in enumerate(names)})
    return RawTrace(
        t_us=whole_numbers(frame["timestamp"], path, unit=1000, what="milliseconds >= 0"),
        input_tokens=token_counts(frame["input_length"], path),
        output_tokens=token_counts(frame["output_length"], path),
    )


OWN_COLUMNS = (
    "t_us",
    "t_ms",
    "input_tokens",
    "output_tokens",
    "class",
    "session",
    "reason_tokens",
    "deadline_us",
    "model",
)
# In order of trial: the first whose columns are all there wins.
FORMATS = (
    Format(
        name="parquet",
        kind="parquet",
        columns=("t_us", "input_tokens", "output_tokens"),
        read=_read_parquet,
    ),
    Format(
        name="csv",
        kind="csv",
        columns=("t_us", "input_tokens", "output_tokens"),
        read=_read_own_csv,
    ),
    Format(
        name="azure",
        kind="csv",
        columns=("TIMESTAMP", "ContextTokens", "GeneratedTokens"),
        read=_read_azure,
    ),
    Format(
        name="burstgpt",
        kind="csv",
        columns=("Timestamp", "Request tokens", "Response tokens"),
        read=_read_burstgpt,
        models_are_records=True,
    ),
    Format(
        name="mooncake",
        kind="jsonl",
        columns=("timestamp", "input_length", "output_length"),
        read=_read_mooncake,
        zero_tokens="one",
    ),
    Format(
        name="vidur",
        kind="csv",
        columns=("arrived_at", "num_prefill_tokens", "num_decode_tokens"),
        read=_read_vidur,
    ),
    Format(
        name="blis",
        kind="csv",
        columns=("arrival_time_us", "input_tokens", "output_tokens"),
        read=_read_blis,
        models_are_records=True,
    ),
)


def header_of(path: Path, kind: Kind) -> list[str]:
    """Names of the columns, or of the fields of the first object (JSONL); empty for no content.

    Raises ``BadInputError`` for a file that is not of the ``kind``.
    """
    if kind == "parquet":
        return parquet_header(path)
    if kind == "csv":
        return [name.strip() for name in _csv_header(path)]
    first = _first_line(path)
    try:
        fields = msgspec.json.decode(first.encode()) if first else {}
    except msgspec.DecodeError as error:
        raise _unreadable(path, error) from error
    return list(fields) if isinstance(fields, dict) else [type(fields).__name__]


def parquet_header(path: Path) -> list[str]:
    """Names of the columns of a Parquet file. Raises ``BadInputError`` when it is none."""
    import polars as pl

    try:
        return list(pl.read_parquet_schema(path))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from error


def _csv(path: Path, typed: dict[str, Any]) -> pl.DataFrame:
    """The columns of a CSV file that are in ``typed``; all as text where the types do not hold.

    The second reading costs time on broken files only, and lets the caller name the row.
    """
    import polars as pl

    wanted = {raw: raw.strip() for raw in _csv_header(path) if raw.strip() in typed}
    types = {raw: typed[name] for raw, name in wanted.items()}
    try:
        frame = pl.read_csv(path, columns=list(wanted), schema_overrides=types)
    except pl.exceptions.PolarsError:
        try:
            frame = pl.read_csv(path, infer_schema=False).select(list(wanted))
        except pl.exceptions.PolarsError as error:
            raise _unreadable(path, error) from error
    frame = frame.rename(wanted)
    rows = frame.height
    while rows and all(value is None for value in frame.row(rows - 1)):
        rows -= 1  # blank lines at the end of the file
    return frame.head(rows)


def _csv_header(path: Path) -> list[str]:
    """Names of the columns of a CSV file exactly as they stand there."""
    return next(csv.reader([_first_line(path)]), [])


def _first_line(path: Path) -> str:
    """The first line that is not blank. Raises ``BadInputError`` when the file is not UTF-8."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return next((line for line in lines if line.strip()), "")
    except UnicodeDecodeError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> BadInputError:
    """The error for a file that cannot be parsed at all."""
    return BadInputError(
        f"trace file {path}: cannot be read",
        found=str(error).splitlines()[0] if str(error) else type(error).__name__,
        allowed="an intact Parquet, CSV (UTF-8) or JSONL file",
        todo="check that the file is complete and not compressed",
    )
