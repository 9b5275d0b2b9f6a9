"""The table of policies, their records, and their page."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import policies_page
import pytest

from baseload.base.errors import BadInputError, UnknownNameError
from baseload.routing.fleet_state import close_replica, enter
from baseload.routing.pick import RISING, pick
from baseload.routing.policies import POLICIES, _table, policy
from baseload.routing.policy import (
    ChoosesInPython,
    Policy,
    Rule,
    fleet_view,
    name_of,
)
from baseload.routing.price import KNOBS, PARTS, UNITS, request_row
from baseload.testing import FirstFree
from baseload.testing.fleets import equal_replicas, experts, fast_and_slow


def test_the_page_is_what_the_table_says():
    said = policies_page.PAGE.read_text(encoding="utf-8")
    assert said == policies_page.text(), "run: python tests/unit/routing/policies_page.py"
    assert set(policies_page.QUANTITIES) == set(PARTS)
    assert set(policies_page.KNOB_MEANINGS) == set(KNOBS)
    assert set(policies_page.RULES) == set(get_args(Rule))


@pytest.mark.parametrize("one", POLICIES.values(), ids=lambda one: one.name)
def test_every_policy_says_what_it_is_and_who_published_it(one):
    assert one.summary
    assert not one.summary.endswith(".")
    assert len(one.summary) <= 90
    assert one.source
    assert len(one.explanation) > 100
    assert POLICIES[one.name] is one


def test_every_policy_file_is_in_the_table():
    folder = Path(sys.modules["baseload.routing.policies"].__file__).parent
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert files == set(POLICIES)


def test_a_name_that_is_there_twice_is_an_error():
    one = POLICIES["random"]
    with pytest.raises(AssertionError, match="'random'"):
        _table([one, one])


def test_a_policy_is_found_by_its_name_and_changed_by_parameters():
    assert policy("least_loaded") is POLICIES["least_loaded"]
    four = policy("power_of_two:choices=4,rate_tokens=0.5")
    assert four.choices == 4
    assert four.rates == {"requests": 1.0, "tokens": 0.5}
    assert POLICIES["power_of_two"].choices == 2
    assert policy("weighted_round_robin:weight=equal").weight == "equal"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("power_of_two:choises=4", "choices"),
        ("power_of_two:choices=many", "finite number"),
        ("power_of_two:choices=0", "1 to 1024"),
        ("power_of_two:choices", "finite number"),
        ("least_loaded:rate_energy=nan", "finite number"),
        ("least_loaded:rate_joules=1", "rate_"),
        ("weighted_round_robin:weight=3", "weight"),
    ],
)
def test_a_wrong_parameter_says_what_is_allowed(spec, said):
    with pytest.raises(BadInputError, match=said):
        policy(spec)


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(UnknownNameError, match="least_loaded"):
        policy("leastloaded")


def test_a_record_refuses_rates_that_mean_nothing():
    with pytest.raises(BadInputError, match="unknown part"):
        Policy(name="x", summary="", source="", rates={"joules": 1.0})
    with pytest.raises(BadInputError, match="finite"):
        Policy(name="x", summary="", source="", rates={"energy": float("inf")})


@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_a_record_refuses_knobs_that_mean_nothing(value):
    with pytest.raises(BadInputError, match="margin_frac"):
        Policy(name="x", summary="", source="", knobs={"margin_frac": value})
    with pytest.raises(UnknownNameError, match="margin_frac"):
        Policy(name="x", summary="", source="", knobs={"margin": 0.1})


def test_knobs_stand_behind_the_rates_and_can_be_set():
    state = fast_and_slow().state()
    one = policy("least_loaded:margin_frac=0.2,tile_requests=8")
    assert one.knobs == {"margin_frac": 0.2, "tile_requests": 8.0}
    values = dict(KNOBS) | one.knobs
    assert one.state(state, seed=0).rates[len(PARTS) :].tolist() == list(values.values())
    assert one.parameters()["margin_frac"] == 0.2


def test_a_fresh_state_has_a_lambda_for_each_tier_and_holds_nobody():
    made = POLICIES["baseload"].state(fast_and_slow().state(), seed=0, tiers=3)
    assert made.lateness_weight.tolist() == [POLICIES["baseload"].slow.weight] * 3
    assert made.hold.tolist() == [0, 0, 0]


def test_a_policy_tells_the_fleet_how_prompts_count():
    state = fast_and_slow().state()
    POLICIES["baseload"].state(state, seed=0)
    assert state.pending_unit[0] == POLICIES["baseload"].pending_unit > 0
    POLICIES["least_loaded"].state(state, seed=0)
    assert state.pending_unit[0] == 0


def test_rising_is_not_promised_on_sparse_models_by_policies_that_pay_for_joules():
    """Joules a token of a mixture of experts fall with the batch."""
    for name in ("baseload", "least_latency", "least_loaded"):
        one = POLICIES[name]
        for fleet, claims in ((fast_and_slow(), True), (experts(), one.rising_with_experts)):
            settings = one.state(fleet.state(), seed=0).settings
            assert settings[RISING] == (one.rising and claims), name


def test_parameters_carry_the_unit_of_their_rates():
    one = Policy(name="x", summary="", source="", rates={"energy": 2.0}, free_seats=True)
    assert one.parameters() == {"rule": "price", "rate_energy [usd/J]": 2.0, "free_seats": True}
    assert len(PARTS) == len(UNITS)
    assert POLICIES["power_of_two"].parameters()["choices"] == 2
    assert POLICIES["weighted_round_robin"].parameters()["weight"] == "capacity"


def test_names_of_policies_of_every_kind():
    assert name_of(POLICIES["random"]) == "random"
    assert name_of(FirstFree()) == "first_free"

    class Nameless:
        def choose(self, request, fleet):
            return None

    assert name_of(Nameless()) == "Nameless"
    assert isinstance(Nameless(), ChoosesInPython)
    assert not isinstance(object(), ChoosesInPython)


def picks(name, state, count, *, send=False):
    made = policy(name).state(state, seed=0)
    request = request_row(input_tokens=10, output_tokens=10)[0]
    found = []
    for _ in range(count):
        found.append(pick(state, made, request)[1])
        if send:
            enter(state, found[-1], 20, 0)
    return found


def test_round_robin_takes_turns():
    assert picks("round_robin", equal_replicas(3).state(), 7) == [0, 1, 2, 0, 1, 2, 0]


def test_weighted_round_robin_goes_by_capacity():
    fleet = fast_and_slow()
    counts = np.bincount(picks("weighted_round_robin", fleet.state(), 600), minlength=6)
    weights = policy("weighted_round_robin").state(fleet.state(), seed=0).weights
    share = weights[0] * 2 / (weights[0] * 2 + weights[1] * 4)
    assert counts[:2].sum() / 600 == pytest.approx(share, abs=0.01)
    assert np.ptp(counts[:2]) <= 1
    assert np.ptp(counts[2:]) <= 1
    equal = np.bincount(picks("weighted_round_robin:weight=equal", fleet.state(), 600))
    assert (equal == 100).all()


def test_random_is_even():
    counts = np.bincount(picks("random", equal_replicas(4).state(), 4000), minlength=4)
    assert abs(counts - 1000).max() < 120


def test_least_loaded_spreads_and_energy_greedy_packs():
    assert picks("least_loaded", equal_replicas(3).state(), 4, send=True) == [0, 1, 2, 0]
    assert picks("least_tokens", equal_replicas(3).state(), 4, send=True) == [0, 1, 2, 0]
    packed = picks("energy_greedy", equal_replicas(3).state(), 6, send=True)
    assert packed == [0, 0, 0, 1, 1, 1], "three mean requests fit in the memory of one replica"


def test_least_latency_prefers_the_fast_ones_until_they_are_full():
    found = picks("least_latency", fast_and_slow().state(), 4, send=True)
    assert set(found) <= {0, 1}


def test_power_of_two_is_more_even_than_random():
    two, one = (
        np.bincount(picks(name, equal_replicas(64).state(), 640, send=True), minlength=64)
        for name in ("power_of_two", "random")
    )
    assert two.max() < one.max()
    assert two.std() < one.std() / 2


def test_a_view_shows_changes_and_refuses_to_be_written_to():
    fleet = fast_and_slow()
    state = fleet.state()
    view = fleet_view(state, fleet.types)
    enter(state, 3, 70, 0)
    assert (view.in_flight[3], view.tokens[3]) == (1, 70)
    close_replica(state, 2)
    assert view.open.tolist() == [1, 1, 0, 1, 1, 1]
    arrays = ("type_of", "in_flight", "tokens", "max_in_flight", "open", "cost", "limits")
    for name in (*arrays, "traffic"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(view, name)[0] = getattr(view, name)[0]
    assert view.types == fleet.types


def test_routing_cannot_see_the_truth():
    """Importing every policy brings in neither traces nor the simulator."""
    code = (
        "import sys, baseload.routing.policies; "
        "print([name for name in sys.modules if name.startswith('baseload.simulator') "
        "or name in ('baseload.workload.trace', 'baseload.workload.generator')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert found.strip() == "[]"
