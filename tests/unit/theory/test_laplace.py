"""Inversion of transforms whose originals are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from baseload.theory.laplace import euler, euler_two, talbot


@pytest.mark.parametrize("invert", [talbot, euler])
@pytest.mark.parametrize("at", [1e-3, 1.0, 50.0])
def test_known_pairs(invert, at):
    assert invert(lambda s: 1 / (s * s), at) == pytest.approx(at, rel=1e-8)
    assert invert(lambda s: 1 / (s + 1), at) == pytest.approx(math.exp(-at), abs=1e-8)
    assert invert(lambda s: np.sqrt(np.pi / s), at) == pytest.approx(at**-0.5, rel=1e-8)


def test_two_variables():
    got = euler_two(lambda s, q: 1 / (s * s * (q + 1)) + 1 / (s * q * (s + q)), 2.0, 1.5)
    assert got == pytest.approx(2 * math.exp(-1.5) + min(2.0, 1.5), rel=2e-2)
    smooth = euler_two(lambda s, q: 1 / ((s + 1) * (q + 2) ** 2), 2.0, 1.5)
    assert smooth == pytest.approx(math.exp(-2) * 1.5 * math.exp(-3), rel=1e-6)
