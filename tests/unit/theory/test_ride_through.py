"""Time to the first auxiliary joule: laws, limits, independent routes."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.base.streams import stream
from baseload.theory.ride_through import (
    autonomy_time,
    log_mean_ride_through,
    mean_ride_through,
    p_any_aux,
    p_any_aux_finite_store,
    p_any_aux_infinite_store,
    p_no_aux_stationary_zero_drift,
    start_with_slots,
)

NODES, WEIGHTS = np.polynomial.legendre.leggauss(400)


def talbot(S0, theta, var, B, T, nodes=32):
    """Fixed Talbot inversion of the transform of the time to empty: an independent route."""

    def transform(q):
        root = cmath.sqrt(theta**2 + 2 * q * var)
        up, down = (-theta + root) / var, (-theta - root) / var
        k = -(down / up) * cmath.exp((down - up) * B)
        return (cmath.exp(down * S0) + k * cmath.exp(up * S0)) / (1 + k) / q

    r = 2 * nodes / (5 * T)
    total = 0.5 * math.exp(r * T) * transform(r).real
    for i in range(1, nodes):
        angle = i * math.pi / nodes
        turn = 1 / math.tan(angle)
        s = r * angle * (turn + 1j)
        sigma = angle + (angle * turn - 1) * turn
        total += (cmath.exp(s * T) * transform(s) * (1 + 1j * sigma)).real
    return r / nodes * total


@given(st.floats(0.01, 1), st.floats(-4, 4), st.floats(0.01, 5))
def test_the_contour_agrees_with_talbot(S0, y, T):
    found = p_any_aux_finite_store(S0=S0, theta=y / 2, var=1.0, B=1.0, T=T)
    assert found == pytest.approx(talbot(S0, y / 2 + 1e-12, 1.0, 1.0, T), abs=1e-7)


@given(st.floats(0.0, 1), st.floats(0.01, 30))
def test_the_contour_agrees_with_the_series_at_zero_drift(S0, T):
    c = (2 * np.arange(60) + 1) * math.pi / 2
    series = 1 - float((2 / c * np.sin(c * S0) * np.exp(-c * c * T / 2)).sum())
    found = p_any_aux_finite_store(S0=S0, theta=0.0, var=1.0, B=1.0, T=T)
    assert found == pytest.approx(series, abs=1e-12)


@given(st.floats(1e-6, 1), st.floats(-1e3, 1e3), st.floats(-9, 9), st.floats(0.001, 2))
def test_probability_rises_in_time_and_falls_in_level_and_capacity(S0, y, log_T, more):
    args = {"theta": y / 2, "var": 1.0}
    T = 10**log_T
    found = p_any_aux_finite_store(S0=S0, B=1.0, T=T, **args)
    assert 0 <= found <= 1
    assert p_any_aux_finite_store(S0=S0, B=1.0, T=T * (1 + more), **args) >= found - 1e-11
    assert p_any_aux_finite_store(S0=S0 / (1 + more), B=1.0, T=T, **args) >= found - 1e-11
    assert p_any_aux_finite_store(S0=S0, B=1.0 + more, T=T, **args) <= found + 1e-11
    assert p_any_aux_infinite_store(S0=S0, T=T, **args) <= found


@pytest.mark.parametrize("y", [638.0, 650.0, 700.0, 742.42, 745.0, 760.0])
def test_a_store_that_never_empties_is_an_infinite_one(y):
    """The two poles of the transform merge to round-off; one of them once kept its residue."""
    args = {"S0": 0.75, "theta": y / 2, "var": 1.0, "T": 1.0}
    assert p_any_aux_finite_store(B=1.0, **args) == p_any_aux_infinite_store(**args)


@pytest.mark.parametrize("y", [2.0, 1e-12, -1e-12, 700.0, 2.0 + 1e-13])
def test_probability_is_continuous_where_a_pole_appears(y):
    args = {"S0": 0.6, "var": 1.0, "B": 1.0, "T": 0.7}
    here = p_any_aux_finite_store(theta=y / 2, **args)
    for near in (y * (1 - 1e-10), y * (1 + 1e-10)):
        assert p_any_aux_finite_store(theta=near / 2, **args) == pytest.approx(here, abs=1e-9)


@given(st.floats(0.01, 5), st.floats(-2, 2), st.floats(0.1, 50))
def test_infinite_store_against_the_inverse_gaussian_density(S0, theta, T):
    def density(t):
        return S0 / math.sqrt(2 * math.pi * t**3) * math.exp(-((S0 + theta * t) ** 2) / (2 * t))

    # in log time, over the stretch that holds the mass
    low, high = math.log(min(S0**2 / 100, T / 100)), math.log(T)
    times = np.exp(low + (high - low) / 2 * (NODES + 1))
    values = [time * density(time) for time in times.tolist()]
    expected = (high - low) / 2 * float(WEIGHTS @ np.array(values))
    found = p_any_aux_infinite_store(S0=S0, theta=theta, var=1.0, T=T)
    assert found == pytest.approx(expected, abs=1e-9)
    assert p_any_aux(S0=S0, theta=theta, var=1.0, T=T) == found


def test_a_large_store_is_an_infinite_one():
    for theta in (-0.3, 0.0, 0.3):
        args = {"S0": 2.0, "theta": theta, "var": 1.5, "T": 20.0}
        wide = p_any_aux_finite_store(B=1e4, **args)
        assert wide == pytest.approx(p_any_aux_infinite_store(**args), abs=1e-13)


@pytest.mark.parametrize("theta", [1e6, -1e6, 1e150, -1e150, 0.0])
@pytest.mark.parametrize("T", [1e-300, 1e-12, 1.0, 1e12])
@pytest.mark.parametrize("S0", [0.0, 1e-9, 0.5, 1.0])
def test_probability_stays_one_at_every_extreme(S0, theta, T):
    found = p_any_aux_finite_store(S0=S0, theta=theta, var=1.0, B=1.0, T=T)
    assert 0 <= found <= 1
    assert found == 1.0 or S0 > 0
    assert 0 <= p_any_aux_infinite_store(S0=S0, theta=theta, var=1.0, T=T) <= found


def test_no_time_and_no_noise():
    for B in (2.0, math.inf):
        assert p_any_aux(S0=0.0, theta=1.0, var=1.0, B=B, T=0.0) == 1
        assert p_any_aux(S0=1.0, theta=-9.0, var=1.0, B=B, T=0.0) == 0
        assert p_any_aux(S0=1.0, theta=-1.0, var=0.0, B=B, T=0.99) == 0
        assert p_any_aux(S0=1.0, theta=-1.0, var=0.0, B=B, T=1.01) == 1
        assert p_any_aux(S0=1.0, theta=1.0, var=0.0, B=B, T=1e9) == 0


@settings(max_examples=20)
@given(st.floats(0.001, 1), st.floats(-30, 8))
def test_the_mean_is_the_integral_of_the_survival_probability(S0, y):
    mean = mean_ride_through(S0=S0, theta=y / 2, var=1.0, B=1.0)
    slowest = max(mean_ride_through(S0=1.0, theta=y / 2, var=1.0, B=1.0), 0.5)
    times = np.geomspace(1e-7 * mean, 40 * slowest, 300)
    alive = [
        1 - p_any_aux_finite_store(S0=S0, theta=y / 2, var=1.0, B=1.0, T=float(T)) for T in times
    ]
    assert np.trapezoid(alive * times, np.log(times)) == pytest.approx(mean, rel=2e-3)


@pytest.mark.parametrize("S0", [1e-6, 0.3, 1.0])
@pytest.mark.parametrize("y", [1.0, -1.0, 1e-4, -1e-4, 1e-9])
def test_the_mean_is_continuous_where_its_form_changes(S0, y):
    here, there = (
        mean_ride_through(S0=S0, theta=y * (1 + e) / 2, var=1.0, B=1.0) for e in (-1e-11, 1e-11)
    )
    assert here == pytest.approx(there, rel=1e-9)


def test_the_mean_against_its_equation():
    """var / 2 tau'' + theta tau' = -1, tau(0) = 0, tau'(B) = 0, by differences."""
    for theta in (-3.0, -0.2, 0.0, 1e-7, 0.4, 2.0):
        args = {"theta": theta, "var": 1.5, "B": 2.0}
        step = 1e-3
        low, mid, high = (mean_ride_through(S0=1.0 + shift, **args) for shift in (-step, 0.0, step))
        change = 0.75 * (high - 2 * mid + low) / step**2 + theta * (high - low) / (2 * step)
        assert change == pytest.approx(-1, abs=1e-4)
        ends = [mean_ride_through(S0=2.0 - k * step, **args) for k in (0, 1)]
        assert ends[0] - ends[1] < 1e-5
        assert mean_ride_through(S0=0.0, **args) == 0


def test_the_mean_at_its_ends():
    assert mean_ride_through(S0=3.0, theta=-1.5, var=0.0, B=5.0) == 2.0
    assert mean_ride_through(S0=3.0, theta=0.0, var=0.0, B=5.0) == math.inf
    assert mean_ride_through(S0=3.0, theta=-1.5, var=2.0) == 2.0
    assert mean_ride_through(S0=3.0, theta=0.0, var=2.0) == math.inf
    assert mean_ride_through(S0=3.0, theta=200.0, var=2.0, B=4.0) == math.inf
    logs = [
        log_mean_ride_through(S0=3.0, theta=y / 4, var=2.0, B=4.0) for y in (699.999999, 700.000001)
    ]
    assert logs[0] == pytest.approx(logs[1], abs=3e-6)
    assert log_mean_ride_through(S0=0.0, theta=1.0, var=2.0, B=4.0) == -math.inf
    assert mean_ride_through(S0=1.0, theta=-1e6, var=1.0, B=1.0) == pytest.approx(1e-6, rel=1e-5)
    assert mean_ride_through(S0=5.0 + 1e-9, theta=0.0, var=4.0, B=5.0) == pytest.approx(6.25)


def test_found_at_a_random_time_the_level_is_uniform():
    for T in (0.001, 0.05, 0.3, 2.0):
        nodes, weights = np.polynomial.legendre.leggauss(200)
        chances = [
            p_any_aux_finite_store(S0=float(S0), theta=0.0, var=1.0, B=1.0, T=T)
            for S0 in (nodes + 1) / 2
        ]
        expected = 1 - float(weights @ np.array(chances)) / 2
        found = p_no_aux_stationary_zero_drift(var=1.0, B=1.0, T=T)
        assert found == pytest.approx(expected, abs=1e-5)


def test_the_stationary_series_meets_its_other_end():
    near, far = (
        p_no_aux_stationary_zero_drift(var=1.0, B=1.0, T=0.01 * (1 + e)) for e in (-1e-12, 1e-12)
    )
    assert near == pytest.approx(far, abs=1e-11)
    assert p_no_aux_stationary_zero_drift(var=1.0, B=1.0, T=0.0) == 1
    assert p_no_aux_stationary_zero_drift(var=1.0, B=0.0, T=1.0) == 0
    assert p_no_aux_stationary_zero_drift(var=1.0, B=math.inf, T=1.0) == 1
    assert p_no_aux_stationary_zero_drift(var=1.0, B=1.0, T=1e9) == 0


@given(st.floats(0.01, 1), st.floats(-50, 20), st.floats(0.001, 0.999))
def test_autonomy_is_the_quantile(S0, y, risk):
    T = autonomy_time(S0=S0, theta=y / 2, var=1.0, risk=risk, B=1.0)
    assert p_any_aux(S0=S0, theta=y / 2, var=1.0, T=T, B=1.0) == pytest.approx(risk, abs=1e-9)


def test_autonomy_that_never_ends():
    assert autonomy_time(S0=3.0, theta=0.4, var=4.0, risk=0.9) == math.inf
    assert autonomy_time(S0=0.0, theta=0.4, var=4.0, risk=0.9) == 0
    assert autonomy_time(S0=3.0, theta=-0.5, var=0.0, risk=0.9) == 6.0
    assert autonomy_time(S0=3.0, theta=1e5, var=4.0, risk=0.9, B=3.0) == math.inf
    with pytest.raises(BadInputError, match="risk"):
        autonomy_time(S0=3.0, theta=0.4, var=4.0, risk=1.0)


def test_slots_shift_the_start_and_the_top():
    """4,000 walks, reflected at 10 standard deviations, until they first fall below 0."""
    rng = stream(3, "ride")
    level, steps = np.full(4000, 6.0), np.zeros(4000)
    alive = np.arange(4000)
    while alive.size:
        steps[alive] += 1
        moved = level[alive] + rng.normal(-0.05, 1.0, alive.size)
        level[alive] = np.minimum(moved, 10.0)
        alive = alive[moved >= 0]
    S0, B = start_with_slots(S0=6.0, B=10.0, sd=1.0)
    found = mean_ride_through(S0=S0, theta=-0.05, var=1.0, B=B)
    error = 4 * steps.std() / math.sqrt(4000)
    assert found == pytest.approx(steps.mean(), abs=error + 0.01 * found)


def test_a_start_outside_the_store_is_refused():
    for S0 in (-0.1, 5.1, math.nan):
        with pytest.raises(BadInputError, match="S0"):
            mean_ride_through(S0=S0, theta=0.0, var=1.0, B=5.0)
    with pytest.raises(BadInputError, match="B"):
        p_any_aux_finite_store(S0=0.0, theta=0.0, var=1.0, B=0.0, T=1.0)
    with pytest.raises(BadInputError, match="T"):
        p_any_aux_infinite_store(S0=0.0, theta=0.0, var=1.0, T=-1.0)
