"""``baseload calibrate``: fit a replica's numbers to a measured run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.status import Status

    from baseload.sources.replicas import ReplicaFile


def calibrate(
    run: Annotated[
        Path, typer.Argument(help="Measured run: Parquet or CSV, one row a request.", metavar="RUN")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Replica file to write.")] = Path(
        "replica.json"
    ),
    meta: Annotated[
        Path | None,
        typer.Option(help="Engine settings (default: <run>_meta.json beside the run, if there)."),
    ] = None,
    max_batch: Annotated[int | None, typer.Option(help="Sequences that run at once.")] = None,
    max_step_tokens: Annotated[
        int | None, typer.Option(help="Tokens of one step (vLLM: max_num_batched_tokens).")
    ] = None,
    kv_tokens: Annotated[int | None, typer.Option(help="Tokens that the KV cache holds.")] = None,
    max_context_tokens: Annotated[
        int | None, typer.Option(help="Longest request (vLLM: max_model_len).")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="Equal engines behind one front end in this run.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model name; with --device gives modelled energy.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="GPU name, such as H100-SXM-80GB.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the replica type.")] = None,
    fit_frac: Annotated[
        float, typer.Option(help="Share of the requests, first by arrival, that is fitted.")
    ] = 0.5,
    json_file: Annotated[
        str | None, typer.Option("--json", help="Write the replica file here too; - for stdout.")
    ] = None,
) -> None:
    """Fit a replica type (its eight numbers and limits) to a measured run of a vLLM-like engine.

    RUN has one row a request: arrival_s, first_token_s, last_token_s, input_tokens, output_tokens,
    and, where logged, queued_s, scheduled_s, energy_j. Beside it, <run>_meta.json (engine settings)
    and <run>_timeseries.parquet (t, power_w) are read when present. Limits that neither a flag nor
    the meta file gives are estimated. Only the first half of the requests is fitted; judge the fit
    on the other half with `baseload validate`.

    \b
    Examples:
      baseload calibrate run.parquet --out replica.json
      baseload calibrate run.csv --max-batch 128 --kv-tokens 41408 \\
          --model Qwen/Qwen3-32B --device H100-SXM-80GB
    """
    from baseload.cli.output import write_json
    from baseload.profiler.calibration import Options, calibrate_run
    from baseload.profiler.measured import read_run
    from baseload.sources.files import check_writable
    from baseload.sources.replicas import write_replica

    measured = read_run(run, meta=meta)
    options = Options(
        max_batch=max_batch,
        max_step_tokens=max_step_tokens,
        kv_tokens=kv_tokens,
        max_context_tokens=max_context_tokens,
        replicas=replicas,
        model=model,
        device=device,
        name=name,
        fit_frac=fit_frac,
    )
    check_writable(out)
    if json_file is not None and json_file != "-":
        check_writable(Path(json_file))
    with _status() as status:
        file = calibrate_run(
            measured, options, progress=lambda what: status.update(f"fitting: {what}")
        )
    write_replica(file, out)
    if json_file is not None:
        write_json(file, json_file)
    if json_file != "-":
        _show(file, out)


def _status() -> Status:
    """A spinner on standard error that says what is being fitted."""
    from rich.console import Console

    return Console(stderr=True).status("fitting")


def _show(file: ReplicaFile, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("number", "value", "how", title=f"{file.replica.name}: {file.replica.model}")
    for number in file.fit.numbers:
        how = "fitted, at its bound 0" if number.at_bound else "fitted"
        table.add_row(number.name, f"{number.value:.4g}", how)
    for limit in file.fit.limits:
        table.add_row(limit.name, f"{limit.value:,}", limit.how)
    table.add_row("replicas in the run", str(file.replicas), "")
    table.add_row("energy", "", file.energy)
    console = Console()
    console.print(table)
    console.print(
        f"fitted {file.fit.rows_fitted} of {file.fit.rows_load} requests: "
        f"TTFT off by {file.fit.ttft_error_frac:.1%}, TPOT by {file.fit.tpot_error_frac:.1%}"
    )
    for note in file.fit.notes:
        console.print(f"note: {note}")
    console.print(f"wrote {out}; now: baseload validate RUN --replica {out}")
