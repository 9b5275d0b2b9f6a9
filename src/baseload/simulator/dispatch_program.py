"""The linear program of the clairvoyant dispatch: menus of options, one solution.

docs/explanation/dispatch.md states what is relaxed and why the value is a lower bound. Energy is
scaled by what a mean block sees and money by the price of a joule, so that the tolerances of the
solver mean the same at any site.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.base.inputs import Floats
from baseload.simulator.dispatch_blocks import Blocks
from baseload.supply.site import Site
from baseload.theory.numerics import linprog

MOST_COLUMNS = 4_000_000
"""Most columns of a program: about what a minute of a solver and a gigabyte can take."""

_SITE = ("auxiliary", "waste", "charged", "discharged", "unserved", "level", "leaked", "burnt")
AUXILIARY, WASTE, CHARGED, DISCHARGED, UNSERVED, LEVEL, LEAKED, BURNT = range(len(_SITE))
_INFEASIBLE, _UNBOUNDED = 2, 3
_SHORT_FRAC = 1e-6


class Menu(NamedTuple):
    """What may answer a class: the ``options`` ``[v]`` on the lower convex hull of joules and cost,
    from the least ``energy_j`` up, and their ``cost_usd`` [J and $ an answer].
    """

    options: NDArray[np.int64]
    energy_j: Floats
    cost_usd: Floats


class Solution(NamedTuple):
    """A program's answer.

    ``flows_j`` ``[len(_SITE), b]`` [J] at the bus, in the order of the constants of this module;
    ``answers`` ``[classes, options]`` requests answered by each; ``value_usd`` the least cost of
    what is priced by the joule or the answer; ``joule_usd`` ``[groups, b]`` what one more joule of
    a request that comes in the block would cost [$/J at the fleet].
    """

    flows_j: Floats
    answers: Floats
    value_usd: float
    joule_usd: Floats


def menu_of(energy_j: Floats, cost_usd: Floats) -> Menu:
    """The options worth mixing: the lower convex hull of ``energy_j`` and ``cost_usd``
    ``[options]``, from the least energy to the most. Infinite energy: not to be had.
    """
    order = [at for at in np.lexsort((cost_usd, energy_j)).tolist() if math.isfinite(energy_j[at])]
    if not order:  # a class that never comes
        return Menu(np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1))
    hull: list[int] = []
    for at in order:
        if hull and energy_j[hull[-1]] == energy_j[at]:
            continue
        while len(hull) > 1 and not _turns(energy_j, cost_usd, hull[-2], hull[-1], at):
            hull.pop()
        hull.append(at)
    return Menu(np.array(hull, dtype=np.int64), energy_j[hull], cost_usd[hull])


def _turns(energy_j: Floats, cost_usd: Floats, one: int, two: int, three: int) -> bool:
    """Whether the second of three options, of rising energy, lies below the line between the
    others.
    """
    first = (cost_usd[two] - cost_usd[one]) * (energy_j[three] - energy_j[two])
    then = (cost_usd[three] - cost_usd[two]) * (energy_j[two] - energy_j[one])
    return bool(first < then)


class _Program:
    """Columns and rows of a linear program, gathered piece by piece, in scaled units."""

    def __init__(self, *, energy_unit_j: float, money_unit_usd_per_j: float) -> None:
        self.energy_unit_j = energy_unit_j
        self.money_unit_usd_per_j = money_unit_usd_per_j
        self._cost: list[Floats] = []
        self._most: list[Floats] = []
        self._right: list[Floats] = []
        self._cells: list[tuple[Any, Any, Any]] = []
        self.size = self._rows = 0  # columns and rows so far

    def columns(self, count: int, *, usd_per_j: Any = 0.0, most_j: Any = math.inf) -> Any:
        """``count`` new columns from 0 to ``most_j`` [J] and their numbers."""
        self._cost.append(np.broadcast_to(usd_per_j, count) / self.money_unit_usd_per_j)
        self._most.append(np.broadcast_to(most_j, count) / self.energy_unit_j)
        self.size += count
        return np.arange(self.size - count, self.size)

    def rows(self, right_j: Floats) -> Any:
        """New rows that equal ``right_j`` [J] and their numbers."""
        self._right.append(right_j / self.energy_unit_j)
        self._rows += len(right_j)
        return np.arange(self._rows - len(right_j), self._rows)

    def put(self, rows: Any, columns: Any, values: Any) -> None:
        """Add ``values`` times the columns to the rows, one to one."""
        self._cells.append((rows, columns, np.broadcast_to(values, np.shape(rows))))

    def solve(self, usd_per_j: Floats | None = None) -> Any:
        """The answer of the solver; ``usd_per_j``: another objective."""
        from scipy.sparse import coo_array, csc_array

        rows, columns, values = (np.concatenate(part) for part in zip(*self._cells, strict=True))
        cells = coo_array((values, (rows, columns)), shape=(self._rows, self.size))
        cost = np.concatenate(self._cost) if usd_per_j is None else usd_per_j
        most = np.concatenate(self._most)
        found = linprog(
            cost,
            A_eq=csc_array(cells),
            b_eq=np.concatenate(self._right),
            bounds=np.column_stack((np.zeros_like(most), most)),
            method="highs",
        )
        if found.status not in (0, _INFEASIBLE, _UNBOUNDED):
            raise ArithmeticError(f"HiGHS gave status {found.status}: {found.message}")
        return found


def solve(
    site: Site,
    blocks: Blocks,
    menus: list[Menu],
    arrivals: Floats,
    delay_s: Floats,
    *,
    options: int,
    most_w: float | None,
) -> Solution:
    """The least cost of ``arrivals`` ``[b, classes]`` at the site, class ``k`` drawing its energy
    within ``delay_s[k]`` [s] of arrival. ``most_w`` [W]: what may be drawn beside ``fixed_j``,
    needed or not; ``None``: only what the answers need. Raises ``BadInputError`` where energy is
    short, and where a price below 0 is paid without limit.
    """
    count = len(blocks.supply_j)
    program = _Program(
        energy_unit_j=_energy_unit_j(site, blocks, menus, arrivals),
        money_unit_usd_per_j=_money_unit(site, blocks, menus),
    )
    flows, balance = _site_columns(program, site, blocks, most_w)
    groups = []
    filled: list[Any] = [None] * len(menus)
    for delay in np.unique(delay_s):
        members = np.flatnonzero(delay_s == delay).tolist()
        base_j = sum(
            (arrivals[:, at] * menus[at].energy_j[0] for at in members), start=np.zeros(count)
        )
        come = program.rows(base_j)
        groups.append(come)
        _drawn_columns(program, site, blocks, come, balance, float(delay))
        for at in members:
            filled[at] = _menu_columns(program, menus[at], arrivals[:, at], come)
    found = program.solve()
    if found.status == _INFEASIBLE:
        raise _short(program, blocks, balance)
    if found.status == _UNBOUNDED:
        raise BadInputError(
            "dispatch: the least cost has no bound",
            found="a price below 0 that is paid for any amount of energy",
            allowed="prices from 0, or a limit on the power that they are paid for",
            todo="limit the auxiliary power or the power of the store",
        )
    values = found.x * program.energy_unit_j
    base_usd = math.fsum(
        float(arrivals[:, at].sum()) * float(menu.cost_usd[0]) for at, menu in enumerate(menus)
    )
    money_usd = program.energy_unit_j * program.money_unit_usd_per_j
    return Solution(
        flows_j=_unburnt(blocks, values[flows]),
        answers=np.array(
            [
                _answers(menu, arrivals[:, at], values[filled[at]], options)
                for at, menu in enumerate(menus)
            ]
        ).reshape(len(menus), options),
        value_usd=float(found.fun) * money_usd + base_usd,
        joule_usd=np.array([found.eqlin.marginals[come] for come in groups]).reshape(-1, count)
        * program.money_unit_usd_per_j,
    )


def _unburnt(blocks: Blocks, flows_j: Floats) -> Floats:
    """The flows with what is drawn for nothing counted as waste, where that costs no more."""
    free = np.where(blocks.waste_usd <= 0.0, blocks.surplus_j - flows_j[WASTE], 0.0)
    moved = np.minimum(flows_j[BURNT], np.maximum(0.0, free))
    flows_j[WASTE] += moved
    flows_j[BURNT] -= moved
    return flows_j


def _energy_unit_j(site: Site, blocks: Blocks, menus: list[Menu], arrivals: Floats) -> float:
    """What a mean block sees [J]."""
    most_j = np.array([menu.energy_j[-1] for menu in menus])
    seen_j = np.abs(blocks.supply_j) + blocks.fixed_j + site.pue * (arrivals @ most_j)
    return float(seen_j.mean()) or 1.0


def _money_unit(site: Site, blocks: Blocks, menus: list[Menu]) -> float:
    """The price of a joule to measure others by [$/J]: of auxiliary energy, else of what there
    is.
    """
    slopes = [np.abs(np.diff(menu.cost_usd) / np.diff(menu.energy_j)) for menu in menus]
    for prices in (
        blocks.energy_usd + blocks.carbon_usd,
        blocks.waste_usd,
        np.array([site.unserved_usd_per_j or 0.0, site.store.wear_usd_per_j or 0.0]),
        np.concatenate([*slopes, np.zeros(1)]),
    ):
        if np.abs(prices).max() > 0.0:
            return float(np.abs(prices).max())
    return 1.0


def _site_columns(
    program: _Program, site: Site, blocks: Blocks, most_w: float | None
) -> tuple[Any, Any]:
    """Flows of the site ``[len(_SITE), b]`` and the rows of its balance ``[b]``."""
    count, store = len(blocks.supply_j), site.store
    wear = store.wear_usd_per_j or 0.0
    unserved = 0.0 if site.unserved_usd_per_j is None else math.inf
    if math.isinf(site.auxiliary_limit_w):
        unserved = 0.0
    lengths_s = np.diff(blocks.edges_s)
    spare_j = np.zeros(count)
    if most_w is not None:
        spare_j = site.pue * most_w * lengths_s
    leaked_j = np.zeros(count)
    np.multiply(blocks.leaked_frac, store.usable_j, out=leaked_j, where=blocks.leaked_frac > 0.0)
    flows = np.array(
        [
            program.columns(
                count,
                usd_per_j=blocks.energy_usd + blocks.carbon_usd,
                most_j=blocks.auxiliary_j,
            ),
            program.columns(count, usd_per_j=blocks.waste_usd, most_j=blocks.surplus_j),
            program.columns(
                count, usd_per_j=wear * store.charge_efficiency, most_j=blocks.charge_j
            ),
            program.columns(
                count, usd_per_j=wear / store.discharge_efficiency, most_j=blocks.discharge_j
            ),
            program.columns(count, usd_per_j=site.unserved_usd_per_j or 0.0, most_j=unserved),
            program.columns(count, most_j=store.usable_j),
            program.columns(count, most_j=leaked_j),
            program.columns(count, most_j=spare_j),
        ]
    )
    balance = program.rows(blocks.fixed_j - blocks.supply_j)
    for flow, sign in (
        (AUXILIARY, 1.0),
        (UNSERVED, 1.0),
        (DISCHARGED, 1.0),
        (CHARGED, -1.0),
        (WASTE, -1.0),
        (BURNT, -1.0),
    ):
        program.put(balance, flows[flow], sign)
    kept = 1.0 - blocks.leak_frac
    start_j = np.zeros(count)
    start_j[0] = kept[0] * store.start_j
    levels = program.rows(start_j)
    program.put(levels, flows[LEVEL], 1.0)
    program.put(levels[1:], flows[LEVEL][:-1], -kept[1:])
    program.put(levels, flows[CHARGED], -store.charge_efficiency)
    program.put(levels, flows[DISCHARGED], 1.0 / store.discharge_efficiency)
    program.put(levels, flows[LEAKED], 1.0)
    return flows, balance


def _drawn_columns(
    program: _Program, site: Site, blocks: Blocks, come: Any, balance: Any, delay_s: float
) -> None:
    """Energy that comes in a block is drawn in it or in the blocks that ``delay_s`` reaches."""
    count = len(blocks.supply_j)
    ends_s = blocks.edges_s[1:] + delay_s
    last = np.searchsorted(blocks.edges_s, ends_s, side="left") - 1
    reach = np.clip(last, np.arange(count), count - 1) - np.arange(count) + 1
    if program.size + int(reach.sum()) > MOST_COLUMNS:
        raise BadInputError(
            "dispatch: too large a program",
            found=f"{int(reach.sum()):,} pairs of blocks with a delay of {delay_s:,.0f} s",
            allowed=f"at most {MOST_COLUMNS:,} columns",
            todo="use fewer blocks or shorter delays",
        )
    first = np.repeat(np.arange(count), reach)
    later = np.arange(len(first)) - np.repeat(np.cumsum(reach) - reach, reach)
    drawn = program.columns(len(first))
    program.put(come[first], drawn, 1.0)
    program.put(balance[first + later], drawn, -site.pue)


def _menu_columns(program: _Program, menu: Menu, arrivals: Floats, come: Any) -> Any:
    """Joules beyond the least, ``[edges of the menu, b]``: the hull is convex, so the solver takes
    its edges in order.
    """
    columns = [
        program.columns(len(arrivals), usd_per_j=slope, most_j=step_j * arrivals)
        for step_j, slope in zip(
            np.diff(menu.energy_j), np.diff(menu.cost_usd) / np.diff(menu.energy_j), strict=True
        )
    ]
    for numbers in columns:
        program.put(come, numbers, -1.0)
    return np.array(columns, dtype=np.int64).reshape(len(columns), len(arrivals))


def _answers(menu: Menu, arrivals: Floats, filled_j: Floats, options: int) -> Floats:
    """Requests answered by each option ``[options]``, from the joules on the edges of the menu."""
    found = np.zeros(options)
    left_j, before = filled_j.sum(axis=0), np.ones(len(arrivals))
    for at, step_j in enumerate(np.diff(menu.energy_j)):
        most_j = step_j * arrivals
        share = np.divide(
            np.clip(left_j, 0.0, most_j), most_j, out=np.zeros_like(most_j), where=most_j > 0.0
        )
        found[menu.options[at]] += float(((before - share) * arrivals).sum())
        left_j, before = left_j - most_j, share
    found[menu.options[-1]] += float((before * arrivals).sum())
    return found


def _short(program: _Program, blocks: Blocks, balance: Any) -> BadInputError:
    """What an infeasible program lacks: the least energy that would make it feasible."""
    count = len(blocks.supply_j)
    missing = program.columns(count)
    program.put(balance, missing, 1.0)
    cost = np.zeros(program.size)
    cost[missing] = 1.0
    found = program.solve(cost)
    assert found.status == 0, found.message
    lacks_j = found.x[missing] * program.energy_unit_j
    at = int(np.argmax(lacks_j > _SHORT_FRAC * lacks_j.max()))
    return BadInputError(
        "dispatch: the site is short of energy under every choice",
        found=f"at least {lacks_j.sum():.6g} J missing, first between second "
        f"{blocks.edges_s[at]:,.0f} and {blocks.edges_s[at + 1]:,.0f}",
        allowed="baseline, store and auxiliary power that feed the thriftiest answers",
        todo="set unserved_usd_per_j, or raise auxiliary_limit_w, the baseline or the store",
    )
