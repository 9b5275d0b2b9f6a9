"""The energy object beside usage."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from baseload.gateway.energy_object import energy_object


def told(energy_j: float = 7200.0, **fields: Any) -> dict[str, Any]:
    given = {"duration_s": 2.0, "model": "m", "replica": "r", "request_id": "q"} | fields
    read = msgspec.json.decode(energy_object(energy_j, **given))
    assert isinstance(read, dict)
    return read


def test_it_has_every_field_that_clients_know() -> None:
    read = told(effort="low", carbon_g_per_kwh=400.0, interval_j=(7000.0, 7400.0))
    assert read["energy_joules"] == 7200.0
    assert read["energy_kwh"] == pytest.approx(0.002)
    assert read["avg_power_watts"] == 3600.0
    assert read["duration_seconds"] == 2.0
    assert read["carbon_g_co2eq"] == pytest.approx(0.8)
    assert read["interval"] == [7000.0, 7400.0]
    assert read["method"] == "modelled"
    assert {"attribution_method", "attribution_ratio"} <= read.keys()
    assert (read["model"], read["effort"], read["replica"]) == ("m", "low", "r")
    assert read["request_id"] == "q"


def test_what_is_unknown_is_null_never_zero() -> None:
    read = told(math.nan)
    for name in ("energy_joules", "energy_kwh", "avg_power_watts", "carbon_g_co2eq", "interval"):
        assert read[name] is None
    assert told(duration_s=0.0)["avg_power_watts"] is None
    assert told(carbon_g_per_kwh=None)["carbon_g_co2eq"] is None
    assert told(-1.0)["energy_joules"] is None
