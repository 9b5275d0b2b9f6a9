"""Whole logs through the monitor."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from baseload.base.errors import ArgumentError
from baseload.theory.monitoring import cusum_arl
from baseload.theory.seasons import periodic_rates
from baseload.theory.slotted import slotted_two_sided_rates
from baseload.theory.watch import threshold_for, watch, watch_meters
from baseload.theory.watch_rates import expected_daily_rates, expected_rates


def noise(seed, n, f=0.0):
    return lfilter([1], [1, -f], np.random.default_rng(seed).normal(size=n))


def test_a_quiet_log_is_critical_without_an_alarm():
    found = watch(noise(1, 40_000), 60.0, storage_j=20.0)
    assert found.alarms == ()
    assert found.state.sigma2_low < 1 / 60 < found.state.sigma2_high
    assert found.state.regime == "critical"
    assert found.missing == ()
    assert found.block_s == 600
    assert found.blocks == 4000
    assert found.cycle.found is False
    rates = expected_rates(found, storage_j=20.0, slot_s=60.0)
    exact = slotted_two_sided_rates(found.state.theta_w, found.state.sigma2 * 60, slot=60.0, B=20.0)
    assert (rates.rung, rates.u_w) == ("slotted", pytest.approx(exact.u_w))
    assert expected_daily_rates(found, storage_j=20.0) is None


def test_false_alarms_are_as_rare_as_they_should_be():
    """Seeds 1 to 20: 0.05 false alarms a log are expected."""
    alarmed = sum(bool(watch(noise(seed, 10_000), 60.0).alarms) for seed in range(1, 21))
    assert alarmed <= 4  # 1 +- 1


def test_a_shift_is_seen_and_the_rates_are_those_since():
    x = noise(2, 40_000)
    x[30_000:] -= 0.3
    found = watch(x, 60.0, storage_j=50.0)
    first = found.alarms[0]
    assert first.direction == "deficit"
    assert first.time_s == pytest.approx(30_000 * 60, rel=0.05)
    assert found.state.theta_w == pytest.approx(-0.3 / 60, rel=0.15)
    assert found.state.regime == "under-supplied"
    assert expected_rates(found, storage_j=50.0, slot_s=60.0).u_w == pytest.approx(
        -found.state.theta_w, rel=0.01
    )


def test_correlated_slots_make_an_episode():
    found = watch(noise(5, 60_000, 0.9), 60.0, storage_j=400.0)
    rates = expected_rates(found, storage_j=400.0, slot_s=60.0)
    assert rates.storage_per_slot_noise is None
    # variance of the power v = 1 / (1 - f^2) / 60^2, correlation time 60 (1 + f) / (1 - f) / 2 s
    episode = math.sqrt(1 / (1 - 0.81)) / 60 * 60 * 19 / 2
    assert rates.storage_per_episode == pytest.approx(400 / episode, rel=0.2)


def test_a_day_is_kept_whole():
    t = np.arange(40 * 96)
    power = 2 * np.sin(2 * np.pi * t / 96) + noise(4, t.size)
    found = watch(power * 900, 900.0, storage_j=2e4)
    assert found.cycle.found
    assert found.block_s == 86_400
    assert any("whole days" in said for said in found.how)
    assert found.state.sigma2 == pytest.approx(900, rel=0.6)  # of the noise, not of the day
    daily = expected_daily_rates(found, storage_j=2e4)
    direct = periodic_rates(
        theta=[2 * math.sin(2 * math.pi * (k + 0.5) / 48) for k in range(48)],
        var=900.0, B=2e4, period=86_400.0,
    )  # fmt: skip
    assert daily.u == pytest.approx(direct.u, rel=0.3)
    asked = watch(power * 900, 900.0, block_s=2 * 86_400)
    assert asked.blocks == 20
    assert "as asked" in asked.how[0]


def test_too_few_blocks_say_so():
    found = watch(noise(5, 15), 60.0, storage_j=20.0)
    assert (found.state.sigma2, found.state.y, found.state.regime) == (None, None, None)
    assert found.threshold is None
    assert found.block_s is None
    assert len(found.missing) == 2
    assert expected_rates(found, storage_j=20.0, slot_s=60.0) is None
    slow = watch(noise(6, 500, 0.999), 60.0, storage_j=20.0)
    assert slow.state.sigma2 is None
    known = watch(noise(5, 15), 60.0, storage_j=20.0, var=1 / 60)
    assert known.state.sigma2 == 1 / 60
    assert known.state.regime is not None
    bare = watch(noise(1, 4000), 60.0)
    assert any("capacity" in said for said in bare.missing)


def test_a_log_without_noise():
    found = watch(np.full(200, 3.0), 60.0, storage_j=5.0)
    assert found.state.sigma2 == 0
    assert found.state.regime == "over-supplied"
    assert expected_rates(found, storage_j=5.0, slot_s=60.0).w_w == pytest.approx(0.05)


def test_slots_may_differ_in_length():
    random = np.random.default_rng(7)
    length = random.uniform(30, 90, 20_000)
    energy = random.normal(0.01 * length, np.sqrt(length))
    found = watch(energy, length)
    assert found.state.theta_w_low < 0.01 < found.state.theta_w_high
    assert found.whole.sigma2_low < 1 < found.whole.sigma2_high


@pytest.mark.parametrize("blocks", [20, 1000, 50_000])
def test_the_threshold_has_the_run_length_it_should(blocks):
    h = threshold_for(blocks=blocks, slack=0.25)
    length = cusum_arl(mu=0, k=0.25, h=h, two_sided=True)
    assert length == pytest.approx(20 * blocks, rel=1e-6)
    assert threshold_for(blocks=1, slack=1.0, false_alarms=100) == 4


def test_two_meters_over_time():
    """u = w = sigma2 / (2 B) at the critical point."""
    n = 1000
    found = watch_meters(np.full(n, 0.5), np.full(n, 0.5), 1.0, storage_j=10.0)
    assert found.reading.y == 0
    assert found.reading.sigma2 == pytest.approx(10)
    assert len(found.course.y) == 300
    assert found.course.theta_w_low[-1] < 0 < found.course.theta_w_high[-1]
    silent = watch_meters([0, 0], [1, 1], 1.0, storage_j=10.0)
    assert silent.reading.y == math.inf
    assert silent.course.theta_w[-1] is None


@pytest.mark.parametrize(
    ("energy", "length", "named"),
    [([], 1.0, "net_j"), ([1.0], 0.0, "length_s"), ([math.nan], 1.0, "net_j"),
     ([1.0, 2.0], [1.0, -1.0], "length_s")],
)  # fmt: skip
def test_bad_logs_are_named(energy, length, named):
    with pytest.raises(ArgumentError, match=named):
        watch(energy, length)
    with pytest.raises(ArgumentError, match="block_s"):
        watch([1.0, 2.0], 1.0, block_s=10.0)


def test_a_year_of_sun_is_watched_about_its_season():
    """Days that follow the season: the weather's variance is found, and winter raises an alarm."""
    rng = np.random.default_rng(5)
    days = 364
    season = 800 + 400 * np.sin(2 * np.pi * (np.arange(days) - 80) / 365)
    mean = season + 150 * rng.standard_normal(days)
    profile = np.maximum(0, np.sin(2 * np.pi * (np.arange(24) - 6) / 24))
    supply = (mean[:, None] * profile / profile.mean()).ravel()
    found = watch((supply - 800.0) * 3600.0, 3600.0, storage_j=16 * 3.6e6)
    assert found.seasonal
    assert found.state.sigma2 == pytest.approx(150.0**2 * 86_400, rel=0.35)
    assert {alarm.direction for alarm in found.alarms} == {"surplus", "deficit"}
    assert any("follow the season" in each for each in found.how)
    assert sum(found.profile_w) / len(found.profile_w) == pytest.approx(
        found.state.theta_w, abs=0.1 * abs(found.state.theta_w)
    )
    assert not watch(noise(1, 4000), 60.0, storage_j=20.0).seasonal
