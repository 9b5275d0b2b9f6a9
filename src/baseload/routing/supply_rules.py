"""How the price of an answer's joules follows the state of the supply: one rule a policy names.

A rule is shown an ``Outlook`` and gives ``JouleOrders``: what the joules of each class and option
are worth at each level of the store, or the one option that may answer a class. ``full_jump`` is
ours; the others are published rivals and ablations. docs/explanation/variance-aware-routing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from baseload.routing.position import NODES
from baseload.routing.slow import SupplyRule
from baseload.routing.supply_outlook import Outlook
from baseload.routing.supply_tables import (
    AverageDay,
    DayStates,
    Refresh,
    best_price,
    key_numbers,
    levels_of,
    moved_by_day,
    start_scores,
    static_price,
)
from baseload.theory.dynamic_routing import prices_at
from baseload.theory.inputs import Floats

Ints = NDArray[np.int64]

METHODS = {
    "rollout": "the closed form of a start: the price falls evenly with the level",
    "by_hour": "a table for each hour of the day",
    "steady": "the average of a day, whole jumps",
    "taylor": "the average of a day, to second order",
    "mean_only": "the average of a day, without the price of variance",
    "lattice": "the exact optimum of a small store",
    "guarded": "the best constant price, because the table was no better",
    "constant_price": "a constant price",
    "static_program": "the best mixture of options that does not look at the store",
    "level": "the level of the store, by a rule of thumb",
    "no_store": "whether the hour is short: there is no store",
}
"""How orders are found, in words."""


class JouleOrders(NamedTuple):
    """What a rule wants: ``scores`` ``[classes, options, NODES]`` [$], the worth of the joules of
    an answer at even levels of the store; ``only`` ``[classes]``: the option that may answer (-1:
    all); ``method``: how they were found, a name of ``METHODS``.
    """

    scores: Floats
    only: Ints
    method: str


class Rule(Protocol):
    """A rule on its way through a run; it may remember."""

    @property
    def solved(self) -> int:
        """How often it has solved a program or an equation."""
        ...

    @property
    def guarded_away(self) -> int:
        """How often a table was no better than static, and was not used."""
        ...

    def orders(self, outlook: Outlook) -> JouleOrders:
        """What it wants from now on."""
        ...


def _priced(scores: Floats, method: str) -> JouleOrders:
    """Orders that leave the choice to the price."""
    return JouleOrders(scores, np.full(len(scores), -1), method)


def _at_prices(outlook: Outlook, price: Floats) -> Floats:
    """Scores of a price of a joule at each level [$/J] ``[NODES]``, whatever the spread."""
    return outlook.answers.mean_j[..., None] * price


def _now(outlook: Outlook) -> Floats:
    """Scores of the price of this hour where nothing can be stored."""
    return _at_prices(outlook, np.full(NODES, outlook.prices_without_store()[0]))


def _without_store(outlook: Outlook) -> bool:
    """Whether the price goes by the hour alone: there is no store, or one of less than an answer
    that the day fills and empties. Where all hours are alike such a store has its lattice.
    """
    if outlook.capacity_j == 0.0:
        return True
    return outlook.holds_answers() < 1.0 and (not outlook.seen_day or moved_by_day(outlook))


class FullJump:
    """Ours: the full-jump index on the energy position; each hour of the day a state of its own
    where the day moves the store; the rollout until a day has been seen.
    """

    def __init__(self, knobs: Mapping[str, float]) -> None:
        self._by_hour = knobs["day_states"] != 0.0
        self._day, self._average = DayStates(), AverageDay()

    @property
    def solved(self) -> int:
        """As ``Rule`` says."""
        return self._day.solved + self._average.solved

    @property
    def guarded_away(self) -> int:
        """As ``Rule`` says."""
        return self._average.guarded_away

    def orders(self, outlook: Outlook) -> JouleOrders:
        """As ``Rule`` says."""
        if _without_store(outlook):
            return _priced(_now(outlook), "no_store")
        if not outlook.seen_day:
            return _priced(start_scores(outlook), "rollout")
        if self._by_hour and moved_by_day(outlook):
            return _priced(self._day.scores(outlook), "by_hour")
        scores = self._average.scores(outlook)
        return _priced(scores, self._average.method)


class Expanded:
    """Ablations: the price of the average day, with the price of variance (Taylor) or without
    (mean-only).
    """

    def __init__(self, knobs: Mapping[str, float], *, variance: bool) -> None:  # noqa: ARG002
        self._average, self._variance = AverageDay(), variance
        self.guarded_away = 0

    @property
    def solved(self) -> int:
        """As ``Rule`` says."""
        return self._average.solved

    def orders(self, outlook: Outlook) -> JouleOrders:
        """As ``Rule`` says."""
        if _without_store(outlook):
            return _priced(_now(outlook), "no_store")
        if not outlook.seen_day:
            return _priced(start_scores(outlook), "rollout")
        _, solution = self._average.solve(outlook)
        prices = prices_at(solution, levels_of(outlook))
        scores = _at_prices(outlook, prices.lamS)
        if self._variance:
            scores = scores + 0.5 * outlook.answers.square_j2[..., None] * prices.om
        return _priced(scores, "taylor" if self._variance else "mean_only")


class Static:
    """The best routing that does not look at the store. Where the day moves the store: the best
    constant price of a joule over its cycle; else the static program, its mixtures in turn. Or a
    constant ``price_frac`` of the price of auxiliary energy.
    """

    def __init__(self, knobs: Mapping[str, float]) -> None:
        self._price_frac = knobs["price_frac"]
        self._refresh = Refresh()
        self._price = 0.0
        self._shares: Floats | None = None
        self._given: Floats | None = None
        self.guarded_away = 0

    @property
    def solved(self) -> int:
        """As ``Rule`` says."""
        return self._refresh.times

    def orders(self, outlook: Outlook) -> JouleOrders:
        """As ``Rule`` says."""
        if self._price_frac >= 0.0:
            self._price = self._price_frac * float(outlook.auxiliary_usd_per_j[0])
        elif self._refresh.due(key_numbers(outlook)):
            self._shares = None
            if _without_store(outlook):
                self._price = float(outlook.prices_without_store().mean())
            elif moved_by_day(outlook):
                self._price = best_price(outlook)
            else:
                found = static_price(outlook.average(), outlook.capacity_j)
                self._shares, self._price = found
        scores = _at_prices(outlook, np.full(NODES, self._price))
        if self._shares is None:
            return _priced(scores, "constant_price")
        if self._given is None:
            self._given = np.zeros_like(self._shares)
        self._given += self._shares
        only = np.argmax(np.round(self._given, 9), axis=1)  # whose turn is no matter of round-off
        self._given[np.arange(len(only)), only] -= 1.0
        return JouleOrders(scores, only, "static_program")


class BatteryThreshold:
    """State of charge picks the option: the frugal ones below, the able ones above, in even steps
    between ``low_frac`` and ``high_frac`` of the store. After energy-aware dynamic inference with a
    harvester, where thresholds on the battery choose the model.
    """

    def __init__(self, knobs: Mapping[str, float]) -> None:
        self._low, self._high = knobs["low_frac"], knobs["high_frac"]
        self.solved = self.guarded_away = 0

    def orders(self, outlook: Outlook) -> JouleOrders:
        """As ``Rule`` says."""
        fill = outlook.level_j / outlook.capacity_j if outlook.capacity_j > 0 else 1.0
        share = (fill - self._low) / max(1e-9, self._high - self._low)
        return _only(outlook, [_rung(ladder, share) for ladder in _ladders(outlook)])


class GreedyGreen:
    """The cheapest option while the store is below ``low_frac``, else the most able one."""

    def __init__(self, knobs: Mapping[str, float]) -> None:
        self._low = knobs["low_frac"]
        self.solved = self.guarded_away = 0

    def orders(self, outlook: Outlook) -> JouleOrders:
        """As ``Rule`` says."""
        fill = outlook.level_j / outlook.capacity_j if outlook.capacity_j > 0 else 1.0
        place = 0 if fill < self._low else -1
        return _only(outlook, [ladder[place] for ladder in _ladders(outlook)])


class Lyapunov:
    """Drift plus penalty: the price of a joule is the store's lack over V, and V, as a share of
    ``capacity / (Cu + Cw)``, is ``v_frac``: at 1 the price falls evenly from Cu to -Cw.
    """

    def __init__(self, knobs: Mapping[str, float]) -> None:
        self._v = knobs["v_frac"]
        self.solved = self.guarded_away = 0

    def orders(self, outlook: Outlook) -> JouleOrders:
        """As ``Rule`` says."""
        dear = float(outlook.auxiliary_usd_per_j[0])
        waste = max(float(outlook.waste_usd_per_j[0]), -dear)
        zero = dear / (dear + waste) if dear + waste > 0 else 0.5
        fill = np.linspace(0.0, 1.0, NODES)
        price = (zero - fill) * (dear + waste) / max(1e-9, self._v)
        return _priced(_at_prices(outlook, np.clip(price, -waste, dear)), "level")


def _ladders(outlook: Outlook) -> list[list[int]]:
    """For each class its options worth having, the most frugal first: each next one draws more and
    costs less otherwise.
    """
    found = []
    for joules, cost in zip(outlook.answers.mean_j, outlook.answers.cost_usd, strict=True):
        ladder: list[int] = []
        for option in np.lexsort((cost, joules)).tolist():
            if np.isfinite(cost[option]) and (not ladder or cost[option] < cost[ladder[-1]]):
                ladder.append(option)
        found.append(ladder or [0])
    return found


def _rung(ladder: list[int], share: float) -> int:
    """The option at a share of the way up."""
    return ladder[int(np.clip(np.floor(share * len(ladder)), 0, len(ladder) - 1))]


def _only(outlook: Outlook, options: list[int]) -> JouleOrders:
    """One option a class, joules at the price of auxiliary energy between replicas."""
    price = np.full(NODES, float(outlook.auxiliary_usd_per_j[0]))
    only = np.array(options, dtype=np.int64)
    return JouleOrders(_at_prices(outlook, price), only, "level")


def rule_of(name: SupplyRule, knobs: Mapping[str, float]) -> Rule:
    """The rule of a name, afresh; ``knobs``: of ``slow.SUPPLY_KNOBS``."""
    if name in ("taylor", "mean_only"):
        return Expanded(knobs, variance=name == "taylor")
    rules: dict[str, Callable[[Mapping[str, float]], Rule]] = {
        "full_jump": FullJump,
        "static": Static,
        "battery_threshold": BatteryThreshold,
        "greedy_green": GreedyGreen,
        "lyapunov": Lyapunov,
    }
    return rules[name](knobs)
