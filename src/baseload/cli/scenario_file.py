"""A scenario file: one YAML (or JSON), read strictly, and turned into a ``Scenario``.

Every field is documented in docs/reference/scenario.md; a mistake is reported with the path of the
offending field.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import msgspec

from baseload.base.errors import BadInputError, BaseloadError, unknown_name
from baseload.base.units import g_per_j_from_g_per_kwh
from baseload.cli.strict_yaml import decode_yaml
from baseload.fleet.clock import CLOCK_FRAC_MIN
from baseload.fleet.physics import replica_type
from baseload.fleet.replica_type import ReplicaType
from baseload.simulator.scenario import Group, Scenario, fleet_capacity_per_s
from baseload.sources import BUILTIN_TRACES, builtin_trace, load_trace
from baseload.sources.replicas import read_replica
from baseload.sources.traces import ZeroTokens
from baseload.workload import generator
from baseload.workload.chunks import source_of
from baseload.workload.load import busiest_minutes
from baseload.workload.tiers import DEFAULT_TIERS, Tier
from baseload.workload.trace import Trace, TraceSource
from baseload.workload.transform import multiply, slice_time, vary

# Beyond these a number is a slip of the pen (or a time in another unit), and the machine too small.
MAX_REPLICAS = 1_000_000
MAX_QUEUE = 1_000_000
MAX_BATCH = 65_536
MAX_STEP_TOKENS = 10_000_000
MAX_GPUS = 1024
MAX_REQUESTS = 1_000_000_000
MAX_SPAN_S = 366 * 86_400.0
MAX_LOAD = 100.0
_MAX_INDEX_BYTES = 2_000_000_000


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
    """Where requests come from, how a file is read, and what is done to them.

    One of ``builtin``, ``file``, ``generate``. ``multiply`` or ``load_frac`` (multiply to that
    share of the fleet's capacity in the busiest minutes); ``start_s``, ``stop_s`` cut the trace
    before.
    """

    builtin: str | None = None
    file: str | None = None
    generate: GenerateEntry | None = None
    format: str | None = None
    class_name: str | None = None
    sort: bool = False
    zero_tokens: ZeroTokens | None = None
    keep_models: bool = False
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
    clock_frac: float = 1.0
    park_after_s: float | None = None
    off_after_s: float | None = None


class TierEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What some classes of requests are promised: the fields of ``workload.tiers.Tier``."""

    name: str
    classes: list[str]
    priority: int = 0
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    target_miss_frac: float = 0.01


class ScenarioFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scenario as written in a file."""

    fleet: list[FleetEntry]
    trace: TraceEntry
    name: str | None = None
    tiers: list[TierEntry] | None = None
    carbon_g_per_kwh: float | None = None
    max_queue: int = 1024
    policies: list[str] = []


def builtin_scenarios() -> dict[str, str]:
    """The text of every built-in scenario file, by name."""
    folder = resources.files("baseload.cli") / "scenarios"
    items = sorted(folder.iterdir(), key=lambda item: item.name)
    return {item.name.removesuffix(".yaml"): item.read_text(encoding="utf-8") for item in items}


def load_scenario(name_or_path: str, *, load_frac: float | None = None) -> Scenario:
    """The scenario of a built-in name or a file. ``load_frac`` overrides the load.

    Raises ``UnknownNameError`` for a name that is neither, ``BadInputError`` with the path of the
    offending field.
    """
    builtin = builtin_scenarios()
    if name_or_path in builtin:
        file = decode_yaml(builtin[name_or_path], type=ScenarioFile, where=name_or_path)
        return _build(file, Path(), name_or_path, load_frac)
    path = Path(name_or_path)
    where = f"scenario file {path}"
    try:
        named_like_a_file = path.suffix in (".yaml", ".yml", ".json") or path.exists()
        if not (name_or_path and named_like_a_file):
            todo = "give a built-in name or a YAML file; `baseload simulate --list` lists the names"
            raise unknown_name("scenario", name_or_path, builtin, todo=todo)
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"{error.reason} at byte {error.start + 1}"
        raise BadInputError(where, found=found, allowed="a YAML file in UTF-8") from error
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise BadInputError(
            where, found=found, allowed="a YAML file that can be read", todo="check the path"
        ) from error
    file = decode_yaml(text, type=ScenarioFile, where=where)
    return _build(file, path.parent, path.stem, load_frac)


@contextmanager
def _within(field: str) -> Iterator[None]:
    """Name the field of the scenario that an error comes from, and say what to do in its words."""
    try:
        yield
    except BaseloadError as error:
        todo = error.todo
        for python, yaml in _WORDS_OF_THE_FILE:
            todo = todo.replace(python, yaml)
        raise type(error)(
            f"scenario field {field}: {error.asked}",
            found=error.found,
            allowed=error.allowed,
            todo=todo,
        ) from error
    except OSError as error:
        raise BadInputError(
            f"scenario field {field}", found=str(error), todo="check the path"
        ) from error


_WORDS_OF_THE_FILE = (
    ("--tensor-parallel ", "tensor_parallel: "),
    ("read it with sort=True", "say sort: true"),
    ("read the file with zero_tokens='drop' or 'one'", "say zero_tokens: drop (or one)"),
)


def _build(file: ScenarioFile, folder: Path, name: str, load_frac: float | None) -> Scenario:
    """The scenario that a file describes; paths in it count from the file's folder."""
    _check_load(load_frac, "--load")
    _require(file.name is None or file.name.isprintable(), "name", file.name, "text in one line")
    _number(file.max_queue, "max_queue", low=0, high=MAX_QUEUE)
    _number(file.carbon_g_per_kwh, "carbon_g_per_kwh", low=0, high=1e6)
    tiers = DEFAULT_TIERS if file.tiers is None else _tiers(file.tiers)
    notes: list[str] = []
    groups = tuple(_group(entry, folder, at, notes) for at, entry in enumerate(file.fleet))
    _check_size(groups, file.max_queue)
    entry = file.trace
    if load_frac is not None:
        made = entry.generate
        if made is not None:
            made = msgspec.structs.replace(made, requests=None, mean_rate_per_s=None)
        entry = msgspec.structs.replace(entry, load_frac=load_frac, multiply=None, generate=made)
    _check_trace_entry(entry)
    requests, noticed = _requests(entry, folder, groups)
    return Scenario(
        name=file.name or name,
        groups=groups,
        requests=requests,
        tiers=tiers,
        grid_g_per_j=None
        if file.carbon_g_per_kwh is None
        else g_per_j_from_g_per_kwh(file.carbon_g_per_kwh),
        max_queue=file.max_queue,
        policies=tuple(_policy_spec(spec, folder) for spec in file.policies),
        notes=(*notes, *noticed),
    )


def _policy_spec(spec: str, folder: Path) -> str:
    """A policy as the scenario names it, its file found from the scenario's folder."""
    return str(folder / spec) if ".py:" in spec or spec.endswith(".py") else spec


def _require(holds: bool, field: str, found: object, allowed: str, todo: str = "") -> None:
    """Raise ``BadInputError`` for a field that is not as it must be."""
    if not holds:
        raise BadInputError(
            f"scenario field {field}", found=repr(found), allowed=allowed, todo=todo
        )


def _number(
    value: float | None, field: str, *, low: float, high: float, above: bool = False
) -> None:
    """Refuse a number that is not between ``low`` (or above it) and ``high``."""
    if value is None:
        return
    holds = (low < value if above else low <= value) and value <= high
    allowed = f"a number above {low:,g}" if above else f"a number from {low:,g}"
    allowed += f" to {high:,.12g}" if high < math.inf else " up"
    _require(holds, field, value, allowed)


def _tiers(entries: list[TierEntry]) -> tuple[Tier, ...]:
    """The tiers, each name and each class once."""
    names: dict[str, int] = {}
    owner: dict[str, str] = {}
    tiers = []
    _require(bool(entries), "tiers", [], "one or more, or no field at all for the default tiers")
    for at, entry in enumerate(entries):
        field = f"tiers[{at}]"
        _require(bool(entry.name.strip()), f"{field}.name", entry.name, "text")
        _require(entry.name not in names, f"{field}.name", entry.name, "each name once")
        _require(bool(entry.classes), f"{field}.classes", [], "one class or more")
        names[entry.name] = at
        for label in entry.classes:
            other = owner.setdefault(label, entry.name)
            _require(
                other == entry.name,
                f"{field}.classes",
                label,
                "each class in one tier",
                f"take it out of {entry.name!r} or of {other!r}",
            )
        values = {key: getattr(entry, key) for key in entry.__struct_fields__ if key != "classes"}
        with _within(field):
            tiers.append(Tier(classes=tuple(entry.classes), **values))
    return tuple(tiers)


def _group(entry: FleetEntry, folder: Path, at: int, notes: list[str]) -> Group:
    """One entry of the fleet."""
    field = f"fleet[{at}]"
    _number(entry.replicas, f"{field}.replicas", low=1, high=MAX_REPLICAS)
    for name in ("park_after_s", "off_after_s"):
        value = getattr(entry, name)
        _require(
            value is None or 0 <= value < math.inf,
            f"{field}.{name}",
            value,
            "seconds >= 0, or null for never",
        )
    if entry.replica is not None:
        _check_calibrated(entry, field)
        with _within(f"{field}.replica"):
            kind = read_replica(folder / entry.replica)
        if entry.name:
            kind = msgspec.structs.replace(kind, name=entry.name)
    else:
        kind = _modelled(entry, field, notes)
    return Group(
        kind=kind,
        replicas=entry.replicas,
        park_after_s=entry.park_after_s,
        off_after_s=entry.off_after_s,
    )


def _check_calibrated(entry: FleetEntry, field: str) -> None:
    """Refuse fields beside a replica file that would change nothing."""
    kept = {"replica", "replicas", "name", "park_after_s", "off_after_s"}
    plain = FleetEntry(replicas=1)
    idle = [
        name
        for name in entry.__struct_fields__
        if name not in kept and getattr(entry, name) != getattr(plain, name)
    ]
    if idle:
        raise BadInputError(
            f"scenario field {field}",
            found=f"replica and {', '.join(idle)}",
            allowed="either a replica file, or a device and a model",
            todo="its fitted numbers do not tell bytes from arithmetic: take clock_frac out"
            if "clock_frac" in idle
            else "a replica file says these itself: take them out, or change the file",
        )


def _modelled(entry: FleetEntry, field: str, notes: list[str]) -> ReplicaType:
    """The replica type of a device and a model, by the physics of the fleet room."""
    if entry.device is None or entry.model is None:
        missing = [name for name in ("device", "model") if getattr(entry, name) is None]
        raise BadInputError(
            f"scenario field {field}",
            found=f"no {' and no '.join(missing)}",
            allowed="a device and a model, or a replica file",
        )
    for name, high in (
        ("tensor_parallel", MAX_GPUS),
        ("max_batch", MAX_BATCH),
        ("max_step_tokens", MAX_STEP_TOKENS),
        ("max_context_tokens", 2**31 - 1),
    ):
        _number(getattr(entry, name), f"{field}.{name}", low=1, high=high)
    _number(entry.clock_frac, f"{field}.clock_frac", low=CLOCK_FRAC_MIN, high=1)
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
    with _within(field):
        kind = replica_type(
            model=entry.model,
            device=entry.device,
            tensor_parallel=entry.tensor_parallel,
            clock_frac=entry.clock_frac,
            **given,
        )
    if entry.clock_frac < 1:
        notes.append(f"{kind.name}: {kind.method}. {kind.basis}.")
    if entry.max_step_tokens is not None and entry.max_step_tokens <= kind.max_batch:
        raise BadInputError(
            f"scenario field {field}.max_step_tokens",
            found=f"{entry.max_step_tokens} tokens a step, batch of {kind.max_batch}",
            allowed="more than max_batch, or prompts starve",
            todo="raise max_step_tokens or lower max_batch",
        )
    if entry.max_context_tokens is not None and kind.max_context_tokens < entry.max_context_tokens:
        notes.append(
            f"{kind.name}: max_context_tokens {entry.max_context_tokens:,} is more than model and "
            f"cache hold; {kind.max_context_tokens:,} is used."
        )
    return kind


def _check_size(groups: tuple[Group, ...], max_queue: int) -> None:
    """Refuse a fleet whose index of replicas by load would not fit in memory."""
    count = sum(group.replicas for group in groups)
    _require(count <= MAX_REPLICAS, "fleet", count, f"at most {MAX_REPLICAS:,} replicas in all")
    index = sum((g.kind.max_batch + max_queue + 1) * (g.replicas // 64 + 1) * 8 for g in groups)
    if index > _MAX_INDEX_BYTES:
        raise BadInputError(
            "scenario: fleet and max_queue are too large together",
            found=f"{count:,} replicas, max_queue {max_queue:,}: {index / 1e9:.0f} GB of memory",
            allowed=f"{_MAX_INDEX_BYTES / 1e9:.0f} GB",
            todo="lower max_queue",
        )


def _check_trace_entry(entry: TraceEntry) -> None:
    """Refuse sources that are none or several, fields that would change nothing, odd numbers."""
    given = [name for name in ("builtin", "file", "generate") if getattr(entry, name) is not None]
    if len(given) != 1:
        raise BadInputError(
            "scenario field trace",
            found=", ".join(given) or "no source",
            allowed="one of builtin, file, generate",
        )
    reading = ("format", "class_name", "sort", "zero_tokens", "keep_models")
    useless = {
        "builtin": reading,
        "file": (),
        "generate": (*reading, "start_s", "stop_s"),
    }[given[0]]
    for name in useless:
        value = getattr(entry, name)
        if value not in (None, False):
            raise BadInputError(
                f"scenario field trace.{name}",
                found=f"{name}: {value} beside {given[0]}",
                allowed=f"{name} goes with file" + (" or builtin" if name.endswith("_s") else ""),
                todo="take it out",
            )
    _number(entry.multiply, "trace.multiply", low=0, high=MAX_REQUESTS, above=True)
    _check_load(entry.load_frac, "scenario field trace.load_frac")
    _number(entry.jitter_s, "trace.jitter_s", low=0, high=MAX_SPAN_S)
    _number(entry.start_s, "trace.start_s", low=0, high=math.inf)
    _number(entry.stop_s, "trace.stop_s", low=entry.start_s or 0, high=math.inf, above=True)
    made = entry.generate
    if made is not None:
        _number(made.span_s, "trace.generate.span_s", low=0, high=MAX_SPAN_S, above=True)
        _number(made.start_hour, "trace.generate.start_hour", low=0, high=24)
    sizes = [name for name in ("requests", "mean_rate_per_s") if made and _given(made, name)]
    sizes += ["load_frac"] if entry.load_frac is not None else []
    if made is not None and len(sizes) != 1:
        raise BadInputError(
            "scenario field trace: how many requests to generate",
            found=" and ".join(sizes) or "nothing that says it",
            allowed="one of generate.requests, generate.mean_rate_per_s, load_frac",
        )
    if entry.multiply is not None and entry.load_frac is not None:
        raise BadInputError(
            "scenario field trace", found="multiply and load_frac", allowed="one of them"
        )


def _given(entry: GenerateEntry, name: str) -> bool:
    return getattr(entry, name) is not None


def _check_load(load_frac: float | None, asked: str) -> None:
    """Refuse a load that is not above 0 and below 100."""
    if load_frac is not None and not 0 < load_frac < MAX_LOAD:
        raise BadInputError(
            asked,
            found=repr(load_frac),
            allowed=f"a number above 0 and below {MAX_LOAD:g} (1 is all that the fleet can do)",
        )


def _requests(
    entry: TraceEntry, folder: Path, groups: tuple[Group, ...]
) -> tuple[Callable[[int], TraceSource], list[str]]:
    """The trace of each seed, and what was noticed when it was read."""
    if entry.generate is not None:
        return _generated(entry.generate, entry, groups), []
    trace, notes = _recorded(entry, folder)
    factor = 1.0 if entry.multiply is None else entry.multiply
    if entry.load_frac is not None:
        factor = _factor_for(entry.load_frac, source_of(trace), groups)
    _check_count(factor * len(trace), f"{len(trace):,} requests times {factor:g}")

    def of_seed(seed: int) -> TraceSource:
        if factor != 1.0:
            return multiply(trace, factor, seed=seed, jitter_s=entry.jitter_s)
        return source_of(vary(trace, seed=seed, jitter_s=entry.jitter_s) if seed else trace)

    return of_seed, notes


def _check_count(requests: float, found: str) -> None:
    """Refuse traces that round to nothing, and those that no one would wait for."""
    if not 0.5 < requests <= MAX_REQUESTS:
        raise BadInputError(
            "scenario field trace: number of requests",
            found=found,
            allowed=f"1 to {MAX_REQUESTS:,} requests in all",
            todo="change multiply, load or the trace",
        )


def _recorded(entry: TraceEntry, folder: Path) -> tuple[Trace, list[str]]:
    """A recorded trace, cut as asked, and what was noticed when it was read."""
    notes: list[str] = []
    if entry.builtin is not None:
        if entry.builtin not in BUILTIN_TRACES:
            raise unknown_name("built-in trace", entry.builtin, BUILTIN_TRACES)
        trace = builtin_trace(entry.builtin)
    else:
        assert entry.file is not None
        with _within("trace.file"):
            loaded = load_trace(
                folder / entry.file,
                format=entry.format,
                class_name="chat" if entry.class_name is None else entry.class_name,
                sort=entry.sort,
                zero_tokens=entry.zero_tokens,
                keep_models=entry.keep_models,
            )
        trace, notes = loaded.trace, loaded.remarks()
    span_s = trace.span_s
    if entry.start_s is not None or entry.stop_s is not None:
        stop_s = span_s + 1e-6 if entry.stop_s is None else entry.stop_s
        start_s = entry.start_s or 0.0
        trace = slice_time(trace, min(start_s, stop_s), stop_s)
    if not len(trace):
        raise BadInputError(
            "scenario field trace: no request arrives between start_s and stop_s",
            found=f"arrivals up to {span_s:g} s",
            allowed=f"start_s below {span_s:g}, stop_s above it",
        )
    if trace.span_s > MAX_SPAN_S:
        raise BadInputError(
            f"scenario field trace: {trace.name} is longer than a year",
            found=f"a last arrival {trace.span_s / 86_400:,.0f} days after time 0",
            allowed="366 days",
            todo="let times count from the first request, not from 1970; check their unit",
        )
    return trace, notes


def _factor_for(load_frac: float, source: TraceSource, groups: tuple[Group, ...]) -> float:
    """By how much to multiply a trace so that its busiest minutes offer ``load_frac`` of the
    fleet's capacity.

    The busiest minutes are the 95th percentile of one-minute windows.
    """
    load = busiest_minutes(source)
    if not load.requests_per_s > 0:
        raise BadInputError(
            "load of a trace with hardly any requests",
            found=f"{source.requests:,} requests in {source.span_s:,.0f} s: its busiest minutes "
            "(the 95th percentile) have none",
            allowed="a trace with requests in at least one of twenty minutes",
            todo="use multiply in place of a load",
        )
    return load_frac * fleet_capacity_per_s(groups, load) / load.requests_per_s


def _generated(
    entry: GenerateEntry, trace: TraceEntry, groups: tuple[Group, ...]
) -> Callable[[int], TraceSource]:
    """A generated trace of each seed."""
    sizes = {"requests": entry.requests, "mean_rate_per_s": entry.mean_rate_per_s}
    if trace.load_frac is not None:
        with _within("trace.generate"):
            probe = generator.generate(
                seed=0,
                span_s=entry.span_s,
                start_hour=entry.start_hour,
                mix=entry.mix,
                requests=200_000,
            )
        factor = _factor_for(trace.load_frac, probe, groups)
        sizes = {"requests": 200_000 * factor, "mean_rate_per_s": None}
    if trace.multiply is not None:
        sizes = {
            key: None if size is None else size * trace.multiply for key, size in sizes.items()
        }

    def of_seed(seed: int) -> TraceSource:
        return generator.generate(
            seed=seed,
            span_s=entry.span_s,
            start_hour=entry.start_hour,
            mix=entry.mix,
            requests=sizes["requests"],
            mean_rate_per_s=sizes["mean_rate_per_s"],
        )

    with _within("trace.generate"):  # a wrong size or mix is refused here, before anything runs
        expected = of_seed(0).requests
    _check_count(expected, f"about {expected:,} requests")
    return of_seed
