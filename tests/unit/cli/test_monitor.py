"""The monitor on the command line, over each kind of log."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from baseload.cli.monitor_text import runs_of_alarms
from baseload.theory.monitor import Alarm

N = 6000
KWH = 3.6e6


def site(folder, name="slots.parquet", *, shift=0.0, **columns):
    """The slot log of a lossless site of 20 J (seed 1), drift ``shift`` from the middle on."""
    demand = 10 + np.random.default_rng(1).normal(size=N)
    demand[N // 2 :] -= shift
    level, store = np.empty(N), 10.0
    used, lost = np.zeros(N), np.zeros(N)
    for i, net in enumerate(10 - demand):
        store += net
        used[i], lost[i] = max(-store, 0.0), max(store - 20.0, 0.0)
        store = min(max(store, 0.0), 20.0)
        level[i] = store
    nothing = np.zeros(N)
    frame = pl.DataFrame(
        {
            "policy": ["a"] * N, "seed": np.zeros(N, np.int32), "scale": np.ones(N),
            "slot": np.arange(N), "start_s": np.arange(N) * 60.0, "length_s": np.full(N, 60.0),
            "baseline_j": np.full(N, 10.0), "demand_j": demand, "auxiliary_j": used,
            "waste_j": lost, "unserved_j": nothing, "charged_j": nothing,
            "discharged_j": nothing, "leak_j": nothing, "loss_j": nothing, "level_j": level,
            **columns,
        }
    )  # fmt: skip
    path = folder / name
    if name.endswith("csv"):
        frame.write_csv(path)
    else:
        frame.write_parquet(path)
    return frame


def answer(outcome):
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["schema"] == "baseload-monitor/1"
    return found


STORE = ("--storage-kwh", str(20 / KWH))


@pytest.mark.parametrize("name", ["slots.parquet", "slots.csv"])
def test_a_critical_site(cli, folder, name):
    site(folder, name)
    found = answer(cli("monitor", name, *STORE, "--json", "-"))
    state = found["state"]
    assert state["regime"] == "critical"
    assert state["sigma2_low"] < 1 / 60 < state["sigma2_high"]
    assert found["alarms"] == []
    assert found["ladder"]["rung"] == "slotted"
    for rate in (found["rates"]["u"], found["rates"]["w"]):
        assert abs(rate["observed_w"] - rate["expected_w"]) < 2 * rate["half_w"]
    assert "no alarm" in cli("monitor", name, *STORE).out


def test_the_text_says_everything(cli, folder):
    site(folder, shift=0.6)
    outcome = cli("monitor", "slots.parquet", *STORE, "--out", "out")
    assert outcome.new == {"out", "out/monitor.png"}
    text = outcome.out
    for words in (
        "6,000 slots of a simulated site, 4.17 days",
        "The site is over-supplied (confidence ",
        "drift theta", "since the last change", "variance rate", "index y", "to the target",
        "lower by", "auxiliary u", "observed", "expected", "slotted", "noise of one slot",
        "alarm: surplus at", "more until", "how: Too short", "how: Variance rate from",
        "slack 0.25", "plot: out/monitor.png",
    ):  # fmt: skip
        assert words in text, f"{words!r} is not in:\n{text}"


def test_without_a_capacity_it_says_what_is_missing(cli, folder):
    site(folder)
    text = cli("monitor", "slots.parquet").out
    assert "The regime is not known." in text
    assert "missing: No index and regime" in text
    assert "try --storage-kwh" in text
    text = cli("monitor", "slots.parquet", "--storage-kwh", "1e-6").out
    assert "above --storage-kwh" in text


def test_a_slot_log_holds_the_size_of_its_storage(cli, folder):
    site(folder, capacity_j=np.full(N, 20.0))
    found = answer(cli("monitor", "slots.parquet", "--json", "-"))
    assert found["storage_j"] == 20
    assert found["state"]["regime"] == "critical"
    asked = answer(cli("monitor", "slots.parquet", "--storage-kwh", str(40 / KWH), "--json", "-"))
    assert asked["storage_j"] == pytest.approx(40)  # what is asked goes before what is recorded
    site(folder, "none.parquet", capacity_j=np.zeros(N))
    assert answer(cli("monitor", "none.parquet", "--json", "-"))["storage_j"] is None


def test_losses_and_unserved_demand_are_said(cli, folder):
    site(folder, loss_j=np.full(N, 1e3), unserved_j=np.full(N, 1e3))
    text = cli("monitor", "slots.parquet", *STORE).out
    assert "note: Storage lost" in text
    assert "demand that nothing" in text


def test_the_run_must_be_clear(cli, folder):
    frame = site(folder)
    other = frame.with_columns(pl.lit("b").alias("policy"))
    pl.concat([frame, other]).write_parquet(folder / "two.parquet")
    cli("monitor", "two.parquet").refused("which run", "--policy")
    assert answer(cli("monitor", "two.parquet", "--policy", "b", "--json", "-"))["rows"] == N
    cli("monitor", "two.parquet", "--policy", "c").refused("policy", "'c'")


def test_a_log_of_requests(cli, folder):
    random = np.random.default_rng(2)
    arrival = np.cumsum(random.exponential(1.0, 20_000))
    pl.DataFrame(
        {
            "arrival_s": arrival,
            "finish_s": arrival + 2,
            "energy_j": random.exponential(1000, arrival.size),
        }
    ).write_parquet(folder / "run.parquet")
    words = ("--baseline-kw", "1.02", "--storage-kwh", "0.05", "--json", "-")
    found = answer(cli("monitor", "run.parquet", *words))
    assert found["kind"] == "requests"
    assert found["state"]["theta_w"] == pytest.approx(20, abs=30)
    # a second moment of 2e6 J^2 a second, a third of 6e9 J^3
    assert found["state"]["sigma2"] == pytest.approx(2e6, rel=0.5)
    assert found["ladder"]["storage_per_overshoot"] == pytest.approx(180, rel=0.5)
    assert found["rates"] == {}
    assert "idle power" in found["notes"][0]

    # without a supply: the demand about its own mean, and nothing that would need a supply
    alone = answer(cli("monitor", "run.parquet", "--json", "-"))
    assert alone["state"]["sigma2"] == pytest.approx(found["state"]["sigma2"])
    for name in ("theta_w", "theta_w_low", "change_w", "y", "regime"):
        assert alone["state"][name] is None, name
    assert alone["whole"]["theta"] is None
    assert alone["alarms"] == []
    assert "--baseline-kw" in alone["notes"][0]
    assert "--baseline-kw" in alone["missing"][0]
    assert not any("capacity of the storage" in said for said in alone["missing"])
    text = cli("monitor", "run.parquet").out
    assert "variance rate" in text
    assert "drift theta" not in text
    assert "to the target" not in text
    cli("monitor", "run.parquet", "--storage-kwh", "1").refused("--storage-kwh", "--baseline-kw")
    cli("monitor", "run.parquet", "--target-kw", "1").refused("--target-kw", "--baseline-kw")


def test_requests_without_a_supply_that_change_raise_an_alarm(cli, folder):
    random = np.random.default_rng(3)
    arrival = np.cumsum(random.exponential(1.0, 20_000))
    energy = random.exponential(1000, arrival.size)
    energy[arrival.size // 2 :] *= 1.5
    pl.DataFrame({"arrival_s": arrival, "finish_s": arrival + 2, "energy_j": energy}).write_parquet(
        folder / "run.parquet"
    )
    alarms = answer(cli("monitor", "run.parquet", "--json", "-"))["alarms"]
    assert {alarm["direction"] for alarm in alarms} == {"surplus", "deficit"}


def test_any_table_with_dates(cli, folder):
    """Ten days of half hours: sun by day, and a fixed load."""
    t = np.arange(480)
    sun = (
        6
        * np.maximum(0, np.sin(2 * np.pi * t / 48))
        * np.random.default_rng(3).uniform(0.7, 1.0, 10).repeat(48)
    )
    rows = [
        f"2025-03-{1 + i // 48:02}T{i % 48 // 2:02}:{30 * (i % 2):02}Z,{sun[i]:.4f},1.6" for i in t
    ]
    (folder / "site.csv").write_text("time,pv_kw,load_kw\n" + "\n".join(rows) + "\n")
    words = ("monitor", "site.csv", "--supply-column", "pv_kw", "--demand-column", "load_kw")
    found = answer(cli(*words, "--storage-kwh", "50", "--json", "-"))
    assert found["daily"]["found"]
    assert found["start"].startswith("2025-03-01T00:00")
    assert found["state"]["regime"] is None
    assert any("10 batches, 20 are needed" in said for said in found["missing"])
    text = cli(*words).out
    assert "480 rows, 10.0 days from 2025-03-01 00:00" in text
    assert "10 whole days" in text
    text = cli(*words, "--block-s", "21600", "--storage-kwh", "50").out
    assert "blocks of 21600 s, as asked" in text


def test_meters_alone(cli, folder):
    hours = np.arange(2000)
    pl.DataFrame(
        {"time_s": hours * 3600.0, "grid_kwh": hours * 0.5, "spill_kwh": hours * 0.5}
    ).write_csv(folder / "m.csv")
    words = ("monitor", "m.csv", "--aux-column", "grid_kwh", "--waste-column", "spill_kwh")
    cli(*words).refused("--storage-kwh")
    outcome = cli(*words, "--storage-kwh", "10", "--out", "out")
    assert "out/monitor.png" in outcome.new
    assert "The site is critical" in outcome.out
    assert "observed 500 W" in outcome.out
    found = answer(cli(*words, "--storage-kwh", "10", "--json", "-"))
    assert found["meters"]["sigma2"] == pytest.approx(10 * KWH * 1000)
    assert found["meters"]["y"] == 0
    (folder / "bad.csv").write_text("time_s,grid_kwh,spill_kwh\n0,1,1\n1,0.5,2\n")
    cli("monitor", "bad.csv", *words[2:], "--storage-kwh", "1").refused(
        "grid_kwh", "0.5 after 1 in data row 2"
    )


def test_one_meter_that_stands_still_gives_a_bound(cli, folder):
    (folder / "m.csv").write_text("time_s,a_j,w_j\n0,1,1\n100000,1,90\n")
    words = ("monitor", "m.csv", "--aux-column", "a_j", "--waste-column", "w_j", *STORE)
    assert "regime is not known" in cli(*words).out
    found = answer(cli(*words, "--variance", "0.01", "--json", "-"))
    assert found["meters"]["y"] == "inf"
    assert found["meters"]["y_low"] > -10


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--storage-kwh", "0"), ("--storage-kwh", "above 0")),
        (("--storage-kwh", "nan"), ("--storage-kwh",)),
        (("--confidence", "1"), ("--confidence",)),
        (("--variance", "-1"), ("--variance",)),
        (("--block-s", "0"), ("--block-s",)),
        (("--threshold", "inf"), ("--threshold",)),
        (("--slack", "-1"), ("slack",)),
        (("--net-column", "nett_j"), ("nett_j",)),
        (("--baseline-kw", "1"), ("--baseline-kw",)),
        (("--out", "slots.parquet"), ("slots.parquet is a file",)),
        (("--block-s", "1e9"), ("block_s",)),
    ],
)
def test_misuse_is_refused(cli, folder, flags, said):
    site(folder)
    cli("monitor", "slots.parquet", *flags).refused(*said)
    cli("monitor", "gone.csv").refused("no such file")


def test_alarms_of_one_direction_are_one_run():
    alarms = [
        Alarm(time_s=t, since_s=t - 1, direction=d, drift_w=1.0)
        for t, d in ((1, "surplus"), (2, "surplus"), (3, "deficit"), (4, "surplus"))
    ]
    assert [len(run) for run in runs_of_alarms(alarms)] == [2, 1, 1]
