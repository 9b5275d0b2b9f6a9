"""The kernels of a request's way, called with one reference in place of fifty arrays.

Handing a compiled function a struct of arrays costs 0.1 us an array, at each call: more than the
decision itself. A reference to the same arrays, packed once, costs half a microsecond. The work is
``decision``'s; what is here only hands it on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit, types
from numba.experimental import structref

from baseload.base.kernels import kernel_stamp
from baseload.gateway import decision
from baseload.gateway.decision import Book
from baseload.routing.fleet_state import FleetState
from baseload.routing.pick import PolicyState

Function = TypeVar("Function", bound=Callable[..., object])


def _counting(function: Function) -> Function:
    """Compile ``function`` with reference counts, unlike a kernel: reading a reference needs them.
    The cache on disk is stale when any kernel is.
    """
    options: dict[str, Any] = {"error_model": "numpy", "no_cfunc_wrapper": True}
    try:
        compiled = njit(cache=True, **options)(function)
    except RuntimeError:  # no folder to keep the cache in: compile in every process
        return cast(Function, njit(**options)(function))
    file = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if file is not None and hasattr(file, "_source_stamp"):
        own = Path(decision.__file__).stat()
        file._source_stamp = (file._source_stamp, kernel_stamp(), own.st_mtime, own.st_size)
    return cast(Function, compiled)


@structref.register
class _LiveType(types.StructRef):
    """``Live`` as the compiler knows it."""


class Live(structref.StructRefProxy):
    """A fleet's state, its policy's, the book, and a row to describe requests in: the arrays
    themselves, not copies. What is written to one is seen in the other; none may be replaced.
    """


structref.define_proxy(Live, _LiveType, ["fleet", "policy", "book", "scratch"])  # type: ignore[no-untyped-call]


@_counting
def _packed(fleet: Any, policy: Any, book: Any, scratch: Any) -> Any:
    """The reference; it keeps its arrays alive."""
    return Live(fleet, policy, book, scratch)  # type: ignore[no-untyped-call]


def live_state(
    fleet: FleetState, policy: PolicyState, book: Book, scratch: np.recarray[Any, Any]
) -> Live:
    """The reference to all of them. ``scratch``: one row of ``price.REQUEST``."""
    made: Live = _packed(fleet, policy, book, scratch)
    return made


@_counting
def route(
    live: Any,
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
    """``decision.route``."""
    return decision.route(
        live.fleet,
        live.policy,
        live.book,
        live.scratch,
        slot,
        lane,
        tier,
        input_tokens,
        cap_tokens,
        ttft_s,
        tpot_s,
        e2e_s,
        waited_s,
        most_wait_s,
        favourite,
        known_tokens,
        now_s,
    )


@_counting
def begin(live: Any, replica: int, pending: int, now_s: float) -> float:
    """``decision.begin``."""
    return decision.begin(live.fleet, live.book, replica, pending, now_s)


@_counting
def end(
    live: Any,
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
    """``decision.end``."""
    return decision.end(
        live.fleet,
        live.book,
        replica,
        tokens,
        pending,
        booked_tokens,
        input_tokens,
        read_tokens,
        output_tokens,
        shared_j,
        own_j,
        lane,
        learnt_tokens,
        cut,
        now_s,
    )
