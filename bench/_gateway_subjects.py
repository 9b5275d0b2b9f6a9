"""What the gateway bench measures: each a process of its own, started anew for each round.

Peers are installed into environments of their own under out/bench-venvs at first use. A subject
that cannot be had says why.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from _gateway_load import tree
from common import ROOT

VENVS = ROOT / "out" / "bench-venvs"
FOLDER = ROOT / "out" / "bench-gateway"
HERE = Path(__file__).parent
KEY = "sk-bench-0123456789abcdef0123456789abcdef"
REPLICAS = (("A100-SXM4-80GB", 160), ("H100-SXM-80GB", 128), ("L4-24GB", 32))
ON_CORE = (
    "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); a = sys.argv[2:];"
    " os.execvp(a[0], a)"
)
"""Python that keeps itself on a core and then becomes the command."""

PACKAGES = {
    "sglang-router": ("sglang-router",),
    "litellm": ("litellm[proxy]", "prometheus-client"),
}


class Subject(NamedTuple):
    """A process to measure: its command for its own port and that of the mock engine, what it needs
    in its environment, and why it is missing (empty: it is there).
    """

    name: str
    command: Callable[[int, int], list[str]]
    environment: Mapping[str, str] = {}
    missing: str = ""
    ready_s: float = 20.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def installed(name: str, say: Callable[[str], None]) -> str:
    """Why a peer cannot be had, empty where it can: installs it once, as the network allows."""
    folder, packages = VENVS / name, PACKAGES[name]
    done = folder / ".installed"
    wanted = " ".join(packages)
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return ""
    say(f"installing {wanted} into {folder.relative_to(ROOT)}")
    VENVS.mkdir(parents=True, exist_ok=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*pip, "--disable-pip-version-check", *packages],
    ):
        try:
            made = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"not installed: {type(error).__name__}"
        if made.returncode:
            last = [line for line in made.stderr.splitlines() if "ERROR" in line]
            return f"not installed: {(last or ['pip failed'])[-1][:120]}"
    done.write_text(wanted, encoding="utf-8")
    return ""


def version_of(name: str) -> str:
    """The version of a peer in its environment, empty where it has none."""
    python = VENVS / name / "bin" / "python"
    words = f"import importlib.metadata as m; print(m.version({name!r}))"
    try:
        done = subprocess.run(
            [str(python), "-c", words], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()


def relay(kind: str) -> Subject:
    """The floor or the plain relay of ``_gateway_relays``."""
    script = str(HERE / "_gateway_relays.py")
    return Subject(kind, lambda port, mock: [sys.executable, script, kind, str(port), str(mock)])


def sglang_router(say: Callable[[str], None]) -> Subject:
    """sglang-router with one worker, as it comes."""

    def command(port: int, mock: int) -> list[str]:
        python = str(VENVS / "sglang-router" / "bin" / "python")
        flags = ["--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin"]
        metrics = ["--prometheus-port", str(free_port()), "--log-level", "error"]
        worker = ["--worker-urls", f"http://127.0.0.1:{mock}"]
        return [python, "-m", "sglang_router.launch_router", *flags, *metrics, *worker]

    missing = installed("sglang-router", say)
    return Subject("sglang-router", command, missing=missing, ready_s=60.0)


def litellm(say: Callable[[str], None], *, alone: bool = False) -> Subject:
    """LiteLLM's proxy, one worker: the gateway's job, that is a key, the choice among as many
    replicas, Prometheus metrics on. ``alone``: a key and one replica, no metrics.
    """
    name = "litellm-alone" if alone else "litellm"
    config = FOLDER / f"{name}.yaml"

    def command(port: int, mock: int) -> list[str]:
        engine = f"http://127.0.0.1:{mock}"
        bases = [f"{engine}/v1"] if alone else [f"{url}/v1" for url in replica_urls(mock)]
        content: dict[str, object] = {
            "model_list": [
                {
                    "model_name": "mock",
                    "litellm_params": {"model": "openai/mock", "api_base": base, "api_key": "none"},
                }
                for base in bases
            ],
            "general_settings": {"master_key": KEY},
        }
        if not alone:
            content["litellm_settings"] = {"callbacks": ["prometheus"]}
        config.write_text(json.dumps(content), encoding="utf-8")
        script = str(VENVS / "litellm" / "bin" / "litellm")
        flags = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        return [script, "--config", str(config), *flags]

    missing = installed("litellm", say)
    own = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "PYTHONPATH": ""}
    return Subject(name, command, environment=own, missing=missing, ready_s=180.0)


def replica_urls(mock: int) -> list[str]:
    """Where the mock engine answers as each of the replicas."""
    count = sum(number for _, number in REPLICAS)
    return [f"http://127.0.0.1:{mock}/r/{number}" for number in range(count)]


def gateway_config(port: int, mock: int) -> dict[str, object]:
    """Our gateway's configuration: keys, 320 replicas of three kinds, metrics on."""
    groups, left = [], replica_urls(mock)
    for device, count in REPLICAS:
        urls, left = left[:count], left[count:]
        weights = "meta-llama/Llama-3.1-8B-Instruct"
        groups.append(
            {"model": "mock", "engine": "vllm", "urls": urls, "device": device, "weights": weights}
        )
    return {
        "listen": {"host": "127.0.0.1", "port": port},
        "models": [{"name": "mock"}],
        "replicas": groups,
        "keys": [{"name": "bench", "value": "env:BASELOAD_BENCH_KEY"}],
        "telemetry": {"log": "off"},
    }


def gateway() -> Subject:
    """``baseload serve``: keys, the decision over 320 replicas, metrics."""
    from baseload.cli.main import app

    known = {command.callback.__name__ for command in app.registered_commands if command.callback}
    missing = "" if "serve" in known else "this version has no `baseload serve`"

    def command(port: int, mock: int) -> list[str]:
        config = FOLDER / "gateway.yaml"
        config.write_text(json.dumps(gateway_config(port, mock)), encoding="utf-8")  # JSON is YAML
        main = [sys.executable, "-m", "baseload.cli.main"]
        return [*main, "serve", "--config", str(config), "--port", str(port)]

    own = {"BASELOAD_BENCH_KEY": KEY, "OPENBLAS_NUM_THREADS": "1"}
    return Subject("gateway", command, environment=own, missing=missing, ready_s=180.0)


def ready(port: int) -> bool:
    """Whether a chat request is answered there."""
    body = {"model": "mock", "messages": [{"role": "user", "content": "Are you there?"}]}
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {KEY}"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=5.0) as answer:
            return bool(answer.status == 200 and answer.read())
    except (urllib.error.URLError, OSError, ValueError):
        return False


@contextmanager
def running(subject: Subject, mock: int, core: int) -> Iterator[tuple[int, int]]:
    """The subject on ``core``, ready: its port and process. It is ended afterwards with all that it
    started. Raises ``RuntimeError`` with the end of its words where it does not get ready.
    """
    port = free_port()
    FOLDER.mkdir(parents=True, exist_ok=True)
    said = FOLDER / f"{subject.name}.log"
    with said.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", ON_CORE, str(core), *subject.command(port, mock)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **subject.environment},
        )
    try:
        begin = time.monotonic()
        while not ready(port):
            if process.poll() is not None or time.monotonic() - begin > subject.ready_s:
                words = said.read_text(errors="replace")[-1500:]
                raise RuntimeError(f"{subject.name} did not get ready:\n{words}")
            time.sleep(0.2)
        yield port, process.pid
    finally:
        every = tree(process.pid)
        process.terminate()
        try:
            process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for one in every[1:]:
            try:
                os.kill(one, signal.SIGKILL)
            except ProcessLookupError:
                continue


@contextmanager
def mock_engine(core: int) -> Iterator[int]:
    """The mock engine on ``core``: its port."""
    port = free_port()
    command = [sys.executable, str(HERE / "_gateway_mock.py"), str(port), str(core)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield port
    finally:
        process.terminate()
        process.wait()
