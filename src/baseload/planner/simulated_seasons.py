"""Simulated auxiliary energy and waste of a site that moves with the hour or the season.

As ``simulated``, but the baseline keeps its shape when its mean changes (twice the panels give
twice as much at noon and nothing at night), requests keep their hour of the day, and standard
errors come from whole periods.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.streams import stream
from baseload.base.units import S_PER_DAY
from baseload.planner.demand_records import Demand
from baseload.planner.records import Supply
from baseload.planner.simulated import (
    BLOCKS,
    Progress,
    SimulatedRates,
    draw_demand,
    draw_supply,
    simulate_slots,
)
from baseload.theory.inputs import Floats, numbers, positive

_MOST_SLOTS = 400_000
_FEWEST_PERIODS, _MOST_PERIODS = 4, 12 * BLOCKS
_FEWEST_DAYS = 2


def simulate_seasonal_v(
    demand: Demand,
    supply: Supply,
    *,
    baseline_w: ArrayLike,
    seed: int = 0,
    slot_j: ArrayLike = (),
    slot_s: float | None = None,
    on_progress: Progress | None = None,
) -> SimulatedRates:
    """Simulated u and w at each mean baseline [W] over whole periods: years of a supply with a
    series, else days.

    ``slot_j``: joules at the bus in each slot of ``slot_s`` seconds of a run that began at second 0
    of the day; its days are drawn at random, each whole. Without two days of it, slots with the
    demand's mean, variance rate, correlation time and profile are drawn.
    """
    baselines = numbers("baseline_w", np.atleast_1d(baseline_w), least=0.0, shape=(-1,))
    period_s = len(supply.series_w) * supply.series_step_s if supply.series_w else S_PER_DAY
    wanted_s = positive("slot_s", supply.slot_s if slot_s is None else slot_s)
    per_day = max(1, round(S_PER_DAY / max(wanted_s, _FEWEST_PERIODS * period_s / _MOST_SLOTS)))
    length_s = S_PER_DAY / per_day
    per_period = max(1, round(period_s / length_s))
    periods = min(_MOST_PERIODS, max(_FEWEST_PERIODS, _MOST_SLOTS // per_period))
    blocks = min(BLOCKS, periods)
    slots = periods // blocks * blocks * per_period
    days_j = _days(slot_j, wanted_s, per_day)
    if days_j is not None:
        demand_j = _drawn_days(days_j, slots, seed)
        how = f"days of a run drawn at random, seed {seed}"
    else:
        demand_j = draw_demand(demand, slots, slot_s=length_s, seed=seed)
        how = f"the demand's variance and profile, seed {seed}"
    moved_j = draw_supply(supply, slots, slot_s=length_s, seed=seed)
    mean_w = supply.baseline_w or demand.mean_w
    found = []
    for turn, baseline in enumerate(baselines):
        scale = float(baseline) / mean_w if supply.series_w and mean_w > 0 else 1.0
        found.append(
            simulate_slots(
                supply_j=scale * moved_j,
                demand_j=demand_j,
                slot_s=length_s,
                baseline_w=[float(baseline)],
                supply=supply,
                how=f"{slots:,} slots of {length_s:g} s, {how}",
                blocks=blocks,
            )
        )
        if on_progress is not None:
            on_progress((turn + 1) / len(baselines))
    return _together(found)


def _days(slot_j: ArrayLike, slot_s: float, per_day: int) -> Floats | None:
    """Whole days of a run ``[days, per_day]``; ``None`` where there are too few, or where the slots
    do not fill a day.
    """
    energies = numbers("slot_j", slot_j, least=0.0, shape=(-1,))
    in_a_day = round(S_PER_DAY / slot_s)
    days = len(energies) // in_a_day if in_a_day else 0
    fills = math.isclose(in_a_day * slot_s, S_PER_DAY, rel_tol=1e-9)
    if not fills or days < _FEWEST_DAYS or in_a_day % per_day:
        return None
    whole: Floats = energies[: days * in_a_day].reshape(days, per_day, -1).sum(axis=2)
    return whole


def _drawn_days(days_j: Floats, slots: int, seed: int) -> Floats:
    """``slots`` slots made of days drawn at random."""
    days, per_day = days_j.shape
    count = math.ceil(slots / per_day)
    picked = stream(seed, "planner.simulated", "days").integers(0, days, count)
    drawn = days_j[picked].ravel()[:slots]
    # a few busy days too many would move the V: it is about the mean
    centred: Floats = drawn * (float(days_j.mean()) / max(float(drawn.mean()), 1e-300))
    return centred


def _together(found: list[SimulatedRates]) -> SimulatedRates:
    """The points of several runs of one baseline each."""
    columns = {
        name: tuple(value for one in found for value in getattr(one, name))
        for name in (
            "baseline_w",
            "auxiliary_w",
            "auxiliary_error_w",
            "waste_w",
            "waste_error_w",
            "unserved_w",
        )
    }
    return msgspec.structs.replace(found[0], **columns)
