"""One slot of the supply, with an exact balance, and many of them.

In a slot baseline ``A`` meets demand ``D``. Surplus charges the store, and what it cannot take is
waste; a deficit discharges it, then auxiliary supply comes in, and what passes its limit is
unserved. Limits hold for the mean power of a slot: shorter slots see more of them. Every loss is
defined as a difference of what went in and what came out, so that

    A + auxiliary = (D - unserved) + waste + change of the level + leak + loss

holds to the round-off of one addition, whatever is clamped (docs/explanation/supply.md).

The kernel ``step`` works on two records, one row of ``STATE`` and one of ``LIMITS``: the simulator
calls it slot by slot, ``run_slots`` in a compiled loop.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.base.inputs import Floats, not_negative, number, numbers
from baseload.base.kernels import kernel, outline_kernel
from baseload.supply.series import slot_lengths
from baseload.supply.store import NO_STORE, Store

Row: TypeAlias = Any
"""One row of a record array: a numpy record, a numba record inside kernels."""

FLOWS = (
    "supply_j",
    "demand_j",
    "auxiliary_j",
    "waste_j",
    "unserved_j",
    "charged_j",
    "discharged_j",
    "leak_j",
    "loss_j",
)
"""What flows in a slot [J], in the order of sums and columns."""
SUPPLY, DEMAND, AUXILIARY, WASTE, UNSERVED, CHARGED, DISCHARGED, LEAK, LOSS = range(len(FLOWS))

LIMITS = np.dtype(
    [
        ("capacity_j", np.float64),  # usable; inf allowed
        ("charge_efficiency", np.float64),
        ("discharge_efficiency", np.float64),
        ("leak_per_s", np.float64),
        ("charge_limit_w", np.float64),
        ("discharge_limit_w", np.float64),
        ("auxiliary_limit_w", np.float64),
    ],
    align=True,
)
"""What the store and the auxiliary supply can do."""

STATE = np.dtype(
    [
        ("level_j", np.float64),  # usable energy in the store now
        ("start_j", np.float64),  # and before the first slot
        *[(name, np.float64) for name in FLOWS],  # of the last slot
        ("slot_s", np.float64),  # its length
        ("leak_frac", np.float64),  # share of the level that leaks in a slot of that length
        ("slots", np.int64),
        ("sum_j", np.float64, (len(FLOWS),)),
        ("rest_j", np.float64, (len(FLOWS),)),  # what rounding took from sum_j
    ],
    align=True,
)
"""A store on its way through the slots, and the sums of all flows so far."""

SLOT_RESIDUAL_LIMIT = 4.0 * float(np.finfo(np.float64).eps)
"""A slot balances when its residual is at most this share of supply + demand + capacity."""
BALANCE_LIMIT = 1e-12
"""A run balances when its residual is at most this share of what went through it."""


@kernel
def slot_flows(
    limits: Row, level_j: float, leak_frac: float, net_j: float, slot_s: float
) -> tuple[float, float, float, float, float, float, float, float]:
    """One slot: ``net_j`` is supply minus demand [J], ``level_j`` the level before it.

    Gives level after, auxiliary, waste, unserved, charged, discharged, leak, loss [J]; charged and
    discharged count at the bus.
    """
    kept_j = level_j - leak_frac * level_j
    leak_j = level_j - kept_j
    if net_j >= 0.0:
        room_j = (limits.capacity_j - kept_j) / limits.charge_efficiency
        charged_j = max(0.0, min(net_j, limits.charge_limit_w * slot_s, room_j))
        after_j = limits.capacity_j
        if charged_j < room_j:
            after_j = min(kept_j + limits.charge_efficiency * charged_j, limits.capacity_j)
        loss_j = charged_j - (after_j - kept_j)
        return after_j, 0.0, net_j - charged_j, 0.0, charged_j, 0.0, leak_j, loss_j
    short_j = -net_j
    there_j = limits.discharge_efficiency * kept_j
    given_j = max(0.0, min(short_j, limits.discharge_limit_w * slot_s, there_j))
    after_j = 0.0
    if given_j < there_j:
        after_j = max(kept_j - given_j / limits.discharge_efficiency, 0.0)
    loss_j = (kept_j - after_j) - given_j
    rest_j = short_j - given_j
    auxiliary_j = min(rest_j, limits.auxiliary_limit_w * slot_s)
    return after_j, auxiliary_j, 0.0, rest_j - auxiliary_j, 0.0, given_j, leak_j, loss_j


@kernel
def _add(state: Row, flow: int, value_j: float) -> None:
    """Add to a sum and keep what rounding takes from it (Knuth's two-sum: Neumaier without a
    branch).
    """
    before = state.sum_j[flow]
    after = before + value_j
    part = after - before
    state.rest_j[flow] += (before - (after - part)) + (value_j - part)
    state.sum_j[flow] = after


@kernel
def step(state: Row, limits: Row, supply_j: float, demand_j: float, slot_s: float) -> float:
    """Take ``state`` through a slot of ``slot_s`` [s] with ``supply_j`` of baseline and
    ``demand_j`` [J]; gives the level after it [J]. The flows of the slot are then in the fields of
    ``state`` named in ``FLOWS``, and added to its sums.

    ``supply_j`` may be negative: baseline less than what the site itself draws. Nothing is checked:
    numbers must be finite, ``demand_j`` >= 0, ``slot_s`` > 0.
    """
    if slot_s != state.slot_s:
        state.slot_s = slot_s
        state.leak_frac = -math.expm1(-limits.leak_per_s * slot_s)
    after_j, auxiliary_j, waste_j, unserved_j, charged_j, discharged_j, leak_j, loss_j = slot_flows(
        limits, state.level_j, state.leak_frac, supply_j - demand_j, slot_s
    )
    state.level_j = after_j
    state.supply_j, state.demand_j = supply_j, demand_j
    state.auxiliary_j, state.waste_j, state.unserved_j = auxiliary_j, waste_j, unserved_j
    state.charged_j, state.discharged_j = charged_j, discharged_j
    state.leak_j, state.loss_j = leak_j, loss_j
    state.slots += 1
    _add(state, SUPPLY, supply_j)
    _add(state, DEMAND, demand_j)
    _add(state, AUXILIARY, auxiliary_j)
    _add(state, WASTE, waste_j)
    _add(state, UNSERVED, unserved_j)
    _add(state, CHARGED, charged_j)
    _add(state, DISCHARGED, discharged_j)
    _add(state, LEAK, leak_j)
    _add(state, LOSS, loss_j)
    return after_j


@outline_kernel
def run(
    state: Row,
    limits: Row,
    supply_j: Floats,
    demand_j: Floats,
    slot_s: Floats,
    level_j: Floats,
    columns: Floats,
) -> None:
    """``step`` for each row of ``supply_j``, ``demand_j`` ``[n]`` and ``slot_s`` ``[n]`` (``[1]``:
    one length for all). Writes the level after each slot to ``level_j`` ``[n]`` and its flows to
    ``columns`` ``[len(FLOWS), n]`` (``[.., 0]``: not kept).
    """
    one_length, keep = slot_s.shape[0] == 1, columns.shape[1] > 0
    for at in range(supply_j.shape[0]):
        length_s = slot_s[0] if one_length else slot_s[at]
        level_j[at] = step(state, limits, supply_j[at], demand_j[at], length_s)
        if keep:
            columns[SUPPLY, at], columns[DEMAND, at] = state.supply_j, state.demand_j
            columns[AUXILIARY, at], columns[WASTE, at] = state.auxiliary_j, state.waste_j
            columns[UNSERVED, at], columns[CHARGED, at] = state.unserved_j, state.charged_j
            columns[DISCHARGED, at], columns[LEAK, at] = state.discharged_j, state.leak_j
            columns[LOSS, at] = state.loss_j


class SlotTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the slots of a run [J], compensated: right to the last bit or two.

    ``supply_j`` baseline (net of what was subtracted from it), ``demand_j``, ``auxiliary_j``
    bought, ``waste_j`` of baseline that nothing could use or store, ``unserved_j`` demand over the
    auxiliary limit, ``charged_j`` and ``discharged_j`` at the bus, ``leak_j`` self-discharge,
    ``loss_j`` conversion, ``level_start_j``, ``level_end_j`` of the store above its floor;
    ``slots`` how many.
    """

    slots: int
    supply_j: float
    demand_j: float
    auxiliary_j: float
    waste_j: float
    unserved_j: float
    charged_j: float
    discharged_j: float
    leak_j: float
    loss_j: float
    level_start_j: float
    level_end_j: float

    @property
    def baseline_used_j(self) -> float:
        """Baseline that served demand or went into the store [J]."""
        return self.supply_j - self.waste_j

    @property
    def store_change_j(self) -> float:
        """What the store holds more than at the start [J]."""
        return self.level_end_j - self.level_start_j


class SlotColumns(NamedTuple):
    """What flowed in each slot [J], float64 ``[n]`` each; ``level_j`` is that after the slot."""

    supply_j: Floats
    demand_j: Floats
    auxiliary_j: Floats
    waste_j: Floats
    unserved_j: Floats
    charged_j: Floats
    discharged_j: Floats
    leak_j: Floats
    loss_j: Floats
    level_j: Floats

    @property
    def baseline_used_j(self) -> Floats:
        """Baseline that served demand or went into the store [J], ``[n]``."""
        return self.supply_j - self.waste_j


class SlotRun(NamedTuple):
    """A run through slots: its sums, the level after each slot [J] ``[n]``, and its columns where
    they were asked for.
    """

    totals: SlotTotals
    level_j: Floats
    columns: SlotColumns | None


def limits_record(store: Store, auxiliary_limit_w: float = math.inf) -> Row:
    """The ``LIMITS`` row of a store and an auxiliary supply of at most ``auxiliary_limit_w`` [W],
    as ``step`` takes it.
    """
    most_w = not_negative("auxiliary_limit_w", auxiliary_limit_w, infinite=True)
    table = np.zeros(1, dtype=LIMITS).view(np.recarray)
    table[0] = (
        store.usable_j,
        store.charge_efficiency,
        store.discharge_efficiency,
        store.leak_per_s,
        store.charge_limit_w,
        store.discharge_limit_w,
        most_w,
    )
    return table[0]


def state_record(store: Store, start_j: float | None = None) -> Row:
    """The ``STATE`` row of a store before its first slot. ``start_j`` [J above the floor]: another
    level than the store's own; outside of it by more than 1e-9 of the capacity is an error.
    """
    level_j = store.start_j if start_j is None else number("start_j", start_j)
    slack = 1e-9 * store.usable_j if math.isfinite(store.usable_j) else 0.0
    if not -slack <= level_j <= store.usable_j + slack:
        raise ArgumentError(
            "start_j", found=f"{level_j!r} J", allowed=f"0 to {store.usable_j:g} J above the floor"
        )
    table = np.zeros(1, dtype=STATE).view(np.recarray)
    table[0].level_j = table[0].start_j = min(max(level_j, 0.0), store.usable_j)
    return table[0]


def totals_of(state: Row) -> SlotTotals:
    """The sums of a ``STATE`` row so far."""
    sums = {name: float(state.sum_j[at] + state.rest_j[at]) for at, name in enumerate(FLOWS)}
    return SlotTotals(
        slots=int(state.slots),
        level_start_j=float(state.start_j),
        level_end_j=float(state.level_j),
        **sums,
    )


def run_slots(
    supply_j: ArrayLike,
    demand_j: ArrayLike,
    slot_s: ArrayLike,
    *,
    store: Store = NO_STORE,
    auxiliary_limit_w: float = math.inf,
    start_j: float | None = None,
    columns: bool = True,
) -> SlotRun:
    """A run through slots of ``slot_s`` [s] (one length, or ``[n]``) with baseline ``supply_j`` and
    ``demand_j`` [J] ``[n]``; without ``columns`` only sums and levels are kept.

    ``supply_j`` may be negative (baseline less than the site's own draw), ``demand_j`` not. Exact:
    docs/explanation/supply.md, 1.4. Raises ``ArgumentError`` naming the field.
    """
    supply = numbers("supply_j", supply_j, shape=(-1,))
    demand = numbers("demand_j", demand_j, least=0.0, shape=(-1,))
    if len(supply) != len(demand):
        raise ArgumentError(
            "demand_j",
            found=f"{len(demand)} slots, and {len(supply)} of supply_j",
            allowed="as many of each",
        )
    lengths = slot_lengths(slot_s, len(supply) if np.ndim(slot_s) else 1)
    state, limits = state_record(store, start_j), limits_record(store, auxiliary_limit_w)
    level = np.empty(len(supply))
    flows = np.empty((len(FLOWS), len(supply) if columns else 0))
    run(state, limits, supply, demand, lengths, level, flows)
    totals = totals_of(state)
    if not np.isfinite([getattr(totals, name) for name in (*FLOWS, "level_end_j")]).all():
        raise ArithmeticError(f"a run of {len(supply)} slots gave {totals} with {store}")
    kept = SlotColumns._make([*flows, level]) if columns else None
    return SlotRun(totals, level, kept)


def slot_residual(columns: SlotColumns, level_start_j: float) -> Floats:
    """What each slot is out of balance [J] ``[n]``: supply + auxiliary less demand served, waste,
    change of the level, leak and loss; summed without round-off of its own.
    """
    before = np.concatenate(([level_start_j], columns.level_j[:-1]))[: len(columns.level_j)]
    terms = (
        columns.supply_j,
        columns.auxiliary_j,
        -columns.demand_j,
        columns.unserved_j,
        -columns.waste_j,
        -columns.level_j,
        before,
        -columns.leak_j,
        -columns.loss_j,
    )
    return np.array([math.fsum(slot) for slot in zip(*terms, strict=True)], dtype=np.float64)


def slot_residual_frac(columns: SlotColumns, level_start_j: float, capacity_j: float) -> Floats:
    """``slot_residual`` as a share of supply + demand + capacity, ``[n]``; at most
    ``SLOT_RESIDUAL_LIMIT``. Of an infinite store the higher of both levels counts as capacity.
    """
    residual = np.abs(slot_residual(columns, level_start_j))
    before = np.concatenate(([level_start_j], columns.level_j[:-1]))[: len(columns.level_j)]
    held = np.maximum(before, columns.level_j) if math.isinf(capacity_j) else capacity_j
    scale = np.abs(columns.supply_j) + columns.demand_j + held
    return np.divide(residual, scale, out=np.zeros_like(residual), where=scale > 0.0)


def balance_residual_frac(totals: SlotTotals) -> float:
    """What a run is out of balance, as a share of the largest of its sums; at most
    ``BALANCE_LIMIT``. 0 for a run without energy.
    """
    residual_j = math.fsum(
        (
            totals.supply_j,
            totals.auxiliary_j,
            -totals.demand_j,
            totals.unserved_j,
            -totals.waste_j,
            -totals.level_end_j,
            totals.level_start_j,
            -totals.leak_j,
            -totals.loss_j,
        )
    )
    scale_j = max(abs(totals.supply_j), totals.demand_j, totals.auxiliary_j, totals.waste_j)
    scale_j = max(scale_j, abs(totals.store_change_j))
    return abs(residual_j) / scale_j if scale_j > 0.0 else 0.0
