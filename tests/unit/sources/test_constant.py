from __future__ import annotations

import pytest

from baseload.base.errors import BadInputError
from baseload.sources.constant import ConstantSignal


def test_a_constant_is_the_same_at_every_time_and_never_old():
    signal = ConstantSignal(value=0.12, unit="usd_per_kwh", kind="price")
    for t_ns in (-(10**18), 0, 9 * 10**18):
        found = signal.at(t_ns)
        assert (found.value, found.low, found.high, found.age_s) == (0.12, 0.12, 0.12, 0.0)
        assert not found.estimated
    ahead = signal.forecast(5, 3600.0)
    assert ahead.at(5 + 3599 * 10**9).value == 0.12
    assert ahead.low == ahead.high == (0.12,)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_constant_is_finite(value):
    with pytest.raises(BadInputError, match="constant signal"):
        ConstantSignal(value=value)


def test_a_bad_horizon_is_refused():
    with pytest.raises(BadInputError, match="horizon_s"):
        ConstantSignal(value=1.0).forecast(0, 0.0)
