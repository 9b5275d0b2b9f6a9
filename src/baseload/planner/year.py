"""Supply and demand that move with the hour and the season: what no average can tell.

The fluid balance runs the year through the supply's own slot kernel; the periodic diffusion adds
chance to it. docs/explanation/provisioning.md, 3.10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.planner.demand_records import HOURS, Demand
from baseload.planner.figures import Figure, Standing, figure
from baseload.planner.net import Net
from baseload.planner.optimum import least_at
from baseload.planner.records import Prices, Seasons, Supply
from baseload.planner.simulated import draw_demand, store_of
from baseload.supply.slot import SlotTotals, run_slots
from baseload.theory.inputs import Floats
from baseload.theory.seasons import fluid_swing, periodic_rates
from baseload.theory.two_sided import relaxation_rate

_S_PER_HOUR = 3600.0
_S_PER_DAY = 86_400.0
_MOST_SCALE, _SCALE_ERROR = 10.0, 1e-5
_DRAWN_SLOTS = 60_000
_TWO_SIDED_95 = 1.96
_MOST_STEPS, _STEPS_A_PERIOD = 10_000, 48


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
    store = store_of(supply, store_j)
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
    standing: Standing = "exact" if demand.obtained == "assumed" else "modelled"
    chance = _with_chance(net, demand, theta, supply, fluid, period_s=period_s)
    return Seasons(
        period_s=period_s,
        swing=figure(
            swing.swing, "J", standing, note="range of the cumulative net energy over the series"
        ),
        daily_swing=figure(
            _daily_swing(theta, step_s), "J", standing, note="median over the days of the series"
        ),
        fluid_auxiliary=figure(fluid.auxiliary_w, "W", standing, rung="fluid_slots"),
        fluid_waste=figure(fluid.waste_w, "W", standing, rung="fluid_slots"),
        chance_auxiliary=None if chance is None else chance[0],
        chance_waste=None if chance is None else chance[1],
    )


def _is_plain(supply: Supply) -> bool:
    return not (supply.lossy or supply.limited or supply.leak_per_s > 0)


def _with_chance(
    net: Net,
    demand: Demand,
    theta: Floats,
    supply: Supply,
    fluid: YearBalance,
    *,
    period_s: float,
) -> tuple[Figure, Figure] | None:
    """u and w over the series with chance; ``None`` without noise or a finite store.

    A store that neither loses nor limits: periodic diffusion on the widened store, and no less than
    the fluid (chance cannot help). Any other: years of slots with drawn noise.
    """
    if net.var <= 0 or not 0 < supply.store_j < math.inf:
        return None
    if _is_plain(supply):
        return _diffused(net, theta, supply, fluid, period_s=period_s)
    return _drawn_periods(demand, supply, period_s, steps=len(theta))


def _diffused(
    net: Net, theta: Floats, supply: Supply, fluid: YearBalance, *, period_s: float
) -> tuple[Figure, Figure]:
    """The periodic diffusion on the widened store, and no less than the fluid.

    Periods are put together until they last as long as the store remembers: the repeating law of a
    short period is badly determined. What is then left of w - u less the mean drift, which should
    be 0, is added to the stated error.
    """
    wide = supply.store_j + net.widening_j(supply.store_j)
    memory_s = 3.0 / relaxation_rate(float(theta.mean()), net.var, wide)
    most = max(1, _MOST_STEPS // len(theta))
    periods = int(min(most, max(1, math.ceil(memory_s / period_s))))
    found = periodic_rates(
        theta=np.tile(theta, periods),
        var=net.var,
        B=wide,
        period=periods * period_s,
        steps=periods * max(len(theta), _STEPS_A_PERIOD),
    )
    u, w = max(found.u, 0.0), max(found.w, 0.0)
    off = abs(w - u - float(theta.mean())) / max(min(u, w), 1e-12 + 1e-6 * max(u, w))
    standing: Standing = "heuristic" if net.slow > 0 else "asymptotic"
    return tuple_of(
        figure(
            max(value, least),
            "W",
            standing,
            rung="periodic_diffusion",
            error_frac=0.02 + min(off, 1.0),
        )
        for value, least in ((u, fluid.auxiliary_w), (w, fluid.waste_w))
    )


def _drawn_periods(
    demand: Demand, supply: Supply, period_s: float, *, steps: int
) -> tuple[Figure, Figure]:
    """u and w of periods with drawn noise through the slot kernel, the first left out."""
    periods = max(4, math.ceil(_DRAWN_SLOTS / steps))
    step_s = period_s / steps
    baseline, _, _ = net_series(demand, supply)
    drawn_j = draw_demand(demand, periods * steps, slot_s=step_s, seed=0)
    store, level_j = store_of(supply), supply.start_frac * supply.store_j
    rows = []
    for period in range(periods):
        totals = run_slots(
            baseline * step_s,
            drawn_j[period * steps : (period + 1) * steps],
            step_s,
            store=store,
            auxiliary_limit_w=supply.auxiliary_limit_w,
            start_j=level_j,
            columns=False,
        ).totals
        level_j = totals.level_end_j
        rows.append((totals.auxiliary_j / period_s, totals.waste_j / period_s))
    means, spreads = np.mean(rows[1:], axis=0), np.std(rows[1:], axis=0, ddof=1)
    away = _TWO_SIDED_95 * spreads / math.sqrt(periods - 1)
    return tuple_of(
        figure(
            float(value),
            "W",
            "simulated",
            rung="slots_simulated",
            note=f"{periods - 1} periods with chance",
            low=max(0.0, float(value - far)),
            high=float(value + far),
        )
        for value, far in zip(means, away, strict=True)
    )


def tuple_of(pair: Iterable[Figure]) -> tuple[Figure, Figure]:
    """The two as a pair."""
    first, second = pair
    return first, second


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


class BestScale(msgspec.Struct, frozen=True, kw_only=True):
    """A scale of a supply's shape: its mean [W], the store [J], the balance and the cost [$/s]."""

    mean_w: float
    store_j: float
    balance: YearBalance
    cost_usd_per_s: float


def best_scale(demand: Demand, supply: Supply, prices: Prices, *, store_j: float) -> BestScale:
    """The mean baseline [W] of the supply's own shape that costs least without chance, for a store
    of ``store_j`` [J]; searched on the slot kernel (the cost is convex in the scale).
    """
    even = msgspec.structs.replace(supply, baseline_w=demand.mean_w)
    baseline, drawn, step_s = net_series(demand, even)

    def at(scale: float) -> BestScale:
        found = fluid_balance(baseline * scale, drawn, step_s, supply, store_j=store_j)
        mean_w = scale * demand.mean_w
        return BestScale(
            mean_w=mean_w,
            store_j=store_j,
            balance=found,
            cost_usd_per_s=prices.baseline_usd_per_j * mean_w
            + prices.auxiliary_usd_per_j * (found.auxiliary_w + found.unserved_w)
            + prices.waste_usd_per_j * found.waste_w
            + (prices.storage_usd_per_j_s or 0.0) * store_j,
        )

    return at(
        least_at(lambda scale: at(scale).cost_usd_per_s, 0.0, _MOST_SCALE, error_frac=_SCALE_ERROR)
    )


def best_scale_and_store(demand: Demand, supply: Supply, prices: Prices) -> BestScale | None:
    """The best scale with the best store, up to 20 daily swings; ``None`` without a price of
    storage.
    """
    if prices.storage_usd_per_j_s is None:
        return None
    baseline, drawn, step_s = net_series(demand, supply)
    most_j = 20.0 * _daily_swing(baseline - drawn, step_s)
    if most_j <= 0:
        return best_scale(demand, supply, prices, store_j=0.0)
    root = least_at(
        lambda x: best_scale(demand, supply, prices, store_j=x * x).cost_usd_per_s,
        0.0,
        math.sqrt(most_j),
        error_frac=1e-3,
    )
    found = best_scale(demand, supply, prices, store_j=root * root)
    without = best_scale(demand, supply, prices, store_j=0.0)
    return found if found.cost_usd_per_s < without.cost_usd_per_s else without
