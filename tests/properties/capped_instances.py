"""Random small instances with caps on answers on which the jump engine must equal the step engine;
one by its seed:

    python tests/properties/capped_instances.py SEED [COUNT]

Three in four have a cap on all answers. In every second one a controller changes the caps of
classes and options at random instants, up and down. The rest of an instance is as in
``engine_instances``. Both engines must have learned the same lengths.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

import engine_instances as plain
import msgspec
import numpy as np

from baseload.base.streams import stream
from baseload.routing.fleet_state import FleetState
from baseload.routing.pick import PolicyState
from baseload.routing.policies import POLICIES
from baseload.simulator import hands, oracle, run
from baseload.simulator.choices import Choice
from baseload.simulator.scenario import Group, Scenario
from baseload.simulator.supplied import Supplied
from baseload.supply.baseline import Constant
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, Tariff
from baseload.testing.fleets import replica_type
from baseload.workload.chunks import source_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import Trace


class Seen(NamedTuple):
    """What both engines left: the fleet states, and which caps were in force over time."""

    fleets: list[FleetState]
    caps: list[set[float]]


class Capper:
    """A hand that sets random caps at random instants, up to a last one."""

    def __init__(self, seed: int, policy: PolicyState, span_s: float, caps: set[float]) -> None:
        self._rng, self._policy = stream(seed, "tests", "capper"), policy
        self._gap_s = max(span_s, 1.0) / 20
        self._last_s, self._caps = span_s, caps
        self.next_s = 0.0
        self._wait()

    def _wait(self) -> None:
        self.next_s += float(self._rng.exponential(self._gap_s))
        if self.next_s > self._last_s:
            self.next_s = np.inf

    def act(self, _machine: Any) -> None:
        """Change some of the caps."""
        table = self._policy.options
        drawn = self._rng.choice([1.0, 2.0, 7.5, 40.0, np.inf], table.shape)
        keep = self._rng.random(table.shape) < 0.3
        table.cap_tokens = np.where(keep, table.cap_tokens, drawn)
        self._caps |= set(table.cap_tokens.ravel().tolist())
        self._wait()


def case(seed: int) -> plain.Case:
    """The instance of a seed."""
    made = plain.case(seed)
    rng = stream(seed, "tests", "caps")
    cap = None if seed % 4 == 0 else int(rng.choice([1, 2, 10, 60, 250]))
    return made._replace(scenario=msgspec.structs.replace(made.scenario, cap_tokens=cap))


def at_a_dear_site(rule: str) -> plain.Case:
    """Four hours of a fleet without a baseline, whose policy follows the stop rule."""
    made, rng = plain.case(1), stream(1, "tests", "caps", "site")
    count = 400
    t_us = np.cumsum(rng.exponential(36e6, count)).astype(np.int64)
    trace = Trace(
        name="site",
        t_us=t_us,
        input_tokens=rng.integers(1, 50, count, dtype=np.int32),
        output_tokens=np.ceil(rng.lognormal(3.5, 1.0, count)).astype(np.int32),
        class_code=rng.integers(0, 2, count).astype(np.int16),
        classes=("chat", "batch"),
    )
    site = Site(
        baseline=Constant(value_w=0.0),
        store=Store(capacity_j=5e4),
        slot_s=30.0,
        tariff=Tariff(energy=FlatPrice(usd_per_j=1e-2)),
    )
    scenario = Scenario(
        name="site",
        groups=(Group(kind=replica_type("fast", time_s_per_step=0.005), replicas=2),),
        requests=lambda _seed: source_of(trace),
        tiers=(Tier(name="all", classes=("chat", "batch"), right_usd=1.0),),
        supplied=Supplied(site=site, scales=(1.0,)),
        choices=(
            Choice(name="long", right_frac={"": 0.9}),
            Choice(name="short", tokens_factor={"": 0.4}, right_frac={"": 0.7}),
        ),
    )
    policy = POLICIES[rule].with_parameters({"stop_rule": "1"})
    return made._replace(scenario=scenario, trace=trace, policy=policy)


@contextlib.contextmanager
def watched(made: plain.Case) -> Iterator[Seen]:
    """Keeps the fleets of both engines; every second instance has its caps changed on the way."""
    seen, true_hands = Seen([], []), hands.hands_of

    def hands_of(_scenario: Any, policy: Any, fleet: Any, state: Any, **settings: Any) -> Any:
        found = true_hands(_scenario, policy, fleet, state, **settings)
        seen.fleets.append(fleet)
        seen.caps.append(set())
        if made.seed % 2 == 0:
            found.append(Capper(made.seed, state, settings["span_s"], seen.caps[-1]))
        return found

    with (
        mock.patch.object(run, "hands_of", hands_of),
        mock.patch.object(oracle, "hands_of", hands_of),
    ):
        yield seen


def compare(made: plain.Case) -> plain.Compared:
    """As ``engine_instances.compare``; and what the engines learned must be the same."""
    with watched(made) as seen:
        found = plain.compare(made)
    jumps, steps = seen.fleets
    assert seen.caps[0] == seen.caps[1], "other caps were set"
    for name in ("count", "mean_tokens", "variance_tokens2", "high_tokens"):
        one, two = jumps.forecast[name], steps.forecast[name]
        assert np.allclose(one, two, rtol=1e-9, atol=0.0), f"learned {name} differs"
    return found


def compare_many(first: int, count: int) -> dict[str, float]:
    """As ``engine_instances.compare_many``."""
    return plain.compare_many(first, count, case=case, compare=compare, file="capped_instances")


if __name__ == "__main__":
    print(compare_many(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))  # noqa: T201
