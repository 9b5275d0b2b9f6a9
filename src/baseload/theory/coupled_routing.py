"""Routing in an environment whose state is seen: one price curve for each state of the supply.

Day and night, sun and cloud, a cheap and a dear tariff: a Markov chain switches between states with
their own net supply, their own variance that routing does not control, and their own prices at both
ends of the store. The values V_i of the states are coupled by the chances to switch,

    gam = (b_i - m) V_i' + v V_i'' / 2 + cost + sum_j q_ij (V_j - V_i),   V_i'(0) = -Cu_i,
    V_i'(B) = Cw_i,

and each state has its own price lamS_i = -V_i'. Solved on a grid of store levels by the policy
iteration of ``routing_grid``: error of second order in the spacing, of first order where the drift
is too strong for the grid (upwind there). What a router loses that does not see the state is
measured by ``coupled_cost`` of the tables made for ``averaged``, a diffusion of the same mean
supply and the same variance. Derived in docs/explanation/variance-aware-routing.md, 5.7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.inputs import Floats, finite_result, not_negative, numbers, positive, whole
from baseload.theory.mean_variance import deviation_matrix
from baseload.theory.routing_grid import GridRouting, StoreGrid, SupplyStates, iterate_policy
from baseload.theory.routing_instance import RoutingInstance, check_prices


class Environment(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """States of the supply, checked and put into arrays when made.

    * ``supply`` [states]: net supply [W], net of what always runs (so it may be negative).
    * ``generator`` [states, states]: rates of switching [1/s], rows that sum to 0.
    * ``v0`` [states]: variance that routing does not control [J^2/s]; not that of the switching.
    * ``Cu``, ``Cw`` [states]: prices of auxiliary energy and of waste [$/J].

    A single number stands for all states; None for what the routing problem says. Raises
    ``ArgumentError`` that names the field, also for a chain with several closed sets of states.
    """

    supply: Any
    generator: Any
    v0: Any = None
    Cu: Any = None
    Cw: Any = None

    def __post_init__(self) -> None:
        supply = numbers("supply", self.supply, shape=(-1,))
        count = len(supply)
        if count == 0:
            raise ArgumentError("supply", found="no state", allowed="one state or more")
        generator = numbers("generator", self.generator, shape=(count, count))
        deviation_matrix(generator)
        fields = {
            "supply": supply.copy(),
            "generator": generator.copy(),
            "v0": _by_state("v0", self.v0, count, least=0.0),
            "Cu": _by_state("Cu", self.Cu, count),
            "Cw": _by_state("Cw", self.Cw, count),
        }
        for name, value in fields.items():
            if value is not None:
                value.setflags(write=False)
            msgspec.structs.force_setattr(self, name, value)

    @property
    def law(self) -> Floats:
        """Long-run share of time in each state [states]."""
        return deviation_matrix(self.generator)[0]

    @property
    def mean_supply(self) -> float:
        """Long-run mean of the supply [W]."""
        return float(self.law @ self.supply)

    @property
    def modulation_variance(self) -> float:
        """Long-run variance rate [J^2/s] that the switching of the supply adds to net energy."""
        law, deviation = deviation_matrix(self.generator)
        swing = self.supply - law @ self.supply
        return max(2 * float((law * swing) @ deviation @ swing), 0.0)


def _by_state(field: str, value: Any, count: int, *, least: float = -np.inf) -> Floats | None:
    """``value`` for each of ``count`` states; None stays None."""
    if value is None:
        return None
    found = numbers(field, value, least=least)
    if found.shape not in ((), (count,)):
        raise ArgumentError(field, found=f"shape {found.shape}", allowed=f"{count} states")
    return np.broadcast_to(found, (count,)).copy()


def coupled_routing(
    instance: RoutingInstance,
    B: float,
    environment: Environment,
    *,
    intervals: int = 400,
    leak_rate: float = 0.0,
) -> GridRouting:
    """The best routing that knows the store level and the state of ``environment``, which replaces
    the supply of ``instance`` and, where it names them, its ``v0``, ``Cu`` and ``Cw``.

    Average cost ``gam`` [$/s], and by state and level on ``intervals`` equal steps over [0, ``B``]
    J: ``lamS``, ``om``, ``worth``, ``choice``. ``leak_rate``: share of the stored energy lost a
    second [1/s]. Raises ``ArgumentError`` for ``B`` that is not positive and finite, side rows,
    arrivals that are not Poisson, prices with Cu + Cw <= 0 in a state, or no variance at all.
    Standing: asymptotic, O(spacing^2); exact for the modulated diffusion in the limit.
    """
    return iterate_policy(_grid(instance, B, environment, intervals, leak_rate))


def richardson_coupled(
    instance: RoutingInstance, B: float, environment: Environment, *, intervals: int = 400
) -> float:
    """Average cost [$/s] of ``coupled_routing`` at ``intervals`` steps and half as many,
    extrapolated to a spacing of zero.
    """
    fine = coupled_routing(instance, B, environment, intervals=intervals).gam
    half = max(intervals // 2, 4)
    return fine + (fine - coupled_routing(instance, B, environment, intervals=half).gam) / 3


def coupled_cost(
    instance: RoutingInstance,
    B: float,
    environment: Environment,
    choice: ArrayLike,
    *,
    leak_rate: float = 0.0,
) -> float:
    """Average cost [$/s] in ``environment`` of the table ``choice`` [states, n + 1, classes] of
    options on n equal steps over [0, ``B``] J; one of [n + 1, classes] serves every state.

    Never below ``coupled_routing(...).gam`` at the same ``intervals`` = n, as long as the grid is
    fine enough for the drift. Discretisation error as there.
    """
    table = np.asarray(choice)
    states, classes = len(environment.supply), instance.shape[0]
    if table.ndim == 2:
        table = table[None]
    if not np.issubdtype(table.dtype, np.integer) or table.ndim != 3 or table.shape[1] < 5:
        raise ArgumentError(
            "choice",
            found=f"{table.dtype} of shape {table.shape}",
            allowed="whole numbers [states, levels, classes], 5 levels or more",
        )
    if table.shape[0] not in (1, states) or table.shape[2] != classes:
        raise ArgumentError(
            "choice", found=f"shape {table.shape}", allowed=f"[{states}, levels, {classes}]"
        )
    _check_options(instance, table)
    grid = _grid(instance, B, environment, table.shape[1] - 1, leak_rate)
    gam, _ = grid.solve(np.broadcast_to(table, (states, *table.shape[1:])))
    return finite_result("coupled_cost", gam, B=B)


def _check_options(instance: RoutingInstance, table: Any) -> None:
    """Refuse options that are not in the list or not to be had."""
    outside = (table < 0) | (table >= instance.shape[1])
    if outside.any():
        raise ArgumentError(
            "choice",
            found=f"option {table[outside][0]}",
            allowed=f"0 .. {instance.shape[1] - 1}",
        )
    closed = ~instance.available[np.arange(instance.shape[0]), table] & (instance.lam > 0)
    if closed.any():
        raise ArgumentError("choice", found="an option that is not available", allowed="others")


def _grid(
    instance: RoutingInstance,
    B: float,
    environment: Environment,
    intervals: int,
    leak_rate: float,
) -> StoreGrid:
    """The equations on the grid."""
    states = _states(instance, environment)
    grid = StoreGrid(instance, positive("B", B), whole("intervals", intervals, least=4), states)
    grid.leak_rate = not_negative("leak_rate", leak_rate)
    return grid


def _states(instance: RoutingInstance, environment: Environment) -> SupplyStates:
    """The states, with what the environment leaves open taken from ``instance``."""
    count = len(environment.supply)

    def of(name: str) -> Floats:
        own = getattr(environment, name)
        return np.full(count, getattr(instance, name)) if own is None else own

    states = SupplyStates(
        environment.supply, of("v0"), of("Cu"), of("Cw"), np.asarray(environment.generator)
    )
    for Cu, Cw in zip(states.Cu, states.Cw, strict=True):
        check_prices(float(Cu), float(Cw))
    return states


def averaged(instance: RoutingInstance, environment: Environment) -> RoutingInstance:
    """``instance`` in an environment that is not seen: mean supply and mean prices, and the
    variance of the switching counted into ``v0``.

    Right in the limit of fast switching (a switch much sooner than the store could fill or empty).
    With slow switching its forecast of the cost is too high where routing could follow the states,
    and its tables are not the best. Mean prices are heuristic where prices differ by state.
    """
    states, law = _states(instance, environment), environment.law
    return msgspec.structs.replace(
        instance,
        b=float(law @ states.supply),
        v0=float(law @ states.v0) + environment.modulation_variance,
        Cu=float(law @ states.Cu),
        Cw=float(law @ states.Cw),
    )


def worth_in_state(found: GridRouting, state: int) -> Callable[[Floats], Floats]:
    """Worth [$] of the energy below a level [J] in one state, as ``full_jump_tables`` takes it:
    straight lines between the nodes, the state's Cu a joule below 0; above the store as at its end.
    """
    table, Cu = found.worth[state], float(found.lamS[state, 0])

    def worth(level: Floats) -> Floats:
        inside: Floats = np.interp(level, found.level, table) + Cu * np.minimum(level, 0.0)
        return inside

    return worth
