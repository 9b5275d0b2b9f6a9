"""Chains of thought and cascades against sums over their laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nbinom

from baseload.base.errors import BadInputError
from baseload.theory.chains import (
    ability_of_loss,
    cascade_moments,
    chain_energy,
    cot_oracle_stopping,
    step_success,
)
from baseload.theory.training import REFIT


def summed(k, a, n):
    """P, E M, E M^2 from the probabilities of each length."""
    m = np.arange(k, n + 1)
    p = nbinom.pmf(m - k, k, a)
    rest = nbinom.sf(n - k, k, a) if n >= k else 1.0
    return p.sum(), (m * p).sum() + n * rest, (m**2 * p).sum() + n * n * rest


@given(k=st.integers(1, 12), a=st.floats(1e-3, 1), n=st.integers(0, 400))
def test_moments_equal_sums(k, a, n):
    found = cot_oracle_stopping(k=k, a=a, n_max=n)
    success, mean, second = summed(k, a, n)
    assert found.success_frac == pytest.approx(success, rel=1e-9, abs=1e-12)
    assert found.mean_attempts == pytest.approx(mean, rel=1e-10)
    assert found.second_attempts == pytest.approx(second, rel=1e-10)


@given(
    k=st.integers(0, 50),
    a=st.floats(0, 1),
    b=st.floats(0, 1),
    n=st.integers(0, 10**9),
    more=st.integers(0, 10**6),
)
def test_success_is_a_probability_that_rises_with_skill_and_budget(k, a, b, n, more):
    low, high = sorted((a, b))
    worse = cot_oracle_stopping(k=k, a=low, n_max=n)
    better = cot_oracle_stopping(k=k, a=high, n_max=n + more)
    assert 0 <= worse.success_frac <= better.success_frac + 1e-12 <= 1 + 2e-12
    for found, cap in ((worse, n), (better, n + more)):
        assert min(k, cap) * (1 - 1e-12) <= found.mean_attempts or k == 0
        assert found.mean_attempts <= cap * (1 + 1e-12)
        assert found.second_attempts >= found.mean_attempts**2 * (1 - 1e-9)


def test_limits():
    never = cot_oracle_stopping(k=3, a=0, n_max=7)
    assert (never.success_frac, never.mean_attempts, never.second_attempts) == (0, 7, 49)
    sure = cot_oracle_stopping(k=3, a=1, n_max=7)
    assert (sure.success_frac, sure.mean_attempts, sure.second_attempts) == (1, 3, 9)
    short = cot_oracle_stopping(k=3, a=0.9, n_max=2)
    assert (short.success_frac, short.mean_attempts, short.second_attempts) == (0, 2, 4)
    done = cot_oracle_stopping(k=0, a=0.0)
    assert (done.success_frac, done.mean_attempts) == (1, 0)
    hopeless = cot_oracle_stopping(k=2, a=1e-200, n_max=50)
    assert (hopeless.mean_attempts, hopeless.second_attempts) == (50, 2500)


def test_without_a_cap_it_is_the_negative_binomial():
    found = cot_oracle_stopping(k=4, a=0.2, n_max=math.inf)
    assert found.mean_attempts == 20
    assert found.second_attempts - 20**2 == pytest.approx(4 * 0.8 / 0.04)
    near = cot_oracle_stopping(k=4, a=0.2, n_max=100_000)
    assert near.second_attempts == pytest.approx(found.second_attempts, rel=1e-12)


def test_failure_is_exact_where_success_saturates():
    """1 - P = 0 in floats there, yet n^2 (1 - P) counts."""
    found = cot_oracle_stopping(k=1, a=0.5, n_max=60)
    assert found.success_frac == pytest.approx(1)
    assert found.mean_attempts == 2 - 2.0**-59


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"k": -1, "a": 0.5}, "k"),
        ({"k": 1.5, "a": 0.5}, "k"),
        ({"k": 1, "a": 1.5}, "a"),
        ({"k": 1, "a": 0.5, "n_max": -1}, "n_max"),
        ({"k": 1, "a": 0.5, "n_max": 2.5}, "n_max"),
        ({"k": 1, "a": 0.0}, "n_max"),
    ],
)
def test_bad_chains_are_named(inputs, field):
    with pytest.raises(BadInputError, match=rf"^{field}"):
        cot_oracle_stopping(**inputs)


def test_energy_of_a_chain():
    found = chain_energy(
        k=5, a=0.3, n_max=20, tokens_per_step=50, energy_j_per_token=0.2, prefill_j=3
    )
    moments = cot_oracle_stopping(k=5, a=0.3, n_max=20)
    assert found.mean_tokens == 50 * moments.mean_attempts
    assert found.energy.mean_j == pytest.approx(3 + 10 * moments.mean_attempts)
    assert found.energy.second_j2 == pytest.approx(
        9 + 60 * moments.mean_attempts + 100 * moments.second_attempts
    )


def test_step_success_saturates_without_overflow():
    assert step_success(difficulty=1, ability=1, kappa=3) == 0.5
    assert step_success(difficulty=1e6, ability=0, kappa=1e3) == 0
    assert step_success(difficulty=-1e6, ability=0, kappa=1e3) == 1


def test_ability_rises_with_size_and_data():
    sizes = [
        ability_of_loss(law=REFIT, N=n, D=d, theta0=0, c_R=1)
        for n, d in ((1e9, 2e10), (7e10, 1.4e12), (7e10, math.inf))
    ]
    assert sizes == sorted(sizes)


def enumerated(k, a_small, cap, a_large, e_small, e_large):
    """Mean and second moment over all pairs of lengths."""
    m = np.arange(k, cap + 1)
    p = nbinom.pmf(m - k, k, a_small)
    fail = nbinom.sf(cap - k, k, a_small) if cap >= k else 1.0
    large = np.arange(k, k + 4000)
    q = nbinom.pmf(large - k, k, a_large)
    x = e_small * cap + e_large * large
    return (
        (e_small * m * p).sum() + fail * (x * q).sum(),
        ((e_small * m) ** 2 * p).sum() + fail * (x**2 * q).sum(),
    )


@given(
    k=st.integers(1, 6),
    a_small=st.floats(0.05, 0.95),
    cap=st.integers(0, 40),
    a_large=st.floats(0.1, 1),
)
def test_a_cascade_equals_enumeration(k, a_small, cap, a_large):
    found = cascade_moments(
        k=k, a_small=a_small, cap_small=cap, a_large=a_large, e_small=1.5, e_large=7
    )
    mean, second = enumerated(k, a_small, cap, a_large, 1.5, 7.0)
    assert found.energy.mean_j == pytest.approx(mean, rel=1e-9)
    assert found.energy.second_j2 == pytest.approx(second, rel=1e-9)
    assert found.success_frac == pytest.approx(1)


def test_ends_of_a_cascade():
    only_large = cascade_moments(k=2, a_small=0.5, cap_small=0, a_large=0.5, e_small=1, e_large=3)
    assert only_large.energy.mean_j == 12
    only_small = cascade_moments(
        k=2, a_small=0.5, cap_small=math.inf, a_large=0.0, e_small=1, e_large=3
    )
    assert (only_small.energy.mean_j, only_small.mean_attempts_large) == (4, 0)
    capped = cascade_moments(
        k=2, a_small=0.5, cap_small=1, a_large=0.0, e_small=1, e_large=3, cap_large=5
    )
    assert (capped.success_frac, capped.energy.mean_j) == (0, 16)
    with pytest.raises(BadInputError, match="a_large"):
        cascade_moments(k=2, a_small=0.5, cap_small=1, a_large=0.0, e_small=1, e_large=3)
