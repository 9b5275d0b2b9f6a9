"""Supply that changes with the hour: balances, limits, independent routes."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.base.streams import stream
from baseload.theory.regulator import g
from baseload.theory.seasons import expected_aux_time_varying, fluid_swing, periodic_rates

DAY = "1.5*sin(2*pi*t/24)-0.1"


def test_a_sinusoid_swings_a_period_over_pi():
    swing = fluid_swing(theta="1.5*sin(2*pi*t/24)", period=24.0)
    assert swing.swing == pytest.approx(1.5 * 24 / math.pi, rel=1e-6)
    assert swing.drawdown == pytest.approx(swing.swing, rel=1e-6)
    assert swing.surge == pytest.approx(swing.swing, rel=1e-6)


def test_pieces_swing_exactly():
    swing = fluid_swing(theta=[1.0, -2.0, 3.0, -1.0], period=4.0)
    assert (swing.mean, swing.swing) == (0.25, pytest.approx(2.75))
    assert (swing.drawdown, swing.surge) == (pytest.approx(2.0), math.inf)
    assert fluid_swing(theta=-1.0, period=4.0).drawdown == math.inf
    assert fluid_swing(theta=0.0, period=4.0).swing == 0


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=12), st.floats(0.2, 8))
def test_without_noise_storage_below_the_swing_is_felt(pieces, B):
    period = float(len(pieces))
    swing = fluid_swing(theta=pieces, period=period)
    found = periodic_rates(theta=pieces, var=0.0, B=B, period=period)
    assert found.w - found.u == pytest.approx(swing.mean, abs=1e-12)
    if swing.drawdown <= B:
        assert found.u == pytest.approx(0, abs=1e-12)
    if swing.surge <= B:
        assert found.w == pytest.approx(0, abs=1e-12)


def transient(S0, theta, var, B, T):
    """E[U_T] of a constant drift, T >> B^2 / var (docs/explanation/critical-regime.md, 3.4)."""
    a = 2 * theta / var
    y = a * B
    level = B * (1 / (1 - math.exp(-y)) - 1 / y)
    below = (math.exp(y) / a * (1 - math.exp(-a * S0)) - S0) / math.expm1(y)
    mean = (math.exp(y) / a * (1 - y / math.expm1(y)) - level) / math.expm1(y)
    return var / (2 * B) * g(y) * T + mean - below


@pytest.mark.parametrize("S0", [0.0, 0.02, 0.6, 9.99, 10.0])
@pytest.mark.parametrize("theta", [1e-3, 0.5, -0.5, 3.0, -3.0])
def test_a_constant_drift_gives_the_transient_formula(S0, theta):
    found = expected_aux_time_varying(theta=theta, var=4.0, B=10.0, S0=S0, T=80.0)
    expected = transient(S0, theta, 4.0, 10.0, 80.0)
    assert pytest.approx(expected, rel=5e-4) == found.EU
    gained = theta * 80.0 + found.EU - found.EW
    assert found.level[-1] - S0 == pytest.approx(gained, abs=2e-3)


@pytest.mark.parametrize("T", [1e-6, 1e-3, 0.05, 0.2, 1.0, 3.0])
def test_an_empty_store_starts_as_the_square_root_of_time(T):
    one_wall = 2 * math.sqrt(2 * T / math.pi)
    low = expected_aux_time_varying(theta=0.0, var=4.0, B=20.0, S0=0.0, T=T)
    high = expected_aux_time_varying(theta=0.0, var=4.0, B=20.0, S0=20.0, T=T)
    assert pytest.approx(one_wall, rel=1e-3) == low.EU
    assert pytest.approx(one_wall, rel=1e-3) == high.EW
    assert abs(low.EW) < 1e-7


def lattice(n):
    """E[U] of the day by a walk on ``n`` levels in short explicit steps."""
    B, var, T = 10.0, 4.0, 48.0
    width = B / n
    step = 0.2 * width**2 / var
    law = np.zeros(n + 1)
    law[n // 2] = 1
    used = 0.0
    for k in range(round(T / step)):
        lean = (1.5 * math.sin(2 * math.pi * (k + 0.5) * step / 24) - 0.1) * step / (2 * width)
        up, down = 0.1 + lean, 0.1 - lean
        moved = law * (1 - up - down)
        moved[1:] += up * law[:-1]
        moved[:-1] += down * law[1:]
        moved[-1] += up * law[-1]
        moved[0] += down * law[0]
        used += down * law[0] * width
        law = moved
    return used


def test_a_diurnal_drift_against_a_lattice_walk():
    """Another grid and another time rule; its error is first order in the width."""
    found = expected_aux_time_varying(theta=DAY, var=4.0, B=10.0, S0=5.0, T=48.0)
    assert pytest.approx(2 * lattice(120) - lattice(60), rel=1e-3) == found.EU


def test_a_diurnal_drift_against_its_own_refinement():
    coarse = expected_aux_time_varying(theta=DAY, var=4.0, B=10.0, S0=5.0, T=48.0)
    fine = expected_aux_time_varying(
        theta=DAY, var=4.0, B=10.0, S0=5.0, T=48.0, cells=800, steps=8000
    )
    assert pytest.approx(fine.EU, rel=1e-4) == coarse.EU
    assert pytest.approx(fine.EW, rel=1e-4) == coarse.EW
    assert coarse.step_error < 2e-4 * coarse.EU
    assert coarse.u.shape == coarse.w.shape == coarse.end_s.shape == coarse.level.shape


def test_pieces_and_functions_agree():
    hours = np.arange(24 * 60) / 60 + 1 / 120
    pieces = 1.5 * np.sin(2 * np.pi * hours / 24) - 0.1
    args = {"var": 4.0, "B": 10.0, "S0": 2.0, "T": 24.0}
    one = expected_aux_time_varying(theta=pieces, **args)
    other = expected_aux_time_varying(
        theta=lambda t: 1.5 * math.sin(2 * math.pi * t / 24) - 0.1, **args
    )
    assert pytest.approx(other.EU, rel=1e-4) == one.EU


def test_no_noise_and_no_time():
    calm = expected_aux_time_varying(theta=[1.0, -2.0], var=0.0, B=3.0, S0=1.0, T=10.0)
    assert (pytest.approx(7.0), pytest.approx(3.0)) == (calm.EU, calm.EW)
    assert calm.level[-1] == 0
    none = expected_aux_time_varying(theta=1.0, var=4.0, B=3.0, S0=1.0, T=0.0)
    assert (none.EU, none.EW) == (0.0, 0.0)
    little = expected_aux_time_varying(theta=DAY, var=1e-4, B=3.0, S0=1.0, T=24.0)
    fluid = expected_aux_time_varying(theta=DAY, var=0.0, B=3.0, S0=1.0, T=24.0)
    assert pytest.approx(fluid.EU, rel=0.01) == little.EU


@pytest.mark.parametrize("theta", [0.0, 0.3, -0.3, 2.0])
def test_a_constant_drift_has_the_two_sided_rates(theta):
    found = periodic_rates(theta=theta, var=4.0, B=10.0, period=5.0)
    assert found.u == pytest.approx(0.2 * g(5 * theta), rel=1e-6)
    assert found.w - found.u == pytest.approx(theta, abs=1e-9)


@settings(max_examples=15)
@given(st.lists(st.floats(-2, 2), min_size=2, max_size=8), st.floats(0.1, 9), st.floats(1, 30))
def test_the_periodic_state_balances_and_repeats(pieces, var, B):
    found = periodic_rates(theta=pieces, var=var, B=B, period=12.0, cells=200)
    assert found.w - found.u == pytest.approx(np.mean(pieces), abs=1e-6)
    assert 0 < found.mean_level < B
    assert found.u > -1e-9


def test_the_periodic_state_is_where_a_long_run_goes():
    state = periodic_rates(theta=DAY, var=4.0, B=10.0, period=24.0)
    spans = [
        expected_aux_time_varying(theta=DAY, var=4.0, B=10.0, S0=3.0, T=T).EU
        for T in (240.0, 264.0)
    ]
    assert state.u == pytest.approx((spans[1] - spans[0]) / 24, rel=1e-3)
    finer = periodic_rates(theta=DAY, var=4.0, B=10.0, period=24.0, cells=800, steps=4000)
    assert state.u == pytest.approx(finer.u, rel=1e-3)


def test_a_slow_store_converges_too():
    """A store whose law needs thousands of periods to forget its start."""
    found = periodic_rates(theta="sin(2*pi*t/24)", var=4.0, B=1000.0, period=24.0, cells=200)
    assert found.u == pytest.approx(found.w, rel=1e-4)
    assert found.mean_level == pytest.approx(500.0, rel=1e-2)


def test_a_year_of_hours_takes_half_a_second():
    hours = np.arange(8760)
    cloud = stream(5, "sun").beta(3, 2, 8760)
    theta = 3e3 * np.maximum(0, np.sin(2 * np.pi * hours / 24)) * cloud - 580.0
    args = {"theta": theta, "var": 6e8, "B": 2e7, "period": 8760 * 3600.0}
    periodic_rates(**args, cells=200, steps=8760)  # compiles
    start = time.process_time()
    found = periodic_rates(**args, cells=200, steps=8760)
    assert time.process_time() - start < 1.0  # 0.17 s on an idle machine
    assert found.w - found.u == pytest.approx(theta.mean(), rel=1e-6)
    finer = periodic_rates(**args, cells=200, steps=3 * 8760)
    assert found.u == pytest.approx(finer.u, rel=0.01)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"B": 0.0}, "B"),
        ({"B": math.inf}, "B"),
        ({"T": -1.0}, "T"),
        ({"S0": 11.0}, "S0"),
        ({"theta": "cot(t)"}, "theta"),
        ({"var": -1.0}, "var"),
        ({"cells": 3}, "cells"),
        ({"steps": 0}, "steps"),
    ],
)
def test_bad_input_is_refused_by_name(change, field):
    args = {"theta": 0.1, "var": 4.0, "B": 10.0, "S0": 5.0, "T": 1.0}
    with pytest.raises(BadInputError) as caught:
        expected_aux_time_varying(**(args | change))
    assert caught.value.asked == field
