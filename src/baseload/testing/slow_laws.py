"""Laws of a policy's slow controllers: their orders can be carried out, whatever they are shown."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from baseload.base.streams import stream
from baseload.routing.control import Control
from baseload.routing.policy import Policy
from baseload.routing.slow import FleetFacts, Orders, Promise, Signals
from baseload.testing.instances import TIERS, Instance
from baseload.testing.report import Findings

_TICKS = 40

PROMISES = (
    Promise(
        name=TIERS[0], ttft_s=2.0, tpot_s=0.1, e2e_s=math.inf, target_miss_frac=0.01, bulk=False
    ),
    Promise(
        name=TIERS[1],
        ttft_s=math.inf,
        tpot_s=math.inf,
        e2e_s=600.0,
        target_miss_frac=0.05,
        bulk=True,
    ),
)
"""The tiers that the controllers are told of."""


def check_slow(policy: Policy, case: Instance, found: Findings, *, seed: int) -> None:
    """Add to ``found`` what is wrong with the orders of the policy's slow controllers, on the fleet
    of an instance, with and without parking.
    """
    fleet = case.fleet.state()
    if not policy.slow.acts:
        return
    policy.state(fleet, seed=seed, tiers=len(TIERS))  # profiles the types
    facts = FleetFacts(replicas=np.diff(fleet.first), cost=fleet.cost, limits=fleet.limits)
    for park in (False, True):
        before = facts.replicas.tobytes() + facts.cost.tobytes() + facts.limits.tobytes()
        ticks = [_ticks(policy, facts, case, seed=seed, park=park) for _ in range(2)]
        for signals, one, again in zip(_signals(facts, case, seed), *ticks, strict=False):
            wrong = _wrong_with(one, signals, facts)
            if wrong is None and repr(one) != repr(again):
                wrong = "the same signals give other orders in a second run"
            if wrong is not None:
                parked = "parking" if park else "without parking"
                what = f"at {signals.now_s:.0f} s, {parked}: {wrong}"
                found.add("orders", what, instance=case.number)
                break
        if before != facts.replicas.tobytes() + facts.cost.tobytes() + facts.limits.tobytes():
            found.add("orders", "a controller changed what it is shown", instance=case.number)


def _ticks(
    policy: Policy, facts: FleetFacts, case: Instance, *, seed: int, park: bool
) -> list[Orders]:
    """The orders of a fresh controller over the instance's signals."""
    control = Control(policy.slow, facts, PROMISES, park=park)
    return [control.tick(signals) for signals in _signals(facts, case, seed)]


def _signals(facts: FleetFacts, case: Instance, seed: int) -> Iterator[Signals]:
    """Some minutes of a fleet: nights, bursts and overload, few misses and many."""
    rng = stream(seed, "testing", "signals", case.number)
    tiers, busy = len(TIERS), 10.0 ** rng.uniform(-1, 3)
    for tick in range(1, _TICKS + 1):
        busy *= math.exp(rng.normal(0.0, 0.5))
        arrived = rng.poisson(busy * rng.random(tiers)) * (rng.random(tiers) < 0.8)
        completed = rng.poisson(arrived)
        yield Signals(
            now_s=5.0 * tick,
            window_s=5.0,
            arrived=arrived.astype(float),
            prompt_tokens=arrived * rng.uniform(1, 4000),
            completed=completed.astype(float),
            missed=rng.binomial(completed, rng.choice([0.0, 0.02, 0.5, 1.0])).astype(float),
            refused=rng.poisson(0.1, tiers).astype(float),
            input_tokens=completed * rng.uniform(1, 4000),
            output_tokens=completed * rng.uniform(1, 1500),
            held=rng.poisson(busy * 0.2, tiers),
            in_flight=rng.poisson(busy, len(facts.replicas)),
            open=rng.integers(0, facts.replicas + 1),
            waking=np.zeros(len(facts.replicas), dtype=np.int64),
        )


def _wrong_with(orders: Orders, signals: Signals, facts: FleetFacts) -> str | None:
    """Why orders cannot be carried out, or should not; ``None`` when nothing is wrong."""
    weight, opened, reserve = orders.weight, orders.open, orders.reserve
    if weight is not None and not (np.isfinite(weight).all() and (weight >= 0).all()):
        return f"lambda is {weight.tolist()}; allowed: finite numbers >= 0"
    if opened is not None:
        if (opened < 0).any() or (opened > facts.replicas).any():
            return f"wants {opened.tolist()} replicas open of {facts.replicas.tolist()}"
        models = facts.limits.model
        closed = set(models.tolist()) - set(models[opened > 0].tolist())
        if closed:
            return f"closes every replica of model {min(closed)}, whose requests would be refused"
        if reserve is not None and ((reserve < 0) | (opened + reserve > facts.replicas)).any():
            return f"wants {reserve.tolist()} awake beside {opened.tolist()} open"
    batch = orders.forecast_batch
    if batch is not None and not (np.isfinite(batch).all() and (batch >= 0).all()):
        return f"forecasts batches of {batch.tolist()}"
    share = orders.promise_frac
    if share is not None and not 0.0 < share <= 1.0:
        return f"lets the price use up {share} of a promise; allowed: above 0 to 1"
    if orders.hold is not None and not np.isin(orders.hold, (0, 1)).all():
        return f"hold is {orders.hold.tolist()}; allowed: 0 or 1"
    if not 0 <= orders.release <= math.ceil(signals.held.sum() * (1.0 + 1e-9)):
        return f"releases {orders.release} of {signals.held.sum()} held requests"
    return None
