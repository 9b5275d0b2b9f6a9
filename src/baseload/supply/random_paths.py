"""Paths of the random processes behind a baseline, drawn from their exact laws.

Nothing is stepped on a grid finer than what is asked: the mean of an Ornstein-Uhlenbeck process
over a slot is drawn together with its value at the slot's end, and a Markov chain is drawn jump by
jump.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import ArgumentError
from baseload.base.inputs import Floats, numbers
from baseload.base.kernels import kernel
from baseload.base.streams import stream
from baseload.supply.series import step_means

Randomness: TypeAlias = np.random.Generator | tuple[int | str, ...]
"""Where random numbers come from: a generator, which is drawn from in order, or a seed followed by
names (``(7, "supply")``), which gives the same numbers whatever else draws.
"""

_BLOCK = 4096
_SMALL = 1e-2
_ROW_SUM_ERROR = 1e-9


def generator_of(what: str, random: Randomness | None) -> np.random.Generator:
    """The generator that ``random`` stands for; raises ``ArgumentError`` where a random source
    (``what``) gets none.
    """
    if random is None:
        raise ArgumentError(
            f"{what}: random",
            found="None",
            allowed="a numpy Generator, or a seed and a name such as (7, 'supply')",
        )
    if isinstance(random, np.random.Generator):
        return random
    seed, *names = random
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ArgumentError(f"{what}: seed", found=repr(seed), allowed="an integer >= 0")
    return stream(seed, *names)


def named(random: Randomness | None, name: str | int) -> Randomness | None:
    """The stream of a part: a seed and names get one name more, a generator stays as it is."""
    return (*random, name) if isinstance(random, tuple) else random


@kernel
def recursion(factor: Floats, noise: Floats, start: float, path: Floats) -> None:
    """``path[k] = factor[k] * path[k - 1] + noise[k]`` from ``start``, into ``path`` ``[n]``."""
    value = start
    for at in range(noise.shape[0]):
        value = factor[at] * value + noise[at]
        path[at] = value


def ar1_path(rng: np.random.Generator, count: int, coefficient: float) -> Floats:
    """``count`` values of a stationary AR(1) sequence with mean 0, variance 1."""
    drawn = rng.standard_normal(count)
    path = np.empty(count)
    if count:
        factor = np.full(count, coefficient)
        drawn[1:] *= math.sqrt(1.0 - coefficient**2)
        factor[0] = 0.0
        recursion(factor, drawn, 0.0, path)
    return path


def ou_means(rng: np.random.Generator, slot_s: Floats, time_s: float) -> Floats:
    """Means over slots of ``slot_s`` [s] ``[n]`` of a stationary Ornstein-Uhlenbeck process with
    mean 0, variance 1 and correlation time ``time_s`` [s].

    Exact: value at the end and mean over a slot are jointly normal given the value at its start
    (Gillespie, Exact numerical simulation of the Ornstein-Uhlenbeck process and its integral,
    Phys. Rev. E 54, 1996).
    """
    count = len(slot_s)
    first = float(rng.standard_normal())
    drawn = rng.standard_normal((count, 2)).T  # a longer run begins as a shorter one
    r = slot_s / time_s
    decay, left = np.exp(-r), -np.expm1(-r)
    end_variance = -np.expm1(-2.0 * r)
    path = np.empty(count)
    recursion(decay, np.sqrt(end_variance) * drawn[0], first, path)
    starts = np.concatenate(([first], path[:-1]))[:count]
    # of the integral over the slot, in correlation times
    given_end = left**2 / np.sqrt(end_variance)
    rest = np.sqrt(np.maximum(0.0, 2.0 * _squared_left(r) - given_end**2))
    integral = starts * left + given_end * drawn[0] + rest * drawn[1]
    means: Floats = integral / r
    return means


def _squared_left(r: Floats) -> Floats:
    """Integral of (1 - exp(-u))^2 from 0 to ``r``, by its series where the terms cancel."""
    series = r**3 * (1 / 3 - r * (1 / 4 - r * (7 / 60 - r / 24)))
    left = -np.expm1(-r)
    direct = r - left - 0.5 * left**2
    given: Floats = np.where(r < _SMALL, series, direct)
    return given


def checked_chain(what: str, generator: ArrayLike, states: int) -> Floats:
    """The rates [1/s] of a Markov chain, ``[states, states]``: off the diagonal >= 0, rows that sum
    to 0 within 1e-9 of the largest rate, every state within reach of every other.

    Raises ``ArgumentError`` naming ``what``.
    """
    rates = numbers(f"{what}: generator", generator, shape=(states, states))
    off = rates - np.diag(np.diag(rates))
    if (off < 0.0).any():
        raise ArgumentError(
            f"{what}: generator", found=f"{off.min()!r}", allowed="rates >= 0 off the diagonal"
        )
    worst = float(np.abs(rates.sum(axis=1)).max())
    if worst > _ROW_SUM_ERROR * float(np.abs(rates).max()):
        raise ArgumentError(
            f"{what}: generator", found=f"a row that sums to {worst:.6g}", allowed="rows of sum 0"
        )
    reach = np.linalg.matrix_power((off > 0.0) + np.eye(states), max(1, states - 1)) > 0.0
    if not reach.all():
        raise ArgumentError(
            f"{what}: generator",
            found="states that cannot be reached from others",
            allowed="a chain in which every state reaches every other",
        )
    return off - np.diag(off.sum(axis=1))


def stationary(generator: Floats) -> Floats:
    """The stationary distribution of a chain with the rates ``generator``: float64 ``[states]``."""
    states = len(generator)
    system = np.vstack((generator.T, np.ones(states)))
    target = np.concatenate((np.zeros(states), [1.0]))
    found = np.maximum(np.linalg.lstsq(system, target, rcond=None)[0], 0.0)
    given: Floats = found / found.sum()
    return given


@kernel
def _jumps(
    cumulative: Floats,
    rates: Floats,
    state: int,
    now_s: float,
    waits: Floats,
    choices: Floats,
    times_s: Floats,
    states: NDArray[np.int64],
) -> None:
    """Follow a chain through ``waits`` (exponential, mean 1) and ``choices`` (uniform): the instant
    of each jump and the state after it.
    """
    for at in range(waits.shape[0]):
        now_s += waits[at] / rates[state]
        row, chosen = cumulative[state], 0
        while row[chosen] <= choices[at]:
            chosen += 1
        state = chosen
        times_s[at], states[at] = now_s, state


def chain_means(
    rng: np.random.Generator, values: Floats, generator: Floats, edges_s: Floats
) -> Floats:
    """Means over slots of ``values[state]`` along a stationary Markov chain: float64 ``[n]``."""
    if len(edges_s) < 2:
        return np.zeros(0)
    states = len(values)
    state = int(rng.choice(states, p=stationary(generator)))
    now_s, end_s = float(edges_s[0]), float(edges_s[-1])
    if states == 1:
        return np.full(len(edges_s) - 1, float(values[0]))
    rates = -np.diag(generator).copy()
    odds = np.maximum(generator, 0.0) / rates[:, None]
    np.fill_diagonal(odds, 0.0)
    cumulative = np.cumsum(odds, axis=1)
    cumulative /= cumulative[:, -1:]
    all_times, all_states = [np.array([now_s])], [np.array([state])]
    while now_s < end_s:
        times_s, after = np.empty(_BLOCK), np.empty(_BLOCK, dtype=np.int64)
        waits, choices = rng.standard_exponential(_BLOCK), rng.random(_BLOCK)
        _jumps(cumulative, rates, state, now_s, waits, choices, times_s, after)
        now_s, state = float(times_s[-1]), int(after[-1])
        all_times.append(times_s)
        all_states.append(after)
    breaks_s = np.concatenate(all_times)
    return step_means(breaks_s, values[np.concatenate(all_states)[:-1]], edges_s)
