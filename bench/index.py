"""What the index of joule prices costs: nanoseconds in a pick, and the speed of a simulation with
supply and index on.

The pick is timed inside compiled code (many picks a call), at 320 replicas, 20 classes and 12
options: variance_aware with its tables against the same state without. The simulation is azure-320
with a site and three efforts. Writes bench/results/index.json.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numba
import numpy as np

from _inputs import described, mixed_fleet
from baseload.base.streams import stream
from baseload.cli.scenario_file import builtin_scenarios, load_scenario
from baseload.routing import pick as rules
from baseload.routing.fleet_state import FleetState, enter, fleet_state
from baseload.routing.policies import policy
from baseload.routing.policy import Policy
from baseload.routing.position import CAPACITY_J, LEVEL_J, NODES
from baseload.routing.price import OPTION, REQUEST
from baseload.simulator.run import kept, run_once
from baseload.simulator.scenario import Scenario
from baseload.workload.trace import TraceSource
from common import Bench, measure, one_thread, rounds, timed

REPLICAS, CLASSES, OPTIONS = 320, 20, 12
INDEX_GOAL_NS, SPEED_GOAL = 2_000.0, 300_000.0
STORE_J = 3.6e7
SITE = """
options:
  - {name: think, right_frac: {"": 0.9}}
  - {name: brief, tokens_factor: {"": 0.5}, right_frac: {"": 0.82}}
  - {name: direct, tokens_factor: {"": 0.25}, right_frac: {"": 0.7}}
supply:
  slot_s: 60
  baseline: [{constant_kw: 40}]
  store: {capacity_kwh: 20}
  auxiliary: {price_usd_per_kwh: 0.30, carbon_g_per_kwh: 363}
  prices: {baseline_usd_per_kwh: 0.08, carbon_usd_per_t: 100}
"""


def main() -> None:
    """Measure and write the result."""
    one_thread()
    bench = Bench("index", __doc__ or "", packages=("scipy",))
    picks(bench)
    simulations(bench)
    bench.write()


@numba.njit
def _many(state: FleetState, made: rules.PolicyState, requests: Any) -> int:
    """All picks; a sum that depends on each."""
    found = 0
    for request in requests:
        option, replica = rules.pick(state, made, request)
        found += option + replica
    return found


def picks(bench: Bench) -> None:
    """The pick with tables less the pick without, taken in turn."""
    groups = mixed_fleet(REPLICAS)
    state = fleet_state([group.kind for group in groups], [group.replicas for group in groups])
    draw = stream(0, "bench.index")
    for replica in range(REPLICAS):
        for tokens in draw.integers(100, 4_000, draw.integers(0, 41)).tolist():
            enter(state, replica, tokens, 0)
    count = 5_000 if bench.quick else 50_000
    requests = np.zeros(count, dtype=REQUEST)
    for name in ("deadline_s", "ttft_s", "tpot_s", "e2e_s"):
        requests[name] = np.inf
    requests["deadline_s"], requests["lateness_weight"], requests["model"] = 10.0, 1.0, -1
    requests["input_tokens"] = draw.integers(50, 4_000, count)
    requests["output_tokens"] = draw.integers(20, 2_000, count)
    requests["class_code"] = draw.integers(0, CLASSES, count)
    requests = requests.view(np.recarray)
    states = {
        "without tables": made_state(state, None),
        "tables at the price of auxiliary energy": made_state(state, "even"),
        "tables that fall from an empty store to a full one": made_state(state, "falling"),
    }

    def nanoseconds(made: rules.PolicyState) -> float:
        made.joules.position[LEVEL_J] = 0.5 * made.joules.position[CAPACITY_J]
        return 1e9 * timed(lambda: _many(state, made, requests))[0] / count

    for made in states.values():
        nanoseconds(made)  # compiles
    found = rounds(
        {name: partial(nanoseconds, made) for name, made in states.items()}, bench.repeats(9)
    )
    plain, *others = states
    size = f"{REPLICAS} replicas x {OPTIONS} options x {CLASSES} classes"
    bench.inputs["picks"] = {"fleet": described(groups), "picks": count, "nodes": NODES}
    for name, values in found.items():
        bench.add(measure(f"pick, {name}, {size}", "ns", values))
    for name in others:
        added = [one - other for one, other in zip(found[name], found[plain], strict=True)]
        bench.add(measure(f"added to a pick by {name}", "ns", added, at_most=INDEX_GOAL_NS))


def made_state(state: FleetState, tables: str | None) -> rules.PolicyState:
    """variance_aware with twelve options; its tables even or falling, or none."""
    table = np.zeros((CLASSES, OPTIONS), dtype=OPTION).view(np.recarray)
    for number in range(OPTIONS):
        wrong = 0.5 * 0.8**number
        table[:, number] = (-1, 0.2 * 1.3**number, np.inf, wrong, 1e-3, 0.0, 1.0)
    made = policy("variance_aware").state(
        state,
        seed=0,
        options=table,
        usd_per_j=8e-8,
        store_j=None if tables is None else STORE_J,
    )
    if tables is not None:
        made.joules.joules[:] = 1e-3  # promises do not move the position while it is timed
    if tables == "falling":
        made.joules.factor[:] = np.linspace(1.5, 0.0, NODES)
    return made


def simulations(bench: Bench) -> None:
    """Requests per CPU-second with supply and index on, and with the site alone."""
    scenario = site_scenario()
    source = kept({0: scenario.requests(0)})[0]
    ours = policy("variance_aware")
    working = msgspec.structs.replace(
        ours, slow=msgspec.structs.replace(ours.slow, working_set=True)
    )
    subjects = {
        "variance_aware": ours,
        "variance_aware with a working set": working,
        "variance_aware:supply=0": policy("variance_aware:supply=0"),
        "least_loaded": policy("least_loaded"),
    }
    for one in subjects.values():
        run_once(scenario, one, source)  # compiles
    found = rounds(
        {name: partial(speed, scenario, one, source) for name, one in subjects.items()},
        bench.repeats(),
        say=bench.say,
    )
    bench.inputs["simulation"] = {"scenario": scenario.name, "requests": source.requests}
    for name, values in found.items():
        goal = (
            SPEED_GOAL if name in ("variance_aware", "variance_aware with a working set") else None
        )
        what = f"{name}, 320 replicas, 3 options, site of {source.span_s / 60:.0f} slots"
        bench.add(measure(what, "requests/CPU-s", values, at_least=goal))


def speed(scenario: Scenario, one: Policy, source: TraceSource) -> float:
    """Requests per CPU second of one run."""
    run = run_once(scenario, one, source)
    return run.requests / run.cpu_s


def site_scenario() -> Scenario:
    """azure-320 with a site and three efforts."""
    text = builtin_scenarios()["azure-320"]
    for tier in ("interactive", "bulk"):
        text = text.replace(f"{{name: {tier},", f"{{name: {tier}, right_usd: 0.0002,")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "azure-320-site.yaml"
        path.write_text(text.replace("name: azure-320", "name: azure-320-site") + SITE)
        return load_scenario(str(path))


if __name__ == "__main__":
    main()
