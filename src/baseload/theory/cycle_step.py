"""One slot of a store whose supply follows a cycle: kernels (docs/explanation, 5.10 of
variance-aware-routing.md).

A *plan* is what a routing does to the store in a slot that starts at a level: the energy it asks
for [J], the variance of that [J^2], and its other cost [$]. ``improve`` finds the best plan of
every slot and level backwards in time, ``compose`` gives the matrix of a whole cycle under given
plans, ``forward`` moves a law of the level through it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from baseload.base.kernels import kernel, outline_kernel
from baseload.theory.inputs import Floats

ROUNDS = 3
"""How often a search at one level renews its price of variance."""

_CUTS = 64
_MIX_STEPS = 24
_MIX_ERROR = 1e-4
_SAME = 1e-12
_LEAST_SD = 1e-8
_ROUGH = 1e-2


class Model(NamedTuple):
    """A problem as kernels take it: by slot ``supply`` [J], ``noise`` [J^2], prices ``Cu``, ``Cw``
    [$/J] and ``load`` [slots, classes] arrivals; ``mean`` [J], ``second`` [J^2], ``cost`` [$]
    [classes, options], by mean upwards, infinite cost for what is not to be had; the store's
    capacity ``B`` [J], efficiencies, ``charge``, ``discharge`` [J] at most in a slot; ``spacing``
    of the levels [J]; quadrature ``points`` and ``weights`` of a standard normal.
    """

    supply: Floats
    noise: Floats
    Cu: Floats
    Cw: Floats
    load: Floats
    mean: Floats
    second: Floats
    cost: Floats
    B: float
    eta_c: float
    eta_d: float
    charge: float
    discharge: float
    spacing: float
    points: Floats
    weights: Floats


class Plans(NamedTuple):
    """By slot and level [slots, nodes]: ``demand`` [J], ``var`` [J^2] (without the slot's own
    noise) and ``cost`` [$] of what is done. A plan is the routing of the prices ``low`` and
    ``tilt`` (price of variance times 2) with share 1 - ``mixed``, of ``high`` and ``tilt`` with
    share ``mixed``.
    """

    demand: Floats
    var: Floats
    cost: Floats
    low: Floats
    high: Floats
    tilt: Floats
    mixed: Floats


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
def choose(model: Model, h: int, price: float, om: float) -> tuple[float, float, float]:
    """Energy [J], variance [J^2] and cost [$] of slot ``h`` when every class takes its cheapest
    option at these prices; ties go to the smaller mean.
    """
    half = 0.5 * max(om, 0.0)
    demand, var, cost = 0.0, 0.0, 0.0
    for k in range(model.load.shape[1]):
        if model.load[h, k] > 0.0:
            best = 0
            least = math.inf
            for j in range(model.mean.shape[1]):
                score = price * model.mean[k, j] + half * model.second[k, j] + model.cost[k, j]
                if score < least:
                    least = score
                    best = j
            demand += model.load[h, k] * model.mean[k, best]
            var += model.load[h, k] * model.second[k, best]
            cost += model.load[h, k] * model.cost[k, best]
    return demand, var, cost


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
def _slopes(model: Model, h: int, table: Tables) -> bool:
    """Fill ``table.slope`` for the end of slot ``h``; whether a joule may be worth more later than
    now, so that more than one plan can be a local optimum.
    """
    n = table.slope.shape[0]
    row = h + 1
    per = 1.0 / model.spacing
    for i in range(1, n - 1):
        table.slope[i] = 0.5 * per * (table.value[row, i - 1] - table.value[row, i + 1])
    first = per * (table.value[row, 0] - table.value[row, 1])
    final = per * (table.value[row, n - 2] - table.value[row, n - 1])
    table.slope[0] = 2.0 * first - table.slope[1] if n > 2 else first
    table.slope[n - 1] = 2.0 * final - table.slope[n - 2] if n > 2 else final
    slack = _ROUGH * (model.Cu[h] + model.Cw[h])
    rough = first > model.eta_d * model.Cu[h] + slack
    rough = rough or model.eta_c * final < -model.Cw[h] - slack
    rough = rough or (final < -slack and model.eta_c * model.eta_d < 1.0)
    for i in range(1, n - 1):
        rough = rough or table.slope[i + 1] > table.slope[i] + slack
    return bool(rough)


@kernel
def _mix(
    model: Model,
    h: int,
    level: float,
    one: tuple[float, float, float],
    other: tuple[float, float, float],
    table: Tables,
) -> float:
    """Share of ``other`` at which a mixture of two plans is cheapest (``one`` asks for more)."""
    d_demand, d_var = other[0] - one[0], other[1] - one[1]
    d_cost = other[2] - one[2]
    left, right = 0.0, 1.0
    _, price, om = expect(model, h, level, one[0], one[1], table)
    f_left = d_demand * price + 0.5 * d_var * om + d_cost
    _, price, om = expect(model, h, level, other[0], other[1], table)
    f_right = d_demand * price + 0.5 * d_var * om + d_cost
    if f_left >= 0.0:
        return 0.0
    if f_right <= 0.0:
        return 1.0
    enough = _MIX_ERROR * (f_right - f_left)
    side = 0
    x = 0.5
    for _ in range(_MIX_STEPS):  # the Illinois rule: regula falsi that halves an end which stays
        x = left + (right - left) * f_left / (f_left - f_right)
        _, price, om = expect(model, h, level, one[0] + x * d_demand, one[1] + x * d_var, table)
        f = d_demand * price + 0.5 * d_var * om + d_cost
        if abs(f) <= enough or right - left < _MIX_ERROR:
            break
        if f < 0.0:
            left, f_left = x, f
            f_right = 0.5 * f_right if side == -1 else f_right
            side = -1
        else:
            right, f_right = x, f
            f_left = 0.5 * f_left if side == 1 else f_left
            side = 1
    return x


@kernel
def _cut(
    model: Model,
    h: int,
    level: float,
    low: float,
    high: float,
    om: float,
    table: Tables,
) -> tuple[float, float]:
    """Two prices, ``om`` fixed, whose routings are neighbours and have the optimal price between
    them; or equal, where one routing is optimal alone. The optimal price lies in [low, high].
    """
    a = choose(model, h, low, om)
    b = choose(model, h, high, om)
    for _ in range(_CUTS):
        apart = a[0] - b[0]
        if apart <= _SAME * (a[0] + b[0]):
            return low, low
        over_a, over_b = a[2] + 0.5 * om * a[1], b[2] + 0.5 * om * b[1]
        cross = min(max((over_b - over_a) / apart, low), high)
        c = choose(model, h, cross, om)
        line = over_a + cross * a[0]
        size = abs(over_a) + abs(over_b) + abs(cross) * a[0]
        neighbours = c[2] + 0.5 * om * c[1] + cross * c[0] >= line - _SAME * size
        if neighbours:
            if expect(model, h, level, a[0], a[1], table)[1] <= cross:
                return low, low
            if expect(model, h, level, b[0], b[1], table)[1] >= cross:
                return high, high
            return low, high
        if expect(model, h, level, c[0], c[1], table)[1] > cross:
            low, a = cross, c
        else:
            high, b = cross, c
    return low, high


@kernel
def _same(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    """Whether two plans are the same to rounding."""
    apart: float = abs(one[0] - other[0]) + abs(one[2] - other[2])
    return apart <= _SAME * (abs(one[0]) + abs(one[2]))


@outline_kernel
def _search(
    model: Model, h: int, level: float, guess: float, om: float, table: Tables
) -> tuple[float, float, float, float]:
    """Prices low and high, steepness and share of high of the plan at which the prices that a plan
    assumes are those that it brings about.
    """
    for attempt in range(ROUNDS):
        a = choose(model, h, guess, om)
        _, price, steep = expect(model, h, level, a[0], a[1], table)
        b = choose(model, h, price, steep)
        if _same(a, b):
            return guess, guess, om, 0.0
        if attempt > 0:
            om = max(steep, 0.0)
            a = choose(model, h, guess, om)
            _, price, steep = expect(model, h, level, a[0], a[1], table)
        low, high = _cut(model, h, level, min(guess, price), max(guess, price), om, table)
        guess = low
        if low < high:
            a = choose(model, h, low, om)
            b = choose(model, h, high, om)
            x = _mix(model, h, level, a, b, table)
            _, _, steep = expect(
                model, h, level, a[0] + x * (b[0] - a[0]), a[1] + x * (b[1] - a[1]), table
            )
            if attempt == ROUNDS - 1 or abs(steep - om) <= 0.05 * abs(om):
                return low, high, om, x
            guess = low if x < 0.5 else high
    return guess, guess, om, 0.0


@kernel
def _plan(
    model: Model, h: int, found: tuple[float, float, float, float]
) -> tuple[float, float, float]:
    """The plan of two prices, a steepness and a share."""
    a = choose(model, h, found[0], found[2])
    if found[3] == 0.0:
        return a
    b = choose(model, h, found[1], found[2])
    x = found[3]
    return a[0] + x * (b[0] - a[0]), a[1] + x * (b[1] - a[1]), a[2] + x * (b[2] - a[2])


@kernel
def _tie(model: Model, h: int, found: tuple[float, float, float, float], steep: float) -> float:
    """The price at which both routings of a mixture cost the same: the slope may jump across it."""
    a = choose(model, h, found[0], found[2])
    b = choose(model, h, found[1], found[2])
    return (b[2] - a[2] + 0.5 * max(steep, 0.0) * (b[1] - a[1])) / (a[0] - b[0])


@outline_kernel
def _best(
    model: Model,
    h: int,
    level: float,
    start: tuple[float, float, float, float],
    old: tuple[float, float, float],
    rough: bool,
    table: Tables,
) -> tuple[tuple[float, float, float, float], bool]:
    """The best plan found from ``start`` (or from both ends of the prices where ``rough``), and
    whether the ``old`` plan is better than that.
    """
    found = _search(model, h, level, start[0], start[2], table)
    plan = _plan(model, h, found)
    total = expect(model, h, level, plan[0], plan[1], table)[0] + plan[2]
    if rough:
        for end in range(2):
            guess = model.Cu[h] if end == 0 else -model.Cw[h]
            again = _search(model, h, level, guess, 0.0, table)
            plan = _plan(model, h, again)
            cost = expect(model, h, level, plan[0], plan[1], table)[0] + plan[2]
            if cost < total:
                found, total = again, cost
    keep = False
    if old[0] >= 0.0:
        keep = expect(model, h, level, old[0], old[1], table)[0] + old[2] < total
    return found, keep


@outline_kernel
def improve(model: Model, table: Tables, plans: Plans, keep: bool) -> None:
    """The best plans of all slots and levels, backwards from ``table.value[slots]``: fills
    ``table`` and ``plans``. ``keep``: the plans there are good ones, given up for better ones only.
    """
    slots, nodes = table.price.shape
    for h in range(slots - 1, -1, -1):
        rough = _slopes(model, h, table)
        guess, om = model.Cu[h], 0.0
        for i in range(nodes):
            level = i * model.spacing
            found = (guess, guess, om, 0.0)
            plan = choose(model, h, guess, om)
            cost, price, steep = expect(model, h, level, plan[0], plan[1], table)
            after = choose(model, h, price, steep)
            old = (-1.0, 0.0, 0.0)
            if keep:
                old = (plans.demand[h, i], plans.var[h, i], plans.cost[h, i])
            settled = not rough and _same(plan, after) and (not keep or _same(plan, old))
            if not settled:
                found, stay = _best(model, h, level, found, old, rough, table)
                if stay:
                    found = (plans.low[h, i], plans.high[h, i], plans.tilt[h, i], plans.mixed[h, i])
                plan = _plan(model, h, found)
                cost, price, steep = expect(model, h, level, plan[0], plan[1], table)
                if found[3] > 0.0:
                    price = _tie(model, h, found, steep)
            plans.low[h, i], plans.high[h, i], plans.tilt[h, i], plans.mixed[h, i] = found
            plans.demand[h, i], plans.var[h, i], plans.cost[h, i] = plan
            guess, om = price, max(steep, 0.0)
            table.value[h, i] = cost + plan[2]
            table.price[h, i], table.om[h, i] = guess, om


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


@outline_kernel
def options(model: Model, plans: Plans, order: Any, choice: Any, other: Any) -> None:
    """The options behind ``plans``: fills ``choice`` and ``other`` [slots, nodes, classes] with the
    caller's numbers, which ``order`` [classes, options] gives.
    """
    slots, nodes = plans.demand.shape
    for h in range(slots):
        for i in range(nodes):
            half = 0.5 * max(plans.tilt[h, i], 0.0)
            for k in range(model.mean.shape[0]):
                for side in range(2):
                    price = plans.low[h, i] if side == 0 else plans.high[h, i]
                    best = 0
                    least = math.inf
                    for j in range(model.mean.shape[1]):
                        score = (
                            price * model.mean[k, j] + half * model.second[k, j] + model.cost[k, j]
                        )
                        if score < least:
                            least = score
                            best = j
                    if side == 0:
                        choice[h, i, k] = order[k, best]
                    else:
                        other[h, i, k] = order[k, best]
