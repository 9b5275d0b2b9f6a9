"""Does a series of net energy follow the day? If so, only whole days are alike, and blocks of an
estimate must be whole days.

A line of the periodogram at one or two turns a day against its neighbours: under no daily cycle,
and a spectrum that is smooth around the line, the ratio to the mean of m neighbours exceeds r with
probability (1 + r / m)^-m. docs/explanation/monitoring.md, 7.3.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.units import S_PER_DAY
from baseload.theory.inputs import Floats, numbers, positive

LEAST_DAYS = 6
_MOST_BINS, _LEAST_BINS = 48, 4
_CHANCE = 1e-4
_LEAST_SWING = 0.1


class DailyCycle(msgspec.Struct, frozen=True, kw_only=True):
    """What the days of a series have in common.

    ``found``: whether the net power follows the day; None where the series is too short (below
    ``LEAST_DAYS`` days) or its slots too long to tell. ``profile_w``: mean net power by equal part
    of the day, empty where nothing was found. ``swing_j``: storage that the profile moves in a day.
    """

    found: bool | None
    days: int
    profile_w: tuple[float, ...]
    swing_j: float


def rebinned(net_j: ArrayLike, length_s: ArrayLike, unit_s: float) -> Floats:
    """Energies of whole units of ``unit_s`` seconds from slots of any lengths; power is taken as
    constant within a slot, and a rest at the end that fills no unit is left out.
    """
    energy, length = _slots(net_j, length_s)
    ends = np.concatenate([[0.0], np.cumsum(length)])
    filled = math.floor(ends[-1] / positive("unit_s", unit_s) * (1 + 1e-12))
    edges = np.minimum(unit_s * np.arange(filled + 1), ends[-1])
    level = np.interp(edges, ends, np.concatenate([[0.0], np.cumsum(energy)]))
    units: Floats = np.diff(level)
    return units


def _slots(net_j: ArrayLike, length_s: ArrayLike) -> tuple[Floats, Floats]:
    energy = numbers("net_j", net_j, shape=(-1,))
    length = np.broadcast_to(numbers("length_s", length_s, least=0.0), energy.shape)
    return energy, length


def daily_cycle(net_j: ArrayLike, length_s: ArrayLike) -> DailyCycle:
    """Whether the net energies ``net_j`` [J] of slots of ``length_s`` [s] follow the day.

    Found where the line at one or two turns a day stands out with a chance below 1e-4 and the
    profile moves more than a tenth of the standard deviation of a day's net energy. Heuristic.
    """
    energy, length = _slots(net_j, length_s)
    days = math.floor(float(length.sum()) / S_PER_DAY * (1 + 1e-12)) if energy.size else 0
    bins = 0
    if energy.size:
        bins = min(_MOST_BINS, math.floor(S_PER_DAY / float(np.median(length)) * (1 + 1e-9)))
    if days < LEAST_DAYS or bins < _LEAST_BINS:
        return DailyCycle(found=None, days=days, profile_w=(), swing_j=0.0)
    part_s = S_PER_DAY / bins
    parts = rebinned(energy, length, part_s)[: days * bins].reshape(days, bins)
    profile = parts.mean(axis=0)
    swing = float(np.ptp(np.concatenate([[0.0], np.cumsum(profile - profile.mean())])))
    spread = float(np.std(parts.sum(axis=1), ddof=1))
    found = swing > _LEAST_SWING * spread and min(_chances(parts.ravel(), days)) < _CHANCE
    return DailyCycle(
        found=found,
        days=days,
        profile_w=tuple((profile / part_s).tolist()) if found else (),
        swing_j=swing if found else 0.0,
    )


def _chances(series: Floats, days: int) -> list[float]:
    """Probability of lines as strong as those at one and two turns a day."""
    power = np.abs(np.fft.rfft(series - series.mean())) ** 2
    total = float(power.sum())
    chances = []
    for turns in (1, 2):
        at = turns * days
        reach = max(days * 2 // 5, 2)
        near = [k for k in range(at - reach, at + reach + 1) if k > 0 and k < power.size]
        skip = 1 if days >= 8 else 0
        around = power[[k for k in near if abs(k - at) > skip]]
        if at >= power.size or around.size == 0 or power[at] <= 1e-20 * total or total == 0:
            chances.append(1.0)
            continue
        mean = float(around.mean())
        ratio = float(power[at]) / mean if mean > 0 else math.inf
        chances.append((1 + ratio / around.size) ** -around.size if ratio < 1e200 else 0.0)
    return chances
