"""The long-run variance of net energy, sigma2 = lim Var(N_t) / t [J^2/s], and its parts.

Derived in docs/explanation/variance-budget.md, section 4. A variance rate says what a store sees
only if the store is large against one correlated episode.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import (
    Floats,
    finite_result,
    not_negative,
    number,
    numbers,
    positive,
    second_moments,
    shares,
)
from baseload.theory.numerics import sparse_rows


class VarianceComponents(msgspec.Struct, frozen=True, kw_only=True):
    """Variance per arrival by cause [J^2]; times the arrival rate it is a part of sigma2.

    ``mix`` of classes with different means; ``model`` and ``effort``: random choice of model and
    effort given the class; ``execution``: spread of one query once all is chosen; ``arrival``:
    random gaps between arrivals; ``total`` their sum.
    """

    mix: float
    model: float
    effort: float
    execution: float
    arrival: float
    total: float


def sigma2_compound_renewal(
    *,
    lam: float,
    mean: ArrayLike,
    var: ArrayLike | None = None,
    second: ArrayLike | None = None,
    p: ArrayLike | None = None,
    ca2: float = 1.0,
) -> float:
    """sigma2 = lam (Var X + ca2 (E X)^2) of independent jobs at renewal epochs [J^2/s].

    ``lam`` [1/s]; ``mean`` [J] and ``var`` [J^2] (or ``second`` moment [J^2]) of a job, one number
    or one a class [classes]; ``p`` [classes] probabilities (may be left out for one class); ``ca2``
    squared coefficient of variation of the gaps, 1 for Poisson. Exact (renewal reward;
    docs/explanation/variance-budget.md, 4.1). Raises ArgumentError.
    """
    rate, gaps = not_negative("lam", lam), not_negative("ca2", ca2)
    means = np.atleast_1d(numbers("mean", mean, least=0.0))
    spreads = _variances(means, var, second)
    if p is None and means.size > 1:
        raise ArgumentError("p", found="nothing", allowed=f"{means.size} probabilities")
    weights = shares("p", np.ones(1) if p is None else np.atleast_1d(numbers("p", p)))
    if weights.shape != means.shape:
        raise ArgumentError("p", found=f"shape {weights.shape}", allowed=f"shape {means.shape}")
    overall = float(weights @ means)
    variance = float(weights @ (spreads + (means - overall) ** 2))
    return finite_result(
        "sigma2_compound_renewal", rate * (variance + gaps * overall**2), lam=lam, ca2=ca2
    )


def _variances(mean: Floats, var: ArrayLike | None, second: ArrayLike | None) -> Floats:
    """Variances of the shape of ``mean``, from either of the two."""
    if (var is None) == (second is None):
        raise ArgumentError("var", found="both or neither", allowed="one of var and second")
    if var is not None:
        return numbers("var", np.broadcast_to(numbers("var", var), mean.shape), least=0.0)
    moments = np.broadcast_to(numbers("second", second), mean.shape)  # type: ignore[arg-type]
    return np.maximum(second_moments("second", moments, mean) - mean**2, 0.0)


def variance_components(
    *,
    w: ArrayLike,
    p: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike | None = None,
    second: ArrayLike | None = None,
    ca2: float = 0.0,
) -> VarianceComponents:
    """Where the variance of one arrival's energy comes from [J^2].

    ``w`` [classes] share of each class; ``p`` [classes, models, efforts] (or [classes, models])
    routing probabilities, 1 in sum for each class; ``mean`` [J] and ``var`` [J^2] (or ``second``
    moment) of the same shape; ``ca2`` of the gaps between arrivals, 0 to leave them out. Exact: the
    law of total variance, taken class, model, effort, query, in centred sums
    (docs/explanation/variance-budget.md, 4.2). Raises ArgumentError.
    """
    classes = shares("w", numbers("w", w, shape=(-1,)))
    routing = _three("p", numbers("p", p))
    routing = shares("p", routing, axes=2)
    means = _three("mean", numbers("mean", mean, least=0.0))
    given = {
        key: None if value is None else _three(key, numbers(key, value))
        for key, value in (("var", var), ("second", second))
    }
    shape = (classes.size, *routing.shape[1:])
    for field, found in {"p": routing, "mean": means, **given}.items():
        if found is not None and found.shape != shape:
            raise ArgumentError(field, found=f"shape {found.shape}", allowed=f"shape {shape}")
    spreads = _variances(means, given["var"], given["second"])
    by_model = routing.sum(axis=2)
    inside = np.where(by_model > 0, by_model, 1.0)
    mean_model = (routing * means).sum(axis=2) / inside
    mean_class = (by_model * mean_model).sum(axis=1)
    overall = float(classes @ mean_class)
    mix = float(classes @ (mean_class - overall) ** 2)
    model = float(classes @ (by_model * (mean_model - mean_class[:, None]) ** 2).sum(axis=1))
    effort = float(classes @ (routing * (means - mean_model[:, :, None]) ** 2).sum(axis=(1, 2)))
    execution = float(classes @ (routing * spreads).sum(axis=(1, 2)))
    arrival = not_negative("ca2", ca2) * overall**2
    return VarianceComponents(
        mix=mix,
        model=model,
        effort=effort,
        execution=execution,
        arrival=arrival,
        total=mix + model + effort + execution + arrival,
    )


def _three(field: str, values: Floats) -> Floats:
    """``values`` with axes class, model, effort; one effort where that axis is missing."""
    if values.ndim == 2:
        return values[:, :, None]
    if values.ndim != 3:
        raise ArgumentError(
            field, found=f"shape {values.shape}", allowed="[classes, models, efforts]"
        )
    return values


def stationary_law(Q: ArrayLike) -> Floats:
    """Long-run shares [states] of the Markov chain with generator ``Q`` [states, states] [1/s].

    By elimination without subtractions (Grassmann, Taksar, Heyman), accurate for stiff chains.
    Raises ArgumentError (``Q``) unless off-diagonal entries are >= 0, rows sum to 0 within 1e-9 of
    the largest entry and every state reaches every other.
    """
    law, _ = _chain(_generator(Q))
    return law


def _chain(rates: Floats, r: Floats | None = None) -> tuple[Floats, float]:
    """Long-run law of the chain with off-diagonal ``rates`` (overwritten), and the variance rate
    of int r(J_t) dt; both by one elimination without subtractions.

    States are cut out from the last to the first; a cut state passes its rates, and the integral of
    ``r`` until it is left, on to the earlier ones.
    """
    n = rates.shape[0]
    out = np.ones(n)
    for k in range(n - 1, 0, -1):
        out[k] = rates[k, :k].sum()
        rates[:k, k] /= out[k]
        rates[:k, :k] += np.outer(rates[:k, k], rates[k, :k])
    law = np.ones(n)
    for k in range(1, n):
        law[k] = law[:k] @ rates[:k, k]
    law /= law.sum()
    if r is None or not np.any(r - r[0]):
        return law, 0.0
    off = r - r[0]
    off = off - float(law @ off)
    passed = off.copy()
    for k in range(n - 1, 0, -1):
        passed[:k] += rates[:k, k] * passed[k]
    later = np.zeros(n)  # expected integral of ``off`` until state 0 is reached
    for k in range(1, n):
        later[k] = (passed[k] + rates[k, :k] @ later[:k]) / out[k]
    return law, max(2 * float((law * off) @ later), 0.0)


def _generator(Q: ArrayLike) -> Floats:
    """The off-diagonal rates of a valid generator, diagonal 0, as a new array."""
    found = numbers("Q", Q)
    if found.ndim != 2 or found.shape[0] != found.shape[1] or found.size == 0:
        raise ArgumentError("Q", found=f"shape {found.shape}", allowed="a square matrix")
    largest = float(np.abs(found).max())
    rates = found.copy()
    np.fill_diagonal(rates, 0.0)
    if (rates < -1e-12 * largest).any():
        raise ArgumentError("Q", found="a negative rate", allowed="off-diagonal entries from 0")
    sums = np.abs(found.sum(axis=1))
    if (sums > 1e-9 * largest).any():
        raise ArgumentError(
            "Q", found=f"a row with sum {sums.max():g}", allowed="rows that sum to 0"
        )
    rates = np.maximum(rates, 0.0)
    from scipy.sparse.csgraph import connected_components

    parts, _ = connected_components(sparse_rows(rates), directed=True, connection="strong")
    if parts > 1:
        raise ArgumentError(
            "Q", found=f"{parts} groups of states", allowed="every state reaches every other"
        )
    return rates


def sigma2_environment(*, Q: ArrayLike, r: ArrayLike) -> float:
    """Variance rate of int r(J_t) dt for a Markov chain J with generator ``Q`` [J^2/s].

    ``r`` [states]: net power in each state [W]. Adding a constant to ``r`` changes nothing. Exact
    (fundamental matrix of the chain; docs/explanation/variance-budget.md, 4.3). Raises
    ArgumentError.
    """
    rates = _generator(Q)
    _, variance = _chain(rates, numbers("r", r, shape=(rates.shape[0],)))
    return finite_result("sigma2_environment", variance, Q=Q, r=r)


def sigma2_mmpp(
    *,
    Q: ArrayLike,
    lam: ArrayLike,
    mean: ArrayLike,
    second: ArrayLike,
    b: ArrayLike = 0.0,
) -> float:
    """sigma2 of supply and Poisson demand that follow a Markov environment [J^2/s].

    ``Q`` [states, states] generator [1/s]; ``lam`` [states] arrival rates [1/s], or
    [states, classes] where the mix of classes changes with the state; ``mean`` [J] and ``second``
    moment [J^2] of a job, [states], or with classes [classes] or [states, classes]; ``b`` supply
    [W], one number or [states]. Exact (docs/explanation/variance-budget.md, 4.3 and 4.7): Poisson
    part in the long-run law plus the variance of the environment. Raises ArgumentError.
    """
    law = stationary_law(Q)
    rates = numbers("lam", lam, least=0.0)
    shape: tuple[int, ...] = (law.size,)
    if rates.ndim == 2:
        shape = (law.size, rates.shape[1])
    rates = numbers("lam", rates, shape=shape)
    means = _spread_over("mean", mean, shape)
    if (means < 0).any():
        raise ArgumentError("mean", found="a negative energy", allowed="from 0 J")
    seconds = second_moments("second", _spread_over("second", second, shape), means)
    energy, square = rates * means, rates * seconds
    if len(shape) == 2:
        energy, square = energy.sum(axis=1), square.sum(axis=1)
    supply = _spread_over("b", b, law.shape)
    total = float(law @ square) + sigma2_environment(Q=Q, r=supply - energy)
    return finite_result("sigma2_mmpp", total, Q=Q, lam=lam)


def _spread_over(field: str, values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    """``values`` as an array of ``shape``; one number or one row stands for all states."""
    found = numbers(field, values)
    try:
        return np.array(np.broadcast_to(found, shape))
    except ValueError as error:
        raise ArgumentError(
            field, found=f"shape {found.shape}", allowed=f"shape {shape}"
        ) from error


def sigma2_two_states(*, q12: float, q21: float, r1: float, r2: float) -> float:
    """Variance rate of a power that alternates between ``r1`` and ``r2`` [W]: [J^2/s].

    ``q12``, ``q21`` [1/s] rates of leaving state 1 and 2. Exact: 2 p1 p2 (r1 - r2)^2 / (q12 + q21)
    (docs/explanation/variance-budget.md, 4.3). Raises ArgumentError.
    """
    leave, back = positive("q12", q12), positive("q21", q21)
    step = number("r1", r1) - number("r2", r2)
    both = leave + back
    return finite_result(
        "sigma2_two_states",
        2 * (back / both) * (leave / both) * step * step / both,
        q12=q12,
        q21=q21,
        r1=r1,
        r2=r2,
    )


def sigma2_ar1(*, phi: float, var: float, slot: float) -> float:
    """sigma2 of slot energies that follow an AR(1): var (1 + phi) / (1 - phi) / slot [J^2/s].

    ``phi`` in (-1, 1) lag-1 correlation, ``var`` variance of one slot's energy [J^2], ``slot`` [s].
    Exact (docs/explanation/variance-budget.md, 4.4). Raises ArgumentError.
    """
    lag = number("phi", phi, least=-1.0, most=1.0, open_least=True, open_most=True)
    spread, length = not_negative("var", var), positive("slot", slot)
    return finite_result(
        "sigma2_ar1", spread * (1 + lag) / (1 - lag) / length, phi=phi, var=var, slot=slot
    )


def sigma2_ou(*, var: float, tau: float) -> float:
    """sigma2 of a power that follows an Ornstein-Uhlenbeck process: 2 var tau [J^2/s].

    ``var`` stationary variance of the power [W^2], ``tau`` correlation time [s]. Exact
    (docs/explanation/variance-budget.md, 4.4). Raises ArgumentError.
    """
    return finite_result(
        "sigma2_ou", 2 * not_negative("var", var) * not_negative("tau", tau), var=var, tau=tau
    )


def sigma2_from_autocovariance(*, gamma: ArrayLike, slot: float) -> float:
    """sigma2 from the autocovariances of slot energies: (gamma_0 + 2 sum gamma_h) / slot [J^2/s].

    ``gamma`` [lags + 1] [J^2] from lag 0 on, ``slot`` [s]. Exact for a complete sequence
    (docs/explanation/variance-budget.md, 4.4). Raises ArgumentError, also for a sequence that no
    process has (negative sum: cut off too early).
    """
    lags = numbers("gamma", gamma, shape=(-1,))
    if lags.size == 0 or lags[0] < 0:
        raise ArgumentError("gamma", found="no variance", allowed="lag 0 first, from 0 on")
    total = math.fsum([lags[0], *(2 * lags[1:]).tolist()])
    if total < -1e-12 * lags[0]:
        raise ArgumentError(
            "gamma",
            found=f"a sum of {total:g}",
            allowed="a sum over all lags from 0",
            todo="give more lags, or estimate sigma2 from batch means",
        )
    return max(total, 0.0) / positive("slot", slot)


def sigma2_shared_factor(
    *, lam: float, mean: float, second: float, slot: float, var_factor: float, phi: float = 0.0
) -> float:
    """sigma2 of Poisson jobs whose energies share one random factor a slot [J^2/s].

    ``lam`` [1/s], ``mean`` [J] and ``second`` moment [J^2] of a job without the factor, ``slot``
    [s], ``var_factor`` variance of the factor (its mean is 1), ``phi`` its lag-1 correlation from
    slot to slot. The shared part grows as lam^2: it does not pool. Exact
    (docs/explanation/variance-budget.md, 4.5). Raises ArgumentError.
    """
    rate, length = not_negative("lam", lam), positive("slot", slot)
    average = not_negative("mean", mean)
    moment = float(second_moments("second", np.array([second]), np.array([average]))[0])
    factor = not_negative("var_factor", var_factor)
    lag = number("phi", phi, least=-1.0, most=1.0, open_least=True, open_most=True)
    shared = factor * (rate * average) ** 2 * length * (1 + lag) / (1 - lag)
    inputs: dict[str, Any] = {"lam": lam, "mean": mean, "second": second, "slot": slot}
    return finite_result("sigma2_shared_factor", (1 + factor) * rate * moment + shared, **inputs)
