"""Logs of energy: what simulations write, named columns, meters; every mistake with its row."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from baseload.base.errors import BadInputError, UnknownNameError
from baseload.sources.energy_log import (
    ColumnNames,
    RunChoice,
    finite_column,
    read_energy_log,
)
from baseload.sources.tables import read_table


def slots(policy="a", seed=0, scale=1.0, **changes):
    rows = {
        "policy": [policy] * 3,
        "seed": [seed] * 3,
        "scale": [scale] * 3,
        "slot": [0, 1, 2],
        "start_s": [0.0, 60.0, 120.0],
        "length_s": [60.0, 60.0, 60.0],
        "baseline_j": [100.0, 100.0, 100.0],
        "demand_j": [80.0, 130.0, 90.0],
        "auxiliary_j": [0.0, 20.0, 0.0],
        "waste_j": [5.0, 0.0, 0.0],
        "unserved_j": [0.0, 1.0, 0.0],
        "leak_j": [0.0, 0.0, 2.0],
        "loss_j": [0.0, 1.0, 0.0],
        "level_j": [15.0, 0.0, 8.0],
    }
    return pl.DataFrame({**rows, **changes})


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_slots_of_a_simulation(tmp_path, ending):
    path = tmp_path / f"slots.{ending}"
    table = slots().reverse()
    if ending == "csv":
        table.write_csv(path)
    else:
        table.with_columns(pl.col("policy").cast(pl.Categorical)).write_parquet(path)
    log = read_energy_log(path)
    assert log.kind == "slots"
    assert log.net_j.tolist() == [20, -30, 10]
    assert log.auxiliary_j.tolist() == [0, 21, 0]
    assert log.waste_j.tolist() == [5, 0, 0]
    assert (log.unserved_j, log.lost_j, log.highest_level_j, log.time_s) == (1, 3, 15, 180)
    assert "conversion" in log.remarks[0]
    assert log.capacity_j is None


@pytest.mark.parametrize(("recorded", "known"), [(25.0, 25.0), (0.0, None), (float("inf"), None)])
def test_the_capacity_that_a_slot_log_records(tmp_path, recorded, known):
    path = tmp_path / "slots.parquet"
    slots(capacity_j=[recorded] * 3).write_parquet(path)
    assert read_energy_log(path).capacity_j == known


def test_one_run_of_several(tmp_path):
    path = tmp_path / "slots.parquet"
    runs = [slots("a"), slots("b"), slots("b", seed=1), slots("b", seed=1, scale=1.2)]
    pl.concat(runs).write_parquet(path)
    with pytest.raises(BadInputError, match="policy a, b") as caught:
        read_energy_log(path)
    assert caught.value.todo == "choose with --policy --seed --scale"
    choice = RunChoice(policy="b", seed=1, scale=1.2)
    assert len(read_energy_log(path, run=choice).net_j) == 3
    with pytest.raises(UnknownNameError, match="a, b"):
        read_energy_log(path, run=RunChoice(policy="c"))
    with pytest.raises(BadInputError, match="scale"):
        read_energy_log(path, run=RunChoice(policy="b", seed=1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"length_s": [60.0, 0.0, 60.0]}, ("length_s", "data row 2")),
        ({"demand_j": [1.0, None, None]}, ("demand_j", "nothing; 2 such rows in data row 2")),
        ({"demand_j": [1.0, float("nan"), 2.0]}, ("demand_j", "nan in data row 2")),
        ({"slot": [0, 1, 1]}, ("slot", "each slot once")),
        ({"start_s": [0.0, 60.0, 30.0]}, ("start_s", "data row 3")),
        ({"capacity_j": [5.0, 5.0, 6.0]}, ("capacity_j", "6.0 in data row 3")),
        ({"capacity_j": [-5.0] * 3}, ("capacity_j", "-5.0 in data row 1")),
        ({"capacity_j": [None, 5.0, 5.0]}, ("capacity_j", "nothing in data row 1")),
        ({"capacity_j": ["big"] * 3}, ("capacity_j", "'big' in data row 1")),
    ],
)
def test_a_bad_slot_is_named(tmp_path, changes, said):
    path = tmp_path / "slots.parquet"
    slots(**changes).write_parquet(path)
    with pytest.raises(BadInputError) as caught:
        read_energy_log(path)
    for words in said:
        assert words in str(caught.value)


def test_requests_against_a_baseline(tmp_path):
    path = tmp_path / "run.parquet"
    pl.DataFrame(
        {
            "arrival_s": [0.0, 5.0, 61.0, 100.0],
            "finish_s": [10.0, 59.0, 70.0, 121.0],
            "energy_j": [3.0, 4.0, 5.0, 9.0],
        }
    ).write_parquet(path)
    log = read_energy_log(path, baseline_w=0.1, slot_s=60.0)
    assert log.net_j == pytest.approx([6 - 7, 6 - 5])  # the last, unfinished slot is left out
    assert log.third_j3_per_s == pytest.approx((27 + 64 + 125) / 120)
    assert log.auxiliary_j is None
    assert len(read_energy_log(path, baseline_w=0.1).net_j) == 2  # 60 s unless given
    assert log.supply_known
    alone = read_energy_log(path, slot_s=60.0)  # about the mean demand, 6 J a slot
    assert not alone.supply_known
    assert alone.net_j == pytest.approx([-1, 1])
    assert "--baseline-kw" in alone.remarks[0]
    for settings, said in (
        ({"baseline_w": 1.0, "slot_s": 1e4}, "at least one slot"),
        ({"baseline_w": 1.0, "slot_s": 0.0}, "--slot-s"),
        ({"baseline_w": -1.0}, "--baseline-kw"),
    ):
        with pytest.raises(BadInputError, match=said):
            read_energy_log(path, **settings)


def table(tmp_path, text):
    path = tmp_path / "site.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_supply_and_demand_in_any_table(tmp_path):
    path = table(
        tmp_path,
        "# a comment\ntime,pv_kw,load_wh\n"
        "2025-03-01T00:00Z,6,50\n2025-03-01T00:30Z,0,100\n2025-03-01T01:30Z,1,100\n",
    )
    log = read_energy_log(path, columns=ColumnNames(supply="pv_kw", demand="load_wh"))
    assert log.start == datetime(2025, 3, 1, tzinfo=UTC)
    assert log.length_s.tolist() == [1800, 3600, 3600]
    assert log.net_j == pytest.approx(
        [6e3 * 1800 - 50 * 3600, -100 * 3600, 1e3 * 3600 - 100 * 3600]
    )


def test_net_energy_with_lengths_or_none(tmp_path):
    path = table(tmp_path, "took_s,net_j\n10,5\n20,-3\n")
    named = ColumnNames(net="net_j", length="took_s")
    assert read_energy_log(path, columns=named).length_s.tolist() == [10, 20]
    by_slot = read_energy_log(path, columns=ColumnNames(net="net_j"), slot_s=60.0)
    assert by_slot.time_s == 120
    as_power = ColumnNames(net="net_j", length="took_s", unit="kW")
    assert read_energy_log(path, columns=as_power).net_j.tolist() == [5e4, -6e4]


def test_meters(tmp_path):
    path = table(tmp_path, "time_s,grid_kwh,spill_kwh\n0,10,7\n60,11,7\n180,11,9\n")
    log = read_energy_log(path, columns=ColumnNames(auxiliary="grid_kwh", waste="spill_kwh"))
    assert log.kind == "meters"
    assert log.net_j is None
    assert log.auxiliary_j.tolist() == [3.6e6, 0]
    assert log.waste_j.tolist() == [0, 7.2e6]
    assert log.length_s.tolist() == [60, 120]


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("a,b\n1,2\n", {}, ("which columns", "--net-column")),
        ("time_s,net_j\n0,1\n0,2\n", {"net": "net_j"}, ("time_s", "0 in data row 2", "rise")),
        ("time_s,net_j\n5,1\n0,2\n", {"net": "net_j"}, ("time_s", "data row 2")),
        ("time,net_j\nx,1\n2025-01-01T00:00Z,2\n", {"net": "net_j"}, ("'x' in data row 1",)),
        ("time_s,net_j\n0,1\n1,oops\n", {"net": "net_j"}, ("'oops' in data row 2",)),
        ("time_s,net_j\n0,1\n", {"net": "net_j"}, ("one row", "--slot-s")),
        ("net_j\n1\n", {"net": "net_j"}, ("length of a row",)),
        ("time_s,net\n0,1\n1,2\n", {"net": "net"}, ("unit of column 'net'", "--unit")),
        ("time_s,net\n0,1\n1,2\n", {"net": "net", "unit": "BTU"}, ("BTU",)),
        ("time_s,net_j\n0,1\n1,2\n", {"net": "nett_j"}, ("nett_j", "net_j")),
        ("time_s,a_j\n0,1\n1,2\n", {"supply": "a_j"}, ("supply without demand",)),
        ("time_s,a_j\n0,1\n1,2\n", {"supply": "a_j", "demand": "a_j", "net": "a_j"}, ("twice",)),
        ("time_s,a_j\n0,1\n1,2\n", {"auxiliary": "a_j"}, ("both --aux-column",)),
        ("time_s,a_j,b_j\n0,2,1\n1,1,2\n", {"auxiliary": "a_j", "waste": "b_j"},
         ("a_j", "1 after 2 in data row 2", "does not fall")),
        ("time_s,a_j,b_j\n0,-2,1\n1,1,2\n", {"auxiliary": "a_j", "waste": "b_j"},
         ("a_j", "-2 in data row 1")),
        ("time_s,a_j,b_j\n1,2,1\n0,3,2\n", {"auxiliary": "a_j", "waste": "b_j"}, ("time_s",)),
        ("time_s,a_kw,b_j\n0,2,1\n1,3,2\n", {"auxiliary": "a_kw", "waste": "b_j"}, ("a power",)),
        ("time_s,a_j,b_j\n0,2,1\n", {"auxiliary": "a_j", "waste": "b_j"}, ("one reading",)),
        ("time_s,net_j\n", {"net": "net_j"}, ("no rows",)),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path, text, columns, said):
    with pytest.raises((BadInputError, UnknownNameError)) as caught:
        read_energy_log(table(tmp_path, text), columns=ColumnNames(**columns))
    for words in said:
        assert words in str(caught.value)


def test_files_that_are_none(tmp_path):
    for name, said in (
        ("gone.csv", "no such file"),
        ("x.txt", "ending"),
        ("bad.parquet", "readable parquet file"),
    ):
        path = tmp_path / name
        if name == "bad.parquet":
            path.write_bytes(b"nothing")
        with pytest.raises(BadInputError, match=said):
            read_table(path, what="log")


def test_settings_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "slots.parquet"
    slots().write_parquet(path)
    with pytest.raises(BadInputError, match="--baseline-kw"):
        read_energy_log(path, baseline_w=1.0)
    with pytest.raises(BadInputError, match="--policy"):
        read_energy_log(path, run=RunChoice(seed=1), columns=ColumnNames(net="demand_j"))
    assert np.isfinite(finite_column(path, read_table(path, what="log"), "demand_j")).all()
