"""The simulator beside others on the very same requests: a plain simpy model, our step engine,
and DynoSim.

The simpy model and the step engine have the same physics, so means and joules must agree as well;
the differences are reported. DynoSim is the offline replay inside ai-dynamo-runtime (an optional
package, no dependency); it has its own timing model, so only speed is compared, on one Mooncake
file that both tools read. Each of its runs is a process of its own, and times are user + system of
all threads. Writes bench/results/against_peers.json.
"""

from __future__ import annotations

import importlib.util
import resource
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import _simpy_model
from _inputs import (
    azure_piece,
    described,
    equal_fleet,
    loaded_scenario,
    mixed_fleet,
    poisson_trace,
    scenario_of,
    traced,
)
from baseload.routing.policies import POLICIES
from baseload.simulator.run import run_once
from baseload.simulator.scenario import Group, Scenario
from baseload.simulator.steps import run_steps
from baseload.sources import load_trace
from baseload.sources.trace_writers import write_mooncake
from baseload.workload.chunks import collect
from baseload.workload.trace import Trace
from baseload.workload.transform import slice_time
from common import (
    Bench,
    answer_task,
    child,
    measure,
    pin,
    ratios,
    rounds,
    skipped,
    timed,
)

DYNO_OPTIONS = {"router_mode": "round_robin", "trace_block_size": 512}
NO_PREFIX_CACHE = '{"engine": {"enable_prefix_caching": false}}'


# --- the same physics ------------------------------------------------------------------------


def replica_kinds(groups: tuple[Group, ...]) -> list[Any]:
    """The type of each replica, in order."""
    return [group.kind for group in groups for _ in range(group.replicas)]


def ours_rate(scenario: Scenario, policy: str, least_cpu_s: float = 0.5) -> float:
    """Requests per CPU second of the simulator; short traces again until the clock can tell."""
    requests, spent = 0, 0.0
    while spent < least_cpu_s:
        run = run_once(scenario, POLICIES[policy], scenario.requests(0))
        requests, spent = requests + run.requests, spent + run.cpu_s
    return requests / spent


def simpy_rate(groups: tuple[Group, ...], trace: Trace) -> float:
    """Requests per CPU second of the simpy model."""
    spent, _ = timed(lambda: _simpy_model.run(replica_kinds(groups), trace))
    return len(trace) / spent


class LeastLoaded:
    """Routes for the step engine as the simpy model does."""

    def __init__(self, replicas: int) -> None:
        self.in_flight = [0] * replicas

    def pick(self, index: int, now_s: float) -> int:  # noqa: ARG002
        """The replica with the fewest requests in flight, the first on a tie."""
        chosen = self.in_flight.index(min(self.in_flight))
        self.in_flight[chosen] += 1
        return chosen

    def done(self, index: int, replica: int, now_s: float) -> None:  # noqa: ARG002
        """A request has left."""
        self.in_flight[replica] -= 1


def steps_rate(groups: tuple[Group, ...], trace: Trace) -> float:
    """Requests per CPU second of our step engine, the plain oracle."""
    sizes = [group.replicas for group in groups]
    never = [None] * len(groups)
    spent, _ = timed(
        lambda: run_steps(
            types=[group.kind for group in groups],
            type_of_replica=np.repeat(np.arange(len(groups)), sizes),
            arrival_s=trace.t_us / 1e6,
            input_tokens=trace.input_tokens.astype(np.int64),
            output_tokens=trace.output_tokens.astype(np.int64),
            priority=np.zeros(len(trace), dtype=np.int64),
            router=LeastLoaded(sum(sizes)),
            park_after_s=never,
            off_after_s=never,
            horizon_s=trace.span_s,
        )
    )
    return len(trace) / spent


def disagreement(groups: tuple[Group, ...], trace: Trace) -> dict[str, float]:
    """Largest relative difference of mean TTFT, mean E2E and energy between simpy and ours."""
    ttft_s, e2e_s = [], []

    def keep(_policy: str, _seed: int, rows: Any) -> None:
        ttft_s.append(rows.first_s - rows.arrival_s)
        e2e_s.append(rows.finish_s - rows.arrival_s)

    scenario = scenario_of(groups, trace)
    policy = POLICIES["least_loaded"]
    run = run_once(scenario, policy, scenario.requests(0), log=keep)
    other = _simpy_model.run(replica_kinds(groups), trace)
    pairs = {
        "mean_ttft_s": (np.concatenate(ttft_s).mean(), np.mean(other.ttft_s)),
        "mean_e2e_s": (np.concatenate(e2e_s).mean(), np.mean(other.e2e_s)),
        "energy_j": (run.account_j.sum(), other.energy_j),
        "completed": (float(len(np.concatenate(e2e_s))), float(len(other.e2e_s))),
    }
    found = {name: float(one) for name, (one, _) in pairs.items()}
    differences = [abs(float(one / two) - 1.0) for one, two in pairs.values()]
    return found | {"largest_difference_frac": max(differences)}


def same_physics(bench: Bench) -> None:
    """Simpy and the step engine beside ours at 32 and 320 replicas."""
    span_s = 30.0 if bench.quick else 120.0
    for size in (32, 320):
        groups = mixed_fleet(size)
        heavy = collect(
            loaded_scenario(groups, span_s=max(span_s, 60.0), min_requests=1).requests(0)
        )
        light = poisson_trace(round(size * span_s), float(size))
        for load, trace in (("half load", slice_time(heavy, 0.0, span_s)), ("1/s each", light)):
            beside(bench, groups, trace, f"{size} replicas, {load}", size == 320)


def beside(bench: Bench, groups: tuple[Group, ...], trace: Trace, what: str, goal: bool) -> None:
    """One fleet and trace under ours and simpy; the step engine gets the first twentieth."""
    bench.inputs[what] = {"fleet": described(groups), "trace": traced(trace)}
    scenario = scenario_of(groups, trace)
    short = slice_time(trace, 0.0, trace.span_s / 20.0)
    agreed = disagreement(groups, trace)
    bench.say(f"{what}: simpy differs by {agreed['largest_difference_frac']:.2g}")
    found = rounds(
        {
            "ours": partial(ours_rate, scenario, "least_loaded"),
            "simpy": partial(simpy_rate, groups, trace),
            "steps": partial(steps_rate, groups, short),
        },
        bench.repeats(),
        say=bench.say,
    )
    bench.add(
        measure(f"ours, least_loaded, {what}", "requests/CPU-s", found["ours"]),
        measure(f"simpy, {what}", "requests/CPU-s", found["simpy"]),
        measure(f"our step engine, {what}", "requests/CPU-s", found["steps"], requests=len(short)),
        measure(
            f"ours / simpy, {what}",
            "times",
            ratios(found["ours"], found["simpy"]),
            at_least=30.0 if goal else None,
        ),
        measure(
            f"simpy and ours differ (means, joules), {what}",
            "fraction",
            [agreed["largest_difference_frac"]],
            at_most=1e-9,
            ours=agreed,
        ),
    )


# --- DynoSim ---------------------------------------------------------------------------------


def dyno_task(file: str, workers: int, options: dict[str, Any]) -> dict[str, Any]:
    """In a process of its own: DynoSim's replay of a Mooncake file."""
    from dynamo._core import run_mocker_trace_replay  # optional: not there everywhere

    pin()
    before = resource.getrusage(resource.RUSAGE_SELF)
    done = run_mocker_trace_replay([file], num_workers=workers, **DYNO_OPTIONS, **options)
    after = resource.getrusage(resource.RUSAGE_SELF)
    keys = ("completed_requests", "total_output_tokens", "prefix_cache_reused_ratio", "power_w")
    return {
        "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        **{key: done.summary.get(key) for key in keys},
    }


def ours_task(file: str, workers: int, times: int) -> dict[str, Any]:
    """In a process of its own: our replay of the same file, reading it included and apart."""
    pin()
    groups = equal_fleet(workers)
    run_once(scenario_of(groups, azure_piece(60.0)), POLICIES["round_robin"], _source(groups))
    load_trace(file)
    rows = []
    for _ in range(times):
        read_s, loaded = timed(lambda: load_trace(file))
        scenario = scenario_of(groups, loaded.trace)
        run = run_once(scenario, POLICIES["round_robin"], scenario.requests(0))
        rows.append((run.cpu_s, run.cpu_s + read_s))
    replay_s, whole_s = (float(np.median(column)) for column in zip(*rows, strict=True))
    return {
        "cpu_s": whole_s,
        "replay_cpu_s": replay_s,
        "completed": int(run.tally.completed.sum()),
        "output_tokens": int(run.tally.output_tokens.sum()),
        "energy_j": float(run.account_j.sum()),
        "requests": run.requests,
    }


def _source(groups: tuple[Group, ...]) -> Any:
    """A short trace that loads what is compiled."""
    return scenario_of(groups, azure_piece(60.0)).requests(0)


def dynosim(bench: Bench) -> None:
    """DynoSim beside ours on one file, at light and heavy load."""
    if importlib.util.find_spec("dynamo") is None:
        bench.add(skipped("DynoSim", "ai-dynamo-runtime is not installed (pip install it)"))
        return
    cases = [(64, 1.0, 40_000, 100.0), (8, 8.0, 40_000, 25.0), (320, 1.0, 100_000, None)]
    if bench.quick:
        cases = [(64, 1.0, 4_000, 100.0), (8, 8.0, 4_000, 25.0)]
    for workers, rate, count, goal in cases:
        beside_dynosim(bench, workers, rate, count, goal)


def beside_dynosim(bench: Bench, workers: int, rate: float, count: int, goal: float | None) -> None:
    """One case: both read the same file; ours also a longer one, past its start-up."""
    what = f"{workers} replicas, {rate:g}/s each"
    groups = equal_fleet(workers)
    trace = poisson_trace(count, workers * rate)
    longer = poisson_trace(count * 10, workers * rate, seed=1)
    bench.inputs[f"DynoSim: {what}"] = {
        "fleet of ours": described(groups),
        "trace": traced(trace),
        "longer trace of ours": traced(longer),
        "options of DynoSim": {"num_workers": workers, **DYNO_OPTIONS},
    }
    with tempfile.TemporaryDirectory() as folder:
        file, long_file = str(Path(folder) / "one.jsonl"), str(Path(folder) / "ten.jsonl")
        write_mooncake(trace, file)
        write_mooncake(longer, long_file)
        answers: dict[str, list[dict[str, Any]]] = {}
        bare = {"extra_engine_args": NO_PREFIX_CACHE} if goal else None  # the large case is slow
        found = rounds(
            {
                "dyno": _asking(answers, "dyno", file=file, workers=workers, options={}),
                "reading": _asking(
                    answers,
                    "reading",
                    file=file,
                    workers=workers,
                    options={"max_sim_time_ms": 1.0},
                ),
                "ours": _asking(answers, "ours", file=file, workers=workers, times=5),
                "longer": _asking(answers, "longer", file=long_file, workers=workers, times=2),
            }
            | (
                {"bare": _asking(answers, "bare", file=file, workers=workers, options=bare)}
                if bare
                else {}
            ),
            bench.repeats(),
            say=bench.say,
        )
    _check_complete(answers["dyno"], answers["ours"], count)
    rates = {name: [count / cpu_s for cpu_s in values] for name, values in found.items()}
    reading_s = statistics.median(found["reading"])
    rates["dyno, no reading"] = [count / (cpu_s - reading_s) for cpu_s in found["dyno"]]
    for name, requests in (("ours", count), ("longer", 10 * count)):
        rates[name] = [requests / cpu_s for cpu_s in found[name]]
        rates[f"{name}, no reading"] = [requests / one["replay_cpu_s"] for one in answers[name]]
    last = answers["dyno"][-1]
    if bare:
        name = f"DynoSim without prefix cache, {what}"
        bench.add(measure(name, "requests/CPU-s", rates["bare"]))
    bench.add(
        measure(
            f"DynoSim, {what}",
            "requests/CPU-s",
            rates["dyno"],
            requests=count,
            output_tokens=last["total_output_tokens"],
            reading_the_file_cpu_s=reading_s,
            prefix_cache_reused_frac=last["prefix_cache_reused_ratio"],
            power_w=last["power_w"],
        ),
        measure(
            f"ours, round_robin, {what}",
            "requests/CPU-s",
            rates["ours, no reading"],
            requests=count,
        ),
        measure(
            f"ours, ten times the requests, {what}",
            "requests/CPU-s",
            rates["longer, no reading"],
            requests=10 * count,
        ),
        measure(
            f"ours / DynoSim, {what}",
            "times",
            ratios(rates["ours, no reading"], rates["dyno, no reading"]),
            at_least=goal,
        ),
        measure(
            f"ours (ten times the requests) / DynoSim, {what}",
            "times",
            ratios(rates["longer, no reading"], rates["dyno, no reading"]),
        ),
        measure(
            f"ours / DynoSim, reading the file included, {what}",
            "times",
            ratios(rates["ours"], rates["dyno"]),
        ),
    )


def _asking(answers: dict[str, dict[str, Any]], name: str, **arguments: Any) -> Callable[[], float]:
    """A subject that runs in a process of its own; its last answer is kept."""
    task = "ours" if "times" in arguments else "dyno"

    def subject() -> float:
        answers.setdefault(name, []).append(child(__file__, task, arguments))
        return float(answers[name][-1]["cpu_s"])

    return subject


def _check_complete(dyno: list[dict[str, Any]], ours: list[dict[str, Any]], count: int) -> None:
    """Both answered everything, with the same number of output tokens."""
    for one, other in zip(dyno, ours, strict=True):
        assert one["completed_requests"] == other["completed"] == count, (one, other)
        assert one["total_output_tokens"] == other["output_tokens"], (one, other)


def main() -> None:
    """Measure and write the result."""
    bench = Bench("against_peers", __doc__ or "", packages=("simpy", "ai-dynamo-runtime"))
    same_physics(bench)
    dynosim(bench)
    bench.notes += [
        "The simpy model keeps two latencies and the fleet's joules; ours keeps all metrics, "
        "percentiles, energy by request, and time series.",
        "DynoSim runs with its default engine and timing model, ours with an H100 running "
        "Llama-3.1-8B; lengths and arrivals are equal, step times are not. DynoSim keeps blocks "
        "of a KV cache, which ours does not; every block of the trace is unique, so its prefix "
        "cache never hits, and switching it off is measured beside it. Its power figure is empty.",
        "Ratios to DynoSim leave reading the file out of both (DynoSim's reading is its run "
        "stopped after 1 ms of simulated time); the ratio with it stands beside them. Rates of "
        "DynoSim include its reading, rates of ours do not.",
    ]
    bench.write()


if __name__ == "__main__" and not answer_task({"dyno": dyno_task, "ours": ours_task}):
    main()
