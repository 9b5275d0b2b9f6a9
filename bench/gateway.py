"""What the gateway costs: CPU per request and chunk, latency, memory, beside relays and peers.

Each round starts each subject anew on one core; the mock engine and the load have another. Subjects
take turns, so that a noisy minute hits all; ratios are taken inside a round. Measured are: the
floor (raw asyncio + httptools), a plain relay (uvicorn + aiohttp), sglang-router, and, each with a
key, the choice among 320 replicas and metrics, LiteLLM and `baseload serve`. LiteLLM is measured
with a key, one replica and no metrics as well (litellm-alone). Peers are installed into
out/bench-venvs at first use, as the network allows. Writes bench/results/gateway.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _gateway_load import cpu_s_of, rss_mb_of
from _gateway_subjects import (
    KEY,
    Subject,
    gateway,
    litellm,
    mock_engine,
    relay,
    running,
    sglang_router,
    version_of,
)
from common import Bench, child, measure, ratios, skipped

LOAD = Path(__file__).with_name("_gateway_load.py")
SLOW = ("litellm", "litellm-alone")
"""Subjects that cannot keep up with the paced and open loads of the others: they get less."""

NAMES = ("floor", "plain", "sglang-router", "litellm", "litellm-alone", "gateway")
Figures = dict[str, list[dict[str, Any]]]


class Session:
    """The machine's two sides, and how long to measure."""

    def __init__(self, bench: Bench, mock: int, load_core: int, core: int) -> None:
        self.bench, self.mock, self.load_core, self.core = bench, mock, load_core, core
        self.window_s = 1.0 if bench.quick else 4.0
        self.tokens = 100 if bench.quick else 400
        self.open_s = 2.0 if bench.quick else 8.0
        self.rate_per_s = 200.0

    def load(self, task: str, port: int, pid: int, **more: Any) -> dict[str, Any]:
        """One load in a process of its own."""
        given = {"core": self.load_core, "port": port, "pid": pid, "key": KEY}
        return child(LOAD, task, given | more)

    def latency(self, port: int, pid: int, *, seed: int, slow: bool = False) -> dict[str, Any]:
        """Streams that begin at 200 a second (a slow subject: 5)."""
        rate_per_s = 5.0 if slow else self.rate_per_s
        given = {"rate_per_s": rate_per_s, "length_s": self.open_s, "tokens": 5, "seed": seed}
        return self.load("open_loop", port, pid, **given)

    def chunks(self, port: int, pid: int, *, slow: bool = False) -> dict[str, Any]:
        """Paced streams side by side (a slow subject: one)."""
        streams, tokens = (1, self.tokens // 2) if slow else (40, self.tokens)
        return self.load("paced", port, pid, streams=streams, tokens=tokens)

    def at_rest(self, pid: int) -> float:
        """Share of a core that a subject takes when nobody asks it anything."""
        cpu_s, begin = cpu_s_of(pid), time.monotonic()
        time.sleep(2.0)
        return (cpu_s_of(pid) - cpu_s) / (time.monotonic() - begin)

    def round(self, subject: Subject, seed: int) -> dict[str, Any]:
        """All figures of one subject, direct ones beside them."""
        slow = subject.name in SLOW
        with running(subject, self.mock, self.core) as (port, pid):
            rest_frac = self.at_rest(pid)
            closed = self.load(
                "closed", port, pid, connections=16, warm_s=1.0, window_s=self.window_s
            )
            direct = self.latency(self.mock, os.getpid(), seed=seed, slow=slow)
            through = self.latency(port, pid, seed=seed, slow=slow)
            bare = self.chunks(self.mock, os.getpid(), slow=slow)
            chunks = self.chunks(port, pid, slow=slow)
        bad = closed["bad"] + through["bad"] + chunks["bad"]
        return {"closed": closed, "direct": direct, "through": through, "bare": bare} | {
            "chunks": chunks,
            "bad": bad,
            "rest_frac": rest_frac,
            "request_us": closed["cpu_us"],
            "net_request_us": closed["cpu_us"] - 1e6 * rest_frac / max(1.0, closed["per_s"]),
            "chunk_us": chunks["cpu_us"],
            "added_p50_ms": through["ttft_ms"][0] - direct["ttft_ms"][0],
            "added_p99_ms": through["ttft_ms"][2] - direct["ttft_ms"][2],
            "gap_ms": abs(chunks["gap_ms"][0] - bare["gap_ms"][0]),
        }


def subjects(bench: Bench, wanted: list[str]) -> list[Subject]:
    """Those asked for, in the order in which they take turns."""
    makers: dict[str, Callable[[], Subject]] = {
        "floor": lambda: relay("floor"),
        "plain": lambda: relay("plain"),
        "sglang-router": lambda: sglang_router(bench.say),
        "litellm": lambda: litellm(bench.say),
        "litellm-alone": lambda: litellm(bench.say, alone=True),
        "gateway": gateway,
    }
    return [make() for name, make in makers.items() if name in wanted]


def measured(
    bench: Bench, session: Session, every: list[Subject]
) -> tuple[Figures, dict[str, str]]:
    """The figures of each subject by round, and why subjects are missing."""
    figures: Figures = {}
    missing = {one.name: one.missing for one in every if one.missing}
    for turn in range(bench.repeats(5)):
        for subject in every:
            if subject.name in missing:
                continue
            try:
                found = session.round(subject, turn)
            except RuntimeError as error:
                missing[subject.name] = str(error).splitlines()[0]
                bench.say(str(error))
                continue
            figures.setdefault(subject.name, []).append(found)
            bench.say(
                f"round {turn + 1}: {subject.name}: {found['request_us']:,.1f} us a request,"
                f" {found['chunk_us']:,.1f} us a chunk, added TTFT {found['added_p50_ms']:.2f} /"
                f" {found['added_p99_ms']:.2f} ms, gap {found['gap_ms']:.3f} ms, {found['bad']} bad"
            )
    return figures, {name: why for name, why in missing.items() if name not in figures}


def column(figures: Figures, name: str, key: str) -> list[float]:
    """One figure of a subject, by round."""
    return [each[key] for each in figures[name]]


def report(bench: Bench, figures: Figures, missing: dict[str, str], wanted: list[str]) -> None:
    """Lines for each subject, then the ratios."""
    limits: dict[str, dict[str, float]] = {
        "request_us": {"at_most": 200.0},
        "added_p50_ms": {"at_most": 1.5},
        "added_p99_ms": {"at_most": 10.0},
        "gap_ms": {"at_most": 0.2},
    }
    words = {
        "request_us": ("CPU per request, not streamed, 16 connections", "us"),
        "net_request_us": ("the same without what it takes at rest", "us"),
        "chunk_us": ("CPU per SSE chunk, paced 10 ms", "us"),
        "added_p50_ms": ("added TTFT p50 at 200 requests/s", "ms"),
        "added_p99_ms": ("added TTFT p99 at 200 requests/s", "ms"),
        "gap_ms": ("chunk gap, median, off direct", "ms"),
        "bad": ("answers that were not 200, or broke", "answers"),
    }
    for name in NAMES:
        if name in missing:
            bench.add(skipped(name, missing[name]))
        if name not in figures:
            continue
        for key, (what, unit) in words.items():
            said = what.replace("200 requests/s", "5 requests/s") if name in SLOW else what
            goal = limits.get(key, {}) if name == "gateway" else {}
            bench.add(measure(f"{name}: {said}", unit, column(figures, name, key), **goal))
    versus(bench, figures, "gateway", "sglang-router", "request_us", at_most=4.0)
    versus(bench, figures, "litellm", "gateway", "request_us", at_least=60.0)
    versus(bench, figures, "litellm-alone", "gateway", "request_us")
    versus(bench, figures, "gateway", "plain", "request_us")
    versus(bench, figures, "gateway", "plain", "chunk_us", at_most=1.5)
    for name in wanted:
        if name != "floor":
            versus(bench, figures, name, "floor", "request_us")


def versus(bench: Bench, figures: Figures, above: str, below: str, key: str, **goal: float) -> None:
    """The ratio of two subjects' figures within each round."""
    if above not in figures or below not in figures:
        return
    what = {"request_us": "CPU per request", "chunk_us": "CPU per SSE chunk"}[key]
    values = ratios(column(figures, above, key), column(figures, below, key))
    bench.add(measure(f"{what}: {above} over {below}", "times", values, **goal))


def at_rest(bench: Bench, session: Session, subject: Subject) -> None:
    """Memory and CPU of the gateway when nobody asks it anything, and memory under load."""
    quiet_s = 3.0 if bench.quick else 15.0
    minutes = bench.options.memory_minutes
    if minutes is None:
        minutes = 0.2 if bench.quick else 5.0
    with running(subject, session.mock, session.core) as (port, pid):
        cpu_s, begin = cpu_s_of(pid), time.monotonic()
        time.sleep(quiet_s)
        idle_ms = 1e3 * (cpu_s_of(pid) - cpu_s) / (time.monotonic() - begin)
        bench.add(measure(f"{subject.name}: memory at rest", "MB", [rss_mb_of(pid)], at_most=160.0))
        bench.add(measure(f"{subject.name}: CPU at rest, probes of replicas", "ms/s", [idle_ms]))
        if minutes <= 0:
            return
        length_s = 60.0 * minutes
        bench.say(f"300 streams a second for {minutes:g} minutes")
        found = session.load(
            "soak", port, pid, rate_per_s=300.0, length_s=length_s, every_s=length_s / 60
        )
    settle_s = min(300.0, length_s / 3)
    after = [rss for at_s, rss in found["samples"] if at_s >= settle_s]
    # Means of the first and last tenth: single samples jump by what happens to be in flight.
    tenth = max(1, len(after) // 10)
    growth = statistics.fmean(after[-tenth:]) - statistics.fmean(after[:tenth])
    bench.inputs["memory"] = {"minutes": minutes, "settled_after_s": settle_s} | found
    long_enough = minutes >= 30
    name = f"{subject.name}: memory growth over {minutes:g} minutes after the first {settle_s:g} s"
    bench.add(measure(name, "MB", [growth], **({"at_most": 5.0} if long_enough else {})))
    if not long_enough:
        bench.notes.append(
            f"memory was watched for {minutes:g} minutes; the goal (5 MB) is for 30:"
            " --memory-minutes 30"
        )


def flags(parser: argparse.ArgumentParser) -> None:
    """What this bench takes beside the usual."""
    parser.add_argument(
        "--memory-minutes",
        type=float,
        metavar="M",
        help="watch the gateway's memory at 300 requests/s so long (default 5, quick 0.2, 0: not)",
    )
    parser.add_argument(
        "--subjects", default=",".join(NAMES), metavar="LIST", help=f"of {', '.join(NAMES)}"
    )


def main() -> None:
    """Measure, show goals against figures, write."""
    assert __doc__ is not None
    packages = ("uvicorn", "uvloop", "httptools", "aiohttp")
    bench = Bench("gateway", __doc__, packages=packages, one_core=False, flags=flags)
    wanted = bench.options.subjects.split(",")
    cores = sorted(os.sched_getaffinity(0))
    load_core, core = cores[0], cores[-1]
    if load_core == core:
        bench.notes.append("one core only: load, mock engine and subject share it")
    every = subjects(bench, wanted)
    for name in ("sglang-router", "litellm"):
        if version := version_of(name):
            bench.versions[name] = version
    with mock_engine(load_core) as mock:
        session = Session(bench, mock, load_core, core)
        bench.inputs |= {
            "window_s": session.window_s,
            "streams": 40,
            "tokens": session.tokens,
            "open_loop_s": session.open_s,
        }
        figures, missing = measured(bench, session, every)
        report(bench, figures, missing, wanted)
        ours = next((one for one in every if one.name == "gateway" and not one.missing), None)
        if ours is not None and "gateway" in figures:
            at_rest(bench, session, ours)
    goals(bench)
    bench.write()


def goals(bench: Bench) -> None:
    """The goals against the figures, alone."""
    rows = [row for row in bench.measures if "goal" in row]
    print("\ngoal" + " " * 62 + "figure   wanted")
    for row in rows:
        met = "met" if row["met"] else "MISSED"
        print(f"{row['name']:<62} {row['median']:>9,.4g}   {row['goal']} {row['unit']}: {met}")
    if not rows:
        print("none measured: the gateway was not there")


if __name__ == "__main__":
    main()
