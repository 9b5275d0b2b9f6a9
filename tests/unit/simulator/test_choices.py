"""Options: what they write, how often they are right, and who may choose among them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from made_scenarios import groups_of, made_scenario, made_trace

from baseload.base.errors import BadInputError
from baseload.routing.policies import policy
from baseload.simulator.choices import Choice, models_of, option_table
from baseload.simulator.run import simulate
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
