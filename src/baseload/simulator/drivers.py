"""What feeds requests to the engine under a policy: one compiled loop for policies that are
data, one plain loop for the rest.
"""

from __future__ import annotations

import copy
import functools
import math
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from baseload.base.errors import BadInputError
from baseload.base.kernels import kernel_uncached, plain
from baseload.routing.fleet_state import FleetState, keep_index
from baseload.routing.pick import PolicyState, admits, takes
from baseload.routing.policy import AnyPolicy, ChoosesInPython, Policy, fleet_view, name_of
from baseload.routing.price import Request as VisibleRequest
from baseload.routing.price import option_row, reference_option
from baseload.routing.supply_control import reference_usd_per_j, table_capacity_j
from baseload.simulator import jump
from baseload.simulator.records import Engine
from baseload.simulator.scenario import Scenario
from baseload.workload.requests import describe, tier_of
from baseload.workload.trace import Trace, TraceSource


class Driver(NamedTuple):
    """What runs a policy: ``drive(engine, fleet, requests, begin, end, first_number, until_s,
    scratch)`` as ``jump.drive`` with its policy bound, and the policy's state, which a slow
    controller changes.
    """

    drive: Callable[..., int]
    state: PolicyState


def policy_state(
    scenario: Scenario,
    policy: Policy,
    fleet: FleetState,
    source: TraceSource | Trace,
    *,
    seed: int,
) -> PolicyState:
    """A fresh state of a policy for requests of ``source``: its options are a table of its own."""
    supplied = scenario.supplied
    return policy.state(
        fleet,
        seed=seed,
        options=scenario.options(source.classes, source.models),
        tiers=len(scenario.tiers),
        usd_per_j=1.0 if supplied is None else reference_usd_per_j(supplied.site),
        store_j=None if supplied is None else table_capacity_j(supplied.site),
    )


def driver_of(
    policy: AnyPolicy, fleet: FleetState, scenario: Scenario, source: TraceSource, *, seed: int
) -> Driver:
    """The loop that replays requests under ``policy``, with a fresh policy state for the run
    ``seed``.
    """
    if not isinstance(policy, Policy):
        return _python_driver(policy, fleet, scenario, source)
    state = policy_state(scenario, policy, fleet, source, seed=seed)
    by_price = policy.rule == "price" and policy.price is None
    keep_index(
        fleet, levels=by_price and not policy.by_tokens, tokens=by_price and policy.by_tokens
    )
    space = vars(jump) if policy.price is None else _compiled_with(policy.price)
    loop = space["drive"]

    def drive(
        engine: Engine,
        fleet: FleetState,
        requests: Any,
        begin: int,
        end: int,
        first: int,
        until_s: float,
        scratch: Any,
    ) -> int:
        return int(loop(engine, fleet, state, requests, begin, end, first, until_s, scratch))

    return Driver(drive, state)


_AROUND_PICK = ("_route", "release_first", "drive")
"""The engine's functions that contain the pick, the called before their callers."""


@functools.cache  # compiled once a process, not once a run
def _compiled_with(price: Callable[..., float]) -> dict[str, Any]:
    """The engine's loop compiled around a user's price: the same code with another ``pick``,
    which looks at every replica. Gives its functions by name.
    """

    @kernel_uncached
    def pick(state: FleetState, policy: PolicyState, request: VisibleRequest) -> tuple[int, int]:
        option = reference_option(policy.options, request)
        best, found = math.inf, -1
        for kind in range(state.cost.shape[0]):
            if not admits(state, kind, request):
                continue
            for replica in range(state.first[kind], state.first[kind + 1]):
                if (
                    not state.open[replica]
                    or state.in_flight[replica] >= state.limits[kind].max_in_flight
                ):
                    continue
                value = price(
                    state.cost[kind],
                    state.limits[kind],
                    state.traffic[0],
                    policy.options[option_row(policy.options, request), option],
                    request,
                    state.in_flight[replica],
                    state.tokens[replica],
                )
                if value < best:
                    best, found = value, replica
        return option, found

    space = {**vars(jump), "pick": pick}
    for name in _AROUND_PICK:
        code = plain(getattr(jump, name)).__code__
        space[name] = kernel_uncached(types.FunctionType(code, space, name))
    return space


def _python_driver(
    policy: ChoosesInPython, fleet: FleetState, scenario: Scenario, source: TraceSource
) -> Driver:
    """A plain loop that asks ``policy.choose`` for each request. The policy is copied first, so
    that what it remembers of a run does not reach the next one.
    """
    policy = copy.deepcopy(policy)
    view = fleet_view(fleet, [group.kind for group in scenario.groups])
    tiers = [tier_of(name, scenario.tiers) for name in source.classes]
    state = Policy(name=name_of(policy), summary="", source="").state(
        fleet, seed=0, tiers=len(scenario.tiers)
    )

    def choose(row: Any, now_s: float, forecast: float) -> int:
        code = int(row.class_code)
        request = describe(
            arrival_s=now_s,
            input_tokens=int(row.input_tokens),
            class_name=source.classes[code],
            tier=tiers[code],
            output_tokens_forecast=forecast,
            model=source.models[row.model] if row.model >= 0 else None,
            deadline_e2e_s=None if math.isinf(row.deadline_s) else float(row.deadline_s),
        )
        chosen = policy.choose(request, view)
        return -1 if chosen is None else _checked_choice(policy, chosen, fleet)

    def drive(
        engine: Engine,
        fleet: FleetState,
        requests: Any,
        begin: int,
        end: int,
        first: int,
        until_s: float,
        scratch: Any,
    ) -> int:
        visible, total = scratch[0], engine.total[0]
        last_bin = len(engine.arrivals) - 1
        for at in range(begin, end):
            row = requests[at]
            now_s, code = float(row.arrival_s), int(row.class_code)
            if total.free_slots == 0 or not jump.advance(engine, fleet, now_s):
                return at
            engine.arrivals[min(last_bin, int(now_s / engine.bin_s[0]))] += 1
            engine.arrived[engine.tier_of_class[code]] += 1
            engine.arrived_tokens[engine.tier_of_class[code]] += row.input_tokens
            jump.describe(engine, fleet, state, visible, row, now_s)
            replica = choose(row, now_s, float(visible.output_tokens))
            if replica < 0 or not takes(fleet, visible, replica):
                jump.refuse(engine, fleet, visible, code, now_s)
                continue
            number = reference_option(engine.options, visible)
            cap_tokens = engine.options[option_row(engine.options, visible), number].cap_tokens
            jump.place_request(
                engine, fleet, replica, number, cap_tokens, first + at, now_s, row, visible
            )
        if until_s > -math.inf and not jump.advance(engine, fleet, until_s):
            return -1
        return end

    return Driver(drive, state)


def _checked_choice(policy: ChoosesInPython, chosen: object, fleet: FleetState) -> int:
    """The replica number that a policy gave, if it is one of an open replica."""
    count = len(fleet.type_of)
    if isinstance(chosen, int | np.integer) and not isinstance(chosen, bool):
        number = int(chosen)
        if 0 <= number < count and fleet.open[number]:
            return number
        if 0 <= number < count:
            raise BadInputError(
                f"policy {name_of(policy)!r} chose a replica that is closed",
                found=f"replica {number}, asleep or about to be",
                allowed="a replica r with fleet.open[r]: parking closes what is not needed",
            )
    raise BadInputError(
        f"policy {name_of(policy)!r} chose a replica that does not exist",
        found=repr(chosen),
        allowed=f"an integer from 0 to {count - 1}, or None to refuse the request",
    )
