"""Catalogue entries of routing, under the names and inputs of the reference vectors.

Formulas of a routing problem take its fields as keywords: ``lam`` [classes] 1/s; ``mean``,
``second`` [classes, options] J, J^2; ``fail`` with ``price_fail`` [$ a failure] and ``other_cost``
[classes, options] $; ``Cu``, ``Cw`` [$/J]; ``b`` [W]; ``v0`` [J^2/s]; and, where they make sense,
``arrival_scv`` (or ``ca2``), ``available``, ``fail_limit``, ``work`` [rows, classes, options] with
``capacity`` [rows].
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory import (
    coupled_routing,
    dynamic_routing,
    lattice,
    mean_variance,
    routing_tables,
    store_cost,
)
from baseload.theory import state_dependent as by_level
from baseload.theory import static_routing as static
from baseload.theory.checked_call import by_keyword
from baseload.theory.entry import Entry, Standing
from baseload.theory.inputs import number, numbers, positive
from baseload.theory.routing_instance import CapacityRow, RoutingInstance, check_prices

REFERENCE: dict[str, Any] = {
    "lam": [0.5, 0.3, 0.2],
    "mean": [[1.0, 2.0, 5.0], [2.0, 3.0, 6.0], [6.0, 5.0, 8.0]],
    "second": [[1.5, 5.2, 30.0], [8.0, 13.5, 46.8], [108.0, 45.0, 89.6]],
    "fail": [[0.05, 0.03, 0.02], [0.3, 0.12, 0.06], [0.7, 0.4, 0.15]],
    "price_fail": 5.0,
    "Cu": 1.0,
    "Cw": 0.1,
    "b": 3.0,
}
"""The routing problem of the reference vectors: three classes, three models, one effort."""

_GRID_INTERVALS = 400


def instance_of(
    *,
    lam: ArrayLike,
    mean: ArrayLike,
    second: ArrayLike,
    fail: ArrayLike | None = None,
    price_fail: float = 0.0,
    other_cost: ArrayLike | None = None,
    q: ArrayLike | None = None,
    Cu: float = 1.0,
    Cw: float = 0.0,
    Cb: float | None = None,
    b: float = 0.0,
    v0: float = 0.0,
    arrival_scv: float = 1.0,
    ca2: float | None = None,
    available: ArrayLike | None = None,
    fail_limit: float | None = None,
    work: ArrayLike | None = None,
    capacity: ArrayLike | None = None,
) -> RoutingInstance:
    """The routing problem of the keywords (see the head of this module); ``q`` is another name of
    ``other_cost``, and failures are charged on top of it. ``Cb`` does not enter control, it is
    checked only: ``Cb + Cw`` < 0 would pay for waste.
    """
    charge = np.asarray(other_cost if other_cost is not None else 0.0 if q is None else q, float)
    if fail is not None:
        charge = charge + number("price_fail", price_fail) * np.asarray(fail, dtype=np.float64)
    if Cb is not None and number("Cb", Cb) + number("Cw", Cw) < 0:
        raise ArgumentError("Cb + Cw", found=f"{Cb + Cw:g}", allowed="from 0")
    return RoutingInstance(
        lam=lam,
        mean=mean,
        second=second,
        other_cost=None if charge.ndim == 0 else charge,
        available=available,
        Cu=Cu,
        Cw=Cw,
        b=number("b", b, least=0.0),
        v0=v0,
        arrival_scv=arrival_scv if ca2 is None else ca2,
        rows=_rows(work, capacity),
        fail=fail,
        fail_limit=fail_limit,
    )


def _rows(work: ArrayLike | None, capacity: ArrayLike | None) -> tuple[CapacityRow, ...]:
    """Capacity rows named by their place."""
    if work is None or capacity is None:
        if work is not None or capacity is not None:
            raise ArgumentError("work and capacity", found="one of them", allowed="both or none")
        return ()
    limits = np.atleast_1d(numbers("capacity", capacity))
    tables = np.asarray(work, dtype=np.float64)
    if tables.ndim == 2:
        tables = tables[None]
    if len(tables) != len(limits):
        raise ArgumentError(
            "capacity", found=f"{len(limits)}", allowed=f"{len(tables)}, as in work"
        )
    return tuple(
        CapacityRow(name=f"capacity[{place}]", work=table, capacity=float(limit))
        for place, (table, limit) in enumerate(zip(tables, limits, strict=True))
    )


def _objective(found: static.StaticRouting) -> float | dict[str, Any]:
    """The objective, or what stands in the way of any routing."""
    if found.breach is None:
        return found.objective
    return {
        "status": "infeasible",
        "constraint": found.breach.name,
        "asked": found.breach.asked,
        "possible": found.breach.possible,
    }


def min_variance_given_mean(*, mean_target: float, **instance: Any) -> float | dict[str, Any]:
    """Least variance [J^2/s] at mean demand ``mean_target`` W, or a mapping with "status":
    "infeasible" and the constraint that is cheapest to relax.
    """
    return _objective(static.min_variance_given_mean(instance_of(**instance), mean_target))


def static_optimum_cost(*, B: float, **instance: Any) -> float | dict[str, Any]:
    """Cost of the best static routing [$/s]; as a mapping where no routing meets the limits."""
    return _objective(static.static_optimum(instance_of(**instance), B))


def hjb_average_cost(*, B: float, **instance: Any) -> float:
    """Cost of the best state-dependent routing [$/s]."""
    return dynamic_routing.hjb_average_cost(instance_of(**instance), B)


def hjb_modulated_cost(
    *,
    supply: ArrayLike,
    B: float,
    switch_rate: float | None = None,
    generator: ArrayLike | None = None,
    instance: str | Mapping[str, Any] | None = None,
    intervals: int = _GRID_INTERVALS,
    **fields: Any,
) -> float:
    """Cost [$/s] of the best routing that knows store level and supply state.

    ``supply`` [states] W; every state is left at ``switch_rate`` 1/s, to any other alike, or by
    ``generator``. ``instance`` is a mapping of fields, or text for the reference problem; single
    ``fields`` override it; ``v0``, ``Cu`` and ``Cw`` may be lists by state.
    """
    given = dict(instance) if isinstance(instance, Mapping) else {} if fields else dict(REFERENCE)
    if isinstance(instance, str):
        given = dict(REFERENCE)
    given.pop("B", None)
    power = numbers("supply", supply, least=0.0, shape=(-1,))
    if (switch_rate is None) == (generator is None):
        raise ArgumentError(
            "switch_rate and generator", found="none or both", allowed="exactly one of them"
        )
    if generator is None:
        states = len(power)
        if states < 2:
            raise ArgumentError("supply", found=f"{states} state", allowed="two states or more")
        rate = positive("switch_rate", number("switch_rate", switch_rate or 0.0))
        generator = rate * (np.ones((states, states)) - states * np.eye(states)) / (states - 1)
    given |= fields
    by_state = {name: given.pop(name) for name in ("v0", "Cu", "Cw") if np.ndim(given.get(name, 0))}
    made = by_keyword(instance_of, name="instance")(**given)
    environment = coupled_routing.Environment(supply=power, generator=generator, **by_state)
    return coupled_routing.richardson_coupled(made, B, environment, intervals=intervals)


def jump_mdp_optimal_cost(
    *, B: float, delta: float, dist: str = "lognormal", cap: float | None = None, **instance: Any
) -> float:
    """Cost [$/s] of the best policy on the lattice of step ``delta`` J."""
    made = lattice.jump_lattice(instance_of(**instance), B, delta=delta, dist=dist, cap=cap)
    return lattice.optimal_policy(made).cost.cost


def state_dependent_rates(
    *,
    breaks: ArrayLike,
    theta: ArrayLike,
    var: ArrayLike,
    cost: ArrayLike | None = None,
    Cu: float = 0.0,
    Cw: float = 0.0,
) -> dict[str, float]:
    """Auxiliary and waste rate [W], and the mean cost a second: running cost by piece, Cu and Cw on
    the rates [$/s].
    """
    found = by_level.state_dependent_rates(breaks=breaks, theta=theta, var=var, cost=cost)
    total = found.running + number("Cu", Cu) * found.u + number("Cw", Cw) * found.w
    return {"u": found.u, "w": found.w, "cost": total}


def static_index_prices(
    *, theta: float, var: float, B: float, Cu: float = 1.0, Cw: float = 0.0
) -> dict[str, float]:
    """Price of a joule of mean and of a unit of variance under a static routing."""
    check_prices(number("Cu", Cu), number("Cw", Cw))
    drift, spread = number("theta", theta), number("var", var, least=0.0)
    found = store_cost.static_index_prices(drift, spread, positive("B", B), Cu, Cw)
    return {"xi1": found.mean_price, "xi2": found.variance_price}


def rollout_prices(
    *, S: float, theta: float, var: float, B: float, Cu: float = 1.0, Cw: float = 0.0
) -> dict[str, float]:
    """Shadow price and its steepness at level ``S`` for one improvement of a static routing."""
    found = routing_tables.rollout_prices(S=S, theta=theta, var=var, B=B, Cu=Cu, Cw=Cw)
    return {"lamS": float(found.lamS), "om": float(found.om)}


def horizon_prices(
    *, S: float, theta: float, var: float, T: float, Cu: float = 1.0
) -> dict[str, float]:
    """Shadow price and its steepness at level ``S`` of an endless store with ``T`` s to go."""
    found = routing_tables.horizon_prices(S=S, theta=theta, var=var, T=T, Cu=Cu)
    return {"lamS": float(found.lamS), "om": float(found.om)}


def hjb_shadow_price(*, S: float, B: float, **instance: Any) -> dict[str, float]:
    """Shadow price and its steepness at level ``S`` under the best state-dependent routing."""
    solution = dynamic_routing.solve_hjb(instance_of(**instance), B)
    found = dynamic_routing.prices_at(solution, number("S", S))
    return {"lamS": float(found.lamS), "om": float(found.om)}


def mean_variance_frontier(**instance: Any) -> dict[str, Any]:
    """Corners of the least variance by mean demand: lists ``mean``, ``variance``, ``slope``."""
    found = mean_variance.mean_variance_frontier(instance_of(**instance))
    if found.breach is not None:
        return {"status": "infeasible", "constraint": found.breach.name}
    return mean_variance.as_lists(found)


def _entry(call: Any, gives: str, section: str, standing: Standing, **example: Any) -> Entry:
    """An entry of this topic whose call checks the names of its inputs."""
    kinds = [each.kind for each in inspect.signature(call).parameters.values()]
    rest = instance_of if inspect.Parameter.VAR_KEYWORD in kinds else None
    return Entry(
        name=call.__name__,
        call=by_keyword(call, also={"sigma2": "var", "price_failure": "price_fail"}, rest=rest),
        gives=gives,
        topic="routing",
        section=section,
        standing=standing,
        example=example,
        typed=call,
    )


_STORE = {**REFERENCE, "B": 20.0}

ENTRIES: tuple[Entry, ...] = (
    _entry(
        min_variance_given_mean,
        "least variance at a given mean demand [J^2/s]",
        "5.1",
        "exact",
        **REFERENCE,
        mean_target=3.0,
    ),
    _entry(
        mean_variance_frontier,
        "corners of the least variance by mean demand: mean [W], variance [J^2/s], slope",
        "5.1",
        "exact",
        **REFERENCE,
    ),
    _entry(static_optimum_cost, "cost of the best static routing [$/s]", "5.2", "exact", **_STORE),
    _entry(
        static_index_prices,
        "prices of mean xi1 [$/J] and variance xi2 [$/J^2] of a static routing",
        "5.2",
        "exact",
        theta=0.2,
        var=12.0,
        B=20.0,
        Cu=1.0,
        Cw=0.1,
    ),
    _entry(
        hjb_average_cost,
        "cost of the best routing by store level [$/s]",
        "5.3",
        "asymptotic",
        **_STORE,
    ),
    _entry(
        hjb_shadow_price,
        "shadow price lamS [$/J] of stored energy and its steepness om [$/J^2]",
        "5.3",
        "asymptotic",
        **_STORE,
        S=10.0,
    ),
    _entry(
        by_level.bang_bang_cost,
        "cost of two opposite drifts at one variance, switched at best [$/s]",
        "5.4",
        "exact",
        d=0.3,
        var=4.0,
        B=20.0,
        Cu=1.0,
        Cw=1.0,
    ),
    _entry(
        state_dependent_rates,
        "auxiliary u and waste w [W] of drift and variance by level, and cost [$/s]",
        "5.5",
        "exact",
        breaks=[0.0, 6.0, 14.0, 20.0],
        theta=[0.5, -0.1, -0.6],
        var=[3.0, 5.0, 8.0],
    ),
    _entry(
        rollout_prices,
        "shadow price lamS [$/J] and om [$/J^2] without a solver, finite store",
        "5.6",
        "heuristic",
        S=5.0,
        theta=0.2,
        var=12.0,
        B=20.0,
        Cu=1.0,
        Cw=0.1,
    ),
    _entry(
        horizon_prices,
        "shadow price lamS [$/J] and om [$/J^2], endless store, time to go",
        "5.6",
        "exact",
        S=5.0,
        theta=-0.2,
        var=12.0,
        T=600.0,
    ),
    _entry(
        hjb_modulated_cost,
        "cost of the best routing by store level and supply state [$/s]",
        "5.7",
        "asymptotic",
        supply=[4.5, 1.5],
        switch_rate=0.5,
        B=60.0,
        instance="reference",
        intervals=100,
    ),
    _entry(
        jump_mdp_optimal_cost,
        "cost of the best policy with jumps on a lattice [$/s]",
        "5.9",
        "exact",
        **_STORE,
        delta=0.25,
        dist="lognormal",
    ),
)
