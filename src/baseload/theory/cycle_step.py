"""One slot of a store whose supply follows a cycle: kernels (docs/explanation, 5.10 of
variance-aware-routing.md).

A *plan* is what a routing does to the store in a slot that starts at a level: the energy it asks
for [J], the variance of that [J^2], and its other cost [$]. ``improve`` finds the best plan of
every slot and level backwards in time, ``compose`` gives the matrix of a whole cycle under given
plans, ``forward`` moves a law of the level through it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from baseload.base.kernels import kernel, outline_kernel
from baseload.theory.inputs import Floats
from baseload.theory.routing_instance import Ints

_MIX_STEPS = 4
_SECTIONS = 10
_GOLDEN = 0.6180339887498949
_SAME = 1e-12
_LEAST_SD = 1e-8


class Model(NamedTuple):
    """A store and its supply as kernels take them: by slot ``supply`` [J], ``noise`` [J^2], prices
    ``Cu``, ``Cw`` [$/J]; capacity ``B`` [J], efficiencies, ``charge``, ``discharge`` [J] at most in
    a slot; ``spacing`` of the levels [J]; quadrature ``points`` and ``weights`` of a standard
    normal.
    """

    supply: Floats
    noise: Floats
    Cu: Floats
    Cw: Floats
    B: float
    eta_c: float
    eta_d: float
    charge: float
    discharge: float
    spacing: float
    points: Floats
    weights: Floats


class Menu(NamedTuple):
    """The plans to compare: ``demand`` [J], ``var`` [J^2], ``cost`` [$] [slots, plans]; ``left``,
    ``right`` [pairs] plans that may be mixed within a slot. ``total`` [$], ``price`` [$/J], ``om``
    [$/J^2] [plans] are work space: what each plan costs at one level, and its slopes.
    """

    demand: Floats
    var: Floats
    cost: Floats
    left: Ints
    right: Ints
    total: Floats
    price: Floats
    om: Floats


class Plans(NamedTuple):
    """By slot and level [slots, nodes]: ``demand`` [J], ``var`` [J^2] (without the slot's own
    noise) and ``cost`` [$] of what is done: share 1 - ``mixed`` of plan ``one`` of a menu, share
    ``mixed`` of plan ``other``.
    """

    demand: Floats
    var: Floats
    cost: Floats
    mixed: Floats
    one: Ints
    other: Ints


class Tables(NamedTuple):
    """``value`` [slots + 1, nodes] $, ``price`` [slots, nodes] $/J and its steepness ``om``
    [slots, nodes] $/J^2; ``slope`` [nodes] is work space: the price of stored energy at the nodes.
    """

    value: Floats
    price: Floats
    om: Floats
    slope: Floats


@kernel
def settle(model: Model, level: float, net: float) -> tuple[float, float, float]:
    """Level after a slot, energy bought and energy wasted [J], for ``net`` J at the bus."""
    if net >= 0.0:
        room = (model.B - level) / model.eta_c
        charged = max(0.0, min(net, model.charge, room))
        after = model.B
        if charged < room:
            after = min(level + model.eta_c * charged, model.B)
        return after, 0.0, net - charged
    there = model.eta_d * level
    given = max(0.0, min(-net, model.discharge, there))
    after = 0.0
    if given < there:
        after = max(level - given / model.eta_d, 0.0)
    return after, -net - given, 0.0


@kernel
def expect(
    model: Model, h: int, level: float, demand: float, var: float, table: Tables
) -> tuple[float, float, float]:
    """Expected cost of the slot's settlement and of what follows [$], the price of a joule at the
    bus, -d/dn of it [$/J], and of variance, twice its slope in the variance [$/J^2].
    """
    sd = max(math.sqrt(var + model.noise[h]), _LEAST_SD * model.spacing)
    net = model.supply[h] - demand
    last = table.slope.shape[0] - 2
    total, price, twist = 0.0, 0.0, 0.0
    for q in range(model.points.shape[0]):
        after, bought, wasted = settle(model, level, net + sd * model.points[q])
        place = after / model.spacing
        j = min(int(place), last)
        part = place - j
        worth = table.value[h + 1, j] + part * (table.value[h + 1, j + 1] - table.value[h + 1, j])
        stored = table.slope[j] + part * (table.slope[j + 1] - table.slope[j])
        if bought > 0.0:
            here = model.Cu[h]
        elif wasted > 0.0:
            here = -model.Cw[h]
        elif net + sd * model.points[q] >= 0.0:
            here = model.eta_c * stored
        else:
            here = stored / model.eta_d
        total += model.weights[q] * (model.Cu[h] * bought + model.Cw[h] * wasted + worth)
        price += model.weights[q] * here
        twist += model.weights[q] * model.points[q] * here
    return total, price, -twist / sd


@kernel
def _slopes(model: Model, h: int, table: Tables) -> None:
    """Fill ``table.slope`` for the end of slot ``h``."""
    n = table.slope.shape[0]
    row = h + 1
    per = 1.0 / model.spacing
    for i in range(1, n - 1):
        table.slope[i] = 0.5 * per * (table.value[row, i - 1] - table.value[row, i + 1])
    first = per * (table.value[row, 0] - table.value[row, 1])
    final = per * (table.value[row, n - 2] - table.value[row, n - 1])
    table.slope[0] = 2.0 * first - table.slope[1] if n > 2 else first
    table.slope[n - 1] = 2.0 * final - table.slope[n - 2] if n > 2 else final


@kernel
def _plan(menu: Menu, h: int, m: int) -> tuple[float, float, float]:
    """Energy [J], variance [J^2] and cost [$] of plan ``m`` in slot ``h``."""
    return menu.demand[h, m], menu.var[h, m], menu.cost[h, m]


@kernel
def _blend(
    one: tuple[float, float, float], other: tuple[float, float, float], x: float
) -> tuple[float, float, float]:
    """The plan that takes ``other`` with share ``x``."""
    return (
        one[0] + x * (other[0] - one[0]),
        one[1] + x * (other[1] - one[1]),
        one[2] + x * (other[2] - one[2]),
    )


@kernel
def _blend_cost(
    model: Model,
    h: int,
    level: float,
    ends: tuple[tuple[float, float, float], tuple[float, float, float]],
    x: float,
    table: Tables,
) -> float:
    """What a slot and all that follows costs [$] under a mixture of two plans."""
    plan = _blend(ends[0], ends[1], x)
    return expect(model, h, level, plan[0], plan[1], table)[0] + plan[2]


@kernel
def _mix(
    model: Model,
    h: int,
    level: float,
    ends: tuple[tuple[float, float, float], tuple[float, float, float]],
    table: Tables,
) -> tuple[float, float]:
    """Share of the second at which a mixture of two plans is cheapest, and its cost [$]: the best
    of even steps, and golden sections between its neighbours.
    """
    best, least = 0.0, math.inf
    for step in range(1, _MIX_STEPS):
        x = step / _MIX_STEPS
        cost = _blend_cost(model, h, level, ends, x, table)
        if cost < least:
            best, least = x, cost
    left, right = best - 1.0 / _MIX_STEPS, best + 1.0 / _MIX_STEPS
    x = left + (1.0 - _GOLDEN) * (right - left)
    y = left + _GOLDEN * (right - left)
    at_x = _blend_cost(model, h, level, ends, x, table)
    at_y = _blend_cost(model, h, level, ends, y, table)
    for _ in range(_SECTIONS):
        if at_x < at_y:
            right, y, at_y = y, x, at_x
            x = left + (1.0 - _GOLDEN) * (right - left)
            at_x = _blend_cost(model, h, level, ends, x, table)
        else:
            left, x, at_x = x, y, at_y
            y = left + _GOLDEN * (right - left)
            at_y = _blend_cost(model, h, level, ends, y, table)
    if at_x < least:
        best, least = x, at_x
    if at_y < least:
        best, least = y, at_y
    return best, least


@kernel
def _differ(a: tuple[float, float, float], b: tuple[float, float, float]) -> bool:
    """Whether plan ``a`` asks for more than plan ``b``: in a slot without arrivals of the class in
    which they differ it does not.
    """
    return a[0] - b[0] > _SAME * (a[0] + b[0])


@kernel
def _pair_may_win(
    a: tuple[float, float, float],
    b: tuple[float, float, float],
    at: tuple[int, int],
    least: float,
    menu: Menu,
) -> bool:
    """Whether a mixture of plans ``a`` and ``b``, ``at`` their places, may cost less than
    ``least``: from one end at least, cost falls fast enough.
    """
    if not _differ(a, b):
        return False
    i, j = at
    d_demand, d_var, d_cost = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    from_a = d_demand * menu.price[i] + 0.5 * d_var * menu.om[i] + d_cost
    from_b = d_demand * menu.price[j] + 0.5 * d_var * menu.om[j] + d_cost
    lowest = min(menu.total[i] + from_a, menu.total[j] - from_b)
    return bool(lowest < least - _SAME * abs(least))


@outline_kernel
def _best(
    model: Model, menu: Menu, h: int, level: float, table: Tables
) -> tuple[int, int, float, float]:
    """The best of the menu: plans, share of the second, and what that costs [$]."""
    one, least = 0, math.inf
    for m in range(menu.total.shape[0]):
        plan = _plan(menu, h, m)
        cost, price, om = expect(model, h, level, plan[0], plan[1], table)
        menu.total[m], menu.price[m], menu.om[m] = cost + plan[2], price, om
        if menu.total[m] < least:
            one, least = m, menu.total[m]
    other, mixed = one, 0.0
    for pair in range(menu.left.shape[0]):
        i, j = menu.left[pair], menu.right[pair]
        a, b = _plan(menu, h, i), _plan(menu, h, j)
        if _pair_may_win(a, b, (i, j), least, menu):
            x, total = _mix(model, h, level, (a, b), table)
            if total < least:
                one, other, mixed, least = i, j, x, total
    return one, other, mixed, least


@kernel
def _tie(a: tuple[float, float, float], b: tuple[float, float, float], om: float) -> float:
    """The price at which plan ``a``, which asks for more, costs the same as plan ``b``."""
    return (b[2] - a[2] + 0.5 * om * (b[1] - a[1])) / (a[0] - b[0])


@kernel
def _within(menu: Menu, h: int, m: int, price: float, om: float) -> float:
    """The price nearest to ``price`` at which plan ``m`` is cheaper than its neighbours, if any."""
    low, high = -math.inf, math.inf
    for pair in range(menu.left.shape[0]):
        i, j = menu.left[pair], menu.right[pair]
        a, b = _plan(menu, h, i), _plan(menu, h, j)
        if (i == m or j == m) and _differ(a, b):
            tie = _tie(a, b, om)
            if i == m:
                high = min(high, tie)
            else:
                low = max(low, tie)
    return min(max(price, low), high) if low <= high else price


@outline_kernel
def improve(model: Model, menu: Menu, table: Tables, plans: Plans, keep: bool) -> None:
    """The best plans of all slots and levels, backwards from ``table.value[slots]``: fills
    ``table`` and ``plans``. ``keep``: the plans there are good ones, given up for better ones only.
    """
    slots, nodes = table.price.shape
    for h in range(slots - 1, -1, -1):
        _slopes(model, h, table)
        for i in range(nodes):
            level = i * model.spacing
            one, other, mixed, least = _best(model, menu, h, level, table)
            if keep:
                old = (plans.demand[h, i], plans.var[h, i], plans.cost[h, i])
                if expect(model, h, level, old[0], old[1], table)[0] + old[2] <= least:
                    one, other, mixed = plans.one[h, i], plans.other[h, i], plans.mixed[h, i]
            a, b = _plan(menu, h, one), _plan(menu, h, other)
            plan = _blend(a, b, mixed)
            cost, price, om = expect(model, h, level, plan[0], plan[1], table)
            om = max(om, 0.0)
            # the slope may jump across the price at which two plans cost the same
            price = _tie(a, b, om) if mixed > 0.0 else _within(menu, h, one, price, om)
            plans.one[h, i], plans.other[h, i], plans.mixed[h, i] = one, other, mixed
            plans.demand[h, i], plans.var[h, i], plans.cost[h, i] = plan
            table.value[h, i] = cost + plan[2]
            table.price[h, i], table.om[h, i] = price, om


@kernel
def _reach(
    model: Model, h: int, i: int, plans: Plans, weight: Floats
) -> tuple[int, int, float, float]:
    """Add to ``weight`` [nodes] the law of the level after slot ``h`` from node ``i``; gives the
    range of nodes reached, expected energy bought and wasted [J].
    """
    sd = max(math.sqrt(plans.var[h, i] + model.noise[h]), _LEAST_SD * model.spacing)
    net = model.supply[h] - plans.demand[h, i]
    first, final = weight.shape[0], 0
    bought, wasted = 0.0, 0.0
    for q in range(model.points.shape[0]):
        mass = model.weights[q]
        after, more, less = settle(model, i * model.spacing, net + sd * model.points[q])
        place = after / model.spacing
        j = min(int(place), weight.shape[0] - 2)
        part = place - j
        weight[j] += mass * (1.0 - part)
        weight[j + 1] += mass * part
        first, final = min(first, j), max(final, j + 1)
        bought += mass * more
        wasted += mass * less
    return first, final, bought, wasted


@outline_kernel
def compose(model: Model, plans: Plans, work: Floats, weight: Floats) -> int:
    """The cycle under ``plans``, as one affine map: ``work`` [2, nodes, nodes + 1] holds, in the
    half whose index is given back, the matrix from level to level and in its last column the cost
    of a cycle [$]. ``weight`` [nodes] is work space.
    """
    slots, nodes = plans.demand.shape
    at = 0
    for i in range(nodes):
        for j in range(nodes + 1):
            work[at, i, j] = 1.0 if i == j else 0.0
    weight[:] = 0.0
    for h in range(slots - 1, -1, -1):
        to = 1 - at
        for i in range(nodes):
            first, final, bought, wasted = _reach(model, h, i, plans, weight)
            for j in range(nodes + 1):
                work[to, i, j] = 0.0
            for m in range(first, final + 1):
                mass = weight[m]
                weight[m] = 0.0
                if mass > 0.0:
                    for j in range(nodes + 1):
                        work[to, i, j] += mass * work[at, m, j]
            work[to, i, nodes] += model.Cu[h] * bought + model.Cw[h] * wasted + plans.cost[h, i]
        at = to
    return at


@outline_kernel
def forward(model: Model, plans: Plans, law: Floats, flows: Floats, weight: Floats) -> None:
    """Move the law ``law[0]`` of the level through the slots: fills ``law`` [slots + 1, nodes] and
    ``flows`` [slots, 5], expected level [J], demand [J], energy bought and wasted [J], other cost
    [$]. ``weight`` [nodes] is work space.
    """
    slots, nodes = plans.demand.shape
    weight[:] = 0.0
    law[1:] = 0.0
    flows[:] = 0.0
    for h in range(slots):
        for i in range(nodes):
            mass = law[h, i]
            first, final, bought, wasted = _reach(model, h, i, plans, weight)
            for m in range(first, final + 1):
                law[h + 1, m] += mass * weight[m]
                weight[m] = 0.0
            flows[h, 0] += mass * i * model.spacing
            flows[h, 1] += mass * plans.demand[h, i]
            flows[h, 2] += mass * bought
            flows[h, 3] += mass * wasted
            flows[h, 4] += mass * plans.cost[h, i]
