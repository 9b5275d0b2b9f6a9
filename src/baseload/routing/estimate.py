"""What one more request would cost a replica: expected joules and seconds, from the eight numbers
and mean traffic.

The estimates depend on the replica's type and on how many requests it has in flight, so that equal
replicas cost the same and the pick can treat them as one. They see nothing of the future: lengths
are the forecast of the request at hand and the running means of those that ended.
"""

from __future__ import annotations

import numpy as np

from baseload.base.kernels import kernel
from baseload.fleet.step import Cost, step
from baseload.routing.fleet_state import Limits, Traffic


@kernel
def seats(limits: Limits, traffic: Traffic) -> float:
    """How many mean requests run at once: the batch limit, or what the KV cache holds of them;
    at least 1.
    """
    held = traffic.input_tokens + 0.5 * traffic.output_tokens
    return max(1.0, min(float(limits.max_batch), np.floor(limits.kv_tokens / max(1.0, held))))


@kernel
def step_s(cost: Cost, running: float, traffic: Traffic) -> float:
    """Mean seconds between two tokens of an answer among ``running`` ones, the prompts that join
    included.

    In a steady state each running sequence is replaced once per mean output, so every step carries
    ``(running - 1) / mean output`` prompts of mean input besides its decode work (Little's law).
    """
    context = running * (traffic.input_tokens + 0.5 * traffic.output_tokens)
    prompts = (running - 1.0) / max(1.0, traffic.output_tokens)
    decode_s, _ = step(cost, running, context, 0.0)
    joined_s, _ = step(cost, running, context, traffic.input_tokens)
    return decode_s + prompts * (joined_s - decode_s)


@kernel
def capacity_per_s(cost: Cost, limits: Limits, traffic: Traffic) -> float:
    """Requests per second that a replica completes with all seats taken by mean requests."""
    running = seats(limits, traffic)
    return running / (max(1.0, traffic.output_tokens) * step_s(cost, running, traffic))


@kernel
def expected_s(
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    in_flight: int,
    input_tokens: float,
    output_tokens: float,
) -> float:
    """Seconds from now to the last token of a request that joins ``in_flight`` others: wait,
    prefill, decode.
    """
    present = seats(limits, traffic)
    running = min(in_flight + 1.0, present)
    token_s = step_s(cost, running, traffic)
    context = running * (traffic.input_tokens + 0.5 * traffic.output_tokens)
    prefill_s = step(cost, running, context, input_tokens)[0] - step(cost, running, context, 0.0)[0]
    ahead = max(0.0, in_flight + 1.0 - present)
    wait_s = ahead / present * traffic.output_tokens * token_s
    return wait_s + prefill_s + output_tokens * token_s


@kernel
def marginal_energy_j(
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    in_flight: int,
    input_tokens: float,
    output_tokens: float,
) -> float:
    """Joules that the replica draws with the request minus without it, at its present batch
    (docs/explanation/fleet-physics.md).

    Beside running sequences a request adds its own terms to each step; on an idle replica it sets
    the whole weight stream in motion, less the idle power that would have been drawn anyway.
    """
    running = min(float(in_flight), seats(limits, traffic) - 1.0)
    held = traffic.input_tokens + 0.5 * traffic.output_tokens
    own = input_tokens + 0.5 * output_tokens
    if running > 0.0:
        token_j = _added_step_j(cost, running, running * held, own)
    else:
        alone_s, alone_j = step(cost, 1.0, own, 0.0)
        token_j = alone_j - cost.power_w_idle * alone_s
    base_s, base_j = step(cost, running + 1.0, running * held, 0.0)
    prefill_s, prefill_j = step(cost, running + 1.0, running * held, input_tokens)
    joined_j = prefill_j - base_j
    if running == 0.0:
        joined_j -= cost.power_w_idle * (prefill_s - base_s)
    return output_tokens * token_j + joined_j


@kernel
def _added_step_j(cost: Cost, running: float, context: float, own: float) -> float:
    """Joules by which one more sequence that reads ``own`` tokens raises a step of ``running``
    sequences.

    Below the power cap a dense model's step is linear, so the answer is the two coefficients alone:
    the same number at every batch, without the rounding of a difference (equal prices must compare
    equal for ties to be broken by replica number).
    """
    with_s, with_j = step(cost, running + 1.0, context + own, 0.0)
    if cost.expert_miss_frac == 1.0 and with_j < cost.power_w_cap * with_s:
        return cost.energy_j_per_sequence + own * cost.energy_j_per_context_token
    return with_j - step(cost, running, context, 0.0)[1]
