"""The simpy model of the benches is right: it agrees with the step engine, request by request."""

from __future__ import annotations

import numpy as np
import pytest

from _simpy_model import run
from baseload.fleet.replica_type import PowerStates, ReplicaType, StepCosts
from baseload.simulator.steps import run_steps
from baseload.workload.trace import Trace


def kind(name: str, *, slow: float, cap_w: float, max_batch: int, kv_tokens: int) -> ReplicaType:
    return ReplicaType(
        name=name,
        device="none",
        model="none",
        costs=StepCosts(
            time_s_per_step=0.01 * slow,
            time_s_per_sequence=0.0001 * slow,
            time_s_per_context_token=1e-6 * slow,
            time_s_per_prefill_token=2e-5 * slow,
            energy_j_per_step=3.0,
            energy_j_per_sequence=0.05,
            energy_j_per_context_token=0.0005,
            energy_j_per_prefill_token=0.02,
        ),
        power=PowerStates(
            power_w_active_static=90.0, power_w_cap=cap_w, power_w_idle=70.0, power_w_parked=50.0
        ),
        max_batch=max_batch,
        max_step_tokens=256,
        kv_tokens=kv_tokens,
        max_context_tokens=kv_tokens,
    )


class LeastLoaded:
    """Routes as the simpy model does."""

    def __init__(self, replicas: int) -> None:
        self.in_flight = [0] * replicas

    def pick(self, index: int, now_s: float) -> int:
        chosen = self.in_flight.index(min(self.in_flight))
        self.in_flight[chosen] += 1
        return chosen

    def done(self, index: int, replica: int, now_s: float) -> None:
        self.in_flight[replica] -= 1


def random_trace(seed: int, requests: int, rate_per_s: float) -> Trace:
    rng = np.random.default_rng(seed)
    return Trace(
        name="random",
        t_us=np.cumsum(rng.exponential(1e6 / rate_per_s, requests)).astype(np.int64),
        input_tokens=rng.integers(1, 700, requests).astype(np.int32),
        output_tokens=rng.integers(1, 120, requests).astype(np.int32),
        class_code=np.zeros(requests, dtype=np.int16),
        classes=("chat",),
    )


@pytest.mark.parametrize(
    ("seed", "rate_per_s", "kv_tokens"), [(1, 2.0, 20_000), (2, 12.0, 3_000), (3, 60.0, 900)]
)
def test_equals_the_step_engine(seed: int, rate_per_s: float, kv_tokens: int) -> None:
    fast = kind("fast", slow=1.0, cap_w=300.0, max_batch=16, kv_tokens=kv_tokens)
    slow = kind("slow", slow=3.0, cap_w=95.0, max_batch=4, kv_tokens=kv_tokens)
    trace = random_trace(seed, 300, rate_per_s)
    ours = run([fast, fast, slow], trace)
    steps = run_steps(
        types=[fast, slow],
        type_of_replica=np.array([0, 0, 1]),
        arrival_s=trace.t_us / 1e6,
        input_tokens=trace.input_tokens.astype(np.int64),
        output_tokens=trace.output_tokens.astype(np.int64),
        priority=np.zeros(len(trace), dtype=np.int64),
        router=LeastLoaded(3),
        park_after_s=[None, None],
        off_after_s=[None, None],
        horizon_s=trace.span_s,
    )
    arrival_s = trace.t_us / 1e6
    np.testing.assert_allclose(
        np.sort(ours.e2e_s), np.sort(steps.finish_s - arrival_s), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        np.sort(ours.ttft_s), np.sort(steps.first_token_s - arrival_s), rtol=1e-9, atol=1e-9
    )
    assert ours.energy_j == pytest.approx(steps.fleet_energy_j, rel=1e-9)
    assert ours.steps == steps.steps.sum()


def test_the_crowded_case_preempts() -> None:
    """The case above with little cache is worth having: it takes requests out of the batch."""
    tight = kind("tight", slow=1.0, cap_w=300.0, max_batch=16, kv_tokens=900)
    trace = random_trace(3, 100, 60.0)
    steps = run_steps(
        types=[tight],
        type_of_replica=np.array([0]),
        arrival_s=trace.t_us / 1e6,
        input_tokens=trace.input_tokens.astype(np.int64),
        output_tokens=trace.output_tokens.astype(np.int64),
        priority=np.zeros(len(trace), dtype=np.int64),
        router=LeastLoaded(1),
        park_after_s=[None],
        off_after_s=[None],
        horizon_s=trace.span_s,
    )
    assert steps.preemptions.sum() > 0
