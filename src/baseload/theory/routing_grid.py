"""Finite differences for state-dependent routing: leakage, extra running cost, changing weather.

The same optimality equation as in ``dynamic_routing``, on an even grid of store levels, by policy
iteration: each round solves the linear equations of the present routing, then takes at every level
the option that these values make cheapest. Slower and less exact than the semi-closed solution, but
it allows what that cannot: energy that leaks, running costs by level, and a supply that switches
between states (docs/explanation/variance-aware-routing.md, 5.3 and 5.7; ``coupled_routing`` is the
front for that). Discretisation error of second order in the spacing; textbook: Kushner and Dupuis,
*Numerical Methods for Stochastic Control Problems in Continuous Time*.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.theory.dynamic_routing import check_controllable
from baseload.theory.inputs import Floats, finite_result, not_negative, numbers, positive, whole
from baseload.theory.mean_variance import deviation_matrix
from baseload.theory.routing_instance import Ints, RoutingInstance

_ROUNDS = 60


class GridRouting(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Optimal routing on a grid: ``gam`` [$/s]; ``level`` [n + 1] J; by supply state ``lamS``
    [states, n + 1] $/J, ``om`` [states, n + 1] $/J^2, ``worth`` [states, n + 1] $ of the energy
    below each level (the integral of ``lamS``) and ``choice`` [states, n + 1, classes]; ``rounds``
    of policy iteration.
    """

    gam: float
    level: Floats
    lamS: Floats
    om: Floats
    worth: Floats
    choice: Ints
    rounds: int


class SupplyStates(NamedTuple):
    """What differs between the states of the supply, each [states]: net ``supply`` [W], variance
    ``v0`` [J^2/s] that routing does not control, prices ``Cu`` and ``Cw`` [$/J]; and the
    ``generator`` [states, states] 1/s of the chain that switches them. Checked by who makes it.
    """

    supply: Floats
    v0: Floats
    Cu: Floats
    Cw: Floats
    generator: Floats


class StoreGrid:
    """The linear equations of one routing, and the best routing for given values.

    ``leak_rate`` [1/s] and running cost ``extra`` [states, n + 1] $/s may be set before use.
    """

    def __init__(
        self, instance: RoutingInstance, B: float, intervals: int, states: SupplyStates
    ) -> None:
        check_controllable(instance, v0=float(states.v0.max()))
        self.instance, self.states = instance, states
        self.level = np.linspace(0.0, B, intervals + 1)
        self.step = B / intervals
        self.leak_rate, self.extra = 0.0, np.zeros((len(states.supply), intervals + 1))
        charge = np.where(instance.available, instance.other_cost, 0.0)
        self._tables = tuple(
            instance.lam[:, None] * table for table in (instance.mean, instance.second, charge)
        )

    def totals(self, choice: Ints) -> tuple[Floats, Floats, Floats]:
        """Mean demand, variance and cost of the chosen options [states, n + 1]."""
        classes = np.arange(self.instance.shape[0])
        mean, second, cost = (table[classes, choice].sum(axis=-1) for table in self._tables)
        return mean, second + self.states.v0[:, None], cost

    def improve(self, lamS: Floats, om: Floats) -> Ints:
        """The cheapest option of every class at these prices."""
        found = self.instance
        score = (
            found.mean * lamS[..., None, None]
            + 0.5 * found.second * om[..., None, None]
            + np.where(found.available, found.other_cost, np.inf)
        )
        return found.cheapest(score)

    def solve(self, choice: Ints) -> tuple[float, Floats]:
        """Average cost and relative values [states, n + 1] of the routing ``choice``."""
        mean, var, cost = self.totals(choice)
        drift = self.states.supply[:, None] - mean - self.leak_rate * self.level
        h = self.step
        spread = np.maximum(var, np.abs(drift) * h)  # upwind where the grid is too coarse
        up, down = (spread / h + drift) / (2 * h), (spread / h - drift) / (2 * h)
        charge = cost + self.extra
        charge[:, 0] += down[:, 0] * 2 * h * self.states.Cu
        charge[:, -1] += up[:, -1] * 2 * h * self.states.Cw
        up[:, 0], down[:, -1] = up[:, 0] + down[:, 0], up[:, -1] + down[:, -1]
        down[:, 0] = up[:, -1] = 0.0
        return self._relative_values(up, down, charge)

    def _relative_values(self, up: Floats, down: Floats, charge: Floats) -> tuple[float, Floats]:
        """Solve L V - gam = -charge with values of mean 0; the unknowns are ordered by level, so
        that the matrix is a band with one full row and column.
        """
        states, nodes = up.shape
        size = states * nodes
        index = np.arange(size).reshape(nodes, states).T
        rows = [index[:, :-1], index[:, 1:], index]
        columns = [index[:, 1:], index[:, :-1], index]
        generator = self.states.generator
        leave = -np.diag(generator)[:, None]
        entries = [up[:, :-1], down[:, 1:], -(up + down + leave)]
        for here in range(states):
            for there in range(states):
                if here != there:
                    rows.append(index[here : here + 1])
                    columns.append(index[there : there + 1])
                    entries.append(np.full((1, nodes), generator[here, there]))
        last = np.full((1, size), size)
        rows += [index.reshape(1, -1), last]
        columns += [last, index.reshape(1, -1)]
        entries += [np.full((1, size), -1.0), np.full((1, size), 1.0 / size)]
        data = [
            np.concatenate([part.ravel() for part in parts]) for parts in (entries, rows, columns)
        ]
        from scipy.sparse import coo_array
        from scipy.sparse.linalg import splu

        matrix = coo_array((data[0], (data[1], data[2])), shape=(size + 1, size + 1)).tocsc()
        right = np.zeros(size + 1)
        right[index] = -charge
        found = splu(matrix, permc_spec="NATURAL").solve(right)
        return float(found[-1]), found[index]

    def prices(self, values: Floats) -> tuple[Floats, Floats]:
        """Shadow price and steepness from ``values``, with the end conditions as ghost nodes."""
        h = self.step
        below = values[:, 1:2] + 2 * h * self.states.Cu[:, None]
        beyond = values[:, -2:-1] + 2 * h * self.states.Cw[:, None]
        wide = np.concatenate([below, values, beyond], axis=1)
        lamS = -(wide[:, 2:] - wide[:, :-2]) / (2 * h)
        om = (wide[:, 2:] - 2 * values + wide[:, :-2]) / (h * h)
        return lamS, om


def grid_routing(
    instance: RoutingInstance,
    B: float,
    *,
    intervals: int = 400,
    leak_rate: float = 0.0,
    supply: ArrayLike | None = None,
    generator: ArrayLike | None = None,
    running_cost: ArrayLike | None = None,
) -> GridRouting:
    """The optimal routing on a grid of ``intervals`` equal steps over [0, ``B``] J.

    ``leak_rate``: share of the stored energy lost a second [1/s]. ``supply`` [states] W with the
    ``generator`` [states, states] 1/s of their Markov chain replace ``instance.b``.
    ``running_cost`` [states, intervals + 1] or [intervals + 1] $/s is paid by level. Average cost
    and prices are off by O(spacing^2), O(spacing) where the drift is too strong for the grid.
    """
    grid = StoreGrid(
        instance,
        positive("B", B),
        whole("intervals", intervals, least=4),
        _switching_supply(instance, supply, generator),
    )
    grid.leak_rate = not_negative("leak_rate", leak_rate)
    if running_cost is not None:
        extra = numbers("running_cost", running_cost)
        grid.extra = np.broadcast_to(extra, grid.extra.shape)
    return iterate_policy(grid)


def iterate_policy(grid: StoreGrid) -> GridRouting:
    """The optimal routing on ``grid``, from the prices that fall evenly over the store."""
    Cu, Cw = grid.states.Cu[:, None], grid.states.Cw[:, None]
    B = float(grid.level[-1])
    lamS = Cu - (Cw + Cu) * grid.level / B
    choice = grid.improve(lamS, np.broadcast_to((Cu + Cw) / B, lamS.shape))
    kept = (np.inf, np.zeros_like(lamS), choice)
    rounds = 0
    while rounds < _ROUNDS:
        rounds += 1
        gam, values = grid.solve(choice)
        if gam >= kept[0] - 1e-14 * abs(kept[0]):
            break
        kept = (gam, values, choice)
        better = grid.improve(*grid.prices(values))
        if np.array_equal(better, choice):
            break
        choice = better
    gam, values, choice = kept
    finite_result("grid_routing", gam, B=B, intervals=len(grid.level) - 1)
    lamS, om = grid.prices(values)
    return GridRouting(
        gam=gam,
        level=grid.level,
        lamS=lamS,
        om=np.maximum(om, 0.0),
        worth=values[:, :1] - values,
        choice=choice,
        rounds=rounds,
    )


def _switching_supply(
    instance: RoutingInstance, supply: ArrayLike | None, generator: ArrayLike | None
) -> SupplyStates:
    """States that differ in their supply only."""
    if (supply is None) != (generator is None):
        raise ArgumentError("supply and generator", found="one of them", allowed="both or none")
    power, rates = np.array([instance.b]), np.zeros((1, 1))
    if supply is not None and generator is not None:
        power = numbers("supply", supply, shape=(-1,))
        rates = numbers("generator", generator, shape=(len(power), len(power)))
        deviation_matrix(rates)  # refuses what is no generator, or several chains
    v0, Cu, Cw = (np.full(len(power), one) for one in (instance.v0, instance.Cu, instance.Cw))
    return SupplyStates(power, v0, Cu, Cw, rates)


def richardson_gam(
    instance: RoutingInstance, B: float, *, intervals: int = 400, **settings: Any
) -> float:
    """Average cost [$/s] of ``grid_routing`` at ``intervals`` and half as many, extrapolated to a
    spacing of zero: error of fourth order where the routing does not switch within a step.
    """
    fine = grid_routing(instance, B, intervals=intervals, **settings).gam
    coarse = grid_routing(instance, B, intervals=max(intervals // 2, 4), **settings).gam
    return fine + (fine - coarse) / 3
