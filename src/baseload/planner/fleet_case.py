"""A fleet with its trace, kept so that a plan can ask "what if": one more replica, a lower cap."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from baseload.fleet.replica_type import ReplicaType
from baseload.planner.demand import capped_digest, demand_changed, demand_of_digest
from baseload.planner.demand_records import Demand
from baseload.planner.digest import MOST_REQUESTS, TraceDigest, digest_of
from baseload.planner.response import Fleet, Response, Sharing, fleet_response
from baseload.theory.inputs import Floats
from baseload.workload.trace import Trace, TraceSource


class FleetCase(msgspec.Struct, frozen=True, kw_only=True):
    """Types and replicas, the digest of their trace, and how the load is shared among them.

    ``demand()`` prices it; the other methods price what would be. Fields as for
    ``response.fleet_response``; ``own`` is the demand of the fleet itself, worked out once by
    ``fleet_case``.
    """

    groups: tuple[tuple[ReplicaType, int], ...]
    digest: TraceDigest
    sharing: Sharing = "even"
    ttft_s: float = math.inf
    tpot_s: float = math.inf
    full_frac: float = 0.7
    parking: bool = False
    name: str | None = None
    pue: float = 1.0
    overhead_w: float = 0.0
    own: Demand | None = None

    def demand(self) -> Demand:
        """The demand at the bus of the site: ``pue`` times that of the fleet, and the overhead."""
        return self._at_bus(self._own())

    def with_replica(self, index: int, more: int = 1) -> Demand:
        """The demand with ``more`` replicas of the type at ``index``."""
        groups = tuple(
            (kind, replicas + (more if place == index else 0))
            for place, (kind, replicas) in enumerate(self.groups)
        )
        return self._changed(groups, self.digest)

    def capped(self, keep_frac: float) -> tuple[Demand, float]:
        """The demand with answers capped at ``keep_frac`` of the longest, and the share that is
        cut.
        """
        digest, cut_frac = capped_digest(self.digest, keep_frac)
        return self._changed(self.groups, digest), cut_frac

    def mean_job_j(self) -> Floats:
        """Joules at the fleet that a unit of each number of work adds, over all types ``[3]``."""
        response = self.response()
        mean: Floats = response.share_frac @ response.job_j
        return mean

    def response(self) -> Response:
        """What the fleet itself draws under its trace, at the fleet."""
        return self._response(self.groups, self.digest)

    def _own(self) -> Demand:
        """The demand of the fleet itself."""
        if self.own is not None:
            return self.own
        response = self.response()
        return demand_of_digest(
            self.digest, response, self.groups, sharing=self.sharing, name=self.name
        )

    def _changed(self, groups: Fleet, digest: TraceDigest) -> Demand:
        """The demand of other groups or another digest."""
        changed = demand_changed(
            self._own(), digest, self._response(groups, digest), digest_before=self.digest
        )
        return self._at_bus(changed)

    def _at_bus(self, demand: Demand) -> Demand:
        return at_bus(demand, pue=self.pue, overhead_w=self.overhead_w)

    def _response(self, groups: Fleet, digest: TraceDigest) -> Response:
        return fleet_response(
            groups,
            digest,
            sharing=self.sharing,
            ttft_s=self.ttft_s,
            tpot_s=self.tpot_s,
            full_frac=self.full_frac,
            parking=self.parking,
        )


def fleet_case(
    groups: Fleet,
    source: TraceSource | Trace,
    *,
    slot_s: float = 1.0,
    most_requests: int = MOST_REQUESTS,
    scale: float = 1.0,
    **options: Any,
) -> FleetCase:
    """The case of a fleet and a trace, which is read once. ``options``: further fields of
    ``FleetCase``.
    """
    digest = digest_of(source, slot_s=slot_s, most_requests=most_requests, scale=scale)
    case = FleetCase(groups=tuple(groups), digest=digest, **options)
    return msgspec.structs.replace(case, own=case._own())


def at_bus(demand: Demand, *, pue: float = 1.0, overhead_w: float = 0.0) -> Demand:
    """The demand as the site's bus sees it: ``pue`` times each joule of the fleet, and
    ``overhead_w`` [W] that is always drawn.
    """
    if pue == 1.0 and overhead_w == 0.0:
        return demand
    replace = msgspec.structs.replace
    square = pue * pue
    job = demand.job
    if job is not None:
        job = replace(
            job,
            mean_j=job.mean_j * pue,
            second_j2=job.second_j2 * square,
            third_j3=job.third_j3 * square * pue,
            sample_j=tuple(value * pue for value in job.sample_j),
            largest_j=job.largest_j * pue,
        )
    terms = demand.terms
    if terms is not None:
        terms = replace(
            terms,
            **{
                name: value * square
                for name in terms.__struct_fields__
                if (value := getattr(terms, name)) is not None
            },
        )
    mean_w = demand.mean_w * pue + overhead_w
    hourly = demand.hourly_frac
    if hourly is not None and mean_w > 0:
        fleet_w = demand.mean_w * pue
        hourly = tuple((value * fleet_w + overhead_w) / mean_w for value in hourly)
    return replace(
        demand,
        mean_w=mean_w,
        base_w=demand.base_w * pue + overhead_w,
        var_j2_per_s=demand.var_j2_per_s * square,
        job=job,
        terms=terms,
        hourly_frac=hourly,
        slot_w=tuple(value * pue + overhead_w for value in demand.slot_w),
    )
