"""Measured runs for tests: made by the oracle from known numbers, with an engine's log columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from baseload.base.streams import stream
from baseload.fleet.replica_type import PowerStates, ReplicaType, StepCosts
from baseload.fleet.step import cost_table
from baseload.profiler.replay import replay

KIND = ReplicaType(
    name="true",
    device="unknown",
    model="unknown",
    costs=StepCosts(
        time_s_per_step=0.012,
        time_s_per_sequence=8e-5,
        time_s_per_context_token=8e-8,
        time_s_per_prefill_token=5e-5,
        energy_j_per_step=4.0,
        energy_j_per_sequence=0.03,
        energy_j_per_context_token=3e-5,
        energy_j_per_prefill_token=0.02,
    ),
    power=PowerStates(
        power_w_active_static=100.0, power_w_cap=600.0, power_w_idle=90.0, power_w_parked=40.0
    ),
    max_batch=24,
    max_step_tokens=2048,
    kv_tokens=10_000_000,
    max_context_tokens=32_768,
)


def frame(
    requests: int = 120,
    *,
    rate_per_s: float = 8.0,
    kind: ReplicaType = KIND,
    latency_s: float = 0.01,
    seed: int = 1,
) -> pl.DataFrame:
    """A run of ``kind``: Poisson arrivals, log-normal prompts, answers of 40 to 200 tokens."""
    draws = stream(seed, "test run")
    arrival_s = np.cumsum(draws.exponential(1.0 / rate_per_s, requests))
    arrival_s -= arrival_s[0]
    inputs = np.clip(draws.lognormal(6.0, 0.8, requests).astype(np.int64), 16, 6000)
    outputs = draws.integers(40, 200, requests)
    limits = np.array([kind.max_batch, kind.max_step_tokens, kind.kv_tokens])
    queued_s = arrival_s + latency_s
    first_s, last_s, _ = replay(cost_table([kind])[0], limits, 1, queued_s, inputs, outputs)
    prefill_s = inputs * kind.costs.time_s_per_prefill_token + kind.costs.time_s_per_step
    scheduled_s = np.maximum(queued_s, first_s - prefill_s)
    return pl.DataFrame(
        {
            "arrival_s": arrival_s,
            "queued_s": queued_s,
            "scheduled_s": scheduled_s,
            "first_token_s": first_s,
            "last_token_s": last_s,
            "input_tokens": inputs.astype(np.int32),
            "output_tokens": outputs.astype(np.int32),
        }
    )


def write(folder: Path, content: pl.DataFrame, name: str = "run") -> Path:
    """``content`` as Parquet in ``folder``."""
    path = folder / f"{name}.parquet"
    content.write_parquet(path)
    return path
