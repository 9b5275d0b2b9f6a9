"""Long-run variance rates of baselines [J^2/s]: lim Var(energy up to t) / t, where a closed form
exists.

A deterministic supply, with its seasons, has rate 0. Derived in
docs/explanation/variance-budget.md, 4.3 and 4.4; textbook results on Markov-modulated and
autoregressive processes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from baseload.base.inputs import Floats, not_negative, number, numbers, positive
from baseload.supply.random_paths import checked_chain, stationary


def ou_variance_rate(*, variance_w2: float, time_s: float) -> float:
    """Of an Ornstein-Uhlenbeck power with ``variance_w2`` [W^2] and correlation time ``time_s``
    [s]: ``2 v tau`` [J^2/s]. Exact.
    """
    return 2.0 * not_negative("variance_w2", variance_w2) * positive("time_s", time_s)


def ar1_variance_rate(*, variance_j2: float, coefficient: float, slot_s: float) -> float:
    """Of slots of ``slot_s`` [s] whose energies have variance ``variance_j2`` [J^2] and follow an
    AR(1) law with ``coefficient`` in (-1, 1): ``v (1 + f) / (1 - f) / D`` [J^2/s]. Exact.
    """
    f = number("coefficient", coefficient, least=-1.0, most=1.0, open_least=True, open_most=True)
    variance = not_negative("variance_j2", variance_j2)
    return variance * (1.0 + f) / (1.0 - f) / positive("slot_s", slot_s)


def periodic_ar1_variance_rate(
    *, profile_j: ArrayLike, variance: float, coefficient: float, slot_s: float
) -> float:
    """Of slots whose energies are ``profile_j[k mod n]`` [J] times an AR(1) factor with
    ``variance`` and ``coefficient`` f in (-1, 1), slots of ``slot_s`` [s].

    Sums the autocovariances over one period and all lags; all lags that agree mod n form a
    geometric series. Exact; with equal profile the same as ``ar1_variance_rate``.
    """
    profile = numbers("profile_j", profile_j, shape=(-1,))
    f = number("coefficient", coefficient, least=-1.0, most=1.0, open_least=True, open_most=True)
    n, length_s = len(profile), positive("slot_s", slot_s)
    lags = np.arange(n)
    weights = (f**lags + f ** (n - lags)) / (1.0 - f**n)
    weights[0] = (1.0 + f**n) / (1.0 - f**n)
    pairs = np.array([float(profile @ np.roll(profile, -lag)) for lag in lags])
    rate = not_negative("variance", variance) * float(pairs @ weights) / (n * length_s)
    return max(0.0, rate)


def markov_variance_rate(*, power_w: ArrayLike, generator: ArrayLike) -> float:
    """Of a power that is ``power_w[state]`` [W] in each state of a Markov chain with the rates
    ``generator`` [1/s]: ``2 (pi r) D r`` [J^2/s], D the deviation matrix
    ``inv(1 pi - Q) - 1 pi``. Exact.

    Raises ``ArgumentError`` for a chain that is reducible or whose rows do not sum to 0.
    """
    power = numbers("power_w", power_w, shape=(-1,))
    rates = checked_chain("markov_variance_rate", generator, len(power))
    shares = stationary(rates)
    scale = float(np.abs(rates).max()) or 1.0  # time in units of the fastest rate: well conditioned
    ones: Floats = np.outer(np.ones(len(power)), shares)
    deviation = np.linalg.inv(ones - rates / scale) - ones
    centred = power - float(shares @ power)
    return max(0.0, 2.0 * float((shares * centred) @ deviation @ centred) / scale)
