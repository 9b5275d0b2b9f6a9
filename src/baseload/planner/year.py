"""Supply and demand that move with the hour and the season: what no average can tell.

The fluid balance runs the year through the supply's own slot kernel; the periodic diffusion adds
chance to it. docs/explanation/provisioning.md, 3.10.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.planner.demand_records import HOURS, Demand
from baseload.planner.figures import figure
from baseload.planner.net import Net
from baseload.planner.records import Prices, Seasons, Supply
from baseload.planner.simulated import store_of
from baseload.supply.slot import SlotTotals, run_slots
from baseload.theory.inputs import Floats
from baseload.theory.seasons import fluid_swing, periodic_rates

_S_PER_HOUR = 3600.0
_S_PER_DAY = 86_400.0
_STEPS = 60


class YearBalance(msgspec.Struct, frozen=True, kw_only=True):
    """Rates of a whole series without chance, in its repeating state [W]."""

    auxiliary_w: float
    waste_w: float
    unserved_w: float
    loss_w: float


def net_series(demand: Demand, supply: Supply) -> tuple[Floats, Floats, float]:
    """Baseline and demand [W] on the steps of the supply's series (or the hours of a day), and
    the length of a step [s]. A constant baseline needs ``baseline_w``.
    """
    if supply.series_w:
        baseline = np.asarray(supply.series_w, dtype=np.float64)
        step_s = supply.series_step_s
    else:
        baseline = np.full(HOURS, supply.baseline_w or demand.mean_w)
        step_s = _S_PER_HOUR
    steps = len(baseline)
    drawn = np.full(steps, demand.mean_w)
    if demand.hourly_frac is not None:
        hour = ((np.arange(steps) + 0.5) * step_s // _S_PER_HOUR).astype(np.int64) % HOURS
        drawn = np.asarray(demand.hourly_frac)[hour] * demand.mean_w
        drawn = drawn * (demand.mean_w / drawn.mean()) if drawn.mean() > 0 else drawn
    if supply.series_w and supply.baseline_w is not None and baseline.mean() > 0:
        baseline = baseline * (supply.baseline_w / baseline.mean())
    return baseline, drawn, step_s


def is_seasonal(demand: Demand, supply: Supply) -> bool:
    """Whether anything moves with the hour."""
    return bool(supply.series_w) or demand.hourly_frac is not None


def fluid_balance(
    baseline_w: Floats, demand_w: Floats, step_s: float, supply: Supply, *, store_j: float
) -> YearBalance:
    """The series through the slot kernel, from the level that it ends at (its repeating state)."""
    store = store_of(msgspec.structs.replace(supply, store_j=store_j))
    start_j: float | None = 0.5 * store_j
    totals: SlotTotals | None = None
    for _ in range(2):
        totals = run_slots(
            baseline_w * step_s,
            demand_w * step_s,
            step_s,
            store=store,
            auxiliary_limit_w=supply.auxiliary_limit_w,
            start_j=start_j,
            columns=False,
        ).totals
        start_j = totals.level_end_j
    assert totals is not None
    span_s = len(baseline_w) * step_s
    return YearBalance(
        auxiliary_w=totals.auxiliary_j / span_s,
        waste_w=totals.waste_j / span_s,
        unserved_w=totals.unserved_j / span_s,
        loss_w=(totals.loss_j + totals.leak_j) / span_s,
    )


def seasons_of(demand: Demand, supply: Supply, net: Net) -> Seasons | None:
    """What the movement by hour and season does to a site; ``None`` where nothing moves or no
    baseline is known.
    """
    if not is_seasonal(demand, supply) or (supply.baseline_w is None and not supply.series_w):
        return None
    baseline, drawn, step_s = net_series(demand, supply)
    theta = baseline - drawn
    period_s = len(theta) * step_s
    swing = fluid_swing(theta=theta, period=period_s)
    fluid = fluid_balance(baseline, drawn, step_s, supply, store_j=supply.store_j)
    standing = "exact" if demand.obtained == "assumed" else "modelled"
    chance = _with_chance(net, theta, period_s, supply)
    loss = (
        "without conversion losses, leakage and power limits"
        if _is_plain(supply)
        else ("losses and limits left out: at least this much auxiliary energy")
    )
    return Seasons(
        period_s=period_s,
        swing=figure(
            swing.swing, "J", standing, note="range of the cumulative net energy over the series"
        ),
        daily_swing=figure(
            _daily_swing(theta, step_s), "J", standing, note="median over the days of the series"
        ),
        fluid_auxiliary=figure(fluid.auxiliary_w, "W", standing, rung="fluid, slot by slot"),
        fluid_waste=figure(fluid.waste_w, "W", standing, rung="fluid, slot by slot"),
        diffusion_auxiliary=None
        if chance is None
        else figure(chance[0], "W", "asymptotic", rung="periodic diffusion", note=loss),
        diffusion_waste=None
        if chance is None
        else figure(chance[1], "W", "asymptotic", rung="periodic diffusion", note=loss),
    )


def _is_plain(supply: Supply) -> bool:
    return not (supply.lossy or supply.limited or supply.leak_per_s > 0)


def _with_chance(
    net: Net, theta: Floats, period_s: float, supply: Supply
) -> tuple[float, float] | None:
    """u and w of the periodic diffusion over the series; ``None`` without store or noise."""
    if supply.store_j <= 0 or net.var <= 0 or not math.isfinite(supply.store_j):
        return None
    wide = supply.store_j + net.widening_j
    found = periodic_rates(theta=theta, var=net.var, B=wide, period=period_s, steps=len(theta))
    return max(found.u, 0.0), max(found.w, 0.0)


def _daily_swing(theta: Floats, step_s: float) -> float:
    """Median over the days of how far the cumulative net energy moves once its day's mean is taken
    out [J].
    """
    per_day = round(_S_PER_DAY / step_s)
    days = len(theta) // per_day if per_day > 0 else 0
    if days < 1:
        return 0.0
    daily: NDArray[np.float64] = theta[: days * per_day].reshape(days, per_day)
    moved = np.cumsum(daily - daily.mean(axis=1, keepdims=True), axis=1) * step_s
    return float(np.median(np.ptp(np.concatenate([np.zeros((days, 1)), moved], axis=1), axis=1)))


def best_scale(
    demand: Demand, supply: Supply, prices: Prices, *, store_j: float
) -> tuple[float, YearBalance]:
    """The mean baseline [W] of the supply's own shape that costs least without chance, and the
    balance there; searched on the slot kernel.
    """
    shape, drawn, step_s = net_series(
        demand, msgspec.structs.replace(supply, baseline_w=demand.mean_w)
    )
    ratio = shape / shape.mean()

    def cost(mean_w: float) -> float:
        found = fluid_balance(ratio * mean_w, drawn, step_s, supply, store_j=store_j)
        return (
            prices.baseline_usd_per_j * mean_w
            + prices.auxiliary_usd_per_j * (found.auxiliary_w + found.unserved_w)
            + prices.waste_usd_per_j * found.waste_w
        )

    # convex in the scale: thirds, from nothing to ten times the demand
    low, high = 0.0, 10.0 * demand.mean_w
    for _ in range(_STEPS):
        one, two = low + (high - low) / 3.0, high - (high - low) / 3.0
        if cost(one) <= cost(two):
            high = two
        else:
            low = one
    best = 0.5 * (low + high)
    return best, fluid_balance(ratio * best, drawn, step_s, supply, store_j=store_j)
