"""The clairvoyant bound: joules that no schedule could undercut for a trace on a fleet.

Statement, proof and what is given up: docs/explanation/bound.md. The requests are read twice, in
pieces: once for a sample, on which the multipliers are chosen, once for the bound itself, which is
valid whatever the multipliers.
"""

from __future__ import annotations

import math
import time
from typing import Any

import msgspec
import numpy as np

from baseload.base.errors import BadInputError
from baseload.fleet.replica_type import ReplicaType, StepCosts
from baseload.simulator import bound_terms as terms
from baseload.simulator.bound_terms import Problem
from baseload.simulator.records import records
from baseload.simulator.scenario import Group, Scenario
from baseload.simulator.truth import arrivals
from baseload.workload.chunks import take
from baseload.workload.requests import tier_of
from baseload.workload.trace import Trace, TraceSource

_SAMPLE_REQUESTS = 4096
_FEATURES = ("step", "sequence", "context", "prefill", "experts")

_METHOD = (
    "Lagrangian relaxation: each request goes where it draws the least above rest, sharing every "
    "step with as many as fit; replicas start, wait and batch at will."
)
_REST = {
    False: "At rest a replica draws the least that its own timeouts allow.",
    True: "At rest a replica draws its lowest state at any time, and wakes for nothing.",
}
_KEPT = (
    "All requests keep the deadlines of their tiers but a fraction of {:g}: a bound for schedules "
    "that do."
)
_UNKEPT = "Deadlines are not asked for: a bound for every schedule."


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What the bound puts on the replicas of one device.

    ``requests``: how many; ``requests_frac``: their share of all that can be served;
    ``work_energy_j``: what they draw above the credited rest power [J].
    """

    requests: int
    requests_frac: float
    work_energy_j: float


class Multipliers(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one group's part of the bound, as docs/explanation/bound.md names them.

    ``rest_power_w``: the least that a replica draws while it does nothing [W]. ``credit_power_w``:
    the rest power that work is relieved of [W], at most that; negative, it is a price of time.
    ``late_s``: seconds that a request counts at most where time has a price. ``capped_frac``:
    weight of the stretched step against the free one. ``by_token_frac``: weight of the experts'
    bound by tokens against the one by sequences. ``by_kv_frac``, ``by_tokens_frac``: shares of a
    step that are divided by KV cache and by tokens, the rest by seats. ``seats``: most sequences in
    one step.
    """

    type: str
    rest_power_w: float
    credit_power_w: float
    late_s: float
    capped_frac: float
    by_token_frac: float
    by_kv_frac: float
    by_tokens_frac: float
    seats: int


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A lower bound on the energy of a fleet that serves a trace.

    ``energy_j``: the bound [J], the sum of ``rest_energy_j``, what the fleet would draw at rest
    from 0 to the last arrival, and ``work_energy_j``, the least that the requests add.
    ``by_device``: where the bound puts the requests. ``requests``: those counted, all that some
    type can serve; ``unservable``: those that none can, which cost nothing; ``too_late``: those of
    the counted that no type can serve in time (0 where deadlines are not asked for). ``method``:
    the bound in words. ``multipliers``: one entry a group; ``miss_price_j``: the price of a missed
    deadline [J], ``None`` where none may be missed or all may. ``cpu_s``: CPU time it took [s].
    """

    energy_j: float
    rest_energy_j: float
    work_energy_j: float
    by_device: dict[str, Share]
    requests: int
    unservable: int
    too_late: int
    method: str
    multipliers: tuple[Multipliers, ...]
    miss_price_j: float | None
    cpu_s: float


class _Survey(msgspec.Struct, kw_only=True):
    """What the first reading finds.

    ``takes``, ``shortest``: per group, how many requests it can serve and the fewest input tokens
    of those. ``sample``: every so manieth request.
    """

    count: int
    span_s: float
    takes: list[int]
    shortest: list[int]
    sample: np.recarray[Any, Any]


def bound(
    scenario: Scenario,
    source: TraceSource,
    *,
    sleep: bool,
    deadlines: bool = False,
    may_miss_frac: float = 0.0,
) -> Bound:
    """The least energy [J] that any schedule of ``source`` on the fleet of ``scenario`` can have.

    ``sleep``: replicas may be parked or off at any time and wake for nothing; without it they rest
    as the timeouts of their groups allow. ``deadlines``: the bound holds only for schedules in
    which all requests but a fraction ``may_miss_frac`` keep the deadlines of their tiers; without
    it, for all. A run that refuses requests which some type can serve has less to do than the bound
    counts. Raises ``BadInputError`` for a fraction outside 0 to 1 and for a class that no tier
    lists, when deadlines are asked for.
    """
    if not 0 <= may_miss_frac <= 1:
        raise BadInputError(
            "fraction of requests that may miss their deadlines",
            found=repr(may_miss_frac),
            allowed="0 to 1",
        )
    started = time.process_time()
    survey = _survey(scenario.groups, source)
    problem = _problem(scenario, source, survey, sleep=sleep, deadlines=deadlines)
    misses = math.floor(may_miss_frac * survey.count + 1e-9) if deadlines else 0
    if len(survey.sample):
        weight = survey.count / len(survey.sample)
        terms.tune(problem, survey.sample, weight, float(misses))
    energy_j = _exact(problem, source, misses)
    return _record(
        scenario,
        problem,
        energy_j,
        rests=[rest_power_w(group, survey.span_s, sleep=sleep) for group in scenario.groups],
        method=" ".join(
            (_METHOD, _REST[sleep], _KEPT.format(may_miss_frac) if deadlines else _UNKEPT)
        ),
        priced=deadlines and misses > 0,
        cpu_s=time.process_time() - started,
    )


def floor_problem(
    scenario: Scenario, source: TraceSource, *, sleep: bool, models: tuple[str, ...]
) -> Problem:
    """The problem with multipliers that suit the trace and credits that are not negative: what a
    request adds (``bound_terms.least_j``) then holds slot by slot above the sum of the credits
    (docs/explanation/dispatch.md). ``models``: names behind the codes of models.
    """
    survey = _survey(scenario.groups, source)
    problem = _problem(scenario, source, survey, sleep=sleep, deadlines=False)
    for row, group in zip(problem.types, scenario.groups, strict=True):
        row.model = models.index(group.kind.model) if group.kind.model in models else -2
    if len(survey.sample):
        terms.tune(problem, survey.sample, survey.count / len(survey.sample), 0.0)
    problem.choice[:-1, terms.CREDIT] = np.maximum(0.0, problem.choice[:-1, terms.CREDIT])
    terms.set_coefficients(problem)
    return problem


def rest_power_w(group: Group, span_s: float, *, sleep: bool) -> float:
    """The least that a replica of ``group`` draws while it runs no step, from 0 to ``span_s`` [W].

    A replica that wakes draws its wake energy over its wake time.
    """
    power = group.kind.power
    park_s = math.inf if group.park_after_s is None else group.park_after_s
    off_s = math.inf if group.off_after_s is None else group.off_after_s
    powers = [power.power_w_idle]
    if sleep or park_s < min(off_s, span_s):
        powers.append(power.power_w_parked)
        if power.wake_s_from_parked > 0:
            powers.append(power.wake_j_from_parked / power.wake_s_from_parked)
    if sleep or off_s < span_s:
        powers.append(power.power_w_off)
        if power.wake_s_from_off > 0:
            powers.append(power.wake_j_from_off / power.wake_s_from_off)
    return min(powers)


def _survey(groups: tuple[Group, ...], source: TraceSource) -> _Survey:
    """Read the trace once: its length, who can serve how much of it, and a sample."""
    code = {name: index for index, name in enumerate(source.models)}
    stride = max(1, source.requests // _SAMPLE_REQUESTS)
    takes, shortest = [0] * len(groups), [1 << 40] * len(groups)
    count, span_s, kept = 0, 0.0, [arrivals(_none_of(source))]
    for piece in source.chunks():
        if not len(piece):
            continue
        kept.append(arrivals(take(piece, slice(-count % stride, None, stride))))
        count += len(piece)
        span_s = piece.span_s
        for at, group in enumerate(groups):
            given = piece.input_tokens
            fits = given <= min(group.kind.max_context_tokens, group.kind.kv_tokens)
            if piece.model_code is not None:
                model = code.get(group.kind.model, -2)
                fits &= (piece.model_code < 0) | (piece.model_code == model)
            if fits.any():
                takes[at] += int(fits.sum())
                shortest[at] = min(shortest[at], int(given[fits].min()))
    sample = np.concatenate(kept).view(np.recarray)
    return _Survey(count=count, span_s=span_s, takes=takes, shortest=shortest, sample=sample)


def _none_of(source: TraceSource) -> Trace:
    """A trace without requests."""
    none = np.zeros(0, dtype=np.int32)
    return Trace(
        name=source.name,
        t_us=none.astype(np.int64),
        input_tokens=none,
        output_tokens=none,
        class_code=none.astype(np.int16),
        classes=source.classes,
    )


def _problem(
    scenario: Scenario, source: TraceSource, survey: _Survey, *, sleep: bool, deadlines: bool
) -> Problem:
    """The types, promises and limits of the choice, and room for the rest."""
    groups = scenario.groups
    types = records(terms.TYPE, len(groups))
    limits = np.zeros((len(groups) + 1, terms.CHOICES))
    code = {name: index for index, name in enumerate(source.models)}
    for at, (group, row) in enumerate(zip(groups, types, strict=True)):
        kind = group.kind
        seats = min(kind.max_batch, survey.takes[at], kind.kv_tokens // survey.shortest[at])
        _fill(row, kind, seats=max(1, seats))
        row.model = code.get(kind.model, -2)
        row.replica_s = group.replicas * survey.span_s
        row.late = group.replicas * (kind.max_batch + scenario.max_queue)
        row.lowest_w = -kind.power.power_w_cap if row.late < survey.takes[at] else 0.0
        rest_w = rest_power_w(group, survey.span_s, sleep=sleep)
        limits[at] = _limits(kind.costs, row, rest_w)
    return Problem(
        types=types,
        promises=_promises(scenario, source) if deadlines else records(terms.PROMISE, 0),
        span_s=np.array([survey.span_s]),
        limits=limits,
        choice=np.zeros_like(limits),
        coefficients=np.zeros((len(groups), 2 * terms.COEFFICIENTS)),
        sums=np.zeros((len(groups) + 1, terms.SUMS)),
        best=np.zeros_like(limits),
    )


def _fill(row: Any, kind: ReplicaType, *, seats: int) -> None:
    """Write a type into a row of ``bound_terms.TYPE``."""
    costs, power = kind.costs, kind.power
    row.longest = min(kind.max_context_tokens, kind.kv_tokens)
    row.seats, row.kv_tokens, row.step_tokens = seats, kind.kv_tokens, kind.max_step_tokens
    row.static_w, row.cap_w = power.power_w_active_static, power.power_w_cap
    for feature, (time_s, energy_j) in zip(_FEATURES, _pairs(costs), strict=True):
        row[f"time_s_{feature}"], row[f"energy_j_{feature}"] = time_s, energy_j
    row.stretches = all(
        energy_j >= power.power_w_active_static * time_s for time_s, energy_j in _pairs(costs)
    )
    row.hit_one, row.hit_more = _chord(costs.expert_hit_frac, seats)
    row.hit_token, row.hit_rise = _chord(costs.expert_hit_frac, seats + kind.max_step_tokens)


def _pairs(costs: StepCosts) -> tuple[tuple[float, float], ...]:
    """Seconds and joules of each unit of work, in the order of ``_FEATURES``."""
    experts = costs.expert_hit_frac > 0
    return (
        (costs.time_s_per_step, costs.energy_j_per_step),
        (costs.time_s_per_sequence, costs.energy_j_per_sequence),
        (costs.time_s_per_context_token, costs.energy_j_per_context_token),
        (costs.time_s_per_prefill_token, costs.energy_j_per_prefill_token),
        (costs.time_s_all_experts * experts, costs.energy_j_all_experts * experts),
    )


def _chord(hit_frac: float, most: int) -> tuple[float, float]:
    """``(first, rise)``: the share of experts hit by ``n`` tokens, a concave function, is at least
    ``first + rise * (n - 1)`` for ``n`` from 1 to ``most``.
    """
    if most == 1:
        return hit_frac, 0.0
    last_frac = 1.0 - (1.0 - hit_frac) ** most
    return hit_frac, (last_frac - hit_frac) / (most - 1)


def _limits(costs: StepCosts, row: Any, rest_w: float) -> tuple[float, ...]:
    """How far each number of a type's choice may go. No work may draw less than the credit."""
    drawn = (energy_j / time_s for time_s, energy_j in _pairs(costs) if time_s > 0)
    credit_w = min(rest_w, *drawn)
    experts = float(costs.expert_hit_frac > 0)
    return (credit_w, float(row.stretches), experts, 1.0, 1.0, 0.0)


def _promises(scenario: Scenario, source: TraceSource) -> np.recarray[Any, Any]:
    """What each class is promised, infinite where nothing is."""
    rows = records(terms.PROMISE, len(source.classes))
    for row, name in zip(rows, source.classes, strict=True):
        tier = tier_of(name, scenario.tiers)
        for field in ("ttft_s", "tpot_s", "e2e_s"):
            value = getattr(tier, field)
            row[field] = math.inf if value is None else value
    return rows


def _exact(problem: Problem, source: TraceSource, misses: int) -> float:
    """The bound of the chosen multipliers, over all requests [J]."""
    problem.sums[:] = 0.0
    terms.set_coefficients(problem)
    added = [terms.add(problem, arrivals(piece)) for piece in source.chunks() if len(piece)]
    others, price_j = problem.sums[-1], float(problem.choice[-1, 0])
    may_miss = max(0.0, misses - float(others[terms.TOO_LATE]))
    return math.fsum((*added, terms.credited_j(problem), -price_j * may_miss))


def _record(
    scenario: Scenario,
    problem: Problem,
    energy_j: float,
    *,
    rests: list[float],
    method: str,
    priced: bool,
    cpu_s: float,
) -> Bound:
    """The bound as a record."""
    groups, sums, others = scenario.groups, problem.sums[:-1], problem.sums[-1]
    counted = int(sums[:, terms.REQUESTS].sum())
    by_device: dict[str, Share] = {}
    for device in dict.fromkeys(group.kind.device for group in groups):
        of_device = [at for at, group in enumerate(groups) if group.kind.device == device]
        requests = int(sums[of_device, terms.REQUESTS].sum())
        by_device[device] = Share(
            requests=requests,
            requests_frac=requests / max(1, counted),
            work_energy_j=float(sums[of_device, terms.ENERGY].sum()),
        )
    rest_energy_j = math.fsum(
        rest_w * float(row.replica_s) for rest_w, row in zip(rests, problem.types, strict=True)
    )
    return Bound(
        energy_j=energy_j,
        rest_energy_j=rest_energy_j,
        work_energy_j=energy_j - rest_energy_j,
        by_device=by_device,
        requests=counted,
        unservable=int(others[terms.NO_TYPE]),
        too_late=int(others[terms.TOO_LATE]),
        method=method,
        multipliers=tuple(
            _multipliers(group.kind.name, rest_w, row, choice)
            for group, rest_w, row, choice in zip(
                groups, rests, problem.types, problem.choice[:-1], strict=True
            )
        ),
        miss_price_j=float(problem.choice[-1, 0]) if priced else None,
        cpu_s=cpu_s,
    )


def _multipliers(name: str, rest_w: float, row: Any, choice: Any) -> Multipliers:
    """One row of the choice, in words."""
    by_kv = float(choice[terms.BY_KV])
    return Multipliers(
        type=name,
        rest_power_w=rest_w,
        credit_power_w=float(choice[terms.CREDIT]),
        late_s=float(choice[terms.LATE_S]),
        capped_frac=float(choice[terms.CAPPED]),
        by_token_frac=float(choice[terms.BY_TOKEN]),
        by_kv_frac=by_kv,
        by_tokens_frac=(1.0 - by_kv) * float(choice[terms.BY_TOKENS]),
        seats=int(row.seats),
    )
