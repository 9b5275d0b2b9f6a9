"""The online length forecaster: its rows, its forecasts, what is left of a running request."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from baseload.base.kernels import plain
from baseload.base.streams import stream
from baseload.workload import lengths
from baseload.workload.lengths import (
    BUCKETS,
    HIGH_FRAC,
    MEMORY_REQUESTS,
    PRIOR_REQUESTS,
    SHRINK_REQUESTS,
    WHOLE_CLASS,
    bucket_of,
    expected_length,
    forecast_length,
    learn_cut_length,
    learn_length,
    length_table,
    longer_length,
    prior_tokens,
    remaining_tokens,
)

OUTPUTS = st.lists(st.integers(1, 20_000).map(float), min_size=1, max_size=60)
REQUESTS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 200_000), st.integers(1, 20_000)), max_size=60
)


def learned(outputs, *, bucket=3):
    """A table of one class whose bucket has learned these."""
    table = length_table(["chat"])
    for tokens in outputs:
        learn_length(table, 0, bucket, float(tokens))
    return table


# buckets


@given(st.integers(0, 2**40))
@settings(deadline=None)
def test_a_bucket_is_a_power_of_two(input_tokens):
    bucket = bucket_of(input_tokens)
    assert bucket == plain(bucket_of)(input_tokens)
    assert bucket == min((input_tokens // 64).bit_length(), BUCKETS - 1)


def test_the_buckets_by_hand():
    sizes = [1, 63, 64, 127, 128, 1023, 1024, 65_535, 65_536, 10**9]
    assert [bucket_of(size) for size in sizes] == [0, 0, 1, 1, 2, 4, 5, 10, 11, 11]


# learning


def test_a_class_starts_at_its_prior():
    assert prior_tokens(["chat", "unheard of"]) == [211.0, 300.0]
    table = length_table(["chat", "unheard of"])
    assert table.shape == (2, BUCKETS + 1)
    for code, prior in enumerate((211.0, 300.0)):
        for bucket in range(BUCKETS):
            mean, spread, high = forecast_length(table, code, bucket)
            assert (mean, spread) == (prior, prior)
            assert high == pytest.approx(stats.expon.ppf(0.95, scale=prior))
    assert length_table([]).shape == (1, BUCKETS + 1)


def test_classes_and_buckets_learn_apart():
    table = learned([1000.0], bucket=3)
    assert table[0, WHOLE_CLASS].mean_tokens == pytest.approx(211 + (1000 - 211) / 21)
    own = forecast_length(table, 0, 3)[0]
    assert forecast_length(table, 0, 4)[0] == table[0, WHOLE_CLASS].mean_tokens < own
    two = length_table(["chat", "rag"])
    learn_length(two, 1, 0, 9000.0)
    assert forecast_length(two, 0, 0)[0] == 211.0


@given(OUTPUTS)
@settings(deadline=None)
def test_within_its_memory_a_row_is_the_plain_mean_and_variance(outputs):
    table = learned(outputs)
    cell, whole = table[0, 3], table[0, WHOLE_CLASS]
    assert cell.count == len(outputs)
    assert cell.mean_tokens == pytest.approx(np.mean(outputs))
    assert cell.variance_tokens2 == pytest.approx(np.var(outputs), abs=1e-6)
    total = PRIOR_REQUESTS * 211 + sum(outputs)
    assert whole.mean_tokens == pytest.approx(total / (PRIOR_REQUESTS + len(outputs)))


@given(OUTPUTS)
@settings(deadline=None)
def test_a_forecast_is_the_mixture_of_bucket_and_class(outputs):
    table = learned(outputs)
    cell, whole = table[0, 3], table[0, WHOLE_CLASS]
    mean, spread, high = forecast_length(table, 0, 3)
    share = len(outputs) / (len(outputs) + SHRINK_REQUESTS)
    parts = np.array([1 - share, share])
    means = np.array([whole.mean_tokens, cell.mean_tokens])
    squares = np.array([whole.variance_tokens2, cell.variance_tokens2]) + means**2
    assert mean == pytest.approx(parts @ means)
    assert spread**2 == pytest.approx(parts @ squares - mean**2)
    assert min(cell.high_tokens, whole.high_tokens) <= high * (1 + 1e-12)
    assert high <= max(cell.high_tokens, whole.high_tokens) * (1 + 1e-12)


@given(OUTPUTS, st.integers(1, 20_000), st.integers(0, 20_000))
@settings(deadline=None)
def test_a_longer_answer_never_lowers_a_forecast(outputs, tokens, more):
    """Monotone: of two tables alike, the one that learns the longer answer forecasts no less."""
    short, long = learned([*outputs, tokens]), learned([*outputs, tokens + more])
    for bucket in (3, 4):
        below, above = forecast_length(short, 0, bucket), forecast_length(long, 0, bucket)
        assert below[0] <= above[0] * (1 + 1e-12)
        assert below[2] <= above[2] * (1 + 1e-12)


def test_a_row_forgets():
    table = learned([100.0] * 3000 + [200.0] * 10_000)
    assert table[0, 3].count == MEMORY_REQUESTS
    mean, spread, _ = forecast_length(table, 0, 3)
    assert mean == pytest.approx(200, rel=0.01)
    assert spread < 12


@pytest.mark.parametrize("log_spread", [0.3, 0.8, 1.3])
def test_the_percentile_is_found_and_followed(log_spread):
    """On lognormal outputs, then on outputs three times as long; the bound of the share is four
    standard errors.
    """
    draws = np.exp(5 + log_spread * stream(0, "lengths").standard_normal(12_000))
    table, above = length_table(["chat"]), 0
    true = math.exp(5 + log_spread * stats.norm.ppf(HIGH_FRAC))
    for factor in (1.0, 3.0):
        for at, tokens in enumerate(factor * draws):
            above += at >= 4000 and tokens > forecast_length(table, 0, 2)[2]
            learn_length(table, 0, 2, float(tokens))
        assert forecast_length(table, 0, 2)[2] == pytest.approx(factor * true, rel=0.2)
    assert above / 16_000 == pytest.approx(1 - HIGH_FRAC, abs=4 * math.sqrt(0.05 * 0.95 / 16_000))


@given(REQUESTS)
@settings(deadline=None, max_examples=50)
def test_the_plain_twins_learn_the_same(requests):
    fast, slow, inner = (length_table(["chat", "rag"]) for _ in range(3))
    for code, input_tokens, output_tokens in requests:
        bucket, tokens = bucket_of(input_tokens), float(output_tokens)
        learn_length(fast, code, bucket, tokens)
        plain(learn_length)(slow, code, bucket, tokens)
        if inner[code, bucket].count == 0.0:
            inner[code, bucket].high_tokens = inner[code, WHOLE_CLASS].high_tokens
        for row in (inner[code, bucket], inner[code, WHOLE_CLASS]):
            plain(lengths._take_in)(row, tokens)
    for name in fast.dtype.names:
        assert fast[name] == pytest.approx(slow[name], rel=1e-12)
        assert fast[name] == pytest.approx(inner[name], rel=1e-12)
    for code in (0, 1):
        for bucket in range(BUCKETS):
            expected = plain(forecast_length)(fast, code, bucket)
            assert forecast_length(fast, code, bucket) == pytest.approx(expected, rel=1e-12)


def test_what_is_foreseen_goes_before_what_is_learned():
    table = learned([50.0] * 5)
    for given_pair in ((70.0, 3.0), (math.nan, math.nan)):
        found = expected_length(table, 0, 3, *given_pair)
        expected = forecast_length(table, 0, 3)[:2] if math.isnan(given_pair[0]) else given_pair
        assert found == tuple(expected)
        assert found == pytest.approx(plain(expected_length)(table, 0, 3, *given_pair))


# the rest of a running request


@given(
    mean=st.floats(1, 1e5),
    relative=st.floats(0.01, 20),
    age=st.floats(0, 1e6),
)
@settings(deadline=None)
def test_the_rest_has_its_laws(mean, relative, age):
    rest = remaining_tokens(mean, relative * mean, age)
    assert rest == pytest.approx(plain(remaining_tokens)(mean, relative * mean, age), rel=1e-9)
    assert rest >= max(0.0, mean - age) * (1 - 1e-9)  # to have come so far is no bad news
    assert math.isfinite(rest)
    assert remaining_tokens(mean, relative * mean, 0.0) == mean
    longer = remaining_tokens(mean, relative * mean, age + 0.1 * mean)
    assert longer + age + 0.1 * mean >= (rest + age) * (1 - 1e-9)  # the whole never gets shorter


@pytest.mark.parametrize("relative", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("age", [1.0, 30.0, 100.0, 150.0, 1000.0])
def test_the_rest_is_the_integral_of_the_tail(relative, age):
    """E[X - a | X > a] is the integral of P(X > x) over x above a, over P(X > a)."""
    log_spread = math.sqrt(math.log1p(relative**2))
    law = stats.lognorm(log_spread, scale=100 * math.exp(-0.5 * log_spread**2))
    grid = np.linspace(math.log(age), max(math.log(age) + 4, 14), 200_001)
    tail = np.exp(law.logsf(np.exp(grid)) - law.logsf(age)) * np.exp(grid)
    expected = (tail.sum() - 0.5 * (tail[0] + tail[-1])) * (grid[1] - grid[0])
    assert remaining_tokens(100.0, 100 * relative, age) == pytest.approx(expected, rel=1e-5)


def test_where_the_tail_is_expanded_nothing_jumps():
    """The two ways to the rest meet six standard deviations out."""
    mean, spread = 100.0, 50.0
    log_spread = math.sqrt(math.log1p(0.25))
    edge = mean * math.exp(6 * log_spread - 0.5 * log_spread**2)
    below, above = (remaining_tokens(mean, spread, edge * (1 + off)) for off in (-1e-9, 1e-9))
    assert below == pytest.approx(above, rel=1e-7)


def test_without_spread_the_rest_is_what_is_left_of_the_mean():
    assert [remaining_tokens(100.0, 0.0, age) for age in (0.0, 40.0, 100.0, 300.0)] == [
        100.0,
        60.0,
        0.0,
        0.0,
    ]
    assert remaining_tokens(100.0, 0.01, 40.0) == pytest.approx(60.0)


# answers that a cap cut


@given(
    mean=st.floats(1, 1e4),
    relative=st.floats(0.05, 4),
    seen=st.floats(-3, 8),
    more=st.floats(0, 5),
)
@settings(deadline=None)
def test_what_is_longer_follows_the_lognormal_law(mean, relative, seen, more):
    """Against integrals of the normal tail, in units of its spread, also far out."""
    s = math.sqrt(math.log1p(relative**2))
    mu = math.log(mean) - s * s / 2
    cut, high = math.exp(mu + seen * s), math.exp(mu + (seen + more) * s)
    found = longer_length(mean, relative * mean, cut, high)
    assert found == pytest.approx(plain(longer_length)(mean, relative * mean, cut, high), rel=1e-9)
    u = (np.arange(200_000) + 0.5) / 200_000
    z = stats.norm.isf(u * stats.norm.sf(seen))
    x = np.exp(mu + s * z)
    assert found[0] == pytest.approx(x.mean(), rel=2e-3)
    assert found[1] == pytest.approx(x.var(), rel=0.1)
    assert found[2] == pytest.approx(stats.norm.sf(seen + more) / stats.norm.sf(seen), rel=1e-6)
    assert found[0] - cut == pytest.approx(
        remaining_tokens(mean, relative * mean, cut), rel=1e-6, abs=1e-9 * cut
    )


def test_without_spread_a_cut_answer_is_its_mean_or_ends_here():
    assert longer_length(100.0, 0.0, 50.0, 60.0) == (100.0, 0.0, 1.0)
    assert longer_length(100.0, 0.0, 150.0, 160.0) == (150.0, 0.0, 0.0)


@pytest.mark.parametrize(("cut_frac", "slack"), [(0.05, 0.05), (0.15, 0.06), (0.3, 0.1)])
def test_caps_do_not_bias_what_is_learned(cut_frac, slack):
    """Once, a cut answer was learned as its expected length: the spread shrank, then the mean, to
    30 % too little where a third was cut.
    """
    rng = stream(7, "tests", "capped lengths")
    s = 0.9
    outputs = np.ceil(rng.lognormal(math.log(600.0) - s * s / 2, s, 12_000))
    cap = float(np.quantile(outputs, 1.0 - cut_frac))
    table = length_table(["chat"])
    for tokens in outputs.tolist():
        if tokens > cap:
            learn_cut_length(table, 0, 3, cap)
        else:
            learn_length(table, 0, 3, tokens)
    row = table[0, WHOLE_CLASS]
    assert row.mean_tokens == pytest.approx(outputs.mean(), rel=slack)
    assert math.sqrt(row.variance_tokens2) == pytest.approx(outputs.std(), rel=2 * slack)
    assert row.high_tokens == pytest.approx(np.quantile(outputs, HIGH_FRAC), rel=2 * slack)
