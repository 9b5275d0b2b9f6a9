"""The charts of a routing plan: frontier, shadow price with its bands, gain over the store.

As in ``planner.charts``, plain curves are worked out here and drawn elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from baseload.planner.curves import Chart, Dots, Line
from baseload.planner.figures import Standing
from baseload.planner.routing import gain_over_stores, poisson_at
from baseload.planner.routing_gain import LATTICE_JOBS
from baseload.planner.routing_records import DynamicGain, FrontierPoint, Policy, RoutingPlan
from baseload.theory.routing_instance import RoutingInstance

_STORES = 11
_LEAST_JOBS, _MOST_JOBS = 1.0, 300.0
_POLICIES: tuple[tuple[Policy, str], ...] = (
    ("best_static", "best static"),
    ("mean_only", "mean only"),
    ("taylor", "Taylor"),
    ("full_jump", "full jump"),
    ("optimal", "optimal"),
)


def routing_charts_of(
    plan: RoutingPlan, instance: RoutingInstance, *, dist: str = "lognormal"
) -> tuple[Chart, ...]:
    """All charts that the plan can fill; ``instance`` and ``dist`` as given to ``plan_routing``."""
    found = (
        frontier_chart(plan),
        shadow_price_chart(plan),
        dynamic_gain_chart(plan, instance, dist=dist),
    )
    return tuple(chart for chart in found if chart is not None)


def frontier_chart(plan: RoutingPlan) -> Chart | None:
    """Least variance by mean demand, with single options, today's and the best static routing;
    ``None`` where all routings have one mean.
    """
    frontier, static = plan.frontier, plan.static
    if len(frontier.mean_w) < 2:
        return None
    singles = [_dot(point.name, point) for point in frontier.singles if point.allowed]
    broken = [point for point in frontier.singles if not point.allowed]
    singles += [_dot(f"{point.name} (breaks a limit)", point) for point in broken]
    if frontier.present is not None:
        singles.append(_dot("present routing", frontier.present))
    marks: dict[str, float] = {}
    if static.mean_w is not None and static.var_j2_per_s is not None:
        marks["best static"] = static.mean_w
        singles.append(
            Dots(label="best static", x=(static.mean_w,), y=(static.var_j2_per_s,), error=(0.0,))
        )
    return Chart(
        name="frontier",
        title="How little variance each mean demand allows, and where single options stand",
        x_label="mean demand [W]",
        y_label="variance rate [J^2/s]",
        lines=(_line("least variance", frontier.mean_w, frontier.var_j2_per_s, "exact"),),
        marks=marks,
        dots=tuple(singles),
        note="the slope is what a watt of mean is worth in variance; limits on capacity and"
        " failures are kept on the line",
    )


def shadow_price_chart(plan: RoutingPlan) -> Chart | None:
    """Worth of a stored joule and price of its square over the fill of the store, with the fills
    at which classes switch.
    """
    price, store = plan.shadow_price, plan.store_j
    if price is None or not store:
        return None
    fill = [level / store for level in price.level_j]
    return Chart(
        name="shadow_price",
        title="A stored joule is worth auxiliary energy in an empty store, less the fuller it is",
        x_label="fill of the store",
        y_label="worth of a joule [$/J]",
        lines=(_line("worth of a joule", fill, price.usd_per_j, "asymptotic"),),
        marks=_switch_marks(plan, store),
        right_label="price of a joule squared [$/J^2]",
        right=(
            _line(
                "price of a joule squared [$/J^2]",
                fill,
                price.half_steepness_usd_per_j2,
                "asymptotic",
            ),
        ),
        note="marks: the fill from which a class takes the option; worth of a full store: minus"
        " the price of waste",
    )


def _switch_marks(plan: RoutingPlan, store: float) -> dict[str, float]:
    """Each switch as a mark; a class that comes back to an option is numbered."""
    marks: dict[str, float] = {}
    for band in plan.bands:
        if band.from_j <= 0:
            continue
        name = label = f"{band.class_name}: {band.option}"
        again = 2
        while label in marks:
            label = f"{name} ({again})"
            again += 1
        marks[label] = band.from_j / store
    return marks


def dynamic_gain_chart(
    plan: RoutingPlan, instance: RoutingInstance, *, dist: str = "lognormal"
) -> Chart | None:
    """Cost above the cost without chance over the store, from 1 to 300 mean jobs, by policy."""
    if plan.gain is None or plan.static.mean_w is None or not plan.gain.store_jobs > 0:
        return None
    # once, at this store: for other arrivals than Poisson each best static routing takes a sweep
    instance, _ = poisson_at(instance, plan.static.mean_w)
    job = plan.gain.store_j / plan.gain.store_jobs
    stores = job * np.geomspace(_LEAST_JOBS, _MOST_JOBS, _STORES)
    found = gain_over_stores(instance, [float(one) for one in stores], dist=dist)
    if not found:
        return None
    x = [one.store_j for one in found]
    return Chart(
        name="dynamic_gain",
        title="What chance costs over the size of the store, by policy",
        x_label="store [J]",
        y_label="cost of chance [$/s]",
        lines=tuple(
            _line(words, x, _excess(found, name), "heuristic") for name, words in _POLICIES
        ),
        x_log=True,
        y_log=True,
        marks={"this store": plan.gain.store_j},
        note="cost of chance: above the cost that no store could save; whole jumps on a lattice up"
        f" to {LATTICE_JOBS:g} mean jobs where it fits, the diffusion beyond; mean only is an"
        " ablation, not an offer",
    )


def _excess(found: Sequence[DynamicGain], name: Policy) -> list[float | None]:
    """Cost above the fluid bound; ``None`` where nothing measurable is left."""
    values: list[float | None] = []
    for one in found:
        policy = one.policy(name)
        assert policy is not None
        above = policy.cost_usd_per_s - one.fluid_usd_per_s
        least = 1e-9 * max(abs(one.fluid_usd_per_s), abs(policy.cost_usd_per_s))
        values.append(above if above > least else None)
    return values


def _dot(label: str, point: FrontierPoint) -> Dots:
    return Dots(label=label, x=(point.mean_w,), y=(point.var_j2_per_s,), error=(0.0,))


def _line(label: str, x: Sequence[float], y: Sequence[float | None], standing: Standing) -> Line:
    return Line(label=label, x=tuple(x), y=tuple(y), standing=standing)
