"""Forecasts of options nobody measured, and switch points."""

import math

import pytest

from baseload.base.errors import BadInputError
from baseload.theory.chains import cot_oracle_stopping
from baseload.theory.model_choice import switch_difficulty
from baseload.theory.options import OptionModel, forecast_option, switch_points

SMALL = OptionModel(
    name="8b", ability=1.0, kappa=1.2, energy_j_per_token=0.08, tokens_per_step=100, skills=4
)
LARGE = OptionModel(
    name="70b", ability=4.0, kappa=1.2, energy_j_per_token=0.7, tokens_per_step=100, skills=4
)
HUGE = OptionModel(
    name="400b", ability=7.0, kappa=1.2, energy_j_per_token=5.0, tokens_per_step=100, skills=4
)


def capped(option, tokens):
    return OptionModel(
        **{
            field: getattr(option, field)
            for field in option.__struct_fields__
            if field != "cap_tokens"
        },
        cap_tokens=tokens,
    )


def test_a_forecast_is_the_chain_and_says_so():
    option = capped(SMALL, 2050.0)
    found = forecast_option(option, difficulty=1.0)
    moments = cot_oracle_stopping(k=4, a=0.5, n_max=20)
    assert found.source == "modelled"
    assert "not measured" in found.says
    assert found.success_frac == pytest.approx(moments.success_frac)
    assert found.mean_tokens == pytest.approx(100 * moments.mean_attempts)
    assert found.mean_j == pytest.approx(8 * moments.mean_attempts)
    assert found.second_j2 == pytest.approx(64 * moments.second_attempts)
    assert found.energy_j_per_solved == found.mean_j / found.success_frac


def test_no_room_to_think():
    found = forecast_option(capped(SMALL, 300.0), difficulty=0)
    assert (found.success_frac, found.energy_j_per_solved) == (0, math.inf)


def test_two_options_switch_where_the_formula_says():
    plan = switch_points([SMALL, LARGE], [-2, 0, 2, 4, 6, 8])
    expected = switch_difficulty(kappa=1.2, theta_small=1, theta_large=4, N_small=0.08, N_large=0.7)
    (switch,) = plan.switches
    assert (switch.below, switch.above) == ("8b", "70b")
    assert switch.difficulty == pytest.approx(expected, abs=1e-7)
    assert plan.best == tuple("8b" if d < expected else "70b" for d in plan.difficulties)


def test_every_switch_of_a_fleet_is_found_on_a_coarse_grid():
    plan = switch_points([HUGE, SMALL, LARGE], [-3, 12])
    assert [(s.below, s.above) for s in plan.switches] == [("8b", "70b"), ("70b", "400b")]
    assert set(plan.energy_j_per_solved) == {"8b", "70b", "400b"}


def test_a_floor_on_success_moves_the_switch_down():
    fleet = [capped(SMALL, 2000.0), capped(LARGE, 2000.0)]
    free = switch_points(fleet, [-2, 12])
    held = switch_points(fleet, [-2, 12], least_success_frac=0.9)
    assert held.switches[0].difficulty < free.switches[0].difficulty
    assert held.switches[-1].above is None
    assert held.best[-1] is None


def test_ties_go_to_list_order():
    twin = OptionModel(
        **{**{f: getattr(SMALL, f) for f in SMALL.__struct_fields__}, "name": "twin"}
    )
    plan = switch_points([SMALL, twin], [0, 1])
    assert plan.best == ("8b", "8b")
    assert plan.switches == ()


@pytest.mark.parametrize(
    ("options", "grid"),
    [([], [0, 1]), ([SMALL, SMALL], [0, 1]), ([SMALL], [0]), ([SMALL], [1, 0])],
)
def test_bad_questions_are_refused(options, grid):
    with pytest.raises(BadInputError):
        switch_points(options, grid)


@pytest.mark.parametrize(
    ("field", "value"), [("skills", 0), ("tokens_per_step", 0), ("kappa", -1), ("cap_tokens", -1)]
)
def test_bad_options_are_named(field, value):
    good = {f: getattr(SMALL, f) for f in SMALL.__struct_fields__}
    with pytest.raises(BadInputError, match=f"8b: {field}"):
        OptionModel(**{**good, field: value})
