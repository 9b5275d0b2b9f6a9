"""One pick, as the gateway makes it: a call from Python, for each policy and four options.

Fleets of 320 and 10,000 replicas in the proportions of the simulator's bench, in flight what half
load brings. Beside ``pick`` stands ``pick_scan``, which looks at every replica, and the kernels'
plain Python twins. Writes bench/results/pick.json.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from _inputs import described, mixed_fleet, poisson_trace, scenario_of
from baseload.base.streams import stream
from baseload.fleet.step import step
from baseload.routing import pick as rules
from baseload.routing.estimate import expected_s, marginal_energy_j
from baseload.routing.fleet_state import FleetState, enter, fleet_state, leave
from baseload.routing.policies import POLICIES
from baseload.routing.price import OPTION, price_usd, request_row
from baseload.simulator.run import run_once
from common import Bench, answer_task, child, measure, pin, ratios

GOALS = {320: 10.0, 10_000: 50.0}
OPTIONS = 4


def options() -> np.recarray[Any, Any]:
    """Four efforts of any model: more thinking, more tokens, fewer wrong answers."""
    table = np.zeros(OPTIONS, dtype=OPTION).view(np.recarray)
    for row in range(OPTIONS):
        table[row] = (-1, 0.5 * 2.0**row, 0.4 / 2.0**row, 0.0)
    return table


def loaded_fleet(replicas: int) -> FleetState:
    """A fleet with zero to forty requests in flight on each replica."""
    groups = mixed_fleet(replicas)
    state = fleet_state([group.kind for group in groups], [group.replicas for group in groups])
    rng = stream(0, "bench.pick")
    counts = rng.integers(0, 41, replicas)
    for replica, count in enumerate(counts.tolist()):
        for tokens in rng.integers(100, 4_000, count).tolist():
            enter(state, replica, tokens, 0)
    return state


def per_call_us(call: Callable[[], Any], calls: int, batch: int = 20) -> float:
    """Median wall microseconds of one call, over batches of ``batch`` calls."""
    call()
    found = []
    for _ in range(max(3, calls // batch)):
        begin = time.perf_counter_ns()
        for _ in range(batch):
            call()
        found.append((time.perf_counter_ns() - begin) / batch / 1e3)
    return statistics.median(found)


def picks(bench: Bench, replicas: int) -> None:
    """Every policy at one size, ``pick`` and ``pick_scan`` in turn."""
    state = loaded_fleet(replicas)
    bench.inputs[f"{replicas} replicas"] = {
        "fleet": described(mixed_fleet(replicas)),
        "options": OPTIONS,
        "in_flight": int(state.in_flight.sum()),
    }
    request = request_row(input_tokens=1_000, output_tokens=250.0, deadline_s=10.0)[0]
    calls = 2_000 if bench.quick else 20_000
    for name, policy in POLICIES.items():
        made = policy.state(state, seed=0, options=options())
        found: dict[str, list[float]] = {"pick": [], "scan": [], "with change": []}

        def change(made: Any = made) -> None:
            _, replica = rules.pick(state, made, request)
            enter(state, replica, 1_250, 0)
            leave(state, replica, 1_250)

        for _ in range(bench.repeats(5)):
            found["pick"].append(
                per_call_us(lambda made=made: rules.pick(state, made, request), calls)
            )
            found["scan"].append(
                per_call_us(lambda made=made: rules.pick_scan(state, made, request), calls // 50, 2)
            )
            found["with change"].append(per_call_us(change, calls // 4))
        what = f"{name}, {replicas:,} replicas x {OPTIONS} options"
        bench.add(
            measure(f"pick, {what}", "us", found["pick"], at_most=GOALS[replicas]),
            measure(f"pick_scan, {what}", "us", found["scan"]),
            measure(f"pick, enter and leave, {what}", "us", found["with change"]),
        )


def kernels_task(count: int) -> dict[str, Any]:
    """In a process of its own: microseconds of some kernels, compiled or (``NUMBA_DISABLE_JIT``)
    plain all the way down, and of one request in the simulator.
    """
    pin()
    state = loaded_fleet(320)
    request = request_row(input_tokens=1_000, output_tokens=250.0, deadline_s=10.0)[0]
    policy = POLICIES["least_latency"].state(state, seed=0, options=options())
    cost, limits, traffic = state.cost[0], state.limits[0], state.traffic[0]
    priced = (policy.rates, cost, limits, traffic, policy.options[0, 0], request, 5, 6_000)
    calls: dict[str, Callable[[], Any]] = {
        "step": lambda: step(cost, 16.0, 20_000.0, 500.0),
        "expected_s": lambda: expected_s(cost, limits, traffic, 5, 1_000.0, 250.0),
        "marginal_energy_j": lambda: marginal_energy_j(cost, limits, traffic, 5, 1_000.0, 250.0),
        "price_usd": lambda: price_usd(*priced),
        "pick": lambda: rules.pick(state, policy, request),
        "pick_scan": lambda: rules.pick_scan(state, policy, request),
    }
    found = {name: per_call_us(call, count, 2) for name, call in calls.items()}
    groups = mixed_fleet(32)
    trace = poisson_trace(100 * count, 32.0)
    scenario = scenario_of(groups, trace)
    run_once(scenario, POLICIES["least_latency"], scenario_of(groups, trace).requests(0))
    run = run_once(scenario, POLICIES["least_latency"], scenario.requests(0))
    return found | {"a simulated request": 1e6 * run.cpu_s / run.requests}


def twins(bench: Bench) -> None:
    """How much faster the kernels are than the same Python source uncompiled."""
    fast, slow = [], []
    for turn in range(bench.repeats(3)):
        fast.append(child(__file__, "kernels", {"count": 200}))
        slow.append(child(__file__, "kernels", {"count": 6}, NUMBA_DISABLE_JIT="1"))
        bench.say(f"kernels and plain twins, round {turn + 1}")
    for name in fast[0]:
        pair = [row[name] for row in slow], [row[name] for row in fast]
        bench.add(
            measure(
                f"plain twin / kernel, {name}",
                "times",
                ratios(*pair),
                plain_us=statistics.median(pair[0]),
                kernel_us=statistics.median(pair[1]),
            )
        )


def main() -> None:
    """Measure and write the result."""
    bench = Bench("pick", __doc__ or "")
    for replicas in GOALS:
        picks(bench, replicas)
    twins(bench)
    bench.notes += [
        "Wall microseconds of calls from Python, so the call's own cost (unpacking two structs of "
        "arrays) is in them; medians over batches of calls.",
        "Plain twins run in a process where numba compiles nothing, so they are plain all the way "
        "down; for small kernels the call from Python is most of the time.",
    ]
    bench.write()


if __name__ == "__main__" and not answer_task({"kernels": kernels_task}):
    main()
