"""Signals from CSV and Parquet files: one column of times, one of values, a unit that is named.

Nothing is guessed that would change a number: a time without a UTC offset, a value without a unit
and numbers of which it is not clear whether they are seconds or milliseconds are refused.
"""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError, unknown_name
from baseload.base.units import ns_from_s
from baseload.sources.series import SeriesSignal
from baseload.sources.signals import KINDS, UNITS, Kind, StaleRule, Unit, ns_of
from baseload.sources.tables import read_table

if TYPE_CHECKING:
    import polars as pl

KIND_OF_UNIT: dict[str, Kind] = {
    "g_per_kwh": "average",
    "frac": "capacity_factor",
    "degc": "temperature",
    "w": "power",
    "kw": "power",
}
"""The kind that a unit stands for unless one is named; every other unit is a price."""

TIME_COLUMNS = ("timestamp_utc", "timestamp", "time_utc", "time", "datetime_utc", "datetime")
"""Names taken for the time column when none is given; else the first that ends in a unit below."""

NS_PER = {"_s": 1_000_000_000, "_ms": 1_000_000, "_us": 1_000, "_ns": 1}
"""Ending of a time column that holds numbers since 1970, UTC, and what one of them is [ns]."""

_LATEST_NS = ns_of("2200-01-01T00:00Z")
_OFFSET = re.compile(r"^([+-])(\d{2}):?(\d{2})$")


class SignalWarning(UserWarning):
    """A signal file has gaps."""


def read_signal(
    path: str | Path,
    *,
    column: str | None = None,
    unit: str | None = None,
    kind: str | None = None,
    time: str | None = None,
    utc_offset: str | None = None,
    step_s: float | None = None,
    rule: StaleRule | None = None,
) -> SeriesSignal:
    """The signal in a CSV or Parquet file (ending ``.csv``, ``.parquet`` or ``.pq``).

    Lines of a CSV that begin with ``#`` are comments and do not count as rows. ``column``: the
    values; by default the only column whose name ends in a unit, such as ``ci_g_per_kwh``.
    ``unit``, ``kind``: by default the ending of the name, and what the unit stands for
    (``g_per_kwh``: average). ``time``: ISO 8601 dates or numbers since 1970 in a column that ends
    in ``_s``, ``_ms``, ``_us`` or ``_ns``. ``utc_offset`` such as ``+01:00`` is needed when dates
    have none (not for a column that ends in ``_utc``). ``step_s``: how long a value holds at most,
    by default the usual distance of rows [s]. Empty values are gaps: filled and marked as ``rule``
    allows.

    Warns with ``SignalWarning`` when there are gaps. Raises ``BadInputError`` that names file,
    column and row for what cannot be read.
    """
    path = Path(path)
    table = read_table(path, what="signal file", as_text=True)
    column, unit_name = _value_column(path, table.columns, column, unit)
    starts_ns = _starts_ns(path, table, _time_column(path, table, time), utc_offset)
    values = _numbers(path, table[column])
    late = np.flatnonzero(np.diff(starts_ns) <= 0)
    if len(late):
        _bad_row(path, "time", int(late[0]) + 1, "a time at or before the last", "rows in order")
    if step_s is not None:
        step_ns = ns_from_s(step_s)
    elif len(starts_ns) > 1:
        step_ns = int(np.median(np.diff(starts_ns)))
    else:
        raise BadInputError(
            f"signal file {path}", found="one row", todo="say with step_s how long it holds"
        )
    until_ns = np.minimum(starts_ns + step_ns, np.append(starts_ns[1:], starts_ns[-1] + step_ns))
    known = np.isfinite(values)
    signal = SeriesSignal(
        start_ns=starts_ns[known],
        end_ns=until_ns[known],
        values=values[known],
        unit=unit_name,
        kind=_kind(kind, unit_name),
        source=f"file {path.name}, column {column}",
        rule=rule,
    )
    for remark in signal.remarks():
        warnings.warn(f"signal file {path}: {remark}", SignalWarning, stacklevel=2)
    return signal


def _value_column(
    path: Path, columns: list[str], column: str | None, unit: str | None
) -> tuple[str, Unit]:
    """The column of values and its unit."""
    if unit is not None and unit not in UNITS:
        raise unknown_name("unit", unit, UNITS)
    named = {name: _unit_of(name) for name in columns}
    if column is None:
        fits = [name for name, found in named.items() if found and unit in (None, found)]
        if len(fits) != 1:
            raise BadInputError(
                f"signal file {path}: which column",
                found=f"columns {', '.join(columns)}",
                allowed=f"exactly one whose name ends in a unit ({', '.join(UNITS)})",
                todo="name the column, and its unit if the name has none",
            )
        column = fits[0]
    if column not in columns:
        raise unknown_name(f"column of signal file {path}", column, columns)
    found = unit or named[column]
    if found is None:
        raise BadInputError(
            f"signal file {path}: unit of column {column!r}",
            found="none",
            allowed=", ".join(UNITS),
            todo="name the unit, or let the name of the column end in it",
        )
    if unit and named[column] and unit != named[column]:
        raise BadInputError(
            f"signal file {path}: unit of column {column!r}",
            found=f"{unit} asked, {named[column]} in the name",
            allowed="one of the two",
        )
    return column, found  # type: ignore[return-value]


def _unit_of(name: str) -> str | None:
    """The unit that a column's name ends in."""
    fits = [unit for unit in UNITS if name == unit or name.endswith(f"_{unit}")]
    return max(fits, key=len) if fits else None


def _kind(kind: str | None, unit: Unit) -> Kind:
    """The kind asked for, or what the unit stands for."""
    if kind is None:
        return KIND_OF_UNIT.get(unit, "price")
    if kind not in KINDS:
        raise unknown_name("kind of signal", kind, KINDS)
    return kind  # type: ignore[return-value]


def _time_column(path: Path, table: pl.DataFrame, time: str | None) -> str:
    """The column of times."""
    if time is not None:
        if time not in table.columns:
            raise unknown_name(f"column of signal file {path}", time, table.columns)
        return time
    for name in TIME_COLUMNS:
        if name in table.columns:
            return name
    for name in table.columns:
        if name.lower().startswith(("t_", "time_", "epoch_")) and name.endswith(tuple(NS_PER)):
            return name
    raise BadInputError(
        f"signal file {path}: which column is the time",
        found=f"columns {', '.join(table.columns)}",
        allowed=", ".join(TIME_COLUMNS),
        todo="name it",
    )


def _starts_ns(
    path: Path, table: pl.DataFrame, time: str, utc_offset: str | None
) -> NDArray[np.int64]:
    """The times [ns since 1970, UTC]."""
    import polars as pl

    column = table[time]
    if column.null_count():
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        _bad_row(path, time, row, "a missing time", "a time in every row")
    offset = _offset(utc_offset) if utc_offset is not None else None
    if offset is None and time.endswith("_utc"):
        offset = UTC
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone is None and offset is None:
            _refuse_naive(path, time, 0, str(column[0]))
        shift = timedelta(0)
        if column.dtype.time_zone is None and offset is not None:
            shift = offset.utcoffset(None) or timedelta(0)
        exact = column.dt.convert_time_zone("UTC") if column.dtype.time_zone else column
        physical = exact.dt.replace_time_zone(None).cast(pl.Datetime("ns")).to_physical()
        return physical.to_numpy().astype(np.int64) - ns_from_s(shift.total_seconds())
    scale = next((ns for ending, ns in NS_PER.items() if time.endswith(ending)), None)
    if column.dtype.is_numeric() or scale is not None:
        return _epochs(path, column, scale)
    return np.array(
        [_date_ns(path, time, row, text, offset) for row, text in enumerate(column.to_list())],
        np.int64,
    )


def _epochs(path: Path, column: pl.Series, scale: int | None) -> NDArray[np.int64]:
    """Times from numbers since 1970."""
    if scale is None:
        raise BadInputError(
            f"signal file {path}: column {column.name!r}",
            found="numbers",
            allowed=f"a name that ends in {', '.join(NS_PER)}",
            todo="rename the column by the unit of its numbers",
        )
    values = _numbers(path, column)
    bad = np.flatnonzero(~np.isfinite(values) | (values < 0) | (values * scale > _LATEST_NS))
    if len(bad):
        _bad_row(
            path, column.name, int(bad[0]), repr(column[int(bad[0])]), "from 1970 to the year 2200"
        )
    whole = column.cast(int, strict=False) if not column.dtype.is_float() else None
    if whole is not None and not whole.null_count():
        return whole.to_numpy().astype(np.int64) * scale
    return np.rint(values * scale).astype(np.int64)


def _date_ns(path: Path, time: str, row: int, text: Any, offset: timezone | None) -> int:
    """One date [ns since 1970, UTC]."""
    try:
        moment = datetime.fromisoformat(str(text).strip())
    except ValueError:
        _bad_row(path, time, row, repr(text), "ISO 8601 dates such as 2022-01-01T00:00Z")
    if moment.tzinfo is None:
        if offset is None:
            _refuse_naive(path, time, row, str(text))
        moment = moment.replace(tzinfo=offset)
    return ns_of(moment)


def _refuse_naive(path: Path, time: str, row: int, text: str) -> NoReturn:
    """Raise ``BadInputError`` for a date that may mean 25 different hours."""
    raise BadInputError(
        f"signal file {path}: column {time!r}",
        found=f"{text} in data row {row + 1}, without a UTC offset",
        allowed="dates with Z or an offset such as +01:00, or a column that ends in _utc",
        todo="say which offset the times have, for example utc_offset='+01:00'",
    )


def _offset(text: str) -> timezone:
    """The offset ``+HH:MM``, ``-HH:MM`` or ``Z``."""
    match = _OFFSET.match(text.strip())
    if text.strip().upper() in ("Z", "UTC"):
        return UTC
    if match is None or int(match[2]) > 14 or int(match[3]) > 59:
        raise BadInputError("utc_offset", found=repr(text), allowed="such as +01:00, -08:00 or Z")
    size = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-size if match[1] == "-" else size)


def _numbers(path: Path, column: pl.Series) -> NDArray[np.float64]:
    """The column as numbers, NaN where it is empty. Raises for text and infinity."""
    import polars as pl

    numbers = column
    if not column.dtype.is_numeric():
        text = column.cast(pl.String, strict=False).str.strip_chars().replace("", None)
        numbers = text.cast(pl.Float64, strict=False)
        unread = np.flatnonzero((numbers.is_null() & text.is_not_null()).to_numpy())
        if len(unread):
            row = int(unread[0])
            _bad_row(path, column.name, row, repr(column[row]), "numbers, or nothing for a gap")
    values: NDArray[np.float64] = numbers.cast(pl.Float64).to_numpy().astype(np.float64)
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        _bad_row(path, column.name, int(infinite[0]), "infinity", "finite numbers")
    return values


def _bad_row(path: Path, column: str, row: int, found: str, allowed: str) -> NoReturn:
    """Raise ``BadInputError`` for ``row`` (0-based; shown from 1, the header not counted)."""
    raise BadInputError(
        f"signal file {path}: column {column!r}",
        found=f"{found} in data row {row + 1} (counted from 1, without a header)",
        allowed=allowed,
        todo="correct or remove this row",
    )
