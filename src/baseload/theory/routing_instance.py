"""What a routing problem is made of: classes, options, their energy, the supply and the prices.

An *option* is a way to answer (a model at an effort), a *class* a kind of query. Everything that
depends on both is an array ``[classes, options]``. Derived in
docs/explanation/variance-aware-routing.md, 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import Floats, not_negative, number, numbers, second_moments

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class CapacityRow(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One limit on what the options may use together: sum of lam p ``work`` <= ``capacity``.

    ``work`` [classes, options] is what a query takes of a resource (say, seconds of a model);
    ``capacity`` what the resource gives a second. ``name`` is how a refusal calls it.
    """

    name: str
    work: Any
    capacity: float


class Rates(NamedTuple):
    """What a routing does a second: mean demand [W], its variance [J^2/s], other cost [$/s]."""

    mean: float
    variance: float
    other_cost: float


class RoutingInstance(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A routing problem, checked and put into arrays when it is made.

    * ``lam`` [classes]: arrivals [1/s].
    * ``mean``, ``second`` [classes, options]: mean energy of a query [J] and mean square [J^2].
    * ``other_cost`` [classes, options]: all else that a choice costs [$]: wrong answers, lateness,
      fees; infinite where the option is not to be had.
    * ``available`` [classes, options]: which options a class may use (default: all whose other cost
      is finite). What stands in the other arrays at an unavailable option is not looked at, so
      arrays may be padded with anything.
    * ``Cu``, ``Cw``: price of auxiliary energy and of waste [$/J], ``Cu + Cw > 0``.
    * ``b``: baseline supply [W], net of what always runs (so it may be negative); ``v0``:
      variance that routing does not control, of supply or environment [J^2/s].
    * ``arrival_scv``: squared coefficient of variation of the interarrival times (Poisson: 1).
    * ``rows``: capacity limits; ``fail`` [classes, options]: probability of a wrong answer, with
      ``fail_limit`` on the failures a second.

    Arrays of three axes ``[classes, models, efforts]`` are flattened over the last two. Raises
    ``ArgumentError`` that names the field for what these rules or the moments (mean square below
    the square of the mean) forbid, and for a class with arrivals but no option.
    """

    lam: Any
    mean: Any
    second: Any
    other_cost: Any = None
    available: Any = None
    Cu: float = 1.0
    Cw: float = 0.0
    b: float = 0.0
    v0: float = 0.0
    arrival_scv: float = 1.0
    rows: tuple[CapacityRow, ...] = ()
    fail: Any = None
    fail_limit: float | None = None

    def __post_init__(self) -> None:
        lam = numbers("lam", self.lam, least=0.0, shape=(-1,))
        raw_mean = _table("mean", self.mean)
        shape = raw_mean.shape
        if shape[0] != lam.shape[0]:
            raise ArgumentError("mean", found=f"{shape[0]} rows", allowed=f"{lam.shape[0]} classes")
        cost = np.zeros(shape) if self.other_cost is None else _table("other_cost", self.other_cost)
        _same_shape("other_cost", cost, shape)
        open_ = _available(self.available, cost, shape)
        mean = _masked("mean", raw_mean, open_, least=0.0)
        second = _masked("second", _table("second", self.second), open_, least=0.0)
        second = second_moments("second", second, mean)
        if not open_.any():
            raise ArgumentError("available", found="no option at all", allowed="one or more")
        lonely = np.flatnonzero((lam > 0) & ~open_.any(axis=1))
        if lonely.size:
            raise ArgumentError(
                f"available[{lonely[0]}]",
                found="a class with arrivals and no option",
                allowed="one option or more for every class that arrives",
            )
        cost = np.where(open_, _masked("other_cost", cost, open_), np.inf)
        self._keep(lam=lam, mean=mean, second=second, other_cost=cost)
        self._keep(available=open_, fail=_failures(self.fail, self.fail_limit, open_))
        self._keep(rows=tuple(_row(row, open_) for row in self.rows))
        self._keep_scalars()

    def _keep(self, **fields: Any) -> None:
        """Set checked values; arrays become read-only copies."""
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                value = value.copy()
                value.setflags(write=False)
            msgspec.structs.force_setattr(self, name, value)

    def _keep_scalars(self) -> None:
        """Check and set the prices, the supply and the limits."""
        scalars = {
            "Cu": number("Cu", self.Cu),
            "Cw": number("Cw", self.Cw),
            "b": number("b", self.b),
            "v0": not_negative("v0", self.v0),
            "arrival_scv": not_negative("arrival_scv", self.arrival_scv),
        }
        if self.fail_limit is not None:
            scalars["fail_limit"] = not_negative("fail_limit", self.fail_limit)
        self._keep(**scalars)
        check_prices(self.Cu, self.Cw)

    @property
    def shape(self) -> tuple[int, int]:
        """(classes, options)."""
        classes, options = self.mean.shape
        return int(classes), int(options)

    def rates(self, shares: ArrayLike) -> Rates:
        """Mean demand, its long-run variance and other cost of routing with probabilities
        ``shares`` [classes, options]; renewal arrivals and ``v0`` counted (4.1 of the page on the
        variance budget).
        """
        weights = self.lam[:, None] * np.where(self.available, np.asarray(shares), 0.0)
        mean = float(np.sum(weights * self.mean))
        variance = self.v0 + float(np.sum(weights * self.second)) + self.clumping(mean)
        cost = float(np.sum(weights * np.where(self.available, self.other_cost, 0.0)))
        return Rates(mean, variance, cost)

    def clumping(self, mean: float) -> float:
        """Variance that arrivals add or take at mean demand ``mean`` [W] when they are not Poisson:
        (ca2 - 1) mean^2 / lam [J^2/s].
        """
        total = float(self.lam.sum())
        return (self.arrival_scv - 1) * mean * mean / total if total > 0 else 0.0

    def as_poisson(self, mean: float) -> RoutingInstance:
        """This problem with Poisson arrivals, and what its own arrivals add at mean demand ``mean``
        [W] counted as variance that routing does not control. Heuristic, for the dynamic solvers.
        Raises ``ArgumentError`` where regular arrivals take more variance than there is in ``v0``.
        """
        spread = self.v0 + self.clumping(not_negative("mean", mean))
        if spread < 0:
            raise ArgumentError(
                "arrival_scv",
                found=f"{self.arrival_scv:g}: {spread:g} J^2/s with v0",
                allowed="v0 that covers what regular arrivals take",
                todo="use arrival_scv = 1: the variance is then overstated",
            )
        return msgspec.structs.replace(self, arrival_scv=1.0, v0=spread)

    def order(self) -> Ints:
        """Options of each class [classes, options] by mean, then second moment, then place in the
        list; unavailable ones last.
        """
        keys = (self.second, self.mean, ~self.available)
        order: Ints = np.lexsort(keys, axis=-1)
        return order

    def cheapest(self, scores: Floats) -> Ints:
        """The option of the least score for each class: ``scores`` [..., classes, options] gives
        [..., classes]. Equal scores: smaller mean, then smaller second moment, then list order.
        Unavailable options are never chosen.
        """
        order = np.broadcast_to(self.order(), scores.shape)
        closed = np.where(self.available, scores, np.inf)
        first = np.argmin(np.take_along_axis(closed, order, axis=-1), axis=-1)
        found: Ints = np.take_along_axis(order, first[..., None], axis=-1)[..., 0]
        return found

    def shares_of(self, choice: ArrayLike) -> Floats:
        """The routing [classes, options] that always takes option ``choice`` [classes]; a class
        that has no option (and no arrivals) gets a row of zeros.
        """
        shares = np.zeros(self.shape)
        shares[np.arange(self.shape[0]), np.asarray(choice, dtype=np.int64)] = 1.0
        return np.where(self.available, shares, 0.0)


def check_prices(Cu: float, Cw: float) -> None:
    """Refuse prices at which buying energy to waste it would pay: ``Cu + Cw <= 0``."""
    if Cu + Cw <= 0:
        raise ArgumentError(
            "Cu + Cw",
            found=f"{Cu:g} + {Cw:g}",
            allowed="above 0",
            todo="a reward for waste must stay below the price of auxiliary energy",
        )


def _table(field: str, values: ArrayLike) -> Floats:
    """``values`` as [classes, options]; three axes are flattened over the last two."""
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            field, found=repr(values)[:80], allowed="numbers [classes, options]"
        ) from error
    if found.ndim == 3:
        found = found.reshape(found.shape[0], -1)
    if found.ndim != 2:
        raise ArgumentError(field, found=f"shape {found.shape}", allowed="[classes, options]")
    return found


def _same_shape(field: str, found: NDArray[Any], shape: tuple[int, ...]) -> None:
    if found.shape != shape:
        raise ArgumentError(field, found=f"shape {found.shape}", allowed=f"shape {shape}")


def _available(given: ArrayLike | None, cost: Floats, shape: tuple[int, ...]) -> Flags:
    """Which options are to be had: those given, less those of infinite cost."""
    open_ = np.ones(shape, dtype=np.bool_)
    if given is not None:
        open_ = np.asarray(given, dtype=np.bool_)
        open_ = open_.reshape(open_.shape[0], -1) if open_.ndim == 3 else open_
        _same_shape("available", open_, shape)
    return open_ & ~np.isposinf(cost)


def _masked(field: str, found: Floats, open_: Flags, *, least: float = -np.inf) -> Floats:
    """``found`` with zeros where an option is unavailable, checked elsewhere."""
    _same_shape(field, found, open_.shape)
    return numbers(field, np.where(open_, found, max(least, 0.0)), least=least)


def _failures(fail: ArrayLike | None, limit: float | None, open_: Flags) -> Floats | None:
    """Failure probabilities, zero where unavailable."""
    if fail is None:
        if limit is not None:
            raise ArgumentError("fail_limit", found=f"{limit:g}", allowed="together with fail")
        return None
    found = _masked("fail", _table("fail", fail), open_, least=0.0)
    if np.any(found > 1):
        raise ArgumentError("fail", found=f"{found.max():g}", allowed="probabilities up to 1")
    return found


def _row(row: CapacityRow, open_: Flags) -> CapacityRow:
    work = _masked(f"work of {row.name}", _table(f"work of {row.name}", row.work), open_)
    capacity = number(f"capacity of {row.name}", row.capacity)
    return CapacityRow(name=row.name, work=work, capacity=capacity)


def deterministic_routings(instance: RoutingInstance, *, most: int = 4096) -> Sequence[Ints]:
    """Every routing that always takes the same option for a class, as arrays [classes] of options.

    Raises ``ArgumentError`` when there are more than ``most``.
    """
    options = [np.flatnonzero(row) for row in instance.available]
    options = [row if row.size else np.zeros(1, dtype=np.int64) for row in options]
    count = float(np.prod([float(row.size) for row in options]))
    if count > most:
        raise ArgumentError("routings to list", found=f"{count:.3g}", allowed=f"up to {most}")
    grids = np.meshgrid(*options, indexing="ij")
    return [
        np.array(choice, dtype=np.int64) for choice in zip(*(g.ravel() for g in grids), strict=True)
    ]
