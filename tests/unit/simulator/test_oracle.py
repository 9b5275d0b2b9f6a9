"""The oracle behind ``--check``: it agrees with the jump engine, and says where a run does not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from made_scenarios import groups_of, made_scenario, made_trace

from baseload.routing.policies import POLICIES
from baseload.simulator.oracle import engines_agree
from baseload.simulator.run import run_once
from baseload.simulator.start import new_engine
from baseload.simulator.truth import ARRIVAL, arrivals
from baseload.workload.chunks import collect
from baseload.workload.forecasts import forecast_of_text
from baseload.workload.lengths import length_table


def logged(policy, *, seed=0, scenario=None):
    """A scenario, its trace, and the jump engine's log of it."""
    scenario = scenario or made_scenario()
    source = scenario.requests(seed)
    rows = []
    run_once(scenario, policy, source, seed=seed, log=lambda *ended: rows.append(ended[2]))
    return scenario, collect(source), np.concatenate(rows).view(np.recarray)


@pytest.mark.parametrize("name", sorted(POLICIES))
def test_both_engines_give_the_same(name):
    scenario, trace, log = logged(POLICIES[name])
    engines_agree(scenario, POLICIES[name], trace, log, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(POLICIES))
@pytest.mark.parametrize(
    ("parking", "forecast"),
    [(True, "online"), (False, "perfect:error=0.5"), (True, "class_quantile")],
)
def test_both_engines_give_the_same_under_slow_control(name, parking, forecast):
    """Over a minute and a half, in which a working set shrinks and bulk waits outside."""
    scenario = made_scenario(
        made_trace(160, gap_s=0.6),
        groups=groups_of(2, 3),
        parking=parking,
        forecast=forecast_of_text(forecast),
    )
    scenario, trace, log = logged(POLICIES[name], scenario=scenario)
    engines_agree(scenario, POLICIES[name], trace, log, seed=0)


def test_a_controller_that_acts_differently_is_found():
    """The oracle of a scenario without parking is no oracle of one with."""
    parked = made_scenario(made_trace(160, gap_s=0.6), groups=groups_of(2, 3), parking=True)
    scenario, trace, log = logged(POLICIES["round_robin"], scenario=parked)
    awake = msgspec.structs.replace(scenario, parking=False)
    with pytest.raises(AssertionError, match="by jumps"):
        engines_agree(awake, POLICIES["round_robin"], trace, log, seed=0)


@pytest.mark.parametrize("field", ["finish_s", "first_s", "energy_j", "replica", "output_tokens"])
def test_a_doctored_log_is_found(field):
    scenario, trace, log = logged(POLICIES["least_loaded"])
    log[field][7] = log[field][7] * 2 + 1
    with pytest.raises(AssertionError, match=field):
        engines_agree(scenario, POLICIES["least_loaded"], trace, log, seed=0)


def test_a_lost_request_is_found():
    scenario, trace, log = logged(POLICIES["least_loaded"])
    with pytest.raises(AssertionError, match="answered"):
        engines_agree(scenario, POLICIES["least_loaded"], trace, log[:-1], seed=0)


def test_routing_is_shown_no_output_length():
    """Truth: the row that goes to the engine has the true length, the request for routing
    cannot.
    """
    from baseload.routing.price import REQUEST

    trace = collect(made_scenario().requests(0))
    rows = arrivals(trace)
    assert (rows.output_tokens == trace.output_tokens).all()
    assert rows.dtype == ARRIVAL
    fleet, _ = new_engine(made_scenario(), made_scenario().requests(0))
    assert (fleet.forecast == length_table(trace.classes)).all()  # nobody has ended yet
    assert set(REQUEST.names or ()) == {
        "input_tokens",
        "output_tokens",
        "output_spread",
        "deadline_s",
        "ttft_s",
        "tpot_s",
        "e2e_s",
        "lateness_weight",
        "grid_g_per_j",
        "model",
        "class_code",
        "now_s",
    }
