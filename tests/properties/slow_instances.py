"""Random small instances under slow control on which the jump engine must equal the step engine;
one by its seed:

    python tests/properties/slow_instances.py SEED [COUNT]

Even seeds have a controller that gives random orders: how many replicas of each type are open and
how many more stay awake, lambda, how much of a promise the price uses, who waits outside, how many
of those go, which clock a type's replicas run at. Odd seeds have the real one, on longer traces.
The rest of an instance is as in ``engine_instances``; forecasts of output lengths are of all kinds.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import engine_instances as plain
import msgspec
import numpy as np

from baseload.base.streams import stream
from baseload.fleet.replica_type import ReplicaType
from baseload.routing.slow import FleetFacts, Orders, Promise, Signals, Slow
from baseload.simulator import plant
from baseload.simulator.scenario import Scenario
from baseload.workload.chunks import source_of
from baseload.workload.forecasts import forecast_of_text
from baseload.workload.trace import Trace

FORECASTS = (
    "online",
    "online",
    "perfect",
    "perfect:error=0.5,bias=0.2",
    "class_quantile:quantile=0.9,mae=0.2",
)


class Scripted:
    """In place of ``Control``: orders that its random stream says, whatever the signals. Notes what
    it was shown.
    """

    def __init__(self, seed: int, facts: FleetFacts, promises: list[Promise]) -> None:
        self._rng = stream(seed, "tests", "slow", "script")
        self._facts, self._tiers = facts, len(promises)
        self._dyadic = self._rng.random() < 0.5
        self.period_s = float(self._rng.choice([0.25, 0.5, 2.0]))
        if not self._dyadic:
            self.period_s *= float(self._rng.uniform(0.5, 1.5))
        self.seen: list[Signals] = []
        self.levels: list[Any] = []

    def tick(self, signals: Signals) -> Orders:
        """Random orders; each kind of order is given now and then."""
        self.seen.append(signals)
        if len(self.seen) % 200 == 0:
            self.period_s *= 2.0  # a long drain is no reason for a long test
        rng, replicas = self._rng, self._facts.replicas
        kinds = len(replicas)
        orders = Orders()
        if rng.random() < 0.5:
            orders.weight = rng.choice([0.0, 1.0, 50.0], self._tiers)
        if rng.random() < 0.3:
            orders.promise_frac = float(rng.uniform(0.5, 1.0))
        if rng.random() < 0.6:
            orders.open = rng.integers(0, replicas + 1)
            if rng.random() < 0.9 and not orders.open.any():
                orders.open[int(rng.integers(kinds))] = 1
            if rng.random() < 0.7:
                orders.reserve = rng.integers(0, replicas - orders.open + 1)
        if rng.random() < 0.3:
            orders.forecast_batch = rng.uniform(0, 8, kinds)
        if rng.random() < 0.5:
            orders.hold = rng.integers(0, 2, self._tiers).astype(np.uint8)
        if rng.random() < 0.5:
            orders.release = int(rng.integers(0, 6))
        if rng.random() < 0.5:
            orders.level = np.array([rng.choice(rows) for rows in self._facts.rungs])
            self.levels.append(orders.level - np.arange(kinds))
        return orders


def _at_lower_clocks(rng: np.random.Generator, kind: ReplicaType) -> tuple[ReplicaType, ...]:
    """The type at two lower clocks: steps twice and four times as long, other joules above static
    power, less idle power.
    """
    static_w, found = kind.power.power_w_active_static, []
    for slower in (2.0, 4.0):
        costs = {}
        for name in kind.costs.__struct_fields__:
            if name.startswith("time_s_"):
                time_s = getattr(kind.costs, name)
                energy = name.replace("time_s", "energy_j")
                dynamic_j = getattr(kind.costs, energy) - static_w * time_s
                costs[name] = slower * time_s
                costs[energy] = slower * time_s * static_w + float(rng.uniform(0.3, 2)) * dynamic_j
        idle_w = float(rng.uniform(0.8, 1.0)) * kind.power.power_w_idle
        found.append(
            msgspec.structs.replace(
                kind,
                name=f"{kind.name} {slower:g} times slower",
                costs=msgspec.structs.replace(kind.costs, **costs),
                power=msgspec.structs.replace(
                    kind.power,
                    power_w_idle=idle_w,
                    power_w_parked=min(idle_w, kind.power.power_w_parked),
                    power_w_off=min(idle_w, kind.power.power_w_off),
                ),
            )
        )
    return tuple(found)


def case(seed: int) -> plain.Case:
    """The instance of a seed."""
    made = plain.case(seed)
    rng = stream(seed, "tests", "slow")
    scenario = msgspec.structs.replace(
        made.scenario,
        parking=bool(rng.random() < 0.5),
        forecast=forecast_of_text(str(rng.choice(FORECASTS))),
        groups=tuple(
            msgspec.structs.replace(group, slower=_at_lower_clocks(rng, group.kind))
            if rng.random() < 0.6
            else group
            for group in made.scenario.groups
        ),
    )
    if rng.random() < 0.2:
        scenario = _that_wakes_in_no_time(scenario)
    if seed % 2 == 0:  # any controller at all: the script stands in for it
        policy = msgspec.structs.replace(made.policy, slow=Slow(working_set=True))
        return made._replace(scenario=scenario, policy=policy)
    trace = _long_trace(rng, made.trace)
    slow = Slow(
        weight=float(rng.choice([1.0, 100.0])),
        rule=str(rng.choice(["fixed", "pi", "log"])),
        anti_windup=bool(rng.random() < 0.5),
        period_s=float(rng.choice([1.0, 2.5, 5.0])),
        working_set=bool(rng.random() < 0.7),
        holds_bulk=bool(rng.random() < 0.9),
        clocks=bool(rng.random() < 0.5),
    )
    scenario = msgspec.structs.replace(scenario, requests=lambda _seed: source_of(trace))
    policy = made.policy
    if not policy.slow.acts:
        policy = msgspec.structs.replace(policy, slow=slow)
    return made._replace(scenario=scenario, trace=trace, policy=policy)


def _that_wakes_in_no_time(scenario: Scenario) -> Scenario:
    """The scenario with wakes that cost joules and no seconds."""
    groups = []
    for group in scenario.groups:
        power = msgspec.structs.replace(
            group.kind.power, wake_s_from_parked=0.0, wake_s_from_off=0.0
        )
        kind = msgspec.structs.replace(group.kind, power=power)
        groups.append(msgspec.structs.replace(group, kind=kind))
    return msgspec.structs.replace(scenario, groups=tuple(groups))


def _long_trace(rng: np.random.Generator, trace: Trace) -> Trace:
    """The trace in bursts over 45 seconds: time for a controller to close and open, and requests
    enough that it does not wait long for its next look.
    """
    burst_s = np.sort(rng.choice(np.arange(0, 45, 3), int(rng.integers(2, 8)), replace=False))
    begin_us = np.sort(rng.choice(burst_s, len(trace))) * 1_000_000
    t_us = np.sort(begin_us + trace.t_us % 5_000_000)
    return msgspec.structs.replace(trace, t_us=t_us.astype(np.int64))


@contextlib.contextmanager
def scripted(seed: int) -> Iterator[list[Scripted]]:
    """Both engines get random orders. Gives the controllers made."""
    made: list[Scripted] = []

    def control(_slow: Slow, facts: FleetFacts, promises: list[Promise], *, park: bool) -> Scripted:
        del park
        made.append(Scripted(seed, facts, promises))
        return made[-1]

    with mock.patch.object(plant, "Control", control):
        yield made


def compare(made: plain.Case) -> plain.Compared:
    """Run both engines; raise ``AssertionError`` where a count or choice differs, or what their
    controllers were shown; give the errors of the rest.
    """
    if made.seed % 2:
        return plain.compare(made)
    with scripted(made.seed) as controllers:
        seen = plain.compare(made)
    by_jumps, by_steps = (one.seen for one in controllers)
    assert len(by_jumps) == len(by_steps), f"{len(by_jumps)} ticks by jumps, {len(by_steps)}"
    for one, two in zip(by_jumps, by_steps, strict=True):
        for name in one.__struct_fields__:
            apart = getattr(one, name), getattr(two, name)
            same = np.array_equal(*apart) or np.allclose(*apart, rtol=1e-9, atol=0.0)
            assert same, (
                f"tick at {one.now_s} s: {name} is {apart[0]} by jumps, {apart[1]} by steps"
            )
    return seen


def compare_many(first: int, count: int) -> dict[str, float]:
    """As ``engine_instances.compare_many``."""
    return plain.compare_many(first, count, case=case, compare=compare, file="slow_instances")


if __name__ == "__main__":
    print(compare_many(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))  # noqa: T201
