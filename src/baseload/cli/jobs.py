"""Runs side by side, each in a process of its own: policies, seeds and loads of a scenario.

A job says by name what is to be run, so that it can be read again in another process; what comes
back are the runs' sums, from which the asking process makes the same record as if it had run them
itself.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext
from typing import Any

import msgspec

from baseload.base.errors import BadInputError, BaseloadError
from baseload.cli.interrupts import interrupts_noted
from baseload.cli.policy_specs import failure_in, policy_of
from baseload.cli.scenario_file import Overrides, load_scenario
from baseload.routing.policies import POLICIES
from baseload.routing.policy import AnyPolicy, Policy
from baseload.simulator.caps import at_cap, cases_of
from baseload.simulator.measure import Totals
from baseload.simulator.results import Simulation
from baseload.simulator.run import (
    KEEP_REQUESTS,
    Progress,
    TraceFacts,
    compile_engine,
    kept,
    needs_compiling,
    policy_result,
    run_policy,
    simulation_of,
)
from baseload.simulator.scenario import Scenario
from baseload.workload.trace import TraceSource

MAX_JOBS = 1024
FEW_REQUESTS = 5_000_000
"""Requests, over all runs, up to which starting processes does not pay for itself."""

KEEP_IN_ALL = 4 * KEEP_REQUESTS
_LOOK_S = 0.5
"""Requests that all processes together may keep in memory: about 1 GB."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One policy over some seeds of a scenario, by name: a scenario's name or file and what goes
    before it, a policy as ``--policy`` takes it. ``caps``: the one cap in force, where the
    scenario has several (empty: as it says). ``watch``: tell also what the requests are;
    ``bounded``: and the least joules that any schedule of them could need; ``dispatch``: and the
    least cost at the site.
    """

    scenario: str
    policy: str
    seeds: tuple[int, ...]
    overrides: Overrides = Overrides()
    caps: tuple[int | None, ...] = ()
    check: bool = False
    watch: bool = False
    bounded: bool = False
    dispatch: bool = False


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of a job, one a seed; ``facts`` where the job watched."""

    runs: list[Totals]
    facts: TraceFacts | None


Done = Callable[[Job, JobResult], None]
"""Called in the asking process with each job that has ended, as they end."""


def jobs_of(
    scenario: str,
    policies: Sequence[str],
    *,
    seeds: int,
    overrides: Overrides | None = None,
    caps: Sequence[int | None] = (),
    check: bool = False,
    dispatch: bool = False,
) -> list[Job]:
    """The jobs of a simulation: one a policy, cap (of the scenario's ``caps``) and seed, the first
    one watching. A policy from a file is one job under a cap, because what its code remembers must
    not depend on who runs it.
    """
    under: list[tuple[int | None, ...]] = [(cap,) for cap in caps] or [()]
    jobs: list[Job] = []
    for (place, policy), cap in itertools.product(enumerate(policies), under):
        alone = ".py:" in policy
        for part in [tuple(range(seeds))] if alone else [(seed,) for seed in range(seeds)]:
            job = Job(
                scenario=scenario,
                policy=policy,
                seeds=part,
                overrides=overrides or Overrides(),
                caps=cap,
                check=check,
                watch=not jobs,
                bounded=place == 0,
                dispatch=dispatch,
            )
            jobs.append(job)
    return jobs


def gathered(
    scenario: Scenario, policies: Sequence[AnyPolicy], results: Sequence[JobResult]
) -> Simulation:
    """The simulation that the results of ``jobs_of`` (in their order) make: equal to that of
    ``simulator.run.simulate`` but for the CPU time.
    """
    runs = [run for result in results for run in result.runs]
    cases = cases_of(scenario, policies)
    seeds = len(runs) // len(cases)
    facts = next(result.facts for result in results if result.facts is not None)
    each = [runs[at * seeds : (at + 1) * seeds] for at in range(len(cases))]
    baseline = each[0]
    least = {
        case.scenario.cap_tokens: mine
        for case, mine in zip(cases, each, strict=True)
        if case.bounded
    }
    rows = [
        policy_result(here, policy, mine, baseline=baseline, bounded=least[here.cap_tokens])
        for (here, policy, _), mine in zip(cases, each, strict=True)
    ]
    return simulation_of(scenario, rows, facts, baseline=baseline)


def title(job: Job) -> str:
    """The job in words, for people who wait for it."""
    words = [job.policy]
    words += ["uncapped" if cap is None else f"cap {cap}" for cap in job.caps]
    if job.overrides.load_frac is not None:
        words.append(f"load {job.overrides.load_frac:g}")
    if job.seeds != (0,):
        words.append(f"seed{'s' if len(job.seeds) > 1 else ''} {', '.join(map(str, job.seeds))}")
    return ", ".join(words)


def usable_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_jobs(at_once: int | None) -> None:
    """Raise ``BadInputError`` for a number of processes that is none; ``None``: nobody said."""
    if at_once is not None and not 1 <= at_once <= MAX_JOBS:
        raise BadInputError("--jobs", found=str(at_once), allowed=f"1 to {MAX_JOBS}")


def jobs_at_once(asked: int | None, *, requests: int) -> int:
    """How many jobs to run at a time: as many as ``asked``; else one for each CPU where all runs
    together have more than ``FEW_REQUESTS`` requests.
    """
    if asked is not None:
        return asked
    return usable_cpus() if requests > FEW_REQUESTS else 1


def run_jobs(
    jobs: Sequence[Job],
    *,
    at_once: int,
    progress: Progress | None = None,
    done: Done | None = None,
) -> list[JobResult]:
    """Run ``jobs``, ``at_once`` of them at a time, and give their results in their order.

    With one at a time they run in this process, in their order, and ``progress`` is called within
    runs. Raises what a job raises (the first to fail ends the others), and ``ChildProcessError``
    when a process is ended from outside.
    """
    if at_once > 1 and len(jobs) > 1:
        return _in_processes(jobs, at_once=min(at_once, len(jobs)), done=done)
    worker = _Worker(progress=progress)
    results = []
    for job in jobs:
        results.append(worker.run(job))
        if done is not None:
            done(job, results[-1])
    return results


class _Worker:
    """Runs jobs one after the other; keeps what the next job is likely to need again."""

    def __init__(
        self, *, most_requests: int = KEEP_REQUESTS, progress: Progress | None = None
    ) -> None:
        self._most_requests = most_requests
        self._progress = progress
        self._asked: tuple[str, Overrides] | None = None
        self._sources: dict[int, TraceSource] = {}
        self._policies: dict[str, Policy] = {}

    def run(self, job: Job) -> JobResult:
        """What ``job`` asks for. A mistake in a user's policy comes out as such."""
        try:
            self._read(job)
            sources = {seed: self._sources[seed] for seed in job.seeds}
            capped = [at_cap(self._scenario, cap) for cap in job.caps]
            runs, facts = run_policy(
                capped[0] if capped else self._scenario,
                self._policy(job.policy),
                sources,
                check=job.check,
                progress=self._progress,
                watch=job.watch,
                bounded=job.bounded,
                dispatch=job.dispatch,
            )
        except BaseloadError:
            raise
        except (Exception, SystemExit) as error:
            failure = failure_in(error, [job.policy])
            if failure is None:
                raise
            raise failure from error
        return JobResult(runs=runs, facts=facts)

    def _read(self, job: Job) -> None:
        """Have scenario and requests of the job at hand."""
        asked = (job.scenario, job.overrides)
        if asked != self._asked:
            self._sources = {}
            self._scenario = load_scenario(job.scenario, overrides=job.overrides)
            self._asked = asked
        if not set(job.seeds) <= set(self._sources):
            new = {seed: self._scenario.requests(seed) for seed in job.seeds}
            every = [*self._sources.values(), *new.values()]
            if sum(source.requests for source in every) > self._most_requests:
                self._sources = {}
            self._sources |= kept(new, most=self._most_requests)

    def _policy(self, spec: str) -> AnyPolicy:
        """The policy of a spec. Records are kept, since one with a price of its own compiles; other
        code starts anew for each job, so that nothing it remembers depends on who runs it.
        """
        if spec in self._policies:
            return self._policies[spec]
        policy = policy_of(spec)
        if isinstance(policy, Policy):
            self._policies[spec] = policy
        return policy


def longest_first(jobs: Sequence[Job]) -> list[int]:
    """The places of ``jobs`` in the order in which to start them, so that no process waits at the
    end for one that started late: by load, then policies with controllers and with a finer state.
    """

    def guess(place: int) -> tuple[float, int]:
        job = jobs[place]
        known = POLICIES.get(job.policy.partition(":")[0])
        effort = 0 if known is None else 2 * known.slow.acts + (known.pending_unit > 0)
        return -(job.overrides.load_frac or 0.0), -effort

    return sorted(range(len(jobs)), key=guess)


def _in_processes(jobs: Sequence[Job], *, at_once: int, done: Done | None) -> list[JobResult]:
    """The results of ``jobs``, from a pool of processes that is gone at the end."""
    if needs_compiling():  # once, here: not in every process, where all write to one cache
        scenario = load_scenario(jobs[0].scenario, overrides=jobs[0].overrides)
        compile_engine(scenario, POLICIES["least_loaded"])
    context = _Context()
    pool = ProcessPoolExecutor(
        at_once,
        mp_context=context,
        initializer=_start_worker,
        initargs=(min(KEEP_REQUESTS, KEEP_IN_ALL // at_once),),
    )
    try:
        with _interrupts_held():
            futures = {place: pool.submit(_run_here, jobs[place]) for place in longest_first(jobs)}
        places = {future: place for place, future in futures.items()}
        with interrupts_noted() as heard:
            for future in _as_they_end(places, heard):
                result = _result_of(future)
                if done is not None:
                    done(jobs[places[future]], result)
        return [futures[place].result() for place in range(len(jobs))]
    except BaseException:
        context.end_all()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _as_they_end(
    futures: Iterable[Future[JobResult]], heard: Callable[[], bool]
) -> Iterator[Future[JobResult]]:
    """The futures, each when it is done. Raises ``KeyboardInterrupt`` once ``heard``."""
    waiting = set(futures)
    while waiting:
        ended, waiting = wait(waiting, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
        for future in ended:
            if heard():
                raise KeyboardInterrupt
            yield future
        if heard():
            raise KeyboardInterrupt


def _result_of(future: Future[JobResult]) -> JobResult:
    """What a job gave; a process that did not live to tell is no traceback of ours."""
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a process that ran a policy was ended from outside, perhaps for lack of memory; "
            "fewer at once need less: --jobs 1"
        ) from error


class _Context(SpawnContext):
    """Starts fresh processes (no copy of ours, with its threads and locks) and knows them."""

    def __init__(self) -> None:
        super().__init__()
        self._started: list[Any] = []

    def Process(self, *arguments: Any, **options: Any) -> Any:  # type: ignore[override]
        """A process, as the pool asks for it."""
        process = multiprocessing.get_context("spawn").Process(*arguments, **options)
        self._started.append(process)
        return process

    def end_all(self) -> None:
        """End every process now, also within a run."""
        for process in self._started:
            with contextlib.suppress(OSError, ValueError):
                process.terminate()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes started within do not hear Ctrl-C, which the terminal sends to all: the asking
    process hears it, afterwards, and ends them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_worker: _Worker | None = None
"""The worker of a process of the pool."""


def _start_worker(most_requests: int) -> None:
    """Make a process of the pool ready: deaf to Ctrl-C, silent on standard output, and gone when
    the process that asked is gone.
    """
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout = sys.stderr
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _worker = _Worker(most_requests=most_requests)


def _leave_with_parent() -> None:
    """Wait for the end of the asking process, then leave at once."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_here(job: Job) -> JobResult:
    """Run a job in a process of the pool."""
    assert _worker is not None
    return _worker.run(job)
