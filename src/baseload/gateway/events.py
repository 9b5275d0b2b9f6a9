"""What the gateway's state machine is told, and what it answers: ``core.Core.handle(event, now_ns)
-> commands``.

Records are plain data, so that a log of events can be kept and replayed. A **request** is a number
that the driver gives, unique in a process; an **attempt** counts the sendings of one request, from
0. What belongs to an attempt that is no longer the present one is ignored by the machine.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

Cause = Literal[
    "connect",  # no connection, or it broke before the head of an answer
    "status",  # the engine answered with a status of 500 or above, or 429
    "rejected",  # the engine answered with another status of 400 or above: the request's own fault
    "garbage",  # what came is no answer
    "closed",  # the connection ended in the middle of an answer
    "first_byte",  # nothing came in time
    "idle",  # nothing more came in time
    "total",  # the answer took longer than any may
]
"""Why an attempt failed."""

Reason = Literal[
    "answered",
    "cancelled",  # its client left
    "upstream",  # every attempt failed, or one did after its answer had begun
    "rejected",  # the engine refused the request itself; its words are passed on
    "saturated",  # the fleet is full: refused early, or the queue is
    "expired",  # it waited longer than it may
    "no_replica",  # nobody is ready
    "too_long",  # no replica takes so long a prompt
    "draining",  # the gateway shuts down
    "internal",  # the gateway itself failed at it
]
"""How a request ended. Each has exactly one."""


class Arrived(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A request that may be served. ``lane``: row of the option table (alias, tier, effort, needs:
    ``live_fleet.Lanes``). ``input_tokens``: estimate. ``cap_tokens``: its own limit on the output
    (inf: none). Promises of its own [s] go before its tier's (nan: none of its own). ``session``:
    hash of its session token, 0 for none. ``fairness``: hash of who shares the queue fairly.
    ``priority``: order in its queue, lower first.
    """

    request: int
    lane: int
    input_tokens: float
    cap_tokens: float = math.inf
    ttft_s: float = math.nan
    tpot_s: float = math.nan
    e2e_s: float = math.nan
    session: int = 0
    fairness: int = 0
    priority: int = 0
    stream: bool = False


class LaneAdded(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A kind of request is met for the first time; told before its first ``Arrived``."""

    lane: int
    tier: int
    allowed: list[int]


class Began(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The engine answered an attempt with a good head; nothing of the body has come."""

    request: int
    attempt: int


class Progressed(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """``tokens`` more of the answer have come (0: life, but no token). The first with tokens is the
    first token. ``sent``: whether anything has been handed to the client, after which nothing can
    be tried again.
    """

    request: int
    attempt: int
    tokens: int = 0
    sent: bool = True


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The answer of an attempt is complete. Counts are the engine's own, -1 where it gave none.
    ``exhausted``: all of its tokens went into thinking. ``bare``: how many of its tokens were seen
    going by.
    """

    request: int
    attempt: int
    input_tokens: int = -1
    output_tokens: int = -1
    reasoning_tokens: int = -1
    cached_tokens: int = -1
    finish: str = ""
    exhausted: bool = False


class Broke(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """An attempt failed. ``retry_after_s``: what the engine asked for (nan: nothing)."""

    request: int
    attempt: int
    cause: Cause
    status: int = 0
    retry_after_s: float = math.nan


class Left(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The client of a request has gone; ``fault``: it is there, but the gateway failed at it."""

    request: int
    fault: bool = False


class Probed(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A probe of a replica came back. ``asleep``: it answers, but sleeps; ``None``: it cannot
    say.
    """

    replica: int
    healthy: bool
    asleep: bool | None = None


class Sampled(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """What an engine says of itself: requests that run and wait there, share of its KV cache taken;
    -1 where it does not say.
    """

    replica: int
    running: float = -1.0
    waiting: float = -1.0
    kv_frac: float = -1.0


class Woken(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """A replica that was told to sleep or to wake has done so, or failed to."""

    replica: int
    awake: bool
    done: bool = True


class Others(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """What the other worker processes have at each replica now ``[n]``: requests in flight and
    their tokens. ``counts`` ``[rows][tiers]``: what happened there since they began, as
    ``core.Core.counts``, for the worker that leads; empty: as before.
    """

    in_flight: list[int]
    tokens: list[int]
    counts: list[list[float]] = []


class Led(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """What the worker that leads has found and decided, for those that follow: of each replica
    ``[n]`` whether it is wanted open, answers its probes and is awake, and requests there that
    nobody here has sent; of each tier lambda and whether its requests are held; of each type the
    forecast batch; the share of promises that the price may use up; the factor on the price of a
    joule over the store's level (empty: nobody looks), and the energy position.
    """

    wanted: list[int]
    healthy: list[int]
    awake: list[int]
    foreign: list[int]
    weight: list[float]
    hold: list[int]
    forecast_batch: list[float]
    promise_frac: float
    curve: list[float] = []
    position: list[float] = []


class Drain(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The gateway is about to stop: no more arrivals are taken; what runs may end."""


class Timer(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Time has passed: ``Core.next_ns`` is due."""


AnyEvent = (
    Arrived
    | LaneAdded
    | Began
    | Progressed
    | Ended
    | Broke
    | Left
    | Probed
    | Sampled
    | Woken
    | Others
    | Led
    | Drain
    | Timer
)


class Send(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Send the request to a replica, to be answered by an option (columns of the lane's table)."""

    request: int
    attempt: int
    replica: int
    option: int


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Give up an attempt: close its connection, so that the engine stops."""

    request: int
    attempt: int


class Refuse(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Answer the client with an error: nothing has been sent to it yet."""

    request: int
    status: int
    reason: Reason
    message: str
    retry_after_s: float = math.nan


class Abort(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """End an answer that had begun: with an error in the stream."""

    request: int
    reason: Reason
    message: str


class Close(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """The request has ended: the last command about it, exactly one. ``energy_j``: modelled joules
    of all its attempts, ``wasted_j`` of them for answers that nobody got.
    """

    request: int
    reason: Reason
    replica: int = -1
    option: int = -1
    attempts: int = 0
    status: int = 0
    energy_j: float = 0.0
    wasted_j: float = 0.0
    queued_s: float = 0.0
    ttft_s: float = math.nan
    total_s: float = 0.0
    output_tokens: int = 0
    missed: bool = False


class Probe(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Ask a replica how it is."""

    replica: int


class Rest(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Put a replica's engine to sleep."""

    replica: int


class Rouse(msgspec.Struct, frozen=True, kw_only=True, tag=True, gc=False):
    """Wake a replica's engine."""

    replica: int


AnyCommand = Send | Cancel | Refuse | Abort | Close | Probe | Rest | Rouse
