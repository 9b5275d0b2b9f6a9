"""Five sites on which the rates of the planner are held against simulation, and the square-root
law; the unit tests run them short, bench/critical.py long.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from baseload.base.streams import stream
from baseload.planner.demand import law_of_values
from baseload.planner.demand_records import Demand, DemandVariance
from baseload.planner.net import net_of
from baseload.planner.rates import rates_of
from baseload.planner.records import Supply
from baseload.planner.simulated import (
    BLOCKS,
    draw_demand,
    impulse_run,
    simulate_requests,
    simulate_slots,
)
from baseload.planner.year import net_series, seasons_of
from baseload.supply.random_paths import ou_means

RATE, JOB_J, BASE_W = 2.0, 50.0, 300.0


def jobs(law="gamma"):
    """A law of 1,000 values with mean 50 J: gamma (scv 0.5) or a capped lognormal."""
    rng = stream(11, "critical sites", law)
    values = rng.gamma(2.0, 25.0, 1000) if law == "gamma" else rng.lognormal(0.0, 1.0, 1000)
    values = np.minimum(values, 6.0 * values.mean())
    return law_of_values(values * (JOB_J / values.mean()))


def demand(law="gamma", *, slow=0.0, slow_s=None, hourly=None):
    """Poisson requests with an optional slow movement of their rate and profile over the day."""
    job = jobs(law)
    terms = DemandVariance(
        execution_j2_per_s=RATE * job.var_j2,
        mix_j2_per_s=0.0,
        routing_j2_per_s=0.0,
        arrivals_j2_per_s=RATE * job.mean_j**2,
        temporal_j2_per_s=slow,
    )
    return Demand(
        name=law,
        mean_w=BASE_W + RATE * job.mean_j,
        base_w=BASE_W,
        var_j2_per_s=terms.total_j2_per_s,
        requests_per_s=RATE,
        ca2=1.0,
        span_s=86_400.0,
        obtained="assumed",
        job=job,
        terms=terms,
        correlation_s=slow_s,
        hourly_frac=hourly,
    )


def row(site, found_u, found_w, error_frac, simulated, at):
    """One comparison: both rates within the stated error and 3 standard errors."""
    result = {"site": site, "error_frac": error_frac}
    met, worst = True, 0.0
    for name, value, got, error in (
        ("u_w", found_u, simulated.auxiliary_w[at], simulated.auxiliary_error_w[at]),
        ("w_w", found_w, simulated.waste_w[at], simulated.waste_error_w[at]),
    ):
        gap = abs(value - got)
        # the stated error is that of the smaller rate; the other differs by the drift
        allowed = error_frac * min(found_u, found_w) + 3.0 * error + 1e-9
        met = met and gap <= allowed
        worst = max(worst, gap / allowed)
        result |= {name: value, f"{name}_simulated": got, f"{name}_standard_error": error}
    return result | {"met": met, "gap_over_allowed": worst}


def poisson(requests, law="gamma"):
    """Exact dam and two poles against requests one by one."""
    rows = []
    one = demand(law)
    for store_jobs in (3.0, 10.0, 30.0):
        supply = Supply(store_j=store_jobs * JOB_J)
        net = net_of(one, supply)
        thetas = [0.0] + [y * net.var / (2 * supply.store_j) for y in (-1.5, 1.5)]
        run = simulate_requests(
            baseline_w=[net.moving_w + theta for theta in thetas],
            store_j=supply.store_j,
            requests_per_s=RATE,
            sample_j=one.job.sample_j,
            requests=requests,
            seed=5,
        )
        for at, theta in enumerate(thetas):
            for exact in (True, False):
                found = rates_of(net, theta, exact=exact)
                rows.append(
                    row(f"poisson {law}", found.u_w, found.w_w, found.error_frac, run, at)
                    | {"rung": found.rung, "store_jobs": store_jobs, "theta_w": theta}
                )
    return rows


def bursty(slots):
    """The widened diffusion against a rate that moves slowly under the requests."""
    rows = []
    for share in (0.3, 0.9):
        fast = RATE * jobs().second_j2
        one = demand(slow=fast * share / (1 - share), slow_s=60.0)
        for episodes in (3.0, 10.0):
            probe = net_of(one, Supply(store_j=1.0))
            supply = Supply(store_j=episodes * probe.episode_j, slot_s=2.0)
            net = net_of(one, supply)
            thetas = [0.0, net.var / (2 * supply.store_j)]
            run = simulate_slots(
                supply_j=np.zeros(slots),
                demand_j=draw_demand(one, slots, slot_s=2.0, seed=7),
                slot_s=2.0,
                baseline_w=[net.mean_w + theta for theta in thetas],
                supply=supply,
            )
            for at, theta in enumerate(thetas):
                found = rates_of(net, theta)
                rows.append(
                    row("bursty", found.u_w, found.w_w, found.error_frac, run, at)
                    | {"rung": found.rung, "store_episodes": episodes, "theta_w": theta}
                )
    return rows


def apparent_widening(slots, *, episodes):
    """How much wider a store acts under an Ornstein-Uhlenbeck power alone, in standard deviations
    times correlation time, at zero drift; and its standard error. The Milne limit is 2 x 1.4603.
    """
    time_s, slot_s, spread_w = 100.0, 5.0, 1.0
    lengths = np.full(slots, slot_s)
    wander = ou_means(stream(4, "wander"), lengths, time_s) * spread_w * slot_s
    supply = Supply(store_j=episodes * spread_w * time_s, slot_s=slot_s)
    run = simulate_slots(
        supply_j=wander,
        demand_j=np.full(slots, 50.0 * slot_s),
        slot_s=slot_s,
        baseline_w=[50.0],
        supply=supply,
    )
    var = 2.0 * spread_w**2 * time_s
    # both rates estimate the same, var / (2 wide)
    rate = 0.5 * (run.auxiliary_w[0] + run.waste_w[0])
    error = 0.5 * math.hypot(run.auxiliary_error_w[0], run.waste_error_w[0])
    wide = var / (2.0 * rate)
    unit = spread_w * time_s
    return (wide - supply.store_j) / unit, wide * error / rate / unit


def lossy(slots):
    """The stored-side diffusion against slots with conversion losses."""
    rows = []
    one = demand()
    for efficiency in (0.98, 0.9):
        for deviations in (20.0, 40.0):
            spread_j = math.sqrt(one.var_j2_per_s * 10.0)
            supply = Supply(
                store_j=deviations * spread_j,
                slot_s=10.0,
                charge_efficiency=efficiency,
                discharge_efficiency=efficiency,
            )
            net = net_of(one, supply)
            thetas = [0.0, 0.05 * spread_j / 10.0]
            rng = stream(3, "lossy")
            noise_j = rng.normal(one.mean_w * 10.0, spread_j, slots)
            run = simulate_slots(
                supply_j=np.zeros(slots),
                demand_j=np.maximum(noise_j, 0.0),
                slot_s=10.0,
                baseline_w=[net.mean_w + theta for theta in thetas],
                supply=supply,
            )
            for at, theta in enumerate(thetas):
                found = rates_of(net, theta)
                rows.append(
                    row("lossy", found.u_w, found.w_w, found.error_frac, run, at)
                    | {"rung": found.rung, "efficiency": efficiency, "theta_w": theta}
                )
    return rows


def pv_shape_w(mean_w, days=365):
    """A made-up photovoltaic year by the hour: half sines, longer and higher in summer, cloudy."""
    hour = np.arange(24 * days)
    height = 1.0 - 0.3 * np.cos(2 * np.pi * hour / (24 * 365))
    sun = np.maximum(0.0, np.sin((hour % 24 - 6) / 12 * np.pi)) * height
    clouds = np.repeat(stream(2, "clouds").uniform(0.5, 1.0, days), 24)
    power = sun * clouds
    return power * (mean_w / power.mean())


def seasonal(kind, years):
    """The periodic diffusion against slots: a demand with a profile over the day, or a photovoltaic
    year with a battery.
    """
    if kind == "diurnal":
        day = 1.0 + 0.02 * np.sin(2 * np.pi * (np.arange(24) - 9) / 24)
        one = demand("lognormal", hourly=tuple((day / day.mean()).tolist()))
        supply = Supply(baseline_w=one.mean_w, store_j=2.5e5, slot_s=300.0)
        slots, blocks = int(years * 365 * 288), 32
    else:
        one = demand("lognormal", slow=2.0e6, slow_s=1800.0)
        shape = pv_shape_w(1.05 * one.mean_w)
        supply = Supply(
            baseline_w=float(shape.mean()),
            series_w=tuple(shape.tolist()),
            store_j=6 * 3600.0 * one.mean_w,
            slot_s=300.0,
        )
        slots, blocks = years * 365 * 288, years
    net = net_of(one, supply)
    seasons = seasons_of(one, supply, net)
    baseline, _, _ = net_series(one, supply)
    series = np.resize(np.repeat(baseline, 12), slots)
    run = simulate_slots(
        supply_j=(series - baseline.mean()) * 300.0,
        demand_j=draw_demand(one, slots, slot_s=300.0, seed=9),
        slot_s=300.0,
        baseline_w=float(baseline.mean()),
        supply=supply,
        blocks=blocks,
    )
    chance = seasons.chance_auxiliary, seasons.chance_waste
    return [
        row(kind, chance[0].value, chance[1].value, chance[0].error_frac, run, 0)
        | {
            "rung": chance[0].rung,
            "fluid_u_w": seasons.fluid_auxiliary.value,
            "fluid_w_w": seasons.fluid_waste.value,
        }
    ]


def cost_per_request(traffic, requests, *, store_jobs=15.0, seed=21):
    """Simulated cost of randomness per request, auxiliary at 1 $/J, at critical supply with a store
    of ``store_jobs`` x sqrt(traffic) mean requests; and its standard error.
    """
    job = jobs()
    sample = np.asarray(job.sample_j)
    rate = RATE * traffic
    store_j = store_jobs * JOB_J * math.sqrt(traffic)
    baseline_w, level = rate * sample.mean(), 0.5 * store_j
    rng = stream(seed, "square root", int(traffic))
    sums = []
    left = requests
    while left > 0:
        count = min(left, 2_000_000)
        part = np.zeros((BLOCKS, 3))
        gaps = rng.standard_exponential(count) / rate
        drawn = sample[rng.integers(0, len(sample), count)]
        level = impulse_run(gaps, drawn, baseline_w, store_j, level, part)
        sums.append(part)
        left -= count
    rows = np.concatenate(sums)
    seconds = rows[:, 2].sum()
    # half of both: the same mean at critical supply, a third of the variance
    both = 0.5 * (rows[:, 0] + rows[:, 1])
    mean_w = both.sum() / seconds
    blocks = (both - mean_w * rows[:, 2]).reshape(16, -1).sum(axis=1)
    error_w = math.sqrt(float((blocks**2).sum()) * 16 / 15) / seconds
    return float(mean_w / rate), float(error_w / rate)


def slope_of(traffics, costs):
    """Slope of log cost over log traffic."""
    return float(np.polyfit(np.log(traffics), np.log(costs), 1)[0])


def replaced(record, **fields):
    """The record with other fields."""
    return msgspec.structs.replace(record, **fields)
