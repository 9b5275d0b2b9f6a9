"""The physics of docs/explanation/engine.md as a plain simpy model: what one would write first.

One process a replica, one event per engine step, a heap of last steps, running totals of what is
held; requests go to the replica with the fewest in flight by Python's own ``min``. It keeps the
sums that a comparison needs (first token, last token, joules of the fleet) and no more: no
percentiles, no energy by request, one tier, dense models, no parking.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import simpy

from baseload.fleet.replica_type import ReplicaType
from baseload.workload.trace import Trace


@dataclass(slots=True, eq=False)
class Request:
    """A request in a replica."""

    arrival_s: float
    input_tokens: int
    output_tokens: int
    prompt: int
    emitted: int = 0
    processed: int = 0
    admission: int = 0
    joined: int = 0  # steps done when it became a decoder
    first_s: float = -1.0


@dataclass
class Outcome:
    """What a run gives: seconds of each ended request, joules of the fleet."""

    ttft_s: list[float] = field(default_factory=list)
    e2e_s: list[float] = field(default_factory=list)
    energy_j: float = 0.0
    steps: int = 0


class Replica:
    """One replica: a process that runs a step, hands out its tokens, and looks at its queue."""

    def __init__(
        self, env: simpy.Environment, kind: ReplicaType, fleet: Fleet, number: int
    ) -> None:
        assert kind.costs.time_s_all_experts == 0.0, "the simpy model knows dense models only"
        self.env, self.kind, self.fleet, self.number = env, kind, fleet, number
        self.queue: deque[Request] = deque()
        self.prefills: list[Request] = []
        self.decoders: list[tuple[int, int, Request]] = []  # heap by last step
        self.context = self.kv = self.iteration = self.admissions = 0
        self.room = kind.kv_tokens - (kind.kv_tokens + 99) // 100
        self.arrival: simpy.Event | None = None
        self.rest_s = 0.0
        env.process(self.run())

    def put(self, request: Request) -> None:
        """A request arrives."""
        self.queue.append(request)
        if self.arrival is not None:
            self.arrival.succeed()
            self.arrival = None

    def run(self) -> Iterator[Any]:
        """Rest, or go through a boundary and a step."""
        out, power = self.fleet.out, self.kind.power
        while True:
            if not self.decoders and not self.prefills and not self.queue:
                self.rest_s = self.env.now
                self.arrival = self.env.event()
                yield self.arrival
                out.energy_j += power.power_w_idle * (self.env.now - self.rest_s)
                continue
            if not self.preempt():
                self.admit()
            chunks, context = self.compose()
            time_s, energy_j = self.step(context, sum(chunks))
            out.energy_j += energy_j
            out.steps += 1
            yield self.env.timeout(time_s)
            self.end_step(chunks)

    def preempt(self) -> bool:
        """While the coming step does not fit: the request admitted last goes back to the queue."""
        preempted = False
        while self.kv + len(self.decoders) > self.kind.kv_tokens:
            inside = [request for _, _, request in self.decoders] + self.prefills
            victim = max(inside, key=lambda request: request.admission)
            if victim in self.prefills:
                self.prefills.remove(victim)
                self.kv -= victim.prompt
            else:
                self.decoders = [entry for entry in self.decoders if entry[2] is not victim]
                heapq.heapify(self.decoders)
                done = self.iteration - victim.joined
                self.context -= victim.prompt + done
                self.kv -= victim.prompt + done
                victim.emitted += done
                victim.prompt = victim.input_tokens + victim.emitted
            victim.processed = 0
            self.queue.appendleft(victim)
            preempted = True
        return preempted

    def admit(self) -> None:
        """Let waiting requests in while tokens, seats and KV cache last."""
        batch = len(self.decoders)
        budget = self.kind.max_step_tokens - batch
        for request in self.prefills:
            budget -= request.prompt - request.processed
        while self.queue and budget > 0 and batch + len(self.prefills) < self.kind.max_batch:
            request = self.queue[0]
            if self.kv > 0 and self.kv + request.prompt + batch > self.room:
                return
            self.queue.popleft()
            self.admissions += 1
            request.admission = self.admissions
            self.prefills.append(request)
            self.kv += request.prompt
            budget -= request.prompt

    def compose(self) -> tuple[list[int], int]:
        """Prefill tokens of each prefilling request, and the context that the step reads."""
        budget = self.kind.max_step_tokens - len(self.decoders)
        context, chunks = self.context, []
        for request in self.prefills:
            tokens = min(budget, request.prompt - request.processed)
            if tokens:
                context += request.processed
            chunks.append(tokens)
            budget -= tokens
        return chunks, context

    def step(self, context: int, prefill: int) -> tuple[float, float]:
        """Seconds and joules of the step, stretched where it would break the power cap."""
        cost, power = self.kind.costs, self.kind.power
        seats = len(self.decoders) + len(self.prefills)
        time_s = (
            cost.time_s_per_step
            + seats * cost.time_s_per_sequence
            + context * cost.time_s_per_context_token
            + prefill * cost.time_s_per_prefill_token
        )
        energy_j = (
            cost.energy_j_per_step
            + seats * cost.energy_j_per_sequence
            + context * cost.energy_j_per_context_token
            + prefill * cost.energy_j_per_prefill_token
        )
        if energy_j > power.power_w_cap * time_s:
            dynamic_j = energy_j - power.power_w_active_static * time_s
            time_s = dynamic_j / (power.power_w_cap - power.power_w_active_static)
            energy_j = power.power_w_cap * time_s
        return time_s, energy_j

    def end_step(self, chunks: list[int]) -> None:
        """Every decoder has a token more; prompts that are processed give one, too."""
        self.iteration += 1
        self.context += len(self.decoders)
        self.kv += len(self.decoders)
        while self.decoders and self.decoders[0][0] == self.iteration:
            request = heapq.heappop(self.decoders)[2]
            held = request.prompt + self.iteration - request.joined
            self.context -= held
            self.kv -= held
            self.leave(request)
        if not self.prefills:
            return
        unfinished = []
        for request, tokens in zip(self.prefills, chunks, strict=True):
            request.processed += tokens
            if request.processed < request.prompt:
                unfinished.append(request)
                continue
            if request.emitted == 0:
                request.first_s = self.env.now
            request.emitted += 1
            left = request.output_tokens - request.emitted
            if left:
                request.joined = self.iteration
                self.context += request.prompt
                entry = (self.iteration + left, request.admission, request)
                heapq.heappush(self.decoders, entry)
            else:
                self.kv -= request.prompt
                self.leave(request)
        self.prefills = unfinished

    def leave(self, request: Request) -> None:
        """The last token is out."""
        out = self.fleet.out
        out.ttft_s.append(request.first_s - request.arrival_s)
        out.e2e_s.append(self.env.now - request.arrival_s)
        self.fleet.in_flight[self.number] -= 1


class Fleet:
    """All replicas, and who has how many requests in flight."""

    def __init__(self, env: simpy.Environment, kinds: Sequence[ReplicaType]) -> None:
        self.out = Outcome()
        self.in_flight = [0] * len(kinds)
        self.replicas = [Replica(env, kind, self, number) for number, kind in enumerate(kinds)]


def run(kinds: Sequence[ReplicaType], trace: Trace) -> Outcome:
    """Replay ``trace`` over one replica of each of ``kinds``, least loaded first.

    Idle energy is counted to the last arrival, as in the simulator.
    """
    env = simpy.Environment()
    fleet = Fleet(env, kinds)

    def arrivals() -> Iterator[Any]:
        longest = [min(kind.max_context_tokens, kind.kv_tokens) for kind in kinds]
        rows = zip(
            (trace.t_us / 1e6).tolist(),
            trace.input_tokens.tolist(),
            trace.output_tokens.tolist(),
            strict=True,
        )
        for now_s, given, made in rows:
            yield env.timeout(max(0.0, now_s - env.now))
            chosen = fleet.in_flight.index(min(fleet.in_flight))
            fleet.in_flight[chosen] += 1
            made = min(made, longest[chosen] - given + 1)
            fleet.replicas[chosen].put(Request(now_s, given, made, given))

    env.process(arrivals())
    env.run()
    end_s = float(trace.t_us[-1]) / 1e6
    for replica in fleet.replicas:
        rest_s = max(0.0, end_s - replica.rest_s)
        fleet.out.energy_j += replica.kind.power.power_w_idle * rest_s
    return fleet.out
