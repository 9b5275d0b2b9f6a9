"""Estimators against direct sums and against series whose law is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from baseload.base.errors import ArgumentError, BadInputError
from baseload.theory.estimation import (
    BatchMeans,
    Ewma,
    autocorrelation,
    batch_means,
    ewma_moments,
    newey_west,
    newey_west_lag,
    variance_about_season,
)

SERIES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40)


def weighted(x, weights):
    """Mean, unbiased variance and effective number, as sums over samples and pairs."""
    x, w = np.array(x), np.array(weights)
    total = w.sum()
    mean = (w * x).sum() / total
    room = total - (w**2).sum() / total
    return mean, (w * (x - mean) ** 2).sum() / room if room > 0 else None, total**2 / (w**2).sum()


@given(x=SERIES, alpha=st.floats(0.01, 0.99))
def test_ewma_equals_weighted_sums(x, alpha):
    found = ewma_moments(x=x, alpha=alpha)
    mean, var, n_eff = weighted(x, (1 - alpha) ** np.arange(len(x) - 1, -1, -1.0))
    assert found["mean"] == pytest.approx(mean, rel=1e-9, abs=1e-9)
    assert found["n_eff"] == pytest.approx(n_eff, rel=1e-9)
    if len(x) == 1:
        assert found["var"] is None
    else:
        assert found["var"] == pytest.approx(var, rel=1e-6, abs=1e-6)


def test_irregular_times_fade_by_age():
    times = np.array([0.0, 1.0, 1.0, 5.0, 7.5])
    x = [1.0, 4.0, 2.0, 8.0, 3.0]
    found = ewma_moments(x=x, times=times, tau=3.0)
    mean, var, n_eff = weighted(x, np.exp(-(times[-1] - times) / 3.0))
    assert found == pytest.approx({"mean": mean, "var": var, "n_eff": n_eff})
    regular = ewma_moments(x=x, times=range(5), tau=-1 / math.log(0.8))
    assert regular == pytest.approx(ewma_moments(x=x, alpha=0.2))


def test_missing_samples_change_nothing_but_their_count():
    state = Ewma()
    assert (state.mean, state.var, state.n_eff) == (None, None, 0)
    once = state.updated(3.0, decay=0.8)
    assert (once.mean, once.var, once.n_eff) == (3, None, 1)
    skipped = once.updated(None, decay=0.8).updated(math.nan, decay=0.8)
    assert (skipped.missing, skipped.mean, skipped.samples) == (2, 3, 1)
    timed = Ewma().updated_at(1.0, time_s=5, tau_s=2).updated_at(None, time_s=6, tau_s=2)
    assert (timed.time_s, timed.missing) == (5, 1)


def test_the_variance_needs_two_samples_of_weight():
    assert ewma_moments(x=[1, 2, 3], alpha=1)["var"] is None
    far = Ewma().updated_at(1.0, time_s=0, tau_s=1).updated_at(2.0, time_s=1e9, tau_s=1)
    assert far.var is None
    near = Ewma().updated(1.0, decay=1e-12).updated(2.0, decay=1e-12)
    assert near.var == pytest.approx(
        0.5, rel=1e-9
    )  # two samples a unit apart, whatever the weights


def test_many_samples_count_as_two_over_alpha():
    found = ewma_moments(x=np.zeros(2000), alpha=0.05)
    assert found == pytest.approx({"mean": 0, "var": 0, "n_eff": 1.95 / 0.05})


@pytest.mark.parametrize(
    "inputs",
    [
        {"x": [], "alpha": 0.1},
        {"x": [1, math.nan], "alpha": 0.1},
        {"x": [1], "alpha": 0},
        {"x": [1]},
        {"x": [1, 2], "times": [2, 1], "tau": 1},
        {"x": [1], "alpha": 0.1, "times": [0], "tau": 1},
    ],
)
def test_bad_series_are_refused(inputs):
    with pytest.raises(BadInputError):
        ewma_moments(**inputs)


@given(x=SERIES, lag=st.integers(0, 60))
def test_newey_west_equals_direct_sums(x, lag):
    off = np.array(x) - np.mean(x)
    n = len(x)
    total = (off**2).sum() / n
    for h in range(1, min(lag, n - 1) + 1):
        total += 2 * (1 - h / (lag + 1)) * (off[h:] * off[:-h]).sum() / n
    assert newey_west(x=x, lag=lag) == pytest.approx(total, rel=1e-6, abs=1e-6)
    assert newey_west(x=x, lag=lag, slot=4) == pytest.approx(total / 4, rel=1e-6, abs=1e-6)


def test_the_plug_in_lag():
    assert newey_west_lag(n=4096, autocorrelation=0) == 0
    assert newey_west_lag(n=4096, autocorrelation=0.7) == 36
    assert newey_west_lag(n=4096, autocorrelation=1) == newey_west_lag(n=4096, autocorrelation=0.97)
    assert newey_west_lag(n=5, autocorrelation=0.9) == 4
    assert newey_west(x=[2.0, 2.0, 2.0]) == 0
    assert newey_west(x=[7.0]) == 0
    assert autocorrelation([1.0, 1.0]) == 0


def ar1(seed, rows, n, f):
    """AR(1) rows with unit innovations: long-run variance 1 / (1-f)^2."""
    noise = np.random.default_rng(seed).normal(size=(rows, n + 200))
    return lfilter([1], [1, -f], noise, axis=1)[:, 200:]


def test_newey_west_on_ar1_is_within_its_stated_bias():
    found = np.array([newey_west(x=row) for row in ar1(11, 60, 4096, 0.7)]) * 0.3**2
    error = found.std() / math.sqrt(60)
    assert -0.08 - 4 * error < found.mean() - 1 < 4 * error


def test_intervals_of_batch_means_cover():
    """Seed 7, 400 series: 95 % of the intervals hold the truth, within 4 standard errors."""
    hits = np.zeros(2)
    for row in ar1(7, 400, 4096, 0.7):
        found = batch_means(x=row, batch=64)
        hits += (
            found.sigma2_low <= 1 / 0.09 <= found.sigma2_high,
            found.theta_low <= 0 <= found.theta_high,
        )
    room = 4 * math.sqrt(0.95 * 0.05 / 400)
    assert hits / 400 == pytest.approx([0.953, 0.945], abs=room)


def test_batch_means_are_unbiased_for_independent_slots():
    rows = np.random.default_rng(3).normal(2.0, 3.0, size=(500, 300))
    found = np.array([batch_means(x=row, batch=10, slot=60.0).sigma2 for row in rows])
    assert found.mean() == pytest.approx(9 / 60, abs=4 * found.std() / math.sqrt(500))
    doubled = np.array([batch_means(x=row, slot=60.0).sigma2 for row in rows])
    assert doubled.mean() == pytest.approx(9 / 60, abs=4 * doubled.std() / math.sqrt(500))


@given(n=st.integers(0, 500))
def test_doubling_keeps_the_sums(n):
    x = np.random.default_rng(n).normal(1, 2, size=n)
    online = BatchMeans(batches=20)
    for value in x:
        online.update(float(value), 2.0)
    found = online.estimate()
    assert found.batches < 40
    if n:
        assert found.theta == pytest.approx(x.mean() / 2, abs=1e-12)
    if found.batches >= 2:
        size = found.batch_slots
        means = x[: found.batches * size].reshape(-1, size).mean(axis=1)
        assert found.sigma2 == pytest.approx(size * means.var(ddof=1) / 2, rel=1e-9)
    if n >= 3:
        assert online.correlation() == pytest.approx(autocorrelation(x), abs=1e-9)


def test_too_short_batches_say_so():
    row = ar1(5, 1, 4096, 0.9)[0]
    short = batch_means(x=row, batch=16)
    assert not short.enough
    assert "are needed for their correlation" in short.says
    few = batch_means(x=row, batch=1024)
    assert "20 are needed" in few.says
    assert batch_means(x=ar1(5, 1, 65536, 0.9)[0], batch=1024).enough


def test_a_constant_series_has_no_variance():
    found = batch_means(x=[0.1] * 1000, slot=60)
    assert found.sigma2 == found.sigma2_high == 0
    assert found.theta_low == found.theta_high == found.theta
    assert found.correlation_slots == 1


def test_unequal_slots_are_weighed_by_their_time():
    """Brownian slots of many lengths: the variance rate is one."""
    random = np.random.default_rng(9)
    found = []
    for _ in range(200):
        online = BatchMeans()
        for d in random.uniform(1, 100, size=320):
            online.update(float(random.normal(0.5 * d, math.sqrt(d))), float(d))
        found.append(online.estimate().sigma2)
    assert np.mean(found) == pytest.approx(1, abs=4 * np.std(found) / math.sqrt(200))


@pytest.mark.parametrize(
    ("energy", "duration"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, 0.0), (1.0, math.nan)]
)
def test_bad_slots_are_refused(energy, duration):
    with pytest.raises(BadInputError):
        BatchMeans().update(energy, duration)


def test_no_data_no_numbers():
    found = BatchMeans().estimate()
    assert (found.theta, found.sigma2, found.enough) == (None, None, False)
    with pytest.raises(BadInputError, match="batches"):
        BatchMeans(batches=4)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"window": 30}, "odd"), ({"window": 2}, "window"), ({"x": np.ones(61)}, "two windows")],
)
def test_a_season_needs_room(change, words):
    with pytest.raises(ArgumentError, match=words):
        variance_about_season(**({"x": np.ones(100), "window": 31} | change))


def test_variance_about_a_season_is_that_of_the_scatter():
    rng = np.random.default_rng(3)
    wave = 10 * np.sin(2 * np.pi * np.arange(3650) / 365)
    found = variance_about_season(x=wave + rng.standard_normal(3650), slot=2.0)
    assert found == pytest.approx(0.5, rel=0.15)
