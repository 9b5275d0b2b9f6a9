"""Supply or demand that changes with the hour: net drift theta(t) in place of theta.

Derived in docs/explanation/provisioning.md, 3.10. ``theta`` is given as a function of the time in
seconds, as text (``"1.5*sin(2*pi*t/24)-0.1"``, see ``theory.expression``), as an array of equal
pieces of the time span, or as one number; always in watts. What repeats exactly adds nothing to the
long-run variance: it belongs here, and only the rest into ``var``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import exprel, log_ndtr, ndtr

from baseload.theory.drift import Drift, drift_of
from baseload.theory.inputs import Floats, not_negative, positive, start_level, whole
from baseload.theory.ride_through import p_any_aux_infinite_store

DriftLike = Callable[[float], float] | str | ArrayLike
"""What a time-varying theta [W] may be given as."""

CELLS = 200
_MOST_CELLS = 800
_FLUID_STEPS = 20_000
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


class FluidSwing(msgspec.Struct, frozen=True, kw_only=True):
    """What a repeating drift asks of a store when nothing is random.

    ``mean`` [W] over the period; ``swing`` [J] largest minus smallest cumulative net energy once
    the mean is taken out; ``drawdown`` [J] largest fall of the cumulative net energy itself over
    all time, the least store (full at first) that needs no auxiliary energy, infinite for a
    negative mean; ``surge`` [J] its largest rise, the least store (empty at first) that wastes
    nothing, infinite for a positive mean.
    """

    mean: float
    swing: float
    drawdown: float
    surge: float


class TimeVaryingUse(msgspec.Struct, frozen=True, kw_only=True):
    """Expected energies under a drift that changes with time.

    ``EU`` auxiliary and ``EW`` waste over the whole span [J]. ``end_s`` [steps] ends of the time
    steps; ``u`` and ``w`` [steps] expected rates over each [W]; ``level`` [steps] expected level at
    its end [J]. ``step_error`` [J] is how much EU moved at the last halving of the steps (the
    result is about four times nearer); ``cell_peclet`` = 2 |theta| B / (var cells), largest:
    below 1/2 the grid is good to 1e-3, at 1 to 1 %.
    """

    EU: float
    EW: float
    end_s: Floats
    u: Floats
    w: Floats
    level: Floats
    step_error: float
    cell_peclet: float


class PeriodicUse(msgspec.Struct, frozen=True, kw_only=True):
    """The repeating state under a periodic drift.

    ``u`` auxiliary and ``w`` waste, mean over the period [W]: w - u is the mean drift. ``end_s``,
    ``u_by_step``, ``w_by_step``, ``level_by_step`` [steps] as in ``TimeVaryingUse``;
    ``mean_level`` [J]; ``cell_peclet`` as there.
    """

    u: float
    w: float
    mean_level: float
    end_s: Floats
    u_by_step: Floats
    w_by_step: Floats
    level_by_step: Floats
    cell_peclet: float


def fluid_swing(*, theta: DriftLike, period: float, samples: int = 8192) -> FluidSwing:
    """Storage that a periodic drift of ``period`` [s] moves even without randomness.

    A sinusoid of amplitude a swings a * period / pi. Exact for pieces, for functions by the
    midpoint rule with ``samples`` steps. docs/explanation/provisioning.md, 3.10. Raises
    ArgumentError.
    """
    span = positive("period", period)
    drift = drift_of(theta, span)
    count = drift.aligned(whole("samples", samples, least=2))
    moved = drift.means(np.linspace(0.0, span, count + 1)) * (span / count)
    mean = float(moved.sum()) / span
    around = np.concatenate(([0.0], np.cumsum(moved - mean * span / count)))
    twice = np.concatenate(([0.0], np.cumsum(np.tile(moved, 2))))
    fall = float((np.maximum.accumulate(twice) - twice).max())
    rise = float((twice - np.minimum.accumulate(twice)).max())
    nil = 1e-12 * float(np.abs(moved).sum()) / span
    return FluidSwing(
        mean=mean,
        swing=float(np.ptp(around)),
        drawdown=math.inf if mean < -nil else fall,
        surge=math.inf if mean > nil else rise,
    )


def expected_aux_time_varying(
    *,
    theta: DriftLike,
    var: float,
    B: float,
    S0: float,
    T: float,
    steps: int | None = None,
    cells: int | None = None,
) -> TimeVaryingUse:
    """Expected auxiliary energy and waste until ``T`` [s] from a known level ``S0`` [J].

    ``var`` [J^2/s] is the variance rate around the drift, ``B`` > 0 [J] finite. Solves the
    Fokker-Planck equation of the level (see ``density_steps``); the sharp start is resolved by the
    closed one-wall law of the first moments. ``steps`` fixes the number of time steps; without it
    they are halved until EU and EW move by less than 2e-4. ``cells`` defaults to 200, to at most
    800 where the drift is strong. Exact for the diffusion up to the grid: 1e-3
    (docs/explanation/provisioning.md, 3.10). Raises ArgumentError.
    """
    capacity, spread, span = positive("B", B), not_negative("var", var), not_negative("T", T)
    level = start_level(S0, capacity)
    if span == 0:
        nothing = np.zeros(0)
        return _use(0.0, 0.0, nothing, np.zeros((0, 3)), 1.0, 0.0, 0.0)
    drift = drift_of(theta, span)
    wanted = None if steps is None else whole("steps", steps, least=1)
    if spread == 0:
        ends = np.linspace(0.0, span, drift.aligned(wanted or _FLUID_STEPS) + 1)
        rates = _fluid(drift.means(ends), np.diff(ends), capacity, level)
        return _use(0.0, 0.0, ends, rates, 1.0, 0.0, 0.0)
    count = _cells(cells, drift, spread, capacity)
    peclet = 2 * drift.largest * capacity / spread / count
    first = _first_time(drift, spread, capacity, span)
    mean_0 = float(drift.means(np.array([0.0, first]))[0])
    before = _first_use(level, mean_0, spread, capacity, first)
    if first >= span:
        rates = np.array([[before[0] / span, before[1] / span, np.nan]])
        rates[0, 2] = level + mean_0 * span + before[0] - before[1]
        return _use(0.0, 0.0, np.array([0.0, span]), rates, 1.0, 0.0, peclet)
    start = _first_mass(level, mean_0, spread, capacity, first, count)
    last: TimeVaryingUse | None = None
    for number in _step_counts(wanted, drift):
        ends = _graded(first, span, number)
        rates, _ = _marched(start, drift.means(ends), np.diff(ends), spread, capacity)
        use = _use(before[0], before[1], ends, rates, capacity / count, 0.0, peclet)
        if last is not None:
            error = abs(use.EU - last.EU)
            use = msgspec.structs.replace(use, step_error=error)
            if max(error, abs(use.EW - last.EW)) <= 2e-4 * max(use.EU, use.EW):
                return use
        last = use
    assert last is not None
    return last


def periodic_rates(
    *,
    theta: DriftLike,
    var: float,
    B: float,
    period: float,
    steps: int | None = None,
    cells: int | None = None,
) -> PeriodicUse:
    """Mean auxiliary use and waste once the law of the level repeats with the ``period`` [s].

    Arguments as in ``expected_aux_time_varying``; ``steps`` defaults to two a piece, at
    least 240. The repeating law is the fixed point of one period's linear map,
    found by GMRES from the law after one period, so that slow stores cost few periods. Exact for
    the diffusion up to the grid: 1e-3 while a cell is a tenth of sqrt(var * period), 2 % for
    stores 100 times that large (docs/explanation/provisioning.md, 3.10). Raises ArgumentError.
    """
    capacity, spread, span = positive("B", B), not_negative("var", var), positive("period", period)
    drift = drift_of(theta, span)
    wanted = None if steps is None else whole("steps", steps, least=1)
    count = drift.aligned(wanted or max(240, 2 * drift.pieces))
    ends = np.linspace(0.0, span, count + 1)
    drifts, lengths = drift.means(ends), np.diff(ends)
    if spread == 0:
        start = 0.0 if float((drifts * lengths).sum()) < 0 else capacity
        once = _fluid(drifts, lengths, capacity, start)
        rates = _fluid(drifts, lengths, capacity, float(once[-1, 2]))
        return _periodic(ends, rates, 1.0, 0.0)
    size = _cells(cells, drift, spread, capacity, math.sqrt(spread * span))
    peclet = 2 * drift.largest * capacity / spread / size
    matrix = _rates(drifts, spread, capacity, size)

    def one_period(mass: Floats) -> Floats:
        return _through(mass, lengths, *matrix)[1]

    from scipy.sparse.linalg import LinearOperator, gmres

    guess = one_period(np.full(size, 1 / size))
    missing = one_period(guess) - guess
    if float(np.abs(missing).sum()) > 1e-10:
        operator = LinearOperator(
            (size, size), matvec=lambda v: v.ravel() - one_period(v.ravel()), dtype=np.float64
        )
        change, _ = gmres(
            operator, missing, rtol=1e-7, atol=1e-11, restart=min(size, 200), maxiter=3
        )
        guess = np.maximum(guess + change, 0.0)  # the solver's tolerance, not a law
    rates, _ = _through(guess / guess.sum(), lengths, *matrix)
    return _periodic(ends, rates, capacity / size, peclet)


def _use(
    early_u: float,
    early_w: float,
    ends: Floats,
    rates: Floats,
    unit: float,
    error: float,
    peclet: float,
) -> TimeVaryingUse:
    """The record of a march that began with ``early_u`` and ``early_w`` [J] already used;
    ``rates`` in units of ``unit`` [J].
    """
    lengths, rates = np.diff(ends), rates * unit
    return TimeVaryingUse(
        EU=early_u + float((rates[:, 0] * lengths).sum()),
        EW=early_w + float((rates[:, 1] * lengths).sum()),
        end_s=ends[1:],
        u=rates[:, 0],
        w=rates[:, 1],
        level=rates[:, 2],
        step_error=error,
        cell_peclet=peclet,
    )


def _periodic(ends: Floats, rates: Floats, unit: float, peclet: float) -> PeriodicUse:
    lengths, rates = np.diff(ends), rates * unit
    share = lengths / lengths.sum()
    return PeriodicUse(
        u=float((rates[:, 0] * share).sum()),
        w=float((rates[:, 1] * share).sum()),
        mean_level=float((rates[:, 2] * share).sum()),
        end_s=ends[1:],
        u_by_step=rates[:, 0],
        w_by_step=rates[:, 1],
        level_by_step=rates[:, 2],
        cell_peclet=peclet,
    )


def _cells(cells: int | None, drift: Drift, var: float, B: float, layer: float = math.inf) -> int:
    """The asked number of cells, or enough for cells half as thick as the profile of the largest
    drift and a tenth of ``layer`` [J], which the drift's rhythm stirs at the walls.
    """
    if cells is not None:
        return whole("cells", cells, least=8)
    wanted = max(4 * drift.largest * B / var, 10 * B / layer)
    return math.ceil(min(_MOST_CELLS, max(CELLS, wanted)))


def _step_counts(wanted: int | None, drift: Drift) -> list[int]:
    """Numbers of uniform steps to try in turn."""
    if wanted is not None:
        return [wanted]
    first = drift.aligned(1000) if drift.pieces else 4000  # a function may hide a rhythm
    return [first * 2**k for k in range(7)]


def _graded(first: float, span: float, number: int) -> Floats:
    """Ends of steps from ``first`` to ``span``: growing by a fifth from first / 4 on, then
    ``number`` to the span.
    """
    uniform = span / number
    growing = itertools.takewhile(
        lambda step: step < uniform, (first / 4 * 1.2**k for k in itertools.count())
    )
    early = first + np.cumsum(np.fromiter(growing, dtype=np.float64))
    begin = float(early[-1]) if early.size else first
    if begin >= span:
        early = early[early < span]
        return np.concatenate(([first], early, [span]))
    rest = np.linspace(begin, span, max(1, math.ceil((span - begin) / uniform)) + 1)
    return np.concatenate(([first], early, rest[1:]) if early.size else (rest,))


def _first_time(drift: Drift, var: float, B: float, span: float) -> float:
    """Time up to which the level sees one wall at most and a constant drift will do: the drift's
    wobble moves it by 2 % of its spread at most.
    """
    first = min((B / 16) ** 2 / var, span)
    if drift.largest > 0:
        first = min(first, B / 8 / drift.largest)
    for _ in range(60):
        ends = np.linspace(0.0, first, 17)
        moved = np.cumsum(drift.means(ends)) * (first / 16)
        wobble = moved - moved[-1] * np.arange(1, 17) / 16
        if float(np.abs(wobble).max()) <= 0.02 * math.sqrt(var * first):
            break
        first /= 2
    return first


def _first_use(level: float, theta: float, var: float, B: float, T: float) -> tuple[float, float]:
    """Expected auxiliary energy and waste by ``T`` with only the nearer wall in reach [J]."""
    if level <= B / 2:
        return _one_wall(level, theta, var, T), 0.0
    return 0.0, _one_wall(B - level, -theta, var, T)


def _one_wall(distance: float, theta: float, var: float, T: float) -> float:
    """E[U_T] of one wall: P(the level would fall below -v) integrated over v >= 0 [J]."""
    reach = 9 * math.sqrt(var * T) + max(-theta * T, 0.0)
    if distance >= reach:
        return 0.0
    half = (reach - distance) / 2
    chances = [
        p_any_aux_infinite_store(S0=distance + half * (1 + node), theta=theta, var=var, T=T)
        for node in _NODES
    ]
    return half * float(_WEIGHTS @ np.array(chances))


def _first_mass(level: float, theta: float, var: float, B: float, T: float, cells: int) -> Floats:
    """Law of the level at ``T`` by cells, with the nearer wall in reach (reflected Brownian
    motion, closed form).
    """
    turned = level > B / 2
    x, net = (B - level, -theta) if turned else (level, theta)
    s = math.sqrt(var * T)
    walls = np.linspace(0.0, B, cells + 1)
    if s < B / cells:  # the law lies inside two cells: keep its mean instead of its shape
        mean = x + net * T + _one_wall(x, net, var, T)
        place = min(max(mean / B * cells - 0.5, 0.0), cells - 1.0)
        near = min(int(place), cells - 2)
        mass = np.zeros(cells)
        mass[near], mass[near + 1] = 1 - (place - near), place - near
    else:
        below = ndtr((walls - x - net * T) / s)
        below -= np.exp(2 * net / var * walls + log_ndtr((-walls - x - net * T) / s))
        below[0], below[-1] = 0.0, 1.0
        mass = np.diff(below)
    return np.ascontiguousarray(mass[::-1]) if turned else mass


def _rates(drifts: Floats, var: float, B: float, cells: int) -> tuple[Floats, Floats]:
    """Rates between neighbouring cells up and down [1/s] for each step (Scharfetter-Gummel)."""
    peclet = 2 * drifts * (B / cells) / var
    scale = var / 2 * (cells / B) ** 2
    return scale / exprel(-peclet), scale / exprel(peclet)


def _through(mass: Floats, lengths: Floats, rises: Floats, falls: Floats) -> tuple[Floats, Floats]:
    """Rates [steps, 3] in cells and the final law of one march from ``mass``, left alone."""
    from baseload.theory.density_steps import march  # kernels load slowly

    moving = np.array(mass, dtype=np.float64)
    rates = np.empty((lengths.size, 3))
    march(moving, rises, falls, lengths, np.empty_like(moving), np.empty_like(moving), rates)
    return rates, moving


def _marched(
    mass: Floats, drifts: Floats, lengths: Floats, var: float, B: float
) -> tuple[Floats, Floats]:
    """``_through`` with drifts in place of rates."""
    return _through(mass, lengths, *_rates(drifts, var, B, mass.size))


def _fluid(drifts: Floats, lengths: Floats, B: float, level: float) -> Floats:
    """Rates and level [steps, 3] without noise: the level is kept in [0, B] step by step."""
    rates = np.zeros((lengths.size, 3))
    for k, (theta, step) in enumerate(zip(drifts.tolist(), lengths.tolist(), strict=True)):
        free = level + theta * step
        level = min(max(free, 0.0), B)
        rates[k] = max(-free, 0.0) / step, max(free - B, 0.0) / step, level
    return rates
