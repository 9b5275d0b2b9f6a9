"""Days of a recorded supply about their season, and how long a store lasts along it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.streams import stream
from baseload.planner.records import Supply
from baseload.planner.weather import ride_through_of_series, weather_j2_per_s, with_weather
from baseload.supply.slot import run_slots
from baseload.supply.store import Store

HOUR, DAY = 3600.0, 86_400.0


def sunny(days, deviation, *, keep=0.0, seed=0):
    """Hours of days whose mean follows the season and an AR(1) weather [W]."""
    rng = stream(seed, "tests", "weather")
    weather = np.zeros(days)
    for day in range(1, days):
        weather[day] = keep * weather[day - 1] + math.sqrt(1 - keep**2) * rng.standard_normal()
    season = 1000 + 300 * np.sin(2 * np.pi * np.arange(days) / 365)
    profile = np.maximum(0, np.sin(2 * np.pi * np.arange(24) / 24))
    mean = season + deviation * weather
    return (mean[:, None] * profile / profile.mean()).ravel()


@pytest.mark.parametrize("keep", [0.0, 0.4])
def test_the_weather_of_known_days_is_found(keep):
    """Independent days of deviation s give s^2 DAY; an AR(1) of them (1 + f) / (1 - f) times it."""
    expected = 100.0**2 * DAY * (1 + keep) / (1 - keep)
    found = [weather_j2_per_s(sunny(365, 100, keep=keep, seed=seed), HOUR) for seed in range(12)]
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    low = 0.6 if keep else 0.9  # what is slower than a month counts as season
    assert low * expected - 4 * error < np.mean(found) < 1.1 * expected + 4 * error


def test_a_season_alone_is_no_weather():
    assert weather_j2_per_s(sunny(365, 0), HOUR) < 0.1 * 100.0**2 * DAY


def test_a_short_series_tells_nothing():
    assert weather_j2_per_s(sunny(61, 100), HOUR) == 0.0
    assert with_weather(Supply(baseline_w=5.0)).var_j2_per_s == 0.0


def test_a_store_under_a_constant_deficit_lasts_as_long_as_it_holds():
    supply = Supply(baseline_w=0.0, store_j=7200.0, start_frac=0.5)
    found = ride_through_of_series(np.full(48, -1.0), HOUR, supply)
    assert found.mean.value == pytest.approx(3600.0)
    assert found.quantile_10.value == pytest.approx(3600.0)
    assert (found.any_in_hour.value, found.any_in_day.value) == (1.0, 1.0)
    assert found.start_j == 3600.0


def test_a_store_that_never_empties_has_no_mean():
    found = ride_through_of_series(np.full(48, 1.0), HOUR, Supply(store_j=10.0))
    assert found.mean.value is None
    assert "60 days" in found.mean.note
    assert found.any_in_week.value == 0.0


@settings(max_examples=20)
@given(
    seed=st.integers(0, 1000),
    store_kj=st.floats(1, 5000),
    efficiency=st.floats(0.6, 1.0),
    limit_w=st.floats(50, 3000),
)
def test_it_lasts_as_long_as_the_slot_kernel_says(seed, store_kj, efficiency, limit_w):
    """One start against the kernel of the supply, slot by slot, with losses and power limits."""
    rng = stream(seed, "tests", "lasting")
    theta = rng.normal(-50, 300, 400)
    supply = Supply(
        store_j=1e3 * store_kj,
        start_frac=0.7,
        charge_efficiency=efficiency,
        discharge_efficiency=efficiency,
        leak_per_s=1e-6,
        charge_limit_w=limit_w,
        discharge_limit_w=limit_w,
    )
    store = Store(
        capacity_j=supply.store_j,
        charge_efficiency=efficiency,
        discharge_efficiency=efficiency,
        leak_per_s=1e-6,
        charge_limit_w=limit_w,
        discharge_limit_w=limit_w,
    )
    lasts = []
    for first in range(len(theta)):
        turned = np.roll(np.resize(theta, 2 * len(theta)), -first)
        columns = run_slots(
            np.maximum(turned, 0) * HOUR,
            np.maximum(-turned, 0) * HOUR,
            HOUR,
            store=store,
            start_j=0.7 * supply.store_j,
        ).columns
        short = np.flatnonzero(columns.auxiliary_j > 1e-6)
        lasts.append(short[0] if len(short) else math.inf)
    found = ride_through_of_series(theta, HOUR, supply)
    assert found.any_in_day.value == pytest.approx(np.mean(np.array(lasts) < 24), abs=0.01)
    assert found.any_in_week.value == pytest.approx(np.mean(np.array(lasts) < 168), abs=0.01)
