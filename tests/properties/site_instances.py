"""Random small instances at a site, under policies that look at its supply, on which the jump
engine must equal the step engine; one by its seed:

    python tests/properties/site_instances.py SEED [COUNT]

The fleet, its timeouts, tiers and options are as in ``engine_instances`` (two to four options in
every instance), and no two types alike: between candidates whose prices agree to the last digit
those of the meter would decide, in which the engines differ. The requests come in bursts over
minutes, hours or days, so that the policy learns a day or does not; the store holds from a part of
an answer to thousands, or nothing, or anything. What the controllers were shown is compared too.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import engine_instances as plain
import msgspec
import numpy as np

from baseload.base.streams import stream
from baseload.routing.policies import POLICIES
from baseload.routing.policy import Policy
from baseload.routing.supply_control import SupplyControl
from baseload.routing.supply_estimates import SupplySignals
from baseload.simulator import site_desk
from baseload.simulator.choices import Choice
from baseload.simulator.scenario import Group, Scenario
from baseload.simulator.supplied import Supplied
from baseload.supply.baseline import Constant, Diurnal, Scaled, Source
from baseload.supply.carbon import carbon_signal
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, PriceWindow, Tariff, TimeOfUsePrice
from baseload.workload.chunks import source_of
from baseload.workload.trace import Trace

LOOKING = tuple(name for name, policy in POLICIES.items() if policy.slow.supply != "none")
_NUMBERS = tuple(SupplySignals.__struct_fields__)
_DOLLARS_PER_J = 1e-6


def case(seed: int) -> plain.Case:
    """The instance of a seed."""
    made = plain.case(seed)
    rng = stream(seed, "tests", "site")
    trace = _spread(rng, made.trace)
    scenario = msgspec.structs.replace(
        made.scenario,
        groups=tuple(_told_apart(group, at) for at, group in enumerate(made.scenario.groups)),
        choices=_choices(rng, made.scenario),
        requests=lambda _seed: source_of(trace),
        parking=bool(rng.random() < 0.2),
        tiers=tuple(
            msgspec.structs.replace(tier, right_usd=float(rng.choice([1e-7, 1e-5, 1e-3])))
            for tier in made.scenario.tiers
        ),
        supplied=Supplied(site=site(rng, made.scenario)),
    )
    return made._replace(scenario=scenario, trace=trace, policy=_policy(rng))


def _told_apart(group: Group, at: int) -> Group:
    """The group with a little more energy to its steps than those before it."""
    costs = group.kind.costs
    energy_j = costs.energy_j_per_step * (1.0 + 1e-3 * at)
    kind = msgspec.structs.replace(
        group.kind, costs=msgspec.structs.replace(costs, energy_j_per_step=energy_j)
    )
    return msgspec.structs.replace(group, kind=kind)


def _policy(rng: np.random.Generator) -> Policy:
    """One of those that look; now and then with lambda that follows misses too."""
    policy = POLICIES[str(rng.choice(LOOKING))]
    if rng.random() < 0.2:
        slow = msgspec.structs.replace(policy.slow, rule="log", period_s=600.0)
        policy = msgspec.structs.replace(policy, slow=slow)
    if policy.name == "variance_aware" and rng.random() < 0.5:
        slow = msgspec.structs.replace(policy.slow, supply_knobs={"day_states": 0.0})
        policy = msgspec.structs.replace(policy, slow=slow)
    return policy


def _choices(rng: np.random.Generator, scenario: Scenario) -> tuple[Choice, ...]:
    """Two to four options, of any model, of one that is served, or of one that is not."""
    models = [group.kind.model for group in scenario.groups]
    found = [Choice(name="any", right_frac={"": float(rng.uniform(0.3, 1))})]
    for number in range(int(rng.integers(1, 4))):
        model = str(rng.choice([*models, "model-nobody-serves"])) if rng.random() < 0.4 else None
        found.append(
            Choice(
                name=f"option {number}",
                model=model,
                tokens_factor={"": float(rng.choice([0.3, 0.6, 2.5]))},
                right_frac={label: float(rng.uniform(0, 1)) for label in plain.CLASSES},
            )
        )
    return tuple(found)


def _spread(rng: np.random.Generator, trace: Trace) -> Trace:
    """The trace in bursts over minutes, hours or days, some at the edges of slots."""
    span_s = float(rng.choice([300.0, 3_000.0, 30_000.0, 130_000.0]))
    begin_s = np.sort(rng.uniform(0.0, span_s, int(rng.integers(2, 12))))
    edges = rng.random(len(begin_s)) < 0.5
    begin_s = np.where(edges, np.round(begin_s / 900.0) * 900.0, begin_s)
    at_s = rng.choice(begin_s, len(trace)) + trace.t_us % 3_000_000 / 1e6
    return msgspec.structs.replace(trace, t_us=np.sort(np.round(at_s * 1e6)).astype(np.int64))


def site(rng: np.random.Generator, scenario: Scenario) -> Site:
    """A site about as strong as the fleet's rest draws."""
    idle_w = sum(group.replicas * group.kind.power.power_w_idle for group in scenario.groups)
    capacity_j = float(rng.choice([0.0, 30.0, 1e3, 3e4, 1e6, 1e7, math.inf]))
    capacity_j *= float(rng.uniform(0.5, 2.0))
    window = {} if math.isinf(capacity_j) else {"soc_start_frac": float(rng.choice([0.0, 0.3, 1]))}
    source: Source = Constant(value_w=float(rng.uniform(0.8, 1.2)) * idle_w)
    if rng.random() < 0.6:
        hours = np.maximum(0.0, np.sin(np.arange(24) / 24 * 2 * np.pi)) * np.pi
        source = Scaled(
            source=Diurnal(profile_w=hours * idle_w), factor=float(rng.uniform(0.7, 1.3))
        )
    price = _DOLLARS_PER_J * float(rng.uniform(0.1, 10))
    energy: Any = FlatPrice(usd_per_j=price)
    if rng.random() < 0.3:
        peak = PriceWindow(usd_per_j=3 * price, from_hour=16.0, to_hour=21.0)
        energy = TimeOfUsePrice(usd_per_j=price, windows=(peak,))
    islanded = rng.random() < 0.2
    carbon = rng.random() < 0.3
    return Site(
        baseline=source,
        store=Store(
            capacity_j=capacity_j,
            charge_efficiency=float(rng.choice([1.0, 0.95])),
            discharge_efficiency=float(rng.choice([1.0, 0.9])),
            leak_per_s=float(rng.choice([0.0, 1e-7])),
            **window,
        ),
        auxiliary_limit_w=0.0 if islanded else math.inf,
        unserved_usd_per_j=3 * price if islanded else None,
        pue=float(rng.choice([1.0, 1.3])),
        overhead_w=float(rng.choice([0.0, 20.0])),
        tariff=Tariff(energy=energy),
        waste_usd_per_j=price * float(rng.choice([0.0, 0.2, -0.5])),
        auxiliary_carbon=carbon_signal("average", 300.0) if carbon else None,
        carbon_usd_per_g=1e-4 if carbon else None,
        slot_s=float(rng.choice([300.0, 900.0, 1000.0, 3600.0, 5400.0, 86_400.0])),
        start_unix_s=float(rng.choice([0.0, 40_000.0])),
    )


class _Noting(SupplyControl):
    """Notes what it is shown."""

    made: list[_Noting]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: list[SupplySignals] = []
        self.made.append(self)

    def look(self, signals: SupplySignals) -> None:
        self.seen.append(signals)
        super().look(signals)


@contextlib.contextmanager
def noting() -> Iterator[list[_Noting]]:
    """Controllers note what they are shown. Gives those made."""
    kind = type("Noting", (_Noting,), {"made": []})
    with mock.patch.object(site_desk, "SupplyControl", kind):
        yield kind.made


def compare(made: plain.Case) -> plain.Compared:
    """As ``engine_instances.compare``, and what the controllers were shown: to 1e-9."""
    with noting() as controllers:
        seen = plain.compare(made)
    by_jumps, by_steps = (one.seen for one in controllers)
    assert len(by_jumps) == len(by_steps), f"{len(by_jumps)} looks by jumps, {len(by_steps)}"
    # Instants of a long run have fewer digits behind the point, and seconds are their differences.
    digits = max(1.0, made.trace.span_s / 30_000.0)
    seen = seen._replace(errors={name: error / digits for name, error in seen.errors.items()})
    store_j = min(1e9, made.scenario.supplied.site.store.usable_j)
    for one, two in zip(by_jumps, by_steps, strict=True):
        for name in _NUMBERS:
            apart = getattr(one, name), getattr(two, name)
            slack = 1e-9 * store_j if name == "level_j" else 1e-7
            assert np.allclose(*apart, rtol=1e-9, atol=slack), (
                f"look at {one.now_s} s: {name} is {apart[0]} by jumps, {apart[1]} by steps"
            )
    return seen


def compare_many(first: int, count: int) -> dict[str, float]:
    """As ``engine_instances.compare_many``."""
    return plain.compare_many(first, count, case=case, compare=compare, file="site_instances")


if __name__ == "__main__":
    print(compare_many(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))  # noqa: T201
