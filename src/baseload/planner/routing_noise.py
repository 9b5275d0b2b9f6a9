"""How much of the variance that no routing moves a store can feel.

Slow movement of the load, clumped arrivals and a fluctuating supply each stay correlated for a
while. A store that is crossed sooner sees them as a drift and not as chance, and a diffusion with
their long-run variance would let it buy more than is drawn. So each counts by how much of it shows
within the time in which the store is crossed: ``1 - (1 - exp(-x)) / x`` with ``x`` that time over
the correlation time, which is exact for an Ornstein-Uhlenbeck rate; the crossing time is a scale,
so the whole is a heuristic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.optimize import brentq

from baseload.planner.demand_records import Demand
from baseload.planner.records import Supply

_SHOWN = 0.9


class Noise(NamedTuple):
    """Variance rate outside control [J^2/s] and squared coefficient of variation of the gaps
    between arrivals, as the store feels them; ``crossing_s``: in which time it is crossed;
    ``note``: what is left out, or nothing.
    """

    var_j2_per_s: float
    arrival_scv: float
    crossing_s: float
    note: str


def noise_felt(demand: Demand, supply: Supply) -> Noise:
    """What the store of ``supply`` feels of slow movement, clumped arrivals and supply.

    Arrivals clump over ``(ca2 + 1) / (2 rate)`` seconds, as two mixed exponential gaps with
    balanced means do. Standing: heuristic.
    """
    slow = own = clumping = 0.0
    if demand.terms is not None:
        slow = demand.terms.temporal_j2_per_s + demand.terms.switching_j2_per_s
    rate, job = demand.requests_per_s, demand.job
    if job is not None and rate > 0:
        own = rate * job.second_j2
        clumping = max(0.0, demand.ca2 - 1.0) * rate * job.mean_j**2
    parts = (
        (slow, demand.correlation_s or 0.0),
        (clumping, (demand.ca2 + 1.0) / (2.0 * rate) if rate > 0 else 0.0),
        (supply.var_j2_per_s, supply.correlation_s or 0.0),
    )
    crossing_s = _crossing_s(supply.store_j, demand.moving_w, own, parts)
    felt = [var * shown(crossing_s, time_s) for var, time_s in parts]
    scv = demand.ca2
    if clumping > 0:
        scv = 1.0 + (demand.ca2 - 1.0) * felt[1] / clumping
    return Noise(felt[0] + felt[2], scv, crossing_s, _note(parts, felt, crossing_s))


def shown(window_s: float, correlation_s: float) -> float:
    """Share of the long-run variance of a correlated rate that shows in a window of ``window_s``
    [s], from 0 to 1. Exact for an Ornstein-Uhlenbeck rate (textbook: its integral).
    """
    if correlation_s <= 0 or math.isinf(window_s):
        return 1.0
    x = window_s / correlation_s
    if x < 1e-4:
        return x / 2.0
    return 1.0 + math.expm1(-x) / x


def _crossing_s(
    store_j: float, moving_w: float, own: float, parts: tuple[tuple[float, float], ...]
) -> float:
    """The time [s] whose fluctuation is as large as the store, ``B^2 = var(t) t``, and no less than
    the requests take to draw it.
    """
    if own <= 0:
        return math.inf
    low = store_j**2 / (own + math.fsum(var for var, _ in parts))
    high = store_j**2 / own

    def beyond(log_s: float) -> float:
        time_s = math.exp(log_s)
        var = own + math.fsum(part * shown(time_s, held) for part, held in parts)
        return log_s - math.log(store_j**2 / var)

    ends = math.log(low) - 1e-9, math.log(high) + 1e-9
    crossed = math.exp(float(brentq(beyond, *ends)))
    return max(crossed, store_j / moving_w if moving_w > 0 else 0.0)


def _note(parts: tuple[tuple[float, float], ...], felt: list[float], crossing_s: float) -> str:
    """What so small a store does not feel."""
    names = ("the slow movement of the load", "the clumping of arrivals", "that of the supply")
    left = [
        f"{100 * kept / var:.2g} % of {name}"
        for name, (var, _), kept in zip(names, parts, felt, strict=True)
        if var > 0 and kept < _SHOWN * var
    ]
    if not left:
        return ""
    return (
        f"The store is crossed in about {crossing_s:.2g} s, within which {', '.join(left)} shows:"
        " that much of their variance is counted (heuristic), for larger stores in the plots too."
    )
