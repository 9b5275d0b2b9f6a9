"""Long-run law and values of a chain: elimination against dense equations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.theory.markov_chain import relative_values, stationary_law


def climbing(seed, size, down):
    """A chain that climbs by single steps; ``down`` tilts it towards falling."""
    draw = np.random.default_rng(seed)
    chain = np.tril(draw.random((size, size)) * down, 0)
    chain += np.diag(draw.random(size - 1) + 0.1, 1)
    chain[-1, -1] += 0.1
    return chain / chain.sum(axis=1, keepdims=True)


@given(st.integers(0, 999), st.integers(2, 40), st.floats(1e-3, 10))
def test_the_law_stays_and_the_values_solve_their_equations(seed, size, down):
    chain = climbing(seed, size, down)
    cost = np.random.default_rng(seed).random(size)
    law = stationary_law(chain)
    assert law @ chain == pytest.approx(law, abs=1e-12)
    gam, values = relative_values(chain, cost)
    assert gam == pytest.approx(law @ cost, rel=1e-9)
    assert cost - gam + chain @ values == pytest.approx(values, abs=1e-8 * (1 + np.ptp(values)))


def test_any_chain_is_solved():
    draw = np.random.default_rng(3)
    chain = draw.dirichlet(np.ones(12), 12)
    cost = draw.random(12)
    law = stationary_law(chain)
    assert law @ chain == pytest.approx(law)
    assert relative_values(chain, cost)[0] == pytest.approx(law @ cost)


def test_states_that_are_left_once_for_all():
    chain = np.array([[0, 1, 0, 0], [0, 0.5, 0.5, 0], [0, 0.2, 0.3, 0.5], [0, 0.6, 0.2, 0.2]])
    cost = np.array([7.0, 1, 2, 3])
    law = stationary_law(chain)
    assert law[0] == 0
    assert law @ chain == pytest.approx(law)
    gam, values = relative_values(chain, cost)
    assert gam == pytest.approx(law @ cost)
    assert cost - gam + chain @ values == pytest.approx(values)


def test_tiny_probabilities_keep_their_digits():
    size, up = 200, 0.9
    chain = np.diag(np.full(size - 1, up), 1) + np.diag(np.full(size - 1, 1 - up), -1)
    chain[0, 0], chain[-1, -1] = 1 - up, up
    law = stationary_law(chain)
    assert law[0] / law[-1] == pytest.approx((1 / 9) ** 199, rel=1e-9)
    gam, values = relative_values(chain, np.eye(size)[-1])
    assert gam == pytest.approx(law[-1], rel=1e-9)
    assert np.all(np.isfinite(values))
