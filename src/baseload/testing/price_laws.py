"""Laws of a policy's price: finite, as the policy says of it, the same compiled as written."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from baseload.base.kernels import plain
from baseload.base.streams import stream
from baseload.routing.fleet_state import FleetState
from baseload.routing.pick import BY_TOKENS, FLAT, RISING, PolicyState, takes
from baseload.routing.policy import Policy
from baseload.routing.price import BACKLOG, backlog_free_tokens, output_tokens_of, price_usd
from baseload.testing.fakes import FakeFleet
from baseload.testing.instances import CLASSES, TIERS, Instance, Step
from baseload.testing.report import Findings

_ROUND_OFF = 1e-12
_LEVELS = 48
_PRICED_STEPS = 12

Price = Callable[[FleetState, int, Any, int, int], float]
"""``price(state, type, request, in_flight, tokens)`` [$]."""


def check_prices(policy: Policy, case: Instance, found: Findings, *, seed: int) -> None:
    """Add to ``found`` what is wrong with the policy's price on the types of an instance."""
    if policy.rule not in ("price", "sample") and policy.price is None:
        return
    if policy.price is not None and not hasattr(policy.price, "py_func"):
        what = "its price is plain Python; put @numba.njit above it"
        found.add("twin", what, instance=case.number)
    fake = FakeFleet(case.fleet, classes=len(CLASSES), max_queue=min(case.max_queue, 64))
    state = policy.state(fake.state, seed=seed, tiers=len(TIERS))
    rng = stream(seed, "testing", "prices", case.number)
    price = _price_of(policy, state)
    for at, step in enumerate(case.steps[:_PRICED_STEPS]):
        _after_a_while(fake.state, rng)
        try:
            _at_one_request(price, state, fake, step, at, case, found)
            if at == 0 and policy.price is not None:
                _twin(policy, state, fake.state, row_of(fake, step, state), case, found)
        except Exception as error:  # the policy's own code: whatever it raises is a finding
            found.add("answers", f"its price raised {in_one_line(error)}", instance=case.number)
            return


def _after_a_while(state: FleetState, rng: np.random.Generator) -> None:
    """Another moment of the fleet: other lengths learnt, more or fewer prompts, another forecast of
    the controller.
    """
    for traffic in state.traffic:
        traffic.input_tokens, traffic.output_tokens = rng.uniform(1, 3000), rng.uniform(1, 1500)
    for limits in state.limits:
        limits.prompt_tokens_per_s = rng.choice([0.0, rng.uniform(0, 30_000)])
        limits.forecast_batch = rng.choice([0.0, rng.uniform(0, 1.5 * limits.max_batch)])


def _at_one_request(
    price: Price,
    policy: PolicyState,
    fake: FakeFleet,
    step: Step,
    at: int,
    case: Instance,
    found: Findings,
) -> None:
    """The price of one request over all levels of load of one type."""
    kind, row = at % len(case.fleet.types), row_of(fake, step, policy)
    most = int(fake.state.limits[kind].max_in_flight)
    levels = sorted({int(x) for x in np.linspace(0, most - 1, min(most, _LEVELS)).round()})
    tokens = step.output_tokens * at
    values = [price(fake.state, kind, row, level, tokens) for level in levels]
    for level, value in zip(levels, values, strict=True):
        if not math.isfinite(value):
            what = f"the price is {value} at {level} requests in flight, {tokens} tokens"
            found.add("finite price", what, instance=case.number)
            return
    if policy.settings[RISING]:
        _rising(levels, values, case, found)
    if policy.settings[BY_TOKENS]:
        if max(values) - min(values) > _ROUND_OFF * abs(max(values)):
            what = "the price changes with requests in flight at equal tokens"
            found.add("by tokens", what, instance=case.number)
        by_tokens = [price(fake.state, kind, row, 1, few) for few in (0, 1, 100, 10_000, 10**6)]
        if any(after < before for before, after in pairwise(by_tokens)):
            what = "the price falls as outstanding tokens rise"
            found.add("by tokens", what, instance=case.number)
        if policy.settings[FLAT]:
            _flat(price, policy, fake.state, kind, row, case, found)


def _flat(
    price: Price,
    policy: PolicyState,
    state: FleetState,
    kind: int,
    row: Any,
    case: Instance,
    found: Findings,
) -> None:
    """The price is the same number up to the backlog that the pick takes for free."""
    free = math.inf
    if policy.rates[BACKLOG] * row.lateness_weight != 0.0:
        output = output_tokens_of(policy.options[0, 0], row)
        free = backlog_free_tokens(policy.rates, state.limits[kind], row, output)
    if free < 0.0:
        return
    most = int(min(free, 10.0**9))
    values = [price(state, kind, row, 1, tokens) for tokens in (0, most // 2, most)]
    if len(set(values)) > 1:
        what = f"up to {most} tokens of backlog are free, but the price goes over {values}"
        found.add("flat", what, instance=case.number)


def _rising(levels: list[int], values: list[float], case: Instance, found: Findings) -> None:
    """The price never falls from one level of load to the next, a single request apart: an idle
    replica may ask more than a busy one.
    """
    busy = [(level, value) for level, value in zip(levels, values, strict=True) if level > 0]
    for (low, before), (high, after) in pairwise(busy):
        if after < before - _ROUND_OFF * abs(before):
            what = (
                f"the price falls from {before:.6g} at {low} requests in flight "
                f"to {after:.6g} at {high}"
            )
            found.add("rising", what, instance=case.number)
            return


def _twin(
    policy: Policy,
    asked: PolicyState,
    state: FleetState,
    row: Any,
    case: Instance,
    found: Findings,
) -> None:
    """A compiled price gives what its Python source gives, and leaves its arguments alone."""
    assert policy.price is not None
    seen = (state.cost[0], state.limits[0], state.traffic[0], asked.options[0, 0], row)
    arguments = (*seen, 2, 500)
    before = copied(state)
    compiled, written = policy.price(*arguments), plain(policy.price)(*arguments)
    both_nan = math.isnan(compiled) and math.isnan(written)
    if not both_nan and not math.isclose(compiled, written, rel_tol=1e-9):
        what = f"compiled it says {compiled!r}, as plain Python {written!r}"
        found.add("twin", what, instance=case.number)
    changed = fields_that_differ(before, state)
    if changed:
        found.add("hands off", f"its price changed {', '.join(changed)}", instance=case.number)
        for name in changed:
            getattr(state, name)[...] = getattr(before, name)


def _price_of(policy: Policy, state: PolicyState) -> Price:
    """The policy's price as a function of what varies."""
    option = state.options[0, 0]

    def price(fleet: FleetState, kind: int, row: Any, in_flight: int, tokens: int) -> float:
        seen = (fleet.cost[kind], fleet.limits[kind], fleet.traffic[0], option, row)
        if policy.price is None:
            return float(price_usd(state.rates, *seen, in_flight, tokens))
        return float(policy.price(*seen, in_flight, tokens))

    return price


class Priced:
    """A policy with its own price, asked by a look at every replica, as in the engine's loop."""

    def __init__(self, price: Callable[..., float], state: PolicyState) -> None:
        self.price = price
        self.policy = state
        self.option = state.options[0, 0]

    def __call__(self, fake: FakeFleet, step: Step) -> int | None:
        """The lowest-numbered of the cheapest replicas that can take the request."""
        state, row = fake.state, row_of(fake, step, self.policy)
        best, found = math.inf, None
        for replica, kind in enumerate(state.type_of):
            if not takes(state, row, replica):
                continue
            seen = (state.cost[kind], state.limits[kind], state.traffic[0], self.option, row)
            value = self.price(*seen, state.in_flight[replica], state.tokens[replica])
            if value < best:
                best, found = value, replica
        return found


def row_of(fake: FakeFleet, step: Step, policy: PolicyState) -> Any:
    """The request of a step as compiled policies see it, under the policy's lambda of its tier."""
    weight = policy.lateness_weight[TIERS.index(step.request.tier)] * step.urgency
    return fake.row(
        step.request,
        grid_g_per_j=step.grid_g_per_j,
        output_spread=step.output_spread,
        lateness_weight=weight,
    )[0]


def copied(state: Any) -> Any:
    """A copy of a state whose fields are all arrays."""
    return copy.deepcopy(state)


def fields_that_differ(before: FleetState, now: FleetState) -> list[str]:
    """The fields of the state that differ."""
    return [
        name
        for name in before._fields
        if getattr(before, name).tobytes() != getattr(now, name).tobytes()
    ]


def in_one_line(error: Exception) -> str:
    """An exception in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
