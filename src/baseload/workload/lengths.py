"""What the output of a request will be, learned online from what has ended before.

One table for a fleet: for each request class a row over all its requests, and a row for each
**prompt bucket** (powers of two of the input tokens). ``learn_length`` is called when a request
ends, ``forecast_length`` when one arrives, so a forecast knows only the past. A bucket of which
little is known leans on its class, a class on its prior. ``remaining_tokens`` says what is left of
a request that has emitted some tokens. See docs/explanation/forecasts.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from baseload.base.kernels import kernel

# Mean output tokens of the sources of the default recipe (see docs/reference/traces.md).
PRIOR_TOKENS: Mapping[str, float] = {
    "chat": 211.0,
    "rag": 343.0,
    "batch": 291.0,
    "reasoning": 1527.0,
}
PRIOR_TOKENS_OTHER = 300.0

BUCKETS = 12
"""Prompt buckets: below 64 input tokens, 64 to 127, 128 to 255, and so on; the last one has no
upper end (65,536 and more)."""
WHOLE_CLASS = BUCKETS
"""Column of the table that holds all requests of a class, whatever their prompt."""

MEMORY_REQUESTS = 2000.0
"""Requests of a row after which it forgets: its gain is 1 / count until then, and stays there."""
PRIOR_REQUESTS = 20.0
"""As how many requests the prior of a class counts."""
SHRINK_REQUESTS = 10.0
"""Requests of a bucket at which it and its class have equal weight in a forecast."""
HIGH_FRAC = 0.95
"""The quantile that a row follows."""
HIGH_GAIN = 8.0
"""Step of the quantile, relative to itself, over the gain of the mean. About 1 / (density of log
output at the quantile), the step that converges fastest: 9.7 for a lognormal of log spread 1, 8 for
one of 0.8."""
HIGH_GAIN_MOST = 0.5

LENGTHS = np.dtype(
    [
        ("count", np.float64),
        ("mean_tokens", np.float64),
        ("variance_tokens2", np.float64),
        ("high_tokens", np.float64),
    ]
)
"""What is known of the outputs of a class, or of one of its buckets: how many were learned (the
prior counts, and the count stops at ``MEMORY_REQUESTS``), their mean, variance and 95th percentile.
"""

LengthTable: TypeAlias = Any
"""Rows of ``LENGTHS``, ``[classes, BUCKETS + 1]``; changed only by ``learn_length``."""
Row: TypeAlias = Any
"""One row of ``LENGTHS``: a numpy record, a numba record inside kernels."""

_SHORTEST = 64  # input tokens at which the second bucket begins
_ROOT_HALF = math.sqrt(0.5)
_ROOT_HALF_PI = math.sqrt(0.5 * math.pi)
_FAR = 6.0  # standard deviations from which a normal tail is taken from its expansion


def prior_tokens(classes: Sequence[str]) -> list[float]:
    """Prior mean output tokens of each class; 300 for a class that we know nothing of."""
    return [PRIOR_TOKENS.get(name, PRIOR_TOKENS_OTHER) for name in classes]


def length_table(classes: Sequence[str]) -> LengthTable:
    """A table that has learned nothing yet: rows of ``LENGTHS``, ``[classes, BUCKETS + 1]``.

    A class starts at its prior as ``PRIOR_REQUESTS`` outputs with an exponential distribution:
    standard deviation equal to the mean, 95th percentile three times the mean. At least one class
    is kept.
    """
    priors = np.array(prior_tokens(classes) or [PRIOR_TOKENS_OTHER])
    table = np.zeros((len(priors), BUCKETS + 1), dtype=LENGTHS).view(np.recarray)
    whole = table[:, WHOLE_CLASS]
    whole["count"] = PRIOR_REQUESTS
    whole["mean_tokens"] = priors
    whole["variance_tokens2"] = priors**2
    whole["high_tokens"] = -math.log(1.0 - HIGH_FRAC) * priors
    return table


@kernel
def bucket_of(input_tokens: int) -> int:
    """The prompt bucket of so many input tokens: 0 .. ``BUCKETS - 1``."""
    bucket = 0
    rest = input_tokens // _SHORTEST
    while rest > 0 and bucket < BUCKETS - 1:
        rest >>= 1
        bucket += 1
    return bucket


@kernel
def _take_in(row: Row, tokens: float) -> None:
    """Move a row towards one more output.

    Gain 1 / count gives the plain mean and variance (Welford's recursion) and, for the quantile,
    the stochastic approximation of Robbins and Monro on its logarithm: up by 0.95 steps when the
    output was above, down by 0.05 steps when not, so that in the long run 5 % are above.
    """
    row.count = min(row.count + 1.0, MEMORY_REQUESTS)
    gain = 1.0 / row.count
    off = tokens - row.mean_tokens
    row.mean_tokens += gain * off
    row.variance_tokens2 += gain * ((1.0 - gain) * off * off - row.variance_tokens2)
    step = min(HIGH_GAIN * gain, HIGH_GAIN_MOST)
    if tokens > row.high_tokens:
        row.high_tokens *= 1.0 + HIGH_FRAC * step
    else:
        row.high_tokens *= 1.0 - (1.0 - HIGH_FRAC) * step


@kernel
def _take_in_cut(row: Row, seen_tokens: float, mean_tokens: float, spread_tokens: float) -> None:
    """Move a row towards an output of which only ``seen_tokens`` came, by what the forecast expects
    of the rest: the mean, the mean square and the quantile's step are those of a lognormal law
    given that it is longer. So a law that is right stays where it is.
    """
    mean, variance, above = longer_length(
        mean_tokens, spread_tokens, seen_tokens, max(seen_tokens, row.high_tokens)
    )
    row.count = min(row.count + 1.0, MEMORY_REQUESTS)
    gain = 1.0 / row.count
    off = mean - row.mean_tokens
    row.mean_tokens += gain * off
    row.variance_tokens2 += gain * ((1.0 - gain) * off * off + variance - row.variance_tokens2)
    step = min(HIGH_GAIN * gain, HIGH_GAIN_MOST)
    row.high_tokens *= 1.0 + step * (above - (1.0 - HIGH_FRAC))


@kernel
def learn_length(table: LengthTable, class_code: int, bucket: int, output_tokens: float) -> None:
    """A request of the class, its prompt in ``bucket`` (of ``bucket_of``), has ended."""
    whole, cell = table[class_code, WHOLE_CLASS], table[class_code, bucket]
    if cell.count == 0.0:
        cell.high_tokens = whole.high_tokens
    _take_in(cell, output_tokens)
    _take_in(whole, output_tokens)


@kernel
def learn_cut_length(table: LengthTable, class_code: int, bucket: int, seen_tokens: float) -> None:
    """A request of the class has ended by a cap after ``seen_tokens``: its output would have been
    longer, by what the forecast of its class and bucket expects.
    """
    mean_tokens, spread_tokens, _ = forecast_length(table, class_code, bucket)
    whole, cell = table[class_code, WHOLE_CLASS], table[class_code, bucket]
    if cell.count == 0.0:
        cell.high_tokens = whole.high_tokens
    _take_in_cut(cell, seen_tokens, mean_tokens, spread_tokens)
    _take_in_cut(whole, seen_tokens, mean_tokens, spread_tokens)


@kernel
def forecast_length(table: LengthTable, class_code: int, bucket: int) -> tuple[float, float, float]:
    """Mean, standard deviation and 95th percentile of the output of a request that arrives now.

    A mixture of its bucket, with weight n / (n + ``SHRINK_REQUESTS``), and its class; the
    percentile is the mean of the two percentiles with these weights.
    """
    whole, cell = table[class_code, WHOLE_CLASS], table[class_code, bucket]
    share = cell.count / (cell.count + SHRINK_REQUESTS)
    apart = cell.mean_tokens - whole.mean_tokens
    variance = (
        whole.variance_tokens2
        + share * (cell.variance_tokens2 - whole.variance_tokens2)
        + share * (1.0 - share) * apart * apart
    )
    return (
        whole.mean_tokens + share * apart,
        math.sqrt(variance),
        whole.high_tokens + share * (cell.high_tokens - whole.high_tokens),
    )


@kernel
def expected_length(
    table: LengthTable,
    class_code: int,
    bucket: int,
    foreseen_tokens: float,
    foreseen_spread_tokens: float,
) -> tuple[float, float]:
    """Mean and standard deviation to tell routing, whichever forecaster is in charge.

    The foreseen pair (of ``forecasts.foreseen``) where there is one; where it is NaN, what the
    table has learned.
    """
    if foreseen_tokens == foreseen_tokens:  # not NaN
        return foreseen_tokens, foreseen_spread_tokens
    mean_tokens, spread_tokens, _ = forecast_length(table, class_code, bucket)
    return mean_tokens, spread_tokens


@kernel
def _mills_ratio(z: float) -> float:
    """Upper tail of the standard normal over its density, for ``z`` above -37."""
    if z < _FAR:
        return _ROOT_HALF_PI * math.exp(0.5 * z * z) * math.erfc(z * _ROOT_HALF)
    below = z
    for term in range(40, 0, -1):  # Laplace's continued fraction
        below = z + term / below
    return 1.0 / below


@kernel
def remaining_tokens(mean_tokens: float, spread_tokens: float, emitted_tokens: float) -> float:
    """Expected output tokens still to come, ``emitted_tokens`` having come: E[X - a | X > a].

    X is lognormal with the given mean (above 0) and standard deviation; its log spread is s =
    sqrt(log(1 + spread^2 / mean^2)). With z = (log a - mu) / s and R the Mills ratio of the normal,
    E[X | X > a] = a R(z - s) / R(z). With no spread it is the rest of the mean, and 0 beyond it. As
    ``a`` grows it falls at first, then rises without end: the tail is heavy.
    """
    if emitted_tokens <= 0.0:
        return mean_tokens
    if spread_tokens <= 1e-6 * mean_tokens:
        return max(mean_tokens - emitted_tokens, 0.0)
    relative = spread_tokens / mean_tokens
    log_spread2 = math.log1p(relative * relative)
    log_spread = math.sqrt(log_spread2)
    z = (math.log(emitted_tokens) - math.log(mean_tokens)) / log_spread + 0.5 * log_spread
    if z < _FAR:
        alive = math.erfc(z * _ROOT_HALF)
        share = math.erfc((z - log_spread) * _ROOT_HALF) / alive
        return max(mean_tokens * share - emitted_tokens, 0.0)
    return emitted_tokens * (_mills_ratio(z - log_spread) / _mills_ratio(z) - 1.0)


@kernel
def longer_length(
    mean_tokens: float, spread_tokens: float, seen_tokens: float, high_tokens: float
) -> tuple[float, float, float]:
    """Mean and variance of an output of which ``seen_tokens`` (above 0) have come, X given X > a,
    and the probability that it is longer than ``high_tokens``, at least ``a``.

    X is lognormal with the given mean (above 0) and standard deviation; E[X^k | X > a] =
    E[X^k] Q(z - k s) / Q(z) = a^k R(z - k s) / R(z) with the upper tail Q and the Mills ratio R of
    the normal. With no spread it is its mean, or ends right after ``a``.
    """
    if spread_tokens <= 1e-6 * mean_tokens:
        mean = max(mean_tokens, seen_tokens)
        return mean, 0.0, 1.0 if mean > high_tokens else 0.0
    relative = spread_tokens / mean_tokens
    log_spread = math.sqrt(math.log1p(relative * relative))
    z = math.log(seen_tokens / mean_tokens) / log_spread + 0.5 * log_spread
    above = math.log(high_tokens / mean_tokens) / log_spread + 0.5 * log_spread
    if z < _FAR:
        alive = math.erfc(z * _ROOT_HALF)
        mean = mean_tokens * (math.erfc((z - log_spread) * _ROOT_HALF) / alive)
        square = (mean_tokens * mean_tokens + spread_tokens * spread_tokens) * (
            math.erfc((z - 2.0 * log_spread) * _ROOT_HALF) / alive
        )
        longer = math.erfc(above * _ROOT_HALF) / alive
    else:
        alive = _mills_ratio(z)
        mean = seen_tokens * (_mills_ratio(z - log_spread) / alive)
        square = seen_tokens * seen_tokens * (_mills_ratio(z - 2.0 * log_spread) / alive)
        longer = math.exp(0.5 * (z - above) * (z + above)) * (_mills_ratio(above) / alive)
    mean = max(mean, seen_tokens)
    return mean, max(0.0, square - mean * mean), min(1.0, longer)


@kernel
def capped_length(
    mean_tokens: float, spread_tokens: float, cap_tokens: float
) -> tuple[float, float, float]:
    """Mean and mean square of an output under a cap, min(X, c), and the probability P(X <= c) that
    it is whole.

    X is lognormal with the given mean m (above 0) and standard deviation. With z = (log c - mu) / s
    and F the normal law: E[min(X, c)] = m F(z - s) + c (1 - F(z)) and E[min(X, c)^2] =
    E[X^2] F(z - 2 s) + c^2 (1 - F(z)). With no spread the output is its mean.
    """
    if spread_tokens <= 1e-6 * mean_tokens:
        least = min(mean_tokens, cap_tokens)
        return least, least * least, 1.0 if mean_tokens <= cap_tokens else 0.0
    relative = spread_tokens / mean_tokens
    log_spread2 = math.log1p(relative * relative)
    square = mean_tokens * mean_tokens + spread_tokens * spread_tokens
    if cap_tokens == math.inf:
        return mean_tokens, square, 1.0
    log_spread = math.sqrt(log_spread2)
    z = math.log(cap_tokens / mean_tokens) / log_spread + 0.5 * log_spread
    below = 0.5 * math.erfc((log_spread - z) * _ROOT_HALF)
    far_below = 0.5 * math.erfc((2.0 * log_spread - z) * _ROOT_HALF)
    cut = 0.5 * math.erfc(z * _ROOT_HALF)
    return (
        mean_tokens * below + cap_tokens * cut,
        square * far_below + cap_tokens * cap_tokens * cut,
        1.0 - cut,
    )
