"""Floor 3: files and feeds. Trace readers and writers, profile files, carbon and price services."""

from baseload.sources.trace_writers import write_mooncake, write_parquet, write_trace, write_vidur
from baseload.sources.traces import (
    BUILTIN_TRACES,
    LoadedTrace,
    TraceWarning,
    builtin_trace,
    load_trace,
    read_trace,
)

__all__ = [
    "BUILTIN_TRACES",
    "LoadedTrace",
    "TraceWarning",
    "builtin_trace",
    "load_trace",
    "read_trace",
    "write_mooncake",
    "write_parquet",
    "write_trace",
    "write_vidur",
]
