"""``baseload plan --simulate``: the demand of the scenario as a run of the simulator draws it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.units import S_PER_DAY, US_PER_S
from baseload.cli.progress import Report
from baseload.planner.demand import demand_of_slots
from baseload.planner.demand_records import Demand
from baseload.planner.digest import digest_of
from baseload.planner.fleet_case import FleetCase, at_bus
from baseload.planner.records import Supply
from baseload.planner.simulated import SimulatedRates, simulate_v
from baseload.planner.simulated_seasons import simulate_seasonal_v
from baseload.planner.year import is_seasonal
from baseload.report.plan_result import PlanRun
from baseload.routing.policy import AnyPolicy, name_of
from baseload.simulator.run import kept, run_once
from baseload.simulator.scenario import Scenario
from baseload.simulator.supplied import Supplied
from baseload.supply.accounts import SupplyAccount
from baseload.supply.baseline import Constant
from baseload.supply.site import Site
from baseload.workload.chunks import take
from baseload.workload.trace import Trace, TraceSource

MOST_REQUESTS, MOST_DAYS = 1_500_000, 28
WHOLE_REQUESTS = 4_000_000
"""How much of a scenario is run: what is beyond would take more than some seconds. A trace that
has not more than ``WHOLE_REQUESTS`` in all is run whole.
"""

SLOT_S = 10.0
_FEWEST_WINDOWS = 64
_ALL_OF_IT = 0.98
_SCALES = (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2)


class SeenCase(FleetCase, frozen=True, kw_only=True):
    """A fleet whose demand was seen in a run: what would change is the modelled change."""

    seen: Demand

    def demand(self) -> Demand:
        """What the run drew, served as modelled."""
        return msgspec.structs.replace(self.seen, serving=FleetCase.demand(self).serving)

    def with_replica(self, index: int, more: int = 1) -> Demand:
        """What was seen, with what the model says of ``more`` replicas of the type at ``index``."""
        return self._moved(FleetCase.with_replica(self, index, more))

    def capped(self, keep_frac: float) -> tuple[Demand, float]:
        """What was seen, with what the model says of a token cap; and the share that is cut."""
        demand, cut_frac = FleetCase.capped(self, keep_frac)
        return self._moved(demand), cut_frac

    def _moved(self, changed: Demand) -> Demand:
        before, seen = FleetCase.demand(self), self.seen
        growth = changed.var_j2_per_s / before.var_j2_per_s if before.var_j2_per_s > 0 else 1.0
        terms = seen.terms
        if terms is not None:
            terms = msgspec.structs.replace(
                terms,
                **{
                    name: value * growth
                    for name in terms.__struct_fields__
                    if (value := getattr(terms, name)) is not None
                },
            )
        mean_w = max(0.0, seen.mean_w + changed.mean_w - before.mean_w)
        return msgspec.structs.replace(
            seen,
            mean_w=mean_w,
            base_w=min(mean_w, max(0.0, seen.base_w + changed.base_w - before.base_w)),
            var_j2_per_s=seen.var_j2_per_s * growth,
            terms=terms,
            job=changed.job,
            serving=changed.serving,
        )


class Seen(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the runs gave: the case with its demand, the joules at the bus in each slot of
    ``SLOT_S`` (empty where they are not the whole of the trace), and the record for the reader.
    """

    case: SeenCase
    slot_j: NDArray[np.float64]
    run: PlanRun


def see_demand(
    scenario: Scenario, case: FleetCase, policy: AnyPolicy, *, seeds: int, report: Report
) -> Seen:
    """The demand of the scenario under ``policy``, mean over ``seeds``: at most ``MOST_REQUESTS``
    in all (or the whole of a shorter trace) and ``MOST_DAYS``. Where that is less than the trace
    and less than a day, what the model says of the trace is multiplied by what the run drew over
    what the model says of the same stretch.
    """
    site = Site(
        baseline=Constant(value_w=0.0), pue=case.pue, overhead_w=case.overhead_w, slot_s=SLOT_S
    )
    runs: list[_Run] = []
    for seed in range(seeds):
        source = next(iter(kept({0: _stretch(scenario.requests(seed), seeds)}).values()))
        runs.append(_run(scenario, site, policy, source, seed, report))
    first = runs[0]
    wanted_s = min(case.digest.span_s, S_PER_DAY)
    whole = first.span_s >= _ALL_OF_IT * wanted_s
    mean_w = math.fsum(run.mean_w for run in runs) / seeds
    way = _nearest_way(case, mean_w, first.source)
    modelled = FleetCase.demand(way)
    if whole:
        seen = _seen_whole(runs, modelled, name_of(policy))
        stretch_w = modelled.mean_w
    else:
        stretch = digest_of(first.source)
        stretch_w = FleetCase.demand(msgspec.structs.replace(way, digest=stretch, own=None)).mean_w
        seen = _seen_part(modelled, mean_w / stretch_w, name_of(policy))
    requests = sum(run.requests for run in runs)
    return Seen(
        case=SeenCase(
            **{name: getattr(way, name) for name in FleetCase.__struct_fields__}, seen=seen
        ),
        slot_j=np.concatenate([run.slot_j for run in runs]) if whole else np.zeros(0),
        run=PlanRun(
            policy=name_of(policy),
            seeds=list(range(seeds)),
            requests=requests,
            span_s=first.span_s,
            covers=_covers(first.span_s, scenario.requests(0).span_s, whole=whole),
            mean_w=mean_w,
            modelled_mean_w=stretch_w,
            var_j2_per_s=seen.var_j2_per_s if whole else None,
            modelled_var_j2_per_s=modelled.var_j2_per_s if whole else None,
            sharing=way.sharing,
        ),
    )


def _covers(span_s: float, trace_s: float, *, whole: bool) -> str:
    """How much of the trace was run, in words."""
    if span_s >= _ALL_OF_IT * trace_s:
        return "the whole trace"
    return "a part that stands for the trace" if whole else "its beginning, which scales the model"


class _Run(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One run: its requests, and joules at the bus in each whole slot before the last arrival."""

    source: TraceSource
    requests: int
    span_s: float
    slot_j: NDArray[np.float64]

    @property
    def mean_w(self) -> float:
        """Mean power [W]."""
        return float(self.slot_j.mean()) / SLOT_S


def _run(
    scenario: Scenario,
    site: Site,
    policy: AnyPolicy,
    source: TraceSource,
    seed: int,
    report: Report,
) -> _Run:
    """One run of the policy."""
    books: list[SupplyAccount] = []
    done = run_once(
        msgspec.structs.replace(scenario, supplied=Supplied(site=site)),
        policy,
        source,
        seed=seed,
        progress=report.progress,
        slots=lambda _name, _seed, _scale, account: books.append(account),
    )
    report.ran(
        f"{name_of(policy)}, seed {seed}", done.requests, done.requests / max(1e-9, done.cpu_s)
    )
    columns = books[0].columns
    assert columns is not None
    slots = max(1, int(done.span_s // SLOT_S))
    if done.span_s < 2 * SLOT_S:  # hardly a slot: take what there is
        slots = len(columns.demand_j)
    return _Run(
        source=source,
        requests=done.requests,
        span_s=done.span_s,
        slot_j=columns.demand_j[:slots],
    )


def _stretch(source: TraceSource, seeds: int) -> TraceSource:
    """The beginning of a trace: at most ``MOST_REQUESTS`` over all seeds, ``MOST_DAYS``."""
    most, last_us = max(1, MOST_REQUESTS // seeds), int(MOST_DAYS * S_PER_DAY * US_PER_S)
    if source.requests * seeds <= WHOLE_REQUESTS and source.span_s <= MOST_DAYS * S_PER_DAY:
        return source
    pieces = list(_first(source, most, last_us))
    return msgspec.structs.replace(
        source,
        chunks=lambda: iter(pieces),
        requests=sum(map(len, pieces)),
        span_s=float(pieces[-1].t_us[-1]) / US_PER_S,
    )


def _first(source: TraceSource, most: int, last_us: int) -> Iterator[Trace]:
    """The first requests of a trace, up to a number and an instant."""
    left = most
    for piece in source.chunks():
        until = min(left, int(np.searchsorted(piece.t_us, last_us, side="right")))
        if until:
            yield take(piece, slice(0, until))
        left -= until
        if until < len(piece) or left <= 0:
            return


def _nearest_way(case: FleetCase, mean_w: float, source: TraceSource) -> FleetCase:
    """The case with the way of sharing whose power is nearer to what the run drew of ``source``."""
    packed = msgspec.structs.replace(case, sharing="packed", own=None)
    even = msgspec.structs.replace(case, sharing="even", own=None)
    stretch = digest_of(source)

    def off(way: FleetCase) -> float:
        of_stretch = msgspec.structs.replace(way, digest=stretch)
        return abs(FleetCase.demand(of_stretch).mean_w - mean_w)

    best = min(even, packed, key=off)
    return msgspec.structs.replace(best, own=best._own())


def _seen_whole(runs: list[_Run], modelled: Demand, policy: str) -> Demand:
    """The demand of whole runs, mean over them; the energy of single requests is the model's."""
    found = [_of_slots(run, modelled, policy) for run in runs]
    if len(found) == 1:
        return found[0]

    def mean(name: str) -> float:
        return math.fsum(getattr(one, name) for one in found) / len(found)

    terms = [one.terms for one in found]
    replaced = found[0].terms
    if replaced is not None:
        slow = [term.temporal_j2_per_s for term in terms if term is not None]
        error = replaced.temporal_error_j2_per_s
        replaced = msgspec.structs.replace(
            replaced,
            temporal_j2_per_s=math.fsum(slow) / len(slow),
            temporal_error_j2_per_s=None if error is None else error / math.sqrt(len(found)),
        )
    return msgspec.structs.replace(
        found[0],
        mean_w=mean("mean_w"),
        base_w=mean("base_w"),
        var_j2_per_s=mean("var_j2_per_s"),
        terms=replaced,
    )


def _of_slots(run: _Run, modelled: Demand, policy: str) -> Demand:
    """The demand of one run."""
    slots = run.slot_j if len(run.slot_j) > 1 else np.repeat(run.slot_j / 2.0, 2)
    rate = run.requests / (len(slots) * SLOT_S)
    job = modelled.job
    moving_w = 0.0 if job is None else rate * job.mean_j
    return demand_of_slots(
        slots,
        SLOT_S,
        requests=run.requests,
        base_w=max(0.0, run.mean_w - moving_w),
        job=job,
        ca2=modelled.ca2,
        error_frac=modelled.error_frac,
        how=f"as simulated under {policy}",
        name=modelled.name,
    )


def _seen_part(modelled: Demand, ratio: float, policy: str) -> Demand:
    """The modelled demand times what a run of its beginning drew over what the model says of it."""
    scaled = at_bus(modelled, pue=ratio)
    return msgspec.structs.replace(
        scaled,
        how=f"{modelled.how}, times {ratio:.3g} as a run of its beginning under {policy} says",
    )


def dots(seen: Seen, supply: Supply, critical_w: float, report: Report) -> SimulatedRates:
    """Simulated auxiliary and waste over baselines around the critical one: the run's own slots
    in blocks drawn at random where there are enough of them, else slots with the demand's variance.
    """
    demand = seen.case.seen
    report.say("auxiliary and waste over the baseline")
    scales = sorted({*_SCALES, *_near(demand, supply, critical_w)})
    baselines = [scale * critical_w for scale in scales]

    def say(share: float) -> None:
        report.say(f"simulated sites: {share:.0%}")

    slot_j, slot_s = _windows(seen.slot_j, supply.slot_s)
    if is_seasonal(demand, supply):
        return simulate_seasonal_v(
            demand,
            supply,
            baseline_w=baselines,
            slot_j=slot_j,
            slot_s=slot_s,
            on_progress=say,
        )
    enough = len(slot_j) >= _FEWEST_WINDOWS
    return simulate_v(
        demand,
        supply,
        baseline_w=baselines,
        slot_j=slot_j if enough else None,
        slot_s=slot_s if enough else None,
        on_progress=say,
    )


def _near(demand: Demand, supply: Supply, critical_w: float) -> list[float]:
    """Scales of the critical supply around which chance rounds the V, where that is narrow."""
    var = demand.var_j2_per_s + supply.var_j2_per_s
    if 0 < supply.store_j < math.inf:
        reach = 2.0 * var / supply.store_j / critical_w
    else:
        reach = 2.0 * math.sqrt(var / supply.slot_s) / critical_w
    if is_seasonal(demand, supply) or not 0 < reach < _SCALES[1] - _SCALES[0]:
        return []
    return [1.0 + part * reach for part in (-1.0, -0.5, 0.5, 1.0)]


def _windows(slot_j: NDArray[np.float64], slot_s: float) -> tuple[NDArray[np.float64], float]:
    """Slots put together to the site's slots, where those are longer."""
    size = max(1, round(slot_s / SLOT_S))
    count = len(slot_j) // size
    return slot_j[: count * size].reshape(count, size).sum(axis=1), size * SLOT_S
