"""What an answer is expected to draw and to be worth, by class and option: the joules that the
price of a joule is about.

Joules do not add up over classes: the first request on a replica sets its whole weight stream in
motion, the next ones share it. So an answer is charged what it adds to the *plan*: all requests of
its class on the option, beside what the other classes have there now.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel, outline_kernel
from baseload.fleet.step import Cost
from baseload.routing.estimate import marginal_energy_j, seats, step_s
from baseload.routing.fleet_state import FleetState, Limits, Traffic
from baseload.routing.position import JoulePrices
from baseload.routing.price import ANY_MODEL
from baseload.workload.lengths import WHOLE_CLASS, capped_length

_FEWEST_PROMPTS = 10.0
_PARTS = 4


class Answers(NamedTuple):
    """Expected answers ``[classes, options]``: mean joules at the fleet, their mean square [J^2],
    what a wrong or cut one and its fee cost [$], joules of one token more. Infinite cost where no
    replica serves the option, and where the class may not have it.
    """

    mean_j: NDArray[np.float64]
    square_j2: NDArray[np.float64]
    cost_usd: NDArray[np.float64]
    token_j: NDArray[np.float64]


def expected_answers(
    state: FleetState,
    options: np.recarray[Any, Any],
    prices: JoulePrices,
    rate_per_s: NDArray[np.float64],
) -> Answers:
    """The answers to expect now: lengths as the fleet has learned them by class, prompts as picked
    so far, on the replica type that draws the least.

    ``rate_per_s`` ``[classes, options]``: at which they are picked now. A class that took an option
    would keep ``own = rate x seconds`` requests there, beside ``others`` of the other classes; its
    joules are the mean over its own load of what a request adds, which finds the type idle with
    probability exp(-load) (Poisson arrivals). They are a straight line in the output between its
    mean and twice that, so their mean square follows from that of the output.
    """
    shape = options.shape
    found = Answers(*(np.zeros(shape) for _ in Answers._fields))
    load = np.zeros((*shape, len(state.cost)))
    _fill(state, options, prices, rate_per_s, load, *found)
    return found


@kernel
def _typical(state: FleetState, prices: JoulePrices, option: Any, code: int) -> tuple[float, ...]:
    """Prompt, mean output, its mean square [tokens] and the chance that it is whole."""
    known = state.forecast[min(code, state.forecast.shape[0] - 1), WHOLE_CLASS]
    count = 0.0
    for number in range(prices.taken.shape[1]):
        count += prices.taken[code, number]
    prompt = state.traffic[0].input_tokens
    if count >= _FEWEST_PROMPTS:
        prompt = prices.prompts[code] / count
    factor = option.output_factor
    tokens, square, whole = capped_length(
        known.mean_tokens * factor, math.sqrt(known.variance_tokens2) * factor, option.cap_tokens
    )
    return prompt, tokens, square, whole


@kernel
def _busy_level(state: FleetState, kind: int) -> float:
    """Mean requests in flight of the replicas of a type that work; 0 where none does."""
    busy, requests = 0, 0
    for replica in range(state.first[kind], state.first[kind + 1]):
        if state.in_flight[replica] > 0:
            busy += 1
            requests += state.in_flight[replica]
    return requests / busy if busy > 0 else 0.0


@kernel
def _added_j(
    cost: Cost, limits: Limits, traffic: Traffic, load: float, prompt: float, tokens: float
) -> float:
    """Joules of an answer on a type where ``load`` requests are in flight."""
    idle = math.exp(-load)
    beside = marginal_energy_j(cost, limits, traffic, _whole(limits, traffic, load), prompt, tokens)
    if idle < 1e-6:
        return beside
    first = marginal_energy_j(cost, limits, traffic, 0, prompt, tokens)
    return idle * first + (1.0 - idle) * beside


@kernel
def _whole(limits: Limits, traffic: Traffic, load: float) -> int:
    """A load as requests beside which one more may run: at least one."""
    return max(1, int(min(load, seats(limits, traffic)) + 0.5))


@kernel
def _class_j(
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    others: float,
    own: float,
    prompt: float,
    tokens: float,
) -> float:
    """Mean joules of a class's answers as its load is added to that of others: four midpoints."""
    total = 0.0
    for part in range(_PARTS):
        load = others + own * (part + 0.5) / _PARTS
        total += _added_j(cost, limits, traffic, load, prompt, tokens)
    return total / _PARTS


@kernel
def _others(
    state: FleetState,
    options: np.recarray[Any, Any],
    rate_per_s: NDArray[np.float64],
    load: NDArray[np.float64],
    code: int,
    kind: int,
) -> float:
    """Requests in flight of the other classes on a type."""
    held = 0.0
    for other in range(options.shape[0]):
        for taken in range(options.shape[1]):
            model = options[other, taken].model
            if other != code and (model == ANY_MODEL or model == state.limits[kind].model):
                held += rate_per_s[other, taken] * load[other, taken, kind]
    return held


@outline_kernel
def _fill(
    state: FleetState,
    options: np.recarray[Any, Any],
    prices: JoulePrices,
    rate_per_s: NDArray[np.float64],
    load: NDArray[np.float64],
    mean_j: NDArray[np.float64],
    square_j2: NDArray[np.float64],
    cost_usd: NDArray[np.float64],
    joules_a_token: NDArray[np.float64],
) -> None:
    """Fill in the answers of all classes and options. ``load`` ``[classes, options, types]``:
    seconds that an answer takes.
    """
    classes, count, kinds = load.shape
    traffic = state.traffic[0]
    for code in range(classes):
        for number in range(count):
            option = options[code, number]
            _, tokens, _, whole = _typical(state, prices, option, code)
            wrong = 1.0 - (1.0 - option.wrong_frac) * whole
            cost_usd[code, number] = option.right_usd * wrong + option.fee_usd
            for kind in range(kinds):
                running = max(1.0, _busy_level(state, kind))
                running = min(running, seats(state.limits[kind], traffic))
                load[code, number, kind] = tokens * step_s(state.cost[kind], running, traffic)
    for code in range(classes):
        arrivals = 0.0
        for number in range(count):
            arrivals += rate_per_s[code, number]
        for number in range(count):
            option = options[code, number]
            prompt, tokens, square, _ = _typical(state, prices, option, code)
            best = np.inf
            for kind in range(kinds):
                if option.model != ANY_MODEL and option.model != state.limits[kind].model:
                    continue
                own = arrivals * load[code, number, kind]
                others = _others(state, options, rate_per_s, load, code, kind)
                if state.first[kind + 1] - state.first[kind] > 1:
                    level = max(1.0, _busy_level(state, kind))
                    others = min(others, level)
                    own = min(own, level - others)
                seen = (state.cost[kind], state.limits[kind], traffic, others, own, prompt)
                once = _class_j(*seen, tokens)
                if once >= best:
                    continue
                best = once = max(0.0, once)  # an idle replica may draw more than a busy one
                token_j = (_class_j(*seen, 2.0 * tokens) - once) / tokens
                rest_j = max(0.0, once - token_j * tokens)
                token_j = (once - rest_j) / tokens
                mean_j[code, number] = once
                joules_a_token[code, number] = token_j
                square_j2[code, number] = (
                    token_j * token_j * square + 2.0 * token_j * rest_j * tokens + rest_j * rest_j
                )
            if best == np.inf:
                cost_usd[code, number] = np.inf
