"""Options: what they write, how often they are right, and who may choose among them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from made_scenarios import TIERS, groups_of, made_scenario, made_trace

from baseload.base.errors import BadInputError
from baseload.routing.policies import POLICIES, policy
from baseload.routing.price import BARRED
from baseload.simulator.choices import Choice, models_of, option_table
from baseload.simulator.run import simulate
from baseload.simulator.supplied import Supplied
from baseload.supply.baseline import Constant
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, Tariff
from baseload.testing import FirstFree
from baseload.workload.tiers import Tier

CAREFUL = Choice(name="careful", right_frac={"": 0.9})
BRIEF = Choice(name="brief", tokens_factor={"": 0.25}, right_frac={"": 0.5, "batch": 0.85})


def run(*specs, choices=(CAREFUL, BRIEF), **changes):
    """Results of policies over one trace, checked against the laws and the step engine."""
    scenario = made_scenario(made_trace(200, gap_s=0.2), choices=choices, **changes)
    chosen = [one if not isinstance(one, str) else policy(one) for one in specs]
    return simulate(scenario, chosen, check=True).policies


def pricing(quality):
    """The greedy policy with a price on wrong answers [J each]."""
    made = policy("energy_greedy")
    return msgspec.structs.replace(
        made,
        name=f"greedy {quality:g}",
        rates=made.rates | {"quality": float(quality)},
        free_seats=False,
    )


def test_a_policy_without_a_price_of_quality_answers_with_the_reference():
    for one in run("least_loaded", "round_robin", "energy_greedy"):
        assert one.quality_frac == pytest.approx(0.9)
        assert one.choice_frac == {
            "chat": {"careful": 1.0, "brief": 0.0},
            "batch": {"careful": 1.0, "brief": 0.0},
        }


def test_thinking_is_bought_as_far_as_a_right_answer_is_worth_it():
    none, some, all_ = run(pricing(1e-9), pricing(60), pricing(1e9))
    assert none.choice_frac["chat"]["brief"] == none.choice_frac["batch"]["brief"] == 1.0
    assert all_.choice_frac["chat"]["careful"] == all_.choice_frac["batch"]["careful"] == 1.0
    assert some.choice_frac["chat"]["careful"] > some.choice_frac["batch"]["careful"]
    assert none.quality_frac < some.quality_frac < all_.quality_frac
    assert none.energy_j < some.energy_j < all_.energy_j
    assert none.output_tokens < 0.35 * all_.output_tokens


def test_quality_counts_classes_by_their_share():
    found = run(pricing(1e-9))[0]
    batch = (made_trace(200, gap_s=0.2).class_code == 1).mean()
    assert found.quality_frac == pytest.approx(0.5 * (1 - batch) + 0.85 * batch)
    assert found.quality_frac_by_tier == {
        "interactive": pytest.approx(0.5),
        "bulk": pytest.approx(0.85),
    }


def test_without_options_quality_is_not_known():
    found = run("least_loaded", choices=())[0]
    assert found.quality_frac is None
    assert found.choice_frac == {}
    assert found.quality_frac_by_tier == {}


def test_an_option_of_one_model_goes_nowhere_else():
    small, large = groups_of(1, 1)
    large = msgspec.structs.replace(
        large, kind=msgspec.structs.replace(large.kind, model="large-model")
    )
    choices = (
        Choice(name="small", model=small.kind.model, right_frac={"": 0.99}),
        Choice(name="large", model="large-model", right_frac={"": 0.5}),
    )
    groups = (small, large)
    cheap, good = run(pricing(1e-9), pricing(1e9), choices=choices, groups=groups)
    assert good.choice_frac["chat"]["small"] == 1.0
    assert cheap.choice_frac["chat"]["large"] > 0.5  # its type needs fewer joules
    assert good.energy_j_by_model["large-model"] < cheap.energy_j_by_model["large-model"]
    reference = run("least_loaded", choices=choices, groups=groups)[0]
    assert reference.choice_frac["chat"]["small"] == 1.0


def test_the_table_has_a_row_for_each_class():
    table = option_table((CAREFUL, BRIEF), ("chat", "batch"))
    assert table.output_factor.tolist() == [[1.0, 0.25], [1.0, 0.25]]
    assert np.allclose(table.wrong_frac, [[0.1, 0.5], [0.1, 0.15]])
    assert table.model.tolist() == [[-1, -1], [-1, -1]]
    named = (CAREFUL, Choice(name="b", model="b"), Choice(name="a", model="a"))
    assert models_of(named, ("a",)) == ("a", "b")
    assert option_table(named, ("chat",), ("a",)).model.tolist() == [[-1, 1, 0]]
    assert option_table((), ("chat", "batch")).shape == (2, 1)
    assert (table.right_usd == 1.0).all()
    assert (table.cap_tokens == np.inf).all()
    tiers = [
        Tier(name=name, classes=(), right_usd=usd) for name, usd in (("one", 0.5), ("two", 0.0))
    ]
    valued = option_table((CAREFUL,), ("chat", "batch"), tiers=tiers, cap_tokens=100.0)
    assert valued.right_usd.tolist() == [[0.5], [0.0]]
    assert (valued.cap_tokens == 100.0).all()


@pytest.mark.parametrize(
    "numbers",
    [{"tokens_factor": {"": 0.0}}, {"right_frac": {"chat": 1.2}}, {"right_frac": {"": -0.1}}],
)
def test_numbers_that_are_no_option(numbers):
    with pytest.raises(BadInputError, match="option 'x'"):
        Choice(name="x", **numbers)


def floored(floor, label="chat"):
    """The tiers of these tests, one of them with a floor."""
    return tuple(
        msgspec.structs.replace(tier, right_floor=floor) if label in tier.classes else tier
        for tier in TIERS
    )


def test_a_floor_bars_what_is_right_less_often_for_its_classes_alone():
    table = option_table((BRIEF, CAREFUL), ("chat", "batch"), tiers=floored(0.6))
    assert table.model.tolist() == [[BARRED, -1], [-1, -1]]
    exact = option_table((BRIEF, CAREFUL), ("chat", "batch"), tiers=floored(0.5))
    assert (exact.model == -1).all()


@pytest.mark.parametrize("name", [*POLICIES, "python"])
def test_no_policy_goes_below_a_floor(name):
    """The reference is barred too: who does not weigh answers takes the first that is left."""
    choices = (BRIEF, CAREFUL, Choice(name="good", tokens_factor={"": 2.0}, right_frac={"": 0.8}))
    place = Site(
        baseline=Constant(value_w=500.0),
        store=Store(capacity_j=1e4),
        tariff=Tariff(energy=FlatPrice(usd_per_j=1e-3)),
        slot_s=5.0,
    )
    one = FirstFree() if name == "python" else policy(name)
    scenario = made_scenario(
        made_trace(150), choices=choices, tiers=floored(0.6), supplied=Supplied(site=place)
    )
    found = simulate(scenario, [one], check=name != "python").policies[0]
    assert found.completed == 150
    assert found.choice_frac["chat"].get("brief", 0.0) == 0.0
    if name == "least_loaded":
        assert found.choice_frac["chat"]["careful"] == 1.0
        assert found.choice_frac["batch"]["brief"] == 1.0


@pytest.mark.parametrize("name", ["random", "round_robin", "weighted_round_robin", "power_of_two"])
def test_a_replica_that_no_option_runs_on_is_not_drawn(name):
    """It was sent the request with the last option of the table."""
    fast, slow = groups_of(1, 2)
    other = msgspec.structs.replace(
        slow, kind=msgspec.structs.replace(slow.kind, model="another-model")
    )
    choices = (Choice(name="a", model=fast.kind.model), Choice(name="b", model="another-model"))
    scenario = made_scenario(made_trace(100), groups=(fast, other), choices=choices)
    found = simulate(scenario, [policy(name)], check=True).policies[0]
    assert found.choice_frac["chat"]["a"] == 1.0
    assert found.energy_j_by_model["another-model"] == pytest.approx(
        sum(found.energy_j_by_device_and_state[other.kind.device].values())
    )


def test_a_floor_that_no_option_reaches_names_the_best():
    with pytest.raises(BadInputError) as error:
        option_table((BRIEF, CAREFUL), ("chat", "batch"), tiers=floored(0.95))
    said = str(error.value)
    assert "'interactive': right_floor of 0.95" in said
    assert "class chat: the best option, careful, is right in 0.9" in said


@pytest.mark.parametrize("floor", [-0.1, 1.1, float("nan")])
def test_floors_that_are_no_shares(floor):
    with pytest.raises(BadInputError, match="right_floor"):
        floored(floor)
