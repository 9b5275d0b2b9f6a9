"""The variance rate and its parts: laws, limits, independent routes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm

from baseload.base.errors import BadInputError
from baseload.base.streams import stream
from baseload.theory.variance import (
    sigma2_ar1,
    sigma2_compound_renewal,
    sigma2_environment,
    sigma2_from_autocovariance,
    sigma2_mmpp,
    sigma2_ou,
    sigma2_shared_factor,
    sigma2_two_states,
    stationary_law,
    variance_components,
)
from baseload.theory.variance_budget import variance_budget

rates = st.floats(0.01, 10)


def random_case(seed, shape=(4, 3, 2)):
    rng = stream(seed, "case")
    w = rng.dirichlet(np.ones(shape[0]))
    p = rng.dirichlet(np.ones(shape[1] * shape[2]), size=shape[0]).reshape(shape)
    return w, p, rng.uniform(0, 9, shape), rng.uniform(0, 20, shape)


@given(st.integers(0, 1000), st.floats(0, 4))
def test_the_components_sum_to_the_variance(seed, ca2):
    w, p, mean, var = random_case(seed)
    found = variance_components(w=w, p=p, mean=mean, var=var, ca2=ca2)
    joint = w[:, None, None] * p
    average = (joint * mean).sum()
    second = (joint * (var + mean**2)).sum()
    assert found.total == pytest.approx(second - average**2 + ca2 * average**2, rel=1e-12)
    parts = found.mix + found.model + found.effort + found.execution + found.arrival
    assert found.total == pytest.approx(parts, rel=1e-15)
    assert variance_components(
        w=w, p=p, mean=mean, second=var + mean**2, ca2=ca2
    ).total == pytest.approx(found.total, rel=1e-12)
    flat = sigma2_compound_renewal(
        lam=2.0, ca2=ca2, p=joint.ravel(), mean=mean.ravel(), var=var.ravel()
    )
    assert flat == pytest.approx(2 * found.total, rel=1e-12)


def test_a_deterministic_routing_has_no_model_or_effort_part():
    w, p, mean, var = random_case(3)
    fixed = np.zeros_like(p)
    fixed[:, 1, 0] = 1
    found = variance_components(w=w, p=fixed, mean=mean, var=var)
    assert found.model == found.effort == 0
    assert found.mix > 0


def test_components_do_not_cancel_when_means_are_large():
    w, p, mean, var = random_case(4)
    here = variance_components(w=w, p=p, mean=mean, var=var)
    far = variance_components(w=w, p=p, mean=mean + 2.0**30, var=var)
    assert far.mix == pytest.approx(here.mix, rel=1e-5)
    assert far.model == pytest.approx(here.model, rel=1e-5)


def test_two_axes_stand_for_one_effort():
    w, p, mean, var = random_case(5, (3, 4, 1))
    three = variance_components(w=w, p=p, mean=mean, var=var)
    two = variance_components(w=w, p=p[:, :, 0], mean=mean[:, :, 0], var=var[:, :, 0])
    assert two.total == three.total
    assert two.effort == pytest.approx(0, abs=1e-28)


def test_compound_renewal_of_one_class():
    assert sigma2_compound_renewal(lam=2.0, ca2=1.0, mean=3.0, second=10.0) == pytest.approx(20.0)
    assert sigma2_compound_renewal(lam=2.0, ca2=0.0, mean=3.0, var=1.0) == pytest.approx(2.0)
    assert sigma2_compound_renewal(lam=0.0, ca2=1.0, mean=3.0, var=1.0) == 0


@given(rates, rates, st.floats(-5, 5), st.floats(-5, 5), st.floats(-1e3, 1e3))
def test_two_states_in_closed_form_and_blind_to_a_constant(q12, q21, r1, r2, more):
    Q = [[-q12, q12], [q21, -q21]]
    closed = sigma2_two_states(q12=q12, q21=q21, r1=r1, r2=r2)
    assert sigma2_environment(Q=Q, r=[r1, r2]) == pytest.approx(closed, rel=1e-9, abs=1e-12)
    moved = sigma2_environment(Q=Q, r=[r1 + more, r2 + more])
    assert moved == pytest.approx(closed, rel=1e-6, abs=1e-9)


Q3 = np.array([[-0.3, 0.2, 0.1], [0.1, -0.4, 0.3], [0.05, 0.15, -0.2]])


def test_the_environment_against_the_integral_of_its_covariance():
    r = np.array([1.0, -2.0, 0.5])
    law = stationary_law(Q3)
    assert law @ Q3 == pytest.approx(np.zeros(3), abs=1e-15)
    off = r - law @ r
    nodes, weights = np.polynomial.legendre.leggauss(80)
    times = 60 * (nodes + 1)
    covariance = [(law * off) @ expm(Q3 * t) @ off for t in times]
    assert sigma2_environment(Q=Q3, r=r) == pytest.approx(120 * weights @ covariance, rel=1e-8)


def test_a_stiff_chain_keeps_its_digits():
    slow, fast = 1e-9, 1e6
    Q = [[-slow, slow, 0.0], [slow, -slow - fast, fast], [0.0, fast, -fast]]
    law = stationary_law(Q)
    assert law == pytest.approx([1 / 3] * 3, rel=1e-14)
    joined = sigma2_two_states(q12=slow, q21=slow / 2, r1=1.0, r2=0.0)
    assert sigma2_environment(Q=Q, r=[1.0, 0.0, 0.0]) == pytest.approx(joined, rel=1e-12)


def test_one_state_is_poisson():
    assert sigma2_mmpp(Q=[[0.0]], lam=[2.0], mean=[1.0], second=[3.0], b=[5.0]) == 6.0
    assert sigma2_mmpp(Q=[[0.0]], lam=[2.0], mean=1.0, second=3.0) == 6.0


def test_supply_states_alone():
    Q = [[-0.2, 0.2], [0.3, -0.3]]
    found = sigma2_mmpp(Q=Q, lam=[0.0, 0.0], mean=[0.0, 0.0], second=[0.0, 0.0], b=[4.5, 1.5])
    assert found == pytest.approx(sigma2_two_states(q12=0.2, q21=0.3, r1=4.5, r2=1.5))


def test_a_class_mix_by_state():
    lam = np.array([[0.5, 0.1], [0.2, 1.0], [2.0, 0.0]])
    mean, second = np.array([1.0, 3.0]), np.array([2.0, 12.0])
    total = lam.sum(axis=1)
    merged = sigma2_mmpp(
        Q=Q3, lam=total, mean=lam @ mean / total, second=lam @ second / total, b=1.0
    )
    found = sigma2_mmpp(Q=Q3, lam=lam, mean=mean, second=second)
    assert found == pytest.approx(merged, rel=1e-12)
    by_state = sigma2_mmpp(Q=Q3, lam=lam, mean=[mean] * 3, second=[second] * 3, b=[1.0] * 3)
    assert by_state == pytest.approx(merged, rel=1e-12)


@pytest.mark.parametrize(
    "Q",
    [
        [[-1.0, 1.0], [0.0, 0.0]],
        [[-1.0, 1.1], [1.0, -1.0]],
        [[1.0, -1.0], [1.0, -1.0]],
        [[-1.0, 1.0]],
        [[-1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [0.0, 0.0, 0.0]],
        [],
        [[math.nan, 1.0], [1.0, -1.0]],
    ],
)
def test_a_bad_generator_is_refused(Q):
    with pytest.raises(BadInputError, match="Q"):
        stationary_law(Q)


@given(st.floats(-0.95, 0.95), st.floats(0.1, 10))
def test_ar1_is_the_sum_of_its_covariances(phi, slot):
    gamma = 2.0 * phi ** np.arange(2000)
    found = sigma2_ar1(phi=phi, var=2.0, slot=slot)
    assert sigma2_from_autocovariance(gamma=gamma, slot=slot) == pytest.approx(found, rel=1e-9)


def test_ou_is_the_limit_of_ar1_in_short_slots():
    tau, var, slot = 50.0, 3.0, 1e-3
    slots = sigma2_ar1(phi=math.exp(-slot / tau), var=var * slot**2, slot=slot)
    assert sigma2_ou(var=var, tau=tau) == pytest.approx(slots, rel=1e-9)
    assert sigma2_ou(var=0.0, tau=tau) == 0


def test_white_slots_and_cut_off_covariances():
    assert sigma2_from_autocovariance(gamma=[4.0], slot=2.0) == 2.0
    assert sigma2_from_autocovariance(gamma=[4.0, -2.0], slot=2.0) == 0
    with pytest.raises(BadInputError, match="gamma"):
        sigma2_from_autocovariance(gamma=[4.0, -2.5], slot=2.0)


def test_a_shared_factor_against_simulated_slots():
    rng = stream(11, "factor")
    slots = 200_000
    factor = rng.gamma(25.0, 1 / 25.0, slots)
    jobs = rng.poisson(5.0, slots)
    energy = factor * rng.gamma(np.maximum(jobs, 1e-12), 1.0)  # exponential jobs of 1 J
    expected = sigma2_shared_factor(lam=5.0, mean=1.0, second=2.0, slot=1.0, var_factor=0.04)
    spread = (energy - energy.mean()) ** 2
    assert expected == pytest.approx(spread.mean(), abs=4 * spread.std() / math.sqrt(slots))


def test_a_persistent_factor_and_none():
    args = {"lam": 5.0, "mean": 1.0, "second": 2.0, "slot": 2.0}
    assert sigma2_shared_factor(var_factor=0.0, **args) == 10.0
    alone = sigma2_shared_factor(var_factor=0.04, **args) - 10.4
    lasting = sigma2_shared_factor(var_factor=0.04, phi=0.5, **args) - 10.4
    assert lasting == pytest.approx(3 * alone)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: sigma2_ar1(phi=1.0, var=1.0, slot=1.0), "phi"),
        (lambda: sigma2_ar1(phi=0.5, var=1.0, slot=0.0), "slot"),
        (lambda: sigma2_ou(var=-1.0, tau=1.0), "var"),
        (lambda: sigma2_compound_renewal(lam=-1.0, ca2=1.0, mean=1.0, var=0.0), "lam"),
        (lambda: sigma2_compound_renewal(lam=1.0, mean=[1.0, 2.0], var=0.0), "p"),
        (lambda: sigma2_compound_renewal(lam=1.0, mean=1.0), "var"),
        (lambda: sigma2_compound_renewal(lam=1.0, mean=2.0, second=3.0), "second"),
        (lambda: sigma2_compound_renewal(lam=1.0, mean=2.0, var=math.inf), "var"),
        (
            lambda: sigma2_compound_renewal(lam=1.0, p=[0.5, 0.4], mean=[1, 2], var=[0, 0]),
            "p",
        ),
        (lambda: variance_components(w=[1.0], p=[[0.5, 0.5]], mean=[[1.0]], var=[[0.0]]), "mean"),
        (lambda: variance_components(w=[1.0], p=[0.5, 0.5], mean=[[1.0]], var=[[0.0]]), "p"),
        (
            lambda: sigma2_shared_factor(lam=1.0, mean=2.0, second=3.0, slot=1.0, var_factor=0.0),
            "second",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, field):
    with pytest.raises(BadInputError) as caught:
        call()
    assert caught.value.asked.startswith(field)


def test_the_budget_sums_and_prices_its_terms():
    w, p, mean, var = random_case(6)
    parts = variance_components(w=w, p=p, mean=mean, var=var, ca2=1.0)
    budget = variance_budget(lam=3.0, components=parts, temporal=2.0, supply=1.0, price=0.01)
    assert budget.total == pytest.approx(3 * parts.total + 3)
    assert sum(term.share for term in budget.terms) == pytest.approx(1)
    assert sum(budget.by_place.values()) == pytest.approx(budget.total)
    assert budget.by_place["models"] == pytest.approx(3 * (parts.mix + parts.model))
    for term in budget.terms:
        assert term.cost_usd_per_s == pytest.approx(0.01 * term.sigma2)
    assert variance_budget(lam=0.0, components=parts).terms[0].share == 0
    assert variance_budget(lam=1.0, components=parts).terms[0].cost_usd_per_s is None
