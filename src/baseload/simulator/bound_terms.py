"""The arithmetic of the clairvoyant bound: the least that each request can draw above rest.

docs/explanation/bound.md states and proves it, with the names used here. A *choice* is one row of
multipliers a type: any choice within its limits gives a valid bound, ``tune`` looks for the one
that gives the highest.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel, outline_kernel
from baseload.simulator.closed_forms import series_sum

Floats: TypeAlias = NDArray[np.float64]
Records: TypeAlias = np.recarray[Any, Any]
Row: TypeAlias = Any

TYPE = np.dtype(
    [
        *((name, np.int64) for name in ("model", "longest", "seats", "kv_tokens", "step_tokens")),
        *((name, np.float64) for name in ("replica_s", "late", "lowest_w", "static_w", "cap_w")),
        *(
            (f"{unit}_{feature}", np.float64)
            for unit in ("time_s", "energy_j")
            for feature in ("step", "sequence", "context", "prefill", "experts")
        ),
        *((name, np.float64) for name in ("hit_one", "hit_more", "hit_token", "hit_rise")),
        ("stretches", np.int64),
    ]
)
"""A replica type as the bound sees it.

``seats``: most sequences in one step. ``replica_s``: replicas times the span of the trace [s].
``late``: most requests that its replicas can have in flight when the trace ends; ``lowest_w``: the
least credit worth trying.
``hit_one + hit_more * (b - 1)`` and ``hit_token + hit_rise * (b + p - 1)``: two lower bounds on the
share of experts that a step reads. ``stretches``: 1 where no dynamic energy is negative, so that
the stretched step may serve as a bound.
"""

PROMISE = np.dtype([("ttft_s", np.float64), ("tpot_s", np.float64), ("e2e_s", np.float64)])
"""What a class of requests is promised [s], infinite where nothing is."""

# Columns of a choice.
CREDIT, CAPPED, BY_TOKEN, BY_KV, BY_TOKENS, LATE_S = 0, 1, 2, 3, 4, 5
CHOICES = 6
# Columns of the coefficients of a type, at its credit; the same again at credit 0.
PER_SEAT, PER_STEP, PER_HELD, PER_TOKEN, PER_CONTEXT, PER_PREFILL = 0, 1, 2, 3, 4, 5
COEFFICIENTS = 6
# Columns of the sums: a row a type, then one of counts beside them.
REQUESTS, ENERGY, SECONDS, LONGEST_S = 0, 1, 2, 3
NO_TYPE, TOO_LATE, MISSED, LARGEST_J = 0, 1, 2, 3
SUMS = 4

NO_MISS_J = 1e300
"""Price of a miss when none is allowed."""

_ROUND_OFF = 1e-9
_CLIMBS = 160
_CUTS = 16
_SWEEPS = 2
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


class Problem(NamedTuple):
    """What a bound is made of: ``k`` types, the choice, and room for what follows from it."""

    types: Records  # [k] of TYPE
    promises: Records  # [classes] of PROMISE; [0] when no promise has to be kept
    span_s: Floats  # [1] from 0 to the last arrival
    limits: Floats  # [k + 1, CHOICES] the most that each number of the choice may be
    choice: Floats  # [k + 1, CHOICES]; [k, 0] is the price of a miss [J]
    coefficients: Floats  # [k, 2 * COEFFICIENTS] [J]
    sums: Floats  # [k + 1, SUMS]
    best: Floats  # like choice: scratch


@kernel
def _above(kind: Row, credit_w: float, capped_frac: float, time_s: float, energy_j: float) -> float:
    """Least joules above ``credit_w`` of a unit of work that takes ``time_s`` and ``energy_j``
    before the power cap.
    """
    dynamic_j = energy_j - kind.static_w * time_s
    stretched_s = dynamic_j / (kind.cap_w - kind.static_w)
    if credit_w > kind.static_w:
        longest_s = max(time_s, stretched_s)
        return float(max(0.0, dynamic_j - (credit_w - kind.static_w) * longest_s))
    mixed_s = (1.0 - capped_frac) * time_s + capped_frac * stretched_s
    return float(max(0.0, dynamic_j + (kind.static_w - credit_w) * mixed_s))


@kernel
def _set(kind: Row, choice: Floats, credit_w: float, out: Floats, at: int) -> None:
    """Write the six coefficients of a type into ``out[at:]``, its credit being ``credit_w``."""
    capped, token = choice[CAPPED], choice[BY_TOKEN]
    step_j = _above(kind, credit_w, capped, kind.time_s_step, kind.energy_j_step)
    seat_j = _above(kind, credit_w, capped, kind.time_s_sequence, kind.energy_j_sequence)
    context_j = _above(kind, credit_w, capped, kind.time_s_context, kind.energy_j_context)
    prefill_j = _above(kind, credit_w, capped, kind.time_s_prefill, kind.energy_j_prefill)
    experts_j = _above(kind, credit_w, capped, kind.time_s_experts, kind.energy_j_experts)
    seat_hits = (1.0 - token) * kind.hit_more + token * kind.hit_rise
    first_hits = (1.0 - token) * (kind.hit_one - kind.hit_more)
    first_hits += token * (kind.hit_token - kind.hit_rise)
    step_j += experts_j * first_hits
    seat_j += experts_j * seat_hits
    prefill_j += experts_j * token * kind.hit_rise
    by_kv = choice[BY_KV]
    by_tokens = (1.0 - by_kv) * choice[BY_TOKENS]
    out[at + PER_SEAT] = seat_j
    out[at + PER_STEP] = step_j * (1.0 - by_kv - by_tokens)
    out[at + PER_HELD] = step_j * by_kv / kind.kv_tokens
    out[at + PER_TOKEN] = step_j * by_tokens / kind.step_tokens
    out[at + PER_CONTEXT] = min(context_j, prefill_j)
    out[at + PER_PREFILL] = prefill_j


@outline_kernel
def set_coefficients(problem: Problem) -> None:
    """Fill the coefficients for the choice."""
    for number in range(problem.types.shape[0]):
        kind, row = problem.types[number], problem.choice[number]
        out = problem.coefficients[number]
        _set(kind, row, row[CREDIT], out, 0)
        _set(kind, row, 0.0, out, COEFFICIENTS)


@kernel
def _pace(kind: Row, stretched: bool, time_s: float, energy_j: float) -> float:
    """Least seconds of a unit of work: as it is, or as the power cap would stretch it."""
    if stretched:
        return float((energy_j - kind.static_w * time_s) / (kind.cap_w - kind.static_w))
    return float(time_s)


@kernel
def _shape(kind: Row, row: Row) -> tuple[int, int, float, float]:
    """What a request takes of a type at least: steps that process its prompt, steps that decode,
    context tokens read by the former and by the latter.
    """
    given = int(row.input_tokens)
    decodes = min(int(row.output_tokens), kind.longest - given + 1) - 1
    chunks = (given + kind.step_tokens - 1) // kind.step_tokens
    again = (chunks - 1.0) * given - kind.step_tokens * 0.5 * chunks * (chunks - 1.0)
    return chunks, decodes, again, series_sum(float(given), 1.0, decodes)


@kernel
def _most_beside(kind: Row, promise: Row, row: Row, stretched: bool) -> float:
    """Most sequences, itself included, that a request's decode steps may have in the mean if it
    keeps its promise; below 1 if it cannot keep it.
    """
    chunks, decodes, again, context = _shape(kind, row)
    experts_s = _pace(kind, stretched, kind.time_s_experts, kind.energy_j_experts)
    step_s = _pace(kind, stretched, kind.time_s_step, kind.energy_j_step)
    seat_s = _pace(kind, stretched, kind.time_s_sequence, kind.energy_j_sequence)
    token_s = _pace(kind, stretched, kind.time_s_prefill, kind.energy_j_prefill)
    read_s = _pace(kind, stretched, kind.time_s_context, kind.energy_j_context)
    step_s += experts_s * (kind.hit_one - kind.hit_more)
    seat_s += experts_s * kind.hit_more
    first_s = chunks * (step_s + seat_s) + row.input_tokens * token_s + again * read_s
    alone_s = decodes * (step_s + seat_s) + context * min(read_s, token_s)
    allowed = 1.0 + _ROUND_OFF
    if first_s > promise.ttft_s * allowed:
        return 0.0
    if first_s + alone_s > min(promise.e2e_s, row.deadline_s) * allowed:
        return 0.0
    if decodes == 0 or promise.tpot_s == math.inf:
        return math.inf
    spare_s = promise.tpot_s * allowed - alone_s / decodes
    if spare_s < 0.0:
        return 0.0
    return 1.0 + spare_s / seat_s if seat_s > 0.0 else math.inf


@kernel
def _mates(problem: Problem, number: int, row: Row) -> float:
    """Most sequences in the mean decode step of a request that keeps its promise on a type."""
    kind, promise = problem.types[number], problem.promises[row.class_code]
    most = _most_beside(kind, promise, row, False)
    if kind.stretches and most >= 1.0:
        most = min(most, _most_beside(kind, promise, row, True))
    return most


@kernel
def _least(problem: Problem, number: int, row: Row, mates: float) -> tuple[float, float]:
    """The least that a request draws above rest on a type [J], and the seconds credited to it.

    ``mates``: most sequences in its mean decode step. A negative credit is a price of time.
    """
    kind, per = problem.types[number], problem.coefficients[number]
    credit_w, late_s = problem.choice[number, CREDIT], problem.choice[number, LATE_S]
    chunks, decodes, again, context = _shape(kind, row)
    given = float(row.input_tokens)
    seats = float(chunks + decodes)
    steps = chunks / kind.seats + decodes / min(float(kind.seats), mates)
    held = chunks * given + series_sum(given + 1.0, 1.0, decodes)
    worked_j, plain_j = 0.0, 0.0
    for at in range(0, 2 * COEFFICIENTS, COEFFICIENTS):
        joules = (
            per[at + PER_SEAT] * seats
            + per[at + PER_STEP] * steps
            + per[at + PER_HELD] * held
            + per[at + PER_TOKEN] * (given + decodes)
            + per[at + PER_CONTEXT] * (context + again)
            + per[at + PER_PREFILL] * given
        )
        if at == 0:
            worked_j = joules
        else:
            plain_j = joules
    if credit_w > 0.0:
        left_s = max(0.0, problem.span_s[0] - row.arrival_s)
        least_j = max(worked_j, plain_j - credit_w * left_s)
        return least_j, (plain_j - least_j) / credit_w
    if credit_w < 0.0:
        seconds = (worked_j - plain_j) / -credit_w
        problem.sums[number, LONGEST_S] = max(problem.sums[number, LONGEST_S], seconds)
        return plain_j - credit_w * min(seconds, late_s), min(seconds, late_s)
    return plain_j, 0.0


@kernel
def _takes(kind: Row, row: Row) -> bool:
    """Whether a type can serve a request at all."""
    fits = row.input_tokens <= kind.longest
    return bool(fits and (row.model < 0 or row.model == kind.model))


@outline_kernel
def add(problem: Problem, rows: Records) -> float:
    """Add the requests ``rows`` (of ``truth.ARRIVAL``) to the sums; gives the joules by which they
    raise the bound.
    """
    kinds = problem.types.shape[0]
    promised = problem.promises.shape[0] > 0
    others, price_j = problem.sums[kinds], problem.choice[kinds, 0]
    total_j = 0.0
    for index in range(rows.shape[0]):
        row = rows[index]
        late_j, late_at, late_s = math.inf, -1, 0.0
        kept_j, kept_at, kept_s = math.inf, -1, 0.0
        for number in range(kinds):
            if not _takes(problem.types[number], row):
                continue
            joules, seconds = _least(problem, number, row, math.inf)
            if joules < late_j:
                late_j, late_at, late_s = joules, number, seconds
            if promised:
                mates = _mates(problem, number, row)
                if mates >= 1.0:
                    if mates < problem.types[number].seats:
                        joules, seconds = _least(problem, number, row, mates)
                    if joules < kept_j:
                        kept_j, kept_at, kept_s = joules, number, seconds
        if late_at < 0:
            others[NO_TYPE] += 1
            continue
        if promised and kept_at < 0:
            others[TOO_LATE] += 1
        elif promised:
            others[LARGEST_J] = max(others[LARGEST_J], kept_j - late_j)
            if kept_j <= late_j + price_j:
                late_j, late_at, late_s = kept_j, kept_at, kept_s
            else:
                others[MISSED] += 1
                total_j += price_j
        sums = problem.sums[late_at]
        sums[REQUESTS] += 1
        sums[ENERGY] += late_j
        sums[SECONDS] += late_s
        total_j += late_j
    return total_j


@outline_kernel
def least_j(problem: Problem, rows: Records, model: int, out: Floats) -> None:
    """Write to ``out`` ``[requests]`` the least joules above the credit that each of ``rows`` adds
    on a type that serves ``model`` (-1: any); infinite where none can take it.
    """
    for index in range(rows.shape[0]):
        row = rows[index]
        least = math.inf
        for number in range(problem.types.shape[0]):
            kind = problem.types[number]
            if _takes(kind, row) and (model < 0 or model == kind.model):
                joules, _ = _least(problem, number, row, math.inf)
                least = min(least, joules)
        out[index] = least


@kernel
def _room_s(problem: Problem, number: int) -> float:
    """Seconds of work that the replicas of a type have room for, late requests counted with their
    share.
    """
    kind, row = problem.types[number], problem.choice[number]
    if row[CREDIT] < 0.0:
        return float(kind.replica_s + kind.late * row[LATE_S])
    return float(kind.replica_s)


@outline_kernel
def credited_j(problem: Problem) -> float:
    """Rest energy that the choice counts for the whole fleet over the whole trace [J], less what
    it charges for time.
    """
    total_j = 0.0
    for number in range(problem.types.shape[0]):
        total_j += problem.choice[number, CREDIT] * _room_s(problem, number)
    return total_j


@outline_kernel
def value_j(problem: Problem, rows: Records, weight: float, misses: float) -> float:
    """The bound [J] that the choice gives, each of ``rows`` standing for ``weight`` requests, of
    which ``misses`` may miss their promise.
    """
    kinds = problem.types.shape[0]
    problem.sums[:] = 0.0
    set_coefficients(problem)
    total_j = weight * add(problem, rows) + credited_j(problem)
    may_miss = max(0.0, misses - weight * problem.sums[kinds, TOO_LATE])
    return float(total_j - problem.choice[kinds, 0] * may_miss)


@kernel
def _try(
    problem: Problem, rows: Records, weight: float, misses: float, at: int, column: int, x: float
) -> float:
    """The bound with one number of the choice set to ``x``."""
    problem.choice[at, column] = x
    return value_j(problem, rows, weight, misses)


@outline_kernel
def _along(
    problem: Problem,
    rows: Records,
    weight: float,
    misses: float,
    at: int,
    column: int,
    best_j: float,
) -> float:
    """Set one number of the choice to what gives the highest bound, by golden section; ``best_j``
    is the bound that it gives now.
    """
    least, most = 0.0, problem.limits[at, column]
    if column == CREDIT and at < problem.types.shape[0]:
        least = problem.types[at].lowest_w
    best, low, high = problem.choice[at, column], least, most
    one, two = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    one_j = _try(problem, rows, weight, misses, at, column, one)
    two_j = _try(problem, rows, weight, misses, at, column, two)
    for _ in range(_CUTS):
        if one_j < two_j:
            low, one, one_j = one, two, two_j
            two = low + _GOLDEN * (high - low)
            two_j = _try(problem, rows, weight, misses, at, column, two)
        else:
            high, two, two_j = two, one, one_j
            one = high - _GOLDEN * (high - low)
            one_j = _try(problem, rows, weight, misses, at, column, one)
    end = least if low == least else most
    end_j = _try(problem, rows, weight, misses, at, column, end)
    for x, joules in ((one, one_j), (two, two_j), (end, end_j)):
        if joules > best_j:
            best, best_j = x, joules
    problem.choice[at, column] = best
    return best_j


@kernel
def _copy(given: Floats, out: Floats) -> None:
    """Copy a choice, number by number: kernels cannot copy whole arrays."""
    for row in range(given.shape[0]):
        for column in range(given.shape[1]):
            out[row, column] = given[row, column]


@outline_kernel
def _climb(problem: Problem, rows: Records, weight: float, misses: float, best_j: float) -> float:
    """Supergradient steps on the credits of all types together: the bound is concave in them."""
    types, limits, sums = problem.types, problem.limits, problem.sums
    choice, best = problem.choice, problem.best
    kinds = types.shape[0]
    _copy(choice, best)
    stride = 0.5
    for _ in range(_CLIMBS):
        reached_j = value_j(problem, rows, weight, misses)
        if reached_j > best_j:
            best_j = reached_j
            _copy(choice, best)
        squares = 0.0
        for number in range(kinds):
            width = limits[number, CREDIT] - types[number].lowest_w
            rise_s = _room_s(problem, number) - weight * sums[number, SECONDS]
            squares += (rise_s * width) ** 2
        if squares <= 0.0:
            break
        stride *= 0.97
        for number in range(kinds):
            width = limits[number, CREDIT] - types[number].lowest_w
            rise_s = _room_s(problem, number) - weight * sums[number, SECONDS]
            moved = choice[number, CREDIT] + stride * width * width * rise_s / math.sqrt(squares)
            choice[number, CREDIT] = max(types[number].lowest_w, min(limits[number, CREDIT], moved))
    _copy(best, choice)
    return best_j


@outline_kernel
def tune(problem: Problem, rows: Records, weight: float, misses: float) -> None:
    """Set the choice to one that gives a high bound by the sample ``rows``.

    First how each type shares its steps, at full credit; then the credits together; then one number
    after the other.
    """
    limits, choice, sums = problem.limits, problem.choice, problem.sums
    kinds = problem.types.shape[0]
    choice[:] = 0.0
    for number in range(kinds):
        choice[number, CREDIT], choice[number, LATE_S] = problem.types[number].lowest_w, math.inf
    value_j(problem, rows, weight, misses)
    for number in range(kinds):
        limits[number, LATE_S] = choice[number, LATE_S] = sums[number, LONGEST_S]
        choice[number, CREDIT] = limits[number, CREDIT]
    value_j(problem, rows, weight, misses)
    limits[kinds, 0] = 2.0 * sums[kinds, LARGEST_J] if misses > 0.0 else 0.0
    choice[kinds, 0] = limits[kinds, 0] if misses > 0.0 else NO_MISS_J
    best_j = value_j(problem, rows, weight, misses)
    for sweep in range(_SWEEPS + 1):
        for number in range(kinds + 1):
            for column in range(CHOICES):
                later = number < kinds and column in (CREDIT, LATE_S)
                width = limits[number, column]
                if column == CREDIT and number < kinds:
                    width -= problem.types[number].lowest_w
                if width > 0.0 and not (later and sweep == 0):
                    best_j = _along(problem, rows, weight, misses, number, column, best_j)
        if sweep == 0 and kinds > 1:
            best_j = _climb(problem, rows, weight, misses, best_j)
