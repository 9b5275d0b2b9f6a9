"""How to route with a given supply and store, and what looking at the store buys.

``plan_routing`` puts the pieces of docs/explanation/variance-aware-routing.md together: the
mean-variance frontier, the best static routing, the price of a joule by store level, the bands in
which each class takes each option, and the cost of every policy evaluated alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.planner.routing_gain import GainTables, gain_at
from baseload.planner.routing_records import (
    DynamicGain,
    FrontierPoint,
    LimitBroken,
    RoutingBand,
    RoutingFrontier,
    RoutingPlan,
    ShadowPrice,
    StaticPlan,
)
from baseload.planner.routing_wording import notes_of, statements_of, warnings_of
from baseload.theory.dynamic_routing import DynamicRouting, prices_at
from baseload.theory.inputs import Floats, not_negative, shares
from baseload.theory.job_cells import family_of
from baseload.theory.mean_variance import mean_variance_frontier
from baseload.theory.routing_instance import Ints, RoutingInstance
from baseload.theory.static_routing import StaticRouting, static_optimum
from baseload.theory.two_sided import two_sided_rates

PRICE_LEVELS = 200
_SHARE = 1e-9


def plan_routing(
    instance: RoutingInstance,
    *,
    store_j: float,
    classes: Sequence[str] = (),
    options: Sequence[str] = (),
    dist: str = "lognormal",
    present: ArrayLike | None = None,
) -> RoutingPlan:
    """The routing plan of ``instance`` with a store of ``store_j`` (above 0, may be infinite).

    ``classes`` and ``options`` name its axes; ``dist`` is the family of job energies ("lognormal",
    "gamma", "exponential", "deterministic"), whose moments are the instance's; ``present``
    [classes, options] the routing of today. Where no routing keeps the instance's limits, the plan
    names the limit; where no state-dependent routing can be worked out, it says why and is static.
    Raises ``ArgumentError`` for an empty store, no arrivals, wrong names or shares. Standing:
    heuristic; the parts say their own.
    """
    store = _checked_store(store_j)
    family, _ = family_of(dist)
    if not instance.lam.sum() > 0:
        raise ArgumentError("lam", found="no arrivals", allowed="one class or more that arrives")
    class_names = _names("classes", classes, instance.shape[0], "class")
    option_names = _names("options", options, instance.shape[1], "option")
    today = None if present is None else _present(instance, present)
    static = static_optimum(instance, store)
    frontier = _frontier(instance, option_names, today)
    why = _why_static(instance, store, static)
    tables, poisson = None, instance
    if why is None:
        poisson, spread_note = poisson_at(instance, static.mean)
        fixed = static if poisson is instance else static_optimum(poisson, store)
        tables = gain_at(poisson, store, fixed, dist=family, present=today)
    else:
        spread_note = None
    bands = _bands(tables, static, store, class_names, option_names, instance)
    inner = {band.from_j for band in bands if band.from_j > 0}
    plan = RoutingPlan(
        classes=class_names,
        options=option_names,
        choosing=tuple(
            class_names[k]
            for k in np.flatnonzero((instance.lam > 0) & (instance.available.sum(axis=1) > 1))
        ),
        store_j=store if math.isfinite(store) else None,
        frontier=frontier,
        static=_static(instance, store, static),
        shadow_price=None if tables is None else _shadow_price(tables.solution),
        bands=bands,
        switch_levels_j=tuple(sorted(inner)),
        gain=None if tables is None else tables.gain,
        why_static=why,
        statements=(),
        notes=(),
        warnings=(),
    )
    notes = notes_of(plan, instance, family)
    if spread_note is not None:
        notes = (*notes, spread_note)
    return msgspec.structs.replace(
        plan, statements=statements_of(plan), notes=notes, warnings=warnings_of(plan, instance)
    )


def gain_over_stores(
    instance: RoutingInstance, stores_j: Sequence[float], *, dist: str = "lognormal"
) -> tuple[DynamicGain, ...]:
    """What looking at the store buys with each of ``stores_j`` (above 0, finite). Empty where
    ``plan_routing`` would say why it is static. Standing as in ``routing_gain.gain_at``.
    """
    family, _ = family_of(dist)
    found = []
    for one in stores_j:
        store = _checked_store(one)
        static = static_optimum(instance, store)
        if _why_static(instance, store, static) is not None:
            return ()
        poisson, _ = poisson_at(instance, static.mean)
        fixed = static if poisson is instance else static_optimum(poisson, store)
        found.append(gain_at(poisson, store, fixed, dist=family).gain)
    return tuple(found)


def _checked_store(store_j: float) -> float:
    store = not_negative("store_j", store_j, infinite=True)
    if store == 0:
        raise ArgumentError(
            "store_j",
            found="0",
            allowed="above 0 J",
            todo="without a store there is no level to look at, and a settlement slot decides what"
            " chance costs: plan the site without routing",
        )
    return store


def _names(field: str, given: Sequence[str], count: int, word: str) -> tuple[str, ...]:
    """``count`` different names; numbered ones where none are given."""
    if not given:
        return tuple(f"{word} {at}" for at in range(count))
    found = tuple(given)
    if len(found) != count or len(set(found)) != count:
        raise ArgumentError(field, found=repr(found)[:80], allowed=f"{count} different names")
    return found


def _present(instance: RoutingInstance, present: ArrayLike) -> Floats:
    """Shares of today, refused where they use what is not to be had."""
    found = np.asarray(present, dtype=np.float64)
    if found.shape != instance.shape:
        raise ArgumentError("present", found=f"shape {found.shape}", allowed=f"{instance.shape}")
    busy = instance.lam > 0
    checked = np.zeros(instance.shape)
    checked[busy] = shares("present", found[busy])
    wrong = np.argwhere((checked > 0) & ~instance.available)
    if wrong.size:
        k, a = (int(index) for index in wrong[0])
        raise ArgumentError(
            f"present[{k}, {a}]",
            found=f"{checked[k, a]:g} on an option that is not available",
            allowed="0",
        )
    return checked


def _why_static(instance: RoutingInstance, store: float, static: StaticRouting) -> str | None:
    """Why no state-dependent routing is worked out, or ``None``."""
    if static.status != "optimal":
        return "no routing keeps every limit"
    if math.isinf(store):
        return "an endless store has no level at which the price of a joule is known"
    if instance.rows or instance.fail_limit is not None:
        return (
            "limits on capacity or failures bind all levels together, and no price per query keeps"
            " them: put their prices into the cost of the options to route by the store"
        )
    if instance.b <= 0 and instance.v0 == 0:
        return "supply never exceeds what always runs, so the store stays empty"
    least = np.where(instance.available, instance.second, np.inf).min(axis=1)
    busy = instance.lam > 0
    if instance.v0 + float(instance.lam[busy] @ least[busy]) <= 0:
        return "some routing has no variance at all, and then no steepness of the price is defined"
    return None


def poisson_at(instance: RoutingInstance, mean_w: float) -> tuple[RoutingInstance, str | None]:
    """The instance with Poisson arrivals, what its own add at mean demand ``mean_w`` [W] counted as
    variance outside control, and what to say of it.
    """
    if instance.arrival_scv == 1:
        return instance, None
    if instance.v0 + instance.clumping(mean_w) < 0:
        plain = msgspec.structs.replace(instance, arrival_scv=1.0)
        return plain, (
            f"Arrivals are more regular than Poisson (scv {instance.arrival_scv:.3g}): routing by"
            " the store counts them as Poisson and overstates the variance."
        )
    return instance.as_poisson(mean_w), (
        f"Arrivals are not Poisson (scv {instance.arrival_scv:.3g}): what they add to the variance"
        " at the best static mean is counted as variance outside control (heuristic)."
    )


def _frontier(
    instance: RoutingInstance, options: tuple[str, ...], present: Floats | None
) -> RoutingFrontier:
    """The frontier with the routings that a reader knows."""
    found = mean_variance_frontier(instance)
    everywhere = np.flatnonzero(instance.available[instance.lam > 0].all(axis=0))
    singles = []
    for a in everywhere:
        choice = np.full(instance.shape[0], a)
        singles.append(_point(options[a], instance, instance.shares_of(choice)))
    return RoutingFrontier(
        mean_w=_floats(found.mean),
        var_j2_per_s=_floats(found.variance),
        slope_j2_per_s_w=_floats(found.slope),
        singles=tuple(singles),
        present=None if present is None else _point("present", instance, present),
    )


def _point(name: str, instance: RoutingInstance, routing: Floats) -> FrontierPoint:
    rates = instance.rates(routing)
    return FrontierPoint(
        name=name,
        mean_w=rates.mean,
        var_j2_per_s=rates.variance,
        other_usd_per_s=rates.other_cost,
        allowed=_allowed(instance, routing),
    )


def _allowed(instance: RoutingInstance, routing: Floats) -> bool:
    """Whether a routing keeps the limits, to 1e-9 of each."""
    flow = instance.lam[:, None] * routing
    used = [(float(np.sum(flow * row.work)), row.capacity) for row in instance.rows]
    if instance.fail_limit is not None:
        used.append((float(np.sum(flow * instance.fail)), instance.fail_limit))
    return all(value <= limit + _SHARE * abs(limit) for value, limit in used)


def _static(instance: RoutingInstance, store: float, static: StaticRouting) -> StaticPlan:
    """The best static routing with the parts of its cost."""
    if static.shares is None:
        assert static.breach is not None
        name, asked, possible = static.breach
        return StaticPlan(shares=(), broken=LimitBroken(name=name, asked=asked, possible=possible))
    rates = two_sided_rates(instance.b - static.mean, static.variance, store)
    u, w = rates.u_w, rates.w_w
    failing = None
    if instance.fail is not None:
        flow = instance.lam[:, None] * static.shares
        failing = float(np.sum(flow * instance.fail)) / float(instance.lam.sum())
    return StaticPlan(
        shares=tuple(_floats(row) for row in static.shares),
        mean_w=static.mean,
        var_j2_per_s=static.variance,
        auxiliary_w=u,
        waste_w=w,
        cost_usd_per_s=static.objective,
        auxiliary_usd_per_s=instance.Cu * u,
        waste_usd_per_s=instance.Cw * w,
        other_usd_per_s=static.other_cost,
        failing_frac=failing,
    )


def _shadow_price(solution: DynamicRouting) -> ShadowPrice:
    """The price at 200 even levels."""
    level = np.linspace(0.0, solution.B, PRICE_LEVELS)
    prices = prices_at(solution, level)
    return ShadowPrice(
        level_j=_floats(level),
        usd_per_j=_floats(prices.lamS),
        half_steepness_usd_per_j2=_floats(0.5 * prices.om),
        fluid_usd_per_j=solution.price_fluid,
        flat=solution.flat,
    )


def _bands(
    tables: GainTables | None,
    static: StaticRouting,
    store: float,
    classes: tuple[str, ...],
    options: tuple[str, ...],
    instance: RoutingInstance,
) -> tuple[RoutingBand, ...]:
    """The bands of the routing to use: of the table that the guard kept, or of the static one."""
    busy = np.flatnonzero(instance.lam > 0)
    if tables is None or not tables.gain.guard_kept:
        routing = static.shares if tables is None else tables.static
        if routing is None:
            return ()
        return tuple(
            RoutingBand(
                class_name=classes[k],
                option=options[a],
                from_j=0.0,
                to_j=store if math.isfinite(store) else None,
                share_frac=float(routing[k, a]),
            )
            for k in busy
            for a in np.flatnonzero(routing[k] > _SHARE)
        )
    starts, choice = _switches(tables)
    found = []
    for k in busy:
        at = [0, *(np.flatnonzero(np.diff(choice[:, k])) + 1)]
        ends = [*(float(starts[one]) for one in at[1:]), store]
        for one, end in zip(at, ends, strict=True):
            found.append(
                RoutingBand(
                    class_name=classes[k],
                    option=options[choice[one, k]],
                    from_j=float(starts[one]),
                    to_j=end,
                )
            )
    return tuple(found)


def _switches(tables: GainTables) -> tuple[Floats, Ints]:
    """Levels [n] J from which the guarded table changes, and its options [n, classes] there."""
    if tables.gain.evaluated_by == "diffusion" and tables.gain.method == "taylor":
        bands = tables.solution.bands
        real = np.append(np.diff(bands.start) > 0, bands.start[-1] < tables.solution.B)
        return bands.start[real], bands.choice[real]
    level, choice = tables.level, tables.choice["guarded"]
    new = np.flatnonzero(np.any(choice[1:] != choice[:-1], axis=1)) + 1
    starts = np.concatenate([[0.0], 0.5 * (level[new - 1] + level[new])])
    return starts, choice[np.append(0, new)]


def _floats(values: Floats) -> tuple[float, ...]:
    return tuple(float(one) for one in values)
