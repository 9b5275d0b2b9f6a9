"""Random small instances for the clairvoyant bound; one by its seed:

    python tests/unit/simulator/bound_instances.py SEED [COUNT]

One to six requests meet one to four replicas of one to three types: power caps that bind, experts,
tight memory (preemptions, cut answers), timeouts, short queues, work that draws less than rest.
"""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

import msgspec
import numpy as np

from baseload.base.streams import stream
from baseload.fleet.replica_type import ReplicaType
from baseload.routing.policies import POLICIES
from baseload.simulator.bound import Bound, bound
from baseload.simulator.run import run_once
from baseload.simulator.scenario import Group, Scenario
from baseload.simulator.step_replica import longest_context
from baseload.simulator.steps import StepRun, run_steps
from baseload.testing.instances import random_type
from baseload.workload.chunks import source_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import Trace

ROUND_OFF = 1e-9
CLASSES = ("chat", "batch")


class Case(NamedTuple):
    """One instance: a scenario and its trace."""

    seed: int
    scenario: Scenario
    trace: Trace


def case(seed: int) -> Case:
    """The instance of a seed."""
    rng = stream(seed, "tests", "bound")
    types: list[ReplicaType] = []
    for index in range(int(rng.integers(1, 4))):
        if types and rng.random() < 0.2:
            types.append(msgspec.structs.replace(types[-1], name=f"t{index}"))
        else:
            types.append(_odd(rng, random_type(rng, name=f"t{index}")))
    groups = []
    left = 4
    for index, kind in enumerate(types):
        count = int(rng.integers(1, left - (len(types) - index - 1) + 1))
        left -= count
        groups.append(
            Group(
                kind=kind,
                replicas=count,
                park_after_s=_timeout(rng),
                off_after_s=_timeout(rng),
            )
        )
    trace = _trace(rng)
    scenario = Scenario(
        name=f"bound-{seed}",
        groups=tuple(groups),
        requests=lambda _seed: source_of(trace),
        tiers=_tiers(rng),
        max_queue=int(rng.choice([0, 1, 1024])),
        grid_g_per_j=1e-4,
    )
    return Case(seed, scenario, trace)


def _odd(rng: np.random.Generator, kind: ReplicaType) -> ReplicaType:
    """Now and then a type no physics would make: work that draws static power only, idle power
    above it, prefill cheaper than reading, wakes that cost nothing or a lot, tiny memory.
    """
    if rng.random() < 0.15:
        field = str(rng.choice(["sequence", "context_token", "prefill_token", "step"]))
        least_j = kind.power.power_w_active_static * getattr(kind.costs, f"time_s_per_{field}")
        changed = {f"energy_j_per_{field}": least_j}
        kind = msgspec.structs.replace(kind, costs=msgspec.structs.replace(kind.costs, **changed))
    if rng.random() < 0.3:
        power = kind.power
        idle_w = float(rng.uniform(0, power.power_w_cap))
        changed = {
            "power_w_idle": idle_w,
            "power_w_parked": idle_w * float(rng.uniform(0, 1)),
            "power_w_off": 0.0,
            "wake_j_from_parked": float(rng.choice([0.0, 5.0])),
        }
        kind = msgspec.structs.replace(kind, power=msgspec.structs.replace(power, **changed))
    if rng.random() < 0.3:
        kv_tokens = int(rng.integers(8, 60))
        kind = msgspec.structs.replace(kind, kv_tokens=kv_tokens)
    return kind


def _timeout(rng: np.random.Generator) -> float | None:
    """An idle timeout [s], or never."""
    return None if rng.random() < 0.5 else float(rng.choice([0.0, rng.uniform(0, 1)]))


def _trace(rng: np.random.Generator) -> Trace:
    """One to six requests, in some traces all at once."""
    count = int(rng.integers(1, 7))
    t_s = np.cumsum(rng.exponential(rng.choice([0.0, 0.01, 0.2, 1.0]), count))
    longest_input, longest_output = int(rng.choice([3, 20, 300])), int(rng.choice([2, 10, 40]))
    same = rng.random() < 0.2
    inputs = rng.integers(1, longest_input, count, dtype=np.int32)
    outputs = rng.integers(1, longest_output, count, dtype=np.int32)
    return Trace(
        name="bound",
        t_us=np.round(t_s * 1e6).astype(np.int64),
        input_tokens=np.full(count, inputs[0]) if same else inputs,
        output_tokens=np.full(count, outputs[0]) if same else outputs,
        class_code=rng.integers(0, len(CLASSES), count).astype(np.int16),
        classes=CLASSES,
        deadline_us=rng.integers(1, 3_000_000, count) if rng.random() < 0.2 else None,
    )


def _tiers(rng: np.random.Generator) -> tuple[Tier, ...]:
    """Two tiers with deadlines that some requests can keep and some cannot."""
    return (
        Tier(
            name="interactive",
            classes=("chat",),
            ttft_s=float(rng.uniform(0.01, 1)),
            tpot_s=float(rng.uniform(0.002, 0.05)),
        ),
        Tier(name="bulk", classes=("batch",), priority=1, e2e_s=float(rng.uniform(0.1, 5))),
    )


class Dice:
    """A router of the step engine that picks at random among those that can take a request."""

    def __init__(self, made: Case, type_of: Any, rng: np.random.Generator) -> None:
        kinds = [made.scenario.groups[at].kind for at in type_of]
        given = made.trace.input_tokens
        self._choices = [
            [at for at, kind in enumerate(kinds) if tokens <= longest_context(kind)]
            for tokens in given
        ]
        self._rng = rng

    def pick(self, index: int, now_s: float) -> int:
        choices = self._choices[index]
        return int(self._rng.choice(choices)) if choices else -1

    def done(self, index: int, replica: int, now_s: float) -> None:
        pass


def by_steps(made: Case, router: Any, *, delay_s: Any = 0.0) -> StepRun:
    """The step engine under any router; requests may be held back, the trace ends as it did."""
    groups, trace = made.scenario.groups, made.trace
    arrival_s = trace.t_us / 1e6 + delay_s
    order = np.argsort(arrival_s, kind="stable")
    assert (order == np.arange(len(trace))).all(), "delays must not change the order"
    return run_steps(
        types=[group.kind for group in groups],
        type_of_replica=type_of(made),
        arrival_s=arrival_s,
        input_tokens=trace.input_tokens.astype(np.int64),
        output_tokens=trace.output_tokens.astype(np.int64),
        priority=trace.class_code.astype(np.int64),
        router=router,
        park_after_s=[group.park_after_s for group in groups],
        off_after_s=[group.off_after_s for group in groups],
        horizon_s=trace.span_s,
    )


def type_of(made: Case) -> Any:
    """The group of each replica."""
    counts = [group.replicas for group in made.scenario.groups]
    return np.repeat(np.arange(len(counts)), counts)


def bounds(made: Case) -> tuple[Bound, Bound]:
    """Both bounds for every schedule: awake, asleep."""
    source = source_of(made.trace)
    return (
        bound(made.scenario, source, sleep=False),
        bound(made.scenario, source, sleep=True),
    )


def policy_run(made: Case, policy: str) -> tuple[float, int, float]:
    """Energy [J], refused requests that some type could serve, and the share that missed (refused
    ones included), of one policy by the jump engine.
    """
    run = run_once(made.scenario, POLICIES[policy], source_of(made.trace), seed=made.seed)
    missed = int(run.tally.missed.sum()) + int(run.refused.sum())
    energy_j = math.fsum(run.account_j.ravel())
    return energy_j, int(run.refused[0]), missed / len(made.trace)


def held(made: Case, policy: str) -> list[float]:
    """Hold both bounds against one policy, a random assignment and one with random delays, and
    the bound with deadlines against the policy. Gives energies over the bound (awake).

    Raises ``AssertionError`` with the command that replays the instance.
    """
    awake, asleep = bounds(made)
    replay = f"python tests/unit/simulator/bound_instances.py {made.seed}"
    rng = stream(made.seed, "tests", "bound", "dice")
    energy_j, refused, missed_frac = policy_run(made, policy)
    runs = [] if refused else [(policy, energy_j)]
    dice = by_steps(made, Dice(made, type_of(made), rng))
    held_back = Dice(made, type_of(made), rng)
    late = by_steps(made, held_back, delay_s=np.cumsum(rng.exponential(0.1, len(made.trace))))
    if made.scenario.max_queue >= len(made.trace):
        runs += [("dice", dice.fleet_energy_j), ("dice with delays", late.fleet_energy_j)]
    for name, joules in runs:
        for kept in (awake, asleep):
            allowed_j = joules + ROUND_OFF * max(1.0, joules)
            assert kept.energy_j <= allowed_j, f"{name}: {kept.energy_j} > {joules}; {replay}"
    if not refused:
        kept = bound(
            made.scenario,
            source_of(made.trace),
            sleep=bool(made.seed % 2),
            deadlines=True,
            may_miss_frac=missed_frac,
        )
        assert kept.energy_j <= energy_j + ROUND_OFF * max(1.0, energy_j), f"deadlines; {replay}"
    return [joules / awake.energy_j for _, joules in runs if awake.energy_j > 0]


def hold_many(first: int, count: int) -> list[float]:
    """``held`` on the instances of ``count`` seeds from ``first`` on, policies in turn."""
    names = sorted(POLICIES)
    ratios: list[float] = []
    for seed in range(first, first + count):
        ratios += held(case(seed), names[seed % len(names)])
    return ratios


if __name__ == "__main__":
    many = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    seen = np.array(hold_many(int(sys.argv[1]), many))
    print(len(seen), np.quantile(seen, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1]))  # noqa: T201
