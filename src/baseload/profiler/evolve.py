"""Covariance matrix adaptation: a search for rough, ill-conditioned functions of few numbers.

The replay's cost is piecewise smooth at best, and some of its numbers can stand in for each other.
The method learns that shape from the points it tries (Hansen, "The CMA Evolution Strategy: A
Tutorial", arXiv:1604.00772, default settings). Non-negative numbers are kept by mirroring at 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from baseload.base.streams import stream

Floats = NDArray[np.float64]


def evolve(
    cost: Callable[[Floats], float],
    start: Floats,
    *,
    spread: float = 0.3,
    generations: int = 200,
    least_gain: float = 1e-3,
    seed: int = 0,
) -> tuple[Floats, float]:
    """The best point found from ``start`` and its cost; every coordinate stays >= 0.

    ``spread``: first standard deviation, as a share of each coordinate (at least 0.1 of it in
    absolute terms). Stops after ``generations``, or when forty of them gained less than
    ``least_gain`` of the cost. Equal arguments, equal result.
    """
    draws = stream(seed, "calibration", "evolve")
    size = len(start)
    children = 4 + int(3 * np.log(size)) * 2
    parents = children // 2
    weights = np.log(parents + 0.5) - np.log(np.arange(1, parents + 1))
    weights /= weights.sum()
    effective = 1.0 / float((weights**2).sum())
    c_sigma = (effective + 2) / (size + effective + 5)
    damping = 1 + 2 * max(0.0, np.sqrt((effective - 1) / (size + 1)) - 1) + c_sigma
    c_path = (4 + effective / size) / (size + 4 + 2 * effective / size)
    c_one = 2 / ((size + 1.3) ** 2 + effective)
    c_many = min(1 - c_one, 2 * (effective - 2 + 1 / effective) / ((size + 2) ** 2 + effective))
    typical = np.sqrt(size) * (1 - 1 / (4 * size) + 1 / (21 * size**2))

    mean, sigma = start.astype(float), 1.0
    shape = np.diag((spread * np.maximum(start, 0.3)) ** 2)
    path, path_sigma = np.zeros(size), np.zeros(size)
    best, lowest = start, cost(start)
    history = [lowest]
    for generation in range(1, generations + 1):
        axes_sq, axes = np.linalg.eigh((shape + shape.T) / 2)
        lengths = np.sqrt(np.maximum(axes_sq, 1e-20))
        moves = (draws.standard_normal((children, size)) * lengths) @ axes.T
        points = np.abs(mean + sigma * moves)
        costs = np.array([cost(point) for point in points])
        order = np.argsort(costs, kind="stable")[:parents]
        if costs[order[0]] < lowest:
            best, lowest = points[order[0]], float(costs[order[0]])
        move = weights @ moves[order]
        mean = np.abs(mean + sigma * move)
        whitened = axes @ ((axes.T @ move) / lengths)
        path_sigma = (1 - c_sigma) * path_sigma + np.sqrt(
            c_sigma * (2 - c_sigma) * effective
        ) * whitened
        length = float(np.linalg.norm(path_sigma))
        early = (
            length / np.sqrt(1 - (1 - c_sigma) ** (2 * generation))
            < (1.4 + 2 / (size + 1)) * typical
        )
        path = (1 - c_path) * path + early * np.sqrt(c_path * (2 - c_path) * effective) * move
        spread_of_best = (moves[order].T * weights) @ moves[order]
        shape = (
            (1 - c_one - c_many) * shape + c_one * np.outer(path, path) + c_many * spread_of_best
        )
        sigma *= float(np.exp((c_sigma / damping) * (length / typical - 1)))
        history.append(lowest)
        if generation > 40 and history[-41] - lowest < least_gain * lowest:
            break
    return best, lowest
