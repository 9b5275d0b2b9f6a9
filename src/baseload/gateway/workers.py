"""Several processes on one port: who starts them, brings back those that die, and ends them all.

The parent serves nothing itself. It holds the port, so that no other program takes it between two
workers, and a folder in memory where the workers meet (``shared_fleet``, the metrics' cells). Each
worker is the same command again with its place in the environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from baseload.gateway.cells import retire_dead

PLACE = "BASELOAD_WORKER"
"""The environment's name for a worker's place: ``worker/workers/port/folder``."""

_IN_MEMORY = Path("/dev/shm")
_LOOK_S = 0.05
_SHORT_LIFE_S = 5.0
_MOST_PAUSE_S = 5.0
_READY_S = 120.0

Announce = Callable[[str], None]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Which of how many workers a process is, and the folder where they meet. The first leads."""

    worker: int
    workers: int
    port: int
    folder: Path

    @property
    def leads(self) -> bool:
        """Whether it probes the replicas and runs the slow controllers."""
        return self.worker == 0

    def ready(self) -> None:
        """Tell the parent that this worker serves."""
        (self.folder / f"ready-{self.worker}").touch()


def own_place() -> Place | None:
    """The place of this process, if it is a worker."""
    said = os.environ.get(PLACE)
    if said is None:
        return None
    worker, workers, port, folder = said.split("/", 3)
    return Place(worker=int(worker), workers=int(workers), port=int(port), folder=Path(folder))


class Supervisor:
    """The parent of ``workers`` processes that run ``command`` on ``port``. ``announce`` is called
    once when all serve, ``complain`` told of those that die.
    """

    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        *,
        port: int,
        drain_s: float,
        announce: Callable[[], None],
        complain: Announce,
    ) -> None:
        self._command, self._workers, self._port = list(command), workers, port
        self._announce, self._complain, self._drain_s = announce, complain, drain_s
        self._children: list[subprocess.Popen[bytes] | None] = [None] * workers
        self._born_s = [0.0] * workers
        self._again_s = [0.0] * workers
        self._pause_s = [0.0] * workers
        self._stopping = 0
        base = _IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None
        self._folder = Path(tempfile.mkdtemp(prefix="baseload-", dir=base))

    def run(self) -> int:
        """Serve until a signal says otherwise; gives the exit code: 0 after a drain of all, 1 where
        a worker could not even begin.
        """
        before = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        }
        try:
            for place in range(self._workers):
                self._start(place)
            if not self._all_ready():
                self._send(signal.SIGTERM)
                self._wait(self._drain_s)
                return 0 if self._stopping else 1
            self._announce()
            while not self._stopping:
                self._bring_back()
                time.sleep(_LOOK_S)
            return self._end()
        finally:
            for child in self._children:
                if child is not None and child.poll() is None:
                    child.kill()
                    child.wait()
            for number, handler in before.items():
                signal.signal(number, handler)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, place: int) -> None:
        environment = os.environ | {PLACE: f"{place}/{self._workers}/{self._port}/{self._folder}"}
        self._children[place] = subprocess.Popen(
            self._command, env=environment, start_new_session=True
        )
        self._born_s[place] = time.monotonic()

    def _all_ready(self) -> bool:
        """Wait until every worker serves; ``False`` where one has ended or a signal came."""
        until_s = time.monotonic() + _READY_S
        marks = [self._folder / f"ready-{place}" for place in range(self._workers)]
        while time.monotonic() < until_s and not self._stopping:
            if all(mark.exists() for mark in marks):
                return True
            if any(child is None or child.poll() is not None for child in self._children):
                return False
            time.sleep(_LOOK_S)
        return False

    def _bring_back(self) -> None:
        """Start workers again that have died; after a short life with a pause."""
        now_s = time.monotonic()
        for place, child in enumerate(self._children):
            if child is None:
                if now_s >= self._again_s[place]:
                    self._start(place)
            elif child.poll() is not None:
                short = now_s - self._born_s[place] < _SHORT_LIFE_S
                pause_s = min(_MOST_PAUSE_S, 2.0 * self._pause_s[place] + 0.1) if short else 0.0
                self._pause_s[place], self._again_s[place] = pause_s, now_s + pause_s
                with contextlib.suppress(OSError):
                    retire_dead(self._folder)
                self._children[place] = None
                self._complain(
                    f"worker {place} ended with code {child.returncode}; "
                    f"another one begins{f' in {pause_s:.1f} s' if pause_s else ''}"
                )

    def _end(self) -> int:
        """Let all workers drain, and wait for them."""
        self._send(signal.SIGTERM)
        self._wait(self._drain_s)
        codes = [child.poll() for child in self._children if child is not None]
        # one that had only just begun has nothing to drain, and dies of the signal
        return 0 if all(code in (0, -signal.SIGTERM) for code in codes) else 1

    def _wait(self, most_s: float) -> None:
        until_s = time.monotonic() + most_s
        for child in self._children:
            while child is not None and child.poll() is None and time.monotonic() < until_s:
                if self._stopping > 1:  # a second signal, however soon: leave at once
                    self._send(signal.SIGKILL)
                time.sleep(_LOOK_S)

    def _send(self, number: int) -> None:
        for child in self._children:
            if child is not None and child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    child.send_signal(number)

    def _on_signal(self, number: int, _: Any) -> None:
        if number == signal.SIGHUP:
            self._send(signal.SIGHUP)
        else:
            self._stopping += 1


def own_command() -> list[str]:
    """The command of this process, to be run again."""
    return [sys.executable, "-m", "baseload.cli.main", *sys.argv[1:]]
