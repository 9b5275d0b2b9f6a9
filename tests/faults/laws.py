"""What must hold of every request, whatever happens: watched from outside, by events and commands
alone. ``books.py`` looks inside the machine.
"""

from __future__ import annotations

import math
from typing import get_args

from baseload.gateway import events
from baseload.gateway.config import GatewayConfig

_NS = 1_000_000_000
_SLACK_NS = 150_000_000  # a twentieth of a second, and what the world's timer comes late
_AFTER_REFUSAL = (
    "saturated", "expired", "no_replica", "too_long", "draining", "upstream", "rejected",
)  # fmt: skip
_REASONS = get_args(events.Reason)


class Broken(AssertionError):
    """A law does not hold."""


class Trip:
    """One request as its client and the engines see it. ``present``: its attempt that is under
    way, -1 for none.
    """

    __slots__ = (
        "answered", "arrived_ns", "handed", "last_ns", "present", "refused", "rejected",
        "sends", "sent_ns", "started", "stream", "trial", "url",
    )  # fmt: skip

    def __init__(self, now_ns: int, stream: bool) -> None:
        self.arrived_ns, self.stream = now_ns, stream
        self.sends, self.present = 0, -1
        self.url: tuple[str, int] = ("", 0)
        self.sent_ns = self.last_ns = -1
        self.handed = self.answered = self.refused = self.started = False
        self.rejected = self.trial = False


class Breaker:
    """A replica's breaker and probes as they have to be, by what the machine was told."""

    __slots__ = ("asleep", "open_ns", "probes", "streak", "trial")

    def __init__(self) -> None:
        self.streak = self.probes = 0
        self.open_ns = -1  # may be tried from then on; -1: closed
        self.trial = -1
        self.asleep = False


class Laws:
    """Watches one machine."""

    def __init__(self, config: GatewayConfig) -> None:
        self.trips: dict[int, Trip] = {}
        self.ended: dict[str, int] = {}
        self.breakers: dict[tuple[str, int], Breaker] = {}
        self.closed: set[int] = set()
        self.energy_j = self.wasted_j = 0.0
        self.draining = False
        self._leaving = -1
        self._again_s = 0.0
        self.first_byte_s = self.idle_s = self.total_s = 0.0
        self.least_s = (math.inf, math.inf, math.inf)
        self.retry_s, self.attempts = 0.0, 0
        self.configured(config)

    def configured(self, config: GatewayConfig) -> None:
        """The machine serves by this configuration from now on."""
        limits = config.limits
        self.config = config
        self.first_byte_s = max(self.first_byte_s, limits.first_byte_s)
        self.idle_s = max(self.idle_s, limits.idle_s)
        self.total_s = max(self.total_s, limits.total_s)
        now = (limits.first_byte_s, limits.idle_s, limits.total_s)
        self.least_s = tuple(map(min, self.least_s, now))  # type: ignore[assignment]
        retries = config.retries
        self.attempts = max(self.attempts, retries.attempts)
        self.retry_s = max(self.retry_s, retries.backoff_most_s * (1 + retries.attempts))

    def need(self, holds: bool, said: str) -> None:
        """Raises ``Broken`` where something does not hold."""
        if not holds:
            raise Broken(said)

    def breaker(self, url: tuple[str, int]) -> Breaker:
        """The breaker of a replica."""
        found = self.breakers.get(url)
        if found is None:
            found = self.breakers[url] = Breaker()
        return found

    # What the machine is told

    def told(self, event: events.AnyEvent, now_ns: int, url: tuple[str, int]) -> None:
        """An event is about to be told; ``url`` of the replica it is about, where it is one."""
        kind = type(event)
        self._leaving = -1
        self._again_s = 0.0
        if kind is events.Arrived:
            self.trips[event.request] = Trip(now_ns, event.stream)
        elif kind is events.Left:
            self._leaving = event.request
        elif kind is events.Drain:
            self.draining = True
        elif kind is events.Probed:
            breaker = self.breaker(url)
            breaker.probes = 0 if event.healthy else breaker.probes + 1
            if event.healthy and event.asleep is not None:
                breaker.asleep = event.asleep
        elif kind is events.Woken:
            if event.done:
                self.breaker(url).asleep = not event.awake
        elif kind in (events.Began, events.Progressed, events.Ended, events.Broke):
            trip = self.trips.get(event.request)
            if trip is not None and trip.present == event.attempt:
                self._of_attempt(trip, event, kind, now_ns)

    def _of_attempt(self, trip: Trip, event, kind, now_ns: int) -> None:
        """The present attempt of a request has got on, or has ended."""
        breaker = self.breaker(trip.url)
        if kind is events.Began:
            breaker.probes = 0
        elif kind is events.Progressed:
            breaker.probes = 0 if trip.last_ns < 0 else breaker.probes
            trip.handed = trip.handed or event.sent
            trip.last_ns = now_ns
            if trip.trial and breaker.trial == event.request:
                breaker.open_ns = breaker.trial = -1
        elif kind is events.Ended:
            breaker.probes = 0
            trip.answered = True
            self._went_well(trip, event.request)
        elif event.cause == "rejected":
            breaker.probes = 0
            trip.rejected = True
            self._went_well(trip, event.request)
        else:
            self._again_s = 0.0 if math.isnan(event.retry_after_s) else event.retry_after_s
            self._went_wrong(trip, event.request, now_ns)

    def _went_well(self, trip: Trip, request: int) -> None:
        breaker = self.breaker(trip.url)
        trip.present = -1
        if breaker.trial == request:
            breaker.trial = breaker.open_ns = -1
        if breaker.open_ns < 0:
            breaker.streak = 0

    def _went_wrong(self, trip: Trip, request: int, now_ns: int) -> None:
        breaker, entry = self.breaker(trip.url), self.config.breaker
        trip.present = -1
        breaker.streak += 1
        if breaker.trial not in (-1, request):
            return
        on_trial = breaker.trial == request
        breaker.trial = -1
        if on_trial or (
            breaker.open_ns < 0 and (breaker.streak >= entry.failures or self._again_s > 0.0)
        ):
            asked_s = min(self._again_s, entry.open_most_s)
            breaker.open_ns = now_ns + int(max(entry.open_s, asked_s) * _NS)

    # What it answers

    def sent(self, command: events.Send, now_ns: int, url: tuple[str, int]) -> Trip:
        """A request is sent to the replica at ``url``."""
        trip = self.trip(command.request)
        self.need(not trip.handed, "sent again after something was handed on")
        self.need(not trip.answered, "sent again after it was answered")
        self.need(trip.present < 0, "sent again while an attempt is under way")
        self.need(not (trip.refused or trip.rejected), "sent after it was refused")
        self.need(command.attempt == trip.sends, f"attempt {command.attempt} of {trip.sends}")
        self.need(trip.sends == 0 or not self.draining, "tried again while draining")
        trip.sends += 1
        self.need(trip.sends <= self.attempts + 1, f"sent {trip.sends} times")
        trip.present, trip.url = command.attempt, url
        trip.sent_ns, trip.last_ns, trip.trial = now_ns, -1, False
        breaker = self.breaker(url)
        self.need(not breaker.asleep, "sent to a replica that sleeps")
        self.need(breaker.probes < self.config.health.failures, "sent to an unhealthy replica")
        if breaker.open_ns >= 0:
            self.need(now_ns >= breaker.open_ns, "sent through an open breaker")
            self.need(breaker.trial < 0, "two requests on trial")
            breaker.trial, trip.trial = command.request, True
        return trip

    def cancelled(self, command: events.Cancel, now_ns: int) -> Trip:
        """An attempt is given up."""
        trip = self.trip(command.request)
        self.need(trip.present == command.attempt, "cancelled what is not under way")
        if self._leaving == command.request:
            breaker = self.breaker(trip.url)
            if breaker.trial == command.request:
                breaker.trial = -1
            trip.present = -1
            return trip
        first_s, idle_s, total_s = self.least_s
        since = trip.last_ns + idle_s * _NS if trip.last_ns >= 0 else trip.sent_ns + first_s * _NS
        due = min(since, trip.arrived_ns + total_s * _NS)
        self.need(now_ns >= due - 1, f"given up {(due - now_ns) / _NS:.3f} s too early")
        self._went_wrong(trip, command.request, now_ns)
        return trip

    def refused(self, command: events.Refuse) -> None:
        """A client gets an error in place of an answer."""
        trip = self.trip(command.request)
        self.need(not trip.handed, "refused after something was handed on")
        self.need(not trip.refused, "refused twice")
        self.need(trip.present < 0, "refused while an attempt is under way")
        self.need(400 <= command.status < 600 and bool(command.message), "a refusal says why")
        if command.status == 429 or command.reason in ("no_replica", "draining", "expired"):
            self.need(1.0 <= command.retry_after_s <= 60.0, "no time to come back")
        if self.draining and not trip.sends:
            self.need(command.reason == "draining", "an arrival is taken while draining")
        trip.refused = True

    def aborted(self, command: events.Abort) -> None:
        """An answer is broken off."""
        trip = self.trip(command.request)
        self.need(trip.handed, "aborted an answer that had not begun")
        self.need(trip.present < 0 and not trip.refused, "aborted what is under way")
        trip.refused = True

    def close(self, command: events.Close) -> None:
        """A request has ended."""
        trip = self.trip(command.request)
        reason = command.reason
        self.need(reason in _REASONS, f"an end for no reason: {reason}")
        self.need(trip.present < 0, "ended with an attempt left behind")
        self.need((reason == "answered") == trip.answered, f"{reason}, answered: {trip.answered}")
        self.need((reason == "rejected") == trip.rejected, f"{reason}: {trip.rejected}")
        self.need((reason == "cancelled") == (self._leaving == command.request), "whose leave?")
        told = reason in _AFTER_REFUSAL
        self.need(told == trip.refused, f"{reason}, but the client was told: {trip.refused}")
        self.need(reason != "draining" or self.draining, "nobody drains")
        self.need(command.attempts == trip.sends, f"{command.attempts} of {trip.sends} attempts")
        energy_j, wasted_j = command.energy_j, command.wasted_j
        self.need(math.isfinite(energy_j) and energy_j >= 0.0, f"{energy_j} J")
        self.need(0.0 <= wasted_j <= energy_j * (1 + 1e-9), f"{wasted_j} of {energy_j} J wasted")
        self.need(trip.sends > 0 or energy_j == 0.0, "joules of a request that nobody worked at")
        self.need(reason == "answered" or wasted_j == energy_j, "joules of no answer, not wasted")
        self.need(0.0 <= command.queued_s <= command.total_s, f"queued {command.queued_s} s")
        ttft_s = command.ttft_s
        self.need(math.isnan(ttft_s) or 0.0 <= ttft_s <= command.total_s, f"ttft {ttft_s} s")
        self.need(command.output_tokens >= 0, f"{command.output_tokens} tokens")
        self.energy_j += energy_j
        self.wasted_j += wasted_j
        self.ended[reason] = self.ended.get(reason, 0) + 1
        self.closed.add(command.request)
        del self.trips[command.request]

    def trip(self, request: int) -> Trip:
        """The trip of a request that has not ended."""
        found = self.trips.get(request)
        if found is None:
            state = "has ended" if request in self.closed else "never came"
            raise Broken(f"a command about request {request}, which {state}")
        return found

    # Time

    def overdue_ns(self, request: int, attempt: int) -> int:
        """Until when the present attempt must have got on or been given up; 0: it is not the
        present one.
        """
        trip = self.trips.get(request)
        if trip is None or trip.present != attempt:
            return 0
        since, span_s = trip.sent_ns, self.first_byte_s
        if trip.last_ns >= 0:
            since, span_s = trip.last_ns, self.idle_s
        end_ns = trip.arrived_ns + int(self.total_s * _NS)
        return max(trip.sent_ns, min(since + int(span_s * _NS), end_ns)) + _SLACK_NS

    def end_ns(self, request: int) -> int:
        """Until when a request must have ended; 0: it has."""
        trip = self.trips.get(request)
        if trip is None:
            return 0
        return trip.arrived_ns + int((self.total_s + self.retry_s) * _NS) + 2 * _SLACK_NS
