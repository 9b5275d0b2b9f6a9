"""Does the gateway do live what the simulator says? One trace, both ways.

Emulated replicas as processes of their own behind `baseload serve`, a slice of the Azure chat trace
sent by `baseload replay` in real time; then exactly those requests through `baseload simulate`:
same fleet, same policy, lengths forecast online in both. Compared are the energy (meters of the
emulators over the time of the trace), mean time to first token, and mean time per token.
Writes bench/results/live_vs_simulated.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from _gateway_load import tree
from _gateway_subjects import free_port
from common import ROOT, Bench, measure, write_text

MODEL = "meta-llama/Llama-3.1-8B"
FLEET = (("h100-llama-8b", "H100-SXM-80GB", 2), ("a100-llama-8b", "A100-SXM4-80GB", 2))
"""Type of the emulator, the same as a device, and how many replicas."""

METER = "baseload_emulated_energy_joules_total{"
MAX_QUEUE = 64
TIER = {"name": "interactive", "ttft_s": 2.0, "tpot_s": 0.1, "target_miss_frac": 0.01}
CARBON_G_PER_KWH = 363
MAIN = [sys.executable, "-m", "baseload.cli.main"]


@contextmanager
def process(name: str, command: Sequence[str], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs as long as the block; its words go into a file of ``out``."""
    with (out / f"{name}.log").open("wb") as log:
        running = subprocess.Popen(
            [*MAIN, *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
    try:
        yield running
    finally:
        every = tree(running.pid)[1:]
        running.terminate()
        try:
            running.wait(timeout=20.0)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        for pid in every:
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue


def got(url: str) -> str | None:
    """What a GET gives, ``None`` where there is no good answer."""
    try:
        with urllib.request.urlopen(url, timeout=5.0) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return None


def wait_for(url: str, what: subprocess.Popen[bytes], log: Path, *, most_s: float = 300.0) -> None:
    """Come back when ``url`` answers. Raises ``RuntimeError`` with the end of the process's words
    when it ends or takes too long.
    """
    begin = time.monotonic()
    while got(url) is None:
        if what.poll() is not None or time.monotonic() - begin > most_s:
            raise RuntimeError(f"{url} does not answer:\n{log.read_text()[-2000:]}")
        time.sleep(0.2)


class Meters(threading.Thread):
    """Reads the meters of all emulators twice a second: joules in engine steps, and all others."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self.ports, self.over = ports, threading.Event()
        self.samples: list[tuple[int, float, float]] = []

    def run(self) -> None:
        """Read until ``over``, and once more then."""
        while True:
            last = self.over.is_set()
            self.samples.append(self.read())
            if last:
                return
            self.over.wait(0.5)

    def read(self) -> tuple[int, float, float]:
        """Unix time [ns], joules in steps, other joules, since the emulators started."""
        active_j = rest_j = 0.0
        instant_ns = time.time_ns()
        for port in self.ports:
            for line in (got(f"http://127.0.0.1:{port}/metrics") or "").splitlines():
                if line.startswith(METER):
                    value = float(line.rpartition("}")[2].split()[0])
                    if 'state="active"' in line:
                        active_j += value
                    else:
                        rest_j += value
        return instant_ns, active_j, rest_j

    def over_trace(self, began_ns: int, span_s: float) -> float:
        """Joules of a run as a simulation counts them (docs/decisions/0005): work from the run's
        beginning to its last answer, rest only up to the last arrival.
        """
        at_ns, active_j, rest_j = (np.array(column) for column in zip(*self.samples, strict=True))
        ends_ns = [began_ns, began_ns + round(span_s * 1e9)]
        worked_j = active_j[-1] - np.interp(began_ns, at_ns, active_j)
        return float(worked_j + np.diff(np.interp(ends_ns, at_ns, rest_j))[0])


def gateway_file(port: int, ports: Sequence[int]) -> dict[str, Any]:
    """The gateway's configuration: the emulators as they are."""
    groups, left = [], list(ports)
    for _, device, count in FLEET:
        urls = [f"http://127.0.0.1:{one}" for one in left[:count]]
        left = left[count:]
        groups.append(
            {
                "model": MODEL,
                "engine": "vllm",
                "urls": urls,
                "device": device,
                "weights": MODEL,
                "max_queue": MAX_QUEUE,
            }
        )
    return {
        "listen": {"host": "127.0.0.1", "port": port},
        "models": [{"name": MODEL}],
        "replicas": groups,
        "tiers": [TIER],
        "policy": "baseload",
        "carbon_g_per_kwh": CARBON_G_PER_KWH,
        "telemetry": {"log": "off"},
    }


def scenario_file(trace: Path) -> dict[str, Any]:
    """The same fleet and promises as a scenario, over the requests that were sent."""
    fleet = [{"device": device, "model": MODEL, "replicas": count} for _, device, count in FLEET]
    return {
        "trace": {"file": str(trace)},
        "fleet": fleet,
        "tiers": [TIER | {"classes": ["chat"]}],
        "carbon_g_per_kwh": CARBON_G_PER_KWH,
        "max_queue": MAX_QUEUE,
        "forecast": "online",
        "policies": ["baseload"],
    }


def live(out: Path, rate_per_s: float, seconds: float, say: Any) -> dict[str, Any]:
    """The trace at the gateway: figures of its requests, and what the emulators drew meanwhile."""
    with ExitStack() as stack:
        ports: list[int] = []
        for kind, _, count in FLEET:
            for _ in range(count):
                port = free_port()
                name = f"{kind}-{port}"
                command = ["emulate", "--type", kind, "--port", str(port), "--model-name", MODEL]
                running = stack.enter_context(process(name, command, out))
                wait_for(f"http://127.0.0.1:{port}/health", running, out / f"{name}.log")
                ports.append(port)
        say(f"{len(ports)} emulated replicas are up")
        port = free_port()
        write_text(json.dumps(gateway_file(port, ports), indent=1), out / "gateway.yaml")
        command = ["serve", "--config", str(out / "gateway.yaml"), "--port", str(port)]
        running = stack.enter_context(process("gateway", command, out))
        wait_for(f"http://127.0.0.1:{port}/ready", running, out / "gateway.log")
        say(f"the gateway is ready; {seconds:g} s of trace at {rate_per_s:g} requests/s")
        meters = Meters(ports)
        meters.start()
        flags = ["--url", f"http://127.0.0.1:{port}", "--rate", str(rate_per_s), "--quiet"]
        flags += ["--seconds", str(seconds), "--model", MODEL, "--tier", TIER["name"]]
        replay = subprocess.Popen(
            [*MAIN, "replay", "azure-chat", *flags, "--out", str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        words = replay.communicate()[0].decode()
        meters.over.set()
        meters.join()
        if replay.returncode:
            raise RuntimeError(f"replay failed:\n{words[-2000:]}")
        print(words)
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    energy_j = meters.over_trace(result["began_unix_ns"], result["trace"]["span_s"])
    return {"energy_j": energy_j, "result": result}


def simulated(out: Path) -> dict[str, Any]:
    """The same requests in the simulator."""
    write_text(json.dumps(scenario_file(out / "trace.parquet"), indent=1), out / "scenario.yaml")
    flags = ["--json", "-", "--quiet", "--requests", str(out / "simulated.parquet")]
    done = subprocess.run(
        [*MAIN, "simulate", str(out / "scenario.yaml"), "-p", "baseload", *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"simulate failed:\n{done.stderr[-2000:]}")
    return dict(json.loads(done.stdout))


def means(rows: pl.DataFrame) -> dict[str, float]:
    """Mean TTFT, TPOT and whole answer [s], mean output tokens, of columns ``arrival_s``,
    ``first_s``, ``finish_s``, ``output_tokens``.
    """
    ttft = rows["first_s"] - rows["arrival_s"]
    several = rows.filter(pl.col("output_tokens") > 1)
    tpot = (several["finish_s"] - several["first_s"]) / (several["output_tokens"] - 1)
    whole = rows["finish_s"] - rows["arrival_s"]
    return {
        "ttft_s": _mean(ttft),
        "tpot_s": _mean(tpot),
        "e2e_s": _mean(whole),
        "output_tokens": _mean(rows["output_tokens"]),
        "input_tokens": _mean(rows["input_tokens"]),
    }


def _mean(values: pl.Series) -> float:
    return statistics.fmean(values.drop_nulls().to_list())


def compare(bench: Bench, lived: dict[str, Any], simulation: dict[str, Any], out: Path) -> None:
    """The lines of the result."""
    result, policy = lived["result"], simulation["policies"][0]
    rows = pl.read_parquet(out / "requests.parquet").filter(pl.col("kind") == "")
    from_due = means(rows.rename({"due_s": "arrival_s", "last_s": "finish_s"}))
    own = means(pl.read_parquet(out / "simulated.parquet"))
    sim_j = policy["energy_j"]
    bench.inputs |= {
        "trace": result["trace"],
        "fleet": [f"{count} x {device}" for _, device, count in FLEET],
        "live": from_due | {"energy_j": lived["energy_j"], "wall_s": result["wall_s"]},
        "simulated": own | {"energy_j": sim_j},
        "gateway_energy": result["energy"],
        "failures": result["failures"],
        "sent_late_s": result["late_s"],
    }
    off = abs(lived["energy_j"] / sim_j - 1)
    bench.add(measure("energy, live off simulated", "frac", [off], at_most=0.03))
    for name, key in (("mean TTFT", "ttft_s"), ("mean TPOT", "tpot_s")):
        off = abs(from_due[key] / own[key] - 1)
        bench.add(measure(f"{name}, live off simulated", "frac", [off], at_most=0.1))
    failed = result["total"]["failed"]
    bench.add(measure("requests that failed", "requests", [float(failed)], at_most=0.0))
    for name, key in (("mean TTFT", "ttft_s"), ("mean TPOT", "tpot_s"), ("mean E2E", "e2e_s")):
        bench.add(measure(f"{name}, live", "ms", [1e3 * from_due[key]]))
        bench.add(measure(f"{name}, simulated", "ms", [1e3 * own[key]]))
    bench.add(measure("energy of the fleet, live", "J", [lived["energy_j"]]))
    bench.add(measure("energy of the fleet, simulated", "J", [sim_j]))
    told = result["energy"]["energy_j"]
    if told is not None:
        bench.add(measure("energy told in answers", "J", [told]))
    bench.notes += result["notes"]


def flags(parser: argparse.ArgumentParser) -> None:
    """What this bench takes beside the usual."""
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="of trace, in real time (default 10, quick 1)"
    )
    parser.add_argument(
        "--rate", type=float, default=8.0, metavar="PER_S", help="mean requests a second"
    )


def main() -> None:
    """Run both ways, compare, write."""
    packages = ("uvicorn", "uvloop", "aiohttp")
    bench = Bench(
        "live_vs_simulated", __doc__ or "", packages=packages, one_core=False, flags=flags
    )
    minutes = bench.options.minutes or (1.0 if bench.quick else 10.0)
    out = ROOT / "out" / "live-vs-simulated"
    out.mkdir(parents=True, exist_ok=True)
    lived = live(out, bench.options.rate, 60.0 * minutes, bench.say)
    bench.say("the same requests in the simulator")
    compare(bench, lived, simulated(out), out)
    bench.write()


if __name__ == "__main__":
    main()
