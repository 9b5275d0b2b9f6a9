"""Floor 3: files and feeds. Trace readers and writers, profile files, carbon and price services.

The names of signals are loaded at first use: a run that needs none does not load HTTP and XML.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from baseload.sources.trace_writers import write_mooncake, write_parquet, write_trace, write_vidur
from baseload.sources.traces import (
    BUILTIN_TRACES,
    LoadedTrace,
    TraceWarning,
    builtin_trace,
    load_trace,
    read_trace,
)

_HOMES = {
    "constant": ("ConstantSignal",),
    "electricity_maps": ("ElectricityMapsSignal",),
    "entso_e": ("EntsoECarbonSignal", "EntsoEPriceSignal"),
    "gb_carbon": ("GbCarbonSignal",),
    "http_client": ("Connection",),
    "series": ("Gap", "Samples", "SeriesSignal"),
    "shipped": ("SHIPPED", "shipped_series"),
    "signal_files": ("SignalWarning", "read_signal"),
    "signal_spec": ("signal_from_spec",),
    "signals": (
        "Forecast",
        "Point",
        "Reading",
        "Signal",
        "StaleRule",
        "aged",
        "combine",
        "ns_of",
    ),
    "typical_year": ("TypicalYear",),
    "watttime": ("WattTimeSignal",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BUILTIN_TRACES",
    "SHIPPED",
    "Connection",
    "ConstantSignal",
    "ElectricityMapsSignal",
    "EntsoECarbonSignal",
    "EntsoEPriceSignal",
    "Forecast",
    "Gap",
    "GbCarbonSignal",
    "LoadedTrace",
    "Point",
    "Reading",
    "Samples",
    "SeriesSignal",
    "Signal",
    "SignalWarning",
    "StaleRule",
    "TraceWarning",
    "TypicalYear",
    "WattTimeSignal",
    "aged",
    "builtin_trace",
    "combine",
    "load_trace",
    "ns_of",
    "read_signal",
    "read_trace",
    "shipped_series",
    "signal_from_spec",
    "write_mooncake",
    "write_parquet",
    "write_trace",
    "write_vidur",
]

if TYPE_CHECKING:
    from baseload.sources.constant import ConstantSignal
    from baseload.sources.electricity_maps import ElectricityMapsSignal
    from baseload.sources.entso_e import EntsoECarbonSignal, EntsoEPriceSignal
    from baseload.sources.gb_carbon import GbCarbonSignal
    from baseload.sources.http_client import Connection
    from baseload.sources.series import Gap, Samples, SeriesSignal
    from baseload.sources.shipped import SHIPPED, shipped_series
    from baseload.sources.signal_files import SignalWarning, read_signal
    from baseload.sources.signal_spec import signal_from_spec
    from baseload.sources.signals import (
        Forecast,
        Point,
        Reading,
        Signal,
        StaleRule,
        aged,
        combine,
        ns_of,
    )
    from baseload.sources.typical_year import TypicalYear
    from baseload.sources.watttime import WattTimeSignal


def __getattr__(name: str) -> Any:
    """Load a name of the signals from its module at first use."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'baseload.sources' has no attribute {name!r}")
    value = getattr(import_module(f"baseload.sources.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
