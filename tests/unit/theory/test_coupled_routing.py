"""Routing that sees the state of its supply, against limits that have an answer of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.theory.coupled_routing import (
    Environment,
    averaged,
    coupled_cost,
    coupled_routing,
    worth_in_state,
)
from baseload.theory.dynamic_routing import prices_at, solve_hjb
from baseload.theory.job_cells import quantile_laws
from baseload.theory.markov_fluid import markov_fluid_rates
from baseload.theory.routing_grid import grid_routing
from baseload.theory.routing_instance import RoutingInstance
from baseload.theory.routing_tables import full_jump_tables
from baseload.theory.variance import sigma2_environment

from .routing_cases import random_instance, reference


def two_states(rate, *, supply=(4.5, 1.5), **changes):
    """Two states of the supply, each left at ``rate`` a second."""
    return Environment(supply=supply, generator=[[-rate, rate], [rate, -rate]], **changes)


def three_states(seed):
    """A random chain with supplies, variances and prices of its own in each state."""
    draw = np.random.default_rng(seed)
    rates = draw.uniform(0.01, 0.5, (3, 3))
    np.fill_diagonal(rates, 0.0)
    np.fill_diagonal(rates, -rates.sum(axis=1))
    return Environment(
        supply=draw.uniform(0.0, 6.0, 3),
        generator=rates,
        v0=draw.uniform(0.0, 10.0, 3),
        Cu=draw.uniform(0.5, 2.0, 3),
        Cw=draw.uniform(-0.1, 0.5, 3),
    )


def test_equal_states_are_one_state():
    one = grid_routing(reference(v0=2.0), 20.0, intervals=200)
    found = coupled_routing(
        reference(), 20.0, two_states(0.3, supply=(3.0, 3.0), v0=2.0), intervals=200
    )
    assert found.gam == pytest.approx(one.gam, rel=1e-11)
    for state in (0, 1):
        assert found.lamS[state] == pytest.approx(one.lamS[0], abs=1e-9)
        assert np.array_equal(found.choice[state], one.choice[0])


def test_fast_switching_is_the_averaged_diffusion():
    exact, gaps = None, []
    for rate in (5.0, 50.0):
        environment = two_states(rate)
        exact = solve_hjb(averaged(reference(), environment), 60.0)
        found = coupled_routing(reference(), 60.0, environment)
        gaps.append(abs(found.gam / exact.gam - 1))
        middle = found.lamS[:, 200]
    assert gaps[1] < gaps[0] < 2e-3
    assert gaps[1] < 2e-4
    assert middle == pytest.approx(np.full(2, prices_at(exact, 30.0).lamS), abs=2e-3)


def test_slow_switching_is_a_mixture_of_the_states():
    environment = two_states(1e-7, v0=(0.0, 9.0), Cu=(1.0, 2.0), Cw=(0.1, 0.3))
    found = coupled_routing(reference(), 20.0, environment, intervals=800)
    parts = [
        solve_hjb(reference(b=b, v0=v0, Cu=Cu, Cw=Cw), 20.0)
        for b, v0, Cu, Cw in ((4.5, 0.0, 1.0, 0.1), (1.5, 9.0, 2.0, 0.3))
    ]
    assert found.gam == pytest.approx(np.mean([part.gam for part in parts]), rel=1e-4)
    for state, part in enumerate(parts):
        assert found.lamS[state] == pytest.approx(prices_at(part, found.level).lamS, abs=2e-3)


def test_without_a_choice_it_is_the_fluid_that_a_markov_chain_modulates():
    """One model, hardly any noise: auxiliary and waste rates have a closed form (3.5)."""
    one = RoutingInstance(lam=[2000.0], mean=[[0.001]], second=[[1e-6]])
    environment = Environment(
        supply=[3.2, 1.0],  # net +1.2 W and -1 W
        generator=[[-0.1, 0.1], [0.12, -0.12]],
        Cu=[3.0, 1.0],  # next to nothing is bought while supply is high or wasted while it is low
        Cw=[0.4, 1.2],
    )
    rates = markov_fluid_rates(1.2, 1.0, q12=0.1, q21=0.12, B=20.0)
    found = coupled_routing(one, 20.0, environment, intervals=6400)
    assert found.gam == pytest.approx(rates.u_w + 0.4 * rates.w_w, rel=5e-3)


def test_ends_of_the_store_have_the_prices_of_the_state():
    environment = three_states(5)
    found = coupled_routing(reference(), 30.0, environment, intervals=300)
    assert found.lamS[:, 0] == pytest.approx(environment.Cu, rel=1e-7)
    assert found.lamS[:, -1] == pytest.approx(-environment.Cw, rel=1e-6)
    assert found.level.shape == (301,)
    assert found.choice.shape == (3, 301, 3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), jobs=st.floats(3.0, 60.0))
def test_no_table_costs_less_than_the_one_that_sees_the_state(seed, jobs):
    instance, environment = random_instance(seed), three_states(seed)
    B = jobs * environment.mean_supply
    found = coupled_routing(instance, B, environment, intervals=300)
    assert coupled_cost(instance, B, environment, found.choice) == pytest.approx(
        found.gam, rel=1e-10
    )
    blind = grid_routing(averaged(instance, environment), B, intervals=300)
    draw = np.random.default_rng(seed)
    others = [
        blind.choice[0],
        found.choice[::-1],
        draw.integers(0, instance.shape[1], found.choice.shape),
    ]
    for other in others:
        cost = coupled_cost(instance, B, environment, other)
        assert cost >= found.gam - 1e-9 * abs(found.gam)


def test_the_slower_the_switching_the_more_it_pays_to_see_the_state():
    gains, forecasts = [], []
    for rate in (0.5, 0.05, 0.02):
        environment = two_states(rate)
        blind = averaged(reference(), environment)
        seen = coupled_routing(reference(), 60.0, environment).gam
        table = grid_routing(blind, 60.0).choice[0]
        gains.append(coupled_cost(reference(), 60.0, environment, table) / seen - 1)
        forecasts.append(solve_hjb(blind, 60.0).gam / seen - 1)
    assert np.all(np.diff(gains) > 0)
    assert np.all(np.diff(forecasts) > 0)
    assert gains == pytest.approx([0.0012, 0.022, 0.039], rel=0.05)
    assert forecasts == pytest.approx([0.0086, 0.276, 0.869], rel=0.02)


def test_the_variance_of_the_switching():
    environment = three_states(1)
    other = sigma2_environment(Q=environment.generator, r=environment.supply)
    assert environment.modulation_variance == pytest.approx(other, rel=1e-9)
    assert two_states(0.25).modulation_variance == pytest.approx(2 * 1.5**2 / 0.5, rel=1e-12)
    assert Environment(supply=[3.0], generator=[[0.0]]).modulation_variance == 0.0
    blind = averaged(reference(v0=1.0), two_states(0.25, Cu=(1.0, 2.0)))
    assert (blind.b, blind.v0, blind.Cu, blind.Cw) == pytest.approx((3.0, 10.0, 1.5, 0.1))


def test_tables_of_a_state_price_whole_jumps():
    instance, environment = reference(), two_states(0.05)
    found = coupled_routing(instance, 60.0, environment)
    laws = quantile_laws(instance.mean, instance.second)
    tables = [
        full_jump_tables(instance, laws, level=found.level, worth=worth_in_state(found, state))
        for state in (0, 1)
    ]
    energy = [table.score - instance.other_cost[..., None] for table in tables]
    assert np.all(energy[1] > energy[0] - 1e-9)  # a joule is worth more while supply is low
    worth = worth_in_state(found, 1)
    level = np.linspace(0, 60.0, 7)
    slope = (worth(level + 1e-3) - worth(level - 1e-3)) / 2e-3
    assert slope[1:-1] == pytest.approx(
        np.interp(level, found.level, found.lamS[1])[1:-1], abs=0.01
    )
    assert worth(np.array([-2.0, 0.0])) == pytest.approx([-2.0, 0.0])


def test_leakage_costs():
    plain = coupled_routing(reference(), 20.0, two_states(0.1), intervals=100).gam
    leaky = coupled_routing(reference(), 20.0, two_states(0.1), intervals=100, leak_rate=0.01)
    assert leaky.gam > plain
    assert coupled_cost(
        reference(), 20.0, two_states(0.1), leaky.choice, leak_rate=0.01
    ) == pytest.approx(leaky.gam, rel=1e-11)


def test_a_supply_that_swings_too_hard_for_the_grid_still_solves():
    environment = two_states(0.01, supply=(400.0, 1.0))
    found = coupled_routing(reference(), 4000.0, environment, intervals=40)
    assert np.isfinite(found.gam)
    assert np.all(np.diff(found.lamS, axis=1) <= 1e-6)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"supply": []}, "supply"),
        ({"supply": [1.0, np.nan]}, "supply"),
        ({"generator": [[-1.0, 2.0], [1.0, -1.0]]}, "generator"),
        ({"generator": np.zeros((2, 2))}, "generator"),
        ({"generator": [[0.0]]}, "generator"),
        ({"v0": [-1.0, 0.0]}, "v0"),
        ({"v0": [1.0, 0.0, 0.0]}, "v0"),
        ({"Cu": np.ones((2, 2))}, "Cu"),
        ({"Cw": [np.inf, 0.0]}, "Cw"),
    ],
)
def test_bad_environments(change, field):
    good = {"supply": [4.5, 1.5], "generator": [[-1.0, 1.0], [1.0, -1.0]]}
    with pytest.raises(BadInputError, match=f"^{field}"):
        Environment(**{**good, **change})


@pytest.mark.parametrize(
    ("problem", "change", "field"),
    [
        ({}, {"B": 0.0}, "B"),
        ({}, {"B": np.inf}, "B"),
        ({}, {"intervals": 3}, "intervals"),
        ({}, {"leak_rate": -0.1}, "leak_rate"),
        ({"fail_limit": 0.2}, {}, "rows and fail_limit"),
        ({"arrival_scv": 2.0}, {}, "arrival_scv"),
        ({}, {"environment": two_states(1.0, Cw=(0.1, -1.0))}, "Cu . Cw"),
        ({"mean": np.zeros((3, 3)), "second": np.zeros((3, 3))}, {}, "second"),
    ],
)
def test_bad_problems(problem, change, field):
    arguments = {"B": 20.0, "environment": two_states(1.0), **change}
    with pytest.raises(BadInputError, match=f"^{field}"):
        coupled_routing(reference(**problem), **arguments)


@pytest.mark.parametrize(
    "choice",
    [
        np.zeros((2, 11, 3)),
        np.zeros((3, 11, 3), dtype=int),
        np.zeros((2, 11, 2), dtype=int),
        np.zeros((2, 4, 3), dtype=int),
        np.full((11, 3), 3),
        np.full((11, 3), -1),
    ],
)
def test_bad_tables(choice):
    with pytest.raises(BadInputError, match=r"^choice"):
        coupled_cost(reference(), 20.0, two_states(1.0), choice)


def test_a_table_may_only_use_what_is_to_be_had():
    problem = reference(available=[[True, True, False]] * 3)
    with pytest.raises(BadInputError, match="not available"):
        coupled_cost(problem, 20.0, two_states(1.0), np.full((11, 3), 2))
