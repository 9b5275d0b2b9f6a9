"""What a plan is made of: the records behind ``baseload plan --json``.

The schema is versioned by ``SCHEMA``; docs/explanation/planner.md says what each number means.
Missing is ``None``, never 0. Years have 8,760 hours.
"""

from __future__ import annotations

import math

import msgspec

from baseload.base.units import J_PER_KWH, S_PER_HOUR
from baseload.planner.demand_records import Demand
from baseload.planner.figures import Figure
from baseload.theory.inputs import efficiency, not_negative, number, numbers, positive

SCHEMA = "baseload-plan/1"
S_PER_YEAR = 8_760 * S_PER_HOUR


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """What energy costs: baseline (paid for whether used or not), auxiliary, waste [$/J];
    storage capacity [$/(J s)].

    Waste may earn (a negative price). Refused: auxiliary + waste <= 0, or baseline + waste < 0
    (supply bought in order to be thrown away would pay).
    """

    baseline_usd_per_j: float
    auxiliary_usd_per_j: float
    waste_usd_per_j: float = 0.0
    storage_usd_per_j_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse prices without a best supply."""
        not_negative("price of baseline", self.baseline_usd_per_j)
        not_negative("price of auxiliary", self.auxiliary_usd_per_j)
        number("price of waste", self.waste_usd_per_j)
        if self.storage_usd_per_j_s is not None:
            not_negative("price of storage", self.storage_usd_per_j_s)
        positive(
            "price of auxiliary + price of waste", self.auxiliary_usd_per_j + self.waste_usd_per_j
        )
        not_negative(
            "price of baseline + price of waste", self.baseline_usd_per_j + self.waste_usd_per_j
        )

    @property
    def ratio(self) -> float:
        """r = (C_b + C_w) / (C_u + C_w): the share of under-supply that is worth its price."""
        return (self.baseline_usd_per_j + self.waste_usd_per_j) / (
            self.auxiliary_usd_per_j + self.waste_usd_per_j
        )


def prices_per_kwh(
    *,
    baseline_usd: float,
    auxiliary_usd: float,
    waste_usd: float = 0.0,
    storage_usd_per_year: float | None = None,
) -> Prices:
    """Prices from dollars per kWh; storage from dollars per kWh of capacity and year."""
    storage = (
        None if storage_usd_per_year is None else storage_usd_per_year / J_PER_KWH / S_PER_YEAR
    )
    return Prices(
        baseline_usd_per_j=baseline_usd / J_PER_KWH,
        auxiliary_usd_per_j=auxiliary_usd / J_PER_KWH,
        waste_usd_per_j=waste_usd / J_PER_KWH,
        storage_usd_per_j_s=storage,
    )


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """What feeds the fleet, as a plan needs it.

    ``baseline_w``: its mean [W]; ``None``: none was given, and the plan looks for the best.
    ``var_j2_per_s``: long-run variance rate of the baseline beyond its daily and seasonal profile.
    ``series_w``: the baseline step by step [W], each ``series_step_s`` long (a year of hours: 8,760
    values); empty for a constant one. ``store_j``: capacity (0: none). Efficiencies, leakage [1/s]
    and limits [W] are those of ``supply.Store``. ``slot_s``: settlement window; how energy is
    counted. ``start_frac``: fill of the store at the start.
    """

    baseline_w: float | None = None
    var_j2_per_s: float = 0.0
    series_w: tuple[float, ...] = ()
    series_step_s: float = 3600.0
    correlation_s: float | None = None
    store_j: float = 0.0
    start_frac: float = 0.5
    charge_efficiency: float = 1.0
    discharge_efficiency: float = 1.0
    leak_per_s: float = 0.0
    charge_limit_w: float = math.inf
    discharge_limit_w: float = math.inf
    auxiliary_limit_w: float = math.inf
    slot_s: float = 1.0
    name: str = ""

    def __post_init__(self) -> None:
        """Refuse what no supply can be, naming the field."""
        if self.baseline_w is not None:
            not_negative("supply: baseline_w", self.baseline_w)
        for name in ("var_j2_per_s", "store_j", "leak_per_s"):
            not_negative(f"supply: {name}", getattr(self, name))
        for name in ("charge_limit_w", "discharge_limit_w", "auxiliary_limit_w"):
            not_negative(f"supply: {name}", getattr(self, name), infinite=True)
        for name in ("charge_efficiency", "discharge_efficiency"):
            efficiency(f"supply: {name}", getattr(self, name))
        for name in ("slot_s", "series_step_s"):
            positive(f"supply: {name}", getattr(self, name))
        number("supply: start_frac", self.start_frac, least=0.0, most=1.0)
        numbers("supply: series_w", self.series_w, least=0.0, shape=(-1,))

    @property
    def lossy(self) -> bool:
        """Whether storing energy loses some of it by conversion."""
        return self.charge_efficiency * self.discharge_efficiency < 1.0

    @property
    def limited(self) -> bool:
        """Whether a power limit of the store or of the auxiliary supply may bind."""
        limits = (self.charge_limit_w, self.discharge_limit_w, self.auxiliary_limit_w)
        return any(math.isfinite(limit) for limit in limits)


class Validity(msgspec.Struct, frozen=True, kw_only=True):
    """How large the store is against what the diffusion leaves out; each should be far above 1.

    ``store_over_slot``: against the overshoot of one slot, beta0 times its standard deviation.
    ``store_over_job``: against kx, the overshoot of one request. ``store_over_episode``: against
    the energy of one correlated episode of supply or demand (``None``: none known).
    """

    store_over_slot: float | None
    store_over_job: float | None
    store_over_episode: float | None


class Critical(msgspec.Struct, frozen=True, kw_only=True):
    """Critical supply b* [W]: waste and auxiliary are equal there.

    ``lossless``: the mean demand. ``with_leak``: + half the leakage of a full store.
    ``with_losses``: + what conversion loses on fluctuations. ``here``: with all that this site has.
    """

    lossless: Figure
    with_leak: Figure
    with_losses: Figure
    here: Figure


class Regime(msgspec.Struct, frozen=True, kw_only=True):
    """Where a supply stands: ``label`` by ``y`` = 2 theta B / sigma2 (``scale`` ``store``), or by
    theta sqrt(T) / sigma without a store (``horizon``).

    ``theta``: baseline less mean demand [W]. ``var``: sigma2 of demand and supply [J^2/s].
    """

    label: str
    scale: str
    y: Figure
    theta: Figure
    var: Figure


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Long-run rates [W] of auxiliary energy and waste at one supply, and what the fluid alone (no
    randomness) would give; the mean fill of the store [J].
    """

    baseline_w: float
    auxiliary: Figure
    waste: Figure
    fluid_auxiliary_w: float
    fluid_waste_w: float
    stored: Figure | None
    validity: Validity


class Optimum(msgspec.Struct, frozen=True, kw_only=True):
    """A best supply: baseline [W], store [J], net drift theta [W], its index y, the rates there.

    ``cost``: everything, storage included [$/year]; ``excess``: above a supply that pays baseline
    for the mean demand and no more [$/year]. ``beta``: theta over sigma [s^-1/2], the square-root
    safety supply. ``way`` says which formula or search found it.
    """

    baseline: Figure
    store: Figure
    theta: Figure
    y: Figure
    beta: Figure | None
    auxiliary: Figure
    waste: Figure
    cost: Figure
    excess: Figure
    way: str


class Provisioning(msgspec.Struct, frozen=True, kw_only=True):
    """The best baseline for the store as it is, the best baseline with the best store (``None``
    without a price of storage), and the best without any store.

    ``ratio``: r = (C_b + C_w) / (C_u + C_w); exactly critical is optimal at 1/2.
    """

    ratio: float
    given_store: Optimum | None
    joint: Optimum | None
    no_store: Optimum


class LawPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Cost of randomness per request [$] with ``traffic`` times the requests, supply set for it:
    of independent traffic, and of traffic that shares its slow movement (no pooling of that part).
    """

    traffic: float
    usd_per_request: float
    shared_usd_per_request: float


class Randomness(msgspec.Struct, frozen=True, kw_only=True):
    """What a supply off its critical point and chance cost [$/h and $ per 1,000 requests].

    ``baseline_usd_per_h``: a baseline equal to the mean demand. On top of it, ``first_order``: the
    drift theta, paid as baseline, auxiliary or waste even without chance (negative where buying
    less baseline saves). ``second_order``: fluctuation alone. ``law``: the square-root law.
    """

    baseline_usd_per_h: float
    first_order: Figure
    second_order: Figure
    first_order_per_1000: Figure | None
    second_order_per_1000: Figure | None
    law: tuple[LawPoint, ...]
    law_note: str


class VarianceTerm(msgspec.Struct, frozen=True, kw_only=True):
    """One source of variance: its size [J^2/s], its share of sigma2, and what it costs
    [$/year] at the best supply (dK/dsigma2 = Psi / (2 B) times the size).

    ``layer``: where it could be absorbed: ``time``, ``models``, ``execution`` or ``supply``.
    """

    name: str
    layer: str
    var_j2_per_s: float
    share_frac: float
    price: Figure | None
    note: str = ""


class RideThrough(msgspec.Struct, frozen=True, kw_only=True):
    """How long the store lasts from its fill at the start: mean and 10 % quantile of the time to
    the first auxiliary energy [s]; probability that some is needed within an hour, day, week.
    """

    start_j: float
    mean: Figure
    quantile_10: Figure
    any_in_hour: Figure
    any_in_day: Figure
    any_in_week: Figure


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """What one more of something is worth: ``what`` in words, ``usd_per_year`` saved (negative:
    it costs), ``effects`` on the numbers behind it, ``obtained`` how it was worked out.
    """

    what: str
    kind: str
    usd_per_year: Figure
    effects: dict[str, float]
    obtained: str


class SwitchPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The difficulty above which ``larger`` spends less energy per solved task than ``smaller``
    (value ``None``: never).
    """

    smaller: str
    larger: str
    difficulty: Figure


class Seasons(msgspec.Struct, frozen=True, kw_only=True):
    """A supply or demand that moves with the hour and the season.

    ``swing``: the store below which auxiliary and waste are above 0 even without chance [J].
    ``fluid_*``: rates of the deterministic balance over the whole series [W]. ``chance_*``: the
    same with chance, by the periodic diffusion, or simulated where the store loses or limits
    (``None``: no store, no noise). ``period_s``: of the series.
    """

    period_s: float
    swing: Figure
    daily_swing: Figure
    fluid_auxiliary: Figure
    fluid_waste: Figure
    chance_auxiliary: Figure | None
    chance_waste: Figure | None


class DemandSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A demand without its long columns."""

    name: str
    mean_w: float
    base_w: float
    var_j2_per_s: float
    requests_per_s: float
    ca2: float
    span_s: float
    job_mean_j: float | None
    job_cv2: float | None
    job_largest_j: float | None
    obtained: str
    how: str
    error_frac: float | None
    hourly_frac: tuple[float, ...] | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much supply, storage and fleet: what ``plan_site`` gives.

    ``at_site``: rates at the baseline as given (``None`` without one). ``randomness`` and
    ``variance_budget`` are at the site's baseline, or at the best one without. ``notes`` say what
    was assumed, ``warnings`` what may be wrong.
    """

    schema: str
    name: str
    demand: DemandSummary
    supply: Supply
    prices: Prices
    horizon_s: float
    critical: Critical
    regime: Regime | None
    at_site: Rates | None
    provisioning: Provisioning
    randomness: Randomness
    variance_budget: tuple[VarianceTerm, ...]
    ride_through: RideThrough | None
    worths: tuple[Worth, ...]
    switch_points: tuple[SwitchPoint, ...]
    seasons: Seasons | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def summary(demand: Demand) -> DemandSummary:
    """The demand without its long columns."""
    job = demand.job
    return DemandSummary(
        name=demand.name,
        mean_w=demand.mean_w,
        base_w=demand.base_w,
        var_j2_per_s=demand.var_j2_per_s,
        requests_per_s=demand.requests_per_s,
        ca2=demand.ca2,
        span_s=demand.span_s,
        job_mean_j=None if job is None else job.mean_j,
        job_cv2=job.var_j2 / job.mean_j**2 if job is not None and job.mean_j > 0 else None,
        job_largest_j=None if job is None else job.largest_j,
        obtained=demand.obtained,
        how=demand.how,
        error_frac=demand.error_frac,
        hourly_frac=demand.hourly_frac,
    )
