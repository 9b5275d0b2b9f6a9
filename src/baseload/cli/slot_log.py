"""One row per slot of a run at a site, as Parquet: what ``baseload monitor`` reads."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl

from baseload.sources.files import write_whole
from baseload.supply.accounts import SupplyAccount

_FLOWS = {
    "baseline_j": "supply_j",
    "demand_j": "demand_j",
    "auxiliary_j": "auxiliary_j",
    "waste_j": "waste_j",
    "unserved_j": "unserved_j",
    "charged_j": "charged_j",
    "discharged_j": "discharged_j",
    "leak_j": "leak_j",
    "loss_j": "loss_j",
    "level_j": "level_j",
}


class SlotLog:
    """Collects the slots of all policies, seeds and scales; ``write`` puts them into one Parquet
    file. Columns as in docs/reference/simulate.md; ``level_j`` is that at the end of the slot,
    ``capacity_j`` the usable capacity of the store.
    """

    def __init__(self, path: Path, *, capacity_j: float) -> None:
        self._path, self._capacity_j = path, capacity_j
        self._frames: list[pl.DataFrame] = []

    def add(self, policy: str, seed: int, scale: float, books: SupplyAccount) -> None:
        """Take in the books of one run."""
        columns = books.columns
        assert columns is not None
        frame = pl.DataFrame(
            {
                "slot": np.arange(len(columns.demand_j), dtype=np.int32),
                "start_s": books.edges_s[:-1],
                "length_s": np.diff(books.edges_s),
                **{name: getattr(columns, flow) for name, flow in _FLOWS.items()},
            }
        )
        self._frames.append(
            frame.select(
                pl.lit(policy).alias("policy"),
                pl.lit(seed, dtype=pl.Int32).alias("seed"),
                pl.lit(scale, dtype=pl.Float64).alias("scale"),
                pl.all(),
                pl.lit(self._capacity_j, dtype=pl.Float64).alias("capacity_j"),
            )
        )

    def write(self) -> None:
        """Write the file, whole or not at all."""
        buffer = io.BytesIO()
        pl.concat(self._frames).write_parquet(buffer, compression="zstd")
        write_whole(self._path, buffer.getvalue())
