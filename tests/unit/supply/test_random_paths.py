from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from baseload.base.kernels import plain
from baseload.base.streams import stream
from baseload.supply import random_paths
from baseload.supply.random_paths import (
    ar1_path,
    chain_means,
    checked_chain,
    generator_of,
    named,
    ou_means,
    recursion,
    stationary,
)

CHAIN = np.array([[-0.5, 0.2, 0.3], [0.1, -0.4, 0.3], [0.6, 0.0, -0.6]])


def test_kernels_equal_their_plain_twins():
    rng = stream(0, "test.paths")
    factor, noise = rng.random(50), rng.standard_normal(50)
    fast, slow = np.empty(50), np.empty(50)
    recursion(factor, noise, 0.3, fast)
    plain(recursion)(factor, noise, 0.3, slow)
    assert (fast == slow).all()

    odds = np.array([[0.0, 0.4, 1.0], [0.25, 0.25, 1.0], [1.0, 1.0, 1.0]])
    waits, choices = rng.standard_exponential(80), rng.random(80)
    found = []
    for jumps in (random_paths._jumps, plain(random_paths._jumps)):
        times, states = np.empty(80), np.empty(80, dtype=np.int64)
        jumps(odds, np.array([0.5, 0.4, 0.6]), 0, 0.0, waits, choices, times, states)
        found.append((times, states))
    assert (found[0][0] == found[1][0]).all()
    assert (found[0][1] == found[1][1]).all()
    assert (np.diff(found[0][1]) != 0).all(), "a jump that stays where it was"


def test_an_ar1_path_is_stationary_with_its_correlation():
    path = ar1_path(stream(1, "test.paths"), 200_000, 0.8)
    error = 4 * math.sqrt(2 * (1 + 0.64) / (1 - 0.64) / 200_000)
    assert path.var() == pytest.approx(1.0, abs=error)
    assert float(np.mean(path[1:] * path[:-1])) == pytest.approx(0.8, abs=error)
    assert ar1_path(stream(1, "test.paths"), 0, 0.8).shape == (0,)


@pytest.mark.parametrize("r", [1e-6, 1e-3, 0.00999, 0.01001, 0.5, 30.0])
def test_the_squared_memory_integral_on_both_sides_of_its_series(r):
    expected, _ = quad(lambda u: math.expm1(-u) ** 2, 0.0, r, epsabs=0.0, epsrel=1e-12)
    assert random_paths._squared_left(np.array([r]))[0] == pytest.approx(expected, rel=1e-9)


def test_ou_means_of_a_block_are_one_path():
    """Two halves of a slot average to a mean with the law of the whole."""
    halves = ou_means(stream(2, "test.paths"), np.full(400_000, 50.0), 100.0)
    whole = halves.reshape(-1, 2).mean(axis=1)
    assert whole.var() == pytest.approx(2 * (1 - 1 + math.exp(-1)), rel=0.02)


def test_chain_means_have_the_shares_of_the_chain():
    shares = stationary(CHAIN)
    assert shares @ CHAIN == pytest.approx([0.0] * 3, abs=1e-15)
    assert shares.sum() == pytest.approx(1.0)
    edges = np.arange(50_001) * 20.0
    for state in range(3):
        found = chain_means(stream(3, "test.paths", state), np.eye(3)[state], CHAIN, edges)
        assert found.mean() == pytest.approx(shares[state], abs=0.005)
        assert found.min() >= 0.0
        assert found.max() <= 1.0 + 1e-9


def test_a_checked_chain_has_rows_of_zero_to_the_bit():
    near = CHAIN + 1e-13
    found = checked_chain("chain", near, 3)
    assert found.sum(axis=1) == pytest.approx([0.0] * 3, abs=1e-16)


def test_streams_by_name():
    assert named((1, "site"), 2) == (1, "site", 2)
    rng = stream(0, "x")
    assert named(rng, 2) is rng
    assert named(None, 2) is None
    assert generator_of("what", (1, "site")).random() == stream(1, "site").random()
