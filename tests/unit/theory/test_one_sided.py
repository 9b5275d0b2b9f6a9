"""The unlimited store: quadrature, slots walked by simulation, limits and branch cuts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import log_ndtr, ndtr

from baseload.base.errors import BadInputError
from baseload.theory import one_sided
from baseload.theory.normal import BETA_0
from baseload.theory.one_sided import (
    aux_variance_critical,
    expected_aux_one_sided,
    expected_aux_slotted,
    expected_aux_slotted_zero_drift,
    expected_aux_with_bias,
)


def by_quadrature(theta, var, *, T, S0):
    """int_S0^inf P(lowest point below -v) dv, from the law of the running minimum."""
    spread = math.sqrt(var * T)

    def chance(v):
        far = math.exp(-2 * theta * v / var + log_ndtr((theta * T - v) / spread))
        return ndtr((-v - theta * T) / spread) + far

    middle = max(S0, -theta * T)
    high = middle + 40 * spread
    parts = quad(chance, S0, middle, epsabs=0, epsrel=1e-12)[0] if middle > S0 else 0.0
    return parts + quad(chance, middle, high, epsabs=1e-14, epsrel=1e-12, limit=400)[0]


@settings(deadline=None, max_examples=60)
@given(drift=st.floats(-3, 3), start=st.floats(0, 3), var=st.floats(0.1, 10))
def test_against_quadrature(drift, start, var):
    T = 7.0
    theta, S0 = drift * math.sqrt(var / T), start * math.sqrt(var * T)
    wanted = by_quadrature(theta, var, T=T, S0=S0)
    assert expected_aux_one_sided(theta, var, T=T, S0=S0) == pytest.approx(
        wanted, rel=1e-9, abs=1e-11
    )


@pytest.mark.parametrize("start", [0.0, 1e-6, 0.5, 4.9, 5.1, 20.0])
@pytest.mark.parametrize("cut", [1e-3, -1e-3, 5.0, -5.0])
def test_no_step_at_a_branch_cut(start, cut):
    for at in (cut, cut - start, cut + start):
        below, above = (
            expected_aux_one_sided(at * (1 + edge * 1e-12), 1.0, T=1.0, S0=start)
            for edge in (-1, 1)
        )
        assert below == pytest.approx(above, rel=1e-9, abs=1e-15)


def test_square_root_law_and_limits():
    assert expected_aux_one_sided(0.0, 2.0, T=100.0) == pytest.approx(
        math.sqrt(2 * 2 * 100 / math.pi)
    )
    assert aux_variance_critical(2.0, 100.0) == pytest.approx(200 * (1 - 2 / math.pi))
    bounded = expected_aux_one_sided(0.5, 2.0, T=1e9, S0=3.0)
    assert bounded == pytest.approx(2.0 * math.exp(-2 * 0.5 * 3 / 2))
    linear = expected_aux_one_sided(-0.5, 2.0, T=1e9, S0=3.0)
    assert linear == pytest.approx(0.5e9 - 3 + 2)
    assert expected_aux_one_sided(-0.5, 0.0, T=10.0, S0=3.0) == 2.0
    assert expected_aux_one_sided(-0.5, 2.0, T=0.0) == 0.0
    assert expected_aux_one_sided(1e6, 1.0, T=1.0, S0=1e6) == 0.0


def test_biased_supply_grows_from_root_to_linear():
    short, long = (expected_aux_with_bias(1.0, 0.03, T=T) for T in (1.0, 1e8))
    assert short == pytest.approx(math.sqrt(2 / math.pi), rel=0.03)
    assert long == pytest.approx(0.03e8, rel=1e-4)
    assert expected_aux_with_bias(1.0, 0.0, T=9.0) == pytest.approx(3 * math.sqrt(2 / math.pi))


def walked(theta, *, slots, S0, paths=40_000):
    """Mean and standard error of the auxiliary energy of simulated slots."""
    stream = np.random.default_rng(7)
    level, bought = np.full(paths, S0), np.zeros(paths)
    for _ in range(slots):
        level = level + stream.normal(theta, 1.0, paths)
        short = np.maximum(-level, 0.0)
        level, bought = level + short, bought + short
    return bought.mean(), bought.std() / math.sqrt(paths)


@pytest.mark.parametrize(("theta", "S0"), [(0.0, 0.0), (0.0, 2.0), (0.3, 1.0), (-0.2, 4.0)])
def test_slots_against_a_walk(theta, S0):
    mean, error = walked(theta, slots=40, S0=S0)
    assert abs(expected_aux_slotted(theta, 1.0, n_slots=40, S0=S0) - mean) < 4 * error


def test_slots_from_a_start_join_those_from_empty():
    at = {"theta": -0.1, "sigma_slot": 1.0, "n_slots": 200}
    empty = expected_aux_slotted(**at)
    assert expected_aux_slotted(**at, S0=1e-11) == pytest.approx(empty, rel=1e-9)


def test_long_sums_use_the_integral_without_a_step():
    direct = float(np.sum(1 / np.sqrt(np.arange(1, 50_001)))) / math.sqrt(2 * math.pi)
    assert expected_aux_slotted_zero_drift(1.0, 50_000) == pytest.approx(direct, rel=1e-13)
    near = expected_aux_one_sided(0.0, 1.0, T=1e10) - BETA_0
    assert expected_aux_slotted_zero_drift(1.0, 10**10) == pytest.approx(near, rel=1e-8)


@pytest.mark.parametrize("theta", [-0.2, 0.0, 0.2])
def test_the_raised_start_is_close(theta, monkeypatch):
    exact = expected_aux_slotted(theta, 1.0, n_slots=500, S0=3.0)
    monkeypatch.setattr(one_sided, "_STEPPED_SLOTS", 0)
    assert expected_aux_slotted(theta, 1.0, n_slots=500, S0=3.0) == pytest.approx(exact, abs=0.01)


def test_edges_of_the_slots():
    assert expected_aux_slotted(-0.5, 0.0, n_slots=10, S0=1.0) == 4.0
    assert expected_aux_slotted(-0.5, 1.0, n_slots=0) == 0.0
    assert expected_aux_slotted(0.0, 1.0, n_slots=10, S0=1e6) == 0.0
    for field, inputs in (("n_slots", {"n_slots": 2.5}), ("S0", {"S0": -1.0, "n_slots": 2})):
        with pytest.raises(BadInputError, match=field):
            expected_aux_slotted(0.0, 1.0, **inputs)
    with pytest.raises(BadInputError, match="T"):
        expected_aux_one_sided(0.0, 1.0, T=-1.0)
