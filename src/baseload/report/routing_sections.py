"""A routing plan as tables of words: what the terminal and the page both show."""

from __future__ import annotations

import numpy as np

from baseload.base.units import J_PER_KWH
from baseload.planner.records import S_PER_YEAR
from baseload.planner.routing_records import (
    DynamicGain,
    FrontierPoint,
    Policy,
    RoutingBand,
    SiteRouting,
)
from baseload.report import wording
from baseload.report.plan_wording import energy, money, scientific
from baseload.report.section import HOW, Section

CHARTS = ("frontier", "shadow_price", "dynamic_gain")
"""Names of the charts of a routing plan."""

_MOST_CORNERS = 6
_POLICIES: tuple[tuple[Policy, str], ...] = (
    ("present", "routing of today"),
    ("best_static", "best static: never looks at the store"),
    ("mean_only", "by mean energy alone (ablation)"),
    ("taylor", "by mean and mean square (Taylor)"),
    ("full_jump", "by whole jumps (full jump)"),
    ("optimal", "optimum of the same model"),
    ("guarded", "this plan"),
)
_METHODS = {
    "lattice": "exact optimum on a lattice",
    "full_jump": "scores by whole jumps",
    "taylor": "scores by mean and mean square",
    "best_static": "best static routing",
}
_LEVELS = (
    ("empty", 0.0),
    ("a quarter full", 0.25),
    ("half full", 0.5),
    ("three quarters full", 0.75),
    ("full", 1.0),
)


def routing_sections(routing: SiteRouting) -> list[Section]:
    """All tables that the routing plan can fill, in reading order."""
    found = (_gain(routing), _bands(routing), _worth(routing), _frontier(routing), _cells(routing))
    return [section for section in found if section is not None and section.rows]


def _gain(routing: SiteRouting) -> Section | None:
    """The plan in words, and what each policy costs, where there are any to compare."""
    words, gain = " ".join(routing.statements), routing.gain
    if gain is None:
        static = routing.static
        row = (
            "best static routing",
            _per_year(static.cost_usd_per_s),
            wording.power(static.auxiliary_w),
            wording.power(static.waste_w),
            "asymptotic (diffusion)",
        )
        heads = ("", "$ a\nyear", "bought", "wasted", HOW)
        return Section(title="Routing by the store", heads=heads, rows=(row,), words=words)
    rows = tuple(
        (
            f"{name}: {_METHODS[gain.method]}" if policy == "guarded" else name,
            _per_year(cost.cost_usd_per_s),
            wording.percent(cost.saving_frac),
            wording.MISSING if policy == "present" else wording.percent(cost.chance_saving_frac),
            wording.power(cost.auxiliary_w),
            wording.power(cost.waste_w),
            gain.standing,
        )
        for policy, name in _POLICIES
        if (cost := gain.policy(policy)) is not None
    )
    return Section(
        title="What routing by the store buys",
        heads=("", "$ a\nyear", "saved of\ntotal", "saved of\nchance", "bought", "wasted", HOW),
        rows=(*rows, *_forecasts(gain)),
        words=words,
    )


def _forecasts(gain: DynamicGain) -> tuple[tuple[str, ...], ...]:
    """The optimality equation's cost with its error, and the cost without chance."""
    off = "more than 11 %"
    if gain.forecast_error_frac is not None:
        off = f"±{wording.percent(gain.forecast_error_frac, 2)}"
    empty = (wording.MISSING,) * 4
    return (
        (
            "forecast of the optimality equation",
            _per_year(gain.forecast_usd_per_s),
            *empty,
            f"asymptotic {off}",
        ),
        (
            "without chance: no store could cost less",
            _per_year(gain.fluid_usd_per_s),
            *empty,
            "exact",
        ),
    )


def _bands(routing: SiteRouting) -> Section | None:
    """Which option each class takes at which level."""
    rows = tuple(
        (
            band.class_name,
            wording.percent(band.share_frac, 2),
            *_span(band, routing.store_j),
            band.option,
        )
        for band in routing.bands
    )
    dynamic = routing.gain is not None and routing.gain.guard_kept
    words = "A level is energy in the store, less what running requests will still draw."
    if not dynamic:
        words = "The same at every level: the best static routing."
    return Section(
        title="Which option for which class at which level of the store",
        heads=("class", "share", "from", "up to", "option"),
        rows=rows,
        words=words,
    )


def _span(band: RoutingBand, store_j: float | None) -> tuple[str, str]:
    """Ends of a band as shares of the store, with the energy."""

    def said(level_j: float | None) -> str:
        if level_j is None:
            return "without end"
        if not store_j:
            return energy(level_j)
        return f"{wording.percent(level_j / store_j, 2)} ({energy(level_j)})"

    return said(band.from_j), said(band.to_j)


def _worth(routing: SiteRouting) -> Section | None:
    """The price of a stored joule at five levels."""
    price, store = routing.shadow_price, routing.store_j
    if price is None or not store:
        return None
    at = [frac * store for _, frac in _LEVELS]
    worth = np.interp(at, price.level_j, price.usd_per_j)
    steep = np.interp(at, price.level_j, price.half_steepness_usd_per_j2)
    rows = tuple(
        (name, f"{money(float(usd) * J_PER_KWH)}/kWh", scientific(float(half)), "asymptotic")
        for (name, _), usd, half in zip(_LEVELS, worth, steep, strict=True)
    )
    fluid = money(price.fluid_usd_per_j * J_PER_KWH)
    return Section(
        title="What a stored joule is worth",
        heads=("store", "a joule", "its square\n[$/J^2]", HOW),
        rows=rows,
        words=f"Between the price of auxiliary energy (empty) and minus that of waste (full);"
        f" without chance {fluid}/kWh throughout. The price of a joule squared makes spread dear.",
    )


def _frontier(routing: SiteRouting) -> Section | None:
    """Corners of the frontier, and where routings stand that a reader knows."""
    frontier, static = routing.frontier, routing.static
    if not frontier.mean_w:
        return None
    count = len(frontier.mean_w)
    kept = np.unique(np.round(np.linspace(0, count - 1, min(count, _MOST_CORNERS))).astype(int))
    rows: list[tuple[str, ...]] = [
        (
            f"corner {at + 1} of {count}",
            wording.power(frontier.mean_w[at]),
            scientific(frontier.var_j2_per_s[at]),
            scientific(frontier.slope_j2_per_s_w[at]) if at < count - 1 else wording.MISSING,
            wording.MISSING,
        )
        for at in map(int, kept)
    ]
    rows += [_stands(f"only {point.name}", point) for point in frontier.singles]
    if frontier.present is not None:
        rows.append(_stands("routing of today", frontier.present))
    if static.mean_w is not None:
        rows.append(
            (
                "best static routing",
                wording.power(static.mean_w),
                scientific(static.var_j2_per_s),
                wording.MISSING,
                _per_year(static.other_usd_per_s),
            )
        )
    return Section(
        title="Mean and variance: the frontier of routings",
        heads=("", "mean\ndemand", "variance\n[J^2/s]", "slope\n[J^2/(s W)]", "all but\njoules"),
        rows=tuple(rows),
        words=_frontier_words(routing),
    )


def _frontier_words(routing: SiteRouting) -> str:
    """The frontier in two sentences."""
    frontier, static = routing.frontier, routing.static
    mean, var = np.asarray(frontier.mean_w), np.asarray(frontier.var_j2_per_s)
    low, high = wording.power(float(mean[0])), wording.power(float(mean[-1]))
    if len(mean) == 1:
        said = f"One mean demand is possible, {low} of requests beyond what is always drawn."
    else:
        least = wording.power(float(mean[int(np.argmin(var))]))
        said = (
            f"Requests can draw {low} to {high} beyond what is always drawn; no routing has less"
            f" variance at its mean than these corners and the lines between them, and the least of"
            f" all is at {least}."
        )
    if static.mean_w is None or static.var_j2_per_s is None:
        return said
    above = static.var_j2_per_s / max(float(np.interp(static.mean_w, mean, var)), 1e-300) - 1.0
    if above < 1e-3:
        return f"{said} The best static routing lies on it."
    return (
        f"{said} The best static routing has {wording.percent(above)} more than it could: what"
        " options cost besides is worth that."
    )


def _stands(name: str, point: FrontierPoint) -> tuple[str, ...]:
    return (
        name if point.allowed else f"{name} (breaks a limit)",
        wording.power(point.mean_w),
        scientific(point.var_j2_per_s),
        wording.MISSING,
        _per_year(point.other_usd_per_s),
    )


def _cells(routing: SiteRouting) -> Section:
    """What each option does for each class, and how much of the class the best static routing
    gives it.
    """
    rows = []
    shares = routing.static.shares
    for at, cell in enumerate(routing.cells):
        k, a = divmod(at, len(routing.options))
        share = wording.percent(shares[k][a], 2) if shares else wording.MISSING
        rows.append(
            (
                cell.class_name,
                f"{wording.number(cell.mean_j)} J",
                wording.number(float(np.sqrt(max(cell.cv2, 0.0)))),
                wording.percent(cell.right_frac),
                money(1e6 * cell.other_usd) if cell.allowed else wording.MISSING,
                share if cell.allowed else "not right\noften enough",
                cell.option,
            )
        )
    return Section(
        title="Options, and the best static routing",
        heads=(
            "class", "a request\ndraws", "spread\nover mean", "right", "else, per\nmillion",
            "best\nstatic", "option",
        ),
        rows=tuple(rows),
        words=f"At {wording.power(routing.baseline_w)} of baseline, of which"
        f" {wording.power(routing.base_w)} are always drawn. Else: wrong answers and fees.",
    )  # fmt: skip


def _per_year(usd_per_s: float | None) -> str:
    return wording.MISSING if usd_per_s is None else money(S_PER_YEAR * usd_per_s)
