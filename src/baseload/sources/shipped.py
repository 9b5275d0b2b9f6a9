"""Supply series that ship in the package: grid carbon, prices, typical years of sun and wind.

Recorded years and weather of public origin; sources, licences and changes are in NOTICE. A typical
year is not the year of a carbon series: use both together only where their correlation does not
matter.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import msgspec
import numpy as np
from numpy.typing import NDArray

from baseload.base.errors import unknown_name
from baseload.base.units import S_PER_DAY, S_PER_HOUR, ns_from_s
from baseload.sources.series import SeriesSignal
from baseload.sources.signals import Kind, StaleRule, Unit, ns_of
from baseload.sources.typical_year import TypicalYear

SHIPPED_RULE = StaleRule(refuse_s=S_PER_DAY)
"""The longest gap, 16 hours of PJM in March 2022, is filled, marked and widened."""

_EIA = "U.S. EIA hourly grid monitor (EIA-930), life-cycle average"
_ENTSO_E = "ENTSO-E Transparency Platform, generation per type, life-cycle average"
_SMARD = "Bundesnetzagentur, SMARD.de, day-ahead price"
_TMY = "TMY3 typical year"


class ShippedSeries(msgspec.Struct, frozen=True, kw_only=True):
    """Where a shipped series lies and what it is.

    Values are ``column`` of ``file`` divided by ``scale``, hourly. ``first``: date of the first
    value, ``None`` for a typical year, which begins at ``utc_offset_s``. ``hours`` from hour
    ``skip`` of the column.
    """

    file: str
    column: str
    scale: float
    unit: Unit
    kind: Kind
    source: str
    first: str | None
    hours: int
    skip: int = 0
    utc_offset_s: float = 0.0


def _carbon(file: str, region: str, year: int, hours: int, source: str) -> ShippedSeries:
    """One region's average carbon intensity of a year."""
    return ShippedSeries(
        file=file,
        column=region,
        scale=10.0,
        unit="g_per_kwh",
        kind="average",
        source=f"{source}, {region} {year}",
        first=f"{year}-01-01T00:00Z",
        hours=hours,
    )


def _price(year: int, hours: int, skip: int) -> ShippedSeries:
    """The day-ahead price of DE-LU in a year."""
    return ShippedSeries(
        file="price_de_lu_2024_2025",
        column="DE-LU",
        scale=100.0,
        unit="eur_per_mwh",
        kind="price",
        source=f"{_SMARD}, DE-LU {year}",
        first=f"{year}-01-01T00:00Z",
        hours=hours,
        skip=skip,
    )


def _typical(
    what: str, region: str, offset_h: int, scale: float, unit: Unit, kind: Kind
) -> ShippedSeries:
    """One quantity of a typical year."""
    return ShippedSeries(
        file="typical_year",
        column=f"{what}/{region}",
        scale=scale,
        unit=unit,
        kind=kind,
        source=f"{_TMY}, {what} near {region}",
        first=None,
        hours=8760,
        utc_offset_s=offset_h * S_PER_HOUR,
    )


_SITES = {"US-CAISO": -8, "US-ERCOT": -6, "US-PJM": -5}
SHIPPED: dict[str, ShippedSeries] = {
    **{
        f"carbon/{region}-2022": _carbon("carbon_us_2022", region, 2022, 8760, _EIA)
        for region in ("US-BPAT", "US-CAISO", "US-ERCOT", "US-NYISO", "US-PJM")
    },
    **{
        f"carbon/{region}-2020": _carbon("carbon_eu_2020", region, 2020, 8784, _ENTSO_E)
        for region in ("FR", "GB")
    },
    "price/DE-LU-2024": _price(2024, 8784, 0),
    "price/DE-LU-2025": _price(2025, 8760, 8784),
    **{
        f"pv/{region}": _typical("pv", region, offset, 1e4, "frac", "capacity_factor")
        for region, offset in _SITES.items()
    },
    **{
        f"wind/{region}": _typical("wind", region, offset, 1e4, "frac", "capacity_factor")
        for region, offset in _SITES.items()
    },
    **{
        f"temperature/{region}": _typical("temperature", region, offset, 10, "degc", "temperature")
        for region, offset in _SITES.items()
    },
}
"""Every shipped series by name."""


def shipped_series(
    name: str, *, repeat: bool = False, rule: StaleRule | None = None
) -> SeriesSignal | TypicalYear:
    """A series that ships in the package, by a name such as ``carbon/US-CAISO-2022``.

    ``carbon/...`` [g_per_kwh, average life-cycle], ``price/...`` [eur_per_mwh], ``pv/...`` [frac of
    the DC power that the modules are rated for, at most 0.83: the inverter is 1.2 times smaller],
    ``wind/...`` [frac of rated power, 100 m], ``temperature/...`` [degc]. ``repeat``: answer for
    any year with the value of the same hour of the recorded one, marked estimated; typical years
    always do. ``rule``: by default fresh for 0 s, refused after a day.

    Raises ``UnknownNameError`` with the nearest names.
    """
    if name not in SHIPPED:
        raise unknown_name("shipped series", name, SHIPPED)
    entry = SHIPPED[name]
    rule = SHIPPED_RULE if rule is None else rule
    values = _column(entry.file, entry.column)[entry.skip : entry.skip + entry.hours] / entry.scale
    if entry.first is None or repeat:
        return TypicalYear(
            values,
            unit=entry.unit,
            kind=entry.kind,
            source=entry.source + (", repeated" if entry.first else ""),
            utc_offset_s=entry.utc_offset_s,
            rule=rule,
        )
    hour_ns = ns_from_s(S_PER_HOUR)
    starts_ns = ns_of(entry.first) + np.arange(entry.hours, dtype=np.int64) * hour_ns
    known = np.isfinite(values)
    return SeriesSignal(
        start_ns=starts_ns[known],
        end_ns=starts_ns[known] + hour_ns,
        values=values[known],
        unit=entry.unit,
        kind=entry.kind,
        source=entry.source,
        rule=rule,
    )


@cache
def _column(file: str, column: str) -> NDArray[np.float64]:
    """A column of a shipped file, NaN where it is empty; not to be written to."""
    import polars as pl

    shipped = resources.files("baseload.sources") / "data" / f"{file}.parquet"
    with resources.as_file(shipped) as path:
        table = pl.read_parquet(path, columns=[column])
    values: NDArray[np.float64] = table[column].cast(pl.Float64).to_numpy().astype(np.float64)
    values.setflags(write=False)
    return values
