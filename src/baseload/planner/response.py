"""How a fleet's power answers to its traffic, from the eight numbers alone.

A replica that never runs dry is streaming weights all the time: it draws ``stream_w`` = joules over
seconds of the bare step, whatever it serves. A request adds its own joules and takes the seconds of
its own terms from that stream; so over a long time it adds ``e - stream_w * t``, exactly, at any
batch. Where requests decide how many replicas work, each also brings ``stream_w - rest_w`` for the
replica-seconds that it makes busy. docs/explanation/planner.md derives both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import BadInputError
from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import step
from baseload.planner.demand_records import Serving
from baseload.planner.digest import TraceDigest
from baseload.routing.estimate import seats, step_s
from baseload.routing.fleet_state import FleetState, fleet_state
from baseload.routing.sizing import batch_at_rate, batch_within, rate_within, request_energy_j

Floats = NDArray[np.float64]
Fleet = Sequence[tuple[ReplicaType, int]]
"""Replica types and how many replicas of each."""

Sharing = Literal["packed", "even"]
"""``packed``: as few replicas as the load needs, the cheapest types first, each as full as its
promises allow. ``even``: every replica takes its share by capacity.
"""

_FULL_FRAC = 0.7
_SPREADS = 2.33  # 99 % of a normal
_LEAST_MOVE, _MOST_MOVE = 0.1, 0.5  # of the load, over which a packed fleet's slope is taken


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet draws under a traffic, and how that moves with each request.

    ``mean_w`` = ``base_w`` + rate x mean work @ coefficients. ``job_j`` ``[types, 3]``: joules
    that a unit of each of the three numbers of work adds on a type; ``share_frac`` ``[types]`` of
    the requests; ``room_per_s`` ``[types]``: mean requests that a type completes at the batch taken
    [1/s]; ``load_frac`` of what the fleet can complete; ``serving``: the types in words.
    """

    mean_w: float
    base_w: float
    share_frac: Floats
    job_j: Floats
    room_per_s: Floats
    load_frac: float
    serving: tuple[Serving, ...]
    jump_w: float = 0.0
    jumps: float = 0.0
    warnings: tuple[str, ...] = ()


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The step of a working replica, taken apart at its batch: power [W] and seconds of the bare
    step, seconds and joules of each number of work ``[3]``.
    """

    stream_w: float
    bare_s: float
    time_s: Floats
    energy_j: Floats

    @property
    def own_j(self) -> Floats:
        """Joules of each number of work beyond the stream that it displaces ``[3]``."""
        own: Floats = np.maximum(self.energy_j - self.stream_w * self.time_s, 0.0)
        return own


def terms_of(cost: Any, batch: float, traffic: Any) -> Terms:
    """The step of a replica that runs ``batch`` requests of mean ``traffic``, taken apart.

    Exact for a dense model whose power cap does not bind, or binds throughout; else the tangent.
    """
    held = float(traffic.input_tokens) + 0.5 * float(traffic.output_tokens)
    context, prompt = batch * held, max(1.0, float(traffic.input_tokens))
    at = np.array(step(cost, batch, context, 0.0))
    rise = 1e-3 * max(1.0, batch)
    by_seat = (np.array(step(cost, batch + rise, context, 0.0)) - at) / rise
    by_context = (np.array(step(cost, batch, context + held * rise, 0.0)) - at) / (held * rise)
    by_prompt = (np.array(step(cost, batch, context, prompt)) - at) / prompt
    bare_s, bare_j = at - batch * by_seat - context * by_context
    slopes = np.stack([by_seat, by_context, by_prompt], axis=1)
    if bare_s <= 0:  # nothing but requests takes time: the stream is their mean power
        return Terms(
            stream_w=float(at[1] / at[0]), bare_s=0.0, time_s=slopes[0], energy_j=slopes[1]
        )
    return Terms(
        stream_w=float(max(0.0, bare_j) / bare_s),
        bare_s=float(bare_s),
        time_s=slopes[0],
        energy_j=slopes[1],
    )


def fleet_response(
    fleet: Fleet,
    digest: TraceDigest,
    *,
    sharing: Sharing = "packed",
    ttft_s: float = math.inf,
    tpot_s: float = math.inf,
    full_frac: float = _FULL_FRAC,
    parking: bool = False,
) -> Response:
    """The response of ``fleet`` (types and replicas) to the traffic of ``digest``.

    ``ttft_s``, ``tpot_s``: promised seconds to the first and to each further token, which limit the
    batch; ``full_frac``: how full packed replicas are on average, of that batch. ``parking``:
    replicas that the load does not need sleep instead of idling.

    Modelled: linear around the mean load. An even spread answers by its batches; a packed fleet
    also by how many replicas work, and the joules of a request are then the slope of its power
    between the loads that the traffic moves between. Raises ``BadInputError`` for an empty fleet,
    or a share outside (0, 1].
    """
    if not fleet or any(replicas < 1 for _, replicas in fleet):
        raise BadInputError(
            "fleet", found="no replicas", allowed="types with one replica or more each"
        )
    if not 0 < full_frac <= 1:
        raise BadInputError("full_frac", found=repr(full_frac), allowed="above 0, up to 1")
    plant = _Plant(fleet, digest, sharing, ttft_s, tpot_s, full_frac, parking)
    rate, work = digest.requests_per_s, digest.mean_work
    rates, loads = plant.at(rate)
    mean_w = plant.power_w(rate)
    share = rates / rate if rate > 0 else np.full(len(fleet), 1.0 / len(fleet))
    jobs = np.array([each.job_j for each in loads])
    if sharing == "packed" and rate > 0:
        jobs = _packed_jobs(plant, rate, digest, share, loads, mean_w)
    moving_w = rate * float(share @ (jobs @ work))
    jump_w, jumps = _jumps(plant, loads, digest.swing_frac) if sharing == "packed" else (0.0, 0.0)
    load_frac = rate / float(plant.room.sum())
    warnings = []
    if load_frac > 1:
        warnings.append(
            f"The fleet is asked for {load_frac:.2f} of what it completes at the batch taken:"
            " its power is that of a fleet which keeps up, and it would not."
        )
    models = {kind.model for kind, _ in fleet}
    if len(models) > 1:
        warnings.append(
            f"The fleet serves {len(models)} models; which of them answers is taken to be decided"
            " by joules and room, not by quality."
        )
    return Response(
        mean_w=mean_w,
        base_w=max(0.0, mean_w - moving_w),
        share_frac=share,
        job_j=jobs,
        room_per_s=plant.room,
        load_frac=load_frac,
        jump_w=jump_w,
        jumps=jumps,
        serving=tuple(
            Serving(
                name=kind.name,
                replicas=replicas,
                share_frac=float(share[i]),
                batch=loads[i].batch,
                busy_replicas=loads[i].busy,
                job_j=float(jobs[i] @ work),
                stream_w=loads[i].stream_w,
                rest_w=plant.rests_w[i],
                full_batch_j=float(plant.prices_j[i]),
            )
            for i, (kind, replicas) in enumerate(fleet)
        ),
        warnings=tuple(warnings),
    )


def _packed_jobs(
    plant: _Plant,
    rate: float,
    digest: TraceDigest,
    share: Floats,
    loads: list[_TypeLoad],
    mean_w: float,
) -> Floats:
    """Joules of each number of work per type: its own, and, by its steps, what replicas that start
    and stop add between the loads that the traffic moves between.
    """
    move = min(_MOST_MOVE, max(_LEAST_MOVE, digest.swing_frac))
    rise_w = plant.power_w(rate * (1 + move)) - plant.power_w(rate * (1 - move))
    slope_j = min(rise_w / (2 * move * rate), mean_w / rate)
    own = np.array([each.own_j for each in loads])
    work = digest.mean_work
    extra_j = max(0.0, slope_j - float(share @ (own @ work))) / float(work[0])
    jobs: Floats = own + np.array([extra_j, 0.0, 0.0])
    return jobs


def _jumps(plant: _Plant, loads: list[_TypeLoad], swing_frac: float) -> tuple[float, float]:
    """Step of the power when the last type that works starts or stops a replica, and how many such
    steps one standard deviation of the load is; (0, 0) for a single replica.
    """
    working = [i for i, each in enumerate(loads) if each.busy > 0]
    if not working or sum(replicas for _, replicas in plant.fleet) < 2:
        return 0.0, 0.0
    last = max(working, key=lambda i: (plant.prices_j[i], i))
    busy = sum(loads[i].busy for i in working)
    return max(0.0, loads[last].stream_w - plant.rests_w[last]), max(1.0, swing_frac * busy)


class _Plant:
    """The fleet as a function from offered requests per second to power."""

    def __init__(
        self,
        fleet: Fleet,
        digest: TraceDigest,
        sharing: Sharing,
        ttft_s: float,
        tpot_s: float,
        full_frac: float,
        parking: bool,
    ) -> None:
        self.fleet, self.sharing, self.work = fleet, sharing, digest.mean_work
        self.state = fleet_state([kind for kind, _ in fleet], [1] * len(fleet))
        traffic = self.state.traffic[0]
        traffic["input_tokens"] = max(1.0, digest.mean_input)
        traffic["output_tokens"] = max(1.0, digest.mean_output)
        self.rests_w = [_rest_w(kind, parking and sharing == "packed") for kind, _ in fleet]
        self.rate_each = np.zeros(len(fleet))
        self.prices_j = np.zeros(len(fleet))
        for index in range(len(fleet)):
            batch = max(1.0, full_frac * _batch(self.state, index, ttft_s, tpot_s, sharing))
            cost = self.state.cost[index]
            self.rate_each[index] = rate_within(cost, traffic, batch)
            self.prices_j[index] = request_energy_j(cost, traffic, batch, self.rests_w[index])
        self.room = self.rate_each * np.array([replicas for _, replicas in fleet])

    def at(self, rate: float) -> tuple[Floats, list[_TypeLoad]]:
        """Requests per second of each type, and what each then does."""
        if self.sharing == "even":
            rates: Floats = rate * self.room / self.room.sum()
        else:
            rates = _filled(rate, self.room, self.prices_j)
        loads = [
            _type_load(
                self.fleet[i],
                self.state,
                i,
                float(rates[i]),
                float(self.rate_each[i]),
                self.rests_w[i],
                self.sharing,
            )
            for i in range(len(self.fleet))
        ]
        return rates, loads

    def power_w(self, rate: float) -> float:
        """Mean power of the fleet [W] at ``rate``."""
        rates, loads = self.at(rate)
        return math.fsum(
            each.steady_w + float(one * (each.own_j @ self.work))
            for each, one in zip(loads, rates, strict=True)
        )


def _rest_w(kind: ReplicaType, parking: bool) -> float:
    """What a replica draws that no request needs [W]."""
    return kind.power.power_w_parked if parking else kind.power.power_w_idle


def _batch(state: FleetState, index: int, ttft_s: float, tpot_s: float, sharing: Sharing) -> float:
    """The largest batch that a replica may run within the promises."""
    cost, limits, traffic = state.cost[index], state.limits[index], state.traffic[0]
    most = float(seats(limits, traffic))
    if sharing == "even" or not (math.isfinite(ttft_s) or math.isfinite(tpot_s)):
        return most
    within = float(batch_within(cost, limits, traffic, ttft_s, tpot_s, _SPREADS))
    return max(1.0, min(most, within))


def _filled(rate: float, room: Floats, prices: Floats) -> Floats:
    """The rate shared out: the cheapest types first, each up to its room; what is beyond all of
    it, by room.
    """
    rates = np.zeros(len(room))
    left = rate
    for index in sorted(range(len(room)), key=lambda i: (prices[i], i)):
        rates[index] = min(left, float(room[index]))
        left -= rates[index]
    shared: Floats = rates + left * room / room.sum()
    return shared


class _TypeLoad(msgspec.Struct, frozen=True, kw_only=True):
    """One type under its load: power without its requests' own [W], joules of each number of work
    (own, and with the busy time that it brings), and its working point.
    """

    steady_w: float
    own_j: Floats
    job_j: Floats
    batch: float
    busy: float
    stream_w: float


def _type_load(
    entry: tuple[ReplicaType, int],
    state: FleetState,
    index: int,
    rate: float,
    rate_each: float,
    rest_w: float,
    sharing: Sharing,
) -> _TypeLoad:
    """A type that takes ``rate`` requests per second, one replica at most ``rate_each``."""
    kind, replicas = entry
    cost, limits, traffic = state.cost[index], state.limits[index], state.traffic[0]
    open_replicas = replicas
    if sharing == "packed":
        open_replicas = min(replicas, math.ceil(rate / rate_each - 1e-9)) if rate > 0 else 0
    idle_w = kind.power.power_w_idle
    if rate <= 0 or open_replicas == 0:
        terms = terms_of(cost, 1.0, traffic)
        waits_w = rest_w if sharing == "packed" else idle_w
        busy_j = _alone_j(terms, waits_w)
        return _TypeLoad(
            steady_w=replicas * waits_w,
            own_j=terms.own_j,
            job_j=terms.own_j + busy_j,
            batch=1.0,
            busy=0.0,
            stream_w=terms.stream_w,
        )
    per_replica = rate / open_replicas
    batch = float(batch_at_rate(cost, limits, traffic, per_replica))
    token_s = float(step_s(cost, batch, traffic))
    in_flight = per_replica * float(traffic.output_tokens) * token_s
    awake_frac = -math.expm1(-in_flight)  # of its time that a replica has work: Poisson in flight
    terms = terms_of(cost, batch, traffic)
    rises_j = math.exp(-in_flight) * _alone_j(terms, idle_w)
    steady_w = open_replicas * (awake_frac * terms.stream_w + (1.0 - awake_frac) * idle_w)
    return _TypeLoad(
        steady_w=steady_w + (replicas - open_replicas) * rest_w,
        own_j=terms.own_j,
        job_j=terms.own_j + rises_j,
        batch=batch,
        busy=open_replicas * awake_frac,
        stream_w=terms.stream_w,
    )


def _alone_j(terms: Terms, rest_w: float) -> Floats:
    """Joules per number of work of the stream that a request starts on a replica at rest."""
    busy_s = terms.time_s + np.array([terms.bare_s, 0.0, 0.0])
    alone: Floats = (terms.stream_w - rest_w) * busy_s
    return alone
