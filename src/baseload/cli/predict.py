"""``baseload predict``: seconds, watts and joules per token of a model on a device."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from baseload.base.errors import BadInputError
from baseload.cli.output import write_json

if TYPE_CHECKING:
    from rich.table import Table

    from baseload.fleet.predict import Prediction
    from baseload.fleet.profiles import Setting

SCHEMA = "baseload-predict/1"
TABLE_SCHEMA = "baseload-predict-table/1"
CURVE_BATCHES = (1, 8, 32, 128)
RESULT_COLUMN = "joules_per_output_token"


def predict(
    model: Annotated[
        str | None, typer.Argument(help="Model, full or short name: Qwen/Qwen3-32B, gpt-oss-20b.")
    ] = None,
    device: Annotated[
        str | None, typer.Argument(help="Device: H100, A100-40GB, B200, L4, RTX4090, ...")
    ] = None,
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", "--tp", help="GPUs that share each layer.")
    ] = 1,
    batch: Annotated[float, typer.Option(help="Running sequences.")] = 32.0,
    context: Annotated[
        float | None, typer.Option(help="Mean context of a sequence, decode only [tokens].")
    ] = None,
    prompt: Annotated[
        float | None,
        typer.Option("--input", help="Prompt length [tokens]; prefill is counted then."),
    ] = None,
    output: Annotated[
        float | None, typer.Option("--output", help="Output length [tokens], with --input.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="bf16, fp8, mxfp4, int4; default: as published.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Engine version.")] = "vllm-0.11.1",
    method: Annotated[
        str, typer.Option(help="auto (measured where measured), modelled or measured.")
    ] = "auto",
    expert_parallel: Annotated[int, typer.Option(help="GPUs that share the experts.")] = 1,
    data_parallel: Annotated[int, typer.Option(help="Copies of the attention.")] = 1,
    power_cap: Annotated[
        float | None, typer.Option("--power-cap", help="Power cap per GPU [W].")
    ] = None,
    clock: Annotated[
        float,
        typer.Option("--clock", help="Share of the highest core clock, 0.3 to 1; assumed below 1."),
    ] = 1.0,
    table: Annotated[
        str | None,
        typer.Option("--table", help="CSV file: predict each row from its identifying columns."),
    ] = None,
    json_to: Annotated[
        str | None, typer.Option("--json", help="Write JSON to this file; - is standard output.")
    ] = None,
) -> None:
    """Predict seconds per step, watts and joules per token of a model on a device.

    Example: baseload predict Qwen/Qwen3-32B H100-80GB --tensor-parallel 2 --batch 32 --context 2000
    """
    if table is not None:
        if model is not None or device is not None:
            raise BadInputError(
                "predict with --table takes no model or device",
                found=f"{model} {device or ''}".strip(),
                allowed="names in the table's columns",
            )
        if clock != 1.0:
            raise BadInputError(
                "predict with --table takes no --clock",
                found=f"--clock {clock:g}",
                allowed="rows at full clock",
            )
        predict_table(Path(table), method=method, json_to=json_to)
        return
    if model is None or device is None:
        raise BadInputError(
            "predict needs a model and a device",
            found="model missing" if model is None else "device missing",
            allowed="baseload predict MODEL DEVICE, or --table FILE",
        )
    from baseload.fleet.clock import CLOCK_FRAC_MIN, check_clock_frac
    from baseload.fleet.predict import predict_setting, setting_for

    check_clock_frac(clock, least=CLOCK_FRAC_MIN)
    if context is None and prompt is None and output is None:
        context = 1000.0
    setting = setting_for(
        model,
        device,
        batch=batch,
        tensor_parallel=tensor_parallel,
        context_tokens=context,
        prompt_tokens=prompt,
        output_tokens=output,
        precision=precision,
        engine=engine,
        expert_parallel=expert_parallel,
        data_parallel=data_parallel,
    )
    knobs: dict[str, Any] = {"power_cap_w": power_cap, "clock_frac": clock}
    answer = predict_setting(setting, method=_method(method), **knobs)
    if json_to is not None:
        fields = {**_fields(setting, answer), "clock_frac": clock}
        write_json({"schema": SCHEMA, **_head(), **fields}, json_to)
    if json_to != "-":
        _show(setting, answer, method=method, knobs=knobs)


def _head() -> dict[str, str]:
    from baseload import __version__

    return {"version": __version__}


def _method(name: str) -> Any:
    """The method called ``name``; raises ``UnknownNameError`` with the nearest."""
    from typing import get_args

    from baseload.base.errors import unknown_name
    from baseload.fleet.predict import Wanted

    if name not in get_args(Wanted):
        raise unknown_name("method", name, get_args(Wanted))
    return name


def _fields(setting: Setting, answer: Prediction) -> dict[str, Any]:
    """One prediction and what it is for, as JSON fields (SI units in the names)."""
    import msgspec

    return {
        "model": setting.model.name,
        "device": setting.device.name,
        "precision": setting.model.precision,
        "engine": setting.engine,
        "batch": setting.sequences,
        "context_tokens": setting.context_tokens,
        **msgspec.structs.asdict(answer),
    }


def predict_table(path: Path, *, method: str, json_to: str | None) -> None:
    """Predict every row of a CSV file and write or show the answers.

    Raises ``BadInputError`` for a file that cannot be read, has no rows, misses columns or holds a
    bad value (with its row number), ``UnknownNameError`` for unknown names.
    """
    rows = read_rows(path)
    answers = [_row_answer(row, number, method) for number, row in enumerate(rows, start=2)]
    result = {
        "schema": TABLE_SCHEMA,
        **_head(),
        "rows": answers,
        "summary": summary_of(answers),
    }
    if json_to is not None:
        write_json(result, json_to)
    if json_to != "-":
        _show_summary(result["summary"], len(answers))


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header, every value a string."""
    from baseload.fleet.profiles import IDENTIFYING_COLUMNS

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInputError(
            f"table {path}", found=str(error), allowed="a readable UTF-8 CSV file with a header"
        ) from error
    missing = [name for name in IDENTIFYING_COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise BadInputError(
            f"table {path}: columns {', '.join(missing)} are missing",
            found=", ".join(reader.fieldnames or ()) or "an empty file",
            allowed="device, model, and the optional columns of a profile table",
        )
    if "batch_size" not in (reader.fieldnames or ()) and "max_batch" not in (
        reader.fieldnames or ()
    ):
        raise BadInputError(
            f"table {path}: column batch_size is missing",
            found=", ".join(reader.fieldnames or ()),
            allowed="batch_size, or max_batch",
        )
    if not rows:
        raise BadInputError(f"table {path}", found="no rows", allowed="one row or more")
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise BadInputError(
                f"table {path}: row {number}",
                found="more or fewer fields than the header",
                allowed=f"{len(reader.fieldnames or ())} fields",
            )
    return rows


def _row_answer(row: Mapping[str, str], number: int, method: str) -> dict[str, Any]:
    """The answer to one row, its names echoed, and its measured J/token where it has one."""
    import msgspec

    from baseload.fleet.predict import constants_of, predict_setting, require_weights_fit
    from baseload.fleet.profiles import setting_of

    setting = setting_of(row, number=number)
    require_weights_fit(setting, number=number)
    answer = predict_setting(setting, method=_method(method))
    found: dict[str, Any] = {
        "row": number,
        "row_id": row.get("row_id", ""),
        "device": row["device"],
        "model": row["model"],
        "batch": setting.sequences,
        **msgspec.structs.asdict(answer),
        "group": f"{setting.engine} {setting.device.name} {setting.family}",
        "constants": constants_of(setting).basis,
    }
    text = (row.get(RESULT_COLUMN) or "").strip()
    if text:
        found["measured_energy_j_per_token"] = _measured(text, number)
    return found


def _measured(text: str, number: int) -> float:
    """The measured J/token of a row."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise BadInputError(
            f"row {number}: {RESULT_COLUMN}", found=repr(text), allowed="a number of joules > 0"
        )
    return value


def summary_of(answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean absolute relative error of J/token by group, over the rows that were measured."""
    errors: dict[str, list[float]] = {}
    for answer in answers:
        measured = answer.get("measured_energy_j_per_token")
        if measured is not None:
            miss = abs(answer["energy_j_per_token"] / measured - 1.0)
            errors.setdefault(answer["group"], []).append(miss)
    return [
        {
            "group": group,
            "rows": len(found),
            "error_frac_mean": sum(found) / len(found),
            "error_frac_worst": max(found),
        }
        for group, found in sorted(errors.items())
    ]


def _show(setting: Setting, answer: Prediction, *, method: str, knobs: dict[str, Any]) -> None:
    """Print the answer and a short curve over batch."""
    from rich.console import Console

    console = Console()
    console.print(
        f"[bold]{setting.model.name}[/] {setting.model.precision} on {answer.num_gpus} x "
        f"{setting.device.name}, {setting.engine}, context {setting.context_tokens:.0f} tokens"
        + ("" if knobs["clock_frac"] == 1.0 else f", clock {100 * knobs['clock_frac']:.4g} %")
    )
    console.print(_curve(setting, answer, method=method, knobs=knobs))
    console.print(
        f"{answer.method}, error about {answer.error_frac:.0%} of J/token: {answer.basis}",
        highlight=False,
    )
    console.print("GPU boards only; host, network and cooling come on top.", style="dim")


def _curve(setting: Setting, answer: Prediction, *, method: str, knobs: dict[str, Any]) -> Table:
    """The answer in bold among the batches of the curve that fit."""
    import msgspec
    from rich.table import Table

    from baseload.fleet.physics import kv_tokens_that_fit
    from baseload.fleet.predict import predict_setting

    table = Table()
    columns = ("batch", "s/step", "W/GPU", "W", "tokens/s", "J/token", "J/token, one more", "how")
    for column in columns:
        table.add_column(column, justify="left" if column == "how" else "right")
    room = kv_tokens_that_fit(setting.model, setting.device, setting.layout)
    batches = {*map(float, CURVE_BATCHES), setting.sequences}
    for size in sorted(batches):
        asked = size == setting.sequences
        if not asked and size * setting.context_tokens > room:
            table.add_row(f"{size:g}", "does not fit")
            continue
        other = msgspec.structs.replace(setting, sequences=size)
        wanted = "auto" if method == "measured" else method
        found = answer if asked else predict_setting(other, method=_method(wanted), **knobs)
        table.add_row(*_cells(size, found), style="bold" if asked else None)
    return table


def _cells(size: float, answer: Prediction) -> tuple[str, ...]:
    return (
        f"{size:g}",
        f"{answer.step_s:.4f}",
        f"{answer.power_w_per_gpu:.0f}",
        f"{answer.power_w:.0f}",
        f"{answer.tokens_per_s:.0f}",
        f"{answer.energy_j_per_token:.4g}",
        f"{answer.marginal_energy_j_per_token:.4g}",
        answer.method,
    )


def _show_summary(summary: Any, rows: int) -> None:
    """Print how far the predictions of a table lie from its measured column."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"{rows} rows predicted")
    if not summary:
        return
    table = Table("group", "rows", "mean error", "worst")
    for group in summary:
        table.add_row(
            group["group"],
            str(group["rows"]),
            f"{group['error_frac_mean']:.1%}",
            f"{group['error_frac_worst']:.1%}",
        )
    console.print(table)
    if any(group["error_frac_worst"] < 1e-4 for group in summary):
        console.print(
            "A row that ships with Baseload is answered by itself, with error 0; --method modelled "
            "shows what the physics alone says."
        )
