"""From one configuration to the next in the middle of everything: nobody is lost, the books are
right, no joule appears or vanishes.
"""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from made_fleets import NS, Told, config_of, fleet_of, one, same
from tests.faults.books import check_core, check_idle

from baseload.gateway import events
from baseload.gateway.bodies import Asked
from baseload.gateway.config import LiveTierEntry, ModelEntry, ReplicasEntry

MODELS = {
    "m": ModelEntry(name="m", efforts=("low", "high")),
    "n": ModelEntry(name="n", efforts=("low",)),
}


def random_config(draw):
    """Some of two models' replicas, in any order, and some of the tiers, under any names."""
    names = draw.choice((["m"], ["m", "n"], ["n", "m"], ["m", "n"]))
    entries = []
    for name in names:
        urls = draw.sample([f"http://{name}{number}" for number in range(5)], draw.randrange(1, 5))
        entries.append(ReplicasEntry(model=name, urls=tuple(urls), max_queue=draw.choice((0, 4))))
    tiers = [
        LiveTierEntry(name=draw.choice(("interactive", "people")), ttft_s=2.0, tpot_s=0.1),
        LiveTierEntry(name=draw.choice(("bulk", "night")), bulk=True, e2e_s=50.0, max_queue=8),
        LiveTierEntry(name="rest", priority=2, ttft_s=9.0),
    ]
    draw.shuffle(tiers)
    return config_of(
        models=tuple(MODELS[name] for name in names),
        replicas=tuple(entries),
        tiers=tuple(tiers[: draw.randrange(2, 4)]),
        policy=draw.choice(("least_loaded", "baseload:rate_quality=1", "least_tokens")),
    )


class History(Told):
    """Requests that come, get on and end, with a check of everything after each step."""

    def __init__(self, draw):
        super().__init__(fleet_of(random_config(draw), max_batch=4))
        self.draw = draw
        self.at: dict[int, tuple[str, int]] = {}
        self.closed: dict[int, events.Close] = {}
        self.written: dict[int, int] = {}

    def tell(self, event, at_s=None):
        found = super().tell(event, at_s)
        self.took(found)
        return found

    def took(self, commands):
        """Keep what was said about requests."""
        for command in commands:
            if isinstance(command, events.Send):
                self.at[command.request] = (
                    self.live.replicas[command.replica].url,
                    command.attempt,
                )
            elif isinstance(command, events.Close):
                assert command.request not in self.closed, "ended twice"
                self.closed[command.request] = command
                self.at.pop(command.request, None)
            elif isinstance(command, events.Cancel):
                self.at.pop(command.request, None)

    def step(self):
        """Something happens."""
        draw = self.draw
        self.until(self.now_s + draw.choice((0.0, 0.01, 0.3)))
        request = draw.choice(list(self.at)) if self.at else 0
        attempt = self.at[request][1] if request else 0
        what = draw.random()
        if what < 0.45 or not request:
            model = draw.choice(self.live.config.models)
            asked = {
                "model": draw.choice(("auto", model.name)),
                "effort": draw.choice((None, "low")),
            }
            lane = self.lane(draw.randrange(len(self.live.tiers)), **asked)
            self._last += 1
            self.tell(
                events.Arrived(
                    request=self._last, lane=lane, input_tokens=draw.choice((20.0, 300.0)),
                    stream=True, session=draw.choice((0, 1, 2)),
                )
            )  # fmt: skip
        elif what < 0.75:
            more = draw.randrange(1, 9)
            self.tell(events.Progressed(request=request, attempt=attempt, tokens=more))
        elif what < 0.9:
            del self.at[request]
            self.end(request, attempt=attempt, input_tokens=30, output_tokens=draw.randrange(40))
        elif what < 0.95:
            del self.at[request]
            self.fail(request, attempt=attempt, cause=draw.choice(("connect", "closed")))
        else:
            self.tell(events.Left(request=request))

    def reload(self, live):
        """Take over another fleet; the joules up to now stay what they were."""
        now_ns = round(self.now_s * NS)
        before_j = self.core.replicas.drawn_j(now_ns)
        idle_j = self.core.replicas.idle_j(now_ns)
        old, self.live = self.live, live
        commands = self.core.reconfigure(live, now_ns)
        self._lanes = len(live.lanes)
        self.said += commands
        urls = {replica.url for replica in live.replicas}
        for request, (url, attempt) in self.at.items():
            if url not in urls:  # it ends on the old books, even if its replica comes back
                self.at[request] = ("gone", attempt)
        self.took(commands)
        assert same(self.core.replicas.idle_j(now_ns), idle_j)
        assert same(self.core.replicas.drawn_j(now_ns), before_j + self.prompts_j(commands))
        return old

    def prompts_j(self, commands):
        """Joules of prompts that the reload itself has sent out: they are booked at once."""
        core = self.core.replicas
        sent = [one.request for one in commands if isinstance(one, events.Send)]
        return sum(
            self.core.lives[request].input_tokens
            * float(core.book.base_cost[self.live.replicas[self.core.lives[request].replica].kind]
                    .energy_j_per_prefill_token)
            for request in sent
        )  # fmt: skip

    def check(self):
        """The machine's counts are those of the requests that are really in flight."""
        check_core(self.core)
        there = [url for url, _ in self.at.values()]
        own = self.core.replicas.book.own
        for replica in self.live.replicas:
            assert own[replica.number] == there.count(replica.url), replica.name
        everybody = set(range(1, self._last + 1))
        assert set(self.closed) | set(self.core.lives) == everybody
        assert not set(self.closed) & set(self.core.lives)

    def finish(self):
        """Let everybody end."""
        while self.core.lives:
            for request, (_, attempt) in list(self.at.items()):
                del self.at[request]
                self.end(request, attempt=attempt, output_tokens=9)
            if self.core.lives:
                self.until(self.now_s + 1.0)
        energy_j = math.fsum(one.energy_j for one in self.closed.values())
        check_idle(self.core, energy_j, round(self.now_s * NS))


@pytest.mark.parametrize("seed", range(60))
def test_nothing_is_lost_and_the_books_stay_right(seed):
    draw = random.Random(seed)
    history = History(draw)
    for _ in range(draw.choice((2, 3))):
        for _ in range(30):
            history.step()
        history.check()
        history.reload(fleet_of(random_config(draw), max_batch=4))
        history.check()
    for _ in range(10):
        history.step()
    history.finish()
    assert set(history.closed) == set(range(1, history.last + 1))


def three(**changes):
    return fleet_of(config_of(3, **changes))


def test_who_runs_at_a_replica_that_stays_is_counted_there_under_its_new_number():
    told = Told(three())
    told.fill(6)
    urls = ("http://r2", "http://new", "http://r0")
    entry = ReplicasEntry(model="m", urls=urls, max_queue=64)
    told.core.reconfigure(three(replicas=(entry,)), 0)
    assert told.core.replicas.book.own.tolist() == [2, 0, 2]
    gone = [life for life in told.core.lives.values() if life.home is not told.core.replicas]
    assert len(gone) == 2
    for number in range(1, 7):
        assert one(told.end(number), events.Close).reason == "answered"
    assert told.core.replicas.book.own.tolist() == [0, 0, 0]


def test_the_end_of_one_at_a_replica_that_is_gone_names_no_replica():
    told = Told(three())
    told.fill(3)
    entry = ReplicasEntry(model="m", urls=("http://r0",))
    told.core.reconfigure(three(replicas=(entry,)), 0)
    ends = [one(told.end(number), events.Close) for number in (1, 2, 3)]
    assert sorted(end.replica for end in ends) == [-1, -1, 0]
    assert all(end.energy_j > 0.0 for end in ends)


def test_what_waits_for_what_is_gone_is_refused_and_the_rest_goes_on():
    told = Told(fleet_of(config_of(1, max_queue=0), max_batch=1))
    told.fill(1)
    told.arrive(1)
    waits = told.last
    other = told.live.lane(Asked(endpoint="chat", model="m", effort="low"), 1)
    told.tell(events.LaneAdded(lane=other, tier=1, allowed=list(told.live.lanes[other].allowed)))
    told.tell(events.Arrived(request=77, lane=other, input_tokens=10.0))
    assert told.core.waiting == [0, 2]
    plain = config_of(3, models=(msgspec.structs.replace(MODELS["m"], efforts=()),))
    said = told.core.reconfigure(fleet_of(plain), 0)
    assert one(said, events.Refuse).request == 77
    assert one(said, events.Refuse).reason == "no_replica"
    assert one(said, events.Send).request == waits


def test_what_was_learned_goes_along():
    told = Told(three())
    core = told.core
    for number in range(1, 9):
        told.arrive(at_s=number / 10)
        told.end(number, output_tokens=333)
    learned = core.replicas.state.forecast[0].copy()
    core.replicas.policy.lateness_weight[0] = 0.125
    core.replicas.book.pace[0] = 1.5
    for _ in range(2):
        told.tell(events.Probed(replica=1, healthy=False))
    urls = ("http://r1", "http://r0")
    live = three(replicas=(ReplicasEntry(model="m", urls=urls),))
    core.reconfigure(live, round(told.now_s * NS))
    assert (core.replicas.state.forecast[0] == learned).all()
    assert core.replicas.policy.lateness_weight[0] == 0.125
    assert core.replicas.book.pace[0] == 1.5
    assert not core.replicas.health[0].healthy(live.config.health)
    assert core.replicas.health[1].healthy(live.config.health)


def test_another_kind_of_replica_learns_anew():
    told = Told(three())
    told.core.replicas.book.pace[0] = 1.5
    told.core.reconfigure(fleet_of(config_of(3), time_s_per_step=0.02), 0)
    assert told.core.replicas.book.pace[0] == 1.0


def test_a_session_finds_its_replica_under_its_new_number():
    told = Told(three())
    told.arrive(session=5)
    url = told.live.replicas[told.said[-1].replica].url
    told.end(1, output_tokens=9)
    urls = tuple(reversed([replica.url for replica in told.live.replicas]))
    live = three(replicas=(ReplicasEntry(model="m", urls=urls, max_queue=64),))
    told.core.reconfigure(live, 0)
    assert live.replicas[told.core.replicas.sessions[5][0]].url == url
