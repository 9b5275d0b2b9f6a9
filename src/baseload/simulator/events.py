"""What happens next: a tournament of the replicas' next events, and a heap of decoders in each
replica.

Both are flat arrays. An event stands for a replica, so none is ever stale; a decoder's key in the
heap never changes while it runs.
"""

from __future__ import annotations

from baseload.base.kernels import kernel
from baseload.simulator.records import Engine, Row

# Low bits of a heap key: the order of admission, so that equal last iterations leave in that order.
_TURN_BITS = 24
_TURN_MASK = (1 << _TURN_BITS) - 1


@kernel
def heap_key(iteration: int, admission: int) -> int:
    """The key of a decoder that ends with step ``iteration`` and was admitted as ``admission``."""
    return (iteration << _TURN_BITS) | (admission & _TURN_MASK)


@kernel
def last_iteration(engine: Engine, replica: Row) -> int:
    """The step that ends the first decoder to end. The replica must have one."""
    return engine.heap[replica.heap].key >> _TURN_BITS


@kernel
def push(engine: Engine, replica: Row, key: int, slot: int) -> None:
    """Add a decoder to the replica's heap."""
    entry = engine.heap[replica.heap + replica.decoders]
    entry.key, entry.slot = key, slot
    _sift_up(engine.heap, replica.heap, replica.decoders)
    replica.decoders += 1


@kernel
def schedule(engine: Engine, replica: int, at_s: float) -> None:
    """Set when the replica's segment ends; of two at the same instant the lower number goes
    first.
    """
    event_s, tree = engine.event_s, engine.tree
    event_s[replica] = at_s
    node = (event_s.shape[0] + replica) >> 1
    while node >= 1:
        left, right = tree[2 * node], tree[2 * node + 1]
        winner = left if event_s[left] <= event_s[right] else right
        if winner == tree[node] and winner != replica:
            return
        tree[node] = winner
        node >>= 1


@kernel
def _sift_up(heap: Row, base: int, place: int) -> None:
    """Move the entry at ``place`` of the heap at ``base`` up to where it belongs."""
    key, slot = heap[base + place].key, heap[base + place].slot
    while place > 0:
        parent = (place - 1) >> 1
        if heap[base + parent].key <= key:
            break
        heap[base + place].key = heap[base + parent].key
        heap[base + place].slot = heap[base + parent].slot
        place = parent
    heap[base + place].key, heap[base + place].slot = key, slot


@kernel
def _sift_down(heap: Row, base: int, place: int, size: int) -> None:
    """Move the entry at ``place`` of the heap at ``base`` down to where it belongs."""
    key, slot = heap[base + place].key, heap[base + place].slot
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        if child + 1 < size and heap[base + child + 1].key < heap[base + child].key:
            child += 1
        if heap[base + child].key >= key:
            break
        heap[base + place].key = heap[base + child].key
        heap[base + place].slot = heap[base + child].slot
        place = child
    heap[base + place].key, heap[base + place].slot = key, slot


@kernel
def drop(engine: Engine, replica: Row, place: int) -> None:
    """Take the entry at ``place`` out of the replica's heap."""
    base = replica.heap
    replica.decoders -= 1
    last = replica.decoders
    if place == last:
        return
    engine.heap[base + place].key = engine.heap[base + last].key
    engine.heap[base + place].slot = engine.heap[base + last].slot
    _sift_down(engine.heap, base, place, last)
    _sift_up(engine.heap, base, place)
