"""Fit the energy half of the eight numbers, where a run has power or energy columns.

The fitted replica replays the run; each bin of the power series (or each request) then has known
work: steps, sequences, context tokens, prefill tokens, idle seconds. Non-negative least squares
prices that work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from baseload.base.errors import BadInputError
from baseload.fleet.replica_type import ReplicaType
from baseload.profiler.measured import MeasuredRun
from baseload.simulator.steps import run_steps

Floats = NDArray[np.float64]

ENERGIES = (
    "energy_j_per_step",
    "energy_j_per_sequence",
    "energy_j_per_context_token",
    "energy_j_per_prefill_token",
)


@dataclass(frozen=True, kw_only=True)
class EnergyFit:
    """Measured energy numbers [J]; powers [W], ``None`` where the run does not show them.

    ``error_frac``: mean absolute relative error of a bin's (or request's) energy. ``source`` names
    the column.
    """

    costs_j: dict[str, float]
    power_w_idle: float | None
    power_w_peak: float | None
    error_frac: float
    source: str


class _LeastLoaded:
    """The front end of the measured run: fewest requests first, lowest index first."""

    def __init__(self, ranks: int) -> None:
        self.load = [0] * ranks

    def pick(self, index: int, now_s: float) -> int:  # noqa: ARG002
        rank = self.load.index(min(self.load))
        self.load[rank] += 1
        return rank

    def done(self, index: int, replica: int, now_s: float) -> None:  # noqa: ARG002
        self.load[replica] -= 1


@dataclass(frozen=True, kw_only=True)
class StepLog:
    """Steps of one rank.

    ``begin_s``, ``end_s`` [s] and ``work`` ``[k, 4]``: 1, sequences, context, prefill tokens.
    """

    begin_s: Floats
    end_s: Floats
    work: Floats

    def until(self, at_s: Floats) -> tuple[Floats, Floats]:
        """Work ``[m, 4]`` and busy seconds ``[m]`` done by the instants ``at_s``, steps counted
        evenly over time.
        """
        if not len(self.end_s):
            return np.zeros((len(at_s), 4)), np.zeros(len(at_s))
        times = np.column_stack([self.begin_s, self.end_s]).ravel()
        done = np.vstack([np.zeros(4), np.cumsum(self.work, axis=0)])
        ladder = np.repeat(done, 2, axis=0)[1:-1]
        spent = np.concatenate([[0.0], np.cumsum(self.end_s - self.begin_s)])
        busy = np.interp(at_s, times, np.repeat(spent, 2)[1:-1])
        return np.column_stack([np.interp(at_s, times, column) for column in ladder.T]), busy


def step_logs(
    run: MeasuredRun, kind: ReplicaType, ranks: int, latency_s: float
) -> tuple[list[StepLog], NDArray[np.int64], Floats, Floats]:
    """Replay ``run`` on ``ranks`` replicas.

    Gives their steps, and per request its rank, first and last token [s].
    """
    rows: list[list[tuple[float, ...]]] = [[] for _ in range(ranks)]

    def note(rank: int, begin_s: float, end_s: float, work: tuple[int, int, int]) -> None:
        rows[rank].append((begin_s, end_s, 1.0, *map(float, work)))

    result = run_steps(
        types=[kind],
        type_of_replica=np.zeros(ranks, dtype=np.int64),
        arrival_s=run.arrival_s + latency_s,
        input_tokens=run.input_tokens,
        output_tokens=run.output_tokens,
        priority=np.zeros(len(run), dtype=np.int64),
        router=_LeastLoaded(ranks),
        park_after_s=[None],
        off_after_s=[None],
        horizon_s=0.0,
        on_step=note,
    )
    logs = []
    for each in rows:
        table = np.array(each, dtype=float).reshape(-1, 6)
        logs.append(StepLog(begin_s=table[:, 0], end_s=table[:, 1], work=table[:, 2:]))
    return logs, result.replica, result.first_token_s, result.finish_s


def fit_energy(
    run: MeasuredRun, kind: ReplicaType, ranks: int, latency_s: float, rows: int
) -> EnergyFit | None:
    """The energy numbers that explain the run's power series, else its ``energy_j`` column.

    Only what was measured until the last token of the first ``rows`` requests is used. ``power_w``
    counts all ranks together. Raises ``BadInputError`` when the columns explain nothing.
    """
    if run.power is None and run.energy_j is None:
        return None
    logs, rank, first_s, last_s = step_logs(run, kind, ranks, latency_s)
    if run.power is not None:
        return _from_power(run, logs, float(run.last_token_s[:rows].max()))
    return _from_requests(run, logs, rank[:rows], first_s[:rows], last_s[:rows])


def _from_power(run: MeasuredRun, logs: list[StepLog], until_s: float) -> EnergyFit:
    assert run.power is not None
    bin_s = np.diff(run.power.end_s, prepend=2 * run.power.end_s[0] - run.power.end_s[1])
    edges_s = np.concatenate([[run.power.end_s[0] - bin_s[0]], run.power.end_s])
    work = np.zeros((len(bin_s), 4))
    busy_s = np.zeros(len(bin_s))
    for log in logs:
        done, spent_s = log.until(edges_s)
        work += np.diff(done, axis=0)
        busy_s += np.diff(spent_s)
    idle_s = len(logs) * bin_s - busy_s
    used = run.power.end_s <= until_s
    joules = (run.power.power_w * bin_s)[used]
    design = np.column_stack([work, idle_s])[used]
    found, error_frac = _price(design, joules, "power_w")
    shows_idle = bool(design[:, 4].sum() >= 1.0)
    return EnergyFit(
        costs_j=dict(zip(ENERGIES, found[:4].tolist(), strict=True)),
        power_w_idle=float(found[4]) if shows_idle else None,
        power_w_peak=float(run.power.power_w[used].max()) / len(logs),
        error_frac=error_frac,
        source="power_w",
    )


def _from_requests(
    run: MeasuredRun, logs: list[StepLog], rank: NDArray[np.int64], first_s: Floats, last_s: Floats
) -> EnergyFit:
    """Per request: its share of each step it ran in (one over the batch), its steps, context and
    prompt tokens.
    """
    assert run.energy_j is not None
    rows = len(rank)
    shares = np.zeros(rows)
    for index, log in enumerate(logs):
        mine = rank == index
        parts = StepLog(
            begin_s=log.begin_s, end_s=log.end_s, work=np.tile(1.0 / log.work[:, 1:2], (1, 4))
        )
        begin, end = parts.until(first_s[mine] - 1e-9)[0], parts.until(last_s[mine])[0]
        shares[mine] = (end - begin)[:, 0]
    steps = run.output_tokens[:rows].astype(float)
    inputs = run.input_tokens[:rows].astype(float)
    design = np.column_stack([shares, steps, steps * (inputs + steps / 2), inputs])
    found, error_frac = _price(design, run.energy_j[:rows], "energy_j")
    return EnergyFit(
        costs_j=dict(zip(ENERGIES, found.tolist(), strict=True)),
        power_w_idle=None,
        power_w_peak=None,
        error_frac=error_frac,
        source="energy_j",
    )


def _price(design: Floats, joules: Floats, column: str) -> tuple[Floats, float]:
    """Non-negative prices of the columns of ``design`` and their mean absolute relative error."""
    kept = joules > 0
    if kept.sum() < design.shape[1] + 3:
        raise BadInputError(
            f"column {column}: too few values above zero to fit energy",
            found=f"{int(kept.sum())} usable values",
            allowed=f"at least {design.shape[1] + 3}",
        )
    size = np.maximum(design[kept].mean(axis=0), 1e-12)
    found, _ = nnls(design[kept] / size / joules[kept, None], np.ones(int(kept.sum())))
    prices = found / size
    error_frac = float(np.mean(np.abs(design[kept] @ prices / joules[kept] - 1.0)))
    return prices, error_frac
