"""How Baseload compiles its kernels: one decorator, so that all of them are built alike.

A kernel is a plain Python function over arrays and records that numba compiles at its first call
and keeps in a cache on disk. Kernels allocate nothing and own nothing, so reference counting is
switched off: with it, a call that hands on a struct of twenty arrays is mostly counting. Division
follows IEEE 754 (no exception for a zero divisor). The uncompiled twin of a kernel ``f`` is
``plain(f)``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


# ``_nrt`` switches numba's reference counting; it is not part of numba's documented interface, so a
# test holds that this option exists and what it gains (docs/decisions).
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}


KERNEL_SOURCES = (
    "base/draws.py",
    "base/kernels.py",
    "fleet/ladder.py",
    "fleet/step.py",
    "gateway/decision.py",
    "planner/simulated.py",
    "profiler/replay.py",
    "routing/answers.py",
    "routing/estimate.py",
    "routing/fleet_state.py",
    "routing/pick.py",
    "routing/position.py",
    "routing/price.py",
    "routing/sizing.py",
    "simulator/accounts.py",
    "simulator/bound_terms.py",
    "simulator/boundary.py",
    "simulator/closed_forms.py",
    "simulator/events.py",
    "simulator/jump.py",
    "simulator/metered.py",
    "simulator/orders.py",
    "workload/generator.py",
    "workload/lengths.py",
    "simulator/token_queues.py",
    "supply/random_paths.py",
    "supply/slot.py",
    "theory/cycle_step.py",
    "theory/density_steps.py",
)
"""Every module with kernels. Kernels contain those they call, so each is stale when any is."""


def kernel(function: Function) -> Function:
    """Compile ``function`` as a kernel: cached on disk, no reference counts, IEEE division.

    A kernel becomes part of each kernel that calls it: a call would copy the structs of arrays that
    it hands on.
    """
    return _cached(function, forceinline=True)


def outline_kernel(function: Function) -> Function:
    """A kernel that stays a call of its own: large, and rarely called or handed no structs."""
    return _cached(function, forceinline=False)


def _cached(function: Function, *, forceinline: bool) -> Function:
    """The kernel of ``function`` with a disk cache that knows all kernels' sources."""
    try:
        compiled = njit(cache=True, forceinline=forceinline, **_OPTIONS)(function)
    except RuntimeError:  # no folder to keep the cache in: compile in every process
        return cast(Function, njit(forceinline=forceinline, **_OPTIONS)(function))
    file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if file is not None and hasattr(file, "_source_stamp"):
        # numba alone looks at the function's own file only
        file._source_stamp = (file._source_stamp, kernel_stamp())
    return cast(Function, compiled)


@functools.cache
def kernel_stamp() -> tuple[tuple[float, int], ...]:
    """When the kernels' sources were last changed, and their sizes."""
    package = Path(__file__).parent.parent
    states = [(package / name).stat() for name in KERNEL_SOURCES if (package / name).exists()]
    return tuple((state.st_mtime, state.st_size) for state in states)


def kernel_uncached(function: Function) -> Function:
    """``kernel`` without the disk cache: for functions made at run time, which a cache could not
    find again.
    """
    return cast(Function, njit(**_OPTIONS)(function))


def plain(function: Function) -> Function:
    """The plain Python twin of a kernel; a function that is not compiled is its own twin."""
    return cast(Function, getattr(function, "py_func", function))


def is_compiled(function: Callable[..., object]) -> bool:
    """Whether a kernel has been compiled before, in this process or, as far as its cache can
    tell, on this machine.
    """
    if getattr(function, "signatures", None):
        return True
    cache = getattr(function, "_cache", None)
    try:
        found = Path(cache.cache_path).glob(f"*.{plain(function).__name__}-*.nbi")  # type: ignore[union-attr]
        changed_s = max(modified_s for modified_s, _ in kernel_stamp())
        return any(index.stat().st_mtime > changed_s for index in found)
    except (AttributeError, OSError, TypeError):  # TypeError: a kernel without a cache has no path
        return False
