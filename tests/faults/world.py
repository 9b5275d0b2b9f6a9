"""A world in virtual time: clients, engines that fail in every way, a clock that jumps, and one
state machine in the middle.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tests.faults.books import check_core, check_idle
from tests.faults.engines import Engine, Script, script
from tests.faults.fleets import ASKED, random_fleet
from tests.faults.laws import Broken, Laws

from baseload.gateway import events
from baseload.gateway.core import Core
from baseload.gateway.live_fleet import LiveFleet

_NS = 1_000_000_000
_KEPT = 80
_PROMPTS = (1.0, 60.0, 300.0, 900.0, 1900.0, 5000.0)


class Tally(NamedTuple):
    """What became of a world: requests, events told, ends by reason, joules."""

    requests: int
    events: int
    ended: dict[str, int]
    energy_j: float
    wasted_j: float


class Attempt:
    """One attempt at an engine."""

    __slots__ = ("engine", "number", "over", "place", "request", "script")

    def __init__(self, command: events.Send, engine: Engine, found: Script) -> None:
        self.request, self.number = command.request, command.attempt
        self.engine, self.script = engine, found
        self.place, self.over = 0, False


class World:
    """One seed's world. ``note`` is shown each event with its commands, ``noted`` each change of
    configuration. ``run`` raises ``Broken`` where a law does not hold.
    """

    def __init__(
        self,
        seed: int,
        *,
        requests: int = 100,
        core_of: Callable[..., Core] = Core,
        note: Callable[[int, events.AnyEvent, Sequence[Any]], None] | None = None,
        noted: Callable[[LiveFleet, int, Sequence[Any]], None] | None = None,
    ) -> None:
        self.draw = draw = random.Random(seed)
        self.seed, self.requests = seed, requests
        self.note, self.noted = note, noted
        self.live = random_fleet(draw)
        self.start_ns = self.now_ns = self.clock_ns = self.leapt_ns = draw.choice(
            (0, 7, 10**9, 1_234_567_890_123_456)
        )
        self.core = core_of(self.live, self.now_ns, kept=draw.choice((1, 16, 256)))
        self.laws = Laws(self.live.config)
        self.engines: dict[str, Engine] = {}
        self.eras: dict[str, int] = {}
        self.attempts: dict[int, Attempt] = {}
        self.recent: deque[tuple[int, Any, Any]] = deque(maxlen=_KEPT)
        self.told = self.arrived = 0
        self.lanes = 0
        self.arriving: dict[int, tuple[int, float]] = {}  # lane and tokens of who is just coming
        self.drained = False
        self._heap: list[tuple[int, int, Callable[..., None], Any]] = []
        self._order = 0
        self._settle()
        self.restless = draw.choice((0.0, 0.1, 0.3, 1.0))  # how often engines change
        self.rate = draw.choice((5.0, 20.0, 20.0, 100.0, 1000.0))
        self.fickle = draw.choice((0.0, 0.05, 0.3, 0.6))
        self.lag = draw.choice((0.0, 0.02))
        self._begin()

    def _begin(self) -> None:
        """What will happen by itself."""
        draw = self.draw
        self._soon(0.0, self._arrive)
        self._soon(draw.random(), self._sample)
        self._soon(draw.random(), self._look)
        if self.restless:
            self._soon(draw.expovariate(self.restless), self._turn)
        if draw.random() < 0.3:
            self._soon(draw.random(), self._others)
        span_s = self.requests / self.rate
        if draw.random() < 0.15:
            self._soon(span_s * draw.random(), self._drain)
        for _ in range(draw.choice((0, 0, 0, 1, 3))):
            self._soon(span_s * draw.random(), self._reload)
        if draw.random() < 0.2:
            self._soon(span_s * draw.random(), self._jump)

    def _settle(self) -> None:
        """Know the engines of the present configuration."""
        self.urls = [one.url for one in self.live.replicas]
        for url in self.urls:
            if url not in self.engines:
                engine = self.engines[url] = Engine(url, self.draw)
                if self.draw.random() < 0.2:
                    engine.turn()

    def url(self, replica: int) -> tuple[str, int]:
        """A replica of the present configuration, as laws know it."""
        url = self.urls[replica]
        return url, self.eras.get(url, 0)

    # Time

    def _soon(self, after_s: float, act: Callable[..., None], what: Any = None) -> None:
        """``act(what)`` in a while."""
        self._order += 1
        at_ns = self.now_ns + int(after_s * _NS)
        heapq.heappush(self._heap, (at_ns, self._order, act, what))

    def run(self) -> Tally:
        """Let the world go until all requests have come and ended."""
        try:
            while self.arrived < self.requests or self.laws.trips:
                timer_ns = self.core.next_ns
                if timer_ns <= self._heap[0][0]:
                    self.now_ns = max(self.now_ns, timer_ns)
                    if self.lag:
                        self.now_ns += self.draw.randrange(20_000_000)
                    self.tell(events.Timer())
                    continue
                at_ns, _, act, what = heapq.heappop(self._heap)
                self.now_ns = max(self.now_ns, at_ns)
                act(what)
            self.now_ns += 5 * _NS
            self.tell(events.Timer())
            check_idle(self.core, self.laws.energy_j, self.now_ns)
        except Broken as error:
            raise Broken(f"{error}\n{self.replay_with()}") from error
        laws = self.laws
        return Tally(self.arrived, self.told, laws.ended, laws.energy_j, laws.wasted_j)

    def replay_with(self) -> str:
        """The command that runs this world again."""
        more = "" if self.requests == 100 else f" --requests {self.requests}"
        return f"python -m tests.faults --seed {self.seed}{more} --trace"

    def tell(self, event: events.AnyEvent, *, replica: int = -1) -> None:
        """Tell the machine an event, and do what it says."""
        reading_ns = self.now_ns
        if self.lag and self.draw.random() < self.lag:
            reading_ns -= self.draw.choice((1, 10_000_000, 3 * _NS))
        self.clock_ns = max(self.clock_ns, reading_ns)  # as the machine takes it
        self.laws.told(event, self.clock_ns, self.url(replica) if replica >= 0 else ("", 0))
        commands = self.core.handle(event, reading_ns)
        self.told += 1
        if self.note is not None:
            self.note(reading_ns, event, commands)
        self.recent.append((self.now_ns, event, commands))
        for command in commands:
            self._obey(command)
        open_now = len(self.core.lives)
        if open_now != len(self.laws.trips):
            raise Broken(f"{open_now} requests in the machine, {len(self.laws.trips)} outside")

    def _obey(self, command: Any) -> None:
        """Do what the machine says."""
        kind, laws = type(command), self.laws
        if kind is events.Send:
            self._send(command)
        elif kind is events.Cancel:
            laws.cancelled(command, self.clock_ns)
            attempt = self.attempts[command.request]
            self._over(attempt)
            if attempt.place < len(attempt.script.steps) and self.draw.random() < 0.2:
                self._soon(self.draw.random(), self._late, attempt.script.steps[attempt.place][1])
        elif kind is events.Close:
            laws.close(command)
            self.attempts.pop(command.request, None)
        elif kind is events.Refuse:
            laws.refused(command)
            if command.reason == "saturated" and command.request in self.arriving:
                self._check_full(*self.arriving[command.request])
        elif kind is events.Abort:
            laws.aborted(command)
        elif kind is events.Probe:
            self._soon(self.draw.choice((0.001, 0.1, 2.0)), self._probed, command.replica)
        else:
            self._soon(self.draw.choice((0.1, 3.0)), self._woken, command)

    # Clients

    def _arrive(self, _: None) -> None:
        """One client comes, or several at once."""
        draw = self.draw
        for _ in range(1 if draw.random() < 0.9 else draw.randrange(2, 12)):
            if self.arrived < self.requests:
                self._one_arrives()
        if self.arrived < self.requests:
            self._soon(draw.expovariate(self.rate), self._arrive)

    def _one_arrives(self) -> None:
        draw, live = self.draw, self.live
        able = [one for one in ASKED if one.model in live.models or one.model == "auto"]
        asked = draw.choice([one for one in able if not one.images or "large" in live.models])
        if asked.model == "auto" and not live.aliases["auto"]:
            asked = next(one for one in able if one.model != "auto")
        lane = live.lane(asked, draw.randrange(len(live.tiers)))
        while self.lanes <= lane:
            found = live.lanes[self.lanes]
            added = events.LaneAdded(lane=self.lanes, tier=found.tier, allowed=list(found.allowed))
            self.lanes += 1
            self.tell(added)
        self.arrived += 1
        request = self.arrived
        own = draw.random() < 0.1
        input_tokens = draw.choices(_PROMPTS, (2, 6, 6, 4, 2, 1))[0]
        self.arriving = {request: (lane, input_tokens)}
        self.tell(
            events.Arrived(
                request=request,
                lane=lane,
                input_tokens=input_tokens,
                cap_tokens=draw.choice((math.inf, math.inf, 1.0, 64.0)),
                ttft_s=draw.choice((0.0, 0.3, 30.0)) if own else math.nan,
                tpot_s=0.05 if own else math.nan,
                e2e_s=draw.choice((0.0, 2.0, 60.0)) if own else math.nan,
                session=draw.choice((0, 0, 1, 2, 3)),
                fairness=draw.randrange(4),
                priority=draw.choice((0, 0, 0, 1, -2)),
                stream=draw.random() < 0.6,
            )
        )
        self.arriving = {}
        self._check_end(request)
        if draw.random() < self.fickle:
            self._soon(draw.expovariate(1.0), self._leave, request)

    def _leave(self, request: int) -> None:
        self.tell(events.Left(request=request))
        if self.draw.random() < 0.1:
            self._soon(0.5, self._leave, request)

    # Engines

    def _send(self, command: events.Send) -> None:
        trip = self.laws.sent(command, self.clock_ns, self.url(command.replica))
        engine = self.engines[self.urls[command.replica]]
        engine.count += 1
        found = script(self.draw, engine, command, trip.stream)
        attempt = self.attempts[command.request] = Attempt(command, engine, found)
        if found.steps:
            self._soon(found.steps[0][0], self._step, attempt)
        self._check_attempt((command.request, command.attempt))

    def _over(self, attempt: Attempt) -> None:
        attempt.over = True
        attempt.engine.count -= 1

    def _step(self, attempt: Attempt) -> None:
        """The next thing happens to an attempt."""
        if attempt.over:
            return
        steps = attempt.script.steps
        event = steps[attempt.place][1]
        attempt.place += 1
        last = type(event) in (events.Ended, events.Broke)
        if last:
            self._over(attempt)
        elif attempt.place < len(steps):
            self._soon(steps[attempt.place][0], self._step, attempt)
        self.tell(event)
        if last and self.draw.random() < 0.1:
            self._soon(self.draw.random(), self._late, event)

    def _late(self, event: Any) -> None:
        """An event of an attempt that is over comes once more."""
        attempt = self.attempts.get(event.request)
        if attempt is None or attempt.number != event.attempt or attempt.over:
            self.tell(event)

    def _turn(self, _: None) -> None:
        """An engine begins to behave in another way."""
        engine = self.engines[self.draw.choice(self.urls)]
        engine.turn()
        if engine.mode == "dead":
            for attempt in list(self.attempts.values()):
                if attempt.engine is engine and not attempt.over:
                    began = attempt.place > 0
                    attempt.script = Script([])
                    self._over(attempt)
                    cause: events.Cause = "closed" if began else "connect"
                    self.tell(
                        events.Broke(request=attempt.request, attempt=attempt.number, cause=cause)
                    )
        self._soon(self.draw.expovariate(self.restless), self._turn)

    def _probed(self, replica: int) -> None:
        if replica < len(self.urls):
            self.tell(self.engines[self.urls[replica]].probed(replica), replica=replica)

    def _woken(self, command: events.Rest | events.Rouse) -> None:
        if command.replica >= len(self.urls):
            return
        awake = type(command) is events.Rouse
        done = self.draw.random() < 0.9
        if done:
            self.engines[self.urls[command.replica]].sleeps = not awake
        woken = events.Woken(replica=command.replica, awake=awake, done=done)
        self.tell(woken, replica=command.replica)

    def _sample(self, _: None) -> None:
        for replica, url in enumerate(self.urls):
            if self.draw.random() < 0.5:
                self.tell(self.engines[url].sampled(replica), replica=replica)
        self._soon(self.live.config.health.metrics_s, self._sample)

    def _others(self, _: None) -> None:
        """Other workers have some requests there."""
        draw, count = self.draw, len(self.urls)
        if draw.random() < 0.05:
            count += 1
        numbers = [draw.choice((0, 0, 1, 3, 200)) for _ in range(count)]
        self.tell(events.Others(in_flight=numbers, tokens=[500 * one for one in numbers]))
        self._soon(draw.expovariate(5.0), self._others)

    # The gateway itself

    def _drain(self, _: None) -> None:
        self.tell(events.Drain())

    def _reload(self, _: None) -> None:
        """Another configuration, with some of the same replicas, tiers and models."""
        before = set(self.urls)
        self.live = random_fleet(self.draw)
        self.clock_ns = self.now_ns
        commands = self.core.reconfigure(self.live, self.now_ns)
        self.lanes = len(self.live.lanes)
        self.laws.configured(self.live.config)
        self.laws.told(events.Timer(), self.now_ns, ("", 0))
        self._settle()
        for url in before - set(self.urls):
            self.eras[url] = self.eras.get(url, 0) + 1
        if self.noted is not None:
            self.noted(self.live, self.now_ns, commands)
        self.recent.append((self.now_ns, self.live.config, commands))
        for command in commands:
            self._obey(command)
        check_core(self.core)

    def _jump(self, _: None) -> None:
        """The process was stopped for a while."""
        self.now_ns += self.draw.choice((1, 30, 600)) * _NS
        self.leapt_ns = self.now_ns

    # Looking on

    def _look(self, _: None) -> None:
        check_core(self.core)
        self._soon(self.draw.choice((0.05, 0.5, 2.0)), self._look)

    def _check_attempt(self, who: tuple[int, int]) -> None:
        """Nobody may hang longer than it may."""
        due_ns = self.laws.overdue_ns(*who)
        if not due_ns:
            return
        if self._is_late(due_ns):
            raise Broken(f"request {who[0]}, attempt {who[1]}: no time-out came")
        self._soon(max(0.05, (due_ns - self.now_ns) / _NS + 1e-6), self._check_attempt, who)

    def _check_end(self, request: int) -> None:
        """Nobody may wait forever."""
        due_ns = self.laws.end_ns(request)
        if not due_ns:
            return
        if self._is_late(due_ns):
            raise Broken(f"request {request} never ended")
        self._soon(max(0.05, (due_ns - self.now_ns) / _NS + 1e-6), self._check_end, request)

    def _check_full(self, lane: int, input_tokens: float) -> None:
        """Nobody may be told that the fleet is full while an able replica has nothing to do."""
        live, replicas = self.live, self.core.replicas
        models = {live.options[place].model.name for place in live.lanes[lane].allowed}
        busy = {trip.url for trip in self.laws.trips.values() if trip.present >= 0}
        for one in live.replicas:
            idle = self.url(one.number) not in busy and not replicas.state.in_flight[one.number]
            able = replicas.able(one.number, self.clock_ns)
            fits = input_tokens <= replicas.state.limits.max_input_tokens[one.kind]
            if one.entry.model in models and idle and able and fits:
                raise Broken(f"the fleet was called full while replica {one.number} was idle")

    def _is_late(self, due_ns: int) -> bool:
        """Whether an instant is over, and the machine has had its timer since."""
        due_ns = max(due_ns, self.leapt_ns + 200_000_000)
        return self.now_ns > due_ns and self.core.next_ns > self.now_ns
