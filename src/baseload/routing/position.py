"""The energy position, and what a joule costs there: how the state of the supply reaches the pick.

The *position* is the level of the store less what requests in flight are still expected to draw.
Between two looks at the meter it moves by the net supply, and falls by the expected joules of each
answer at the moment it is promised. The price of an answer's joules is a table over the position,
one row for each class and option, made by a slow controller (``supply_control``).
Derivation: docs/explanation/variance-aware-routing.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baseload.base.kernels import kernel
from baseload.routing.price import Request, option_row

# Entries of ``JoulePrices.position``.
LEVEL_J, DRIFT_W, AT_S, CAPACITY_J, PROMISED_J = 0, 1, 2, 3, 4
_ENTRIES = 5

NODES = 513
"""Levels of the store at which a table has prices."""


class JoulePrices(NamedTuple):
    """What a policy knows of the price of joules, and of those it has promised.

    ``factor`` ``[classes, options, nodes]``: the price over the rate of the energy part, on nodes
    evenly from an empty to a full store; without nodes nobody looks at the supply. ``joules``
    ``[classes, options]``: expected joules of an answer at the bus. ``position``: level [J],
    its drift [W] since an instant [s], capacity [J], joules promised so far. ``taken``
    ``[classes, options]``: picks so far; ``prompts`` ``[classes]``: their input tokens.
    """

    factor: NDArray[np.float64]
    joules: NDArray[np.float64]
    position: NDArray[np.float64]
    taken: NDArray[np.float64]
    prompts: NDArray[np.float64]


def no_joule_prices() -> JoulePrices:
    """The joule prices of a policy that does not look at the supply."""
    none = np.zeros((1, 1))
    return JoulePrices(np.zeros((1, 1, 0)), none, np.zeros(_ENTRIES), none.copy(), np.zeros(1))


def joule_prices(shape: tuple[int, ...], store_j: float) -> JoulePrices:
    """Tables for options of a ``shape`` (classes, options) over a store of a capacity [J]: a factor
    of 1 everywhere, nothing promised, the store empty.
    """
    position = np.zeros(_ENTRIES)
    position[CAPACITY_J] = store_j
    return JoulePrices(
        factor=np.ones((*shape, NODES)),
        joules=np.zeros(shape),
        position=position,
        taken=np.zeros(shape),
        prompts=np.zeros(shape[0]),
    )


@kernel
def position_j(position: NDArray[np.float64], now_s: float) -> float:
    """The energy position at ``now_s`` [J], as far as it is known, within the store's bounds."""
    level = position[LEVEL_J] + position[DRIFT_W] * (now_s - position[AT_S])
    return float(max(0.0, min(position[CAPACITY_J], level)))


@kernel
def price_joules(prices: JoulePrices, options: np.recarray[Any, Any], request: Request) -> None:
    """Write the price of joules at the present position into the options of the request's class,
    read between the nodes of the table.
    """
    nodes = prices.factor.shape[2]
    row = option_row(options, request)
    at = 0.0
    if prices.position[CAPACITY_J] > 0.0:
        level = position_j(prices.position, request.now_s)
        at = level / prices.position[CAPACITY_J] * (nodes - 1)
    node = min(int(at), nodes - 2)
    share = at - node
    for number in range(options.shape[1]):
        left, right = prices.factor[row, number, node], prices.factor[row, number, node + 1]
        options[row, number].joule_factor = left + share * (right - left)


@kernel
def promise(
    prices: JoulePrices, options: np.recarray[Any, Any], request: Request, number: int
) -> None:
    """Option ``number`` answers the request: its joules leave the position."""
    row = option_row(options, request)
    prices.position[LEVEL_J] -= prices.joules[row, number]
    prices.position[PROMISED_J] += prices.joules[row, number]
    prices.taken[row, number] += 1.0
    prices.prompts[row] += request.input_tokens
