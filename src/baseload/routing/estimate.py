"""What one more request would cost a replica: expected joules and seconds with their spread, from
the eight numbers and mean traffic.

The estimates depend on the replica's type and on how many requests it has in flight, so that equal
replicas cost the same and the pick can treat them as one. They see nothing of the future: lengths
are the forecast of the request at hand and the running means of those that ended. Derivations:
docs/explanation/the-price.md.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from baseload.base.kernels import kernel
from baseload.fleet.step import Cost, step
from baseload.routing.fleet_state import Limits, Traffic

Request: TypeAlias = Any
"""One row of ``price.REQUEST``."""

_PER_SQRT_2 = math.sqrt(0.5)
_PER_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_SHORTEST_S = 1e-6  # a promise that is used up
_BUSIEST = 0.95  # share of time for prompts beyond which an estimate does not go
_FAR = 6.0  # standard deviations at which an excess is all or nothing


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
    ``(running - 1) / mean output`` prompts of mean input besides its decode work (Little's law):
    that share of steps carries one, or, where it is above 1, every step so many.
    """
    context = running * (traffic.input_tokens + 0.5 * traffic.output_tokens)
    decode_s, _ = step(cost, running, context, 0.0)
    return _joined_step_s(cost, running, context, traffic, decode_s)


@kernel
def _joined_step_s(
    cost: Cost, running: float, context: float, traffic: Traffic, decode_s: float
) -> float:
    """``step_s``, given the seconds of a step without prompts. It never falls with ``running``,
    also not where the power cap binds: both of its forms rise with each of their arguments.
    """
    prompts = (running - 1.0) / max(1.0, traffic.output_tokens)
    if prompts > 1.0:
        return step(cost, running, context, prompts * traffic.input_tokens)[0]
    joined_s, _ = step(cost, running, context, traffic.input_tokens)
    return decode_s + prompts * (joined_s - decode_s)


@kernel
def loaded_step_s(cost: Cost, limits: Limits, running: float, traffic: Traffic) -> float:
    """``step_s``, or more while more prompts come than a steady state would bring.

    Prompts that keep a replica busy for a share ``u`` of its time leave ``1 - u`` to decoding, so
    the steps of ``running`` sequences take ``decode_s / (1 - u)`` each.
    """
    context = running * (traffic.input_tokens + 0.5 * traffic.output_tokens)
    decode_s, _ = step(cost, running, context, 0.0)
    steady_s = _joined_step_s(cost, running, context, traffic, decode_s)
    busy_frac = min(_BUSIEST, limits.prompt_tokens_per_s * cost.time_s_per_prefill_token)
    return max(steady_s, decode_s / (1.0 - busy_frac))


@kernel
def step_spread_s(cost: Cost, running: float, traffic: Traffic, tokens: float) -> float:
    """Standard deviation of the mean seconds a token over an answer of ``tokens`` tokens.

    The prompts that join are a Poisson stream, so their total over ``tokens`` steps has the
    variance ``tokens * rate * E[prefill_s ** 2]``; prompts spread about as much as their mean (a
    coefficient of variation of 1: the shipped traces have 0.8 to 1.6), hence the factor 2.
    """
    prompts = (running - 1.0) / max(1.0, traffic.output_tokens)
    prefill_s = traffic.input_tokens * cost.time_s_per_prefill_token
    return math.sqrt(2.0 * max(0.0, prompts) / max(1.0, tokens)) * prefill_s


@kernel
def expected_excess(mean: float, spread: float, limit: float) -> float:
    """``E[max(0, X - limit)]`` of a normal ``X``: ``s phi(z) + (mean - limit) Phi(z)`` with
    ``z = (mean - limit) / s`` (textbook; the unit loss function). 0 for an infinite limit.
    """
    over = mean - limit
    if over <= -_FAR * spread:
        return 0.0
    if over >= _FAR * spread:
        return over
    z = over / spread
    density = _PER_SQRT_2PI * math.exp(-0.5 * z * z)
    return spread * density + over * 0.5 * (1.0 + math.erf(z * _PER_SQRT_2))


@kernel
def capacity_per_s(cost: Cost, limits: Limits, traffic: Traffic) -> float:
    """Requests per second that a replica completes with all seats taken by mean requests."""
    return rate_per_s(cost, seats(limits, traffic), traffic)


@kernel
def rate_per_s(cost: Cost, running: float, traffic: Traffic) -> float:
    """Mean requests per second that a replica completes with ``running`` at once (Little's law)."""
    return running / (max(1.0, traffic.output_tokens) * step_s(cost, running, traffic))


@kernel
def wait_s(cost: Cost, limits: Limits, traffic: Traffic, in_flight: int) -> float:
    """Mean seconds until a request that joins ``in_flight`` others has a seat."""
    present = seats(limits, traffic)
    ahead = max(0.0, in_flight + 1.0 - present)
    if ahead == 0.0:
        return 0.0
    return ahead / present * traffic.output_tokens * step_s(cost, present, traffic)


@kernel
def _added(
    cost: Cost, running: float, context: float, sequences: float, tokens: float, prefill: float
) -> tuple[float, float]:
    """Seconds and joules by which a step of ``running`` sequences over ``context`` grows with
    ``sequences`` more, ``tokens`` of context and ``prefill`` tokens.

    A dense model's step is linear where the power cap does not bind, and where it does before and
    after; there the answer is the sum of its terms: the same number at every batch, without the
    rounding of a difference (equal prices must compare equal, for ties to be broken by replica
    number and for a price that never falls to be seen as one).
    """
    before_s, before_j = step(cost, running, context, 0.0)
    after_s, after_j = step(cost, running + sequences, context + tokens, prefill)
    before_capped = before_j >= cost.power_w_cap * before_s
    after_capped = after_j >= cost.power_w_cap * after_s
    if cost.expert_miss_frac < 1.0 or before_capped != after_capped:
        return after_s - before_s, after_j - before_j
    time_s = (
        sequences * cost.time_s_per_sequence
        + tokens * cost.time_s_per_context_token
        + prefill * cost.time_s_per_prefill_token
    )
    energy_j = (
        sequences * cost.energy_j_per_sequence
        + tokens * cost.energy_j_per_context_token
        + prefill * cost.energy_j_per_prefill_token
    )
    if after_capped:
        static_w = cost.power_w_active_static
        time_s = (energy_j - static_w * time_s) / (cost.power_w_cap - static_w)
        energy_j = cost.power_w_cap * time_s
    return time_s, energy_j


@kernel
def prefill_s(
    cost: Cost, limits: Limits, traffic: Traffic, in_flight: int, input_tokens: float
) -> float:
    """Seconds by which the request's own prompt lengthens the steps that process it."""
    running = min(in_flight + 1.0, seats(limits, traffic))
    context = running * (traffic.input_tokens + 0.5 * traffic.output_tokens)
    return _added(cost, running, context, 0.0, 0.0, input_tokens)[0]


@kernel
def expected_s(
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    in_flight: int,
    input_tokens: float,
    output_tokens: float,
) -> float:
    """Seconds from now to the last token of a request that joins ``in_flight`` others: wait, the
    step of its own prompt, which emits the first token, and a mean step for each further one.

    Each of the three never falls as ``in_flight`` rises.
    """
    running = min(in_flight + 1.0, seats(limits, traffic))
    context = running * (traffic.input_tokens + 0.5 * traffic.output_tokens)
    own_s, _ = step(cost, running, context, input_tokens)
    ahead_s = wait_s(cost, limits, traffic, in_flight)
    return ahead_s + own_s + max(0.0, output_tokens - 1.0) * step_s(cost, running, traffic)


@kernel
def laxity_s(cost: Cost, limits: Limits, traffic: Traffic, request: Request) -> float:
    """Seconds that a request could wait, were it alone in the replica then, and still keep its
    deadline: what least-laxity-first orders by.
    """
    alone_s = expected_s(cost, limits, traffic, 0, request.input_tokens, request.output_tokens)
    return request.deadline_s - alone_s


@kernel
def expected_lateness_s(
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    in_flight: int,
    request: Request,
    output_tokens: float,
    output_spread: float,
) -> float:
    """Expected seconds past the promises that a request brings about: its own and its neighbours'.

    Its own: of the first token, of the tokens after it (their mean excess times their number), of
    the whole answer, where promised, after a wake where the replica may be asleep. Its neighbours':
    its prompt holds up each of them for its prefill time, which is lateness as far as they are
    late. ``output_spread``: standard deviation of the forecast of the output [tokens]. Each time is
    taken as normal with the spread of the prompts that join, of the step in which the request
    arrives, and of its own length.
    """
    running = min(in_flight + 1.0, seats(limits, traffic))
    token_s = loaded_step_s(cost, limits, running, traffic)
    own_s = request.input_tokens * cost.time_s_per_prefill_token
    late_s = 0.0
    if request.tpot_s < math.inf:
        # the mean of 1 / length over a spread-out forecast is about (1 + cv^2) / mean
        relative = output_spread / max(1.0, output_tokens)
        short_tokens = output_tokens / (1.0 + relative * relative)
        spread_s = step_spread_s(cost, running, traffic, short_tokens)
        own_token_s = token_s + own_s / traffic.output_tokens
        late_s += output_tokens * expected_excess(own_token_s, spread_s, request.tpot_s)
        late_s += (running - 1.0) * own_s * late_frac(own_token_s, spread_s, request.tpot_s)
    if request.ttft_s < math.inf or request.e2e_s < math.inf:
        first_s = wait_s(cost, limits, traffic, in_flight) + token_s + own_s
        if in_flight == 0:
            first_s += limits.wake_s
        step_spread = step_spread_s(cost, running, traffic, 1.0)
        late_s += expected_excess(first_s, step_spread, request.ttft_s)
        if request.e2e_s < math.inf:
            spread_s = step_spread + token_s * output_spread
            late_s += expected_excess(first_s + output_tokens * token_s, spread_s, request.e2e_s)
    return late_s


@kernel
def late_frac(mean: float, spread: float, limit: float) -> float:
    """``P(X > limit)`` of a normal ``X``."""
    over = mean - limit
    if over <= -_FAR * spread:
        return 0.0
    if over >= _FAR * spread:
        return 1.0
    return 0.5 * (1.0 + math.erf(over / spread * _PER_SQRT_2))


@kernel
def headroom_frac(
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    in_flight: int,
    input_tokens: float,
    ttft_s: float,
    tpot_s: float,
    ttft_weight: float,
    margin_frac: float,
) -> float:
    """What is left of the promises, as a weighted mean of their fractions; less than nothing, by
    how much the worse one misses it, where less than ``margin_frac`` of either is left. 1 without
    promises.

    ``ttft_weight`` of the first token's, the rest of the later ones' (llm-d's latency scorer: 0.8).
    """
    running = min(in_flight + 1.0, seats(limits, traffic))
    token_s = step_s(cost, running, traffic)
    first_s = wait_s(cost, limits, traffic, in_flight) + token_s
    first_s += prefill_s(cost, limits, traffic, in_flight, input_tokens)
    of_first = 1.0 - first_s / max(_SHORTEST_S, ttft_s)
    of_rest = 1.0 - token_s / max(_SHORTEST_S, tpot_s)
    worse = min(of_first, of_rest)
    if worse < margin_frac:
        return worse - margin_frac
    return ttft_weight * of_first + (1.0 - ttft_weight) * of_rest


@kernel
def marginal_energy_j(
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    in_flight: int,
    input_tokens: float,
    output_tokens: float,
) -> float:
    """Joules that the replica draws with the request minus without it, at the batch that a
    controller forecasts, or at its present one where nobody does (docs/explanation/the-price.md).

    Beside running sequences a request adds its own terms to each step; on an idle replica that
    nobody means to fill it sets the whole weight stream in motion, less the idle power that would
    have been drawn anyway.
    """
    present = float(in_flight)
    if limits.forecast_batch >= 0.0:
        present = max(limits.forecast_batch, min(present, 1.0))
    running = min(present, seats(limits, traffic) - 1.0)
    held = traffic.input_tokens + 0.5 * traffic.output_tokens
    own = input_tokens + 0.5 * output_tokens
    if running > 0.0:
        token_j = _added(cost, running, running * held, 1.0, own, 0.0)[1]
    else:
        alone_s, alone_j = step(cost, 1.0, own, 0.0)
        token_j = alone_j - cost.power_w_idle * alone_s
    added_s, added_j = _added(cost, running + 1.0, running * held, 0.0, 0.0, input_tokens)
    if running == 0.0:
        added_j -= cost.power_w_idle * added_s
    return output_tokens * token_j + added_j
