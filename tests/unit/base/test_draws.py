from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.draws import below, draws, uniform, uniforms
from baseload.base.kernels import plain


def many(count, *names, seed=0):
    state = draws(seed, *names)
    return np.array([uniform(state) for _ in range(count)])


def test_draws_are_uniform():
    """Twenty bins of twenty thousand draws: chi-squared below its 99.99 % point (19 degrees of
    freedom).
    """
    counts, _ = np.histogram(many(20_000, "uniform"), bins=20, range=(0, 1))
    chi_squared = float(((counts - 1000) ** 2 / 1000).sum())
    assert chi_squared < 51.0
    values = many(20_000, "uniform")
    assert values.min() >= 0.0
    assert values.max() < 1.0
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.03


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@given(seed=st.integers(0, 2**40), name=st.text(max_size=5))
@settings(max_examples=60, deadline=None)
def test_the_plain_twin_draws_the_same(seed, name):
    """Unsigned words wrap around in both; numpy warns of it in plain Python."""
    compiled, written = draws(seed, name), draws(seed, name)
    for _ in range(5):
        assert uniform(compiled) == plain(uniform)(written)
    assert (compiled == written).all()


@given(bound=st.integers(1, 2**31 - 1), seed=st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_below_stays_below(bound, seed):
    state = draws(seed, "below")
    found = [below(state, bound) for _ in range(10)]
    assert all(0 <= value < bound for value in found)


def test_below_reaches_every_value_evenly():
    state = draws(3, "dice")
    counts = np.bincount([below(state, 6) for _ in range(12_000)], minlength=6)
    assert len(counts) == 6
    assert abs(counts - 2000).max() < 200


def test_streams_do_not_touch():
    """Other names, other seeds: other numbers; equal ones: equal numbers."""
    ours = many(1000, "a", 1)
    assert (ours == many(1000, "a", 1)).all()
    for other in (many(1000, "a", 2), many(1000, "b", 1), many(1000, "a", 1, seed=1)):
        assert not np.isin(ours, other).any()
        assert abs(np.corrcoef(ours, other)[0, 1]) < 0.1


def test_a_stream_can_be_jumped():
    """The second word counts: setting it is the same as drawing that many times."""
    walked, jumped = draws(0, "jump"), draws(0, "jump")
    for _ in range(100):
        uniform(walked)
    jumped[1] = 100
    assert uniform(walked) == uniform(jumped)


@given(seed=st.integers(0, 1000), first=st.integers(0, 2**40), count=st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_many_draws_at_once_are_the_draws_one_by_one(seed, first, count):
    state = draws(seed, "many", 1)
    state[1] = first
    found = uniforms(seed, "many", 1, first=first, count=count)
    assert found.tolist() == [uniform(state) for _ in range(count)]
