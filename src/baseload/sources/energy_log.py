"""Logs of a site's energy: what a simulation wrote, or any table with net energy or meters.

A row is an interval. Rows are counted from 1 and the header does not count, in every message.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError, unknown_name
from baseload.base.units import J_PER_KWH, S_PER_HOUR
from baseload.sources.tables import read_table

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Kind = Literal["slots", "requests", "columns", "meters"]

SLOT_COLUMNS = ("length_s", "baseline_j", "demand_j", "auxiliary_j", "waste_j")
REQUEST_COLUMNS = ("arrival_s", "finish_s", "energy_j")
RUN_COLUMNS = ("policy", "seed", "scale")
J_PER_UNIT = {
    "j": 1.0, "kj": 1e3, "wh": S_PER_HOUR, "kwh": J_PER_KWH, "mwh": 1e3 * J_PER_KWH,
}  # fmt: skip
W_PER_UNIT = {"w": 1.0, "kw": 1e3}
TIME_COLUMNS = ("time_s", "start_s", "t_s", "time", "timestamp", "datetime", "date")


class EnergyLog(msgspec.Struct, frozen=True, kw_only=True):
    """The log, in SI units, one item an interval.

    ``net_j``: supply less demand; None where only meters are known. ``auxiliary_j`` (bought, and
    demand that nothing served), ``waste_j``: None where unknown. ``ends_s``: ends of the intervals
    from the start of the log. ``third_j3_per_s``: third moment of request energies a second.
    ``capacity_j``: usable capacity of the storage, where the log has it. ``supply_known``: whether
    the supply was given; else the mean demand stands for it.
    ``start``: when the log begins, where the file says so. ``remarks``: what to know of the data.
    """

    kind: Kind
    length_s: Floats
    net_j: Floats | None
    auxiliary_j: Floats | None
    waste_j: Floats | None
    unserved_j: float = 0.0
    lost_j: float = 0.0
    third_j3_per_s: float | None = None
    start: datetime | None = None
    highest_level_j: float | None = None
    capacity_j: float | None = None
    supply_known: bool = True
    remarks: tuple[str, ...] = ()

    @property
    def time_s(self) -> float:
        """Length of the log."""
        return float(self.length_s.sum())


class RunChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which run of a file with several; None: the only one there is."""

    policy: str | None = None
    seed: int | None = None
    scale: float | None = None


class ColumnNames(msgspec.Struct, frozen=True, kw_only=True):
    """Which columns of a table hold what; None: none, or for ``time`` the usual name.

    Either ``net``, or ``supply`` and ``demand``, or the cumulative meters ``auxiliary`` and
    ``waste`` alone. ``unit`` of these columns where their names do not end in one.
    """

    time: str | None = None
    length: str | None = None
    net: str | None = None
    supply: str | None = None
    demand: str | None = None
    auxiliary: str | None = None
    waste: str | None = None
    unit: str | None = None

    @property
    def any(self) -> bool:
        """Whether any column of energy is named."""
        return any((self.net, self.supply, self.demand, self.auxiliary, self.waste))


def read_energy_log(
    path: str | Path,
    *,
    run: RunChoice | None = None,
    columns: ColumnNames | None = None,
    baseline_w: float | None = None,
    slot_s: float | None = None,
) -> EnergyLog:
    """The log in a CSV or Parquet file: the slots of a simulation, its requests (then against the
    constant supply ``baseline_w``, or their own mean without one, in slots of ``slot_s``, 60 s
    unless given), or a table whose
    ``columns`` are named (``slot_s``: length of its rows where it has neither times nor lengths).

    Raises BadInputError that names the file, column and row.
    """
    file, names = Path(path), columns or ColumnNames()
    table = read_table(file, what="log")
    if names.any:
        _refuse(file, "columns are named", run=run, baseline_w=baseline_w)
        return _from_columns(file, table, names, slot_s)
    if set(SLOT_COLUMNS) <= set(table.columns):
        _refuse(file, "the log of a site's slots", baseline_w=baseline_w, slot_s=slot_s)
        return _from_slots(file, _one_run(file, table, run or RunChoice()))
    if set(REQUEST_COLUMNS) <= set(table.columns):
        rows = _one_run(file, table, run or RunChoice())
        return _from_requests(file, rows, baseline_w, 60.0 if slot_s is None else slot_s)
    raise BadInputError(
        f"log {file}: which columns",
        found=f"columns {', '.join(table.columns)}",
        allowed="a file of `baseload simulate --slots` or `--requests`, or named columns",
        todo="name the net energy (--net-column), supply and demand, or both meters",
    )


def _refuse(path: Path, what: str, **given: Any) -> None:
    """Raise for settings that this kind of log does not use."""
    unused = [name for name, value in given.items() if value is not None and value != RunChoice()]
    if unused:
        words = {"run": "--policy, --seed or --scale", "baseline_w": "--baseline-kw",
                 "slot_s": "--slot-s"}  # fmt: skip
        raise BadInputError(
            f"log {path}: {what}",
            found=" and ".join(words[name] for name in unused),
            allowed="a log of this kind without it",
        )


def _one_run(path: Path, table: pl.DataFrame, run: RunChoice) -> pl.DataFrame:
    """The rows of one policy, seed and scale."""
    import polars as pl

    for name in RUN_COLUMNS:
        wanted = getattr(run, name)
        if wanted is None:
            continue
        if name not in table.columns:
            raise BadInputError(
                f"log {path}: --{name}", found=f"no column {name}", allowed="a log that has it"
            )
        if name == "policy":
            chosen = table.filter(pl.col(name).cast(pl.String) == str(wanted))
        else:
            chosen = table.filter((pl.col(name) - wanted).abs() <= 1e-9 * max(1.0, abs(wanted)))
        if not chosen.height:
            raise unknown_name(f"{name} of log {path}", str(wanted), _values(table, name))
        table = chosen
    several = {
        name: _values(table, name)
        for name in RUN_COLUMNS
        if name in table.columns and table[name].n_unique() > 1
    }
    if several:
        raise BadInputError(
            f"log {path}: which run",
            found="; ".join(f"{name} {', '.join(values)}" for name, values in several.items()),
            allowed="one run",
            todo=f"choose with {' '.join('--' + name for name in several)}",
        )
    return table


def _values(table: pl.DataFrame, name: str) -> list[str]:
    """The distinct values of a column as text."""
    import polars as pl

    return [str(value) for value in table[name].cast(pl.String).unique().sort().to_list()]


def _from_slots(path: Path, table: pl.DataFrame) -> EnergyLog:
    """The slots that a simulation wrote."""
    if "slot" in table.columns:
        table = table.sort("slot")
        twice = np.flatnonzero(np.diff(table["slot"].to_numpy()) == 0)
        if len(twice):
            _bad_row(path, "slot", int(twice[0]) + 1, str(table["slot"][int(twice[0])]),
                     "each slot once")  # fmt: skip

    def column(name: str) -> Floats:
        if name not in table.columns:
            return np.zeros(table.height)
        return finite_column(path, table, name)

    length = _above_0(path, "length_s", column("length_s"))
    back = np.flatnonzero(np.diff(column("start_s")) <= 0)
    if "start_s" in table.columns and len(back):
        row = int(back[0]) + 1
        _bad_row(path, "start_s", row, f"{table['start_s'][row]:g}", "times that rise with slots")
    served, unserved = column("auxiliary_j"), column("unserved_j")
    losses = float(column("loss_j").sum() + column("leak_j").sum())
    remarks = []
    if losses > 0:
        remarks.append(
            f"Storage lost {losses / J_PER_KWH:.4g} kWh in conversion and self-discharge: the "
            "theory is for a lossless store, so more auxiliary energy than expected is no surprise."
        )
    levels = column("level_j") if "level_j" in table.columns else None
    return EnergyLog(
        kind="slots",
        length_s=length,
        net_j=column("baseline_j") - column("demand_j"),
        auxiliary_j=served + unserved,
        waste_j=column("waste_j"),
        unserved_j=float(unserved.sum()),
        lost_j=losses,
        highest_level_j=None if levels is None else float(levels.max()),
        capacity_j=_capacity_j(path, table),
        remarks=tuple(remarks),
    )


def _capacity_j(path: Path, table: pl.DataFrame) -> float | None:
    """Usable capacity of the storage [J]; ``None`` where the site has none, or no end of it."""
    import polars as pl

    name = "capacity_j"
    if name not in table.columns:
        return None
    values: Floats = table[name].cast(pl.Float64, strict=False).to_numpy().astype(np.float64)
    bad = np.flatnonzero(~(values >= 0) | (values != values[0]))
    if len(bad):
        row = int(bad[0])
        found = "nothing" if table[name][row] is None else repr(table[name][row])
        _bad_row(path, name, row, found, "one capacity from 0 J in all rows")
    capacity = float(values[0])
    return capacity if 0 < capacity < np.inf else None


def _from_requests(
    path: Path, table: pl.DataFrame, baseline_w: float | None, slot_s: float
) -> EnergyLog:
    """Requests against a constant supply, or their own mean where there is none: each draws its
    energy when it is answered.
    """
    if baseline_w is not None and not (0 <= baseline_w < np.inf):
        raise BadInputError("--baseline-kw", found=f"{baseline_w:g} W", allowed="from 0")
    if not (0 < slot_s < np.inf):
        raise BadInputError("--slot-s", found=f"{slot_s:g}", allowed="above 0 s")
    energy, finish = (finite_column(path, table, name) for name in ("energy_j", "finish_s"))
    low = np.flatnonzero(energy < 0)
    if len(low):
        _bad_row(path, "energy_j", int(low[0]), f"{energy[low[0]]:g}", "from 0 J")
    first = float(finite_column(path, table, "arrival_s").min())
    count = int((float(finish.max()) - first) / slot_s)
    if count < 1:
        raise BadInputError(
            f"request log {path}",
            found=f"{float(finish.max()) - first:g} s",
            allowed=f"at least one slot of {slot_s:g} s",
            todo="give a shorter --slot-s",
        )
    place = ((finish - first) / slot_s).astype(np.int64)
    kept = (place >= 0) & (place < count)
    demand: Floats = np.zeros(count)
    np.add.at(demand, place[kept], energy[kept])
    remarks = [
        "Energy of answered requests only, counted when they finish: idle power is not in it, "
        "take it off the baseline."
    ]
    if baseline_w is None:
        remarks.insert(
            0,
            "No supply was given (--baseline-kw): the mean demand stands for it. Variance and "
            "changes are those of the demand; drift and regime are not told.",
        )
    supply_w = float(demand.mean()) / slot_s if baseline_w is None else baseline_w
    return EnergyLog(
        kind="requests",
        supply_known=baseline_w is not None,
        length_s=np.full(count, slot_s),
        net_j=supply_w * slot_s - demand,
        auxiliary_j=None,
        waste_j=None,
        third_j3_per_s=float(np.sum(energy[kept] ** 3)) / (count * slot_s),
        remarks=tuple(remarks),
    )


def _from_columns(
    path: Path, table: pl.DataFrame, names: ColumnNames, slot_s: float | None
) -> EnergyLog:
    """Any table with named columns."""
    meters = names.net is None and names.supply is None and names.demand is None
    if meters and (names.auxiliary is None or names.waste is None):
        raise BadInputError(
            f"log {path}: meters",
            found="one of them",
            allowed="both --aux-column and --waste-column, or a column of net energy",
        )
    if names.net is not None and (names.supply is not None or names.demand is not None):
        raise BadInputError(
            f"log {path}: net energy", found="given twice", allowed="net, or supply and demand"
        )
    if not meters and names.net is None and (names.supply is None or names.demand is None):
        raise BadInputError(
            f"log {path}: net energy",
            found="supply without demand" if names.supply else "demand without supply",
            allowed="both --supply-column and --demand-column",
        )
    length, start = _lengths(path, table, names, slot_s, meters=meters)

    def energy(name: str) -> Floats:
        factor, power = _unit(path, name, names.unit)
        return finite_column(path, table, name) * factor * (length if power else 1.0)

    net = None
    if names.net is not None:
        net = energy(names.net)
    elif names.supply is not None and names.demand is not None:
        net = energy(names.supply) - energy(names.demand)
    used, lost = (
        None if name is None else _meter_steps(path, table, name, names.unit)
        for name in (names.auxiliary, names.waste)
    )
    if meters:
        length = length[1:]
    return EnergyLog(
        kind="meters" if meters else "columns",
        length_s=length,
        net_j=net,
        auxiliary_j=used if meters or used is None else np.concatenate([[0.0], used]),
        waste_j=lost if meters or lost is None else np.concatenate([[0.0], lost]),
        start=start,
    )


def _unit(path: Path, name: str, unit: str | None) -> tuple[float, bool]:
    """SI units of one unit of a column, and whether it is a power."""
    found = (unit or name.rsplit("_", 1)[-1]).strip().lower()
    if found in J_PER_UNIT:
        return J_PER_UNIT[found], False
    if found in W_PER_UNIT:
        return W_PER_UNIT[found], True
    raise BadInputError(
        f"log {path}: unit of column {name!r}",
        found=unit or "none in its name",
        allowed=", ".join([*J_PER_UNIT, *W_PER_UNIT]),
        todo="give --unit, or let the name of the column end in it",
    )


def _meter_steps(path: Path, table: pl.DataFrame, name: str, unit: str | None) -> Floats:
    """Energies between the readings of a cumulative meter [J]."""
    factor, power = _unit(path, name, unit)
    if power:
        raise BadInputError(
            f"log {path}: column {name!r}",
            found="a power",
            allowed="a cumulative meter of energy",
        )
    counts = finite_column(path, table, name)
    low = np.flatnonzero(counts < 0)
    if len(low):
        _bad_row(path, name, int(low[0]), f"{counts[low[0]]:g}", "readings from 0")
    falls = np.flatnonzero(np.diff(counts) < 0)
    if len(falls):
        at = int(falls[0])
        found = f"{counts[at + 1]:g} after {counts[at]:g}"
        allowed = "a meter that does not fall; split the log where it was reset"
        _bad_row(path, name, at + 1, found, allowed)
    steps: Floats = np.diff(counts) * factor
    return steps


def _lengths(
    path: Path, table: pl.DataFrame, names: ColumnNames, slot_s: float | None, *, meters: bool
) -> tuple[Floats, datetime | None]:
    """Length of every row [s], and the first time where it is a date.

    From times a row lasts until the next and the last as long as the one before; a meter's row ends
    at its time.
    """
    if meters and table.height < 2:
        raise BadInputError(f"log {path}", found="one reading", allowed="two or more")
    if names.length is not None:
        return _above_0(path, names.length, finite_column(path, table, names.length)), None
    time = names.time or next((name for name in TIME_COLUMNS if name in table.columns), None)
    if time is None:
        if slot_s is None:
            raise BadInputError(
                f"log {path}: length of a row",
                found=f"columns {', '.join(table.columns)}",
                allowed="--time-column, --length-column or --slot-s",
            )
        if not (0 < slot_s < np.inf):
            raise BadInputError("--slot-s", found=f"{slot_s:g}", allowed="above 0 s")
        return np.full(table.height, slot_s), None
    at, start = _times(path, table, time)
    steps = np.diff(at)
    back = np.flatnonzero(steps <= 0)
    if len(back):
        row = int(back[0]) + 1
        _bad_row(path, time, row, str(table[time][row]), "times that rise from row to row")
    if meters:
        return np.concatenate([[np.nan], steps]), start
    if not len(steps):
        if slot_s is None:
            raise BadInputError(
                f"log {path}", found="one row", todo="say with --slot-s how long it lasts"
            )
        return np.array([slot_s]), start
    return np.append(steps, steps[-1]), start


def _times(path: Path, table: pl.DataFrame, name: str) -> tuple[Floats, datetime | None]:
    """Times [s] and the first of them where they are dates."""
    import polars as pl

    column = _column(path, table, name)
    if column.dtype.is_numeric():
        return finite_column(path, table, name), None
    dates = column
    if not isinstance(column.dtype, pl.Datetime):
        text = column.cast(pl.String).str.strip_chars()
        dates = text.str.to_datetime(strict=False, time_unit="us", time_zone="UTC")
        if dates.null_count() == len(dates):
            dates = text.str.to_datetime(strict=False, time_unit="us")
    bad = np.flatnonzero(dates.is_null().to_numpy())
    if len(bad):
        row = int(bad[0])
        _bad_row(path, name, row, repr(column[row]), "seconds, or dates such as 2025-01-01T00:00Z")
    micros = dates.dt.replace_time_zone(None).cast(pl.Datetime("us")).to_physical().to_numpy()
    start = datetime.fromtimestamp(float(micros[0]) / 1e6, UTC)
    found: Floats = (micros - micros[0]) / 1e6
    return found, start


def _column(path: Path, table: pl.DataFrame, name: str) -> pl.Series:
    if name not in table.columns:
        raise unknown_name(f"column of log {path}", name, table.columns)
    return table[name]


def finite_column(path: Path, table: pl.DataFrame, name: str) -> Floats:
    """A column as finite numbers; raises BadInputError with the first row that has none."""
    import polars as pl

    column = _column(path, table, name)
    values: Floats = column.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        row = int(bad[0])
        found = "nothing" if column[row] is None else repr(column[row])
        more = f"; {len(bad)} such rows" if len(bad) > 1 else ""
        _bad_row(path, name, row, found + more, "a finite number in every row")
    return values


def _above_0(path: Path, name: str, values: Floats) -> Floats:
    bad = np.flatnonzero(values <= 0)
    if len(bad):
        _bad_row(path, name, int(bad[0]), f"{values[bad[0]]:g}", "lengths above 0 s")
    return values


def _bad_row(path: Path, column: str, row: int, found: str, allowed: str) -> NoReturn:
    """Raise ``BadInputError`` for ``row`` (0-based; shown from 1, the header not counted)."""
    raise BadInputError(
        f"log {path}: column {column!r}", found=f"{found} in data row {row + 1}", allowed=allowed
    )


__all__ = [
    "ColumnNames",
    "EnergyLog",
    "Kind",
    "RunChoice",
    "finite_column",
    "read_energy_log",
]
