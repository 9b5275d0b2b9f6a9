"""``baseload plan --routing``: from a scenario's options to the routing plan of its site."""

from __future__ import annotations

import math

import msgspec

from baseload.base.errors import ArgumentError, BadInputError
from baseload.cli.plan_inputs import MOST_DAYS, MOST_REQUESTS, W_PER_KW, PlanFlags, PlanInputs
from baseload.cli.scenario_file import read_scenario, to_load
from baseload.cli.scenario_trace import planned_trace
from baseload.planner.curves import Chart
from baseload.planner.demand_records import Demand
from baseload.planner.fleet_case import FleetCase, fleet_case
from baseload.planner.net import net_of
from baseload.planner.optimum import best_drift
from baseload.planner.records import Supply
from baseload.planner.routing_charts import routing_charts_of
from baseload.planner.routing_records import SiteRouting
from baseload.planner.routing_site import SiteOption, plan_site_routing
from baseload.simulator.choices import Choice
from baseload.workload.requests import tier_of

_HOW = "docs/reference/scenario.md#option"


class RoutingFlags(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says of routing; ``None``: nothing. ``right_usd``: value of a right
    answer [$]; ``least_right_frac``: how often an option must be right.
    """

    right_usd: float | None = None
    least_right_frac: float | None = None


class RoutingAsked(msgspec.Struct, frozen=True, kw_only=True):
    """What ``planner.routing_site`` is asked beside the plan itself, and what was assumed.

    ``case``: all replicas with the trace as it is, where the scenario has options (``None``: the
    plan's own). ``right_usd`` by class of the trace.
    """

    inputs: PlanInputs
    case: FleetCase | None
    options: tuple[SiteOption, ...]
    right_usd: tuple[float, ...]
    least_right_frac: float | None
    notes: tuple[str, ...]


def routing_flags(
    routing: bool, *, right_usd: float | None, least_right_frac: float | None
) -> RoutingFlags | None:
    """The flags, checked; ``None`` without ``--routing``, and then none of them may be given."""
    limits = {"--right-usd": (right_usd, math.inf), "--least-right": (least_right_frac, 1.0)}
    for flag, (value, most) in limits.items():
        if value is None:
            continue
        if not routing:
            raise BadInputError(
                flag,
                found=f"{value:g} without --routing",
                allowed="with --routing: the rest of a plan takes the answers as they are",
                todo=f"add --routing, or leave out {flag}",
            )
        if not (math.isfinite(value) and 0 <= value <= most):
            allowed = "a number from 0 up" if math.isinf(most) else "a number from 0 to 1"
            raise BadInputError(flag, found=f"{value:g}", allowed=allowed)
    if not routing:
        return None
    return RoutingFlags(right_usd=right_usd, least_right_frac=least_right_frac)


def routing_asked(
    name: str, inputs: PlanInputs, flags: RoutingFlags, plan_flags: PlanFlags
) -> RoutingAsked:
    """Options and values of right answers, from the scenario called ``name`` and the flags.

    Raises ``BadInputError`` for a site without a store, flags that need ``options``, and right
    answers that no option gives often enough.
    """
    _check_store(inputs.supply)
    choices = inputs.scenario.choices
    case = _whole_fleet(name, inputs, plan_flags) if choices else None
    digest = (case or inputs.case).digest
    classes = digest.classes
    used = [label for label, count in zip(classes, digest.class_requests, strict=True) if count > 0]
    right_usd = _right_usd(inputs, classes, flags)
    notes: list[str] = []
    if choices:
        notes.append(
            "The routing plan takes all replicas of the fleet to be kept working, and the modelled"
            " demand of the trace on them."
        )
        options = tuple(_of_choice(choice, classes) for choice in choices)
        _check_least(choices, used, flags.least_right_frac)
        if len(choices) == 1:
            notes.append("The scenario has one option: there is nothing to choose.")
        elif not any(right_usd):
            notes.append(
                "A right answer is worth nothing here (--right-usd): whatever costs the fewest"
                " joules is best, right or wrong"
                + ("." if flags.least_right_frac is None else ", among what --least-right allows.")
            )
    else:
        options = _of_models(inputs, flags, notes)
    return RoutingAsked(
        inputs=inputs,
        case=case,
        options=options,
        right_usd=right_usd,
        least_right_frac=flags.least_right_frac,
        notes=tuple(notes),
    )


def route(
    asked: RoutingAsked, supply: Supply, case: FleetCase, demand: Demand, *, drawn: bool
) -> tuple[SiteRouting, tuple[Chart, ...]]:
    """The routing plan at the baseline of ``supply`` (without one, at the best for its store), and
    its charts where they are ``drawn``. ``case``, ``demand``: those of the plan.
    """
    if asked.case is not None:
        case, demand = asked.case, asked.case.demand()
    notes, baseline_w = list(asked.notes), supply.baseline_w
    if baseline_w is None:
        best = best_drift(net_of(demand, supply), asked.inputs.prices, supply.store_j)
        baseline_w = max(0.0, demand.mean_w + best.theta)
        notes.append(
            f"No baseline is given: the routing plan is for the best one with this store,"
            f" {baseline_w / W_PER_KW:.4g} kW."
        )
    try:
        found = plan_site_routing(
            case,
            demand,
            supply,
            asked.inputs.prices,
            asked.options,
            baseline_w=baseline_w,
            right_usd=asked.right_usd,
            least_right_frac=asked.least_right_frac,
        )
    except ArgumentError as error:
        raise BadInputError(
            f"routing: {error.asked}", found=error.found, allowed=error.allowed, todo=error.todo
        ) from error
    plan = msgspec.structs.replace(found.plan, notes=(*notes, *found.plan.notes))
    return plan, routing_charts_of(plan, found.instance) if drawn else ()


def _right_usd(
    inputs: PlanInputs, classes: tuple[str, ...], flags: RoutingFlags
) -> tuple[float, ...]:
    """The value of a right answer by class [$]: the flag, else that of the class's tier."""
    if flags.right_usd is not None:
        return (flags.right_usd,) * len(classes)
    return tuple(tier_of(label, inputs.scenario.tiers).right_usd for label in classes)


def _whole_fleet(name: str, inputs: PlanInputs, flags: PlanFlags) -> FleetCase:
    """All replicas of the fleet with the answers of the trace as they are: options change those,
    and each runs on its own replicas.
    """
    read, like = read_scenario(name), inputs.case
    trace = planned_trace(
        to_load(read.file.trace, flags.load_frac),
        read.folder,
        inputs.scenario.groups,
        most_requests=MOST_REQUESTS,
        most_days=MOST_DAYS,
    )
    site = read.file.supply
    return fleet_case(
        [(group.kind, group.replicas) for group in inputs.scenario.groups],
        trace.source,
        scale=trace.scale,
        sharing=like.sharing,
        ttft_s=like.ttft_s,
        tpot_s=like.tpot_s,
        parking=like.parking,
        name=like.name,
        pue=like.pue,
        overhead_w=0.0 if site is None else W_PER_KW * site.overhead_kw,
    )


def _check_store(supply: Supply) -> None:
    if supply.store_j <= 0:
        raise BadInputError(
            "--routing",
            found="a site without a store",
            allowed="a store, however small: without one there is no level to route by",
            todo="give --storage-kwh, or a store in the supply section",
        )


def _of_choice(choice: Choice, classes: tuple[str, ...]) -> SiteOption:
    return SiteOption(
        name=choice.name,
        model=choice.model,
        tokens_factor=tuple(choice.tokens(label) for label in classes),
        right_frac=tuple(choice.right(label) for label in classes),
        fee_usd=choice.fee_usd,
    )


def _check_least(choices: tuple[Choice, ...], classes: list[str], least: float | None) -> None:
    """Refuse a share of right answers that no option reaches."""
    for label in classes:
        best = max(choices, key=lambda choice: choice.right(label))
        if least is not None and best.right(label) < least:
            raise BadInputError(
                f"--least-right {least:g}" + (f" for class {label}" if label else ""),
                found=f"no option that is right so often; {best.name} is, {best.right(label):g}"
                " of the time",
                allowed=f"up to {best.right(label):g}",
                todo="ask for less, or add a more able option to the scenario",
            )


def _of_models(inputs: PlanInputs, flags: RoutingFlags, notes: list[str]) -> tuple[SiteOption, ...]:
    """The models of the fleet as options of a scenario that names none."""
    for flag, value in (
        ("--right-usd", flags.right_usd),
        ("--least-right", flags.least_right_frac),
    ):
        if value is not None:
            raise BadInputError(
                flag,
                found="a scenario without options: nobody says how often answers are right",
                allowed="a scenario with options and their right_frac",
                todo=f"add options to the scenario file ({_HOW})",
            )
    models = list(dict.fromkeys(group.kind.model for group in inputs.scenario.groups))
    if len(models) == 1:
        notes.append(
            f"The scenario has no options and one model, {models[0]}: there is nothing to choose."
            f" Options are models and efforts that may answer ({_HOW})."
        )
    else:
        notes.append(
            "The scenario has no options: the models of the fleet stand for them, as if all were"
            f" right equally often ({_HOW})."
        )
    plain = (1.0,) * len(inputs.case.digest.classes)
    return tuple(SiteOption(name=model, model=model, tokens_factor=plain) for model in models)
