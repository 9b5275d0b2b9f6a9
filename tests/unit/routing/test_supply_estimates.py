"""What meters teach of a site: the day's shape, the floor, the chance; in slots of any length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.routing.supply_estimates import HOURS, Day, SupplyEstimates, SupplySignals

SHAPE_W = 500.0 + 400.0 * np.sin(np.arange(HOURS) / HOURS * 2 * np.pi)


def signals(now_s, slot_s, **changes):
    fields = {
        "now_s": now_s,
        "slot_s": slot_s,
        "level_j": 0.0,
        "baseline_j": 500.0 * slot_s,
        "demand_j": 300.0 * slot_s,
        "in_flight": 0,
        "auxiliary_usd_per_j": 1e-6,
        "waste_usd_per_j": 1e-7,
        "promised_j": 100.0 * slot_s,
        "picked": np.array([0.5 * slot_s, 0.0]),
    }
    return SupplySignals(**(fields | changes))


def run(slot_s, days, *, start_s=0.0, watts=lambda hour, day: SHAPE_W[hour], **changes):
    """Estimates after some days of a supply."""
    found = SupplyEstimates(classes=2, start_unix_s=start_s)
    for slot in range(round(days * 86_400 / slot_s)):
        now_s = (slot + 1) * slot_s
        middle_s = start_s + now_s - 0.5 * slot_s
        joules = watts(int(middle_s % 86_400 // 3600), int(middle_s // 86_400)) * slot_s
        found.add(signals(now_s, slot_s, baseline_j=joules, **changes))
    return found


@pytest.mark.parametrize("slot_s", [300.0, 900.0, 1000.0, 3600.0])
@pytest.mark.parametrize("start_s", [0.0, 12_345.0])
def test_a_day_is_learned_by_the_hour_of_the_sites_clock(slot_s, start_s):
    found = run(slot_s, 2.5, start_s=start_s)
    assert found.baseline_w.known
    off = np.abs(found.baseline_w.filled() - SHAPE_W)
    assert off.max() < (1e-9 if 3600 % slot_s == 0 else 120.0)
    assert np.allclose(found.floor_w.mean, 200.0)
    assert np.allclose(found.rate_per_s.mean, [0.5, 0.0])
    assert found.ratio == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("slot_s", [5400.0, 7200.0, 21_600.0, 86_400.0])
def test_slots_of_more_than_an_hour_teach_every_hour(slot_s):
    """Hours between the middles of long slots stayed unseen for ever, so no table was ever made."""
    found = run(slot_s, 3.0)
    assert found.baseline_w.known
    assert found.baseline_w.filled().mean() == pytest.approx(500.0, rel=0.05)
    assert np.allclose(found.auxiliary_usd_per_j.mean, 1e-6)


def test_hours_not_seen_yet_have_the_mean_of_the_others():
    found = run(3600.0, 0.25)
    assert not found.baseline_w.known
    assert found.baseline_w.filled()[6:] == pytest.approx([SHAPE_W[:6].mean()] * 18)
    assert found.baseline_w.mean[6:].tolist() == [0.0] * 18


@pytest.mark.slow
@given(seed=st.integers(0, 100))
def test_variance_is_that_of_whole_days(seed):
    """Days that differ by a known factor: the long-run variance rate is that of their sums."""
    factor = np.random.default_rng(seed).normal(1.0, 0.2, 40)
    found = run(3600.0, 40.0, watts=lambda hour, day: SHAPE_W[hour] * factor[day])
    day_j = 500.0 * 86_400 * factor
    assert found.variance_j2_per_s() == pytest.approx(day_j.var() / 86_400, rel=1.0)
    assert found.variance_j2_per_s() > 0.1 * day_j.var() / 86_400


def test_a_supply_without_chance_has_no_variance():
    assert run(900.0, 5.0).variance_j2_per_s() < 1e-9
    assert SupplyEstimates(classes=1, start_unix_s=0.0).variance_j2_per_s() == 0.0


def test_what_is_ahead_follows_the_last_hours_and_forgets_them():
    def watts(hour, day):
        return SHAPE_W[hour] * (0.5 if day == 3 else 1.0)

    found = run(3600.0, 3.5, watts=watts)
    ahead = found.ahead_w(3.5 * 86_400)
    usual = found.baseline_w.filled()[(12 + np.arange(24)) % 24]
    share = ahead / usual
    assert share[0] == pytest.approx(found.ratio)
    assert share[0] < 0.8
    assert (np.diff(share) > 0).all()
    assert share[-1] > 0.95


def test_nights_say_nothing_of_clouds():
    """The ratio to the usual day does not move where the usual day has nothing."""
    shape = np.maximum(0.0, SHAPE_W - 500.0)
    found = run(3600.0, 3.0, watts=lambda hour, day: shape[hour])
    before = found.ratio
    found.add(signals(3 * 86_400 + 19 * 3600.0, 3600.0, baseline_j=1e9))
    assert found.ratio == before


def test_a_day_of_arrays_weighs_shares_of_an_hour():
    day = Day((2,))
    day.add(3, np.array([1.0, 2.0]), 0.5)
    day.add(3, np.array([3.0, 2.0]), 0.5)
    assert day.mean[3].tolist() == [2.0, 2.0]
    assert not day.known
