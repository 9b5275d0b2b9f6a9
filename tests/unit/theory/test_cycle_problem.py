"""Problems over a cycle: what is refused, and what arrays become."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from baseload.base.errors import BadInputError
from baseload.theory.cycle_problem import NOISE_POINTS, model_of, normal_points

from .cycle_cases import day


def test_what_holds_in_every_slot_may_be_one_number():
    problem = day(Cu=1.0, v0=2.0)
    assert problem.shape == (24, 3, 3)
    assert problem.cycle_s == 86400.0
    assert problem.lam.shape == (24, 3)
    assert problem.Cu.tolist() == [1.0] * 24
    assert problem.v0.tolist() == [2.0] * 24
    assert problem.Cw.tolist() == [0.0] * 24
    with pytest.raises(ValueError, match="read-only"):
        problem.lam[0, 0] = 1.0


def test_noise_has_mean_0_variance_1_and_nearly_kurtosis_3():
    model = model_of(day(), 17)
    moments = [float(model.weights @ model.points**n) for n in range(5)]
    assert len(model.points) == NOISE_POINTS
    assert moments[:4] == pytest.approx([1, 0, 1, 0], abs=1e-12)
    assert moments[4] == pytest.approx(3.0, abs=0.15)


@pytest.mark.parametrize("points", [7, NOISE_POINTS, 17, 33])
def test_the_error_at_a_kink_falls_with_the_square_of_the_step(points):
    """A Gauss rule of five points was off by 0.066 here; its error falls as 1 / points only."""
    z, weights = normal_points(points)
    kink = np.linspace(-3.0, 3.0, 601)
    exact = norm.pdf(kink) - kink * norm.sf(kink)
    error = np.maximum(z - kink[:, None], 0.0) @ weights - exact
    step = z[1] - z[0]
    assert np.abs(error).max() < 1.1 * norm.pdf(0.0) * step**2 / 12 + 2e-3
    assert np.abs(error).max() < 0.022 or points < NOISE_POINTS


def test_options_are_sorted_for_ties_and_masked():
    problem = day(
        other_cost=[[1.0, np.inf, 1.0]] * 3,
        mean=[[5.0, np.nan, 3.0]] * 3,
        second=[[25.0, -1.0, 9.0]] * 3,
    )
    assert problem.order().tolist() == [[2, 0, 1]] * 3
    assert problem.mean[0].tolist() == [5.0, 0.0, 3.0]
    assert problem.other_cost[0].tolist() == [1.0, np.inf, 1.0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slot_s": 0.0}, "slot_s"),
        ({"b": []}, "b"),
        ({"b": [[1.0]]}, "b"),
        ({"b": [np.nan] * 24}, r"b\[0\]"),
        ({"lam": [-1.0, 0.0, 0.0]}, "lam"),
        ({"lam": np.ones((23, 3))}, "lam"),
        ({"second": np.zeros((3, 3))}, "second"),
        ({"other_cost": np.full((3, 3), np.inf)}, "available"),
        ({"v0": -1.0}, "v0"),
        ({"v0": np.ones(3)}, "v0"),
        ({"Cw": -1.0}, r"Cu . Cw of slot 0"),
        ({"Cw": [-1.0 if h == 5 else 0.0 for h in range(24)]}, r"Cu . Cw of slot 5"),
        ({"Cu": np.inf}, "Cu"),
        ({"B": 0.0}, "B"),
        ({"B": np.inf}, "B"),
        ({"eta_c": 0.0}, "eta_c"),
        ({"eta_d": 1.1}, "eta_d"),
        ({"P_c": -1.0}, "P_c"),
        ({"P_d": np.nan}, "P_d"),
    ],
)
def test_bad_input(change, field):
    with pytest.raises(BadInputError, match=rf"^{field}"):
        day(**change)


def test_levels_need_three_nodes():
    with pytest.raises(BadInputError, match=r"^nodes"):
        day().levels(2)
