from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from numba import njit

from baseload.base import kernels
from baseload.base.draws import below, uniform
from baseload.base.kernels import KERNEL_SOURCES, is_compiled, kernel_uncached, plain
from baseload.fleet.step import free_step, step
from baseload.routing import estimate, fleet_state, pick, price


def test_plain_gives_the_python_source():
    assert plain(step) is not step
    assert plain(plain(step)) is plain(step)
    assert plain(math.sqrt) is math.sqrt


def test_division_by_zero_follows_ieee():
    @kernel_uncached
    def ratio(above, below):
        return above / below

    assert ratio(1.0, 0.0) == math.inf
    assert math.isnan(ratio(0.0, 0.0))


def test_every_module_with_kernels_is_listed():
    """A module that is missing there leaves stale kernels in the cache when it changes."""
    package = Path(kernels.__file__).parents[1]
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"^@(outline_)?kernel$", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found <= set(KERNEL_SOURCES)
    assert all((package / name).is_file() for name in KERNEL_SOURCES)


def test_a_kernel_knows_whether_it_is_compiled():
    @kernel_uncached
    def twice(x):
        return 2 * x

    assert not is_compiled(twice)
    assert twice(3) == 6
    assert is_compiled(twice)
    assert not is_compiled(math.sqrt)


def test_every_kernel_of_routing_has_a_plain_twin():
    found = [uniform, below, free_step, step]
    for room in (estimate, fleet_state, pick, price):
        found += [value for value in vars(room).values() if hasattr(value, "py_func")]
    assert len(found) > 25
    for one in found:
        assert plain(one).__doc__, f"{plain(one).__name__} says nothing"
    assert np.isfinite(plain(step)(_cost(), 1.0, 10.0, 0.0)).all()


def _cost():
    from baseload.testing.fleets import one_replica

    return one_replica().state().cost[0]


def test_a_kernel_counts_no_references():
    """Counting took most of a run; the option that switches it off is undocumented."""

    def keep(pair):
        first, second = pair
        return first if first[0] > second[0] else second

    arrays = (np.ones(2), np.ones(3))
    counting = njit(keep)
    counting(arrays)
    assert "NRT_incref" in next(iter(counting.inspect_llvm().values())), "look again at numba"

    def first_of(pair):
        first, second = pair
        return (first if first[0] > second[0] else second)[0]

    silent = kernel_uncached(first_of)
    silent(arrays)
    assert "NRT_incref" not in next(iter(silent.inspect_llvm().values()))


def test_the_cache_of_a_kernel_is_stale_when_any_kernel_changes():
    """numba alone looks at the function's own file, and would keep old code of what it calls."""
    stamp = uniform._cache._cache_file._source_stamp
    assert stamp[1] == kernels.kernel_stamp()
    assert len(stamp[1]) == len(KERNEL_SOURCES)
