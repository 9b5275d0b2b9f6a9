from __future__ import annotations

import numpy as np
import pytest

from baseload.profiler.evolve import evolve


def test_a_narrow_valley_is_followed_to_its_bottom() -> None:
    """Two numbers that stand in for each other, as batch and context do: condition 10,000."""
    target = np.array([1.0, 2.0, 0.5])

    def cost(point: np.ndarray) -> float:
        off = point - target
        return float(1.0 + (off[0] + off[1]) ** 2 + 1e-4 * (off[0] - off[1]) ** 2 + off[2] ** 2)

    found, lowest = evolve(cost, np.array([2.0, 0.2, 1.5]), least_gain=1e-12)
    assert lowest < 1.0 + 1e-6
    assert found[0] + found[1] == pytest.approx(3.0, abs=1e-3)


def test_numbers_stay_above_zero_and_equal_seeds_give_equal_results() -> None:
    def cost(point: np.ndarray) -> float:
        assert (point >= 0).all()
        return float(((point + 1.0) ** 2).sum())

    start = np.array([1.0, 1.0])
    found, lowest = evolve(cost, start)
    again, _ = evolve(cost, start)
    assert lowest < 2.01
    assert found.tolist() == again.tolist()
