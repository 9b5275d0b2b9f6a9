"""The clock goes down a rung at a time while all is well, and up as far as the load asks for."""

from __future__ import annotations

import math

import numpy as np
import pytest

from baseload.fleet.step import cost_table
from baseload.routing.clock_choice import ClockChoice
from baseload.routing.slow import FleetFacts, Promise, Signals
from baseload.testing.fleets import Fleet, replica_type

INTERACTIVE = Promise(
    name="interactive", ttft_s=2.0, tpot_s=0.1, e2e_s=math.inf, target_miss_frac=0.01, bulk=False
)
RUNGS = [  # each slower by a quarter and cheaper by a fifth; the promise allows 60 ms a mean step
    replica_type(
        f"rung-{rung}",
        time_s_per_step=0.02 * 1.25**rung,
        energy_j_per_step=4.0 * 0.8**rung,
        max_batch=64,
        kv_tokens=10**6,
        power_w_cap=5000.0,
    )
    for rung in range(4)
]


def choice(*, fixed_too=False, promises=(INTERACTIVE,)):
    """A ladder of four rungs; with ``fixed_too`` a second type that has none."""
    kinds = (RUNGS[0], replica_type("fixed")) if fixed_too else (RUNGS[0],)
    state = Fleet(types=kinds, replicas=(4,) * len(kinds)).state()
    rows = [*RUNGS, replica_type("fixed")]
    facts = FleetFacts(
        replicas=np.diff(state.first),
        cost=state.cost,
        limits=state.limits,
        all_cost=cost_table(rows),
        rungs=((0, 1, 2, 3), (4,))[: len(kinds)],
    )
    return ClockChoice(facts, promises)


def signals(*, missed=0.0, in_flight=(0,), open_=(4,)):
    """A hundred ended requests of 100 input and 50 output tokens."""
    hundred = np.array([100.0])
    return Signals(
        now_s=5.0,
        window_s=5.0,
        arrived=hundred,
        prompt_tokens=100 * hundred,
        completed=hundred,
        missed=np.array([missed]),
        refused=np.zeros(1),
        input_tokens=100 * hundred,
        output_tokens=50 * hundred,
        held=np.zeros(1, dtype=np.int64),
        in_flight=np.array(in_flight),
        open=np.array(open_),
        waking=np.zeros(len(open_), dtype=np.int64),
    )


def rows(chosen, seen, batch=(1.0,)):
    return chosen.rows(seen, np.array(batch)).tolist()


def test_while_nobody_misses_it_goes_down_a_rung_at_a_time():
    chosen = choice()
    assert [rows(chosen, signals()) for _ in range(5)] == [[1], [2], [3], [3], [3]]


def test_a_type_without_rungs_keeps_its_row():
    chosen = choice(fixed_too=True)
    seen = signals(in_flight=(0, 0), open_=(4, 4))
    found = [rows(chosen, seen, batch=(1.0, 1.0)) for _ in range(4)]
    assert found == [[1, 4], [2, 4], [3, 4], [3, 4]]


def test_a_load_that_a_rung_cannot_carry_takes_it_up_at_once():
    """Fifty sequences take 33 ms beside the weights: of 39, 31 and 25 ms the last fits in 60."""
    chosen = choice()
    for _ in range(4):
        rows(chosen, signals())
    assert rows(chosen, signals(), batch=(50.0,)) == [1]
    assert rows(chosen, signals(), batch=(1.0,)) == [2], "and down again a rung at a time"


def test_present_requests_count_where_they_are_more_than_forecast():
    chosen = choice()
    for _ in range(4):
        rows(chosen, signals())
    assert rows(chosen, signals(in_flight=(200,)), batch=(1.0,)) == [1]


def test_what_no_rung_can_carry_runs_at_full_clock():
    assert rows(choice(), signals(), batch=(5000.0,)) == [0]


def test_misses_above_the_target_take_it_up_a_rung_a_tick_and_then_hold_it():
    chosen = choice()
    for _ in range(4):
        rows(chosen, signals())
    found = [rows(chosen, signals(missed=50.0))[0] for _ in range(4)]
    assert found == [2, 1, 0, 0]
    calm = [rows(chosen, signals())[0] for _ in range(40)]
    assert calm[0] == 0, "the smoothed share is still above half of the target"
    assert calm[-1] == 3
    assert (np.diff(calm) >= 0).all()


@pytest.mark.parametrize("bulk", [False, True])
def test_the_strict_tiers_say_how_long_a_step_may_take(bulk):
    """A tight promise of a bulk tier does not, beside an interactive one."""
    tight = Promise(
        name="tight", ttft_s=9.0, tpot_s=0.04, e2e_s=math.inf, target_miss_frac=0.01, bulk=bulk
    )
    chosen = choice(promises=(INTERACTIVE, tight))
    for _ in range(4):
        found = rows(chosen, signals())
    assert found == ([3] if bulk else [0])
