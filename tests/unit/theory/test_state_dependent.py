"""Drift and variance by level; two drifts switched at best."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.theory.dynamic_routing import solve_hjb
from baseload.theory.entries_routing import state_dependent_rates as entry
from baseload.theory.regulator import g
from baseload.theory.routing_instance import RoutingInstance
from baseload.theory.state_dependent import bang_bang_cost, state_dependent_rates

pieces = st.lists(
    st.tuples(st.floats(0.01, 50), st.floats(-1e4, 1e4), st.floats(1e-3, 1e3)),
    min_size=1,
    max_size=6,
)


@given(pieces)
def test_waste_less_auxiliary_is_the_mean_drift(rows):
    width, theta, var = np.array(rows).T
    found = state_dependent_rates(
        breaks=np.concatenate([[0.0], np.cumsum(width)]), theta=theta, var=var, cost=theta
    )
    assert found.share.sum() == pytest.approx(1)
    assert found.running == pytest.approx(found.drift)
    room = 1e-8 * (np.abs(theta).max() + found.u)
    assert found.w - found.u == pytest.approx(found.drift, rel=1e-6, abs=room)


@pytest.mark.parametrize("theta", [-1e6, -3.0, -1e-9, 0.0, 1e-9, 3.0, 1e6])
def test_one_piece_is_the_two_sided_diffusion_however_it_is_cut(theta):
    y = 2 * theta * 20 / 7
    for breaks in ([0, 20], [0, 3, 20], np.linspace(0, 20, 41)):
        count = len(breaks) - 1
        found = state_dependent_rates(breaks=breaks, theta=[theta] * count, var=[7] * count)
        assert found.u == pytest.approx(7 / 40 * g(max(min(y, 700), -1e9)), rel=1e-9, abs=1e-200)
        assert found.w == pytest.approx(7 / 40 * g(max(min(-y, 700), -1e9)), rel=1e-9, abs=1e-200)


def test_a_birth_and_death_chain_agrees():
    breaks, theta, var = np.array([0, 6, 14, 20]), [0.5, -0.1, -0.6], [3.0, 5.0, 8.0]
    n, h = 4000, 20 / 4000
    middle = (np.arange(n) + 0.5) * h
    piece = np.searchsorted(breaks, middle) - 1
    drift, spread = np.take(theta, piece), np.take(var, piece)
    up, down = spread / (2 * h * h) + drift / (2 * h), spread / (2 * h * h) - drift / (2 * h)
    logs = np.concatenate([[0], np.cumsum(np.log(up[:-1]) - np.log(down[1:]))])
    law = np.exp(logs - logs.max())
    law /= law.sum()
    found = state_dependent_rates(breaks=breaks, theta=theta, var=var)
    assert found.u == pytest.approx(down[0] * law[0] * h, rel=2e-3)
    assert found.w == pytest.approx(up[-1] * law[-1] * h, rel=2e-3)


def test_an_endless_store():
    calm = state_dependent_rates(breaks=[0, 5, math.inf], theta=[1.0, -2.0], var=[3.0, 4.0])
    long = state_dependent_rates(breaks=[0, 5, 500], theta=[1.0, -2.0], var=[3.0, 4.0])
    assert calm.u == pytest.approx(long.u, rel=1e-12)
    assert calm.w == 0
    assert calm.u == pytest.approx(-calm.drift)
    grown = state_dependent_rates(breaks=[0, math.inf], theta=[1.0], var=[3.0])
    assert (grown.u, grown.w) == (0, 0)
    assert state_dependent_rates(breaks=[0, math.inf], theta=[-1.0], var=[3.0]).u == 1.0


def test_without_variance():
    short = state_dependent_rates(breaks=[0, 9], theta=[-2.0], var=[0.0], cost=[1.0])
    assert (short.u, short.w, short.running) == (2.0, 0.0, 1.0)
    with pytest.raises(BadInputError, match=r"var\[1\]"):
        state_dependent_rates(breaks=[0, 1, 2], theta=[1, -1], var=[1, 0])


@pytest.mark.parametrize(
    "change",
    [
        {"breaks": [1, 20]},
        {"breaks": [0, 20, 10], "theta": [1, 1], "var": [1, 1]},
        {"breaks": [0]},
        {"breaks": [0, math.nan]},
        {"theta": [1, 2]},
        {"var": [-1]},
        {"var": [math.inf]},
    ],
)
def test_bad_pieces(change):
    with pytest.raises(BadInputError, match=f"^{next(iter(change))}"):
        state_dependent_rates(**{"breaks": [0, 20], "theta": [1], "var": [1], **change})


def test_the_entry_adds_the_prices():
    found = entry(breaks=[0, 20], theta=[0.3], var=[4.0], cost=[2.0], Cu=1.0, Cw=0.5)
    assert found["cost"] == pytest.approx(2 + found["u"] + 0.5 * found["w"])


@pytest.mark.parametrize(("Cu", "Cw"), [(1, 1), (1, 0.1), (2, 0), (0, 2), (1, -0.5), (-0.2, 1)])
@pytest.mark.parametrize(("d", "B"), [(0.3, 20.0), (2.0, 20.0), (1e-7, 3.0)])
def test_two_drifts_are_a_routing_of_two_options(Cu, Cw, d, B):
    pair = RoutingInstance(
        lam=[1.0], mean=[[1.0, 1.0 + 2 * d]], second=[[50.0, 50.0]], Cu=Cu, Cw=Cw, b=1.0 + d
    )
    found = bang_bang_cost(d=d, var=50.0, B=B, Cu=Cu, Cw=Cw)
    assert found == pytest.approx(solve_hjb(pair, B).gam, rel=1e-10, abs=1e-13)


def test_equal_prices_have_the_closed_form_and_switch_in_the_middle():
    assert bang_bang_cost(d=0.3, var=4, B=20) == pytest.approx(0.3 / math.expm1(1.5))
    halves = state_dependent_rates(breaks=[0, 10, 20], theta=[0.3, -0.3], var=[4, 4])
    assert halves.u + halves.w == pytest.approx(0.3 / math.expm1(1.5))


def test_limits_of_two_drifts():
    assert bang_bang_cost(d=0, var=4, B=20, Cu=1, Cw=0.1) == pytest.approx(4 * 1.1 / 40)
    near = bang_bang_cost(d=1e-12, var=4, B=20, Cu=1, Cw=0.1)
    assert near == pytest.approx(4 * 1.1 / 40, rel=1e-9)
    assert bang_bang_cost(d=1e6, var=4, B=20) == 0
    assert bang_bang_cost(d=1, var=4, B=math.inf) == 0
    assert bang_bang_cost(d=0, var=4, B=math.inf) == 0
    assert bang_bang_cost(d=1, var=4, B=math.inf, Cu=-0.2) == -0.2
    assert bang_bang_cost(d=2, var=0, B=5) == 0
    assert bang_bang_cost(d=2, var=0, B=5, Cw=-0.5) == -1
    for name, wrong in [("d", -1), ("var", -1), ("B", 0), ("Cu", math.nan)]:
        with pytest.raises(BadInputError, match=f"^{name}"):
            bang_bang_cost(**{"d": 1, "var": 1, "B": 1, name: wrong})
    with pytest.raises(BadInputError, match="Cu"):
        bang_bang_cost(d=1, var=1, B=1, Cu=1, Cw=-1)
