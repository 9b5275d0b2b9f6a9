"""What a slow controller's orders do to the jump engine: each rule once, and each bug once."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from made_scenarios import all_at_once, groups_of, made_scenario, made_trace

from baseload.routing import fleet_state
from baseload.routing.policies import POLICIES
from baseload.routing.slow import Orders, Slow
from baseload.simulator import jump, orders, plant, start
from baseload.simulator.course import Course
from baseload.simulator.drivers import driver_of
from baseload.simulator.records import IDLE, OFF, PARKED, WAKING
from baseload.simulator.run import run_once
from baseload.simulator.start import new_engine
from baseload.simulator.truth import arrivals
from baseload.workload.forecasts import Forecast
from baseload.workload.tiers import Tier

LEAST_LOADED = POLICIES["least_loaded"]
SLOW = msgspec.structs.replace(LEAST_LOADED, slow=Slow(working_set=True))
NEVER = math.inf


class Script:
    """In place of ``Control``: the orders for each tick."""

    def __init__(self, given, period_s=1.0):
        self._orders, self.period_s = list(given), period_s
        self.seen = []

    def tick(self, signals):
        self.seen.append(signals)
        return self._orders.pop(0) if self._orders else Orders()


@pytest.fixture
def scripted(monkeypatch):
    """Runs a scenario under scripted orders: ``(totals, log, script)``."""

    def run(scenario, given, **how):
        script, rows = Script(given, **how), []
        monkeypatch.setattr(plant, "Control", lambda *_arguments, **_how: script)
        source = scenario.requests(0)
        totals = run_once(
            scenario, SLOW, source, check=True, log=lambda *ended: rows.append(ended[2])
        )
        log = np.concatenate(rows)
        return totals, log[np.argsort(log["number"])].view(np.recarray), script

    return run


def course_of(**changes):
    """A course of one fast replica that has run nothing yet, and its routing state."""
    trace = made_trace(2)
    scenario = made_scenario(trace, groups=groups_of(1, **changes))
    source = scenario.requests(0)
    fleet, engine = new_engine(scenario, source)
    driver = driver_of(LEAST_LOADED, fleet, scenario, source, seed=0)
    return Course(engine, fleet, driver, None, forecast=Forecast(), seed=0), fleet


def test_a_closed_replica_rests_by_the_order_and_wakes_by_order():
    """Idle to 2 s, to 5 s by the order, parked to 9 s; then it wakes for 2 s."""
    course, fleet = course_of(wake_s_from_parked=2.0, wake_j_from_parked=100.0)
    course.close(0, 2.0, 3.0, NEVER)
    assert not fleet.open[0]
    assert course.wake(0, 9.0) == 11.0
    assert not fleet.open[0], "nothing is sent to a replica that is waking"
    assert course.wake(0, 11.0) == 11.0
    assert fleet.open[0]
    power = course.engine.cost[0]
    account_j = course.engine.replicas[0].account_j
    assert account_j[IDLE] == 5 * power.power_w_idle
    assert account_j[PARKED] == 4 * power.power_w_parked
    assert account_j[WAKING] == 100.0
    assert course.engine.total[0].wakes == 1
    assert course.engine.replicas[0].still_s == 11.0


def test_an_opened_replica_rests_no_more_by_the_timeouts_of_its_group():
    course, _ = course_of()
    course.engine.replicas.park_after_s = 1.0
    course.wake(0, 0.5)
    assert course.engine.replicas[0].park_after_s == NEVER


@pytest.mark.parametrize(("timeouts", "account"), [((1.0, NEVER), PARKED), ((1.0, 2.0), OFF)])
def test_an_order_to_close_wakes_nobody(timeouts, account):
    """A replica that its group's timeouts had put to sleep was idle again, without a wake, when an
    order closed it with longer timeouts.
    """
    course, _ = course_of(wake_s_from_parked=2.0, wake_s_from_off=30.0)
    course.engine.replicas.park_after_s, course.engine.replicas.off_after_s = timeouts
    course.close(0, 5.0, NEVER, NEVER)
    before = course.engine.replicas[0].account_j.copy()
    assert course.wake(0, 8.0) == 8.0 + (2.0 if account == PARKED else 30.0)
    drawn = np.flatnonzero(course.engine.replicas[0].account_j != before)
    assert set(drawn) <= {account, WAKING}


def test_a_second_order_to_wake_does_not_hurry():
    """It opened a replica before it was ready."""
    course, fleet = course_of(wake_s_from_parked=2.0)
    course.close(0, 1.0, 0.0, NEVER)
    assert orders.wake(course.engine, fleet, 0, 5.0) == 7.0
    assert orders.wake(course.engine, fleet, 0, 6.0) == 7.0
    assert not fleet.open[0]
    assert course.engine.total[0].wakes == 1


def test_a_replica_that_wakes_in_no_time_is_open_at_once():
    """It was taken for open by its controller, and never was."""
    course, fleet = course_of(wake_s_from_parked=0.0, wake_j_from_parked=1.0)
    course.close(0, 1.0, 0.0, NEVER)
    assert course.wake(0, 5.0) == 5.0
    assert fleet.open[0]
    assert course.engine.replicas[0].account_j[WAKING] == 1.0


def test_a_type_that_was_all_closed_has_no_stale_range_of_levels():
    """The range kept the level at which the last replica had been closed."""
    course, fleet = course_of()
    fleet_state.enter(fleet, 0, 10, 0)
    fleet_state.close_replica(fleet, 0)
    fleet_state.leave(fleet, 0, 10)
    fleet_state.open_replica(fleet, 0)
    assert fleet.level_range[0].tolist() == [0, 0]
    assert course.engine.total[0].in_flight == 0


def test_held_requests_due_at_the_same_instant_go_in_order_of_number():
    """Which one went first depended on the shape of the heap."""
    course, fleet = course_of()
    rows = arrivals(all_at_once(40))
    for number in np.random.default_rng(0).permutation(40):
        assert jump._hold(course.engine, rows[number], int(number), 0.0)
    gone = []
    while course.engine.total[0].held:
        gone.append(int(course.engine.held[0].number))
        jump._drop_first_held(course.engine)
    assert gone == list(range(40))
    assert fleet.in_flight.sum() == 0


def test_a_held_request_goes_when_half_of_its_time_is_gone_and_has_that_much_less():
    """Its promises were reckoned from its release, and it was held for half of its end-to-end time
    even where the first token was promised sooner.
    """
    tiers = (
        Tier(name="one", classes=("chat",), ttft_s=8.0, e2e_s=60.0),
        Tier(name="two", classes=("batch",), e2e_s=60.0),
    )
    trace = made_trace(2, class_code=np.array([0, 1], np.int16))
    scenario = made_scenario(trace, tiers=tiers)
    source = scenario.requests(0)
    fleet, engine = new_engine(scenario, source)
    state = LEAST_LOADED.state(fleet, seed=0, tiers=2)
    rows = arrivals(trace)
    for number, wait_s in ((0, 4.0), (1, 30.0)):
        now_s = rows.arrival_s[number]
        assert jump._hold(engine, rows[number], number, now_s)
        first = engine.held[: number + 1]
        due_s = first.due_s[first.number == number][0]
        assert due_s == pytest.approx(now_s + wait_s)
    scratch = Course(
        engine,
        fleet,
        driver_of(LEAST_LOADED, fleet, scenario, source, seed=0),
        None,
        forecast=Forecast(),
        seed=0,
    ).scratch
    jump.describe(engine, fleet, state, scratch[0], rows[0], rows.arrival_s[0] + 3.0)
    assert scratch[0].ttft_s == pytest.approx(5.0)
    assert scratch[0].e2e_s == pytest.approx(57.0)
    assert scratch[0].deadline_s == pytest.approx(57.0)


def test_requests_released_at_a_tick_go_one_after_another(scripted):
    """Two that went to one idle replica at the same tick began together, where two that arrive at
    one instant do not.
    """
    trace = all_at_once(3)  # bulk; the first two ticks hold and release
    later = msgspec.structs.replace(trace, t_us=np.array([0, 1_500_000, 1_500_000]))
    scenario = made_scenario(later, groups=groups_of(1))
    hold = Orders(hold=np.ones(2, np.uint8))
    _, log, script = scripted(scenario, [hold, Orders(release=2)])
    assert script.seen[1].held.tolist() == [0, 2]
    assert script.seen[1].oldest_due_s == 31.5
    assert script.seen[2].held.tolist() == [0, 0]
    assert (log.first_s[1:] > 2.0).all()
    assert log.first_s[1] < log.first_s[2]


def test_how_many_go_at_a_tick_does_not_depend_on_room(scripted, monkeypatch):
    """A full engine kept back what a controller had released."""
    trace = made_trace(40, gap_s=0.02, class_code=np.ones(40, np.int16))
    scenario = made_scenario(trace, groups=groups_of(2))
    held = [Orders(hold=np.ones(2, np.uint8)), Orders(release=30)]
    _, wide, _ = scripted(scenario, held, period_s=0.5)
    engine = start.engine
    monkeypatch.setattr(start, "engine", lambda **how: engine(**how, slots=1, held=1))
    _, narrow, _ = scripted(scenario, held, period_s=0.5)
    assert (wide == narrow).all()


def test_a_change_of_clock_in_mid_answer_does_not_reprice_what_was_before(scripted):
    """The receipts of a run with two clocks did not sum to the active energy (``check=True``)."""
    group = groups_of(1)[0]
    costs, changes = group.kind.costs, {}
    for part in ("per_step", "per_sequence", "per_context_token"):
        changes[f"time_s_{part}"] = 1.2 * getattr(costs, f"time_s_{part}")
        changes[f"energy_j_{part}"] = 1.5 * getattr(costs, f"energy_j_{part}")
    slower = msgspec.structs.replace(group.kind, costs=msgspec.structs.replace(costs, **changes))
    scenario = made_scenario(
        all_at_once(8, output_tokens=400),
        groups=(msgspec.structs.replace(group, slower=(slower,)),),
    )
    at_full, *_ = scripted(scenario, [], period_s=0.5)
    at_low, log, _ = scripted(scenario, [Orders(level=np.array([1]))], period_s=0.5)
    assert at_low.last_s > at_full.last_s
    assert at_low.account_j.sum() > at_full.account_j.sum()
    assert log.energy_j.sum() == pytest.approx(at_low.account_j[0, 0])
