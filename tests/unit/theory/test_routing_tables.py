"""Scores by level, and prices without a solver."""

from __future__ import annotations

import math
import time

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from baseload.base.errors import BadInputError
from baseload.theory.dynamic_routing import prices_at, solve_hjb
from baseload.theory.job_cells import JobCells, quantile_laws
from baseload.theory.routing_instance import RoutingInstance
from baseload.theory.routing_tables import (
    full_jump_tables,
    horizon_prices,
    rollout_prices,
    taylor_tables,
)
from baseload.theory.store_cost import static_index_prices

from .routing_cases import padded, random_instance, reference


def tables(instance, B, nodes=65, laws=None):
    found = solve_hjb(instance, B)
    level = np.linspace(0, B, nodes)
    prices = prices_at(found, level)
    laws = quantile_laws(instance.mean, instance.second) if laws is None else laws
    jumps = full_jump_tables(instance, laws, level=level, worth=lambda s: prices_at(found, s).value)
    taylor = taylor_tables(instance, level=level, lamS=prices.lamS, om=prices.om)
    return found, jumps, taylor


def test_small_jobs_make_both_scores_equal():
    small = random_instance(2)
    tiny = msgspec.structs.replace(
        small,
        mean=small.mean / 1e3,
        second=small.second / 1e6,
        other_cost=small.other_cost / 1e3,
        b=small.b / 1e3,
    )
    _, jumps, taylor = tables(tiny, 1.0)
    inner = slice(8, -8)  # of 65 levels: an empty store has a kink in its price
    assert jumps.score[..., inner] == pytest.approx(taylor.score[..., inner], rel=2e-3)


def test_full_jump_scores_are_the_mean_fall_of_worth():
    instance = reference()
    found, jumps, _ = tables(instance, 20.0, nodes=5)
    mean, second = 5.0, 45.0
    spread = math.log(second / mean**2)
    start = math.log(mean) - spread / 2

    def fall(z):
        x = math.exp(start + math.sqrt(spread) * z)
        before, after = prices_at(found, [10.0, 10.0 - x]).value
        return (before - after) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    exact = quad(fall, -8, 8, limit=200)[0] + 5 * 0.4
    assert jumps.score[2, 1, 2] == pytest.approx(exact, rel=1e-3)


def test_overdraw_costs_the_auxiliary_price():
    sure = JobCells(reference().mean[..., None], np.ones((3, 3, 1)))
    found, jumps, _ = tables(reference(), 4.0, laws=sure)
    assert jumps.score[2, 2, 0] == pytest.approx(8.0 + 5 * 0.15)
    assert jumps.score[2, 2, -1] == pytest.approx(float(prices_at(found, 4.0).value) + 4.0 + 0.75)


def test_padding_never_wins():
    instance = padded(reference())
    _, jumps, taylor = tables(instance, 20.0)
    for one in (jumps, taylor):
        assert np.all(np.isinf(one.score[:3, 3:]))
        assert one.choice[:, :3].max() <= 2
    _, plain, _ = tables(reference(), 20.0)
    assert np.array_equal(jumps.choice[:, :3], plain.choice)


def test_equal_scores_go_to_the_smaller_mean():
    twins = RoutingInstance(lam=[1.0], mean=[[2.0, 1.0]], second=[[5.0, 5.0]], b=1.0)
    found = taylor_tables(twins, level=[0.0, 1.0], lamS=[0.0, 0.0], om=[1.0, 0.0])
    assert found.choice.ravel().tolist() == [1, 1]


def test_clumped_arrivals_add_their_part_and_ask_for_what_they_need():
    bursty = reference(arrival_scv=3.0)
    plain = taylor_tables(reference(), level=[0.0], lamS=[0.5], om=[0.2])
    found = taylor_tables(bursty, level=[0.0], lamS=[0.5], om=[0.2], mean_job=2.5)
    assert found.score - plain.score == pytest.approx(0.2 * 2 * 2.5 * bursty.mean[..., None])
    laws = quantile_laws(bursty.mean, bursty.second)
    jumps = full_jump_tables(bursty, laws, level=[0.0], worth=lambda s: s, om=[0.2], mean_job=2.5)
    assert jumps.score == pytest.approx(
        bursty.mean[..., None] * (1 + 0.2 * 2 * 2.5) + bursty.other_cost[..., None], rel=1e-6
    )
    with pytest.raises(BadInputError, match="mean_job"):
        taylor_tables(bursty, level=[0.0], lamS=[0.5], om=[0.2])
    with pytest.raises(BadInputError, match=r"^om"):
        full_jump_tables(bursty, laws, level=[0.0], worth=lambda s: s)
    with pytest.raises(BadInputError, match=r"^laws"):
        full_jump_tables(
            bursty, JobCells(np.ones((1, 1, 1)), np.ones((1, 1, 1))), level=[0.0], worth=lambda s: s
        )


@given(y=st.one_of(st.floats(-30, 30), st.floats(-1e6, 1e6)), x=st.floats(0, 1))
def test_rollout_prices_fall_from_one_end_to_the_other(y, x):
    theta, var, B = y * 4 / 20, 4.0, 10.0
    ends = rollout_prices(S=[0, B], theta=theta, var=var, B=B, Cu=1.0, Cw=0.2)
    assert ends.lamS[0] == pytest.approx(1.0)
    assert ends.lamS[1] == pytest.approx(-0.2)
    found = rollout_prices(S=[0.999 * x * B, x * B], theta=theta, var=var, B=B, Cu=1.0, Cw=0.2)
    assert found.lamS[0] >= found.lamS[1] - 1e-12
    assert np.all(np.isfinite(found.om))
    assert np.all(found.om >= 0)
    # mean-one law: the mean price over the stationary law is the price of the static index
    if abs(y) < 20:
        rate = 2 * theta / var
        mass = quad(lambda s: math.exp(rate * s), 0, B)[0]
        price = quad(
            lambda s: (
                math.exp(rate * s)
                * float(rollout_prices(S=s, theta=theta, var=var, B=B, Cu=1.0, Cw=0.2).lamS)
            ),
            0,
            B,
        )[0]
        expected = static_index_prices(theta, var, B, 1.0, 0.2).mean_price
        assert price / mass == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("theta", [-0.7, -1e-13, 0.0, 1e-13, 0.7, -9.0, 9.0, 60.0, -60.0])
def test_rollout_steepness_and_worth_are_slope_and_integral(theta):
    level = np.linspace(0, 20, 200_001)
    found = rollout_prices(S=level, theta=theta, var=4.0, B=20.0, Cu=1.0, Cw=0.2)
    slope = -np.gradient(found.lamS, level)
    np.testing.assert_allclose(slope[1:-1], found.om[1:-1], rtol=1e-4, atol=1e-6)
    grown = np.cumsum(0.5 * (found.lamS[1:] + found.lamS[:-1]) * np.diff(level))
    np.testing.assert_allclose(found.value[1:], grown, atol=1e-5)


@pytest.mark.parametrize("cut", [1e-12, 1e-6, 30.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_rollout_is_continuous_across_its_branches(cut, sign):
    sides = [
        rollout_prices(S=[1.0, 5.0, 9.0], theta=sign * cut * f / 20, var=1.0, B=10.0, Cw=0.1)
        for f in (1 - 1e-9, 1 + 1e-9)
    ]
    for one, other in zip(*sides, strict=True):
        assert one == pytest.approx(other, abs=1e-8)


def test_rollout_limits():
    far = rollout_prices(S=[-1.0, 0.0, 5.0, 10.0, 12.0], theta=1.0, var=0.0, B=10.0, Cw=0.1)
    assert far.lamS.tolist() == pytest.approx([1.0, 1.0, -0.1, -0.1, -0.1])
    dry = rollout_prices(S=[0.0, 5.0, 10.0], theta=-1.0, var=0.0, B=10.0, Cw=0.1)
    assert dry.lamS.tolist() == pytest.approx([1.0, 1.0, -0.1])
    for name, wrong in [("B", math.inf), ("B", 0), ("var", -1), ("theta", math.nan)]:
        with pytest.raises(BadInputError, match=f"^{name}"):
            rollout_prices(**{"S": 1.0, "theta": 0.1, "var": 1.0, "B": 10.0, name: wrong})


@pytest.mark.parametrize("theta", [-2.0, -0.3, 0.0, 0.3, 2.0])
@pytest.mark.parametrize("T", [0.5, 30.0, 2000.0])
def test_horizon_steepness_is_the_slope(theta, T):
    level = np.linspace(0.01, 30, 30_001)
    found = horizon_prices(S=level, theta=theta, var=4.0, T=T, Cu=2.0)
    assert np.all(np.diff(found.lamS) <= 1e-12)
    slope = -np.gradient(found.lamS, level)
    np.testing.assert_allclose(slope[1:-1], found.om[1:-1], rtol=1e-4, atol=1e-6)
    assert horizon_prices(S=0.0, theta=theta, var=4.0, T=T, Cu=2.0).lamS == pytest.approx(2.0)


def test_horizon_limits():
    endless = horizon_prices(S=[0.0, 3.0], theta=0.5, var=4.0, T=math.inf)
    long = horizon_prices(S=[0.0, 3.0], theta=0.5, var=4.0, T=1e7)
    assert endless.lamS == pytest.approx(long.lamS, rel=1e-9)
    assert endless.om == pytest.approx(long.om, rel=1e-9)
    assert endless.lamS[1] == pytest.approx(math.exp(-0.75))
    assert horizon_prices(S=3.0, theta=-0.5, var=4.0, T=math.inf).lamS == 1.0
    assert horizon_prices(S=[0.0, 3.0], theta=1.0, var=4.0, T=0.0).lamS.tolist() == [1.0, 0.0]
    steep = horizon_prices(S=[0.0, 1e-3, 1.0], theta=1e6, var=4.0, T=1e6)
    assert np.all(np.isfinite(steep.om))
    sides = [horizon_prices(S=4.0, theta=t, var=4.0, T=4.0) for t in (3.5 - 1e-12, 3.5 + 1e-12)]
    assert sides[0].om == pytest.approx(sides[1].om, abs=1e-9)  # high = -5 is a branch
    with pytest.raises(BadInputError, match=r"^var"):
        horizon_prices(S=1.0, theta=0.0, var=0.0, T=1.0)


def test_twenty_classes_of_twelve_options_on_512_levels_are_quick():
    instance = random_instance(3, 20, 12)
    started = time.perf_counter()
    found = solve_hjb(instance, 20.0)
    laws = quantile_laws(instance.mean, instance.second)
    full_jump_tables(
        instance, laws, level=np.linspace(0, 20, 512), worth=lambda s: prices_at(found, s).value
    )
    assert time.perf_counter() - started < 1.0
