"""What each part of sigma2 is, where it can be absorbed, and what it costs.

Derived in docs/explanation/variance-budget.md, 4.6.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from baseload.theory.inputs import not_negative
from baseload.theory.variance import VarianceComponents

Place = Literal["time", "models", "execution"]
"""Where a part of the variance can be absorbed: across time (storage, settlement window, sharing of
load), across models (routing), in execution (caps, stopping, budgets).
"""


class VarianceTerm(msgspec.Struct, frozen=True, kw_only=True):
    """One part of sigma2: ``sigma2`` [J^2/s], its ``share`` of the total, where it can be absorbed,
    and what it costs [$/s] (None without a price).
    """

    name: str
    place: Place
    sigma2: float
    share: float
    cost_usd_per_s: float | None = None


class VarianceBudget(msgspec.Struct, frozen=True, kw_only=True):
    """sigma2 by cause. ``total`` [J^2/s]; ``price`` of one J^2/s [$/s] = Psi / (2 B), the same for
    every term; ``terms`` in the order of the theory; ``by_place`` sums them [J^2/s].
    """

    total: float
    price: float | None
    terms: tuple[VarianceTerm, ...]
    by_place: dict[Place, float]


def variance_budget(
    *,
    lam: float,
    components: VarianceComponents,
    temporal: float = 0.0,
    supply: float = 0.0,
    price: float | None = None,
) -> VarianceBudget:
    """The budget of arrivals at rate ``lam`` [1/s] with ``components`` [J^2 an arrival].

    ``temporal`` and ``supply`` [J^2/s]: what a changing environment and the supply add; ``price``
    [$/s per J^2/s]: ``provision.price_of_variance``. The terms sum to the total exactly; that
    each unit costs the same is exact to first order in the change. Raises ArgumentError.
    """
    rate = not_negative("lam", lam)
    parts: tuple[tuple[str, Place, float], ...] = (
        ("arrivals", "time", rate * components.arrival),
        ("mix", "models", rate * components.mix),
        ("model", "models", rate * components.model),
        ("effort", "execution", rate * components.effort),
        ("execution", "execution", rate * components.execution),
        ("temporal", "time", not_negative("temporal", temporal)),
        ("supply", "time", not_negative("supply", supply)),
    )
    worth = None if price is None else not_negative("price", price)
    total = sum(value for _, _, value in parts)
    places: dict[Place, float] = {"time": 0.0, "models": 0.0, "execution": 0.0}
    for _, place, value in parts:
        places[place] += value
    return VarianceBudget(
        total=total,
        price=worth,
        terms=tuple(
            VarianceTerm(
                name=name,
                place=place,
                sigma2=value,
                share=value / total if total > 0 else 0.0,
                cost_usd_per_s=None if worth is None else worth * value,
            )
            for name, place, value in parts
        ),
        by_place=places,
    )
