"""Memory that a serving process need not have, or needs no more once its kernels are loaded."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import sys
from pathlib import Path

_MADV_DONTNEED = 4
_COMPILER = "libllvmlite"
_LINEAR_ALGEBRA = "scipy.linalg.cython_blas"
_ASKS_FOR_IT = "numba.np.arraymath"


def without_linear_algebra() -> None:
    """Have numba load without scipy's linear algebra: 17 MB and 0.2 s less.

    numba looks for it as soon as a kernel is loaded, in case one multiplies matrices; none does.
    Everybody else finds it as ever. Does nothing where it is loaded already.
    """
    if _LINEAR_ALGEBRA in sys.modules or _ASKS_FOR_IT in sys.modules:
        return
    sys.modules[_LINEAR_ALGEBRA] = None  # type: ignore[assignment]
    try:
        importlib.import_module(_ASKS_FOR_IT)
    finally:
        del sys.modules[_LINEAR_ALGEBRA]


def give_back() -> None:
    """Let go of the compiler's code and constants, and of what the allocator keeps for later.

    numba's compiler is a library of over a hundred megabytes; loading a compiled kernel touches
    half of it, running one touches none. They are the pages of a file, never written to: any that
    is needed after all is read again. Does nothing where the system cannot be asked (other
    than Linux), and never fails.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # else the first full collection waits until a quarter of what is frozen has come
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError, ValueError):
        libc = ctypes.CDLL(None)
        for start, size in _unwritten_of(_COMPILER):
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _MADV_DONTNEED)
        libc.malloc_trim(ctypes.c_size_t(0))


def _unwritten_of(library: str) -> list[tuple[int, int]]:
    """Addresses and sizes of a library's code and constants in this process: pages of its file that
    may not be written, and have not been (the loader writes some before it locks them).
    """
    found: list[tuple[int, int]] = []
    where = ""
    for line in Path("/proc/self/smaps").read_text("utf-8", errors="replace").splitlines():
        if library in line:
            address, access, *_ = line.split(maxsplit=2)
            where = address if access in ("r-xp", "r--p") else ""
        elif where and line.startswith("Anonymous:"):
            if line.split()[1] == "0":
                start, _, end = where.partition("-")
                found.append((int(start, 16), int(end, 16) - int(start, 16)))
            where = ""
    return found
