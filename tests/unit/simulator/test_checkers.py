"""Each law fails on a run that was doctored to break it, and holds on the run itself."""

from __future__ import annotations

import copy

import msgspec
import pytest
from made_scenarios import finished, made_scenario, made_trace

from baseload.routing.fleet_state import enter
from baseload.routing.policies import POLICIES
from baseload.simulator.checkers import check_run
from baseload.simulator.records import ACTIVE, IDLE, TTFT


@pytest.fixture
def scenario():
    return made_scenario(made_trace(100))


@pytest.fixture
def run(scenario, monkeypatch):
    totals, engine, fleet = finished(scenario, POLICIES["energy_greedy"], monkeypatch)
    return copy.deepcopy(totals), engine, fleet


def test_an_honest_run_passes(scenario, run):
    check_run(scenario, *run)


def lost_joule(totals, engine, fleet):
    return msgspec.structs.replace(totals, residual_j=totals.residual_j + 1e-3)


def negative_account(totals, engine, fleet):
    totals.account_j[0, IDLE] = -1e-9


def lost_request(totals, engine, fleet):
    return msgspec.structs.replace(totals, requests=totals.requests + 1)


def refused_twice(totals, engine, fleet):
    totals.refused[0] += 1


def still_in_flight(totals, engine, fleet):
    engine.total[0].in_flight = 1


def two_first_tokens(totals, engine, fleet):
    totals.histogram[TTFT, 0, 100] += 1


def memory_not_freed(totals, engine, fleet):
    engine.replicas.kv[1] = 7


def context_still_read(totals, engine, fleet):
    engine.replicas.context[0] = 7


def above_the_cap(totals, engine, fleet):
    engine.cost.power_w_cap[:] = 1.0


def negative_power(totals, engine, fleet):
    engine.replicas.account_j[2, ACTIVE] = -1.0


def idling_above_idle_power(totals, engine, fleet):
    engine.replicas.account_j[0, IDLE] *= 1.01


def time_missing(totals, engine, fleet):
    engine.replicas.busy_s[0] -= 0.5


def still_held(totals, engine, fleet):
    engine.total[0].held = 1


def time_missing_from_the_series(totals, engine, fleet):
    engine.state_s[3, IDLE] += 0.25


def steps_missing_from_the_series(totals, engine, fleet):
    engine.state_s[3, ACTIVE] -= 0.25


def prompt_still_pending(totals, engine, fleet):
    fleet.pending[2] = 1


def closed_but_counted_open(totals, engine, fleet):
    fleet.open[2] = 0


def energy_missing_from_the_series(totals, engine, fleet):
    engine.power_j[3] = 0.0


def routing_forgot_to_leave(totals, engine, fleet):
    enter(fleet, 0, 10, 1)


def index_out_of_step(totals, engine, fleet):
    fleet.bits[0] ^= fleet.bits.dtype.type(1)


@pytest.mark.parametrize(
    ("doctored", "said"),
    [
        (lost_joule, "receipts do not sum"),
        (negative_account, "negative energy"),
        (lost_request, "requests came"),
        (refused_twice, "requests came"),
        (still_in_flight, "never ended"),
        (two_first_tokens, "first token"),
        (memory_not_freed, "KV cache still held"),
        (context_still_read, "context still read"),
        (above_the_cap, "more than its cap"),
        (negative_power, "negative power"),
        (idling_above_idle_power, "more than idle power"),
        (time_missing, "accounts for"),
        (still_held, "still wait outside"),
        (energy_missing_from_the_series, "time series lost energy"),
        (time_missing_from_the_series, "still replica-seconds"),
        (steps_missing_from_the_series, "busy replica-seconds"),
        (prompt_still_pending, "pending did not come back"),
        (closed_but_counted_open, "open_count did not come back"),
        (routing_forgot_to_leave, "did not come back to idle"),
        (index_out_of_step, "bits did not come back"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_doctored_run_fails(scenario, run, doctored, said):
    totals, engine, fleet = run
    if doctored is index_out_of_step:
        fleet = fleet._replace(bits=fleet.bits.copy())
    changed = doctored(totals, engine, fleet) or totals
    with pytest.raises(AssertionError, match=said):
        check_run(scenario, changed, engine, fleet)
