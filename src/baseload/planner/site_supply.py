"""A site of the supply room as a plan needs it: mean, noise and profile of its baseline apart."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
import numpy as np

from baseload.base.errors import BadInputError
from baseload.base.units import S_PER_DAY, S_PER_HOUR
from baseload.planner.records import Prices, Supply
from baseload.supply.baseline import (
    Constant,
    Diurnal,
    MarkovStates,
    OrnsteinUhlenbeck,
    Scaled,
    Source,
    Sum,
    Trace,
)
from baseload.supply.random_paths import stationary
from baseload.supply.site import Site
from baseload.supply.tariff import FlatPrice
from baseload.theory.inputs import Floats

_HOURS = 8_760
_SEED = 0


class _Parts(msgspec.Struct, frozen=True, kw_only=True):
    """Mean [W], variance rate [J^2/s], its correlation time [s] (``None``: not known), and the
    hours of a year [W] (``None``: constant).
    """

    mean_w: float
    var: float = 0.0
    correlation_s: float | None = None
    series_w: Floats | None = None


def supply_of_site(site: Site, *, span_s: float | None = None) -> Supply:
    """The site's supply for ``plan_site``. Its PUE and overhead belong to the demand
    (``fleet_case.at_bus``); its prices are not read. ``span_s``: how much of a recorded supply is
    taken, rounded up to whole days (``None``: a year, or all of a trace that is alone).

    What repeats (a recorded year, a profile over the day) becomes the series, what wanders (an
    Ornstein-Uhlenbeck power, a Markov chain, the clearness of a diurnal source) the variance rate.
    A recorded year's own clouds are part of its series. A trace alone is taken over its own length;
    among other sources it must cover a year or start over, else ``BadInputError``.
    """
    source, store = site.baseline, site.store
    step_s = S_PER_HOUR
    if isinstance(source, Trace) and span_s is None:
        parts = _Parts(mean_w=source.mean_w(), series_w=np.asarray(source.values_w))
        step_s = source.step_s
    else:
        parts = _parts(source, _HOURS if span_s is None else _hours(span_s))
    usable_j = store.usable_j
    return Supply(
        baseline_w=parts.mean_w,
        var_j2_per_s=parts.var,
        series_w=() if parts.series_w is None else tuple(parts.series_w.tolist()),
        series_step_s=step_s,
        correlation_s=parts.correlation_s,
        store_j=usable_j,
        start_frac=store.start_j / usable_j if 0 < usable_j < math.inf else 0.0,
        charge_efficiency=store.charge_efficiency,
        discharge_efficiency=store.discharge_efficiency,
        leak_per_s=store.leak_per_s,
        charge_limit_w=store.charge_limit_w,
        discharge_limit_w=store.discharge_limit_w,
        auxiliary_limit_w=site.auxiliary_limit_w,
        slot_s=site.slot_s,
        name=site.name,
    )


def prices_of_site(site: Site, *, storage_usd_per_j_s: float | None = None) -> Prices:
    """The site's flat prices. Raises ``BadInputError`` for a price that is missing or moves with
    time: give it by hand.
    """
    energy = None if site.tariff is None else site.tariff.energy
    flat = energy.usd_per_j if isinstance(energy, FlatPrice) else None
    if site.baseline_usd_per_j is None or flat is None:
        missing = "baseline_usd_per_j" if site.baseline_usd_per_j is None else "a flat tariff"
        raise BadInputError("prices of the site", found=f"no {missing}", allowed="both")
    if not isinstance(site.waste_usd_per_j, (int, float)):
        raise BadInputError(
            "prices of the site", found="a price of waste over time", allowed="one number"
        )
    return Prices(
        baseline_usd_per_j=site.baseline_usd_per_j,
        auxiliary_usd_per_j=flat,
        waste_usd_per_j=float(site.waste_usd_per_j),
        storage_usd_per_j_s=storage_usd_per_j_s,
    )


def _hours(span_s: float) -> int:
    """The hours of whole days that cover a span."""
    return 24 * max(1, math.ceil(span_s / S_PER_DAY - 1e-9))


def _parts(source: Source, hours: int) -> _Parts:
    """What repeats and what wanders in a source, over so many hours."""
    for kind, read in _READ.items():
        if isinstance(source, kind):
            return read(source, hours)
    series = source.power_w(np.arange(hours + 1) * S_PER_HOUR, (_SEED, "plan"))
    moves = float(np.ptp(series)) > 0
    return _Parts(mean_w=float(series.mean()), series_w=series if moves else None)


def _constant(source: Constant, _: int) -> _Parts:
    return _Parts(mean_w=source.mean_w())


def _wandering(source: OrnsteinUhlenbeck, _: int) -> _Parts:
    return _Parts(
        mean_w=source.mean_w(),
        var=source.variance_rate_j2_per_s() or 0.0,
        correlation_s=source.time_s,
    )


def _jumping(source: MarkovStates, _: int) -> _Parts:
    """The correlation time is the variance rate over twice the variance."""
    shares = stationary(source.generator)
    spread = float(shares @ (source.states_w - source.mean_w()) ** 2)
    rate = source.variance_rate_j2_per_s() or 0.0
    return _Parts(
        mean_w=source.mean_w(),
        var=rate,
        correlation_s=rate / (2.0 * spread) if spread > 0 else None,
    )


def _daily(source: Diurnal, hours: int) -> _Parts:
    """The profile at its mean clearness, and the clearness as noise; a clearness held between
    bounds has no closed variance rate and comes as one drawn year.
    """
    rate = source.variance_rate_j2_per_s()
    edges = np.arange(hours + 1) * S_PER_HOUR
    if rate is None:
        return _Parts(mean_w=source.mean_w(), series_w=source.power_w(edges, (_SEED, "plan")))
    certain = msgspec.structs.replace(
        source, clearness_deviation_frac=0.0, clearness_mean_frac=source.clearness_mean_frac
    )
    kept = int(S_PER_DAY // S_PER_HOUR) if source.period_s == S_PER_DAY else hours
    memory = abs(source.clearness_coefficient)
    return _Parts(
        mean_w=source.mean_w(),
        var=rate,
        correlation_s=source.clearness_step_s / max(1.0 - memory, 1e-9),
        series_w=certain.power_w(edges[: kept + 1]),
    )


def _scaled(source: Scaled, hours: int) -> _Parts:
    parts = _parts(source.source, hours)
    return _Parts(
        mean_w=source.factor * parts.mean_w,
        var=source.factor**2 * parts.var,
        correlation_s=parts.correlation_s,
        series_w=None if parts.series_w is None else source.factor * parts.series_w,
    )


def _together(source: Sum, hours: int) -> _Parts:
    """Means, variance rates and series add up; the correlation time is weighted by variance."""
    parts = [_parts(each, hours) for each in source.sources]
    series = [each for each in parts if each.series_w is not None]
    length = max((len(each.series_w) for each in series if each.series_w is not None), default=0)
    total = np.zeros(length)
    for each in parts:
        total += each.mean_w if each.series_w is None else np.resize(each.series_w, length)
    var = math.fsum(each.var for each in parts)
    known = [each for each in parts if each.correlation_s is not None and each.var > 0]
    time_s = None
    if known:
        weight = math.fsum(each.var for each in known)
        time_s = math.fsum(each.var * (each.correlation_s or 0.0) for each in known) / weight
    return _Parts(
        mean_w=math.fsum(each.mean_w for each in parts),
        var=var,
        correlation_s=time_s,
        series_w=total if length else None,
    )


_READ: dict[type, Callable[..., _Parts]] = {
    Constant: _constant,
    OrnsteinUhlenbeck: _wandering,
    MarkovStates: _jumping,
    Diurnal: _daily,
    Scaled: _scaled,
    Sum: _together,
}
