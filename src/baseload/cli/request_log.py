"""One row per ended request, as Parquet: for people who want to look at single requests."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from baseload.simulator.records import LOG, records
from baseload.simulator.scenario import Scenario
from baseload.sources.files import write_whole

_COLUMNS = (
    "number",
    "arrival_s",
    "first_s",
    "finish_s",
    "energy_j",
    "input_tokens",
    "output_tokens",
    "replica",
    "preemptions",
)


class RequestLog:
    """Collects ended requests of all policies and seeds; ``write`` puts them into one Parquet file.

    Columns as in docs/reference/simulate.md. Memory grows with the requests: about 70 bytes each.
    """

    def __init__(self, path: Path, scenario: Scenario) -> None:
        self._path = path
        self._tiers = [tier.name for tier in scenario.tiers]
        self._frames: list[pl.DataFrame] = []

    def add(self, policy: str, seed: int, rows: np.recarray[Any, Any]) -> None:
        """Take in ended requests (``records.LOG``) of one run."""
        frame = pl.DataFrame({name: np.ascontiguousarray(rows[name]) for name in _COLUMNS})
        names = np.array(self._tiers, dtype=object)[rows.tier].tolist()
        self._frames.append(
            frame.with_columns(
                pl.lit(policy).alias("policy"),
                pl.lit(seed, dtype=pl.Int32).alias("seed"),
                pl.Series("tier", names, dtype=pl.Enum(self._tiers)),
                pl.Series("missed", rows.missed != 0),
            )
        )

    def write(self) -> None:
        """Write the file, whole or not at all; its columns are there even when no request ended."""
        if not self._frames:
            self.add("", 0, records(LOG, 0))
        table = pl.concat(self._frames).sort("policy", "seed", "number")
        buffer = io.BytesIO()
        table.cast({"policy": pl.Categorical}).write_parquet(buffer, compression="zstd")
        write_whole(self._path, buffer.getvalue())
