"""The books of a run at a site: joules, grams and dollars, settled slot by slot."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.base.inputs import Floats, number, numbers
from baseload.supply.carbon import Emissions, location_based, marginal_effect
from baseload.supply.random_paths import Randomness
from baseload.supply.series import slot_edges, slot_lengths
from baseload.supply.site import Site
from baseload.supply.slot import SlotColumns, SlotRun, balance_residual_frac, run_slots
from baseload.supply.tariff import DEMAND_WINDOW_S, Bill, bill, window_means_w


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What a run cost [$], by part; ``None`` where the site does not say the price.

    ``baseline_usd`` for all baseline, used or not; ``energy_usd``, ``demand_usd``, ``fixed_usd``
    the parts of the auxiliary bill (the demand charge bills whole months and is not additive over
    hours); ``waste_usd`` negative where feeding in is paid; ``carbon_usd`` for the inventory;
    ``unserved_usd``; ``wear_usd`` of the store.
    """

    baseline_usd: float | None
    energy_usd: float | None
    demand_usd: float | None
    fixed_usd: float | None
    waste_usd: float
    carbon_usd: float | None
    unserved_usd: float | None
    wear_usd: float | None

    @property
    def total_usd(self) -> float:
        """Sum of the parts that are known [$]."""
        parts = (getattr(self, name) for name in self.__struct_fields__)
        return math.fsum(part for part in parts if part is not None)

    @property
    def missing(self) -> tuple[str, ...]:
        """The parts that are not in the total because their price is not known."""
        return tuple(name for name in self.__struct_fields__ if getattr(self, name) is None)


class SupplyAccount(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A run at a site.

    Joules: ``fleet_j`` what the fleet drew, ``demand_j`` at the bus (with PUE and overhead),
    ``baseline_j`` there was, ``baseline_used_j`` of it, ``auxiliary_j`` bought, ``waste_j``,
    ``unserved_j``, ``store_change_j`` from ``level_start_j`` to ``level_end_j``, ``charged_j`` and
    ``discharged_j`` at the bus, ``leak_j``, ``loss_j``. ``balance_residual_frac``: what is out of
    balance, as a share of the largest flow (round-off).

    ``peak_w`` [W]: highest mean auxiliary power over a metering window. ``equivalent_cycles`` of
    the store. ``location_based``: grams of the inventory (auxiliary and baseline at average
    intensity), ``None`` without signals; ``carbon_missing`` names what has none.
    ``marginal_effect``: grams that drawing the auxiliary energy caused at marginal intensity; never
    to be subtracted from the inventory. ``carbon_estimated_frac``: share of auxiliary energy whose
    intensity was estimated; ``carbon_age_s`` the oldest value used [s].

    ``edges_s`` ``[slots + 1]`` [s of the run]; ``columns`` slot by slot where asked for.
    """

    slots: int
    span_s: float
    fleet_j: float
    demand_j: float
    baseline_j: float
    baseline_used_j: float
    auxiliary_j: float
    waste_j: float
    unserved_j: float
    level_start_j: float
    level_end_j: float
    store_change_j: float
    charged_j: float
    discharged_j: float
    leak_j: float
    loss_j: float
    peak_w: float
    equivalent_cycles: float
    balance_residual_frac: float
    location_based: Emissions | None
    carbon_missing: tuple[str, ...]
    marginal_effect: Emissions | None
    carbon_estimated_frac: float | None
    carbon_age_s: float | None
    costs: Costs
    bill: Bill | None
    edges_s: Floats
    columns: SlotColumns | None


def settle(
    site: Site,
    fleet_energy_j: ArrayLike,
    *,
    slot_s: ArrayLike | None = None,
    start_s: float = 0.0,
    random: Randomness | None = None,
    baseline_w: ArrayLike | None = None,
    start_level_j: float | None = None,
    columns: bool = True,
) -> SupplyAccount:
    """Settle a run: ``fleet_energy_j`` [J] ``[n]`` is what the fleet drew in each slot (all of it,
    idle power included, at the boundary that the site's PUE applies to).

    ``slot_s`` [s]: other lengths than the site's, one or ``[n]``. ``start_s``: second of the run at
    which the first slot begins. ``random``: a generator, or a seed and names, for random baselines.
    ``baseline_w`` [W] ``[n]``: mean baseline in each slot, where it has been drawn before.
    ``start_level_j``: level of the store to begin with, where it is not the store's own.
    Raises ``ArgumentError`` naming the field; a supply trace that is shorter than the run names
    both lengths.
    """
    fleet = numbers("fleet_energy_j", fleet_energy_j, least=0.0, shape=(-1,))
    begin_s = number("start_s", start_s)
    given_s = site.slot_s if slot_s is None else slot_s
    lengths = slot_lengths(given_s, len(fleet))
    edges = slot_edges(given_s, len(fleet), start_s=begin_s)
    supply_w = _baseline_w(site, edges, random, baseline_w)
    done = run_slots(
        supply_w * lengths,
        site.pue * fleet + site.overhead_w * lengths,
        given_s if np.ndim(given_s) == 0 else lengths,
        store=site.store,
        auxiliary_limit_w=site.auxiliary_limit_w,
        start_j=start_level_j,
    )
    assert done.columns is not None
    auxiliary_w = done.columns.auxiliary_j / lengths
    return _account(site, fleet, edges, auxiliary_w, done, keep=columns)


def _baseline_w(
    site: Site, edges: Floats, random: Randomness | None, baseline_w: ArrayLike | None
) -> Floats:
    """Mean baseline in each slot [W]: given, or drawn."""
    if baseline_w is None:
        return site.baseline.power_w(edges, random)
    found = numbers("baseline_w", baseline_w)
    if found.shape != (len(edges) - 1,):
        raise ArgumentError(
            "baseline_w",
            found=f"shape {found.shape}",
            allowed=f"one value for each of the {len(edges) - 1} slots",
        )
    return found


def _account(
    site: Site, fleet: Floats, edges: Floats, auxiliary_w: Floats, done: SlotRun, *, keep: bool
) -> SupplyAccount:
    """The books of slots that have been run."""
    totals, columns = done.totals, done.columns
    assert columns is not None
    paid = (
        None
        if site.tariff is None
        else bill(site.tariff, edges, auxiliary_w, start_unix_s=site.start_unix_s)
    )
    inventory, missing = _inventory(site, edges, columns)
    estimated_frac, age_s = _carbon_quality(site, edges, columns)
    marginal = (
        None
        if site.auxiliary_marginal is None
        else marginal_effect(
            site.auxiliary_marginal, edges, columns.auxiliary_j, start_unix_s=site.start_unix_s
        )
    )
    return SupplyAccount(
        slots=totals.slots,
        span_s=float(edges[-1] - edges[0]),
        fleet_j=math.fsum(fleet.tolist()),
        demand_j=totals.demand_j,
        baseline_j=totals.supply_j,
        baseline_used_j=totals.baseline_used_j,
        auxiliary_j=totals.auxiliary_j,
        waste_j=totals.waste_j,
        unserved_j=totals.unserved_j,
        level_start_j=totals.level_start_j,
        level_end_j=totals.level_end_j,
        store_change_j=totals.store_change_j,
        charged_j=totals.charged_j,
        discharged_j=totals.discharged_j,
        leak_j=totals.leak_j,
        loss_j=totals.loss_j,
        peak_w=_peak_w(site, edges, auxiliary_w),
        equivalent_cycles=site.store.equivalent_cycles(totals.charged_j, totals.discharged_j),
        balance_residual_frac=balance_residual_frac(totals),
        location_based=inventory,
        carbon_missing=missing,
        marginal_effect=marginal,
        carbon_estimated_frac=estimated_frac,
        carbon_age_s=age_s,
        costs=_costs(site, edges, done, paid, inventory),
        bill=paid,
        edges_s=edges,
        columns=columns if keep else None,
    )


def _peak_w(site: Site, edges: Floats, auxiliary_w: Floats) -> float:
    """Highest mean auxiliary power over a metering window [W]; 0 for a run without slots."""
    demand = None if site.tariff is None else site.tariff.demand
    offset_s = 0.0 if site.tariff is None else site.tariff.utc_offset_s
    means, _ = window_means_w(
        edges,
        auxiliary_w,
        window_s=DEMAND_WINDOW_S if demand is None else demand.window_s,
        shift_s=site.start_unix_s + offset_s,
    )
    return float(means.max()) if len(means) else 0.0


def _inventory(
    site: Site, edges: Floats, columns: SlotColumns
) -> tuple[Emissions | None, tuple[str, ...]]:
    """Grams of all baseline and of auxiliary energy at average intensity, and which has no
    signal.
    """
    found: Emissions | None = None
    missing = []
    for name, signal, energy_j in (
        ("auxiliary", site.auxiliary_carbon, columns.auxiliary_j),
        ("baseline", site.baseline_carbon, columns.supply_j),
    ):
        if signal is None:
            missing.append(name)
            continue
        part = location_based(signal, edges, energy_j, start_unix_s=site.start_unix_s)
        found = part if found is None else found + part
    return found, tuple(missing)


def _carbon_quality(
    site: Site, edges: Floats, columns: SlotColumns
) -> tuple[float | None, float | None]:
    """Share of auxiliary energy at estimated intensity, and the oldest value used [s]."""
    if site.auxiliary_carbon is None or len(edges) < 2:
        return None, None
    found = site.auxiliary_carbon.slots(edges, start_unix_s=site.start_unix_s)
    all_j = float(columns.auxiliary_j.sum())
    estimated_j = float(columns.auxiliary_j[found.estimated].sum())
    return (estimated_j / all_j if all_j > 0.0 else 0.0), float(found.age_s.max())


def _costs(
    site: Site, edges: Floats, done: SlotRun, paid: Bill | None, inventory: Emissions | None
) -> Costs:
    """Dollars by part."""
    totals, columns = done.totals, done.columns
    assert columns is not None
    if isinstance(site.waste_usd_per_j, (int, float)):
        waste_usd = site.waste_usd_per_j * totals.waste_j
    else:
        prices = site.waste_usd_per_j.slot_usd_per_j(edges, start_unix_s=site.start_unix_s)
        waste_usd = math.fsum((prices * columns.waste_j).tolist())
    carbon_usd = None
    if site.carbon_usd_per_g is not None and inventory is not None:
        carbon_usd = site.carbon_usd_per_g * inventory.mass_g
    return Costs(
        baseline_usd=_priced(site.baseline_usd_per_j, totals.supply_j),
        energy_usd=None if paid is None else paid.energy_usd,
        demand_usd=None if paid is None else paid.demand_usd,
        fixed_usd=None if paid is None else paid.fixed_usd,
        waste_usd=waste_usd,
        carbon_usd=carbon_usd,
        unserved_usd=_priced(site.unserved_usd_per_j, totals.unserved_j),
        wear_usd=site.store.wear_usd(totals.charged_j, totals.discharged_j),
    )


def _priced(usd_per_j: float | None, energy_j: float) -> float | None:
    """Price times energy [$]; 0 for no energy, else ``None`` without a price."""
    if energy_j == 0.0:
        return 0.0
    return None if usd_per_j is None else usd_per_j * energy_j
