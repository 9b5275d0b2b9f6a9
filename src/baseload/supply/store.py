"""Storage: what a battery can hold, how fast, and what it loses and wears."""

from __future__ import annotations

import math

import msgspec

from baseload.base.errors import ArgumentError
from baseload.base.inputs import efficiency, not_negative, number, positive
from baseload.base.units import J_PER_KWH, S_PER_DAY, S_PER_HOUR

_MONTH_S = 365.25 / 12 * S_PER_DAY

ONE_WAY_EFFICIENCY = 0.95
SOC_WINDOW = (0.10, 0.90)
SELF_DISCHARGE_FRAC_PER_MONTH = 0.025
FULL_CYCLES = 6_000.0


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """A store of energy between the bus of a site and nothing else.

    ``capacity_j`` [J] is what the nameplate says; usable is the part between ``soc_min_frac`` and
    ``soc_max_frac`` of it. Infinite capacity is allowed with the full window only. 0: no store.

    ``charge_efficiency`` (bus to store) and ``discharge_efficiency`` (store to bus) lie in (0, 1].
    ``leak_per_s`` [1/s] is the rate of self-discharge of the usable level: what lies under the
    floor of the window is kept up by others. ``charge_limit_w``, ``discharge_limit_w`` [W] are
    counted at the bus. ``soc_start_frac``: state of charge at the start of a run, inside the
    window; ``None`` is its middle (an infinite store starts empty).

    ``wear_usd_per_j`` [$/J]: wear per joule that goes into or out of the cells; ``None``: not
    known. ``assumed`` names the fields whose values are assumptions. Raises ``ArgumentError``
    naming the field.
    """

    capacity_j: float = 0.0
    charge_efficiency: float = 1.0
    discharge_efficiency: float = 1.0
    leak_per_s: float = 0.0
    charge_limit_w: float = math.inf
    discharge_limit_w: float = math.inf
    soc_min_frac: float = 0.0
    soc_max_frac: float = 1.0
    soc_start_frac: float | None = None
    wear_usd_per_j: float | None = None
    assumed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a store that cannot be."""
        for field in ("capacity_j", "charge_limit_w", "discharge_limit_w"):
            not_negative(f"store: {field}", getattr(self, field), infinite=True)
        for field in ("charge_efficiency", "discharge_efficiency"):
            efficiency(f"store: {field}", getattr(self, field))
        not_negative("store: leak_per_s", self.leak_per_s)
        number("store: soc_min_frac", self.soc_min_frac, least=0.0, most=1.0)
        number("store: soc_max_frac", self.soc_max_frac, least=self.soc_min_frac, most=1.0)
        if self.wear_usd_per_j is not None:
            not_negative("store: wear_usd_per_j", self.wear_usd_per_j)
        if self.soc_start_frac is not None:
            number(
                "store: soc_start_frac",
                self.soc_start_frac,
                least=self.soc_min_frac,
                most=self.soc_max_frac,
            )
        window = (self.soc_min_frac, self.soc_max_frac, self.soc_start_frac)
        if math.isinf(self.capacity_j) and window != (0.0, 1.0, None):
            raise ArgumentError(
                "store: capacity_j",
                found="an infinite capacity with a window or start of its state of charge",
                allowed="the full window (0 to 1) and no start: an infinite store starts empty",
            )

    @property
    def usable_j(self) -> float:
        """Usable capacity [J]: between floor and ceiling of the window."""
        if math.isinf(self.capacity_j):
            return self.capacity_j
        return self.capacity_j * (self.soc_max_frac - self.soc_min_frac)

    @property
    def start_j(self) -> float:
        """Usable energy at the start of a run [J above the floor]."""
        if math.isinf(self.capacity_j):
            return 0.0
        if self.soc_start_frac is None:
            return 0.5 * self.usable_j
        return min(self.usable_j, self.capacity_j * (self.soc_start_frac - self.soc_min_frac))

    def soc_frac(self, level_j: float) -> float | None:
        """State of charge of the nameplate capacity at ``level_j`` [J above the floor]; ``None``
        where capacity is 0 or infinite.
        """
        if self.capacity_j == 0.0 or math.isinf(self.capacity_j):
            return None
        return self.soc_min_frac + level_j / self.capacity_j

    def throughput_j(self, charged_j: float, discharged_j: float) -> float:
        """Energy that went into and out of the cells [J] for energies at the bus."""
        return self.charge_efficiency * charged_j + discharged_j / self.discharge_efficiency

    def equivalent_cycles(self, charged_j: float, discharged_j: float) -> float:
        """Equivalent full cycles of a run: throughput over twice the usable capacity; 0 where that
        is 0 or infinite. ``charged_j``, ``discharged_j`` [J] at the bus.
        """
        if self.usable_j == 0.0 or math.isinf(self.usable_j):
            return 0.0
        return self.throughput_j(charged_j, discharged_j) / (2.0 * self.usable_j)

    def wear_usd(self, charged_j: float, discharged_j: float) -> float | None:
        """Wear of a run [$]; ``None`` where ``wear_usd_per_j`` is not known."""
        if self.wear_usd_per_j is None:
            return None
        return self.wear_usd_per_j * self.throughput_j(charged_j, discharged_j)


NO_STORE = Store()


def wear_usd_per_j(*, replacement_usd: float, full_cycles: float, usable_j: float) -> float:
    """Wear [$/J of throughput]: replacement cost over what goes in and out in a lifetime of
    ``full_cycles``, twice the usable capacity each.
    """
    lifetime_j = 2.0 * positive("full_cycles", full_cycles) * positive("usable_j", usable_j)
    return not_negative("replacement_usd", replacement_usd) / lifetime_j


def lithium_battery(
    capacity_kwh: float,
    c_rate: float = 0.5,
    *,
    replacement_usd_per_kwh: float | None = None,
    soc_start_frac: float | None = None,
) -> Store:
    """A lithium-ion battery of ``capacity_kwh`` [kWh, nameplate] with assumed numbers.

    Assumed, and said so in ``assumed``: 0.95 one way (0.90 for the round trip), window 10 to 90 %,
    self-discharge 2.5 % a month, 6,000 full cycles of the usable capacity (published ranges: 2 to
    3 % and 4,000 to 8,000). ``c_rate`` [1/h]: power limits over capacity, 0.25 to 1 in practice.
    ``replacement_usd_per_kwh`` [$/kWh, nameplate] gives the wear; without it wear is not known.
    Raises ``ArgumentError`` naming the argument.
    """
    capacity_j = not_negative("capacity_kwh", capacity_kwh) * J_PER_KWH
    limit_w = not_negative("c_rate", c_rate) * capacity_j / S_PER_HOUR
    low, high = SOC_WINDOW
    wear = None
    if replacement_usd_per_kwh is not None and capacity_j > 0.0:
        wear = wear_usd_per_j(
            replacement_usd=replacement_usd_per_kwh * capacity_kwh,
            full_cycles=FULL_CYCLES,
            usable_j=capacity_j * (high - low),
        )
    assumed = ["charge_efficiency", "discharge_efficiency", "leak_per_s"]
    assumed += ["charge_limit_w", "discharge_limit_w", "soc_min_frac", "soc_max_frac"]
    return Store(
        capacity_j=capacity_j,
        charge_efficiency=ONE_WAY_EFFICIENCY,
        discharge_efficiency=ONE_WAY_EFFICIENCY,
        leak_per_s=-math.log1p(-SELF_DISCHARGE_FRAC_PER_MONTH) / _MONTH_S,
        charge_limit_w=limit_w,
        discharge_limit_w=limit_w,
        soc_min_frac=low,
        soc_max_frac=high,
        soc_start_frac=soc_start_frac,
        wear_usd_per_j=wear,
        assumed=tuple(assumed + ["wear_usd_per_j"] * (wear is not None)),
    )
