"""How much of slow noise a store feels."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.planner.demand import law_of_values
from baseload.planner.demand_records import Demand, DemandVariance
from baseload.planner.records import Supply
from baseload.planner.routing_noise import noise_felt, shown

JOB = law_of_values(20.0 * np.exp(np.linspace(-1, 1, 50)))
RATE = 10.0
TERMS = DemandVariance(
    execution_j2_per_s=RATE * JOB.var_j2,
    mix_j2_per_s=0.0,
    routing_j2_per_s=0.0,
    arrivals_j2_per_s=2.0 * RATE * JOB.mean_j**2,
    temporal_j2_per_s=50_000.0,
)
DEMAND = Demand(
    name="made",
    mean_w=1000.0,
    base_w=1000.0 - RATE * JOB.mean_j,
    var_j2_per_s=TERMS.total_j2_per_s,
    requests_per_s=RATE,
    ca2=2.0,
    span_s=86_400.0,
    obtained="modelled",
    job=JOB,
    terms=TERMS,
    correlation_s=60.0,
)


def supply(store_j, **fields):
    return Supply(baseline_w=1000.0, store_j=store_j, slot_s=1.0, **fields)


@given(correlation=st.floats(1e-2, 1e3), over=st.floats(1e-3, 50.0))
def test_what_shows_is_the_integral_of_the_autocovariance(correlation, over):
    """Variance of an integrated rate over its long-run value: 2 int (t - s) r(s) ds / (2 tau t)."""
    window = over * correlation
    at = np.linspace(0.0, window, 2001)
    inside = (window - at) * np.exp(-at / correlation)
    expected = np.trapezoid(inside, at) / (correlation * window)
    assert shown(window, correlation) == pytest.approx(expected, rel=1e-3)


def test_the_ends_and_the_series():
    assert shown(5.0, 0.0) == 1.0
    assert shown(math.inf, 3.0) == 1.0
    assert shown(0.0, 3.0) == 0.0
    assert shown(0.99999e-4, 1.0) == pytest.approx(shown(1.00001e-4, 1.0), rel=1e-4)


def test_a_large_store_feels_all_and_a_small_one_little():
    felt = [noise_felt(DEMAND, supply(10.0**power)) for power in range(1, 9)]
    assert felt[-1].var_j2_per_s == pytest.approx(TERMS.temporal_j2_per_s, rel=1e-3)
    assert felt[-1].arrival_scv == pytest.approx(2.0, rel=1e-3)
    assert felt[-1].note == ""
    assert felt[0].var_j2_per_s < 0.01 * TERMS.temporal_j2_per_s
    assert felt[0].arrival_scv < 1.5
    assert "slow movement" in felt[0].note
    for low, high in itertools.pairwise(felt):
        assert low.crossing_s <= high.crossing_s
        assert low.var_j2_per_s <= high.var_j2_per_s
        assert low.arrival_scv <= high.arrival_scv


@pytest.mark.parametrize("store_j", [2e3, 2e4, 2e5])
def test_the_crossing_time_is_that_of_the_noise_felt(store_j):
    found = noise_felt(DEMAND, supply(store_j, var_j2_per_s=1e4, correlation_s=300.0))
    clumping = (found.arrival_scv - 1.0) * RATE * JOB.mean_j**2
    var = RATE * JOB.second_j2 + clumping + found.var_j2_per_s
    assert found.crossing_s == pytest.approx(store_j**2 / var, rel=1e-6)


def test_white_noise_counts_whole():
    white = msgspec.structs.replace(DEMAND, correlation_s=None)
    found = noise_felt(white, supply(100.0, var_j2_per_s=7.0))
    assert found.var_j2_per_s == pytest.approx(TERMS.temporal_j2_per_s + 7.0)


def test_regular_arrivals_stay_as_they_are():
    regular = msgspec.structs.replace(DEMAND, ca2=0.5, terms=None, job=None)
    assert noise_felt(regular, supply(100.0)) == (0.0, 0.5, math.inf, "")
