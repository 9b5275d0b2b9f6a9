"""Random draws for kernels: a counter-based generator in two words of state, the same compiled and
plain.

State is uint64 ``[2]``: a key and a counter. Each draw is the SplitMix64 finaliser of ``key +
counter * golden ratio`` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA
2014), so that a stream can be jumped anywhere and two streams with different keys do not touch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel
from baseload.base.streams import stream_key

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


def draws(seed: int, *names: str | int) -> NDArray[np.uint64]:
    """The state of the kernel stream ``names`` in the run ``seed``: uint64 ``[2]``, changed in
    place by each draw.
    """
    return np.array([stream_key(seed, *names) & 0xFFFFFFFFFFFFFFFF, 0], dtype=np.uint64)


@kernel
def uniform(state: NDArray[np.uint64]) -> float:
    """The next draw, uniform on [0, 1), with 53 random bits."""
    state[1] += np.uint64(1)
    z = state[0] + state[1] * _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    z = z ^ (z >> _S31)
    return float(z >> _S11) * 1.1102230246251565e-16


@kernel
def below(state: NDArray[np.uint64], bound: int) -> int:
    """The next draw, uniform on the integers 0 .. ``bound - 1`` (``bound`` below 2**31; bias
    below 2**-22).
    """
    return int(uniform(state) * bound)


def uniforms(seed: int, *names: str | int, first: int, count: int) -> NDArray[np.float64]:
    """Draws number ``first`` .. ``first + count - 1`` (from 0) of the kernel stream ``names``:
    what ``uniform`` gives there, uniform on [0, 1), float64 ``[count]``, at once.
    """
    z = np.arange(first + 1, first + count + 1, dtype=np.uint64) * _GOLDEN
    z += draws(seed, *names)[0]
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    z ^= z >> _S31
    return (z >> _S11).astype(np.float64) * 1.1102230246251565e-16
