"""Where requests wait inside the gateway, and when something is due: fair queues, and a wheel of
timers. No clock: instants come in.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque

NEVER_NS = 2**62
_SLOT_NS = 50_000_000


class FairQueue:
    """Requests of one lane that wait for room: lower priority numbers first; among those, whoever
    shares the queue (a fairness id) has its turn; among one's own, first come, first served.
    """

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[int, deque[int]]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, request: int, *, priority: int, fairness: int) -> None:
        """Put a request at the end of its sharer's line."""
        lines = self._levels.setdefault(priority, OrderedDict())
        lines.setdefault(fairness, deque()).append(request)
        self._size += 1

    def first(self) -> int:
        """The request whose turn it is. The queue must not be empty."""
        lines = self._levels[min(self._levels)]
        return next(iter(lines.values()))[0]

    def pop(self) -> int:
        """Take out the request whose turn it is; its sharer goes to the end of the round."""
        level = min(self._levels)
        lines = self._levels[level]
        fairness, line = next(iter(lines.items()))
        request = line.popleft()
        if line:
            lines.move_to_end(fairness)
        else:
            del lines[fairness]
            if not lines:
                del self._levels[level]
        self._size -= 1
        return request

    def remove(self, request: int, *, priority: int, fairness: int) -> None:
        """Take out a request that no longer waits. It must be in the queue."""
        lines = self._levels[priority]
        lines[fairness].remove(request)
        if not lines[fairness]:
            del lines[fairness]
        if not lines:
            del self._levels[priority]
        self._size -= 1

    def requests(self) -> list[int]:
        """All that wait, in no particular order."""
        return [one for lines in self._levels.values() for line in lines.values() for one in line]


class Wheel:
    """When each key is due, one instant a key, to a twentieth of a second (never early). What is
    set and taken back leaves nothing behind: most time-outs never come.
    """

    def __init__(self) -> None:
        self._slots: dict[int, dict[int, None]] = {}
        self._slot_of: dict[int, int] = {}
        self._order: list[int] = []

    def set(self, key: int, due_ns: int) -> None:
        """``key`` is due at ``due_ns``, whatever was said before."""
        slot = -(-due_ns // _SLOT_NS)
        old = self._slot_of.get(key)
        if old == slot:
            return
        if old is not None:
            self._slots[old].pop(key, None)
        self._slot_of[key] = slot
        keys = self._slots.get(slot)
        if keys is None:
            self._slots[slot] = {key: None}
            heapq.heappush(self._order, slot)
        else:
            keys[key] = None

    def drop(self, key: int) -> None:
        """``key`` is not due any more."""
        slot = self._slot_of.pop(key, None)
        if slot is not None:
            self._slots[slot].pop(key, None)

    def next_ns(self) -> int:
        """When the first key is due; ``NEVER_NS`` without any."""
        while self._order and not self._slots[self._order[0]]:
            del self._slots[heapq.heappop(self._order)]
        return self._order[0] * _SLOT_NS if self._order else NEVER_NS

    def due(self, now_ns: int) -> list[int]:
        """Take out the keys that are due, in the order of their instants."""
        found: list[int] = []
        while self.next_ns() <= now_ns:
            keys = self._slots.pop(heapq.heappop(self._order))
            for key in keys:
                del self._slot_of[key]
            found.extend(keys)
        return found
