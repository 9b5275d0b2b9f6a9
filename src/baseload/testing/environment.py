"""A world of known clocks and global random numbers, to see whether a policy looks at them."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

_CLOCKS = ("time", "monotonic", "perf_counter")


@contextmanager
def environment(number: int) -> Iterator[None]:
    """Global generators seeded and all clocks of ``time`` replaced by counters, both given by
    ``number``; restored after.

    A clock that was imported by name before (``from time import time``) stays real.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    clocks = {name: getattr(time, name) for base in _CLOCKS for name in (base, f"{base}_ns")}
    try:
        random.seed(number)
        np.random.seed(number % 2**32)  # noqa: NPY002
        for base in _CLOCKS:
            read_ns = _ticking(number)
            setattr(time, f"{base}_ns", read_ns)
            setattr(time, base, _in_seconds(read_ns))
        yield
    finally:
        for name, clock in clocks.items():
            setattr(time, name, clock)
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _ticking(number: int) -> Callable[[], int]:
    """A clock that moves by an odd number of nanoseconds, milliseconds and seconds at every
    reading.
    """
    at = [1_700_000_000_000_000_000 + number * 86_399_987_654_321]
    step = 1_234_567_891 + 2 * (number % 1_000_003) * 1_000_003

    def read(*_args: Any) -> int:
        at[0] += step
        return at[0]

    return read


def _in_seconds(read_ns: Callable[[], int]) -> Callable[[], float]:
    """The same clock in seconds."""

    def read() -> float:
        return read_ns() / 1e9

    return read
