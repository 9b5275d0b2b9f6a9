"""What the gateway saves, seen: the same minute of real chat traffic through two gateways at once,
one that spreads the load and one that weighs joules, each before emulated engines of its own.

Run: python examples/gateway_demo.py [--seconds 40] [--rate 6] [--out out/demo/gateway]. The engines
are emulated (real timing and joules by the fleet's numbers, made-up words), the traffic is real
(Azure, 2023), and so are the gateways, the sockets and the clocks.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BASELOAD = [sys.executable, "-m", "baseload.cli.main"]
POLICIES = ("least_loaded", "baseload")
READY_S = 180.0
_READY = re.compile(r"ready on (http://[^ ]+)")
_METER = re.compile(r"^baseload_replica_engine_energy_joules\{[^}]*\} (\S+)$", re.MULTILINE)


def main() -> int:
    """Run both, print the table; gives the exit code."""
    asked = _asked()
    asked.out.mkdir(parents=True, exist_ok=True)
    print(f"two gateways, each before four emulated GPUs: {', '.join(POLICIES)}", flush=True)
    servers = [_Server(policy, asked.out) for policy in POLICIES]
    try:
        for server in servers:
            server.wait()
        before = [server.drawn_j() for server in servers]
        begun_s = time.monotonic()
        replays = [_replay(server, asked) for server in servers]
        codes = [replay.wait() for replay in replays]
        if any(codes):
            print("a replay failed: see its output above", file=sys.stderr)
            return 1
        # both fleets are metered over the same time, to the end of the slower one
        after = [server.drawn_j() for server in servers]
        _table(asked, before, after, time.monotonic() - begun_s)
    finally:
        for server in servers:
            server.stop()
    return 0


def _asked() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=40.0, help="of the trace to send")
    parser.add_argument("--rate", type=float, default=6.0, help="requests a second, mean")
    parser.add_argument("--out", type=Path, default=Path("out/demo/gateway"))
    return parser.parse_args()


class _Server:
    """One ``baseload serve`` on a free port."""

    def __init__(self, policy: str, out: Path) -> None:
        self.policy, self.url = policy, ""
        self._log = out / f"{policy}.log"
        config = ["--config", str(HERE / "gateway_demo.yaml"), "--policy", policy]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*BASELOAD, "serve", *config, "--port", "0", "--log", "off"],
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Wait until it serves; the first time on a machine kernels are compiled."""
        until_s = time.monotonic() + READY_S
        while time.monotonic() < until_s and self._process.poll() is None:
            found = _READY.search(self._log.read_text(encoding="utf-8", errors="replace"))
            if found:
                self.url = found[1]
                return
            time.sleep(0.1)
        raise SystemExit(f"the gateway did not begin:\n{self._log.read_text(encoding='utf-8')}")

    def drawn_j(self) -> float:
        """Joules that its engines have drawn, by their own meters."""
        time.sleep(2.5)  # meters are read once a second
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            page = answer.read().decode()
        return sum(float(value) for value in _METER.findall(page))

    def stop(self) -> None:
        """Let it go."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _replay(server: _Server, asked: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Begin to send the trace; the last one shows how far it is."""
    out = asked.out / server.policy
    command = [*BASELOAD, "replay", "azure-chat", "--url", server.url, "--out", str(out)]
    command += ["--rate", f"{asked.rate:g}", "--seconds", f"{asked.seconds:g}"]
    quiet = server.policy != POLICIES[-1]
    return subprocess.Popen(
        [*command, *(["--quiet"] if quiet else [])],
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def _table(
    asked: argparse.Namespace, before: list[float], after: list[float], span_s: float
) -> None:
    """Print what each has drawn, and what was saved."""
    print(
        f"\n{'policy':14}{'J an answer':>13}{'watts':>8}{'TTFT p50, p99':>18}{'TPOT p50':>11}"
        f"{'missed':>9}{'failed':>8}"
    )
    each: dict[str, float] = {}
    for policy, begun_j, ended_j in zip(POLICIES, before, after, strict=True):
        said: dict[str, Any] = json.loads((asked.out / policy / "result.json").read_text())
        total = said["total"]
        answers = total["answered"]
        each[policy] = (ended_j - begun_j) / max(1, answers)
        ttft, tpot = total["ttft_s"], total["tpot_s"]
        print(
            f"{policy:14}{each[policy]:13.1f}{(ended_j - begun_j) / span_s:8.0f}"
            f"{1e3 * ttft['p50']:9.0f},{1e3 * ttft['p99']:6.0f} ms{1e3 * tpot['p50']:8.1f} ms"
            f"{total['miss_frac'] or 0.0:9.1%}{total['failed']:8}"
        )
    first, ours = POLICIES
    saved = 1.0 - each[ours] / each[first]
    print(
        f"\n{ours} drew {abs(saved):.1%} {'less' if saved >= 0 else 'more'} than {first} for the "
        f"same requests: meters of\nthe emulated engines, idle ones included, one run of "
        f"{asked.seconds:g} s. What was sent and came back: {asked.out}.\n"
        "The live page: `baseload serve`, then open http://127.0.0.1:8080/"
    )


if __name__ == "__main__":
    sys.exit(main())
