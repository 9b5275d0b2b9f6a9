"""The gateway's configuration as data: what the one YAML file says.

Structs decode strictly (unknown fields are errors); ``gateway_checks`` holds them against each
other. Every field is documented in docs/reference/gateway-config.md.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Engine = Literal["vllm", "sglang", "tensorrt-llm", "llama.cpp", "ollama", "openai", "emulated"]
"""What runs behind a URL: decides the spelling of effort, metrics and sleep. ``openai``: any other
OpenAI-compatible server.
"""

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""The one ladder, least thinking first."""

TOKENS_FACTOR: dict[Effort, float] = {
    "none": 0.154,
    "minimal": 0.25,
    "low": 0.4,
    "medium": 0.7,
    "high": 1.0,
    "xhigh": 1.3,
    "max": 1.6,
}
"""Output tokens of an effort over those of ``high``, where the file does not say: ``none`` and
``low`` as measured and assumed in docs/reference/options.md, the others assumed between and beyond.
"""

Input = Literal["text", "image", "audio"]
Endpoint = Literal["chat", "completions", "responses", "embeddings"]
Scope = Literal["infer", "energy", "admin"]


class ListenEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the gateway listens; TLS where both files are given (PEM)."""

    host: str = "127.0.0.1"
    port: int = 8080
    tls_cert: str | None = None
    tls_key: str | None = None


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that clients may ask for.

    ``name``: as clients say it. ``upstream_name``: as its engines say it (default: ``name``).
    ``efforts``: what of the ladder it can do; empty: effort is not this model's matter.
    ``budgets``: thinking tokens of an effort, where an engine wants a number. ``tokens_factor`` and
    ``right_frac``: output tokens over those of its default effort, and probability of a right
    answer, by effort (``default`` for a request that says nothing).
    """

    name: str
    upstream_name: str | None = None
    efforts: tuple[Effort, ...] = ()
    default_effort: Effort | None = None
    budgets: dict[Effort, int] = {}
    tokens_factor: dict[str, float] = {}
    right_frac: dict[str, float] = {}
    inputs: tuple[Input, ...] = ("text",)
    endpoints: tuple[Endpoint, ...] = (
        "chat",
        "completions",
        "responses",
    )
    tools: bool = True


class ReplicasEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Equal replicas of one model: an engine at each of ``urls``.

    What they cost: ``device`` and ``weights`` (the model as ``baseload predict`` knows it; default:
    the model's upstream name), or a ``replica`` file that ``baseload calibrate`` wrote; with none
    of them a small stand-in that is marked assumed. ``max_queue``: requests that may wait in one
    replica's own queue. ``sleep``: parking through the engine's sleep end-points; off by default.
    """

    model: str
    engine: Engine = "vllm"
    urls: tuple[str, ...] = ()
    count: int | None = None
    api_key: str | None = None
    device: str | None = None
    weights: str | None = None
    tensor_parallel: int = 1
    precision: str | None = None
    replica: str | None = None
    max_batch: int | None = None
    max_step_tokens: int | None = None
    max_context_tokens: int | None = None
    max_queue: int = 64
    sleep: bool = False
    headers: dict[str, str] = {}


class LiveTierEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A promise: deadlines [s], the share that may miss them, who goes first (0), and what the
    gateway does when the fleet is full: ``bulk`` waits, others are refused early.

    ``objectives``: names in GIE's ``inference-objective`` header that mean this tier (its own name
    always does). ``service_tiers``: values of OpenAI's ``service_tier`` that do.
    """

    name: str
    priority: int = 0
    bulk: bool = False
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    target_miss_frac: float = 0.01
    right_usd: float = 0.0
    miss_usd: float = 0.0
    right_floor: float | None = None
    objectives: tuple[str, ...] = ()
    service_tiers: tuple[str, ...] = ()
    max_queue: int = 256
    max_wait_s: float | None = None


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may call: ``hash`` (``sha256:...`` of a random key, made by ``baseload key``) or
    ``value: env:NAME``.
    """

    name: str
    hash: str | None = None
    value: str | None = None
    scopes: tuple[Scope, ...] = (
        "infer",
        "energy",
    )
    models: tuple[str, ...] | None = None
    tier: str | None = None
    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    max_streams: int | None = None


class LimitsEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one request, and all of them together, may take."""

    body_bytes: int = 16 * 1024 * 1024
    header_bytes: int = 64 * 1024
    body_s: float = 30.0
    concurrent_requests: int = 4096
    connect_s: float = 5.0
    first_byte_s: float = 600.0
    idle_s: float = 120.0
    total_s: float = 3600.0
    drain_s: float = 30.0
    line_bytes: int = 4 * 1024 * 1024


class RetriesEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tries beside the first one, only while nothing has been sent to the client."""

    attempts: int = 2
    backoff_s: float = 0.05
    backoff_most_s: float = 1.0


class BreakerEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a replica is left alone: after ``failures`` in a row, for ``open_s``, doubling up to
    ``open_most_s`` each time the trial fails.
    """

    failures: int = 3
    open_s: float = 1.0
    open_most_s: float = 60.0


class HealthEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Probes of ``path`` each ``period_s``; ``failures`` in a row take a replica out, one success
    brings it back. ``metrics_s``: how often engines' own metrics are read (0: never).
    """

    path: str = "/health"
    period_s: float = 5.0
    timeout_s: float = 2.0
    failures: int = 2
    metrics_s: float = 1.0
    metrics_path: str = "/metrics"


READS_PER_S = 40.0
"""Engines' metrics are read at most so often in all: those of a large fleet less often each."""


class TelemetryEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where logs and spans go. ``log``: one line a request, never with the text of a prompt."""

    log: Literal["text", "json", "off"] = "text"
    otlp_endpoint: str | None = None
    spans: bool = False
    decisions_kept: int = 4096


class GatewayConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file. Secrets are ``env:NAME``. ``aliases``: virtual models, each over several
    models; ``auto`` over all that chat is always there. ``supply``: as in a scenario;
    without it a joule costs ``energy_usd_per_kwh`` at any time.
    """

    models: tuple[ModelEntry, ...]
    replicas: tuple[ReplicasEntry, ...]
    listen: ListenEntry = ListenEntry()
    aliases: dict[str, tuple[str, ...]] = {}
    tiers: tuple[LiveTierEntry, ...] = (
        LiveTierEntry(
            name="interactive",
            ttft_s=2.0,
            tpot_s=0.1,
            service_tiers=("auto", "default", "priority"),
        ),
        LiveTierEntry(
            name="bulk",
            priority=1,
            bulk=True,
            e2e_s=900.0,
            service_tiers=("flex",),
            max_queue=4096,
        ),
    )
    keys: tuple[KeyEntry, ...] = ()
    policy: str = "baseload:rate_quality=1"
    energy_usd_per_kwh: float = 0.12
    parking: bool = False
    limits: LimitsEntry = LimitsEntry()
    retries: RetriesEntry = RetriesEntry()
    breaker: BreakerEntry = BreakerEntry()
    health: HealthEntry = HealthEntry()
    telemetry: TelemetryEntry = TelemetryEntry()
    carbon_g_per_kwh: float | None = None
    supply: dict[str, object] | None = None
    seed: int = 0
