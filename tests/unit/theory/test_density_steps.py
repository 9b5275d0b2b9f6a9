"""The kernels that move the law of a level: mass, sign, balance, compiled as plain."""

from __future__ import annotations

import numpy as np
import pytest

from baseload.base.kernels import plain
from baseload.base.streams import stream
from baseload.theory import density_steps
from baseload.theory.density_steps import factor, march, solve


def dense(rise, fall, n):
    """1 - A of the chain, as a matrix; columns sum to 1."""
    matrix = np.eye(n)
    for i in range(n - 1):
        matrix[i, i] += rise
        matrix[i + 1, i] -= rise
        matrix[i + 1, i + 1] += fall
        matrix[i, i + 1] -= fall
    return matrix


@pytest.mark.parametrize(("rise", "fall"), [(0.3, 0.2), (1e9, 1e8), (0.0, 5.0), (1e-300, 1.0)])
def test_the_solver_inverts_the_chain(rise, fall):
    right = stream(1, "mass").uniform(0, 1, 12)
    pivots, found = np.empty(12), right.copy()
    factor(rise, fall, pivots)
    solve(rise, fall, pivots, found)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(right.sum(), rel=1e-13)
    assert found == pytest.approx(np.linalg.solve(dense(rise, fall, 12), right), rel=1e-6)


def marched(function, seed=2):
    rng = stream(seed, "march")
    mass = rng.dirichlet(np.ones(15))
    rises, falls, steps = rng.uniform(0, 3, 40), rng.uniform(0, 3, 40), rng.uniform(0, 2, 40)
    rates, before = np.empty((40, 3)), mass.copy()
    function(mass, rises, falls, steps, np.empty(15), np.empty(15), rates)
    return before, mass, rises, falls, steps, rates


def test_the_compiled_march_is_the_plain_one(monkeypatch):
    compiled = marched(march)
    for name in ("factor", "solve"):
        monkeypatch.setattr(density_steps, name, plain(getattr(density_steps, name)))
    by_hand = marched(plain(march))
    for one, other in zip(compiled, by_hand, strict=True):
        assert one == pytest.approx(other, rel=1e-12, abs=1e-14)


def test_mass_stays_and_the_level_balances_in_every_step():
    before, mass, rises, falls, steps, rates = marched(march)
    assert mass.sum() == pytest.approx(1, abs=1e-14)
    levels = np.concatenate(([before @ (np.arange(15) + 0.5)], rates[:, 2]))
    gained = (rises - falls + rates[:, 0] - rates[:, 1]) * steps
    assert np.diff(levels) == pytest.approx(gained, abs=1e-12)
