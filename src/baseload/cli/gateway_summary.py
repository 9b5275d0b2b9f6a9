"""What a good configuration describes, in a few records: for people and for scripts."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from baseload.cli.gateway_file import LoadedConfig
from baseload.fleet.replica_type import ReplicaType
from baseload.fleet.step import cost_table, step
from baseload.gateway.config import Effort, Endpoint, Input, Scope
from baseload.gateway.gateway_checks import notes_of

T = TypeVar("T", bound=msgspec.Struct)

TYPICAL_BATCH = 32
TYPICAL_CONTEXT_TOKENS = 1000


class ModelLine(msgspec.Struct, frozen=True, kw_only=True):
    """One model: what it can do, and how many engines serve it."""

    name: str
    upstream_name: str
    efforts: tuple[Effort, ...]
    inputs: tuple[Input, ...]
    endpoints: tuple[Endpoint, ...]
    tools: bool
    engines: int


class ReplicasLine(msgspec.Struct, frozen=True, kw_only=True):
    """Equal replicas: the type that says what they cost, how its numbers came about, and what an
    output token takes at a typical batch (or the largest it holds).
    """

    model: str
    engine: str
    engines: int
    kind: str
    method: str
    basis: str
    energy_j_per_token: float
    tpot_s: float


class TierLine(msgspec.Struct, frozen=True, kw_only=True):
    """One promise."""

    name: str
    priority: int
    bulk: bool
    ttft_s: float | None
    tpot_s: float | None
    e2e_s: float | None
    objectives: tuple[str, ...]
    service_tiers: tuple[str, ...]


class KeyLine(msgspec.Struct, frozen=True, kw_only=True):
    """One key, without what it is."""

    name: str
    scopes: tuple[Scope, ...]
    models: tuple[str, ...] | None
    tier: str | None
    requests_per_min: int | None
    tokens_per_min: int | None
    max_streams: int | None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of it; ``notes`` are whole sentences on what is allowed but worth a look."""

    host: str
    port: int
    policy: str
    models: list[ModelLine]
    aliases: dict[str, tuple[str, ...]]
    replicas: list[ReplicasLine]
    tiers: list[TierLine]
    keys: list[KeyLine]
    notes: list[str]


def summary_of(loaded: LoadedConfig) -> Summary:
    """What a loaded configuration describes."""
    config = loaded.config
    counts = [len(entry.urls) or entry.count or 1 for entry in config.replicas]
    served = {model.name: 0 for model in config.models}
    for entry, count in zip(config.replicas, counts, strict=True):
        served[entry.model] += count
    return Summary(
        host=config.listen.host,
        port=config.listen.port,
        policy=config.policy,
        models=[
            ModelLine(
                name=model.name,
                upstream_name=model.upstream_name or model.name,
                efforts=model.efforts,
                inputs=model.inputs,
                endpoints=model.endpoints,
                tools=model.tools,
                engines=served[model.name],
            )
            for model in config.models
        ],
        aliases=dict(config.aliases),
        replicas=[
            _replicas_line(entry.model, entry.engine, count, kind)
            for entry, count, kind in zip(config.replicas, counts, loaded.kinds, strict=True)
        ],
        tiers=[_same_fields(tier, TierLine) for tier in config.tiers],
        keys=[_same_fields(key, KeyLine) for key in config.keys],
        notes=[*_assumed(loaded), *notes_of(config), *_supply_notes(loaded)],
    )


def _same_fields(record: msgspec.Struct, kind: type[T]) -> T:
    """Those fields of a record that ``kind`` has."""
    names = kind.__struct_fields__
    return kind(**{name: getattr(record, name) for name in names})


def _replicas_line(model: str, engine: str, count: int, kind: ReplicaType) -> ReplicasLine:
    """What a token takes: one step of a batch, under the power cap."""
    batch = min(TYPICAL_BATCH, kind.max_batch, max(1, kind.kv_tokens // TYPICAL_CONTEXT_TOKENS))
    time_s, energy_j = step(
        cost_table([kind])[0], float(batch), float(batch * TYPICAL_CONTEXT_TOKENS), 0.0
    )
    return ReplicasLine(
        model=model,
        engine=engine,
        engines=count,
        kind=kind.name,
        method=kind.method,
        basis=kind.basis,
        energy_j_per_token=energy_j / batch,
        tpot_s=time_s,
    )


def _assumed(loaded: LoadedConfig) -> list[str]:
    """Which costs nobody has measured."""
    return [
        f"replicas[{at}] ({entry.model}): what it costs is assumed: {kind.basis}. "
        f"{'Measure it' if entry.device else 'Say device and weights, or measure it'} "
        "(docs/how-to/calibrate-a-replica.md)."
        for at, (entry, kind) in enumerate(zip(loaded.config.replicas, loaded.kinds, strict=True))
        if kind.method == "assumed"
    ]


def _supply_notes(loaded: LoadedConfig) -> list[str]:
    """What the reader should know of the site."""
    if loaded.supplied is None:
        return []
    from baseload.cli.scenario_supply import supply_notes

    return supply_notes(loaded.supplied.site)
