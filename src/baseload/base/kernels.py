"""How Baseload compiles its kernels: one decorator, so that all of them are built alike.

A kernel is a plain Python function over arrays and records that numba compiles at its first call
and keeps in a cache on disk. Kernels allocate nothing and own nothing, so reference counting is
switched off: with it, a call that hands on a struct of twenty arrays spends three quarters of its
time on counters. Division follows IEEE 754 (no exception for a zero divisor). The uncompiled twin
of a kernel ``f`` is ``plain(f)``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


# ``_nrt`` switches numba's reference counting; it is not part of numba's documented interface, so a
# test holds that this option exists and what it gains (docs/decisions).
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}


def kernel(function: Function) -> Function:
    """Compile ``function`` as a kernel: cached on disk, no reference counts, IEEE division."""
    return cast(Function, njit(cache=True, **_OPTIONS)(function))


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
        return any(Path(cache.cache_path).glob(f"*.{plain(function).__name__}-*.nbi"))  # type: ignore[union-attr]
    except (AttributeError, OSError):
        return False
