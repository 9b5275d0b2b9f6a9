"""From the columns of a file to the strict columns of a trace, or to an error that names the row.

Rows are counted from 1 and the header does not count ("data row"), in every message.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError

if TYPE_CHECKING:
    import polars as pl

INT32_MAX = int(np.iinfo(np.int32).max)
INT64_MAX = int(np.iinfo(np.int64).max)


def bad_row(path: Path, column: str, rows: NDArray[Any], value: object, **rule: str) -> NoReturn:
    """Raise ``BadInputError`` for the first of the bad ``rows`` (0-based) of ``column``."""
    more = f"; {len(rows)} such rows in all" if len(rows) > 1 else ""
    raise BadInputError(
        f"trace file {path}: column {column!r}",
        found=f"{value} in data row {int(rows[0]) + 1} (counted from 1, without a header){more}",
        **rule,
    )


def whole_numbers(
    series: pl.Series, path: Path, *, unit: float = 1, what: str = "a whole number >= 0"
) -> NDArray[np.int64]:
    """The column times ``unit``, as int64; with a ``unit`` other than 1 fractions are rounded.

    Text is read as numbers. Raises ``BadInputError`` for a value that is missing, not a finite
    number, not whole (``unit`` 1), below 0 or beyond 64 bits.
    """
    import polars as pl

    correct = "correct or remove these rows"
    numbers = series
    if not series.dtype.is_numeric():
        text = series.cast(pl.String, strict=False)
        numbers = text.str.strip_chars().cast(pl.Float64, strict=False)
        _refuse_missing(text.replace("", None), path)
        unread = np.flatnonzero(numbers.is_null().to_numpy())
        if len(unread):
            value = repr(text[int(unread[0])])
            bad_row(path, series.name, unread, value, allowed=what, todo=correct)
    _refuse_missing(numbers, path)
    values = numbers.to_numpy()
    if values.dtype.kind == "f":
        unusable = ~np.isfinite(values)
        if unit == 1:
            unusable |= values != np.rint(values)
        rows = np.flatnonzero(unusable)
        if len(rows):
            bad_row(path, series.name, rows, values[rows[0]], allowed=what, todo=correct)
    rows = np.flatnonzero((values < 0) | (values > INT64_MAX // max(1, int(unit))))
    if len(rows):
        bad_row(path, series.name, rows, values[rows[0]], allowed=what, todo=correct)
    if values.dtype.kind == "f":
        return np.rint(values * unit).astype(np.int64)
    return values.astype(np.int64) * int(unit)


def token_counts(series: pl.Series, path: Path) -> NDArray[np.int64]:
    """Token counts 0 to 2^31 - 1, as int64. Raises as ``whole_numbers`` does."""
    what = f"a whole number of tokens, 0 to {INT32_MAX}"
    values = whole_numbers(series, path, what=what)
    rows = np.flatnonzero(values > INT32_MAX)
    if len(rows):
        todo = "correct or remove these rows"
        bad_row(path, series.name, rows, values[rows[0]], allowed=what, todo=todo)
    return values


def instants_from_dates(series: pl.Series, path: Path) -> NDArray[np.int64]:
    """Microseconds since the first row, from dates such as ``2023-11-16 18:15:46.6805900``.

    Up to nine decimals of a second, ``T`` or a blank between date and time, and an optional offset
    (``Z``, ``+00:00``) are understood. Raises ``BadInputError`` naming the first row that is none
    of these.
    """
    import polars as pl

    _refuse_missing(series, path)
    text = series.cast(pl.String).str.strip_chars()
    table = text.to_frame("text").select(
        pl.col("text")
        .str.slice(0, 19)
        .str.replace("T", " ", literal=True)
        .str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="ns")
        .alias("second"),
        pl.col("text").str.slice(19).alias("tail"),
    )
    parts = table.select(
        pl.col("second").to_physical(),
        pl.col("tail").str.contains(r"^(\.\d{1,9})?\s*(Z|UTC|[+-]\d{2}:?\d{2})?$").alias("good"),
        pl.col("tail").str.extract(r"^\.(\d{1,9})").str.pad_end(9, "0").alias("fraction"),
        pl.col("tail").str.extract(r"([+-])\d{2}:?\d{2}$").alias("sign"),
        pl.col("tail").str.extract(r"[+-](\d{2}):?\d{2}$").cast(pl.Int64).alias("hours"),
        pl.col("tail").str.extract(r"[+-]\d{2}:?(\d{2})$").cast(pl.Int64).alias("minutes"),
    )
    bad = np.flatnonzero((parts["second"].is_null() | ~parts["good"]).to_numpy())
    if len(bad):
        bad_row(
            path,
            series.name,
            bad,
            repr(text[int(bad[0])]),
            allowed="dates such as 2023-11-16 18:15:46.6805900 or 2024-05-10 00:00:00.009930+00:00",
            todo="correct or remove these rows",
        )
    offset_ns = (pl.col("hours") * 60 + pl.col("minutes")) * 60_000_000_000
    sign = pl.when(pl.col("sign") == "-").then(-1).otherwise(1)
    instants_ns = parts.select(
        pl.col("second")
        + pl.col("fraction").cast(pl.Int64).fill_null(0)
        - (sign * offset_ns).fill_null(0)
    ).to_series()
    values = instants_ns.to_numpy()
    return (values - values[0] + 500) // 1000 if len(values) else values.astype(np.int64)


def codes(series: pl.Series, path: Path | None) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Codes and labels of a column of names; -1 where it is empty.

    Labels come in the order of an Enum column, else in order of appearance. With a ``path`` an
    empty value raises ``BadInputError``; with ``None`` it is allowed.
    """
    import polars as pl

    if isinstance(series.dtype, pl.Enum):
        labels = series.dtype.categories.to_list()
        text = series
    else:
        text = series.cast(pl.String).replace("", None)
        labels = text.drop_nulls().unique(maintain_order=True).to_list()
        text = text.cast(pl.Enum(labels))
    if path is not None:
        _refuse_missing(text, path)
    code = text.to_physical().cast(pl.Int32).fill_null(-1).to_numpy()
    return code, tuple(labels)


def _refuse_missing(series: pl.Series, path: Path) -> None:
    """Raise ``BadInputError`` for the first missing value."""
    if series.null_count():
        rows = np.flatnonzero(series.is_null().to_numpy())
        bad_row(
            path,
            series.name,
            rows,
            "a missing value",
            allowed="a value in every row",
            todo="fill in or remove these rows",
        )
