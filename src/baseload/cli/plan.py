"""``baseload plan``: how much baseline, storage and fleet, and what chance costs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baseload.base.errors import BadInputError, BaseloadError
from baseload.cli import options
from baseload.cli.progress import Report

if TYPE_CHECKING:
    from baseload.cli.plan_inputs import PlanFlags
    from baseload.cli.plan_routing import RoutingFlags
    from baseload.cli.plan_run import Seen
    from baseload.report.plan_result import PlanResult

MAX_SEEDS = 100
POLICY = "least_loaded"


def plan(
    scenario: Annotated[
        str,
        typer.Argument(
            help="A built-in scenario (baseload simulate --list) or a scenario file (YAML), with "
            "or without a supply section.",
            metavar="SCENARIO",
            show_default=False,
        ),
    ],
    price_auxiliary: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            help="Price of auxiliary energy [$/kWh]. Default: the site's mean price, else 0.30.",
        ),
    ] = None,
    price_baseline: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            help="Price of baseline energy, paid for whether used or not [$/kWh]. Default: the "
            "site's, else 0.08.",
        ),
    ] = None,
    price_waste: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            help="Price of baseline energy that is thrown away [$/kWh]; below 0 where feeding in "
            "is paid. Default: the site's, else 0.",
        ),
    ] = None,
    price_storage: Annotated[
        float | None,
        typer.Option(
            metavar="USD",
            help="Price of storage [$ per kWh of capacity and year]. Default: the site's, else 40.",
        ),
    ] = None,
    storage_kwh: Annotated[
        float | None,
        typer.Option(
            metavar="KWH", help="Usable capacity of the store [kWh]. Default: the site's, else 0."
        ),
    ] = None,
    baseline_kw: Annotated[
        float | None,
        typer.Option(
            metavar="KW",
            help="Mean baseline [kW]; a supply that moves keeps its shape. Default: the site's, "
            "else the best one is looked for.",
        ),
    ] = None,
    horizon: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="How long the plan is for: 30d, 12h, 1y. Default: a year, or what is recorded of "
            "the supply where that is less.",
        ),
    ] = None,
    sharing: Annotated[
        str | None,
        typer.Option(
            metavar="even|packed",
            help="How the load is spread without a simulation: even, or packed (as few replicas "
            "as it needs, the cheapest first). Default: even.",
        ),
    ] = None,
    routing: Annotated[
        bool,
        typer.Option(
            "--routing",
            help="Say how to route by the level of the store: which option for which class at "
            "which level, and what that buys over the best routing that never looks.",
        ),
    ] = False,
    right_usd: Annotated[
        float | None,
        typer.Option(
            "--right-usd",
            metavar="USD",
            help="With --routing: what a right answer is worth [$]. Default: 0.",
        ),
    ] = None,
    least_right: Annotated[
        float | None,
        typer.Option(
            "--least-right",
            metavar="FRAC",
            help="With --routing: no option that is right less often (0 to 1). Default: any.",
        ),
    ] = None,
    load: options.Load = None,
    parking: options.Parking = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Take the demand from a run of the simulator, and put simulated dots beside the "
            "formulas.",
        ),
    ] = False,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="NAME",
            help="The policy of that run, as for baseload simulate. Default: least_loaded.",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Run with seeds 0 to N-1 (at most 100). Default: 1."),
    ] = None,
    json: options.Json = None,
    out: options.Out = None,
    quiet: options.Quiet = False,
) -> None:
    """Say how much baseline supply and storage a fleet wants, and what randomness costs it.

    Critical supply, regime, auxiliary energy and waste, where the variance comes from and what
    each part of it costs, the best baseline and store, how long the store lasts, what one more of
    something is worth. Every number says how far to trust it.

    \b
    Examples:
      baseload plan azure-chat
      baseload plan azure-320 --storage-kwh 50 --horizon 30d --out report
      baseload plan solar-site --price-auxiliary 0.40 --simulate
      baseload plan efforts.yaml --routing --storage-kwh 0.01 --right-usd 0.00003
      baseload plan site.yaml --price-auxiliary 0.3 --price-storage 40 --simulate --json -
    """
    _check_run(simulate, policy, seeds)
    _check_outputs(scenario, json, out)
    from baseload.cli.durations import duration_s
    from baseload.cli.plan_inputs import PlanFlags
    from baseload.cli.plan_routing import routing_flags

    asked_routing = routing_flags(routing, right_usd=right_usd, least_right_frac=least_right)
    flags = PlanFlags(
        price_auxiliary=price_auxiliary,
        price_baseline=price_baseline,
        price_waste=price_waste,
        price_storage=price_storage,
        storage=storage_kwh,
        baseline=baseline_kw,
        horizon_s=None if horizon is None else duration_s(horizon, flag="--horizon"),
        sharing=sharing,
        load_frac=load,
        parking=parking,
    )
    with Report(quiet=quiet) as report, redirect_stdout(sys.stderr):
        result = _plan(
            scenario,
            flags,
            asked_routing,
            policy or POLICY if simulate else None,
            seeds or 1,
            report,
            drawn=json is not None or out is not None,
        )
    _write(result, json, out)


def _check_run(simulate: bool, policy: str | None, seeds: int | None) -> None:
    """Refuse what only a simulation could follow, and seeds that are none."""
    for flag, value in (("--policy", policy), ("--seeds", seeds)):
        if value is not None and not simulate:
            raise BadInputError(
                flag,
                found=f"{value} without --simulate",
                allowed="with --simulate: a plan without it runs nothing",
                todo=f"add --simulate, or leave out {flag}",
            )
    if seeds is not None and not 1 <= seeds <= MAX_SEEDS:
        raise BadInputError("--seeds", found=str(seeds), allowed=f"1 to {MAX_SEEDS}")


def _check_outputs(scenario: str, json: str | None, out: Path | None) -> None:
    """Refuse now what could not be written at the end."""
    from baseload.sources.files import check_distinct, check_folder, check_writable

    json_path = None if json in (None, "-") else Path(json or "")
    if json_path is not None:
        check_writable(json_path)
    if out is not None:
        check_folder(out)
    check_distinct(SCENARIO=Path(scenario), json=json_path)


def _plan(
    scenario: str,
    flags: PlanFlags,
    routing: RoutingFlags | None,
    policy: str | None,
    seeds: int,
    report: Report,
    *,
    drawn: bool,
) -> PlanResult:
    """The whole plan; ``routing``: what was asked of routing, ``policy``: of the run that gives
    the demand, each ``None`` without; ``drawn``: whether anybody will see its curves.
    """
    chosen = None
    if policy is not None:
        from baseload.cli.policy_specs import policy_of

        chosen = policy_of(policy)
    report.say(f"reading {scenario}")
    from baseload import __version__
    from baseload.cli.plan_inputs import plan_inputs
    from baseload.planner.charts import charts_of
    from baseload.planner.net import net_of
    from baseload.planner.plan import plan_site
    from baseload.planner.rates import rates_record
    from baseload.report.plan_result import plan_result

    asked = plan_inputs(scenario, flags)
    routed = None
    if routing is not None:
        from baseload.cli.plan_routing import routing_asked

        routed = routing_asked(scenario, asked, routing, flags)
    case, seen, simulated = asked.case, None, None
    if chosen is not None and policy is not None:
        from baseload.cli.plan_run import see_demand

        _warn_compiling(report)
        seen = _followed(
            lambda: see_demand(asked.scenario, asked.case, chosen, seeds=seeds, report=report),
            policy,
        )
        case = seen.case
    demand = case.demand()
    made = plan_site(
        demand,
        asked.supply,
        asked.prices,
        horizon_s=asked.horizon_s,
        case=case,
        on_progress=lambda _share, what: report.say(what),
    )
    critical_w = made.critical.here.value or demand.mean_w
    if seen is not None and drawn:
        from baseload.cli.plan_run import dots

        simulated = dots(seen, asked.supply, critical_w, report)
    report.say("curves")
    charts = charts_of(made, demand, case=case, simulated=simulated) if drawn else ()
    found = None
    if routed is not None:
        from baseload.cli.plan_routing import route

        report.say("routing")
        found, more = route(routed, made.supply, case, demand, drawn=drawn)
        charts += more
    return plan_result(
        made,
        charts,
        version=__version__,
        at_critical=rates_record(net_of(demand, made.supply), critical_w),
        notes=asked.notes,
        simulated=simulated,
        run=None if seen is None else seen.run,
        routing=found,
    )


def _warn_compiling(report: Report) -> None:
    """Say why nothing seems to happen the first time."""
    from baseload.simulator.run import needs_compiling

    if needs_compiling():
        report.say("compiling the engine (once on this machine, about a minute)", keep=True)


def _followed(run: Callable[[], Seen], policy: str) -> Seen:
    """What ``run`` gives; a mistake in the user's policy is told as theirs."""
    from baseload.cli.policy_specs import failure_in

    try:
        return run()
    except BaseloadError:
        raise
    except (Exception, SystemExit) as error:
        failure = failure_in(error, [policy])
        if failure is None:
            raise
        raise failure from error


def _write(result: PlanResult, json: str | None, out: Path | None) -> None:
    """Hand out the plan."""
    options.hand_out(result, json, out, report=_write_report, show=_show_plan)


def _write_report(result: PlanResult, out: Path) -> None:
    """Write the report folder."""
    from baseload.report.plan_page import write_plan_report

    write_plan_report(result, out)


def _show_plan(result: PlanResult) -> None:
    """The tables of a plan."""
    from baseload.report.plan_text import print_plan

    print_plan(result)
