"""One controller from its parts: what is ordered at a tick."""

from __future__ import annotations

import math

import numpy as np
import pytest

from baseload.routing.control import Control, QuietHours
from baseload.routing.lateness_rules import PiRule
from baseload.routing.slow import FleetFacts, Promise, Signals, Slow
from baseload.testing.fleets import fast_and_slow

INTERACTIVE = Promise(
    name="interactive", ttft_s=2.0, tpot_s=0.1, e2e_s=math.inf, target_miss_frac=0.05, bulk=False
)
BULK = Promise(
    name="bulk", ttft_s=math.inf, tpot_s=math.inf, e2e_s=600.0, target_miss_frac=0.1, bulk=True
)
SOMEDAY = Promise(
    name="someday",
    ttft_s=math.inf,
    tpot_s=math.inf,
    e2e_s=math.inf,
    target_miss_frac=0.1,
    bulk=True,
)


def facts():
    state = fast_and_slow().state()
    return FleetFacts(replicas=np.diff(state.first), cost=state.cost, limits=state.limits)


def signals(now_s=5.0, *, arrived=(0, 0), completed=(0, 0), missed=(0, 0), held=(0, 0)):
    arrived, completed = np.array(arrived, float), np.array(completed, float)
    return Signals(
        now_s=now_s,
        window_s=5.0,
        arrived=arrived,
        prompt_tokens=1000.0 * arrived,
        completed=completed,
        missed=np.array(missed, float),
        refused=np.zeros(2),
        input_tokens=1000.0 * completed,
        output_tokens=250.0 * completed,
        held=np.array(held),
        in_flight=np.zeros(2, dtype=np.int64),
        open=np.array([2, 4]),
        waking=np.zeros(2, dtype=np.int64),
    )


def control(slow, *, park=False, promises=(INTERACTIVE, BULK)):
    return Control(slow, facts(), promises, park=park)


def test_without_parts_nothing_is_ordered_but_the_same_lambda():
    orders = control(Slow(weight=4.0)).tick(signals(completed=(10, 10), missed=(10, 10)))
    assert orders.weight.tolist() == [4.0, 4.0]
    assert orders.open is orders.reserve is orders.forecast_batch is orders.hold is None
    assert orders.level is orders.promise_frac is None
    assert orders.release == 0


def test_each_tier_has_its_own_rule_and_target():
    slow = Slow(rule="pi", kp=10.0, ki=0.0)
    found = control(slow).tick(signals(completed=(10, 10), missed=(1, 1))).weight
    expected = [PiRule(slow, target).step(10, 1, 5.0) for target in (0.05, 0.1)]
    assert found.tolist() == expected
    assert found[0] > found[1]


@pytest.mark.parametrize(
    ("slow", "park", "there"),
    [(Slow(), False, False), (Slow(), True, True), (Slow(working_set=True), False, True)],
)
def test_a_working_set_is_there_for_the_policy_or_for_parking(slow, park, there):
    made = control(slow, park=park)
    assert (made.working_set is not None) == there
    orders = [made.tick(signals(5.0 * at, arrived=(20, 0))) for at in range(1, 9)][-1]
    assert (orders.open is not None) == there


def test_the_period_is_that_of_the_policy():
    assert control(Slow(period_s=2.0)).period_s == 2.0


def test_bulk_waits_and_the_rest_does_not():
    made = control(Slow(holds_bulk=True))
    assert made.tick(signals()).hold.tolist() == [0, 1]
    without = control(Slow(holds_bulk=True), promises=(INTERACTIVE, SOMEDAY))
    assert without.tick(signals()).hold.tolist() == [0, 0], "a deadline says how long"


def quiet(minutes, *, interactive, bulk, held):
    """The release after some minutes of so many arrivals a second."""
    hours = QuietHours((INTERACTIVE, BULK))
    for at in range(int(60 * minutes / 5)):
        found = hours.release_per_s(
            signals(5.0 * at, arrived=(5 * interactive, 5 * bulk), held=(0, held))
        )
    return hours, found


def test_at_the_mean_as_much_goes_as_comes():
    """10 interactive and 4 bulk a second, for long: the room is what bulk brings."""
    _, found = quiet(30, interactive=10, bulk=4, held=1000)
    assert found == pytest.approx(4.0)


def test_in_a_valley_more_goes_and_on_a_hill_nothing():
    hours, _ = quiet(30, interactive=10, bulk=4, held=1000)
    assert hours.release_per_s(signals(arrived=(10, 20), held=(0, 1000))) > 11.0
    assert hours.release_per_s(signals(arrived=(200, 20), held=(0, 1000))) == 0.0


def test_no_more_goes_than_waits():
    _, found = quiet(30, interactive=10, bulk=4, held=3)
    assert found == pytest.approx(3 / 5)
    _, found = quiet(30, interactive=10, bulk=4, held=0)
    assert found == 0.0


def test_the_mean_remembers_half_the_time_that_bulk_may_wait():
    """After 300 s of another load two thirds of it are believed."""
    hours, _ = quiet(60, interactive=0, bulk=0, held=0)
    for at in range(60):
        hours.release_per_s(signals(5.0 * at, arrived=(50, 0)))
    found = hours.release_per_s(signals(arrived=(0, 0), held=(0, 10**6)))
    expected = 10.0 * (1 - math.exp(-1.0)) * math.exp(-5 / 300)
    assert found == pytest.approx(expected, rel=1e-6)


def test_what_goes_is_a_whole_number_and_planned_for():
    made = control(Slow(holds_bulk=True, working_set=True))
    for at in range(1, 200):
        orders = made.tick(signals(5.0 * at, arrived=(50, 21), held=(0, 500)))
    assert orders.release == pytest.approx(21, abs=1)
    assert isinstance(orders.release, int)
