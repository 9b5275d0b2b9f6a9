"""The replicas as the state machine keeps them: routing's state and its decisions, who is able to
serve, what engines say of themselves, how fast they really are. No I/O, no clock.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from baseload.gateway import decision, live_kernels
from baseload.gateway.config import READS_PER_S
from baseload.gateway.decision import OWN_J, PENDING, SATURATED, SHARED_J, STEPS, TOKENS
from baseload.gateway.events import (
    AnyCommand,
    Ended,
    Led,
    Others,
    Probe,
    Probed,
    Reason,
    Sampled,
    Woken,
)
from baseload.gateway.explain import Note
from baseload.gateway.life import Life
from baseload.gateway.live_fleet import Lane, LiveFleet
from baseload.gateway.replica_health import ReplicaHealth
from baseload.gateway.waiting import NEVER_NS
from baseload.routing.fleet_state import close_replica, open_replica
from baseload.routing.price import request_row

Floats = NDArray[np.float64]

_NS = 1_000_000_000
_CORRECTED_S = 5.0
_PACE_GAIN = 0.02
_PACE_BOUNDS = (0.5, 2.0)
_FEWEST_STEPS = 16
_J_PER_KWH = 3.6e6
_PROBES_PER_S, _PROBE_TURN_S = 16.0, 0.25
_MOST_SAID = 1e6  # requests that an engine may say it has; what is more is no count
_TRIED_BYTES = 16 * 1024 * 1024  # most that the candidates of remembered decisions may take
_NO_SESSION = (-1, 0.0)
_MOST_SESSIONS = 65_536


class Replicas:
    """All replicas of a fleet, idle and able at ``now_ns``. ``kept``: decisions that are
    remembered, fewer where there are very many candidates. ``leads``: probes replicas and listens
    to their engines; else another process does.
    """

    def __init__(self, live: LiveFleet, now_ns: int, *, kept: int, leads: bool = True) -> None:
        count = len(live.replicas)
        row_bytes = 16 * len(live.kinds) * len(live.options)
        kept = max(1, min(kept, _TRIED_BYTES // row_bytes))
        self.live, self.start_ns, self.kept = live, now_ns, kept
        self.state = live.state()
        self.policy = live.policy_state(self.state)
        self.book = decision.book(self.state, options=len(live.options), kept=kept)
        if live.config.carbon_g_per_kwh is not None:
            self.book.grid[0] = live.config.carbon_g_per_kwh / _J_PER_KWH
        self.health = [ReplicaHealth() for _ in range(count)]
        self._kind_of: list[int] = self.state.type_of.tolist()
        self._kv_tokens: list[int] = self.state.limits.kv_tokens.tolist()
        self.sessions: OrderedDict[int, tuple[int, float]] = OrderedDict()
        """By session: its last replica, and the tokens that it knows."""
        self.wanted = np.ones(count, dtype=bool)  # by the slow controller
        self.others = np.zeros((2, count), dtype=np.int64)  # requests and tokens of other workers
        self.foreign = np.zeros(count, dtype=np.int64)  # requests that nobody here has sent
        self._last_extra = np.full(count, -1, dtype=np.int64)
        self.decisions = 0
        self.owners = np.full(kept, -1, dtype=np.int64)  # whose decision stands in which slot
        self.notes: list[Note | None] = [None] * kept
        self.past_j = self.past_idle_j = 0.0  # beside what the books say: of fleets before this one
        self.known_lanes = 0
        while self.known_lanes < len(live.lanes):
            self.add_lane(self.known_lanes)
        scratch = request_row(input_tokens=1, output_tokens=1)
        self._live = live_kernels.live_state(self.state, self.policy, self.book, scratch)
        self._trials: list[tuple[int, int]] = []  # when a breaker lets one through, whose
        self._probe_ns, self._probe_turn = now_ns if leads else NEVER_NS, -1
        self._correct_ns = now_ns + int(_CORRECTED_S * _NS)
        self._look_ahead()

    def seconds(self, now_ns: int) -> float:
        """An instant on the fleet's clock [s]."""
        return (now_ns - self.start_ns) / _NS

    def add_lane(self, code: int, lane: Lane | None = None) -> None:
        """Write the next lane into the policy's options; ``lane``: what it is, where a log is
        replayed and nobody else has found it.
        """
        assert code == self.known_lanes, "lanes are told of in their order"
        if lane is not None and code == len(self.live.lanes):
            self.live.lanes.append(lane)
        self.live.fill(self.policy, code)
        self.known_lanes += 1

    # Requests

    def route(self, life: Life, patience_s: float, now_ns: int) -> bool:
        """Decide on a request, and book it where it goes, which ``life`` then says; ``False``:
        nobody takes it with a wait for a seat of at most ``patience_s``.
        """
        state = self.state
        shut = [one for one in life.excluded if state.open[one]]
        favourite, known_tokens = self.sessions.get(life.session, _NO_SESSION)
        for replica in shut:
            close_replica(state, replica)
        slot = self.decisions % self.kept
        option, replica = live_kernels.route(
            self._live,
            slot,
            life.lane,
            life.tier,
            life.input_tokens,
            life.cap_tokens,
            life.ttft_s,
            life.tpot_s,
            life.e2e_s,
            (now_ns - life.arrived_ns) / _NS,
            patience_s,
            favourite,
            known_tokens,
            self.seconds(now_ns),
        )
        for one in shut:
            open_replica(state, one)
        if replica < 0:
            if replica == SATURATED:  # it has written over what stood there
                self.owners[slot] = -1
            return False
        self.decisions += 1
        self.owners[slot] = life.request
        health = self.health[replica]
        self.notes[slot] = Note(
            life.request,
            life.attempt + 1,
            life.lane,
            life.tier,
            option,
            replica,
            now_ns,
            health.heard_ns,
            health.sampled_ns,
            float(self.policy.lateness_weight[life.tier]),
            life.excluded,
            replica == favourite,
        )
        said = self.book.said[slot].tolist()
        life.slot, life.option, life.replica, life.home = slot, option, replica, self
        life.tokens, life.pending = int(said[TOKENS]), int(said[PENDING])
        life.shared_j, life.own_j, life.first_steps = said[SHARED_J], said[OWN_J], said[STEPS]
        health.sent(life.request)
        if health.trial >= 0:
            close_replica(state, replica)
        return True

    def begin(self, life: Life, now_ns: int) -> None:
        """The first token of a request is out."""
        life.first_steps = live_kernels.begin(
            self._live, life.replica, life.pending, self.seconds(now_ns)
        )
        life.pending = 0

    def leave(
        self,
        life: Life,
        inputs: float,
        outputs: float,
        now_ns: int,
        *,
        cached: float = 0.0,
        whole: bool = False,
        cut: bool = False,
    ) -> float:
        """An attempt ends: take it off its replica's books; gives its joules. ``cached``: of the
        ``inputs``, those that the engine did not have to read. A ``whole`` answer, or one that was
        ``cut`` by a limit, is learned from: its lengths, and how fast its replica really is.
        """
        option = self.live.options[life.option]
        learns = whole and life.option >= 0 and outputs > 0.0
        learns = learns and option.model.endpoints != ("embeddings",)
        joules = live_kernels.end(
            self._live,
            life.replica,
            life.tokens,
            life.pending,
            life.input_tokens,
            inputs,
            max(0.0, inputs - cached),
            outputs,
            life.shared_j,
            life.own_j,
            life.lane if learns else -1,
            outputs / option.tokens_factor,
            cut,
            self.seconds(now_ns),
        )
        life.pending = 0
        if learns and life.first_ns >= 0 and outputs > _FEWEST_STEPS:
            self._learn_pace(life, outputs)
        return joules

    def believed(self, life: Life, event: Ended) -> tuple[float, float]:
        """Input tokens of an answer that has ended, and how many of them the engine had cached; its
        output tokens become ``life.written``.

        The engine's own counts, as far as they can be true: no more than its memory holds, and not
        fewer than half of the tokens that were seen going by.
        """
        most = self._kv_tokens[self._kind_of[life.replica]]
        outputs, inputs = event.output_tokens, life.input_tokens
        if outputs >= 0 and 2 * outputs >= life.written:
            life.written = max(life.written, min(outputs, most)) if outputs > most else outputs
        if event.input_tokens > 0:
            inputs = max(inputs, most) if event.input_tokens > most else float(event.input_tokens)
        return inputs, min(inputs, max(0.0, event.cached_tokens))

    def _learn_pace(self, life: Life, outputs: float) -> None:
        """How fast a type of replica really is: steps that it would have made by the model, over
        tokens that came while a stream was flowing.
        """
        made = float(self.book.steps[life.replica]) - life.first_steps
        if not made > 0.0:
            return
        kind = self._kind_of[life.replica]
        low, high = _PACE_BOUNDS
        pace = float(self.book.pace[kind])
        pace += _PACE_GAIN * (min(2.0 * high, made / (outputs - 1.0)) - pace)
        self.book.pace[kind] = min(high, max(low, pace))

    def remember(self, life: Life, tokens: float) -> None:
        """The session of an answer would find ``tokens`` of its next prompt at the same replica.
        The oldest sessions are forgotten.
        """
        if life.session == 0:
            return
        self.sessions[life.session] = (life.replica, tokens)
        self.sessions.move_to_end(life.session)
        if len(self.sessions) > _MOST_SESSIONS:
            self.sessions.popitem(last=False)

    def why_not(self, life: Life, now_ns: int) -> Reason:
        """Why nobody takes a request. Replicas that rest are opened, if no other would do, and
        those whose breaker's pause is over before the tick that tells of it.
        """
        options = self.live.options
        models = {options[place].model.name for place in self.live.lanes[life.lane].allowed}
        kinds = [kind for kind, one in enumerate(self.live.config.replicas) if one.model in models]
        fitting = {
            kind for kind in kinds if life.input_tokens <= self.state.limits[kind].max_input_tokens
        }
        if kinds and not fitting:
            return "too_long"
        able = [
            one.number
            for one in self.live.replicas
            if one.kind in fitting
            and one.number not in life.excluded
            and self.able(one.number, now_ns)
        ]
        for replica in able:
            if not self.state.open[replica]:
                self.wanted[replica] = True
                self.bring_in_line(replica, now_ns)
        return "saturated" if able else "no_replica"

    def sleeper(self, life: Life) -> int:
        """A replica that would take a request if it were awake, and may be woken; -1 for none."""
        options = self.live.options
        models = {options[place].model.name for place in self.live.lanes[life.lane].allowed}
        for one in self.live.replicas:
            health = self.health[one.number]
            if health.awake or not one.entry.sleep or one.entry.model not in models:
                continue
            longest = self.state.limits[one.kind].max_input_tokens
            if health.healthy(self.live.config.health) and life.input_tokens <= longest:
                return one.number
        return -1

    def drawn_j(self, now_ns: int) -> float:
        """Joules drawn up to now, modelled: of this process's requests, and of idle replicas."""
        return self.past_j + float(decision.read(self.state, self.book, self.seconds(now_ns)))

    def idle_j(self, now_ns: int) -> float:
        """Joules of it that replicas drew with nothing in flight."""
        decision.read(self.state, self.book, self.seconds(now_ns))
        return self.past_idle_j + float(self.book.idle_j.sum())

    # Who is able

    def able(self, replica: int, now_ns: int) -> bool:
        """Whether a replica could be sent a request now."""
        return self.health[replica].able(self.live.config.health, now_ns)

    def ready(self, now_ns: int) -> bool:
        """Whether any replica could."""
        return any(self.able(replica, now_ns) for replica in range(len(self.health)))

    def heard(self, life: Life, now_ns: int, *, ended: bool) -> None:
        """Something of an answer has come, or all of it."""
        health = self.health[life.replica]
        if health.until_ns < 0 and not health.failures and not health.probe_failures:
            health.heard_ns = now_ns
            return
        if ended:
            health.worked(life.request, now_ns)
        else:
            health.began(life.request, now_ns)
        self.bring_in_line(life.replica, now_ns)

    def alive(self, life: Life, now_ns: int) -> None:
        """A replica has said that it will answer."""
        health = self.health[life.replica]
        was_out = health.probe_failures > 0
        health.heard(now_ns)
        if was_out:
            self.bring_in_line(life.replica, now_ns)

    def failed(self, life: Life, now_ns: int, *, again_s: float) -> None:
        """An attempt has failed; its replica asked to be left alone for ``again_s``."""
        breaker = self.live.config.breaker
        self.health[life.replica].failed(life.request, breaker, now_ns, again_s=again_s)
        self.bring_in_line(life.replica, now_ns)

    def gave_up(self, life: Life, now_ns: int) -> None:
        """An attempt has ended without telling anything about its replica."""
        self.health[life.replica].gave_up(life.request)
        self.bring_in_line(life.replica, now_ns)

    def bring_in_line(self, replica: int, now_ns: int) -> None:
        """Open a replica or close it, by what is wanted and what it is able to."""
        health = self.health[replica]
        if self.wanted[replica] and health.able(self.live.config.health, now_ns):
            open_replica(self.state, replica)
            return
        close_replica(self.state, replica)
        due = health.next_ns(now_ns)
        if due < NEVER_NS:
            heapq.heappush(self._trials, (due, replica))
            self._look_ahead()

    def probed(self, event: Probed, now_ns: int) -> None:
        """A probe came back."""
        if event.replica >= len(self.health):
            return
        health = self.health[event.replica]
        health.probed(event.healthy, now_ns)
        if event.healthy and event.asleep is not None and health.awake == event.asleep:
            self._asleep(event.replica, event.asleep, now_ns)
        self.bring_in_line(event.replica, now_ns)

    def woken(self, event: Woken, now_ns: int) -> None:
        """A replica has gone to sleep, or has woken."""
        if event.replica >= len(self.health) or not event.done:
            return
        self._asleep(event.replica, not event.awake, now_ns)
        self.bring_in_line(event.replica, now_ns)

    def _asleep(self, replica: int, asleep: bool, now_ns: int) -> None:
        decision.meter(self.state, self.book, replica, self.seconds(now_ns))
        if not asleep and self.book.state[replica] == decision.ASLEEP:
            cost = self.book.base_cost[self._kind_of[replica]]
            self.book.idle_j[replica] += cost.wake_j_from_parked
        self.book.state[replica] = decision.ASLEEP if asleep else decision.AWAKE
        self.health[replica].awake = not asleep

    # What others say

    def sampled(self, event: Sampled, now_ns: int) -> None:
        """What an engine has beside what was sent from here: others use it too, or it still runs
        what was given up. Only what two samples in a row agree on is believed: between a count and
        a sample things move.
        """
        replica = event.replica
        if replica >= len(self.health):
            return
        self.health[replica].sampled_ns = now_ns
        if not 0.0 <= event.running <= _MOST_SAID:
            return
        most = int(self.state.limits[self.state.type_of[replica]].max_in_flight)
        ours = int(self.book.own[replica] + self.others[0, replica])
        waiting = event.waiting if 0.0 <= event.waiting <= _MOST_SAID else 0.0
        extra = min(most, max(0, round(event.running + waiting) - ours))
        last = int(self._last_extra[replica])
        self._last_extra[replica] = extra
        agreed = min(extra, last) if last >= 0 else 0
        if agreed != self.foreign[replica]:
            self.foreign[replica] = agreed
            self._load(replica, now_ns)

    def others_have(self, event: Others, now_ns: int) -> None:
        """What other worker processes have at each replica."""
        if len(event.in_flight) != len(self.health):
            return
        told = np.maximum(np.array([event.in_flight, event.tokens], dtype=np.int64), 0)
        changed = np.flatnonzero((told != self.others).any(axis=0))
        self.others = told
        for replica in changed.tolist():
            self._load(replica, now_ns)

    def led(self, event: Led, now_ns: int) -> None:
        """What the worker that leads has found and decided."""
        policy, joules = self.policy, self.policy.joules
        if (
            len(event.wanted) != len(self.health)
            or len(event.weight) != len(policy.lateness_weight)
            or len(event.forecast_batch) != len(self.state.limits)
        ):
            return  # of another configuration: this process will have it in a moment, or had it
        policy.lateness_weight[:] = event.weight
        policy.hold[:] = event.hold
        policy.promise_frac[0] = event.promise_frac
        self.state.limits.forecast_batch[:] = event.forecast_batch
        if event.curve and joules.factor.shape[2] == len(event.curve):
            joules.factor[:] = event.curve
            joules.position[:] = event.position
        for replica, health in enumerate(self.health):
            self.wanted[replica] = bool(event.wanted[replica])
            failures = 0 if event.healthy[replica] else self.live.config.health.failures
            if bool(event.awake[replica]) != health.awake:
                self._asleep(replica, not event.awake[replica], now_ns)
            health.probe_failures = failures
            self.bring_in_line(replica, now_ns)
            if event.foreign[replica] != self.foreign[replica]:
                self.foreign[replica] = event.foreign[replica]
                self._load(replica, now_ns)

    def leading(self) -> Led:
        """What this process, if it leads, tells those that follow."""
        health, policy, joules = self.live.config.health, self.policy, self.policy.joules
        looks = joules.factor.shape[2] > 0
        return Led(
            wanted=self.wanted.astype(int).tolist(),
            healthy=[int(one.healthy(health)) for one in self.health],
            awake=[int(one.awake) for one in self.health],
            foreign=self.foreign.tolist(),
            weight=policy.lateness_weight.tolist(),
            hold=policy.hold.tolist(),
            forecast_batch=self.state.limits.forecast_batch.tolist(),
            promise_frac=float(policy.promise_frac[0]),
            curve=self._curve().tolist() if looks else [],
            position=joules.position.tolist() if looks else [],
        )

    def _curve(self) -> Floats:
        """The factor on the price of a joule over the store's level, a mean over what was picked
        lately: lanes have numbers of their own in each process.
        """
        joules = self.policy.joules
        weight = joules.taken * joules.joules
        if not weight.any():
            weight = np.zeros_like(joules.joules)
            for code, lane in enumerate(self.live.lanes):
                weight[code, list(lane.allowed)] = 1.0
        total = float(weight.sum())
        if total <= 0.0:
            return np.ones(joules.factor.shape[2])
        mean: Floats = np.tensordot(weight / total, joules.factor, axes=2)
        return mean

    def _load(self, replica: int, now_ns: int) -> None:
        """Bring a replica's counts in line with what all say that it has."""
        book, traffic = self.book, self.state.traffic[0]
        foreign = int(self.foreign[replica])
        each = int(traffic.input_tokens + traffic.output_tokens)
        decision.load(
            self.state,
            book,
            replica,
            int(book.own[replica] + self.others[0, replica]) + foreign,
            int(book.own_tokens[replica] + self.others[1, replica]) + foreign * each,
            self.seconds(now_ns),
        )

    def _forget_old_samples(self, now_ns: int) -> None:
        """What an engine said long ago is no longer counted."""
        period_s = max(1.0, self.live.config.health.metrics_s, len(self.health) / READS_PER_S)
        old_ns = now_ns - int(10.0 * period_s * _NS)
        for replica in np.flatnonzero(self.foreign).tolist():
            if self.health[replica].sampled_ns < old_ns:
                self.foreign[replica] = 0
                self._load(replica, now_ns)

    # Time

    def _look_ahead(self) -> None:
        """Set ``next_ns``, when ``tick`` has something to do."""
        first = min(self._probe_ns, self._correct_ns)
        self.next_ns = min(first, self._trials[0][0]) if self._trials else first

    def tick(self, now_ns: int, commands: list[AnyCommand]) -> None:
        """Do what is due: breakers let one through, probes go out, costs follow what was seen."""
        while self._trials and self._trials[0][0] <= now_ns:
            self.bring_in_line(heapq.heappop(self._trials)[1], now_ns)
        if now_ns >= self._probe_ns:
            self._probe(now_ns, commands)
        if now_ns >= self._correct_ns:
            self._correct_ns = now_ns + int(_CORRECTED_S * _NS)
            self._forget_old_samples(now_ns)
            for kind in range(len(self.book.pace)):
                decision.correct(self.state, self.book, kind)
        self._look_ahead()

    def _probe(self, now_ns: int, commands: list[AnyCommand]) -> None:
        """Probe the next replicas in turn, so that probes do not come in bursts; all at first.
        Those that have just answered something need none. A large fleet is probed less often: at
        most ``_PROBES_PER_S`` in all.
        """
        count = len(self.health)
        period_s = max(self.live.config.health.period_s, count / _PROBES_PER_S)
        turns = max(1, min(count, int(period_s / _PROBE_TURN_S)))
        turn, self._probe_turn = self._probe_turn, (self._probe_turn + 1) % turns
        self._probe_ns = now_ns + int(period_s / turns * _NS)
        lately_ns = max(-1, now_ns - int(period_s * _NS))
        for number in range(count) if turn < 0 else range(turn, count, turns):
            health = self.health[number]
            if not (health.heard_ns > lately_ns and health.awake):
                commands.append(Probe(replica=number))
