"""Has the kernels of a decision compiled, or loaded, before the first request needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from baseload.base.kernels import is_compiled
from baseload.gateway import decision, live_kernels
from baseload.gateway.bodies import Asked
from baseload.gateway.core import Core
from baseload.gateway.events import (
    Arrived,
    Ended,
    LaneAdded,
    Left,
    Others,
    Progressed,
    Sampled,
    Send,
    Timer,
)
from baseload.gateway.live_fleet import LiveFleet

_KERNELS: tuple[Callable[..., Any], ...] = (
    live_kernels.route,
    live_kernels.begin,
    live_kernels.end,
    decision.meter,
)
_NS = 1_000_000_000


def needs_compiling() -> bool:
    """Whether the kernels of a decision are not yet on this machine's disk."""
    return not all(is_compiled(kernel) for kernel in _KERNELS)


def warm(fleet: LiveFleet) -> None:
    """Lead a few requests through a machine of their own, over a fleet like ``fleet``: every kernel
    is then in memory.
    """
    twin = LiveFleet(fleet.config, fleet.kinds)
    core = Core(twin, 0, kept=4)
    model = twin.config.models[0]
    lane = twin.lane(Asked(endpoint=model.endpoints[0], model=model.name), 0)
    met = twin.lanes[lane]
    core.handle(LaneAdded(lane=lane, tier=met.tier, allowed=list(met.allowed)), 0)
    for request in (1, 2):
        arrived = Arrived(request=request, lane=lane, input_tokens=9.0, stream=True)
        sent = [one for one in core.handle(arrived, request) if isinstance(one, Send)]
        if not sent:
            continue
        replica, attempt = sent[0].replica, sent[0].attempt
        core.price_parts(request)
        core.handle(Progressed(request=request, attempt=attempt, tokens=1), _NS)
        core.handle(Sampled(replica=replica, running=2.0, waiting=0.0, kv_frac=0.1), _NS)
        core.handle(Sampled(replica=replica, running=2.0, waiting=0.0, kv_frac=0.1), _NS)
        if request == 1:
            ended = Ended(request=1, attempt=attempt, input_tokens=9, output_tokens=40)
            core.handle(ended, 2 * _NS)
        else:
            core.handle(Left(request=request), 2 * _NS)
    count = len(twin.replicas)
    core.handle(Others(in_flight=[1] * count, tokens=[9] * count), 3 * _NS)
    core.handle(Timer(), 20 * _NS)
    core.handle(Timer(), 40 * _NS)
