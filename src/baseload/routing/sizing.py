"""How much one replica can carry within the promises, and what a request costs it there."""

from __future__ import annotations

import math

import numpy as np

from baseload.base.kernels import outline_kernel
from baseload.fleet.step import Cost, step
from baseload.routing.estimate import rate_per_s, seats, step_s, step_spread_s
from baseload.routing.fleet_state import (
    PRIOR_INPUT_TOKENS,
    PRIOR_OUTPUT_TOKENS,
    TRAFFIC,
    FleetState,
    Limits,
    Traffic,
)


@outline_kernel
def batch_within(
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    ttft_s: float,
    tpot_s: float,
    spreads: float,
) -> int:
    """The most requests at once for which the mean time per token and ``spreads`` standard
    deviations of it stay within ``tpot_s``, and those of the first token within ``ttft_s``; 0 when
    even one alone is too slow.

    Both rise with the batch, so a bisection finds it. Spreads as in ``estimate``.
    """
    low, high = 0, int(seats(limits, traffic))
    while low < high:
        middle = (low + high + 1) // 2
        token_s = step_s(cost, float(middle), traffic)
        token_top_s = token_s + spreads * step_spread_s(
            cost, float(middle), traffic, traffic.output_tokens
        )
        step_spread = step_spread_s(cost, float(middle), traffic, 1.0)
        prompt_s = traffic.input_tokens * cost.time_s_per_prefill_token
        first_top_s = 1.5 * token_s + prompt_s * (1.0 + spreads) + spreads * step_spread
        if token_top_s <= tpot_s and first_top_s <= ttft_s:
            low = middle
        else:
            high = middle - 1
    return low


@outline_kernel
def request_energy_j(cost: Cost, traffic: Traffic, running: float, rest_power_w: float) -> float:
    """Joules above rest that one mean request costs a replica which keeps ``running`` at once: its
    share of the weight stream included. Seconds of a step as in ``estimate.step_s``; the joules of
    every prompt count, its own too.
    """
    context = running * (traffic.input_tokens + 0.5 * traffic.output_tokens)
    prompts = running / max(1.0, traffic.output_tokens)
    decode_j = step(cost, running, context, 0.0)[1]
    joined_j = step(cost, running, context, traffic.input_tokens)[1]
    step_j = decode_j + prompts * (joined_j - decode_j)
    per_request = max(1.0, traffic.output_tokens) / running
    spent_j: float = per_request * (step_j - rest_power_w * step_s(cost, running, traffic))
    return spent_j


@outline_kernel
def rate_within(cost: Cost, traffic: Traffic, running: float) -> float:
    """Requests per second that a replica completes with ``running`` at once; 0 for none."""
    if running < 1.0:
        return 0.0
    return rate_per_s(cost, running, traffic)


@outline_kernel
def batch_at_rate(cost: Cost, limits: Limits, traffic: Traffic, request_per_s: float) -> float:
    """How many requests a replica runs at once in the steady state of ``request_per_s``: the fixed
    point ``b = rate x output x step_s(b)``, at most its seats.
    """
    most = seats(limits, traffic)
    running = 1.0
    for _ in range(30):
        after: float = (
            request_per_s * max(1.0, traffic.output_tokens) * step_s(cost, running, traffic)
        )
        after = min(most, max(1.0, after))
        if math.fabs(after - running) < 0.01 * running:
            return after
        running = after
    return running


def profile(fleet: FleetState) -> None:
    """Write what offline profiling would find into ``limits.profiled_*``: tokens per second and
    joules per token of each type, all seats taken by requests of the prior mean lengths.
    """
    traffic = np.zeros(1, dtype=TRAFFIC).view(np.recarray)
    traffic[0] = (PRIOR_INPUT_TOKENS, PRIOR_OUTPUT_TOKENS)
    tokens = PRIOR_INPUT_TOKENS + PRIOR_OUTPUT_TOKENS
    for cost, limits in zip(fleet.cost, fleet.limits, strict=True):
        running = seats(limits, traffic[0])
        limits.profiled_tokens_per_s = tokens * rate_per_s(cost, running, traffic[0])
        limits.profiled_j_per_token = request_energy_j(cost, traffic[0], running, 0.0) / tokens
