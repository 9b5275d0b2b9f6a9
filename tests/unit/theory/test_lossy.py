"""Stores that lose energy: laws, limits, independent routes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import log_ndtr

from baseload.base.errors import BadInputError
from baseload.base.streams import stream
from baseload.theory.lossy import (
    critical_z_lossy,
    stored_increment,
    two_sided_lossy,
    two_sided_with_leak,
)
from baseload.theory.regulator import g

etas = st.floats(0.05, 1.0)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(160)


@given(etas, etas)
def test_the_critical_slot_balances_what_enters_and_leaves_the_store(eta_c, eta_d):
    z = critical_z_lossy(eta_c=eta_c, eta_d=eta_d)
    moved, _, _, _ = stored_increment(mean=z, sd=1.0, eta_c=eta_c, eta_d=eta_d)
    assert z >= 0
    assert abs(moved) < 1e-12 / eta_d


def test_the_critical_slot_is_zero_without_losses_and_far_with_heavy_ones():
    assert critical_z_lossy(eta_c=1.0, eta_d=1.0) == 0
    assert critical_z_lossy(eta_c=1 - 1e-12, eta_d=1.0) == pytest.approx(0, abs=1e-11)
    assert 20 < critical_z_lossy(eta_c=1e-100, eta_d=1.0) < 40


@given(st.floats(-60, 60), st.floats(0.1, 1), st.floats(0.1, 1))
def test_stored_moments_against_quadrature(mean, eta_c, eta_d):
    def integral(power, centre):
        total = 0.0
        cut = min(max(0.0, mean - 12), mean + 12)
        for low, high in ((mean - 12, cut), (cut, mean + 12)):
            x = (low + high) / 2 + (high - low) / 2 * NODES
            density = np.exp(-0.5 * (x - mean) ** 2) / math.sqrt(2 * math.pi)
            gained = np.where(x > 0, eta_c * x, x / eta_d) - centre
            total += (high - low) / 2 * float(WEIGHTS @ (gained**power * density))
        return total

    first, variance, surplus, shortfall = stored_increment(
        mean=mean, sd=1.0, eta_c=eta_c, eta_d=eta_d
    )
    assert first == pytest.approx(integral(1, 0.0), rel=1e-8, abs=1e-8)
    assert variance == pytest.approx(integral(2, first), rel=1e-7)
    assert surplus - shortfall == pytest.approx(mean, abs=1e-12)


@given(st.floats(-3, 3), st.floats(0, 3), st.floats(0.1, 10), st.floats(0, 100), etas, etas)
@example(theta=1.0, sd=1.03e-160, slot=1.0, B=1.0, eta_c=1.0, eta_d=1.0)
def test_energy_balances_in_a_lossy_store(theta, sd, slot, B, eta_c, eta_d):
    found = two_sided_lossy(theta=theta, sd=sd, slot=slot, B=B, eta_c=eta_c, eta_d=eta_d)
    scale = abs(theta) + sd / slot
    assert found.w - found.u == pytest.approx(theta - found.loss, abs=1e-9 * (1 + scale / eta_d))
    assert found.u >= 0
    assert found.w >= 0


def test_without_losses_the_slotted_two_sided_rates_come_out():
    found = two_sided_lossy(theta=0.1, sd=2.0, slot=0.5, B=9.0)
    size = 9.0 + 2 * 0.5825971579390106 * 2.0
    var = 4 / 0.5
    assert found.u == pytest.approx(var / (2 * size) * g(0.2 * size / var), rel=1e-13)
    assert found.loss == 0


def test_a_lossy_store_at_its_ends():
    plain = {"slot": 1.0, "eta_c": 0.9, "eta_d": 0.8}
    none = two_sided_lossy(theta=0.0, sd=1.0, B=0.0, **plain)
    assert none.u == none.w == pytest.approx(1 / math.sqrt(2 * math.pi))
    calm = two_sided_lossy(theta=-2.0, sd=0.0, B=5.0, **plain)
    assert (calm.u, calm.w) == (pytest.approx(2.0), 0.0)
    endless = two_sided_lossy(theta=0.0, sd=1.0, B=math.inf, **plain)
    assert endless.w == 0
    assert endless.u == pytest.approx((1 / 0.8 - 0.9) * 0.8 / math.sqrt(2 * math.pi))
    for theta in (1e6, -1e6):
        far = two_sided_lossy(theta=theta, sd=1.0, B=5.0, **plain)
        assert max(far.u, far.w) == pytest.approx(1e6)


def test_a_lossy_store_against_simulated_slots():
    """120,000 slots in 64 copies: within 3 % (the formula's own error) and 4 standard errors."""
    rng = stream(7, "lossy")
    slots, copies, B = 120_000, 64, 25.0
    level, u = np.full(copies, 12.0), np.zeros(copies)
    for n in rng.normal(0.02, 1.0, size=(slots, copies)):
        moved = level + np.where(n > 0, 0.92 * n, n / 0.95)
        u += 0.95 * np.maximum(-moved, 0)
        level = np.clip(moved, 0, B)
    rates = u / slots
    found = two_sided_lossy(theta=0.02, sd=1.0, slot=1.0, B=B, eta_c=0.92, eta_d=0.95)
    room = 0.03 * rates.mean() + 4 * rates.std(ddof=1) / 8
    assert found.u == pytest.approx(rates.mean(), abs=room)


@given(st.floats(-40, 40), st.floats(0.1, 10), st.floats(1e-9, 50), st.floats(0.1, 20))
def test_leak_balances_energy(theta, var, kappa, B):
    found = two_sided_with_leak(theta=theta, var=var, kappa=kappa, B=B)
    assert found.w - found.u == pytest.approx(
        theta - found.leak, abs=1e-9 * (abs(theta) + kappa * B + var / B)
    )
    assert found.leak == pytest.approx(kappa * found.mean_level)
    assert 0 < found.mean_level < B


@given(st.floats(-2, 2), st.floats(0.5, 4), st.floats(0.02, 0.8), st.floats(1, 6))
def test_leak_against_the_cut_normal_law(theta, var, kappa, B):
    mean, sd = theta / kappa, math.sqrt(var / (2 * kappa))
    lower, upper = -mean / sd, (B - mean) / sd
    if lower > 0:  # the side of the smaller tail
        lower, upper = -upper, -lower
    weight = math.exp(log_ndtr(upper)) - math.exp(log_ndtr(lower))
    at_0 = math.exp(-0.5 * (mean / sd) ** 2) / math.sqrt(2 * math.pi) / sd
    if weight > 1e-6:
        found = two_sided_with_leak(theta=theta, var=var, kappa=kappa, B=B)
        assert found.u == pytest.approx(var / 2 * at_0 / weight, rel=1e-8)


@given(st.floats(-900, 900))
def test_a_small_leak_gives_the_lossless_rates(y):
    B, var = 3.0, 2.0
    theta = y * var / (2 * B)
    for kappa in (0.0, 1e-13):
        found = two_sided_with_leak(theta=theta, var=var, kappa=kappa, B=B)
        assert found.u == pytest.approx(var / (2 * B) * g(y), rel=1e-9, abs=1e-300)
        assert found.w == pytest.approx(var / (2 * B) * g(-y), rel=1e-9, abs=1e-300)


def test_critical_supply_with_leak_is_half_a_full_stores_loss():
    found = two_sided_with_leak(theta=0.3 * 8 / 2, var=1.0, kappa=0.3, B=8.0)
    assert found.u == pytest.approx(found.w, rel=1e-12)


def test_leak_at_its_ends():
    assert two_sided_with_leak(theta=2.0, var=0.0, kappa=0.5, B=10.0).leak == 2.0
    full = two_sided_with_leak(theta=2.0, var=0.0, kappa=0.1, B=10.0)
    assert (full.u, full.w) == (0.0, 1.0)
    assert two_sided_with_leak(theta=-2.0, var=0.0, kappa=0.5, B=10.0).u == 2.0
    endless = two_sided_with_leak(theta=0.5, var=4.0, kappa=0.2, B=math.inf)
    large = two_sided_with_leak(theta=0.5, var=4.0, kappa=0.2, B=1e3)
    assert endless.u == pytest.approx(large.u, rel=1e-12)
    assert endless.w == 0
    lossless = two_sided_with_leak(theta=-0.5, var=4.0, kappa=0.0, B=math.inf)
    assert (lossless.u, lossless.mean_level) == (0.5, 4.0)
    assert two_sided_with_leak(theta=0.5, var=4.0, kappa=0.0, B=math.inf).u == 0
    for theta in (1e6, -1e6):
        steep = two_sided_with_leak(theta=theta, var=1.0, kappa=1e-6, B=1.0)
        assert max(steep.u, steep.w) == pytest.approx(1e6, rel=1e-9)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"B": 0.0}, "B"),
        ({"B": -1.0}, "B"),
        ({"kappa": -0.1}, "kappa"),
        ({"var": math.nan}, "var"),
        ({"theta": math.inf}, "theta"),
    ],
)
def test_leak_refuses_by_name(change, field):
    with pytest.raises(BadInputError) as caught:
        two_sided_with_leak(**({"theta": 0.1, "var": 1.0, "kappa": 0.1, "B": 1.0} | change))
    assert caught.value.asked == field


@pytest.mark.parametrize("change", [{"eta_c": 0.0}, {"eta_d": 1.1}, {"slot": 0.0}, {"sd": -1.0}])
def test_lossy_refuses_by_name(change):
    with pytest.raises(BadInputError) as caught:
        two_sided_lossy(**({"theta": 0.1, "sd": 1.0, "slot": 1.0, "B": 1.0} | change))
    assert caught.value.asked in change
