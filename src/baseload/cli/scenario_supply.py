"""The supply section of a scenario file: what feeds the fleet, as a ``supply.site.Site``.

Units are those that people buy in and stand in each field's name: kW, kWh, dollars per kWh, grams
per kWh. Signals are named as ``sources.signal_from_spec`` reads them; a run needs recorded ones.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from baseload.base.errors import BadInputError
from baseload.base.units import J_PER_KWH, S_PER_DAY, S_PER_HOUR
from baseload.cli.scenario_fields import number, require, within
from baseload.simulator.supplied import Supplied
from baseload.sources.series import SeriesSignal
from baseload.sources.signal_spec import signal_from_spec
from baseload.sources.signals import ns_of
from baseload.sources.typical_year import TypicalYear
from baseload.supply.baseline import (
    Constant,
    Diurnal,
    MarkovStates,
    OrnsteinUhlenbeck,
    PvYear,
    Source,
    Sum,
    Trace,
    WindYear,
)
from baseload.supply.carbon import CarbonSignal, carbon_signal
from baseload.supply.site import Site
from baseload.supply.store import FULL_CYCLES, NO_STORE, Store, lithium_battery, wear_usd_per_j
from baseload.supply.tariff import (
    Days,
    EnergyPrice,
    FlatPrice,
    PriceWindow,
    SpotPrice,
    Tariff,
    TimeOfUsePrice,
    demand_charge_per_kw,
)

W_PER_KW = 1000.0
_MOST_KW = 1e9
_MONTH_S = 365.25 / 12 * S_PER_DAY
_AFTER_S = 7 * S_PER_DAY  # answers that end after the trace


class ClearnessEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a daily profile varies from day to day: an AR(1) factor."""

    deviation_frac: float
    mean_frac: float = 1.0
    coefficient: float = 0.0
    step_s: float = S_PER_HOUR


class WanderingEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A power that wanders about its mean (Ornstein-Uhlenbeck)."""

    mean_kw: float
    deviation_kw: float
    time_s: float


class StatesEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A power that jumps between states: the power of each, and the rates between them."""

    kw: list[float]
    per_hour: list[list[float]]


class SourceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One source of baseline. Exactly one of ``constant_kw``, ``pv``, ``wind`` (capacity factors,
    with ``installed_kw``), ``power`` (a recorded power), ``hourly_kw`` (24 values of the local day
    that begins ``utc_offset_h`` before UTC's, with ``clearness``), ``wandering``, ``states``.
    """

    constant_kw: float | None = None
    pv: str | None = None
    wind: str | None = None
    power: str | None = None
    hourly_kw: list[float] | None = None
    wandering: WanderingEntry | None = None
    states: StatesEntry | None = None
    installed_kw: float | None = None
    utc_offset_h: float | None = None
    clearness: ClearnessEntry | None = None


class StoreEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A battery. What is left out is assumed, and the result says so."""

    capacity_kwh: float
    c_rate: float = 0.5
    charge_efficiency: float | None = None
    discharge_efficiency: float | None = None
    soc_min_frac: float | None = None
    soc_max_frac: float | None = None
    soc_start_frac: float | None = None
    leak_frac_per_month: float | None = None
    replacement_usd_per_kwh: float | None = None
    full_cycles: float | None = None


class WindowEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a price holds, by the local clock."""

    usd_per_kwh: float
    from_hour: float = 0.0
    to_hour: float = 24.0
    days: Days = "all"
    months: list[int] | None = None


class AuxiliaryEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is bought beyond baseline and storage. ``price_usd_per_kwh`` with ``windows`` that go
    before it, or ``price`` (a recorded series, plus ``adder_usd_per_kwh``; ``usd_per_eur`` or
    ``usd_per_gbp`` for one in that currency). ``carbon_g_per_kwh`` or ``carbon`` (a series).
    """

    limit_kw: float | None = None
    price_usd_per_kwh: float | None = None
    windows: list[WindowEntry] = []
    price: str | None = None
    adder_usd_per_kwh: float = 0.0
    usd_per_eur: float | None = None
    usd_per_gbp: float | None = None
    demand_usd_per_kw_month: float | None = None
    ratchet_frac: float = 0.0
    fixed_usd_per_month: float = 0.0
    utc_offset_h: float = 0.0
    carbon_g_per_kwh: float | None = None
    carbon: str | None = None
    marginal_carbon: str | None = None


class PricesEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What else costs money; what is left out is not known, and missing from the total.
    ``storage_usd_per_kwh_year`` is for the planner.
    """

    baseline_usd_per_kwh: float | None = None
    baseline_carbon_g_per_kwh: float | None = None
    waste_usd_per_kwh: float = 0.0
    unserved_usd_per_kwh: float | None = None
    carbon_usd_per_t: float | None = None
    storage_usd_per_kwh_year: float | None = None


class SupplyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What feeds the fleet. ``start``: when second 0 of the trace is, UTC."""

    baseline: list[SourceEntry]
    store: StoreEntry | None = None
    auxiliary: AuxiliaryEntry = AuxiliaryEntry()
    prices: PricesEntry = PricesEntry()
    pue: float = 1.0
    overhead_kw: float = 0.0
    slot_s: float = 900.0
    start: str = "2022-01-01T00:00Z"


def supplied_of(
    entry: SupplyEntry, folder: Path, *, span_s: float, scales: tuple[float, ...] = (1.0,)
) -> Supplied:
    """The supply that a file describes, for a run of ``span_s`` [s]; paths count from ``folder``.

    Raises ``BadInputError`` with the path of the field, and for a series that is shorter than the
    run with both lengths.
    """
    number(entry.slot_s, "supply.slot_s", low=1.0, high=S_PER_DAY)
    number(entry.pue, "supply.pue", low=1.0, high=10.0)
    number(entry.overhead_kw, "supply.overhead_kw", low=0.0, high=_MOST_KW)
    require(bool(entry.baseline), "supply.baseline", [], "one source or more")
    with within("supply.start"):
        start_ns = ns_of(entry.start)
    reader = _Reader(start_ns, span_s, folder)
    auxiliary, prices = entry.auxiliary, entry.prices
    for name in PricesEntry.__struct_fields__:
        low = -math.inf if name == "waste_usd_per_kwh" else 0.0
        number(getattr(prices, name), f"supply.prices.{name}", low=low, high=1e9)
    number(auxiliary.limit_kw, "supply.auxiliary.limit_kw", low=0.0, high=_MOST_KW)
    sources = [
        _source(one, f"supply.baseline[{at}]", reader) for at, one in enumerate(entry.baseline)
    ]
    with within("supply"):
        site = Site(
            baseline=sources[0] if len(sources) == 1 else Sum(sources=tuple(sources)),
            store=NO_STORE if entry.store is None else _store(entry.store),
            auxiliary_limit_w=math.inf
            if auxiliary.limit_kw is None
            else auxiliary.limit_kw * W_PER_KW,
            pue=entry.pue,
            overhead_w=entry.overhead_kw * W_PER_KW,
            baseline_usd_per_j=_per_j(prices.baseline_usd_per_kwh),
            tariff=_tariff(auxiliary, reader),
            waste_usd_per_j=prices.waste_usd_per_kwh / J_PER_KWH,
            unserved_usd_per_j=_per_j(prices.unserved_usd_per_kwh),
            carbon_usd_per_g=None
            if prices.carbon_usd_per_t is None
            else prices.carbon_usd_per_t / 1e6,
            auxiliary_carbon=_carbon(auxiliary, reader),
            baseline_carbon=None
            if prices.baseline_carbon_g_per_kwh is None
            else carbon_signal("average", prices.baseline_carbon_g_per_kwh, source="site file"),
            auxiliary_marginal=None
            if auxiliary.marginal_carbon is None
            else reader.carbon(auxiliary.marginal_carbon, "marginal_carbon", "marginal"),
            slot_s=entry.slot_s,
            start_unix_s=start_ns / 1e9,
        )
    return Supplied(site=site, scales=scales)


def supply_notes(site: Site) -> list[str]:
    """What the reader of a result should know of the site."""
    notes = []
    if site.store.assumed:
        words = ", ".join(dict.fromkeys(_ASSUMED[name] for name in site.store.assumed))
        notes.append(f"Battery: {words} assumed (docs/explanation/supply.md).")
    if site.tariff is None and site.auxiliary_limit_w > 0:
        notes.append("Auxiliary energy has no price: the total cost leaves it out.")
    return notes


_ASSUMED = {
    "charge_efficiency": "efficiency",
    "discharge_efficiency": "efficiency",
    "leak_per_s": "self-discharge",
    "charge_limit_w": "power limits",
    "discharge_limit_w": "power limits",
    "soc_min_frac": "window of the state of charge",
    "soc_max_frac": "window of the state of charge",
    "wear_usd_per_j": "life in cycles",
}


def _per_j(usd_per_kwh: float | None) -> float | None:
    """A price per joule; ``None`` stays missing."""
    return None if usd_per_kwh is None else usd_per_kwh / J_PER_KWH


class _Reader:
    """Reads the recorded signals of a run: from ``start_ns``, ``span_s`` and a little longer."""

    def __init__(self, start_ns: int, span_s: float, folder: Path) -> None:
        self.start_ns, self._span_s, self._folder = start_ns, span_s, folder

    def hours(
        self, spec: str, field: str, units: tuple[str, ...], *, kind: str | None = None
    ) -> tuple[np.ndarray[Any, np.dtype[np.float64]], Any, str, str]:
        """Hourly means of a signal over the run: values, which are estimated, unit and source; one
        value where it is constant.
        """
        with within(field):
            signal = signal_from_spec(spec, folder=self._folder)
            if not isinstance(signal, (SeriesSignal, TypicalYear)):
                if spec.startswith("constant:"):
                    value = signal.at(self.start_ns).value
                    values = np.array([value])
                    return self._checked(
                        spec, field, units, kind, signal, values, np.array([False])
                    )
                raise BadInputError(
                    f"the signal {spec!r}",
                    found="a live service",
                    allowed="a recorded series for a simulated run: shipped:NAME or file:PATH",
                )
            count = max(1, math.ceil(self._span_s / S_PER_HOUR))
            found = signal.sample(self.start_ns, step_s=S_PER_HOUR, count=count)
        return self._checked(spec, field, units, kind, signal, found.values, found.estimated)

    def _checked(
        self,
        spec: str,
        field: str,
        units: tuple[str, ...],
        kind: str | None,
        signal: Any,
        values: np.ndarray[Any, np.dtype[np.float64]],
        estimated: Any,
    ) -> tuple[np.ndarray[Any, np.dtype[np.float64]], Any, str, str]:
        """Refuse a signal in a unit or of a kind that has no place here."""
        require(
            signal.unit in units and kind in (None, signal.kind),
            field,
            f"{spec}: {signal.kind} in {signal.unit}",
            f"{'' if kind is None else kind + ' '}values in {' or '.join(units)}",
        )
        return values, estimated, signal.unit, signal.source

    def carbon(self, spec: str, field: str, kind: Literal["average", "marginal"]) -> CarbonSignal:
        """A carbon signal of a kind."""
        values, estimated, _, source = self.hours(
            spec, f"supply.auxiliary.{field}", ("g_per_kwh",), kind=kind
        )
        if len(values) == 1:
            return carbon_signal(kind, float(values[0]), source=source)
        return carbon_signal(
            kind,
            values,
            start_unix_s=self.start_ns / 1e9,
            estimated=estimated,
            hold_s=_AFTER_S,
            source=source,
        )


def _held(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Hourly values, and the last day again and again for answers that end after the trace."""
    return np.concatenate([values, np.resize(values[-24:], int(_AFTER_S / S_PER_HOUR))])


def _source(entry: SourceEntry, field: str, reader: _Reader) -> Source:
    """One source of baseline."""
    kinds = ("constant_kw", "pv", "wind", "power", "hourly_kw", "wandering", "states")
    given = [name for name in kinds if getattr(entry, name) is not None]
    require(len(given) == 1, field, ", ".join(given) or "none", f"one of {', '.join(kinds)}")
    what = given[0]
    beside = {
        "installed_kw": ("pv", "wind"),
        "utc_offset_h": ("hourly_kw",),
        "clearness": ("hourly_kw",),
    }
    for name, owners in beside.items():
        if getattr(entry, name) is not None:
            require(what in owners, f"{field}.{name}", what, f"only with {' or '.join(owners)}")
    if what in ("pv", "wind"):
        require(
            entry.installed_kw is not None,
            f"{field}.installed_kw",
            None,
            f"the installed power, for {what} is a capacity factor",
        )
    number(entry.installed_kw, f"{field}.installed_kw", low=0.0, high=_MOST_KW)
    number(entry.constant_kw, f"{field}.constant_kw", low=0.0, high=_MOST_KW)
    number(entry.utc_offset_h, f"{field}.utc_offset_h", low=-14.0, high=14.0)
    with within(field):
        return _SOURCES[what](entry, field, reader)


def _constant(entry: SourceEntry, _field: str, _reader: _Reader) -> Source:
    assert entry.constant_kw is not None
    return Constant(value_w=entry.constant_kw * W_PER_KW)


def _year(entry: SourceEntry, field: str, reader: _Reader) -> Source:
    spec, kind = (entry.pv, PvYear) if entry.pv is not None else (entry.wind, WindYear)
    assert spec is not None
    assert entry.installed_kw is not None
    name = "pv" if entry.pv is not None else "wind"
    values, *_ = reader.hours(spec, f"{field}.{name}", ("frac",))
    return kind(
        capacity_factor=_held(values) if len(values) > 1 else values,
        installed_w=entry.installed_kw * W_PER_KW,
        wrap_year=len(values) == 1,
    )


def _recorded(entry: SourceEntry, field: str, reader: _Reader) -> Source:
    assert entry.power is not None
    values, _, unit, _ = reader.hours(entry.power, f"{field}.power", ("w", "kw"))
    factor = W_PER_KW if unit == "kw" else 1.0
    kept = _held(values) if len(values) > 1 else values
    return Trace(values_w=factor * kept, step_s=S_PER_HOUR, wrap_year=len(values) == 1)


def _daily(entry: SourceEntry, field: str, reader: _Reader) -> Source:
    profile, varies = entry.hourly_kw, entry.clearness
    assert profile is not None
    require(len(profile) == 24, f"{field}.hourly_kw", f"{len(profile)} values", "24 values")
    offset_s = (entry.utc_offset_h or 0.0) * S_PER_HOUR
    day_s = (reader.start_ns / 1e9 + offset_s) % S_PER_DAY
    made = Diurnal(profile_w=np.asarray(profile) * W_PER_KW, start_s=-day_s)
    if varies is None:
        return made
    return msgspec.structs.replace(
        made,
        clearness_mean_frac=varies.mean_frac,
        clearness_deviation_frac=varies.deviation_frac,
        clearness_coefficient=varies.coefficient,
        clearness_step_s=varies.step_s,
    )


def _wandering(entry: SourceEntry, _field: str, _reader: _Reader) -> Source:
    assert entry.wandering is not None
    return OrnsteinUhlenbeck(
        level_w=entry.wandering.mean_kw * W_PER_KW,
        deviation_w=entry.wandering.deviation_kw * W_PER_KW,
        time_s=entry.wandering.time_s,
    )


def _states(entry: SourceEntry, _field: str, _reader: _Reader) -> Source:
    assert entry.states is not None
    return MarkovStates(
        states_w=np.asarray(entry.states.kw) * W_PER_KW,
        generator=np.asarray(entry.states.per_hour) / S_PER_HOUR,
    )


_SOURCES = {
    "constant_kw": _constant,
    "pv": _year,
    "wind": _year,
    "power": _recorded,
    "hourly_kw": _daily,
    "wandering": _wandering,
    "states": _states,
}


def _store(entry: StoreEntry) -> Store:
    """The battery, with what the file leaves out assumed."""
    number(entry.capacity_kwh, "supply.store.capacity_kwh", low=0.0, high=1e12)
    number(entry.c_rate, "supply.store.c_rate", low=0.0, high=100.0, above=True)
    number(entry.leak_frac_per_month, "supply.store.leak_frac_per_month", low=0.0, high=1.0 - 1e-9)
    number(entry.full_cycles, "supply.store.full_cycles", low=1.0, high=1e9)
    with within("supply.store"):
        if entry.capacity_kwh == 0:
            return NO_STORE
        made = lithium_battery(
            entry.capacity_kwh,
            entry.c_rate,
            replacement_usd_per_kwh=entry.replacement_usd_per_kwh,
        )
        names = (
            "charge_efficiency",
            "discharge_efficiency",
            "soc_min_frac",
            "soc_max_frac",
            "soc_start_frac",
        )
        changed: dict[str, Any] = {
            name: getattr(entry, name) for name in names if getattr(entry, name) is not None
        }
        if entry.leak_frac_per_month is not None:
            changed["leak_per_s"] = -math.log1p(-entry.leak_frac_per_month) / _MONTH_S
        known = {*changed, "charge_limit_w", "discharge_limit_w"}
        made = msgspec.structs.replace(
            made, **changed, assumed=tuple(name for name in made.assumed if name not in known)
        )
        if entry.replacement_usd_per_kwh is None:
            return made
        assumed = made.assumed
        cycles = FULL_CYCLES if entry.full_cycles is None else entry.full_cycles
        if entry.full_cycles is not None:
            assumed = tuple(name for name in assumed if name != "wear_usd_per_j")
        wear = wear_usd_per_j(
            replacement_usd=entry.replacement_usd_per_kwh * entry.capacity_kwh,
            full_cycles=cycles,
            usable_j=made.usable_j,
        )
        return msgspec.structs.replace(made, wear_usd_per_j=wear, assumed=assumed)


def _tariff(entry: AuxiliaryEntry, reader: _Reader) -> Tariff | None:
    """How auxiliary energy is paid; ``None`` where nobody says."""
    field = "supply.auxiliary"
    priced = [name for name in ("price_usd_per_kwh", "price") if getattr(entry, name) is not None]
    require(len(priced) < 2, field, "price_usd_per_kwh and price", "one of them")
    fees = entry.demand_usd_per_kw_month is not None or entry.fixed_usd_per_month
    if not priced:
        require(not entry.windows, f"{field}.windows", "windows without price_usd_per_kwh", "both")
        require(not fees, field, "fees without a price", "a price of energy beside them")
        return None
    offset_s = entry.utc_offset_h * S_PER_HOUR
    return Tariff(
        energy=_spot(entry, reader) if entry.price is not None else _clock_price(entry, offset_s),
        demand=None
        if entry.demand_usd_per_kw_month is None
        else demand_charge_per_kw(entry.demand_usd_per_kw_month, ratchet_frac=entry.ratchet_frac),
        fixed_usd_per_month=entry.fixed_usd_per_month,
        utc_offset_s=offset_s,
    )


def _clock_price(entry: AuxiliaryEntry, offset_s: float) -> EnergyPrice:
    """A flat price, or one by the clock."""
    assert entry.price_usd_per_kwh is not None
    flat = entry.price_usd_per_kwh / J_PER_KWH
    if not entry.windows:
        return FlatPrice(usd_per_j=flat)
    every = tuple(range(1, 13))
    windows = tuple(
        PriceWindow(
            usd_per_j=one.usd_per_kwh / J_PER_KWH,
            from_hour=one.from_hour,
            to_hour=one.to_hour,
            days=one.days,
            months=every if one.months is None else tuple(one.months),
        )
        for one in entry.windows
    )
    return TimeOfUsePrice(usd_per_j=flat, windows=windows, utc_offset_s=offset_s)


def _spot(entry: AuxiliaryEntry, reader: _Reader) -> EnergyPrice:
    """A recorded price in dollars."""
    assert entry.price is not None
    field = "supply.auxiliary.price"
    units = tuple(f"{money}_per_{energy}" for money in _MONEY for energy in ("kwh", "mwh"))
    values, _, unit, _ = reader.hours(entry.price, field, units)
    money, _, energy = unit.partition("_per_")
    rate = {"usd": 1.0, "eur": entry.usd_per_eur, "gbp": entry.usd_per_gbp}[money]
    if rate is None:
        raise BadInputError(
            f"scenario field supply.auxiliary.usd_per_{money}",
            found=f"a price in {unit} and no rate",
            allowed=f"dollars per {money}",
        )
    per_j = rate / (J_PER_KWH if energy == "kwh" else 1000.0 * J_PER_KWH)
    if len(values) == 1:
        return FlatPrice(usd_per_j=float(values[0]) * per_j + entry.adder_usd_per_kwh / J_PER_KWH)
    return SpotPrice(
        usd_per_j=_held(values) * per_j,
        start_unix_s=reader.start_ns / 1e9,
        adder_usd_per_j=entry.adder_usd_per_kwh / J_PER_KWH,
    )


_MONEY = ("usd", "eur", "gbp")


def _carbon(entry: AuxiliaryEntry, reader: _Reader) -> CarbonSignal | None:
    """The average intensity of auxiliary energy."""
    field = "supply.auxiliary"
    both = entry.carbon is not None and entry.carbon_g_per_kwh is not None
    require(not both, field, "carbon_g_per_kwh and carbon", "one of them")
    if entry.carbon_g_per_kwh is not None:
        number(entry.carbon_g_per_kwh, f"{field}.carbon_g_per_kwh", low=0, high=1e6)
        return carbon_signal("average", entry.carbon_g_per_kwh, source="site file")
    return None if entry.carbon is None else reader.carbon(entry.carbon, "carbon", "average")
