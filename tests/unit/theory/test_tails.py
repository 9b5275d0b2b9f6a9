"""Heavy tails and caps."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from baseload.base.errors import BadInputError
from baseload.theory.tails import (
    Lognormal,
    Pareto,
    auxiliary_growth_exponent,
    capped_lognormal,
    capped_moments,
    capped_pareto,
    finished_frac,
    pareto_of_difficulty,
    variance_rate_slope,
)


def by_quadrature(law, cap, p):
    total = 0.0
    for low, high in zip([0, *np.geomspace(cap / 1e6, cap, 13)], np.geomspace(cap / 1e6, cap, 13)):  # noqa: B905
        total += quad(lambda t: p * t ** (p - 1) * law.survival(t), low, high, epsrel=1e-11)[0]
    return total


@pytest.mark.parametrize(
    "law",
    [Lognormal(mu=7, s=0.9), Lognormal(mu=2, s=2.5), Pareto(xm=500, xi=1.5), Pareto(xm=30, xi=0.6)],
    ids=str,
)
def test_moments_equal_quadrature(law):
    found = capped_moments(law, cap=32768, orders=4)
    for p, value in enumerate((found.m1, found.m2, found.m3, found.m4), start=1):
        # the corner of the Pareto law at xm costs the quadrature digits
        assert value == pytest.approx(by_quadrature(law, 32768.0, p), rel=1e-4)


@given(mu=st.floats(-5, 12), s=st.floats(0, 4), cap=st.floats(0, 1e6))
def test_lognormal_moments_stay_below_the_cap(mu, s, cap):
    found = capped_lognormal(mu=mu, s=s, cap=cap)
    assert 0 <= found.m1 <= cap
    assert found.m1**2 <= found.m2 <= cap * cap * (1 + 1e-12)
    assert found.m2 <= cap * found.m1 * (1 + 1e-9)


@given(xm=st.floats(0.1, 1e3), xi=st.floats(0.05, 6), stretch=st.floats(1, 1e4))
def test_pareto_moments_stay_between_the_ends(xm, xi, stretch):
    cap = xm * stretch
    found = capped_pareto(xm=xm, xi=xi, cap=cap)
    assert xm * (1 - 1e-12) <= found.m1 <= cap * (1 + 1e-12)
    assert found.m1**2 * (1 - 1e-12) <= found.m2 <= cap * found.m1 * (1 + 1e-9)


@pytest.mark.parametrize("xi", [1.0, 2.0])
def test_the_index_passes_one_and_two_without_a_jump(xi):
    at = capped_pareto(xm=500, xi=xi, cap=32768)
    for step in (1e-12, 1e-11, -1e-11, -1e-12):
        near = capped_pareto(xm=500, xi=xi + step, cap=32768)
        assert near.m1 == pytest.approx(at.m1, rel=1e-9)
        assert near.m2 == pytest.approx(at.m2, rel=1e-9)
    ratio = math.log(32768 / 500)
    if xi == 1:
        assert at.m1 == pytest.approx(500 * (1 + ratio), rel=1e-12)
    else:
        assert at.m2 == pytest.approx(500**2 * (1 + 2 * ratio), rel=1e-12)


def test_without_a_cap():
    free = capped_lognormal(mu=1, s=0.5)
    assert free.m1 == pytest.approx(math.exp(1.125))
    assert free.m2 == pytest.approx(math.exp(2.5))
    assert capped_lognormal(mu=1, s=0.5, cap=1e12).m2 == pytest.approx(free.m2, rel=1e-12)
    tail = capped_pareto(xm=2, xi=3)
    assert (tail.m1, tail.m2) == (3, 12)
    for xi in (0.5, 1.0, 1.5, 2.0):
        with pytest.raises(BadInputError, match="cap"):
            capped_pareto(xm=2, xi=xi)


def test_ends():
    constant = capped_lognormal(mu=math.log(8), s=0, cap=5)
    assert constant.m1 == pytest.approx(5)
    assert constant.m2 == pytest.approx(25)
    assert capped_lognormal(mu=math.log(8), s=0).m1 == pytest.approx(8)
    assert capped_lognormal(mu=3, s=1, cap=0).m1 == 0
    at_start = capped_pareto(xm=10, xi=1.5, cap=10)
    assert (at_start.m1, at_start.m2) == (10, 100)
    wide = capped_lognormal(mu=0, s=60, cap=1e5)
    assert 0 < wide.m1 < 1e5
    assert capped_lognormal(mu=3, s=1, cap=1e200).m2 == pytest.approx(math.exp(8))
    assert capped_pareto(xm=2, xi=3, cap=1e200).m2 == pytest.approx(12)
    with pytest.raises(BadInputError, match="cap"):
        capped_pareto(xm=10, xi=1.5, cap=9)
    with pytest.raises(ArithmeticError):
        capped_lognormal(mu=700, s=1)


def test_share_that_ends_before_the_cap():
    assert finished_frac(Lognormal(mu=3, s=1), cap=math.exp(3)) == pytest.approx(0.5)
    assert finished_frac(Pareto(xm=10, xi=1), cap=40) == pytest.approx(0.75)
    assert finished_frac(Pareto(xm=10, xi=1), cap=5) == 0
    assert finished_frac(Lognormal(mu=3, s=0), cap=30) == 1
    assert finished_frac(Lognormal(mu=3, s=0), cap=20) == 0


@pytest.mark.parametrize("ca2", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("law", [Lognormal(mu=7, s=0.9), Pareto(xm=500, xi=1.5)], ids=str)
def test_the_slope_of_the_variance_is_its_difference(law, ca2):
    def sigma2(cap):
        m = capped_moments(law, cap=cap)
        mean = 3 + 0.1 * m.m1
        return 2 * (9 + 0.6 * m.m1 + 0.01 * m.m2 + (ca2 - 1) * mean**2)

    slope = variance_rate_slope(law, cap=8000, rate=2, energy_j_per_token=0.1, prefill_j=3, ca2=ca2)
    assert slope == pytest.approx((sigma2(8001) - sigma2(7999)) / 2, rel=1e-5)


def test_halving_the_cap_cuts_the_second_moment_by_a_third():
    whole = capped_pareto(xm=500, xi=1.5, cap=32768).m2
    half = capped_pareto(xm=500, xi=1.5, cap=16384).m2
    assert 1 - half / whole == pytest.approx(0.3, abs=0.05)


def test_difficulty_makes_the_tail():
    law = pareto_of_difficulty(nu=1.5, kappa=1.0, ability=2.0, skills=4, tokens_per_step=10)
    assert law.xi == 1.5
    for t in (1e4, 1e6):
        difficulty = 2.0 + math.log(t / 40 - 1)
        exact = math.exp(-1.5 * difficulty)
        assert law.survival(t) == pytest.approx(exact, rel=2 * 1.5 * 40 / t)


def test_growth_of_auxiliary_energy():
    assert auxiliary_growth_exponent(xi=1.5) == pytest.approx(2 / 3)
    assert auxiliary_growth_exponent(xi=1.5, capped=True) == 0.5
    assert auxiliary_growth_exponent(xi=2) == auxiliary_growth_exponent(xi=math.inf) == 0.5
    with pytest.raises(BadInputError, match="xi"):
        auxiliary_growth_exponent(xi=1)
