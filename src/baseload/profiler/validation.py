"""Predict the second half of a measured run with a fitted replica, and say how far off it is."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.fleet.step import cost_table
from baseload.profiler.calibration import error_of_means
from baseload.profiler.measured import MeasuredRun, time_per_token
from baseload.profiler.replay import replay
from baseload.sources.replicas import ReplicaFile

Floats = NDArray[np.float64]

SCHEMA = "baseload-validation/1"


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One quantity of the judged requests, measured and predicted [s].

    ``error_frac``: |mean predicted - mean measured| / mean measured. ``request_error_frac_*``: of
    |predicted - measured| / measured of each request.
    """

    mean_measured_s: float
    mean_predicted_s: float
    p50_measured_s: float
    p50_predicted_s: float
    p95_measured_s: float
    p95_predicted_s: float
    error_frac: float
    request_error_frac_mean: float
    request_error_frac_median: float


class Validation(msgspec.Struct, frozen=True, kw_only=True):
    """What ``baseload validate --json`` writes.

    The three ``*_error_frac`` are relative errors of means over the judged requests; the makespan
    is last finish minus first arrival among them. ``trained_on``: whether the replica was fitted
    to this very run (then only the part after ``fitted_requests`` is unseen).
    """

    schema: str
    run: str
    sha256: str
    replica: str
    requests: int
    judged_requests: int
    fitted_requests: int
    trained_on: bool
    ttft_error_frac: float
    tpot_error_frac: float
    makespan_error_frac: float
    makespan_measured_s: float
    makespan_predicted_s: float
    ttft: Comparison
    tpot: Comparison
    e2e: Comparison
    preempted: int
    cut_short: int


def validate_run(run: MeasuredRun, file: ReplicaFile, *, from_frac: float = 0.5) -> Validation:
    """Simulate all arrivals of ``run`` on the replica (open loop) and judge the requests from
    ``from_frac`` on.

    Raises ``BadInputError`` when the run has requests that the replica cannot hold or no answer of
    two tokens is judged.
    """
    if not 0 <= from_frac < 1:
        raise BadInputError(
            "validate from", found=repr(from_frac), allowed="0 or more, below 1 (0.5: second half)"
        )
    judged = slice(int(len(run) * from_frac), len(run))
    if not (run.output_tokens[judged] > 1).any():
        raise BadInputError(
            f"measured run {run.name}: no judged answer has two tokens or more",
            allowed="some longer answers, or there is no time per token to compare",
        )
    first_s, last_s, outputs, preemptions = simulate(run, file)
    ttft = _compare(first_s - run.arrival_s, run.ttft_s, judged)
    tpot = _compare(time_per_token(first_s, last_s, outputs), run.tpot_s, judged)
    e2e = _compare(last_s - run.arrival_s, run.last_token_s - run.arrival_s, judged)
    begin_s = float(run.arrival_s[judged][0])
    measured_s = float(run.last_token_s[judged].max()) - begin_s
    predicted_s = float(last_s[judged].max()) - begin_s
    return Validation(
        schema=SCHEMA,
        run=run.name,
        sha256=run.sha256,
        replica=file.replica.name,
        requests=len(run),
        judged_requests=len(run.arrival_s[judged]),
        fitted_requests=file.fit.rows_fitted,
        trained_on=file.fit.sha256 == run.sha256,
        ttft_error_frac=ttft.error_frac,
        tpot_error_frac=tpot.error_frac,
        makespan_error_frac=abs(predicted_s / measured_s - 1.0),
        makespan_measured_s=measured_s,
        makespan_predicted_s=predicted_s,
        ttft=ttft,
        tpot=tpot,
        e2e=e2e,
        preempted=int((preemptions[judged] > 0).sum()),
        cut_short=int((outputs < run.output_tokens)[judged].sum()),
    )


def simulate(
    run: MeasuredRun, file: ReplicaFile
) -> tuple[Floats, Floats, NDArray[np.int64], NDArray[np.int64]]:
    """First- and last-token times [s], output tokens after cutting, preemptions, each ``[n]``."""
    kind = file.replica
    longest = min(kind.max_context_tokens, kind.kv_tokens)
    too_long = np.flatnonzero(run.input_tokens > longest)
    if len(too_long):
        row = int(too_long[0])
        raise BadInputError(
            f"measured run {run.name}: request longer than the replica takes",
            found=f"{run.input_tokens[row]} input tokens in data row {row + 1}",
            allowed=f"at most {longest} (the lower of max_context_tokens and kv_tokens)",
            todo="calibrate on a run of the same engine settings",
        )
    outputs = np.minimum(run.output_tokens, longest - run.input_tokens + 1)
    limits = np.array([kind.max_batch, kind.max_step_tokens, kind.kv_tokens])
    first_s, last_s, preemptions = replay(
        cost_table([kind])[0],
        limits,
        file.replicas,
        run.arrival_s + file.latency_s,
        run.input_tokens,
        outputs,
    )
    return first_s, last_s, outputs, preemptions


def _compare(predicted_s: Floats, measured_s: Floats, judged: slice) -> Comparison:
    both = np.isfinite(predicted_s[judged]) & np.isfinite(measured_s[judged])
    predicted, measured = predicted_s[judged][both], measured_s[judged][both]
    off = np.abs(predicted - measured) / np.maximum(measured, 1e-9)
    p50, p95 = np.quantile(measured, (0.5, 0.95)).tolist()
    p50_predicted, p95_predicted = np.quantile(predicted, (0.5, 0.95)).tolist()
    return Comparison(
        mean_measured_s=float(measured.mean()),
        mean_predicted_s=float(predicted.mean()),
        p50_measured_s=p50,
        p50_predicted_s=p50_predicted,
        p95_measured_s=p95,
        p95_predicted_s=p95_predicted,
        error_frac=error_of_means(predicted, measured),
        request_error_frac_mean=float(off.mean()),
        request_error_frac_median=float(np.median(off)),
    )
