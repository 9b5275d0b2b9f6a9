"""Slow control of a live fleet: the simulator's own controllers, with the state machine as the
machine that they work on (``simulator.plant.Machine``).

Lambda of each tier, the working set, bulk requests for quiet minutes, the price of joules by the
state of the store: the same code acts on the same records, here and there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from baseload.gateway.events import AnyCommand, Rest, Rouse
from baseload.gateway.life import HELD
from baseload.gateway.waiting import NEVER_NS
from baseload.simulator.plant import Hand, Plant
from baseload.simulator.scenario import Group, Scenario

if TYPE_CHECKING:
    from baseload.gateway.core import Core
    from baseload.simulator.site_desk import SiteDesk

_NS = 1_000_000_000
_LOOK_AGAIN_S = 5.0
_SITE_SPAN_S = 366 * 86_400.0


def _no_requests(seed: int) -> Any:
    """A live fleet has no trace."""
    raise AssertionError(f"a live fleet has no trace of seed {seed}")


class FleetHands:
    """The controllers of a live fleet, and what they may do to it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.commands: list[AnyCommand] = []
        self.now_ns = core.replicas.start_ns
        self._resting: dict[int, float] = {}  # closed replicas that are to sleep, and when [s]
        self._roused: dict[int, float] = {}  # replicas told to wake, and until when they have [s]
        self.desk: SiteDesk | None = None
        self.hands = self._made() if core.leads else []
        self._look_ahead()

    def _made(self) -> list[Hand]:
        core, live = self._core.replicas, self._core.live
        slow = live.policy.slow
        hands: list[Hand] = []
        if slow.acts or live.config.parking:
            groups = [
                Group(kind=kind, replicas=sum(1 for one in live.replicas if one.kind == place))
                for place, kind in enumerate(live.kinds)
            ]
            scenario = Scenario(
                name="live", groups=tuple(groups), requests=_no_requests, tiers=live.tiers
            )
            hands.append(Plant(scenario, core.state, core.policy, slow, park=live.config.parking))
        if live.supplied is not None and slow.supply != "none":
            from baseload.simulator.site_desk import SiteDesk  # scipy: only where there is a site

            self.desk = SiteDesk(
                live.supplied, core.state, core.policy, slow, span_s=_SITE_SPAN_S, seed=0
            )
            hands.append(self.desk)
        return hands

    def resume(self, before: FleetHands) -> None:
        """Go on from where the controllers of the fleet before were: the level of the store."""
        if before.desk is not None and self.desk is not None:
            self.desk.resume(before.desk.level_j)

    def _look_ahead(self) -> None:
        """Set ``next_ns``, when ``act`` has something to do."""
        first_s = min((hand.next_s for hand in self.hands), default=math.inf)
        first_s = min([first_s, *self._resting.values()])
        begun_ns = self._core.replicas.start_ns
        self.next_ns = NEVER_NS if first_s == math.inf else begun_ns + math.ceil(first_s * _NS)

    def act(self, now_ns: int, commands: list[AnyCommand]) -> None:
        """Do all that is due."""
        self.now_ns, self.commands = now_ns, commands
        now_s = self._core.replicas.seconds(now_ns)
        for hand in self.hands:
            while hand.next_s <= now_s:
                hand.act(self)
        for replica in [one for one, due_s in self._resting.items() if due_s <= now_s]:
            self._rest(replica, now_s)
        self._look_ahead()

    def _rest(self, replica: int, now_s: float) -> None:
        """Put a closed replica to sleep, once it is idle."""
        core = self._core.replicas
        if core.wanted[replica] or not core.health[replica].awake:
            del self._resting[replica]
        elif core.state.in_flight[replica] > 0:
            self._resting[replica] = now_s + _LOOK_AGAIN_S
        else:
            del self._resting[replica]
            self.commands.append(Rest(replica=replica))

    def look_at(self, replica: int, now_ns: int, commands: list[AnyCommand]) -> None:
        """Wake a replica that sleeps although it is wanted: it was told to sleep just before that,
        did not wake when it was told, or has been found so.
        """
        core = self._core.replicas
        if not self._core.leads or replica >= len(core.health):
            return
        if core.health[replica].awake:
            self._roused.pop(replica, None)
        elif core.wanted[replica] and core.live.replicas[replica].entry.sleep:
            self._rouse(replica, core.seconds(now_ns), commands)

    def _rouse(self, replica: int, now_s: float, commands: list[AnyCommand]) -> None:
        """Tell a replica to wake, unless it has been told and may still be about to."""
        if now_s >= self._roused.get(replica, -math.inf):
            self._roused[replica] = now_s + self._wake_s(replica) + _LOOK_AGAIN_S
            commands.append(Rouse(replica=replica))

    def _wake_s(self, replica: int) -> float:
        """How long a replica takes to wake [s]."""
        core = self._core.replicas
        return float(core.state.cost[core.state.type_of[replica]].wake_s_from_parked)

    # As ``plant.Machine`` says

    def counts(self) -> NDArray[np.float64]:
        """As ``plant.Machine`` says."""
        return self._core.counts + self._core.others_counts

    def held(self) -> tuple[NDArray[np.int64], float]:
        """As ``plant.Machine`` says."""
        core = self._core
        found = np.zeros(len(core.live.tiers), dtype=np.int64)
        first_s = math.inf
        for due_ns, request in core.held:
            life = core.lives.get(request)
            if life is not None and life.stage == HELD:
                found[life.tier] += 1
                first_s = min(first_s, core.replicas.seconds(due_ns))
        return found, first_s

    def wake(self, replica: int, now_s: float) -> float:
        """As ``plant.Machine`` says."""
        core = self._core.replicas
        core.wanted[replica] = True
        self._resting.pop(replica, None)
        if core.health[replica].awake:
            core.bring_in_line(replica, self.now_ns)
            return now_s
        self._rouse(replica, core.seconds(self.now_ns), self.commands)
        return now_s + self._wake_s(replica)

    def close(self, replica: int, now_s: float, park_after_s: float, off_after_s: float) -> None:
        """As ``plant.Machine`` says; a process is never ended: off is asleep."""
        core = self._core.replicas
        core.wanted[replica] = False
        core.bring_in_line(replica, self.now_ns)
        rest_s = min(park_after_s, off_after_s)
        if rest_s < math.inf and core.live.replicas[replica].entry.sleep:
            self._resting[replica] = now_s + rest_s

    def set_level(self, kind: int, row: int, now_s: float) -> Any:  # noqa: ARG002
        """As ``plant.Machine`` says; clocks are not the gateway's to set."""
        return self._core.replicas.state.cost[kind]

    def release(self, count: int, now_s: float) -> None:  # noqa: ARG002
        """As ``plant.Machine`` says."""
        self._core.release(count)

    def drawn_j(self, now_s: float) -> float:  # noqa: ARG002
        """As ``plant.Machine`` says."""
        return self._core.replicas.drawn_j(self.now_ns)

    def in_flight(self) -> int:
        """As ``plant.Machine`` says."""
        return sum(1 for life in self._core.lives.values() if life.running)
