from __future__ import annotations

import math

import numpy as np
import pytest

from baseload.base import inputs
from baseload.base.errors import BadInputError


def test_a_number_comes_back_as_a_float():
    assert inputs.number("x", np.float32(2)) == 2.0
    assert inputs.positive("x", 3) == 3.0
    assert inputs.not_negative("x", 0) == 0.0
    assert inputs.not_negative("x", math.inf, infinite=True) == math.inf
    assert inputs.efficiency("x", 1) == 1.0
    assert inputs.whole("x", 3.0) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: inputs.number("power_w", math.nan),
        lambda: inputs.number("power_w", math.inf),
        lambda: inputs.number("power_w", "much"),
        lambda: inputs.positive("power_w", 0.0),
        lambda: inputs.not_negative("power_w", -1e-300),
        lambda: inputs.efficiency("power_w", 0.0),
        lambda: inputs.efficiency("power_w", 1.01),
        lambda: inputs.whole("power_w", 2.5),
        lambda: inputs.numbers("power_w", [1.0, math.nan]),
        lambda: inputs.numbers("power_w", [1.0, -1.0], least=0.0),
        lambda: inputs.numbers("power_w", [[1.0]], shape=(-1,)),
        lambda: inputs.numbers("power_w", ["much"]),
    ],
)
def test_a_bad_argument_is_a_value_error_that_names_the_field(wrong):
    with pytest.raises(BadInputError, match="power_w"):
        wrong()


def test_the_place_of_a_bad_number_is_told():
    with pytest.raises(ValueError, match=r"power_w\[1\]"):
        inputs.numbers("power_w", [1.0, math.inf])
