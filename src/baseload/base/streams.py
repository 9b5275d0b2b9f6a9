"""Named random streams: the same seed and name give the same numbers, whatever else draws.

A stream is a counter-based Philox generator keyed by the run's seed and a hash of the stream's
name, so that adding a consumer of randomness to a run never shifts the numbers that another one
sees (common random numbers across policies).
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """The generator of the stream ``names`` (say, ``"arrivals", "chat"``) in the run ``seed``.

    ``seed`` is any integer >= 0. Equal arguments give equal streams on every machine.
    """
    return np.random.Generator(np.random.Philox(key=stream_key(seed, *names)))


def stream_key(seed: int, *names: str | int) -> int:
    """A 128-bit key of the stream, for kernels that run their own counter-based generator."""
    text = "/".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
