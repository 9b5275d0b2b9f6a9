"""What is done to replicas beside requests: probes, their engines' own metrics, sleep and wake."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from baseload.gateway.config import READS_PER_S, HealthEntry
from baseload.gateway.engine_metrics import ENERGY_PATHS, metrics_path
from baseload.gateway.events import AnyEvent, Probe, Probed, Rest, Rouse, Sampled, Woken
from baseload.gateway.live_request import Way
from baseload.gateway.upstream import UpstreamError

WAKE_S = 300.0
AT_ONCE = 32
"""Metrics are read from so many replicas at a time."""
POLL_S = 0.05

SLEEP_PATHS = {
    "vllm": ("/sleep?level=1", "/wake_up"),
    "sglang": ("/release_memory_occupation", "/resume_memory_occupation"),
    "emulated": ("/sleep?level=1", "/wake_up"),
}
ASLEEP_PATHS = {"vllm": "/is_sleeping", "emulated": "/is_sleeping"}

Read = Callable[[bytes, int], Sampled | None]
"""``Sampled`` from an engine's metrics page and the replica's number."""


Work = Callable[[Way], Coroutine[Any, Any, None]]


class Asking(Protocol):
    """What the hands need of a way to engines."""

    async def get(self, url: str, headers: dict[str, str], timeout_s: float) -> tuple[int, bytes]:
        """Status and body."""

    async def send_empty(
        self, url: str, headers: dict[str, str], timeout_s: float
    ) -> tuple[int, bytes]:
        """Status and body of a POST without a body."""


class Hands:
    """Carries out ``Probe``, ``Rest`` and ``Rouse``, and reads engines' metrics each
    ``health.metrics_s``. ``tell`` gives the machine an event; ``read`` understands a page,
    ``energy`` what an engine says of its joules where it says that apart.
    """

    def __init__(
        self,
        tell: Callable[[AnyEvent], None],
        *,
        read: Read,
        trouble: Callable[[str, BaseException], None],
        energy: Callable[[bytes, int], None] = lambda _, __: None,
    ) -> None:
        self._tell = tell
        self._read = read
        self._energy = energy
        self._no_energy: set[int] = set()
        self._trouble = trouble
        self._tasks: set[asyncio.Task[None]] = set()
        self._poller: asyncio.Task[None] | None = None
        self._busy: set[int] = set()
        self.ways: Sequence[Way] = ()
        self.health = HealthEntry()

    def configured(self, ways: Sequence[Way], health: HealthEntry) -> None:
        """Look after these replicas from now on."""
        self.ways, self.health = ways, health
        self._busy.clear()
        self._no_energy.clear()
        if self._poller is None and health.metrics_s > 0:
            self._poller = asyncio.get_running_loop().create_task(self._poll())

    def __call__(self, command: Probe | Rest | Rouse) -> None:
        """Carry a command out, beside everything else."""
        if command.replica >= len(self.ways):
            return
        way = self.ways[command.replica]
        if isinstance(command, Probe):
            if command.replica not in self._busy:  # the last probe is still on its way
                self._busy.add(command.replica)
                self._begin(self._probe, way)
        else:
            self._begin(self._wake if isinstance(command, Rouse) else self._rest, way)

    async def close(self) -> None:
        """Leave off everything."""
        tasks = [*self._tasks, *([self._poller] if self._poller else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, work: Work, way: Way) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work, way))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Work, way: Way) -> None:
        try:
            await work(way)
        except Exception as error:
            self._trouble("replica", error)

    async def _probe(self, way: Way) -> None:
        """Ask a replica how it is."""
        number, health, engine = way.replica.number, self.health, way.replica.engine
        asleep: bool | None = None
        try:
            status, _ = await _asking(way).get(
                way.base + health.path, way.plain_headers, health.timeout_s
            )
            healthy = status == 200
            path = ASLEEP_PATHS.get(engine)
            if healthy and path is not None and way.replica.entry.sleep:
                status, body = await _asking(way).get(
                    way.base + path, way.plain_headers, health.timeout_s
                )
                asleep = status == 200 and b"true" in body.lower()
        except UpstreamError:
            healthy = False
        finally:
            self._busy.discard(number)
        if self._still(way):
            self._tell(Probed(replica=number, healthy=healthy, asleep=asleep))

    async def _rest(self, way: Way) -> None:
        await self._turn(way, awake=False)

    async def _wake(self, way: Way) -> None:
        await self._turn(way, awake=True)

    async def _turn(self, way: Way, *, awake: bool) -> None:
        """Send a replica's engine to sleep, or wake it."""
        paths = SLEEP_PATHS.get(way.replica.engine)
        done = False
        if paths is not None:
            try:
                status, _ = await _asking(way).send_empty(
                    way.base + paths[awake], way.plain_headers, WAKE_S
                )
                done = status == 200
            except UpstreamError:
                done = False
        if self._still(way):
            self._tell(Woken(replica=way.replica.number, awake=awake, done=done))

    async def _poll(self) -> None:
        """Read engines' metrics in turn, evenly over the period, so that they never come in bursts.
        A large fleet is read less often: at most ``READS_PER_S`` in all.
        """
        seats = asyncio.Semaphore(AT_ONCE)
        turn, owed = 0, 0.0
        while True:
            await asyncio.sleep(POLL_S)
            count, period_s = len(self.ways), self.health.metrics_s
            if period_s <= 0 or not count:
                continue
            owed += POLL_S * min(READS_PER_S, count / period_s)
            while owed >= 1.0 and not seats.locked():
                owed -= 1.0
                turn = (turn + 1) % count
                await seats.acquire()
                self._begin(functools.partial(self._read_one, seats), self.ways[turn])
            owed = min(owed, 1.0)

    async def _read_one(self, seats: asyncio.Semaphore, way: Way) -> None:
        try:
            await self._sample(way)
        finally:
            seats.release()

    async def _sample(self, way: Way) -> None:
        """Read one engine's metrics; silence is no news."""
        health, number = self.health, way.replica.number
        status, page = await self._got(way, metrics_path(way.replica.engine, health.metrics_path))
        if status != 200:
            return
        sampled = self._read(page, number)
        if sampled is not None:
            self._tell(sampled)
        path = ENERGY_PATHS.get(way.replica.engine)
        if path is None or number in self._no_energy:
            return
        status, body = await self._got(way, path)
        if status == 200:
            self._energy(body, number)
        elif status:
            self._no_energy.add(number)  # it is off there; asked again after a reload

    async def _got(self, way: Way, path: str) -> tuple[int, bytes]:
        """Status and body of an engine's page; status 0 where none came, or the engine is no longer
        one of ours.
        """
        try:
            found = await _asking(way).get(
                way.base + path, way.plain_headers, self.health.timeout_s
            )
        except UpstreamError:
            return 0, b""
        return found if self._still(way) else (0, b"")

    def _still(self, way: Way) -> bool:
        """Whether a replica is still the one of its number."""
        number = way.replica.number
        return number < len(self.ways) and self.ways[number] is way


def _asking(way: Way) -> Asking:
    return way.upstream  # type: ignore[return-value]
