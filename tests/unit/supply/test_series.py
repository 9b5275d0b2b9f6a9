from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.supply.series import (
    checked_edges,
    sampled_means,
    slot_edges,
    slot_lengths,
    step_means,
)


def means(values, edges, **fields):
    settings = {"step_s": 1.0, "start_s": 0.0} | fields
    return sampled_means("series", np.array(values, float), edges_s=np.array(edges), **settings)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=30),
    st.lists(st.floats(0.01, 0.99), min_size=1, max_size=8),
    st.floats(0.1, 5_000.0),
)
def test_means_hold_the_integral(values, cuts, step_s):
    values = np.array(values)
    span = len(values) * step_s
    edges = np.unique(np.concatenate(([0.0], np.array(cuts) * span, [span])))
    found = means(values, edges, step_s=step_s)
    assert found @ np.diff(edges) == pytest.approx(values.sum() * step_s, rel=1e-12, abs=1e-9)
    assert (found >= values.min() - 1e-6).all()
    assert (found <= values.max() + 1e-6).all()


def test_a_slot_inside_one_piece_gets_its_value_to_the_bit():
    values = [0.1, 0.2, 0.3]
    assert means(
        values, [0.0, 900.0, 1800.0, 3600.0, 7200.0, 10_800.0], step_s=3600.0
    ).tolist() == [
        0.1,
        0.1,
        0.1,
        0.2,
        0.3,
    ]
    edges = 1e9 + np.arange(4) * 0.1  # steps that binary numbers cannot hold
    assert means(values, edges, step_s=0.1, start_s=1e9).tolist() == values


def test_a_slot_over_several_pieces_gets_their_mean():
    assert means([1.0, 3.0, 5.0], [0.0, 1.5, 3.0]) == pytest.approx([2.5 / 1.5, 6.5 / 1.5])


def test_a_typical_year_starts_over_and_has_been_before():
    found = means([1.0, 2.0, 3.0], np.arange(-2.0, 8.0), wrap=True)
    assert found.tolist() == [2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0]


@pytest.mark.parametrize("edges", [[0.0, 3.1], [-0.1, 1.0], [3.0, 4.0]])
def test_a_run_that_leaves_its_series_is_told_both_lengths(edges):
    with pytest.raises(BadInputError, match="3 values of 10 s") as found:
        means([1.0, 2.0, 3.0], np.array(edges) * 10, step_s=10.0)
    assert f"a run of {(edges[1] - edges[0]) * 10:g} s" in str(found.value)


def test_edges_of_equal_and_unequal_slots():
    assert slot_edges(10.0, 3, start_s=5.0).tolist() == [5.0, 15.0, 25.0, 35.0]
    assert slot_edges([1.0, 2.0, 3.0]).tolist() == [0.0, 1.0, 3.0, 6.0]
    assert slot_edges(1.0, 0).tolist() == [0.0]
    assert slot_lengths(2.0, 3).tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: slot_edges(0.0, 2),
        lambda: slot_edges([1.0, -1.0]),
        lambda: slot_edges([1.0], 2),
        lambda: slot_lengths([[1.0]], 1),
        lambda: slot_lengths(-1.0, 1),
    ],
)
def test_slots_without_length_are_refused(wrong):
    with pytest.raises(BadInputError, match="slot_s"):
        wrong()


def test_edges_must_rise():
    with pytest.raises(BadInputError, match="edges_s"):
        checked_edges([0.0, 1.0, 1.0])
    with pytest.raises(BadInputError, match="edges_s"):
        checked_edges([])


def test_nothing_has_no_means():
    assert step_means(np.array([0.0]), np.array([]), np.array([0.0, 1.0])).tolist() == [0.0]
    assert means([], [0.0]).shape == (0,)
