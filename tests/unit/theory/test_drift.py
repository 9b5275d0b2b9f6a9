"""A drift from a function, a text, pieces or one number."""

from __future__ import annotations

import math

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.theory.drift import drift_of
from baseload.theory.expression import TimeExpression


def test_every_spelling_gives_the_same_means():
    ends = np.linspace(0.0, 24.0, 241)
    texts = ("sin(t/4)", TimeExpression("sin(t/4)"), lambda t: math.sin(t / 4))
    found = [drift_of(theta, 24.0).means(ends) for theta in texts]
    assert found[0] == pytest.approx(found[1])
    assert found[0] == pytest.approx(found[2])


def test_pieces_are_averaged_exactly():
    drift = drift_of([1.0, -3.0, 2.0], 6.0)
    assert drift.means(np.array([0.0, 1.0, 3.0, 6.0])) == pytest.approx([1.0, -1.0, 1 / 3])
    assert drift.pieces == 3
    assert drift.largest == 3.0
    assert [drift.aligned(n) for n in (1, 3, 4)] == [3, 3, 6]


def test_one_number_is_constant():
    drift = drift_of(-2.0, 6.0)
    assert drift.means(np.array([0.0, 1.0, 6.0])) == pytest.approx([-2.0, -2.0])
    assert drift.largest == 2.0


@pytest.mark.parametrize(
    "theta", [[], [[1.0]], [1.0, math.nan], None, "t +", lambda t: math.nan, lambda t: "x"]
)
def test_a_bad_drift_is_refused_by_name(theta):
    with pytest.raises(BadInputError) as caught:
        drift_of(theta, 1.0)
    assert caught.value.asked.startswith("theta")
