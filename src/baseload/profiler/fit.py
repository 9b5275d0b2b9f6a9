"""Fit the time half of the eight numbers: replay the run, compare first and last tokens, adjust.

Unknown are the seconds per step, sequence, context token and prefill token, the seconds to read
all experts (sparse models), and a constant latency in front of the engine's queue. All are
non-negative. Start values come from a non-negative regression of the measured inter-token times on
batch and context, reconstructed from the log; then non-linear least squares refines them, each
evaluation a full replay by the engine's own rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, minimize, nnls

from baseload.fleet.step import COST
from baseload.profiler.evolve import evolve
from baseload.profiler.measured import MeasuredRun, time_per_token
from baseload.profiler.replay import replay

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIMES = (
    "time_s_per_step",
    "time_s_per_sequence",
    "time_s_per_context_token",
    "time_s_per_prefill_token",
)
NUMBERS = (*TIMES, "latency_s", "time_s_all_experts")
"""Order of the fitted vector; the last only for a sparse structure."""

TPOT_SPREAD_FRAC = 0.02
"""What the model cannot know of a request's TPOT."""
TTFT_SPREAD_FRAC, TTFT_SPREAD_STEPS = 0.03, 1.5
"""What it cannot know of a TTFT: 3 %, and one and a half steps (the running step's phase)."""
LATENCY_SPREAD_STEPS, LATENCY_MOST_STEPS = 1.0, 3.0
"""The latency is about zero to one step (an engine that schedules one step ahead), at most three.
"""
HOST_S_PER_SEQUENCE, SEQUENCE_SPREAD_LOG = 3e-5, 1.1
"""A sequence costs about what a prefill token does (the same FLOP) and some host time [s], within a
factor of three. Batch and context grow together: without this, the log hardly tells them apart."""

STEP_FRAC, STEP_FLOOR = 0.02, 0.05
SIMPLEX_RESTARTS = 4
POLISHED_STARTS = 2
EVOLVED_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What a fit takes as given.

    Limits of each rank, ranks, and the share of experts that one token hits (0: dense).
    """

    max_batch: int
    max_step_tokens: int
    kv_tokens: int
    ranks: int = 1
    expert_hit_frac: float = 0.0

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the numbers that are fitted."""
        return NUMBERS if self.expert_hit_frac > 0 else NUMBERS[:-1]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fitted ``numbers`` (order of ``NUMBERS``) under ``structure``, and the robust ``cost`` of
    its residuals.
    """

    structure: Structure
    numbers: Floats
    cost: float

    def value(self, name: str) -> float:
        """The fitted number ``name`` [SI]; 0 for experts of a dense structure."""
        index = NUMBERS.index(name)
        return float(self.numbers[index]) if index < len(self.numbers) else 0.0


def cost_record(numbers: Floats, structure: Structure) -> np.record:
    """A record of ``fleet.step.COST`` with these times, no energy and no cap."""
    table = np.zeros(1, dtype=COST).view(np.recarray)
    for name, value in zip(TIMES, numbers[: len(TIMES)], strict=True):
        table[name] = value
    table["power_w_cap"] = np.inf
    table["expert_miss_frac"] = 1.0 - structure.expert_hit_frac
    if structure.expert_hit_frac > 0:
        table["time_s_all_experts"] = numbers[len(NUMBERS) - 1]
    record: np.record = table[0]
    return record


def predict(run: MeasuredRun, numbers: Floats, structure: Structure) -> tuple[Floats, Floats, Ints]:
    """First- and last-token times [s] and preemptions of every request, each ``[n]``."""
    longest = structure.kv_tokens
    inputs = np.minimum(run.input_tokens, longest)
    outputs = np.minimum(run.output_tokens, longest - inputs + 1)
    limits = np.array([structure.max_batch, structure.max_step_tokens, structure.kv_tokens])
    arrival_s = run.arrival_s + numbers[NUMBERS.index("latency_s")]
    first_s, last_s, preemptions = replay(
        cost_record(numbers, structure), limits, structure.ranks, arrival_s, inputs, outputs
    )
    return first_s, last_s, preemptions


def fit_times(
    run: MeasuredRun, structure: Structure, rows: int, *, starts: list[Floats] | None = None
) -> Fit:
    """The best fit of ``structure`` to the measured times of the first ``rows`` requests.

    ``starts``: vectors to start from; by default the regression and a few spread around it. The
    whole run's arrivals and lengths are replayed as load; only the first rows' times are compared.
    """
    scale = scales(run, rows)[: len(structure.numbers)]
    residuals = _residuals(run, structure, rows, scale)
    reached = []
    for start in starts if starts is not None else start_vectors(run, structure, rows):
        begin = np.clip(_fitted_length(start, structure) / scale, 1e-3, 1e3)
        reached.append(_downhill(residuals, begin))
    reached.sort(key=lambda each: each[1])
    refined = [_simplex(residuals, *each) for each in reached[:POLISHED_STARTS]]
    best, cost = min(refined, key=lambda each: each[1])
    return Fit(structure=structure, numbers=best * scale, cost=cost)


def polish(run: MeasuredRun, fit: Fit, rows: int) -> Fit:
    """``fit``, sought on from its numbers by evolution and simplex: slower, and the last word."""
    scale = scales(run, rows)[: len(fit.structure.numbers)]
    residuals = _residuals(run, fit.structure, rows, scale)
    found = [(fit.numbers / scale, fit.cost)]
    for seed in range(EVOLVED_SEEDS):
        evolved = evolve(lambda scaled: _robust(residuals(scaled)), found[0][0], seed=seed)
        found.append(_simplex(residuals, *evolved))
    best, cost = min(found, key=lambda each: each[1])
    return replace(fit, numbers=best * scale, cost=cost)


def search_kv(
    run: MeasuredRun,
    structure: Structure,
    rows: int,
    guess: int,
    *,
    on_try: Callable[[], None] = lambda: None,
) -> Fit:
    """The fit with the ``kv_tokens`` (each rank) that explains the run best, near ``guess``.

    First a coarse grid from half to one and a half times the guess, then bisection of the best
    cell to half a per cent.
    """
    least = int((run.input_tokens + run.output_tokens).max())
    tried: dict[int, Fit] = {}

    def attempt(kv_tokens: int) -> None:
        kv_tokens = max(kv_tokens, least)
        if kv_tokens in tried:
            return
        at = replace(structure, kv_tokens=kv_tokens)
        near = min(tried, key=lambda other: abs(other - kv_tokens), default=None)
        starts = None if near is None else [tried[near].numbers, regression(run, at, rows)]
        tried[kv_tokens] = fit_times(run, at, rows, starts=starts)
        on_try()

    for frac in (1.0, 0.9, 0.8, 0.65, 0.5, 1.1, 1.25, 1.5):
        attempt(int(guess * frac))
    while True:
        known = sorted(tried)
        place = known.index(min(tried, key=lambda kv: tried[kv].cost))
        around = known[max(place - 1, 0) : place + 2]
        gaps = [(high - low, (low + high) // 2) for low, high in pairwise(around)]
        width, middle = max(gaps, default=(0, 0))
        if width <= 0.005 * guess:
            return min(tried.values(), key=lambda fit: fit.cost)
        attempt(middle)


def scales(run: MeasuredRun, rows: int) -> Floats:
    """Typical sizes of ``NUMBERS`` in this run [SI], from its median time per token: the units of
    the search.
    """
    tpot_s = float(np.nanmedian(run.tpot_s[:rows]))
    batch = mean_batch(run, rows)
    context = float((run.input_tokens + run.output_tokens / 2).mean())
    return np.array(
        [
            tpot_s / 2,
            tpot_s / batch / 5,
            tpot_s / batch / context / 5,
            tpot_s / 300,
            tpot_s,
            tpot_s / 3,
        ]
    )


def mean_batch(run: MeasuredRun, rows: int) -> float:
    """Mean number of requests of the first ``rows`` that decode together, at least 1."""
    decoding_s = run.last_token_s[:rows] - run.first_token_s[:rows]
    span_s = run.last_token_s[:rows].max() - run.first_token_s[:rows].min()
    return max(1.0, float(decoding_s.sum() / max(span_s, 1e-9)))


def start_vectors(run: MeasuredRun, structure: Structure, rows: int) -> list[Floats]:
    """Start values: the regression, and shapes dominated by the step, the sequences, and the
    context.
    """
    scale = scales(run, rows)[: len(structure.numbers)]
    shapes = ([1, 0.5, 0.5, 0.5, 0.5, 1], [1.5, 0.2, 0.2, 1, 0.5, 0.5], [0.5, 1, 1, 0.3, 0.5, 0.5])
    fixed = [scale * np.array(shape, dtype=float)[: len(scale)] for shape in shapes]
    return [regression(run, structure, rows), *fixed]


def regression(run: MeasuredRun, structure: Structure, rows: int) -> Floats:
    """Non-negative regression of inter-token times on what ran beside each request [SI].

    Batch and context are reconstructed from the log of the first ``rows`` requests, a request's
    context growing evenly from its first to its last token. Rows that later arrivals overlapped
    look emptier than they were: a start, no more.
    """
    first, last = run.first_token_s[:rows], run.last_token_s[:rows]
    inputs, outputs = run.input_tokens[:rows].astype(float), run.output_tokens[:rows].astype(float)
    long = np.flatnonzero((outputs > 1) & (last > first))
    begin = np.maximum(first[long, None], first[None, :])
    end = np.minimum(last[long, None], last[None, :])
    shared = np.maximum(end - begin, 0.0) / (last - first)[long, None]
    growth = outputs / np.maximum(last - first, 1e-9)
    context = shared * (inputs + growth * np.maximum((begin + end) / 2 - first[None, :], 0.0))
    joins = (first[None, :] > first[long, None]) & (first[None, :] <= last[long, None])
    prefill = (joins * inputs[None, :]).sum(axis=1) / (outputs[long] - 1)
    design = np.column_stack([np.ones(len(long)), shared.sum(axis=1), context.sum(axis=1), prefill])
    tpot_s = ((last - first) / np.maximum(outputs - 1, 1))[long]
    scale = scales(run, rows)
    found, _ = nnls(design * scale[: len(TIMES)] / tpot_s[:, None], np.ones(len(long)))
    start = np.concatenate([np.maximum(found, 0.05), [0.5, 0.5]]) * scale
    return start[: len(structure.numbers)]


def _robust(residuals: Floats) -> float:
    """The soft L1 cost: quadratic for small residuals, linear for large ones."""
    return float((np.sqrt(1.0 + residuals**2) - 1.0).sum())


def _downhill(residuals: Callable[[Floats], Floats], start: Floats) -> tuple[Floats, float]:
    """Least squares from ``start``: the scaled vector it ends at, and its robust cost."""
    found = least_squares(
        residuals, start, jac=_jacobian(residuals), bounds=(0.0, 2e3), loss="soft_l1", max_nfev=40
    )
    return found.x, _robust(residuals(found.x))


def _simplex(
    residuals: Callable[[Floats], Floats], best: Floats, lowest: float
) -> tuple[Floats, float]:
    """Simplex searches from ``best`` until they gain little: a replay is only piecewise smooth."""
    for _ in range(SIMPLEX_RESTARTS):
        corners = np.vstack([best, best + np.diag(np.maximum(0.15 * best, 0.08))])
        found = minimize(
            lambda scaled: _robust(residuals(np.abs(scaled))),
            best,
            method="Nelder-Mead",
            options={"initial_simplex": corners, "maxfev": 400, "xatol": 1e-3, "fatol": 1e-2},
        )
        gain = lowest - float(found.fun)
        if gain > 0.0:
            best, lowest = np.abs(found.x), float(found.fun)
        if gain < 0.005 * lowest:
            break
    return best, lowest


def _fitted_length(start: Floats, structure: Structure) -> Floats:
    """``start`` cut, or filled up with nothing, to the numbers of ``structure``."""
    wanted = len(structure.numbers)
    return np.concatenate([start, np.zeros(wanted)])[:wanted]


def _residuals(
    run: MeasuredRun, structure: Structure, rows: int, scale: Floats
) -> Callable[[Floats], Floats]:
    """Residuals of the scaled vector: TTFT and TPOT of the first ``rows``, in units of their
    spread, and the prior.
    """
    ttft_s, tpot_s = run.ttft_s[:rows], run.tpot_s[:rows]
    mean_tpot_s = float(np.nanmean(tpot_s))
    ttft_spread_s = TTFT_SPREAD_STEPS * mean_tpot_s + TTFT_SPREAD_FRAC * ttft_s
    several = np.isfinite(tpot_s)
    latency = NUMBERS.index("latency_s")

    def residuals(scaled: Floats) -> Floats:
        numbers = scaled * scale
        if numbers[0] + numbers[1] <= 0.0:
            numbers = numbers + 1e-9
        first_s, last_s, _ = predict(run, numbers, structure)
        first_off = (first_s - run.arrival_s)[:rows] - ttft_s
        predicted = time_per_token(first_s[:rows], last_s[:rows], run.output_tokens[:rows])
        pace_off = (predicted - tpot_s)[several] / mean_tpot_s
        usual_s = numbers[TIMES.index("time_s_per_prefill_token")] + HOST_S_PER_SEQUENCE
        share = (numbers[TIMES.index("time_s_per_sequence")] + 0.03 * usual_s) / usual_s
        latency_steps = numbers[latency] / mean_tpot_s
        priors = [
            latency_steps / LATENCY_SPREAD_STEPS,
            max(0.0, latency_steps - LATENCY_MOST_STEPS) * 100.0,
            np.log(share) / SEQUENCE_SPREAD_LOG,
        ]
        return np.concatenate([first_off / ttft_spread_s, pace_off / TPOT_SPREAD_FRAC, priors])

    return residuals


def _jacobian(residuals: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    """Forward differences with steps of a few per cent: a replay is only piecewise smooth in its
    numbers.
    """

    def jacobian(scaled: Floats) -> Floats:
        base = residuals(scaled)
        columns = []
        for index, value in enumerate(scaled):
            width = STEP_FRAC * max(value, STEP_FLOOR)
            moved = scaled.copy()
            moved[index] += width
            columns.append((residuals(moved) - base) / width)
        return np.column_stack(columns)

    return jacobian
