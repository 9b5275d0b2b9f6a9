"""What a process needs no more is given back, and nothing else."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections import deque
from pathlib import Path

import pytest

from baseload.fleet.physics import replica_type
from baseload.fleet.step import cost_table, step
from baseload.gateway.memory import _unwritten_of, give_back


def test_kernels_work_as_before_when_the_compiler_has_been_let_go() -> None:
    row = cost_table([replica_type(device="L4-24GB", model="meta-llama/Llama-3.1-8B")])[0]
    before = step(row, 4.0, 4000.0, 0.0)
    give_back()
    gc.unfreeze()
    assert step(row, 4.0, 4000.0, 0.0) == before
    assert step(row, 8.0, 4000.0, 100.0)[0] > before[0]


class Knot:
    """Something that only the collector of cycles can let go."""

    def __init__(self) -> None:
        self.me = self


def test_what_is_frozen_does_not_put_off_the_collector() -> None:
    """A full collection waits until a quarter of what the last one left has come since; the last
    one had counted all that was then frozen.
    """
    stays = [[number] for number in range(100_000)]
    before = gc.get_threshold()
    give_back()
    done = gc.get_stats()[2]["collections"]
    gc.set_threshold(100, 5, 5)
    try:
        young: deque[Knot] = deque(maxlen=500)
        for _ in range(20_000):
            young.append(Knot())
        assert gc.get_stats()[2]["collections"] > done
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    assert len(stays) == 100_000


def test_the_compiler_is_loaded_without_what_no_kernel_uses() -> None:
    """In a process of its own: kernels work, and scipy's linear algebra is there for who asks."""
    code = (
        "import sys\n"
        "from baseload.gateway.memory import without_linear_algebra\n"
        "without_linear_algebra()\n"
        "from baseload.fleet.physics import replica_type\n"
        "from baseload.fleet.step import cost_table, step\n"
        "row = cost_table([replica_type(device='L4-24GB', model='meta-llama/Llama-3.1-8B')])[0]\n"
        "assert step(row, 4.0, 4000.0, 0.0)[0] > 0.0\n"
        "assert 'scipy.linalg' not in sys.modules\n"
        "import scipy.linalg.cython_blas\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_only_pages_that_nobody_has_written_are_let_go() -> None:
    """What the loader has written into (addresses of other libraries) would be lost."""
    found = dict(_unwritten_of("libllvmlite"))
    assert found
    written = {}
    for block in Path("/proc/self/smaps").read_text().split("VmFlags")[:-1]:
        lines = block.splitlines()
        head = next(line for line in lines if "-" in line.split(" ")[0])
        anonymous = next(line for line in lines if line.startswith("Anonymous:")).split()[1]
        written[int(head.split("-")[0], 16)] = int(anonymous), head
    for start in found:
        anonymous, head = written[start]
        assert anonymous == 0
        assert "libllvmlite" in head
        assert head.split()[1] in ("r-xp", "r--p")
