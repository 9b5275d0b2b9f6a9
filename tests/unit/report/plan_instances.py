"""Plans for the tests of their reports: without a site, at one, moving with the hour, odd ones."""

from __future__ import annotations

import functools
import math

import msgspec
import numpy as np

from baseload.planner.charts import charts_of
from baseload.planner.curves import Chart
from baseload.planner.demand import law_of_values
from baseload.planner.demand_records import Demand, DemandVariance
from baseload.planner.net import net_of
from baseload.planner.plan import plan_site
from baseload.planner.rates import rates_record
from baseload.planner.records import Supply, prices_per_kwh
from baseload.planner.routing import plan_routing
from baseload.planner.routing_charts import routing_charts_of
from baseload.planner.routing_records import OptionCell, RoutingPlan, SiteRouting
from baseload.planner.simulated import SimulatedRates
from baseload.report.plan_result import PlanResult, PlanRun, plan_result
from baseload.theory.routing_instance import RoutingInstance

HOSTILE = '<script>alert("x")</script> & $\\alpha$ 東京'


def make_demand(**changes: object) -> Demand:
    """A kilowatt, a fifth of which comes with requests of 20 J or so."""
    job = law_of_values(20.0 * np.exp(0.8 * np.linspace(-2, 2, 200)))
    rate = 200.0 / job.mean_j
    terms = DemandVariance(
        execution_j2_per_s=rate * job.var_j2,
        mix_j2_per_s=100.0,
        routing_j2_per_s=0.0,
        arrivals_j2_per_s=rate * job.mean_j**2,
        temporal_j2_per_s=50_000.0,
        temporal_error_j2_per_s=5_000.0,
    )
    demand = Demand(
        name="made",
        mean_w=1000.0,
        base_w=800.0,
        var_j2_per_s=terms.total_j2_per_s,
        requests_per_s=rate,
        ca2=1.0,
        span_s=7 * 86_400.0,
        obtained="modelled",
        job=job,
        terms=terms,
        correlation_s=60.0,
        how="made up",
        error_frac=0.05,
    )
    return msgspec.structs.replace(demand, **changes)


def make_plan(
    supply: Supply | None = None,
    demand: Demand | None = None,
    *,
    notes: tuple[str, ...] = (),
    simulated: bool = False,
    routing: tuple[SiteRouting, tuple[Chart, ...]] | None = None,
) -> PlanResult:
    """A plan as the command makes it."""
    demand = make_demand() if demand is None else demand
    supply = Supply(slot_s=900.0, name="made") if supply is None else supply
    prices = prices_per_kwh(baseline_usd=0.08, auxiliary_usd=0.30, storage_usd_per_year=40.0)
    plan = plan_site(demand, supply, prices)
    critical_w = plan.critical.here.value or demand.mean_w
    dots = run = None
    if simulated:
        baselines = tuple(critical_w * scale for scale in (0.9, 1.0, 1.1))
        dots = SimulatedRates(
            baseline_w=baselines,
            auxiliary_w=(101.0, 5.0, 0.1),
            auxiliary_error_w=(1.0, 1.0, 0.1),
            waste_w=(1.0, 5.0, 101.0),
            waste_error_w=(1.0, 1.0, 1.0),
            unserved_w=(0.0, 0.0, 0.0),
            span_s=86_400.0,
            how="made up",
        )
        run = PlanRun(
            policy="least_loaded",
            seeds=[0, 1],
            requests=1000,
            span_s=3600.0,
            covers="the whole trace",
            mean_w=1010.0,
            modelled_mean_w=1000.0,
            var_j2_per_s=60_000.0,
            modelled_var_j2_per_s=65_000.0,
            sharing="even",
        )
    return plan_result(
        plan,
        charts_of(plan, demand, simulated=dots) + (() if routing is None else routing[1]),
        version="0.0",
        at_critical=rates_record(net_of(demand, plan.supply), critical_w),
        notes=notes,
        simulated=dots,
        run=run,
        routing=None if routing is None else routing[0],
    )


def make_routing(
    *, jobs: float = 30.0, options: int = 3, name: str = "o"
) -> tuple[SiteRouting, tuple[Chart, ...]]:
    """Two classes, options that trade joules for right answers, and their charts."""
    fail = np.array([[0.1, 0.2, 0.5], [0.05, 0.3, 0.6]])[:, :options]
    mean = np.array([[60.0, 25.0, 10.0], [300.0, 130.0, 50.0]])[:, :options]
    instance = RoutingInstance(
        lam=[2.0, 1.0],
        mean=mean,
        second=2.0 * mean**2,
        other_cost=4e-5 * fail,
        Cu=0.3 / 3.6e6,
        Cw=0.0,
        b=300.0,
        fail=fail,
    )
    names = tuple(f"{name}{at}" for at in range(options))
    today = np.zeros(mean.shape)
    today[:, 0] = 1.0
    plan = plan_routing(
        instance, store_j=jobs * 80.0, classes=("chat", "batch"), options=names, present=today
    )
    cells = tuple(
        OptionCell(
            class_name=label,
            option=option,
            mean_j=float(mean[k, a]),
            cv2=1.0,
            right_frac=float(1 - fail[k, a]),
            other_usd=float(4e-5 * fail[k, a]),
            allowed=a < 2,
        )
        for k, label in enumerate(plan.classes)
        for a, option in enumerate(names)
    )
    made = SiteRouting(
        **{field: getattr(plan, field) for field in RoutingPlan.__struct_fields__},
        baseline_w=1000.0,
        base_w=800.0,
        requests_per_s=(2.0, 1.0),
        right_usd=(4e-5, 4e-5),
        cells=cells,
    )
    return made, routing_charts_of(plan, instance)


SITE = Supply(baseline_w=1020.0, store_j=2 * 3.6e6, slot_s=60.0, name="site")


@functools.cache
def plans() -> dict[str, PlanResult]:
    """Plans by name: every output must cope with each of them."""
    panels = tuple(3000.0 * max(0.0, math.sin((hour - 6) / 12 * math.pi)) for hour in range(24))
    day = tuple(1.0 + 0.2 * math.sin(hour / 24 * 2 * math.pi) for hour in range(24))
    lossy = msgspec.structs.replace(
        SITE,
        charge_efficiency=0.95,
        discharge_efficiency=0.95,
        leak_per_s=1e-8,
        charge_limit_w=5e3,
        discharge_limit_w=5e3,
    )
    steady = make_demand(var_j2_per_s=0.0, terms=None, job=None, correlation_s=None)
    return {
        "no-site": make_plan(),
        "site": make_plan(SITE, simulated=True),
        "lossy": make_plan(lossy),
        "panels": make_plan(
            msgspec.structs.replace(lossy, baseline_w=None, series_w=panels),
            make_demand(hourly_frac=day),
        ),
        "steady": make_plan(SITE, steady),
        "hostile": make_plan(
            msgspec.structs.replace(SITE, name=HOSTILE),
            make_demand(name=HOSTILE, how=HOSTILE),
            notes=(HOSTILE,),
        ),
        "routing": make_plan(SITE, routing=make_routing()),
        "routing-hostile": make_plan(SITE, routing=make_routing(name=HOSTILE)),
        "routing-small": make_plan(SITE, routing=make_routing(jobs=0.1)),
        "routing-lattice": make_plan(SITE, routing=make_routing(jobs=3.5)),
        "routing-one-option": make_plan(SITE, routing=make_routing(options=1)),
        "routing-endless": make_plan(SITE, routing=make_routing(jobs=math.inf)),
    }
