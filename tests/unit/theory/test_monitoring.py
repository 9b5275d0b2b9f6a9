"""Run lengths, drifts and meters."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from baseload.base.errors import BadInputError
from baseload.theory.monitoring import (
    bias_inflation,
    cusum_arl,
    index_variance,
    meter_use,
    meters_only,
    regime_confidence,
    smallest_visible_drift,
)
from baseload.theory.normal import PHI_0, cdf, pdf
from baseload.theory.regime import label_of
from baseload.theory.regulator import g


def simulated_run_lengths(mu, k, h, runs, two_sided):
    """Blocks to the first alarm of many charts at once (seed 13)."""
    random = np.random.default_rng(13)
    up, down = np.zeros(runs), np.zeros(runs)
    length, alive = np.zeros(runs), np.ones(runs, dtype=bool)
    while alive.any():
        z = random.normal(mu, 1, size=alive.sum())
        up[alive] = np.maximum(0, up[alive] + z - k)
        down[alive] = np.maximum(0, down[alive] - z - k)
        length[alive] += 1
        alive &= (up < h) & ((down < h) | (not two_sided))
    return length


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize(("mu", "h"), [(0.5, 8.0), (0.25, 6.0), (0.0, 4.0)])
def test_run_length_against_simulation(mu, h, two_sided):
    lengths = simulated_run_lengths(mu, 0.25, h, 4000, two_sided)
    error = lengths.std() / math.sqrt(4000)
    formula = cusum_arl(mu=mu, k=0.25, h=h, two_sided=two_sided)
    assert formula == pytest.approx(lengths.mean(), abs=0.03 * lengths.mean() + 4 * error)


@pytest.mark.parametrize("cut", [0.01, 1e-3, 0.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_run_length_has_no_jump(cut, sign):
    b = 8 + 1.166
    drift = sign * cut / b
    values = [
        cusum_arl(mu=drift * (1 + step) + (step if cut == 0 else 0), k=0, h=8)
        for step in (-1e-12, 0, 1e-12)
    ]
    assert max(values) == pytest.approx(min(values), rel=1e-9)
    if cut == 0:
        assert values[1] == pytest.approx(b * b, rel=1e-12)


@given(mu=st.floats(-20, 20), k=st.floats(0, 3), h=st.floats(0, 30))
def test_run_length_falls_with_the_shift_and_two_charts_alarm_first(mu, k, h):
    one = cusum_arl(mu=mu, k=k, h=h)
    assert one > 0
    assert cusum_arl(mu=mu + 0.5, k=k, h=h) <= one * (1 + 1e-9)
    both = cusum_arl(mu=mu, k=k, h=h, two_sided=True)
    assert both <= one * (1 + 1e-9)
    assert both == pytest.approx(cusum_arl(mu=-mu, k=k, h=h, two_sided=True))


def test_a_chart_that_never_alarms():
    assert cusum_arl(mu=-100, k=0, h=100) == math.inf


def test_the_visible_drift_is_seen_as_often_as_it_says():
    drift = smallest_visible_drift(var=4, T=100, false_alarm=0.05, power=0.8)
    sd = math.sqrt(4 / 100)
    assert cdf((drift - 1.959964 * sd) / sd) == pytest.approx(0.8, abs=1e-6)
    assert smallest_visible_drift(var=0, T=100) == 0
    with pytest.raises(BadInputError, match="power"):
        smallest_visible_drift(var=1, T=1, power=1)


@pytest.mark.parametrize("y", [-30.0, -2.0, -1e-6, 0.0, 1e-4, 0.5, 5.0, 40.0])
def test_meters_invert_the_regulator(y):
    var, storage, time_s = 4.0, 50.0, 1e6
    used, lost = (var / (2 * storage) * g(v) * time_s for v in (y, -y))
    found = meters_only(U=used, W=lost, B=storage, T=time_s)
    assert found.y == pytest.approx(y, abs=1e-9)
    assert found.sigma2 == pytest.approx(var, rel=1e-9)
    assert found.y_low < y < found.y_high
    assert found.theta == pytest.approx(y * var / (2 * storage), abs=1e-12)
    assert found.regime == label_of(y)


def test_at_the_critical_point_the_index_has_its_known_variance():
    assert index_variance(y=0, var=4, B=50, T=1e6) == pytest.approx(4 * 50**2 / 4e6)
    for y in (0.1, 2.0, 30.0):
        assert index_variance(y=y, var=4, B=50, T=1e6) == pytest.approx(
            index_variance(y=-y, var=4, B=50, T=1e6)
        )
    values = [index_variance(y=y, var=4, B=50, T=1e6) for y in (0.1 - 1e-10, 0.1 + 1e-10)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_the_spread_of_the_index_against_simulated_storage():
    """Seed 21: 1,000 normal walks between two walls, off the critical point (y = 1.5)."""
    random = np.random.default_rng(21)
    walks, steps, sd, wall = 1000, 12_000, 1.0, 12.0
    effective = wall + 2 * 0.5826 * sd
    drift = 1.5 * sd**2 / (2 * effective)
    level = random.uniform(0, wall, walks)
    used, lost = np.zeros(walks), np.zeros(walks)
    for _ in range(steps):
        level += random.normal(drift, sd, walks)
        used -= np.minimum(level, 0)
        lost += np.maximum(level - wall, 0)
        np.clip(level, 0, wall, out=level)
    spread = np.var(np.log(lost / used))
    formula = index_variance(y=1.5, var=sd**2, B=effective, T=steps)
    assert spread == pytest.approx(formula, rel=4 * math.sqrt(2 / walks))


def test_a_silent_meter_gives_one_side():
    known = meters_only(U=0, W=100, B=50, T=1e4, var=4)
    assert (known.y, known.y_high, known.sigma2) == (math.inf, math.inf, None)
    turns = 4 * 1e4 / 50**2
    bound = known.y_low
    mean_windows = 2 * (math.expm1(bound) - bound) / bound**2 / turns
    assert math.exp(-1 / mean_windows) == pytest.approx(0.05)
    mirrored = meters_only(U=100, W=0, B=50, T=1e4, var=4)
    assert (mirrored.y, mirrored.y_low, mirrored.y_high) == (-math.inf, -math.inf, -bound)
    unknown = meters_only(U=0, W=100, B=50, T=1e4)
    assert unknown.y_low is None
    assert "var" in unknown.says
    neither = meters_only(U=0, W=0, B=50, T=1e4, var=4)
    assert neither.y is None
    for time_s in (1e-3, 1e12):
        assert math.isfinite(meters_only(U=0, W=1, B=50, T=time_s, var=4).y_low)


def test_labels():
    labels = [label_of(y) for y in (-math.inf, -3.1, -3, -1, 0, 1, 1.1, 3, 3.1, math.inf)]
    assert labels == [
        "under-supplied", "under-supplied", "near-critical", "critical", "critical", "critical",
        "near-critical", "near-critical", "over-supplied", "over-supplied",
    ]  # fmt: skip
    assert regime_confidence(y=0, sd=0.1) == pytest.approx(1)
    assert regime_confidence(y=3.0001, sd=1) == pytest.approx(0.5, abs=1e-3)
    assert regime_confidence(y=2, sd=0) == 1
    assert regime_confidence(y=0, sd=math.inf) == 0


def growth(d):
    """E[U_T] / (sigma sqrt T) of a walk that starts empty, drift d down."""
    extra = (2 * cdf(d) - 1) / (2 * d) if abs(d) > 1e-6 else PHI_0
    return pdf(d) + d * cdf(d) + extra


@pytest.mark.parametrize(
    ("ratio", "known"), [(0.1, 1.016), (0.5, 1.078), (1, 1.148), (2, 1.271), (10, 1.954)]
)
def test_inflation_is_the_average_over_the_bias(ratio, known):
    found = bias_inflation(T=ratio, T0=1)
    assert found == pytest.approx(known, abs=6e-4)
    sd = math.sqrt(ratio)
    mean = quad(lambda d: growth(d) * pdf(d / sd) / sd, -12 * sd, 12 * sd, epsabs=1e-12)[0]
    assert found == pytest.approx(mean / (2 * PHI_0), rel=1e-8)


def test_inflation_ends():
    assert bias_inflation(T=0, T0=5) == 1
    pair = [bias_inflation(T=1e-8 * f, T0=1) for f in (1 - 1e-6, 1 + 1e-6)]
    assert pair[0] == pytest.approx(pair[1], rel=1e-12)


def test_meter_readings():
    assert meter_use([5.0, 5.0, 9.0], [0.0, 60.0, 120.0]) == (4.0, 120.0)
    for readings, times, named in (
        ([5.0, 4.0], [0, 1], r"readings\[1\]"),
        ([-1.0, 4.0], [0, 1], r"readings\[0\]"),
        ([1.0, 4.0], [1, 1], r"times_s\[1\]"),
        ([1.0], [1], "readings"),
    ):
        with pytest.raises(BadInputError, match=named):
            meter_use(readings, times)
