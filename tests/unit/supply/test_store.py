from __future__ import annotations

import math

import pytest

from baseload.base.errors import BadInputError
from baseload.supply.store import NO_STORE, Store, lithium_battery, wear_usd_per_j


def test_usable_is_what_lies_in_the_window():
    store = Store(capacity_j=100.0, soc_min_frac=0.2, soc_max_frac=0.9, soc_start_frac=0.5)
    assert store.usable_j == pytest.approx(70.0)
    assert store.start_j == pytest.approx(30.0)
    assert store.soc_frac(0.0) == pytest.approx(0.2)
    assert store.soc_frac(store.usable_j) == pytest.approx(0.9)


def test_a_start_that_is_not_given_is_the_middle_of_the_window():
    assert Store(capacity_j=100.0, soc_min_frac=0.6).start_j == pytest.approx(20.0)
    assert Store(capacity_j=math.inf).start_j == 0.0
    assert NO_STORE.start_j == NO_STORE.usable_j == 0.0


def test_no_state_of_charge_where_there_is_no_capacity_to_compare_with():
    assert NO_STORE.soc_frac(0.0) is None
    assert Store(capacity_j=math.inf).soc_frac(5.0) is None


def test_one_cycle_is_a_full_charge_and_a_full_discharge_of_the_cells():
    store = Store(capacity_j=80.0, charge_efficiency=0.8, discharge_efficiency=0.5)
    assert store.equivalent_cycles(100.0, 40.0) == pytest.approx(1.0)
    assert store.throughput_j(100.0, 40.0) == pytest.approx(160.0)
    assert NO_STORE.equivalent_cycles(0.0, 0.0) == 0.0
    assert Store(capacity_j=math.inf).equivalent_cycles(3.0, 1.0) == 0.0


def test_wear_over_all_cycles_is_the_price_of_a_new_store():
    per_j = wear_usd_per_j(replacement_usd=1_000.0, full_cycles=500, usable_j=80.0)
    store = Store(capacity_j=80.0, wear_usd_per_j=per_j)
    assert store.wear_usd(500 * 80.0, 500 * 80.0) == pytest.approx(1_000.0)
    assert Store(capacity_j=80.0).wear_usd(1.0, 1.0) is None


def test_a_lithium_battery_says_what_is_assumed():
    store = lithium_battery(100.0, replacement_usd_per_kwh=200.0)
    assert store.capacity_j == 3.6e8
    assert store.usable_j == pytest.approx(0.8 * 3.6e8)
    assert store.charge_efficiency * store.discharge_efficiency == pytest.approx(0.9025)
    assert store.charge_limit_w == pytest.approx(50_000.0)
    month_s = 365.25 / 12 * 86_400
    assert math.exp(-store.leak_per_s * month_s) == pytest.approx(0.975)
    assert store.wear_usd_per_j == pytest.approx(200 * 100 / (2 * 6_000 * store.usable_j))
    assert "charge_efficiency" in store.assumed
    assert "wear_usd_per_j" in store.assumed
    assert lithium_battery(100.0).wear_usd_per_j is None
    assert lithium_battery(0.0, replacement_usd_per_kwh=200.0).usable_j == 0.0


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("capacity_j", {"capacity_j": -1.0}),
        ("capacity_j", {"capacity_j": math.nan}),
        ("capacity_j", {"capacity_j": math.inf, "soc_min_frac": 0.1}),
        ("charge_efficiency", {"charge_efficiency": 0.0}),
        ("discharge_efficiency", {"discharge_efficiency": 1.1}),
        ("leak_per_s", {"leak_per_s": -1e-9}),
        ("charge_limit_w", {"charge_limit_w": -1.0}),
        ("discharge_limit_w", {"discharge_limit_w": math.nan}),
        ("soc_max_frac", {"soc_min_frac": 0.5, "soc_max_frac": 0.4}),
        ("soc_start_frac", {"soc_min_frac": 0.5, "soc_start_frac": 0.4}),
        ("wear_usd_per_j", {"wear_usd_per_j": -1.0}),
    ],
)
def test_a_store_that_cannot_be_is_refused_by_name(field, values):
    with pytest.raises(BadInputError, match=field):
        Store(**values)
