from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from baseload.base.errors import BadInputError
from baseload.base.kernels import plain
from baseload.base.streams import stream
from baseload.supply import slot as module
from baseload.supply.slot import (
    BALANCE_LIMIT,
    FLOWS,
    SLOT_RESIDUAL_LIMIT,
    SlotColumns,
    balance_residual_frac,
    limits_record,
    run,
    run_slots,
    slot_flows,
    slot_residual,
    slot_residual_frac,
    state_record,
    step,
    totals_of,
)
from baseload.supply.store import NO_STORE, Store, lithium_battery

from .stores import limits, slots, stores

INFINITE = Store(capacity_j=math.inf)


def by_the_book(supply_j, demand_j, slot_s, store, auxiliary_limit_w):
    """The slot step as its definition reads, written again."""
    level, rows = store.start_j, []
    lengths = np.broadcast_to(slot_s, np.shape(supply_j))
    for have, want, length in zip(supply_j, demand_j, lengths, strict=True):
        leak = -math.expm1(-store.leak_per_s * length) * level
        kept, net = level - leak, have - want
        bought = unserved = wasted = taken = given_ = 0.0
        if net >= 0:
            room = (store.usable_j - kept) / store.charge_efficiency
            taken = max(0.0, min(net, store.charge_limit_w * length, room))
            after = min(kept + store.charge_efficiency * taken, store.usable_j)
            loss, wasted = taken - (after - kept), net - taken
        else:
            most = min(store.discharge_limit_w * length, store.discharge_efficiency * kept)
            given_ = max(0.0, min(-net, most))
            after = max(kept - given_ / store.discharge_efficiency, 0.0)
            loss, left = (kept - after) - given_, -net - given_
            bought = min(left, auxiliary_limit_w * length)
            unserved = left - bought
        rows.append((have, want, bought, wasted, unserved, taken, given_, leak, loss, after))
        level = after
    return SlotColumns(*np.array(rows).reshape(-1, len(FLOWS) + 1).T)


@given(slots(), stores(), limits)
def test_every_slot_and_every_run_balance(given_slots, store, limit_w):
    supply, demand, slot_s = given_slots
    found = run_slots(supply, demand, slot_s, store=store, auxiliary_limit_w=limit_w)
    assert balance_residual_frac(found.totals) <= BALANCE_LIMIT
    frac = slot_residual_frac(found.columns, store.start_j, store.usable_j)
    assert (frac <= SLOT_RESIDUAL_LIMIT).all()


@given(slots(), stores(), limits)
def test_flows_and_levels_stay_in_their_bounds(given_slots, store, limit_w):
    supply, demand, slot_s = given_slots
    found = run_slots(supply, demand, slot_s, store=store, auxiliary_limit_w=limit_w).columns
    slack = 1e-9
    assert ((found.level_j >= 0) & (found.level_j <= store.usable_j)).all()
    for name in ("auxiliary_j", "waste_j", "unserved_j", "charged_j", "discharged_j", "leak_j"):
        assert (getattr(found, name) >= 0).all(), name
    magnitude = np.abs(supply) + demand + np.maximum(found.level_j, store.start_j)
    assert (found.loss_j >= -slack * (magnitude + 1)).all()
    assert ((found.auxiliary_j == 0) | (found.waste_j == 0)).all()
    assert ((found.charged_j == 0) | (found.discharged_j == 0)).all()
    assert ((found.unserved_j == 0) | (found.auxiliary_j >= limit_w * slot_s * (1 - 1e-15))).all()
    assert (found.auxiliary_j <= limit_w * slot_s).all()
    assert (found.charged_j <= store.charge_limit_w * slot_s).all()
    assert (found.discharged_j <= store.discharge_limit_w * slot_s).all()


@given(slots(), stores(), limits)
def test_the_kernel_does_what_the_definition_says(given_slots, store, limit_w):
    supply, demand, slot_s = given_slots
    found = run_slots(supply, demand, slot_s, store=store, auxiliary_limit_w=limit_w).columns
    expected = by_the_book(supply, demand, slot_s, store, limit_w)
    scale = 1.0 + np.abs(supply).sum() + demand.sum() + store.start_j
    for name in SlotColumns._fields:
        assert getattr(found, name) == pytest.approx(
            getattr(expected, name), rel=1e-12, abs=1e-11 * scale
        ), name


@given(slots(most=12), stores(), limits)
def test_the_kernel_equals_its_plain_twin(given_slots, store, limit_w):
    supply, demand, slot_s = given_slots
    fast = run_slots(supply, demand, slot_s, store=store, auxiliary_limit_w=limit_w)
    slow_state, record = state_record(store), limits_record(store, limit_w)
    for at in range(len(supply)):
        length = float(np.broadcast_to(slot_s, supply.shape)[at])
        leak_frac = -math.expm1(-store.leak_per_s * length)
        arguments = (record, slow_state.level_j, leak_frac, supply[at] - demand[at], length)
        assert plain(slot_flows)(*arguments) == pytest.approx(slot_flows(*arguments), rel=1e-14)
        level = plain(step)(slow_state, record, supply[at], demand[at], length)
        assert level == pytest.approx(fast.level_j[at], rel=1e-13, abs=1e-30)
    slow, quick = (msgspec.structs.asdict(row) for row in (totals_of(slow_state), fast.totals))
    assert slow == pytest.approx(quick, rel=1e-12, abs=1e-6)


def test_plain_and_compiled_loops_are_equal_to_the_bit_without_leakage():
    rng = stream(0, "test.slots")
    supply, demand = rng.gamma(1.0, 2.0, 300), rng.gamma(2.0, 1.0, 300)
    store = Store(capacity_j=5.0, charge_efficiency=0.9, discharge_efficiency=0.95)
    outcomes = []
    for loop in (run, plain(run)):
        state, level = state_record(store), np.empty(300)
        flows = np.empty((len(FLOWS), 300))
        loop(state, limits_record(store, 2.0), supply, demand, np.array([1.0]), level, flows)
        outcomes.append((level, flows, totals_of(state)))
    assert (outcomes[0][0] == outcomes[1][0]).all()
    assert (outcomes[0][1] == outcomes[1][1]).all()
    assert outcomes[0][2] == outcomes[1][2]


def test_slot_by_slot_gives_what_the_loop_gives():
    rng = stream(1, "test.slots")
    supply, demand = rng.gamma(1.0, 2e9, 200), rng.gamma(2.0, 1e9, 200)
    store = lithium_battery(500.0)
    state, record = state_record(store), limits_record(store, 1e6)
    flows = []
    for at in range(200):
        level = step(state, record, supply[at], demand[at], 900.0)
        assert level == state.level_j
        flows.append([getattr(state, name) for name in FLOWS])
    found = run_slots(supply, demand, 900.0, store=store, auxiliary_limit_w=1e6)
    assert (np.array(found.columns[:-1]) == np.array(flows).T).all()
    assert totals_of(state) == found.totals


def test_totals_and_levels_do_not_depend_on_keeping_columns():
    rng = stream(2, "test.slots")
    supply, demand = rng.gamma(1.0, 2.0, 100), rng.gamma(2.0, 1.0, 100)
    kept = run_slots(supply, demand, 60.0, store=Store(capacity_j=9.0))
    bare = run_slots(supply, demand, 60.0, store=Store(capacity_j=9.0), columns=False)
    assert bare.columns is None
    assert bare.totals == kept.totals
    assert (bare.level_j == kept.level_j).all()
    assert kept.columns.baseline_used_j.sum() == pytest.approx(kept.totals.baseline_used_j)


@given(slots(most=15), stores(leaky=False), st.integers(2, 5))
def test_splitting_a_slot_at_constant_power_changes_nothing(given_slots, store, parts):
    supply, demand, slot_s = given_slots
    whole = run_slots(supply, demand, slot_s, store=store).totals
    lengths = np.broadcast_to(slot_s, supply.shape) / parts
    split = run_slots(
        np.repeat(supply / parts, parts),
        np.repeat(demand / parts, parts),
        np.repeat(lengths, parts),
        store=store,
    ).totals
    scale = 1.0 + np.abs(supply).sum() + demand.sum() + whole.level_start_j
    for name in (*FLOWS, "level_end_j"):
        assert getattr(split, name) == pytest.approx(getattr(whole, name), abs=1e-9 * scale), name


def test_an_auxiliary_limit_holds_for_the_mean_of_a_slot():
    """A store that runs dry inside a slot makes room for auxiliary power before it does: in halves
    of the slot less of it can come. Shorter slots leave more unserved, never less.
    """
    store = Store(capacity_j=2.0, soc_start_frac=1.0)
    whole = run_slots([0.0], [4.0], 1.0, store=store, auxiliary_limit_w=2.0).totals
    halves = run_slots([0.0] * 2, [2.0] * 2, 0.5, store=store, auxiliary_limit_w=2.0).totals
    assert (whole.auxiliary_j, whole.unserved_j) == (2.0, 0.0)
    assert (halves.auxiliary_j, halves.unserved_j) == (1.0, 1.0)


@given(slots(most=15), stores(), st.floats(1.0, 4.0))
def test_a_larger_store_never_wastes_or_buys_more(given_slots, store, times):
    supply, demand, slot_s = given_slots
    if math.isinf(store.capacity_j):
        return
    level_j = store.start_j
    low = msgspec.structs.replace(
        store, capacity_j=store.usable_j, soc_min_frac=0.0, soc_max_frac=1.0, soc_start_frac=None
    )
    high = msgspec.structs.replace(low, capacity_j=low.capacity_j * times)
    less, more = (
        run_slots(supply, demand, slot_s, store=one, start_j=min(level_j, low.capacity_j)).totals
        for one in (low, high)
    )
    slack = 1e-9 * (1.0 + np.abs(supply).sum() + demand.sum() + level_j)
    assert more.auxiliary_j <= less.auxiliary_j + slack
    assert more.waste_j <= less.waste_j + slack


@given(slots(most=15), stores(), st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_a_higher_auxiliary_limit_leaves_less_unserved(given_slots, store, one_w, other_w):
    supply, demand, slot_s = given_slots
    low, high = (
        run_slots(supply, demand, slot_s, store=store, auxiliary_limit_w=limit_w).totals
        for limit_w in sorted((one_w, other_w))
    )
    slack = 1e-9 * (1.0 + demand.sum() + np.abs(supply).sum())
    assert high.unserved_j <= low.unserved_j + slack
    assert high.auxiliary_j >= low.auxiliary_j - slack
    assert high.level_end_j == low.level_end_j
    bought = high.auxiliary_j + high.unserved_j
    assert bought == pytest.approx(low.auxiliary_j + low.unserved_j, abs=slack)


@example(np.array([5.0, -1.0]))
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20).map(np.array))
def test_without_a_store_surplus_is_waste_and_deficit_is_bought(net):
    found = run_slots(net, np.zeros(len(net)), 1.0).columns
    assert (found.waste_j == np.maximum(net, 0)).all()
    assert (found.auxiliary_j == np.maximum(-net, 0)).all()
    assert (found.level_j == 0).all()


def test_an_infinite_store_wastes_nothing_and_strands_what_is_left():
    found = run_slots([5.0, 5.0, 0.0], [1.0, 1.0, 3.0], 1.0, store=INFINITE)
    assert found.totals.waste_j == 0.0
    assert found.totals.auxiliary_j == 0.0
    assert found.totals.level_end_j == 5.0
    assert slot_residual_frac(found.columns, 0.0, math.inf).max() == 0.0


def test_a_store_that_only_leaks_follows_its_exponential():
    store = Store(capacity_j=100.0, leak_per_s=0.01, soc_start_frac=1.0)
    found = run_slots(np.zeros(3), np.zeros(3), [1.0, 10.0, 100.0], store=store)
    assert found.level_j == pytest.approx(100 * np.exp([-0.01, -0.11, -1.11]), rel=1e-14)
    assert found.totals.leak_j == pytest.approx(100 * -math.expm1(-1.11))


def test_a_round_trip_costs_both_efficiencies():
    store = Store(
        capacity_j=100.0, charge_efficiency=0.9, discharge_efficiency=0.8, soc_start_frac=0.0
    )
    found = run_slots([10.0, 0.0], [0.0, 20.0], 1.0, store=store).totals
    assert found.discharged_j == pytest.approx(10 * 0.9 * 0.8)
    assert found.loss_j == pytest.approx(10 - 7.2)
    assert found.auxiliary_j == pytest.approx(20 - 7.2)
    assert found.level_end_j == 0.0


def test_baseline_below_the_sites_own_draw_is_demand():
    found = run_slots([-3.0], [2.0], 1.0, auxiliary_limit_w=4.0).totals
    assert found.auxiliary_j == 4.0
    assert found.unserved_j == 1.0
    assert balance_residual_frac(found) == 0.0


def test_sums_of_many_unequal_slots_lose_nothing():
    """Naive sums of a million slots would be out by 1e-13 and more."""
    rng = stream(3, "test.slots")
    supply = rng.gamma(0.1, 1e9, 1_000_000)
    demand = rng.gamma(0.5, 2e8, 1_000_000)
    found = run_slots(supply, demand, 900.0, store=lithium_battery(1_000.0))
    assert balance_residual_frac(found.totals) <= 1e-15
    assert found.totals.supply_j == pytest.approx(math.fsum(supply), rel=1e-16)
    for name in ("auxiliary_j", "waste_j", "loss_j", "leak_j"):
        exact = math.fsum(getattr(found.columns, name))
        assert getattr(found.totals, name) == pytest.approx(exact, rel=2e-16)


def test_auxiliary_use_at_the_critical_supply_is_that_of_the_corrected_diffusion():
    """u = sigma^2 / (2 (B + 2 * 0.5826 s)) for slots of deviation s: docs/explanation/supply.md."""
    slots_n, deviation, capacity = 400_000, 1.0, 20.0
    net = stream(4, "test.slots").normal(0.0, deviation, slots_n)
    found = run_slots(
        np.maximum(net, 0), np.maximum(-net, 0), 1.0, store=Store(capacity_j=capacity)
    ).totals
    expected = deviation**2 / (2 * (capacity + 2 * 0.5825971579 * deviation))
    error = 4 * math.sqrt(1 / 3 / slots_n)
    assert found.auxiliary_j / slots_n == pytest.approx(expected, abs=error)
    theta = (found.supply_j - found.demand_j) / slots_n
    assert (found.waste_j - found.auxiliary_j) / slots_n == pytest.approx(
        theta, abs=1.01 * capacity / slots_n
    )


def test_no_slots_are_a_run_too():
    found = run_slots([], [], 1.0, store=Store(capacity_j=4.0))
    assert found.totals.slots == 0
    assert found.totals.level_end_j == 2.0
    assert balance_residual_frac(found.totals) == 0.0
    assert slot_residual(found.columns, 2.0).shape == (0,)


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("supply_j", ([math.nan], [1.0], 1.0)),
        ("supply_j", ([math.inf], [1.0], 1.0)),
        ("supply_j", ([[1.0]], [1.0], 1.0)),
        ("demand_j", ([1.0], [-1.0], 1.0)),
        ("demand_j", ([1.0], [1.0, 2.0], 1.0)),
        ("slot_s", ([1.0], [1.0], 0.0)),
        ("slot_s", ([1.0], [1.0], -1.0)),
        ("slot_s", ([1.0], [1.0], math.nan)),
        ("slot_s", ([1.0, 2.0], [1.0, 2.0], [1.0])),
        (r"slot_s\[1\]", ([1.0, 2.0], [1.0, 2.0], [1.0, 0.0])),
    ],
)
def test_bad_slots_are_refused_by_name(field, arguments):
    with pytest.raises(BadInputError, match=field):
        run_slots(*arguments)


def test_bad_limits_and_levels_are_refused_by_name():
    with pytest.raises(ValueError, match="auxiliary_limit_w"):
        run_slots([1.0], [1.0], 1.0, auxiliary_limit_w=-1.0)
    with pytest.raises(ValueError, match="start_j"):
        run_slots([1.0], [1.0], 1.0, store=Store(capacity_j=1.0), start_j=1.1)
    near = run_slots([], [], 1.0, store=Store(capacity_j=1.0), start_j=1.0 + 1e-10)
    assert near.totals.level_start_j == 1.0


def test_numbers_too_large_to_add_are_told():
    with pytest.raises(ArithmeticError, match="2 slots"):
        run_slots([-1.5e308, -1.5e308], [1.5e308, 1.5e308], 1.0)


def test_kernels_have_plain_twins_that_say_what_they_do():
    for name in ("slot_flows", "step", "run", "_add"):
        assert plain(getattr(module, name)).__doc__
    assert run_slots([1.0], [2.0], 1.0, store=NO_STORE).totals.auxiliary_j == 1.0
