"""``baseload simulate``: what routing policies cost a fleet, on a real trace."""

from __future__ import annotations

import itertools
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from baseload.base.errors import BadInputError, BaseloadError
from baseload.cli import options
from baseload.cli.progress import Report

if TYPE_CHECKING:
    from baseload.cli.jobs import Job
    from baseload.cli.scenario_file import Overrides
    from baseload.routing.policy import AnyPolicy
    from baseload.simulator.results import Simulation
    from baseload.simulator.scenario import Scenario

MAX_SEEDS = 1000
JOULESCHED = "joulesched"
"""The built-in scenario that comes with a study of the note it is named after."""


def simulate(
    scenario: Annotated[
        str | None,
        typer.Argument(
            help="A built-in scenario (see --list) or a scenario file (YAML).",
            metavar="SCENARIO",
            show_default=False,
        ),
    ] = None,
    policy: options.Policies = None,
    seeds: options.Seeds = 1,
    load: options.Load = None,
    parking: options.Parking = None,
    forecast: options.Forecast = None,
    supply_scale: Annotated[
        str | None,
        typer.Option(
            "--supply-scale",
            metavar="LIST",
            help=(
                "At a site: settle each run with its baseline multiplied by these factors, "
                "separated by commas: 0.8,0.9,1.0,1.1,1.2. Default: 1."
            ),
        ),
    ] = None,
    cap_tokens: Annotated[
        str | None,
        typer.Option(
            "--cap-tokens",
            metavar="LIST",
            help=(
                "Run every policy under each of these caps on the tokens of an answer, separated "
                "by commas, none for no cap: 4096,8192,none. A cut answer counts as wrong. "
                "Default: as the scenario says, else none."
            ),
        ),
    ] = None,
    dispatch: Annotated[
        bool,
        typer.Option(
            "--dispatch",
            help=(
                "At a site: say also what the same requests could have cost at the least, had all "
                "of them and the weather been known beforehand (some seconds a policy and seed)."
            ),
        ),
    ] = False,
    json: options.Json = None,
    out: options.Out = None,
    requests: Annotated[
        Path | None,
        typer.Option(
            "--requests",
            metavar="FILE",
            help="Write one row for each answered request, policy and seed as Parquet.",
        ),
    ] = None,
    slots: Annotated[
        Path | None,
        typer.Option(
            "--slots",
            metavar="FILE",
            help=(
                "At a site: write one row for each slot, policy, seed and scale as Parquet, for "
                "`baseload monitor`."
            ),
        ),
    ] = None,
    check: options.Check = False,
    jobs: options.Jobs = None,
    quiet: options.Quiet = False,
    list_scenarios: Annotated[
        bool, typer.Option("--list", help="List the built-in scenarios and stop.")
    ] = False,
    show: Annotated[
        bool,
        typer.Option("--show", help="Print the built-in scenario, to copy and change, and stop."),
    ] = False,
) -> None:
    """Replay a trace over a fleet under one or several routing policies.

    Says what each policy costs in energy and what it does to latency, deadlines and load.

    \b
    Examples:
      baseload simulate azure-chat
      baseload simulate azure-320 -p least_loaded -p energy_greedy --out report
      baseload simulate azure-chat -p power_of_two:choices=3 -p mine.py:MyPolicy
      baseload simulate azure-320 --parking all --forecast perfect:error=0.3
      baseload simulate solar-site --supply-scale 0.8,0.9,1.0,1.1,1.2 --out report
      baseload simulate solar-site --cap-tokens 4096,8192,16384,none -p variance_aware
      baseload simulate solar-site -p variance_aware -p best_static --dispatch
      baseload simulate my.yaml --seeds 5 --json - | jq .policies[0].energy_j
      baseload simulate azure-chat --show > my.yaml
    """
    if list_scenarios:
        _list()
        return
    if scenario is None:
        raise BadInputError(
            "simulate needs a scenario",
            found="none",
            allowed="a built-in name or a YAML file",
            todo="`baseload simulate --list` lists the built-in ones",
        )
    if show:
        _show(scenario)
        return
    if not 1 <= seeds <= MAX_SEEDS:
        raise BadInputError("--seeds", found=str(seeds), allowed=f"1 to {MAX_SEEDS}")
    rows = _Rows(requests=requests, slots=slots)
    _check_jobs(jobs, rows)
    _check_outputs(scenario, json, out, rows)
    from baseload.cli.scenario_caps import caps_of_text
    from baseload.cli.scenario_file import Overrides

    asked = Overrides(
        load_frac=load,
        parking=parking,
        forecast=forecast,
        supply_scales=None if supply_scale is None else _scales(supply_scale),
        caps=None if cap_tokens is None else caps_of_text(cap_tokens),
    )
    with Report(quiet=quiet) as report, redirect_stdout(sys.stderr):
        result = _run(scenario, policy or [], seeds, asked, rows, check, jobs, dispatch, report)
        result = _remarked(result)
        if scenario == JOULESCHED:
            result = _with_study(result, report)
    _write(result, json, out)


class _Rows(NamedTuple):
    """Files that take the rows of all runs, in this process."""

    requests: Path | None
    slots: Path | None

    @property
    def wanted(self) -> str:
        """The flag of the first file asked for, empty without any."""
        return next((f"--{name}" for name, path in self._asdict().items() if path is not None), "")


def _scales(text: str) -> tuple[float, ...]:
    """The factors of ``--supply-scale``."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise BadInputError(
            "--supply-scale",
            found=repr(text),
            allowed="numbers separated by commas, such as 0.8,1.0,1.2",
        ) from None


def _check_jobs(jobs: int | None, rows: _Rows) -> None:
    """Refuse a number of processes that is none, or that could not be followed."""
    from baseload.cli.jobs import check_jobs

    check_jobs(jobs)
    if jobs is not None and jobs > 1 and rows.wanted:
        raise BadInputError(
            f"--jobs with {rows.wanted}",
            found=f"{jobs} processes",
            allowed="one: it collects the rows of all runs",
            todo="leave out --jobs",
        )


def _check_outputs(scenario: str, json: str | None, out: Path | None, rows: _Rows) -> None:
    """Refuse now what could not be written at the end."""
    from baseload.sources.files import check_distinct, check_folder, check_writable

    json_path = None if json in (None, "-") else Path(json or "")
    for name, path in rows._asdict().items():
        if path == Path("-"):
            raise BadInputError(
                f"--{name} -", found="standard output", allowed="a file: Parquet is not text"
            )
    for path in (rows.requests, rows.slots, json_path):
        if path is not None:
            check_writable(path)
    if out is not None:
        check_folder(out)
    check_distinct(
        SCENARIO=Path(scenario), json=json_path, requests=rows.requests, slots=rows.slots
    )


def _run(
    scenario: str,
    specs: list[str],
    seeds: int,
    asked: Overrides,
    rows: _Rows,
    check: bool,
    jobs: int | None,
    dispatch: bool,
    report: Report,
) -> Simulation:
    """Everything up to the result. What can be refused is refused before the work starts."""
    from baseload.cli.policy_specs import failure_in, policy_of
    from baseload.routing.policies import POLICIES
    from baseload.simulator.hands import names_that_can

    chosen: list[AnyPolicy] = [policy_of(spec) for spec in specs]
    report.say(f"reading {scenario}")
    from baseload.cli.scenario_file import load_scenario

    made = load_scenario(scenario, overrides=asked)
    if rows.slots is not None and made.supplied is None:
        raise BadInputError(
            "--slots",
            found="a scenario without a supply section",
            allowed="a scenario with one, such as solar-site",
        )
    if dispatch:
        from baseload.simulator.dispatch_run import check_dispatch

        check_dispatch(made)
    if not chosen:
        specs = list(made.policies)
        specs = specs or names_that_can(made, POLICIES.values())
        chosen = [policy_of(spec) for spec in specs]
    from baseload.cli.request_log import RequestLog
    from baseload.cli.slot_log import SlotLog
    from baseload.simulator.run import needs_compiling, simulate

    if needs_compiling():
        report.say("compiling the engine (once on this machine, about a minute)", keep=True)
    else:
        report.say(f"starting {len(chosen)} policies")
    from baseload.cli.jobs import jobs_at_once, jobs_of

    expected = made.requests(0).requests * seeds * len(chosen) * max(1, len(made.caps))
    at_once = 1 if rows.wanted else jobs_at_once(jobs, requests=expected)
    if at_once > 1:
        wanted = jobs_of(
            scenario,
            specs,
            seeds=seeds,
            overrides=asked,
            caps=made.caps,
            check=check,
            dispatch=dispatch,
        )
        return _side_by_side(made, chosen, wanted, at_once, report)
    log = RequestLog(rows.requests, made) if rows.requests is not None else None
    slot_log = None
    if rows.slots is not None and made.supplied is not None:
        slot_log = SlotLog(rows.slots, capacity_j=made.supplied.site.store.usable_j)
    try:
        result = simulate(
            made,
            chosen,
            seeds=seeds,
            check=check,
            progress=report.progress,
            log=log.add if log is not None else None,
            slots=slot_log.add if slot_log is not None else None,
            done=report.done,
            dispatch=dispatch,
        )
    except BaseloadError:
        raise
    except (Exception, SystemExit) as error:
        failure = failure_in(error, specs)
        if failure is None:
            raise
        raise failure from error
    for file in (log, slot_log):
        if file is not None:
            file.write()
    return result


def _remarked(result: Simulation) -> Simulation:
    """The result with remarks that only its end allows."""
    from baseload.cli.result_notes import with_remarks

    return with_remarks(result)


def _with_study(result: Simulation, report: Report) -> Simulation:
    """The JouleSched note's own model beside the result of its fleet."""
    import msgspec

    from baseload.simulator.joulesched import joulesched_study

    report.say("the note's own model")
    return msgspec.structs.replace(result, joulesched=joulesched_study())


def _side_by_side(
    made: Scenario, chosen: list[AnyPolicy], wanted: list[Job], at_once: int, report: Report
) -> Simulation:
    """The simulation from jobs in processes of their own."""
    from baseload.cli.jobs import gathered, run_jobs, title
    from baseload.simulator.hands import check_looks
    from baseload.simulator.run import check_names

    check_names(chosen)
    check_looks(made, chosen)
    report.say(f"{len(wanted)} runs, {at_once} at a time")
    results = run_jobs(
        wanted, at_once=at_once, done=lambda job, ended: report.ran_job(title(job), ended.runs)
    )
    return gathered(made, chosen, results)


def _write(result: Simulation, json: str | None, out: Path | None) -> None:
    """Hand out the result."""
    options.hand_out(result, json, out, report=_write_report, show=_show_result)


def _write_report(result: Simulation, out: Path) -> None:
    """Write the report folder."""
    from baseload.report.write import write_report

    write_report(result, out)


def _show_result(result: Simulation) -> None:
    """The tables of a simulation."""
    from baseload.report.joulesched import print_joulesched
    from baseload.report.table import print_table

    print_table(result)
    print_joulesched(result)


def _list() -> None:
    """Print the built-in scenarios, one line each."""
    from baseload.cli.scenario_file import builtin_scenarios

    texts = builtin_scenarios()
    width = max(map(len, texts))
    for name, text in texts.items():
        head = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
        words = " ".join(line.removeprefix("# ") for line in head)
        typer.echo(f"{name:{width}}  {words.partition('. ')[0].rstrip('.')}")


def _show(name: str) -> None:
    """Print a built-in scenario's file."""
    from baseload.base.errors import unknown_name
    from baseload.cli.scenario_file import builtin_scenarios

    texts = builtin_scenarios()
    if name not in texts:
        todo = "`baseload simulate --list` lists them; --show prints built-in scenarios only"
        raise unknown_name("built-in scenario", name, texts, todo=todo)
    typer.echo(texts[name], nl=False)
