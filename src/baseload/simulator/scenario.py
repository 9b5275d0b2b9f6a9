"""A scenario: which requests meet which fleet, and what they are promised."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from baseload.base.errors import BadInputError
from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import cost_table
from baseload.routing.estimate import capacity_per_s
from baseload.routing.fleet_state import fleet_state
from baseload.simulator.choices import Choice, option_table
from baseload.simulator.supplied import Supplied
from baseload.workload.forecasts import Forecast
from baseload.workload.load import TokenLoad
from baseload.workload.requests import tier_of
from baseload.workload.tiers import DEFAULT_TIERS, Tier
from baseload.workload.trace import TraceSource


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """``replicas`` equal replicas of one type.

    ``park_after_s``, ``off_after_s``: idle seconds after which a replica's engine sleeps, or its
    process ends; ``None``: never. ``slower``: the same type at lower clocks, highest first, for a
    controller that may choose among them (assumed: docs/explanation/clocks.md).
    """

    kind: ReplicaType
    replicas: int
    park_after_s: float | None = None
    off_after_s: float | None = None
    slower: tuple[ReplicaType, ...] = ()

    def __post_init__(self) -> None:
        """Refuse groups without replicas and timeouts that are no durations."""
        if self.replicas < 1:
            raise BadInputError(
                f"fleet: {self.kind.name}: replicas",
                found=repr(self.replicas),
                allowed="an integer >= 1",
            )
        for name in ("park_after_s", "off_after_s"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise BadInputError(
                    f"fleet: {self.kind.name}: {name}",
                    found=repr(value),
                    allowed="seconds >= 0, or null for never",
                )


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of a simulation but the policy.

    ``requests(seed)`` gives the trace of a seed: seed 0 is the trace itself where it was recorded,
    further seeds vary what chance could have made otherwise. ``grid_g_per_j``: the grid's average
    intensity, ``None`` when nobody said. ``max_queue``: requests that may wait in one replica
    before it is no candidate. ``policies``: run when none is named. ``parking``: every policy's
    replicas sleep when the load does not need them. ``forecast``: who says how long answers will
    be. ``cap_tokens``: where every answer is cut (``None``: nowhere). ``caps``: those under which
    ``run.simulate`` runs every policy, one after the other; empty: ``cap_tokens`` alone.
    ``supplied``: what feeds the fleet, ``None`` for a grid without end. ``choices``: the models and
    efforts that may answer a request, the reference first; empty: no choice. ``notes``: what the
    reader of a result should know.
    """

    name: str
    groups: tuple[Group, ...]
    requests: Callable[[int], TraceSource]
    tiers: tuple[Tier, ...] = DEFAULT_TIERS
    grid_g_per_j: float | None = None
    max_queue: int = 1024
    policies: tuple[str, ...] = ()
    parking: bool = False
    forecast: Forecast = Forecast()
    cap_tokens: int | None = None
    caps: tuple[int | None, ...] = ()
    supplied: Supplied | None = None
    choices: tuple[Choice, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a fleet of nobody."""
        if not self.groups:
            raise BadInputError(
                "fleet: no replicas", found="an empty list", allowed="at least one entry"
            )
        for cap in (self.cap_tokens, *self.caps):
            if cap is not None and cap < 1:
                raise BadInputError(
                    "cap_tokens", found=repr(cap), allowed="1 token or more, or none"
                )
        if len(set(self.caps)) < len(self.caps):
            raise BadInputError("cap_tokens", found=repr(self.caps), allowed="each cap once")

    def options(self, classes: Sequence[str], models: Sequence[str]) -> np.recarray[Any, Any]:
        """What may answer requests of ``classes``, rows of ``routing.price.OPTION`` ``[classes,
        options]``; ``models``: those that requests ask for. Raises ``BadInputError`` for a floor on
        right answers that no option reaches.
        """
        return option_table(
            self.choices,
            classes,
            models,
            tiers=[tier_of(name, self.tiers) for name in classes],
            cap_tokens=math.inf if self.cap_tokens is None else float(self.cap_tokens),
        )


def fleet_capacity_per_s(groups: tuple[Group, ...], load: TokenLoad) -> float:
    """Requests per second that the fleet completes with all seats taken, for requests of the
    mean lengths of ``load``.
    """
    kinds = [group.kind for group in groups]
    state = fleet_state(kinds, [1] * len(kinds))
    traffic = state.traffic[0]
    traffic["input_tokens"] = load.input_tokens_per_s / load.requests_per_s
    traffic["output_tokens"] = load.output_tokens_per_s / load.requests_per_s
    costs = cost_table(kinds)
    return sum(
        group.replicas * capacity_per_s(cost, limits, traffic)
        for group, cost, limits in zip(groups, costs, state.limits, strict=True)
    )


def offered_load_frac(groups: tuple[Group, ...], load: TokenLoad) -> float:
    """Offered requests per second over the fleet's capacity for requests like them; above 1 the
    fleet cannot keep up.
    """
    if load.requests_per_s <= 0:
        return 0.0
    return load.requests_per_s / fleet_capacity_per_s(groups, load)
