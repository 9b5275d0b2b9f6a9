"""When to stop thinking: known success of a step, and budgets where the difficulty is uncertain.

Derived in docs/explanation/scaling-laws.md, 6.3.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincc, betaln, erfcx, log_ndtr, xlog1py, xlogy

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import Floats, not_negative, number, numbers, positive, shares, whole
from baseload.theory.numerics import brentq
from baseload.theory.tails import Lognormal

MOST_TOKENS = 1_000_000_000
"""The longest cap that ``stopping_tokens`` looks for; beyond it there is none."""


class StartDecision(msgspec.Struct, frozen=True, kw_only=True):
    """``start``: whether the chain is worth its energy. ``worth_usd``: value less price of the
    energy still to be spent; minus infinity where the chain can never end well.
    """

    start: bool
    worth_usd: float


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How many attempts to allow.

    ``stop_index``: the one-step look-ahead past the peak of the hazard (0: do not start; infinite:
    no reason to stop was found among ``searched`` attempts). ``best_index``: the budget with the
    greatest expected gain among those searched, ``gain_usd`` that gain (0 for not starting).
    """

    stop_index: float
    best_index: int
    gain_usd: float
    searched: int


def worth_of_chain(
    *,
    skills_left: float,
    a: float,
    value_usd: float,
    shadow_price: float,
    energy_j_per_token: float,
    tokens_per_step: float,
) -> StartDecision:
    """Whether to start, or go on with, a chain with a known step success ``a``.

    Worth = value_usd - shadow_price e tau skills_left / a, ``shadow_price`` in $/J (may be
    negative). Exact for a constant price: never stop midway, since every finished skill makes going
    on cheaper. Test again when the price rises; chains whose worth is below zero are the ones to
    pre-empt. a = 0 is never worth starting. docs/explanation/scaling-laws.md, 6.3.
    """
    left = whole("skills_left", skills_left)
    share = number("a", a, least=0.0, most=1.0)
    value = not_negative("value_usd", value_usd)
    step_usd = _step_price(shadow_price, energy_j_per_token, tokens_per_step)
    if left == 0:
        return StartDecision(start=True, worth_usd=value)
    if share == 0:
        return StartDecision(start=False, worth_usd=-math.inf)
    worth = value - step_usd * left / share
    return StartDecision(start=worth >= 0, worth_usd=worth)


def _step_price(shadow_price: float, energy_j_per_token: float, tokens_per_step: float) -> float:
    """Dollars of one attempt."""
    step_j = not_negative("energy_j_per_token", energy_j_per_token) * not_negative(
        "tokens_per_step", tokens_per_step
    )
    return number("shadow_price", shadow_price) * step_j


def hazard(*, k: float, a: ArrayLike, weights: ArrayLike, attempts: float) -> float:
    """P(done at attempt n+1 | not done at n), n = ``attempts``, when the step success is one of
    ``a`` with prior ``weights`` (sum 1). Exact; 0 where nothing is left to be done.
    docs/explanation/scaling-laws.md, 6.3.
    """
    n = whole("attempts", attempts)
    ends, alive = _mixture(k, a, weights, n, n)
    return float(ends[0] / alive[0]) if alive[0] > 0 else 0.0


def thinking_budget(
    *,
    k: float,
    a: ArrayLike,
    weights: ArrayLike,
    value_usd: float,
    shadow_price: float,
    energy_j_per_token: float,
    tokens_per_step: float,
    n_most: int = 10_000,
) -> Budget:
    """The cap on attempts when the difficulty is uncertain: step success ``a[i]`` with probability
    ``weights[i]``.

    ``stop_index`` is the first n past the peak of the hazard with value_usd hazard(n) < price of a
    step (heuristic: look-ahead of one step); ``best_index`` maximises the expected gain over all
    fixed budgets up to ``n_most``, which is optimal when progress inside the chain is not seen.
    They differ where the hazard has several peaks or the gain before the peak does not pay for the
    way there. docs/explanation/scaling-laws.md, 6.3.
    """
    value = not_negative("value_usd", value_usd)
    step_usd = _step_price(shadow_price, energy_j_per_token, tokens_per_step)
    most = whole("n_most", n_most, least=1)
    ends, alive = _mixture(k, a, weights, 0, most)
    rate = np.divide(ends, alive, out=np.zeros_like(ends), where=alive > 0)
    peak = int(np.argmax(rate))
    past = np.flatnonzero(value * rate[peak:] < step_usd)
    stop = float(peak + past[0]) if past.size else math.inf
    if past.size and past[0] == 0:
        stop = 0.0  # even the best step costs more than it brings
    with np.errstate(over="ignore"):  # minus infinity is a fair gain of a step beyond all prices
        gains = np.concatenate(([0.0], np.cumsum(value * ends - step_usd * alive)))
    best = int(np.argmax(gains))
    return Budget(stop_index=stop, best_index=best, gain_usd=float(gains[best]), searched=most)


def stopping_tokens(
    mean_tokens: float,
    spread_tokens: float,
    *,
    worth_usd: float,
    right_frac: float,
    usd_per_token: float,
) -> float:
    """The cap [tokens] on an answer whose length is lognormal with a mean (above 0) and a standard
    deviation, when each token costs ``usd_per_token`` and an answer that ends by itself is right
    with probability ``right_frac``, which is worth ``worth_usd``.

    The first whole number n past the peak of the hazard h(n) = P(ends at token n+1 | not by n) with
    worth_usd right_frac h(n) < usd_per_token: the one-step look-ahead. A lognormal hazard rises to
    one peak and falls from there, so this is also the fixed cap with the greatest expected gain
    (exact for a constant price). 1, the least there is, where that gain is below zero: the answer
    is not worth starting (to within the price of half a token: their sum is taken by an integral).
    Infinite where a token costs nothing or brings money, and where the cap would pass
    ``MOST_TOKENS``. Without spread: the mean, rounded up, or 1.
    docs/explanation/scaling-laws.md, 6.3.
    """
    mean = positive("mean_tokens", mean_tokens)
    spread = not_negative("spread_tokens", spread_tokens)
    value = not_negative("worth_usd", worth_usd) * number("right_frac", right_frac, least=0, most=1)
    price = number("usd_per_token", usd_per_token)
    if price <= 0:
        return math.inf
    s = math.sqrt(math.log1p((spread / mean) ** 2))
    if s <= _NO_SPREAD:
        return float(max(1, math.ceil(mean))) if value >= price * mean else 1.0
    law = Lognormal(mu=math.log(mean) - 0.5 * s * s, s=s)
    low = _peak_tokens(law)
    if value * _token_hazard(law, low) < price:
        return 1.0
    high = MOST_TOKENS
    if low >= high or value * _token_hazard(law, high) >= price:
        return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        if value * _token_hazard(law, middle) < price:
            high = middle
        else:
            low = middle
    ended = 1.0 - law.survival(high)
    gain = value * ended - price * (law.moment(1, high) + 0.5 * ended)  # tokens are whole
    return float(high) if gain >= 0 else 1.0


_NO_SPREAD = 1e-6  # of the logarithm: the law is a constant


def _token_hazard(law: Lognormal, tokens: int) -> float:
    """P(X <= n+1 | X > n)."""
    if tokens == 0:
        return 1.0 - law.survival(1.0)
    now, after = (float(log_ndtr((law.mu - math.log(n)) / law.s)) for n in (tokens, tokens + 1))
    return -math.expm1(after - now)


def _peak_tokens(law: Lognormal) -> int:
    """Where the hazard of one token is greatest: beside the peak of the rate phi(z) / (s t Q(z)),
    where phi(z) / Q(z) = z + s.
    """

    def slope(z: float) -> float:
        mills = math.sqrt(0.5 * math.pi) * float(erfcx(z / math.sqrt(2.0)))
        return 1.0 / mills - z - law.s if mills < math.inf else -z - law.s

    far = 1.0 / law.s + 1.0  # phi / Q - z < 1 / z for z > 0
    z = float(brentq(slope, -law.s - 1.0, far)) if slope(far) < 0 else far
    peak = math.exp(min(law.mu + law.s * z, math.log(MOST_TOKENS)))
    near = range(max(0, math.floor(peak) - 2), math.ceil(peak) + 2)
    return max(near, key=lambda n: _token_hazard(law, n))


def _mixture(
    k: float, a: ArrayLike, weights: ArrayLike, first: int, last: int
) -> tuple[Floats, Floats]:
    """P(M = n+1) and P(M > n) of the mixture for n = first..last."""
    skills = whole("k", k, least=1)
    steps = numbers("a", a, least=0.0, shape=(-1,))
    prior = shares("weights", weights)
    if steps.shape != prior.shape:
        raise ArgumentError(
            "weights", found=f"{prior.size} weights", allowed=f"{steps.size}, one for each a"
        )
    if (steps > 1).any():
        raise ArgumentError("a", found=repr(float(steps.max())), allowed="up to 1")
    n = np.arange(first, last + 1, dtype=np.float64)
    reach = n >= skills - 1  # the last skill can be done at attempt n + 1
    m = np.where(reach, n, skills - 1)[:, None]
    # C(m, k-1) a^k (1-a)^(m+1-k), where 1 / C(m, k-1) = (m+1) Beta(k, m-k+2)
    log_ends = (
        -np.log(m + 1)
        - betaln(skills, m - skills + 2)
        + xlogy(skills, steps)
        + xlog1py(m + 1 - skills, -steps)
    )
    ends = np.where(reach[:, None], np.exp(log_ends), 0.0)
    done = n >= skills
    alive = np.where(
        done[:, None], betaincc(skills, np.where(done, n - skills + 1, 1.0)[:, None], steps), 1.0
    )
    return np.asarray(ends @ prior, dtype=np.float64), np.asarray(alive @ prior, dtype=np.float64)
