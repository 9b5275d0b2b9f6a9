"""A chain of thought as a sequence of skills: success, length, energy, when to stop.

``k`` skills come one after another; each attempt is one step of some tokens and succeeds with
probability ``a``; the chain stops when all skills are done (an oracle says so) or after ``n_max``
attempts. Its length M = min(NegativeBinomial(k, a), n_max). Derived in
docs/explanation/scaling-laws.md, 6.2, 6.3 and 6.6. How far real reasoning models follow this model
is not verified.
"""

from __future__ import annotations

import math

import msgspec
from scipy.special import betainc, betaincc, expit

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import finite_result, not_negative, number, whole
from baseload.theory.query_cost import EnergyMoments
from baseload.theory.training import LossLaw


class ChainMoments(msgspec.Struct, frozen=True, kw_only=True):
    """``success_frac``: probability that all skills are done within the cap. ``mean_attempts`` and
    ``second_attempts``: E M and E M^2 of the attempts made, whether they succeed or not.
    """

    success_frac: float
    mean_attempts: float
    second_attempts: float


class ChainForecast(msgspec.Struct, frozen=True, kw_only=True):
    """Success and energy of a chain: ``mean_tokens`` are those of the thinking."""

    success_frac: float
    mean_tokens: float
    energy: EnergyMoments


def cot_oracle_stopping(*, k: float, a: float, n_max: float | None = None) -> ChainMoments:
    """Moments of a chain with ``k`` skills, step success ``a``, at most ``n_max`` attempts
    (None or infinite: no cap).

    P = I_a(k, n-k+1), E[M; M<=n] = (k/a) I_a(k+1, n-k+1) and E[M(M+1); M<=n] =
    (k(k+1)/a^2) I_a(k+2, n-k+1), with the regularised incomplete beta function I. Exact, relative
    error about 1e-12. n < k or a = 0: no success, M = n. a = 1: M = k. k = 0: done at once.
    Raises ArgumentError for a = 0 without a cap. docs/explanation/scaling-laws.md, 6.2.
    """
    skills = whole("k", k)
    share = number("a", a, least=0.0, most=1.0)
    cap = attempts_cap("n_max", n_max)
    if skills == 0:
        return ChainMoments(success_frac=1.0, mean_attempts=0.0, second_attempts=0.0)
    if share == 0 and cap == math.inf:
        raise ArgumentError(
            "n_max", found="no cap on a chain that never succeeds", allowed="a finite cap for a = 0"
        )
    if share == 0 or cap < skills:
        return ChainMoments(success_frac=0.0, mean_attempts=cap, second_attempts=cap * cap)
    if cap == math.inf:
        return _uncapped(skills, share)
    return _capped(skills, share, cap)


def attempts_cap(field: str, value: float | None) -> float:
    """A cap on attempts: a whole number >= 0, or infinity where there is none."""
    if value is None or value == math.inf:
        return math.inf
    return float(whole(field, value))


def _uncapped(k: int, a: float) -> ChainMoments:
    """The negative binomial itself."""
    mean = k / a
    second = mean * mean * (1 + (1 - a) / k)
    return ChainMoments(
        success_frac=1.0,
        mean_attempts=finite_result("cot_oracle_stopping", mean, k=k, a=a),
        second_attempts=finite_result("cot_oracle_stopping", second, k=k, a=a),
    )


def _capped(k: int, a: float, n: float) -> ChainMoments:
    """0 < a <= 1 and k <= n < inf."""
    rest = n - k + 1
    success, failure = float(betainc(k, rest, a)), float(betaincc(k, rest, a))
    if success < 1e-17:  # the chains that end early change nothing that a float can hold
        return ChainMoments(success_frac=success, mean_attempts=n, second_attempts=n * n)
    first = k / a * float(betainc(k + 1, rest, a))
    second = k / a * ((k + 1) / a) * float(betainc(k + 2, rest, a)) - first
    # the exact values keep k <= M <= n; so do the rounded ones
    first = min(max(first, k * success), n * success)
    second = min(max(second, k * first), n * first)
    return ChainMoments(
        success_frac=success,
        mean_attempts=finite_result("cot_oracle_stopping", first + n * failure, k=k, a=a, n_max=n),
        second_attempts=finite_result(
            "cot_oracle_stopping", second + n * n * failure, k=k, a=a, n_max=n
        ),
    )


def chain_energy(
    *,
    k: float,
    a: float,
    tokens_per_step: float,
    energy_j_per_token: float,
    prefill_j: float = 0.0,
    n_max: float | None = None,
) -> ChainForecast:
    """Success, tokens and energy of a chain whose step writes ``tokens_per_step`` tokens:
    X = prefill_j + energy_j_per_token tokens_per_step M. Exact for the model of
    ``cot_oracle_stopping``. docs/explanation/scaling-laws.md, 6.2.
    """
    moments = cot_oracle_stopping(k=k, a=a, n_max=n_max)
    step = not_negative("tokens_per_step", tokens_per_step)
    step_j = not_negative("energy_j_per_token", energy_j_per_token) * step
    e0 = not_negative("prefill_j", prefill_j)
    mean = e0 + step_j * moments.mean_attempts
    second = (
        e0 * e0
        + 2 * e0 * step_j * moments.mean_attempts
        + step_j * step_j * moments.second_attempts
    )
    return ChainForecast(
        success_frac=moments.success_frac,
        mean_tokens=step * moments.mean_attempts,
        energy=EnergyMoments(
            mean_j=finite_result("chain_energy", mean, k=k, a=a, n_max=n_max),
            second_j2=finite_result("chain_energy", second, k=k, a=a, n_max=n_max),
        ),
    )


def step_success(*, difficulty: float, ability: float, kappa: float) -> float:
    """Probability that a step succeeds: logistic(kappa (ability - difficulty)).

    A modelling choice of this project (a one-parameter item response curve); ``kappa`` >= 0 and the
    abilities need fits to the user's own models. docs/explanation/scaling-laws.md, 6.2.
    """
    steepness = not_negative("kappa", kappa)
    gap = number("ability", ability) - number("difficulty", difficulty)
    return float(expit(steepness * gap))


def ability_of_loss(*, law: LossLaw, N: float, D: float, theta0: float, c_R: float) -> float:
    """Ability of a model with ``N`` parameters trained on ``D`` tokens:
    theta0 - c_R ln(Loss(N, D) - E). A modelling choice of this project, not verified; ``theta0``
    and ``c_R`` >= 0 are to be fitted. docs/explanation/scaling-laws.md, 6.2.
    """
    return number("theta0", theta0) - not_negative("c_R", c_R) * math.log(law.reducible(N=N, D=D))


def cascade_moments(
    *,
    k: float,
    a_small: float,
    cap_small: float,
    a_large: float,
    e_small: float,
    e_large: float,
    cap_large: float | None = None,
) -> Cascade:
    """A small model with a cap, then, where it failed, a large one from the start.

    ``e_small``, ``e_large`` [J] per attempt; the large one stops at ``cap_large`` attempts (None:
    not before it is done). Exact for the model of ``cot_oracle_stopping`` with independent chains.
    Raises ArgumentError where the large model is needed, never succeeds and has no cap.
    docs/explanation/scaling-laws.md, 6.6.
    """
    small = cot_oracle_stopping(k=k, a=a_small, n_max=cap_small)
    es, el = not_negative("e_small", e_small), not_negative("e_large", e_large)
    number("a_large", a_large, least=0.0, most=1.0)
    failed = _failure(k=k, a=a_small, n_max=cap_small)
    mean, second = es * small.mean_attempts, es * es * small.second_attempts
    large_attempts, success = 0.0, small.success_frac
    if failed > 0:
        if a_large == 0 and cap_large is None:
            raise ArgumentError(
                "a_large", found="0 without cap_large", allowed="above 0, or a cap for the large"
            )
        large = cot_oracle_stopping(k=k, a=a_large, n_max=cap_large)
        large_attempts = failed * large.mean_attempts
        mean += el * large_attempts
        second += failed * (
            2 * es * cap_small * el * large.mean_attempts + el * el * large.second_attempts
        )
        success = success + failed * large.success_frac
    return Cascade(
        success_frac=min(success, 1.0),
        success_small_frac=small.success_frac,
        mean_attempts_small=small.mean_attempts,
        mean_attempts_large=large_attempts,
        energy=EnergyMoments(
            mean_j=finite_result("cascade_moments", mean, k=k, cap_small=cap_small),
            second_j2=finite_result("cascade_moments", second, k=k, cap_small=cap_small),
        ),
    )


class Cascade(msgspec.Struct, frozen=True, kw_only=True):
    """What a cascade does: success in all and of the small model alone, attempts of each (the large
    model's averaged over all requests), energy.
    """

    success_frac: float
    success_small_frac: float
    mean_attempts_small: float
    mean_attempts_large: float
    energy: EnergyMoments


def _failure(*, k: float, a: float, n_max: float) -> float:
    """1 - P of ``cot_oracle_stopping`` without cancellation."""
    skills, cap = int(k), attempts_cap("cap_small", n_max)
    if skills == 0 or cap == math.inf:
        return 0.0
    if a == 0 or cap < skills:
        return 1.0
    return float(betaincc(skills, cap - skills + 1, a))
