"""Sources of baseline power: what is paid for or produced whether it is used or not.

Every source gives its mean power [W] in each slot of a run; slots are given by their edges [s of
the run]. Where a closed form exists it also knows its long-run mean [W] and variance rate [J^2/s].
"""

from __future__ import annotations

import math
from typing import Protocol

import msgspec
import numpy as np
from msgspec.structs import force_setattr
from numpy.typing import ArrayLike

from baseload.base.errors import ArgumentError
from baseload.base.inputs import Floats, not_negative, number, numbers, positive
from baseload.base.units import S_PER_DAY, S_PER_HOUR
from baseload.supply import variance_rates
from baseload.supply.random_paths import (
    Randomness,
    ar1_path,
    chain_means,
    checked_chain,
    generator_of,
    named,
    ou_means,
    stationary,
)
from baseload.supply.series import checked_edges, sampled_means, step_means

_MOST_CAPACITY_FACTOR = 1.5
_SQRT_2PI = math.sqrt(2.0 * math.pi)
_SQRT_HALF = math.sqrt(0.5)


class Source(Protocol):
    """What every source of baseline power answers."""

    def power_w(self, edges_s: ArrayLike, random: Randomness | None = None) -> Floats:
        """Mean power in each slot between ``edges_s`` ``[n + 1]``: float64 ``[n]`` [W]."""
        ...

    def mean_w(self) -> float:
        """Long-run mean power [W]."""
        ...

    def variance_rate_j2_per_s(self) -> float | None:
        """Long-run variance rate [J^2/s]; ``None`` where no closed form is known."""
        ...


def _kept(what: str, values: ArrayLike, *, most: float = math.inf) -> Floats:
    """``values`` >= 0 as an array of their own that nobody can change."""
    found = numbers(what, values, least=0.0, shape=(-1,)).copy()
    if not len(found):
        raise ArgumentError(what, found="no values", allowed="at least one")
    if found.max() > most:
        at = int(np.argmax(found))
        raise ArgumentError(f"{what}[{at}]", found=f"{found[at]:g}", allowed=f"0 to {most:g}")
    found.flags.writeable = False
    return found


class Constant(msgspec.Struct, frozen=True, kw_only=True):
    """The same power at all times: a contracted baseline, ``value_w`` >= 0 [W]."""

    value_w: float

    def __post_init__(self) -> None:
        """Refuse what is no power."""
        not_negative("constant baseline: value_w", self.value_w)

    def power_w(
        self,
        edges_s: ArrayLike,
        random: Randomness | None = None,  # noqa: ARG002
    ) -> Floats:
        """``value_w`` in every slot [W] ``[n]``."""
        return np.full(len(checked_edges(edges_s)) - 1, float(self.value_w))

    def mean_w(self) -> float:
        """``value_w``."""
        return float(self.value_w)

    def variance_rate_j2_per_s(self) -> float | None:
        """0: it does not vary."""
        return 0.0


class Trace(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Recorded power: ``values_w`` [W] ``[m]``, the mean over each ``step_s`` [s] from ``start_s``
    (second of the run). ``wrap_year``: a typical year that starts over after its end.

    A run that leaves the trace is a ``ArgumentError`` that names both lengths.
    """

    values_w: Floats
    step_s: float
    start_s: float = 0.0
    wrap_year: bool = False

    def __post_init__(self) -> None:
        """Refuse values that are no power."""
        force_setattr(self, "values_w", _kept("baseline trace: values_w", self.values_w))
        positive("baseline trace: step_s", self.step_s)
        number("baseline trace: start_s", self.start_s)

    def power_w(
        self,
        edges_s: ArrayLike,
        random: Randomness | None = None,  # noqa: ARG002
    ) -> Floats:
        """Mean of the trace in each slot [W] ``[n]``, exact for slots of any length."""
        return sampled_means(
            "baseline trace",
            self.values_w,
            step_s=self.step_s,
            start_s=self.start_s,
            edges_s=checked_edges(edges_s),
            wrap=self.wrap_year,
        )

    def mean_w(self) -> float:
        """Mean of the whole trace."""
        return float(self.values_w.mean())

    def variance_rate_j2_per_s(self) -> float | None:
        """``None``: a trace is one path, not a law."""
        return None


class _CapacityYear(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Capacity factors times installed power."""

    capacity_factor: Floats
    installed_w: float
    step_s: float = S_PER_HOUR
    start_s: float = 0.0
    wrap_year: bool = True

    def __post_init__(self) -> None:
        """Refuse factors in percent and powers below 0."""
        found = _kept(
            f"{self._name}: capacity_factor", self.capacity_factor, most=_MOST_CAPACITY_FACTOR
        )
        force_setattr(self, "capacity_factor", found)
        not_negative(f"{self._name}: installed_w", self.installed_w)
        positive(f"{self._name}: step_s", self.step_s)
        number(f"{self._name}: start_s", self.start_s)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def power_w(
        self,
        edges_s: ArrayLike,
        random: Randomness | None = None,  # noqa: ARG002
    ) -> Floats:
        """Mean power in each slot [W] ``[n]``, exact for slots of any length."""
        return self.installed_w * sampled_means(
            self._name,
            self.capacity_factor,
            step_s=self.step_s,
            start_s=self.start_s,
            edges_s=checked_edges(edges_s),
            wrap=self.wrap_year,
        )

    def mean_w(self) -> float:
        """Mean of the whole year."""
        return float(self.installed_w * self.capacity_factor.mean())

    def variance_rate_j2_per_s(self) -> float | None:
        """``None``: a year is one path, not a law."""
        return None


class PvYear(_CapacityYear, frozen=True, kw_only=True, eq=False):
    """Photovoltaics: ``capacity_factor`` ``[m]`` (AC power per installed power, one for each
    ``step_s`` [s]) times ``installed_w`` [W].

    ``start_s`` is the second of the run at which the year begins (``year_start_s`` gives it for a
    run with a date). A typical year starts over after its end unless ``wrap_year`` is false.
    """


class WindYear(_CapacityYear, frozen=True, kw_only=True, eq=False):
    """Wind: as ``PvYear``, with the capacity factors of a turbine."""


def year_start_s(start_unix_s: float, *, utc_offset_s: float = 0.0) -> float:
    """The second of the run, at most 0, at which the current year of local standard time began,
    for a run that starts at ``start_unix_s`` [s since 1970, UTC].
    """
    local = np.datetime64(math.floor(start_unix_s + utc_offset_s), "s")
    begin = local.astype("datetime64[Y]").astype("datetime64[s]").astype(np.int64)
    return float(begin) - (start_unix_s + utc_offset_s)


class OrnsteinUhlenbeck(msgspec.Struct, frozen=True, kw_only=True):
    """A power that wanders about its mean: ``level_w`` [W], standard deviation ``deviation_w`` [W],
    correlation time ``time_s`` [s]. Drawn exactly, with slots of any length.

    The law is normal, so it falls below 0 now and then where the deviation is more than a third of
    the mean: the site then draws instead of giving.
    """

    level_w: float
    deviation_w: float
    time_s: float

    def __post_init__(self) -> None:
        """Refuse numbers that make no process."""
        not_negative("Ornstein-Uhlenbeck baseline: level_w", self.level_w)
        not_negative("Ornstein-Uhlenbeck baseline: deviation_w", self.deviation_w)
        positive("Ornstein-Uhlenbeck baseline: time_s", self.time_s)

    def power_w(self, edges_s: ArrayLike, random: Randomness | None = None) -> Floats:
        """Mean power in each slot of one path [W] ``[n]``."""
        slots_s = np.diff(checked_edges(edges_s))
        rng = generator_of("Ornstein-Uhlenbeck baseline", random)
        return self.level_w + self.deviation_w * ou_means(rng, slots_s, self.time_s)

    def mean_w(self) -> float:
        """``level_w``."""
        return float(self.level_w)

    def variance_rate_j2_per_s(self) -> float | None:
        """``2 v tau``."""
        return variance_rates.ou_variance_rate(variance_w2=self.deviation_w**2, time_s=self.time_s)


class MarkovStates(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A power that jumps between states: ``states_w`` [W] ``[k]`` and the rates of the chain,
    ``generator`` [1/s] ``[k, k]``, whose rows sum to 0. Starts in its stationary law.
    """

    states_w: Floats
    generator: Floats

    def __post_init__(self) -> None:
        """Refuse a chain that is reducible or leaks probability."""
        force_setattr(self, "states_w", _kept("Markov baseline: states_w", self.states_w))
        rates = checked_chain("Markov baseline", self.generator, len(self.states_w))
        rates.flags.writeable = False
        force_setattr(self, "generator", rates)

    def power_w(self, edges_s: ArrayLike, random: Randomness | None = None) -> Floats:
        """Mean power in each slot of one path [W] ``[n]``; jumps fall where they fall."""
        rng = generator_of("Markov baseline", random)
        return chain_means(rng, self.states_w, self.generator, checked_edges(edges_s))

    def mean_w(self) -> float:
        """Mean over the stationary distribution."""
        return float(stationary(self.generator) @ self.states_w)

    def variance_rate_j2_per_s(self) -> float | None:
        """``2 (pi r) D r`` with the deviation matrix D of the chain."""
        return variance_rates.markov_variance_rate(power_w=self.states_w, generator=self.generator)


class Diurnal(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A daily profile times a random clearness.

    ``profile_w`` [W] ``[m]`` fills ``period_s`` (a day) in equal parts from second ``start_s`` of
    the run. Clearness is ``clearness_mean_frac`` plus an AR(1) sequence of standard deviation
    ``clearness_deviation_frac``, one value for each ``clearness_step_s`` with lag-1 correlation
    ``clearness_coefficient`` in (-1, 1), held between ``clearness_min_frac`` and
    ``clearness_max_frac``. With deviation 0 it is deterministic and needs no random numbers.
    """

    profile_w: Floats
    period_s: float = S_PER_DAY
    start_s: float = 0.0
    clearness_mean_frac: float = 1.0
    clearness_deviation_frac: float = 0.0
    clearness_coefficient: float = 0.0
    clearness_step_s: float = S_PER_HOUR
    clearness_min_frac: float = 0.0
    clearness_max_frac: float = math.inf

    def __post_init__(self) -> None:
        """Refuse a profile or a clearness that cannot be."""
        force_setattr(self, "profile_w", _kept("diurnal baseline: profile_w", self.profile_w))
        positive("diurnal baseline: period_s", self.period_s)
        number("diurnal baseline: start_s", self.start_s)
        not_negative("diurnal baseline: clearness_mean_frac", self.clearness_mean_frac)
        not_negative("diurnal baseline: clearness_deviation_frac", self.clearness_deviation_frac)
        positive("diurnal baseline: clearness_step_s", self.clearness_step_s)
        number(
            "diurnal baseline: clearness_coefficient",
            self.clearness_coefficient,
            least=-1.0,
            most=1.0,
            open_least=True,
            open_most=True,
        )
        if not self.clearness_min_frac <= self.clearness_max_frac:
            raise ArgumentError(
                "diurnal baseline: clearness_min_frac",
                found=f"{self.clearness_min_frac} to {self.clearness_max_frac}",
                allowed="a lower bound that is at most clearness_max_frac; -inf and inf: no bound",
            )

    def power_w(self, edges_s: ArrayLike, random: Randomness | None = None) -> Floats:
        """Mean power in each slot of one path [W] ``[n]``, exact for slots of any length."""
        edges = checked_edges(edges_s)
        if len(edges) < 2:
            return np.zeros(0)
        begin, end = edges[0], edges[-1]
        count = max(1, math.ceil((end - begin) / self.clearness_step_s))
        clear_breaks = begin + np.arange(count + 1) * self.clearness_step_s
        part_s = self.period_s / len(self.profile_w)
        first = math.floor((begin - self.start_s) / part_s)
        parts = np.arange(first, math.ceil((end - self.start_s) / part_s) + 1)
        profile_breaks = self.start_s + parts * part_s
        breaks = np.union1d(clear_breaks, profile_breaks)
        breaks = breaks[(breaks > begin) & (breaks < end)]
        breaks = np.concatenate(([begin], breaks, [end]))
        middles = 0.5 * (breaks[:-1] + breaks[1:])
        part = np.floor((middles - self.start_s) / part_s).astype(np.int64) % len(self.profile_w)
        clear = np.searchsorted(clear_breaks, middles, side="right") - 1
        values = self.profile_w[part] * self._clearness(count, random)[clear]
        return step_means(breaks, values, edges)

    def _clearness(self, count: int, random: Randomness | None) -> Floats:
        """Clearness in each of its steps."""
        low, high = self.clearness_min_frac, self.clearness_max_frac
        if self.clearness_deviation_frac == 0.0:
            return np.full(count, min(max(self.clearness_mean_frac, low), high))
        rng = generator_of("diurnal baseline", random)
        path = ar1_path(rng, count, self.clearness_coefficient)
        given: Floats = np.clip(
            self.clearness_mean_frac + self.clearness_deviation_frac * path, low, high
        )
        return given

    def mean_w(self) -> float:
        """Mean of the profile times the mean of the clearness (a normal law held between its
        bounds).
        """
        clearness = held_normal_mean(
            self.clearness_mean_frac,
            self.clearness_deviation_frac,
            self.clearness_min_frac,
            self.clearness_max_frac,
        )
        return float(self.profile_w.mean()) * clearness

    def variance_rate_j2_per_s(self) -> float | None:
        """0 without randomness; that of an AR(1) factor on a periodic profile where the clearness
        has no bounds and its steps fill the period and begin with it; else ``None``.
        """
        if self.clearness_deviation_frac == 0.0:
            return 0.0
        steps = self.period_s / self.clearness_step_s
        bounded = math.isfinite(self.clearness_min_frac) or math.isfinite(self.clearness_max_frac)
        if bounded or steps != round(steps):
            return None
        edges = self.start_s + np.arange(round(steps) + 1) * self.clearness_step_s
        certain = msgspec.structs.replace(
            self, clearness_deviation_frac=0.0, clearness_mean_frac=1.0
        )
        return variance_rates.periodic_ar1_variance_rate(
            profile_j=certain.power_w(edges) * self.clearness_step_s,
            variance=self.clearness_deviation_frac**2,
            coefficient=self.clearness_coefficient,
            slot_s=self.clearness_step_s,
        )


def held_normal_mean(mean: float, deviation: float, low: float, high: float) -> float:
    """Mean of a normal variable that is set to ``low`` where it is below and to ``high`` where it
    is above; infinite bounds are none.
    """
    if deviation == 0.0:
        return min(max(mean, low), high)
    found = mean
    if low > -math.inf:
        found += deviation * _loss((mean - low) / deviation)
    if high < math.inf:
        found -= deviation * _loss((high - mean) / deviation)
    return found


def _loss(z: float) -> float:
    """E(X - z)+ of a standard normal X: phi(z) - z Phi(-z)."""
    return math.exp(-0.5 * z * z) / _SQRT_2PI - z * 0.5 * math.erfc(z * _SQRT_HALF)


class Scaled(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Another source times ``factor`` >= 0: more panels, a larger contract."""

    source: Source
    factor: float

    def __post_init__(self) -> None:
        """Refuse a factor below 0."""
        not_negative("scaled baseline: factor", self.factor)

    def power_w(self, edges_s: ArrayLike, random: Randomness | None = None) -> Floats:
        """Mean power in each slot [W] ``[n]``."""
        return self.factor * self.source.power_w(edges_s, random)

    def mean_w(self) -> float:
        """``factor`` times the mean."""
        return self.factor * self.source.mean_w()

    def variance_rate_j2_per_s(self) -> float | None:
        """``factor`` squared times the rate."""
        rate = self.source.variance_rate_j2_per_s()
        return None if rate is None else self.factor**2 * rate


class Sum(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Several independent sources together. With a seed and names each part draws from a stream of
    its own, by its place; with a generator they draw from it in turn.
    """

    sources: tuple[Source, ...]

    def power_w(self, edges_s: ArrayLike, random: Randomness | None = None) -> Floats:
        """Sum of the parts' mean powers in each slot [W] ``[n]``."""
        edges = checked_edges(edges_s)
        total = np.zeros(len(edges) - 1)
        for place, source in enumerate(self.sources):
            total += source.power_w(edges, named(random, place))
        return total

    def mean_w(self) -> float:
        """Sum of the means."""
        return math.fsum(source.mean_w() for source in self.sources)

    def variance_rate_j2_per_s(self) -> float | None:
        """Sum of the rates (the parts are independent); ``None`` where a part has none."""
        rates = [source.variance_rate_j2_per_s() for source in self.sources]
        known = [rate for rate in rates if rate is not None]
        return math.fsum(known) if len(known) == len(rates) else None
