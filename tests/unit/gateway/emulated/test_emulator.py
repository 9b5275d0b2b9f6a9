"""The emulated replica is the simulator's step engine on a clock."""

from __future__ import annotations

import asyncio
import math

import numpy as np
import pytest
from emulated_time import FakeTime, small_type
from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.emulated.emulator import EmulatedReplica, RunningReplica, Seat
from baseload.simulator.steps import run_steps


class Heard:
    """Listens, and notes when."""

    def __init__(self):
        self.at_s: dict[int, list[float]] = {}

    def token(self, seat, at_s):
        self.at_s.setdefault(id(seat), []).append(at_s)


class ToTheOnlyOne:
    """Routes everything to replica 0."""

    def pick(self, index, now_s):
        return 0

    def done(self, index, replica, now_s):
        pass


def simulate(kind, arrivals, until_s):
    return run_steps(
        types=[kind],
        type_of_replica=np.zeros(1, dtype=np.int64),
        arrival_s=np.array([row[0] for row in arrivals]),
        input_tokens=np.array([row[1] for row in arrivals]),
        output_tokens=np.array([row[2] for row in arrivals]),
        priority=np.zeros(len(arrivals), dtype=np.int64),
        router=ToTheOnlyOne(),
        park_after_s=[None],
        off_after_s=[None],
        horizon_s=until_s,
    )


def emulate(kind, arrivals, until_s, *, late_s, speed=1.0):
    """The same arrivals on a fake clock, whose timers are ``late_s`` late."""
    time = FakeTime(late_s=late_s)
    running = RunningReplica(kind, clock=time.clock, call_later=time.call_later, speed=speed)
    began, heard, seats = time.now, Heard(), []
    for arrival_s, prompt, output in arrivals:
        time.run_until(began + arrival_s / speed)
        time.now = began + arrival_s / speed
        seats.append(Seat(heard, input_tokens=prompt, output_tokens=output))
        running.submit(seats[-1])
    time.run_until(math.inf)
    time.now = max(time.now, began + until_s / speed)
    return seats, heard, running


REQUESTS = st.lists(
    st.tuples(
        st.floats(0.0, 0.5).filter(lambda gap_s: gap_s == 0.0 or gap_s > 1e-3),
        st.integers(1, 600),
        st.integers(1, 60),
    ),
    min_size=1,
    max_size=25,
)


@given(gaps=REQUESTS, late_s=st.sampled_from([0.0, 0.004, 0.7]), kv_tokens=st.integers(700, 3000))
def test_the_simulator_and_the_emulator_tell_the_same_times_and_joules(gaps, late_s, kv_tokens):
    """However late its timers fire."""
    kind = small_type(kv_tokens=kv_tokens)
    at_s = np.cumsum([gap_s for gap_s, _, _ in gaps]).tolist()
    arrivals = [(when, *sizes) for when, (_, *sizes) in zip(at_s, gaps, strict=True)]
    until_s = 100.0 + at_s[-1]
    steps = simulate(kind, arrivals, until_s)
    seats, heard, running = emulate(kind, arrivals, until_s, late_s=late_s)

    # the fake clock starts at 1000 s: instants are exact to its last digits
    firsts = [heard.at_s[id(seat)][0] for seat in seats]
    lasts = [heard.at_s[id(seat)][-1] for seat in seats]
    assert firsts == pytest.approx(steps.first_token_s.tolist(), rel=1e-9, abs=1e-9)
    assert lasts == pytest.approx(steps.finish_s.tolist(), rel=1e-9, abs=1e-9)
    assert [seat.energy_j for seat in seats] == pytest.approx(steps.energy_j.tolist(), rel=1e-9)
    assert [seat.emitted for seat in seats] == steps.output_tokens.tolist()
    meters = running.replica.meters(until_s)
    assert meters.preemptions == steps.preemptions.sum()
    assert meters.busy_s == pytest.approx(steps.busy_s[0], rel=1e-9)
    drawn = [meters.active_j, meters.idle_j, meters.asleep_j, meters.waking_j]
    account = steps.account_j[0]
    assert drawn == pytest.approx([account[0], account[1], 0.0, 0.0], rel=1e-9)


def drain(replica, until_s=math.inf):
    while replica.next_s <= until_s and replica.next_s < math.inf:
        for seat in replica.advance():
            seat.owner.token(seat, math.nan)


@given(
    gaps=REQUESTS,
    leave=st.lists(st.integers(0, 24), max_size=8),
    naps=st.lists(st.integers(0, 24), max_size=4),
)
def test_energy_balances_whoever_leaves_and_whenever_it_sleeps(gaps, leave, naps):
    """Joules of all requests, idle, asleep and waking are all it drew."""
    replica, seats, now_s = EmulatedReplica(small_type(kv_tokens=1000)), [], 0.0
    for number, (gap_s, prompt, output) in enumerate(gaps):
        now_s += gap_s
        drain(replica, now_s)
        if number in naps:
            replica.sleep(now_s)
        elif number - 1 in naps:
            replica.wake(now_s)
        seats.append(Seat(Heard(), input_tokens=prompt, output_tokens=output))
        replica.arrive(seats[-1], now_s)
        for leaver in leave:
            if leaver * 2 == number:
                replica.leave(seats[leaver])
    now_s += 0.5
    drain(replica, now_s)
    replica.wake(now_s)
    drain(replica)
    end_s = now_s + 1000.0
    meters = replica.meters(end_s)
    assert meters.arrived == len(seats) == meters.ended + meters.left
    assert meters.left == sum(seat.gone for seat in seats)
    assert meters.requests_j == pytest.approx(meters.active_j, rel=1e-9)
    assert meters.requests_j == pytest.approx(sum(seat.energy_j for seat in seats), rel=1e-9)
    wanted = sum(seat.emitted for seat in seats)
    assert meters.generation_tokens == wanted
    power = replica.kind.power
    rest_s = meters.idle_j / power.power_w_idle + meters.asleep_j / power.power_w_parked
    wakes = meters.waking_j / power.wake_j_from_parked
    spent_s = rest_s + meters.busy_s + wakes * power.wake_s_from_parked
    assert spent_s == pytest.approx(end_s, rel=1e-9)


def test_who_leaves_frees_the_place_at_the_next_boundary_and_hears_no_more():
    replica, heard = EmulatedReplica(small_type(max_batch=1)), Heard()
    first = Seat(heard, input_tokens=10, output_tokens=50)
    second = Seat(heard, input_tokens=10, output_tokens=1)
    replica.arrive(first, 0.0)
    replica.arrive(second, 0.001)
    boundary_s = replica.next_s
    replica.leave(first)
    assert (replica.running, replica.waiting) == (1, 1)
    assert replica.advance() == []
    assert second.admitted_s == boundary_s
    assert (replica.running, replica.waiting) == (1, 0)
    assert replica.meters(boundary_s).left_j == first.energy_j > 0
    replica.leave(first)  # again: nothing
    drain(replica)
    assert replica.meters(10.0).left == 1


def test_an_engine_that_sleeps_keeps_who_comes_until_it_is_woken():
    replica = EmulatedReplica(small_type())
    running = Seat(Heard(), input_tokens=10, output_tokens=3)
    replica.arrive(running, 0.0)
    replica.sleep(0.001)
    late = Seat(Heard(), input_tokens=10, output_tokens=3)
    replica.arrive(late, 0.002)
    drain(replica)
    assert running.done
    assert replica.asleep
    assert replica.waiting == 1
    assert replica.meters(10.0).asleep_j == pytest.approx(
        40.0 * (10.0 - replica.meters(10.0).busy_s)
    )
    assert replica.wake(10.0) == 12.0
    assert not replica.asleep
    drain(replica)
    assert late.done
    assert late.admitted_s == 12.0
    assert replica.meters(20.0).waking_j == 300.0
    assert replica.wake(20.0) == 20.0


def test_one_that_left_while_the_engine_slept_is_not_answered():
    replica = EmulatedReplica(small_type())
    replica.sleep(0.0)
    seat = Seat(Heard(), input_tokens=10, output_tokens=3)
    replica.arrive(seat, 1.0)
    replica.leave(seat)
    assert replica.waiting == 0
    replica.wake(2.0)
    drain(replica)
    assert seat.emitted == 0
    assert replica.meters(10.0).left == 1


def test_an_idle_replica_has_no_timer():
    time = FakeTime()
    running = RunningReplica(small_type(), clock=time.clock, call_later=time.call_later)
    assert time.next() == math.inf
    running.submit(Seat(Heard(), input_tokens=10, output_tokens=3))
    assert time.next() < math.inf
    time.run_until(math.inf)
    assert time.next() == math.inf
    running.meters()
    running.sleep()
    assert time.next() == math.inf


@pytest.mark.parametrize("precise", [True, False])
def test_a_precise_replica_tells_of_tokens_when_they_are_due(precise):
    time, lags_s = FakeTime(late_s=2e-5), []
    running = RunningReplica(
        small_type(), clock=time.clock, call_later=time.call_later, precise=precise
    )

    class Late:
        def token(self, _, at_s):
            lags_s.append(running.now_s() - at_s)

    running.submit(Seat(Late(), input_tokens=10, output_tokens=40))
    time.run_until(math.inf)
    assert len(lags_s) == 40
    assert min(lags_s) >= 0.0
    assert (max(lags_s) < 5e-5) == precise


def test_speed_makes_the_emulated_clock_go_faster():
    seats, heard, running = emulate(small_type(), [(0.0, 10, 20)], 30.0, late_s=0.0, speed=10.0)
    slow_seats, slow_heard, slow = emulate(small_type(), [(0.0, 10, 20)], 30.0, late_s=0.0)
    assert heard.at_s[id(seats[0])] == slow_heard.at_s[id(slow_seats[0])]
    assert running.meters().total_j == pytest.approx(slow.meters().total_j)
    assert running.now_s() == pytest.approx(slow.now_s())


def test_a_slowed_replica_takes_longer_from_then_on():
    time, heard = FakeTime(), Heard()
    running = RunningReplica(small_type(), clock=time.clock, call_later=time.call_later)
    running.slow(3.0)
    running.submit(Seat(heard, input_tokens=10, output_tokens=5))
    time.run_until(math.inf)
    assert time.now - 1000.0 == pytest.approx(3.0 * running.now_s())
    running.slow(1.0)
    before, began = running.now_s(), time.now
    time.now += 1.0
    assert running.now_s() == pytest.approx(before + time.now - began)


def test_waking_is_awaited_and_closing_stops_the_timer():
    async def go():
        time = FakeTime()
        running = RunningReplica(small_type(), clock=time.clock, call_later=time.call_later)
        running.sleep()
        time.now += 5.0
        await time.drive(running.wake())
        assert time.now == pytest.approx(1007.0)
        await running.wake()
        running.submit(Seat(Heard(), input_tokens=10, output_tokens=5))
        running.close()
        assert time.next() == math.inf

    asyncio.run(go())
