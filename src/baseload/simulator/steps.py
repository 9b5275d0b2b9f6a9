"""The step engine: one loop iteration per engine step, plain enough to check by eye.

It is the oracle of the jump engine and the reference for docs/explanation/engine.md, whose order
of work and names it follows line by line. It sums over the batch where it could keep a running
total: slow, and hard to get wrong.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import Cost, cost_table, step

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ACTIVE, IDLE, PARKED, OFF, WAKING = 0, 1, 2, 3, 4
"""Columns of ``StepRun.account_j``, in the order of ``results.POWER_STATES``."""

REFUSED = -1


class Router(Protocol):
    """Who decides which replica answers.

    Sees indices and the time only; what else it knows is its own business.
    """

    def pick(self, index: int, now_s: float) -> int:
        """The replica for request ``index`` that arrives at ``now_s`` [s]; -1 refuses it."""

    def done(self, index: int, replica: int, now_s: float) -> None:
        """Request ``index`` has left ``replica`` at ``now_s`` [s] with its last token."""


@dataclass(kw_only=True)
class StepRun:
    """What a run of the step engine gives.

    Per request, shape ``[n]``: ``first_token_s``, ``finish_s`` [s] (NaN where refused),
    ``energy_j`` [J], ``replica`` (-1 where refused), ``preemptions``, ``output_tokens`` (after
    cutting; 0 where refused), ``refused``. Per replica, shape ``[r]``: ``account_j`` ``[r, 5]``
    [J] by power state (``results.POWER_STATES``), ``busy_s`` (time in steps), ``steps``,
    ``batch_time`` (integral of ``(b + m) dt``) [s]. ``peak_power_w`` ``[r]``: the highest mean
    power of any one step [W]. ``cut_short``: answers that were cut.
    """

    first_token_s: Floats
    finish_s: Floats
    energy_j: Floats
    replica: Ints
    preemptions: Ints
    output_tokens: Ints
    refused: NDArray[np.bool_]
    account_j: Floats
    busy_s: Floats
    steps: Ints
    batch_time: Floats
    peak_power_w: Floats
    cut_short: int

    @property
    def fleet_energy_j(self) -> float:
        """All joules of all replicas, every account [J]."""
        return float(self.account_j.sum())

    @property
    def ledger_residual_j(self) -> float:
        """Fleet energy minus (sum over requests + idle + parked + off + waking) [J]: round-off
        only.
        """
        return float(self.account_j[:, ACTIVE].sum() - self.energy_j.sum())


@dataclass(slots=True, kw_only=True)
class Request:
    """A request inside a replica.

    ``emitted``: its tokens so far; ``processed``: prompt tokens of the present prefill.
    """

    index: int
    priority: int
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
    J.
    """

    kind: ReplicaType
    cost: Cost
    queues: dict[int, deque[Request]] = field(default_factory=dict)
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
    peak_power_w: float = 0.0

    @property
    def at_rest(self) -> bool:
        """Does nothing: runs no step and does not wake."""
        return not self.in_step and not self.waking

    def enqueue(self, request: Request, *, front: bool = False) -> None:
        """Put ``request`` at the end (or front) of the queue of its priority."""
        queue = self.queues.setdefault(request.priority, deque())
        if front:
            queue.appendleft(request)
        else:
            queue.append(request)

    def kv(self) -> int:
        """KV tokens held: decoders what they have, prefilling requests their whole prompt."""
        decoding = sum(request.held_as_decoder for request in self.decoders)
        return decoding + sum(request.prompt for request in self.prefills)

    def begin_step(self, now_s: float) -> float | None:
        """The boundary at ``now_s``: preempt, admit, compose, run. When the step ends [s];
        ``None``: the replica is idle.
        """
        if not self._preempt():
            self._admit()
        if not self.decoders and not self.prefills:
            assert not any(self.queues.values()), "a replica went idle with requests in its queue"
            self.idle_since_s = now_s
            return None
        self._compose()
        time_s = self._run()
        self.in_step = True
        return now_s + time_s

    def end_step(self, now_s: float) -> list[Request]:
        """The step that ends at ``now_s`` [s] hands out its tokens. The requests that leave."""
        self.in_step = False
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
            self._emit(request, now_s, left)
            if request.emitted < request.output_tokens:
                self.decoders.append(request)
        self.prefills = waiting
        return left

    @staticmethod
    def _emit(request: Request, now_s: float, left: list[Request]) -> None:
        if request.emitted == 0:
            request.first_token_s = now_s
        request.emitted += 1
        if request.emitted == request.output_tokens:
            left.append(request)

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
            request = queue.popleft()
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
        self.peak_power_w = max(self.peak_power_w, energy_j / time_s)
        return float(time_s)


@dataclass(slots=True, kw_only=True)
class _Rest:
    """What a replica draws and how it wakes when it does nothing: timeouts [s] (``inf``: never),
    accounts [J].
    """

    cost: Cost
    park_after_s: float
    off_after_s: float
    horizon_s: float
    account_j: Floats

    def count(self, since_s: float, until_s: float) -> None:
        """Charge the rest from ``since_s`` to ``until_s`` to idle, parked and off, clipped to
        ``[0, horizon_s]``.
        """
        off_at = since_s + self.off_after_s
        park_at = min(since_s + self.park_after_s, off_at)
        for account, power_w, begin, end in (
            (IDLE, self.cost.power_w_idle, since_s, min(park_at, until_s)),
            (PARKED, self.cost.power_w_parked, park_at, min(off_at, until_s)),
            (OFF, self.cost.power_w_off, off_at, until_s),
        ):
            seconds = min(end, self.horizon_s) - max(begin, 0.0)
            if seconds > 0.0:
                self.account_j[account] += seconds * power_w

    def wake_s(self, since_s: float, now_s: float) -> float:
        """Seconds to wake at ``now_s`` after rest since ``since_s``; its energy goes to
        ``waking``. 0 when idle.
        """
        if now_s >= since_s + self.off_after_s:
            self.account_j[WAKING] += self.cost.wake_j_from_off
            return float(self.cost.wake_s_from_off)
        if now_s >= since_s + self.park_after_s:
            self.account_j[WAKING] += self.cost.wake_j_from_parked
            return float(self.cost.wake_s_from_parked)
        return 0.0


OnStep = Callable[[int, float, float, tuple[int, int, int]], None]
"""Called as a step begins: replica, begin [s], end [s], (sequences, context, prefill tokens)."""


class _Engine:
    """The event loop: a heap of (boundary time, replica), arrivals in between."""

    def __init__(
        self,
        replicas: list[StepReplica],
        rests: list[_Rest],
        router: Router,
        out: StepRun,
        on_step: OnStep | None,
    ) -> None:
        self.on_step = on_step
        self.replicas = replicas
        self.rests = rests
        self.router = router
        self.out = out
        self.boundaries: list[tuple[float, int]] = []

    def boundaries_until(self, now_s: float) -> None:
        """Run every boundary at or before ``now_s``, in order of time, then of replica."""
        while self.boundaries and self.boundaries[0][0] <= now_s:
            when_s, index = heapq.heappop(self.boundaries)
            replica = self.replicas[index]
            if replica.waking:
                replica.waking = False
            else:
                for request in replica.end_step(when_s):
                    self._leave(request, index, when_s)
            self._begin(index, when_s)

    def arrive(self, request: Request, index: int, now_s: float) -> None:
        """``request`` arrives at replica ``index``, which starts or wakes if it was at rest."""
        replica, rest = self.replicas[index], self.rests[index]
        replica.enqueue(request)
        if not replica.at_rest:
            return
        rest.count(replica.idle_since_s, now_s)
        wake_s = rest.wake_s(replica.idle_since_s, now_s)
        if wake_s > 0.0:
            replica.waking = True
            heapq.heappush(self.boundaries, (now_s + wake_s, index))
        else:
            self._begin(index, now_s)

    def close(self) -> None:
        """Charge what rests at the end, and copy the replicas' sums out."""
        out = self.out
        for index, (replica, rest) in enumerate(zip(self.replicas, self.rests, strict=True)):
            rest.count(replica.idle_since_s, max(rest.horizon_s, replica.idle_since_s))
            out.account_j[index] = rest.account_j
            out.account_j[index, ACTIVE] = replica.active_j
            out.busy_s[index], out.steps[index] = replica.busy_s, replica.steps
            out.batch_time[index] = replica.batch_time
            out.peak_power_w[index] = replica.peak_power_w

    def _begin(self, index: int, now_s: float) -> None:
        end_s = self.replicas[index].begin_step(now_s)
        if end_s is not None:
            heapq.heappush(self.boundaries, (end_s, index))
            if self.on_step is not None:
                self.on_step(index, now_s, end_s, self.replicas[index].work)

    def _leave(self, request: Request, replica: int, now_s: float) -> None:
        out, row = self.out, request.index
        out.first_token_s[row] = request.first_token_s
        out.finish_s[row] = now_s
        out.energy_j[row] = request.energy_j
        out.preemptions[row] = request.preemptions
        self.router.done(row, replica, now_s)


def run_steps(
    *,
    types: Sequence[ReplicaType],
    type_of_replica: Ints,
    arrival_s: Floats,
    input_tokens: Ints,
    output_tokens: Ints,
    priority: Ints,
    router: Router,
    park_after_s: Sequence[float | None],
    off_after_s: Sequence[float | None],
    horizon_s: float,
    on_step: OnStep | None = None,
) -> StepRun:
    """Replay requests step by step under the rules of docs/explanation/engine.md.

    ``arrival_s`` [s] must not decrease; ``input_tokens`` and ``output_tokens`` are >= 1;
    ``priority`` orders the queues inside a replica (0 first). ``park_after_s`` and ``off_after_s``
    [s] are per type, ``None`` for never. Idle, parked and off energy is counted from 0 to
    ``horizon_s`` [s]. Raises ``ValueError`` when the router picks a replica whose type cannot take
    the request.
    """
    costs = cost_table(types)
    out = _empty(len(arrival_s), len(type_of_replica))
    replicas, rests = [], []
    for kind in type_of_replica:
        replicas.append(StepReplica(kind=types[kind], cost=costs[kind]))
        rests.append(
            _Rest(
                cost=costs[kind],
                park_after_s=_never(park_after_s[kind]),
                off_after_s=_never(off_after_s[kind]),
                horizon_s=horizon_s,
                account_j=np.zeros(5),
            )
        )
    engine = _Engine(replicas, rests, router, out, on_step)
    cut_short = 0
    for row, now_s in enumerate(arrival_s.tolist()):
        engine.boundaries_until(now_s)
        index = router.pick(row, now_s)
        if index == REFUSED:
            out.refused[row] = True
            continue
        kind = replicas[index].kind
        asked, prompt = int(output_tokens[row]), int(input_tokens[row])
        if prompt > longest_context(kind):
            raise ValueError(
                f"request {row} has {prompt} input tokens, "
                f"{kind.name!r} takes {longest_context(kind)}"
            )
        given = cut_output(kind, prompt, asked)
        cut_short += given < asked
        out.replica[row], out.output_tokens[row] = index, given
        request = Request(
            index=row, priority=int(priority[row]), input_tokens=prompt, output_tokens=given
        )
        engine.arrive(request, index, now_s)
    engine.boundaries_until(float("inf"))
    engine.close()
    out.cut_short = cut_short
    return out


def _never(timeout_s: float | None) -> float:
    return float("inf") if timeout_s is None else timeout_s


def _empty(requests: int, replicas: int) -> StepRun:
    return StepRun(
        first_token_s=np.full(requests, np.nan),
        finish_s=np.full(requests, np.nan),
        energy_j=np.zeros(requests),
        replica=np.full(requests, REFUSED, dtype=np.int64),
        preemptions=np.zeros(requests, dtype=np.int64),
        output_tokens=np.zeros(requests, dtype=np.int64),
        refused=np.zeros(requests, dtype=np.bool_),
        account_j=np.zeros((replicas, 5)),
        busy_s=np.zeros(replicas),
        steps=np.zeros(replicas, dtype=np.int64),
        batch_time=np.zeros(replicas),
        peak_power_w=np.zeros(replicas),
        cut_short=0,
    )
