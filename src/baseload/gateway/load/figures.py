"""The figures of a replay: what ``baseload replay --json`` gives. Every field is documented in
docs/reference/replay.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from baseload.base.units import NS_PER_S
from baseload.base.version import VERSION
from baseload.gateway.load.plan import LoadPlan
from baseload.gateway.load.run import Outcome
from baseload.workload.fingerprint import sha256_of
from baseload.workload.tiers import Tier

SCHEMA = "baseload-replay/1"
LATE_S = 0.01
"""A request that goes out later than this was held up by the client itself."""


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Mean, percentiles and largest of durations [s]; ``None`` when nothing was measured. A
    percentile is a value that occurred.
    """

    count: int
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    most: float | None


class TierFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One tier, or all requests together."""

    name: str
    sent: int
    answered: int
    failed: int
    unfinished: int
    miss_frac: float | None
    ttft_s: Spread
    tpot_s: Spread
    e2e_s: Spread
    output_tokens: int
    energy_j: float | None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of failure, how often it came, and what the first one said."""

    kind: str
    count: int
    example: str


class EnergyFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What answers and meters said of joules. ``metered_j``: how much each counter of the target's
    ``/metrics`` grew over the run.
    """

    answers_with: int
    energy_j: float | None
    energy_j_per_request: float | None
    energy_j_per_output_token: float | None
    carbon_g: float | None
    methods: list[str]
    metered_j: dict[str, float]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    url: str
    model: str
    effort: str | None
    stream: bool
    fixed_lengths: bool
    rate_per_s: float | None
    speed: float
    start_s: float
    duration_s: float
    seed: int


class ReplayedTrace(msgspec.Struct, frozen=True, kw_only=True):
    """The requests that were to be sent."""

    name: str
    sha256: str
    requests: int
    span_s: float
    rate_per_s: float


class ReplayResult(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    schema: str
    version: str
    asked: Asked
    trace: ReplayedTrace
    began_unix_ns: int | None
    interrupted: bool
    wall_s: float
    total: TierFigures
    tiers: list[TierFigures]
    failures: list[Failure]
    late_s: Spread
    late_frac: float
    ttft_from_sending_s: Spread
    e2e_from_sending_s: Spread
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    other_lengths: int
    requests_per_s: float
    output_tokens_per_s: float
    client_cpu_frac: float | None
    energy: EnergyFigures
    models: dict[str, int]
    replicas: dict[str, int]
    notes: list[str]


def result_of(
    outcomes: Sequence[Outcome],
    plan: LoadPlan,
    asked: Asked,
    *,
    began_unix_ns: int | None = None,
    interrupted: bool = False,
    cpu_s: float | None = None,
    metered_j: Mapping[str, float] | None = None,
) -> ReplayResult:
    """The figures of a run; ``cpu_s``: what the client itself took."""
    good = [each for each in outcomes if not each.kind]
    last_ns = max((each.end_ns for each in outcomes), default=0)
    wall_s = max(1, last_ns, plan.requests[-1].due_ns if not interrupted else 1) / NS_PER_S
    late = [max(0, each.sent_ns - each.due_ns) for each in outcomes]
    made = sum(map(_tokens, good))
    trace = ReplayedTrace(
        name=plan.trace.name,
        sha256=sha256_of(plan.trace),
        requests=len(plan.trace),
        span_s=plan.span_s,
        rate_per_s=len(plan.trace) / max(plan.span_s, 1e-6),
    )
    promises = {tier.name: tier for tier in plan.promises}
    names = sorted({each.tier for each in outcomes})
    result = ReplayResult(
        schema=SCHEMA,
        version=VERSION,
        asked=asked,
        trace=trace,
        began_unix_ns=began_unix_ns,
        interrupted=interrupted,
        wall_s=wall_s,
        total=_tier("all", outcomes, promises),
        tiers=[_tier(name, [o for o in outcomes if o.tier == name], promises) for name in names],
        failures=_failures(outcomes),
        late_s=spread(late),
        late_frac=_frac(sum(one > LATE_S * NS_PER_S for one in late), len(late)) or 0.0,
        ttft_from_sending_s=spread(o.first_ns - o.sent_ns for o in good if o.first_ns >= 0),
        e2e_from_sending_s=spread(o.end_ns - o.sent_ns for o in good),
        input_tokens=sum(max(0, each.input_tokens) for each in good),
        output_tokens=made,
        reasoning_tokens=sum(max(0, each.reasoning_tokens) for each in good),
        other_lengths=sum(0 <= o.output_tokens != o.asked_tokens for o in good),
        requests_per_s=len(good) / wall_s,
        output_tokens_per_s=made / wall_s,
        client_cpu_frac=None if cpu_s is None else cpu_s / wall_s,
        energy=_energy(good, made, metered_j or {}),
        models=_counts(f"{o.model}@{o.effort}" if o.effort else o.model for o in good),
        replicas=_counts(o.replica for o in good),
        notes=list(plan.notes),
    )
    return msgspec.structs.replace(result, notes=[*result.notes, *_remarks(result)])


def spread(durations_ns: Iterable[int | float]) -> Spread:
    """Mean, percentiles and largest of durations in nanoseconds."""
    found = np.sort(np.fromiter(durations_ns, np.float64)) / NS_PER_S
    if not len(found):
        return Spread(count=0, mean=None, p50=None, p90=None, p99=None, most=None)
    p50, p90, p99 = np.percentile(found, [50, 90, 99], method="inverted_cdf").tolist()
    return Spread(
        count=len(found), mean=float(found.mean()), p50=p50, p90=p90, p99=p99, most=float(found[-1])
    )


def tpot_ns(outcome: Outcome) -> float | None:
    """Time per token after the first [ns], of answers of two or more tokens that were streamed."""
    tokens = _tokens(outcome)
    if outcome.first_ns < 0 or tokens < 2:
        return None
    return (outcome.last_ns - outcome.first_ns) / (tokens - 1)


def missed(outcome: Outcome, promise: Tier) -> bool:
    """Whether the outcome broke what its tier promises, counted from when it was due."""
    if outcome.kind:
        return True
    tpot = tpot_ns(outcome)
    ttft_ns = None if outcome.first_ns < 0 else outcome.first_ns - outcome.due_ns
    kept: list[tuple[float | None, float | None]] = [
        (promise.ttft_s, ttft_ns),
        (promise.tpot_s, tpot),
        (promise.e2e_s, outcome.end_ns - outcome.due_ns),
    ]
    return any(
        most is not None and took is not None and took > most * NS_PER_S for most, took in kept
    )


def metered(
    before: Mapping[str, float] | None, after: Mapping[str, float] | None
) -> dict[str, float]:
    """How much each counter grew [J]; one that went back was started anew, and counts from 0."""
    if after is None:
        return {}
    first = before or {}
    return {
        name: value - first.get(name, 0.0) if value >= first.get(name, 0.0) else value
        for name, value in after.items()
    }


def _tokens(outcome: Outcome) -> int:
    """Tokens of the answer: the server's count, else the pieces that came."""
    return outcome.output_tokens if outcome.output_tokens >= 0 else outcome.pieces


def _tier(name: str, outcomes: Sequence[Outcome], promises: Mapping[str, Tier]) -> TierFigures:
    good = [each for each in outcomes if not each.kind]
    ended = [each for each in outcomes if each.kind != "unfinished"]
    judged = [each for each in ended if each.tier in promises]
    broken = sum(missed(each, promises[each.tier]) for each in judged)
    tpots = (tpot_ns(each) for each in good)
    joules = [each.energy_j for each in good if each.energy_j is not None]
    return TierFigures(
        name=name,
        sent=len(outcomes),
        answered=len(good),
        failed=len(ended) - len(good),
        unfinished=len(outcomes) - len(ended),
        miss_frac=_frac(broken, len(judged)),
        ttft_s=spread(o.first_ns - o.due_ns for o in good if o.first_ns >= 0),
        tpot_s=spread(one for one in tpots if one is not None),
        e2e_s=spread(o.end_ns - o.due_ns for o in good),
        output_tokens=sum(map(_tokens, good)),
        energy_j=sum(joules) if joules else None,
    )


def _failures(outcomes: Sequence[Outcome]) -> list[Failure]:
    """Kinds of failure, the most frequent first."""
    examples: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for each in outcomes:
        if each.kind and each.kind != "unfinished":
            counts[each.kind] += 1
            examples.setdefault(each.kind, each.detail)
    return [
        Failure(kind=kind, count=count, example=examples[kind])
        for kind, count in counts.most_common()
    ]


def _energy(good: Sequence[Outcome], made: int, metered_j: Mapping[str, float]) -> EnergyFigures:
    told = [each for each in good if each.energy_j is not None]
    joules = sum(each.energy_j or 0.0 for each in told)
    tokens = made if len(told) == len(good) else sum(map(_tokens, told))
    carbon = [each.carbon_g for each in told if each.carbon_g is not None]
    return EnergyFigures(
        answers_with=len(told),
        energy_j=joules if told else None,
        energy_j_per_request=_frac(joules, len(told)),
        energy_j_per_output_token=_frac(joules, tokens),
        carbon_g=sum(carbon) if carbon else None,
        methods=sorted({each.energy_method for each in told if each.energy_method}),
        metered_j=dict(metered_j),
    )


def _remarks(result: ReplayResult) -> list[str]:
    """What makes the figures other than they look."""
    notes: list[tuple[bool, Callable[[], str]]] = [
        (
            result.late_frac > 0.01,
            lambda: (
                f"the client sent {100 * result.late_frac:.1f} % of its requests more than"
                f" {1000 * LATE_S:g} ms late (the latest {_ms(result.late_s.most)} ms): latencies"
                " contain its own slowness; use a lower rate or another machine"
            ),
        ),
        (
            (result.client_cpu_frac or 0.0) > 0.8,
            lambda: (
                f"the client took {100 * (result.client_cpu_frac or 0.0):.0f} % of a CPU: it may"
                " have been the limit"
            ),
        ),
        (
            result.asked.fixed_lengths and result.other_lengths > 0,
            lambda: (
                f"{result.other_lengths:,} answers were not as long as asked for: the engine does"
                " not follow ignore_eos and min_tokens, or its context was full"
            ),
        ),
        (
            any(failure.kind == "client" for failure in result.failures),
            lambda: "the client's own machine refused connections: raise its limit (ulimit -n)",
        ),
        (
            result.interrupted,
            lambda: (
                f"interrupted: {result.trace.requests - result.total.sent:,} requests were not"
                f" sent, {result.total.unfinished:,} not waited for"
            ),
        ),
    ]
    return [text() for holds, text in notes if holds]


def _ms(value_s: float | None) -> str:
    return "-" if value_s is None else f"{1000 * value_s:,.0f}"


def _frac(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _counts(names: Iterable[str]) -> dict[str, int]:
    """How often each name came, the most frequent first; nothing where none was given."""
    counts: Any = Counter(name for name in names if name)
    return dict(counts.most_common())
