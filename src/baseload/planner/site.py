"""A site of the supply room as the planner's ``Supply``: mean, series, variance and store."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec
import numpy as np

from baseload.base.units import S_PER_DAY, S_PER_HOUR
from baseload.planner.demand_records import HOURS
from baseload.planner.records import Supply
from baseload.supply.baseline import (
    Constant,
    Diurnal,
    MarkovStates,
    OrnsteinUhlenbeck,
    Scaled,
    Source,
    Sum,
)
from baseload.supply.random_paths import stationary
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.theory.inputs import Floats, positive

_DRAWN_DAYS = 2000
_DRAWN_STREAM = (0, "planner.site")


def supply_of_site(site: Site, *, span_s: float, name: str = "") -> Supply:
    """What feeds the fleet at ``site`` over ``span_s`` seconds, rounded up to whole days.

    What is certain of the baseline (panels, wind, recorded power, daily profiles) becomes a series
    of hours, of one day where every day is the same; what is drawn at random becomes a variance
    rate with its correlation time, by closed form where the source has one, else from 2,000 drawn
    days. PUE and steady draw of the site belong to the demand (``fleet_case.at_bus``).

    Raises ``BadInputError`` for a recorded series that is shorter, naming both lengths.
    """
    positive("span_s", span_s)
    days = max(1, math.ceil(span_s / S_PER_DAY - 1e-9))
    edges = np.arange(days * HOURS + 1) * S_PER_HOUR
    series = np.zeros(days * HOURS)
    var, weighted_s = 0.0, 0.0
    for factor, source in _leaves(site.baseline):
        certain, own_var, time_s = _parts(source)
        series += factor * certain.power_w(edges)
        var += factor**2 * own_var
        weighted_s += factor**2 * own_var * time_s
    mean_w = float(series.mean())
    return Supply(
        baseline_w=mean_w,
        var_j2_per_s=var,
        correlation_s=weighted_s / var if var > 0 else None,
        series_w=_shortest(series),
        series_step_s=S_PER_HOUR,
        auxiliary_limit_w=site.auxiliary_limit_w,
        slot_s=site.slot_s,
        name=name or site.name,
        **store_fields(site.store),
    )


def store_fields(store: Store) -> dict[str, float]:
    """The fields of ``Supply`` that a store fills: what is usable of it counts."""
    usable_j = store.usable_j
    return {
        "store_j": usable_j,
        "start_frac": store.start_j / usable_j if 0 < usable_j < math.inf else 0.0,
        "charge_efficiency": store.charge_efficiency,
        "discharge_efficiency": store.discharge_efficiency,
        "leak_per_s": store.leak_per_s,
        "charge_limit_w": store.charge_limit_w,
        "discharge_limit_w": store.discharge_limit_w,
    }


def _leaves(source: Source, factor: float = 1.0) -> Iterator[tuple[float, Source]]:
    """The single sources of a baseline, each with its factor."""
    if isinstance(source, Sum):
        for part in source.sources:
            yield from _leaves(part, factor)
    elif isinstance(source, Scaled):
        yield from _leaves(source.source, factor * source.factor)
    else:
        yield factor, source


def _parts(source: Source) -> tuple[Source, float, float]:
    """What is certain of a single source, and variance rate [J^2/s] and correlation time [s] of
    what is not.
    """
    if isinstance(source, OrnsteinUhlenbeck):
        rate = source.variance_rate_j2_per_s()
        return Constant(value_w=source.level_w), rate or 0.0, source.time_s
    if isinstance(source, MarkovStates):
        share, mean_w = stationary(source.generator), source.mean_w()
        rate = source.variance_rate_j2_per_s() or 0.0
        spread_w2 = float(share @ (source.states_w - mean_w) ** 2)
        time_s = rate / (2.0 * spread_w2) if spread_w2 > 0 else 0.0
        return Constant(value_w=mean_w), rate, time_s
    if isinstance(source, Diurnal) and source.clearness_deviation_frac > 0:
        return _clear_days(source)
    return source, 0.0, 0.0


def _clear_days(source: Diurnal) -> tuple[Source, float, float]:
    """A daily profile times a random clearness: the mean day, and what days differ by."""
    profile_w = source.profile_w.mean()
    factor = source.mean_w() / float(profile_w) if profile_w > 0 else 0.0
    mean_day = msgspec.structs.replace(
        source, clearness_mean_frac=factor, clearness_deviation_frac=0.0
    )
    edges = np.arange(_DRAWN_DAYS * HOURS + 1) * S_PER_HOUR
    away_w = source.power_w(edges, _DRAWN_STREAM) - mean_day.power_w(edges)
    days_j = away_w.reshape(_DRAWN_DAYS, HOURS).sum(axis=1) * S_PER_HOUR
    # blocks of ten days, so that what lasts from day to day counts
    blocks_j = days_j.reshape(-1, 10).sum(axis=1)
    var = source.variance_rate_j2_per_s()
    if var is None:
        var = float(blocks_j.var(ddof=1)) / (10 * S_PER_DAY)
    spread_w2 = float(away_w.var())
    return mean_day, var, var / (2.0 * spread_w2) if spread_w2 > 0 else 0.0


def _shortest(series: Floats) -> tuple[float, ...]:
    """The series; one day of it where all are alike, nothing where it never moves."""
    if np.ptp(series) <= 1e-9 * max(1.0, float(series.max())):
        return ()
    days = series.reshape(-1, HOURS)
    if np.ptp(days, axis=0).max() <= 1e-9 * float(series.max()):
        return tuple(days[0].tolist())
    return tuple(series.tolist())
