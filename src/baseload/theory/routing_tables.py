"""From prices to decisions: what each option costs at each level of the store.

Derived in docs/explanation/variance-aware-routing.md, 5.6. The *full-jump* score takes the worth of
the stored energy before and after the query; the *Taylor* score is its expansion to second order,
good when queries are small against the store. Standing of both: heuristic, built on the diffusion's
prices; measure them with ``lattice.evaluate_policy`` before use.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.dynamic_routing import Prices
from baseload.theory.inputs import Floats, not_negative, number, numbers, positive
from baseload.theory.job_cells import JobCells
from baseload.theory.normal import log_cdf, mills_ratio, pdf
from baseload.theory.routing_instance import Ints, RoutingInstance, check_prices

_FINE = 4097


class ScoreTables(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """``score`` [classes, options, levels] $ at ``level`` [levels] J, infinite for unavailable
    options; ``choice`` [levels, classes]: the cheapest option, ties to the smaller mean, then the
    smaller second moment, then the place in the list.
    """

    level: Floats
    score: Floats
    choice: Ints


def taylor_tables(
    instance: RoutingInstance,
    *,
    level: ArrayLike,
    lamS: ArrayLike,
    om: ArrayLike,
    mean_job: float | None = None,
) -> ScoreTables:
    """lamS mean + om second / 2 + other cost at each level; prices ``lamS`` $/J and ``om`` $/J^2
    are arrays over ``level`` [J].

    With ``om`` = 0 it is the mean-only index, an ablation that is often worse than a static
    routing. Arrivals that are not Poisson add om (ca2 - 1) mean_job mean, for which the present
    mean energy of a query, ``mean_job`` [J], is needed.
    """
    levels = numbers("level", level, shape=(-1,))
    price = numbers("lamS", lamS, shape=levels.shape)
    steep = numbers("om", om, shape=levels.shape)
    score = instance.mean[..., None] * price + 0.5 * instance.second[..., None] * steep
    return _scored(instance, levels, score + _clumping(instance, steep, mean_job))


def full_jump_tables(
    instance: RoutingInstance,
    laws: JobCells,
    *,
    level: ArrayLike,
    worth: Callable[[Floats], Floats],
    om: ArrayLike | None = None,
    mean_job: float | None = None,
) -> ScoreTables:
    """E[worth(S) - worth(S - X)] + other cost at each level S, X by the law of (class, option).

    ``worth`` [J -> $] is the integral of the shadow price from 0, Cu S below 0: for a dynamic
    solution ``lambda s: prices_at(solution, s).value``. It is tabulated on 4,097 even levels up to
    the largest and read by straight lines. ``laws`` holds values and weights [classes, options,
    points]. ``om`` over ``level`` and ``mean_job`` are needed for arrivals that are not Poisson.
    """
    levels = numbers("level", level, shape=(-1,))
    values = numbers("values of the laws", laws.values, least=0.0)
    weights = numbers("weights of the laws", laws.weights, least=-1e-12)
    if values.shape[:2] != instance.shape or weights.shape != values.shape:
        raise ArgumentError(
            "laws", found=f"{values.shape}, {weights.shape}", allowed=f"{instance.shape} x points"
        )
    top = float(levels.max(initial=0.0))
    grid = np.linspace(0.0, top, _FINE) if top > 0 else np.zeros(1)
    table = np.asarray(worth(grid), dtype=np.float64)
    deep = float(np.asarray(worth(np.array([-1.0])))[0])
    score = np.empty((*instance.shape, len(levels)))
    here = _read(levels, grid, table, deep)
    for k in range(instance.shape[0]):
        after = levels - values[k][..., None]
        gone = np.einsum("apn,ap->an", _read(after, grid, table, deep), weights[k])
        score[k] = here - gone
    steep = np.zeros_like(levels) if om is None else numbers("om", om, shape=levels.shape)
    if instance.arrival_scv != 1 and om is None:
        raise ArgumentError("om", found="none", allowed="one for arrivals that are not Poisson")
    return _scored(instance, levels, score + _clumping(instance, steep, mean_job))


def _read(at: Floats, grid: Floats, table: Floats, deep: float) -> Floats:
    """Worth at ``at``: by straight lines inside the store, ``-deep`` $/J below 0."""
    found: Floats = np.interp(at, grid, table) - deep * np.minimum(at, 0.0)
    return found


def _clumping(instance: RoutingInstance, om: Floats, mean_job: float | None) -> Floats | float:
    """The part of the variance's price that falls to mean energy when arrivals clump."""
    if instance.arrival_scv == 1:
        return 0.0
    if mean_job is None:
        raise ArgumentError(
            "mean_job", found="none", allowed="the mean energy of a query [J]: arrivals clump"
        )
    job = not_negative("mean_job", mean_job)
    found: Floats = om * (instance.arrival_scv - 1) * job * instance.mean[..., None]
    return found


def _scored(instance: RoutingInstance, levels: Floats, score: Floats) -> ScoreTables:
    score = score + instance.other_cost[..., None]
    score = np.where(instance.available[..., None], score, np.inf)
    return ScoreTables(
        level=levels, score=score, choice=instance.cheapest(np.moveaxis(score, -1, 0))
    )


def rollout_prices(
    *, S: ArrayLike, theta: float, var: float, B: float, Cu: float = 1.0, Cw: float = 0.0
) -> Prices:
    """Prices for one improvement of a static routing with drift ``theta`` [W] and variance ``var``
    [J^2/s]: slopes of its relative cost at each level ``S`` [J], no solver needed.

    Levels outside [0, B] count as the ends. Heuristic: useful from about 10 mean jobs of storage.
    """
    theta, var = number("theta", theta), not_negative("var", var)
    B = positive("B", B)
    check_prices(number("Cu", Cu), number("Cw", Cw))
    asked = np.asarray(S, dtype=np.float64)
    level = np.clip(numbers("S", asked), 0.0, B)
    with np.errstate(over="ignore"):
        y = np.inf * np.sign(theta) if var == 0 else 2 * theta * B / var
    share, density = _hits_empty_first(level / B, 0.0 if theta == 0 else float(y))
    lamS = -Cw + (Cu + Cw) * share
    om = (Cu + Cw) / B * density
    worth = -Cw * level + (Cu + Cw) * B * _worth(level / B, 0.0 if theta == 0 else float(y))
    return Prices(lamS, om, worth + Cu * np.minimum(asked, 0.0))


def _hits_empty_first(x: Floats, y: float) -> tuple[Floats, Floats]:
    """f = (exp(-y x) - exp(-y)) / (1 - exp(-y)) and -df/dx at x in [0, 1]."""
    if abs(y) < 1e-12:
        return 1 - x, np.ones_like(x)
    if math.isinf(y):
        return np.where(x <= 0 if y > 0 else x < 1, 1.0, 0.0), np.zeros_like(x)
    if y > 0:
        fall = np.exp(-y * x)
        return fall * np.expm1(-y * (1 - x)) / np.expm1(-y), y * fall / -math.expm1(-y)
    rise = np.exp(y * (1 - x))
    return np.expm1(y * (1 - x)) / math.expm1(y), y * rise / math.expm1(y)


def _worth(x: Floats, y: float) -> Floats:
    """Integral of the f above from 0 to x."""
    if abs(y) < 1e-6:
        return x - x * x / 2 - y * (x * x / 4 - x**3 / 6)
    if math.isinf(y):
        return np.zeros_like(x) if y > 0 else x
    if y > 0:
        found = (-np.expm1(-y * x) / y - x * math.exp(-y)) / -math.expm1(-y)
        return np.asarray(found)
    grown = (math.exp(y) * np.expm1(-y * x) / -y) if y > -30 else np.exp(y * (1 - x)) / -y
    return np.asarray((grown - x) / math.expm1(y))


def horizon_prices(*, S: ArrayLike, theta: float, var: float, T: float, Cu: float = 1.0) -> Prices:
    """Prices with an endless store and ``T`` s to go: a joule is worth Cu times the probability
    that the store runs empty before the end, from level ``S`` [J] with drift ``theta`` [W] and
    variance ``var`` [J^2/s] > 0.

    ``om`` is Cu times the density of the running maximum of the net drain. ``T`` may be infinite or
    0. The worth (third member) is not given here: NaN. Exact for the diffusion at a given routing.
    """
    theta, var = number("theta", theta), positive("var", var)
    T = not_negative("T", T, infinite=True)
    Cu = number("Cu", Cu)
    level = np.maximum(numbers("S", np.asarray(S, dtype=np.float64)), 0.0)
    pairs = [_hit_and_density(float(one), theta, var, T) for one in level.ravel()]
    hit = np.array([pair[0] for pair in pairs]).reshape(level.shape)
    density = np.array([pair[1] for pair in pairs]).reshape(level.shape)
    return Prices(Cu * hit, Cu * density, np.full(level.shape, np.nan))


def _hit_and_density(x: float, theta: float, var: float, T: float) -> tuple[float, float]:
    """P(a diffusion from x reaches 0 by T) and minus its slope in x."""
    if T == 0:
        return (1.0 if x == 0 else 0.0), 0.0
    if math.isinf(T):
        if theta <= 0:
            return 1.0, 0.0
        fall = math.exp(-2 * theta * x / var)
        return fall, 2 * theta / var * fall
    s = math.sqrt(var * T)
    low, high = (x + theta * T) / s, (x - theta * T) / s
    reflected = math.exp(min(-2 * theta * x / var + log_cdf(-high), 0.0))
    hit = 1.0 if x == 0 else min(math.exp(log_cdf(-low)) + reflected, 1.0)
    if high > -5:  # one bracket, because both terms are large when the drift is down
        bracket = 1 + theta * T / s * mills_ratio(high)
        return hit, max(2 * pdf(low) / s * bracket, 0.0)
    return hit, 2 * pdf(low) / s + 2 * theta / var * reflected
