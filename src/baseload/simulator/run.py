"""Run a scenario under policies: the one function behind ``baseload simulate``.

All policies of a run meet the same requests (common random numbers), and each policy draws from a
stream of its own, so adding a policy changes nothing for the others.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from baseload.base.errors import BadInputError
from baseload.base.kernels import is_compiled
from baseload.base.version import VERSION
from baseload.routing.policy import AnyPolicy, Policy, name_of
from baseload.simulator import jump
from baseload.simulator.bound import bound
from baseload.simulator.caps import cases_of, cut_at, listed_name, listed_parameters
from baseload.simulator.checkers import check_run
from baseload.simulator.course import Course
from baseload.simulator.dispatch_run import check_dispatch, dispatch_of_run, dispatch_result
from baseload.simulator.drivers import driver_of
from baseload.simulator.hands import check_looks, hands_of, looks
from baseload.simulator.measure import Totals, result, service_usd, totals
from baseload.simulator.oracle import engines_agree
from baseload.simulator.plant import Plant
from baseload.simulator.records import LOG, Engine
from baseload.simulator.results import (
    SCHEMA,
    DispatchResult,
    FleetRow,
    PolicyResult,
    Simulation,
    TraceInfo,
)
from baseload.simulator.scenario import Scenario, offered_load_frac
from baseload.simulator.site_desk import SiteDesk
from baseload.simulator.start import new_engine
from baseload.simulator.supplied import settled
from baseload.supply.accounts import SupplyAccount
from baseload.workload.chunks import source_of, take
from baseload.workload.fingerprint import TraceHasher
from baseload.workload.forecasts import text_of_forecast
from baseload.workload.load import busiest_minutes
from baseload.workload.trace import Trace, TraceSource

KEEP_REQUESTS = 6_000_000
"""Requests of a trace that is made once and kept for all policies: about 250 MB."""

_LOG_ROWS = 262_144
_ORACLE_REQUESTS, _ORACLE_S, _ORACLE_TICKS = 60, 90.0, 6

Progress = Callable[[str, int, int, int], None]
"""Called with (policy, seed, requests done, requests expected)."""

LogSink = Callable[[str, int, np.recarray[Any, Any]], None]
"""Called with (policy, seed, rows of ``records.LOG``) as requests end."""

SlotSink = Callable[[str, int, float, SupplyAccount], None]
"""Called with (policy, seed, scale of the baseline, books with their columns) when a run ends."""


class TraceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the first run learns of the requests themselves, for the record of a simulation."""

    trace: TraceInfo
    offered_load_frac: float


def simulate(
    scenario: Scenario,
    policies: Sequence[AnyPolicy],
    *,
    seeds: int = 1,
    check: bool = False,
    progress: Progress | None = None,
    log: LogSink | None = None,
    slots: SlotSink | None = None,
    done: Callable[[PolicyResult], None] | None = None,
    dispatch: bool = False,
) -> Simulation:
    """What each of ``policies`` costs in ``scenario``, over seeds 0 .. ``seeds - 1``; each under
    every cap where the scenario has several.

    ``check`` holds every run against the laws (``checkers``; an ``AssertionError`` names the law).
    ``progress``, ``log``, ``slots`` and ``done`` (called with each policy's result as soon as it is
    there) may be left out. ``dispatch``: find the clairvoyant dispatch of each run too. Raises
    ``BadInputError`` for a seed count below 1, for no or two equal policies, for a dispatch without
    a site, and for whatever is wrong with the trace.
    """
    check_names(policies)
    check_looks(scenario, policies)
    if seeds < 1:
        raise BadInputError("number of seeds", found=str(seeds), allowed="an integer >= 1")
    if dispatch:
        check_dispatch(scenario)
    sources = kept({seed: scenario.requests(seed) for seed in range(seeds)})
    results: list[PolicyResult] = []
    baseline: list[Totals] = []
    bounds: dict[int | None, list[Totals]] = {}
    facts: TraceFacts | None = None
    for here, policy, bounded in cases_of(scenario, policies):
        runs, found = run_policy(
            here,
            policy,
            sources,
            check=check,
            progress=progress,
            log=log,
            slots=slots,
            watch=not results,
            bounded=bounded,
            dispatch=dispatch,
        )
        facts, baseline = facts or found, baseline or runs
        bounds.setdefault(here.cap_tokens, runs)
        least = bounds[here.cap_tokens]
        results.append(policy_result(here, policy, runs, baseline=baseline, bounded=least))
        if done is not None:
            done(results[-1])
    assert facts is not None
    return simulation_of(scenario, results, facts, baseline=baseline)


def run_policy(
    scenario: Scenario,
    policy: AnyPolicy,
    sources: Mapping[int, TraceSource],
    *,
    check: bool = False,
    progress: Progress | None = None,
    log: LogSink | None = None,
    slots: SlotSink | None = None,
    watch: bool = False,
    bounded: bool = False,
    dispatch: bool = False,
) -> tuple[list[Totals], TraceFacts | None]:
    """The runs of one policy over the ``sources`` of some seeds, and, where ``watch`` asks for
    it, what the first of them says of the requests. ``bounded``: find the clairvoyant bound of each
    seed's requests too. ``dispatch``: and the clairvoyant dispatch at its site, but not beside runs
    at lower clocks, which it does not bound. Other arguments as in ``simulate``.
    """
    runs: list[Totals] = []
    facts: TraceFacts | None = None
    for seed, source in sources.items():
        first = watch and not runs
        load_frac = offered_load_frac(scenario.groups, busiest_minutes(source)) if first else 0.0
        hasher = TraceHasher() if first else None
        run = run_scales(
            scenario,
            policy,
            source,
            seed=seed,
            check=check,
            progress=progress,
            log=log,
            slots=slots,
            hasher=hasher,
        )
        if bounded:
            cut = cut_at(source, scenario.cap_tokens)
            least = bound(scenario, cut, sleep=scenario.parking)
            run = msgspec.structs.replace(run, bound_energy_j=least.energy_j)
        if dispatch and not (isinstance(policy, Policy) and policy.slow.clocks):
            beside = dispatch_of_run(scenario, source, run, seed=seed)
            run = msgspec.structs.replace(run, dispatch=beside)
        runs.append(run)
        if check and isinstance(policy, Policy) and policy.price is None:
            _against_steps(scenario, policy, source, seed)
        if hasher is not None:
            info = TraceInfo(
                name=source.name,
                sha256=hasher.hexdigest(),
                requests=run.requests,
                span_s=run.span_s,
            )
            facts = TraceFacts(trace=info, offered_load_frac=load_frac)
    return runs, facts


def policy_result(
    scenario: Scenario,
    policy: AnyPolicy,
    runs: Sequence[Totals],
    *,
    baseline: Sequence[Totals],
    bounded: Sequence[Totals] | None = None,
) -> PolicyResult:
    """The result of a policy from its runs of all seeds; ``baseline``: those of the first one;
    ``bounded``: those of the first one under the same cap, with the bounds (the baseline's).
    """
    name, parameters = listed_name(scenario, policy), listed_parameters(scenario, policy)
    least = baseline if bounded is None else bounded
    found = result(scenario, name, parameters, runs, baseline=baseline, bounded=least)
    return msgspec.structs.replace(found, dispatch=dispatch_result(scenario, name, runs))


def simulation_of(
    scenario: Scenario,
    results: list[PolicyResult],
    facts: TraceFacts,
    *,
    baseline: Sequence[Totals],
) -> Simulation:
    """The record of a whole simulation from what its policies gave, in their order; ``baseline``:
    the runs of the first one, with the bounds.
    """
    bounds = [run.bound_energy_j for run in baseline if run.bound_energy_j is not None]
    if len(scenario.caps) > 1:  # each cap has a bound of its own
        bounds = []
    return Simulation(
        schema=SCHEMA,
        version=VERSION,
        scenario=scenario.name,
        seeds=list(range(len(baseline))),
        trace=facts.trace,
        fleet=[_fleet_row(group) for group in scenario.groups],
        bound_energy_j=math.fsum(bounds) / len(bounds) if bounds else None,
        parking=scenario.parking,
        forecast=text_of_forecast(scenario.forecast),
        policies=results,
        tiers={tier.name: _promise(tier) for tier in scenario.tiers},
        offered_load_frac=facts.offered_load_frac,
        dispatch=_dispatch(results),
        notes=[
            *scenario.notes,
            *_load_notes(facts.offered_load_frac, results),
            *_cap_notes(results),
            *_store_notes(scenario, results),
        ],
    )


def _dispatch(results: Sequence[PolicyResult]) -> DispatchResult | None:
    """The dispatch of the last policy that looks at the supply, else of the last that has one."""
    found = [one for one in results if one.dispatch is not None]
    looks = [one for one in found if one.parameters.get("supply")]
    return (looks or found)[-1].dispatch if found else None


def _against_steps(scenario: Scenario, policy: Policy, source: TraceSource, seed: int) -> None:
    """Law 5 on the first requests of the trace: the step engine and the scan give the same."""
    head = _head(next(_pieces(source, None)), scenario, policy)
    rows: list[np.recarray[Any, Any]] = []
    run_once(scenario, policy, source_of(head), seed=seed, log=lambda *ended: rows.append(ended[2]))
    log = np.concatenate(rows) if rows else np.zeros(0, dtype=LOG)
    engines_agree(scenario, policy, head, log.view(np.recarray), seed=seed)


def _head(piece: Trace, scenario: Scenario, policy: Policy) -> Trace:
    """A few requests of the beginning: the first; or, where a slow controller acts, some of the
    first minute or more, so that it has a few ticks and something to close.
    """
    if not (policy.slow.acts or scenario.parking):
        return take(piece, slice(0, _ORACLE_REQUESTS))
    until_s = max(_ORACLE_S, _ORACLE_TICKS * policy.slow.period_s)
    count = max(1, int(np.searchsorted(piece.t_us, until_s * 1e6)))
    return take(piece, slice(0, count, math.ceil(count / _ORACLE_REQUESTS)))


def check_names(policies: Sequence[AnyPolicy]) -> None:
    """Raise ``BadInputError`` for no policy at all, or for one that is there twice."""
    names = [name_of(policy) for policy in policies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise BadInputError(
            "policies to simulate",
            found=f"{', '.join(twice)} twice" if twice else "none",
            allowed="one or more, each once",
        )


def kept(
    sources: Mapping[int, TraceSource], *, most: int = KEEP_REQUESTS
) -> dict[int, TraceSource]:
    """The sources with their pieces kept in memory, if they have ``most`` requests or fewer."""
    if sum(source.requests for source in sources.values()) > most:
        return dict(sources)
    return {seed: _in_memory(source) for seed, source in sources.items()}


def _in_memory(source: TraceSource) -> TraceSource:
    """The source with its pieces made once."""
    pieces = list(source.chunks())
    return msgspec.structs.replace(source, chunks=lambda: iter(pieces))


def _promise(tier: Any) -> dict[str, float | None]:
    """A tier's deadlines and target, for the record."""
    return {name: getattr(tier, name) for name in ("ttft_s", "tpot_s", "e2e_s", "target_miss_frac")}


def _fleet_row(group: Any) -> FleetRow:
    """One group of the fleet, for the record."""
    kind = group.kind
    return FleetRow(
        type=kind.name,
        device=kind.device,
        model=kind.model,
        gpus=kind.num_gpus * group.replicas,
        replicas=group.replicas,
        method=kind.method,
        error_frac=kind.error_frac,
    )


def _load_notes(load_frac: float, results: Sequence[PolicyResult]) -> list[str]:
    """Warnings that a reader needs: overload, refusals, cut answers."""
    notes = []
    if load_frac > 1:
        notes.append(
            f"The fleet cannot carry the load: the busiest minutes offer {load_frac:.2f} times "
            "what it completes with all seats taken; requests wait, and are refused where a "
            "replica's queue is full."
        )
    refused = [f"{one.policy} {one.refused:,} ({_reasons(one)})" for one in results if one.refused]
    if refused:
        notes.append("Refused requests (counted as missed): " + ", ".join(refused) + ".")
    lowered = [one.policy for one in results if one.parameters.get("clocks")]
    if lowered:
        notes.append(
            f"Clocks are chosen by {', '.join(lowered)}: how joules and seconds respond to the "
            "clock is assumed, not measured."
        )
    cut = max((one.cut_short for one in results), default=0)
    if cut:
        notes.append(
            f"Up to {cut:,} answers were cut at the longest context that their replica holds."
        )
    return notes


def _cap_notes(results: Sequence[PolicyResult]) -> list[str]:
    """What is assumed of answers that a cap cut, where there are any."""
    if not any(one.capped_frac for one in results):
        return []
    return [
        "Answers that a cap cut count as wrong: assumed, as is that a cap leaves the others as "
        "they are."
    ]


def _store_notes(scenario: Scenario, results: Sequence[PolicyResult]) -> list[str]:
    """What policies that look at the supply do about a store that tables are not made for."""
    looking = [one for one in results if one.parameters.get("supply") and one.completed]
    if scenario.supplied is None or not looking:
        return []
    site = scenario.supplied.site
    store_j, first = site.store.usable_j, looking[0]
    by_hour = "policies that look at the supply price a joule by whether the hour is short"
    if store_j == 0.0:
        return [f"The site has no store: {by_hour}."]
    if math.isinf(store_j):
        return [
            "The store has no end: policies that look at the supply price joules as if it held a "
            "month of baseline."
        ]
    answers = store_j * first.completed / max(1e-9, site.pue * first.energy_j_by_state["active"])
    if answers >= 1.0:
        return []
    return [
        f"The store holds {answers:.2g} mean answers (of {first.policy}): {by_hour}, and where all "
        "hours are alike by the lattice of the store."
    ]


def _reasons(result: PolicyResult) -> str:
    """Why requests were refused, in words."""
    counts = {reason.replace("_", " "): n for reason, n in result.refused_by_reason.items() if n}
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items())


def run_scales(
    scenario: Scenario,
    policy: AnyPolicy,
    source: TraceSource,
    *,
    log: LogSink | None = None,
    hasher: TraceHasher | None = None,
    **settings: Any,
) -> Totals:
    """``run_once``; where the policy looks at the supply, once for each scale of its baseline: the
    sums are those of the scale nearest to 1, with the books of all.
    """
    supplied = scenario.supplied
    if supplied is None or not looks(policy) or len(supplied.scales) == 1:
        return run_once(scenario, policy, source, log=log, hasher=hasher, **settings)
    main: Totals | None = None
    books = []
    for place, scale in enumerate(supplied.scales):
        here = place == supplied.main
        alone = msgspec.structs.replace(supplied, scales=(scale,))
        run = run_once(
            msgspec.structs.replace(scenario, supplied=alone),
            policy,
            source,
            log=log if here else None,
            hasher=hasher if here else None,
            **settings,
        )
        if here:
            main = run
        kept = run.supply[0]
        books.append(kept if here else msgspec.structs.replace(kept, series=None, day=None))
    assert main is not None
    return msgspec.structs.replace(main, supply=tuple(books))


def run_once(
    scenario: Scenario,
    policy: AnyPolicy,
    source: TraceSource,
    *,
    seed: int = 0,
    check: bool = False,
    progress: Progress | None = None,
    log: LogSink | None = None,
    slots: SlotSink | None = None,
    hasher: TraceHasher | None = None,
) -> Totals:
    """One policy over one trace: the sums of the run. CPU time includes making the requests when
    they are streamed.
    """
    name = listed_name(scenario, policy)
    fleet, state = new_engine(scenario, source, log_rows=_LOG_ROWS if log else 0)
    driver = driver_of(policy, fleet, scenario, source, seed=seed)
    state.total[0].laxity_queue = isinstance(policy, Policy) and policy.queue == "laxity"
    hands = hands_of(scenario, policy, fleet, driver.state, span_s=source.span_s, seed=seed)
    run = Course(
        state,
        fleet,
        driver,
        hands,
        forecast=scenario.forecast,
        seed=seed,
        empty_log=_log_emptier(name, seed, log),
    )
    started = time.process_time()
    if scenario.grid_g_per_j is not None:
        run.scratch.grid_g_per_j = scenario.grid_g_per_j
    count, span_s = 0, 0.0
    for piece in _pieces(source, hasher):
        run.feed(piece, count)
        count += len(piece)
        span_s = float(piece.t_us[-1]) / 1e6
        if progress is not None:
            progress(name, seed, count, source.requests)
    run.drain(count, span_s)
    done = totals(
        run.engine,
        requests=count,
        span_s=span_s,
        cpu_s=time.process_time() - started,
        scenario=scenario,
        classes=source.classes,
        diary=next((hand.diary for hand in hands if isinstance(hand, Plant)), None),
    )
    if scenario.supplied is not None:
        books = settled(
            scenario.supplied,
            run.engine,
            end_s=max(span_s, done.last_s),
            seed=seed,
            service_usd=service_usd(scenario, done),
            check=check,
            sink=None if slots is None else functools.partial(slots, name, seed),
        )
        desk = next((hand for hand in hands if isinstance(hand, SiteDesk)), None)
        names = [choice.name for choice in scenario.choices]
        diary = None if desk is None else desk.diary(classes=source.classes, options=names)
        done = msgspec.structs.replace(done, supply=books, joule_prices=diary)
    if check:
        check_run(scenario, done, run.engine, fleet)
    return done


def _pieces(source: TraceSource, hasher: TraceHasher | None) -> Iterator[Trace]:
    """The trace in pieces that are not empty, hashed on the way if asked."""
    pieces = source.chunks()
    for piece in pieces if hasher is None else hasher.over(pieces):
        if len(piece):
            yield piece


def _log_emptier(name: str, seed: int, log: LogSink | None) -> Callable[[Engine], None]:
    """What empties the engine's log of ended requests into ``log``."""

    def empty(state: Engine) -> None:
        total = state.total[0]
        if log is not None and total.logged:
            log(name, seed, state.log[: total.logged].copy().view(np.recarray))
        total["logged"] = 0

    return empty


def compile_engine(scenario: Scenario, policy: AnyPolicy) -> None:
    """Compile what a run under ``policy`` needs, so that processes started later find it on
    disk.
    """
    source = scenario.requests(0)
    fleet, state = new_engine(scenario, source)
    driver = driver_of(policy, fleet, scenario, source, seed=0)
    Course(state, fleet, driver, (), forecast=scenario.forecast, seed=0)


def needs_compiling() -> bool:
    """Whether the first run in this process will compile the engine first."""
    return not is_compiled(jump.drive)
