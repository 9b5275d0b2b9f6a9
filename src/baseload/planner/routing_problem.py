"""A routing problem from tables of options, with the checks that a plan's reader needs in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from baseload.base.errors import ArgumentError
from baseload.planner.records import Prices
from baseload.theory.inputs import Floats, not_negative, numbers
from baseload.theory.options import OptionModel, forecast_option
from baseload.theory.routing_instance import CapacityRow, RoutingInstance


class OptionTables(NamedTuple):
    """Mean energy [J], mean square [J^2] and success probability, each [classes, options]."""

    mean_j: Floats
    second_j2: Floats
    success_frac: Floats


def option_tables(models: Sequence[OptionModel], difficulties: ArrayLike) -> OptionTables:
    """Energy and success of every option at every class's difficulty [logits], where nothing was
    measured: by the chain of thought of docs/explanation/scaling-laws.md. Standing: modelled.
    """
    hard = numbers("difficulties", difficulties, shape=(-1,))
    found = [[forecast_option(model, difficulty=float(one)) for model in models] for one in hard]

    def table(name: str) -> Floats:
        cells = [[getattr(cell, name) for cell in row] for row in found]
        return np.array(cells, dtype=np.float64).reshape(len(hard), len(models))

    return OptionTables(table("mean_j"), table("second_j2"), table("success_frac"))


def routing_problem(
    *,
    arrivals_per_s: ArrayLike,
    mean_j: ArrayLike,
    second_j2: ArrayLike,
    success_frac: ArrayLike | None = None,
    wrong_usd: ArrayLike = 0.0,
    fee_usd: ArrayLike = 0.0,
    least_success_frac: ArrayLike | None = None,
    prices: Prices,
    baseline_w: float,
    var_j2_per_s: float = 0.0,
    arrival_scv: float = 1.0,
    rows: tuple[CapacityRow, ...] = (),
    classes: Sequence[str] = (),
    options: Sequence[str] = (),
) -> RoutingInstance:
    """The instance that ``plan_routing`` takes.

    ``mean_j``, ``second_j2``, ``success_frac``, ``fee_usd`` [classes, options]; NaN in ``mean_j``
    marks an option that is not to be had. ``wrong_usd`` [classes] prices a wrong answer;
    ``least_success_frac`` [classes] closes options below it. ``baseline_w`` is net of what always
    runs; ``var_j2_per_s`` is variance that routing does not control. Raises ``ArgumentError``, with
    the class and option in its words, for an infinite mean or mean square (a cap on tokens makes it
    finite) and for a class in which no option reaches the success asked for.
    """
    means = np.asarray(mean_j, dtype=np.float64)
    if means.ndim != 2:
        raise ArgumentError("mean_j", found=f"shape {means.shape}", allowed="[classes, options]")
    names = _Names(classes, options)
    open_ = ~np.isnan(means)
    open_ = _good_enough(success_frac, least_success_frac, open_, names)
    seconds = np.broadcast_to(np.asarray(second_j2, dtype=np.float64), means.shape)
    _finite(means, "mean_j", open_, names)
    _finite(seconds, "second_j2", open_, names)
    fail = None
    cost = np.broadcast_to(np.asarray(fee_usd, dtype=np.float64), means.shape)
    if success_frac is not None:
        fail = np.where(open_, 1.0 - np.asarray(success_frac, dtype=np.float64), 0.0)
        wrong = numbers("wrong_usd", np.asarray(wrong_usd, dtype=np.float64), least=0.0)
        cost = cost + np.broadcast_to(wrong, means.shape[:1])[:, None] * fail
    return RoutingInstance(
        lam=arrivals_per_s,
        mean=means,
        second=seconds,
        other_cost=cost,
        available=open_,
        Cu=prices.auxiliary_usd_per_j,
        Cw=prices.waste_usd_per_j,
        b=baseline_w,
        v0=not_negative("var_j2_per_s", var_j2_per_s),
        arrival_scv=arrival_scv,
        rows=rows,
        fail=fail,
    )


class _Names:
    """Names of classes and options, their numbers where none were given."""

    def __init__(self, classes: Sequence[str], options: Sequence[str]) -> None:
        self.classes, self.options = classes, options

    def of_class(self, k: int) -> str:
        return self.classes[k] if k < len(self.classes) else f"class {k}"

    def of_option(self, a: int) -> str:
        return self.options[a] if a < len(self.options) else f"option {a}"


def _finite(table: Floats, field: str, open_: NDArray[np.bool_], names: _Names) -> None:
    """Refuse an infinite moment of an option that may be used."""
    wrong = np.argwhere(np.isinf(table) & open_)
    if wrong.size:
        k, a = (int(index) for index in wrong[0])
        raise ArgumentError(
            f"{field} of {names.of_option(a)} for {names.of_class(k)}",
            found="infinite",
            allowed="finite",
            todo="cap its tokens: the tail of uncapped thinking has no finite mean square, and"
            " every price of its variance would be infinite",
        )


def _good_enough(
    success: ArrayLike | None, least: ArrayLike | None, open_: NDArray[np.bool_], names: _Names
) -> NDArray[np.bool_]:
    """Options that reach the success asked of their class."""
    if success is None:
        if least is not None:
            raise ArgumentError(
                "least_success_frac", found="given", allowed="together with success_frac"
            )
        return open_
    reached = np.where(open_, np.asarray(success, dtype=np.float64), 0.0)
    if reached.shape != open_.shape:
        raise ArgumentError(
            "success_frac", found=f"shape {reached.shape}", allowed=f"{open_.shape}"
        )
    numbers("success_frac", reached, least=0.0)
    if np.any(reached > 1):
        raise ArgumentError("success_frac", found=f"{reached.max():g}", allowed="from 0 to 1")
    if least is None:
        return open_
    asked = np.broadcast_to(numbers("least_success_frac", np.asarray(least)), open_.shape[:1])
    found: NDArray[np.bool_] = open_ & (reached >= asked[:, None])
    short = np.flatnonzero(~found.any(axis=1))
    if short.size:
        k = int(short[0])
        best = int(np.argmax(reached[k]))
        raise ArgumentError(
            f"least_success_frac of {names.of_class(k)}",
            found=f"{asked[k]:g}",
            allowed=f"up to {reached[k, best]:g}, that of {names.of_option(best)}",
            todo="ask for less, or offer a more able option",
        )
    return found
