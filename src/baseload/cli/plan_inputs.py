"""From a scenario and flags to what a plan is made of: demand, supply and prices.

What nobody said is assumed, and a note says so.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from baseload.base.errors import ArgumentError, BadInputError
from baseload.base.units import J_PER_KWH, S_PER_DAY, S_PER_HOUR
from baseload.cli.plan_options import answered_by, serving
from baseload.cli.plan_supply import recorded_s, without_carbon
from baseload.cli.scenario_fields import within
from baseload.cli.scenario_file import (
    Overrides,
    ReadScenario,
    read_scenario,
    scenario_of,
    to_load,
)
from baseload.cli.scenario_supply import SupplyEntry, supplied_of, supply_notes
from baseload.cli.scenario_trace import planned_trace
from baseload.planner.fleet_case import FleetCase, fleet_case
from baseload.planner.records import S_PER_YEAR, Prices, Supply, prices_per_kwh
from baseload.planner.response import Sharing
from baseload.planner.site_supply import supply_of_site
from baseload.simulator.scenario import Group, Scenario
from baseload.supply.carbon import CarbonSignal
from baseload.supply.site import Site
from baseload.workload.chunks import source_of
from baseload.workload.tiers import Tier
from baseload.workload.trace import TraceSource

MOST_REQUESTS, MOST_DAYS = 500_000, 7
"""How much of a generated trace is read for the demand."""

AUXILIARY_USD, BASELINE_USD, STORAGE_USD_YEAR = 0.30, 0.08, 40.0
"""Prices where neither flags nor the scenario give one: $/kWh, $/kWh, $ per kWh and year."""

WINDOW_S, STORED_SLOT_S = 900.0, 10.0
"""Settlement window assumed for a fleet without a supply section: without a store, and with one
(which evens out what lies between its readings).
"""

W_PER_KW = 1000.0


class PlanFlags(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says; ``None`` leaves it to the scenario. Prices in $/kWh,
    ``price_storage`` in $ per kWh of capacity and year.
    """

    price_auxiliary: float | None = None
    price_baseline: float | None = None
    price_waste: float | None = None
    price_storage: float | None = None
    storage: float | None = None
    baseline: float | None = None
    horizon_s: float | None = None
    sharing: str | None = None
    load_frac: float | None = None
    parking: str | None = None


class PlanInputs(msgspec.Struct, frozen=True, kw_only=True):
    """What ``planner.plan_site`` is asked, the scenario that a simulation would run, and what was
    assumed.
    """

    scenario: Scenario
    case: FleetCase
    supply: Supply
    prices: Prices
    horizon_s: float
    notes: tuple[str, ...]


def plan_inputs(name: str, flags: PlanFlags) -> PlanInputs:
    """Demand, supply and prices of the scenario called ``name``, flags first.

    Raises ``BadInputError`` with the path of the offending field or the flag, ``UnknownNameError``.
    """
    check_flags(flags)
    read = read_scenario(name)
    asked = Overrides(load_frac=flags.load_frac, parking=flags.parking)
    fleet_only = ReadScenario(
        msgspec.structs.replace(read.file, supply=None, cap_tokens=None), read.folder, read.name
    )
    scenario = scenario_of(fleet_only, asked)
    notes: list[str] = []
    if read.file.cap_tokens is not None:
        notes.append("The plan takes answers as long as in the trace: cap_tokens caps runs only.")
    horizon_s = S_PER_YEAR if flags.horizon_s is None else flags.horizon_s
    site = None
    if read.file.supply is not None:
        site, horizon_s = _site(read, read.file.supply, scenario, flags, notes)
    supply = _supply(site, flags, horizon_s, scenario.name, notes)
    prices = _prices(site, read.file.supply, flags, horizon_s, notes)
    case = _case(read, scenario, site, flags, notes)
    return PlanInputs(
        scenario=scenario,
        case=case,
        supply=supply,
        prices=prices,
        horizon_s=horizon_s,
        notes=(*scenario.notes, *notes),
    )


def check_flags(flags: PlanFlags) -> None:
    """Refuse numbers that no flag can mean."""
    limits = {
        "price_auxiliary": (0.0, "--price-auxiliary"),
        "price_baseline": (0.0, "--price-baseline"),
        "price_waste": (-math.inf, "--price-waste"),
        "price_storage": (0.0, "--price-storage"),
        "storage": (0.0, "--storage-kwh"),
        "baseline": (0.0, "--baseline-kw"),
    }
    for field, (least, flag) in limits.items():
        value = getattr(flags, field)
        if value is not None and not (math.isfinite(value) and value >= least):
            allowed = "a number" if math.isinf(least) else "a number from 0 up"
            raise BadInputError(flag, found=f"{value:g}", allowed=allowed)
    if flags.sharing not in (None, "packed", "even"):
        raise BadInputError(
            "--sharing",
            found=repr(flags.sharing),
            allowed="packed (as few replicas as the load needs) or even (all take their share)",
        )


def _site(
    read: ReadScenario,
    entry: SupplyEntry,
    scenario: Scenario,
    flags: PlanFlags,
    notes: list[str],
) -> tuple[Site, float]:
    """The site over the horizon, and the horizon: what was asked for, else a year, or what is
    recorded of the supply where that is less (but no less than the trace).
    """
    entry = without_carbon(entry)
    horizon_s = S_PER_YEAR if flags.horizon_s is None else flags.horizon_s
    trace_s = _days_s(scenario.requests(0).span_s)
    if flags.horizon_s is None:
        known_s = recorded_s(entry, read.folder)
        if known_s < horizon_s:
            horizon_s = max(math.floor(known_s / S_PER_DAY) * S_PER_DAY, trace_s)
            notes.append(
                f"The supply is recorded for {known_s / S_PER_DAY:.4g} days: the plan is for"
                f" {horizon_s / S_PER_DAY:g} of them, and a year is taken to be like them."
            )
    span_s = _days_s(horizon_s)
    try:
        supplied = supplied_of(entry, read.folder, span_s=span_s)
    except BadInputError as error:
        if flags.horizon_s is None or error.todo:
            raise
        raise type(error)(
            error.asked,
            found=error.found,
            allowed=error.allowed,
            todo=f"a shorter --horizon than {span_s / S_PER_DAY:g}d, or a longer series",
        ) from error
    notes += [note for note in supply_notes(supplied.site) if note.startswith("Battery")]
    return supplied.site, horizon_s


def _days_s(span_s: float) -> float:
    """The seconds of the whole days that cover a span."""
    return max(1, math.ceil(span_s / S_PER_DAY - 1e-9)) * S_PER_DAY


def _supply(
    site: Site | None, flags: PlanFlags, horizon_s: float, name: str, notes: list[str]
) -> Supply:
    """The supply of the site, or a constant one to be found, with what the flags change."""
    replace = msgspec.structs.replace
    store_j = None if flags.storage is None else flags.storage * J_PER_KWH
    if site is None:
        slot_s = STORED_SLOT_S if store_j else WINDOW_S
        notes.append(
            "No supply section: a constant baseline, and a store (where one is asked for) without"
            " losses, leakage or power limits, are assumed;"
            f" energy is settled every {slot_s:g} s."
        )
        supply = Supply(slot_s=slot_s, store_j=store_j or 0.0, name=name)
    else:
        with within("supply.baseline"):
            supply = supply_of_site(site, span_s=horizon_s)
        supply = replace(supply, name=name)
        if store_j is not None:
            supply = _resized(supply, store_j)
    if flags.baseline is not None:
        if supply.series_w:
            notes.append(
                f"--baseline-kw {flags.baseline:g}: the supply keeps its shape, and has this mean."
            )
        supply = replace(supply, baseline_w=flags.baseline * W_PER_KW)
    return supply


def _resized(supply: Supply, store_j: float) -> Supply:
    """The supply with a store of another usable capacity, its power limits in proportion."""
    growth = store_j / supply.store_j if supply.store_j > 0 else 1.0
    return msgspec.structs.replace(
        supply,
        store_j=store_j,
        charge_limit_w=supply.charge_limit_w * growth if growth > 0 else 0.0,
        discharge_limit_w=supply.discharge_limit_w * growth if growth > 0 else 0.0,
    )


def _prices(
    site: Site | None,
    entry: SupplyEntry | None,
    flags: PlanFlags,
    horizon_s: float,
    notes: list[str],
) -> Prices:
    """Prices [$/J]: flags, then the site's (its price of carbon added), then assumed ones."""
    own = _PricesOfSite() if site is None else _prices_of_site(site, horizon_s, notes)
    storage = None if entry is None else entry.prices.storage_usd_per_kwh_year
    given = {
        "auxiliary": (flags.price_auxiliary, own.auxiliary_usd, AUXILIARY_USD),
        "baseline": (flags.price_baseline, own.baseline_usd, BASELINE_USD),
        "storage": (flags.price_storage, storage, STORAGE_USD_YEAR),
    }
    chosen = {
        what: next(value for value in values if value is not None) for what, values in given.items()
    }
    assumed = [
        f"{what} {values[2]:g} $/kWh" + (" and year" if what == "storage" else "")
        for what, values in given.items()
        if values[0] is None and values[1] is None
    ]
    if assumed:
        notes.append(f"Assumed prices: {', '.join(assumed)} (--price-... sets them).")
    waste = own.waste_usd if flags.price_waste is None else flags.price_waste
    _check_prices(chosen["auxiliary"], chosen["baseline"], waste)
    try:
        return prices_per_kwh(
            baseline_usd=chosen["baseline"],
            auxiliary_usd=chosen["auxiliary"],
            waste_usd=waste,
            storage_usd_per_year=chosen["storage"],
        )
    except ArgumentError as error:
        raise BadInputError(
            f"prices: {error.asked}", found=error.found, allowed=error.allowed
        ) from error


def _check_prices(auxiliary: float, baseline: float, waste: float) -> None:
    """Refuse prices at which throwing energy away pays."""
    for what, price, holds, rule in (
        ("auxiliary energy", auxiliary, auxiliary + waste > 0, "above 0"),
        ("baseline", baseline, baseline + waste >= 0, "0 or more"),
    ):
        if not holds:
            raise BadInputError(
                f"prices: {what} that is bought in order to be wasted would pay",
                found=f"{what} {price:g} $/kWh, waste {waste:g} $/kWh",
                allowed=f"a sum of the two that is {rule}",
                todo="raise --price-waste (or waste_usd_per_kwh): what waste earns must be less"
                " than what the energy cost",
            )


class _PricesOfSite(msgspec.Struct, frozen=True, kw_only=True):
    """Mean prices of a site [$/kWh]; ``None`` where it has none."""

    auxiliary_usd: float | None = None
    baseline_usd: float | None = None
    waste_usd: float = 0.0


def _prices_of_site(site: Site, horizon_s: float, notes: list[str]) -> _PricesOfSite:
    """The site's prices, those that move with time at their mean over the horizon."""
    edges = np.arange(int(_days_s(horizon_s) // S_PER_HOUR) + 1) * S_PER_HOUR
    auxiliary = baseline = None
    if site.tariff is not None:
        hours = site.tariff.energy.slot_usd_per_j(edges, start_unix_s=site.start_unix_s)
        auxiliary = float(hours.mean())
        if float(np.ptp(hours)) > 0:
            notes.append("The price of auxiliary energy moves; the plan takes its mean.")
        if site.tariff.demand is not None or site.tariff.fixed_usd_per_month:
            notes.append("Charges by the month (peak demand, fixed fees) are not in the plan.")
    if site.baseline_usd_per_j is not None:
        baseline = site.baseline_usd_per_j
    waste = site.waste_usd_per_j
    waste_usd = (
        float(waste)
        if isinstance(waste, (int, float))
        else float(waste.slot_usd_per_j(edges, start_unix_s=site.start_unix_s).mean())
    )
    price = site.carbon_usd_per_g
    if price is not None:
        added = price * _mean_g_per_j(site.auxiliary_carbon, edges, site)
        own = price * _mean_g_per_j(site.baseline_carbon, edges, site)
        auxiliary = None if auxiliary is None else auxiliary + added
        baseline = None if baseline is None else baseline + own
        notes.append(
            f"The site's prices include its price of carbon: {added * J_PER_KWH:.3g} $/kWh of"
            f" auxiliary, {own * J_PER_KWH:.3g} $/kWh of baseline energy at mean intensity."
        )
    return _PricesOfSite(
        auxiliary_usd=None if auxiliary is None else auxiliary * J_PER_KWH,
        baseline_usd=None if baseline is None else baseline * J_PER_KWH,
        waste_usd=waste_usd * J_PER_KWH,
    )


def _mean_g_per_j(signal: CarbonSignal | None, edges: Any, site: Site) -> float:
    """Mean intensity of a signal over the horizon [g/J]; 0 where there is none."""
    if signal is None:
        return 0.0
    return float(np.mean(signal.slots(edges, start_unix_s=site.start_unix_s).intensity_g_per_j))


def _case(
    read: ReadScenario,
    scenario: Scenario,
    site: Site | None,
    flags: PlanFlags,
    notes: list[str],
) -> FleetCase:
    """The fleet and the digest of its trace."""
    trace = planned_trace(
        to_load(read.file.trace, flags.load_frac),
        read.folder,
        scenario.groups,
        most_requests=MOST_REQUESTS,
        most_days=MOST_DAYS,
    )
    notes += trace.notes
    source = trace.source if isinstance(trace.source, TraceSource) else source_of(trace.source)
    fleet, rest_w = [(group.kind, group.replicas) for group in scenario.groups], 0.0
    if scenario.choices:
        reference = scenario.choices[0]
        source = answered_by(reference, source)
        fleet, rest_w = serving(reference, scenario.groups, parking=scenario.parking)
        notes.append(f"The demand is that under the first option, {reference.name}.")
    pue = 1.0 if site is None else site.pue
    sharing: Sharing = "packed" if flags.sharing == "packed" else "even"
    return fleet_case(
        fleet,
        source,
        scale=trace.scale,
        sharing=sharing,
        parking=_parks(scenario, notes),
        name=scenario.name,
        pue=pue,
        overhead_w=pue * rest_w + (0.0 if site is None else site.overhead_w),
        **_promises(scenario.tiers, trace.source.classes),
    )


def _promises(tiers: tuple[Tier, ...], classes: tuple[str, ...]) -> dict[str, Any]:
    """The tightest promises of a first and a further token, of tiers that have requests."""
    used = [tier for tier in tiers if set(tier.classes) & set(classes)]
    return {
        name: min(
            (value for tier in used if (value := getattr(tier, name)) is not None),
            default=math.inf,
        )
        for name in ("ttft_s", "tpot_s")
    }


def _parks(scenario: Scenario, notes: list[str]) -> bool:
    """Whether replicas that the load does not need sleep."""
    if scenario.parking:
        return True
    sleeping = [group for group in scenario.groups if _sleeps(group)]
    if sleeping and len(sleeping) < len(scenario.groups):
        notes.append(
            "Some of the fleet may sleep after a time-out and some not: the plan lets none sleep."
        )
    return bool(sleeping) and len(sleeping) == len(scenario.groups)


def _sleeps(group: Group) -> bool:
    return group.park_after_s is not None or group.off_after_s is not None
