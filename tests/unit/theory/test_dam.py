"""The exact dam: closed forms, an independent inversion, the two poles, and its laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.theory import dam
from baseload.theory.dam import dam_rates, renewal_scale, two_pole_rates
from baseload.theory.job_laws import job_law, measured_law
from baseload.theory.laplace import euler

LAWS = ["exp", "det", "gamma k=2", "logn s=1", "logn s=1.5 cap=30", "uniform", "hyperexp scv=4"]


@settings(deadline=None, max_examples=60)
@given(b=st.floats(0.3, 3), B=st.floats(0.1, 60), dist=st.sampled_from(["exp", "det", "gamma k=2"]))
def test_waste_less_auxiliary_is_the_drift(b, B, dist):
    rates = dam_rates(1.0, job_law(dist), b=b, B=B)
    assert rates.w_w - rates.u_w == pytest.approx(b - 1, abs=1e-12)
    assert 0 <= rates.u_w <= 1 + 1e-12


@pytest.mark.parametrize("dist", LAWS)
def test_a_larger_store_and_more_supply_need_less(dist):
    law = job_law(dist)
    by_size = [dam_rates(1.0, law, b=1.1, B=B).u_w for B in (0.1, 1.0, 5.0, 30.0)]
    assert by_size == sorted(by_size, reverse=True)
    by_supply = [dam_rates(1.0, law, b=b, B=5.0).u_w for b in (0.5, 0.9, 1.0, 1.1, 2.0)]
    assert by_supply == sorted(by_supply, reverse=True)


@pytest.mark.parametrize("dist", ["exp", "gamma k=2", "logn s=1", "logn s=1.5", "pareto xi=2.5"])
@pytest.mark.parametrize("b", [0.9, 1.0, 1.2])
@pytest.mark.parametrize("B", [0.3, 4.0, 25.0])
def test_against_the_transform_of_the_scale_function(dist, b, B):
    law = job_law(dist)
    grow = 0.0
    if b < 1:
        grow = 2 * abs(b - 1) / law.second_j2 * 2

    def transform(q):
        shifted = q + grow
        return b / (shifted * (b - law.excess_transform(shifted)))

    waste = b / (euler(transform, B) * math.exp(grow * B))
    rates = dam_rates(1.0, law, b=b, B=B)
    assert rates.w_w == pytest.approx(waste, rel=2e-5)


@pytest.mark.parametrize("b", [0.8, 0.999, 1.0, 1.001, 1.3])
@pytest.mark.parametrize("B", [0.5, 5.0, 40.0])
def test_exponential_jobs_in_closed_form_by_recursion_and_by_poles(b, B):
    law = job_law("exp")
    exact = dam_rates(1.0, law, b=b, B=B)
    poles = two_pole_rates(1.0, law, b=b, B=B)
    assert poles.u_w == pytest.approx(exact.u_w, rel=1e-9)
    recursion = dam._renewal_rates(1.0, law, b=b, B=B)
    assert recursion.u_w == pytest.approx(exact.u_w, rel=1e-7)
    assert dam_rates(1.0, law, b=1.0, B=B).u_w == pytest.approx(1 / (B + 1), rel=1e-12)


@pytest.mark.parametrize("dist", ["det", "gamma k=2", "uniform", "hyperexp scv=4"])
@pytest.mark.parametrize("b", [0.8, 1.0, 1.2])
def test_two_poles_are_close_from_ten_jobs_on(dist, b):
    law = job_law(dist)
    exact = dam_rates(1.0, law, b=b, B=11.0)
    assert two_pole_rates(1.0, law, b=b, B=11.0).u_w == pytest.approx(exact.u_w, rel=5e-4)


@pytest.mark.parametrize("dist", ["exp", "det", "gamma k=2", "logn s=1 cap=20"])
@pytest.mark.parametrize("size", [1e-13, 1e-12, 1e-10, 1e-7, -1e-13, -1e-12, -1e-10, -1e-7])
def test_poles_stay_exact_near_critical_supply(dist, size):
    law = job_law(dist)
    critical = two_pole_rates(1.0, law, b=1.0, B=30.0).u_w
    near = two_pole_rates(1.0, law, b=1.0 + size, B=30.0).u_w
    assert near == pytest.approx(critical - size / 2, rel=3 * abs(size) + 1e-11)


def test_no_step_at_the_other_cuts():
    equal = job_law("det")
    for b in (0.8, 1.0, 1.2):
        closed = dam_rates(1.0, equal, b=b, B=12.0).u_w
        assert two_pole_rates(1.0, equal, b=b, B=12.0).u_w == pytest.approx(closed, rel=1e-8)
    for b in (1 - 1e-12, 1 + 1e-12):
        got = dam_rates(1.0, job_law("logn s=1"), b=b, B=20.0).u_w
        wanted = dam_rates(1.0, job_law("logn s=1"), b=1.0, B=20.0).u_w
        assert got == pytest.approx(wanted, rel=1e-9)


def test_equal_jobs_against_the_recursion_on_an_aligned_grid():
    law = job_law("det")
    for rho, B in ((1.0, 2.0), (0.8, 5.0), (1.2, 5.0)):
        coarse, fine = (renewal_scale(rho, law, B=B, steps=n) for n in (1000, 2000))
        exact = dam_rates(rho, law, b=1.0, B=B).w_w
        assert 1 / (fine + (fine - coarse) / 3) == pytest.approx(exact, rel=1e-8)


def test_edges():
    law = job_law("logn s=1", 2.0)
    none = dam_rates(0.0, law, b=3.0, B=5.0)
    assert (none.u_w, none.w_w) == (0.0, 3.0)
    dark = dam_rates(1.0, law, b=0.0, B=5.0)
    assert (dark.u_w, dark.w_w) == (2.0, 0.0)
    endless = dam_rates(1.0, law, b=1.5, B=math.inf)
    assert (endless.u_w, endless.w_w) == (0.5, 0.0)
    bare = dam_rates(1.0, law, b=1.5, B=0.0)
    assert (bare.u_w, bare.w_w) == (2.0, 1.5)
    tiny = dam_rates(1.0, law, b=1.5, B=1e-9)
    assert tiny.u_w == pytest.approx(2.0, rel=1e-8)
    deep = dam_rates(1.0, law, b=1.0, B=1e5)
    assert (deep.u_w, deep.w_w) == (1.0, 0.0)
    assert two_pole_rates(1.0, job_law("exp"), b=1.5, B=1e6).u_w == 0.0


def test_a_measured_law_is_near_the_law_it_came_from():
    sample = np.random.default_rng(11).exponential(1.0, 50_000)
    law = measured_law(sample / sample.mean())
    assert dam_rates(1.0, law, b=1.0, B=10.0).u_w == pytest.approx(1 / 11, rel=0.02)


def test_refusals():
    with pytest.raises(BadInputError, match="cap"):
        two_pole_rates(1.0, job_law("logn s=1"), b=1.2, B=20.0)
    with pytest.raises(BadInputError, match="cap"):
        two_pole_rates(1.0, job_law("pareto xi=2.5"), b=1.0, B=20.0)
    for field, inputs in (("lam", (-1.0, 1.0, 1.0)), ("b", (1.0, -1.0, 1.0)), ("B", (1, 1, -1))):
        lam, b, B = inputs
        with pytest.raises(BadInputError, match=f"^{field}"):
            dam_rates(lam, job_law("exp"), b=b, B=B)


@pytest.mark.parametrize("dist", ["logn s=1", "logn s=1.5", "pareto xi=1.5 cap=30"])
@pytest.mark.parametrize("b", [0.97, 1.0, 1.01, 1.3])
def test_the_grid_and_the_transform_meet(dist, b):
    law = job_law(dist)
    below, above = (dam_rates(1.0, law, b=b, B=100 * (1 + edge * 1e-12)) for edge in (-1, 1))
    room = below.error_frac + above.error_frac
    assert below.u_w == pytest.approx(above.u_w, rel=room)
    assert below.w_w == pytest.approx(above.w_w, rel=room)
    assert room < 2e-4


def test_long_stores_are_the_corrected_diffusion_at_critical_supply():
    law = job_law("logn s=1", 1.0)
    for B in (2e3, 1e5):
        wanted = law.second_j2 / (2 * (B + law.overshoot_j))
        assert dam_rates(1.0, law, b=1.0, B=B).u_w == pytest.approx(wanted, rel=1e-6)
