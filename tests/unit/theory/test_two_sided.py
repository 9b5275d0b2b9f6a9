"""The two-sided diffusion: laws of its rates, level and transient; a grid and quadrature beside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.linalg import expm

from baseload.base.errors import BadInputError
from baseload.theory.one_sided import expected_aux_one_sided
from baseload.theory.two_sided import (
    criticality_index,
    expected_aux_finite_B,
    expected_aux_settled,
    fluid_rates,
    level_density,
    mean_level,
    rate_errors,
    relaxation_rate,
    saved_by_start,
    saved_by_start_mean,
    two_sided_rates,
)

drifts = st.floats(-50, 50)
sizes = st.floats(0.01, 1e4)


@settings(deadline=None)
@given(theta=drifts, var=sizes, B=sizes)
def test_waste_less_auxiliary_is_the_drift(theta, var, B):
    rates = two_sided_rates(theta, var, B)
    assert rates.w_w - rates.u_w == pytest.approx(theta, rel=1e-13, abs=4e-16 * rates.w_w)
    assert min(rates.u_w, rates.w_w) >= 0


@settings(deadline=None)
@given(y=st.floats(-600, 600), var=sizes, B=sizes)
def test_logarithm_of_their_ratio_is_the_index(y, var, B):
    rates = two_sided_rates(y * var / (2 * B), var, B)
    assert math.log(rates.w_w) - math.log(rates.u_w) == pytest.approx(y, rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(y=st.floats(-30, 30), var=sizes, B=sizes)
def test_both_are_equal_only_at_critical_supply_where_their_sum_is_least(y, var, B):
    at, critical = two_sided_rates(y * var / (2 * B), var, B), two_sided_rates(0.0, var, B)
    assert critical.u_w == critical.w_w == var / (2 * B)
    assert at.u_w + at.w_w >= (critical.u_w + critical.w_w) * (1 - 1e-12)
    if abs(y) > 1e-12:
        assert (at.u_w > at.w_w) == (y < 0)


@settings(deadline=None)
@given(theta=st.floats(-5, 5), var=st.floats(0.1, 10), B=st.floats(0.1, 50))
def test_more_supply_more_store_and_less_noise_mean_less_auxiliary(theta, var, B):
    u = two_sided_rates(theta, var, B).u_w
    assert two_sided_rates(theta + 0.1, var, B).u_w <= u
    assert two_sided_rates(theta, var, B * 1.1).u_w <= u
    assert two_sided_rates(theta, var * 1.1, B).u_w >= u


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("cut", [1e-8, 1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 700, 740, 745])
def test_no_step_at_a_branch_cut(cut, sign):
    below, above = (sign * cut * (1 + edge * 1e-11) * 2.0 / (2 * 3.0) for edge in (-1, 1))
    functions = [
        lambda theta: two_sided_rates(theta, 2.0, 3.0).u_w,
        lambda theta: two_sided_rates(theta, 2.0, 3.0).w_w,
        lambda theta: mean_level(theta, 2.0, 3.0),
        lambda theta: saved_by_start(theta, 2.0, B=3.0, S0=1.0),
        lambda theta: saved_by_start_mean(theta, 2.0, 3.0),
        lambda theta: rate_errors(theta, 2.0, B=3.0, T=1.0).var_u,
        lambda theta: level_density([1.0], theta=theta, var=2.0, B=3.0)[0],
        lambda theta: expected_aux_finite_B(theta, 2.0, B=3.0, T=2.0, S0=1.0),
    ]
    for function in functions:
        assert function(below) == pytest.approx(function(above), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("y", [-40, -5, -1, -1e-6, 0, 1e-6, 0.02, 1, 5, 40])
def test_level_density_is_a_density_with_the_mean_level_and_feeds_the_ends(y):
    var, B = 2.0, 3.0
    theta = y * var / (2 * B)

    def density(level):
        return float(level_density(level, theta=theta, var=var, B=B))

    assert quad(density, 0, B)[0] == pytest.approx(1, rel=1e-9)
    assert quad(lambda s: s * density(s), 0, B)[0] == pytest.approx(
        mean_level(theta, var, B), rel=1e-9
    )
    rates = two_sided_rates(theta, var, B)
    assert var / 2 * density(0.0) == pytest.approx(rates.u_w, rel=1e-9)
    assert var / 2 * density(B) == pytest.approx(rates.w_w, rel=1e-9)
    mean = quad(lambda s: density(s) * saved_by_start(theta, var, B=B, S0=s), 0, B)[0]
    assert saved_by_start_mean(theta, var, B) == pytest.approx(mean, rel=1e-8)


def on_a_grid(theta, var, *, B, T, cells=200):
    """E[U_T] for every start by finite differences in space, exact in time."""
    h = B / cells
    up, down = var / (2 * h * h) + theta / (2 * h), var / (2 * h * h) - theta / (2 * h)
    size = cells + 1
    move = np.diag(np.full(size - 1, up), 1) + np.diag(np.full(size - 1, down), -1)
    move -= np.diag(np.full(size, up + down))
    move[0, 1] += down
    move[-1, -2] += up
    whole = np.zeros((size + 1, size + 1))
    whole[:size, :size] = move
    whole[0, size] = 2 * h * down
    return expm(whole * T)[:size, size]


@pytest.mark.parametrize("theta", [-0.9, 0.0, 0.4])
@pytest.mark.parametrize("share", [0.02, 0.1, 1.0])
def test_transient_against_a_grid_at_short_horizons(theta, share):
    var, B = 4.0, 5.0
    grid = on_a_grid(theta, var, B=B, T=share * B * B / var)
    for place in (0, 40, 100, 200):
        got = expected_aux_finite_B(
            theta, var, B=B, T=share * B * B / var, S0=B * place / (grid.size - 1)
        )
        assert got == pytest.approx(grid[place], rel=2e-3, abs=2e-4)


@settings(deadline=None, max_examples=50)
@given(y=st.floats(-20, 20), start=st.floats(0, 1), times=st.floats(30, 300))
def test_transient_settles_to_the_closed_form(y, start, times):
    var, B = 2.0, 3.0
    theta = y * var / (2 * B)
    T = times / relaxation_rate(theta, var, B)
    at = {"B": B, "T": T, "S0": start * B}
    settled = expected_aux_settled(theta, var, **at)
    assert expected_aux_finite_B(theta, var, **at) == pytest.approx(settled, rel=1e-8, abs=1e-9)


def test_transient_at_its_ends():
    at = {"theta": 0.3, "var": 2.0, "S0": 1.0}
    assert expected_aux_finite_B(**at, B=3.0, T=0.0) == 0
    assert expected_aux_finite_B(**at, B=math.inf, T=5.0) == expected_aux_one_sided(
        0.3, 2.0, T=5.0, S0=1.0
    )
    assert expected_aux_finite_B(-1.0, 0.0, B=3.0, T=5.0, S0=1.0) == 4.0
    assert expected_aux_finite_B(-1.0, 2.0, B=3.0, T=5.0, S0=3.0 + 1e-9) > 0
    one = expected_aux_one_sided(0.3, 2.0, T=0.2, S0=1.0)
    assert expected_aux_finite_B(**at, B=9.0, T=0.2) == pytest.approx(one, rel=1e-9)
    with pytest.raises(BadInputError, match="S0"):
        expected_aux_finite_B(**at | {"S0": 3.1}, B=3.0, T=5.0)


def test_variances_of_the_regulators():
    critical = rate_errors(0.0, 6.0, B=2.0, T=100.0)
    assert (critical.var_u, critical.var_w, critical.cov_uw) == pytest.approx((2, 2, -1))
    assert critical.u_error_w == pytest.approx(math.sqrt(0.02))
    short = rate_errors(-50.0, 6.0, B=20.0, T=100.0)
    assert (short.var_u, short.var_w) == pytest.approx((6, 0), abs=1e-12)
    for y in (-3.0, 0.5, 2.0):
        wanted = math.exp(-y / 2) * (math.sinh(y) - y) / (4 * math.sinh(y / 2) ** 3)
        assert rate_errors(y / 2, 1.0, B=1.0, T=1.0).var_u == pytest.approx(wanted, rel=1e-12)


def test_extremes_keep_their_limits():
    assert two_sided_rates(5e5, 1.0, 1.0).u_w == 0
    assert two_sided_rates(-5e5, 1.0, 1.0).u_w == 5e5
    assert two_sided_rates(-2.0, 1.0, math.inf) == fluid_rates(-2.0, math.inf)
    assert fluid_rates(2.0, math.inf).w_w == 0
    assert fluid_rates(2.0, 5.0).w_w == 2.0
    assert mean_level(-2.0, 1.0, math.inf) == 0.25
    assert mean_level(2.0, 1.0, math.inf) == math.inf
    assert mean_level(2.0, 0.0, 5.0) == 5.0
    assert criticality_index(1.0, 0.0, 5.0) == math.inf
    assert two_sided_rates(-2.0, 0.0, 0.0).u_w == 2.0


@pytest.mark.parametrize(
    ("field", "inputs"),
    [
        ("theta", {"theta": math.nan}),
        ("var", {"var": -1.0}),
        ("B", {"B": -1.0}),
        ("B", {"B": 0.0}),
        ("theta", {"theta": math.inf}),
    ],
)
def test_bad_input_names_its_field(field, inputs):
    with pytest.raises(BadInputError, match=f"^{field}"):
        two_sided_rates(**{"theta": 0.0, "var": 1.0, "B": 1.0} | inputs)
