"""What a rule of joule prices is shown: the day to come, as far as the past tells it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from baseload.base.units import S_PER_DAY, S_PER_HOUR
from baseload.routing.answers import Answers
from baseload.supply.store import Store
from baseload.theory.inputs import Floats
from baseload.theory.routing_instance import RoutingInstance

_STILL_FRAC = 1e-3


class Outlook(NamedTuple):
    """What is expected of the next day, hour by hour from this one on.

    ``answers``: at the bus. ``rate_per_s`` ``[24, classes]``; ``net_w`` ``[24]``: baseline less the
    demand that no decision moves; ``usual_net_w`` ``[24]``: the same on a usual day.
    ``auxiliary_usd_per_j``, ``waste_usd_per_j`` ``[24]``. ``variance_j2_per_s``: of the net energy
    about the usual day, without that of answers. ``hour``: of the day, now; ``level_j``,
    ``capacity_j``: of the ``store``. ``seen_day``: whether every hour was seen.
    """

    answers: Answers
    store: Store
    capacity_j: float
    level_j: float
    hour: int
    seen_day: bool
    rate_per_s: Floats
    net_w: Floats
    usual_net_w: Floats
    auxiliary_usd_per_j: Floats
    waste_usd_per_j: Floats
    variance_j2_per_s: float

    def average(self) -> RoutingInstance:
        """The usual day as one: mean rates, mean net supply, mean prices; of variance at least what
        moves a thousandth of the store in a day, for without any there is no diffusion to solve.
        """
        still = (_STILL_FRAC * self.capacity_j) ** 2 / S_PER_DAY
        return RoutingInstance(
            lam=self.rate_per_s.mean(axis=0),
            mean=self.answers.mean_j,
            second=self.answers.square_j2,
            other_cost=self.answers.cost_usd,
            Cu=float(self.auxiliary_usd_per_j.mean()),
            Cw=float(self.waste_usd_per_j.mean()),
            b=float(self.usual_net_w.mean()),
            v0=max(self.variance_j2_per_s, still),
        )

    def reference_w(self) -> float:
        """Mean demand [W] of answering every request by its first option."""
        return float(self.rate_per_s.mean(axis=0) @ self.reference(self.answers.mean_j))

    def reference(self, table: Floats) -> Floats:
        """Of a table ``[classes, options]`` the first option that each class may have."""
        first = np.argmax(np.isfinite(self.answers.cost_usd), axis=1)
        found: Floats = table[np.arange(len(first)), first]
        return found

    def prices_without_store(self) -> Floats:
        """What a joule is worth in each coming hour where nothing can be stored [$/J] ``[24]``: the
        chance that the hour is short times the price of auxiliary energy, less the chance of a
        surplus times that of waste. The net power of an hour is taken as normal, every request
        answered by its first option. Exact without chance within the hour.
        """
        demand_w = self.rate_per_s @ self.reference(self.answers.mean_j)
        variance = self.rate_per_s @ self.reference(self.answers.square_j2)
        variance = variance + self.variance_j2_per_s
        spread_w = np.sqrt(variance / S_PER_HOUR)
        over = (demand_w - self.net_w) / np.maximum(spread_w, 1e-12)
        short: Floats = ndtr(over)
        return short * self.auxiliary_usd_per_j - (1.0 - short) * self.waste_usd_per_j

    def holds_answers(self) -> float:
        """Mean answers that the full store holds."""
        each_j = self.mean_job_j()
        return self.capacity_j / each_j if each_j > 0 else math.inf

    def mean_job_j(self) -> float:
        """Mean joules of an answer, the options that are to be had alike."""
        rate = self.rate_per_s.mean(axis=0)
        total = float(rate.sum())
        there = np.isfinite(self.answers.cost_usd)
        mean = (self.answers.mean_j * there).sum(axis=1) / np.maximum(1, there.sum(axis=1))
        return float(rate @ mean) / total if total > 0 else float(mean.mean())

    def day_swing_j(self) -> float:
        """How far the usual day alone would fill and empty a store [J]: the range of the net energy
        since midnight about its mean.
        """
        away = (self.usual_net_w - self.usual_net_w.mean()) * S_PER_HOUR
        path = np.concatenate(([0.0], np.cumsum(away)))
        return float(path.max() - path.min())
