"""How much baseline, storage and fleet a site wants, what chance costs it, and what would help.

``plan_site`` puts the pieces together; each number carries the rung that gave it, how far the store
is from where that rung stops being right, and how far to trust it. docs/explanation/planner.md says
what each number means.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
from scipy.optimize import brentq

from baseload.base.units import S_PER_DAY, S_PER_HOUR
from baseload.planner.demand_records import Demand
from baseload.planner.figures import Figure, Standing, figure
from baseload.planner.fleet_case import FleetCase
from baseload.planner.net import MILNE, Net, net_of
from baseload.planner.optimum import (
    best_drift,
    provisioning,
    square_root_law,
    variance_budget,
    variance_price,
)
from baseload.planner.rates import rates_of, rates_record
from baseload.planner.records import (
    S_PER_YEAR,
    SCHEMA,
    Critical,
    Optimum,
    Plan,
    Prices,
    Provisioning,
    Randomness,
    Rates,
    Regime,
    RideThrough,
    Seasons,
    Supply,
    summary,
)
from baseload.planner.weather import ride_through_of_series, with_weather
from baseload.planner.worths import options_of, switches_of, worths_of
from baseload.planner.year import (
    BestScale,
    best_scale,
    best_scale_and_store,
    is_seasonal,
    net_series,
    seasons_of,
)
from baseload.theory.inputs import positive
from baseload.theory.normal import BETA_0
from baseload.theory.regime import regime
from baseload.theory.ride_through import autonomy_time, mean_ride_through, p_any_aux
from baseload.theory.two_sided import fluid_rates

S_PER_WEEK = 7.0 * S_PER_DAY
_AMPLE = 5.0


def plan_site(
    demand: Demand,
    supply: Supply,
    prices: Prices,
    *,
    horizon_s: float = S_PER_YEAR,
    case: FleetCase | None = None,
    on_progress: Callable[[float, str], None] | None = None,
) -> Plan:
    """The plan of a site: what ``demand`` asks of ``supply`` at ``prices``.

    ``horizon_s`` is what the regime of a site without a store is judged over. ``case``, the fleet
    and trace behind the demand, adds what a replica more and a lower token cap are worth, and where
    its models change places. Without ``supply.baseline_w`` (or a series) the plan is about the best
    baseline. ``on_progress`` is called with a share of the work and its name.

    Raises ``BadInputError`` naming the field.
    """
    positive("horizon_s", horizon_s)
    say = on_progress if on_progress is not None else _silent
    supply = _with_mean(supply)
    net, whole = net_of(demand, supply), with_weather(supply)
    say(0.1, "critical supply and rates")
    seasons = seasons_of(demand, supply, net)
    at_site = None
    if supply.baseline_w is not None:
        at_site = _over_the_year(rates_record(net, supply.baseline_w), seasons)
    say(0.3, "best supply")
    best = _provisioning(net, demand, supply, prices)
    say(0.5, "what chance costs")
    theta = _drift(net, supply, prices)
    found = rates_of(net, theta)
    price_usd = variance_price(net, prices, supply.store_j)
    say(0.7, "worths")
    options = options_of(case) if case is not None else []
    plan = Plan(
        schema=SCHEMA,
        name=supply.name or demand.name,
        demand=summary(demand),
        supply=supply,
        prices=prices,
        horizon_s=horizon_s,
        critical=critical_of(net),
        regime=None if supply.baseline_w is None else _regime(net, whole, theta, horizon_s),
        at_site=at_site,
        provisioning=best,
        randomness=_randomness(net, prices, demand, theta, at_site, seasons),
        variance_budget=variance_budget(_terms(demand, whole), price_usd, found.standing),
        ride_through=_lasting(demand, supply, net, theta),
        worths=worths_of(demand, supply, prices, case=case),
        switch_points=switches_of(options),
        seasons=seasons,
        notes=_notes(demand, supply, prices),
        warnings=_warnings(net, demand, supply, seasons),
    )
    say(1.0, "done")
    return plan


def _silent(share: float, what: str) -> None:
    """No progress wanted."""


def _with_mean(supply: Supply) -> Supply:
    """The supply with the mean of its series as baseline where none was said."""
    if supply.baseline_w is None and supply.series_w:
        mean = math.fsum(supply.series_w) / len(supply.series_w)
        return msgspec.structs.replace(supply, baseline_w=mean)
    return supply


def _drift(net: Net, supply: Supply, prices: Prices) -> float:
    """The site's drift, or that of the best baseline [W]."""
    if supply.baseline_w is not None:
        return supply.baseline_w - net.mean_w
    return best_drift(net, prices, supply.store_j).theta


def critical_of(net: Net) -> Critical:
    """Critical supply with and without what makes it move."""
    store, supply = net.supply.store_j, net.supply
    leak_w = 0.5 * supply.leak_per_s * store if math.isfinite(store) else 0.0
    here = 0.0
    if net.var > 0 and store > 0 and math.isfinite(store) and (supply.lossy or leak_w > 0):
        scale = math.sqrt(net.var / net.loss_slot_s) + leak_w
        here = float(brentq(lambda theta: _gap(net, theta), 0.0, 8.0 * scale, xtol=1e-9 * scale))
    lossless = figure(net.mean_w, "W", "exact", note="the mean demand")
    standing = rates_of(net, here).standing
    with_losses = lossless
    if supply.lossy:
        plain = msgspec.structs.replace(net, supply=msgspec.structs.replace(supply, leak_per_s=0.0))
        with_losses = (
            critical_of(plain).here
            if leak_w > 0
            else figure(
                net.mean_w + here,
                "W",
                standing,
                note=f"conversion losses on swings of {net.loss_slot_s:.3g} s",
            )
        )
    return Critical(
        lossless=lossless,
        with_leak=figure(net.mean_w + leak_w, "W", "exact", note="+ half of a full store's leak"),
        with_losses=with_losses,
        here=figure(net.mean_w + here, "W", standing if here else "exact"),
    )


def _gap(net: Net, theta: float) -> float:
    """Waste less auxiliary [W]: 0 at the critical drift."""
    found = rates_of(net, theta)
    return found.w_w - found.u_w


def _regime(net: Net, whole: Supply, theta: float, horizon_s: float) -> Regime:
    """Where the supply stands; ``whole``: the supply with its weather as variance."""
    var = net.var + whole.var_j2_per_s - net.supply.var_j2_per_s
    store = net.supply.store_j
    away = theta - (critical_of(net).here.value or net.mean_w) + net.mean_w
    stored = 0 < store < math.inf
    found = regime(away, var, B=store) if stored else regime(away, var, T=horizon_s)
    note = "2 theta B / sigma2" if stored else "theta sqrt(T) / sigma over the horizon"
    return Regime(
        label=found.label,
        scale="store" if stored else "horizon",
        y=figure(found.index, "", "exact", note=f"{note}, theta from the critical supply here"),
        theta=figure(theta, "W", "exact"),
        var=figure(var, "J^2/s", "modelled"),
    )


def _over_the_year(rates: Rates, seasons: Seasons | None) -> Rates:
    """The rates of a supply that moves with the hour: those of its periodic state."""
    if seasons is None:
        return rates
    auxiliary = seasons.chance_auxiliary or seasons.fluid_auxiliary
    waste = seasons.chance_waste or seasons.fluid_waste
    fluid_u, fluid_w = seasons.fluid_auxiliary, seasons.fluid_waste
    return msgspec.structs.replace(
        rates,
        auxiliary=auxiliary,
        waste=waste,
        fluid_auxiliary_w=fluid_u.value or 0.0,
        fluid_waste_w=fluid_w.value or 0.0,
        stored=None,
    )


def _provisioning(net: Net, demand: Demand, supply: Supply, prices: Prices) -> Provisioning:
    """The best supplies; with a supply that moves with the hour, the best scale of its shape."""
    if not supply.series_w:
        return provisioning(net, prices)
    given = None
    if supply.store_j > 0:
        given = _scaled(net, best_scale(demand, supply, prices, store_j=supply.store_j), prices)
    without = best_scale(demand, supply, prices, store_j=0.0)
    joint = best_scale_and_store(demand, supply, prices)
    return Provisioning(
        ratio=prices.ratio,
        given_store=given,
        joint=None if joint is None else _scaled(net, joint, prices),
        no_store=_scaled(net, without, prices),
    )


def _scaled(net: Net, best: BestScale, prices: Prices) -> Optimum:
    """The best scale of a supply's own shape as an optimum."""
    balance, theta = best.balance, best.mean_w - net.mean_w
    above = best.cost_usd_per_s - prices.baseline_usd_per_j * net.mean_w
    rung, standing = "fluid_slots", _MODELLED
    return Optimum(
        baseline=figure(best.mean_w, "W", standing, rung=rung),
        store=figure(best.store_j, "J", standing, rung=rung),
        theta=figure(theta, "W", standing, rung=rung),
        y=figure(0.0, "", standing, note="no index: the supply moves with the hour"),
        beta=None,
        auxiliary=figure(balance.auxiliary_w, "W", standing, rung=rung),
        waste=figure(balance.waste_w, "W", standing, rung=rung),
        cost=figure(best.cost_usd_per_s * S_PER_YEAR, "$/year", standing),
        excess=figure(above * S_PER_YEAR, "$/year", standing),
        way="best scale of the supply's own shape over its series, without chance",
    )


_MODELLED: Standing = "modelled"


def _randomness(
    net: Net,
    prices: Prices,
    demand: Demand,
    theta: float,
    at_site: Rates | None,
    seasons: Seasons | None,
) -> Randomness:
    """First- and second-order cost at the drift, and the square-root law."""
    store = net.supply.store_j
    found = rates_of(net, theta)
    fluid = fluid_rates(theta, store)
    u, w, fluid_u, fluid_w = found.u_w, found.w_w, fluid.u_w, fluid.w_w
    standing = found.standing
    if seasons is not None and at_site is not None:
        u, w = at_site.auxiliary.value or 0.0, at_site.waste.value or 0.0
        fluid_u, fluid_w = at_site.fluid_auxiliary_w, at_site.fluid_waste_w
        standing = at_site.auxiliary.standing
    c_u, c_w = prices.auxiliary_usd_per_j, prices.waste_usd_per_j
    first = prices.baseline_usd_per_j * theta + c_u * fluid_u + c_w * fluid_w
    second = c_u * (u - fluid_u) + c_w * (w - fluid_w)
    rate = demand.requests_per_s

    def per_1000(usd_per_s: float) -> Figure | None:
        if rate <= 0:
            return None
        return figure(1000.0 * usd_per_s / rate, "$ per 1,000 requests", standing)

    return Randomness(
        baseline_usd_per_h=prices.baseline_usd_per_j * net.mean_w * S_PER_HOUR,
        first_order=figure(first * S_PER_HOUR, "$/h", "exact", note="without chance"),
        second_order=figure(
            second * S_PER_HOUR,
            "$/h",
            standing,
            rung=found.rung,
            error_frac=found.error_frac,
            note="chance alone",
        ),
        first_order_per_1000=per_1000(first),
        second_order_per_1000=per_1000(second),
        law=square_root_law(net, prices, rate, store),
        law_note="each with the best baseline; "
        + (
            "and the best store at its price"
            if prices.storage_usd_per_j_s is not None
            else "the store grows as the root of the traffic"
        ),
    )


def _terms(demand: Demand, supply: Supply) -> dict[str, float]:
    """Where sigma2 comes from [J^2/s]."""
    terms = demand.terms
    found: dict[str, float] = {}
    if terms is None:
        found["demand"] = demand.var_j2_per_s
    else:
        found = {
            "execution": terms.execution_j2_per_s,
            "mix of classes": terms.mix_j2_per_s,
            "routing": terms.routing_j2_per_s,
            "arrivals": terms.arrivals_j2_per_s,
            "temporal": terms.temporal_j2_per_s,
            "switching": terms.switching_j2_per_s,
        }
    return found | {"supply": supply.var_j2_per_s}


def ride_start(net: Net) -> tuple[float, float]:
    """Level and capacity [J] that make the diffusion's ride-through hold: each end lies further
    out by what slots and slow episodes overshoot.
    """
    step = BETA_0 * math.sqrt(net.fast * net.supply.slot_s) * math.sqrt(1.0 - net.slow_frac)
    step += MILNE * net.episode_j * math.sqrt(net.slow_frac)
    store = net.supply.store_j
    return net.supply.start_frac * store + step, store + 2.0 * step


def _lasting(demand: Demand, supply: Supply, net: Net, theta: float) -> RideThrough | None:
    """How long the store lasts: along the series of a site that moves with the hour, else by the
    diffusion; ``None`` without a store.
    """
    moves = supply.baseline_w is not None and is_seasonal(demand, supply)
    if moves and 0 < supply.store_j < math.inf:
        baseline, drawn, step_s = net_series(demand, supply)
        return ride_through_of_series(baseline - drawn, step_s, supply)
    return _ride_through(net, theta)


def _ride_through(net: Net, theta: float) -> RideThrough | None:
    """How long the store lasts; ``None`` without one."""
    supply = net.supply
    if not 0 < supply.store_j < math.inf:
        return None
    start, wide = ride_start(net)
    standing: Standing = "heuristic" if net.slow > 0 or supply.lossy else "asymptotic"
    note = "losses, leakage and power limits left out" if not _plain(supply) else ""
    law = {"S0": start, "theta": theta, "var": net.var, "B": wide}

    def any_within(time_s: float) -> Figure:
        return figure(p_any_aux(**law, T=time_s), "", standing, rung="diffusion", note=note)

    return RideThrough(
        start_j=supply.start_frac * supply.store_j,
        mean=figure(
            mean_ride_through(**law), "s", standing, rung="diffusion", note=note or "time to first"
        ),
        quantile_10=figure(autonomy_time(**law, risk=0.1), "s", standing, rung="diffusion"),
        any_in_hour=any_within(S_PER_HOUR),
        any_in_day=any_within(S_PER_DAY),
        any_in_week=any_within(S_PER_WEEK),
    )


def _plain(supply: Supply) -> bool:
    return not (supply.lossy or supply.limited or supply.leak_per_s > 0)


def _notes(demand: Demand, supply: Supply, prices: Prices) -> tuple[str, ...]:
    """What was assumed."""
    notes = list(demand.notes)
    if demand.how:
        notes.append(f"Load: {demand.how}.")
    if supply.baseline_w is None:
        notes.append("No baseline was given: costs and worths are at the best one.")
    if prices.storage_usd_per_j_s is None:
        notes.append("No price of storage was given: the best store is not asked for.")
    if prices.ratio >= 1.0:
        notes.append("Auxiliary energy is no dearer than baseline: the best baseline is none.")
    if prices.ratio <= 0.0:
        notes.append(
            "Waste earns back what baseline costs: more baseline is never worse; shown is where"
            " auxiliary energy vanishes."
        )
    if prices.storage_usd_per_j_s == 0:
        notes.append("Storage is free at these prices: no size of it is best.")
    if demand.job is None:
        notes.append("The energy of single requests is not known: variance is not taken apart.")
    notes.append("The cost of hardware is in no number, unless the price of storage has it.")
    return tuple(notes)


def _warnings(net: Net, demand: Demand, supply: Supply, seasons: Seasons | None) -> tuple[str, ...]:
    """What may be wrong."""
    found = []
    validity = net.validity(supply.store_j)
    if supply.store_j > 0:
        scales = (
            (validity.store_over_job, "the overshoot of one request"),
            (validity.store_over_slot, "the noise of one slot"),
            (validity.store_over_episode, "one slow episode of the load"),
        )
        for ratio, scale in scales:
            if ratio is not None and ratio < _AMPLE:
                found.append(
                    f"The store holds only {ratio:.2g} times {scale}: rates of the diffusion are"
                    " rough here; simulate."
                )
    if supply.limited:
        found.append("Power limits are not in the formulas: simulate to see what they cost.")
    terms = demand.terms
    if terms is not None and terms.temporal_error_j2_per_s is not None and demand.var_j2_per_s > 0:
        error = terms.temporal_error_j2_per_s / demand.var_j2_per_s
        if error > 0.3:
            found.append(f"sigma2 is known to {100 * error:.0f} % only: the trace is short.")
    if demand.correlation_s is not None and demand.span_s < 50.0 * demand.correlation_s:
        found.append(
            f"The trace lasts {demand.span_s / demand.correlation_s:.0f} correlation times of its"
            " load; slower movement than it shows is not in sigma2."
        )
    if seasons is not None and (seasons.daily_swing.value or 0.0) > supply.store_j:
        found.append(
            "Supply and demand move by more within a day than the store holds: auxiliary energy and"
            " waste are above 0 even without chance."
        )
    if is_seasonal(demand, supply):
        found.append(
            "The variance budget takes supply and demand at their means; with a profile over the"
            " day its prices are rough."
        )
    return tuple(found)
