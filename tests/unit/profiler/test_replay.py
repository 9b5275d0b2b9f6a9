from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from baseload.fleet.replica_type import PowerStates, ReplicaType, StepCosts
from baseload.fleet.step import cost_table
from baseload.profiler.replay import replay
from baseload.simulator.steps import run_steps

COSTS = StepCosts(
    time_s_per_step=1.0,
    time_s_per_sequence=0.1,
    time_s_per_context_token=0.01,
    time_s_per_prefill_token=0.001,
    energy_j_per_step=10.0,
    energy_j_per_sequence=2.0,
    energy_j_per_context_token=0.1,
    energy_j_per_prefill_token=0.05,
    time_s_all_experts=0.3,
    energy_j_all_experts=2.0,
    expert_hit_frac=0.1,
)
POWER = PowerStates(
    power_w_active_static=5.0, power_w_cap=12.0, power_w_idle=3.0, power_w_parked=1.0
)


class LeastLoaded:
    def __init__(self, ranks: int) -> None:
        self.load = [0] * ranks

    def pick(self, index: int, now_s: float) -> int:
        rank = self.load.index(min(self.load))
        self.load[rank] += 1
        return rank

    def done(self, index: int, replica: int, now_s: float) -> None:
        self.load[replica] -= 1


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([0.0, 0.1, 1.0, 5.0]), st.integers(1, 60), st.integers(1, 40)),
        min_size=1,
        max_size=25,
    ),
    ranks=st.integers(1, 3),
    kv_tokens=st.integers(100, 300),
    max_batch=st.integers(1, 8),
    max_step_tokens=st.integers(9, 64),
)
def test_the_compiled_replay_equals_the_step_engine(
    rows: list[tuple[float, int, int]],
    ranks: int,
    kv_tokens: int,
    max_batch: int,
    max_step_tokens: int,
) -> None:
    kind = ReplicaType(
        name="toy",
        device="none",
        model="none",
        costs=COSTS,
        power=POWER,
        max_batch=max_batch,
        max_step_tokens=max_step_tokens,
        kv_tokens=kv_tokens,
        max_context_tokens=kv_tokens,
    )
    arrival_s = np.cumsum([row[0] for row in rows])
    input_tokens = np.array([row[1] for row in rows])
    output_tokens = np.array([row[2] for row in rows])
    oracle = run_steps(
        types=[kind],
        type_of_replica=np.zeros(ranks, dtype=np.int64),
        arrival_s=arrival_s,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        priority=np.zeros(len(rows), dtype=np.int64),
        router=LeastLoaded(ranks),
        park_after_s=[None],
        off_after_s=[None],
        horizon_s=0.0,
    )
    first_s, last_s, preemptions = replay(
        cost_table([kind])[0],
        np.array([max_batch, max_step_tokens, kv_tokens]),
        ranks,
        arrival_s,
        input_tokens,
        output_tokens,
    )
    assert first_s.tolist() == oracle.first_token_s.tolist()
    assert last_s.tolist() == oracle.finish_s.tolist()
    assert preemptions.tolist() == oracle.preemptions.tolist()
