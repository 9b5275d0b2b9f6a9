"""Routing by the state of the store: the price of a joule and of its spread at every level.

Average-cost control of drift and variance of a diffusion in a store [0, B] with prices at both
ends. The optimality equation

    gam = -b l + min_p { sum lam p (mean l + second om / 2 + q) } + v0 om / 2,  om = -dl/dS

for the price l = lamS(S) with lamS(0) = Cu, lamS(B) = -Cw does not contain S: om is a function of
the price alone, for a given average cost gam. For one joint action a with mean demand m, variance v
and cost c a second it would be 2 (gam + (b - m) l - c) / v, and om is the largest of these: convex
and piecewise linear in l. Between two corners the price therefore is an exponential of S, and the
length of store it takes is a logarithm. Nothing is discretised: the corners are found exactly, and
gam is the number at which the lengths add up to B.

Derived in docs/explanation/variance-aware-routing.md, 5.3; drift control alone is solved in Ata,
Harrison and Shepp, "Drift rate control of a Brownian processing system". Exact for the diffusion,
which itself is asymptotic in jobs per store.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import Floats, finite_result, number, positive
from baseload.theory.numerics import brentq
from baseload.theory.routing_instance import Ints, RoutingInstance

NODES = 513
"""Nodes of the tables that come with a solution."""

_FLUID_SHARE = 1e-14
_ROUNDING = 1e-15


class Bands(NamedTuple):
    """The solution, band by band from the empty store upwards.

    In band i, from level ``start[i]`` [J] on, class k takes option ``choice[i, k]``. Counted from
    ``anchor[i]`` [J], the end of the band where the price is steepest, the price is ``price[i]``
    [$/J] and its steepness ``steep[i]`` [$/J^2], which dies out as exp(-decay[i] (S - anchor[i]))
    [1/J]; ``value[i]`` [$] is the integral of the price from 0 to the anchor.
    """

    start: Floats
    anchor: Floats
    price: Floats
    steep: Floats
    decay: Floats
    value: Floats
    choice: Ints


class Prices(NamedTuple):
    """At each level asked: shadow price [$/J], its steepness om [$/J^2], and the worth of the
    energy below the level, the integral of the price from 0 [$].
    """

    lamS: Floats
    om: Floats
    value: Floats


class DynamicRouting(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The optimal state-dependent routing of an instance with a store of ``B`` J.

    ``gam``: least average cost [$/s]; ``gam_fluid``: its part that no store could save;
    ``price_fluid``: price of a joule without randomness [$/J]; ``flat``: ``gam`` equals
    ``gam_fluid`` to rounding, and the price stays at ``price_fluid`` over most of the store.
    ``bands`` holds the solution exactly; ``level``, ``lamS``, ``om`` [513] are its tables on an
    even grid over [0, B].
    """

    B: float
    Cu: float
    gam: float
    gam_fluid: float
    price_fluid: float
    flat: bool
    bands: Bands
    level: Floats
    lamS: Floats
    om: Floats


class _Lines(NamedTuple):
    """Joint actions and the lines om(l) = above + slope * l that they are, l from l*."""

    above: Floats
    slope: Floats
    choice: Ints

    def pick(self, index: Any) -> _Lines:
        """The lines at ``index``."""
        return _Lines(self.above[index], self.slope[index], self.choice[index])


class _Problem:
    """The equation with prices counted from the fluid price l* and costs from the fluid optimum,
    so that a tiny gam - gam_fluid is not lost in rounding.
    """

    def __init__(self, instance: RoutingInstance) -> None:
        order = instance.order()
        self.order = order
        sort = {
            name: np.take_along_axis(getattr(instance, name), order, axis=1)
            for name in ("mean", "second", "other_cost")
        }
        busy = (instance.lam > 0) & instance.available.any(axis=1)
        self.busy = np.flatnonzero(busy)
        self.lam = instance.lam[busy]
        self.mean, self.second = sort["mean"][busy], sort["second"][busy]
        self.cost = sort["other_cost"][busy]
        self.b, self.v0 = instance.b, instance.v0
        self.low, self.high = -instance.Cw, instance.Cu
        self._rows = np.arange(len(self.lam))
        self.gam_fluid, self.price_fluid, self.size = self._fluid()
        at_fluid = self.cost + self.mean * self.price_fluid
        self.excess = at_fluid - at_fluid.min(axis=1, keepdims=True, initial=np.inf)

    def _at(self, choice: Ints, table: Floats) -> Floats:
        """lam-weighted total of ``table`` over the chosen options [..., classes]."""
        found: Floats = table[self._rows, choice] @ self.lam
        return found

    def _fluid(self) -> tuple[float, float, float]:
        """Largest value over prices l of sum lam min(mean l + q) - b l, its l, and the size of the
        terms in it. Concave and piecewise linear: cut by the lines at both sides of the top until
        no line lies below their crossing.
        """

        def line(price: float) -> tuple[float, float]:
            choice = np.argmin(self.mean * price + self.cost, axis=1)
            return float(self._at(choice, self.mean)) - self.b, float(self._at(choice, self.cost))

        left, right = self.low, self.high
        rising, falling = line(left), line(right)
        price = right if falling[0] >= 0 else left
        if rising[0] > 0 > falling[0]:
            for _ in range(10_000):
                price = (falling[1] - rising[1]) / (rising[0] - falling[0])
                here = line(price)
                crossing = rising[1] + rising[0] * price
                size = abs(crossing) + abs(here[1]) + abs(here[0] * price)
                if here[1] + here[0] * price >= crossing - 1e-15 * size or here[0] == 0:
                    break
                if here[0] > 0:
                    rising = here
                else:
                    falling = here
        slope, cost = line(price)
        size = abs(cost) + (abs(slope + self.b) + abs(self.b)) * abs(price)
        return cost + slope * price, price, size

    def lines(self, price: Floats, om: Floats, extra: float) -> _Lines:
        """The joint action that gives the largest om at each ``price`` (from l*), for average
        cost gam_fluid + ``extra``; ``om`` is a lower bound to start from (Newton's method on a
        concave piecewise linear function: finitely many steps, all upwards).
        """
        bound = om
        for _ in range(200):
            score = (
                self.mean * price[:, None, None]
                + self.second * (0.5 * bound)[:, None, None]
                + self.excess
            )
            choice = np.argmin(score, axis=2)
            half = 0.5 * (self._at(choice, self.second) + self.v0)
            above = (extra - self._at(choice, self.excess)) / half
            slope = (self.b - self._at(choice, self.mean)) / half
            better = above + slope * price
            done = better <= bound * (1 + 1e-14)
            bound = np.maximum(bound, better)
            if done.all():
                break
        return _Lines(above, slope, choice)

    def pieces(self, extra: float) -> tuple[Floats, _Lines]:
        """All pieces of om over [-Cw, Cu]: their ends [n + 1] as prices from l*, and their lines
        [n]. Found by crossing neighbouring lines until no line lies above a crossing.
        """
        ends = np.array([self.low - self.price_fluid, self.high - self.price_fluid])
        at = np.unique(np.append(ends, np.clip(0.0, ends[0], ends[1])))
        known = self.lines(at, np.zeros(len(at)), extra)
        open_ = np.ones(len(at) - 1, dtype=np.bool_)
        cross = np.zeros(len(at) - 1)
        for _ in range(200):
            cross, height = _crossings(at, known, cross, open_)
            asked = np.flatnonzero(open_)
            found = self.lines(cross[asked], height[asked], extra)
            reached = found.above + found.slope * cross[asked]
            new = reached > height[asked] * (1 + 1e-12)
            open_[asked[~new]] = False
            if not new.any():
                break
            at, known, cross, open_ = _insert(at, known, cross, open_, asked[new], found, new)
        keep = np.ones(len(at), dtype=np.bool_)
        keep[1:] = np.any(known.choice[1:] != known.choice[:-1], axis=1)
        inner = np.flatnonzero(keep)
        bounds = np.concatenate([ends[:1], cross[inner[1:] - 1], ends[1:]])
        return bounds, known.pick(inner)

    def length(self, extra: float) -> float:
        """Energy over which the price falls from Cu to -Cw at cost gam_fluid + ``extra``."""
        bounds, lines = self.pieces(extra)
        return float(_lengths(bounds, lines).sum())


def _crossings(at: Floats, lines: _Lines, cross: Floats, open_: Any) -> tuple[Floats, Floats]:
    """Where the lines of neighbouring points cross (kept where not ``open_``), and the height of
    the crossing, a lower bound of om there.
    """
    rise = np.diff(lines.slope)
    fall = -np.diff(lines.above)
    with np.errstate(divide="ignore", invalid="ignore"):
        place = np.where(rise > 0, fall / rise, 0.5 * (at[1:] + at[:-1]))
    place = np.clip(place, at[:-1], at[1:])
    place = np.where(open_, place, cross)
    height = np.maximum(
        lines.above[:-1] + lines.slope[:-1] * place, lines.above[1:] + lines.slope[1:] * place
    )
    return place, height


def _insert(
    at: Floats, known: _Lines, cross: Floats, open_: Any, after: Ints, found: _Lines, new: Any
) -> tuple[Floats, _Lines, Floats, Any]:
    """New points at the crossings of the intervals ``after``, whose halves are open again."""
    points = np.insert(at, after + 1, cross[after])
    lines = _Lines(
        *(
            np.insert(old, after + 1, fresh[new], axis=0)
            for old, fresh in zip(known, found, strict=True)
        )
    )
    wide = np.insert(open_, after + 1, True)
    return points, lines, np.insert(cross, after + 1, 0.0), wide


def _lengths(bounds: Floats, lines: _Lines) -> Floats:
    """Integral of dl / om over each piece: the width over the logarithmic mean of om's ends."""
    width = np.diff(bounds)
    first = lines.above + lines.slope * bounds[:-1]
    last = lines.above + lines.slope * bounds[1:]
    start = np.maximum(first, last)
    shrink = (np.minimum(first, last) - start) / start
    with np.errstate(divide="ignore", invalid="ignore"):
        stretch = np.where(shrink < -1e-8, np.log1p(shrink) / shrink, 1 - shrink / 2)
    found: Floats = width / start * stretch
    return found


def solve_hjb(instance: RoutingInstance, B: float) -> DynamicRouting:
    """The optimal routing by store level for ``instance`` with a store of ``B`` J.

    Raises ``ArgumentError`` for ``B`` = 0 (no level to look at), ``B`` infinite (ask for
    ``horizon_prices``), arrivals that are not Poisson, side rows (a price per query cannot keep
    them), or when some routing has no variance at all. Without any supply the store stays empty:
    the price is Cu at every level and om is 0. Standing: exact for the diffusion; against jumps the
    cost is off by about 11 / 4 / 1 / 0.7 % at 3 / 10 / 30 / 90 mean jobs of storage.
    """
    if math.isinf(B):
        raise ArgumentError(
            "B", found="inf", allowed="finite", todo="use horizon_prices for an endless store"
        )
    positive("B", B)
    check_controllable(instance, v0=instance.v0)
    problem = _Problem(instance)
    if instance.b <= 0 and instance.v0 == 0:
        return _solution(B, instance, problem, None)
    floor = max(_FLUID_SHARE * abs(problem.gam_fluid), _ROUNDING * problem.size, 1e-290)
    if problem.length(floor) <= B:
        return _solution(B, instance, problem, floor, flat=True)
    high = max(floor, 1e-3 * (instance.Cu + instance.Cw) / B)
    while problem.length(high) > B:
        high *= 32.0
    low = high
    while low > floor and problem.length(low) < B:
        low = max(low / 32.0, floor)
    if low < high:
        excess = brentq(
            lambda log: math.log(problem.length(math.exp(log)) / B),
            math.log(low),
            math.log(high),
            xtol=1e-14,
            rtol=1e-14,
        )
        high = math.exp(excess)
    return _solution(B, instance, problem, high)


def check_controllable(instance: RoutingInstance, *, v0: float) -> None:
    """Refuse what no price per query can keep (side constraints), arrivals that are not Poisson,
    and routings without any variance, beside ``v0`` [J^2/s] that routing does not control.
    """
    if instance.rows or instance.fail_limit is not None:
        raise ArgumentError(
            "rows and fail_limit of the instance",
            found="side constraints",
            allowed="none: a price per query cannot keep them",
            todo="put their prices into other_cost, or route by static_optimum",
        )
    if instance.arrival_scv != 1:
        raise ArgumentError(
            "arrival_scv",
            found=f"{instance.arrival_scv:g}",
            allowed="1 (Poisson)",
            todo="add the variance of the arrivals to v0, and pass arrival_scv to the score tables",
        )
    least = np.where(instance.available, instance.second, np.inf).min(axis=1)
    busy = instance.lam > 0
    if v0 + float(np.sum(instance.lam[busy] * least[busy])) <= 0:
        raise ArgumentError(
            "second", found="a routing without any variance", allowed="variance above 0, or v0 > 0"
        )


def _solution(
    B: float,
    instance: RoutingInstance,
    problem: _Problem,
    extra: float | None,
    *,
    flat: bool = False,
) -> DynamicRouting:
    """The solution at average cost gam_fluid + ``extra``; None: no randomness is left to price."""
    bands = _one_band(instance, problem) if extra is None else _bands(B, problem, extra, flat=flat)
    bands = bands._replace(choice=_all_classes(instance, problem, bands.choice))
    gam = problem.gam_fluid + (0.0 if flat or extra is None else extra)
    level = np.linspace(0.0, B, NODES)
    prices = _evaluate(bands, level)
    return DynamicRouting(
        B=B,
        Cu=instance.Cu,
        gam=finite_result("hjb average cost", gam, B=B, b=instance.b),
        gam_fluid=problem.gam_fluid,
        price_fluid=problem.price_fluid,
        flat=flat or extra is None,
        bands=bands,
        level=level,
        lamS=prices.lamS,
        om=prices.om,
    )


def _bands(B: float, problem: _Problem, extra: float, *, flat: bool) -> Bands:
    """Pieces turned round, from the empty store (price Cu) to the full one (-Cw). ``flat`` adds
    what is left of the store as a band at the fluid price.
    """
    bounds, lines = problem.pieces(extra)
    if flat:
        bounds, lines = _split_at_zero(bounds, lines)
    length = _lengths(bounds, lines)[::-1]
    top, slope, choice = bounds[1:][::-1], lines.slope[::-1], lines.choice[::-1]
    bottom, above = bounds[:-1][::-1], lines.above[::-1]
    if flat:
        after = int(np.sum(top > 0))
        middle = choice[min(after, len(choice) - 1)]
        length = np.insert(length, after, B - float(length.sum()))
        top, bottom = np.insert(top, after, 0.0), np.insert(bottom, after, 0.0)
        slope, above = np.insert(slope, after, 0.0), np.insert(above, after, 0.0)
        choice = np.insert(choice, after, middle, axis=0)
    levels = _levels(B, length)
    from_start = slope >= 0
    steepest = np.where(from_start, top, bottom)
    steep = np.maximum(above + slope * steepest, 0.0)
    anchor = np.where(from_start, levels[:-1], levels[1:])
    price = steepest + problem.price_fluid
    into = np.diff(levels) * np.where(from_start, 1.0, -1.0)
    gain = np.abs(into) * (price - steep * into * _bend(slope * into))
    ends = np.concatenate([[0.0], np.cumsum(gain)])
    value = np.where(from_start, ends[:-1], ends[1:])
    return Bands(levels[:-1], anchor, price, steep, slope, value, choice)


def _levels(B: float, length: Floats) -> Floats:
    """Where bands of the given lengths start and the last ends, [n + 1] from 0 to ``B``: counted
    from both ends of the store, so that rounding is left to the longest band.
    """
    longest = int(np.argmax(length))
    below = np.concatenate([[0.0], np.cumsum(length[:longest])])
    above = B - np.concatenate([[0.0], np.cumsum(length[:longest:-1])])[::-1]
    return np.maximum.accumulate(np.concatenate([below, np.maximum(above, below[-1])]))


def _split_at_zero(bounds: Floats, lines: _Lines) -> tuple[Floats, _Lines]:
    """The pieces with a bound at the fluid price (0) where that lies inside."""
    if 0.0 in bounds or not bounds[0] < 0 < bounds[-1]:
        return bounds, lines
    piece = int(np.searchsorted(bounds, 0.0)) - 1
    again = np.insert(np.arange(len(lines.slope)), piece, piece)
    return np.insert(bounds, piece + 1, 0.0), lines.pick(again)


def _one_band(instance: RoutingInstance, problem: _Problem) -> Bands:
    """A store that only drains: empty for ever, every joule is bought."""
    choice = np.argmin(problem.mean * instance.Cu + problem.cost, axis=1)
    zero = np.zeros(1)
    price = np.array([instance.Cu])
    return Bands(zero, zero, price, zero, zero, zero, choice[None, :])


def _all_classes(instance: RoutingInstance, problem: _Problem, choice: Ints) -> Ints:
    """Choices in the caller's order of options; classes without arrivals get their smallest."""
    full = np.repeat(problem.order[None, :, 0], len(choice), axis=0)
    rows = np.broadcast_to(problem.order[problem.busy], (len(choice), *problem.mean.shape))
    full[:, problem.busy] = np.take_along_axis(rows, choice[:, :, None], axis=2)[..., 0]
    assert full.shape == (len(choice), instance.shape[0])
    return full


def _bend(x: Floats) -> Floats:
    """(x - 1 + exp(-x)) / x^2, 1/2 at 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far = (x + np.expm1(-x)) / (x * x)
    near = 0.5 - x / 6 + x**2 / 24 - x**3 / 120 + x**4 / 720 - x**5 / 5040
    return np.where(np.abs(x) < 1e-2, near, far)


def _evaluate(bands: Bands, level: Floats) -> Prices:
    """Prices at levels inside the store."""
    band = np.clip(np.searchsorted(bands.start, level, side="right") - 1, 0, None)
    into = level - bands.anchor[band]
    x = bands.decay[band] * into
    steep = bands.steep[band]
    with np.errstate(divide="ignore", invalid="ignore"):
        drop = np.where(np.abs(x) < 1e-8, into * (1 - x / 2), -np.expm1(-x) / bands.decay[band])
    lamS = bands.price[band] - steep * drop
    value = bands.value[band] + bands.price[band] * into - steep * into**2 * _bend(x)
    return Prices(lamS, steep * np.exp(-x), value)


def prices_at(solution: DynamicRouting, level: ArrayLike) -> Prices:
    """Shadow price, its steepness and the worth of stored energy at each ``level`` [J], exactly.

    Outside the store: below 0 every joule is bought, so the price is Cu and the worth Cu x level;
    levels above B count as B. ``om`` is that of the nearest end.
    """
    asked = np.asarray(level, dtype=np.float64)
    inside = np.clip(asked, 0.0, solution.B)
    found = _evaluate(solution.bands, inside)
    below = np.minimum(asked, 0.0)
    lamS = np.where(asked <= 0, solution.Cu, found.lamS)
    return Prices(lamS, found.om, found.value + solution.Cu * below)


def hjb_average_cost(instance: RoutingInstance, B: float) -> float:
    """Least average cost of state-dependent routing with a store of ``B`` J [$/s]; raises what
    ``solve_hjb`` raises.
    """
    return solve_hjb(instance, number("B", B, infinite=True)).gam
