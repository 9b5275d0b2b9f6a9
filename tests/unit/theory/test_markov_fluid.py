"""Two-state supply: laws, limits, and the linear equations of the fluid queue beside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from baseload.base.errors import BadInputError
from baseload.theory.markov_fluid import (
    markov_fluid_drift,
    markov_fluid_rates,
    markov_fluid_variance,
)
from baseload.theory.two_sided import two_sided_rates

rates_of = st.floats(0.01, 20)


@settings(deadline=None)
@given(up=rates_of, down=rates_of, q12=rates_of, q21=rates_of, B=st.floats(0, 1000))
def test_waste_less_auxiliary_is_the_drift(up, down, q12, q21, B):
    rates = markov_fluid_rates(up, down, q12=q12, q21=q21, B=B)
    theta = markov_fluid_drift(up, down, q12=q12, q21=q21)
    assert rates.w_w - rates.u_w == pytest.approx(theta, abs=1e-12 * (up + down))
    mirror = markov_fluid_rates(down, up, q12=q21, q21=q12, B=B)
    assert mirror.w_w == pytest.approx(rates.u_w, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize(("up", "down", "q12", "q21"), [(3, 2, 0.3, 0.25), (3, 1, 0.5, 0.1)])
def test_against_the_equations_of_the_fluid_queue(up, down, q12, q21):
    """Densities (f1, f2) with atoms a1 at the top and a2 at the bottom, by linear algebra."""
    B = 7.0
    flow = np.array([[-q12 / up, q21 / up], [-q12 / down, q21 / down]])
    start = np.array([q21 / up, q21 / down])  # densities at 0 for an atom of 1 at the bottom
    steps = 4000
    move, f, mass = expm(flow * B / steps), start, 0.0
    for _ in range(steps):
        after = move @ f
        mass += (f.sum() + after.sum()) / 2 * B / steps
        f = after
    top = up * f[0] / q12
    total = 1 + mass + top
    got = markov_fluid_rates(up, down, q12=q12, q21=q21, B=B)
    assert got.u_w == pytest.approx(down / total, rel=1e-5)
    assert got.w_w == pytest.approx(up * top / total, rel=1e-5)


def test_critical_is_the_diffusion_with_one_episode_more():
    var = markov_fluid_variance(3, 2, q12=0.3, q21=0.2)
    got = markov_fluid_rates(3, 2, q12=0.3, q21=0.2, B=10.0)
    assert got.u_w == pytest.approx(two_sided_rates(0.0, var, 10 + 3 / 0.3).u_w, rel=1e-12)
    for nudge in (1e-15, 1e-12, 1e-9, -1e-9):
        near = markov_fluid_rates(3, 2, q12=0.3, q21=0.2 * (1 + nudge), B=10.0)
        assert near.u_w == pytest.approx(got.u_w, rel=2e-9)


def test_edges():
    at = {"q12": 0.3, "q21": 0.25}
    assert markov_fluid_rates(3, 2, **at, B=math.inf).w_w == 0
    assert markov_fluid_rates(3, 2, **at, B=0).u_w == pytest.approx(2 * 0.3 / 0.55)
    assert markov_fluid_rates(3, 2, **at, B=1e9).u_w == 0
    assert markov_fluid_rates(1, 2, **at, B=1e9).w_w == 0
    assert markov_fluid_rates(0, 2, **at, B=5).w_w == 0
    assert markov_fluid_rates(3, 0, **at, B=5).u_w == 0
    assert markov_fluid_rates(3, 2, q12=0, q21=1, B=5).w_w == 3
    for field, wrong in (("q12", {"q12": 0, "q21": 0}), ("q21", {"q12": 1, "q21": -1})):
        with pytest.raises(BadInputError, match=field):
            markov_fluid_rates(3, 2, **wrong, B=5)
