"""The supply and the store that cost least, what chance costs there, and what its parts are worth.

The cost of a second is C_b b + C_u u + C_w w + h B. Everything is searched on the same rates that
the plan shows, whatever rung they are of; where the plain diffusion holds, the search gives the
closed forms (docs/explanation/provisioning.md, 3.8 and 3.9).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
from scipy.optimize import minimize_scalar

from baseload.planner.figures import Standing, figure, weakest
from baseload.planner.net import Net
from baseload.planner.rates import MANY_JOBS, Found, rates_of
from baseload.planner.records import (
    S_PER_YEAR,
    LawPoint,
    Optimum,
    Prices,
    Provisioning,
    VarianceTerm,
)
from baseload.theory.prices import Prices as TheoryPrices
from baseload.theory.provision import cost_factor

_FAR_Y, _FAR_Z = 60.0, 8.0
TRAFFICS = (1.0, 10.0, 100.0, 1000.0)


class Best(msgspec.Struct, frozen=True, kw_only=True):
    """The least cost above C_b times the mean demand [$/s], at ``theta`` [W], ``store_j`` [J]."""

    theta: float
    store_j: float
    excess_usd_per_s: float
    found: Found


def excess(net: Net, prices: Prices, theta: float, store_j: float, *, exact: bool = False) -> float:
    """Cost above C_b times the mean demand [$/s] at a drift and a store."""
    found = rates_of(net, theta, store_j, exact=exact)
    return (
        prices.baseline_usd_per_j * theta
        + prices.auxiliary_usd_per_j * found.u_w
        + prices.waste_usd_per_j * found.w_w
        + (prices.storage_usd_per_j_s or 0.0) * store_j
    )


def best_drift(net: Net, prices: Prices, store_j: float) -> Best:
    """The best net drift for a store of ``store_j`` [J]; never below no baseline at all.

    A ratio of prices from 1 on gives no baseline (auxiliary is no dearer), one of 0 as much as
    makes auxiliary vanish. The cost is convex in the drift.
    """
    lowest = -net.mean_w
    if net.var == 0:
        theta = lowest if prices.ratio >= 1.0 else 0.0
        return _best(net, prices, theta, store_j)
    if prices.ratio >= 1.0:
        return _best(net, prices, lowest, store_j)
    if store_j == 0:
        far = _FAR_Z * math.sqrt(net.slot_var() / net.supply.slot_s)
    else:
        wide = store_j + net.widening_j(store_j)
        far = _FAR_Y * net.var / (2.0 * wide)
        if net.supply.lossy:
            swing_s = net.loss_slot_s
            far += 3.0 * math.sqrt(net.var / swing_s) + 2.0 * net.supply.leak_per_s * store_j
        far += net.supply.leak_per_s * store_j
    low, high = max(lowest, -far), far
    searched = net
    if net.law is not None and store_j > MANY_JOBS * max(net.law.mean_j, net.law.overshoot_j):
        searched = msgspec.structs.replace(net, law=None, requests_per_s=None)
    theta = least_at(lambda x: excess(searched, prices, x, store_j), low, high)
    return _best(net, prices, theta, store_j)


def _best(net: Net, prices: Prices, theta: float, store_j: float) -> Best:
    return Best(
        theta=theta,
        store_j=store_j,
        excess_usd_per_s=excess(net, prices, theta, store_j),
        found=rates_of(net, theta, store_j),
    )


def best_drift_and_store(net: Net, prices: Prices) -> Best | None:
    """The best drift with the best store, or none where that is cheaper; ``None`` where storage has
    no price, or costs nothing.

    Starts from the closed form of the diffusion, B* = sigma sqrt(Psi / (2 h)), and searches the
    store on the rates of the ladder.
    """
    h = prices.storage_usd_per_j_s
    if h is None:
        return None
    without = best_drift(net, prices, 0.0)
    if h == 0:  # free storage: no size is best
        return None
    if net.var == 0 or not 0 < prices.ratio < 1.0:
        return without
    # the search wants a rung that is smooth and instant
    smooth = msgspec.structs.replace(net, law=None, requests_per_s=None)
    start_j = math.sqrt(net.var * cost_factor(theory_prices(prices)) / (2.0 * h))
    log_store = least_at(
        lambda x: best_drift(smooth, prices, math.exp(x)).excess_usd_per_s,
        math.log(start_j) - 5.0,
        math.log(start_j) + 4.0,
    )
    with_store = best_drift(net, prices, math.exp(log_store))
    return with_store if with_store.excess_usd_per_s < without.excess_usd_per_s else without


def theory_prices(prices: Prices) -> TheoryPrices:
    """The prices as the theory names them."""
    return TheoryPrices(
        Cb=prices.baseline_usd_per_j, Cu=prices.auxiliary_usd_per_j, Cw=prices.waste_usd_per_j
    )


def least_at(
    function: Callable[[float], float], low: float, high: float, *, error_frac: float = 1e-7
) -> float:
    """Where a function of one valley is least between two ends (Brent's method), to ``error_frac``
    of the range.
    """
    found = minimize_scalar(
        function,
        bounds=(low, high),
        method="bounded",
        options={"xatol": error_frac * (high - low)},
    )
    return float(found.x)


def optimum_record(net: Net, prices: Prices, best: Best, way: str) -> Optimum:
    """A best supply as a plan shows it."""
    found, store = best.found, best.store_j
    standing: Standing = found.standing
    wide = store + net.widening_j(store)
    y = 2.0 * best.theta * wide / net.var if net.var > 0 and store > 0 else 0.0
    sigma = math.sqrt(net.var)
    cost = prices.baseline_usd_per_j * net.mean_w + best.excess_usd_per_s
    return Optimum(
        baseline=figure(net.mean_w + best.theta, "W", standing, rung=found.rung),
        store=figure(store, "J", standing),
        theta=figure(best.theta, "W", standing, rung=found.rung),
        y=figure(y, "", standing, note="2 theta B / sigma2, B as widened"),
        beta=figure(best.theta / sigma, "s^-1/2", standing) if sigma > 0 else None,
        auxiliary=figure(found.u_w, "W", standing, rung=found.rung, error_frac=found.error_frac),
        waste=figure(found.w_w, "W", standing, rung=found.rung, error_frac=found.error_frac),
        cost=figure(cost * S_PER_YEAR, "$/year", weakest(standing, "assumed")),
        excess=figure(best.excess_usd_per_s * S_PER_YEAR, "$/year", standing),
        way=way,
    )


def provisioning(net: Net, prices: Prices) -> Provisioning:
    """The three best supplies."""
    given = None
    if net.supply.store_j > 0:
        best = best_drift(net, prices, net.supply.store_j)
        given = optimum_record(net, prices, best, "best baseline for the store as it is")
    joint = best_drift_and_store(net, prices)
    return Provisioning(
        ratio=prices.ratio,
        given_store=given,
        joint=None
        if joint is None
        else optimum_record(
            net,
            prices,
            joint,
            "best baseline with the best store"
            if joint.store_j > 0
            else "no store pays at this price: best baseline without one",
        ),
        no_store=optimum_record(
            net, prices, best_drift(net, prices, 0.0), "best baseline without a store"
        ),
    )


def variance_price(net: Net, prices: Prices, store_j: float) -> float:
    """dK / d sigma2 at the best baseline [$/s per J^2/s]: what one unit of variance costs, the
    supply having been set for it.
    """
    if net.var <= 0:
        return 0.0
    step = 0.02
    more, less = net.with_var(1.0 + step), net.with_var(1.0 - step)
    rise = (
        best_drift(more, prices, store_j).excess_usd_per_s
        - best_drift(less, prices, store_j).excess_usd_per_s
    )
    return max(0.0, rise) / (2.0 * step * net.var)


def square_root_law(
    net: Net, prices: Prices, requests_per_s: float, store_j: float
) -> tuple[LawPoint, ...]:
    """Cost of randomness per request with 1, 10, 100, 1,000 times the traffic, the baseline set
    for each: with its best store where storage has a price, else with a store that grows as the
    root of the traffic.
    """
    if requests_per_s <= 0:
        return ()
    points = []
    for traffic in TRAFFICS:
        costs = []
        for shared in (False, True):
            scaled = net.scaled(traffic, shared=shared)
            best = best_drift_and_store(scaled, prices)
            if best is None:
                best = best_drift(scaled, prices, store_j * math.sqrt(traffic))
            costs.append(best.excess_usd_per_s / (traffic * requests_per_s))
        points.append(
            LawPoint(traffic=traffic, usd_per_request=costs[0], shared_usd_per_request=costs[1])
        )
    return tuple(points)


_LAYERS = {
    "execution": ("execution", "lengths of answers within a class"),
    "mix of classes": ("models", "classes of requests that differ in their mean"),
    "routing": ("models", "the same class served by types that cost differently"),
    "arrivals": ("time", "gaps between arrivals"),
    "temporal": ("time", "slow movement of the rate of requests"),
    "switching": ("models", "replicas of a packed fleet that start and stop (heuristic)"),
    "demand": ("time", "the demand as a whole: it was not taken apart"),
    "supply": (
        "supply",
        "the baseline's own movement, of a recorded one its days about the season",
    ),
}


def variance_budget(
    terms: dict[str, float], price_usd: float, standing: Standing
) -> tuple[VarianceTerm, ...]:
    """Each term with its share and its price [$/year], the largest first; terms of 0 are left out.

    ``price_usd``: ``variance_price``. The prices add up to what the sum costs only to first order.
    """
    total = math.fsum(terms.values())
    return tuple(
        VarianceTerm(
            name=name,
            layer=_LAYERS[name][0],
            var_j2_per_s=value,
            share_frac=value / total,
            price=figure(price_usd * value * S_PER_YEAR, "$/year", standing),
            note=_LAYERS[name][1],
        )
        for name, value in sorted(terms.items(), key=lambda item: -item[1])
        if value > 0
    )
