"""Demand and supply put together: drift, variance and what the store sees of both."""

from __future__ import annotations

import math

import msgspec

from baseload.planner.demand_records import Demand
from baseload.planner.records import Supply, Validity
from baseload.theory.job_laws import JobLaw, measured_law
from baseload.theory.normal import BETA_0

MILNE = 1.4603545088095868
"""-zeta(1/2): how far a boundary seems to lie behind itself for a power that wanders with
correlation time tau, in standard deviations of the power times tau (Marshall and Watson, A drop of
ink falls from my pen, J. Phys. A 18, 1985: the Milne problem of an Ornstein-Uhlenbeck velocity).
"""


class Net(msgspec.Struct, frozen=True, kw_only=True):
    """What a store sees: net energy with steady draw, fast and slow randomness.

    ``mean_w`` mean demand, ``moving_w`` the part of it that comes with requests [W]. ``fast`` and
    ``slow``: variance rates [J^2/s] of what is over within a slot and of what lasts; ``slow_s`` how
    long that stays correlated [s]. ``requests_per_s`` and ``law`` are set where Poisson requests
    under a constant supply are all the noise there is. ``supply`` gives store, slot and losses.
    ``common``: the part of the variance that all requests share, whether it is slow or not.
    """

    mean_w: float
    moving_w: float
    fast: float
    slow: float
    slow_s: float
    supply: Supply
    overshoot_j: float = 0.0
    requests_per_s: float | None = None
    law: JobLaw | None = None
    common: float = 0.0

    @property
    def var(self) -> float:
        """sigma2, the long-run variance rate of net energy [J^2/s]."""
        return self.fast + self.slow

    @property
    def slow_frac(self) -> float:
        """The slow share of sigma2."""
        return self.slow / self.var if self.var > 0 else 0.0

    @property
    def episode_j(self) -> float:
        """Energy of a typical slow episode: standard deviation of the slow power times its
        correlation time, sqrt(slow x slow_s / 2) [J].
        """
        return math.sqrt(self.slow * self.slow_s / 2.0)

    def widening_j(self, store_j: float) -> float:
        """By how much a store acts larger than it is [J], both ends together.

        Fast noise: 2 x 0.5826 standard deviations of a slot, or the mean overshoot kx of a request
        where that is more. Slow noise: 2 x 1.4603 episodes. Each times the root of its share of
        sigma2: right where one of them is all, interpolated between. Where fast noise crosses the
        store within an episode, the slow part counts less. Fitted to simulations (heuristic).
        """
        if self.var <= 0:
            return 0.0
        slot_j = math.sqrt(self.fast * self.supply.slot_s)
        fast = max(2.0 * BETA_0 * slot_j, self.overshoot_j) * math.sqrt(1.0 - self.slow_frac)
        if self.slow <= 0:
            return fast
        reach = store_j / math.sqrt(self.var * self.slow_s)
        kept = 1.0 - (1.0 - self.slow_frac) / (1.0 + reach)
        return fast + 2.0 * MILNE * self.episode_j * math.sqrt(self.slow_frac) * kept

    @property
    def loss_slot_s(self) -> float:
        """The length of the swings on which conversion losses are paid [s]: a slot, or two
        correlation times of the slow part by its share.
        """
        return max(self.supply.slot_s, 2.0 * self.slow_s * self.slow_frac)

    def slot_var(self) -> float:
        """Variance of the net energy of a slot over its length [J^2/s]: the slow part counts as far
        as it shows within a slot.
        """
        if self.slow <= 0 or self.slow_s <= 0:
            return self.var
        x = self.supply.slot_s / self.slow_s
        seen = 1.0 + math.expm1(-x) / x if x > 1e-6 else x / 2.0
        return self.fast + self.slow * seen

    def validity(self, store_j: float) -> Validity:
        """How large the store is against what a diffusion leaves out."""
        slot_j = BETA_0 * math.sqrt(self.fast * self.supply.slot_s)
        return Validity(
            store_over_slot=_ratio(store_j, slot_j),
            store_over_job=_ratio(store_j, self.overshoot_j),
            store_over_episode=_ratio(store_j, self.episode_j),
        )

    def scaled(self, traffic: float, *, shared: bool = False) -> Net:
        """The same with ``traffic`` times the requests: independent ones, or, ``shared``, under one
        slow movement, whose variance then grows as the square.
        """
        rate = None if self.requests_per_s is None else self.requests_per_s * traffic
        fast, slow = self.fast * traffic, self.slow * traffic
        if shared:
            extra = self.common * (traffic**2 - traffic)
            fast, slow = (fast, slow + extra) if self.slow > 0 else (fast + extra, slow)
        return msgspec.structs.replace(
            self,
            mean_w=self.mean_w * traffic,
            moving_w=self.moving_w * traffic,
            fast=fast,
            slow=slow,
            requests_per_s=rate,
        )

    def with_var(self, factor: float) -> Net:
        """The same with ``factor`` times the variance (no longer Poisson)."""
        return msgspec.structs.replace(
            self, fast=self.fast * factor, slow=self.slow * factor, requests_per_s=None, law=None
        )


def _ratio(store_j: float, scale_j: float) -> float | None:
    """``store_j / scale_j``; ``None`` where there is nothing to compare with."""
    return store_j / scale_j if scale_j > 0 and math.isfinite(store_j) else None


def net_of(demand: Demand, supply: Supply) -> Net:
    """Demand and supply put together."""
    terms = demand.terms
    if terms is not None:
        slow = terms.temporal_j2_per_s + terms.switching_j2_per_s
    else:
        slow = demand.var_j2_per_s if demand.correlation_s is not None else 0.0
    common = slow
    slow_s = demand.correlation_s or 0.0
    if slow_s <= supply.slot_s / 2:
        slow = 0.0
    fast = max(0.0, demand.var_j2_per_s - slow)
    if supply.var_j2_per_s > 0:
        if supply.correlation_s is not None and supply.correlation_s > supply.slot_s / 2:
            weight = slow + supply.var_j2_per_s
            slow_s = (slow * slow_s + supply.var_j2_per_s * supply.correlation_s) / weight
            slow = weight
        else:
            fast += supply.var_j2_per_s
    poisson = is_poisson(demand, supply)
    assert demand.job is not None or not poisson
    return Net(
        mean_w=demand.mean_w,
        moving_w=demand.moving_w,
        fast=fast,
        slow=slow,
        slow_s=slow_s if slow > 0 else 0.0,
        supply=supply,
        overshoot_j=demand.job.overshoot_j if demand.job is not None else 0.0,
        requests_per_s=demand.requests_per_s if poisson else None,
        law=measured_law(demand.job.sample_j) if poisson and demand.job is not None else None,
        common=common,
    )


_LITTLE = 0.01
_NEAR_POISSON = 0.02


def is_poisson(demand: Demand, supply: Supply) -> bool:
    """Whether Poisson requests are all that moves, and the store neither loses nor limits."""
    slow = demand.var_j2_per_s
    if demand.terms is not None:
        slow = demand.terms.temporal_j2_per_s + demand.terms.switching_j2_per_s
    return (
        demand.job is not None
        and demand.job.mean_j > 0
        and demand.hourly_frac is None
        and slow <= _LITTLE * demand.var_j2_per_s
        and abs(demand.ca2 - 1.0) < _NEAR_POISSON
        and not supply.series_w
        and supply.var_j2_per_s == 0
        and not supply.lossy
        and supply.leak_per_s == 0
        and not supply.limited
    )
