"""The one pick: which candidate (option on a replica) a request goes to. The gateway and the
simulator call this.

``pick`` looks at one replica per type and level of load, or per type, by the index of
``fleet_state``; ``pick_scan`` looks at every replica and is its oracle. Both prefer, in this order:
the lowest price, the lowest replica number, the lowest option.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baseload.base.draws import below
from baseload.base.kernels import kernel
from baseload.routing.estimate import seats
from baseload.routing.fleet_state import (
    FleetState,
    fewest_tokens,
    first_with_few_tokens,
    lowest_at_level,
    lowest_between,
)
from baseload.routing.position import JoulePrices, price_joules, promise
from baseload.routing.price import (
    ANY_MODEL,
    BACKLOG,
    Option,
    Request,
    backlog_free_tokens,
    called_price_usd,
    option_row,
    output_tokens_of,
    price_usd,
)

# Rules: how a candidate is found.
PRICE, RANDOM, ROUND_ROBIN, WEIGHTED_ROUND_ROBIN, SAMPLE = 0, 1, 2, 3, 4

# Entries of ``settings``: the rule and what shapes it.
RULE, BY_TOKENS, RISING, FREE_SEATS, CHOICES, FLAT = 0, 1, 2, 3, 4, 5
SETTINGS = 6

_DRAWS = 64  # enough to find one of few open replicas nearly always


class PolicyState(NamedTuple):
    """A policy as data, and the little that it remembers between picks."""

    settings: NDArray[np.int64]  # [SETTINGS]
    rates: NDArray[np.float64]  # [len(PARTS) + len(KNOBS)] exchange rates, then knobs
    options: np.recarray[Any, Any]  # [classes or 1, options] of OPTION
    weights: NDArray[np.float64]  # [types] weight of one replica (weighted round robin)
    credit: NDArray[np.float64]  # [types] running credit (weighted round robin)
    turn: NDArray[np.int64]  # [types + 1] whose turn in a type, and over all (last)
    random: NDArray[np.uint64]  # [2] the policy's own random stream
    lateness_weight: NDArray[np.float64]  # [tiers] lambda of each tier, set by a controller
    promise_frac: NDArray[np.float64]  # [1] of each promise that the price may use up
    flat: NDArray[np.int64]  # [types] up to which level a rising price stayed the same, last time
    hold: NDArray[np.uint8]  # [tiers] whether requests of the tier wait outside the fleet for now
    joules: JoulePrices  # what a joule costs by the state of the supply


@kernel
def admits(state: FleetState, kind: int, request: Request) -> bool:
    """Whether replicas of a type can serve the request at all: the model asked for, and room for
    its prompt.
    """
    limits = state.limits[kind]
    return request.input_tokens <= limits.max_input_tokens and (
        request.model < 0 or request.model == limits.model
    )


@kernel
def serves_option(state: FleetState, kind: int, option: Option) -> bool:
    """Whether an option runs on replicas of a type."""
    return option.model == ANY_MODEL or option.model == state.limits[kind].model


@kernel
def _first_option(state: FleetState, policy: PolicyState, request: Request, kind: int) -> int:
    """The lowest-numbered option that runs on a type, or -1."""
    row = option_row(policy.options, request)
    for number in range(policy.options.shape[1]):
        if serves_option(state, kind, policy.options[row, number]):
            return number
    return -1


@kernel
def _ceiling(state: FleetState, kind: int, seats_only: bool) -> int:
    """Requests in flight from which on a replica of a type is no candidate."""
    limits = state.limits[kind]
    if seats_only:
        return int(min(float(limits.max_in_flight), seats(limits, state.traffic[0])))
    return int(limits.max_in_flight)


@kernel
def price_at_level(
    state: FleetState,
    policy: PolicyState,
    request: Request,
    kind: int,
    number: int,
    level: int,
    tokens: int = 0,
) -> float:
    """The price of option ``number`` on a replica of a type at ``level`` with ``tokens``."""
    return called_price_usd(
        policy.rates,
        state.cost[kind],
        state.limits[kind],
        state.traffic[0],
        policy.options[option_row(policy.options, request), number],
        request,
        level,
        tokens,
    )


@kernel
def _candidate(
    state: FleetState, policy: PolicyState, request: Request, kind: int, number: int, replica: int
) -> float:
    """The price of option ``number`` on ``replica``."""
    level, tokens = state.level[replica], state.tokens[replica]
    return price_at_level(state, policy, request, kind, number, level, tokens)


@kernel
def _free_tokens(
    state: FleetState, policy: PolicyState, request: Request, kind: int, number: int
) -> float:
    """Outstanding tokens up to which a price with a backlog part does not change."""
    if policy.rates[BACKLOG] * request.lateness_weight == 0.0:
        return np.inf
    option = policy.options[option_row(policy.options, request), number]
    output = output_tokens_of(option, request)
    return backlog_free_tokens(policy.rates, state.limits[kind], request, output)


@kernel
def cheapest_of_kind(
    state: FleetState, policy: PolicyState, request: Request, kind: int, number: int, ceiling: int
) -> tuple[float, int]:
    """The lowest price of an option among the replicas of a type, and who has it; ``(inf, -1)``
    if none may take it.
    """
    if policy.settings[BY_TOKENS]:
        replica = -1
        if policy.settings[FLAT]:
            replica = first_with_few_tokens(
                state, kind, _free_tokens(state, policy, request, kind, number)
            )
        if replica < 0:
            replica = fewest_tokens(state, kind)
        if replica < 0:
            return np.inf, -1
        if state.level[replica] < ceiling:
            return _candidate(state, policy, request, kind, number, replica), replica
        return _scan_kind(state, policy, request, kind, number, ceiling)
    option = policy.options[option_row(policy.options, request), number]
    if policy.settings[RISING] and option.joule_factor >= 0.0:  # else more joules are cheaper
        return _cheapest_rising(state, policy, request, kind, number, ceiling)
    cost, limits, traffic = state.cost[kind], state.limits[kind], state.traffic[0]
    best, found = np.inf, -1
    last = min(state.level_range[kind, 1], ceiling - 1)
    for level in range(state.level_range[kind, 0], last + 1):
        if state.level_count[state.level_start[kind] + level] == 0:
            continue
        replica = lowest_at_level(state, kind, level)
        tokens = state.tokens[replica]
        price = price_usd(policy.rates, cost, limits, traffic, option, request, level, tokens)
        if price < best or (price == best and replica < found):
            best, found = price, replica
    return best, found


@kernel
def _flat_until(
    state: FleetState,
    policy: PolicyState,
    request: Request,
    kind: int,
    number: int,
    low: int,
    high: int,
    least: float,
) -> int:
    """The highest level up to ``high`` at which the price is still ``least``, its value at ``low``:
    away from where it was last time in steps that double, then by bisection.
    """
    flat, over, step = low, high + 1, 1
    guess = max(low, min(high, policy.flat[kind]))
    while flat < guess < over:
        if price_at_level(state, policy, request, kind, number, guess) > least:
            over = guess
            guess -= step
        else:
            flat = guess
            guess += step
        step *= 2
    if flat == low and over > low + 1 and step == 1:
        if price_at_level(state, policy, request, kind, number, low + 1) > least:
            over = low + 1
        else:
            flat = low + 1
    while over - flat > 1:
        middle = (flat + over) // 2
        if price_at_level(state, policy, request, kind, number, middle) > least:
            over = middle
        else:
            flat = middle
    policy.flat[kind] = flat
    return flat


@kernel
def _cheapest_rising(
    state: FleetState, policy: PolicyState, request: Request, kind: int, number: int, ceiling: int
) -> tuple[float, int]:
    """``cheapest_of_kind`` of a price that never falls from level 1 on: the cheapest busy replicas
    are those from the lowest level in use up to some level, which a bisection finds; idle ones have
    a price of their own.
    """
    counts, start = state.level_count, state.level_start[kind]
    low, high = state.level_range[kind, 0], min(state.level_range[kind, 1], ceiling - 1)
    best, found = np.inf, -1
    if low == 0 and high >= 0 and counts[start] > 0:
        best, found = (
            price_at_level(state, policy, request, kind, number, 0),
            lowest_at_level(state, kind, 0),
        )
    low = max(1, low)
    while low <= high and counts[start + low] == 0:
        low += 1
    if low > high:
        return best, found
    least = price_at_level(state, policy, request, kind, number, low)
    if least > best:
        return best, found
    flat = _flat_until(state, policy, request, kind, number, low, high, least)
    replica = lowest_between(state, kind, low, flat)
    if least == best and found < replica:
        return best, found
    return least, replica


@kernel
def _scan_kind(
    state: FleetState, policy: PolicyState, request: Request, kind: int, number: int, ceiling: int
) -> tuple[float, int]:
    """``cheapest_of_kind`` by looking at every replica of the type."""
    best, found = np.inf, -1
    for replica in range(state.first[kind], state.first[kind + 1]):
        if state.open[replica] and state.level[replica] < ceiling:
            price = _candidate(state, policy, request, kind, number, replica)
            if price < best:
                best, found = price, replica
    return best, found


@kernel
def _cheapest(
    state: FleetState, policy: PolicyState, request: Request, seats_only: bool, scan: bool
) -> tuple[int, int]:
    """The cheapest candidate ``(option, replica)``, or ``(-1, -1)``."""
    best, found, chosen = np.inf, -1, -1
    row = option_row(policy.options, request)
    for kind in range(state.cost.shape[0]):
        if not admits(state, kind, request):
            continue
        ceiling = _ceiling(state, kind, seats_only)
        for number in range(policy.options.shape[1]):
            if not serves_option(state, kind, policy.options[row, number]):
                continue
            if scan:
                price, replica = _scan_kind(state, policy, request, kind, number, ceiling)
            else:
                price, replica = cheapest_of_kind(state, policy, request, kind, number, ceiling)
            if replica >= 0 and (price < best or (price == best and replica < found)):
                best, found, chosen = price, replica, number
    return chosen, found


@kernel
def takes(state: FleetState, request: Request, replica: int) -> bool:
    """Whether a replica can take the request now."""
    kind = state.type_of[replica]
    if not state.open[replica]:
        return False
    return (
        admits(state, kind, request) and state.in_flight[replica] < state.limits[kind].max_in_flight
    )


@kernel
def _answers(state: FleetState, policy: PolicyState, request: Request, replica: int) -> bool:
    """Whether a replica can take the request now, and an option runs on it."""
    if not takes(state, request, replica):
        return False
    return _first_option(state, policy, request, state.type_of[replica]) >= 0


@kernel
def _next_that_takes(
    state: FleetState, policy: PolicyState, request: Request, start: int, low: int, high: int
) -> int:
    """The first replica from ``start`` on, cyclically in ``low .. high - 1``, that can answer the
    request, or -1.
    """
    replica = start
    for _ in range(high - low):
        if replica >= high:
            replica = low
        if _answers(state, policy, request, replica):
            return replica
        replica += 1
    return -1


@kernel
def _random(state: FleetState, policy: PolicyState, request: Request) -> int:
    """A uniformly drawn replica that can take the request: ``_DRAWS`` draws, then the next one
    after the last draw.
    """
    count = state.type_of.shape[0]
    replica = 0
    for _ in range(_DRAWS):
        replica = below(policy.random, count)
        if _answers(state, policy, request, replica):
            return replica
    return _next_that_takes(state, policy, request, replica, 0, count)


@kernel
def _round_robin(state: FleetState, policy: PolicyState, request: Request) -> int:
    """The next replica in turn that can take the request."""
    everyone = policy.turn.shape[0] - 1
    count, turn = state.type_of.shape[0], policy.turn[everyone]
    replica = _next_that_takes(state, policy, request, turn, 0, count)
    if replica >= 0:
        policy.turn[everyone] = replica + 1
    return replica


@kernel
def _weighted_round_robin(state: FleetState, policy: PolicyState, request: Request) -> int:
    """Smooth weighted round robin over types, round robin inside a type (equal replicas have
    equal weights).
    """
    total, best = 0.0, -1
    for kind in range(state.cost.shape[0]):
        size = state.open_count[kind]
        able = admits(state, kind, request)
        if size > 0 and able and _first_option(state, policy, request, kind) >= 0:
            share = policy.weights[kind] * size
            total += share
            policy.credit[kind] += share
            if best < 0 or policy.credit[kind] > policy.credit[best]:
                best = kind
    if best < 0:
        return -1
    policy.credit[best] -= total
    low, high = state.first[best], state.first[best + 1]
    replica = _next_that_takes(state, policy, request, low + policy.turn[best], low, high)
    if replica >= 0:
        policy.turn[best] = replica + 1 - low
        return replica
    return _next_that_takes(state, policy, request, 0, 0, state.type_of.shape[0])


@kernel
def _sample(state: FleetState, policy: PolicyState, request: Request) -> int:
    """The cheapest of a few randomly drawn replicas; the first drawn on a tie."""
    best, found = np.inf, -1
    for _ in range(policy.settings[CHOICES]):
        replica = _random(state, policy, request)
        if replica < 0:
            return found
        kind = state.type_of[replica]
        price = _candidate(
            state, policy, request, kind, _first_option(state, policy, request, kind), replica
        )
        if price < best:
            best, found = price, replica
    return found


@kernel
def _decide(
    state: FleetState, policy: PolicyState, request: Request, scan: bool
) -> tuple[int, int]:
    """The candidate ``(option, replica)`` by the policy's rule."""
    rule = policy.settings[RULE]
    if rule == PRICE:
        seats_only = policy.settings[FREE_SEATS] != 0
        while True:
            option, replica = _cheapest(state, policy, request, seats_only, scan)
            if replica >= 0 or not seats_only:
                return option, replica
            seats_only = False
    if rule == RANDOM:
        replica = _random(state, policy, request)
    elif rule == ROUND_ROBIN:
        replica = _round_robin(state, policy, request)
    elif rule == WEIGHTED_ROUND_ROBIN:
        replica = _weighted_round_robin(state, policy, request)
    else:
        replica = _sample(state, policy, request)
    if replica < 0:
        return -1, -1
    return _first_option(state, policy, request, state.type_of[replica]), replica


@kernel
def _decided(
    state: FleetState, policy: PolicyState, request: Request, scan: bool
) -> tuple[int, int]:
    """``_decide`` at the price that joules have now."""
    if policy.joules.factor.shape[2] == 0:
        return _decide(state, policy, request, scan)
    price_joules(policy.joules, policy.options, request)
    option, replica = _decide(state, policy, request, scan)
    if replica >= 0:
        promise(policy.joules, policy.options, request, option)
    return option, replica


@kernel
def pick(state: FleetState, policy: PolicyState, request: Request) -> tuple[int, int]:
    """The candidate for a request, ``(option, replica)``, or ``(-1, -1)`` when no replica can take
    it.

    ``request``: one row of ``price.REQUEST``.
    """
    return _decided(state, policy, request, False)


@kernel
def pick_scan(state: FleetState, policy: PolicyState, request: Request) -> tuple[int, int]:
    """``pick`` by looking at every replica: the oracle."""
    return _decided(state, policy, request, True)
