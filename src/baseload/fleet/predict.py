"""Seconds, watts and joules per token of a model on a device:

measured where measured, else modelled.

Between measured rows of one curve the ratio of measured to modelled is interpolated in the
logarithm of the batch: a measured batch comes out exactly as measured, and the physics gives the
shape between. Outside the measured range the physics is anchored to the nearest row. Every answer
says how it was obtained, in words too, and how far off it may be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Literal, get_args

import msgspec

from baseload.base.errors import BadInputError, DoesNotFitError, unknown_name
from baseload.fleet.clock import at_clock
from baseload.fleet.devices import find_device
from baseload.fleet.engines import MODERN_ENGINE, Constants, find_constants, find_engine
from baseload.fleet.models import find_model
from baseload.fleet.physics import (
    capped_step,
    constants_kind,
    kv_tokens_that_fit,
    layout_of,
    require_fit,
)
from baseload.fleet.physics import power_cap_w as cap_of
from baseload.fleet.profiles import (
    Measured,
    Setting,
    matching,
    setting_of,
    shipped_rows,
)
from baseload.fleet.replica_type import Method

Wanted = Literal["auto", "modelled", "measured"]
"""How the caller wants the numbers: best available, physics alone, or only where measured."""

_SHRINK_OTHER = 0.3  # share of another layout's or task's miss that is carried over (by test)
_SHRINK_CONTEXT = 0.3  # the same for contexts far beyond the measured ones
_SAME_CONTEXT = 1.5  # contexts within this factor count as the same for a measured answer
_WORST_POWER_FRAC = 1.0


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What one steady state of a replica costs; GPU boards only, all GPUs of the layout together.

    ``step_s`` [s] per step, which gives one token to each running sequence; ``power_w`` [W] of all
    boards, ``power_w_per_gpu`` of one; ``energy_j_per_token`` [J] per output token;
    ``marginal_energy_j_per_token`` [J] what one more sequence adds per token of its own;
    ``error_frac`` mean absolute relative error of J/token to expect, cross-validated.
    """

    step_s: float
    power_w: float
    power_w_per_gpu: float
    tokens_per_s: float
    energy_j_per_token: float
    marginal_energy_j_per_token: float
    method: Method
    error_frac: float
    basis: str
    num_gpus: int


class GroupError(msgspec.Struct, frozen=True, kw_only=True):
    """Cross-validated errors of J/token of one group of rows (mean absolute relative error).

    ``modelled_fit`` on the rows of the fit; ``modelled_rows`` with a fifth of the rows held out;
    ``modelled_models`` with each model held out; ``measured_rows`` interpolation with the row held
    out; ``anchored_curves`` physics anchored to other layouts or tasks, the curve held out.
    """

    engine: str
    device: str
    family: str
    weights: str
    rows: int
    modelled_fit: float
    modelled_rows: float
    modelled_models: float
    measured_rows: float
    anchored_curves: float


@lru_cache(maxsize=1)
def group_errors() -> tuple[GroupError, ...]:
    """The shipped table of group errors, written by ``bench/predict_error.py``; read once."""
    text = resources.files("baseload.fleet").joinpath("data", "errors.json").read_bytes()
    return tuple(msgspec.json.decode(text, type=list[GroupError]))


class _Step(msgspec.Struct, frozen=True):
    """Seconds and joules of one step of the whole replica."""

    time_s: float
    energy_j: float


class _Anchor(msgspec.Struct, frozen=True):
    """Logarithms of measured over modelled time and energy, and how they were found."""

    log_time: float
    log_energy: float
    method: Method
    basis: str


def constants_of(setting: Setting) -> Constants:
    """The physics constants that serve a setting."""
    kind = constants_kind(setting.model.weight_class, setting.layout.data_parallel)
    return find_constants(setting.engine, setting.device, setting.model, kind)


def _modelled(setting: Setting, constants: Constants | None = None) -> _Step:
    """The physics' step of a setting, with its own constants unless given others."""
    time_s, energy_j = capped_step(
        setting.work(),
        setting.model,
        setting.layout,
        setting.device,
        constants_of(setting) if constants is None else constants,
    )
    return _Step(time_s, energy_j * setting.layout.num_gpus)


@lru_cache(maxsize=4096)
def _log_ratios(row: Measured) -> tuple[float, float]:
    """Logarithms of measured over modelled step time and energy of one row."""
    model = _modelled(row.setting)
    energy_j = row.energy_j_per_token * row.setting.sequences
    return math.log(row.time_s / model.time_s), math.log(energy_j / model.energy_j)


def _on_curve(curve: Sequence[Measured], sequences: float) -> tuple[float, float, bool]:
    """Log ratios at ``sequences``, linear in its logarithm, and whether it lies in the range."""
    sizes = [math.log(row.setting.sequences) for row in curve]
    at = math.log(sequences)
    slack = 1e-9
    inside = sizes[0] - slack <= at <= sizes[-1] + slack
    above = next((index for index, size in enumerate(sizes) if size >= at), len(curve) - 1)
    below = max(above - 1, 0) if sizes[above] > at else above
    low, high = _log_ratios(curve[below]), _log_ratios(curve[above])
    gap = sizes[above] - sizes[below]
    share = (at - sizes[below]) / gap if gap > 0 and inside else float(at > sizes[0])
    return (
        low[0] + share * (high[0] - low[0]),
        low[1] + share * (high[1] - low[1]),
        inside,
    )


def _curves(rows: Iterable[Measured]) -> list[list[Measured]]:
    """Rows split by layout and task, smallest batch first."""
    curves: dict[object, list[Measured]] = {}
    for row in rows:
        setting = row.setting
        key = (setting.layout, setting.task)
        curves.setdefault(key, []).append(row)
    return [
        sorted(_distinct(curve), key=lambda row: row.setting.sequences) for curve in curves.values()
    ]


def _distinct(curve: Iterable[Measured]) -> list[Measured]:
    """One row per batch: the first of repeated runs."""
    return list({round(row.setting.sequences, 1): row for row in reversed(list(curve))}.values())


def _context_of(curve: Sequence[Measured]) -> float:
    """Mean context of a curve [tokens]."""
    return sum(row.setting.context_tokens for row in curve) / len(curve)


def _anchor(setting: Setting, rows: Sequence[Measured]) -> _Anchor | None:
    """What the measured ``rows`` say about a setting, best source first; ``None`` for nothing."""
    same_task = matching(rows, setting, same_layout=True, same_task=True)
    if setting.task and same_task:
        return _interpolated(setting, _curves(same_task))
    same_layout = matching(rows, setting, same_layout=True, same_task=False)
    if same_layout:
        return _interpolated(setting, _curves(same_layout))
    others = matching(rows, setting, same_layout=False, same_task=False)
    return _carried_over(setting, _curves(others)) if others else None


def _interpolated(setting: Setting, curves: list[list[Measured]]) -> _Anchor:
    """Log ratios between the curves of the same layout, linear in the logarithm of context."""
    curves = sorted(curves, key=_context_of)
    at = max(setting.context_tokens, 1.0)
    upper = next((i for i, curve in enumerate(curves) if _context_of(curve) >= at), len(curves) - 1)
    lower = max(upper - 1, 0) if _context_of(curves[upper]) > at else upper
    found = [_on_curve(curves[index], setting.sequences) for index in (lower, upper)]
    low_c, high_c = _context_of(curves[lower]), _context_of(curves[upper])
    gap = math.log(high_c / low_c)
    share = min(max(math.log(at / low_c) / gap, 0.0), 1.0) if gap > 0 else 0.0
    log_time = found[0][0] + share * (found[1][0] - found[0][0])
    log_energy = found[0][1] + share * (found[1][1] - found[0][1])
    nearest = curves[upper] if share > 0.5 else curves[lower]
    inside = found[1 if share > 0.5 else 0][2]
    ratio = at / _context_of(nearest)
    close = 1 / _SAME_CONTEXT <= ratio <= _SAME_CONTEXT
    own = nearest[0].setting.model.name == setting.model.name
    measured = inside and close and own
    if not low_c <= at <= high_c:
        kept = _kept_share(ratio)
        log_time, log_energy = kept * log_time, kept * log_energy
    return _Anchor(
        log_time,
        log_energy,
        "measured" if measured else "modelled",
        _basis_of(nearest, setting, inside, close),
    )


def _kept_share(ratio: float) -> float:
    """Share of a curve's miss that holds at ``ratio`` times its context: 1 near, falling beyond."""
    beyond = (abs(math.log(ratio)) - math.log(_SAME_CONTEXT)) / math.log(3.0)
    return 1.0 - (1.0 - _SHRINK_CONTEXT) * min(max(beyond, 0.0), 1.0)


def _basis_of(curve: Sequence[Measured], setting: Setting, inside: bool, close: bool) -> str:
    """The measured rows behind an answer, in words."""
    sizes, sequences = [row.setting.sequences for row in curve], setting.sequences
    what = f"{curve[0].setting.task}, context about {_context_of(curve):.0f} tokens"
    measured = curve[0].setting.model.name
    if measured != setting.model.name:
        what = f"{measured}, a model of the same shape, {what}"
    if not inside:
        near = min(sizes, key=lambda size: abs(math.log(size / sequences)))
        return f"physics anchored to the measured row at batch {near:.0f} ({what})"
    below = max((size for size in sizes if size <= sequences * (1 + 1e-9)), default=sizes[0])
    above = min((size for size in sizes if size >= sequences * (1 - 1e-9)), default=sizes[-1])
    if above / below < 1.001:
        rows = f"measured at batch {below:.0f} ({what})"
    else:
        rows = f"interpolated between measured batches {below:.0f} and {above:.0f} ({what})"
    return rows if close else f"physics anchored to rows of another context: {rows}"


def _carried_over(setting: Setting, curves: list[list[Measured]]) -> _Anchor:
    """The shrunk mean miss of the physics on other layouts of the same model."""
    found = [_on_curve(curve, setting.sequences) for curve in curves]
    log_time = _SHRINK_OTHER * sum(ratio[0] for ratio in found) / len(found)
    log_energy = _SHRINK_OTHER * sum(ratio[1] for ratio in found) / len(found)
    layouts = sorted({curve[0].setting.layout.num_gpus for curve in curves})
    text = " and ".join(str(count) for count in layouts)
    basis = f"physics corrected by measured rows of the same model on {text} GPUs"
    return _Anchor(log_time, log_energy, "modelled", basis)


def predict_setting(
    setting: Setting,
    *,
    method: Wanted = "auto",
    rows: Sequence[Measured] | None = None,
    power_cap_w: float | None = None,
    clock_frac: float = 1.0,
) -> Prediction:
    """The prediction for a setting; ``rows`` are the measured rows to use (default: the shipped).

    Below full clock (``clock_frac`` < 1) the answer is the one at full clock times what the assumed
    response makes of it (``clock.at_clock``), and is marked assumed. Raises ``BadInputError`` where
    ``method`` is ``measured`` and nothing of the kind was measured, where the cap [W per GPU] is
    below the static power, or for a clock that cannot be.
    """
    if method not in get_args(Wanted):
        raise unknown_name("method", method, get_args(Wanted))
    measured = shipped_rows() if rows is None else rows
    anchor = _anchor(setting, measured) if method != "modelled" else None
    if method == "measured" and (anchor is None or anchor.method != "measured"):
        raise _not_measured(setting, measured)
    constants = at_clock(constants_of(setting), setting.device, clock_frac)
    if method == "measured" and clock_frac < 1.0:
        raise BadInputError(
            "a measured answer below full clock",
            found=f"clock_frac {clock_frac:g}",
            allowed="clock_frac 1: no row was measured at another clock",
            todo="use the method auto or modelled",
        )
    static_w = constants.power.static_w * setting.layout.num_gpus
    here = _modelled(setting, constants)
    plus_one = msgspec.structs.replace(setting, sequences=setting.sequences + 1.0)
    more = _modelled(plus_one, constants)
    marginal_j = max(more.energy_j - here.energy_j, 0.0)
    if anchor is not None:
        here = _within_board(_scaled(here, anchor), setting)
        marginal_j *= math.exp(anchor.log_energy)
    if power_cap_w is not None:
        here = _capped(
            here, cap_of(setting.device, power_cap_w) * setting.layout.num_gpus, static_w
        )
    return _prediction(setting, here, marginal_j, constants, anchor)


def _scaled(step: _Step, anchor: _Anchor) -> _Step:
    return _Step(
        step.time_s * math.exp(anchor.log_time), step.energy_j * math.exp(anchor.log_energy)
    )


def _within_board(step: _Step, setting: Setting) -> _Step:
    """The step with its power held to the boards' limit: time gives way, energy stays."""
    most_w = _WORST_POWER_FRAC * setting.device.tdp_w * setting.layout.num_gpus
    return _Step(max(step.time_s, step.energy_j / most_w), step.energy_j)


def _capped(step: _Step, cap_w: float, static_w: float) -> _Step:
    """The step stretched until its power meets the cap, its dynamic energy kept."""
    if cap_w <= static_w:
        raise BadInputError(
            f"power cap of {cap_w:g} W: no step could ever end",
            found=f"{static_w:.0f} W of static power when steps run",
            allowed=f"more than {static_w:.0f} W for the whole replica",
            todo="raise the cap",
        )
    if step.energy_j <= cap_w * step.time_s:
        return step
    dynamic_j = max(step.energy_j - static_w * step.time_s, 0.0)
    time_s = max(dynamic_j / (cap_w - static_w), step.time_s)
    return _Step(time_s, cap_w * time_s)


def _prediction(
    setting: Setting,
    step: _Step,
    marginal_j: float,
    constants: Constants,
    anchor: _Anchor | None,
) -> Prediction:
    method: Method = anchor.method if anchor else constants.method
    clock = constants.basis.removeprefix(constants_of(setting).basis)  # what a lower clock adds
    if setting.model.method == "assumed" or clock:
        method = "assumed"
    basis = anchor.basis + clock if anchor else constants.basis
    if setting.model.method == "assumed":
        basis += "; structure of the model assumed from its parameter counts"
    gpus = setting.layout.num_gpus
    return Prediction(
        step_s=step.time_s,
        power_w=step.energy_j / step.time_s,
        power_w_per_gpu=step.energy_j / step.time_s / gpus,
        tokens_per_s=setting.sequences / step.time_s,
        energy_j_per_token=step.energy_j / setting.sequences,
        marginal_energy_j_per_token=marginal_j,
        method=method,
        error_frac=_error_frac(setting, constants, anchor),
        basis=basis,
        num_gpus=gpus,
    )


def _error_frac(setting: Setting, constants: Constants, anchor: _Anchor | None) -> float:
    """The cross-validated error of the group, for the way the answer was obtained."""
    own = constants.error_frac_of(setting.model)
    if anchor is None or setting.model.method == "assumed" or constants.method == "assumed":
        return own
    kind = constants_kind(setting.model.weight_class, setting.layout.data_parallel)
    group = (setting.engine, setting.device.name, setting.family, kind)
    for errors in group_errors():
        if (errors.engine, errors.device, errors.family, errors.weights) == group:
            if anchor.method == "measured":
                return errors.measured_rows
            return max(errors.anchored_curves, errors.modelled_rows)
    return own


def _not_measured(setting: Setting, rows: Sequence[Measured]) -> BadInputError:
    """The error that says what was measured instead."""
    others = matching(rows, setting, same_layout=False, same_task=False)
    found = sorted(
        {
            f"{curve[0].setting.task} on {curve[0].setting.layout.num_gpus} GPUs, "
            f"batch {curve[0].setting.sequences:.0f} to {curve[-1].setting.sequences:.0f}, "
            f"context about {_context_of(curve):.0f}"
            for curve in _curves(others)
        }
    )
    return BadInputError(
        f"no measured profile of {setting.model.name} on {setting.layout.num_gpus} x "
        f"{setting.device.name} at batch {setting.sequences:g}, "
        f"context {setting.context_tokens:.0f}, {setting.engine}",
        found="; ".join(found) or "no measured row of this model, device and engine",
        allowed="a measured setting",
        todo="use the method auto or modelled",
    )


def predict(
    model: str,
    device: str,
    *,
    tensor_parallel: int = 1,
    batch: float,
    context_tokens: float | None = None,
    prompt_tokens: float | None = None,
    output_tokens: float | None = None,
    precision: str | None = None,
    engine: str = MODERN_ENGINE,
    method: Wanted = "auto",
    expert_parallel: int = 1,
    data_parallel: int = 1,
    pipeline_parallel: int = 1,
    power_cap_w: float | None = None,
    clock_frac: float = 1.0,
) -> Prediction:
    """What ``batch`` running sequences of a model cost on a device.

    Either ``context_tokens``, the mean context of decode alone; or ``prompt_tokens`` and
    ``output_tokens`` of a steady stream of requests, prefill included; ``clock_frac`` as in
    ``predict_setting``. Raises ``UnknownNameError``, ``DoesNotFitError``, ``BadInputError`` (batch,
    context, cap, clock).
    """
    setting = setting_for(
        model,
        device,
        tensor_parallel=tensor_parallel,
        batch=batch,
        context_tokens=context_tokens,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        precision=precision,
        engine=engine,
        expert_parallel=expert_parallel,
        data_parallel=data_parallel,
        pipeline_parallel=pipeline_parallel,
    )
    return predict_setting(setting, method=method, power_cap_w=power_cap_w, clock_frac=clock_frac)


def setting_for(
    model: str,
    device: str,
    *,
    batch: float,
    tensor_parallel: int = 1,
    context_tokens: float | None = None,
    prompt_tokens: float | None = None,
    output_tokens: float | None = None,
    precision: str | None = None,
    engine: str = MODERN_ENGINE,
    expert_parallel: int = 1,
    data_parallel: int = 1,
    pipeline_parallel: int = 1,
) -> Setting:
    """The checked setting behind ``predict``: names resolved, the model fits, the cache holds."""
    prompt, output = _lengths(context_tokens, prompt_tokens, output_tokens)
    if not (math.isfinite(batch) and batch > 0):
        raise BadInputError("batch", found=repr(batch), allowed="a finite number of sequences > 0")
    setting = Setting(
        model=find_model(model, precision),
        device=find_device(device),
        engine=find_engine(engine),
        layout=layout_of(
            tensor_parallel=tensor_parallel,
            expert_parallel=expert_parallel,
            data_parallel=data_parallel,
            pipeline_parallel=pipeline_parallel,
        ),
        sequences=float(batch),
        prompt_tokens=prompt,
        output_tokens=output,
    )
    _require_room(setting, longest_tokens=context_tokens or prompt + output)
    return setting


def _lengths(
    context: float | None, prompt: float | None, output: float | None
) -> tuple[float, float]:
    """(prompt, output) tokens; decode alone at a mean context c is output 2c without a prompt."""
    for name, value in (("context", context), ("prompt", prompt), ("output", output)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise BadInputError(
                f"{name} length", found=repr(value), allowed="a finite number of tokens >= 0"
            )
    if context is not None and (prompt is not None or output is not None):
        raise BadInputError(
            "context length beside prompt and output lengths",
            found="both",
            allowed="the mean context, or prompt and output lengths",
        )
    if context is not None:
        return 0.0, 2.0 * max(context, 0.5)
    if output is not None and output <= 0:
        raise BadInputError("output length", found=repr(output), allowed="tokens > 0")
    return (250.0 if prompt is None else prompt), (500.0 if output is None else output)


def _require_room(setting: Setting, *, longest_tokens: float) -> None:
    """Refuse contexts that the model or the cache cannot hold."""
    model = setting.model
    if longest_tokens > model.max_context_tokens:
        raise BadInputError(
            f"context of {longest_tokens:.0f} tokens for {model.name}",
            found=f"{longest_tokens:.0f} tokens",
            allowed=f"at most {model.max_context_tokens} tokens, the model's maximum",
        )
    kv_tokens = require_fit(model, setting.device, setting.layout)
    context = setting.context_tokens
    if setting.sequences * context > kv_tokens:
        most = max(int(kv_tokens / max(context, 1.0)), 0)
        raise BadInputError(
            f"batch {setting.sequences:g} at context {context:.0f} for {model.name} on "
            f"{setting.layout.num_gpus} x {setting.device.name}",
            found=f"{setting.sequences * context:.0f} tokens of cache",
            allowed=f"at most {kv_tokens} tokens: batch {most} at this context",
            todo="a smaller batch, a shorter context, or more GPUs",
        )


def predict_row(
    row: Mapping[str, str], *, number: int | None = None, method: Wanted = "auto"
) -> Prediction:
    """The prediction for a table row, from its identifying columns only.

    No result column (tokens_per_s, itl_ms, joules_*, *_power_*) is read. Raises ``BadInputError``,
    ``UnknownNameError`` or ``DoesNotFitError`` that name the row.
    """
    setting = setting_of(row, number=number)
    require_weights_fit(setting, number=number)
    return predict_setting(setting, method=method)


def require_weights_fit(setting: Setting, *, number: int | None = None) -> None:
    """Raise ``DoesNotFitError`` where the weights leave no room on the GPUs of a row's layout.

    Milder than ``require_fit``: a run that was measured may have used more than the usual memory.
    """
    model, device, layout = setting.model, setting.device, setting.layout
    if kv_tokens_that_fit(model, device, layout, memory_frac=1.0) >= 1:
        return
    try:
        require_fit(model, device, layout)
    except DoesNotFitError as error:
        where = "row" if number is None else f"row {number}"
        raise DoesNotFitError(
            f"{where}: {error.asked}", found=error.found, allowed=error.allowed, todo=error.todo
        ) from error
