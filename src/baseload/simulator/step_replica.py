"""One replica of the step engine: its queues, its boundary, its step, its rest.

The reference for docs/explanation/engine.md, whose order of work and names it follows line by line.
It sums over the batch where it could keep a running total: slow, and hard to get wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import Cost, step

Floats = NDArray[np.float64]

ACTIVE, IDLE, PARKED, OFF, WAKING = 0, 1, 2, 3, 4
"""Columns of ``steps.StepRun.account_j``, in the order of ``results.POWER_STATES``."""


@dataclass(slots=True, kw_only=True)
class Request:
    """A request inside a replica.

    ``laxity_s``: orders the queue of its priority, least first; all alike where the order is that
    of arrival. ``emitted``: its tokens so far; ``processed``: prompt tokens of the present prefill.
    """

    index: int
    priority: int
    laxity_s: float = 0.0
    input_tokens: int
    output_tokens: int
    emitted: int = 0
    processed: int = 0
    admission: int = 0
    preemptions: int = 0
    energy_j: float = 0.0
    first_token_s: float = float("nan")

    @property
    def prompt(self) -> int:
        """Tokens to process before it can decode: its input and, after a preemption, what it had
        emitted.
        """
        return self.input_tokens + self.emitted

    @property
    def held_as_decoder(self) -> int:
        """KV tokens it holds while it decodes: all but the token emitted last."""
        return self.input_tokens + self.emitted - 1


def longest_context(kind: ReplicaType) -> int:
    """``L`` [tokens]: the longest input a replica takes, and the most that input and output may
    hold.
    """
    return min(kind.max_context_tokens, kind.kv_tokens)


def cut_output(kind: ReplicaType, input_tokens: int, output_tokens: int) -> int:
    """``output_tokens``, cut so that ``input + output - 1 <= L``.

    The input must be no longer than ``L``.
    """
    return min(output_tokens, longest_context(kind) - input_tokens + 1)


def admission_limit(kind: ReplicaType) -> int:
    """KV tokens that an admission may fill: all but one in a hundred, rounded up."""
    return kind.kv_tokens - (kind.kv_tokens + 99) // 100


@dataclass(slots=True, kw_only=True)
class StepReplica:
    """One replica: queues, prefill list, decoders, and the step that runs. Times in s, energy in
    J. ``cost`` is what its steps cost; ``next_cost``, where a controller has set one, from the next
    boundary on. ``idle_since_s`` lies ahead while a replica that rests wakes by order.
    ``active_j`` holds a step from its beginning: ``step_j`` over ``step_s`` from ``begun_s``.
    """

    kind: ReplicaType
    cost: Cost
    next_cost: Cost | None = None
    queues: dict[int, list[Request]] = field(default_factory=dict)
    prefills: list[Request] = field(default_factory=list)
    decoders: list[Request] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    admissions: int = 0
    work: tuple[int, int, int] = (0, 0, 0)
    in_step: bool = False
    waking: bool = False
    idle_since_s: float = 0.0
    busy_s: float = 0.0
    steps: int = 0
    batch_time: float = 0.0
    active_j: float = 0.0
    begun_s: float = 0.0
    step_s: float = 0.0
    step_j: float = 0.0
    peak_power_w: float = 0.0

    @property
    def at_rest(self) -> bool:
        """Does nothing: runs no step and does not wake."""
        return not self.in_step and not self.waking

    def enqueue(self, request: Request, *, front: bool = False) -> None:
        """Put ``request`` into the queue of its priority: at the front, or before the first with
        more laxity, which is the end where all are alike.
        """
        queue = self.queues.setdefault(request.priority, [])
        place = 0
        while not front and place < len(queue) and queue[place].laxity_s <= request.laxity_s:
            place += 1
        queue.insert(place, request)

    def kv(self) -> int:
        """KV tokens held: decoders what they have, prefilling requests their whole prompt."""
        decoding = sum(request.held_as_decoder for request in self.decoders)
        return decoding + sum(request.prompt for request in self.prefills)

    def begin_step(self, now_s: float) -> float | None:
        """The boundary at ``now_s``: preempt, admit, compose, run. When the step ends [s];
        ``None``: the replica is idle.
        """
        if self.next_cost is not None:
            self.cost, self.next_cost = self.next_cost, None
        if not self._preempt():
            self._admit()
        if not self.decoders and not self.prefills:
            assert not any(self.queues.values()), "a replica went idle with requests in its queue"
            self.idle_since_s = now_s
            return None
        self._compose()
        time_s = self._run()
        self.in_step, self.begun_s, self.step_s = True, now_s, time_s
        return now_s + time_s

    def end_step(self, now_s: float) -> tuple[list[Request], list[Request]]:
        """The step that ends at ``now_s`` [s] hands out its tokens. The requests that got their
        first, and those that leave.
        """
        self.in_step = False
        begun: list[Request] = []
        left: list[Request] = []
        for request in self.decoders:
            self._emit(request, now_s, left)
        self.decoders = [
            request for request in self.decoders if request.emitted < request.output_tokens
        ]
        waiting: list[Request] = []
        for request, tokens in zip(self.prefills, self.chunks, strict=True):
            request.processed += tokens
            if request.processed < request.prompt:
                waiting.append(request)
                continue
            if request.emitted == 0:
                begun.append(request)
            self._emit(request, now_s, left)
            if request.emitted < request.output_tokens:
                self.decoders.append(request)
        self.prefills = waiting
        return begun, left

    @staticmethod
    def _emit(request: Request, now_s: float, left: list[Request]) -> None:
        if request.emitted == 0:
            request.first_token_s = now_s
        request.emitted += 1
        if request.emitted == request.output_tokens:
            left.append(request)

    def stepped_j(self, now_s: float) -> float:
        """Joules of its steps up to ``now_s``, of the one that runs its share of time."""
        if not self.in_step:
            return self.active_j
        left = 1.0 - min(1.0, (now_s - self.begun_s) / self.step_s)
        return self.active_j - left * self.step_j

    def _preempt(self) -> bool:
        """Rule 1. Whether anybody was preempted."""
        preempted = False
        while self.kv() + len(self.decoders) > self.kind.kv_tokens:
            victim = max(self.decoders + self.prefills, key=lambda r: (r.priority, r.admission))
            self.decoders = [request for request in self.decoders if request is not victim]
            self.prefills = [request for request in self.prefills if request is not victim]
            victim.processed = 0
            victim.preemptions += 1
            self.enqueue(victim, front=True)
            preempted = True
        return preempted

    def _admit(self) -> None:
        """Rule 2."""
        batch = len(self.decoders)
        unprocessed = sum(request.prompt - request.processed for request in self.prefills)
        budget = self.kind.max_step_tokens - batch - unprocessed
        while budget > 0 and batch + len(self.prefills) < self.kind.max_batch:
            queue = next((self.queues[p] for p in sorted(self.queues) if self.queues[p]), None)
            if queue is None:
                return
            held, prompt = self.kv(), queue[0].prompt
            if held > 0 and held + prompt + batch > admission_limit(self.kind):
                return
            request = queue.pop(0)
            self.admissions += 1
            request.admission = self.admissions
            self.prefills.append(request)
            budget -= prompt

    def _compose(self) -> None:
        """Rule 3: ``chunks[i]`` prefill tokens for ``prefills[i]``."""
        budget = self.kind.max_step_tokens - len(self.decoders)
        self.chunks = []
        for request in self.prefills:
            tokens = min(budget, request.prompt - request.processed)
            self.chunks.append(tokens)
            budget -= tokens

    def _run(self) -> float:
        """Rule 4: charge the step to its requests and the replica. Its duration [s]."""
        work = [(request, request.held_as_decoder, 0) for request in self.decoders]
        for request, tokens in zip(self.prefills, self.chunks, strict=True):
            work.append((request, request.processed if tokens else 0, tokens))
        context = sum(tokens for _, tokens, _ in work)
        prefill = sum(tokens for _, _, tokens in work)
        time_s, energy_j = step(self.cost, float(len(work)), float(context), float(prefill))
        self.work = (len(work), context, prefill)
        own_j = [
            float(
                self.cost.energy_j_per_sequence
                + held * self.cost.energy_j_per_context_token
                + tokens * self.cost.energy_j_per_prefill_token
            )
            for _, held, tokens in work
        ]
        shared_j = (energy_j - sum(own_j)) / len(work)
        for (request, _, _), joules in zip(work, own_j, strict=True):
            request.energy_j += joules + shared_j
        self.busy_s += time_s
        self.steps += 1
        self.batch_time += len(work) * time_s
        self.active_j += energy_j
        self.step_j = energy_j
        self.peak_power_w = max(self.peak_power_w, energy_j / time_s)
        return float(time_s)


@dataclass(slots=True, kw_only=True)
class Rest:
    """When a replica that does nothing parks and is off, ``inf`` for never [s], and what it drew
    [J].
    """

    park_after_s: float
    off_after_s: float
    horizon_s: float
    account_j: Floats

    def state(self, since_s: float, now_s: float) -> int:
        """``IDLE``, ``PARKED`` or ``OFF`` at ``now_s`` after rest since ``since_s``. A timeout that
        runs out at this instant has run out.
        """
        if now_s >= since_s + self.off_after_s:
            return OFF
        if now_s >= since_s + self.park_after_s:
            return PARKED
        return IDLE

    def count(self, cost: Cost, since_s: float, until_s: float) -> None:
        """Charge the rest from ``since_s`` to ``until_s`` to idle, parked and off, clipped to
        ``[0, horizon_s]``.
        """
        off_at = since_s + self.off_after_s
        park_at = min(since_s + self.park_after_s, off_at)
        for account, power_w, begin, end in (
            (IDLE, cost.power_w_idle, since_s, min(park_at, until_s)),
            (PARKED, cost.power_w_parked, park_at, min(off_at, until_s)),
            (OFF, cost.power_w_off, off_at, until_s),
        ):
            seconds = min(end, self.horizon_s) - max(begin, 0.0)
            if seconds > 0.0:
                self.account_j[account] += seconds * power_w

    def wake_s(self, cost: Cost, state: int) -> float:
        """Seconds to wake from ``state``; the energy goes to ``waking``. 0 when idle."""
        if state == OFF:
            self.account_j[WAKING] += cost.wake_j_from_off
            return float(cost.wake_s_from_off)
        if state == PARKED:
            self.account_j[WAKING] += cost.wake_j_from_parked
            return float(cost.wake_s_from_parked)
        return 0.0

    def never(self) -> None:
        """From now on it stays idle."""
        self.park_after_s = self.off_after_s = math.inf
