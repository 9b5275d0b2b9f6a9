"""Settlement without storage: the laws of a slot's demand agree where they meet."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import gamma as gamma_law
from scipy.stats import poisson as poisson_law

from baseload.base.errors import BadInputError
from baseload.theory.job_laws import job_law
from baseload.theory.normal import PHI_0
from baseload.theory.slots import (
    compound_loss,
    compound_slot_rates,
    equal_jobs_loss,
    gamma_loss,
    gamma_slot_rates,
    no_storage_rates,
    normal_slot_rates,
)


@settings(deadline=None)
@given(theta=st.floats(-50, 50), var=st.floats(0.01, 100), slot=st.floats(0.01, 100))
def test_waste_less_auxiliary_is_the_drift(theta, var, slot):
    rates = normal_slot_rates(theta, var, slot)
    assert rates.w_w - rates.u_w == pytest.approx(theta, rel=1e-12, abs=1e-12)
    mirror = normal_slot_rates(-theta, var, slot)
    assert mirror.w_w == rates.u_w


def test_shorter_slots_cost_more_at_critical_supply():
    rates = [normal_slot_rates(0.0, 4.0, slot).u_w for slot in (1.0, 4.0)]
    assert rates == pytest.approx([2 * PHI_0, PHI_0])


@pytest.mark.parametrize("b", [0.0, 1.0, 9.0, 11.0, 40.0, 120.0, 700.0])
@pytest.mark.parametrize("shape", [0.05, 1.0, 4.0, 60.0])
def test_gamma_loss_against_quadrature(shape, b):
    tail = gamma_law(shape, scale=2.5).sf
    spread = 2.5 * (math.sqrt(shape) + 1)
    cuts = [b + k * spread for k in (0, 1, 3, 8, 20, 60)]
    wanted = sum(quad(tail, a, c, epsabs=0, epsrel=1e-11)[0] for a, c in itertools.pairwise(cuts))
    assert gamma_loss(shape, 2.5, b=b) == pytest.approx(wanted, rel=1e-6)


def test_compound_loss_of_equal_jobs_is_a_poisson_sum():
    for supply in (0.3, 2.0, 3.7, 9.0):
        wanted = sum(max(n - supply, 0) * poisson_law.pmf(n, 3.0) for n in range(80))
        assert equal_jobs_loss(3.0, 1.0, supply_j=supply) == pytest.approx(wanted, rel=1e-10)
        assert compound_loss(3.0, job_law("det"), supply_j=supply) == pytest.approx(wanted)


def test_compound_loss_of_exponential_jobs_is_a_mixture_of_gammas():
    for requests, supply in ((0.5, 1.0), (5.0, 5.0), (18.0, 25.0)):
        wanted = sum(
            poisson_law.pmf(n, requests) * gamma_loss(n, 1.0, b=supply) for n in range(1, 120)
        )
        got = compound_loss(requests, job_law("exp"), supply_j=supply)
        assert got == pytest.approx(wanted, rel=1e-6)
    assert compound_loss(2.0, job_law("exp"), supply_j=-1.0) == 3.0
    assert compound_loss(0.0, job_law("exp"), supply_j=1.0) == 0.0


def test_the_pick():
    law = job_law("exp")
    few = no_storage_rates(0.0, 2.0, slot=5.0, lam=1.0, law=law)
    assert few.law == "compound"
    assert few.u_w == compound_slot_rates(1.0, law, b=1.0, slot=5.0).u_w
    some = no_storage_rates(0.0, 2.0, slot=30.0, lam=1.0, law=law)
    assert some.law == "gamma"
    exact = compound_slot_rates(1.0, law, b=1.0, slot=30.0)
    assert some.u_w == pytest.approx(exact.u_w, rel=5e-3)
    many = no_storage_rates(0.0, 2.0, slot=3000.0, lam=1.0, law=law)
    assert many.law == "normal"
    assert no_storage_rates(0.0, 3.0, slot=5.0, lam=1.0, law=law).law == "gamma"
    assert no_storage_rates(-1.0, 0.0, slot=5.0).u_w == 1.0
    assert gamma_slot_rates(-3.0, 2.0, slot=1.0, demand_w=2.0).u_w == 3.0


def test_refusals():
    for field, call in (
        ("slot", lambda: normal_slot_rates(0.0, 1.0, 0.0)),
        ("shape", lambda: gamma_loss(0.0, 1.0, b=1.0)),
        ("b", lambda: gamma_loss(1.0, 1.0, b=-1.0)),
        ("var", lambda: normal_slot_rates(0.0, -1.0, 1.0)),
    ):
        with pytest.raises(BadInputError, match=f"^{field}"):
            call()
