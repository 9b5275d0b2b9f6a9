"""The trace of a scenario file: where requests come from, and how many of them.

Every field is documented in docs/reference/scenario.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from baseload.base.errors import BadInputError, unknown_name
from baseload.base.units import S_PER_DAY
from baseload.cli.scenario_fields import number, within
from baseload.simulator.scenario import Group, fleet_capacity_per_s
from baseload.sources import BUILTIN_TRACES, builtin_trace, load_trace
from baseload.sources.traces import ZeroTokens
from baseload.workload import generator
from baseload.workload.chunks import source_of
from baseload.workload.load import TokenLoad, busiest_minutes
from baseload.workload.trace import Trace, TraceSource
from baseload.workload.transform import multiply, slice_time, vary

MAX_REQUESTS = 1_000_000_000
MAX_SPAN_S = 366 * 86_400.0
MAX_LOAD = 100.0
_PROBE_PER_MINUTE, _LEAST_PROBED, _MOST_PROBED = 2_000.0, 200_000.0, 4_000_000.0
_SAMPLED = 20_000.0


class GenerateEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A generated trace: how many requests (or which mean rate), for how long, in which mix of
    classes.
    """

    requests: float | None = None
    mean_rate_per_s: float | None = None
    span_s: float = 86_400.0
    start_hour: float = 0.0
    mix: dict[str, float] | None = None


class TraceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where requests come from, how a file is read, and what is done to them.

    One of ``builtin``, ``file``, ``generate``. ``multiply`` or ``load_frac`` (multiply to that
    share of the fleet's capacity in the busiest minutes); ``start_s``, ``stop_s`` cut the trace
    before.
    """

    builtin: str | None = None
    file: str | None = None
    generate: GenerateEntry | None = None
    format: str | None = None
    class_name: str | None = None
    sort: bool = False
    zero_tokens: ZeroTokens | None = None
    keep_models: bool = False
    start_s: float | None = None
    stop_s: float | None = None
    multiply: float | None = None
    load_frac: float | None = None
    jitter_s: float = 5.0


def check_trace_entry(entry: TraceEntry) -> None:
    """Refuse sources that are none or several, fields that would change nothing, odd numbers."""
    given = [name for name in ("builtin", "file", "generate") if getattr(entry, name) is not None]
    if len(given) != 1:
        raise BadInputError(
            "scenario field trace",
            found=", ".join(given) or "no source",
            allowed="one of builtin, file, generate",
        )
    reading = ("format", "class_name", "sort", "zero_tokens", "keep_models")
    useless = {
        "builtin": reading,
        "file": (),
        "generate": (*reading, "start_s", "stop_s"),
    }[given[0]]
    for name in useless:
        value = getattr(entry, name)
        if value not in (None, False):
            raise BadInputError(
                f"scenario field trace.{name}",
                found=f"{name}: {value} beside {given[0]}",
                allowed=f"{name} goes with file" + (" or builtin" if name.endswith("_s") else ""),
                todo="take it out",
            )
    number(entry.multiply, "trace.multiply", low=0, high=MAX_REQUESTS, above=True)
    check_load(entry.load_frac, "scenario field trace.load_frac")
    number(entry.jitter_s, "trace.jitter_s", low=0, high=MAX_SPAN_S)
    number(entry.start_s, "trace.start_s", low=0, high=math.inf)
    number(entry.stop_s, "trace.stop_s", low=entry.start_s or 0, high=math.inf, above=True)
    made = entry.generate
    if made is not None:
        number(made.span_s, "trace.generate.span_s", low=0, high=MAX_SPAN_S, above=True)
        number(made.start_hour, "trace.generate.start_hour", low=0, high=24)
    sizes = [name for name in ("requests", "mean_rate_per_s") if made and _given(made, name)]
    sizes += ["load_frac"] if entry.load_frac is not None else []
    if made is not None and len(sizes) != 1:
        raise BadInputError(
            "scenario field trace: how many requests to generate",
            found=" and ".join(sizes) or "nothing that says it",
            allowed="one of generate.requests, generate.mean_rate_per_s, load_frac",
        )
    if entry.multiply is not None and entry.load_frac is not None:
        raise BadInputError(
            "scenario field trace", found="multiply and load_frac", allowed="one of them"
        )


def _given(entry: GenerateEntry, name: str) -> bool:
    return getattr(entry, name) is not None


def check_load(load_frac: float | None, asked: str) -> None:
    """Refuse a load that is not above 0 and below 100."""
    if load_frac is not None and not 0 < load_frac < MAX_LOAD:
        raise BadInputError(
            asked,
            found=repr(load_frac),
            allowed=f"a number above 0 and below {MAX_LOAD:g} (1 is all that the fleet can do)",
        )


def requests_of(
    entry: TraceEntry, folder: Path, groups: tuple[Group, ...]
) -> tuple[Callable[[int], TraceSource], Trace, list[str]]:
    """The trace of each seed, a sample of its requests, and what was noticed when it was read."""
    if entry.generate is not None:
        of_any = _generated(entry.generate, entry, groups)
        return of_any, _sample(entry.generate), []
    trace, notes = _recorded(entry, folder)
    factor = 1.0 if entry.multiply is None else entry.multiply
    if entry.load_frac is not None:
        factor = _factor_for(
            entry.load_frac, source_of(trace), busiest_minutes(source_of(trace)), groups
        )
    _check_count(factor * len(trace), f"{len(trace):,} requests times {factor:g}")

    def of_seed(seed: int) -> TraceSource:
        if factor != 1.0:
            return multiply(trace, factor, seed=seed, jitter_s=entry.jitter_s)
        return source_of(vary(trace, seed=seed, jitter_s=entry.jitter_s) if seed else trace)

    return of_seed, trace, notes


class PlannedTrace(NamedTuple):
    """A trace as a plan reads it: each request of ``source`` stands for ``scale`` of the
    scenario's. ``notes``: what was noticed, or left out.
    """

    source: TraceSource
    scale: float
    notes: list[str]


def planned_trace(
    entry: TraceEntry,
    folder: Path,
    groups: tuple[Group, ...],
    *,
    most_requests: int,
    most_days: int,
) -> PlannedTrace:
    """The trace of an entry that has been checked, small enough to be read at once: generated for
    at most ``most_days`` and about ``most_requests``, copies of recorded requests counted instead
    of made.
    """
    if entry.generate is None:
        trace, notes = _recorded(entry, folder)
        source = source_of(trace)
        factor = 1.0 if entry.multiply is None else entry.multiply
        if entry.load_frac is not None:
            factor = _factor_for(entry.load_frac, source, busiest_minutes(source), groups)
        if factor >= 1.0:
            return PlannedTrace(source, factor, notes)
        return PlannedTrace(multiply(trace, factor, seed=0, jitter_s=entry.jitter_s), 1.0, notes)
    made = entry.generate
    of_seed = _generated(made, entry, groups)
    expected = float(of_seed(0).requests)
    span_s = min(made.span_s, most_days * S_PER_DAY)
    short = expected * span_s / made.span_s
    scale = max(1.0, short / most_requests)
    notes = []
    if span_s < made.span_s:
        notes.append(
            f"The demand is that of {span_s / S_PER_DAY:g} generated days; the other"
            f" {(made.span_s - span_s) / S_PER_DAY:g} are made in the same way."
        )
    entry_of_days = msgspec.structs.replace(made, span_s=span_s)
    return PlannedTrace(_of_size(entry_of_days, requests=short / scale), scale, notes)


def _check_count(requests: float, found: str) -> None:
    """Refuse traces that round to nothing, and those that no one would wait for."""
    if not 0.5 < requests <= MAX_REQUESTS:
        raise BadInputError(
            "scenario field trace: number of requests",
            found=found,
            allowed=f"1 to {MAX_REQUESTS:,} requests in all",
            todo="change multiply, load or the trace",
        )


def _recorded(entry: TraceEntry, folder: Path) -> tuple[Trace, list[str]]:
    """A recorded trace, cut as asked, and what was noticed when it was read."""
    notes: list[str] = []
    if entry.builtin is not None:
        if entry.builtin not in BUILTIN_TRACES:
            raise unknown_name("built-in trace", entry.builtin, BUILTIN_TRACES)
        trace = builtin_trace(entry.builtin)
    else:
        assert entry.file is not None
        with within("trace.file"):
            loaded = load_trace(
                folder / entry.file,
                format=entry.format,
                class_name="chat" if entry.class_name is None else entry.class_name,
                sort=entry.sort,
                zero_tokens=entry.zero_tokens,
                keep_models=entry.keep_models,
            )
        trace, notes = loaded.trace, loaded.remarks()
    span_s = trace.span_s
    if entry.start_s is not None or entry.stop_s is not None:
        stop_s = span_s + 1e-6 if entry.stop_s is None else entry.stop_s
        start_s = entry.start_s or 0.0
        trace = slice_time(trace, min(start_s, stop_s), stop_s)
    if not len(trace):
        raise BadInputError(
            "scenario field trace: no request arrives between start_s and stop_s",
            found=f"arrivals up to {span_s:g} s",
            allowed=f"start_s below {span_s:g}, stop_s above it",
        )
    if trace.span_s > MAX_SPAN_S:
        raise BadInputError(
            f"scenario field trace: {trace.name} is longer than a year",
            found=f"a last arrival {trace.span_s / 86_400:,.0f} days after time 0",
            allowed="366 days",
            todo="let times count from the first request, not from 1970; check their unit",
        )
    return trace, notes


def _factor_for(
    load_frac: float, source: TraceSource, load: TokenLoad, groups: tuple[Group, ...]
) -> float:
    """By how much to multiply a trace so that its busiest minutes offer ``load_frac`` of the
    fleet's capacity.

    The busiest minutes are the 95th percentile of one-minute windows.
    """
    if not load.requests_per_s > 0:
        raise BadInputError(
            "load of a trace with hardly any requests",
            found=f"{source.requests:,} requests in {source.span_s:,.0f} s: its busiest minutes "
            "(the 95th percentile) have none",
            allowed="a trace with requests in at least one of twenty minutes",
            todo="use multiply in place of a load",
        )
    return load_frac * fleet_capacity_per_s(groups, load) / load.requests_per_s


def _generated(
    entry: GenerateEntry, trace: TraceEntry, groups: tuple[Group, ...]
) -> Callable[[int], TraceSource]:
    """A generated trace of each seed."""
    sizes = {"requests": entry.requests, "mean_rate_per_s": entry.mean_rate_per_s}
    if trace.load_frac is not None:
        with within("trace.generate"):
            probe, load = _probe(msgspec.json.encode(entry))
        factor = _factor_for(trace.load_frac, probe, load, groups)
        sizes = {"requests": probe.requests * factor, "mean_rate_per_s": None}
    if trace.multiply is not None:
        sizes = {
            key: None if size is None else size * trace.multiply for key, size in sizes.items()
        }

    def of_seed(seed: int) -> TraceSource:
        return generator.generate(
            seed=seed,
            span_s=entry.span_s,
            start_hour=entry.start_hour,
            mix=entry.mix,
            requests=sizes["requests"],
            mean_rate_per_s=sizes["mean_rate_per_s"],
        )

    with within("trace.generate"):  # a wrong size or mix is refused here, before anything runs
        expected = of_seed(0).requests
    _check_count(expected, f"about {expected:,} requests")
    return of_seed


@functools.lru_cache(maxsize=8)
def _probe(entry: bytes) -> tuple[TraceSource, TokenLoad]:
    """A generated trace of many requests a minute, so that chance hardly moves its busiest minutes,
    and their load; ``entry`` is JSON of a ``GenerateEntry``.
    """
    made = msgspec.json.decode(entry, type=GenerateEntry)
    wanted = _PROBE_PER_MINUTE * made.span_s / 60.0
    probe = _of_size(made, requests=min(_MOST_PROBED, max(_LEAST_PROBED, wanted)))
    return probe, busiest_minutes(probe)


def _sample(entry: GenerateEntry) -> Trace:
    """Some requests of the first day of a generated trace, for their lengths."""
    day = msgspec.structs.replace(entry, span_s=min(entry.span_s, S_PER_DAY))
    source = _of_size(day, requests=_SAMPLED)
    return next(piece for piece in source.chunks() if len(piece))


def _of_size(entry: GenerateEntry, *, requests: float) -> TraceSource:
    """A generated trace with another number of requests than the file says."""
    with within("trace.generate"):
        return generator.generate(
            seed=0,
            span_s=entry.span_s,
            start_hour=entry.start_hour,
            mix=entry.mix,
            requests=requests,
        )
