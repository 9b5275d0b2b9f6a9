from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.supply.series import slot_edges
from baseload.supply.tariff import (
    DemandCharge,
    FlatPrice,
    PriceWindow,
    SpotPrice,
    Tariff,
    TimeOfUsePrice,
    bill,
    demand_charge_per_kw,
    month_length_s,
    month_number,
    window_means_w,
)

HOUR, DAY = 3600.0, 86_400.0
FLAT = FlatPrice(usd_per_j=1e-7)


def unix(*date):
    return datetime(*date, tzinfo=UTC).timestamp()


SUMMER = TimeOfUsePrice(
    usd_per_j=1.0,
    windows=(
        PriceWindow(usd_per_j=5.0, from_hour=16.5, to_hour=21, days="weekdays", months=(6, 7, 8)),
        PriceWindow(usd_per_j=3.0, from_hour=22, to_hour=6, days="weekends"),
        PriceWindow(usd_per_j=2.0, from_hour=12, to_hour=24),
    ),
    utc_offset_s=-8 * HOUR,
)


def by_the_calendar(unix_s):
    """The same tariff by datetime."""
    local = datetime.fromtimestamp(unix_s, UTC) - timedelta(hours=8)
    hour, weekend = local.hour + local.minute / 60, local.weekday() >= 5
    if 16.5 <= hour < 21 and not weekend and local.month in (6, 7, 8):
        return 5.0
    if weekend and (hour >= 22 or hour < 6):
        return 3.0
    return 2.0 if hour >= 12 else 1.0


@given(st.integers(-400_000_000, 4_000_000_000))
def test_time_of_use_is_the_calendars(minute):
    unix_s = float(minute // 60 * 60)
    assert SUMMER.at(unix_s) == by_the_calendar(unix_s)


def test_a_slot_over_the_end_of_a_window_pays_the_mean():
    start = unix(2024, 7, 2, 8)  # midnight of a Tuesday, local
    edges = slot_edges(HOUR, 24)
    found = SUMMER.slot_usd_per_j(edges, start_unix_s=start)
    assert found[[0, 11, 12, 15, 17, 20, 21]].tolist() == [1, 1, 2, 2, 5, 5, 2]
    assert found[16] == pytest.approx((2 + 5) / 2)
    day = SUMMER.slot_usd_per_j([0.0, DAY], start_unix_s=start)
    assert day[0] == pytest.approx((12 * 1 + 7.5 * 2 + 4.5 * 5) / 24)


@given(st.integers(0, 300), st.integers(1, 40))
def test_prices_of_split_slots_average_to_those_of_whole_ones(day, slots):
    start = unix(2024, 1, 1) + day * DAY
    fine = SUMMER.slot_usd_per_j(slot_edges(0.7 * HOUR, 3 * slots), start_unix_s=start)
    coarse = SUMMER.slot_usd_per_j(slot_edges(2.1 * HOUR, slots), start_unix_s=start)
    assert fine.reshape(slots, 3).mean(axis=1) == pytest.approx(coarse)


def test_a_spot_price_has_an_adder_and_an_end():
    spot = SpotPrice(usd_per_j=[3.0, -1.0], start_unix_s=1000.0, adder_usd_per_j=0.5)
    assert spot.slot_usd_per_j([0.0, HOUR, 2 * HOUR], start_unix_s=1000.0).tolist() == [3.5, -0.5]
    assert spot.slot_usd_per_j([HOUR / 2, 3 * HOUR / 2], start_unix_s=1000.0)[0] == 1.5
    with pytest.raises(BadInputError, match=r"spot price.*\n.*2 values of 3,600 s"):
        spot.slot_usd_per_j([0.0, 3 * HOUR], start_unix_s=1000.0)
    assert FLAT.slot_usd_per_j([0.0, 1.0]).tolist() == [1e-7]


def test_months_are_those_of_the_calendar():
    for year in (1970, 1999, 2000, 2024, 2100):
        for month in range(1, 13):
            first = unix(year, month, 1)
            number = int(month_number(first))
            assert number == 12 * (year - 1970) + month - 1
            assert int(month_number(first - 0.001)) == number - 1
            following = unix(year + month // 12, month % 12 + 1, 1)
            assert month_length_s(number) == following - first


def test_the_peak_is_the_highest_quarter_of_an_hour_on_the_clock():
    power = np.zeros(60)
    power[10:25] = 60.0  # minutes 10 to 25: five minutes of the first quarter, ten of the second
    means, windows = window_means_w(slot_edges(60.0, 60), power)
    assert means == pytest.approx([20.0, 40.0, 0.0, 0.0])
    assert windows.tolist() == [0.0, 900.0, 1800.0, 2700.0, 3600.0]
    shifted, edges = window_means_w(slot_edges(60.0, 60), power, shift_s=300.0)
    assert shifted.max() == pytest.approx(60.0)
    assert edges.tolist() == [0.0, 600.0, 1500.0, 2400.0, 3300.0, 3600.0]


def test_a_slot_longer_than_the_window_counts_with_its_mean():
    means, _ = window_means_w([0.0, HOUR, 2 * HOUR], [5.0, 7.0])
    assert means.tolist() == [5.0] * 4 + [7.0] * 4


def year_run(peaks_w, step_s=HOUR):
    """A year of 2023 with one hour of ``peaks_w[month]`` at noon of every month's tenth."""
    power = np.full(8760, 1.0)
    for month, peak in enumerate(peaks_w):
        day = (datetime(2023, month + 1, 10) - datetime(2023, 1, 1)).days
        power[day * 24 + 12] = peak
    return slot_edges(step_s, 8760), power, unix(2023, 1, 1)


def test_a_demand_charge_is_taken_on_each_months_peak():
    peaks = [10.0, 20, 30, 40, 50, 60, 50, 40, 30, 20, 10, 5]
    edges, power, start = year_run(peaks)
    tariff = Tariff(energy=FLAT, demand=DemandCharge(usd_per_w=0.01), fixed_usd_per_month=7.0)
    found = bill(tariff, edges, power, start_unix_s=start)
    assert [row.peak_w for row in found.months] == peaks
    assert found.demand_usd == pytest.approx(0.01 * sum(peaks))
    assert found.fixed_usd == pytest.approx(12 * 7.0)
    assert found.energy_usd == pytest.approx(1e-7 * power.sum() * HOUR)
    assert [row.month for row in found.months][:2] == ["2023-01", "2023-02"]
    assert all(row.covered_frac == 1.0 for row in found.months)
    assert found.total_usd == found.energy_usd + found.demand_usd + found.fixed_usd


def test_a_ratchet_bills_a_share_of_the_years_peak():
    peaks = [10.0, 100, 30, 40, 50, 60, 50, 40, 90, 20, 10, 5]
    edges, power, start = year_run(peaks)
    demand = DemandCharge(usd_per_w=1.0, ratchet_frac=0.8, earlier_peak_w=50.0)
    found = bill(Tariff(energy=FLAT, demand=demand), edges, power, start_unix_s=start)
    assert [row.billed_w for row in found.months] == [40, 100, *[80] * 6, 90, 80, 80, 80]


def test_a_ratchet_forgets_a_peak_after_a_year():
    edges = slot_edges(DAY, 450)
    power = np.where(np.arange(450) == 3, 100.0, 10.0)
    demand = DemandCharge(usd_per_w=1.0, ratchet_frac=0.5)
    found = bill(Tariff(energy=FLAT, demand=demand), edges, power, start_unix_s=unix(2023, 1, 1))
    assert [row.billed_w for row in found.months] == [100] + [50] * 11 + [10] * 3


def test_a_demand_charge_is_not_additive_over_hours():
    tariff = Tariff(energy=FLAT, demand=demand_charge_per_kw(15.0))
    edges, power = slot_edges(HOUR, 4), np.array([1e4, 5e4, 1e4, 1e4])
    whole = bill(tariff, edges, power)
    halves = [bill(tariff, edges[at : at + 3], power[at : at + 2]) for at in (0, 2)]
    assert whole.demand_usd == pytest.approx(15.0 * 50.0)
    assert whole.energy_usd == pytest.approx(sum(half.energy_usd for half in halves))
    assert whole.demand_usd < sum(half.demand_usd for half in halves)


def test_a_slot_across_the_end_of_a_month_is_split():
    start = unix(2024, 2, 29, 23)
    tariff = Tariff(energy=FLAT, demand=DemandCharge(usd_per_w=1.0), fixed_usd_per_month=10.0)
    found = bill(tariff, [0.0, 2 * HOUR], [100.0], start_unix_s=start)
    assert [row.month for row in found.months] == ["2024-02", "2024-03"]
    assert [row.energy_j for row in found.months] == [100 * HOUR] * 2
    assert found.demand_usd == 200.0
    assert found.months[0].covered_frac == pytest.approx(1 / (29 * 24))
    local = Tariff(energy=FLAT, demand=tariff.demand, utc_offset_s=-2 * HOUR)
    assert len(bill(local, [0.0, 2 * HOUR], [100.0], start_unix_s=start).months) == 1


def test_no_slots_cost_nothing():
    assert bill(Tariff(energy=FLAT, fixed_usd_per_month=5.0), [0.0], []).total_usd == 0.0


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("usd_per_j", lambda: FlatPrice(usd_per_j=math.nan)),
        ("from_hour", lambda: PriceWindow(usd_per_j=1.0, from_hour=25.0)),
        ("to_hour", lambda: PriceWindow(usd_per_j=1.0, from_hour=5.0, to_hour=5.0)),
        ("days", lambda: PriceWindow(usd_per_j=1.0, days="sundays")),
        ("months", lambda: PriceWindow(usd_per_j=1.0, months=(13,))),
        ("months", lambda: PriceWindow(usd_per_j=1.0, months=())),
        ("utc_offset_s", lambda: TimeOfUsePrice(usd_per_j=1.0, utc_offset_s=1e6)),
        ("usd_per_j", lambda: SpotPrice(usd_per_j=[math.inf])),
        ("step_s", lambda: SpotPrice(usd_per_j=[1.0], step_s=0.0)),
        ("usd_per_w", lambda: DemandCharge(usd_per_w=-1.0)),
        ("ratchet_frac", lambda: DemandCharge(usd_per_w=1.0, ratchet_frac=70.0)),
        ("fixed_usd", lambda: Tariff(energy=FLAT, fixed_usd_per_month=-1.0)),
        ("auxiliary_w", lambda: bill(Tariff(energy=FLAT), [0.0, 1.0], [-1.0])),
        ("auxiliary_w", lambda: bill(Tariff(energy=FLAT), [0.0, 1.0], [1.0, 2.0])),
    ],
)
def test_tariffs_that_cannot_be_are_refused_by_name(field, wrong):
    with pytest.raises(BadInputError, match=field):
        wrong()
