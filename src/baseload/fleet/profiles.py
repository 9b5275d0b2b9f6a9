"""Measured profiles that ship in the package, and what a profile row says about a setting.

A *setting* is everything that identifies a run: model, device, engine, layout, running sequences,
prompt and output length. It never contains a measured result, so a prediction made from a setting
cannot have seen one. Data: The ML.ENERGY Benchmark (v2 and v3), Apache-2.0, see NOTICE.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from typing import get_args

import msgspec

from baseload.base.errors import BadInputError, BaseloadError, unknown_name
from baseload.base.units import s_from_ms
from baseload.fleet.devices import Device, find_device
from baseload.fleet.engines import find_engine
from baseload.fleet.models import (
    Architecture,
    ModelSpec,
    assumed_model,
    find_model,
    is_known_model,
)
from baseload.fleet.physics import Layout, StepWork, step_work

TASK_PROMPT_TOKENS: dict[str, float] = {
    "gpqa": 250.0,
    "lm-arena-chat": 200.0,
    "sharegpt-chat": 250.0,
    "humaneval-plus": 170.0,
    "sourcegraph-fim": 800.0,
}
"""Mean prompt length of a task [tokens], assumed: the sources publish none (the last by fit)."""

TASK_OUTPUT_TOKENS: dict[str, float] = {
    "gpqa": 7000.0,
    "lm-arena-chat": 550.0,
    "sharegpt-chat": 430.0,
    "humaneval-plus": 90.0,
    "sourcegraph-fim": 250.0,
}
"""Mean output length of a task [tokens], assumed, for rows that give none."""

IDENTIFYING_COLUMNS = ("device", "model")
"""Columns that a table must have; the rest have defaults."""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One steady state of one replica: what runs, on what, how much of it.

    ``sequences`` running at once; each request brings ``prompt_tokens`` and gets ``output_tokens``.
    The mean context is prompt + output / 2, and each step carries sequences * prompt / output
    prefill tokens on average.
    """

    model: ModelSpec
    device: Device
    engine: str
    layout: Layout
    sequences: float
    prompt_tokens: float
    output_tokens: float
    task: str = ""

    def __post_init__(self) -> None:
        """Refuse settings in which nothing runs."""
        for name in ("sequences", "output_tokens"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise BadInputError(
                    f"{name} of a setting", found=repr(value), allowed="a number > 0"
                )
        if not (math.isfinite(self.prompt_tokens) and self.prompt_tokens >= 0):
            raise BadInputError(
                "prompt_tokens of a setting",
                found=repr(self.prompt_tokens),
                allowed="a number >= 0",
            )

    @property
    def context_tokens(self) -> float:
        """Mean context of a running sequence [tokens]."""
        return self.prompt_tokens + self.output_tokens / 2

    @property
    def family(self) -> str:
        """dense, moe or hybrid."""
        return self.model.architecture

    def work(self) -> StepWork:
        """The mean work of one step of this setting, per GPU."""
        return step_work(
            self.model,
            self.layout,
            self.sequences,
            self.context_tokens,
            prefill_tokens=self.sequences * self.prompt_tokens / self.output_tokens,
            prompt_tokens=self.prompt_tokens,
            context_spread_tokens=self.output_tokens,
        )


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured for a setting: GPU boards only, prefill inside [s, J, W]."""

    row_id: str
    setting: Setting
    time_s: float
    energy_j_per_token: float
    power_w_per_gpu: float


def _number(
    row: Mapping[str, str],
    column: str,
    where: str,
    *,
    default: float | None = None,
    least: float = 0.0,
) -> float:
    """The number in ``column``; ``default`` where it is empty or absent."""
    text = (row.get(column) or "").strip()
    if not text:
        if default is None:
            raise BadInputError(
                f"{where}: {column} is missing", found="nothing", allowed="a number > 0"
            )
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < least or (least == 0.0 and value <= 0.0):
        rule = f"a finite number >= {least:g}" if least else "a finite number > 0"
        raise BadInputError(f"{where}: {column}", found=repr(text), allowed=rule)
    return value


def _count(row: Mapping[str, str], column: str, where: str, *, default: int = 1) -> int:
    """The whole number >= 1 in ``column``."""
    value = _number(row, column, where, default=float(default), least=1.0)
    if value != int(value):
        raise BadInputError(f"{where}: {column}", found=repr(value), allowed="a whole number >= 1")
    return int(value)


def _model_of(row: Mapping[str, str], where: str) -> ModelSpec:
    """The model of a row: from the table, else assumed from its parameter counts."""
    name = (row.get("model") or "").strip()
    precision = (row.get("precision") or "").strip().casefold() or None
    if is_known_model(name) or not (row.get("params_total_b") or "").strip():
        return find_model(name, precision)
    architecture = (row.get("architecture") or "dense").strip().casefold()
    if architecture not in get_args(Architecture):
        raise unknown_name("architecture", architecture, get_args(Architecture))
    total_b = _number(row, "params_total_b", where)
    return assumed_model(
        name,
        total_b,
        _number(row, "params_active_b", where, default=total_b),
        architecture=architecture,  # type: ignore[arg-type]
        precision=precision or "bf16",
    )


def _layout_of(row: Mapping[str, str], where: str) -> Layout:
    degrees = {
        name: _count(row, name, where)
        for name in ("tensor_parallel", "pipeline_parallel", "expert_parallel", "data_parallel")
    }
    width = max(degrees["tensor_parallel"], degrees["expert_parallel"], degrees["data_parallel"])
    num_gpus = _count(row, "num_gpus", where, default=width * degrees["pipeline_parallel"])
    return Layout(num_gpus=num_gpus, **degrees)


def setting_of(row: Mapping[str, str], *, number: int | None = None) -> Setting:
    """The setting that a table row identifies; no result column is read.

    ``batch_size`` counts, else ``max_batch``; empty lengths fall back to the assumed ones of the
    task. Raises ``BadInputError`` or ``UnknownNameError`` that name row ``number`` and column.
    """
    try:
        return _setting_of(row, "row" if number is None else f"row {number}")
    except BaseloadError as error:
        if number is None or error.asked.startswith("row "):
            raise
        raise type(error)(
            f"row {number}: {error.asked}",
            found=error.found,
            allowed=error.allowed,
            todo=error.todo,
        ) from error


def _setting_of(row: Mapping[str, str], where: str) -> Setting:
    """The setting of a row; ``where`` names it in errors."""
    for column in IDENTIFYING_COLUMNS:
        if not (row.get(column) or "").strip():
            raise BadInputError(f"{where}: {column} is missing", found="nothing", allowed="a name")
    task = (row.get("task") or "").strip().casefold()
    limit = _number(row, "max_batch", where, default=0.0) if row.get("max_batch") else None
    return Setting(
        model=_model_of(row, where),
        device=find_device(row["device"]),
        engine=find_engine((row.get("engine_version") or "").strip()),
        layout=_layout_of(row, where),
        sequences=_number(row, "batch_size", where, default=limit),
        prompt_tokens=_number(row, "input_len", where, default=TASK_PROMPT_TOKENS.get(task, 250.0)),
        output_tokens=_number(
            row, "output_len", where, default=TASK_OUTPUT_TOKENS.get(task, 500.0)
        ),
        task=task,
    )


def measured_of(row: Mapping[str, str], *, number: int | None = None) -> Measured:
    """The setting of a row and what was measured for it."""
    where = "row" if number is None else f"row {number}"
    setting = setting_of(row, number=number)
    return Measured(
        row_id=row.get("row_id", ""),
        setting=setting,
        time_s=setting.sequences / _number(row, "tokens_per_s", where),
        energy_j_per_token=_number(row, "joules_per_output_token", where),
        power_w_per_gpu=_number(row, "avg_power_w_per_gpu", where),
    )


def read_shipped(name: str) -> list[dict[str, str]]:
    """The rows of a shipped CSV file ``data/<name>`` as dictionaries of strings."""
    text = resources.files("baseload.fleet").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


@lru_cache(maxsize=1)
def shipped_rows() -> tuple[Measured, ...]:
    """All measured rows that ship in the package, read once."""
    rows = read_shipped("llm_energy_profiles.csv")
    return tuple(measured_of(row, number=index) for index, row in enumerate(rows, start=2))


class ReasoningRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Measured energy of one thinking request on GPQA diamond [tokens, J], best and at batch 8."""

    device: str
    model: str
    precision: str
    output_tokens: float
    energy_j_per_request: float
    energy_j_per_request_at_batch_8: float
    num_gpus: int
    max_batch: int


@lru_cache(maxsize=1)
def reasoning_requests() -> tuple[ReasoningRequest, ...]:
    """The shipped table of thinking requests."""
    return tuple(
        ReasoningRequest(
            device=row["device"],
            model=row["model"],
            precision=row["precision"],
            output_tokens=float(row["mean_output_tokens"]),
            energy_j_per_request=float(row["min_j_per_request"]),
            energy_j_per_request_at_batch_8=float(row["j_per_request_at_batch8"]),
            num_gpus=int(row["at_num_gpus"]),
            max_batch=int(row["at_max_batch"]),
        )
        for row in read_shipped("reasoning_requests.csv")
    )


def itl_s(row: Mapping[str, str]) -> float | None:
    """The measured inter-token latency of a raw row [s], ``None`` where it has none."""
    text = (row.get("itl_ms") or "").strip()
    return s_from_ms(float(text)) if text else None


def matching(
    rows: Iterable[Measured], setting: Setting, *, same_layout: bool, same_task: bool
) -> list[Measured]:
    """The measured rows of the same device, engine and model shape as ``setting``, smallest first.

    Two models share a shape when they differ in weights only (Llama-3.1-70B and 3.3-70B); rows of
    the very model are preferred to those of its siblings.
    """
    found = [
        row
        for row in rows
        if row.setting.device.name == setting.device.name
        and row.setting.engine == setting.engine
        and shape_of(row.setting.model) == shape_of(setting.model)
        and (not same_layout or row.setting.layout == setting.layout)
        and (not same_task or row.setting.task == setting.task)
    ]
    own = [row for row in found if row.setting.model.name == setting.model.name]
    return sorted(own or found, key=lambda row: row.setting.sequences)


@lru_cache(maxsize=1024)
def shape_of(model: ModelSpec) -> tuple[object, ...]:
    """What two models must share to cost the same: everything but name and context limit."""
    return (
        model.architecture,
        model.params_total,
        model.layers,
        model.hidden_size,
        model.vocab_size,
        model.experts,
        model.precision,
        model.weight_class,
    )
