"""A site over part of a year, and the hourly profile of long traces."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from baseload.planner.charts import ride_along
from baseload.planner.demand import _without_profile
from baseload.planner.demand_records import Demand
from baseload.planner.site_supply import supply_of_site
from baseload.supply.baseline import Constant, PvYear, Sum, WindYear
from baseload.supply.site import Site

SUN = np.tile(np.maximum(0.0, np.sin((np.arange(24) - 6) / 12 * math.pi)), 365)


def test_a_span_takes_whole_days_of_what_is_recorded():
    year = SUN * np.repeat(np.linspace(0.5, 1.0, 365), 24)
    site = Site(baseline=PvYear(capacity_factor=year, installed_w=1000.0))
    supply = supply_of_site(site, span_s=2.5 * 86_400)
    assert len(supply.series_w) == 72
    assert supply.baseline_w == pytest.approx(1000.0 * year[:72].mean())
    assert len(supply_of_site(site).series_w) == 8760


def test_a_year_that_never_moves_is_a_constant():
    still = WindYear(capacity_factor=[0.4], installed_w=1000.0)
    site = Site(baseline=Sum(sources=(Constant(value_w=100.0), still)))
    supply = supply_of_site(site, span_s=86_400.0)
    assert supply.series_w == ()
    assert supply.baseline_w == pytest.approx(500.0)


def test_the_profile_is_the_least_squares_fit():
    """Once, two weeks of trace took minutes: every hour was fitted against every other."""
    rng = np.random.default_rng(4)
    values, hours = rng.random(3000).cumsum(), 24
    place = (np.arange(len(values)) + 0.5) * (hours / len(values))
    hats = np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(hours + 1)[None, :]))
    fitted = hats @ np.linalg.lstsq(hats, values, rcond=None)[0]
    assert _without_profile(values, hours) == pytest.approx(values - fitted, abs=1e-9)


def test_a_fuller_store_lasts_longer_along_the_series():
    site = Site(baseline=PvYear(capacity_factor=SUN, installed_w=3000.0))
    supply = supply_of_site(site, span_s=86_400.0)
    drawn = Demand(
        name="made", mean_w=1.05 * supply.baseline_w, base_w=500.0, var_j2_per_s=1e4,
        requests_per_s=1.0, ca2=1.0, span_s=86_400.0, obtained="assumed",
    )  # fmt: skip
    assert ride_along(drawn, supply) is None
    chart = ride_along(drawn, msgspec.structs.replace(supply, store_j=5 * 3.6e6))
    lasts = chart.lines[0].y
    assert list(lasts) == sorted(lasts)
    assert lasts[-1] > 2.0
