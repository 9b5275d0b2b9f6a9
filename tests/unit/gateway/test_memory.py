"""What a process needs no more is given back, and nothing else."""

from __future__ import annotations

import gc

from baseload.fleet.physics import replica_type
from baseload.fleet.step import cost_table, step
from baseload.gateway.memory import give_back


def test_kernels_work_as_before_when_the_compiler_has_been_let_go() -> None:
    row = cost_table([replica_type(device="L4-24GB", model="meta-llama/Llama-3.1-8B")])[0]
    before = step(row, 4.0, 4000.0, 0.0)
    give_back()
    gc.unfreeze()
    assert step(row, 4.0, 4000.0, 0.0) == before
    assert step(row, 8.0, 4000.0, 100.0)[0] > before[0]
