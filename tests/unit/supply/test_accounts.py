from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from baseload.base.errors import BadInputError
from baseload.base.streams import stream
from baseload.supply.accounts import settle
from baseload.supply.baseline import Constant, OrnsteinUhlenbeck, PvYear, Sum, Trace
from baseload.supply.carbon import carbon_signal
from baseload.supply.site import Site
from baseload.supply.slot import BALANCE_LIMIT, slot_residual_frac
from baseload.supply.store import Store, lithium_battery
from baseload.supply.tariff import (
    DemandCharge,
    FlatPrice,
    PriceWindow,
    SpotPrice,
    Tariff,
    TimeOfUsePrice,
)

from .stores import stores

KWH, HOUR = 3.6e6, 3600.0
SUN = np.maximum(0.0, np.sin((np.arange(24) - 6) / 12 * math.pi))

SOLAR = Site(
    baseline=Sum(sources=(Constant(value_w=20e3), PvYear(capacity_factor=SUN, installed_w=200e3))),
    store=lithium_battery(200.0, replacement_usd_per_kwh=250.0),
    auxiliary_limit_w=60e3,
    pue=1.2,
    overhead_w=5e3,
    baseline_usd_per_j=0.05 / KWH,
    tariff=Tariff(
        energy=FlatPrice(usd_per_j=0.30 / KWH),
        demand=DemandCharge(usd_per_w=0.012),
        fixed_usd_per_month=310.0,
    ),
    waste_usd_per_j=-0.02 / KWH,
    unserved_usd_per_j=5.0 / KWH,
    carbon_usd_per_g=1e-4,
    auxiliary_carbon=carbon_signal("average", 400.0),
    baseline_carbon=carbon_signal("average", 30.0),
    auxiliary_marginal=carbon_signal("marginal", 600.0),
    slot_s=HOUR,
)


def week(mean_w=60e3):
    return stream(0, "test.site").gamma(4.0, mean_w / 4.0, 7 * 24) * HOUR


def test_the_books_balance_and_name_every_joule():
    found = settle(SOLAR, week())
    assert found.balance_residual_frac <= BALANCE_LIMIT
    assert found.demand_j == pytest.approx(1.2 * found.fleet_j + 5e3 * found.span_s)
    assert found.baseline_j == found.baseline_used_j + found.waste_j
    assert found.store_change_j == found.level_end_j - found.level_start_j
    served_j = found.demand_j - found.unserved_j
    into_j = found.baseline_used_j + found.auxiliary_j
    gone_j = served_j + found.store_change_j + found.leak_j + found.loss_j
    assert into_j == pytest.approx(gone_j, rel=1e-12)
    frac = slot_residual_frac(found.columns, found.level_start_j, SOLAR.store.usable_j)
    assert frac.max() <= 4 * 2.3e-16
    assert found.equivalent_cycles == pytest.approx(
        (0.95 * found.charged_j + found.discharged_j / 0.95) / (2 * SOLAR.store.usable_j)
    )
    for part in (found.auxiliary_j, found.waste_j, found.unserved_j, found.loss_j, found.leak_j):
        assert part > 0


def test_every_part_of_the_cost_is_price_times_quantity():
    found = settle(SOLAR, week())
    costs = found.costs
    assert costs.missing == ()
    assert costs.baseline_usd == pytest.approx(0.05 * found.baseline_j / KWH)
    assert costs.energy_usd == pytest.approx(0.30 * found.auxiliary_j / KWH)
    assert costs.demand_usd == pytest.approx(0.012 * found.peak_w)
    assert costs.fixed_usd == pytest.approx(310.0 * 7 / 31)
    assert costs.waste_usd == pytest.approx(-0.02 * found.waste_j / KWH)
    assert costs.unserved_usd == pytest.approx(5.0 * found.unserved_j / KWH)
    assert costs.carbon_usd == pytest.approx(1e-4 * found.location_based.mass_g)
    assert costs.wear_usd == pytest.approx(250 * 200 * found.equivalent_cycles / 6_000)
    parts = [getattr(costs, name) for name in costs.__struct_fields__]
    assert costs.total_usd == pytest.approx(sum(parts))
    assert found.bill.energy_usd == costs.energy_usd
    assert found.peak_w == pytest.approx(found.columns.auxiliary_j.max() / HOUR)
    assert found.peak_w <= 60e3


def test_grams_of_inventory_and_effect_stay_two_figures():
    found = settle(SOLAR, week())
    inventory_g = 400 * found.auxiliary_j / KWH + 30 * found.baseline_j / KWH
    assert found.location_based.kind == "average"
    assert found.location_based.mass_g == pytest.approx(inventory_g)
    assert found.marginal_effect.kind == "marginal"
    assert found.marginal_effect.mass_g == pytest.approx(600 * found.auxiliary_j / KWH)
    assert found.carbon_missing == ()
    assert found.carbon_estimated_frac == 0.0
    with pytest.raises(BadInputError, match="never subtract"):
        found.location_based - found.marginal_effect


def test_what_the_site_does_not_say_is_missing_and_not_zero():
    bare = Site(baseline=Constant(value_w=10.0), slot_s=1.0)
    found = settle(bare, [5.0, 25.0])
    assert found.auxiliary_j == 15.0
    assert found.location_based is None
    assert found.carbon_missing == ("auxiliary", "baseline")
    assert found.marginal_effect is None
    assert found.carbon_estimated_frac is None
    assert found.bill is None
    assert set(found.costs.missing) == {
        "baseline_usd",
        "energy_usd",
        "demand_usd",
        "fixed_usd",
        "carbon_usd",
        "wear_usd",
    }
    assert found.costs.unserved_usd == 0.0
    assert found.costs.total_usd == 0.0


def test_estimated_intensities_are_counted_with_the_energy_they_priced():
    signal = carbon_signal("average", [100.0, 100.0], estimated=[False, True])
    site = Site(baseline=Constant(value_w=0.0), auxiliary_carbon=signal, slot_s=HOUR)
    found = settle(site, [3.0 * KWH, 1.0 * KWH])
    assert found.carbon_estimated_frac == pytest.approx(0.25)
    assert found.carbon_age_s == HOUR
    assert found.carbon_missing == ("baseline",)
    assert found.location_based.mass_g == pytest.approx(400.0)


def test_prices_over_time_apply_to_the_slots_they_hold_in():
    tariff = Tariff(
        energy=TimeOfUsePrice(
            usd_per_j=1.0, windows=(PriceWindow(usd_per_j=4.0, from_hour=1.0, to_hour=2.0),)
        )
    )
    site = Site(
        baseline=Trace(values_w=[0.0, 0.0, 9.0], step_s=HOUR),
        tariff=tariff,
        waste_usd_per_j=SpotPrice(usd_per_j=[0.0, 0.0, -2.0]),
        slot_s=HOUR,
    )
    found = settle(site, [10.0, 10.0, 0.0])
    assert found.costs.energy_usd == pytest.approx(50.0)
    assert found.costs.waste_usd == pytest.approx(-2.0 * 9 * HOUR)


def test_overhead_may_exceed_the_baseline():
    site = Site(baseline=Constant(value_w=10.0), overhead_w=25.0, slot_s=2.0)
    assert site.net_baseline_w() == -15.0
    found = settle(site, np.zeros(3))
    assert found.auxiliary_j == 90.0
    assert found.balance_residual_frac == 0.0


@given(
    npst.arrays(np.float64, st.integers(0, 30), elements=st.floats(0.0, 1e9)),
    stores(),
    st.floats(1.0, 2.0),
    st.floats(0.0, 1e6),
)
def test_any_run_balances(fleet, store, pue, limit_w):
    site = Site(
        baseline=OrnsteinUhlenbeck(level_w=1e5, deviation_w=1e5, time_s=3600.0),
        store=store,
        auxiliary_limit_w=limit_w,
        pue=pue,
        overhead_w=100.0,
    )
    found = settle(site, fleet, random=(1, "site"))
    assert found.balance_residual_frac <= BALANCE_LIMIT
    assert found.slots == len(fleet)
    assert 0.0 <= found.level_end_j <= store.usable_j
    again = settle(site, fleet, random=(1, "site"), columns=False)
    assert again.columns is None
    assert again.auxiliary_j == found.auxiliary_j


def test_slots_of_other_lengths_and_a_baseline_that_was_drawn_before():
    lengths = [900.0, 1800.0, 900.0]
    site = Site(baseline=Trace(values_w=[1.0, 2.0, 3.0, 4.0], step_s=900.0))
    found = settle(site, [0.0, 0.0, 0.0], slot_s=lengths)
    assert found.columns.supply_j.tolist() == [900.0, 2.5 * 1800, 3600.0]
    later = settle(site, [0.0], start_s=900.0)
    assert later.columns.supply_j.tolist() == [1800.0]
    given_w = settle(site, [0.0, 0.0], baseline_w=[7.0, 8.0])
    assert given_w.baseline_j == 900.0 * 15
    with pytest.raises(BadInputError, match="baseline_w"):
        settle(site, [0.0, 0.0], baseline_w=[7.0])


def test_a_run_can_go_on_from_where_another_stopped():
    fleet = week()
    whole = settle(SOLAR, fleet)
    first = settle(SOLAR, fleet[:100])
    rest = settle(SOLAR, fleet[100:], start_s=100 * HOUR, start_level_j=first.level_end_j)
    for name in ("auxiliary_j", "waste_j", "unserved_j", "loss_j", "leak_j"):
        parts = getattr(first, name) + getattr(rest, name)
        assert parts == pytest.approx(getattr(whole, name), rel=1e-12), name
    assert rest.level_end_j == whole.level_end_j


def test_a_supply_trace_shorter_than_the_run_is_told():
    site = Site(baseline=Trace(values_w=[1.0, 2.0], step_s=900.0))
    with pytest.raises(BadInputError, match="1,800 s") as found:
        settle(site, np.zeros(3))
    assert "2,700 s" in str(found.value)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("auxiliary_limit_w", {"auxiliary_limit_w": -1.0}),
        ("pue", {"pue": 0.9}),
        ("overhead_w", {"overhead_w": -1.0}),
        ("baseline_usd_per_j", {"baseline_usd_per_j": math.nan}),
        ("waste_usd_per_j", {"waste_usd_per_j": math.inf}),
        ("slot_s", {"slot_s": 0.0}),
        ("auxiliary_carbon", {"auxiliary_carbon": carbon_signal("marginal", 1.0)}),
        ("baseline_carbon", {"baseline_carbon": carbon_signal("marginal", 1.0)}),
        ("auxiliary_marginal", {"auxiliary_marginal": carbon_signal("average", 1.0)}),
        ("carbon_usd_per_g", {"auxiliary_carbon": None}),
    ],
)
def test_sites_that_cannot_be_are_refused_by_name(field, changes):
    with pytest.raises(BadInputError, match=field):
        msgspec.structs.replace(SOLAR, **changes)


def test_bad_fleet_energy_is_refused_by_name():
    with pytest.raises(BadInputError, match="fleet_energy_j"):
        settle(SOLAR, [-1.0])
    assert settle(SOLAR, []).slots == 0
    assert settle(Site(baseline=Constant(value_w=1.0), store=Store()), []).peak_w == 0.0
