"""The controller of joule prices: what it writes where picks read, and when."""

from __future__ import annotations

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.routing.policies import policy
from baseload.routing.position import (
    AT_S,
    CAPACITY_J,
    DRIFT_W,
    LEVEL_J,
    NODES,
    PROMISED_J,
)
from baseload.routing.price import OPTION
from baseload.routing.supply_control import (
    SupplyControl,
    check_weighable,
    reference_usd_per_j,
    slot_prices,
    start_prices,
    table_capacity_j,
)
from baseload.routing.supply_estimates import SupplySignals
from baseload.routing.supply_rules import JouleOrders
from baseload.supply.baseline import Constant
from baseload.supply.carbon import carbon_signal
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, Tariff
from baseload.testing.fleets import fast_and_slow


def site(**changes):
    fields = {
        "baseline": Constant(value_w=400.0),
        "store": Store(capacity_j=1e6),
        "tariff": Tariff(energy=FlatPrice(usd_per_j=2e-6)),
        "waste_usd_per_j": 1e-7,
        "pue": 1.5,
    }
    return Site(**(fields | changes))


def options():
    table = np.zeros((2, 2), dtype=OPTION).view(np.recarray)
    for row in table:
        row[0] = (-1, 1.0, np.inf, 0.1, 1e-3, 0.0, 1.0)
        row[1] = (-1, 0.3, np.inf, 0.4, 1e-3, 0.5, 1.0)
    return table


def control(name="variance_aware", place=None):
    place = site() if place is None else place
    one, fleet = policy(name), fast_and_slow().state(classes=2)
    state = one.state(
        fleet,
        seed=0,
        options=options(),
        tiers=1,
        usd_per_j=reference_usd_per_j(place),
        store_j=table_capacity_j(place),
    )
    return SupplyControl(place, one.slow, fleet, state), state


def signals(slot, **changes):
    fields = {
        "now_s": 900.0 * (slot + 1),
        "slot_s": 900.0,
        "level_j": 5e5,
        "baseline_j": 900.0 * 400.0,
        "demand_j": 900.0 * 300.0,
        "in_flight": 0,
        "auxiliary_usd_per_j": 2e-6,
        "waste_usd_per_j": 1e-7,
        "promised_j": 0.0,
        "picked": np.zeros(2),
    }
    return SupplySignals(**(fields | changes))


def test_before_the_first_slot_the_level_is_known_and_the_price_falls_evenly():
    made, state = control()
    made.begin(3e5, 2e-6, 1e-7)
    assert state.joules.position.tolist() == [3e5, 0.0, 0.0, 1e6, 0.0]
    factor = state.joules.factor[0, 0]
    assert factor[0] == pytest.approx(1.0)
    assert factor[-1] == pytest.approx(-0.05, abs=0.01)
    assert np.allclose(np.diff(factor[10:-10], 2), 0.0, atol=1e-6)
    assert (state.joules.joules > 0).all()


def test_tables_are_written_once_an_hour_and_the_position_every_slot(monkeypatch):
    made, state = control()
    made.begin(3e5, 2e-6, 1e-7)
    asked = []
    kept = made.rule.orders
    made.rule.orders = lambda look: asked.append(look.hour) or kept(look)
    for slot in range(96):
        made.look(signals(slot, level_j=1e5 + slot))
        assert state.joules.position[LEVEL_J] == 1e5 + slot
        assert state.joules.position[AT_S] == 900.0 * (slot + 1)
    assert asked == [*range(1, 24), 0]
    assert made.estimates.baseline_w.known
    # nothing was promised, so all demand is the floor, and what is left fills the store
    assert state.joules.position[DRIFT_W] == pytest.approx(100.0)


def test_slots_of_a_day_still_write_a_table_each():
    """The hour of the day was the same after each, so no table was ever made again."""
    made, _ = control()
    made.begin(3e5, 2e-6, 1e-7)
    asked = []
    kept = made.rule.orders
    made.rule.orders = lambda look: asked.append(look.seen_day) or kept(look)
    for day in range(3):
        made.look(signals(0, now_s=86_400.0 * (day + 1), slot_s=86_400.0))
    assert asked == [True] * 3


def test_requests_in_flight_are_half_done_in_the_position():
    made, state = control()
    made.begin(3e5, 2e-6, 1e-7)
    state.joules.position[PROMISED_J], state.joules.taken[0, 0] = 6000.0, 10.0
    made.look(signals(0, in_flight=4, level_j=2e5))
    assert state.joules.position[LEVEL_J] == 2e5 - 0.5 * 4 * 600.0
    assert state.joules.position[CAPACITY_J] == 1e6


def test_orders_are_written_over_the_price_of_a_joule_at_the_bus():
    """A score of Cu x joules is a factor of 1 on the rate, which counts what the site loses."""
    made, state = control()
    made.begin(3e5, 2e-6, 1e-7)
    joules = state.joules.joules.copy()

    class Fixed:
        def orders(self, look):
            assert np.allclose(look.answers.mean_j, joules)
            scores = np.repeat(2e-6 * look.answers.mean_j[..., None], NODES, axis=-1)
            return JouleOrders(scores, np.array([1, -1]), "level")

    made.rule = Fixed()
    for slot in range(4):
        made.look(signals(slot))
    assert np.allclose(state.joules.factor, 1.0)
    assert state.rates[0] == pytest.approx(1.5 * 2e-6)
    # option 0 is barred for the first class by its fee alone; that of the others stays
    assert state.options.fee_usd[0, 0] > 100.0
    assert state.options.fee_usd[0, 1] == 0.5
    assert state.options.fee_usd[1].tolist() == [0.0, 0.5]
    for slot in range(4, 8):
        made.look(signals(slot))  # a bar is no cost of the answer when it is looked at again


def test_round_off_about_no_price_is_no_price():
    """Its sign decided between candidates that cost nothing."""
    made, state = control()
    made.begin(3e5, 2e-6, 1e-7)

    class Tiny:
        def orders(self, look):
            scores = np.repeat(-1e-22 * look.answers.mean_j[..., None], NODES, axis=-1)
            return JouleOrders(scores, np.array([-1, -1]), "level")

    made.rule = Tiny()
    for slot in range(4):
        made.look(signals(slot))
    assert (state.joules.factor == 0.0).all()


def test_prices_of_a_site():
    edges = np.array([0.0, 900.0, 1800.0])
    grams = carbon_signal("average", np.array([360.0, 720.0]), hold_s=1e6)
    place = site(auxiliary_carbon=grams, carbon_usd_per_g=1e-2, slot_s=7200.0)
    dear, waste = slot_prices(place, edges)
    assert dear == pytest.approx([3e-6, 3e-6])
    assert waste.tolist() == [1e-7, 1e-7]
    assert slot_prices(place, np.array([0.0, 7200.0]))[0] == pytest.approx([3.5e-6])
    assert start_prices(place) == pytest.approx((3e-6, 1e-7))
    assert reference_usd_per_j(place) == pytest.approx(4.5e-6)
    islanded = site(auxiliary_limit_w=0.0, unserved_usd_per_j=7e-6)
    assert slot_prices(islanded, edges)[0].tolist() == [7e-6] * 2
    assert reference_usd_per_j(site(tariff=None)) == 1.0


def test_an_endless_store_has_tables_over_a_month():
    endless = site(store=Store(capacity_j=float("inf")))
    assert table_capacity_j(endless) == pytest.approx(30 * 86_400 * 400.0)
    assert table_capacity_j(site()) == 1e6


def test_what_cannot_be_weighed():
    edges = np.array([0.0, 900.0])
    check_weighable("x", site(), edges)
    check_weighable("x", site(tariff=None, auxiliary_limit_w=0.0, unserved_usd_per_j=1e-6), edges)
    for place, said in (
        (site(tariff=None), "no price of auxiliary energy"),
        (site(auxiliary_limit_w=0.0), "demand that is not met"),
        (site(waste_usd_per_j=-3e-6), "-10.8 for waste beside 7.2"),
    ):
        with pytest.raises(BadInputError, match=said):
            check_weighable("x", place, edges)
