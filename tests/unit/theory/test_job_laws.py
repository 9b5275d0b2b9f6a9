"""Job laws: moments, caps, transforms, spellings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import gamma as gamma_law

from baseload.base.errors import BadInputError
from baseload.theory.job_laws import job_law, measured_law

SPELLED = [
    "exp", "det", "gamma k=2", "gamma k=0.3", "erlang3", "logn s=1", "lognormal s=1.5 cap=30",
    "uniform", "pareto xi=3.5", "pareto xi=1.5 cap=30", "pareto xi=0.9 cap=30", "hyperexp scv=4",
    "weibull k=0.7", "weibull k=3", "exp cap=2",
]  # fmt: skip


@pytest.mark.parametrize("dist", SPELLED)
def test_moments_and_panels_agree(dist):
    law = job_law(dist, 2.5)
    points, weights = law.points_j, law.weights_j
    assert weights.sum() == pytest.approx(2.5, rel=1e-12)
    assert 2 * weights @ points == pytest.approx(law.second_j2, rel=1e-9)
    if dist != "pareto xi=3.5":  # its third moment is cut off by the range
        assert 3 * weights @ points**2 == pytest.approx(law.third_j3, rel=1e-9)
    assert law.limited(np.array([0.0, 1e9])) == pytest.approx([0.0, 2.5], abs=1e-6)
    excess = law.excess_cdf(np.linspace(0, 10, 50))
    assert np.all(np.diff(excess) >= 0)


@pytest.mark.parametrize("dist", SPELLED)
def test_transforms_at_small_arguments_are_the_moments(dist):
    law = job_law(dist)
    q = 1e-7
    assert law.lack(q) == pytest.approx(q * law.second_j2 / 2, rel=1e-3)
    assert law.lack_of_slope(q) == pytest.approx(q * law.second_j2 / 2, rel=1e-3)
    q = 0.7
    inverse = (1 - law.transform(q)) / q
    assert law.lack(q) == pytest.approx(law.mean_j - inverse, rel=1e-9)
    assert law.lack_of_slope(q) == pytest.approx(inverse - law.transform_tilted_mean(q), rel=1e-9)
    array = np.array([0.7 + 0j])
    assert law.lacks(array)[0] == pytest.approx(law.lack(q))
    assert law.excess_transform(array)[0] == pytest.approx(inverse)


def test_closed_transforms():
    exponential = job_law("exponential", 2.0)
    for q in (-0.4, -0.1, 0.3, 5.0):
        assert exponential.transform(q) == pytest.approx(1 / (1 + 2 * q), rel=1e-11)
        assert exponential.transform_tilted_mean(q) == pytest.approx(2 / (1 + 2 * q) ** 2)
    assert exponential.transform(-0.6) == math.inf
    assert job_law("logn s=1").transform(-1e-6) == math.inf
    assert job_law("det", 3.0).transform(-2.0) == pytest.approx(math.exp(6))
    assert job_law("hyperexp scv=1").second_j2 == pytest.approx(2)


def test_a_cap_keeps_the_mean_and_the_other_parameters():
    law = job_law("pareto xi=1.5 cap=30", 2.0)
    assert law.maximum_j == 60
    assert law.mean_j == pytest.approx(2)
    # E min(X, c) and E min(X, c)^2 of a Pareto law from xm on
    xm = 2.0 - 1e-300
    low, high = 0.1, 2.0
    for _ in range(200):
        xm = (low + high) / 2
        mean = xm * (1 + (1 - math.sqrt(xm / 60)) / 0.5)
        low, high = (xm, high) if mean < 2 else (low, xm)
    second = xm**2 * (1 + 2 * (math.sqrt(60 / xm) - 1) / 0.5)
    assert law.second_j2 == pytest.approx(second, rel=1e-9)
    assert job_law("uniform cap=5").kind == "uniform"


def test_measured_law_follows_the_sample():
    sample = gamma_law.rvs(2.0, size=20_000, random_state=np.random.default_rng(3))
    law = measured_law(sample)
    assert law.mean_j == pytest.approx(sample.mean())
    assert law.third_j3 == pytest.approx(np.mean(sample**3))
    assert law.weights_j.sum() == pytest.approx(sample.mean(), rel=1e-9)
    assert law.transform(0.5) == pytest.approx(np.exp(-0.5 * sample).mean(), rel=1e-4)
    few = measured_law([1.0, 1.0, 4.0, 0.0])
    assert few.limited(np.array([0.5, 1.0, 2.0, 9.0])) == pytest.approx([0.375, 0.75, 1.0, 1.5])
    assert few.transform(-0.3) == pytest.approx(
        (1 + 2 * math.exp(0.3) + math.exp(1.2)) / 4, rel=1e-9
    )


@pytest.mark.parametrize(
    "dist",
    ["", "cauchy", "gamma", "logn s=-1", "pareto xi=2", "pareto xi=0.5", "exp cap=0.5", "exp k=2",
     "gamma k=x", "hyperexp scv=0.5"],
)  # fmt: skip
def test_what_cannot_be_a_law_is_refused(dist):
    with pytest.raises(BadInputError, match="dist"):
        job_law(dist, 1.0)


def test_other_refusals():
    with pytest.raises(BadInputError, match="cap"):
        job_law("pareto xi=1.8")
    with pytest.raises(BadInputError, match="mean"):
        job_law("exp", 0.0)
    for wrong in ([], [0.0], [-1.0, 2.0], [math.nan]):
        with pytest.raises(BadInputError, match="energies_j"):
            measured_law(wrong)


@pytest.mark.parametrize(
    "spelled",
    ["logn s=1.5", "logn:1.5", "logn_s1.5", "logn s1.5", "lognormal(1.5)", "LogN sigma=1.5"],
)
def test_one_law_in_many_spellings(spelled):
    assert job_law(spelled, 2.0).second_j2 == pytest.approx(4 * math.exp(2.25))
