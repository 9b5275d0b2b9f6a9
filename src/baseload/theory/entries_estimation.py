"""Catalogue entries of estimation, under the names and inputs of the reference vectors."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from numpy.typing import ArrayLike

from baseload.theory import estimation, monitoring
from baseload.theory.entry import Entry, entry_of


def batch_means(
    x: ArrayLike, batch: float | None = None, slot: ArrayLike = 1.0, confidence: float = 0.95
) -> dict[str, Any]:
    """``estimation.batch_means`` as a mapping."""
    return msgspec.structs.asdict(
        estimation.batch_means(x=x, batch=batch, slot=slot, confidence=confidence)
    )


def meters_only(
    U: float, W: float, B: float, T: float, confidence: float = 0.95, var: float | None = None
) -> dict[str, Any]:
    """``monitoring.meters_only`` as a mapping."""
    return msgspec.structs.asdict(
        monitoring.meters_only(U=U, W=W, B=B, T=T, confidence=confidence, var=var)
    )


_entry = functools.partial(entry_of, topic="estimation and monitoring")

_SERIES = [1.0, 3.0, 2.0, 5.0, 4.0, 6.0, 2.0, 1.0]

ENTRIES: tuple[Entry, ...] = (
    _entry(estimation.ewma_moments, "7.1", "weighted mean, variance, effective samples",
           {"x": _SERIES, "alpha": 0.2}, standing="exact", also={"a": "alpha"}),
    _entry(estimation.newey_west, "7.2", "long-run variance rate of slots of energy [J^2/s]",
           {"x": _SERIES, "lag": 2}, standing="asymptotic", also={"L": "lag", "D": "slot"}),
    _entry(estimation.newey_west_lag, "7.2", "lag that suits the autocorrelation [slots]",
           {"n": 4096, "autocorrelation": 0.7}, standing="asymptotic",
           also={"f": "autocorrelation"}),
    _entry(batch_means, "7.3", "theta [W], sigma2 [J^2/s] with intervals",
           {"x": _SERIES, "batch": 2}, standing="asymptotic",
           typed=estimation.batch_means),
    _entry(monitoring.cusum_arl, "7.4", "mean run length to an alarm [blocks]",
           {"mu": 0.5, "k": 0.25, "h": 8}, standing="asymptotic", also={"kk": "k", "hh": "h"}),
    _entry(monitoring.smallest_visible_drift, "7.4", "smallest drift that a window shows [W]",
           {"var": 4, "T": 86400}, standing="asymptotic", also={"sigma2": "var"}),
    _entry(meters_only, "7.5", "y, sigma2 [J^2/s] with intervals from two meters",
           {"U": 90, "W": 110, "B": 100, "T": 5000}, standing="asymptotic",
           typed=monitoring.meters_only),
    _entry(monitoring.bias_inflation, "7.5", "factor on auxiliary use, supply set from a window",
           {"T": 1.0, "T0": 1.0}, standing="exact"),
)  # fmt: skip
