"""A site: what feeds a fleet, what it costs and what it emits, as one record."""

from __future__ import annotations

import math

import msgspec

from baseload.base.errors import ArgumentError
from baseload.base.inputs import not_negative, number, positive
from baseload.supply.baseline import Source
from baseload.supply.carbon import CarbonSignal, need_kind
from baseload.supply.store import NO_STORE, Store
from baseload.supply.tariff import EnergyPrice, Tariff


class Site(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What feeds a fleet.

    Energy: ``baseline`` source, ``store``, auxiliary supply of at most ``auxiliary_limit_w`` [W]
    (0: islanded). Demand at the bus is ``pue`` times the fleet's energy plus ``overhead_w`` [W]
    that the site always draws (network, lights); theory subtracts the second from the baseline.

    Prices: ``baseline_usd_per_j`` for every joule of baseline, used or not; ``tariff`` for
    auxiliary energy; ``waste_usd_per_j`` or a price over time for waste, negative where feeding in
    is paid; ``carbon_usd_per_g``; ``unserved_usd_per_j`` for demand that was not met.
    A price of ``None`` is not known: its part of the cost is missing, not 0.

    Grams: ``auxiliary_carbon`` and ``baseline_carbon`` are average signals, for the inventory;
    ``auxiliary_marginal`` a marginal one, for the effect of drawing. ``start_unix_s``
    [s since 1970, UTC]: when second 0 of the run is. ``slot_s`` [s]: length of a slot.

    Raises ``ArgumentError`` naming the field.
    """

    baseline: Source
    store: Store = NO_STORE
    auxiliary_limit_w: float = math.inf
    pue: float = 1.0
    overhead_w: float = 0.0
    baseline_usd_per_j: float | None = None
    tariff: Tariff | None = None
    waste_usd_per_j: float | EnergyPrice = 0.0
    unserved_usd_per_j: float | None = None
    carbon_usd_per_g: float | None = None
    auxiliary_carbon: CarbonSignal | None = None
    baseline_carbon: CarbonSignal | None = None
    auxiliary_marginal: CarbonSignal | None = None
    slot_s: float = 900.0
    start_unix_s: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse a site that cannot be."""
        not_negative("site: auxiliary_limit_w", self.auxiliary_limit_w, infinite=True)
        number("site: pue", self.pue, least=1.0)
        not_negative("site: overhead_w", self.overhead_w)
        for field in ("baseline_usd_per_j", "unserved_usd_per_j", "carbon_usd_per_g"):
            if getattr(self, field) is not None:
                not_negative(f"site: {field}", getattr(self, field))
        if isinstance(self.waste_usd_per_j, (int, float)):
            number("site: waste_usd_per_j", self.waste_usd_per_j)
        positive("site: slot_s", self.slot_s)
        number("site: start_unix_s", self.start_unix_s)
        for field in ("auxiliary_carbon", "baseline_carbon"):
            signal = getattr(self, field)
            if signal is not None:
                need_kind(f"site: {field}", "average", signal)
        if self.auxiliary_marginal is not None:
            need_kind("site: auxiliary_marginal", "marginal", self.auxiliary_marginal)
        if self.carbon_usd_per_g and self.auxiliary_carbon is None:
            raise ArgumentError(
                "site: carbon_usd_per_g",
                found="a price of carbon without auxiliary_carbon",
                allowed="a price and an average signal to apply it to",
            )

    def net_baseline_w(self) -> float:
        """Long-run mean of the baseline less what the site itself draws [W]; below 0 where the
        site is under-supplied before the fleet does anything.
        """
        return self.baseline.mean_w() - self.overhead_w
