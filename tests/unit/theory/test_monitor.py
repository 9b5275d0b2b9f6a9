"""The monitor over simulated sites."""

import math
import sys

import numpy as np
import pytest
from scipy.signal import lfilter

from baseload.base.errors import BadInputError
from baseload.theory.monitor import Monitor
from baseload.theory.monitoring import cusum_arl


def watch(monitor, energies, duration_s=60.0):
    return [alarm for x in energies if (alarm := monitor.update(duration_s, float(x)))]


def noise(seed, n, f=0.0):
    return lfilter([1], [1, -f], np.random.default_rng(seed).normal(size=n + 100))[100:]


def test_a_quiet_site_is_critical():
    monitor = Monitor(storage_j=20.0, threshold=12)
    alarms = watch(monitor, noise(1, 50_000, 0.7))
    state = monitor.state()
    assert state.sigma2_low <= 1 / 0.09 / 60 <= state.sigma2_high
    half = state.theta_w_high - state.theta_w
    assert abs(state.theta_w) < 2 * half  # four standard errors
    assert state.y_high - state.y == pytest.approx(2 * 20 * half / state.sigma2, rel=0.1)
    assert state.regime == "critical"
    assert state.confidence_frac > 0.8
    assert state.change_w == -state.theta_w
    assert state.alarms == len(alarms) <= 5  # the chart's own rate of false alarms


def test_a_shift_is_seen_dated_and_measured():
    x = noise(2, 40_000)
    x[20_000:] -= 0.3
    monitor = Monitor(storage_j=50.0, threshold=15)
    alarms = watch(monitor, x)
    assert alarms
    first = alarms[0]
    assert first.direction == "deficit"
    assert 0 <= first.time_s - 20_000 * 60 < 3_000 * 60
    assert abs(first.since_s - 20_000 * 60) < 1_000 * 60
    state = monitor.state()
    assert state.theta_w_low <= -0.3 / 60 <= state.theta_w_high
    assert state.change_w == pytest.approx(0.3 / 60, rel=0.1)
    assert state.regime == "under-supplied"
    assert state.sigma2_source == "measured"


def test_a_target_off_zero_is_not_an_alarm():
    x = noise(3, 20_000) + 0.5
    aimed = Monitor(target_w=0.5 / 60, threshold=15)
    assert watch(aimed, x) == []
    assert aimed.state().change_w_low <= 0 <= aimed.state().change_w_high
    assert watch(Monitor(threshold=15), x)


def test_back_at_the_target_it_starts_anew():
    x = noise(4, 60_000)
    x[20_000:25_000] += 1.0
    monitor = Monitor(storage_j=10.0, threshold=15)
    watch(monitor, x)
    state = monitor.state()
    assert state.segment_s < 36_000 * 60
    assert state.theta_w_low <= 0 <= state.theta_w_high
    assert state.regime == "critical"


def test_alarms_come_as_often_as_the_chart_says():
    """Seed 5: known variance, no drift, two-sided run length with k = 0.25 and h = 4."""
    monitor = Monitor(var=1 / 60, threshold=4.0)
    n = 100_000
    alarms = watch(monitor, noise(5, n))
    expected = n / cusum_arl(mu=0, k=0.25, h=4, two_sided=True)
    assert len(alarms) == pytest.approx(expected, abs=4 * math.sqrt(expected) + 0.03 * expected)
    assert len(monitor.state().latest_alarms) == 100


def test_nothing_is_known_at_first():
    state = Monitor(storage_j=5.0).state()
    assert (state.theta_w, state.sigma2, state.y, state.regime) == (None, None, None, None)
    assert (state.cusum_up, state.change_w, state.sigma2_source) == (None, None, "not yet")
    given = Monitor(storage_j=5.0, var=2.0)
    given.update(10.0, 3.0)
    state = given.state()
    assert (state.sigma2, state.sigma2_source, state.block_slots) == (2.0, "given", 1)
    assert state.y == pytest.approx(2 * 0.3 * 5 / 2)


@pytest.mark.parametrize("drift", [-1.0, 0.0, 2.0])
def test_a_site_without_noise(drift):
    monitor = Monitor(storage_j=5.0)
    watch(monitor, [drift] * 500)
    state = monitor.state()
    assert state.sigma2 == 0
    assert state.theta_w == pytest.approx(drift / 60)
    expected = {-1.0: "under-supplied", 0.0: "critical", 2.0: "over-supplied"}[drift]
    assert state.regime == expected
    assert state.confidence_frac == 1


def test_memory_stays_constant():
    monitor = Monitor(storage_j=5.0)

    def held():
        batches = monitor._batches
        return sys.getsizeof(batches._energy) + sys.getsizeof(batches._time)

    watch(monitor, noise(6, 2_000))
    before = held()
    watch(monitor, noise(7, 20_000))
    assert held() <= 2 * before


@pytest.mark.parametrize(("duration", "energy"), [(0, 1), (-1, 1), (1, math.nan), (math.inf, 1)])
def test_bad_slots_are_refused(duration, energy):
    with pytest.raises(BadInputError):
        Monitor().update(duration, energy)


@pytest.mark.parametrize(
    ("field", "value"),
    [("storage_j", 0), ("var", 0), ("threshold", 0), ("confidence", 1), ("block_slots", 0)],
)
def test_bad_settings_are_named(field, value):
    with pytest.raises(BadInputError, match=field):
        Monitor(**{field: value})
