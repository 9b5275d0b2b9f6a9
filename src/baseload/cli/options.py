"""Flags that several commands share, each declared once, and what they do with their result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from baseload.cli.output import write_json

Policies = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        "-p",
        metavar="NAME",
        help=(
            "A policy to run: a name (baseload policies), name:parameter=value, or file.py:Name. "
            "Repeat for more; the others are compared with the first. Default: those of the "
            "scenario, else all."
        ),
    ),
]
Seeds = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Run with seeds 0 to N-1 (at most 1000); two or more give 95 % intervals.",
    ),
]
Parking = Annotated[
    str | None,
    typer.Option(
        metavar="all|none",
        help=(
            "all: under every policy replicas sleep when the load does not need them; none: only "
            "where scenario or policy say so. Default: as the scenario says, else none."
        ),
    ),
]
Forecast = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help=(
            "Who says how long answers will be: online (learned as they end), perfect, "
            "perfect:error=0.5, class_quantile, ... Default: as the scenario says, else online."
        ),
    ),
]
Load = Annotated[
    float | None,
    typer.Option(
        metavar="FRAC",
        help=(
            "Multiply the trace so that its busiest minutes take this share of what the fleet can "
            "complete: 0.5 is half, above 1 it is overloaded."
        ),
    ),
]
Json = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the result as JSON ('-': standard output)."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Write a report into this folder: index.html, plots (PNG) and the result as JSON.",
    ),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check", help="Hold every run against the laws (energy balance, bounds, ...): slower."
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        help=(
            "Run so many policies and seeds at a time, each in a process of its own; results are "
            "the same. Default: the number of CPUs where there is much to do, else 1."
        ),
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]

Result = TypeVar("Result")


def hand_out(
    result: Result,
    json: str | None,
    out: Path | None,
    *,
    report: Callable[[Result, Path], object],
    show: Callable[[Result], None],
) -> None:
    """Write the result's report folder and JSON, and show it unless JSON takes standard output."""
    if out is not None:
        report(result, out)
    if json is not None:
        write_json(result, json)
    if json != "-":
        show(result)
        if out is not None:
            typer.echo(f"\nThe page to open: {out / 'index.html'}")
