"""What a routing plan is made of: plain numbers and names, ready for JSON.

Costs are rates [$/s] and leave out what the baseline itself costs: no routing changes that.
``None`` is missing or not defined, never 0. docs/explanation/variance-aware-routing.md derives the
numbers.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from baseload.planner.figures import Standing

Method = Literal["lattice", "full_jump", "taylor", "best_static"]
Policy = Literal["best_static", "present", "mean_only", "taylor", "full_jump", "optimal", "guarded"]


class FrontierPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A routing by its mean demand [W], long-run variance [J^2/s] and other cost [$/s].

    ``allowed``: whether it keeps every capacity row and the limit on failures.
    """

    name: str
    mean_w: float
    var_j2_per_s: float
    other_usd_per_s: float
    allowed: bool = True


class RoutingFrontier(msgspec.Struct, frozen=True, kw_only=True):
    """Least variance by mean demand: corners with rising ``mean_w`` [n], ``slope`` [n - 1]
    J^2/(s W) between them, rising.

    ``singles``: every option that can serve all classes, alone. ``present``: the routing of today,
    ``None`` where it was not given.
    """

    mean_w: tuple[float, ...]
    var_j2_per_s: tuple[float, ...]
    slope_j2_per_s_w: tuple[float, ...]
    singles: tuple[FrontierPoint, ...]
    present: FrontierPoint | None


class LimitBroken(msgspec.Struct, frozen=True, kw_only=True):
    """Why no routing is allowed: the limit that is cheapest to relax, and what it could be."""

    name: str
    asked: float
    possible: float


class StaticPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The best routing that never looks at the store.

    ``shares`` [classes][options]; mean demand [W], variance [J^2/s]; auxiliary energy and waste
    [W]; ``cost_usd_per_s`` and its parts, of the diffusion. Where no routing keeps all limits
    ``broken`` names one, and the numbers are ``None``.
    """

    shares: tuple[tuple[float, ...], ...]
    mean_w: float | None = None
    var_j2_per_s: float | None = None
    auxiliary_w: float | None = None
    waste_w: float | None = None
    cost_usd_per_s: float | None = None
    auxiliary_usd_per_s: float | None = None
    waste_usd_per_s: float | None = None
    other_usd_per_s: float | None = None
    failing_frac: float | None = None
    broken: LimitBroken | None = None


class ShadowPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a stored joule is worth at each level: ``level_j`` from 0 to the whole store,
    ``usd_per_j`` from the price of auxiliary energy down to minus that of waste, ``half_steepness``
    [$/J^2] the price of a joule squared. ``fluid_usd_per_j``: its price without chance.
    """

    level_j: tuple[float, ...]
    usd_per_j: tuple[float, ...]
    half_steepness_usd_per_j2: tuple[float, ...]
    fluid_usd_per_j: float
    flat: bool


class RoutingBand(msgspec.Struct, frozen=True, kw_only=True):
    """From store level ``from_j`` to ``to_j`` class ``class_name`` takes ``option``, with
    probability ``share_frac`` (below 1 only for a static mixture). ``to_j`` ``None``: endless.
    """

    class_name: str
    option: str
    from_j: float
    to_j: float | None
    share_frac: float = 1.0


class PolicyCost(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy costs in the long run.

    ``saving_frac``: of the best static routing's total cost (``None`` where that is not above 0);
    ``chance_saving_frac``: the same saving as a share of what chance costs that routing, its cost
    above ``DynamicGain.fluid_usd_per_s`` (``None`` where that is nothing);
    ``gap_left_frac``: share of the way from best static to optimal that is left, above 1 where
    the policy is worse than static (``None`` where there is no gap).
    """

    name: Policy
    cost_usd_per_s: float
    auxiliary_w: float
    waste_w: float
    other_usd_per_s: float
    saving_frac: float | None
    chance_saving_frac: float | None
    gap_left_frac: float | None


class DynamicGain(msgspec.Struct, frozen=True, kw_only=True):
    """What looking at the store buys with a store of ``store_j``.

    ``evaluated_by`` ``lattice``: whole jumps on ``levels`` levels of ``step_j``, and ``optimal`` is
    the optimum of that model; ``diffusion``: the stationary law, and the diffusion's ``optimal``.
    ``forecast_usd_per_s``: average cost by the optimality equation, and how far off it was in
    random problems with such a store, ``forecast_error_frac`` (``None`` below three mean jobs:
    more than 11 %); ``fluid_usd_per_s``: what no store could save. ``guard_kept``: whether the
    table of ``method`` beat the best static routing; ``guarded`` is the better of the two.
    """

    store_j: float
    store_jobs: float
    method: Method
    evaluated_by: Literal["lattice", "diffusion"]
    step_j: float | None
    levels: int | None
    standing: Standing
    policies: tuple[PolicyCost, ...]
    forecast_usd_per_s: float
    forecast_error_frac: float | None
    fluid_usd_per_s: float
    guard_kept: bool

    def policy(self, name: Policy) -> PolicyCost | None:
        """The policy called ``name``, or ``None``."""
        return next((one for one in self.policies if one.name == name), None)


class RoutingPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to route with this supply and store: what ``plan_routing`` gives.

    ``choosing``: classes with arrivals that have two options or more. ``shadow_price`` and
    ``gain`` are ``None`` where no state-dependent routing was worked out; ``why_static`` then says
    why. ``bands`` are those of the routing to use. ``statements`` say in words what it buys;
    ``notes`` what was assumed; ``warnings`` what may be wrong.
    """

    classes: tuple[str, ...]
    options: tuple[str, ...]
    choosing: tuple[str, ...]
    store_j: float | None
    frontier: RoutingFrontier
    static: StaticPlan
    shadow_price: ShadowPrice | None
    bands: tuple[RoutingBand, ...]
    switch_levels_j: tuple[float, ...]
    gain: DynamicGain | None
    why_static: str | None
    statements: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


class OptionCell(msgspec.Struct, frozen=True, kw_only=True):
    """What an option does for a class: marginal energy of a request at the bus [J] and the squared
    coefficient of variation of that, probability that the answer is right (``None``: not known),
    and what it costs beside energy, wrong answers included [$]. ``allowed``: whether it is right
    often enough to be used.
    """

    class_name: str
    option: str
    mean_j: float
    cv2: float
    right_frac: float | None
    other_usd: float
    allowed: bool


class SiteRouting(RoutingPlan, frozen=True, kw_only=True):
    """The routing plan of a fleet at its site.

    ``baseline_w``: mean baseline that it is for [W], of which ``base_w`` is always drawn.
    ``requests_per_s`` [classes]; ``right_usd`` [classes]: value of a right answer [$]; ``cells``:
    class by class what each option does.
    """

    baseline_w: float
    base_w: float
    requests_per_s: tuple[float, ...]
    right_usd: tuple[float, ...]
    cells: tuple[OptionCell, ...]
