"""Regime labels, mean demand, critical supply and the square-root rule."""

from __future__ import annotations

import math

import pytest

from baseload.base.errors import BadInputError
from baseload.theory.regime import (
    critical_supply_w,
    label_of,
    mean_demand_w,
    regime,
    square_root_scaling,
)
from baseload.theory.two_sided import two_sided_rates


@pytest.mark.parametrize(
    ("index", "label"),
    [(0, "critical"), (1, "critical"), (-1, "critical"), (1.01, "near-critical"),
     (-3, "near-critical"), (3.01, "over-supplied"), (-3.01, "under-supplied"),
     (math.inf, "over-supplied")],
)  # fmt: skip
def test_cuts(index, label):
    assert label_of(index) == label


def test_index_of_a_store_and_of_a_horizon():
    assert regime(0.5, 4.0, B=100.0).index == 25
    assert regime(0.5, 4.0, B=math.inf, T=16.0).index == 1
    assert regime(0.5, 4.0, T=16.0).label == "critical"
    assert regime(-0.5, 0.0, B=10.0).label == "under-supplied"
    assert regime(0.0, 0.0, T=1.0).index == 0
    for wrong in ({}, {"B": math.inf}, {"B": 0.0}):
        with pytest.raises(BadInputError, match="T"):
            regime(0.5, 4.0, **wrong)


def test_demand_and_critical_supply():
    assert mean_demand_w([1.0, 2.0], [3.0, 5.0]) == 13
    routed = mean_demand_w([1.0, 2.0], [[2.0, 4.0], [5.0, 7.0]], p=[[0.5, 0.5], [1.0, 0.0]])
    assert routed == 13
    assert critical_supply_w(13.0) == 13
    assert critical_supply_w(13.0, leak_per_s=0.01, B=100.0) == 13.5
    with pytest.raises(BadInputError, match="p"):
        mean_demand_w([1.0], [[1.0, 1.0]], p=[[0.5, 0.4]])


def test_randomness_costs_the_root_of_the_traffic():
    one = square_root_scaling(1, demand_w=10.0, var=3.0, beta_per_root_s=0.2, B=5.0)
    many = square_root_scaling(100, demand_w=10.0, var=3.0, beta_per_root_s=0.2, B=5.0)
    assert many.b_w == pytest.approx(1000 + 10 * 0.2 * math.sqrt(3))
    small, large = (two_sided_rates(s.theta, s.var, s.B).u_w for s in (one, many))
    assert large == pytest.approx(10 * small)
