"""Which model: switch difficulties and the best size of a family."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from baseload.base.errors import BadInputError
from baseload.theory.chains import step_success
from baseload.theory.entries_scaling import optimal_model_size_family
from baseload.theory.model_choice import (
    energy_per_solved,
    optimal_model_size,
    optimal_model_size_with_variance,
    switch_difficulty,
)

PAIR = {"kappa": 1.2, "theta_small": 1.0, "theta_large": 4.0, "N_small": 8e9, "N_large": 7e10}


@given(
    kappa=st.floats(0.1, 5),
    gap=st.floats(0, 10),
    ratio=st.floats(1.01, 100),
    theta=st.floats(-5, 5),
)
def test_both_models_cost_the_same_at_the_switch(kappa, gap, ratio, theta):
    assume(abs(kappa * gap - math.log(ratio)) > 1e-6)
    at = switch_difficulty(
        kappa=kappa, theta_small=theta, theta_large=theta + gap, N_small=1, N_large=ratio
    )
    if kappa * gap <= math.log(ratio):
        assert at == math.inf
        return
    small = 1 / step_success(difficulty=at, ability=theta, kappa=kappa)
    large = ratio / step_success(difficulty=at, ability=theta + gap, kappa=kappa)
    assert small == pytest.approx(large, rel=1e-9)


def test_never_and_always():
    just = math.log(7e10 / 8e9) / 3.0
    assert switch_difficulty(**{**PAIR, "kappa": just * (1 - 1e-12)}) == math.inf
    assert switch_difficulty(**{**PAIR, "kappa": 0}) == math.inf
    assert switch_difficulty(**{**PAIR, "theta_large": 0}) == math.inf
    assert switch_difficulty(**{**PAIR, "N_large": 8e9}) == -math.inf
    assert math.isfinite(switch_difficulty(**{**PAIR, "kappa": 1e4}))
    with pytest.raises(BadInputError, match="N_small"):
        switch_difficulty(**{**PAIR, "N_small": 8e10})


def test_energy_per_solved_task():
    assert energy_per_solved(energy_j_per_token=2, tokens_per_step=10, k=3, a=0.5) == 120
    assert energy_per_solved(energy_j_per_token=2, tokens_per_step=10, k=3, a=0) == math.inf
    assert energy_per_solved(energy_j_per_token=2, tokens_per_step=10, k=0, a=0) == 0


@given(eta=st.floats(1.05, 5), log_z=st.floats(-50, 200))
def test_the_best_size_has_the_same_step_success_everywhere(eta, log_z):
    found = optimal_model_size(eta=eta, log_z=log_z)
    assert found.step_success == pytest.approx(1 - 1 / eta)
    best = minimize_scalar(
        lambda x: x + math.log1p(math.exp(min(log_z - eta * x, 700))),
        bounds=(math.log(found.N) - 5, math.log(found.N) + 5),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert math.log(found.N) == pytest.approx(best.x, abs=1e-5)


def test_small_families_take_the_smallest():
    for eta in (0.0, 0.5, 1.0):
        found = optimal_model_size(eta=eta, log_z=30.0, N_min=1e9, N_max=1e12)
        assert (found.N, found.clamped) == (1e9, True)
        assert optimal_model_size_family(eta=eta, z=1e14) == 0
    near = optimal_model_size(eta=1 + 1e-12, log_z=30.0)
    assert near.N < 1e2  # continuous at eta = 1
    assert optimal_model_size_family(eta=2, z=0) == 0
    assert optimal_model_size_family(eta=1.5, z=1e14, N_max=1e9) == 1e9


def test_a_price_on_variance_moves_the_size_up():
    inputs = {"eta": 1.5, "log_z": math.log(1e14), "N_min": 1e8, "N_max": 1e11}
    prices = {"k": 3, "step_j_per_size": 1e-9, "shadow_price": 1.0}
    plain = optimal_model_size_with_variance(**inputs, **prices, variance_price=0)
    assert pytest.approx(optimal_model_size(eta=1.5, log_z=math.log(1e14)).N, rel=1e-5) == plain.N
    sizes = [
        optimal_model_size_with_variance(**inputs, **prices, variance_price=om).N
        for om in (0.0, 0.01, 0.1, 1.0)
    ]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 1.001 * sizes[0]
    edge = optimal_model_size_with_variance(
        **{**inputs, "N_max": 5e8}, **prices, variance_price=0.1
    )
    assert edge.clamped
    assert pytest.approx(5e8) == edge.N
    with pytest.raises(BadInputError, match="shadow_price"):
        optimal_model_size_with_variance(
            **inputs, **{**prices, "shadow_price": 0}, variance_price=0
        )
