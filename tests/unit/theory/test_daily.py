"""Net power that follows the day."""

import numpy as np
import pytest
from scipy.signal import lfilter

from baseload.base.errors import ArgumentError
from baseload.theory.daily import daily_cycle, rebinned

DAY = 86_400.0


def noise(seed, n, f=0.0):
    return lfilter([1], [1, -f], np.random.default_rng(seed).normal(size=n))


@pytest.mark.parametrize("f", [0.0, 0.9, 0.999, -0.5])
@pytest.mark.parametrize("days", [6, 10, 40])
def test_noise_has_no_day(f, days):
    """Seeds 1 to 5, quarter hours."""
    for seed in range(1, 6):
        assert daily_cycle(noise(seed, days * 96, f), 900.0).found is False


@pytest.mark.parametrize("days", [6, 30])
def test_the_sun_is_found(days):
    t = np.arange(days * 96)
    sun = np.maximum(0, np.sin(2 * np.pi * t / 96)) * np.repeat(
        np.random.default_rng(2).uniform(0.3, 1, days), 96
    )
    found = daily_cycle(900 * (sun + 0.2 * noise(3, t.size)), 900.0)
    assert found.found
    assert found.days == days
    assert len(found.profile_w) == 48
    # a half sine of 12 h above its mean: hand-integrated swing
    mean = sun.mean()
    parts = sun.reshape(days, 96).mean(axis=0)
    swing = np.ptp(np.concatenate([[0], np.cumsum((parts - mean) * 900)]))
    assert found.swing_j == pytest.approx(swing, rel=0.1)


def test_a_faint_day_is_no_matter():
    t = np.arange(365 * 24)
    slow = np.repeat(noise(4, 365), 24)
    assert daily_cycle(slow + 1e-3 * np.sin(2 * np.pi * t / 24), 3600.0).found is False


def test_too_short_or_too_coarse_to_tell():
    assert daily_cycle(noise(1, 5 * 24), 3600.0).found is None
    assert daily_cycle(noise(1, 400), DAY).found is None
    assert daily_cycle([], 60.0).found is None
    assert daily_cycle(np.ones(30 * 24), 3600.0).found is False


def test_units_keep_the_energy():
    energy, length = np.array([1.0, 2.0, 3.0, 6.0]), np.array([10.0, 20.0, 10.0, 20.0])
    assert rebinned(energy, length, 20.0) == pytest.approx([2.0, 4.0, 6.0])
    assert rebinned(energy, length, 60.0) == pytest.approx([12.0])
    assert rebinned(energy, length, 61.0).size == 0
    assert rebinned(energy, 10.0, 25.0).sum() == pytest.approx(1 + 2 + 1.5)
    with pytest.raises(ArgumentError, match="unit_s"):
        rebinned(energy, length, 0.0)
