"""The set of routings that an instance allows, and linear programs over it.

A routing is a probability for each (class, option); rows of classes sum to 1, capacity rows and the
limit on failures hold. Linear programs are solved by HiGHS through SciPy. Derived in
docs/explanation/variance-aware-routing.md, 5.1.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from baseload.theory.inputs import Floats
from baseload.theory.numerics import linprog
from baseload.theory.pinned_mean import least_at_mean, mean_range
from baseload.theory.routing_instance import Flags, Ints, RoutingInstance

MEAN_DEMAND = "mean demand"
FAILURES = "failures"

_SIFT_ABOVE = 4000
_SIFTINGS = 60
_SAMPLE = 80
_NEAR = 2
_WORTH_ADDING = 1e-9


class Breach(NamedTuple):
    """The constraint whose relaxation makes a problem feasible at the least relative cost: its
    name, its limit as asked, and the value nearest to it that can be had.
    """

    name: str
    asked: float
    possible: float


class LinearSolution(NamedTuple):
    """A routing [classes, options] with its objective and the price of the pinned mean, or, where
    no routing meets all limits, ``shares`` None and the least violated constraint.
    """

    shares: Floats | None
    objective: float
    mean_price: float
    breach: Breach | None


class Polytope:
    """The routings that ``instance`` allows; ``mean_target`` [W] pins mean demand."""

    def __init__(self, instance: RoutingInstance, mean_target: float | None = None) -> None:
        self.instance = instance
        self.cells: Ints = np.argwhere(instance.available)
        self.mean_target = mean_target
        self.has_rows = bool(instance.rows) or instance.fail_limit is not None
        self._classes = np.unique(self.cells[:, 0])
        self._upper, self._limits, self._names = self._side_rows()
        self._basis: Flags | None = None
        self._row_costs: Floats = np.zeros(len(self.cells))
        self._starts = np.searchsorted(self.cells[:, 0], self._classes)

    def _rate(self, table: Floats) -> Floats:
        """lam x ``table`` at the cells: what each probability adds a second."""
        k, a = self.cells[:, 0], self.cells[:, 1]
        found: Floats = self.instance.lam[k] * table[k, a]
        return found

    def _side_rows(self) -> tuple[Floats, Floats, list[str]]:
        """Rows ``A p <= limit`` with their names."""
        rows = [(row.name, self._rate(row.work), row.capacity) for row in self.instance.rows]
        if self.instance.fail_limit is not None:
            rows.append((FAILURES, self._rate(self.instance.fail), self.instance.fail_limit))
        matrix = np.array([row for _, row, _ in rows]).reshape(len(rows), len(self.cells))
        return matrix, np.array([limit for _, _, limit in rows]), [name for name, _, _ in rows]

    @cached_property
    def _sums(self) -> tuple[Any, Floats]:
        """One row a class (probabilities sum to 1), and the pinned mean where there is one."""
        from scipy.sparse import coo_array, csr_array, vstack

        place = np.searchsorted(self._classes, self.cells[:, 0])
        columns = np.arange(len(self.cells))
        shape = (len(self._classes), len(self.cells))
        sums = csr_array(coo_array((np.ones(len(self.cells)), (place, columns)), shape=shape))
        ones = np.ones(len(self._classes))
        if self.mean_target is None:
            return sums, ones
        mean = csr_array(self._rate(self.instance.mean)[None, :])
        return vstack([sums, mean], format="csr"), np.append(ones, self.mean_target)

    def best(self, prices: Floats) -> LinearSolution:
        """The routing of the least sum of lam p ``prices`` [classes, options].

        Without side rows and pinned mean it is the cheapest option of each class, with the mean
        alone a search along its price, otherwise a linear program. ``mean_price`` is the change of
        the objective per watt of the pinned mean.
        """
        if self.has_rows:
            return self.program(prices)
        if self.mean_target is None:
            shares = self.instance.shares_of(self.instance.cheapest(prices))
            return LinearSolution(shares, float(self._objective(prices, shares)), 0.0, None)
        found = least_at_mean(self.instance, prices, self.mean_target)
        if found is None:
            low, high = mean_range(self.instance)
            possible = low if self.mean_target < low else high
            breach = Breach(MEAN_DEMAND, self.mean_target, possible)
            return LinearSolution(None, np.nan, np.nan, breach)
        return LinearSolution(
            found.shares, self._objective(prices, found.shares), found.mean_price, None
        )

    def program(self, prices: Floats) -> LinearSolution:
        """The same by HiGHS, whatever the rows; exact to its tolerances.

        Of more than 4,000 cells only those that can matter are given to it: a guess from a sample
        of the classes, then those that its prices show to be worth adding, until there are none.
        The next call begins with the cells and the prices of the rows that this one ends with.
        """
        rate = self._rate(np.where(self.instance.available, prices, 0.0))
        scale = float(np.max(np.abs(rate), initial=0.0)) or 1.0
        rate = rate / scale
        if len(self.cells) <= _SIFT_ABOVE:
            return self._whole_program(rate, scale)
        if self._basis is None:
            used = self._feasible(rate) | self._near(self._sampled(rate))
        else:
            used = self._basis | self._near(rate * scale - self._row_costs)
        for turn in range(_SIFTINGS):
            found = self._solve(rate, used)
            if found.status != 0:
                break
            rows = self._costs_of_rows(found)
            reduced = rate - rows - self._of_cells(found.eqlin.marginals)
            missing = np.flatnonzero(~used & (reduced < -_WORTH_ADDING))
            if missing.size == 0:
                weights = np.zeros(len(self.cells))
                weights[used] = found.x
                self._basis, self._row_costs = weights > 0, rows * scale
                return self._solution(found, weights, scale)
            used = used | self._near(reduced)  # the best of each class, or more
            if missing.size <= len(self._starts):
                used[missing] = True
            elif turn == 0:  # prices have moved far since the last call
                used |= self._near(self._sampled(rate))
        return self._whole_program(rate, scale)

    def _whole_program(self, rate: Floats, scale: float) -> LinearSolution:
        """All cells at once."""
        found = self._solve(rate, np.ones(len(self.cells), dtype=np.bool_))
        if found.status == 2:
            return LinearSolution(None, np.nan, np.nan, self._least_breach())
        if found.status != 0:
            raise ArithmeticError(f"HiGHS gave status {found.status}: {found.message}")
        return self._solution(found, found.x, scale)

    def _solution(self, found: Any, weights: Floats, scale: float) -> LinearSolution:
        price = 0.0 if self.mean_target is None else float(found.eqlin.marginals[-1]) * scale
        return LinearSolution(self._table(weights), float(found.fun) * scale, price, None)

    def _solve(self, rate: Floats, used: Flags, part: float = 1.0) -> Any:
        """The linear program over the ``used`` cells; limits and mean times ``part``, for a program
        over some of the classes.
        """
        matrix, sums = self._sums
        rows = np.unique(np.searchsorted(self._classes, self.cells[used, 0]))
        if self.mean_target is not None:
            rows = np.append(rows, len(sums) - 1)
        right = np.where(np.arange(len(sums)) < len(self._classes), sums, part * sums)
        return linprog(
            rate[used],
            A_ub=self._upper[:, used] if self.has_rows else None,
            b_ub=part * self._limits if self.has_rows else None,
            A_eq=matrix[rows][:, used],
            b_eq=right[rows],
            bounds=(0.0, None),
            method="highs",
        )

    def _feasible(self, rate: Floats) -> Flags:
        """Cells with which limits can be met where they can be met at all, or nearly so: in each
        class those that take least of each row, and that reach either mean.
        """
        mean = self._rate(self.instance.mean)
        used = np.zeros(len(self.cells), dtype=np.bool_)
        for row in (rate, *self._upper, mean, -mean):
            used[np.lexsort((row, self.cells[:, 0]))[self._starts]] = True
        return used

    def _sampled(self, rate: Floats) -> Floats:
        """``rate`` less what the rows are worth in a program over a sample of the classes."""
        step = max(len(self._classes) // _SAMPLE, 1)
        sample = np.isin(self.cells[:, 0], self._classes[::step])
        lam = self.instance.lam[self._classes]
        found = self._solve(rate, sample, float(lam[::step].sum() / (lam.sum() or 1.0)))
        return rate - self._costs_of_rows(found) if found.status == 0 else rate

    def _costs_of_rows(self, found: Any) -> Floats:
        """What side rows and pinned mean, at their prices in a program, add at each cell."""
        costs: Floats = found.ineqlin.marginals @ self._upper
        if self.mean_target is not None:
            costs += found.eqlin.marginals[-1] * self._rate(self.instance.mean)
        return costs

    def _of_cells(self, marginals: Floats) -> Floats:
        """Prices of the classes, first among the ``marginals``, at their cells."""
        sizes = np.diff(np.append(self._starts, len(self.cells)))
        return np.repeat(marginals[: len(self._starts)], sizes)

    def _near(self, reduced: Floats) -> Flags:
        """The cells of least ``reduced`` cost in their class, and those nearest to that."""
        least = np.minimum.reduceat(reduced, self._starts)
        margin = reduced - self._of_cells(least)
        count = min(_NEAR * len(self._starts), len(reduced)) - 1
        found: Flags = margin <= np.partition(margin, count)[count]
        return found

    def _objective(self, prices: Floats, shares: Floats) -> float:
        chosen = np.where(shares > 0, prices, 0.0)
        return float(np.sum(self.instance.lam[:, None] * shares * chosen))

    def _table(self, weights: Floats) -> Floats:
        """Probabilities of the cells as a table whose rows sum to 1 exactly."""
        shares = np.zeros(self.instance.shape)
        shares[self.cells[:, 0], self.cells[:, 1]] = np.maximum(weights, 0.0)
        sums = shares.sum(axis=1, keepdims=True)
        found: Floats = shares / np.where(sums > 0, sums, 1.0)
        return found

    def _least_breach(self) -> Breach:
        """The constraint to relax: an elastic program that charges every side row, and the pinned
        mean, for its relative violation.
        """
        from scipy.sparse import csr_array, hstack

        matrix, sums = self._sums
        side, pinned = len(self._names), self.mean_target is not None
        largest = np.max(np.abs(self._upper), axis=1, initial=1e-300)
        sizes = np.where(self._limits == 0, largest, np.abs(self._limits))
        columns = [-np.diag(sizes)] if side else []
        extra = side + 2 * pinned
        rate = np.concatenate([np.zeros(len(self.cells)), np.ones(extra)])
        upper = np.hstack([self._upper, *columns, np.zeros((side, 2 * pinned))]) if side else None
        slack = np.zeros((matrix.shape[0], extra))
        if self.mean_target is not None:
            size = abs(self.mean_target) or float(self._rate(self.instance.mean).sum()) or 1.0
            slack[-1, side:] = (size, -size)
        found = linprog(
            rate,
            A_ub=upper,
            b_ub=self._limits if side else None,
            A_eq=hstack([matrix, csr_array(slack)], format="csr"),
            b_eq=sums,
            bounds=(0.0, None),
            method="highs",
        )
        if found.status != 0:
            raise ArithmeticError(f"HiGHS gave status {found.status}: {found.message}")
        return self._name_breach(found.x[: len(self.cells)], found.x[len(self.cells) :])

    def _name_breach(self, weights: Floats, slack: Floats) -> Breach:
        """The constraint with the largest relative violation."""
        side = len(self._names)
        misses = list(slack[:side])
        if self.mean_target is not None:
            misses.append(float(slack[side:].sum()))
        worst = int(np.argmax(misses))
        if worst < side:
            possible = float(self._upper[worst] @ weights)
            return Breach(self._names[worst], float(self._limits[worst]), possible)
        assert self.mean_target is not None
        possible = float(self._rate(self.instance.mean) @ weights)
        return Breach(MEAN_DEMAND, self.mean_target, possible)
