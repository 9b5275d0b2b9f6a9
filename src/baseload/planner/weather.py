"""A recorded supply day by day: how far it moves beyond its season, and how long a store lasts
along it.

Deterministic seasons add nothing to sigma2, but clouds do: a day that gives less than its season is
chance to whoever lives through it. docs/explanation/planner.md, "Sun and wind".
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from baseload.base.units import S_PER_DAY, S_PER_HOUR
from baseload.planner.figures import Figure, figure
from baseload.planner.records import RideThrough, Supply
from baseload.theory.estimation import variance_about_season
from baseload.theory.inputs import Floats

_SEASON_DAYS = 31
_FEWEST_DAYS = 2 * _SEASON_DAYS
_STARTS = 2_000
_LONGEST_S = 60 * S_PER_DAY


def weather_j2_per_s(series_w: Floats, step_s: float) -> float:
    """Variance rate [J^2/s] of the days of a series about their season, a running mean of 31 days
    (``variance_about_season``); 0 for a series of less than 62 days.
    """
    per_day = round(S_PER_DAY / step_s)
    days = len(series_w) // per_day if per_day > 0 else 0
    if days < _FEWEST_DAYS:
        return 0.0
    daily_j = series_w[: days * per_day].reshape(days, per_day).sum(axis=1) * step_s
    return variance_about_season(x=daily_j, window=_SEASON_DAYS, slot=S_PER_DAY)


def ride_through_of_series(theta_w: Floats, step_s: float, supply: Supply) -> RideThrough:
    """How long the store lasts along a series of net power [W] without chance, from up to 2,000
    starts spread over it, each with the store as full as ``supply.start_frac`` says.

    The series starts over after its end. What lasts longer than 60 days counts as that, and a mean
    with such starts is not given (``None``). Losses, leakage and power limits count.
    """
    start_j = supply.start_frac * supply.store_j
    lasts_s = _lasting(theta_w, step_s, supply, start_j)
    endless = bool((lasts_s >= _LONGEST_S).any())

    def share(time_s: float) -> Figure:
        return _of_series(float((lasts_s <= time_s).mean()), "", "share of the starts")

    lowest = float(np.quantile(lasts_s, 0.1))
    return RideThrough(
        start_j=start_j,
        mean=_of_series(
            math.inf if endless else float(lasts_s.mean()),
            "s",
            f"more than {_LONGEST_S / S_PER_DAY:.0f} days from some starts" if endless else "",
        ),
        quantile_10=_of_series(lowest if lowest < _LONGEST_S else math.inf, "s", ""),
        any_in_hour=share(S_PER_HOUR),
        any_in_day=share(S_PER_DAY),
        any_in_week=share(7.0 * S_PER_DAY),
    )


def _of_series(value: float, unit: str, note: str) -> Figure:
    """A figure counted along the series."""
    return figure(value, unit, "modelled", rung="along_the_series", note=note)


def _lasting(theta_w: Floats, step_s: float, supply: Supply, start_j: float) -> Floats:
    """Seconds from each start to the first auxiliary energy, at most ``_LONGEST_S``."""
    steps = len(theta_w)
    starts = np.unique(np.linspace(0, steps - 1, min(steps, _STARTS)).astype(np.int64))
    level_j = np.full(len(starts), start_j)
    lasts_s = np.full(len(starts), _LONGEST_S)
    running = np.arange(len(starts))
    kept = math.exp(-supply.leak_per_s * step_s)
    for step in range(math.ceil(_LONGEST_S / step_s)):
        net_j = theta_w[(starts[running] + step) % steps] * step_s
        there_j = level_j[running] * kept
        charged_j = np.clip(net_j, 0.0, supply.charge_limit_w * step_s) * supply.charge_efficiency
        given_j = np.minimum(
            np.maximum(-net_j, 0.0),
            np.minimum(supply.discharge_limit_w * step_s, there_j * supply.discharge_efficiency),
        )
        short_j = np.maximum(-net_j, 0.0) - given_j
        level_j[running] = np.minimum(
            supply.store_j, there_j + charged_j - given_j / supply.discharge_efficiency
        )
        ended = short_j > 0.0
        if ended.any():
            drawn_j = np.maximum(-net_j[ended], 1e-300)
            lasts_s[running[ended]] = (step + given_j[ended] / drawn_j) * step_s
            running = running[~ended]
        if not len(running):
            break
    return lasts_s


def with_weather(supply: Supply) -> Supply:
    """The supply with the weather of its series in its variance rate: for the regime and the budget
    of variance, not for rates along the series, which has that weather in it.
    """
    if not supply.series_w:
        return supply
    found = weather_j2_per_s(np.asarray(supply.series_w), supply.series_step_s)
    return msgspec.structs.replace(supply, var_j2_per_s=supply.var_j2_per_s + found)
