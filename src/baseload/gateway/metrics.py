"""What the gateway counts of itself, and the page at ``/metrics``.

One closed request costs a few microseconds: its series are found once, after that counting is
adding to cells (``cells``). With several workers, whichever is asked answers for all.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

import msgspec

from baseload.base.version import VERSION
from baseload.gateway import events
from baseload.gateway import metric_names as names
from baseload.gateway.cells import Cells, Labels, Sums, read_folder, together
from baseload.gateway.config import EFFORTS, GatewayConfig
from baseload.gateway.metric_names import Metric
from baseload.gateway.metrics_text import OPEN_TYPE, TEXT_TYPE, MetricsText, wants_openmetrics

OTHER = "other"
"""Label of what the configuration does not name."""

DEFAULT_EFFORT = "default"
"""Label of a request whose effort is its model's own."""

PROVIDER = "baseload"
MOST_ERROR_KINDS = 64
_STATUSES = frozenset(range(400, 600))
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class ReplicaState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A replica as the page shows it. ``breaker``: 0 closed, 1 on trial, 2 open. What its engine
    says of itself is -1 (nan: its age) where it says nothing.
    """

    name: str
    model: str
    in_flight: int = 0
    open: bool = True
    healthy: bool = True
    breaker: int = 0
    parked: bool = False
    signal_age_s: float = math.nan
    running: float = -1.0
    waiting: float = -1.0
    kv_frac: float = -1.0
    engine_energy_j: float = -1.0


class TierState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A tier: requests that wait in its queue, and the weight of its lateness in the price."""

    name: str
    queued: int = 0
    lateness_weight: float = math.nan


_REPLICA_GAUGES = (
    names.REPLICA_IN_FLIGHT,
    names.REPLICA_OPEN,
    names.REPLICA_HEALTHY,
    names.REPLICA_BREAKER,
    names.REPLICA_PARKED,
    names.REPLICA_AGE,
    names.REPLICA_RUNNING,
    names.REPLICA_WAITING,
    names.REPLICA_KV,
    names.REPLICA_ENERGY,
)


class _Series(msgspec.Struct, frozen=True, kw_only=True):
    """Where the numbers of one tier, model and effort lie."""

    reasons: dict[str, int]
    tokens: tuple[int, ...]
    duration: int
    first_token: int
    token_gap: int
    queue: int
    energy: int
    exhausted: int
    misses: int
    served: int
    wasted: int


class _GenAi(msgspec.Struct, frozen=True, kw_only=True):
    """Where the numbers of one operation and model lie, under OpenTelemetry's names."""

    durations: dict[str, int]
    first_token: int
    token_gap: int
    input_tokens: int
    output_tokens: int


class GatewayMetrics:
    """The metrics of one worker. ``multiprocess_dir``: the folder that all workers share, made
    empty by the server (``cells.clear_folder``) before it starts them. Raises ``BadInputError``
    where it cannot be written.
    """

    def __init__(
        self, config: GatewayConfig, *, multiprocess_dir: Path | str | None = None
    ) -> None:
        self._folder = None if multiprocess_dir is None else Path(multiprocess_dir)
        self._cells = Cells(self._folder)
        self._values: memoryview[float] = self._cells.values
        self._text = MetricsText()
        self._series: dict[tuple[str, str, str], _Series] = {}
        self._gen_ai: dict[tuple[str, str], _GenAi] = {}
        self._replicas: dict[tuple[str, str], tuple[int, ...]] = {}
        self._error_kinds: set[str] = set()
        self._decision = self._place(names.DECISION)
        self._generation = 1
        self.configured(config)
        self._set(names.GENERATION, 1.0)
        self._set(names.WORKERS, 1.0)
        self._set(names.BUILD, 1.0, VERSION)
        with contextlib.suppress(OSError, ValueError, IndexError):
            self._set(names.STARTED, _started_s())
        for result in ("ok", "failed"):
            self._place(names.RELOADS, result)

    def configured(self, config: GatewayConfig) -> None:
        """Take the names of a new configuration as those that labels may have."""
        self._tiers = frozenset(tier.name for tier in config.tiers)
        self._models = frozenset(
            {"auto", *config.aliases, *(model.name for model in config.models)}
        )
        self._efforts = frozenset({DEFAULT_EFFORT, *EFFORTS})
        self._series.clear()
        self._gen_ai.clear()

    def _place(self, metric: Metric, *labels: str) -> int:
        """Where a series lies."""
        return self._cells.at(metric, labels)

    def _set(self, metric: Metric, value: float, *labels: str) -> None:
        self._values[self._place(metric, *labels)] = value

    def closed(
        self,
        command: events.Close,
        *,
        tier: str,
        model: str,
        effort: str | None,
        input_tokens: int = -1,
        output_tokens: int = -1,
        reasoning_tokens: int = -1,
        cached_tokens: int = -1,
        exhausted: bool = False,
        endpoint: str = "chat",
    ) -> None:
        """Count a request that has ended. ``model``: that answered, else that was asked for.
        ``effort``: as applied, None for the model's own. Tokens below 0 are not known.
        """
        key = (tier, model, effort or DEFAULT_EFFORT)
        at = self._series.get(key) or self._new_series(key)
        values = self._values
        if output_tokens < 0:
            output_tokens = command.output_tokens
        reason = command.reason
        answered = reason == "answered"
        total_s = command.total_s
        values[at.reasons[reason]] += 1.0
        _observe(values, at.duration, names.DURATIONS_S, total_s)
        _observe(values, at.queue, names.FIRST_TOKENS_S, command.queued_s)
        if command.ttft_s == command.ttft_s:
            _observe(values, at.first_token, names.FIRST_TOKENS_S, command.ttft_s)
        gap_s = -1.0
        if answered and output_tokens > 1 and command.ttft_s == command.ttft_s:
            gap_s = max(0.0, total_s - command.ttft_s) / (output_tokens - 1)
            _observe(values, at.token_gap, names.TOKEN_GAPS_S, gap_s)
        counts = (input_tokens, output_tokens, reasoning_tokens, cached_tokens)
        for place, count in zip(at.tokens, counts, strict=True):
            if count > 0:
                values[place] += count
        if command.attempts:
            energy_j, wasted_j = command.energy_j, command.wasted_j
            _observe(values, at.energy, names.ENERGIES_J, energy_j)
            values[at.served] += energy_j - wasted_j
            if wasted_j:
                values[at.wasted] += wasted_j
        if exhausted:
            values[at.exhausted] += 1.0
        if command.missed:
            values[at.misses] += 1.0
        self._count_gen_ai(command, model, endpoint, gap_s, input_tokens, output_tokens)

    def _count_gen_ai(
        self,
        command: events.Close,
        model: str,
        endpoint: str,
        gap_s: float,
        input_tokens: int,
        output_tokens: int,
    ) -> None:
        at = self._gen_ai.get((endpoint, model)) or self._new_gen_ai(endpoint, model)
        values = self._values
        place = at.durations[command.reason]
        _observe(values, place, names.GEN_AI_DURATIONS_S, command.total_s)
        if command.ttft_s == command.ttft_s:
            _observe(values, at.first_token, names.GEN_AI_FIRST_TOKENS_S, command.ttft_s)
        if gap_s >= 0.0:
            _observe(values, at.token_gap, names.GEN_AI_TOKEN_GAPS_S, gap_s)
        if input_tokens >= 0:
            _observe(values, at.input_tokens, names.TOKENS, input_tokens)
        if output_tokens > 0:
            _observe(values, at.output_tokens, names.TOKENS, output_tokens)

    def _new_series(self, key: tuple[str, str, str]) -> _Series:
        """The series of a tier, model and effort; names that are not configured become one."""
        tier, model, effort = key
        who = (
            tier if tier in self._tiers else OTHER,
            model if model in self._models else OTHER,
            effort if effort in self._efforts else OTHER,
        )
        found = self._series.get(who)
        if found is None:
            found = self._series[who] = _Series(
                reasons={
                    reason: self._place(names.REQUESTS, *who, reason) for reason in names.REASONS
                },
                tokens=tuple(
                    self._place(names.TOKENS_TOTAL, *who, kind) for kind in names.TOKEN_TYPES
                ),
                duration=self._place(names.DURATION, *who),
                first_token=self._place(names.FIRST_TOKEN, *who),
                token_gap=self._place(names.TOKEN_GAP, *who),
                queue=self._place(names.QUEUE, *who),
                energy=self._place(names.REQUEST_ENERGY, *who),
                exhausted=self._place(names.EXHAUSTED, *who),
                misses=self._place(names.MISSES, *who),
                served=self._place(names.ENERGY, "served", who[1]),
                wasted=self._place(names.ENERGY, "wasted", who[1]),
            )
        return found

    def _new_gen_ai(self, endpoint: str, model: str) -> _GenAi:
        known = (
            endpoint if endpoint in names.OPERATIONS else "chat",
            model if model in self._models else OTHER,
        )
        found = self._gen_ai.get(known)
        if found is None:
            who = (names.OPERATIONS[known[0]], PROVIDER, known[1])
            found = self._gen_ai[known] = _GenAi(
                durations=self._durations(who),
                first_token=self._place(names.GEN_AI_FIRST_TOKEN, *who),
                token_gap=self._place(names.GEN_AI_TOKEN_GAP, *who),
                input_tokens=self._place(names.GEN_AI_TOKENS, *who, "input"),
                output_tokens=self._place(names.GEN_AI_TOKENS, *who, "output"),
            )
        return found

    def _durations(self, who: Labels) -> dict[str, int]:
        return {
            reason: self._place(names.GEN_AI_DURATION, *who, "" if reason == "answered" else reason)
            for reason in names.REASONS
        }

    def refused(self, status: int) -> None:
        """Count a call that was answered with an error before it reached routing."""
        label = str(status) if status in _STATUSES else OTHER
        self._values[self._place(names.REFUSED, label)] += 1.0

    def retried(self, cause: events.Cause) -> None:
        """Count an attempt that is made again because of ``cause``."""
        self._values[self._place(names.RETRIES, cause)] += 1.0

    def failed(self, replica: str, model: str, cause: events.Cause) -> None:
        """Count an attempt that failed at a replica."""
        self._values[self._place(names.FAILURES, replica, model, cause)] += 1.0

    def decided(self, duration_s: float) -> None:
        """Count one pick."""
        _observe(self._values, self._decision, names.DECISIONS_S, duration_s)

    def reloaded(self, ok: bool, *, generation: int | None = None) -> None:
        """Count a reload of the configuration. ``generation``: number of the one now in force;
        left out, one more than before if it went well.
        """
        self._values[self._place(names.RELOADS, "ok" if ok else "failed")] += 1.0
        self._generation = self._generation + ok if generation is None else generation
        self._set(names.GENERATION, float(self._generation))

    def own_error(self, kind: str) -> None:
        """Count a fault of our own, by a short word of ours; at most 64 words."""
        if kind not in self._error_kinds:
            if len(self._error_kinds) >= MOST_ERROR_KINDS:
                kind = OTHER
            self._error_kinds.add(kind)
        self._values[self._place(names.OWN_ERRORS, kind)] += 1.0

    def idle(self, model: str, energy_j: float) -> None:
        """Add modelled energy of replicas that had nothing to do. One worker tells it for all."""
        label = model if model in self._models else OTHER
        self._values[self._place(names.ENERGY, "idle", label)] += energy_j

    def replicas(self, states: Iterable[ReplicaState]) -> None:
        """Show these replicas, and no longer those that are not among them."""
        values = self._values
        gone = dict(self._replicas)
        for state in states:
            key = (state.name, state.model)
            places = self._replicas.get(key)
            if places is None:
                places = tuple(self._place(metric, *key) for metric in _REPLICA_GAUGES)
                self._replicas[key] = places
            gone.pop(key, None)
            shown = (
                state.in_flight,
                state.open,
                state.healthy,
                state.breaker,
                state.parked,
                state.signal_age_s,
                _said(state.running),
                _said(state.waiting),
                _said(state.kv_frac),
                _said(state.engine_energy_j),
            )
            for place, value in zip(places, shown, strict=True):
                values[place] = value
        for places in gone.values():
            for place in places:
                values[place] = math.nan

    def tiers(self, states: Iterable[TierState]) -> None:
        """Show queue and lateness weight of each tier."""
        for state in states:
            if state.name in self._tiers:
                self._set(names.QUEUED, float(state.queued), state.name)
                self._set(names.LATENESS, state.lateness_weight, state.name)

    def fleet(
        self,
        *,
        in_flight: int,
        power_w: float = math.nan,
        joule_price_usd: float = math.nan,
    ) -> None:
        """Show what holds for the whole: requests in work here, modelled power [W], and the price
        of a joule [USD/J]; nan where it is not known.
        """
        self._set(names.IN_FLIGHT, float(in_flight))
        self._set(names.POWER, power_w)
        self._set(names.JOULE_PRICE, joule_price_usd)

    def sample_process(self) -> None:
        """Read CPU time, memory and open files of this process; of a worker, call it now and then,
        so that the page of another worker shows it.
        """
        spent = os.times()
        self._set(names.CPU, spent.user + spent.system)
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = Path("/proc/self/statm").read_text().split()[1]
            self._set(names.MEMORY, float(pages) * _PAGE_BYTES)
            self._set(names.DESCRIPTORS, float(len(os.listdir("/proc/self/fd"))))

    def metrics_page(self, accept: str = "") -> tuple[str, bytes]:
        """The page and its content type, as an ``Accept`` header asks for it."""
        self.sample_process()
        if self._cells.refused:
            self._set(names.OWN_ERRORS, float(self._cells.refused), "metrics_full")
        openmetrics = wants_openmetrics(accept)
        page = self._text.page(self.sums(), openmetrics=openmetrics)
        return (OPEN_TYPE if openmetrics else TEXT_TYPE), page

    def sums(self) -> Sums:
        """Every series of all workers together."""
        if self._folder is None:
            return together([(True, self._cells.sums())])
        return together(read_folder(self._folder, own=self._cells))

    def close(self) -> None:
        """Give the memory back; what was counted stays in the workers' folder."""
        self._values = memoryview(bytearray(8)).cast("d")
        self._cells.close()


def _observe(values: memoryview[float], at: int, bounds: tuple[float, ...], amount: float) -> None:
    """Count ``amount`` in its bucket of the histogram at ``at``, and in its sum."""
    values[at + bisect_left(bounds, amount)] += 1.0
    values[at + len(bounds) + 1] += amount


def _said(value: float) -> float:
    return math.nan if value < 0.0 else value


def _started_s() -> float:
    """When this process started [s of Unix time]."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    ticks = float(after_name[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / _TICKS
