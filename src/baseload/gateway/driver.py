"""Drives the state machine with asyncio: tells it events, carries out its commands.

Each request is served by the task that the server made for it; the machine's commands reach it
through its ``LiveRequest``. There is no other task a request, but one that listens for a client
that leaves, begun only for requests that live longer than ``WATCH_S``.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from baseload.gateway.bodies import Asked
from baseload.gateway.config import GatewayConfig
from baseload.gateway.errors import RequestError
from baseload.gateway.event_log import EventLog
from baseload.gateway.events import (
    Abort,
    AnyCommand,
    AnyEvent,
    Arrived,
    Cancel,
    Cause,
    Close,
    Drain,
    LaneAdded,
    Left,
    Probe,
    Reason,
    Refuse,
    Rest,
    Rouse,
    Send,
    Timer,
)
from baseload.gateway.live_fleet import LiveFleet, LiveReplica
from baseload.gateway.live_request import Headers, Hear, LiveRequest, Say, Way, ways_of
from baseload.gateway.receipts import Receipts
from baseload.gateway.relay import Relay
from baseload.gateway.upstream import Upstream
from baseload.gateway.wishes import Wishes

WATCH_S = 0.2
TOKEN_CHARACTERS = 4.0
IMAGE_TOKENS = 800.0
AUDIO_TOKENS = 400.0

DROPPED: dict[Reason, bytes] = {
    "saturated": b"rejected-saturated",
    "expired": b"rejected-ttl-expired",
}
"""``x-llm-d-request-dropped-reason`` of a refusal."""

Hand = Callable[[Probe | Rest | Rouse], None]


class Machine(Protocol):
    """What the driver needs of ``core.Core``."""

    @property
    def next_ns(self) -> int:
        """When it wants a ``Timer`` at the latest."""

    def handle(self, event: AnyEvent, now_ns: int) -> Sequence[AnyCommand]:
        """What to do about an event."""

    def price_parts(self, request: int) -> Mapping[str, float]:
        """The price of where a request was sent last, by its parts."""

    def reconfigure(self, live: LiveFleet, now_ns: int) -> Sequence[AnyCommand]:
        """Take over another fleet."""


class Listener(Protocol):
    """Who is told of requests: metrics, logs, spans."""

    def arrived(self, live: LiveRequest) -> None:
        """A request has come."""

    def decided(self, took_s: float) -> None:
        """The machine took ``took_s`` to take a request in and pick a replica."""

    def broke(self, live: LiveRequest, cause: Cause, *, again: bool) -> None:
        """An attempt has failed; ``again``: the request goes on."""

    def closed(self, live: LiveRequest, close: Close) -> None:
        """A request has ended."""

    def failed(self, where: str, error: BaseException) -> None:
        """Something of our own went wrong. Nothing of a prompt is to be logged."""


class Driver:
    """The live half of the machine. Make it inside a running loop.

    ``upstreams`` gives the way to a replica. ``hand`` carries out what concerns replicas, not
    requests (probes, sleep). ``clock_ns``: a monotonic clock.
    """

    def __init__(
        self,
        core: Machine,
        fleet: LiveFleet,
        *,
        upstreams: Callable[[LiveReplica], Upstream],
        hand: Hand = lambda _: None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        listeners: Sequence[Listener] = (),
        log: EventLog | None = None,
        watch_s: float = WATCH_S,
    ) -> None:
        self.core = core
        self.hand = hand
        self.listeners = tuple(listeners)
        self.log = log
        self.receipts = Receipts(fleet.config.telemetry.decisions_kept)
        self.lives: dict[int, LiveRequest] = {}
        self.troubles = 0
        self.draining = False
        self._upstreams = upstreams
        self._clock_ns = clock_ns
        self._watch_s = watch_s
        self._loop = asyncio.get_running_loop()
        self._last = 0
        self.mark = secrets.token_hex(4)
        self._unwatched: dict[int, LiveRequest] = {}
        self._watch: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ns = sys.maxsize
        self._relay = Relay(
            self.tell, decision_id=self.decision_id, clock_ns=clock_ns, broke=self._broke
        )
        self._settle(fleet)

    # The machine

    def _settle(self, fleet: LiveFleet) -> None:
        """Serve what comes now from ``fleet``."""
        self.fleet = fleet
        self.config: GatewayConfig = fleet.config
        self.ways: list[Way] = ways_of(fleet, self._upstreams)
        self.receipts.kept = fleet.config.telemetry.decisions_kept
        self._relay.limits = fleet.config.limits
        self._relay.carbon_g_per_kwh = fleet.config.carbon_g_per_kwh
        self._lanes = len(fleet.lanes)

    def reconfigure(self, fleet: LiveFleet) -> None:
        """Take over another fleet, at once and whole: requests under way end where they are."""
        now_ns = self._clock_ns()
        commands = self.core.reconfigure(fleet, now_ns)
        self._settle(fleet)
        if self.log is not None:
            self.log.reconfigured(now_ns, fleet, commands)
        for command in commands:
            self._carry_out(command)
        self._arm()

    def tell(self, event: AnyEvent) -> None:
        """Tell the machine an event now, and carry out what it answers."""
        now_ns = self._clock_ns()
        commands = self.core.handle(event, now_ns)
        if self.log is not None:
            self.log.note(now_ns, event, commands)
        for command in commands:
            self._carry_out(command)
        if self.core.next_ns < self._armed_ns:
            self._arm()

    def start(self) -> None:
        """Give the machine its first look at the time: probes begin."""
        self.tell(Timer())
        self._arm()

    def drain(self) -> None:
        """No more arrivals; what runs may end."""
        if not self.draining:
            self.draining = True
            self.tell(Drain())

    def give_up(self) -> None:
        """End every request that is still here, with an error."""
        for live in list(self.lives.values()):
            live.given_up = True
            if live.task is not None:
                live.task.cancel()

    def close(self) -> None:
        """Stop the clocks; requests under way are not touched."""
        for handle in (self._timer, self._watch):
            if handle is not None:
                handle.cancel()
        self._timer = self._watch = None
        if self.log is not None:
            self.log.close()

    def _carry_out(self, command: AnyCommand) -> None:
        """Do, or have done, what the machine wants."""
        kind = type(command)
        if kind is Probe or kind is Rest or kind is Rouse:
            self.hand(command)  # type: ignore[arg-type]
            return
        live = self.lives.get(command.request)  # type: ignore[union-attr]
        if live is None:
            return
        if kind is Cancel:
            order = live.order
            if type(order) is Send and order.attempt == command.attempt:  # type: ignore[union-attr]
                live.order = None  # it has not begun: its task has not had its turn since
            else:
                live.interrupt()
        elif kind is Close:
            live.closed = command  # type: ignore[assignment]
            live.wake()
        else:
            if kind is Send:  # numbers mean what they mean now, not after a reload
                live.target = (
                    self.ways[command.replica],  # type: ignore[union-attr]
                    self.fleet.options[command.option],  # type: ignore[union-attr]
                )
            live.order = command  # type: ignore[assignment]
            live.wake()

    def _arm(self) -> None:
        """Set the one timer to when the machine wants to be told of the time."""
        if self._timer is not None:
            self._timer.cancel()
        self._armed_ns = self.core.next_ns
        wait_s = max(0.0, (self._armed_ns - self._clock_ns()) / 1e9)
        self._timer = self._loop.call_later(min(wait_s, 3600.0), self._on_timer)

    def _on_timer(self) -> None:
        """Tell the machine of the time, unless it has since been satisfied."""
        self._armed_ns = sys.maxsize
        try:
            if self._clock_ns() >= self.core.next_ns:
                self.tell(Timer())
        except Exception as error:
            self.trouble("timer", error)
        self._arm()

    # A request

    async def serve(
        self,
        asked: Asked,
        body: bytes,
        *,
        wishes: Wishes,
        tier: int,
        client: str,
        request_id: str,
        answer_headers: Headers,
        say: Say,
        hear: Hear | None,
        fairness: int = 0,
    ) -> LiveRequest:
        """Serve one request whole: everything that is said to the client is said here.

        ``tier``: its place in the configuration. ``client``: name of its key. ``answer_headers``:
        sent with the answer, whatever it is. Raises ``RequestError`` only before anything has
        begun (a model that is not served, ...). The request's machine is told of its end in every
        case, whatever goes wrong here.
        """
        lane = self.fleet.lane(asked, tier)
        while self._lanes <= lane:
            self._add_lane(self._lanes)
        number = self._last = self._last + 1
        live = LiveRequest(
            number,
            asked,
            body,
            wishes=wishes,
            request_id=request_id,
            tier=self.config.tiers[tier].name,
            client=client,
            say=say,
            hear=hear,
            arrived_ns=self._clock_ns(),
            answer_headers=answer_headers,
        )
        live.task = asyncio.current_task(self._loop)
        self.lives[number] = live
        if hear is not None:
            self._unwatched[number] = live
            if self._watch is None:
                self._watch = self._loop.call_later(self._watch_s, self._begin_watches)
        try:
            for listener in self.listeners:
                listener.arrived(live)
            begun_s = time.perf_counter()
            self.tell(arrival(live, lane, wishes.fairness or fairness))
            took_s = time.perf_counter() - begun_s
            for listener in self.listeners:
                listener.decided(took_s)
            await self._follow(live)
        except asyncio.CancelledError:
            self._abandon(live)
            if not live.given_up:
                raise
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
            await _tell_failure(live, _SHUT_DOWN)
        except Exception as error:
            self.trouble("request", error)
            self._abandon(live, fault=True)
            await _tell_failure(live, _OUR_FAULT)
        finally:
            self._forget(live)
        return live

    def _add_lane(self, code: int) -> None:
        """Tell the machine of a kind of request that it has not met."""
        lane = self.fleet.lanes[code]
        self._lanes = code + 1
        self.tell(LaneAdded(lane=code, tier=lane.tier, allowed=list(lane.allowed)))

    async def _follow(self, live: LiveRequest) -> None:
        """Do what the machine wants of a request until it has closed it."""
        while True:
            order = live.order
            if order is None:
                if live.closed is not None:
                    return
                live.waker = self._loop.create_future()
                await live.waker
                live.waker = None
                continue
            live.order = None
            if type(order) is Send:
                await self._attempt(live, order)
            elif type(order) is Refuse:
                await refuse(live, order)
            elif type(order) is Abort:
                await _tell_failure(live, _aborted(order))

    async def _attempt(self, live: LiveRequest, order: Send) -> None:
        """Send the request to a replica; ends early where the machine gives the attempt up."""
        assert live.target is not None
        way, option = live.target
        live.parts = self.core.price_parts(live.number)
        live.attempting = True
        try:
            await self._relay.attempt(live, order, way=way, option=option)
        except asyncio.CancelledError:
            if not live.interrupted or live.given_up:
                raise
            asyncio.current_task().uncancel()  # type: ignore[union-attr]
        finally:
            live.attempting = live.interrupted = False

    def _broke(self, live: LiveRequest, cause: Cause) -> None:
        """An attempt has failed, and the machine knows."""
        for listener in self.listeners:
            listener.broke(live, cause, again=live.closed is None)

    def _abandon(self, live: LiveRequest, *, fault: bool = False) -> None:
        """Tell the machine that nobody waits for a request any more, if it does not know; or that
        the ``fault`` is ours.
        """
        if live.closed is None:
            try:
                self.tell(Left(request=live.number, fault=fault))
            except Exception as error:
                self.trouble("end", error)

    def _forget(self, live: LiveRequest) -> None:
        """The request has ended: count it, and keep nothing but its receipt."""
        number = live.number
        self.lives.pop(number, None)
        self._unwatched.pop(number, None)
        if live.watcher is not None:
            live.watcher.cancel()
            live.watcher = None
        close = live.closed
        if close is None:
            self.trouble("end", RuntimeError("a request ended without the machine's last word"))
            return
        try:
            self.receipts.add(live, close)
            for listener in self.listeners:
                listener.closed(live, close)
        except Exception as error:
            self.trouble("receipt", error)

    def trouble(self, where: str, error: BaseException) -> None:
        """Count something that went wrong inside, and have it logged."""
        self.troubles += 1
        for listener in self.listeners:
            listener.failed(where, error)

    def decision_id(self, number: int) -> bytes:
        """What clients may ask ``/v1/energy/decisions`` for."""
        return b"%b-%x" % (self.mark.encode(), number)

    # Clients that leave

    def _begin_watches(self) -> None:
        """Listen to the clients of all requests that are here for a while."""
        self._watch = None
        for live in self._unwatched.values():
            if live.hear is not None:
                live.watcher = self._loop.create_task(self._listen(live, live.hear))
        self._unwatched.clear()

    async def _listen(self, live: LiveRequest, hear: Hear) -> None:
        """Wait until the client leaves."""
        while (await hear())["type"] != "http.disconnect":
            pass
        if live.closed is None:
            try:
                self.tell(Left(request=live.number))
            except Exception as error:
                self.trouble("leave", error)
                if live.task is not None:
                    live.task.cancel()


def arrival(live: LiveRequest, lane: int, fairness: int) -> Arrived:
    """The event of a request's arrival; its prompt's length is estimated from its characters."""
    asked, wishes = live.asked, live.wishes
    most_tokens = math.inf if asked.max_tokens is None else asked.max_tokens * asked.choices
    return Arrived(
        request=live.number,
        lane=lane,
        input_tokens=estimated_tokens(asked),
        cap_tokens=max(1.0, most_tokens),
        ttft_s=wishes.ttft_s,
        tpot_s=wishes.tpot_s,
        session=wishes.session,
        fairness=fairness,
        stream=asked.stream,
    )


def estimated_tokens(asked: Asked) -> float:
    """Prompt tokens: those given as ids, or about one for four characters; images and audio at a
    flat rate.
    """
    tokens = asked.characters / TOKEN_CHARACTERS + (asked.prompt_tokens or 0)
    if asked.images or asked.audios:
        tokens += asked.images * IMAGE_TOKENS + asked.audios * AUDIO_TOKENS
    return max(1.0, tokens)


_OUR_FAULT = RequestError(500, "the gateway failed; the request id finds it in its log")
_SHUT_DOWN = RequestError(503, "the gateway shuts down", code="draining", retry_after_s=1.0)


def _aborted(order: Abort) -> RequestError:
    return RequestError(502, order.message, code=order.reason)


async def refuse(live: LiveRequest, order: Refuse) -> None:
    """Answer with an error: the engine's own words where it refused the request itself."""
    if order.reason == "rejected" and live.words is not None:
        status, kind, body = live.words
        headers = [*live.answer_headers, (b"content-type", kind)]
        await say_whole(live.say, status, headers, body)
        live.begun = True
        return
    wait_s = order.retry_after_s
    error = RequestError(
        order.status,
        order.message,
        code=order.reason,
        retry_after_s=None if math.isnan(wait_s) else wait_s,
    )
    dropped = DROPPED.get(order.reason)
    if dropped is not None:
        live.answer_headers.append((b"x-llm-d-request-dropped-reason", dropped))
    live.begun = True
    await say_error(live.say, error, live.answer_headers)


async def _tell_failure(live: LiveRequest, error: RequestError) -> None:
    """End what the client gets with an error: as the answer, or as the stream's last event."""
    if not live.begun:
        live.begun = True
        await say_error(live.say, error, live.answer_headers)
    elif live.asked.stream:
        await live.say({"type": "http.response.body", "body": error.event(), "more_body": False})


async def say_error(say: Say, error: RequestError, headers: Headers) -> None:
    """An error answer."""
    more = [*headers, *error.headers, (b"content-type", b"application/json")]
    await say_whole(say, error.status, more, error.body())


async def say_whole(say: Say, status: int, headers: Headers, body: bytes) -> None:
    """An answer that is here whole."""
    headers.append((b"content-length", b"%d" % len(body)))
    await say({"type": "http.response.start", "status": status, "headers": headers})
    await say({"type": "http.response.body", "body": body})
