"""Simulated cost of variance_aware against what the HJB equation forecasts, by size of the store.

One class of Poisson requests, one a second, lognormal lengths, three efforts, a constant supply
between the joules of the two efforts that are worth having, a lossless store of 3, 10, 30 and 90
mean answers. Replicas run one request at a time in milliseconds and draw nothing at rest, so an
answer is one lump of joules of its own. The first day, in which the policy learns, is left out: the
same requests are run for that day alone and its cost taken off. The forecast is ``solve_hjb`` with
the moments of all answers as they were simulated. Writes bench/results/stores.json.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from baseload.base.streams import stream
from baseload.base.units import S_PER_DAY
from baseload.routing.policies import policy
from baseload.simulator.choices import Choice
from baseload.simulator.measure import Totals
from baseload.simulator.run import run_once
from baseload.simulator.scenario import Group, Scenario
from baseload.simulator.supplied import Supplied
from baseload.supply.baseline import Constant
from baseload.supply.site import Site
from baseload.supply.store import Store
from baseload.supply.tariff import FlatPrice, Tariff
from baseload.testing.fleets import replica_type
from baseload.theory.dynamic_routing import prices_at, solve_hjb
from baseload.theory.job_cells import quantile_laws
from baseload.theory.lattice import best_static, evaluate_policy, jump_lattice, optimal_policy
from baseload.theory.routing_instance import RoutingInstance
from baseload.theory.routing_tables import full_jump_tables
from baseload.workload.chunks import source_of, take
from baseload.workload.tiers import Tier
from baseload.workload.trace import Trace
from common import Bench, measure, one_thread

SPECS = ("variance_aware:day_states=0",)
SIZES = {3: 11.0, 10: 3.7, 30: 1.0, 90: 0.7}
"""Mean answers in the store, and by how much the forecast is off in the reference study [%]."""
SLOTS_A_STORE = 20.0
MEAN_TOKENS, SCV = 400.0, 1.0
CHOICES = (
    Choice(name="think", right_frac={"": 0.90}),
    Choice(name="brief", tokens_factor={"": 0.5}, right_frac={"": 0.78}),
    Choice(name="direct", tokens_factor={"": 0.25}, right_frac={"": 0.60}),
)
BASELINE_W = 280.0
AUXILIARY_USD, WASTE_USD, RIGHT_USD = 1e-6, 1e-7, 4e-4
MEAN_JOB_J = 280.0
DAYS, SEEDS = 3.0, 3


def main() -> None:
    """Run and write."""
    one_thread()
    bench = Bench("stores", __doc__ or "", packages=("scipy",))
    seeds = bench.given_repeats or (1 if bench.quick else SEEDS)
    days = 1.5 if bench.quick else DAYS
    for jobs, off in SIZES.items():
        for spec in SPECS:
            found = [study(jobs, spec, seed, days) for seed in range(seeds)]
            name = f"{spec}, store of {jobs} mean answers"
            bench.say(f"{name}: {found}")
            for figure, words in FIGURES.items():
                values = [one[figure] for one in found]
                goal = off if figure == "off" else None
                bench.add(measure(f"{words}, {name}", "%", values, at_most=goal))
    bench.inputs = {"days": days, "seeds": seeds, "requests_a_day": 86400, "baseline_w": BASELINE_W}
    bench.notes += [
        "Costs are auxiliary energy, waste and wrong answers. The goal is the size of the "
        "forecast's error in the reference study; a run of days has an error of its own: see the "
        "range.",
        "The lattice has lumps of exact lognormal laws: its optimum is the least that any policy "
        "that sees the level can cost there.",
    ]
    bench.write()


FIGURES = {
    "off": "HJB forecast off the simulated cost by",
    "signed": "simulated cost over the HJB forecast",
    "over_optimum": "simulated cost over the exact optimum of the lattice",
    "table_over_optimum": "full-jump table, exactly, over the optimum of the lattice",
    "static_over_optimum": "best static, exactly, over the optimum of the lattice",
}


def study(jobs: int, spec: str, seed: int, days: float) -> dict[str, float]:
    """One run and its forecasts."""
    trace = requests(seed, days)
    capacity_j = jobs * MEAN_JOB_J
    scenario = scenario_of(trace, capacity_j, slot_s=min(1.0, jobs / SLOTS_A_STORE))
    first = int(np.searchsorted(trace.t_us, S_PER_DAY * 1e6))
    whole = run_once(scenario, policy(spec), source_of(trace), seed=seed)
    day = run_once(scenario, policy(spec), source_of(take(trace, slice(0, first))), seed=seed)
    span_s = whole.span_s - day.span_s
    cost = (cost_usd(whole) - cost_usd(day)) / span_s
    instance = instance_of(trace, whole)
    found = solve_hjb(instance, capacity_j)
    exact, table, static = on_lattice(instance, capacity_j, jobs)
    return {
        "off": 100.0 * abs(found.gam / cost - 1.0),
        "signed": 100.0 * (cost / found.gam - 1.0),
        "over_optimum": 100.0 * (cost / exact - 1.0),
        "table_over_optimum": 100.0 * (table / exact - 1.0),
        "static_over_optimum": 100.0 * (static / exact - 1.0),
    }


def requests(seed: int, days: float) -> Trace:
    """One request a second on average."""
    draw = stream(seed, "bench.stores")
    count = int(days * S_PER_DAY)
    spread = math.sqrt(math.log(1.0 + SCV))
    tokens = draw.lognormal(math.log(MEAN_TOKENS) - 0.5 * spread**2, spread, count)
    return Trace(
        name="stores",
        t_us=np.cumsum(draw.exponential(1e6, count)).astype(np.int64),
        input_tokens=np.ones(count, dtype=np.int32),
        output_tokens=np.maximum(1, np.rint(tokens)).astype(np.int32),
        class_code=np.zeros(count, dtype=np.int16),
        classes=("chat",),
    )


def scenario_of(trace: Trace, capacity_j: float, *, slot_s: float) -> Scenario:
    """Eight replicas of one seat each: a joule and 10 microseconds a token."""
    kind = replica_type(
        "lump",
        time_s_per_step=1e-5,
        time_s_per_sequence=0.0,
        time_s_per_context_token=0.0,
        time_s_per_prefill_token=0.0,
        energy_j_per_step=1.0,
        energy_j_per_sequence=0.0,
        energy_j_per_context_token=0.0,
        energy_j_per_prefill_token=0.0,
        power_w_idle=0.0,
        power_w_parked=0.0,
        power_w_cap=1e6,
        max_batch=1,
        kv_tokens=200_000,
        max_context_tokens=200_000,
    )
    site = Site(
        baseline=Constant(value_w=BASELINE_W),
        store=Store(capacity_j=capacity_j),
        tariff=Tariff(energy=FlatPrice(usd_per_j=AUXILIARY_USD)),
        waste_usd_per_j=WASTE_USD,
        slot_s=slot_s,
    )
    return Scenario(
        name="stores",
        groups=(Group(kind=kind, replicas=8),),
        requests=lambda _seed: source_of(trace),
        tiers=(Tier(name="all", classes=("chat",), right_usd=RIGHT_USD),),
        supplied=Supplied(site=site),
        choices=CHOICES,
    )


def cost_usd(run: Totals) -> float:
    """Auxiliary energy, waste and wrong answers [$]."""
    books = run.supply[0]
    costs = books.account.costs
    return (costs.energy_usd or 0.0) + costs.waste_usd + books.service_usd["wrong_usd"]


def instance_of(trace: Trace, run: Totals) -> RoutingInstance:
    """The routing problem with the answers as they were simulated."""
    assert run.chosen is not None
    assert run.chosen_j is not None
    factors = np.array([choice.tokens("chat") for choice in CHOICES])
    tokens = np.maximum(1.0, np.floor(trace.output_tokens[:, None] * factors + 0.5))
    seen = run.chosen[0] > 100
    each_j = float(run.chosen_j[0].sum() / (run.chosen[0] @ tokens.mean(axis=0)))
    assert abs(each_j - 1.0) < 0.02, f"{each_j} J a token"
    assert seen.any()
    wrong = np.array([1.0 - choice.right("chat") for choice in CHOICES])
    return RoutingInstance(
        lam=np.array([len(trace) / run.span_s]),
        mean=tokens.mean(axis=0)[None],
        second=(tokens**2).mean(axis=0)[None],
        other_cost=RIGHT_USD * wrong[None],
        Cu=AUXILIARY_USD,
        Cw=WASTE_USD,
        b=BASELINE_W,
    )


def on_lattice(instance: RoutingInstance, capacity_j: float, jobs: int) -> Sequence[float]:
    """Exact costs [$/s]: optimum, full-jump table of the HJB solution, best static routing."""
    steps = {3: 96, 10: 160, 30: 480, 90: 720}[jobs]
    lattice = jump_lattice(instance, capacity_j, delta=capacity_j / steps, cap=40 * MEAN_JOB_J)
    solution = solve_hjb(instance, capacity_j)
    laws = quantile_laws(instance.mean, instance.second)
    table = full_jump_tables(
        instance, laws, level=lattice.level, worth=lambda s: prices_at(solution, s).value
    )
    return (
        optimal_policy(lattice, start=table.choice).cost.cost,
        evaluate_policy(lattice, table.choice).cost,
        best_static(lattice)[1].cost,
    )


if __name__ == "__main__":
    main()
