"""Which slow controllers act on a run: the plant, for replicas, lambda and clocks; the desk, for
the price of joules at a site.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from baseload.base.errors import BadInputError
from baseload.routing.fleet_state import FleetState
from baseload.routing.pick import PolicyState
from baseload.routing.policy import AnyPolicy, Policy, name_of
from baseload.routing.slow import Slow
from baseload.routing.supply_control import check_weighable
from baseload.simulator.plant import Hand, Plant
from baseload.simulator.scenario import Scenario
from baseload.simulator.site_desk import SiteDesk
from baseload.simulator.supplied import slots_of


def looks(policy: AnyPolicy) -> bool:
    """Whether a policy looks at the state of the supply."""
    return isinstance(policy, Policy) and policy.slow.supply != "none"


def check_looks(scenario: Scenario, policies: Sequence[AnyPolicy]) -> None:
    """Raise ``BadInputError`` where a policy that looks at the supply would find nothing to weigh
    there, in the requests of seed 0.
    """
    supplied = scenario.supplied
    looking = [policy for policy in policies if looks(policy)]
    if supplied is None or not looking:
        return
    site = supplied.site
    slots = slots_of(scenario.requests(0).span_s, site.slot_s)
    edges_s = np.arange(slots + 1, dtype=np.float64) * site.slot_s
    check_weighable(name_of(looking[0]), site, edges_s)


def names_that_can(scenario: Scenario, policies: Iterable[AnyPolicy]) -> list[str]:
    """The names of ``policies``, less those that look at a supply where nothing can be weighed."""
    chosen = list(policies)
    try:
        check_looks(scenario, chosen)
    except BadInputError:
        chosen = [policy for policy in chosen if not looks(policy)]
    return [name_of(policy) for policy in chosen]


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
    if scenario.supplied is not None and looks(policy):
        hands.append(SiteDesk(scenario.supplied, fleet, state, slow, span_s=span_s, seed=seed))
    return hands
