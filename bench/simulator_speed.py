"""How fast the simulator is: requests per CPU second with all metrics and energy on, and memory.

Fleets of 32 to 10,000 replicas in the proportions 50 % A100-80GB, 40 % H100, 10 % L4 of
Llama-3.1-8B, under ten minutes of the Azure 2023 conversation trace, multiplied to half of the
fleet's capacity and repeated to at least two million requests. Requests are streamed: CPU time
includes making them. Writes bench/results/simulator_speed.json.
"""

from __future__ import annotations

import gc
from functools import partial
from typing import Any

from _inputs import described, loaded_scenario, mixed_fleet, traced
from baseload.cli.scenario_file import load_scenario
from baseload.routing.policies import POLICIES
from baseload.simulator.run import run_once
from baseload.simulator.scenario import Scenario
from baseload.workload.generator import generate
from common import (
    Bench,
    answer_task,
    child,
    measure,
    peak_rss_mb,
    pin,
    ratios,
    rounds,
    rss_mb,
    timed,
)

SOME = ("least_loaded", "power_of_two", "least_latency", "least_tokens", "energy_greedy")
GOALS = {320: 500_000.0, 10_000: 300_000.0}
SPAN_S = 600.0
GROWTH_SPAN_S = 120.0  # repeated until there are requests enough: the same load at any length


def speed(scenario: Scenario, policy: str) -> float:
    """Requests per CPU second of one run."""
    gc.collect()
    run = run_once(scenario, POLICIES[policy], scenario.requests(0))
    return run.requests / run.cpu_s


def memory_task(replicas: int, requests: int) -> dict[str, Any]:
    """In a process of its own: peak memory and CPU time of ``requests`` streamed requests."""
    pin()
    scenario = loaded_scenario(mixed_fleet(replicas), span_s=GROWTH_SPAN_S, min_requests=requests)
    before_mb = rss_mb()
    run = run_once(scenario, POLICIES["least_loaded"], scenario.requests(0))
    return {
        "requests": run.requests,
        "cpu_s": run.cpu_s,
        "peak_rss_mb": peak_rss_mb(),
        "rss_mb_before": before_mb,
    }


def day_task(requests: int | None) -> dict[str, Any]:
    """In a process of its own: the built-in synthetic day."""
    pin()
    scenario = load_scenario("synthetic-day")
    source = scenario.requests(0)
    if requests is not None:
        source = generate(seed=0, span_s=86_400.0, requests=requests)
    made_s, _ = timed(lambda: sum(len(piece) for piece in source.chunks()))
    run = run_once(scenario, POLICIES["least_loaded"], source)
    return {
        "requests": run.requests,
        "cpu_s": run.cpu_s,
        "trace_cpu_s": made_s,
        "peak_rss_mb": peak_rss_mb(),
    }


def fleets(bench: Bench) -> None:
    """Speed by fleet size and policy, the sizes taken in turn."""
    sizes = (32, 320) if bench.quick else (32, 320, 3_200, 10_000)
    at_least = 100_000 if bench.quick else 2_000_000
    span_s = GROWTH_SPAN_S if bench.quick else SPAN_S
    scenarios, subjects = {}, {}
    for size in sizes:
        groups = mixed_fleet(size)
        scenarios[size] = loaded_scenario(groups, span_s=span_s, min_requests=at_least)
        bench.say(f"hashing the trace of {size:,} replicas")
        bench.inputs[f"{size} replicas"] = {
            "fleet": described(groups),
            "trace": traced(scenarios[size].requests(0)),
            "load_frac": 0.5,
        }
    once: dict[str, Any] = {}
    for policy in POLICIES:
        for size in sizes:
            if size == 320 or policy in SOME:
                name = f"{policy}, {size:,} replicas"
                many = size <= 320 or policy == "least_loaded"
                (subjects if many else once)[name] = partial(speed, scenarios[size], policy)
    found = rounds(subjects, bench.repeats(), say=bench.say)
    found |= rounds(once, 1, say=bench.say)  # a minute or more each: one round
    for size in sizes:
        for policy in POLICIES:
            name = f"{policy}, {size:,} replicas"
            if name in found:
                goal = GOALS.get(size) if policy == "least_loaded" else None
                bench.add(measure(name, "requests/CPU-s", found[name], at_least=goal))
    small = found["least_loaded, 320 replicas"]
    large = found[f"least_loaded, {sizes[-1]:,} replicas"]
    bench.add(
        measure(
            f"CPU per request, {sizes[-1]:,} against 320 replicas, least_loaded",
            "times",
            ratios(small, large),
            at_most=2.5,
        )
    )


def growth(bench: Bench) -> None:
    """Memory and CPU per request as the trace grows, each run in its own process."""
    child(
        __file__, "memory", {"replicas": 320, "requests": 1}
    )  # compiles, where that is still to do
    counts = (100_000, 500_000) if bench.quick else (1_000_000, 5_000_000, 20_000_000)
    found: dict[int, list[dict[str, Any]]] = {count: [] for count in counts}
    for turn in range(bench.repeats()):
        for count in counts:
            row = child(__file__, "memory", {"replicas": 320, "requests": count})
            found[count].append(row)
            bench.say(f"round {turn + 1}: {row['requests']:,} requests: {row['cpu_s']:.2f} CPU-s")
    for count, rows in found.items():
        bench.add(
            measure(
                f"peak memory, 320 replicas, {count:,} requests",
                "MB",
                [row["peak_rss_mb"] for row in rows],
                at_most=1000.0,
                requests=rows[0]["requests"],
                rss_mb_before_the_run=rows[0]["rss_mb_before"],
            )
        )
    per = {c: [row["cpu_s"] / row["requests"] for row in rows] for c, rows in found.items()}
    first, last = counts[0], counts[-1]
    bench.add(
        measure(
            f"CPU per request, {last:,} against {first:,} requests",
            "times",
            ratios(per[last], per[first]),
            at_most=1.1,
        )
    )
    peak = {c: [row["peak_rss_mb"] for row in rows] for c, rows in found.items()}
    bench.add(
        measure(
            f"peak memory, {last:,} against {first:,} requests",
            "times",
            ratios(peak[last], peak[first]),
            at_most=1.1,
        )
    )
    large = {"replicas": 10_000, "requests": 3_000_000}
    rows = [] if bench.quick else [child(__file__, "memory", large) for _ in range(bench.repeats())]
    if rows:
        bench.add(
            measure(
                "peak memory, 10,000 replicas",
                "MB",
                [row["peak_rss_mb"] for row in rows],
                at_most=1000.0,
                requests=rows[0]["requests"],
            )
        )


def day(bench: Bench) -> None:
    """Twenty million requests over a day and 320 replicas, each run in its own process."""
    count = 500_000 if bench.quick else None
    rows = []
    for turn in range(bench.repeats()):
        rows.append(child(__file__, "day", {"requests": count}))
        bench.say(f"round {turn + 1}: a day in {rows[-1]['cpu_s']:.2f} CPU-s")
    total = rows[0]["requests"]
    bench.inputs["day"] = {"scenario": "synthetic-day", "requests": total, "seed": 0}
    bench.add(
        measure(
            f"a day, {total:,} requests, 320 replicas, trace made on the way",
            "CPU-s",
            [row["cpu_s"] for row in rows],
            at_most=40.0,
            of_it_making_the_trace_cpu_s=min(row["trace_cpu_s"] for row in rows),
        ),
        measure("the day, peak memory", "MB", [row["peak_rss_mb"] for row in rows], at_most=1000.0),
    )


def main() -> None:
    """Measure and write the result."""
    bench = Bench("simulator_speed", __doc__ or "")
    day(bench)
    growth(bench)
    fleets(bench)
    bench.notes.append(
        "All metrics, percentiles, energy by request and account, and time series are on. A run of "
        "10,000 replicas is ten simulated minutes. Memory is the process's, imports included."
    )
    bench.write()


if __name__ == "__main__" and not answer_task({"memory": memory_task, "day": day_task}):
    main()
