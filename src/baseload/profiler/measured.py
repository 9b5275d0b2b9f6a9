"""A measured run: what a load generator and a vLLM-like engine noted about each request, checked
once at the door.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError

if TYPE_CHECKING:
    import polars as pl

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_REQUESTS = 20

TIMES = ("arrival_s", "queued_s", "scheduled_s", "first_token_s", "last_token_s")
TOKENS = ("input_tokens", "output_tokens")
REQUIRED = ("arrival_s", "first_token_s", "last_token_s", *TOKENS)


class RunMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a ``*_meta.json`` beside the run says about the engine; ``None``: nothing."""

    model: str | None = None
    device: str | None = None
    engine: str | None = None
    precision: str | None = None
    max_batch: int | None = None
    max_step_tokens: int | None = None
    kv_tokens: int | None = None
    max_context_tokens: int | None = None
    tensor_parallel: int = 1
    data_parallel: int = 1
    expert_parallel: bool = False


@dataclass(frozen=True, kw_only=True)
class PowerSeries:
    """Mean power ``power_w`` [W] in bins that end at ``end_s`` [s, the engine's clock]."""

    end_s: Floats
    power_w: Floats


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """One measured run, requests in order of arrival, arrays of shape ``[n]``.

    All times are on the engine's clock [s], which is 0 at about the first request. ``arrival_s``
    is the client's clock, moved so that the quickest request takes no time from arrival to queue:
    the two clocks have no common zero in the file, so a constant in that gap cannot be told.
    ``energy_j`` [J]: measured per request, or ``None``.
    """

    name: str
    arrival_s: Floats
    queued_s: Floats
    scheduled_s: Floats
    first_token_s: Floats
    last_token_s: Floats
    input_tokens: Ints
    output_tokens: Ints
    sha256: str
    meta: RunMeta
    power: PowerSeries | None = None
    energy_j: Floats | None = None

    def __len__(self) -> int:
        """Number of requests."""
        return len(self.arrival_s)

    def head(self, rows: int) -> MeasuredRun:
        """The first ``rows`` requests, as if the others had never been sent; ``sha256`` stays."""
        cut = {name: getattr(self, name)[:rows] for name in (*TIMES, *TOKENS)}
        energy_j = None if self.energy_j is None else self.energy_j[:rows]
        return replace(self, **cut, energy_j=energy_j)

    @property
    def ttft_s(self) -> Floats:
        """Time to first token, from arrival [s]."""
        return self.first_token_s - self.arrival_s

    @property
    def tpot_s(self) -> Floats:
        """Time per output token after the first [s]; NaN for answers of one token."""
        return time_per_token(self.first_token_s, self.last_token_s, self.output_tokens)


def time_per_token(first_s: Floats, last_s: Floats, output_tokens: Ints) -> Floats:
    """``(last - first) / (output - 1)`` [s]; NaN for answers of one token."""
    gaps = np.where(output_tokens > 1, output_tokens - 1, 1)
    return np.where(output_tokens > 1, (last_s - first_s) / gaps, np.nan)


def read_run(path: str | Path, *, meta: str | Path | None = None) -> MeasuredRun:
    """The measured run in the Parquet or CSV file at ``path``.

    Columns: ``arrival_s``, ``first_token_s``, ``last_token_s``, ``input_tokens``,
    ``output_tokens``; ``queued_s`` and ``scheduled_s`` where the engine logs them; ``energy_j``
    where it is measured. Beside the file, read when present: ``<name>_meta.json`` (or ``meta``)
    and ``<name>_timeseries.parquet`` with ``t`` and ``power_w``. Raises ``BadInputError`` for a
    missing column, a missing or not finite value, rows out of order, or too few requests.
    """
    place = Path(path)
    frame = _read_frame(place)
    missing = [name for name in REQUIRED if name not in frame.columns]
    if missing:
        raise BadInputError(
            f"measured run {place}: missing column {', '.join(missing)}",
            found=", ".join(frame.columns),
            allowed=f"{', '.join(REQUIRED)}; optional: queued_s, scheduled_s, energy_j",
            todo="rename the columns of your log to these",
        )
    columns = {name: _column(frame, name, place) for name in _present(frame)}
    if len(frame) < LEAST_REQUESTS:
        raise BadInputError(
            f"measured run {place}: too few requests to fit anything",
            found=f"{len(frame)} requests",
            allowed=f"at least {LEAST_REQUESTS}; 200 or more are better",
        )
    queued = columns.get("queued_s", columns["arrival_s"])
    columns["scheduled_s"] = columns.get("scheduled_s", columns["first_token_s"])
    _check_order(place, columns, queued)
    return MeasuredRun(
        name=place.stem,
        arrival_s=columns["arrival_s"] + float((queued - columns["arrival_s"]).min()),
        queued_s=queued,
        scheduled_s=columns["scheduled_s"],
        first_token_s=columns["first_token_s"],
        last_token_s=columns["last_token_s"],
        input_tokens=columns["input_tokens"].astype(np.int64),
        output_tokens=columns["output_tokens"].astype(np.int64),
        sha256=_sha256(columns),
        meta=read_meta(
            _beside(place, "_meta.json") if meta is None else Path(meta), meta is not None
        ),
        power=_read_power(_beside(place, "_timeseries.parquet")),
        energy_j=columns.get("energy_j"),
    )


def read_meta(path: Path, required: bool = False) -> RunMeta:
    """The engine settings in a meta file (vLLM's ``engine_kwargs`` and ``kv_cache``); empty when
    there is none.
    """
    if not path.exists() and not required:
        return RunMeta()
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"meta file {path}", found=str(error), allowed="a JSON object with engine_kwargs"
        ) from error
    settings = content.get("engine_kwargs") or {}
    cache = content.get("kv_cache") or {}
    version = content.get("vllm_version")
    return RunMeta(
        model=content.get("model") or settings.get("model"),
        device=content.get("device"),
        engine=f"vllm-{version}" if version else None,
        precision=_PRECISIONS.get(str(settings.get("quantization") or settings.get("dtype"))),
        max_batch=_count(path, settings, "max_num_seqs"),
        max_step_tokens=_count(path, settings, "max_num_batched_tokens"),
        kv_tokens=_count(path, cache, "num_kv_tokens") or _blocks(path, cache),
        max_context_tokens=_count(path, settings, "max_model_len"),
        tensor_parallel=_count(path, settings, "tensor_parallel_size") or 1,
        data_parallel=_count(path, settings, "data_parallel_size") or 1,
        expert_parallel=bool(settings.get("enable_expert_parallel", False)),
    )


_PRECISIONS = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "fp8": "fp8",
    "mxfp4": "mxfp4",
}


def _count(path: Path, where: dict[str, Any], name: str) -> int | None:
    value = where.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise BadInputError(
            f"meta file {path}: {name}", found=repr(value), allowed="an integer >= 1"
        )
    return value


def _blocks(path: Path, cache: dict[str, Any]) -> int | None:
    blocks, size = _count(path, cache, "num_gpu_blocks"), _count(path, cache, "block_size")
    return blocks * size if blocks and size else None


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.stem + ending)


def _read_frame(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        if path.suffix == ".csv":
            return pl.read_csv(path)
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadInputError(
            f"measured run {path}: cannot be read",
            found=str(error).splitlines()[0],
            allowed="a Parquet (or .csv) file with one row a request",
        ) from error


def _present(frame: pl.DataFrame) -> list[str]:
    return [name for name in (*TIMES, *TOKENS, "energy_j") if name in frame.columns]


def _column(frame: pl.DataFrame, name: str, path: Path) -> Floats:
    """One numeric column as float64, every value there, finite, and in range."""
    series = frame[name]
    if not series.dtype.is_numeric():
        raise BadInputError(
            f"measured run {path}: column {name!r}", found=str(series.dtype), allowed="numbers"
        )
    values = series.cast(float).to_numpy()
    low = 1.0 if name in TOKENS else 0.0 if name == "energy_j" else -np.inf
    bad = np.flatnonzero(~np.isfinite(values) | ~(values >= low))
    if len(bad):
        row = int(bad[0])
        raise BadInputError(
            f"measured run {path}: column {name!r}",
            found=f"{series[row]} in data row {row + 1} ({len(bad)} such rows)",
            allowed=f"finite numbers{f' >= {low:g}' if np.isfinite(low) else ''}, none missing",
            todo="drop requests that failed or were cancelled",
        )
    return np.asarray(values, dtype=np.float64)


def _check_order(path: Path, columns: dict[str, Floats], queued: Floats) -> None:
    """Rows by arrival; in each row queued <= scheduled <= first token <= last token."""
    late = np.flatnonzero(np.diff(columns["arrival_s"]) < 0)
    if len(late):
        row = int(late[0]) + 2
        raise BadInputError(
            f"measured run {path}: not sorted by arrival_s",
            found=f"data row {row} arrives before data row {row - 1}",
            allowed="arrival_s that does not decrease",
            todo="sort the file by arrival_s",
        )
    chain = [("queued_s", queued)]
    chain += [(name, columns[name]) for name in ("scheduled_s", "first_token_s", "last_token_s")]
    for (before, earlier), (after, later) in pairwise(chain):
        wrong = np.flatnonzero(later < earlier - 1e-6)
        if len(wrong):
            row = int(wrong[0])
            raise BadInputError(
                f"measured run {path}: {after} before {before}",
                found=f"data row {row + 1}: {after} {later[row]:g}, {before} {earlier[row]:g}",
                allowed="queued_s <= scheduled_s <= first_token_s <= last_token_s on one clock",
            )


def _read_power(path: Path) -> PowerSeries | None:
    """Power bins of a time series beside the run, ``None`` when there is none or it has no
    ``power_w``.
    """
    if not path.exists():
        return None
    frame = _read_frame(path)
    if not {"t", "power_w"} <= set(frame.columns):
        return None
    end_s, power_w = _column(frame, "t", path), _column(frame, "power_w", path)
    if len(end_s) < 2 or (np.diff(end_s) <= 0).any() or (power_w < 0).any():
        raise BadInputError(
            f"time series {path}",
            found=f"{len(end_s)} rows",
            allowed="two rows or more, t rising, power_w >= 0",
        )
    return PowerSeries(end_s=end_s, power_w=power_w)


def _sha256(columns: dict[str, Floats]) -> str:
    digest = hashlib.sha256()
    for name in sorted(columns):
        digest.update(name.encode() + b"\0")
        digest.update(np.ascontiguousarray(columns[name], dtype="<f8").tobytes())
    return digest.hexdigest()
