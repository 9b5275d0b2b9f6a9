from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.linalg import expm

from baseload.base.errors import BadInputError
from baseload.supply.variance_rates import (
    ar1_variance_rate,
    markov_variance_rate,
    ou_variance_rate,
    periodic_ar1_variance_rate,
)


def test_closed_forms_of_textbooks():
    assert ou_variance_rate(variance_w2=3.0, time_s=5.0) == 30.0
    assert ar1_variance_rate(variance_j2=2.0, coefficient=0.5, slot_s=10.0) == pytest.approx(0.6)
    assert ar1_variance_rate(variance_j2=2.0, coefficient=-0.5, slot_s=1.0) == pytest.approx(2 / 3)


def test_two_states_have_a_formula_of_their_own():
    q12, q21, r1, r2 = 0.3, 0.7, 5.0, -1.0
    p1, p2 = q21 / (q12 + q21), q12 / (q12 + q21)
    expected = 2 * p1 * p2 * (r1 - r2) ** 2 / (q12 + q21)
    chain = [[-q12, q12], [q21, -q21]]
    assert markov_variance_rate(power_w=[r1, r2], generator=chain) == pytest.approx(expected)


@pytest.mark.parametrize("speed", [1e-6, 1.0, 1e6])
def test_a_chain_against_its_integrated_autocovariance(speed):
    chain = np.array([[-0.5, 0.2, 0.3], [0.1, -0.4, 0.3], [0.6, 0.0, -0.6]]) * speed
    power = np.array([0.0, 4.0, 10.0])
    steps, width = 4_000, 0.01 / speed
    move = expm(chain * width)
    shares = np.linalg.matrix_power(expm(chain * 100 / speed), 100)[0]
    centred = power - shares @ power
    covariances, after = [], centred.copy()
    for _ in range(steps):
        covariances.append(float((shares * centred) @ after))
        after = move @ after
    expected = 2 * trapezoid(covariances, dx=width)
    assert markov_variance_rate(power_w=power, generator=chain) == pytest.approx(expected, rel=1e-4)


def test_a_profile_without_shape_changes_nothing():
    for f in (-0.4, 0.0, 0.8):
        flat = periodic_ar1_variance_rate(
            profile_j=[2.0] * 6, variance=0.5, coefficient=f, slot_s=3.0
        )
        plain = ar1_variance_rate(variance_j2=0.5 * 4, coefficient=f, slot_s=3.0)
        assert flat == pytest.approx(plain)


def test_a_profile_sums_all_lags():
    profile, f = np.array([0.0, 1.0, 4.0]), 0.7
    lags = np.arange(-300, 301)
    expected = sum(
        profile[i] * profile[(i + lag) % 3] * f ** abs(lag) for i in range(3) for lag in lags
    )
    found = periodic_ar1_variance_rate(profile_j=profile, variance=2.0, coefficient=f, slot_s=5.0)
    assert found == pytest.approx(2.0 * expected / 3 / 5)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("coefficient", lambda: ar1_variance_rate(variance_j2=1.0, coefficient=1.0, slot_s=1.0)),
        ("slot_s", lambda: ar1_variance_rate(variance_j2=1.0, coefficient=0.0, slot_s=0.0)),
        ("variance_w2", lambda: ou_variance_rate(variance_w2=-1.0, time_s=1.0)),
        (
            "generator",
            lambda: markov_variance_rate(power_w=[1.0, 2.0], generator=[[0.0, 0.0], [1.0, -1.0]]),
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(field, wrong):
    with pytest.raises(BadInputError, match=field):
        wrong()
