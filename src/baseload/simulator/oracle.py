"""The oracle of a run: the same requests by the step engine, routed by the plain scan.

Slow and hard to get wrong. The property tests compare whole random runs with it, ``--check`` the
first requests of a trace.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baseload.routing.fleet_state import FleetState, enter, learn, leave
from baseload.routing.pick import PolicyState, pick_scan
from baseload.routing.policy import Policy
from baseload.routing.price import request_row
from baseload.simulator.records import Row
from baseload.simulator.scenario import Scenario
from baseload.simulator.start import new_engine
from baseload.simulator.steps import StepRun, cut_output, run_steps
from baseload.simulator.truth import arrivals
from baseload.workload.chunks import source_of
from baseload.workload.requests import tier_of
from baseload.workload.trace import Trace

_ROUND_OFF = 1e-9


class ScanRouter:
    """Routes for the step engine: what ``jump.drive`` does for a request, in plain Python."""

    def __init__(
        self, scenario: Scenario, trace: Trace, fleet: FleetState, state: PolicyState
    ) -> None:
        self._groups, self._fleet, self._state = scenario.groups, fleet, state
        self._rows = arrivals(trace)
        self._grid_g_per_j = scenario.grid_g_per_j or 0.0
        self.tiers = [tier_of(trace.classes[code], scenario.tiers) for code in trace.class_code]
        self._sent: dict[int, tuple[int, int]] = {}  # tokens as told to routing, output as given

    def pick(self, index: int, now_s: float) -> int:  # noqa: ARG002 the step engine's protocol
        """The replica for request ``index``, or -1."""
        row = self._rows[index]
        forecast = float(self._fleet.forecast[row.class_code])
        visible = request_row(
            input_tokens=float(row.input_tokens),
            output_tokens=forecast,
            deadline_s=self._deadline_s(index, row, forecast),
            grid_g_per_j=self._grid_g_per_j,
            model=int(row.model),
        )
        _, replica = pick_scan(self._fleet, self._state, visible[0])
        if replica >= 0:
            kind = self._groups[self._fleet.type_of[replica]].kind
            tokens = int(row.input_tokens) + int(forecast)
            output = cut_output(kind, int(row.input_tokens), int(row.output_tokens))
            self._sent[index] = (tokens, output)
            enter(self._fleet, replica, tokens)
        return int(replica)

    def done(self, index: int, replica: int, now_s: float) -> None:  # noqa: ARG002
        """Request ``index`` has left ``replica``."""
        tokens, output = self._sent.pop(index)
        row = self._rows[index]
        leave(self._fleet, replica, tokens)
        learn(self._fleet, int(row.class_code), float(row.input_tokens), float(output))

    def _deadline_s(self, index: int, row: Row, forecast: float) -> float:
        """Seconds promised to the last token, as ``jump.describe`` says."""
        tier = self.tiers[index]
        ttft_s, tpot_s, e2e_s = (
            math.inf if value is None else value for value in (tier.ttft_s, tier.tpot_s, tier.e2e_s)
        )
        return min(float(row.deadline_s), e2e_s, ttft_s + tpot_s * forecast)


def replay_by_steps(scenario: Scenario, policy: Policy, trace: Trace, *, seed: int) -> StepRun:
    """The whole trace by the step engine under a policy that is data, picked by scan."""
    fleet, _ = new_engine(scenario, source_of(trace))
    router = ScanRouter(scenario, trace, fleet, policy.state(fleet, seed=seed))
    return run_steps(
        types=[group.kind for group in scenario.groups],
        type_of_replica=fleet.type_of,
        arrival_s=trace.t_us / 1e6,
        input_tokens=trace.input_tokens.astype(np.int64),
        output_tokens=trace.output_tokens.astype(np.int64),
        priority=np.array([tier.priority for tier in router.tiers], dtype=np.int64),
        router=router,
        park_after_s=[group.park_after_s for group in scenario.groups],
        off_after_s=[group.off_after_s for group in scenario.groups],
        horizon_s=trace.span_s,
    )


def engines_agree(
    scenario: Scenario, policy: Policy, trace: Trace, log: np.recarray[Any, Any], *, seed: int
) -> None:
    """Law 5: the jump engine's ``log`` (of ``records.LOG``) is what the step engine gives.

    Same replicas, same preemptions, same output lengths; times and joules to 1e-9. Raises
    ``AssertionError`` with the first request that differs.
    """
    steps = replay_by_steps(scenario, policy, trace, seed=seed)
    ended = np.flatnonzero(~steps.refused)
    log = log[np.argsort(log.number)].view(np.recarray)
    assert len(log) == len(ended), f"jump answered {len(log)} requests, step {len(ended)}"
    pairs = (
        ("number", ended, 0.0),
        ("replica", steps.replica[ended], 0.0),
        ("preemptions", steps.preemptions[ended], 0.0),
        ("output_tokens", steps.output_tokens[ended], 0.0),
        ("first_s", steps.first_token_s[ended], _ROUND_OFF),
        ("finish_s", steps.finish_s[ended], _ROUND_OFF),
        ("energy_j", steps.energy_j[ended], _ROUND_OFF),
    )
    for field, expected, slack in pairs:
        apart = np.abs(log[field] - expected) > slack * np.abs(expected)
        if apart.any():
            at = int(np.flatnonzero(apart)[0])
            raise AssertionError(
                f"request {ended[at]}: {field} is {log[field][at]} by jumps, "
                f"{expected[at]} by steps"
            )
