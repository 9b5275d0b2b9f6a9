"""Laws of training: optima against direct search, published constants against the papers' claims.

Hoffmann et al. (arXiv 2203.15556) trained 70e9 parameters on 1.4e12 tokens, 20 per parameter, with
5.76e23 FLOPs, and call that compute-optimal. Besiroglu et al. (arXiv 2404.10102) say that their
re-fit agrees with it, and that approach 3 as printed does not.
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from baseload.base.errors import BadInputError
from baseload.theory.entries_scaling import compute_optimal as by_name
from baseload.theory.training import (
    CHINCHILLA,
    CHINCHILLA_UNROUNDED,
    LAWS,
    REFIT,
    LossLaw,
    compute_optimal,
    inference_aware_training_optimum,
)

BUDGET = 5.76e23


def test_the_refit_gives_twenty_tokens_per_parameter():
    plan = compute_optimal(law=REFIT, C=BUDGET)
    assert plan.tokens_per_parameter == pytest.approx(20, rel=0.15)
    assert pytest.approx(70e9, rel=0.05) == plan.N
    exponent = REFIT.beta / (REFIT.alpha + REFIT.beta)
    assert exponent == pytest.approx(0.5126, abs=5e-5)  # as the paper prints it


def test_approach_three_does_not():
    """Printed constants give 93 tokens per parameter, the unrounded ones 59."""
    assert compute_optimal(law=CHINCHILLA, C=BUDGET).tokens_per_parameter > 80
    assert compute_optimal(law=CHINCHILLA_UNROUNDED, C=BUDGET).tokens_per_parameter > 50


@pytest.mark.parametrize("law", LAWS.values(), ids=list(LAWS))
@pytest.mark.parametrize("budget", [1e18, BUDGET, 1e28])
def test_the_optimum_equals_a_search(law, budget):
    plan = compute_optimal(law=law, C=budget)
    assert plan.training_flops == pytest.approx(budget, rel=1e-9)
    best = minimize_scalar(
        lambda x: law.loss(N=math.exp(x), D=budget / 6 / math.exp(x)),
        bounds=(math.log(plan.N) - 4, math.log(plan.N) + 4),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert plan.loss <= best.fun * (1 + 1e-12)
    assert math.log(plan.N) == pytest.approx(best.x, abs=1e-4)


@given(target=st.floats(1.85, 4), tokens=st.floats(0, 1e18))
def test_inference_makes_models_smaller_and_longer_trained(target, tokens):
    plan = inference_aware_training_optimum(law=REFIT, target_loss=target, T_inf=tokens)
    alone = inference_aware_training_optimum(law=REFIT, target_loss=target, T_inf=0)
    assert plan.loss == pytest.approx(target, rel=1e-9)
    assert plan.N <= alone.N * (1 + 1e-9)
    assert plan.D >= alone.D * (1 - 1e-9)

    def flops(log_n):
        rest = target - REFIT.E - REFIT.A * math.exp(-REFIT.alpha * log_n)
        if rest <= 0:
            return math.inf
        data = (REFIT.B / rest) ** (1 / REFIT.beta)
        return 6 * math.exp(log_n) * data + 2 * math.exp(log_n) * tokens

    mine = plan.training_flops + plan.inference_flops
    for step in (-1e-3, 1e-3):
        assert mine <= flops(math.log(plan.N) + step) * (1 + 1e-9)


def test_without_inference_it_is_the_compute_optimum():
    plan = compute_optimal(law=CHINCHILLA, C=BUDGET)
    same = inference_aware_training_optimum(law=CHINCHILLA, target_loss=plan.loss, T_inf=0)
    assert pytest.approx(plan.N, rel=1e-9) == same.N
    near = inference_aware_training_optimum(law=CHINCHILLA, target_loss=plan.loss, T_inf=1e-3)
    assert pytest.approx(same.N, rel=1e-9) == near.N


@pytest.mark.parametrize(("tokens", "share", "ratio"), [(1e13, 0.54, 365), (1e14, 0.30, 2170)])
def test_known_shrinkage(tokens, share, ratio):
    plan = compute_optimal(law=CHINCHILLA, C=BUDGET)
    small = inference_aware_training_optimum(law=CHINCHILLA, target_loss=plan.loss, T_inf=tokens)
    assert pytest.approx(share, abs=0.005) == small.N / plan.N
    assert small.tokens_per_parameter == pytest.approx(ratio, rel=0.01)


def test_bad_input_is_named():
    with pytest.raises(BadInputError, match="target_loss"):
        inference_aware_training_optimum(law=REFIT, target_loss=1.8172, T_inf=0)
    with pytest.raises(BadInputError, match="alpha"):
        LossLaw(E=1.7, A=400, B=400, alpha=0, beta=0.3)
    with pytest.raises(BadInputError, match=r"^C\b"):
        compute_optimal(law=REFIT, C=0)
    with pytest.raises(ArithmeticError):
        inference_aware_training_optimum(
            law=LossLaw(E=0, A=400, B=400, alpha=0.3, beta=0.3), target_loss=1e-300, T_inf=0
        )
    with pytest.raises(BadInputError, match="all five"):
        by_name(C=1e20, E=1.7)
    with pytest.raises(BadInputError, match="refit"):
        by_name(C=1e20, law="kaplan")
    assert by_name(C=1e20) == by_name(C=1e20, law="refit")
    with pytest.raises(BadInputError, match="infinite"):
        REFIT.loss(N=math.inf, D=math.inf)
