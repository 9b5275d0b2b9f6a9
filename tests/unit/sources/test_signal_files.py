"""Files of a user: which column, which unit, which hour; gaps told, guesses refused."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from baseload.base.errors import BadInputError, StaleSignalError, UnknownNameError
from baseload.sources.signal_files import SignalWarning, read_signal
from baseload.sources.signals import StaleRule, ns_of

HOUR = 3_600_000_000_000
GOOD = "time,ci_g_per_kwh\n2022-01-01T00:00Z,100\n2022-01-01T01:00Z,200\n2022-01-01T02:00Z,50.5\n"
START = ns_of("2022-01-01T00:00Z")


@pytest.fixture
def put(tmp_path):
    def write(text, name="signal.csv"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_plain_file_needs_no_options(put):
    signal = read_signal(put(GOOD))
    assert (signal.unit, signal.kind) == ("g_per_kwh", "average")
    assert signal.at(START + HOUR).value == 200.0
    assert signal.last_ns == START + 3 * HOUR
    assert signal.gaps == ()
    assert signal.source == "file signal.csv, column ci_g_per_kwh"


def test_comments_are_no_rows(put):
    assert read_signal(put("# from the utility\n" + GOOD)).at(START).value == 100.0


@pytest.mark.parametrize(
    ("time", "rows", "offset"),
    [
        ("time", ["2022-01-01T00:00:00Z", "2022-01-01T01:00:00+00:00"], None),
        ("time", ["2022-01-01 01:00+01:00", "2022-01-01 02:00+01:00"], None),
        ("time", ["2022-01-01T01:00", "2022-01-01T02:00"], "+01:00"),
        ("time", ["2021-12-31T16:00", "2021-12-31T17:00"], "-0800"),
        ("time", ["2022-01-01T00:00", "2022-01-01T01:00"], "Z"),
        ("timestamp_utc", ["2022-01-01T00:00", "2022-01-01T01:00"], None),
        ("t_s", ["1640995200", "1640998800.0"], None),
        ("epoch_ms", ["1640995200000", "1640998800000"], None),
        ("time_us", ["1640995200000000", "1640998800000000"], None),
        ("t_ns", ["1640995200000000000", "1640998800000000000"], None),
    ],
)
def test_every_way_to_say_the_same_hour(put, time, rows, offset):
    text = f"{time},x_frac\n{rows[0]},0.25\n{rows[1]},0.5\n"
    signal = read_signal(put(text), utc_offset=offset)
    assert signal.start_ns.tolist() == [START, START + HOUR]
    assert signal.kind == "capacity_factor"


def test_times_without_an_offset_are_refused(put):
    text = GOOD.replace("Z,", ",")
    with pytest.raises(BadInputError, match=r"2022-01-01T00:00 in data row 1, without a UTC"):
        read_signal(put(text))
    assert read_signal(put(text), utc_offset="+02:00").first_ns == START - 2 * HOUR


def test_an_offset_that_is_none_is_refused(put):
    for wrong in ("1", "+25:00", "Europe/Berlin", "+01:75"):
        with pytest.raises(BadInputError, match="utc_offset"):
            read_signal(put(GOOD), utc_offset=wrong)


def test_numbers_of_unclear_size_are_refused(put):
    with pytest.raises(BadInputError, match=r"1640995200000[\s\S]*the year 2200"):
        read_signal(put("t_s,x_frac\n1640995200000,1\n1640998800000,1\n"))
    with pytest.raises(BadInputError, match="ISO 8601"):
        read_signal(put("time,x_frac\n1640995200,1\n1640998800,1\n"))


@pytest.mark.parametrize("dtype", ["aware", "naive", "ints", "strings"])
def test_parquet_times(tmp_path, dtype):
    dates = [datetime(2022, 1, 1, hour) for hour in range(3)]
    columns = {
        "aware": ("time", pl.Series(dates).dt.replace_time_zone("UTC")),
        "naive": ("time", pl.Series(dates).cast(pl.Datetime("ms"))),
        "ints": ("t_s", pl.Series([START // 10**9 + i * 3600 for i in range(3)])),
        "strings": ("time", pl.Series([f"2022-01-01T0{i}:00Z" for i in range(3)])),
    }
    name, times = columns[dtype]
    path = tmp_path / "signal.parquet"
    values = pl.Series([1.0, None, 3.0], dtype=pl.Float32)
    pl.DataFrame({name: times, "price_usd_per_kwh": values}).write_parquet(path)
    if dtype == "naive":
        with pytest.raises(BadInputError, match="without a UTC offset"):
            read_signal(path)
    with pytest.warns(SignalWarning, match="1 gaps, 3600 s"):
        signal = read_signal(path, utc_offset="+00:00")
    assert signal.start_ns.tolist() == [START, START + 2 * HOUR]
    assert (signal.unit, signal.kind) == ("usd_per_kwh", "price")


def test_numbers_of_a_parquet_time_column_need_a_unit(tmp_path):
    path = tmp_path / "signal.parquet"
    pl.DataFrame({"time": [1, 2], "x_frac": [0.1, 0.2]}).write_parquet(path)
    with pytest.raises(BadInputError, match="a name that ends in _s"):
        read_signal(path)


def test_gaps_are_told_filled_and_marked(put):
    text = GOOD.replace("01:00Z,200", "01:00Z,")
    with pytest.warns(SignalWarning, match="1 gaps, 3600 s together"):
        signal = read_signal(put(text))
    found = signal.at(START + HOUR + HOUR // 2)
    assert (found.value, found.estimated, found.age_s) == (100.0, True, 1800.0)
    with pytest.warns(SignalWarning):
        strict = read_signal(put(text), rule=StaleRule(refuse_s=60.0))
    with pytest.raises(StaleSignalError):
        strict.at(START + HOUR + HOUR // 2)


def test_missing_rows_are_gaps_too(put):
    rows = [f"2022-01-01T{hour:02d}:00Z,{hour}" for hour in (0, 1, 2, 5, 6)]
    with pytest.warns(SignalWarning, match="10800|7200"):
        signal = read_signal(put("time,x_frac\n" + "\n".join(rows) + "\n"))
    assert [gap.length_s for gap in signal.gaps] == [7200.0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        held = read_signal(put("time,x_frac\n" + "\n".join(rows) + "\n"), step_s=1e6)
    assert held.gaps == ()


def test_one_row_needs_to_know_how_long_it_holds(put):
    text = "time,x_frac\n2022-01-01T00:00Z,0.5\n"
    with pytest.raises(BadInputError, match="step_s"):
        read_signal(put(text))
    assert read_signal(put(text), step_s=60.0).last_ns == START + 60 * 10**9


def test_which_column_and_which_unit(put):
    text = "time,a,b_g_per_kwh,c_eur_per_mwh\n2022-01-01T00:00Z,1,2,3\n2022-01-01T01:00Z,1,2,3\n"
    path = put(text)
    with pytest.raises(BadInputError, match="which column"):
        read_signal(path)
    assert read_signal(path, unit="eur_per_mwh").at(START).value == 3.0
    assert read_signal(path, column="b_g_per_kwh", kind="marginal").kind == "marginal"
    assert read_signal(path, column="a", unit="gbp_per_kwh").kind == "price"
    with pytest.raises(BadInputError, match=r"unit of column 'a'[\s\S]*none"):
        read_signal(path, column="a")
    with pytest.raises(BadInputError, match=r"frac asked, g_per_kwh in the name"):
        read_signal(path, column="b_g_per_kwh", unit="frac")
    for wrong in ({"column": "b"}, {"unit": "kg"}, {"column": "a", "unit": "x"}):
        with pytest.raises(UnknownNameError):
            read_signal(path, **wrong)
    with pytest.raises(UnknownNameError, match="column of signal"):
        read_signal(path, unit="eur_per_mwh", time="Time")
    with pytest.raises(UnknownNameError, match="kind of signal"):
        read_signal(path, unit="eur_per_mwh", kind="mean")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "signal file"),
        ("time,x_frac\n", "no rows"),
        ("when,x_frac\n2022-01-01T00:00Z,1\n", "which column is the time"),
        ("time,x_frac\n2022-01-01T00:00Z,1\n,1\n", "a missing time in data row 2"),
        ("time,x_frac\n2022-01-01T00:00Z,1\n2022-01-01T01:00Z,high\n", "'high' in data row 2"),
        ("time,x_frac\n2022-01-01T00:00Z,1\n2022-01-01T01:00Z,inf\n", "infinity in data row 2"),
        ("time,x_frac\n2022-01-01T01:00Z,1\n2022-01-01T01:00Z,1\n", "at or before the last"),
        ("time,x_frac\n2022-01-01T01:00Z,1\n2022-01-01T00:00Z,1\n", "data row 2"),
        ("time,x_frac\nsoon,1\n", "ISO 8601"),
        ("time,x_frac\n2022-01-01T00:00Z,\n2022-01-01T01:00Z,\n", "values"),
        ("t_s,x_frac\nabc,1\n", "'abc' in data row 1"),
        ("t_s,x_frac\n-5,1\n", "from 1970"),
    ],
)
def test_what_cannot_be_read_is_named(put, text, said):
    with pytest.raises(BadInputError, match=said):
        read_signal(put(text))


def test_files_that_are_none(put, tmp_path):
    with pytest.raises(BadInputError, match="no such file"):
        read_signal(tmp_path / "none.csv")
    with pytest.raises(BadInputError, match=r"ending '\.txt'"):
        read_signal(put(GOOD, "signal.txt"))
    with pytest.raises(BadInputError, match="a readable parquet file"):
        read_signal(put("no parquet", "signal.parquet"))


def test_nanoseconds_are_exact(tmp_path):
    starts = [START + 1, START + HOUR + 3]
    path = tmp_path / "signal.pq"
    pl.DataFrame({"t_ns": starts, "x_frac": [0.1, 0.2]}).write_parquet(path)
    assert read_signal(path).start_ns.tolist() == starts
    aware = pl.Series(np.array(starts), dtype=pl.Datetime("ns", "UTC"))
    pl.DataFrame({"time": aware, "x_frac": [0.1, 0.2]}).write_parquet(path)
    assert read_signal(path).start_ns.tolist() == starts
    assert datetime.fromtimestamp(START / 1e9, UTC).year == 2022
