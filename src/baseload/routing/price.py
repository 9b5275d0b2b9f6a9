"""The price of a candidate: a sum of parts, each a quantity with a unit times a named exchange rate
in dollars.

    price = energy   [$/J]   x marginal joules
          + carbon   [$/g]   x grid intensity [g/J] x marginal joules
          + lateness [$/s]   x expected seconds past the deadline
          + quality  [$]     x probability that the answer is wrong
          + fee      [$/$]   x what an external provider charges
          + requests [$]     x requests in flight
          + tokens   [$]     x outstanding tokens
          + seconds  [$/s]   x expected seconds to the last token

The last three are what published balancers use in place of the first five.

A published policy is this sum with some rates at zero. A rate of zero switches the part off, and
its quantity is not computed.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel, outline_kernel
from baseload.fleet.step import Cost
from baseload.routing.estimate import expected_s, marginal_energy_j
from baseload.routing.fleet_state import Limits, Traffic

PARTS = ("energy", "carbon", "lateness", "quality", "fee", "requests", "tokens", "seconds")
UNITS = ("usd/J", "usd/g", "usd/s", "usd", "usd/usd", "usd/request", "usd/token", "usd/s")
ENERGY, CARBON, LATENESS, QUALITY, FEE, REQUESTS, TOKENS, SECONDS = range(len(PARTS))

OPTION = np.dtype(
    [
        ("model", np.int64),
        ("output_factor", np.float64),
        ("wrong_frac", np.float64),
        ("fee_usd", np.float64),
    ]
)
"""An option (model x effort): code of its model (-1: any), factor on the forecast output,
probability of a wrong answer, fee.
"""

REQUEST = np.dtype(
    [
        ("input_tokens", np.float64),
        ("output_tokens", np.float64),
        ("deadline_s", np.float64),
        ("grid_g_per_j", np.float64),
        ("model", np.int64),
    ]
)
"""The visible request: its input, its *forecast* output, seconds promised, the grid's intensity
now, the model asked for (-1: any).
"""

Option: TypeAlias = Any
"""One row of ``OPTION``."""
Request: TypeAlias = Any
"""One row of ``REQUEST``."""


def plain_option() -> np.recarray[Any, Any]:
    """The option table of a fleet without a choice of effort: one option, any model, tokens as
    forecast, no fee.
    """
    table = np.zeros(1, dtype=OPTION).view(np.recarray)
    table[0] = (-1, 1.0, 0.0, 0.0)
    return table


def request_row(
    *,
    input_tokens: float,
    output_tokens: float,
    deadline_s: float = np.inf,
    grid_g_per_j: float = 0.0,
    model: int = -1,
) -> np.recarray[Any, Any]:
    """One visible request as the pick takes it: a record array of ``REQUEST`` with one row."""
    row = np.zeros(1, dtype=REQUEST).view(np.recarray)
    row[0] = (input_tokens, output_tokens, deadline_s, grid_g_per_j, model)
    return row


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
    with ``in_flight``, ``tokens``.
    """
    output = request.output_tokens * option.output_factor
    price = rates[REQUESTS] * in_flight + rates[TOKENS] * tokens
    if rates[ENERGY] != 0.0 or rates[CARBON] != 0.0:
        joules = marginal_energy_j(cost, limits, traffic, in_flight, request.input_tokens, output)
        price += rates[ENERGY] * joules + rates[CARBON] * (request.grid_g_per_j * joules)
    if rates[LATENESS] != 0.0 or rates[SECONDS] != 0.0:
        seconds = expected_s(cost, limits, traffic, in_flight, request.input_tokens, output)
        price += rates[SECONDS] * seconds
        price += rates[LATENESS] * max(0.0, seconds - request.deadline_s)
    price += rates[QUALITY] * option.wrong_frac + rates[FEE] * option.fee_usd
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
