"""What ships: the names, the means its sources give, the hours that are missing, its size."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from baseload.base.errors import BadInputError, UnknownNameError
from baseload.sources import shipped as shipped_module
from baseload.sources.shipped import SHIPPED, shipped_series
from baseload.sources.signals import StaleRule, ns_of

ROOT = Path(__file__).parents[3]
FOLDER = ROOT.parent / "shared" / "data" / "supply"
HOUR = 3_600_000_000_000


@pytest.mark.parametrize(
    ("name", "mean"),
    [
        ("carbon/US-BPAT-2022", 55),
        ("carbon/US-CAISO-2022", 257),
        ("carbon/US-NYISO-2022", 273),
        ("carbon/US-ERCOT-2022", 348),
        ("carbon/US-PJM-2022", 363),
        ("carbon/GB-2020", 235),
        ("carbon/FR-2020", 54),
        ("price/DE-LU-2024", 78.5),
        ("price/DE-LU-2025", 89.6),
        ("pv/US-CAISO", 1717 / 8760),
        ("pv/US-ERCOT", 1497 / 8760),
        ("pv/US-PJM", 1357 / 8760),
        ("wind/US-ERCOT", 0.40),
        ("wind/US-CAISO", 0.17),
        ("wind/US-PJM", 0.15),
    ],
)
def test_means_are_those_of_the_sources(name, mean):
    found = np.nanmean(shipped_series(name).values)
    assert found == pytest.approx(mean, abs=0.5 if mean > 1 else 0.005)


def test_names_units_and_extent():
    assert len(SHIPPED) == 18
    for name, entry in SHIPPED.items():
        signal = shipped_series(name)
        assert (signal.unit, signal.kind) == (entry.unit, entry.kind)
        assert entry.source.split(",")[0] in signal.source
        assert np.isfinite(signal.values).sum() >= entry.hours - 16
    caiso = shipped_series("carbon/US-CAISO-2022")
    assert (caiso.first_ns, caiso.last_ns) == (
        ns_of("2022-01-01T00:00Z"),
        ns_of("2023-01-01T00:00Z"),
    )
    assert shipped_series("price/DE-LU-2025").first_ns == ns_of("2025-01-01T00:00Z")
    both = [shipped_series(f"price/DE-LU-{year}").values for year in (2024, 2025)]
    assert (np.concatenate(both) < 0).sum() == 1033
    assert shipped_series("pv/US-PJM").values.max() == pytest.approx(1 / 1.2, abs=1e-4)


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(UnknownNameError, match="carbon/US-CAISO-2022"):
        shipped_series("carbon/US-CAISO")
    with pytest.raises(UnknownNameError, match="pv/US-ERCOT"):
        shipped_series("pv/ERCOT")


def test_the_missing_hours_of_pjm_are_seen():
    signal = shipped_series("carbon/US-PJM-2022")
    (gap,) = signal.gaps
    assert (gap.start_ns, gap.length_s) == (ns_of("2022-03-13T13:00Z"), 16 * 3600.0)
    before = signal.at(gap.start_ns - 1)
    inside = signal.at(gap.start_ns + 8 * HOUR)
    assert (before.estimated, inside.estimated) == (False, True)
    assert inside.value == before.value
    assert inside.age_s == 8 * 3600.0
    assert inside.high - inside.value == pytest.approx(signal.spread * (8 / 24) ** 0.5)
    year = signal.sample(signal.first_ns, step_s=3600.0, count=8760)
    assert year.estimated.sum() == 16
    strict = shipped_series("carbon/US-PJM-2022", rule=StaleRule(refuse_s=6 * 3600.0))
    with pytest.raises(BadInputError, match="gap too long"):
        strict.sample(signal.first_ns, step_s=3600.0, count=8760)


def test_a_recorded_year_does_not_answer_for_another_unless_told():
    signal = shipped_series("carbon/US-CAISO-2022")
    with pytest.raises(BadInputError, match="2022-01-01T00:00:00Z to 2023-01-01"):
        signal.at(ns_of("2024-06-01T00:00Z"))
    repeated = shipped_series("carbon/US-CAISO-2022", repeat=True)
    found = repeated.at(ns_of("2024-06-01T00:00Z"))
    assert found.value == signal.at(ns_of("2022-06-01T00:00Z")).value
    assert found.estimated
    assert found.source.endswith("repeated")


def test_the_sun_is_highest_at_local_noon():
    for region, noon_utc in (("US-CAISO", 20), ("US-ERCOT", 18), ("US-PJM", 17)):
        signal = shipped_series(f"pv/{region}")
        days = signal.sample(ns_of("2023-01-01T00:00Z"), step_s=3600.0, count=8760).values
        assert abs(int(days.reshape(365, 24).mean(axis=0).argmax()) - noon_utc) <= 1


def test_a_shipped_series_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        shipped_module._column("carbon_us_2022", "US-CAISO")[0] = 1.0


def test_the_shipped_files_are_small_and_in_the_notice():
    folder = Path(shipped_module.__file__).parent / "data"
    files = sorted({entry.file for entry in SHIPPED.values()})
    assert sum((folder / f"{file}.parquet").stat().st_size for file in files) < 1_000_000
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for file in files:
        assert f"src/baseload/sources/data/{file}.parquet" in notice


@pytest.mark.shared_data
def test_the_shipped_files_are_those_of_the_source_files():
    if not FOLDER.is_dir():
        pytest.skip("the shared supply data are not on this machine")
    script = ROOT / "bench" / "_shipped_signals.py"
    done = subprocess.run(
        [sys.executable, script, FOLDER, "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.shared_data
def test_single_hours_are_those_of_the_source_files():
    if not FOLDER.is_dir():
        pytest.skip("the shared supply data are not on this machine")
    with (FOLDER / "us_grid_hourly_2022.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["region"] == "US-ERCOT"]
    signal = shipped_series("carbon/US-ERCOT-2022")
    for row in rows[::501]:
        there = signal.at(ns_of(row["timestamp_utc"]))
        assert there.value == float(row["ci_lifecycle_g_per_kwh"])
