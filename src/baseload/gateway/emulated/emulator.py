"""One emulated replica: the simulator's step engine on a clock.

``EmulatedReplica`` is the machine without I/O and without a clock of its own: queues, preemption,
admission, chunked prefill, seconds and joules of a step are those of ``simulator.step_replica``,
which is run, not copied. ``RunningReplica`` drives it on a clock that is passed in: a step ends at
its own time however late the process wakes up, so delays do not add up, and who arrives meanwhile
enters at the first boundary at or after the arrival.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import msgspec
import numpy as np

from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import cost_table
from baseload.simulator.step_replica import (
    IDLE,
    PARKED,
    WAKING,
    Request,
    Rest,
    StepReplica,
    cut_output,
    longest_context,
)


class Seat(Request):
    """A sequence in an emulated replica: a request of the step engine with its times [s of the
    emulated clock] and who hears of its tokens. ``gone``: nobody waits for it any more.
    """

    __slots__ = ("admitted_s", "arrival_s", "gone", "last_s", "owner")

    def __init__(self, owner: Listener, *, input_tokens: int, output_tokens: int) -> None:
        super().__init__(
            index=0, priority=0, input_tokens=input_tokens, output_tokens=output_tokens
        )
        self.owner = owner
        self.gone = False
        self.arrival_s = self.admitted_s = self.last_s = math.nan

    @property
    def done(self) -> bool:
        """Has its last token."""
        return self.emitted >= self.output_tokens


class Listener(Protocol):
    """Who hears of a seat's tokens. It may leave from there, not submit."""

    def token(self, seat: Seat, at_s: float) -> None:
        """``seat`` got its token number ``seat.emitted`` at ``at_s`` of the emulated clock."""


class Meters(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica has done and drawn so far ``[J, s of the emulated clock, n]``.

    ``active_j`` counts the step under way by its share of time; a wake counts as a whole when it
    begins. ``requests_j``: of the answers that ended or were left, and of those under way, the
    step under way as a whole: ``active_j`` wherever no step runs. ``left_j`` of them: for answers
    that nobody waited for.
    """

    active_j: float
    idle_j: float
    asleep_j: float
    waking_j: float
    requests_j: float
    left_j: float
    busy_s: float
    steps: int
    arrived: int
    ended: int
    left: int
    prompt_tokens: int
    generation_tokens: int
    preemptions: int

    @property
    def total_j(self) -> float:
        """All it has drawn [J]."""
        return self.active_j + self.idle_j + self.asleep_j + self.waking_j


@dataclass(slots=True, kw_only=True)
class _Machine(StepReplica):
    """The step engine's replica, its preemptions counted."""

    preemptions: int = 0

    def enqueue(self, request: Request, *, front: bool = False) -> None:
        """As the step engine: only who is preempted comes to the front."""
        self.preemptions += front
        StepReplica.enqueue(self, request, front=front)


class EmulatedReplica:
    """A replica of ``kind`` that is idle from ``now_s`` [s] on. Told of arrivals and leavers in
    order of time, and advanced whenever ``next_s`` is due.
    """

    def __init__(self, kind: ReplicaType, *, now_s: float = 0.0) -> None:
        self.kind = kind
        self.next_s = math.inf
        self._machine = _Machine(kind=kind, cost=cost_table([kind])[0], idle_since_s=now_s)
        self._rest = Rest(
            park_after_s=math.inf, off_after_s=math.inf, horizon_s=math.inf, account_j=np.zeros(5)
        )
        self._resting = False
        self._held: list[Seat] = []
        self._goers = 0
        self._ended_j = self._left_j = 0.0
        self._arrived = self._ended = self._left = 0
        self._prompt_tokens = self._generation_tokens = 0

    @property
    def longest_tokens(self) -> int:
        """The most that input and output of a request may hold [tokens]."""
        return longest_context(self.kind)

    @property
    def running(self) -> int:
        """Sequences in the batch."""
        return len(self._machine.decoders) + len(self._machine.prefills)

    @property
    def waiting(self) -> int:
        """Sequences in its queue."""
        return len(self._held) + sum(map(len, self._machine.queues.values()))

    @property
    def kv_frac(self) -> float:
        """Share of the KV cache that is taken."""
        return self._machine.kv() / self.kind.kv_tokens

    @property
    def asleep(self) -> bool:
        """Told to sleep, and no step runs any more."""
        return self._resting and self._machine.at_rest

    def arrive(self, seat: Seat, now_s: float) -> None:
        """``seat`` joins the queue at ``now_s``; everything due before must have been run. Its
        output is cut to what the context holds. While the engine sleeps it waits.
        """
        assert now_s < self.next_s, "a boundary is due before this arrival"
        assert seat.input_tokens <= self.longest_tokens, "a prompt that no one checked"
        seat.arrival_s = now_s
        seat.output_tokens = cut_output(self.kind, seat.input_tokens, seat.output_tokens)
        self._arrived += 1
        if self._resting:
            self._held.append(seat)
            return
        self._machine.enqueue(seat)
        if self._machine.at_rest:
            self._settle(now_s)
            self._begin(now_s)

    def leave(self, seat: Seat) -> None:
        """Nobody waits for ``seat`` any more: its place is free from the next boundary on, its
        joules stay counted.
        """
        if seat.gone or seat.done:
            return
        seat.gone = True
        if any(held is seat for held in self._held):
            self._held = [held for held in self._held if held is not seat]
            self._left += 1
        else:
            self._goers += 1

    def advance(self) -> list[Seat]:
        """The boundary at ``next_s``: the step that runs ends, the next begins. The seats that got
        a token, one each; first those that got their first, so that who has heard nothing yet does
        not wait until all others have been told.
        """
        now_s, machine = self.next_s, self._machine
        seats: list[Seat] = []
        if machine.waking:
            machine.waking = False
        else:
            decoders, prefills = machine.decoders, machine.prefills
            machine.end_step(now_s)
            # prompts are processed in order, so those that ended stand first
            ended = prefills[: len(prefills) - len(machine.prefills)]
            seats = self._told(cast("list[Seat]", ended + decoders))
        if self._goers:
            self._let_go()
        self._begin(now_s)
        return seats

    def sleep(self, now_s: float) -> None:
        """Go to sleep as soon as no request runs; who comes later waits until it is woken."""
        if self._resting:
            return
        self._resting = True
        if self._machine.at_rest:
            self._settle(now_s)
        self._rest.park_after_s = 0.0

    def wake(self, now_s: float) -> float:
        """Wake up; from when on it works [s]."""
        machine, rest = self._machine, self._rest
        if self._resting:
            self._resting = False
            slept = machine.at_rest and self._settle(now_s) == PARKED
            rest.park_after_s = math.inf
            for seat in self._held:
                machine.enqueue(seat)
            self._held = []
            if slept:
                self.next_s = now_s + rest.wake_s(machine.cost, PARKED)
                machine.waking = True
        return self.next_s if machine.waking else now_s

    def meters(self, now_s: float) -> Meters:
        """What it has done and drawn up to ``now_s``, to which it must have been run."""
        machine = self._machine
        rest = Rest(
            park_after_s=self._rest.park_after_s,
            off_after_s=math.inf,
            horizon_s=math.inf,
            account_j=self._rest.account_j.copy(),
        )
        if machine.at_rest:
            rest.count(machine.cost, machine.idle_since_s, now_s)
        under_way = [*machine.decoders, *machine.prefills]
        under_way += [seat for queue in machine.queues.values() for seat in queue]
        account = rest.account_j.tolist()
        return Meters(
            active_j=machine.stepped_j(now_s),
            idle_j=account[IDLE],
            asleep_j=account[PARKED],
            waking_j=account[WAKING],
            requests_j=self._ended_j + self._left_j + sum(seat.energy_j for seat in under_way),
            left_j=self._left_j,
            busy_s=machine.busy_s,
            steps=machine.steps,
            arrived=self._arrived,
            ended=self._ended,
            left=self._left,
            prompt_tokens=self._prompt_tokens,
            generation_tokens=self._generation_tokens,
            preemptions=machine.preemptions,
        )

    def _told(self, seats: list[Seat]) -> list[Seat]:
        """Count the tokens of ``seats``; those that someone waits for."""
        self._generation_tokens += len(seats)
        for seat in seats:
            if seat.emitted == 1:
                self._prompt_tokens += seat.input_tokens
            if seat.done and not seat.gone:
                self._ended += 1
                self._ended_j += seat.energy_j
            elif seat.done:
                self._goers -= 1
                self._left += 1
                self._left_j += seat.energy_j
        return [seat for seat in seats if not seat.gone] if self._goers or self._left else seats

    def _let_go(self) -> None:
        """Free the places of those who left."""
        machine = self._machine
        lists = (machine.decoders, machine.prefills, *machine.queues.values())
        for seats in lists:
            gone = [seat for seat in cast("list[Seat]", seats) if seat.gone]
            if gone:
                seats[:] = [seat for seat in cast("list[Seat]", seats) if not seat.gone]
                self._left += len(gone)
                self._left_j += sum(seat.energy_j for seat in gone)
        self._goers = 0

    def _begin(self, now_s: float) -> None:
        """Begin the next step, or rest."""
        machine = self._machine
        admissions = machine.admissions
        end_s = machine.begin_step(now_s)
        self.next_s = math.inf if end_s is None else end_s
        if machine.admissions > admissions:
            for seat in reversed(cast("list[Seat]", machine.prefills)):
                if seat.admission <= admissions:
                    break
                if math.isnan(seat.admitted_s):
                    seat.admitted_s = now_s

    def _settle(self, now_s: float) -> int:
        """Charge the rest up to now; its power state until now."""
        machine = self._machine
        state = self._rest.state(machine.idle_since_s, now_s)
        self._rest.count(machine.cost, machine.idle_since_s, now_s)
        machine.idle_since_s = now_s
        return state


_AWAKE_S = 0.001


class Timer(Protocol):
    """What ``call_later`` gives."""

    def cancel(self) -> None:
        """Do not call."""


CallLater = Callable[[float, Callable[[], None]], Timer]
"""As an event loop's: call a function after so many seconds."""


class RunningReplica:
    """An ``EmulatedReplica`` of ``kind`` on a clock. It has one timer, for its next boundary, and
    none while it is idle.

    ``clock`` gives monotonic seconds, ``call_later`` is the running loop's by default; the emulated
    clock goes ``speed`` times as fast, from 0 on. ``precise``: waits the last millisecond before a
    boundary awake, as loops count whole ones; for a replica that has a process to itself.
    """

    def __init__(
        self,
        kind: ReplicaType,
        *,
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
        speed: float = 1.0,
        precise: bool = False,
    ) -> None:
        self.replica = EmulatedReplica(kind)
        self.speed = speed
        self._precise = precise
        self._clock, self._call_later = clock, call_later
        self._slowed = 1.0
        self._since, self._since_s = clock(), 0.0
        self._timer: Timer | None = None
        self._due_s = math.inf
        self._wakers: list[asyncio.Future[None]] = []

    def now_s(self) -> float:
        """The emulated clock [s]."""
        return self._since_s + (self._clock() - self._since) / self.stretch

    @property
    def stretch(self) -> float:
        """Seconds of the clock in a second of the emulated one."""
        return self._slowed / self.speed

    def submit(self, seat: Seat) -> None:
        """``seat`` arrives now."""
        now_s = self._run()
        self.replica.arrive(seat, now_s)
        self._arm(now_s)

    def leave(self, seat: Seat) -> None:
        """Nobody waits for ``seat`` any more."""
        self.replica.leave(seat)

    def meters(self) -> Meters:
        """What it has done and drawn until now."""
        now_s = self._run()
        self._arm(now_s)
        return self.replica.meters(now_s)

    def slow(self, factor: float) -> None:
        """From now on everything takes ``factor`` times as long as it should."""
        now_s = self._run()
        self._since, self._since_s, self._slowed = self._clock(), now_s, factor
        self._due_s = math.inf
        self._arm(now_s)

    def sleep(self) -> None:
        """Go to sleep as soon as no request runs."""
        now_s = self._run()
        self.replica.sleep(now_s)
        self._arm(now_s)

    async def wake(self) -> None:
        """Wake up; returns when it works."""
        now_s = self._run()
        ready_s = self.replica.wake(now_s)
        self._arm(now_s)
        if ready_s > now_s:
            waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wakers.append(waker)
            await waker

    def close(self) -> None:
        """Stop the clock's timer: nothing more happens by itself."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due_s = None, math.inf

    def _run(self) -> float:
        """Everything that is due; the emulated time it is."""
        now_s, replica = self.now_s(), self.replica
        while replica.next_s <= now_s:
            at_s = replica.next_s
            for seat in replica.advance():
                seat.owner.token(seat, at_s)
            if self._wakers:
                self._tell_wakers()
        return now_s

    def _tell_wakers(self) -> None:
        """It works again."""
        wakers, self._wakers = self._wakers, []
        for waker in wakers:
            if not waker.done():
                waker.set_result(None)

    def _arm(self, now_s: float) -> None:
        """Set the timer for the next boundary, if it is not that one already."""
        next_s = self.replica.next_s
        if next_s == self._due_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._due_s = None, next_s
        if next_s < math.inf:
            call_later = self._call_later or asyncio.get_running_loop().call_later
            self._timer = call_later(self._wait_s((next_s - now_s) * self.stretch), self._fire)

    def _wait_s(self, left_s: float) -> float:
        """How long to set a timer of whole milliseconds. Late, a boundary is made up for; early, it
        costs a turn of the loop, and a precise replica takes those.
        """
        if self._precise:
            return max(0.0, left_s - _AWAKE_S)
        return max(0.0, math.ceil(left_s * 1e3) / 1e3)

    def _fire(self) -> None:
        self._timer, self._due_s = None, math.inf
        self._arm(self._run())
