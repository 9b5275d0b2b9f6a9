"""The small parts of the jump engine against their plain meaning."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_scenarios import made_scenario, made_trace

from baseload.base.kernels import plain
from baseload.simulator import accounts, closed_forms, events
from baseload.simulator.measure import bin_edges
from baseload.simulator.records import ACTIVE, BINS, E2E
from baseload.simulator.run import new_engine
from baseload.simulator.truth import ARRIVAL, arrivals
from baseload.workload.chunks import source_of

NUMBERS = st.floats(1e-4, 10.0)


@given(first=NUMBERS, rise=st.floats(0, 1), count=st.integers(0, 200))
@settings(max_examples=100, deadline=None)
def test_a_series_is_the_sum_of_its_terms(first, rise, count):
    terms = [first + step * rise for step in range(count)]
    assert closed_forms.series_sum(first, rise, count) == pytest.approx(math.fsum(terms))


@given(first=NUMBERS, steep=st.floats(0, 1), count=st.integers(1, 300), share=st.floats(0, 1.2))
@settings(max_examples=200, deadline=None)
def test_the_present_step_is_the_first_that_lasts_longer(first, steep, count, share):
    """A step never rises by more than its own length: the context it reads grows by its batch."""
    rise = steep * first
    elapsed = share * closed_forms.series_sum(first, rise, count)
    found = closed_forms.steps_until(first, rise, count, elapsed)
    longer = [n for n in range(1, count + 1) if closed_forms.series_sum(first, rise, n) > elapsed]
    assert found == (longer[0] if longer else count)
    assert found == plain(closed_forms.steps_until)(first, rise, count, elapsed)


def engine_of(replicas=5, **changes):
    scenario = made_scenario(made_trace(4))
    group = msgspec.structs.replace(scenario.groups[0], replicas=replicas)
    scenario = msgspec.structs.replace(scenario, groups=(group,))
    return new_engine(scenario, source_of(made_trace(4)), **changes)[1]


@given(
    replicas=st.integers(1, 40),
    changes=st.lists(st.tuples(st.integers(0, 39), st.sampled_from([0.0, 1.0, 2.5, math.inf]))),
)
@settings(max_examples=60, deadline=None)
def test_the_tournament_knows_who_is_next(replicas, changes):
    """The earliest instant, and of equal ones the lowest number."""
    engine = engine_of(replicas)
    for number, at_s in changes:
        events.schedule(engine, number % replicas, at_s)
        winner = int(engine.tree[1])
        assert engine.event_s[winner] == engine.event_s.min()
        if engine.event_s[winner] < math.inf:
            assert winner == int(np.argmin(engine.event_s))


@given(
    keys=st.lists(st.integers(0, 50), min_size=1, max_size=8),
    drops=st.lists(st.integers(0, 7), max_size=8),
)
@settings(max_examples=80, deadline=None)
def test_the_heap_gives_the_decoder_that_ends_first(keys, drops):
    """Equal last steps leave in order of admission; any entry may be taken out."""
    engine = engine_of(3)
    replica = engine.replicas[1]
    held = {}
    for admission, iteration in enumerate(keys):
        events.push(engine, replica, events.heap_key(iteration, admission), admission)
        held[admission] = (iteration, admission)
        assert events.last_iteration(engine, replica) == min(held.values())[0]
    for place in drops:
        if not held:
            break
        place %= len(held)
        del held[int(engine.heap[replica.heap + place].slot)]
        events.drop(engine, replica, place)
        assert replica.decoders == len(held)
        if held:
            first = int(engine.heap[replica.heap].slot)
            assert (events.last_iteration(engine, replica), first) == min(held.values())


@given(
    start=st.floats(0, 1.5),
    duration=st.floats(0, 1.5),
    energy_j=st.floats(0, 1000),
)
@settings(max_examples=100, deadline=None)
def test_a_charge_spreads_over_the_bins_it_touches(start, duration, energy_j):
    engine = engine_of()
    engine.bin_s[0] = 0.01
    accounts.charge(engine, engine.replicas[2], ACTIVE, energy_j, start, start + duration)
    bins = engine.power_j[:, 0, ACTIVE]
    assert bins.sum() == pytest.approx(energy_j, abs=1e-9)
    assert bins.min() >= -1e-9
    assert engine.replicas[2].account_j[ACTIVE] == energy_j
    last = len(bins) - 1
    used = np.flatnonzero(np.abs(bins) > 1e-9)
    if len(used):
        assert used[0] >= min(last, int(start / 0.01))
        assert used[-1] <= min(last, int((start + duration) / 0.01))


@given(value=st.floats(0, 1e7))
@settings(max_examples=100, deadline=None)
def test_a_value_is_counted_in_its_bin(value):
    engine = engine_of()
    accounts._count(engine, E2E, 0, value)
    place = int(np.flatnonzero(engine.histogram[E2E, 0])[0])
    edges = bin_edges(E2E)
    if edges[0] < value < edges[-1]:
        assert edges[place] * (1 - 1e-9) <= value <= edges[place + 1] * (1 + 1e-9)
    else:
        assert place in (0, BINS - 1)


def test_arrivals_say_never_where_a_trace_says_nothing():
    trace = made_trace(5)
    rows = arrivals(trace)
    assert rows.dtype == ARRIVAL
    assert (rows.arrival_s == trace.t_us / 1e6).all()
    assert (rows.deadline_s == math.inf).all()
    assert (rows.model == -1).all()
    with_deadline = msgspec.structs.replace(trace, deadline_us=np.full(5, 1_500_000))
    assert (arrivals(with_deadline).deadline_s == 1.5).all()
