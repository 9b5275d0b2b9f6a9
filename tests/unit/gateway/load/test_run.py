"""Open-loop sending under a clock and a server that the test makes: no time passes."""

from __future__ import annotations

import asyncio
import heapq

import pytest
from made_loads import GOOD, MS, STREAM, a_plan

from baseload.gateway.load.bodies import Bodies, Style
from baseload.gateway.load.run import ExchangeError, Head, OpenLoop


class MadeClock:
    """Time that stands still while anything can be done, then jumps to the next who waits."""

    def __init__(self):
        self.now, self.waiting, self.count = 0, [], 0

    def now_ns(self):
        return self.now

    async def sleep_until(self, instant_ns):
        self.count += 1
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self.waiting, (instant_ns, self.count, future))
        await future

    async def drive(self, until):
        """Let time pass until the task ``until`` is done."""
        while not until.done():
            for _ in range(20):
                await asyncio.sleep(0)
            if self.waiting and not until.done():
                instant_ns, _, future = heapq.heappop(self.waiting)
                self.now = max(self.now, instant_ns)
                if not future.done():
                    future.set_result(None)
        return await until


class MadeServer:
    """Answers request ``n`` after ``delays[n]`` ms with its first byte and 10 ms later with the
    rest; ``None``: never. ``work_ns``: how long the client is held up by each sending.
    """

    def __init__(self, clock, delays, *, work_ns=0, fail=None):
        self.clock, self.delays, self.work_ns, self.fail = clock, delays, work_ns, fail or {}
        self.sent_ns, self.headers = [], []

    async def exchange(self, body, headers):
        number = len(self.sent_ns)
        self.sent_ns.append(self.clock.now_ns())
        self.headers.append(headers)
        self.clock.now += self.work_ns
        begin = self.clock.now_ns()
        if number in self.fail:
            raise self.fail[number]
        if self.delays[number] is None:
            await asyncio.get_running_loop().create_future()
        await self.clock.sleep_until(begin + self.delays[number] * MS)
        yield Head(status=200, headers=STREAM | {"x-baseload-replica": f"r{number}"})
        yield GOOD[:220]
        await self.clock.sleep_until(begin + (self.delays[number] + 10) * MS)
        yield GOOD[220:]


def run(plan, delays, *, stop_ms=None, watch=None, **server):
    """The outcomes, the load and the server."""

    async def whole():
        clock = MadeClock()
        transport = MadeServer(clock, delays, **server)
        bodies = Bodies(plan, Style(), seed=0)
        load = OpenLoop(plan, bodies, transport=transport, clock=clock, watch=watch)
        task = asyncio.ensure_future(load.run())
        if stop_ms is not None:

            async def stopper():
                await clock.sleep_until(stop_ms * MS)
                load.stop()

            keep = asyncio.ensure_future(stopper())
            outcomes = await clock.drive(task)
            keep.cancel()
        else:
            outcomes = await clock.drive(task)
        return outcomes, load, transport

    return asyncio.run(whole())


def test_requests_go_out_at_their_instants_whatever_comes_back():
    """A closed loop would have sent the second one after the first one's answer."""
    due = [0, 5, 5, 70, 100]
    outcomes, load, server = run(a_plan(*due), [1000, 900, 1, 2, 3])
    assert [sent - server.sent_ns[0] for sent in server.sent_ns] == [ms * MS for ms in due]
    assert [each.sent_ns for each in outcomes] == [ms * MS for ms in due]
    assert [each.number for each in outcomes] == [0, 1, 2, 3, 4]
    assert all(each.kind == "" for each in outcomes)
    assert (load.progress.sent, load.progress.answered, load.progress.in_flight) == (5, 5, 0)


def test_what_an_outcome_says():
    outcomes, *_ = run(a_plan(0, 5), [40, 50])
    first, second = outcomes
    assert first.first_ns == 40 * MS
    assert first.end_ns == first.last_ns == 50 * MS
    assert second.first_ns == 55 * MS
    assert (first.input_tokens, first.output_tokens, first.reasoning_tokens) == (9, 3, 1)
    assert (first.energy_j, first.energy_method, first.asked_tokens) == (12.5, "modelled", 3)
    assert (second.tier, second.replica) == ("none", "r1")


def test_a_client_that_is_too_slow_is_seen_in_its_lateness():
    """Latencies count from when a request was due: a held-up client makes them longer."""
    outcomes, *_ = run(a_plan(0, 1, 2, 3), [5, 5, 5, 5], work_ns=20 * MS)
    late = [each.sent_ns - each.due_ns for each in outcomes]
    assert late[0] == 0
    assert late[3] >= 50 * MS
    assert all(each.first_ns - each.due_ns >= lag for each, lag in zip(outcomes, late, strict=True))


def test_headers_tell_tier_and_session():
    *_, server = run(a_plan(0, 1), [1, 1])
    assert server.headers == [{"x-gateway-inference-objective": "interactive"}, {}]
    *_, server = run(a_plan(0, session=4), [1])
    assert server.headers[0]["x-session-token"] == "session-4"


def test_failures_are_kept_by_kind_and_hold_up_nobody():
    failures = {0: ExchangeError("connect", "refused"), 2: ExchangeError("timeout", "600 s")}
    outcomes, load, _ = run(a_plan(0, 1, 2), [1, 1, 1], fail=failures)
    assert [each.kind for each in outcomes] == ["connect", "", "timeout"]
    assert outcomes[0].detail == "refused"
    assert (load.progress.failed, load.progress.answered) == (2, 1)


def test_a_stop_gives_what_was_measured_so_far():
    outcomes, load, _ = run(a_plan(0, 1, 2, 5000), [3, None, 400, 1], stop_ms=1000)
    assert load.stopped
    assert [each.kind for each in outcomes] == ["", "unfinished", ""]
    assert outcomes[1].end_ns == -1


def test_a_mistake_of_ours_comes_out_loudly():
    with pytest.raises(ZeroDivisionError):
        run(a_plan(0, 1, 2), [1, 1, 1], fail={1: ZeroDivisionError()})


def test_progress_is_told():
    seen = []
    run(a_plan(0, 1), [1, 1], watch=lambda now: seen.append((now.sent, now.answered)))
    assert seen[0] == (1, 0)
    assert seen[-1] == (2, 2)
