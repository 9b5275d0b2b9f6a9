from __future__ import annotations

import msgspec
import numba
import numpy as np
import pytest
from made_scenarios import all_at_once, groups_of, made_scenario, made_trace, same

from baseload.base.errors import BadInputError
from baseload.routing.policies import POLICIES
from baseload.routing.policy import Policy
from baseload.simulator.run import run_once, simulate
from baseload.testing import FirstFree

LEAST_LOADED = POLICIES["least_loaded"]


class LeastLoaded:
    """``least_loaded`` in plain Python."""

    name = "python"

    def choose(self, request, fleet):
        served = [kind.model == (request.model or kind.model) for kind in fleet.types]
        fits = fleet.limits["max_input_tokens"] >= request.input_tokens
        room = fleet.in_flight < fleet.max_in_flight[fleet.type_of]
        free = np.flatnonzero(room & (fits & np.array(served))[fleet.type_of])
        return int(free[np.argmin(fleet.in_flight[free])]) if len(free) else None


@numba.njit
def requests_in_flight(cost, limits, traffic, option, request, in_flight, tokens):
    """``least_loaded`` as a compiled price."""
    return float(in_flight)


@numba.njit
def joules_and_wait(cost, limits, traffic, option, request, in_flight, tokens):
    """Uses every argument."""
    full = in_flight / limits.max_batch
    spare = request.output_tokens * option.output_factor + traffic.input_tokens
    return cost.energy_j_per_step * (1.0 + full) + 1e-6 * (spare + tokens)


def with_price(price, name="priced"):
    return Policy(name=name, summary="", source="", price=price)


def once(scenario, policy):
    return run_once(scenario, policy, scenario.requests(0), check=True)


def traces():
    trace = made_trace(250, gap_s=0.01)
    rng = np.random.default_rng(0)
    models = rng.integers(-1, 2, len(trace)).astype(np.int16)
    some = msgspec.structs.replace(trace, model_code=models, models=("model-a", "model-z"))
    return {
        "plain": made_scenario(trace),
        "models": made_scenario(some),
        "full": made_scenario(all_at_once(80), max_queue=3),
        "deadlines": made_scenario(
            msgspec.structs.replace(trace, deadline_us=np.full(250, 500_000))
        ),
    }


@pytest.mark.parametrize("name", traces())
def test_a_policy_in_python_decides_as_its_compiled_twin(name):
    scenario = traces()[name]
    assert same(once(scenario, LeastLoaded()), once(scenario, LEAST_LOADED))


@pytest.mark.slow
@pytest.mark.parametrize("name", traces())
def test_a_compiled_price_decides_as_the_part_it_equals(name):
    scenario = traces()[name]
    assert same(once(scenario, with_price(requests_in_flight)), once(scenario, LEAST_LOADED))


@pytest.mark.slow
def test_a_price_sees_all_it_is_given():
    scenario = made_scenario()
    run = once(scenario, with_price(joules_and_wait))
    assert int(run.tally.completed.sum()) == 300
    assert not same(run, once(scenario, LEAST_LOADED))


def test_results_name_what_was_run():
    result = simulate(made_scenario(), [LeastLoaded(), with_price(requests_in_flight), FirstFree()])
    assert [found.policy for found in result.policies] == ["python", "priced", "first_free"]
    assert result.policies[0].parameters == {"rule": "python"}
    assert result.policies[1].parameters["price"] == "requests_in_flight"


class Chooses:
    def __init__(self, choice):
        self.choice = choice

    def choose(self, request, fleet):
        return self.choice


@pytest.mark.parametrize("choice", [-1, 3, 1.0, "0", (0,)])
def test_a_choice_that_is_no_replica_is_refused(choice):
    with pytest.raises(BadInputError) as error:
        once(made_scenario(), Chooses(choice))
    assert repr(choice) in str(error.value)
    assert "0 to 2" in str(error.value)


def test_none_refuses_the_request():
    run = once(made_scenario(), Chooses(None))
    assert int(run.tally.completed.sum()) == 0
    assert int(run.refused.sum()) == 300


def test_a_full_replica_refuses_what_it_is_sent():
    """A policy that insists on replica 0 loses what does not fit; nothing is lost silently."""
    scenario = made_scenario(all_at_once(30), groups=groups_of(1, 1), max_queue=2)
    run = once(scenario, Chooses(np.int64(0)))
    assert int(run.tally.completed.sum()) == 10
    assert int(run.refused.sum()) == 20


def test_a_policy_in_python_cannot_write_to_the_fleet():
    class Writes:
        def choose(self, request, fleet):
            fleet.in_flight[0] = 5
            return 0

    with pytest.raises(ValueError, match="read-only"):
        once(made_scenario(), Writes())


def test_the_view_shows_the_fleet_as_it_is():
    seen = []

    class Looks(LeastLoaded):
        def choose(self, request, fleet):
            seen.append((request, int(fleet.in_flight.sum()), int(fleet.tokens.sum())))
            return super().choose(request, fleet)

    once(made_scenario(made_trace(gap_s=0.01)), Looks())
    assert seen[0][1:] == (0, 0)
    assert max(busy for _, busy, _ in seen) > 3
    request = seen[-1][0]
    assert request.tier in ("interactive", "bulk")
    assert not hasattr(request, "output_tokens"), "a policy sees a forecast, never the truth"
    assert request.output_tokens_forecast != seen[0][0].output_tokens_forecast


class Turns:
    """Round robin in plain Python: keeps whose turn it is in itself."""

    turn = -1

    def choose(self, request, fleet):
        self.turn = (self.turn + 1) % len(fleet.type_of)
        return self.turn


def test_what_a_policy_remembers_ends_with_the_run():
    """One object served every run of a simulation, so a second seed began at whatever turn the
    first had ended with.
    """
    scenario, policy = made_scenario(made_trace(301)), Turns()
    assert same(once(scenario, policy), once(scenario, policy))
    assert same(once(scenario, policy), once(scenario, POLICIES["round_robin"]))
    assert policy.turn == -1
