"""What the fleet does now, as ``/v1/energy/summary`` gives it and the page at ``/`` shows it.

Made from the metrics of all workers: their sums now, and those of a while ago for rates. Pure.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from baseload.base.version import VERSION
from baseload.gateway import metric_names as names
from baseload.gateway.cells import Labels, Sums
from baseload.gateway.config import GatewayConfig
from baseload.gateway.metric_names import Metric

SCHEMA = "baseload-summary/1"
WINDOW_S = 60.0
"""How far back rates and percentiles look."""

STEP_S = 5.0
"""How far apart the sums are that are kept for that."""

State = Literal["open", "trial", "broken", "sick", "parked", "closed"]


_RATED = frozenset(
    metric.name
    for metric in (
        names.REQUESTS,
        names.TOKENS_TOTAL,
        names.ENERGY,
        names.MISSES,
        names.FIRST_TOKEN,
        names.TOKEN_GAP,
    )
)
"""Metrics whose rise is looked at."""

Table = dict[str, dict[Labels, list[float]]]
"""Series by metric and labels."""


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Since the start. ``reasons``: requests by how they ended. ``refused``: calls that did not
    reach routing. Energy [J] is modelled: of answers, of answers that nobody got, of idle replicas.
    """

    requests: int
    reasons: dict[str, int]
    refused: int
    retries: int
    missed: int
    exhausted: int
    input_tokens: int
    output_tokens: int
    served_j: float
    wasted_j: float
    idle_j: float
    own_errors: int


class Recent(msgspec.Struct, frozen=True, kw_only=True):
    """Over the last ``window_s``; null where nothing happened that could be measured.

    ``request_power_w``: modelled energy of requests that ended, over time. ``fleet_power_w``: of
    the whole fleet, idle replicas included, where the gateway knows it.
    """

    window_s: float
    requests_per_s: float | None = None
    output_tokens_per_s: float | None = None
    request_power_w: float | None = None
    fleet_power_w: float | None = None
    energy_j_per_request: float | None = None
    energy_j_per_output_token: float | None = None
    miss_frac: float | None = None
    in_flight: int = 0
    queued: int = 0


class TierSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A tier: since the start ``requests`` and ``missed``; the rest over the window. Percentiles
    are read off histograms and as fine as their buckets.
    """

    name: str
    requests: int
    missed: int
    queued: int = 0
    lateness_weight: float | None = None
    deadline_ttft_s: float | None = None
    requests_per_s: float | None = None
    ttft_s_p50: float | None = None
    ttft_s_p95: float | None = None
    tpot_s_p50: float | None = None
    tpot_s_p95: float | None = None


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A model since the start; energy [J] modelled, wasted included."""

    name: str
    requests: int
    output_tokens: int
    energy_j: float
    energy_j_per_output_token: float | None = None


class ReplicaSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A replica now. ``state``: open, or why not. What its engine says of itself is null where it
    says nothing; ``signal_age_s``: how old that is.
    """

    name: str
    model: str
    state: State
    in_flight: int
    healthy: bool
    signal_age_s: float | None = None
    running: float | None = None
    waiting: float | None = None
    kv_frac: float | None = None


class RecentDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A request that ended; ``/v1/energy/decisions/{id}`` explains it."""

    id: str
    tier: str
    model: str
    reason: str
    effort: str | None = None
    replica: str | None = None
    age_s: float | None = None
    total_s: float | None = None
    output_tokens: int | None = None
    energy_j: float | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole. ``at_s``: Unix time. ``price_usd_per_j``: of a joule now. ``method``: where the
    energies come from.
    """

    object: str = "energy.summary"
    schema: str = SCHEMA
    version: str = VERSION
    method: str = "modelled"
    at_s: float
    policy: str
    workers: int
    config_generation: int
    price_usd_per_j: float | None
    totals: Totals
    recent: Recent
    tiers: list[TierSummary]
    models: list[ModelSummary]
    replicas: list[ReplicaSummary]
    decisions: list[RecentDecision]


class SummaryWindow:
    """Keeps sums of the last minute, so that rates are of now and not since the start.
    ``begun_s``: since when things are counted, on the clock of ``clock_s``; the first answer looks
    back to then.
    """

    def __init__(self, *, begun_s: float | None = None, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._kept: deque[tuple[float, Sums]] = deque([] if begun_s is None else [(begun_s, {})])
        self._last: Summary | None = None
        self._last_s = -math.inf

    def answer(
        self,
        sums: Callable[[], Sums],
        config: GatewayConfig,
        *,
        at_s: float,
        clock_s: float,
        decisions: Sequence[RecentDecision] = (),
    ) -> bytes:
        """The summary as JSON, made at most once a second however many pages are open; its
        decisions are those of whoever asks.
        """
        if self._last is None or clock_s - self._last_s >= 1.0:
            self._last = self.summary(sums(), config, at_s=at_s, clock_s=clock_s)
            self._last_s = clock_s
        return msgspec.json.encode(msgspec.structs.replace(self._last, decisions=list(decisions)))

    def summary(
        self,
        sums: Sums,
        config: GatewayConfig,
        *,
        at_s: float,
        clock_s: float,
        decisions: Sequence[RecentDecision] = (),
    ) -> Summary:
        """The summary of ``sums``, as they are at ``clock_s`` (a clock that never goes back)."""
        kept = self._kept
        while len(kept) > 1 and kept[1][0] <= clock_s - self._window_s:
            kept.popleft()
        before, span_s = (kept[0][1], clock_s - kept[0][0]) if kept else ({}, 0.0)
        if not kept or clock_s - kept[-1][0] >= STEP_S:
            kept.append((clock_s, sums))
        return summarise(sums, before, config, span_s=span_s, at_s=at_s, decisions=list(decisions))


def summarise(
    sums: Sums,
    before: Sums,
    config: GatewayConfig,
    *,
    span_s: float,
    at_s: float,
    decisions: list[RecentDecision],
) -> Summary:
    """The summary of ``sums``; rates against those ``before``, ``span_s`` earlier (0: there
    are none).
    """
    now = by_metric(sums)
    change = by_metric(_change(sums, before) if span_s > 0.0 else {})
    return Summary(
        at_s=at_s,
        policy=config.policy,
        workers=int(_gauge(now, names.WORKERS) or 1),
        config_generation=int(_gauge(now, names.GENERATION) or 1),
        price_usd_per_j=_gauge(now, names.JOULE_PRICE),
        totals=_totals(now),
        recent=_recent(now, change, span_s),
        tiers=[
            TierSummary(
                name=tier.name,
                requests=int(_total(now, names.REQUESTS, tier=tier.name)),
                missed=int(_total(now, names.MISSES, tier=tier.name)),
                queued=int(_gauge(now, names.QUEUED, tier.name) or 0),
                lateness_weight=_gauge(now, names.LATENESS, tier.name),
                deadline_ttft_s=tier.ttft_s,
                requests_per_s=_rate(_total(change, names.REQUESTS, tier=tier.name), span_s),
                ttft_s_p50=quantile(change, names.FIRST_TOKEN, 0.5, tier=tier.name),
                ttft_s_p95=quantile(change, names.FIRST_TOKEN, 0.95, tier=tier.name),
                tpot_s_p50=quantile(change, names.TOKEN_GAP, 0.5, tier=tier.name),
                tpot_s_p95=quantile(change, names.TOKEN_GAP, 0.95, tier=tier.name),
            )
            for tier in config.tiers
        ],
        models=[_model(now, model.name) for model in config.models],
        replicas=_replicas(now),
        decisions=decisions,
    )


def by_metric(sums: Sums) -> Table:
    """The series of each metric by itself."""
    table: Table = {}
    for (name, labels), values in sums.items():
        table.setdefault(name, {})[labels] = values
    return table


def _change(now: Sums, before: Sums) -> Sums:
    """By how much the counters and histograms in ``_RATED`` rose; one that fell began anew."""
    change: Sums = {}
    for key, values in now.items():
        if key[0] not in _RATED:
            continue
        old = before.get(key)
        if old is None or any(new < was for new, was in zip(values, old, strict=True)):
            change[key] = values
        else:
            change[key] = [new - was for new, was in zip(values, old, strict=True)]
    return change


def _totals(now: Table) -> Totals:
    reasons = {reason: int(_total(now, names.REQUESTS, reason=reason)) for reason in names.REASONS}
    return Totals(
        requests=sum(reasons.values()),
        reasons={reason: count for reason, count in reasons.items() if count},
        refused=int(_total(now, names.REFUSED)),
        retries=int(_total(now, names.RETRIES)),
        missed=int(_total(now, names.MISSES)),
        exhausted=int(_total(now, names.EXHAUSTED)),
        input_tokens=int(_total(now, names.TOKENS_TOTAL, type="input")),
        output_tokens=int(_total(now, names.TOKENS_TOTAL, type="output")),
        served_j=_total(now, names.ENERGY, kind="served"),
        wasted_j=_total(now, names.ENERGY, kind="wasted"),
        idle_j=_total(now, names.ENERGY, kind="idle"),
        own_errors=int(_total(now, names.OWN_ERRORS)),
    )


def _recent(now: Table, change: Table, span_s: float) -> Recent:
    requests = _total(change, names.REQUESTS)
    tokens = _total(change, names.TOKENS_TOTAL, type="output")
    spent_j = sum(_total(change, names.ENERGY, kind=kind) for kind in ("served", "wasted"))
    queued = [values[0] for _, values in _series(now, names.QUEUED).items()]
    return Recent(
        window_s=span_s,
        requests_per_s=_rate(requests, span_s),
        output_tokens_per_s=_rate(tokens, span_s),
        request_power_w=_rate(spent_j, span_s),
        fleet_power_w=_gauge(now, names.POWER),
        energy_j_per_request=_ratio(spent_j, requests),
        energy_j_per_output_token=_ratio(spent_j, tokens),
        miss_frac=_ratio(_total(change, names.MISSES), requests),
        in_flight=int(_gauge(now, names.IN_FLIGHT) or 0),
        queued=int(sum(queued)),
    )


def _model(now: Table, name: str) -> ModelSummary:
    energy_j = sum(
        _total(now, names.ENERGY, model=name, kind=kind) for kind in ("served", "wasted")
    )
    tokens = _total(now, names.TOKENS_TOTAL, model=name, type="output")
    return ModelSummary(
        name=name,
        requests=int(_total(now, names.REQUESTS, model=name)),
        output_tokens=int(tokens),
        energy_j=energy_j,
        energy_j_per_output_token=_ratio(energy_j, tokens),
    )


def _replicas(now: Table) -> list[ReplicaSummary]:
    """The replicas that are shown, as gauges tell of them."""
    found = []
    for labels, values in _series(now, names.REPLICA_OPEN).items():
        name, model = labels
        healthy = bool(_gauge(now, names.REPLICA_HEALTHY, *labels))
        in_flight = _gauge(now, names.REPLICA_IN_FLIGHT, *labels)
        found.append(
            ReplicaSummary(
                name=name,
                model=model,
                state=_state(now, labels, is_open=bool(values[0]), healthy=healthy),
                in_flight=int(in_flight or 0),
                healthy=healthy,
                signal_age_s=_gauge(now, names.REPLICA_AGE, *labels),
                running=_gauge(now, names.REPLICA_RUNNING, *labels),
                waiting=_gauge(now, names.REPLICA_WAITING, *labels),
                kv_frac=_gauge(now, names.REPLICA_KV, *labels),
            )
        )
    return found


def _state(now: Table, labels: Labels, *, is_open: bool, healthy: bool) -> State:
    """Open, or the first of the reasons why not."""
    breaker = _gauge(now, names.REPLICA_BREAKER, *labels) or 0.0
    if _gauge(now, names.REPLICA_PARKED, *labels):
        return "parked"
    if not healthy:
        return "sick"
    if breaker:
        return "trial" if breaker == 1.0 else "broken"
    return "open" if is_open else "closed"


def _series(table: Table, metric: Metric) -> dict[Labels, list[float]]:
    return table.get(metric.name, {})


def _matching(table: Table, metric: Metric, labels: dict[str, str]) -> list[list[float]]:
    """The cells of all series of a metric that have these labels."""
    wanted = [(metric.labels.index(name), value) for name, value in labels.items()]
    return [
        values
        for found, values in _series(table, metric).items()
        if all(found[place] == value for place, value in wanted)
    ]


def _total(table: Table, metric: Metric, **labels: str) -> float:
    """A counter over all its series that have these labels."""
    return math.fsum(values[0] for values in _matching(table, metric, labels))


def _gauge(table: Table, metric: Metric, *labels: str) -> float | None:
    values = _series(table, metric).get(labels)
    return None if values is None or math.isnan(values[0]) else values[0]


def _rate(total: float, span_s: float) -> float | None:
    return total / span_s if span_s > 0.0 else None


def _ratio(total: float, count: float) -> float | None:
    return total / count if count > 0.0 else None


def quantile(table: Table, metric: Metric, frac: float, **labels: str) -> float | None:
    """The value below which ``frac`` of what a histogram counted lies, interpolated in its bucket;
    of the last, which has no end, its beginning. ``None`` where nothing was counted.
    """
    buckets = [0.0] * (len(metric.bounds) + 1)
    for values in _matching(table, metric, labels):
        buckets = [a + b for a, b in zip(buckets, values[:-1], strict=True)]
    count = sum(buckets)
    if count <= 0.0:
        return None
    rank, below, low = frac * count, 0.0, 0.0
    for bound, inside in zip(metric.bounds, buckets, strict=False):
        if inside > 0.0 and below + inside >= rank:
            return low + (bound - low) * (rank - below) / inside
        below, low = below + inside, bound
    return metric.bounds[-1]
