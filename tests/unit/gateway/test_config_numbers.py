"""Every number of the sections has a range, and defaults lie in it."""

from __future__ import annotations

import msgspec
import pytest

from baseload.gateway.config import GatewayConfig, ModelEntry, ReplicasEntry
from baseload.gateway.config_numbers import check_numbers
from baseload.gateway.faults import Faults

GOOD = GatewayConfig(models=(ModelEntry(name="a"),), replicas=(ReplicasEntry(model="a"),))
SECTIONS = ("limits", "retries", "breaker", "health", "telemetry")
NUMBERS = [
    f"{section}.{field.name}"
    for section in SECTIONS
    for field in msgspec.structs.fields(getattr(GOOD, section))
    if isinstance(field.default, int | float) and not isinstance(field.default, bool)
]


def paths(**changes):
    faults = Faults()
    check_numbers(faults, msgspec.structs.replace(GOOD, **changes))
    return [fault.path for fault in faults.found]


def with_value(path, value):
    section, _, field = path.partition(".")
    return {section: msgspec.structs.replace(getattr(GOOD, section), **{field: value})}


def test_the_defaults_are_good():
    assert paths() == []


@pytest.mark.parametrize("path", NUMBERS)
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e30])
def test_every_number_has_a_range(path, value):
    assert path in paths(**with_value(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("retries.backoff_s", 2.0),
        ("breaker.open_s", 100.0),
        ("health.path", "health"),
        ("health.metrics_path", "/a b"),
        ("health.path", "/a?b"),
        ("telemetry.otlp_endpoint", "otel:4318"),
        ("telemetry.otlp_endpoint", "http://u:p@otel"),
        ("telemetry.otlp_endpoint", "http://[::1"),
        ("telemetry.otlp_endpoint", "http://h:99999"),
    ],
)
def test_other_fields_are_looked_at_too(path, value):
    expected = {
        "retries.backoff_s": "retries.backoff_most_s",
        "breaker.open_s": "breaker.open_most_s",
    }
    assert paths(**with_value(path, value)) == [expected.get(path, path)]


def test_plain_numbers_of_the_file():
    assert paths(carbon_g_per_kwh=-1) == ["carbon_g_per_kwh"]
    assert paths(energy_usd_per_kwh=float("nan")) == ["energy_usd_per_kwh"]
    assert paths(seed=2**64) == ["seed"]
