"""The charts of a plan, worked out: ``charts_of`` gives one record for each plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from scipy.optimize import brentq

from baseload.base.units import J_PER_KWH, S_PER_DAY, S_PER_HOUR
from baseload.planner.curves import Chart, Dots, Line
from baseload.planner.demand_records import Demand
from baseload.planner.digest import work_of
from baseload.planner.fleet_case import FleetCase
from baseload.planner.net import Net, net_of
from baseload.planner.optimum import best_drift, best_drift_and_store
from baseload.planner.plan import critical_of, ride_start
from baseload.planner.rates import rates_of
from baseload.planner.records import S_PER_YEAR, Plan, Prices, Supply
from baseload.planner.simulated import SimulatedRates
from baseload.planner.weather import ride_through_of_series
from baseload.planner.worths import options_of
from baseload.planner.year import fluid_balance, is_seasonal, net_series
from baseload.theory.dam import dam_rates, two_pole_rates
from baseload.theory.inputs import Floats
from baseload.theory.job_laws import measured_law
from baseload.theory.normal import BETA_0
from baseload.theory.one_sided import expected_aux_one_sided, expected_aux_with_bias
from baseload.theory.options import OptionModel, switch_points
from baseload.theory.ride_through import mean_ride_through, p_any_aux, p_any_aux_infinite_store
from baseload.theory.two_sided import expected_aux_finite_B, two_sided_rates

_KW = 1000.0
_EXACT_JOBS = 40.0
_BIAS_SEEN_S = 1e5
_LONGEST_LOG_S = math.log(1e12)


def charts_of(
    plan: Plan,
    demand: Demand,
    *,
    case: FleetCase | None = None,
    simulated: SimulatedRates | None = None,
) -> tuple[Chart, ...]:
    """All charts that the plan can fill, in the order in which a reader wants them.

    ``demand`` and ``case`` as given to ``plan_site``; ``simulated``: dots for the V.
    """
    supply, prices = plan.supply, plan.prices
    net = net_of(demand, supply)
    theta = 0.0
    if supply.baseline_w is not None:
        theta = supply.baseline_w - net.mean_w
    elif plan.provisioning.given_store is not None:
        theta = plan.provisioning.given_store.theta.value or 0.0
    found: list[Chart | None] = [
        v_chart(net, demand, simulated),
        growth_chart(net, plan.horizon_s),
        storage_chart(demand),
        provisioning_chart(net, prices),
        budget_chart(plan),
        ride_along(demand, supply) if _moves(demand, supply) else ride_chart(net, theta),
        year_chart(demand, supply),
    ]
    if case is not None:
        found += [tails_chart(case, demand), switch_chart(options_of(case))]
    return tuple(chart for chart in found if chart is not None)


def _line(label: str, x: Floats, y: Sequence[float | None] | Floats, standing: str) -> Line:
    values = [None if v is None or not math.isfinite(v) else float(v) for v in y]
    return Line(label=label, x=tuple(float(v) for v in x), y=tuple(values), standing=standing)


def v_chart(net: Net, demand: Demand, simulated: SimulatedRates | None = None) -> Chart:
    """Auxiliary, waste and their sum over the baseline, with the fluid's V below; where supply or
    demand moves with the hour, over its whole series.
    """
    critical_w = critical_of(net).here.value or net.mean_w
    supply = net.supply
    moving = is_seasonal(demand, supply)
    if moving:
        x = np.linspace(0.8, 1.2, 33)
        pairs, standing, note = [], "modelled", "over the series, without chance"
        for b in x:
            moved = msgspec.structs.replace(supply, baseline_w=float(b) * critical_w)
            baseline, drawn, step_s = net_series(demand, moved)
            year = fluid_balance(baseline, drawn, step_s, supply, store_j=supply.store_j)
            pairs.append((year.auxiliary_w, year.waste_w))
    else:
        zoom = _around(net, critical_w)
        x = np.unique(np.concatenate([np.linspace(0.8, 1.2, 81), zoom]))
        found = [rates_of(net, float(b) * critical_w - net.mean_w) for b in x]
        middle = found[len(found) // 2]
        standing, note = middle.standing, f"rates: {middle.rung}"
        pairs = [(each.u_w, each.w_w) for each in found]
    u, w = (np.array(column) / _KW for column in zip(*pairs, strict=True))
    fluid = np.abs(x * critical_w - net.mean_w) / _KW
    return Chart(
        name="v_shape",
        title="Too little or too much supply costs; at the critical point "
        + ("days and seasons are left" if moving else "only chance is left"),
        x_label="baseline over critical supply b*",
        y_label="power [kW]",
        lines=(
            _line("auxiliary u", x, u, standing),
            _line("waste w", x, w, standing),
            _line("u + w", x, u + w, standing),
            _line("u + w of a steady site without chance", x, fluid, "exact"),
        ),
        marks={"critical": 1.0}
        | ({} if supply.baseline_w is None else {"this site": supply.baseline_w / critical_w}),
        dots=() if simulated is None else _dots(simulated, critical_w),
        note=note,
    )


def _around(net: Net, critical_w: float) -> Floats:
    """Values of b/b* on which chance rounds the V, and some beside them."""
    store = net.supply.store_j
    if store > 0:
        reach_w = 4.0 * net.var / (store + net.widening_j(store))
    else:
        reach_w = 4.0 * math.sqrt(net.slot_var() / net.supply.slot_s)
    reach = min(0.2, max(1e-6, reach_w / critical_w))
    near: Floats = 1.0 + np.concatenate(
        [np.linspace(-reach, reach, 41), np.linspace(-0.02, 0.02, 11)]
    )
    return near


def _dots(simulated: SimulatedRates, critical_w: float) -> tuple[Dots, ...]:
    x = tuple(b / critical_w for b in simulated.baseline_w)
    pairs = (
        ("auxiliary, simulated", simulated.auxiliary_w, simulated.auxiliary_error_w),
        ("waste, simulated", simulated.waste_w, simulated.waste_error_w),
    )
    return tuple(
        Dots(
            label=label,
            x=x,
            y=tuple(value / _KW for value in values),
            error=tuple(value / _KW for value in errors),
        )
        for label, values, errors in pairs
    )


def growth_chart(net: Net, horizon_s: float) -> Chart | None:
    """Expected auxiliary energy over the horizon from an empty store: at the critical supply (in
    slots too), 2 % beside it, under a forecast of the demand that is a little too low, and with the
    site's own store.

    The forecast is off by ``sigma / sqrt(T)`` with T of ``_BIAS_SEEN_S``: about then its root turns
    into a line.
    """
    if net.var <= 0:
        return None
    times = np.geomspace(max(net.supply.slot_s, 60.0), max(horizon_s, S_PER_DAY), 61)
    drift = 0.02 * net.mean_w
    standing = "heuristic" if net.slow > 0 else "asymptotic"

    def curve(theta: float) -> list[float]:
        return [expected_aux_one_sided(theta, net.var, T=float(t)) / J_PER_KWH for t in times]

    lines = [
        _line("at critical supply", times, curve(0.0), standing),
        _line("2 % less: linear", times, curve(-drift), standing),
        _line("2 % more: bounded", times, curve(drift), standing),
    ]
    bias_w = math.sqrt(net.var / _BIAS_SEEN_S)
    if bias_w < drift:
        biased = [
            expected_aux_with_bias(math.sqrt(net.var), bias_w, T=float(t)) / J_PER_KWH
            for t in times
        ]
        label = f"forecast {100 * bias_w / net.mean_w:.1g} % too low"
        lines.append(_line(label, times, biased, standing))
    slot_j = BETA_0 * math.sqrt(net.fast * net.supply.slot_s) / J_PER_KWH
    if slot_j > 0.05 * (lines[0].y[0] or 0.0):
        slotted = [max(0.0, one - slot_j) or None for one in curve(0.0)]
        name = f"at critical supply, in slots of {net.supply.slot_s:g} s"
        lines.append(_line(name, times, slotted, standing))
    store = net.supply.store_j
    if 0 < store < math.inf:
        own = [
            expected_aux_finite_B(0.0, net.var, B=store, T=float(t), S0=0.0) / J_PER_KWH
            for t in times
        ]
        lines.append(_line("at critical supply, this store", times, own, standing))
    return Chart(
        name="growth",
        title="At critical supply auxiliary energy grows as the root of time, beside it linearly",
        x_label="time [s]",
        y_label="expected auxiliary energy [kWh]",
        lines=tuple(lines),
        x_log=True,
        y_log=True,
        note="unlimited store, empty at the start, unless said",
    )


def storage_chart(demand: Demand) -> Chart | None:
    """Auxiliary use over the store at critical supply, of the requests alone as a Poisson stream:
    exact, two poles, corrected and plain diffusion.
    """
    job, rate = demand.job, demand.requests_per_s
    if job is None or job.mean_j <= 0 or rate <= 0:
        return None
    law = measured_law(job.sample_j)
    mean_w = rate * law.mean_j
    var = rate * law.second_j2
    jobs = np.geomspace(1.0, 1000.0, 31)

    def over(rate_of: Callable[[float], float], most: float = math.inf) -> list[float | None]:
        return [rate_of(float(n) * law.mean_j) / mean_w if n <= most else None for n in jobs]

    coarse = np.geomspace(1.0, _EXACT_JOBS, 8)
    exact = [dam_rates(rate, law, b=mean_w, B=float(n) * law.mean_j).u_w / mean_w for n in coarse]
    lines = (
        _line("exact (dam)", coarse, exact, "exact"),
        _line(
            "two poles",
            jobs,
            over(lambda B: two_pole_rates(rate, law, b=mean_w, B=B).u_w),
            "asymptotic",
        ),
        _line(
            "diffusion, store + kx",
            jobs,
            over(lambda B: two_sided_rates(0.0, var, B + law.overshoot_j).u_w),
            "asymptotic",
        ),
        _line(
            "plain diffusion", jobs, over(lambda B: two_sided_rates(0.0, var, B).u_w), "asymptotic"
        ),
    )
    return Chart(
        name="storage",
        title="The plain diffusion overstates auxiliary use until the store holds many requests",
        x_label="store over the mean energy of a request",
        y_label="auxiliary over mean demand",
        lines=lines,
        x_log=True,
        y_log=True,
        marks={"kx": law.overshoot_j / law.mean_j},
        note="requests alone, as a Poisson stream, at critical supply",
    )


def provisioning_chart(net: Net, prices: Prices) -> Chart | None:
    """Best drift, best store and excess cost over the price of auxiliary energy."""
    base = prices.baseline_usd_per_j
    if base <= 0 or net.var <= 0:
        return None
    ratios = np.geomspace(1.1, 20.0, 13)
    drifts, stores, costs = [], [], []
    for ratio in ratios:
        here = msgspec.structs.replace(prices, auxiliary_usd_per_j=base * float(ratio))
        best = best_drift_and_store(net, here) or best_drift(net, here, net.supply.store_j)
        drifts.append(best.theta / _KW)
        stores.append(best.store_j / J_PER_KWH)
        costs.append(best.excess_usd_per_s * S_PER_YEAR)
    standing = rates_of(net, 0.0).standing
    even = 2.0 + prices.waste_usd_per_j / base
    joint = prices.storage_usd_per_j_s is not None
    return Chart(
        name="provisioning",
        title="Exactly critical is best where auxiliary costs twice the baseline",
        x_label="price of auxiliary over price of baseline",
        y_label="best baseline less mean demand [kW]",
        lines=(_line("best drift", ratios, drifts, standing),),
        x_log=True,
        marks={
            "critical is best": even,
            "these prices": prices.auxiliary_usd_per_j / base,
        },
        right_label="excess cost [$/year]" + (", best store [kWh]" if joint else ""),
        right=(
            _line("excess cost [$/year]", ratios, costs, standing),
            *((_line("best store [kWh]", ratios, stores, standing),) if joint else ()),
        ),
    )


def budget_chart(plan: Plan) -> Chart | None:
    """Shares of the variance by source, and what each costs a year."""
    terms = plan.variance_budget
    if not terms:
        return None
    x = np.arange(len(terms), dtype=np.float64)
    prices = [None if term.price is None else term.price.value for term in terms]
    return Chart(
        name="variance_budget",
        title=f"Most of the variance comes from: {terms[0].name}",
        x_label="source",
        y_label="share of sigma2",
        lines=(_line("share", x, [term.share_frac for term in terms], "modelled"),),
        ticks=tuple(term.name for term in terms),
        right_label="what it costs [$/year]",
        right=(_line("price", x, prices, "modelled"),),
    )


def ride_chart(net: Net, theta: float) -> Chart | None:
    """How long the store lasts over its fill."""
    store = net.supply.store_j
    if not 0 < store < math.inf or net.var <= 0:
        return None
    fills = np.linspace(0.0, 1.0, 13)
    low, wide = ride_start(
        msgspec.structs.replace(net, supply=msgspec.structs.replace(net.supply, start_frac=0.0))
    )
    means, tenths, any_day, least = [], [], [], []
    for fill in fills:
        level = low + float(fill) * store
        law = {"S0": level, "theta": theta, "var": net.var, "B": wide}
        means.append(mean_ride_through(**law) / S_PER_HOUR)
        tenths.append(_tenth_s(law) / S_PER_HOUR)
        any_day.append(p_any_aux(**law, T=S_PER_DAY))
        least.append(p_any_aux_infinite_store(S0=level, theta=theta, var=net.var, T=S_PER_DAY))
    standing = "heuristic" if net.slow > 0 else "asymptotic"
    return Chart(
        name="ride_through",
        title="How long the store carries the fleet, by how full it is",
        x_label="fill of the store",
        y_label="time to first auxiliary energy [h]",
        lines=(
            _line("mean", fills, means, standing),
            _line("9 of 10 times at least", fills, tenths, standing),
        ),
        y_log=True,
        marks={"start": net.supply.start_frac},
        right_label="probability of any auxiliary energy within a day",
        right=(
            _line("this store", fills, any_day, standing),
            _line("unlimited store (lower bound)", fills, least, standing),
        ),
    )


def _moves(demand: Demand, supply: Supply) -> bool:
    """Whether the hour decides how long a store lasts."""
    return supply.baseline_w is not None and is_seasonal(demand, supply)


def ride_along(demand: Demand, supply: Supply) -> Chart | None:
    """How long the store lasts over its fill, from starts all along the series."""
    if not 0 < supply.store_j < math.inf:
        return None
    baseline, drawn, step_s = net_series(demand, supply)
    fills = np.linspace(0.0, 1.0, 9)
    found = [
        ride_through_of_series(
            baseline - drawn,
            step_s,
            msgspec.structs.replace(supply, start_frac=float(fill)),
        )
        for fill in fills
    ]

    def hours(values: Sequence[float | None]) -> list[float | None]:
        return [None if value is None else value / S_PER_HOUR for value in values]

    means = hours([one.mean.value for one in found])
    mean: tuple[Line, ...] = ()
    if sum(value is not None for value in means) > 1:
        mean = (_line("mean", fills, means, "modelled"),)
    return Chart(
        name="ride_through",
        title="How long the store carries the fleet, by how full it is",
        x_label="fill of the store",
        y_label="time to first auxiliary energy [h]",
        lines=(
            _line(
                "9 of 10 times at least",
                fills,
                hours([one.quantile_10.value for one in found]),
                "modelled",
            ),
            *mean,
        ),
        marks={"start": supply.start_frac},
        right_label="probability of any auxiliary energy",
        right=(
            _line("within an hour", fills, [one.any_in_hour.value for one in found], "modelled"),
            _line("within a day", fills, [one.any_in_day.value for one in found], "modelled"),
        ),
        note="from starts all along the series, without chance",
    )


def _tenth_s(law: dict[str, float]) -> float:
    """The time that the store lasts 9 of 10 times [s], to 0.1 %; infinite beyond 30,000 years."""
    if law["S0"] <= 0:
        return 0.0

    def beyond(log_s: float) -> float:
        return p_any_aux(**law, T=math.exp(log_s)) - 0.1

    if beyond(_LONGEST_LOG_S) < 0:
        return math.inf
    low = math.log(law["S0"] ** 2 / law["var"]) - 3.0
    while beyond(low) > 0:
        low -= 3.0
    return math.exp(float(brentq(beyond, low, _LONGEST_LOG_S, xtol=1e-3)))


def tails_chart(case: FleetCase, demand: Demand) -> Chart | None:
    """The variance of requests and the share of whole answers over a cap on their tokens."""
    digest = case.digest
    longest = float(digest.sample_output.max())
    if longest < 4 or demand.job is None:
        return None
    per_work = case.mean_job_j()
    caps = np.unique(np.rint(np.geomspace(max(2.0, longest / 256.0), longest, 25)))
    seconds, whole = [], []
    for cap in caps:
        values = work_of(digest.sample_input, np.minimum(digest.sample_output, cap)) @ per_work
        mean = float(values.mean())
        second = float((values**2).mean()) + (digest.ca2 - 1.0) * mean**2
        seconds.append(demand.requests_per_s * second * case.pue**2)
        whole.append(float((digest.sample_output <= cap).mean()))
    return Chart(
        name="tails",
        title="A token cap takes variance out of the tail before it cuts many answers",
        x_label="cap on the answer [tokens]",
        y_label="variance rate of the requests [J^2/s]",
        lines=(_line("sigma2 of requests", caps, seconds, "modelled"),),
        x_log=True,
        y_log=True,
        marks={"25 % lower": 0.75 * longest},
        right_label="share of answers not cut",
        right=(_line("not cut", caps, whole, "modelled"),),
    )


def switch_chart(options: Sequence[OptionModel]) -> Chart | None:
    """Energy per solved task over difficulty, by model; two models or more."""
    if len(options) < 2:
        return None
    middle = sum(option.ability for option in options) / len(options)
    grid = np.linspace(middle - 6.0, middle + 6.0, 97)
    found = switch_points(options, grid)
    return Chart(
        name="switch_points",
        title="Hard tasks pay for a larger model where its ability outgrows its joules",
        x_label="difficulty [logits]",
        y_label="energy per solved task [J]",
        lines=tuple(
            _line(name, grid, values, "assumed")
            for name, values in found.energy_j_per_solved.items()
        ),
        y_log=True,
        marks={f"{each.below} to {each.above}": each.difficulty for each in found.switches},
        note="abilities are assumed, joules modelled: fit your own before relying on it",
    )


def year_chart(demand: Demand, supply: Supply) -> Chart | None:
    """The mean day of supply and demand, where either moves with the hour."""
    if not supply.series_w and demand.hourly_frac is None:
        return None
    baseline, drawn, step_s = net_series(demand, supply)
    hour = ((np.arange(len(baseline)) + 0.5) * step_s // S_PER_HOUR).astype(np.int64) % 24
    count = np.maximum(np.bincount(hour, minlength=24), 1)
    x = np.arange(24, dtype=np.float64) + 0.5
    rows = [
        (label, np.bincount(hour, weights=series, minlength=24) / count / _KW)
        for label, series in (("baseline", baseline), ("demand", drawn))
    ]
    return Chart(
        name="year",
        title="The mean day: what the store has to move from one hour to another",
        x_label="hour after the start of the trace, round the clock",
        y_label="power [kW]",
        lines=tuple(_line(label, x, values, "modelled") for label, values in rows),
    )
