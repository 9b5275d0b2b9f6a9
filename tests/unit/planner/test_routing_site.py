"""The routing problem of a fleet: its joules are those of the plan, its options those asked for."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from baseload.base.errors import ArgumentError
from baseload.fleet.physics import replica_type
from baseload.planner.digest import digest_of
from baseload.planner.fleet_case import fleet_case
from baseload.planner.records import Supply, prices_per_kwh
from baseload.planner.routing_records import SiteRouting
from baseload.planner.routing_site import SiteOption, plan_site_routing
from baseload.workload.trace import Trace

SMALL = replica_type(device="H100-SXM-80GB", model="Qwen/Qwen3-14B")
LARGE = replica_type(device="H100-SXM-80GB", model="Qwen/Qwen3-32B", tensor_parallel=2)
GROUPS = [(SMALL, 2), (LARGE, 1)]
CLASSES = ("chat", "unused", "batch")
PRICES = prices_per_kwh(baseline_usd=0.1, auxiliary_usd=0.3)
PLAIN = (1.0, 1.0, 1.0)


def trace(factor=1.0):
    """Twenty minutes of two of three classes, answers ``factor`` times as long."""
    rng = np.random.default_rng(4)
    count = 3000
    tokens = np.maximum(1, np.floor((5 + rng.geometric(1 / 300, count)) * factor + 0.5))
    return Trace(
        name="made",
        t_us=np.cumsum(rng.exponential(0.4e6, count)).astype(np.int64),
        input_tokens=rng.integers(50, 900, count).astype(np.int32),
        output_tokens=tokens.astype(np.int32),
        class_code=rng.choice([0, 2], count).astype(np.int16),
        classes=CLASSES,
    )


CASE = fleet_case(GROUPS, trace())
DEMAND = CASE.demand()


def route(options, *, case=CASE, store_j=3600.0, drift_w=0.0, **settings):
    demand = case.demand()
    return plan_site_routing(
        case,
        demand,
        Supply(baseline_w=demand.mean_w, store_j=store_j, slot_s=1.0),
        PRICES,
        options,
        baseline_w=demand.mean_w + drift_w,
        **settings,
    )


def option(name, **fields):
    return SiteOption(**{"name": name, "tokens_factor": PLAIN, "right_frac": PLAIN} | fields)


LADDER = (
    option("large", model=LARGE.model, right_frac=(0.9, 0.9, 0.9)),
    option("small", model=SMALL.model, right_frac=(0.8, 0.8, 0.85)),
    option("brief", model=SMALL.model, tokens_factor=(0.25, 1.0, 0.5), right_frac=(0.5, 0.5, 0.8)),
)


def test_any_model_at_full_length_draws_what_the_plan_draws():
    found = route([option("any")])
    instance = found.instance
    assert found.plan.classes == ("chat", "batch")
    assert instance.lam.sum() == pytest.approx(DEMAND.requests_per_s)
    assert float(instance.lam @ instance.mean[:, 0]) == pytest.approx(DEMAND.moving_w, rel=1e-9)
    second = DEMAND.requests_per_s * DEMAND.job.second_j2
    assert float(instance.lam @ instance.second[:, 0]) == pytest.approx(second, rel=1e-9)
    assert instance.b == pytest.approx(DEMAND.mean_w - DEMAND.base_w)


def test_models_of_the_fleet_add_up_to_it_too():
    models = [
        SiteOption(name=kind.model, model=kind.model, tokens_factor=PLAIN) for kind, _ in GROUPS
    ]
    found = route(models)
    assert found.instance.fail is None
    assert found.plan.frontier.present.mean_w == pytest.approx(DEMAND.moving_w, rel=1e-9)
    assert all(cell.right_frac is None for cell in found.plan.cells)


def test_the_site_draws_pue_times_as_much():
    case = msgspec.structs.replace(CASE, pue=1.5, overhead_w=300.0)
    one, other = route(LADDER).instance, route(LADDER, case=case).instance
    assert other.mean == pytest.approx(1.5 * one.mean)
    assert other.second == pytest.approx(1.5**2 * one.second)
    assert other.b == pytest.approx(1.5 * one.b)


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_shorter_and_longer_answers_as_if_the_trace_had_them(factor):
    """The other way: the digest of a trace whose answers are so long, at the same joules."""
    own = option("any", tokens_factor=(factor,) * 3)
    changed, jobs = digest_of(trace(factor)), CASE.response().job_j
    share = CASE.response().share_frac
    found = route([own]).instance
    assert found.mean[:, 0] == pytest.approx(changed.work[[0, 2]] @ (share @ jobs), rel=1e-9)
    second = np.einsum("t,ta,cab,tb->c", share, jobs, changed.work_products[[0, 2]], jobs)
    assert found.second[:, 0] == pytest.approx(second, rel=1e-9)


def test_answers_end_at_the_longest_context():
    endless = route([option("any", tokens_factor=(1000.0,) * 3)]).instance
    longest = max(kind.max_context_tokens for kind, _ in GROUPS)
    per_token = (CASE.response().share_frac @ CASE.response().job_j)[:2]
    most = per_token[0] * longest + per_token[1] * longest**2
    assert endless.mean.max() < most


def test_wrong_answers_and_fees_have_their_price():
    options = (LADDER[0], msgspec.structs.replace(LADDER[2], fee_usd=0.001))
    found = route(options, right_usd=(0.01, 9.0, 0.02))
    assert found.plan.right_usd == (0.01, 0.02)
    assert found.instance.other_cost == pytest.approx(
        np.array([[0.001, 0.005 + 0.001], [0.002, 0.004 + 0.001]])
    )
    cells = {(cell.class_name, cell.option): cell for cell in found.plan.cells}
    assert cells["batch", "brief"].right_frac == 0.8
    assert cells["batch", "brief"].other_usd == pytest.approx(0.005)
    assert cells["chat", "large"].mean_j > cells["chat", "brief"].mean_j


def test_a_plan_buys_something_and_round_trips():
    found = route(LADDER, right_usd=(4e-5,) * 3, drift_w=-20.0).plan
    assert found.choosing == ("chat", "batch")
    assert found.gain.guard_kept
    guarded = found.gain.policy("guarded")
    assert 0 < guarded.saving_frac < guarded.chance_saving_frac <= 1
    static = found.gain.policy("best_static")
    chance = static.cost_usd_per_s - found.gain.fluid_usd_per_s
    saved = static.cost_usd_per_s - guarded.cost_usd_per_s
    assert guarded.chance_saving_frac == pytest.approx(saved / chance)
    assert "of what chance costs" in found.statements[0]
    assert msgspec.json.decode(msgspec.json.encode(found), type=SiteRouting) == found


@pytest.mark.parametrize("jobs", [0.3, 1.5, 4.0])
def test_a_store_of_few_jobs_is_routed_on_the_lattice(jobs):
    """Bursts and slow movement would be too rough for the lattice: requests alone are counted."""
    rng = np.random.default_rng(8)
    plain = trace()
    gaps = rng.exponential(np.where(rng.random(3000) < 0.1, 3e6, 0.1e6))
    clumped = msgspec.structs.replace(plain, t_us=np.cumsum(gaps).astype(np.int64))
    case = fleet_case(GROUPS, clumped)
    assert case.demand().ca2 > 2
    store_j = jobs * case.demand().job.mean_j
    found = route(LADDER, case=case, store_j=store_j, right_usd=(4e-5,) * 3)
    gain = found.plan.gain
    assert gain.evaluated_by == "lattice"
    assert gain.store_jobs < 5
    for policy in gain.policies:
        assert 0 <= policy.auxiliary_w <= max(p.mean_w for p in found.plan.frontier.singles)
    said = " ".join((*found.plan.statements, *found.plan.notes))
    assert "smaller than five mean jobs" in said or "is crossed in about" in said
    assert ("less than one" in said) == (gain.store_jobs < 1)


def test_a_fleet_that_could_not_follow_is_warned():
    rare = fleet_case([(SMALL, 6), (LARGE, 1)], trace(8.0))
    found = route(LADDER, case=rare, right_usd=(1.0,) * 3)
    assert {band.option for band in found.plan.bands} == {"large"}
    assert any("replicas of large complete" in words for words in found.plan.warnings)
    assert not route([option("any")]).plan.warnings


def test_a_moving_supply_and_a_lossy_store_are_said():
    supply = Supply(
        baseline_w=DEMAND.mean_w, series_w=(100.0, 2000.0), store_j=3600.0, charge_efficiency=0.9
    )
    found = plan_site_routing(
        CASE, DEMAND, supply, PRICES, LADDER, baseline_w=DEMAND.mean_w, right_usd=(4e-5,) * 3
    ).plan
    assert any("moves with the hour" in words for words in found.warnings)
    assert found.statements[0].startswith("With supply and demand at their means over the day, dyn")
    assert any("lossless" in words for words in found.notes)


def test_what_cannot_be_planned_is_named():
    with pytest.raises(ArgumentError, match=r"up to 0\.9, that of large"):
        route(LADDER, least_right_frac=0.95)
    only = route(LADDER, least_right_frac=0.85).plan
    assert [(c.class_name, c.option) for c in only.cells if c.allowed] == [
        ("chat", "large"), ("batch", "large"), ("batch", "small"),
    ]  # fmt: skip
    with pytest.raises(ArgumentError, match="model"):
        route([option("other", model="gpt-9")])
    products = CASE.digest.work_products.copy()
    products[:, 0, 0] = np.inf
    heavy = msgspec.structs.replace(CASE.digest, work_products=products)
    endless = msgspec.structs.replace(CASE, digest=heavy)
    supply = Supply(store_j=1e4)
    with pytest.raises(ArgumentError, match="cap its tokens") as caught:
        plan_site_routing(endless, DEMAND, supply, PRICES, LADDER, baseline_w=DEMAND.mean_w)
    assert "large for chat" in caught.value.asked
