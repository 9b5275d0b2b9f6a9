"""Queues and timers against plain oracles."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from baseload.gateway.waiting import NEVER_NS, FairQueue, Wheel

SLOT_NS = 50_000_000

WAITING = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "pop", "remove"]),
        st.integers(0, 2),
        st.integers(0, 3),
        st.integers(0, 50),
    ),
    max_size=60,
)


class PlainQueue:
    """Rounds of lines, as one would write them down."""

    def __init__(self) -> None:
        self.levels: dict[int, list[tuple[int, list[int]]]] = {}

    def push(self, request: int, priority: int, fairness: int) -> None:
        round_ = self.levels.setdefault(priority, [])
        for sharer, line in round_:
            if sharer == fairness:
                line.append(request)
                return
        round_.append((fairness, [request]))

    def pop(self) -> int:
        level = min(level for level, round_ in self.levels.items() if round_)
        fairness, line = self.levels[level].pop(0)
        if line[1:]:
            self.levels[level].append((fairness, line[1:]))
        return line[0]

    def remove(self, request: int) -> None:
        for round_ in self.levels.values():
            for place, (_, line) in enumerate(round_):
                if request in line:
                    line.remove(request)
                    if not line:
                        del round_[place]
                    return


@given(WAITING)
def test_a_fair_queue_is_rounds_of_lines(steps: list[tuple[str, int, int, int]]) -> None:
    queue, plain = FairQueue(), PlainQueue()
    inside: dict[int, tuple[int, int]] = {}
    for number, (what, priority, fairness, which) in enumerate(steps):
        if what == "push":
            queue.push(number, priority=priority, fairness=fairness)
            plain.push(number, priority, fairness)
            inside[number] = (priority, fairness)
        elif inside and what == "pop":
            first = queue.first()
            assert queue.pop() == first == plain.pop()
            del inside[first]
        elif inside:
            request = sorted(inside)[which % len(inside)]
            priority, fairness = inside.pop(request)
            queue.remove(request, priority=priority, fairness=fairness)
            plain.remove(request)
        assert len(queue) == len(inside)
        assert sorted(queue.requests()) == sorted(inside)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_who_shares_waits_for_at_most_one_of_each_other(sharers: list[int]) -> None:
    """However many requests one has lined up, another's first is served within one round."""
    queue = FairQueue()
    for number, sharer in enumerate(sharers):
        queue.push(number, priority=0, fairness=sharer)
    served = [sharers[queue.pop()] for _ in sharers]
    left = {sharer: sharers.count(sharer) for sharer in sharers}
    since: dict[int, list[int]] = {sharer: [] for sharer in left}
    for sharer in served:
        for other in left:
            if other != sharer and left[other]:
                since[other].append(sharer)
                assert len(set(since[other])) == len(since[other])
        since[sharer] = []
        left[sharer] -= 1


def test_each_ones_own_come_in_their_order_and_low_priorities_first() -> None:
    queue = FairQueue()
    for number, priority in enumerate((5, -1, 5, -1)):
        queue.push(number, priority=priority, fairness=7)
    assert [queue.pop() for _ in range(4)] == [1, 3, 0, 2]


TIMES = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "set", "drop", "due"]),
        st.integers(0, 8),
        st.integers(0, 3_000_000_000),
    ),
    max_size=80,
)


@given(TIMES)
def test_a_wheel_is_a_table_of_instants(steps: list[tuple[str, int, int]]) -> None:
    wheel, plain, now_ns = Wheel(), {}, 0
    for what, key, at_ns in steps:
        if what == "set":
            wheel.set(key, now_ns + at_ns)
            plain[key] = now_ns + at_ns
        elif what == "drop":
            wheel.drop(key)
            plain.pop(key, None)
        else:
            now_ns += at_ns
            due = wheel.due(now_ns)
            assert len(set(due)) == len(due)
            for one in due:
                assert plain.pop(one) <= now_ns, "never early"
            assert all(at + SLOT_NS > now_ns for at in plain.values()), "a twentieth late at most"
        first = min(plain.values(), default=None)
        if first is None:
            assert wheel.next_ns() == NEVER_NS
        else:
            assert first <= wheel.next_ns() < first + SLOT_NS
    assert wheel.due(NEVER_NS - 1) is not None
    assert wheel.next_ns() == NEVER_NS
    assert not wheel._slots
    assert not wheel._slot_of


def test_what_is_due_comes_in_the_order_of_its_instants() -> None:
    wheel, expected = Wheel(), deque[int]()
    for key in range(50):
        wheel.set(key, (key * 37 % 50) * SLOT_NS)
    expected.extend(sorted(range(50), key=lambda key: key * 37 % 50))
    assert wheel.due(50 * SLOT_NS) == list(expected)


def test_timers_that_are_set_again_leave_nothing_behind() -> None:
    """Most time-outs never come: they are moved or dropped. A heap would keep them all."""
    wheel = Wheel()
    for number in range(10_000):
        wheel.set(number, number * 1_000_000 + 60 * 10**9)
        wheel.drop(number)
        wheel.next_ns()
    assert not wheel._slots
    assert not wheel._order
