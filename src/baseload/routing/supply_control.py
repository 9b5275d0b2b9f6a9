"""The slow controller of joule prices: at the end of each slot of the supply it looks at the
meters, learns, and writes what a joule costs at every level of the store into the policy's state.

It runs off the request path: picks in between read its tables at the energy position
(``position``). The simulator and the gateway call it alike.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baseload.base.errors import BadInputError
from baseload.base.units import J_PER_KWH, S_PER_DAY, S_PER_HOUR
from baseload.routing.answers import Answers, expected_answers
from baseload.routing.fleet_state import FleetState
from baseload.routing.pick import PolicyState
from baseload.routing.position import (
    AT_S,
    CAPACITY_J,
    DRIFT_W,
    LEVEL_J,
    PROMISED_J,
    position_j,
)
from baseload.routing.price import ENERGY, QUALITY
from baseload.routing.slow import Slow
from baseload.routing.supply_estimates import SupplyEstimates, SupplySignals
from baseload.routing.supply_outlook import Outlook
from baseload.routing.supply_rules import JouleOrders, rule_of
from baseload.supply.site import Site
from baseload.theory.inputs import Floats
from baseload.theory.stopping import stopping_tokens
from baseload.workload.lengths import WHOLE_CLASS

_BARRED_USD = 1e3  # fee of an option that may not answer: dearer than anything else
_DAYS_OF_ENDLESS_STORE = 30.0
_RATE_MEMORY_S = 3600.0
_ANSWERS_KEPT = 0.92  # an hour: a memory of half a day
_FEWEST_LEARNED = 100.0  # lengths of a class, the prior's count with them
_INSTANT_S = 1.0
_NO_PRICE = 1e-9  # of the reference: a solver's last digits, whose sign says nothing


def slot_prices(site: Site, edges_s: Floats) -> tuple[Floats, Floats]:
    """Price of auxiliary energy, carbon included, and of waste, in the slots between ``edges_s``
    ``[n + 1]`` [$/J at the bus]; without a tariff, and without an auxiliary supply, the price of
    demand that is not met.
    """
    slots = len(edges_s) - 1
    dear = np.full(slots, site.unserved_usd_per_j or 0.0)
    if site.tariff is not None and site.auxiliary_limit_w > 0.0:
        dear = site.tariff.energy.slot_usd_per_j(edges_s, start_unix_s=site.start_unix_s)
    if site.carbon_usd_per_g and site.auxiliary_carbon is not None:
        signal = site.auxiliary_carbon.slots(edges_s, start_unix_s=site.start_unix_s)
        dear = dear + site.carbon_usd_per_g * signal.intensity_g_per_j
    if isinstance(site.waste_usd_per_j, int | float):
        return dear, np.full(slots, float(site.waste_usd_per_j))
    return dear, site.waste_usd_per_j.slot_usd_per_j(edges_s, start_unix_s=site.start_unix_s)


def start_prices(site: Site) -> tuple[float, float]:
    """``slot_prices`` at the instant a run begins: what a meter of carbon shows then, not the mean
    of a slot that has not passed.
    """
    dear, waste = slot_prices(site, np.array([0.0, min(_INSTANT_S, site.slot_s)]))
    return float(dear[0]), float(waste[0])


def check_weighable(name: str, site: Site, edges_s: Floats) -> None:
    """Raise ``BadInputError`` where policy ``name`` would have nothing to weigh in the slots
    between ``edges_s``: no price of energy that is short, or one at which wasting it pays.
    """
    islanded = site.auxiliary_limit_w == 0.0
    asked = f"policy {name!r} weighs joules by their price"
    if islanded and site.unserved_usd_per_j is None:
        raise BadInputError(
            f"{asked}: supply.prices.unserved_usd_per_kwh",
            found="no price of demand that is not met, at a site without auxiliary energy",
            allowed="dollars per kWh",
            todo="give the price, or leave out the policies that look at the supply",
        )
    if not islanded and site.tariff is None:
        raise BadInputError(
            f"{asked}: supply.auxiliary.price_usd_per_kwh",
            found="no price of auxiliary energy",
            allowed="price_usd_per_kwh, or a recorded price",
            todo="give the price, or leave out the policies that look at the supply",
        )
    dear, waste = slot_prices(site, edges_s)
    wrong = np.flatnonzero(dear + waste <= 0.0)
    if wrong.size:
        at = int(wrong[0])
        short = "unserved" if islanded else "auxiliary"
        raise BadInputError(
            f"{asked}: supply.prices.waste_usd_per_kwh",
            found=f"{waste[at] * J_PER_KWH:g} for waste beside {dear[at] * J_PER_KWH:g} $/kWh for "
            f"{short} energy, {edges_s[at] / S_PER_HOUR:g} hours into the run "
            f"({wrong.size:,} slots)",
            allowed="a sum above 0: else buying energy to waste it costs nothing, or pays",
            todo="raise waste_usd_per_kwh, or leave out the policies that look at the supply",
        )


def reference_usd_per_j(site: Site) -> float:
    """Price of a joule that the fleet draws where nothing is known of the store [$/J]: auxiliary
    energy as the run begins, with what the site loses on the way to the fleet. 1 without any price.
    """
    price = start_prices(site)[0]
    return site.pue * price if price > 0.0 else 1.0


def table_capacity_j(site: Site) -> float:
    """Capacity that the tables cover [J]: the store's, or a month of baseline of one without
    end.
    """
    usable_j = site.store.usable_j
    if np.isfinite(usable_j):
        return usable_j
    return _DAYS_OF_ENDLESS_STORE * S_PER_DAY * max(1.0, site.baseline.mean_w())


class SupplyControl:
    """Writes joule prices into ``policy`` for a ``site``, by the rule that ``slow`` names."""

    def __init__(self, site: Site, slow: Slow, fleet: FleetState, policy: PolicyState) -> None:
        self._site, self._fleet, self._policy = site, fleet, policy
        self._reference = reference_usd_per_j(site) / site.pue
        self._capacity_j = float(policy.joules.position[CAPACITY_J])
        self.rule = rule_of(slow.supply, slow.supply_parameters())
        classes = policy.options.shape[0]
        self.estimates = SupplyEstimates(classes=classes, start_unix_s=site.start_unix_s)
        stop_rule = slow.supply_parameters().get("stop_rule", 0.0)
        self._stops = stop_rule != 0.0 and policy.rates[QUALITY] > 0.0
        self._own = policy.options.copy().view(np.recarray)  # as the scenario has them
        self._rate_per_s = np.zeros(policy.options.shape)  # of picks, in the last hour or so
        self._taken = np.zeros(policy.options.shape)
        self._usual = self._answers()
        self._seen_answers = False  # whether they were of requests, not of priors
        self._hours = -1
        self._drift_w = 0.0
        self.method = ""

    def begin(self, level_j: float, auxiliary_usd_per_j: float, waste_usd_per_j: float) -> None:
        """Before the first slot: nothing is known but the level and the prices."""
        nothing = np.zeros(self._policy.options.shape[0])
        self._hours = self.estimates.hours_passed(0.0)
        outlook = Outlook(
            answers=self._usual,
            store=self._site.store,
            capacity_j=self._capacity_j,
            level_j=level_j,
            hour=self.estimates.hour(0.0),
            seen_day=False,
            rate_per_s=np.tile(nothing, (24, 1)),
            net_w=np.zeros(24),
            usual_net_w=np.zeros(24),
            auxiliary_usd_per_j=np.full(24, auxiliary_usd_per_j),
            waste_usd_per_j=np.full(24, waste_usd_per_j),
            variance_j2_per_s=0.0,
        )
        self._write(outlook, self.rule.orders(outlook))
        self._policy.joules.position[LEVEL_J] = level_j

    def look(self, signals: SupplySignals) -> None:
        """The slot that ended at ``signals.now_s``: learn from it, set the position, and once an
        hour the tables.
        """
        estimates = self.estimates
        estimates.add(signals)
        self._count(signals)
        hours = estimates.hours_passed(signals.now_s)
        new = hours != self._hours
        if new:
            self._remember(hours - self._hours)
            self._hours = hours
            outlook = self._outlook(signals)
            self._drift_w = float(outlook.net_w[0])
            self._write(outlook, self.rule.orders(outlook))
        self._place(signals)
        if new:
            self._cap(signals.now_s)

    def price_usd_per_j(self) -> Floats:
        """What a joule at the bus costs at even levels of the store ``[NODES]`` [$/J], as picks
        read it now: the mean over the joules of all answers, each class and option as often as it
        was picked lately, alike before any was.
        """
        weight = (
            np.where(self._rate_per_s.any(), self._rate_per_s, 1.0) * self._policy.joules.joules
        )
        total = float(weight.sum())
        share = weight / total if total > 0.0 else weight
        price: Floats = self._reference * np.tensordot(share, self._policy.joules.factor, axes=2)
        return price

    def _count(self, signals: SupplySignals) -> None:
        """Follow the rate at which options are picked."""
        taken = self._policy.joules.taken
        keep = math.exp(-signals.slot_s / _RATE_MEMORY_S) if self._taken.any() else 0.0
        now = (taken - self._taken) / signals.slot_s
        self._rate_per_s = keep * self._rate_per_s + (1.0 - keep) * now
        self._taken = taken.copy()

    def _outlook(self, signals: SupplySignals) -> Outlook:
        """The day to come."""
        estimates, now_s = self.estimates, signals.now_s
        order = (estimates.hour(now_s) + np.arange(24)) % 24
        floor_w = estimates.floor_w.filled()[order]
        usual_w = estimates.baseline_w.filled()[order] - floor_w
        return Outlook(
            answers=self._usual,
            store=self._site.store,
            capacity_j=self._capacity_j,
            level_j=signals.level_j,
            hour=estimates.hour(now_s),
            seen_day=estimates.baseline_w.known,
            rate_per_s=estimates.rate_per_s.filled()[order],
            net_w=estimates.ahead_w(now_s) - floor_w,
            usual_net_w=usual_w,
            auxiliary_usd_per_j=estimates.auxiliary_usd_per_j.filled()[order],
            waste_usd_per_j=estimates.waste_usd_per_j.filled()[order],
            variance_j2_per_s=estimates.variance_j2_per_s(),
        )

    def _remember(self, hours: int) -> None:
        """Follow what answers draw: tables are made for those of the last day or so, so that they
        do not follow the choices that they lead to.
        """
        keep = _ANSWERS_KEPT**hours if self._seen_answers else 0.0
        now = self._answers()
        self._usual = Answers(
            mean_j=keep * self._usual.mean_j + (1.0 - keep) * now.mean_j,
            square_j2=keep * self._usual.square_j2 + (1.0 - keep) * now.square_j2,
            cost_usd=now.cost_usd,  # without end where an option is not to be had
            token_j=keep * self._usual.token_j + (1.0 - keep) * now.token_j,
        )
        self._seen_answers = bool(self._rate_per_s.any())

    def _answers(self, options: np.recarray[Any, Any] | None = None) -> Answers:
        """Expected answers, joules at the bus; by default under no caps but the scenario's, so that
        the tables do not follow the caps that they lead to.
        """
        table = self._own if options is None else options
        found = expected_answers(self._fleet, table, self._policy.joules, self._rate_per_s)
        scale = self._site.pue
        return Answers(
            scale * found.mean_j,
            scale * scale * found.square_j2,
            found.cost_usd,
            scale * found.token_j,
        )

    def _cap(self, now_s: float) -> None:
        """The stop rule: cap each class and option where one token more brings less than its joules
        cost at the present position, never above the scenario's cap. Classes of which little is
        known are left alone, since who cuts at once never learns how long answers are; so are those
        that nobody has put a value on. Requests keep the cap that they were sent with.
        """
        if not self._stops:
            return
        policy, joules = self._policy, self._policy.joules
        share = 0.0
        if self._capacity_j > 0.0:
            share = position_j(joules.position, now_s) / self._capacity_j
        nodes = np.linspace(0.0, 1.0, joules.factor.shape[2])
        token_j = self._answers().token_j / self._site.pue
        worth, dollars = policy.rates[QUALITY], policy.rates[ENERGY]
        for code, number in np.ndindex(policy.options.shape):
            option: Any = self._own[code, number]
            known = self._fleet.forecast[min(code, len(self._fleet.forecast) - 1), WHOLE_CLASS]
            if option.right_usd == 0.0 or known["count"] < _FEWEST_LEARNED:
                continue
            factor = float(np.interp(share, nodes, joules.factor[code, number]))
            cap = stopping_tokens(
                known.mean_tokens * option.output_factor,
                math.sqrt(known.variance_tokens2) * option.output_factor,
                worth_usd=worth * option.right_usd,
                right_frac=1.0 - option.wrong_frac,
                usd_per_token=dollars * factor * token_j[code, number],
            )
            policy.options.cap_tokens[code, number] = min(cap, option.cap_tokens)
        joules.joules[:] = self._answers(policy.options).mean_j

    def _write(self, outlook: Outlook, orders: JouleOrders) -> None:
        """Put the orders where picks read them."""
        self.method = orders.method
        joules, options = self._policy.joules, self._policy.options
        mean_j = outlook.answers.mean_j
        joules.joules[:] = mean_j
        unit = self._reference * np.where(mean_j > 0.0, mean_j, 1.0)
        factor = orders.scores / unit[..., None]
        joules.factor[:] = np.where(np.abs(factor) < _NO_PRICE, 0.0, factor)
        options.fee_usd[:] = self._own.fee_usd
        for row, only in enumerate(orders.only.tolist()):
            if only >= 0:
                barred = np.arange(options.shape[1]) != only
                options.fee_usd[row, barred] += _BARRED_USD

    def _place(self, signals: SupplySignals) -> None:
        """Set the energy position: the level, less what requests in flight will still draw; half of
        a mean answer each, were all alike, and more where long ones linger.
        """
        position, joules = self._policy.joules.position, self._policy.joules
        picked = float(joules.taken.sum())
        each_j = float(position[PROMISED_J]) / picked if picked > 0.0 else 0.0
        position[LEVEL_J] = signals.level_j - 0.5 * signals.in_flight * each_j
        position[AT_S], position[DRIFT_W] = signals.now_s, self._drift_w
