"""The energy position: what it may be, what promises do to it, how prices are read from it."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.kernels import plain
from baseload.routing import pick as picking
from baseload.routing.position import (
    AT_S,
    CAPACITY_J,
    DRIFT_W,
    LEVEL_J,
    NODES,
    PROMISED_J,
    joule_prices,
    no_joule_prices,
    position_j,
    price_joules,
    promise,
)
from baseload.routing.price import OPTION, request_row

finite = st.floats(-1e9, 1e9)


def row(code=0, now_s=0.0, prompt=10.0):
    return request_row(input_tokens=prompt, output_tokens=20.0, class_code=code, now_s=now_s)[0]


def random_prices(seed, *, classes=3, options=4, store_j=1000.0):
    rng = np.random.default_rng(seed)
    prices = joule_prices((classes, options), store_j)
    prices.factor[:] = rng.normal(1.0, 2.0, prices.factor.shape)
    prices.joules[:] = rng.uniform(0.0, 300.0, prices.joules.shape)
    prices.position[[LEVEL_J, DRIFT_W, AT_S]] = rng.uniform(-200, 1200), rng.normal(0, 50), 5.0
    table = np.zeros((classes, options), dtype=OPTION).view(np.recarray)
    return rng, prices, table


@given(level=finite, drift=finite, at=st.floats(0, 1e6), later=st.floats(0, 1e6))
def test_the_position_never_leaves_the_store(level, drift, at, later):
    position = np.array([level, drift, at, 500.0, 0.0])
    found = position_j(position, at + later)
    assert 0.0 <= found <= 500.0
    assert found == plain(position_j)(position, at + later)
    moved = level + drift * (at + later - at)
    if 0.0 <= moved <= 500.0:
        assert found == pytest.approx(moved, abs=1e-6 * max(1.0, abs(level), abs(drift * later)))


@pytest.mark.parametrize("seed", range(20))
def test_kernels_equal_their_plain_twins(seed):
    rng, prices, table = random_prices(seed)
    twin, other = copy.deepcopy(prices), table.copy().view(np.recarray)
    for _ in range(30):
        request = row(int(rng.integers(3)), float(rng.uniform(0, 40)), float(rng.integers(1, 99)))
        number = int(rng.integers(4))
        price_joules(prices, table, request)
        plain(price_joules)(twin, other, request)
        promise(prices, table, request, number)
        plain(promise)(twin, other, request, number)
        assert table.tobytes() == other.tobytes()
        assert all(a.tobytes() == b.tobytes() for a, b in zip(prices, twin, strict=True))


def test_a_promise_takes_its_joules_and_nothing_else():
    _, prices, table = random_prices(1)
    before = copy.deepcopy(prices)
    promise(prices, table, row(2, prompt=7.0), 1)
    joules = before.joules[2, 1]
    assert prices.position[LEVEL_J] == before.position[LEVEL_J] - joules
    assert prices.position[PROMISED_J] == before.position[PROMISED_J] + joules
    assert prices.taken.sum() == prices.taken[2, 1] == 1.0
    assert prices.prompts.tolist() == [0.0, 0.0, 7.0]
    kept = [DRIFT_W, AT_S, CAPACITY_J]
    assert (prices.position[kept] == before.position[kept]).all()


@given(level=st.floats(0, 1000), seed=st.integers(0, 5))
def test_a_price_is_read_between_the_nodes(level, seed):
    _, prices, table = random_prices(seed)
    prices.position[[LEVEL_J, DRIFT_W]] = level, 0.0
    price_joules(prices, table, row(1))
    nodes = np.linspace(0.0, 1000.0, NODES)
    expected = [np.interp(level, nodes, factor) for factor in prices.factor[1]]
    assert np.allclose(table.joule_factor[1], expected, rtol=1e-9, atol=1e-9)
    assert (table.joule_factor[[0, 2]] == 0.0).all()  # no other class is touched


def test_both_ends_of_a_table_are_read_as_they_are():
    _, prices, table = random_prices(3)
    for level, node in ((-1e12, 0), (0.0, 0), (1000.0, -1), (1e12, -1)):
        prices.position[[LEVEL_J, DRIFT_W]] = level, 0.0
        price_joules(prices, table, row())
        assert table.joule_factor[0].tolist() == pytest.approx(prices.factor[0, :, node])


def test_a_store_of_nothing_is_read_at_its_first_node():
    prices, table = joule_prices((1, 2), 0.0), np.zeros((1, 2), dtype=OPTION).view(np.recarray)
    prices.factor[0, :, 0] = 0.25, -1.0
    prices.position[LEVEL_J] = math.inf
    price_joules(prices, table, row())
    assert table.joule_factor.tolist() == [[0.25, -1.0]]


@pytest.mark.parametrize("seed", range(12))
def test_tables_of_no_nodes_leave_the_pick_as_it_was(seed, drawn):
    """A policy that does not look decides as the rule by itself does, to the bit."""
    made = drawn(seed)
    from baseload.routing.policies import POLICIES

    names = sorted(POLICIES)
    for number in range(20):
        policy = POLICIES[names[(seed * 20 + number) % len(names)]]
        state = policy.state(made.state, seed=seed, options=made.options(), tiers=2)
        assert state.joules.factor.shape == (1, 1, 0)
        twin, request = copy.deepcopy(state), made.request()
        assert picking.pick(made.state, state, request) == picking._decide(
            made.state, twin, request, False
        )
        for one, two in zip(state, twin, strict=True):
            if isinstance(one, np.ndarray):
                assert one.tobytes() == two.tobytes()
    assert no_joule_prices().factor.size == 0
