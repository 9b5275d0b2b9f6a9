"""What worker processes on one port tell each other, in one shared-memory segment.

Each worker writes a row of its own: requests and tokens it has at each replica, and its counts. One
of them leads: it alone probes the replicas, listens to their engines and runs the slow controllers,
and writes what it found and decided. Every number has one writer and is 8 bytes wide, so no lock is
needed: a reader sees each as it was before or after. A segment belongs to one configuration, by its
hash: workers that have not reloaded yet still talk to each other in the old one.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baseload.gateway.core import Core
from baseload.gateway.events import Led, Others
from baseload.routing.position import NODES

_ROWS = 7  # of ``core.Core.counts``
_POSITION = 5
_BYTES = 8

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Board(NamedTuple):
    """The segment as arrays, for ``w`` workers, ``n`` replicas, ``t`` tiers and ``k`` types."""

    in_flight: Ints  # [w, n]
    tokens: Ints  # [w, n]
    counts: Floats  # [w, 7, t]
    turn: Ints  # [1] how often the leader has written
    wanted: Ints  # [n]
    healthy: Ints  # [n]
    awake: Ints  # [n]
    foreign: Ints  # [n]
    weight: Floats  # [t]
    hold: Ints  # [t]
    forecast_batch: Floats  # [k]
    promise_frac: Floats  # [1]
    looks: Ints  # [1] whether the curve counts
    curve: Floats  # [NODES]
    position: Floats  # [5]


def _shapes(workers: int, core: Core) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the board's arrays."""
    live = core.live
    n, tiers, kinds = len(live.replicas), len(live.tiers), len(live.kinds)
    sizes: dict[str, tuple[int, ...]] = {
        "in_flight": (workers, n),
        "tokens": (workers, n),
        "counts": (workers, _ROWS, tiers),
        "turn": (1,),
        "wanted": (n,),
        "healthy": (n,),
        "awake": (n,),
        "foreign": (n,),
        "weight": (tiers,),
        "hold": (tiers,),
        "forecast_batch": (kinds,),
        "promise_frac": (1,),
        "looks": (1,),
        "curve": (NODES,),
        "position": (_POSITION,),
    }
    yield from sizes.items()


class SharedFleet:
    """One worker's place at the board: ``worker`` of ``workers``, in a file of ``folder`` (in
    memory, ``/dev/shm``, where there is one) that belongs to the configuration ``digest``.
    """

    def __init__(self, folder: Path, digest: str, core: Core, *, worker: int, workers: int) -> None:
        self.worker, self.workers = worker, workers
        shapes = list(_shapes(workers, core))
        size = _BYTES * sum(int(np.prod(shape)) for _, shape in shapes)
        path = folder / f"fleet-{digest[:16]}-{workers}-{size}"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, size)
            self._memory = mmap.mmap(handle, size)
        finally:
            os.close(handle)
        arrays: dict[str, Any] = {}
        at = 0
        for name, shape in shapes:
            kind = Board.__annotations__[name]
            count = int(np.prod(shape))
            dtype = np.int64 if "Ints" in str(kind) else np.float64
            arrays[name] = np.frombuffer(self._memory, dtype, count, at).reshape(shape)
            at += _BYTES * count
        self.board = Board(**arrays)
        self._turn = -1
        self.clear()

    def clear(self) -> None:
        """This worker has nothing in flight: it begins, or has ended."""
        self.board.in_flight[self.worker] = 0
        self.board.tokens[self.worker] = 0
        self.board.counts[self.worker] = 0.0

    def tell(self, core: Core) -> None:
        """Write what this worker has, and, if it leads, what it found and decided."""
        board, book = self.board, core.replicas.book
        board.in_flight[self.worker] = book.own
        board.tokens[self.worker] = book.own_tokens
        board.counts[self.worker] = core.counts

    def lead(self, core: Core) -> None:
        """Write what the leader has found and decided. Only the leader calls this."""
        board, led = self.board, core.replicas.leading()
        board.wanted[:], board.healthy[:], board.awake[:] = led.wanted, led.healthy, led.awake
        board.foreign[:], board.weight[:], board.hold[:] = led.foreign, led.weight, led.hold
        board.forecast_batch[:] = led.forecast_batch
        board.promise_frac[0] = led.promise_frac
        board.looks[0] = bool(led.curve)
        if led.curve:
            board.curve[:], board.position[:] = led.curve, led.position
        board.turn[0] += 1

    def others(self, core: Core) -> Others | None:
        """What the other workers have; ``None`` where nothing has changed."""
        board, known = self.board, core.replicas.others
        in_flight = board.in_flight.sum(axis=0) - board.in_flight[self.worker]
        tokens = board.tokens.sum(axis=0) - board.tokens[self.worker]
        if np.array_equal(in_flight, known[0]) and np.array_equal(tokens, known[1]):
            return None
        counts = board.counts.sum(axis=0) - board.counts[self.worker] if core.leads else None
        return Others(
            in_flight=in_flight.tolist(),
            tokens=tokens.tolist(),
            counts=[] if counts is None else counts.tolist(),
        )

    def led(self) -> Led | None:
        """What the leader has written; ``None`` before it has, or since nothing is new."""
        board, turn = self.board, int(self.board.turn[0])
        if turn in (0, self._turn):
            return None
        self._turn = turn
        return Led(
            wanted=board.wanted.tolist(),
            healthy=board.healthy.tolist(),
            awake=board.awake.tolist(),
            foreign=board.foreign.tolist(),
            weight=board.weight.tolist(),
            hold=board.hold.tolist(),
            forecast_batch=board.forecast_batch.tolist(),
            promise_frac=float(board.promise_frac[0]),
            curve=board.curve.tolist() if board.looks[0] else [],
            position=board.position.tolist() if board.looks[0] else [],
        )
