"""The routing problem: checks, masks, ties."""

from __future__ import annotations

import numpy as np
import pytest

from baseload.base.errors import BadInputError
from baseload.theory.routing_instance import (
    CapacityRow,
    RoutingInstance,
    check_prices,
    deterministic_routings,
)

from .routing_cases import padded, reference

SMALL = {"lam": [1.0], "mean": [[1.0, 2.0]], "second": [[2.0, 8.0]]}


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("lam", {"lam": [-1.0]}),
        ("lam", {"lam": [float("nan")]}),
        ("mean", {"mean": [[1.0, -2.0]]}),
        ("mean", {"mean": [[1.0, float("inf")]]}),
        ("mean", {"mean": [1.0, 2.0]}),
        ("mean", {"mean": [[1.0, 2.0], [1.0, 2.0]]}),
        ("second", {"second": [[0.5, 8.0]]}),
        ("second", {"second": [[2.0, float("inf")]]}),
        ("other_cost", {"other_cost": [[1.0]]}),
        ("other_cost", {"other_cost": [[1.0, float("nan")]]}),
        ("available", {"available": [[False, False]]}),
        ("Cu + Cw", {"Cu": 1.0, "Cw": -1.0}),
        ("v0", {"v0": -1.0}),
        ("b", {"b": float("inf")}),
        ("arrival_scv", {"arrival_scv": -0.1}),
        ("fail", {"fail": [[0.5, 1.5]]}),
        ("fail_limit", {"fail_limit": 0.1}),
        ("capacity of gpu", {"rows": (CapacityRow(name="gpu", work=[[1, 1]], capacity=np.nan),)}),
    ],
)
def test_bad_input_names_the_field(field, change):
    with pytest.raises(BadInputError, match=f"(?s)^{field.replace('+', '[+]')}"):
        RoutingInstance(**{**SMALL, **change})


def test_a_class_with_arrivals_needs_an_option():
    with pytest.raises(BadInputError, match=r"available\[1\]"):
        RoutingInstance(
            lam=[1, 1], mean=np.ones((2, 2)), second=np.ones((2, 2)), available=[[1, 1], [0, 0]]
        )


def test_masked_cells_are_not_looked_at_and_never_chosen():
    plain, wide = reference(), padded(reference())
    scores = np.where(np.isfinite(wide.other_cost), wide.other_cost, -1e9)
    assert list(wide.cheapest(scores)[:3]) == list(plain.cheapest(plain.other_cost))
    shares = np.where(wide.available, 1 / 3, 5.0)
    assert wide.rates(shares) == pytest.approx(plain.rates(np.full(plain.shape, 1 / 3)))


def test_an_infinite_cost_closes_an_option():
    closed = RoutingInstance(**SMALL, other_cost=[[float("inf"), 1.0]])
    assert closed.available.tolist() == [[False, True]]


def test_models_and_efforts_are_flattened():
    cube = RoutingInstance(lam=[1.0], mean=np.ones((1, 2, 3)), second=np.ones((1, 2, 3)))
    assert cube.shape == (1, 6)


def test_equal_scores_go_to_the_smaller_mean_then_second_then_the_first():
    tie = RoutingInstance(
        lam=[1, 1, 1],
        mean=[[2, 1, 3], [1, 1, 1], [1, 1, 1]],
        second=[[9, 9, 9], [3, 2, 2], [2, 2, 2]],
    )
    assert tie.cheapest(np.zeros((3, 3))).tolist() == [1, 1, 0]
    assert tie.cheapest(np.zeros((4, 3, 3))).shape == (4, 3)


def test_renewal_arrivals_add_to_the_variance_and_can_be_counted_as_given():
    bursty = reference(arrival_scv=3.0)
    shares = bursty.shares_of([0, 0, 0])
    mean, variance, _ = bursty.rates(shares)
    assert variance == pytest.approx(reference().rates(shares).variance + 2 * mean**2)
    assert bursty.as_poisson(mean).rates(shares).variance == pytest.approx(variance)
    with pytest.raises(BadInputError, match="arrival_scv"):
        reference(arrival_scv=0.5).as_poisson(3.0)


def test_all_deterministic_routings():
    assert len(deterministic_routings(reference())) == 27
    with pytest.raises(BadInputError, match="routings"):
        deterministic_routings(reference(), most=26)


def test_prices():
    check_prices(0.0, 0.1)
    with pytest.raises(BadInputError, match="Cu"):
        check_prices(0.0, 0.0)
