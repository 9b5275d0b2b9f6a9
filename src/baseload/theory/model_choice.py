"""Which model to give a task: the small one that thinks longer, or the large one.

Step success a = logistic(kappa (Theta - d)), energy of a step in proportion to the size N, so the
energy per solved task goes as N k / a. Derived in docs/explanation/scaling-laws.md, 6.4. The
constants kappa and Theta of real models are not verified: fit your own.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import finite_result, not_negative, number, positive, whole
from baseload.theory.numerics import minimize_scalar


class ModelSize(msgspec.Struct, frozen=True, kw_only=True):
    """The best size ``N`` of a family, its ``step_success`` and the ``attempts_per_skill`` it
    needs; ``clamped`` where the family ends before the optimum.
    """

    N: float
    step_success: float
    attempts_per_skill: float
    clamped: bool


def energy_per_solved(
    *, energy_j_per_token: float, tokens_per_step: float, k: float, a: float, prefill_j: float = 0.0
) -> float:
    """Joules until a task of ``k`` skills is solved without a cap: prefill_j + e tau k / a;
    infinite for a = 0 < k. Exact for the chain of 6.2. docs/explanation/scaling-laws.md, 6.4.
    """
    step_j = not_negative("energy_j_per_token", energy_j_per_token) * not_negative(
        "tokens_per_step", tokens_per_step
    )
    share = number("a", a, least=0.0, most=1.0)
    skills, start = whole("k", k), not_negative("prefill_j", prefill_j)
    if skills == 0 or step_j == 0:
        return start
    return start + step_j * skills / share if share > 0 else math.inf


def switch_difficulty(
    *, kappa: float, theta_small: float, theta_large: float, N_small: float, N_large: float
) -> float:
    """The difficulty above which the large model solves a task with less energy than the small.

    Infinite (never) unless kappa (theta_large - theta_small) > ln(N_large / N_small): the gap in
    ability must exceed the log ratio of sizes. Minus infinity (always) for equal sizes and a more
    able large model. Joules per step may stand in for N. Exact for logistic step success.
    docs/explanation/scaling-laws.md, 6.4. Raises ArgumentError where N_small exceeds N_large.
    """
    steepness = not_negative("kappa", kappa)
    small, large = positive("N_small", N_small), positive("N_large", N_large)
    low, high = number("theta_small", theta_small), number("theta_large", theta_large)
    if small > large:
        raise ArgumentError("N_small", found=f"{small:g}", allowed=f"up to N_large = {large:g}")
    log_ratio = math.log(large / small)
    margin = steepness * (high - low) - log_ratio
    if margin <= 0:
        return math.inf
    if small == large:
        return -math.inf
    logs = math.log(-math.expm1(-log_ratio)) + log_ratio - math.log(-math.expm1(-margin))
    return finite_result("switch_difficulty", low + logs / steepness, kappa=kappa)


def optimal_model_size(
    *, eta: float, log_z: float, N_min: float = 0.0, N_max: float = math.inf
) -> ModelSize:
    """The size of least energy per solved task in a family with Theta = Theta0 + rho ln N, where
    eta = kappa rho and log_z = kappa (difficulty - Theta0).

    eta > 1: N = (z (eta-1))^(1/eta), and the best step success is 1 - 1/eta at every difficulty;
    eta <= 1: the smallest model, which thinks longer. ``N_min`` and ``N_max`` are the ends of the
    fleet's range. Exact. docs/explanation/scaling-laws.md, 6.4.
    """
    slope, start = not_negative("eta", eta), number("log_z", log_z)
    least = not_negative("N_min", N_min)
    most = number("N_max", N_max, least=least, infinite=True)
    best = _exp_or_inf((start + math.log(slope - 1)) / slope) if slope > 1 else 0.0
    size = min(max(best, least), most)
    if math.isinf(size):
        raise ArithmeticError(f"optimal_model_size leaves the floats: eta={eta}, log_z={log_z}")
    clamped = size != best
    inside = slope > 1 and not clamped
    share = 1 - 1 / slope if inside else _step_success(slope, start, size)
    return ModelSize(
        N=size,
        step_success=share,
        attempts_per_skill=1 / share if share > 0 else math.inf,
        clamped=clamped,
    )


def _exp_or_inf(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf


def _step_success(eta: float, log_z: float, size: float) -> float:
    """a = 1 / (1 + z N^-eta)."""
    if size == 0:
        return 0.0 if eta > 0 else 1 / (1 + _exp_or_inf(log_z))
    x = log_z - eta * math.log(size)
    return 1 / (1 + math.exp(x)) if x < 700 else math.exp(-x)


def optimal_model_size_with_variance(
    *,
    eta: float,
    log_z: float,
    k: float,
    step_j_per_size: float,
    shadow_price: float,
    variance_price: float,
    N_min: float,
    N_max: float,
) -> ModelSize:
    """The size that minimises shadow_price E X + variance_price / 2 E X^2, where a step costs
    step_j_per_size N joules and the chain has ``k`` skills.

    ``shadow_price`` [$/J] >= 0, ``variance_price`` [$/J^2] >= 0, not both 0. A price on variance
    moves the optimum up: large models are steadier. Found on a logarithmic grid of the range
    [N_min, N_max], then refined: numeric, relative error of N about 1e-6.
    docs/explanation/scaling-laws.md, 6.4.
    """
    skills, slope = whole("k", k, least=1), not_negative("eta", eta)
    start = number("log_z", log_z)
    unit = positive("step_j_per_size", step_j_per_size)
    price, spread = (
        not_negative("shadow_price", shadow_price),
        not_negative("variance_price", variance_price),
    )
    if price == 0 and spread == 0:
        raise ArgumentError("shadow_price", found="no price on energy or variance", allowed="one")
    least = positive("N_min", N_min)
    most = number("N_max", N_max, least=least)

    def cost(log_n: float) -> float:
        share = _step_success(slope, start, math.exp(log_n))
        if share == 0:
            return math.inf
        mean = unit * math.exp(log_n) * skills / share
        second = mean * mean * (1 + (1 - share) / skills)
        return math.log(price * mean + 0.5 * spread * second)

    ends = math.log(least), math.log(most)
    grid = np.linspace(*ends, 401)
    at = int(np.argmin([cost(float(x)) for x in grid]))
    low, high = float(grid[max(at - 1, 0)]), float(grid[min(at + 1, 400)])
    found = float(grid[at])
    if high > low:
        result = minimize_scalar(
            cost, bounds=(low, high), method="bounded", options={"xatol": 1e-9}
        )
        if result.fun < cost(found):
            found = float(result.x)
    size = math.exp(found)
    share = _step_success(slope, start, size)
    edge = min(found - ends[0], ends[1] - found) < 1e-6
    return ModelSize(
        N=size,
        step_success=share,
        attempts_per_skill=1 / share if share > 0 else math.inf,
        clamped=edge,
    )
