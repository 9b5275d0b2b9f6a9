"""A scenario file: one YAML (or JSON), read strictly, and turned into a ``Scenario``.

Every field is documented in docs/reference/scenario.md; a mistake is reported with the path of the
offending field.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

import msgspec

from baseload.base.errors import BadInputError, unknown_name
from baseload.fleet.physics import replica_type
from baseload.fleet.replica_type import ReplicaType
from baseload.simulator.scenario import Group, Scenario, fleet_capacity_per_s
from baseload.sources import BUILTIN_TRACES, builtin_trace, load_trace
from baseload.sources.replicas import read_replica
from baseload.workload import generator
from baseload.workload.chunks import source_of
from baseload.workload.load import tokens_per_second
from baseload.workload.tiers import DEFAULT_TIERS, Tier
from baseload.workload.trace import Trace, TraceSource
from baseload.workload.transform import multiply, slice_time, vary


class GenerateEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A generated trace: how many requests (or which mean rate), for how long, in which mix of
    classes.
    """

    requests: float | None = None
    mean_rate_per_s: float | None = None
    span_s: float = 86_400.0
    start_hour: float = 0.0
    mix: dict[str, float] | None = None


class TraceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where requests come from, and what is done to them.

    One of ``builtin``, ``file``, ``generate``. ``multiply`` or ``load_frac`` (multiply to that
    share of the fleet's capacity in the busiest minutes); ``start_s``, ``stop_s`` cut the trace
    before.
    """

    builtin: str | None = None
    file: str | None = None
    generate: GenerateEntry | None = None
    format: str | None = None
    class_name: str = "chat"
    start_s: float | None = None
    stop_s: float | None = None
    multiply: float | None = None
    load_frac: float | None = None
    jitter_s: float = 5.0


class FleetEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Equal replicas: a device and a model (modelled), or a ``replica`` file (calibrated)."""

    replicas: int
    device: str | None = None
    model: str | None = None
    replica: str | None = None
    tensor_parallel: int = 1
    precision: str | None = None
    engine: str | None = None
    name: str | None = None
    max_batch: int | None = None
    max_step_tokens: int | None = None
    max_context_tokens: int | None = None
    power_cap_w: float | None = None
    park_after_s: float | None = None
    off_after_s: float | None = None


class ScenarioFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scenario as written in a file."""

    fleet: list[FleetEntry]
    trace: TraceEntry
    name: str | None = None
    tiers: list[Tier] | None = None
    carbon_g_per_kwh: float | None = None
    max_queue: int = 1024
    policies: list[str] = []


def builtin_scenarios() -> dict[str, str]:
    """The text of every built-in scenario file, by name."""
    folder = resources.files("baseload.cli") / "scenarios"
    return {
        item.name.removesuffix(".yaml"): item.read_text()
        for item in sorted(folder.iterdir(), key=lambda i: i.name)
    }


def load_scenario(name_or_path: str, *, load_frac: float | None = None) -> Scenario:
    """The scenario of a built-in name or a file. ``load_frac`` overrides the load.

    Raises ``UnknownNameError`` for a name that is neither, ``BadInputError`` with the path of the
    offending field.
    """
    builtin = builtin_scenarios()
    if name_or_path in builtin:
        return _build(_decode(builtin[name_or_path], name_or_path), Path(), name_or_path, load_frac)
    path = Path(name_or_path)
    if not path.is_file():
        if path.suffix in (".yaml", ".yml", ".json"):
            raise BadInputError(
                f"scenario file {path}", found="no such file", todo="check the path"
            )
        raise unknown_name(
            "scenario", name_or_path, builtin, todo="give a built-in name or a YAML file"
        )
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"scenario file {path}", found=str(error), allowed="a YAML file in UTF-8"
        ) from error
    return _build(_decode(text, str(path)), path.parent, path.stem, load_frac)


def _decode(text: str, where: str) -> ScenarioFile:
    """The file's content, checked against the schema."""
    try:
        return msgspec.yaml.decode(text, type=ScenarioFile)
    except BadInputError:
        raise
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        cause = error.__cause__
        found = str(cause) if isinstance(cause, BadInputError) else str(error)
        raise BadInputError(
            f"scenario {where} cannot be read", found=found, todo="see docs/reference/scenario.md"
        ) from error
    except Exception as error:  # the YAML library's own errors share no base that msgspec exports
        raise BadInputError(
            f"scenario {where} is no YAML", found=str(error).replace("\n", " ")
        ) from error


def _build(file: ScenarioFile, folder: Path, name: str, load_frac: float | None) -> Scenario:
    """The scenario that a file describes; paths in it count from the file's folder."""
    groups = tuple(_group(entry, folder, at) for at, entry in enumerate(file.fleet))
    entry = file.trace
    if load_frac is not None:
        entry = msgspec.structs.replace(entry, load_frac=load_frac, multiply=None)
    requests, notes = _requests(entry, folder, groups)
    return Scenario(
        name=file.name or name,
        groups=groups,
        requests=requests,
        tiers=DEFAULT_TIERS if file.tiers is None else tuple(file.tiers),
        carbon_g_per_kwh=_at_least(file.carbon_g_per_kwh, "$.carbon_g_per_kwh", 0.0),
        max_queue=int(_at_least(file.max_queue, "$.max_queue", 0) or 0),
        policies=tuple(file.policies),
        notes=tuple(notes),
    )


def _at_least(value: float | None, path: str, low: float) -> float | None:
    """``value``, if it is a number from ``low`` up (or nothing)."""
    if value is not None and not (low <= value < float("inf")):
        raise BadInputError(
            f"scenario field {path}", found=repr(value), allowed=f"a finite number >= {low:g}"
        )
    return value


def _group(entry: FleetEntry, folder: Path, at: int) -> Group:
    """One entry of the fleet."""
    path = f"$.fleet[{at}]"
    if (entry.replica is None) == (entry.device is None or entry.model is None):
        raise BadInputError(
            f"scenario field {path}",
            found="replica and device" if entry.replica else "neither replica nor device and model",
            allowed="either a replica file, or a device and a model",
        )
    kind = read_replica(folder / entry.replica) if entry.replica else _modelled(entry)
    return Group(
        kind=kind,
        replicas=entry.replicas,
        park_after_s=_at_least(entry.park_after_s, f"{path}.park_after_s", 0.0),
        off_after_s=_at_least(entry.off_after_s, f"{path}.off_after_s", 0.0),
    )


def _modelled(entry: FleetEntry) -> ReplicaType:
    """The replica type of a device and a model, by the physics of the fleet room."""
    given = {
        key: getattr(entry, key)
        for key in (
            "precision",
            "engine",
            "name",
            "max_batch",
            "max_step_tokens",
            "max_context_tokens",
            "power_cap_w",
        )
        if getattr(entry, key) is not None
    }
    assert entry.device is not None
    assert entry.model is not None
    return replica_type(
        model=entry.model, device=entry.device, tensor_parallel=entry.tensor_parallel, **given
    )


def _requests(
    entry: TraceEntry, folder: Path, groups: tuple[Group, ...]
) -> tuple[Callable[[int], TraceSource], list[str]]:
    """The trace of each seed, and what was noticed when it was read."""
    given = [name for name in ("builtin", "file", "generate") if getattr(entry, name) is not None]
    if len(given) != 1:
        raise BadInputError(
            "scenario field $.trace",
            found=", ".join(given) or "no source",
            allowed="one of builtin, file, generate",
        )
    if entry.multiply is not None and entry.load_frac is not None:
        raise BadInputError(
            "scenario field $.trace", found="multiply and load_frac", allowed="one of them"
        )
    if entry.generate is not None:
        return _generated(entry.generate, entry, groups), []
    trace, notes = _recorded(entry, folder)
    factor = entry.multiply or 1.0
    if entry.load_frac is not None:
        factor = _factor_for(entry.load_frac, source_of(trace), groups)

    def of_seed(seed: int) -> TraceSource:
        if factor != 1.0:
            return multiply(trace, factor, seed=seed, jitter_s=entry.jitter_s)
        return source_of(vary(trace, seed=seed, jitter_s=entry.jitter_s) if seed else trace)

    return of_seed, notes


def _recorded(entry: TraceEntry, folder: Path) -> tuple[Trace, list[str]]:
    """A recorded trace, cut as asked, and what was noticed when it was read."""
    notes: list[str] = []
    if entry.builtin is not None:
        if entry.builtin not in BUILTIN_TRACES:
            raise unknown_name("built-in trace", entry.builtin, BUILTIN_TRACES)
        trace = builtin_trace(entry.builtin)
    else:
        assert entry.file is not None
        loaded = load_trace(folder / entry.file, format=entry.format, class_name=entry.class_name)
        trace, notes = loaded.trace, loaded.remarks()
    if entry.start_s is not None or entry.stop_s is not None:
        stop_s = trace.span_s + 1e-6 if entry.stop_s is None else entry.stop_s
        trace = slice_time(trace, entry.start_s or 0.0, stop_s)
    return trace, notes


def _factor_for(load_frac: float, source: TraceSource, groups: tuple[Group, ...]) -> float:
    """By how much to multiply a trace so that its busiest minutes offer ``load_frac`` of the
    fleet's capacity.

    The busiest minutes are the 95th percentile of one-minute windows.
    """
    if not 0 < load_frac < 100:
        raise BadInputError(
            "load",
            found=repr(load_frac),
            allowed="a number above 0 (1 is all that the fleet can do)",
        )
    load = tokens_per_second(source, min(60.0, max(source.span_s, 1e-3))).busiest(0.95)
    return load_frac * fleet_capacity_per_s(groups, load) / load.requests_per_s


def _generated(
    entry: GenerateEntry, trace: TraceEntry, groups: tuple[Group, ...]
) -> Callable[[int], TraceSource]:
    """A generated trace of each seed."""
    requests, rate = entry.requests, entry.mean_rate_per_s
    if trace.load_frac is not None:
        probe = generator.generate(
            seed=0,
            span_s=entry.span_s,
            start_hour=entry.start_hour,
            mix=entry.mix,
            requests=200_000,
        )
        requests, rate = 200_000 * _factor_for(trace.load_frac, probe, groups), None
    if trace.multiply is not None:
        requests = None if requests is None else requests * trace.multiply
        rate = None if rate is None else rate * trace.multiply

    def of_seed(seed: int) -> TraceSource:
        return generator.generate(
            seed=seed,
            span_s=entry.span_s,
            start_hour=entry.start_hour,
            mix=entry.mix,
            requests=requests,
            mean_rate_per_s=rate,
        )

    of_seed(0)  # a wrong size or mix is refused here, before anything runs
    return of_seed
