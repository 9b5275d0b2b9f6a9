"""What ``baseload plan`` hands out: a plan, the curves of its plots, and what was simulated."""

from __future__ import annotations

import msgspec

from baseload.planner.curves import Chart
from baseload.planner.records import Plan, Rates
from baseload.planner.routing_records import SiteRouting
from baseload.planner.simulated import SimulatedRates


class PlanRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run of the simulator that the demand comes from, with ``--simulate``.

    ``requests`` of all ``seeds``, each over ``span_s``; ``covers``: how much of the trace that is,
    in words. ``mean_w``: what it drew at the bus [W], and what the model without a
    simulation says of the same requests; the variance rates [J^2/s] likewise, where the run is
    long enough. ``sharing``: the way of sharing whose model came nearer.
    """

    policy: str
    seeds: list[int]
    requests: int
    span_s: float
    covers: str
    mean_w: float
    modelled_mean_w: float
    var_j2_per_s: float | None
    modelled_var_j2_per_s: float | None
    sharing: str


class PlanResult(Plan, frozen=True, kw_only=True):
    """A plan with what is drawn: everything that ``baseload plan --json`` writes.

    ``version`` of Baseload; ``at_critical``: rates at the critical supply, hours and seasons left
    out, for plans without a baseline; ``charts`` in the order of the page; ``simulated``: the dots
    of the V, ``run``: where its demand comes from (both ``None`` without ``--simulate``);
    ``routing``: how to route by the store (``None`` without ``--routing``).
    """

    version: str
    at_critical: Rates
    charts: tuple[Chart, ...]
    simulated: SimulatedRates | None = None
    run: PlanRun | None = None
    routing: SiteRouting | None = None


def plan_result(
    plan: Plan,
    charts: tuple[Chart, ...],
    *,
    version: str,
    at_critical: Rates,
    notes: tuple[str, ...] = (),
    simulated: SimulatedRates | None = None,
    run: PlanRun | None = None,
    routing: SiteRouting | None = None,
) -> PlanResult:
    """The plan with what is drawn; ``notes`` go before its own."""
    fields = {name: getattr(plan, name) for name in Plan.__struct_fields__}
    fields["notes"] = (*notes, *plan.notes)
    return PlanResult(
        **fields,
        version=version,
        at_critical=at_critical,
        charts=charts,
        simulated=simulated,
        run=run,
        routing=routing,
    )
