"""``baseload validate``: predict a measured run with a replica file; print how far off it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from baseload.profiler.validation import Comparison, Validation


def validate(
    run: Annotated[
        Path, typer.Argument(help="Measured run: Parquet or CSV, one row a request.", metavar="RUN")
    ],
    replica: Annotated[
        Path, typer.Option("--replica", "-r", help="Replica file of `baseload calibrate`.")
    ] = Path("replica.json"),
    from_frac: Annotated[
        float, typer.Option(help="Judge the requests from this share on (0.5: second half).")
    ] = 0.5,
    json_file: Annotated[
        str | None, typer.Option("--json", help="Write the validation here; - for stdout.")
    ] = None,
) -> None:
    """Predict TTFT, TPOT and makespan of a measured run, and compare with what was measured.

    All arrivals of the run are simulated open loop on the fitted replica; only the second half of
    the requests (which `baseload calibrate` did not fit) is judged.

    \b
    Examples:
      baseload validate run.parquet --replica replica.json
      baseload validate run.parquet --replica replica.json --json - | jq .ttft_error_frac
    """
    from baseload.cli.output import write_json
    from baseload.profiler.measured import read_run
    from baseload.profiler.validation import validate_run
    from baseload.sources.files import check_writable
    from baseload.sources.replicas import read_replica_file

    if json_file is not None and json_file != "-":
        check_writable(Path(json_file))
    file = read_replica_file(replica)
    result = validate_run(read_run(run), file, from_frac=from_frac)
    if json_file is not None:
        write_json(result, json_file)
    if json_file != "-":
        _show(result)


def _show(result: Validation) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "", "measured", "predicted", "error", title=f"{result.run}, predicted by {result.replica}"
    )
    for name, part in (("TTFT", result.ttft), ("TPOT", result.tpot), ("end to end", result.e2e)):
        for row in _rows(name, part):
            table.add_row(*row)
    table.add_row(
        "makespan",
        f"{result.makespan_measured_s:.2f} s",
        f"{result.makespan_predicted_s:.2f} s",
        f"{result.makespan_error_frac:.1%}",
    )
    console = Console()
    console.print(table)
    console.print(
        f"{result.judged_requests} of {result.requests} requests judged; error of one request, "
        f"median: TTFT {result.ttft.request_error_frac_median:.1%}, "
        f"TPOT {result.tpot.request_error_frac_median:.1%}"
    )
    if not result.trained_on:
        console.print("the replica was fitted to another run")
    if result.cut_short:
        console.print(f"{result.cut_short} answers cut at the replica's longest context")


def _rows(name: str, part: Comparison) -> list[tuple[str, str, str, str]]:
    pairs = (
        (f"{name} mean", part.mean_measured_s, part.mean_predicted_s),
        (f"{name} p50", part.p50_measured_s, part.p50_predicted_s),
        (f"{name} p95", part.p95_measured_s, part.p95_predicted_s),
    )
    return [
        (what, _time(measured), _time(predicted), f"{abs(predicted / measured - 1):.1%}")
        for what, measured, predicted in pairs
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
