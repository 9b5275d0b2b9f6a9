"""Shows the fleet in the metrics, as the machine sees it. Only reads: to bring the machine's meters
up to date would make a replayed log differ in its last digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from baseload.base.units import J_PER_KWH
from baseload.gateway.core import Core
from baseload.gateway.decision import ASLEEP, JOULE_FACTOR
from baseload.gateway.engine_metrics import Readings
from baseload.gateway.live_fleet import LiveFleet
from baseload.gateway.metrics import GatewayMetrics, ReplicaState, TierState

_BREAKER = {"closed": 0, "trial": 1, "open": 2}
_UNREAD = Readings()
_NS = 1_000_000_000
POWER_S = 1.0
"""Over how long power is averaged, at least."""


class FleetGauges:
    """What was shown last, so that energy is told as it grows. ``leads``: idle replicas are told of
    by one worker for all; the power of a fleet is the sum over its workers.
    """

    def __init__(self, metrics: GatewayMetrics, *, leads: bool = True) -> None:
        self._metrics, self._leads = metrics, leads
        self._idle_j: dict[str, float] = {}
        self._drawn_j, self._drawn_ns = 0.0, -1
        self._power_w = math.nan
        self._priced: tuple[LiveFleet | None, float] = None, math.nan

    def refresh(self, core: Core, readings: Mapping[int, Readings], now_ns: int) -> None:
        """Show everything as it is at ``now_ns``. ``readings``: what engines said last, by
        replica.
        """
        metrics = self._metrics
        metrics.replicas(replica_states(core, readings, now_ns))
        weights = core.replicas.policy.lateness_weight.tolist()
        metrics.tiers(
            TierState(name=tier.name, queued=core.waiting[place], lateness_weight=weights[place])
            for place, tier in enumerate(core.live.tiers)
        )
        self._energy(core, now_ns)
        metrics.fleet(
            in_flight=len(core.lives), power_w=self._power_w, joule_price_usd=self._price(core)
        )

    def _price(self, core: Core) -> float:
        """What a joule cost in the last decision [USD]: its price where nothing is known of the
        store, by the store's factor; nan before the first.
        """
        replicas = core.replicas
        if not replicas.decisions:
            return math.nan
        if self._priced[0] is not core.live:
            self._priced = core.live, reference_usd_per_j(core.live)
        slot = (replicas.decisions - 1) % replicas.kept
        return self._priced[1] * float(replicas.book.said[slot, JOULE_FACTOR])

    def _energy(self, core: Core, now_ns: int) -> None:
        """Idle energy as it has grown, and power since the last look."""
        idle_j = idle_energy_j(core, now_ns)
        drawn_j = float(core.replicas.book.busy_j.sum())
        models = {replica.name: replica.model.name for replica in core.live.replicas}
        if self._leads:
            drawn_j += math.fsum(idle_j.values())
            for name, energy_j in idle_j.items():
                before_j = self._idle_j.get(name, 0.0)
                self._metrics.idle(
                    models[name], energy_j - before_j if energy_j >= before_j else energy_j
                )
        self._idle_j = idle_j
        seconds = (now_ns - self._drawn_ns) / _NS
        if self._drawn_ns < 0 or drawn_j < self._drawn_j:  # the first look, or another fleet
            self._drawn_j, self._drawn_ns = drawn_j, now_ns
        elif seconds >= POWER_S:
            self._power_w = (drawn_j - self._drawn_j) / seconds
            self._drawn_j, self._drawn_ns = drawn_j, now_ns


def idle_energy_j(core: Core, now_ns: int) -> dict[str, float]:
    """Modelled energy [J] that each replica has drawn with nothing to do, by its name."""
    replicas = core.replicas
    book, state, now_s = replicas.book, replicas.state, replicas.seconds(now_ns)
    found = {}
    for replica in core.live.replicas:
        number = replica.number
        energy_j = float(book.idle_j[number])
        if state.in_flight[number] <= 0:
            cost = book.base_cost[state.type_of[number]]
            asleep = book.state[number] == ASLEEP
            power_w = float(cost.power_w_parked if asleep else cost.power_w_idle)
            energy_j += power_w * max(0.0, now_s - float(book.at_s[number]))
        found[replica.name] = energy_j
    return found


def reference_usd_per_j(live: LiveFleet) -> float:
    """What a joule costs where nothing is known of a store [USD/J]."""
    if live.supplied is None:
        return live.config.energy_usd_per_kwh / J_PER_KWH
    from baseload.routing import supply_control  # scipy: only where there is a site

    return supply_control.reference_usd_per_j(live.supplied.site)


def replica_states(core: Core, readings: Mapping[int, Readings], now_ns: int) -> list[ReplicaState]:
    """The replicas as the machine sees them."""
    replicas, found = core.replicas, []
    for replica in core.live.replicas:
        number = replica.number
        health = replicas.health[number]
        reading = readings.get(number, _UNREAD)
        sampled_ns = health.sampled_ns
        found.append(
            ReplicaState(
                name=replica.name,
                model=replica.model.name,
                in_flight=int(replicas.book.own[number]),
                open=bool(replicas.wanted[number]) and replicas.able(number, now_ns),
                healthy=health.healthy(core.live.config.health),
                breaker=_BREAKER[health.breaker],
                parked=not health.awake,
                signal_age_s=math.nan if sampled_ns < 0 else (now_ns - sampled_ns) / _NS,
                running=reading.running,
                waiting=reading.waiting,
                kv_frac=reading.kv_frac,
                engine_energy_j=reading.energy_j,
            )
        )
    return found
