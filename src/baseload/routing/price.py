"""The price of a candidate: a sum of parts, each a quantity with a unit times a named exchange rate
in dollars.

    price = energy   [$/J]   x marginal joules
          + carbon   [$/g]   x grid intensity [g/J] x marginal joules
          + lateness [$/s]   x lambda of the tier x expected seconds past the promises
          + quality  [$/$]   x value of a right answer x probability that this one is wrong
          + fee      [$/$]   x what an external provider charges

Published routers use these parts in place of the first five:

          + requests [$]     x requests in flight
          + tokens   [$]     x outstanding tokens
          + seconds  [$/s]   x expected seconds to the last token
          + average  [$/J]   x profiled joules a token x tokens of the request
          + backlog  [$/s]   x lambda x seconds by which the outstanding tokens at the profiled
                               speed pass the deadline
          + headroom [$]     x what is left of the promises (broken ones: above any kept)
          + tiles    [$]     x 1 where the request opens a tile of the batch, less a little for load
          + size     [$]     x 1 where a short request meets a strong device, or a long one a frugal

A published policy is this sum with some rates at zero. A rate of zero switches the part off, and
its quantity is not computed. Numbers that shape a part without being a rate are its ``KNOBS``.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel, outline_kernel
from baseload.fleet.step import Cost
from baseload.routing.estimate import (
    expected_lateness_s,
    expected_s,
    headroom_frac,
    marginal_energy_j,
    seats,
    step_s,
)
from baseload.routing.fleet_state import Limits, Traffic
from baseload.workload.lengths import capped_length

PARTS = (
    "energy",
    "carbon",
    "lateness",
    "quality",
    "fee",
    "requests",
    "tokens",
    "seconds",
    "average",
    "backlog",
    "headroom",
    "tiles",
    "size",
)
UNITS = (
    "usd/J",
    "usd/g",
    "usd/s",
    "usd/usd",
    "usd/usd",
    "usd/request",
    "usd/token",
    "usd/s",
    "usd/J",
    "usd/s",
    "usd",
    "usd",
    "usd",
)
ENERGY, CARBON, LATENESS, QUALITY, FEE, REQUESTS, TOKENS, SECONDS = range(8)
AVERAGE, BACKLOG, HEADROOM, TILES, SIZE = range(8, len(PARTS))

KNOBS = {
    "deadline_factor": 1.0,
    "margin_frac": 0.0,
    "ttft_weight": 0.8,
    "tile_requests": 16.0,
    "short_input_tokens": 32.0,
    "short_output_tokens": math.inf,
}
"""Numbers that shape parts, with their defaults: ``deadline_factor`` times the deadline is when the
backlog is late; ``margin_frac`` of a promise is kept free (headroom, tiles); ``ttft_weight`` of
``estimate.headroom_frac``; ``tile_requests`` in a tile; a request is short when neither length is
above ``short_*_tokens``.
"""
_FIRST_KNOB = len(PARTS)
DEADLINE_FACTOR, MARGIN_FRAC, TTFT_WEIGHT, TILE, SHORT_INPUT, SHORT_OUTPUT = range(
    _FIRST_KNOB, _FIRST_KNOB + len(KNOBS)
)

OPTION = np.dtype(
    [
        ("model", np.int64),
        ("output_factor", np.float64),
        ("cap_tokens", np.float64),
        ("wrong_frac", np.float64),
        ("right_usd", np.float64),
        ("fee_usd", np.float64),
        ("joule_factor", np.float64),
    ]
)
"""An option (model x effort) for one class of requests: code of its model (-1: any; -3: none, the
class may not have it), factor on the forecast output, cap on it (inf: none; an answer that is cut
is wrong), probability that an answer that is not cut is wrong, value of a right answer, fee, and
the shadow price of its joules now over the rate of the energy part (1 without a supply that anyone
looks at; below 0 where energy would be thrown away).
"""

REQUEST = np.dtype(
    [
        ("input_tokens", np.float64),
        ("output_tokens", np.float64),
        ("output_spread", np.float64),
        ("deadline_s", np.float64),
        ("ttft_s", np.float64),
        ("tpot_s", np.float64),
        ("e2e_s", np.float64),
        ("lateness_weight", np.float64),
        ("grid_g_per_j", np.float64),
        ("model", np.int64),
        ("class_code", np.int64),
        ("now_s", np.float64),
    ]
)
"""The visible request: its input, its *forecast* output with its standard deviation, seconds
promised to the last token, the promises by themselves (inf: none), the controller's lambda of its
tier, the grid's intensity now, the model asked for (-1: any), its class, the instant of the pick.
"""

ANY_MODEL, BARRED = -1, -3
"""Codes of an option's model that are no model: any will do, and none does (-2 is a model of the
fleet that nobody asks for).
"""

Option: TypeAlias = Any
"""One row of ``OPTION``."""
Request: TypeAlias = Any
"""One row of ``REQUEST``."""


def plain_option() -> np.recarray[Any, Any]:
    """The option table of a fleet without a choice of effort, ``[1, 1]``: for every class one
    option, any model, tokens as forecast, no fee.
    """
    table = np.zeros((1, 1), dtype=OPTION).view(np.recarray)
    table[0, 0] = (-1, 1.0, np.inf, 0.0, 0.0, 0.0, 1.0)
    return table


@kernel
def option_row(options: Any, request: Request) -> int:
    """The row of the option table ``[classes or 1, options]`` that counts for a request."""
    return int(request.class_code) if options.shape[0] > 1 else 0


@kernel
def reference_option(options: Any, request: Request) -> int:
    """The first option that the request's class may have: who does not choose takes it."""
    row = option_row(options, request)
    for number in range(options.shape[1]):
        if options[row, number].model != BARRED:
            return number
    return 0


def request_row(
    *,
    input_tokens: float,
    output_tokens: float,
    output_spread: float = 0.0,
    deadline_s: float = np.inf,
    ttft_s: float = np.inf,
    tpot_s: float = np.inf,
    e2e_s: float | None = None,
    lateness_weight: float = 1.0,
    grid_g_per_j: float = 0.0,
    model: int = -1,
    class_code: int = 0,
    now_s: float = 0.0,
) -> np.recarray[Any, Any]:
    """One visible request as the pick takes it: a record array of ``REQUEST`` with one row.
    ``e2e_s`` is ``deadline_s`` unless given.
    """
    row = np.zeros(1, dtype=REQUEST).view(np.recarray)
    lengths = (input_tokens, output_tokens, output_spread)
    promises = (deadline_s, ttft_s, tpot_s, deadline_s if e2e_s is None else e2e_s)
    row[0] = (*lengths, *promises, lateness_weight, grid_g_per_j, model, class_code, now_s)
    return row


@kernel
def output_tokens_of(option: Option, request: Request) -> float:
    """Forecast output [tokens] of a request answered by an option, below its cap."""
    output: float = request.output_tokens * option.output_factor
    if option.cap_tokens == np.inf:
        return output
    return capped_length(output, request.output_spread * option.output_factor, option.cap_tokens)[0]


@kernel
def wrong_frac_of(option: Option, request: Request) -> float:
    """Probability that the answer of an option to a request is wrong, or cut short."""
    wrong: float = option.wrong_frac
    if option.cap_tokens == np.inf:
        return wrong
    output, spread = request.output_tokens, request.output_spread
    factor = option.output_factor
    _, _, whole = capped_length(output * factor, spread * factor, option.cap_tokens)
    return 1.0 - (1.0 - wrong) * whole


@kernel
def backlog_free_tokens(
    rates: NDArray[np.float64], limits: Limits, request: Request, output_tokens: float
) -> float:
    """Outstanding tokens up to which a replica still ends the request by its deadline, at the
    profiled speed: JouleSched's ``ETA <= D``, solved for the queue.
    """
    allowed_s = request.deadline_s * rates[DEADLINE_FACTOR]
    return allowed_s * limits.profiled_tokens_per_s - (request.input_tokens + output_tokens)


@kernel
def _tile_price(
    rates: NDArray[np.float64],
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    request: Request,
    in_flight: int,
) -> float:
    """1 where the request opens a tile of the batch, 0 where one is begun, less up to 0.5 for the
    load that is there; 2 and more where the time per token would pass its limit.
    """
    running = min(in_flight + 1.0, seats(limits, traffic))
    late = step_s(cost, running, traffic) / (request.tpot_s * (1.0 - rates[MARGIN_FRAC]))
    if late > 1.0:
        return 1.0 + late
    opens = 1.0 if in_flight % rates[TILE] == 0.0 else 0.0
    return opens - 0.5 * in_flight / limits.max_in_flight


@kernel
def _published_parts_usd(
    rates: NDArray[np.float64],
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    request: Request,
    output: float,
    in_flight: int,
    tokens: int,
) -> float:
    """The parts that published routers use in place of marginal joules and expected lateness."""
    price = 0.0
    if rates[SECONDS] != 0.0:
        price += rates[SECONDS] * expected_s(
            cost, limits, traffic, in_flight, request.input_tokens, output
        )
    if rates[AVERAGE] != 0.0:
        joules = limits.profiled_j_per_token * (request.input_tokens + output)
        price += rates[AVERAGE] * joules
    if rates[BACKLOG] != 0.0 and request.lateness_weight != 0.0:
        over = max(0.0, tokens - backlog_free_tokens(rates, limits, request, output))
        price += rates[BACKLOG] * request.lateness_weight * over / limits.profiled_tokens_per_s
    if rates[HEADROOM] != 0.0:
        left = headroom_frac(
            cost,
            limits,
            traffic,
            in_flight,
            request.input_tokens,
            request.ttft_s,
            request.tpot_s,
            rates[TTFT_WEIGHT],
            rates[MARGIN_FRAC],
        )
        price += rates[HEADROOM] * (left if left >= 0.0 else 2.0 - left)
    if rates[TILES] != 0.0:
        price += rates[TILES] * _tile_price(rates, cost, limits, traffic, request, in_flight)
    if rates[SIZE] != 0.0:
        short = request.input_tokens <= rates[SHORT_INPUT] and output <= rates[SHORT_OUTPUT]
        price += rates[SIZE] if short != (limits.frugal != 0) else 0.0
    return price


@kernel
def price_usd(
    rates: NDArray[np.float64],
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    option: Option,
    request: Request,
    in_flight: int,
    tokens: int,
) -> float:
    """The price [$] of a candidate: ``option`` on a replica of the type ``cost``, ``limits``
    with ``in_flight``, ``tokens``. ``rates``: of ``PARTS``, then ``KNOBS``.
    """
    output = output_tokens_of(option, request)
    price = rates[REQUESTS] * in_flight + rates[TOKENS] * tokens
    if rates[ENERGY] != 0.0 or rates[CARBON] != 0.0:
        joules = marginal_energy_j(cost, limits, traffic, in_flight, request.input_tokens, output)
        price += rates[ENERGY] * (option.joule_factor * joules)
        price += rates[CARBON] * (request.grid_g_per_j * joules)
    if rates[LATENESS] != 0.0 and request.lateness_weight != 0.0:
        spread = request.output_spread * option.output_factor
        late_s = expected_lateness_s(cost, limits, traffic, in_flight, request, output, spread)
        price += rates[LATENESS] * request.lateness_weight * late_s
    price += _published_parts_usd(rates, cost, limits, traffic, request, output, in_flight, tokens)
    price += rates[FEE] * option.fee_usd
    if rates[QUALITY] != 0.0:
        price += rates[QUALITY] * (option.right_usd * wrong_frac_of(option, request))
    return price


@outline_kernel
def called_price_usd(
    rates: NDArray[np.float64],
    cost: Cost,
    limits: Limits,
    traffic: Traffic,
    option: Option,
    request: Request,
    in_flight: int,
    tokens: int,
) -> float:
    """``price_usd`` as a call, for where it is asked once: less to compile."""
    return price_usd(rates, cost, limits, traffic, option, request, in_flight, tokens)
