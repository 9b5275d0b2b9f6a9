"""The routing problem of a fleet at its site: options priced with the joules that the plan prices
requests with.

Classes are those of the trace. An option runs on the replicas of its model (on all, where it names
none), shared as the plan shares the load; its answers are those of the trace times a factor, as in
the simulator. What a request draws is its marginal energy at the load that the plan assumes:
docs/explanation/planner.md. Modelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import ArgumentError
from baseload.planner.demand import with_outputs
from baseload.planner.demand_records import Demand
from baseload.planner.fleet_case import FleetCase
from baseload.planner.records import Prices, Supply
from baseload.planner.response import Response
from baseload.planner.routing import plan_routing
from baseload.planner.routing_noise import noise_felt
from baseload.planner.routing_problem import routing_problem
from baseload.planner.routing_records import OptionCell, RoutingBand, RoutingPlan, SiteRouting
from baseload.planner.routing_wording import SMALL_JOBS
from baseload.planner.year import is_seasonal
from baseload.theory.inputs import Floats
from baseload.theory.routing_instance import RoutingInstance

_FULL = 1.05
_ALONE = (
    "The store is smaller than five mean jobs: requests alone are counted, as a Poisson stream."
    " Slow movement of the load, clumping of arrivals and noise of the supply are too rough for the"
    " lattice that so small a store wants."
)
_AT_MEANS = "With supply and demand at their means over the day"
_SEASONAL = (
    "supply or demand moves with the hour: the routing plan is that of their means, as if the store"
    " could even out a day; where it cannot, the worth of a joule follows the hour too, so simulate"
    " before relying on it"
)


class SiteOption(msgspec.Struct, frozen=True, kw_only=True):
    """A way to answer: a ``model`` of the fleet (``None``: any) at an effort.

    ``tokens_factor`` and ``right_frac`` by class of the trace, in its order: output tokens over
    those of the trace, and probability that the answer is right (``None``: nobody said).
    ``fee_usd``: what an answer costs beside energy.
    """

    name: str
    model: str | None = None
    tokens_factor: tuple[float, ...]
    right_frac: tuple[float, ...] | None = None
    fee_usd: float = 0.0


class SiteProblem(NamedTuple):
    """A site's plan of routing and the instance that it is of, for its charts."""

    plan: SiteRouting
    instance: RoutingInstance


def plan_site_routing(
    case: FleetCase,
    demand: Demand,
    supply: Supply,
    prices: Prices,
    options: Sequence[SiteOption],
    *,
    baseline_w: float,
    right_usd: Sequence[float] = (),
    least_right_frac: float | None = None,
) -> SiteProblem:
    """How ``case`` should route at ``supply`` with a mean baseline of ``baseline_w``.

    ``demand`` is that of the case at the bus; ``right_usd``: value of a right answer by class of
    the trace [$] (none: 0); ``least_right_frac`` closes options that are right less often. The
    routing of today is the first option, or, where no option names its answers' chances, the
    models as the plan shares the load. Raises ``ArgumentError`` as ``routing_problem`` and
    ``plan_routing`` do.
    """
    digest, response = case.digest, case.response()
    used = np.flatnonzero(digest.class_requests > 0)
    rate = digest.requests_per_s * digest.class_requests / digest.class_requests.sum()
    types = [_types_of(case, option) for option in options]
    moments = [
        _moments(case, response, option, share)
        for option, share in zip(options, _spread(response, types), strict=True)
    ]
    mean_j = case.pue * np.stack([one.mean_j for one in moments], axis=1)[used]
    second = case.pue**2 * np.stack([one.second_j2 for one in moments], axis=1)[used]
    known = all(option.right_frac is not None for option in options)
    right = np.array([option.right_frac for option in options]).T[used] if known else None
    worth = (np.asarray(right_usd) if len(right_usd) else np.zeros(len(digest.classes)))[used]
    names = tuple(digest.classes[at] or "requests" for at in used)
    option_names = tuple(option.name for option in options)
    noise = noise_felt(demand, supply)
    instance = routing_problem(
        arrivals_per_s=rate[used],
        mean_j=mean_j,
        second_j2=second,
        success_frac=right,
        wrong_usd=worth,
        fee_usd=np.broadcast_to([option.fee_usd for option in options], mean_j.shape),
        least_success_frac=None if least_right_frac is None or right is None
        else np.full(len(used), least_right_frac),
        prices=prices,
        baseline_w=baseline_w - demand.base_w,
        var_j2_per_s=noise.var_j2_per_s,
        arrival_scv=noise.arrival_scv,
        classes=names,
        options=option_names,
    )  # fmt: skip
    today = _present(instance, response, types, known=known)
    plan, instance, left_out = _planned(instance, supply.store_j, names, option_names, today)
    loads = [one.load[used] for one in moments]
    warnings = (*plan.warnings, *_over_full(plan, instance, response, types, loads))
    made = SiteRouting(
        **{name: getattr(plan, name) for name in RoutingPlan.__struct_fields__},
        baseline_w=baseline_w,
        base_w=demand.base_w,
        requests_per_s=tuple(float(one) for one in instance.lam),
        right_usd=tuple(float(one) for one in worth),
        cells=_cells(instance, names, option_names, right),
    )
    if is_seasonal(demand, supply):
        warnings += (_SEASONAL,)
        first, *rest = made.statements
        of_means = f"{_AT_MEANS}, {first[:1].lower()}{first[1:]}"
        made = msgspec.structs.replace(made, statements=(of_means, *rest))
    notes = (*plan.notes, *filter(None, (left_out or noise.note,)), *_notes(supply))
    return SiteProblem(msgspec.structs.replace(made, notes=notes, warnings=warnings), instance)


class _Moments(NamedTuple):
    """By class: mean [J] and mean square [J^2] of a request's energy at the fleet, and how much of
    a replica's room it takes against a mean request of the trace.
    """

    mean_j: Floats
    second_j2: Floats
    load: Floats


def _types_of(case: FleetCase, option: SiteOption) -> NDArray[np.bool_]:
    """Which types of the fleet serve an option ``[types]``."""
    found = np.array([option.model in (None, kind.model) for kind, _ in case.groups])
    if not found.any():
        served = ", ".join(dict.fromkeys(kind.model for kind, _ in case.groups))
        raise ArgumentError(
            f"option {option.name!r}: model", found=repr(option.model), allowed=served
        )
    return found


def _spread(response: Response, types: Sequence[NDArray[np.bool_]]) -> list[Floats]:
    """How each option spreads over its types ``[types]``: as the plan's load does, by room where
    that puts nothing on them.
    """
    found = []
    for mine in types:
        share = np.where(mine, response.share_frac, 0.0)
        if share.sum() <= 0:
            share = np.where(mine, response.room_per_s, 0.0)
        found.append(share / share.sum())
    return found


def _moments(case: FleetCase, response: Response, option: SiteOption, share: Floats) -> _Moments:
    """What requests of each class draw under an option."""
    digest = case.digest
    factor = np.asarray(option.tokens_factor)[digest.sample_class]
    longest = max(
        kind.max_context_tokens
        for (kind, _), one in zip(case.groups, share, strict=True)
        if one > 0
    )
    # half a token counts up, nothing passes the longest context: as the engine counts
    asked = np.maximum(1.0, np.floor(digest.sample_output * factor + 0.5))
    room = np.maximum(1.0, longest - digest.sample_input)
    changed = with_outputs(
        digest, np.where(factor == 1.0, digest.sample_output, np.minimum(asked, room))
    )
    used = share > 0
    jobs = response.job_j[used]
    mean = changed.work @ (share[used] @ jobs)
    second = np.einsum("t,ta,cab,tb->c", share[used], jobs, changed.work_products, jobs)
    load = changed.work[:, 0] / max(1.0, digest.mean_output)
    return _Moments(mean, np.maximum(second, mean * mean), load)


def _planned(
    instance: RoutingInstance,
    store_j: float,
    classes: tuple[str, ...],
    options: tuple[str, ...],
    present: Floats | None,
) -> tuple[RoutingPlan, RoutingInstance, str]:
    """The plan, the instance that it is of, and what had to be left out for it.

    A store of less than five mean jobs wants the lattice. Where noise outside control is too rough
    for that, requests alone are counted.
    """

    def made(problem: RoutingInstance) -> RoutingPlan:
        return plan_routing(
            problem, store_j=store_j, classes=classes, options=options, present=present
        )

    plan = made(instance)
    gain = plan.gain
    if gain is None or gain.evaluated_by == "lattice" or gain.store_jobs >= SMALL_JOBS:
        return plan, instance, ""
    alone = msgspec.structs.replace(instance, v0=0.0, arrival_scv=1.0)
    again = made(alone)
    if again.gain is None or again.gain.evaluated_by != "lattice":
        return plan, instance, ""
    return again, alone, _ALONE


def _present(
    instance: RoutingInstance,
    response: Response,
    types: Sequence[NDArray[np.bool_]],
    *,
    known: bool,
) -> Floats | None:
    """The routing of today; ``None`` where it is not allowed."""
    today = np.zeros(len(types))
    if known:
        today[0] = 1.0
    else:
        today[:] = [float(response.share_frac[mine].sum()) for mine in types]
        today /= today.sum()
    if not instance.available[:, today > 0].all():
        return None
    return np.tile(today, (instance.shape[0], 1))


def _cells(
    instance: RoutingInstance,
    classes: tuple[str, ...],
    options: tuple[str, ...],
    right: Floats | None,
) -> tuple[OptionCell, ...]:
    """Every option of every class."""
    found = []
    for k, label in enumerate(classes):
        for a, option in enumerate(options):
            allowed = bool(instance.available[k, a])
            mean, second = float(instance.mean[k, a]), float(instance.second[k, a])
            found.append(
                OptionCell(
                    class_name=label,
                    option=option,
                    mean_j=mean,
                    cv2=second / mean**2 - 1.0 if mean > 0 else 0.0,
                    right_frac=None if right is None else float(right[k, a]),
                    other_usd=float(instance.other_cost[k, a]) if allowed else 0.0,
                    allowed=allowed,
                )
            )
    return tuple(found)


def _over_full(
    plan: RoutingPlan,
    instance: RoutingInstance,
    response: Response,
    types: Sequence[NDArray[np.bool_]],
    loads: Sequence[Floats],
) -> list[str]:
    """A warning for each group of replicas that the plan asks for more than they complete at some
    level of the store.
    """
    found = []
    for mine in {tuple(one.tolist()): one for one in types}.values():
        inside = [a for a, other in enumerate(types) if not (other & ~mine).any()]
        room = float(response.room_per_s[mine].sum())
        asked = max(
            (
                _asked(plan, instance, level, inside, loads)
                for level in {band.from_j for band in plan.bands}
            ),
            default=0.0,
        )
        if asked > _FULL * room:
            names = ", ".join(plan.options[a] for a in inside)
            found.append(
                f"at some store levels the plan asks {asked / room:.3g} times what the replicas of"
                f" {names} complete at the batch taken: the fleet could not follow it there"
            )
    return found


def _asked(
    plan: RoutingPlan,
    instance: RoutingInstance,
    level_j: float,
    options: Sequence[int],
    loads: Sequence[Floats],
) -> float:
    """Mean requests a second that some options get at a level of the store."""
    total = 0.0
    for band in plan.bands:
        a, k = plan.options.index(band.option), plan.classes.index(band.class_name)
        if a in options and _holds(band, level_j):
            total += float(instance.lam[k]) * band.share_frac * float(loads[a][k])
    return total


def _holds(band: RoutingBand, level_j: float) -> bool:
    """Whether a band has this level."""
    return band.from_j <= level_j and (band.to_j is None or level_j < band.to_j)


def _notes(supply: Supply) -> list[str]:
    """What the routing plan leaves out of this site."""
    found = [
        "A request costs its marginal energy at the load that the plan assumes; a routing that"
        " changes the load much changes that too (modelled). Deadlines are not in the routing plan."
    ]
    if supply.lossy or supply.leak_per_s > 0 or supply.limited:
        found.append(
            "The routing plan takes the store as lossless and without power limits, which this one"
            " is not."
        )
    return found
