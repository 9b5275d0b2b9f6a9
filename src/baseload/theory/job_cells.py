"""The energy of one query as a list of values and weights: on a lattice, or by quantile cells.

A law is fixed by mean and mean square: "lognormal" and "gamma" use both, "exponential" and
"deterministic" the mean only. Used by docs/explanation/variance-aware-routing.md, 5.6 and 5.9.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammainc, gammaincinv, ndtr

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import Floats, numbers, positive, second_moments

Family = Literal["lognormal", "gamma", "exponential", "deterministic"]
FAMILIES: tuple[Family, ...] = ("lognormal", "gamma", "exponential", "deterministic")

CAP_J = 80.0
"""Where the lattice ends unless told otherwise: all mass above lies there."""

_LOW_Z, _HIGH_Z = -4.0, 6.0


class JobCells(NamedTuple):
    """``values`` [..., points] J and ``weights`` [..., points], which sum to 1, for each cell of a
    table of options; points of weight 0 may pad.
    """

    values: Floats
    weights: Floats


def family_of(text: str) -> tuple[Family, float]:
    """Family and lattice cap [J] that a description names, as in "lognormal, tail >80 lumped"."""
    words = str(text).casefold()
    found = [family for family in FAMILIES if family in words]
    if "constant" in words:
        found.append("deterministic")
    if len(found) != 1:
        raise ArgumentError("dist", found=repr(text), allowed=", ".join(FAMILIES))
    cap = re.search(r">\s*([0-9.]+)", words)
    return found[0], float(cap[1]) if cap else CAP_J


def _shape(mean: float, second: float) -> float:
    """Squared coefficient of variation."""
    return second / (mean * mean) - 1


def _cdf(family: Family, mean: float, second: float, x: Floats) -> Floats:
    """P(X <= x)."""
    inside = np.maximum(x, 0.0)
    scv = _shape(mean, second) if mean > 0 else 0.0
    if mean == 0 or family == "deterministic" or (family != "exponential" and scv <= 1e-14):
        return np.where(x >= mean, 1.0, 0.0)
    if family == "exponential":
        return -np.expm1(-inside / mean)
    if family == "gamma":
        return np.asarray(gammainc(1 / scv, inside / (mean * scv)))
    spread = math.log1p(scv)
    with np.errstate(divide="ignore"):
        z = (np.log(inside) - math.log(mean) + spread / 2) / math.sqrt(spread)
    return np.asarray(ndtr(z))


def lattice_laws(
    mean: ArrayLike,
    second: ArrayLike,
    *,
    delta: float,
    dist: str = "lognormal",
    cap: float | None = None,
) -> Floats:
    """Probabilities [..., points] of 0, delta, 2 delta, ... up to the cap, for each mean and mean
    square: the mass within delta / 2 of each multiple, all mass beyond at the cap.

    The cap is 80 J unless ``cap`` or a ``dist`` like "lognormal, tail >40 lumped at 40" names
    another. The lattice moves the mean by up to O(delta).
    """
    delta = positive("delta", delta)
    family, named = family_of(dist)
    means = numbers("mean", mean, least=0.0)
    squares = second_moments("second", second, means)
    points = max(round(positive("cap", named if cap is None else cap) / delta), 1)
    edges: Floats = (np.arange(points, dtype=np.float64) + 0.5) * delta
    found = np.empty((*means.shape, points + 1))
    for place in np.ndindex(means.shape):
        below = _cdf(family, float(means[place]), float(squares[place]), edges)
        found[place] = np.diff(np.concatenate([[0.0], below, [1.0]]))
    return found


def quantile_laws(
    mean: ArrayLike, second: ArrayLike, *, dist: str = "lognormal", cells: int = 40
) -> JobCells:
    """Each law as ``cells`` + 2 values: the conditional means of cells whose edges are normal
    quantiles from -4 to 6. The mean is exact; of the spread a few parts in a thousand is lost.
    """
    family, _ = family_of(dist)
    means = numbers("mean", mean, least=0.0)
    squares = second_moments("second", second, means)
    z = np.linspace(_LOW_Z, _HIGH_Z, cells + 1)
    values = np.zeros((*means.shape, cells + 2))
    weights = np.zeros_like(values)
    for place in np.ndindex(means.shape):
        cell: Any = _cells(family, float(means[place]), float(squares[place]), z)
        values[place], weights[place] = cell
    return JobCells(values, weights)


def _cells(family: Family, mean: float, second: float, z: Floats) -> tuple[Floats, Floats]:
    """Conditional means and probabilities of the cells between the quantiles of ``z``."""
    weights = np.diff(np.concatenate([[0.0], ndtr(z), [1.0]]))
    scv = 1.0 if family == "exponential" else (_shape(mean, second) if mean > 0 else 0.0)
    if mean == 0 or family == "deterministic" or scv <= 1e-14:
        return np.full(len(weights), mean), weights
    if family == "lognormal":
        below = ndtr(z - math.sqrt(math.log1p(scv)))
    else:
        edge = gammaincinv(1 / scv, ndtr(z))
        below = gammainc(1 / scv + 1, edge)
    part = np.diff(np.concatenate([[0.0], below, [1.0]]))
    return mean * part / weights, weights
