"""When to stop thinking."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr
from scipy.stats import nbinom

from baseload.base.errors import BadInputError
from baseload.theory.stopping import hazard, stopping_tokens, thinking_budget, worth_of_chain

STEP = {"energy_j_per_token": 0.5, "tokens_per_step": 20.0}  # 10 J


def test_known_success_is_all_or_nothing():
    start = worth_of_chain(skills_left=4, a=0.5, value_usd=1, shadow_price=0.01, **STEP)
    assert start.start
    assert start.worth_usd == pytest.approx(1 - 0.01 * 10 * 8)
    assert not worth_of_chain(skills_left=4, a=0.5, value_usd=0.7, shadow_price=0.01, **STEP).start


@given(a=st.floats(0.01, 1), value=st.floats(0, 10), price=st.floats(-1, 1))
def test_a_finished_skill_never_makes_going_on_worse(a, value, price):
    worths = [
        worth_of_chain(skills_left=j, a=a, value_usd=value, shadow_price=abs(price), **STEP)
        for j in range(6)
    ]
    for nearer, farther in itertools.pairwise(worths):
        assert nearer.worth_usd >= farther.worth_usd


def test_a_hopeless_chain_is_not_started():
    assert not worth_of_chain(skills_left=1, a=0, value_usd=1e9, shadow_price=-1, **STEP).start
    assert worth_of_chain(skills_left=0, a=0, value_usd=1, shadow_price=9, **STEP).start


@pytest.mark.parametrize("n", [0, 1, 2, 5, 40])
def test_the_hazard_is_that_of_the_mixture(n):
    steps, weights = np.array([0.05, 0.4]), np.array([0.3, 0.7])
    ends = (weights * nbinom.pmf(n + 1 - 3, 3, steps)).sum()
    alive = (weights * nbinom.sf(n - 3, 3, steps)).sum()
    found = hazard(k=3, a=steps, weights=weights, attempts=n)
    assert found == pytest.approx(ends / alive, rel=1e-9)


def test_one_skill_of_known_success_has_a_constant_hazard():
    for n in (0, 1, 10, 100):
        assert hazard(k=1, a=[0.2], weights=[1], attempts=n) == pytest.approx(0.2)
    assert hazard(k=1, a=[1.0], weights=[1], attempts=5) == 0  # nothing is left
    assert hazard(k=1, a=[0.0, 1.0], weights=[0.5, 0.5], attempts=0) == 0.5
    assert hazard(k=1, a=[0.0, 1.0], weights=[0.5, 0.5], attempts=1) == 0


def simulated_gain(budget, k, steps, weights, value, step_usd):
    """Expected gain of a fixed budget, from the law of each difficulty."""
    total = 0.0
    for a, w in zip(steps, weights, strict=True):
        m = np.arange(k, budget + 1)
        p = nbinom.pmf(m - k, k, a)
        done = p.sum()
        total += w * (value * done - step_usd * ((m * p).sum() + budget * (1 - done)))
    return total


def test_the_best_budget_beats_its_neighbours():
    steps, weights = [0.02, 0.4], [0.5, 0.5]
    found = thinking_budget(
        k=3, a=steps, weights=weights, value_usd=1.0, shadow_price=0.001, n_most=300, **STEP
    )
    gains = [simulated_gain(n, 3, steps, weights, 1.0, 0.01) for n in range(301)]
    assert found.best_index == int(np.argmax(gains))
    assert found.gain_usd == pytest.approx(max(gains), rel=1e-9)
    assert found.stop_index == found.best_index  # one peak: the look-ahead finds it too


def test_ends_of_the_budget():
    dear = thinking_budget(
        k=2, a=[0.3], weights=[1], value_usd=0.01, shadow_price=1, n_most=50, **STEP
    )
    assert (dear.stop_index, dear.best_index, dear.gain_usd) == (0, 0, 0)
    free = thinking_budget(
        k=2, a=[0.3], weights=[1], value_usd=1, shadow_price=0, n_most=50, **STEP
    )
    assert free.stop_index == math.inf


@pytest.mark.parametrize(
    ("a", "weights", "field"),
    [([0.1, 0.2], [1.0], "weights"), ([0.1], [0.9], "weights"), ([1.2], [1.0], "a")],
)
def test_bad_mixtures_are_named(a, weights, field):
    with pytest.raises(BadInputError, match=field):
        hazard(k=1, a=a, weights=weights, attempts=0)


def test_the_peak_may_not_pay_for_the_way_there():
    """The look-ahead sees the next step only; the best budget sees that starting is a loss."""
    found = thinking_budget(
        k=3, a=[0.02, 0.4], weights=[0.5, 0.5], value_usd=1.0, shadow_price=0.005, **STEP
    )
    assert found.stop_index > 0
    assert (found.best_index, found.gain_usd) == (0, 0)


@given(
    mean=st.floats(1, 2000),
    relative=st.floats(0.03, 5),
    value=st.floats(1e-3, 1),
    right=st.floats(0.1, 1),
    price=st.floats(-6, 0),
)
def test_the_stopping_tokens_are_the_best_cap_of_all(mean, relative, value, right, price):
    """Against the gains of all caps on a grid, summed token by token."""
    usd = value * 10**price
    found = stopping_tokens(
        mean, relative * mean, worth_usd=value, right_frac=right, usd_per_token=usd
    )
    s = math.sqrt(math.log1p(relative**2))
    tokens = np.arange(1, 100_000)
    alive = np.concatenate(([1.0], ndtr((math.log(mean) - s * s / 2 - np.log(tokens)) / s)))
    gain = np.concatenate(
        ([0.0], np.cumsum(value * right * (alive[:-1] - alive[1:]) - usd * alive[:-1]))
    )
    if found == 1.0:
        assert gain.max() <= 1.01 * usd  # not worth starting, but for the first token
    elif found >= len(gain):
        assert gain[-1] >= gain.max() - 1e-9 * value
    else:
        assert gain[int(found)] == pytest.approx(gain.max(), abs=1e-9 * value + 0.5 * usd)
        if gain.max() > usd:
            assert gain[int(found)] == pytest.approx(gain.max(), abs=1e-9 * value)


def test_the_stopping_tokens_at_the_limits():
    known = {"worth_usd": 0.01, "right_frac": 0.8}
    assert stopping_tokens(500, 400, **known, usd_per_token=0.0) == math.inf
    assert stopping_tokens(500, 400, **known, usd_per_token=-1e-6) == math.inf
    assert stopping_tokens(500, 400, **known, usd_per_token=1e-18) == math.inf
    assert stopping_tokens(500, 400, **known, usd_per_token=1.0) == 1.0
    assert stopping_tokens(500, 400, worth_usd=0.0, right_frac=1, usd_per_token=1e-9) == 1.0
    assert stopping_tokens(500, 400, worth_usd=1.0, right_frac=0, usd_per_token=1e-9) == 1.0
    assert stopping_tokens(499.5, 0.0, **known, usd_per_token=1e-5) == 500.0
    assert stopping_tokens(499.5, 0.0, **known, usd_per_token=1e-4) == 1.0


@given(mean=st.floats(1, 1e5), relative=st.floats(1e-5, 20), price=st.floats(1e-9, 1e-3))
def test_dearer_tokens_and_less_worth_stop_sooner(mean, relative, price):
    def tokens(worth_usd, usd):
        spread = relative * mean
        return stopping_tokens(mean, spread, worth_usd=worth_usd, right_frac=0.9, usd_per_token=usd)

    assert tokens(0.1, price) >= tokens(0.1, 2 * price) >= 1.0
    assert tokens(0.1, price) >= tokens(0.05, price)
    # only the ratio of price and worth counts
    assert tokens(0.2, 2 * price) == pytest.approx(tokens(0.1, price), rel=1e-6, abs=1.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mean_tokens", 0.0), ("mean_tokens", math.nan), ("spread_tokens", -1.0),
        ("worth_usd", -1.0), ("right_frac", 1.1), ("right_frac", -0.1),
        ("usd_per_token", math.nan), ("usd_per_token", math.inf),
    ],
)  # fmt: skip
def test_stopping_tokens_refuses_what_is_no_number_of_its_kind(field, value):
    good = {
        "mean_tokens": 500.0,
        "spread_tokens": 300.0,
        "worth_usd": 0.01,
        "right_frac": 0.8,
        "usd_per_token": 1e-6,
    }
    with pytest.raises(BadInputError, match=field):
        stopping_tokens(**(good | {field: value}))
