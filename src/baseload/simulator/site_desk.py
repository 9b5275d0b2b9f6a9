"""The meters of a simulated site while the fleet runs: at the end of each slot the store is taken
one slot further, and the controller of joule prices is shown what a live one would see.

The books of a run are settled from its time bins when it has ended (``supplied``); what is shown
here differs from them by no more than a step that crosses the end of a slot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from baseload.routing.fleet_state import FleetState
from baseload.routing.pick import PolicyState
from baseload.routing.position import CAPACITY_J, PROMISED_J, position_j
from baseload.routing.slow import Slow
from baseload.routing.supply_control import (
    SupplyControl,
    check_weighable,
    slot_prices,
    start_prices,
)
from baseload.routing.supply_estimates import SupplySignals
from baseload.simulator.plant import Machine
from baseload.simulator.results import SupplyDiary
from baseload.simulator.supplied import Supplied, baseline_between_w, slots_of
from baseload.simulator.supply_diary import DiaryKeeper, SlotNote
from baseload.supply.slot import limits_record, state_record, step

Floats = NDArray[np.float64]


class SiteDesk:
    """A ``plant.Hand`` that works once a slot."""

    def __init__(
        self,
        supplied: Supplied,
        fleet: FleetState,
        policy: PolicyState,
        slow: Slow,
        *,
        span_s: float,
        seed: int,
    ) -> None:
        site = supplied.site
        self._site = site
        self._slots = slots_of(span_s, site.slot_s)
        edges_s = np.arange(self._slots + 1, dtype=np.float64) * site.slot_s
        scale = supplied.scales[supplied.main]
        self._supply_j = (
            scale * site.slot_s * baseline_between_w(site, edges_s, slots=self._slots, seed=seed)
        )
        check_weighable(slow.supply, site, edges_s)
        self._dear, self._waste = slot_prices(site, edges_s)
        self._state = state_record(site.store)
        self._limits = limits_record(site.store, site.auxiliary_limit_w)
        self._policy = policy
        self.control = SupplyControl(site, slow, fleet, policy)
        self._slot = 0
        self._drawn_j = self._promised_j = 0.0
        self._picked = np.zeros(policy.options.shape)
        self._rule = slow.supply
        self._capacity_j = float(policy.joules.position[CAPACITY_J])
        self._keeper = DiaryKeeper(start_unix_s=site.start_unix_s, capacity_j=self._capacity_j)
        self.control.begin(float(self._state.level_j), *start_prices(site))
        self._read_prices(0.0)

    @property
    def level_j(self) -> float:
        """Level of the store at the end of the last slot [J]."""
        return float(self._state.level_j)

    def resume(self, level_j: float) -> None:
        """Begin with the store at ``level_j`` [J], within its bounds, not where the site says."""
        self._state["level_j"] = max(0.0, min(self._site.store.usable_j, level_j))
        self.control.begin(self.level_j, *start_prices(self._site))
        self._read_prices(0.0)

    @property
    def next_s(self) -> float:
        """The end of the present slot [s]; inf when the trace's slots are over."""
        if self._slot >= self._slots:
            return math.inf
        return (self._slot + 1) * self._site.slot_s

    def act(self, machine: Machine) -> None:
        """Settle the slot and let the controller look."""
        site, now_s = self._site, self.next_s
        drawn_j = machine.drawn_j(now_s)
        demand_j = site.pue * (drawn_j - self._drawn_j) + site.overhead_w * site.slot_s
        self._drawn_j = drawn_j
        step(self._state, self._limits, self._supply_j[self._slot], max(0.0, demand_j), site.slot_s)
        joules = self._policy.joules
        promised_j, picked = float(joules.position[PROMISED_J]), joules.taken.copy()
        self._note(demand_j, promised_j - self._promised_j, picked - self._picked)
        self.control.look(
            SupplySignals(
                now_s=now_s,
                slot_s=site.slot_s,
                level_j=float(self._state.level_j),
                baseline_j=float(self._supply_j[self._slot]),
                demand_j=demand_j,
                in_flight=machine.in_flight(),
                auxiliary_usd_per_j=float(self._dear[self._slot]),
                waste_usd_per_j=float(self._waste[self._slot]),
                promised_j=promised_j - self._promised_j,
                picked=(picked - self._picked).sum(axis=1),
            )
        )
        self._read_prices(now_s)
        self._promised_j, self._picked = promised_j, picked
        self._slot += 1

    def _read_prices(self, now_s: float) -> None:
        """Remember what a joule costs as the next slot begins."""
        self._curve = self.control.price_usd_per_j()
        at = 0.0
        if self._capacity_j > 0.0:
            at = position_j(self._policy.joules.position, now_s) / self._capacity_j
        self._price = float(np.interp(at, np.linspace(0.0, 1.0, len(self._curve)), self._curve))
        self._level_j, self._method = float(self._state.level_j), self.control.method

    def _note(self, demand_j: float, promised_j: float, picked: Floats) -> None:
        """Put the slot that has ended into the diary."""
        slot_s = self._site.slot_s
        self._keeper.add(
            SlotNote(
                start_s=self._slot * slot_s,
                slot_s=slot_s,
                level_j=self._level_j,
                price_usd_per_j=self._price,
                curve_usd_per_j=self._curve,
                method=self._method,
                baseline_j=float(self._supply_j[self._slot]),
                demand_j=demand_j,
                promised_j=promised_j,
                picked=picked,
            )
        )

    def diary(self, *, classes: Sequence[str], options: Sequence[str]) -> SupplyDiary | None:
        """What was done with the price of a joule so far; ``None`` before the first slot ended."""
        rule = self.control.rule
        return self._keeper.diary(
            self._rule,
            classes=classes,
            options=options,
            solved=rule.solved,
            guarded_away=rule.guarded_away,
        )
