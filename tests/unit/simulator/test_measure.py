from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_scenarios import made_scenario, made_trace
from scipy import stats

from baseload.routing.policies import POLICIES
from baseload.simulator import measure
from baseload.simulator.measure import bin_edges, quantile
from baseload.simulator.records import BINS, E2E, TPOT, TTFT
from baseload.simulator.run import run_once
from baseload.simulator.statistics import interval, t_975

HALF_A_PERCENT = 0.005


def counted(values, of=TTFT):
    counts, _ = np.histogram(values, bins=bin_edges(of))
    return counts


@given(
    values=st.lists(st.floats(1e-3, 1e4), min_size=1, max_size=60),
    frac=st.sampled_from([0.5, 0.95, 0.99]),
)
@settings(max_examples=300, deadline=None)
def test_a_percentile_is_good_to_half_a_percent(values, frac):
    """Against the exact order statistic, few values and equal values included."""
    exact = float(np.quantile(values, frac, method="inverted_cdf"))
    found = quantile(counted(values), bin_edges(TTFT), frac)
    assert abs(found / exact - 1) <= HALF_A_PERCENT


def test_nothing_counted_is_no_percentile():
    assert quantile(np.zeros(BINS, dtype=np.int64), bin_edges(E2E), 0.5) is None


def test_percentiles_of_a_run_against_its_log():
    scenario = made_scenario(made_trace(3000))
    rows = []
    run = run_once(
        scenario,
        POLICIES["least_loaded"],
        scenario.requests(0),
        log=lambda _name, _seed, ended: rows.append(ended),
    )
    log = np.concatenate(rows)
    ttft_s = log["first_s"] - log["arrival_s"]
    e2e_s = log["finish_s"] - log["arrival_s"]
    many = log["output_tokens"] > 1
    tpot_s = ((log["finish_s"] - log["first_s"]) / np.maximum(1, log["output_tokens"] - 1))[many]
    for of, values in ((TTFT, ttft_s), (E2E, e2e_s), (TPOT, tpot_s)):
        counts = run.histogram[of].sum(axis=0)
        assert counts.sum() == len(values)
        for frac in (0.5, 0.95, 0.99):
            exact = float(np.quantile(values, frac, method="inverted_cdf"))
            assert quantile(counts, bin_edges(of), frac) == pytest.approx(exact, rel=HALF_A_PERCENT)


def test_bins_reach_from_a_tenth_of_a_millisecond_to_days():
    edges = bin_edges(E2E)
    assert edges[0] == 1e-4
    assert edges[-1] > 86_400 * 2
    assert len(edges) == BINS + 1
    assert (np.diff(edges) > 0).all()


def test_a_curve_rises_from_nothing_to_all():
    rng = np.random.default_rng(0)
    values = rng.lognormal(0, 1, 5000)
    curve = measure._curve(counted(values), TTFT)
    assert len(curve.x) == len(curve.frac) <= 201
    assert curve.frac[0] == 0.0
    assert curve.frac[-1] == 1.0
    assert (np.diff(curve.frac) >= 0).all()
    for x, frac in zip(curve.x, curve.frac, strict=True):
        assert (values <= x).mean() == pytest.approx(frac, abs=0.002)
    empty = measure._curve(np.zeros(BINS, dtype=np.int64), TTFT)
    assert (empty.x, empty.frac) == ([], [])


def test_student_s_t_is_the_table_s():
    for degrees in range(1, 16):
        assert t_975(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), abs=5e-4)
    for degrees in (16, 19, 25, 40, 59, 60, 1000):
        exact = stats.t.ppf(0.975, degrees)
        assert exact - 5e-4 <= t_975(degrees) <= exact * 1.03, degrees


def test_an_interval_covers_the_mean_nineteen_times_in_twenty():
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(2000):
        low, high = interval(list(rng.normal(3.0, 2.0, 5)))
        covered += low <= 3.0 <= high
    assert 0.93 < covered / 2000 < 0.97
    low, high = interval([1.0, 2.0, 3.0])
    assert (low + high) / 2 == pytest.approx(2.0)
    assert high - 2.0 == pytest.approx(4.303 / math.sqrt(3), rel=1e-3)
