"""The load of the gateway bench, in a process of its own: raw connections, httptools, one core.

Tasks (``common.child``): ``closed``: so many connections, each sends as soon as it has its answer;
``paced``: streams side by side, their chunks counted and the gaps between them taken;
``open_loop``: streams that begin at given instants, time to the first chunk from when each was due.
The CPU of the process under test is read at the ends of the window in which requests are counted.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httptools
import numpy as np
import uvloop

from common import answer_task

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
WARM_REQUESTS = 64
PROMPT = "Say in a sentence or two what a relay is, and why it should be cheap. " * 16


def tree(pid: int) -> list[int]:
    """The process and all that it started, and they."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu_s_of(pid: int) -> float:
    """CPU seconds (user + system, all threads) of a process, its descendants, and those of them
    that have ended.
    """
    ticks = 0
    for one in tree(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks * TICK_S


def rss_mb_of(pid: int) -> float:
    """Resident memory of a process and its descendants [MB]."""
    pages = 0
    for one in tree(pid):
        try:
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def request(port: int, *, key: str, stream: bool, tokens: int = 10) -> bytes:
    """A chat request of about 1.2 KB, as bytes on the wire."""
    said = '{"model":"mock","messages":[{"role":"user","content":"' + PROMPT + '"}],'
    more = f'"max_tokens":{tokens},"stream":' + ("true" if stream else "false") + "}"
    body = (said + more).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
        f"content-type: application/json\r\nauthorization: Bearer {key}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One connection with at most one request under way. ``piece(data)`` at each part of a body,
    ``done(status)`` at its end (0: the connection broke).
    """

    def __init__(self) -> None:
        self.piece: Callable[[bytes], None] | None = None
        self.done: Callable[[int], None] | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpResponseParser(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed = True
        if self.done is not None:
            done, self.done = self.done, None
            done(0)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, data: bytes) -> None:
        if self.piece is not None:
            self.piece(data)

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        self.parser = httptools.HttpResponseParser(self)
        if self.done is not None:
            done, self.done = self.done, None
            done(status)

    def send(self, data: bytes, done: Callable[[int], None]) -> None:
        self.done = done
        self.transport.write(data)


async def connect(port: int) -> Connection:
    loop = asyncio.get_running_loop()
    return (await loop.create_connection(Connection, "127.0.0.1", port))[1]


class Closed:
    """Sends again as soon as an answer is there, until told to stop."""

    def __init__(self, port: int, data: bytes) -> None:
        self.port, self.data = port, data
        self.good, self.bad, self.running, self.open = 0, 0, True, 0

    async def start(self, connections: int) -> None:
        for _ in range(connections):
            await self.add()

    async def add(self) -> None:
        one = await connect(self.port)
        self.open += 1

        def done(status: int) -> None:
            if status == 200:
                self.good += 1
            else:
                self.bad += 1
            if one.closed or one.transport.is_closing():
                self.open -= 1
                if self.running and self.bad < 100:
                    self.again = asyncio.ensure_future(self.add())
            elif self.running:
                one.send(self.data, done)
            else:
                one.transport.close()
                self.open -= 1

        one.send(self.data, done)


async def _closed(
    *, port: int, pid: int, key: str, connections: int, warm_s: float, window_s: float
) -> dict[str, Any]:
    load = Closed(port, request(port, key=key, stream=False))
    await load.start(connections)
    until = time.perf_counter() + 60.0
    await asyncio.sleep(warm_s)
    while load.good < WARM_REQUESTS and time.perf_counter() < until:
        await asyncio.sleep(0.1)  # what compiles at the first request is not what is measured
    before, cpu_s, begin = load.good, cpu_s_of(pid), time.perf_counter()
    await asyncio.sleep(window_s)
    done, spent = load.good - before, cpu_s_of(pid) - cpu_s
    wall_s = time.perf_counter() - begin
    load.running = False
    return {
        "requests": done,
        "bad": load.bad,
        "cpu_us": 1e6 * spent / max(1, done),
        "per_s": done / wall_s,
        "busy_frac": spent / wall_s,
    }


async def _paced(*, port: int, pid: int, key: str, streams: int, tokens: int) -> dict[str, Any]:
    """Streams that begin 1 ms apart; CPU over the time in which all of them run."""
    data = request(port, key=key, stream=True, tokens=tokens)
    every = [await connect(port) for _ in range(streams)]
    stamps: list[list[float]] = [[] for _ in every]
    seen, ended, bad = 0, 0, 0
    over = asyncio.Event()

    def start(number: int) -> None:
        stamp = stamps[number]

        def piece(found: bytes) -> None:
            nonlocal seen
            seen += found.count(b"data:")
            stamp.append(time.perf_counter())

        def done(status: int) -> None:
            nonlocal ended, bad
            ended += 1
            bad += status != 200
            if ended == streams:
                over.set()

        every[number].piece = piece
        every[number].send(data, done)

    for number in range(streams):
        start(number)
        await asyncio.sleep(0.001)
    length_s = tokens * 0.01
    await asyncio.sleep(0.15 * length_s)
    before, cpu_s = seen, cpu_s_of(pid)
    await asyncio.sleep(0.6 * length_s)
    chunks, spent = seen - before, cpu_s_of(pid) - cpu_s
    await asyncio.wait_for(over.wait(), 60.0 + 20 * length_s)
    for one in every:
        one.transport.close()
    gaps_ms = np.concatenate([1e3 * np.diff(stamp[1:-1]) for stamp in stamps])
    return {
        "chunks": chunks,
        "bad": bad,
        "cpu_us": 1e6 * spent / max(1, chunks),
        "gap_ms": np.percentile(gaps_ms, [50, 90, 99]).tolist() if len(gaps_ms) else [],
        "seen_frac": seen / (streams * (tokens + 2)),
    }


class Begun:
    """Opens streams at given instants over a pool of connections that grows as needed."""

    def __init__(self, port: int, key: str, tokens: int) -> None:
        self.port, self.data = port, request(port, key=key, stream=True, tokens=tokens)
        self.idle: list[Connection] = []
        self.ttft_s: list[float] = []
        self.late_s: list[float] = []
        self.good = self.bad = self.open = 0

    async def one(self, due: float) -> None:
        while self.idle and self.idle[-1].closed:
            self.idle.pop()
        try:
            mine = self.idle.pop() if self.idle else await connect(self.port)
        except OSError:
            self.bad += 1
            return
        over = asyncio.get_running_loop().create_future()
        first = 0.0

        def piece(found: bytes) -> None:
            nonlocal first
            if not first and b"data:" in found:
                first = time.perf_counter()
                self.ttft_s.append(first - due)

        mine.piece = piece
        self.late_s.append(time.perf_counter() - due)
        mine.send(self.data, lambda status: over.done() or over.set_result(status))
        status = await over
        self.good += status == 200
        self.bad += status != 200
        if not mine.closed:
            self.idle.append(mine)

    async def run(self, rate_per_s: float, length_s: float, *, seed: int) -> None:
        rng = np.random.default_rng(seed)
        gaps = rng.exponential(1 / rate_per_s, size=int(rate_per_s * length_s))
        begin, tasks = time.perf_counter() + 0.05, set()
        for due in (begin + np.cumsum(gaps)).tolist():
            while (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left if left > 2e-3 else 0)
            task = asyncio.ensure_future(self.one(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=60.0)


async def _open_loop(
    *, port: int, pid: int, key: str, rate_per_s: float, length_s: float, tokens: int, seed: int
) -> dict[str, Any]:
    load = Begun(port, key, tokens)
    await load.run(rate_per_s, min(2.0, length_s), seed=seed + 1)  # connections, warm caches
    load.ttft_s.clear()
    load.late_s.clear()
    load.good = load.bad = 0
    cpu_s = cpu_s_of(pid)
    await load.run(rate_per_s, length_s, seed=seed)
    return {
        "requests": load.good,
        "bad": load.bad,
        "cpu_s": cpu_s_of(pid) - cpu_s,
        "ttft_ms": [1e3 * one for one in np.percentile(load.ttft_s, [50, 90, 99]).tolist()],
        "late_ms": [1e3 * one for one in np.percentile(load.late_s, [50, 99]).tolist()],
    }


async def _soak(
    *, port: int, pid: int, key: str, rate_per_s: float, length_s: float, every_s: float
) -> dict[str, Any]:
    """Memory over time under streams of 10 chunks at ``rate_per_s``."""
    load = Begun(port, key, 10)
    samples = [(0.0, rss_mb_of(pid))]
    begin = time.perf_counter()
    running = asyncio.ensure_future(load.run(rate_per_s, length_s, seed=0))
    while not running.done():
        await asyncio.wait({running}, timeout=every_s)
        samples.append((time.perf_counter() - begin, rss_mb_of(pid)))
    running.result()
    return {"samples": samples, "requests": load.good, "bad": load.bad}


def _task(work: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    def run(*, core: int, **arguments: Any) -> dict[str, Any]:
        os.sched_setaffinity(0, {core})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return dict(runner.run(work(**arguments)))

    return run


if __name__ == "__main__":
    answer_task(
        {
            "closed": _task(_closed),
            "paced": _task(_paced),
            "open_loop": _task(_open_loop),
            "soak": _task(_soak),
        }
    )
