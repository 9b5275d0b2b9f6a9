"""``baseload sweep``: what routing policies cost and miss as the load of a fleet grows."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from baseload.base.errors import BadInputError
from baseload.cli import options
from baseload.cli.progress import Report

if TYPE_CHECKING:
    from baseload.cli.jobs import Job, JobResult
    from baseload.cli.scenario_file import Overrides
    from baseload.routing.policy import AnyPolicy
    from baseload.simulator.scenario import Scenario
    from baseload.simulator.sweeps import Sweep

MAX_SEEDS, MAX_LOADS = 1000, 200
_FORMS = "LOW:HIGH:COUNT (0.2:0.9:8) or two or more loads with commas (0.3,0.5,0.7)"


def sweep(
    scenario: Annotated[
        str,
        typer.Argument(
            help="A built-in scenario (baseload simulate --list) or a scenario file (YAML).",
            metavar="SCENARIO",
            show_default=False,
        ),
    ],
    load: Annotated[
        str,
        typer.Option(
            metavar="LOADS",
            help=(
                "The loads: LOW:HIGH:COUNT in equal steps, or a list with commas. Each is the "
                "share of what the fleet can complete that the trace's busiest minutes take."
            ),
        ),
    ] = "0.2:0.9:8",
    policy: options.Policies = None,
    seeds: options.Seeds = 1,
    parking: options.Parking = None,
    forecast: options.Forecast = None,
    json: options.Json = None,
    out: options.Out = None,
    check: options.Check = False,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
) -> None:
    """Replay a trace at several loads, under one or several routing policies.

    Says how energy per request, missed deadlines and latency change as the fleet fills. All
    policies meet the same requests at each load.

    \b
    Examples:
      baseload sweep azure-320 --load 0.2:0.9:8 -p least_loaded -p energy_greedy
      baseload sweep azure-chat --load 0.3,0.5,0.7 --seeds 3 --out report
      baseload sweep azure-320 --load 0.2:0.8:4 --parking all
      baseload sweep my.yaml --jobs 4 --json - | jq '.points[] | [.load_frac, .policy]'
    """
    from baseload.cli.jobs import check_jobs
    from baseload.cli.scenario_file import Overrides

    asked = [
        Overrides(load_frac=load_frac, parking=parking, forecast=forecast)
        for load_frac in loads_of(load)
    ]
    if not 1 <= seeds <= MAX_SEEDS:
        raise BadInputError("--seeds", found=str(seeds), allowed=f"1 to {MAX_SEEDS}")
    check_jobs(jobs)
    _check_outputs(scenario, json, out)
    with Report(quiet=quiet) as report, redirect_stdout(sys.stderr):
        result = _run(scenario, policy or [], asked, seeds, check, jobs, report)
    _write(result, json, out)


def loads_of(text: str) -> list[float]:
    """The loads that ``--load`` names, rising: ``LOW:HIGH:COUNT`` or two or more with commas.

    Raises ``BadInputError`` for what is neither, and for loads that are not above 0 and below 100.
    """
    from baseload.cli.scenario_trace import MAX_LOAD

    loads = _range_of(text) if ":" in text else [_number(part, text) for part in text.split(",")]
    if len(loads) < 2:
        raise BadInputError(
            f"--load {text}",
            found="one load",
            allowed="two or more",
            todo=f"add more, or run `baseload simulate --load {text}`",
        )
    if len(loads) > MAX_LOADS:
        raise BadInputError(f"--load {text}", found=f"{len(loads)} loads", allowed=str(MAX_LOADS))
    for load_frac in loads:
        if not 0 < load_frac < MAX_LOAD:
            raise BadInputError(
                f"--load {text}",
                found=f"{load_frac:g}",
                allowed=f"above 0 and below {MAX_LOAD:g} (1 is all that the fleet can do)",
            )
    twice = sorted({load_frac for load_frac in loads if loads.count(load_frac) > 1})
    if twice:
        raise BadInputError(f"--load {text}", found=f"{twice[0]:g} twice", allowed="each load once")
    return sorted(loads)


def _range_of(text: str) -> list[float]:
    """The loads of ``LOW:HIGH:COUNT``."""
    parts = text.split(":")
    if len(parts) != 3:
        raise BadInputError(f"--load {text}", found=f"{len(parts)} parts", allowed=_FORMS)
    low, high = _number(parts[0], text), _number(parts[1], text)
    count = parts[2].strip()
    if not (count.isascii() and count.isdigit() and 2 <= int(count) <= MAX_LOADS):
        raise BadInputError(
            f"--load {text}", found=f"a count of {count!r}", allowed=f"2 to {MAX_LOADS}"
        )
    if not low < high:
        raise BadInputError(
            f"--load {text}", found=f"from {low:g} to {high:g}", allowed="LOW below HIGH"
        )
    step = (high - low) / (int(count) - 1)
    return [round(low + step * place, 6) for place in range(int(count))]


def _number(part: str, text: str) -> float:
    """A load as written."""
    try:
        return float(part)
    except ValueError:
        raise BadInputError(f"--load {text}", found=repr(part), allowed=_FORMS) from None


def _check_outputs(scenario: str, json: str | None, out: Path | None) -> None:
    """Refuse now what could not be written at the end."""
    from baseload.sources.files import check_distinct, check_folder, check_writable

    json_path = None if json in (None, "-") else Path(json or "")
    if json_path is not None:
        check_writable(json_path)
    if out is not None:
        check_folder(out)
    check_distinct(SCENARIO=Path(scenario), json=json_path)


def _run(
    scenario: str,
    specs: list[str],
    asked: list[Overrides],
    seeds: int,
    check: bool,
    jobs: int | None,
    report: Report,
) -> Sweep:
    """Everything up to the result. What can be refused is refused before the work starts."""
    from baseload.cli.jobs import jobs_at_once, jobs_of, run_jobs, title
    from baseload.cli.policy_specs import policy_of
    from baseload.routing.policies import POLICIES
    from baseload.simulator.hands import check_looks, names_that_can
    from baseload.simulator.run import check_names, needs_compiling

    chosen = [policy_of(spec) for spec in specs]
    report.say(f"reading {scenario}")
    from baseload.cli.scenario_file import load_scenario

    made = {one: load_scenario(scenario, overrides=one) for one in asked}
    first = made[asked[0]]
    if not specs:
        specs = list(first.policies) or names_that_can(first, POLICIES.values())
        chosen = [policy_of(spec) for spec in specs]
    check_names(chosen)
    check_looks(first, chosen)
    if (asked[-1].load_frac or 0) > 1:
        report.warn(
            "the fleet completes no more than load 1; what comes beyond waits or is refused"
        )
    if needs_compiling():
        report.say("compiling the engine (once on this machine, about a minute)", keep=True)
    wanted = [
        job
        for one in reversed(asked)  # the longest first, so that no process waits at the end
        for job in jobs_of(
            scenario, specs, seeds=seeds, overrides=one, caps=first.caps, check=check
        )
    ]
    expected = sum(one.requests(0).requests for one in made.values()) * seeds * len(chosen)
    expected *= max(1, len(first.caps))
    at_once = jobs_at_once(jobs, requests=expected)
    report.say(f"{len(wanted)} runs, {min(at_once, len(wanted))} at a time")
    results = run_jobs(
        wanted,
        at_once=at_once,
        progress=report.progress,
        done=lambda job, ended: report.ran_job(title(job), ended.runs),
    )
    return _gathered(made, chosen, wanted, results)


def _gathered(
    made: dict[Overrides, Scenario],
    chosen: list[AnyPolicy],
    wanted: list[Job],
    results: list[JobResult],
) -> Sweep:
    """The sweep that the results of all jobs make."""
    from baseload.cli.jobs import gathered
    from baseload.cli.result_notes import with_sweep_remarks
    from baseload.simulator.sweeps import sweep_of

    by_load: dict[Overrides, list[JobResult]] = {one: [] for one in made}
    for job, result in zip(wanted, results, strict=True):
        by_load[job.overrides].append(result)
    simulations = {
        one.load_frac: gathered(made[one], chosen, parts)
        for one, parts in by_load.items()
        if one.load_frac is not None
    }
    return with_sweep_remarks(sweep_of(simulations), simulations)


def _write(result: Sweep, json: str | None, out: Path | None) -> None:
    """Hand out the result."""
    options.hand_out(result, json, out, report=_write_report, show=_show_result)


def _write_report(result: Sweep, out: Path) -> None:
    """Write the report folder."""
    from baseload.report.sweep_page import write_sweep_report

    write_sweep_report(result, out)


def _show_result(result: Sweep) -> None:
    """The tables of a sweep."""
    from baseload.report.sweep_table import print_sweep

    print_sweep(result)
