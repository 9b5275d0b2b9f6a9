"""The search along the price of mean energy, against the linear program that it replaces."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.theory.pinned_mean import least_at_mean, mean_range
from baseload.theory.routing_instance import RoutingInstance
from baseload.theory.routing_polytope import MEAN_DEMAND, Polytope

from .routing_cases import padded, random_instance, reference


def total(instance, shares, table):
    return float(np.sum(instance.lam[:, None] * shares * np.where(instance.available, table, 0.0)))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    classes=st.integers(1, 6),
    options=st.integers(1, 5),
    place=st.floats(0.0, 1.0),
    wide=st.booleans(),
)
def test_it_equals_the_linear_program(seed, classes, options, place, wide):
    instance = random_instance(seed, classes, options)
    prices = np.random.default_rng(seed).normal(size=(classes, options))
    if wide:
        instance = padded(instance)
        prices = np.pad(prices, ((0, 1), (0, 2)), constant_values=-9.0)
    low, high = mean_range(instance)
    target = low + place * (high - low)
    found = least_at_mean(instance, prices, target)
    least = Polytope(instance, target).program(prices)
    size = np.abs(prices).max() * instance.lam.sum()
    assert total(instance, found.shares, prices) == pytest.approx(least.objective, abs=1e-9 * size)
    assert instance.rates(found.shares).mean == pytest.approx(target, rel=1e-12)
    assert np.all(found.shares >= 0)
    assert found.shares[instance.lam > 0].sum(axis=1) == pytest.approx(1.0)
    assert np.sum((found.shares > 0).sum(axis=1) > 1) <= 1


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), place=st.floats(0.0, 1.0))
def test_the_price_supports_the_least_cost_from_below(seed, place):
    """At every other mean the cost is at least that on the tangent."""
    instance = random_instance(seed, 4, 4)
    low, high = mean_range(instance)
    target = low + place * (high - low)
    here = least_at_mean(instance, instance.second, target)
    cost = total(instance, here.shares, instance.second)
    for mean in np.linspace(low, high, 7):
        other = least_at_mean(instance, instance.second, float(mean))
        there = total(instance, other.shares, instance.second)
        assert there >= cost + here.mean_price * (mean - target) - 1e-9 * there


def test_options_that_are_alike_do_not_stop_it():
    twins = RoutingInstance(lam=[1.0, 1.0], mean=[[1, 1, 3, 3], [1, 2, 3, 3]], second=[[9] * 4] * 2)
    prices = np.array([[1.0, 1.0, 0.0, 0.0], [2.0, 1.0, 0.0, 0.0]])
    found = least_at_mean(twins, prices, 4.0)
    assert total(twins, found.shares, prices) == pytest.approx(1.0)
    assert found.shares[:, [1, 3]].sum() == pytest.approx(0.0) or found.shares[1, 1] > 0
    assert twins.rates(found.shares).mean == pytest.approx(4.0)


def test_ends_and_what_lies_beyond():
    instance = reference()
    low, high = mean_range(instance)
    assert (low, high) == pytest.approx((2.1, 5.9))
    end = least_at_mean(instance, instance.second, low * (1 - 1e-12))
    assert (end.shares > 0).sum() == 3
    assert least_at_mean(instance, instance.second, low * 0.999) is None
    beyond = Polytope(instance, 9.0).best(instance.second)
    assert beyond.shares is None
    assert beyond.breach == pytest.approx((MEAN_DEMAND, 9.0, high))
    under = Polytope(instance, 1.0).best(instance.second)
    assert under.breach.possible == pytest.approx(low)


def test_one_option_only_has_one_mean():
    one = RoutingInstance(lam=[1, 2], mean=[[1], [2]], second=[[2], [5]])
    found = least_at_mean(one, one.second, 5.0)
    assert found.shares.tolist() == [[1.0], [1.0]]
    assert found.mean_price == 0.0


def test_a_thousand_classes_of_fifty_options_take_hundredths_of_a_second():
    instance = random_instance(1, 1000, 50)
    started = time.process_time()
    assert least_at_mean(instance, instance.second, instance.b) is not None
    assert time.process_time() - started < 0.5
