"""The oracle of a run: the same requests by the step engine, routed by the plain scan.

Slow and hard to get wrong. The property tests compare whole random runs with it, ``--check`` the
first requests of a trace.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baseload.fleet.step import Cost
from baseload.routing.estimate import laxity_s
from baseload.routing.fleet_state import (
    FleetState,
    close_replica,
    enter,
    first_token,
    keep_index,
    learn,
    learn_cut,
    leave,
    open_replica,
    take_in,
)
from baseload.routing.pick import pick_scan
from baseload.routing.policy import Policy
from baseload.routing.price import option_row, request_row
from baseload.simulator.drivers import policy_state
from baseload.simulator.hands import hands_of
from baseload.simulator.jump import WAIT_FRAC, option_tokens
from baseload.simulator.plant import COUNTED, Hand
from baseload.simulator.scenario import Scenario
from baseload.simulator.start import new_engine
from baseload.simulator.step_replica import cut_output
from baseload.simulator.steps import Desk, StepEngine, StepRun, run_steps
from baseload.simulator.truth import arrivals
from baseload.workload.chunks import source_of
from baseload.workload.lengths import bucket_of, expected_length
from baseload.workload.requests import tier_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import Trace

_ROUND_OFF = 1e-9


class ScanRouter(Desk):
    """Routes for the step engine: what ``jump.drive`` does for a request, in plain Python; counts
    what a slow controller is shown.
    """

    def __init__(
        self, scenario: Scenario, policy: Policy, trace: Trace, fleet: FleetState, *, seed: int
    ) -> None:
        self._options = scenario.options(trace.classes, trace.models)
        self.fleet, self.state = (
            fleet,
            policy_state(scenario, policy, fleet, trace, seed=seed),
        )
        self.counts = np.zeros((len(COUNTED), len(scenario.tiers)))
        self.held = np.zeros(len(scenario.tiers), dtype=np.int64)
        self._scenario, self._laxity = scenario, policy.queue == "laxity"
        self._rows = arrivals(trace, forecast=scenario.forecast, seed=seed)
        order = {tier.name: index for index, tier in enumerate(scenario.tiers)}
        of_class = [order[tier_of(name, scenario.tiers).name] for name in trace.classes]
        self.tier_of = np.array(of_class, dtype=np.int64)[trace.class_code]
        self._waits: set[int] = set()
        self._sent: dict[int, _Sent] = {}
        # The estimate of the prompts under way asks the level index who is idle, where it is kept.
        by_price = policy.rule == "price"
        keep_index(fleet, levels=by_price and not policy.by_tokens, tokens=False)

    def arrived(self, index: int, now_s: float) -> float | None:
        """Counts the request; until when it waits outside, if its tier is held back now: half of
        its time to its first deadline.
        """
        row, tier = self._rows[index], self.tier_of[index]
        self._count("arrived", index)
        self._count("prompt_tokens", index, float(row.input_tokens))
        ttft_s, _, e2e_s = _promises(self._scenario.tiers[tier])
        due_s = now_s + WAIT_FRAC * min(float(row.deadline_s), e2e_s, ttft_s)
        if not self.state.hold[tier] or math.isinf(due_s):
            return None
        self.held[tier] += 1
        self._waits.add(index)
        return due_s

    def pick(self, index: int, now_s: float) -> int:
        """The replica for request ``index``, or -1."""
        if index in self._waits:
            self._waits.remove(index)
            self.held[self.tier_of[index]] -= 1
        row, fleet = self._rows[index], self.fleet
        visible = self._describe(index, now_s)[0]
        option, replica = pick_scan(fleet, self.state, visible)
        if replica < 0:
            self._count("refused", index)
            return -1
        kind = int(fleet.type_of[replica])
        prompt = int(row.input_tokens)
        unit = int(fleet.pending_unit[0])
        factor = float(self._options[option_row(self._options, visible), option].output_factor)
        taken = self.state.options[option_row(self.state.options, visible), option]
        wanted, cap_tokens = option_tokens(int(row.output_tokens), factor), float(taken.cap_tokens)
        asked = wanted if wanted <= cap_tokens else max(1, int(cap_tokens))
        self._sent[index] = _Sent(
            tokens=prompt + int(min(visible.output_tokens * factor, cap_tokens)),
            asked=asked,
            capped=wanted > cap_tokens,
            factor=factor,
            pending=math.ceil(prompt / unit) if unit else 0,
            output=cut_output(self._scenario.groups[kind].kind, prompt, asked),
            arrival_s=float(row.arrival_s),
        )
        if self._laxity:
            spare_s = laxity_s(fleet.cost[kind], fleet.limits[kind], fleet.traffic[0], visible)
            self._sent[index].laxity_s = now_s + spare_s
        enter(fleet, replica, self._sent[index].tokens, self._sent[index].pending)
        take_in(fleet, kind, float(prompt), now_s)
        return int(replica)

    def output_tokens(self, index: int) -> int | None:
        """As long as the option makes it."""
        return self._sent[index].asked

    def laxity_s(self, index: int) -> float:
        """When request ``index`` would have to begin; 0 where queues go by arrival."""
        return self._sent[index].laxity_s

    def first_token(self, index: int, replica: int, now_s: float) -> None:
        """Its prompt is no load on ``replica`` any more."""
        self._sent[index].first_s = now_s
        first_token(self.fleet, replica, self._sent[index].pending)

    def done(self, index: int, replica: int, now_s: float) -> None:
        """Request ``index`` has left ``replica``."""
        sent, row = self._sent.pop(index), self._rows[index]
        leave(self.fleet, replica, sent.tokens)
        learned = sent.output / sent.factor
        take = learn_cut if sent.capped else learn
        take(self.fleet, int(row.class_code), float(row.input_tokens), learned)
        self._count("completed", index)
        self._count("missed", index, float(self._missed(index, sent, now_s)))
        self._count("input_tokens", index, float(row.input_tokens))
        self._count("output_tokens", index, float(sent.output))

    def _describe(self, index: int, now_s: float) -> np.recarray[Any, Any]:
        """What the pick may know, as ``jump.describe`` says."""
        row, tier = self._rows[index], self.tier_of[index]
        mean, spread = expected_length(
            self.fleet.forecast,
            row.class_code,
            bucket_of(row.input_tokens),
            row.forecast_tokens,
            row.forecast_spread,
        )
        tokens = max(1.0, mean)
        ttft_s, tpot_s, e2e_s = _promises(self._scenario.tiers[tier])
        waited_s = now_s - float(row.arrival_s)
        share = float(self.state.promise_frac[0])
        left_ttft_s = share * ttft_s - waited_s
        left_s = share * min(float(row.deadline_s), e2e_s) - waited_s
        tpot_s *= share
        return request_row(
            input_tokens=float(row.input_tokens),
            output_tokens=tokens,
            output_spread=spread,
            deadline_s=min(left_s, left_ttft_s + tpot_s * tokens),
            ttft_s=left_ttft_s,
            tpot_s=tpot_s,
            e2e_s=left_s,
            lateness_weight=float(self.state.lateness_weight[tier]),
            grid_g_per_j=self._scenario.grid_g_per_j or 0.0,
            model=int(row.model),
            class_code=int(row.class_code),
            now_s=now_s,
        )

    def _missed(self, index: int, sent: _Sent, now_s: float) -> bool:
        """Whether the answer broke a promise."""
        ttft_s, tpot_s, e2e_s = _promises(self._scenario.tiers[self.tier_of[index]])
        late = sent.first_s - sent.arrival_s > ttft_s
        late |= now_s - sent.arrival_s > min(e2e_s, float(self._rows[index].deadline_s))
        return late or (sent.output > 1 and (now_s - sent.first_s) / (sent.output - 1) > tpot_s)

    def _count(self, name: str, index: int, amount: float = 1.0) -> None:
        """Count something of request ``index`` in its tier."""
        self.counts[COUNTED.index(name), self.tier_of[index]] += amount


@dataclass(slots=True, kw_only=True)
class _Sent:
    """A request on its way: tokens and levels as told to routing, output as the option asks and as
    given, whether a cap cut it, the option's factor on tokens, instants [s].
    """

    tokens: int
    asked: int
    capped: bool
    factor: float
    pending: int
    output: int
    arrival_s: float
    laxity_s: float = 0.0
    first_s: float = math.nan


def _promises(tier: Tier) -> tuple[float, float, float]:
    """A tier's limits for the first token, each later one, and the whole answer [s]; inf: none."""
    ttft_s, tpot_s, e2e_s = (
        math.inf if value is None else value for value in (tier.ttft_s, tier.tpot_s, tier.e2e_s)
    )
    return ttft_s, tpot_s, e2e_s


class StepMachine:
    """The step engine as a plant's ``Machine``, and the controllers' hands on it."""

    def __init__(
        self,
        engine: StepEngine,
        router: ScanRouter,
        hands: Sequence[Hand],
        cost: np.recarray[Any, Any],
    ) -> None:
        self._engine, self._router, self._hands, self._cost = engine, router, hands, cost

    @property
    def next_s(self) -> float:
        """When a controller wants to be called next [s]."""
        return min(hand.next_s for hand in self._hands)

    def act(self) -> None:
        """Let the first one that is due do it."""
        min(self._hands, key=lambda hand: hand.next_s).act(self)

    def drawn_j(self, now_s: float) -> float:
        """As ``plant.Machine`` says."""
        return self._engine.drawn_j(now_s)

    def in_flight(self) -> int:
        """As ``plant.Machine`` says."""
        return self._engine.in_flight

    def counts(self) -> NDArray[np.float64]:
        """As ``plant.Machine`` says."""
        return self._router.counts.copy()

    def held(self) -> tuple[NDArray[np.int64], float]:
        """As ``plant.Machine`` says."""
        held = self._engine.held
        return self._router.held.copy(), held[0][0] if held else math.inf

    def wake(self, replica: int, now_s: float) -> float:
        """As ``plant.Machine`` says."""
        ready_s = self._engine.wake(replica, now_s)
        if ready_s <= now_s:
            open_replica(self._router.fleet, replica)
        return ready_s

    def close(self, replica: int, now_s: float, park_after_s: float, off_after_s: float) -> None:
        """As ``plant.Machine`` says."""
        close_replica(self._router.fleet, replica)
        self._engine.sleep(replica, now_s, park_after_s, off_after_s)

    def set_level(self, kind: int, row: int, now_s: float) -> Cost:  # noqa: ARG002
        """As ``plant.Machine`` says."""
        for replica in np.flatnonzero(self._router.fleet.type_of == kind):
            self._engine.replicas[replica].next_cost = self._cost[row]
        return self._cost[row]

    def release(self, count: int, now_s: float) -> None:
        """As ``plant.Machine`` says."""
        for _ in range(count):
            self._engine.release_first(now_s)


def replay_by_steps(scenario: Scenario, policy: Policy, trace: Trace, *, seed: int) -> StepRun:
    """The whole trace by the step engine under a policy that is data, picked by scan, with the slow
    controllers that ``run.run_once`` would give it.
    """
    fleet, idle = new_engine(scenario, source_of(trace))
    router = ScanRouter(scenario, policy, trace, fleet, seed=seed)

    hands = hands_of(scenario, policy, fleet, router.state, span_s=trace.span_s, seed=seed)

    def slow(engine: StepEngine) -> StepMachine:
        return StepMachine(engine, router, hands, idle.cost)

    return run_steps(
        types=[group.kind for group in scenario.groups],
        type_of_replica=fleet.type_of,
        arrival_s=trace.t_us / 1e6,
        input_tokens=trace.input_tokens.astype(np.int64),
        output_tokens=trace.output_tokens.astype(np.int64),
        priority=np.array(
            [scenario.tiers[tier].priority for tier in router.tier_of], dtype=np.int64
        ),
        router=router,
        park_after_s=[group.park_after_s for group in scenario.groups],
        off_after_s=[group.off_after_s for group in scenario.groups],
        horizon_s=trace.span_s,
        slow=slow if hands else None,
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
