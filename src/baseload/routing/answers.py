"""What an answer is expected to draw and to be worth, by class and option: the joules that the
price of a joule is about.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel, outline_kernel
from baseload.routing.estimate import marginal_energy_j
from baseload.routing.fleet_state import FleetState
from baseload.routing.position import JoulePrices
from baseload.workload.lengths import WHOLE_CLASS, capped_length

_FEWEST_PROMPTS = 10.0


class Answers(NamedTuple):
    """Expected answers ``[classes, options]``: mean joules at the fleet, their mean square [J^2],
    what a wrong or cut one and its fee cost [$]. Infinite cost where no replica serves the option.
    """

    mean_j: NDArray[np.float64]
    square_j2: NDArray[np.float64]
    cost_usd: NDArray[np.float64]


def expected_answers(
    state: FleetState, options: np.recarray[Any, Any], prices: JoulePrices
) -> Answers:
    """The answers to expect now: lengths as the fleet has learned them by class, prompts as picked
    so far, on the replica type that draws the least at its present batch.

    Joules are marginal ones (``estimate.marginal_energy_j``), and a straight line in the output
    between its mean and twice that, so the mean square follows from that of the output.
    """
    shape = options.shape
    found = Answers(np.zeros(shape), np.zeros(shape), np.zeros(shape))
    _fill(state, options, prices, found.mean_j, found.square_j2, found.cost_usd)
    return found


@kernel
def _busy_level(state: FleetState, kind: int) -> int:
    """Mean requests in flight of the replicas of a type that work."""
    busy, requests = 0, 0
    for replica in range(state.first[kind], state.first[kind + 1]):
        if state.in_flight[replica] > 0:
            busy += 1
            requests += state.in_flight[replica]
    return int(requests / busy + 0.5) if busy > 0 else 1


@outline_kernel
def _fill(
    state: FleetState,
    options: np.recarray[Any, Any],
    prices: JoulePrices,
    mean_j: NDArray[np.float64],
    square_j2: NDArray[np.float64],
    cost_usd: NDArray[np.float64],
) -> None:
    """Fill in the answers of all classes and options."""
    for code in range(options.shape[0]):
        known = state.forecast[min(code, state.forecast.shape[0] - 1), WHOLE_CLASS]
        spread = np.sqrt(known.variance_tokens2)
        count = 0.0
        for number in range(options.shape[1]):
            count += prices.taken[code, number]
        prompt = state.traffic[0].input_tokens
        if count >= _FEWEST_PROMPTS:
            prompt = prices.prompts[code] / count
        for number in range(options.shape[1]):
            option = options[code, number]
            factor = option.output_factor
            tokens, square, whole = capped_length(
                known.mean_tokens * factor, spread * factor, option.cap_tokens
            )
            wrong = 1.0 - (1.0 - option.wrong_frac) * whole
            cost_usd[code, number] = option.right_usd * wrong + option.fee_usd
            best = np.inf
            for kind in range(state.cost.shape[0]):
                if option.model >= 0 and option.model != state.limits[kind].model:
                    continue
                level = _busy_level(state, kind)
                seen = (state.cost[kind], state.limits[kind], state.traffic[0], level)
                once = marginal_energy_j(*seen, prompt, tokens)
                if once >= best:
                    continue
                best = once
                token_j = (marginal_energy_j(*seen, prompt, 2.0 * tokens) - once) / tokens
                rest_j = max(0.0, once - token_j * tokens)
                token_j = (once - rest_j) / tokens
                mean_j[code, number] = once
                square_j2[code, number] = (
                    token_j * token_j * square
                    + 2.0 * token_j * rest_j * tokens
                    + rest_j * rest_j
                )
            if best == np.inf:
                cost_usd[code, number] = np.inf
