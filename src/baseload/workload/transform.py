"""What one can do to a trace: cut, move, thin, speed up, repeat, merge and multiply it.

All of it is numpy on whole columns. What needs chance takes a ``seed`` and draws from named
streams.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.base.streams import stream
from baseload.base.units import US_PER_S
from baseload.workload.chunks import CHUNK_REQUESTS, OPTIONAL_COLUMNS, columns_of, rechunk, take
from baseload.workload.trace import Trace, TraceSource

# Requests drawn and sorted at once inside multiply(): small enough for the cache, large enough for
# numpy.
_BLOCK_REQUESTS = 131_072
_INT32_MAX = int(np.iinfo(np.int32).max)


def slice_time(trace: Trace, start_s: float, stop_s: float, *, rebase: bool = True) -> Trace:
    """The requests that arrive in [``start_s``, ``stop_s``) seconds; ``rebase`` moves ``start_s``
    to 0.

    Raises ``BadInputError`` for a window that ends before it starts or starts before 0.
    """
    if not 0 <= start_s <= stop_s:
        raise BadInputError(
            f"slice of trace {trace.name!r}",
            found=f"{start_s} to {stop_s} s",
            allowed="0 <= start <= stop",
        )
    start_us = round(start_s * US_PER_S)
    stop_us = round(min(stop_s, trace.span_s + 1) * US_PER_S)
    first, last = np.searchsorted(trace.t_us, [start_us, max(start_us, stop_us)])
    piece = take(trace, slice(int(first), int(last)))
    return msgspec.structs.replace(piece, t_us=piece.t_us - start_us) if rebase else piece


def shift(trace: Trace, by_s: float) -> Trace:
    """The trace with every arrival ``by_s`` seconds later (earlier when negative).

    Raises ``BadInputError`` when a request would arrive before 0.
    """
    moved = trace.t_us + round(by_s * US_PER_S)
    if len(moved) and moved[0] < 0:
        raise BadInputError(
            f"shift trace {trace.name!r} by {by_s} s",
            found=f"a first arrival at {moved[0] / US_PER_S} s",
            allowed=f"a shift of at least {-float(trace.t_us[0]) / US_PER_S} s",
        )
    return msgspec.structs.replace(trace, t_us=moved)


def thin(trace: Trace, keep_frac: float, *, seed: int) -> Trace:
    """Each request kept with probability ``keep_frac`` (0 to 1), independently.

    Whole sessions stay or go together where the trace has sessions. The same seed with a larger
    ``keep_frac`` keeps the same requests and more.
    """
    if not 0 <= keep_frac <= 1:
        raise BadInputError(
            f"thin trace {trace.name!r}",
            found=f"keep_frac {keep_frac}",
            allowed="0 to 1",
            todo="use multiply() for more requests than there are",
        )
    rng = stream(seed, "workload.transform.thin")
    if trace.session is None:
        return take(trace, rng.random(len(trace)) < keep_frac)
    _, own_session = np.unique(trace.session, return_inverse=True)
    return take(trace, rng.random(int(own_session.max(initial=-1)) + 1)[own_session] < keep_frac)


def speed_up(trace: Trace, factor: float) -> Trace:
    """The same requests in 1/``factor`` of the time, so that the rate is ``factor`` times as high.

    Unlike ``multiply`` this also speeds up how the rate moves. Raises ``BadInputError`` for a
    factor that is not positive and finite.
    """
    _check_factor(trace, factor)
    return msgspec.structs.replace(trace, t_us=np.rint(trace.t_us / factor).astype(np.int64))


def repeat(trace: Trace, times: int, *, period_s: float | None = None) -> Trace:
    """The trace ``times`` times, one after the other, each ``period_s`` after the one before.

    ``period_s`` defaults to the span plus one mean gap, so that the seam is no gap and no clump.
    Sessions of different rounds are different sessions. Raises ``BadInputError`` for fewer than one
    time, for a period shorter than the span, or when session numbers no longer fit in 32 bits.
    """
    gap_s = trace.span_s / max(1, len(trace) - 1)
    period_us = round((trace.span_s + gap_s if period_s is None else period_s) * US_PER_S)
    if times < 1 or (len(trace) and period_us < trace.t_us[-1]):
        raise BadInputError(
            f"repeat trace {trace.name!r}",
            found=f"{times} times, period {period_us / US_PER_S} s",
            allowed=f"1 or more times, a period of at least the span of {trace.span_s} s",
        )
    columns: dict[str, Any] = {key: np.tile(col, times) for key, col in columns_of(trace).items()}
    rounds = np.repeat(np.arange(times, dtype=np.int64), len(trace))
    columns["t_us"] = columns["t_us"] + rounds * period_us
    if trace.session is not None:
        columns["session"] = _session_of_copy(trace, columns["session"], rounds, times)
    return msgspec.structs.replace(trace, **columns)


def merge(traces: Sequence[Trace], *, name: str | None = None) -> Trace:
    """All requests of ``traces`` in order of time; at equal times the earlier trace comes first.

    Classes and models of equal name become one. Sessions stay apart. A column that only some traces
    have is filled: no reasoning tokens (0), any model (-1), a session of its own each. Deadlines
    have no neutral value: raises ``BadInputError`` when some traces have them and others do not, or
    when there is no trace.
    """
    if not traces:
        raise BadInputError("merge traces", found="no traces", allowed="one or more")
    with_deadline = [trace.deadline_us is not None for trace in traces]
    if any(with_deadline) and not all(with_deadline):
        raise BadInputError(
            "merge traces",
            found="deadlines in some of them only",
            allowed="deadlines in all or in none",
            todo="drop the column, or give every trace deadlines",
        )
    classes = tuple(dict.fromkeys(label for trace in traces for label in trace.classes))
    models = tuple(dict.fromkeys(label for trace in traces for label in trace.models))
    t_us = np.concatenate([trace.t_us for trace in traces])
    order = np.argsort(t_us, kind="stable")
    columns: dict[str, Any] = {"t_us": t_us[order]}
    for key in ("input_tokens", "output_tokens"):
        columns[key] = np.concatenate([getattr(trace, key) for trace in traces])[order]
    columns["class_code"] = np.concatenate(
        [_recoded(trace.class_code, trace.classes, classes) for trace in traces]
    )[order]
    for key in OPTIONAL_COLUMNS:
        if any(getattr(trace, key) is not None for trace in traces):
            columns[key] = _merged_optional(traces, key, models)[order]
    label = "+".join(dict.fromkeys(trace.name for trace in traces)) if name is None else name
    return Trace(name=label, classes=classes, models=models, **columns)


def multiply(
    trace: Trace,
    factor: float,
    *,
    seed: int,
    jitter_s: float = 5.0,
    chunk_requests: int = CHUNK_REQUESTS,
    name: str | None = None,
) -> TraceSource:
    """The trace with ``factor`` times its requests, as a stream of pieces.

    Each request comes ``floor(factor)`` times, and ``round(fraction * n)`` requests drawn by the
    seed once more, so that the number of requests is exact. A copy keeps its request's lengths and
    class. The first copy arrives when the request did; each further one is moved by a uniform
    jitter within ``jitter_s`` seconds either way, reflected at 0 and at the last arrival. So the
    span and all that is slower than ``jitter_s`` stay as they were (the slow movement of the rate
    is what loads a fleet), while copies do not coincide; and a factor of 1 gives the trace back.
    Sessions of different copies are different sessions. The stream is the same to the bit for the
    same seed, whatever ``chunk_requests``.

    Chance slower than the jitter is multiplied with the rest, so the result varies a little more
    than as many independent requests would.

    Memory: a few blocks of 131,072 requests plus what arrives within two jitters. Raises
    ``BadInputError`` for a factor that is not positive and finite, for a negative jitter, or when
    session numbers no longer fit in 32 bits.
    """
    _check_factor(trace, factor)
    if not (math.isfinite(jitter_s) and jitter_s >= 0):
        raise BadInputError(
            f"multiply trace {trace.name!r}",
            found=f"jitter_s {jitter_s}",
            allowed="a finite number of seconds >= 0",
        )
    whole = math.floor(factor)
    extra = round((factor - whole) * len(trace))
    if trace.session is not None:
        _check_session_room(trace, whole + 1)

    def chunks() -> Iterator[Trace]:
        named = msgspec.structs.replace(trace, name=label)
        blocks = _multiplied_blocks(named, whole, extra, seed=seed, jitter_s=jitter_s)
        return rechunk(blocks, chunk_requests)

    label = f"{trace.name} x{factor:g}" if name is None else name
    return TraceSource(
        name=label,
        classes=trace.classes,
        chunks=chunks,
        requests=whole * len(trace) + extra,
        span_s=trace.span_s,
        models=trace.models,
    )


def _multiplied_blocks(
    trace: Trace, whole: int, extra: int, *, seed: int, jitter_s: float
) -> Iterator[Trace]:
    """Sorted pieces of the multiplied trace, each closed before the next one's earliest arrival.

    A copy is known by ``flat = row * stride + copy``; the sort runs on ``(time, flat)`` packed into
    one integer. Ties in time are thus broken by row and copy, which no block border changes.
    """
    count = len(trace)
    if not count:
        return
    stride = 1 << whole.bit_length()
    last_us = int(trace.t_us[-1])
    jitter_us = min(round(jitter_s * US_PER_S), last_us)
    copies = np.full(count, whole, np.int64)
    copies[stream(seed, "workload.transform.multiply", "extra").permutation(count)[:extra]] += 1
    rng = stream(seed, "workload.transform.multiply", "jitter")
    total = int(copies.sum())
    in_jitter = total * min(1.0, 2 * jitter_us / max(1, last_us))
    edges = _block_edges(copies, max(_BLOCK_REQUESTS, int(in_jitter)))
    held_t = np.zeros(0, np.int64)
    held_flat = np.zeros(0, np.int64)
    for first, last in itertools.pairwise(edges):
        t_us, flat = _jittered(trace.t_us, copies, first, last, stride, jitter_us, rng)
        held_t = np.concatenate([held_t, t_us])
        held_flat = np.concatenate([held_flat, flat])
        if last < count:
            closed = held_t < trace.t_us[last] - jitter_us
            t_us, flat = held_t[closed], held_flat[closed]
            held_t, held_flat = held_t[~closed], held_flat[~closed]
        else:
            t_us, flat = held_t, held_flat
        if len(t_us):
            t_us, flat = _sorted_pairs(t_us, flat)
            yield _of_copies(trace, t_us, flat, stride, whole + 1)


def _block_edges(copies: NDArray[np.int64], block_requests: int) -> list[int]:
    """Row numbers that cut the trace into blocks of about ``block_requests`` copies each."""
    running = np.cumsum(copies)
    marks = np.arange(block_requests, int(running[-1]), block_requests)
    inner = np.unique(np.searchsorted(running, marks) + 1)
    return [0, *inner[inner < len(copies)].tolist(), len(copies)]


def _jittered(
    t_us: NDArray[np.int64],
    copies: NDArray[np.int64],
    first: int,
    last: int,
    stride: int,
    jitter_us: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Times [us] and flat numbers of the copies of rows ``first`` to ``last``, not yet sorted."""
    counts = copies[first:last]
    starts = np.cumsum(counts) - counts
    total = int(counts.sum())
    copy = np.arange(total) - np.repeat(starts, counts)
    flat = np.repeat(np.arange(first, last, dtype=np.int64) * stride, counts) + copy
    times = np.repeat(t_us[first:last], counts)
    if jitter_us:
        moved = times + rng.integers(-jitter_us, jitter_us, size=total, endpoint=True)
        end = t_us[-1]
        np.abs(moved, out=moved)
        np.subtract(end, np.abs(np.subtract(end, moved, out=moved), out=moved), out=moved)
        first_copy = starts[counts > 0]
        moved[first_copy] = times[first_copy]
        times = moved
    return times, flat


def _sorted_pairs(
    t_us: NDArray[np.int64], flat: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both arrays in order of ``(t_us, flat)``."""
    low_t, low_flat = int(t_us.min()), int(flat.min())
    bits = max(1, int(flat.max() - low_flat).bit_length())
    if int(t_us.max() - low_t).bit_length() + bits > 63:  # a block that spans centuries
        order = np.lexsort((flat, t_us))
        return t_us[order], flat[order]
    packed = ((t_us - low_t) << bits) | (flat - low_flat)
    packed.sort()
    return (packed >> bits) + low_t, (packed & ((1 << bits) - 1)) + low_flat


def _of_copies(
    trace: Trace, t_us: NDArray[np.int64], flat: NDArray[np.int64], stride: int, rounds: int
) -> Trace:
    """The trace of the copies ``flat`` that arrive at ``t_us``."""
    rows = flat >> (stride.bit_length() - 1)
    columns: dict[str, Any] = {
        key: values.take(rows) for key, values in columns_of(trace).items() if key != "t_us"
    }
    if trace.session is not None:
        columns["session"] = _session_of_copy(
            trace, columns["session"], flat & (stride - 1), rounds
        )
    return msgspec.structs.replace(trace, t_us=t_us, **columns)


def _session_of_copy(
    trace: Trace, session: NDArray[np.int32], copy: NDArray[np.int64], rounds: int
) -> NDArray[np.int32]:
    """Session numbers that differ between copies: copy k of session s is s + k * (largest + 1)."""
    width = _check_session_room(trace, rounds)
    return np.where(session < 0, session, session + copy * width).astype(np.int32)


def _check_session_room(trace: Trace, rounds: int) -> int:
    """One more than the largest session number; ``BadInputError`` when ``rounds`` do not fit."""
    assert trace.session is not None
    width = int(trace.session.max(initial=-1)) + 1
    if width * rounds > _INT32_MAX:
        raise BadInputError(
            f"copies of the sessions of trace {trace.name!r}",
            found=f"{rounds} copies of session numbers up to {width - 1}",
            allowed=f"at most {_INT32_MAX} in all",
            todo="number the sessions from 0 without gaps, or drop the session column",
        )
    return width


def _check_factor(trace: Trace, factor: float) -> None:
    """Raise ``BadInputError`` unless ``factor`` is positive and finite."""
    if not (math.isfinite(factor) and factor > 0):
        raise BadInputError(
            f"factor for trace {trace.name!r}",
            found=str(factor),
            allowed="a positive, finite number",
        )


def _recoded(
    codes: NDArray[np.int16], labels: tuple[str, ...], common: tuple[str, ...]
) -> NDArray[np.int16]:
    """Codes into ``labels`` as codes into ``common``; -1 (none) stays."""
    table = np.array([*(common.index(label) for label in labels), -1], np.int16)
    return table[codes]


def _merged_optional(traces: Sequence[Trace], key: str, models: tuple[str, ...]) -> NDArray[Any]:
    """The optional column ``key`` of all traces one after the other, holes filled."""
    parts: list[NDArray[Any]] = []
    next_session = 0
    for trace in traces:
        values = getattr(trace, key)
        if key == "session":
            own = np.arange(len(trace), dtype=np.int64) if values is None else values.astype(int)
            part = np.where(own < 0, own, own + next_session)
            next_session = max(next_session, int(part.max(initial=-1)) + 1)
            if next_session > _INT32_MAX:
                raise BadInputError("merge traces", found="too many sessions", allowed="below 2^31")
            parts.append(part.astype(np.int32))
        elif key == "model_code":
            none = np.full(len(trace), -1, np.int16)
            parts.append(none if values is None else _recoded(values, trace.models, models))
        else:
            parts.append(np.zeros(len(trace), np.int32) if values is None else values)
    return np.concatenate(parts)


def vary(trace: Trace, *, seed: int, jitter_s: float) -> Trace:
    """The trace as chance could have made it: every arrival moved by up to ``jitter_s`` [s].

    Moves are uniform and reflected at the trace's ends, so its span and the slow modulation of its
    rate stay; requests keep their lengths. Raises ``BadInputError`` for a negative ``jitter_s``.
    """
    if not (math.isfinite(jitter_s) and jitter_s >= 0):
        raise BadInputError(
            f"trace {trace.name!r}: jitter_s", found=repr(jitter_s), allowed="a finite number >= 0"
        )
    reach_us, end_us = round(jitter_s * US_PER_S), int(trace.t_us[-1]) if len(trace) else 0
    moves = stream(seed, "vary", "jitter").integers(
        -reach_us, reach_us, size=len(trace), endpoint=True
    )
    moved = np.clip(end_us - np.abs(end_us - np.abs(trace.t_us + moves)), 0, end_us)
    order = np.argsort(moved, kind="stable")
    return msgspec.structs.replace(take(trace, order), t_us=moved[order])
