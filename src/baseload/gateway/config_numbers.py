"""The numbers of a configuration, each in its range: a value outside is a slip of the pen, or a
time in another unit.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from baseload.gateway.config import GatewayConfig
from baseload.gateway.faults import Faults

_DAY_S = 86_400
_GIB = 2**30
_RANGES: dict[str, tuple[float, float]] = {
    "limits.body_bytes": (1024, _GIB),
    "limits.header_bytes": (1024, 2**20),
    "limits.body_s": (0.1, 3600),
    "limits.concurrent_requests": (1, 1_000_000),
    "limits.connect_s": (0.01, 300),
    "limits.first_byte_s": (0.1, _DAY_S),
    "limits.idle_s": (0.1, _DAY_S),
    "limits.total_s": (0.1, 7 * _DAY_S),
    "limits.drain_s": (0, 3600),
    "limits.line_bytes": (1024, _GIB),
    "retries.attempts": (0, 20),
    "retries.backoff_s": (0, 60),
    "retries.backoff_most_s": (0, 600),
    "breaker.failures": (1, 1000),
    "breaker.open_s": (0.01, 3600),
    "breaker.open_most_s": (0.01, _DAY_S),
    "health.period_s": (0.1, 3600),
    "health.timeout_s": (0.01, 300),
    "health.failures": (1, 1000),
    "health.metrics_s": (0, 3600),
    "telemetry.decisions_kept": (0, 1_000_000),
    "carbon_g_per_kwh": (0, 1e6),
    "energy_usd_per_kwh": (0, 1000),
    "seed": (0, 2**63 - 1),
}
_NO_LESS = (
    ("retries.backoff_most_s", "retries.backoff_s"),
    ("breaker.open_most_s", "breaker.open_s"),
)
"""Pairs of fields, the first no less than the second."""


def check_numbers(faults: Faults, config: GatewayConfig) -> None:
    """Note the numbers, paths and the end-point of the sections that are not lists."""
    values: dict[str, float | None] = {}
    for path, (low, high) in _RANGES.items():
        section, _, field = path.rpartition(".")
        values[path] = getattr(getattr(config, section) if section else config, field)
        faults.number(path, values[path], low=low, high=high)
    for more, less in _NO_LESS:
        most, least = values[more], values[less]
        assert most is not None
        assert least is not None
        faults.require(
            not most < least,
            more,
            found=f"{most:g}, and {less} is {least:g}",
            allowed=f"no less than {less}",
        )
    for field in ("path", "metrics_path"):
        path = getattr(config.health, field)
        faults.require(
            path.startswith("/") and path.isascii() and path.isprintable()
            and not set(path) & set(" ?#") and len(path) <= 500,
            f"health.{field}",
            found=repr(path)[:80],
            allowed="a path that begins with /, as /health",
        )  # fmt: skip
    _endpoint(faults, config.telemetry.otlp_endpoint)


def _endpoint(faults: Faults, url: str | None) -> None:
    """Where spans go: a URL without secrets."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        good = good and "@" not in parts.netloc and url.isascii() and url.isprintable()
    except ValueError:
        good = False
    faults.require(
        good and not set(url) & set(" ?#"),
        "telemetry.otlp_endpoint",
        found="another text (not shown)",
        allowed="http://HOST:4318 or https://HOST, without user name, password or query",
    )
