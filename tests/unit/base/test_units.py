from __future__ import annotations

import pytest

from baseload.base import units


def test_conversions_are_exact_in_round_numbers():
    assert units.kwh_from_j(3.6e6) == 1.0
    assert units.mj_from_j(2.5e6) == 2.5
    assert units.kg_from_g(1500.0) == 1.5
    assert units.g_per_j_from_g_per_kwh(3.6e6) == 1.0
    assert units.usd_per_j_from_usd_per_kwh(0.36) == pytest.approx(1e-7)
    assert units.s_from_us(1_500_000) == 1.5
    assert units.s_from_ms(units.ms_from_s(0.75)) == 0.75
    assert units.S_PER_DAY == 24 * units.S_PER_HOUR
    assert units.NS_PER_S == 1000 * units.US_PER_S
    assert units.g_per_kwh_from_lb_per_mwh(1000.0) == pytest.approx(453.59237)
    assert units.s_from_ns(1_500_000_000) == 1.5
    assert units.ns_from_s(1e-9) == 1
    assert units.ns_from_s(units.S_PER_DAY) == 86_400 * units.NS_PER_S
