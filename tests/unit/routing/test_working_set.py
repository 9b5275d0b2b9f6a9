"""How many replicas are open: the forecast, the need, and when sets grow and shrink."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.routing import working_set as room
from baseload.routing.sizing import rate_within, request_energy_j
from baseload.routing.slow import FleetFacts, Promise, Signals
from baseload.routing.working_set import RateForecast, WorkingSet, off_pays_after_s
from baseload.testing import strategies
from baseload.testing.fleets import Fleet, fast_and_slow, replica_type, two_models

INTERACTIVE = Promise(
    name="interactive", ttft_s=2.0, tpot_s=0.1, e2e_s=math.inf, target_miss_frac=0.01, bulk=False
)
BULK = Promise(
    name="bulk",
    ttft_s=math.inf,
    tpot_s=math.inf,
    e2e_s=600.0,
    target_miss_frac=0.01,
    bulk=True,
)
FRUGAL = replica_type("frugal", energy_j_per_step=1.0, max_batch=16, kv_tokens=40_000)
DEAR = replica_type("dear", energy_j_per_step=4.0, max_batch=16, kv_tokens=40_000)


def facts_of(fleet):
    state = fleet.state()
    return FleetFacts(replicas=np.diff(state.first), cost=state.cost, limits=state.limits)


def working_set(fleet=None, *, promises=(INTERACTIVE,), sleep=False, reserve=False):
    fleet = fleet or Fleet(types=(FRUGAL,), replicas=(40,))
    return WorkingSet(facts_of(fleet), promises, sleep=sleep, reserve=reserve)


def signals(now_s, *, arrived=0.0, completed=0.0, missed=0.0, refused=0.0, tiers=1):
    """Five seconds of requests of the prior mean lengths, in the first tier."""
    column = np.zeros(tiers)
    column[0] = 1.0
    return Signals(
        now_s=now_s,
        window_s=5.0,
        arrived=arrived * column,
        prompt_tokens=arrived * 1000.0 * column,
        completed=completed * column,
        missed=missed * column,
        refused=refused * column,
        input_tokens=completed * 1000.0 * column,
        output_tokens=completed * 250.0 * column,
        held=np.zeros(tiers, dtype=np.int64),
        in_flight=np.zeros(1, dtype=np.int64),
        open=np.zeros(1, dtype=np.int64),
        waking=np.zeros(1, dtype=np.int64),
    )


def run(controller, rates, *, first_s=5.0):
    """Orders under so many requests a second in each window, all of them in time."""
    found = []
    for at, rate in enumerate(rates):
        now_s = first_s + 5.0 * at
        found.append(controller.orders(signals(now_s, arrived=5.0 * rate, completed=5.0 * rate)))
    return found


# --- the forecast of the rate ---------------------------------------------------------------------


def learnt(rates, window_s=5.0):
    forecast = RateForecast()
    for rate in rates:
        forecast.learn(float(rate), window_s)
    return forecast


def test_nothing_is_forecast_before_anything_is_known():
    assert RateForecast().ahead(10.0) == 0.0


@given(rate=st.floats(0, 1e4), lead_s=st.floats(0, 100), windows=st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_a_constant_rate_is_forecast_as_it_is(rate, lead_s, windows):
    assert learnt([rate] * windows).ahead(lead_s) == pytest.approx(rate)


def test_a_ramp_is_forecast_ahead():
    """Half a request a second more in each window: after some minutes the trend is known."""
    forecast = learnt(10.0 + 0.5 * np.arange(200))
    assert forecast.level == pytest.approx(109.5, rel=1e-3)
    assert forecast.trend == pytest.approx(0.1, rel=1e-3)
    assert forecast.ahead(10.0) == pytest.approx(110.5, rel=0.01)


def test_a_falling_ramp_is_not_forecast_ahead():
    """Closing early saves little, and costs what it costs to be wrong."""
    forecast = learnt(200.0 - 0.5 * np.arange(200))
    assert forecast.trend == pytest.approx(-0.1, rel=1e-2)
    assert forecast.ahead(10.0) >= 0.999 * forecast.level


def test_a_step_is_followed_within_half_a_minute_and_remembered_as_uncertainty():
    calm, stepped = learnt([10.0] * 40), learnt([10.0] * 40 + [30.0])
    assert stepped.ahead(0.0) > 20.0
    assert stepped.error_var > 0.0 == calm.error_var
    after = learnt([10.0] * 40 + [30.0] * 6)
    assert after.level == pytest.approx(30.0, rel=0.15)
    settled = learnt([10.0] * 40 + [30.0] * 300)
    assert settled.ahead(0.0) == pytest.approx(30.0, rel=0.02)


def test_a_forecast_is_some_standard_deviations_above_its_mean():
    rng = np.random.default_rng(0)
    forecast = learnt(rng.normal(100.0, 5.0, 2000))
    spread = math.sqrt(forecast.error_var)
    assert spread == pytest.approx(6.0, rel=0.4)
    mean = forecast.level + max(0.0, forecast.trend) * 10.0
    assert forecast.ahead(10.0) == pytest.approx(mean + room._RATE_SPREADS * spread)


@given(rates=st.lists(st.floats(0, 1e4), min_size=1, max_size=50), lead_s=st.floats(0, 60))
@settings(max_examples=60, deadline=None)
def test_a_forecast_is_a_rate(rates, lead_s):
    forecast = learnt(rates)
    assert math.isfinite(forecast.ahead(lead_s))
    assert forecast.ahead(lead_s) >= forecast.ahead(0.0) >= 0.0


# --- the need -------------------------------------------------------------------------------------


def carried(controller, facts, wanted):
    """Requests a second that a set carries within the promises."""
    traffic = controller._traffic[0]
    rates = [
        rate_within(cost, traffic, running)
        for cost, running in zip(facts.cost, controller.batch, strict=True)
    ]
    return float(np.dot(rates, wanted)), np.array(rates)


@given(fleet=strategies.fleets(most_replicas=30, models=("model-a",)), load=st.floats(0, 1.5))
@settings(max_examples=100, deadline=None)
def test_the_set_covers_the_rate_with_no_replica_too_many(fleet, load):
    """Or it is the whole fleet: when that is too little, or no type keeps the promise at all."""
    facts, controller = facts_of(fleet), working_set(fleet)
    most, rates = carried(controller, facts, facts.replicas)
    wanted = controller.need(load * most)
    assert (wanted >= 0).all()
    assert (wanted <= facts.replicas).all()
    assert wanted.sum() >= 1
    if not controller.batch.any() or load > 1.0 + 1e-9:
        assert wanted.tolist() == facts.replicas.tolist()
        return
    have, _ = carried(controller, facts, wanted)
    if load < 1.0 - 1e-9:
        assert have >= load * most * (1 - 1e-9)
        spare = have - load * most
        assert wanted.sum() == 1 or spare <= rates[wanted > 0].max() * (1 + 1e-9)


def test_types_are_filled_in_the_order_of_their_joules_a_request():
    fleet = Fleet(types=(DEAR, FRUGAL), replicas=(5, 3))
    facts, controller = facts_of(fleet), working_set(fleet)
    joules = [
        request_energy_j(cost, controller._traffic[0], running, cost.power_w_idle)
        for cost, running in zip(facts.cost, controller.batch, strict=True)
    ]
    assert joules[1] < joules[0]
    _, rates = carried(controller, facts, facts.replicas)
    sets = [controller.need(rate).tolist() for rate in np.arange(0.5, 8.0) * rates[0]]
    assert sets == [[0, 1], [0, 2], [0, 3], [1, 3], [2, 3], [3, 3], [4, 3], [5, 3]]
    assert controller.need(9.0 * rates[0]).tolist() == [5, 3]


def test_what_idles_dearly_is_opened_first_when_the_closed_idle_too():
    """Joules above rest decide; a closed replica rests at its idle power, asleep at nothing."""
    idles = replica_type("idles", power_w_idle=400.0, max_batch=16, kv_tokens=40_000)
    thrifty = replica_type("thrifty", power_w_idle=10.0, max_batch=16, kv_tokens=40_000)
    fleet = Fleet(types=(idles, thrifty), replicas=(4, 4))
    assert working_set(fleet, sleep=False).need(0.1).tolist() == [1, 0]
    assert working_set(fleet, sleep=True).need(0.1).tolist() == [1, 0], "equal joules: by number"
    swapped = Fleet(types=(thrifty, idles), replicas=(4, 4))
    assert working_set(swapped, sleep=False).need(0.1).tolist() == [0, 1]


def test_without_load_one_is_open():
    assert working_set().need(0.0).tolist() == [1]
    assert working_set(fast_and_slow()).need(0.0).sum() == 1


def test_of_each_model_one_is_open():
    """Once all replicas of the dearer model were closed, and its requests refused."""
    fleet = two_models()
    wanted = working_set(fleet).need(0.0)
    served = {kind.model for kind, count in zip(fleet.types, wanted, strict=True) if count}
    assert served == set(fleet.models)
    assert wanted.sum() == 2


def test_an_impossible_deadline_calls_all_hands():
    hopeless = Promise(
        name="x", ttft_s=1e-3, tpot_s=1e-3, e2e_s=math.inf, target_miss_frac=0.01, bulk=False
    )
    controller = working_set(fast_and_slow(), promises=(hopeless,))
    assert not controller.batch.any()
    assert controller.need(0.0).tolist() == [2, 4]


def test_bulk_promises_do_not_size_the_set_unless_there_are_no_others():
    alone = working_set(promises=(INTERACTIVE,))
    assert working_set(promises=(INTERACTIVE, BULK)).batch.tolist() == alone.batch.tolist()
    assert working_set(promises=(BULK,)).batch.tolist() == [16.0]


# --- when sets grow and shrink --------------------------------------------------------------------


def test_nothing_is_ordered_before_something_is_known():
    orders = run(working_set(), [20.0] * 4)
    assert [one.open is None for one in orders] == [True, True, True, False]


@pytest.mark.parametrize(("sleep", "pays_s"), [(False, 0.0), (True, 100.0 / 40.0)])
def test_a_set_grows_at_once_and_shrinks_after_the_hold(sleep, pays_s):
    """Held open for some seconds, and, when the closed sleep, until a wake has paid for itself:
    100 J at 40 W saved.
    """
    hold_s = room._HOLD_OPEN_S + pays_s
    controller = working_set(sleep=sleep)
    low, high = 10.0, 60.0
    opened = [int(one.open[0]) for one in run(controller, [low] * 20, first_s=20.0)]
    assert opened[-1] == opened[5]
    surge = run(controller, [high], first_s=120.0)[0].open[0]
    assert surge > opened[-1]
    need = [(120.0, int(surge))]
    for at in range(1, 80):
        now_s = 120.0 + 5.0 * at
        found = int(run(controller, [low], first_s=now_s)[0].open[0])
        need.append((now_s, int(controller._wanted[-1][1][0])))
        assert found == max(one for when, one in need if when >= now_s - hold_s)
    assert found < surge


def test_a_load_that_comes_and_goes_keeps_the_set_open():
    """A burst every 10 s: closing and waking each time would cost more than it saves."""
    opened = [int(one.open[0]) for one in run(working_set(), [10.0, 60.0] * 40, first_s=20.0)]
    assert len(set(opened[-20:])) == 1


def test_planned_work_is_added_to_the_arrivals():
    one, other = working_set(), working_set()
    steady = signals(25.0, arrived=50.0)
    assert (other.orders(steady, extra_per_s=40.0).open > one.orders(steady).open).all()


def test_longer_requests_need_more_replicas():
    """The lengths of the completed are learnt over two minutes."""
    one, other = working_set(), working_set()
    for tick in range(60):
        plain = signals(5.0 * tick, arrived=50.0, completed=50.0)
        longer = signals(5.0 * tick, arrived=50.0, completed=50.0)
        longer.output_tokens = 4 * longer.output_tokens
        few, many = one.orders(plain).open, other.orders(longer).open
    assert many[0] > 2 * few[0]


# --- the share that is used -----------------------------------------------------------------------


def test_misses_make_room_and_their_absence_takes_it_back():
    controller = working_set()
    start = controller.fill
    for tick in range(6):
        controller.orders(signals(5.0 * tick, arrived=50, completed=50, missed=5))
    after = controller.fill
    assert after < start
    for tick in range(6, 120):
        controller.orders(signals(5.0 * tick, arrived=50, completed=50))
    assert controller.fill > after


def test_refusals_count_as_misses():
    controller = working_set()
    start = controller.fill
    controller.orders(signals(5.0, arrived=50, refused=50))
    assert controller.fill < start


@pytest.mark.parametrize(("missed", "bound"), [(50.0, "least"), (0.0, "most")])
def test_the_share_stays_within_its_bounds(missed, bound):
    controller = working_set()
    fills = []
    for tick in range(2000):
        controller.learn(signals(5.0 * tick, arrived=50, completed=50, missed=missed))
        fills.append(controller.fill)
    changes = np.diff(fills)
    assert (changes <= 0).all() if bound == "least" else (changes >= 0).all()
    assert fills[-1] == {"least": room._LEAST_FILL, "most": room._MOST_FILL}[bound]


def test_a_smaller_share_asks_for_more_replicas():
    controller = working_set()
    before, batch = controller.need(60.0), controller.batch
    for tick in range(30):
        controller.learn(signals(5.0 * tick, completed=50, missed=25))
    assert (controller.batch <= batch).all()
    assert (controller.need(60.0) > before).all()


# --- what stays awake, and how full the open run --------------------------------------------------


def test_without_sleep_the_closed_stay_awake():
    one = run(working_set(), [10.0] * 10)[-1]
    assert (one.open + one.reserve).tolist() == [40]


def test_asleep_a_reserve_covers_a_burst_of_some_standard_deviations():
    rng = np.random.default_rng(1)
    quiet = working_set(sleep=True, reserve=True)
    assert run(quiet, [10.0] * 60)[-1].reserve[0] <= 1, "no error was made but round-off"
    bursty = working_set(sleep=True, reserve=True)
    orders = run(bursty, rng.uniform(0, 40, 60))[-1]
    spread = math.sqrt(bursty._rates[0].error_var)
    _, rates = carried(bursty, facts_of(Fleet(types=(FRUGAL,), replicas=(40,))), orders.open)
    expected = min(40 - int(orders.open[0]), math.ceil(room._BURST_SPREADS * spread / rates[0]))
    assert orders.reserve.tolist() == [expected]
    assert expected > 0
    bare = working_set(sleep=True, reserve=False)
    assert run(bare, rng.uniform(0, 40, 60))[-1].reserve.tolist() == [0]


def test_the_reserve_is_where_idling_costs_least_for_what_it_carries():
    idles = replica_type("idles", power_w_idle=400.0, max_batch=16, kv_tokens=40_000)
    thrifty = replica_type("thrifty", power_w_idle=20.0, max_batch=16, kv_tokens=40_000)
    fleet = Fleet(types=(idles, thrifty), replicas=(20, 20))
    controller = working_set(fleet, sleep=True, reserve=True)
    one = run(controller, np.random.default_rng(2).uniform(0, 20, 40))[-1]
    assert one.reserve[1] > 0
    assert one.reserve[0] == 0 or one.reserve[1] == 20 - one.open[1]


@given(rates=st.lists(st.floats(0, 500), min_size=5, max_size=12), sleep=st.booleans())
@settings(max_examples=30, deadline=None)
def test_orders_are_within_the_fleet_and_forecast_what_they_open(rates, sleep):
    fleet = Fleet(types=(DEAR, FRUGAL), replicas=(6, 3))
    controller = working_set(fleet, sleep=sleep, reserve=True)
    one = run(controller, rates)[-1]
    assert one.open.sum() >= 1
    assert (one.open + one.reserve <= [6, 3]).all()
    assert (one.reserve >= 0).all()
    assert ((one.forecast_batch >= 1.0) == (one.open > 0)).all(), "0: the first opens it"
    assert (one.forecast_batch <= 16.0).all()


def test_sleep_deep_when_it_has_paid():
    """Parked at 10 W, off at 0 W; the wake from off costs 900 J more: 90 s."""
    cost = facts_of(Fleet(types=(replica_type(),), replicas=(1,))).cost[0]
    assert off_pays_after_s(cost) == pytest.approx(90.0)
    same = replica_type(power_w_off=10.0)
    assert off_pays_after_s(facts_of(Fleet(types=(same,), replicas=(1,))).cost[0]) == math.inf
    cheap = replica_type(wake_j_from_off=50.0)
    assert off_pays_after_s(facts_of(Fleet(types=(cheap,), replicas=(1,))).cost[0]) == 0.0
