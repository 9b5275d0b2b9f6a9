"""Run a scenario under policies: the one function behind ``baseload simulate``.

All policies of a run meet the same requests (common random numbers), and each policy draws from a
stream of its own, so adding a policy changes nothing for the others.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from baseload.base.errors import BadInputError
from baseload.base.kernels import is_compiled
from baseload.base.version import VERSION
from baseload.routing.fleet_state import FleetState
from baseload.routing.policy import AnyPolicy, Policy, name_of, parameters_of
from baseload.routing.price import request_row
from baseload.routing.slow import Slow
from baseload.simulator import jump
from baseload.simulator.checkers import check_run
from baseload.simulator.drivers import Driver, driver_of
from baseload.simulator.measure import Totals, result, totals
from baseload.simulator.oracle import engines_agree
from baseload.simulator.plant import Plant
from baseload.simulator.records import Engine, with_more_held, with_more_slots
from baseload.simulator.results import SCHEMA, FleetRow, PolicyResult, Simulation, TraceInfo
from baseload.simulator.scenario import Scenario, offered_load_frac
from baseload.simulator.start import new_engine
from baseload.simulator.truth import arrivals
from baseload.workload.chunks import source_of, take
from baseload.workload.fingerprint import TraceHasher
from baseload.workload.forecasts import Forecast
from baseload.workload.load import busiest_minutes
from baseload.workload.trace import Trace, TraceSource

_KEEP_REQUESTS = (
    6_000_000  # a trace up to this length is made once and kept for all policies (about 250 MB)
)
_LOG_ROWS = 262_144
_ORACLE_REQUESTS = 60
_FOREVER_S = 1e300

Progress = Callable[[str, int, int, int], None]
"""Called with (policy, seed, requests done, requests expected)."""

LogSink = Callable[[str, int, np.recarray[Any, Any]], None]
"""Called with (policy, seed, rows of ``records.LOG``) as requests end."""


def simulate(
    scenario: Scenario,
    policies: Sequence[AnyPolicy],
    *,
    seeds: int = 1,
    check: bool = False,
    progress: Progress | None = None,
    log: LogSink | None = None,
    done: Callable[[PolicyResult], None] | None = None,
) -> Simulation:
    """What each of ``policies`` costs in ``scenario``, over seeds 0 .. ``seeds - 1``.

    ``check`` holds every run against the laws (``checkers``; an ``AssertionError`` names the law).
    ``progress``, ``log`` and ``done`` (called with each policy's result as soon as it is there) may
    be left out. Raises ``BadInputError`` for a seed count below 1, for no or two equal policies,
    and for whatever is wrong with the trace.
    """
    names = _names(policies)
    if seeds < 1:
        raise BadInputError("number of seeds", found=str(seeds), allowed="an integer >= 1")
    sources = _kept([scenario.requests(seed) for seed in range(seeds)])
    first = sources[0]
    load_frac = offered_load_frac(scenario.groups, busiest_minutes(first))
    hasher = TraceHasher()
    results: list[PolicyResult] = []
    first_runs: list[Totals] = []
    count, span_s = 0, 0.0
    for name, policy in zip(names, policies, strict=True):
        runs = []
        for seed, source in enumerate(sources):
            watch = hasher if name == names[0] and seed == 0 else None
            run = run_once(
                scenario,
                policy,
                source,
                seed=seed,
                check=check,
                progress=progress,
                log=log,
                hasher=watch,
            )
            runs.append(run)
            if check and isinstance(policy, Policy) and policy.price is None:
                _against_steps(scenario, policy, source, seed)
            if watch is not None:
                count, span_s = run.requests, run.span_s
        first_runs = first_runs or runs
        parameters = parameters_of(policy)
        results.append(result(scenario, name, parameters, runs, baseline=first_runs))
        if done is not None:
            done(results[-1])
    return Simulation(
        schema=SCHEMA,
        version=VERSION,
        scenario=scenario.name,
        seeds=list(range(seeds)),
        trace=TraceInfo(name=first.name, sha256=hasher.hexdigest(), requests=count, span_s=span_s),
        fleet=[_fleet_row(group) for group in scenario.groups],
        bound_energy_j=None,
        policies=results,
        tiers={tier.name: _promise(tier) for tier in scenario.tiers},
        offered_load_frac=load_frac,
        notes=[*scenario.notes, *_load_notes(load_frac, results)],
    )


def _against_steps(scenario: Scenario, policy: Policy, source: TraceSource, seed: int) -> None:
    """Law 5 on the first requests of the trace: the step engine and the scan give the same."""
    head = take(next(_pieces(source, None)), slice(0, _ORACLE_REQUESTS))
    rows: list[np.recarray[Any, Any]] = []
    run_once(scenario, policy, source_of(head), seed=seed, log=lambda *ended: rows.append(ended[2]))
    engines_agree(scenario, policy, head, np.concatenate(rows).view(np.recarray), seed=seed)


def _names(policies: Sequence[AnyPolicy]) -> list[str]:
    """The policies' names, each once."""
    names = [name_of(policy) for policy in policies]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise BadInputError(
            "policies to simulate",
            found=f"{', '.join(twice)} twice" if twice else "none",
            allowed="one or more, each once",
        )
    return names


def _kept(sources: list[TraceSource]) -> list[TraceSource]:
    """The sources with their pieces kept in memory, if they are few enough to share."""
    if sum(source.requests for source in sources) > _KEEP_REQUESTS:
        return sources
    return [_in_memory(source) for source in sources]


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
    cut = max((one.cut_short for one in results), default=0)
    if cut:
        notes.append(
            f"Up to {cut:,} answers were cut at the longest context that their replica holds."
        )
    return notes


def _reasons(result: PolicyResult) -> str:
    """Why requests were refused, in words."""
    counts = {reason.replace("_", " "): n for reason, n in result.refused_by_reason.items() if n}
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items())


def run_once(
    scenario: Scenario,
    policy: AnyPolicy,
    source: TraceSource,
    *,
    seed: int = 0,
    check: bool = False,
    progress: Progress | None = None,
    log: LogSink | None = None,
    hasher: TraceHasher | None = None,
) -> Totals:
    """One policy over one trace: the sums of the run. CPU time includes making the requests when
    they are streamed.
    """
    name = name_of(policy)
    fleet, state = new_engine(scenario, source, log_rows=_LOG_ROWS if log else 0)
    driver = driver_of(policy, fleet, scenario, source, seed=seed)
    slow = policy.slow if isinstance(policy, Policy) else Slow()
    state.total[0].laxity_queue = isinstance(policy, Policy) and policy.queue == "laxity"
    plant = None
    if slow.acts or scenario.parking:
        plant = Plant(scenario, fleet, driver, slow, park=scenario.parking)
    run = _Run(state, fleet, driver, plant, _log_emptier(name, seed, log))
    run.forecast, run.seed = scenario.forecast, seed
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
        control=None if plant is None else plant.diary,
    )
    if check:
        check_run(scenario, done, run.engine, fleet)
    return done


def _pieces(source: TraceSource, hasher: TraceHasher | None) -> Iterator[Trace]:
    """The trace in pieces that are not empty, hashed on the way if asked."""
    pieces = source.chunks()
    for piece in pieces if hasher is None else hasher.over(pieces):
        if len(piece):
            yield piece


class _Run:
    """One run on its way: the engine, and whoever drives it."""

    def __init__(
        self,
        engine: Engine,
        fleet: FleetState,
        driver: Driver,
        plant: Plant | None,
        empty_log: Callable[[Engine], None],
    ) -> None:
        self.engine, self._fleet, self._driver, self._plant = engine, fleet, driver, plant
        self._empty_log = empty_log
        self.forecast, self.seed = Forecast(), 0
        self.scratch = request_row(input_tokens=1, output_tokens=1)
        # Nothing happens at instant 0, but what was not compiled or loaded yet is now.
        self._none = arrivals(_nothing())
        self._drive(self._none, 0, 0, 0, -math.inf)
        jump.settle(self.engine, fleet, 0.0)

    def feed(self, piece: Trace, first_number: int) -> None:
        """Replay one piece of the trace, with the slow controller's ticks in between."""
        rows = arrivals(piece, forecast=self.forecast, seed=self.seed, first_number=first_number)
        at = 0
        if self._plant is not None:
            while rows.arrival_s[-1] > self._plant.next_s:
                tick_s = self._plant.next_s
                end = int(np.searchsorted(rows.arrival_s, tick_s, side="right"))
                self._drive(rows, at, end, first_number, tick_s)
                self._plant.act(self.engine, self.scratch)
                at = end
        self._drive(rows, at, len(rows), first_number, -math.inf)

    def drain(self, count: int, span_s: float) -> None:
        """Run until the last answer is complete, and book what rests up to the end of the trace."""
        total = self.engine.total[0]
        total["horizon_s"] = span_s
        while self._plant is not None and (total.in_flight or total.held):
            self._drive(self._none, 0, 0, count, self._plant.next_s)
            self._plant.act(self.engine, self.scratch)
            total = self.engine.total[0]
        self._drive(self._none, 0, 0, count, _FOREVER_S)
        jump.settle(self.engine, self._fleet, span_s)

    def _drive(
        self, rows: np.recarray[Any, Any], begin: int, end: int, first: int, until_s: float
    ) -> None:
        """Drive to the end of ``rows[begin:end]`` and on to ``until_s``, making room on the way."""
        at = begin
        while True:
            at = self._driver.drive(
                self.engine, self._fleet, rows, max(at, begin), end, first, until_s, self.scratch
            )
            self._empty_log(self.engine)
            if at == end:
                return
            at = end if at < 0 else at
            total = self.engine.total[0]
            if total.free_slots == 0:
                self.engine = with_more_slots(self.engine)
            if total.held == len(self.engine.held):
                self.engine = with_more_held(self.engine)


def _nothing() -> Trace:
    """A trace without requests."""
    ints = np.zeros(0, dtype=np.int32)
    return Trace(
        name="",
        t_us=ints.astype(np.int64),
        input_tokens=ints,
        output_tokens=ints,
        class_code=ints.astype(np.int16),
        classes=(),
    )


def _log_emptier(name: str, seed: int, log: LogSink | None) -> Callable[[Engine], None]:
    """What empties the engine's log of ended requests into ``log``."""

    def empty(state: Engine) -> None:
        total = state.total[0]
        if log is not None and total.logged:
            log(name, seed, state.log[: total.logged].copy().view(np.recarray))
        total["logged"] = 0

    return empty


def needs_compiling() -> bool:
    """Whether the first run in this process will compile the engine first."""
    return not is_compiled(jump.drive)
