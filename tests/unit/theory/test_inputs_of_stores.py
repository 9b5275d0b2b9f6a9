"""Checks of levels and capacities."""

from __future__ import annotations

import math

import pytest

from baseload.base.errors import BadInputError
from baseload.theory.inputs import start_level, storage


def test_a_level_within_round_off_of_the_store_is_clamped():
    assert start_level(5.0 + 4e-9, 5.0) == 5.0
    assert start_level(-4e-9, 5.0) == 0.0
    assert start_level(1e300, math.inf) == 1e300
    assert start_level(0.0, 0.0) == 0.0


@pytest.mark.parametrize("level", [5.1, -0.1, math.nan, math.inf])
def test_a_level_outside_is_refused(level):
    with pytest.raises(BadInputError, match="S0"):
        start_level(level, 5.0)
    with pytest.raises(BadInputError, match="B"):
        start_level(1.0, -1.0)


def test_no_storage_asks_for_a_slot():
    assert storage(math.inf) == math.inf
    with pytest.raises(BadInputError, match="slot length"):
        storage(0.0)
