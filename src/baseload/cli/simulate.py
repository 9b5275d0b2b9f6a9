"""``baseload simulate``: what routing policies cost a fleet, on a real trace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from baseload.routing.policy import AnyPolicy
    from baseload.simulator.results import Simulation


def simulate(
    scenario: Annotated[
        str | None,
        typer.Argument(
            help="A built-in scenario (see --list) or a scenario file (YAML).", show_default=False
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            "-p",
            metavar="NAME",
            help=(
                "A policy to run: a name (baseload policies), name:parameter=value, or "
                "file.py:Name. Repeat for more; default: those of the scenario, else all."
            ),
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N", help="Runs with seeds 0 to N-1; two or more give 95 % intervals."
        ),
    ] = 1,
    load: Annotated[
        float | None,
        typer.Option(
            metavar="FRAC",
            help="Multiply the trace so that its busiest minutes take this share of the fleet.",
        ),
    ] = None,
    json: Annotated[
        str | None,
        typer.Option(
            "--json", metavar="FILE", help="Write the result as JSON ('-': standard output)."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Write a report: index.html, plots, result.json."
        ),
    ] = None,
    requests: Annotated[
        Path | None,
        typer.Option(
            "--requests", metavar="FILE", help="Write one row per request and policy as Parquet."
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Hold every run against the laws (energy balance, bounds, ...)."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress on standard error.")
    ] = False,
    list_scenarios: Annotated[
        bool, typer.Option("--list", help="List the built-in scenarios and stop.")
    ] = False,
    show: Annotated[
        bool, typer.Option("--show", help="Print the scenario file (to copy and change) and stop.")
    ] = False,
) -> None:
    """Replay a trace over a fleet under one or several routing policies; energy, latency and misses
    of each.

    Examples:

      baseload simulate azure-chat

      baseload simulate azure-320 -p least_loaded -p energy_greedy --out report

      baseload simulate my.yaml --policy least_loaded --policy power_of_two --seeds 5 --json -

      baseload simulate azure-chat --show > my.yaml
    """
    if list_scenarios:
        _list()
        return
    if scenario is None:
        raise typer.BadParameter(
            "give a scenario, or --list to see the built-in ones", param_hint="SCENARIO"
        )
    if show:
        _show(scenario)
        return
    with _Report(quiet=quiet) as report:
        result = _run(scenario, policy or [], seeds, load, json, out, requests, check, report)
    _write(result, json, out)


def _run(
    scenario: str,
    specs: list[str],
    seeds: int,
    load: float | None,
    json: str | None,
    out: Path | None,
    requests: Path | None,
    check: bool,
    report: _Report,
) -> Simulation:
    """Everything up to the result. What can be refused is refused before the work starts."""
    from baseload.cli.output import check_folder, check_writable
    from baseload.cli.policy_specs import policy_of
    from baseload.routing.policies import POLICIES

    chosen: list[AnyPolicy] = [policy_of(spec) for spec in specs]
    for path in (requests, Path(json) if json not in (None, "-") else None):
        if path is not None:
            check_writable(path)
    if out is not None:
        check_folder(out)
    report.say(f"reading {scenario}")
    from baseload.cli.scenario_file import load_scenario

    made = load_scenario(scenario, load_frac=load)
    if not chosen:
        chosen = [policy_of(spec) for spec in made.policies] or list(POLICIES.values())
    from baseload.cli.request_log import RequestLog
    from baseload.simulator.run import needs_compiling, simulate

    if needs_compiling():
        report.say("compiling the engine (once on this machine, about 20 s)")
    log = RequestLog(requests, made) if requests is not None else None
    result = simulate(
        made,
        chosen,
        seeds=seeds,
        check=check,
        progress=report.progress,
        log=log.add if log is not None else None,
        done=lambda one: report.say(
            f"{one.policy}: {one.requests_per_cpu_s:,.0f} requests per CPU-second", keep=True
        ),
    )
    if log is not None:
        log.write()
    return result


def _write(result: Simulation, json: str | None, out: Path | None) -> None:
    """Hand out the result: report folder, JSON, and the table unless JSON takes standard output."""
    from baseload.cli.output import write_json

    if out is not None:
        from baseload.report.write import write_report

        write_report(result, out)
    if json is not None:
        write_json(result, json)
    if json != "-":
        from baseload.report.table import print_table

        print_table(result)
        if out is not None:
            typer.echo(f"\nThe page to open: {out / 'index.html'}")


def _list() -> None:
    """Print the built-in scenarios, one line each."""
    from baseload.cli.scenario_file import builtin_scenarios

    texts = builtin_scenarios()
    width = max(map(len, texts))
    for name, text in texts.items():
        first = text.splitlines()[0].removeprefix("# ")
        typer.echo(f"{name:{width}}  {first}")


def _show(name: str) -> None:
    """Print a built-in scenario's file."""
    from baseload.base.errors import unknown_name
    from baseload.cli.scenario_file import builtin_scenarios

    texts = builtin_scenarios()
    if name not in texts:
        raise unknown_name("built-in scenario", name, texts)
    typer.echo(texts[name], nl=False)


class _Report:
    """What is being done, on standard error: a live line on a terminal, plain lines for lasting
    news elsewhere.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._status: Any = None

    def __enter__(self) -> _Report:
        if not self.quiet:
            from rich.console import Console

            console = Console(stderr=True)
            self._console = console
            self._status = console.status("starting") if console.is_terminal else None
            if self._status is not None:
                self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def say(self, text: str, *, keep: bool = False) -> None:
        """Tell what is being done now; ``keep`` leaves the line standing."""
        if self.quiet:
            return
        if self._status is not None:
            self._status.update(text)
            if keep:
                self._console.print(text, highlight=False)
        else:
            self._console.print(text, highlight=False)

    def progress(self, policy: str, seed: int, done: int, expected: int) -> None:
        """How far a run is."""
        if self._status is not None:
            self._status.update(f"{policy}, seed {seed}: {done:,} of about {expected:,} requests")
