"""A scenario file: one YAML (or JSON), read strictly, and turned into a ``Scenario``.

Every field is documented in docs/reference/scenario.md; a mistake is reported with the path of the
offending field.
"""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from baseload.base.errors import BadInputError, unknown_name
from baseload.base.units import g_per_j_from_g_per_kwh
from baseload.cli.scenario_caps import CapsEntry, caps_of_entry
from baseload.cli.scenario_fields import number, require, within
from baseload.cli.scenario_notes import scenario_notes
from baseload.cli.scenario_supply import SupplyEntry, supplied_of, supply_notes
from baseload.cli.scenario_trace import TraceEntry, check_load, check_trace_entry, requests_of
from baseload.cli.strict_yaml import decode_yaml
from baseload.fleet.clock import CLOCK_FRAC_MIN
from baseload.fleet.ladder import CLOCK_FRACS
from baseload.fleet.physics import replica_type
from baseload.fleet.replica_type import ReplicaType
from baseload.simulator.choices import Choice
from baseload.simulator.scenario import Group, Scenario
from baseload.simulator.supplied import Supplied
from baseload.sources.replicas import read_replica
from baseload.workload.forecasts import Forecast, forecast_of_text
from baseload.workload.tiers import DEFAULT_TIERS, Tier

# Beyond these a number is a slip of the pen (or a time in another unit), and the machine too small.
MAX_REPLICAS = 1_000_000
MAX_QUEUE = 1_000_000
MAX_BATCH = 65_536
MAX_STEP_TOKENS = 10_000_000
MAX_GPUS = 1024
_MAX_INDEX_BYTES = 2_000_000_000

Parking = Literal["all", "none"]
"""Whose replicas sleep when the load does not need them: every policy's, or only those whose idle
timeouts or own controller say so.
"""


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
    right_usd: float = 0.0
    miss_usd: float = 0.0
    right_floor: float | None = None


class OptionEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model at an effort that may answer a request: its tokens over those of the trace, how often
    it is right, for all classes or by class, and where these numbers are from.
    """

    name: str
    model: str | None = None
    tokens_factor: float | dict[str, float] = 1.0
    right_frac: float | dict[str, float] = 1.0
    fee_usd: float = 0.0
    source: str = "scenario file"


class ScenarioFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scenario as written in a file."""

    fleet: list[FleetEntry]
    trace: TraceEntry
    name: str | None = None
    tiers: list[TierEntry] | None = None
    carbon_g_per_kwh: float | None = None
    max_queue: int = 1024
    parking: Parking = "none"
    forecast: str = "online"
    supply: SupplyEntry | None = None
    options: list[OptionEntry] | None = None
    cap_tokens: CapsEntry = None
    policies: list[str] = []


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What goes before a scenario's own words; ``None`` leaves them.

    ``load_frac``: multiply the trace to this share of the fleet's capacity in the busiest minutes.
    ``parking``: ``all`` or ``none``. ``forecast``: a length forecaster, as
    ``workload.forecasts.forecast_of_text`` reads it. ``supply_scales``: factors on the baseline.
    ``caps``: on the tokens of an answer, each to be run (``None`` among them: no cap).
    """

    load_frac: float | None = None
    parking: str | None = None
    forecast: str | None = None
    supply_scales: tuple[float, ...] | None = None
    caps: tuple[int | None, ...] | None = None


def builtin_scenarios() -> dict[str, str]:
    """The text of every built-in scenario file, by name."""
    folder = resources.files("baseload.cli") / "scenarios"
    items = sorted(folder.iterdir(), key=lambda item: item.name)
    return {item.name.removesuffix(".yaml"): item.read_text(encoding="utf-8") for item in items}


class ReadScenario(NamedTuple):
    """A scenario as it stands in its file: paths in it count from ``folder``."""

    file: ScenarioFile
    folder: Path
    name: str


def read_scenario(name_or_path: str) -> ReadScenario:
    """The file of a built-in name or a path, decoded; nothing in it has been followed yet.

    Raises ``UnknownNameError`` for a name that is neither, ``BadInputError`` with the path of the
    offending field.
    """
    builtin = builtin_scenarios()
    if name_or_path in builtin:
        file = decode_yaml(builtin[name_or_path], type=ScenarioFile, where=name_or_path)
        return ReadScenario(file, Path(), name_or_path)
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
    return ReadScenario(decode_yaml(text, type=ScenarioFile, where=where), path.parent, path.stem)


def load_scenario(
    name_or_path: str, *, load_frac: float | None = None, overrides: Overrides | None = None
) -> Scenario:
    """The scenario of a built-in name or a file, with ``overrides``; ``load_frac`` alone overrides
    the load.

    Raises ``UnknownNameError`` for a name that is neither, ``BadInputError`` with the path of the
    offending field, or the flag.
    """
    asked = Overrides() if overrides is None else overrides
    if load_frac is not None:
        asked = msgspec.structs.replace(asked, load_frac=load_frac)
    _check_overrides(asked)
    return scenario_of(read_scenario(name_or_path), asked)


def scenario_of(read: ReadScenario, asked: Overrides) -> Scenario:
    """The scenario that a file describes, with what goes before it. Raises as ``load_scenario``."""
    _check_overrides(asked)
    return _build(read.file, read.folder, read.name, asked)


def _check_overrides(asked: Overrides) -> None:
    """Refuse flags that could not be followed."""
    check_load(asked.load_frac, "--load")
    if asked.parking is not None and asked.parking not in get_args(Parking):
        raise BadInputError(
            "--parking",
            found=repr(asked.parking),
            allowed="all (every policy's replicas sleep when the load does not need them) or none",
        )
    if asked.forecast is not None:
        try:
            forecast_of_text(asked.forecast)
        except BadInputError as error:
            raise BadInputError(
                f"--forecast: {error.asked}", found=error.found, allowed=error.allowed
            ) from error


def _forecast(text: str) -> Forecast:
    """The length forecaster that the file names."""
    with within("forecast"):
        return forecast_of_text(text)


def _build(file: ScenarioFile, folder: Path, name: str, asked: Overrides) -> Scenario:
    """The scenario that a file describes; paths in it count from the file's folder."""
    require(file.name is None or file.name.isprintable(), "name", file.name, "text in one line")
    number(file.max_queue, "max_queue", low=0, high=MAX_QUEUE)
    number(file.carbon_g_per_kwh, "carbon_g_per_kwh", low=0, high=1e6)
    tiers = DEFAULT_TIERS if file.tiers is None else _tiers(file.tiers)
    notes: list[str] = []
    groups = tuple(_group(entry, folder, at, notes) for at, entry in enumerate(file.fleet))
    _check_size(groups, file.max_queue)
    entry = to_load(file.trace, asked.load_frac)
    check_trace_entry(entry)
    requests, sample, noticed = requests_of(entry, folder, groups)
    parking = (file.parking if asked.parking is None else asked.parking) == "all"
    warned = scenario_notes(groups, tiers, sample, parking=parking) if groups else []
    supplied = _supplied(file.supply, folder, requests(0).span_s, asked.supply_scales)
    if supplied is not None:
        warned = [*warned, *supply_notes(supplied.site)]
    caps = caps_of_entry(file.cap_tokens) if asked.caps is None else asked.caps
    made = Scenario(
        name=file.name or name,
        groups=groups,
        requests=requests,
        tiers=tiers,
        grid_g_per_j=None
        if file.carbon_g_per_kwh is None
        else g_per_j_from_g_per_kwh(file.carbon_g_per_kwh),
        max_queue=file.max_queue,
        policies=tuple(_policy_spec(spec, folder) for spec in file.policies),
        parking=parking,
        forecast=_forecast(file.forecast if asked.forecast is None else asked.forecast),
        supplied=supplied,
        choices=_choices(file.options, groups),
        cap_tokens=caps[0] if caps else None,
        caps=caps,
        notes=(*notes, *noticed, *warned),
    )
    _check_floors(made)
    return made


def _check_floors(scenario: Scenario) -> None:
    """Refuse floors on right answers that nothing reaches, or where nothing is known of them."""
    floors = {
        f"tiers[{at}].right_floor": tier.right_floor
        for at, tier in enumerate(scenario.tiers)
        if tier.right_floor is not None
    }
    for field, floor in floors.items():
        require(bool(scenario.choices), field, floor, "a floor beside options with right_frac")
    if floors:
        source = scenario.requests(0)
        with within("tiers"):
            scenario.options(source.classes, source.models)


def _choices(entries: list[OptionEntry] | None, groups: tuple[Group, ...]) -> tuple[Choice, ...]:
    """The options of the file, each name once, each model one that the fleet serves."""
    if entries is None:
        return ()
    require(bool(entries), "options", [], "one or more, or no field at all for no choice")
    served = list(dict.fromkeys(group.kind.model for group in groups))
    made: dict[str, Choice] = {}
    for at, entry in enumerate(entries):
        field = f"options[{at}]"
        require(bool(entry.name.strip()), f"{field}.name", entry.name, "text")
        require(entry.name not in made, f"{field}.name", entry.name, "each name once")
        require(bool(entry.source.strip()), f"{field}.source", entry.source, "text")
        require(
            entry.model is None or entry.model in served,
            f"{field}.model",
            entry.model,
            f"a model of the fleet: {', '.join(served)}",
        )
        number(entry.fee_usd, f"{field}.fee_usd", low=0, high=1e6)
        with within(field):
            made[entry.name] = Choice(
                name=entry.name,
                model=entry.model,
                tokens_factor=_by_class(entry.tokens_factor),
                right_frac=_by_class(entry.right_frac),
                fee_usd=entry.fee_usd,
                source=entry.source,
            )
    return tuple(made.values())


def _by_class(value: float | dict[str, float]) -> dict[str, float]:
    """A number for all classes, or one by class."""
    return dict(value) if isinstance(value, dict) else {"": value}


def _supplied(
    entry: SupplyEntry | None, folder: Path, span_s: float, scales: tuple[float, ...] | None
) -> Supplied | None:
    """The supply of the file, under the scales asked for."""
    if entry is None:
        if scales is not None:
            raise BadInputError(
                "--supply-scale",
                found="a scenario without a supply section",
                allowed="a scenario with one, such as solar-site",
                todo="docs/reference/scenario.md shows the section",
            )
        return None
    return supplied_of(entry, folder, span_s=span_s, scales=(1.0,) if scales is None else scales)


def to_load(entry: TraceEntry, load_frac: float | None) -> TraceEntry:
    """The trace multiplied to another load than the file says."""
    if load_frac is None:
        return entry
    made = entry.generate
    if made is not None:
        made = msgspec.structs.replace(made, requests=None, mean_rate_per_s=None)
    return msgspec.structs.replace(entry, load_frac=load_frac, multiply=None, generate=made)


def _policy_spec(spec: str, folder: Path) -> str:
    """A policy as the scenario names it, its file found from the scenario's folder."""
    return str(folder / spec) if ".py:" in spec or spec.endswith(".py") else spec


def _tiers(entries: list[TierEntry]) -> tuple[Tier, ...]:
    """The tiers, each name and each class once."""
    names: dict[str, int] = {}
    owner: dict[str, str] = {}
    tiers = []
    require(bool(entries), "tiers", [], "one or more, or no field at all for the default tiers")
    for at, entry in enumerate(entries):
        field = f"tiers[{at}]"
        require(bool(entry.name.strip()), f"{field}.name", entry.name, "text")
        require(entry.name not in names, f"{field}.name", entry.name, "each name once")
        require(bool(entry.classes), f"{field}.classes", [], "one class or more")
        names[entry.name] = at
        for label in entry.classes:
            other = owner.setdefault(label, entry.name)
            require(
                other == entry.name,
                f"{field}.classes",
                label,
                "each class in one tier",
                f"take it out of {entry.name!r} or of {other!r}",
            )
        values = {key: getattr(entry, key) for key in entry.__struct_fields__ if key != "classes"}
        with within(field):
            tiers.append(Tier(classes=tuple(entry.classes), **values))
    return tuple(tiers)


def _group(entry: FleetEntry, folder: Path, at: int, notes: list[str]) -> Group:
    """One entry of the fleet."""
    field = f"fleet[{at}]"
    number(entry.replicas, f"{field}.replicas", low=1, high=MAX_REPLICAS)
    for name in ("park_after_s", "off_after_s"):
        value = getattr(entry, name)
        require(
            value is None or 0 <= value < math.inf,
            f"{field}.{name}",
            value,
            "seconds >= 0, or null for never",
        )
    if entry.replica is not None:
        _check_calibrated(entry, field)
        with within(f"{field}.replica"):
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
        slower=() if entry.replica is not None else _slower(entry),
    )


def _slower(entry: FleetEntry) -> tuple[ReplicaType, ...]:
    """The entry's type at lower clocks, for a policy that chooses clocks; none where the entry
    fixes its clock, or where the engine's numbers do not tell bytes from arithmetic.
    """
    if entry.clock_frac < 1 or entry.model is None or entry.device is None:
        return ()
    try:
        return tuple(
            replica_type(
                model=entry.model,
                device=entry.device,
                tensor_parallel=entry.tensor_parallel,
                clock_frac=clock_frac,
                **_given(entry),
            )
            for clock_frac in CLOCK_FRACS[1:]
        )
    except BadInputError:
        return ()


def _given(entry: FleetEntry) -> dict[str, Any]:
    """What the entry says of its type beside device, model, layout and clock."""
    return {
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
        number(getattr(entry, name), f"{field}.{name}", low=1, high=high)
    number(entry.clock_frac, f"{field}.clock_frac", low=CLOCK_FRAC_MIN, high=1)
    with within(field):
        kind = replica_type(
            model=entry.model,
            device=entry.device,
            tensor_parallel=entry.tensor_parallel,
            clock_frac=entry.clock_frac,
            **_given(entry),
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
    require(count <= MAX_REPLICAS, "fleet", count, f"at most {MAX_REPLICAS:,} replicas in all")
    index = sum((g.kind.max_batch + max_queue + 1) * (g.replicas // 64 + 1) * 8 for g in groups)
    if index > _MAX_INDEX_BYTES:
        raise BadInputError(
            "scenario: fleet and max_queue are too large together",
            found=f"{count:,} replicas, max_queue {max_queue:,}: {index / 1e9:.0f} GB of memory",
            allowed=f"{_MAX_INDEX_BYTES / 1e9:.0f} GB",
            todo="lower max_queue",
        )
