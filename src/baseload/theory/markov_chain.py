"""Long-run law and relative values of a finite Markov chain, quick when it climbs by single steps.

A store that gains one step a slot and loses any number is such a chain: state i reaches 0 .. i + 1.
Taking out the states from the top costs one row operation each, O(n^2) in all instead of the O(n^3)
of a dense solve, and adds only positive numbers, so that small probabilities keep their digits:
Grassmann, Taksar and Heyman 1985, "Regenerative analysis and steady state distributions for Markov
chains". Other chains, and values that this order of elimination would blur, are solved dense. Exact
but for rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from baseload.theory.inputs import Floats

_BLUR = 1e-11


def stationary_law(transitions: Floats) -> Floats:
    """Stationary probabilities [n] of the chain ``transitions`` [n, n] with one recurrent class."""
    reduced = _without_top(transitions)
    if reduced is None:
        right = np.zeros(len(transitions) + 1)
        right[-1] = 1.0
        law = np.maximum(np.linalg.solve(_bordered(transitions).T, right)[:-1], 0.0)
    else:
        low = reduced.lowest
        with np.errstate(divide="ignore"):
            steps = np.log(np.diag(transitions, 1)[low:]) - np.log(reduced.down[low + 1 :])
        logs = np.concatenate([np.full(low, -np.inf), [0.0], np.cumsum(steps)])
        law = np.exp(logs - logs.max())
    found: Floats = law / law.sum()
    return found


def relative_values(transitions: Floats, cost: Floats) -> tuple[float, Floats]:
    """Mean cost a step, and relative values [n] up to a constant, of the chain ``transitions``
    [n, n] that pays ``cost`` [n] on leaving each state.
    """
    reduced = _without_top(transitions)
    if reduced is not None:
        gam, values, blur = _values_upwards(reduced, transitions, cost)
        if blur <= _BLUR * float(np.ptp(values)):
            return gam, values
    solved = np.linalg.solve(_bordered(transitions), np.append(cost, 0.0))
    return float(solved[-1]), solved[:-1]


class _Reduced(NamedTuple):
    """The chain watched below each state only: row i holds where i lands below itself, ``down`` [n]
    the probability of moving there at a visit. States below ``lowest`` are left once for all.
    """

    rows: Floats
    down: Floats
    lowest: int


def _without_top(transitions: Floats) -> _Reduced | None:
    """Take out the states from the top; None where the chain climbs by more than one step."""
    if np.any(np.triu(transitions, 2)):
        return None
    rows = transitions.copy()
    down = np.zeros(len(rows))
    for state in range(len(rows) - 1, 0, -1):
        below = rows[state, :state]
        down[state] = below.sum()
        if down[state] <= 0:
            return _Reduced(rows, down, state)
        below /= down[state]
        rows[state - 1, :state] += rows[state - 1, state] * below
    return _Reduced(rows, down, 0)


def _values_upwards(
    reduced: _Reduced, transitions: Floats, cost: Floats
) -> tuple[float, Floats, float]:
    """Mean cost, values with 0 at the lowest lasting state, and a bound of what rounding blurs."""
    rows, down, low = reduced
    up = np.diag(transitions, 1)
    spent, taken = cost.astype(np.float64), np.ones(len(cost))
    for state in range(len(cost) - 1, low, -1):
        climbs = up[state - 1] / down[state]
        spent[state - 1] += climbs * spent[state]
        taken[state - 1] += climbs * taken[state]
    gam = float(spent[low] / taken[low])
    values = np.zeros(len(cost))
    if low:
        passing = np.eye(low) - transitions[:low, :low]
        values[:low] = np.linalg.solve(passing, cost[:low] - gam)
    for state in range(low + 1, len(cost)):
        own = (spent[state] - gam * taken[state]) / down[state]
        values[state] = own + rows[state, :state] @ values[:state]
    sizes = (np.abs(spent) + abs(gam) * taken)[low + 1 :] / down[low + 1 :]
    return gam, values, float(2e-16 * np.max(sizes, initial=0.0))


def _bordered(transitions: Floats) -> Floats:
    """I - P with a column of ones (the mean cost) and a row that fixes the free constant."""
    nodes = len(transitions)
    matrix = np.ones((nodes + 1, nodes + 1))
    matrix[:-1, :-1] = np.eye(nodes) - transitions
    matrix[-1, :-1] = 1.0 / nodes
    matrix[-1, -1] = 0.0
    return matrix
