"""Every metric that the gateway tells of, as data: names, labels, bounds, and what several worker
processes make of it together. docs/reference/gateway-metrics.md describes each.

Rules: prefix ``baseload_``, base units in the name, counters end in ``_total``; a label takes its
values from the configuration or from a fixed set, never from a client.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from baseload.gateway import events

Kind = Literal["counter", "gauge", "histogram"]
Together = Literal["sum", "min", "max", "mean"]

REASONS: tuple[str, ...] = get_args(events.Reason)
CAUSES: tuple[str, ...] = get_args(events.Cause)
TOKEN_TYPES = ("input", "output", "reasoning", "cached")
ENERGY_KINDS = ("served", "wasted", "idle")
OPERATIONS = {
    "chat": "chat",
    "completions": "text_completion",
    "responses": "chat",
    "embeddings": "embeddings",
}
"""OpenTelemetry's ``gen_ai.operation.name`` of an endpoint."""

DURATIONS_S = tuple(0.01 * 2**step for step in range(19))
"""0.01 doubling; OpenTelemetry's end at 81.92, answers may take an hour."""

GEN_AI_DURATIONS_S = DURATIONS_S[:14]
FIRST_TOKENS_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0),
)
GEN_AI_FIRST_TOKENS_S = FIRST_TOKENS_S[:16]
TOKEN_GAPS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2),
    *(0.3, 0.4, 0.5, 0.75, 1.0, 2.5),
)
GEN_AI_TOKEN_GAPS_S = TOKEN_GAPS_S[3:]
TOKENS = tuple(float(4**step) for step in range(14))
ENERGIES_J = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5)
DECISIONS_S = (5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 5e-3, 0.05)


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric. ``bounds``: upper bounds of a histogram's buckets, the last is infinity's.
    ``together``: what a gauge shows when several workers set it.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    together: Together = "sum"

    @property
    def width(self) -> int:
        """How many numbers one series takes: a histogram's buckets and its sum, else one."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=name, kind="counter", help=text, labels=labels)


def _gauge(name: str, text: str, *labels: str, together: Together) -> Metric:
    return Metric(name=name, kind="gauge", help=text, labels=labels, together=together)


def _histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Metric:
    return Metric(name=name, kind="histogram", help=text, labels=labels, bounds=bounds)


WHO = ("tier", "model", "effort")
REPLICA = ("replica", "model")
GEN_AI = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")

REQUESTS = _counter("baseload_requests_total", "Requests that ended, by how.", *WHO, "reason")
DURATION = _histogram(
    "baseload_request_duration_seconds", "Arrival to end of a request.", DURATIONS_S, *WHO
)
FIRST_TOKEN = _histogram(
    "baseload_time_to_first_token_seconds", "Arrival to first token.", FIRST_TOKENS_S, *WHO
)
TOKEN_GAP = _histogram(
    "baseload_time_per_output_token_seconds",
    "Mean time between the tokens of one answer.",
    TOKEN_GAPS_S,
    *WHO,
)
QUEUE = _histogram(
    "baseload_queue_seconds", "Wait in the gateway's own queue.", FIRST_TOKENS_S, *WHO
)
TOKENS_TOTAL = _counter(
    "baseload_tokens_total", "Tokens; reasoning ones are also output, cached also input.",
    *WHO, "type",
)  # fmt: skip
REQUEST_ENERGY = _histogram(
    "baseload_request_energy_joules", "Modelled energy of one request.", ENERGIES_J, *WHO
)
EXHAUSTED = _counter(
    "baseload_thinking_exhausted_total", "Answers that spent all tokens on thinking.", *WHO
)
MISSES = _counter("baseload_slo_misses_total", "Requests that missed their deadline.", *WHO)
ENERGY = _counter(
    "baseload_energy_joules_total",
    "Modelled energy: of answers, of answers that nobody got, of idle replicas.",
    "kind",
    "model",
)
REFUSED = _counter(
    "baseload_refused_total", "Calls answered with an error before routing.", "status"
)
RETRIES = _counter("baseload_retries_total", "Attempts made again, by what failed.", "cause")
FAILURES = _counter(
    "baseload_attempt_failures_total", "Attempts that failed at a replica.", *REPLICA, "cause"
)
DECISION = _histogram("baseload_decision_seconds", "Time one pick takes.", DECISIONS_S)
OWN_ERRORS = _counter("baseload_own_errors_total", "Faults of the gateway itself.", "kind")
RELOADS = _counter("baseload_config_reload_total", "Reloads of the configuration.", "result")
GENERATION = _gauge(
    "baseload_config_generation", "Configuration that every worker has.", together="min"
)
IN_FLIGHT = _gauge(
    "baseload_requests_in_flight", "Requests taken and not yet ended.", together="sum"
)
QUEUED = _gauge("baseload_queued_requests", "Requests that wait here.", "tier", together="sum")
LATENESS = _gauge(
    "baseload_lateness_weight", "Price of one late request over its joules.", "tier",
    together="mean",
)  # fmt: skip
JOULE_PRICE = _gauge("baseload_joule_price_usd", "Price of one joule now.", together="mean")
POWER = _gauge("baseload_power_watts", "Modelled power of the fleet now.", together="sum")
REPLICA_IN_FLIGHT = _gauge(
    "baseload_replica_in_flight", "Requests of this gateway there.", *REPLICA, together="sum"
)
REPLICA_OPEN = _gauge(
    "baseload_replica_open", "1: requests may be sent there.", *REPLICA, together="min"
)
REPLICA_HEALTHY = _gauge(
    "baseload_replica_healthy", "1: its probes come back good.", *REPLICA, together="min"
)
REPLICA_BREAKER = _gauge(
    "baseload_replica_breaker", "0 closed, 1 on trial, 2 open.", *REPLICA, together="max"
)
REPLICA_PARKED = _gauge(
    "baseload_replica_parked", "1: its engine sleeps.", *REPLICA, together="max"
)
REPLICA_AGE = _gauge(
    "baseload_replica_signal_age_seconds", "Age of what its engine last said of itself.",
    *REPLICA, together="max",
)  # fmt: skip
REPLICA_RUNNING = _gauge(
    "baseload_replica_engine_running", "Requests that run there, by itself.",
    *REPLICA, together="max",
)  # fmt: skip
REPLICA_WAITING = _gauge(
    "baseload_replica_engine_waiting", "Requests that wait there, by itself.",
    *REPLICA, together="max",
)  # fmt: skip
REPLICA_KV = _gauge(
    "baseload_replica_kv_cache_ratio", "Share of its KV cache taken.", *REPLICA, together="max"
)
REPLICA_ENERGY = _gauge(
    "baseload_replica_engine_energy_joules", "Energy counter of the engine itself.",
    *REPLICA, together="max",
)  # fmt: skip
WORKERS = _gauge("baseload_workers", "Worker processes alive.", together="sum")
BUILD = _gauge("baseload_build_info", "1, with the version.", "version", together="max")
CPU = _counter("process_cpu_seconds_total", "CPU time of all workers.")
MEMORY = _gauge("process_resident_memory_bytes", "Resident memory of all workers.", together="sum")
DESCRIPTORS = _gauge("process_open_fds", "Open files of all workers.", together="sum")
STARTED = _gauge(
    "process_start_time_seconds", "Start of the oldest worker, Unix time.", together="min"
)
GEN_AI_DURATION = _histogram(
    "gen_ai_server_request_duration_seconds",
    "OpenTelemetry gen_ai.server.request.duration.",
    GEN_AI_DURATIONS_S,
    *GEN_AI,
    "error_type",
)
GEN_AI_FIRST_TOKEN = _histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "OpenTelemetry gen_ai.server.time_to_first_token.",
    GEN_AI_FIRST_TOKENS_S,
    *GEN_AI,
)
GEN_AI_TOKEN_GAP = _histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "OpenTelemetry gen_ai.server.time_per_output_token.",
    GEN_AI_TOKEN_GAPS_S,
    *GEN_AI,
)
GEN_AI_TOKENS = _histogram(
    "gen_ai_client_token_usage", "OpenTelemetry gen_ai.client.token.usage.", TOKENS, *GEN_AI,
    "gen_ai_token_type",
)  # fmt: skip

METRICS: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
"""All of them, in the order of the page."""

BY_NAME = {metric.name: metric for metric in METRICS}
