"""What a simulation gives: the records behind ``baseload simulate --json`` and behind every table
and plot.

The schema is versioned by ``SCHEMA``; fields are documented in docs/reference/simulate.md. Missing
is ``None``, never 0.
"""

from __future__ import annotations

import msgspec

from baseload.simulator.joulesched_records import JouleSchedStudy

SCHEMA = "baseload-simulation/1"

POWER_STATES = ("active", "idle", "parked", "off", "waking")
"""Accounts of energy, in the order in which plots stack them."""


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Median, 95th and 99th percentile [s]; ``None`` when nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """An empirical distribution: share of requests (``frac``, rising to 1) at or below ``x``."""

    x: list[float]
    frac: list[float]


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """Mean fleet power in equal time bins: ``t_s`` start of each bin [s], ``power_w`` by power
    state [W].

    ``in_flight`` is the mean number of requests in the fleet, queued or running; ``arrivals_per_s``
    the offered rate; ``replicas`` the mean number of replicas by power state; ``miss_frac`` the
    share of missed deadlines among the requests that ended in the bin, ``None`` where none did.
    """

    bin_s: float
    t_s: list[float]
    power_w: dict[str, list[float]]
    in_flight: list[float]
    arrivals_per_s: list[float]
    replicas: dict[str, list[float]] = {}
    miss_frac: list[float | None] = []


class ControlSeries(msgspec.Struct, frozen=True, kw_only=True):
    """The slow controller's diary, thinned to at most 240 entries: ``t_s`` of each [s],
    ``lambda_by_tier`` (price per second of lateness), ``open_by_type`` replicas that take requests,
    ``held`` requests that wait outside the fleet.
    """

    t_s: list[float]
    lambda_by_tier: dict[str, list[float]]
    open_by_type: dict[str, list[int]]
    held: list[int]


class TraceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Which requests were replayed. ``sha256`` is over their columns, so it names the content,
    not the file.
    """

    name: str
    sha256: str
    requests: int
    span_s: float


class FleetRow(msgspec.Struct, frozen=True, kw_only=True):
    """One replica type of the fleet: ``gpus`` = replicas x GPUs each. ``method``,
    ``error_frac``: of its eight numbers.
    """

    type: str
    device: str
    model: str
    gpus: int
    replicas: int
    method: str
    error_frac: float | None


class SupplySeries(msgspec.Struct, frozen=True, kw_only=True):
    """The supply in at most 240 stretches of a run: ``t_s`` start of each [s], mean powers [W], and
    ``level_j`` of the store at its end [J].
    """

    t_s: list[float]
    baseline_w: list[float]
    demand_w: list[float]
    auxiliary_w: list[float]
    waste_w: list[float]
    unserved_w: list[float]
    level_j: list[float]


class SupplyDay(msgspec.Struct, frozen=True, kw_only=True):
    """The mean day of a run: mean powers [W] and level of the store [J] in each hour of UTC,
    24 values.
    """

    baseline_w: list[float]
    demand_w: list[float]
    auxiliary_w: list[float]
    waste_w: list[float]
    level_j: list[float]


class SupplyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy's demand cost a site whose baseline is multiplied by ``scale``; means over
    seeds, ``interval`` as in ``PolicyResult``.

    Joules at the bus: ``baseline_j`` = ``baseline_used_j`` (into demand or store) + ``waste_j``;
    ``auxiliary_j`` bought; ``unserved_j`` demand beyond the auxiliary limit; and what the store
    kept, leaked and lost. They balance to ``balance_residual_frac`` of the largest.
    ``baseline_over_demand`` is 1 at the critical supply of a lossless store. ``regime``: which side
    of it, from the ``criticality`` index ``y = 2 theta B / sigma2`` measured in this run; ``None``
    where that is too short or the store is none. ``peak_w``: highest auxiliary power over a
    metering window. ``carbon_kg``: inventory at average intensity; ``carbon_missing``: what had
    none. ``marginal_carbon_kg``: effect of the auxiliary energy at marginal intensity; not a part
    of the other. ``cost_usd``: parts of ``total_cost_usd``, among them ``wrong_usd`` and
    ``miss_usd`` where tiers say what right answers and kept promises are worth; ``cost_missing``:
    parts without a price, not in it. ``series`` and ``day`` only for the scale nearest to 1, of the
    first seed.
    """

    scale: float
    baseline_w: float
    demand_w: float
    baseline_over_demand: float | None
    demand_j: float
    baseline_j: float
    baseline_used_j: float
    auxiliary_j: float
    waste_j: float
    unserved_j: float
    store_change_j: float
    leak_j: float
    loss_j: float
    peak_w: float
    equivalent_cycles: float
    carbon_kg: float | None
    carbon_missing: list[str]
    marginal_carbon_kg: float | None
    total_cost_usd: float | None
    cost_usd: dict[str, float]
    cost_missing: list[str]
    balance_residual_frac: float
    regime: str | None
    criticality: float | None
    interval: dict[str, list[float]]
    series: SupplySeries | None = None
    day: SupplyDay | None = None


class DiaryDays(msgspec.Struct, frozen=True, kw_only=True):
    """Means over some days of a run: how many, ``baseline_j`` a day, ``level_frac`` of the store,
    what a joule at the bus cost, ``joules_per_answer`` as expected when it was picked, and the
    share of each option in the picks of each class. ``None`` where nothing was picked, or no store
    is there.
    """

    days: int
    baseline_j: float
    level_frac: float | None
    price_usd_per_j: float
    joules_per_answer: float | None
    choice_frac: dict[str, dict[str, float]]


class DiaryStretch(msgspec.Struct, frozen=True, kw_only=True):
    """Hours around the darkest days of a run, at most 240: ``t_s`` start of each [s], mean powers
    [W], mean level of the store [J], mean price of a joule [$/J]. The darkest days are those from
    ``dark_from_s`` to ``dark_to_s``.
    """

    t_s: list[float]
    baseline_w: list[float]
    demand_w: list[float]
    level_j: list[float]
    price_usd_per_j: list[float]
    dark_from_s: float
    dark_to_s: float


class SupplyDiary(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy that prices joules by the state of the supply did in a run. Hours are of the
    day in UTC, 24 values; ``None`` where there was nothing. Joules are those at the bus.

    ``methods``: hours by how the prices were found. ``solved``: how often a program or an equation
    was solved; ``guarded_away``: tables that were no better than static. ``baseline_w``: mean day.
    ``price_usd_per_j``: mean price of a joule; ``price_usd_per_j_by_level``: the same while the
    store was in its lowest, middle and highest third. ``curve_usd_per_j`` ``[24][levels]``: mean
    price at levels ``curve_level_frac`` of the store, after the start. ``choice_frac``: by class
    and option, share of the picks of the hour. ``lowest``, ``highest``: the fifth of the days with
    the least and the most supply; ``dark``: the darkest days in a row; ``before``: the day before
    those; ``None`` in a run of few days.
    """

    rule: str
    methods: dict[str, float]
    solved: int
    guarded_away: int
    baseline_w: list[float | None]
    price_usd_per_j: list[float | None]
    price_usd_per_j_by_level: list[list[float | None]]
    curve_level_frac: list[float]
    curve_usd_per_j: list[list[float | None]]
    choice_frac: dict[str, dict[str, list[float | None]]]
    joules_per_answer: list[float | None]
    lowest: DiaryDays | None = None
    highest: DiaryDays | None = None
    dark: DiaryDays | None = None
    before: DiaryDays | None = None
    stretch: DiaryStretch | None = None


class DispatchFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A clairvoyant dispatch, mean over seeds: fields as in ``dispatch.Dispatch``, ``choice_frac``
    by class and option.
    """

    total_cost_usd: float
    cost_usd: dict[str, float]
    cost_missing: list[str]
    auxiliary_j: float
    waste_j: float
    unserved_j: float
    demand_j: float
    quality_frac: float | None
    choice_frac: dict[str, dict[str, float]]
    how: str


class DispatchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests of ``policy``'s runs could have cost at the least, at the scale nearest to
    1, up to the instants at which its runs ended.

    ``proven``: no schedule can undercut it (docs/explanation/dispatch.md says what of); ``as_run``:
    with the mean joules that the policy's own answers drew, no bound for others; ``None`` where
    nothing was answered. ``never_used``: by class, options whose joules it did not show;
    ``as_run`` leaves them out. ``run_cost_usd``: what the runs cost of what both count: without the
    demand charge and broken promises, with fees [$].
    """

    policy: str
    run_cost_usd: float
    proven: DispatchFigures
    as_run: DispatchFigures | None
    never_used: dict[str, list[str]]


class PolicyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy cost, mean over seeds (percentiles and curves pool the requests of all
    seeds).

    ``interval`` maps a figure's name to its 95 % confidence interval over seeds, ``[low, high]``;
    empty with one seed. ``miss_frac`` counts requests that broke a promised deadline of their tier,
    refused ones included. ``goodput_per_s``: answers per second that kept every promise.
    ``ledger_residual_j``: fleet energy minus the sum of all accounts (requests, idle, parked, off,
    waking). ``energy_over_bound``: over the clairvoyant bound of the same requests and rules.
    ``parked_hours``: replica-hours parked or off, ``wakes``: from there. ``lambda_by_tier``: mean
    over time of the price of a second of lateness, in units of the policy's price.
    ``energy_j_by_cause``: ``weight_stream`` (the constant part of every step: what larger batches
    share), ``tokens`` (the rest of the steps), ``rest`` (idle, parked, off, waking);
    ``energy_j_by_tier``: of the requests. ``supply``: at a site, what its energy cost there under
    each scale of the baseline that was asked for. ``quality_frac``: expected share of right
    answers among all requests, refused and cut ones being wrong; ``None`` in a scenario without
    options and caps (with caps alone every whole answer counts as right).
    ``choice_frac``: share of each option in the answers to a class. ``capped_frac``: share of
    answers that a cap cut, which count as wrong; ``None`` where nothing caps.
    ``demand_variance_j2_per_s``: arrival rate of the answered x mean square of their joules, the
    variance rate of the demand if requests come as a Poisson stream. ``total_cost_usd``, its parts
    ``cost_usd``, ``auxiliary_j`` and ``waste_j``: those of ``supply`` at the scale nearest to 1;
    ``total_cost_usd_by_seed``: the same of each seed, so that policies can be compared seed by
    seed. ``joule_prices``: what the policy did with the price of a joule, in the first seed at that
    scale; ``None`` for one that does not look at the supply.
    ``answer_energy_j``: mean joules of an answer to a class by an option, active ones of the fleet.
    ``dispatch``: the least that its requests could have cost, ``cost_over_dispatch`` its own cost
    as a multiple of the proven one, ``cost_over_dispatch_as_run`` of the other; where asked for.
    """

    policy: str
    parameters: dict[str, float | int | str | bool | None]
    energy_j: float
    energy_mj_per_hour: float
    idle_energy_j: float
    active_energy_j: float
    energy_j_per_request: float | None
    energy_j_per_output_token: float | None
    ttft_s: Quantiles
    tpot_s: Quantiles
    e2e_s: Quantiles
    miss_frac: float | None
    miss_frac_by_tier: dict[str, float | None]
    completed: int
    refused: int
    refused_by_reason: dict[str, int]
    utilization_by_device: dict[str, float]
    bulk_share_by_device: dict[str, float]
    mean_batch_by_device: dict[str, float | None]
    carbon_kg: float | None
    ledger_residual_j: float
    requests_per_cpu_s: float
    cpu_s: float
    interval: dict[str, list[float]]
    goodput_per_s: float = 0.0
    output_tokens: int = 0
    input_tokens: int = 0
    preempted: int = 0
    cut_short: int = 0
    ttft_s_by_tier: dict[str, Quantiles] = {}
    tpot_s_by_tier: dict[str, Quantiles] = {}
    e2e_s_by_tier: dict[str, Quantiles] = {}
    energy_j_by_state: dict[str, float] = {}
    energy_j_by_device: dict[str, float] = {}
    energy_j_by_model: dict[str, float] = {}
    energy_j_by_device_and_state: dict[str, dict[str, float]] = {}
    request_energy_j: Quantiles = Quantiles(p50=None, p95=None, p99=None)
    ttft_curve: Curve = Curve(x=[], frac=[])
    e2e_curve: Curve = Curve(x=[], frac=[])
    series: Series | None = None
    energy_over_bound: float | None = None
    parked_hours: float = 0.0
    wakes: int = 0
    lambda_by_tier: dict[str, float] = {}
    energy_j_by_cause: dict[str, float] = {}
    energy_j_by_tier: dict[str, float] = {}
    control: ControlSeries | None = None
    supply: list[SupplyResult] = []
    quality_frac: float | None = None
    quality_frac_by_tier: dict[str, float | None] = {}
    choice_frac: dict[str, dict[str, float]] = {}
    capped_frac: float | None = None
    demand_variance_j2_per_s: float | None = None
    total_cost_usd: float | None = None
    cost_usd: dict[str, float] = {}
    auxiliary_j: float | None = None
    waste_j: float | None = None
    total_cost_usd_by_seed: list[float] = []
    joule_prices: SupplyDiary | None = None
    answer_energy_j: dict[str, dict[str, float]] = {}
    cost_over_dispatch: float | None = None
    cost_over_dispatch_as_run: float | None = None
    dispatch: DispatchResult | None = None


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario under several policies: everything that ``baseload simulate --json`` writes."""

    schema: str
    version: str
    scenario: str
    seeds: list[int]
    trace: TraceInfo
    fleet: list[FleetRow]
    bound_energy_j: float | None
    policies: list[PolicyResult]
    tiers: dict[str, dict[str, float | None]] = {}
    offered_load_frac: float | None = None
    parking: bool = False
    forecast: str = "online"
    notes: list[str] = []
    joulesched: JouleSchedStudy | None = None
    dispatch: DispatchResult | None = None
