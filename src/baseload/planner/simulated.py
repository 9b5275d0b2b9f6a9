"""Simulated auxiliary energy and waste, for dots with error bars beside the formulas.

Requests that come as impulses are followed exactly, one by one; anything else runs through the
supply's slot kernel, the same that runs and bills use. Every rate comes with a standard error from
blocks of the run; all baselines see the same random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import BadInputError
from baseload.base.kernels import outline_kernel
from baseload.base.streams import stream
from baseload.planner.demand_records import Demand
from baseload.planner.records import Supply
from baseload.supply.random_paths import ar1_path
from baseload.supply.slot import run_slots
from baseload.supply.store import Store
from baseload.theory.inputs import not_negative, numbers, positive, whole

Floats = NDArray[np.float64]
Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0 to 1."""

BLOCKS = 32
_MOST_SLOTS = 400_000
_RELAXATIONS = 400.0


class SimulatedRates(msgspec.Struct, frozen=True, kw_only=True):
    """Auxiliary and waste rates [W] at each of ``baseline_w``, with one standard error each.

    ``unserved``: demand beyond the auxiliary limit [W]. ``span_s``: simulated seconds per baseline;
    ``how`` in words.
    """

    baseline_w: tuple[float, ...]
    auxiliary_w: tuple[float, ...]
    auxiliary_error_w: tuple[float, ...]
    waste_w: tuple[float, ...]
    waste_error_w: tuple[float, ...]
    unserved_w: tuple[float, ...]
    span_s: float
    how: str


@outline_kernel
def impulse_run(
    gaps_s: Floats, jobs_j: Floats, baseline_w: float, store_j: float, level_j: float, sums: Floats
) -> float:
    """Requests one by one: in each gap the store fills at ``baseline_w``, then a request takes its
    energy at once.

    Adds auxiliary, waste [J] and seconds of each block of requests to ``sums`` ``[blocks, 3]``;
    gives the level after the last [J].
    """
    blocks = sums.shape[0]
    size = gaps_s.shape[0] // blocks
    for block in range(blocks):
        short_j, over_j, spent_s = 0.0, 0.0, 0.0
        for at in range(block * size, (block + 1) * size):
            level_j += baseline_w * gaps_s[at]
            if level_j > store_j:
                over_j += level_j - store_j
                level_j = store_j
            level_j -= jobs_j[at]
            if level_j < 0.0:
                short_j -= level_j
                level_j = 0.0
            spent_s += gaps_s[at]
        sums[block, 0] += short_j
        sums[block, 1] += over_j
        sums[block, 2] += spent_s
    return level_j


def simulate_requests(
    *,
    baseline_w: ArrayLike,
    store_j: float,
    requests_per_s: float,
    sample_j: ArrayLike,
    requests: int = 400_000,
    seed: int = 0,
    gap_cv2: float = 1.0,
    on_progress: Progress | None = None,
) -> SimulatedRates:
    """Event-exact rates of a lossless store under impulses: ``requests`` arrivals with gamma gaps
    of squared coefficient of variation ``gap_cv2`` (1: Poisson), energies drawn from ``sample_j``.

    ``baseline_w`` [W] are net of any steady draw. The first of the blocks is left out (the start).
    Raises ``BadInputError`` naming the field.
    """
    baselines = numbers("baseline_w", np.atleast_1d(baseline_w), least=0.0, shape=(-1,))
    sample = numbers("sample_j", sample_j, least=0.0, shape=(-1,))
    rate = positive("requests_per_s", requests_per_s)
    capacity = not_negative("store_j", store_j)
    count = whole("requests", requests, least=2 * BLOCKS)
    rng = stream(seed, "planner.simulated", "requests")
    shape = 1.0 / positive("gap_cv2", gap_cv2)
    gaps = rng.gamma(shape, 1.0 / (shape * rate), count)
    jobs = sample[rng.integers(0, len(sample), count)]
    found = []
    for turn, baseline in enumerate(baselines):
        sums = np.zeros((BLOCKS, 3))
        impulse_run(gaps, jobs, float(baseline), capacity, 0.5 * capacity, sums)
        found.append(_with_errors(sums[1:, 0], sums[1:, 1], np.zeros(BLOCKS - 1), sums[1:, 2]))
        if on_progress is not None:
            on_progress((turn + 1) / len(baselines))
    return _rates(
        baselines,
        found,
        float(gaps.sum()),
        f"{count:,} requests, one by one, seed {seed}",
    )


def simulate_slots(
    *,
    supply_j: ArrayLike,
    demand_j: ArrayLike,
    slot_s: float,
    baseline_w: ArrayLike,
    supply: Supply,
    how: str = "",
    blocks: int = BLOCKS,
    on_progress: Progress | None = None,
) -> SimulatedRates:
    """Rates of a site over given slots: ``supply_j`` ``[n]`` is the baseline's own movement about
    its mean [J], ``demand_j`` ``[n]`` the demand [J], ``slot_s`` the length of a slot [s].

    Each of ``baseline_w`` [W] is added to the movement; below 0 it counts as 0. Store, efficiencies
    and limits are those of ``supply``. Errors come from ``blocks`` equal parts of the run (whole
    periods, where there are some), of which the first is left out.
    """
    baselines = numbers("baseline_w", np.atleast_1d(baseline_w), least=0.0, shape=(-1,))
    movement = numbers("supply_j", supply_j, shape=(-1,))
    demand = numbers("demand_j", demand_j, least=0.0, shape=(len(movement),))
    length_s = positive("slot_s", slot_s)
    whole("blocks", blocks, least=3)
    if len(demand) < 2 * blocks:
        raise BadInputError(
            "demand_j", found=f"{len(demand)} slots", allowed=f"{2 * blocks} or more"
        )
    store = store_of(supply)
    edges = np.linspace(0, len(demand), blocks + 1).astype(int)
    found = []
    for turn, baseline in enumerate(baselines):
        energy = np.maximum(movement + float(baseline) * length_s, 0.0)
        level = supply.start_frac * supply.store_j
        rows = np.zeros((blocks, 4))
        for block in range(blocks):
            part = slice(int(edges[block]), int(edges[block + 1]))
            totals = run_slots(
                energy[part],
                demand[part],
                length_s,
                store=store,
                auxiliary_limit_w=supply.auxiliary_limit_w,
                start_j=level,
                columns=False,
            ).totals
            level = totals.level_end_j
            rows[block] = (
                totals.auxiliary_j,
                totals.waste_j,
                totals.unserved_j,
                (part.stop - part.start) * length_s,
            )
        found.append(_with_errors(*rows[1:].T))
        if on_progress is not None:
            on_progress((turn + 1) / len(baselines))
    return _rates(baselines, found, len(demand) * length_s, how)


def simulate_v(
    demand: Demand,
    supply: Supply,
    *,
    baseline_w: ArrayLike,
    seed: int = 0,
    slot_j: ArrayLike | None = None,
    slot_s: float | None = None,
    on_progress: Progress | None = None,
) -> SimulatedRates:
    """Simulated u and w over baselines, for the V.

    With ``slot_j`` (and ``slot_s``), the energy per slot of a run of this fleet, the run is
    repeated in blocks drawn at random (a block bootstrap, which keeps what is slow). Without, the
    demand's own law is drawn: Poisson impulses one by one where nothing else moves and the store is
    lossless; otherwise slots with the demand's variance rate and correlation time. The supply moves
    by its series, or by its variance rate.
    """
    if slot_j is None and _is_poisson(demand, supply):
        assert demand.job is not None
        given = numbers("baseline_w", np.atleast_1d(baseline_w), least=0.0, shape=(-1,))
        found = simulate_requests(
            baseline_w=np.maximum(given - demand.base_w, 0.0),
            store_j=supply.store_j,
            requests_per_s=demand.requests_per_s,
            sample_j=demand.job.sample_j,
            seed=seed,
            on_progress=on_progress,
        )
        return msgspec.structs.replace(found, baseline_w=tuple(given.tolist()))
    length_s, slots = _slots_of(demand, supply, slot_s if slot_j is not None else None)
    if slot_j is not None:
        demand_j = _bootstrap(
            numbers("slot_j", slot_j, least=0.0, shape=(-1,)),
            slots,
            block_s=20.0 * (demand.correlation_s or 60.0),
            slot_s=length_s,
            seed=seed,
        )
        # a few blocks too many of the busy time would move the V: it is about this mean
        demand_j *= demand.mean_w * length_s / max(float(demand_j.mean()), 1e-300)
        how = (
            f"{slots:,} slots of {length_s:g} s of a run, in random blocks about its mean, "
            f"seed {seed}"
        )
    else:
        demand_j = draw_demand(demand, slots, slot_s=length_s, seed=seed)
        how = f"{slots:,} slots of {length_s:g} s with the demand's variance, seed {seed}"
    return simulate_slots(
        supply_j=draw_supply(supply, slots, slot_s=length_s, seed=seed),
        demand_j=demand_j,
        slot_s=length_s,
        baseline_w=baseline_w,
        supply=supply,
        how=how,
        on_progress=on_progress,
    )


def draw_demand(demand: Demand, slots: int, *, slot_s: float, seed: int) -> Floats:
    """Energy per slot [J] with the demand's mean, variance rate and correlation time: a gamma
    variable a slot around a rate that moves as a first-order autoregression.
    """
    length_s = positive("slot_s", slot_s)
    slow_j2 = 0.0
    if demand.terms is not None:
        slow_j2 = demand.terms.temporal_j2_per_s + demand.terms.switching_j2_per_s
    if demand.correlation_s is None:
        slow_j2 = 0.0
    fast_j2 = max(0.0, demand.var_j2_per_s - slow_j2)
    mean_j = demand.moving_w * length_s
    rng = stream(seed, "planner.simulated", "demand")
    level_j = np.full(slots, mean_j)
    if slow_j2 > 0:
        noise = _autoregression(rng, slots, length_s, demand.correlation_s or 1.0, slow_j2)
        level_j = np.maximum(level_j + noise, 0.0)
    profile = _profile(demand, slots, length_s)
    level_j = np.maximum(level_j + profile, 0.0)
    energy_j = level_j
    if fast_j2 > 0 and mean_j > 0:
        scale_j = fast_j2 * length_s / mean_j  # variance over mean of a slot
        energy_j = rng.gamma(level_j / scale_j, scale_j)
    drawn: Floats = energy_j + demand.base_w * length_s
    return drawn


def draw_supply(supply: Supply, slots: int, *, slot_s: float, seed: int) -> Floats:
    """The baseline's movement about its mean per slot [J]: its series, repeated, and a first-order
    autoregression with its variance rate.
    """
    length_s = positive("slot_s", slot_s)
    moved = np.zeros(slots)
    if supply.series_w:
        series = np.asarray(supply.series_w)
        at = ((np.arange(slots) + 0.5) * length_s / supply.series_step_s).astype(np.int64)
        moved += (series[at % len(series)] - series.mean()) * length_s
    if supply.var_j2_per_s > 0:
        rng = stream(seed, "planner.simulated", "supply")
        time_s = supply.correlation_s or length_s / 2
        moved += _autoregression(rng, slots, length_s, time_s, supply.var_j2_per_s)
    return moved


def _profile(demand: Demand, slots: int, slot_s: float) -> Floats:
    """The demand's daily profile about its mean per slot [J]."""
    if demand.hourly_frac is None:
        return np.zeros(slots)
    hour = ((np.arange(slots) + 0.5) * slot_s // 3600.0).astype(np.int64) % 24
    moved: Floats = (np.asarray(demand.hourly_frac)[hour] - 1.0) * demand.mean_w * slot_s
    return moved


def _autoregression(
    rng: np.random.Generator, slots: int, slot_s: float, time_s: float, var_j2_per_s: float
) -> Floats:
    """A stationary first-order autoregression per slot [J] with correlation time ``time_s`` and
    long-run variance rate ``var_j2_per_s``.
    """
    keep = math.exp(-slot_s / time_s)
    spread_j = math.sqrt(var_j2_per_s * slot_s * (1.0 - keep) / (1.0 + keep))
    path: Floats = spread_j * ar1_path(rng, slots, keep)
    return path


def _is_poisson(demand: Demand, supply: Supply) -> bool:
    """Whether nothing but Poisson impulses moves and the store neither loses nor limits."""
    terms = demand.terms
    slow = demand.var_j2_per_s if terms is None else terms.temporal_j2_per_s
    return (
        demand.job is not None
        and demand.hourly_frac is None
        and slow <= 0.01 * demand.var_j2_per_s
        and (terms is None or terms.switching_j2_per_s <= 0.01 * demand.var_j2_per_s)
        and abs(demand.ca2 - 1.0) < 0.02
        and not supply.series_w
        and supply.var_j2_per_s == 0
        and not supply.lossy
        and supply.leak_per_s == 0
        and not supply.limited
    )


def _slots_of(demand: Demand, supply: Supply, slot_s: float | None) -> tuple[float, int]:
    """Length of a slot [s] and how many: several hundred times as long as the store remembers, at
    least a year of a supply that has one, at most 400,000 slots.
    """
    var = demand.var_j2_per_s + supply.var_j2_per_s
    memory_s = supply.store_j**2 / (5.0 * var) if var > 0 else 0.0
    longest_s = max(_RELAXATIONS * memory_s, 2000.0 * (demand.correlation_s or 0.0), 86_400.0)
    if supply.series_w:
        longest_s = max(longest_s, len(supply.series_w) * supply.series_step_s)
    length_s = supply.slot_s
    if slot_s is not None:
        return slot_s, int(min(_MOST_SLOTS, max(2 * BLOCKS, longest_s / slot_s)))
    length_s = max(length_s, min(longest_s / _MOST_SLOTS, (demand.correlation_s or 60.0) / 2))
    return length_s, int(min(_MOST_SLOTS, max(4096, longest_s / length_s)))


def _bootstrap(slot_j: Floats, slots: int, *, block_s: float, slot_s: float, seed: int) -> Floats:
    """``slots`` slots made of blocks of the record that start anywhere in it (circular)."""
    size = int(min(max(1.0, block_s / slot_s), max(1, len(slot_j) // 4)))
    blocks = math.ceil(slots / size)
    starts = stream(seed, "planner.simulated", "blocks").integers(0, len(slot_j), blocks)
    at = (starts[:, None] + np.arange(size)[None, :]).ravel()[:slots] % len(slot_j)
    drawn: Floats = slot_j[at]
    return drawn


def store_of(supply: Supply, store_j: float | None = None) -> Store:
    """The supply's store as the slot kernel takes it, or one like it of ``store_j`` [J]."""
    return Store(
        capacity_j=supply.store_j if store_j is None else store_j,
        charge_efficiency=supply.charge_efficiency,
        discharge_efficiency=supply.discharge_efficiency,
        leak_per_s=supply.leak_per_s,
        charge_limit_w=supply.charge_limit_w,
        discharge_limit_w=supply.discharge_limit_w,
    )


def _with_errors(
    auxiliary_j: Floats, waste_j: Floats, unserved_j: Floats, spent_s: Floats
) -> tuple[float, float, float, float, float]:
    """Rates from blocks [W]: auxiliary, its error, waste, its error, unserved."""
    total_s = float(spent_s.sum())
    count = len(spent_s)
    out = []
    for energy in (auxiliary_j, waste_j):
        rate = float(energy.sum()) / total_s
        spread = energy - rate * spent_s  # of a ratio, to first order
        out += [rate, math.sqrt(float((spread**2).sum()) * count / (count - 1)) / total_s]
    return out[0], out[1], out[2], out[3], float(unserved_j.sum()) / total_s


def _rates(
    baselines: Floats,
    found: list[tuple[float, float, float, float, float]],
    span_s: float,
    how: str,
) -> SimulatedRates:
    columns = list(zip(*found, strict=True))
    return SimulatedRates(
        baseline_w=tuple(baselines.tolist()),
        auxiliary_w=columns[0],
        auxiliary_error_w=columns[1],
        waste_w=columns[2],
        waste_error_w=columns[3],
        unserved_w=columns[4],
        span_s=span_s,
        how=how,
    )
