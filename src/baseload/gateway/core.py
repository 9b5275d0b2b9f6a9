"""The life of live requests: one state machine without I/O, ``handle(event, now_ns) -> commands``.

Admission by tier, the pick (the simulator's own kernel), retries while nothing has been handed to
the client, time-outs, breakers, drain. asyncio drives it live (``driver``), seeded faults in tests;
a recorded log of events drives it to the same commands again (``event_log``). Law: each request
that arrived gets exactly one ``Close``, with a reason.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from baseload.gateway import events
from baseload.gateway.events import Abort, AnyCommand, AnyEvent, Cancel, Cause, Close, Reason
from baseload.gateway.explain import Decision, decisions_of, price_parts
from baseload.gateway.fleet_hands import FleetHands
from baseload.gateway.handover import hand_over
from baseload.gateway.life import FLOWING, HELD, NEW, QUEUED, RETRYING, SENT, Life
from baseload.gateway.live_fleet import Lane, LiveFleet
from baseload.gateway.replicas import Replicas
from baseload.gateway.waiting import FairQueue, Wheel

_NS = 1_000_000_000
_HELD_FRAC = 0.5  # of its time to its deadline a request may wait outside the fleet
_LEAST_RETRY_S, _MOST_RETRY_S = 1.0, 60.0
_RATE_MEMORY_S = 10.0
_AT_ONCE_S = 1e-9  # a wait that only a free seat keeps

_STATUS: dict[Reason, int] = {
    "saturated": 429,
    "expired": 503,
    "no_replica": 503,
    "too_long": 400,
    "draining": 503,
}
_TIMED_OUT: tuple[Cause, ...] = ("first_byte", "idle", "total")
_BUSY = 429  # an engine says so of itself
_UNREAD: tuple[Cause, ...] = ("connect", "status", "rejected")  # the prompt was not worked at

ARRIVED, PROMPT_TOKENS, COMPLETED, MISSED, REFUSED, INPUT_TOKENS, OUTPUT_TOKENS = range(7)
"""Rows of ``Core.counts``, in the order of ``simulator.plant.COUNTED``."""


class Core:
    """All requests of a process. ``kept``: decisions that are remembered, for ``explain``.
    ``leads``: has the slow controllers and probes replicas; of several worker processes one does.
    """

    def __init__(
        self, live: LiveFleet, now_ns: int, *, kept: int = 4096, leads: bool = True
    ) -> None:
        self.kept, self.leads = max(1, kept), leads
        self.lives: dict[int, Life] = {}
        self.draining = False
        self._wheel = Wheel()
        self._now_ns = now_ns
        self._out: list[AnyCommand] = []
        self._room = False  # whether somebody may have room that had none
        self._ended_per_s, self._ended_ns = 1.0, now_ns
        self.take_over(live)
        self._handlers: dict[type, Callable[[Any], None]] = {
            events.Arrived: self._arrived,
            events.LaneAdded: self._lane_added,
            events.Began: self._began,
            events.Progressed: self._progressed,
            events.Ended: self._ended,
            events.Broke: self._broke,
            events.Left: self._left,
            events.Probed: self._probed,
            events.Sampled: lambda event: self.replicas.sampled(event, self._now_ns),
            events.Woken: self._woken,
            events.Others: self._others,
            events.Led: lambda event: self.replicas.led(event, self._now_ns),
            events.Drain: self._drained,
            events.Timer: lambda _: None,
        }

    def take_over(self, live: LiveFleet) -> None:
        """Serve a fleet from now on: idle, its clock at zero, nobody waiting."""
        self.live = live
        self.replicas = Replicas(live, self._now_ns, kept=self.kept, leads=self.leads)
        tiers = len(live.tiers)
        self.queues: dict[int, FairQueue] = {}
        self.held: list[tuple[int, int]] = []  # when due, who; some no longer wait
        self.waiting = [0] * tiers
        self.counts = np.zeros((7, tiers))
        self.others_counts = np.zeros((7, tiers))
        self._promises = [
            tuple(math.inf if one is None else one for one in (t.ttft_s, t.tpot_s, t.e2e_s))
            for t in live.tiers
        ]
        self._patience_s = [
            promise[0] if entry.max_wait_s is None else entry.max_wait_s
            for entry, promise in zip(live.config.tiers, self._promises, strict=True)
        ]
        self.hands = FleetHands(self)

    # What a driver asks

    @property
    def next_ns(self) -> int:
        """When the machine wants a ``Timer`` at the latest."""
        return min(self._wheel.next_ns(), self.replicas.next_ns, self.hands.next_ns)

    def ready(self, now_ns: int) -> bool:
        """Whether a request could be served now."""
        return not self.draining and self.replicas.ready(now_ns)

    def explain(self, request: int, now_ns: int) -> list[Decision]:
        """Why a request went where it went, attempt by attempt, as far as that is remembered."""
        return decisions_of(self.replicas, request, now_ns)

    def price_parts(self, request: int) -> dict[str, float]:
        """The price [$] of where a request that has not ended was sent last, by its parts."""
        life = self.lives.get(request)
        return {} if life is None or life.slot < 0 else price_parts(self.replicas, life.slot)

    def handle(self, event: AnyEvent, now_ns: int) -> list[AnyCommand]:
        """Take in an event at ``now_ns``; gives what is to be done about it, in order. Time never
        runs backwards: an earlier instant counts as the present one.
        """
        self._now_ns = now_ns = max(now_ns, self._now_ns)
        self._out, self._room = [], False
        self._handlers[type(event)](event)
        if now_ns >= self.next_ns:
            self._tick()
        elif self._room and self.queues:
            self._pump()
        return self._out

    # Events

    def _lane_added(self, event: events.LaneAdded) -> None:
        lane = Lane(tier=event.tier, allowed=tuple(event.allowed))
        self.replicas.add_lane(event.lane, lane)

    def _arrived(self, event: events.Arrived) -> None:
        tier = self.live.lanes[event.lane].tier
        life = Life(event, tier, self._promises[tier], self._now_ns)
        self.lives[event.request] = life
        self.counts[ARRIVED, tier] += 1
        self.counts[PROMPT_TOKENS, tier] += event.input_tokens
        if self.draining:
            self._refuse(life, "draining", "the gateway is shutting down")
            return
        entry = self.live.config.tiers[tier]
        if not entry.bulk or self.waiting[tier] >= entry.max_queue:
            self._try(life)
        elif self.replicas.policy.hold[tier] and life.e2e_s < math.inf:
            self._hold(life)
        elif self.queues.get(life.lane):
            self._queue(life)
        else:
            self._try(life)

    def _began(self, event: events.Began) -> None:
        life = self._present(event.request, event.attempt)
        if life is not None:
            life.home.alive(life, self._now_ns)

    def _progressed(self, event: events.Progressed) -> None:
        life = self._present(event.request, event.attempt)
        if life is None:
            return
        life.handed = life.handed or event.sent
        life.last_ns = self._now_ns
        if life.stage == SENT:
            life.stage = FLOWING
            life.home.heard(life, self._now_ns, ended=False)
            if self._now_ns >= life.sent_ns + int(self.live.config.limits.idle_s * _NS):
                self._watch(life)  # its timer stands at the first byte's
        if event.tokens and life.first_ns < 0:
            life.first_ns = self._now_ns
            life.home.begin(life, self._now_ns)
        life.written += event.tokens

    def _ended(self, event: events.Ended) -> None:
        life = self._present(event.request, event.attempt)
        if life is None:
            return
        inputs, cached = life.home.believed(life, event)
        ours = life.home is self.replicas  # else it is of a configuration before this one
        life.energy_j += self._leave(
            life,
            inputs,
            float(life.written),
            cached=cached,
            whole=ours,
            cut=event.finish == "length",
        )
        life.home.heard(life, self._now_ns, ended=True)
        if ours:
            life.home.remember(life, inputs + life.written)
        self.counts[INPUT_TOKENS, life.tier] += inputs
        self.counts[OUTPUT_TOKENS, life.tier] += life.written
        self._close(life, "answered", status=200)

    def _broke(self, event: events.Broke) -> None:
        life = self._present(event.request, event.attempt)
        if life is not None:
            again_s = 0.0 if math.isnan(event.retry_after_s) else event.retry_after_s
            self._fail(life, event.cause, event.status, again_s)

    def _left(self, event: events.Left) -> None:
        life = self.lives.get(event.request)
        if life is None:
            return
        if life.running:
            self._out.append(Cancel(request=life.request, attempt=life.attempt))
            self._lose(life, life.input_tokens)
            life.home.gave_up(life, self._now_ns)
        else:
            self._unqueue(life)
        reason, status = ("internal", 500) if event.fault else ("cancelled", 499)
        self._close(life, reason, status=status)  # type: ignore[arg-type]

    def _probed(self, event: events.Probed) -> None:
        self.replicas.probed(event, self._now_ns)
        self.hands.look_at(event.replica, self._now_ns, self._out)
        self._room = True

    def _woken(self, event: events.Woken) -> None:
        self.replicas.woken(event, self._now_ns)
        self.hands.look_at(event.replica, self._now_ns, self._out)
        self._room = True

    def _others(self, event: events.Others) -> None:
        self.replicas.others_have(event, self._now_ns)
        if event.counts:
            told = np.array(event.counts, dtype=np.float64)
            if told.shape == self.counts.shape:
                self.others_counts = told

    def _drained(self, _: events.Drain) -> None:
        self.draining = True
        for life in [one for one in self.lives.values() if not one.running]:
            self._unqueue(life)
            self._refuse(life, "draining", "the gateway is shutting down")

    # Time

    def _tick(self) -> None:
        """Do all that is due."""
        for request in self._wheel.due(self._now_ns):
            life = self.lives.get(request)
            if life is not None:
                self._overdue(life)
        self.replicas.tick(self._now_ns, self._out)
        self.hands.act(self._now_ns, self._out)
        self._pump()

    def _overdue(self, life: Life) -> None:
        """What a request's timer means, by where the request is."""
        limits, now_ns = self.live.config.limits, self._now_ns
        if life.stage in (HELD, RETRYING):
            self._unqueue(life)
            self._go_on(life)
        elif life.stage == QUEUED:
            self._unqueue(life)
            self._refuse(life, "expired", "it waited for room longer than it may")
        elif self._too_old(life):
            self._give_up(life, "total")
        elif life.stage == SENT and now_ns >= life.sent_ns + int(limits.first_byte_s * _NS):
            self._give_up(life, "first_byte")
        elif life.stage == FLOWING and now_ns >= life.last_ns + int(limits.idle_s * _NS):
            self._give_up(life, "idle")
        else:
            self._watch(life)

    def _go_on(self, life: Life) -> None:
        """Try a request that has waited, unless its time is up: the clock may have leapt."""
        if not self._too_old(life):
            self._try(life)
        elif life.tries:
            self._end_failed(life, "total")
        else:
            self._refuse(life, "expired", "it waited longer than it may")

    def _too_old(self, life: Life) -> bool:
        """Whether a request has been here as long as any may."""
        return self._now_ns >= life.arrived_ns + int(self.live.config.limits.total_s * _NS)

    def _watch(self, life: Life) -> None:
        """Set the timer of a request that is at a replica."""
        limits = self.live.config.limits
        since, span_s = life.sent_ns, limits.first_byte_s
        if life.stage == FLOWING:
            since, span_s = life.last_ns, limits.idle_s
        due = min(since + int(span_s * _NS), life.arrived_ns + int(limits.total_s * _NS))
        if life.stage == SENT:  # its answer may begin at once and then stop
            idle_ns = life.sent_ns + int(limits.idle_s * _NS)
            due = min(due, idle_ns) if idle_ns > self._now_ns else due
        self._wheel.set(life.request, max(due, self._now_ns + 1))

    def _give_up(self, life: Life, cause: Cause) -> None:
        """An attempt has taken too long."""
        self._out.append(Cancel(request=life.request, attempt=life.attempt))
        self._fail(life, cause, 0, 0.0)

    def reconfigure(self, live: LiveFleet, now_ns: int) -> list[AnyCommand]:
        """Serve by another configuration from now on. What runs goes on; what waits is served by
        the new one, or refused where what it asked for is gone.
        """
        self._now_ns, self._out = max(now_ns, self._now_ns), []
        old, hands = self.replicas, self.hands
        waiting = [life for life in self.lives.values() if life.stage in (HELD, QUEUED)]
        for life in waiting:
            self._unqueue(life)
        self.take_over(live)
        self.hands.resume(hands)
        lost = hand_over(old, self.replicas, self.lives.values(), self._now_ns)
        for life in lost:
            self._refuse(life, "no_replica", "what it asked for is not served any more")
        for life in waiting:
            if life.request in self.lives:
                self._go_on(life)
        return self._out

    # A request's way

    def _try(self, life: Life) -> None:
        """Send a request now, or let it wait, or refuse it. Bulk waits for the cheapest replica, as
        long as there is a place to wait in; then it takes any that is free.
        """
        entry = self.live.config.tiers[life.tier]
        may_queue = entry.bulk and self.waiting[life.tier] < entry.max_queue
        patience_s = self._patience_s[life.tier]
        if entry.bulk:
            patience_s = 0.0 if may_queue else _AT_ONCE_S
        if self._send(life, patience_s):
            return
        reason = self.replicas.why_not(life, self._now_ns)
        if reason == "too_long":
            said = f"no replica takes a prompt of about {life.input_tokens:.0f} tokens"
            self._refuse(life, reason, said)
        elif reason == "no_replica":
            waking = self._waken_for(life)
            if waking and may_queue:
                self._queue(life)
            elif not (life.tries and self._later(life)):
                self._refuse(life, reason, "no replica of the models asked for is ready")
        elif self._send(life, patience_s):
            return  # on one that was not open yet
        elif may_queue:
            self._queue(life)
        else:
            self._refuse_full(life)

    def _waken_for(self, life: Life) -> bool:
        """Wake a replica for a request that no other takes; says whether there is one."""
        sleeper = self.replicas.sleeper(life)
        if sleeper < 0:
            return False
        self.replicas.wanted[sleeper] = True
        self.hands.look_at(sleeper, self._now_ns, self._out)
        return True

    def _send(self, life: Life, patience_s: float) -> bool:
        """Send a request if a replica takes it within ``patience_s``; says whether."""
        if not self.replicas.route(life, patience_s, self._now_ns):
            return False
        life.attempt += 1
        life.tries += 1
        life.stage, life.sent_ns, life.first_ns = SENT, self._now_ns, -1
        life.written = 0
        self._watch(life)
        self._out.append(
            events.Send(
                request=life.request,
                attempt=life.attempt,
                replica=life.replica,
                option=life.option,
            )
        )
        return True

    def _leave(self, life: Life, inputs: float, outputs: float, **how: Any) -> float:
        """An attempt comes off its replica's books; gives its joules."""
        joules: float = life.home.leave(life, inputs, outputs, self._now_ns, **how)
        if life.home is not self.replicas:  # nobody reads those books any more
            self.replicas.past_j += joules
        self.replicas.past_j -= life.counted_j
        life.counted_j = 0.0
        return joules

    def _lose(self, life: Life, inputs: float) -> None:
        """An attempt ends with nothing that counts: all joules so far were spent in vain."""
        life.energy_j += self._leave(life, inputs, float(life.written))
        life.wasted_j = life.energy_j
        life.stage = NEW
        if not life.handed:
            life.first_ns, life.written = -1, 0

    def _fail(self, life: Life, cause: Cause, status: int, again_s: float) -> None:
        """An attempt has failed: try again elsewhere, or end the request."""
        replica = life.replica if life.home is self.replicas else -1
        self._lose(life, 0.0 if cause in _UNREAD else life.input_tokens)
        if cause == "rejected":
            life.home.heard(life, self._now_ns, ended=True)
            self._end_rejected(life, status)
            return
        life.home.failed(life, self._now_ns, again_s=again_s)
        over = cause == "total" or life.tries > self.live.config.retries.attempts
        over = over or self.draining or life.handed or life.lane < 0 or self._too_old(life)
        if over or not self._try_again(life, replica):
            if status == _BUSY and not life.handed:
                said = f"the engines take no more for now, told in {life.tries} attempt(s)"
                self._refuse(life, "saturated", said, after_s=again_s)
            else:
                self._end_failed(life, cause)

    def _try_again(self, life: Life, replica: int) -> bool:
        """At once on another replica; where there is none, a little later on any."""
        life.excluded = (*life.excluded, replica) if replica >= 0 else ()
        bulk = self.live.config.tiers[life.tier].bulk
        if self._send(life, math.inf if bulk else self._patience_s[life.tier]):
            return True
        life.excluded = ()
        return self._later(life)

    def _later(self, life: Life) -> bool:
        """Try again after a while, longer each time; ``False`` where it has waited long enough."""
        retries = self.live.config.retries
        if life.lost_ns < 0:
            life.lost_ns = self._now_ns
        waited_s = (self._now_ns - life.lost_ns) / _NS
        wait_s = min(retries.backoff_most_s, max(retries.backoff_s, waited_s))
        if waited_s + wait_s > retries.backoff_most_s * (1 + retries.attempts):
            return False
        life.stage = RETRYING
        self._wheel.set(life.request, self._now_ns + int(wait_s * _NS))
        return True

    def _end_rejected(self, life: Life, status: int) -> None:
        """The engine refused the request itself: the client is told so, in its words."""
        said, told = "the engine refused the request", status if 400 <= status < 500 else 400
        if life.handed:
            self._out.append(Abort(request=life.request, reason="rejected", message=said))
        else:
            self._out.append(
                events.Refuse(request=life.request, status=told, reason="rejected", message=said)
            )
        self._close(life, "rejected", status=told)

    def _end_failed(self, life: Life, cause: Cause) -> None:
        """No attempt is left: tell the client, in the way that is still open."""
        said = f"the engine failed ({cause}) after {life.tries} attempt(s)"
        status = 504 if cause in _TIMED_OUT else 502
        if life.handed:
            self._out.append(Abort(request=life.request, reason="upstream", message=said))
        else:
            self._out.append(
                events.Refuse(request=life.request, status=status, reason="upstream", message=said)
            )
        self._close(life, "upstream", status=status)

    # Waiting

    def _hold(self, life: Life) -> None:
        """Let a request wait for quieter minutes."""
        life.stage = HELD
        most_wait_s = self.live.config.tiers[life.tier].max_wait_s
        most_s = min(life.e2e_s, life.ttft_s, self.live.config.limits.total_s)
        most_s = most_s if most_wait_s is None else min(most_s, most_wait_s)
        due = self._now_ns + int(_HELD_FRAC * most_s * _NS)
        heapq.heappush(self.held, (due, life.request))
        self.waiting[life.tier] += 1
        self._wheel.set(life.request, due)

    def _queue(self, life: Life) -> None:
        """Let a request wait for room."""
        life.stage = QUEUED
        queue = self.queues.setdefault(life.lane, FairQueue())
        queue.push(life.request, priority=life.priority, fairness=life.fairness)
        self.waiting[life.tier] += 1
        entry = self.live.config.tiers[life.tier]
        most_s = min(life.e2e_s, self.live.config.limits.total_s)
        if entry.max_wait_s is not None:
            most_s = min(most_s, entry.max_wait_s)
        due = life.arrived_ns + int(most_s * _NS)
        self._wheel.set(life.request, max(self._now_ns + 1, due))

    def _unqueue(self, life: Life) -> None:
        """A request waits no more."""
        self._wheel.drop(life.request)
        if life.stage == QUEUED:
            queue = self.queues[life.lane]
            queue.remove(life.request, priority=life.priority, fairness=life.fairness)
            if not queue:
                del self.queues[life.lane]
        if life.stage in (QUEUED, HELD):
            self.waiting[life.tier] -= 1
        held, life.stage = life.stage == HELD, NEW
        if held:
            self._tidy_held()

    def _tidy_held(self) -> None:
        """Drop entries of requests that are held no more from the front of ``held``."""
        while self.held:
            life = self.lives.get(self.held[0][1])
            if life is not None and life.stage == HELD:
                return
            heapq.heappop(self.held)

    def _pump(self) -> None:
        """Send what waits, as far as there is room: lanes of urgent tiers first."""
        tiers = self.live.config.tiers
        for code in sorted(
            self.queues, key=lambda code: (tiers[self.live.lanes[code].tier].priority, code)
        ):
            queue = self.queues[code]
            while queue:
                life = self.lives[queue.first()]
                if not self._send(life, 0.0):
                    break
                queue.pop()
                self.waiting[life.tier] -= 1
            if not queue:
                del self.queues[code]

    def release(self, count: int) -> None:
        """Send the ``count`` held requests that are due first."""
        while self.held and count > 0:
            life = self.lives[self.held[0][1]]  # the first is held: see ``_tidy_held``
            self._unqueue(life)
            self._try(life)
            count -= 1

    # Ends

    def _refuse(self, life: Life, reason: Reason, said: str, *, after_s: float = 0.0) -> None:
        """End a request that has got nothing with an error; it may come back after ``after_s``."""
        status = _STATUS[reason]
        again_s = min(_MOST_RETRY_S, max(_LEAST_RETRY_S, after_s))
        self._out.append(
            events.Refuse(
                request=life.request,
                status=status,
                reason=reason,
                message=said,
                retry_after_s=math.nan if status == 400 else again_s,
            )
        )
        self.counts[REFUSED, life.tier] += 1
        self._close(life, reason, status=status)

    def _refuse_full(self, life: Life) -> None:
        """Refuse a request because the fleet is full: come back when the queue may have gone."""
        ahead = 1 + sum(self.waiting)
        after_s = ahead / max(0.1, self._ended_per_s)
        name = self.live.tiers[life.tier].name
        said = f"the fleet is full: a request of tier {name!r} would wait longer than it may"
        self._refuse(life, "saturated", said, after_s=after_s)

    def _close(self, life: Life, reason: Reason, *, status: int) -> None:
        """The one end of a request."""
        self._room = True
        del self.lives[life.request]
        self._wheel.drop(life.request)
        now_ns = self._now_ns
        total_s = (now_ns - life.arrived_ns) / _NS
        ttft_s = math.nan if life.first_ns < 0 else (life.first_ns - life.arrived_ns) / _NS
        missed = False
        if reason == "answered":
            missed = life.missed(ttft_s, total_s, now_ns)
            self.counts[COMPLETED, life.tier] += 1
            self.counts[MISSED, life.tier] += missed
            gap_s = max(1, now_ns - self._ended_ns) / _NS
            keep = math.exp(-gap_s / _RATE_MEMORY_S)
            self._ended_per_s = keep * self._ended_per_s + 1.0 / _RATE_MEMORY_S
            self._ended_ns = now_ns
        sent_ns = life.sent_ns if life.sent_ns >= 0 else now_ns
        self._out.append(
            Close(
                request=life.request,
                reason=reason,
                replica=life.replica if life.home is self.replicas else -1,
                option=life.option if life.home is self.replicas else -1,
                attempts=life.tries,
                status=status,
                energy_j=life.energy_j,
                wasted_j=life.wasted_j,
                queued_s=(sent_ns - life.arrived_ns) / _NS,
                ttft_s=ttft_s,
                total_s=total_s,
                output_tokens=life.written,
                missed=missed,
            )
        )

    def _present(self, request: int, attempt: int) -> Life | None:
        """The request, if this is about its present attempt."""
        life = self.lives.get(request)
        return life if life is not None and life.running and life.attempt == attempt else None
