"""What a replay sends and when: a window of a trace, at the rate and speed asked for. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from baseload.base.errors import BadInputError
from baseload.base.streams import stream
from baseload.base.units import US_PER_S
from baseload.workload.chunks import collect, concatenate, take
from baseload.workload.tiers import Tier
from baseload.workload.trace import Trace, TraceSource
from baseload.workload.transform import multiply, speed_up

MOST_REQUESTS = 5_000_000
NO_TIER = "none"
"""The word for a request that says nothing about its tier."""


class Planned(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One request to send: ``due_ns`` from the start of the run, lengths as recorded, the name of
    its tier (``none``: it says nothing), the number of its session (-1: none).
    """

    number: int
    due_ns: int
    input_tokens: int
    output_tokens: int
    tier: str
    session: int = -1


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All requests of a run in order of time. ``trace``: the same as a trace, so that a simulation
    can replay exactly them; ``promises``: each tier's; ``notes``: what a reader should know.
    """

    trace: Trace
    requests: tuple[Planned, ...]
    promises: tuple[Tier, ...]
    notes: tuple[str, ...] = ()

    @property
    def span_s(self) -> float:
        """From the start to the last sending [s]."""
        return self.trace.span_s


def window(source: TraceSource, start_s: float, length_s: float) -> Trace:
    """The requests that arrive in ``length_s`` seconds from ``start_s`` on, which becomes 0. A
    source is read no further than that.

    Raises ``BadInputError`` where none does.
    """
    first_us, stop_us = round(start_s * US_PER_S), round((start_s + length_s) * US_PER_S)
    pieces = []
    for piece in source.chunks():
        low, high = np.searchsorted(piece.t_us, [first_us, stop_us])
        if high > low:
            pieces.append(take(piece, slice(int(low), int(high))))
        if len(piece) and piece.t_us[-1] >= stop_us:
            break
    if not pieces:
        raise BadInputError(
            f"requests of {source.name} from {start_s:g} s on, for {length_s:g} s",
            found="none",
            allowed=f"a window with requests; the trace ends at {source.span_s:,.0f} s",
            todo="choose another --start, or more --seconds",
        )
    whole = concatenate(pieces, name=source.name)
    return msgspec.structs.replace(whole, t_us=whole.t_us - first_us)


def planned(
    source: TraceSource,
    *,
    tiers: Sequence[Tier],
    tier_names: Mapping[str, str] | str | None = None,
    start_s: float = 0.0,
    seconds: float = 60.0,
    rate_per_s: float | None = None,
    speed: float = 1.0,
    most_requests: int | None = None,
    seed: int = 0,
) -> LoadPlan:
    """The plan of a run of ``seconds``: the trace from ``start_s`` on, ``speed`` times as fast,
    with copies added (moved by up to 5 s) or requests left out until the mean rate is
    ``rate_per_s``.

    ``tier_names``: one tier for all, or the tier of each class that is not as ``tiers`` say. Raises
    ``BadInputError`` for numbers out of range and windows without requests.
    """
    _check(start_s, seconds, rate_per_s, speed, most_requests)
    cut = window(source, start_s, seconds * speed)
    notes = []
    if source.span_s < start_s + 0.98 * seconds * speed:
        notes.append(
            f"the trace ends after {source.span_s - start_s:,.0f} s of the"
            f" {seconds * speed:,.0f} s asked for"
        )
    if speed != 1.0:
        cut = speed_up(cut, speed)
    if rate_per_s is not None:
        length_s = seconds if not notes else max(cut.span_s, 1.0 / rate_per_s)
        cut = _at_rate(cut, rate_per_s * length_s, seed)
    if most_requests is not None:
        cut = take(cut, slice(0, most_requests))
    if not 1 <= len(cut) <= MOST_REQUESTS:
        raise BadInputError(
            "requests to send",
            found=f"{len(cut):,}",
            allowed=f"1 to {MOST_REQUESTS:,}",
            todo="change --rate, --seconds or --max-requests",
        )
    names = _tiers_of(cut.classes, tiers, tier_names)
    return LoadPlan(
        trace=cut, requests=_requests(cut, names), promises=tuple(tiers), notes=tuple(notes)
    )


def text_offsets(plan: LoadPlan, seed: int, length: int) -> list[int]:
    """Where in a text of ``length`` bytes each request's prompt begins."""
    rng = stream(seed, "gateway.load", "prompts")
    found: list[int] = rng.integers(0, length, size=len(plan.requests)).tolist()
    return found


def _at_rate(trace: Trace, wanted: float, seed: int) -> Trace:
    """The trace with about ``wanted`` requests, in the same time."""
    if not 0.5 <= wanted <= MOST_REQUESTS:
        raise BadInputError(
            "requests to send", found=f"about {wanted:,.1f}", allowed=f"1 to {MOST_REQUESTS:,}"
        )
    made = collect(multiply(trace, round(wanted) / len(trace), seed=seed))
    return msgspec.structs.replace(made, name=trace.name)


def _tiers_of(
    classes: Sequence[str], tiers: Sequence[Tier], said: Mapping[str, str] | str | None
) -> list[str]:
    """The tier of each class, by name."""
    if isinstance(said, str):
        return [said] * len(classes)
    own = dict(said or {})
    unknown = sorted(set(own) - set(classes))
    if unknown:
        raise BadInputError(
            f"--tier {unknown[0]}={own[unknown[0]]}",
            found=f"no requests of class {unknown[0]!r} in this trace",
            allowed=f"its classes: {', '.join(classes)}",
        )
    by_class = {name: tier.name for tier in tiers for name in tier.classes} | own
    return [by_class.get(name, NO_TIER) for name in classes]


def _requests(trace: Trace, tier_of_code: Sequence[str]) -> tuple[Planned, ...]:
    """The rows of the trace, one by one."""
    sessions = [-1] * len(trace) if trace.session is None else trace.session.tolist()
    columns = zip(
        (trace.t_us * 1000).tolist(),
        trace.input_tokens.tolist(),
        trace.output_tokens.tolist(),
        trace.class_code.tolist(),
        sessions,
        strict=True,
    )
    return tuple(
        Planned(
            number=number,
            due_ns=due_ns,
            input_tokens=given,
            output_tokens=made,
            tier=tier_of_code[code],
            session=session,
        )
        for number, (due_ns, given, made, code, session) in enumerate(columns)
    )


def _check(
    start_s: float,
    seconds: float,
    rate_per_s: float | None,
    speed: float,
    most_requests: int | None,
) -> None:
    """Refuse flags that are out of range."""
    rules: list[tuple[str, float, bool, str]] = [
        ("--start", start_s, start_s >= 0, "seconds, 0 or more"),
        ("--seconds", seconds, seconds > 0, "seconds above 0"),
        ("--speed", speed, speed > 0, "a number above 0"),
    ]
    if rate_per_s is not None:
        rules.append(("--rate", rate_per_s, rate_per_s > 0, "requests a second, above 0"))
    if most_requests is not None:
        rules.append(("--max-requests", most_requests, most_requests >= 1, "1 or more"))
    for flag, value, good, allowed in rules:
        if not (good and math.isfinite(value)):
            raise BadInputError(flag, found=f"{value:g}", allowed=allowed)
