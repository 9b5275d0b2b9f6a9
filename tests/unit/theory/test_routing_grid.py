"""The grid twin: leakage, running cost, changing supply."""

from __future__ import annotations

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.theory.dynamic_routing import solve_hjb
from baseload.theory.entries_routing import hjb_modulated_cost
from baseload.theory.routing_grid import grid_routing, richardson_gam

from .routing_cases import reference

SWITCH = np.array([[-1.0, 1.0], [1.0, -1.0]])


def test_the_error_is_of_second_order():
    exact = solve_hjb(reference(), 20.0).gam
    found = [grid_routing(reference(), 20.0, intervals=n).gam for n in (100, 200, 400)]
    errors = [abs(gam - exact) for gam in found]
    assert errors[0] > 3 * errors[1] > 9 * errors[2] > 0  # 4, but for where the routing switches


def test_supply_states_that_are_alike_are_one_state():
    same = grid_routing(reference(), 20.0, intervals=100, supply=[3.0, 3.0], generator=SWITCH)
    one = grid_routing(reference(), 20.0, intervals=100)
    assert same.gam == pytest.approx(one.gam, rel=1e-11)
    assert same.lamS[1] == pytest.approx(one.lamS[0], abs=1e-9)
    assert same.rounds < 10


def test_fast_switching_is_a_diffusion_and_slow_switching_a_mixture():
    states = [4.5, 1.5]
    rate = 50.0
    fast = richardson_gam(reference(), 60.0, intervals=200, supply=states, generator=rate * SWITCH)
    spread = 2 * 0.25 * 3.0**2 / (2 * rate)
    assert fast == pytest.approx(solve_hjb(reference(v0=spread), 60.0).gam, rel=2e-3)
    slow = grid_routing(reference(), 60.0, intervals=200, supply=states, generator=1e-7 * SWITCH)
    parts = [solve_hjb(reference(b=b), 60.0).gam for b in states]
    assert slow.gam == pytest.approx(np.mean(parts), rel=1e-3)


def test_the_state_is_worth_more_when_supply_is_low():
    found = grid_routing(reference(), 60.0, supply=[4.5, 1.5], generator=0.05 * SWITCH)
    assert np.all(found.lamS[1, 1:-1] >= found.lamS[0, 1:-1])
    assert np.all(np.diff(found.lamS, axis=1) <= 1e-9)


def test_leakage_costs_and_a_constant_charge_is_added():
    plain = grid_routing(reference(), 20.0, intervals=100)
    leaky = grid_routing(reference(), 20.0, intervals=100, leak_rate=0.01)
    charged = grid_routing(reference(), 20.0, intervals=100, running_cost=np.full(101, 0.25))
    assert leaky.gam > plain.gam
    assert charged.gam == pytest.approx(plain.gam + 0.25)
    assert np.array_equal(charged.choice, plain.choice)


def test_a_grid_too_coarse_for_the_drift_still_solves():
    coarse = grid_routing(reference(b=40.0), 400.0, intervals=20)
    assert coarse.gam == pytest.approx(solve_hjb(reference(b=40.0), 400.0).gam, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"intervals": 3}, "intervals"),
        ({"leak_rate": -1.0}, "leak_rate"),
        ({"supply": [1.0, 2.0]}, "supply and generator"),
        ({"supply": [1.0, 2.0], "generator": np.zeros((2, 2))}, "generator"),
        ({"supply": [1.0], "generator": SWITCH}, "generator"),
    ],
)
def test_bad_input(change, field):
    with pytest.raises(BadInputError, match=f"^{field}"):
        grid_routing(reference(), 20.0, **change)


def test_the_catalogue_takes_the_problem_in_several_ways():
    plain = hjb_modulated_cost(supply=[4.5, 1.5], switch_rate=0.5, B=60.0, intervals=60)
    named = hjb_modulated_cost(
        supply=[4.5, 1.5], switch_rate=0.5, B=60.0, instance="same as before", intervals=60
    )
    rates = hjb_modulated_cost(supply=[4.5, 1.5], generator=0.5 * SWITCH, B=60.0, intervals=60)
    dear = hjb_modulated_cost(
        supply=[4.5, 1.5], switch_rate=0.5, B=60.0, instance="reference", Cu=2.0, intervals=60
    )
    assert plain == named == rates < dear
    fields = {"instance": "reference", "supply": [4.5, 1.5], "switch_rate": 0.5, "intervals": 60}
    alike = hjb_modulated_cost(B=60.0, **fields, Cu=[1.0, 1.0], v0=[0.0, 0.0])
    late = hjb_modulated_cost(B=60.0, **fields, Cu=[1.0, 2.0], Cw=[0.1, 0.1])
    assert plain == pytest.approx(alike, rel=1e-12)
    assert plain < late < dear
    for wrong in ({}, {"switch_rate": 0.0}, {"switch_rate": 0.5, "generator": SWITCH}):
        with pytest.raises(BadInputError, match="switch_rate"):
            hjb_modulated_cost(supply=[4.5, 1.5], B=60.0, **wrong)
