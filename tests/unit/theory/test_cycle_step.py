"""The kernels of a cycle: settlement as in the supply room, slopes, plain twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.kernels import plain
from baseload.supply.slot import limits_record, slot_flows
from baseload.supply.store import Store
from baseload.theory import cycle_step
from baseload.theory.cycle_evaluation import empty_plans
from baseload.theory.cycle_menu import menu_of
from baseload.theory.cycle_problem import model_of
from baseload.theory.cycle_step import Tables

from .cycle_cases import day, random_problem


@given(
    level=st.floats(0, 1),
    net=st.floats(-3, 3),
    eta=st.tuples(st.floats(0.5, 1), st.floats(0.5, 1)),
    limit=st.tuples(*[st.sampled_from([0.0, 0.2, 1.0, np.inf])] * 2),
)
def test_a_slot_is_settled_as_the_store_does_it(level, net, eta, limit):
    problem = day(eta_c=eta[0], eta_d=eta[1], P_c=limit[0] * 100, P_d=limit[1] * 100)
    store = Store(
        capacity_j=problem.B,
        charge_efficiency=eta[0],
        discharge_efficiency=eta[1],
        charge_limit_w=problem.P_c,
        discharge_limit_w=problem.P_d,
    )
    level_j, net_j = level * problem.B, net * problem.B
    after, bought, _, wasted, *_ = np.take(
        slot_flows(limits_record(store), level_j, 0.0, net_j, problem.slot_s), [0, 1, 3, 2, 4]
    )
    found = cycle_step.settle(model_of(problem, 5), level_j, net_j)
    assert found == pytest.approx((after, bought, wasted), abs=1e-9 * problem.B)


def bowl(model, slots, nodes):
    """Tables whose last value is a parabola that falls with the level: price 0.9 to 0.1."""
    level = np.arange(nodes) * model.spacing
    tables = Tables(
        *(np.zeros(shape) for shape in ((slots + 1, nodes), (slots, nodes), (slots, nodes), nodes))
    )
    tables.value[:] = -0.9 * level + 0.4 * level**2 / model.B
    return tables


def test_prices_are_slopes_of_the_cost():
    """In the mean and in the variance, where the value is smooth and where the store ends."""
    problem = day(v0=500.0)
    model = model_of(problem, 4001, 33)
    tables = bowl(model, 24, 4001)
    for h, place in ((0, 0.5), (12, 0.5), (12, 0.98), (0, 0.1)):
        cycle_step._slopes(model, h, tables)
        level = place * problem.B
        demand, var = 28.0 * 3600, 2e9

        def cost(d, v, h=h, level=level):
            return cycle_step.expect(model, h, level, d, v, tables)[0]

        _, price, om = cycle_step.expect(model, h, level, demand, var, tables)
        step = 0.02 * demand
        rise = (cost(demand + step, var) - cost(demand - step, var)) / (2 * step)
        bend = (cost(demand, 1.5 * var) - cost(demand, 0.5 * var)) / var
        assert price == pytest.approx(rise, rel=2e-2)
        assert om / 2 == pytest.approx(bend, rel=5e-2)


def run_all(problem, nodes):
    """Every kernel once: what they fill."""
    slots = problem.shape[0]
    model = model_of(problem, nodes)
    tables, plans = bowl(model, slots, nodes), empty_plans(slots, nodes)
    menu, _ = menu_of(problem, tables.value[slots])
    cycle_step.improve(model, menu, tables, plans, False)
    tables.value[slots] = tables.value[0]
    cycle_step.improve(model, menu, tables, plans, True)
    work = np.zeros((2, nodes, nodes + 1))
    at = cycle_step.compose(model, plans, work, np.zeros(nodes))
    law = np.full((slots + 1, nodes), 1.0 / nodes)
    flows = np.zeros((slots, 5))
    cycle_step.forward(model, plans, law, flows, np.zeros(nodes))
    return [*tables, *plans, work[at], law, flows]


@pytest.mark.parametrize("seed", [0, 7, 51])
def test_kernels_equal_their_plain_twins(seed, monkeypatch):
    problem = random_problem(seed, tariff=seed == 51)
    compiled = run_all(problem, 17)
    for name, value in vars(cycle_step).items():
        if hasattr(value, "py_func"):
            monkeypatch.setattr(cycle_step, name, plain(value))
    assert not hasattr(cycle_step.improve, "py_func")
    for one, other in zip(compiled, run_all(problem, 17), strict=True):
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_a_cycle_is_a_stochastic_matrix_and_forward_agrees_with_it(seed):
    *_, work, law, flows = run_all(random_problem(seed, tariff=seed % 2 == 0), 13)
    matrix, cost = work[:, :-1], work[:, -1]
    assert np.all(matrix >= 0)
    assert matrix.sum(axis=1) == pytest.approx(np.ones(13), abs=1e-12)
    assert law[-1] == pytest.approx(law[0] @ matrix, abs=1e-12)
    problem = random_problem(seed, tariff=seed % 2 == 0)
    paid = problem.Cu * flows[:, 2] + problem.Cw * flows[:, 3] + flows[:, 4]
    assert paid.sum() == pytest.approx(law[0] @ cost, rel=1e-10)
