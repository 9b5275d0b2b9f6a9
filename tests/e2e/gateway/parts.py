"""Real parts for the end-to-end tests: each command in a process of its own, talked to by sockets
only.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

READY_S = 240.0
"""The first start on a machine compiles kernels for a minute or two."""
STOP_S = 40.0
PERIOD_S = 0.02

Json = dict[str, Any]


def eventually(holds: Callable[[], Any], *, within_s: float = 10.0, what: str = "") -> Any:
    """What ``holds`` gives once it gives something true; fails after ``within_s``."""
    end_s = time.monotonic() + within_s
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < end_s, f"not within {within_s} s: {what or holds}"
        time.sleep(PERIOD_S)


def get(url: str, *, timeout_s: float = 10.0, headers: dict[str, str] | None = None) -> bytes:
    """The body of a page."""
    request = urllib.request.Request(url, headers=headers or {})
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return answer.read()


def post(url: str, body: Json) -> Json:
    """The JSON that a POST gives."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


class Command:
    """``baseload ARGUMENTS`` as a process, with its output in a file."""

    def __init__(self, arguments: Sequence[str], *, output: Path, ready: str) -> None:
        """``ready``: what a line says when the command serves (a regular expression)."""
        self.arguments, self.output, self._ready = list(arguments), output, re.compile(ready)
        self.begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def begin(self) -> None:
        """Start the process and wait until it says that it is ready."""
        self.started_at = self.output.stat().st_size if self.output.exists() else 0
        with self.output.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "baseload", *self.arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self.match = eventually(self._looks_ready, within_s=READY_S, what=" ".join(self.arguments))

    def _looks_ready(self) -> re.Match[str] | None:
        said = self.said()
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {said[-2000:]}"
        return self._ready.search(said)

    def said(self) -> str:
        """What this start of the process has written."""
        with self.output.open("rb") as file:
            file.seek(self.started_at)
            return file.read().decode(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(STOP_S)

    def stop(self) -> int:
        """Ask it to end; gives its exit code."""
        if self.process.poll() is None:
            if hasattr(signal, "SIGCONT"):
                self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def memory_mb(self) -> float:
        """Memory that the process holds now."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]


class Emulated(Command):
    """Emulated engines, each on a port of its own; ``urls`` says where."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        kind: str = "h100-llama-8b",
        port: int = 0,
        replicas: int = 1,
        speed: float = 20.0,
        seed: int = 0,
        label: str = "",
    ) -> None:
        arguments = ["emulate", "--type", kind, "--port", str(port), "--replicas", str(replicas)]
        arguments += ["--model-name", name, "--speed", str(speed), "--seed", str(seed), "--faults"]
        super().__init__(
            arguments, output=folder / f"emulate-{label or name}-{seed}.log", ready=r"ready: "
        )

    @property
    def urls(self) -> list[str]:
        """Where the engines listen."""
        return re.findall(r"^(http://\S+)/v1 ", self.said(), flags=re.MULTILINE)

    def fault(self, kind: str, *, at: int = 0, **more: Any) -> None:
        """Let something go wrong with one of the engines."""
        try:
            post(f"{self.urls[at]}/emulated/fault", {"kind": kind, **more})
        except OSError as error:
            code = self.process.poll()
            raise AssertionError(f"{self.urls} {kind} {more}: exit code {code}") from error

    def begin_again(self) -> None:
        """Start it anew where it was."""
        port = self.urls[0].rpartition(":")[2]
        self.arguments[self.arguments.index("--port") + 1] = port
        self.begin()


class Gateway(Command):
    """``baseload serve`` with a configuration file, or with flags only."""

    def __init__(self, folder: Path, config: Json | None, *flags: str, name: str = "serve") -> None:
        self.config_path = folder / f"{name}.yaml"
        arguments = ["serve", "--port", "0", "--log", "json", *flags]
        if config is not None:
            self.write(config)
            arguments += ["--config", str(self.config_path)]
        ready = r"baseload serve: ready on (http://\S+)"
        super().__init__(arguments, output=folder / f"{name}.log", ready=ready)

    def write(self, config: Json) -> None:
        """Replace the configuration file in one go (JSON is YAML)."""
        new = self.config_path.with_suffix(".new")
        new.write_text(json.dumps(config))
        new.replace(self.config_path)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.match[1]

    def page(self, path: str) -> Json:
        """A JSON page."""
        return json.loads(get(self.url + path))

    def metrics(self) -> dict[str, float]:
        """Its metrics: a sample's name with its labels, as the page has them, and its number."""
        found = {}
        for line in get(f"{self.url}/metrics").decode().splitlines():
            if line and not line.startswith("#"):
                name, _, number = line.rpartition(" ")
                found[name] = float(number)
        return found

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric over all series with ``labels``."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        return sum(
            number
            for sample, number in self.metrics().items()
            if sample.partition("{")[0] == name and all(part in sample for part in wanted)
        )

    def log(self) -> list[Json]:
        """The lines of its log that are of requests."""
        lines = [json.loads(line) for line in self.said().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == "request"]
