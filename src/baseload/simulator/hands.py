"""Which slow controllers act on a run: the plant, for replicas, lambda and clocks; the desk, for
the price of joules at a site.
"""

from __future__ import annotations

from baseload.routing.fleet_state import FleetState
from baseload.routing.pick import PolicyState
from baseload.routing.policy import AnyPolicy, Policy
from baseload.routing.slow import Slow
from baseload.simulator.plant import Hand, Plant
from baseload.simulator.scenario import Scenario
from baseload.simulator.site_desk import SiteDesk


def hands_of(
    scenario: Scenario,
    policy: AnyPolicy,
    fleet: FleetState,
    state: PolicyState,
    *,
    span_s: float,
    seed: int,
) -> list[Hand]:
    """The controllers of a run of ``span_s`` [s] under ``policy``, whose state they write; of two
    that are due at the same instant the first acts first.
    """
    slow = policy.slow if isinstance(policy, Policy) else Slow()
    hands: list[Hand] = []
    if slow.acts or scenario.parking:
        hands.append(Plant(scenario, fleet, state, slow, park=scenario.parking))
    if scenario.supplied is not None and slow.supply != "none":
        hands.append(SiteDesk(scenario.supplied, fleet, state, slow, span_s=span_s, seed=seed))
    return hands
