"""How much of a site's supply is recorded, and which of its fields a plan does not need."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from baseload.base.units import NS_PER_S
from baseload.cli.scenario_fields import within
from baseload.cli.scenario_supply import SupplyEntry
from baseload.sources.series import SeriesSignal
from baseload.sources.signal_spec import signal_from_spec
from baseload.sources.signals import ns_of


def without_carbon(entry: SupplyEntry) -> SupplyEntry:
    """The entry without the carbon signals that move no number of a plan (and may be shorter than
    it): the marginal one, and without a price of carbon all of them.
    """
    replace = msgspec.structs.replace
    if entry.prices.carbon_usd_per_t is not None:
        return replace(entry, auxiliary=replace(entry.auxiliary, marginal_carbon=None))
    return replace(
        entry,
        auxiliary=replace(
            entry.auxiliary, carbon=None, carbon_g_per_kwh=None, marginal_carbon=None
        ),
        prices=replace(entry.prices, baseline_carbon_g_per_kwh=None),
    )


def recorded_s(entry: SupplyEntry, folder: Path) -> float:
    """Seconds from ``start`` until the first recorded series of the site ends; infinite where
    none does (constants, typical years, no series). Raises ``BadInputError`` naming the field.
    """
    with within("supply.start"):
        start_ns = ns_of(entry.start)
    known_s = math.inf
    for field, spec in _specs(entry):
        with within(field):
            signal = signal_from_spec(spec, folder=folder)
        if isinstance(signal, SeriesSignal):
            known_s = min(known_s, (int(signal.end_ns[-1]) - start_ns) / NS_PER_S)
    return known_s


def _specs(entry: SupplyEntry) -> Iterator[tuple[str, str]]:
    """The signals that a site names, with their fields."""
    for at, source in enumerate(entry.baseline):
        for name in ("pv", "wind", "power"):
            spec = getattr(source, name)
            if spec is not None:
                yield f"supply.baseline[{at}].{name}", spec
    for name in ("price", "carbon"):
        spec = getattr(entry.auxiliary, name)
        if spec is not None:
            yield f"supply.auxiliary.{name}", spec
