"""What a run's log shows of the engine's limits: largest batch, KV tokens, tokens of a step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baseload.profiler.measured import MeasuredRun

Floats = NDArray[np.float64]

DEFAULT_MAX_BATCH = 256
DEFAULT_MAX_STEP_TOKENS = 2048
STEP_TOKENS_TRIED = (8192, 1024, 4096, 512, 16384)
"""vLLM's defaults, and the budgets that are tried when nobody says which one was set."""

LEAST_WAITERS = 5
FULL_FRAC, PLATEAU_FRAC = 0.97, 0.8


@dataclass(frozen=True, kw_only=True)
class Saturation:
    """What held requests back, as far as the first rows of a run show it (all ranks together).

    ``waiters``: requests that waited in the queue for more than a few steps. ``running``: most
    requests at once in the engine, just after one of them was admitted (all rows where nobody
    waited). ``flat``: that number was nearly the same each time, so it is the limit.
    ``held_tokens``: median context held then.
    """

    waiters: int
    running: int
    flat: bool
    held_tokens: int


def saturation(run: MeasuredRun, rows: int) -> Saturation:
    """The saturation that the log of the first ``rows`` requests shows.

    Requests start in order of arrival, so what runs when one of these is admitted is among them.
    """
    scheduled, first = run.scheduled_s[:rows], run.first_token_s[:rows]
    last, queued = run.last_token_s[:rows], run.queued_s[:rows]
    tpot_s = float(np.nanmedian(run.tpot_s[:rows]))
    waited = np.flatnonzero(scheduled - queued > max(0.25, 5 * tpot_s))
    seen = waited if len(waited) >= LEAST_WAITERS else np.arange(rows)
    at_s = scheduled[seen][:, None]
    inside = (scheduled[None, :] <= at_s) & (last[None, :] > at_s)
    running = inside.sum(axis=1)
    growth = run.output_tokens[:rows] / np.maximum(last - first, 1e-9)
    held = run.input_tokens[:rows] + growth * np.maximum(at_s - first[None, :], 0.0)
    most = int(np.bincount(running).argmax()) if seen is waited else int(running.max())
    flat = float(np.mean(np.abs(running - most) <= max(1, (1 - FULL_FRAC) * most)))
    return Saturation(
        waiters=len(waited) if seen is waited else 0,
        running=most,
        flat=seen is waited and flat >= PLATEAU_FRAC,
        held_tokens=int(np.median((inside * held).sum(axis=1))),
    )
