"""The slots of a site put together in blocks, for the clairvoyant dispatch: whatever a run did in
its slots is allowed in the blocks, at no higher prices (docs/explanation/dispatch.md).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from baseload.base.inputs import Floats
from baseload.supply.site import Site


class Blocks(NamedTuple):
    """Slots put together in ``b`` blocks: of each what bounds the flows in it.

    ``edges_s`` ``[b + 1]``; ``supply_j`` baseline, ``surplus_j`` the part of it above 0 (most waste
    there can be), ``charge_j`` and ``discharge_j`` the most at the bus, ``auxiliary_j`` the most
    bought [J]; ``leak_frac`` of the level at the beginning that leaks in the first slot,
    ``leaked_frac`` of the capacity the most that leaks in the others; ``fixed_j`` demand at the bus
    that no choice changes; ``energy_usd`` and ``carbon_usd`` [$/J] of auxiliary energy in the
    cheapest slot, ``waste_usd`` [$/J] in the cheapest slot. All ``[b]``.
    """

    edges_s: Floats
    supply_j: Floats
    surplus_j: Floats
    charge_j: Floats
    discharge_j: Floats
    auxiliary_j: Floats
    leak_frac: Floats
    leaked_frac: Floats
    fixed_j: Floats
    energy_usd: Floats
    carbon_usd: Floats
    waste_usd: Floats


def blocks_of(
    site: Site, edges_s: Floats, baseline_w: Floats, fleet_w: Floats, *, most_blocks: int
) -> Blocks:
    """The slots between ``edges_s`` ``[n + 1]`` in at most ``most_blocks`` equal runs of them.

    ``baseline_w`` [W] ``[n]``; ``fleet_w`` [W] ``[n]``: what the fleet draws whatever it does.
    """
    count = len(edges_s) - 1
    starts = np.arange(0, count, -(-count // most_blocks))
    lengths_s, store = np.diff(edges_s), site.store
    leak_frac = -np.expm1(-store.leak_per_s * lengths_s)
    energy_usd, carbon_usd = auxiliary_prices(site, edges_s)
    cheapest = _least_at(energy_usd + carbon_usd, starts)
    room_j = store.usable_j / store.charge_efficiency  # the most that a slot can take and give
    held_j = store.usable_j * store.discharge_efficiency

    def total(values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values, starts), dtype=np.float64)

    return Blocks(
        edges_s=np.append(edges_s[starts], edges_s[-1]),
        supply_j=total(baseline_w * lengths_s),
        surplus_j=total(np.maximum(0.0, baseline_w) * lengths_s),
        charge_j=total(np.minimum(store.charge_limit_w * lengths_s, room_j)),
        discharge_j=total(np.minimum(store.discharge_limit_w * lengths_s, held_j)),
        auxiliary_j=total(site.auxiliary_limit_w * lengths_s),
        leak_frac=leak_frac[starts],
        leaked_frac=total(leak_frac) - leak_frac[starts],
        fixed_j=total((site.pue * fleet_w + site.overhead_w) * lengths_s),
        energy_usd=energy_usd[cheapest],
        carbon_usd=carbon_usd[cheapest],
        waste_usd=np.minimum.reduceat(waste_prices(site, edges_s), starts),
    )


def auxiliary_prices(site: Site, edges_s: Floats) -> tuple[Floats, Floats]:
    """What a joule of auxiliary energy costs in each slot [$/J] ``[n]``: by the tariff, and by its
    grams in the location-based inventory; 0 where the site does not say.
    """
    none = np.zeros(len(edges_s) - 1)
    energy_usd, carbon_usd = none, none
    if site.tariff is not None:
        energy_usd = site.tariff.energy.slot_usd_per_j(edges_s, start_unix_s=site.start_unix_s)
    if site.carbon_usd_per_g and site.auxiliary_carbon is not None:
        signal = site.auxiliary_carbon.slots(edges_s, start_unix_s=site.start_unix_s)
        carbon_usd = site.carbon_usd_per_g * signal.intensity_g_per_j
    return energy_usd, carbon_usd


def waste_prices(site: Site, edges_s: Floats) -> Floats:
    """What a joule of waste costs in each slot [$/J] ``[n]``."""
    if isinstance(site.waste_usd_per_j, (int, float)):
        return np.full(len(edges_s) - 1, float(site.waste_usd_per_j))
    return site.waste_usd_per_j.slot_usd_per_j(edges_s, start_unix_s=site.start_unix_s)


def _least_at(values: Floats, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where the least of ``values`` is in each of the runs that begin at ``starts``."""
    ends = np.append(starts[1:], len(values))
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    return np.array([begin + int(np.argmin(values[begin:end])) for begin, end in pairs])
