"""The kernels of a live decision: describe, pick, book, meter, learn - a request is three calls.

``pick`` and all it prices with are ``routing``'s own, as in the simulator; what is added here is
what only a live service has: the meters of what it sent (docs/explanation/live-decisions.md).

A replica is metered by a model: with ``b`` requests in flight it makes steps of the eight numbers
at the mean context. Per replica three sums over time are kept, each per request in flight, so that
a request's part is a difference of two readings: joules that all share (``shared_j``), joules of
its own sequence (``own_j``), steps (``steps``). Prompts are booked when they are sent.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel, outline_kernel
from baseload.fleet.step import Cost, step
from baseload.routing.estimate import (
    expected_lateness_s,
    marginal_energy_j,
    seats,
    step_s,
    wait_s,
)
from baseload.routing.fleet_state import (
    FleetState,
    Limits,
    Traffic,
    enter,
    first_token,
    learn,
    learn_cut,
    leave,
    pending_levels,
    take_in,
)
from baseload.routing.pick import (
    PolicyState,
    admits,
    cheapest_of_kind,
    pick,
    price_at_level,
    serves_option,
    takes,
)
from baseload.routing.price import (
    CARBON,
    ENERGY,
    FEE,
    LATENESS,
    QUALITY,
    option_row,
    output_tokens_of,
    wrong_frac_of,
)
from baseload.workload.lengths import bucket_of, capped_length, forecast_length

AWAKE, ASLEEP = 0, 1

SAID = (
    "price_usd",
    "energy_j",
    "energy_usd",
    "carbon_usd",
    "late_s",
    "lateness_usd",
    "quality_usd",
    "fee_usd",
    "wait_s",
    "output_tokens",
    "level",
    "tokens",
    "pending",
    "shared_j",
    "own_j",
    "steps",
    "joule_factor",
)
"""What a decision says of itself, entries of a row of ``Book.said``: the price of the chosen
candidate and its parts, joules and seconds they are made of, expected wait for a seat, forecast
output, requests in flight there before, what was booked (tokens, pending levels), and the readings
of the replica's meters when it was sent.
"""
(
    PRICE,
    ENERGY_J,
    ENERGY_USD,
    CARBON_USD,
    LATE_S,
    LATENESS_USD,
    QUALITY_USD,
    FEE_USD,
    WAIT_S,
    OUTPUT,
    LEVEL,
    TOKENS,
    PENDING,
    SHARED_J,
    OWN_J,
    STEPS,
    JOULE_FACTOR,
) = range(len(SAID))

NOBODY, SATURATED = -1, -2
"""In place of a replica: none takes the request; one would, but its queue is longer than allowed.
"""


class Book(NamedTuple):
    """What the live service keeps beside the fleet's state: meters of ``n`` replicas of ``k``
    types, and the last decisions.
    """

    own: NDArray[np.int64]  # [n] requests that this process has in flight there
    own_tokens: NDArray[np.int64]  # [n] their tokens
    state: NDArray[np.int64]  # [n] AWAKE or ASLEEP
    at_s: NDArray[np.float64]  # [n] up to when the replica is metered
    shared_j: NDArray[np.float64]  # [n] see the module
    own_j: NDArray[np.float64]  # [n]
    steps: NDArray[np.float64]  # [n]
    idle_j: NDArray[np.float64]  # [n] drawn with nothing in flight
    busy_j: NDArray[np.float64]  # [n] drawn for this process's requests
    base_cost: np.recarray[Any, Any]  # [k] of fleet.step.COST, uncorrected
    pace: NDArray[np.float64]  # [k] observed seconds a step over modelled ones
    applied: NDArray[np.float64]  # [k] the pace that the fleet's costs have now
    ceilings: NDArray[np.int64]  # [k] max_in_flight, while a pick keeps below it
    grid: NDArray[np.float64]  # [1] grams a joule of the grid now, 0 where nobody says
    said: NDArray[np.float64]  # [kept, len(SAID)]
    tried: NDArray[np.float64]  # [kept, k * options, 2] price and replica of the cheapest there


def book(fleet: FleetState, *, options: int, kept: int) -> Book:
    """An empty book of an idle fleet, for ``options`` options and the last ``kept`` decisions."""
    count, kinds = len(fleet.type_of), len(fleet.first) - 1
    return Book(
        own=np.zeros(count, dtype=np.int64),
        own_tokens=np.zeros(count, dtype=np.int64),
        state=np.zeros(count, dtype=np.int64),
        at_s=np.zeros(count),
        shared_j=np.zeros(count),
        own_j=np.zeros(count),
        steps=np.zeros(count),
        idle_j=np.zeros(count),
        busy_j=np.zeros(count),
        base_cost=fleet.cost.copy().view(np.recarray),
        pace=np.ones(kinds),
        applied=np.ones(kinds),
        ceilings=np.zeros(kinds, dtype=np.int64),
        grid=np.zeros(1),
        said=np.zeros((kept, len(SAID))),
        tried=np.zeros((kept, kinds * options, 2)),
    )


@kernel
def flows(
    cost: Cost, limits: Limits, traffic: Traffic, in_flight: int
) -> tuple[float, float, float]:
    """Of each of ``in_flight`` requests at a replica, a mean over them, per second: joules that all
    share [W], joules of its own sequence [W], steps it takes part in [1/s].
    """
    running = min(float(in_flight), seats(limits, traffic))
    context = running * (traffic.input_tokens + 0.5 * traffic.output_tokens)
    _, energy_j = step(cost, running, context, 0.0)
    own_j = running * cost.energy_j_per_sequence + context * cost.energy_j_per_context_token
    own_j = min(own_j, energy_j)
    each_s = step_s(cost, running, traffic)
    # the steps that carry prompts take longer: their joules are booked with the prompts
    return (
        (energy_j - own_j) / (in_flight * each_s),
        own_j / (in_flight * each_s),
        running / (in_flight * each_s),
    )


@kernel
def meter(fleet: FleetState, book: Book, replica: int, now_s: float) -> None:
    """Bring a replica's meters up to ``now_s``. What has been drawn since is that of the requests
    in flight until now.
    """
    seconds = now_s - book.at_s[replica]
    if seconds <= 0.0:
        return
    book.at_s[replica] = now_s
    kind, count = fleet.type_of[replica], fleet.in_flight[replica]
    cost = book.base_cost[kind]
    if count <= 0:
        power_w = cost.power_w_parked if book.state[replica] == ASLEEP else cost.power_w_idle
        book.idle_j[replica] += power_w * seconds
        return
    shared_w, own_w, pace = flows(fleet.cost[kind], fleet.limits[kind], fleet.traffic[0], count)
    book.shared_j[replica] += shared_w * seconds
    book.own_j[replica] += own_w * seconds
    book.steps[replica] += pace * book.applied[kind] * seconds
    book.busy_j[replica] += (shared_w + own_w) * seconds * book.own[replica]


@kernel
def _describe(
    fleet: FleetState,
    policy: PolicyState,
    request: Any,
    lane: int,
    tier: int,
    input_tokens: float,
    cap_tokens: float,
    ttft_s: float,
    tpot_s: float,
    e2e_s: float,
    waited_s: float,
) -> None:
    """Fill in the visible request, as the simulator's ``jump.describe`` does; an answer is cut at
    ``cap_tokens``.
    """
    bucket = bucket_of(int(input_tokens))
    mean, spread, _ = forecast_length(fleet.forecast, lane, bucket)
    if cap_tokens < np.inf:
        mean, square, _ = capped_length(max(1.0, mean), spread, cap_tokens)
        spread = np.sqrt(max(0.0, square - mean * mean))
    request.output_tokens, request.output_spread = max(1.0, mean), spread
    request.input_tokens = input_tokens
    share = policy.promise_frac[0]
    request.ttft_s = share * ttft_s - waited_s
    request.tpot_s = share * tpot_s
    request.e2e_s = share * e2e_s - waited_s
    request.deadline_s = min(request.e2e_s, request.ttft_s + request.tpot_s * request.output_tokens)
    request.lateness_weight = policy.lateness_weight[tier]
    request.model, request.class_code = -1, lane


@kernel
def _try_all(fleet: FleetState, policy: PolicyState, request: Any, book: Book, slot: int) -> None:
    """Write down the cheapest candidate of each type and option, in the order of the types."""
    row = option_row(policy.options, request)
    options = policy.options.shape[1]
    for kind in range(fleet.cost.shape[0]):
        able = admits(fleet, kind, request)
        for number in range(options):
            place = kind * options + number
            price, found = np.inf, -1
            if able and serves_option(fleet, kind, policy.options[row, number]):
                price, found = cheapest_of_kind(
                    fleet, policy, request, kind, number, int(fleet.limits[kind].max_in_flight)
                )
            book.tried[slot, place, 0], book.tried[slot, place, 1] = price, found


@kernel
def _say(
    fleet: FleetState,
    policy: PolicyState,
    request: Any,
    book: Book,
    slot: int,
    option: int,
    replica: int,
) -> None:
    """Write down the price of the chosen candidate, part by part."""
    kind, level = fleet.type_of[replica], int(fleet.level[replica])
    cost, limits, traffic = fleet.cost[kind], fleet.limits[kind], fleet.traffic[0]
    chosen = policy.options[option_row(policy.options, request), option]
    output, rates, said = output_tokens_of(chosen, request), policy.rates, book.said
    joules = marginal_energy_j(cost, limits, traffic, level, request.input_tokens, output)
    spread = request.output_spread * chosen.output_factor
    late_s = expected_lateness_s(cost, limits, traffic, level, request, output, spread)
    said[slot, PRICE] = price_at_level(
        fleet, policy, request, kind, option, level, fleet.tokens[replica]
    )
    said[slot, ENERGY_J] = joules
    said[slot, ENERGY_USD] = rates[ENERGY] * chosen.joule_factor * joules
    said[slot, CARBON_USD] = rates[CARBON] * request.grid_g_per_j * joules
    said[slot, LATE_S] = late_s
    said[slot, LATENESS_USD] = rates[LATENESS] * request.lateness_weight * late_s
    said[slot, QUALITY_USD] = rates[QUALITY] * chosen.right_usd * wrong_frac_of(chosen, request)
    said[slot, FEE_USD] = rates[FEE] * chosen.fee_usd
    said[slot, WAIT_S] = wait_s(cost, limits, traffic, int(fleet.in_flight[replica]))
    said[slot, OUTPUT], said[slot, LEVEL] = output, fleet.in_flight[replica]
    said[slot, JOULE_FACTOR] = chosen.joule_factor


@kernel
def _follow(
    fleet: FleetState,
    policy: PolicyState,
    request: Any,
    option: int,
    replica: int,
    favourite: int,
    known_tokens: float,
) -> tuple[int, int]:
    """The chosen candidate, or the same option, or any where none other was promised joules, on
    ``favourite``, if that is no dearer with ``known_tokens`` less to read.
    """
    if not takes(fleet, request, favourite):
        return option, replica
    kind, other = fleet.type_of[replica], fleet.type_of[favourite]
    best = price_at_level(
        fleet, policy, request, kind, option, fleet.level[replica], fleet.tokens[replica]
    )
    row, chosen, found = option_row(policy.options, request), option, replica
    looks = policy.joules.factor.shape[2] > 0
    whole = request.input_tokens
    request.input_tokens = max(1.0, whole - known_tokens)
    for number in range(policy.options.shape[1]):
        if not serves_option(fleet, other, policy.options[row, number]) or (
            looks and number != option
        ):
            continue
        price = price_at_level(
            fleet, policy, request, other, number, fleet.level[favourite], fleet.tokens[favourite]
        )
        if price < best or (price == best and found != favourite):
            best, chosen, found = price, number, favourite
    request.input_tokens = whole
    return chosen, found


@outline_kernel
def route(
    fleet: FleetState,
    policy: PolicyState,
    book: Book,
    scratch: np.recarray[Any, Any],
    slot: int,
    lane: int,
    tier: int,
    input_tokens: float,
    cap_tokens: float,
    ttft_s: float,
    tpot_s: float,
    e2e_s: float,
    waited_s: float,
    most_wait_s: float,
    favourite: int,
    known_tokens: float,
    now_s: float,
) -> tuple[int, int]:
    """Decide on a request and book it: ``(option, replica)``, or ``NOBODY`` or ``SATURATED`` in
    place of the replica, and nothing booked.

    ``favourite`` (-1: none) is the replica of the session's last answer, which need not read
    ``known_tokens`` of the prompt again: it is chosen where that makes it as cheap as any.

    ``scratch``: one row of ``price.REQUEST``. Promises [s] run from its arrival, ``waited_s`` ago
    (inf: none). ``most_wait_s``: longest expected wait for a seat that is worth beginning.
    Where the cheapest is too full for that, the cheapest of those that are not is taken, if
    ``most_wait_s`` is above 0; one that may wait outside waits for the cheapest.
    ``slot``: the row of ``book`` to write to.
    """
    request = scratch[0]
    _describe(
        fleet,
        policy,
        request,
        lane,
        tier,
        input_tokens,
        cap_tokens,
        ttft_s,
        tpot_s,
        e2e_s,
        waited_s,
    )
    request.grid_g_per_j, request.now_s = book.grid[0], now_s
    position = policy.joules.position
    before = (position[0], position[4])
    option, replica = -1, NOBODY
    for turn in range(2):
        option, found = pick(fleet, policy, request)
        if found < 0:
            break
        if turn == 0:
            if favourite >= 0 and favourite != found:
                option, found = _follow(
                    fleet, policy, request, option, found, favourite, known_tokens
                )
            _try_all(fleet, policy, request, book, slot)
        _say(fleet, policy, request, book, slot, option, found)
        if book.said[slot, WAIT_S] <= most_wait_s:
            replica = found
            break
        replica = SATURATED
        if policy.joules.factor.shape[2] > 0:  # what was promised is taken back
            row = option_row(policy.options, request)
            position[0], position[4] = before
            policy.joules.taken[row, option] -= 1.0
            policy.joules.prompts[row] -= input_tokens
        if turn > 0 or most_wait_s <= 0.0:
            break
        _lower_ceilings(fleet, book, most_wait_s)
    if book.ceilings[0] > 0:
        _lift_ceilings(fleet, book)
    if replica >= 0:
        _book_in(fleet, book, slot, replica, input_tokens, now_s)
    return option, replica


@kernel
def _lower_ceilings(fleet: FleetState, book: Book, most_wait_s: float) -> None:
    """Let no replica be a candidate where a seat is further away than ``most_wait_s``."""
    traffic = fleet.traffic[0]
    for kind in range(fleet.limits.shape[0]):
        limits = fleet.limits[kind]
        book.ceilings[kind] = limits.max_in_flight
        present = seats(limits, traffic)
        each_s = traffic.output_tokens * step_s(fleet.cost[kind], present, traffic) / present
        limits.max_in_flight = int(min(limits.max_in_flight, present + most_wait_s / each_s))


@kernel
def _lift_ceilings(fleet: FleetState, book: Book) -> None:
    """Take back ``_lower_ceilings``."""
    for kind in range(fleet.limits.shape[0]):
        fleet.limits[kind].max_in_flight = book.ceilings[kind]
        book.ceilings[kind] = 0


@outline_kernel
def join(
    fleet: FleetState, book: Book, replica: int, tokens: int, pending: int, now_s: float
) -> None:
    """A request of this process is at ``replica`` from now on."""
    meter(fleet, book, replica, now_s)
    enter(fleet, replica, tokens, pending)
    book.own[replica] += 1
    book.own_tokens[replica] += tokens


@kernel
def _book_in(
    fleet: FleetState, book: Book, slot: int, replica: int, input_tokens: float, now_s: float
) -> None:
    """A request goes to a replica: its meters are read, its counts raised."""
    meter(fleet, book, replica, now_s)
    kind = fleet.type_of[replica]
    said = book.said
    tokens = int(input_tokens + said[slot, OUTPUT])
    pending = pending_levels(fleet, int(input_tokens))
    said[slot, TOKENS], said[slot, PENDING] = tokens, pending
    said[slot, SHARED_J] = book.shared_j[replica]
    said[slot, OWN_J] = book.own_j[replica]
    said[slot, STEPS] = book.steps[replica]
    join(fleet, book, replica, tokens, pending, now_s)
    take_in(fleet, kind, input_tokens, now_s)
    book.busy_j[replica] += input_tokens * book.base_cost[kind].energy_j_per_prefill_token


@outline_kernel
def begin(fleet: FleetState, book: Book, replica: int, pending: int, now_s: float) -> float:
    """The first token of a request at ``replica`` is out; gives the replica's count of steps."""
    meter(fleet, book, replica, now_s)
    first_token(fleet, replica, pending)
    return float(book.steps[replica])


@outline_kernel
def end(
    fleet: FleetState,
    book: Book,
    replica: int,
    tokens: int,
    pending: int,
    booked_tokens: float,
    input_tokens: float,
    read_tokens: float,
    output_tokens: float,
    shared_j: float,
    own_j: float,
    lane: int,
    learnt_tokens: float,
    cut: bool,
    now_s: float,
) -> float:
    """A request at ``replica`` ends, or its attempt does; gives its joules.

    ``tokens`` as booked; ``pending`` levels if its first token never came; ``booked_tokens``: its
    prompt as booked; ``read_tokens``: what of ``input_tokens`` was not in the engine's prefix
    cache; ``shared_j``, ``own_j``: the meters' readings when it was sent. Its own joules are those
    of the tokens that it really read and wrote; the replica's meter is set right by what it had
    assumed.

    Unless ``lane`` is -1, its length of ``learnt_tokens`` is taken in, by the option's default
    effort; ``cut``: it would have been longer.
    """
    meter(fleet, book, replica, now_s)
    first_token(fleet, replica, pending)
    leave(fleet, replica, tokens)
    book.own[replica] -= 1
    book.own_tokens[replica] -= tokens
    cost = book.base_cost[fleet.type_of[replica]]
    context = input_tokens + 0.5 * output_tokens
    each_j = cost.energy_j_per_sequence + context * cost.energy_j_per_context_token
    written_j = output_tokens * each_j
    assumed_j = book.own_j[replica] - own_j
    read_j = read_tokens * cost.energy_j_per_prefill_token
    booked_j = booked_tokens * cost.energy_j_per_prefill_token
    book.busy_j[replica] += written_j - assumed_j + read_j - booked_j
    if lane >= 0:
        if cut:
            learn_cut(fleet, lane, input_tokens, max(1.0, learnt_tokens))
        else:
            learn(fleet, lane, input_tokens, learnt_tokens)
    return float(book.shared_j[replica] - shared_j + written_j + read_j)


@outline_kernel
def load(
    fleet: FleetState, book: Book, replica: int, in_flight: int, tokens: int, now_s: float
) -> None:
    """Set what a replica has in all: this process's requests and those that others say of."""
    if fleet.in_flight[replica] == in_flight and fleet.tokens[replica] == tokens:
        return
    meter(fleet, book, replica, now_s)
    fleet.in_flight[replica] = in_flight - 1
    enter(fleet, replica, tokens - fleet.tokens[replica], 0)


@outline_kernel
def read(fleet: FleetState, book: Book, now_s: float) -> float:
    """Joules that this process's requests and the idle replicas have drawn up to ``now_s``."""
    total = 0.0
    for replica in range(fleet.type_of.shape[0]):
        meter(fleet, book, replica, now_s)
        total += book.idle_j[replica] + book.busy_j[replica]
    return total


@outline_kernel
def correct(fleet: FleetState, book: Book, kind: int) -> None:
    """Bring the costs of a type in line with the pace that was observed: its times grow by it, its
    dynamic joules stay, its static power is drawn for the longer time.
    """
    cost, base, pace = fleet.cost[kind], book.base_cost[kind], book.pace[kind]
    book.applied[kind] = pace
    static_w = base.power_w_active_static * (pace - 1.0)
    cost.time_s_per_step = base.time_s_per_step * pace
    cost.time_s_per_sequence = base.time_s_per_sequence * pace
    cost.time_s_per_context_token = base.time_s_per_context_token * pace
    cost.time_s_per_prefill_token = base.time_s_per_prefill_token * pace
    cost.time_s_all_experts = base.time_s_all_experts * pace
    cost.energy_j_per_step = base.energy_j_per_step + static_w * base.time_s_per_step
    cost.energy_j_per_sequence = base.energy_j_per_sequence + static_w * base.time_s_per_sequence
    cost.energy_j_per_context_token = (
        base.energy_j_per_context_token + static_w * base.time_s_per_context_token
    )
    cost.energy_j_per_prefill_token = (
        base.energy_j_per_prefill_token + static_w * base.time_s_per_prefill_token
    )
    cost.energy_j_all_experts = base.energy_j_all_experts + static_w * base.time_s_all_experts
