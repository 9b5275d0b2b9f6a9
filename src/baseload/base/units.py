"""The only place where a quantity changes its unit.

Inside Baseload everything is SI, with the unit in the name: joules ``_j``, watts ``_w``, seconds
``_s``, fractions ``_frac``. Instants of a trace are integer microseconds ``_us``; instants of a
live run are ``_ns``.
"""

from __future__ import annotations

J_PER_KWH = 3.6e6
J_PER_MJ = 1e6
S_PER_MINUTE = 60.0
S_PER_HOUR = 3600.0
S_PER_DAY = 86_400.0
US_PER_S = 1_000_000
NS_PER_S = 1_000_000_000
G_PER_LB = 453.59237


def mj_from_j(energy_j: float) -> float:
    """Megajoules from joules."""
    return energy_j / J_PER_MJ


def kwh_from_j(energy_j: float) -> float:
    """Kilowatt-hours from joules."""
    return energy_j / J_PER_KWH


def kg_from_g(mass_g: float) -> float:
    """Kilograms from grams."""
    return mass_g / 1000.0


def g_per_j_from_g_per_kwh(intensity_g_per_kwh: float) -> float:
    """Carbon intensity in gCO2e per joule from gCO2e per kilowatt-hour."""
    return intensity_g_per_kwh / J_PER_KWH


def usd_per_j_from_usd_per_kwh(tariff_usd_per_kwh: float) -> float:
    """Price of a joule in dollars from dollars per kilowatt-hour."""
    return tariff_usd_per_kwh / J_PER_KWH


def s_from_us(instant_us: float) -> float:
    """Seconds from microseconds."""
    return instant_us / US_PER_S


def s_from_ms(duration_ms: float) -> float:
    """Seconds from milliseconds."""
    return duration_ms / 1000.0


def ms_from_s(duration_s: float) -> float:
    """Milliseconds from seconds."""
    return duration_s * 1000.0


def g_per_kwh_from_lb_per_mwh(intensity_lb_per_mwh: float) -> float:
    """Carbon intensity in grams per kilowatt-hour from pounds per megawatt-hour."""
    return intensity_lb_per_mwh * G_PER_LB / 1000.0


def s_from_ns(duration_ns: float) -> float:
    """Seconds from nanoseconds."""
    return duration_ns / NS_PER_S


def ns_from_s(duration_s: float) -> int:
    """Whole nanoseconds from seconds."""
    return round(duration_s * NS_PER_S)
