"""Read a trace from a file or from the package.

``read_trace`` gives the trace, ``load_trace`` also tells what was dropped or changed on the way.
"""

from __future__ import annotations

import warnings
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError, unknown_name
from baseload.sources.columns import INT32_MAX, bad_row
from baseload.sources.trace_formats import FORMATS, KIND_OF_SUFFIX, Format, RawTrace, header_of
from baseload.workload.trace import Trace, check_trace

ZeroTokens = Literal["error", "drop", "one"]
BUILTIN_TRACES = {"azure-chat": "azure_llm_2023_conv.parquet"}


class TraceWarning(UserWarning):
    """Rows of a trace file were dropped or changed while it was read."""


class LoadedTrace(msgspec.Struct, frozen=True, kw_only=True):
    """A trace with the account of its reading.

    ``rows`` in the file = requests of the trace + ``failed_dropped`` (never answered) +
    ``zero_dropped`` (no input or no output tokens). ``zero_as_one`` rows are in the trace with one
    token in place of none.
    """

    trace: Trace
    format: str
    rows: int
    failed_dropped: int = 0
    zero_dropped: int = 0
    zero_as_one: int = 0

    def remarks(self) -> list[str]:
        """One sentence for each thing that was dropped or changed; empty for a clean file."""
        told = (
            (self.failed_dropped, "failed requests (no answer recorded) dropped"),
            (self.zero_dropped, "requests without input or output tokens dropped"),
            (self.zero_as_one, "requests without input or output tokens read as one token"),
        )
        return [f"{count} of {self.rows} rows: {what}" for count, what in told if count]


def read_trace(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    class_name: str = "chat",
    sort: bool = False,
    zero_tokens: ZeroTokens | None = None,
    keep_models: bool = False,
) -> Trace:
    """The trace in the file at ``path``; arguments and errors as for ``load_trace``.

    Warns with ``TraceWarning`` when rows were dropped or changed.
    """
    loaded = load_trace(
        path,
        format=format,
        class_name=class_name,
        sort=sort,
        zero_tokens=zero_tokens,
        keep_models=keep_models,
    )
    for remark in loaded.remarks():
        warnings.warn(f"trace file {path}: {remark}", TraceWarning, stacklevel=2)
    return loaded.trace


def load_trace(
    path: str | Path,
    *,
    format: str | None = None,  # noqa: A002 - the word of the command line
    class_name: str = "chat",
    sort: bool = False,
    zero_tokens: ZeroTokens | None = None,
    keep_models: bool = False,
) -> LoadedTrace:
    """The trace in the file at ``path``, with the account of what was dropped or changed.

    ``format`` is one of ``parquet``, ``csv``, ``azure``, ``burstgpt``, ``mooncake``, ``vidur``,
    ``blis``; by default the ending of the name and the columns decide. ``class_name`` is the class
    of requests whose file names none. ``sort`` puts rows in order of time instead of refusing.
    ``zero_tokens`` says what to do with a request without input or output tokens: ``error`` (the
    default, except ``one`` for ``mooncake``), ``drop``, or ``one``. ``keep_models`` keeps the model
    column of formats that record who answered (``burstgpt``, ``blis``) as a demand for that model.

    Raises ``BadInputError`` naming file, column, row (from 1) and value for everything that breaks
    a rule, ``UnknownNameError`` for an unknown ``format``.
    """
    path = Path(path)
    if not path.is_file():
        raise BadInputError(
            f"trace file {path}",
            found="no such file",
            allowed="an existing file",
            todo="check the path",
        )
    chosen = _chosen_format(path, format)
    raw = chosen.read(path)
    if not keep_models and chosen.models_are_records:
        raw = msgspec.structs.replace(raw, model_code=None, models=())
    return _judged(raw, path, chosen, class_name, sort=sort, zero_tokens=zero_tokens)


def builtin_trace(name: str = "azure-chat") -> Trace:
    """A trace that ships in the package: ``azure-chat``, 19,366 chat requests of one hour.

    Azure LLM inference trace 2023, conversation service (Patel et al., Splitwise, ISCA 2024;
    CC-BY-4.0, see NOTICE). Raises ``UnknownNameError`` for any other name.
    """
    if name not in BUILTIN_TRACES:
        raise unknown_name("built-in trace", name, BUILTIN_TRACES)
    shipped = resources.files("baseload.sources") / "data" / BUILTIN_TRACES[name]
    with resources.as_file(shipped) as path:
        trace = read_trace(path)
    return msgspec.structs.replace(trace, name=name)


def _chosen_format(path: Path, name: str | None) -> Format:
    """The format asked for, else the first that fits the name and the columns."""
    if name is not None and name not in {each.name for each in FORMATS}:
        raise unknown_name("trace format", name, [each.name for each in FORMATS])
    kind = KIND_OF_SUFFIX.get(path.suffix.lower())
    asked = [each for each in FORMATS if (each.name == name if name else each.kind == kind)]
    if not asked:
        raise BadInputError(
            f"trace file {path}: format not recognised",
            found=f"ending {path.suffix!r}",
            allowed=f"{', '.join(KIND_OF_SUFFIX)}, or a format by name: {_names_of(FORMATS)}",
            todo="rename the file, or give the format by name",
        )
    found = header_of(path, asked[0].kind)
    if not found:
        raise BadInputError(
            f"trace file {path}", found="an empty file", allowed="one request or more"
        )
    for each in asked:
        if _fits(each, found):
            return each
    raise BadInputError(
        f"trace file {path}: format {name or 'not recognised'}",
        found=f"columns {', '.join(found)}",
        allowed="; ".join(f"{each.name}: {', '.join(each.columns)}" for each in asked),
        todo="rename the columns, or give another format by name",
    )


def _names_of(formats: tuple[Format, ...]) -> str:
    """Their names in one line."""
    return ", ".join(each.name for each in formats)


def _fits(each: Format, found: list[str]) -> bool:
    """Whether all needed columns are there (``t_ms`` will do for ``t_us``)."""
    return all(name in found or (name == "t_us" and "t_ms" in found) for name in each.columns)


def _judged(
    raw: RawTrace,
    path: Path,
    chosen: Format,
    class_name: str,
    *,
    sort: bool,
    zero_tokens: ZeroTokens | None,
) -> LoadedTrace:
    """The trace of the raw columns: failures and zeros settled, order and ranges checked."""
    rows = len(raw.t_us)
    if not rows:
        raise BadInputError(
            f"trace file {path}", found="a header and no rows", allowed="one request or more"
        )
    keep = np.ones(rows, bool) if raw.failed is None else ~raw.failed
    failed = rows - int(keep.sum())
    rule = zero_tokens if zero_tokens is not None else chosen.zero_tokens
    zero = keep & ((raw.input_tokens == 0) | (raw.output_tokens == 0))
    zeros = int(zero.sum())
    if zeros and rule == "error":
        _refuse_zeros(raw, path, np.flatnonzero(zero))
    if rule == "drop":
        keep &= ~zero
    if not keep.any():
        raise BadInputError(
            f"trace file {path}",
            found=f"{rows} rows, none usable ({failed} failed, {zeros} without tokens)",
            allowed="one usable request or more",
        )
    late = np.flatnonzero(np.diff(raw.t_us) < 0)
    if len(late) and not sort:
        row = int(late[0])
        bad_row(
            path,
            "time",
            late + 1,
            f"{raw.t_us[row + 1]} us after {raw.t_us[row]} us",
            allowed="times that do not decrease",
            todo="sort the file by time, or read it with sort=True",
        )
    order: NDArray[Any] = np.flatnonzero(keep)
    if len(late):
        order = order[np.argsort(raw.t_us[order], kind="stable")]
    trace = _trace_of(raw, order, path, class_name)
    check_trace(trace)
    return LoadedTrace(
        trace=trace,
        format=chosen.name,
        rows=rows,
        failed_dropped=failed,
        zero_dropped=zeros if rule == "drop" else 0,
        zero_as_one=zeros if rule == "one" else 0,
    )


def _refuse_zeros(raw: RawTrace, path: Path, rows: NDArray[Any]) -> None:
    """Raise ``BadInputError`` for the first row without input or output tokens."""
    which = "input_tokens" if raw.input_tokens[rows[0]] == 0 else "output_tokens"
    bad_row(
        path,
        which,
        rows,
        "0 tokens",
        allowed="1 token or more",
        todo="correct these rows, or read the file with zero_tokens='drop' or 'one'",
    )


def _trace_of(raw: RawTrace, rows: NDArray[Any], path: Path, class_name: str) -> Trace:
    """The strict trace of ``rows``; instants from a date start at the first row that is kept."""
    start_us = int(raw.t_us.min()) if int(raw.t_us.min()) < 0 else 0
    class_code = np.zeros(len(raw.t_us), np.int32) if raw.class_code is None else raw.class_code
    classes = raw.classes
    if (class_code < 0).any() or not classes:
        classes = tuple(dict.fromkeys([*classes, class_name]))
        class_code = np.where(class_code < 0, classes.index(class_name), class_code)
    if len(classes) > np.iinfo(np.int16).max or len(raw.models) > np.iinfo(np.int16).max:
        raise BadInputError(
            f"trace file {path}: classes or models",
            found=f"{len(classes)} classes, {len(raw.models)} models",
            allowed=f"at most {np.iinfo(np.int16).max} of each",
            todo="check that the column holds names of classes, not of requests",
        )
    optional: dict[str, Any] = {}
    if raw.session is not None:
        if int(raw.session.max()) > INT32_MAX:
            big = np.flatnonzero(raw.session > INT32_MAX)
            bad_row(path, "session", big, raw.session[big[0]], allowed=f"0 to {INT32_MAX}")
        optional["session"] = raw.session[rows].astype(np.int32)
    if raw.reason_tokens is not None:
        over = np.flatnonzero(raw.reason_tokens > np.maximum(raw.output_tokens, 1))
        if len(over):
            bad_row(
                path,
                "reason_tokens",
                over,
                raw.reason_tokens[over[0]],
                allowed="at most the row's output tokens, of which they are a part",
            )
        optional["reason_tokens"] = raw.reason_tokens[rows].astype(np.int32)
    if raw.deadline_us is not None:
        optional["deadline_us"] = raw.deadline_us[rows].astype(np.int64)
    if raw.model_code is not None and raw.models:
        optional["model_code"] = raw.model_code[rows].astype(np.int16)
        optional["models"] = raw.models
    return Trace(
        name=path.stem,
        t_us=raw.t_us[rows] - start_us,
        input_tokens=np.maximum(raw.input_tokens[rows], 1).astype(np.int32),
        output_tokens=np.maximum(raw.output_tokens[rows], 1).astype(np.int32),
        class_code=class_code[rows].astype(np.int16),
        classes=classes,
        **optional,
    )
