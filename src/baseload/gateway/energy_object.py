"""The ``energy`` object that stands beside ``usage`` in an answer: a superset of Neuralwatt's."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from baseload.base.units import g_per_j_from_g_per_kwh, kwh_from_j

Method = Literal["modelled", "measured"]


def energy_object(
    energy_j: float,
    *,
    duration_s: float,
    model: str,
    replica: str,
    request_id: str,
    effort: str | None = None,
    budget_tokens: int | None = None,
    exhausted: bool = False,
    interval_j: tuple[float, float] | None = None,
    wasted_j: float = 0.0,
    carbon_g_per_kwh: float | None = None,
    attribution_frac: float | None = None,
    attribution_method: str = "marginal",
    method: Method = "modelled",
) -> bytes:
    """The object as JSON. Names and units are those that clients of Neuralwatt know: joules,
    kilowatt-hours, watts, seconds, grams of CO2 equivalent.

    ``energy_j``: of the request, its failed attempts (``wasted_j`` of it) included. ``duration_s``:
    from first byte to last. ``attribution_frac``: the request's share of what its batch took.
    ``attribution_method``: ``marginal`` is what the request added. ``interval_j``: lowest and
    highest that it may have been. ``carbon_g_per_kwh``: of the site's energy. What is unknown, not
    finite or below zero is null.
    """
    known_j = finite(energy_j)
    lasted_s = finite(duration_s)
    carbon = finite(carbon_g_per_kwh)
    told: dict[str, object] = {
        "energy_joules": known_j,
        "energy_kwh": None if known_j is None else kwh_from_j(known_j),
        "avg_power_watts": known_j / lasted_s if known_j is not None and lasted_s else None,
        "duration_seconds": lasted_s,
        "attribution_method": attribution_method,
        "attribution_ratio": finite(attribution_frac),
        "method": method,
        "interval": None if interval_j is None else [finite(end) for end in interval_j],
        "wasted_joules": finite(wasted_j),
        "carbon_g_co2eq": (
            None if known_j is None or carbon is None else known_j * g_per_j_from_g_per_kwh(carbon)
        ),
        "carbon_intensity_g_per_kwh": carbon,
        "model": model,
        "effort": effort,
        "budget_tokens": budget_tokens,
        "thinking_exhausted": exhausted,
        "replica": replica,
        "request_id": request_id,
    }
    return msgspec.json.encode(told)


def finite(value: float | None) -> float | None:
    """``value`` where it is a number that can be, else ``None``."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None
