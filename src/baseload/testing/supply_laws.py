"""Laws of a policy that looks at the supply: under any prices of joules its picks are picks."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from baseload.base.streams import stream
from baseload.routing.fleet_state import FleetState
from baseload.routing.pick import PolicyState, pick, pick_scan, takes
from baseload.routing.policy import Policy, name_of
from baseload.routing.position import CAPACITY_J, LEVEL_J, NODES, PROMISED_J, position_j
from baseload.routing.price import ANY_MODEL, BARRED, OPTION
from baseload.routing.supply_control import (
    SupplyControl,
    reference_usd_per_j,
    start_prices,
    table_capacity_j,
)
from baseload.routing.supply_estimates import SupplySignals
from baseload.supply.baseline import Constant
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, Tariff
from baseload.testing.fakes import FakeFleet
from baseload.testing.instances import CLASSES, TIERS, Instance
from baseload.testing.price_laws import copied, fields_that_differ, in_one_line, row_of
from baseload.testing.report import Findings

_SLOTS = 30
_PICKED_ALONE = ("joules", "options", "turn", "credit", "random", "flat")
"""Parts of a policy's state that a pick may change."""


def check_supply(policy: Policy, case: Instance, found: Findings, *, seed: int) -> None:
    """Add to ``found`` what is wrong with a policy that looks at the supply on the fleet of an
    instance: with random tables of joule prices, and under its own rule at a random site.
    """
    if policy.slow.supply == "none" or policy.price is not None:
        return
    for law, check in (("answers", _under_tables), ("joule prices", _at_a_site)):
        try:
            check(policy, case, found, seed)
        except Exception as error:  # whatever it raises is a finding
            what = f"at a site: it raised {in_one_line(error)}"
            found.add(law, what, instance=case.number)


def _site(rng: np.random.Generator) -> Site:
    """A small site with a store of any size."""
    capacity_j = float(rng.choice([0.0, 100.0, 1e4, 1e6])) * float(rng.uniform(0.5, 2))
    price = float(10.0 ** rng.uniform(-8, -5))
    return Site(
        baseline=Constant(value_w=float(rng.uniform(0, 2000))),
        store=Store(capacity_j=capacity_j),
        tariff=Tariff(energy=FlatPrice(usd_per_j=price)),
        waste_usd_per_j=price * float(rng.choice([0.0, 0.5, -0.5])),
        pue=float(rng.choice([1.0, 1.4])),
    )


def _options(rng: np.random.Generator, models: int) -> np.recarray[Any, Any]:
    """Two to four options a class; one of them barred for a class at times, never all."""
    count = int(rng.integers(2, 5))
    table = np.zeros((len(CLASSES), count), dtype=OPTION).view(np.recarray)
    for number in range(count):
        model = ANY_MODEL if number == 0 else int(rng.integers(-1, models + 1))
        table[:, number] = (model, 1.0 if number == 0 else rng.uniform(0.1, 3), np.inf, 0, 0, 0, 1)
        table["wrong_frac"][:, number] = rng.uniform(0, 1, len(CLASSES))
    table["right_usd"] = 10.0 ** rng.uniform(-6, -2)
    table["model"][int(rng.integers(len(CLASSES))), int(rng.integers(1, count))] = BARRED
    return table


def _state(
    policy: Policy, fake: FakeFleet, rng: np.random.Generator, seed: int
) -> tuple[PolicyState, Site]:
    """A fresh state of the policy at a random site."""
    site = _site(rng)
    state = policy.state(
        fake.state,
        seed=seed,
        options=_options(rng, len(fake.fleet.models)),
        tiers=len(TIERS),
        usd_per_j=reference_usd_per_j(site),
        store_j=table_capacity_j(site),
    )
    return state, site


def _under_tables(policy: Policy, case: Instance, found: Findings, seed: int) -> None:
    """Picks under tables of any prices: legal options on replicas that can take the request, the
    same as those of the scan, nothing changed that is not the policy's.
    """
    fake = FakeFleet(case.fleet, classes=len(CLASSES), max_queue=case.max_queue)
    rng = stream(seed, "testing", "joule prices", case.number)
    state, _ = _state(policy, fake, rng, seed)
    joules = state.joules
    if joules.factor.shape[2] == 0:  # it does not choose by price
        return
    store_j = float(joules.position[CAPACITY_J])
    joules.factor[:] = rng.uniform(-0.5, 1.0, joules.factor.shape)
    joules.joules[:] = rng.uniform(0.0, 0.2 * max(1.0, store_j), joules.joules.shape)
    for at, step in enumerate(case.steps):
        if at % 10 == 0:
            joules.position[LEVEL_J] = store_j * rng.uniform(-0.2, 1.2)
        row = row_of(fake, step, state)
        row.class_code = step.class_code
        before, kept, twin = copied(fake.state), copied(state), copy.deepcopy(state)
        fast, slow = pick(fake.state, state, row), pick_scan(fake.state, twin, row)
        wrong = _wrong_pick(fast, slow, fake.state, state, kept, row)
        changed = fields_that_differ(before, fake.state)
        if changed:
            wrong = ("hands off", f"changed {', '.join(changed)} of the fleet")
        for name in kept._fields:
            if name not in _PICKED_ALONE and getattr(kept, name) is not None:
                same = getattr(kept, name).tobytes() == getattr(state, name).tobytes()
                wrong = wrong if same else ("hands off", f"a pick changed its own {name}")
        if wrong is not None:
            law, what = wrong
            found.add(law, f"at a site, request {at}: {what}", instance=case.number)
            return
        if fast[1] >= 0:
            fake.send(step.request, fast[1])


def _wrong_pick(
    fast: tuple[int, int],
    slow: tuple[int, int],
    fleet: FleetState,
    state: PolicyState,
    kept: PolicyState,
    row: Any,
) -> tuple[str, str] | None:
    """The law that a pick under joule prices breaks, and how; ``None`` when it breaks none."""
    option, replica = fast
    if fast != slow:
        return "index", f"the index picks {fast}, the scan {slow} (option, replica)"
    position = state.joules.position
    promised_j = position[PROMISED_J] - kept.joules.position[PROMISED_J]
    if replica < 0:
        same = state.joules.position.tobytes() == kept.joules.position.tobytes()
        return None if same else ("joule prices", "a refusal has moved the energy position")
    number = int(row.class_code) if state.options.shape[0] > 1 else 0
    model = int(state.options[number, option].model)
    if model not in (ANY_MODEL, int(fleet.limits[fleet.type_of[replica]].model)):
        return "room", f"option {option} of model {model} does not run on replica {replica}"
    if not takes(fleet, row, replica):
        return "room", f"replica {replica} cannot take it"
    if not math.isclose(promised_j, state.joules.joules[number, option], rel_tol=1e-6):
        return "joule prices", f"{promised_j} J were promised for option {option}"
    if not 0.0 <= position_j(position, float(row.now_s)) <= float(position[CAPACITY_J]):
        return "joule prices", "the energy position is outside the store"
    return None


def _signals(rng: np.random.Generator, site: Site, classes: int) -> Iterator[SupplySignals]:
    """Slots of some days, with any demand and any number of requests."""
    slot_s = float(rng.choice([3600.0, 7200.0]))
    demand_w = float(rng.uniform(10, 3000))
    dear, waste = start_prices(site)
    for slot in range(_SLOTS):
        demand_w *= math.exp(rng.normal(0.0, 0.3))
        yield SupplySignals(
            now_s=(slot + 1) * slot_s,
            slot_s=slot_s,
            level_j=float(rng.uniform(0, 1)) * site.store.usable_j,
            baseline_j=site.baseline.mean_w() * slot_s * float(rng.uniform(0, 2)),
            demand_j=demand_w * slot_s,
            in_flight=int(rng.integers(0, 50)),
            auxiliary_usd_per_j=dear,
            waste_usd_per_j=waste,
            promised_j=float(rng.uniform(0, 1)) * demand_w * slot_s,
            picked=rng.poisson(20.0, classes).astype(float),
        )


def _at_a_site(policy: Policy, case: Instance, found: Findings, seed: int) -> None:
    """Its own rule, shown some days of a random site: finite prices, options that there are, the
    fleet left alone, the same twice.
    """
    if case.number % 4:  # tables take a tenth of a second each
        return
    one, two = (_tables(policy, case, found, seed) for _ in range(2))
    if one != two:
        what = "the same days at a site give other joule prices in a second run"
        found.add("joule prices", what, instance=case.number)


def _tables(policy: Policy, case: Instance, found: Findings, seed: int) -> list[bytes]:
    """What the policy's controller writes, slot by slot."""
    fake = FakeFleet(case.fleet, classes=len(CLASSES), max_queue=case.max_queue)
    rng = stream(seed, "testing", "site", case.number)
    state, site = _state(policy, fake, rng, seed)
    if state.joules.factor.shape[2] != NODES:
        return []
    before = copied(fake.state)
    control = SupplyControl(site, policy.slow, fake.state, state)
    control.begin(site.store.start_j, *start_prices(site))
    written = []
    for signals in _signals(rng, site, len(CLASSES)):
        control.look(signals)
        numbers = (state.joules.factor, state.joules.joules, state.options.fee_usd)
        if not all(np.isfinite(one).all() for one in (*numbers, state.joules.position)):
            what = f"prices at {signals.now_s:.0f} s are no finite numbers"
            found.add("joule prices", what, instance=case.number)
        written.append(b"".join(one.tobytes() for one in numbers))
    changed = fields_that_differ(before, fake.state)
    if changed:
        what = f"{name_of(policy)} changed {', '.join(changed)} of the fleet"
        found.add("hands off", what, instance=case.number)
    return written
