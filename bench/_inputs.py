"""Fleets and traces that several speed benches share."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from baseload.base.streams import stream
from baseload.fleet.physics import replica_type
from baseload.simulator.scenario import Group, Scenario, fleet_capacity_per_s
from baseload.sources import builtin_trace
from baseload.workload.chunks import source_of
from baseload.workload.fingerprint import sha256_of
from baseload.workload.load import tokens_per_second
from baseload.workload.trace import Trace, TraceSource
from baseload.workload.transform import multiply, repeat, slice_time

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
MIX = {"A100-SXM4-80GB": 0.5, "H100-SXM-80GB": 0.4, "L4-24GB": 0.1}
"""Share of replicas of each device: the JouleSched proportions."""


def mixed_fleet(replicas: int) -> tuple[Group, ...]:
    """``replicas`` replicas in the proportions of ``MIX``, rounded, the first device the rest."""
    first, *others = MIX
    counts = {device: round(MIX[device] * replicas) for device in others}
    counts = {first: replicas - sum(counts.values())} | counts
    kinds = {device: replica_type(model=MODEL, device=device) for device in counts}
    return tuple(Group(kind=kinds[one], replicas=count) for one, count in counts.items() if count)


def equal_fleet(replicas: int, device: str = "H100-SXM-80GB") -> tuple[Group, ...]:
    """``replicas`` equal replicas."""
    return (Group(kind=replica_type(model=MODEL, device=device), replicas=replicas),)


def azure_piece(span_s: float) -> Trace:
    """The first ``span_s`` seconds of the built-in Azure conversation trace."""
    return slice_time(builtin_trace("azure-chat"), 0.0, span_s)


def loaded_scenario(
    groups: tuple[Group, ...], *, span_s: float, min_requests: int, load_frac: float = 0.5
) -> Scenario:
    """A fleet under a piece of the Azure trace, multiplied to ``load_frac`` of its capacity.

    The load is that of the 95th percentile of one-minute windows, as in a scenario file. The piece
    is repeated until there are ``min_requests``, so that all fleets meet the same load profile;
    requests are streamed.
    """
    piece = azure_piece(span_s)
    load = tokens_per_second(source_of(piece), 60.0).busiest(0.95)
    factor = load_frac * fleet_capacity_per_s(groups, load) / load.requests_per_s
    times = max(1, -(-min_requests // max(1, int(factor * len(piece)))))
    whole = repeat(piece, times) if times > 1 else piece
    return Scenario(
        name=f"azure-{sum(group.replicas for group in groups)}",
        groups=groups,
        requests=lambda seed: multiply(whole, factor, seed=seed),
    )


def poisson_trace(requests: int, rate_per_s: float, *, seed: int = 0) -> Trace:
    """``requests`` Poisson arrivals with lengths resampled from the Azure trace.

    Times are whole milliseconds, so that a Mooncake file holds the very same trace.
    """
    rng = stream(seed, "bench.poisson")
    azure = builtin_trace("azure-chat")
    rows = rng.integers(0, len(azure), requests)
    t_ms = np.floor(np.cumsum(rng.exponential(1000.0 / rate_per_s, requests))).astype(np.int64)
    return msgspec.structs.replace(
        azure,
        name=f"poisson-{rate_per_s:g}",
        t_us=t_ms * 1000,
        input_tokens=azure.input_tokens[rows],
        output_tokens=azure.output_tokens[rows],
        class_code=azure.class_code[rows],
    )


def scenario_of(groups: tuple[Group, ...], trace: Trace) -> Scenario:
    """A fleet under a trace that is held in memory."""
    return Scenario(
        name=trace.name,
        groups=groups,
        requests=lambda _seed: source_of(trace),
    )


def described(groups: tuple[Group, ...]) -> list[dict[str, Any]]:
    """The fleet as a result file names it."""
    return [
        {"device": group.kind.device, "model": group.kind.model, "replicas": group.replicas}
        for group in groups
    ]


def traced(source: Trace | TraceSource) -> dict[str, Any]:
    """The trace as a result file names it, with the hash of its content."""
    count = len(source) if isinstance(source, Trace) else source.requests
    return {
        "name": source.name,
        "sha256": sha256_of(source),
        "requests": count,
        "span_s": source.span_s,
    }
