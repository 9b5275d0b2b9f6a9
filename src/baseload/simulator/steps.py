"""The step engine: one loop iteration per engine step, plain enough to check by eye.

It is the oracle of the jump engine and the reference for docs/explanation/engine.md, whose order
of work and names it follows line by line. What happens inside a replica is in ``step_replica``;
here are its queue of boundaries, the arrivals, and what a slow controller may do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import cost_table
from baseload.simulator.step_replica import (
    ACTIVE,
    IDLE,
    OFF,
    PARKED,
    Floats,
    Request,
    Rest,
    StepReplica,
    cut_output,
    longest_context,
)

Ints = NDArray[np.int64]

REFUSED = -1


class Router(Protocol):
    """Who decides which replica answers.

    Sees indices and the time only; what else it knows is its own business.
    """

    def pick(self, index: int, now_s: float) -> int:
        """The replica for request ``index`` that arrives at ``now_s`` [s]; -1 refuses it."""

    def done(self, index: int, replica: int, now_s: float) -> None:
        """Request ``index`` has left ``replica`` at ``now_s`` [s] with its last token."""


class Desk:
    """What a router may be told and asked besides; one that is no ``Desk`` gets these answers."""

    def arrived(self, index: int, now_s: float) -> float | None:  # noqa: ARG002
        """Request ``index`` has arrived: until when it may wait outside the fleet [s]; ``None``: it
        is to be picked for at once.
        """
        return None

    def laxity_s(self, index: int) -> float:  # noqa: ARG002
        """What orders a replica's queue, least first, asked after ``index`` was picked for [s]."""
        return 0.0

    def output_tokens(self, index: int) -> int | None:  # noqa: ARG002
        """Tokens of the answer, asked after ``index`` was picked for; ``None``: as the trace has
        it.
        """
        return None

    def first_token(self, index: int, replica: int, now_s: float) -> None:
        """Request ``index`` has its first token at ``now_s`` [s]."""


class SlowHand(Protocol):
    """Slow controllers with their hands on the engine."""

    @property
    def next_s(self) -> float:
        """When it wants to be called next [s]."""

    def act(self) -> None:
        """Do what is due at ``next_s``; the engine has run up to it."""


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


OnStep = Callable[[int, float, float, tuple[int, int, int]], None]
"""Called as a step begins: replica, begin [s], end [s], (sequences, context, prefill tokens)."""


class Requests(NamedTuple):
    """What there is to answer: lengths, and which queue they join in a replica; ``[n]`` each."""

    input_tokens: Ints
    output_tokens: Ints
    priority: Ints


class StepEngine:
    """A fleet on its way: a heap of (boundary time, replica), and what waits outside."""

    def __init__(
        self,
        replicas: list[StepReplica],
        rests: list[Rest],
        requests: Requests,
        router: Router,
        out: StepRun,
        on_step: OnStep | None,
    ) -> None:
        self.replicas, self.rests = replicas, rests
        self.in_flight = 0
        self.held: list[tuple[float, int]] = []  # (due, request)
        self._requests, self._router, self._out, self._on_step = requests, router, out, on_step
        self._desk = router if isinstance(router, Desk) else Desk()
        self._boundaries: list[tuple[float, int]] = []

    def run_to(self, now_s: float) -> None:
        """Everything that happens by itself at or before ``now_s``: boundaries, and held requests
        that are due, each after the boundaries of its instant.
        """
        while self.held and self.held[0][0] <= now_s:
            due_s = self.held[0][0]
            self._boundaries_until(due_s)
            self.release_first(due_s)
        self._boundaries_until(now_s)

    def arrive(self, index: int, now_s: float) -> None:
        """Request ``index`` arrives: it waits outside, or is sent to a replica."""
        due_s = self._desk.arrived(index, now_s)
        if due_s is None:
            self._send(index, now_s)
        else:
            heapq.heappush(self.held, (due_s, index))

    def release_first(self, now_s: float) -> None:
        """Send the held request that is due first, of two the one that came first."""
        _, index = heapq.heappop(self.held)
        self._send(index, now_s)

    def wake(self, index: int, now_s: float) -> float:
        """By order, replica ``index`` is made ready for requests and stays so: from when [s]."""
        replica, rest = self.replicas[index], self.rests[index]
        if replica.at_rest and replica.idle_since_s <= now_s:
            state = self._rest_until(index, now_s)
            replica.idle_since_s = now_s + rest.wake_s(replica.cost, state)
        rest.never()
        return max(now_s, replica.idle_since_s) if replica.at_rest else now_s

    def sleep(self, index: int, now_s: float, park_after_s: float, off_after_s: float) -> None:
        """By order, replica ``index`` rests by these timeouts [s] from now on, or from the end of
        its work; one that sleeps does not awake by it.
        """
        replica, rest = self.replicas[index], self.rests[index]
        state = IDLE
        if replica.at_rest and replica.idle_since_s <= now_s:
            state = self._rest_until(index, now_s)
        rest.park_after_s = 0.0 if state in (PARKED, OFF) else park_after_s
        rest.off_after_s = 0.0 if state == OFF else off_after_s

    def drawn_j(self, now_s: float) -> float:
        """Joules that the fleet has drawn up to ``now_s``, to which the engine has run; a wake
        counts as a whole when it begins.
        """
        total = 0.0
        for replica, rest in zip(self.replicas, self.rests, strict=True):
            total += replica.stepped_j(now_s) + float(rest.account_j.sum())
            if replica.at_rest and replica.idle_since_s < now_s:
                since = Rest(
                    park_after_s=rest.park_after_s,
                    off_after_s=rest.off_after_s,
                    horizon_s=rest.horizon_s,
                    account_j=np.zeros(5),
                )
                since.count(replica.cost, replica.idle_since_s, now_s)
                total += float(since.account_j.sum())
        return total

    def close(self) -> None:
        """Charge what rests at the end, and copy the replicas' sums out."""
        out = self._out
        for index, (replica, rest) in enumerate(zip(self.replicas, self.rests, strict=True)):
            self._rest_until(index, max(rest.horizon_s, replica.idle_since_s))
            out.account_j[index] = rest.account_j
            out.account_j[index, ACTIVE] = replica.active_j
            out.busy_s[index], out.steps[index] = replica.busy_s, replica.steps
            out.batch_time[index] = replica.batch_time
            out.peak_power_w[index] = replica.peak_power_w

    def _rest_until(self, index: int, now_s: float) -> int:
        """Charge the rest of a replica up to now; its power state. The rest goes on."""
        replica, rest = self.replicas[index], self.rests[index]
        state = rest.state(replica.idle_since_s, now_s)
        rest.count(replica.cost, replica.idle_since_s, now_s)
        replica.idle_since_s = now_s
        return state

    def _boundaries_until(self, now_s: float) -> None:
        """Run every boundary at or before ``now_s``, in order of time, then of replica."""
        while self._boundaries and self._boundaries[0][0] <= now_s:
            when_s, index = heapq.heappop(self._boundaries)
            replica = self.replicas[index]
            if replica.waking:
                replica.waking = False
            else:
                begun, left = replica.end_step(when_s)
                for request in begun:
                    self._desk.first_token(request.index, index, when_s)
                for request in left:
                    self._leave(request, index, when_s)
            self._begin(index, when_s)

    def _send(self, row: int, now_s: float) -> None:
        """Ask the router where request ``row`` goes, and queue it there; the replica starts or
        wakes if it was at rest.
        """
        out, index = self._out, self._router.pick(row, now_s)
        if index == REFUSED:
            out.refused[row] = True
            return
        replica, rest = self.replicas[index], self.rests[index]
        request = self._request(row, replica.kind)
        out.replica[row], out.output_tokens[row] = index, request.output_tokens
        self.in_flight += 1
        replica.enqueue(request)
        if not replica.at_rest:
            return
        assert replica.idle_since_s <= now_s, "a replica that wakes by order was sent a request"
        wake_s = rest.wake_s(replica.cost, self._rest_until(index, now_s))
        if wake_s > 0.0:
            replica.waking = True
            heapq.heappush(self._boundaries, (now_s + wake_s, index))
        else:
            self._begin(index, now_s)

    def _request(self, row: int, kind: ReplicaType) -> Request:
        """Request ``row`` as a replica of ``kind`` takes it, its answer cut where it must be."""
        prompt, asked = int(self._requests.input_tokens[row]), self._desk.output_tokens(row)
        if asked is None:
            asked = int(self._requests.output_tokens[row])
        if prompt > longest_context(kind):
            raise ValueError(
                f"request {row} has {prompt} input tokens, "
                f"{kind.name!r} takes {longest_context(kind)}"
            )
        given = cut_output(kind, prompt, asked)
        self._out.cut_short += given < asked
        return Request(
            index=row,
            priority=int(self._requests.priority[row]),
            laxity_s=self._desk.laxity_s(row),
            input_tokens=prompt,
            output_tokens=given,
        )

    def _begin(self, index: int, now_s: float) -> None:
        end_s = self.replicas[index].begin_step(now_s)
        if end_s is not None:
            heapq.heappush(self._boundaries, (end_s, index))
            if self._on_step is not None:
                self._on_step(index, now_s, end_s, self.replicas[index].work)

    def _leave(self, request: Request, replica: int, now_s: float) -> None:
        out, row = self._out, request.index
        out.first_token_s[row] = request.first_token_s
        out.finish_s[row] = now_s
        out.energy_j[row] = request.energy_j
        out.preemptions[row] = request.preemptions
        self.in_flight -= 1
        self._router.done(row, replica, now_s)


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
    slow: Callable[[StepEngine], SlowHand] | None = None,
) -> StepRun:
    """Replay requests step by step under the rules of docs/explanation/engine.md.

    ``arrival_s`` [s] must not decrease; ``input_tokens`` and ``output_tokens`` are >= 1;
    ``priority`` orders the queues inside a replica (0 first). ``park_after_s`` and ``off_after_s``
    [s] are per type, ``None`` for never. Idle, parked and off energy is counted from 0 to
    ``horizon_s`` [s]. A router that is a ``Desk`` too can hold requests back and order queues;
    ``slow`` puts a controller's hands on the engine. Raises ``ValueError`` when the router picks a
    replica whose type cannot take the request.
    """
    costs = cost_table(types)
    out = _empty(len(arrival_s), len(type_of_replica))
    replicas, rests = [], []
    for kind in type_of_replica:
        replicas.append(StepReplica(kind=types[kind], cost=costs[kind]))
        rests.append(
            Rest(
                park_after_s=_never(park_after_s[kind]),
                off_after_s=_never(off_after_s[kind]),
                horizon_s=horizon_s,
                account_j=np.zeros(5),
            )
        )
    requests = Requests(input_tokens, output_tokens, priority)
    engine = StepEngine(replicas, rests, requests, router, out, on_step)
    hand = None if slow is None else slow(engine)
    for row, now_s in enumerate(arrival_s.tolist()):
        while hand is not None and hand.next_s < now_s:
            engine.run_to(hand.next_s)
            hand.act()
        engine.run_to(now_s)
        engine.arrive(row, now_s)
    while hand is not None and hand.next_s < float("inf") and (engine.in_flight or engine.held):
        engine.run_to(hand.next_s)
        hand.act()
    engine.run_to(float("inf"))
    engine.close()
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
