"""The records of a demand: what the supply sees of a fleet."""

from __future__ import annotations

from typing import Literal

import msgspec

from baseload.base.errors import BadInputError
from baseload.theory.inputs import not_negative, positive

HOURS = 24


class EnergyLaw(msgspec.Struct, frozen=True, kw_only=True):
    """The empirical law of the marginal energy of a request [J].

    ``mean_j``, ``second_j2``, ``third_j3``: E X, E X^2, E X^3 over all requests. ``sample_j``: at
    most a thousand equally likely values, rising, whose distribution is the law thinned to its
    quantiles. ``largest_j``: the largest request seen.
    """

    mean_j: float
    second_j2: float
    third_j3: float
    sample_j: tuple[float, ...]
    largest_j: float

    @property
    def var_j2(self) -> float:
        """Var X [J^2]."""
        return max(0.0, self.second_j2 - self.mean_j**2)

    @property
    def overshoot_j(self) -> float:
        """kx = E X^3 / (3 E X^2), the mean overshoot over a far boundary [J]; 0 without energy."""
        return self.third_j3 / (3.0 * self.second_j2) if self.second_j2 > 0 else 0.0


class DemandVariance(msgspec.Struct, frozen=True, kw_only=True):
    """Where the long-run variance of the demand comes from [J^2/s]; the sum is ``total_j2_per_s``.

    ``execution``: lengths within a class of requests. ``mix``: classes differ in their mean.
    ``routing``: the same class is served by types that cost differently, at random. ``arrivals``:
    gaps between arrivals (``ca2`` (E X)^2 per request). ``temporal``: slow movement of the rate
    beyond that, read from the slots; its standard error is ``temporal_error``. ``switching``:
    replicas of a packed fleet that start and stop, one whole replica at a time (heuristic).
    """

    execution_j2_per_s: float
    mix_j2_per_s: float
    routing_j2_per_s: float
    arrivals_j2_per_s: float
    temporal_j2_per_s: float
    temporal_error_j2_per_s: float | None = None
    switching_j2_per_s: float = 0.0

    @property
    def total_j2_per_s(self) -> float:
        """The sum of the six terms."""
        return (
            self.execution_j2_per_s
            + self.mix_j2_per_s
            + self.routing_j2_per_s
            + self.arrivals_j2_per_s
            + self.temporal_j2_per_s
            + self.switching_j2_per_s
        )


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """What one replica type does in a modelled demand.

    ``share_frac``: of the requests. ``batch``: requests that a working replica runs at once;
    ``busy_replicas`` of ``replicas`` work in the mean. ``job_j``: mean marginal energy of a request
    here [J]; ``stream_w``: power of a working replica before its requests' own [W]; ``rest_w``: of
    one that does not work [W]. ``full_batch_j``: joules above rest of a mean request on a full
    replica, its share of the weight stream included.
    """

    name: str
    replicas: int
    share_frac: float
    batch: float
    busy_replicas: float
    job_j: float
    stream_w: float
    rest_w: float
    full_batch_j: float = 0.0


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What the supply sees of the fleet.

    ``mean_w`` = ``base_w`` + ``requests_per_s`` times the mean of ``job``. ``base_w``: the steady
    part, which a planner subtracts from the baseline: idle power of awake replicas and the weight
    stream of those that work, less what the requests displace. ``job``: the marginal energy of a
    request, ``None`` where the slots alone are known. ``var_j2_per_s``: the long-run variance rate
    of the demand, ``terms`` where it comes from (``None``: not taken apart). ``ca2``: squared
    coefficient of variation of the gaps between arrivals.

    ``hourly_frac``: mean power by hour of the day over the mean (24 values; ``None`` for less than
    a day). ``slot_w``, ``slot_s``: mean power of each slot, for plots and fluid balances; empty
    where not kept. ``obtained`` says how the numbers came about, ``how`` which way of sharing the
    load was assumed, ``error_frac`` the error of the energies, ``serving`` what each type does.
    """

    name: str
    mean_w: float
    base_w: float
    var_j2_per_s: float
    requests_per_s: float
    ca2: float
    span_s: float
    obtained: Literal["modelled", "simulated", "assumed"]
    job: EnergyLaw | None = None
    terms: DemandVariance | None = None
    hourly_frac: tuple[float, ...] | None = None
    slot_w: tuple[float, ...] = ()
    slot_s: float = 0.0
    correlation_s: float | None = None
    how: str = ""
    error_frac: float | None = None
    serving: tuple[Serving, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse numbers that no demand can have."""
        for name in ("mean_w", "base_w", "var_j2_per_s", "requests_per_s", "ca2"):
            not_negative(f"demand: {name}", getattr(self, name))
        positive("demand: span_s", self.span_s)
        if self.hourly_frac is not None and len(self.hourly_frac) != HOURS:
            raise BadInputError(
                "demand: hourly_frac",
                found=f"{len(self.hourly_frac)} values",
                allowed=f"{HOURS}, one for each hour of the day",
            )

    @property
    def moving_w(self) -> float:
        """Mean power of the requests' marginal energy [W]: ``mean_w - base_w``."""
        return max(0.0, self.mean_w - self.base_w)
