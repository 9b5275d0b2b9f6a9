"""Laws of the transforms: what is kept, what is counted, what a seed fixes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.base.streams import stream
from baseload.workload import transform
from baseload.workload.chunks import collect, columns_of, rechunk, source_of
from baseload.workload.fingerprint import sha256_of
from baseload.workload.trace import Trace, check_trace


@st.composite
def traces(draw, *, most: int = 60) -> Trace:
    count = draw(st.integers(1, most))
    span_us = draw(st.sampled_from([0, 1, 1000, 10**6, 10**8]))
    rng = stream(draw(st.integers(0, 10**6)), "tests")
    optional = draw(st.booleans())
    return Trace(
        name="drawn",
        t_us=np.sort(rng.integers(0, span_us, count, endpoint=True)),
        input_tokens=np.arange(1, count + 1, dtype=np.int32),
        output_tokens=np.arange(count, 0, -1).astype(np.int32),
        class_code=rng.integers(0, 2, count).astype(np.int16),
        classes=("chat", "batch"),
        session=rng.integers(-1, 5, count).astype(np.int32) if optional else None,
        model_code=rng.integers(-1, 2, count).astype(np.int16) if optional else None,
        models=("a", "b") if optional else (),
    )


def rows(trace: Trace, *, but: tuple[str, ...] = ("t_us", "session")) -> list[tuple]:
    kept = [values.tolist() for key, values in columns_of(trace).items() if key not in but]
    return list(zip(*kept, strict=True))


# multiply


@settings(max_examples=60, deadline=None)
@given(traces(), st.floats(0.05, 40), st.floats(0, 30), st.integers(0, 5))
def test_multiply_counts_sorts_and_keeps_the_span(trace, factor, jitter_s, seed):
    source = transform.multiply(trace, factor, seed=seed, jitter_s=jitter_s)
    made = collect(source)
    if len(made):
        check_trace(made)
        assert made.t_us[-1] <= trace.t_us[-1]
    assert (
        len(made) == source.requests == int(factor) * len(trace) + round((factor % 1) * len(trace))
    )
    copies = dict.fromkeys(rows(trace), 0)
    for key in rows(made):
        copies[key] += 1
    assert set(copies.values()) <= {int(factor), int(factor) + 1}
    if factor >= 1:
        assert made.t_us[0] == trace.t_us[0] or made.t_us[0] < trace.t_us[0]
        assert made.t_us[-1] == trace.t_us[-1]


@settings(max_examples=40, deadline=None)
@given(traces(), st.floats(0.3, 30), st.integers(1, 500))
def test_multiply_is_the_same_in_pieces_of_any_size(trace, factor, chunk_requests):
    whole = collect(transform.multiply(trace, factor, seed=3))
    source = transform.multiply(trace, factor, seed=3, chunk_requests=chunk_requests)
    pieces = list(source.chunks())
    assert all(len(piece) == chunk_requests for piece in pieces[:-1])
    assert sha256_of(source) == sha256_of(whole)
    assert sha256_of(source) == sha256_of(source)


def test_multiply_is_the_same_in_blocks_of_any_size(trace, monkeypatch):
    """The internal blocks may not show: their borders cut through copies that jitter mixes."""
    whole = collect(transform.multiply(trace, 37.3, seed=4, jitter_s=20.0))
    for block in (1, 50, 777):
        monkeypatch.setattr(transform, "_BLOCK_REQUESTS", block)
        again = collect(transform.multiply(trace, 37.3, seed=4, jitter_s=20.0))
        assert sha256_of(again) == sha256_of(whole)
    assert len(whole) > 10_000


@given(traces())
@settings(max_examples=25, deadline=None)
def test_multiply_by_one_gives_the_trace_back(trace):
    assert sha256_of(transform.multiply(trace, 1.0, seed=9)) == sha256_of(trace)


def test_multiply_moves_copies_by_no_more_than_the_jitter(trace):
    made = collect(transform.multiply(trace, 50, seed=1, jitter_s=2.0))
    moved = made.t_us - trace.t_us[made.input_tokens - 1]
    assert abs(moved).max() <= 2_000_000
    # uniform: its standard deviation is 2 / sqrt(3) seconds
    inner = (made.t_us > 3e6) & (made.t_us < trace.t_us[-1] - 3e6)
    assert np.std(moved[inner]) / 1e6 == pytest.approx(2 / np.sqrt(3), rel=0.03)
    assert len(np.unique(made.t_us)) > 0.99 * len(made)


def test_multiply_keeps_how_the_rate_moves(trace):
    made = collect(transform.multiply(trace, 30.5, seed=1))
    edges = np.arange(0, 601, 30) * 1e6
    before = np.histogram(trace.t_us, edges)[0]
    after = np.histogram(made.t_us, edges)[0]
    assert np.corrcoef(before, after)[0, 1] > 0.98
    assert after.sum() == pytest.approx(30.5 * before.sum(), rel=0.01)


def test_multiply_gives_each_copy_sessions_of_its_own():
    from .conftest import make_trace

    trace = make_trace(40, session=True)
    made = collect(transform.multiply(trace, 3, seed=1))
    sizes = np.unique(made.session, return_counts=True)[1]
    assert len(sizes) == 30
    assert set(sizes) == {4}


def test_multiply_depends_on_the_seed(trace):
    one, two = (transform.multiply(trace, 2.5, seed=seed) for seed in (1, 2))
    assert sha256_of(one) != sha256_of(two)


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_multiply_refuses_factors_that_are_none(trace, factor):
    with pytest.raises(BadInputError, match="positive, finite"):
        transform.multiply(trace, factor, seed=1)


def test_multiply_refuses_a_negative_jitter_and_too_many_sessions(trace):
    with pytest.raises(BadInputError, match="jitter_s"):
        transform.multiply(trace, 2, seed=1, jitter_s=-1)
    from .conftest import make_trace

    with pytest.raises(BadInputError, match="drop the session column"):
        transform.multiply(make_trace(session=True), 1e8, seed=1)


# the others


@settings(max_examples=40, deadline=None)
@given(traces(), st.floats(0, 100), st.floats(0, 100))
def test_slices_of_a_trace_make_up_the_trace(trace, one, two):
    cuts = [0.0, *sorted([one, two]), trace.span_s + 1]
    cuts = sorted(cuts)
    parts = [
        transform.slice_time(trace, first, last, rebase=False)
        for first, last in itertools.pairwise(cuts)
    ]
    assert sum(map(len, parts)) == len(trace)
    assert [row for part in parts for row in rows(part, but=())] == rows(trace, but=())


def test_slice_starts_at_zero_and_refuses_the_past(trace):
    part = transform.slice_time(trace, 100, 200)
    assert 0 <= part.t_us[0] < part.t_us[-1] < 100_000_000
    assert len(transform.slice_time(trace, 1e9, float("inf"))) == 0
    with pytest.raises(BadInputError, match="0 <= start <= stop"):
        transform.slice_time(trace, 5, 4)


def test_shift_there_and_back_is_nothing(trace):
    back = transform.shift(transform.shift(trace, 12.5), -12.5)
    assert sha256_of(back) == sha256_of(trace)
    with pytest.raises(BadInputError, match="first arrival at -1"):
        transform.shift(trace, -1)


def test_thin_is_nested_and_binomial(trace):
    less = transform.thin(trace, 0.3, seed=5)
    more = transform.thin(trace, 0.6, seed=5)
    assert set(rows(less)) < set(rows(more)) < set(rows(trace))
    assert len(less) == pytest.approx(120, abs=40)
    assert len(transform.thin(trace, 1.0, seed=5)) == len(trace)
    with pytest.raises(BadInputError, match="multiply"):
        transform.thin(trace, 1.5, seed=5)


def test_thin_keeps_sessions_whole():
    from .conftest import make_trace

    thinned = transform.thin(make_trace(session=True), 0.5, seed=1)
    assert set(np.unique(thinned.session, return_counts=True)[1]) == {4}


def test_speed_up_multiplies_the_rate(trace):
    fast = transform.speed_up(trace, 4)
    assert fast.span_s == pytest.approx(trace.span_s / 4)
    check_trace(fast)


def test_repeat_keeps_the_rate_and_sessions_apart():
    from .conftest import make_trace

    trace = make_trace(session=True)
    thrice = transform.repeat(trace, 3)
    check_trace(thrice)
    assert len(thrice) == 3 * len(trace)
    assert len(np.unique(thrice.session)) == 300
    assert np.array_equal(
        transform.repeat(trace, 2, period_s=700).t_us[400:] - 700_000_000, trace.t_us
    )
    with pytest.raises(BadInputError, match="at least the span"):
        transform.repeat(trace, 2, period_s=10)


@settings(max_examples=30, deadline=None)
@given(traces(), traces())
def test_merge_keeps_every_request_in_order(one, two):
    both = transform.merge([one, two])
    check_trace(both)
    assert len(both) == len(one) + len(two)
    assert sorted(both.input_tokens) == sorted([*one.input_tokens, *two.input_tokens])
    if both.session is not None and one.session is not None and two.session is not None:
        count = sum(len(set(part.session[part.session >= 0])) for part in (one, two))
        assert len(set(both.session[both.session >= 0])) == count


def test_merge_brings_classes_together(trace):
    other = transform.shift(trace, 1)
    import msgspec

    other = msgspec.structs.replace(other, classes=("batch", "rag"))
    both = transform.merge([trace, other], name="both")
    assert both.classes == ("chat", "batch", "rag")
    assert np.bincount(both.class_code).tolist() == [200, 400, 200]
    with_deadline = msgspec.structs.replace(trace, deadline_us=trace.t_us)
    with pytest.raises(BadInputError, match="deadlines in some"):
        transform.merge([trace, with_deadline])


# pieces


@settings(max_examples=40, deadline=None)
@given(traces(), st.lists(st.integers(0, 60), max_size=5), st.integers(1, 70))
def test_rechunk_loses_nothing(trace, cuts, chunk_requests):
    from baseload.workload.chunks import take

    edges = sorted([0, *(min(cut, len(trace)) for cut in cuts), len(trace)])
    parts = [take(trace, slice(a, b)) for a, b in itertools.pairwise(edges)]
    pieces = list(rechunk(parts, chunk_requests))
    assert [len(piece) for piece in pieces[:-1]] == [chunk_requests] * (len(pieces) - 1)
    assert [row for piece in pieces for row in rows(piece, but=())] == rows(trace, but=())


def test_a_source_starts_anew_each_time(trace):
    source = source_of(trace, chunk_requests=150)
    assert [len(piece) for piece in source.chunks()] == [150, 150, 100]
    assert sha256_of(source) == sha256_of(trace)


def test_collect_of_nothing_is_an_empty_trace(trace):
    assert len(collect(transform.multiply(transform.thin(trace, 0, seed=1), 3, seed=1))) == 0
